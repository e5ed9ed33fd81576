"""The append-only history of cases: every act, by whom and when, and what was on the screen.

A trigger of the database refuses to change or delete a row of it. Each act is put into the webhook's outbox too, in the
same transaction: what was rolled back is never told, and what was done is told even if the process dies.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """Append to the history of a case. The caller holds the lock on its axis, and has changed the case before.

    Parameters
    ----------
    seen
        What a person's page showed (model versions, score); what the database holds now, where it is not given.
    """
    if who != SYSTEM:
        details = {**details, "seen": dict(seen) if seen else on_record(connection, case_id)}
    count = connection.scalar(sa.select(sa.func.count()).where(ReviewEvent.case_id == case_id)) or 0
    event = {"case_id": case_id, "sequence": count + 1, "at": at, "who": who, "action": action, "details": details}
    connection.execute(sa.insert(ReviewEvent), event)
    put_in_outbox(connection, event)


def on_record(connection: Connection, case_id: str) -> dict[str, Any]:
    """Give what the page of a case shows now: model versions, fault probability, priority, number of bins."""
    names = ("fault_probability", "priority", "n_bins")
    case = connection.execute(sa.select(Case).where(Case.case_id == case_id)).one()
    return {"model_versions": _models(connection, case.axis_id, case.last_at)} | {
        name: getattr(case, name) for name in names
    }


def axis_on_record(connection: Connection, axis_id: str) -> dict[str, Any]:
    """Give what the page of an axis shows now: its newest state with its figures and models; empty without one."""
    query = sa.select(AxisState).where(AxisState.axis_id == axis_id).order_by(AxisState.bin_at.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    names = ("state", "fault_probability", "mutual_information", "model_versions")
    return {} if row is None else {name: getattr(row, name) for name in names}


def lock_axis_of(connection: Connection, case_id: str) -> bool:
    """Hold the axis of a case until the transaction ends; say whether there is such a case.

    Every writer takes the axis first and its cases after: advise does, and two orders would wait for each other.
    """
    owner = sa.select(Case.axis_id).where(Case.case_id == case_id).scalar_subquery()
    return connection.scalar(sa.select(Axis.axis_id).where(Axis.axis_id == owner).with_for_update()) is not None


def _models(connection: Connection, axis_id: str, until: datetime) -> list[str]:
    query = sa.select(AxisState.model_versions).where(AxisState.axis_id == axis_id, AxisState.bin_at <= until)
    return list(connection.scalar(query.order_by(AxisState.bin_at.desc()).limit(1)) or [])
