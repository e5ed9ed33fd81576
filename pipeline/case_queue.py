"""The one queue, of the command line and the web: filters, search, and paging by key, so that a page never shifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.audit_slice import AUDIT
from pipeline.axis_state import DATA_CODES, MACHINE_CODES
from pipeline.base.errors import AxiswatchError
from pipeline.base.ids import instant
from pipeline.muting import muted_axes
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Case, CaseWork

REASONS = (*MACHINE_CODES, *DATA_CODES, AUDIT)
"""Codes of reasons that the queue can be filtered by."""


@dataclass(frozen=True)
class Filters:
    """What is wanted of the queue; empty is anything. `state` may be `all`, `mine` is a user's name."""

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
    """Give cases behind a place in the queue, highest priority first, with the names of their axes.

    Cases of axes that are muted at `as_of` are left out of open ones, and a claim that is over is no claim.

    Raises
    ------
    AxiswatchError
        `after` is no place that `queue_page` gave.
    """
    names = (Axis.site, Axis.cell, Axis.robot_id, Axis.axis)
    query: Any = sa.select(Case, *names, CaseWork.claimed_by, CaseWork.claimed_until, CaseWork.work_order)
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
    """Give a page of the queue, and the place of the next page ('': none)."""
    rows = queue(store, filters, as_of=as_of, after=after, limit=limit + 1)
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, place_of(rows[-1]) if more else ""


def count_queue(store: Store, filters: Filters = Filters(), *, as_of: datetime) -> int:
    """Count the cases that `queue` gives."""
    query = _within(sa.select(sa.func.count()).select_from(Case)).where(*_conditions(filters, as_of))
    with store.read() as connection:
        return connection.scalar(query) or 0


def place_of(row: dict[str, Any]) -> str:
    """Write the place of a case in the queue."""
    return f"{row['queue_priority']!r}~{instant(row['first_at'])}~{row['case_id']}"


def _within(query: Any) -> Any:
    return query.join(Axis, Axis.axis_id == Case.axis_id).outerjoin(CaseWork, CaseWork.case_id == Case.case_id)


def _behind(after: str) -> sa.ColumnElement[bool]:
    try:
        priority, first_at, case_id = after.split("~")
        key = (float(priority), datetime.fromisoformat(first_at))
    except ValueError as error:
        raise AxiswatchError(f"{after!r} is no place in the queue; begin at its first page") from error
    if key[1].tzinfo is None or "\0" in case_id:
        raise AxiswatchError(f"{after!r} is no place in the queue; begin at its first page")
    later = sa.or_(Case.first_at > key[1], sa.and_(Case.first_at == key[1], Case.case_id > case_id))
    return sa.and_(Case.queue_priority <= key[0], sa.or_(Case.queue_priority < key[0], later))


def _conditions(filters: Filters, as_of: datetime) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    exact = (
        (Axis.site, filters.site),
        (Axis.cell, filters.cell),
        (Axis.robot_id, filters.robot_id),
        (Case.axis_id, filters.axis_id),
    )
    for column, value in exact:
        if value:
            wanted.append(column == value)
    if filters.state != "all":
        wanted.append(Case.state == filters.state)
    if filters.state == "open":
        wanted.append(Case.axis_id.not_in(muted_axes(as_of)))
    if filters.reason:
        wanted.append(sa.cast(Case.reasons, sa.Text).contains(f'"code": "{filters.reason}"', autoescape=True))
    if filters.mine:
        wanted += [CaseWork.claimed_by == filters.mine, CaseWork.claimed_until > as_of]
    if filters.search:
        text = filters.search.replace("\0", "")
        columns = (Case.case_id, Axis.site, Axis.cell, Axis.robot_id, Axis.axis, CaseWork.work_order)
        wanted.append(sa.or_(*(column.icontains(text, autoescape=True) for column in columns)))
    return wanted


def before_in_queue(store: Store, filters: Filters, case: Mapping[str, Any], *, as_of: datetime) -> str:
    """Give the id of the case just before a place in the queue, '' at its head. `case` need not be in the queue."""
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
        sa.select(Case.case_id)
        .join(Axis, Axis.axis_id == Case.axis_id)
        .outerjoin(CaseWork, CaseWork.case_id == Case.case_id)
        .where(*_conditions(filters, as_of), Case.queue_priority >= case["queue_priority"], ahead)
        .order_by(Case.queue_priority, Case.first_at.desc(), Case.case_id.desc())
        .limit(1)
    )
    with store.read() as connection:
        return connection.scalar(query) or ""
