"""Decisions about retraining: the outcome of each, and the number of labels that none has used. Needs no torch."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.settings import TrainSettings
from pipeline.labels.labels import not_withdrawn
from pipeline.store.database import Store, insert_new
from pipeline.store.tables import Label, RetrainingDecision, TriggerDecision
from pipeline.training.scopes import scopes_with_labels

FAILED = "failed"
"""Outcome of a training that crashed: it has used no label."""

NO_SCOPE = ""
"""Scope of the decision that there is nothing to train on."""

CONCLUSION = "decision"
"""Name of the row of `trigger_decisions` that holds the conclusion from all triggers."""

SHOWN = ("scope", "outcome", "reason", "candidate", "champion", "figures", "n_labels")


def count_labels(store: Store, *, as_of: datetime) -> int:
    """Count the labels that were known at a time and not withdrawn by then."""
    with store.read() as connection:
        return count_labels_in(connection, as_of=as_of)


def count_labels_in(connection: Connection, *, as_of: datetime) -> int:
    """Count the labels that were known at a time and not withdrawn by then."""
    known = (Label.known_at <= as_of, not_withdrawn(as_of))
    return connection.scalar(sa.select(sa.func.count()).select_from(Label).where(*known)) or 0


def new_labels(store: Store, settings: TrainSettings, *, as_of: datetime) -> int:
    """Count the labels known at a time that no retraining and no watch has used; 0 while there is nothing to train on.

    A label that was withdrawn by then does not count, and a withdrawn label does not hide another one. A label that was
    imported late, with a time before the last retraining or watch, counts as new.
    """
    with store.read() as connection:
        seen = _last_look(connection)
        count = labels_since(connection, *seen, as_of=as_of)
        return count if count and scopes_with_labels(connection, settings, as_of=as_of) else 0


def labels_since(connection: Connection, last: datetime | None, n_labels: int, *, as_of: datetime) -> int:
    """Count labels known by `as_of` and not withdrawn by then that were not among the `n_labels` counted at `last`.

    `n_labels` is the number of labels known and not withdrawn at `last`. Labels and withdrawals are never deleted. So
    if today's database has more labels for that time, they were imported later. (A label that was imported late and has
    been withdrawn since counts too: one retraining too many is better than one too few.)
    """
    standing = count_labels_in(connection, as_of=as_of)
    if last is None:
        return standing
    newer = (Label.known_at > last, Label.known_at <= as_of, not_withdrawn(as_of))
    fresh = connection.scalar(sa.select(sa.func.count()).select_from(Label).where(*newer)) or 0
    late = max(0, count_labels_in(connection, as_of=last) - n_labels)
    return min(fresh + late, standing)


def _last_look(connection: Connection) -> tuple[datetime | None, int]:
    """Return the time of the newest retraining or scheduled watch, and how many labels were known then."""
    looks: list[tuple[datetime, int]] = []
    trained = sa.and_(RetrainingDecision.scope != NO_SCOPE, RetrainingDecision.outcome != FAILED)
    looked = sa.and_(TriggerDecision.trigger == CONCLUSION, TriggerDecision.by_schedule)
    for at, count, which in (
        (RetrainingDecision.decided_at, RetrainingDecision.n_labels, trained),
        (TriggerDecision.decided_at, TriggerDecision.n_labels, looked),
    ):
        row = connection.execute(sa.select(at, count).where(which).order_by(at.desc()).limit(1)).first()
        looks += [] if row is None else [(row[0], row[1])]
    return max(looks) if looks else (None, 0)


def standing_decision(store: Store, scope: str, *, as_of: datetime) -> dict[str, Any] | None:
    """Return the decision that was made for a scope at a time; None if there is none yet or the training crashed."""
    rows = decisions_at(store, as_of=as_of)
    return next((row for row in rows if row["scope"] == scope and row["outcome"] != FAILED), None)


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
    n_labels: int | None = None,
) -> dict[str, Any]:
    """Store a decision and return it. A decision that exists is kept, unless it records that a training crashed.

    Parameters
    ----------
    n_labels
        Labels known when the training began; None: those known at `as_of`. An answer that comes during the training is
        not counted, so it is new for the next retraining.
    """
    row = decision_row(
        count_labels(store, as_of=as_of) if n_labels is None else n_labels,
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


def decision_row(n_labels: int, scope: str, *, as_of: datetime, trigger: str, **details: Any) -> dict[str, Any]:
    """Return the row of a decision. `details`: outcome and reason, and figures, candidate and champion if known."""
    return {
        "scope": scope,
        "decided_at": as_of,
        "trigger": trigger,
        "n_labels": n_labels,
        "outcome": details["outcome"],
        "reason": details["reason"],
        "candidate": details.get("candidate"),
        "champion": details.get("champion"),
        "figures": details.get("figures") or {},
        "known_at": as_of,
    }


def write_decision(connection: Connection, row: dict[str, Any]) -> None:
    """Write a decision in a transaction of the caller. It replaces one of a crash; any other one is kept."""
    at = (RetrainingDecision.scope == row["scope"], RetrainingDecision.decided_at == row["decided_at"])
    connection.execute(sa.delete(RetrainingDecision).where(*at, RetrainingDecision.outcome == FAILED))
    insert_new(connection, RetrainingDecision, row)


def decisions_at(store: Store, *, as_of: datetime) -> list[dict[str, Any]]:
    """Return the decisions of the retraining of a time, by scope, as they stand now."""
    query = sa.select(RetrainingDecision).where(RetrainingDecision.decided_at == as_of)
    with store.read() as connection:
        rows = connection.execute(query.order_by(RetrainingDecision.scope)).all()
    return [{name: row._mapping[name] for name in SHOWN} for row in rows]


def list_decisions(store: Store, *, limit: int) -> list[dict[str, Any]]:
    """Return the newest decisions, newest first."""
    query = sa.select(RetrainingDecision).order_by(RetrainingDecision.decided_at.desc(), RetrainingDecision.scope)
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query.limit(limit))]
