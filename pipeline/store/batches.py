"""Batches: the work that is due, cut into tasks in the order in which it is read.

A batch of recordings is described by its first and last recording, not by a list. The task that works on it queries
again which recordings between them are due. So a batch may be done again, or twice at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from pipeline.base.ids import utc_text

T = TypeVar("T")


@dataclass(frozen=True)
class Stretch:
    """Recordings between two places in the order of (started_at, recording_id), both ends included."""

    first_at: datetime
    first_id: str
    last_at: datetime
    last_id: str

    def holds(self, started_at: Any, recording_id: Any) -> sa.ColumnElement[bool]:
        """SQL: the condition that a recording with these columns lies inside."""
        return sa.and_(
            started_at >= self.first_at,
            started_at <= self.last_at,
            sa.or_(started_at > self.first_at, recording_id >= self.first_id),
            sa.or_(started_at < self.last_at, recording_id <= self.last_id),
        )

    def as_dict(self) -> dict[str, str]:
        """Return the two ends as JSON values."""
        return {
            "first_at": utc_text(self.first_at),
            "first_id": self.first_id,
            "last_at": utc_text(self.last_at),
            "last_id": self.last_id,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Stretch:
        """Build a stretch from what `as_dict` returned; other entries are ignored."""
        return cls(
            datetime.fromisoformat(values["first_at"]),
            values["first_id"],
            datetime.fromisoformat(values["last_at"]),
            values["last_id"],
        )


@dataclass(frozen=True)
class Between:
    """Recordings that started from `from_at` (included) to `to_at` (not included); None: no limit."""

    from_at: datetime | None = None
    to_at: datetime | None = None

    def holds(self, started_at: Any) -> list[sa.ColumnElement[bool]]:
        """SQL: the conditions that a recording started in this time; an empty list where there is no limit."""
        conditions = [] if self.from_at is None else [started_at >= self.from_at]
        return conditions if self.to_at is None else [*conditions, started_at < self.to_at]


EVER = Between()


def portions(rows: Iterable[T], size_of: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Cut rows into lists of up to `most` in size; a single larger row is a list of its own."""
    portion: list[T] = []
    size_so_far = 0
    for row in rows:
        size = size_of(row)
        if portion and size_so_far + size > most:
            yield portion
            portion, size_so_far = [], 0
        portion.append(row)
        size_so_far += size
    if portion:
        yield portion


def stretches(
    rows: Iterable[tuple[datetime, str, int]], *, size: int, most: int
) -> tuple[list[dict[str, Any]], int, int]:
    """Cut recordings into batches.

    Parameters
    ----------
    rows
        started_at, recording_id and size of each recording, in order of the first two, or newest first; read only as
        far as needed.
    size
        Largest size of a batch; a single larger recording is a batch of its own.
    most
        Largest number of batches; the rest is left for the next run.

    Returns
    -------
    list of dict, int, int
        Stretches as JSON, each with its number of recordings and its size; recordings in them; their size.
    """
    batches: list[dict[str, Any]] = []
    first: tuple[datetime, str] | None = None
    last: tuple[datetime, str] | None = None
    count = size_so_far = 0

    def close() -> None:
        if first is not None and last is not None:
            ends = sorted((first, last))
            batches.append({**Stretch(*ends[0], *ends[1]).as_dict(), "recordings": count, "size": size_so_far})

    for at, recording_id, recording_size in rows:
        if first is not None and size_so_far + recording_size > size:
            close()
            first, count, size_so_far = None, 0, 0
            if len(batches) == most:
                break
        first = first or (at, recording_id)
        last = (at, recording_id)
        count, size_so_far = count + 1, size_so_far + recording_size
    close()
    return batches, sum(batch["recordings"] for batch in batches), sum(batch["size"] for batch in batches)
