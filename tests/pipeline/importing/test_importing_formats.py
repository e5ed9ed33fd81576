"""CSV and MATLAB files, folders without a manifest, channels and time columns: what is read, and what is refused."""

from __future__ import annotations

import gzip
import re
import struct
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat
from scipy.sparse import eye

from pipeline.importing import ImportRefused, import_archive

MAPPING = """
version = 1
name = "folder"
[files]
glob = "*.*"
[signal]
format = "csv"
column = { value = "acc" }
[recording]
site = { value = "lab" }
robot_id = { value = "R" }
axis = { value = "A" }
channel = { column = "file" }
quantity = { value = "acceleration" }
unit = { value = "g" }
sampling_rate_hz = { value = 10 }
rate_basis = { value = "declared" }
[time]
basis = "synthetic"
start = 2000-01-01T00:00:00Z
spacing_s = 3600
recording = { column = "file" }
"""
CLOCK = MAPPING.partition("[time]")[0] + '[time]\nbasis = "clock"\n'
MAT = MAPPING.replace('"csv"', '"mat"')


def timed(text: str, base: str = CLOCK) -> str:
    return base + f'[signal.time]\ncolumn = "t"\n{text}\n'


def csv_with(**keys: str) -> str:
    return MAPPING + "[signal.csv]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


GOOD_CSV: dict[str, tuple[str | bytes, str, list[float]]] = {
    "plain": ("acc,word\n1,a\n-2.5,b\n3e-1,c\n", MAPPING, [1, -2.5, 0.3]),
    "byte order mark, spaces, plus": ("\ufeffacc\r\n +1\r\n2. \r\n.5\r\n", MAPPING, [1, 2, 0.5]),
    "german": ("t;acc\n1;1,5\n2;-2,25\n", csv_with(delimiter='";"', decimal='","'), [1.5, -2.25]),
    "cp1252": ("acc;µ\n4;ä\n".encode("cp1252"), csv_with(delimiter='";"', encoding='"cp1252"'), [4]),
    "utf-16": ("acc\n4\n5\n".encode("utf-16"), csv_with(encoding='"utf-16"'), [4, 5]),
    "no header": (
        "7,1\n8,2\n",
        csv_with(header="false").replace('column = { value = "acc" }', 'column = { value = "2" }'),
        [1, 2],
    ),
    "comments, title, units": (
        "Report\n\nacc\nmm\n# pause\n1\n2\n",
        csv_with(comment='"#"', skip_lines="2", skip_after_header="1"),
        [1, 2],
    ),
    "tabulator, quotes": ('acc\tb\n"1"\t"x\ty"\n', csv_with(delimiter=r'"\t"'), [1]),
    "huge integer": ("acc\n123456789012345678901234567890\n1\n", MAPPING, [1.2345678901234568e29, 1]),
}


@pytest.mark.parametrize(("text", "mapping", "samples"), GOOD_CSV.values(), ids=GOOD_CSV)
def test_text_is_read_as_declared(folder: Any, text: str | bytes, mapping: str, samples: list[float]) -> None:
    folder.csv(text)
    rows, _ = folder.run(mapping)
    assert [row["samples"] for row in rows] == [np.asarray(samples, np.float32).tolist()]


