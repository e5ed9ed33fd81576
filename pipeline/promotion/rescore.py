"""After a promotion: the new champion scores again what matters now.

This is the newest days, the time of every open or snoozed case, and the time of cases closed lately, for the payback.
Old scores stay, because a score names its model. Older recordings are scored again on request (the backfill).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pipeline.base.settings import Settings
from pipeline.scoring.score import ScoreReport, plan_score, score_scope
from pipeline.scoring.selection import RescoreSelection
from pipeline.store.batches import Stretch
from pipeline.store.database import Store
from pipeline.store.lake import Lake


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
        search=True,
        only=RescoreSelection.at(settings, as_of).holds(),
    )
    return report
