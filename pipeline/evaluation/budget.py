"""A review budget from the judged units of an evaluation: labelled, and held out from all training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from pipeline.base.errors import SettingsError
from pipeline.evaluation.figures import order_of
from pipeline.evaluation.methods import Prediction
from pipeline.evaluation.windows import EvaluationRows

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Budget:
    """A threshold with its guarantee, or the reason why there is none.

    Attributes
    ----------
    threshold : float or None
        Cases with a review score of at least this are reviewed; None: no threshold can be guaranteed.
    reason : str
        A sentence: what is guaranteed, or why nothing is.
    fault_units, missed_units : int
        Labelled units with a fault, and those of them missed at the threshold.
    miss_bound : float or None
        Upper confidence limit of the share of fault units missed at the threshold.
    review_rate : float or None
        Share of the cases (axis days, windows) of the labelled units that the threshold reviews.
    cases_a_day : float or None
        Cases a day that the fleet would have to review at the threshold.
    needed_units : int
        Least number of fault units, none of them missed, that can prove the requested miss rate.
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
        """Return plain JSON values."""
        return dict(vars(self))


def miss_bound(missed: int, units: int, *, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper confidence limit of the miss rate when `missed` of `units` were missed.

    Clopper and Pearson (1934). 1 where there are no units, or all were missed. The true rate lies above the limit with
    a chance of at most 1 - confidence.

    Raises
    ------
    ValueError
        `missed` is below 0 or above `units`.
    """
    if not 0 <= missed <= units:
        raise ValueError(f"missed must lie in 0..{units}, got {missed}.")
    if missed == units:
        return 1.0
    return float(betaincinv(missed + 1, units - missed, confidence))


def units_needed(max_miss_rate: float, *, confidence: float = CONFIDENCE) -> int:
    """Return the least number of fault units that can prove a miss rate when none of them is missed.

    This is the least n with (1 - rate)^n <= 1 - confidence.

    Raises
    ------
    ValueError
        A rate or a confidence outside (0, 1).
    """
    _check(max_miss_rate, confidence)
    return math.ceil(math.log(1.0 - confidence) / math.log(1.0 - max_miss_rate) - 1e-9)


def unit_reach(
    review: FloatArray, alarmed: BoolArray, fault: BoolArray, unit: NDArray[np.str_]
) -> tuple[NDArray[np.str_], FloatArray]:
    """Return the fault units, and for each the highest threshold at which half of its faulty cases are noticed.

    A case is noticed if it raises an alarm, or if it is reviewed.

    Parameters
    ----------
    review
        (n,) review score of each case; the higher, the earlier it is reviewed. NaN: no score, always reviewed.
    found
        (n,) whether the case raises an alarm without any review.
    fault
        (n,) whether the machine has a fault in it.
    unit
        (n,) physical unit.

    Returns
    -------
    tuple
        Names (m,), and reach (m,): infinity where alarms alone are enough for the unit.
    """
    names = np.unique(unit[fault])
    worth = np.where(alarmed, np.inf, review)
    worth = np.where(np.isnan(worth), np.inf, worth)  # a case without a score is always reviewed
    reach = [_half(worth[fault & (unit == name)]) for name in names]
    return names, np.array(reach, dtype=np.float64)


def _half(worth: FloatArray) -> float:
    """Return the highest value v such that at least half of the values are v or more."""
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
    """Choose the highest threshold that guarantees the miss rate, and check it against the capacity.

    Parameters
    ----------
    review, found, fault, unit
        Cases of labelled units that the model was not trained on, see `unit_reach`.
    max_miss_rate
        Highest share of fault units missed, in (0, 1).
    capacity
        Cases that people can review a day; None: no limit.
    cases_a_day
        Cases that the whole fleet has a day; needed with a capacity.
    confidence
        Chance that the guarantee holds, in (0, 1).

    Returns
    -------
    Budget
        Its threshold is None where there are too few fault units, or where the capacity is too small.

    Raises
    ------
    ValueError
        A rate or a confidence outside (0, 1), a capacity below 0, or a capacity without `cases_a_day`.
    """
    _check(max_miss_rate, confidence)
    if capacity is not None and (cases_a_day is None or capacity < 0.0):
        raise ValueError("A capacity must be 0 or more, and needs cases_a_day: the cases that the fleet has a day.")
    names, reach = unit_reach(review, alarmed, fault, unit)
    n, needed = names.size, units_needed(max_miss_rate, confidence=confidence)
    if n < needed:
        text = (
            f"{n} labelled fault unit{'' if n == 1 else 's'}: a miss rate of at most {max_miss_rate:.3g} "
            f"with {confidence:.0%} confidence needs at least {needed}, even if none is missed; "
            f"label more units, or allow a miss rate of {miss_bound(0, n, confidence=confidence):.3g} or more"
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
            f"a miss rate of at most {max_miss_rate:.3g} needs the review of {daily:.3g} cases a day ({rate:.1%} of "
            f"{cases_a_day:.3g}), more than the capacity of {capacity:.3g}; raise the capacity or the miss rate"
        )
        return Budget(None, text, *figures)
    text = (
        f"{missed} of {n} fault units are missed; with {confidence:.0%} confidence the miss rate of such units is at "
        f"most {bound:.3g} (requested: {max_miss_rate:.3g})"
    )
    return Budget(float(threshold), text, *figures)


def _last_passed(
    candidates: FloatArray, reach: FloatArray, max_miss_rate: float, confidence: float
) -> tuple[float, int]:
    """Try thresholds from low to high; return the last one before the bound gets too high, and its missed units."""
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
    """The review budget that the user asks for.

    Attributes
    ----------
    max_miss_rate : float
        Highest share of fault units that may be missed, in (0, 1).
    capacity, cases_a_day : float or None
        Windows that people can review a day, and windows that the plant has a day.
    confidence : float
        Chance that the guarantee holds, in (0, 1).

    Raises
    ------
    SettingsError
        A value is out of range; one message lists all such values.
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
            wrong.append("--capacity needs --cases-a-day: the number of windows that the plant has a day")
        if wrong:
            raise SettingsError("; ".join(wrong))


def budgets(
    judged: EvaluationRows, predicted: Mapping[str, Prediction], asked: BudgetAsked, *, healthy: int | None
) -> dict[str, dict[str, Any]]:
    """Choose a threshold for each method, or give the reason why there is none.

    Cases are windows of known classes on units that were not trained on. A case raises an alarm where its fault
    probability is at least 0.5; where all classes are faults, it raises one where the most likely class is the right
    one. Cases are reviewed in the order in which axiswatch would send them to review; a method without such an order is
    reviewed by predictive entropy.

    Parameters
    ----------
    judged
        Windows to judge.
    predicted
        Prediction of each method for them.
    asked
        The review budget that is asked for.
    healthy
        Index of the healthy class; None where all classes are faults.

    Returns
    -------
    dict
        By method: the fields of `Budget`, and `review_probability`.
    """
    rows = np.flatnonzero((judged.y >= 0) & ~judged.leaked)
    y = judged.y[rows]
    chosen = {}
    for name, prediction in predicted.items():
        p = prediction.probabilities[rows]
        order = order_of(judged, prediction)[rows]
        finite = np.isfinite(p).all(axis=1)
        right = p.argmax(axis=1) == y if healthy is None else 1.0 - p[:, healthy] >= 0.5
        chosen[name] = choose_threshold(
            np.where(finite | judged.blocked[rows], order, np.nan),
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
    """Return the value of setting `review_probability` for a threshold on `pipeline.evaluation.routing.review_order`.

    Parameters
    ----------
    threshold
        Above 1: only the doubts that always come first are reviewed. 0 to 1: also windows from that fault probability
        on. Below 0: all windows without an alarm, and some alarms. None: there is no guarantee.

    Returns
    -------
    float or None
        In (0, 1]; at 1 no window is reviewed because of its fault probability.
    """
    return None if threshold is None else float(np.clip(threshold, 1e-6, 1.0))


def _threshold_in_json(threshold: float | None) -> float | str | None:
    """Write a threshold for JSON, which has no infinity: a threshold above all cases reviews `nothing`."""
    return "nothing" if threshold is not None and not np.isfinite(threshold) else threshold
