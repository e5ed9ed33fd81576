"""Case memory: what engineers found in cases that look alike, as a figure of its own beside the model's.

A verdict changes its look-alikes without any training. The figure adds suspicion, or moves a case down the queue; it
never clears an alarm, never changes a figure of the model, and never closes a case.

What a case showed is copied to each finding on it (`case_answers`), because the case may go on. A finding that comes or
is withdrawn marks itself, and new evidence marks its case (`pipeline.store.due`), for `pipeline.cases.remembering`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.ids import instant, stable_id
from pipeline.cases.similar import MOST_COMPARED, numbers, similarity
from pipeline.labels.labels import not_withdrawn, strength
from pipeline.labels.words import IS_FAULT, Verdict, evidence_weight
from pipeline.store import due
from pipeline.store.attribution import unit_name
from pipeline.store.database import insert_ignore
from pipeline.store.tables import Axis, Case, CaseAnswer, CaseEvidence, Label, Recording

MOST_UNITS: Final = 5
NEAR: Final = 2 / 3
"""Similarity: an answered case that is less alike says nothing. A mean difference of 2 spreads."""

PRIOR: Final = 0.5
"""Weight of knowing nothing (a figure of 0.5), in votes of a teardown on a case that is wholly alike."""

STEP: Final = "remember"
CASES: Final = due.Queue(STEP, "case")
ANSWERS: Final = due.Queue(STEP, "label")
DATA: Final = "data"

Numbers = npt.NDArray[np.float64]
Weights = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Remembered:
    """What answered cases say about a case.

    Attributes
    ----------
    figure : float or None
        0 (the look-alikes were healthy) to 1 (they were faulty); 0.5 where they disagree; None where nothing is near.
    votes : int64 array, shape (m,)
        Indices of the answered cases that it rests on, the most similar first; one a unit.
    similarity, weight : float64 array, shape (m,)
        Of each of them. The weight is that of the evidence times nearness, 0 (at the limit) to 1 (the same).
    """

    figure: float | None
    votes: npt.NDArray[np.int64]
    similarity: Numbers
    weight: Numbers


def remembered(
    moved: Numbers,
    answered: Numbers,
    is_fault: npt.NDArray[np.bool_],
    evidence_weight: Numbers,
    unit: npt.NDArray[Any],
    *,
    most_units: int = MOST_UNITS,
    near: float = NEAR,
    prior: float = PRIOR,
) -> Remembered:
    """Return what the nearest answered units say about a case.

    Of each unit only the most similar answered case votes. The figure is the mean of the findings (fault: 1, healthy:
    0) weighted by evidence and nearness, together with a prior of 0.5, so that one weak vote says little.

    Parameters
    ----------
    moved : float64 array, shape (F,)
        Of the case: each feature's distance from the unit's own baseline, in its spreads; NaN where not known.
    answered : float64 array, shape (n, F)
        The same of the answered cases, of the same quantity and feature version.
    is_fault : bool array, shape (n,)
        The finding of each.
    evidence_weight : float64 array, shape (n,)
        Weight of each finding by its evidence, at least 0; one of weight 0 does not vote.
    unit : array, shape (n,)
        Name of the physical unit of each.
    most_units
        So many units vote at most: the nearest.
    near
        Least similarity of a vote, 0 to below 1 (`pipeline.cases.similar.similarity`).
    prior
        Weight of a figure of 0.5; above 0.

    Examples
    --------
    >>> faulty = np.array([True, True, False])
    >>> answered, unit = np.array([[0.0, 0.0], [0.0, 0.0], [9.0, 9.0]]), np.array(["a", "a", "b"])
    >>> told = remembered(np.zeros(2), answered, faulty, np.ones(3), unit)
    >>> told.figure, told.votes.tolist()
    (0.833333, [0])
    """
    alike = np.where(evidence_weight > 0, similarity(moved, answered), np.nan)
    order = np.argsort(-np.nan_to_num(alike, nan=-1.0), kind="stable")
    order = order[alike[order] > near]
    _, first = np.unique(unit[order], return_index=True)
    votes = order[np.sort(first)][:most_units]
    weight = evidence_weight[votes] * (alike[votes] - near) / (1.0 - near)
    figure = None
    if votes.size:
        figure = round(float((0.5 * prior + weight[is_fault[votes]].sum()) / (prior + weight.sum())), 6)
    return Remembered(figure, votes, alike[votes], weight)


@dataclass(frozen=True, eq=False)
class Answers:
    """Findings on cases of one scope and feature version, as arrays: n findings, one of each case.

    Attributes
    ----------
    moved : float64 array, shape (n, F)
    is_fault : bool array, shape (n,)
    weight : float64 array, shape (n,)
        Of the evidence.
    unit : int64 array, shape (n,)
        Number of the physical unit.
    case_id : str array, shape (n,)
    told : tuple of dict
        What is shown of each: ids, place, words, person.
    """

    moved: Numbers
    is_fault: npt.NDArray[np.bool_]
    weight: Numbers
    unit: npt.NDArray[np.int64]
    case_id: npt.NDArray[np.str_]
    told: tuple[dict[str, Any], ...]

    def figure_of(self, case_id: str, moved: Numbers, *, without: str = "") -> Remembered:
        """Return what the findings say about a case; its own do not count, nor those on the case `without`."""
        silent = (self.case_id == case_id) | (self.case_id == without)
        return remembered(moved, self.moved, self.is_fault, np.where(silent, 0.0, self.weight), self.unit)

    def rests_on(self, found: Remembered) -> list[dict[str, Any]]:
        """Return what is shown of the findings that a figure rests on, the nearest first."""
        parts = zip(found.votes.tolist(), found.similarity.tolist(), found.weight.tolist(), strict=True)
        return [self.told[vote] | {"similarity": round(a, 4), "weight": round(w, 4)} for vote, a, w in parts]


def read_answers(
    connection: Connection, scope: str, feature_version: str, *, as_of: datetime, evidence_weights: Weights
) -> Answers:
    """Return the findings known at a time and not withdrawn by then; the 1,000 newest at most.

    Of several findings on a case, the one with the strongest evidence counts, then the newest. If it says nothing about
    the machine, the case has no vote.
    """
    shown: list[Any] = [Label.label_id, Label.verdict, Label.mode, Label.evidence, Label.who, Label.known_at]
    shown += [Label.unit_serial, Case.axis_id, Axis.site, Axis.cell, Axis.robot_id, Axis.axis]
    query = (
        sa.select(CaseAnswer.case_id, CaseAnswer.moved, *shown)
        .join(Label, Label.label_id == CaseAnswer.label_id)
        .join(Case, Case.case_id == CaseAnswer.case_id)
        .join(Axis, Axis.axis_id == Case.axis_id)
        .where(CaseAnswer.scope == scope, CaseAnswer.feature_version == feature_version)
        .where(CaseAnswer.known_at <= as_of, not_withdrawn(as_of))
        .order_by(CaseAnswer.known_at.desc(), CaseAnswer.label_id)
        .limit(MOST_COMPARED)
    )
    holding: dict[str, Any] = {}
    rows: Sequence[Any] = connection.execute(query).all()
    for row in rows:
        if row.case_id not in holding or strength(row) > strength(holding[row.case_id]):
            holding[row.case_id] = row
    rows = [row for row in holding.values() if Verdict(row.verdict) in IS_FAULT]
    names = ("case_id", "label_id", "site", "cell", "robot_id", "axis", "verdict", "mode", "evidence", "who")
    return Answers(
        numbers([row.moved for row in rows]),
        np.array([IS_FAULT[Verdict(row.verdict)] for row in rows], dtype=np.bool_),
        np.array([evidence_weight(evidence_weights, row.evidence) for row in rows], dtype=np.float64),
        np.unique([unit_name(row.unit_serial, row.axis_id) for row in rows], return_inverse=True)[1],
        np.array([row.case_id for row in rows], dtype=np.str_),
        tuple({name: row._mapping[name] for name in names} for row in rows),
    )


def answer_given(connection: Connection, case_id: str, what: str, *, at: datetime) -> None:
    """Keep what a case shows now for its findings, and mark their look-alikes; call it after a finding or an undo.

    Parameters
    ----------
    what
        The act: `verdict` or `undone`.
    """
    _keep_answers(connection, [case_id])
    labels = connection.scalars(sa.select(CaseAnswer.label_id).where(CaseAnswer.case_id == case_id))
    due.mark(connection, ANSWERS, [(at, label, 1) for label in labels], stable_id(what, instant(at)))


def evidence_noted(connection: Connection, case_ids: Sequence[str], *, at: datetime) -> None:
    """Mark cases whose evidence is new, and findings that had to wait for it."""
    waited = _keep_answers(connection, case_ids)
    due.mark(connection, ANSWERS, [(at, label, 1) for label in waited], stable_id("evidence", instant(at)))
    due.mark(connection, CASES, [(at, case_id, 1) for case_id in case_ids], stable_id("evidence", instant(at)))


def _keep_answers(connection: Connection, case_ids: Sequence[str]) -> list[str]:
    """Copy the evidence of cases to their findings without a copy, if the recording shown lies in their range."""
    columns = (CaseEvidence.scope, CaseEvidence.feature_version, CaseEvidence.moved)
    query = (
        sa.select(Label.label_id, Label.case_id, *columns, Label.known_at)
        .join(Case, Case.case_id == Label.case_id)
        .join(CaseEvidence, CaseEvidence.case_id == Label.case_id)
        .join(Recording, Recording.recording_id == CaseEvidence.recording_id)
        .outerjoin(CaseAnswer, CaseAnswer.label_id == Label.label_id)
        .where(Label.case_id.in_(case_ids), Case.family != DATA, CaseAnswer.label_id.is_(None))
        .where(CaseEvidence.moved.is_not(None), CaseEvidence.scope.is_not(None))
        .where(Recording.started_at >= Label.from_at, Recording.started_at < Label.to_at)
        .order_by(Label.label_id)
    )
    rows = [dict(row._mapping) for row in connection.execute(query)]
    insert_ignore(connection, CaseAnswer, rows)
    return [row["label_id"] for row in rows]
