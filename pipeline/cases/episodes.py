"""From the states of an axis to episodes: times in which the axis is flagged again and again. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import floor
from typing import Any

from pipeline.base.ids import instant, stable_id, utc_text
from pipeline.cases.axis_state import DATA_CODES, MACHINE_CODES, NOT_SCORED, FaultFigures, Flag, priority_of

FAMILIES = {"machine": frozenset(MACHINE_CODES), "data": frozenset(DATA_CODES)}
IMMEDIATE = frozenset({"fault", "silent"})
"""Codes that count with one bin, because they look back over several bins by themselves; the others need several."""


@dataclass(frozen=True)
class FlaggedBin:
    """A bin of an axis with its flags of all families; without flags there is nothing to report."""

    bin_at: datetime
    first_at: datetime
    last_at: datetime
    fault: FaultFigures
    flags: tuple[Flag, ...]


@dataclass(frozen=True)
class Episode:
    """Consecutive flagged bins of one family; its bins hold only the flags of that family."""

    bins: tuple[FlaggedBin, ...]

    @property
    def first_at(self) -> datetime:
        """Time of the first flagged recording."""
        return self.bins[0].first_at

    @property
    def last_at(self) -> datetime:
        """Time of the last flagged recording."""
        return max(item.last_at for item in self.bins)

    @property
    def priority(self) -> float:
        """Highest priority of its bins, 0 to 1."""
        return max(bin_priority(item) for item in self.bins)


def bin_priority(item: FlaggedBin) -> float:
    """Return the priority of one flagged bin, 0 to 1; of a bad signal by the fault probability that it would have."""
    hidden = [
        priority_of([flag.code], channel["probability"])
        for flag in item.flags
        if flag.code == "blocked"
        for channel in flag.facts.get("channels", ())
    ]
    return max([priority_of([flag.code for flag in item.flags], item.fault.fault_probability), *hidden])


def find_episodes(
    bins: Sequence[FlaggedBin],
    family: str,
    *,
    hits: int,
    span: int,
    gap: timedelta,
    from_bin: datetime | None = None,
) -> list[Episode]:
    """Find the episodes of a family in the bins of an axis.

    A flagged bin counts if at least `hits` of the last `span` bins are flagged (itself included, none further back than
    `gap`). Then the earlier hits belong to the episode too. Flagged bins that count are one episode as long as each is
    within `gap` of the one before.

    Parameters
    ----------
    bins
        All bins of one axis in time order, flagged or not.
    hits, span
        How many of how many bins must be flagged.
    gap
        Longest time between two bins of one episode.
    from_bin
        Only bins from this one on are put into episodes; those before it only help to decide. None: all.
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
        if from_bin is not None and own[index].bin_at < from_bin:
            continue
        if episodes and own[index].first_at - episodes[-1][-1].last_at <= gap:
            episodes[-1].append(own[index])
        else:
            episodes.append([own[index]])
    return [Episode(tuple(group)) for group in episodes]


@dataclass(frozen=True)
class Sums:
    """What the flagged bins of a case add up to."""

    n_bins: int = 0
    priority: float = 0.0
    reasons: list[dict[str, Any]] = field(default_factory=list)
    fault: FaultFigures = NOT_SCORED


def add_up(bins: Sequence[FlaggedBin], before: Sums) -> Sums:
    """Add bins, in time order, to the sums of bins before them; of bins equally loud the last one counts."""
    if not bins:
        return before
    loudest = max(bins, key=lambda item: (item.fault.fault_probability or 0.0, item.bin_at))
    high, high_before = loudest.fault.fault_probability or 0.0, before.fault.fault_probability or 0.0
    return Sums(
        n_bins=before.n_bins + len(bins),
        priority=round(max(before.priority, *(bin_priority(item) for item in bins)), 6),
        reasons=_reasons_of(bins, before.reasons),
        fault=before.fault if before.n_bins and high_before > high else loudest.fault,
    )


