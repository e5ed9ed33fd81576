"""Alarm and review level of a site: pure functions of what its units score."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.settings import Settings
from pipeline.cases.axis_state import Thresholds, log_odds, probability_of, recent_log_odds
from pipeline.scoring.levels import (
    HIGHEST,
    LOWEST,
    PlantThresholds,
    default_levels,
    estimate_levels,
    highest_recent,
    raised,
    routed_entropies,
    thresholds_of,
)

SETTINGS = Settings()
AT = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = st.lists(st.floats(-8.0, 4.0), max_size=40)


def levels_of(healthy: list[float], false_alarms: list[float], faults: list[float], **changes: float) -> float:
    settings = SETTINGS.model_copy(update=changes)
    return log_odds(estimate_levels(healthy, false_alarms, faults, settings, axis_years=2.0).alarm)


def fleet(n: int, *, mean: float = -3.0, spread: float = 0.4) -> list[float]:
    return np.random.default_rng(4).normal(mean, spread, n).tolist()


def test_without_answers_the_level_follows_from_the_two_costs() -> None:
    dear = Settings(missed_fault_cost=9.0, false_alarm_cost=1.0)
    assert default_levels(dear).alarm == pytest.approx(0.1)
    assert estimate_levels([], [], [], dear, axis_years=0.0).alarm == pytest.approx(0.1)
    limits = thresholds_of(dear, {}, programs=frozenset(), classes=("healthy", "ball"))
    assert (limits.alarm_probability, limits.review_probability) == (pytest.approx(0.1), pytest.approx(0.1))
    assert limits.cost_level == pytest.approx(0.1)
    (own,) = (
        PlantThresholds(dear, AT, {"m": limits}, {}, {"s": {"m": {"alarm_probability": 0.03}}}).of_site("s").values()
    )
    assert (own.alarm_probability, own.cost_level) == (0.03, pytest.approx(0.1)), "a plant's own level does not move it"


def test_three_units_do_not_move_a_level_and_more_units_move_it_further() -> None:
    prior = levels_of([], [], [])
    assert levels_of(fleet(3), [], []) == pytest.approx(prior, abs=1e-3)
    few, many = levels_of(fleet(6), [], []), levels_of(fleet(60), [], [])
    assert many < few, "the bound counts units: with few it is wide"


def test_a_noisier_site_has_a_higher_level_and_a_larger_budget_a_lower_one() -> None:
    calm, noisy = levels_of(fleet(30), [], []), levels_of(fleet(30, spread=0.8), [], [])
    assert noisy > calm
    assert levels_of(fleet(30), [], [], false_alarms_per_axis_year=5.0) < calm


def test_faulty_units_among_the_healthy_ones_hardly_move_a_level() -> None:
    clean = levels_of(fleet(30), [], [])
    assert levels_of([*fleet(30), 3.0, 4.0, 2.0], [], []) == pytest.approx(clean, abs=0.25)


def test_few_healthy_units_exceed_the_level() -> None:
    """Over many sites the share of further healthy units above the bound keeps to the budget."""
    rng = np.random.default_rng(7)
    settings = SETTINGS.model_copy(update={"false_alarms_per_axis_year": 2.0, "level_prior_units": 0.0})
    above = 0
    for _ in range(400):
        level = log_odds(estimate_levels(rng.normal(-2.0, 0.6, 15).tolist(), [], [], settings, axis_years=1.0).alarm)
        above += int((rng.normal(-2.0, 0.6, 20) > level).sum())
    expected = 1.0 - np.exp(-2.0 * settings.level_days / 365.25)
    assert above / (400 * 20) <= 1.5 * expected


def test_a_false_alarm_that_the_budget_explains_raises_nothing_and_more_do_within_the_bound() -> None:
    base = levels_of(fleet(30), [], [], false_alarms_per_axis_year=0.3)
    one = levels_of(fleet(30), [base + 0.2], [], false_alarms_per_axis_year=0.3)
    assert one == pytest.approx(base, abs=0.01)
    several = levels_of(fleet(30), [base + 0.2] * 4, [], false_alarms_per_axis_year=0.3)
    assert base + 0.2 < several <= base + SETTINGS.level_raise + 0.01
    far = levels_of(fleet(30), [base + 5.0] * 4, [], false_alarms_per_axis_year=0.3)
    assert far == pytest.approx(base + SETTINGS.level_raise, abs=0.02), "wrong answers cannot switch the alarm off"


@given(healthy=VALUES, false_alarms=VALUES, faults=VALUES)
def test_answers_never_raise_a_level_above_a_confirmed_fault_or_out_of_its_bounds(
    healthy: list[float], false_alarms: list[float], faults: list[float]
) -> None:
    before = estimate_levels(healthy, [], faults, SETTINGS, axis_years=1.0)
    after = estimate_levels(healthy, false_alarms, faults, SETTINGS, axis_years=1.0)
    assert LOWEST - 1e-4 <= after.review <= after.alarm <= HIGHEST + 1e-4
    assert log_odds(after.alarm) <= log_odds(before.alarm) + SETTINGS.level_raise + 0.01
    over = [value for value in faults if value > log_odds(before.alarm) + 0.01]
    if after.alarm > before.alarm and over:
        assert log_odds(after.alarm) <= min(over) + 0.01


def test_a_raised_level_lies_clearly_above_what_was_found_healthy() -> None:
    assert raised(-2.0, -1.9, [], SETTINGS) == pytest.approx(-1.4)
    assert raised(-2.0, -1.9, [-1.7], SETTINGS) == pytest.approx(-1.7)
    assert raised(-2.0, -4.0, [], SETTINGS) == -2.0


def test_the_highest_recent_log_odds_are_those_that_advise_would_have_seen() -> None:
    limits = Thresholds(0.1, 0.1, 3, 2, 0.05, 99.0, 95.0, {}, (), frozenset())
    p = [0.02, 0.6, 0.7, 0.1, 0.02]
    seen = [recent_log_odds(p[: end + 1], bins=3, fault_prior=0.05) for end in range(1, 5)]
    assert highest_recent(p, limits) == pytest.approx(max(seen))
    assert highest_recent([0.9], limits) is None, "one bin is no alarm"
    assert probability_of(log_odds(0.3)) == pytest.approx(0.3)


def test_a_model_hardly_better_than_equal_probabilities_or_against_the_lines_tells_nothing() -> None:
    words = {"programs": frozenset[str](), "classes": ("healthy", "ball", "inner_race")}

    def said(nll: float, chance: float) -> str:
        lines = {"units": 30, "agreed": 2, "exchanged": 25, "own": 3, "chance": chance}
        return thresholds_of(
            SETTINGS, {}, metrics={"overall": {"nll": nll}, "labels_and_lines": lines}, **words
        ).tells_nothing

    assert not said(1.0, 0.3)
    assert "hardly below 1.10" in said(1.08, 1.0), "a humble model that knows nothing is a little better than chance"
    assert "those of 25 units speak for another class" in said(0.1, 1e-4)
    assert not thresholds_of(
        SETTINGS, {}, metrics={"overall": {"nll": None}, "labels_and_lines": None}, **words
    ).tells_nothing


def test_a_model_on_which_acting_costs_as_much_as_acting_without_it_tells_nothing() -> None:
    """A miss costs 6 and a false alarm 1, so the alarm level is 1/7, and never raising one costs 0.3 a unit."""

    def said(faulty: list[float], healthy: list[float], **changes: Any) -> str:
        units = [{"class_name": "ball", "fault_probability": p} for p in faulty]
        units += [{"class_name": "healthy", "fault_probability": p} for p in healthy]
        settings = SETTINGS.model_copy(update=changes)
        metrics = {"overall": {"nll": 0.4}, "units": units}
        words = {"programs": frozenset[str](), "classes": ("healthy", "ball"), "fault_prior": 0.05}
        return thresholds_of(settings, {}, metrics=metrics, **words).tells_nothing

    assert not said([0.9] * 4 + [0.1], [0.01] * 6)
    assert "0.3 a unit, and 0.3 without it" in said([0.06] * 6, [0.05] * 6), "all alike, and near the prior"
    assert "33% of 6 healthy ones" in said([0.9] * 6, [0.01] * 4 + [0.2] * 2), "0.95 x 1/3 of false alarms cost more"
    assert not said([0.9] * 6, [0.01] * 4 + [0.2] * 2, missed_fault_cost=10.0), "where a miss costs more, they pay"
    assert not said([0.06] * 3, [0.05] * 6), "three units say nothing"


def test_faulty_or_not_is_asked_where_the_model_tells_the_two_questions_apart() -> None:
    assert routed_entropies(["mutual_information", "fault_mutual_information"])[0] == "fault_mutual_information"
    assert routed_entropies(["mutual_information"])[0] == "mutual_information"
    assert routed_entropies(["novelty_raw"]) == ("predictive_entropy",)


def test_a_window_near_equal_probabilities_is_in_doubt_whatever_held_out_units_had() -> None:
    """Where all held-out units are near it, their percentile lies above what any window can reach."""
    classes = ("ball", "inner_race", "outer_race")
    held_out = {"mutual_information": [0.3] * 101, "expected_entropy": [1.09] * 101}
    limits = thresholds_of(SETTINGS, held_out, programs=frozenset(), classes=classes)
    assert limits.entropies == {"mutual_information": 0.3, "expected_entropy": pytest.approx(0.95 * math.log(3))}
    held_out["expected_entropy"] = [0.4] * 101
    assert thresholds_of(SETTINGS, held_out, programs=frozenset(), classes=classes).entropies["expected_entropy"] == 0.4
    two = {"fault_mutual_information": [0.1] * 101, "fault_expected_entropy": [0.69] * 101}
    limits = thresholds_of(SETTINGS, two, programs=frozenset(), classes=("healthy", *classes))
    assert limits.entropies["fault_expected_entropy"] == pytest.approx(0.95 * math.log(2))
