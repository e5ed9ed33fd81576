"""The time column of a signal file: the time of each sample as declared, block by block.

Times are 64-bit integers in microseconds, so that no float rounds them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.importing.clocks.local_clock import LocalClock
from pipeline.importing.mapping import TimeColumn
from pipeline.importing.problems import Complaint, SignalUnreadable
from pipeline.intake.contract import EARLIEST_CLOCK

Times = NDArray[np.int64]
Problem = tuple[str, NDArray[np.bool_]]
"""What is wrong, and True for the samples concerned."""

NANOSECONDS: Final = {
    "d": 86_400_000_000_000, "h": 3_600_000_000_000, "min": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000,
    "us": 1_000, "100ns": 100, "ns": 1,
}  # fmt: skip
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SINCE_US: Final = {
    "1970": 0,
    "1904": (datetime(1904, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1),
    "excel": (datetime(1899, 12, 30, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1),
    "1601": (datetime(1601, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1),
    "matlab": -719_529 * 86_400_000_000,
}
"""Zero of numbers that say when, microseconds after 1970. Excel's day 1 is 1900-01-01, and it counts a day
1900-02-29 that never was, so that later days count from 1899-12-30. MATLAB's datenum(1970, 1, 1) is 719529."""

OFFSET: Final = r"([Zz]|[+-][0-9]{2}:?[0-9]{2})$"
ISO: Final = r"^[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ]"
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
LAST_US: Final = (LATEST - EPOCH) // timedelta(microseconds=1)
"""A later time means that the declared unit is wrong."""


