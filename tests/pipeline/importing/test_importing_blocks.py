"""Signal files are read in blocks: what comes out depends neither on where a block ends nor on how a file is packed."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from benchmarks.fuzz.thrift import Reader, child, written
from pipeline.importing import ImportRefused, import_archive
from pipeline.importing.formats import interface

MAPPING = """
version = 1
name = "blocks"
[files]
glob = "a.*"
[signal]
format = "{form}"
missing_values = [-999.0]
{signal}
[recording]
site = {{ value = "lab" }}
robot_id = {{ value = "R" }}
axis = {{ value = "A" }}
quantity = {{ value = "acceleration" }}
unit = {{ value = "g" }}
sampling_rate_hz = {{ value = 1000 }}
rate_basis = {{ value = "declared" }}
[[channel]]
column = {{ value = "x" }}
channel = {{ value = "x" }}
[[channel]]
column = {{ value = "y" }}
channel = {{ value = "y" }}
factor = 0.5
{time}
"""
SYNTHETIC = (
    '[time]\nbasis = "synthetic"\nstart = 2000-01-01T00:00:00Z\nspacing_s = 3600\nrecording = { column = "file" }\n'
)
TIMED = '[time]\nbasis = "clock"\n[signal.time]\ncolumn = "t"\nkind = "epoch"\nunit = "ms"\n'
EVERY = '[[process]]\nkind = "cut_every"\nsamples = 300\nspacing_s = 60.0\n'
CHANGES = '[[process]]\nkind = "cut_at_changes"\ncolumn = "cycle"\nstart_s_column = "s"\n'
LATER = '[[process]]\nkind = "decimate"\nfactor = 2\n[[process]]\nkind = "cut_to_length"\nseconds = 0.1\n'
SEVERAL = {
    "plain": ("", SYNTHETIC),
    "seams": ("", SYNTHETIC + EVERY + LATER),
    "changes": ("", SYNTHETIC + CHANGES),
    "times": ("", TIMED + LATER),
    "rows": ('rows = { cycle = ["1", "3"] }', SYNTHETIC + LATER),
}


def columns() -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(5)
    n = 1000
    x = random.standard_normal(n).round(3)
    x[[0, 333, 334, 999]] = -999.0
    t = 1_767_225_600_000 + np.arange(n) + 50 * (np.arange(n) >= 400)
    cycle = np.repeat([1, 2, 3, 4], n // 4)
    return {"t": t, "x": x, "y": random.standard_normal(n).round(3), "cycle": cycle, "s": cycle * 100.0}


def as_csv(path: Path) -> None:
    pyarrow.csv.write_csv(pa.table(columns()), path / "a.csv")


def as_parquet(path: Path) -> None:
    pq.write_table(pa.table(columns()), path / "a.parquet", row_group_size=37)


def as_mat(path: Path) -> None:
    savemat(path / "a.mat", columns(), do_compression=True)


def logs(folder: Path, form: str, signal: str, time: str, out: str) -> bytes:
    """What an import writes, as one text of bytes: the log and what was left out."""
    (folder / "m.toml").write_text(MAPPING.format(form=form, signal=signal, time=time))
    report = import_archive(folder / "in", folder / "m.toml", folder / out / "landing")
    written = b"".join(path.read_bytes() for path in report.log_files)
    return written + repr([item.reason for item in report.skipped]).encode()


@pytest.mark.parametrize("kind", SEVERAL)
@pytest.mark.parametrize(("form", "make"), [("csv", as_csv), ("parquet", as_parquet), ("mat", as_mat)])
def test_the_end_of_a_block_is_seen_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, make: Callable[[Path], None], kind: str
) -> None:
    (tmp_path / "in").mkdir()
    make(tmp_path / "in")
    whole = logs(tmp_path, form, *SEVERAL[kind], out="whole")
    for cells in (1, 50, 333):
        monkeypatch.setattr(interface, "BLOCK_CELLS", cells)
        assert logs(tmp_path, form, *SEVERAL[kind], out=f"by {cells}") == whole


@pytest.mark.parametrize("care", ["quotes", "blank line", "comment", "returns"])
@pytest.mark.parametrize("bad", [False, True])
def test_text_that_needs_care_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, care: str, bad: bool
) -> None:
    """Quotes, empty lines, comments and other line ends, from some line on; and the same lines are bad then."""
    (tmp_path / "in").mkdir()
    as_csv(tmp_path / "in")
    monkeypatch.setattr(interface, "BLOCK_CELLS", 100)
    file = tmp_path / "in" / "a.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    if bad:
        lines[300] += ",1,2"
        lines[700] = lines[700].replace(",", ",no", 1)
    half = lines
    if care == "quotes":
        half = [*lines[:400], *(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines[400:])]
    text = "\n".join(half) + ("\n\n" if care == "blank line" else "\n# the end\n" if care == "comment" else "\n")
    text = text.replace("\n", "\r\n") if care == "returns" else text
    time = SYNTHETIC + '[signal.csv]\ncomment = "#"\n'
    said = []
    for number, content in enumerate(("\n".join(lines) + "\n", text)):
        file.write_text(content, encoding="utf-8", newline="")
        try:
            said.append(logs(tmp_path, "csv", "", time, out=f"out {number}"))
        except ImportRefused as refused:
            assert bad
            said.append(str(sorted(refused.problems)).encode())
    assert said[0] == said[1]
    assert (b"row 301: has 7 cells" in said[0], b"row 701" in said[0]) == (bad, bad)


def packed(name: str, content: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(content)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/a.csv", content)
    return body.getvalue()


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zip", "a.log"])
def test_packed_text_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    as_csv(tmp_path / "in")
    plain = logs(tmp_path, "csv", "", SYNTHETIC, out="plain")
    (tmp_path / "in" / name).write_bytes(packed(name, (tmp_path / "in" / "a.csv").read_bytes()))
    (tmp_path / "in" / "a.csv").unlink()
    assert logs(tmp_path, "csv", "", SYNTHETIC, out="packed") == plain


def test_a_packed_file_is_named_after_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv.gz").write_bytes(gzip.compress(b"x,y\n1,2\n"))
    (tmp_path / "m.toml").write_text(MAPPING.format(form="csv", signal="", time=SYNTHETIC))
    report = import_archive(tmp_path / "in", tmp_path / "m.toml", tmp_path / "landing")
    assert [path.name for path in report.log_files] == ["a.parquet"]


def test_damaged_packed_files_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    as_csv(tmp_path / "in")
    content = (tmp_path / "in" / "a.csv").read_bytes()
    (tmp_path / "in" / "a.csv").unlink()
    good = {name: packed(name, content) for name in ("a.csv.gz", "a.csv.zip")}
    two = io.BytesIO()
    with zipfile.ZipFile(two, "w") as archive:
        archive.writestr("one.csv", content)
        archive.writestr("two.csv", content)
    turned = bytearray(good["a.csv.gz"])
    turned[len(turned) // 2] ^= 255
    for bad, said in (
        (good["a.csv.gz"][:-2000], "is damaged where it is packed"),
        (bytes(turned), "is damaged where it is packed"),
        (good["a.csv.zip"][:-200], "is damaged where it is packed"),
        (two.getvalue(), "is a zip of 2 files (one.csv, two.csv); unpack it"),
        (gzip.compress(b"x" * (1 << 23)), "a line has more than"),
    ):
        (tmp_path / "in" / "a.bin").write_bytes(bad)
        with pytest.raises(ImportRefused) as refused:
            logs(tmp_path, "csv", "", SYNTHETIC, out="bad")
        assert said in str(refused.value)


def test_a_page_that_claims_too_much_costs_no_memory(tmp_path: Path) -> None:
    """The header of a page is not believed: one of some hundred bytes that says 2 GiB is damage, found without them."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"acc": np.arange(50, dtype=np.float32)}), path, use_dictionary=False)
    data = path.read_bytes()
    at = pq.read_metadata(path).row_group(0).column(0).data_page_offset
    reader = Reader(data, at)
    header = reader.node(12)
    for number in (2, 3):  # unpacked and packed size
        size = child(header, number)
        assert size is not None
        size.value = 2**31 - 1
    path.write_bytes(data[:at] + written(header) + data[reader.at :])
    code = (
        "import re, sys; from pathlib import Path; from pipeline.importing.formats.interface import ReadColumn; "
        "from pipeline.importing.formats.parquet import ParquetSignals; from pipeline.importing.problems import *\n"
        "try: list(ParquetSignals(Path(sys.argv[1]), 'a').blocks([ReadColumn('signal.column', 'acc', True)]))\n"
        "except SignalUnreadable as error: print('damaged' in str(error))\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    told, peak_kib = done.stdout.split()
    assert told == "True"
    assert int(peak_kib) < 700 * 1024