def _reasons_of(bins: Sequence[FlaggedBin], before: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the reasons of bins: each code with its latest facts, first and last time, and number of bins."""
    by_code: dict[str, dict[str, Any]] = {reason["code"]: reason for reason in before}
    for item in bins:
        for flag in item.flags:
            old = by_code.get(flag.code, {"first_at": utc_text(item.first_at), "n_bins": 0})
            times = {"first_at": old["first_at"], "last_at": utc_text(item.last_at), "n_bins": old["n_bins"] + 1}
            by_code[flag.code] = flag.row() | times
    order = (*MACHINE_CODES, *DATA_CODES)
    return sorted(by_code.values(), key=lambda reason: order.index(reason["code"]))


def _of_family(item: FlaggedBin, codes: frozenset[str]) -> FlaggedBin:
    flags = tuple(flag for flag in item.flags if flag.code in codes)
    return FlaggedBin(item.bin_at, item.first_at, item.last_at, item.fault, flags)


CLOSED = "closed"
OPEN = "open"
UNIT_FAMILIES = frozenset({"machine"})
"""Families of cases that belong to the unit and end with it. Data cases belong to sensor and cable."""


@dataclass(frozen=True)
class CaseState:
    """The columns of a case that advise reads and sets."""

    case_id: str
    state: str
    first_at: datetime
    last_at: datetime
    n_bins: int = 0
    priority: float = 0.0
    reasons: list[dict[str, Any]] = field(default_factory=list)
    fault: FaultFigures = NOT_SCORED
    closed_priority: float | None = None
    closed_at: datetime | None = None


@dataclass(frozen=True)
class Folded:
    """Cases brought up to date.

    `cases`: all, old and new, by time. `happened`: case id -> `opened` or `reopened`. `bins`: case id -> its flagged
    bins, in time order.
    """

    cases: list[CaseState]
    happened: dict[str, str]
    bins: dict[str, list[FlaggedBin]]


def fold_cases(
    axis_id: str,
    family: str,
    cases: Sequence[CaseState],
    episodes: Sequence[Episode],
    *,
    gap: timedelta,
    margin: float,
    recheck: timedelta,
    since: datetime | None = None,
    before: Mapping[str, Sums] | None = None,
) -> Folded:
    """Update the cases of one axis and family from its episodes.

    Parameters
    ----------
    since
        Time of the last replacement of the unit. Cases and episodes belong to the new unit. A case that begins in the
        bin of the replacement gets another id than a case of the old unit in that bin.
    gap
        Longest time between a case and an episode that still belongs to it.
    margin
        A flagged bin reopens a closed case if its priority is higher than the one at closing by more than this.
    recheck
        A flagged bin that comes later than this after closing reopens the case whatever its priority is.
    before
        Case id -> sums of bins of the case that come before all of these episodes and are not in them.
    """
    current = {case.case_id: case for case in cases}
    belongs: dict[str, list[FlaggedBin]] = {}
    happened: dict[str, str] = {}
    for episode in episodes:
        case = _case_for(episode, list(current.values()), gap)
        if case is None:
            begins = episode.bins[0].bin_at if since is None else max(episode.bins[0].bin_at, since)
            case = CaseState(
                stable_id(axis_id, family, instant(begins), length=12),
                OPEN,
                episode.first_at,
                episode.last_at,
            )
            happened[case.case_id] = "opened"
        elif case.state == CLOSED and _reopens(case, episode, margin, recheck):
            case = replace(case, state=OPEN)
            happened[case.case_id] = "reopened"
        current[case.case_id] = replace(
            case, first_at=min(case.first_at, episode.first_at), last_at=max(case.last_at, episode.last_at)
        )
        belongs.setdefault(case.case_id, []).extend(episode.bins)
    for case_id in current:
        sums = add_up(belongs.get(case_id, []), (before or {}).get(case_id, Sums()))
        if sums.n_bins:  # a case whose bins are flagged no more keeps what it had
            current[case_id] = replace(current[case_id], **vars(sums))
    return Folded(sorted(current.values(), key=lambda case: (case.first_at, case.case_id)), happened, belongs)


def what_got_worse(before: CaseState, after: CaseState, *, step: float = 0.1) -> dict[str, Any]:
    """Return what changed in an open case and is worth a message: new reasons, another mode, or a higher priority.

    The priority is compared in steps that are counted from 0, so a slow rise is reported too. A closed case is never
    reported.

    Parameters
    ----------
    step
        Width of a step of priority.

    Returns
    -------
    dict
        `reasons` (new codes), `mode` and `priority`, each only if it changed; empty where nothing is worth a message.
    """
    if after.state == CLOSED:
        return {}
    codes = [reason["code"] for reason in after.reasons]
    worse: dict[str, Any] = {}
    if new := [code for code in codes if code not in {reason["code"] for reason in before.reasons}]:
        worse["reasons"] = new
    if after.fault.mode is not None and after.fault.mode != before.fault.mode:
        worse["mode"] = after.fault.mode
    if floor(after.priority / step + 1e-9) > floor(before.priority / step + 1e-9):
        worse["priority"] = after.priority
    return worse


def _case_for(episode: Episode, cases: list[CaseState], gap: timedelta) -> CaseState | None:
    near = [case for case in cases if case.first_at - gap <= episode.last_at and episode.first_at <= case.last_at + gap]
    near.sort(key=lambda case: (case.state == CLOSED, -case.last_at.timestamp()))
    if near:
        return near[0]
    return next((case for case in cases if case.state != CLOSED), None)


def _reopens(case: CaseState, episode: Episode, margin: float, recheck: timedelta) -> bool:
    closed_at = case.closed_at or case.first_at
    since = [item for item in episode.bins if item.last_at > closed_at]
    before = case.closed_priority or 0.0
    return any(bin_priority(item) > before + margin or item.last_at > closed_at + recheck for item in since)
