"""The sampling rate that the times of a signal say, and how even its intervals are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.importing.clocks.sample_times import Times
from pipeline.importing.mapping import TimeColumn
from pipeline.importing.problems import SignalUnreadable

FEWEST: int = 8
"""With fewer intervals no rate is measured."""

MOST: float = 0.5
"""With fewer fitting intervals than this share, the times contradict a declared rate."""


@dataclass(frozen=True)
class MeasuredRate:
    """What the times say.

    `hz` is the mean rate without gaps; `shortest_s` and `longest_s` are the ends of the intervals that count as no
    gap; `jitter` is the rms of their differences from the mean, as a share of it; `step_s` is the resolution of the
    stamps.
    """

    hz: float
    shortest_s: float
    longest_s: float
    jitter: float
    step_s: float

    @property
    def is_uneven(self) -> bool:
        """Whether the intervals differ by more than the resolution of their stamps, and by more than 10 %."""
        reach = max(self.longest_s - 1 / self.hz, 1 / self.hz - self.shortest_s)
        return reach > max(0.1 / self.hz, 1.01 * self.step_s if self.step_s > 2e-6 else 0.0)


class Intervals:
    """Counts the intervals between the times of a signal. `first` and `last` are its ends, in microseconds."""

    def __init__(self) -> None:
        self._values: Times = np.empty(0, dtype=np.int64)
        self._counts: NDArray[Any] = np.empty(0)
        self.first = self.last = 0
        self.n = 0

    def add(self, times: Times) -> None:
        """Add the next times of the signal, microseconds, rising."""
        if not len(times):
            return
        if not self.n:
            self.first = self.last = int(times[0])
        steps = np.diff(times, prepend=self.last)[0 if self.n else 1 :]
        values, places = np.unique(np.concatenate([self._values, steps]), return_inverse=True)
        weights = np.concatenate([self._counts, np.ones(len(steps))])
        self._counts = np.bincount(places, weights=weights, minlength=len(values))
        self._values = values
        self.last = int(times[-1])
        self.n += len(times)

    def median_s(self) -> float | None:
        """Return the median interval; None with fewer than two times."""
        if self.n < 2:
            return None
        total = np.cumsum(self._counts)
        low, high = np.searchsorted(total, [(total[-1] + 1) // 2, total[-1] // 2 + 1])
        return float(self._values[low] + self._values[high]) / 2e6

    def count_longer(self, seconds: float) -> int:
        """Return how many intervals are longer."""
        return int(self._counts[self._values > 1e6 * seconds].sum())

    def measure(self, declared: TimeColumn, rate_hz: float | None) -> MeasuredRate | None:
        """Return the rate of the intervals that fit the declared one, or where there is none, their middle.

        None with fewer than 8 intervals, or where fewer than half of them fit the declared rate.
        """
        median = self.median_s()
        if median is None or self.n <= FEWEST:
            return None
        near = self._fitting(1e6 / rate_hz if rate_hz else median * 1e6, declared.interval_tolerance)
        if rate_hz is None and self._counts[near].sum() < 0.75 * self._counts.sum():
            # Coarse stamps make two intervals of one: 1 and 2 ms for 1.43 ms.
            few = self._values <= 3e6 * median
            middle = float(np.average(self._values[few], weights=self._counts[few]))
            near = self._fitting(middle, declared.interval_tolerance)
        values, counts = self._values[near], self._counts[near]
        if counts.sum() < MOST * self._counts.sum() or not counts.sum():
            return None
        mean = float(np.average(values, weights=counts))
        jitter = float(np.sqrt(np.average((values / mean - 1) ** 2, weights=counts)))
        step = int(np.gcd.reduce(self._values)) / 1e6
        return MeasuredRate(1e6 / mean, float(values[0]) / 1e6, float(values[-1]) / 1e6, jitter, step)

    def _fitting(self, interval_us: float, tolerance: float) -> NDArray[np.bool_]:
        fitting: NDArray[np.bool_] = np.abs(self._values / interval_us - 1) <= tolerance
        return fitting

    def check_rate(self, rate_hz: float, declared: TimeColumn, file: str) -> None:
        """Refuse a declared rate that contradicts the times, with SignalUnreadable."""
        median = self.median_s()
        if median is None or rate_hz <= 0:
            return
        measured = self.measure(declared, rate_hz)
        interval = 1 / measured.hz if measured is not None else median
        if abs(interval * rate_hz - 1) > declared.rate_tolerance:
            raise SignalUnreadable(
                f"recording.sampling_rate_hz: {rate_hz:g} Hz is declared, the times of {file!r} say {1 / interval:.6g} "
                f"Hz (median interval {median:g} s); correct the rate, declare from_times, or raise "
                "signal.time.rate_tolerance"
            )
