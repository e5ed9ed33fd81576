"""Cutting, decimating and scaling signals, against closed forms; and the real archive."""

from __future__ import annotations

import csv
import os
import tomllib
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.importing import ImportRefused, ImportReport, import_archive
from pipeline.importing.signals import decimate

START = datetime(2000, 1, 1, tzinfo=UTC)
MAPPING = """
version = 1
name = "bench"
[signal]
format = "parquet"
file = {{ column = "file" }}
column = {{ value = "x" }}
missing_values = [-999.0]
[recording]
site = {{ value = "lab" }}
robot_id = {{ value = "R" }}
axis = {{ value = "A" }}
channel = {{ value = "x" }}
quantity = {{ value = "acceleration" }}
unit = {{ value = "{unit}" }}
sampling_rate_hz = {{ value = {rate} }}
rate_basis = {{ value = "declared" }}
[time]
basis = "synthetic"
start = 2000-01-01T00:00:00Z
spacing_s = 3600
recording = {{ column = "file" }}
[pieces]
min_samples = {shortest}
{process}
"""


def run(
    folder: Path,
    columns: dict[str, Any],
    process: str = "",
    *,
    rate: float = 1000,
    unit: str = "g",
    shortest: int = 1,
) -> tuple[list[dict[str, Any]], ImportReport]:
    """Import one signal file and give its recordings, samples as arrays."""
    pq.write_table(pa.table(columns), folder / "s.parquet", row_group_size=37)
    (folder / "manifest.csv").write_text("file\ns.parquet\n")
    (folder / "m.toml").write_text(MAPPING.format(rate=rate, unit=unit, shortest=shortest, process=process))
    report = import_archive(folder / "manifest.csv", folder / "m.toml", folder / "landing")
    rows = pq.read_table(report.log_files[0]).to_pylist()
    return [{**row, "samples": np.asarray(row["samples"])} for row in rows], report


def seconds(row: dict[str, Any]) -> float:
    return (row["started_at"] - START) / timedelta(seconds=1)


