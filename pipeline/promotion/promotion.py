"""Retraining, from training to promotion: a challenger is trained, judged by the gate, and crowned or not.

Promotion and decision are one transaction: a run that is killed anywhere leaves the champion as it was, and done again
with the same `as_of` it comes to the same end.
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
from pipeline.registry.registry import SYSTEM, check_promotable, crown, current_alias, locked_champion
from pipeline.registry.versions import CHALLENGER, CHAMPION, champions, get_version, set_alias
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import AliasEvent, RetrainingDecision
from pipeline.training.train import train_scopes
from pipeline.training.training_set import scopes_with_labels

WAITING = "waiting"


def scopes_to_train(
    store: Store, settings: TrainSettings, *, as_of: datetime, trigger: str, wanted: list[str] | None = None
) -> list[str]:
    """Give the scopes that labels hold for, of those that are wanted (None or empty: all).

    Where there is none, or a wanted one has none, that is written down as a refusal.
    """
    with store.read() as connection:
        scopes = scopes_with_labels(connection, settings, as_of=as_of)
    reason = "no label holds for a recording with features; label some units, or run extract, first"
    refused = sorted(set(wanted) - set(scopes)) if wanted else [NO_SCOPE] if not scopes else []
    for scope in refused:
        decide(store, scope, as_of=as_of, trigger=trigger, outcome="refused", reason=reason)
    return [scope for scope in scopes if not wanted or scope in wanted]


def retrain(
    store: Store, lake: Lake, settings: GateSettings, scope: str, *, as_of: datetime, trigger: str
) -> dict[str, Any]:
    """Train a challenger for a scope, judge it against the champion, promote it or not, and write down why.

    Run again with the same `as_of` it gives the decision that stands. An error is written down as `failed` before it
    is raised, and a later try replaces that.
    """
    stands = standing_decision(store, scope, as_of=as_of)
    if stands is not None:
        return stands
    with store.read() as connection:
        before = _champion_before(connection, scope, as_of)
        late = _changed_since(connection, scope, as_of)
    told: dict[str, Any] = {"as_of": as_of, "trigger": trigger, "champion": before}
    if late is not None:
        reason = f"the champion was changed at {late.isoformat()}, after the time of this run: the past promotes nobody"
        return decide(store, scope, outcome="refused", reason=reason, **told)
    told["n_labels"] = n_labels = count_labels(store, as_of=as_of)
    try:
        try:
            candidate = train_scopes(store, lake, settings, as_of=as_of, scope=scope)[0].model_version
        except PrerequisiteMissing as error:
            return decide(store, scope, outcome="refused", reason=str(error), **told)
        if before is None:
            return decide(
                store, scope, outcome="first", reason="first version of its scope", candidate=candidate, **told
            )
        return _challenge(
            store, lake, settings, scope, candidate, before, as_of=as_of, trigger=trigger, n_labels=n_labels
        )
    except Exception as error:
        decide(store, scope, outcome=FAILED, reason=f"{type(error).__name__}: {error}", **told)
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
    """Judge a candidate, then change aliases and write the decision in one transaction."""
    new, old = get_version(store, candidate), get_version(store, champion)
    ruling: Ruling | None = None
    if not _is_same(new, old):
        check_promotable(store, lake, candidate, scope=scope, feature_versions=feature_versions(settings))
        ruling = judge(store, lake, settings, new, old, as_of=as_of)
    outcome, reason = _outcome(ruling, waits=settings.promotion_approval)
    figures = {} if ruling is None else ruling.figures
    event: dict[str, Any] = {"who": SYSTEM, "at": as_of, "figures": figures}
    with store.write() as connection:
        found = locked_champion(connection, scope)
        if outcome in ("promoted", WAITING) and found not in (champion, candidate):
            told = f"the champion became {found} meanwhile; it was judged against {champion}"
            outcome, reason = "kept", f"{told}: {reason}"
        if outcome != "unchanged" and found != candidate:
            action, why = ("trained", f"trained for: {trigger}") if outcome == "promoted" else (outcome, reason)
            set_alias(connection, scope, CHALLENGER, candidate, action=action, reason=why, **event)
        if outcome == "promoted":
            crown(connection, scope, candidate, action="promoted", reason=reason, judged_against=champion, **event)
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
    """Give outcome and reason of a ruling; None: there was nothing to rule."""
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
        The champion that it was judged against is no longer the champion.
    AxiswatchError
        Its artifact is damaged, or of features that are no longer extracted.
    """
    row = check_promotable(store, lake, version, feature_versions=feature_versions(settings))
    with store.write() as connection:
        if locked_champion(connection, row["scope"]) == version:
            return {"scope": row["scope"], "champion": version, "previous": version, "changed": False}
        decision = _waiting(connection, row["scope"], version)
        told = f"approved by {who}: {reason}"
        return crown(
            connection,
            row["scope"],
            version,
            action="promoted",
            who=who,
            reason=told,
            at=at,
            figures=decision.figures,
            judged_against=decision.champion,
        )


def refuse(store: Store, version: str, *, who: str, reason: str, at: datetime) -> dict[str, Any]:
    """Send a challenger that waits away; the champion stays.

    Raises
    ------
    PrerequisiteMissing
        There is no such version, or it does not wait.
    """
    scope = get_version(store, version)["scope"]
    with store.write() as connection:
        champion = locked_champion(connection, scope)
        _waiting(connection, scope, version)
        told = f"refused by {who}: {reason}"
        set_alias(connection, scope, CHALLENGER, None, action="refused", who=who, reason=told, at=at)
    return {"scope": scope, "champion": champion, "refused": version}


def _waiting(connection: Connection, scope: str, version: str) -> Any:
    """Give the decision by which a version waits."""
    query = sa.select(RetrainingDecision).where(
        RetrainingDecision.scope == scope, RetrainingDecision.candidate == version
    )
    newest = connection.execute(query.order_by(RetrainingDecision.decided_at.desc()).limit(1)).first()
    named = current_alias(connection, scope, CHALLENGER) == version
    if newest is None or newest.outcome != WAITING or not named:
        raise PrerequisiteMissing(
            f"model {version} does not wait for approval; `axiswatch models decisions` shows what each retraining came "
            "to, and `axiswatch models promote` takes any version"
        )
    return newest


def _champion_before(connection: Connection, scope: str, as_of: datetime) -> str | None:
    """Give the champion when this retraining began: one that was killed after it registered a first is done again."""
    own = (AliasEvent.scope == scope, AliasEvent.alias == CHAMPION, AliasEvent.at == as_of, AliasEvent.who == SYSTEM)
    event = connection.execute(sa.select(AliasEvent).where(*own).order_by(AliasEvent.sequence).limit(1)).first()
    return champions(connection).get(scope) if event is None else event.previous_version


def _changed_since(connection: Connection, scope: str, as_of: datetime) -> datetime | None:
    """Give when the champion was changed after a time, None where it was not."""
    own = (AliasEvent.scope == scope, AliasEvent.alias == CHAMPION, AliasEvent.at > as_of)
    return connection.scalar(sa.select(sa.func.max(AliasEvent.at, type_=AliasEvent.at.type)).where(*own))
