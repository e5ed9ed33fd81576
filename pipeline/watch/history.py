"""What the triggers need from the past: the champion at a time, earlier retrainings, and labels that none has seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.settings import TrainSettings
from pipeline.labels.findings import target_of
from pipeline.labels.labels import KnownLabel, known_labels
from pipeline.promotion.decisions import CONCLUSION, FAILED, labels_since
from pipeline.registry.versions import CHAMPION
from pipeline.store.attribution import attributed_unit, extractions, unit_name
from pipeline.store.tables import (
    AliasEvent,
    Extraction,
    Label,
    LabelWithdrawal,
    ModelVersion,
    Recording,
    RetrainingDecision,
    TriggerDecision,
)
from pipeline.training.training_set import scopes_with_labels
from pipeline.watch.observed import News
from pipeline.watch.triggers.due import NewLabel

ONE_RUN = timedelta(days=1)
"""A start and an outcome within this time after it are one retraining."""


@dataclass(frozen=True)
class Champion:
    """The champion of a scope at a time."""

    version: str
    promoted_at: datetime
    label_cutoff: datetime
    classes: tuple[str, ...]


def champion_at(connection: Connection, scope: str, *, as_of: datetime) -> Champion | None:
    """Return the champion of a scope at a time, from the history of its alias."""
    query = (
        sa.select(AliasEvent.model_version, AliasEvent.at, ModelVersion.label_cutoff, ModelVersion.settings)
        .join(ModelVersion, ModelVersion.model_version == AliasEvent.model_version)
        .where(AliasEvent.scope == scope, AliasEvent.alias == CHAMPION, AliasEvent.at <= as_of)
        .order_by(AliasEvent.sequence.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    return Champion(row.model_version, row.at, row.label_cutoff, tuple(row.settings.get("classes", ())))


def watched_scopes(connection: Connection, settings: TrainSettings, *, as_of: datetime) -> list[str]:
    """Return the scopes that have a champion, and those with labels that could train one."""
    query = sa.select(AliasEvent.scope).where(AliasEvent.alias == CHAMPION, AliasEvent.at <= as_of).distinct()
    known = set(connection.scalars(query))
    there = set(connection.scalars(sa.select(Extraction.scope).distinct()))
    if there - known:
        known |= set(scopes_with_labels(connection, settings, as_of=as_of))
    return sorted(known)


def retrainings(connection: Connection, scope: str, *, as_of: datetime) -> list[datetime]:
    """Return the times of the retrainings of a scope before a time, oldest first.

    A start counts whatever its outcome: a training that crashed has cost its time, too. A run of watch by hand starts
    nothing.
    """
    decided = list(
        connection.scalars(
            sa.select(RetrainingDecision.decided_at).where(
                RetrainingDecision.scope == scope, RetrainingDecision.decided_at < as_of
            )
        )
    )
    started = connection.scalars(
        sa.select(TriggerDecision.decided_at).where(
            TriggerDecision.scope == scope,
            TriggerDecision.trigger == CONCLUSION,
            TriggerDecision.fired,
            TriggerDecision.by_schedule,
            TriggerDecision.decided_at < as_of,
        )
    )
    alone = [at for at in started if not any(at <= other < at + ONE_RUN for other in decided)]
    return sorted(decided + alone)


def news_of(connection: Connection, scope: str, champion: Champion | None, *, as_of: datetime) -> News:
    """Return the labels that hold for recordings of a scope and that no retraining of it has seen."""
    last, n_labels = _last_training(connection, scope, champion, as_of)
    known = known_labels(connection, known_by=as_of)
    fresh = known if last is None else [label for label in known if label.known_at > last]
    new = [
        NewLabel(unit, target_of(label), str(label.verdict))
        for label in fresh
        if (unit := _unit_in_scope(connection, scope, label)) is not None
    ]
    if last is None:
        return News(new)
    withdrawn = connection.scalar(
        sa.select(sa.func.count())
        .select_from(LabelWithdrawal)
        .join(Label, Label.label_id == LabelWithdrawal.label_id)
        .where(Label.known_at <= last, LabelWithdrawal.known_at > last, LabelWithdrawal.known_at <= as_of)
    )
    late = 0 if n_labels is None else max(0, labels_since(connection, last, n_labels, as_of=as_of) - len(fresh))
    return News(new, withdrawn or 0, late)


def _last_training(
    connection: Connection, scope: str, champion: Champion | None, as_of: datetime
) -> tuple[datetime | None, int | None]:
    """Return the time up to which labels were seen, and how many were known then (None where they were not counted).

    A retraining that was started less than a day ago and has no outcome yet has seen its labels.
    """
    decided = sa.select(RetrainingDecision.decided_at, RetrainingDecision.n_labels).where(
        RetrainingDecision.scope == scope, RetrainingDecision.decided_at < as_of, RetrainingDecision.outcome != FAILED
    )
    started = sa.select(TriggerDecision.decided_at, TriggerDecision.n_labels).where(
        TriggerDecision.scope == scope,
        TriggerDecision.trigger == CONCLUSION,
        TriggerDecision.fired,
        TriggerDecision.by_schedule,
        TriggerDecision.decided_at > as_of - ONE_RUN,
        TriggerDecision.decided_at < as_of,
    )
    looks: list[tuple[datetime, int | None]] = [] if champion is None else [(champion.label_cutoff, None)]
    for query, at in ((decided, RetrainingDecision.decided_at), (started, TriggerDecision.decided_at)):
        row = connection.execute(query.order_by(at.desc()).limit(1)).first()
        looks += [] if row is None else [(row[0], row[1])]
    # Where a retraining and its own cut-off have the same time, take the one that counted labels.
    return max(looks, key=lambda look: (look[0], look[1] is not None), default=(None, None))


def _unit_in_scope(connection: Connection, scope: str, label: KnownLabel) -> str | None:
    """Return the unit of a label if the label covers a recording of the scope with features, else None."""
    unit = attributed_unit()
    query = (
        extractions(
            unit.label("unit"),
            Recording.axis_id,
            scope=scope,
            span=(label.from_at, label.to_at),
            any_geometry=True,
        )
        .where(
            *([Extraction.axis_id == label.axis_id] if label.axis_id is not None else []),
            *([unit == label.unit_serial] if label.unit_serial is not None else []),
            *([Extraction.channel == label.channel] if label.channel is not None else []),
        )
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else unit_name(row.unit, row.axis_id)
