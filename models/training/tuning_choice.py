"""Choosing among the settings that were tried: the default, unless another is clearly better on held-out units.

With few units the best of several candidates is best by luck. So candidates are compared unit by unit with the default,
which is kept unless the best is better by more than one standard error of that difference over *units* (the
one-standard-error rule of L. Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3, in favour of
what is there already instead of what is simplest).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Tried:
    """One candidate.

    Attributes
    ----------
    settings
        What differs between candidates, by name; JSON values.
    nll
        Held-out negative log likelihood, nats: units alike within their class, classes alike. None: it could not be
        fitted.
    gain, gain_se
        By how much it is better than the default, and the standard error over units. None for the default itself.
    """

    settings: dict[str, Any]
    nll: float | None
    gain: float | None
    gain_se: float | None


@dataclass(frozen=True)
class Tuning:
    """What was tried and what was taken.

    Attributes
    ----------
    tried
        The default first; empty where there are too few units.
    chosen
        Index into `tried`; 0 where nothing was tried.
    reason
        In words.
    """

    tried: tuple[Tried, ...]
    chosen: int
    reason: str


def choose(settings: list[dict[str, Any]], losses: FloatArray, weight: FloatArray) -> Tuning:
    """Choose by the one-standard-error rule in favour of the first candidate.

    Parameters
    ----------
    settings
        B candidates, the default first.
    losses
        (B, U) mean held-out loss of each unit, nats; not finite where a candidate could not be fitted.
    weight
        (U,) weight of each unit, above 0; two units or more.

    Raises
    ------
    ValueError
        Fewer than two units, or shapes that do not fit.

    Examples
    --------
    >>> losses = np.array([[1.0, 1.0], [0.5, 0.5]])
    >>> choose([{"dropout": 0.1}, {"dropout": 0.2}], losses, np.ones(2)).chosen
    1
    """
    n = weight.size
    if losses.shape != (len(settings), n) or n < 2:
        raise ValueError(f"{losses.shape} losses for {len(settings)} candidates and {n} units; at least 2 are needed.")
    share = weight / weight.sum()
    tried: list[Tried] = []
    for own, loss in zip(settings, losses, strict=True):
        usable = bool(np.isfinite(loss).all())
        nll = float(share @ loss) if usable else None
        gain, error = None, None
        if tried and usable and tried[0].nll is not None:
            better = losses[0] - loss
            gain = float(share @ better)
            error = float(np.sqrt(n / (n - 1) * np.square(share * (better - gain)).sum()))
        tried.append(Tried(own, nll, gain, error))
    if tried[0].nll is None:
        return Tuning(tuple(tried), 0, "the default could not be fitted, so there is nothing to compare with")
    best = min(range(len(tried)), key=lambda i: np.inf if tried[i].nll is None else float(tried[i].nll or 0.0))
    gain, error = tried[best].gain, tried[best].gain_se
    if gain is None or error is None:
        return Tuning(tuple(tried), 0, f"the default is the best of {len(tried)}")
    gain_text = f"{gain:.3f} nats, standard error {error:.3f} over {n} units"
    if gain <= error:
        return Tuning(tuple(tried), 0, f"the default is kept: the best of {len(tried)} is better by {gain_text}")
    words = ", ".join(f"{name} {value}" for name, value in tried[best].settings.items())
    return Tuning(tuple(tried), best, f"{words}: the best of {len(tried)}, better than the default by {gain_text}")
