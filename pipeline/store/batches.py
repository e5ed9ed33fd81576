"""Batches: how the work that is due is cut into tasks, oldest first, each told in a few words.

A batch of recordings is named by its two ends, not by its members: whoever works on it asks again what is due between
them, so that a batch that was done before, or is done twice at once, does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.base.ids import utc_text


@dataclass(frozen=True)
class Stretch:
    """Recordings between two places in the order of (started_at, recording_id), both ends included."""

    first_at: datetime
    first_id: str
    last_at: datetime
    last_id: str

    def holds(self, started_at: Any, recording_id: Any) -> sa.ColumnElement[bool]:
        """SQL: the recording with these columns lies inside."""
        return sa.and_(
            started_at >= self.first_at,
            started_at <= self.last_at,
            sa.or_(started_at > self.first_at, recording_id >= self.first_id),
            sa.or_(started_at < self.last_at, recording_id <= self.last_id),
        )

    def as_dict(self) -> dict[str, str]:
        """Give plain JSON values."""
        return {
            "first_at": utc_text(self.first_at),
            "first_id": self.first_id,
            "last_at": utc_text(self.last_at),
            "last_id": self.last_id,
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Stretch:
        """Read what `as_dict` gave; other entries are left alone."""
        return cls(
            datetime.fromisoformat(told["first_at"]),
            told["first_id"],
            datetime.fromisoformat(told["last_at"]),
            told["last_id"],
        )


@dataclass(frozen=True)
class Between:
    """From when (included) to when (not included) recordings started; None: from the first on."""

    from_at: datetime | None = None
    to_at: datetime | None = None

    def holds(self, started_at: Any) -> list[sa.ColumnElement[bool]]:
        """SQL: the recording started in it."""
        found = [] if self.from_at is None else [started_at >= self.from_at]
        return found if self.to_at is None else [*found, started_at < self.to_at]


EVER = Between()


def stretches(
    rows: Iterable[tuple[datetime, str, int]], *, size: int, most: int
) -> tuple[list[dict[str, Any]], int, int]:
    """Cut recordings into batches.

    Parameters
    ----------
    rows
        started_at, recording_id and size of each, in that order; read no further than needed.
    size
        A batch is closed before it would be larger; one recording is always taken.
    most
        So many batches at most; the rest is for the next run.

    Returns
    -------
    list of dict, int, int
        Stretches as JSON, each with its number of recordings and its size; recordings in them; their size.
    """
    found: list[dict[str, Any]] = []
    first: tuple[datetime, str] | None = None
    last: tuple[datetime, str] | None = None
    count = held = 0

    def close() -> None:
        if first is not None and last is not None:
            found.append({**Stretch(*first, *last).as_dict(), "recordings": count, "size": held})

    for at, recording_id, own in rows:
        if first is not None and held + own > size:
            close()
            first, count, held = None, 0, 0
            if len(found) == most:
                break
        first = first or (at, recording_id)
        last = (at, recording_id)
        count, held = count + 1, held + own
    close()
    return found, sum(batch["recordings"] for batch in found), sum(batch["size"] for batch in found)
