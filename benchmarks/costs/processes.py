"""Whole processes timed from outside: processor time of a process, its workers and PostgreSQL, and resident memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
SAMPLE_S = 0.1
"""Time between two looks at the resident memory of a process and its workers, s."""

MIB = 1024 * 1024


@dataclass(frozen=True)
class Code:
    """A version of axiswatch: its name in the results, and the folder of its repository."""

    name: str
    path: Path


@dataclass(frozen=True)
class Spent:
    """What a process has cost.

    Attributes
    ----------
    cpu_s : float
        Processor time of the process, of its workers, and of PostgreSQL's processes meanwhile, s.
    wall_s : float
        Time from start to end, s.
    parent_mib, tree_mib : float
        Highest resident memory of the process, and of the process with its workers, MiB.
    answer : object
        What it wrote as its answer.
    """

    cpu_s: float
    wall_s: float
    parent_mib: float
    tree_mib: float
    answer: Any


class Postgres:
    """A PostgreSQL server of the wheel pgserver, which listens on a socket only and holds its defaults.

    Autovacuum is off: what was inserted in bulk is vacuumed and analyzed at once, and no run pays for another one.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="axiswatch-bench-"))  # the path of a socket has to be short
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pgserver.postgres_server
        self._server = pgserver.postgres_server.get_server(self.folder, cleanup_mode="delete")
        self.pid = int(self._server.get_pid() or 0)
        self._socket = self._server.get_postmaster_info().socket_dir
        self.execute("ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._socket}"

    def execute(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Execute statements outside a transaction; return the rows of the last one that has any."""
        import psycopg

        rows: list[Any] = []
        with psycopg.connect(f"host={self._socket} user=postgres dbname={database}", autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
                rows = cursor.fetchall() if cursor.description else rows
        return rows

    def create(self, name: str) -> str:
        """Create an empty database and return its URL; one that exists is dropped first."""
        self.drop(name)
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, name: str) -> None:
        """Drop a database with all connections to it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def stop(self) -> None:
        """Stop the server and delete its files."""
        self._server.cleanup()


def cpu_of_tree(pid: int) -> float:
    """Return the processor time of a process and of its children, those included that have ended and were waited for.

    0 where there is no such process.
    """
    try:
        process = psutil.Process(pid)
        times = [process.cpu_times(), *(child.cpu_times() for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(item.user + item.system + item.children_user + item.children_system for item in times)


def run_python(
    words: Iterable[str], *, code: Code, environment: Mapping[str, str], server: int = 0, check: bool = True
) -> Spent:
    """Run Python with arguments under a version of the code; `server` is the process id of PostgreSQL, 0 for none.

    Raises
    ------
    RuntimeError
        It ended with an error; the message has the end of its output.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AXISWATCH_", "PYTHON"))}
    variables = {**clean, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(code.path), **environment}
    with tempfile.TemporaryFile() as log:
        before, started = cpu_of_tree(server) if server else 0.0, time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *words], env=variables, stdout=log, stderr=subprocess.STDOUT
        )
        peaks = [0.0, 0.0]
        ended = threading.Event()
        sampler = threading.Thread(target=_sample, args=(process.pid, peaks, ended), daemon=True)
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        sampler.join()
        after = cpu_of_tree(server) if server else 0.0
        log.seek(0)
        output = log.read().decode(errors="replace")
    if check and process.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))[:400]} ended with {process.returncode}:\n{output[-4000:]}")
    cpu = usage.ru_utime + usage.ru_stime + after - before
    parent = max(peaks[0], usage.ru_maxrss / 1024 if peaks[1] <= peaks[0] else 0.0)
    return Spent(cpu, wall, parent, max(parent, peaks[1]), output)


def run_job(job: Mapping[str, Any], *, code: Code, environment: Mapping[str, str], server: int = 0) -> Spent:
    """Run a job of `jobs.py` in a process of its own under a version of the code; its answer is parsed JSON."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        words = [str(HERE / "jobs.py"), json.dumps({**job, "answer": file.name, "server": server}, default=str)]
        spent = run_python(words, code=code, environment=environment, server=server)
        text = Path(file.name).read_text(encoding="utf-8")
    return Spent(spent.cpu_s, spent.wall_s, spent.parent_mib, spent.tree_mib, json.loads(text))


def _sample(pid: int, peaks: list[float], ended: threading.Event) -> None:
    while not ended.wait(SAMPLE_S):
        try:
            process = psutil.Process(pid)
            own = process.memory_info().rss
            tree = own + sum(child.memory_info().rss for child in process.children(recursive=True))
        except psutil.Error:
            continue
        peaks[0], peaks[1] = max(peaks[0], own / MIB), max(peaks[1], tree / MIB)
