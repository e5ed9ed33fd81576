"""Due work is marked, not searched for: what a run costs depends on what is new, not on how much is stored.

Who writes a row that another step must look at marks it in the same transaction. The step takes marks, the newest
first, looks whether each is really due, does the work, and removes the marks with the result in one transaction. So a
mark too many costs little, and a mark is never lost by a kill. Marks are only added and removed, never changed: what is
marked again while a step works on it has another number and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.store.batches import Stretch
from pipeline.store.database import Store, upsert
from pipeline.store.tables import DueBasis, DueWork, Extraction, Recording

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
    """A page of marks: by subject, newest first, the numbers of its marks and the earliest time among them."""

    numbers: Mapping[str, Sequence[int]]
    at: Mapping[str, datetime]
    is_last: bool
    """Nothing more was waiting when the page was taken."""

    def of(self, subjects: Iterable[str]) -> list[int]:
        """Return the numbers of the marks of some subjects."""
        return [number for subject in subjects for number in self.numbers.get(subject, ())]


NONE: Final = Marks({}, {}, True)


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
    numbers: dict[str, list[int]] = {}
    for row in rows:
        numbers.setdefault(row.subject, []).append(row.mark_id)
    return Marks(numbers, {row.subject: row.at for row in rows}, len(rows) < most)


def done(connection: Connection, marks: Sequence[int]) -> None:
    """Remove marks; call it in the transaction that writes the result."""
    for first in range(0, len(marks), PAGE):
        connection.execute(sa.delete(DueWork).where(DueWork.mark_id.in_(marks[first : first + PAGE])))


def drop_others(store: Store, marks: Marks, due_now: Set[str]) -> None:
    """Remove the marks of subjects that are not due any more."""
    if stale := marks.of(subject for subject in marks.numbers if subject not in due_now):
        with store.write() as connection:
            done(connection, stale)


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


def mark_features(connection: Connection, extractions: Sequence[Mapping[str, Any]]) -> None:
    """Mark new extractions (rows of that table) for every step that reads them."""
    queues: dict[Queue, set[tuple[datetime, str, int]]] = {}
    oldest: dict[str, datetime] = {}
    for row in extractions:
        at, recording, version = row["started_at"], row["recording_id"], row["feature_version"]
        oldest[row["axis_id"]] = min(at, oldest.get(row["axis_id"], at))
        queues.setdefault(Queue(TREND, version=version), set()).add((at, recording, 1))
        queues.setdefault(Queue(SCORE, row["scope"], version), set()).add((at, recording, row["n_windows"]))
    for queue, rows in queues.items():
        mark(connection, queue, rows)
    mark(connection, Queue(BASELINE), ((at, axis, 1) for axis, at in oldest.items()))


def mark_axis(connection: Connection, axis_id: str, since: datetime) -> None:
    """Mark everything that depends on which unit is on an axis since a time; call it where the registry changes."""
    mine = (Recording.axis_id == axis_id, Recording.started_at >= since)
    nothing = sa.literal("")
    columns: list[Any] = [nothing, nothing, Recording.started_at, Recording.recording_id, Recording.n_samples * 4]
    mark_selected(connection, EXTRACT, sa.select(*columns).where(*mine))
    features = (Extraction.axis_id == axis_id, Extraction.started_at >= since)
    for step, scope, size in ((TREND, nothing, sa.literal(1)), (SCORE, Extraction.scope, Extraction.n_windows)):
        columns = [scope, Extraction.feature_version, Extraction.started_at, Extraction.recording_id, size]
        mark_selected(connection, step, sa.select(*columns).where(*features))
    mark(connection, Queue(BASELINE), [(since, axis_id, 1)])


def set_bases(connection: Connection, step: str, now: Mapping[str, str]) -> None:
    """Store what the marks of a step are made for from now on; call it in the transaction that makes them."""
    upsert(connection, DueBasis, [{"step": step, "name": name, "basis": now[name]} for name in sorted(now)])
