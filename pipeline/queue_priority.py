"""The place of a case in the review queue: how bad, how unsure, how long waiting, how critical the axis.

`Case.priority` says how bad a finding is; it decides over reopening and waking, and does not change by waiting. The
queue is sorted by `Case.queue_priority`, which advise computes here at the end of each run for all cases that are not
closed. It is stored, so that a page of the queue is a walk along an index whatever the number of cases, and so that
pages do not shift while somebody reads.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from pipeline.case_folding import CLOSED
from pipeline.store.database import Store
from pipeline.store.tables import Axis, AxisState, Case

BATCH = 500
Numbers = npt.NDArray[np.float64]


def queue_priority(
    priority: Numbers,
    doubt_bits: Numbers,
    age_days: Numbers,
    criticality: Numbers,
    *,
    doubt_weight: float = 0.10,
    age_per_day: float = 0.005,
    most_for_age: float = 0.10,
    criticality_step: float = 0.05,
    usual_criticality: float = 3.0,
) -> Numbers:
    """Give the places of cases in the queue, highest first.

    Parameters
    ----------
    priority : float64 array, shape (n,)
        How bad, 0 to 1: the kind of finding, raised by the fault probability (`pipeline.axis_state.priority_of`).
    doubt_bits : float64 array, shape (n,)
        How unsure: epistemic and aleatoric uncertainty together (predictive entropy), highest bin, bits. One bit, that
        of a coin, is the most that counts. NaN where the model gives none, which counts as a coin.
    age_days : float64 array, shape (n,)
        Since the first flagged recording. Whole days count, so that a run soon after another changes nothing; what lies
        in the future counts as 0.
    criticality : float64 array, shape (n,)
        Of the axis, 1 (does not matter) to 5 (stops the plant); NaN where nobody said counts as `usual_criticality`.
    doubt_weight, age_per_day, most_for_age, criticality_step, usual_criticality
        What each adds. Waiting adds no more than `most_for_age`, so that no old doubt buries a new alarm.

    Returns
    -------
    float64 array, shape (n,)
        0 to 1.3 for a `priority` of 0.1 to 1.
    """
    unsure = np.where(np.isnan(doubt_bits), 1.0, np.clip(doubt_bits, 0.0, 1.0))
    waiting = np.minimum(np.floor(np.maximum(age_days, 0.0)) * age_per_day, most_for_age)
    matters = np.where(np.isnan(criticality), usual_criticality, criticality) - usual_criticality
    found: Numbers = priority + doubt_weight * unsure + waiting + criticality_step * matters
    return np.round(found, 6)


def refresh_queue(store: Store, *, as_of: datetime) -> int:
    """Bring the places of all cases up to date; give how many changed.

    A closed case goes by its `priority` alone. A row that somebody holds at this moment is left for the next run, so
    that this waits for nobody.
    """
    with store.read() as connection:
        nats = sa.func.max(AxisState.mutual_information + AxisState.expected_entropy).label("nats")
        inside = sa.and_(
            AxisState.axis_id == Case.axis_id,
            AxisState.first_at <= Case.last_at,
            AxisState.last_at >= Case.first_at,
        )
        doubts = (
            sa.select(Case.case_id, nats)
            .join(AxisState, inside)
            .where(Case.state != CLOSED)
            .group_by(Case.case_id)
            .subquery()
        )
        query = (
            sa.select(
                Case.case_id,
                Case.state,
                Case.priority,
                Case.queue_priority,
                Case.first_at,
                Axis.criticality,
                doubts.c.nats,
            )
            .join(Axis, Axis.axis_id == Case.axis_id)
            .outerjoin(doubts, doubts.c.case_id == Case.case_id)
            .where(sa.or_(Case.state != CLOSED, Case.queue_priority != Case.priority))
            .order_by(Case.case_id)
        )
        rows = connection.execute(query).all()
    places = np.where(
        [row.state == CLOSED for row in rows], _column([row.priority for row in rows]), _places(rows, as_of)
    )
    changed = [
        {"b_id": row.case_id, "b_priority": row.priority, "b_state": row.state, "queue_priority": float(place)}
        for row, place in zip(rows, places, strict=True)
        if place != row.queue_priority
    ]
    for first in range(0, len(changed), BATCH):
        _write(store, {row["b_id"]: row for row in changed[first : first + BATCH]})
    return len(changed)


def _places(rows: Any, as_of: datetime) -> Numbers:
    return queue_priority(
        _column([row.priority for row in rows]),
        _column([None if row.nats is None else row.nats / math.log(2.0) for row in rows]),
        _column([(as_of - row.first_at).total_seconds() / 86_400.0 for row in rows]),
        _column([row.criticality for row in rows]),
    )


def _column(values: list[Any]) -> Numbers:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _write(store: Store, rows: dict[str, dict[str, Any]]) -> None:
    # What changed since it was read is not overwritten: the run that changed it comes by here itself.
    with store.write() as connection:
        query = sa.select(Case.case_id).where(Case.case_id.in_(rows)).with_for_update(skip_locked=True)
        free = connection.scalars(query).all()
        update = (
            sa.update(Case)
            .where(
                Case.case_id == sa.bindparam("b_id"),
                Case.priority == sa.bindparam("b_priority"),
                Case.state == sa.bindparam("b_state"),
            )
            .values(queue_priority=sa.bindparam("queue_priority"))
        )
        if free:
            connection.execute(update, [rows[case_id] for case_id in free])
