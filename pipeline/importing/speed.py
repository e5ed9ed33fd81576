"""The speed of the monitored shaft, from a column of the signal file: its mean in a recording, or a trace of it.

An encoder's counts are unwrapped. A tacho's pulses are the rising crossings of a threshold, placed by linear
interpolation; between two of them the shaft turns evenly. Both say the angle, and the speed is how far it comes in a
step of the trace, so that the trace turns the shaft as far as it turned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.importing.mapping import SpeedColumn

Vector = NDArray[np.float64]

TRACE_HZ: Final = 250.0
"""Rate of a trace at most: robot axes speed up within tenths of a second."""

MOVES: Final = 0.02
"""A speed that leaves its mean by a larger share is not steady: a bearing's line is searched within 2 %."""

TO_RPM: Final = {"rpm": 1.0, "rad/s": 30 / math.pi, "deg/s": 1 / 6, "Hz": 60.0}


@dataclass(frozen=True)
class ShaftSpeed:
    """The speed in a recording.

    `rpm` is the size of its mean, `trace` the values at the times 0, 1 / `trace_hz`, ... (with its sign). `moves` says
    that it leaves the mean by more than 2 %.
    """

    rpm: float
    trace: NDArray[np.float32]
    trace_hz: float
    moves: bool


def shaft_speed(values: Vector, rate_hz: float, declared: SpeedColumn) -> ShaftSpeed | None:
    """Return the speed over some samples of its column.

    Parameters
    ----------
    values : float array, shape (n,)
        As the file has them; NaN where there is none.
    rate_hz : float
        Sampling rate of the file, above 0.
    declared : SpeedColumn

    Returns
    -------
    ShaftSpeed or None
        None where nothing can be said: no value, or fewer than two pulses.
    """
    step = max(1, math.ceil(rate_hz / TRACE_HZ))
    if declared.unit in TO_RPM:
        centres, speed = _means(values, step)
        speed = speed * TO_RPM[declared.unit]
    else:
        at, turns = _pulses(values, declared) if declared.unit == "pulses" else _counts(values, declared)
        if len(at) < 2:
            return None
        edges = np.concatenate([at[:1], np.arange(math.ceil(at[0]), at[-1], step), at[-1:]])
        edges = edges[np.diff(edges, prepend=-np.inf) > 0]
        centres = (edges[1:] + edges[:-1]) / 2
        speed = np.diff(np.interp(edges, at, turns)) / np.diff(edges) * rate_hz * 60
    known = np.isfinite(speed)
    if not known.any():
        return None
    speed, centres = speed[known] * declared.ratio, centres[known]
    times = np.arange(0, len(values), step)
    trace = np.interp(times, centres, speed)
    mean = float(np.mean(trace))
    moves = bool(np.max(np.abs(trace - mean)) > MOVES * abs(mean))
    return ShaftSpeed(abs(mean), trace.astype(np.float32), rate_hz / step, moves)


def _means(values: Vector, step: int) -> tuple[Vector, Vector]:
    """Return the middles (samples) and the means of parts of `step` samples; NaN where a part has no value."""
    begins = np.arange(0, len(values), step)
    known = np.isfinite(values)
    counts = np.add.reduceat(known.astype(np.float64), begins)
    sums = np.add.reduceat(np.where(known, values, 0.0), begins)
    ends = np.minimum(begins + step, len(values))
    with np.errstate(invalid="ignore"):
        return (begins + ends - 1) / 2, np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _counts(values: Vector, declared: SpeedColumn) -> tuple[Vector, Vector]:
    """Return samples and turns of an encoder since the first."""
    at = np.flatnonzero(np.isfinite(values))
    counts = values[at]
    if declared.wraps_at is not None:
        counts = np.unwrap(counts, period=declared.wraps_at)
    return at.astype(np.float64), counts / (declared.per_turn or 1.0)


def _pulses(values: Vector, declared: SpeedColumn) -> tuple[Vector, Vector]:
    """Return times (samples) and turns of the rising crossings of the threshold."""
    level = declared.threshold or 0.0
    with np.errstate(invalid="ignore"):
        rising = np.flatnonzero((values[:-1] < level) & (values[1:] >= level))
    at = rising + (level - values[rising]) / (values[rising + 1] - values[rising])
    return at, np.arange(len(at)) / (declared.per_turn or 1.0)
