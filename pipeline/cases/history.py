"""The append-only history of cases: every action, by whom and when, and what was on the screen.

A database trigger refuses to change or delete its rows. Each action is also written to the webhook's outbox in the same
transaction. So an action that was rolled back is never sent, and one that was committed is sent even if the process
dies.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.handoff.outbox import put_in_outbox
from pipeline.store.tables import Axis, AxisState, Case, ReviewEvent

SYSTEM = "axiswatch"


def add_event(
    connection: Connection,
    case_id: str,
    who: str,
    action: str,
    details: dict[str, Any],
    at: datetime,
    *,
    seen: Mapping[str, Any] | None = None,
) -> None:
    """Append an action to the history of a case. The caller holds the lock on its axis and has changed the case.

    Parameters
    ----------
    seen
        What the page of the user showed (model versions, score). Without it, what the database holds now is stored.
    """
    if who != SYSTEM:
        details = {**details, "seen": dict(seen) if seen else on_record(connection, case_id)}
    count = connection.scalar(sa.select(sa.func.count()).where(ReviewEvent.case_id == case_id)) or 0
    event = {"case_id": case_id, "sequence": count + 1, "at": at, "who": who, "action": action, "details": details}
    connection.execute(sa.insert(ReviewEvent), event)
    put_in_outbox(connection, event)


def on_record(connection: Connection, case_id: str) -> dict[str, Any]:
    """Return what the page of a case shows now: model versions, fault probability, priority, number of bins."""
    names = ("fault_probability", "priority", "n_bins")
    case = connection.execute(sa.select(Case).where(Case.case_id == case_id)).one()
    return {"model_versions": _models(connection, case.axis_id, case.last_at)} | {
        name: getattr(case, name) for name in names
    }


def axis_on_record(connection: Connection, axis_id: str) -> dict[str, Any]:
    """Return what the page of an axis shows now: its newest state with figures and models; empty if it has no state."""
    query = sa.select(AxisState).where(AxisState.axis_id == axis_id).order_by(AxisState.bin_at.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    names = ("state", "fault_probability", "mutual_information", "model_versions")
    return {} if row is None else {name: getattr(row, name) for name in names}


def lock_axis_of(connection: Connection, case_id: str) -> bool:
    """Lock the axis of a case until the transaction ends; return whether the case exists.

    Every writer locks the axis first and its cases after, as advise does. Two different orders could wait for each
    other for ever.
    """
    return lock_axes_of(connection, [case_id]) > 0


def lock_axes_of(connection: Connection, case_ids: Collection[str]) -> int:
    """Lock the axes of cases until the transaction ends, always in the same order; return how many there are."""
    owners = sa.select(Case.axis_id).where(Case.case_id.in_(case_ids))
    query = sa.select(Axis.axis_id).where(Axis.axis_id.in_(owners)).order_by(Axis.axis_id)
    return len(connection.scalars(query.with_for_update()).all())


def _models(connection: Connection, axis_id: str, until: datetime) -> list[str]:
    query = sa.select(AxisState.model_versions).where(AxisState.axis_id == axis_id, AxisState.bin_at <= until)
    return list(connection.scalar(query.order_by(AxisState.bin_at.desc()).limit(1)) or [])
