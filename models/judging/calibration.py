"""Temperature and priors: from the output of a network to a calibrated probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from models.kinds import UNKNOWN_MODE

LOWEST, HIGHEST = 0.25, 20.0
_CHUNK = 2048

LOG_SCALE = 0.25
"""Scale of the Laplace priors on the logs of temperature and network share: few units hardly move them."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Temperature:
    """A calibration temperature, and whether the data identify it.

    Attributes
    ----------
    value
        Divides every sample's logits; in [0.25, 20] when fitted.
    identifiable
        False: the held-out units do not identify the temperature, see `reason`.
    reason
        In words; for a fitted one, on how many units.
    """

    value: float
    identifiable: bool
    reason: str


def mixture_nll(
    logits: NDArray[np.float32], y: IntArray, weight: FloatArray, *, temperature: float, healthy: int | None
) -> float:
    """Return the weighted mean negative log of the Monte Carlo mean probability of the truth, nats.

    Parameters
    ----------
    logits
        (T, n, C) sampled logits.
    y
        (n,) class indices; UNKNOWN_MODE (fault, mode unknown) counts the summed fault probability.
    weight
        (n,) weights, of which at least one is positive.
    temperature
        Divides the logits.
    healthy
        Index of the healthy class or None.

    Examples
    --------
    >>> logits = np.zeros((3, 1, 2), dtype=np.float32)
    >>> round(mixture_nll(logits, np.array([1]), np.ones(1), temperature=1.0, healthy=0), 6)
    0.693147
    """
    total = 0.0
    n_samples, n, n_classes = logits.shape
    targets = target_mask(y, n_classes, healthy)
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        z = torch.from_numpy(logits[:, part]).double() / temperature
        forbidden = torch.from_numpy(~targets[part])
        log_p = z.masked_fill(forbidden, -torch.inf).logsumexp(-1) - z.logsumexp(-1)
        log_mean = log_p.logsumexp(0) - float(np.log(n_samples))
        total -= float(torch.from_numpy(weight[part]) @ log_mean)
    return total / float(weight.sum())


def target_mask(y: IntArray, n_classes: int, healthy: int | None) -> NDArray[np.bool_]:
    """Return bool (n, C): the classes whose summed probability is the probability of the truth.

    >>> target_mask(np.array([2, -1]), 3, healthy=0).tolist()
    [[False, False, True], [False, True, True]]
    """
    mask: NDArray[np.bool_] = y[:, None] == np.arange(n_classes)[None, :]
    unknown = y == UNKNOWN_MODE
    mask[unknown] = True
    if healthy is not None:
        mask[unknown, healthy] = False
    return mask


def fit_temperature(
    logits: NDArray[np.float32],
    y: IntArray,
    unit: NDArray[np.str_],
    weight: FloatArray,
    *,
    healthy: int | None,
    prior_temperature: float,
    min_units: int = 10,
) -> Temperature:
    """Fit the temperature on held-out units (Guo et al. 2017, section 4.2, on the Monte Carlo mean).

    Minimises `mixture_nll` plus `|log T| / (LOG_SCALE n)`, n held-out units, over log T in [log 0.25, log 20]: a
    Laplace prior around 1, against one observation a unit. No prior correction is applied while fitting: weights
    and logits both refer to the training mix.

    Parameters
    ----------
    logits
        (T, n, C) logits of windows whose unit the network was *not* trained on.
    y, unit, weight
        (n,) class index, physical unit and weight (see `models.training.splits.balanced_weights`).
    healthy
        Index of the healthy class or None.
    prior_temperature
        Returned where the data do not identify one.
    min_units
        Fewest held-out units that a temperature is fitted on.

    Returns
    -------
    Temperature
        Not identifiable with fewer than `min_units` units or fewer than two of a class, or when the minimum lies at an
        edge of the range. With too few units the prior temperature is returned. At the lower edge (no unit is
        confused with another class, so a lower temperature is always better) 1 is returned, or the prior temperature
        if that is lower: the network is not sharpened. At the upper edge (the logits carry no information) the edge
        itself is returned.

    Examples
    --------
    >>> logits, y = np.zeros((1, 2, 2), dtype=np.float32), np.array([0, 1])
    >>> few = fit_temperature(logits, y, np.array(["a", "b"]), np.ones(2), healthy=0, prior_temperature=1.5)
    >>> few.value, few.identifiable
    (1.5, False)
    """
    reason = too_few_units(y, unit, healthy=healthy, min_units=min_units)
    if reason:
        return Temperature(prior_temperature, False, f"not identifiable: {reason}; prior temperature used")

    n_units = np.unique(unit).size

    def objective(log_temperature: float) -> float:
        nll = mixture_nll(logits, y, weight, temperature=float(np.exp(log_temperature)), healthy=healthy)
        return nll + abs(log_temperature) / (LOG_SCALE * n_units)

    low, high = float(np.log(LOWEST)), float(np.log(HIGHEST))
    minimum = minimize_scalar(objective, bounds=(low, high), method="bounded", options={"xatol": 1e-3})
    best = float(minimum.x)
    if not np.isfinite(minimum.fun):
        return Temperature(prior_temperature, False, "not identifiable: the held-out loss is not finite")
    if best < low + 0.02:
        reason = "the held-out units are told apart better than any temperature in range says"
        return Temperature(min(prior_temperature, 1.0), False, f"not identifiable: {reason}; not sharpened")
    if best > high - 0.02:
        reason = "the logits say nothing about the held-out units, so no temperature is high enough"
        return Temperature(HIGHEST, False, f"not identifiable: {reason}; the highest one used")
    return Temperature(float(np.exp(best)), True, f"fitted on {n_units} held-out units")


