"""Working together on cases: claim, hand over, snooze, comment, take back. Each is one locked transaction.

Every act is an event of the case's history, with what was on the screen: `seen`, or what is on record where it is not
given. Serves the command line and the web alike.
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
from pipeline.cases.quiet import SNOOZED
from pipeline.cases.verdicts import read_case, refuse_claimed
from pipeline.store.database import Store, insert_new
from pipeline.store.tables import Case, CaseWork, Label, LabelWithdrawal, ReviewEvent, User

LONGEST_COMMENT = 4000
Seen = Mapping[str, Any] | None


def claim(store: Store, case_id: str, *, who: str, at: datetime, minutes: float, seen: Seen = None) -> dict[str, Any]:
    """Take a case for some time; a claim of one's own is prolonged. Of two at once, one gets it.

    Raises
    ------
    AxiswatchError
        Somebody else has it, or it is closed.
    """
    with store.write() as connection:
        case = read_case(connection, case_id, lock=True)
        refuse_claimed(connection, case_id, who, at)
        if case["state"] == CLOSED:
            raise AxiswatchError(f"case {case_id} is closed; a later finding needs no claim")
        until = at + timedelta(minutes=minutes)
        _set_work(connection, case_id, at, claimed_by=who, claimed_until=until)
        add_event(connection, case_id, who, "claimed", {"until": utc_text(until)}, at, seen=seen)
    return {"case_id": case_id, "claimed_by": who, "claimed_until": until}


def hand_over(
    store: Store, case_id: str, *, to: str, who: str, at: datetime, minutes: float, seen: Seen = None
) -> None:
    """Give a case to another user who may review; empty gives it back to all.

    Raises
    ------
    AxiswatchError
        There is no such reviewer, or a third one has claimed the case.
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
    """Put a case aside until a time, or (None) until its priority rises by the margin that reopens a case.

    Raises
    ------
    AxiswatchError
        The case is closed, claimed by somebody else, or the time is over.
    """
    if until is not None and until <= at:
        raise AxiswatchError(f"cannot snooze until {utc_text(until)}: that is over; give a time to come")
    with store.write() as connection:
        case = read_case(connection, case_id, lock=True)
        refuse_claimed(connection, case_id, who, at)
        if case["state"] == CLOSED:
            raise AxiswatchError(f"case {case_id} is closed; only open cases are snoozed")
        values = {"state": SNOOZED, "snoozed_until": until, "changed_at": at}
        connection.execute(sa.update(Case).where(Case.case_id == case_id).values(**values))
        priority = case["priority"]
        _set_work(connection, case_id, at, claimed_by=None, claimed_until=None, snoozed_priority=priority)
        told = "it gets worse" if until is None else utc_text(until)
        add_event(connection, case_id, who, "snoozed", {"until": told, "priority": priority}, at, seen=seen)


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
    """Write back the number that the maintenance system gave the case; empty takes it away."""
    if len(number) > 100 or not all(character.isprintable() for character in number):
        raise AxiswatchError("a work order's number has at most 100 characters that can be printed")
    with store.write() as connection:
        read_case(connection, case_id, lock=True)
        _set_work(connection, case_id, at, work_order=number or None)
        add_event(connection, case_id, who, "work_order", {"number": number}, at, seen=seen)


def undo(store: Store, case_id: str, *, who: str, at: datetime, seen: Seen = None) -> dict[str, Any]:
    """Take back one's own verdict if nothing happened to the case since: its label counts no more, the case opens.

    Raises
    ------
    AxiswatchError
        The last act is not a verdict of this user.
    """
    with store.write() as connection:
        read_case(connection, case_id, lock=True)
        query = sa.select(ReviewEvent).where(ReviewEvent.case_id == case_id).order_by(ReviewEvent.sequence.desc())
        last = [row for row in connection.execute(query.limit(2)) if row.action in ("verdict", "closed")]
        given = next((row for row in last if row.action == "verdict" and row.who == who), None)
        if given is None or last[0].who != who or (given is not last[0] and last[0].action != "closed"):
            raise AxiswatchError(f"case {case_id}: its last act is no verdict of {who}, there is nothing to undo")
        label_id = given.details["label_id"]
        insert_new(connection, LabelWithdrawal, {"label_id": label_id, "who": who, "known_at": at})
        values = {"state": OPEN, "closed_at": None, "closed_by": None, "closed_priority": None, "changed_at": at}
        connection.execute(sa.update(Case).where(Case.case_id == case_id).values(**values))
        add_event(connection, case_id, who, "undone", {"label_id": label_id}, at, seen=seen)
    return {"case_id": case_id, "label_id": label_id, "state": OPEN}


def work_of(connection: Connection, case_id: str) -> Mapping[str, Any]:
    """Give what was agreed on a case; all None where nothing was."""
    row = connection.execute(sa.select(CaseWork).where(CaseWork.case_id == case_id)).one_or_none()
    names = ("claimed_by", "claimed_until", "snoozed_priority", "work_order")
    return {name: None if row is None else getattr(row, name) for name in names}


def labels_of(connection: Connection, case_id: str) -> list[dict[str, Any]]:
    """Give every finding on a case, oldest first, each with the time at which it was taken back, if it was."""
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
