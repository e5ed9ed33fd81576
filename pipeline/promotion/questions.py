"""Doubted labels become cases: an engineer is asked to confirm or to correct each of them.

A retraining set them aside, or two units have the very same samples and different findings.

The id of the case follows from the label (`pipeline.labels.labels.question_id`), so a second run opens no second case,
and a question that was answered is not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.ids import utc_text
from pipeline.cases.audit import open_once
from pipeline.labels.labels import CONFIRM, question_id
from pipeline.promotion.judge import Contradicted
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Label
from pipeline.training.copies import Twin

PRIORITY: Final = 0.35
"""As a doubt about a machine: a wrong label may hide a fault, but nothing new has happened."""


def ask_about(connection: Connection, items: Sequence[Contradicted], *, as_of: datetime) -> int:
    """Open a case for each label of the contradicted findings, once; return the number of new cases.

    The axes are locked first, in the order of their ids, as every writer of cases does. The caller commits.
    """
    return _open(
        connection, [_case(connection, item, label_id, as_of) for item in items for label_id in item.labels], as_of
    )


def ask_about_twins(store: Store, twins: Sequence[Twin], *, as_of: datetime) -> int:
    """Open a case for each label that another one contradicts over the same samples, once; return how many are new."""
    if not twins:
        return 0
    with store.write() as connection:
        cases = []
        for twin in twins:
            facts = {"finding": twin.finding, "other_unit": twin.other_unit, "other_finding": twin.other_finding}
            cases.append(_row(connection, twin.label_id, twin.axis_id, [twin.started_at], facts, as_of))
        return _open(connection, cases, as_of)


def _open(connection: Connection, cases: Sequence[Mapping[str, Any]], as_of: datetime) -> int:
    axes = sorted({case["axis_id"] for case in cases})
    connection.execute(sa.select(Axis.axis_id).where(Axis.axis_id.in_(axes)).order_by(Axis.axis_id).with_for_update())
    return sum(open_once(connection, case, {"reasons": [CONFIRM]}, as_of=as_of) for case in cases)


def _case(connection: Connection, item: Contradicted, label_id: str, as_of: datetime) -> dict[str, Any]:
    """Return the row of a case on the axis of the label's newest recording."""
    members = [one for one in item.recordings if one.now is not None and one.now.label.label_id == label_id]
    axis_id = max(members, key=lambda one: (one.row.started_at, str(one.row.recording_id))).row.axis_id
    times = [one.row.started_at for one in members if one.row.axis_id == axis_id]
    facts = {"finding": item.finding, "champion": item.champion_probability, "challenger": item.probability}
    return _row(connection, label_id, axis_id, times, facts, as_of)


def _row(
    connection: Connection,
    label_id: str,
    axis_id: str,
    times: Sequence[datetime],
    facts: Mapping[str, Any],
    as_of: datetime,
) -> dict[str, Any]:
    label = connection.execute(sa.select(Label).where(Label.label_id == label_id)).one()
    told = {
        "label_id": label_id,
        "evidence": label.evidence,
        "who": label.who,
        "label_known_at": utc_text(label.known_at),
    }
    reason = {"code": CONFIRM, **told, **facts, "first_at": utc_text(min(times)), "last_at": utc_text(max(times))}
    reason["n_bins"] = 1
    return {
        "case_id": question_id(label_id),
        "axis_id": axis_id,
        "family": CONFIRM,
        "state": "open",
        "first_at": min(times),
        "last_at": max(times),
        "n_bins": 1,
        "priority": PRIORITY,
        "reasons": [reason],
        "fault_probability": None,
        "mode": None,
        "known_at": as_of,
        "changed_at": as_of,
    }
