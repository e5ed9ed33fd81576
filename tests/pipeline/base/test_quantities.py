"""Quantities and units: every conversion against known pairs of values, and what is said about a unit that is none."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.base.log_schema import QUANTITY_UNITS, SCOPES
from pipeline.base.quantities import OVERALL, UNITS, in_own_unit, own_unit, unit_named, unit_of, why_not

PAIRS = {
    ("acceleration", "m/s2"): (1, 1), ("acceleration", "g"): (2, 19.6133), ("acceleration", "mg"): (1000, 9.80665),
    ("acceleration", "mm/s2"): (1500, 1.5), ("velocity", "mm/s"): (1, 1), ("velocity", "m/s"): (0.0045, 4.5),
    ("velocity", "in/s"): (0.1, 2.54), ("position", "mm"): (1, 1), ("position", "um"): (50, 0.05),
    ("position", "m"): (0.002, 2), ("position", "in"): (1, 25.4), ("position", "mil"): (1000, 25.4),
    ("angle", "deg"): (1, 1), ("angle", "rad"): (np.pi, 180), ("angular_velocity", "deg/s"): (1, 1),
    ("angular_velocity", "rad/s"): (2 * np.pi, 360), ("angular_velocity", "rpm"): (1, 6),
    ("motor_current", "A"): (1, 1),
    ("motor_current", "mA"): (20, 0.02), ("motor_torque", "Nm"): (1, 1), ("motor_torque", "mNm"): (500, 0.5),
    ("motor_torque", "kNm"): (2, 2000), ("motor_torque", "lbf.in"): (12, 1.3558179483), ("force", "N"): (1, 1),
    ("force", "kN"): (1.5, 1500), ("force", "lbf"): (1, 4.4482216), ("strain", "um/m"): (1, 1),
    ("strain", "m/m"): (0.0005, 500), ("sound_pressure", "Pa"): (1, 1), ("sound_pressure", "mPa"): (20, 0.02),
    ("sound_pressure", "uPa"): (20, 2e-5), ("temperature", "degC"): (1, 1), ("temperature", "K"): (273.15, 0),
    ("temperature", "degF"): (212, 100), ("voltage", "V"): (1, 1), ("voltage", "mV"): (100, 0.1),
}  # fmt: skip
"""A value in each unit, and the same in the unit of its quantity."""


def test_every_unit_is_checked() -> None:
    known = {(quantity, unit) for quantity, units in UNITS.items() for unit in units}
    assert PAIRS.keys() == {pair for pair in known if pair[0] not in OVERALL}
    assert {pair for pair in known if pair[0] in OVERALL} == {
        *(("overall_acceleration", unit) for unit in UNITS["acceleration"]),
        *(("overall_velocity", unit) for unit in UNITS["velocity"]),
        *(("overall_temperature", unit) for unit in UNITS["temperature"]),
        *(("overall_kurtosis", "1"), ("overall_crest_factor", "1")),
    }, "those of signals, or none"


@pytest.mark.parametrize(("quantity", "unit"), PAIRS)
def test_conversion(quantity: str, unit: str) -> None:
    value, own = PAIRS[quantity, unit]
    samples = np.array([value, value], dtype=np.float32)
    before = samples.copy()
    assert in_own_unit(samples, quantity, unit) == pytest.approx(own, rel=1e-6, abs=1e-4)
    assert np.array_equal(samples, before), "the caller's array is not written to"
    assert unit_of(quantity, unit).is_own == (unit == own_unit(quantity, unit))


def test_raw_stays_raw_and_is_a_scope_of_its_own() -> None:
    samples = np.array([1.0], dtype=np.float32)
    assert in_own_unit(samples, "temperature", "raw") is samples
    assert own_unit("velocity", "raw") == "raw"
    assert set(SCOPES) == {*UNITS, *(f"{quantity}:raw" for quantity in UNITS)}
    assert all(units[-1] == "raw" for units in QUANTITY_UNITS.values())


def test_what_float32_cannot_hold_is_infinite_without_a_warning() -> None:
    assert np.isinf(in_own_unit(np.array([3e38], dtype=np.float32), "acceleration", "g")).all()


@pytest.mark.parametrize(
    ("quantity", "unit", "said"),
    [
        ("sound_pressure", "dB", "is a logarithm, and no signal; log the values themselves, in Pa"),
        ("sound_pressure", "dB(A)", "is a logarithm"),
        ("velocity", "dBV", "in mm/s"),
        ("temperature", "°F", "write 'degF'"),
        ("velocity", "mm/sec", "write 'mm/s'"),
        ("motor_current", "a", "write 'A'"),
        ("acceleration", "mm/s", "it is one of velocity"),
        ("force", "stone", "(allowed: N, kN, lbf, raw); convert the samples, or declare 'raw'"),
    ],
)
def test_a_unit_that_is_none_of_the_quantity(quantity: str, unit: str, said: str) -> None:
    assert said in why_not(quantity, unit)
    assert repr(unit) in why_not(quantity, unit)


def test_units_as_files_write_them() -> None:
    """A unit that differs from another by its case alone is found as written: mPa is no MPa."""
    for quantity, unit in PAIRS:
        assert unit_named(unit) == (quantity, unit)
    assert unit_named("M/S^2") == ("acceleration", "m/s2")
    assert unit_named("µε") == ("strain", "um/m")
    assert unit_named("furlong") is None
