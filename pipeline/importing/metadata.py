"""Check signal files before anything is written: do they exist, are they as declared, are their times right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from pipeline.importing.clocks.measured_rate import Intervals, MeasuredRate
from pipeline.importing.clocks.sample_times import EPOCH
from pipeline.importing.formats import open_signal
from pipeline.importing.formats.interface import ReadColumn, SignalFile
from pipeline.importing.mapping import ROW_FORMATS, Mapping, Process, Signal
from pipeline.importing.problems import Problems, SignalUnreadable
from pipeline.importing.samples import Asked, SampleReader, Samples, read_signals

WIDE: Final = 64
"""A file with fewer columns is not taken for one with a recording a row."""


@dataclass(frozen=True)
class SignalInfo:
    """The file of a signal, its number of samples, and the times of its time column.

    `first_us` is the zero of the offsets, in microseconds of the time column. `lasts_s` is None without a time column.
    `rate_hz` is the declared rate, or the measured one where the mapping takes it from the times.
    """

    path: Path
    n_samples: int
    started_at: datetime | None = None
    first_us: int = 0
    starts_s: float = 0.0
    lasts_s: float | None = None
    rate_hz: float | None = None
    measured: MeasuredRate | None = None


def add_complaints(problems: Problems, where: str, row: int | str, file: str, error: SignalUnreadable) -> None:
    """Add complaints to the problems: those about rows of the signal file by its name, others by the manifest's row."""
    for complaint in error.complaints:
        for number in complaint.rows:
            problems.add(file, complaint.what, row=number)
        if not complaint.rows:
            problems.add(where, complaint.what, row=row)


@dataclass(frozen=True)
class SignalCheck:
    """A signal to check: its row of the manifest, what to read, and what the mapping and the manifest declare."""

    row: int | str
    asked: Asked
    rate_hz: float | Literal["from_times"] | None
    n_samples: float | None


class FileCheck:
    """Opens each signal file and checks it against the rows of the manifest. It keeps one file open at a time."""

    def __init__(self, root: Path, where: str, signal: Signal, problems: Problems) -> None:
        self._root = root.resolve()
        self._where = where
        self._signal = signal
        self._problems = problems
        self.left_out: dict[str, list[str]] = {}
        self.hints: list[str] = []
        self._open: tuple[Path, SignalFile | SignalUnreadable] | None = None
        self._reported: set[tuple[str, str]] = set()

    def open(self, file: str) -> tuple[Path, SignalFile]:
        """Open a file of the archive and return it with its path; SignalUnreadable where it cannot be opened."""
        path = self._inside_root(file)
        if path is None:
            raise SignalUnreadable(f"signal.file: {file!r} leaves the root folder; name a file below it")
        if self._open is None or self._open[0] != path:
            try:
                self._open = path, open_signal(path, file, self._signal)
            except SignalUnreadable as error:
                self._open = path, error
        opened = self._open[1]
        if isinstance(opened, SignalUnreadable):
            raise opened
        return path, opened

    def value(self, file: str | None, variable: str) -> float | str:
        """Return what a variable of a file says; KeyError where the file cannot be opened, which `check` reports.

        SignalUnreadable where there is no such variable; KeyError where the file is left out because of that.
        """
        try:
            opened = self.open(file or "")[1]
        except SignalUnreadable as error:
            raise KeyError(file) from error
        try:
            return opened.value(variable)
        except SignalUnreadable as error:
            if self._leaves_out:
                self._leave_out(file or "", error)
                raise KeyError(file) from error
            raise

    @property
    def _leaves_out(self) -> bool:
        return self._signal.on_bad_file == "leave out"

    def _leave_out(self, file: str, error: SignalUnreadable) -> None:
        reasons = self.left_out.setdefault(file, [])
        reasons += [text for text in error.sentences() if text not in reasons]

    def check(self, file: str, signals: Sequence[SignalCheck]) -> list[SignalInfo | None]:
        """Check the signals of one file; None, and an entry in the problems, where one cannot be read."""
        try:
            path, opened = self.open(file)
        except SignalUnreadable as error:
            for signal in signals:
                self._report(signal.row, file, error)
            return [None] * len(signals)
        found: dict[int, SignalInfo | SignalUnreadable] = {}
        reading: list[tuple[int, Intervals]] = []
        for at, signal in enumerate(signals):
            asked = signal.asked
            try:
                length = None if asked.time or asked.rules.rows or asked.every else opened.n_rows(asked.columns)
                if length is None:
                    reading.append((at, Intervals()))
                else:
                    found[at] = _info(path, signal, SampleReader(asked, length), None)
            except SignalUnreadable as error:
                found[at] = error
        wanted = [(signals[at].asked, _only_times(intervals)) for at, intervals in reading]
        for (at, intervals), read in zip(reading, read_signals(opened, wanted) if wanted else [], strict=True):
            try:
                if isinstance(read, SignalUnreadable):
                    raise read
                found[at] = _info(path, signals[at], read, intervals)
            except SignalUnreadable as error:
                found[at] = error
        self._hint(opened, [info for info in found.values() if isinstance(info, SignalInfo)], file)
        infos: list[SignalInfo | None] = []
        for at, signal in enumerate(signals):
            info = found[at]
            if isinstance(info, SignalUnreadable):
                self._report(signal.row, file, info)
            infos.append(None if isinstance(info, SignalUnreadable) else info)
        return infos

    def _hint(self, opened: SignalFile, infos: Sequence[SignalInfo], file: str) -> None:
        """Ask once whether each row is a recording, where a file is far wider than long."""
        signal = self._signal
        wide = signal.format in ROW_FORMATS and signal.layout == "column" and len(opened.names) >= WIDE
        if wide and infos and not self.hints and max(info.n_samples for info in infos) * 2 < len(opened.names):
            shape = f"{infos[0].n_samples} rows and {len(opened.names)} columns"
            self.hints.append(f'{file!r} has {shape}: is each row a recording? Then signal.layout = "row"')

    def _report(self, row: int | str, file: str, error: SignalUnreadable) -> None:
        if self._leaves_out:
            self._leave_out(file, error)
            return
        new = [
            complaint
            for complaint in error.complaints
            if not complaint.rows or (file, complaint.what) not in self._reported
        ]
        self._reported |= {(file, complaint.what) for complaint in new if complaint.rows}
        add_complaints(self._problems, self._where, row, file, SignalUnreadable(*new))

    def _inside_root(self, file: str) -> Path | None:
        try:
            path = (self._root / file).resolve()
        except (OSError, ValueError):  # a NUL byte, a loop of links
            return None
        return path if path.is_relative_to(self._root) and path != self._root else None


