"""A whole Airflow on one machine, without Docker: PostgreSQL from a wheel, and `airflow standalone`.

For trials and for tests of the schedule. One folder holds everything; stopping it ends every process.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.store.database import create_database

ADMIN = "admin"
POOL = "axiswatch_heavy"
STOP_SECONDS = 20
POSTGRES_SECONDS = 120
UNHEALTHY_SECONDS = 45
"""Airflow is restarted after being unhealthy for this long."""

START_SECONDS = 300
"""As long may a restart take on a busy machine, before it is done once more."""


@dataclass
class LocalAirflow:
    """Airflow and the database of axiswatch in one folder.

    Attributes
    ----------
    folder : Path
        Holds PostgreSQL's files, Airflow's home and logs, the landing zone and the lake.
    dags : Path
        Folder of the DAG files.
    port : int
        Port of the web page and the REST interface, on this machine only.
    settings : mapping of str to str
        `AXISWATCH_*` and `AIRFLOW__*` variables that replace or extend the default ones.
    cores : int
        Slots of the pool of heavy tasks.
    """

    folder: Path
    dags: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    cores: int = 2
    _server: Any = field(default=None, repr=False)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False)
    _token: str = field(default="", repr=False)
    _healthy_at: float = field(default=0.0, repr=False)
    _queued: dict[str, float] = field(default_factory=dict, repr=False)
    _lock: Any = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Address of the web page."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def _sessions(self) -> Path:
        """File with the sessions of the processes that were started, for whoever comes after a kill."""
        return self.folder / "sessions"

    @property
    def log(self) -> Path:
        """File with the output of Airflow."""
        return self.folder / "airflow.log"

    def claim(self) -> None:
        """Keep others out of the folder until this process ends, and stop what a killed one before it left running.

        Raises
        ------
        PrerequisiteMissing
            Another process works in the folder, or another program listens on the port.
        """
        self.folder = self.folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PrerequisiteMissing(
                f"another `axiswatch airflow` works in {self.folder}; stop it with Ctrl-C, or take another --folder"
            ) from error
        _stop(self._left_running())
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise PrerequisiteMissing(
                    f"port {self.port} is not free ({error.strerror}); stop the program that listens on it, or give "
                    "another --port"
                ) from error

    def start_postgres(self) -> None:
        """Start PostgreSQL with the two databases.

        Raises
        ------
        PrerequisiteMissing
            The package pgserver is not installed.
        AxiswatchError
            PostgreSQL does not start.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import pgserver.postgres_server
        except ModuleNotFoundError as error:
            raise PrerequisiteMissing("pgserver is not installed; `pip install 'axiswatch[local]'`") from error
        self.folder = self.folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        data = self.folder / "postgres"
        logging.getLogger("pgserver").setLevel(logging.CRITICAL)  # of a slow start it prints all that the server said
        self._until_started(lambda: pgserver.postgres_server.get_server(data, cleanup_mode=None))
        for name in ("airflow", "axiswatch"):
            create_database(self.database_url(name))

    def _until_started(self, start: Callable[[], Any]) -> None:
        """Start PostgreSQL. After it was killed it reads its log first, which takes longer than pgserver waits.

        Raises
        ------
        AxiswatchError
            It does not answer in time.
        """
        give_up = time.monotonic() + POSTGRES_SECONDS
        while time.monotonic() < give_up:
            with suppress(subprocess.SubprocessError, AssertionError, OSError):
                self._server = start() or self._server
            if self._answers():
                return
            time.sleep(0.5)
        log = self.folder / "postgres" / "log"
        raise AxiswatchError(f"PostgreSQL does not start; see {log}, or take another folder")

    def _answers(self) -> bool:
        """Return whether PostgreSQL answers."""
        import psycopg

        if self._server is None:
            return False
        try:
            with closing(psycopg.connect(self.database_url("postgres").replace("+psycopg", ""), connect_timeout=10)):
                return True
        except psycopg.OperationalError:
            return False

    def database_url(self, name: str) -> str:
        """Return the SQLAlchemy URL of a database of this PostgreSQL (a socket, no password)."""
        info = self._server.get_postmaster_info()
        return f"postgresql+psycopg://postgres@/{name}?host={info.socket_dir}"

    def variables(self) -> dict[str, str]:
        """Return the environment variables of every process: Airflow's settings and those of axiswatch."""
        base = {
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags.absolute()),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin,engineer:user",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database_url("airflow"),
            "AIRFLOW_DATABASE": self.database_url("airflow"),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AXISWATCH_DATABASE_URL": self.database_url("axiswatch"),
            "AXISWATCH_HOME": str(self.folder / "axiswatch"),
            "AXISWATCH_MONITOR_SILENT_MINUTES": "6",
            "OMP_NUM_THREADS": "1",
        }
        return base | dict(self.settings)

    def command(self, *words: str) -> list[str]:
        """Return a command of this Python environment."""
        pairs = [f"{name}={value}" for name, value in self.variables().items()]
        scripts = Path(sys.executable).parent
        return ["env", f"PATH={scripts}:/usr/local/bin:/usr/bin:/bin", *pairs, str(scripts / words[0]), *words[1:]]

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a part of Airflow in its own process group: `standalone`, or for example `scheduler`."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command("airflow", *words), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._processes.append(process)
        with self._sessions.open("a", encoding="utf-8") as sessions:
            sessions.write(f"{process.pid}\n")
        return process

    def run(self, *words: str) -> str:
        """Run a command of Airflow until it ends; return its output.

        Raises
        ------
        AxiswatchError
            It failed.
        """
        done = subprocess.run(self.command("airflow", *words), capture_output=True, text=True, check=False)
        if done.returncode:
            raise AxiswatchError(f"airflow {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def processes(self) -> list[Any]:
        """Return every process (psutil) that is alive now, without PostgreSQL.

        A process whose parent was killed is found by its session.
        """
        return _of_sessions({process.pid for process in self._processes})

    def _left_running(self) -> list[Any]:
        """Return processes of Airflow that an earlier process had started in this folder and did not stop."""
        import psutil

        lines = self._sessions.read_text(encoding="utf-8").split() if self._sessions.is_file() else []
        found = []
        for process in _of_sessions({int(line) for line in lines}):
            with suppress(psutil.NoSuchProcess):
                found += [process] if "airflow" in " ".join(process.cmdline()) else []  # a number may be used again
        return found

    def wait_until_healthy(self, seconds: float) -> None:
        """Wait for scheduler, DAG processor and REST interface, then make the pool.

        Raises
        ------
        AxiswatchError
            Airflow ended, or was not healthy in time.
        """
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            ended = [process for process in self._processes if process.poll() is not None]
            if ended:
                raise AxiswatchError(f"a part of Airflow ended with {ended[0].returncode}; see {self.log}")
            with suppress(OSError):  # a busy machine may answer too late: once more
                if self._healthy():
                    pool = {"name": POOL, "slots": self.cores, "description": "tasks that keep a core busy"}
                    self._healthy_at = time.monotonic()
                    if self.api("GET", f"/pools/{POOL}", missing_ok=True) is None:
                        self.api("POST", "/pools", pool)
                    return
            time.sleep(0.5)
        raise AxiswatchError(f"airflow was not healthy within {seconds:g} s; see {self.log}")

    def look_after(self) -> bool:
        """Restart PostgreSQL if it died, and Airflow if it was unhealthy for a while; return whether this was done.

        Call it every few seconds. Airflow's scheduler does not restart by itself when it is killed. It hangs when a
        worker of its local executor is killed while it waits for work, because the worker has the lock of their queue.
        """
        now = time.monotonic()
        if self._server is not None and not self._answers():
            self._until_started(self._server.ensure_postgres_running)
            return True
        if self._healthy() and not self._hangs(now):
            self._healthy_at = now
        if now - self._healthy_at < UNHEALTHY_SECONDS:
            return False
        self._stop_airflow()
        self._queued.clear()
        self.start("standalone")
        self._healthy_at = time.monotonic() + START_SECONDS - UNHEALTHY_SECONDS
        return True

    def password(self) -> str:
        """Return the administrator's password, which Airflow generated."""
        text = (self.folder / "airflow" / "simple_auth_manager_passwords.json.generated").read_text(encoding="utf-8")
        return str(json.loads(text)[ADMIN])

    def api(self, method: str, path: str, body: Any = None, *, missing_ok: bool = False, again: bool = False) -> Any:
        """Call the REST interface (version 2) as the administrator; return its answer.

        Raises
        ------
        AxiswatchError
            The interface returned an error.
        """
        if not self._token:
            login = {"username": ADMIN, "password": self.password()}
            self._token = str(self._call("POST", "/auth/token", login)["access_token"])
        try:
            return self._call(method, f"/api/v2{path}", body)
        except urllib.error.HTTPError as error:
            if error.code == 401 and not again:  # the token has expired
                self._token = ""
                return self.api(method, path, body, missing_ok=missing_ok, again=True)
            if error.code == 404 and missing_ok:
                return None
            answer = error.read().decode(errors="replace")[:500]
            raise AxiswatchError(f"{method} {path}: Airflow answered {error.code}: {answer}") from error

    def stop(self) -> None:
        """Stop every process that was started, PostgreSQL last."""
        self._stop_airflow()
        if (self.folder / "postgres" / "postmaster.pid").is_file():  # also where its start did not come to an end
            subprocess.run(  # its own stop() keeps a server running that another process uses
                [*_pg_ctl(), "-D", str(self.folder / "postgres"), "-m", "fast", "-w", "stop"],
                capture_output=True,
                check=False,
            )
        self._server = None

    def _hangs(self, now: float) -> bool:
        """Return whether a task has been queued for long and no worker has started it."""
        try:
            queued = self.api("GET", "/dags/~/dagRuns/~/taskInstances?state=queued&limit=100")["task_instances"]
        except (OSError, AxiswatchError):  # it stopped after its health was checked
            return True
        seen = {f"{task['id']} {task['try_number']}" for task in queued}
        self._queued = {name: self._queued.get(name, now) for name in seen}
        return any(now - since > UNHEALTHY_SECONDS for since in self._queued.values())

    def _stop_airflow(self) -> None:
        _stop(self.processes())
        for process in self._processes:
            process.wait(timeout=STOP_SECONDS)
        self._processes.clear()
        self._sessions.unlink(missing_ok=True)
        self._token = ""

    def _healthy(self) -> bool:
        try:
            health = self._call("GET", "/api/v2/monitor/health")
        except (OSError, ValueError):  # not up yet
            return False
        needed = ("metadatabase", "scheduler", "dag_processor")
        lost = health["triggerer"]["status"] == "unhealthy"  # it had started
        return not lost and all(health[part]["status"] == "healthy" for part in needed)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._token and path != "/auth/token":
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:  # nosec B310
            text = answer.read()
        return json.loads(text) if text else None


def _of_sessions(sessions: set[int]) -> list[Any]:
    """Return the processes (psutil) of sessions, and those below them."""
    import psutil

    alive = {process.pid: process for process in psutil.process_iter() if _session(process.pid) in sessions}
    for process in list(alive.values()):
        with suppress(psutil.NoSuchProcess):
            alive |= {child.pid: child for child in process.children(recursive=True)}
    return list(alive.values())


def _session(pid: int) -> int | None:
    """Return the session of a process; None where it has ended."""
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _pg_ctl() -> list[str]:
    import pgserver

    program = str(Path(pgserver.__file__).parent / "pginstall" / "bin" / "pg_ctl")
    return ["runuser", "-u", "pgserver", "--", program] if os.geteuid() == 0 else [program]


def _stop(processes: list[Any]) -> None:
    """End processes, including those in a process group of their own."""
    import psutil

    for sent in (signal.SIGTERM, signal.SIGKILL):
        for item in processes:
            with suppress(psutil.NoSuchProcess):
                item.send_signal(sent)
        _, processes = psutil.wait_procs(processes, timeout=STOP_SECONDS)
