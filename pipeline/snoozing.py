"""Snoozed cases come back: at their date, or when they get worse."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from pipeline.case_audit import SYSTEM, add_event, lock_axis_of
from pipeline.case_folding import OPEN
from pipeline.store.database import Store
from pipeline.store.tables import Case, CaseWork

SNOOZED = "snoozed"


def due(as_of: datetime, margin: float) -> sa.ColumnElement[bool]:
    """SQL: a snoozed case, joined with its work, that belongs into the queue again."""
    return sa.and_(
        Case.state == SNOOZED,
        sa.or_(Case.snoozed_until <= as_of, Case.priority > CaseWork.snoozed_priority + margin),
    )


def wake_snoozed(store: Store, *, as_of: datetime, margin: float) -> int:
    """Open snoozed cases whose date has come or whose priority rose by more than a margin; give their number."""
    with store.read() as connection:
        query = sa.select(Case.case_id).outerjoin(CaseWork, CaseWork.case_id == Case.case_id).where(due(as_of, margin))
        waiting = connection.scalars(query.order_by(Case.case_id)).all()
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
