"""Cases as a user works with them: a case, a verdict, the fleet. The command line and the web both use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.base.ids import instant, utc_text
from pipeline.cases.episodes import CLOSED
from pipeline.cases.history import add_event, lock_axis_of
from pipeline.cases.memory import answer_given
from pipeline.labels.labels import label_row
from pipeline.labels.words import Verdict
from pipeline.store.attribution import unit_at
from pipeline.store.database import Store, insert_ignore
from pipeline.store.tables import Axis, AxisState, Case, CaseMemory, CaseWork, Label, Recording, ReviewEvent


def count_cases(store: Store, *, state: str | None = "open") -> int:
    """Count the cases in a state; `state` None counts all."""
    query = sa.select(sa.func.count()).select_from(Case)
    if state is not None:
        query = query.where(Case.state == state)
    with store.read() as connection:
        return connection.scalar(query) or 0


def get_case(store: Store, case_id: str) -> dict[str, Any]:
    """Return one case with what its look-alikes say (`memory`, `rests_on`) and its history, oldest action first.

    Raises
    ------
    PrerequisiteMissing
        There is no such case.
    """
    with store.read() as connection:
        case = read_case(connection, case_id)
        events = connection.execute(
            sa.select(ReviewEvent).where(ReviewEvent.case_id == case_id).order_by(ReviewEvent.sequence)
        )
        memory = sa.select(CaseMemory.figure, CaseMemory.rests_on).where(CaseMemory.case_id == case_id)
        figure, rests_on = connection.execute(memory).one_or_none() or (None, None)
        told = {"memory": figure, "rests_on": rests_on}
        return {**case, **told, "events": [dict(row._mapping) for row in events]}


def give_verdict(
    store: Store,
    case_id: str,
    finding: Mapping[str, str],
    *,
    who: str,
    at: datetime,
    period_hours: float,
    seen: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Record the finding of a user on a case: a label for its axis, unit and time range.

    Every verdict but `unsure` closes the case; it is reopened when the axis gets worse. `unsure` is stored and leaves
    the case open.

    Parameters
    ----------
    finding
        Words of `pipeline.labels.words`: verdict and evidence, and optionally component, mode, cause, severity,
        confidence, note, channel, from_at, to_at. Without from_at and to_at the range is that of the case.
    period_hours
        Length of a bin, hours. The range of the label ends with the bin of the case's last recording.
    seen
        What was on the screen, such as model versions and score; stored in the history. Without it, what the database
        holds now.

    Raises
    ------
    PrerequisiteMissing
        There is no such case.
    AxiswatchError
        Another user has claimed the case; or the finding has words or times that are not valid. The message lists all
        problems, and nothing is stored.
    """
    with store.write() as connection:
        case = read_case(connection, case_id, lock=True)
        refuse_claimed(connection, case_id, who, at)
        cells = {name: case[name] for name in ("site", "cell", "robot_id", "axis")}
        cells |= {name: value for name, value in finding.items() if value}
        cells["unit_serial"] = unit_at(connection, case["axis_id"], case["last_at"]) or ""
        cells.setdefault("from_at", instant(case["first_at"]))
        cells.setdefault("to_at", instant(_after(connection, case["axis_id"], case["last_at"], period_hours)))
        cells["known_at"] = instant(at)
        row, wrong = label_row(cells, who=who, case_id=case_id)
        if not wrong and not (row["from_at"] <= case["last_at"] and row["to_at"] > case["first_at"]):
            wrong.append("the range from_at to to_at does not touch the time of the case")
        if wrong:
            raise AxiswatchError("the verdict was not stored:\n" + "\n".join(f"  - {problem}" for problem in wrong))
        insert_ignore(connection, Label, [row])
        add_event(connection, case_id, who, "verdict", {"label_id": row["label_id"], **finding}, at, seen=seen)
        closes = row["verdict"] != Verdict.UNSURE
        if closes:
            values = {
                "state": CLOSED,
                "closed_at": max(at, case["last_at"]),
                "closed_by": who,
                "closed_priority": case["priority"],
                "changed_at": at,
            }
            connection.execute(sa.update(Case).where(Case.case_id == case_id).values(**values))
            add_event(connection, case_id, who, "closed", {"verdict": row["verdict"]}, at, seen=seen)
        answer_given(connection, case_id, "verdict", at=at)
    return {"case_id": case_id, "label_id": row["label_id"], "state": CLOSED if closes else case["state"]}


