"""The demonstration through the command, on a small fleet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.steps import MONITOR
from pipeline.store.database import Store

Dump = Callable[[Store], dict[str, list[dict[str, Any]]]]


def rows_of(database: Path, dump: Dump) -> dict[str, list[dict[str, Any]]]:
    """Every row of a database on SQLite."""
    store = Store.open(f"sqlite:///{database}")
    rows = dump(store)
    store.dispose()
    return rows


def files_of(folder: Path) -> dict[str, str]:
    """Every file of a folder by its path, as a hash of its content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_demonstration_ends_with_a_table_and_running_it_again_changes_nothing(cli: Any, dump: Dump) -> None:
    arguments = ("demo", "--folder", "fleet", "--robots", "5", "--days", "6", "--seed", "3")
    first = cli(*arguments, timeout_s=300, workers=2)
    assert first.code == 0, first.err
    for words in (
        "open cases by reason",
        "Compared with the truth",
        "On axes without findings",
        "export AXISWATCH_HOME",
    ):
        assert words in first.out
    rows, files = rows_of(cli.home / "fleet" / "axiswatch.db", dump), files_of(cli.home / "fleet" / "lake")
    again = cli(*arguments, "--json", timeout_s=120).json()
    steps = again["steps"]
    assert list(steps) == [step.name for step in MONITOR]
    assert steps["acquire"]["recordings"] == steps["extract"]["recordings"] == steps["score"]["recordings"] == 0
    assert (steps["advise"]["opened"], steps["advise"]["closed"]) == (0, 0)
    counted = sum(sum(outcomes.values()) for groups in again["truth"]["axes"].values() for outcomes in groups.values())
    assert counted == 5 * 6 == sum(again["states"].values())
    assert len(rows["scores"]) > 0
    assert rows_of(cli.home / "fleet" / "axiswatch.db", dump) == rows
    assert files_of(cli.home / "fleet" / "lake") == files


def test_the_demonstration_never_touches_what_is_configured(
    cli: Any, make_row: Any, write_log: Any, tmp_path: Path
) -> None:
    """A plant with a log that waits: its database, lake and landing zone are as before, byte by byte."""
    real = tmp_path / "real"
    write_log(real / "landing" / "a.parquet", [make_row(1)])
    configured = {
        "database_url": f"sqlite:///{real / 'plant.db'}",
        "lake_url": real / "lake",
        "landing": real / "landing",
    }
    cli("acquire", "--json", **configured).json()
    write_log(real / "landing" / "b.parquet", [make_row(2)])
    before = files_of(real)
    assert {"plant.db", "landing/b.parquet"} < set(before)
    demo = ("demo", "--folder", "fleet", "--robots", "3", "--days", "5", "--json")
    shown = cli(*demo, timeout_s=300, **configured).json()
    assert files_of(real) == before
    assert sum(shown["states"].values()) == 3 * 6
    assert (cli.home / "fleet" / "axiswatch.db").exists()
