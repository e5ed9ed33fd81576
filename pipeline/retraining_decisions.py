"""Decisions of retraining: what each came to, and how many labels none of them has seen. Needs no torch."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.config import Settings
from pipeline.labels import not_withdrawn
from pipeline.schema import Label
from pipeline.schema_operations import RetrainingDecision
from pipeline.schema_review import LabelWithdrawal
from pipeline.store import Store, insert_new
from pipeline.training_set import scopes_with_labels

NO_SCOPE = ""
"""Scope of the decision that there was nothing to train on."""

SHOWN = ("scope", "outcome", "reason", "candidate", "champion", "figures", "n_labels")


def count_labels(store: Store, *, as_of: datetime) -> int:
    """Count the labels that were known at a time and not taken back by then."""
    query = sa.select(sa.func.count()).select_from(Label).where(Label.known_at <= as_of, not_withdrawn(as_of))
    with store.read() as connection:
        return connection.scalar(query) or 0


def new_labels(store: Store, settings: Settings, *, as_of: datetime) -> int:
    """Count the labels known at a time that no retraining has seen yet; 0 as long as there is nothing to train on.

    A label that was taken back before any retraining saw it is none. One that was seen and taken back since is no new
    one, and does not hide one either. (One that came too late for a run and is taken back after it counts: a retraining
    too many rather than one too few.)
    """
    newest = sa.select(RetrainingDecision.n_labels, RetrainingDecision.decided_at)
    newest = newest.where(RetrainingDecision.scope != NO_SCOPE).order_by(RetrainingDecision.decided_at.desc()).limit(1)
    with store.read() as connection:
        last = connection.execute(newest).one_or_none()
        standing = sa.select(sa.func.count()).select_from(Label).where(Label.known_at <= as_of, not_withdrawn(as_of))
        new = connection.scalar(standing) or 0
        if last is not None:
            gone = (
                sa.select(sa.func.count())
                .select_from(Label)
                .join(LabelWithdrawal, LabelWithdrawal.label_id == Label.label_id)
                .where(
                    Label.known_at <= last.decided_at,
                    LabelWithdrawal.known_at > last.decided_at,
                    LabelWithdrawal.known_at <= as_of,
                )
            )
            new += (connection.scalar(gone) or 0) - last.n_labels
        if new <= 0:
            return 0
        return new if scopes_with_labels(connection, settings, as_of=as_of) else 0


def standing_decision(store: Store, scope: str, *, as_of: datetime) -> dict[str, Any] | None:
    """Give the decision that was made for a scope at a time, None where there is none yet."""
    at = (RetrainingDecision.scope == scope, RetrainingDecision.decided_at == as_of)
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
    n_labels: int | None = None,
) -> dict[str, Any]:
    """Write a decision down and give it; one that stands already stays.

    Parameters
    ----------
    n_labels
        Labels that the training set was built from; those known at `as_of`, where none was built. An answer that
        comes while the model is trained is not among them, and so is new to the next count.
    """
    row = {
        "scope": scope,
        "decided_at": as_of,
        "trigger": trigger,
        "n_labels": count_labels(store, as_of=as_of) if n_labels is None else n_labels,
        "outcome": outcome,
        "reason": reason,
        "candidate": candidate,
        "champion": champion,
        "figures": figures or {},
        "known_at": as_of,
    }
    with store.write() as connection:
        insert_new(connection, RetrainingDecision, row)
    return {name: row[name] for name in SHOWN}


def list_decisions(store: Store, *, limit: int) -> list[dict[str, Any]]:
    """Give the newest decisions."""
    query = sa.select(RetrainingDecision).order_by(RetrainingDecision.decided_at.desc(), RetrainingDecision.scope)
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query.limit(limit))]
