import numpy as np
import pytest

from features.spectra.lines import LineSettings
from features.spectra.profile import PROFILE_NAMES, QUANTILES, shaft_columns, spectral_quantiles
from features.spectra.spectrum import power_spectrum

RATE, LENGTH = 12_000.0, 8192
USABLE = np.full(4, int(0.98 * LENGTH / 2))


def white(seed=0):
    return np.random.default_rng(seed).standard_normal((4, LENGTH)).astype(np.float32)


def test_white_noise_has_evenly_spaced_quantiles():
    found = 10 ** spectral_quantiles(power_spectrum(white()), RATE / LENGTH)
    assert found.shape == (4, len(QUANTILES)) == (4, len(PROFILE_NAMES))
    assert found == pytest.approx(np.tile(np.array(QUANTILES) / 100 * RATE / 2, (4, 1)), abs=120)


def test_a_gain_changes_nothing_and_a_rate_moves_all_by_its_factor():
    power = power_spectrum(white())
    plain = spectral_quantiles(power, RATE / LENGTH)
    assert spectral_quantiles(power * 96.2, RATE / LENGTH) == pytest.approx(plain, abs=1e-12)
    assert spectral_quantiles(power, 2.5 * RATE / LENGTH) - plain == pytest.approx(np.log10(2.5), abs=1e-12)


def test_a_lone_line_holds_the_quantiles():
    t = np.arange(LENGTH) / RATE
    x = np.sin(2 * np.pi * 1000 * t)[None, :].astype(np.float32)
    assert 10 ** spectral_quantiles(power_spectrum(x), RATE / LENGTH)[0, 4] == pytest.approx(1000, abs=4)


def test_shaft_lines_are_seen_and_noise_has_none():
    turns = 40.0
    t = np.arange(LENGTH) / LENGTH
    shaft = sum(0.2 * np.cos(2 * np.pi * k * turns * t) for k in (1, 2, 3, 4))
    for x, low, high in ((white(), -3, 3), (white() + shaft.astype(np.float32), 12, 30)):
        found = shaft_columns(power_spectrum(x), np.full(4, turns), USABLE, LineSettings())
        assert found.shape == (4, 1)
        assert low < found.mean() < high


def test_what_cannot_be_told_is_missing():
    power = power_spectrum(white())
    assert np.isnan(spectral_quantiles(power, float("nan"))).all()
    for turns in (float("nan"), 5.0):
        assert np.isnan(shaft_columns(power, np.full(4, turns), USABLE, LineSettings())).all()
    assert np.isnan(spectral_quantiles(np.zeros((1, 400)), 1.0)).all()
