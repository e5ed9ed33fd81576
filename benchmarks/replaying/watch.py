"""What the triggers are asked in the replay: the product's pure functions on arrays, as `pipeline.watch.watch` asks
them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from models.kinds import HEALTHY
from pipeline.base.settings import Settings
from pipeline.extraction.baselines import RELATIVE
from pipeline.watch.answers import NOVELTY_CODES, REVIEW_CODES
from pipeline.watch.periods import SCORE_NAMES, SMALLEST
from pipeline.watch.triggers import (
    Decision,
    budget,
    calibration,
    conclude,
    cooldown,
    drift,
    new_labels,
    performance,
    rate_rise,
    schedule,
)
from pipeline.watch.triggers.drift import Period
from pipeline.watch.triggers.due import NewLabel
from replaying.cases import Bins, cases
from replaying.fleet import Plant
from replaying.model import SENSOR, UNSURE, Label, Version, known

STRATEGIES: Final[dict[str, frozenset[str]]] = {
    "never": frozenset(),
    "calendar": frozenset({"schedule"}),
    "drift only": frozenset({"feature_drift", "score_drift"}),
    "all triggers": frozenset(
        {
            "schedule",
            "new_labels",
            "feature_drift",
            "score_drift",
            "calibration",
            "novelty_rate",
            "review_rate",
            "performance",
        }
    ),
}
"""Which triggers each strategy of retraining listens to. Guards and conclusion are the same for all."""


def decide(
    plant: Plant,
    strategy: str,
    champion: Version,
    bins: Bins,
    labels: Sequence[Label],
    settings: Settings,
    *,
    now: float,
    promoted: float,
    version: int,
    trained: Sequence[float],
    rows_of: dict[str, list[int]],
    drifts: dict[Any, Decision],
) -> list[Decision]:
    """Evaluate a strategy's triggers, the guards and the conclusion from what is known now.

    What only says that something changed is not asked where it could start nothing: without a label to learn from, or
    while a guard holds back. The conclusion is the same. `drifts` keeps what feature drift said, which is the
    same for all runs on one plant with the same cut-off, day and units left out.
    """
    wanted = STRATEGIES[strategy]
    told = known(labels, now)
    last = max([champion.cutoff, *trained[-1:]])
    fresh = [NewLabel(item.unit, item.target, item.finding) for item in told if item.known_day > last]
    triggers = []
    if "schedule" in wanted:
        triggers.append(schedule(now - last, max_age_days=settings.retrain_after_days))
    if "new_labels" in wanted:
        triggers.append(
            new_labels(
                fresh,
                known_classes=champion.model.classes,
                min_labels=settings.retrain_min_labels,
                min_kind_units=settings.retrain_kind_units,
            )
        )
    guards = [
        cooldown(now - trained[-1] if trained else None, cooldown_days=settings.retrain_cooldown_days),
        budget([now - at for at in trained], most=settings.retrain_budget, period_days=settings.retrain_budget_days),
    ]
    useful = sum(one.target is not None for one in fresh)
    if wanted & _CHANGES and useful and not any(guard.fired for guard in guards):
        triggers += _changes(
            wanted=wanted,
            told=told,
            plant=plant,
            champion=champion,
            bins=bins,
            settings=settings,
            now=now,
            promoted=promoted,
            version=version,
            rows_of=rows_of,
            drifts=drifts,
        )
    return [*triggers, *guards, conclude(triggers, guards, to_learn_from=useful)]


_CHANGES: Final = frozenset(STRATEGIES["all triggers"] - {"schedule", "new_labels"})


def _changes(
    *,
    wanted: frozenset[str],
    told: list[Label],
    plant: Plant,
    champion: Version,
    bins: Bins,
    settings: Settings,
    now: float,
    promoted: float,
    version: int,
    rows_of: dict[str, list[int]],
    drifts: dict[Any, Decision],
) -> list[Decision]:
    length = settings.drift_days
    start = max(promoted, champion.cutoff)
    trained = (champion.cutoff - length, champion.cutoff)
    first = (start, start + length)
    current = (max(now - length, champion.cutoff), now)
    causes = _causes(plant, told, trained, current)
    faulty = {item.unit: "found faulty" for item in told if item.finding not in (HEALTHY, UNSURE, SENSOR)}
    # Units whose change is explained are taken out here: the triggers would compare a second time with them, to tell.
    left_out = faulty | causes
    limits = {
        "alpha": settings.drift_alpha,
        "min_shift": settings.drift_shift,
        "min_units": settings.drift_min_units,
    }
    found = []
    if "feature_drift" in wanted:
        key = (champion.cutoff, now, tuple(sorted(left_out)))
        if key not in drifts:
            names = tuple(name for name in plant.names.tolist() if not name.startswith(RELATIVE))
            periods = [_features(plant, span, len(names)).without(left_out) for span in (trained, current)]
            drifts[key] = drift(*periods, names=names, **limits)
        found.append(drifts[key])
    old_enough = current[0] >= first[1]
    if "score_drift" in wanted and old_enough:
        sides = [_scores(plant, bins, span, version).without(left_out) for span in (first, current)]
        found.append(drift(*sides, names=SCORE_NAMES, trigger="score_drift", **limits))
    if "calibration" in wanted or "performance" in wanted:
        reviewed = _reviewed(plant, champion, bins, told, settings, now, promoted, version, rows_of)
        false = {unit: not fault for unit, fault, alone in zip(*_columns(reviewed), strict=True) if alone}
        found.append(
            calibration(
                np.array([item["stated"] for item in reviewed], dtype=np.float64),
                np.array([item["fault"] for item in reviewed], dtype=np.bool_),
                np.array([item["unit"] for item in reviewed], dtype=np.str_),
                np.array([item["chance"] for item in reviewed], dtype=np.float64),
                np.zeros(len(reviewed), dtype=np.bool_),
                alarm=np.array([item["alarm"] for item in reviewed], dtype=np.bool_),
                margin=settings.calibration_margin,
            )
        )
        faults = {item["unit"] for item in reviewed if item["fault"]}
        # Only cases are asked about, so that no confirmed fault can have been missed: what is asked is how many
        # alarms were false.
        found.append(
            performance(
                missed=0,
                faults=len(faults),
                false_alarms=sum(false.values()),
                alarms=len(false),
                max_missed=settings.missed_rate,
                max_false=settings.false_alarm_rate,
            )
        )
    for name, codes in (("novelty_rate", NOVELTY_CODES), ("review_rate", REVIEW_CODES)):
        if name in wanted and old_enough:
            sides = [_rates(plant, bins, rows_of, span, version, codes, frozenset(causes)) for span in (first, current)]
            found.append(
                rate_rise(
                    *sides,
                    name=name,
                    min_rise=settings.rate_rise,
                    alpha=settings.drift_alpha,
                    min_units=settings.drift_min_units,
                    explained=causes,
                )
            )
    return found


def _columns(reviewed: list[dict[str, Any]]) -> list[list[Any]]:
    return [[item[name] for item in reviewed] for name in ("unit", "fault", "alarm")]


def _within(plant: Plant, span: tuple[float, float]) -> Any:
    return (plant.day >= span[0]) & (plant.day < span[1])


def _causes(plant: Plant, told: list[Label], then: tuple[float, float], current: tuple[float, float]) -> dict[str, str]:
    """Units whose change has a known cause: mostly bad recordings, found to be a sensor, or put in another's place."""
    good = np.zeros(len(plant.day), dtype=np.bool_)
    good[plant.of[plant.ok]] = True
    found = {item.unit: "sensor or data" for item in told if item.finding == SENSOR}
    recent = _within(plant, current)
    for unit in np.unique(plant.unit[recent]).tolist():
        own = recent & (plant.unit == unit)
        if 2 * (~good[own]).sum() > own.sum():
            found[unit] = "most recordings are bad"
    both = recent | _within(plant, then)
    for axis in np.unique(plant.axis[both]).tolist():
        units = list(dict.fromkeys(plant.unit[both & (plant.axis == axis)].tolist()))
        found |= {unit: f"took the place of {before}" for before, unit in pairwise(units)}
    return found