BAD_CSV: dict[str, tuple[str | bytes, str, str]] = {
    "wrong delimiter": (
        "t;acc\n1;2\n",
        MAPPING,
        "no column 'acc'; it has: 't;acc'; one column only: is signal.csv.deli",
    ),
    "ragged": ("t,acc\n1,2\n1\n1,2,3\n2,3\n5\n", MAPPING, "a.csv, rows 3, 6: has 1 cells where the header names 2"),
    "text": ("acc\n1\nbad\n2\n", MAPPING, "a.csv, row 3: column 'acc': 'bad' is not a number with '.'"),
    "decimal comma": ('acc\n"1,5"\n', MAPPING, "a.csv, row 2: column 'acc': '1,5' is not a number"),
    "thousands": ("acc\n1.000,5\n", csv_with(delimiter='";"', decimal='","'), "'1.000,5' is not a number with ','"),
    "underscore": ("acc\n1_000\n", MAPPING, "'1_000' is not a number"),
    "nan not declared": ("acc\n1\nnan\n", MAPPING, "a.csv, row 3: column 'acc': 'nan' is not a number"),
    "empty cell": ("t,acc\n1,\n2,3\n", MAPPING, "a.csv, row 2: column 'acc' is empty; declare the empty cell"),
    "infinite": ("acc\n1e999\n", MAPPING, "'1e999' is too large"),
    "too large for 32 bits": ("acc\n1e99\n", MAPPING, "does not fit 32-bit floats"),
    "twice": ("acc,acc\n1,2\n", MAPPING, "has 2 columns 'acc'"),
    "empty": ("", MAPPING, "'a.csv' is empty"),
    "blank": ("\n\n", MAPPING, "'a.csv' is empty"),
    "header only": ("acc\n", MAPPING, "has a header and no samples"),
    "not UTF-8": ("acc,µ\n1,2\n".encode("cp1252"), MAPPING, "is not text in utf-8"),
    "open quote": ('acc\n"1\n', MAPPING, "cannot be read as CSV"),
    "binary": (b"\x00\x01\x02\xff", MAPPING, "is not text in utf-8"),
    "parquet": (b"PAR1\x00\x01\x02\xff", MAPPING, 'is parquet, not csv; declare format = "parquet"'),
    "unknown encoding": ("acc\n1\n", csv_with(encoding='"klingon"'), "encoding 'klingon' is not known"),
    "same marks": ("acc\n1\n", csv_with(delimiter='","', decimal='","'), "they have to differ"),
    "all missing": ("acc\n-\n", csv_with(missing_texts='["-"]'), "no recording is left"),
    "rows of nothing": (
        "acc\n1\n",
        MAPPING.replace("[rec", 'rows = { acc = ["2"] }\n[rec'),
        "no row of 'a.csv' matches",
    ),
    "variable of a text": (
        "acc\n1\n",
        MAPPING.replace("sampling_rate_hz = { value = 10 }", 'sampling_rate_hz = { variable = "rate" }'),
        "no line before the samples",
    ),
}


@pytest.mark.parametrize(("text", "mapping", "said"), BAD_CSV.values(), ids=BAD_CSV)
def test_bad_text_is_named(folder: Any, text: str | bytes, mapping: str, said: str) -> None:
    folder.csv(text)
    found = folder.problems(mapping)
    assert any(said in problem for problem in found), found


def test_all_errors_of_all_files_come_at_once(folder: Any) -> None:
    folder.csv("acc\n1\n2\n", "good.csv")
    folder.csv("acc,b\nx,1\n1\n", "ragged.csv")
    folder.csv("acc\nx\n1\ny\n", "words.csv")
    folder.csv("", "void.csv")
    found = folder.problems()
    assert [problem.partition(":")[0] for problem in found] == [
        "ragged.csv, row 3", "ragged.csv, row 2", "data, file void.csv", "words.csv, rows 2, 4",
    ]  # fmt: skip


def test_a_folder_without_files_and_names_that_do_not_match(folder: Any) -> None:
    assert "no file matches '*.*'" in folder.problems()[0]
    folder.csv("acc\n1\n", "a1.csv")
    folder.csv("acc\n1\n", "b1.csv")
    named = MAPPING.replace('glob = "*.*"', "glob = '*.csv'\npattern = 'a(?P<n>[0-9])[.]csv'")
    found = folder.problems(named)
    assert len(found) == 1
    assert found[0].startswith("data, file b1.csv: key files.pattern: the name does not match")
    for wrong, said in (("'['", "no regular expression"), ("'(?P<file>.*)'", "may not name a group")):
        assert said in folder.problems(MAPPING.replace('"*.*"', f'"*.*"\npattern = {wrong}'))[0]
    for glob in ("/etc/*", "../*.csv", "a**/x"):
        assert "key files" in folder.problems(MAPPING.replace('"*.*"', f'"{glob}"'))[0]
    assert "is not a folder" in _refused(folder.path / "a1.csv", folder.mapping, MAPPING)
    assert "has no column 'robot'" in folder.problems(MAPPING.replace('{ value = "R" }', '{ column = "robot" }'))[0]


