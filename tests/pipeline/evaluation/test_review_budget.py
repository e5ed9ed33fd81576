"""The review budget: the bound, the units it needs, the threshold, when there is none; and what is reviewed first."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.budget import choose_threshold, miss_bound, review_probability, unit_reach, units_needed
from pipeline.evaluation.routing import review_order


def test_no_miss_at_five_percent_needs_59_fault_units() -> None:
    assert units_needed(0.05) == 59
    assert miss_bound(0, 59) <= 0.05 < miss_bound(0, 58)
    assert units_needed(0.5, confidence=0.5) == 1
    assert units_needed(0.01) == 299


@given(st.floats(0.005, 0.5), st.floats(0.5, 0.999))
def test_the_units_needed_are_the_fewest_whose_bound_holds(rate: float, confidence: float) -> None:
    n = units_needed(rate, confidence=confidence)
    assert miss_bound(0, n, confidence=confidence) <= rate + 1e-9
    assert n == 1 or miss_bound(0, n - 1, confidence=confidence) > rate - 1e-9


def test_the_bound_of_none_missed_is_in_closed_form() -> None:
    assert miss_bound(0, 20) == pytest.approx(1 - 0.05 ** (1 / 20))
    assert (miss_bound(3, 3), miss_bound(0, 0)) == (1.0, 1.0)
    with pytest.raises(ValueError, match=r"must lie in 0\.\.2"):
        miss_bound(3, 2)


def test_a_unit_is_found_where_half_of_its_faulty_cases_are() -> None:
    review = np.array([5.0, 3.0, 1.0, 9.0, 2.0, np.nan, 7.0])
    found = np.array([False, False, False, True, False, False, False])
    fault = np.array([True, True, True, True, True, True, False])
    unit = np.array(["a", "a", "a", "b", "b", "c", "d"])
    names, reach = unit_reach(review, found, fault, unit)
    assert names.tolist() == ["a", "b", "c"], "d has no fault"
    # a: two of three at 3; b: one of two by its alarm; c: what has no score is never left out of a review.
    assert reach.tolist() == [3.0, math.inf, math.inf]


def fleet(rng: np.random.Generator, units: int, *, hidden: float) -> tuple[np.ndarray, ...]:
    """Units of three cases each, half of them faulty; the review scores of a share of faults lie low."""
    fault = np.repeat(np.arange(units) % 2 == 0, 3)
    score = rng.uniform(0.3, 1.0, units)
    score[np.arange(units) % 2 == 1] = rng.uniform(0.0, 0.6, units // 2)
    low = (rng.random(units) < hidden) & (np.arange(units) % 2 == 0)
    score[low] = rng.uniform(0.0, 0.2, int(low.sum()))
    unit = np.repeat([f"u{i}" for i in range(units)], 3)
    return np.repeat(score, 3), np.zeros(fault.size, dtype=bool), fault, unit


def test_58_fault_units_are_refused_and_59_are_not() -> None:
    for units, refused in ((58, True), (59, False)):
        review = np.ones(units)
        unit = np.array([f"u{i}" for i in range(units)])
        every = np.ones(units, dtype=bool)
        got = choose_threshold(review, ~every, every, unit, max_miss_rate=0.05)
        assert (got.threshold is None) is refused
        assert (got.fault_units, got.needed_units) == (units, 59)
        assert ("needs at least 59" in got.reason) is refused


def test_windows_do_not_stand_in_for_units() -> None:
    """A thousand windows of three bearings are three bearings."""
    unit = np.repeat(["a", "b", "c"], 333)
    every = np.ones(unit.size, dtype=bool)
    got = choose_threshold(np.ones(unit.size), every, every, unit, max_miss_rate=0.05)
    assert got.threshold is None
    assert got.reason.startswith("3 labelled fault units")
    assert "allow a miss rate of 0.632 or more" in got.reason


def test_the_highest_threshold_that_keeps_the_promise_is_taken() -> None:
    units = 200
    score = np.arange(units, dtype=float)
    every = np.ones(units, dtype=bool)
    unit = np.array([f"u{i:03}" for i in range(units)])
    got = choose_threshold(score, ~every, every, unit, max_miss_rate=0.05)
    missed = int((score < got.threshold).sum())
    assert got.missed_units == missed
    assert miss_bound(missed, units) <= 0.05 < miss_bound(missed + 1, units)
    assert got.review_rate == pytest.approx(1 - missed / units)


def test_the_promise_is_kept_as_often_as_it_says() -> None:
    """300 labelled sets of 120 fault units: the true miss rate lies above the wanted one in at most 5 % of them."""
    rng = np.random.default_rng(11)
    broken = 0
    for _ in range(300):
        got = choose_threshold(*fleet(rng, 240, hidden=0.15), max_miss_rate=0.1)
        assert got.threshold is not None
        below = min(got.threshold, 0.2) / 0.2
        above = max(got.threshold - 0.3, 0.0) / 0.7
        broken += 0.15 * below + 0.85 * above > 0.1
    assert broken / 300 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


def test_faults_that_raise_an_alarm_need_no_review() -> None:
    units = 80
    every = np.ones(units, dtype=bool)
    unit = np.array([f"u{i}" for i in range(units)])
    got = choose_threshold(np.arange(units, dtype=float), every, every, unit, max_miss_rate=0.05)
    assert (got.threshold, got.review_rate) == (math.inf, 0.0)


def test_a_capacity_that_is_too_small_is_refused_with_what_it_would_take() -> None:
    rng = np.random.default_rng(2)
    cases = fleet(rng, 240, hidden=0.02)
    kept = choose_threshold(*cases, max_miss_rate=0.1, capacity=900, cases_a_day=1000)
    assert kept.threshold is not None
    assert kept.cases_a_day == pytest.approx(1000 * kept.review_rate)
    refused = choose_threshold(*cases, max_miss_rate=0.1, capacity=5, cases_a_day=1000)
    assert refused.threshold is None
    assert refused.cases_a_day == kept.cases_a_day
    assert "more than the capacity of 5" in refused.reason


@pytest.mark.parametrize(
    "wrong", [{"max_miss_rate": 0.0}, {"max_miss_rate": 1.0}, {"max_miss_rate": 0.1, "confidence": 1.0}]
)
def test_rates_outside_0_to_1_are_refused(wrong: dict[str, float]) -> None:
    every = np.ones(3, dtype=bool)
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        choose_threshold(np.ones(3), every, every, np.array(["a", "b", "c"]), **wrong)


def test_a_capacity_says_of_how_many_cases() -> None:
    every = np.ones(3, dtype=bool)
    with pytest.raises(ValueError, match="needs cases_a_day"):
        choose_threshold(np.ones(3), every, every, np.array(["a", "b", "c"]), max_miss_rate=0.1, capacity=1)


def test_a_threshold_is_told_as_the_setting_that_advise_routes_by() -> None:
    assert review_probability(None) is None
    assert review_probability(0.12) == pytest.approx(0.12)
    assert review_probability(2.3) == 1.0, "only what comes before all probabilities"
    assert review_probability(float("inf")) == 1.0
    assert 0.0 < review_probability(-0.4) < 1e-5, "alarms are looked at too, so everything below them is"


def order(first: list[bool], strange: list[float], p: list[float], percentile: list[float]) -> list[int]:
    """Indices, first to be reviewed first."""
    found = review_order(np.array(first), np.array(strange), np.array(p), np.array(percentile), called_faulty=0.5)
    return np.argsort(-found, kind="stable").tolist()


def test_first_what_cannot_be_known_then_the_likeliest_missed_fault_and_alarms_last() -> None:
    p = [0.99, 0.1, 0.49, 0.5, 0.02, 0.3]
    first = [False, False, False, False, True, True]
    strange = [0.0, 0.0, 0.0, 0.0, 0.0, 0.9]
    assert order(first, strange, p, [0.0] * 6) == [5, 4, 2, 1, 3, 0]
    strange[1], strange[3] = 0.29, 0.31
    assert order(first, strange, p, [0.0] * 6) == [5, 3, 4, 2, 1, 0], "strange, though nothing is named yet"


def test_a_window_without_a_score_is_reviewed_before_every_probability() -> None:
    assert order([False] * 3, [np.nan] * 3, [0.49, np.nan, 0.9], [0.0] * 3) == [1, 0, 2]


def test_without_fault_probabilities_the_highest_percentile_counts() -> None:
    assert order([False, False, True], [np.nan, np.nan, 0.8], [np.nan] * 3, [20.0, 99.0, 1.0]) == [2, 1, 0]
