"""Due work is marked, not searched for: what a run costs depends on what is new, not on how much is stored.

Who writes a row that another step must look at marks it in the same transaction. The step takes marks, the newest
first, looks whether each is really due, does the work, and removes the marks with the result in one transaction. So a
mark too many costs little, and a mark is never lost by a kill. A mark names its cause: what is marked for another cause
while a step works on it stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.ids import stable_id
from pipeline.store.batches import Stretch
from pipeline.store.database import Store, insert_into, upsert
from pipeline.store.tables import DueBasis, DueWork, Extraction, Recording, Unit

EXTRACT: Final = "extract"
BASELINE: Final = "baseline"
TREND: Final = "trend"
COURSE: Final = "course"
SCORE: Final = "score"

PAGE = 2000

Work = tuple[datetime, str, int]
"""Time, subject and size of a mark."""


@dataclass(frozen=True)
class Queue:
    """The marks of one step, of one scope and feature version where the step has such."""

    step: str
    scope: str = ""
    version: str = ""

    def ours(self) -> list[sa.ColumnElement[bool]]:
        """SQL: the conditions of a mark of this queue."""
        return [DueWork.step == self.step, DueWork.scope == self.scope, DueWork.version == self.version]

    def holds(self, as_of: datetime, within: Stretch | None = None) -> list[sa.ColumnElement[bool]]:
        """SQL: the conditions of a mark of this queue that is due by `as_of` and lies in `within`."""
        inside = [] if within is None else [within.holds(DueWork.at, DueWork.subject)]
        return [*self.ours(), DueWork.at <= as_of, *inside]


@dataclass(frozen=True)
class Marks:
    """A page of marks of a queue, newest first: their causes and their times, by subject."""

    queue: Queue
    causes: Mapping[str, str]
    at: Mapping[str, datetime]
    is_last: bool
    """Nothing more was waiting when the page was taken."""


NO_MARKS: Final = Marks(Queue(""), {}, {}, True)


def mark(connection: Connection, queue: Queue, work: Iterable[Work], cause: str = "") -> None:
    """Mark subjects of one queue. Marked twice, the earlier time and the later cause hold."""
    rows = [
        {**vars(queue), "at": at, "subject": subject, "size": size, "cause": cause}
        for at, subject, size in sorted(work, key=lambda row: (row[1], row[0]))
    ]
    if rows:
        connection.execute(_upsert(connection), rows)


def mark_selected(connection: Connection, step: str, found: sa.Select[Any], cause: str) -> None:
    """Mark what a query finds, which selects scope, version, time, subject and size in this order."""
    one = found.subquery()
    scope, version, at, subject, size = one.c
    rows = sa.select(subject, sa.literal(step), scope, version, sa.func.min(at), sa.func.max(size), sa.literal(cause))
    names = ["subject", "step", "scope", "version", "at", "size", "cause"]
    insert = _upsert(connection)
    rows = rows.where(sa.true()).group_by(subject, scope, version).order_by(subject)  # in one order: no deadlock
    connection.execute(insert.from_select(names, rows))


def _upsert(connection: Connection) -> Any:
    insert = insert_into(connection, DueWork)
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=["subject", "step", "scope", "version"],
        set_={"at": sa.case((new.at < DueWork.at, new.at), else_=DueWork.at), "size": new.size, "cause": new.cause},
    )


def of_recordings() -> list[Any]:
    """SQL: the columns that `mark_selected` wants, for recordings to extract; the size is that of their samples."""
    nothing = sa.literal("")
    return [nothing, nothing, Recording.started_at, Recording.recording_id, Recording.n_samples * 4]


def of_extractions() -> list[Any]:
    """SQL: the columns that `mark_selected` wants, for extractions to score."""
    place = [Extraction.started_at, Extraction.recording_id, Extraction.n_windows]
    return [Extraction.scope, Extraction.feature_version, *place]


def mark_features(connection: Connection, extractions: Sequence[Mapping[str, Any]]) -> None:
    """Mark new extractions (rows of that table) for every step that reads them."""
    queues: dict[tuple[Queue, str], set[Work]] = {}
    oldest: dict[str, Work] = {}
    for row in extractions:
        at, recording, version, cause = (
            row[name] for name in ("started_at", "recording_id", "feature_version", "geometry_version")
        )
        queues.setdefault((Queue(TREND, version=version), cause), set()).add((at, recording, 1))
        queues.setdefault((Queue(SCORE, row["scope"], version), cause), set()).add((at, recording, row["n_windows"]))
        work = (at, row["axis_id"], 1)
        oldest[row["axis_id"]] = min(work, oldest.get(row["axis_id"], work))
    for (queue, cause), works in queues.items():
        mark(connection, queue, works, cause)
    if extractions:
        mark(
            connection, Queue(BASELINE), oldest.values(), stable_id(*sorted(row["recording_id"] for row in extractions))
        )


def series_name(key: tuple[str, str, str, str]) -> str:
    """Return the subject of the marks of a series, given as axis, unit, channel and feature version."""
    return json.dumps(key[:3])


def mark_courses(connection: Connection, series: Mapping[tuple[str, str, str, str], datetime], cause: str) -> None:
    """Mark the courses of trends, given as axis, unit, channel and feature version, each with its earliest change.

    Another change of points has another cause.
    """
    for version in sorted({key[3] for key in series}):
        found = [(at, series_name(key), 1) for key, at in series.items() if key[3] == version]
        mark(connection, Queue(COURSE, version=version), found, cause)


def mark_axis(connection: Connection, axis_id: str, since: datetime) -> None:
    """Mark everything that depends on which unit is on an axis since a time; call it after a change of the registry."""
    columns = (Unit.unit_serial, Unit.installed_at, Unit.removed_at, Unit.geometry_version)
    units = connection.execute(sa.select(*columns).where(Unit.axis_id == axis_id).order_by(*columns)).all()
    cause = stable_id(*(str(value) for unit in units for value in unit))
    mine = (Recording.axis_id == axis_id, Recording.started_at >= since)
    mark_selected(connection, EXTRACT, sa.select(*of_recordings()).where(*mine), cause)
    features = (Extraction.axis_id == axis_id, Extraction.started_at >= since)
    _, version, at, recording, _ = of_extractions()
    points: list[Any] = [sa.literal(""), version, at, recording, sa.literal(1)]
    mark_selected(connection, TREND, sa.select(*points).where(*features), cause)
    mark_selected(connection, SCORE, sa.select(*of_extractions()).where(*features), cause)
    mark(connection, Queue(BASELINE), [(since, axis_id, 1)], cause)


def take(
    connection: Connection, queue: Queue, as_of: datetime, within: Stretch | None = None, most: int = PAGE
) -> Marks:
    """Return the newest marks of a queue, `most` at most."""
    query = (
        sa.select(DueWork.subject, DueWork.cause, DueWork.at)
        .where(*queue.holds(as_of, within))
        .order_by(DueWork.at.desc(), DueWork.subject.desc())
        .limit(most)
    )
    rows = connection.execute(query).all()
    causes, times = {row.subject: row.cause for row in rows}, {row.subject: row.at for row in rows}
    return Marks(queue, causes, times, len(rows) < most)


def done(connection: Connection, marks: Marks, subjects: Iterable[str]) -> None:
    """Remove the marks of subjects; call it in the transaction that writes the result."""
    gone = [{"mark": name, "why": marks.causes[name]} for name in sorted(subjects) if name in marks.causes]
    if gone:
        ours = (DueWork.subject == sa.bindparam("mark"), *marks.queue.ours(), DueWork.cause == sa.bindparam("why"))
        connection.execute(sa.delete(DueWork).where(*ours), gone)


def drop_others(store: Store, marks: Marks, due_now: Set[str]) -> None:
    """Remove the marks of subjects that are not due any more."""
    if stale := set(marks.causes) - due_now:
        with store.write() as connection:
            done(connection, marks, stale)


def waiting(connection: Connection, queue: Queue, as_of: datetime, within: Stretch | None = None) -> Iterator[Work]:
    """Read the marks of a queue, newest first, only as far as the caller takes them."""
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
