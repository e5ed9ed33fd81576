"""Bad manifests, mappings and signal files: each is named, all at once, and nothing is half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import AxiswatchError
from pipeline.importing import ImportRefused, import_archive

HEADER = "file,channel,rate,unit,label,serial,recording,n"
GOOD = ["r1.parquet,x,1000,g,ok,S1,one,4000", "r2.parquet,x,1000,g,worn,S2,two,3000"]
MAPPING = """
version = 1
name = "bench"
[signal]
format = "parquet"
file = { column = "file" }
column = { column = "channel" }
n_samples = { column = "n" }
[recording]
site = { value = "lab" }
robot_id = { template = "rig-{serial}" }
axis = { value = "A1" }
channel = { column = "channel" }
quantity = { value = "acceleration" }
unit = { column = "unit" }
sampling_rate_hz = { column = "rate" }
rate_basis = { value = "declared" }
unit_serial = { column = "serial" }
[time]
basis = "synthetic"
start = 2000-01-01T00:00:00Z
spacing_s = 60
recording = { column = "recording" }
[label]
column = "label"
values = { ok = { verdict = "healthy", evidence = "inspected" }, worn = { verdict = "fault", evidence = "teardown" } }
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    random = np.random.default_rng(7)
    for name, n in (("r1", 4000), ("r2", 3000), ("../outside", 4000)):
        more = {"word": ["w"] * n, "flag": [True] * n, "gone": pa.nulls(n, pa.float32())}
        pq.write_table(pa.table({"x": random.standard_normal(n), **more}), folder / f"{name}.parquet")
    pq.write_table(pa.table({"x": pa.array([], pa.float32())}), folder / "empty.parquet")
    (folder / "text.parquet").write_text("not parquet at all")
    return folder


def problems(
    archive: Path,
    rows: list[str] | None = None,
    mapping: str = MAPPING,
    manifest: bytes | str | None = None,
    **options: Any,
) -> list[str]:
    """Run an import that has to be refused; give its problems, having seen that nothing was left behind."""
    path, toml = archive / "manifest.csv", archive.parent / "m.toml"
    content = manifest if manifest is not None else "\n".join([HEADER, *(GOOD if rows is None else rows)]) + "\n"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    toml.write_text(mapping)
    out = archive.parent / "out"
    with pytest.raises(ImportRefused) as refused:
        import_archive(path, toml, options.pop("landing", out / "landing"), **options)
    assert isinstance(refused.value, AxiswatchError)
    assert not out.exists() or not [one for one in out.rglob("*") if one.is_file() or one.suffix == ".part"]
    return refused.value.problems


ONE = GOOD[0]
BAD_ROWS = {
    "file missing": (ONE.replace("r1", "r9"), "'r9.parquet' does not exist"),
    "file empty cell": (ONE.replace("r1.parquet", ""), "signal.file: is empty"),
    "not parquet": (ONE.replace("r1", "text"), "not a readable Parquet file"),
    "no samples": (ONE.replace("r1", "empty").replace("4000", "0"), "has no samples"),
    "outside root": (ONE.replace("r1", "../outside"), "leaves the root folder"),
    "absolute": (ONE.replace("r1.parquet", "/etc/passwd"), "leaves the root folder"),
    "root itself": (ONE.replace("r1.parquet", "."), "leaves the root folder"),
    "nul byte": (ONE.replace("r1.parquet", "a\0b"), "leaves the root folder"),
    "column absent": (ONE.replace(",x,", ",z,"), "'r1.parquet' has no column 'z'; it has: x, word, flag, gone"),
    "column text": (ONE.replace(",x,", ",word,"), "is string, not a number"),
    "column bool": (ONE.replace(",x,", ",flag,"), "is bool, not a number"),
    "all missing": (ONE.replace(",x,", ",gone,"), "no recording is left of the selected rows: 4000 of 4000"),
    "n_samples": (ONE.replace("4000", "3999"), "says 3999 samples, 'r1.parquet' has 4000"),
    "rate empty": (ONE.replace("1000", ""), "recording.sampling_rate_hz: is empty"),
    "rate zero": (ONE.replace("1000", "0"), "must be above 0, got 0"),
    "rate negative": (ONE.replace("1000", "-5"), "must be above 0, got -5"),
    "rate nan": (ONE.replace("1000", "nan"), "must be a finite number, got 'nan'"),
    "rate text": (ONE.replace("1000", "unknown"), "must be a finite number, got 'unknown'"),
    "rate underscore": (ONE.replace("1000", "1_000"), "must be a finite number"),
    "unit": (ONE.replace(",g,", ",mm/s,"), "'mm/s' is not a unit of acceleration (allowed: m/s2, g, mg, mm/s2, raw)"),
    "label": (ONE.replace(",ok,", ",odd,"), "value 'odd' is neither in label.values nor in label.unlabelled"),
    "template part": (ONE.replace(",S1,", ",,"), "column 'serial' is empty and the template"),
    "recording": (ONE.replace(",one,", ",,"), "time.recording: is empty"),
}


