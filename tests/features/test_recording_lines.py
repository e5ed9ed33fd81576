"""Lines averaged over a recording: which columns, which windows, and that one window alone stays as it is."""

from __future__ import annotations

import numpy as np

from features.recording_lines import average_lines
from features.settings import FeatureSettings, feature_groups

SETTINGS = FeatureSettings()
GROUP = np.array([group for group, names in feature_groups(SETTINGS).items() for _ in names])
IS_LINE = np.char.startswith(GROUP, "envelope_") | np.isin(GROUP, ["line_counts", "evidence", "long_lines"])


def test_lines_are_the_mean_of_the_good_windows_and_nothing_else_changes() -> None:
    values = np.random.default_rng(1).normal(size=(4, len(GROUP))).astype(np.float32)
    good = np.array([True, True, False, True])
    found = average_lines(values, good, SETTINGS)
    np.testing.assert_array_equal(found[:, ~IS_LINE], values[:, ~IS_LINE])
    np.testing.assert_array_equal(found[2], values[2])
    expected = values[good][:, IS_LINE].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(found[good][:, IS_LINE], np.tile(expected, (3, 1)), rtol=1e-6)


def test_a_missing_line_stays_missing_and_is_left_out_of_the_mean() -> None:
    values = np.ones((3, len(GROUP)), dtype=np.float32)
    line = int(np.flatnonzero(IS_LINE)[0])
    values[:, line] = [np.nan, 2.0, 4.0]
    found = average_lines(values, np.ones(3, dtype=np.bool_), SETTINGS)
    np.testing.assert_array_equal(found[:, line], np.array([np.nan, 3.0, 3.0], np.float32))


def test_a_window_alone_keeps_its_values_bit_by_bit() -> None:
    values = np.random.default_rng(2).normal(size=(2, len(GROUP))).astype(np.float32)
    assert average_lines(values[:1], np.ones(1, dtype=np.bool_), SETTINGS).tobytes() == values[:1].tobytes()
    one_good = average_lines(values, np.array([True, False]), SETTINGS)
    assert one_good.tobytes() == values.tobytes()
