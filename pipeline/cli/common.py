"""Functions that all commands share: the workplace, the time, output as a table or as JSON, and progress bars."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pipeline.base.errors import AxiswatchError, SettingsError
from pipeline.base.ids import read_time, utc_text
from pipeline.workplace import Workplace as Workplace
from pipeline.workplace import existing_store
from pipeline.workplace import limits_of as limits_of
from pipeline.workplace import now as now
from pipeline.workplace import opened_store as opened_store
from pipeline.workplace import workplace as workplace

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


def _readable_time(text: str | None) -> str | None:
    """Check the time of a run before anything is done: it can be read, and retention has kept what it needs."""
    if text is not None:
        from pipeline.store.horizon import refuse_pruned

        at = moment(text)
        if store := existing_store():
            refuse_pruned(store, at, called="--as-of")
            store.dispose()
    return text


DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and check everything, but store nothing.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        help="Time of the run, ISO 8601 with an offset (default: now).",
        callback=_readable_time,
    ),
]
Who = Annotated[
    str | None, typer.Option("--who", help="Name to record this under (default: the user of this computer).")
]


MOST_COMPLETED = 200


def case_ids(incomplete: str) -> list[tuple[str, str]]:
    """Return the ids of cases that begin so, each with its axis, for the completion of the shell; open ones first."""
    from sqlalchemy.exc import SQLAlchemyError

    from pipeline.cases.queue import Filters, queue

    try:
        store = existing_store()
        if store is None:
            return []
        rows = queue(store, Filters(state="all", search=incomplete), as_of=now(), limit=MOST_COMPLETED)
    except (AxiswatchError, SQLAlchemyError):
        return []
    found = [row for row in rows if row["case_id"].startswith(incomplete)]
    found.sort(key=lambda row: row["state"] != "open")
    return [(row["case_id"], f"{row['robot_id']}/{row['axis']}") for row in found]


CaseId = Annotated[str, typer.Argument(help="Id from `axiswatch queue`.", autocompletion=case_ids)]
DAILY, SET_UP, MODELS, DATA, ADMINISTRATION = "Daily work", "Set-up", "Models", "Data", "Administration"
"""Groups of commands in the help."""

PIPED_WIDTH = 120
"""Width of tables in a file or a pipe, where COLUMNS says nothing; rich would take 80."""

out = Console()
err = Console(stderr=True)
if not out.is_terminal:
    out = Console(width=get_terminal_size((PIPED_WIDTH, 24)).columns)

GAP = 3
"""Characters of a table between two cells: a border and two blanks."""


def moment(text: str | None, name: str = "--as-of") -> datetime:
    """Read a time from the command line; None means now.

    Parameters
    ----------
    text
        ISO 8601 with an offset, or None.
    name
        Option, for the message.

    Raises
    ------
    SettingsError
        The text is no time with an offset.
    """
    return now() if text is None else read_time(text, name)


def user(who: str | None) -> str:
    """Return the name to record; the user of this computer where none is given.

    Raises
    ------
    SettingsError
        The name is empty or cannot be printed.
    """
    if who is None:
        return getpass.getuser()
    if not who.strip() or not who.isprintable():
        raise SettingsError("--who is empty or has characters that cannot be printed; give a name")
    return who


def emit(data: Any, as_json: bool, show: Callable[[], None]) -> None:
    """Print data as one JSON document, or let `show` print it for people."""
    if as_json:
        print(json.dumps(data, default=plain, ensure_ascii=False, indent=2, allow_nan=False))
    else:
        show()


def plain(value: Any) -> Any:
    """Write times, paths and words as text for JSON.

    Raises
    ------
    TypeError
        The value is of another type.
    """
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, date | Path | StrEnum):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """Print a table in which no word is split. Text is printed as it is, never read as markup of `rich`.

    Where the longest words of all columns do not fit beside each other, the table has no lines. Where they do not fit
    even so, each row is turned: the names of the columns stand before its values.
    """
    head = [Text(column.replace("_", " ")) for column in columns]
    lines = [[Text(shown(cell)) for cell in row] for row in rows]
    boxed = _widths([head, *lines], out.width - GAP * len(head) - 1)
    widths, ends = boxed or _widths([head, *lines], out.width - len(head)), 1
    if widths is None and len(head) > 2 and lines:
        ends, lines = len(head), [[name, cell] for line in lines for name, cell in zip(head, line, strict=True)]
        head = [Text(), Text()]
        widths = boxed = _widths([head, *lines], out.width - GAP * len(head) - 1)
    if title:
        out.print(Text(title, style="table.title"))
    made = Table(show_header=any(map(len, head)))
    if widths is not boxed:
        made.box, made.padding = None, (0, 1, 0, 0)
    for column, width in zip_longest(head, widths or ()):
        made.add_column(column, overflow="fold", width=width)
    for number, line in enumerate(lines, start=1):
        made.add_row(*line, end_section=ends > 1 and number % ends == 0)
    out.print(made)


def _widths(cells: Sequence[Sequence[Text]], room: int) -> list[int] | None:
    """Return the width of each column in characters; None where not even the longest words have room.

    A column wider than others becomes narrower first. The first one does so last: it names what other commands need.
    """
    whole, least = ([max(1, *map(ask, column)) for column in zip(*cells, strict=True)] for ask in (_whole, _word))
    if sum(least) > room:
        return None
    while (excess := sum(whole) - room) > 0:
        loose = [index for index in range(1, len(whole)) if whole[index] > least[index]] or [0]
        widest = max(loose, key=lambda index: whole[index])
        others = max((whole[index] for index in loose if whole[index] < whole[widest]), default=0)
        whole[widest] = max(whole[widest] - excess, least[widest], min(others, whole[widest] - 1))
    return whole


def _whole(cell: Text) -> int:
    return max((line.cell_len for line in cell.split()), default=0)


def _word(cell: Text) -> int:
    return max((cell_len(word) for word in cell.plain.split()), default=0)


def shown(value: Any) -> str:
    """Write the value of one cell."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(value))


def counts(title: str, data: dict[str, Any]) -> Callable[[], None]:
    """Return a function that prints values by name, under a title."""

    def show() -> None:
        table(["", ""], [(name.replace("_", " "), flat(value)) for name, value in data.items()], title)

    return show


@contextmanager
def progress(what: str, as_json: bool) -> Iterator[Callable[..., None] | None]:
    """Show a progress bar on standard error if that is a terminal; none with --json."""
    if as_json or not err.is_terminal:
        yield None
        return
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=None)

        def update(done: int, total: int, step: str = what) -> None:
            bar.update(task, completed=done, total=total, description=step)

        yield update


def flat(value: Any) -> Any:
    """Write a dict or a list as a line of text; other values stay as they are."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {item}" for name, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "-"
    return value
