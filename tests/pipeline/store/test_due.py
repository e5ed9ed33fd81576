"""Marks of due work: nothing is lost, whoever works at the same time; the newest comes first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.store import due
from pipeline.store.batches import Stretch, portions
from pipeline.store.database import Store, insert_ignore
from pipeline.store.due import NO_MARKS, Marks, Queue
from pipeline.store.tables import DueWork, Extraction

START = datetime(2026, 1, 5, tzinfo=UTC)
LATER = START + timedelta(days=99)
QUEUE = Queue(due.SCORE, "force", "f1")


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def mark(store: Store, *work: due.Work, queue: Queue = QUEUE, cause: str = "") -> None:
    with store.write() as connection:
        due.mark(connection, queue, work, cause)


def take(store: Store, as_of: datetime = LATER, **how: Any) -> Marks:
    with store.read() as connection:
        return due.take(connection, QUEUE, as_of, **how)


def finish(store: Store, marks: Marks, *subjects: str) -> None:
    with store.write() as connection:
        due.done(connection, marks, subjects)


def test_the_newest_is_taken_first_page_by_page_and_nothing_of_the_future(store: Store) -> None:
    mark(store, *((at(hour), f"r{hour}", 1) for hour in (3, 1, 2, 5)))
    mark(store, (at(4), "other scope", 1), queue=Queue(due.SCORE, "voltage", "f1"))
    mark(store, (at(4), "other version", 1), queue=Queue(due.SCORE, "force", "f2"))
    first = take(store, at(4), most=2)
    assert (list(first.causes), first.is_last) == (["r3", "r2"], False)
    finish(store, first, "r3", "r2")
    last = take(store, at(4), most=2)
    assert (list(last.causes), last.is_last) == (["r1"], True)
    within = Stretch(at(5), "", at(9), "z")
    assert list(take(store, within=within).causes) == ["r5"]
    with store.read() as connection:
        assert due.count(connection, QUEUE, LATER) == 2
        assert [work[1] for work in due.waiting(connection, QUEUE, LATER)] == ["r5", "r1"]


def test_what_is_marked_for_another_cause_meanwhile_stays(store: Store) -> None:
    mark(store, (at(1), "a", 1), (at(2), "b", 1), (at(3), "c", 1), cause="old geometry")
    taken = take(store)
    mark(store, (at(1), "a", 1), cause="new geometry")
    mark(store, (at(3), "c", 1), cause="old geometry")  # by another run, for the same reason
    finish(store, taken, "a", "b", "c")
    assert dict(take(store).causes) == {"a": "new geometry"}


def test_marked_twice_the_earlier_time_holds(store: Store) -> None:
    mark(store, (at(5), "a", 1))
    mark(store, (at(2), "a", 7), (at(9), "a", 3))
    assert take(store).at["a"] == at(2)
    with store.read() as connection:
        assert connection.scalar(sa.select(DueWork.size)) == 3


def test_marks_that_a_query_finds(store: Store) -> None:
    def row(recording: str, geometry: str, windows: int) -> dict[str, Any]:
        versions = {"feature_version": "f1", "geometry_version": geometry, "axis_id": "x", "channel": "c"}
        judged = {"unit_serial": None, "regime": "", "quality": "ok", "evidence": "", "lake_path": None, "lake_row": 0}
        place = {"recording_id": recording, "scope": "force", "started_at": at(1), "known_at": START}
        return place | versions | judged | {"n_windows": windows}

    with store.write() as connection:
        if store.is_sqlite:
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        else:
            connection.exec_driver_sql("ALTER TABLE extractions DISABLE TRIGGER ALL")
        insert_ignore(connection, Extraction, [row("r", "g1", 2), row("r", "g2", 3)])
        due.mark_axis(connection, "x", START)
        marked = {(m.step, m.subject, m.scope, m.version, m.size) for m in connection.execute(sa.select(DueWork))}
        connection.rollback()
    assert marked == {
        ("trend", "r", "", "f1", 1),
        ("score", "r", "force", "f1", 3),
        ("baseline", "x", "", "", 1),
    }, "a recording with features at two geometries is one mark"


def test_bases(store: Store) -> None:
    with store.write() as connection:
        assert due.changed_bases(connection, due.SCORE, {"force": "m1"}) == {"force": None}
        due.set_bases(connection, due.SCORE, {"force": "m1"})
        assert due.changed_bases(connection, due.SCORE, {"force": "m1"}) == {}
        assert due.changed_bases(connection, due.SCORE, {"force": "m2", "voltage": "m3"}) == {
            "force": "m1",
            "voltage": None,
        }


def test_no_marks_are_the_last_page() -> None:
    assert NO_MARKS.is_last


@pytest.mark.parametrize(
    ("sizes", "portioned"),
    [([], []), ([9], [[9]]), ([1, 2, 3, 1], [[1, 2], [3, 1]]), ([5, 1, 9, 1], [[5], [1], [9], [1]])],
)
def test_portions(sizes: list[int], portioned: list[list[int]]) -> None:
    assert list(portions(sizes, lambda size: size, 4)) == portioned
