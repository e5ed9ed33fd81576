"""Cases of the replay: episodes of flagged bins, by the product's function, among the bins scored up to a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np

from pipeline.base.settings import Settings
from pipeline.cases.axis_state import MACHINE_CODES, AxisFigures
from pipeline.cases.episodes import Episode, FlaggedBin, find_episodes
from replaying.fleet import START, Plant

ALARM: Final = "fault"


@dataclass(frozen=True, eq=False)
class Bins:
    """By recording: figures, scores for `score_drift`, and number of the champion that scored it."""

    figures: dict[int, AxisFigures]
    scores: dict[int, tuple[float, ...]]
    version: dict[int, int]

    @staticmethod
    def empty() -> Bins:
        """Return bins without recordings."""
        return Bins({}, {}, {})


def day_of(moment: object) -> float:
    """Return a time as days since the first day of the plant."""
    return (moment - START).total_seconds() / 86_400.0  # type: ignore[operator]


def episodes(
    plant: Plant,
    bins: Bins,
    rows: Iterable[int],
    settings: Settings,
    *,
    only: frozenset[str] = frozenset(MACHINE_CODES),
) -> list[Episode]:
    """Return the machine episodes in bins of one axis, in order of time; only flags in `only` count."""
    flagged = []
    for row in rows:
        figures = bins.figures[row]
        at = START + timedelta(days=float(plant.day[row]))
        flags = tuple(flag for flag in figures.flags if flag.code in only)
        flagged.append(FlaggedBin(at, at, at, figures.fault, flags))
    return find_episodes(
        flagged,
        "machine",
        hits=settings.debounce_hits,
        span=settings.debounce_span,
        gap=timedelta(hours=settings.case_gap_hours),
    )


@dataclass(frozen=True)
class Case:
    """A machine case of an axis."""

    axis: str
    unit: str
    first_day: float
    last_day: float
    information: float
    priority: float
    fault_probability: float
    rows: tuple[int, ...]
    alarm_alone: bool
    has_alarm: bool
    loudest: int


def cases(plant: Plant, bins: Bins, rows_of: dict[str, list[int]], settings: Settings, *, now: float) -> list[Case]:
    """Return the cases in bins before `now`, by axis, open or not."""
    opened = []
    for axis in sorted(rows_of):
        own = [row for row in rows_of[axis] if row in bins.figures and plant.day[row] < now]
        at = {round(float(plant.day[row]) * 86_400): row for row in own}
        for episode in episodes(plant, bins, own, settings):
            members = tuple(at[round(day_of(item.bin_at) * 86_400)] for item in episode.bins)
            values = [v for row in members if (v := bins.figures[row].mutual_information) is not None]
            highest = max(
                (p for row in members if (p := bins.figures[row].fault_probability) is not None), default=np.nan
            )
            codes = {flag.code for item in episode.bins for flag in item.flags}
            last = members[-1]
            opened.append(
                Case(
                    axis,
                    str(plant.unit[last]),
                    float(plant.day[members[0]]),
                    float(plant.day[last]),
                    float(np.mean(values)) if values else np.nan,
                    episode.priority,
                    highest,
                    members,
                    codes == {ALARM},
                    ALARM in codes,
                    max(members, key=lambda row: (bins.figures[row].fault_probability or 0.0, row)),
                )
            )
    return opened
