"""A review budget from the judged units of an evaluation: labelled, and held out from all training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from pipeline.base.errors import SettingsError
from pipeline.evaluation.methods import Prediction
from pipeline.evaluation.windows import EvaluationRows, doubt_of

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Budget:
    """A threshold with its guarantee, or the reason why there is none.

    Attributes
    ----------
    threshold : float or None
        Everything whose review score is at least this is reviewed; None: refused.
    reason : str
        In words: what is guaranteed, or why nothing is.
    fault_units, missed_units : int
        Labelled units with a fault, and those of them missed at the threshold.
    miss_bound : float or None
        Upper limit of the miss rate of units at the threshold, at the confidence.
    review_rate : float or None
        Share of the cases (axis days, windows) of the labelled units that the threshold reviews.
    cases_a_day : float or None
        What the fleet would have to review a day at the threshold.
    needed_units : int
        Fault units without a single miss that the wanted rate asks for at the least.
    """

    threshold: float | None
    reason: str
    fault_units: int
    missed_units: int | None
    miss_bound: float | None
    review_rate: float | None
    cases_a_day: float | None
    needed_units: int

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return dict(vars(self))


def miss_bound(missed: int, units: int, *, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper limit of a proportion of which `missed` of `units` were seen (Clopper-Pearson).

    1 where there are no units, or all were missed. The chance that the true proportion lies above is at most
    1 - confidence, whatever it is.
    """
    if not 0 <= missed <= units:
        raise ValueError(f"missed must lie in 0..{units}, got {missed}.")
    if missed == units:
        return 1.0
    return float(beta.ppf(confidence, missed + 1, units - missed))


def units_needed(max_miss_rate: float, *, confidence: float = CONFIDENCE) -> int:
    """Return how many fault units without a single miss are needed: the least n with (1 - rate)^n <= 1 - confidence."""
    _check(max_miss_rate, confidence)
    return math.ceil(math.log(1.0 - confidence) / math.log(1.0 - max_miss_rate) - 1e-9)


def unit_reach(
    review: FloatArray, alarmed: BoolArray, fault: BoolArray, unit: NDArray[np.str_]
) -> tuple[NDArray[np.str_], FloatArray]:
    """Return the fault units, and for each the highest threshold at which half of its faulty cases are found.

    Parameters
    ----------
    review
        (n,) review score of each case of a unit; the higher, the earlier it is reviewed.
    found
        (n,) whether the case raises an alarm without any review.
    fault
        (n,) whether something is at fault in it.
    unit
        (n,) physical unit.

    Returns
    -------
    tuple
        Names, and reach (m,): infinity where an alarm finds the unit whatever is reviewed.
    """
    names = np.unique(unit[fault])
    worth = np.where(alarmed, np.inf, review)
    worth = np.where(np.isnan(worth), np.inf, worth)  # what cannot be scored is never left out of a review
    reach = [_half(worth[fault & (unit == name)]) for name in names]
    return names, np.array(reach, dtype=np.float64)


