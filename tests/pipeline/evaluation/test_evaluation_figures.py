"""The figures of a prediction: what is blocked counts as what it is, and whole units say how far probabilities go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from models.judging.metrics import calibration_error, recalibration_slope
from pipeline.evaluation.budget import BudgetAsked, budgets
from pipeline.evaluation.figures import figures, intervals_of, order_of
from pipeline.evaluation.methods import Prediction
from pipeline.evaluation.windows import EvaluationRows


def rows_of(y: list[int], blocked: list[int], votes: list[str] | None = None) -> EvaluationRows:
    """Each window a unit of its own."""
    n = len(y)
    flags = np.isin(np.arange(n), blocked)
    return EvaluationRows(
        None,  # type: ignore[arg-type]
        np.array(y),
        np.array([f"u{i}" for i in range(n)]),
        None if votes is None else np.array(votes),
        np.zeros(n, dtype=np.bool_),
        flags,
    )


def judge(judged: EvaluationRows, prediction: Prediction, healthy: int | None = None) -> dict[str, Any]:
    return figures(judged, prediction, healthy, (judged.y >= 0) & ~judged.leaked)


def sure(y: list[int], classes: int = 3) -> np.ndarray:
    """Probability 0.8 for each given class."""
    return np.where(np.arange(classes) == np.array(y)[:, None], 0.8, 0.2 / (classes - 1))


def test_a_blocked_window_is_not_right_and_costs_what_knowing_nothing_costs() -> None:
    p = sure([0, 0, 1, 1])
    p[3] = np.nan
    found = judge(rows_of([0, 0, 1, 1], [3], ["a", "a", "a2", "b"]), Prediction(p))
    assert (found["accuracy"], found["blocked"]) == (0.75, 0.25)
    assert (found["accuracy_vote"], found["blocked_vote"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert found["nll_scored"] == pytest.approx(-np.log(0.8))
    assert found["nll"] == pytest.approx((3 * -np.log(0.8) + np.log(3)) / 4)
    assert found["brier"] == pytest.approx((3 * (0.04 + 2 * 0.01) + 2 / 3) / 4)


def test_a_recording_votes_by_the_windows_that_it_has() -> None:
    p = sure([0, 1, 1])
    p[1] = p[2] = np.nan
    assert judge(rows_of([0, 0, 0], [1, 2], ["a"] * 3), Prediction(p))["accuracy_vote"] == 1.0


def test_all_blocked_is_nothing_right_and_nothing_certain() -> None:
    found = judge(rows_of([0, 1], [0, 1], ["a", "b"]), Prediction(np.full((2, 3), np.nan)))
    assert (found["accuracy"], found["accuracy_vote"], found["blocked"], found["blocked_vote"]) == (0.0, 0.0, 1.0, 1.0)
    assert found["nll"] == pytest.approx(np.log(3))
    assert (found["nll_scored"], found["review_10"], found["error_auroc"], found["ece"]) == (None,) * 4


def test_what_is_blocked_makes_no_uncertainty_look_good() -> None:
    """Rankings are of scored windows: a blocked one is no error that an entropy has found."""
    p = sure([0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    judged = rows_of([0] * 10, [])
    p[2] = [0.45, 0.5, 0.05]  # the only error, and the most uncertain window
    whole = judge(judged, Prediction(p))
    p2 = np.concatenate([p, np.full((5, 3), np.nan)])
    more = judge(rows_of([0] * 15, list(range(10, 15))), Prediction(p2))
    for name in ("error_auroc", "aurc", "review_10", "ece", "macro_auroc"):
        assert more[name] == whole[name], name


def test_shares_in_review_are_of_wrong_and_of_blocked_windows() -> None:
    p = sure([0, 1, 1, 0, 0])
    p[4] = np.nan
    review = np.array([False, True, False, True, True])
    found = judge(rows_of([0] * 5, [4]), Prediction(p, review=review))
    assert (found["review_rate"], found["wrong_reviewed"], found["blocked_reviewed"]) == (0.6, 0.5, 1.0)
    right = judge(rows_of([0, 0], []), Prediction(sure([0, 0]), review=np.array([True, False])))
    assert (right["wrong_reviewed"], right["blocked_reviewed"]) == (None, None)
    assert judge(rows_of([0, 0], []), Prediction(sure([0, 0])))["wrong_reviewed"] is None, "a forest has no rules"


def test_a_fault_behind_a_bad_verdict_is_missed_unless_it_is_flagged() -> None:
    n = 20
    p = sure([1] * n, classes=2)
    p[:2] = np.nan
    judged = rows_of([1] * n, [0, 1])
    assert judge(judged, Prediction(p), healthy=0)["missed_after_review_10"] == pytest.approx(2 / 18)
    assert order_of(judged, Prediction(p))[:2].tolist() == [-2.0, -2.0]
    asked = BudgetAsked(0.5, confidence=0.9)
    got = budgets(judged, {"a": Prediction(p)}, asked, healthy=0)["a"]
    assert (got["threshold"], got["missed_units"]) == ("nothing", 2), "blocked and not reviewed, so not found"


def test_the_slope_tells_how_much_too_sure_probabilities_are() -> None:
    rng = np.random.default_rng(0)
    true = expit(rng.normal(0.0, 2.0, 20_000))
    happened = rng.random(true.size) < true
    one = np.ones(true.size)
    for factor in (1.0, 2.0, 0.5):
        said = expit(factor * logit(true) + 0.7)
        assert recalibration_slope(said, happened, one) == pytest.approx(1 / factor, rel=0.04), factor
    assert recalibration_slope(np.array([0.1, 0.9]), np.array([False, True]), np.ones(2)) is None
    assert recalibration_slope(np.array([0.1, 0.9]), np.array([True, True]), np.ones(2)) is None


def test_a_unit_counts_once_however_many_windows_it_has() -> None:
    weight = np.array([0.5, 0.5, 1.0])
    confidence, happened = np.array([0.9, 0.9, 0.9]), np.array([True, True, False])
    assert calibration_error(confidence, happened, weight=weight) == pytest.approx(0.4)
    rng = np.random.default_rng(1)
    y = np.arange(60) % 2
    p_fault = expit(np.where(y == 1, 1.0, -1.0) + rng.normal(0.0, 1.0, 60))
    said = np.column_stack([1 - p_fault, p_fault])
    short = rows_of(y.tolist(), [])
    more = np.repeat(np.arange(60), np.where(np.arange(60) < 10, 20, 1))
    long = replace(
        short, y=short.y[more], unit=short.unit[more], leaked=short.leaked[more], blocked=short.blocked[more]
    )
    one, other = judge(short, Prediction(said), healthy=0), judge(long, Prediction(said[more]), healthy=0)
    assert one["slope_by_unit"] == pytest.approx(other["slope_by_unit"])
    assert one["ece_by_unit"] == pytest.approx(other["ece_by_unit"])
    assert one["ece"] != pytest.approx(other["ece"])
    low, high = intervals_of(short, [Prediction(said)], 0)["slope_by_unit"]
    assert low < one["slope_by_unit"] < high
    few = rows_of(y[:9].tolist(), [])
    assert intervals_of(few, [Prediction(said[:9])], 0) == {}, "nine units show nothing about a tenth"
    assert judge(short, Prediction(said))["slope_by_unit"] is None, "nothing is healthy"


def test_a_band_holds_what_models_of_other_fleets_say() -> None:
    p = sure([0, 1, 1, 0], classes=2)
    p[3] = np.nan
    band = np.array([[0.1, 0.3], [0.7, 0.9], [0.79, 0.81], [np.nan, np.nan]])
    others = np.array([[0.2, 0.6, 0.8, 0.5], [0.31, 0.7, np.nan, 0.5]])
    judged = rows_of([0, 1, 1, 0], [3])
    found = judge(judged, Prediction(p, band=band, others=others), healthy=0)
    assert found["band_coverage"] == pytest.approx(3 / 6), "no score of the other model is not within"
    assert found["band_width"] == pytest.approx((0.2 + 0.2 + 0.02) / 3)
    alone = judge(judged, Prediction(p, band=band), healthy=0)
    assert (alone["band_coverage"], alone["band_width"]) == (None, found["band_width"])
    assert judge(judged, Prediction(p, others=others), healthy=0)["band_width"] is None
