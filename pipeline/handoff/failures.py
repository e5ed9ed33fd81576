"""Failures of scheduled tasks: stored in the database and, where a webhook is set, sent to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.base.ids import utc_text
from pipeline.handoff.http import post
from pipeline.store.database import Store, upsert
from pipeline.store.tables import TaskFailure

LONGEST_MESSAGE = 4000


@dataclass(frozen=True)
class Failure:
    """A task that failed and will not be tried again."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    message: str
    log_url: str
    known_at: datetime


def record_failure(store: Store, failure: Failure, *, webhook_url: str) -> str:
    """Store a failure, then send it to the webhook. Called twice, it is stored once.

    Returns
    -------
    str
        '' without a webhook, `sent`, or why it was not delivered.
    """
    row = asdict(failure) | {"message": failure.message[:LONGEST_MESSAGE], "webhook": ""}
    with store.write() as connection:
        upsert(connection, TaskFailure, [row])
    if not webhook_url:
        return ""
    row["webhook"] = _send(webhook_url, row | {"known_at": utc_text(failure.known_at)})
    with store.write() as connection:
        upsert(connection, TaskFailure, [row])
    return str(row["webhook"])


def is_recorded(store: Store, dag_id: str, run_id: str) -> bool:
    """Return whether a failure of a run was stored."""
    mine = sa.select(TaskFailure.task_id).where(TaskFailure.dag_id == dag_id, TaskFailure.run_id == run_id)
    with store.read() as connection:
        return connection.execute(mine.limit(1)).first() is not None


def list_failures(store: Store, *, limit: int) -> list[dict[str, Any]]:
    """Return the newest `limit` failures as rows, newest first."""
    query = sa.select(TaskFailure).order_by(TaskFailure.known_at.desc(), TaskFailure.task_id, TaskFailure.map_index)
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query.limit(limit))]


def _send(url: str, row: Mapping[str, Any]) -> str:
    name = ".".join(word for word in (row["dag_id"], row["task_id"]) if word)
    message = {"text": f"{name} failed: {row['message'][:500]}", "failure": dict(row)}
    answer = post(url, json.dumps(message).encode(), {"Content-Type": "application/json"})
    return "sent" if answer.good else answer.outcome