def _refused(source: Path, mapping: Path, text: str) -> str:
    mapping.write_text(text)
    with pytest.raises(ImportRefused) as refused:
        import_archive(source, mapping, mapping.parent / "landing")
    return str(refused.value)


def test_signals_in_the_landing_zone_itself_are_refused(folder: Any) -> None:
    folder.csv("acc\n1\n")
    folder.mapping.write_text(MAPPING)
    with pytest.raises(ImportRefused, match="holds signal files of this archive"):
        import_archive(folder.path, folder.mapping, folder.path, labels_out=folder.mapping.parent / "l.csv")


def stamps(*seconds: float, zone: str = "Z") -> str:
    start = datetime(2026, 5, 1, 6, tzinfo=UTC)
    times = [(start + timedelta(seconds=one)).isoformat().removesuffix("+00:00") + zone for one in seconds]
    return "t,acc\n" + "".join(f"{time},{number}\n" for number, time in enumerate(times))


def test_times_of_a_column_start_recordings_and_gaps_cut_them(folder: Any) -> None:
    folder.csv(stamps(0, 0.1, 0.2, 5.0, 5.1, 5.2, 5.31))
    rows, _ = folder.run(timed('kind = "text"'))
    assert [row["samples"] for row in rows] == [[0, 1, 2], [3, 4, 5, 6]]
    assert [row["started_at"].isoformat() for row in rows] == ["2026-05-01T06:00:00+00:00", "2026-05-01T06:00:05+00:00"]
    assert {row["time_basis"] for row in rows} == {"clock"}


@pytest.mark.parametrize(
    ("declared", "cells"),
    [
        ('kind = "epoch"\nunit = "s"', ["1777615200", "1777615200.1"]),
        ('kind = "epoch"\nunit = "ms"', ["1777615200000", "1777615200100"]),
        ('kind = "epoch"\nunit = "ns"', ["1777615200000000000", "1777615200100000000"]),
        ('kind = "text"\nzone = "Europe/Berlin"', ["2026-05-01 08:00:00", "2026-05-01 08:00:00.1"]),
        ('kind = "text"', ["2026-05-01T08:00:00+02:00", "2026-05-01T06:00:00.100Z"]),
        (
            'kind = "text"\nformat = "%d.%m.%Y %H:%M:%S.%f"\nzone = "UTC"',
            ["01.05.2026 06:00:00.0", "01.05.2026 06:00:00.1"],
        ),
    ],
)
def test_the_same_instant_in_every_notation(folder: Any, declared: str, cells: list[str]) -> None:
    folder.csv("t,acc\n" + "".join(f"{cell},1\n" for cell in cells))
    (row,), _ = folder.run(timed(declared))
    assert row["started_at"] == datetime(2026, 5, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["UTC", None])
def test_parquet_timestamps_are_times(folder: Any, zone: str | None) -> None:
    start = datetime(2026, 5, 1, 6, tzinfo=UTC)
    times = pa.array([start + timedelta(seconds=one / 10) for one in range(3)], pa.timestamp("us", tz=zone))
    pq.write_table(pa.table({"t": times, "acc": [1, 2, 3]}), folder.path / "a.parquet")
    mapping = CLOCK.replace('"csv"', '"parquet"')
    if zone is None:
        assert "declare signal.time.zone" in folder.problems(timed(TEXT, mapping))[0]
    (row,), _ = folder.run(timed(TEXT if zone else f'{TEXT}\nzone = "UTC"', mapping))
    assert (row["started_at"], row["samples"]) == (start, [1, 2, 3])
    gone = pa.table({"t": times.take(pa.array([0, None, 2])), "acc": [1, 2, 3]})
    pq.write_table(gone, folder.path / "a.parquet")
    assert "a.parquet, row 2: time column 't': has no time" in _refused(
        folder.path, folder.mapping, timed(f'{TEXT}\nzone = "UTC"', mapping)
    )


