"""From the states of an axis to episodes: stretches of time in which it keeps being flagged. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.axis_state import DATA_CODES, MACHINE_CODES, Flag, priority_of
from pipeline.base.ids import utc_text

FAMILIES = {"machine": frozenset(MACHINE_CODES), "data": frozenset(DATA_CODES)}
IMMEDIATE = frozenset({"silent"})
"""Codes that need no second bin to be believed."""


@dataclass(frozen=True)
class FlaggedBin:
    """A bin of an axis with the flags of all families (none: nothing to report)."""

    bin_at: datetime
    first_at: datetime
    last_at: datetime
    fault_probability: float | None
    mode: str | None
    flags: tuple[Flag, ...]


@dataclass(frozen=True)
class Episode:
    """Consecutive flagged bins of one family; bins hold only that family's flags."""

    bins: tuple[FlaggedBin, ...]

    @property
    def first_at(self) -> datetime:
        """First flagged recording."""
        return self.bins[0].first_at

    @property
    def last_at(self) -> datetime:
        """Last flagged recording."""
        return max(item.last_at for item in self.bins)

    @property
    def priority(self) -> float:
        """Highest priority of its bins."""
        return max(bin_priority(item) for item in self.bins)


def bin_priority(item: FlaggedBin) -> float:
    """Give the priority of one flagged bin."""
    return priority_of([flag.code for flag in item.flags], item.fault_probability)


def find_episodes(bins: Sequence[FlaggedBin], family: str, *, hits: int, span: int, gap: timedelta) -> list[Episode]:
    """Find the episodes of a family in the bins of an axis.

    A flagged bin counts once at least `hits` of the last `span` bins (itself included, none further back than `gap`)
    are flagged; the earlier hits then belong to the episode too. Flagged bins that count and lie within `gap` of one
    another are one episode.

    Parameters
    ----------
    bins
        All bins of one axis in order of time, flagged or not.
    """
    codes = FAMILIES[family]
    own = [_of_family(item, codes) for item in bins]
    members: set[int] = set()
    for index, item in enumerate(own):
        if not item.flags:
            continue
        recent = [
            back
            for back in range(max(0, index - span + 1), index + 1)
            if own[back].flags and item.first_at - own[back].last_at <= gap
        ]
        if len(recent) >= hits or any(flag.code in IMMEDIATE for flag in item.flags):
            members.update(recent)
    episodes: list[list[FlaggedBin]] = []
    for index in sorted(members):
        if episodes and own[index].first_at - episodes[-1][-1].last_at <= gap:
            episodes[-1].append(own[index])
        else:
            episodes.append([own[index]])
    return [Episode(tuple(group)) for group in episodes]


def reasons_of(bins: Sequence[FlaggedBin]) -> list[dict[str, Any]]:
    """Sum up why bins were flagged: each code with its latest sentence, first and last time, and count of bins."""
    found: dict[str, dict[str, Any]] = {}
    for item in bins:
        for flag in item.flags:
            reason = found.setdefault(flag.code, {"code": flag.code, "first_at": utc_text(item.first_at), "n_bins": 0})
            reason["text"] = flag.text
            reason["last_at"] = utc_text(item.last_at)
            reason["n_bins"] += 1
    order = (*MACHINE_CODES, *DATA_CODES)
    return sorted(found.values(), key=lambda reason: order.index(reason["code"]))


def _of_family(item: FlaggedBin, codes: frozenset[str]) -> FlaggedBin:
    flags = tuple(flag for flag in item.flags if flag.code in codes)
    return FlaggedBin(item.bin_at, item.first_at, item.last_at, item.fault_probability, item.mode, flags)
