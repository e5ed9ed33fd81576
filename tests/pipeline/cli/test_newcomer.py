"""What somebody meets who types the first commands: groups, completion, counts first, narrow terminals, next steps."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import typer.main
from rich.console import Console
from typer.testing import CliRunner

from pipeline.base.ids import axis_id
from pipeline.cli import common
from pipeline.cli.app import app
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Case

LONG = "plant1/c2/R07/A3"
WIDTHS = (40, 60, 80, 100, 120)


def printed(monkeypatch: pytest.MonkeyPatch, width: int, *arguments: Any) -> str:
    """What `table` prints on a terminal of some width."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    monkeypatch.setattr(common, "out", console)
    common.table(*arguments)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("columns", [2, 4, 7, 12])
def test_a_table_fits_its_terminal_and_splits_no_word(
    monkeypatch: pytest.MonkeyPatch, width: int, columns: int
) -> None:
    """Whatever the columns: every word of every cell is whole on a line, no line is longer than the terminal."""
    names = ["axis", "state", *(f"mutual_information_{number}" for number in range(columns - 2))]
    cells = ["unclassified", *("0.000123 of the whole", "2026-01-05 03:53", "축의 상태", "x") * 3]
    rows = [[LONG, *cells[: columns - 1]], ["a", *cells[::-1][: columns - 1]]]
    lines = printed(monkeypatch, width, names, rows, "A title of the table that is a good deal longer").splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(lines).replace("│", " ").replace("┃", " ").split()
    wanted = [word for row in rows for cell in row for word in cell.split()]
    assert sorted(word for word in words if word in wanted and len(word) > 4) == sorted(
        word for word in wanted if len(word) > 4
    )
    assert words.count("information") >= columns - 2


def test_a_value_wider_than_the_terminal_is_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(monkeypatch, 40, ["", ""], [["file", "x" * 100]])
    assert text.count("x") == 100
    assert printed(monkeypatch, 40, ["one"] * 30, [], "none of these").startswith("none of these")


def test_the_help_shows_all_commands_in_five_groups() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    groups = {name: command.rich_help_panel for name, command in commands.items()}
    wanted = {common.DAILY, common.SET_UP, common.MODELS, common.DATA, common.ADMINISTRATION}
    assert set(groups.values()) == wanted
    assert all(3 <= list(groups.values()).count(group) <= 10 for group in wanted)
    assert groups["queue"] == groups["label"] == common.DAILY


@pytest.mark.parametrize("words", ["queue", "config", "config --json", "--help", "queue --help", "--version"])
def test_a_closed_pipe_ends_quietly(cli: Any, words: str) -> None:
    """As `| head -1` closes it when it has read enough."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [cli.program, *words.split()],
        env=cli.environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=cli.home,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def with_cases(home: Path) -> None:
    """A database with three axes and a case on two of them."""
    store = Store.open(f"sqlite:///{home / 'axiswatch.db'}")
    at = common.now()
    with store.write() as connection:
        for number, state in enumerate(("closed", "open", "")):
            key = axis_id("p", "c", f"R{number}", "A1")
            axis = {"axis_id": key, "site": "p", "cell": "c", "robot_id": f"R{number}", "axis": "A1"}
            connection.execute(sa.insert(Axis), axis | {"criticality": None, "expected_every_s": None, "known_at": at})
            if state:
                case = {"case_id": f"abc{number}", "axis_id": key, "family": "machine", "mode": None, "state": state}
                case |= {"n_bins": 1, "priority": 0.5, "fault_probability": 0.5, "reasons": [], "first_at": at}
                connection.execute(sa.insert(Case), case | {"last_at": at, "known_at": at, "changed_at": at})
    store.dispose()


def completed(cli: Any, words: str, **environment: Any) -> list[str]:
    """What the shell offers for the last of the words."""
    asked = {"_AXISWATCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [cli.program], env=cli.environment(**environment) | asked, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_ids_of_cases_are_completed_open_ones_first(cli: Any) -> None:
    with_cases(cli.home)
    assert completed(cli, "axiswatch case ab") == completed(cli, "axiswatch label abc") == ["abc1", "abc0"]
    assert completed(cli, "axiswatch case abc0") == ["abc0"]
    assert completed(cli, "axiswatch case R1") == []


def test_completion_makes_no_files_and_says_nothing_where_there_is_nothing(cli: Any) -> None:
    assert completed(cli, "axiswatch case a", home=cli.home / "none") == []
    assert completed(cli, "axiswatch case a", database_url="mysterious") == []
    assert not (cli.home / "none").exists()


def test_status_counts_first_and_shows_one_state(cli: Any) -> None:
    with_cases(cli.home)
    told = cli("status").out
    assert -1 < told.index("3 axes: unknown: 3") < told.index("last seen") < told.index("p/c/R0/A1")
    assert [axis["robot_id"] for axis in cli("status", "--state", "unknown", "--json").json()] == ["R0", "R1", "R2"]
    assert cli("status", "--state", "alarm", "--json").json() == []
    wrong = cli("status", "--state", "ill")
    assert wrong.code == 2
    assert "healthy, watch, alarm, data_fault, silent, unknown" in wrong.err


@pytest.mark.parametrize("command", ["queue", "status"])
def test_a_folder_that_holds_nothing_is_said_with_the_next_step(cli: Any, command: str) -> None:
    told = " ".join(cli(command, home=cli.home / "mistyped").out.split())
    assert "Nothing was taken in yet" in told
    assert "mistyped/landing" in told
    assert "axiswatch run" in told


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (("status",), {"n_samples": 7}),
        (("status",), {"database_url": "x"}),
        (("assets", "import", "a.toml"), {}),
        (("status",), {"webhook_url": "ftp://x"}),
    ],
)
def test_a_message_begins_with_what_is_wrong(cli: Any, words: tuple[str, ...], settings: dict[str, Any]) -> None:
    """Not with the name that Python gives the kind of error."""
    (cli.home / "a.toml").write_text('[[unit]]\nserial = "x"\ninstalled_at = 5\naxis = "p/c/R/A"\n', encoding="utf-8")
    told = cli(*words, **settings)
    assert told.code in (1, 2)
    assert "Value error" not in told.err
    assert len(told.err) > 40


@pytest.mark.parametrize("words", ["queue --state all", "case abc1", "status", "--help", "config", "queue --help"])
def test_every_line_fits_eighty_columns(cli: Any, words: str) -> None:
    with_cases(cli.home)
    done = subprocess.run(
        [cli.program, *words.split()],
        env=cli.environment() | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_help_of_every_command_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns a line ends where the next word would not fit, and not where the code's own line ended."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")

    def commands(group: Any, path: list[str]) -> Iterator[list[str]]:
        for name, command in group.commands.items():
            yield from commands(command, [*path, name]) if hasattr(command, "commands") else [[*path, name]]

    for path in commands(typer.main.get_command(app), []):
        told = CliRunner().invoke(app, [*path, "--help"], prog_name="axiswatch").output
        assert max(map(len, told.splitlines())) <= 80, path
        lines = [line.strip() for line in told.partition("╭")[0].splitlines()]
        for line, following in pairwise(lines[lines.index("", 2) :]):
            if line and following:
                assert len(line) + 1 + len(following.split()[0]) > 78, (path, line, following)
