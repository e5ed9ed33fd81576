"""Input of the product's triggers in the replay: `Observed`, filled from arrays. The product's function decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.kinds import HEALTHY
from pipeline.base.settings import Settings
from pipeline.extraction.baselines import RELATIVE
from pipeline.watch.answers import NOVELTY_CODES, REVIEW_CODES
from pipeline.watch.observed import (
    CHANGES,
    SCORE_NAMES,
    TRIGGERS,
    Confirmed,
    FleetChange,
    Observed,
    Reviewed,
    Spans,
    TimeSpan,
    decide,
    score_columns,
    spans_of,
)
from pipeline.watch.reported import Firing, reported
from pipeline.watch.triggers.decision import Decision
from pipeline.watch.triggers.drift import DriftSample
from pipeline.watch.triggers.due import NewLabel, News
from pipeline.watch.triggers.new_program import Programs, ProgramUse
from replaying.cases import Bins, Case, cases, day_of
from replaying.fleet import START, Plant
from replaying.model import SENSOR, Label, Version, known, out_of_service

STRATEGIES: Final[dict[str, frozenset[str]]] = {
    "never": frozenset(),
    "calendar": frozenset({"schedule"}),
    "drift only": frozenset({"feature_drift", "score_drift"}),
    "all triggers": frozenset(TRIGGERS),
}
"""Triggers that each strategy uses. Guards and conclusion are the same for all strategies."""

Samples = dict[TimeSpan, tuple[npt.NDArray[np.float64], DriftSample]]
"""By time span: days and features of all its recordings, also of units that are out of service in some runs."""


@dataclass(frozen=True, eq=False)
class Moment:
    """A run on one of its days.

    Attributes
    ----------
    champion, promoted, version
        The champion, the day of its promotion, and its number in this run.
    bins, rows_of
        The bins scored so far, and the scored recordings of each axis.
    labels
        All labels that were asked for; only those known now are read.
    trained : sequence of float
        Days of earlier retrainings, oldest first, whatever came of them.
    firings : list of Firing
        What earlier days have reported; `watch` adds to it.
    """

    plant: Plant
    settings: Settings
    now: float
    champion: Version
    promoted: float
    version: int
    bins: Bins
    rows_of: dict[str, list[int]]
    labels: Sequence[Label]
    trained: Sequence[float]
    firings: list[Firing]

    @property
    def known(self) -> list[Label]:
        """Labels that are known now."""
        return known(self.labels, self.now)


def watch(moment: Moment, strategy: str, samples: Samples) -> list[Decision]:
    """Evaluate a strategy's triggers, the guards and the conclusion.

    Labels that the champion has not learned are new, those that the last attempt had too. `samples` caches the features
    of a span, which are the same for all runs on one plant.
    """
    champion, now = moment.champion, moment.now
    last = max([champion.cutoff, *moment.trained[-1:]])
    new = [
        NewLabel(label.unit, label.target, label.finding, tried=label.known_day <= last)
        for label in moment.known
        if label.known_day > champion.cutoff
    ]
    observed = Observed(
        news=News(new, learned_units=len(champion.units)),
        known_classes=champion.model.classes,
        cutoff_days_ago=now - champion.cutoff,
        retrained_days_ago=[now - day for day in moment.trained],
        change=None,
    )
    if STRATEGIES[strategy] & set(CHANGES):
        observed = replace(observed, change=_change(moment, samples))
    decisions = decide(observed, moment.settings, only=STRATEGIES[strategy])
    fired = [one.trigger for one in decisions if one.fired and one.trigger in CHANGES]
    moment.firings.extend(Firing(trigger, _at(now), str(moment.version)) for trigger in fired)
    return decisions


def _at(day: float) -> datetime:
    return START + timedelta(days=day)


def _change(moment: Moment, samples: Samples) -> FleetChange:
    champion = {"label_cutoff": _at(moment.champion.cutoff), "promoted_at": _at(moment.promoted)}
    days = moment.settings.drift_days
    earlier = reported(
        moment.firings,
        champion=str(moment.version),
        **champion,
        last_attempt=_at(moment.trained[-1]) if moment.trained else None,
        days=days,
    )
    spans = spans_of(**champion, as_of=_at(moment.now), days=days, changed_at=earlier.changed_at)
    names = tuple(name for name in moment.plant.names.tolist() if not name.startswith(RELATIVE))
    causes = _causes(moment, spans)
    faulty = {label.unit: "fault" for label in moment.known if label.is_fault and _reaches(label, spans.now)}
    stopped = out_of_service(moment.known)
    explained = {axis: causes[unit] for axis, unit in _units_of_axes(moment.plant) if unit in causes}

    def features(span: TimeSpan) -> DriftSample:
        if span not in samples:
            samples[span] = _features(moment.plant, span, len(names))
        days, sample = samples[span]
        kept = days < np.array([stopped.get(unit, np.inf) for unit in sample.unit.tolist()])
        return DriftSample(sample.values[kept], sample.unit[kept], sample.regime[kept])

    return FleetChange(
        spans=spans,
        feature_names=names,
        features=lambda: (features(spans.usual), features(spans.now)),
        programs=lambda: (_programs(moment.plant, spans.usual), _programs(moment.plant, spans.now)),
        scores=lambda: (_scores(moment, spans.first), _scores(moment, spans.now)),
        reviewed=lambda: _reviewed(moment, spans),
        confirmed=lambda: _confirmed(moment, spans),
        rates=lambda: _rates(moment, spans, explained),
        unit_causes=faulty | causes,
        axis_causes=explained,
        known_programs=moment.champion.thresholds.programs,
        waiting=earlier.waiting,
    )


def _within(plant: Plant, span: TimeSpan) -> npt.NDArray[np.bool_]:
    return (plant.day >= day_of(span.from_at)) & (plant.day < day_of(span.to_at))


def _reaches(label: Label, span: TimeSpan) -> bool:
    return label.from_day < day_of(span.to_at) and label.to_day > day_of(span.from_at)


def _units_of_axes(plant: Plant) -> set[tuple[str, str]]:
    return set(zip(plant.axis.tolist(), plant.unit.tolist(), strict=True))


def _causes(moment: Moment, spans: Spans) -> dict[str, str]:
    """Return units whose change has a known cause: a sensor fault, mostly bad recordings, or a replacement."""
    plant = moment.plant
    good = np.zeros(len(plant.day), dtype=np.bool_)
    good[plant.of[plant.ok]] = True
    causes = {label.unit: SENSOR for label in moment.known if label.finding == SENSOR and _reaches(label, spans.now)}
    recent = _within(plant, spans.now)
    for unit in np.unique(plant.unit[recent]).tolist():
        own = recent & (plant.unit == unit)
        if 2 * (~good[own]).sum() > own.sum():
            causes[unit] = "most recordings are bad"
    both = recent | _within(plant, spans.usual)
    for axis in np.unique(plant.axis[both]).tolist():
        units = list(dict.fromkeys(plant.unit[both & (plant.axis == axis)].tolist()))
        causes |= {unit: f"replaced {before}" for before, unit in pairwise(units)}
    return causes


def _features(plant: Plant, span: TimeSpan, width: int) -> tuple[npt.NDArray[np.float64], DriftSample]:
    take = np.flatnonzero(plant.ok & _within(plant, span)[plant.of])
    rows, first = np.unique(plant.of[take], return_index=True)
    edges = [*first.tolist(), len(take)]
    medians = [np.median(plant.x[take[start:stop], :width], axis=0) for start, stop in pairwise(edges)]
    values = np.array(medians).reshape(len(rows), width)
    return plant.day[rows], DriftSample(values, plant.unit[rows], plant.regime[rows])


def _programs(plant: Plant, span: TimeSpan) -> Programs:
    """Return the programs that axes ran in a span, by good recordings."""
    found: dict[str, dict[str, ProgramUse]] = {}
    good = np.unique(plant.of[plant.ok])
    for row in good[_within(plant, span)[good]].tolist():
        programs, at = found.setdefault(str(plant.axis[row]), {}), _at(float(plant.day[row]))
        other = programs.get(str(plant.program[row]), ProgramUse(0, at))
        programs[str(plant.program[row])] = ProgramUse(other.recordings + 1, min(other.first_at, at))
    return found


def _scores(moment: Moment, span: TimeSpan) -> DriftSample:
    plant, bins = moment.plant, moment.bins
    rows = [
        row
        for row in np.flatnonzero(_within(plant, span)).tolist()
        if bins.version.get(row) == moment.version and np.isfinite(bins.scores[row][0])
    ]
    raw = np.array([bins.scores[row] for row in rows], dtype=np.float64).reshape(len(rows), len(SCORE_NAMES))
    return DriftSample(score_columns(raw), plant.unit[rows], plant.regime[rows])


def _rates(moment: Moment, spans: Spans, left_out: Collection[str]) -> dict[str, tuple[Any, Any]]:
    """Return the share of the bins of each axis with a flag, in the first and the present span; NaN without bins."""
    axes = [axis for axis in sorted(moment.rows_of) if axis not in left_out]

    def shares(span: TimeSpan, codes: frozenset[str]) -> npt.NDArray[np.float64]:
        return np.array([_share(moment, axis, span, codes) for axis in axes], dtype=np.float64)

    return {
        name: (shares(spans.first, codes), shares(spans.now, codes))
        for name, codes in (("novelty_rate", NOVELTY_CODES), ("review_rate", REVIEW_CODES))
    }


def _share(moment: Moment, axis: str, span: TimeSpan, codes: frozenset[str]) -> float:
    first, last = day_of(span.from_at), day_of(span.to_at)
    hits = [
        any(flag.code in codes for flag in moment.bins.figures[row].flags)
        for row in moment.rows_of[axis]
        if first <= moment.plant.day[row] < last
        and moment.bins.version.get(row) == moment.version
        and moment.bins.figures[row].state != "data_fault"
    ]
    return float(np.mean(hits)) if hits else float("nan")


def _answered(moment: Moment, spans: Spans) -> tuple[list[Case], dict[int, Label]]:
    """Return the cases since the promotion, or since the last reported change, and by index the newest answer after the
    cut-off, if it is a class.
    """
    since = day_of(spans.counted_from)
    own = {
        axis: [
            row
            for row in rows
            if since <= moment.plant.day[row] < moment.now and moment.bins.version.get(row) == moment.version
        ]
        for axis, rows in moment.rows_of.items()
    }
    opened = cases(moment.plant, moment.bins, own, moment.settings, now=moment.now)
    newest = {}
    for index, case in enumerate(opened):
        for label in moment.known:
            fits = label.unit == case.unit and case.first_day <= label.asked_day <= case.last_day + 7.0
            if fits and label.known_day > moment.champion.cutoff:
                newest[index] = label
    return opened, {index: label for index, label in newest.items() if label.target is not None}


def _reviewed(moment: Moment, spans: Spans) -> Reviewed:
    """Return the answered cases, each with the share of similar cases that were answered. There are no audits."""
    opened, answers = _answered(moment, spans)
    rows = []
    for index, label in answers.items():
        case = opened[index]
        stated = [p for row in case.rows if (p := moment.bins.figures[row].fault_probability) is not None]
        if stated:
            kind = [place for place, other in enumerate(opened) if other.alarm_alone == case.alarm_alone]
            share = sum(place in answers for place in kind) / len(kind)
            rows.append((np.mean(stated), label.target != HEALTHY, case.unit, share / len(stated), case.alarm_alone))
    columns: list[Any] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(5)]
    return Reviewed(
        stated=np.array(columns[0], dtype=np.float64),
        fault=np.array(columns[1], dtype=np.bool_),
        unit=np.array(columns[2], dtype=np.str_),
        chance=np.array(columns[3], dtype=np.float64),
        audited=np.zeros(len(rows), dtype=np.bool_),
        alarm=np.array(columns[4], dtype=np.bool_),
    )


def _confirmed(moment: Moment, spans: Spans) -> Confirmed:
    """Count units with false alarms. Questions are only about cases, so no confirmed fault was missed."""
    opened, answers = _answered(moment, spans)
    false: dict[str, bool] = {}
    for index, label in answers.items():
        if opened[index].alarm_alone:
            false[label.unit] = false.get(label.unit, False) or label.target == HEALTHY
    return Confirmed(
        missed=0,
        faults=len({label.unit for label in answers.values() if label.target != HEALTHY}),
        false_alarms=sum(false.values()),
        alarms=len(false),
    )
