"""Targets of the importers: signals in Parquet, CSV and MATLAB files, mappings, manifests."""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from scipy.io import savemat

from benchmarks.fuzz.bytes_damage import NUMBERS, Rng, damage_bytes
from benchmarks.fuzz.logs import BYTES_ONLY, LIMITS
from benchmarks.fuzz.outcomes import Given, Outcome
from benchmarks.fuzz.parquet_damage import CODECS, damage_footer, damage_page, damage_types, to_bytes
from benchmarks.fuzz.signal_files import PLACES
from benchmarks.fuzz.signal_files import make as make_signals
from benchmarks.fuzz.text_damage import damaged_csv, damaged_toml
from pipeline.importing import ImportRefused, import_archive
from pipeline.intake.contract import GoodRow, judge_rows
from pipeline.intake.reading import Unread, read_log

N: Final = 400
LIBRARIES: Final = ("hdf5", "mat73", "tdms", "wav", "rosbag2", "mcap", "uff")
MAPPING: Final = """version = 1
name = "bench"
[select]
use = ["yes"]
[signal]
format = "parquet"
file = { column = "file" }
column = { column = "channel" }
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
load = { column = "load", suffix = " hp" }
unit_serial = { column = "serial" }
[time]
basis = "synthetic"
start = 2000-01-01T00:00:00Z
spacing_s = 60
recording = { column = "file" }
[[process]]
kind = "scale"
factor = 1.0
unit = "g"
[pieces]
min_samples = 10
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
source = "made up"
"""
CLOCK: Final = """version = 1
name = "clock"
[signal]
format = "csv"
file = { column = "file" }
column = { value = "x" }
[signal.csv]
delimiter = ","
encoding = "utf-8"
[signal.time]
column = "t"
kind = "text"
zone = "Europe/Berlin"
[recording]
site = { value = "lab" }
robot_id = { value = "R" }
axis = { value = "A1" }
channel = { value = "x" }
quantity = { value = "acceleration" }
unit = { value = "g" }
sampling_rate_hz = { value = 1000.0 }
rate_basis = { value = "declared" }
[time]
basis = "clock"
[pieces]
min_samples = 10
"""
FOLDER: Final = """version = 1
name = "folder"
[files]
glob = "*.csv"
pattern = "(?P<what>[a-z]+)[.]csv"
[signal]
format = "csv"
column = { value = "x" }
[recording]
site = { value = "lab" }
robot_id = { column = "what" }
axis = { value = "A1" }
channel = { value = "x" }
quantity = { value = "acceleration" }
unit = { value = "g" }
sampling_rate_hz = { value = 1000.0 }
rate_basis = { value = "declared" }
[time]
basis = "clock"
start = { value = "2026-01-05T08:00:00+09:00" }
[[process]]
kind = "cut_every"
samples = 200
[[process]]
kind = "decimate"
factor = 2
[[process]]
kind = "cut_to_length"
seconds = 0.02
[pieces]
min_samples = 5
"""
MANIFEST: Final = b"""file,channel,rate,unit,rpm,load,label,serial,use
one.parquet,x,1000,g,600,1 hp,ok,S1,yes
one.parquet,y,1000,g,600,1 hp,ok,S1,yes
two.parquet,x,1000,g,900,2 hp,worn,S2,yes
two.parquet,y,1000,g,900,,worn,S2,no
"""


def signals(seed: int) -> dict[str, np.ndarray]:
    """Return two columns of samples and a time column as text."""
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(0, 1, N).astype(np.float32), "y": rng.normal(0, 1, N).astype(np.float32)}


def csv_of(columns: dict[str, np.ndarray]) -> bytes:
    """Return columns as a CSV file with a time column."""
    lines = ["t,x,y"]
    for at, (x, y) in enumerate(zip(columns["x"], columns["y"], strict=True)):
        lines.append(f"2026-01-05T08:00:{at // 1000:02d}.{at % 1000:03d},{x:.9g},{y:.9g}")
    return ("\n".join(lines) + "\n").encode()


