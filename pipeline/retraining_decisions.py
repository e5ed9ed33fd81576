"""Decisions of retraining: what each came to, and how many labels none of them has seen. Needs no torch."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.config import Settings
from pipeline.schema import Label
from pipeline.schema_operations import RetrainingDecision
from pipeline.store import Store, insert_new
from pipeline.training_set import scopes_with_labels

FAILED = "failed"
"""Outcome of a training that crashed: the next try replaces it."""

NO_SCOPE = ""
"""Scope of the decision that there was nothing to train on."""

SHOWN = ("scope", "outcome", "reason", "candidate", "champion", "figures", "n_labels")


def count_labels(store: Store, *, as_of: datetime) -> int:
    """Count the labels known at a time."""
    with store.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(Label).where(Label.known_at <= as_of)) or 0


def new_labels(store: Store, settings: Settings, *, as_of: datetime) -> int:
    """Count the labels known at a time that no retraining has seen yet; 0 as long as there is nothing to train on."""
    newest = sa.select(RetrainingDecision.n_labels).where(
        RetrainingDecision.scope != NO_SCOPE, RetrainingDecision.outcome != FAILED
    )
    with store.read() as connection:
        seen = connection.scalar(newest.order_by(RetrainingDecision.decided_at.desc()).limit(1)) or 0
    new = count_labels(store, as_of=as_of) - seen
    if new <= 0:
        return 0
    with store.read() as connection:
        return new if scopes_with_labels(connection, settings, as_of=as_of) else 0


def standing_decision(store: Store, scope: str, *, as_of: datetime) -> dict[str, Any] | None:
    """Give the decision that was made for a scope at a time, None where there is none yet or a training crashed."""
    at = (
        RetrainingDecision.scope == scope,
        RetrainingDecision.decided_at == as_of,
        RetrainingDecision.outcome != FAILED,
    )
    with store.read() as connection:
        row = connection.execute(sa.select(RetrainingDecision).where(*at)).one_or_none()
    return None if row is None else {name: row._mapping[name] for name in SHOWN}


def decide(
    store: Store,
    scope: str,
    *,
    as_of: datetime,
    trigger: str,
    outcome: str,
    reason: str,
    figures: dict[str, Any] | None = None,
    candidate: str | None = None,
    champion: str | None = None,
) -> dict[str, Any]:
    """Write a decision down and give it; one that stands already stays, unless it is that a training crashed."""
    row = decision_row(
        count_labels(store, as_of=as_of),
        scope,
        as_of=as_of,
        trigger=trigger,
        outcome=outcome,
        reason=reason,
        figures=figures,
        candidate=candidate,
        champion=champion,
    )
    with store.write() as connection:
        write_decision(connection, row)
    return {name: row[name] for name in SHOWN}


def decision_row(n_labels: int, scope: str, *, as_of: datetime, trigger: str, **told: Any) -> dict[str, Any]:
    """Give the row of a decision; `told` are outcome and reason, and figures, candidate and champion where known."""
    return {
        "scope": scope,
        "decided_at": as_of,
        "trigger": trigger,
        "n_labels": n_labels,
        "outcome": told["outcome"],
        "reason": told["reason"],
        "candidate": told.get("candidate"),
        "champion": told.get("champion"),
        "figures": told.get("figures") or {},
        "known_at": as_of,
    }


def write_decision(connection: Connection, row: dict[str, Any]) -> None:
    """Write a decision within a transaction of the caller: one that crashed gives way, any other one stays."""
    at = (RetrainingDecision.scope == row["scope"], RetrainingDecision.decided_at == row["decided_at"])
    connection.execute(sa.delete(RetrainingDecision).where(*at, RetrainingDecision.outcome == FAILED))
    insert_new(connection, RetrainingDecision, row)


def list_decisions(store: Store, *, limit: int) -> list[dict[str, Any]]:
    """Give the newest decisions."""
    query = sa.select(RetrainingDecision).order_by(RetrainingDecision.decided_at.desc(), RetrainingDecision.scope)
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query.limit(limit))]
