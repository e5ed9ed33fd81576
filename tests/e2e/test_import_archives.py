"""The examples of docs/mapping.md as a newcomer copies them, and the shipped archives through the product."""

from __future__ import annotations

import os
import re
import sqlite3
import tomllib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

DOCS = Path(__file__).parents[2] / "docs" / "mapping.md"
DATA = os.environ.get("AXISWATCH_TEST_DATA", "")
AS_OF = ("--as-of", "2025-01-01T00:00:00Z")
ARCHIVES = ("femto", "rv_reducer", "wafer_rr732", "ur3", "armpi")
needs_data = pytest.mark.skipif(not DATA, reason="AXISWATCH_TEST_DATA does not name the folder of real recordings")


def example(heading: str, kind: str) -> str:
    """The code block of a kind below a heading of the document."""
    section = DOCS.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(rf"```{kind}\n(.*?)```", section, flags=re.S)
    return str(block)


def recordings(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for path in report["log_files"] for row in pq.read_table(path).to_pylist()]


def test_the_documented_folder_of_csv_files(cli: Any) -> None:
    folder = cli.home / "line2"
    folder.mkdir()
    text = example("A folder of CSV files", "csv").encode("cp1252")
    for name in ("R07_A2_20260501T060000.csv", "R07_A2_20260501T070000.csv", "R08_A1_20260501T060000.csv"):
        (folder / name).write_bytes(text)
    (cli.home / "line2.toml").write_text(example("A folder of CSV files", "toml"), encoding="utf-8")
    report = cli("import", folder, "--mapping", cli.home / "line2.toml", "--json").json()
    rows = recordings(report)
    first = {(row["channel"], row["started_at"]): row for row in rows if row["robot_id"] == "R07"}
    start = datetime(2026, 5, 1, 4, tzinfo=UTC)
    assert first["temperature", start]["samples"] == pytest.approx([41.5, 41.5, 41.5, 41.6])
    assert first["current", start]["samples"] == pytest.approx([1.2, 1.32]), "cut at the cell that means no reading"
    assert first["current", start + timedelta(seconds=0.03)]["samples"] == pytest.approx([1.28])
    assert {(row["robot_id"], row["axis"]) for row in rows} == {("R07", "A2"), ("R08", "A1")}
    taken = cli("run", "--json", "--as-of", "2026-06-01T00:00:00Z").json()["acquire"]
    assert (taken["recordings"], taken["quarantined"]) == (len(rows), 0) == (9, 0)


GEARBOXES = r"""
version = 1
name = "gearboxes"

[files]
glob = "*.mat"
pattern = '(?P<gearbox>G\d+)_(?P<state>[a-z]+)\.mat'

[signal]
format = "mat"

[recording]
site = { value = "lab" }
robot_id = { column = "gearbox" }
axis = { value = "input" }
quantity = { value = "acceleration" }
unit = { value = "g" }
sampling_rate_hz = { value = 12000 }
rate_basis = { value = "declared" }
shaft_speed_rpm = { variable = "X*RPM" }
speed_is_steady = { value = true }
unit_serial = { column = "gearbox" }

[[channel]]
column = { value = "X*_DE_time" }
channel = { value = "drive_end" }

[[channel]]
column = { value = "X*_FE_time" }
channel = { value = "fan_end" }

[time]
basis = "synthetic"
start = 2000-01-01T00:00:00Z
spacing_s = 3600
recording = { column = "file" }

[label]
column = "state"
values.normal = { verdict = "healthy", evidence = "inspected" }
values.fault = { verdict = "fault", evidence = "teardown" }
"""


def test_a_folder_of_matlab_files(cli: Any) -> None:
    folder = cli.home / "gearboxes"
    folder.mkdir()
    random = np.random.default_rng(5)
    for number, name in ((97, "G11_normal"), (118, "G12_fault")):
        signals = {f"X{number:03}_{end}_time": random.standard_normal((4096, 1)) for end in ("DE", "FE")}
        savemat(folder / f"{name}.mat", {**signals, f"X{number:03}RPM": 1700.0 + number})
    (cli.home / "gearboxes.toml").write_text(GEARBOXES, encoding="utf-8")
    report = cli("import", folder, "--mapping", cli.home / "gearboxes.toml", "--json").json()
    rows = recordings(report)
    assert {(row["unit_serial"], row["channel"], row["shaft_speed_rpm"]) for row in rows} == {
        (unit, channel, rpm) for unit, rpm in (("G11", 1797.0), ("G12", 1818.0)) for channel in ("drive_end", "fan_end")
    }
    assert (report["labels"], report["units"]) == (2, 2)
    cli("assets", "import", report["assets_path"], "--json", *AS_OF).json()
    assert cli("labels", "import", report["labels_path"], "--json").json()["new"] == 2
    taken = cli("run", "--json", *AS_OF).json()["acquire"]
    assert (taken["recordings"], taken["quarantined"]) == (4, 0)


