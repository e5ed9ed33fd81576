"""Faults of disk, memory, workers and database end a command in one sentence and exit code 1, never in a traceback."""

from __future__ import annotations

import errno
import os
import sqlite3
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.cli.app import sentence_of


def test_a_database_that_cannot_be_opened_by_an_upgrade(cli: Any) -> None:
    (cli.home / "axiswatch.db").mkdir()
    ended = cli("db", "upgrade")
    assert ended.code == 1
    assert ended.err.startswith("error: the database cannot be used: unable to open database file"), ended.err


def test_a_lake_that_is_not_mounted_is_not_written_to(cli: Any, make_row: Any, write_log: Any) -> None:
    """What a run wrote into the empty folder would be hidden by the mount, and its rows would name files not there."""
    lake, aside = cli.home / "lake", cli.home / "mounted elsewhere"
    write_log(cli.home / "landing/1.parquet", [make_row(0)])
    assert cli("acquire", "--json").json()["recordings"] == 1
    write_log(cli.home / "landing/2.parquet", [make_row(1)])
    lake.rename(aside)
    for _ in range(2):
        ended = cli("run", "--json")
        assert ended.code == 1
        assert "is empty though the database names files" in ended.err
        assert list(lake.iterdir()) == []
    lake.rmdir()
    aside.rename(lake)
    assert cli("acquire", "--json").json()["recordings"] == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (OSError(errno.EIO, os.strerror(errno.EIO), "a file"), "cannot use a file: Input/output error"),
        (BrokenProcessPool("gone"), "a worker process was killed"),
        (sa.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection")), "server closed the conn"),
        (sqlite3.OperationalError("disk I/O error"), "the database cannot be used: disk I/O error"),
    ],
)
def test_what_is_no_fault_of_the_program_has_a_sentence(error: Exception, words: str) -> None:
    assert words in (sentence_of(error) or "")


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), sa.exc.ProgrammingError("SELEC", {}, Exception("syntax"))]
)
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception) -> None:
    assert sentence_of(error) is None
