"""Overall values: one value is one feature, what is no level is missing, and signals do not notice."""

from __future__ import annotations

import math

import numpy as np
import pytest

from features.health.baseline import Reference
from features.health.health import GROUPS, health_figures
from features.overall import COLUMNS, overall_value
from features.quality.quality import Quality
from features.settings import FeatureSettings, feature_names, feature_version
from pipeline.base.quantities import OVERALL, UNITS
from pipeline.base.settings import Settings
from pipeline.extraction.in_force import feature_settings
from pipeline.extraction.recording import Extracted, Job, extract_recording


def extracted(quantity: str, unit: str, *values: float) -> Extracted:
    job = Job("r", "", 0, quantity, unit, 1 / 600, True, 1500.0, True, None)
    return extract_recording(job, np.array(values, np.float32), feature_settings(Settings(), quantity))


@pytest.mark.parametrize(
    ("quantity", "unit", "value", "feature"),
    [
        ("overall_velocity", "in/s", 0.1, math.log10(2.54)),
        ("overall_acceleration", "g", 2.0, math.log10(19.6133)),
        ("overall_kurtosis", "1", 3.0, math.log10(3)),
        ("overall_crest_factor", "1", 5.0, math.log10(5)),
        ("overall_temperature", "degF", 14.0, -10.0),
    ],
)
def test_a_value_is_one_window_with_one_feature(quantity: str, unit: str, value: float, feature: float) -> None:
    done = extracted(quantity, unit, value)
    assert done.values.shape == (1, 1)
    assert done.values[0, 0] == pytest.approx(feature, abs=1e-5)
    assert done.quality == [Quality.OK]
    assert done.velocity_rms_mm_s == (pytest.approx(2.54) if quantity == "overall_velocity" else None)
    assert extracted(quantity, unit, value, 9 * value, value).values[0, 0] == done.values[0, 0], "their median"


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_what_is_no_level_is_no_feature_and_is_said(value: float) -> None:
    done = extracted("overall_velocity", "mm/s", value)
    assert math.isnan(done.values[0, 0])
    assert (done.quality[0].blocks, done.evidence) == (True, [f"the value is {value:g}, and no level"])


def test_every_overall_quantity_has_units_and_a_column() -> None:
    assert set(OVERALL.values()) == set(COLUMNS)
    assert {name for name in UNITS if name.startswith("overall_")} == set(OVERALL)
    assert all(math.isnan(overall_value(np.array([np.nan], np.float32), column)) for column in COLUMNS)


def test_each_column_moves_its_health_figure() -> None:
    """By its own floor: 4 K of a temperature are two sigmas, a doubled level is six."""
    reference = Reference(np.array([1.0]), np.array([0.0]))
    for column, step, group, sigmas in (
        ("temperature_c", 4.0, "level", 2.0),
        ("rms_log10", math.log10(2), "level", 6.02),
        ("kurtosis_log10", 0.4, "impulsiveness", 2.0),
    ):
        figures = dict(zip(GROUPS, health_figures(np.array([[1.0 + step]]), (column,), reference)[0], strict=True))
        assert figures[group] == pytest.approx(sigmas, abs=0.01)
        assert sum(np.isfinite(list(figures.values()))) == 1


def test_signals_keep_their_version() -> None:
    plain = FeatureSettings()
    assert feature_names(FeatureSettings(overall="rms_log10")) == ("rms_log10",)
    assert feature_version(FeatureSettings(overall="rms_log10")) != feature_version(plain)
    assert len(feature_names(plain)) == 144
