"""Formats that libraries read: values, rates and starts as they were written, in blocks; damage is a sentence."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from benchmarks.fuzz.signal_files import MAKERS, PLACES, RATE, SUFFIXES, X, bag, make, uff
from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.importing.formats import apart, interface, open_signal
from pipeline.importing.formats.apart import APART
from pipeline.importing.formats.interface import ReadColumn
from pipeline.importing.formats.packed import content_of
from pipeline.importing.mapping import Signal
from pipeline.importing.problems import SignalUnreadable

MAPPING = """
version = 1
name = "folder"
[files]
glob = "*.*"
[signal]
format = "hdf5"
column = { value = "run/acc[:, 1]" }
[recording]
site = { value = "lab" }
robot_id = { value = "R" }
axis = { value = "A" }
channel = { column = "file" }
quantity = { value = "acceleration" }
unit = { value = "g" }
sampling_rate_hz = { value = 1000 }
rate_basis = { value = "declared" }
[time]
basis = "synthetic"
start = 2000-01-01T00:00:00Z
spacing_s = 3600
recording = { column = "file" }
"""
START = datetime(2026, 5, 1, 6, tzinfo=UTC)
UFF = ("uff", "", "UffSignals")
OTHERS = {
    "hdf5": ["run/table.acc", "*/acc?:, 0?"],
    "mat": ["both(:,1)", "Y(2).Data", "Y(vibration).Data", "c{2}"],
    "tdms": ["*/acc"],
    "rosbag2": ["/joint_states.effort[0]", "*.position?elbow?"],
}
"""Other names of the same signal."""


def opened(path: Path, form: str) -> interface.SignalFile:
    return open_signal(path, path.name, Signal.model_construct(format=form, layout="column"))


def values(file: interface.SignalFile, name: str, *, numeric: bool = True) -> list[Any]:
    column = ReadColumn("signal.column", name, numeric)
    return [value for block in file.blocks([column]) for value in block.columns[name, numeric].to_pylist()]


@pytest.mark.parametrize("form", MAKERS)
def test_the_values_are_those_that_were_written(tmp_path: Path, form: str) -> None:
    path = make(tmp_path, form)
    assert content_of(path) == form
    file = opened(path, form)
    for name in (PLACES[form], *OTHERS.get(form, ())):
        assert np.allclose(values(file, name), X, rtol=0, atol=1e-10), name


@pytest.mark.parametrize("form", MAKERS)
def test_a_file_is_read_in_blocks(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No block has more rows than its cells allow; here in this process, so that the bound can be set."""
    monkeypatch.setattr(interface, "BLOCK_CELLS", 64)
    module, _, name = UFF if form == "uff" else APART["mat73" if form == "mat" else form].reader.partition(":")
    reader = getattr(importlib.import_module(f"pipeline.importing.formats.{module}"), name)
    column = ReadColumn("signal.column", PLACES[form], True)
    blocks = list(reader(make(tmp_path, form), "a").blocks([column]))
    assert max(len(block.numbers) for block in blocks) <= 64
    assert [int(number) for block in blocks for number in block.numbers] == list(range(1, len(X) + 1))


SAID = {
    "hdf5": {"run/acc@rate": RATE, "run@start": "2026-05-01T06:00:00Z"},
    "mat": {"bearing.sr": RATE, "Y(2).Name": "vibration"},
    "tdms": {"rig/acc@rate": RATE, "rig/acc@start": "2026-05-01T06:00:00.000000Z", "@operator": "mara"},
    "wav": {"rate": RATE},
    "uff": {"1@rate": RATE, "2@id1": "channel 2", "1@unit": "m/s^2"},
}


@pytest.mark.parametrize("form", SAID)
def test_what_a_file_says_about_itself(tmp_path: Path, form: str) -> None:
    file = opened(make(tmp_path, form), form)
    assert {name: file.value(name) for name in SAID[form]} == SAID[form]
    with pytest.raises(SignalUnreadable, match="exactly one has to"):
        file.value("nothing@like_it")


