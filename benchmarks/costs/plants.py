"""Plants to measure on: one is really run with each version of the code, then copied, multiplied and fed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from processes import Code, Postgres, Spent, run_job

from pipeline.simulation import FleetSettings, simulate
from pipeline.simulation.fleet import draw_fleet
from pipeline.simulation.schedule import appointments
from pipeline.simulation.writer import record, write_log
from pipeline.store.database import Store
from pipeline.store.tables import Score

APART = timedelta(seconds=0.5)
"""Time between the recordings of two axes of a robot."""

FAULT_SHARE = 0.2
"""Share of axes that develop a fault: few enough that no unit is replaced, so that each unit's history can go on."""

SEEDS = (
    "axes",
    "geometries",
    "geometry_names",
    "units",
    "axis_events",
    "labels",
    "lake_files",
    "model_versions",
    "model_aliases",
    "alias_events",
)
"""Tables that a plant has before its first log: the registry, findings, and a champion."""


def fleet_of(*, quick: bool) -> FleetSettings:
    """Return the simulated fleet that is really run: 72 axes and 3,000 recordings, or 24 and 430."""
    size = {"robots": 4, "days": 6} if quick else {"robots": 12, "days": 14}
    return FleetSettings(**size, fault_share=FAULT_SHARE, label_share=0.5)  # type: ignore[arg-type]


@cache
def beat_rows(fleet: FleetSettings, beat: int) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return one recording of each axis (by cell, robot and axis) after the last day, as rows of a log.

    The waveforms depend on the number of the beat alone, so all plants get the same ones.
    """
    day, slot = divmod(beat, fleet.recordings_per_day)
    rows = {}
    for plan in draw_fleet(fleet):
        for what in appointments(fleet, plan, fleet.days + day):
            if what.slot == slot:
                rows[plan.cell, plan.robot_id, plan.axis] = record(fleet, plan, what)[0]
    return rows


@dataclass
class Plant:
    """One database with its lake and its landing zone, under one version of the code.

    Attributes
    ----------
    now : datetime
        Time of its newest recordings, UTC.
    beat : int
        Number of the next beat.
    places : list of dict
        Its axes that are copies of others, see `multiply.Place`.
    """

    folder: Path
    url: str
    code: Code
    fleet: FleetSettings
    now: datetime
    settings: Mapping[str, str] = field(default_factory=dict)
    server: int = 0
    beat: int = 0
    places: list[dict[str, str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Variables of each process that works on this plant."""
        return {
            "AXISWATCH_HOME": str(self.folder),
            "AXISWATCH_DATABASE_URL": self.url,
            "AXISWATCH_WORKERS": "1",
            **self.settings,
        }

    def run(self, job: str, **details: Any) -> Spent:
        """Run a job of `jobs.py` on this plant."""
        return run_job({"do": job, **details}, code=self.code, environment=self.environment, server=self.server)

    def monitor(self) -> Spent:
        """Run the steps of a monitoring run, just after the newest recordings."""
        return self.run("monitor", as_of=(self.now + timedelta(seconds=5)).isoformat())

    def drop(self, after: timedelta) -> int:
        """Drop the next recording of each axis, that time after the newest ones: one log file a robot."""
        self.now += after
        rows = beat_rows(self.fleet, self.beat)
        self.beat += 1
        by_robot: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for (cell, robot, axis), row in rows.items():
            by_robot.setdefault((cell, robot), []).append({**row, "started_at": self._at(axis)})
        sources = {place["source"]: key for place, key in self._sources()}
        for place in self.places:
            row = rows[sources[place["source"]]]
            names = {name: place[name] for name in ("site", "cell", "robot_id", "axis")}
            serial = row["unit_serial"] + place["suffix"]
            by_robot.setdefault((place["cell"], place["robot_id"]), []).append(
                {**row, **names, "unit_serial": serial, "started_at": self._at(place["axis"])}
            )
        for (cell, robot), logged in by_robot.items():
            name = f"{self.now:%Y%m%dT%H%M%S}_{robot}.parquet"
            write_log(self.folder / "landing" / self.fleet.site / cell / robot / name, logged, self.fleet.samples)
        return sum(map(len, by_robot.values()))

    def grow(self, base: Plant, *, axes: int, copies: int, period: timedelta) -> dict[str, Any]:
        """Fill an empty plant with a multiple of another's history, and run the steps; return the counts of that run.

        See `multiply.multiply`. Nothing is new in that run, so it has nothing to do.
        """
        until = self.now + copies * period
        size = {"axes": axes, "copies": copies, "period_s": period.total_seconds()}
        jobs = [
            {"do": "copy", "source": base.url},
            {"do": "multiply", "end": self.now.isoformat(), **size},
            {"do": "monitor", "as_of": (until + timedelta(seconds=5)).isoformat()},
        ]
        *_, grown, ran = self.run("several", jobs=jobs).answer
        self.now, self.places = until, grown["places"]
        counts: dict[str, Any] = ran["counts"]
        return counts

    def newest(self, since: datetime) -> list[list[Any]]:
        """Return the scores of recordings that started after `since`, in the order of axis and time.

        Axis, first sample, fault probability, mutual information, novelty.
        """
        query = (
            sa.select(
                Score.axis_id, Score.start_sample, Score.fault_probability, Score.mutual_information, Score.novelty
            )
            .where(Score.started_at > since)
            .order_by(Score.axis_id, Score.started_at, Score.start_sample)
        )
        store = Store(self.url)
        with store.read() as connection:
            found = [list(row) for row in connection.execute(query)]
        store.dispose()
        return found

    def _at(self, axis: str) -> datetime:
        return self.now - (int(axis[1:]) - 1) * APART

    def _sources(self) -> list[tuple[dict[str, str], tuple[str, str, str]]]:
        from pipeline.base.ids import axis_id

        keys = {
            axis_id(self.fleet.site, plan.cell, plan.robot_id, plan.axis): (plan.cell, plan.robot_id, plan.axis)
            for plan in draw_fleet(self.fleet)
        }
        return [(place, keys[place["source"]]) for place in self.places]


