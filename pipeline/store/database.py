"""The database: engines, transactions, migrations and bulk inserts, on SQLite and PostgreSQL alike.

Callers open a transaction and commit it by leaving the block; helpers never commit. Reads and writes have different
transactions, because SQLite has one writer: a write takes the lock at its start, so it cannot fail later for lack of
it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import DeclarativeBase

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.store.tables import Score, UtcDateTime

if TYPE_CHECKING:
    from alembic.config import Config

LOCK_KEY = 0x61786973  # any constant will do; it names axiswatch's advisory lock on PostgreSQL
BULK = 10_000
BUSY_SECONDS = 120
MOST_FREE = 1 / 3
"""Share of a SQLite file that may lie free for new rows. Whole months that go leave less, where three are kept."""

MIGRATIONS = Path(__file__).parents[1] / "migrations"


class Store:
    """A database of axiswatch.

    Parameters
    ----------
    url
        SQLAlchemy URL: `sqlite:///path` or `postgresql+psycopg://...`.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"

    @classmethod
    def open(cls, url: str) -> Store:
        """Open a database. An empty one gets its tables; one of another revision is refused until it is migrated.

        Raises
        ------
        AxiswatchError
            The database cannot be reached.
        PrerequisiteMissing
            The database's tables belong to another version of axiswatch.
        """
        store = cls(url)
        try:
            current = store.revision()
            if current is None:
                store.upgrade()
            elif current > head_revision():
                raise PrerequisiteMissing(_newer(current))
            elif current != head_revision():
                raise PrerequisiteMissing(
                    f"the database is at revision {current}, this axiswatch needs {head_revision()}; "
                    "run `axiswatch db upgrade` (and make a backup first)"
                )
        except DBAPIError as error:
            shown = make_url(url).render_as_string(hide_password=True)
            raise AxiswatchError(f"cannot open the database {shown}: {error.orig}") from error
        return store

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for reading; all its queries see one consistent snapshot."""
        isolation = "SERIALIZABLE" if self.is_sqlite else "REPEATABLE READ"
        with self.engine.connect().execution_options(isolation_level=isolation) as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, dry_run: bool = False) -> Iterator[Connection]:
        """Open a transaction for writing. It is committed when the block ends without an error, else rolled back.

        A dry run is always rolled back.
        """
        options = {"axiswatch_write": True}
        with self.engine.connect().execution_options(**options) as connection, connection.begin() as transaction:
            yield connection
            if dry_run:
                transaction.rollback()

    def revision(self) -> str | None:
        """Return the revision of the database's tables; None where it has no tables."""
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            current: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
            return current

    def upgrade(self) -> None:
        """Migrate the tables to the newest revision. Of two callers at once, the second waits and has nothing to do.

        Raises
        ------
        PrerequisiteMissing
            The tables belong to a newer axiswatch.
        """
        from alembic import command

        current = self.revision()
        if current is not None and current > head_revision():
            raise PrerequisiteMissing(_newer(current))
        with self.write() as connection:
            if not self.is_sqlite:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def refresh_statistics(self, new_rows: int) -> None:
        """Let the database count its rows anew where a step has added many: the plans of queries depend on it.

        SQLite never does so by itself: here it does when it has many times the recordings of the last time, and looks
        at a part of each index (so it may count half of them). PostgreSQL does it in the background; after `BULK` rows
        the next step does not wait for that.
        """
        if new_rows >= BULK and not self.is_sqlite:
            with self.write() as connection:
                connection.exec_driver_sql(f"ANALYZE {', '.join(Score.metadata.tables)}")
        if not new_rows or not self.is_sqlite:
            return
        with self.write() as connection:
            there = connection.exec_driver_sql("SELECT max(rowid) FROM recordings").scalar() or 0
            counted = 0
            if connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").first():
                stat = connection.exec_driver_sql("SELECT stat FROM sqlite_stat1 WHERE tbl = 'recordings'").scalar()
                counted = int((stat or "0").split()[0])
            if there > 8 * counted:
                connection.exec_driver_sql("PRAGMA analysis_limit=1000")
                connection.exec_driver_sql("ANALYZE")

    def reclaim(self, tables: Iterable[type[DeclarativeBase]]) -> dict[str, Any]:
        """Make room of deleted rows usable again, after many were deleted; outside of a transaction.

        SQLite takes free pages for new rows by itself; its file is written anew where more than `MOST_FREE` of it is
        free, which needs as much disk again and holds writers up meanwhile. PostgreSQL's tables are vacuumed and
        counted anew, while others go on; autovacuum would do so later.

        Parameters
        ----------
        tables
            Those from which rows were deleted.

        Returns
        -------
        dict
            `vacuumed`: whether it was done; `size_bytes` of the database after it.
        """
        if not self.is_sqlite:
            names = ", ".join(sorted(_table(model).name for model in tables))
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql(f"VACUUM (ANALYZE) {names}")
                size = connection.scalar(sa.text("SELECT pg_database_size(current_database())"))
            return {"vacuumed": True, "size_bytes": size}
        plain = self.engine.raw_connection()
        try:
            cursor = plain.cursor()

            def value(name: str) -> int:
                return int(cursor.execute(f"PRAGMA {name}").fetchone()[0])

            vacuumed = value("freelist_count") > MOST_FREE * value("page_count")
            if vacuumed:
                cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return {"vacuumed": vacuumed, "size_bytes": value("page_count") * value("page_size")}
        finally:
            plain.close()

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def create_database(url: str) -> bool:
    """Create the PostgreSQL database that a URL names; return False where it existed already.

    It is created over a connection to the server's database `postgres`.

    Raises
    ------
    AxiswatchError
        The server cannot be reached or refuses, or the URL does not name a PostgreSQL database.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql" or not parsed.database:
        raise AxiswatchError(
            f"{parsed.render_as_string(hide_password=True)} names no PostgreSQL database; SQLite creates its own file"
        )
    engine = sa.create_engine(parsed.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            count = sa.text("SELECT count(*) FROM pg_database WHERE datname = :name")
            if connection.scalar(count, {"name": parsed.database}):
                return False
            connection.exec_driver_sql(f"CREATE DATABASE {engine.dialect.identifier_preparer.quote(parsed.database)}")
            return True
    except DBAPIError as error:
        shown = parsed.render_as_string(hide_password=True)
        raise AxiswatchError(f"cannot create the database {shown}: {error.orig}") from error


def alembic_config() -> Config:
    """Return the Alembic configuration of the migrations in this package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def head_revision() -> str:
    """Return the revision of the newest migration in this package: the number that its file begins with."""
    return max(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _newer(current: str) -> str:
    return (
        f"the database is at revision {current}, which a newer axiswatch made; this one knows {head_revision()}: "
        "install the newer one, or go back to a backup"
    )


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise AxiswatchError(
            "database_url is no SQLAlchemy URL; write sqlite:///file or postgresql+psycopg://..."
        ) from error
    if parsed.get_backend_name() == "postgresql":
        try:
            return sa.create_engine(parsed, pool_pre_ping=True)
        except (ImportError, ArgumentError) as error:
            raise AxiswatchError(
                f"database_url names the driver {parsed.drivername}, which cannot be loaded ({error}); write "
                "postgresql+psycopg://... and `pip install 'axiswatch[postgres]'`"
            ) from error
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise AxiswatchError(
            f"database_url {parsed.render_as_string(hide_password=True)} is not supported; "
            "write sqlite:///file or postgresql+psycopg://..."
        )
    engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_SECONDS, "isolation_level": None})
    sa.event.listen(engine, "do_connect", _make_folder)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_folder(_dialect: Any, _record: Any, arguments: Sequence[Any], _keywords: Any) -> None:
    try:
        Path(arguments[0]).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AxiswatchError(
            f"cannot create the folder of database {arguments[0]}: {error.strerror}; set `home` or `database_url`"
        ) from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_SECONDS * 1000}", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    _use_write_ahead_log(cursor)
    cursor.close()


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """Switch to the write-ahead log. SQLite does not wait for a lock here, so this function waits and tries again."""
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("axiswatch_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def insert_into(connection: Connection, model: type[DeclarativeBase]) -> Any:
    """Return an INSERT of the connection's database, which knows ON CONFLICT."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(model)


def insert_ignore(connection: Connection, model: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; skip those whose key exists already. One executemany for any number of rows."""
    if not rows:
        return
    connection.execute(insert_into(connection, model).on_conflict_do_nothing(), [dict(row) for row in rows])


def insert_new(
    connection: Connection, model: type[DeclarativeBase], rows: Mapping[str, Any] | Sequence[Mapping[str, Any]]
) -> list[Any]:
    """Insert rows; return the first column of the key of those whose key did not exist.

    Waits for a concurrent insert of the same key.
    """
    key = next(iter(_table(model).primary_key))
    many = [dict(row) for row in ([rows] if isinstance(rows, Mapping) else rows)]
    statement = insert_into(connection, model).on_conflict_do_nothing().returning(key)
    return list(connection.scalars(statement, many)) if many else []


def upsert(
    connection: Connection,
    model: type[DeclarativeBase],
    rows: Sequence[Mapping[str, Any]],
    *,
    keep: Iterable[str] = (),
) -> None:
    """Insert rows; where the key exists already, update every column except the key and those in `keep`."""
    if not rows:
        return
    table = _table(model)
    key = [column.name for column in table.primary_key]
    statement = insert_into(connection, model)
    changed = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if column.name not in key and column.name not in set(keep)
    }
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), [dict(row) for row in rows])


