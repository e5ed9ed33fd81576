"""A reference of an axis's own: closed forms of median and spread, and what is missing stays missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.health.baseline import MAD_TO_SIGMA, MIN_VALUES, Reference, change, deviation, fit_reference


def test_median_and_spread_of_known_numbers() -> None:
    """Of 1, 2, 3, 4, 100: the median is 3, the deviations are 2, 1, 0, 1, 97 and their median is 1."""
    found = fit_reference(np.array([[1.0], [2.0], [3.0], [4.0], [100.0]]))
    assert found.median.tolist() == [3.0]
    assert found.spread.tolist() == [MAD_TO_SIGMA]


def test_the_spread_of_a_normal_distribution_is_its_standard_deviation() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, (20_000, 1))
    found = fit_reference(values)
    assert found.median[0] == pytest.approx(5.0, abs=0.05)
    assert found.spread[0] == pytest.approx(2.0, rel=0.03)


def test_less_than_half_of_the_windows_spoilt_does_not_move_the_median_out_of_the_others() -> None:
    values = np.random.default_rng(1).normal(0.0, 1.0, (101, 3))
    values[:50] = 1e6
    found = fit_reference(values)
    assert (np.abs(found.median) <= np.abs(values[50:]).max()).all()


def test_too_few_values_give_no_reference_and_nan_is_no_value() -> None:
    values = np.zeros((MIN_VALUES + 1, 3))
    values[:1, 0] = np.nan
    values[:2, 1] = np.nan
    values[:, 2] = np.nan
    found = fit_reference(values)
    assert np.isfinite(found.median).tolist() == np.isfinite(found.spread).tolist() == [True, False, False]


@pytest.mark.parametrize("shape", [(0, 4), (MIN_VALUES - 1, 4)])
def test_no_windows_are_no_reference(shape: tuple[int, int]) -> None:
    found = fit_reference(np.zeros(shape))
    assert found.median.shape == found.spread.shape == (4,)
    assert np.isnan(found.median).all()


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="2-D array"):
        fit_reference(np.zeros(4))
    for bad in (np.inf, -np.inf):
        with pytest.raises(ValueError, match="infinite"):
            fit_reference(np.array([[bad], [1.0]]))


def test_change_and_deviation_are_differences_from_the_median() -> None:
    reference = Reference(np.array([1.0, 10.0, np.nan]), np.array([0.5, 0.0, np.nan]))
    values = np.array([[2.0, 13.0, 5.0], [np.nan, 10.0, 5.0]], dtype=np.float32)
    np.testing.assert_array_equal(change(values, reference), np.array([[1, 3, np.nan], [np.nan, 0, np.nan]], "f4"))
    assert change(values, reference).dtype == np.float32
    found = deviation(values, reference, floor=np.array([0.1, 2.0, 1.0]))
    np.testing.assert_allclose(found, [[2.0, 1.5, np.nan], [np.nan, 0.0, np.nan]])


@given(st.floats(-50, 50), st.integers(0, 10_000))
def test_a_shift_of_all_windows_shifts_the_median_and_leaves_spread_and_change(shift: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(15, 2))
    here, there = fit_reference(values), fit_reference(values + shift)
    np.testing.assert_allclose(there.median, here.median + shift, atol=1e-9)
    np.testing.assert_allclose(there.spread, here.spread, atol=1e-9)
    np.testing.assert_allclose(change(values + shift, there), change(values, here), atol=1e-5)
