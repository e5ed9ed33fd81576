"""Judging the held-out windows, each fold with a temperature that it had no part in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.judging.calibration import Temperature, fit_temperature, target_mask
from models.model import QUANTILES
from models.training.crossfit import FloatArray, HeldOut, IntArray, Task
from models.training.network_share import NetworkShare, network_share
from models.training.report import (
    HeldOutWindows,
    TrainingReport,
    UnitMetrics,
    overall_metrics,
    truth_probability,
    unit_metrics,
)

_SUMMARISED_AT_ONCE = 2048

NO_TEMPERATURE = Temperature(1.0, False, "no network, so no temperature")


@dataclass(frozen=True)
class Calibration:
    """What is fitted on held-out units: the network's share beside the rule, and the temperature."""

    share: NetworkShare
    temperature: Temperature


def calibrate(task: Task, held_out: HeldOut, rows: IntArray) -> Calibration:
    """Calibrate on some held-out windows. A shrunk share has softened already: no prior temperature on top of it."""
    assert held_out.logits is not None
    data, settings = task.data, task.settings
    y, unit, weight = data.y[rows], data.unit[rows], task.weights(rows)
    if not task.method.calibrated:
        plain = "the plain point estimate"
        return Calibration(NetworkShare(1.0, False, plain), Temperature(1.0, False, plain))
    share = NetworkShare(1.0, False, "no rule that knows every fault")
    prior = settings.prior_temperature
    if held_out.offset is not None and task.rule_knows_every_fault:
        share = network_share(
            held_out.logits[:, rows],
            held_out.offset[rows],
            y,
            unit,
            weight,
            healthy=task.healthy,
            min_units=settings.min_calibration_units,
            prior_units=settings.prior_units,
        )
        prior = prior if share.value == 1.0 else 1.0
    temperature = fit_temperature(
        held_out.mixed(rows, share.value),
        y,
        unit,
        weight,
        healthy=task.healthy,
        prior_temperature=prior,
        min_units=settings.min_calibration_units,
    )
    return Calibration(share, temperature)


def held_out_scores(task: Task, held_out: HeldOut, calibration: Calibration | None) -> dict[str, FloatArray]:
    """Return fault probability, entropies and mutual information (n,) as the model would score the held-out windows."""
    if calibration is None:
        return {}
    parts = [
        task.summarise(
            held_out.mixed(rows, calibration.share.value),
            calibration.temperature.value,
            task.correction(),
            group=held_out.group,
        )
        for rows in _parts(np.arange(task.data.y.size))
    ]
    names = ("fault_probability", *(name for name in QUANTILES if name != "novelty_raw"))
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}


def judge(
    task: Task, held_out: HeldOut, *, calibration: Calibration | None, scores: dict[str, FloatArray], epochs: int
) -> TrainingReport:
    """Return the report of a training.

    Parameters
    ----------
    task, held_out
        What was trained, and the folds.
    calibration
        The calibration in the model; None without a network.
    scores
        From `held_out_scores`.
    epochs
        Epochs of the final network.
    """
    overall: dict[str, float | None] = {}
    units: tuple[UnitMetrics, ...] = ()
    windows: HeldOutWindows | None = None
    records = held_out.records
    data = task.data
    if held_out.logits is not None:
        others = [calibrate(task, held_out, np.flatnonzero(held_out.fold != i)) for i in range(len(records))]
        records = tuple(
            replace(record, temperature=one.temperature.value, network_share=one.share.value)
            for record, one in zip(records, others, strict=True)
        )
        balanced, declared = _probabilities(task, held_out, others)
        windows = HeldOutWindows(data.rows, balanced)
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
        temperature=NO_TEMPERATURE if calibration is None else calibration.temperature,
        network_share=None if calibration is None else calibration.share,
        epochs=epochs,
        notes=held_out.notes,
        held_out=windows,
    )


def _probabilities(task: Task, held_out: HeldOut, others: list[Calibration]) -> tuple[FloatArray, FloatArray]:
    """Return held-out class probabilities (n, C) at the balanced training mix and at the declared prior."""
    shape = (task.data.y.size, len(task.data.classes))
    balanced, declared = np.empty(shape), np.empty(shape)
    for i, calibration in enumerate(others):
        for rows in _parts(np.flatnonzero(held_out.fold == i)):
            logits, value = held_out.mixed(rows, calibration.share.value), calibration.temperature.value
            balanced[rows] = task.summarise(logits, value, np.zeros(shape[1]), group=held_out.group).class_probabilities
            declared[rows] = task.summarise(logits, value, task.correction(), group=held_out.group).class_probabilities
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
