"""Faults made in the conditions of an evaluation's training windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from features.kinematics import bearing_orders
from features.settings import feature_groups, feature_names
from pipeline.base.settings import Settings
from pipeline.evaluation.windows import Windows, made_faults, same_orders
from pipeline.extraction.in_force import feature_settings

N = 6
CLASSES = ("healthy", "inner_race", "gear_tooth", "outer_race")


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(synthetic_windows=8)


@pytest.fixture
def windows(settings: Settings) -> Windows:
    """Six windows of two units at 1,800 rpm, 12 kHz, level 10 (log10: 1); every feature is there."""
    wanted = feature_settings(settings, "acceleration")
    names = feature_names(wanted)
    words = np.full(N, "", dtype=np.str_)
    return Windows(
        names=names,
        groups=tuple(group for group, members in feature_groups(wanted).items() for _ in members),
        feature_version="v",
        rows={},
        x=np.ones((N, len(names)), np.float32),
        row=np.zeros(N, np.int64),
        recording=words,
        quality=np.full(N, "ok"),
        scope=np.full(N, "acceleration"),
        channel=words,
        program=words,
        regime=words,
        started_s=np.zeros(N),
        sampling_rate_hz=np.full(N, 12_000.0),
        shaft_hz=np.full(N, 30.0),
        n_samples=np.full(N, 12_000),
        orders=same_orders(N, bearing_orders(9, 7.94, 39.04)),
        mode=words,
        weight=np.ones(N),
        samples_hash=np.array([str(i) for i in range(N)]),
    )


UNIT = np.array(["a", "a", "a", "b", "b", "b"])


def test_what_can_be_made_is_made_in_the_conditions_of_the_windows(windows: Windows, settings: Settings) -> None:
    made = made_faults(windows, UNIT, CLASSES, settings)
    assert made is not None
    assert np.bincount(made.y, minlength=4).tolist() == [8, 8, 0, 8]
    assert made.source is not None
    assert set(made.source.tolist()) == {"a", "b"}
    level = made.x[:, windows.names.index("rms_log10")]
    assert np.median(level) == pytest.approx(1.0, abs=0.3)
    line = made.x[:, windows.names.index("ses_white_bpfo_h1_db")]
    assert np.median(line[made.y == 3]) > np.median(line[made.y == 0]) + 6.0
    again = made_faults(windows, UNIT, CLASSES, settings)
    assert again is not None
    np.testing.assert_array_equal(made.x, again.x)


def test_what_the_measured_windows_miss_is_missing_in_the_made_ones(windows: Windows, settings: Settings) -> None:
    x = np.concatenate([windows.x, np.ones((N, 1), np.float32)], axis=1)
    column = windows.names.index("rms_log10")
    x[:, column] = np.nan
    wider = replace(windows, x=x, names=(*windows.names, "relative_rms_log10"), groups=(*windows.groups, "relative"))
    made = made_faults(wider, UNIT, CLASSES, settings)
    assert made is not None
    assert np.isnan(made.x[:, column]).all()
    assert np.isnan(made.x[:, -1]).all()
    assert np.isfinite(made.x[:, windows.names.index("ses_white_bpfo_h1_db")]).all()


@pytest.mark.parametrize("lost", ["orders", "shaft_hz", "scope"])
def test_nothing_is_made_where_rate_speed_geometry_or_vibration_is_missing(
    lost: str, windows: Windows, settings: Settings
) -> None:
    values = {"orders": same_orders(N, None), "shaft_hz": np.full(N, np.nan), "scope": np.full(N, "temperature")}
    assert made_faults(replace(windows, **{lost: values[lost]}), UNIT, CLASSES, settings) is None
