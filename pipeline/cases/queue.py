"""The one queue of cases, for the command line and the web. Pages go by key, so a new case shifts no page.

What makes a place in it: `pipeline.cases.ordering`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import AxiswatchError, Coded
from pipeline.base.ids import instant
from pipeline.cases.audit import AUDIT, MODEL
from pipeline.cases.axis_state import DATA_CODES, MACHINE_CODES
from pipeline.cases.quiet import muted_axes
from pipeline.labels.labels import CONFIRM
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Case, CaseEvidence, CaseMemory, CaseWork, ModelVersion, Recording

LOOKS_FAULTY: Final = 0.75
LOOKS_HEALTHY: Final = 0.25
"""Figures of case memory from which on, and up to which, the look-alikes say something clear."""

ALARM_CODE: Final = "fault"

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


def count_choices(store: Store, filters: Filters, *, as_of: datetime) -> list[dict[str, Any]]:
    """Count the cases of each robot, and those with each reason (by code), in one query.

    The filters by place and reason are not applied: `choices_of` does that, for each choice its own.
    """
    open_to_all = replace(filters, site="", cell="", robot_id="", reason="")
    by_reason = [sa.func.sum(sa.case((has_reason(code), 1), else_=0)).label(code) for code in REASONS]
    place = (Axis.site, Axis.cell, Axis.robot_id)
    query = _within(sa.select(*place, sa.func.count().label("n"), *by_reason).select_from(Case))
    with store.read() as connection:
        counted = connection.execute(query.where(*_conditions(open_to_all, as_of)).group_by(*place))
        return [dict(row._mapping) for row in counted]


def choices_of(counted: Sequence[Mapping[str, Any]], filters: Filters) -> dict[str, dict[str, int]]:
    """Return how many cases each choice of a filter would show, with the other filters as they are.

    Parameters
    ----------
    counted
        Rows of `count_choices`.

    Returns
    -------
    dict
        By `reason`, `site`, `cell`, `robot_id`: the number of each choice; `""` is any.
    """
    places = {name: getattr(filters, name) for name in ("site", "cell", "robot_id")}

    def within(row: Mapping[str, Any], besides: str) -> bool:
        return all(name == besides or not value or row[name] == value for name, value in places.items())

    here = [row for row in counted if within(row, "")]
    choices = {"reason": {code: sum(row[code] for row in here) for code in REASONS}}
    choices["reason"][""] = sum(row["n"] for row in here)
    for name in places:
        numbers = choices[name] = {"": 0}
        for row in counted:
            if within(row, name):
                n = row[filters.reason or "n"]
                for choice in {"", row[name]}:
                    numbers[choice] = numbers.get(choice, 0) + n
    return choices


EVIDENCE: Final = ("case_id", "channel", "program", "shaft_speed_rpm", "line", "lines")


def evidence_of(connection: Connection, case_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the signal evidence of cases, by case, with one query for all of them."""
    query = sa.select(*(getattr(CaseEvidence, name) for name in EVIDENCE)).where(CaseEvidence.case_id.in_(case_ids))
    return {row.case_id: dict(row._mapping) for row in connection.execute(query)}


def lacking(store: Store) -> str:
    """Return what a store needs before there can be cases: `recordings` or a `model`; '' where it has both."""
    needs = {"recordings": Recording.recording_id, "model": ModelVersion.model_version}
    with store.read() as connection:
        return next((name for name, key in needs.items() if connection.scalar(sa.select(key).limit(1)) is None), "")


def place_of(row: dict[str, Any]) -> str:
    """Return the position of a case in the queue, as text."""
    return f"{row['queue_priority']!r}~{instant(row['first_at'])}~{row['case_id']}"


def _within(query: Any) -> Any:
    query = query.join(Axis, Axis.axis_id == Case.axis_id).outerjoin(CaseWork, CaseWork.case_id == Case.case_id)
    return query.outerjoin(CaseMemory, CaseMemory.case_id == Case.case_id)


def _behind(after: str) -> sa.ColumnElement[bool]:
    try:
        priority, first_at, case_id = after.split("~")
        key = (float(priority), datetime.fromisoformat(first_at).astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise AxiswatchError(_no_position(after)) from error
    if datetime.fromisoformat(first_at).tzinfo is None or not isfinite(key[0]) or "\0" in case_id:
        raise AxiswatchError(_no_position(after))
    later = sa.or_(Case.first_at > key[1], sa.and_(Case.first_at == key[1], Case.case_id > case_id))
    return sa.and_(Case.queue_priority <= key[0], sa.or_(Case.queue_priority < key[0], later))


def _no_position(after: str) -> Coded:
    return Coded(f"{after[:80]!r} is not a position in the queue; start at its first page", "no_position")


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
