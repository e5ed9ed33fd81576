"""Figures of class probabilities: closed forms, and independence of the order of windows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from models.judging import metrics as m
from models.judging.intervals import MIN_UNITS, bootstrap_over_units, share_interval

P = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
Y = np.array([0, 1, 2, 2])


def test_accuracy_nll_and_brier_by_hand():
    found = m.classification_figures(P, Y, healthy=None)
    assert found["accuracy"] == 0.75
    assert found["nll"] == pytest.approx(-np.log([0.8, 0.6, 0.2, 0.7]).mean())
    assert found["nll"] == pytest.approx(log_loss(Y, P))
    squares = [0.2**2 + 0.1**2 + 0.1**2, 0.3**2 + 0.4**2 + 0.1**2, 0.5**2 + 0.3**2 + 0.8**2, 0.1**2 + 0.2**2 + 0.3**2]
    assert found["brier"] == pytest.approx(np.mean(squares)), "summed over classes, not halved"


def test_nll_and_brier_are_those_of_scikit_learn():
    rng = np.random.default_rng(2)
    for n_classes in (2, 3, 6):
        p, y = rng.dirichlet(np.ones(n_classes), 500), rng.integers(0, n_classes, 500)
        labels = np.arange(n_classes)
        assert m.nll(p, y) == pytest.approx(log_loss(y, p, labels=labels), abs=1e-12)
        assert m.brier(p, y) == pytest.approx(brier_score_loss(y, p, labels=labels, scale_by_half=False), abs=1e-12)


def test_uniform_probabilities_have_the_known_figures():
    p = np.full((9, 3), 1 / 3)
    y = np.arange(9) % 3
    found = m.classification_figures(p, y, healthy=None)
    assert found["nll"] == pytest.approx(np.log(3))
    assert found["brier"] == pytest.approx(2 / 3)
    assert found["macro_auroc"] == 0.5
    assert found["ece"] == pytest.approx(0.0)


def test_what_is_undefined_is_none():
    p = np.array([[0.9, 0.1], [0.8, 0.2]])
    found = m.classification_figures(p, np.array([0, 0]), healthy=None)
    assert found["accuracy"] == 1.0
    for name in ("macro_auroc", "fault_auroc", "error_auroc", "review_10", "missed_after_review_10", "accuracy_vote"):
        assert found[name] is None, name
    assert set(m.classification_figures(P[:0], Y[:0], healthy=None).values()) == {None}


def test_a_certain_mistake_costs_much_but_not_everything():
    assert m.nll(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(36.04, abs=0.01)


def test_vote_is_the_argmax_of_the_mean_probability():
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.2, 0.8]])
    y = np.array([0, 0, 0, 1])
    found = m.classification_figures(p, y, healthy=None, votes=np.array(["a", "a", "a", "b"]))
    assert found["accuracy"] == 0.5
    assert found["accuracy_vote"] == 1.0, "0.57 against 0.43, though most windows of `a` say the other"


def test_calibration_errors_by_hand():
    confidence = np.array([0.1, 0.1, 0.9, 0.9])
    happened = np.array([False, True, True, True])
    assert m.calibration_error(confidence, happened) == pytest.approx(0.5 * 0.4 + 0.5 * 0.1)
    assert m.calibration_error(np.array([1.0]), np.array([True])) == 0.0, "1 is in the last bin"
    # Two bins of equal mass: (0.1, 0.2, 0.3) against 1 of 3, and (0.4, 0.5, 0.6) against 2 of 3.
    spread = np.arange(1, 7) / 10
    truth = np.array([0, 0, 1, 1, 1, 0], dtype=bool)
    expected = (abs(0.6 - 1) + abs(1.5 - 2)) / 6
    assert m.adaptive_calibration_error(spread, truth, bins=2) == pytest.approx(expected)


def test_a_calibrated_forecast_has_a_small_error_and_a_bold_one_a_large():
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=40_000)
    happened = rng.uniform(size=truth.size) < truth
    for error in (m.calibration_error, m.adaptive_calibration_error):
        assert error(truth, happened) < 0.01
        assert error(np.where(truth > 0.5, 1.0, 0.0), happened) == pytest.approx(0.25, abs=0.02)


def test_calibration_is_of_the_fault_probability_where_there_is_a_healthy_class():
    p = np.array([[0.4, 0.3, 0.3], [0.4, 0.3, 0.3]])
    y = np.array([1, 2])
    assert m.classification_figures(p, y, healthy=0)["ece"] == pytest.approx(0.4), "0.6 said, 1 happened"
    assert m.classification_figures(p, y, healthy=None)["ece"] == pytest.approx(0.4), "0.4 said, 0 right"
    assert m.classification_figures(p[:, [1, 0, 2]], y, healthy=1)["ece"] == pytest.approx(0.1)


def test_fault_auroc_takes_all_faults_together():
    p = np.array([[0.9, 0.1, 0.0], [0.5, 0.0, 0.5], [0.6, 0.4, 0.0], [0.2, 0.4, 0.4]])
    found = m.classification_figures(p, np.array([0, 0, 1, 2]), healthy=0)
    assert found["fault_auroc"] == pytest.approx(3 / 4)


def test_aurc_by_hand_and_at_its_ends():
    wrong = np.array([False, True, False, True])
    assert m.aurc(wrong, np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx(np.mean([0, 1 / 2, 1 / 3, 1 / 2]))
    assert m.aurc(wrong, np.zeros(4)) == pytest.approx(0.5), "no order: the error rate"
    best, worst = m.aurc(wrong, wrong.astype(float)), m.aurc(wrong, -wrong.astype(float))
    assert best < 0.5 < worst


def test_review_yield_is_over_what_could_be_found():
    wrong = np.zeros(100, dtype=bool)
    wrong[:20] = True
    assert m.review_yield(wrong, wrong.astype(float)) == pytest.approx(1.0), "10 of 10 reviewed are errors"
    assert m.review_yield(wrong, -wrong.astype(float)) == 0.0
    assert m.review_yield(wrong, np.zeros(100)) == pytest.approx(0.2), "at random: the error rate"
    few = np.zeros(100, dtype=bool)
    few[:5] = True
    assert m.review_yield(few, few.astype(float)) == pytest.approx(1.0), "all 5 errors are found"


def test_missed_faults_are_counted_among_what_is_not_reviewed():
    fault = np.array([True] * 5 + [False] * 15)
    missed = np.array([True, True, False, False, False] + [True] * 15)
    doubt = np.zeros(20)
    doubt[0] = 1.0
    assert m.reviewed_windows(20) == 2
    # 18 are left; one missed fault is reviewed, the other is among 19 that tie for the second place.
    assert m.missed_after_review(fault, missed, doubt) == pytest.approx(1 / 19)
    assert m.missed_after_review(fault[:1], missed[:1], doubt[:1]) is None


def test_no_figure_depends_on_the_order_of_windows():
    rng = np.random.default_rng(1)
    p = np.round(rng.dirichlet([1.0, 1.0, 1.0], size=200), 1)
    p = (p + 0.01) / (p + 0.01).sum(axis=1, keepdims=True)
    y = rng.integers(3, size=200)
    votes = np.array([f"{c}-{i % 7}" for i, c in enumerate(y)])
    first = m.classification_figures(p, y, healthy=0, votes=votes)
    order = rng.permutation(200)
    assert m.classification_figures(p[order], y[order], healthy=0, votes=votes[order]) == pytest.approx(first)


def test_a_window_that_was_not_scored_counts_as_wrong():
    p = np.array([[0.9, 0.1], [np.nan, np.nan]])
    found = m.classification_figures(p, np.array([0, 0]), healthy=None)
    assert found["accuracy"] == 0.5
    assert found["nll"] == pytest.approx(-np.log([0.9, 0.5]).mean())
    assert found["error_auroc"] == 1.0


def test_auroc_takes_infinite_scores_and_refuses_nan():
    positive = np.array([True, False])
    assert m.auroc(positive, np.array([np.inf, 3.0])) == 1.0
    assert m.auroc(positive, np.array([np.nan, 3.0])) is None


def test_auroc_is_that_of_scikit_learn():
    rng = np.random.default_rng(5)
    score = np.round(rng.normal(size=500), 1)
    positive = rng.uniform(size=500) < 0.3
    assert m.auroc(positive, score) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_a_unit_drawn_twice_votes_twice():
    """Votes that are right in 5 of 10 units: resampled, their share is that of the draws, not of the units in it."""
    unit = np.repeat([f"u{i}" for i in range(10)], 4)
    seen = []

    def figures(rows, draw):
        seen.append(len(np.unique(draw)) == 10 and len(rows) == 40)
        return {"x": float(np.mean([unit[rows][draw == d][0] < "u5" for d in range(10)]))}

    low, high = bootstrap_over_units(figures, unit, seed=1)["x"]
    assert all(seen)
    assert (low, high) == pytest.approx((0.2, 0.8), abs=0.1)


def mean_of(values):
    return lambda rows, draw: {"mean": float(values[rows].mean()), "never": None}


def test_intervals_need_ten_units():
    values = np.arange(90.0)
    unit = np.repeat([f"u{i}" for i in range(MIN_UNITS - 1)], 10)
    assert bootstrap_over_units(mean_of(values), unit, seed=0) == {}


def test_bootstrap_draws_units_not_windows():
    """100 copies of a window are worth one: the interval is that of the 20 units, and the same for one seed."""
    rng = np.random.default_rng(2)
    of_unit = rng.normal(size=20)
    unit = np.repeat([f"u{i:02d}" for i in range(20)], 100)
    found = bootstrap_over_units(mean_of(np.repeat(of_unit, 100)), unit, seed=0)
    assert set(found) == {"mean"}
    low, high = found["mean"]
    expected = 2 * 1.96 * of_unit.std() / np.sqrt(20)
    assert high - low == pytest.approx(expected, rel=0.2)
    assert found == bootstrap_over_units(mean_of(np.repeat(of_unit, 100)), unit, seed=0)


def test_exact_interval_of_a_share():
    assert share_interval(0, 0) is None
    low, high = share_interval(0, 10)
    assert (low, high) == (0.0, pytest.approx(1 - 0.025**0.1))
