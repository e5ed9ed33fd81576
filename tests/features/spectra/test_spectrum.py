import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import get_window

from features.spectra import spectrum as sp

EDGES = (10.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0)


def tone(frequency, *, amplitude=3.0, rate=1000.0, length=1000):
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(length) / rate + 0.3))[None].astype(np.float32)


@pytest.mark.parametrize("length", [2, 3, 64, 65, 999, 1000])
def test_parseval_with_the_window_made_in_the_time_domain(length):
    x = np.random.default_rng(length).standard_normal((4, length)).astype(np.float32)
    centred = x.astype(float) - x.astype(float).mean(axis=1, keepdims=True)
    hann = get_window("hann", length)
    wanted = ((centred * hann) ** 2).sum(axis=1) / (hann**2).sum() if length > 3 else None
    power = sp.power_spectrum(x)
    assert power.shape == (4, length // 2 + 1)
    if wanted is not None:
        np.testing.assert_allclose(power.sum(axis=1), wanted, rtol=1e-5)
        reference = np.abs(np.fft.rfft(centred * hann)) ** 2 / (length * (hann**2).sum())
        reference[:, 1 : (length + 1) // 2] *= 2
        np.testing.assert_allclose(power, reference, rtol=1e-3, atol=1e-6 * reference.max())


def test_a_sine_sums_to_half_its_squared_amplitude_over_three_bins():
    power = sp.power_spectrum(tone(100.0))[0]
    assert power.argmax() == 100
    assert power[99:102].sum() == pytest.approx(4.5, rel=1e-5)
    assert power.sum() == pytest.approx(4.5, rel=1e-5)
    assert power[100] == pytest.approx(4.5 / 1.5, rel=1e-5)  # noise bandwidth: 1.5 bins


def test_white_noise_sums_to_its_variance():
    x = np.random.default_rng(5).standard_normal((200, 2048)).astype(np.float32)
    assert sp.power_spectrum(2 * x).sum(axis=1).mean() == pytest.approx(4.0, rel=0.01)


def test_centroid_and_rms_frequency_of_two_tones():
    power = sp.power_spectrum(tone(100.0, amplitude=1.0) + tone(300.0, amplitude=2.0))
    assert sp.spectral_centroid_hz(power, 1.0)[0] == pytest.approx((100 * 1 + 300 * 4) / 5, rel=1e-4)
    assert sp.rms_frequency_hz(power, 1.0)[0] == pytest.approx(np.sqrt((100**2 + 300**2 * 4) / 5), rel=1e-3)


def test_entropy_of_one_line_and_of_a_flat_spectrum():
    line = np.zeros((1, 101))
    line[0, 7] = 5.0
    assert sp.spectral_entropy(line)[0] == 0.0
    assert sp.spectral_entropy(np.full((1, 101), 0.2))[0] == pytest.approx(1.0, abs=1e-12)
    two = np.zeros((1, 101))
    two[0, [3, 80]] = 1.0
    assert sp.spectral_entropy(two)[0] == pytest.approx(np.log(2) / np.log(100))
    assert np.isnan(sp.spectral_entropy(np.zeros((1, 101)))[0])


@given(st.integers(0, 2**32 - 1), st.integers(8, 300))
def test_ranges(seed, length):
    x = (np.random.default_rng(seed).standard_normal((2, length)) ** 3).astype(np.float32)
    power = sp.power_spectrum(x)
    entropy, centroid, root = (
        sp.spectral_entropy(power),
        sp.spectral_centroid_hz(power, 2.0),
        sp.rms_frequency_hz(power, 2.0),
    )
    assert ((entropy >= 0) & (entropy <= 1)).all()
    assert ((centroid > 0) & (centroid <= root * (1 + 1e-12)) & (root <= length * (1 + 1e-12))).all()


def test_a_tone_is_in_its_band_with_its_mean_square():
    x = tone(700.0, rate=12_000.0, length=12_000, amplitude=2.0)
    log_power, share = sp.band_features(sp.power_spectrum(x), 1.0, 12_000, EDGES)
    assert log_power[0, 3] == pytest.approx(np.log10(2.0), abs=1e-5)
    assert share[0, 3] == pytest.approx(1.0, abs=1e-4)
    assert (share[0, [0, 1, 2, 4, 5, 6, 7]] < 1e-4).all()


def test_adjoining_bands_share_no_bin_and_leave_none_out():
    power = np.ones((1, 6001))
    found = sp.band_mean_square(power, 1.0, 12_000, EDGES)[0]
    assert found.tolist() == [90, 150, 250, 500, 1000, 1000, 1000, 1000]


def test_bands_near_nyquist_and_below_the_resolution_are_missing():
    def missing(rate, length):
        found = sp.band_mean_square(np.ones((1, length // 2 + 1)), rate / length, length, EDGES)[0]
        return np.isnan(found).tolist()

    assert missing(12_000.0, 12_000) == [False] * 8
    assert missing(10_000.0, 10_000) == [False] * 7 + [True]  # 5000 is Nyquist itself
    assert missing(10_204.0, 10_204)[7] and not missing(10_206.0, 10_206)[7]  # 0.98 of Nyquist: 4999.96, 5000.94
    assert missing(25_600.0, 2560) == [True] + [False] * 7  # bins of 10 Hz
    assert missing(100_000.0, 1024) == [True, True, True] + [False] * 5  # bins of 98 Hz
