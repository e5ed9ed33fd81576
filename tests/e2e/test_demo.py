"""The demonstration through the command, on a small fleet."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

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


def codes_of(cli: Any, home: Path) -> Counter[str]:
    """How many cases of any state have each reason."""
    cases = cli("queue", "--state", "all", "--json", home=home).json()
    return Counter(reason["code"] for case in cases for reason in case["reasons"])


def test_a_demonstration_keeps_its_own_clock_and_serves_where_there_is_a_terminal(cli: Any) -> None:
    """A label and a run later no axis has fallen silent; without a terminal it ends; with one a browser can log in."""
    home = cli.home / "fleet"
    arguments = ("demo", "--folder", "fleet", "--robots", "3", "--days", "5")
    ended = cli(*arguments, "--serve", timeout_s=300)
    assert ended.code == 0
    assert "axiswatch review serve" in " ".join(ended.out.split())
    assert "password" not in ended.out
    before = codes_of(cli, home)
    case = cli("queue", "--json", home=home).json()[0]
    label = cli("label", case["case_id"], "fault", "--evidence", "inspected", "--json", home=home).json()
    known_at = datetime.fromisoformat(cli("case", label["case_id"], "--json", home=home).json()["closed_at"])
    assert timedelta() <= known_at - datetime(2026, 1, 10, tzinfo=UTC) < timedelta(hours=12)
    assert cli("run", "--json", home=home).json()["advise"]["opened"] == 0
    assert codes_of(cli, home)["silent"] == before["silent"]
    first, second = (serve_and_log_in(cli, arguments) for _ in range(2))
    assert first != second
    assert len(first) >= 10
    undone = cli("label", case["case_id"], "healthy", "--evidence", "teardown", "--json", home=home).json()
    again = cli("case", undone["case_id"], "--json", home=home).json()["events"][-1]["at"]
    assert datetime.fromisoformat(again) >= known_at, "the clock does not go back over what was done"


def serve_and_log_in(cli: Any, arguments: tuple[str, ...]) -> str:
    """Start `axiswatch demo --serve` on a terminal, log in as it says, end it as Ctrl-C does; return the password."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [cli.program, *arguments, "--serve"],
        env=cli.environment(),
        cwd=cli.home,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs)
    said = ""
    try:
        while "Ctrl-C" not in said:
            said += os.read(ours, 65_536).decode()
        address, password = re.search(r"http://\S+", said), re.search(r"password\s+(\S+)", said)
        assert address is not None
        assert password is not None
        with httpx.Client(base_url=address[0], follow_redirects=True) as browser:
            answers(browser)
            page = browser.post("/login", data={"name": "demo", "password": password[1]})
            assert page.status_code == 200
            assert 'data-case="' in page.text
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        cli.kill(process)
        os.close(ours)
    return password[1]


def answers(browser: httpx.Client, tries: int = 600) -> None:
    """Wait until the application answers."""
    for number in range(tries):
        try:
            browser.get("/login")
            return
        except httpx.ConnectError:
            if number + 1 == tries:
                raise
            time.sleep(0.1)