def _half(worth: FloatArray) -> float:
    """Return the highest value that at least half of the values (one of one) are not below."""
    return float(np.sort(worth)[::-1][(worth.size + 1) // 2 - 1])


def choose_threshold(
    review: FloatArray,
    alarmed: BoolArray,
    fault: BoolArray,
    unit: NDArray[np.str_],
    *,
    max_miss_rate: float,
    capacity: float | None = None,
    cases_a_day: float | None = None,
    confidence: float = CONFIDENCE,
) -> Budget:
    """Choose the highest threshold that keeps the promise, and see whether the capacity is enough for it.

    Parameters
    ----------
    review, found, fault, unit
        Cases of labelled units that the model was not trained on, see `unit_reach`.
    max_miss_rate
        Highest share of fault units missed, in (0, 1).
    capacity
        Cases that people can look at a day; None: as many as it takes.
    cases_a_day
        Cases that the whole fleet has a day; needed with a capacity.
    confidence
        Chance that the promise is kept, in (0, 1).

    Raises
    ------
    ValueError
        A rate or a confidence outside (0, 1), a capacity below 0, or a capacity without `cases_a_day`.
    """
    _check(max_miss_rate, confidence)
    if capacity is not None and (cases_a_day is None or capacity < 0.0):
        raise ValueError("A capacity must not be negative, and cases_a_day has to say what it is a part of.")
    names, reach = unit_reach(review, alarmed, fault, unit)
    n, needed = names.size, units_needed(max_miss_rate, confidence=confidence)
    if n < needed:
        text = (
            f"{n} labelled fault unit{'' if n == 1 else 's'}: even without a single miss, at most "
            f"{max_miss_rate:.3g} missed with {confidence:.0%} confidence needs {needed}; label more units, or allow "
            f"more (with {n} units no less than {miss_bound(0, n, confidence=confidence):.3g} can be promised)"
        )
        return Budget(None, text, n, None, None, None, None, needed)
    score = np.where(np.isnan(review), np.inf, review)
    threshold, missed = _last_passed(np.unique(score), reach, max_miss_rate, confidence)
    bound = miss_bound(missed, n, confidence=confidence)
    rate = float((score >= threshold).mean())
    daily = None if cases_a_day is None else rate * cases_a_day
    figures = (n, missed, bound, rate, daily, needed)
    if capacity is not None and daily is not None and daily > capacity:
        text = (
            f"at most {max_miss_rate:.3g} missed takes {daily:.3g} cases a day ({rate:.1%} of {cases_a_day:.3g}), more "
            f"than the capacity of {capacity:.3g}; give more time, or allow more misses"
        )
        return Budget(None, text, *figures)
    text = (
        f"{missed} of {n} fault units missed, so with {confidence:.0%} confidence at most {bound:.3g} of such units "
        f"are (wanted: {max_miss_rate:.3g})"
    )
    return Budget(float(threshold), text, *figures)


def _last_passed(
    candidates: FloatArray, reach: FloatArray, max_miss_rate: float, confidence: float
) -> tuple[float, int]:
    """Return the last threshold, from low to high, before the first whose bound is too high; and its missed units."""
    passed, missed_there = float(candidates[0]), 0
    for candidate in (*candidates.tolist(), math.inf):
        missed = int((reach < candidate).sum())
        if miss_bound(missed, reach.size, confidence=confidence) > max_miss_rate:
            break
        passed, missed_there = candidate, missed
    return passed, missed_there


def _check(max_miss_rate: float, confidence: float) -> None:
    for name, value in (("max_miss_rate", max_miss_rate), ("confidence", confidence)):
        if not 0.0 < value < 1.0:
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}.")


@dataclass(frozen=True)
class BudgetAsked:
    """What the engineer wants.

    Attributes
    ----------
    max_miss_rate : float
        Highest share of fault units that may be missed, in (0, 1).
    capacity, cases_a_day : float or None
        Windows that people can look at a day, and that the plant has a day.
    confidence : float
        Chance that the promise is kept, in (0, 1).

    Raises
    ------
    SettingsError
        A value that cannot be; all of them at once.
    """

    max_miss_rate: float
    capacity: float | None = None
    cases_a_day: float | None = None
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        wrong = [
            f"{name} must lie strictly between 0 and 1, not {value}"
            for name, value in (("--max-miss-rate", self.max_miss_rate), ("--confidence", self.confidence))
            if not 0.0 < value < 1.0
        ]
        wrong += [
            f"{name} must be a number above 0, not {value}"
            for name, value in (("--capacity", self.capacity), ("--cases-a-day", self.cases_a_day))
            if value is not None and not 0.0 < value < np.inf
        ]
        if self.capacity is not None and self.cases_a_day is None:
            wrong.append("--capacity needs --cases-a-day: the windows that the plant has a day, of which it is a part")
        if wrong:
            raise SettingsError("; ".join(wrong))


def budgets(
    judged: EvaluationRows, predicted: Mapping[str, Prediction], asked: BudgetAsked, *, healthy: int | None
) -> dict[str, dict[str, Any]]:
    """Choose a threshold for each method, or say why there is none.

    Cases are windows of known classes on units that were not trained on. One is found without review where the fault
    probability is at least 0.5, or, where all classes are faults, where the right one is named. Reviewed first is what
    comes first in the order in which axiswatch would send it (predictive entropy, for a method without one).
    """
    rows = np.flatnonzero((judged.y >= 0) & ~judged.leaked)
    y = judged.y[rows]
    chosen = {}
    for name, prediction in predicted.items():
        p = prediction.probabilities[rows]
        order = doubt_of(p) if prediction.order is None else prediction.order[rows]
        finite = np.isfinite(p).all(axis=1)
        right = p.argmax(axis=1) == y if healthy is None else 1.0 - p[:, healthy] >= 0.5
        chosen[name] = choose_threshold(
            np.where(finite, order, np.nan),
            np.asarray(finite & right, dtype=np.bool_),
            np.ones(y.size, dtype=np.bool_) if healthy is None else np.asarray(y != healthy, dtype=np.bool_),
            judged.unit[rows],
            max_miss_rate=asked.max_miss_rate,
            capacity=asked.capacity,
            cases_a_day=asked.cases_a_day,
            confidence=asked.confidence,
        ).as_dict()
    return {
        name: {
            **budget,
            "threshold": _threshold_in_json(budget["threshold"]),
            "review_probability": None
            if predicted[name].order is None or healthy is None
            else review_probability(budget["threshold"]),
        }
        for name, budget in chosen.items()
    }


def review_probability(threshold: float | None) -> float | None:
    """Give the setting that a threshold on `pipeline.evaluation.routing.review_order` amounts to.

    Parameters
    ----------
    threshold
        Above 1: only what comes first anyway is reviewed; 0 to 1: from that fault probability on; below 0: alarms are
        looked at too, so everything below them is. None: there is no promise.

    Returns
    -------
    float or None
        In (0, 1]; 1 asks for nothing by the fault probability.
    """
    return None if threshold is None else float(np.clip(threshold, 1e-6, 1.0))


def _threshold_in_json(threshold: float | None) -> float | str | None:
    """JSON has no infinity: above every case, nothing is reviewed."""
    return "nothing" if threshold is not None and not np.isfinite(threshold) else threshold
