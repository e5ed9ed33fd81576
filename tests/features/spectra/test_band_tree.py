import numpy as np
import pytest
from scipy import signal

from features.spectra.band_tree import band_kurtosis, best_bands, tree_bands
from features.spectra.spectrum import real_transform

RATE, LENGTH = 12_800.0, 12_800
BIN_HZ = RATE / LENGTH
PARTS = (1, 2, 3, 4, 6, 8)


def bands_of(length=LENGTH, bin_hz=BIN_HZ, width=500.0):
    return tree_bands(length, bin_hz=bin_hz, parts=PARTS, min_width_hz=width)


def kurtosis_of(x, bands):
    x = np.atleast_2d(x)
    return band_kurtosis(real_transform((x - x.mean(axis=1, keepdims=True)).astype(np.float32)), bands)


def test_the_tree_tiles_the_axis_and_stops_at_the_narrowest_band():
    bands = bands_of()
    assert len(bands) == sum(PARTS) and bands[0] == (2, 6080)
    for count in PARTS:
        width = 6078 // count
        members = [band for band in bands if band[1] - band[0] == width]
        assert members == [(2 + k * width, 2 + (k + 1) * width) for k in range(count)]
    assert len(bands_of(width=1500.0)) == 1 + 2 + 3 + 4
    assert bands_of(length=512, bin_hz=25.0) == [(2, 243), (2, 122), (122, 242), (2, 82), (82, 162), (162, 242)]
    assert bands_of(length=100, bin_hz=128.0) == []


def test_kurtosis_of_tones_noise_and_bursts_in_closed_form():
    t = np.arange(LENGTH) / RATE
    sine = np.sin(2 * np.pi * 1000.0 * t)
    assert kurtosis_of(sine, [(2, 6080)])[0, 0] == pytest.approx(1.0, abs=1e-3)
    # Two equal tones: |z|^2 = 2 + 2 cos, so (4 + 2) / 4.
    assert kurtosis_of(sine + np.sin(2 * np.pi * 1300.0 * t), [(800, 1800)])[0, 0] == pytest.approx(1.5, abs=1e-3)
    noise = kurtosis_of(np.random.default_rng(0).standard_normal((200, LENGTH)), bands_of())
    np.testing.assert_allclose(noise.mean(axis=0), 2.0, atol=0.03)
    assert noise[:, -1].std() == pytest.approx(2 / np.sqrt(6078 // 8), rel=0.2)
    # Noise that is on for a share d of the time: 2 / d.
    gated = np.random.default_rng(1).standard_normal((20, LENGTH)) * (np.arange(LENGTH) % 640 < 160)
    assert kurtosis_of(gated, [(2, 6080)]).mean() == pytest.approx(8.0, rel=0.05)


def test_the_best_band_is_the_one_that_rings():
    rng = np.random.default_rng(2)
    bands = bands_of()
    for resonance in (900.0, 2600.0, 4300.0, 5500.0):
        ring = np.exp(-np.arange(100) / 12.0) * np.sin(2 * np.pi * resonance / RATE * np.arange(100))
        x = signal.lfilter(ring, [1.0], (rng.random((12, LENGTH)) < 0.004) * 6.0) + rng.standard_normal((12, LENGTH))
        x += 3 * np.sin(2 * np.pi * 310.0 * np.arange(LENGTH) / RATE)  # a strong tone must not win
        for index in best_bands(kurtosis_of(x, bands)):
            first, stop = bands[index]
            assert first * BIN_HZ - 300 < resonance < stop * BIN_HZ + 300 and stop - first < 2100


def test_nothing_gives_no_band_and_a_draw_gives_the_first():
    assert np.isnan(kurtosis_of(np.zeros((2, LENGTH)), bands_of())).all()
    found = best_bands(np.array([[np.nan, np.nan], [np.nan, 2.0], [3.0, 3.0], [1.0, 4.0]]))
    assert found.tolist() == [-1, 1, 0, 1]
