"""Due work is marked, not searched for: what a run costs depends on what is new, not on how much is stored.

Who writes a row that another step must look at marks it in the same transaction. The step takes marks, the newest
first, looks whether each is really due, does the work, and removes the marks with the result in one transaction. So a
mark too many costs little, and a mark is never lost by a kill. Marks are only added and removed, never changed: what is
marked again while a step works on it has another number and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.store.batches import Stretch
from pipeline.store.database import upsert
from pipeline.store.tables import DueBasis, DueWork

EXTRACT: Final = "extract"
BASELINE: Final = "baseline"
TREND: Final = "trend"
COURSE: Final = "course"
SCORE: Final = "score"

PAGE = 2000


@dataclass(frozen=True)
class Queue:
    """The marks of one step, of one scope and feature version where the step has such."""

    step: str
    scope: str = ""
    version: str = ""

    def holds(self, as_of: datetime, within: Stretch | None = None) -> list[sa.ColumnElement[bool]]:
        """SQL: the conditions of a mark of this queue that is due by `as_of` and lies in `within`."""
        ours = [DueWork.step == self.step, DueWork.scope == self.scope, DueWork.version == self.version]
        inside = [] if within is None else [within.holds(DueWork.at, DueWork.subject)]
        return [*ours, DueWork.at <= as_of, *inside]


@dataclass(frozen=True)
class Marks:
    """A page of marks: their numbers, and what they stand for, each once, newest first."""

    ids: Sequence[int]
    subjects: Sequence[str]
    at: Mapping[str, datetime]
    """Earliest time with which a subject was marked."""


def mark(connection: Connection, queue: Queue, rows: Iterable[tuple[datetime, str, int]]) -> None:
    """Mark subjects of one queue, given as time, subject and size."""
    values = [
        {**vars(queue), "at": at, "subject": subject, "size": size}
        for at, subject, size in sorted(rows, key=lambda row: row[:2])
    ]
    if values:
        connection.execute(sa.insert(DueWork), values)


def mark_selected(connection: Connection, step: str, found: sa.Select[Any]) -> None:
    """Mark what a query finds, which selects scope, version, time, subject and size in this order."""
    columns = ["step", "scope", "version", "at", "subject", "size"]
    selected = found.with_only_columns(sa.literal(step), *found.selected_columns)
    connection.execute(sa.insert(DueWork).from_select(columns, selected))


def take(
    connection: Connection, queue: Queue, as_of: datetime, within: Stretch | None = None, most: int = PAGE
) -> Marks:
    """Return the newest marks of a queue, `most` at most."""
    query = (
        sa.select(DueWork.mark_id, DueWork.subject, DueWork.at)
        .where(*queue.holds(as_of, within))
        .order_by(DueWork.at.desc(), DueWork.subject.desc())
        .limit(most)
    )
    rows = connection.execute(query).all()
    at: dict[str, datetime] = {}
    for row in rows:
        at[row.subject] = min(row.at, at.get(row.subject, row.at))
    return Marks([row.mark_id for row in rows], list(at), at)


def done(connection: Connection, marks: Sequence[int]) -> None:
    """Remove marks; call it in the transaction that writes the result."""
    for first in range(0, len(marks), PAGE):
        connection.execute(sa.delete(DueWork).where(DueWork.mark_id.in_(marks[first : first + PAGE])))


def waiting(
    connection: Connection, queue: Queue, as_of: datetime, within: Stretch | None = None
) -> Iterator[tuple[datetime, str, int]]:
    """Read time, subject and size of the marks of a queue, newest first, only as far as the caller takes them."""
    query = sa.select(DueWork.at, DueWork.subject, DueWork.size).where(*queue.holds(as_of, within))
    rows = connection.execution_options(yield_per=PAGE).execute(
        query.order_by(DueWork.at.desc(), DueWork.subject.desc())
    )
    return ((row.at, row.subject, row.size) for row in rows)


def count(connection: Connection, queue: Queue, as_of: datetime, within: Stretch | None = None) -> int:
    """Return the number of marks of a queue."""
    found = sa.select(sa.func.count()).select_from(DueWork).where(*queue.holds(as_of, within))
    return connection.scalar(found) or 0


def changed_bases(connection: Connection, step: str, now: Mapping[str, str]) -> dict[str, str | None]:
    """Return what the marks of a step were made for before, by name, where it is not what they are made for now.

    None: they were never made, as after a migration.
    """
    known = dict(connection.execute(sa.select(DueBasis.name, DueBasis.basis).where(DueBasis.step == step)).all())
    return {name: known.get(name) for name, basis in now.items() if known.get(name) != basis}


def set_bases(connection: Connection, step: str, now: Mapping[str, str]) -> None:
    """Store what the marks of a step are made for from now on; call it in the transaction that makes them."""
    upsert(connection, DueBasis, [{"step": step, "name": name, "basis": now[name]} for name in sorted(now)])