@pytest.mark.parametrize(("zero", "offset"), [("start", 50.0), ("first_row", 0.0)])
def test_elapsed_seconds_count_from_the_start_or_the_first_row(folder: Any, zero: str, offset: float) -> None:
    folder.csv("t,acc\n50,1\n50.1,2\n50.2,3\n60,4\n")
    rows, _ = folder.run(timed(f'kind = "elapsed"\nunit = "s"\nzero = "{zero}"', MAPPING))
    start = datetime(2000, 1, 1, tzinfo=UTC)
    assert [(row["started_at"] - start).total_seconds() for row in rows] == [offset, offset + 10]


TEXT = 'kind = "text"'
BERLIN = f'{TEXT}\nzone = "Europe/Berlin"'
BAD_TIMES = {
    "twice": (stamps(0, 0.1, 0.1, 0.2), TEXT, "a.csv, row 4: time column: has the time of the row before it"),
    "backwards": (stamps(0, 0.2, 0.1, 0.3), TEXT, "a.csv, row 4: time column: is earlier than the row before"),
    "missing": ("t,acc\n,1\n2026-05-01T06:00:00Z,2\n", TEXT, "a.csv, row 2: time column 't': has no time; remove the"),
    "half a time": ("t,acc\n2026-05-01TZ,1\n", TEXT, "time '2026-05-01TZ' is not ISO 8601"),
    "word": ("t,acc\nsoon,1\n", TEXT, "time 'soon' is not ISO 8601"),
    "no offset": (stamps(0, 0.1, zone=""), TEXT, "rows 2, 3: time column 't': time has no offset from UTC"),
    "ambiguous": ("t,acc\n2026-10-25T02:30:00,1\n", BERLIN, "comes twice or never in Europe/Berlin"),
    "skipped hour": ("t,acc\n2026-03-29T02:30:00,1\n", BERLIN, "comes twice or never in Europe/Berlin"),
    "no such zone": (stamps(0), f'{TEXT}\nzone = "Mars/Base"', "zone 'Mars/Base' is not known"),
    "format without zone": (stamps(0), f'{TEXT}\nformat = "%Y"', "without %z needs a zone"),
    "other format": (stamps(0), f'{BERLIN}\nformat = "%d.%m.%Y"', "is not '%d.%m.%Y'"),
    "rate": (stamps(0, 0.2, 0.4, 0.6), TEXT, "10 Hz is declared, the times of 'a.csv' say 5 Hz"),
    "wrong unit": ("t,acc\n1777615200000,1\n", 'kind = "epoch"\nunit = "s"', "is no time in s"),
    "huge": ("t,acc\n" + "9" * 40 + ",1\n", 'kind = "epoch"\nunit = "ns"', "is no time in ns"),
    "negative": ("t,acc\n-5,1\n", 'kind = "epoch"\nunit = "s"', "is no time in s"),
    "unit missing": ("t,acc\n5,1\n", 'kind = "epoch"', "unit (s, ms, us, ns) goes with kind epoch"),
    "zero missing": ("t,acc\n5,1\n", 'kind = "elapsed"\nunit = "s"', "zero"),
    "column missing": ("u,acc\n5,1\n", TEXT, "signal.time.column: 'a.csv' has no column 't'"),
}


