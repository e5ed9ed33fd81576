"""A review budget from the judged units of an evaluation: labelled, and held out from all training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.base.errors import SettingsError
from pipeline.evaluation.judged import Judged, doubt_of
from pipeline.evaluation.methods import Prediction
from pipeline.review_budget import CONFIDENCE, choose_threshold


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
    judged: Judged, predicted: Mapping[str, Prediction], asked: BudgetAsked, *, healthy: int | None
) -> dict[str, dict[str, Any]]:
    """Choose a threshold for each method, or say why there is none.

    Cases are windows of known classes on units that were not trained on. One is found without review where the fault
    probability is at least 0.5, or, where all classes are faults, where the right one is named. Reviewed first is what
    comes first in the order in which axiswatch would send it (predictive entropy, for a method without one).
    """
    rows = np.flatnonzero((judged.y >= 0) & ~judged.leaked)
    y = judged.y[rows]
    found = {}
    for name, said in predicted.items():
        p = said.probabilities[rows]
        order = doubt_of(p) if said.order is None else said.order[rows]
        finite = np.isfinite(p).all(axis=1)
        right = p.argmax(axis=1) == y if healthy is None else 1.0 - p[:, healthy] >= 0.5
        found[name] = choose_threshold(
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
            **one,
            "threshold": _plain(one["threshold"]),
            "review_probability": None
            if predicted[name].order is None or healthy is None
            else review_probability(one["threshold"]),
        }
        for name, one in found.items()
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


def _plain(threshold: float | None) -> float | str | None:
    """JSON has no infinity: above every case, nothing is reviewed."""
    return "nothing" if threshold is not None and not np.isfinite(threshold) else threshold
