"""The landing zone gives up what is safely in the lake, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.base.errors import SettingsError
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.intake.prune import prune_landing
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import LandingEntry

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def put(path: Path, days: float) -> None:
    """Let a file have been changed some days ago."""
    at = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (at, at))


@pytest.fixture
def names(
    sqlite_store: Store,
    lake: Lake,
    landing: Path,
    limits: Limits,
    make_row: Callable[..., dict[str, Any]],
    write_log: Callable[..., Path],
) -> Callable[[], list[str]]:
    """Files old and new: taken, with a row or as a whole in quarantine, changed since, and never taken."""
    good, bad = make_row(0), make_row(1) | {"samples": []}
    for number, (name, rows) in enumerate({"r1/old": [good], "r1/mixed": [good, bad], "r2/changed": [good]}.items()):
        rows = [row | {"robot_id": f"R{number}"} for row in rows]
        put(write_log(landing / f"{name}.parquet", rows), 40)
    put(write_log(landing / "r3/new.parquet", [good | {"robot_id": "R9"}]), 1)
    (landing / "half.parquet").write_bytes(b"PAR1 and then the power went")
    put(landing / "half.parquet", 40)
    acquire(sqlite_store, lake, landing, limits=limits, settled_before=NOW)
    size = (landing / "r2/changed.parquet").stat().st_size
    (landing / "r2/changed.parquet").write_bytes(b"x" * size)
    put(landing / "r2/changed.parquet", 40)
    (landing / "late.parquet").write_bytes(b"nobody has read this")
    put(landing / "late.parquet", 40)
    return lambda: sorted(path.relative_to(landing).as_posix() for path in landing.rglob("*.parquet"))


LEFT = ["late.parquet", "r2/changed.parquet", "r3/new.parquet"]


def test_what_was_taken_goes_and_all_else_stays(
    sqlite_store: Store, lake: Lake, landing: Path, limits: Limits, names: Callable[[], list[str]]
) -> None:
    before = names()
    told = prune_landing(sqlite_store, landing, before=NOW - timedelta(days=30), dry_run=True)
    assert (told.files, told.kept, names()) == (3, 2, before)
    done = prune_landing(sqlite_store, landing, before=NOW - timedelta(days=30))
    assert (done.files, done.kept, done.problems) == (3, 2, [])
    assert names() == LEFT, "of the same size and time, but with other bytes: it was not taken"
    assert not (landing / "r1").exists(), "empty folders would be listed for ever"
    assert landing.is_dir()
    with sqlite_store.read() as connection:
        known = set(connection.scalars(sa.select(LandingEntry.path)))
    assert known == {"r2/changed.parquet", "r3/new.parquet"}, "the table does not grow for ever"


def test_an_archive_keeps_the_folders(
    sqlite_store: Store, landing: Path, tmp_path: Path, names: Callable[[], list[str]]
) -> None:
    archive = tmp_path / "archive"
    prune_landing(sqlite_store, landing, before=NOW - timedelta(days=30), archive=archive)
    kept = sorted(path.relative_to(archive).as_posix() for path in archive.rglob("*.parquet"))
    assert kept == ["half.parquet", "r1/mixed.parquet", "r1/old.parquet"]
    assert names() == LEFT
    with pytest.raises(SettingsError, match="inside the landing zone"):
        prune_landing(sqlite_store, landing, before=NOW, archive=landing / "old")