def _only_times(intervals: Intervals) -> Callable[[Samples], None]:
    def take(samples: Samples) -> None:
        if samples.times is not None:
            intervals.add(samples.times if samples.begins is None else samples.times[samples.begins])

    return take


def _info(path: Path, signal: SignalCheck, read: SampleReader, intervals: Intervals | None) -> SignalInfo:
    """Return what a signal's file and times say; SignalUnreadable where that is not what was declared."""
    asked, rate_hz = signal.asked, signal.rate_hz
    complaints: list[str] = []
    if signal.n_samples is not None and signal.n_samples != read.n_file:
        says = f"signal.n_samples: says {signal.n_samples:g} samples, {asked.file!r} has {read.n_file}"
        complaints.append(f"{says}; one of them is wrong")
    if read.n_used == 0:
        complaints.append(f"signal.file: {asked.file!r} has no samples; remove the row")
    if complaints:
        raise SignalUnreadable(*complaints)
    if asked.time is None or intervals is None:
        return SignalInfo(path, read.n_used, rate_hz=rate_hz if rate_hz != "from_times" else None)
    first, last = intervals.first, intervals.last
    measured = None if asked.by_row else intervals.measure(asked.time, None if rate_hz == "from_times" else rate_hz)
    if rate_hz == "from_times":
        if measured is None:
            raise SignalUnreadable(f"recording.sampling_rate_hz: {asked.file!r} has too few even intervals to measure")
        rate_hz = float(f"{measured.hz:.6g}")
    elif rate_hz is not None and not asked.by_row:
        intervals.check_rate(rate_hz, asked.time, asked.file)
    n_last = read.n_used // max(1, intervals.n) if asked.by_row else 1
    zero = 0 if asked.time.zero == "start" else first
    if asked.every is not None and asked.time.zero != "start" and read.first_us is not None:
        zero = read.first_us  # the first row of the file, which need not have a reading
    return SignalInfo(
        path,
        read.n_used,
        EPOCH + timedelta(microseconds=first) if asked.time.is_absolute else None,
        zero,
        (first - zero) / 1e6,
        (last - first) / 1e6 + (n_last / rate_hz if rate_hz and rate_hz > 0 else 0.0),
        rate_hz,
        measured,
    )


def extra_columns(steps: tuple[Process, ...]) -> tuple[ReadColumn, ...]:
    """Return the columns that cutting needs."""
    columns = []
    for step in steps:
        if step.kind == "cut_at_changes":
            columns.append(ReadColumn("process.column", step.column, False))
            if step.start_s_column is not None:
                columns.append(ReadColumn("process.start_s_column", step.start_s_column, True))
    return tuple(columns)


def check_steps(where: str, mapping: Mapping, problems: Problems) -> None:
    """Check the order of steps: cuts that count samples of the source come before steps that change their number."""
    later: str | None = None
    for number, step in enumerate(mapping.process, 1):
        if step.kind == "resample" and later is not None:
            problems.add(
                where, f"key process.{number}: resample needs the times of the samples; move it before {later}"
            )
        if step.kind in ("resample", "decimate", "cut_to_length"):
            later = later or f"process.{number} ({step.kind})"
        elif step.kind in ("cut_every", "cut_at_changes") and later is not None:
            problems.add(where, f"key process.{number}: {step.kind} counts source samples; move it before {later}")
