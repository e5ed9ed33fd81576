"""The monitor's sign of life, and the message that it is missing: a dead man's switch outside the schedule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from pipeline.base.ids import utc_text
from pipeline.handoff.http import post
from pipeline.store.database import Store, insert_new, upsert
from pipeline.store.tables import Heartbeat

MONITOR: Final = "monitor"


def beat(store: Store, *, as_of: datetime, at: datetime, webhook_url: str = "") -> None:
    """Note that a run of the monitor for `as_of` went through all its steps and ended at the true time `at`.

    If its silence was reported, the end of it is reported as well.
    """
    row = {"name": MONITOR, "as_of": as_of, "at": at, "reported_at": None}
    with store.write() as connection:
        reported = connection.scalar(sa.select(Heartbeat.reported_at).where(Heartbeat.name == MONITOR))
        upsert(connection, Heartbeat, [row])
    if reported is not None and webhook_url:
        _send(webhook_url, "the monitor runs again", row)


def last_beat(store: Store, at: datetime) -> dict[str, Any]:
    """Return the row of the monitor. If it never ran, its time is that of the first look."""
    query = sa.select(Heartbeat).where(Heartbeat.name == MONITOR)
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        with store.write() as connection:
            first: dict[str, Any] = {"name": MONITOR, "as_of": None, "at": at, "reported_at": None}
            insert_new(connection, Heartbeat, first)
            row = connection.execute(query).one()
    return dict(row._mapping)


def silence(last: Mapping[str, Any], minutes: float, *, at: datetime) -> str:
    """Return a sentence if no run of the monitor ended well for `minutes` before `at`, else ''; 0 minutes: never.

    `last` is its row, see `last_beat`.
    """
    if not minutes or at - last["at"] <= timedelta(minutes=minutes):
        return ""
    since = f"no run of the monitor ended well since {utc_text(last['at'])}"
    what = "none ever did" if last["as_of"] is None else f"the last whole run stood for {utc_text(last['as_of'])}"
    return f"{since} ({what}); look at the schedule and at `axiswatch failures`"


def report_silence(store: Store, minutes: float, *, at: datetime, webhook_url: str) -> bool:
    """Report a silence to the webhook, once; return whether this was done. What could not be sent is sent later.

    Several processes may look at the same time: one of them sends it.
    """
    if not webhook_url:
        return False
    last = last_beat(store, at)
    text = silence(last, minutes, at=at)
    if not text:
        return False
    mine = sa.update(Heartbeat).where(Heartbeat.name == MONITOR, Heartbeat.reported_at.is_(None))
    with store.write() as connection:
        if not connection.execute(mine.values(reported_at=at)).rowcount:
            return False
    if _send(webhook_url, text, last):
        return True
    with store.write() as connection:
        undo = sa.update(Heartbeat).where(Heartbeat.name == MONITOR, Heartbeat.reported_at == at)
        connection.execute(undo.values(reported_at=None))
    return False


def _send(url: str, text: str, row: Mapping[str, Any]) -> bool:
    last = {name: row[name] and utc_text(row[name]) for name in ("as_of", "at")}
    return post(url, json.dumps({"text": text, "monitor": last}).encode(), {"Content-Type": "application/json"}).good