def _features(plant: Plant, span: tuple[float, float], width: int) -> Period:
    take = np.flatnonzero(plant.ok & _within(plant, span)[plant.of])
    rows, first = np.unique(plant.of[take], return_index=True)
    values = np.array(
        [np.median(plant.x[take[start:stop], :width], axis=0) for start, stop in _runs(first, len(take))]
    ).reshape(len(rows), width)
    return Period(values, plant.unit[rows], plant.regime[rows])


def _runs(first: Any, total: int) -> list[tuple[int, int]]:
    edges = [*first.tolist(), total]
    return list(pairwise(edges))


def _scores(plant: Plant, bins: Bins, span: tuple[float, float], version: int) -> Period:
    rows = [
        row
        for row in np.flatnonzero(_within(plant, span)).tolist()
        if bins.version.get(row) == version and np.isfinite(bins.told[row][0])
    ]
    raw = np.array([bins.told[row] for row in rows], dtype=np.float64).reshape(len(rows), len(SCORE_NAMES))
    p = np.clip(raw[:, 0], SMALLEST, 1.0 - SMALLEST)
    values = np.column_stack([np.log(p / (1.0 - p)), np.log10(np.maximum(raw[:, 1:], SMALLEST))])
    return Period(values, plant.unit[rows], plant.regime[rows])


