"""Delivering the outbox: signed, at least once, in order for each case, with pauses that grow and an end.

Signed as Standard Webhooks 1.0 (standardwebhooks.com) says: HMAC-SHA256 over `id.timestamp.body`. A try is leased in a
short transaction before it is made, so two deliverers do not tell the same at once, and one that is killed holds up a
case until its lease is over and no longer. No transaction is open while the network is waited for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from pipeline.base.errors import SettingsError
from pipeline.handoff.http import SECONDS, post
from pipeline.handoff.outbox import DELIVERED, GIVEN_UP, SKIPPED, WAITING, event_id
from pipeline.store.database import Store
from pipeline.store.tables import WebhookEvent

LEASE: Final = timedelta(seconds=120)
"""Longer than any try takes: after it, a try that nobody ended is taken as dead."""

FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=6)
DOWN_AFTER: Final = 3
"""Tries in a row without a sound answer after which a run stops: the receiver is down, and the rest can wait."""

KEPT: Final = timedelta(days=90)
"""How long what was delivered or skipped can be told again; the history keeps every act for ever."""

SHORTEST_SECRET: Final = 24
AT_A_TIME: Final = 100


@dataclass
class DeliveryReport:
    """What one run told. `waiting` is what is left."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    skipped: int = 0
    waiting: int = 0

    def as_dict(self) -> dict[str, int]:
        """Give the counts by name."""
        return asdict(self)


def secret_key(secret: str) -> bytes:
    """Give the key of a secret: base64 behind `whsec_`, else the text as it is.

    Raises
    ------
    SettingsError
        It is too short, or no base64 behind `whsec_`.
    """
    try:
        key = base64.b64decode(secret[6:], validate=True) if secret.startswith("whsec_") else secret.encode()
    except binascii.Error as error:
        raise SettingsError("case_webhook_secret has no base64 behind whsec_") from error
    if len(key) < SHORTEST_SECRET:
        raise SettingsError(f"case_webhook_secret has {len(key)} bytes, it needs at least {SHORTEST_SECRET}")
    return key


def signed(name: str, body: bytes, secret: str, *, at: datetime) -> dict[str, str]:
    """Give the headers of a message: its id, its time (s since 1970), and `v1,` with the signature in base64."""
    stamp = str(int(at.timestamp()))
    found = hmac.new(secret_key(secret), b".".join((name.encode(), stamp.encode(), body)), hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "axiswatch",
        "Webhook-Id": name,
        "Webhook-Timestamp": stamp,
        "Webhook-Signature": f"v1,{base64.b64encode(found).decode()}",
    }


def pause_after(attempts: int) -> timedelta:
    """Give the pause after so many tries (1 or more): a minute, doubled each time, six hours at most."""
    doublings: int = 2 ** min(attempts - 1, 20)
    return min(FIRST_PAUSE * doublings, LONGEST_PAUSE)


def deliver(
    store: Store,
    *,
    url: str,
    secret: str,
    most_attempts: int,
    at: datetime,
    seconds: float = SECONDS,
    budget_s: float = 600.0,
) -> DeliveryReport:
    """Tell all that is due, oldest first; of each case the next only when the one before is delivered or given up.

    Parameters
    ----------
    url
        Without one, what waits is skipped: whoever sets one later is told of what comes from then on.
    at
        The true time now: receivers refuse messages with an old one.
    seconds
        Time of one try, s.
    budget_s
        After so long a run stops and leaves the rest to the next one, s.
    """
    report, begun = DeliveryReport(), time.monotonic()
    _forget_old(store, at)

    def now() -> datetime:
        return at + timedelta(seconds=time.monotonic() - begun)

    if not url:
        report.skipped = _skip(store, at)
        return report
    secret_key(secret)
    silent = 0
    while silent < DOWN_AFTER and time.monotonic() - begun < budget_s:
        event = _lease_next(store, now())
        if event is None:
            break
        name, body = event_id(event["case_id"], event["sequence"]), event["body"].encode()
        answer = post(url, body, signed(name, body, secret, at=now()), seconds=seconds)
        silent = silent + 1 if answer.is_down else 0
        state = _end_try(store, event, answer.good, answer.outcome, now(), most_attempts)
        report.delivered += state == DELIVERED
        report.given_up += state == GIVEN_UP
        report.failed += not answer.good
    report.waiting = count_events(store).get(WAITING, 0)
    return report


def count_events(store: Store) -> dict[str, int]:
    """Count what stands in the outbox by state."""
    query = sa.select(WebhookEvent.state, sa.func.count()).group_by(WebhookEvent.state)
    with store.read() as connection:
        return {str(state): int(count) for state, count in connection.execute(query)}


def list_events(store: Store, *, state: str | None, limit: int) -> list[dict[str, Any]]:
    """Give the newest of the outbox, in all states or in one."""
    query = sa.select(WebhookEvent).order_by(
        WebhookEvent.known_at.desc(), WebhookEvent.case_id, WebhookEvent.sequence.desc()
    )
    if state is not None:
        query = query.where(WebhookEvent.state == state)
    with store.read() as connection:
        rows = [dict(row._mapping) for row in connection.execute(query.limit(limit))]
    return [{"id": event_id(row["case_id"], row["sequence"]), **row} for row in rows]


def tell_again(store: Store, *, states: tuple[str, ...], case_id: str = "") -> int:
    """Put what was given up (or skipped, or delivered) back among what waits; give the number."""
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


def _skip(store: Store, at: datetime) -> int:
    change = sa.update(WebhookEvent).where(WebhookEvent.state == WAITING)
    with store.write() as connection:
        done = connection.execute(change.values(state=SKIPPED, answer="no case_webhook_url", ended_at=at))
        return int(done.rowcount)


def _lease_next(store: Store, at: datetime) -> dict[str, Any] | None:
    """Take the next try: of each case only the first that waits. Of two deliverers at once one gets it."""
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
        found = [dict(row._mapping) for row in connection.execute(heads)]
    for event in found:
        own = (WebhookEvent.case_id == event["case_id"], WebhookEvent.sequence == event["sequence"])
        take = sa.update(WebhookEvent).where(*own, WebhookEvent.state == WAITING, due)
        event["attempts"] += 1
        with store.write() as connection:
            if connection.execute(take.values(not_before=at + LEASE, attempts=event["attempts"])).rowcount:
                return event
    return None


def _end_try(store: Store, event: dict[str, Any], good: bool, told: str, at: datetime, most: int) -> str:
    state = DELIVERED if good else GIVEN_UP if event["attempts"] >= most else WAITING
    values: dict[str, Any] = {"state": state, "answer": told}
    values |= {"not_before": at + pause_after(event["attempts"])} if state == WAITING else {"ended_at": at}
    # A delivered message stays so, whatever a slower try of it came to.
    own = (WebhookEvent.case_id == event["case_id"], WebhookEvent.sequence == event["sequence"])
    change = sa.update(WebhookEvent).where(*own, WebhookEvent.state == WAITING).values(**values)
    with store.write() as connection:
        connection.execute(change)
    return state
