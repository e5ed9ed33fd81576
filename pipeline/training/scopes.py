"""Which model scopes have anything to train on. Asked on every run of the monitor, so it reads no history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.log_schema import SCOPES
from pipeline.base.settings import TrainSettings
from pipeline.extraction.in_force import feature_version_of
from pipeline.labels.findings import Findings, answered
from pipeline.labels.labels import KnownLabel, known_labels
from pipeline.store.attribution import attributed_extraction, attributed_unit, extractions
from pipeline.store.tables import Extraction


def scopes_with_labels(connection: Connection, settings: TrainSettings, *, as_of: datetime) -> list[str]:
    """Return the model scopes in which a label known by `as_of` matches a recording.

    Only recordings that labels may be about are read, those of the newest label first, up to the first match.
    """
    labels = answered(known_labels(connection, known_by=as_of)).standing
    findings = Findings(labels, settings.evidence_weights)
    newest = sorted(labels, key=lambda label: (label.known_at, label.label_id), reverse=True)

    def matches(row: Any) -> bool:
        label = findings.label_of(row)
        return label is not None and findings.finding_of(label) is not None

    return [
        scope
        for scope in sorted(SCOPES)
        if _has_features(connection, settings, scope)
        and any(matches(row) for label in newest for row in _recordings_of(connection, settings, scope, label))
    ]


def _has_features(connection: Connection, settings: TrainSettings, scope: str) -> bool:
    mine = (Extraction.scope == scope, Extraction.feature_version == feature_version_of(settings, scope))
    return connection.scalar(sa.select(sa.func.min(Extraction.started_at)).where(*mine)) is not None  # by the index


def _recordings_of(connection: Connection, settings: TrainSettings, scope: str, label: KnownLabel) -> Iterator[Any]:
    """Read the recordings that have windows, and that a label is about if no other label is."""
    version = feature_version_of(settings, scope)
    span = (label.from_at, label.to_at)
    query = extractions(*attributed_extraction(), scope=scope, feature_version=version, span=span)
    query = query.where(Extraction.n_windows > 0)
    if label.axis_id is not None:
        query = query.where(Extraction.axis_id == label.axis_id)
    if label.unit_serial is not None:
        query = query.where(attributed_unit() == label.unit_serial)
    if label.channel is not None:
        query = query.where(Extraction.channel == label.channel)
    with connection.execute(query, execution_options={"yield_per": 100}) as rows:
        yield from rows