def test_a_refusal_names_the_cell_and_leaves_nothing(cli: Any) -> None:
    folder = cli.home / "line2"
    folder.mkdir()
    text = example("A folder of CSV files", "csv").replace("1,32", "1.32").replace("41,6", "warm")
    (folder / "R07_A2_20260501T060000.csv").write_text(text, encoding="cp1252")
    (cli.home / "line2.toml").write_text(example("A folder of CSV files", "toml"), encoding="utf-8")
    ended = cli("import", folder, "--mapping", cli.home / "line2.toml")
    said = " ".join(ended.err.split())
    assert ended.code != 0
    assert "row 5: column 'Strom A': '1.32' is not a number with ',' as the decimal mark" in said
    assert "row 7: column 'Temp C': 'warm' is not a number" in said
    assert not (cli.home / "landing").exists()


def test_one_look_one_edit_one_import_one_run(cli: Any) -> None:
    """From a folder of unknown logs to windows."""
    folder, mapping = cli.home / "unknown", cli.home / "first.toml"
    folder.mkdir()
    x = np.random.default_rng(2).standard_normal(20_000)
    stamps = 1_777_615_200_000_000 + 500 * np.arange(20_000)
    lines = [f"{stamp};{value:.4f}".replace(".", ",") for stamp, value in zip(stamps.tolist(), x.tolist(), strict=True)]
    (folder / "a.csv").write_text("time;acc [g]\n" + "\n".join(lines) + "\n")
    seen = cli("import", folder, "--look", "--mapping", mapping, "--dry-run")
    assert "2000 Hz, 0 gaps" in seen.out
    assert not mapping.exists()
    cli("import", folder, "--look", "--mapping", mapping)
    assert "is there already" in cli("import", folder, "--look", "--mapping", mapping).err
    assert "is still open" in " ".join(cli("import", folder, "--mapping", mapping).err.split())
    text = re.sub(r'"FILL IN: the (plant|robot|axis).*"', r'"\1"', mapping.read_text(encoding="utf-8"))
    mapping.write_text(text, encoding="utf-8")
    dry = cli("import", folder, "--mapping", mapping, "--dry-run", "--json").json()
    assert (dry["dry_run"], (cli.home / "landing").exists()) == (True, False)
    report = cli("import", folder, "--mapping", mapping, "--json").json()
    assert (report["recordings"], report["samples"]["taken"], report["files"]["files_read"]) == (1, 20_000, 1)
    ran = cli("run", "--json", "--as-of", "2026-06-01T00:00:00Z").json()
    assert (ran["acquire"]["recordings"], ran["acquire"]["quarantined"]) == (1, 0)
    assert ran["extract"]["windows"] > 0, ran["extract"]
    assert "a mapping is needed" in cli("import", folder).err


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, cli_at: Callable[[Path], Any]) -> Any:
    """All five archives imported into one landing zone, acquired and extracted."""
    cli = cli_at(tmp_path_factory.mktemp("archives"))
    cli.reports = {}
    for name in ARCHIVES:
        cli.reports[name] = cli("import", f"{DATA}/manifest.csv", "--mapping", name, "--json", timeout_s=300).json()
        cli("assets", "import", cli.reports[name]["assets_path"], "--json", *AS_OF).json()
    cli.figures = cli("run", "--json", *AS_OF, workers=2, timeout_s=300).json()
    return cli


def query(cli: Any, text: str) -> list[Any]:
    with sqlite3.connect(cli.home / "axiswatch.db") as database:
        return database.execute(text).fetchall()


@needs_data
def test_every_archive_is_taken_in_without_quarantine(ran: Any) -> None:
    counts = {name: report["recordings"] for name, report in ran.reports.items()}
    assert counts == {"femto": 2 * (2803 + 871 + 797), "rv_reducer": 400, "wafer_rr732": 750, "ur3": 648, "armpi": 1545}
    assert ran.figures["acquire"]["recordings"] == sum(counts.values())
    assert ran.figures["acquire"]["quarantined"] == 0
    scopes = set(ran.figures["score"]["scopes_without_model"])
    assert scopes == {"acceleration", "acceleration:raw", "motor_current", "temperature", "voltage"}


