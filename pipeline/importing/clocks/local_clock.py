"""Local times of a time zone as UTC; where the clocks go back, the order of the rows says which of two hours it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Times = NDArray[np.int64]
ON: float = 1.5
"""A step of up to so many usual intervals goes on without a gap."""


class LocalClock:
    """Turns local times, block by block, into UTC."""

    def __init__(self, zone: str, *, infer: bool) -> None:
        """Take the name of the zone; `infer`: tell the two hours of an autumn night apart by the order of the rows."""
        self._zone, self._infer = zone, infer
        self._before: int | None = None
        self._is_second: bool | None = None
        self._was_twice = False

    def to_utc(self, local: Times) -> tuple[Times, NDArray[np.bool_]]:
        """Return the next local times in UTC.

        Parameters
        ----------
        local : int64 array, shape (n,)
            Microseconds from 1970-01-01T00:00:00 by the clock on the wall.

        Returns
        -------
        times : int64 array, shape (n,), microseconds since 1970-01-01T00:00:00Z
        unclear : bool array, shape (n,)
            True where the zone has no such time, or has it twice and nothing says which is meant.
        """
        if not len(local):
            return local, np.zeros(0, dtype=bool)
        walls = pd.DatetimeIndex(local.astype("datetime64[us]"))
        first = walls.tz_localize(self._zone, ambiguous=np.ones(len(local), bool), nonexistent="NaT")
        once = walls.tz_localize(self._zone, ambiguous="NaT", nonexistent="NaT")
        unclear = np.asarray(first.isna())
        twice = np.asarray(once.isna()) & ~unclear
        is_second = np.zeros(len(local), dtype=bool)
        if twice.any():
            if self._infer:
                unclear |= self._tell_apart(local, twice, is_second)
            else:
                unclear |= twice
        self._before, self._was_twice = int(local[-1]), bool(twice[-1])
        instants = walls.tz_localize(self._zone, ambiguous=~is_second, nonexistent="NaT").tz_convert("UTC")
        times = np.where(np.asarray(instants.isna()), 0, instants.as_unit("us").asi8)
        return times.astype(np.int64), unclear

    def _tell_apart(self, local: Times, twice: NDArray[np.bool_], is_second: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Set `is_second` in each stretch of times that come twice; return where that cannot be told.

        A clock that goes back inside it says it; else a stretch that begins without a gap is the first hour, and one
        that ends without a gap is the second.
        """
        steps = np.diff(local, prepend=local[0] if self._before is None else self._before)
        rising = steps[steps > 0]
        on = ON * float(np.median(rising)) if len(rising) else 0.0
        unclear = np.zeros(len(local), dtype=bool)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], twice, [False]]).astype(np.int8)))
        for low, high in edges.reshape(-1, 2).tolist():
            goes_on = low == 0 and self._was_twice
            if not goes_on:
                begins_on = (low > 0 or self._before is not None) and 0 < steps[low] <= on
                self._is_second = False if begins_on else None
            back = [at for at in (np.flatnonzero(steps[low:high] < 0) + low).tolist() if at > low or goes_on]
            ends_on = high < len(local) and 0 < steps[high] <= on
            if back:
                is_second[back[0] : high] = True
                self._is_second = True
            elif self._is_second is None and ends_on:
                is_second[low:high] = True
                self._is_second = True
            elif self._is_second is None or (ends_on and not self._is_second):
                unclear[low:high] = True
            else:
                is_second[low:high] = self._is_second
        return unclear
