"""Planned stops: axes that are off for an announced time. They are not reported as silent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.assets.places import place_of
from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.base.ids import utc_text
from pipeline.store.database import Store, insert_new
from pipeline.store.tables import Axis, PlannedStop

LONGEST_STOP = timedelta(days=366)
"""A stop without end would hide a dead sensor from everybody."""

LONGEST_REASON = 4000
PARTS = ("site", "cell", "robot_id", "axis")


def plan_stop(
    store: Store,
    place: dict[str, str | None],
    *,
    from_at: datetime,
    until_at: datetime,
    reason: str,
    who: str,
    as_of: datetime,
) -> list[dict[str, Any]]:
    """Record that axes are off for a time; return their rows with the names of the axes.

    A second call for the same start changes the end. An end at the start withdraws the stop.

    Parameters
    ----------
    place
        Of `site`, `cell`, `robot_id` and `axis` those that all of the axes have; None or left out: any.

    Raises
    ------
    AxiswatchError
        The place names nothing, the end is before the start or too far from it, the reason is empty or too long, or
        somebody recorded a stop of the axis with this start at the same moment.
    PrerequisiteMissing
        There is no such axis.
    """
    asked = {name: place[name] for name in PARTS if place.get(name) is not None}
    if not asked:
        raise AxiswatchError("name what is off: a site, a cell, a robot or an axis")
    if not timedelta(0) <= until_at - from_at <= LONGEST_STOP:
        raise AxiswatchError(
            f"the end {utc_text(until_at)} must lie between the start {utc_text(from_at)} and {LONGEST_STOP.days} days "
            "after it"
        )
    if not reason.strip() or len(reason) > LONGEST_REASON or "\0" in reason:
        raise AxiswatchError(f"a reason is needed, with 1 to {LONGEST_REASON} characters")
    stop = {"from_at": from_at, "until_at": until_at, "reason": reason, "who": who, "known_at": as_of}
    with store.write() as connection:
        names = [getattr(Axis, name) for name in PARTS]
        query = sa.select(Axis.axis_id, *names).order_by(*names)
        axes = connection.execute(query.where(*(getattr(Axis, name) == value for name, value in asked.items()))).all()
        if not axes:
            asked_place = place_of({name: asked.get(name) for name in PARTS})
            raise PrerequisiteMissing(f"there is no axis {asked_place}; `axiswatch assets list` shows the axes")
        for row in axes:
            if not insert_new(connection, PlannedStop, {"axis_id": row.axis_id, **stop}):
                raise AxiswatchError(
                    f"somebody else changed this stop of {place_of(row._mapping)} at the same moment; check "
                    "`axiswatch assets stops`, then try again"
                )
    return [dict(row._mapping) | stop for row in axes]


def stops_known(as_of: datetime) -> sa.Select[Any]:
    """SQL: the stops that are in force by what was known at a time, with the columns of the table."""
    newer = sa.orm.aliased(PlannedStop)
    later = (
        newer.axis_id == PlannedStop.axis_id,
        newer.from_at == PlannedStop.from_at,
        newer.known_at > PlannedStop.known_at,
        newer.known_at <= as_of,
    )
    return sa.select(PlannedStop).where(
        PlannedStop.known_at <= as_of, PlannedStop.until_at > PlannedStop.from_at, ~sa.exists().where(*later)
    )


def off_until(connection: Connection, as_of: datetime) -> dict[str, datetime]:
    """Return by axis the end of its last stop that has begun, also one that is over."""
    stops = stops_known(as_of).where(PlannedStop.from_at <= as_of).subquery()
    end = sa.func.max(stops.c.until_at, type_=PlannedStop.until_at.type)
    return dict(connection.execute(sa.select(stops.c.axis_id, end).group_by(stops.c.axis_id)).all())


def list_stops(store: Store, *, at: datetime, everything: bool = False) -> list[dict[str, Any]]:
    """Return the stops that are not over at a time, earliest first, with the names of their axes.

    `everything`: also those that are over.
    """
    query = stops_known(at).join(Axis, Axis.axis_id == PlannedStop.axis_id)
    query = query.add_columns(*(getattr(Axis, name) for name in PARTS))
    if not everything:
        query = query.where(PlannedStop.until_at > at)
    query = query.order_by(PlannedStop.from_at, *(getattr(Axis, name) for name in PARTS))
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]
