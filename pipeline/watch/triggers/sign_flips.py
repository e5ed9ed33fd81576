"""Sign flips and shuffled labels: tests whether units have a common direction, against what chance alone gives.

If nothing changed, the difference of a unit (now minus then) is as likely to be `d` as `-d`, whatever the noise within
the unit looks like; so the signs of whole units are flipped, in all ways where there are few and in seeded ways where
there are many (R. A. Fisher, "The Design of Experiments", 1935, section 21). For many features at once the largest
statistic over all of them is compared with its own flips: the chance of a false alarm is held over all features
together, however they depend on each other (P. H. Westfall and S. S. Young, "Resampling-Based Multiple Testing", 1993,
single-step maxT).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
MOST_CELLS = 2_000_000
"""Numbers that are held in memory at a time."""


def sign_flips(n: int, *, most: int, seed: int) -> Array:
    """Return sign patterns (k, n) of -1 and 1, the first all 1: all 2^n, or `most` seeded ones if there are more.

    Raises
    ------
    ValueError
        `n` or `most` is below 1.
    """
    if n < 1 or most < 1:
        raise ValueError(f"n and most must be at least 1, got {n} and {most}.")
    if n < 31 and 2**n <= most:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return 1.0 - 2.0 * bits.astype(np.float64)
    drawn = np.random.default_rng(seed).integers(0, 2, (most, n))
    drawn[0] = 0
    return 1.0 - 2.0 * drawn.astype(np.float64)


def label_shuffles(first: int, second: int, *, most: int, seed: int) -> Array:
    """Return patterns (most, first + second) of 0 and 1 with `second` ones each: the true one (ones last), then seeded.

    If two groups of units are alike, any units might have been the second (E. J. G. Pitman 1937).
    """
    rng = np.random.default_rng(seed)
    true = np.r_[np.zeros(first), np.ones(second)]
    return np.stack([true, *(rng.permutation(true) for _ in range(most - 1))])


def max_t(differences: Array, patterns: Array) -> tuple[Array, Array]:
    """Return the statistic of every column, and its p-value adjusted for all columns.

    Parameters
    ----------
    differences : float array, shape (units, columns)
        NaN where a unit has none in a column.
    patterns : float array, shape (k, units)
        Of `sign_flips` for differences between then and now, or of `label_shuffles` for centred ranks; the first is
        what was seen.

    Returns
    -------
    t : float array, shape (columns,)
        Sum over the pattern's units divided by the root of the sum of squares; of sign flips `sqrt(n)` at most, where
        all units moved alike.
    p : float array, shape (columns,)
        Share of patterns in which the largest absolute statistic of any column is at least this one's; two-sided.
    """
    filled = np.where(np.isfinite(differences), differences, 0.0)
    scale = np.sqrt((filled**2).sum(axis=0))
    scaled = np.divide(filled, scale, out=np.zeros_like(filled), where=scale > 0)
    t: Array = patterns[0] @ scaled
    largest = np.zeros(len(patterns))
    step = max(1, MOST_CELLS // len(patterns))
    for start in range(0, scaled.shape[1], step):
        largest = np.maximum(largest, np.abs(patterns @ scaled[:, start : start + step]).max(axis=1))
    ordered = np.sort(largest)
    at_least = len(ordered) - np.searchsorted(ordered, np.abs(t) - 1e-9, side="left")
    p: Array = at_least / len(ordered)
    return t, p
