"""The speed of the shaft from a column of the file: as a mean and as a trace, in every unit that loggers use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.spectra.order_tracking import shaft_turns

RATE = 1000
MAPPING = f"""
version = 1
name = "folder"
[files]
glob = "*.csv"
[signal]
format = "csv"
column = {{ value = "acc" }}
[recording]
site = {{ value = "lab" }}
robot_id = {{ value = "R" }}
axis = {{ value = "A" }}
channel = {{ value = "x" }}
quantity = {{ value = "acceleration" }}
unit = {{ value = "g" }}
sampling_rate_hz = {{ value = {RATE} }}
rate_basis = {{ value = "declared" }}
[time]
basis = "synthetic"
start = 2000-01-01T00:00:00Z
spacing_s = 3600
recording = {{ column = "file" }}
"""
N = 4000
TIME = np.arange(N) / RATE
STEADY = np.full(N, 1500.0)
RAMP = np.linspace(600.0, 2400.0, N)


def speed(**keys: Any) -> str:
    lines = [f"{key} = {value if not isinstance(value, str) else repr(value)}" for key, value in keys.items()]
    return MAPPING + "[signal.speed]\ncolumn = 'v'\n" + "\n".join(lines) + "\n"


def as_column(rpm: np.ndarray[Any, Any], unit: str) -> np.ndarray[Any, Any]:
    """What a logger writes of a speed: itself, an encoder of 500 counts that wraps at 4096, or 8 pulses a turn."""
    turns = np.concatenate([[0.0], np.cumsum((rpm[1:] + rpm[:-1]) / 2 / 60 / RATE)])
    return {
        "rpm": rpm,
        "rad/s": rpm * np.pi / 30,
        "Hz": rpm / 60,
        "counts": np.floor(turns * 500) % 4096,
        "pulses": 5 * (np.sin(2 * np.pi * (8 * turns - 0.1)) > 0),
    }[unit]


KEYS: dict[str, dict[str, Any]] = {
    "rpm": {}, "rad/s": {}, "Hz": {}, "counts": {"per_turn": 500, "wraps_at": 4096},
    "pulses": {"per_turn": 8, "threshold": 2.5},
}  # fmt: skip


def write(folder: Any, values: np.ndarray[Any, Any], name: str = "v") -> None:
    cells = "".join(f"{value!r},{one % 5}\n" for one, value in enumerate(values.tolist()))
    folder.csv(f"{name},acc\n" + cells)


@pytest.mark.parametrize("unit", KEYS)
def test_the_mean_of_every_unit_with_the_ratio_to_the_monitored_shaft(folder: Any, unit: str) -> None:
    write(folder, as_column(STEADY, unit))
    (row,), report = folder.run(speed(unit=unit, ratio=0.5, **KEYS[unit]))
    assert row["shaft_speed_rpm"] == pytest.approx(750, rel=0.01)
    assert (row["speed_trace_rpm"], row["speed_trace_rate_hz"]) == (None, None)
    assert not any("leaves its mean" in note for note in report.notes) or unit in ("counts", "pulses")


@pytest.mark.parametrize("unit", KEYS)
def test_a_trace_turns_the_shaft_as_far_as_it_turned(folder: Any, unit: str) -> None:
    write(folder, as_column(RAMP, unit))
    (row,), _ = folder.run(speed(unit=unit, use="trace", **KEYS[unit]))
    trace, rate = np.asarray(row["speed_trace_rpm"]), row["speed_trace_rate_hz"]
    assert rate == 250
    assert len(trace) / rate >= N / RATE - 1 / rate
    turns = shaft_turns(trace, rate, n_samples=N, sampling_rate_hz=RATE)
    true = np.concatenate([[0.0], np.cumsum((RAMP[1:] + RAMP[:-1]) / 2 / 60 / RATE)])
    assert np.abs(turns - true).max() < 0.06, "turns; 8 pulses a turn say no more"
    assert row["shaft_speed_rpm"] == pytest.approx(1500, rel=0.01)


def test_a_mean_of_a_speed_that_moves_is_told(folder: Any) -> None:
    write(folder, RAMP)
    _, report = folder.run(speed(unit="rpm"))
    assert any("1 of 1 recordings have a speed that leaves its mean" in note for note in report.notes)
    _, report = folder.run(speed(unit="rpm", use="trace"))
    assert not any("leaves its mean" in note for note in report.notes)


def test_each_recording_has_the_speed_of_its_own_time(folder: Any) -> None:
    """Cut to length, after decimation, and at a reading that is missing."""
    write(folder, np.repeat([600.0, 1200.0, 1800.0, 2400.0], 1000))
    steps = '[[process]]\nkind = "cut_every"\nsamples = 1000\n'
    rows, _ = folder.run(speed(unit="rpm") + steps)
    assert [row["shaft_speed_rpm"] for row in rows] == [600, 1200, 1800, 2400]
    rows, _ = folder.run(speed(unit="rpm", use="trace") + '[[process]]\nkind = "cut_to_length"\nseconds = 1.0\n')
    assert [row["shaft_speed_rpm"] for row in rows] == [600, 1200, 1800, 2400]
    assert {len(row["speed_trace_rpm"]) for row in rows} == {250}
    decimated = '[[process]]\nkind = "decimate"\nfactor = 2\n[[process]]\nkind = "cut_to_length"\nseconds = 0.25\n'
    rows, _ = folder.run(speed(unit="rpm") + decimated)
    assert rows[0]["shaft_speed_rpm"] == 600
    assert rows[-1]["shaft_speed_rpm"] == 2400


def test_readings_of_the_speed_that_are_missing_are_passed_over(folder: Any) -> None:
    folder.csv("v,acc\n" + "".join(f"{'' if at % 3 else 900},1\n" for at in range(600)))
    text = speed(unit="rpm") + '[signal.csv]\nmissing_texts = [""]\n'
    (row,), _ = folder.run(text)
    assert (row["shaft_speed_rpm"], len(row["samples"])) == (900, 600)
    folder.csv("v,acc\n" + ",1\n" * 600)
    (row,), report = folder.run(text)
    assert row["shaft_speed_rpm"] is None
    assert any("have no value of the speed column" in note for note in report.notes)


def test_a_speed_may_name_a_column_of_the_file_and_parquet_has_it_too(folder: Any) -> None:
    plain = MAPPING.replace("rate_basis", 'shaft_speed_rpm = { column = "rpm" }\nrate_basis')
    write(folder, STEADY, "rpm")
    (row,), _ = folder.run(plain)
    assert row["shaft_speed_rpm"] == 1500
    table = pa.table({"rpm": STEADY.astype(np.int32), "acc": np.arange(N) % 5})
    Path(folder.path, "a.csv").unlink()
    pq.write_table(table, folder.path / "a.parquet")
    (row,), _ = folder.run(plain.replace('"*.csv"', '"*.parquet"').replace('"csv"', '"parquet"'))
    assert row["shaft_speed_rpm"] == 1500
    folder.landing = folder.landing.parent.parent / "again" / "landing"
    write(folder, STEADY, "speed")
    assert "has no column 'rpm'; it has: 'speed', 'acc'" in folder.problems(plain)[0]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"unit": "counts"}, "per_turn goes with unit counts and pulses"),
        ({"unit": "pulses", "per_turn": 1}, "threshold goes with unit pulses"),
        ({"unit": "rpm", "per_turn": 1}, "per_turn goes with"),
        ({"unit": "rpm", "wraps_at": 10}, "wraps_at goes with unit counts only"),
        ({"unit": "mph"}, "signal.speed.unit"),
    ],
)
def test_half_declared_speeds_are_refused(folder: Any, keys: dict[str, Any], said: str) -> None:
    write(folder, STEADY)
    assert any(said in problem for problem in folder.problems(speed(**keys)))
