"""Moments against closed forms and against very many samples."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import models.methods.moments
from models.methods.moments import (
    POINTS,
    MomentSampler,
    dropped,
    logit_moments,
    mirrored,
    normal_points,
    primes,
    rectified,
)
from models.network import FoldedNetwork

GOLDEN = [
    [0.011319320519026642, -0.41318049773361304, -0.8194329246311732],
    [-0.6660012937123931, 0.45736081718549365, -0.22744232190096975],
    [-2.8864267323517923, -0.021357180268082594, -0.6729380432316744],
]
"""Points 1, 2 and 256 of three dimensions."""


def network(*sizes: int, dropout: float, seed: int = 0) -> FoldedNetwork:
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(sizes))
    return FoldedNetwork(
        tuple(torch.from_numpy((rng.standard_normal((b, a)) / np.sqrt(a)).astype(np.float32)) for a, b in pairs),
        tuple(torch.from_numpy((0.3 * rng.standard_normal(b)).astype(np.float32)) for _, b in pairs),
        dropout,
    )


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.5, 0.5), (-2.0, 1.0), (3.0, 0.0), (-3.0, 0.0)])
def test_rectified_moments_are_those_of_a_million_draws(mean: float, deviation: float) -> None:
    z = np.maximum(mean + deviation * np.random.default_rng(1).standard_normal(1_000_000), 0.0)
    first, second = rectified(torch.tensor(mean).double(), torch.tensor(deviation**2).double())
    assert float(first) == pytest.approx(z.mean(), abs=3e-3)
    assert float(second) == pytest.approx(z.var(), abs=5e-3)


def test_rectified_standard_normal_in_closed_form() -> None:
    first, second = rectified(torch.zeros(()).double(), torch.ones(()).double())
    assert float(first) == pytest.approx(1.0 / np.sqrt(2.0 * np.pi))
    assert float(second) == pytest.approx(0.5 - 1.0 / (2.0 * np.pi))


def test_dropout_variance_is_exact() -> None:
    """A fixed value m kept with chance 1 - p and scaled by 1 / (1 - p) has variance m^2 p / (1 - p)."""
    mean, variance = dropped(torch.tensor(2.0).double(), torch.tensor(0.0).double(), 0.2)
    assert float(mean) == 2.0
    assert float(variance) == pytest.approx(4.0 * 0.2 / 0.8)


def test_one_hidden_layer_has_exact_moments() -> None:
    """Below one hidden layer nothing is random, so its dropped units are independent: no approximation is left."""
    net, x = network(5, 40, 3, dropout=0.3), np.random.default_rng(2).standard_normal((4, 5)).astype(np.float32)
    mean, variance = logit_moments(net, x)
    h = np.maximum(x @ net.weights[0].numpy().T + net.biases[0].numpy(), 0.0).astype(np.float64)
    w = net.weights[1].numpy().astype(np.float64)
    np.testing.assert_allclose(mean.T, h @ w.T + net.biases[1].numpy(), rtol=1e-6)
    np.testing.assert_allclose(variance.T, (h * h * 0.3 / 0.7) @ (w * w).T, rtol=1e-5)


def test_probabilities_come_near_those_of_twenty_thousand_networks() -> None:
    net, x = network(6, 64, 64, 3, dropout=0.1), np.random.default_rng(3).standard_normal((20, 6)).astype(np.float32)
    rng = np.random.default_rng(4)
    h1 = np.maximum(x @ net.weights[0].numpy().T + net.biases[0].numpy(), 0.0)
    total = np.zeros((20, 3))
    for _ in range(200):
        m1, m2 = (rng.uniform(size=(100, 1, 64)) >= 0.1) / 0.9, (rng.uniform(size=(100, 1, 64)) >= 0.1) / 0.9
        h2 = np.maximum((h1[None] * m1) @ net.weights[1].numpy().T + net.biases[1].numpy(), 0.0)
        z = (h2 * m2) @ net.weights[2].numpy().T + net.biases[2].numpy()
        p = np.exp(z - z.max(-1, keepdims=True))
        total += (p / p.sum(-1, keepdims=True)).sum(axis=0)
    z = MomentSampler(net).sample(x).astype(np.float64)
    p = np.exp(z - z.max(-1, keepdims=True))
    found = (p / p.sum(-1, keepdims=True)).mean(axis=0)
    assert np.sqrt(np.mean((found - total / 20_000) ** 2)) < 0.01


def test_points_are_fixed_and_standard() -> None:
    points = normal_points(4)
    assert points.shape == (POINTS, 4)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(points.std(axis=0), 1.0)
    assert np.abs(np.corrcoef(points.T) - np.eye(4)).max() < 0.05
    np.testing.assert_array_equal(points, normal_points.__wrapped__(4))


def test_points_come_from_our_own_formula_and_no_library() -> None:
    """Frozen: other points are other scores of the same model version, so they need another artifact format."""
    assert primes(6) == [2, 3, 5, 7, 11, 13]
    assert [mirrored(i, 2) for i in (1, 2, 3, 6)] == [0.5, 0.25, 0.75, 0.375]
    assert mirrored(5, 3) == pytest.approx(2 / 3 + 1 / 9)
    points = normal_points(3)
    np.testing.assert_allclose(points[[0, 1, 255]], GOLDEN, rtol=1e-12)
    assert "scipy" not in Path(models.methods.moments.__file__).read_text("utf-8")
