"""Cases as a user works with them: a case, a verdict, the fleet. The command line and the web both use it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.assets.stops import off_until
from pipeline.base.errors import AxiswatchError, Coded, PrerequisiteMissing, SettingsError
from pipeline.base.ids import instant, read_time, utc_text
from pipeline.cases.audit import is_blind
from pipeline.cases.episodes import CLOSED
from pipeline.cases.evidence import unit_of
from pipeline.cases.history import add_event, lock_axes_of, lock_axis_of
from pipeline.cases.memory import answer_given
from pipeline.labels.labels import label_row
from pipeline.labels.words import IS_FAULT, Evidence, Verdict
from pipeline.store.database import Store, insert_ignore
from pipeline.store.tables import Axis, AxisState, Case, CaseMemory, CaseWork, Label, Recording, ReviewEvent

SETTLING: Final = ("verdict", "undone", "closed", "reopened")
"""Acts that change what was found on a case, or whether it is open."""


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


def shown_of(connection: Connection, case_ids: Collection[str]) -> dict[str, int]:
    """Return for each case the number of its newest act that changed its findings or closed or reopened it; 0: none.

    A page keeps it and sends it with a verdict, so that a page that has become old is noticed.
    """
    query = (
        sa.select(ReviewEvent.case_id, sa.func.max(ReviewEvent.sequence))
        .where(ReviewEvent.case_id.in_(case_ids), ReviewEvent.action.in_(SETTLING))
        .group_by(ReviewEvent.case_id)
    )
    newest = {case_id: sequence for case_id, sequence in connection.execute(query)}
    return {case_id: newest.get(case_id, 0) for case_id in case_ids}


def is_extreme(probability: float | None, *, margin: float = 0.05) -> bool:
    """Return whether a fault probability is so near to 0 or 1 that nobody should follow or contradict it lightly."""
    return probability is not None and not margin < probability < 1.0 - margin


def give_verdict(
    store: Store,
    case_id: str,
    finding: Mapping[str, str],
    *,
    who: str,
    at: datetime,
    period_hours: float,
    seen: Mapping[str, Any] | None = None,
    shown: Mapping[str, int] | None = None,
    also: Collection[str] = (),
    sure: bool = True,
) -> dict[str, Any]:
    """Record the finding of a user on a case: a label for its axis, unit and time range.

    Every verdict but `unsure` closes the case; it is reopened when the axis gets worse. `unsure` is stored and leaves
    the case open. The same finding given twice, with nothing in between, is stored once.

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
    shown
        What `shown_of` returned when the page was made; where a finding came since, the verdict is refused. None: it
        is not checked.
    also
        Open look-alikes that get the same finding, each for its whole time; all in one transaction, or none.
    sure
        Whether the user confirmed that the signal alone is enough against or for an extreme fault probability.

    Returns
    -------
    dict
        `case_id`, `label_id`, `state`; with `also` a list of the same of the look-alikes.

    Raises
    ------
    PrerequisiteMissing
        There is no such case.
    AxiswatchError
        Another user has claimed the case; the page was old; a look-alike is closed; the confirmation is missing; or the
        finding has words or times that are not valid. The message lists all problems, and nothing is stored.
    """
    act: dict[str, Any] = {"who": who, "at": at, "period_hours": period_hours, "shown": shown, "sure": sure}
    others = [one for one in dict.fromkeys(also) if one != case_id]
    plain = {name: value for name, value in finding.items() if name not in ("channel", "from_at", "to_at")}
    with store.write() as connection:
        lock_axes_of(connection, [case_id, *others])
        told = _give(connection, case_id, finding, seen=seen, **act)
        alike = [_give(connection, one, plain, only_open=True, **act) for one in others]
    return told | ({"also": alike} if also else {})


def _give(
    connection: Connection,
    case_id: str,
    finding: Mapping[str, str],
    *,
    who: str,
    at: datetime,
    period_hours: float,
    shown: Mapping[str, int] | None,
    sure: bool,
    seen: Mapping[str, Any] | None = None,
    only_open: bool = False,
) -> dict[str, Any]:
    """Record a finding on one case. The caller holds the locks on all axes and commits."""
    case = read_case(connection, case_id, lock=True)
    page = None if shown is None else shown.get(case_id)
    row = _label_of(connection, case, finding, who=who, at=at, period_hours=period_hours)
    stored = _stored_before(connection, case_id, row, finding, who=who, since=page)
    if stored is not None:
        return {"case_id": case_id, "label_id": stored, "state": case["state"]}
    refuse_claimed(connection, case_id, who, at)
    if page is not None and page != shown_of(connection, [case_id])[case_id]:
        raise AxiswatchError(_old_page(connection, case_id))
    if only_open and case["state"] == CLOSED:
        raise AxiswatchError(Coded(f"case {case_id} is closed; leave it out", "closed_look_alike", case=case_id))
    _ask_what_it_rests_on(case, row, sure)
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


def _label_of(
    connection: Connection,
    case: Mapping[str, Any],
    finding: Mapping[str, str],
    *,
    who: str,
    at: datetime,
    period_hours: float,
) -> dict[str, Any]:
    """Return the row of the label; raise with all problems where the finding is not valid."""
    cells = {name: case[name] for name in ("site", "cell", "robot_id", "axis")}
    cells |= {name: value for name, value in finding.items() if value}
    cells["unit_serial"] = unit_of(connection, _part(case, finding)) or ""
    cells.setdefault("from_at", instant(case["first_at"]))
    cells.setdefault("to_at", instant(_after(connection, case["axis_id"], case["last_at"], period_hours)))
    cells["known_at"] = instant(at)
    row, wrong = label_row(cells, who=who, case_id=case["case_id"])
    if not wrong and not (row["from_at"] <= case["last_at"] and row["to_at"] > case["first_at"]):
        wrong.append(Coded("the range from_at to to_at does not touch the time of the case", "range_outside"))
    if wrong:
        text = "the verdict was not stored:\n" + "\n".join(f"  - {problem}" for problem in wrong)
        raise AxiswatchError(text, wrong)
    return row


def _part(case: Mapping[str, Any], finding: Mapping[str, str]) -> dict[str, Any]:
    """Return a case as if it had only the time range of a finding; a time that is not valid is refused elsewhere."""
    part = dict(case)
    for name, end, inner in (("from_at", "first_at", max), ("to_at", "last_at", min)):
        with suppress(SettingsError):
            part[end] = inner(part[end], read_time(finding.get(name, ""), name))
    return part


def _stored_before(
    connection: Connection,
    case_id: str,
    row: Mapping[str, Any],
    finding: Mapping[str, str],
    *,
    who: str,
    since: int | None,
) -> str | None:
    """Return the label of the same finding if it is the newest thing that was found on the case; None where it is not.

    It is the same if the same person said the same: after the page was made (`since`), or for the same time range.
    """
    query = sa.select(ReviewEvent).where(ReviewEvent.case_id == case_id, ReviewEvent.action.in_(SETTLING))
    newest = list(connection.execute(query.order_by(ReviewEvent.sequence.desc()).limit(2)))
    if newest and newest[0].action == "closed" and newest[0].who == who:
        del newest[0]
    if not newest or newest[0].action != "verdict" or newest[0].who != who:
        return None
    told = {name: value for name, value in newest[0].details.items() if value and name not in ("label_id", "seen")}
    if told != {name: value for name, value in finding.items() if value}:
        return None
    label_id: str = newest[0].details["label_id"]
    stored = connection.execute(sa.select(Label.from_at, Label.to_at).where(Label.label_id == label_id)).one()
    twice = since is not None and newest[0].sequence > since
    return label_id if twice or (stored.from_at, stored.to_at) == (row["from_at"], row["to_at"]) else None


def _old_page(connection: Connection, case_id: str) -> Coded:
    query = sa.select(ReviewEvent).where(ReviewEvent.case_id == case_id, ReviewEvent.action.in_(SETTLING))
    newest = connection.execute(query.order_by(ReviewEvent.sequence.desc()).limit(1)).one_or_none()
    if newest is None:
        return Coded(f"what the page showed of case {case_id} is not on record; load it again", "old_page")
    text = (
        f"case {case_id} has changed since the page was made: {newest.action} by {newest.who} at "
        f"{utc_text(newest.at)}; look at it again, then record"
    )
    return Coded(text, "stale", case=case_id, action=newest.action, who=newest.who, at=newest.at)


def _ask_what_it_rests_on(case: Mapping[str, Any], row: Mapping[str, Any], sure: bool) -> None:
    """Refuse a verdict from the signal alone where the fault probability is extreme, until the user confirms it."""
    light = row["evidence"] == Evidence.SIGNAL_ONLY and row["verdict"] in IS_FAULT
    if sure or not light or is_blind(case) or not is_extreme(case["fault_probability"]):
        return
    figure = float(case["fault_probability"])
    text = f"case {case['case_id']} has the fault probability {figure:.2f}; confirm that the signal alone is enough"
    raise AxiswatchError(Coded(text, "extreme", case=case["case_id"], p=figure))


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


def fleet_states(store: Store, *, at: datetime) -> list[dict[str, Any]]:
    """Return the newest state of every axis, by name; `unknown` where nothing was scored yet.

    `stopped_until` is the end of the planned stop in which the axis is at a time; None: it is in none.
    """
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
        ends = {axis: end for axis, end in off_until(connection, at).items() if end > at}
        return [{**row._mapping, "stopped_until": ends.get(row.axis_id)} for row in connection.execute(query)]


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
        text = f"there is no case {case_id}; `axiswatch queue` shows them"
        raise PrerequisiteMissing(Coded(text, "no_case", case=case_id))
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
        text = f"case {case_id} is claimed by {row.claimed_by} until {utc_text(row.claimed_until)}"
        values = {"case": case_id, "who": row.claimed_by, "until": row.claimed_until}
        raise AxiswatchError(Coded(text, "claimed", **values))


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
