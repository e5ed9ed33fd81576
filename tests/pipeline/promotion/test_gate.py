"""The gate's measures and rules: pure functions, against closed forms and scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pipeline.promotion.draws import unit_draws
from pipeline.promotion.gate import (
    Difference,
    ModelOnRows,
    Noise,
    Rows,
    doubt,
    mean_nll,
    measure,
    missed_rate,
    most_aside,
    noise_of,
    rule_measures,
    rule_must_not_fail,
)
from pipeline.registry.held_out import FLOOR, by_recording

CLASSES = ("healthy", "inner_race", "ball")


def made(n: int, skill: float, seed: int) -> tuple[Any, np.ndarray]:
    """What a model of some skill says of n units, a third of each class, one recording each."""
    rng = np.random.default_rng(seed)
    finding = np.array([CLASSES[i % 3] for i in range(n)])
    logits = rng.normal(0, 1, (n, 3))
    logits[np.arange(n), [CLASSES.index(name) for name in finding]] += skill
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    nll = -np.log(p[np.arange(n), [CLASSES.index(name) for name in finding]])
    return ModelOnRows(CLASSES, p, nll, 1 - p[:, 0]), finding


def rows_of(challenger: ModelOnRows, champion: ModelOnRows, finding: np.ndarray) -> Rows:
    n = len(finding)
    return Rows(np.array([f"u{i:03d}" for i in range(n)]), finding, np.ones(n), np.arange(n), challenger, champion)


def measured(rows: Rows, **changes: Any) -> dict[str, Difference]:
    told = {"review_share": 0.1, "min_units": 8, "confidence": 0.9, "n_bootstrap": 4000, "seed": 1}
    told |= {"noise": None, "noise_factor": 1.0} | changes
    return measure(rows, **told)


# ----------------------------------------------------------------------------------------------------- measures


def test_missed_faults_at_a_budget() -> None:
    healthy, faulty = [0.9, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0], [0.95, 0.5, 0.35, 0.05]
    fault, is_fault = np.array(healthy + faulty), np.array([False] * 10 + [True] * 4)
    one = np.ones((1, 14))
    for share, missed in ((0.0, 0.75), (0.1, 0.5), (0.2, 0.25), (0.39, 0.25), (0.4, 0.25), (0.7, 0.0)):
        assert missed_rate(fault, is_fault, one, review_share=share) == pytest.approx(missed), share
    double = one.copy()
    double[0, 11] = 3.0  # the one at 0.5 counts three times
    assert missed_rate(fault, is_fault, double, review_share=0.0) == pytest.approx(5 / 6)
    assert math.isnan(missed_rate(fault[:10], is_fault[:10], one[:, :10], review_share=0.1)[0])
    assert math.isnan(missed_rate(np.where(fault == 0.5, np.nan, fault), is_fault, one, review_share=0.1)[0])


def test_units_are_drawn_whole_and_no_class_vanishes() -> None:
    unit = np.array(["a", "a", "b", "c", "d", "e", "f"])
    finding = np.array(["healthy", "ball", "healthy", "healthy", "ball", "ball", "inner_race"])
    drawn = unit_draws(unit, finding, n_bootstrap=500, seed=3)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, [2, 3]].sum(axis=1) == 2).all()
    assert (drawn[:, [4, 5]].sum(axis=1) == 2).all()
    assert (drawn[:, 6] == 1).all()
    assert (drawn[:, 2] == 0).any()


def test_the_interval_of_a_difference_is_that_of_its_mean() -> None:
    """One class, n units: the bootstrap's standard error of a mean is s / sqrt(n)."""
    rng = np.random.default_rng(5)
    n = 400
    old, change = rng.normal(1, 1, n), rng.normal(0.2, 0.3, n)
    p = np.tile([0.5, 0.3, 0.2], (n, 1))
    challenger, champion = (ModelOnRows(CLASSES, p, nll, 1 - p[:, 0]) for nll in (old + change, old))
    found = measured(rows_of(challenger, champion, np.full(n, "healthy")))
    assert set(found) == {"nll"}, "with healthy units alone nothing else is defined"
    half = 1.645 * change.std() / np.sqrt(n)
    assert found["nll"].value == pytest.approx(change.mean())
    assert found["nll"].high - found["nll"].value == pytest.approx(half, rel=0.1)
    assert found["nll"].value - found["nll"].low == pytest.approx(half, rel=0.1)


