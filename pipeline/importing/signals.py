"""Read a signal, cut it into recordings at missing values and at declared places, decimate and scale it as declared.

Missing values are never filled in. Decimation follows Oppenheim and Schafer, Discrete-Time Signal Processing (3rd ed.),
section 4.6: a linear-phase FIR low-pass (Kaiser window, section 7.6), centred, so without delay, then every M-th
sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.signal import firwin, kaiserord, upfirdn

from pipeline.importing.beside import Beside
from pipeline.importing.clocks.measured_rate import MeasuredRate
from pipeline.importing.clocks.resample import EDGE, resample
from pipeline.importing.clocks.sample_times import Times, is_gap
from pipeline.importing.formats import open_signal
from pipeline.importing.manifest import ManifestRow
from pipeline.importing.mapping import (
    CutAtChanges,
    CutEvery,
    CutToLength,
    Decimate,
    LabelValue,
    Process,
    Resample,
    Scale,
    Signal,
)
from pipeline.importing.problems import SignalUnreadable
from pipeline.importing.samples import Asked, Samples, read_signals
from pipeline.importing.speed import ShaftSpeed

PASSBAND: Final = 0.9
"""Decimation keeps frequencies below this share of the new Nyquist frequency (within 0.001 dB)."""

STOPBAND_DB: Final = 80.0
"""From the new Nyquist frequency up, decimation attenuates by at least this much, so nothing folds back."""


@dataclass(frozen=True)
class PlannedRow:
    """One checked signal of a manifest row: what will be read, and the values of all its recordings."""

    row: ManifestRow
    file: str
    path: Path
    signal: Signal
    asked: Asked
    is_one_of_many: bool
    fields: dict[str, Any]
    declared_unit: str
    source_rate_hz: float
    n_source: int
    first_us: int
    lasts_s: float
    measured: MeasuredRate | None
    steps: tuple[Process, ...]
    min_samples: int
    most_samples: int | None
    started_at: datetime
    time_basis: str
    label_text: str | None
    label: LabelValue | None
    note: str
    geometry: str | None
    installed_at: datetime | None

    @property
    def point(self) -> tuple[str, str, str, str, str]:
        """The measurement point: site, cell, robot_id, axis, channel."""
        return (*self.axis, self.fields["channel"])

    @property
    def axis(self) -> tuple[str, str, str, str]:
        """The robot axis: site, cell, robot_id, axis."""
        fields = self.fields
        return (fields["site"], fields["cell"], fields["robot_id"], fields["axis"])

    @property
    def ends_at(self) -> datetime:
        """End of the signal: from its time column, else as one burst at the sampling rate of the source."""
        return self.started_at + timedelta(seconds=self.lasts_s)

    @property
    def is_one_burst(self) -> bool:
        """False where the parts of the file have start times of their own."""
        start_settings = (getattr(step, name, None) for step in self.steps for name in ("start_s_column", "spacing_s"))
        return all(value is None for value in start_settings)


@dataclass(frozen=True)
class Piece:
    """One recording cut from a signal.

    Attributes
    ----------
    samples : float array
        In the unit that the row declares.
    started_at : datetime
        UTC, of the first sample.
    ends_at : datetime
        One sampling interval after the last sample.
    offset_s : float
        Of its start from that of the signal.
    speed : ShaftSpeed or None
        From the speed column.
    regime : dict
        From other columns of the file, by the contract's column: the mean of a number, or the one program; None where
        there is no value, or several programs.
    n_programs : int
        Programs in the recording, where the file names them.
    """

    samples: NDArray[np.float32]
    started_at: datetime
    ends_at: datetime
    offset_s: float
    speed: ShaftSpeed | None = None
    regime: dict[str, Any] = field(default_factory=dict)
    n_programs: int = 0


@dataclass
class Cuts:
    """The recordings of a signal so far, and what was cut; all counts are samples of the source unless they say else.

    Attributes
    ----------
    pieces : list of Piece
        In the order of the file.
    taken : int
        In pieces.
    missing : int
    short, short_samples : int
        Pieces with fewer samples than `min_samples`, and their samples.
    edges : int
        Used up by a filter at the ends of pieces.
    gaps : int
        Places where the time column jumps.
    longest : int
        Samples of the longest piece, as written.
    """

    pieces: list[Piece] = field(default_factory=list)
    taken: int = 0
    missing: int = 0
    short: int = 0
    short_samples: int = 0
    edges: int = 0
    gaps: int = 0
    longest: int = 0


def read_pieces(planned: PlannedRow) -> Cuts:
    """Read the signal of one planned row and cut it.

    Parameters
    ----------
    planned : PlannedRow

    Returns
    -------
    Cuts
        The recordings in order of time, and what was cut.

    Raises
    ------
    SignalUnreadable
        The file is damaged, a start time is missing, or a value does not fit into float32.
    """
    cutter = Cutter(planned)
    opened = open_signal(planned.path, planned.file, planned.signal)
    (read,) = read_signals(opened, [(planned.asked, cutter.feed)])
    if isinstance(read, SignalUnreadable):
        raise read
    cutter.finish()
    cutter.cuts.pieces.sort(key=lambda piece: piece.started_at)
    return cutter.cuts


def decimate(samples: NDArray[np.float64], factor: int) -> tuple[NDArray[np.float64], int]:
    """Low-pass and keep every `factor`-th sample, without delay.

    Parameters
    ----------
    samples : float array, shape (n,)
    factor : int
        At least 2.

    Returns
    -------
    decimated : float array
        Only samples for which the whole filter lies on the signal: edges are not filled in. Empty if there are none.
    first : int
        Index in `samples` of the first sample kept.

    Notes
    -----
    Passband up to 0.9 of the new Nyquist frequency, -6 dB at 0.95, at least 80 dB down from the new Nyquist on.
    """
    kernel, half = _filter(factor)
    if len(samples) <= 2 * half:
        return np.empty(0), half
    kept = (len(samples) - 1 - 2 * half) // factor + 1
    filtered = np.asarray(upfirdn(kernel, samples, up=1, down=factor), dtype=np.float64)
    begin = 2 * half // factor
    return filtered[begin : begin + kept], half


@cache
def _filter(factor: int) -> tuple[NDArray[np.float64], int]:
    taps, beta = kaiserord(STOPBAND_DB, (1 - PASSBAND) / factor)
    half = factor * -(-int(taps) // (2 * factor))
    return firwin(2 * half + 1, (1 + PASSBAND) / 2 / factor, window=("kaiser", beta)), half


class Cutter:
    """Cuts the samples of one signal into recordings while they come; `cuts` has what is ready.

    It cuts at declared places, at gaps in time and around missing values. All indices count samples of the source.
    """

    def __init__(self, planned: PlannedRow) -> None:
        self.cuts = Cuts()
        self._planned = planned
        self._rate = planned.source_rate_hz
        self._cut_steps = [step for step in planned.steps if step.kind in ("cut_every", "cut_at_changes")]
        says_when = [step for step in self._cut_steps if step.spacing_s or getattr(step, "start_s_column", None)]
        self._starts = says_when[-1] if says_when else None
        self._later = tuple(step for step in planned.steps if step not in self._cut_steps)
        self._n = 0
        self._was_usable = False
        self._before: dict[str, pa.Array] = {}
        self._time_before: int | None = None
        self._origin, self._origin_s, self._seams = 0, 0.0, 0
        self._open: _Sink | None = None
        self._beside = Beside(planned.asked, planned.source_rate_hz)
        self._beside_s = 0.0

    def feed(self, samples: Samples) -> None:
        """Take the next samples of the signal."""
        n, usable = len(samples.values), samples.usable
        if not n:
            return
        self.cuts.missing += int(np.count_nonzero(~usable))
        cut = np.diff(usable, prepend=self._was_usable)
        origins: dict[int, float] = {}
        for step in self._cut_steps:
            seams = self._seams_of(step, samples)
            cut[seams] = True
            if step is self._starts:
                origins = self._origins_of(step, samples, seams)
        if samples.begins is not None:
            cut |= samples.begins
            row_spacing_s = self._planned.signal.row_spacing_s
            if row_spacing_s is not None:
                places = np.flatnonzero(samples.begins).tolist()
                origins = {at: number * row_spacing_s for number, at in enumerate(places, self._seams)}
                self._seams += len(places)
        elif samples.times is not None and self._planned.signal.time is not None:
            before = samples.times[0] if self._time_before is None else self._time_before
            gap = is_gap(np.diff(samples.times, prepend=before), self._rate, self._planned.signal.time)
            gap[0] &= self._time_before is not None
            cut |= gap
            self.cuts.gaps += int(np.count_nonzero(gap))
            self._time_before = int(samples.times[-1])
        bounds = [0, *np.flatnonzero(cut[1:]) + 1, n]
        for low, high in pairwise(bounds):
            if low in origins:
                self._origin, self._origin_s = self._n + low, origins[low]
            if not usable[low] or cut[low]:
                self._close()
            if usable[low]:
                if self._open is None:
                    self._open, self._beside_s = self._begin(low, samples)
                    self._beside.clear()
                self._beside.push(samples, low, high)
                at = None if samples.times is None else samples.times[low:high]
                known = len(self.cuts.pieces)
                self._open.push(samples.values[low:high], at)
                self._describe(known)
        self._was_usable = bool(usable[-1])
        self._n += n

    def finish(self) -> None:
        """End the last recording."""
        self._close()

    def _close(self) -> None:
        if self._open is not None:
            known = len(self.cuts.pieces)
            self._open.close()
            self._open = None
            self._describe(known)

    def _describe(self, known: int) -> None:
        """Give the pieces from number `known` on their speed and regime, and forget what stood beside them."""
        pieces = self.cuts.pieces
        if self._beside.is_empty or known == len(pieces):
            return
        for at in range(known, len(pieces)):
            piece = pieces[at]
            first = max(0, round((piece.offset_s - self._beside_s) * self._rate))
            n = max(1, round((piece.ends_at - piece.started_at).total_seconds() * self._rate))
            pieces[at] = replace(piece, **self._beside.describe(first, first + n))
            used = first + n
        self._beside.forget(used)
        self._beside_s += used / self._rate

    def _seams_of(self, step: CutEvery | CutAtChanges, samples: Samples) -> NDArray[np.int64]:
        if step.kind == "cut_every":
            every = self._planned.asked.every
            length = step.samples // every if isinstance(every, int) else step.samples
            first = -self._n % length
            return np.arange(first or (0 if self._n else length), len(samples.values), length)
        column = samples.columns[step.column]
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        before = self._before.get(step.column)
        self._before[step.column] = column[-1:]
        return _changes(column if before is None else pa.concat_arrays([before, column])) - (before is not None)

    def _origins_of(
        self, step: CutEvery | CutAtChanges, samples: Samples, seams: NDArray[np.int64]
    ) -> dict[int, float]:
        """Return the seams after which a step says when a recording starts, and that time, seconds."""
        places = seams.tolist() if self._n else [0, *seams.tolist()]
        if step.kind == "cut_at_changes" and step.start_s_column is not None:
            starts = samples.numbers(step.start_s_column)
            return {at: float(starts[at]) for at in places}
        first = self._seams
        self._seams += len(places)
        return {at: number * float(step.spacing_s or 0) for number, at in enumerate(places, first)}

    def _begin(self, low: int, samples: Samples) -> tuple[_Sink, float]:
        planned = self._planned
        if samples.times is not None:
            offset = float((int(samples.times[low]) - planned.first_us) / 1e6)
            if samples.begins is not None:
                offset += (low - int(np.flatnonzero(samples.begins[: low + 1])[-1])) / self._rate
        else:
            offset = self._origin_s + (self._n + low - self._origin) / self._rate
        if not np.isfinite(offset):
            raise SignalUnreadable(
                f"process.start_s_column: no start time at sample {self._origin} of {planned.file!r}"
            )
        return _chain(planned, self.cuts, self._later, offset, self._rate, 1), offset


def _changes(column: pa.Array) -> NDArray[np.int64]:
    """Return the indices at which a column differs from the sample before; a null is a value of its own."""
    codes = column.dictionary_encode().indices
    return np.flatnonzero(np.diff(codes.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64))) + 1


class _Sink(Protocol):
    """Takes the samples of a stretch without seams, in parts."""

    def push(self, samples: NDArray[np.float64], at: Times | None = None) -> None:
        """Take the next samples, with their times where they are as they were measured."""

    def close(self) -> None:
        """End the stretch."""


def _chain(
    planned: PlannedRow, cuts: Cuts, steps: tuple[Process, ...], offset_s: float, rate_hz: float, worth: int
) -> _Sink:
    """Return what takes a stretch that starts at an offset; one of its samples stands for `worth` of the source."""
    if not steps:
        return _Recording(planned, cuts, offset_s, rate_hz, worth)
    step, later = steps[0], steps[1:]
    match step:
        case Scale():
            return _Scaled(step.factor, step.offset, _chain(planned, cuts, later, offset_s, rate_hz, worth))
        case Resample():
            kept = _chain(planned, cuts, later, offset_s + EDGE / rate_hz, rate_hz, worth)
            return _Resampled(rate_hz, kept, cuts)
        case Decimate():
            half = _filter(step.factor)[1]
            kept = _chain(planned, cuts, later, offset_s + half / rate_hz, rate_hz / step.factor, worth * step.factor)
            return _Decimated(step.factor, kept, cuts, worth)
        case CutToLength():
            length = max(1, int(step.seconds * rate_hz + 1e-9))
            return _CutToLength(
                length, lambda at: _chain(planned, cuts, later, offset_s + at / rate_hz, rate_hz, worth)
            )
    raise AssertionError(f"{step.kind} cuts before stretches are made")


class _Recording:
    """The end of a chain: makes one recording of a stretch, or counts it as too short."""

    def __init__(self, planned: PlannedRow, cuts: Cuts, offset_s: float, rate_hz: float, worth: int) -> None:
        self._planned, self._cuts = planned, cuts
        self._offset_s, self._rate_hz, self._worth = offset_s, rate_hz, worth
        self._parts: list[NDArray[np.float32]] = []
        self._n = 0

    def push(self, samples: NDArray[np.float64], at: Times | None = None) -> None:
        with np.errstate(over="ignore"):
            part = samples.astype(np.float32)
        if not np.isfinite(part).all():
            column = self._planned.asked.column
            raise SignalUnreadable(f"signal.column: a value of {column!r} does not fit 32-bit floats")
        self._parts.append(part)
        self._n += len(part)
        most = self._planned.most_samples
        if most is not None and self._n > most:
            what = f"a recording of {self._planned.asked.name} has more than {most} samples (setting max_samples)"
            raise SignalUnreadable(f'{what}; cut it, such as with process kind "cut_to_length"')

    def close(self) -> None:
        cuts, planned = self._cuts, self._planned
        samples = np.concatenate(self._parts) if self._parts else np.empty(0, np.float32)
        if len(samples) < planned.min_samples:
            cuts.short += 1
            cuts.short_samples += len(samples) * self._worth
            return
        started_at = planned.started_at + timedelta(microseconds=round(self._offset_s * 1e6))
        seconds = len(samples) / self._rate_hz
        try:
            ends_at = started_at + timedelta(microseconds=max(1, round(seconds * 1e6)))
        except OverflowError:
            what = f"at {self._rate_hz:g} Hz a recording of {planned.asked.name} ends beyond the calendar"
            raise SignalUnreadable(f"recording.sampling_rate_hz: {what}; correct it") from None
        cuts.pieces.append(Piece(samples, started_at, ends_at, self._offset_s))
        cuts.taken += len(samples) * self._worth
        cuts.longest = max(cuts.longest, len(samples))


@dataclass(frozen=True)
class _Scaled:
    factor: float
    offset: float
    then: _Sink

    def push(self, samples: NDArray[np.float64], at: Times | None = None) -> None:
        scaled = samples * self.factor
        self.then.push(scaled + self.offset if self.offset else scaled, at)

    def close(self) -> None:
        self.then.close()


class _Resampled:
    """Resamples a stretch at equal steps of its rate, when it ends."""

    def __init__(self, rate_hz: float, then: _Sink, cuts: Cuts) -> None:
        self._rate_hz, self._then, self._cuts = rate_hz, then, cuts
        self._values: list[NDArray[np.float64]] = []
        self._at: list[Times] = []

    def push(self, samples: NDArray[np.float64], at: Times | None = None) -> None:
        assert at is not None, "the order of steps is checked before: resample comes first"
        self._values.append(samples)
        self._at.append(at)

    def close(self) -> None:
        values, at = np.concatenate(self._values), np.concatenate(self._at)
        even, _ = resample(values, (at - at[0]) / 1e6 * self._rate_hz)
        # Each sample before or after the kept steps is one of the edges; jitter may make one step more or less.
        self._cuts.edges += len(values) - len(even)
        self._then.push(even)
        self._then.close()


class _Decimated:
    """Decimates a stretch; keeps the samples that the filter still needs."""

    def __init__(self, factor: int, then: _Sink, cuts: Cuts, worth: int) -> None:
        self._factor, self._then, self._cuts, self._worth = factor, then, cuts, worth
        self._kept: NDArray[np.float64] = np.empty(0)
        self._used = self._came = 0

    def push(self, samples: NDArray[np.float64], at: Times | None = None) -> None:
        self._came += len(samples)
        self._kept = np.concatenate([self._kept, samples])
        done, _ = decimate(self._kept, self._factor)
        if len(done):
            self._used += len(done) * self._factor
            self._kept = self._kept[len(done) * self._factor :]
            self._then.push(done)

    def close(self) -> None:
        self._cuts.edges += (self._came - self._used) * self._worth
        self._then.close()


class _CutToLength:
    """Cuts a stretch into stretches of at most `length` samples; `begin` makes the one that starts at a sample."""

    def __init__(self, length: int, begin: Callable[[int], _Sink]) -> None:
        self._length, self._begin = length, begin
        self._at = 0
        self._open = begin(0)

    def push(self, samples: NDArray[np.float64], at: Times | None = None) -> None:
        while len(samples):
            if self._at and self._at % self._length == 0:
                self._open.close()
                self._open = self._begin(self._at)
            part, samples = np.split(samples, [self._length - self._at % self._length])
            self._open.push(part)
            self._at += len(part)

    def close(self) -> None:
        self._open.close()
