"""The weight of the network beside the rule: small after training on few units, fitted where there are enough units.

The logits are `rule + share * network`. A network that learned from a few units is confidently wrong on the next one;
the rule of `models.training.rule_prior`, which learned from none, is not. So the network's part grows with the number
of units that it was trained on, as the weight of the data against the prior does for a normal mean of unknown value
(A. Gelman et al., "Bayesian Data Analysis", 3rd ed. 2013, section 2.5), until there are enough held-out units to fit it
by their likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.judging.calibration import LOG_SCALE, fit_temperature, mixture_nll, too_few_units

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SHARES: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
"""What is tried on held-out units. Not 0: without the network there is no uncertainty of the network either."""

SAMPLES: Final = 20
"""So many of the samples are enough to choose a share by."""


@dataclass(frozen=True)
class NetworkShare:
    """The share of the network beside the rule.

    Attributes
    ----------
    value
        In [0, 1]; 1 where there is no rule that knows every fault class.
    fitted
        Whether it was fitted on held-out units.
    reason
        In words.
    """

    value: float
    fitted: bool
    reason: str


def shrunk_share(y: IntArray, unit: NDArray[np.str_], *, n_classes: int, prior_units: float) -> NetworkShare:
    """Return n / (n + prior_units), n the units of the class that has fewest.

    Parameters
    ----------
    y, unit
        (n,) class index and unit of the windows that the network was trained on.
    n_classes
        Number of classes C.
    prior_units
        Units at which network and rule count the same, >= 0; 0: the network counts in full.

    Examples
    --------
    >>> y, unit = np.array([0, 0, 1]), np.array(["a", "b", "c"])
    >>> shrunk_share(y, unit, n_classes=2, prior_units=9.0).value
    0.1
    """
    fewest = min(int(np.unique(unit[y == c]).size) for c in range(n_classes))
    if prior_units == 0.0:
        return NetworkShare(1.0, False, "not shrunk")
    value = fewest / (fewest + prior_units)
    return NetworkShare(value, False, f"the class with fewest has {fewest} units, which count against {prior_units:g}")


def network_share(
    logits: NDArray[np.float32],
    offset: NDArray[np.float32],
    y: IntArray,
    unit: NDArray[np.str_],
    weight: FloatArray,
    *,
    healthy: int | None,
    min_units: int,
    prior_units: float,
) -> NetworkShare:
    """Choose the share on held-out units by the lowest `models.judging.calibration.mixture_nll`, each at its own
    temperature; both are pulled towards `shrunk_share` and 1 by the prior of `fit_temperature`.

    Parameters
    ----------
    logits
        (T, n, C) the network's logits of windows whose unit it was *not* trained on, without the rule's.
    offset
        (n, C) the rule's logits.
    y, unit, weight
        (n,) class index, physical unit and weight.
    healthy
        Index of the healthy class or None.
    min_units
        Fewest held-out units that a share is fitted on; below, `shrunk_share` is returned.
    prior_units
        For `shrunk_share`.
    """
    if reason := too_few_units(y, unit, healthy=healthy, min_units=min_units):
        shrunk = shrunk_share(y, unit, n_classes=logits.shape[2], prior_units=prior_units)
        return NetworkShare(shrunk.value, False, f"{reason}; {shrunk.reason}")
    some = logits[:SAMPLES]
    shrunk = shrunk_share(y, unit, n_classes=logits.shape[2], prior_units=prior_units)
    around = max(shrunk.value, SHARES[0])  # 0 where a class has no unit here
    losses = []
    for share in SHARES:
        mixed = mix(some, offset, share)
        fitted = fit_temperature(mixed, y, unit, weight, healthy=healthy, prior_temperature=1.0, min_units=min_units)
        pulled = abs(np.log(share / around)) + abs(np.log(fitted.value))
        nll = mixture_nll(mixed, y, weight, temperature=fitted.value, healthy=healthy)
        losses.append(nll + pulled / (LOG_SCALE * np.unique(unit).size))
    best = SHARES[int(np.argmin(losses))]
    return NetworkShare(best, True, f"lowest held-out loss on {np.unique(unit).size} units")


def mix(logits: NDArray[np.float32], offset: NDArray[np.float32] | None, share: float) -> NDArray[np.float32]:
    """Return `offset + share * logits`, (T, n, C); the logits themselves where there is no rule.

    >>> mix(np.ones((1, 1, 2), np.float32), np.array([[2.0, 0.0]], np.float32), 0.5).tolist()
    [[[2.5, 0.5]]]
    """
    return logits if offset is None else (offset + np.float32(share) * logits).astype(np.float32)
