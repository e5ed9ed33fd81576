"""The one queue of cases, for the command line and the web. Pages go by key, so a new case shifts no page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from pipeline.base.errors import AxiswatchError
from pipeline.base.ids import instant
from pipeline.cases.audit import AUDIT, MODEL
from pipeline.cases.axis_state import DATA_CODES, MACHINE_CODES
from pipeline.cases.episodes import CLOSED
from pipeline.cases.quiet import muted_axes
from pipeline.labels.labels import CONFIRM
from pipeline.store.database import Store
from pipeline.store.tables import TO_PLACE, Axis, AxisState, Case, CaseMemory, CaseTally, CaseWork

BATCH = 500
MEMORY_WEIGHT: Final = 0.3
"""How far case memory moves a case in the queue (docs/results/cases.md: how it was chosen)."""

LOOKS_FAULTY: Final = 0.75
LOOKS_HEALTHY: Final = 0.25
"""Figures of case memory from which on, and up to which, the look-alikes say something clear."""

ALARM_CODE: Final = "fault"

Numbers = npt.NDArray[np.float64]


def queue_priority(
    priority: Numbers,
    doubt_bits: Numbers,
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
    doubt_bits : float64 array, shape (n,)
        How unsure: predictive entropy (epistemic and aleatoric uncertainty together) of the highest bin, bits. More
        than 1 bit counts as 1 bit. NaN (the model gives none) counts as 1 bit, too.
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
    unsure = np.where(np.isnan(doubt_bits), 1.0, np.clip(doubt_bits, 0.0, 1.0))
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
        # The bins of a long case are read from the end of its tally on, the others from the bin of its start on.
        begun = sa.orm.aliased(AxisState)
        begin = sa.select(begun.bin_at).where(begun.axis_id == Case.axis_id, begun.bin_at <= Case.first_at)
        begin = begin.order_by(begun.bin_at.desc()).limit(1).correlate(Case)
        doubts = sa.select(sa.func.max(AxisState.mutual_information + AxisState.expected_entropy)).where(
            AxisState.axis_id == Case.axis_id,
            AxisState.bin_at >= sa.func.coalesce(CaseTally.until_at, begin.scalar_subquery(), Case.first_at),
            AxisState.bin_at <= Case.last_at,
            AxisState.first_at <= Case.last_at,
            AxisState.last_at >= Case.first_at,
        )
        later = doubts.correlate(Case, CaseTally).scalar_subquery()
        has_alarm = sa.and_(CaseMemory.figure.is_not(None), has_reason(ALARM_CODE))
        query = (
            sa.select(
                Case.case_id,
                Case.state,
                Case.priority,
                Case.queue_priority,
                Case.first_at,
                Axis.criticality,
                CaseTally.doubt_nats,
                sa.case((Case.state != CLOSED, later)).label("later_nats"),
                CaseMemory.figure,
                has_alarm.label("has_alarm"),
            )
            .join(Axis, Axis.axis_id == Case.axis_id)
            .outerjoin(CaseTally, CaseTally.case_id == Case.case_id)
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
        np.fmax(_column([row.doubt_nats for row in rows]), _column([row.later_nats for row in rows])) / math.log(2.0),
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


REMEMBERED: Final = "remembered"
REASONS = (*MACHINE_CODES, *DATA_CODES, AUDIT, MODEL, CONFIRM, REMEMBERED)
"""Reason codes that the queue can be filtered by."""


@dataclass(frozen=True)
class Filters:
    """Filters of the queue; an empty one is not applied. `state` may be `all`; `mine` is the name of a user."""

    state: str = "open"
    site: str = ""
    cell: str = ""
    robot_id: str = ""
    axis_id: str = ""
    reason: str = ""
    mine: str = ""
    search: str = ""


def queue(
    store: Store, filters: Filters = Filters(), *, as_of: datetime, after: str = "", limit: int | None = None
) -> list[dict[str, Any]]:
    """Return the cases after a position in the queue, highest priority first, with the names of their axes.

    Open cases of axes that are muted at `as_of` are left out. A claim that has expired is not shown.

    Raises
    ------
    AxiswatchError
        `after` is not a position that `queue_page` returned.
    """
    names = (Axis.site, Axis.cell, Axis.robot_id, Axis.axis)
    work = (CaseWork.claimed_by, CaseWork.claimed_until, CaseWork.work_order)
    memory = (CaseMemory.figure.label("memory"), CaseMemory.rests_on)
    query: Any = sa.select(Case, *names, *work, *memory)
    query = _within(query).where(*_conditions(filters, as_of))
    query = query.order_by(Case.queue_priority.desc(), Case.first_at, Case.case_id)
    if after:
        query = query.where(_behind(after))
    with store.read() as connection:
        rows = [dict(row._mapping) for row in connection.execute(query.limit(limit))]
    for row in rows:
        if row["claimed_until"] is not None and row["claimed_until"] <= as_of:
            row["claimed_by"] = row["claimed_until"] = None
    return rows


def queue_page(
    store: Store, filters: Filters, *, as_of: datetime, after: str = "", limit: int = 50
) -> tuple[list[dict[str, Any]], str]:
    """Return a page of the queue, and the position of the next page; '' where there is none."""
    rows = queue(store, filters, as_of=as_of, after=after, limit=limit + 1)
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, place_of(rows[-1]) if more else ""


def count_queue(store: Store, filters: Filters = Filters(), *, as_of: datetime) -> int:
    """Count the cases that `queue` returns."""
    query = _within(sa.select(sa.func.count()).select_from(Case)).where(*_conditions(filters, as_of))
    with store.read() as connection:
        return connection.scalar(query) or 0


def place_of(row: dict[str, Any]) -> str:
    """Return the position of a case in the queue, as text."""
    return f"{row['queue_priority']!r}~{instant(row['first_at'])}~{row['case_id']}"


def _within(query: Any) -> Any:
    query = query.join(Axis, Axis.axis_id == Case.axis_id).outerjoin(CaseWork, CaseWork.case_id == Case.case_id)
    return query.outerjoin(CaseMemory, CaseMemory.case_id == Case.case_id)


def _behind(after: str) -> sa.ColumnElement[bool]:
    try:
        priority, first_at, case_id = after.split("~")
        key = (float(priority), datetime.fromisoformat(first_at))
    except ValueError as error:
        raise AxiswatchError(f"{after!r} is not a position in the queue; start at its first page") from error
    if key[1].tzinfo is None or "\0" in case_id:
        raise AxiswatchError(f"{after!r} is not a position in the queue; start at its first page")
    later = sa.or_(Case.first_at > key[1], sa.and_(Case.first_at == key[1], Case.case_id > case_id))
    return sa.and_(Case.queue_priority <= key[0], sa.or_(Case.queue_priority < key[0], later))


def has_reason(code: str) -> sa.ColumnElement[bool]:
    """SQL: a case has a reason; `remembered` is that its look-alikes were faulty."""
    if code == REMEMBERED:
        return CaseMemory.figure >= LOOKS_FAULTY
    return sa.cast(Case.reasons, sa.Text).contains(f'"code": "{code}"', autoescape=True)


def _conditions(filters: Filters, as_of: datetime) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    exact = (
        (Axis.site, filters.site),
        (Axis.cell, filters.cell),
        (Axis.robot_id, filters.robot_id),
        (Case.axis_id, filters.axis_id),
    )
    for column, value in exact:
        if value:
            conditions.append(column == value)
    if filters.state != "all":
        conditions.append(Case.state == filters.state)
    if filters.state == "open":
        conditions.append(Case.axis_id.not_in(muted_axes(as_of)))
    if filters.reason:
        conditions.append(has_reason(filters.reason))
    if filters.mine:
        conditions += [CaseWork.claimed_by == filters.mine, CaseWork.claimed_until > as_of]
    if filters.search:
        text = filters.search.replace("\0", "")
        columns = (Case.case_id, Axis.site, Axis.cell, Axis.robot_id, Axis.axis, CaseWork.work_order)
        conditions.append(sa.or_(*(column.icontains(text, autoescape=True) for column in columns)))
    return conditions


def before_in_queue(store: Store, filters: Filters, case: Mapping[str, Any], *, as_of: datetime) -> str:
    """Return the id of the case before `case` in the order of the queue; '' where there is none.

    `case` need not be in the queue itself.
    """
    ahead = sa.or_(
        Case.queue_priority > case["queue_priority"],
        sa.and_(Case.queue_priority == case["queue_priority"], Case.first_at < case["first_at"]),
        sa.and_(
            Case.queue_priority == case["queue_priority"],
            Case.first_at == case["first_at"],
            Case.case_id < case["case_id"],
        ),
    )
    query = (
        _within(sa.select(Case.case_id))
        .where(*_conditions(filters, as_of), Case.queue_priority >= case["queue_priority"], ahead)
        .order_by(Case.queue_priority, Case.first_at.desc(), Case.case_id.desc())
        .limit(1)
    )
    with store.read() as connection:
        return connection.scalar(query) or ""
