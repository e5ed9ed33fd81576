"""The audit slice: who is drawn, what is stored, and what the answers say about misses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipeline.cases.audit import AUDIT, AuditAnswer, audit_figures, is_confident, is_drawn, miss_rate, open_audits
from pipeline.cases.queue import queue
from pipeline.cases.verdicts import get_case, give_verdict
from pipeline.cases.work import undo
from pipeline.store.database import Store
from pipeline.store.tables import Axis

START = datetime(2026, 1, 5, tzinfo=UTC)
NOW = START + timedelta(days=30)


def state(number: int, axis: str = "a", **changes: Any) -> dict[str, Any]:
    at = START + timedelta(hours=number)
    row = {
        "axis_id": axis,
        "bin_at": at,
        "first_at": at + timedelta(minutes=5),
        "last_at": at + timedelta(minutes=9),
        "state": "healthy",
        "n_windows": 2,
        "fault_probability": 0.01,
        "flags": [],
    }
    return row | changes


def test_the_share_that_is_drawn_is_the_rate_and_the_same_every_time() -> None:
    drawn = [
        [is_drawn(f"axis{a}", START + timedelta(hours=h), rate=0.02, seed=7) for h in range(500)] for a in range(40)
    ]
    share = np.mean(drawn)
    # 20,000 draws: five standard deviations of a binomial are 0.005.
    assert share == pytest.approx(0.02, abs=0.005)
    assert all(0 < sum(row) < 30 for row in drawn), "no axis is left out, none drowns"
    again = is_drawn("axis3", START, rate=0.5, seed=7)
    assert again == is_drawn("axis3", START.astimezone(), rate=0.5, seed=7)
    other = [is_drawn("axis0", START + timedelta(hours=h), rate=0.5, seed=8) for h in range(200)]
    assert other != [is_drawn("axis0", START + timedelta(hours=h), rate=0.5, seed=7) for h in range(200)]


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_rate_draws_all_that_a_lower_one_does(hour: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    at = START + timedelta(hours=hour)
    assert not is_drawn("x", at, rate=0.0, seed=1)
    assert is_drawn("x", at, rate=1.0, seed=1)
    assert is_drawn("x", at, rate=low, seed=1) <= is_drawn("x", at, rate=high, seed=1)


@pytest.mark.parametrize(
    ("changes", "sure"),
    [
        ({}, True),
        ({"state": "watch"}, True),
        ({"state": "alarm"}, False),
        ({"state": "unknown"}, False),
        ({"state": "data_fault"}, False),
        ({"n_windows": 0}, False),
        ({"flags": [{"code": "data"}]}, False),
    ],
)
def test_only_what_nothing_is_flagged_in_is_audited(changes: dict[str, Any], sure: bool) -> None:
    assert is_confident(state(0, **changes)) is sure


def test_no_miss_in_59_units_is_at_most_five_percent_one_sided() -> None:
    found = miss_rate([AuditAnswer(f"u{i}", 0.01, False) for i in range(59)], level=0.9)
    assert (found["miss_rate"], found["low"]) == (0.0, 0.0)
    assert found["high"] == pytest.approx(1 - 0.05 ** (1 / 59))
    assert found["high"] < 0.05


def test_with_one_answer_a_unit_the_interval_is_clopper_pearson() -> None:
    found = miss_rate([AuditAnswer(f"u{i}", 0.002, i < 3) for i in range(40)])
    exact = binomtest(3, 40).proportion_ci(0.95, method="exact")
    assert found["miss_rate"] == pytest.approx(3 / 40)
    assert (found["low"], found["high"]) == (pytest.approx(exact.low), pytest.approx(exact.high))
    assert found["effective_units"] == pytest.approx(40)


def test_many_answers_of_one_unit_are_one_unit() -> None:
    once = miss_rate([AuditAnswer(f"u{i}", 0.01, i == 0) for i in range(5)])
    often = miss_rate([AuditAnswer(f"u{i}", 0.01, i == 0) for i in range(5) for _ in range(50)])
    assert often["effective_units"] == pytest.approx(5)
    assert (often["low"], often["high"]) == (pytest.approx(once["low"]), pytest.approx(once["high"]))


def test_the_estimate_is_unbiased_where_chances_differ() -> None:
    """Two kinds of bins, drawn ten times as often and missing four times as often: the plain share is far off."""
    rng = np.random.default_rng(5)
    n = 4000
    kind = rng.random(n) < 0.5
    chance = np.where(kind, 0.2, 0.02)
    miss = rng.random(n) < np.where(kind, 0.4, 0.1)
    found, plain = [], []
    for _ in range(200):
        drawn = np.flatnonzero(rng.random(n) < chance)
        answers = [AuditAnswer(f"u{i}", float(chance[i]), bool(miss[i])) for i in drawn]
        found.append(miss_rate(answers)["miss_rate"])
        plain.append(miss[drawn].mean())
    assert np.mean(found) == pytest.approx(miss.mean(), abs=0.02)
    assert np.mean(plain) > miss.mean() + 0.08


def test_nothing_answered_and_impossible_chances() -> None:
    assert miss_rate([])["miss_rate"] is None
    with pytest.raises(ValueError, match=r"lies in \(0, 1\]"):
        miss_rate([AuditAnswer("u", 0.0, False)])


def add_axis(store: Store, axis: str = "a") -> None:
    with store.write() as connection:
        connection.execute(
            sa.insert(Axis),
            {"axis_id": axis, "site": "s", "cell": "c", "robot_id": "r", "axis": "A1", "known_at": START},
        )


def test_a_drawn_bin_becomes_a_case_once_and_its_answer_the_estimate(store: Store) -> None:
    add_axis(store)
    states = [state(hour) for hour in range(40)] + [state(41, state="alarm")]
    with store.write() as connection:
        assert open_audits(connection, states, rate=0.0, seed=1, as_of=NOW) == 0
        opened = open_audits(connection, states, rate=0.25, seed=1, as_of=NOW)
    expected = sum(is_drawn("a", item["bin_at"], rate=0.25, seed=1) for item in states[:-1])
    assert opened == expected > 2
    with store.write() as connection:
        assert open_audits(connection, states, rate=0.25, seed=1, as_of=NOW + timedelta(days=1)) == 0
    cases = queue(store, as_of=NOW)
    assert {(case["family"], case["selection_probability"], case["known_at"]) for case in cases} == {(AUDIT, 0.25, NOW)}
    assert [reason["code"] for case in cases for reason in case["reasons"]] == [AUDIT] * opened
    assert [event["action"] for event in get_case(store, cases[0]["case_id"])["events"]] == ["opened"]
    before = audit_figures(store)
    assert (before["audits"], before["open"], before["miss_rate"]) == (opened, opened, None)
    words = ("fault", "healthy", "unsure")
    for case, verdict in zip(cases, words, strict=False):
        finding = {"verdict": verdict, "evidence": "inspected"}
        give_verdict(store, case["case_id"], finding, who="kim", at=NOW, period_hours=1.0)
    after = audit_figures(store)
    assert (after["answers"], after["open"], after["miss_rate"]) == (2, opened - 2, 0.5)
    assert (after["units"], after["effective_units"]) == (1, 1.0), "both are of the one unit on the axis"
    assert 0.0 < after["low"] < 0.05 < 0.95 < after["high"] < 1.0, "one unit says next to nothing"


def test_a_later_answer_counts_in_place_of_the_earlier(store: Store) -> None:
    add_axis(store)
    with store.write() as connection:
        open_audits(connection, [state(0)], rate=1.0, seed=1, as_of=NOW)
    (case,) = queue(store, as_of=NOW)
    for days, verdict in ((0, "healthy"), (3, "fault")):
        finding = {"verdict": verdict, "evidence": "inspected"}
        at = NOW + timedelta(days=days)
        give_verdict(store, case["case_id"], finding, who="kim", at=at, period_hours=1.0)
    assert audit_figures(store)["miss_rate"] == 1.0


def test_an_answer_that_was_taken_back_counts_no_more(store: Store) -> None:
    add_axis(store)
    with store.write() as connection:
        open_audits(connection, [state(0)], rate=1.0, seed=1, as_of=NOW)
    (case,) = queue(store, as_of=NOW)
    finding = {"verdict": "fault", "evidence": "inspected"}
    give_verdict(store, case["case_id"], finding, who="kim", at=NOW, period_hours=1.0)
    assert audit_figures(store)["answers"] == 1
    undo(store, case["case_id"], who="kim", at=NOW + timedelta(minutes=1))
    assert (audit_figures(store)["answers"], audit_figures(store)["open"]) == (0, 1)
