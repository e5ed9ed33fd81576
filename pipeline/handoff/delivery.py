"""Deliver the outbox: signed messages, each at least once, in order for each case, with a limited number of tries.

The signature follows Standard Webhooks 1.0 (standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`. Before a try,
a short transaction reserves the message for a time (a lease). So two deliveries at once do not send the same message,
and a delivery that is killed delays its case only until the lease ends. No transaction is open while waiting for the
network.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from pipeline.base.errors import SettingsError
from pipeline.handoff.http import SECONDS, post
from pipeline.handoff.mail import MAILED, Mailbox, letter, send
from pipeline.handoff.outbox import DELIVERED, GIVEN_UP, SKIPPED, WAITING, event_id
from pipeline.store.database import Store
from pipeline.store.tables import WebhookEvent

LEASE: Final = timedelta(seconds=120)
"""Longer than any try takes. After this time, a try without an end counts as dead."""

FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=6)
DOWN_AFTER: Final = 3
"""Tries in a row with no answer or a server error, after which a run stops: the receiver is down."""

KEPT: Final = timedelta(days=90)
"""How long delivered and skipped messages are kept and can be sent again; the history keeps every act for ever."""

SHORTEST_SECRET: Final = 24
AT_A_TIME: Final = 100


@dataclass
class DeliveryReport:
    """Counts of messages of one run; `waiting` is the number that is left."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    skipped: int = 0
    waiting: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def secret_key(secret: str) -> bytes:
    """Return the key of a secret: the base64 after `whsec_` decoded, else the text itself.

    Raises
    ------
    SettingsError
        It is too short, or the part after `whsec_` is not base64.
    """
    try:
        key = base64.b64decode(secret[6:], validate=True) if secret.startswith("whsec_") else secret.encode()
    except binascii.Error as error:
        raise SettingsError("case_webhook_secret has no base64 after whsec_; make a new secret") from error
    if len(key) < SHORTEST_SECRET:
        raise SettingsError(f"case_webhook_secret has {len(key)} bytes, it needs at least {SHORTEST_SECRET}")
    return key


def signed(name: str, body: bytes, secret: str, *, at: datetime) -> dict[str, str]:
    """Return the headers of a message: its id, its time (s since 1970), and `v1,` with the signature in base64.

    Raises
    ------
    SettingsError
        The secret cannot be used, see `secret_key`.
    """
    timestamp = str(int(at.timestamp()))
    signature = hmac.new(
        secret_key(secret), b".".join((name.encode(), timestamp.encode(), body)), hashlib.sha256
    ).digest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "axiswatch",
        "Webhook-Id": name,
        "Webhook-Timestamp": timestamp,
        "Webhook-Signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def pause_after(attempts: int) -> timedelta:
    """Return the pause after a number of tries (1 or more): one minute, doubled each time, six hours at most."""
    doublings: int = 2 ** min(attempts - 1, 20)
    return min(FIRST_PAUSE * doublings, LONGEST_PAUSE)


def deliver(
    store: Store,
    *,
    url: str,
    secret: str,
    most_attempts: int,
    at: datetime,
    box: Mailbox | None = None,
    seconds: float = SECONDS,
    budget_s: float = 600.0,
) -> DeliveryReport:
    """Send all messages that are due, oldest first; for each case only after the one before is delivered or given up.

    Parameters
    ----------
    url
        Empty: waiting messages are skipped. An address that is set later gets only the messages from then on.
    at
        The true time now: receivers refuse messages with an old time.
    box
        Without an address: e-mails go there, about cases that came or got worse; other acts are skipped.
    seconds
        Time of one try, s.
    budget_s
        Time after which a run stops and leaves the rest for the next run, s.

    Raises
    ------
    SettingsError
        There is an address, and the secret cannot be used.
    """
    report, begun = DeliveryReport(), time.monotonic()
    _forget_old(store, at)

    def now() -> datetime:
        return at + timedelta(seconds=time.monotonic() - begun)

    if not url and box is None:
        report.skipped = _skip(store, at, "no case_webhook_url")
        return report
    if url:
        secret_key(secret)
    else:
        acts = sa.or_(*(WebhookEvent.body.startswith(f'{{"action": "{act}"') for act in MAILED))
        report.skipped = _skip(store, at, "no e-mail about this", sa.not_(acts))
    silent = 0
    while silent < DOWN_AFTER and time.monotonic() - begun < budget_s:
        event = _lease_next(store, now())
        if event is None:
            break
        name, body = event_id(event["case_id"], event["sequence"]), event["body"].encode()
        if box is None or url:
            answer = post(url, body, signed(name, body, secret, at=now()), seconds=seconds)
        else:
            answer = send(letter(json.loads(body), box, at=now()), box, seconds=seconds)
        silent = silent + 1 if answer.is_down else 0
        state = _end_try(store, event, answer.good, answer.outcome, now(), most_attempts)
        report.delivered += state == DELIVERED
        report.given_up += state == GIVEN_UP
        report.failed += not answer.good
    report.waiting = count_events(store).get(WAITING, 0)
    return report


