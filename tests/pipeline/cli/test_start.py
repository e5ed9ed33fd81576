"""What a command imports before it does anything: a run every ten minutes pays for it each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
sys.argv = ["axiswatch", *sys.argv[1:]]
from pipeline.cli import main
try:
    main()
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)
"""
HEAVY = {"alembic", "fsspec", "joblib", "numba", "pandas", "pyarrow", "scipy", "sklearn", "torch"}


def imported(home: Path, *arguments: str) -> set[str]:
    """Modules of a process after a command."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
        env={"AXISWATCH_HOME": str(home), "PATH": "", "HOME": str(home)},
    )
    return set(done.stderr.split())


def test_help_imports_no_library_but_those_of_the_command_line(tmp_path: Path) -> None:
    assert imported(tmp_path, "--help") & (HEAVY | {"sqlalchemy", "numpy", "pydantic_settings"}) == set()


def test_queue_imports_what_reads_the_database_and_no_more(tmp_path: Path) -> None:
    imported(tmp_path, "queue")  # makes the tables
    found = imported(tmp_path, "queue")
    assert "sqlalchemy" in found
    assert found & HEAVY == set()
