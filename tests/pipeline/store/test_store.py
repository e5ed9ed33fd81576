"""The database: times, transactions, bulk inserts, partitions and locks, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, StatementError

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.store.database import (
    Store,
    bulk_insert,
    ensure_partitions,
    head_revision,
    insert_ignore,
    insert_new,
    partition_name,
    upsert,
)
from pipeline.store.tables import Axis, AxisState, Base, Label, LakeFile, Recording, Score

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def axis(number: int, known_at: datetime = NOON) -> dict[str, Any]:
    names = {"site": "s", "cell": "c", "robot_id": "R", "axis": f"A{number}"}
    return {"axis_id": f"{number:016d}", **names, "expected_every_s": None, "known_at": known_at}


def lake_file(number: int) -> dict[str, Any]:
    return {"path": f"f{number}", "kind": "features", "size_bytes": 2**40, "n_rows": 1, "known_at": NOON}


def score(number: int, started_at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(column.name for column in Score.__table__.columns) | {
        "started_at": started_at,
        "recording_id": f"{number:032d}",
        "start_sample": 0,
        "feature_version": "f",
        "geometry_version": "g",
        "baseline_version": "",
        "model_version": "m",
        "axis_id": "a",
        "channel": "acc_x",
        "n_window_samples": 512,
        "fault_probability": 0.25,
        "class_probabilities": {"healthy": 0.75, "ball": 0.25},
        "n_missing_features": 0,
        "regime": "?|?|?",
        "quality": "ok",
        "evidence": 'tab\t, back\\slash, "quote", ü, \\N and a\nline',
        "known_at": NOON,
    }
    return row | changes


def scores(store: Store) -> list[sa.Row[Any]]:
    with store.read() as connection:
        return list(connection.execute(sa.select(Score).order_by(Score.recording_id)))


# ----------------------------------------------------------------------------------------------------- times


def test_times_come_back_in_utc_to_the_microsecond(store: Store) -> None:
    tokyo = datetime(2026, 2, 1, 8, 59, 59, 123_456, tzinfo=timezone(timedelta(hours=9)))
    with store.write() as connection:
        insert_ignore(connection, Axis, [axis(1, tokyo)])
    with store.read() as connection:
        found = connection.scalar(sa.select(Axis.known_at))
        assert connection.scalar(sa.select(sa.func.count()).where(Axis.known_at == tokyo)) == 1
        assert connection.scalar(sa.select(sa.func.count()).where(Axis.known_at > tokyo)) == 0
    assert found == tokyo
    assert found is not None
    assert found.utcoffset() == timedelta(0)
    assert found.isoformat() == "2026-01-31T23:59:59.123456+00:00"


def test_time_without_offset_is_refused_everywhere(store: Store) -> None:
    naive = NOON.replace(tzinfo=None)
    ensure_partitions(store, [NOON])
    with pytest.raises(StatementError, match="has no offset"), store.write() as connection:
        insert_ignore(connection, Axis, [axis(1, naive)])
    with pytest.raises((StatementError, ValueError), match="has no offset"), store.write() as connection:
        bulk_insert(connection, Score, [score(1, naive)])
    with pytest.raises(StatementError, match="has no offset"), store.read() as connection:
        connection.execute(sa.select(Axis).where(Axis.known_at == naive))
    assert scores(store) == []


def test_null_times_stay_null(store: Store, dump: Callable[[Store], Any]) -> None:
    row = {
        "label_id": "1",
        **dict.fromkeys(("axis_id", "channel", "component", "mode", "cause", "severity", "confidence", "case_id")),
        "unit_serial": "SN",
        "from_at": NOON,
        "to_at": NOON,
        "verdict": "healthy",
        "evidence": "inspected",
        "note": "",
        "who": "x",
        "known_at": NOON,
    }
    with store.write() as connection:
        insert_ignore(connection, Label, [row])
    assert dump(store)["labels"] == [row]


# ----------------------------------------------------------------------------------------------------- inserts


def test_bulk_insert_gives_back_what_went_in_and_leaves_known_rows_alone(store: Store) -> None:
    ensure_partitions(store, [NOON])
    empty = score(2, class_probabilities=None, fault_probability=None, unit_serial=None, turns_covered=None)
    with store.write() as connection:
        bulk_insert(connection, Score, [score(1), empty])
    with store.write() as connection:
        bulk_insert(connection, Score, [score(1, fault_probability=0.9), score(3, evidence="new"), score(3)])
        bulk_insert(connection, Score, [])
    found = scores(store)
    assert [dict(row._mapping) for row in found] == [score(1), empty, score(3, evidence="new")]
    with store.read() as connection:
        null = sa.select(sa.func.count()).where(Score.class_probabilities.is_(None))
        assert connection.scalar(null) == 1, "null is SQL null, not the JSON text null"


def test_bulk_insert_of_many_rows_twice_in_a_transaction(store: Store) -> None:
    ensure_partitions(store, [NOON])
    with store.write() as connection:
        bulk_insert(connection, Score, [score(number) for number in range(3_000)])
        bulk_insert(connection, Score, [score(number) for number in range(2_000, 4_000)])
    assert len(scores(store)) == 4_000


def test_score_needs_its_key(store: Store) -> None:
    ensure_partitions(store, [NOON])
    with pytest.raises(Exception, match=r"(?i)null"), store.write() as connection:
        bulk_insert(connection, Score, [score(1, model_version=None)])


def test_insert_new_says_which_were_new(store: Store) -> None:
    with store.write() as connection:
        assert insert_new(connection, LakeFile, lake_file(1)) == ["f1"]
        assert insert_new(connection, LakeFile, lake_file(1) | {"n_rows": 9}) == []
        many = [lake_file(number) for number in (0, 1, 2)]
        assert sorted(insert_new(connection, LakeFile, many)) == ["f0", "f2"]
        assert insert_new(connection, LakeFile, []) == []
    with store.read() as connection:
        query = sa.select(LakeFile.n_rows, LakeFile.size_bytes).where(LakeFile.path == "f1")
        assert connection.execute(query).one() == (1, 2**40)


def test_upsert_takes_over_all_but_what_is_kept(store: Store) -> None:
    later = NOON + timedelta(days=1)
    with store.write() as connection:
        upsert(connection, Axis, [axis(1), axis(2)], keep=("known_at",))
        upsert(connection, Axis, [axis(1, later) | {"expected_every_s": 60.0}], keep=("known_at",))
        upsert(connection, Axis, [])
    with store.read() as connection:
        rows = connection.execute(sa.select(Axis.expected_every_s, Axis.known_at).order_by(Axis.axis_id)).all()
    assert rows == [(60.0, NOON), (None, NOON)]


def test_json_lists_and_dicts(store: Store) -> None:
    flags = [{"code": "new", "text": "ü\n\x01"}, {"code": "x", "text": ""}]
    row: dict[str, Any] = {
        "axis_id": axis(1)["axis_id"],
        "bin_at": NOON,
        "state": "watch",
        "first_at": NOON,
        "last_at": NOON,
        "n_windows": 1,
        **dict.fromkeys(("fault_probability", "mode", "mutual_information", "expected_entropy", "novelty_percentile")),
        "quality": "ok",
        "flags": flags,
        "model_versions": [],
        "known_at": NOON,
    }
    with store.write() as connection:
        insert_ignore(connection, Axis, [axis(1)])
        upsert(connection, AxisState, [row])
        upsert(connection, AxisState, [row | {"model_versions": ["m"]}])
    with store.read() as connection:
        assert connection.execute(sa.select(AxisState.flags, AxisState.model_versions)).one() == (flags, ["m"])


def test_foreign_keys_hold(store: Store, dump: Callable[[Store], Any]) -> None:
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO units (axis_id, unit_serial, installed_at, known_at) "
                "VALUES ('nobody', 'SN', '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000')"
            )
        )
    assert dump(store)["units"] == []


# ------------------------------------------------------------------------------------------------ transactions


def test_a_block_that_fails_leaves_nothing(store: Store, dump: Callable[[Store], Any]) -> None:
    with pytest.raises(RuntimeError), store.write() as connection:
        insert_ignore(connection, Axis, [axis(1)])
        raise RuntimeError
    assert dump(store)["axes"] == []
    with store.write() as connection:
        insert_ignore(connection, Axis, [axis(2)])
    assert len(dump(store)["axes"]) == 1, "the connection can be used again"


def test_a_reader_sees_one_moment(store: Store) -> None:
    count = sa.select(sa.func.count()).select_from(Axis)
    with store.read() as reading:
        assert reading.scalar(count) == 0
        with store.write() as writing:
            insert_ignore(writing, Axis, [axis(1)])
        assert reading.scalar(count) == 0
    with store.read() as reading:
        assert reading.scalar(count) == 1


def test_writers_wait_for_each_other(store: Store, dump: Callable[[Store], Any]) -> None:
    """Read, think, write: with locks taken too late, SQLite says 'database is locked'."""

    def count_up(thread: int) -> None:
        for turn in range(5):
            with store.write() as connection:
                connection.scalar(sa.select(sa.func.count()).select_from(Axis))
                time.sleep(0.01)
                insert_ignore(connection, Axis, [axis(10 * thread + turn)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, range(4)))
    assert len(dump(store)["axes"]) == 20


def test_sqlite_write_takes_the_lock_at_its_start(sqlite_store: Store) -> None:
    order = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with sqlite_store.write():
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with sqlite_store.write():
        inside.set()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_new_database_that_somebody_else_writes_to_is_waited_for(tmp_path: Path) -> None:
    """Two processes meet an empty file; SQLite itself does not wait when the journal is changed."""
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE something (n)")
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, other.rollback)
    done.start()
    store = Store.open(f"sqlite:///{tmp_path / 'a.db'}")
    assert done.finished.is_set()
    assert store.revision() == head_revision()
    store.dispose()
    other.close()


# --------------------------------------------------------------------------------------------------- partitions


def bounds(store: Store) -> dict[str, str]:
    query = sa.text(
        "SELECT child.relname, pg_get_expr(child.relpartbound, child.oid) FROM pg_inherits "
        "JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent "
        "WHERE parent.relname = 'scores'"
    )
    with store.read() as connection:
        connection.execute(sa.text("SET LOCAL TIME ZONE 'UTC'"))
        return {row[0]: row[1] for row in connection.execute(query)}


def test_scores_go_to_partitions_by_month_that_are_made_on_demand(store: Store) -> None:
    end_of_year = datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    # 2026-02-01 in Tokyo is still January in UTC.
    tokyo = datetime(2026, 2, 1, 8, 0, tzinfo=timezone(timedelta(hours=9)))
    times = [end_of_year, new_year, tokyo]
    if not store.is_sqlite:
        assert bounds(store) == {}
        with pytest.raises(IntegrityError, match="no partition"), store.write() as connection:
            bulk_insert(connection, Score, [score(0, new_year)])
    ensure_partitions(store, times)
    ensure_partitions(store, times)
    with store.write() as connection:
        bulk_insert(connection, Score, [score(number, moment) for number, moment in enumerate(times)])
    assert [row.started_at for row in scores(store)] == times
    if store.is_sqlite:
        return
    assert bounds(store) == {
        "scores_y2025m12": "FOR VALUES FROM ('2025-12-01 00:00:00+00') TO ('2026-01-01 00:00:00+00')",
        "scores_y2026m01": "FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00')",
    }
    with store.read() as connection:
        placed = connection.execute(sa.text("SELECT tableoid::regclass::text FROM scores ORDER BY recording_id"))
        assert placed.scalars().all() == ["scores_y2025m12", "scores_y2026m01", "scores_y2026m01"]


def test_partitions_made_by_many_at_once(store_url: str) -> None:
    stores = [Store.open(store_url) for _ in range(4)]
    start = threading.Barrier(len(stores))
    months = [datetime(2026, month, 15, tzinfo=UTC) for month in range(1, 7)]

    def make(number: int) -> None:
        start.wait()
        for moment in months:
            ensure_partitions(stores[number], [moment])
            with stores[number].write() as connection:
                bulk_insert(connection, Score, [score(number, moment)])

    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(make, range(len(stores))))
    assert len(scores(stores[0])) == len(stores) * len(months)
    if not stores[0].is_sqlite:
        assert sorted(bounds(stores[0])) == [partition_name(2026, month) for month in range(1, 7)]
    for store in stores:
        store.dispose()


# ------------------------------------------------------------------------------------------------------ opening


def test_empty_database_gets_its_tables(store_url: str) -> None:
    assert Store(store_url).revision() is None
    store = Store.open(store_url)
    assert store.revision() == head_revision()
    with store.read() as connection:
        assert set(Base.metadata.tables) <= set(sa.inspect(connection).get_table_names())
    store.dispose()


def test_outdated_database_is_refused_until_it_is_upgraded(store: Store, store_url: str) -> None:
    with store.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(PrerequisiteMissing, match=r"at revision 0000, .* run `axiswatch db upgrade`"):
        Store.open(store_url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is no SQLAlchemy URL"),
        ("mysql://u:secret@host/db", "is not supported"),
        ("sqlite://", "is not supported"),
        ("sqlite:///:memory:", "is not supported"),
        ("postgresql+nosuch://u:secret@host/db", r"pip install 'axiswatch\[postgres\]'"),
        ("sqlite:////proc/nowhere/axiswatch.db", "cannot create the folder of database"),
        ("postgresql+psycopg://u:secret@/db?host=/nowhere", "cannot open the database"),
    ],
)
def test_url_that_cannot_be_used_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(AxiswatchError, match=message) as caught:
        Store.open(url)
    assert "secret" not in str(caught.value)


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"not a database" * 100)
    with pytest.raises(AxiswatchError, match="file is not a database"):
        Store.open(f"sqlite:///{tmp_path / 'a.db'}")


def test_statistics_follow_rows_that_were_added_in_bulk(store: Store) -> None:
    """Without them a planner believes that a table is empty, and reads all of it for each row of another one."""
    at = datetime(2026, 1, 5, tzinfo=UTC)
    axis = {"axis_id": "a", "site": "", "cell": "", "robot_id": "R", "axis": "A", "known_at": at}
    file = {"path": "x", "kind": "recordings", "size_bytes": 1, "n_rows": 1, "known_at": at}
    log = {"axis_id": "a", "channel": "c", "quantity": "force", "unit": "N", "time_basis": "clock", "known_at": at}
    log |= {"rate_basis": "declared", "content_hash": "", "file_hash": "", "lake_path": "x", "lake_row": 0}
    log |= {"sampling_rate_hz": 1e3, "n_samples": 64}

    def counted() -> int:
        found = "SELECT stat FROM sqlite_stat1 WHERE tbl = 'recordings'"
        if not store.is_sqlite:
            found = "SELECT reltuples::bigint FROM pg_class WHERE relname = 'recordings'"
        with store.read() as connection:
            return int(str(connection.exec_driver_sql(found).scalar()).split()[0])

    def add(first: int, n: int) -> None:
        rows = [log | {"recording_id": f"r{i}", "started_at": at + timedelta(hours=i)} for i in range(first, first + n)]
        with store.write() as connection:
            insert_ignore(connection, Axis, [axis])
            insert_ignore(connection, LakeFile, [file])
            insert_ignore(connection, Recording, rows)
        store.refresh_statistics(n)

    some, more = (900, 8_000) if store.is_sqlite else (10_000, 12_000)
    add(0, some)
    assert counted() == some
    add(some, 100)
    assert counted() == some, "not after every run"
    add(some + 100, more)
    assert counted() == pytest.approx(some + more, rel=0.6)
    assert counted() > 2 * some


def test_a_database_of_a_newer_axiswatch_is_refused_in_a_sentence(store_url: str) -> None:
    store = Store(store_url)
    store.upgrade()
    with store.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for act in (lambda: Store.open(store_url), Store(store_url).upgrade):
        with pytest.raises(PrerequisiteMissing, match="revision 9999, which a newer axiswatch made"):
            act()
