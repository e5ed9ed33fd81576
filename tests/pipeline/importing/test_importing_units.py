"""Units of an archive: what is converted is told, what is not known is refused, and nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.settings import feature_names
from pipeline.base.settings import Settings
from pipeline.extraction.in_force import feature_settings
from pipeline.extraction.recording import Job, extract_recording

MAPPING = """
version = 1
name = "folder"
[files]
glob = "*.csv"
[signal]
format = "csv"
column = { value = "x" }
[recording]
site = { value = "lab" }
robot_id = { value = "R" }
axis = { value = "A" }
channel = { value = "x" }
quantity = { value = "temperature" }
unit = { value = "degF" }
sampling_rate_hz = { value = 10 }
rate_basis = { value = "declared" }
[time]
basis = "synthetic"
start = 2000-01-01T00:00:00Z
spacing_s = 3600
recording = { column = "file" }
"""


def of(quantity: str, unit: str) -> str:
    return MAPPING.replace('"temperature"', f'"{quantity}"').replace('"degF"', f'"{unit}"')


def notes(report: Any) -> list[str]:
    return [note for note in report.notes if note.startswith("unit")]


@pytest.mark.parametrize(
    ("quantity", "unit", "own", "values", "told"),
    [
        ("temperature", "degF", "degC", [0, 100], "unit: temperature of 1 signal is converted, degC = 0.555556 x degF"),
        ("temperature", "K", "degC", [-241.15, -61.15], "degC = 1 x K -273.15"),
        ("velocity", "in/s", "mm/s", [812.8, 5384.8], "mm/s = 25.4 x in/s"),
        ("velocity", "mm/s", "mm/s", [32, 212], None),
        ("acceleration", "g", "g", [32, 212], None),
        ("acceleration", "mg", "m/s2", [0.3138128, 2.0790098], "m/s2 = 0.00980665 x mg"),
        ("position", "raw", "raw", [32, 212], None),
    ],
)
def test_a_declared_unit_is_converted_and_told(
    folder: Any, quantity: str, unit: str, own: str, values: list[float], told: str | None
) -> None:
    folder.csv("x\n32\n212\n")
    (row,), report = folder.run(of(quantity, unit))
    assert (row["unit"], row["samples"]) == (own, pytest.approx(values, rel=1e-6, abs=1e-4))
    said = notes(report)
    assert (not said) if told is None else (len(said) == 1 and told in said[0])


def test_the_unit_after_a_scale_is_the_one_that_is_converted(folder: Any) -> None:
    """A transmitter of 4 to 20 mA for 0 to 250 degF: offset and factor are declared, the rest is the registry's."""
    folder.csv("x\n4\n20\n")
    step = '[[process]]\nkind = "scale"\nfactor = 15.625\noffset = -62.5\nunit = "degF"\n'
    (row,), report = folder.run(of("temperature", "raw") + step)
    assert (row["unit"], row["samples"]) == ("degC", pytest.approx([-160 / 9, 1090 / 9], abs=1e-4))
    assert len(notes(report)) == 1


def test_a_channel_has_a_factor_and_an_offset(folder: Any) -> None:
    folder.csv("x,y\n4,0\n20,10\n")
    text = MAPPING.replace('column = { value = "x" }\n', "", 1) + (
        '[[channel]]\ncolumn = { value = "x" }\nchannel = { value = "p" }\nfactor = 6.25\noffset = -25\n'
        'unit = { value = "degC" }\nvalid_min = 4\n'
        '[[channel]]\ncolumn = { value = "y" }\nchannel = { value = "q" }\noffset = 273.15\nunit = { value = "K" }\n'
    )
    rows, _ = folder.run(text)
    assert {row["channel"]: row["samples"] for row in rows} == {
        "p": [0, 100],
        "q": pytest.approx([0, 10], abs=1e-4),
    }


@pytest.mark.parametrize(
    ("quantity", "unit", "said"),
    [
        ("sound_pressure", "dB", "'dB' is not a unit of sound_pressure (allowed: Pa, mPa, uPa, raw): a level in dB"),
        ("temperature", "°C", "write 'degC'"),
        ("velocity", "m/s2", "it is one of acceleration; correct the quantity or the unit"),
        ("loudness", "Pa", "'loudness' is not one of acceleration, velocity,"),
    ],
)
def test_an_unknown_unit_is_refused_with_the_list(folder: Any, quantity: str, unit: str, said: str) -> None:
    folder.csv("x\n1\n2\n")
    assert any(said in problem for problem in folder.problems(of(quantity, unit)))


def test_features_are_the_same_from_a_log_in_any_unit() -> None:
    """A logger that writes in/s itself is read too: its samples stay, the features are in mm/s."""
    settings = feature_settings(Settings(), "velocity")
    samples = np.random.default_rng(1).normal(size=4096).astype(np.float32)
    rms = feature_names(settings).index("rms_log10")

    def level(unit: str, values: Any) -> float:
        job = Job("r", "", 0, "velocity", unit, 4096.0, True, None, False, None)
        return float(extract_recording(job, values.astype(np.float32), settings).values[0, rms])

    assert level("in/s", samples) == pytest.approx(level("mm/s", samples * 25.4), abs=1e-6)
    assert level("in/s", samples) - level("raw", samples) == pytest.approx(np.log10(25.4), abs=1e-6)
