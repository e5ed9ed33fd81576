"""Slow motion of an arm under the vibration: taken off the waveform and the spectral shape, and off nothing else."""

import numpy as np
import pytest

from features.extract import FeatureSettings, extract, feature_groups, feature_names
from features.high_pass import first_bin, high_passed, is_passed
from features.kinematics import Orders
from pipeline.base.settings import Settings
from pipeline.extraction.in_force import feature_settings

RATE = 12_800.0
PASSED, ALL = FeatureSettings(high_pass_hz=10.0), FeatureSettings()
NAMES = feature_names(ALL)


def run(x, settings=PASSED, rate=RATE, orders=None, rpm=None):
    windows = np.atleast_2d(x).astype(np.float32)
    return extract(
        windows,
        sampling_rate_hz=rate,
        rate_is_declared=True,
        shaft_speed_rpm=rpm,
        speed_is_steady=rpm is not None,
        orders=orders,
        settings=settings,
    )


def impacts(seed=0, length=12_800, rate=RATE):
    rng, t = np.random.default_rng(seed), np.arange(400) / rate
    x = 0.05 * rng.standard_normal(length)
    for first in range(50, length - 400, 720):
        x[first : first + 400] += np.exp(-800 * t) * np.sin(2 * np.pi * 3000 * t)
    return x


def swing(hz, amplitude, phase, length=12_800, rate=RATE):
    return amplitude * np.sin(2 * np.pi * hz * np.arange(length) / rate + phase)


@pytest.mark.parametrize("hz, amplitude", [(0.3, 3.0), (0.7, 1.0), (1.0, 3.0), (1.7, 2.0)])
@pytest.mark.parametrize("phase", [0.0, 0.9, 2.5])
@pytest.mark.parametrize("rate", [12_000.0, 25_600.0])
def test_the_motion_of_the_arm_changes_no_waveform_and_no_shape(hz, amplitude, phase, rate):
    length = round(rate / 256) * 256
    still = impacts(length=length, rate=rate)
    found = dict(zip(NAMES, run(still + swing(hz, amplitude, phase, length, rate), rate=rate)[0], strict=True))
    wanted = dict(zip(NAMES, run(still, rate=rate)[0], strict=True))
    for name in (*feature_groups(ALL)["time"], *(n for n in feature_groups(ALL)["impulses"] if n.endswith("log10"))):
        assert found[name] == pytest.approx(wanted[name], rel=0.03, abs=0.05), name
    for name in ("spectral_centroid_hz", "rms_frequency_hz", "spectral_entropy", "band_2000_3000_share"):
        assert found[name] == pytest.approx(wanted[name], rel=0.02), name
    for q in range(10, 100, 10):
        name = f"spectrum_q{q}_log10_hz"
        assert found[name] == pytest.approx(wanted[name], abs=0.02), name


def test_a_sine_keeps_what_the_filter_leaves_of_it():
    x = np.stack([swing(hz, 1.0, 0.3, 25_600) for hz in (1.0, 10.0, 20.0, 30.0, 50.0, 100.0, 395.0, 800.0, 3000.0)])
    middle = high_passed(x.astype(np.float32), RATE, 10.0)[:, 3000:-3000]
    left = middle.std(axis=-1) * np.sqrt(2)
    hz = np.array([1.0, 10.0, 20.0, 30.0, 50.0, 100.0, 395.0, 800.0, 3000.0])
    np.testing.assert_allclose(left, 1.0 - 1.0 / (1.0 + (hz / 10.0) ** 4), atol=0.03)


@pytest.mark.parametrize("length", [4096, 4097, 12_032, 12_799])
@pytest.mark.parametrize("rate", [100.0, 401.0, 3999.0, 12_800.0, 20_000.0])
def test_every_length_and_rate_is_passed_or_left_as_it_is(length, rate):
    rng = np.random.default_rng(1)
    x = (np.linspace(-5, 5, length) + 0.1 * rng.standard_normal(length)).astype(np.float32)
    if is_passed(length, rate, 10.0):
        y = high_passed(x[None], rate, 10.0)
        assert y.shape == (1, length) and y.dtype == np.float32
        assert abs(float(y.std()) - 0.1) < 0.03 and float(np.abs(y).max()) < 0.7
        assert first_bin(length, rate, 10.0, 1) * rate / length == pytest.approx(10.0, abs=rate / length)
    else:
        assert run(x, rate=rate).tobytes() == run(x, ALL, rate=rate).tobytes()


def test_lines_at_shaft_orders_below_the_limit_are_kept():
    t = np.arange(76_800) / RATE
    x = sum(np.cos(2 * np.pi * k * 5.0 * t + k) for k in (1, 2, 3)) + 0.3 * np.random.default_rng(0).standard_normal(
        t.size
    )
    orders = Orders(3.585, 5.415, 2.357, 0.398, (12.0,))
    passed, everything = (run(x, own, orders=orders, rpm=300.0)[0] for own in (PASSED, ALL))
    groups = feature_groups(ALL)
    untouched = [NAMES.index(n) for n in (*groups["shaft"], *groups["gear_mesh"])]
    np.testing.assert_allclose(passed[untouched], everything[untouched], atol=1e-3)
    assert passed[NAMES.index("raw_shaft_mean14_db")] > 20.0
    assert passed[NAMES.index("rms_log10")] < everything[NAMES.index("rms_log10")] - 0.05


@pytest.mark.parametrize("length", [4096, 12_032])
def test_a_row_is_bit_equal_whatever_windows_are_beside_it(length):
    rng = np.random.default_rng(3)
    windows = (rng.standard_normal((37, length)) + swing(1.0, 3.0, 0.2, length)).astype(np.float32)
    together = run(windows)
    for row in (0, 15, 16, 36):
        assert run(windows[row])[0].tobytes() == together[row].tobytes()
    assert run(windows[5:9]).tobytes() == together[5:9].tobytes()


def test_only_vibration_is_passed_unless_somebody_says_so():
    settings = Settings()
    group = getattr(settings, "extraction", settings)
    assert feature_settings(group, "acceleration").high_pass_hz == 10.0
    for quantity in ("motor_current", "motor_torque", "force", "temperature", "voltage"):
        assert feature_settings(group, quantity).high_pass_hz == 0.0
    with pytest.raises(ValueError, match="high_pass_hz"):
        FeatureSettings(high_pass_hz=-1.0)


@pytest.mark.parametrize("slow", [swing(0.7, 1.0, 0.5), np.linspace(0, 1, 12_800), np.linspace(0, 0.1, 12_800)])
def test_a_step_at_the_seam_is_no_impulse_in_any_band(slow):
    """Also of quantities that are not passed: Gaussian noise has an envelope kurtosis of 2, and the best of 24 more."""
    place = NAMES.index("best_band_kurtosis_log10")
    for seed in range(10):
        noise = 0.05 * np.random.default_rng(seed).standard_normal(12_800)
        assert 0.30 <= run(noise + slow)[0, place] <= 0.40
        centre = NAMES.index("best_band_center_hz")
        still, moved = run(noise, ALL)[0], run(noise + slow, ALL)[0]
        if moved[centre] > 800.0:  # the lowest bands hold the motion itself
            assert moved[place] == pytest.approx(still[place], abs=0.05)
