"""Judging the held-out windows, each fold with a temperature that it had no part in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.calibration import Temperature, fit_temperature, target_mask
from models.crossfit import FloatArray, HeldOut, IntArray, Task
from models.report import TrainingReport, UnitMetrics, overall_metrics, truth_probability, unit_metrics

_SUMMARISED_AT_ONCE = 2048


def temperature_of(task: Task, logits: NDArray[np.float32], rows: IntArray) -> Temperature:
    """Fit the temperature on some held-out windows."""
    data, settings = task.data, task.settings
    return fit_temperature(
        logits[:, rows],
        data.y[rows],
        data.unit[rows],
        task.weights(rows),
        healthy=task.healthy,
        prior_temperature=settings.prior_temperature,
        min_units=settings.min_calibration_units,
    )


def held_out_scores(task: Task, held_out: HeldOut, temperature: float) -> dict[str, FloatArray]:
    """Return fault probability, entropies and mutual information (n,) as the model would score the held-out windows."""
    if held_out.logits is None:
        return {}
    parts = [
        task.summarise(held_out.logits[:, start : start + _SUMMARISED_AT_ONCE], temperature, task.correction())
        for start in range(0, task.data.y.size, _SUMMARISED_AT_ONCE)
    ]
    names = ("fault_probability", "predictive_entropy", "expected_entropy", "mutual_information")
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}


def judge(
    task: Task, held_out: HeldOut, *, temperature: Temperature, scores: dict[str, FloatArray], epochs: int
) -> TrainingReport:
    """Return the report of a training.

    Parameters
    ----------
    task, held_out
        What was trained, and what the folds found.
    temperature
        The one in the model.
    scores
        From `held_out_scores`.
    epochs
        Epochs of the final network.
    """
    overall: dict[str, float | None] = {}
    units: tuple[UnitMetrics, ...] = ()
    records = held_out.records
    data = task.data
    if held_out.logits is not None:
        found = [temperature_of(task, held_out.logits, np.flatnonzero(held_out.fold != i)) for i in range(len(records))]
        records = tuple(replace(record, temperature=t.value) for record, t in zip(records, found, strict=True))
        balanced, declared = _probabilities(task, held_out, [t.value for t in found])
        overall = overall_metrics(balanced, data.y, healthy=task.healthy)
        overall["nll_at_fault_prior"] = _nll_at_prior(task, declared)
        units = unit_metrics(
            balanced,
            data.y,
            data.unit,
            fault_probability=scores["fault_probability"],
            mutual_information=scores["mutual_information"],
            classes=data.classes,
            healthy=task.healthy,
        )
    return TrainingReport(
        kind=task.kind,
        n_windows=int(data.y.size),
        n_units=int(np.unique(data.unit).size),
        overall=overall,
        units=units,
        folds=records,
        temperature=temperature,
        epochs=epochs,
        notes=held_out.notes,
    )


def _probabilities(task: Task, held_out: HeldOut, temperatures: list[float]) -> tuple[FloatArray, FloatArray]:
    """Return held-out class probabilities (n, C) at the balanced training mix and at the declared prior."""
    assert held_out.logits is not None
    shape = (task.data.y.size, len(task.data.classes))
    balanced, declared = np.empty(shape), np.empty(shape)
    for i, temperature in enumerate(temperatures):
        for rows in _parts(np.flatnonzero(held_out.fold == i)):
            logits = held_out.logits[:, rows]
            balanced[rows] = task.summarise(logits, temperature, np.zeros(shape[1])).class_probabilities
            declared[rows] = task.summarise(logits, temperature, task.correction()).class_probabilities
    return balanced, declared


def _parts(rows: IntArray) -> list[IntArray]:
    return [rows[start : start + _SUMMARISED_AT_ONCE] for start in range(0, rows.size, _SUMMARISED_AT_ONCE)]


def _nll_at_prior(task: Task, p: FloatArray) -> float | None:
    """Return the NLL of the corrected probabilities (n, C), windows weighted to the declared mix of classes."""
    if task.kind != "classification":
        return None
    data = task.data
    shown, target = task.priors()
    truth = target_mask(data.y, len(data.classes), task.healthy)
    weight = task.weights(np.arange(data.y.size)) * (truth @ target) / (truth @ shown)
    loss = -np.log(np.maximum(truth_probability(p, data.y, task.healthy), 1e-300))
    return float(loss @ weight / weight.sum())