def test_rate_and_start_of_a_file_make_recordings(folder: Any) -> None:
    make(folder.path, "tdms")
    mapping = MAPPING.replace('"hdf5"', '"tdms"').replace("run/acc[:, 1]", "rig/acc").partition("[time]")[0]
    mapping = mapping.replace("{ value = 1000 }", '{ variable = "rig/acc@rate" }')
    mapping += '[time]\nbasis = "clock"\nstart = { variable = "rig/acc@start" }\n'
    (row,), _ = folder.run(mapping)
    assert (row["sampling_rate_hz"], row["started_at"], len(row["samples"])) == (RATE, START, len(X))


def test_stamps_of_a_tdms_channel_are_times(folder: Any) -> None:
    make(folder.path, "tdms")
    mapping = MAPPING.replace('"hdf5"', '"tdms"').replace("run/acc[:, 1]", "rig/acc").partition("[time]")[0]
    mapping += '[signal.time]\ncolumn = "rig/t"\nkind = "text"\n[time]\nbasis = "clock"\n'
    (row,), _ = folder.run(mapping)
    assert (row["started_at"], len(row["samples"])) == (START, len(X))


@pytest.mark.parametrize(("form", "clock"), [("rosbag2", "header.stamp"), ("mcap", "header.stamp"), ("mcap", "@time")])
def test_stamps_of_messages_are_times(folder: Any, form: str, clock: str) -> None:
    make(folder.path, form)
    topic = "/joint_states"
    column = f"{topic}{clock}" if clock.startswith("@") else f"{topic}.{clock}"
    mapping = MAPPING.replace('"hdf5"', f'"{form}"').replace("run/acc[:, 1]", f"{topic}.effort[wrist]")
    mapping = mapping.partition("[time]")[0].replace("{ value = 1000 }", "{ from_times = true }")
    mapping += f'[signal.time]\ncolumn = "{column}"\nkind = "epoch"\nunit = "ns"\n[time]\nbasis = "clock"\n'
    other = folder.problems(mapping.replace(column, "/load@time"))[0]
    assert "has 6 values, the signal" in other
    (row,), _ = folder.run(mapping)
    assert row["samples"] == (-X).astype(np.float32).tolist()
    assert row["sampling_rate_hz"] == RATE
    assert (row["started_at"] - START).total_seconds() == (5e-6 if clock == "@time" else 0)


def test_a_bag_whose_joints_change_places(tmp_path: Path) -> None:
    """By its name a joint is the same one all the time; by its number it would silently become another."""
    bag(tmp_path / "a.mcap", swap_at=300)
    file = opened(tmp_path / "a.mcap", "mcap")
    assert values(file, "/joint_states.effort[elbow]") == X.tolist()
    with pytest.raises(SignalUnreadable, match="names of the entries change"):
        values(file, "/joint_states.effort[0]")


