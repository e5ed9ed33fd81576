"""Input of the product's triggers in the replay: `Observed`, filled from arrays. The product's function decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.kinds import HEALTHY
from pipeline.base.settings import Settings
from pipeline.extraction.baselines import RELATIVE
from pipeline.watch.answers import NOVELTY_CODES, REVIEW_CODES
from pipeline.watch.observed import (
    SCORE_NAMES,
    TRIGGERS,
    Confirmed,
    FleetChange,
    News,
    Observed,
    Reviewed,
    Spans,
    TimeSpan,
    decide,
    score_columns,
    spans_of,
)
from pipeline.watch.triggers.decision import Decision
from pipeline.watch.triggers.drift import DriftSample
from pipeline.watch.triggers.due import NewLabel
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
        Days of earlier retrainings, oldest first.
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

    @property
    def known(self) -> list[Label]:
        """Labels that are known now."""
        return known(self.labels, self.now)


def watch(moment: Moment, strategy: str, samples: Samples) -> list[Decision]:
    """Evaluate a strategy's triggers, the guards and the conclusion.

    Triggers that need features and scores are skipped where they could not start a retraining: without new labels, or
    while a guard holds it back. The conclusion is the same. `samples` caches the features of a span, which are the same
    for all runs on one plant.
    """
    champion, now = moment.champion, moment.now
    last = max([champion.cutoff, *moment.trained[-1:]])
    new = [NewLabel(label.unit, label.target, label.finding) for label in moment.known if label.known_day > last]
    observed = Observed(
        news=News(new),
        known_classes=champion.model.classes,
        cutoff_days_ago=now - champion.cutoff,
        retrained_days_ago=[now - day for day in moment.trained],
        change=None,
    )
    decisions = decide(observed, moment.settings, only=STRATEGIES[strategy])
    conclusion = decisions[-1].figures
    if conclusion["held_back_by"] or not conclusion["to_learn_from"]:
        return decisions
    return decide(replace(observed, change=_change(moment, samples)), moment.settings, only=STRATEGIES[strategy])


def _change(moment: Moment, samples: Samples) -> FleetChange:
    spans = spans_of(
        label_cutoff=START + timedelta(days=moment.champion.cutoff),
        promoted_at=START + timedelta(days=moment.promoted),
        as_of=START + timedelta(days=moment.now),
        days=moment.settings.drift_days,
    )
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
        features=lambda: (features(spans.trained), features(spans.now)),
        scores=lambda: (_scores(moment, spans.first), _scores(moment, spans.now)),
        reviewed=lambda: _reviewed(moment),
        confirmed=lambda: _confirmed(moment),
        rates=lambda: _rates(moment, spans, explained),
        unit_causes=faulty | causes,
        axis_causes=explained,
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
    both = recent | _within(plant, spans.trained)
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


def _answered(moment: Moment) -> tuple[list[Case], dict[int, Label]]:
    """Return the cases since the promotion, and by index the newest answer after the cut-off, if it is a class."""
    own = {
        axis: [
            row
            for row in rows
            if moment.promoted <= moment.plant.day[row] < moment.now and moment.bins.version.get(row) == moment.version
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


def _reviewed(moment: Moment) -> Reviewed:
    """Return the answered cases, each with the share of similar cases that were answered. There are no audits."""
    opened, answers = _answered(moment)
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


def _confirmed(moment: Moment) -> Confirmed:
    """Count units with false alarms. Questions are only about cases, so no confirmed fault was missed."""
    opened, answers = _answered(moment)
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
