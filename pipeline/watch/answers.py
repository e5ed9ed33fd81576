"""What the triggers need from answers and axis states: reviewed cases, missed faults, false alarms and rates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.cases.audit import AUDIT, MISSED
from pipeline.cases.axis_state import MACHINE_CODES
from pipeline.labels.labels import not_withdrawn
from pipeline.labels.words import HEALTHY_VERDICTS, Evidence, Verdict
from pipeline.store.attribution import unit_name
from pipeline.store.tables import AxisState, Case, Label
from pipeline.watch.history import Champion
from pipeline.watch.observed import Confirmed, Reviewed, TimeSpan

ALARM = "fault"
"""Code of the reason that makes a case an alarm."""

NOVELTY_CODES = frozenset({"novel", "new_program"})
REVIEW_CODES = frozenset(MACHINE_CODES) - {ALARM}
CONFIRMED = (Evidence.INSPECTED, Evidence.TEARDOWN)


def reviewed_cases(connection: Connection, champion: Champion, *, since: datetime, as_of: datetime) -> Reviewed:
    """Return the answered cases that were opened since a time, if the champion was not trained on the answer.

    A case stands for its flagged bins that the champion scored. Its stated probability is the mean over them, because
    the figure of the case itself is the highest one, and so too high. Its chance is the share of such cases that were
    answered, for alarms and for other cases separately; the chance of an audit is the one that it was drawn with.
    """
    opened = _cases(connection, since, as_of)
    answers = _answers(connection, [case.case_id for case in opened], champion.label_cutoff, as_of)
    shares = {kind: _answered_share(opened, answers, kind) for kind in (True, False)}
    rows = []
    for case in opened:
        label = answers.get(case.case_id)
        if label is None:
            continue
        audited = case.family == AUDIT
        bins = _bins(connection, case.axis_id, case.first_at, case.last_at, champion.version)
        stated = [row.fault_probability for row in bins if audited or _codes(row.flags) & set(MACHINE_CODES)]
        known = [value for value in stated if value is not None]
        if not known:
            continue
        chance = case.selection_probability if audited else shares[_is_alarm(case)] / len(known)
        unit = unit_name(label.unit_serial, case.axis_id)
        rows.append((float(np.mean(known)), label.verdict in MISSED, unit, chance, audited, _is_alarm(case)))
    columns: list[Any] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(6)]
    return Reviewed(
        stated=np.array(columns[0], dtype=np.float64),
        fault=np.array(columns[1], dtype=np.bool_),
        unit=np.array(columns[2], dtype=np.str_),
        chance=np.array(columns[3], dtype=np.float64),
        audited=np.array(columns[4], dtype=np.bool_),
        alarm=np.array(columns[5], dtype=np.bool_),
    )


def confirmed(connection: Connection, champion: Champion, *, since: datetime, as_of: datetime) -> Confirmed:
    """Count units with a confirmed fault since a time, those without a case, and alarms answered, false ones.

    A fault is confirmed by an inspection or a teardown. It was not missed if a machine case on its axis was open before
    the finding; an audit, drawn at random, does not count. Only ranges that the champion had scored count.
    """
    missed: dict[str, bool] = {}
    query = sa.select(Label).where(
        Label.verdict == Verdict.FAULT,
        Label.evidence.in_(CONFIRMED),
        Label.known_at > since,
        Label.known_at <= as_of,
        Label.axis_id.is_not(None),
        not_withdrawn(as_of),
    )
    for label in connection.execute(query.order_by(Label.known_at, Label.label_id)).all():
        if not _bins(connection, label.axis_id, label.from_at, label.to_at, champion.version):
            continue
        case = sa.select(Case.case_id).where(
            Case.axis_id == label.axis_id,
            Case.family == "machine",
            Case.known_at <= label.known_at,
            Case.first_at < label.to_at,
            Case.last_at >= label.from_at,
        )
        has_case = connection.execute(case.limit(1)).first() is not None
        unit = unit_name(label.unit_serial, label.axis_id)
        missed[unit] = missed.get(unit, False) or not has_case
    alarms: dict[str, bool] = {}
    opened = [case for case in _cases(connection, since, as_of) if case.family != AUDIT and _is_alarm(case)]
    answers = _answers(connection, [case.case_id for case in opened], since, as_of)
    for case in opened:
        answer = answers.get(case.case_id)
        if answer is not None:
            unit = unit_name(answer.unit_serial, case.axis_id)
            alarms[unit] = alarms.get(unit, False) or answer.verdict in HEALTHY_VERDICTS
    return Confirmed(
        missed=sum(missed.values()),
        faults=len(missed),
        false_alarms=sum(alarms.values()),
        alarms=len(alarms),
    )


def flagged_rates(
    connection: Connection, version: str, then: TimeSpan, now: TimeSpan, *, left_out: Collection[str]
) -> Mapping[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Return for `novelty_rate` and `review_rate` the share of flagged bins of each axis then and now; NaN: no bin.

    Bins without a usable channel do not count, nor do axes whose change is explained.
    """
    counts: dict[str, dict[str, list[int]]] = {}
    for side, span in (("then", then), ("now", now)):
        query = sa.select(AxisState.axis_id, AxisState.flags, AxisState.model_versions).where(
            AxisState.bin_at >= span.from_at,
            AxisState.bin_at < span.to_at,
            AxisState.n_windows > 0,
            AxisState.state != "data_fault",
        )
        for row in connection.execute(query):
            if version in row.model_versions and row.axis_id not in left_out:
                codes = _codes(row.flags)
                count = counts.setdefault(row.axis_id, {}).setdefault(side, [0, 0, 0])
                count[0] += 1
                count[1] += bool(codes & NOVELTY_CODES)
                count[2] += bool(codes & REVIEW_CODES)
    axes = [sides for _, sides in sorted(counts.items())]

    def shares(side: str, place: int) -> npt.NDArray[np.float64]:
        return np.array([sides[side][place] / sides[side][0] if side in sides else np.nan for sides in axes])

    return {
        name: (shares("then", place), shares("now", place)) for place, name in ((1, "novelty_rate"), (2, "review_rate"))
    }


