"""How good a trained model is, on held-out units only."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from models.judging.calibration import Temperature, target_mask
from models.judging.metrics import brier
from models.kinds import UNKNOWN_MODE, Kind
from models.training.network_share import NetworkShare
from models.training.rule_prior import Agreement
from models.training.tuning_choice import Tuning

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

UNKNOWN_MODE_NAME = "fault, mode unknown"


@dataclass(frozen=True)
class UnitMetrics:
    """Held-out figures of one unit in one class (a unit that turned faulty has two rows).

    Accuracy and NLL at the balanced training mix; fault probability and mutual information as a score has them, at
    the declared fault prior. None where not defined.
    """

    unit: str
    class_name: str
    n_windows: int
    accuracy: float | None
    nll: float | None
    fault_probability: float | None
    mutual_information: float | None


@dataclass(frozen=True)
class FoldRecord:
    """Which units a fold fitted, stopped on and tested, and for how many epochs it trained.

    `temperature` and `network_share` are those of the *other* folds, with which this one is judged; None without
    a network.
    """

    fit_units: tuple[str, ...]
    stop_units: tuple[str, ...]
    test_units: tuple[str, ...]
    epochs: int
    stopped_early: bool
    temperature: float | None = None
    network_share: float | None = None


@dataclass(frozen=True, eq=False)
class HeldOutWindows:
    """Out-of-fold class probabilities of windows, at the balanced training mix.

    Attributes
    ----------
    rows
        int64 (n,) which of the windows given to `models.training.train.train` they are.
    probabilities
        float64 (n, C), each fold with a temperature fitted on the others.
    """

    rows: IntArray
    probabilities: FloatArray


@dataclass(frozen=True)
class TrainingReport:
    """Result of a training; every figure out of fold, with the temperature fitted on the *other* folds.

    Attributes
    ----------
    kind, n_windows, n_units
        What was trained, on how much (after leaving out what `notes` says).
    overall
        accuracy, macro_auroc, fault_auroc, nll, brier over all held-out windows at the balanced training mix (classes
        alike, class weights *not* undone), and nll_at_fault_prior, weighted to the declared mix; None where undefined.
    units
        Per unit and class.
    folds
        The splits.
    temperature
        The one in the model, fitted on all held-out units.
    network_share
        Likewise, see `models.training.network_share`; None without a network.
    epochs
        Epochs of the final network; 0 without a network.
    notes
        What the reader should know, in words.
    tuning
        How dropout rate, depth, BatchNorm and length scale were chosen; None where they were not.
    labels_and_lines
        Whether the labels agree with the lines that the rule reads; None without a rule.
    held_out
        What the figures are made of; None without a network. Not part of `as_dict`.
    """

    kind: Kind
    n_windows: int
    n_units: int
    overall: dict[str, float | None]
    units: tuple[UnitMetrics, ...]
    folds: tuple[FoldRecord, ...]
    temperature: Temperature
    network_share: NetworkShare | None
    epochs: int
    notes: tuple[str, ...]
    tuning: Tuning | None = None
    labels_and_lines: Agreement | None = None
    held_out: HeldOutWindows | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values (tuples as lists, never NaN)."""
        plain: dict[str, Any] = _plain(asdict(replace(self, held_out=None)))
        del plain["held_out"]
        return plain


def truth_probability(p: FloatArray, y: IntArray, healthy: int | None) -> FloatArray:
    """Return the probability (n,) that p (n, C) gives the truth; for an unknown mode the summed fault probability.

    >>> truth_probability(np.array([[0.5, 0.25, 0.25]] * 2), np.array([1, -1]), healthy=0).tolist()
    [0.25, 0.5]
    """
    total: FloatArray = np.where(target_mask(y, p.shape[1], healthy), p, 0.0).sum(axis=1)
    return total


def correct(p: FloatArray, y: IntArray, healthy: int | None) -> NDArray[np.bool_]:
    """Return whether the most probable class (n,) is right; for an unknown mode any fault class is.

    >>> correct(np.array([[0.2, 0.7, 0.1]] * 2), np.array([2, -1]), healthy=0).tolist()
    [False, True]
    """
    right: NDArray[np.bool_] = target_mask(y, p.shape[1], healthy)[np.arange(y.size), p.argmax(axis=1)]
    return right


def overall_metrics(p: FloatArray, y: IntArray, *, healthy: int | None) -> dict[str, float | None]:
    """Judge held-out probabilities.

    Parameters
    ----------
    p
        (n, C) class probabilities.
    y
        (n,) class index or UNKNOWN_MODE.
    healthy
        Index of the healthy class or None.

    Returns
    -------
    dict
        accuracy; macro_auroc (one class against the rest, mean over classes that have both sides; known modes only);
        fault_auroc (healthy against any fault); nll (nats); brier (squared error summed over classes, in [0, 2], known
        modes only). None where not defined.

    Examples
    --------
    >>> overall_metrics(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]), healthy=0)["accuracy"]
    1.0
    """
    known = y != UNKNOWN_MODE
    aurocs = [_auroc(y[known] == c, p[known, c]) for c in range(p.shape[1])]
    defined = [a for a in aurocs if a is not None]
    return {
        "accuracy": float(correct(p, y, healthy).mean()),
        "macro_auroc": float(np.mean(defined)) if defined else None,
        "fault_auroc": None if healthy is None else _auroc(y != healthy, 1.0 - p[:, healthy]),
        "nll": float(-np.log(np.maximum(truth_probability(p, y, healthy), 1e-300)).mean()),
        "brier": brier(p[known], y[known]),
    }


def unit_metrics(
    p: FloatArray,
    y: IntArray,
    unit: NDArray[np.str_],
    *,
    fault_probability: FloatArray,
    mutual_information: FloatArray,
    classes: tuple[str, ...],
    healthy: int | None,
) -> tuple[UnitMetrics, ...]:
    """Return the figures of each unit in each of its classes; all arguments as in `overall_metrics`, by window."""
    right = correct(p, y, healthy)
    loss = -np.log(np.maximum(truth_probability(p, y, healthy), 1e-300))
    rows = []
    for name in np.unique(unit):
        for c in np.unique(y[unit == name]):
            of = (unit == name) & (y == c)
            rows.append(
                UnitMetrics(
                    unit=str(name),
                    class_name=UNKNOWN_MODE_NAME if c == UNKNOWN_MODE else classes[c],
                    n_windows=int(of.sum()),
                    accuracy=_finite(right[of].mean()),
                    nll=_finite(loss[of].mean()),
                    fault_probability=_finite(fault_probability[of].mean()),
                    mutual_information=_finite(mutual_information[of].mean()),
                )
            )
    return tuple(rows)


def _auroc(positive: NDArray[np.bool_], score: FloatArray) -> float | None:
    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive, score))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return _finite(value)
    return value
