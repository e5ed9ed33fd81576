"""Every figure of a score in closed form, on a network made by hand in which one unit decides."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from models.judging.calibration import Temperature
from models.model import Model
from models.network import FoldedNetwork
from models.training.report import TrainingReport

Trained = tuple[Model, TrainingReport, dict[str, Any]]
UNIT, PUSH, TEMPERATURE = 3, 1.5, 2.5
PRIOR = np.array([0.7, -0.4, 0.2])


@pytest.fixture
def made(trained: Trained) -> Model:
    """Whatever comes in, the first fault's logit is PUSH / (1 - p) where the mask keeps the unit, and 0 where not."""
    model = trained[0]
    assert model.network is not None
    first, second, head = (torch.zeros_like(weight) for weight in model.network.weights)
    biases = tuple(torch.zeros_like(bias) for bias in model.network.biases)
    biases[1][UNIT] = 1.0
    head[1, UNIT] = PUSH
    network = FoldedNetwork((first, second, head), biases, model.network.dropout)
    temperature = Temperature(TEMPERATURE, True, "")
    return dataclasses.replace(model, network=network, refits=(), temperature=temperature, log_prior_correction=PRIOR)


def shares(logit: float) -> np.ndarray:
    """Class probabilities of one sample."""
    weights = np.exp(np.array([0.0, logit, 0.0]) / TEMPERATURE + PRIOR)
    return np.asarray(weights / weights.sum())


def entropy(p: np.ndarray) -> float:
    return float(-(p * np.log(p)).sum())


def test_figures_are_those_of_two_kinds_of_samples(made: Model, trained: Trained) -> None:
    """k of T masks keep the unit: mean, spread, entropies and information follow from the two probability vectors."""
    assert made.bank is not None
    kept_by = np.unpackbits(made.bank.packed[1], axis=1)[:, UNIT].astype(bool)
    n, k = len(kept_by), int(kept_by.sum())
    assert 1 < k < n == 20
    kept, dropped = shares(PUSH / (1.0 - made.bank.dropout)), shares(0.0)
    mean = (k * kept + (n - k) * dropped) / n
    expected = (k * entropy(kept) + (n - k) * entropy(dropped)) / n
    high, low = 1.0 - kept[0], 1.0 - dropped[0]
    groups = np.where(kept_by, high, low).reshape(-1, made.bank.sub_bank_size).mean(axis=1)

    scores = made.score(trained[2]["x"][:7])
    assert scores.n_samples == n
    wanted = {
        "fault_probability": 1.0 - mean[0],
        "fault_std": (high - low) * np.sqrt(k * (n - k) / (n * (n - 1))),
        "fault_q95": high,
        "predictive_entropy": entropy(mean),
        "expected_entropy": expected,
        "mutual_information": entropy(mean) - expected,
        "monte_carlo_se": groups.std(ddof=1) / np.sqrt(len(groups)),
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(getattr(scores, name), value, rtol=1e-6, atol=1e-7, err_msg=name)
    np.testing.assert_allclose(scores.class_probabilities, np.tile(mean, (7, 1)), rtol=1e-6)


def test_the_point_estimate_drops_nothing(made: Model, trained: Trained) -> None:
    scores = made.score(trained[2]["x"][:2], point_estimate=True)
    np.testing.assert_allclose(scores.class_probabilities, np.tile(shares(PUSH), (2, 1)), rtol=1e-6)