@pytest.mark.parametrize(("text", "declared", "said"), BAD_TIMES.values(), ids=BAD_TIMES)
def test_bad_times_are_named(folder: Any, text: str, declared: str, said: str) -> None:
    folder.csv(text)
    found = folder.problems(timed(declared))
    assert any(said in problem for problem in found), found


def test_a_local_start_needs_a_zone_and_one_meaning(folder: Any) -> None:
    named = MAPPING.replace('"*.*"', '"*.*"\npattern = "(?P<start>.*)[.]csv"').partition("[time]")[0]
    named += '[time]\nbasis = "clock"\nstart = { column = "start" }\n'
    folder.csv("acc\n1\n", "20260501T080000.csv")
    assert "no offset from UTC" in folder.problems(named)[0]
    (row,), _ = folder.run(named + 'zone = "Europe/Berlin"\n')
    assert row["started_at"] == datetime(2026, 5, 1, 6, tzinfo=UTC)
    folder.landing = folder.landing.parent.parent / "out2" / "landing"
    folder.csv("acc\n1\n", "20261025T023000.csv")
    assert "comes twice or never" in folder.problems(named + 'zone = "Europe/Berlin"\n')[0]
    assert "needs start" in folder.problems(named.replace('start = { column = "start" }', ""))[0]


def test_channels_take_rows_factors_and_limits_of_their_own(tmp_path: Path) -> None:
    table = {"motor": [1, 1, 1, 2, 2, 2], "v": [7000, -3, 7200, 6000, 6100, 6200], "made_up": [0, 0, 0, 0, 1, 0]}
    pq.write_table(pa.table(table), tmp_path / "s.parquet")
    (tmp_path / "manifest.csv").write_text("file\ns.parquet\n")
    channels = "".join(
        f'[[channel]]\ncolumn = {{ value = "v" }}\nrows = {{ motor = ["{motor}"] }}\nmissing_where = '
        f'{{ made_up = ["1"] }}\nvalid_min = 0.0\nfactor = 0.001\naxis = {{ value = "M{motor}" }}\n'
        for motor in (1, 2)
    )
    mapping = MAPPING.replace('[files]\nglob = "*.*"\n', "").replace('"csv"', '"parquet"\nfile = { column = "file" }')
    mapping = mapping.replace('"acceleration"', '"voltage"').replace('"g"', '"V"') + channels
    (tmp_path / "m.toml").write_text(mapping)
    report = import_archive(tmp_path / "manifest.csv", tmp_path / "m.toml", tmp_path / "out" / "landing")
    rows = pq.read_table(report.log_files[0]).to_pylist()
    assert [(row["axis"], np.round(row["samples"], 4).tolist()) for row in rows] == [
        ("M1", [7.0]), ("M1", [7.2]), ("M2", [6.0]), ("M2", [6.2]),
    ]  # fmt: skip
    (tmp_path / "m.toml").write_text(mapping.replace('axis = { value = "A" }\n', ""))
    assert import_archive(tmp_path / "manifest.csv", tmp_path / "m.toml", tmp_path / "out" / "landing").recordings == 4
    (tmp_path / "m.toml").write_text(re.sub('axis = { value = "(A|M2)" }\n', "", mapping))
    with pytest.raises(ImportRefused, match=r"key recording\.axis: is missing"):
        import_archive(tmp_path / "manifest.csv", tmp_path / "m.toml", tmp_path / "out" / "landing")


def test_stretches_that_do_not_follow_each_other_are_spaced(folder: Any) -> None:
    folder.csv("acc\n" + "1\n" * 25)
    cut = '[[process]]\nkind = "cut_every"\nsamples = 10\nspacing_s = 60.0\n'
    rows, _ = folder.run(MAPPING + cut)
    start = datetime(2000, 1, 1, tzinfo=UTC)
    assert [(row["started_at"] - start).total_seconds() for row in rows] == [0, 60, 120]
    assert "[signal.time] says when: cut_every takes neither" in _refused(
        folder.path, folder.mapping, timed(TEXT) + cut
    )


