"""Scaling: robust, and what happens where a feature is missing."""

from __future__ import annotations

import numpy as np
import pytest

from models.training.scaler import CLIP, fit_scaler


def features(n: int = 400, f: int = 8) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, f)).astype(np.float32)


def test_scaling_is_robust() -> None:
    x = np.random.default_rng(0).normal(5.0, 2.0, (4000, 1)).astype(np.float32)
    x[:200] = 1e6
    scaler = fit_scaler(x)
    assert scaler.center[0] == pytest.approx(5.0, abs=0.3)
    assert scaler.scale[0] == pytest.approx(2.0, rel=0.15)
    assert scaler.scale_features(np.array([[1e30]], dtype=np.float32)).values[0, 0] == CLIP


@pytest.mark.parametrize("constant", [0.0, 3.0, 1e-9])
def test_a_constant_feature_does_not_blow_up_rounding_noise(constant: float) -> None:
    scaler = fit_scaler(np.full((50, 1), constant, dtype=np.float32))
    near = np.nextafter(np.float32(constant), np.float32(1e9))
    assert abs(scaler.scale_features(np.array([[near]], dtype=np.float32)).values[0, 0]) < 1e-5


def test_tiny_units_are_scaled_like_any_other() -> None:
    x = features()
    a, b = (
        fit_scaler(x).scale_features(x).values,
        fit_scaler(x * np.float32(1e-8)).scale_features(x * np.float32(1e-8)).values,
    )
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_missing_is_zero_with_the_share_of_its_group() -> None:
    x = features(50, 4)
    x[:5, 0] = np.nan
    scaler = fit_scaler(x, ("a", "a", "b", "b"))
    row = x[10:11].copy()
    row[0, [0, 2, 3]] = np.nan
    scaled = scaler.scale_features(row)
    inputs = scaler.network_inputs(scaled)[0]
    assert inputs.shape == (6,)
    np.testing.assert_array_equal(inputs[[0, 2, 3]], 0.0)
    np.testing.assert_allclose(inputs[4:], [0.5, 1.0])
    assert (scaled.n_missing[0], scaled.n_unexpected_missing[0], scaled.finite[0]) == (3, 2, True)


def test_infinite_or_empty_windows_are_not_finite() -> None:
    scaler = fit_scaler(features(50, 4))
    x = features(3, 4)
    x[0, 1], x[1] = np.inf, np.nan
    assert scaler.scale_features(x).finite.tolist() == [False, False, True]


def test_a_feature_never_seen_in_training_is_ignored() -> None:
    x = features(50, 4)
    x[:, 2] = np.nan
    scaler = fit_scaler(x)
    new = features(5, 4)
    gone = new.copy()
    gone[:, 2] = np.nan
    a, b = scaler.scale_features(new), scaler.scale_features(gone)
    np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_array_equal(a.observed, b.observed)
    assert not b.n_missing.any()


def test_group_names_must_fit() -> None:
    with pytest.raises(ValueError, match="group names"):
        fit_scaler(features(5, 4), ("a",))
