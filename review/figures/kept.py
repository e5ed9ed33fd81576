"""What many ask for within some seconds is computed once: figures that change with a run, never what people write."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Results by key, each for some time.

    Parameters
    ----------
    time
        For how long a result is given again.
    most
        So many results are held; then all are let go.
    """

    def __init__(self, time: timedelta, most: int) -> None:
        self._time, self._most = time, most
        self._results: dict[Hashable, tuple[datetime, T]] = {}

    def get(self, key: Hashable, now: datetime) -> T | None:
        """Return a result that is not too old, else None."""
        at, result = self._results.get(key, (None, None))
        return result if at is not None and timedelta(0) <= now - at < self._time else None

    def put(self, key: Hashable, now: datetime, result: T) -> T:
        """Hold a result and return it."""
        if len(self._results) >= self._most:
            self._results.clear()
        self._results[key] = (now, result)
        return result

    def made(self, key: Hashable, now: datetime, make: Callable[[], T]) -> T:
        """Return a result that is held, or make it."""
        result = self.get(key, now)
        return self.put(key, now, make()) if result is None else result
