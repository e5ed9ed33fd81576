"""Backup and restore of database and lake together, while runs go on.

The database is copied first, as of one moment; then every file of the lake that its rows name. Files never change and
their rows come after them, so a run at work does no harm. Only retention and sweep delete files: where one was at work
meanwhile, the backup begins again. A backup that is killed leaves the one before as it was: files are only added, and
the new database takes its place last.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.store.database import Store
from pipeline.store.lake import ASIDE, Lake, LakeError, LakeUnavailable
from pipeline.store.retention import named_files

TRIES = 3
SQLITE, POSTGRESQL = "axiswatch.db", "axiswatch.dump"
LAKE = "lake"
"""Names in the folder of a backup."""


class _DeletedMeanwhile(Exception):
    """A file that the copied database names was deleted by retention after that."""


def backup(store: Store, lake: Lake, folder: Path, *, files_only: bool = False) -> dict[str, Any]:
    """Copy database and lake to a folder; what an earlier backup has copied is not copied again.

    Parameters
    ----------
    files_only
        The database was copied just before by other means: copy the files of its rows only.

    Returns
    -------
    dict
        `files`: files of the lake that were copied; `files_known`: those that the folder had.

    Raises
    ------
    PrerequisiteMissing
        The database is PostgreSQL's and `pg_dump` is not installed.
    AxiswatchError
        The database cannot be copied, rows name files that the lake does not have (the rest was copied), or files were
        deleted during each of three tries.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = Lake(str(folder.absolute() / LAKE))
    name = SQLITE if store.is_sqlite else POSTGRESQL
    new = folder / f"{name}.new"
    for _ in range(TRIES):
        new.unlink(missing_ok=True)
        try:
            with _snapshot(store, None if files_only else new) as wanted:
                copied, known, lost = _copy_files(store, lake, target, wanted)
        except _DeletedMeanwhile:
            continue
        if not files_only:
            _sync(new)
            new.replace(folder / name)
            _sync(folder)
        if lost:
            raise AxiswatchError(
                f"{len(lost)} files that rows name are not in the lake, {lost[0]} for one; all others are in {folder}. "
                "Restore them from an earlier backup"
            )
        return {"folder": str(folder), "database": "" if files_only else name, "files": copied, "files_known": known}
    raise AxiswatchError("files of the lake were deleted during the backup; let no retention run meanwhile, try again")


def restore(folder: Path, url: str, lake: Lake) -> dict[str, Any]:
    """Bring back what `backup` has copied, to a database that is not there yet and to a lake. Killed, it can run again.

    Raises
    ------
    PrerequisiteMissing
        The folder holds no backup of this kind of database, or `pg_restore` is not installed.
    AxiswatchError
        There is a database already, or a file of the backup is damaged or missing.
    """
    parsed = make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    kept = folder / (SQLITE if is_sqlite else POSTGRESQL)
    if not kept.is_file():
        raise PrerequisiteMissing(f"{folder} has no {kept.name}; give the folder of a backup of this kind of database")
    if not is_sqlite:
        return _restore_postgresql(folder, kept, parsed, lake)
    path = Path(parsed.database or "")
    if path.exists():
        raise AxiswatchError(f"{path} is there already; move it away, with its -wal and -shm, and restore again")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.restored")
    shutil.copyfile(kept, new)
    copy = Store(f"sqlite:///{new}")
    try:
        with copy.read() as connection:
            names = named_files(connection)
    except sa.exc.DBAPIError as error:
        raise AxiswatchError(f"{kept} is damaged ({error.orig}); take another backup") from error
    finally:
        copy.dispose()
    copied = _bring_back(folder, lake, names)
    _sync(new)
    new.replace(path)
    _sync(path.parent)
    return {"database": str(path), "files": copied}


def _restore_postgresql(folder: Path, kept: Path, url: URL, lake: Lake) -> dict[str, Any]:
    """Bring all files back, then the database in one transaction: whatever is killed before its end can begin again."""
    store = Store(url.render_as_string(hide_password=False))
    try:
        if store.revision() is not None:
            raise AxiswatchError("the database has tables already; `createdb` an empty one and name it by database_url")
        there = {path for path, _ in Lake(str(folder.absolute() / LAKE)).files() if not path.startswith(f"{ASIDE}/")}
        copied = _bring_back(folder, lake, there)
        _run("pg_restore", url, "--exit-on-error", "--single-transaction", "--no-owner", str(kept))
        with store.read() as connection:
            copied += _bring_back(folder, lake, named_files(connection) - there)
    finally:
        store.dispose()
    return {"database": url.render_as_string(hide_password=True), "files": copied}


@contextmanager
def _snapshot(store: Store, new: Path | None) -> Iterator[set[str]]:
    """Copy the database as of one moment to `new`; give the paths that its rows name."""
    if not store.is_sqlite:
        with store.read() as connection:
            names = named_files(connection)
            if new is not None:
                snapshot = connection.scalar(sa.text("SELECT pg_export_snapshot()"))
                words = ("--format=custom", f"--snapshot={snapshot}", f"--file={new}")
                _run("pg_dump", store.engine.url, *words)
        yield names
        return
    if new is None:
        with store.read() as connection:
            names = named_files(connection)
        yield names
        return
    source = store.engine.raw_connection()
    try:
        with closing(sqlite3.connect(new)) as target:
            source.driver_connection.backup(target)  # type: ignore[union-attr]
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without -wal and -shm beside it
    finally:
        source.close()
    copy = sa.create_engine(f"sqlite:///{new}", poolclass=sa.NullPool)
    with copy.connect() as connection:
        names = named_files(connection)
    yield names


def _copy_files(store: Store, lake: Lake, target: Lake, wanted: set[str]) -> tuple[int, int, list[str]]:
    """Copy files that the target does not have; return how many, how many it had, and those that the lake has lost."""
    there = {path for path, _ in target.files()}
    lost = []
    missing = sorted(wanted - there)
    for path in missing:
        try:
            target.take(lake, path)
        except LakeUnavailable:
            raise
        except LakeError as error:
            with store.read() as connection:
                if path not in named_files(connection):
                    raise _DeletedMeanwhile from error
            lost.append(path)
    return len(missing) - len(lost), len(wanted & there), lost


def _bring_back(folder: Path, lake: Lake, names: set[str]) -> int:
    """Copy what the lake does not have, or has damaged; return the number of files."""
    kept = Lake(str(folder.absolute() / LAKE))
    wanted = sorted(name for name in names if not lake.has(name))
    if damaged := [name for name in wanted if not kept.has(name)]:
        raise AxiswatchError(
            f"{len(damaged)} files of the backup {folder} are damaged or missing, {damaged[0]} for one; take another"
        )
    for name in wanted:
        lake.remove(name)
        lake.take(kept, name)
    return len(wanted)


def _run(program: str, url: URL, *words: str) -> None:
    """Run a program of PostgreSQL on a database; the password goes through a file, which no other user can read."""
    found = shutil.which(program)
    if found is None:
        raise PrerequisiteMissing(f"{program} is not installed; install PostgreSQL's client programs (docs/backup.md)")
    with TemporaryDirectory() as place:
        file = Path(place, "pass")
        file.touch(mode=0o600)
        password = str(url.password or "").replace("\\", "\\\\").replace(":", "\\:")
        file.write_text(f"*:*:*:*:{password}\n", encoding="utf-8")
        query = {**url.query, "passfile": str(file)}
        bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
        target = f"--dbname={bare.render_as_string(hide_password=False)}"
        done = subprocess.run([found, target, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AxiswatchError(f"{program} ended with {done.returncode}: {done.stderr.strip()[-500:]}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
