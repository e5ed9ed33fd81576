import numpy as np
import pytest

from features.spectra.spectral_kurtosis import spectral_kurtosis, spectral_kurtosis_statistics


def noise(n, length, seed=0):
    return np.random.default_rng(seed).standard_normal((n, length)).astype(np.float32)


@pytest.mark.parametrize("length", [512, 4096, 12_032])
def test_gaussian_noise_has_none_at_any_length(length):
    found = spectral_kurtosis(noise(400, length), 128)
    assert found.shape == (400, 65)
    assert abs(found[:, 2:62].mean()) < 0.08


def test_a_steady_tone_has_minus_one_and_a_single_burst_the_most():
    tone = np.sin(2 * np.pi * np.arange(8192) / 128 * 20).astype(np.float32)[None]
    assert spectral_kurtosis(tone, 128)[0, 20] == pytest.approx(-1.0, abs=0.02)
    burst = np.zeros((1, 8192), np.float32)
    burst[0, 64 * 50] = 1.0  # in the middle of one frame, at the foot of the next ones
    frames = (8192 - 128) // 64 + 1
    assert spectral_kurtosis(burst, 128)[0, 30] == pytest.approx(frames - 1, rel=1e-5)


def test_bursts_in_a_band_show_in_that_band_only():
    rng = np.random.default_rng(1)
    ring = np.exp(-np.arange(80) / 15.0) * np.sin(2 * np.pi * 0.3 * np.arange(80))
    x = np.convolve((np.arange(12_000) % 900 == 5) * 8.0, ring)[:12_000] + rng.standard_normal(12_000)
    found = spectral_kurtosis(x.astype(np.float32)[None], 128)[0]
    assert abs(int(found[2:62].argmax()) + 2 - round(0.3 * 128)) <= 3
    assert found[2:62].max() > 3 and abs(found[4:20].mean()) < 0.5
    highest, mean = spectral_kurtosis_statistics(x.astype(np.float32)[None], 128)
    assert highest[0] == pytest.approx(found[2:60].max()) and mean[0] == pytest.approx(found[2:60].mean())


def test_scale_does_not_matter_and_too_little_says_nothing():
    x = noise(2, 2048)
    np.testing.assert_allclose(spectral_kurtosis(x * np.float32(1e-3), 128), spectral_kurtosis(x, 128), rtol=1e-3)
    assert np.isnan(spectral_kurtosis(noise(2, 447), 128)).all()
    assert np.isfinite(spectral_kurtosis(noise(2, 448), 128)).all()
    assert np.isnan(spectral_kurtosis(noise(2, 100), 128)).all()
    assert np.isnan(spectral_kurtosis(np.zeros((1, 2048), np.float32), 128)).all()
