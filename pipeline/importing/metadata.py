"""Look into signal files before anything is written: are they there, are they what is declared, do the times fit."""

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
    """Where a signal is, how many samples it has, and what its time column says.

    `first_us` is the time from which offsets count, in the time column's microseconds; `lasts_s` None without one.
    """

    path: Path
    n_samples: int
    started_at: datetime | None = None
    first_us: int = 0
    starts_s: float = 0.0
    lasts_s: float | None = None


def tell(problems: Problems, where: str, row: int | str, file: str, error: SignalUnreadable) -> None:
    """Put complaints among the problems: those about rows of the signal file name it, others the manifest's row."""
    for complaint in error.complaints:
        for number in complaint.rows:
            problems.add(file, complaint.what, row=number)
        if not complaint.rows:
            problems.add(where, complaint.what, row=row)


class FileCheck:
    """Opens each signal file and judges what the rows ask of it. It holds one open file at a time."""

    def __init__(self, root: Path, where: str, signal: Signal, problems: Problems) -> None:
        self._root = root.resolve()
        self._where = where
        self._signal = signal
        self._problems = problems
        self._open: tuple[Path, SignalFile | SignalUnreadable] | None = None
        self._told: set[tuple[str, str]] = set()

    def open(self, file: str) -> tuple[Path, SignalFile]:
        """Open a file of the archive; SignalUnreadable where it cannot be."""
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
        """Give the number in a variable; KeyError where the file cannot be opened, which `check` says."""
        try:
            opened = self.open(file or "")[1]
        except SignalUnreadable as error:
            raise KeyError(file) from error
        return opened.scalar(variable)

    def check(
        self, row: int | str, asked: Asked, *, rate_hz: float | None, n_samples: float | None
    ) -> SignalInfo | None:
        """Judge one signal; None (and a problem) where it cannot be read."""
        try:
            return self._look(asked, rate_hz, n_samples)
        except SignalUnreadable as error:
            self._tell(row, asked.file, error)
            return None

    def _tell(self, row: int | str, file: str, error: SignalUnreadable) -> None:
        fresh = [one for one in error.complaints if not one.rows or (file, one.what) not in self._told]
        self._told |= {(file, one.what) for one in fresh if one.rows}
        tell(self._problems, self._where, row, file, SignalUnreadable(*fresh))

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
    """Name the columns that cutting needs: the mapping's key, the name, whether it has to be numbers."""
    wanted = []
    for step in steps:
        if step.kind == "cut_at_changes":
            wanted.append(("process.column", step.column, False))
            if step.start_s_column is not None:
                wanted.append(("process.start_s_column", step.start_s_column, True))
    return tuple(wanted)


def check_steps(where: str, mapping: Mapping, problems: Problems) -> None:
    """Seams count samples of the source file, so they are cut before anything changes the sample count."""
    later: str | None = None
    for number, step in enumerate(mapping.process, 1):
        if step.kind in ("decimate", "cut_to_length"):
            later = later or f"process.{number} ({step.kind})"
        elif step.kind in ("cut_every", "cut_at_changes") and later is not None:
            problems.add(where, f"key process.{number}: {step.kind} counts source samples; move it before {later}")
