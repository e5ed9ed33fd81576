"""Read a signal, cut it into recordings at missing values and at declared places, decimate and scale it as declared.

Missing values are never filled in. Decimation follows Oppenheim and Schafer, Discrete-Time Signal Processing (3rd ed.),
section 4.6: a linear-phase FIR low-pass (Kaiser window, section 7.6), centred, so without delay, then every M-th
sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.signal import firwin, kaiserord, upfirdn

from pipeline.importing.manifest import ManifestRow
from pipeline.importing.mapping import CutToLength, Decimate, LabelValue, Process, Scale, Signal
from pipeline.importing.problems import SignalUnreadable
from pipeline.importing.sample_times import gaps
from pipeline.importing.samples import Asked, Samples, read_samples
from pipeline.importing.signal_files import SignalFile, open_signal

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
    source_rate_hz: float
    n_source: int
    first_us: int
    lasts_s: float
    steps: tuple[Process, ...]
    min_samples: int
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
    """

    samples: NDArray[np.float32]
    started_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class Cuts:
    """The recordings of a signal, its number of missing samples, and its number of pieces that were too short."""

    pieces: list[Piece]
    missing: int
    short: int


@dataclass(frozen=True)
class _EvenStretch:
    samples: NDArray[np.float64]
    offset_s: float
    rate_hz: float


def read_pieces(planned: PlannedRow, opened: SignalFile | None = None) -> Cuts:
    """Read the signal of one planned row and cut it.

    Parameters
    ----------
    planned : PlannedRow
    opened : SignalFile, optional
        The row's signal file, if it is open already.

    Returns
    -------
    Cuts
        The recordings in order of time, and the numbers of missing samples and of pieces shorter than `min_samples`.

    Raises
    ------
    SignalUnreadable
        The file is damaged, a start time is missing, or a value does not fit into float32.
    """
    opened = opened or open_signal(planned.path, planned.file, planned.signal)
    samples = read_samples(opened, planned.asked)
    stretches = _cut(planned, samples)
    for step in planned.steps:
        match step:
            case Scale():
                stretches = [replace(stretch, samples=stretch.samples * step.factor) for stretch in stretches]
            case Decimate():
                stretches = [_decimate(stretch, step.factor) for stretch in stretches]
            case CutToLength():
                stretches = [part for stretch in stretches for part in _cut_to_length(stretch, step.seconds)]
    long_enough = [stretch for stretch in stretches if len(stretch.samples) >= planned.min_samples]
    pieces = [_piece(planned, stretch) for stretch in sorted(long_enough, key=lambda stretch: stretch.offset_s)]
    return Cuts(pieces, int(np.count_nonzero(~samples.usable)), len(stretches) - len(long_enough))


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
    taps, beta = kaiserord(STOPBAND_DB, (1 - PASSBAND) / factor)
    half = factor * -(-int(taps) // (2 * factor))
    kernel = firwin(2 * half + 1, (1 + PASSBAND) / 2 / factor, window=("kaiser", beta))
    if len(samples) <= 2 * half:
        return np.empty(0), half
    kept = (len(samples) - 1 - 2 * half) // factor + 1
    filtered = np.asarray(upfirdn(kernel, samples, up=1, down=factor), dtype=np.float64)
    begin = 2 * half // factor
    return filtered[begin : begin + kept], half


def _cut(planned: PlannedRow, samples: Samples) -> list[_EvenStretch]:
    """Cut at declared places, at gaps in time and around missing values; all indices count samples of the source."""
    n, rate = len(samples.values), planned.source_rate_hz
    edges: list[NDArray[Any]] = [np.array([0, n]), np.flatnonzero(np.diff(samples.usable)) + 1]
    origins: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    origin_s: NDArray[np.float64] = np.zeros(1)
    for step in planned.steps:
        if step.kind not in ("cut_every", "cut_at_changes"):
            continue
        if step.kind == "cut_every":
            seams = np.arange(step.samples, n, step.samples)
        else:
            seams = _changes(samples.columns[step.column])
        edges.append(seams)
        if step.kind == "cut_at_changes" and step.start_s_column is not None:
            origins = np.concatenate([[0], seams])
            origin_s = samples.numbers(step.start_s_column)[origins]
        elif step.spacing_s is not None:
            origins = np.concatenate([[0], seams])
            origin_s = np.arange(len(origins), dtype=np.float64) * float(step.spacing_s)
    starts = None
    if samples.times is not None and planned.signal.time is not None:
        edges.append(gaps(samples.times, rate, planned.signal.time))
        starts = (samples.times - planned.first_us) / 1e6
    bounds = np.unique(np.concatenate(edges))
    stretches = []
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if samples.usable[low]:
            at = int(np.searchsorted(origins, low, side="right")) - 1
            offset = float(origin_s[at]) + (low - int(origins[at])) / rate if starts is None else float(starts[low])
            if not np.isfinite(offset):
                raise SignalUnreadable(
                    f"process.start_s_column: no start time at sample {int(origins[at])} of {planned.file!r}"
                )
            stretches.append(_EvenStretch(samples.values[low:high], offset, rate))
    return stretches


def _changes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the indices at which a column differs from the sample before; a null is a value of its own."""
    codes = (column if pa.types.is_dictionary(column.type) else column.dictionary_encode()).unify_dictionaries()
    indices = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in codes.chunks]
    return np.flatnonzero(np.diff(np.concatenate(indices).astype(np.int64))) + 1


def _decimate(stretch: _EvenStretch, factor: int) -> _EvenStretch:
    samples, first = decimate(stretch.samples, factor)
    return _EvenStretch(samples, stretch.offset_s + first / stretch.rate_hz, stretch.rate_hz / factor)


def _cut_to_length(stretch: _EvenStretch, seconds: float) -> list[_EvenStretch]:
    length = max(1, int(seconds * stretch.rate_hz + 1e-9))
    return [
        replace(stretch, samples=stretch.samples[low : low + length], offset_s=stretch.offset_s + low / stretch.rate_hz)
        for low in range(0, max(1, len(stretch.samples)), length)
    ]


def _piece(planned: PlannedRow, stretch: _EvenStretch) -> Piece:
    with np.errstate(over="ignore"):
        samples = stretch.samples.astype(np.float32)
    if not np.isfinite(samples).all():
        raise SignalUnreadable(f"signal.column: a value of {planned.asked.column!r} does not fit 32-bit floats")
    started_at = planned.started_at + timedelta(microseconds=round(stretch.offset_s * 1e6))
    seconds = len(samples) / stretch.rate_hz
    return Piece(samples, started_at, started_at + timedelta(microseconds=max(1, round(seconds * 1e6))))
