"""Failures of scheduled tasks: stored in the database and, where a webhook is set, sent to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError
from pipeline.base.ids import utc_text
from pipeline.handoff.http import post
from pipeline.store.database import Store, upsert
from pipeline.store.tables import TaskFailure

LONGEST_MESSAGE = 4000
TOLD: Final = "sent with another task of the run"


@dataclass(frozen=True)
class Failure:
    """A task that failed and will not be tried again, or with the task '' a run that ended badly."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    message: str
    log_url: str
    known_at: datetime


def report_failure(failure: Failure, *, database: str, webhook_url: str) -> str:
    """Open the database of this URL and store a failure in it, see `record_failure`. It needs no lake.

    Raises
    ------
    AxiswatchError
        The database cannot be opened. The failure was sent to the webhook all the same.
    """
    try:
        store = Store.open(database)
    except AxiswatchError:
        if webhook_url:
            _send(webhook_url, _row(failure))
        raise
    try:
        return record_failure(store, failure, webhook_url=webhook_url)
    finally:
        store.dispose()


def record_failure(store: Store, failure: Failure, *, webhook_url: str) -> str:
    """Store a failure, then send it to the webhook. Called twice, it is stored once.

    A run is left out where it, or one of its tasks, is stored already. Where tasks of a run fail for the same reason,
    one of them is sent.

    Returns
    -------
    str
        '' without a webhook and for what is left out, `sent`, or why it was not delivered.
    """
    if not failure.task_id and _is_recorded(store, failure.dag_id, failure.run_id):
        return ""
    row = _row(failure)
    with store.write() as connection:
        upsert(connection, TaskFailure, [row])
    if not webhook_url:
        return ""
    if _is_told(store, failure, row["message"]):
        row["webhook"] = TOLD
    else:
        row["webhook"] = _send(webhook_url, row)
    with store.write() as connection:
        upsert(connection, TaskFailure, [row])
    return str(row["webhook"])


def list_failures(store: Store, *, limit: int) -> list[dict[str, Any]]:
    """Return the newest `limit` failures as rows, newest first."""
    query = sa.select(TaskFailure).order_by(TaskFailure.known_at.desc(), TaskFailure.task_id, TaskFailure.map_index)
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query.limit(limit))]


def _is_recorded(store: Store, dag_id: str, run_id: str) -> bool:
    """Return whether a failure of a run, or of a task of it, was stored."""
    mine = sa.select(TaskFailure.task_id).where(TaskFailure.dag_id == dag_id, TaskFailure.run_id == run_id)
    with store.read() as connection:
        return connection.execute(mine.limit(1)).first() is not None


def _is_told(store: Store, failure: Failure, message: str) -> bool:
    """Return whether the same was sent of another task of the run, or of another part of a mapped one."""
    run = (TaskFailure.dag_id == failure.dag_id, TaskFailure.run_id == failure.run_id)
    other = sa.or_(TaskFailure.task_id != failure.task_id, TaskFailure.map_index != failure.map_index)
    same = sa.select(TaskFailure.task_id).where(
        *run, other, TaskFailure.message == message, TaskFailure.webhook == "sent"
    )
    with store.read() as connection:
        return connection.execute(same.limit(1)).first() is not None


def _row(failure: Failure) -> dict[str, Any]:
    return asdict(failure) | {"message": failure.message[:LONGEST_MESSAGE], "webhook": ""}


def _send(url: str, row: dict[str, Any]) -> str:
    name = ".".join(word for word in (row["dag_id"], row["task_id"]) if word)
    message = {
        "text": f"{name} failed: {row['message'][:500]}",
        "failure": row | {"known_at": utc_text(row["known_at"])},
    }
    answer = post(url, json.dumps(message).encode(), {"Content-Type": "application/json"})
    return "sent" if answer.good else answer.outcome
