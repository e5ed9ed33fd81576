"""The distance to the training set, and its percentiles."""

from __future__ import annotations

import numpy as np
import pytest

from models.judging.novelty import fit_novelty, percentile, reference_rows, weighted_quantiles


def features(n: int = 400, f: int = 8, seed: int = 0) -> np.ndarray:
    """Correlated features: three factors and some noise."""
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(99).normal(size=(3, f))
    return (rng.normal(size=(n, 3)) @ loadings + 0.2 * rng.normal(size=(n, f))).astype(np.float32)


def units(n: int, k: int = 20) -> np.ndarray:
    return np.array([f"u{i % k:02d}" for i in range(n)])


def test_far_is_novel_along_and_across_the_principal_directions() -> None:
    x = features().astype(np.float64)
    seen = np.ones_like(x, dtype=bool)
    reference = fit_novelty(x, seen, units(len(x)))
    assert len(reference.components) == 3
    typical = np.quantile(reference.distance(features(seed=1).astype(np.float64), seen), 0.95)
    along = 30 * reference.components[:1]
    across = np.linalg.svd(reference.components)[2][-1:] * 8
    for far in (along, across):
        assert reference.distance(reference.mean + far, seen[:1])[0] > 2 * typical


def test_complete_windows_are_shrunk_as_probabilistic_pca_says() -> None:
    """Tipping & Bishop 1999: with orthonormal directions, projection / (1 + noise / variance)."""
    x = features().astype(np.float64)
    seen = np.ones_like(x, dtype=bool)
    reference = fit_novelty(x, seen, units(len(x)))
    projected = (x - reference.mean) @ reference.components.T
    np.testing.assert_allclose(reference.coordinates(x, seen)[:, :-1], projected / (1 + reference.shrink), atol=1e-9)
    variance = projected.var(axis=0)
    np.testing.assert_allclose(reference.shrink, np.maximum(0.04 / variance, 1e-3), rtol=0.5)


def test_distance_is_the_mean_of_k_nearest() -> None:
    x = features(60, 4).astype(np.float64)
    seen = np.ones_like(x, dtype=bool)
    reference = fit_novelty(x, seen, units(60), k=3)
    here = reference.coordinates(x[:7], seen[:7])
    apart = np.sort(np.linalg.norm(here[:, None] - reference.rows[None], axis=2), axis=1)[:, :3].mean(axis=1) / 2.0
    np.testing.assert_allclose(reference.distance(x[:7], seen[:7]), apart, atol=1e-7)


def test_a_missing_feature_is_estimated_from_the_others() -> None:
    """Knocking out one feature must hardly move a window; taking it for the median would."""
    x = features().astype(np.float64)
    seen = np.ones_like(x, dtype=bool)
    reference = fit_novelty(x, seen, units(len(x)))
    whole = reference.coordinates(x, seen)[:, :3]
    less = seen.copy()
    less[:, 0] = False
    moved = np.linalg.norm(reference.coordinates(np.where(less, x, 0.0), less)[:, :3] - whole, axis=1).mean()
    median = np.linalg.norm(reference.coordinates(np.where(less, x, 0.0), seen)[:, :3] - whole, axis=1).mean()
    assert moved < 0.6 * median


def test_nothing_observed_has_no_novelty() -> None:
    x = features(50, 4).astype(np.float64)
    reference = fit_novelty(x, np.ones_like(x, dtype=bool), units(50))
    assert np.isnan(reference.distance(np.zeros((1, 4)), np.zeros((1, 4), dtype=bool)))[0]


def test_no_unit_fills_the_reference() -> None:
    unit = np.array(["big"] * 5000 + ["small"] * 30 + ["other"] * 400)
    rows = reference_rows(unit, max_rows=300)
    assert {str(u): int((unit[rows] == u).sum()) for u in np.unique(unit)} == {"big": 100, "small": 30, "other": 100}
    assert np.array_equal(rows, reference_rows(unit, max_rows=300))
    assert reference_rows(np.array([f"u{i}" for i in range(50)]), max_rows=20).size == 20


def test_percentiles() -> None:
    quantiles = weighted_quantiles(np.arange(101.0), np.ones(101))
    np.testing.assert_allclose(quantiles, np.arange(101.0))
    np.testing.assert_allclose(percentile(np.array([-5.0, 37.0, 1e9]), quantiles), [0, 37, 100])
    assert np.isnan(percentile(np.array([np.nan]), quantiles))[0]


def test_quantiles_let_each_unit_weigh_the_same() -> None:
    values = np.r_[np.zeros(900), np.linspace(1, 2, 100)]
    weight = np.r_[np.full(900, 1 / 900), np.full(100, 1 / 100)]
    assert weighted_quantiles(values, weight)[50] == pytest.approx(0.5, abs=0.6)
    assert weighted_quantiles(values, weight)[75] == pytest.approx(1.5, abs=0.02)
    assert weighted_quantiles(values, np.ones(1000))[75] == 0.0
    with pytest.raises(ValueError, match="No finite"):
        weighted_quantiles(np.array([np.nan]), np.ones(1))