def test_with_few_units_there_is_no_interval() -> None:
    (challenger, finding), (champion, _) = made(6, 1.0, 1), made(6, 1.0, 2)
    found = measured(rows_of(challenger, champion, finding))
    assert [(difference.low, difference.risk) for difference in found.values()] == [(None, None)] * 2


def test_what_both_do_not_know_by_name_is_judged_as_a_fault() -> None:
    judged, _ = made(3, 1.0, 1)
    finding = np.array(["healthy", "outer_race", "ball"])
    truth = judged.truth(finding, frozenset({"healthy", "ball"}))
    assert truth == pytest.approx([judged.p[0, 0], 1 - judged.p[1, 0], judged.p[2, 2]])


def test_recordings_are_summed_up_so_that_any_finding_can_be_judged_later() -> None:
    p = np.array([[0.8, 0.1, 0.1], [0.6, 0.4, 0.0], [0.2, 0.3, 0.5]])
    found = by_recording(p, np.array(["r1", "r1", "r0"]), np.array(["u", "u", "v"]), CLASSES)
    assert found.recording.tolist() == ["r0", "r1"]
    assert found.unit.tolist() == ["v", "u"]
    assert found.p[1] == pytest.approx([0.7, 0.25, 0.05])
    assert found.log_p[1, 0] == pytest.approx(np.log([0.8, 0.6]).mean())
    assert found.log_p[1, 2] == pytest.approx((np.log(0.1) + np.log(FLOOR)) / 2)
    assert found.log_fault[1] == pytest.approx(np.log([0.2, 0.4]).mean())
    broken = by_recording(np.full((1, 3), np.nan), np.array(["r"]), np.array(["u"]), CLASSES)
    assert np.isnan(broken.p).all()
    assert np.isnan(mean_nll(-broken.log_p[:, 0], np.ones((1, 1))))


# -------------------------------------------------------------------------------------------------------- rules


def test_a_better_challenger_passes_and_a_worse_one_does_not() -> None:
    (weak, finding), (strong, _) = made(90, 1.0, 1), made(90, 2.5, 2)
    assert rule_measures(measured(rows_of(strong, weak, finding)), max_risk=0.3) == []
    against = rule_measures(measured(rows_of(weak, strong, finding)), max_risk=0.3)
    assert [reason.split(" 0")[0].split(" 1")[0] for reason in against] == ["NLL", "missed-fault rate"]


def test_the_risk_is_the_share_of_draws_that_are_worse_by_more_than_the_margin() -> None:
    """One class, n units: the bootstrap of a mean difference is normal with s / sqrt(n)."""
    rng = np.random.default_rng(5)
    n = 400
    old, change = rng.normal(1, 1, n), rng.normal(0.02, 0.3, n)
    p = np.tile([0.5, 0.3, 0.2], (n, 1))
    challenger, champion = (ModelOnRows(CLASSES, p, nll, 1 - p[:, 0]) for nll in (old + change, old))
    rows = rows_of(challenger, champion, np.full(n, "healthy"))
    error = change.std() / np.sqrt(n)
    for spread in (0.0, 0.1, 0.3):
        found = measured(rows, noise=Noise(spread, None, 30, 0, 3), noise_factor=2.0)["nll"]
        assert found.margin == pytest.approx(2.0 * spread * np.sqrt(2 / n))
        wanted = 0.5 * math.erfc((found.margin - change.mean()) / error / math.sqrt(2))
        assert found.risk == pytest.approx(wanted, abs=0.02)


def test_the_noise_is_the_spread_of_a_row_between_refits() -> None:
    judged, finding = made(24, 1.0, 1)
    shifts = np.array([0.0, 0.3, -0.1])
    refits = [ModelOnRows(CLASSES, judged.p, judged.nll + shift, judged.recording_fault) for shift in shifts]
    found = noise_of([rows_of(one, one, finding) for one in refits], review_share=0.1)
    assert found.nll == pytest.approx(shifts.std(ddof=1))
    assert (found.missed_rate, found.rows, found.faulty_rows, found.refits) == (0.0, 24, 16, 3)
    rows = rows_of(judged, judged, finding)
    assert found.margin("nll", rows, factor=3.0) == pytest.approx(3.0 * shifts.std(ddof=1) * np.sqrt(2 / 24))
    healthy = rows_of(refits[0], refits[0], np.full(24, "healthy"))
    assert noise_of([healthy, healthy], review_share=0.1).missed_rate is None


