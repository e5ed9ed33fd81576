"""Failures of scheduled tasks: written to the database and, where a webhook is set, told to it."""

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
    """One task that failed for good."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    message: str
    log_url: str
    known_at: datetime


def record_failure(store: Store, failure: Failure, *, webhook_url: str) -> str:
    """Store a failure, then tell the webhook; give what became of that. Done twice, it is stored once.

    Returns
    -------
    str
        '' without a webhook, `sent`, or why it could not be told.
    """
    row = asdict(failure) | {"message": failure.message[:LONGEST_MESSAGE], "webhook": ""}
    with store.write() as connection:
        upsert(connection, TaskFailure, [row])
    if not webhook_url:
        return ""
    row["webhook"] = _tell(webhook_url, row | {"known_at": utc_text(failure.known_at)})
    with store.write() as connection:
        upsert(connection, TaskFailure, [row])
    return str(row["webhook"])


def list_failures(store: Store, *, limit: int) -> list[dict[str, Any]]:
    """Give the newest failures."""
    query = sa.select(TaskFailure).order_by(TaskFailure.known_at.desc(), TaskFailure.task_id, TaskFailure.map_index)
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query.limit(limit))]


def _tell(url: str, row: Mapping[str, Any]) -> str:
    told = {"text": f"{row['dag_id']}.{row['task_id']} failed: {row['message'][:500]}", "failure": dict(row)}
    answer = post(url, json.dumps(told).encode(), {"Content-Type": "application/json"})
    return "sent" if answer.good else answer.outcome
