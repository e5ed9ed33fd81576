"""Faults of disk, memory, workers and database end a command in one sentence and exit code 1, never in a traceback."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.cli.app import sentence_of


def ends_in_a_sentence(ended: Any) -> bool:
    return ended.code == 1 and ended.err.startswith("error: ") and "Traceback" not in ended.err


def test_a_database_that_cannot_be_opened_by_an_upgrade(cli: Any) -> None:
    (cli.home / "axiswatch.db").mkdir()
    ended = cli("db", "upgrade")
    assert ends_in_a_sentence(ended), ended.err
    assert "the database cannot be used: unable to open database file" in ended.err


def test_a_database_that_is_damaged_behind_its_first_page(cli: Any) -> None:
    cli("db", "upgrade")
    file = cli.home / "axiswatch.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(3 * 4096)
        opened.write(b"\xff" * (size - 3 * 4096))
    assert ends_in_a_sentence(ended := cli("queue")), ended.err


def test_a_file_that_cannot_become_larger(cli: Any) -> None:
    """As on a full disk: the error names no file."""
    cli("db", "upgrade")
    small = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9, {resource.RLIM_INFINITY}))"
    words = ["axiswatch", "export", "cases", "--out", str(cli.home / "cases.csv")]
    code = f"{small}; import sys; sys.argv = {words}; from pipeline.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=cli.environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ") and "Traceback" not in ended.stderr, ended.stderr


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
