"""Importing an archive: what is written, and everything that is refused."""

from __future__ import annotations

import csv
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.importing.mapping as parts
from pipeline.base.log_schema import LOG_SCHEMA
from pipeline.importing import ImportRefused, ImportReport, Mapping, import_archive, load_mapping, shipped_mappings
from pipeline.importing.formats import FORMATS
from pipeline.importing.run import names_of
from pipeline.labels.words import LABEL_CSV_COLUMNS

DOCS = Path(__file__).parents[3] / "docs" / "mapping.md"
COLUMNS = ["file", "channel", "rate", "unit", "rpm", "load", "label", "serial", "recording", "n"]
ROWS = [
    "a/r1.parquet,x,1000,g,600,1 hp,ok,S1,one,4000",
    "a/r1.parquet,y,1000,g,600,1 hp,ok,S1,one,4000",
    "a/r2.parquet,x,1000,g,900,2 hp,ok,S1,two,3000",
    "b/r3.parquet,x,1000,g,600,,worn,S2,three,2500",
]
MAPPING = """
version = 1
name = "bench"
[select]
channel = ["[xy]"]
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
unit = { column = "unit", map = { g = "g" } }
sampling_rate_hz = { column = "rate" }
rate_basis = { value = "declared" }
shaft_speed_rpm = { column = "rpm" }
speed_is_steady = { value = true }
load = { column = "load", suffix = " hp" }
unit_serial = { column = "serial" }
[time]
basis = "synthetic"
start = 2000-01-01T00:00:00Z
spacing_s = 60
recording = { column = "recording" }
[pieces]
min_samples = 100
[label]
column = "label"
[label.values.ok]
verdict = "healthy"
evidence = "inspected"
[label.values.worn]
verdict = "fault"
component = "bearing"
mode = "ball"
evidence = "teardown"
[asset]
geometry = { value = "g1" }
installed_at = 1999-12-01T00:00:00Z
[geometry.g1]
bpfo = 3.5
outer_ring = 0.4
shafts = [0.4]
source = "made up"
"""


