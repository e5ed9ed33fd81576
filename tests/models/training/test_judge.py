"""Judging held-out windows by hand-made logits: share, temperature, prior and weights are none of them neutral here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

import models.training.judge as judging
import models.training.tune as tuning
from models.judging.calibration import Temperature
from models.settings import TrainingSettings
from models.training.crossfit import HeldOut, Task
from models.training.judge import Calibration, calibrate, held_out_scores, judge
from models.training.network_share import NetworkShare
from models.training.report import FoldRecord
from models.training.rule_prior import RulePrior
from models.training.train import _bank
from models.training.training_data import checked_training_data

NAMES = ("line_a", "line_b", "noise")
CLASSES = ("healthy", "a", "b")
WINDOWS = {"h1": 2, "h2": 6, "a1": 3, "a2": 5, "a3": 4, "b1": 7, "b2": 3}
UNIT = np.repeat(list(WINDOWS), list(WINDOWS.values()))
Y = np.array(["hab".index(name[0]) for name in UNIT])
EVIDENCE = np.where(np.isin(UNIT, ["h2", "a1"]) & (np.arange(UNIT.size) % 2 == 0), 0.25, 1.0)
SHARE, HEAT, FAULT_PRIOR = 0.25, 2.0, 0.3
CALIBRATION = Calibration(NetworkShare(SHARE, True, ""), Temperature(HEAT, True, ""))


@pytest.fixture(scope="module")
def task() -> Task:
    settings = TrainingSettings(
        n_samples=4, sub_bank_size=2, fault_prior=FAULT_PRIOR, folds=2, novelty_neighbours=3, novelty_rows=14
    )
    x = np.random.default_rng(0).normal(3.0, 4.0, (Y.size, 3)).astype(np.float32)
    data = checked_training_data(x, Y, UNIT, EVIDENCE, classes=CLASSES, feature_names=NAMES, groups=None)
    rule = RulePrior(((), (("line_a",),), (("line_b",),)), (1 / 3,), 2.0)
    return Task("classification", data, settings, _bank("classification", settings), rule=rule, feature_names=NAMES)


@pytest.fixture(scope="module")
def held_out(task: Task) -> HeldOut:
    logits = np.random.default_rng(1).normal(0.0, 3.0, (4, Y.size, 3)).astype(np.float32)
    fold = np.isin(UNIT, ["h2", "a2", "b2"]).astype(np.int64)
    records = tuple(FoldRecord((), (), task.units(np.flatnonzero(fold == i)), 1, False) for i in (0, 1))
    return HeldOut(fold, logits, 2, task.offset(task.rule, task.data.x), np.zeros(Y.size), records, ())


def samples(held_out: HeldOut, *, correction: Any) -> np.ndarray:
    """Probabilities (T, n, C) by the formula: softmax((rule + share * network) / temperature + correction)."""
    assert held_out.logits is not None and held_out.offset is not None
    logits = held_out.offset + SHARE * held_out.logits.astype(np.float64)
    p: np.ndarray = softmax(logits / HEAT + correction, axis=-1)
    return p


def declared_prior() -> np.ndarray:
    """Faults share the declared prior as their units plus one: three of a, two of b."""
    return np.array([1.0 - FAULT_PRIOR, FAULT_PRIOR * 4 / 7, FAULT_PRIOR * 3 / 7])


def mass_within_class() -> np.ndarray:
    """Weight of each window, summing to 1 in each class: a unit counts with the mean weight of its evidence."""
    mass = EVIDENCE / np.array([WINDOWS[name] for name in UNIT])
    return mass / np.array([mass[c == Y].sum() for c in Y])


def test_held_out_scores_have_share_temperature_and_prior(task: Task, held_out: HeldOut) -> None:
    p = samples(held_out, correction=np.log(3.0 * declared_prior()))
    mean = p.mean(axis=0)
    expected = -(p * np.log(p)).sum(axis=-1).mean(axis=0)
    scores = held_out_scores(task, held_out, CALIBRATION)
    np.testing.assert_allclose(scores["fault_probability"], 1.0 - mean[:, 0], rtol=1e-4)
    np.testing.assert_allclose(scores["expected_entropy"], expected, rtol=1e-4)
    np.testing.assert_allclose(scores["predictive_entropy"], -(mean * np.log(mean)).sum(axis=-1), rtol=1e-4)


def test_a_report_judges_with_share_temperature_and_weights(
    task: Task, held_out: HeldOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "calibrate", lambda *args: CALIBRATION)
    scores = held_out_scores(task, held_out, CALIBRATION)
    report = judge(task, held_out, calibration=CALIBRATION, scores=scores, epochs=1)
    balanced = samples(held_out, correction=0.0).mean(axis=0)
    assert report.held_out is not None
    np.testing.assert_allclose(report.held_out.probabilities, balanced, rtol=1e-4)
    assert [(fold.network_share, fold.temperature) for fold in report.folds] == [(SHARE, HEAT)] * 2
    declared = samples(held_out, correction=np.log(3.0 * declared_prior())).mean(axis=0)
    loss = -np.log(declared[np.arange(Y.size), Y]) * mass_within_class()
    by_class = np.array([loss[c == Y].sum() for c in range(3)])
    assert report.overall["nll_at_fault_prior"] == pytest.approx(by_class @ declared_prior(), rel=1e-4)


def test_windows_are_calibrated_with_the_weight_of_their_evidence(
    task: Task, held_out: HeldOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    real = judging.fit_temperature

    def spy(logits: Any, y: Any, unit: Any, weight: Any, **more: Any) -> Temperature:
        seen.append(weight)
        return real(logits, y, unit, weight, **more)

    monkeypatch.setattr(judging, "fit_temperature", spy)
    calibrate(task, held_out, np.arange(Y.size))
    np.testing.assert_allclose(seen[0], mass_within_class() * Y.size / 3)


def test_a_candidate_is_judged_with_its_share_and_the_units_weights(
    task: Task, held_out: HeldOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "calibrate", lambda *args: CALIBRATION)
    monkeypatch.setattr(tuning, "hold_out", lambda *args: held_out)
    settings = replace(task.settings, tuning_budget=2, tuning_min_units=2)
    _, result = tuning.tune(replace(task, settings=settings), lambda i, k: None)
    loss = -np.log(samples(held_out, correction=0.0).mean(axis=0)[np.arange(Y.size), Y])
    assert result.tried[0].nll == pytest.approx(float(loss @ mass_within_class()) / 3, rel=1e-4)


def test_the_novelty_reference_is_as_large_as_the_settings_say(task: Task) -> None:
    rows = np.arange(Y.size)
    reference = task.reference(task.scaler(rows), rows)
    assert (reference.k, len(reference.rows)) == (3, 14)