def too_few_units(y: IntArray, unit: NDArray[np.str_], *, healthy: int | None, min_units: int) -> str:
    """Return why these units cannot identify a temperature, or ''.

    >>> too_few_units(np.array([0, 1]), np.array(["a", "b"]), healthy=0, min_units=10)
    '2 held-out units, at least 10 are needed'
    """
    n_units = np.unique(unit).size
    if n_units < min_units:
        return f"{n_units} held-out units, at least {min_units} are needed"
    named = [int(c) for c in np.unique(y) if c != UNKNOWN_MODE]
    faults = [c for c in named if c != healthy]
    for c in named:
        rows = (y == c) | ((y == UNKNOWN_MODE) & (faults == [c]))
        if np.unique(unit[rows]).size < 2:
            return f"class {c} has a single held-out unit"
    if not faults and np.unique(unit[y == UNKNOWN_MODE]).size < 2:
        return "the faults are of a single held-out unit"
    return ""


def effective_prior(y: IntArray, weight: FloatArray, *, n_classes: int, healthy: int | None) -> FloatArray:
    """Return the class shares (C,) that the weighted training set shows the network; sums to 1.

    The weight of faults of unknown mode is spread over the fault classes as their known weight is (evenly if there is
    none). A class without any weight gets 0.

    >>> effective_prior(np.array([0, 1, -1]), np.ones(3), n_classes=2, healthy=0).round(6).tolist()
    [0.333333, 0.666667]
    """
    named: FloatArray = np.array([weight[y == c].sum() for c in range(n_classes)])
    unknown = float(weight[y == UNKNOWN_MODE].sum())
    faults = np.array([c for c in range(n_classes) if c != healthy])
    known = named[faults].sum()
    named[faults] += unknown * (named[faults] / known if known > 0.0 else 1.0 / faults.size)
    named /= named.sum()
    return named


def target_prior(unit_counts: IntArray, *, fault_prior: float, healthy: int | None) -> FloatArray:
    """Return the class shares (C,) expected where scores are used; sums to 1.

    Healthy has 1 - fault_prior; fault_prior is shared among the fault classes as (training units + 1). Without a
    healthy class the shares of the faults alone sum to 1.

    Parameters
    ----------
    unit_counts
        (C,) training units of each class.
    fault_prior
        Declared share of faulty windows, in (0, 1).
    healthy
        Index of the healthy class or None.

    Raises
    ------
    ValueError
        fault_prior is not strictly between 0 and 1.

    Examples
    --------
    >>> target_prior(np.array([9, 1, 0]), fault_prior=0.3, healthy=0).round(6).tolist()
    [0.7, 0.2, 0.1]
    """
    if not 0.0 < fault_prior < 1.0:
        raise ValueError(f"fault_prior must lie strictly between 0 and 1, got {fault_prior}.")
    shares: FloatArray = unit_counts.astype(np.float64) + 1.0
    if healthy is None:
        shares /= shares.sum()
        return shares
    shares[healthy] = 0.0
    shares *= fault_prior / shares.sum()
    shares[healthy] = 1.0 - fault_prior
    return shares


def log_prior_correction(target: FloatArray, effective: FloatArray) -> FloatArray:
    """Return log(target / effective) per class (C,): undoes class weights and moves to the declared prior.

    Saerens et al. 2002, eq. 4: p(c | x) is proportional to p_train(c | x) p_target(c) / p_train(c). A class that the
    training set did not show (effective 0) is left alone.

    >>> log_prior_correction(np.array([0.9, 0.1]), np.array([0.5, 0.5])).round(6).tolist()
    [0.587787, -1.609438]
    """
    shown = effective > 0.0
    correction: FloatArray = np.where(shown, np.log(target / np.where(shown, effective, 1.0)), 0.0)
    return correction
