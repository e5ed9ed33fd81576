"""Files with a recording a row: many columns of samples, or a column of lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.importing.formats import interface

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
MAPPING = """
version = 1
name = "folder"
[files]
glob = "*.*"
[signal]
format = "csv"
layout = "row"
column = { value = "s*" }
row_spacing_s = 60
[recording]
site = { value = "lab" }
robot_id = { value = "R" }
axis = { value = "A" }
channel = { value = "x" }
quantity = { value = "acceleration" }
unit = { value = "g" }
sampling_rate_hz = { value = 100 }
rate_basis = { value = "declared" }
[time]
basis = "synthetic"
start = 2026-03-02T06:00:00Z
spacing_s = 3600
recording = { column = "file" }
"""
CLOCK = MAPPING.replace("row_spacing_s = 60\n", "").partition("[time]")[0]
CLOCK += '[time]\nbasis = "clock"\n[signal.time]\ncolumn = "when"\nkind = "text"\n'
VALUES = np.arange(25 * 80).reshape(25, 80) % 17


def table() -> str:
    head = "when,motor," + ",".join(f"s{n}" for n in range(80))
    lines = [
        f"{START + timedelta(minutes=row):%Y-%m-%dT%H:%M:%SZ},{row % 2}," + ",".join(map(str, values))
        for row, values in enumerate(VALUES.tolist())
    ]
    return "\n".join([head, *lines]) + "\n"


@pytest.mark.parametrize("mapping", [MAPPING, CLOCK], ids=["spaced", "times"])
@pytest.mark.parametrize("cells", [interface.BLOCK_CELLS, 40])
def test_every_row_is_a_recording(folder: Any, monkeypatch: pytest.MonkeyPatch, mapping: str, cells: int) -> None:
    monkeypatch.setattr(interface, "BLOCK_CELLS", cells)
    folder.csv(table())
    rows, report = folder.run(mapping)
    assert [row["samples"] for row in rows] == VALUES.tolist()
    assert [row["started_at"] for row in rows] == [START + timedelta(minutes=row) for row in range(25)]
    assert report.samples["there"] == report.samples["taken"] == 25 * 80


def test_missing_samples_cut_a_row_and_rows_of_another_motor_are_left(folder: Any) -> None:
    folder.csv(table().replace("\n2026-03-02T06:02:00Z,0,7,8,", "\n2026-03-02T06:02:00Z,0,7,,"))
    mapping = (
        CLOCK.replace("[recording]", 'rows = { motor = ["0"] }\n[recording]') + '[signal.csv]\nmissing_texts = [""]\n'
    )
    rows, report = folder.run(mapping)
    assert len(rows) == 14
    third = [row for row in rows if START + timedelta(minutes=2) <= row["started_at"] < START + timedelta(minutes=3)]
    assert [(len(row["samples"]), (row["started_at"] - START).total_seconds()) for row in third] == [
        (1, 120), (78, 120.02),
    ]  # fmt: skip
    assert (report.samples["missing"], report.samples["other_rows"]) == (1, 12 * 80)


def test_a_column_of_lists(folder: Any) -> None:
    lists = [values[: 80 - row].tolist() for row, values in enumerate(VALUES)]
    when = [START + timedelta(minutes=row) for row in range(25)]
    pq.write_table(
        pa.table({"when": when, "samples": pa.array(lists, pa.list_(pa.int16()))}), folder.path / "a.parquet"
    )
    mapping = CLOCK.replace('"csv"', '"parquet"').replace('"s*"', '"samples"')
    rows, _ = folder.run(mapping)
    assert [row["samples"] for row in rows] == lists
    folder.landing = folder.landing.parent.parent / "again" / "landing"
    assert "is list<element: int16>, not a number" in folder.problems(mapping.replace('layout = "row"\n', ""))[0]


def test_a_wide_file_read_by_columns_is_asked_about(folder: Any) -> None:
    folder.csv(table())
    by_column = MAPPING.replace('layout = "row"\n', "").replace("row_spacing_s = 60\n", "").replace('"s*"', '"s0"')
    (row,), report = folder.run(by_column)
    assert len(row["samples"]) == 25
    said = "'a.csv' has 25 rows and 82 columns: is each row a recording? Then signal.layout = \"row\""
    assert said in report.notes


def test_half_declared_layouts_are_refused(folder: Any) -> None:
    folder.csv(table())
    assert "row_spacing_s goes with" in folder.problems(MAPPING.replace('layout = "row"\n', ""))[0]
    assert "no column of 'a.csv' matches 'z*'" in folder.problems(MAPPING.replace('"s*"', '"z*"'))[0]
