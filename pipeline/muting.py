"""Mutes: the cases of an axis stay out of the queue until a time, for a reason. Scores and states go on.

Rows are only added. The newest row of an axis holds: a later mute takes the place of an earlier one, and a row that
ends at its own start lifts it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.base.ids import utc_text
from pipeline.case_audit import axis_on_record
from pipeline.store.database import Store, insert_new
from pipeline.store.tables import Axis, AxisMute

LONGEST_REASON = 4000


def muted_axes(as_of: datetime) -> sa.Select[str]:
    """SQL: ids of the axes that are muted at a time."""
    newer = sa.orm.aliased(AxisMute)
    later = (newer.axis_id == AxisMute.axis_id, newer.known_at > AxisMute.known_at, newer.known_at <= as_of)
    return sa.select(AxisMute.axis_id).where(
        AxisMute.known_at <= as_of, AxisMute.until_at > as_of, ~sa.exists().where(*later)
    )


def mute(store: Store, axis_id: str, *, reason: str, until: datetime, who: str, at: datetime) -> dict[str, Any]:
    """Keep the cases of an axis out of the queue until a time; give the row.

    Raises
    ------
    AxiswatchError
        No reason, the time is over, or somebody muted it at this very moment.
    PrerequisiteMissing
        There is no such axis.
    """
    if until <= at:
        raise AxiswatchError(f"cannot mute until {utc_text(until)}: that is over; give a time to come")
    with store.write() as connection:
        return _add(connection, axis_id, until, reason, who, at)


def unmute(store: Store, axis_id: str, *, reason: str, who: str, at: datetime) -> dict[str, Any]:
    """Lift the mute of an axis, for a reason; give the row.

    Raises
    ------
    AxiswatchError
        No reason, or the axis is not muted.
    PrerequisiteMissing
        There is no such axis.
    """
    with store.write() as connection:
        _hold(connection, axis_id)
        if connection.scalar(muted_axes(at).where(AxisMute.axis_id == axis_id)) is None:
            raise AxiswatchError(f"axis {axis_id} is not muted")
        return _add(connection, axis_id, at, reason, who, at)


def mutes_of(connection: Connection, axis_id: str) -> list[dict[str, Any]]:
    """Give every mute of an axis, oldest first; one that ends at its start lifted the one before."""
    query = sa.select(AxisMute).where(AxisMute.axis_id == axis_id).order_by(AxisMute.known_at)
    return [dict(row._mapping) for row in connection.execute(query)]


def _hold(connection: Connection, axis_id: str) -> None:
    if connection.scalar(sa.select(Axis.axis_id).where(Axis.axis_id == axis_id).with_for_update()) is None:
        raise PrerequisiteMissing(f"there is no axis {axis_id}; `axiswatch status` shows them")


def _add(connection: Connection, axis_id: str, until: datetime, reason: str, who: str, at: datetime) -> dict[str, Any]:
    if not reason.strip() or len(reason) > LONGEST_REASON or "\0" in reason:
        raise AxiswatchError(f"say why, in 1 to {LONGEST_REASON} characters")
    _hold(connection, axis_id)
    row = {"axis_id": axis_id, "known_at": at, "until_at": until, "reason": reason, "who": who}
    if not insert_new(connection, AxisMute, row | {"seen": axis_on_record(connection, axis_id)}):
        raise AxiswatchError(f"axis {axis_id} was muted or unmuted at this very moment; look again")
    return row
