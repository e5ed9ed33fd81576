import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from features.spectra import time_domain as td

RATIOS = (td.crest_factor, td.kurtosis, td.skewness, td.shape_factor, td.impulse_factor, td.clearance_factor)
LEVELS = (td.rms, td.peak, td.peak_to_peak)


def sine(amplitude=2.5, offset=0.0):
    return (offset + amplitude * np.sin(2 * np.pi * 25 * np.arange(10_000) / 10_000))[None].astype(np.float32)


def test_closed_forms_of_a_sine():
    x = sine()
    assert td.rms(x)[0] == pytest.approx(2.5 / np.sqrt(2), rel=1e-6)
    assert td.peak(x)[0] == pytest.approx(2.5, rel=1e-6)
    assert td.peak_to_peak(x)[0] == pytest.approx(5.0, rel=1e-6)
    assert td.crest_factor(x)[0] == pytest.approx(np.sqrt(2), rel=1e-6)
    assert td.kurtosis(x)[0] == pytest.approx(1.5, rel=1e-6)
    assert td.skewness(x)[0] == pytest.approx(0.0, abs=1e-6)
    assert td.shape_factor(x)[0] == pytest.approx(np.pi / (2 * np.sqrt(2)), rel=1e-4)
    assert td.impulse_factor(x)[0] == pytest.approx(np.pi / 2, rel=1e-4)
    # mean(sqrt|sin|) = Gamma(3/4) / (sqrt(pi) Gamma(5/4)) = 0.762759...
    assert td.clearance_factor(x)[0] == pytest.approx(1 / 0.7627597635**2, rel=1e-3)


def test_against_scipy_on_skewed_noise():
    x = np.random.default_rng(1).gamma(2.0, size=(5, 4001)).astype(np.float32)
    np.testing.assert_allclose(td.kurtosis(x), stats.kurtosis(x.astype(float), axis=1, fisher=False), rtol=1e-9)
    np.testing.assert_allclose(td.skewness(x), stats.skew(x.astype(float), axis=1), rtol=1e-9)
    np.testing.assert_allclose(td.rms(x), x.astype(float).std(axis=1), rtol=1e-12)


def test_float32_input_with_a_large_offset_stays_accurate():
    # Summed in float32, the square of the offset would drown the signal.
    x = (np.random.default_rng(2).integers(-8, 9, size=(1, 100_000)) / 8 + 4096).astype(np.float32)
    exact = x[0].astype(np.longdouble) - x[0].astype(np.longdouble).mean()
    assert td.rms(x)[0] == pytest.approx(float(np.sqrt((exact**2).mean())), rel=1e-10)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3e5])
def test_a_constant_window_has_no_ratios_and_gives_no_warning(value):
    x = np.full((2, 1000), value, dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for function in RATIOS:
            assert np.isnan(function(x)).all(), function.__name__
        for function in LEVELS:
            assert (function(x) == 0).all(), function.__name__


windows = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 3), st.integers(8, 60)), elements=st.floats(-1000, 1000, width=32)
)


@given(windows)
def test_ranges_and_inequalities(x):
    crest, kurt, shape = td.crest_factor(x), td.kurtosis(x), td.shape_factor(x)
    impulse, clearance, skew = td.impulse_factor(x), td.clearance_factor(x), td.skewness(x)
    ok = ~np.isnan(crest)
    slack = 1 - 1e-9
    assert (crest[ok] >= slack).all() and (crest[ok] <= np.sqrt(x.shape[1]) / slack).all()
    assert (shape[ok] >= slack).all()
    assert (impulse[ok] >= crest[ok] * slack).all() and (clearance[ok] >= impulse[ok] * slack).all()
    assert (kurt[ok] >= (skew[ok] ** 2 + 1) * slack).all()  # Pearson's inequality
    assert (td.peak_to_peak(x) <= 2 * td.peak(x) * (1 + 1e-12)).all()


@given(windows, st.sampled_from([0.25, 2.0, 1024.0]), st.integers(-64, 64))
def test_shift_and_scale(x, factor, shift):
    x = np.round(x)  # so that shifting is exact in float32
    moved = (x * np.float32(factor) + np.float32(factor * shift)).astype(np.float32)
    for function in RATIOS:
        np.testing.assert_allclose(function(moved), function(x), rtol=1e-6, atol=1e-6)
    for function in LEVELS:
        np.testing.assert_allclose(function(moved), factor * function(x), rtol=1e-9)
    np.testing.assert_allclose(td.skewness(-x), -td.skewness(x), rtol=1e-6, atol=1e-6)


def test_callers_array_is_untouched_and_shape_is_checked():
    x = sine(offset=3.0)
    before = x.copy()
    for function in (*RATIOS, *LEVELS):
        function(x)
    assert np.array_equal(x, before)
    with pytest.raises(ValueError, match="2-D"):
        td.rms(x[0])
