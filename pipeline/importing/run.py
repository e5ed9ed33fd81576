"""Run a checked import: write the logs into a temporary folder, then move everything to its place."""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.base.log_schema import LOG_SCHEMA, SCHEMA_VERSION
from pipeline.importing.formats import open_signal
from pipeline.importing.formats.packed import SUFFIXES
from pipeline.importing.metadata import add_complaints
from pipeline.importing.outputs import RowSpan, assets_toml, label_rows, labels_csv
from pipeline.importing.plan import ImportPlan, plan_import
from pipeline.importing.problems import Problems, SignalUnreadable
from pipeline.importing.samples import Samples, read_signals
from pipeline.importing.signals import Cuts, Cutter, Piece, PlannedRow

BUFFER_BYTES: Final = 1 << 26
"""Samples that wait to be written, all signals of a file together; then they are."""

Progress = Callable[[int, int, str], None]
"""Called with the number of signal files done, the number of all, and the name of the last one done."""


@dataclass(frozen=True)
class Skipped:
    """A part of a manifest row that was left out, and the reason."""

    row: int | str
    file: str
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """The result of an import: counts, paths and notes."""

    name: str
    files_read: int
    recordings: int
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    log_files: tuple[Path, ...]
    written: int
    unchanged: int
    labels: int
    labels_path: Path
    units: int
    assets_path: Path

    def lines(self) -> list[str]:
        """Return the report as sentences for the command line."""
        lines = [
            f"{self.name}: {self.files_read} signal files read, {self.recordings} recordings in "
            f"{len(self.log_files)} log files ({self.written} written, {self.unchanged} unchanged)",
            f"{self.labels} labels in {self.labels_path}",
            f"{self.units} units in {self.assets_path}",
        ]
        lines += [f"note: {note}" for note in self.notes]
        return lines + [f"left out: {_place(item)}: {item.reason}" for item in self.skipped]


def _place(item: Skipped) -> str:
    return f"row {item.row} ({item.file})" if isinstance(item.row, int) else item.file


def import_archive(
    manifest: Path,
    mapping: Path | str,
    landing: Path,
    *,
    root: Path | None = None,
    labels_out: Path | None = None,
    assets_out: Path | None = None,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Turn an archive of Parquet, CSV or MATLAB signals into contract logs, labels.csv and assets.toml.

    Parameters
    ----------
    manifest : Path
        CSV file, one row per signal file (and channel); or, where the mapping has [files], the folder of the files.
    mapping : Path or str
        A mapping file, or the name of a shipped mapping (`shipped_mappings()`).
    landing : Path
        Landing zone; the logs go to `landing/NAME/`, one file per signal file, NAME being the mapping's.
    root : Path, optional
        Folder that the manifest's file names start from; default: the manifest's folder.
    labels_out, assets_out : Path, optional
        Default: NAME-labels.csv and NAME-assets.toml beside the landing zone. Never inside it.
    on_progress : callable, optional
        Called after each signal file.

    Returns
    -------
    ImportReport

    Raises
    ------
    ImportRefused
        With every problem at once; nothing was written in this case.
    OSError
        A file cannot be written; logs may be in place and labels not. Run the import again.
    """
    plan = plan_import(manifest, mapping, root=root)
    labels_path = labels_out or landing.parent / f"{plan.name}-labels.csv"
    assets_path = assets_out or landing.parent / f"{plan.name}-assets.toml"
    _check_places(landing, manifest, labels_path, assets_path, plan)
    landing.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=landing, prefix=f".{plan.name}-", suffix=".part"))
    try:
        writer = _Writer(manifest.name, aside)
        writer.write(plan, on_progress)
        return _put_in_place(plan, writer, aside, landing / plan.name, labels_path, assets_path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def names_of(files: list[str]) -> list[str]:
    """Return the name of each signal file's log: its stem, or the whole path with `__` where stems repeat.

    A name that begins with a dot or underscore gets `log` before it, because acquire does not read such files.
    """
    parts = [[part for part in PurePosixPath(file).parts if part not in ("/", "..")] for file in files]
    stems = Counter(_stem(file) for file in files)
    names = [
        _stem(file) if stems[_stem(file)] == 1 else "__".join([*part[:-1], _stem(file)])
        for file, part in zip(files, parts, strict=True)
    ]
    if len(set(names)) < len(names):
        names = [f"{number:06d}-{'__'.join(part)}" for number, part in enumerate(parts, 1)]
    return [f"{'log' if name.startswith(('.', '_')) else ''}{name}.parquet" for name in names]


def _stem(file: str) -> str:
    path = PurePosixPath(file)
    return PurePosixPath(path.stem).stem if path.suffix in SUFFIXES else path.stem


class _Writer:
    """Writes the logs of a plan into a temporary folder, one signal file at a time, and counts what it wrote."""

    def __init__(self, where: str, aside: Path) -> None:
        self._where = where
        self._aside = aside
        self._problems = Problems()
        self._keys: dict[tuple[Any, ...], str] = {}
        self.spans: list[RowSpan] = []
        self.skipped: list[Skipped] = []
        self.recordings = 0
        self.names_written: list[str] = []

    def write(self, plan: ImportPlan, on_progress: Progress | None) -> None:
        """Write every log; ImportRefused with all problems that only the samples show."""
        by_file = plan.by_file()
        names = names_of([rows[0].file for rows in by_file.values()])
        for done, (name, rows) in enumerate(zip(names, by_file.values(), strict=True), 1):
            self._write_file(name, rows)
            if on_progress is not None:
                on_progress(done, len(by_file), rows[0].file)
        if not self._problems and not self.recordings:
            reasons = "; ".join(dict.fromkeys(left.reason for left in self.skipped))
            self._problems.add(self._where, f"no recording is left of the selected rows: {reasons}")
        self._problems.refuse_if_any()

    def _write_file(self, name: str, rows: list[PlannedRow]) -> None:
        logs = _Log(self._aside / f"{name}.part")
        cutters = [Cutter(planned) for planned in rows]

        def take(cutter: Cutter, samples: Samples) -> None:
            cutter.feed(samples)
            if sum(piece.samples.nbytes for one in cutters for piece in one.cuts.pieces) > BUFFER_BYTES:
                self._flush(cutters, rows, logs)

        try:
            opened = open_signal(rows[0].path, rows[0].file, rows[0].signal)
            wanted = [(planned.asked, partial(take, cutter)) for planned, cutter in zip(rows, cutters, strict=True)]
            for planned, cutter, read in zip(rows, cutters, read_signals(opened, wanted), strict=True):
                if isinstance(read, SignalUnreadable):
                    raise read
                cutter.finish()
                self._flush([cutter], [planned], logs)
                self._account(planned, cutter.cuts)
        except SignalUnreadable as error:
            add_complaints(self._problems, self._where, rows[0].row.number, rows[0].file, error)
        finally:
            if logs.close():
                self.names_written.append(name)

    def _flush(self, cutters: list[Cutter], rows: list[PlannedRow], logs: _Log) -> None:
        """Write the recordings that are ready, signal by signal, in order of time; check that no key comes twice."""
        for planned, cutter in zip(rows, cutters, strict=True):
            pieces = sorted(cutter.cuts.pieces, key=lambda piece: piece.started_at)
            cutter.cuts.pieces.clear()
            if not pieces:
                continue
            self.recordings += len(pieces)
            self.spans.append(RowSpan(planned, pieces[0].started_at, max(piece.ends_at for piece in pieces)))
            logs.write([_log_row(planned, piece) for piece in pieces])
            for piece in pieces:
                key = (*planned.point, piece.started_at)
                if key in self._keys:
                    text = f"two recordings have the same key, the other in {self._keys[key]}"
                    self._problems.add(self._where, f"{text} ({piece.started_at.isoformat()})", row=planned.row.number)
                self._keys[key] = planned.row.name

    def _account(self, planned: PlannedRow, cuts: Cuts) -> None:
        """Record what was left out."""
        row, reasons = planned.row.number, []
        if cuts.missing:
            reasons.append(f"{cuts.missing} of {planned.n_source} samples are missing; cut there")
        if cuts.short:
            reasons.append(f"{cuts.short} pieces shorter than {planned.min_samples} samples")
        prefix = f"{planned.asked.name}: " if planned.is_one_of_many else ""
        self.skipped += [Skipped(row, planned.file, prefix + reason) for reason in reasons]


class _Log:
    """A log file that is made when its first recordings come."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Add recordings as one row group."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._target, LOG_SCHEMA, compression="zstd", use_dictionary=False)
        self._writer.write_table(pa.Table.from_pylist(rows, schema=LOG_SCHEMA))

    def close(self) -> bool:
        """End the file; return whether there is one."""
        if self._writer is not None:
            self._writer.close()
        return self._writer is not None