class Archive:
    """An archive whose manifest, mapping or signal file is damaged; what comes out must be good logs."""

    refusals: tuple[type[Exception], ...] = (ImportRefused,)
    wrapped: tuple[type[Exception], ...] = ()
    calls = 1
    suffix = "parquet"
    mapping = MAPPING

    def prepare(self, folder: Path) -> None:
        """Make the good files."""
        self.folder = folder / "archive"
        self.whole = self.good_files()

    def good_files(self) -> list[bytes]:
        """Return good signal files."""
        made = []
        for number, codec in enumerate(CODECS):
            options = {
                "compression": codec,
                "use_dictionary": bool(number % 2),
                "row_group_size": [150, 1000][number % 2],
            }
            table = pa.table({name: pa.array(values) for name, values in signals(number).items()})
            made.append(
                to_bytes(table, write_page_checksum=True, data_page_version=["1.0", "2.0"][number % 2], **options)
            )
        return made

    def lay_out(self, signal: bytes, manifest: bytes = MANIFEST, mapping: bytes | None = None) -> tuple[Path, Path]:
        """Write an archive; return its manifest (or folder) and its mapping."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        (self.folder / f"one.{self.suffix}").write_bytes(signal)
        (self.folder / f"two.{self.suffix}").write_bytes(self.whole[0])
        text = (self.mapping.encode() if mapping is None else mapping).replace(
            b'"parquet"', f'"{self.suffix}"'.encode()
        )
        (self.folder / "map.toml").write_bytes(text)
        (self.folder / "manifest.csv").write_bytes(manifest.replace(b".parquet", f".{self.suffix}".encode()))
        return self.folder / "manifest.csv", self.folder / "map.toml"

    def read(self, manifest: Path, mapping: Path) -> tuple[Outcome, str, dict[str, np.ndarray]]:
        """Import; return the outcome and the samples by log and channel: what is written, intake has to accept."""
        landing = self.folder / "landing"
        report = import_archive(manifest, mapping, landing, limits=LIMITS)
        samples: dict[str, list[np.ndarray]] = {}
        for path in report.log_files:
            for part in read_log(path, LIMITS, []):
                if isinstance(part, Unread):
                    return Outcome.WRONG, f"wrote a log that cannot be read: {part.reason.text}", {}
                for row in judge_rows(part[1], part[0], LIMITS):
                    if not isinstance(row, GoodRow):
                        return Outcome.WRONG, f"wrote a row that intake refuses: {row.reasons[0].text}", {}
                    samples.setdefault(f"{path.stem} {row.values['channel']}", []).append(row.samples)
        outcome = Outcome.PARTLY if report.skipped else Outcome.TAKEN
        return (
            outcome,
            f"{report.recordings} recordings",
            {name: np.concatenate(all_) for name, all_ in samples.items()},
        )


class ParquetSignals(Archive):
    """A damaged Parquet file of signals. Its pages have checksums, so nothing but its own samples may come of it."""

    name = "parquet"

    def damaged(self, rng: Rng) -> Given:
        """Damage bytes, the footer, a page, or take odd columns."""
        at = int(rng.integers(len(self.whole)))
        data, draw = self.whole[at], rng.random()
        if draw < 0.45:
            return Given(*damage_bytes(rng, data, self.whole))
        if draw < 0.65:
            return Given("values of the footer", damage_footer(rng, data))
        if draw < 0.8:
            return Given("header of a page", damage_page(rng, data))
        if draw < 0.85:
            return Given("type of a column", damage_types(rng, data))
        return Given("odd columns", odd_signals(rng))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Import it, and compare the samples with those that it had."""
        outcome, detail, samples = self.read(*self.lay_out(given.what))
        own = {name: values for name, values in samples.items() if name.startswith("one")}
        if given.damage in BYTES_ONLY and outcome is not Outcome.WRONG:
            for name, values in own.items():
                column = name.split()[1]
                if not any(_is_of(values, signals(number)[column]) for number in range(len(self.whole))):
                    return Outcome.WRONG, f"{name}: {len(values)} samples, not those of the file"
        return outcome, detail


def _is_of(values: np.ndarray, whole: np.ndarray) -> bool:
    return len(values) == len(whole) and bool((values == whole).all())


