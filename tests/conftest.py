"""Shared by tests of all folders: real databases, lakes, log files, a small simulated fleet, the installed command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from pipeline.base.log_schema import LOG_SCHEMA
from pipeline.base.settings import Settings
from pipeline.intake.contract import Limits
from pipeline.simulation import FleetSettings, simulate
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Base

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
FIRST = datetime(2026, 1, 5, tzinfo=UTC)
FEW_MADE_WINDOWS = 20
"""Windows a class that training makes from physics in tests: few, so that they are fast."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fail-on-skip`: what CI asks for where everything is at hand that a test could miss."""
    parser.addoption("--fail-on-skip", action="store_true", help="count a skipped test as failed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.skipped and item.config.getoption("--fail-on-skip") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although --fail-on-skip was given: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def as_of() -> datetime:
    """The time of a run that comes after every row of `make_row` with a number below 1,000."""
    return AS_OF


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """`free_port()`: a port that nobody listens on just now."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


# ---------------------------------------------------------------------------------------------------- databases


class Postgres:
    """A real PostgreSQL server that listens on a socket only."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pgserver

            self._server = pgserver.get_server(folder, cleanup_mode=None)
        self._socket = self._server.get_postmaster_info().socket_dir
        self._admin = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self.execute(f"ALTER SYSTEM SET {setting} = off")
        self.execute("SELECT pg_reload_conf()")

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self._socket}"

    def execute(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.exec_driver_sql(statement)

    def create(self, template: str | None = None) -> str:
        """Create a database, empty or as a copy of another one; give its name."""
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def stop(self) -> None:
        self._admin.dispose()
        self._server.cleanup()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the session. Its folder is not pytest's: the path of a socket has to be short."""
    folder = Path(tempfile.mkdtemp(prefix="axiswatch-pg-"))
    server = Postgres(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database; a test that takes it runs on both."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store' / 'axiswatch.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A database with its tables."""
    opened = Store.open(store_url)
    yield opened
    opened.dispose()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """A database on SQLite, where the kind does not matter."""
    opened = Store.open(f"sqlite:///{tmp_path / 'store' / 'axiswatch.db'}")
    yield opened
    opened.dispose()


Tables = dict[str, list[dict[str, Any]]]


def read_tables(store: Store) -> Tables:
    """Read every row of every table, in the order of their text."""
    found = {}
    with store.read() as connection:
        for table in Base.metadata.sorted_tables:
            rows = [dict(row._mapping) for row in connection.execute(sa.select(table))]
            found[table.name] = sorted(rows, key=lambda row: json.dumps(row, default=str, sort_keys=True))
    return found


@pytest.fixture(scope="session")
def dump() -> Callable[[Store], Tables]:
    """Every row of every table, comparable with `==`."""
    return read_tables


def empty_of_cases(store: Store) -> None:
    """Delete all cases and axis states. The history refuses that, so its triggers go first; a test may do so."""
    with store.write() as connection:
        if store.is_sqlite:
            for act in ("update", "delete"):
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS review_events_no_{act}")
        else:
            connection.exec_driver_sql("ALTER TABLE review_events DISABLE TRIGGER USER")
        for table in ("webhook_events", "review_events", "cases", "axis_states"):
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608


@pytest.fixture(scope="session")
def forget_cases() -> Callable[[Store], None]:
    """Delete all cases and axis states of a database, with their history."""
    return empty_of_cases


# ------------------------------------------------------------------------------------------- lake, logs, settings


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def limits() -> Limits:
    return Limits(AS_OF, max_samples=100_000, max_sampling_rate_hz=1e6, max_shaft_speed_rpm=200_000.0)


def contract_row(number: int = 0, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    row = {
        "schema_version": 1,
        "site": "plant1",
        "cell": "c1",
        "robot_id": "R01",
        "axis": "A1",
        "channel": "acc_x",
        "quantity": "acceleration",
        "unit": "g",
        "started_at": FIRST + timedelta(hours=number),
        "time_basis": "clock",
        "sampling_rate_hz": 12_800.0,
        "rate_basis": "declared",
        "shaft_speed_rpm": 1_500.0,
        "speed_is_steady": True,
        "speed_trace_rpm": None,
        "speed_trace_rate_hz": None,
        "load": 0.5,
        "payload_kg": 12.0,
        "temperature_c": 41.5,
        "program": "pick",
        "unit_serial": "SN-1",
        "samples": rng.normal(0.0, 0.1, 2_048).astype(np.float32).tolist(),
    }
    unknown = set(changes) - set(row)
    assert not unknown, f"no columns of the contract: {unknown}"
    return row | changes


def contract_table(rows: Sequence[Mapping[str, Any]], **columns: pa.Array) -> pa.Table:
    nullable = pa.schema([field.with_nullable(True) for field in LOG_SCHEMA])
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=nullable)
    for name, column in columns.items():
        index = table.schema.get_field_index(name)
        table = table.append_column(name, column) if index < 0 else table.set_column(index, name, column)
    return table


@pytest.fixture(scope="session")
def make_row() -> Callable[..., dict[str, Any]]:
    """`make_row(i, **changes)`: the i-th good row of the contract (one an hour), with some columns changed."""
    return contract_row


@pytest.fixture(scope="session")
def make_table() -> Callable[..., pa.Table]:
    """`make_table(rows, **columns)`: rows as a table in the contract's types, with whole columns replaced or added."""
    return contract_table


@pytest.fixture(scope="session")
def write_log() -> Callable[..., Path]:
    """`write_log(path, rows, age_s=3600, **columns)`: a log file, as old as is said."""

    def write(path: Path, rows: Sequence[Mapping[str, Any]], age_s: float = 3600.0, **columns: pa.Array) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(contract_table(rows, **columns), path)
        moment = time.time() - age_s
        os.utime(path, (moment, moment))
        return path

    return write


@pytest.fixture
def make_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """`make_settings(**changes)`: settings below `tmp_path`, whatever the environment says."""
    for name in [name for name in os.environ if name.startswith("AXISWATCH_") and name != "AXISWATCH_TEST_DATA"]:
        monkeypatch.delenv(name)

    def make(**changes: Any) -> Settings:
        return Settings(**({"home": tmp_path, "workers": 1, "synthetic_windows": FEW_MADE_WINDOWS} | changes))

    return make


# ------------------------------------------------------------------------------------------------------- the fleet


@dataclass(frozen=True)
class Fleet:
    """A simulated fleet: where it lies, what it was asked to be, and when it ends. Only to be read."""

    folder: Path
    settings: FleetSettings

    @property
    def landing(self) -> Path:
        return self.folder / "landing"

    @property
    def assets(self) -> Path:
        return self.folder / "assets.toml"

    @property
    def labels(self) -> Path:
        return self.folder / "labels.csv"

    @property
    def truth(self) -> Path:
        return self.folder / "truth.csv"

    @property
    def end(self) -> datetime:
        return self.settings.start + timedelta(days=self.settings.days)


@pytest.fixture(scope="session")
def small_fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """3 robots of 4 axes over 6 days: about 210 recordings of one window, 6 findings."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), FleetSettings(robots=3, axes=4, days=6, samples=8_192))
    simulate(fleet.folder, fleet.settings, workers=1)
    return fleet


# ------------------------------------------------------------------------------------------------------ the command


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, f"exit code {self.code}: {self.err}"
        return json.loads(self.out)


class Cli:
    """The installed `axiswatch` in processes of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.program = Path(sys.executable).parent / "axiswatch"

    def environment(self, **settings: Any) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AXISWATCH_")}
        ours = {"home": self.home, "workers": 1, "synthetic_windows": FEW_MADE_WINDOWS} | settings
        return (
            kept
            | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
            | {f"AXISWATCH_{name.upper()}": str(value) for name, value in ours.items()}
        )

    def start(self, *arguments: str | Path, **settings: Any) -> subprocess.Popen[str]:
        """Start a command in a process group of its own. Settings are keywords, such as `workers=2`."""
        self.home.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [str(self.program), *map(str, arguments)],
            env=self.environment(**settings),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str], timeout_s: float = 120.0) -> Ended:
        """Wait for a command; one that hangs is killed with everything it started."""
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill(process)
            raise
        return Ended(process.returncode, out, err)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Send SIGKILL to a command and everything it started."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def __call__(self, *arguments: str | Path, timeout_s: float = 120.0, **settings: Any) -> Ended:
        return self.finish(self.start(*arguments, **settings), timeout_s)


@pytest.fixture(scope="session")
def cli_at() -> Callable[[Path], Cli]:
    """`cli_at(home)`: the installed command with that home; settings are keywords of each call."""
    return Cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The installed command with `tmp_path` as its home: `cli("run", "--json", workers=2)`."""
    return Cli(tmp_path)
