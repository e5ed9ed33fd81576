"""Silent axes: axes whose recordings are overdue."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.quality.quality import Quality
from pipeline.assets.stops import off_until
from pipeline.base.ids import utc_text
from pipeline.base.settings import CaseSettings
from pipeline.cases.axis_state import FAULT_FIGURES, SILENT, Flag, bin_start
from pipeline.store.tables import ARCHIVE, Axis, AxisState, Recording, Unit

SILENT_FACTOR = 3.0
"""An axis is silent after this many times its declared time between recordings."""


def silent_axes(
    connection: Connection, settings: CaseSettings, as_of: datetime
) -> dict[str, tuple[datetime, datetime]]:
    """Return the silent axes, each with its last recording (else its installation) and when it became silent.

    Only axes count that have sent recordings with real times, or on which a unit is installed. Archives do not count,
    nor does an axis in a planned stop; after it, the time without recordings begins at the end of the stop.
    """
    # One look into an index for each axis, however many recordings there are.
    of_axis = Recording.axis_id == Axis.axis_id
    newest = sa.select(Recording.started_at).where(of_axis, Recording.started_at <= as_of)
    newest = newest.order_by(Recording.started_at.desc()).limit(1)
    # No EXISTS: PostgreSQL may answer it for all axes at once, from the whole archive.
    archived = sa.select(Recording.recording_id).where(of_axis, ARCHIVE).limit(1)
    query = sa.select(
        Axis.axis_id,
        Axis.expected_every_s,
        newest.scalar_subquery().label("last_at"),
        archived.scalar_subquery().label("archived"),
    )
    axes = connection.execute(query).all()
    installed: dict[str, datetime] = {}
    retired = set()
    for row in connection.execute(sa.select(Unit).order_by(Unit.installed_at)):
        if row.removed_at is not None and row.removed_at <= as_of:
            retired.add(row.axis_id)
        elif row.installed_at <= as_of:
            retired.discard(row.axis_id)
            installed[row.axis_id] = row.installed_at
    silent = {}
    stopped = off_until(connection, as_of)
    for axis in axes:
        seen = axis.last_at or installed.get(axis.axis_id)
        if seen is None or axis.archived is not None or axis.axis_id in retired:
            continue
        seen = max(seen, stopped.get(axis.axis_id, seen))
        limit = timedelta(hours=settings.silent_after_hours)
        if axis.expected_every_s is not None:
            limit = timedelta(seconds=SILENT_FACTOR * axis.expected_every_s)
        if as_of - seen > limit:
            silent[axis.axis_id] = (seen, seen + limit)
    return silent


def not_noted(
    connection: Connection, silent: dict[str, tuple[datetime, datetime]]
) -> dict[str, tuple[datetime, datetime]]:
    """Return those of the silent axes that have no state yet for the time at which they became silent."""
    noted = sa.select(AxisState.axis_id).where(
        AxisState.axis_id == sa.bindparam("axis"),
        AxisState.bin_at > sa.bindparam("seen", type_=AxisState.bin_at.type),
        AxisState.state == SILENT,
        AxisState.first_at == sa.bindparam("certain", type_=AxisState.first_at.type),
    )
    return {
        axis: (seen, certain)
        for axis, (seen, certain) in silent.items()
        if connection.scalar(noted, {"axis": axis, "seen": seen, "certain": certain}) is None
    }


def silent_row(axis_id: str, silent: tuple[datetime, datetime], period: timedelta, as_of: datetime) -> dict[str, Any]:
    """Return the state row of a silent axis, in the bin in which it became silent."""
    seen, certain_at = silent
    return {
        "axis_id": axis_id,
        "bin_at": max(bin_start(certain_at, period), bin_start(seen, period) + period),
        "state": SILENT,
        "first_at": certain_at,
        "last_at": certain_at,
        "n_windows": 0,
        **dict.fromkeys(FAULT_FIGURES),
        "recent_probability": None,
        "mutual_information": None,
        "expected_entropy": None,
        "novelty_percentile": None,
        "quality": str(Quality.OK),
        "flags": [Flag(SILENT, {"since": utc_text(seen)}).row()],
        "model_versions": [],
        "known_at": as_of,
    }
