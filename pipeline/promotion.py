"""Promotion: whether a new model takes the champion's place. One simple rule: it must not be worse on the same units.

Both models are judged by their figures on units that each was held out for in its own training, so no unit stands on
both sides. Units that only one of them was judged on, or whose finding has changed since, do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.config import Settings
from pipeline.errors import PrerequisiteMissing
from pipeline.lake import Lake
from pipeline.model_versions import champions, get_version
from pipeline.registry import promote
from pipeline.retrain import train_scopes
from pipeline.schema import Label
from pipeline.schema_operations import RetrainingDecision
from pipeline.store import Store, insert_new
from pipeline.training_set import scopes_with_labels

WHO = "axiswatch"
SAME = "the same data and settings as the champion's: nothing to gain"
NO_SCOPE = ""
"""Scope of the decision that there was nothing to train on."""

SHOWN = ("scope", "outcome", "reason", "candidate", "champion", "figures", "n_labels")


@dataclass(frozen=True)
class Comparison:
    """Whether a candidate is promoted, why, and what was compared."""

    promoted: bool
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
        return Comparison(False, "no unit was held out for both models, so they cannot be compared; promote it by hand")
    mean_before = sum(before[key] for key in common) / len(common)
    mean_now = sum(now[key] for key in common) / len(common)
    figures = {"units": len(common), "candidate_nll": mean_now, "champion_nll": mean_before, "margin": margin}
    told = f"mean NLL over {len(common)} units held out for both: {mean_now:.3f}, the champion's {mean_before:.3f}"
    if mean_now <= mean_before + margin:
        return Comparison(True, f"not worse: {told}", figures)
    return Comparison(False, f"worse: {told}", figures)


def count_labels(store: Store, *, as_of: datetime) -> int:
    """Count the labels known at a time."""
    with store.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(Label).where(Label.known_at <= as_of)) or 0


def new_labels(store: Store, settings: Settings, *, as_of: datetime) -> int:
    """Count the labels known at a time that no retraining has seen yet; 0 as long as there is nothing to train on."""
    newest = sa.select(RetrainingDecision.n_labels).where(RetrainingDecision.scope != NO_SCOPE)
    with store.read() as connection:
        if not scopes_with_labels(connection, settings, as_of=as_of):
            return 0
        seen = connection.scalar(newest.order_by(RetrainingDecision.decided_at.desc()).limit(1)) or 0
    return max(0, count_labels(store, as_of=as_of) - seen)


def scopes_to_train(store: Store, settings: Settings, *, as_of: datetime, trigger: str) -> list[str]:
    """Give the scopes that labels hold for; where there is none, that is written down as a refusal."""
    with store.read() as connection:
        scopes = scopes_with_labels(connection, settings, as_of=as_of)
    if not scopes:
        reason = "no label holds for a recording with features; label some units, or run extract, first"
        _decide(store, NO_SCOPE, as_of, trigger, "refused", Comparison(False, reason))
    return scopes


def retrain(
    store: Store, lake: Lake, settings: Settings, scope: str, *, as_of: datetime, trigger: str
) -> dict[str, Any]:
    """Train a candidate for a scope, compare it with the champion, promote it or not, and write down why.

    Run again with the same `as_of` it gives the decision that stands.
    """
    with store.read() as connection:
        before = champions(connection).get(scope)
        at = (RetrainingDecision.scope == scope, RetrainingDecision.decided_at == as_of)
        stands = connection.execute(sa.select(RetrainingDecision).where(*at)).one_or_none()
    if stands is not None:
        return {name: stands._mapping[name] for name in SHOWN}
    try:
        candidate = train_scopes(store, lake, settings, as_of=as_of, scope=scope)[0].model_version
    except PrerequisiteMissing as error:
        return _decide(store, scope, as_of, trigger, "refused", Comparison(False, str(error)), champion=before)
    if before is None:
        outcome, found = "first", Comparison(True, "first version of its scope")
    else:
        found = _compare_versions(store, candidate, before, margin=settings.promotion_margin)
        outcome = "promoted" if found.promoted else "unchanged" if found.reason == SAME else "kept"
    if outcome == "promoted":
        promote(store, lake, candidate, who=WHO, reason=found.reason, at=as_of)
    return _decide(store, scope, as_of, trigger, outcome, found, candidate=candidate, champion=before)


def list_decisions(store: Store, *, limit: int) -> list[dict[str, Any]]:
    """Give the newest decisions."""
    query = sa.select(RetrainingDecision).order_by(RetrainingDecision.decided_at.desc(), RetrainingDecision.scope)
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query.limit(limit))]


def _compare_versions(store: Store, candidate: str, champion: str, *, margin: float) -> Comparison:
    new, old = get_version(store, candidate), get_version(store, champion)
    same = all(old[name] == new[name] for name in ("training_data_hash", "settings"))
    if same:
        return Comparison(False, SAME)
    if old["feature_version"] != new["feature_version"]:
        return Comparison(True, "the champion was trained on features that are no longer extracted")
    return compare(new["metrics"]["units"], old["metrics"]["units"], margin=margin)


def _decide(
    store: Store,
    scope: str,
    as_of: datetime,
    trigger: str,
    outcome: str,
    found: Comparison,
    *,
    candidate: str | None = None,
    champion: str | None = None,
) -> dict[str, Any]:
    row = {
        "scope": scope,
        "decided_at": as_of,
        "trigger": trigger,
        "n_labels": count_labels(store, as_of=as_of),
        "outcome": outcome,
        "reason": found.reason,
        "candidate": candidate,
        "champion": champion,
        "figures": found.figures,
        "known_at": as_of,
    }
    with store.write() as connection:
        insert_new(connection, RetrainingDecision, row)
    return {name: row[name] for name in SHOWN}
