"""Arm a process for one fault: at the n-th commit, at the n-th call of a class, under a limit, or by another clock.

`arm` is called in the child of a command server, before the command begins. It knows nothing of axiswatch but the
option by which a transaction is marked as one that writes, and the name of the busy time-out.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from pathlib import Path
from typing import Any

CLASSES = ("write", "sync", "name", "read", "open", "send", "recv")
"""Classes of calls, in the order of shim.c."""

ACTS = ("count", "kill_before", "kill_after", "kill_midway", "fail", "short", "signal", "sleep", "cut")
"""What happens at a call, in the order of shim.c."""

COMMITS_AT = 8 * (len(CLASSES) + 1)
"""Where the number of commits lies in the file of counts, after those of the shim, bytes."""


def arm(harm: dict[str, Any]) -> None:
    """Prepare this process.

    Parameters
    ----------
    harm
        `at`: number of the call or commit, from 1; `many`: how many of them from there; `call`: one of `CLASSES` or
        `commit`; `act`: one of `ACTS`; `argument`: errno, signal or milliseconds; `below`: the folder whose files
        count; `counts`: a file of zeros that gets the counts. `clock_s`: the clock is wrong by that. `limits`: name of
        a resource limit and its value; `more_memory`: bytes that may still be asked for. `busy_s`: how long to wait for
        SQLite's lock; `patience_s`: how long for an answer of S3.
    """
    if "busy_s" in harm:
        import pipeline.store.database

        pipeline.store.database.BUSY_SECONDS = harm["busy_s"]
    if "patience_s" in harm:
        import pipeline.store.lake

        pipeline.store.lake.S3_PATIENCE["read_timeout"] = pipeline.store.lake.PUT_SECONDS = harm["patience_s"]
    if harm.get("call") == "commit" or harm.get("act") == "count":
        at_commit(harm["at"], after=harm["act"] == "kill_after", counts=Path(harm["counts"]))
    if "SHIM" in os.environ.get("LD_PRELOAD", "").upper() and "counts" in harm:
        library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        library.torture_clock.argtypes = [ctypes.c_double]
        library.torture_clock(float(harm.get("clock_s", 0)))
        call = harm.get("call", "commit")
        number = CLASSES.index(call) + 1 if call != "commit" else 0
        numbers = (ctypes.c_int(number), ctypes.c_long(harm.get("at", 0)), ctypes.c_long(harm.get("many", 1)))
        act = ctypes.c_int(ACTS.index(harm.get("act", "count")) if number else 0)
        argument = ctypes.c_int(harm.get("argument", 0))
        library.torture_arm(os.fsencode(harm["below"]), os.fsencode(harm["counts"]), *numbers, act, argument)
    for name, value in harm.get("limits", {}).items():
        resource.setrlimit(getattr(resource, name), (value, value))
    if "more_memory" in harm:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + harm["more_memory"]
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def at_commit(number: int, *, after: bool, counts: Path | None = None) -> None:
    """Kill this process right before or right after its n-th commit that writes; 0: count them only."""
    import sqlalchemy as sa
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.default import DefaultDialect

    commits, writes = 0, False
    commit = DefaultDialect.do_commit

    def note(connection: Any) -> None:
        nonlocal writes
        writes = bool(connection.get_execution_options().get("axiswatch_write"))

    def note_at(place: int, value: int) -> None:
        if counts is not None:
            with counts.open("r+b") as file:
                file.seek(place)
                file.write(struct.pack("q", value))

    def die() -> None:
        note_at(0, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    def count(dialect: Any, connection: Any) -> None:
        nonlocal commits
        commits += writes
        note_at(COMMITS_AT, commits)
        is_it = writes and commits == number
        if is_it and not after:
            die()
        commit(dialect, connection)
        if is_it:
            die()

    sa.event.listen(Engine, "commit", note)
    DefaultDialect.do_commit = count  # type: ignore[method-assign]
