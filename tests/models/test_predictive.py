"""Closed forms of the statistics, and that NaN is never certain."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.methods.mask_bank import draw_mask_bank
from models.methods.mc_dropout import thin
from models.network import DropoutMLP, NetworkSettings, fold
from models.predictive import Predictive, summarise
from models.sampling import BlockSampler, run_blocks

FLOAT32 = 1e-6
"""What figures may differ by from those in float64, absolutely."""


def of(logits: np.ndarray, *, healthy: int | None = 0, temperature: float = 1.0, size: int = 1) -> Predictive:
    return summarise(
        logits,
        temperature=temperature,
        log_prior_correction=np.zeros(logits.shape[2]),
        healthy=healthy,
        sub_bank_size=size,
    )


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_uniform_logits_have_entropy_log_c(n_classes: int) -> None:
    found = of(np.zeros((4, 3, n_classes)))
    np.testing.assert_allclose(found.predictive_entropy, np.log(n_classes))
    np.testing.assert_allclose(found.fault_probability, 1 - 1 / n_classes)
    np.testing.assert_allclose(found.mutual_information, 0.0, atol=FLOAT32)


def test_identical_samples_carry_no_information() -> None:
    logits = np.tile(np.random.default_rng(0).normal(size=(1, 20, 4)), (8, 1, 1))
    found = of(logits, size=2)
    for values in (found.mutual_information, found.fault_std, found.monte_carlo_se):
        np.testing.assert_allclose(values, 0.0, atol=FLOAT32)
    assert (found.expected_entropy > 0.1).all()


def test_two_opposite_certain_samples_have_information_log_2() -> None:
    logits = np.array([[[500.0, -500.0]], [[-500.0, 500.0]]])
    found = of(logits)
    assert found.mutual_information[0] == pytest.approx(np.log(2))
    assert found.expected_entropy[0] == pytest.approx(0.0, abs=FLOAT32)
    assert found.fault_probability[0] == pytest.approx(0.5)
    assert found.fault_std[0] == pytest.approx(np.sqrt(0.5))
    assert (found.fault_q05[0], found.fault_q95[0]) == (pytest.approx(0.05), pytest.approx(0.95))


@settings(max_examples=60, deadline=None)
@given(
    logits=hnp.arrays(
        np.float32, st.tuples(st.just(6), st.integers(1, 4), st.integers(2, 5)), elements=st.floats(-1e4, 1e4, width=32)
    ),
    temperature=st.floats(0.25, 20),
)
def test_bounds_hold_for_any_logits(logits: np.ndarray, temperature: float) -> None:
    found = of(logits, temperature=temperature, size=2)
    np.testing.assert_allclose(found.class_probabilities.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(found.fault_probability, 1 - found.class_probabilities[:, 0], atol=1e-12)
    assert (found.mutual_information >= 0).all()
    assert (found.mutual_information <= found.predictive_entropy + 1e-12).all()
    assert (found.predictive_entropy <= np.log(logits.shape[2]) + 1e-12).all()
    assert (found.fault_q05 <= found.fault_q95).all()
    for field in dataclasses.fields(found):
        assert np.isfinite(getattr(found, field.name)).all(), field.name


def test_statistics_agree_with_plain_formulas() -> None:
    logits = np.random.default_rng(1).normal(size=(12, 500, 3)) * 2
    correction = np.log([2.0, 0.5, 0.7])
    found = summarise(logits, temperature=1.7, log_prior_correction=correction, healthy=0, sub_bank_size=4)
    p = np.exp(logits / 1.7) * [2.0, 0.5, 0.7]
    p /= p.sum(axis=-1, keepdims=True)
    mean = p.mean(axis=0)
    fault = 1 - p[..., 0]
    expected = {
        "class_probabilities": mean,
        "fault_probability": fault.mean(axis=0),
        "fault_std": fault.std(axis=0, ddof=1),
        "fault_q05": np.quantile(fault, 0.05, axis=0),
        "fault_q95": np.quantile(fault, 0.95, axis=0),
        "expected_entropy": -(p * np.log(p)).sum(-1).mean(0),
        "predictive_entropy": -(mean * np.log(mean)).sum(-1),
        "mutual_information": -(mean * np.log(mean)).sum(-1) + (p * np.log(p)).sum(-1).mean(0),
        "monte_carlo_se": fault.reshape(3, 4, -1).mean(1).std(0, ddof=1) / np.sqrt(3),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=0, atol=FLOAT32, err_msg=name)


def test_tiny_fault_probabilities_stay_exact() -> None:
    found = of(np.array([[[60.0, 0.0]]] * 2))
    assert found.fault_probability[0] == pytest.approx(np.exp(-60.0), rel=1e-5)


def test_an_infinite_temperature_leaves_the_prior() -> None:
    logits = np.random.default_rng(1).normal(size=(6, 5, 3)) * 50
    np.testing.assert_allclose(of(logits, temperature=1e9).class_probabilities, 1 / 3, atol=1e-6)


def test_one_sample_has_no_spread() -> None:
    found = of(np.random.default_rng(1).normal(size=(1, 5, 3)), size=10)
    assert np.isfinite(found.fault_probability).all() and np.isfinite(found.predictive_entropy).all()
    for name in ("fault_std", "fault_q05", "fault_q95", "expected_entropy", "mutual_information", "monte_carlo_se"):
        assert np.isnan(getattr(found, name)).all(), name


def test_one_sub_bank_has_no_standard_error() -> None:
    found = of(np.random.default_rng(1).normal(size=(10, 5, 3)), size=10)
    assert np.isnan(found.monte_carlo_se).all()
    assert np.isfinite(found.mutual_information).all()


def test_without_a_healthy_class_there_is_no_fault_probability() -> None:
    logits = np.random.default_rng(1).normal(size=(10, 5, 3))
    found = of(logits, healthy=None, size=5)
    for name in ("fault_probability", "fault_std", "fault_q05", "fault_q95"):
        assert np.isnan(getattr(found, name)).all(), name
    assert np.isfinite(found.monte_carlo_se).all() and np.isfinite(found.mutual_information).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_logits_are_never_certain(value: float) -> None:
    logits = np.random.default_rng(1).normal(size=(10, 3, 2))
    clean = of(logits, size=5)
    logits[4, 1, 0] = value
    found = of(logits, size=5)
    for field in dataclasses.fields(found):
        if field.name == "n_samples":
            continue
        values = getattr(found, field.name)
        assert np.isnan(values[1]).all(), field.name
        np.testing.assert_array_equal(values[[0, 2]], getattr(clean, field.name)[[0, 2]])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        of(np.zeros((0, 3, 2)))
    with pytest.raises(ValueError, match="temperature"):
        of(np.zeros((2, 3, 2)), temperature=0.0)
    with pytest.raises(ValueError, match="multiple"):
        of(np.zeros((7, 3, 2)), size=5)


def test_standard_error_matches_the_spread_over_redrawn_banks() -> None:
    """The claim behind sub-banks: their spread tells how far the mean of another bank would be."""
    settings_ = NetworkSettings(hidden=(64, 64), dropout=0.2, batch_norm=False)
    net = fold(DropoutMLP(8, 2, settings_, generator=torch.Generator().manual_seed(0)))
    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    means, errors, naive = [], [], []
    for seed in range(60):
        bank = draw_mask_bank((64, 64), 0.2, n_samples=100, sub_bank_size=10, seed=seed)
        found = of(run_blocks(BlockSampler(thin(net, bank)), x, net.n_classes), size=10)
        means.append(found.fault_probability)
        errors.append(found.monte_carlo_se)
        naive.append(found.fault_std / 10)
    spread = np.std(means, axis=0, ddof=1)
    # Means of squares: the root of a variance estimate from ten sub-banks is biased, the estimate itself is not.
    ratio = np.sqrt(np.mean(np.square(errors)) / np.mean(np.square(spread)))
    assert 0.85 < ratio < 1.15
    assert np.sqrt(np.mean(np.square(naive)) / np.mean(np.square(spread))) > 1.5