def count_events(store: Store) -> dict[str, int]:
    """Return the number of messages in the outbox by state."""
    query = sa.select(WebhookEvent.state, sa.func.count()).group_by(WebhookEvent.state)
    with store.read() as connection:
        return {str(state): int(count) for state, count in connection.execute(query)}


def list_events(store: Store, *, state: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest messages of the outbox, in all states or in one."""
    query = sa.select(WebhookEvent).order_by(
        WebhookEvent.known_at.desc(), WebhookEvent.case_id, WebhookEvent.sequence.desc()
    )
    if state is not None:
        query = query.where(WebhookEvent.state == state)
    with store.read() as connection:
        rows = [dict(row._mapping) for row in connection.execute(query.limit(limit))]
    return [{"id": event_id(row["case_id"], row["sequence"]), **row} for row in rows]


def send_again(store: Store, *, states: tuple[str, ...], case_id: str = "") -> int:
    """Set messages of some states to waiting, so that they are sent again; return their number."""
    values = {"state": WAITING, "attempts": 0, "not_before": None, "ended_at": None}
    change = sa.update(WebhookEvent).where(WebhookEvent.state.in_(states)).values(**values)
    if case_id:
        change = change.where(WebhookEvent.case_id == case_id)
    with store.write() as connection:
        return int(connection.execute(change).rowcount)


def _forget_old(store: Store, at: datetime) -> None:
    old = (WebhookEvent.state.in_((DELIVERED, SKIPPED)), WebhookEvent.ended_at < at - KEPT)
    with store.read() as connection:
        if connection.scalar(sa.select(WebhookEvent.case_id).where(*old).limit(1)) is None:
            return
    with store.write() as connection:
        connection.execute(sa.delete(WebhookEvent).where(*old))


def _skip(store: Store, at: datetime, why: str, *which: sa.ColumnElement[bool]) -> int:
    change = sa.update(WebhookEvent).where(WebhookEvent.state == WAITING, *which)
    with store.write() as connection:
        done = connection.execute(change.values(state=SKIPPED, answer=why, ended_at=at))
        return int(done.rowcount)


def _lease_next(store: Store, at: datetime) -> dict[str, Any] | None:
    """Reserve the next message: for each case only the first that waits. Of two deliveries at once only one gets it."""
    first = (
        sa.select(WebhookEvent.case_id, sa.func.min(WebhookEvent.sequence).label("sequence"))
        .where(WebhookEvent.state == WAITING)
        .group_by(WebhookEvent.case_id)
        .subquery()
    )
    due = sa.or_(WebhookEvent.not_before.is_(None), WebhookEvent.not_before <= at)
    heads = (
        sa.select(WebhookEvent)
        .join(first, sa.and_(first.c.case_id == WebhookEvent.case_id, first.c.sequence == WebhookEvent.sequence))
        .where(due)
        .order_by(WebhookEvent.known_at, WebhookEvent.case_id)
        .limit(AT_A_TIME)
    )
    with store.read() as connection:
        events = [dict(row._mapping) for row in connection.execute(heads)]
    for event in events:
        own = (WebhookEvent.case_id == event["case_id"], WebhookEvent.sequence == event["sequence"])
        take = sa.update(WebhookEvent).where(*own, WebhookEvent.state == WAITING, due)
        event["attempts"] += 1
        with store.write() as connection:
            if connection.execute(take.values(not_before=at + LEASE, attempts=event["attempts"])).rowcount:
                return event
    return None


def _end_try(store: Store, event: dict[str, Any], is_good: bool, outcome: str, at: datetime, most_attempts: int) -> str:
    state = DELIVERED if is_good else GIVEN_UP if event["attempts"] >= most_attempts else WAITING
    values: dict[str, Any] = {"state": state, "answer": outcome}
    values |= {"not_before": at + pause_after(event["attempts"])} if state == WAITING else {"ended_at": at}
    # A message that another try has delivered stays delivered.
    own = (WebhookEvent.case_id == event["case_id"], WebhookEvent.sequence == event["sequence"])
    change = sa.update(WebhookEvent).where(*own, WebhookEvent.state == WAITING).values(**values)
    with store.write() as connection:
        connection.execute(change)
    return state
