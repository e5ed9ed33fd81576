"""watch: whether a retraining is due, and why or why not, scope by scope.

Every trigger and every guard is evaluated from what was known at `as_of`, and what each says is stored with all its
figures, fired or not. What is stored for a time stands: a second run at the same `as_of` gives the same rows. Nothing
is trained here; the DAG axiswatch_watch starts axiswatch_retrain for the scopes whose `decision` fired.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.settings import Settings
from pipeline.extraction.in_force import feature_names_of
from pipeline.promotion.decisions import CONCLUSION, count_labels_in
from pipeline.store.database import Store, insert_new
from pipeline.store.lake import Lake
from pipeline.store.tables import TriggerDecision
from pipeline.watch.answers import confirmed, flagged_rates, reviewed_cases
from pipeline.watch.history import Champion, News, champion_at, news_of, retrainings, watched_scopes
from pipeline.watch.periods import (
    SCORE_NAMES,
    DriftCause,
    Span,
    feature_period,
    found_faulty,
    known_causes,
    sample,
    score_period,
)
from pipeline.watch.triggers import (
    Decision,
    budget,
    calibration,
    conclude,
    cooldown,
    drift,
    new_labels,
    performance,
    rate_rise,
    schedule,
)

DAY = timedelta(days=1)
NO_BACKFILL = "a backfill starts no retraining"
SHOWN = ("scope", "trigger", "fired", "reason", "champion", "decided_at", "figures")


def watch(
    store: Store,
    lake: Lake,
    settings: Settings,
    *,
    as_of: datetime,
    by_schedule: bool = False,
    backfill: bool = False,
) -> list[dict[str, Any]]:
    """Evaluate the triggers of every scope at a time, store what they say, and give the rows.

    Parameters
    ----------
    by_schedule
        This is a run of the schedule, which starts what is decided: its starts count for cooldown and budget, and it
        has seen the labels. A look by hand does neither.
    backfill
        This run fills in a time long past: all is evaluated and stored, and nothing asks for a retraining.

    Returns
    -------
    list of dict
        For each scope its triggers, its guards and last its `decision`: rows of `trigger_decisions`.
    """
    with store.read() as connection:
        scopes = watched_scopes(connection, settings, as_of=as_of)
    found = []
    for scope in scopes:
        with store.read() as connection:
            standing = _standing(connection, scope, as_of)
            if not standing:
                champion, decisions = _evaluate(connection, lake, settings, scope, as_of=as_of, backfill=backfill)
                n_labels = count_labels_in(connection, as_of=as_of)
        if not standing:
            row = {
                "champion": None if champion is None else champion.version,
                "n_labels": n_labels,
                "by_schedule": by_schedule and not backfill,
            }
            standing = _keep(store, scope, decisions, row, as_of=as_of)
        elif by_schedule and not backfill:
            _mark(store, scope, as_of=as_of)
        found += standing
    return found


def scopes_to_start(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Give the scopes that a retraining is started for, each with the triggers that asked for it."""
    return {
        row["scope"]: ", ".join(row["figures"]["triggers"])
        for row in rows
        if row["trigger"] == CONCLUSION and row["fired"]
    }


def list_trigger_decisions(store: Store, *, limit: int) -> list[dict[str, Any]]:
    """Give what the newest looks came to: their `decision` rows."""
    query = sa.select(TriggerDecision).where(TriggerDecision.trigger == CONCLUSION)
    query = query.order_by(TriggerDecision.decided_at.desc(), TriggerDecision.scope).limit(limit)
    with store.read() as connection:
        return [_shown(row) for row in connection.execute(query)]


def _evaluate(
    connection: Connection, lake: Lake, settings: Settings, scope: str, *, as_of: datetime, backfill: bool
) -> tuple[Champion | None, list[Decision]]:
    champion = champion_at(connection, scope, as_of=as_of)
    past = retrainings(connection, scope, as_of=as_of)
    news = news_of(connection, settings, scope, champion, as_of=as_of)
    triggers = [_schedule(champion, past, settings, as_of), _labels(news, champion, settings)]
    if champion is not None:
        triggers += _change(connection, lake, settings, scope, champion, as_of)
    guards = _guards(past, news, champion, settings, as_of)
    useful = sum(one.target is not None for one in news.findings)
    refused = NO_BACKFILL if backfill else ""
    conclusion = conclude(triggers, guards, to_learn_from=useful + news.withdrawn + news.late, refused=refused)
    return champion, [*triggers, *guards, conclusion]


def _days(length: timedelta) -> float:
    return length / DAY


def _schedule(champion: Champion | None, past: list[datetime], settings: Settings, as_of: datetime) -> Decision:
    trained = None if champion is None else max([champion.label_cutoff, *past[-1:]])
    age = None if trained is None else _days(as_of - trained)
    return schedule(age, max_age_days=settings.retrain_after_days)


def _labels(news: News, champion: Champion | None, settings: Settings) -> Decision:
    return new_labels(
        news.findings,
        withdrawn=news.withdrawn,
        late=news.late,
        known_classes=None if champion is None else champion.classes,
        min_labels=settings.retrain_min_labels,
        min_kind_units=settings.retrain_kind_units,
    )


def _guards(
    past: list[datetime], news: News, champion: Champion | None, settings: Settings, as_of: datetime
) -> list[Decision]:
    """Without a champion there is no cooldown: a first training that was refused is tried again with the next label."""
    length = settings.retrain_cooldown_days if champion is not None else 0.0
    since = _days(as_of - past[-1]) if past else None
    ago = [_days(as_of - at) for at in past]
    return [
        cooldown(since, cooldown_days=length),
        budget(ago, most=settings.retrain_budget, period_days=settings.retrain_budget_days),
    ]


