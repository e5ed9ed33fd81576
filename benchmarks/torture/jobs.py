"""The commands that meet faults, and the homes that they start from.

A home is built in stages by the commands themselves, on SQLite; for PostgreSQL its rows are copied into a template
database. A fresh copy of a stage has its own database and its own lake. All times are given, so that a second call has
the same result.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from benchmarks.torture.commands import ROOT, Commands, Ended
from benchmarks.torture.contents import Contents, read, read_folder
from benchmarks.torture.servers import S3, Postgres
from pipeline.base.ids import utc_text
from pipeline.base.log_schema import LOG_SCHEMA
from pipeline.simulation import FleetSettings, simulate
from pipeline.store.database import Store, ensure_partitions
from pipeline.store.lake import Lake
from pipeline.store.tables import Base, Case, ModelVersion

FLEET = FleetSettings(robots=3, axes=4, days=6, samples=8_192)
END = FLEET.start + timedelta(days=FLEET.days)
LATER = END + timedelta(days=1)
MUCH_LATER = END + timedelta(days=90)
SETTINGS = {
    "workers": 1,
    "settle_seconds": 0,
    "extract_chunk_samples": 8_192 * 30,
    "score_chunk_windows": 256,
    "epochs": 2,
    "n_samples": 20,
    "folds": 2,
    "gate_refits": 2,
    "gate_bootstrap": 100,
    "synthetic_windows": 20,
    "retention_months": 1,
}
"""Small chunks, so that a command has many moments between two transactions."""

MAPPING = """version = 1
name = "line"
[files]
glob = "*.csv"
pattern = '(?P<robot>R\\d+)_(?P<axis>A\\d)_(?P<start>\\d{8}T\\d{6})\\.csv'
[signal]
format = "csv"
[recording]
site = { value = "plant9" }
robot_id = { column = "robot" }
axis = { column = "axis" }
sampling_rate_hz = { value = 1000 }
rate_basis = { value = "declared" }
[[channel]]
column = { value = "acc" }
channel = { value = "acc_x" }
quantity = { value = "acceleration" }
unit = { value = "g" }
[time]
basis = "clock"
start = { column = "start" }
zone = "UTC"
"""


@dataclass(frozen=True)
class Job:
    """A command: the stage of the home that it starts from, its words, and how often the campaign chooses it.

    Words are formatted with the facts of the workshop: `{case}`, `{second}` and so on. `refusals`: exit codes by
    which a second call may say that there is nothing left to do.
    """

    name: str
    stage: str
    words: tuple[str, ...]
    weight: int = 1
    refusals: tuple[int, ...] = ()

    @property
    def writes_files_only(self) -> bool:
        """Whether it knows neither database nor lake."""
        return self.words[0] == "import"


AT_END = ("--as-of", utc_text(END))
AT_LATER = ("--as-of", utc_text(LATER))
JOBS = {
    job.name: job
    for job in (
        Job("run", "trained", ("run", *AT_END), 12),
        Job("acquire", "trained", ("acquire", *AT_END), 3),
        Job("import", "empty", ("import", "{archive}", "--mapping", "{mapping}"), 2),
        Job("assets import", "empty", ("assets", "import", "{assets}", "--as-of", utc_text(FLEET.start))),
        Job("labels import", "empty", ("labels", "import", "{labels}", "--who", "simulation")),
        Job("db upgrade", "empty", ("db", "upgrade")),
        Job("train", "extracted", ("train", *AT_END), 2),
        Job("retrain", "more", ("retrain", *AT_LATER), 2),
        Job("models promote", "two", ("models", "promote", "{second}", "--reason", "r", *AT_LATER)),
        Job("models rollback", "back", ("models", "rollback", "--reason", "r", *AT_LATER), 1, (1, 3)),
        Job("rescore", "back", ("rescore", *AT_LATER)),
        Job("levels estimate", "done", ("levels", "estimate", *AT_LATER)),
        Job("watch", "done", ("watch", *AT_LATER)),
        Job("label", "done", ("label", "{case}", "fault", "--mode", "inner_race", "--who", "mara", *AT_LATER)),
        Job("quarantine replay", "done", ("quarantine", "replay", *AT_LATER)),
        Job("assets replace", "done", ("assets", "replace", "R01", "A1", "--new-serial", "SN-NEW", "--at",
                                       utc_text(END), *AT_LATER)),
        Job("retention", "done", ("retention", "--as-of", utc_text(MUCH_LATER)), 2),
        Job("lake sweep", "litter", ("lake", "sweep", "--older-than-hours", "0")),
    )
}  # fmt: skip
"""Every command that writes to the database, to the lake or to the landing zone, without those about accounts."""


class Home:
    """A copy of a stage, for one fault."""

    def __init__(self, shop: Workshop, folder: Path, url: str, lake_url: str, job: Job) -> None:
        self.shop, self.folder, self.url, self.lake_url, self.job = shop, folder, url, lake_url, job

    @property
    def words(self) -> list[str]:
        """The command, with `--json`."""
        return [*(word.format(**self.shop.facts) for word in self.job.words), "--json"]

    def environment(self, **settings: Any) -> dict[str, str]:
        """Return the environment of a command."""
        keep = ("PATH", "HOME", "LANG", "TMPDIR")
        kept = {name: os.environ[name] for name in keep if name in os.environ}
        landing = self.folder / "landing" if self.job.writes_files_only else self.shop.landing
        ours = {"home": self.folder, "database_url": self.url, "lake_url": self.lake_url, "landing": landing}
        ours |= SETTINGS | settings
        kept |= {
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "PYTHONPATH": str(ROOT),
        }
        if self.shop.s3 is not None:
            kept |= self.shop.s3.environment
        return kept | {f"AXISWATCH_{name.upper()}": str(value) for name, value in ours.items()}

    def contents(self) -> Contents:
        """Read all that is there now."""
        if self.job.writes_files_only:
            return read_folder(self.folder)
        store = Store.open(self.url)
        try:
            return read(store, Lake(self.lake_url))
        finally:
            store.dispose()

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if not self.url.startswith("sqlite"):
            self.shop.postgres.drop(self.url)
        if self.lake_url.startswith("s3"):
            self.shop.s3.clear(self.lake_url)


class Workshop:
    """The prepared stages, and what homes are copied from."""

    def __init__(self, folder: Path, commands: Commands, postgres: Postgres, s3: S3 | None = None) -> None:
        self.folder, self.commands, self.postgres, self.s3 = folder, commands, postgres, s3
        self.fleet, self.stages, self.landing = folder / "fleet", folder / "stages", folder / "landing"
        self.templates: dict[str, str] = {}
        self.facts: dict[str, str] = {}
        self._copies = 0

    def prepare(self) -> None:
        """Simulate the fleet and build every stage, one on top of the other."""
        simulate(self.fleet, FLEET, workers=1)
        shutil.copytree(self.fleet / "landing", self.landing)
        logs = sorted(self.landing.rglob("*.parquet"))
        early = self.folder / "early"
        for path in logs[: len(logs) * 2 // 3]:
            target = early / path.relative_to(self.landing)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        self._bad_logs(logs)
        archive = self.folder / "archive"
        archive.mkdir()
        for number in range(12):
            values = np.random.default_rng(number).normal(0, 0.1, 400)
            name = f"R{number % 3:02d}_A1_202601{number + 1:02d}T060000.csv"
            (archive / name).write_text("acc\n" + "\n".join(f"{value:.5f}" for value in values), encoding="utf-8")
        (self.folder / "line.toml").write_text(MAPPING, encoding="utf-8")
        first, rest = self._labels()
        self.facts = {
            "archive": str(archive),
            "mapping": str(self.folder / "line.toml"),
            "assets": str(self.fleet / "assets.toml"),
            "labels": str(first),
        }
        self.stages.mkdir()
        self._stage("empty", None, lambda call: None)

        def extracted(call: Callable[..., Ended]) -> None:
            call("assets", "import", self.fleet / "assets.toml", "--as-of", utc_text(FLEET.start))
            call("labels", "import", first, "--who", "simulation")
            call("acquire", *AT_END, landing=early)
            call("extract", *AT_END)

        self._stage("extracted", "empty", extracted)
        self._stage("trained", "extracted", lambda call: call("train", *AT_END))
        self._stage("done", "trained", lambda call: call("run", *AT_END))
        self._stage("more", "done", lambda call: call("labels", "import", rest, "--who", "later"))
        self._stage("two", "more", lambda call: call("train", *AT_LATER, epochs=3))
        with self._opened("done").read() as connection:
            case = sa.select(sa.func.min(Case.case_id)).where(Case.state == "open")
            self.facts["case"] = connection.scalar(case) or ""
        with self._opened("two").read() as connection:
            newest = sa.select(ModelVersion.model_version).order_by(ModelVersion.known_at.desc()).limit(1)
            self.facts["second"] = connection.scalar(newest) or ""
        self._stage(
            "back", "two", lambda call: call("models", "promote", self.facts["second"], "--reason", "r", *AT_LATER)
        )
        self._stage("litter", "done", lambda call: None)
        for number in range(8):
            path = self.stages / f"litter/lake/recordings/{number:02x}/{number:064x}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"left by a run that was killed")

    def _bad_logs(self, logs: list[Path]) -> None:
        """Add rows that are refused: damaged, twice, and of the future, so that quarantine and replay have work."""
        rows = pq.read_table(logs[0]).to_pylist()[:4]
        for number, row in enumerate(rows):
            row["robot_id"], row["started_at"] = "R90", END - timedelta(hours=number + 1)
        nullable = pa.schema([column.with_nullable(True) for column in LOG_SCHEMA])

        def write(name: str, changed: list[dict[str, Any]]) -> None:
            path = self.landing / "plant9" / name
            path.parent.mkdir(exist_ok=True)
            pq.write_table(pa.Table.from_pylist(changed, schema=nullable), path)
            os.utime(path, (FLEET.start.timestamp(),) * 2)

        write("x1.parquet", [rows[0], rows[1], {**rows[2], "unit": "mm/s"}, {**rows[3], "samples": []}])
        write("x2.parquet", [rows[0], {**rows[1], "load": 0.75}, rows[2]])
        write(
            "x3.parquet",
            [{**row, "robot_id": "R91", "started_at": END + timedelta(hours=2 + n)} for n, row in enumerate(rows)],
        )
        (self.landing / "plant9/x4.parquet").write_bytes(b"PAR1 and then the power went")
        os.utime(self.landing / "plant9/x4.parquet", (FLEET.start.timestamp(),) * 2)

    def _labels(self) -> tuple[Path, Path]:
        """Cut the findings in two: those of the first training, and all of them."""
        lines = (self.fleet / "labels.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        first = self.folder / "first.csv"
        first.write_text("".join(lines), encoding="utf-8")
        rest = self.folder / "rest.csv"
        rest.write_text("".join(lines[:1] + lines[-2:]), encoding="utf-8")
        return first, rest

    def _stage(self, name: str, based_on: str | None, build: Callable[[Callable[..., Ended]], Any]) -> None:
        folder = self.stages / name
        if based_on is None:
            (folder / "lake").mkdir(parents=True)
        else:
            shutil.copytree(self.stages / based_on, folder)
        home = Home(self, folder, f"sqlite:///{folder / 'axiswatch.db'}", str(folder / "lake"), JOBS["run"])

        def call(*words: str | Path, **settings: Any) -> Ended:
            ended = self.commands.run([*words, "--json"], home.environment(**settings), folder)
            if ended.code:
                sys.exit(f"{' '.join(map(str, words))} ended with {ended.code}: {ended.err}")
            return ended

        build(call)

    def _opened(self, stage: str) -> Store:
        return Store.open(f"sqlite:///{self.stages / stage / 'axiswatch.db'}")

    def copy(self, job: Job, database: str, *, on_s3: bool = False, onto: Path | None = None) -> Home:
        """Return a fresh copy of the stage of a job; `onto`: an empty folder to use, such as a small disk."""
        self._copies += 1
        folder = onto or self.folder / "homes" / str(self._copies)
        shutil.copytree(self.stages / job.stage, folder, dirs_exist_ok=True)
        url, lake_url = f"sqlite:///{folder / 'axiswatch.db'}", str(folder / "lake")
        if database == "postgresql" and not job.writes_files_only:
            url = self.postgres.copy(self._template(job.stage))
        if on_s3:
            assert self.s3 is not None
            lake_url = self.s3.fill(f"home{self._copies}", folder / "lake")
        return Home(self, folder, url, lake_url, job)

    def _template(self, stage: str) -> str:
        """Return the template database of a stage, made where it is not there."""
        if stage not in self.templates:
            name = self.postgres.create()
            if stage != "empty":
                target = Store.open(self.postgres.url(name))
                ensure_partitions(target, [FLEET.start + timedelta(days=day) for day in range(FLEET.days + 2)])
                copy_rows(self._opened(stage), target)
                target.dispose()
            self.templates[stage] = name
        return self.templates[stage]


def copy_rows(source: Store, target: Store) -> None:
    """Copy all rows from one database to another, which has its tables and no rows."""
    with source.read() as reading, target.write() as writing:
        for table in Base.metadata.sorted_tables:
            rows = [dict(row._mapping) for row in reading.execute(sa.select(table))]
            if rows:
                writing.execute(sa.insert(table), rows)
    source.dispose()
