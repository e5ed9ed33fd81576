"""Working together on cases: claim, release, hand over, snooze, wake, comment, undo. Each is one locked transaction.

Every action is an event in the history of the case, with what was on the screen: `seen`, or without it what the
database holds now. The command line and the web both use it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import AxiswatchError, Coded
from pipeline.base.ids import utc_text
from pipeline.cases.episodes import CLOSED, OPEN
from pipeline.cases.history import add_event
from pipeline.cases.memory import answer_given
from pipeline.cases.quiet import SNOOZED, refuse_end
from pipeline.cases.verdicts import SETTLING, read_case, refuse_claimed
from pipeline.store.database import Store, insert_new
from pipeline.store.tables import Case, CaseWork, Label, LabelWithdrawal, ReviewEvent, User

LONGEST_COMMENT = 4000
LONGEST_SNOOZE = timedelta(days=90)
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
            text = f"case {case_id} is closed; to record a later finding you need no claim"
            raise AxiswatchError(Coded(text, "closed_claim", case=case_id))
        until = at + timedelta(minutes=minutes)
        _set_work(connection, case_id, at, claimed_by=who, claimed_until=until)
        add_event(connection, case_id, who, "claimed", {"until": utc_text(until)}, at, seen=seen)
    return {"case_id": case_id, "claimed_by": who, "claimed_until": until}


def release(store: Store, case_id: str, *, who: str, at: datetime, seen: Seen = None) -> None:
    """End one's own claim.

    Raises
    ------
    AxiswatchError
        Another user has claimed the case, or nobody has.
    """
    with store.write() as connection:
        read_case(connection, case_id, lock=True)
        refuse_claimed(connection, case_id, who, at)
        work = work_of(connection, case_id)
        if work["claimed_by"] is None or work["claimed_until"] <= at:
            raise AxiswatchError(Coded(f"nobody has claimed case {case_id}", "not_claimed", case=case_id))
        _set_work(connection, case_id, at, claimed_by=None, claimed_until=None)
        add_event(connection, case_id, who, "released", {}, at, seen=seen)


def hand_over(
    store: Store, case_id: str, *, to: str, who: str, at: datetime, minutes: float, seen: Seen = None
) -> None:
    """Hand a case to another user who may review; empty: release it.

    Raises
    ------
    AxiswatchError
        There is no such reviewer, or a third user has claimed the case.
    """
    if not to:
        release(store, case_id, who=who, at=at, seen=seen)
        return
    with store.write() as connection:
        read_case(connection, case_id, lock=True)
        refuse_claimed(connection, case_id, who, at)
        query = sa.select(User.name).where(User.name == to, User.disabled.is_(False), User.role != "viewer")
        if connection.scalar(query) is None:
            text = f"there is no reviewer {to!r}; `axiswatch user list` shows them"
            raise AxiswatchError(Coded(text, "no_reviewer", who=to))
        until = at + timedelta(minutes=minutes)
        _set_work(connection, case_id, at, claimed_by=to, claimed_until=until)
        add_event(connection, case_id, who, "handed_over", {"to": to, "until": utc_text(until)}, at, seen=seen)


def snooze(store: Store, case_id: str, *, who: str, at: datetime, until: datetime | None, seen: Seen = None) -> None:
    """Take a case out of the queue until a time, or (None) until its priority rises by the margin that reopens a case.

    Raises
    ------
    AxiswatchError
        The case is closed, another user has claimed it, or the time has passed or is more than 90 days away.
    """
    if until is not None:
        refuse_end(until, at=at, longest=LONGEST_SNOOZE)
    with store.write() as connection:
        case = read_case(connection, case_id, lock=True)
        refuse_claimed(connection, case_id, who, at)
        if case["state"] == CLOSED:
            text = f"case {case_id} is closed; only open cases are snoozed"
            raise AxiswatchError(Coded(text, "closed_snooze", case=case_id))
        values = {"state": SNOOZED, "snoozed_until": until, "changed_at": at}
        connection.execute(sa.update(Case).where(Case.case_id == case_id).values(**values))
        priority = case["priority"]
        _set_work(connection, case_id, at, claimed_by=None, claimed_until=None, snoozed_priority=priority)
        until_text = "it gets worse" if until is None else utc_text(until)
        add_event(connection, case_id, who, "snoozed", {"until": until_text, "priority": priority}, at, seen=seen)


def wake(store: Store, case_id: str, *, who: str, at: datetime, seen: Seen = None) -> None:
    """End the snooze of a case: it is in the queue again.

    Raises
    ------
    AxiswatchError
        The case is not snoozed, or another user has claimed it.
    """
    with store.write() as connection:
        case = read_case(connection, case_id, lock=True)
        refuse_claimed(connection, case_id, who, at)
        if case["state"] != SNOOZED:
            raise AxiswatchError(Coded(f"case {case_id} is not snoozed", "not_snoozed", case=case_id))
        values = {"state": OPEN, "snoozed_until": None, "changed_at": at}
        connection.execute(sa.update(Case).where(Case.case_id == case_id).values(**values))
        add_event(connection, case_id, who, "woken", {}, at, seen=seen)


def comment(store: Store, case_id: str, text: str, *, who: str, at: datetime, seen: Seen = None) -> None:
    """Add a comment to the history; the same one sent twice, with nothing in between, is stored once.

    Raises
    ------
    AxiswatchError
        The comment is empty or longer than 4,000 characters.
    """
    if not text.strip() or len(text) > LONGEST_COMMENT or "\0" in text:
        told = f"a comment has 1 to {LONGEST_COMMENT} characters, this one has {len(text.strip())}"
        raise AxiswatchError(Coded(told, "length", most=LONGEST_COMMENT))
    with store.write() as connection:
        read_case(connection, case_id, lock=True)
        query = sa.select(ReviewEvent).where(ReviewEvent.case_id == case_id).order_by(ReviewEvent.sequence.desc())
        last = connection.execute(query.limit(1)).one_or_none()
        if last is not None and (last.who, last.action, last.details.get("text")) == (who, "comment", text):
            return
        add_event(connection, case_id, who, "comment", {"text": text}, at, seen=seen)


def set_work_order(store: Store, case_id: str, number: str, *, who: str, at: datetime, seen: Seen = None) -> None:
    """Store the work order number that the maintenance system gave the case; empty removes it.

    Raises
    ------
    AxiswatchError
        The number is longer than 100 characters or has characters that cannot be printed.
    """
    if len(number) > 100 or not all(character.isprintable() for character in number):
        told = "a work order number has at most 100 characters, all of them printable"
        raise AxiswatchError(Coded(told, "length", most=100))
    with store.write() as connection:
        read_case(connection, case_id, lock=True)
        _set_work(connection, case_id, at, work_order=number or None)
        add_event(connection, case_id, who, "work_order", {"number": number}, at, seen=seen)


def undo(
    store: Store, case_id: str, *, who: str, at: datetime, label_id: str = "", seen: Seen = None
) -> dict[str, Any]:
    """Withdraw one's own newest verdict: its label counts no more.

    The case opens again, unless something else has settled it: a finding that stands, or a step of axiswatch.

    Parameters
    ----------
    label_id
        Withdraw this finding, if it is one's own and stands. '': the newest.

    Raises
    ------
    AxiswatchError
        There is no such verdict of this user.
    """
    with store.write() as connection:
        case = read_case(connection, case_id, lock=True)
        query = sa.select(ReviewEvent).where(ReviewEvent.case_id == case_id, ReviewEvent.action.in_(SETTLING))
        events = [dict(row._mapping) for row in connection.execute(query.order_by(ReviewEvent.sequence))]
        own = [label for label in standing(events, who=who) if label_id in ("", label)]
        if not own:
            text = f"case {case_id}: no verdict of {who} stands on it; there is nothing to undo"
            raise AxiswatchError(Coded(text, "nothing_to_undo", case=case_id, who=who))
        insert_new(connection, LabelWithdrawal, {"label_id": own[-1], "who": who, "known_at": at})
        state = case["state"]
        if state == CLOSED:
            settled = _settled_by(events, {own[-1], *_undone(events)})
            values = {"closed_at": None, "closed_by": None, "closed_priority": None}
            if settled is None:
                state = OPEN
            else:
                values = {"closed_by": settled["who"], "closed_at": min(case["closed_at"], settled["at"])}
            connection.execute(
                sa.update(Case).where(Case.case_id == case_id).values(state=state, changed_at=at, **values)
            )
        add_event(connection, case_id, who, "undone", {"label_id": own[-1]}, at, seen=seen)
        answer_given(connection, case_id, "undone", at=at)
    return {"case_id": case_id, "label_id": own[-1], "state": state}


def standing(events: Iterable[Mapping[str, Any]], *, who: str) -> list[str]:
    """Return the labels that a user gave a case and has not withdrawn, oldest first, from the case's history."""
    events = list(events)
    given = [event["details"]["label_id"] for event in events if event["action"] == "verdict" and event["who"] == who]
    gone = _undone(events)
    return [label for label in given if label not in gone]


def _undone(events: Iterable[Mapping[str, Any]]) -> set[str]:
    return {event["details"]["label_id"] for event in events if event["action"] == "undone"}


def _settled_by(events: Iterable[Mapping[str, Any]], gone: Collection[str]) -> Mapping[str, Any] | None:
    """Return the newest act that closed a case, is not undone by `gone` labels, and came after the last reopening."""
    settled: Mapping[str, Any] | None = None
    before: Mapping[str, Any] | None = None
    for event in events:
        if event["action"] == "reopened":
            settled = None
        elif event["action"] == "closed":
            by_verdict = before is not None and (before["action"], before["who"]) == ("verdict", event["who"])
            if before is None or not by_verdict or before["details"]["label_id"] not in gone:
                settled = event
        before = event
    return settled


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