def _rates(
    plant: Plant,
    bins: Bins,
    rows_of: dict[str, list[int]],
    span: tuple[float, float],
    version: int,
    codes: frozenset[str],
    left_out: frozenset[str],
) -> Any:
    """Share of the bins of each axis with a flag of these codes, NaN where there is none."""
    found = []
    for axis in sorted(rows_of):
        hits = [
            any(flag.code in codes for flag in bins.figures[row].flags)
            for row in rows_of[axis]
            if span[0] <= plant.day[row] < span[1]
            and bins.version.get(row) == version
            and bins.figures[row].state != "data_fault"
            and str(plant.unit[row]) not in left_out
        ]
        found.append(np.mean(hits) if hits else np.nan)
    return np.array(found, dtype=np.float64)


def _reviewed(
    plant: Plant,
    champion: Version,
    bins: Bins,
    told: list[Label],
    settings: Settings,
    now: float,
    promoted: float,
    version: int,
    rows_of: dict[str, list[int]],
) -> list[dict[str, Any]]:
    """Cases opened since the promotion that were answered since the label cut-off, each with its chance."""
    own = {
        axis: [row for row in rows if promoted <= plant.day[row] < now and bins.version.get(row) == version]
        for axis, rows in rows_of.items()
    }
    opened = cases(plant, bins, own, settings, now=now)
    answers = {}
    for index, case in enumerate(opened):
        for label in told:
            fits = label.unit == case.unit and case.first_day <= label.asked_day <= case.last_day + 7.0
            if fits and label.known_day > champion.cutoff and label.target is not None:
                answers[index] = label
    found = []
    for index, label in answers.items():
        case = opened[index]
        stated = [value for row in case.rows if (value := bins.figures[row].fault_probability) is not None]
        if not stated:
            continue
        kind = [place for place, other in enumerate(opened) if other.alarm_alone == case.alarm_alone]
        share = sum(place in answers for place in kind) / len(kind)
        found.append(
            {
                "stated": float(np.mean(stated)),
                "fault": label.target != HEALTHY,
                "unit": case.unit,
                "chance": share / len(stated),
                "alarm": case.alarm_alone,
            }
        )
    return found
