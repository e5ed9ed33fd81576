"""The places of cases in the queue: how bad, how unsure, how long it waits, and what look-alikes were found to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from scipy.special import entr
from sqlalchemy.engine import Connection, Row

from pipeline.cases.episodes import CLOSED
from pipeline.cases.queue import ALARM_CODE, has_reason
from pipeline.store.database import Store
from pipeline.store.tables import TO_PLACE, Axis, Case, CaseMemory

BATCH = 500
MEMORY_WEIGHT: Final = 0.3
"""How far case memory moves a case in the queue (docs/results/cases.md: how it was chosen)."""

Numbers = npt.NDArray[np.float64]


def queue_priority(
    priority: Numbers,
    fault_probability: Numbers,
    age_days: Numbers,
    criticality: Numbers,
    memory: Numbers | None = None,
    is_alarm: npt.NDArray[np.bool_] | None = None,
    *,
    memory_weight: float = MEMORY_WEIGHT,
    doubt_weight: float = 0.10,
    age_per_day: float = 0.005,
    most_for_age: float = 0.10,
    criticality_step: float = 0.05,
    usual_criticality: float = 3.0,
) -> Numbers:
    """Return the priorities of cases in the queue; the highest is first.

    Parameters
    ----------
    priority : float64 array, shape (n,)
        How bad, 0 to 1: the kind of finding, raised by the fault probability (`pipeline.cases.axis_state.priority_of`).
    fault_probability : float64 array, shape (n,)
        Of the highest bin. Its entropy is how unsure it is whether the axis is faulty, 0 to 1 bit; which part is at
        fault does not count. NaN (the model gives none) counts as 1 bit.
    age_days : float64 array, shape (n,)
        Days since the first flagged recording. Only whole days count, so that a run soon after another changes nothing.
        A time in the future counts as 0.
    criticality : float64 array, shape (n,)
        Of the axis, 1 (not important) to 5 (stops the plant); NaN (not stated) counts as `usual_criticality`.
    memory : float64 array, shape (n,), or None
        What look-alikes were found to be, 0 (healthy) to 1 (faulty) (`pipeline.cases.memory.remembered`); NaN (nothing
        is near) counts as 0.5. None: of no case.
    is_alarm : bool array, shape (n,), or None
        The case has an alarm: memory may only raise it. None: no case has one.
    memory_weight, doubt_weight, age_per_day, most_for_age, criticality_step, usual_criticality
        How much each adds. Memory adds or takes away `memory_weight` at most. Waiting adds at most `most_for_age`, so
        an old doubt is never before a new alarm because of its age alone.

    Returns
    -------
    float64 array, shape (n,)
        -0.3 to 1.6 for a `priority` of 0.1 to 1.
    """
    told = np.full(len(priority), np.nan) if memory is None else memory
    alarms = np.zeros(len(priority), dtype=np.bool_) if is_alarm is None else is_alarm
    move = memory_move(told, alarms, weight=memory_weight)
    p = np.where(np.isnan(fault_probability), 0.5, fault_probability)
    unsure = (entr(p) + entr(1.0 - p)) / math.log(2.0)
    waiting = np.minimum(np.floor(np.maximum(age_days, 0.0)) * age_per_day, most_for_age)
    matters = np.where(np.isnan(criticality), usual_criticality, criticality) - usual_criticality
    places: Numbers = priority + move + doubt_weight * unsure + waiting + criticality_step * matters
    return np.round(places, 6)


def memory_move(memory: Numbers, is_alarm: npt.NDArray[np.bool_], *, weight: float = MEMORY_WEIGHT) -> Numbers:
    """Return by how much case memory moves cases in the queue: never an alarm down. Arrays as in `queue_priority`."""
    move = weight * (2.0 * np.where(np.isnan(memory), 0.5, memory) - 1.0)
    return np.where(is_alarm, np.maximum(move, 0.0), move)


def refresh_queue(store: Store, *, as_of: datetime, only: Sequence[str] | None = None) -> int:
    """Update the queue priorities of all cases, or of those in `only`; return how many changed.

    The queue priority of a closed case is its `priority` alone. A row that another process has locked is
    left for the next run, so this never waits.
    """
    with store.read() as connection:
        has_alarm = sa.and_(CaseMemory.figure.is_not(None), has_reason(ALARM_CODE))
        query = (
            sa.select(
                Case.case_id,
                Case.state,
                Case.priority,
                Case.queue_priority,
                Case.first_at,
                Axis.criticality,
                Case.fault_probability,
                CaseMemory.figure,
                has_alarm.label("has_alarm"),
            )
            .join(Axis, Axis.axis_id == Case.axis_id)
            .outerjoin(CaseMemory, CaseMemory.case_id == Case.case_id)
            .where(Case.case_id.in_(sa.select(Case.case_id).where(TO_PLACE).correlate(None)))
            .order_by(Case.case_id)
        )
        rows = _rows(connection, query, only)
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


def _rows(connection: Connection, query: Any, only: Sequence[str] | None) -> list[Row[Any]]:
    if only is None:
        return list(connection.execute(query))
    rows: list[Row[Any]] = []
    for first in range(0, len(only), BATCH):
        rows += connection.execute(query.where(Case.case_id.in_(only[first : first + BATCH])))
    return rows


def _places(rows: Any, as_of: datetime) -> Numbers:
    return queue_priority(
        _column([row.priority for row in rows]),
        _column([row.fault_probability for row in rows]),
        _column([(as_of - row.first_at).total_seconds() / 86_400.0 for row in rows]),
        _column([row.criticality for row in rows]),
        _column([row.figure for row in rows]),
        np.array([bool(row.has_alarm) for row in rows], dtype=np.bool_),
    )


def _column(values: list[Any]) -> Numbers:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _write(store: Store, rows: dict[str, dict[str, Any]]) -> None:
    # A row that changed since it was read is not overwritten: the run that changed it updates it itself.
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
