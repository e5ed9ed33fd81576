"""Looking at unknown files: what is seen, what is left open, and one edit makes a mapping that imports."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from benchmarks.fuzz.signal_files import X, make
from pipeline.base.errors import AxiswatchError
from pipeline.importing import ImportRefused, ImportReport, import_archive
from pipeline.importing.look import Look, look

NOW = datetime(2026, 11, 1, tzinfo=UTC)
START = datetime(2026, 5, 1, 6, tzinfo=UTC)


def answer(mapping: str, **answers: str) -> str:
    """The one edit: each open mark of a key gets what the test knows."""
    for key, value in answers.items():
        mapping = re.sub(rf"^({key} = ).*FILL IN.*$", rf"\g<1>{value}", mapping, flags=re.M)
    return mapping


def imported(folder: Path, seen: Look, **answers: str) -> tuple[list[dict[str, Any]], ImportReport]:
    assert seen.mapping is not None
    path = folder.parent / "m.toml"
    path.write_text(seen.mapping, encoding="utf-8")
    if answers:
        with pytest.raises(ImportRefused, match="is still open"):
            import_archive(folder, path, folder.parent / "landing")
        path.write_text(answer(seen.mapping, **answers), encoding="utf-8")
    report = import_archive(folder, path, folder.parent / "landing", as_of=NOW)
    return [row for log in report.log_files for row in pq.read_table(log).to_pylist()], report


WHO = {
    "site": '{ value = "p" }', "robot_id": '{ value = "R1" }', "axis": '{ value = "A1" }',
    "quantity": '{ value = "acceleration" }', "unit": '{ value = "g" }',
}  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.mkdir()
    return path


def test_a_german_controllers_files(source: Path) -> None:
    """Semicolons, decimal commas, cp1252, a title, units below the header, a time in the name, `-` for no reading."""
    rows = "".join(f"{n // 100},{n % 100:02};{n % 7},5;{'-' if n == 40 else '41,5'};läuft\n" for n in range(300))
    text = f"Presse 2 - Export\n\nZeit;Strom;Temp;Zustand\ns;A;degC;\n{rows}"
    for robot in ("R07", "R08"):
        (source / f"{robot}_20260501T080000.csv").write_bytes(text.encode("cp1252"))
    seen = look(source, as_of=NOW)
    said = "\n".join(seen.lines)
    assert "2 files of 1 kinds" in said
    assert "delimiter ';', decimal ',', cp1252" in said
    assert "column 'Strom' [A]" in said
    assert "300 rows, times in 'Zeit' (elapsed), 100 Hz, 0 gaps" in said
    assert seen.mapping is not None
    mapping = seen.mapping.replace("robot_id = ", "# robot_id = ")
    mapping = mapping.replace("'.*?(?P<start>", "'(?P<robot>R..)_(?P<start>").replace(
        "[recording]", '[recording]\nrobot_id = { column = "robot" }'
    )
    edited = Look(seen.lines, mapping, 2, 1)
    known = {"site": WHO["site"], "axis": WHO["axis"], "zone": '"Europe/Berlin"'}
    found, report = imported(source, edited, **known)
    assert {(row["robot_id"], row["channel"]) for row in found} >= {("R07", "strom"), ("R08", "temp")}
    current = next(row for row in found if row["channel"] == "strom")
    assert (current["quantity"], current["unit"]) == ("motor_current", "A")
    assert (current["started_at"], current["sampling_rate_hz"], len(current["samples"])) == (START, 100, 300)
    assert report.samples["missing"] == 2


def test_loggers_with_milliseconds_gaps_and_a_packed_file(source: Path) -> None:
    stamps = int(START.timestamp() * 1000) + 10 * np.arange(500) + 70 * (np.arange(500) >= 200)
    text = "timestamp,acc [g],rpm\n" + "".join(f"{stamp},{stamp % 3},1500\n" for stamp in stamps.tolist())
    (source / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    seen = look(source, as_of=NOW)
    assert f"times in 'timestamp' (epoch), from {START.isoformat()}, 100 Hz, 1 gaps" in "\n".join(seen.lines)
    assert seen.mapping is not None
    assert '# column = "rpm"' in seen.mapping
    found, _ = imported(source, seen, **{key: WHO[key] for key in ("site", "robot_id", "axis")})
    assert [(row["unit"], len(row["samples"])) for row in found] == [("g", 200), ("g", 300)]


def test_tabulators_local_times_and_repeated_seconds(source: Path) -> None:
    moments = [START + timedelta(seconds=0.4 + n / 10) for n in range(200)]
    lines = [f"{moment + timedelta(hours=2):%Y-%m-%d %H:%M:%S}\t{n % 5}" for n, moment in enumerate(moments)]
    (source / "log.txt").write_text("time\tx\n" + "\n".join(lines) + "\n")
    seen = look(source, as_of=NOW)
    assert seen.mapping is not None
    assert 'repeated = "spread"' in seen.mapping
    found, _ = imported(source, seen, zone='"Europe/Berlin"', **WHO)
    ((began, n, rate),) = [(row["started_at"], len(row["samples"]), row["sampling_rate_hz"]) for row in found]
    assert (abs(began - moments[0]) < timedelta(seconds=0.01), n) == (True, 200)
    assert rate == pytest.approx(10, rel=0.01)


def test_parquet_and_matlab_files(source: Path) -> None:
    table = {"t_ms": np.arange(300) * 0.5, "x": np.ones(300), "word": ["a"] * 300}
    pq.write_table(pa.table(table), source / "a.parquet")
    seen = look(source, as_of=NOW)
    assert "times in 't_ms' (elapsed), 2000 Hz" in "\n".join(seen.lines)
    assert "# column 'word' has no numbers" in (seen.mapping or "")
    (source / "a.parquet").unlink()
    savemat(source / "b.mat", {"X_DE": np.ones((300, 1)), "RPM": 1772.0, "words": "text"})
    seen = look(source / "b.mat", as_of=NOW)
    assert seen.mapping is not None
    assert 'column = { value = "X_DE" }' in seen.mapping
    assert 'glob = "b.mat"' in seen.mapping


def test_files_that_differ_are_named_and_excluded(source: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (source / name).write_text("t,acc\n" + "".join(f"{n / 10},{n}\n" for n in range(50)))
    (source / "c.csv").write_text("t,other\n" + "".join(f"{n / 10},{n}\n" for n in range(50)))
    (source / "notes.txt").write_text("nothing\nhere\n")
    (source / "photo.csv").write_bytes(b"\x89PNG\r\n")
    (source / "scan.hdf").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    seen = look(source, as_of=NOW)
    said = "\n".join(seen.lines)
    assert (seen.files, seen.kinds) == (6, 5)
    assert "2 csv: a.csv, b.csv" in said
    assert "1 cannot be read (notes.txt): is no table of numbers" in said
    assert "1 cannot be read (photo.csv): is PNG" in said
    assert 'exclude = ["c.csv", "photo.csv"]' in (seen.mapping or "")
    assert 'unit = "FILL IN' in (seen.mapping or ""), "nobody knows the unit of an elapsed time without a header"


def test_there_has_to_be_something_to_look_at(source: Path) -> None:
    with pytest.raises(AxiswatchError, match="holds no file"):
        look(source, as_of=NOW)
    with pytest.raises(AxiswatchError, match="does not exist"):
        look(source / "nothing", as_of=NOW)
    (source / "a.csv").write_bytes(b"")
    assert look(source, as_of=NOW).mapping is None


SEEN = {
    "hdf5": "times in 'run/t' (elapsed), 1000 Hz",
    "mat": "column 'bearing.gs': ",
    "tdms": "column 'rig/acc' [g]: ",
    "wav": "600 values, 1000 Hz",
    "rosbag2": f"times in '/joint_states.header.stamp' (epoch), from {START.isoformat()}, 1000 Hz",
    "mcap": f"times in '/joint_states.header.stamp' (epoch), from {START.isoformat()}, 1000 Hz",
    "uff": "column '2' [m/s^2]: ",
}


@pytest.mark.parametrize("form", SEEN)
def test_one_edit_makes_a_mapping_of_each_format(source: Path, form: str) -> None:
    """Rates, starts and units that a file says are filled in; what has other rows is left to a person."""
    path = make(source, form)
    seen = look(source, as_of=NOW)
    assert SEEN[form] in "\n".join(seen.lines)
    seen = replace(seen, mapping=(seen.mapping or "").replace('"FILL IN: s, ms, us, min, ..."', '"s"'))
    rows, _ = imported(source, seen, **WHO, sampling_rate_hz="{ value = 1000 }")
    found = {row["channel"]: row for row in rows}
    assert found[{"mat": "bearing_gs"}.get(form, SLUG.get(form, "1"))]["samples"] == pytest.approx(X.tolist(), abs=1e-6)
    assert {row["sampling_rate_hz"] for row in rows} == {1000}
    if form in ("tdms", "rosbag2", "mcap"):
        assert {row["started_at"] for row in rows} == {START}
    assert path.name in "\n".join(seen.lines)


SLUG = {"hdf5": "run_acc_0", "tdms": "rig_acc", "rosbag2": "joint_states_effort_elbow"}
SLUG["mcap"] = SLUG["rosbag2"]


def test_matlab_files_whose_variables_have_other_numbers_are_of_one_kind(source: Path) -> None:
    for number in (97, 118):
        savemat(source / f"{number}.mat", {f"X{number:03}_DE_time": np.ones((50, 1)), f"X{number:03}RPM": 1797.0})
    seen = look(source, as_of=NOW)
    assert "2 files of 1 kinds" in seen.lines[0]
    rows, _ = imported(source, seen, **WHO, sampling_rate_hz="{ value = 12000 }")
    assert [(row["channel"], len(row["samples"])) for row in rows] == [("x_de_time", 50)] * 2


def test_elements_of_a_struct_are_named_by_what_they_say(source: Path) -> None:
    for number in (1, 2):
        signals = np.zeros((1, 2), [("Name", object), ("Data", object)])
        signals[0, 0], signals[0, 1] = ("speed", np.ones((1, 5))), ("vibration_1", np.ones((1, 50)))
        savemat(source / f"N09_K00{number}_1.mat", {f"N09_K00{number}_1": {"Y": signals}})
    seen = look(source, as_of=NOW)
    assert 'column = { value = "*.Y(vibration_1).Data" }' in (seen.mapping or "")
    assert "# column 'N09_K001_1.Y(1).Data' has other rows" in (seen.mapping or "")
