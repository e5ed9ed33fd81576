"""Dropout rate, depth, BatchNorm and length scale, chosen by the likelihood of units held out.

A small grid, a candidate of which is drawn after the other in one order that is the same for every method and seed, so
that all methods have the same budget. Each candidate is trained in folds of whole units, calibrated on the other folds
with all that its method has, and judged by the predictive mean of that method (`models.training.crossfit`,
`models.training.judge`).

Work is bounded by counts and not by a clock, or the same data would lead to another model on a slower machine: at most
`MOST_WINDOWS` windows, taken evenly from all units, and as many made ones; folds and epochs are those of training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.judging.calibration import too_few_units
from models.kinds import TrainingRefused
from models.methods.mask_bank import draw_mask_bank
from models.settings import TrainingSettings
from models.training.crossfit import FloatArray, HeldOut, IntArray, Task, hold_out
from models.training.judge import Calibration, calibrate
from models.training.report import truth_probability
from models.training.training_data import Supplement, TrainingData
from models.training.tuning_choice import Tuning, choose

DROPOUTS: Final = (0.05, 0.1, 0.2, 0.4)
LAYERS: Final = (1, 2, 3)
"""Hidden layers, each as wide as the first one of the settings."""
BATCH_NORM: Final = (True, False)
LENGTH_SCALES: Final = (0.01, 0.1, 1.0)

MOST_WINDOWS: Final = 4000
LEAST_PROBABILITY: Final = 2e-16
_ORDER_SEED = 20
_AT_ONCE = 2048


def candidates(settings: TrainingSettings, budget: int) -> list[TrainingSettings]:
    """Return the settings themselves and up to `budget` - 1 others from the grid, in the one order.

    >>> [len(candidates(TrainingSettings(), budget)) for budget in (1, 5)]
    [1, 5]
    """
    grid = list(product(DROPOUTS, LAYERS, BATCH_NORM, LENGTH_SCALES))
    chosen, known = [settings], [varied(settings)]
    for number in np.random.default_rng(_ORDER_SEED).permutation(len(grid)):
        if len(chosen) >= budget:
            break
        dropout, layers, batch_norm, length_scale = grid[number]
        network = replace(
            settings.network, hidden=(settings.network.hidden[0],) * layers, dropout=dropout, batch_norm=batch_norm
        )
        one = replace(settings, network=network, length_scale=length_scale)
        if varied(one) not in known:
            chosen.append(one)
            known.append(varied(one))
    return chosen


def varied(settings: TrainingSettings) -> dict[str, Any]:
    """Return what candidates differ in, as JSON values."""
    network = settings.network
    return {
        "dropout": network.dropout,
        "hidden": list(network.hidden),
        "batch_norm": network.batch_norm,
        "length_scale": settings.length_scale,
    }


def tune(task: Task, progress: Callable[[int, int], None]) -> tuple[TrainingSettings, Tuning]:
    """Try `tuning_budget` candidates and choose one.

    Parameters
    ----------
    task
        What to train, with a network; its settings are the default.
    progress
        Called with the candidate about to start and their number.

    Returns
    -------
    TrainingSettings, Tuning
        The settings unchanged, with the reason, where fewer than `tuning_min_units` units or a single one of a class
        are too few to choose by.

    Raises
    ------
    TrainingRefused
        The default itself cannot be trained.
    """
    settings, data = task.settings, task.data
    reason = too_few_units(data.y, data.unit, healthy=task.healthy, min_units=settings.tuning_min_units)
    if reason:
        return settings, Tuning((), 0, f"not tuned: {reason}")
    tried = candidates(settings, settings.tuning_budget)
    some = replace(task, data=_thinned(data), supplement=_fewer(task.supplement))
    _, code = np.unique(some.data.unit, return_inverse=True)
    weight = some.weights(np.arange(some.data.y.size))
    total: FloatArray = np.bincount(code, weight).astype(np.float64)
    losses = np.full((len(tried), total.size), np.nan)
    for number, one in enumerate(tried):
        progress(number, len(tried))
        try:
            loss = _held_out_loss(with_settings(some, one))
        except TrainingRefused:
            if number == 0:
                raise
            continue  # its loss stays null: it could not be fitted
        losses[number] = np.bincount(code, weight * loss) / total
    tuning = choose([varied(one) for one in tried], losses, total)
    return tried[tuning.chosen], tuning


def with_settings(task: Task, settings: TrainingSettings) -> Task:
    """Return the task with other settings and masks drawn for them."""
    bank = draw_mask_bank(
        settings.network.hidden,
        settings.network.dropout,
        n_samples=settings.n_samples,
        sub_bank_size=settings.sub_bank_size,
        seed=settings.seed,
    )
    return replace(task, settings=settings, bank=bank)


def _held_out_loss(task: Task) -> FloatArray:
    """Return the loss (n,) of each window, held out and calibrated on the other folds, at the balanced mix."""
    held_out = hold_out(task, lambda i, k: None)
    p = np.empty((task.data.y.size, len(task.data.classes)))
    for i in range(len(held_out.records)):
        own = np.flatnonzero(held_out.fold == i)
        calibration = calibrate(task, held_out, np.flatnonzero(held_out.fold != i))
        for rows in (own[start : start + _AT_ONCE] for start in range(0, own.size, _AT_ONCE)):
            p[rows] = _probabilities(task, held_out, rows, calibration)
    loss: FloatArray = -np.log(np.maximum(truth_probability(p, task.data.y, task.healthy), LEAST_PROBABILITY))
    return loss


def _probabilities(task: Task, held_out: HeldOut, rows: IntArray, calibration: Calibration) -> FloatArray:
    logits, no_correction = held_out.mixed(rows, calibration.share.value), np.zeros(len(task.data.classes))
    scores = task.summarise(logits, calibration.temperature.value, no_correction, group=held_out.group)
    return scores.class_probabilities


def _thinned(data: TrainingData) -> TrainingData:
    """Return at most `MOST_WINDOWS` windows (one a unit and class at least), evenly over each unit's."""
    if data.y.size <= MOST_WINDOWS:
        return data
    pairs = [np.flatnonzero((data.unit == u) & (data.y == c)) for u in np.unique(data.unit) for c in np.unique(data.y)]
    pairs = [rows for rows in pairs if rows.size]
    most = max(1, MOST_WINDOWS // len(pairs))
    rows = np.sort(np.concatenate([_evenly(one, most) for one in pairs]))
    return replace(data, x=data.x[rows], y=data.y[rows], unit=data.unit[rows], weight=data.weight[rows])


def _fewer(supplement: Supplement | None) -> Supplement | None:
    if supplement is None or supplement.y.size <= MOST_WINDOWS:
        return supplement
    rows = _evenly(np.arange(supplement.y.size), MOST_WINDOWS)
    source = None if supplement.source is None else supplement.source[rows]
    return Supplement(supplement.x[rows], supplement.y[rows], supplement.units, source)


def _evenly(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows if rows.size <= most else rows[np.linspace(0, rows.size - 1, most).round().astype(np.int64)]