def _log_row(planned: PlannedRow, piece: Piece) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        **planned.fields,
        "started_at": piece.started_at,
        "time_basis": planned.time_basis,
        "samples": piece.samples,
    }


def _check_places(landing: Path, manifest: Path, labels_path: Path, assets_path: Path, plan: ImportPlan) -> None:
    problems = Problems()
    if not landing.is_file() and any(path.is_relative_to(landing.resolve()) for path in plan.by_file()):
        problems.add(str(landing), "holds signal files of this archive; import into another landing zone")
    if landing.exists() and not landing.is_dir():
        problems.add(str(landing), "is a file; the landing zone is a folder")
    for key, path in (("labels_out", labels_path), ("assets_out", assets_path)):
        if path.resolve().is_relative_to(landing.resolve()):
            problems.add(str(path), f"{key} is inside the landing zone, where only logs belong; choose another place")
        if path.is_dir():
            problems.add(str(path), f"{key} is a folder; name a file")
        if path.resolve() == manifest.resolve():
            problems.add(str(path), f"{key} is the manifest itself; choose another place")
    problems.refuse_if_any()


def _put_in_place(
    plan: ImportPlan, writer: _Writer, aside: Path, target: Path, labels_path: Path, assets_path: Path
) -> ImportReport:
    labels = label_rows(writer.spans, plan.mapping.label)
    assets, units = assets_toml(writer.spans, plan.geometries)
    target.mkdir(exist_ok=True)
    log_files = tuple(target / name for name in writer.names_written)
    written = sum(_put(aside / f"{path.name}.part", path) for path in log_files)
    _put_text(labels_path, labels_csv(labels))
    _put_text(assets_path, assets)
    return ImportReport(
        name=plan.name,
        files_read=len(plan.by_file()),
        recordings=writer.recordings,
        skipped=tuple(writer.skipped),
        notes=plan.notes,
        log_files=log_files,
        written=written,
        unchanged=len(log_files) - written,
        labels=len(labels),
        labels_path=labels_path,
        units=units,
        assets_path=assets_path,
    )


def _put(aside: Path, target: Path) -> bool:
    """Move a file to its place unless the same bytes are there already; return whether it was moved."""
    if target.is_file() and filecmp.cmp(aside, target, shallow=False):
        return False
    aside.replace(target)
    return True


def _put_text(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.part")
    aside.write_text(text, encoding="utf-8", newline="")
    if not _put(aside, target):
        aside.unlink()
