"""Axes that are muted, and cases that are snoozed, until a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import AxiswatchError, Coded, PrerequisiteMissing
from pipeline.base.ids import utc_text
from pipeline.cases.episodes import OPEN
from pipeline.cases.history import SYSTEM, add_event, axis_on_record, lock_axis_of
from pipeline.store.database import Store, insert_new
from pipeline.store.tables import TO_PLACE, Axis, AxisMute, Case, CaseWork

LONGEST_REASON = 4000
LONGEST_MUTE = timedelta(days=366)
"""A mute or a snooze without end would hide a fault from everybody; one that still holds then is said again."""


def muted_axes(as_of: datetime) -> sa.Select[str]:
    """SQL: ids of the axes that are muted at a time."""
    newer = sa.orm.aliased(AxisMute)
    later = (newer.axis_id == AxisMute.axis_id, newer.known_at > AxisMute.known_at, newer.known_at <= as_of)
    return sa.select(AxisMute.axis_id).where(
        AxisMute.known_at <= as_of, AxisMute.until_at > as_of, ~sa.exists().where(*later)
    )


def mute(store: Store, axis_id: str, *, reason: str, until: datetime, who: str, at: datetime) -> dict[str, Any]:
    """Keep the cases of an axis out of the queue until a time; return the row.

    Raises
    ------
    AxiswatchError
        The reason is empty or too long, the time has passed or is too far away, or somebody muted the axis at the same
        moment.
    PrerequisiteMissing
        There is no such axis.
    """
    refuse_end(until, at=at, longest=LONGEST_MUTE)
    with store.write() as connection:
        return _add(connection, axis_id, until, reason, who, at)


def unmute(store: Store, axis_id: str, *, reason: str, who: str, at: datetime) -> dict[str, Any]:
    """End the mute of an axis, with a reason; return the row.

    Raises
    ------
    AxiswatchError
        The reason is empty or too long, or the axis is not muted.
    PrerequisiteMissing
        There is no such axis.
    """
    with store.write() as connection:
        axis_row(connection, axis_id, lock=True)
        if connection.scalar(muted_axes(at).where(AxisMute.axis_id == axis_id)) is None:
            raise AxiswatchError(Coded(f"axis {axis_id} is not muted", "not_muted"))
        return _add(connection, axis_id, at, reason, who, at)


def mutes_of(connection: Connection, axis_id: str) -> list[dict[str, Any]]:
    """Return all mutes of an axis, oldest first. One that ends when it starts ended the one before it."""
    query = sa.select(AxisMute).where(AxisMute.axis_id == axis_id).order_by(AxisMute.known_at)
    return [dict(row._mapping) for row in connection.execute(query)]


def refuse_end(until: datetime, *, at: datetime, longest: timedelta) -> None:
    """Check that a time is later than now, and not too far away.

    Raises
    ------
    AxiswatchError
        It is not.
    """
    if until <= at:
        text = f"{utc_text(until)} has passed; choose a later time"
        raise AxiswatchError(Coded(text, "time_passed", until=until))
    if until - at > longest:
        text = f"{utc_text(until)} is too far away; choose a time within {longest.days} days"
        raise AxiswatchError(Coded(text, "time_far", until=until, days=longest.days))


def axis_row(connection: Connection, axis_id: str, *, lock: bool = False) -> sa.Row[Any]:
    """Return the row of an axis; `lock` locks it until the transaction ends.

    Raises
    ------
    PrerequisiteMissing
        There is no such axis.
    """
    query = sa.select(Axis).where(Axis.axis_id == axis_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        text = f"there is no axis {axis_id}; `axiswatch status` shows them"
        raise PrerequisiteMissing(Coded(text, "no_axis", axis=axis_id))
    return row


def _add(connection: Connection, axis_id: str, until: datetime, reason: str, who: str, at: datetime) -> dict[str, Any]:
    if not reason.strip() or len(reason) > LONGEST_REASON or "\0" in reason:
        text = f"a reason is needed, with 1 to {LONGEST_REASON} characters"
        raise AxiswatchError(Coded(text, "length", most=LONGEST_REASON))
    axis_row(connection, axis_id, lock=True)
    row = {"axis_id": axis_id, "known_at": at, "until_at": until, "reason": reason, "who": who}
    if not insert_new(connection, AxisMute, row | {"seen": axis_on_record(connection, axis_id)}):
        text = f"somebody else muted or unmuted axis {axis_id} at the same moment; check, then try again"
        raise AxiswatchError(Coded(text, "same_moment"))
    return row


SNOOZED = "snoozed"


def due(as_of: datetime, margin: float) -> sa.ColumnElement[bool]:
    """SQL: a snoozed case, joined with its work, belongs in the queue again."""
    return sa.and_(
        Case.state == SNOOZED,
        sa.or_(Case.snoozed_until <= as_of, Case.priority > CaseWork.snoozed_priority + margin),
    )


def wake_snoozed(store: Store, *, as_of: datetime, margin: float) -> int:
    """Open the snoozed cases whose time has come or whose priority rose by more than a margin; return their number."""
    with store.read() as connection:
        query = sa.select(Case.case_id).outerjoin(CaseWork, CaseWork.case_id == Case.case_id)
        # A snoozed case is one of those to place, for which there is an index.
        waiting = sorted(connection.scalars(query.where(TO_PLACE, due(as_of, margin))))
    woken = 0
    for case_id in waiting:
        with store.write() as connection:
            lock_axis_of(connection, case_id)
            again = sa.select(Case.snoozed_until).outerjoin(CaseWork, CaseWork.case_id == Case.case_id)
            row = connection.execute(
                again.where(Case.case_id == case_id, due(as_of, margin)).with_for_update(of=Case)
            ).one_or_none()
            if row is None:
                continue
            why = "its date has come" if row.snoozed_until and row.snoozed_until <= as_of else "it got worse"
            values = {"state": OPEN, "snoozed_until": None, "changed_at": as_of}
            connection.execute(sa.update(Case).where(Case.case_id == case_id).values(**values))
            add_event(connection, case_id, SYSTEM, "woken", {"why": why}, as_of)
            woken += 1
    return woken
