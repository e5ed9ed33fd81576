"""Functions that all commands share: the workplace, the time, output as a table or as JSON, and progress bars."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pipeline.base.errors import SettingsError
from pipeline.base.ids import read_time, utc_text
from pipeline.workplace import Workplace as Workplace
from pipeline.workplace import limits_of as limits_of
from pipeline.workplace import now as now
from pipeline.workplace import opened_store as opened_store
from pipeline.workplace import workplace as workplace

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


def _readable_time(text: str | None) -> str | None:
    """Check a time before anything is opened, so that a wrong call leaves nothing behind."""
    if text is not None:
        moment(text)
    return text


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

PIPED_WIDTH = 120

out = Console()
err = Console(stderr=True)
if not out.is_terminal and out.width == 80:  # a file or a pipe: rich would fold lines at 80 characters
    out = Console(width=PIPED_WIDTH)

WHOLE_UP_TO = 40
"""A first column up to this width is never folded: it holds the ids that other commands need."""


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
    """Print a table. Text is printed as it is, never read as markup of `rich`."""
    made = Table(title=title or None, title_justify="left", show_header=any(columns))
    cells = [[shown(cell) for cell in row] for row in rows]
    widest = max((len(str(row[0])) for row in cells), default=0)
    for index, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=index == 0 and widest <= WHOLE_UP_TO)
    for row in cells:
        made.add_row(*row)
    out.print(made)


def shown(value: Any) -> Any:
    """Write the value of one cell."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    return Text("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(value)))


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
