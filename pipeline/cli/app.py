"""The application: all commands, and how errors end."""

from __future__ import annotations

import gc
import io
import sys
from typing import Annotated

import typer

from pipeline.base.errors import AxiswatchError, without_secrets
from pipeline.cli import airflow, config, data, demo, evaluate, handoff, levels, models, review, steps, trend, watch
from pipeline.cli import review_app as accounts
from pipeline.cli.common import err

app = typer.Typer(
    name="axiswatch",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watch the axes of industrial robots: fault probabilities with their uncertainty, and a review queue.",
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong call or setting, 3 something needed is missing.",
)


config.register(app)
steps.register(app)
data.register(app)
review.register(app)
models.register(app)
levels.register(app)
demo.register(app)
trend.register(app)
evaluate.register(app)
airflow.register(app)
accounts.register(app)
watch.register(app)
handoff.register(app)


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
        app()
    except AxiswatchError as error:
        err.print(f"error: {without_secrets(str(error))}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None:
            raise
        message = f"error: cannot use {error.filename}: {error.strerror}; `axiswatch config` shows the folders in force"
        err.print(message, markup=False, highlight=False, soft_wrap=True)
        sys.exit(AxiswatchError.exit_code)


def _write_utf8() -> None:
    """Write UTF-8 in every locale: names of robots need it, and JSON requires it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