def odd_signals(rng: Rng) -> bytes:
    """Return a well-formed Parquet file whose columns x and y have odd types or values."""
    n = int(rng.choice([0, 1, 5, 400]))
    makers: tuple[Any, ...] = (
        lambda: pa.array(["a"] * n),
        lambda: pa.array([float("nan")] * n),
        lambda: pa.array(rng.choice([1e300, -1e300, 1.0, np.inf], n)),
        lambda: pa.array([None] * n, pa.float64()),
        lambda: pa.array([[1.0]] * n),
        lambda: pa.array([2**63 - 1] * n),
        lambda: pa.array(np.full(n, 2**64 - 1, np.uint64)),
        lambda: pa.array([True] * n),
        lambda: pa.array([{"a": 1}] * n),
        lambda: pa.array(np.ones(n, np.float16)),
        lambda: pa.array(["1.0"] * n).dictionary_encode(),
        lambda: pa.array([1.5] * n).dictionary_encode(),
        lambda: pa.nulls(n),
        lambda: pa.array([1] * n).cast(pa.timestamp("us")),
        lambda: pa.array(np.ones(n)).cast(pa.decimal128(10, 2)),
    )
    columns = [makers[int(rng.integers(len(makers)))]() for _ in range(2)]
    names = (("x", "y"), ("x", "x"), ("x.y", "y"), ("", "x"), ("X", "y"), ("x", "y"), ("x", "y"))[int(rng.integers(7))]
    return to_bytes(pa.Table.from_arrays(columns, names=list(names)))


class CsvSignals(Archive):
    """A damaged CSV file of signals, with and without a time column."""

    name = "csv"
    suffix = "csv"

    def good_files(self) -> list[bytes]:
        """Return good signal files."""
        return [csv_of(signals(number)) for number in range(3)]

    def damaged(self, rng: Rng) -> Given:
        """Damage a file."""
        damage, content = damaged_csv(rng, self.whole)
        return Given(damage, (content, bool(rng.integers(2))))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Import it."""
        content, with_times = given.what
        laid = self.lay_out(
            content, mapping=CLOCK.encode() if with_times else None, manifest=_only_one() if with_times else MANIFEST
        )
        return self.read(*laid)[:2]


def _only_one() -> bytes:
    return b"\n".join(MANIFEST.split(b"\n")[:2]) + b"\n"


class MatSignals(Archive):
    """A damaged MATLAB file of signals. Packed variables have checksums."""

    name = "mat"
    suffix = "mat"

    def good_files(self) -> list[bytes]:
        """Return good files: packed ones and plain ones, of several types."""
        made = []
        for number in range(6):
            sink = io.BytesIO()
            own: dict[str, Any] = {
                name: values.astype([np.float64, np.float32][number % 2]) for name, values in signals(number).items()
            }
            own |= {"rpm": np.array([[600.0]]), "text": "words", "cells": np.array([1, "a"], object)}
            own |= {"s": {"deep": {"x": signals(number)["x"], "name": "n"}}, "both": np.ones((30, 2))}
            savemat(sink, own, do_compression=number < 3)
            made.append(sink.getvalue())
        return made

    def damaged(self, rng: Rng) -> Given:
        """Damage bytes, a number at a multiple of four bytes, or what is packed."""
        at, draw = int(rng.integers(len(self.whole))), rng.random()
        data = self.whole[at]
        if draw < 0.5:
            damage, damaged = damage_bytes(rng, data, self.whole)
            return Given(damage if at < 3 and damage in BYTES_ONLY else f"{damage}, plain or mixed", damaged)
        if draw < 0.75:
            return Given("a number of a header", _number(rng, data))
        return Given("repacked", _repacked(rng, data))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Import it, and compare the samples with those that it had."""
        outcome, detail, samples = self.read(*self.lay_out(given.what))
        own = {name: values for name, values in samples.items() if name.startswith("one")}
        if given.damage in BYTES_ONLY and outcome is not Outcome.WRONG:
            for name, values in own.items():
                if not any(_is_of(values, signals(number)[name.split()[1]]) for number in range(6)):
                    return Outcome.WRONG, f"{name}: {len(values)} samples, not those of the file"
        return outcome, detail


def _number(rng: Rng, data: bytes) -> bytes:
    at = min(len(data) - 4, 124 + 4 * int(rng.integers(60)))
    number = int(rng.choice(np.array([*NUMBERS, 6, 7, 14, 15, 2**30, 400 * 8 + 1], object))) % 2**32
    return data[:at] + struct.pack("<I", number) + data[at + 4 :]