class Bench:
    """A small archive that can be spoilt in one place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = folder / "archive" / "manifest.csv"
        self.mapping = folder / "m.toml"
        self.landing = folder / "out" / "landing"
        random = np.random.default_rng(7)
        for name, n in (("a/r1", 4000), ("a/r2", 3000), ("b/r3", 2500)):
            path = folder / "archive" / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            columns = {channel: random.standard_normal(n) for channel in "xy"}
            pq.write_table(pa.table({**columns, "word": ["w"] * n, "flag": [True] * n}), path)
        self.write()

    def write(self, rows: list[str] | None = None, mapping: str = MAPPING) -> None:
        self.manifest.write_text("\n".join([",".join(COLUMNS), *(ROWS if rows is None else rows)]) + "\n")
        self.mapping.write_text(mapping)

    def run(self, **options: Any) -> ImportReport:
        return import_archive(self.manifest, self.mapping, self.landing, **options)

    def problems(self, **options: Any) -> list[str]:
        with pytest.raises(ImportRefused) as refused:
            self.run(**options)
        left = [path for path in (self.folder / "out").rglob("*") if path.is_file() or path.suffix == ".part"]
        assert left == [], "something was half-written"
        return refused.value.problems


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_writes_contract_logs_labels_and_assets(bench: Bench) -> None:
    seen: list[tuple[int, int, str]] = []
    report = bench.run(on_progress=lambda *args: seen.append(args))
    assert [path.relative_to(bench.landing).as_posix() for path in report.log_files] == [
        "bench/r1.parquet", "bench/r2.parquet", "bench/r3.parquet",
    ]  # fmt: skip
    assert seen == [(1, 3, "a/r1.parquet"), (2, 3, "a/r2.parquet"), (3, 3, "b/r3.parquet")]
    table = pq.read_table(report.log_files[0])
    assert table.schema.equals(LOG_SCHEMA)
    first, second = table.to_pylist()
    assert (first["channel"], second["channel"], first["started_at"]) == ("x", "y", second["started_at"])
    assert (first["robot_id"], first["cell"], first["load"], first["program"]) == ("rig-S1", "", 1.0, None)
    source = pq.read_table(bench.manifest.parent / "a" / "r1.parquet").column("x").to_numpy()
    np.testing.assert_array_equal(first["samples"], source.astype(np.float32))
    assert pq.read_table(report.log_files[2]).to_pylist()[0]["load"] is None
    with report.labels_path.open(newline="") as file:
        reader = csv.DictReader(file)
        labels = list(reader)
    assert tuple(reader.fieldnames or ()) == LABEL_CSV_COLUMNS
    assert [(label["unit_serial"], label["verdict"], label["from_at"], label["to_at"]) for label in labels] == [
        ("S1", "healthy", "2000-01-01T00:00:00Z", "2000-01-01T00:01:03Z"),
        ("S2", "fault", "2000-01-01T00:02:00Z", "2000-01-01T00:02:02.500000Z"),
    ]
    assert [label["known_at"] for label in labels] == [label["to_at"] for label in labels]
    assets = tomllib.loads(report.assets_path.read_text())
    assert assets["geometry"] == {"g1": {"bpfo": 3.5, "outer_ring": 0.4, "shafts": [0.4], "source": "made up"}}
    assert [(unit["unit_serial"], unit["robot_id"], unit["geometry"]) for unit in assets["unit"]] == [
        ("S1", "rig-S1", "g1"),
        ("S2", "rig-S2", "g1"),
    ]
    assert not report.labels_path.is_relative_to(bench.landing)


def test_a_second_run_leaves_identical_files_untouched(bench: Bench) -> None:
    before = bench.run()
    everything = [*before.log_files, before.labels_path, before.assets_path]
    for path in everything:
        os.utime(path, (1, 1))
    again = bench.run()
    assert (before.written, again.written, again.unchanged) == (3, 0, 3)
    assert all(path.stat().st_mtime == 1 for path in everything)
    bench.write(rows=[row.replace(",900,", ",901,") for row in ROWS])
    assert bench.run().written == 1


def test_the_bytes_do_not_depend_on_the_place(tmp_path: Path) -> None:
    one, two = (Bench(tmp_path / name).run() for name in ("one", "another"))
    assert [path.read_bytes() for path in one.log_files] == [path.read_bytes() for path in two.log_files]
    assert one.assets_path.read_bytes() == two.assets_path.read_bytes()


def test_a_label_that_changes_over_time_becomes_two_labels(bench: Bench) -> None:
    bench.write(rows=[*ROWS[:2], ROWS[2].replace(",ok,", ",worn,")])
    with bench.run().labels_path.open(newline="") as file:
        labels = list(csv.DictReader(file))
    assert [(label["verdict"], label["from_at"]) for label in labels] == [
        ("healthy", "2000-01-01T00:00:00Z"),
        ("fault", "2000-01-01T00:01:00Z"),
    ]


def test_units_that_follow_each_other_on_an_axis_end_where_the_next_begins(bench: Bench) -> None:
    one_rig = MAPPING.replace('{ template = "rig-{serial}" }', '{ value = "rig" }')
    bench.write(mapping=one_rig)
    assert any("installed before the recordings of 'S1'" in problem for problem in bench.problems())
    bench.write(rows=[ROWS[0], ROWS[3], ROWS[2]], mapping=one_rig)
    assert any("interleave" in problem for problem in bench.problems())
    bench.write(mapping=one_rig.replace("installed_at = 1999-12-01T00:00:00Z", ""))
    units = tomllib.loads(bench.run().assets_path.read_text())["unit"]
    assert units[0]["removed_at"] == units[1]["installed_at"]


def test_measured_times_keep_their_instant(bench: Bench) -> None:
    time = 'basis = "clock"\nstart = { column = "recording" }\n[pieces]'
    clock = re.sub(r'basis = "synthetic".*\[pieces\]', time, MAPPING, flags=re.S)
    bench.write(rows=[ROWS[0].replace("one", "2026-05-01T08:00:00.25+02:00")], mapping=clock)
    row = pq.read_table(bench.run().log_files[0]).to_pylist()[0]
    assert (row["started_at"].isoformat(), row["time_basis"]) == ("2026-05-01T06:00:00.250000+00:00", "clock")
    bench.landing = bench.folder / "out2" / "landing"
    for wrong, said in (("2026-05-01T08:00:00", "no offset"), ("yesterday", "ISO 8601"), ("", "is empty")):
        bench.write(rows=[ROWS[0].replace("one", wrong)], mapping=clock)
        with pytest.raises(ImportRefused, match=said):
            bench.run()


def test_a_process_that_applies_to_nothing_is_noted(bench: Bench) -> None:
    bench.write(mapping=MAPPING + '[[process]]\nkind = "decimate"\nfactor = 4\nwhere = { rate = ["48000"] }\n')
    assert bench.run().notes == ("process 1 (decimate) applies to none of the selected rows",)


def test_logs_of_equal_stems_get_names_of_their_own() -> None:
    assert names_of(["a/1.parquet", "b/1.parquet", "c/2.parquet"]) == ["a__1.parquet", "b__1.parquet", "2.parquet"]
    assert names_of(["a/1.parquet", "b/1.parquet", "a__1.parquet"]) == [
        "000001-a__1.parquet.parquet", "000002-b__1.parquet.parquet", "000003-a__1.parquet.parquet",
    ]  # fmt: skip
    assert names_of(["_hidden.parquet"]) == ["log_hidden.parquet"]


def test_shipped_mappings_load_by_name() -> None:
    assert set(shipped_mappings()) == {
        *("armpi", "cwru", "cwru_fan", "femto", "hit_sm", "ims", "ims_1st", "mfpt", "paderborn", "rv_reducer", "uestc"),
        *("ur3", "ur_rtde", "voraus_ad", "wafer_rr732", "xjtu_sy"),
    }
    assert all(load_mapping(name).name == name for name in shipped_mappings())
    with pytest.raises(ImportRefused, match="armpi, cwru, cwru_fan, femto"):
        load_mapping("nosuch")


SECTIONS = {
    "": (parts.Mapping,),
    "source": (parts.Source,),
    "files": (parts.Files,),
    "signal": (parts.Signal,),
    "signal.csv": (parts.CsvText,),
    "signal.time": (parts.TimeColumn,),
    "signal.speed": (parts.SpeedColumn,),
    "recording": (parts.MappedRecording,),
    "channel": (parts.Channel,),
    "time": (parts.ClockTime, parts.SyntheticTime),
    "process": (parts.CutEvery, parts.CutAtChanges, parts.Resample, parts.Decimate, parts.Scale, parts.CutToLength),
    "pieces": (parts.Pieces,),
    "label": (parts.MappedLabel,),
    "label.values.VALUE": (parts.LabelValue,),
    "asset": (parts.Asset,),
    "geometry.NAME": (parts.MappedGeometry,),
}
"""Every table of a mapping with the models behind it."""


def test_every_table_of_a_mapping_is_among_the_sections() -> None:
    models = {name for name, kind in vars(parts).items() if isinstance(kind, type) and issubclass(kind, parts.Part)}
    shared = {"Part", "SampleRules", "Step"}
    assert models - shared == {kind.__name__ for kinds in SECTIONS.values() for kind in kinds}


def test_the_documentation_lists_every_key_and_its_example_loads() -> None:
    text = DOCS.read_text(encoding="utf-8")
    keys = {
        f"{section}.{field}".lstrip(".")
        for section, models in SECTIONS.items()
        for model in models
        for field in model.model_fields
    }
    named = set(re.findall(r"`([A-Za-z_.]+)`", text.partition("## Every key")[2]))
    assert keys - named == set()
    sections = {section for section in SECTIONS if section}
    assert {name for name in named if name.rpartition(".")[0] in sections} - keys == set()
    examples = (DOCS.parent / "results" / DOCS.name).read_text(encoding="utf-8")
    full, synthetic = re.findall(r"```toml\n(.*?)```", examples.partition("## A full example")[2], flags=re.S)
    example = tomllib.loads(full)
    Mapping.model_validate(example)
    Mapping.model_validate({**example, **tomllib.loads(synthetic)})
    # Keys that the examples of folders use, which tests/e2e/test_import_archives.py runs, or that only CSV files have.
    elsewhere = {"signal.csv", "signal.time", "signal.rows", "signal.missing_where", "signal.valid_min"}
    elsewhere |= {"signal.valid_max", "process.spacing_s", "signal.on_bad_file", "signal.speed"}
    elsewhere |= {"signal.layout", "signal.row_spacing_s"}
    used = (
        elsewhere
        | {f"recording.{key}" for key in example["recording"]}
        | {f"signal.{key}" for key in example["signal"]}
    )
    used |= {f"process.{key}" for process in example["process"] for key in process}
    used |= {f"geometry.NAME.{key}" for key in example["geometry"]["rv40"]} | {
        f"label.{key}" for key in example["label"]
    }
    used |= {f"label.values.VALUE.{key}" for value in example["label"]["values"].values() for key in value}
    missing = {
        key
        for key in keys
        if key.startswith(("recording.", "signal.", "process.", "geometry.", "label.")) and key.count(".") == 1
    } - used
    assert missing == set()


def test_every_recipe_of_the_cookbook_is_a_mapping() -> None:
    """A recipe says what differs from the example of a folder of CSV files; its [signal] and [time] are its own."""
    text = DOCS.read_text(encoding="utf-8")
    (whole,) = re.findall(
        r"```toml\n(.*?)```", text.partition("## A folder of CSV files")[2].partition("\n## ")[0], flags=re.S
    )
    recipes = re.findall(
        r"```toml\n(.*?)```", text.partition("## Eleven more layouts")[2].partition("\n## ")[0], flags=re.S
    )
    assert len(recipes) == 11
    base = tomllib.loads(whole)
    Mapping.model_validate(base, context={"formats": tuple(FORMATS)})
    said = {"quantity": {"value": "acceleration"}, "unit": {"value": "g"}, "channel": {"value": "acc"}}
    for recipe in map(tomllib.loads, recipes):
        time = recipe.get("time", {})
        made = {
            **base,
            "signal": {"format": "csv", "column": {"value": "acc"}, **recipe.get("signal", {})},
            "recording": {**base["recording"], **said, **recipe.get("recording", {})},
            "channel": recipe.get("channel", []),
            "time": time if "basis" in time else {**base["time"], **time},
        }
        Mapping.model_validate(made, context={"formats": tuple(FORMATS)})
