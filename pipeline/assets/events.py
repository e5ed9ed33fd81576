"""The timeline of an axis: when units were installed, replaced and removed, and notes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.ids import instant, stable_id
from pipeline.store.database import insert_ignore
from pipeline.store.tables import AxisEvent, Unit

INSTALLED, REPLACED, REMOVED, NOTE = "installed", "replaced", "removed", "note"


def event_row(
    axis: str, at: datetime, kind: str, subject: str, *, details: dict[str, Any], who: str, as_of: datetime
) -> dict[str, Any]:
    """Return the database row of an event. `subject` is the serial number of its unit, or the text of a note."""
    return {
        "event_id": stable_id(axis, instant(at), kind, subject, length=16),
        "axis_id": axis,
        "at": at,
        "kind": kind,
        "details": details,
        "who": who,
        "known_at": as_of,
    }


def mirror_installations(connection: Connection, axes: Iterable[str], *, who: str, as_of: datetime) -> None:
    """Write the events `installed` and `removed` of axes anew from their units, because units may have been corrected.

    A change that a replacement in force covers gets no second event.
    """
    for axis in sorted(axes):
        units = connection.execute(sa.select(Unit).where(Unit.axis_id == axis)).all()
        replaced = {(row.at, row.details["unit_serial"]): row for row in replacements_in_force(connection, axis)}
        taken_off = {(row.at, row.details["old_unit_serial"]) for row in replaced.values()}
        changes = [(unit.installed_at, INSTALLED, unit.unit_serial) for unit in units]
        changes = [change for change in changes if (change[0], change[2]) not in replaced]
        changes += [(unit.removed_at, REMOVED, unit.unit_serial) for unit in units if unit.removed_at is not None]
        rows = [
            event_row(axis, at, kind, serial, details={"unit_serial": serial}, who=who, as_of=as_of)
            for at, kind, serial in changes
            if kind == INSTALLED or (at, serial) not in taken_off
        ]
        connection.execute(
            sa.delete(AxisEvent).where(
                AxisEvent.axis_id == axis,
                AxisEvent.kind.in_((INSTALLED, REMOVED)),
                AxisEvent.event_id.not_in([row["event_id"] for row in rows]),
            )
        )
        insert_ignore(connection, AxisEvent, rows)


def replacements_in_force(connection: Connection, axis: str) -> list[Any]:
    """Return the replacements on an axis that still agree with the registry, oldest first.

    Where a later import moved or removed the new unit, the replacement is only history.
    """
    rows = connection.execute(
        sa.select(AxisEvent).where(AxisEvent.axis_id == axis, AxisEvent.kind == REPLACED).order_by(AxisEvent.at)
    ).all()
    if not rows:
        return []
    query = sa.select(Unit.unit_serial, Unit.installed_at).where(Unit.axis_id == axis)
    present = {(row.unit_serial, row.installed_at) for row in connection.execute(query)}
    return [row for row in rows if (row.details["unit_serial"], row.at) in present]


def replacement_times(connection: Connection, axis: str) -> list[datetime]:
    """Return the times at which the unit on an axis was replaced, oldest first."""
    return [row.at for row in replacements_in_force(connection, axis)]


def timeline(connection: Connection, axis: str) -> list[dict[str, Any]]:
    """Return the events of an axis in order of time; `in_force` is False for a replacement that was corrected later."""
    in_force = {row.event_id for row in replacements_in_force(connection, axis)}
    rank = {REMOVED: 0, REPLACED: 1, INSTALLED: 2, NOTE: 3}
    rows = connection.execute(sa.select(AxisEvent).where(AxisEvent.axis_id == axis)).all()
    return [
        {**row._mapping, "in_force": row.kind != REPLACED or row.event_id in in_force}
        for row in sorted(rows, key=lambda row: (row.at, rank[row.kind], row.event_id))
    ]
