"""The machine and the versions that results belong to."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from processes import Postgres

PACKAGES = ("torch", "numpy", "scipy", "numba", "pyarrow", "sqlalchemy", "psycopg")


def describe(server: Postgres | None) -> dict[str, Any]:
    """Return processor, memory and versions."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "postgresql": server.execute("SHOW server_version")[0][0] if server else None,
        **{name: _version(name) for name in PACKAGES},
    }


def _cpu_name() -> str:
    """Return the name of the processor, and which wide instructions it has."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    lines = dict(line.split(":", 1) for line in text.split("\n\n")[0].replace("\t", "").splitlines() if ":" in line)
    wide = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in lines.get("flags", "").split()]
    return f"{lines.get('model name', platform.machine()).strip()} ({', '.join(wide)})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
