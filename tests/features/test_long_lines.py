"""Lines over long windows: what they gain, which windows are joined, and that no recording depends on another."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from features.extract import RecordingWindows, extract_together
from features.kinematics import Orders
from features.long_lines import long_windows, with_long_lines
from features.recording_lines import average_lines
from features.settings import LONG_LINES, FeatureSettings, feature_names

SETTINGS = FeatureSettings()
NAMES = feature_names(SETTINGS)
LONG = [NAMES.index(f"long_{name}") for name in LONG_LINES]
OWN = [NAMES.index(name) for name in LONG_LINES]
RATE, RPM = 12_000.0, 1800.0
LENGTH = 12_032
ORDERS = Orders(bpfo=3.585, bpfi=5.415, bsf=2.357, ftf=0.3983)


def recording(n: int, *, seed: int = 1, amplitude: float = 0.8, orders: Orders | None = ORDERS) -> RecordingWindows:
    """Return n windows of 30 turns: noise whose power an outer race modulates weakly."""
    time = np.arange(n * LENGTH) / RATE
    noise = np.random.default_rng(seed).normal(size=len(time))
    samples = noise * np.sqrt(1.0 + amplitude * np.cos(2.0 * np.pi * 3.585 * RPM / 60.0 * time))
    return RecordingWindows(samples.astype(np.float32).reshape(n, LENGTH), RATE, True, RPM, True, orders)


def run(own: RecordingWindows, good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the features of a recording's windows with averaged and long lines."""
    values = average_lines(extract_together([own], SETTINGS)[0].values, good, SETTINGS)
    with_long_lines([values], [good], [long_windows(own, good, SETTINGS)], SETTINGS)
    return values


def test_a_weak_line_that_keeps_its_place_gains_on_its_floor() -> None:
    values = run(recording(9), np.ones(9, dtype=np.bool_))
    gain = values[0, LONG] - values[0, OWN]
    # Three times the turns: 4.8 dB, less what lies between two bins and what a search over more bins finds in noise.
    for name in ("ses_low_bpfo_h1_db", "ses_white_bpfo_h1_db"):
        assert 1.0 < gain[LONG_LINES.index(name)] < 7.0, name
    others = [place for place, name in enumerate(LONG_LINES) if "bpfo" not in name]
    assert np.abs(gain[others]).max() < 3.0
    assert (values[:, LONG] == values[0, LONG]).all()


def test_in_noise_the_mean_is_near_0_db() -> None:
    rows = [run(recording(9, seed=seed, amplitude=0.0), np.ones(9, dtype=np.bool_))[0, LONG] for seed in range(20)]
    assert np.abs(np.mean(rows, axis=0)).max() < 1.0


@pytest.mark.parametrize("n", [1, 2])
def test_a_recording_that_is_too_short_has_the_lines_of_its_windows(n: int) -> None:
    values = run(recording(n), np.ones(n, dtype=np.bool_))
    np.testing.assert_array_equal(values[:, LONG], values[:, OWN])
    assert np.isfinite(values[:, LONG]).all()


def test_a_bad_window_is_in_no_long_one_and_keeps_its_values() -> None:
    own, good = recording(7), np.array([True] * 3 + [False] + [True] * 3)
    own.windows[3] = 1e6 * np.sin(np.arange(LENGTH))
    joined = long_windows(own, good, SETTINGS)
    assert joined is not None
    np.testing.assert_array_equal(joined.windows, own.windows[[0, 1, 2, 4, 5, 6]].reshape(2, -1))
    values = run(own, good)
    np.testing.assert_array_equal(values[3, LONG], values[3, OWN])
    assert (values[0, LONG] == values[6, LONG]).all() and (values[0, LONG] != values[0, OWN]).all()
    assert long_windows(own, np.array([True, True, False] * 2 + [True]), SETTINGS) is None


def test_without_speed_rate_or_geometry_there_is_no_long_window() -> None:
    good, windows = np.ones(4, dtype=np.bool_), recording(4).windows
    for rate_is_declared, rpm, steady, orders in (
        (False, RPM, True, ORDERS),
        (True, None, True, ORDERS),
        (True, RPM, False, ORDERS),
        (True, RPM, True, None),
        (True, RPM, True, Orders(gear_mesh=(20.0,))),
    ):
        own = RecordingWindows(windows, RATE, rate_is_declared, rpm, steady, orders)
        assert long_windows(own, good, SETTINGS) is None


def test_an_order_that_is_not_known_stays_missing() -> None:
    values = run(recording(6, orders=Orders(bpfo=3.585)), np.ones(6, dtype=np.bool_))
    known = np.array(["bpfo" in name for name in LONG_LINES])
    assert np.isfinite(values[0, LONG][known]).all() and np.isnan(values[0, LONG][~known]).all()


def test_each_recording_comes_out_bit_by_bit_as_alone() -> None:
    slow = RecordingWindows(recording(4, seed=5).windows, RATE, True, 900.0, True, ORDERS)
    several = [recording(n, seed=n) for n in (3, 9, 30, 200)] + [slow, recording(2)]
    good = [np.ones(len(own.windows), dtype=np.bool_) for own in several]
    together = [np.full((len(own.windows), len(NAMES)), np.nan, np.float32) for own in several]
    long = [long_windows(own, some, SETTINGS) for own, some in zip(several, good, strict=True)]
    with_long_lines(together, good, long, SETTINGS)
    for own, some, joined, values in zip(several, good, long, together, strict=True):
        alone = np.full((len(own.windows), len(NAMES)), np.nan, np.float32)
        with_long_lines([alone], [some], [joined], SETTINGS)
        assert alone.tobytes() == values.tobytes()
        assert np.isfinite(values[:, LONG]).all() == (joined is not None)
