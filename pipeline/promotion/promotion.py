"""Retraining, from training to promotion: a challenger is trained, judged by the gate, and promoted or not.

Promotion and decision are one transaction. A run that is killed anywhere leaves the champion as it was, and a second
run with the same `as_of` gives the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import PrerequisiteMissing, SettingsError
from pipeline.base.log_schema import SCOPES
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
from pipeline.promotion.forecast import forecast, in_words
from pipeline.promotion.gate import Noise, Ruling, most_aside
from pipeline.promotion.judge import Cleaned, Contradicted, Pair, clean, comparable, contradicted, read_pair, rule
from pipeline.promotion.noise import NOISE, as_figures, noise_for, stored_noise
from pipeline.promotion.questions import ask_about, ask_about_twins
from pipeline.registry.registry import SYSTEM, check_promotable, current_alias, locked_champion, set_champion
from pipeline.registry.versions import CHALLENGER, CHAMPION, champions, get_version, set_alias, set_aside_by
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import AliasEvent, RetrainingDecision
from pipeline.training.scopes import scopes_with_labels
from pipeline.training.train import train_scopes

WAITING = "waiting"


def scopes_to_train(
    store: Store, settings: TrainSettings, *, as_of: datetime, trigger: str, only: list[str] | None = None
) -> list[str]:
    """Return the scopes that can be trained: those with a matching label, of the ones in `only` (None or empty: all).

    If there is none, or one in `only` has none, a refusal is stored.

    Raises
    ------
    SettingsError
        `only` names a scope that does not exist.
    """
    if unknown := sorted(set(only or ()) - set(SCOPES)):
        raise SettingsError(f"there is no scope {', '.join(map(repr, unknown))}; the scopes are {', '.join(SCOPES)}")
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
        (trained,) = train_scopes(store, lake, settings, as_of=as_of, scope=scope)
        ask_about_twins(store, trained.training_set.twins, as_of=as_of)
        candidate = trained.model_version
        if before is None:
            return decide(
                store, scope, outcome="first", reason="first version of its scope", candidate=candidate, **common
            )
        trial = _judged(store, lake, settings, candidate, before, as_of=as_of)
    except PrerequisiteMissing as error:
        return decide(store, scope, outcome="refused", reason=str(error), **common)
    except Exception as error:
        decide(store, scope, outcome=FAILED, reason=f"{type(error).__name__}: {error}", **common)
        raise
    return _conclude(
        store,
        scope,
        trial,
        before,
        as_of=as_of,
        trigger=trigger,
        n_labels=n_labels,
        waits=settings.promotion_approval,
    )


@dataclass(frozen=True)
class Trial:
    """A challenger that was judged. `ruling` None: the same data and settings as the champion's.

    `doubted`: findings that both models contradict and that are asked about. `notes`: sentences for the reason.
    """

    candidate: str
    ruling: Ruling | None
    doubted: tuple[Contradicted, ...]
    notes: tuple[str, ...]
    figures: dict[str, Any]


def _judged(
    store: Store, lake: Lake, settings: GateSettings, candidate: str, champion: str, *, as_of: datetime
) -> Trial:
    """Judge a candidate. Where both models contradict some of its labels, train again without them and judge that."""
    new, old = get_version(store, candidate), get_version(store, champion)
    if _is_same(new, old):
        return Trial(candidate, None, (), (), {})
    scope = old["scope"]

    def pair_of(version: str) -> Pair:
        check_promotable(store, lake, version, scope=scope, feature_versions=feature_versions(settings))
        return read_pair(store, lake, settings, get_version(store, version), old, as_of=as_of)

    def train_without(labels: list[str]) -> str:
        return train_scopes(store, lake, settings, as_of=as_of, scope=scope, set_aside=labels)[0].model_version

    done = clean(candidate, train_without=train_without, pair_of=pair_of, settings=settings)
    new, doubted = get_version(store, done.version), done.doubted
    figures: dict[str, Any] = {"doubt": _doubt_figures(done)}
    notes: tuple[str, ...] = ()
    if done.version != candidate:
        figures |= {"set_aside": sorted(set_aside_by(new)), "with_all_labels": candidate}
    if doubted and done.few:
        notes = (_aside_in_words(done),)
    if _is_same(new, old):
        return Trial(done.version, None, doubted, notes, figures)
    noise = noise_for(store, lake, settings, new, as_of=as_of) if comparable(done.pair) else None
    ruling, payback = _ruled(store, lake, settings, done.pair, noise, figures, as_of=as_of)
    notes += payback
    if not done.few:
        ruling = Ruling(False, (_too_many(done), *(ruling.reasons if not ruling.passed else ())))
        doubted = doubted[: done.counts["most_aside"]]
    return Trial(done.version, ruling, doubted, notes, figures)


def _ruled(
    store: Store,
    lake: Lake,
    settings: GateSettings,
    pair: Pair,
    noise: Noise | None,
    figures: dict[str, Any],
    *,
    as_of: datetime,
) -> tuple[Ruling, tuple[str, ...]]:
    """Apply the gate, and work out what closed cases would have become; return the ruling and a sentence on those."""
    ruling = rule(pair, settings, noise)
    payback = forecast(store, lake, settings, pair.challenger, pair.champion, as_of=as_of)
    figures |= {**ruling.figures, NOISE: as_figures(noise, settings), "payback": payback}
    return ruling, (in_words(payback),) if payback["cases"] else ()


def compare(
    store: Store, lake: Lake, settings: GateSettings, challenger: str, champion: str, *, as_of: datetime
) -> dict[str, Any]:
    """Return what the gate says of two versions of a scope now; nothing is trained and nothing is stored.

    The noise of refits is the stored one. Where none is stored, the margins are 0, and a retraining may decide
    otherwise. Contradicted findings are counted and not set aside.

    Returns
    -------
    dict
        passed, reasons, figures.

    Raises
    ------
    PrerequisiteMissing
        There is no such version.
    """
    new, old = get_version(store, challenger), get_version(store, champion)
    pair = read_pair(store, lake, settings, new, old, as_of=as_of)
    noise = stored_noise(store, settings, new["scope"], as_of=as_of)
    doubted, counts = contradicted(pair, settings)
    most = most_aside(counts["new_rows"], share=settings.gate_aside_share)
    done = Cleaned(challenger, pair, tuple(doubted), len(doubted) <= most, counts | {"most_aside": most})
    figures: dict[str, Any] = {"doubt": _doubt_figures(done)}
    ruling, payback = _ruled(store, lake, settings, pair, noise, figures, as_of=as_of)
    notes = list(payback)
    if noise is None:
        notes.append("the noise of refits is not known yet, so the margins are 0: the next retraining estimates it")
    if doubted:
        notes.append(
            f"{len(doubted)} new findings are contradicted by both ({_named(doubted)}): a retraining would "
            + ("set them aside" if done.few else "refuse the batch")
        )
    return {"passed": ruling.passed and done.few, "reasons": [*ruling.reasons, *notes], "figures": figures}


def _doubt_figures(done: Cleaned[str]) -> dict[str, Any]:
    return {**done.counts, "contradicted": [item.as_dict() for item in done.doubted]}


def _aside_in_words(done: Cleaned[str]) -> str:
    return (
        f"{len(done.doubted)} of {done.counts['new_rows']} new findings were set aside, because both models contradict "
        f"them ({_named(done.doubted)}): please confirm"
    )


def _too_many(done: Cleaned[str]) -> str:
    return (
        f"{len(done.doubted)} of {done.counts['new_rows']} new findings are contradicted by champion and challenger "
        f"alike ({_named(done.doubted)}), and at most {done.counts['most_aside']} may be set aside: have them confirmed"
    )


def _named(doubted: Sequence[Contradicted]) -> str:
    """Return the units and what was said of them, the first five."""
    said = [f"{item.unit} {item.finding.replace('_', ' ')}" for item in doubted[:5]]
    return ", ".join(said) + (" ..." if len(doubted) > 5 else "")


def _conclude(
    store: Store,
    scope: str,
    trial: Trial,
    champion: str,
    *,
    as_of: datetime,
    trigger: str,
    n_labels: int,
    waits: bool,
) -> dict[str, Any]:
    """Change aliases, ask about doubted labels and store the decision, all in one transaction."""
    candidate = trial.candidate
    outcome, reason = _outcome(trial, waits=waits)
    event: dict[str, Any] = {"who": SYSTEM, "at": as_of, "figures": trial.figures}
    with store.write() as connection:
        ask_about(connection, trial.doubted, as_of=as_of)
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
            figures=trial.figures,
            candidate=candidate,
            champion=champion,
        )
        write_decision(connection, row)
    return {name: row[name] for name in SHOWN}


def _is_same(new: dict[str, Any], old: dict[str, Any]) -> bool:
    return all(old[name] == new[name] for name in ("training_data_hash", "settings"))


def _outcome(trial: Trial, *, waits: bool) -> tuple[str, str]:
    """Return outcome and reason of a trial."""
    if trial.ruling is None:
        same = "the same data and settings as the champion's: nothing to gain"
        return "unchanged", "; ".join((same, *trial.notes))
    reason = "; ".join((*trial.ruling.reasons, *trial.notes))
    if not trial.ruling.passed:
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
        stands = "" if newest is None else f" ({newest.outcome}: {newest.reason})"
        raise PrerequisiteMissing(
            f"model {version} does not wait for approval{stands}; `axiswatch models decisions` shows the outcome of "
            "each retraining, and `axiswatch models promote` promotes any version"
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
