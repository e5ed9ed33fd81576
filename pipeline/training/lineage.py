"""The code that a model was trained with: the release, its source, and the libraries that do its arithmetic."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FOLDERS = ("features", "models", "pipeline")
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")


@cache
def code_version() -> dict[str, str]:
    """Return versions by name. `source` is the start of a SHA-256 over all source files, so a local edit shows too."""
    versions = {name: _version(name) for name in ("axiswatch", *LIBRARIES)}
    return versions | {"source": source_hash(Path(__file__).parents[2]), "python": platform.python_version()}


def source_hash(root: Path) -> str:
    """Return 16 hex digits: a hash over names and contents of the Python files that training uses."""
    digest = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
