"""Run a checked import: write the logs into a temporary folder, then move everything to its place."""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
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
from pipeline.importing.report import ImportReport, SampleBalance, ShortRecordings, Skipped, state_notes, states_of
from pipeline.importing.samples import SampleReader, Samples, read_signals
from pipeline.importing.signals import Cuts, Cutter, Piece, PlannedRow
from pipeline.intake.contract import Limits

BUFFER_BYTES: Final = 1 << 26
"""Samples that wait to be written, all signals of a file together; then they are."""

Progress = Callable[[int, int, str], None]
"""Called with the number of signal files done, the number of all, and the name of the last one done."""


def import_archive(
    manifest: Path,
    mapping: Path | str,
    landing: Path,
    *,
    root: Path | None = None,
    labels_out: Path | None = None,
    assets_out: Path | None = None,
    as_of: datetime | None = None,
    shortest: Callable[[str], int] | None = None,
    limits: Limits | None = None,
    dry_run: bool = False,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Turn an archive of signal files into contract logs, labels.csv and assets.toml.

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
    as_of : datetime, optional
        The time now; measured times more than a day later are refused. Default: nothing is refused for that.
    shortest : callable, optional
        Returns the samples of the shortest recording of a quantity that is scored, for a note about shorter ones.
    limits : Limits, optional
        A recording beyond them is refused, because it would not be taken in. Default: none is.
    dry_run : bool
        Do everything but put the files in their places.
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
    plan = plan_import(manifest, mapping, root=root, as_of=as_of, limits=limits)
    labels_path = labels_out or landing.parent / f"{plan.name}-labels.csv"
    assets_path = assets_out or landing.parent / f"{plan.name}-assets.toml"
    _check_places(landing, manifest, labels_path, assets_path, plan)
    writer = _Writer(manifest.name, shortest)
    if dry_run:
        writer.write(plan, None, on_progress)
        return _put_in_place(plan, writer, None, landing / plan.name, labels_path, assets_path)
    landing.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=landing, prefix=f".{plan.name}-", suffix=".part"))
    try:
        writer.write(plan, aside, on_progress)
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


@dataclass
class _Written:
    """What came of one signal file."""

    recordings: int = 0
    spans: list[RowSpan] = field(default_factory=list)
    keys: dict[tuple[Any, ...], str] = field(default_factory=dict)
    lengths: list[tuple[str, int]] = field(default_factory=list)
    read: list[tuple[PlannedRow, SampleReader, Cuts]] = field(default_factory=list)
    dropped: Sequence[int] = ()
    states: Counter[tuple[str, str]] = field(default_factory=Counter)


