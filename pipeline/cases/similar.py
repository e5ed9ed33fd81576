"""Cases that look alike: the same features changed against their own baselines, to the same side and as far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.cases.episodes import OPEN
from pipeline.labels.labels import not_withdrawn
from pipeline.labels.words import Verdict
from pipeline.store.tables import Axis, Case, CaseEvidence, Label

MOST_COMPARED: Final = 1000
LOOK_ALIKE: Final = 0.78
"""From this similarity on, an open case is offered for the same verdict (docs/results/cases.md: how it was chosen)."""

CUT_OFF: Final = 3.0
"""Spreads of the baseline: whoever is so far off is off; how far depends on how few recordings the baseline has."""

Numbers = npt.NDArray[np.float64]


def similarity(moved: Numbers, others: Numbers, *, cut_off: float = CUT_OFF, least_share: float = 0.5) -> Numbers:
    """Compare the changes of features in one case with those in other cases.

    The similarity is 1 - d / (2 `cut_off`), with d the mean over features of the differences between the two
    distances from the baseline, each cut off at `cut_off` to both sides (a city-block distance). Two units without any
    change are alike; so are two of which the same features changed to the same side.

    Parameters
    ----------
    moved : float64 array, shape (F,)
        Distances in spreads of the unit's own baseline; NaN where not known.
    others : float64 array, shape (n, F)
        The same of n other cases.
    cut_off
        Larger distances count as this, in spreads; above 0.
    least_share
        Share, 0 to 1: so many of the features that are known in the one case must be known in the other, too.

    Returns
    -------
    float64 array, shape (n,)
        0 to 1; NaN where too few features are known.

    Examples
    --------
    >>> similarity(np.array([0.0, 9.0]), np.array([[0.0, 3.0], [0.0, -3.0], [1.5, 3.0]])).tolist()
    [1.0, 0.5, 0.875]
    """
    apart = np.clip(others.reshape(len(others), len(moved)), -cut_off, cut_off)  # none may have come without a width
    apart -= np.clip(moved, -cut_off, cut_off)
    np.abs(apart, out=apart)
    known = ~np.isnan(apart)
    apart[~known] = 0.0
    number = known.sum(axis=1)
    comparable = (number > 0) & (number >= least_share * (~np.isnan(moved)).sum())
    alike = np.full(len(others), np.nan)
    alike[comparable] = 1.0 - apart.sum(axis=1)[comparable] / number[comparable] / (2.0 * cut_off)
    return alike


def similar_past(connection: Connection, case_id: str, *, most: int = 5) -> list[dict[str, Any]]:
    """Return the cases most similar to a case, among those with a finding; each with its newest finding.

    Findings that were withdrawn and `unsure` do not count. The 1,000 newest findings are compared. Empty where nothing
    is known about the changes in the case.
    """
    findings = (not_withdrawn(), Label.verdict != Verdict.UNSURE)
    query = (
        sa.select(Case.case_id, CaseEvidence.moved)
        .join(Label, Label.case_id == Case.case_id)
        .where(*findings)
        .order_by(Label.known_at.desc(), Label.label_id.desc())  # as their index has it, from its end
    )
    closest = _closest(connection, case_id, query, most=most, least=0.0)
    columns = (Label.case_id, Label.verdict, Label.mode, Label.cause, Label.evidence, Label.note)
    answered = sa.select(*columns).where(*findings, Label.case_id.in_(list(closest)))
    # Rows are in time order, so the newest one is kept.
    rows = connection.execute(answered.order_by(Label.known_at, Label.label_id.desc()))
    newest = {row.case_id: dict(row._mapping) for row in rows}
    return [case | newest[case["case_id"]] for case in _described(connection, closest)]


def look_alikes(
    connection: Connection, case_id: str, *, most: int = 10, least: float = LOOK_ALIKE
) -> list[dict[str, Any]]:
    """Return the open cases that look like a case: similarity at least `least`, the most similar first.

    The first 1,000 cases of the queue are compared.
    """
    query = (
        sa.select(Case.case_id, CaseEvidence.moved)
        .where(Case.state == OPEN)
        .order_by(Case.queue_priority.desc(), Case.first_at, Case.case_id)
    )
    return _described(connection, _closest(connection, case_id, query, most=most, least=least))


def _described(connection: Connection, closest: dict[str, float]) -> list[dict[str, Any]]:
    about = (Case.family, Case.state, Case.fault_probability)
    query = (
        sa.select(Case.case_id, Case.first_at, *about, Axis.site, Axis.cell, Axis.robot_id, Axis.axis)
        .join(Axis, Axis.axis_id == Case.axis_id)
        .where(Case.case_id.in_(list(closest)))
    )
    rows = {row.case_id: dict(row._mapping) for row in connection.execute(query)}
    return [rows[case] | {"similarity": alike} for case, alike in closest.items()]


def _closest(connection: Connection, case_id: str, query: Any, *, most: int, least: float) -> dict[str, float]:
    """Return ids and similarities of the most similar cases, from a query of ids and distances."""
    own = connection.execute(sa.select(CaseEvidence).where(CaseEvidence.case_id == case_id)).one_or_none()
    if own is None or own.moved is None:
        return {}
    query = (
        query.join(CaseEvidence, CaseEvidence.case_id == Case.case_id)
        .where(
            Case.case_id != case_id,
            CaseEvidence.feature_version == own.feature_version,
            CaseEvidence.scope.is_not_distinct_from(own.scope),
            sa.func.length(CaseEvidence.moved) == len(own.moved),
        )
        .limit(MOST_COMPARED)
    )
    moved = {case: stored for case, stored in connection.execute(query)}
    if not moved:
        return {}
    alike = similarity(numbers([own.moved])[0], numbers(list(moved.values())))
    order = np.argsort(-np.nan_to_num(alike, nan=-1.0), kind="stable")
    names = list(moved)
    return {names[int(i)]: float(alike[i]) for i in order[:most] if alike[i] >= least}


def numbers(stored: Sequence[bytes]) -> Numbers:
    """Return stored distances as an array, shape (n, F); all have the same length."""
    return np.frombuffer(b"".join(stored), dtype="<f4").astype(np.float64).reshape(len(stored), -1 if stored else 0)
