"""The place of a case in the queue: what raises it, and that it is stored, bounded and the order of the pages."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cases.ordering import queue_priority, refresh_queue
from pipeline.cases.queue import Filters, before_in_queue, queue_page
from pipeline.cases.verdicts import get_case
from pipeline.store.database import Store
from pipeline.store.tables import Axis, AxisState, Case

AT = datetime(2026, 3, 1, tzinfo=UTC)
NOTHING = {"expected_every_s": None, "known_at": AT}


def place(priority: float, probability: float = 1.0, age: float = 0.0, criticality: float = math.nan) -> float:
    columns = (np.array([value]) for value in (priority, probability, age, criticality))
    return float(queue_priority(*columns)[0])


def test_each_of_them_raises_the_place_by_what_is_documented() -> None:
    assert place(0.8) == 0.8
    assert place(0.8, probability=0.11) == place(0.8, probability=0.89) == pytest.approx(0.85, abs=1e-4)
    assert place(0.8, age=10) == place(0.8, age=10.9) == pytest.approx(0.85)
    assert place(0.8, criticality=5) == pytest.approx(0.90)
    assert place(0.8, criticality=1) == pytest.approx(0.70)
    assert place(0.8, probability=math.nan) == place(0.8, probability=0.5) == 0.9, (
        "a doubt that nobody can tell counts as a coin"
    )
    assert place(0.8, criticality=math.nan) == place(0.8, criticality=3)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-1e4, 1e4), st.sampled_from([math.nan, 1.0, 2.0, 3.0, 4.0, 5.0]))
def test_no_doubt_and_no_waiting_buries_a_new_alarm(priority: float, p: float, age: float, critical: float) -> None:
    found = place(priority, p, age, critical)
    assert math.isfinite(found)
    assert priority - 0.1 - 1e-6 <= found <= priority + 0.3 + 1e-6
    assert place(0.2, 0.5, 1e6, 3) < place(0.95, 0.0, 0.0, 3)


@pytest.fixture
def cases(store: Store) -> Store:
    """Four cases of one priority: plain, unsure, old, on a critical axis; and a closed one."""
    kinds = {"plain": None, "unsure": None, "old": None, "vital": 5, "done": None}
    axes = [
        {"axis_id": name, "site": "p", "cell": "c", "robot_id": name, "axis": "A1", "criticality": level, **NOTHING}
        for name, level in kinds.items()
    ]
    rows, states = [], []
    for name in kinds:
        first = AT - timedelta(days=16 if name == "old" else 1)
        case: dict[str, Any] = {"case_id": name, "axis_id": name, "family": "machine", "first_at": first, "mode": None}
        case |= {"last_at": AT, "n_bins": 2, "priority": 0.5, "reasons": []}
        case |= {"fault_probability": 0.11 if name == "unsure" else 1.0}  # half a bit
        rows.append(case | {"state": "closed" if name == "done" else "open", "known_at": AT, "changed_at": AT})
        state = {"axis_id": name, "bin_at": first, "state": "unknown", "first_at": first, "last_at": first}
        state |= {"n_windows": 1, "fault_probability": 0.5, "mode": None, "novelty_percentile": None, "quality": "ok"}
        half = 0.5 * math.log(2) if name == "unsure" else 0.0
        state |= {"mutual_information": half / 2, "expected_entropy": half / 2, "flags": [], "model_versions": []}
        states.append(state | {"known_at": AT})
    with store.write() as connection:
        connection.execute(sa.insert(Axis), axes)
        connection.execute(sa.insert(Case), rows)
        connection.execute(sa.insert(AxisState), states)
    return store


def stored(store: Store) -> dict[str, float]:
    with store.read() as connection:
        return {row.case_id: row.queue_priority for row in connection.execute(sa.select(Case))}


def test_advise_stores_the_places_and_pages_go_by_them(cases: Store) -> None:
    assert set(stored(cases).values()) == {0.5}, "until a run, the place is the priority"
    assert refresh_queue(cases, as_of=AT) == 4
    found = stored(cases)
    assert found["plain"] == pytest.approx(0.505)
    assert found["unsure"] == pytest.approx(0.555, abs=1e-4)
    assert found["old"] == pytest.approx(0.58)
    assert found["vital"] == pytest.approx(0.605)
    assert found["done"] == 0.5
    assert refresh_queue(cases, as_of=AT) == 0
    order, after = [], ""
    while True:
        rows, after = queue_page(cases, Filters(), as_of=AT, after=after, limit=1)
        order += [row["case_id"] for row in rows]
        if not after:
            break
    assert order == ["vital", "old", "unsure", "plain"]


def test_waiting_raises_and_closing_takes_it_away_again(cases: Store) -> None:
    refresh_queue(cases, as_of=AT)
    refresh_queue(cases, as_of=AT + timedelta(days=10))
    assert stored(cases)["plain"] == pytest.approx(0.555)
    with cases.write() as connection:
        connection.execute(sa.update(Case).where(Case.case_id == "plain").values(state="closed"))
    refresh_queue(cases, as_of=AT + timedelta(days=11))
    assert stored(cases)["plain"] == 0.5


def test_the_case_before_is_found_also_from_a_case_that_has_left_the_queue(cases: Store) -> None:
    refresh_queue(cases, as_of=AT)

    def before(name: str) -> str:
        return before_in_queue(cases, Filters(), get_case(cases, name), as_of=AT)

    assert [before(name) for name in ("vital", "old", "unsure", "plain")] == ["", "vital", "old", "unsure"]
    with cases.write() as connection:
        connection.execute(sa.update(Case).where(Case.case_id == "unsure").values(state="closed"))
    assert (before("unsure"), before("plain")) == ("old", "old")
