"""Cases brought up to date from the states that a change can reach are those of folding all states, on any history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from pipeline.base.settings import CaseSettings
from pipeline.cases import keeping
from pipeline.cases.keeping import LONG_AGO, CaseKeeper
from pipeline.cases.quiet import SNOOZED
from pipeline.store.database import Store, upsert
from pipeline.store.tables import Axis, AxisState, Case, CaseTally, ReviewEvent, WebhookEvent

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
AXES = ("bounded", "whole")
RULE = CaseSettings(case_gap_hours=6.0, recheck_after_hours=12.0)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A database with two axes: one is brought up to date from what is new, the other one from all of it."""
    opened = Store.open(f"sqlite:///{tmp_path_factory.mktemp('keeping') / 'axiswatch.db'}")
    with opened.write() as connection:
        for act in ("update", "delete"):
            connection.exec_driver_sql(f"DROP TRIGGER review_events_no_{act}")
        rows = [{"axis_id": name, "site": "", "cell": "", "robot_id": name, "axis": "A1"} for name in AXES]
        connection.execute(sa.insert(Axis), [row | {"known_at": START} for row in rows])
    yield opened
    opened.dispose()


def state(axis: str, hour: int, letter: str, known_at: datetime) -> dict[str, Any]:
    """A state of `.` calm, `f` fault, `u` unseen, `d` data, `s` silent, `b` fault and data; small letters are quiet."""
    codes = {"f": ["fault"], "F": ["fault"], "u": ["unseen"], "d": ["data"], "s": ["silent"], "b": ["fault", "data"]}
    at = START + hour * HOUR
    return {
        "axis_id": axis,
        "bin_at": at,
        "state": "healthy",
        "first_at": at + timedelta(minutes=hour % 7),
        "last_at": at + timedelta(minutes=10 + hour % 11),
        "n_windows": 1,
        "fault_probability": {"F": 0.9, "f": 0.6, "s": None}.get(letter, 0.1 * (hour % 3)),
        "fault_q05": 0.01 * (hour % 5),
        "fault_q95": None if letter == "s" else 0.9 + 0.01 * (hour % 5),
        "fault_shares": {"ball": 0.5 + 0.01 * (hour % 7)},
        "mode": "ball" if hour % 2 else "cage",
        "mutual_information": None if letter == "s" else (hour * 37 % 100) / 400,
        "expected_entropy": None if letter == "s" else 0.1,
        "novelty_percentile": None,
        "quality": "ok",
        "flags": [{"code": code, "hour": hour} for code in codes.get(letter, [])],
        "model_versions": [],
        "known_at": known_at,
    }


def cases_of(connection: Connection, axis: str) -> list[dict[str, Any]]:
    """Read everything that is stored about the cases of an axis, but their ids, which follow from the axis."""
    rows = connection.execute(sa.select(Case).where(Case.axis_id == axis).order_by(Case.family, Case.first_at)).all()
    told = []
    for row in rows:
        events = connection.execute(
            sa.select(ReviewEvent).where(ReviewEvent.case_id == row.case_id).order_by(ReviewEvent.sequence)
        )
        told.append(
            {name: value for name, value in row._mapping.items() if name not in ("case_id", "axis_id")}
            | {"events": [(event.action, event.details, event.at) for event in events]}
        )
    return told


def act(connection: Connection, number: int, what: str, at: datetime) -> None:
    """Close, snooze or open the case with this number, on both axes."""
    for axis in AXES:
        query = sa.select(Case).where(Case.axis_id == axis).order_by(Case.family, Case.first_at, Case.last_at)
        rows = connection.execute(query).all()
        if not rows:
            continue
        row = rows[number % len(rows)]
        if (row.state == "closed") != (what == "open"):
            continue
        values: dict[str, Any] = {"state": what, "changed_at": at}
        if what == "closed":
            values |= {"closed_at": max(at, row.last_at), "closed_by": "jo", "closed_priority": row.priority}
        elif what == "open":
            values |= {"closed_at": None, "closed_by": None, "closed_priority": None}
        connection.execute(sa.update(Case).where(Case.case_id == row.case_id).values(**values))


def bring_up_to_date(connection: Connection, axis: str, first: datetime, replaced: int | None, at: datetime) -> Any:
    keeper = CaseKeeper(connection, RULE, at, None)
    keeper.update({axis: first}, {} if replaced is None else {axis: START + replaced * HOUR})
    return keeper.told


LETTERS = st.sampled_from("......ffFudsb")
BINS = st.lists(st.tuples(st.integers(1, 9) | st.just(1) | st.just(1), LETTERS), min_size=1, max_size=14)
"""New bins at the end: hours since the one before, and what is in each."""

RUN = st.fixed_dictionaries(
    {
        "new": BINS,
        "late": st.lists(st.tuples(st.integers(1, 120), LETTERS), max_size=2) | st.just([]) | st.just([]),
        "act": st.none() | st.tuples(st.integers(0, 5), st.sampled_from(("closed", "closed", SNOOZED, "open"))),
        "replaced": st.just(False) | st.just(False) | st.just(False) | st.booleans(),
    }
)


@pytest.mark.parametrize("tally_bins", [2, 8])
@given(runs=st.lists(RUN, min_size=2, max_size=14))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_cases_are_those_of_folding_everything_after_each_of_many_runs(
    places: Store, tally_bins: int, runs: list[dict[str, Any]]
) -> None:
    with pytest.MonkeyPatch.context() as patch, places.write() as connection:
        patch.setattr(keeping, "TALLY_BINS", tally_bins)
        for table in (WebhookEvent, ReviewEvent, CaseTally, Case, AxisState):
            connection.execute(sa.delete(table))
        now, replaced = 0, None
        for number, run in enumerate(runs):
            as_of = START + timedelta(days=100 + number)
            bins = {}
            for step, letter in run["new"]:
                now += step
                bins[now] = letter
            bins |= {max(now - back, 0): letter for back, letter in run["late"]}
            if run["replaced"]:
                replaced = now - 2
                known = connection.scalars(sa.select(AxisState.bin_at).where(AxisState.axis_id == "whole"))
                hours = {int((at - START) / HOUR) for at in known}
                bins |= {hour: "." for hour in hours if hour >= replaced and hour not in bins}
                close_old(connection, replaced, as_of)
            for axis in AXES:
                upsert(connection, AxisState, [state(axis, hour, letter, as_of) for hour, letter in bins.items()])
            first = START + min(bins) * HOUR
            told = [
                bring_up_to_date(connection, "bounded", first, replaced, as_of),
                bring_up_to_date(connection, "whole", LONG_AGO + timedelta(days=1), replaced, as_of),
            ]
            assert cases_of(connection, "bounded") == cases_of(connection, "whole")
            assert told[0] == told[1]
            if run["act"]:
                act(connection, *run["act"], as_of + HOUR)


def close_old(connection: Connection, replaced: int, as_of: datetime) -> None:
    """Do as a replacement does: the open cases of the old unit end."""
    at = START + replaced * HOUR
    query = sa.select(Case).where(Case.family == "machine", Case.state != "closed", Case.first_at < at)
    for row in connection.execute(query).all():
        values = {"state": "closed", "closed_at": at, "closed_priority": row.priority, "changed_at": as_of}
        values["last_at"] = min(row.last_at, max(row.first_at, at - HOUR))
        connection.execute(sa.update(Case).where(Case.case_id == row.case_id).values(**values))
