"""After a promotion: the new champion first scores again what matters now; the monitor scores the rest later.

This is the newest days, the time of every open or snoozed case, and the time of cases closed lately, for the payback.
Old scores stay, because a score names its model. Older recordings are scored by the next runs of score, oldest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipeline.base.settings import Settings
from pipeline.cases.episodes import CLOSED
from pipeline.scoring.score import ScoreReport, plan_score, score_scope
from pipeline.store.batches import Stretch
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Case, Extraction


@dataclass(frozen=True)
class RescoreSelection:
    """What is scored again: all since `recent_from`; open cases, and closed ones that changed since `closed_from`."""

    recent_from: datetime
    closed_from: datetime

    @classmethod
    def at(cls, settings: Settings, as_of: datetime) -> RescoreSelection:
        """Return the selection of the settings at a time."""
        recent, closed = timedelta(days=settings.rescore_days), timedelta(days=settings.payback_days)
        return cls(as_of - recent, as_of - closed)

    def holds(self) -> sa.ColumnElement[bool]:
        """SQL: an extraction is selected."""
        in_case = sa.exists().where(
            Case.axis_id == Extraction.axis_id,
            Case.first_at <= Extraction.started_at,
            Case.last_at >= Extraction.started_at,
            sa.or_(Case.state != CLOSED, Case.changed_at >= self.closed_from),
        )
        return sa.or_(Extraction.started_at >= self.recent_from, in_case)


def plan_rescore(
    store: Store, settings: Settings, scope: str, version: str, *, as_of: datetime
) -> tuple[list[dict[str, Any]], int, int]:
    """Split what a new champion has to score first into batches; see `pipeline.store.batches`."""
    return plan_score(
        store,
        scope,
        version,
        as_of=as_of,
        only=RescoreSelection.at(settings, as_of).holds(),
        size=settings.score_batch_windows,
        most=settings.max_batches,
    )


def rescore(
    store: Store,
    lake: Lake,
    settings: Settings,
    scope: str,
    version: str,
    *,
    as_of: datetime,
    within: Stretch | None = None,
) -> ScoreReport:
    """Score what a new champion has to score first, in `within`; what it has scored already is left out."""
    report = ScoreReport()
    score_scope(
        store,
        lake,
        settings,
        scope,
        version,
        as_of=as_of,
        report=report,
        within=within,
        only=RescoreSelection.at(settings, as_of).holds(),
    )
    return report
