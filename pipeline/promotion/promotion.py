"""Retraining, from training to promotion: a challenger is trained, judged by the gate, and promoted or not.

Promotion and decision are one transaction. A run that is killed anywhere leaves the champion as it was, and a second
run with the same `as_of` gives the same result.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import PrerequisiteMissing
from pipeline.base.settings import ExtractionSettings, GateSettings, TrainSettings
from pipeline.extraction.in_force import feature_versions
from pipeline.promotion.decisions import (
    FAILED,
    NO_SCOPE,
    SHOWN,
    count_labels,
    decide,
    decision_row,
    standing_decision,
    write_decision,
)
from pipeline.promotion.gate import Ruling
from pipeline.promotion.judge import judge
from pipeline.registry.registry import SYSTEM, check_promotable, current_alias, locked_champion, set_champion
from pipeline.registry.versions import CHALLENGER, CHAMPION, champions, get_version, set_alias
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import AliasEvent, RetrainingDecision
from pipeline.training.train import train_scopes
from pipeline.training.training_set import scopes_with_labels

WAITING = "waiting"


def scopes_to_train(
    store: Store, settings: TrainSettings, *, as_of: datetime, trigger: str, only: list[str] | None = None
) -> list[str]:
    """Return the scopes that can be trained: those with a matching label, of the ones in `only` (None or empty: all).

    If there is none, or one in `only` has none, a refusal is stored.
    """
    with store.read() as connection:
        scopes = scopes_with_labels(connection, settings, as_of=as_of)
    reason = "no label holds for a recording with features; label some units, or run extract, first"
    refused = sorted(set(only) - set(scopes)) if only else [NO_SCOPE] if not scopes else []
    for scope in refused:
        decide(store, scope, as_of=as_of, trigger=trigger, outcome="refused", reason=reason)
    return [scope for scope in scopes if not only or scope in only]


def retrain(
    store: Store, lake: Lake, settings: GateSettings, scope: str, *, as_of: datetime, trigger: str
) -> dict[str, Any]:
    """Train a challenger for a scope, judge it against the champion, promote it or not, and store the reason.

    A second call with the same `as_of` returns the stored decision. An error is stored as `failed` before it is raised,
    and a later try replaces it.
    """
    stands = standing_decision(store, scope, as_of=as_of)
    if stands is not None:
        return stands
    with store.read() as connection:
        before = _champion_before(connection, scope, as_of)
        late = _changed_since(connection, scope, as_of)
    common: dict[str, Any] = {"as_of": as_of, "trigger": trigger, "champion": before}
    if late is not None:
        reason = f"the champion was changed at {late.isoformat()}, after the time of this run: the past promotes nobody"
        return decide(store, scope, outcome="refused", reason=reason, **common)
    common["n_labels"] = n_labels = count_labels(store, as_of=as_of)
    try:
        try:
            candidate = train_scopes(store, lake, settings, as_of=as_of, scope=scope)[0].model_version
        except PrerequisiteMissing as error:
            return decide(store, scope, outcome="refused", reason=str(error), **common)
        if before is None:
            return decide(
                store, scope, outcome="first", reason="first version of its scope", candidate=candidate, **common
            )
        return _challenge(
            store, lake, settings, scope, candidate, before, as_of=as_of, trigger=trigger, n_labels=n_labels
        )
    except Exception as error:
        decide(store, scope, outcome=FAILED, reason=f"{type(error).__name__}: {error}", **common)
        raise


def _challenge(
    store: Store,
    lake: Lake,
    settings: GateSettings,
    scope: str,
    candidate: str,
    champion: str,
    *,
    as_of: datetime,
    trigger: str,
    n_labels: int,
) -> dict[str, Any]:
    """Judge a candidate, then change aliases and store the decision in one transaction."""
    new, old = get_version(store, candidate), get_version(store, champion)
    ruling: Ruling | None = None
    if not _is_same(new, old):
        check_promotable(store, lake, candidate, scope=scope, feature_versions=feature_versions(settings))
        ruling = judge(store, lake, settings, new, old, as_of=as_of)
    outcome, reason = _outcome(ruling, waits=settings.promotion_approval)
    figures = {} if ruling is None else ruling.figures
    event: dict[str, Any] = {"who": SYSTEM, "at": as_of, "figures": figures}
    with store.write() as connection:
        current = locked_champion(connection, scope)
        if outcome in ("promoted", WAITING) and current not in (champion, candidate):
            change = f"the champion became {current} meanwhile; it was judged against {champion}"
            outcome, reason = "kept", f"{change}: {reason}"
        if outcome != "unchanged" and current != candidate:
            action, why = ("trained", f"trained for: {trigger}") if outcome == "promoted" else (outcome, reason)
            set_alias(connection, scope, CHALLENGER, candidate, action=action, reason=why, **event)
        if outcome == "promoted":
            set_champion(
                connection, scope, candidate, action="promoted", reason=reason, judged_against=champion, **event
            )
        row = decision_row(
            n_labels,
            scope,
            as_of=as_of,
            trigger=trigger,
            outcome=outcome,
            reason=reason,
            figures=figures,
            candidate=candidate,
            champion=champion,
        )
        write_decision(connection, row)
    return {name: row[name] for name in SHOWN}


def _is_same(new: dict[str, Any], old: dict[str, Any]) -> bool:
    return all(old[name] == new[name] for name in ("training_data_hash", "settings"))


def _outcome(ruling: Ruling | None, *, waits: bool) -> tuple[str, str]:
    """Return outcome and reason from a ruling; None: there was nothing to judge."""
    if ruling is None:
        return "unchanged", "the same data and settings as the champion's: nothing to gain"
    reason = "; ".join(ruling.reasons)
    if not ruling.passed:
        return "kept", reason
    return (WAITING, f"passed the gate and waits for a person: {reason}") if waits else ("promoted", reason)


def approve(
    store: Store, lake: Lake, settings: ExtractionSettings, version: str, *, who: str, reason: str, at: datetime
) -> dict[str, Any]:
    """Promote a challenger that passed the gate and waits for a person. Approving it twice changes nothing.

    Raises
    ------
    PrerequisiteMissing
        There is no such version, or it does not wait.
    ChampionChanged
        The champion has changed since it was judged.
    AxiswatchError
        Its artifact is damaged, or its features are no longer extracted.
    """
    row = check_promotable(store, lake, version, feature_versions=feature_versions(settings))
    with store.write() as connection:
        if locked_champion(connection, row["scope"]) == version:
            return {"scope": row["scope"], "champion": version, "previous": version, "changed": False}
        decision = _waiting(connection, row["scope"], version)
        text = f"approved by {who}: {reason}"
        return set_champion(
            connection,
            row["scope"],
            version,
            action="promoted",
            who=who,
            reason=text,
            at=at,
            figures=decision.figures,
            judged_against=decision.champion,
        )


def refuse(store: Store, version: str, *, who: str, reason: str, at: datetime) -> dict[str, Any]:
    """Refuse a challenger that waits for a person; the champion stays.

    Raises
    ------
    PrerequisiteMissing
        There is no such version, or it does not wait.
    """
    scope = get_version(store, version)["scope"]
    with store.write() as connection:
        champion = locked_champion(connection, scope)
        _waiting(connection, scope, version)
        text = f"refused by {who}: {reason}"
        set_alias(connection, scope, CHALLENGER, None, action="refused", who=who, reason=text, at=at)
    return {"scope": scope, "champion": champion, "refused": version}


def _waiting(connection: Connection, scope: str, version: str) -> Any:
    """Return the decision by which a version waits."""
    query = sa.select(RetrainingDecision).where(
        RetrainingDecision.scope == scope, RetrainingDecision.candidate == version
    )
    newest = connection.execute(query.order_by(RetrainingDecision.decided_at.desc()).limit(1)).first()
    named = current_alias(connection, scope, CHALLENGER) == version
    if newest is None or newest.outcome != WAITING or not named:
        raise PrerequisiteMissing(
            f"model {version} does not wait for approval; `axiswatch models decisions` shows the outcome of each "
            "retraining, and `axiswatch models promote` promotes any version"
        )
    return newest


def _champion_before(connection: Connection, scope: str, as_of: datetime) -> str | None:
    """Return the champion when this retraining began. A run that was killed after its first model is repeated."""
    own = (AliasEvent.scope == scope, AliasEvent.alias == CHAMPION, AliasEvent.at == as_of, AliasEvent.who == SYSTEM)
    event = connection.execute(sa.select(AliasEvent).where(*own).order_by(AliasEvent.sequence).limit(1)).first()
    return champions(connection).get(scope) if event is None else event.previous_version


def _changed_since(connection: Connection, scope: str, as_of: datetime) -> datetime | None:
    """Return when the champion was changed after a time; None where it was not."""
    own = (AliasEvent.scope == scope, AliasEvent.alias == CHAMPION, AliasEvent.at > as_of)
    return connection.scalar(sa.select(sa.func.max(AliasEvent.at, type_=AliasEvent.at.type)).where(*own))
