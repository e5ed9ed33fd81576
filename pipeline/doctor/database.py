"""The database: is it there, of this version, whole, writable, and does it know how many rows it has."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from pipeline.base.errors import AxiswatchError
from pipeline.doctor.finding import GIB, Patient, Said
from pipeline.store.database import Store, head_revision

COUNTED_FROM = 1024**2
"""Size from which a table of PostgreSQL needs statistics, bytes."""

STEPS = 100_000
"""Instructions of SQLite between two looks at the time."""


def unreachable(patient: Patient) -> str:
    """Return why nothing can be read from the database; '' where it can."""
    url = make_url(patient.settings.database)
    shown = url.render_as_string(hide_password=True)
    if patient.is_sqlite and not Path(url.database or "").is_file():
        return f"there is no database {shown}; set `home` or `database_url`, or restore a backup"
    try:
        current = patient.store.revision()
    except AxiswatchError as error:
        return str(error)
    except DBAPIError as error:
        way = "restore a backup" if patient.is_sqlite else "start the server, or see to its address and password"
        return f"cannot open the database {shown}: {str(error.orig).strip()}; {way}"
    if current is None:
        return f"the database {shown} has no tables; `axiswatch db upgrade` makes them"
    if current < head_revision():
        return (
            f"the database is at revision {current}, this axiswatch needs {head_revision()}; make a backup, then "
            "`axiswatch db upgrade`"
        )
    if current > head_revision():
        return f"the database is at revision {current}, made by a newer axiswatch; install that one"
    return ""


def database(patient: Patient) -> Said:
    """Say of which version the database is, whether it is whole and may be written, and whether rows are counted."""
    if why := unreachable(patient):
        yield True, why
        return
    url = make_url(patient.settings.database)
    yield False, f"{url.render_as_string(hide_password=True)}, revision {head_revision()}"
    yield from _sqlite(url, patient.seconds) if patient.is_sqlite else _postgresql(patient.store)


def _sqlite(url: URL, seconds: float) -> Said:
    path = Path(url.database or "")
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        yield True, f"{path} or its folder may not be written by this user; change their owner or rights"
    if (path.stat().st_mode | path.parent.stat().st_mode) & stat.S_IWOTH:
        yield True, f"{path} or its folder may be written by every user of this computer; `chmod o-w` both"
    give_up = time.monotonic() + seconds / 2
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=seconds / 4)
    connection.set_progress_handler(lambda: time.monotonic() > give_up, STEPS)
    size = f"{path.stat().st_size / GIB:.2f} GB"
    try:
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        yield False, f"{size}; its quick check did not end in {seconds / 2:g} s and was given up"
        return
    finally:
        connection.close()
    if answer == "ok":
        yield False, f"{size}, and its quick check finds it whole"
    else:
        yield True, f"{path} is damaged ({str(answer).splitlines()[-1]}); stop all runs and restore a backup"


def _postgresql(store: Store) -> Said:
    bare = sa.text(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' "
        "AND pg_relation_size(c.oid) > :size AND NOT EXISTS (SELECT 1 FROM pg_stats s "
        "WHERE s.schemaname = 'public' AND s.tablename = c.relname) ORDER BY c.relname"
    )
    with store.read() as connection:
        version = connection.scalar(sa.text("SHOW server_version"))
        read_only = connection.scalar(sa.text("SHOW default_transaction_read_only")) == "on"
        standby = connection.scalar(sa.text("SELECT pg_is_in_recovery()"))
        size = connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0
        names = connection.scalars(bare, {"size": COUNTED_FROM}).all()
    yield False, f"PostgreSQL {version}, {size / GIB:.2f} GB"
    if read_only or standby:
        yield True, "the database only reads: it is a standby, or default_transaction_read_only is on; name the primary"
    if names:
        yield (
            True,
            f"the rows of {', '.join(names)} were never counted, so queries may be slow; run `ANALYZE`, and turn "
            "autovacuum on",
        )
