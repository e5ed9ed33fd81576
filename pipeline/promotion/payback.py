"""Payback of labels: which decisions on closed cases a new champion changes, and how far the uncertainty fell.

Closed cases are judged with the scores of both champions side by side: `case_rescores` has a row for each. Scores,
cases and axis states do not change. Needs no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import aliased

from pipeline.base.settings import CaseSettings, Settings
from pipeline.cases.axis_state import ALARM, HEALTHY, UNKNOWN, WATCH, combine_channels
from pipeline.cases.episodes import CLOSED
from pipeline.labels.labels import not_withdrawn
from pipeline.labels.words import Verdict
from pipeline.promotion.draws import unit_draws
from pipeline.registry.versions import CHAMPION
from pipeline.scoring.advise import read_windows
from pipeline.scoring.levels import read_thresholds
from pipeline.store.attribution import extractions, own_baseline
from pipeline.store.database import Store, insert_ignore
from pipeline.store.tables import (
    AliasEvent,
    Case,
    CaseRescore,
    Extraction,
    Label,
    ModelVersion,
    Scoring,
)

MIN_AXES: Final = 5
"""Number of axes from which on a mean gets an interval."""

SEED: Final = 20260105
N_BOOTSTRAP: Final = 2000
INTERVAL: Final = (5.0, 95.0)
_INSTANT: Final = timedelta(microseconds=1)

WORTH: Final = {
    Verdict.FAULT: {ALARM: 2, WATCH: 1, UNKNOWN: 1, HEALTHY: 0},
    Verdict.HEALTHY: {HEALTHY: 2, WATCH: 1, UNKNOWN: 1, ALARM: 0},
    Verdict.BENIGN_CHANGE: {HEALTHY: 2, WATCH: 1, UNKNOWN: 1, ALARM: 0},
}
"""How good a decision was for the verdict: 2 right, 1 an engineer is asked, 0 wrong."""


def write_payback(store: Store, settings: Settings, *, as_of: datetime, scope: str | None = None) -> int:
    """Store the state of closed cases by each present champion and by the one before it; return the number of new rows.

    A case that a version has not scored completely is left for the next call. Rows that exist stay.
    """
    written = 0
    with store.read() as connection:
        pairs = [
            (event["scope"], version)
            for event in _changes(connection, scope)
            for version in (event["previous_version"], event["model_version"])
        ]
        since = as_of - timedelta(days=settings.payback_days)
        closed = sa.select(Case).where(Case.state == CLOSED, Case.changed_at >= since, Case.changed_at <= as_of)
        cases = connection.execute(closed.order_by(Case.case_id)).all()
        there = {tuple(row) for row in connection.execute(sa.select(*sa.inspect(CaseRescore).primary_key))}
        rows = [
            row
            for name, version in sorted(set(pairs))
            for case in cases
            if (case.case_id, name, version) not in there
            and (row := _judge_case(connection, settings, case, name, version, as_of)) is not None
        ]
    with store.write() as connection:
        insert_ignore(connection, CaseRescore, rows)
        written += len(rows)
    return written


def _changes(connection: Connection, scope: str | None) -> list[dict[str, Any]]:
    """Return every change from one champion to another, oldest first."""
    query = sa.select(AliasEvent).where(AliasEvent.alias == CHAMPION, AliasEvent.previous_version.is_not(None))
    query = query if scope is None else query.where(AliasEvent.scope == scope)
    return [dict(row._mapping) for row in connection.execute(query.order_by(AliasEvent.at, AliasEvent.sequence))]


def _judge_case(
    connection: Connection, settings: CaseSettings, case: Any, scope: str, version: str, as_of: datetime
) -> dict[str, Any] | None:
    """Return the state of a case by a version; None where there is no score, or not all of it is scored."""
    of_version = sa.select(ModelVersion.feature_version).where(ModelVersion.model_version == version)
    due = (
        extractions(
            sa.func.count(Extraction.recording_id),
            sa.func.count(Scoring.recording_id),
            scope=scope,
            feature_version=of_version.scalar_subquery(),
        )
        .outerjoin(
            Scoring,
            sa.and_(
                Scoring.recording_id == Extraction.recording_id,
                Scoring.feature_version == Extraction.feature_version,
                Scoring.geometry_version == Extraction.geometry_version,
                Scoring.model_version == version,
                own_baseline(Scoring.baseline_version),
            ),
        )
        .where(
            Extraction.axis_id == case.axis_id,
            Extraction.started_at >= case.first_at,
            Extraction.started_at <= case.last_at,
        )
    )
    n_due, scored = connection.execute(due).one()
    if not n_due or scored < n_due:
        return None
    windows = read_windows(connection, case.axis_id, case.first_at, case.last_at + _INSTANT, {version})
    if not windows:
        return None
    figures = combine_channels(windows, read_thresholds(connection, settings, [version]))
    return {
        "case_id": case.case_id,
        "scope": scope,
        "model_version": version,
        "state": figures.state,
        "flags": [flag.code for flag in figures.flags],
        "n_windows": figures.n_windows,
        "fault_probability": figures.fault_probability,
        "mode": figures.mode,
        "mutual_information": figures.mutual_information,
        "expected_entropy": figures.expected_entropy,
        "novelty_percentile": figures.novelty_percentile,
        "known_at": as_of,
    }


def payback(store: Store, *, scope: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Return what each change of champion changed on closed cases and how far uncertainty fell; newest change first.

    Returns
    -------
    list of dict
        scope, at, who, action, from, to; `batch` (labels that the new champion was trained on and the old one was not:
        number, by verdict, from cases); `decisions` (cases that both judged: how many changed, became better and worse
        by the verdict, and which); `uncertainty` (mean mutual information, nats, before and after: of cases whose own
        label was in the batch, of other cases, and of units held out in both trainings).
    """
    with store.read() as connection:
        changes = _changes(connection, scope)[::-1][:limit]
        versions = {row.model_version: row for row in connection.execute(sa.select(ModelVersion))}
        return [_payback_of(connection, event, versions) for event in changes]


