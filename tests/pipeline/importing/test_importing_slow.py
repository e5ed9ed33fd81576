"""Slow channels in fast files keep their own rate: readings are taken where they are, and nothing lies between them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

RATE, EVERY, N = 1000, 100, 2000
START = datetime(2026, 1, 1, tzinfo=UTC)
READINGS = np.arange(N // EVERY) * 0.5 + 20
MAPPING = f"""
version = 1
name = "folder"
[files]
glob = "*.csv"
[signal]
format = "csv"
[signal.csv]
missing_texts = [""]
[recording]
site = {{ value = "lab" }}
robot_id = {{ value = "R" }}
axis = {{ value = "A" }}
sampling_rate_hz = {{ value = {RATE} }}
rate_basis = {{ value = "declared" }}
[[channel]]
column = {{ value = "x" }}
channel = {{ value = "x" }}
quantity = {{ value = "acceleration" }}
unit = {{ value = "g" }}
[[channel]]
column = {{ value = "temp" }}
channel = {{ value = "temp" }}
quantity = {{ value = "temperature" }}
unit = {{ value = "degC" }}
every = {EVERY}
"""
SYNTHETIC = """
[time]
basis = "synthetic"
start = 2026-01-01T00:00:00Z
spacing_s = 3600
recording = { column = "file" }
"""
CLOCK = """
[signal.time]
column = "t"
kind = "elapsed"
unit = "s"
zero = "first_row"
[time]
basis = "clock"
start = { value = "2026-01-01T00:00:00Z" }
"""


def fast_file(folder: Any, temp: list[str]) -> None:
    rows = (f"{at / RATE},{at % 7},{cell}\n" for at, cell in enumerate(temp))
    folder.csv("t,x,temp\n" + "".join(rows))


def held() -> list[str]:
    return [str(READINGS[at // EVERY]) for at in range(N)]


def filled() -> list[str]:
    return [str(READINGS[at // EVERY]) if at % EVERY == 0 else "" for at in range(N)]


def temps(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    fast = [row for row in rows if row["channel"] == "x"]
    assert [(row["sampling_rate_hz"], len(row["samples"])) for row in fast] == [(RATE, N)]
    return [row for row in rows if row["channel"] == "temp"]


@pytest.mark.parametrize("cells", [held, filled], ids=["held", "filled"])
@pytest.mark.parametrize("time", [SYNTHETIC, CLOCK], ids=["without times", "with times"])
def test_a_declared_number_of_rows_makes_the_rate(folder: Any, cells: Any, time: str) -> None:
    fast_file(folder, cells())
    rows, report = folder.run(MAPPING + time)
    (slow,) = temps(rows)
    assert slow["sampling_rate_hz"] == RATE / EVERY
    assert slow["samples"] == READINGS.tolist()
    assert slow["started_at"] == START
    assert report.samples["there"] == 2 * N == report.samples["taken"] + report.samples["other_rows"]
    assert report.samples["other_rows"] == N - N // EVERY


def test_the_cells_that_are_filled_say_it_where_the_times_say_when(folder: Any) -> None:
    """The first reading is in row 30; one is lost, and nothing is put in its place."""
    cells = [str(READINGS[at // EVERY]) if at % EVERY == 30 and at != 1030 else "" for at in range(N)]
    fast_file(folder, cells)
    text = MAPPING.replace(f"every = {EVERY}", 'every = "filled"\nsampling_rate_hz = { value = 10 }') + CLOCK
    rows, report = folder.run(text)
    first, second = temps(rows)
    assert first["samples"] + second["samples"] == np.delete(READINGS, 10).tolist()
    assert first["started_at"] == START + timedelta(seconds=0.03)
    assert second["started_at"] == START + timedelta(seconds=1.13)
    assert any("1 gaps in the times" in item.reason for item in report.skipped)
    rows, _ = folder.run(text.replace("{ value = 10 }", "{ from_times = true }"))
    assert {row["sampling_rate_hz"] for row in temps(rows)} == {10}


def test_a_reading_that_is_missing_cuts(folder: Any) -> None:
    cells = filled()
    cells[5 * EVERY] = ""
    fast_file(folder, cells)
    rows, report = folder.run(MAPPING + SYNTHETIC)
    assert [len(row["samples"]) for row in temps(rows)] == [5, 14]
    assert any("1 of 20 samples are missing" in item.reason for item in report.skipped)


@pytest.mark.parametrize("seams", [2, 3])
def test_cuts_count_rows_of_the_file(folder: Any, seams: int) -> None:
    fast_file(folder, held())
    cut = f'[[process]]\nkind = "cut_every"\nsamples = {seams * EVERY}\n'
    rows, _ = folder.run((MAPPING + SYNTHETIC + cut).replace('kind = "cut_every"', 'kind = "cut_every"\nspacing_s = 9'))
    slow = [row for row in rows if row["channel"] == "temp"]
    assert next(row["samples"] for row in slow) == READINGS[:seams].tolist()
    assert [row["started_at"] for row in slow] == [row["started_at"] for row in rows if row["channel"] == "x"]


def test_a_channel_that_changes_between_its_readings_is_refused_with_the_rows(folder: Any) -> None:
    cells = held()
    cells[250] = "99"
    fast_file(folder, cells)
    (problem,) = folder.problems(MAPPING + SYNTHETIC)
    assert "'temp' has other values between its readings every 100 rows" in problem
    assert "row 252" in problem
    assert len(folder.problems((MAPPING + SYNTHETIC).replace("every = 100", "every = 30"))) == 1


def test_blocks_of_a_file_hold_the_reading_before_them(tmp_path: Path, folder: Any) -> None:
    """Parquet, larger than a block, as nulls and as held values in one file."""
    n = 300_000
    at = np.arange(n)
    temp = pa.array(np.where(at % 3000 < 1500, at // 3000, np.nan), from_pandas=True)
    pq.write_table(pa.table({"x": at % 7 * 1.0, "temp": temp}), folder.path / "a.parquet")
    text = (MAPPING + SYNTHETIC).replace("csv", "parquet").replace('[signal.parquet]\nmissing_texts = [""]\n', "")
    rows, _ = folder.run(text.replace("every = 100", "every = 3000"))
    assert rows[-1]["samples"] == list(range(100))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((f"every = {EVERY}", "every = 1"), "channel"),
        ((f"every = {EVERY}", 'every = "filled"'), 'every = "filled" needs [signal.time]'),
        (("[signal.csv]", 'layout = "row"\n[signal.csv]'), "with layout"),
        (("[time]", f'[[process]]\nkind = "cut_every"\nsamples = {EVERY + 1}\n[time]'), "no multiple of channel.every"),
    ],
)
def test_half_declared_slow_channels_are_refused(folder: Any, change: tuple[str, str], said: str) -> None:
    fast_file(folder, held())
    assert any(said in problem for problem in folder.problems((MAPPING + SYNTHETIC).replace(*change)))


def test_turns_are_not_counted_by_slow_readings(folder: Any) -> None:
    """An encoder that wraps between two readings would give any speed: none is said, with a word."""
    rows = (f"{at / RATE},{at * 50 % 4096},{at % 7},{20}\n" for at in range(N))
    folder.csv("t,enc,x,temp\n" + "".join(rows))
    speed = '[signal.speed]\ncolumn = "enc"\nunit = "counts"\nper_turn = 500\nwraps_at = 4096\n'
    written, report = folder.run(MAPPING + SYNTHETIC + speed)
    assert {row["channel"]: row["shaft_speed_rpm"] for row in written} == {"x": pytest.approx(6000), "temp": None}
    assert any("1 of 2 recordings have no value of the speed column" in note for note in report.notes)
