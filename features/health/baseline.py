"""A reference of an axis's own: where each feature lies while the unit is healthy, and how far a window is from that.

Robust on purpose (P. J. Rousseeuw and C. Croux, "Alternatives to the median absolute deviation", Journal of the
American Statistical Association 88 (1993)): half of the reference windows could be spoilt before the median moves out
of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.spectra.time_domain import Vector

AnyFloat = TypeVar("AnyFloat", bound=np.floating[Any])

MAD_TO_SIGMA: Final = 1.4826
"""Times this, the median absolute deviation of a normal distribution is its standard deviation."""

MIN_VALUES: Final = 4
"""A feature with fewer finite values in the reference windows has no reference."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Median and spread of F features over the reference windows.

    Attributes
    ----------
    median : float64 array, shape (F,)
        In the unit of each feature; NaN where there is no reference.
    spread : float64 array, shape (F,)
        1.4826 x median absolute deviation, same unit, >= 0; NaN where there is no reference.
    """

    median: Vector
    spread: Vector


def known_median(values: NDArray[AnyFloat]) -> NDArray[AnyFloat]:
    """Return the median of each column over the rows that know it: what is not finite counts as unknown.

    Parameters
    ----------
    values : float array, shape (n, F)

    Returns
    -------
    array of the same float type, shape (F,)
        NaN for a column that no row knows.

    Examples
    --------
    >>> known_median(np.array([[1.0, np.nan, 5.0], [3.0, np.nan, np.nan]])).tolist()
    [2.0, nan, 5.0]
    """
    known = np.isfinite(values)
    median = np.full(values.shape[1], np.nan, dtype=values.dtype)
    there = np.flatnonzero(known.any(axis=0))
    if there.size:
        ordered = np.sort(np.where(known, values, np.nan)[:, there], axis=0)  # what is not known comes last
        count, column = known.sum(axis=0)[there], np.arange(there.size)
        low, high = ordered[(count - 1) // 2, column], ordered[count // 2, column]
        median[there] = np.where(count % 2, high, (low + high) / 2)
    return median


def fit_reference(values: NDArray[Any]) -> Reference:
    """Fit a reference to the features of healthy windows.

    Parameters
    ----------
    values : float array, shape (n, F)
        NaN = missing.

    Raises
    ------
    ValueError
        The array is not two-dimensional, or holds an infinite value.

    Examples
    --------
    >>> reference = fit_reference(np.array([[1.0], [2.0], [3.0], [4.0], [90.0]]))
    >>> reference.median.tolist(), reference.spread.tolist()
    ([3.0], [1.4826])
    """
    if values.ndim != 2:
        raise ValueError(f"Features must be a 2-D array of windows by features, got shape {values.shape}.")
    if np.isinf(values).any():
        raise ValueError("A reference cannot be fitted to infinite features; missing ones must be NaN.")
    enough = np.isfinite(values).sum(axis=0) >= MIN_VALUES
    wide = np.where(enough, values.astype(np.float64), np.nan)
    median = known_median(wide)
    return Reference(median, MAD_TO_SIGMA * known_median(np.abs(wide - median)))


def change(values: NDArray[Any], reference: Reference) -> NDArray[np.float32]:
    """Return how far features lie from the reference, in the unit of each feature: `x - median`.

    Parameters
    ----------
    values : float array, shape (n, F)
    reference : Reference
        Of the same F features.

    Returns
    -------
    float32 array, shape (n, F)
        Levels are logarithms and lines are in dB, so a change is a ratio of levels. NaN where the feature or its
        reference is missing.

    Examples
    --------
    >>> change(np.array([[5.0]]), Reference(np.array([3.0]), np.array([0.5]))).tolist()
    [[2.0]]
    """
    return (values - reference.median).astype(np.float32)


def deviation(values: NDArray[Any], reference: Reference, *, floor: Vector) -> Vector:
    """Return how many robust standard deviations features lie off: `(x - median) / max(spread, floor)`.

    Parameters
    ----------
    values : float array, shape (n, F)
    reference : Reference
    floor : float64 array, shape (F,)
        Smallest spread that is believed, > 0: a short healthy time is quieter than a long one.

    Returns
    -------
    float64 array, shape (n, F)
        NaN where the feature or its reference is missing.

    Examples
    --------
    >>> deviation(np.array([[5.0]]), Reference(np.array([3.0]), np.array([0.5])), floor=np.array([0.1])).tolist()
    [[4.0]]
    """
    result: Vector = (values - reference.median) / np.maximum(reference.spread, floor)
    return result
