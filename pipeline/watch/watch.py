"""watch: whether a retraining is due, and why or why not, scope by scope.

Every trigger and every guard is evaluated from what was known at `as_of` (see `pipeline.watch.observed`). Each decision
is stored with all its figures, fired or not, and does not change later: a second run at the same `as_of` returns the
same rows. What earlier looks have reported is read from those rows, so that a change is reported once. Nothing is
trained here: the DAG axiswatch_watch starts axiswatch_retrain for the scopes whose `decision` fired.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.settings import WatchSettings
from pipeline.extraction.in_force import feature_names_of
from pipeline.promotion.decisions import CONCLUSION, count_labels_in
from pipeline.store.database import Store, insert_new
from pipeline.store.horizon import kept_from, refuse_pruned_model
from pipeline.store.lake import Lake
from pipeline.store.tables import TriggerDecision
from pipeline.watch.answers import confirmed, flagged_rates, reviewed_cases
from pipeline.watch.history import Champion, champion_at, news_of, reported_of, retrainings, watched_scopes
from pipeline.watch.observed import FleetChange, Observed, TimeSpan, decide, spans_of
from pipeline.watch.periods import (
    NO_AXIS,
    faulty_units,
    feature_sample,
    known_causes,
    programs_run,
    sample,
    score_sample,
)
from pipeline.watch.triggers.decision import Decision
from pipeline.watch.triggers.drift import DriftSample

DAY = timedelta(days=1)
NO_BACKFILL = "a backfill starts no retraining"
SHOWN = ("scope", "trigger", "fired", "reason", "champion", "decided_at", "figures")


def watch(
    store: Store,
    lake: Lake,
    settings: WatchSettings,
    *,
    as_of: datetime,
    by_schedule: bool = False,
    backfill: bool = False,
) -> list[dict[str, Any]]:
    """Evaluate the triggers of every scope at a time, store their decisions, and return the rows.

    Parameters
    ----------
    by_schedule
        This is a run of the schedule, which starts what is decided: its starts count for cooldown and budget, and its
        labels count as seen. A run by hand does neither.
    backfill
        This run fills in a past time: all is evaluated and stored, and no retraining is started.

    Returns
    -------
    list of dict
        For each scope its triggers, its guards and last its `decision`: rows of `trigger_decisions`.
    """
    with store.read() as connection:
        scopes = watched_scopes(connection, settings, as_of=as_of)
    rows = []
    for scope in scopes:
        with store.read() as connection:
            standing = _standing(connection, scope, as_of)
            if not standing:
                champion, decisions = _evaluate(connection, lake, settings, scope, as_of=as_of, backfill=backfill)
                n_labels = count_labels_in(connection, as_of=as_of)
        if not standing:
            common = {
                "champion": None if champion is None else champion.version,
                "n_labels": n_labels,
                "by_schedule": by_schedule and not backfill,
            }
            standing = _keep(store, scope, decisions, common, as_of=as_of)
        elif by_schedule and not backfill:
            _mark(store, scope, as_of=as_of)
        rows += standing
    return rows


def scopes_to_start(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return the scopes that a retraining is started for, each with the triggers that fired."""
    return {
        row["scope"]: ", ".join(row["figures"]["triggers"])
        for row in rows
        if row["trigger"] == CONCLUSION and row["fired"]
    }


def list_trigger_decisions(store: Store, *, limit: int) -> list[dict[str, Any]]:
    """Return the newest `decision` rows."""
    query = sa.select(TriggerDecision).where(TriggerDecision.trigger == CONCLUSION)
    query = query.order_by(TriggerDecision.decided_at.desc(), TriggerDecision.scope).limit(limit)
    with store.read() as connection:
        return [_shown(row) for row in connection.execute(query)]


