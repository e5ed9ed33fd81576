"""The data of the page of a case: facts, history, findings, similar cases, what its finding changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.cases.audit import is_blind
from pipeline.cases.axis_state import FAULT_FIGURES
from pipeline.cases.effects import disagreement, effect_of
from pipeline.cases.evidence import channels_of, unit_of
from pipeline.cases.queue import evidence_of
from pipeline.cases.similar import look_alikes, similar_past
from pipeline.cases.verdicts import get_case, shown_of
from pipeline.cases.work import labels_of, work_of
from pipeline.store.attribution import unit_at
from pipeline.store.database import Store
from pipeline.store.tables import Axis, AxisState
from review.reasons import case_statement
from review.statements import Statement


def case_facts(store: Store, case_id: str, *, as_of: datetime) -> dict[str, Any]:
    """Return a case with its history, findings, claim, unit, model versions, channels, and signal evidence.

    Parameters
    ----------
    as_of
        Time of the request; a claim that ended before it is left out.

    Raises
    ------
    PrerequisiteMissing
        There is no such case.
    """
    case = get_case(store, case_id)
    with store.read() as connection:
        work = dict(work_of(connection, case_id))
        if work["claimed_until"] is not None and work["claimed_until"] <= as_of:
            work["claimed_by"] = None
        state = state_of(connection, case)
        return case | {
            "work": work,
            "labels": labels_of(connection, case_id),
            "unit_serial": unit_of(connection, case),
            "unit_now": unit_at(connection, case["axis_id"], as_of),
            "criticality": connection.scalar(sa.select(Axis.criticality).where(Axis.axis_id == case["axis_id"])),
            "quality": None if state is None else state.quality,
            "model_versions": [] if state is None else state.model_versions,
            "channels": channels_of(connection, case),
            "evidence": evidence_of(connection, [case_id]).get(case_id),
        }


def case_details(store: Store, case_id: str, *, weights: dict[str, float] | None, as_of: datetime) -> dict[str, Any]:
    """Return the facts of a case, past and open look-alikes, who disagrees on them, and what its finding changes.

    Parameters
    ----------
    weights
        Of findings in case memory, by evidence; None: it is off.
    """
    case = case_facts(store, case_id, as_of=as_of)
    with store.read() as connection:
        return case | {
            "similar": similar_past(connection, case_id),
            "look_alikes": look_alikes(connection, case_id) if case["state"] == "open" else [],
            "disagreement": disagreement(connection, case_id, as_of=as_of),
            "shown": shown_of(connection, [case_id])[case_id],
            "effect": effect_of(connection, case_id, weights=weights, as_of=as_of),
        }


def seen_of(case: dict[str, Any]) -> dict[str, Any]:
    """Return what the page showed of a case, for its history."""
    names = ("model_versions", "fault_probability", "priority", "n_bins")
    return {name: case[name] for name in names}


def blinded(case: dict[str, Any]) -> dict[str, Any]:
    """Return a case as its page shows it: without what the model says, if it is an audit without a verdict."""
    hidden = dict.fromkeys((*FAULT_FIGURES, "mode", "memory", "rests_on", "evidence"))
    return case | hidden if is_blind(case) else case


def said_of(case: dict[str, Any], evidence: Mapping[str, Any] | None, language: str) -> Statement:
    """Return what a page says of a case (`review.reasons.case_statement`); of an audit without a verdict no figure."""
    shown = blinded(case | {"evidence": evidence})
    return case_statement(shown, shown["evidence"], language)


def state_of(connection: Connection, case: dict[str, Any]) -> Any:
    """Return the newest state of the axis up to the end of a case."""
    query = sa.select(AxisState).where(AxisState.axis_id == case["axis_id"], AxisState.bin_at <= case["last_at"])
    return connection.execute(query.order_by(AxisState.bin_at.desc()).limit(1)).one_or_none()