def give_verdicts(
    store: Store, case_ids: Iterable[str], finding: Mapping[str, str], *, who: str, at: datetime, period_hours: float
) -> dict[str, list[dict[str, Any]]]:
    """Give one verdict to many cases, as one finding each; a case that is refused does not stop the others.

    Returns
    -------
    dict
        `done`: what `give_verdict` returns, and `refused`: `case_id` and `detail` (the reason).
    """
    done, refused = [], []
    for case_id in dict.fromkeys(case_ids):
        try:
            done.append(give_verdict(store, case_id, finding, who=who, at=at, period_hours=period_hours))
        except AxiswatchError as error:
            refused.append({"case_id": case_id, "detail": str(error)})
    return {"done": done, "refused": refused}


def fleet_states(store: Store) -> list[dict[str, Any]]:
    """Return the newest state of every axis, by name; `unknown` where nothing was scored yet."""
    newest = (
        sa.select(AxisState.axis_id, sa.func.max(AxisState.bin_at, type_=AxisState.bin_at.type).label("bin_at"))
        .group_by(AxisState.axis_id)
        .subquery()
    )
    query = (
        sa.select(
            Axis.axis_id,
            Axis.site,
            Axis.cell,
            Axis.robot_id,
            Axis.axis,
            sa.func.coalesce(AxisState.state, "unknown").label("state"),
            AxisState.fault_probability,
            AxisState.mutual_information,
            AxisState.novelty_percentile,
            AxisState.last_at,
        )
        .outerjoin(newest, newest.c.axis_id == Axis.axis_id)
        .outerjoin(AxisState, sa.and_(AxisState.axis_id == Axis.axis_id, AxisState.bin_at == newest.c.bin_at))
        .order_by(Axis.site, Axis.cell, Axis.robot_id, Axis.axis)
    )
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def read_case(connection: Connection, case_id: str, *, lock: bool = False) -> dict[str, Any]:
    """Return a case with the names of its axis; `lock` locks the axis, then the case, until the transaction ends."""
    query = (
        sa.select(Case, Axis.site, Axis.cell, Axis.robot_id, Axis.axis)
        .join(Axis, Axis.axis_id == Case.axis_id)
        .where(Case.case_id == case_id)
    )
    there = lock_axis_of(connection, case_id) if lock else True
    row = connection.execute(query.with_for_update(of=Case) if lock else query).one_or_none() if there else None
    if row is None:
        raise PrerequisiteMissing(f"there is no case {case_id}; `axiswatch queue` shows them")
    return dict(row._mapping)


def refuse_claimed(connection: Connection, case_id: str, who: str, at: datetime) -> None:
    """Check that nobody else has claimed a case.

    Raises
    ------
    AxiswatchError
        Another user has claimed it, and the claim has not expired.
    """
    query = sa.select(CaseWork.claimed_by, CaseWork.claimed_until).where(CaseWork.case_id == case_id)
    row = connection.execute(query).one_or_none()
    if row is not None and row.claimed_by not in (None, who) and row.claimed_until > at:
        raise AxiswatchError(f"case {case_id} is claimed by {row.claimed_by} until {utc_text(row.claimed_until)}")


def _after(connection: Connection, axis_id: str, last_at: datetime, period_hours: float) -> datetime:
    """Return the end of a label's range: just after the case's last recording, before the next one."""
    following = connection.scalar(
        sa.select(Recording.started_at)
        .where(Recording.axis_id == axis_id, Recording.started_at > last_at)
        .order_by(Recording.started_at)
        .limit(1)
    )
    end = last_at + timedelta(hours=period_hours)
    return end if following is None else min(end, following)