def _change(
    connection: Connection, lake: Lake, settings: Settings, scope: str, champion: Champion, as_of: datetime
) -> list[Decision]:
    """Evaluate what may have changed since the champion was trained.

    Features are compared with the period before its label cut-off, which is what it was trained on. What it says is
    compared with its first days after it: on recordings that it learned from it is surer than on any other.
    """
    length = timedelta(days=settings.drift_days)
    start = max(champion.promoted_at, champion.label_cutoff)
    trained = Span(champion.label_cutoff - length, champion.label_cutoff)
    first = Span(start, start + length)
    now = Span(max(as_of - length, champion.label_cutoff), as_of)
    causes = known_causes(connection, scope, trained, now, as_of=as_of)
    faulty = found_faulty(connection, now, as_of=as_of)
    by_unit = {cause.unit: cause.text for cause in (*faulty, *causes)}
    found = [
        _feature_drift(connection, lake, settings, scope, trained, now, by_unit),
        _score_drift(connection, settings, scope, champion, first, now, by_unit),
    ]
    reviewed = reviewed_cases(connection, champion, as_of=as_of)
    found.append(calibration(**vars(reviewed), margin=settings.calibration_margin))
    found += _rates(connection, settings, champion, first, now, causes)
    found.append(
        performance(
            **confirmed(connection, champion, as_of=as_of),
            max_missed=settings.missed_rate,
            max_false=settings.false_alarm_rate,
        )
    )
    return found


def _feature_drift(
    connection: Connection,
    lake: Lake,
    settings: Settings,
    scope: str,
    then: Span,
    now: Span,
    causes: dict[str, str],
) -> Decision:
    names = feature_names_of(settings, scope)
    before, after = (list(connection.execute(sample(settings, scope, span))) for span in (then, now))
    return drift(
        feature_period(lake, settings, before, names),
        feature_period(lake, settings, after, names),
        names=names,
        alpha=settings.drift_alpha,
        min_shift=settings.drift_shift,
        min_units=settings.drift_min_units,
        explained=causes,
    )


def _score_drift(
    connection: Connection,
    settings: Settings,
    scope: str,
    champion: Champion,
    then: Span,
    now: Span,
    causes: dict[str, str],
) -> Decision:
    if now.from_at < then.to_at:
        return _too_young("score_drift", then)
    return drift(
        score_period(connection, settings, scope, champion.version, then),
        score_period(connection, settings, scope, champion.version, now),
        names=SCORE_NAMES,
        alpha=settings.drift_alpha,
        min_shift=settings.drift_shift,
        min_units=settings.drift_min_units,
        explained=causes,
        trigger="score_drift",
    )


def _rates(
    connection: Connection, settings: Settings, champion: Champion, then: Span, now: Span, causes: list[DriftCause]
) -> list[Decision]:
    if now.from_at < then.to_at:
        return [_too_young("novelty_rate", then), _too_young("review_rate", then)]
    explained = {cause.axis_id: cause.text for cause in causes}
    rates = flagged_rates(connection, champion.version, then, now, left_out=explained)
    return [
        rate_rise(
            *rates[name],
            name=name,
            min_rise=settings.rate_rise,
            alpha=settings.drift_alpha,
            min_units=settings.drift_min_units,
            explained={f"axis {axis}": text for axis, text in explained.items()},
        )
        for name in sorted(rates)
    ]


def _too_young(trigger: str, first: Span) -> Decision:
    figures = {"from_at": first.from_at.isoformat(), "to_at": first.to_at.isoformat()}
    text = f"the champion's first days, which the last ones are compared with, end {first.to_at:%Y-%m-%d}"
    return Decision(trigger, False, f"{text}: both have to be over and apart", figures)


def _standing(connection: Connection, scope: str, as_of: datetime) -> list[dict[str, Any]]:
    at = (TriggerDecision.scope == scope, TriggerDecision.decided_at == as_of)
    query = sa.select(TriggerDecision).where(*at).order_by(TriggerDecision.position)
    return [_shown(row) for row in connection.execute(query)]


def _shown(row: Any) -> dict[str, Any]:
    return {name: row._mapping[name] for name in SHOWN}


def _mark(store: Store, scope: str, *, as_of: datetime) -> None:
    """Mark what a look by hand had said for a time as what a run of the schedule goes by."""
    at = (TriggerDecision.scope == scope, TriggerDecision.decided_at == as_of)
    with store.write() as connection:
        connection.execute(sa.update(TriggerDecision).where(*at).values(by_schedule=True))


def _keep(
    store: Store, scope: str, decisions: list[Decision], common: dict[str, Any], *, as_of: datetime
) -> list[dict[str, Any]]:
    """Store what was said, all of it or nothing; where another run was first, its rows stand and are given."""
    with store.write() as connection:
        for position, one in enumerate(reversed(decisions)):
            row = {
                "scope": scope,
                "trigger": one.trigger,
                "decided_at": as_of,
                "position": len(decisions) - position,
                "fired": one.fired,
                "reason": one.reason,
                "figures": one.figures,
                "known_at": as_of,
                **common,
            }
            # The decision goes in first: a second run at once waits for it, finds it there and leaves all else alone.
            if not insert_new(connection, TriggerDecision, row) and position == 0:
                break
    with store.read() as connection:
        return _standing(connection, scope, as_of)
