"""What the triggers need from the past: the champion at a time, earlier retrainings and reports of a change, and labels
that the champion has not learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.settings import TrainSettings, WatchSettings
from pipeline.labels.findings import Findings, why_left_out
from pipeline.labels.labels import KnownLabel, known_labels
from pipeline.labels.words import IS_FAULT, Evidence, evidence_weight
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
from pipeline.training.scopes import scopes_with_labels
from pipeline.watch.observed import CHANGES
from pipeline.watch.reported import Firing, Reported, reported
from pipeline.watch.triggers.due import NewLabel, News

ONE_RUN = timedelta(days=1)
"""A start and an outcome within this time after it are one retraining."""

REFUSED = "refused"
"""Outcome of a retraining that had nothing to train on."""

JUDGED = ("first", "promoted", "kept", "waiting", "unchanged")
"""Outcomes of retrainings that had a model to judge, and so may have set labels aside."""

SET_ASIDE = "set_aside"
"""Figure of a retraining: ids of the labels that its training left out because the models contradict them."""


@dataclass(frozen=True)
class Champion:
    """The champion of a scope at a time, with the classes, the programs and the number of units that it has learned."""

    version: str
    promoted_at: datetime
    label_cutoff: datetime
    classes: tuple[str, ...]
    programs: frozenset[str]
    units: int


def champion_at(connection: Connection, scope: str, *, as_of: datetime) -> Champion | None:
    """Return the champion of a scope at a time, from the history of its alias."""
    query = (
        sa.select(
            AliasEvent.model_version,
            AliasEvent.at,
            ModelVersion.label_cutoff,
            ModelVersion.settings,
            ModelVersion.n_units,
        )
        .join(ModelVersion, ModelVersion.model_version == AliasEvent.model_version)
        .where(AliasEvent.scope == scope, AliasEvent.alias == CHAMPION, AliasEvent.at <= as_of)
        .order_by(AliasEvent.sequence.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    return Champion(
        version=row.model_version,
        promoted_at=row.at,
        label_cutoff=row.label_cutoff,
        classes=tuple(row.settings.get("classes", ())),
        programs=frozenset(row.settings.get("programs", ())),
        units=row.n_units,
    )


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

    A training that crashed has cost its time, too. One that was refused, because there is nothing to train on, has cost
    none and does not count: else a plant would use up its budget before its labels name two classes. A run of watch by
    hand starts nothing.
    """
    query = sa.select(RetrainingDecision.decided_at, RetrainingDecision.outcome).where(
        RetrainingDecision.scope == scope, RetrainingDecision.decided_at < as_of
    )
    decided = {row.decided_at: row.outcome for row in connection.execute(query)}
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
    return sorted([at for at, outcome in decided.items() if outcome != REFUSED] + alone)


def reported_of(
    connection: Connection, settings: WatchSettings, scope: str, champion: Champion, *, as_of: datetime
) -> Reported:
    """Return what earlier looks at a scope have reported of its champion, from their stored decisions."""
    query = sa.select(TriggerDecision.trigger, TriggerDecision.decided_at, TriggerDecision.champion).where(
        TriggerDecision.scope == scope,
        TriggerDecision.trigger.in_(list(CHANGES)),
        TriggerDecision.fired,
        TriggerDecision.decided_at > champion.label_cutoff - timedelta(days=settings.drift_days),
        TriggerDecision.decided_at < as_of,
    )
    return reported(
        [Firing(*row) for row in connection.execute(query)],
        champion=champion.version,
        label_cutoff=champion.label_cutoff,
        promoted_at=champion.promoted_at,
        last_attempt=_last_attempt(connection, scope, champion, as_of).at,
        days=settings.drift_days,
    )


@dataclass(frozen=True)
class _Look:
    """When labels were used (None: never), how many were known then (None: not counted), and which were set aside."""

    at: datetime | None = None
    n_labels: int | None = None
    aside: frozenset[str] = frozenset()


