"""Run again, killed at any moment, or two at once: the database ends the same, on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.torture.contents import Contents, differences, read
from benchmarks.torture.jobs import copy_rows
from pipeline.assets import import_assets
from pipeline.base.settings import Settings
from pipeline.extraction.extract import extract_due
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.labels.labels import import_labels
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.training.train import train_scopes

# Small chunks, so that a run has many moments between two transactions.
SETTINGS = {
    "workers": 2,
    "extract_chunk_samples": 8_192 * 30,
    "score_chunk_windows": 256,
    "epochs": 2,
    "n_samples": 20,
    "folds": 2,
    "synthetic_windows": 20,
}
KILLS = 2
SEEDS = (1,)


@dataclass(frozen=True)
class Prepared:
    """A home with a champion and two thirds of the logs; a landing zone that holds all of them, and some bad ones."""

    home: Path
    landing: Path
    as_of: datetime


@pytest.fixture(scope="module")
def prepared(
    tmp_path_factory: pytest.TempPathFactory,
    small_fleet: Any,
    cli_at: Callable[[Path], Any],
    make_row: Callable[..., dict[str, Any]],
    write_log: Callable[..., Path],
) -> Prepared:
    folder = tmp_path_factory.mktemp("killed")
    cli = cli_at(folder / "home")
    landing = folder / "landing"
    shutil.copytree(small_fleet.landing, landing)
    days = sorted(landing.rglob("*.parquet"))
    early = folder / "early"
    for path in days[: len(days) * 2 // 3]:
        target = early / path.relative_to(landing)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    prepare(cli.home, small_fleet, early)
    rows = [make_row(i, robot_id="R90", samples=[float(i)] * 600) for i in range(4)]
    write_log(
        landing / "plant1/x1.parquet", [rows[0], rows[1], {**rows[2], "unit": "mm/s"}, {**rows[3], "samples": []}]
    )
    write_log(landing / "plant1/x2.parquet", [rows[0], {**rows[1], "load": 0.75}, rows[2]])
    (landing / "plant1/x3.parquet").write_bytes(b"PAR1 and then the power went")
    shutil.copy2(landing / "plant1/x1.parquet", landing / "plant1/x4.parquet")
    return Prepared(cli.home, landing, small_fleet.end)


def prepare(home: Path, fleet: Any, landing: Path) -> None:
    """Take in the first logs and train; nothing is scored yet."""
    settings = Settings(home=home, **{name: value for name, value in SETTINGS.items() if name != "workers"}, workers=1)
    store, lake = Store.open(settings.database), Lake(settings.lake)
    import_assets(store, fleet.assets, as_of=fleet.settings.start)
    import_labels(store, fleet.labels, who="simulation")
    limits = Limits(fleet.end, settings.max_samples, settings.max_sampling_rate_hz, settings.max_shaft_speed_rpm)
    acquire(store, lake, landing, limits=limits, settled_before=fleet.end)
    extract_due(store, lake, settings, as_of=fleet.end)
    train_scopes(store, lake, settings, as_of=fleet.end)
    store.dispose()


class Copy:
    """A copy of the prepared home, on one of the databases."""

    def __init__(self, home: Path, url: str, prepared: Prepared, cli: Any) -> None:
        self.url, self.prepared, self.cli = url, prepared, cli
        self.settings = SETTINGS | {"database_url": url, "landing": prepared.landing, "settle_seconds": 0}
        self.arguments = ("run", "--json", "--as-of", prepared.as_of.isoformat())
        self.lake = Lake(str(home / "lake"))

    def run(self) -> dict[str, Any]:
        return self.cli(*self.arguments, **self.settings).json()  # type: ignore[no-any-return]

    def start(self) -> Any:
        return self.cli.start(*self.arguments, **self.settings)


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def fresh(
    request: pytest.FixtureRequest,
    prepared: Prepared,
    tmp_path_factory: pytest.TempPathFactory,
    cli_at: Callable[[Path], Any],
) -> Iterator[Callable[[], Copy]]:
    """Give fresh copies of the prepared home, all on the same kind of database."""
    made: list[str] = []
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    template = server.create() if server is not None else None
    if server is not None:
        target = Store.open(server.url(template))
        copy_rows(Store.open(f"sqlite:///{prepared.home / 'axiswatch.db'}"), target)
        target.dispose()

    def make() -> Copy:
        home = tmp_path_factory.mktemp("copy")
        shutil.copytree(prepared.home / "lake", home / "lake")
        if server is None:
            shutil.copy2(prepared.home / "axiswatch.db", home / "axiswatch.db")
            url = f"sqlite:///{home / 'axiswatch.db'}"
        else:
            made.append(server.create(template))
            url = server.url(made[-1])
        return Copy(home, url, prepared, cli_at(home))

    yield make
    for name in [*made, *([template] if template else [])]:
        server.drop(name)


def contents(copy: Copy) -> Contents:
    """Everything that a database and its lake hold, as the campaign of faults compares it."""
    store = Store.open(copy.url)
    found = read(store, copy.lake)
    store.dispose()
    assert found.problems == []
    return found


@pytest.fixture(scope="module")
def reference(fresh: Callable[[], Copy]) -> tuple[Copy, float]:
    """A run that nobody disturbed, and how long it took."""
    copy = fresh()
    started = time.monotonic()
    found = copy.run()
    assert found["acquire"]["files"] == 6 + 3
    assert found["acquire"]["quarantined"] == 2 + 1 + 1
    assert found["extract"]["windows"] > 50
    assert found["score"]["windows"] > 200
    assert found["advise"]["bins"] > 50
    return copy, time.monotonic() - started


def same(copy: Copy, wanted: Contents) -> None:
    """Compare table by table, so that a failure names the table, the columns and the first rows that differ."""
    left = differences(wanted, contents(copy))
    if left:
        pytest.fail("\n".join(item.in_words() for item in left))


def test_running_again_changes_nothing(reference: tuple[Copy, float]) -> None:
    copy, _ = reference
    before = contents(copy)
    found = copy.run()
    assert found["acquire"]["recordings"] == found["extract"]["recordings"] == found["score"]["recordings"] == 0
    assert found["advise"]["opened"] == found["advise"]["bins"] == 0
    same(copy, before)


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_random_moments_and_run_again(
    fresh: Callable[[], Copy],
    reference: tuple[Copy, float],
    seed: int,
) -> None:
    undisturbed, duration = reference
    copy = fresh()
    moments = random.Random(seed)
    killed = 0
    while killed < KILLS:
        process = copy.start()
        time.sleep(moments.uniform(0.25, 0.95) * duration)
        if process.poll() is None:
            copy.cli.kill(process)
            killed += 1
        else:  # Faster than the reference was: nothing is left to be killed in.
            copy.cli.finish(process)
            copy, killed, duration = fresh(), 0, 0.7 * duration
    copy.run()
    same(copy, contents(undisturbed))


KILLED_AT_EVERY_COMMIT = """
import gc, os, sys, traceback
from dataclasses import replace
import pandas  # what a life loads late is loaded here, once
import pipeline.cases.evidence, pipeline.extraction.baseline, pipeline.extraction.extract, pipeline.intake.acquire
import pipeline.scoring.advise, pipeline.scoring.score, pipeline.trends
from benchmarks.torture.hook import at_commit
from pipeline.cli.common import moment, workplace
from pipeline.cli.steps import run_steps