def _table(model: type[DeclarativeBase]) -> sa.Table:
    table = model.__table__
    assert isinstance(table, sa.Table)
    return table


def bulk_insert(connection: Connection, model: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert many rows at once; skip those whose key exists already.

    PostgreSQL: COPY into a temporary table, then one INSERT. SQLite: one executemany. All rows must have the same
    columns.
    """
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        insert_ignore(connection, model, rows)
        return
    table = _table(model)
    names = list(rows[0])
    columns = ", ".join(f'"{name}"' for name in names)
    staging = f"staging_{table.name}"
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {staging} (LIKE {table.name}) ON COMMIT DELETE ROWS"
    )
    writers = [_copy_writer(table.c[name], connection.dialect) for name in names]
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(f"COPY {staging} ({columns}) FROM STDIN") as copy:
            for row in rows:
                values = [row[name] for name in names]
                copy.write_row(
                    [
                        value if writer is None or value is None else writer(value)
                        for writer, value in zip(writers, values, strict=True)
                    ]
                )
    finally:
        cursor.close()
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {staging} ON CONFLICT DO NOTHING"  # noqa: S608  # nosec B608
    )
    connection.exec_driver_sql(f"TRUNCATE {staging}")


def _copy_writer(column: sa.Column[Any], dialect: sa.Dialect) -> Callable[[Any], Any] | None:
    """Return the conversion of a column's values before COPY: JSON to text, check of times; None: no conversion."""
    if isinstance(column.type, sa.JSON):
        return json.dumps
    if isinstance(column.type, UtcDateTime):
        kind = column.type
        return lambda value: kind.process_bind_param(value, dialect)
    return None


def ensure_partitions(store: Store, times: Iterable[datetime]) -> None:
    """Create the monthly partitions of the score table for some times (UTC). On SQLite there is nothing to do."""
    if store.is_sqlite:
        return
    months = sorted({(time.astimezone(UTC).year, time.astimezone(UTC).month) for time in times})
    with store.read() as connection:
        present = set(sa.inspect(connection).get_table_names())
    missing = [month for month in months if partition_name(*month) not in present]
    if not missing:
        return
    with store.write() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        for year, month in missing:
            following = (year + 1, 1) if month == 12 else (year, month + 1)
            connection.exec_driver_sql(
                f"CREATE TABLE IF NOT EXISTS {partition_name(year, month)} PARTITION OF {Score.__tablename__} "
                f"FOR VALUES FROM ('{year:04d}-{month:02d}-01 00:00:00+00') "
                f"TO ('{following[0]:04d}-{following[1]:02d}-01 00:00:00+00')"
            )


def partition_name(year: int, month: int) -> str:
    """Return the name of a month's partition of the score table."""
    return f"{Score.__tablename__}_y{year:04d}m{month:02d}"
