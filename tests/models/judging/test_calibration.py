"""Temperature and prior correction against what is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from models.judging.calibration import (
    HIGHEST,
    effective_prior,
    fit_temperature,
    log_prior_correction,
    mixture_nll,
    target_mask,
    target_prior,
)
from models.predictive import summarise


def synthetic(
    true: float, *, n: int = 6000, n_classes: int = 3, scale: float = 2.0, units: int = 30
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits that are `true` times too large, truths drawn from the right ones, and units."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, scale, (n, n_classes))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return (true * z[None]).astype(np.float32), y, np.array([f"u{i % units}" for i in range(n)])


def fit(logits: np.ndarray, y: np.ndarray, unit: np.ndarray, **more: object) -> object:
    return fit_temperature(logits, y, unit, np.ones(y.size), healthy=0, prior_temperature=1.5, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_recovered(true: float) -> None:
    found = fit(*synthetic(true, units=3000))
    assert found.identifiable
    assert found.value == pytest.approx(true, rel=0.06)


@pytest.mark.parametrize("true", [0.5, 3.0])
def test_the_fewer_units_the_nearer_to_one(true: float) -> None:
    few, more, many = (abs(np.log(fit(*synthetic(true, units=units)).value)) for units in (12, 40, 3000))
    assert few < more < many <= abs(np.log(true)) + 0.06


def test_it_is_the_mixture_that_is_calibrated() -> None:
    """Samples that disagree are already unsure together: they need a lower temperature than each alone."""
    logits, y, unit = synthetic(3.0)
    noise = np.random.default_rng(1).normal(0, 4, (20, *logits.shape[1:])).astype(np.float32)
    assert fit(logits + noise, y, unit).value < fit((logits + noise)[:1], y, unit).value - 0.3


def test_weights_count() -> None:
    """Windows that the logits are wrong about ask for a higher temperature, the more the heavier they are."""
    logits, y, unit = synthetic(1.0)
    y = np.where(np.arange(y.size) % 5 == 0, (y + 1) % 3, y)
    weight = np.where(np.arange(y.size) % 5 == 0, 0.05, 1.0)
    light = fit_temperature(logits, y, unit, weight, healthy=0, prior_temperature=1.5)
    assert light.value < fit(logits, y, unit).value - 0.2


def test_mixture_nll_in_closed_form() -> None:
    logits = np.log(np.array([[[0.2, 0.5, 0.3]], [[0.6, 0.3, 0.1]]], dtype=np.float32))
    one = np.ones(1)
    assert mixture_nll(logits, np.array([1]), one, temperature=1.0, healthy=0) == pytest.approx(-np.log(0.4), rel=1e-6)
    unknown = mixture_nll(logits, np.array([-1]), one, temperature=1.0, healthy=0)
    assert unknown == pytest.approx(-np.log((0.8 + 0.4) / 2), rel=1e-6)


def test_too_few_units_are_said_to_be_too_few() -> None:
    logits, y, _ = synthetic(3.0)
    few = np.array([f"u{i % 9}" for i in range(y.size)])
    found = fit(logits, y, few)
    assert (found.value, found.identifiable) == (1.5, False)
    assert "9 held-out units" in found.reason
    assert fit(logits, y, few, min_units=9).identifiable


def test_a_class_of_one_unit_is_not_enough() -> None:
    logits, y, unit = synthetic(3.0)
    keep = (y != 2) | (unit == "u4")
    found = fit(logits[:, keep], y[keep], unit[keep])
    assert not found.identifiable
    assert "class 2" in found.reason


def test_perfect_separation_does_not_sharpen_without_end() -> None:
    y = np.arange(600) % 3
    logits = (5 * np.eye(3)[y][None]).astype(np.float32)
    found = fit(logits, y, np.array([f"u{i % 20}" for i in range(600)]))
    assert found.value == pytest.approx(1.0, abs=1e-3), "not sharpened: there is next to nothing to gain"


def test_logits_that_say_nothing_get_the_cautious_edge() -> None:
    rng = np.random.default_rng(0)
    logits = (200 * rng.normal(size=(1, 900, 3))).astype(np.float32)
    found = fit(logits, rng.integers(0, 3, 900), np.array([f"u{i % 30}" for i in range(900)]))
    assert (found.value, found.identifiable) == (HIGHEST, False)


def test_target_mask_of_an_unknown_mode_is_every_fault() -> None:
    mask = target_mask(np.array([0, 2, -1]), 3, 0)
    assert mask.tolist() == [[True, False, False], [False, False, True], [False, True, True]]


def test_priors() -> None:
    np.testing.assert_allclose(target_prior(np.array([9, 3, 0]), fault_prior=0.1, healthy=0), [0.9, 0.08, 0.02])
    np.testing.assert_allclose(target_prior(np.array([3, 1]), fault_prior=0.1, healthy=None), [4 / 6, 2 / 6])
    y, weight = np.array([0, 0, 1, 2, -1]), np.array([1.0, 1.0, 3.0, 1.0, 4.0])
    np.testing.assert_allclose(effective_prior(y, weight, n_classes=3, healthy=0), [0.2, 0.6, 0.2])
    only_unknown = effective_prior(np.array([0, -1]), np.ones(2), n_classes=2, healthy=0)
    np.testing.assert_allclose(only_unknown, [0.5, 0.5])
    for wrong in (0.0, 1.0):
        with pytest.raises(ValueError, match="fault_prior"):
            target_prior(np.array([1, 1]), fault_prior=wrong, healthy=0)


def test_correction_is_bayes() -> None:
    """Two Gaussians at -1 and 1, posterior at equal priors; corrected, it must be the posterior at 5 % faults."""
    x = np.linspace(-3, 3, 13)
    likelihood = np.exp(-0.5 * np.square(x[:, None] - np.array([-1.0, 1.0])))
    logits = np.log(likelihood)[None]
    correction = log_prior_correction(np.array([0.95, 0.05]), np.array([0.5, 0.5]))
    found = summarise(logits, temperature=1.0, log_prior_correction=correction, healthy=0, sub_bank_size=1)
    joint = likelihood * [0.95, 0.05]
    np.testing.assert_allclose(found.fault_probability, joint[:, 1] / joint.sum(axis=1), rtol=1e-6)


def test_correction_leaves_an_unseen_class_alone() -> None:
    np.testing.assert_allclose(
        log_prior_correction(np.array([0.9, 0.06, 0.04]), np.array([0.5, 0.5, 0.0])), [np.log(1.8), np.log(0.12), 0.0]
    )
