"""History in bulk: the rows of a plant that was really run, multiplied by SQL in every table that grows with history.

Copies lie after the plant's own time, at a steady pace, so each unit's first recording stays the earliest one and its
baselines stay valid. Copy n of an axis is one of the recordings of its last days, with another time and id. Further
axes are copies of axes without a case. Pending marks are not copied, so nothing is due afterwards.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipeline.base.ids import axis_id, recording_id, stable_id
from pipeline.cases.axis_state import bin_start
from pipeline.store.database import Store, ensure_partitions
from pipeline.store.tables import Axis, Base, Case, Extraction, Recording, Scoring

SOURCE_DAYS = 3.0
"""The recordings of this many last days of the plant are the ones that are copied, days."""

APART = timedelta(seconds=0.5)
"""Time between the recordings of two axes of a robot."""

NOT_CLONED = {"axis_states", "cases", "labels", "axis_events", "axis_mutes"}
"""Tables with axes whose rows are not copied to further axes as they are."""

STUB = "stub.parquet"
"""The file that all log files of the history are links to."""

LAKE_COPY = "replace(s.lake_path, '.parquet', c.block || '.parquet')"
BASELINE_COPY = (
    "CASE WHEN c.suffix = '' OR s.baseline_version = '' THEN s.baseline_version "
    "ELSE substr(md5(s.baseline_version || c.suffix), 1, 16) END"
)


@dataclass(frozen=True)
class Place:
    """An axis of the multiplied plant: itself, or (with a suffix of its unit's serial) a copy of another axis."""

    source: str
    axis_id: str
    site: str
    cell: str
    robot_id: str
    axis: str
    suffix: str


def places_of(store: Store, axes: int) -> list[Place]:
    """Return the plant's own axes, and copies of those without a case until there are `axes`."""
    with store.read() as connection:
        own = connection.execute(sa.select(Axis).order_by(Axis.axis_id)).all()
        cases = set(connection.scalars(sa.select(Case.axis_id)))
    places = [Place(row.axis_id, row.axis_id, row.site, row.cell, row.robot_id, row.axis, "") for row in own]
    healthy = [row for row in own if row.axis_id not in cases]
    for number in range(axes - len(own)):
        robot, joint = divmod(number, 6)
        row = healthy[number % len(healthy)]
        names = (row.site, f"x{robot // 4 + 1}", f"X{robot + 1:04d}", f"A{joint + 1}")
        places.append(Place(row.axis_id, axis_id(*names), *names, f"-{number + 1}"))
    return places


def multiply(store: Store, lake: Path, landing: Path, *, end: datetime, axes: int, copies: int, period_s: float) -> Any:
    """Multiply the history of a plant.

    Parameters
    ----------
    store, lake, landing
        The plant; its lake and its landing zone are folders.
    end
        End of the plant's own time, UTC.
    axes
        Axes of the multiplied plant; not below those of the plant.
    copies
        Further recordings of each axis, one every `period_s` seconds.

    Returns
    -------
    dict
        `end` of the history, and `places`: the axes that are copies.
    """
    places = places_of(store, axes)
    period = timedelta(seconds=period_s)
    until = end + copies * period
    ensure_partitions(store, _months(end - timedelta(days=62), until + timedelta(days=62)))
    history = _history(store, end)
    days = int(copies * period / timedelta(days=1)) + 1
    linked = []
    for path, recent in _lake_files(history, end):
        for day in range(days if recent else 1):
            linked.append((path, path.replace(".parquet", f"-{day}.parquet")))
            os.link(lake / path, lake / linked[-1][1])
    writer = _writer(store)
    with writer:
        writer.create("clones", "source", "axis_id", "site", "cell", "robot_id", "axis", "suffix")
        writer.fill("clones", (vars(place).values() for place in places if place.suffix))
        writer.create("lake_copies", "source", "path")
        writer.fill("lake_copies", linked)
        writer.create("logs", "file_hash", "path", "at")
        writer.fill("logs", _logs(places, landing, end, days if copies else 0))
        landed = (landing / STUB).stat().st_mtime_ns
        writer.create("copies", "source", "recording_id", "axis_id", "at", "suffix", "file_hash", "block")
        writer.create("states", "source", "source_bin", "axis_id", "bin_at", "first_at", "last_at")
        bins: list[tuple[Any, ...]] = []
        writer.fill("copies", _copies(places, history, end, copies, period, bins))
        writer.fill("states", bins)
        for statement in _statements(landed):
            writer.execute(statement)
    return {"end": until, "places": [vars(place) for place in places if place.suffix]}


def _history(store: Store, end: datetime) -> dict[str, list[Any]]:
    """Return the recordings of each axis that were scored, with their places in the lake, in order of time."""
    columns = (Recording.recording_id, Recording.axis_id, Recording.channel, Recording.started_at, Recording.lake_path)
    query = (
        sa.select(*columns, Extraction.lake_path.label("features_path"))
        .join(Extraction, Extraction.recording_id == Recording.recording_id)
        .where(Recording.started_at < end, Recording.recording_id.in_(sa.select(Scoring.recording_id)))
        .order_by(Recording.started_at)
    )
    history: dict[str, list[Any]] = {}
    with store.read() as connection:
        for row in connection.execute(query):
            history.setdefault(row.axis_id, []).append(row)
    return history


def _lake_files(history: dict[str, list[Any]], end: datetime) -> list[tuple[str, bool]]:
    """Return the files that recordings are in, and whether one of them is among the last days' recordings."""
    files: dict[str, bool] = {}
    for row in (row for rows in history.values() for row in rows):
        recent = row.started_at >= end - timedelta(days=SOURCE_DAYS)
        for path in (row.lake_path, row.features_path):
            if path is not None:
                files[path] = files.get(path, False) or recent
    return sorted(files.items())


def _months(first: datetime, last: datetime) -> Iterator[datetime]:
    while first <= last:
        yield first
        first += timedelta(days=20)
    yield last


def _logs(places: Sequence[Place], landing: Path, end: datetime, days: int) -> Iterator[tuple[Any, ...]]:
    """Yield a log file for each robot and day; all are links to one small file that is in the landing zone."""
    robots = sorted({(place.site, place.cell, place.robot_id) for place in places})
    stub = landing / STUB
    stub.write_bytes(b"read already")
    os.utime(stub, (end.timestamp(), end.timestamp()))
    yield stable_id("stub", length=64), stub.name, end
    for site, cell, robot in robots:
        folder = landing / site / cell / robot
        folder.mkdir(parents=True, exist_ok=True)
        for day in range(days):
            path = folder / f"history-{day}.parquet"
            os.link(stub, path)
            yield _log_hash(robot, day), path.relative_to(landing).as_posix(), end + timedelta(days=day)


def _log_hash(robot: str, day: int) -> str:
    return hashlib.sha256(f"{robot} {day}".encode()).hexdigest()


def _copies(
    places: Sequence[Place],
    history: dict[str, list[Any]],
    end: datetime,
    copies: int,
    period: timedelta,
    bins: list[tuple[Any, ...]],
) -> Iterator[tuple[Any, ...]]:
    """Yield the copies in order of time and collect the bins of the axis states."""
    hour = timedelta(hours=1)
    latest: dict[str, list[Any]] = {}
    recent = {
        axis: [row for row in rows if row.started_at >= end - timedelta(days=SOURCE_DAYS)]
        for axis, rows in history.items()
    }

    def one(place: Place, row: Any, at: datetime, day: int) -> tuple[Any, ...]:
        bin_at = bin_start(at, hour)
        state = latest.get(place.axis_id)
        if state is None or state[3] != bin_at:
            state = [place.source, bin_start(row.started_at, hour), place.axis_id, bin_at, at, at]
            latest[place.axis_id] = state
            bins.append(state)  # type: ignore[arg-type]
        state[5] = at
        copy = recording_id(place.axis_id, row.channel, at)
        return row.recording_id, copy, place.axis_id, at, place.suffix, _log_hash(place.robot_id, day), f"-{day}"

    for place in places:
        if place.suffix:
            for row in history[place.source]:
                yield one(place, row, row.started_at, 0)
    latest.clear()
    for number in range(copies):
        moment = end + (number + 1) * period
        for place in places:
            rows = recent.get(place.source)
            if rows:
                at = moment - (int(place.axis[1:]) - 1) * APART
                yield one(place, rows[number % len(rows)], at, int(number * period / timedelta(days=1)))


def _statements(landed: int) -> Iterator[str]:
    """Yield the statements that multiply, in the order of foreign keys; `landed`: when the stub was written, ns."""
    yield (
        "INSERT INTO log_files (file_hash, path, size_bytes, n_rows, n_accepted, n_known, n_quarantined, note, "
        "known_at) SELECT file_hash, path, 12, 18, 18, 0, 0, '', at FROM logs"
    )
    entries = "INSERT INTO landing_entries (path, size_bytes, modified_ns, file_hash)"
    yield f"{entries} SELECT path, 12, {landed}, file_hash FROM logs"
    for table in Base.metadata.sorted_tables:
        names = {column.name for column in table.columns}
        if table.name == "lake_files":
            yield from _insert(table, {"path": "c.path"}, "lake_copies", {"path": "source"})
        elif table.name == "axis_states":
            changed = dict.fromkeys(("known_at",), "c.last_at")
            changed |= {name: f"c.{name}" for name in ("axis_id", "bin_at", "first_at", "last_at")}
            yield from _insert(table, changed, "states", {"axis_id": "source", "bin_at": "source_bin"})
        elif "recording_id" in table.primary_key.columns:
            changed = {name: f"c.{name}" for name in ("recording_id", "axis_id", "file_hash")}
            changed |= dict.fromkeys(("started_at", "known_at"), "c.at")
            changed |= {"content_hash": "c.recording_id", "unit_serial": "s.unit_serial || c.suffix"}
            changed |= {"lake_path": LAKE_COPY, "baseline_version": BASELINE_COPY}
            yield from _insert(table, changed, "copies", {"recording_id": "source"})
        elif "axis_id" in names and table.name not in NOT_CLONED:
            changed = {"axis_id": "c.axis_id", "unit_serial": "s.unit_serial || c.suffix"}
            changed |= {"baseline_version": BASELINE_COPY}
            if table.name == "axes":
                changed = {name: f"c.{name}" for name in ("axis_id", "site", "cell", "robot_id", "axis")}
            yield from _insert(table, changed, "clones", {"axis_id": "source"})


def _insert(table: sa.Table, changed: dict[str, str], copies: str, on: dict[str, str]) -> Iterator[str]:
    """Yield the statements that add copies of a table's rows; a temporary table holds the rows as they were."""
    names = [column.name for column in table.columns]
    values = ", ".join(changed.get(name, f"s.{name}") for name in names)
    same = " AND ".join(f"s.{name} = c.{other}" for name, other in on.items())
    yield f"CREATE TEMPORARY TABLE was_{table.name} AS SELECT * FROM {table.name}"
    yield f"CREATE INDEX was_{table.name}_key ON was_{table.name} ({', '.join(on)})"
    yield (
        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {values} "
        f"FROM {copies} c CROSS JOIN was_{table.name} s WHERE {same}"
    )


class _Writer:
    """A connection of the database's own driver, in one transaction, with temporary tables."""

    connection: Any

    def create(self, table: str, *columns: str) -> None:
        moments = ("at", "bin_at", "source_bin", "first_at", "last_at")
        typed = ", ".join(f"{name} {self.moment if name in moments else 'TEXT'}" for name in columns)
        self.execute(f"CREATE TEMPORARY TABLE {table} ({typed})")

    moment = "TEXT"

    def execute(self, statement: str) -> None:
        """Execute one statement."""
        self.connection.execute(statement)


class _Sqlite(_Writer):
    """SQLite without a journal: a plant that is half multiplied is thrown away."""

    def __init__(self, file: str) -> None:
        self.connection = sqlite3.connect(file, isolation_level=None)
        self.connection.create_function("md5", 1, lambda text: hashlib.md5(text.encode()).hexdigest())

    def __enter__(self) -> None:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-2000000", "foreign_keys=OFF"):
            self.execute(f"PRAGMA {pragma}")
        self.execute("BEGIN")

    def __exit__(self, *error: object) -> None:
        self.execute("COMMIT")
        self.execute("PRAGMA journal_mode=WAL")
        self.connection.close()

    def fill(self, table: str, rows: Iterable[Iterable[Any]]) -> None:
        stored = (tuple(map(_as_text, row)) for row in rows)
        first = next(stored, None)
        if first is not None:
            insert = f"INSERT INTO {table} VALUES ({', '.join('?' * len(first))})"
            self.connection.execute(insert, first)
            self.connection.executemany(insert, stored)


class _Psycopg(_Writer):
    """PostgreSQL: rows by COPY; vacuumed and analyzed at the end, as its autovacuum would do."""

    moment = "timestamptz"

    def __init__(self, url: str) -> None:
        import psycopg

        parsed = sa.engine.make_url(url)
        self.connection = psycopg.connect(f"host={parsed.query['host']} user=postgres dbname={parsed.database}")

    def __enter__(self) -> None:
        self.execute("SET work_mem = '512MB'")

    def __exit__(self, *error: object) -> None:
        self.connection.commit()
        self.connection.autocommit = True
        self.execute("VACUUM ANALYZE")
        self.connection.close()

    def fill(self, table: str, rows: Iterable[Iterable[Any]]) -> None:
        with self.connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(tuple(row))
        self.execute(f"ANALYZE {table}")


def _writer(store: Store) -> Any:
    url = store.engine.url
    if store.is_sqlite:
        store.dispose()
        return _Sqlite(str(url.database))
    return _Psycopg(url.render_as_string(hide_password=False))


def _as_text(value: Any) -> Any:
    """Return a time in the form that SQLAlchemy stores on SQLite."""
    if not isinstance(value, datetime):
        return value
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