@pytest.mark.parametrize("is_binary", [False, True])
@pytest.mark.parametrize(("is_even", "precision"), [(True, 2), (False, 2), (False, 4)])
def test_universal_files_of_every_kind(tmp_path: Path, is_binary: bool, is_even: bool, precision: int) -> None:
    uff(tmp_path / "a.uff", is_binary=is_binary, is_even=is_even, precision=precision, n=101)
    file = opened(tmp_path / "a.uff", "uff")
    for name, expected in (("1", X[:101]), ("2", -X[:101])):
        assert np.allclose(values(file, name), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows_of_a_group", [100_000, 2_000_000])
def test_parquet_files_are_not_held_whole(tmp_path: Path, rows_of_a_group: int) -> None:
    """By itself the library reads all row groups ahead."""
    table = pa.table({"acc": np.random.default_rng(1).normal(size=2_000_000)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=rows_of_a_group, use_dictionary=False)
    del table
    before, most = pa.total_allocated_bytes(), 0
    for _ in opened(tmp_path / "a.parquet", "parquet").blocks([ReadColumn("signal.column", "acc", True)]):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 6_000_000, "of 16 million bytes"


def test_no_block_has_many_chunks(tmp_path: Path) -> None:
    """The library takes 2 KiB for a chunk: 262,144 rows with a chunk each were more than it may take."""
    there = np.arange(9_000, dtype=np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.stack([there, -there], 1), chunks=(1, 2))
    column = ReadColumn("signal.column", "x[:, 0]", True)
    blocks = [block.columns["x[:, 0]", True] for block in opened(tmp_path / "a.h5", "hdf5").blocks([column])]
    assert np.array_equal(np.concatenate(blocks), there)
    assert max(map(len, blocks)) <= 4096


def test_text_columns_of_hdf5_choose_rows(folder: Any) -> None:
    make(folder.path, "hdf5")
    (row,), report = folder.run(MAPPING.replace("[recording]", 'rows = { "run/state" = ["off"] }\n[recording]'))
    assert (len(row["samples"]), report.samples["other_rows"]) == (300, 300)


def test_rows_of_a_matrix_are_recordings(folder: Any) -> None:
    """With `layout = "row"`, however many rows and columns there are; other datasets say something of each row."""
    matrix = np.arange(300 * 400, dtype=np.float32).reshape(300, 400)
    with h5py.File(folder.path / "a.h5", "w") as file:
        file["x"], file["state"] = matrix, [b"on", b"off"] * 150
    mapping = MAPPING.replace("run/acc[:, 1]", "x").replace(
        "[recording]", 'layout = "row"\nrow_spacing_s = 2\n[recording]'
    )
    assert "is a matrix of 300 x 400" in folder.problems(MAPPING.replace("run/acc[:, 1]", "x"))[0]
    rows, _ = folder.run(mapping)
    assert np.array_equal([row["samples"] for row in rows], matrix)
    some, _ = folder.run(mapping.replace('layout = "row"', 'layout = "row"\nrows = { state = ["off"] }'))
    assert np.array_equal([row["samples"] for row in some], matrix[1::2])


def test_signals_of_one_length_are_read_in_one_pass(tmp_path: Path) -> None:
    file = opened(make(tmp_path, "hdf5"), "hdf5")
    assert file.rows_of("run/acc[:, 0]") == file.rows_of("run/t") != file.rows_of("run/wide[0, :]")
    bags = opened(make(tmp_path, "mcap"), "mcap")
    assert (
        bags.rows_of("/joint_states.effort[elbow]") == bags.rows_of("/joint_states@time") != bags.rows_of("/load.data")
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_structs_cells_and_matrices(tmp_path: Path, compressed: bool) -> None:
    channels = np.zeros((1, 3), [("Name", object), ("Data", object)])
    for at, name in enumerate(("force", "speed", "vibration")):
        channels[0, at] = (name, (X + at)[None, :] if at else X[None, :30])
    made = {
        "N15_K001": {"Info": {"a": 1.0}, "Y": channels, "c": np.array([X, "text"], object)},
        "tall": np.stack([X, 2 * X], 1), "wide": np.stack([X, 2 * X, 3 * X]), "s": {"deep": {"er": X[:, None]}},
    }  # fmt: skip
    savemat(tmp_path / "a.mat", made, do_compression=compressed)
    file = opened(tmp_path / "a.mat", "mat")
    expected = {
        "*.Y(3).Data": X + 2, "*.Y(speed).Data": X + 1,
        "N15_K001.Y(1).Data": X[:30], "*.c{1}": X, "tall(:,2)": 2 * X, "wide(3,:)": 3 * X,
        "s.deep.er": X,
    }  # fmt: skip
    assert {name: values(file, name) for name in expected} == {name: one.tolist() for name, one in expected.items()}
    assert (file.value("*.Y(3).Name"), file.value("*.Info.a")) == ("vibration", 1.0)
    with pytest.raises(
        SignalUnreadable, match=r"is a matrix of 600 x 2, not a vector; name one, such as 'tall\(:,1\)'"
    ):
        values(file, "tall")


def test_a_struct_that_holds_itself_a_thousand_times_ends(tmp_path: Path) -> None:
    inside: Any = {"x": 1.0}
    for _ in range(40):
        inside = {"s": inside}
    savemat(tmp_path / "a.mat", {"s": inside, "acc": X})
    assert values(opened(tmp_path / "a.mat", "mat"), "acc") == X.tolist()


BAD_HDF5 = {
    "external link": "no variable matches",
    "soft link out": "no variable matches",
    "external storage": "has its values in another file, which is not read",
    "virtual": "is put together of other datasets",
    "filter": "is packed with filter 32017",
    "huge chunk": "has chunks of more than 256 MiB",
    "cube": "is a matrix of 3 x 4 x 5, not a vector",
    "complex": "is complex128, not numbers",
}


@pytest.mark.parametrize(("kind", "said"), BAD_HDF5.items(), ids=BAD_HDF5)
def test_what_leads_out_of_an_hdf5_file_is_not_followed(tmp_path: Path, kind: str, said: str) -> None:
    make(tmp_path, "hdf5", "other")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        match kind:
            case "external link":
                file["x"] = h5py.ExternalLink("other.h5", "/run/t")
            case "soft link out":
                file["x"] = h5py.SoftLink("/x")
            case "external storage":
                file.create_dataset("x", (10,), "f8", external=[(str(tmp_path / "other.h5"), 0, 80)])
            case "virtual":
                layout = h5py.VirtualLayout((600,), "f8")
                layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "run/t", (600,))
                file.create_virtual_dataset("x", layout)
            case "filter":
                plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                plan.set_chunk((10,))
                plan.set_filter(32017, h5py.h5z.FLAG_OPTIONAL, ())
                space = h5py.h5s.create_simple((10,))
                h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, space, plan)
            case "huge chunk":
                file.create_dataset("x", (2**26,), "f8", chunks=(2**26,))
            case "cube":
                file["x"] = np.zeros((3, 4, 5))
            case "complex":
                file["x"] = np.zeros(5, complex)
    with pytest.raises(SignalUnreadable, match=said):
        values(opened(tmp_path / "a.h5", "hdf5"), "x")


def test_a_missing_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, "tdms")
    monkeypatch.setitem(apart.APART, "tdms", apart.Library("tdms:TdmsSignals", "no_such_library", "tdms"))
    with pytest.raises(PrerequisiteMissing, match=r'needs no_such_library: pip install "axiswatch\[tdms\]"'):
        opened(path, "tdms")


