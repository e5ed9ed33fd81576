"""Constant-speed segments of a motion cycle, found from its speed trace."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording at constant speed.

    Attributes
    ----------
    start_s, stop_s : float
        Seconds since the recording's start.
    speed_rpm : float
        Mean speed, with its sign.
    """

    start_s: float
    stop_s: float
    speed_rpm: float

    @property
    def turns(self) -> float:
        """Shaft turns in the segment."""
        return (self.stop_s - self.start_s) * abs(self.speed_rpm) / 60.0


def constant_speed_segments(
    speed_rpm: NDArray[Any], rate_hz: float, *, duration_s: float, tolerance: float, min_turns: float
) -> tuple[Segment, ...]:
    """Find the longest stretches in which the speed stays within `+- tolerance` of one value.

    Parameters
    ----------
    speed_rpm : array, shape (n,)
        Speed at the times `0, 1 / rate_hz, ...`; either sign. A value that is not finite ends a stretch.
    rate_hz : float
        Values per second of the trace, above 0.
    duration_s : float
        Length of the recording; the trace is used no further, and its last value holds to the end.
    tolerance : float
        Half width as a share of the middle of the lowest and highest speed in the stretch, 0 to below 1.
    min_turns : float
        Shorter stretches are left out; above 0.

    Returns
    -------
    tuple of Segment
        By time, without overlap: the longest stretch (in turns) first of all, then the longest in what is left on
        both sides, and so on. Empty where there is none; a shaft at rest makes no turns and no segment.

    Raises
    ------
    ValueError
        The trace is not one-dimensional, or a number is out of range.

    Examples
    --------
    >>> speed = np.array([0.0, 600.0, 600.0, 600.0, 600.0, 0.0])
    >>> constant_speed_segments(speed, 1.0, duration_s=6.0, tolerance=0.01, min_turns=10.0)
    (Segment(start_s=1.0, stop_s=4.0, speed_rpm=600.0),)
    """
    if speed_rpm.ndim != 1:
        raise ValueError(f"A speed trace is a 1-D array, got {speed_rpm.ndim} dimensions.")
    if not (math.isfinite(rate_hz) and rate_hz > 0 and math.isfinite(duration_s) and duration_s >= 0):
        raise ValueError(f"Wanted rate_hz above 0 and duration_s of at least 0, got {rate_hz!r} and {duration_s!r}.")
    if not (0 <= tolerance < 1 and min_turns > 0):
        raise ValueError(f"Wanted 0 <= tolerance < 1 and min_turns above 0, got {tolerance!r} and {min_turns!r}.")
    speed = speed_rpm[: math.floor(duration_s * rate_hz) + 1].astype(np.float64)
    # For the choice of the longest, every value stands for one step of the trace.
    turns = np.concatenate(([0.0], np.cumsum(np.where(np.isfinite(speed), np.abs(speed), 0.0)) / (60.0 * rate_hz)))
    segments: list[Segment] = []
    open_parts = [(0, len(speed))]
    while open_parts:
        first, stop = open_parts.pop()
        begin, end = _longest(speed[first:stop], turns[first : stop + 1], tolerance)
        begin, end = first + begin, first + end
        segment = _segment(speed, begin, end, rate_hz, duration_s)
        if segment is not None and segment.turns >= min_turns:
            segments.append(segment)
            open_parts += [(first, begin), (end, stop)]
    return tuple(sorted(segments, key=lambda segment: segment.start_s))


def _segment(speed: NDArray[np.float64], begin: int, end: int, rate_hz: float, duration_s: float) -> Segment | None:
    # Between two values the speed is on its way from one to the other; after the last one it holds.
    stop_s = min((end - 1) / rate_hz, duration_s) if end < len(speed) else duration_s
    if end <= begin or stop_s <= begin / rate_hz:
        return None
    return Segment(begin / rate_hz, stop_s, float(speed[begin:end].mean()))


def _longest(speed: NDArray[np.float64], turns: NDArray[np.float64], tolerance: float) -> tuple[int, int]:
    """Return the stretch `begin, end` of most turns that is steady; two indices that never go back (linear time)."""
    best, best_turns = (0, 0), 0.0
    highest: deque[int] = deque()
    lowest: deque[int] = deque()
    begin = 0
    for end, value in enumerate(speed):
        if not math.isfinite(value) or value == 0:
            begin = end + 1
            highest.clear()
            lowest.clear()
            continue
        while highest and speed[highest[-1]] <= value:
            highest.pop()
        highest.append(end)
        while lowest and speed[lowest[-1]] >= value:
            lowest.pop()
        lowest.append(end)
        while not _is_steady(speed[lowest[0]], speed[highest[0]], tolerance):
            begin += 1
            if highest[0] < begin:
                highest.popleft()
            if lowest[0] < begin:
                lowest.popleft()
        if turns[end + 1] - turns[begin] > best_turns:
            best, best_turns = (begin, end + 1), float(turns[end + 1] - turns[begin])
    return best


def _is_steady(low: float, high: float, tolerance: float) -> bool:
    return bool(high - low <= tolerance * abs(high + low) * (1 + 1e-9)) and low * high > 0
