"""What a verdict changes: look-alikes in the queue, the alarm level, the next training; and who disagrees.

Nothing of it is stored: it is read from the findings as they are now, so it also holds after another verdict or an
undo. Whoever disagrees on look-alikes is shown to each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.cases.memory import Weights, read_answers
from pipeline.cases.remembering import influence, recall
from pipeline.cases.similar import LOOK_ALIKE, numbers, similarity
from pipeline.labels.labels import not_withdrawn, strength
from pipeline.labels.words import IS_FAULT, Evidence, Verdict, evidence_weight
from pipeline.registry.versions import champions
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Case, CaseEvidence, Extraction, Label, ModelVersion, Unit

MOST_NAMED: Final = 5


def settle(store: Store, case_id: str, *, weights: Weights | None, as_of: datetime) -> dict[str, Any] | None:
    """Change the look-alikes of a case after a finding on it or its withdrawal; return what the finding changes."""
    recall(store, [case_id], weights=weights, as_of=as_of)
    with store.read() as connection:
        return effect_of(connection, case_id, weights=weights, as_of=as_of)


def effect_of(
    connection: Connection, case_id: str, *, weights: Weights | None, as_of: datetime
) -> dict[str, Any] | None:
    """Return what the finding on a case changes; None where it has none that counts.

    Returns
    -------
    dict
        `up`, `down`: numbers of open look-alikes that it moves in the queue; `look_alikes`: the first five of them
        (`pipeline.cases.remembering.influence`). `level_of`: the site whose alarm level it counts for at the next
        estimate, None where it does not. `training`: for each scope, the number of labels that wait for its next
        training. `disagreement`: see `disagreement`.
    """
    label = _holding(connection, case_id, as_of)
    if label is None:
        return None
    touched = [] if weights is None else influence(connection, case_id, weights=weights, as_of=as_of)
    moved = [one for one in touched if one["moves"]]
    is_fault = IS_FAULT.get(Verdict(label.verdict))
    confirmed = is_fault is False or (is_fault and label.evidence != Evidence.SIGNAL_ONLY)
    waiting = labels_waiting(connection, case_id, weights=weights or {}, as_of=as_of)
    return {
        "up": sum(one["moves"] > 0 for one in moved),
        "down": sum(one["moves"] < 0 for one in moved),
        "look_alikes": moved[:MOST_NAMED],
        "level_of": label.site if confirmed else None,
        "training": waiting,
        "disagreement": disagreement(connection, case_id, as_of=as_of),
    }


def disagreement(connection: Connection, case_id: str, *, as_of: datetime) -> list[dict[str, Any]]:
    """Return findings of different people that contradict each other, on cases that look alike; the nearest first.

    Of a case with a finding: that finding, and what others found to the contrary. Of a case without: findings on its
    look-alikes. Empty where nobody contradicts anybody.

    Returns
    -------
    list of dict
        `case_id`, `label_id`, place, `verdict`, `mode`, `evidence`, `who`, and `similarity` to the case.
    """
    columns = (CaseEvidence.scope, CaseEvidence.feature_version, CaseEvidence.moved)
    shown = connection.execute(sa.select(*columns).where(CaseEvidence.case_id == case_id)).one_or_none()
    if shown is None or shown.moved is None or shown.scope is None:
        return []
    answers = read_answers(connection, shown.scope, shown.feature_version, as_of=as_of, evidence_weights={})
    own = np.flatnonzero(answers.case_id == case_id)
    moved = answers.moved[own[0]] if own.size else numbers([shown.moved])[0]
    alike = similarity(moved, answers.moved)
    alike[own] = 1.0
    near = np.flatnonzero(alike >= LOOK_ALIKE)
    who = np.array([one["who"] for one in answers.told], dtype=np.str_)

    def contradicted(one: int, by: Any) -> bool:
        return bool(np.any((answers.is_fault[by] != answers.is_fault[one]) & (who[by] != who[one])))

    against = [int(one) for one in near if contradicted(int(one), own if own.size else near)]
    if own.size and against:
        against = [int(own[0]), *against]
    against.sort(key=lambda one: (one not in own, -alike[one], one))
    return [answers.told[one] | {"similarity": round(float(alike[one]), 4)} for one in against]


def labels_waiting(
    connection: Connection, case_id: str, *, weights: Mapping[str, float], as_of: datetime
) -> list[dict[str, Any]]:
    """Return for the scope of a case how many labels its champion has not learned: `scope`, `labels`.

    Labels that name a class and have a weight count, if they cover a recording of the scope with features; of a label
    that names only a unit, on an axis where the registry has it.
    """
    scope = connection.scalar(sa.select(CaseEvidence.scope).where(CaseEvidence.case_id == case_id))
    if scope is None:
        return []
    version = champions(connection).get(scope)
    cutoff = sa.select(ModelVersion.label_cutoff).where(ModelVersion.model_version == version)
    since = None if version is None else connection.scalar(cutoff)
    there = (Extraction.scope == scope, Extraction.started_at >= Label.from_at, Extraction.started_at < Label.to_at)
    of_unit = (Unit.unit_serial == Label.unit_serial, Extraction.axis_id == Unit.axis_id)
    covered = sa.or_(
        sa.exists().where(Extraction.axis_id == Label.axis_id, *there),
        sa.and_(Label.axis_id.is_(None), sa.exists().where(*of_unit, *there)),
    )
    useful = [evidence for evidence in Evidence if evidence_weight(weights, evidence) > 0]
    known = [] if since is None else [Label.known_at > since]
    query = sa.select(sa.func.count()).select_from(Label)
    query = query.where(Label.known_at <= as_of, not_withdrawn(as_of), *known, covered)
    query = query.where(Label.verdict.in_(list(IS_FAULT)), Label.evidence.in_(useful))
    return [{"scope": scope, "labels": connection.scalar(query) or 0}]


def _holding(connection: Connection, case_id: str, as_of: datetime) -> Any:
    """Return the finding that counts on a case: the strongest evidence, then the newest; None where there is none."""
    columns = (Label.label_id, Label.verdict, Label.evidence, Label.known_at, Axis.site)
    query = (
        sa.select(*columns)
        .join(Case, Case.case_id == Label.case_id)
        .join(Axis, Axis.axis_id == Case.axis_id)
        .where(Label.case_id == case_id, Label.known_at <= as_of, not_withdrawn(as_of))
    )
    rows: list[Any] = list(connection.execute(query))
    return max(rows, key=strength, default=None)
