"""Runs `peers.py` in the environment of the peers."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from processes import HERE, Code


def measure(python: Path, code: Code, *, quick: bool) -> dict[str, Any]:
    """Return what `peers.py` measures; `skipped` with the reason where the environment is missing."""
    if not python.exists():
        return {"skipped": f"no environment of the peers ({python.parent.parent.name}); `make bench-peers` makes it"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        done = subprocess.run(
            [python, "-W", "ignore", HERE / "peers.py", code.path, "quick" if quick else "full", answer.name],
            env={**clean, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(code.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return {"skipped": f"peers.py ended with {done.returncode}: {done.stderr[-1000:]}"}
        found: dict[str, Any] = json.loads(Path(answer.name).read_text(encoding="utf-8"))
    return found
