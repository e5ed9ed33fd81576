"""Working together on cases: claim, hand over, snooze, comment, undo. Each is one locked transaction.

Every action is an event in the history of the case, with what was on the screen: `seen`, or without it what the
database holds now. The command line and the web both use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import AxiswatchError
from pipeline.base.ids import utc_text
from pipeline.cases.episodes import CLOSED, OPEN
from pipeline.cases.history import add_event
from pipeline.cases.memory import answer_given
from pipeline.cases.quiet import SNOOZED
from pipeline.cases.verdicts import read_case, refuse_claimed
from pipeline.store.database import Store, insert_new
from pipeline.store.tables import Case, CaseWork, Label, LabelWithdrawal, ReviewEvent, User

LONGEST_COMMENT = 4000
Seen = Mapping[str, Any] | None


def claim(store: Store, case_id: str, *, who: str, at: datetime, minutes: float, seen: Seen = None) -> dict[str, Any]:
    """Claim a case for some time; one's own claim is extended. Of two users at the same time, one gets it.

    Raises
    ------
    AxiswatchError
        Another user has claimed it, or it is closed.
    """
    with store.write() as connection:
        case = read_case(connection, case_id, lock=True)
        refuse_claimed(connection, case_id, who, at)
        if case["state"] == CLOSED:
            raise AxiswatchError(f"case {case_id} is closed; to record a later finding you need no claim")
        until = at + timedelta(minutes=minutes)
        _set_work(connection, case_id, at, claimed_by=who, claimed_until=until)
        add_event(connection, case_id, who, "claimed", {"until": utc_text(until)}, at, seen=seen)
    return {"case_id": case_id, "claimed_by": who, "claimed_until": until}


def hand_over(
    store: Store, case_id: str, *, to: str, who: str, at: datetime, minutes: float, seen: Seen = None
) -> None:
    """Hand a case to another user who may review; empty: release it.

    Raises
    ------
    AxiswatchError
        There is no such reviewer, or a third user has claimed the case.
    """
    with store.write() as connection:
        read_case(connection, case_id, lock=True)
        refuse_claimed(connection, case_id, who, at)
        if not to:
            _set_work(connection, case_id, at, claimed_by=None, claimed_until=None)
            add_event(connection, case_id, who, "released", {}, at, seen=seen)
            return
        query = sa.select(User.name).where(User.name == to, User.disabled.is_(False), User.role != "viewer")
        if connection.scalar(query) is None:
            raise AxiswatchError(f"there is no reviewer {to!r}; `axiswatch user list` shows them")
        until = at + timedelta(minutes=minutes)
        _set_work(connection, case_id, at, claimed_by=to, claimed_until=until)
        add_event(connection, case_id, who, "handed_over", {"to": to, "until": utc_text(until)}, at, seen=seen)


def snooze(store: Store, case_id: str, *, who: str, at: datetime, until: datetime | None, seen: Seen = None) -> None:
    """Take a case out of the queue until a time, or (None) until its priority rises by the margin that reopens a case.

    Raises
    ------
    AxiswatchError
        The case is closed, another user has claimed it, or the time has passed.
    """
    if until is not None and until <= at:
        raise AxiswatchError(f"cannot snooze until {utc_text(until)}: that time has passed; choose a later one")
    with store.write() as connection:
        case = read_case(connection, case_id, lock=True)
        refuse_claimed(connection, case_id, who, at)
        if case["state"] == CLOSED:
            raise AxiswatchError(f"case {case_id} is closed; only open cases are snoozed")
        values = {"state": SNOOZED, "snoozed_until": until, "changed_at": at}
        connection.execute(sa.update(Case).where(Case.case_id == case_id).values(**values))
        priority = case["priority"]
        _set_work(connection, case_id, at, claimed_by=None, claimed_until=None, snoozed_priority=priority)
        until_text = "it gets worse" if until is None else utc_text(until)
        add_event(connection, case_id, who, "snoozed", {"until": until_text, "priority": priority}, at, seen=seen)


def comment(store: Store, case_id: str, text: str, *, who: str, at: datetime, seen: Seen = None) -> None:
    """Add a comment to the history.

    Raises
    ------
    AxiswatchError
        The comment is empty or longer than 4,000 characters.
    """
    if not text.strip() or len(text) > LONGEST_COMMENT or "\0" in text:
        raise AxiswatchError(f"a comment has 1 to {LONGEST_COMMENT} characters, this one has {len(text.strip())}")
    with store.write() as connection:
        read_case(connection, case_id, lock=True)
        add_event(connection, case_id, who, "comment", {"text": text}, at, seen=seen)


def set_work_order(store: Store, case_id: str, number: str, *, who: str, at: datetime, seen: Seen = None) -> None:
    """Store the work order number that the maintenance system gave the case; empty removes it.

    Raises
    ------
    AxiswatchError
        The number is longer than 100 characters or has characters that cannot be printed.
    """
    if len(number) > 100 or not all(character.isprintable() for character in number):
        raise AxiswatchError("a work order number has at most 100 characters, all of them printable")
    with store.write() as connection:
        read_case(connection, case_id, lock=True)
        _set_work(connection, case_id, at, work_order=number or None)
        add_event(connection, case_id, who, "work_order", {"number": number}, at, seen=seen)


def undo(store: Store, case_id: str, *, who: str, at: datetime, seen: Seen = None) -> dict[str, Any]:
    """Withdraw one's own verdict if nothing happened to the case since: its label counts no more, the case opens.

    Raises
    ------
    AxiswatchError
        The last action is not a verdict of this user.
    """
    with store.write() as connection:
        read_case(connection, case_id, lock=True)
        query = sa.select(ReviewEvent).where(ReviewEvent.case_id == case_id).order_by(ReviewEvent.sequence.desc())
        last = [row for row in connection.execute(query.limit(2)) if row.action in ("verdict", "closed")]
        verdict = next((row for row in last if row.action == "verdict" and row.who == who), None)
        if verdict is None or last[0].who != who or (verdict is not last[0] and last[0].action != "closed"):
            raise AxiswatchError(f"case {case_id}: the last action is not a verdict of {who}; there is nothing to undo")
        label_id = verdict.details["label_id"]
        insert_new(connection, LabelWithdrawal, {"label_id": label_id, "who": who, "known_at": at})
        values = {"state": OPEN, "closed_at": None, "closed_by": None, "closed_priority": None, "changed_at": at}
        connection.execute(sa.update(Case).where(Case.case_id == case_id).values(**values))
        add_event(connection, case_id, who, "undone", {"label_id": label_id}, at, seen=seen)
        answer_given(connection, case_id, "undone", at=at)
    return {"case_id": case_id, "label_id": label_id, "state": OPEN}


def work_of(connection: Connection, case_id: str) -> Mapping[str, Any]:
    """Return claim, snooze and work order of a case; all None where there is nothing."""
    row = connection.execute(sa.select(CaseWork).where(CaseWork.case_id == case_id)).one_or_none()
    names = ("claimed_by", "claimed_until", "snoozed_priority", "work_order")
    return {name: None if row is None else getattr(row, name) for name in names}


def labels_of(connection: Connection, case_id: str) -> list[dict[str, Any]]:
    """Return every finding on a case, oldest first, each with the time of its withdrawal, if it was withdrawn."""
    query = (
        sa.select(Label, LabelWithdrawal.known_at.label("withdrawn_at"))
        .outerjoin(LabelWithdrawal, LabelWithdrawal.label_id == Label.label_id)
        .where(Label.case_id == case_id)
        .order_by(Label.known_at, Label.label_id)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def _set_work(connection: Connection, case_id: str, at: datetime, **values: Any) -> None:
    empty = {"claimed_by": None, "claimed_until": None, "snoozed_priority": None, "work_order": None}
    if not insert_new(connection, CaseWork, {"case_id": case_id, "known_at": at, **empty, **values}):
        connection.execute(sa.update(CaseWork).where(CaseWork.case_id == case_id).values(known_at=at, **values))
