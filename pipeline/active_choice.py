"""Which cases to ask about next, when people have time for only a few: by what a label would teach, or by lot.

`bald`: the mutual information of label and model (N. Houlsby et al., "Bayesian active learning for classification and
preference learning", 2011) says how much one label would teach. The highest few are often near copies of each other and
teach the same thing once (A. Kirsch et al., "BatchBALD", 2019), so a batch is grown greedily: each next case is the one
with the largest product of its information and its distance to what was chosen already, which is the greedy k-center
rule (O. Sener and S. Savarese, "Active learning for convolutional neural networks: a core-set approach", 2018) weighted
by BALD, as F. Zhdanov, "Diverse mini-batch active learning" (2019) weights k-means. BatchBALD itself needs the joint
samples of all candidates, which are not stored. Of one unit only one case is asked while others have none.

`random`: a seeded permutation; what `bald` has to beat.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from features.baseline import MAD_TO_SIGMA

Array = npt.NDArray[np.float64]
CLIP = 10.0
"""Robust standard deviations beyond which two cases are no further apart in one feature."""


def choose_random(n: int, *, most: int, seed: int) -> list[int]:
    """Choose `most` of n candidates by lot; the same for the same seed."""
    return [int(index) for index in np.random.default_rng(seed).permutation(n)[:most]]


def choose_diverse(
    information: Array, features: npt.NDArray[Any], unit: npt.NDArray[np.str_], *, most: int
) -> list[int]:
    """Choose up to `most` candidates, the one to ask first first.

    Parameters
    ----------
    information : float array, shape (n,)
        Mutual information of each case, nats. What is not finite never looks certain: it counts as the highest.
    features : float array, shape (n, F)
        Where each case lies; scaled here, NaN = missing.
    unit : str array, shape (n,)
        Physical unit.

    Raises
    ------
    ValueError
        No candidate has a finite information, or one is negative.
    """
    if not len(information):
        return []
    finite = np.isfinite(information)
    if not finite.any() or (information[finite] < 0).any():
        raise ValueError("At least one case needs a finite mutual information, and none may be negative.")
    worth = np.where(finite, information, information[finite].max())
    scaled = _scaled(features)
    nearest = np.full(len(worth), np.inf)
    free = np.ones(len(worth), dtype=np.bool_)
    chosen: list[int] = []
    while free.any() and len(chosen) < most:
        allowed = free & ~np.isin(unit, unit[chosen])
        if not allowed.any():
            allowed = free
        value = worth if not chosen else worth * nearest
        index = int(np.argmax(np.where(allowed, value, -1.0)))
        chosen.append(index)
        free[index] = False
        nearest = np.minimum(nearest, _distance(scaled, scaled[index]))
    return chosen


def _scaled(features: npt.NDArray[Any]) -> Array:
    """Scale each feature by median and 1.4826 MAD over the candidates; those that do not vary are left out."""
    wide = np.where(np.isfinite(features), features, np.nan).astype(np.float64)
    wide = wide[:, np.isfinite(wide).sum(axis=0) >= 2]
    if not wide.shape[1]:
        return wide
    center = np.nanmedian(wide, axis=0)
    spread = MAD_TO_SIGMA * np.nanmedian(np.abs(wide - center), axis=0)
    spread = np.where(spread > 0, spread, np.nanstd(wide, axis=0))
    varies = spread > 0
    scaled: Array = np.clip((wide[:, varies] - center[varies]) / spread[varies], -CLIP, CLIP)
    return scaled


def _distance(scaled: Array, to: Array) -> Array:
    """Root mean square difference over the features that both have; without any the greatest there is."""
    both = np.isfinite(scaled) & np.isfinite(to)
    count = both.sum(axis=1)
    total = np.where(both, (scaled - np.where(np.isfinite(to), to, 0.0)) ** 2, 0.0).sum(axis=1)
    return np.where(count > 0, np.sqrt(total / np.maximum(count, 1)), 2.0 * CLIP)