@pytest.mark.parametrize(("row", "said"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_named(archive: Path, row: str, said: str) -> None:
    found = problems(archive, rows=[row])
    assert len(found) == 1, found
    assert said in found[0]
    assert found[0].startswith("manifest.csv")


BAD_MANIFESTS: dict[str, tuple[bytes | str, str]] = {
    "empty": ("", "is empty"),
    "header only": (HEADER + "\n", "no rows"),
    "binary": (b"PAR1\xff\xfe\x00\x80", "not a CSV file in UTF-8"),
    "open quote": (HEADER + '\n"r1.parquet,x\n', "not a CSV file"),
    "ragged": (f"{HEADER}\n{ONE}\nr2.parquet,x\n", "row 3: has 2 cells where the header names 8"),
    "repeated column": (f"{HEADER},n\n{ONE},4000\n", "column names repeat: 'n'"),
    "semicolons": (f"{HEADER}\n{ONE}\n".replace(",", ";"), "has no column 'file'"),
    "copied row": (f"{HEADER}\n{ONE}\n{ONE}\n", "row 3: is the same as row 2"),
    "same key": (
        f"{HEADER}\n{ONE}\n{ONE.replace('r1', 'r2').replace('4000', '3000')}\n",
        "same recording key as row 2",
    ),
}


@pytest.mark.parametrize(("content", "said"), BAD_MANIFESTS.values(), ids=BAD_MANIFESTS)
def test_a_bad_manifest_is_named(archive: Path, content: bytes | str, said: str) -> None:
    assert any(said in problem for problem in problems(archive, manifest=content))


def edit(old: str, new: str) -> str:
    assert old in MAPPING
    return MAPPING.replace(old, new)


def process(text: str) -> str:
    return f"{MAPPING}\n[[process]]\n{text}\n"


BAD_MAPPINGS = {
    "not toml": ("version = ", "m.toml: is not TOML"),
    "empty": ("", "key signal: is missing"),
    "a start that is no time in UTC": (
        edit("start = 2000-01-01T00:00:00Z", "start = 0001-01-01T00:00:00+14:00"),
        "key time.start: is beyond the calendar in UTC",
    ),
    "times beyond every calendar": (edit("spacing_s = 60", "spacing_s = 1e300"), "lower time.spacing_s"),
    "too many processes": (
        MAPPING + '\n[[process]]\nkind = "scale"\nfactor = 1.0\nunit = "g"\n' * 400,
        "at most 20 items",
    ),
    "unknown key": (edit("[label]", "[label]\ncolour = 1"), "key label.colour: is not a key"),
    "unknown table": (edit("[label]", "[labels]"), "key labels: is not a key"),
    "missing key": (edit('unit = { column = "unit" }', ""), "key recording.unit: is missing"),
    "space in a name": (
        edit('value = "lab"', 'value = " lab"'),
        "rows 2, 3: recording.site: ' lab' has spaces at an end",
    ),
    "plain text": (edit('{ value = "lab" }', '"lab"'), "key recording.site: must be a table such as"),
    "two sources": (
        edit('{ value = "lab" }', '{ value = "lab", column = "n" }'),
        "exactly one of column, value, template",
    ),
    "no source": (edit('{ value = "lab" }', "{}"), "exactly one of column, value, template"),
    "value with map": (
        edit('{ value = "lab" }', '{ value = "a", map = { a = "b" } }'),
        "a value takes no suffix, map or default",
    ),
    "map and suffix": (edit('{ column = "rate" }', '{ column = "rate", suffix = "x", map = {} }'), "a map, not both"),
    "code in template": (edit("rig-{serial}", "{serial.__class__}"), "nothing but {column} parts"),
    "open template": (edit("rig-{serial}", "rig-{serial"), "key recording.robot_id"),
    "absent column": (
        edit('column = "rate"', 'column = "hz"'),
        "key recording.sampling_rate_hz: manifest.csv has no column 'hz'",
    ),
    "absent in template": (
        edit("{serial}", "{machine}"),
        "key recording.robot_id: manifest.csv has no column 'machine'",
    ),
    "absent in where": (process('kind = "decimate"\nfactor = 2\nwhere = { hz = ["1"] }'), "key process.1.where.hz"),
    "absent in select": (
        edit("[signal]", '[select]\nkind = ["*"]\n[signal]'),
        "key select.kind: manifest.csv has no column",
    ),
    "selects nothing": (
        edit("[signal]", '[select]\nlabel = ["good"]\n[signal]'),
        "no row of manifest.csv matches label",
    ),
    "no patterns": (edit("[signal]", "[select]\nlabel = []\n[signal]"), "key select.label"),
    "name": (edit('name = "bench"', 'name = "../up"'), "key name"),
    "version": (edit("version = 1", "version = 2"), "key version"),
    "quantity": (edit('value = "acceleration"', 'value = "speed"'), "'speed' is not one of acceleration"),
    "rate basis": (edit('value = "declared"', 'value = "sure"'), "'sure' is not one of declared, assumed"),
    "suffix": (edit('{ column = "rate" }', '{ column = "rate", suffix = " Hz" }'), "'1000' does not end in ' Hz'"),
    "map": (edit('{ column = "unit" }', '{ column = "unit", map = { m = "g" } }'), "'g' is not in the map"),
    "factor 1": (process('kind = "decimate"\nfactor = 1'), "key process.1.factor"),
    "factor 2.5": (process('kind = "decimate"\nfactor = 2.5'), "key process.1.factor"),
    "seam 0": (process('kind = "cut_every"\nsamples = 0'), "key process.1.samples"),
    "length 0": (process('kind = "cut_to_length"\nseconds = 0'), "key process.1.seconds"),
    "length below one sample": (process('kind = "cut_to_length"\nseconds = 0.0001'), "hold no sample at 1000 Hz"),
    "scale 0": (process('kind = "scale"\nfactor = 0\nunit = "g"'), "would erase the signal"),
    "scale nan": (process('kind = "scale"\nfactor = nan\nunit = "g"'), "key process.1.factor"),
    "scale to wrong unit": (process('kind = "scale"\nfactor = 2\nunit = "A"'), "'A' is not a unit of acceleration"),
    "scale overflows": (process('kind = "scale"\nfactor = 1e300\nunit = "g"'), "does not fit 32-bit floats"),
    "unknown process": (process('kind = "smooth"'), "key process.1"),
    "no kind": (process("factor = 2"), "key process.1: needs the key that says which kind"),
    "seam after decimate": (
        process('kind = "decimate"\nfactor = 2\n[[process]]\nkind = "cut_every"\nsamples = 9'),
        "move it before process.1",
    ),
    "change column": (
        process('kind = "cut_at_changes"\ncolumn = "cycle"'),
        "process.column: 'r1.parquet' has no column 'cycle'",
    ),
    "local start": (edit("2000-01-01T00:00:00Z", "2000-01-01T00:00:00"), "key time.start: has no offset"),
    "overlap": (edit("60", "1").replace("rig-{serial}", "rig-{unit}"), "lasts 4 s and runs into the next"),
    "mode of a healthy one": (edit('"healthy",', '"healthy", mode = "ball",'), "goes with verdict 'fault' only"),
    "verdict": (edit('"healthy"', '"fine"'), "key label.values.ok.verdict"),
    "geometry": (MAPPING + '[asset]\ngeometry = { value = "g9" }\n', "no [geometry.g9]"),
    "geometry without orders": (MAPPING + '[geometry.g]\nsource = "x"\n', "needs at least one of bpfo"),
    "negative order": (MAPPING + '[geometry.g]\nbpfo = -1.0\nsource = "x"\n', "key geometry.g.bpfo"),
    "installed too late": (
        MAPPING + "[asset]\ninstalled_at = 2020-01-01T00:00:00Z\n",
        "is after the unit's first recording",
    ),
    "asset without unit": (
        edit('unit_serial = { column = "serial" }', "") + "[asset]\n",
        "declare recording.unit_serial",
    ),
}


@pytest.mark.parametrize(("mapping", "said"), BAD_MAPPINGS.values(), ids=BAD_MAPPINGS)
def test_a_bad_mapping_is_named(archive: Path, mapping: str, said: str) -> None:
    found = problems(archive, mapping=mapping)
    assert any(said in problem for problem in found), found


def test_all_errors_come_at_once_and_equal_ones_together(archive: Path) -> None:
    rows = [ONE.replace("1000", "0"), "r9.parquet,x,1000,g,odd,S2,two,1"]
    rows += [f"r2.parquet,x,fast,g,ok,S3,r{number},3000" for number in range(8)]
    found = problems(archive, rows=rows, mapping=edit('unit = { column = "unit" }', 'unit = { column = "scale" }'))
    assert [problem.partition(":")[0] for problem in found] == [
        "m.toml", "manifest.csv, row 3", "manifest.csv, rows 4, 5, 6, 7, 8 and 3 more", "manifest.csv, row 3",
    ]  # fmt: skip
    both = problems(archive, manifest="", mapping="nonsense")
    assert [problem.partition(":")[0] for problem in both] == ["m.toml", "manifest.csv"]


def test_files_that_are_not_there(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused) as refused:
        import_archive(tmp_path / "no.csv", tmp_path / "no.toml", tmp_path / "landing")
    assert [problem.partition(" (")[0] for problem in refused.value.problems] == [
        "no.toml: cannot be read", "no.csv: cannot be read",
    ]  # fmt: skip
    assert all("does not exist" in problem for problem in problems(archive, root=tmp_path / "elsewhere"))


def test_a_link_out_of_the_root_is_refused(archive: Path) -> None:
    (archive / "link.parquet").symlink_to(archive.parent / "outside.parquet")
    assert "leaves the root folder" in problems(archive, rows=[ONE.replace("r1", "link")])[0]


def test_damaged_samples_are_found_before_anything_is_put_in_place(archive: Path) -> None:
    path = archive / "r2.parquet"
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    assert "manifest.csv, row 3: signal.file: 'r2.parquet' is damaged" in problems(archive)[0]


def test_labels_and_assets_stay_out_of_the_landing_zone(archive: Path) -> None:
    landing = archive.parent / "out" / "landing"
    found = problems(archive, labels_out=landing / "labels.csv", assets_out=landing / "x" / "assets.toml")
    assert [("labels_out" in problem, "assets_out" in problem) for problem in found] == [(True, False), (False, True)]
    assert "is a file" in problems(archive, landing=archive / "r1.parquet")[0]
    assert "is the manifest itself" in problems(archive, labels_out=archive / "manifest.csv")[0]


def test_two_findings_at_the_same_time_on_one_unit_are_refused(archive: Path) -> None:
    rows = [ONE, "r2.parquet,x,1000,g,worn,S1,one,3000"]
    found = problems(
        archive, rows=rows, mapping=edit('channel = { column = "channel" }', 'channel = { column = "file" }')
    )
    assert any("overlaps in time with label 'worn' of row 3" in problem for problem in found)