def _evaluate(
    connection: Connection, lake: Lake, settings: WatchSettings, scope: str, *, as_of: datetime, backfill: bool
) -> tuple[Champion | None, list[Decision]]:
    champion = champion_at(connection, scope, as_of=as_of)
    if champion is not None:
        refuse_pruned_model(connection, champion.version, as_of)
    observed = Observed(
        news=news_of(connection, settings, scope, champion, as_of=as_of),
        known_classes=None if champion is None else champion.classes,
        cutoff_days_ago=None if champion is None else (as_of - champion.label_cutoff) / DAY,
        retrained_days_ago=[(as_of - at) / DAY for at in retrainings(connection, scope, as_of=as_of)],
        change=None if champion is None else _change(connection, lake, settings, scope, champion, as_of=as_of),
        refused=NO_BACKFILL if backfill else "",
    )
    return champion, decide(observed, settings)


def _change(
    connection: Connection, lake: Lake, settings: WatchSettings, scope: str, champion: Champion, *, as_of: datetime
) -> FleetChange:
    """Gather what may have changed since the champion was trained; valid while the connection is open."""
    earlier = reported_of(connection, settings, scope, champion, as_of=as_of)
    spans = spans_of(
        label_cutoff=champion.label_cutoff,
        promoted_at=champion.promoted_at,
        as_of=as_of,
        days=settings.drift_days,
        changed_at=earlier.changed_at,
        kept_from=kept_from(connection),
    )
    since = spans.counted_from
    names = feature_names_of(settings, scope)
    causes = known_causes(connection, scope, spans.usual, spans.now, as_of=as_of)
    faulty = faulty_units(connection, spans.now, as_of=as_of)
    by_axis = {cause.axis_id: cause.text for cause in causes if cause.axis_id != NO_AXIS}

    def features(span: TimeSpan) -> DriftSample:
        rows = list(connection.execute(sample(settings, scope, span)))
        return feature_sample(lake, settings, rows, names)

    def scores(span: TimeSpan) -> DriftSample:
        return score_sample(connection, settings, scope, champion.version, span)

    return FleetChange(
        spans=spans,
        feature_names=names,
        features=lambda: (features(spans.usual), features(spans.now)),
        programs=lambda: (
            programs_run(connection, scope, spans.usual),
            programs_run(connection, scope, spans.now),
        ),
        scores=lambda: (scores(spans.first), scores(spans.now)),
        reviewed=lambda: reviewed_cases(connection, champion, since=since, as_of=as_of),
        confirmed=lambda: confirmed(connection, champion, since=since, as_of=as_of),
        rates=cache(lambda: flagged_rates(connection, champion.version, spans.first, spans.now, left_out=by_axis)),
        unit_causes={cause.unit: cause.text for cause in (*faulty, *causes)},
        axis_causes={f"axis {axis}": text for axis, text in by_axis.items()},
        known_programs=champion.programs,
        waiting=earlier.waiting,
    )


def _standing(connection: Connection, scope: str, as_of: datetime) -> list[dict[str, Any]]:
    at = (TriggerDecision.scope == scope, TriggerDecision.decided_at == as_of)
    query = sa.select(TriggerDecision).where(*at).order_by(TriggerDecision.position)
    return [_shown(row) for row in connection.execute(query)]


def _shown(row: Any) -> dict[str, Any]:
    return {name: row._mapping[name] for name in SHOWN}


def _mark(store: Store, scope: str, *, as_of: datetime) -> None:
    """Mark rows that a run by hand stored as used by a run of the schedule."""
    at = (TriggerDecision.scope == scope, TriggerDecision.decided_at == as_of)
    with store.write() as connection:
        connection.execute(sa.update(TriggerDecision).where(*at).values(by_schedule=True))


def _keep(
    store: Store, scope: str, decisions: list[Decision], common: dict[str, Any], *, as_of: datetime
) -> list[dict[str, Any]]:
    """Store all decisions or none; where another run was first, its rows are kept and returned."""
    with store.write() as connection:
        for position, decision in enumerate(reversed(decisions)):
            row = {
                "scope": scope,
                "trigger": decision.trigger,
                "decided_at": as_of,
                "position": len(decisions) - position,
                "fired": decision.fired,
                "reason": decision.reason,
                "figures": decision.figures,
                "known_at": as_of,
                **common,
            }
            # The decision goes in first: a second run at once waits for it, finds it there and leaves all else alone.
            if not insert_new(connection, TriggerDecision, row) and position == 0:
                break
    with store.read() as connection:
        return _standing(connection, scope, as_of)
