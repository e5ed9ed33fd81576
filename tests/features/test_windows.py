import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.windows import WindowSettings, cut, plan_windows

SETTINGS = WindowSettings()


def plan(n, *, rate=12_000.0, rpm=1797.0, steady=True, settings=SETTINGS):
    return plan_windows(n, sampling_rate_hz=rate, shaft_speed_rpm=rpm, speed_is_steady=steady, settings=settings)


def test_thirty_turns_rounded_to_a_multiple_of_256():
    found = plan(122_571)
    assert found.length == 12_032  # 30 * 60 / 1797 * 12000 = 12020.03, and 47 * 256 = 12032 is nearest
    assert found.starts.tolist() == [12_032 * k for k in range(10)]
    assert found.starts.dtype == np.int64
    assert found.turns_covered == pytest.approx(12_032 * 1797 / 60 / 12_000)


@pytest.mark.parametrize("rpm, steady", [(None, True), (1797.0, False), (0.0, True), (float("nan"), True)])
def test_without_a_steady_speed_windows_are_counted_in_samples(rpm, steady):
    found = plan(20_000, rpm=rpm, steady=steady)
    assert found.length == SETTINGS.samples
    assert len(found.starts) == 2
    assert np.isnan(found.turns_covered)


def test_mode_samples_ignores_the_speed_but_still_tells_the_turns():
    found = plan(20_000, settings=WindowSettings(mode="samples", samples=6000))
    assert found.length == 6000
    assert found.turns_covered == pytest.approx(6000 * 1797 / 60 / 12_000)


def test_direction_of_rotation_does_not_matter():
    assert plan(50_000, rpm=-1797.0).length == plan(50_000, rpm=1797.0).length


def test_a_short_recording_is_one_window_and_a_shorter_one_is_none():
    assert (plan(2560).length, plan(2560).starts.tolist()) == (2560, [0])
    assert (plan(512).length, plan(512).starts.tolist()) == (512, [0])
    assert (plan(511).length, plan(511).starts.tolist()) == (0, [])
    assert np.isnan(plan(511).turns_covered)
    assert plan(12_031).length == 12_031


def test_the_wanted_length_is_clamped_at_both_ends():
    assert plan(3_000_000, rpm=1e-6).length == SETTINGS.max_samples
    assert plan(3_000_000, rpm=1e-310).length == SETTINGS.max_samples
    assert plan(10_000, rpm=1e9).length == SETTINGS.min_samples


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bad_rate_is_refused(rate):
    with pytest.raises(ValueError, match="sampling rate must be a finite number above 0"):
        plan(10_000, rate=rate)


@pytest.mark.parametrize(
    "bad, word",
    [
        ({"turns": 0.0}, "turns"),
        ({"samples": 0}, "samples"),
        ({"min_samples": 1}, "min_samples"),
        ({"min_samples": 600, "max_samples": 512}, "max_samples"),
        ({"mode": "seconds"}, "mode"),
    ],
)
def test_bad_settings_are_refused_by_name(bad, word):
    with pytest.raises(ValueError, match=word):
        WindowSettings(**bad)


@given(n=st.integers(0, 300_000), rpm=st.floats(1.0, 10_000.0), rate=st.floats(1.0, 100_000.0))
def test_windows_lie_inside_the_recording_and_leave_less_than_one_window(n, rpm, rate):
    found = plan(n, rpm=rpm, rate=rate)
    if n < SETTINGS.min_samples:
        assert len(found.starts) == 0
        return
    assert SETTINGS.min_samples <= found.length <= SETTINGS.max_samples
    assert found.starts[0] == 0
    assert np.all(np.diff(found.starts) == found.length)
    assert 0 <= n - (found.starts[-1] + found.length) < found.length


def test_cut_returns_a_read_only_view_of_the_right_samples():
    samples = np.arange(30_000, dtype=np.float32)
    windows = cut(samples, plan(30_000))
    assert windows.shape == (2, 12_032)
    assert windows[1, 0] == 12_032 and windows[1, -1] == 24_063
    assert np.shares_memory(windows, samples)
    assert not windows.flags.writeable and samples.flags.writeable


def test_cut_of_strided_samples_and_of_nothing():
    strided = np.arange(60_000, dtype=np.float32)[::2]
    assert cut(strided, plan(30_000))[1, 0] == 2 * 12_032
    assert cut(np.zeros(100, dtype=np.float32), plan(100)).shape == (0, 0)


def test_cut_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="float32"):
        cut(np.zeros(30_000), plan(30_000))
    with pytest.raises(ValueError, match="but the recording has 20000"):
        cut(np.zeros(20_000, dtype=np.float32), plan(30_000))