def logs_of(work: Path, fleet: FleetSettings) -> Path:
    """Return the folder with the simulated logs of the fleet; they are made once."""
    folder = work / f"logs-{fleet.robots}x{fleet.axes}x{fleet.days}"
    simulate(folder, fleet, workers=os.cpu_count() or 1)
    return folder


def really_run(work: Path, code: Code, fleet: FleetSettings) -> tuple[Plant, dict[str, Any]]:
    """Return the plant that was really run with a version of the code on SQLite, and what each step cost.

    It is kept in the work folder until the code changes.
    """
    logs = logs_of(work, fleet)
    folder = work / f"base-{_digest(code, fleet)}"
    marker = folder / "built.json"
    end = fleet.start + timedelta(days=fleet.days)
    settings = {"AXISWATCH_WORKERS": "2", "AXISWATCH_SYNTHETIC_WINDOWS": "20"}  # the model need not be good
    plant = Plant(folder, f"sqlite:///{folder / 'axiswatch.db'}", code, fleet, end, settings)
    if not marker.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _link_tree(logs / "landing", folder / "landing")
        start = fleet.start.isoformat()
        spent = plant.run("build", plant=str(logs), start=start, as_of=end.isoformat())
        marker.write_text(json.dumps(spent.answer), encoding="utf-8")
    return plant, json.loads(marker.read_text(encoding="utf-8"))


def empty_like(base: Plant, folder: Path, database: str, server: Postgres | None) -> Plant:
    """Return a plant with the lake and the landing zone of another one and an empty database: `sqlite` or another."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _link_tree(base.folder / "landing", folder / "landing")
    _link_tree(base.folder / "lake", folder / "lake")
    url, pid = f"sqlite:///{folder / 'axiswatch.db'}", 0
    if database == "postgresql":
        if server is None:
            raise ValueError("a plant on PostgreSQL needs the server")
        url, pid = server.create(f"plant_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"), server.pid
    return replace(base, folder=folder, url=url, server=pid, settings={}, places=[])


def remove(plant: Plant, server: Postgres | None) -> None:
    """Delete a plant with its database."""
    shutil.rmtree(plant.folder, ignore_errors=True)
    if plant.server and server is not None:
        server.drop(plant.url.split("@/")[1].split("?")[0])


def _link_tree(source: Path, target: Path) -> None:
    """Copy a tree of files by hard links; files of landing zone and lake are never changed in place."""
    shutil.copytree(source, target, copy_function=os.link)


def _digest(code: Code, fleet: FleetSettings) -> str:
    """Hash the product's source and the fleet."""
    content = hashlib.sha256(json.dumps(fleet.as_dict()).encode())
    for room in ("features", "models", "pipeline"):
        for path in sorted((code.path / room).rglob("*.py")):
            content.update(path.read_bytes())
    return content.hexdigest()[:12]


def commit_of(code: Code) -> str:
    """Return the commit of a version of the code, with `+` where files are changed; '' without git."""
    words = ["git", "-C", str(code.path), "describe", "--always", "--dirty=+"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip()