def test_matlab_variables_are_found_by_pattern_and_scalars_read(folder: Any) -> None:
    signal = np.arange(6.0).reshape(-1, 1)
    savemat(folder.path / "a.mat", {"X118_DE_time": signal, "X118_FE_time": -signal.T, "X118RPM": 1796.0})
    mapping = MAT.replace('"acc"', '"X*_DE_time"').replace("[time]", 'shaft_speed_rpm = { variable = "X*RPM" }\n[time]')
    (row,), _ = folder.run(mapping)
    assert (row["samples"], row["shaft_speed_rpm"]) == ([0, 1, 2, 3, 4, 5], 1796.0)
    found = _refused(folder.path, folder.mapping, mapping.replace("X*RPM", "X*_FE*"))
    assert "recording.shaft_speed_rpm: variable 'X*_FE*' of 'a.mat' is not one finite number" in found


def mat_file(path: Path, kind: str) -> None:
    x = np.arange(8.0)
    made: dict[str, dict[str, Any]] = {
        "absent": {"other": x}, "struct": {"acc": {"a": x}}, "complex": {"acc": x + 1j}, "sparse": {"acc": eye(4)},
        "matrix": {"acc": np.ones((3, 4))}, "text": {"acc": "words"}, "logical": {"acc": x > 3},
        "no samples": {"acc": np.empty((0, 1))}, "cell": {"acc": np.array([x, "a"], dtype=object)},
    }  # fmt: skip
    if kind in made:
        savemat(path, made[kind])
        return
    savemat(path, {"acc": np.random.default_rng(1).standard_normal(500)}, do_compression=True)
    content = path.read_bytes()
    match kind:
        case "truncated":
            content = content[:-500]
        case "head only":
            content = content[:100]
        case "hdf5":
            content = b"\x89HDF\r\n\x1a\n" + content
        case "v7.3":
            content = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + content
        case "bits turned":
            content = content[:200] + bytes(255 - byte for byte in content[200:260]) + content[260:]
        case "claims too much":
            flags = struct.pack("<IIII", 6, 8, 6, 0)
            shape = struct.pack("<IIii", 5, 8, 2**30, 1)
            name = struct.pack("<II", 1, 3) + b"acc\0\0\0\0\0"
            body = flags + shape + name + struct.pack("<II", 9, 8) + bytes(8)
            packed = zlib.compress(struct.pack("<II", 14, len(body)) + body)
            content = content[:128] + struct.pack("<II", 15, len(packed)) + packed
    path.write_bytes(content)


BAD_MATS = {
    "absent": "no variable matches 'acc' in 'a.mat', exactly one has to; it has: other",
    "struct": "is struct, not a vector of real numbers; name a field of it, such as acc.field",
    "cell": "is cell, not a vector",
    "text": "is text, not numbers",
    "logical": "is logical, not a vector",
    "sparse": "is sparse, not a vector",
    "complex": "is complex, not a vector of real",
    "matrix": "is a matrix of 3 x 4, not a vector",
    "no samples": "has no samples",
    "truncated": "is a damaged MATLAB file",
    "bits turned": "is a damaged MATLAB file",
    "head only": "is not a MATLAB file",
    "hdf5": "'a.mat' cannot be read, it may be damaged (OSError: ",
    "v7.3": "'a.mat' cannot be read, it may be damaged (OSError: ",
    "claims too much": "claims (1073741824, 1): too large, or damaged",
}


@pytest.mark.parametrize(("kind", "said"), BAD_MATS.items(), ids=BAD_MATS)
def test_bad_matlab_files_are_named(folder: Any, kind: str, said: str) -> None:
    mat_file(folder.path / "a.mat", kind)
    found = folder.problems(MAT)
    assert len(found) == 1, found
    assert said in found[0]
    assert "a.mat" in found[0]