def _cases(connection: Connection, since: datetime, as_of: datetime) -> list[Any]:
    query = sa.select(Case).where(Case.family.in_(("machine", AUDIT)), Case.known_at > since, Case.known_at <= as_of)
    return list(connection.execute(query.order_by(Case.case_id)))


def _answers(connection: Connection, cases: list[str], since: datetime, as_of: datetime) -> dict[str, Any]:
    """Return the newest answer of each case, where it says fault or no fault."""
    query = (
        sa.select(Label.case_id, Label.verdict, Label.unit_serial)
        .where(Label.case_id.is_not(None), Label.known_at > since, Label.known_at <= as_of, not_withdrawn(as_of))
        .order_by(Label.known_at, Label.label_id)
    )
    case_ids = set(cases)
    newest = {row.case_id: row for row in connection.execute(query) if row.case_id in case_ids}
    return {case: row for case, row in newest.items() if row.verdict in MISSED | HEALTHY_VERDICTS}


def _answered_share(opened: list[Any], answers: Mapping[str, Any], alarm: bool) -> float:
    kind = [case for case in opened if case.family != AUDIT and _is_alarm(case) == alarm]
    return sum(case.case_id in answers for case in kind) / len(kind) if kind else 1.0


def _bins(connection: Connection, axis: str, from_at: datetime, to_at: datetime, version: str) -> list[Any]:
    query = sa.select(AxisState.fault_probability, AxisState.flags, AxisState.model_versions).where(
        AxisState.axis_id == axis, AxisState.last_at >= from_at, AxisState.first_at <= to_at, AxisState.n_windows > 0
    )
    return [row for row in connection.execute(query) if version in row.model_versions]


def _codes(flags: list[Any]) -> set[str]:
    return {flag["code"] for flag in flags}


def _is_alarm(case: Any) -> bool:
    """Return whether a case was opened by the stated probability alone."""
    return {reason["code"] for reason in case.reasons} & set(MACHINE_CODES) == {ALARM}
