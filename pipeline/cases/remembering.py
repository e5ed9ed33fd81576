"""remember: bring the figures of case memory up to date where evidence, or a finding near a case, is new.

`remember` is the step of a run and looks only at what is marked. `recall` is for whoever records a finding: its
look-alikes change at once. All of it goes one after the other, so nobody writes what was read before a finding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from pipeline.base.ids import stable_id
from pipeline.cases.episodes import CLOSED
from pipeline.cases.history import SYSTEM, add_event, lock_axis_of
from pipeline.cases.memory import (
    ANSWERS,
    CASES,
    DATA,
    MOST_UNITS,
    NEAR,
    PRIOR,
    STEP,
    Answers,
    Weights,
    read_answers,
)
from pipeline.cases.ordering import memory_move, refresh_queue
from pipeline.cases.queue import ALARM_CODE, LOOKS_FAULTY, has_reason
from pipeline.cases.similar import MOST_COMPARED, numbers, similarity
from pipeline.labels.words import IS_FAULT, Verdict
from pipeline.store import due
from pipeline.store.database import Store, upsert
from pipeline.store.tables import Axis, Case, CaseAnswer, CaseEvidence, CaseMemory, DueBasis, DueWork

OFF: Final = "off"
PAGE: Final = 500
ROUNDED: Final = 1e-4
"""Similarities are stored with four digits."""

_PLACE = (Axis.site, Axis.cell, Axis.robot_id, Axis.axis)


def remember(store: Store, *, weights: Weights | None, as_of: datetime) -> int:
    """Bring the figures of cases up to date whose evidence, or a finding near them, is new; return how many changed.

    Parameters
    ----------
    weights
        Weight of a finding by its evidence. None: memory is off, and all figures are deleted; when it is on again, all
        of them are computed anew.
    """
    basis = {"": OFF}
    if weights is not None:
        listed = [f"{name} {weights[name]}" for name in sorted(weights)]
        basis = {"": stable_id(MOST_UNITS, NEAR, PRIOR, *listed)}
    with store.read() as connection:
        other = bool(due.changed_bases(connection, STEP, basis))
        waits = any(due.count(connection, queue, as_of) for queue in (CASES, ANSWERS))
    if other or (waits and weights is None):
        _begin_anew(store, basis, as_of)
    changed: list[str] = []
    while weights is not None and (waits or other):
        with store.write() as connection:
            _hold(connection)
            cases = due.take(connection, CASES, as_of, most=PAGE)
            answers = due.take(connection, ANSWERS, as_of, most=PAGE)
            ids = {*cases.causes, *_affected(connection, list(answers.causes))}
            changed += _update(connection, ids, as_of, weights)
            for marks in (cases, answers):
                due.done(connection, marks, marks.causes)
        if cases.is_last and answers.is_last:
            break
    _place_again(store, changed, as_of)
    _tell(store, as_of)
    return len(set(changed))


def recall(store: Store, case_ids: Collection[str], *, weights: Weights | None, as_of: datetime) -> list[str]:
    """Change the look-alikes of cases at once, after findings on them or withdrawals; return those that changed.

    The first 1,000 cases of the queue are compared. The marks stay, so the next run looks at all of them.
    """
    if weights is None:
        return []
    with store.write() as connection:
        _hold(connection)
        affected = _affected(connection, _labels_of(connection, case_ids), most=MOST_COMPARED)
        changed = _update(connection, affected, as_of, weights)
    _place_again(store, changed, as_of)
    return changed


def influence(connection: Connection, case_id: str, *, weights: Weights, as_of: datetime) -> list[dict[str, Any]]:
    """Return the open cases whose figure rests on the finding of a case, the farthest moved first.

    Returns
    -------
    list of dict
        `case_id`, its place, `queue_priority`; `figure` and `without`, the figures with the finding and without it
        (None where nothing is near); `moves`: how far it moves the case in the queue by itself, up if above 0.
    """
    near = _near(connection, _labels_of(connection, [case_id]), most=MOST_COMPARED)
    known: dict[tuple[str, str], Answers] = {}
    moved = []
    for row in _looked_at(connection, near):
        key = row.scope, row.feature_version
        if not any(vote["case_id"] == case_id for vote in row.rests_on or ()):
            continue
        if key not in known:
            known[key] = read_answers(connection, *key, as_of=as_of, evidence_weights=weights)
        own = numbers([row.moved])[0]
        figures = [
            known[key].figure_of(row.case_id, own).figure,
            known[key].figure_of(row.case_id, own, without=case_id).figure,
        ]
        if figures[0] != figures[1]:
            told = np.array([np.nan if figure is None else figure for figure in figures])
            places = memory_move(told, np.array([bool(row.has_alarm)] * 2))
            shown = {name: row._mapping[name] for name in ("case_id", "site", "cell", "robot_id", "axis")}
            shown |= {"queue_priority": row.queue_priority, "figure": figures[0], "without": figures[1]}
            moved.append(shown | {"moves": round(float(places[0] - places[1]), 4)})
    moved.sort(key=lambda item: (-abs(item["moves"]), item["case_id"]))
    return moved


def _labels_of(connection: Connection, case_ids: Collection[str]) -> Sequence[str]:
    return connection.scalars(sa.select(CaseAnswer.label_id).where(CaseAnswer.case_id.in_(case_ids))).all()


def _hold(connection: Connection) -> None:
    """Let nobody else compute figures until the transaction ends: who read before a finding must not write after it."""
    connection.execute(sa.select(DueBasis).where(DueBasis.step == STEP).with_for_update())


def _begin_anew(store: Store, basis: Mapping[str, str], as_of: datetime) -> None:
    """Mark all cases that are not closed; where memory is off, delete all figures and marks."""
    gone: list[str] = []
    with store.write() as connection:
        due.set_bases(connection, STEP, basis)
        if basis[""] == OFF:
            gone = list(connection.scalars(sa.select(CaseMemory.case_id)))
            connection.execute(sa.delete(CaseMemory))
            connection.execute(sa.delete(DueWork).where(DueWork.step == STEP))
        else:
            columns: list[Any] = [sa.literal(CASES.scope).label("scope"), sa.literal("").label("version")]
            columns += [sa.literal(as_of, Case.changed_at.type).label("at"), Case.case_id, sa.literal(1).label("size")]
            open_ones = sa.select(*columns).where(Case.state != CLOSED, Case.family != DATA)
            due.mark_selected(connection, STEP, open_ones, stable_id(basis[""]))
    _place_again(store, gone, as_of)


def _affected(connection: Connection, labels: Sequence[str], *, most: int | None = None) -> list[str]:
    """Return the cases near to findings whose votes these findings may be: others have votes that are all nearer."""
    near = _near(connection, labels, most=most)
    ids, affected = sorted(near), []
    for first in range(0, len(ids), PAGE):
        query = sa.select(CaseMemory.case_id, CaseMemory.rests_on)
        page = ids[first : first + PAGE]
        votes = {row.case_id: row.rests_on for row in connection.execute(query.where(CaseMemory.case_id.in_(page)))}
        for case_id in page:
            own = votes.get(case_id, [])
            full = len(own) == MOST_UNITS and min(vote["similarity"] for vote in own) > near[case_id] + ROUNDED
            if not full or any(vote["label_id"] in labels for vote in own):
                affected.append(case_id)
    return affected


def _near(connection: Connection, labels: Sequence[str], *, most: int | None = None) -> dict[str, float]:
    """Return the cases, not closed, that are near to what findings rest on, with the similarity to the nearest.

    With `most`, only the first of the queue are compared.
    """
    columns = (CaseAnswer.scope, CaseAnswer.feature_version, CaseAnswer.moved)
    answers = sa.select(*columns).where(CaseAnswer.label_id.in_(labels))
    kinds: dict[tuple[str, str], list[bytes]] = {}
    for row in connection.execute(answers) if labels else ():
        kinds.setdefault((row.scope, row.feature_version), []).append(row.moved)
    near: dict[str, float] = {}
    for (scope, version), stored in kinds.items():
        asked = numbers(stored)
        query = (
            sa.select(Case.case_id, CaseEvidence.moved)
            .join(CaseEvidence, CaseEvidence.case_id == Case.case_id)
            .where(Case.state != CLOSED, Case.family != DATA)
            .where(CaseEvidence.scope == scope, CaseEvidence.feature_version == version)
            .where(CaseEvidence.moved.is_not(None))
            .order_by(Case.queue_priority.desc(), Case.first_at, Case.case_id)
            .limit(most)
        )
        for part in connection.execute(query).partitions(PAGE):
            others = numbers([row.moved for row in part])
            alike = np.array([np.nan_to_num(similarity(one, others)) for one in asked]).max(axis=0)
            near |= {row.case_id: value for row, value in zip(part, alike.tolist(), strict=True) if value > NEAR}
    return near


def _looked_at(connection: Connection, case_ids: Iterable[str]) -> list[Row[Any]]:
    """Return cases with their evidence and their figures as stored."""
    evidence = (CaseEvidence.scope, CaseEvidence.feature_version, CaseEvidence.moved)
    case: list[Any] = [Case.case_id, Case.state, Case.family, Case.queue_priority, *_PLACE]
    case.append(has_reason(ALARM_CODE).label("has_alarm"))
    stored = (CaseMemory.figure, CaseMemory.rests_on, CaseMemory.told, CaseMemory.known_at)
    ids = sorted(set(case_ids))
    rows: list[Row[Any]] = []
    for first in range(0, len(ids), PAGE):
        query = (
            sa.select(*case, *evidence, *stored)
            .join(Axis, Axis.axis_id == Case.axis_id)
            .outerjoin(CaseEvidence, CaseEvidence.case_id == Case.case_id)
            .outerjoin(CaseMemory, CaseMemory.case_id == Case.case_id)
            .where(Case.case_id.in_(ids[first : first + PAGE]))
            .order_by(Case.case_id)
        )
        rows += connection.execute(query)
    return rows


def _update(connection: Connection, case_ids: Iterable[str], as_of: datetime, weights: Weights) -> list[str]:
    """Compute the figures of cases and store those that changed; return the ids of these cases."""
    known: dict[tuple[str, str, datetime], Answers] = {}
    rows, gone = [], []
    for row in _looked_at(connection, case_ids):
        found = rests_on = None
        if row.state != CLOSED and row.family != DATA and row.moved is not None and row.scope is not None:
            # A run for the past does not take back what a finding that came since has changed.
            key = row.scope, row.feature_version, max(as_of, row.known_at or as_of)
            if key not in known:
                known[key] = read_answers(connection, *key[:2], as_of=key[2], evidence_weights=weights)
            found = known[key].figure_of(row.case_id, numbers([row.moved])[0])
            rests_on = known[key].rests_on(found)
        if found is None or found.figure is None:
            gone += [] if row.figure is None else [row.case_id]
        elif (found.figure, rests_on) != (row.figure, row.rests_on):
            told = bool(row.told) and found.figure >= LOOKS_FAULTY
            known_at = max(as_of, row.known_at or as_of)
            rows.append(
                {
                    "case_id": row.case_id,
                    "figure": found.figure,
                    "rests_on": rests_on,
                    "told": told,
                    "known_at": known_at,
                }
            )
    upsert(connection, CaseMemory, rows)
    if gone:
        connection.execute(sa.delete(CaseMemory).where(CaseMemory.case_id.in_(gone)))
    return [*(row["case_id"] for row in rows), *gone]


def _place_again(store: Store, case_ids: Sequence[str], as_of: datetime) -> None:
    if case_ids:
        refresh_queue(store, as_of=as_of, only=sorted(set(case_ids)))


def _tell(store: Store, as_of: datetime) -> None:
    """Write into the history of a case that it looks like faults, once; so the webhook reports it."""
    news = (CaseMemory.figure >= LOOKS_FAULTY, CaseMemory.told.is_(False))
    query = sa.select(CaseMemory.case_id).join(Case, Case.case_id == CaseMemory.case_id)
    with store.read() as connection:
        waiting = connection.scalars(query.where(*news, Case.state != CLOSED).order_by(CaseMemory.case_id)).all()
    for case_id in waiting:
        with store.write() as connection:
            lock_axis_of(connection, case_id)
            row = connection.execute(
                sa.select(CaseMemory).where(CaseMemory.case_id == case_id, *news).with_for_update()
            ).one_or_none()
            if row is not None:
                faults = [one["case_id"] for one in row.rests_on if IS_FAULT[Verdict(one["verdict"])]]
                details = {"looks_like": faults, "memory": row.figure}
                add_event(connection, case_id, SYSTEM, "changed", details, as_of)
                connection.execute(sa.update(CaseMemory).where(CaseMemory.case_id == case_id).values(told=True))