def test_a_file_of_another_format_is_named(folder: Any) -> None:
    """Whatever its name: what it is, and what to do."""
    savemat(folder.path / "a.csv", {"acc": np.arange(5.0)})
    assert 'is mat, not csv; declare format = "mat"' in folder.problems()[0]
    (folder.path / "a.csv").unlink()
    pq.write_table(pa.table({"acc": [1.0]}), folder.path / "b.mat")
    assert 'is parquet, not mat; declare format = "parquet"' in folder.problems(MAT)[0]
    (folder.path / "b.mat").write_bytes(gzip.compress(b"anything"))
    assert "is packed (gzip or zip), not mat; unpack it" in folder.problems(MAT)[0]
    with zipfile.ZipFile(folder.path / "b.mat", "w") as workbook:
        workbook.writestr("xl/workbook.xml", "<workbook/>")
    assert "is an Excel workbook (save it as CSV), not text" in folder.problems()[0]


def test_two_matches_are_refused(folder: Any) -> None:
    savemat(folder.path / "a.mat", {"X098_DE_time": np.ones(5), "X099_DE_time": np.ones(5)})
    assert "2 variables match 'X*'" in folder.problems(MAT.replace('"acc"', '"X*"'))[0]
    (folder.path / "a.mat").write_bytes(b"\0" * 400)
    assert "is not a MATLAB file" in folder.problems(MAT)[0]


def test_damaged_matlab_files_never_end_the_process(folder: Any) -> None:
    """A file with turned bytes is refused or read; scipy's reader dies on some of these with a segmentation fault."""
    random = np.random.default_rng(3)
    outcomes = set()
    for compressed in (False, True):
        savemat(folder.path / "a.mat", {"acc": random.standard_normal(50), "s": {"a": 1}}, do_compression=compressed)
        good = (folder.path / "a.mat").read_bytes()
        for number in range(150):
            bad = bytearray(good[: len(good) if number % 5 else random.integers(1, len(good))])
            for _ in range(3):
                bad[random.integers(len(bad) // 2, len(bad))] = random.integers(256)
                bad[random.integers(min(120, len(bad) - 1), min(300, len(bad)))] = random.integers(256)
            (folder.path / "a.mat").write_bytes(bytes(bad))
            try:
                folder.run(MAT)
                outcomes.add("read")
            except ImportRefused:
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">f8", ">i2"])
@pytest.mark.parametrize("compressed", [False, True])
def test_numbers_of_every_type_are_those_that_were_saved(folder: Any, kind: str, compressed: bool) -> None:
    values = np.arange(1, 100, 7).astype(kind)
    savemat(folder.path / "a.mat", {"words": "text", "acc": values}, do_compression=compressed)
    (row,), _ = folder.run(MAT)
    assert row["samples"] == values.astype(np.float32).tolist()


def parquet_file(path: Path) -> bytearray:
    """Write 400 samples in two row groups, with checksums of their pages, and return the bytes."""
    table = pa.table({"acc": pa.array(np.arange(400.0))})
    pq.write_table(table, path, row_group_size=200, use_dictionary=False, compression="none", write_page_checksum=True)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("kind", ["a sample", "the name of a column", "the number of rows"])
def test_damaged_parquet_files_are_refused_and_never_taken_as_something_else(folder: Any, kind: str) -> None:
    path = folder.path / "a.parquet"
    data = parquet_file(path)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    if kind == "a sample":
        data[500] ^= 1
    elif kind == "the name of a column":
        for at in range(footer, len(data) - 8):
            if data[at : at + 3] == b"acc":
                data[at : at + 3] = b"a\xff\xfe"
    else:
        at = data.index(b"\xa0\x06", footer)  # 400, as Thrift writes it
        data[at : at + 2] = b"\xa2\x06"
    path.write_bytes(data)
    (problem,) = folder.problems(MAPPING.replace('"csv"', '"parquet"'))
    assert "a.parquet" in problem
    assert problem.isprintable()
