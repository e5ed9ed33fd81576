"""Shared by tests of all folders: real databases, lakes, log files, a small simulated fleet, the installed command."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections import Counter
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

from benchmarks.torture.contents import read_tables
from pipeline.assets import import_assets
from pipeline.base.ids import axis_id
from pipeline.base.log_schema import LOG_SCHEMA
from pipeline.base.settings import Settings
from pipeline.extraction.extract import extract_due
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.labels.labels import import_labels
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


# ------------------------------------------------------------------------------------------------ order, and skips

LONG_FILES = (
    "e2e/test_airflow.py",
    "e2e/test_airflow_review.py",
    "pipeline/test_killed_runs.py",
    "review/test_answers_meanwhile.py",
    "e2e/test_celery.py",
    "pipeline/promotion/test_model_life.py",
    "pipeline/scoring/test_score_advise.py",
    "pipeline/promotion/test_poisoned_labels.py",
    "review/test_browser.py",
    "test_conventions.py",
    "pipeline/evaluation/test_evaluation.py",
    "pipeline/test_memory.py",
    "pipeline/watch/test_watch.py",
    "models/training/test_train.py",
    "review/test_app.py",
    "e2e/test_net.py",
    "e2e/test_demo.py",
)
"""Files that take longest, the longest first: what is long must not begin last, or one core has nothing to do."""

SPLIT_BY_DATABASE = ("pipeline/test_killed_runs.py", "review/test_answers_meanwhile.py")
"""Files whose tests on SQLite and those on PostgreSQL may run beside one another."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; the rest stays in its order."""
    place = {(Path(__file__).parent / name): number for number, name in enumerate(LONG_FILES)}
    if gone := [str(path) for path in place if not path.exists()]:
        raise pytest.UsageError(f"LONG_FILES names files that are not there: {', '.join(gone)}")
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker the next whole file (or, of some files, all tests on one database), in the order above."""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class FileByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            database = re.search(r"\[(sqlite|postgresql)\b", nodeid)
            return f"{file} {database[1]}" if database and file.endswith(SPLIT_BY_DATABASE) else file

    config.option.loadscopereorder = False
    return FileByFile(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name what was skipped, and the one command that brings what it lacked."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        counts = Counter(report.nodeid.split("::", 1)[0] for report in skipped)
        terminalreporter.section("skipped: not everything was tested")
        for file, count in sorted(counts.items()):
            terminalreporter.line(f"{count:4} of {file}")
        terminalreporter.line("`make test-tools` installs Redis, docker-compose, Chromium and fonts (Debian, as root).")
        terminalreporter.line("Recorded signals: set AXISWATCH_TEST_DATA to their folder (CONTRIBUTING.md).")


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
            connection.exec_driver_sql(f"DELETE FROM {table}")


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


@dataclass(frozen=True)
class ExtractedFleet:
    """The small fleet with its assets, labels, recordings and features, in a home of its own. Only to be copied."""

    fleet: Fleet
    lake: Path
    tables: Tables

    @property
    def end(self) -> datetime:
        return self.fleet.end

    def copy_to(self, store: Store, home: Path) -> Lake:
        """Copy the rows into an empty database and the files into `home / "lake"`."""
        with store.write() as connection:
            for table in Base.metadata.sorted_tables:
                if self.tables[table.name]:
                    connection.execute(sa.insert(table), self.tables[table.name])
        return Lake(str(shutil.copytree(self.lake, home / "lake")))


@pytest.fixture(scope="session")
def extracted_fleet(tmp_path_factory: pytest.TempPathFactory, small_fleet: Fleet) -> ExtractedFleet:
    """The small fleet, acquired and extracted once by the default settings."""
    home = tmp_path_factory.mktemp("extracted")
    settings = Settings(home=home, workers=1)
    store, lake = Store.open(settings.database), Lake(settings.lake)
    import_assets(store, small_fleet.assets, as_of=small_fleet.settings.start)
    import_labels(store, small_fleet.labels, who="simulation")
    most = (settings.max_samples, settings.max_sampling_rate_hz, settings.max_shaft_speed_rpm)
    acquire(store, lake, small_fleet.landing, limits=Limits(small_fleet.end, *most), settled_before=small_fleet.end)
    extract_due(store, lake, settings, as_of=small_fleet.end)
    tables = read_tables(store)
    store.dispose()
    return ExtractedFleet(small_fleet, Path(lake.root), tables)


@pytest.fixture
def alike(store: Store) -> Store:
    """Open cases that look alike: `asked`, `twin`, `alarm` and, about data, `data`; and `other`, which does not."""
    from pipeline.store import tables

    moved = {name: [9.0, 0.0, 9.0, 0.0] for name in ("asked", "twin", "alarm", "data")} | {
        "other": [0.0, 9.0, 0.0, 0.0]
    }
    names = ("shaft_speed_rpm", "speed_is_steady", "load", "payload_kg", "temperature_c", "program", "unit_serial")
    signal: dict[str, Any] = {"channel": "acc_x", "unit": "g", "n_samples": 9, "quantity": "acceleration"}
    signal |= {"time_basis": "clock", "sampling_rate_hz": 1.0, "rate_basis": "declared", **dict.fromkeys(names)}
    with store.write() as connection:
        file = {"path": "f", "kind": "recordings", "size_bytes": 1, "n_rows": 9, "known_at": AS_OF}
        connection.execute(sa.insert(tables.LakeFile), file)
        for row, (name, values) in enumerate(moved.items()):
            key = axis_id("p", "c", name, "A1")
            axis = {"axis_id": key, "site": "p", "cell": "c", "robot_id": name, "axis": "A1", "criticality": None}
            connection.execute(sa.insert(tables.Axis), axis | {"expected_every_s": None, "known_at": AS_OF})
            code = {"alarm": "fault", "data": "data"}.get(name, "novel")
            case = {"case_id": name, "axis_id": key, "family": "data" if name == "data" else "machine", "mode": None}
            case |= {"state": "open", "n_bins": 2, "priority": 0.5, "fault_probability": 0.1, "first_at": AS_OF}
            case |= {"reasons": [{"code": code, "text": ""}], "last_at": AS_OF, "known_at": AS_OF, "changed_at": AS_OF}
            connection.execute(sa.insert(tables.Case), case)
            keys = {"recording_id": name, "axis_id": key, "started_at": AS_OF, "lake_row": row, "content_hash": name}
            keys |= {"lake_path": "f", "file_hash": "h", "known_at": AS_OF}
            connection.execute(sa.insert(tables.Recording), signal | keys)
            shown = {"case_id": name, "recording_id": name, "channel": "acc_x", "scope": "acceleration"}
            shown |= {"feature_version": "v", "moved": np.array(values, "<f4").tobytes()}
            shown |= {"case_changed_at": AS_OF, "known_at": AS_OF}
            connection.execute(sa.insert(tables.CaseEvidence), shown)
    return store


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


class CommandServer:
    """Runs commands one after another, each in a fork of one process that has loaded the libraries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AXISWATCH_")}
        # Not beside the script: tests/pipeline is no pipeline.
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("command_server.py"))],
            env=kept | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, words: Sequence[str], environment: Mapping[str, str], folder: Path, timeout_s: float) -> Ended:
        """Run a command; one that hangs is killed with everything it started."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        files = [self.folder / name for name in ("out", "err")]
        asked = {"words": words, "environment": environment, "folder": folder, "files": files}
        self.process.stdin.write(json.dumps(asked, default=str) + "\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        late = threading.Timer(timeout_s, os.killpg, (child, signal.SIGKILL))
        late.start()
        code = int(self.process.stdout.readline())
        late.cancel()
        assert code != -signal.SIGKILL, f"{words} took longer than {timeout_s} s"
        out, err = (file.read_text(encoding="utf-8") for file in files)
        return Ended(code, out, err)

    def stop(self) -> None:
        """End it."""
        self.process.communicate()


@pytest.fixture(scope="session")
def command_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandServer]:
    """The process that commands are forked off."""
    server = CommandServer(tmp_path_factory.mktemp("commands"))
    yield server
    server.stop()


class Cli:
    """The `axiswatch` command: called, in a fork of the command server; started, as the installed program."""

    def __init__(self, home: Path, server: CommandServer) -> None:
        self.home, self.server = home, server
        self.program = Path(sys.executable).parent / "axiswatch"

    def environment(self, **settings: Any) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AXISWATCH_")}
        ours = {"home": self.home, "workers": 1, "synthetic_windows": FEW_MADE_WINDOWS} | settings
        return (
            kept
            | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
            | {f"AXISWATCH_{name.upper()}": str(value) for name, value in ours.items()}
        )

    def start(self, *arguments: str | Path, **settings: Any) -> subprocess.Popen[str]:
        """Start the installed program in a process group of its own. Settings are keywords, such as `workers=2`."""
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
        """Wait for a program that was started; one that hangs is killed with everything it started."""
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill(process)
            raise
        return Ended(process.returncode, out, err)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Send SIGKILL to a program and everything it started."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def __call__(self, *arguments: str | Path, timeout_s: float = 120.0, **settings: Any) -> Ended:
        """Run a command to its end."""
        self.home.mkdir(parents=True, exist_ok=True)
        return self.server.run([*map(str, arguments)], self.environment(**settings), self.home, timeout_s)


@pytest.fixture(scope="session")
def cli_at(command_server: CommandServer) -> Callable[[Path], Cli]:
    """`cli_at(home)`: the command with that home; settings are keywords of each call."""
    return lambda home: Cli(home, command_server)


@pytest.fixture
def cli(tmp_path: Path, command_server: CommandServer) -> Cli:
    """The command with `tmp_path` as its home: `cli("run", "--json", workers=2)`."""
    return Cli(tmp_path, command_server)
