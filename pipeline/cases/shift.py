"""What happened to cases in a stretch of time, and what waits at its end: what a shift hands to the next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import AxiswatchError, Coded
from pipeline.cases.episodes import OPEN
from pipeline.cases.quiet import muted_axes
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Case, Label, LabelWithdrawal, ReviewEvent

LONGEST: Final = timedelta(days=31)
ROWS: Final = 200
PLACE: Final = (Axis.site, Axis.cell, Axis.robot_id, Axis.axis)
ALL: Final = sa.func.count().over().label("n")
"""The number of rows that there are without a limit, in each row."""


@dataclass(frozen=True)
class ShiftSummary:
    """The summary of a stretch of time; each list has `ROWS` rows at most, `counts` their whole numbers by name.

    Attributes
    ----------
    came
        Cases that were opened or reopened, the newest first: the case, `action` and `at`.
    answered
        Findings on cases that still stand, the newest first: the case, and of the finding `label_id`, `who`, `verdict`,
        `found_mode`, `evidence`, `note` and `at`.
    waits
        Open cases at its end, those first seen first; without those of muted axes, as in the queue.
    """

    since: datetime
    as_of: datetime
    came: list[dict[str, Any]]
    answered: list[dict[str, Any]]
    waits: list[dict[str, Any]]
    counts: dict[str, int]


def shift_summary(store: Store, *, since: datetime, as_of: datetime) -> ShiftSummary:
    """Return what came and what was answered from `since` to `as_of`, and what waits at `as_of`; one query for each.

    Raises
    ------
    AxiswatchError
        `since` is not before `as_of`, or lies more than 31 days before it.
    """
    if not timedelta(0) < as_of - since <= LONGEST:
        text = f"the time must lie in the past and at most {LONGEST.days} days back"
        raise AxiswatchError(Coded(text, "shift_range", days=LONGEST.days))
    columns = (*Case.__table__.c, *PLACE, ALL)
    came = (
        sa.select(*columns, ReviewEvent.action, ReviewEvent.at)
        .join(Case, Case.case_id == ReviewEvent.case_id)
        .where(ReviewEvent.action.in_(("opened", "reopened")), ReviewEvent.at > since, ReviewEvent.at <= as_of)
        .order_by(ReviewEvent.at.desc(), Case.queue_priority.desc(), Case.case_id)
    )
    found = (Label.label_id, Label.who, Label.verdict, Label.mode.label("found_mode"), Label.evidence, Label.note)
    withdrawn = sa.select(LabelWithdrawal.label_id).where(LabelWithdrawal.known_at <= as_of)
    answered = (
        sa.select(*columns, *found, Label.known_at.label("at"))
        .join(Case, Case.case_id == Label.case_id)
        .where(Label.known_at > since, Label.known_at <= as_of, Label.label_id.not_in(withdrawn))
        .order_by(Label.known_at.desc(), Label.label_id)
    )
    rows: dict[str, list[dict[str, Any]]] = {}
    with store.read() as connection:
        for name, query in {"came": came, "answered": answered}.items():
            query = query.join(Axis, Axis.axis_id == Case.axis_id).limit(ROWS)
            rows[name] = [dict(row._mapping) for row in connection.execute(query)]
        rows["waits"] = waiting(connection, as_of=as_of, limit=ROWS)
    counts = {name: int(part[0].pop("n")) if part else 0 for name, part in rows.items()}
    for part in rows.values():
        for row in part:
            row.pop("n", None)
    return ShiftSummary(since, as_of, **rows, counts=counts)


def waiting(connection: Connection, *, as_of: datetime, limit: int) -> list[dict[str, Any]]:
    """Return the open cases that were seen first, oldest first; `n` in each is the number of all that are open."""
    is_waiting = (Case.state == OPEN, Case.axis_id.not_in(muted_axes(as_of)))
    n = sa.select(sa.func.count()).select_from(Case).where(*is_waiting).scalar_subquery().label("n")
    first = sa.select(Case.case_id).where(*is_waiting).order_by(Case.first_at, Case.case_id).limit(limit)
    query = sa.select(*Case.__table__.c, *PLACE, n).join(Axis, Axis.axis_id == Case.axis_id)
    query = query.where(Case.case_id.in_(first)).order_by(Case.first_at, Case.case_id)
    return [dict(row._mapping) for row in connection.execute(query)]
