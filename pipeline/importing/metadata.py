"""Check signal files before anything is written: do they exist, are they as declared, are their times right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.importing.mapping import Mapping, Process, Signal
from pipeline.importing.problems import Problems, SignalUnreadable
from pipeline.importing.samples import Asked, read_samples
from pipeline.importing.signal_files import ParquetSignals, SignalFile, open_signal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SignalInfo:
    """The file of a signal, its number of samples, and the times of its time column.

    `first_us` is the zero of the offsets, in microseconds of the time column. `lasts_s` is None without a time column.
    """

    path: Path
    n_samples: int
    started_at: datetime | None = None
    first_us: int = 0
    starts_s: float = 0.0
    lasts_s: float | None = None


def add_complaints(problems: Problems, where: str, row: int | str, file: str, error: SignalUnreadable) -> None:
    """Add complaints to the problems: those about rows of the signal file by its name, others by the manifest's row."""
    for complaint in error.complaints:
        for number in complaint.rows:
            problems.add(file, complaint.what, row=number)
        if not complaint.rows:
            problems.add(where, complaint.what, row=row)


class FileCheck:
    """Opens each signal file and checks it against the rows of the manifest. It keeps one file open at a time."""

    def __init__(self, root: Path, where: str, signal: Signal, problems: Problems) -> None:
        self._root = root.resolve()
        self._where = where
        self._signal = signal
        self._problems = problems
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

    def scalar(self, file: str | None, variable: str) -> float:
        """Return the number in a variable; KeyError where the file cannot be opened, which `check` reports."""
        try:
            opened = self.open(file or "")[1]
        except SignalUnreadable as error:
            raise KeyError(file) from error
        return opened.scalar(variable)

    def check(
        self, row: int | str, asked: Asked, *, rate_hz: float | None, n_samples: float | None
    ) -> SignalInfo | None:
        """Check one signal; None, and an entry in the problems, where it cannot be read."""
        try:
            return self._look(asked, rate_hz, n_samples)
        except SignalUnreadable as error:
            self._report(row, asked.file, error)
            return None

    def _report(self, row: int | str, file: str, error: SignalUnreadable) -> None:
        new = [
            complaint
            for complaint in error.complaints
            if not complaint.rows or (file, complaint.what) not in self._reported
        ]
        self._reported |= {(file, complaint.what) for complaint in new if complaint.rows}
        add_complaints(self._problems, self._where, row, file, SignalUnreadable(*new))

    def _look(self, asked: Asked, rate_hz: float | None, n_samples: float | None) -> SignalInfo:
        path, opened = self.open(asked.file)
        complaints: list[str] = []
        info = None
        if isinstance(opened, ParquetSignals) and asked.time is None and not asked.rules.rows:
            for key, name, numeric in asked.columns:
                complaints += opened.complaints(key, name, numeric=numeric)
            n_file = n_used = opened.n_rows
        else:
            samples = read_samples(opened, asked, rate_hz=rate_hz)
            n_file, n_used = samples.n_file, len(samples.values)
            if samples.times is not None and asked.time is not None and n_used:
                first, last = int(samples.times[0]), int(samples.times[-1])
                absolute = asked.time.is_absolute
                zero = 0 if asked.time.zero == "start" else first
                interval = 1 / rate_hz if rate_hz and rate_hz > 0 else 0.0
                info = SignalInfo(
                    path,
                    n_used,
                    EPOCH + timedelta(microseconds=first) if absolute else None,
                    zero,
                    (first - zero) / 1e6,
                    (last - first) / 1e6 + interval,
                )
        if n_samples is not None and n_samples != n_file:
            complaints.append(
                f"signal.n_samples: says {n_samples:g} samples, {asked.file!r} has {n_file}; one of them is wrong"
            )
        if n_used == 0:
            complaints.append(f"signal.file: {asked.file!r} has no samples; remove the row")
        if complaints:
            raise SignalUnreadable(*complaints)
        return info or SignalInfo(path, n_used)

    def _inside_root(self, file: str) -> Path | None:
        try:
            path = (self._root / file).resolve()
        except (OSError, ValueError):  # a NUL byte, a loop of links
            return None
        return path if path.is_relative_to(self._root) and path != self._root else None


def extra_columns(steps: tuple[Process, ...]) -> tuple[tuple[str, str, bool], ...]:
    """Return the columns that cutting needs: key in the mapping, name, and whether it has to be numbers."""
    columns = []
    for step in steps:
        if step.kind == "cut_at_changes":
            columns.append(("process.column", step.column, False))
            if step.start_s_column is not None:
                columns.append(("process.start_s_column", step.start_s_column, True))
    return tuple(columns)


def check_steps(where: str, mapping: Mapping, problems: Problems) -> None:
    """Check the order of steps: cuts that count samples of the source come before steps that change their number."""
    later: str | None = None
    for number, step in enumerate(mapping.process, 1):
        if step.kind in ("decimate", "cut_to_length"):
            later = later or f"process.{number} ({step.kind})"
        elif step.kind in ("cut_every", "cut_at_changes") and later is not None:
            problems.add(where, f"key process.{number}: {step.kind} counts source samples; move it before {later}")
