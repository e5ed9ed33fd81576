"""Write a simulated fleet into a folder, once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from pipeline.base.errors import SettingsError
from pipeline.simulation.findings import stamp
from pipeline.simulation.fleet import draw_fleet, quotas
from pipeline.simulation.schedule import appointments
from pipeline.simulation.settings import DETECTABLE_SEVERITY, SIMULATOR_VERSION, FleetSettings, SimulationReport
from pipeline.simulation.writer import record, write_log, write_robot_day, write_tables

APART = timedelta(seconds=0.5)
"""Time between the recordings of two axes of a robot."""


def drop_beat(landing: Path, settings: FleetSettings, beat: int, at: datetime) -> int:
    """Record every axis once and write the logs into the landing zone.

    Parameters
    ----------
    beat
        0, 1, 2 ... Each is the next slot of the simulated schedule after the last day, and faults grow by one slot.
    at
        Time of the last recording, UTC.

    Returns
    -------
    int
        Number of recordings written.
    """
    day, slot = divmod(beat, settings.recordings_per_day)
    dropped = 0
    for robot in range(settings.robots):
        plans = [plan for plan in draw_fleet(settings) if plan.robot == robot]
        rows = []
        for place, plan in enumerate(reversed(plans)):
            for what in appointments(settings, plan, settings.days + day):
                if what.slot == slot:
                    rows += record(settings, plan, replace(what, started_at=at - place * APART))
        if rows:
            name = f"{at:%Y%m%dT%H%M%S}_{plans[0].robot_id}.parquet"
            write_log(landing / settings.site / plans[0].cell / plans[0].robot_id / name, rows, settings.samples)
            dropped += len(rows)
    return dropped


MARKER = "simulation.json"


def _description(settings: FleetSettings) -> dict[str, Any]:
    """Return the content of `simulation.json` without the counts."""
    return {
        "simulator_version": SIMULATOR_VERSION,
        "settings": settings.as_dict(),
        "detectable_severity": DETECTABLE_SEVERITY,
        "quotas": dataclasses.asdict(quotas(settings)),
        "silent": [
            {
                "site": settings.site,
                "cell": plan.cell,
                "robot_id": plan.robot_id,
                "axis": plan.axis,
                "silent_from": stamp(settings.at(plan.silent_from_day)),
            }
            for plan in draw_fleet(settings)
            if plan.silent_from_day < settings.days
        ],
    }


def _write_marker(out: Path, content: dict[str, Any]) -> None:
    aside = out / f".{MARKER}.part"
    aside.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    aside.replace(out / MARKER)


def _complete(out: Path, settings: FleetSettings) -> dict[str, Any] | None:
    """Return the marker of a complete run of the same settings; None where there is none.

    Raises
    ------
    SettingsError
        The folder contains something else.
    """
    marker = out / MARKER
    if not marker.exists():
        if (out / "landing").exists():
            raise SettingsError(f"{out} contains a landing zone but no {MARKER}; choose an empty folder")
        return None
    marker_content: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
    today = json.loads(json.dumps(_description(settings)))
    was, now = dict(marker_content.get("settings", {})), dict(today["settings"])
    was["simulator_version"], now["simulator_version"] = marker_content.get("simulator_version"), SIMULATOR_VERSION
    differ = [f"{name} {was.get(name)!r} there, {now.get(name)!r} now" for name in now if was.get(name) != now[name]]
    if differ:
        raise SettingsError(f"{out} contains a fleet of other settings ({'; '.join(differ)}); choose another folder")
    return marker_content if marker_content.get("complete") else None


def simulate(
    out: Path,
    settings: FleetSettings,
    *,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> SimulationReport:
    """Simulate a fleet into a folder.

    Parameters
    ----------
    out : Path
        Folder, created if it is missing. It gets `landing/`, `assets.toml`, `labels.csv`, `truth.csv` and
        `simulation.json`.
    settings : FleetSettings
        What to simulate. The same settings give the same bytes, whatever `workers`.
    workers : int
        Number of processes, 1 or more.
    on_progress : callable, optional
        Called with the number of robot days done, and of all.

    Returns
    -------
    SimulationReport
        Counts of the fleet. Where the folder had this fleet already, nothing was written and `written` is False.

    Raises
    ------
    SettingsError
        The folder contains a fleet of other settings, or a landing zone of something else; or `workers` is below 1.
    """
    if workers < 1:
        raise SettingsError(f"workers must be 1 or more, not {workers}")
    plans = draw_fleet(settings)
    installed = [unit for plan in plans for unit in plan.installations]
    faulty = sum(unit.course is not None for unit in installed)
    complete = _complete(out, settings)
    if complete is not None:
        counts = complete["counts"]
        return SimulationReport(
            out, False, counts["files"], counts["recordings"], len(installed), faulty, counts["labels"]
        )
    out.mkdir(parents=True, exist_ok=True)
    description = _description(settings)
    _write_marker(out, {**description, "complete": False})
    tasks = [(robot, day) for day in range(settings.days) for robot in range(settings.robots)]
    pool = Parallel(n_jobs=min(workers, len(tasks)), return_as="generator_unordered", max_nbytes=None)
    written = []
    for done, rows in enumerate(pool(delayed(write_robot_day)(out, settings, *task) for task in tasks), start=1):
        written.append(rows)
        if on_progress is not None:
            on_progress(done, len(tasks))
    labels, truth = write_tables(out, settings)
    if sum(written) != truth:
        raise RuntimeError(f"{sum(written)} recordings were written to {out}, but the truth is about {truth}")
    counts = {"files": sum(rows > 0 for rows in written), "recordings": truth, "labels": labels}
    _write_marker(out, {**description, "counts": counts, "complete": True})
    return SimulationReport(out, True, counts["files"], truth, len(installed), faulty, labels)
