"""The application: all commands, and how errors end."""

from __future__ import annotations

import gc
import inspect
import io
import os
import sys
from concurrent.futures import BrokenExecutor
from typing import Annotated

import typer

from pipeline.base.errors import AxiswatchError, without_secrets
from pipeline.cli import (
    airflow,
    config,
    data,
    demo,
    evaluate,
    handoff,
    levels,
    models,
    review,
    steps,
    trend,
    upkeep,
    watch,
)
from pipeline.cli import review_app as accounts
from pipeline.cli.common import err

CLOSED_PIPE = 128 + 13
"""Exit code of a program that SIGPIPE ended."""

app = typer.Typer(
    name="axiswatch",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watch the axes of industrial robots: fault probabilities with their uncertainty, and a review queue.",
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong call or setting, 3 something needed is missing.",
)


# The help shows the groups in the order of their first commands.
for room in (
    review,
    trend,
    demo,
    data,
    config,
    models,
    levels,
    watch,
    evaluate,
    steps,
    accounts,
    handoff,
    airflow,
    upkeep,
):
    room.register(app)


def _let_help_flow(commands: typer.Typer) -> None:
    """Join the lines of each paragraph of the help: typer breaks them where the docstring does and at the width."""
    for command in commands.registered_commands:
        paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _let_help_flow(group.typer_instance)


_let_help_flow(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("axiswatch"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; an error that the user can correct ends in one message and an exit code, no traceback."""
    gc.set_threshold(50_000, 20, 20)  # imports make many objects that stay: looking for cycles took a tenth of `queue`
    _write_utf8()
    try:
        _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has read enough, as `| head -1` does; what is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(CLOSED_PIPE)


def _run() -> None:
    try:
        app()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        sys.stdout.flush()
        raise
    except BrokenPipeError:
        raise
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        text = f"error: {without_secrets(sentence)}"
        err.print(text, markup=False, highlight=False, emoji=False, soft_wrap=not err.is_terminal)
        sys.exit(getattr(error, "exit_code", AxiswatchError.exit_code))


def sentence_of(error: Exception) -> str | None:
    """Return a sentence on what is not a fault of the program: our refusals, disk, memory and database; else None.

    Errors of the database are told by their names, which PEP 249 gives: each driver has classes of its own. Arrow's
    error without a kind comes here only where `pipeline.store.lake.is_damage` took it for a lack of memory.
    """
    again = "nothing is lost: see to it, and run again"
    if isinstance(error, AxiswatchError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "ArrowException":
        return f"not enough memory ({error}); {again}"
    if isinstance(error, BrokenExecutor):
        return "a worker process was killed, most often for memory; nothing is lost: run again, with fewer `workers`"
    if isinstance(error, OSError) and error.strerror is not None:
        if error.filename is None:
            return f"{error.strerror}; {again}"
        return f"cannot use {error.filename}: {error.strerror}; `axiswatch config` shows the folders in force"
    names = {base.__name__ for base in type(error).__mro__}
    if names & {"OperationalError", "InterfaceError", "InternalError"} or type(error).__name__ == "DatabaseError":
        return f"the database cannot be used: {getattr(error, 'orig', error)}; {again}"
    return None


def _write_utf8() -> None:
    """Write UTF-8 in every locale: names of robots need it, and JSON requires it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