def test_the_noise_of_missed_faults_is_that_of_the_faulty_rows() -> None:
    """Of four faulty rows one is missed by the first refit alone: variance 1/2 in one of four."""
    finding = np.array(["healthy"] * 10 + ["ball"] * 4)
    p = np.tile([0.4, 0.3, 0.3], (14, 1))
    faults = np.array([0.5] + [0.0] * 9 + [0.9] * 4), np.array([0.5] + [0.0] * 9 + [0.0] + [0.9] * 3)
    refits = [ModelOnRows(CLASSES, p, np.ones(14), fault) for fault in faults]
    found = noise_of([rows_of(one, one, finding) for one in refits], review_share=0.0)
    assert found.missed_rate == pytest.approx(np.sqrt(0.5 / 4))
    rows = rows_of(*refits, finding)
    assert found.margin("missed_rate", rows, factor=1.0) == pytest.approx(found.missed_rate * np.sqrt(2 / 4))


@pytest.mark.parametrize(
    ("difference", "told"),
    [
        (Difference(1.1, 1.0, -0.2, 0.1, 0.05, 0.3), None),
        (Difference(1.1, 1.0, -0.2, 0.1, 0.05, 0.31), "the 0.050 that a refit changes anyway, with probability 0.31"),
        (Difference(1.05, 1.0, None, None, 0.05, None), None),
        (Difference(1.06, 1.0, None, None, 0.05, None), "worse by more than the 0.050 that a refit changes anyway"),
        (Difference(float("nan"), 1.0, None, None, 10.0, None), "not finite"),
        (Difference(float("nan"), 1.0, -0.1, 0.1, 10.0, 0.0), "not finite"),
        (Difference(0.9, 1.0, float("nan"), float("nan"), 0.05, float("nan")), "with probability nan"),
    ],
)
def test_the_rule_of_a_measure(difference: Difference, told: str | None) -> None:
    against = rule_measures({"nll": difference}, max_risk=0.3)
    assert len(against) == (told is not None)
    assert told is None or told in against[0]


def test_new_findings_that_nobody_believes_are_found_the_least_probable_first() -> None:
    is_new = np.array([True, True, True, True, True, False, False])
    challenger = np.array([0.15, 0.05, 0.9, 0.05, 0.1, 0.9, 0.05])
    champion = np.array([0.05, 0.9, 0.05, np.nan, 0.12, 0.9, 0.05])
    found = doubt(challenger, champion, is_new, probability=0.2)
    assert (found.new_rows, found.old_contradicted, found.old_rows) == (5, 1, 2)
    assert found.contradicted == (3, 4, 0), "row 2 is new to the champion alone, row 1 to the challenger"
    assert doubt(np.full(7, 0.9), champion, is_new, probability=0.2).contradicted == ()


@pytest.mark.parametrize(("new", "share", "most"), [(3, 0.2, 1), (10, 0.2, 2), (14, 0.2, 2), (15, 0.2, 3), (9, 0.0, 1)])
def test_at_most_a_share_may_be_set_aside_and_one_always(new: int, share: float, most: int) -> None:
    assert most_aside(new, share=share) == most


def test_named_cases_must_be_on_the_right_side() -> None:
    p = np.array([[0.6, 0.2, 0.2], [0.6, 0.2, 0.2], [0.3, 0.3, 0.4]])
    judged = ModelOnRows(CLASSES, p, np.zeros(3), 1 - p[:, 0])
    finding = np.array(["healthy", "ball", "inner_race"])
    against = rule_must_not_fail(np.array(["A", "B", "C"]), finding, judged, probability=0.5)
    assert against == ["B must not fail: ball has probability 0.40, below 0.5"]
    types = ModelOnRows(CLASSES[1:], np.array([[0.5, 0.5], [0.43, 0.57]]), np.zeros(2), np.full(2, np.nan))
    against = rule_must_not_fail(np.array(["A", "C"]), finding[[1, 2]], types, probability=0.5)
    assert [reason.split()[0] for reason in against] == ["C"], "without a healthy class the mode has to be right"