def _repacked(rng: Rng, data: bytes) -> bytes:
    """Damage what is packed in a variable, and pack it again so that its checksum is right."""
    (kind, size) = struct.unpack("<II", data[128:136])
    body = data[136 : 136 + size]
    if kind == 15:
        body = zlib.decompress(body)
    draw = rng.random()
    if draw < 0.4:
        at = 4 * int(rng.integers(16))
        number = int(rng.choice(np.array([*NUMBERS, 6, 7, 400 * 4, 2**28], object))) % 2**32
        body = body[:at] + struct.pack("<I", number) + body[at + 4 :]
    elif draw < 0.7:
        body = damage_bytes(rng, body)[1]
    elif draw < 0.8:
        body = body[:8] + _huge(int(rng.choice([10_000, 30_000_000, 200_000_000])))
    packed = zlib.compress(body, 1)
    return data[:128] + struct.pack("<II", 15, len(packed)) + packed + data[136 + size :]


def _huge(count: int) -> bytes:
    """Return the body of a variable x with so many zeros (bytes that are read as floats)."""
    flags = struct.pack("<IIII", 6, 8, 6, 0)
    dims = struct.pack("<IIii", 5, 8, 1, count)
    name = struct.pack("<HH4s", 1, 1, b"x\0\0\0")
    return flags + dims + name + struct.pack("<II", 2, count) + bytes(count)


class LibrarySignals(Archive):
    """A damaged file of a format that a library reads, or of universal files."""

    def __init__(self, name: str) -> None:
        self.name, self.form = name, name.removesuffix("73")

    def good_files(self) -> list[bytes]:
        """Return a good file."""
        self.folder.mkdir(parents=True)
        self.path = make_signals(self.folder, self.form)
        mapping = FOLDER.partition("[[process]]")[0].replace('"csv"', f'"{self.form}"')
        mapping = mapping.replace('column = { value = "x" }', f'column = {{ value = "{PLACES[self.form]}" }}', 1)
        mapping = mapping.replace('glob = "*.csv"', f'glob = "*{self.path.suffix}"').replace("[.]csv", "[.].*")
        self.folder.with_suffix(".toml").write_text(mapping)
        self.read(self.folder, self.folder.with_suffix(".toml"))  # the whole file is taken, or the campaign ends here
        return [self.path.read_bytes()]

    def damaged(self, rng: Rng) -> Given:
        """Damage bytes, half of the time near the beginning or the end, where formats keep their lists."""
        data, draw = self.whole[0], rng.random()
        if draw < 0.5:
            return Given(*damage_bytes(rng, data))
        size = min(len(data), 3000)
        if draw < 0.75:
            damage, part = damage_bytes(rng, data[:size])
            return Given(f"{damage}, at the beginning", part + data[size:])
        damage, part = damage_bytes(rng, data[-size:])
        return Given(f"{damage}, at the end", data[:-size] + part)

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Import it."""
        self.path.write_bytes(given.what)
        shutil.rmtree(self.folder / "landing", ignore_errors=True)
        return self.read(self.folder, self.folder.with_suffix(".toml"))[:2]


class Mappings(Archive):
    """A damaged mapping."""

    name = "mapping"

    def good_files(self) -> list[bytes]:
        """Return good signal files, and CSV files for the mappings that ask for them."""
        self.csv = csv_of(signals(0))
        return super().good_files()

    def damaged(self, rng: Rng) -> Given:
        """Damage a mapping."""
        texts = [MAPPING, MAPPING, CLOCK, FOLDER]
        at = int(rng.integers(4))
        damage, content = (
            damaged_toml(rng, [texts[at], *texts]) if rng.random() < 0.1 else damaged_toml(rng, [texts[at]])
        )
        return Given(damage, (content, at == 3))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Import with it."""
        content, of_folder = given.what
        manifest, mapping = self.lay_out(self.whole[0], manifest=MANIFEST)
        mapping.write_bytes(content)
        (self.folder / "one.csv").write_bytes(self.csv)
        if b'"csv"' in content and not of_folder:
            manifest.write_bytes(_only_one().replace(b".parquet", b".csv"))
        if of_folder:
            manifest.unlink()
            manifest = self.folder
        return self.read(manifest, mapping)[:2]


class Manifests(Archive):
    """A damaged manifest."""

    name = "manifest"

    def damaged(self, rng: Rng) -> Given:
        """Damage a manifest."""
        return Given(*damaged_csv(rng, [MANIFEST]))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Import with it."""
        return self.read(*self.lay_out(self.whole[0], manifest=given.what))[:2]