def tone(hertz: float, rate: float, n: int, first: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.sin(2 * np.pi * hertz * (np.arange(n) + first) / rate)


def test_decimation_keeps_a_tone_in_the_passband_in_amplitude_and_phase() -> None:
    kept, first = decimate(tone(1000, 48_000, 48_000), 4)
    expected = tone(1000, 12_000, len(kept), first=first // 4)
    assert first % 4 == 0
    assert np.abs(kept - expected).max() < 1e-3


@pytest.mark.parametrize("hertz", [6000.0, 7000.0, 10_000.0, 11_900.0, 23_000.0])
def test_decimation_suppresses_what_would_fold_back(hertz: float) -> None:
    kept, _ = decimate(tone(hertz + 0.37, 48_000, 48_000), 4)
    assert 20 * np.log10(np.abs(kept).max()) < -78


@pytest.mark.parametrize("factor", [2, 3, 4, 7, 10])
def test_decimation_has_unit_gain_up_to_nine_tenths_and_no_edges(factor: int) -> None:
    constant, first = decimate(np.ones(20_000), factor)
    np.testing.assert_allclose(constant, 1, atol=2e-4)
    assert len(constant) == (20_000 - 1 - 2 * first) // factor + 1
    edge, _ = decimate(tone(0.9 * 0.5 / factor, 1, 20_000), factor)
    assert np.abs(edge).max() == pytest.approx(1, abs=2e-3)
    assert len(decimate(np.ones(2 * first), factor)[0]) == 0
    assert len(decimate(np.ones(2 * first + 1), factor)[0]) == 1


def test_a_decimated_recording_has_the_new_rate_and_starts_where_the_filter_fits(tmp_path: Path) -> None:
    rows, _ = run(tmp_path, {"x": tone(1000, 48_000, 9600)}, '[[process]]\nkind = "decimate"\nfactor = 4', rate=48_000)
    (row,) = rows
    first = decimate(np.ones(9600), 4)[1]
    assert row["sampling_rate_hz"] == 12_000
    assert seconds(row) == pytest.approx(first / 48_000, abs=1e-6)
    np.testing.assert_allclose(row["samples"], tone(1000, 12_000, len(row["samples"]), first // 4), atol=1e-3)


def test_seams_cut_and_lose_nothing(tmp_path: Path) -> None:
    rows, _ = run(tmp_path, {"x": np.arange(250.0)}, '[[process]]\nkind = "cut_every"\nsamples = 100')
    assert [len(row["samples"]) for row in rows] == [100, 100, 50]
    assert [seconds(row) for row in rows] == [0, 0.1, 0.2]
    np.testing.assert_array_equal(np.concatenate([row["samples"] for row in rows]), np.arange(250))


def test_missing_values_cut_and_nothing_is_filled_in(tmp_path: Path) -> None:
    values: list[float | None] = [float(number) for number in range(100)]
    values[0], values[40], values[41], values[60], values[99] = None, np.nan, -999.0, np.inf, None
    rows, report = run(tmp_path, {"x": values}, '[[process]]\nkind = "cut_every"\nsamples = 50', shortest=10)
    assert [row["samples"].tolist() for row in rows] == [
        list(range(1, 40)), list(range(50, 60)), list(range(61, 99)),
    ]  # fmt: skip
    assert [seconds(row) for row in rows] == [0.001, 0.05, 0.061]
    assert [skipped.reason for skipped in report.skipped] == [
        "5 of 100 samples are missing; cut there", "1 pieces shorter than 10 samples",
    ]  # fmt: skip


def test_snapshots_start_when_the_file_says(tmp_path: Path) -> None:
    snapshot = np.repeat([1, 2, 5], 40)
    columns = {"x": np.arange(120.0), "snap": snapshot, "t": snapshot * 10.0}
    cut = '[[process]]\nkind = "cut_at_changes"\ncolumn = "snap"\nstart_s_column = "t"'
    columns["x"][50] = np.nan
    rows, _ = run(tmp_path, columns, cut)
    assert [(seconds(row), len(row["samples"])) for row in rows] == [(10, 40), (20, 10), (20.011, 29), (50, 40)]
    with pytest.raises(ImportRefused, match="two recordings have the same key"):
        run(tmp_path, {**columns, "t": np.zeros(120)}, cut)
    with pytest.raises(ImportRefused, match="no start time at sample 40"):
        run(tmp_path, {**columns, "t": np.where(snapshot == 2, np.nan, 1.0 * snapshot)}, cut)


def test_changes_are_seen_across_row_groups_nulls_and_words(tmp_path: Path) -> None:
    words = ["a"] * 50 + [None] * 30 + ["b"] * 20
    rows, _ = run(tmp_path, {"x": np.arange(100), "w": words}, '[[process]]\nkind = "cut_at_changes"\ncolumn = "w"')
    assert [len(row["samples"]) for row in rows] == [50, 30, 20]


def test_scaling_declares_the_new_unit(tmp_path: Path) -> None:
    scale = '[[process]]\nkind = "scale"\nfactor = 0.5\nunit = "m/s2"'
    (row,), _ = run(tmp_path, {"x": np.array([2, 4, 6], dtype=np.int16)}, scale, unit="counts")
    assert (row["unit"], row["samples"].tolist()) == ("m/s2", [1, 2, 3])


def test_long_recordings_are_cut_to_length(tmp_path: Path) -> None:
    rows, _ = run(tmp_path, {"x": np.arange(70.0)}, '[[process]]\nkind = "cut_to_length"\nseconds = 0.03')
    assert [(seconds(row), len(row["samples"])) for row in rows] == [(0, 30), (0.03, 30), (0.06, 10)]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImportReport]:
    folder = os.environ.get("AXISWATCH_TEST_DATA")
    if not folder:
        pytest.skip("AXISWATCH_TEST_DATA is not set: it names the folder with manifest.csv and the real signals")
    landing = tmp_path_factory.mktemp("real") / "landing"
    return {name: import_archive(Path(folder) / "manifest.csv", name, landing) for name in ("cwru", "uestc")}


def _recordings(report: ImportReport) -> list[dict[str, Any]]:
    columns = ["channel", "sampling_rate_hz", "unit", "unit_serial", "load", "shaft_speed_rpm", "samples"]
    rows = [row for path in report.log_files for row in pq.read_table(path, columns=columns).to_pylist()]
    return [{**row, "samples": len(row["samples"])} for row in rows]


def _labels(report: ImportReport) -> dict[str, str]:
    with report.labels_path.open(newline="") as file:
        return {row["unit_serial"]: row["mode"] or row["verdict"] for row in csv.DictReader(file)}


def test_the_cwru_archive(real: dict[str, ImportReport]) -> None:
    report = real["cwru"]
    rows = _recordings(report)
    assert (report.files_read, report.recordings, report.skipped, report.notes) == (40, 119, (), ())
    assert Counter(row["channel"] for row in rows) == {"DE": 40, "FE": 40, "BA": 39}
    assert {(row["sampling_rate_hz"], row["unit"]) for row in rows} == {(12_000.0, "g")}
    assert {row["load"] for row in rows} == {0.0, 1.0, 2.0}
    normal = [row for row in rows if row["unit_serial"] == "cwru_normal_97"]
    assert [35_890 < row["samples"] < 36_000 for row in normal] == [True, True]
    labels = _labels(report)
    assert len(labels) == report.units == 10
    assert Counter(labels.values()) == {"ball": 3, "inner_race": 3, "outer_race": 3, "healthy": 1}
    units = tomllib.loads(report.assets_path.read_text())["unit"]
    assert {(unit["geometry"], unit["unit_serial"] == unit["robot_id"]) for unit in units} == {("skf_6205", True)}


def test_the_uestc_archive(real: dict[str, ImportReport]) -> None:
    report = real["uestc"]
    rows = _recordings(report)
    assert (report.files_read, report.recordings, report.skipped) == (8, 24, ())
    assert {(row["sampling_rate_hz"], row["unit"], row["samples"]) for row in rows} == {(20_000.0, "raw", 262_144)}
    assert Counter(row["shaft_speed_rpm"] for row in rows) == {1000.0: 12, 1200.0: 12}
    assert sorted(_labels(report).values()) == ["ball", "healthy", "inner_race", "outer_race"]
    geometry = tomllib.loads(report.assets_path.read_text())["geometry"]["uc204_assumed"]
    ratio = 7.938 / 33.5
    assert geometry["bpfo"] == pytest.approx(4 * (1 - ratio), abs=1e-4)
    assert geometry["bpfi"] == pytest.approx(4 * (1 + ratio), abs=1e-4)
    assert geometry["bsf"] == pytest.approx((1 - ratio**2) / (2 * ratio), abs=1e-4)
    assert geometry["ftf"] == pytest.approx((1 - ratio) / 2, abs=1e-5)
    assert "ASSUMED" in geometry["source"]