class _Writer:
    """Writes the logs of a plan into a temporary folder, one signal file at a time, and counts what it wrote."""

    def __init__(self, where: str, shortest: Callable[[str], int] | None) -> None:
        self._where = where
        self._shortest = shortest
        self._problems = Problems()
        self._keys: dict[tuple[Any, ...], str] = {}
        self.spans: list[RowSpan] = []
        self.skipped: list[Skipped] = []
        self.balance = SampleBalance()
        self.short = ShortRecordings()
        self.states: Counter[tuple[str, str]] = Counter()
        self.recordings = self.files_read = 0
        self.names_written: list[str] = []

    def write(self, plan: ImportPlan, aside: Path | None, on_progress: Progress | None) -> None:
        """Write every log (without a folder: none); ImportRefused with all problems that only the samples show."""
        self.skipped += [Skipped(file, file, "; ".join(reasons)) for file, reasons in plan.left_out.items()]
        by_file = plan.by_file()
        names = names_of([rows[0].file for rows in by_file.values()])
        for done, (name, rows) in enumerate(zip(names, by_file.values(), strict=True), 1):
            self._write_file(name, rows, aside)
            if on_progress is not None:
                on_progress(done, len(by_file), rows[0].file)
        if not self._problems and not self.recordings:
            reasons = "; ".join(dict.fromkeys(left.reason for left in self.skipped))
            self._problems.add(self._where, f"no recording is left of the selected rows: {reasons}")
        self._problems.refuse_if_any()

    def _write_file(self, name: str, rows: list[PlannedRow], aside: Path | None) -> None:
        logs = _Log(aside / f"{name}.part" if aside else None)
        try:
            written = self._convert(rows, logs)
        except SignalUnreadable as error:
            logs.close()
            if rows[0].signal.on_bad_file == "leave out":
                self.skipped.append(Skipped(rows[0].file, rows[0].file, "; ".join(error.sentences())))
            else:
                add_complaints(self._problems, self._where, rows[0].row.number, rows[0].file, error)
            return
        if logs.close():
            self.names_written.append(name)
        self.files_read += 1
        self.recordings += written.recordings
        self.spans += written.spans
        self._keys |= written.keys
        self.states += written.states
        for planned, read, cuts in written.read:
            self.balance.add(read, cuts, len(written.dropped))
            self._account(planned, cuts)
        for row in written.dropped:
            text = f"row {row}, at the end of the file, is cut off or has no line end; dropped"
            self.skipped.append(Skipped(rows[0].row.number, rows[0].file, text))
        for quantity, length in written.lengths:
            self.short.all[quantity] += 1
            if self._shortest is not None and length < self._shortest(quantity):
                self.short.short[quantity] += 1
                self.short.needed[quantity] = self._shortest(quantity)

    def _convert(self, rows: list[PlannedRow], logs: _Log) -> _Written:
        """Write the log of one file; SignalUnreadable where the file is bad."""
        written = _Written()
        cutters = [Cutter(planned) for planned in rows]

        def take(cutter: Cutter, samples: Samples) -> None:
            cutter.feed(samples)
            if sum(piece.samples.nbytes for one in cutters for piece in one.cuts.pieces) > BUFFER_BYTES:
                for planned, one in zip(rows, cutters, strict=True):
                    self._flush(planned, one.cuts, logs, written)

        opened = open_signal(rows[0].path, rows[0].file, rows[0].signal)
        wanted = [(planned.asked, partial(take, cutter)) for planned, cutter in zip(rows, cutters, strict=True)]
        for planned, cutter, read in zip(rows, cutters, read_signals(opened, wanted), strict=True):
            if isinstance(read, SignalUnreadable):
                raise read
            cutter.finish()
            self._flush(planned, cutter.cuts, logs, written)
            written.read.append((planned, read, cutter.cuts))
        written.dropped = opened.dropped
        return written

    def _flush(self, planned: PlannedRow, cuts: Cuts, logs: _Log, written: _Written) -> None:
        """Write the recordings of a signal that are ready, in order of time; check that no key comes twice."""
        pieces = sorted(cuts.pieces, key=lambda piece: piece.started_at)
        cuts.pieces.clear()
        if not pieces:
            return
        written.recordings += len(pieces)
        written.spans.append(RowSpan(planned, pieces[0].started_at, max(piece.ends_at for piece in pieces)))
        written.lengths += [(planned.fields["quantity"], len(piece.samples)) for piece in pieces]
        logs.write([_log_row(planned, piece) for piece in pieces])
        for piece in pieces:
            written.states.update(states_of(piece, planned.asked))
        for piece in pieces:
            key = (*planned.point, piece.started_at)
            other = written.keys.get(key) or self._keys.get(key)
            if other is not None:
                text = f"two recordings have the same key, the other in {other}"
                self._problems.add(self._where, f"{text} ({piece.started_at.isoformat()})", row=planned.row.number)
            written.keys[key] = planned.row.name

    def _account(self, planned: PlannedRow, cuts: Cuts) -> None:
        """Record what was left out of a signal."""
        row, reasons = planned.row.number, []
        if cuts.missing:
            reasons.append(f"{cuts.missing} of {planned.n_source} samples are missing; cut there")
        if cuts.gaps:
            reasons.append(f"{cuts.gaps} gaps in the times; cut there, the longest piece has {cuts.longest} samples")
        if cuts.short:
            reasons.append(f"{cuts.short} pieces shorter than {planned.min_samples} samples")
        prefix = f"{planned.asked.name}: " if planned.is_one_of_many else ""
        self.skipped += [Skipped(row, planned.file, prefix + reason) for reason in reasons]


class _Log:
    """A log file that is made when its first recordings come; without a target nothing is written."""

    def __init__(self, target: Path | None) -> None:
        self._target = target
        self._writer: pq.ParquetWriter | None = None
        self._has_rows = False

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Add recordings as one row group."""
        self._has_rows = True
        if self._target is None:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._target, LOG_SCHEMA, compression="zstd", use_dictionary=False)
        self._writer.write_table(pa.Table.from_pylist(rows, schema=LOG_SCHEMA))

    def close(self) -> bool:
        """End the file; return whether it has recordings."""
        if self._writer is not None:
            self._writer.close()
        return self._has_rows


def _log_row(planned: PlannedRow, piece: Piece) -> dict[str, Any]:
    row = {
        "schema_version": SCHEMA_VERSION,
        **planned.fields,
        "started_at": piece.started_at,
        "time_basis": planned.time_basis,
        "samples": piece.samples,
        **piece.regime,
    }
    if piece.speed is not None and planned.asked.speed is not None:
        row["shaft_speed_rpm"] = piece.speed.rpm
        if planned.asked.speed.use == "trace":
            row |= {"speed_trace_rpm": piece.speed.trace, "speed_trace_rate_hz": piece.speed.trace_hz}
    return row


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
    plan: ImportPlan, writer: _Writer, aside: Path | None, target: Path, labels_path: Path, assets_path: Path
) -> ImportReport:
    """Move the logs to their places and write labels and assets; without a folder of logs only count them."""
    labels = label_rows(writer.spans, plan.mapping.label)
    assets, units = assets_toml(writer.spans, plan.geometries)
    log_files = tuple(target / name for name in writer.names_written)
    written = len(log_files)
    if aside is not None:
        target.mkdir(exist_ok=True)
        written = sum(_put(aside / f"{path.name}.part", path) for path in log_files)
        _put_text(labels_path, labels_csv(labels))
        _put_text(assets_path, assets)
    return ImportReport(
        name=plan.name,
        dry_run=aside is None,
        files={
            "files_read": writer.files_read,
            "bad_files_left_out": plan.n_files - writer.files_read,
            "excluded": plan.excluded,
            "rows_not_selected": plan.unselected,
        },
        files_read=writer.files_read,
        recordings=writer.recordings,
        samples=asdict(writer.balance),
        skipped=tuple(writer.skipped),
        notes=(*plan.notes, *writer.short.notes(), *state_notes(writer.states)),
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
