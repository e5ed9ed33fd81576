"""The two benchmarks of parts of the product that stand beside this folder: features.py and scoring.py.

Each has a function `measure(quick) -> dict`. `python parts.py FILE quick|full ANSWER` runs it in a process of its own.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any


def measure(code: Any, name: str, *, quick: bool) -> dict[str, Any]:
    """Return what `benchmarks/NAME.py` of a version measures; `skipped` with the reason where it has no `measure`."""
    from processes import run_python

    file = code.path / "benchmarks" / f"{name}.py"
    if not file.exists() or "\ndef measure(" not in file.read_text(encoding="utf-8"):
        return {"skipped": f"benchmarks/{name}.py of {code.name} has no function measure"}
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        run_python(
            (str(Path(__file__)), str(file), "quick" if quick else "full", answer.name), code=code, environment={}
        )
        found: dict[str, Any] = json.loads(Path(answer.name).read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Load one file under its own name, because features.py replaces itself by the package of that name."""
    file, size, answer = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    answer.write_text(json.dumps(module.measure(size == "quick")), encoding="utf-8")


if __name__ == "__main__":
    main()
