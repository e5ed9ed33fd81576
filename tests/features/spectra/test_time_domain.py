import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from features.spectra import time_domain as td

RATIOS = (td.crest_factor, td.kurtosis, td.skewness, td.shape_factor, td.impulse_factor, td.clearance_factor)
LEVELS = ("rms", "peak", "peak_to_peak")


def sine(amplitude=2.5, offset=0.0):
    return (offset + amplitude * np.sin(2 * np.pi * 25 * np.arange(10_000) / 10_000))[None].astype(np.float32)


def test_closed_forms_of_a_sine():
    x = td.moments(sine())
    assert x.rms[0] == pytest.approx(2.5 / np.sqrt(2), rel=1e-6)
    assert x.peak[0] == pytest.approx(2.5, rel=1e-6)
    assert x.peak_to_peak[0] == pytest.approx(5.0, rel=1e-6)
    assert td.crest_factor(x)[0] == pytest.approx(np.sqrt(2), rel=1e-6)
    assert td.kurtosis(x)[0] == pytest.approx(1.5, rel=1e-6)
    assert td.skewness(x)[0] == pytest.approx(0.0, abs=1e-6)
    assert td.shape_factor(x)[0] == pytest.approx(np.pi / (2 * np.sqrt(2)), rel=1e-4)
    assert td.impulse_factor(x)[0] == pytest.approx(np.pi / 2, rel=1e-4)
    # mean(sqrt|sin|) = Gamma(3/4) / (sqrt(pi) Gamma(5/4)) = 0.762759...
    assert td.clearance_factor(x)[0] == pytest.approx(1 / 0.7627597635**2, rel=1e-3)


def test_against_scipy_on_skewed_noise():
    x = np.random.default_rng(1).gamma(2.0, size=(5, 4001)).astype(np.float32)
    m = td.moments(x)
    np.testing.assert_allclose(td.kurtosis(m), stats.kurtosis(x.astype(float), axis=1, fisher=False), rtol=1e-9)
    np.testing.assert_allclose(td.skewness(m), stats.skew(x.astype(float), axis=1), rtol=1e-9)
    np.testing.assert_allclose(m.rms, x.astype(float).std(axis=1), rtol=1e-12)


def test_float32_input_with_a_large_offset_stays_accurate():
    # Summed in float32, the square of the offset would drown the signal.
    x = (np.random.default_rng(2).integers(-8, 9, size=(1, 100_000)) / 8 + 4096).astype(np.float32)
    exact = x[0].astype(np.longdouble) - x[0].astype(np.longdouble).mean()
    assert td.moments(x).rms[0] == pytest.approx(float(np.sqrt((exact**2).mean())), rel=1e-10)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3e5])
def test_a_constant_window_has_no_ratios_and_gives_no_warning(value):
    x = np.full((2, 1000), value, dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for function in RATIOS:
            assert np.isnan(function(td.moments(x))).all(), function.__name__
        for name in LEVELS:
            assert (getattr(td.moments(x), name) == 0).all(), name


windows = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 3), st.integers(8, 60)), elements=st.floats(-1000, 1000, width=32)
)


@given(windows)
def test_ranges_and_inequalities(x):
    m = td.moments(x)
    crest, kurt, shape = td.crest_factor(m), td.kurtosis(m), td.shape_factor(m)
    impulse, clearance, skew = td.impulse_factor(m), td.clearance_factor(m), td.skewness(m)
    ok = ~np.isnan(crest)
    slack = 1 - 1e-9
    assert (crest[ok] >= slack).all() and (crest[ok] <= np.sqrt(x.shape[1]) / slack).all()
    assert (shape[ok] >= slack).all()
    assert (impulse[ok] >= crest[ok] * slack).all() and (clearance[ok] >= impulse[ok] * slack).all()
    assert (kurt[ok] >= (skew[ok] ** 2 + 1) * slack).all()  # Pearson's inequality
    assert (m.peak_to_peak <= 2 * m.peak * (1 + 1e-12)).all()


@given(windows, st.sampled_from([0.25, 2.0, 1024.0]), st.integers(-64, 64))
def test_shift_and_scale(x, factor, shift):
    x = np.round(x)  # so that shifting is exact in float32
    moved = (x * np.float32(factor) + np.float32(factor * shift)).astype(np.float32)
    before, after = td.moments(x), td.moments(moved)
    for function in RATIOS:
        np.testing.assert_allclose(function(after), function(before), rtol=1e-6, atol=1e-6)
    for name in LEVELS:
        np.testing.assert_allclose(getattr(after, name), factor * getattr(before, name), rtol=1e-9)
    np.testing.assert_allclose(td.skewness(td.moments(-x)), -td.skewness(before), rtol=1e-6, atol=1e-6)


def test_callers_array_is_untouched_and_shape_is_checked():
    x = sine(offset=3.0)
    before = x.copy()
    td.moments(x)
    assert np.array_equal(x, before)
    with pytest.raises(ValueError, match="2-D"):
        td.moments(x[0])
