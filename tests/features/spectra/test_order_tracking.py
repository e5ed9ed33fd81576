import numpy as np
import pytest

from features.spectra.order_tracking import resample_by_angle, shaft_turns
from features.spectra.spectrum import power_spectrum

RATE, N = 10_000.0, 40_000
T = np.arange(N) / RATE


def line_share(x, bin_position):
    """Share of the power that three bins hold around the place of a line."""
    power = power_spectrum(np.asarray(x, np.float32)[None])[0]
    centre = round(bin_position)
    return power[centre - 1 : centre + 2].sum() / power[1:].sum()


def test_the_angle_is_the_exact_integral_of_a_linear_speed():
    # 600 to 1800 rpm in 4 s: 10 t + 2.5 t^2 turns.
    trace = np.array([600.0, 1800.0], np.float32)
    turns = shaft_turns(trace, 0.25, n_samples=N, sampling_rate_hz=RATE)
    np.testing.assert_allclose(turns, 10 * T + 2.5 * T**2, atol=1e-9)
    # Constant after the last value, and without regard to the direction.
    held = shaft_turns(-trace, 1.0, n_samples=N, sampling_rate_hz=RATE)
    assert held[-1] == pytest.approx(20 + 30 * (T[-1] - 1.0), abs=1e-9)


@pytest.mark.parametrize("order", [1.0, 3.585, 21.0, 60.3])
def test_a_chirp_at_a_constant_order_becomes_a_line(order):
    turns = shaft_turns(np.array([900.0, 1500.0, 1200.0]), 0.5, n_samples=N, sampling_rate_hz=RATE)
    x = np.sin(2 * np.pi * order * turns).astype(np.float32)
    found = resample_by_angle(x, turns, sampling_rate_hz=RATE)
    total = found.samples.size / found.samples_per_turn
    assert line_share(found.samples, order * total) > 0.95
    assert line_share(x, order * total) < 0.5
    np.testing.assert_allclose(
        found.samples[300:-300],
        np.sin(2 * np.pi * order * np.arange(found.samples.size) / found.samples_per_turn)[300:-300],
        atol=5e-3,
    )


@pytest.mark.parametrize("share, error", [(0.1, 1e-4), (0.5, 2e-3), (0.8, 1e-2)])
def test_the_error_of_interpolation_is_as_stated(share, error):
    f = share * RATE / 2
    x = np.sin(2 * np.pi * f * T + 0.3).astype(np.float32)
    found = resample_by_angle(x, 23.37 * T, sampling_rate_hz=RATE)
    wanted = np.sin(2 * np.pi * f * found.places / RATE + 0.3)
    assert np.abs(found.samples - wanted)[200:-200].max() < error


def test_what_the_slowest_part_cannot_hold_is_cut_off_and_not_aliased():
    turns = shaft_turns(np.array([600.0, 1800.0]), 0.25, n_samples=N, sampling_rate_hz=RATE)
    # Slowest is half of the mean: the angular grid holds 2500 Hz there, and 4000 Hz would be folded.
    high = resample_by_angle(np.sin(2 * np.pi * 4000.0 * T).astype(np.float32), turns, sampling_rate_hz=RATE)
    assert np.abs(high.samples[300:-300]).max() < 0.01
    low = resample_by_angle(np.sin(2 * np.pi * 2000.0 * T).astype(np.float32), turns, sampling_rate_hz=RATE)
    assert np.sqrt(2 * np.mean(low.samples.astype(float) ** 2)) == pytest.approx(1.0, rel=0.1)


def test_rate_speed_and_places_fit_together():
    turns = shaft_turns(np.array([900.0, 1500.0]), 0.25, n_samples=N, sampling_rate_hz=RATE)
    x = np.random.default_rng(0).standard_normal(N).astype(np.float32)
    before = x.copy()
    found = resample_by_angle(x, turns, sampling_rate_hz=RATE)
    np.testing.assert_array_equal(x, before)
    assert found.mean_speed_rpm == pytest.approx(1200.0, rel=1e-3)
    assert found.rate_hz == pytest.approx(found.samples_per_turn * found.mean_speed_rpm / 60)
    assert RATE <= found.rate_hz < RATE * 1.003
    assert (np.diff(found.places) > 0).all() and found.places[0] == 0 and found.places[-1] <= N - 1
    np.testing.assert_allclose(
        np.interp(found.places, np.arange(N), turns), np.arange(found.samples.size) / found.samples_per_turn, atol=1e-6
    )


def test_a_steady_speed_changes_nothing_but_the_grid():
    x = np.random.default_rng(0).standard_normal(N).astype(np.float32)
    found = resample_by_angle(x, 25.0 * T, sampling_rate_hz=RATE)  # 400 samples a turn already
    assert found.samples_per_turn == 400 and found.samples.size == N
    np.testing.assert_allclose(found.samples, x, atol=1e-4)


@pytest.mark.parametrize(
    "trace, word",
    [([], "1-D"), ([np.nan, 1.0], "1-D"), ([0.0, 100.0], "one direction"), ([-50.0, 100.0], "one direction")],
)
def test_a_trace_that_does_not_tell_is_refused(trace, word):
    with pytest.raises(ValueError, match=word):
        shaft_turns(np.array(trace), 10.0, n_samples=100, sampling_rate_hz=RATE)


def test_bad_signals_and_angles_are_refused():
    x = np.zeros(100, np.float32)
    with pytest.raises(ValueError, match="ascend"):
        resample_by_angle(x, np.zeros(100), sampling_rate_hz=RATE)
    with pytest.raises(ValueError, match="one angle for each"):
        resample_by_angle(x, np.arange(99.0), sampling_rate_hz=RATE)
