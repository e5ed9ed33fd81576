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


def parse_times(
    column: pa.ChunkedArray, declared: TimeColumn
) -> tuple[Times, NDArray[np.bool_], list[tuple[str, Any]]]:
    """Read a time column as declared.

    Returns
    -------
    times : int64 array, microseconds
        Since 1970-01-01T00:00:00Z, or elapsed time; 0 where a sample has none.
    good : bool array
        False where a sample has no usable time.
    problems : list of (sentence, bool array)
        What is wrong, and True for the samples concerned.
    """
    absent = np.array(column.is_null().to_numpy(zero_copy_only=False))
    if declared.kind == "text":
        absent |= pc.fill_null(pc.equal(column.cast(pa.string()), ""), True).to_numpy(zero_copy_only=False)
        times, problems = _parse_text(column, declared, absent)
    else:
        times, problems = _parse_number(column, declared, absent)
    if absent.any():
        problems.append(("has no time; remove the line, nothing is filled in", absent))
    bad = np.zeros(len(column), dtype=bool)
    for _, where in problems:
        bad |= where
    return np.where(bad, 0, times), ~bad, problems


def _parse_text(
    column: pa.ChunkedArray, declared: TimeColumn, absent: NDArray[np.bool_]
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
    column: pa.ChunkedArray, declared: TimeColumn, absent: NDArray[np.bool_]
) -> tuple[Times, list[tuple[str, Any]]]:
    per_second = PER_SECOND[declared.unit or "s"]
    limit = LAST_US if declared.is_absolute else LAST_US // 2
    if pa.types.is_integer(column.type):
        whole = pc.fill_null(column, 0).to_numpy().astype(np.int64)
        most = min(limit // 1_000_000 * per_second, np.iinfo(np.int64).max)
        wrong = (whole > most) | (whole < (0 if declared.is_absolute else -most))
        whole = np.where(wrong, 0, whole)
        times = whole * (1_000_000 // per_second) if per_second <= 1_000_000 else whole // (per_second // 1_000_000)
    else:
        seconds = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy() / per_second
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


def check_rise(times: Times, numbers: Any) -> None:
    """Refuse times that do not rise; SignalUnreadable names the rows (`numbers`: the row number of each sample)."""
    steps = np.diff(times)
    for wrong, text in (
        (steps == 0, "has the time of the row before it"),
        (steps < 0, "is earlier than the row before"),
    ):
        at = np.flatnonzero(wrong) + 1
        if len(at):
            rows = tuple(numbers[index] for index in at.tolist())
            raise SignalUnreadable(Complaint(f"time column: {text}; times have to rise, sort or correct them", rows))


def check_rate(times: Times, rate_hz: float, declared: TimeColumn, file: str) -> None:
    """Refuse a declared rate that contradicts the median interval of the time column, with SignalUnreadable."""
    if len(times) < 2 or rate_hz <= 0:
        return
    interval = float(np.median(np.diff(times))) / 1e6
    if abs(interval * rate_hz - 1) > declared.rate_tolerance:
        raise SignalUnreadable(
            f"recording.sampling_rate_hz: {rate_hz:g} Hz is declared, the times of {file!r} say {1 / interval:.6g} Hz "
            f"(median interval {interval:g} s); correct the rate, or raise signal.time.rate_tolerance"
        )


def gaps(times: Times, rate_hz: float, declared: TimeColumn) -> NDArray[np.int64]:
    """Return indices of samples that do not follow the one before at the declared rate; recordings are cut there."""
    intervals = np.diff(times) / 1e6 * rate_hz
    return np.flatnonzero(np.abs(intervals - 1) > declared.interval_tolerance) + 1