@pytest.mark.parametrize("signal_sent", ["SIGSEGV", "SIGKILL"])
def test_a_crash_of_the_library_is_the_files_fault_and_a_kill_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal_sent: str
) -> None:
    """The next file is read by a new process."""
    monkeypatch.setattr(apart._Process, "_now", None)
    file = opened(make(tmp_path, "wav"), "wav")
    process = apart._Process.current()._process
    process.send_signal(getattr(apart.signal, signal_sent))
    process.wait()
    error = SignalUnreadable if signal_sent == "SIGSEGV" else AxiswatchError
    with pytest.raises(error, match="SIGSEGV" if signal_sent == "SIGSEGV" else "run the import again"):
        values(file, "1")
    assert len(values(opened(tmp_path / "a.wav", "wav"), "1")) == len(X)


@pytest.mark.parametrize("form", ["tdms", "wav", "mcap", "uff", "hdf5", "rosbag2", "mat"])
def test_a_file_that_was_cut_off_is_refused_or_left_out(folder: Any, form: str) -> None:
    make(folder.path, form, "good")
    path = make(folder.path, form, "short")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    mapping = MAPPING.replace('"hdf5"', f'"{form}"').replace("run/acc[:, 1]", PLACES[form])
    assert all("short" in problem for problem in folder.problems(mapping))
    rows, report = folder.run(mapping.replace("[recording]", 'on_bad_file = "leave out"\n[recording]'))
    assert [len(row["samples"]) for row in rows] == [len(X)]
    assert (report.files["files_read"], report.files["bad_files_left_out"]) == (1, 1)
    assert f"short{SUFFIXES.get(form, f'.{form}')}" in report.skipped[0].reason
