"""What a challenger would have said of closed cases, worked out before it can be promoted.

Both models score the recordings of the cases in memory, so no score has to exist and none is stored. The state of a
case by each is compared with the verdict that it was closed with (`pipeline.promotion.payback.worth`). The cost is
bounded: the newest closed cases, and the newest recordings of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.settings import GateSettings
from pipeline.cases.axis_state import combine_channels
from pipeline.cases.episodes import CLOSED
from pipeline.labels.labels import not_withdrawn
from pipeline.promotion.payback import worth
from pipeline.registry.registry import load_model
from pipeline.registry.versions import set_aside_by
from pipeline.scoring.levels import read_thresholds
from pipeline.scoring.score import windows_in_memory
from pipeline.store.attribution import extractions
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Case, Extraction, Label

MOST_RECORDINGS: Final = 100
"""Newest recordings of a case that are scored."""


def forecast(
    store: Store,
    lake: Lake,
    settings: GateSettings,
    challenger: dict[str, Any],
    champion: dict[str, Any],
    *,
    as_of: datetime,
) -> dict[str, Any]:
    """Return how a challenger would judge the newest closed cases, beside the champion (rows of `model_versions`).

    Returns
    -------
    dict
        `cases`: how many both could judge, of the newest `payback_cases` closed ones; `answered`: those with a verdict;
        `learned`: those whose verdict the challenger was trained on; `changed`, `better`, `worse`: decisions that
        differ, by the verdict; `list`: the cases that differ.
    """
    versions = [champion["model_version"], challenger["model_version"]]
    aside = set_aside_by(challenger)
    judged: list[dict[str, Any]] = []
    with store.read() as connection:
        cases = _closed_cases(connection, settings, as_of)
        verdicts = _verdicts(connection, [case.case_id for case in cases], as_of)
        models = [load_model(store, lake, version) for version in versions] if cases else []
        thresholds = read_thresholds(connection, settings, versions)
        for case in cases:
            rows = _recordings(connection, challenger, case)
            if not rows or champion["feature_version"] != challenger["feature_version"]:
                continue
            states = []
            for model, version in zip(models, versions, strict=True):
                scored = windows_in_memory(connection, lake, model, version, rows, as_of)
                states.append(combine_channels([window for _, window in scored], thresholds))
            told = verdicts.get(case.case_id)
            before, after = (figures.state for figures in states)
            judged.append(
                {
                    "case_id": case.case_id,
                    "unit": case.axis_id,
                    "verdict": None if told is None else told.verdict,
                    "learned": told is not None and told.label_id not in aside,
                    "before": before,
                    "after": after,
                    "worth": worth(None if told is None else told.verdict, before, after),
                    "fault_probability": [figures.fault_probability for figures in states],
                }
            )
    changed = [case for case in judged if case["before"] != case["after"]]
    return {
        "cases": len(judged),
        "answered": sum(case["verdict"] is not None for case in judged),
        "learned": sum(case["learned"] for case in judged),
        "changed": len(changed),
        "better": sum(case["worth"] == "better" for case in changed),
        "worse": sum(case["worth"] == "worse" for case in changed),
        "list": changed,
    }


def in_words(payback: dict[str, Any]) -> str:
    """Return the sentence about closed cases that stands in a decision's reason."""
    return (
        f"of the {payback['cases']} newest closed cases it would decide {payback['changed']} differently: by the "
        f"verdicts {payback['better']} better and {payback['worse']} worse ({payback['learned']} of the verdicts were "
        "in its training)"
    )


def _closed_cases(connection: Connection, settings: GateSettings, as_of: datetime) -> Sequence[Any]:
    since = as_of - timedelta(days=settings.payback_days)
    closed = sa.select(Case).where(Case.state == CLOSED, Case.changed_at >= since, Case.changed_at <= as_of)
    newest = closed.order_by(Case.changed_at.desc(), Case.case_id).limit(settings.payback_cases)
    return connection.execute(newest).all()


def _verdicts(connection: Connection, case_ids: Sequence[str], as_of: datetime) -> dict[str, Any]:
    """Return the newest label of each case that was known at a time."""
    query = sa.select(Label).where(Label.case_id.in_(case_ids), Label.known_at <= as_of, not_withdrawn(as_of))
    return {row.case_id: row for row in connection.execute(query.order_by(Label.known_at, Label.label_id))}


def _recordings(connection: Connection, version: dict[str, Any], case: Any) -> Sequence[Any]:
    query = extractions(scope=version["scope"], feature_version=version["feature_version"]).where(
        Extraction.axis_id == case.axis_id,
        Extraction.started_at >= case.first_at,
        Extraction.started_at <= case.last_at,
        Extraction.n_windows > 0,
    )
    newest = query.order_by(Extraction.started_at.desc(), Extraction.recording_id).limit(MOST_RECORDINGS)
    return connection.execute(newest).all()
