"""Kind `healthy`: all recordings are healthy, so every alarm is false and every review is needless work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.judging.intervals import share_interval
from models.kinds import HEALTHY, TrainingRefused
from models.training.train import train
from pipeline.base.settings import Settings
from pipeline.cases.axis_state import ALARM, DATA_FAULT, ScoredWindow, Thresholds, combine_channels
from pipeline.evaluation.protocol import EvaluationRefused, Protocol
from pipeline.evaluation.reporting.output import EvaluationResult
from pipeline.evaluation.routing import MODEL, doubts_of, judged_windows
from pipeline.evaluation.selection import Selection
from pipeline.evaluation.windows import OK, Windows, cut_shared, left_out_bad
from pipeline.scoring.levels import thresholds_of
from pipeline.training.train import held_out_quantiles, training_settings

BoolArray = NDArray[np.bool_]

ROWS: Final = ("default",)

COLUMNS: Final = (
    "recordings",
    "alarms",
    "reviews",
    "data_cases",
    "alarm_rate",
    "review_rate",
    "data_rate",
    "votes",
    "alarms_vote",
    "reviews_vote",
    "n_units",
    "seconds",
)

BLOCKS: Final = 5
"""With fewer units than this, each unit is cut into this many parts in time, so that parts can be held out."""

Progress = Callable[[str, int, int], None]


def evaluate_healthy(
    protocol: Protocol,
    selection: Selection,
    windows: Windows,
    settings: Settings,
    *,
    seeds: Sequence[int],
    on_progress: Progress | None = None,
) -> EvaluationResult:
    """Fit a baseline-only model to healthy windows; count alarms, reviews and data cases on other healthy windows.

    With [train], its rows are the baseline. Without it, the baseline is the first `baseline_share` of every channel of
    every unit.

    Raises
    ------
    EvaluationRefused
        A side is empty, or no model can be trained on the baseline.
    """
    assert protocol.unit is not None
    baseline, judged = _sides(protocol, selection, windows)
    left_out = left_out_bad(int((baseline.quality != OK).sum()), "baseline windows")
    baseline = baseline.take(baseline.quality == OK)
    if not len(baseline) or not len(judged):
        side = "judge" if len(baseline) else "train on"
        raise EvaluationRefused(f"protocol {protocol.name}", [f"there is no good window to {side}"])
    units, notes = _units_to_hold_out(baseline, protocol.unit)
    leaked: BoolArray = np.isin(judged.cells(protocol.unit), sorted(selection.leaked))
    runs = []
    for number, seed in enumerate(seeds):
        if on_progress:
            on_progress(f"default, seed {seed}", number, len(seeds))
        started = time.perf_counter()
        scored, limits, model_notes = _train_and_score(baseline, units, judged, settings, seed, protocol)
        seconds = time.perf_counter() - started
        clean = _count(judged, scored, limits, protocol, ~leaked)
        runs.append(
            {
                "method": "default",
                "seed": seed,
                "metrics": {**clean, "seconds": seconds},
                "leaked": _count(judged, scored, limits, protocol, leaked) if leaked.any() else None,
                "units": _by_unit(judged, scored, limits, protocol),
                "notes": list(model_notes),
            }
        )
        notes += [f"default: {note}" for note in model_notes]
    about = {
        "baseline": {"windows": len(baseline), "units": int(np.unique(baseline.cells(protocol.unit)).size)},
        "test": {"windows": len(judged), "units": int(np.unique(judged.cells(protocol.unit)).size)},
        "leaked_units": sorted(selection.leaked),
    }
    return EvaluationResult(runs, {"default": _intervals(runs)}, about, list(dict.fromkeys(notes)), left_out)


def _sides(protocol: Protocol, selection: Selection, windows: Windows) -> tuple[Windows, Windows]:
    test = windows.of_rows(selection.test)
    assert protocol.unit is not None
    if protocol.train is not None:
        return cut_shared(windows.of_rows(selection.train), test, selection, protocol.unit)
    first = np.zeros(len(test), dtype=np.bool_)
    unit = test.cells(protocol.unit)
    for name in np.unique(unit):
        for channel in np.unique(test.channel[unit == name]):
            own = np.flatnonzero((unit == name) & (test.channel == channel))
            order = own[np.argsort(test.started_s[own], kind="stable")]
            first[order[: int(protocol.baseline_share * order.size)]] = True
    return test.take(first), test.take(~first)


def _units_to_hold_out(baseline: Windows, column: str) -> tuple[NDArray[np.str_], list[str]]:
    """Return for each window the group that is held out together: its unit, or with few units a part of it in time."""
    unit = baseline.cells(column)
    if np.unique(unit).size >= BLOCKS:
        return unit, []
    named = np.array(unit, dtype=object)
    for name in np.unique(unit):
        own = np.flatnonzero(unit == name)
        order = own[np.argsort(baseline.started_s[own], kind="stable")]
        for number, part in enumerate(np.array_split(order, BLOCKS)):
            named[part] = f"{name} part {number + 1}"
    text = (
        f"units to train on: {np.unique(unit).size}, too few to hold one out; percentiles are relative to parts in "
        "time of the same units, so they are lower than relative to unseen units"
    )
    return named.astype(np.str_), [text]


def _train_and_score(
    baseline: Windows, unit: NDArray[np.str_], judged: Windows, settings: Settings, seed: int, protocol: Protocol
) -> tuple[list[ScoredWindow], Thresholds, tuple[str, ...]]:
    """Train on the baseline and score the judged windows."""
    try:
        model, report = train(
            baseline.x,
            np.zeros(len(baseline), dtype=np.int64),
            unit,
            baseline.weight,
            classes=(HEALTHY,),
            feature_names=baseline.names,
            feature_version=baseline.feature_version,
            feature_groups=baseline.groups,
            settings=replace(training_settings(settings), seed=seed),
        )
    except TrainingRefused as error:
        raise EvaluationRefused(
            f"protocol {protocol.name}", [f"no model can be trained on the baseline: {error}"]
        ) from error
    scores = model.score(judged.x)
    scored = judged_windows(model, scores, quality=judged.quality, channel=judged.channel, program=judged.program)
    programs = frozenset(np.unique(baseline.program).tolist()) - {""}
    limits = thresholds_of(settings, held_out_quantiles(model), programs=programs, classes=model.classes)
    return scored, limits, report.notes


def _count(
    judged: Windows, scored: list[ScoredWindow], limits: Thresholds, protocol: Protocol, rows: BoolArray
) -> dict[str, Any]:
    """Count the outcomes of recordings, each channel alone, and of votes, their channels combined as `advise` does."""
    assert protocol.unit is not None
    counts: dict[str, Any] = dict.fromkeys(COLUMNS)
    n, alarms, reviews, data = _outcomes(judged.recording, scored, limits, rows)
    counts |= {"recordings": n, "alarms": alarms, "reviews": reviews, "data_cases": data}
    rates = {"alarm_rate": alarms, "review_rate": reviews, "data_rate": data}
    counts |= {column: count / n if n else None for column, count in rates.items()}
    if protocol.vote is not None:
        votes, alarms, reviews, _ = _outcomes(judged.cells(protocol.vote), scored, limits, rows)
        counts |= {"votes": votes, "alarms_vote": alarms, "reviews_vote": reviews}
    counts["n_units"] = int(np.unique(judged.cells(protocol.unit)[rows]).size)
    return counts


def _outcomes(
    groups: NDArray[np.str_], scored: list[ScoredWindow], limits: Thresholds, rows: BoolArray
) -> tuple[int, int, int, int]:
    """Return the number of groups of windows, and of groups with an alarm, with a review, and with a data case."""
    members: dict[str, list[ScoredWindow]] = {}
    for index in np.flatnonzero(rows).tolist():
        members.setdefault(str(groups[index]), []).append(scored[index])
    states = [combine_channels(windows, {MODEL: limits}) for windows in members.values()]
    alarms = sum(state.state == ALARM for state in states)
    reviews = sum(bool(doubts_of(state)) for state in states)
    data = sum(state.state == DATA_FAULT or any(flag.code == "data" for flag in state.flags) for state in states)
    return len(states), alarms, reviews, data


def _by_unit(
    judged: Windows, scored: list[ScoredWindow], limits: Thresholds, protocol: Protocol
) -> dict[str, dict[str, Any]]:
    assert protocol.unit is not None
    unit = judged.cells(protocol.unit)
    by_unit: dict[str, dict[str, Any]] = {}
    for name in np.unique(unit).tolist():
        counted = _outcomes(judged.recording, scored, limits, np.asarray(unit == name))
        novelty = [w.novelty_percentile for w, own in zip(scored, unit == name, strict=True) if own]
        percentiles = [value for value in novelty if value is not None]
        by_unit[name] = dict(zip(("recordings", "alarms", "reviews", "data_cases"), counted, strict=True))
        by_unit[name]["median_novelty_percentile"] = float(np.median(percentiles)) if percentiles else None
    return by_unit


def _intervals(runs: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Return exact intervals of the first seed's shares. Recordings count as independent, though one unit's are not."""
    metrics = runs[0]["metrics"]
    pairs = (("alarm_rate", "alarms"), ("review_rate", "reviews"), ("data_rate", "data_cases"))
    intervals = {}
    for column, count in pairs:
        interval = share_interval(metrics[count], metrics["recordings"])
        if interval is not None:
            intervals[column] = interval
    return intervals