def _payback_of(connection: Connection, event: dict[str, Any], versions: dict[str, Any]) -> dict[str, Any]:
    old, new = versions[event["previous_version"]], versions[event["model_version"]]
    labels = connection.execute(
        sa.select(Label).where(Label.known_at > old.label_cutoff, Label.known_at <= new.label_cutoff, not_withdrawn())
    ).all()
    cases = _cases(connection, event["scope"], old.model_version, new.model_version)
    own = {label.case_id for label in labels if label.case_id is not None}
    changed = [case for case in cases if case["before"] != case["after"]]
    units = _held_out(old.metrics, new.metrics)
    return {
        **{name: event[name] for name in ("scope", "at", "who", "action")},
        "from": old.model_version,
        "to": new.model_version,
        "batch": {
            "labels": len(labels),
            "by_verdict": dict(sorted(Counter(label.verdict for label in labels).items())),
            "from_cases": len(own),
        },
        "decisions": {
            "cases": len(cases),
            "changed": len(changed),
            "better": sum(case["worth"] == "better" for case in changed),
            "worse": sum(case["worth"] == "worse" for case in changed),
            "list": changed,
        },
        "uncertainty": {
            "cases_of_the_batch": _fall([case for case in cases if case["case_id"] in own]),
            "other_cases": _fall([case for case in cases if case["case_id"] not in own]),
            "held_out_units": _fall(units),
        },
    }


def _cases(connection: Connection, scope: str, old: str, new: str) -> list[dict[str, Any]]:
    """Return the cases that both versions judged, with the newest verdict on each."""
    before, after = aliased(CaseRescore), aliased(CaseRescore)
    names = ("state", "fault_probability", "mutual_information")
    sides = [
        getattr(side, name).label(f"{word}_{name}") for side, word in ((before, "b"), (after, "a")) for name in names
    ]
    query = (
        sa.select(before.case_id, Case.axis_id, *sides)
        .join(after, sa.and_(after.case_id == before.case_id, after.scope == before.scope))
        .join(Case, Case.case_id == before.case_id)
        .where(before.scope == scope, before.model_version == old, after.model_version == new)
        .order_by(before.case_id)
    )
    labels = sa.select(Label.case_id, Label.verdict).where(Label.case_id.is_not(None), not_withdrawn())
    verdicts = {row.case_id: row.verdict for row in connection.execute(labels.order_by(Label.known_at, Label.label_id))}
    cases = []
    for row in connection.execute(query):
        verdict = verdicts.get(row.case_id)
        cases.append(
            {
                "case_id": row.case_id,
                "unit": row.axis_id,
                "verdict": verdict,
                "before": row.b_state,
                "after": row.a_state,
                "worth": worth(verdict, row.b_state, row.a_state),
                "fault_probability": [row.b_fault_probability, row.a_fault_probability],
                "mutual_information": [row.b_mutual_information, row.a_mutual_information],
            }
        )
    return cases


def worth(verdict: str | None, before: str, after: str) -> str:
    """Return whether a decision became `better` or `worse` by the verdict, stayed the `same`, or `nobody can tell`.

    A right decision is better than asking an engineer, and asking is better than a wrong decision. A verdict about the
    sensor tells nothing about the machine.
    """
    scale = WORTH.get(Verdict(verdict)) if verdict else None
    if scale is None or before not in scale or after not in scale:
        return "nobody can tell"
    change = scale[after] - scale[before]
    return "better" if change > 0 else "worse" if change < 0 else "same"


def _held_out(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the mutual information of units that both trainings held out with the same finding."""
    sides = [
        {(row["unit"], row["class_name"]): row["mutual_information"] for row in metrics.get("units", ())}
        for metrics in (old, new)
    ]
    common = sorted(set(sides[0]) & set(sides[1]))
    return [{"unit": key[0], "mutual_information": [sides[0][key], sides[1][key]]} for key in common]


def _fall(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return number, mean before and after, and a 90 % interval of the change from resampling units or axes."""
    pairs = [item["mutual_information"] for item in items]
    known = [index for index, pair in enumerate(pairs) if pair[0] is not None and pair[1] is not None]
    if not known:
        return {"n": 0, "before": None, "after": None, "change": None, "low": None, "high": None}
    values = np.array([pairs[index] for index in known], dtype=np.float64)
    unit = np.array([str(items[index]["unit"]) for index in known])
    change = values[:, 1] - values[:, 0]
    low = high = None
    if np.unique(unit).size >= MIN_AXES:
        weight = unit_draws(unit, np.full(len(unit), ""), n_bootstrap=N_BOOTSTRAP, seed=SEED)
        low, high = (float(v) for v in np.percentile(weight @ change / weight.sum(axis=1), INTERVAL))
    before, after = (float(value) for value in values.mean(axis=0))
    return {"n": len(known), "before": before, "after": after, "change": after - before, "low": low, "high": high}