class TimeReader:
    """Reads a time column block by block, and collects what is wrong with it."""

    def __init__(self, declared: TimeColumn, latest: datetime | None = None) -> None:
        """Take what the mapping declares, and the time after which no sample can be."""
        self._declared = declared
        self._latest = latest
        self._wrong: dict[str, list[int]] = {}
        self._last: int | None = None
        self._clock = LocalClock(declared.zone, infer=declared.ambiguous == "infer") if declared.zone else None
        self._number: float | None = None

    def feed(self, columns: list[pa.Array], numbers: NDArray[np.int64]) -> Times:
        """Return the times of the next samples as declared.

        Parameters
        ----------
        columns : list of arrow arrays, shape (n,)
            The declared columns: the time, or the date and the time of day.
        numbers : int array, shape (n,)
            Row of each sample in the file, for messages.

        Returns
        -------
        int64 array, shape (n,), microseconds
            Since 1970-01-01T00:00:00Z, or elapsed time; 0 where a sample has none, which `finish` refuses.
        """
        column = columns[0]
        absent = np.array(column.is_null().to_numpy(zero_copy_only=False))
        if self._declared.kind == "text":
            text = column.cast(pa.string())
            for other in columns[1:]:
                absent |= other.is_null().to_numpy(zero_copy_only=False)
                text = pc.binary_join_element_wise(text, other.cast(pa.string()), " ")
            absent |= pc.fill_null(pc.equal(pc.utf8_trim_whitespace(text), ""), True).to_numpy(zero_copy_only=False)
            times, problems = self._texts(text, absent)
        else:
            times, problems = self._numbers(column, absent)
        if absent.any():
            problems.append(("has no time; remove the line, nothing is filled in", absent))
        for what, where in problems:
            self._add(f"time column {self._declared.column!r}: {what}", numbers[where])
        if not self._wrong and len(times):
            if self._declared.is_absolute:
                self._check_plausible(int(times[0]), numbers[:1])
                self._check_plausible(int(times[-1]), numbers[-1:])
            if not self._wrong:
                self._check_rise(times, numbers)
            self._last = int(times[-1])
        return times

    def _check_plausible(self, micro: int, row: NDArray[np.int64]) -> None:
        """Refuse a time before 2000 or to come, with the zeros by which a number would be plausible."""
        declared, latest = self._declared, self._latest or LATEST
        moment = EPOCH + timedelta(microseconds=micro)
        if self._wrong or EARLIEST_CLOCK <= moment <= latest:
            return
        why = "is in the future" if moment > latest else f"is before {EARLIEST_CLOCK:%Y}"
        text = "a clock that was set wrong, or counted from another zero or in another unit"
        self._add(f"time column {declared.column!r}: {moment.isoformat()} {why}: {text}{self._otherwise()}", row)

    def _otherwise(self) -> str:
        """Return how the first number would be a plausible time; '' where it is none, or would not be."""
        if self._number is None or not self._declared.is_absolute:
            return ""
        others = other_epochs(self._number, EARLIEST_CLOCK, self._latest or LATEST)
        same_unit = [text for text in others if f'"{self._declared.unit}"' in text]
        return "; in signal.time " + ", or ".join((same_unit or others)[:3]) if others else ""

    def _check_rise(self, times: Times, numbers: NDArray[np.int64]) -> None:
        steps = np.diff(times, prepend=times[0] - 1 if self._last is None else self._last)
        same = "has the time of the row before it; times have to rise, correct them, or see signal.time.repeated"
        if self._declared.repeated == "refuse" and (steps == 0).any():
            self._add(f"time column: {same}", numbers[steps == 0])
        if (steps < 0).any():
            what = "time column: is earlier than the row before; times have to rise, sort or correct them"
            self._add(what, numbers[steps < 0])

    def _add(self, what: str, rows: NDArray[np.int64]) -> None:
        self._wrong.setdefault(what, []).extend(rows.tolist())

    @property
    def is_wrong(self) -> bool:
        """Whether something was wrong so far."""
        return bool(self._wrong)

    def finish(self) -> None:
        """Raise SignalUnreadable where something is wrong."""
        if self._wrong:
            raise SignalUnreadable(*(Complaint(what, tuple(rows)) for what, rows in self._wrong.items()))

    def _texts(self, text: pa.Array, absent: NDArray[np.bool_]) -> tuple[Times, list[Problem]]:
        declared = self._declared
        plain = np.ones(len(text), dtype=bool)
        if declared.format is None:
            has_offset = pc.fill_null(pc.match_substring_regex(text, OFFSET), False).to_numpy(zero_copy_only=False)
            plain = pc.fill_null(pc.match_substring_regex(text, ISO), True).to_numpy(zero_copy_only=False)
        else:
            has_offset = np.full(len(text), "%z" in declared.format)
        problems: list[Problem] = []
        no_zone = ~has_offset & ~absent & plain & (declared.zone is None)
        if no_zone.any():
            problems.append(("time has no offset from UTC; declare signal.time.zone", no_zone))
        readable = plain & ~absent & ~no_zone
        series = pd.Series(text.to_pandas()).where(readable)
        times = np.zeros(len(text), dtype=np.int64)
        wrong = ~plain & ~absent
        for mask, is_local in ((readable & has_offset, False), (readable & ~has_offset, True)):
            if not mask.any():
                continue
            try:
                parsed = pd.to_datetime(
                    series[mask], format=declared.format or "ISO8601", errors="coerce", utc=not is_local
                )
            except ValueError as error:
                problems.append((f"time cannot be read with signal.time.format ({error})", mask))
                continue
            known = np.zeros(len(text), dtype=bool)
            known[mask] = parsed.notna()
            wrong |= mask & ~known
            instants = parsed.dropna().dt.as_unit("us").astype("int64").to_numpy()
            times[known] = self._from_local(instants, known, problems) if is_local else instants
        if wrong.any():
            expected = f"{declared.format!r}" if declared.format else "ISO 8601, such as 2026-05-01T06:00:00Z"
            first = text[int(np.flatnonzero(wrong)[0])].as_py()
            problems.append((f"time {first!r:.40} is not {expected}; declare signal.time.format or correct it", wrong))
        return times, problems

    def _from_local(self, local: Times, where: NDArray[np.bool_], problems: list[Problem]) -> Times:
        assert self._clock is not None, "a local time needs a zone, which the mapping declares"
        times, unclear = self._clock.to_utc(local)
        if unclear.any():
            bad = np.zeros(len(where), dtype=bool)
            bad[where] = unclear
            text = f"local time comes twice or never in {self._declared.zone} (the clocks change); log in UTC"
            if self._declared.ambiguous == "refuse":
                text += ', or declare signal.time.ambiguous = "infer"'
            problems.append((text, bad))
        return times

    def _numbers(self, column: pa.Array, absent: NDArray[np.bool_]) -> tuple[Times, list[Problem]]:
        declared = self._declared
        per = NANOSECONDS[declared.unit or "s"]
        zero = SINCE_US[declared.since or "1970"]
        low, high = (-zero, LAST_US - zero) if declared.is_absolute else (-(LAST_US // 2), LAST_US // 2)
        if pa.types.is_integer(column.type):
            whole = pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.int64)
            number = float(whole[0]) if len(whole) else None
            wrong = (whole > high * 1_000 // per) | (whole < -(-low * 1_000 // per))
            whole = np.where(wrong, 0, whole)
            times = whole * (per // 1_000) if per >= 1_000 else whole // (1_000 // per)
        else:
            values = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
            micro = values * (per / 1_000)
            with np.errstate(invalid="ignore"):
                wrong = ~((micro <= high) & (micro >= low))
            times = np.rint(np.where(wrong | absent, 0.0, micro)).astype(np.int64)
            number = float(values[0]) if len(values) else None
        if self._number is None:
            self._number = number
        wrong &= ~absent
        problems: list[Problem] = []
        if wrong.any():
            text = f"is no time in {declared.unit}: negative, not a number or after 2200; see signal.time.unit"
            problems.append((text + self._otherwise(), wrong))
        times = np.where(wrong | absent, 0, times + (zero if declared.is_absolute else 0))
        if self._clock is not None:
            good = ~(wrong | absent)
            times[good] = self._from_local(times[good], good, problems)
        return times, problems


def other_epochs(number: float, earliest: datetime, latest: datetime) -> list[str]:
    """Return what a number of a time column would be, counted otherwise: each way that gives a plausible time."""
    found = []
    for since, zero in SINCE_US.items():
        for unit, per in NANOSECONDS.items():
            micro = number * per / 1_000 + zero
            if not 0 <= micro <= LAST_US:
                continue
            moment = EPOCH + timedelta(microseconds=round(micro))
            if earliest <= moment <= latest:
                found.append(f'since = "{since}" and unit = "{unit}" would be {moment:%Y-%m-%d}')
    return found


def is_gap(steps: NDArray[np.int64], rate_hz: float, declared: TimeColumn) -> NDArray[np.bool_]:
    """Return where a step in time (microseconds) is no interval at the declared rate; recordings are cut there."""
    cut: NDArray[np.bool_] = np.abs(steps / 1e6 * rate_hz - 1) > declared.interval_tolerance
    return cut


def spread(stamps: Times, then: int | None, period_us: float | None, *, is_first: bool) -> tuple[Times, float]:
    """Spread the samples that share a stamp evenly over the time until the next stamp.

    Parameters
    ----------
    stamps : int64 array, shape (n,), microseconds
        Whole groups of equal stamps, rising.
    then : int or None
        The stamp after them; None at the end of the file.
    period_us : float or None
        Interval of the samples before; None at the beginning, where `stamps` have to have two groups.
    is_first : bool
        Whether the file begins here: its first group may be cut off, so it ends where the second begins.

    Returns
    -------
    times : int64 array, shape (n,)
    period_us : float
        Interval of the last group.

    Notes
    -----
    After a step longer than usual (a gap) samples keep the interval of those before.
    """
    begins = np.flatnonzero(np.diff(stamps, prepend=stamps[0] - 1))
    counts = np.diff(begins, append=len(stamps))
    groups = stamps[begins]
    steps = np.diff(groups, append=groups[-1] if then is None else then).astype(np.float64)
    usual = float(np.min(steps[steps > 0], initial=np.inf))
    period = period_us if period_us is not None else float(steps[1] / counts[1])
    if period_us is not None:
        usual = min(usual, 1.5 * period * float(np.max(counts)))
    periods = np.empty(len(groups))
    for at, (step, count) in enumerate(zip(steps.tolist(), counts.tolist(), strict=True)):
        if 0 < step < 1.5 * usual and not (is_first and at == 0):
            period = step / count
        periods[at] = period
    inside = np.arange(len(stamps)) - np.repeat(begins, counts)
    times = np.repeat(groups, counts) + inside * np.repeat(periods, counts)
    if is_first and len(groups) > 1:
        times[: counts[0]] = groups[1] - (counts[0] - inside[: counts[0]]) * periods[0]
    return np.rint(times).astype(np.int64), float(periods[-1])
