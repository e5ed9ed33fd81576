"""A fleet that goes on after its last simulated day: a log file a robot and beat, stamped with real time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from pipeline.simulation.fleet import draw_fleet
from pipeline.simulation.schedule import appointments
from pipeline.simulation.settings import FleetSettings
from pipeline.simulation.writer import record, write_log

APART = timedelta(seconds=0.5)
"""Time between the recordings of two axes of a robot."""


def drop_beat(landing: Path, settings: FleetSettings, beat: int, at: datetime) -> int:
    """Record every axis once and drop the logs, whole.

    Parameters
    ----------
    beat
        0, 1, 2 ... Each is the next slot of the simulated schedule after the last day: the faults age by that much.
    at
        Time of the last recording, UTC.

    Returns
    -------
    int
        Recordings dropped.
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