def live(run):
    at_commit(1 + run % 2, after=run % 2 == 0)
    try:
        run_steps(replace(workplace(), true_time=moment(None)), moment(sys.argv[1]), True)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

gc.freeze()
for run in range(500):
    child = os.fork() or live(run)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status):
        print(run)
        sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Each life makes one commit, then dies right after it, or right before its second one: every moment between two."""


def test_killed_between_any_two_commits(fresh: Callable[[], Copy], reference: tuple[Copy, float]) -> None:
    undisturbed, _ = reference
    copy = fresh()
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EVERY_COMMIT, copy.prepared.as_of.isoformat()],
        env=copy.cli.environment(**copy.settings | {"workers": 1}) | {"PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=copy.cli.home,
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 20, "so few commits tell nothing"
    same(copy, contents(undisturbed))


def test_two_runs_at_once(fresh: Callable[[], Copy], reference: tuple[Copy, float]) -> None:
    undisturbed, _ = reference
    copy = fresh()
    ended = [copy.cli.finish(process) for process in [copy.start(), copy.start()]]
    assert [run.code for run in ended] == [0, 0], [run.err for run in ended]
    same(copy, contents(undisturbed))


def test_one_killed_while_another_runs(fresh: Callable[[], Copy], reference: tuple[Copy, float]) -> None:
    undisturbed, duration = reference
    copy = fresh()
    doomed, other = copy.start(), copy.start()
    time.sleep(0.7 * duration)
    copy.cli.kill(doomed)
    ended = copy.cli.finish(other)
    assert ended.code == 0, ended.err
    same(copy, contents(undisturbed))