@needs_data
def test_femto_snapshots_are_ten_seconds_apart_whatever_the_clock_says(ran: Any) -> None:
    for path in ran.reports["femto"]["log_files"]:
        table = pq.read_table(path, columns=["channel", "started_at"])
        for channel in ("h_acc", "v_acc"):
            rows = table.to_pylist()
            times = [row["started_at"] for row in rows if row["channel"] == channel]
            steps = Counter(after - before for before, after in pairwise(times))
            assert set(steps) == {timedelta(seconds=10)}


@needs_data
def test_the_reducer_is_one_unit_in_two_regimes(ran: Any) -> None:
    assert ran.reports["rv_reducer"]["units"] == ran.reports["rv_reducer"]["labels"] == 1
    rows = recordings(ran.reports["rv_reducer"])
    assert Counter((row["program"], row["channel"]) for row in rows) == {
        (level, channel): 100 for level in ("S1L2", "S2L2") for channel in ("ch0", "ch1")
    }
    assert {len(row["samples"]) for row in rows} == {1024}


@needs_data
def test_an_assumed_rate_gives_no_feature_in_hz(ran: Any) -> None:
    names = {row[0] for row in query(ran, "SELECT recording_id FROM recordings WHERE rate_basis = 'assumed'")}
    assert len(names) == 750
    for features in _features(ran):
        mine = features[features["recording_id"].isin(names)]
        in_hz = [
            name for name in mine.columns if name.endswith("_hz") or name.startswith(("band_", "ses_", "raw_gear"))
        ]
        assert mine[in_hz].isna().all(axis=None)
        assert mine["rms_log10"].notna().all()


@needs_data
def test_slow_quantities_have_shape_features_and_no_false_sensor_faults(ran: Any) -> None:
    """Servo temperatures in whole degrees stand still for a minute by nature: too short to judge, no dead sensor."""
    verdicts = dict(
        query(
            ran,
            "SELECT r.quantity || ' ' || e.quality, count(*) FROM extractions e JOIN recordings r USING (recording_id)"
            " WHERE r.quantity != 'acceleration' GROUP BY 1",
        )
    )
    assert verdicts == {"motor_current ok": 348, "temperature ok": 665, "temperature too_short": 408, "voltage ok": 772}
    slow = {row[0] for row in query(ran, "SELECT recording_id FROM recordings WHERE quantity != 'acceleration'")}
    for features in _features(ran):
        mine = features[features["recording_id"].isin(slow) & (features["quality"] == "ok")]
        assert mine[["rms_log10", "kurtosis_log10", "spectral_entropy"]].notna().all(axis=None)
        assert mine[[name for name in mine.columns if name.startswith(("ses_", "band_"))]].isna().all(axis=None)


@needs_data
def test_glitches_and_made_up_temperatures_are_not_taken_in(ran: Any) -> None:
    rows = recordings(ran.reports["armpi"])
    for channel, low, high in (("temperature", 15, 100), ("voltage", 0, 9)):
        values = np.concatenate([row["samples"] for row in rows if row["channel"] == channel])
        assert values.min() > low
        assert values.max() < high
    left = " ".join(reason for _, _, reason in map(_three, ran.reports["armpi"]["skipped"]))
    assert "M6 temperature: 82 of 231 samples are missing" in left
    units = tomllib.loads(Path(ran.reports["armpi"]["assets_path"]).read_text())["unit"]
    assert sorted(unit["unit_serial"] for unit in units) == [f"armpi_M{motor}" for motor in range(1, 7)]


@needs_data
def test_robot_times_are_real_and_gaps_cut(ran: Any) -> None:
    rows = [row for row in recordings(ran.reports["ur3"]) if (row["axis"], row["channel"]) == ("J1", "current")]
    assert rows[0]["started_at"] == datetime(2022, 10, 26, 8, 17, 21, 847000, tzinfo=UTC)
    ends = [row["started_at"] + timedelta(seconds=1.016 * len(row["samples"])) for row in rows]
    pauses = [after["started_at"] - end for after, end in zip(rows[1:], ends, strict=False)]
    assert max(pauses) > timedelta(hours=5)
    assert {row["time_basis"] for row in rows} == {"clock"}


def _three(item: Any) -> tuple[Any, Any, str]:
    return (item["row"], item["file"], item["reason"]) if isinstance(item, dict) else tuple(item)


def _features(cli: Any) -> list[Any]:
    return [pq.read_table(path).to_pandas() for path in sorted((cli.home / "lake" / "features").rglob("*.parquet"))]
