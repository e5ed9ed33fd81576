"""The time column of a signal file: the time of each sample, a check of the sampling rate, and gaps.

Pure functions of arrays. Times are 64-bit integers in microseconds, so that no float rounds them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.importing.mapping import TimeColumn
from pipeline.importing.problems import Complaint, SignalUnreadable

Times = NDArray[np.int64]
PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
OFFSET: Final = r"([Zz]|[+-][0-9]{2}:?[0-9]{2})$"
ISO: Final = r"^[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ]"
LAST_US: Final = 7_258_118_400_000_000
"""2200-01-01 in microseconds since 1970. A later time means that the declared unit is wrong."""


class TimeReader:
    """Reads a time column block by block, and collects what is wrong with it."""

    def __init__(self, declared: TimeColumn) -> None:
        self._declared = declared
        self._wrong: dict[str, list[int]] = {}
        self._last: int | None = None

    def feed(self, column: pa.Array, numbers: NDArray[np.int64]) -> Times:
        """Return the times of the next samples as declared.

        Parameters
        ----------
        column : arrow array, shape (n,)
        numbers : int array, shape (n,)
            Row of each sample in the file, for messages.

        Returns
        -------
        int64 array, shape (n,), microseconds
            Since 1970-01-01T00:00:00Z, or elapsed time; 0 where a sample has none, which `finish` refuses.
        """
        absent = np.array(column.is_null().to_numpy(zero_copy_only=False))
        if self._declared.kind == "text":
            absent |= pc.fill_null(pc.equal(column.cast(pa.string()), ""), True).to_numpy(zero_copy_only=False)
            times, problems = _parse_text(column, self._declared, absent)
        else:
            times, problems = _parse_number(column, self._declared, absent)
        if absent.any():
            problems.append(("has no time; remove the line, nothing is filled in", absent))
        for text, where in problems:
            self._add(f"time column {self._declared.column!r}: {text}", numbers[where])
        if not self._wrong and len(times):
            self._check_rise(times, numbers)
            self._last = int(times[-1])
        return times

    def _check_rise(self, times: Times, numbers: NDArray[np.int64]) -> None:
        steps = np.diff(times, prepend=times[0] - 1 if self._last is None else self._last)
        for wrong, text in (
            (steps == 0, "has the time of the row before it"),
            (steps < 0, "is earlier than the row before"),
        ):
            if wrong.any():
                self._add(f"time column: {text}; times have to rise, sort or correct them", numbers[wrong])

    def _add(self, what: str, rows: NDArray[np.int64]) -> None:
        self._wrong.setdefault(what, []).extend(rows.tolist())

    def finish(self) -> None:
        """Raise SignalUnreadable where something is wrong."""
        if self._wrong:
            raise SignalUnreadable(*(Complaint(what, tuple(rows)) for what, rows in self._wrong.items()))


class Intervals:
    """Counts the intervals between the times of a signal, and measures its sampling rate from them."""

    def __init__(self) -> None:
        self._values: Times = np.empty(0, dtype=np.int64)
        self._counts: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.first = self.last = 0
        self.n = 0

    def add(self, times: Times) -> None:
        """Add the next times of the signal, microseconds, rising."""
        if not len(times):
            return
        if not self.n:
            self.first = self.last = int(times[0])
        steps = np.diff(times, prepend=self.last)[0 if self.n else 1 :]
        values, counts = np.unique(np.concatenate([self._values, steps]), return_inverse=True)
        self._counts = np.bincount(
            counts, weights=np.concatenate([self._counts, np.ones(len(steps))]), minlength=len(values)
        ).astype(np.int64)
        self._values = values
        self.last = int(times[-1])
        self.n += len(times)

    @property
    def median_us(self) -> float | None:
        """The median interval; None with fewer than two times."""
        if self.n < 2:
            return None
        total = np.cumsum(self._counts)
        low, high = np.searchsorted(total, [(total[-1] + 1) // 2, total[-1] // 2 + 1])
        return float(self._values[low] + self._values[high]) / 2

    def check_rate(self, rate_hz: float, declared: TimeColumn, file: str) -> None:
        """Refuse a declared rate that contradicts the median interval of the times, with SignalUnreadable."""
        if self.median_us is None or rate_hz <= 0:
            return
        interval = self.median_us / 1e6
        if abs(interval * rate_hz - 1) > declared.rate_tolerance:
            raise SignalUnreadable(
                f"recording.sampling_rate_hz: {rate_hz:g} Hz is declared, the times of {file!r} say {1 / interval:.6g} "
                f"Hz (median interval {interval:g} s); correct the rate, or raise signal.time.rate_tolerance"
            )


def _parse_text(
    column: pa.Array, declared: TimeColumn, absent: NDArray[np.bool_]
) -> tuple[Times, list[tuple[str, Any]]]:
    text = column.cast(pa.string())
    has_offset = pc.fill_null(pc.match_substring_regex(text, OFFSET), False).to_numpy(zero_copy_only=False)
    plain = np.ones(len(text), dtype=bool)
    if declared.format is None:
        plain = pc.fill_null(pc.match_substring_regex(text, ISO), True).to_numpy(zero_copy_only=False)
    elif "%z" not in declared.format:
        has_offset = np.zeros(len(text), dtype=bool)
    else:
        has_offset = np.ones(len(text), dtype=bool)
    problems: list[tuple[str, Any]] = []
    no_zone = ~has_offset & ~absent & plain & (declared.zone is None)
    if no_zone.any():
        problems.append(("time has no offset from UTC; declare signal.time.zone", no_zone))
    readable = plain & ~absent & ~no_zone
    series = pd.Series(text.to_pandas()).where(readable)
    times = np.zeros(len(text), dtype=np.int64)
    wrong = ~plain & ~absent
    for mask, zone in ((readable & has_offset, None), (readable & ~has_offset, declared.zone)):
        if not mask.any():
            continue
        try:
            parsed = pd.to_datetime(
                series[mask], format=declared.format or "ISO8601", errors="coerce", utc=zone is None
            )
        except ValueError as error:
            problems.append((f"time cannot be read with signal.time.format ({error})", mask))
            continue
        unread = np.zeros(len(text), dtype=bool)
        unread[mask] = parsed.isna()
        wrong |= unread
        if zone is not None:
            local = parsed.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
            twice = np.zeros(len(text), dtype=bool)
            twice[mask] = local.isna() & parsed.notna()
            if twice.any():
                problems.append((f"local time comes twice or never in {zone} (the clocks change); log in UTC", twice))
            parsed = local
        known = np.zeros(len(text), dtype=bool)
        known[mask] = parsed.notna()
        times[known] = parsed.dropna().dt.tz_convert("UTC").dt.as_unit("us").astype("int64").to_numpy()
    if wrong.any():
        expected = f"{declared.format!r}" if declared.format else "ISO 8601, such as 2026-05-01T06:00:00Z"
        first = column[int(np.flatnonzero(wrong)[0])].as_py()
        problems.append((f"time {first!r:.40} is not {expected}; declare signal.time.format or correct it", wrong))
    return times, problems


def _parse_number(
    column: pa.Array, declared: TimeColumn, absent: NDArray[np.bool_]
) -> tuple[Times, list[tuple[str, Any]]]:
    per_second = PER_SECOND[declared.unit or "s"]
    limit = LAST_US if declared.is_absolute else LAST_US // 2
    if pa.types.is_integer(column.type):
        whole = pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.int64)
        most = min(limit // 1_000_000 * per_second, np.iinfo(np.int64).max)
        wrong = (whole > most) | (whole < (0 if declared.is_absolute else -most))
        whole = np.where(wrong, 0, whole)
        times = whole * (1_000_000 // per_second) if per_second <= 1_000_000 else whole // (per_second // 1_000_000)
    else:
        seconds = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False) / per_second
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(seconds) * 1e6 <= limit) | ((seconds < 0) & declared.is_absolute)
        wrong &= ~absent
        times = np.rint(np.where(wrong | absent, 0.0, seconds) * 1e6).astype(np.int64)
    wrong &= ~absent
    if not wrong.any():
        return times, []
    return times, [
        (f"is no time in {declared.unit}: negative, not a number or after 2200; see signal.time.unit", wrong)
    ]


def is_gap(steps: NDArray[np.int64], rate_hz: float, declared: TimeColumn) -> NDArray[np.bool_]:
    """Return where a step in time (microseconds) is no interval at the declared rate; recordings are cut there."""
    cut: NDArray[np.bool_] = np.abs(steps / 1e6 * rate_hz - 1) > declared.interval_tolerance
    return cut