def news_of(
    connection: Connection, settings: TrainSettings, scope: str, champion: Champion | None, *, as_of: datetime
) -> News:
    """Return what the champion of a scope has not learned, of the labels that hold for recordings of the scope.

    A label that the newest retraining set aside is not new until a further label says the same of its unit.
    """
    attempt = _last_attempt(connection, scope, champion, as_of)
    learned = _Look() if champion is None else _training_of(connection, scope, champion)
    newest = _newest_judged(connection, scope, as_of)
    known = known_labels(connection, known_by=as_of)
    findings = Findings(known, settings.evidence_weights)
    new: list[NewLabel] = []
    aside: list[NewLabel] = []
    confirmed: set[tuple[str, str | None]] = set()
    for label in known:
        if _is_known_to(learned, label) and label.label_id not in learned.aside:
            continue
        unit = _unit_in_scope(connection, scope, label)
        if unit is None:
            continue
        finding = findings.finding_of(label)
        target, why = (None, why_left_out(label)) if finding is None else (finding.target, str(label.verdict))
        if label.label_id in newest.aside:
            aside.append(NewLabel(unit, target, why))
            continue
        new.append(NewLabel(unit, target, why, tried=_is_known_to(attempt, label)))
        if not _is_known_to(newest, label):
            confirmed.add((unit, target))
    new += [label for label in aside if (label.unit, label.target) in confirmed]
    late_since = _late(connection, attempt, known, as_of)
    return News(
        new,
        withdrawn=_withdrawn(connection, settings, scope, learned, as_of),
        late=late_since if learned.n_labels is None else _late(connection, learned, known, as_of),
        withdrawn_since=_withdrawn(connection, settings, scope, attempt, as_of),
        late_since=late_since,
        set_aside=sum((label.unit, label.target) not in confirmed for label in aside),
        learned_units=0 if champion is None else champion.units,
    )


def _is_known_to(look: _Look, label: KnownLabel) -> bool:
    return look.at is not None and label.known_at <= look.at


def _late(connection: Connection, look: _Look, known: list[KnownLabel], as_of: datetime) -> int:
    """Count labels that were recorded after a look with a time before it; 0 where the look counted none."""
    if look.at is None or look.n_labels is None:
        return 0
    fresh = sum(not _is_known_to(look, label) for label in known)
    return max(0, labels_since(connection, look.at, look.n_labels, as_of=as_of) - fresh)


def _withdrawn(connection: Connection, settings: TrainSettings, scope: str, look: _Look, as_of: datetime) -> int:
    """Count labels that trained a class at a look and were withdrawn since."""
    if look.at is None:
        return 0
    weights = settings.evidence_weights
    query = (
        sa.select(Label)
        .join(LabelWithdrawal, Label.label_id == LabelWithdrawal.label_id)
        .where(
            Label.known_at <= look.at,
            LabelWithdrawal.known_at > look.at,
            LabelWithdrawal.known_at <= as_of,
            Label.verdict.in_(list(IS_FAULT)),
            Label.evidence.in_([evidence for evidence in Evidence if evidence_weight(weights, evidence) > 0]),
        )
    )
    rows = connection.execute(query).all()
    return sum(row.label_id not in look.aside and _unit_in_scope(connection, scope, row) is not None for row in rows)


def _training_of(connection: Connection, scope: str, champion: Champion) -> _Look:
    """Return the look at which the champion was trained; one that was trained by hand has counted no labels."""
    query = sa.select(RetrainingDecision).where(
        RetrainingDecision.scope == scope,
        RetrainingDecision.candidate == champion.version,
        RetrainingDecision.decided_at == champion.label_cutoff,
    )
    row = connection.execute(query).first()
    return _Look(champion.label_cutoff) if row is None else _look(row)


def _newest_judged(connection: Connection, scope: str, as_of: datetime) -> _Look:
    """Return the newest retraining that had a model to judge, and so may have set labels aside."""
    query = sa.select(RetrainingDecision).where(
        RetrainingDecision.scope == scope,
        RetrainingDecision.decided_at < as_of,
        RetrainingDecision.outcome.in_(JUDGED),
    )
    row = connection.execute(query.order_by(RetrainingDecision.decided_at.desc()).limit(1)).first()
    return _Look() if row is None else _look(row)


def _look(row: Any) -> _Look:
    return _Look(row.decided_at, row.n_labels, frozenset(row.figures.get(SET_ASIDE, ())))


def _last_attempt(connection: Connection, scope: str, champion: Champion | None, as_of: datetime) -> _Look:
    """Return the last retraining, whatever came of it, or the champion's training; a crash has used no label.

    A retraining that was started less than a day ago and has no outcome yet has used its labels.
    """
    decided = sa.select(RetrainingDecision).where(
        RetrainingDecision.scope == scope, RetrainingDecision.decided_at < as_of, RetrainingDecision.outcome != FAILED
    )
    started = sa.select(TriggerDecision).where(
        TriggerDecision.scope == scope,
        TriggerDecision.trigger == CONCLUSION,
        TriggerDecision.fired,
        TriggerDecision.by_schedule,
        TriggerDecision.decided_at > as_of - ONE_RUN,
        TriggerDecision.decided_at < as_of,
    )
    looks = [] if champion is None else [_Look(champion.label_cutoff)]
    for query, at in ((decided, RetrainingDecision.decided_at), (started, TriggerDecision.decided_at)):
        row = connection.execute(query.order_by(at.desc()).limit(1)).first()
        looks += [] if row is None else [_look(row)]
    # Where a retraining and its own cut-off have the same time, take the one that counted labels.
    return max(looks, key=lambda look: (look.at, look.n_labels is not None), default=_Look())


def _unit_in_scope(connection: Connection, scope: str, label: Any) -> str | None:
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
