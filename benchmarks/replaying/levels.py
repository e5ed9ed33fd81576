"""Levels of the replay: estimated by the product's function, from what units of a world score."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from models.kinds import HEALTHY
from pipeline.base.settings import Settings
from pipeline.cases.axis_state import Thresholds, log_odds, probability_of
from pipeline.scoring.levels import Levels, estimate_levels, highest_recent, raised
from replaying.fleet import Plant
from replaying.model import FIRST_DAYS, Ahead, Label, Version

MIN_BINS = 10
"""Bins that a unit's first days must have to count."""


@dataclass
class LevelEstimator:
    """Estimates the levels of each world, day by day, for one champion."""

    plant: Plant
    settings: Settings
    version: Version
    ahead: Ahead
    rows_of: dict[str, npt.NDArray[np.int64]]
    """The recordings of each unit, in time order."""
    own: dict[str, float] = field(default_factory=dict)
    faults: dict[str, list[float]] = field(default_factory=dict)
    _settled: dict[str, float | None] = field(default_factory=dict)
    """Values that will not change any more."""

    def levels(self, labels: list[Label], now: float) -> dict[str, Levels]:
        """Return the levels of each world from what is known at a time."""
        faulty = {label.unit for label in labels if label.is_fault}
        healthy: dict[str, list[float]] = {}
        answers: dict[bool, dict[str, dict[str, float]]] = {True: {}, False: {}}
        years: dict[str, float] = {}
        for unit, rows in self.rows_of.items():
            world = str(self.plant.world[rows[0]])
            healthy.setdefault(world, [])
            days = self.plant.day[rows]
            years[world] = years.get(world, 0.0) + max(min(now, days.max()) - days.min() - FIRST_DAYS, 0.0) / 365.25
            if unit not in faulty and (value := self._reference(unit, rows, now)) is not None:
                healthy[world].append(value)
        for label in labels:
            if label.target is None or label.known_day <= self.version.cutoff:
                continue
            rows = self.rows_of[label.unit]
            days = self.plant.day[rows]
            value = self._highest(rows[(days >= label.from_day) & (days < label.to_day)])
            if value is not None:
                side = answers[label.target == HEALTHY].setdefault(str(self.plant.world[rows[0]]), {})
                side[label.unit] = max(value, side.get(label.unit, value))
        self.own = {unit: value for side in answers[True].values() for unit, value in side.items()}
        self.faults = {world: list(side.values()) for world, side in answers[False].items()}
        return {
            world: estimate_levels(
                values,
                list(answers[True].get(world, {}).values()),
                self.faults.get(world, []),
                self.settings,
                axis_years=years[world],
            )
            for world, values in healthy.items()
        }

    def own_level(self, level: float, unit: str, world: str) -> float:
        """Return the alarm level of a unit, raised above what it reached when it was found healthy."""
        if unit not in self.own:
            return level
        return probability_of(raised(log_odds(level), self.own[unit], self.faults.get(world, []), self.settings))

    def _reference(self, unit: str, rows: npt.NDArray[np.int64], now: float) -> float | None:
        if unit in self._settled:
            return self._settled[unit]
        if unit in self.version.units:
            self._settled[unit] = self._held_out(unit)
            return self._settled[unit]
        days = self.plant.day[rows]
        begin = float(days.min()) + FIRST_DAYS
        end = begin + self.settings.level_days
        own = rows[(days >= begin) & (days < min(end, now))]
        value = self._highest(own) if len(own) >= MIN_BINS else None
        if end <= now:
            self._settled[unit] = value
        return value

    def _held_out(self, unit: str) -> float | None:
        """Return the value of a healthy unit that the model was trained on: of what it said while it was held out."""
        held = self.version.held_out
        own = np.flatnonzero(held.unit == unit)
        if not own.size or unit in self.version.faulty:
            return None
        model = self.version.model
        p = held.p[own] * np.exp(model.log_prior_correction)
        p /= p.sum(axis=1, keepdims=True)
        order = np.argsort(held.recording[own])
        fault = 1.0 - p[order, list(held.classes).index(HEALTHY)]
        return highest_recent(fault.tolist(), self.version.thresholds)

    def _highest(self, rows: npt.NDArray[np.int64]) -> float | None:
        p = self.ahead.p[rows]
        return highest_recent(p[np.isfinite(p)].tolist(), self.version.thresholds)


def with_level(limits: Thresholds, levels: Levels | None, programs: frozenset[str]) -> Thresholds:
    """Return thresholds with a world's own levels and the plant's own programs."""
    limits = replace(limits, programs=limits.programs | programs)
    if levels is None:
        return limits
    return replace(limits, alarm_probability=levels.alarm, review_probability=levels.review)
