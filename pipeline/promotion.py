"""Promotion: whether a new model takes the champion's place. One simple rule: it must not be worse on the same units.

Both models are judged by their figures on units that each was held out for in its own training, so no unit stands on
both sides. Units that only one of them was judged on, or whose finding has changed since, do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.config import Settings
from pipeline.errors import PrerequisiteMissing
from pipeline.lake import Lake
from pipeline.model_versions import CHAMPION, champions, get_version
from pipeline.registry import promote
from pipeline.retrain import train_scopes
from pipeline.retraining_decisions import NO_SCOPE, decide, standing_decision
from pipeline.schema import AliasEvent
from pipeline.store import Store
from pipeline.training_set import scopes_with_labels

WHO = "axiswatch"


@dataclass(frozen=True)
class Comparison:
    """Whether a candidate is `promoted`, or the champion `kept` or `unchanged`; why, and what was compared."""

    outcome: str
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)


def compare(candidate: Sequence[dict[str, Any]], champion: Sequence[dict[str, Any]], *, margin: float) -> Comparison:
    """Compare two models by their held-out rows (unit, class_name, nll) of the same units.

    Parameters
    ----------
    margin
        Mean NLL over units by which the candidate may be higher, nats; 0 or more.
    """
    before = {(row["unit"], row["class_name"]): row["nll"] for row in champion if row["nll"] is not None}
    now = {(row["unit"], row["class_name"]): row["nll"] for row in candidate if row["nll"] is not None}
    common = sorted(set(before) & set(now))
    if not common:
        return Comparison(
            "kept", "no unit was held out for both models, so they cannot be compared; promote it by hand"
        )
    mean_before = sum(before[key] for key in common) / len(common)
    mean_now = sum(now[key] for key in common) / len(common)
    figures = {"units": len(common), "candidate_nll": mean_now, "champion_nll": mean_before, "margin": margin}
    told = f"mean NLL over {len(common)} units held out for both: {mean_now:.3f}, the champion's {mean_before:.3f}"
    if mean_now <= mean_before + margin:
        return Comparison("promoted", f"not worse: {told}", figures)
    return Comparison("kept", f"worse: {told}", figures)


def scopes_to_train(store: Store, settings: Settings, *, as_of: datetime, trigger: str) -> list[str]:
    """Give the scopes that labels hold for; where there is none, that is written down as a refusal."""
    with store.read() as connection:
        scopes = scopes_with_labels(connection, settings, as_of=as_of)
    if not scopes:
        reason = "no label holds for a recording with features; label some units, or run extract, first"
        decide(store, NO_SCOPE, as_of=as_of, trigger=trigger, outcome="refused", reason=reason)
    return scopes


def retrain(
    store: Store, lake: Lake, settings: Settings, scope: str, *, as_of: datetime, trigger: str
) -> dict[str, Any]:
    """Train a candidate for a scope, compare it with the champion, promote it or not, and write down why.

    Run again with the same `as_of` it gives the decision that stands.
    """
    stands = standing_decision(store, scope, as_of=as_of)
    if stands is not None:
        return stands
    with store.read() as connection:
        before = _champion_before(connection, scope, as_of)
    told = partial(decide, store, scope, as_of=as_of, trigger=trigger, champion=before)
    try:
        trained = train_scopes(store, lake, settings, as_of=as_of, scope=scope)[0]
    except PrerequisiteMissing as error:
        return told(outcome="refused", reason=str(error))
    candidate = trained.model_version
    told = partial(told, n_labels=trained.training_set.labels)
    if before is None:
        return told(outcome="first", reason="first version of its scope", candidate=candidate)
    found = _compare_versions(store, candidate, before, margin=settings.promotion_margin)
    if found.outcome == "promoted":
        promote(store, lake, candidate, who=WHO, reason=found.reason, at=as_of)
    return told(outcome=found.outcome, reason=found.reason, figures=found.figures, candidate=candidate)


def _champion_before(connection: Connection, scope: str, as_of: datetime) -> str | None:
    """Give the champion when this retraining began: one that was killed after it promoted is done again as before."""
    own = (AliasEvent.scope == scope, AliasEvent.alias == CHAMPION, AliasEvent.at == as_of, AliasEvent.who == WHO)
    event = connection.execute(sa.select(AliasEvent).where(*own).order_by(AliasEvent.sequence).limit(1)).first()
    return champions(connection).get(scope) if event is None else event.previous_version


def _compare_versions(store: Store, candidate: str, champion: str, *, margin: float) -> Comparison:
    new, old = get_version(store, candidate), get_version(store, champion)
    if all(old[name] == new[name] for name in ("training_data_hash", "settings")):
        return Comparison("unchanged", "the same data and settings as the champion's: nothing to gain")
    if old["feature_version"] != new["feature_version"]:
        return Comparison("promoted", "the champion was trained on features that are no longer extracted")
    return compare(new["metrics"]["units"], old["metrics"]["units"], margin=margin)
