"""Processor time of commands as whole processes, beside those of Python alone and of the libraries they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plants import fleet_of, really_run
from processes import Code, run_python
from sums import summary

MAIN = "import sys; from pipeline.cli import main; sys.argv = ['axiswatch', *sys.argv[1:]]; main()"

COMMANDS = {
    "axiswatch --help": (MAIN, "--help"),
    "axiswatch queue": (MAIN, "queue"),
    "Python alone": ("pass",),
    "import typer and rich": ("import typer, rich.console",),
    "import sqlalchemy": ("import sqlalchemy",),
}


def measure(
    work: Path, codes: Sequence[Code], *, rounds: int, quick: bool, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """Start each command in rounds, on the plant that was really run (SQLite); return their processor times in s."""
    bases = {code.name: really_run(work, code, fleet_of(quick=quick))[0] for code in codes}
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        for name, base in bases.items():
            for command, words in COMMANDS.items():
                spent = run_python(("-c", *words), code=base.code, environment=base.environment)
                if number:  # the first round fills the caches of files
                    found.setdefault((name, command), []).append(spent.cpu_s)
    say(f"start: {len(found)} commands, {rounds} rounds")
    return [{"code": name, "command": command, "cpu_s": summary(values)} for (name, command), values in found.items()]
