"""Statistics of the waveform: level, peaks and shape of the amplitude distribution.

`moments` removes the mean of each window and sums once, in float64; every figure is a function of these sums and has
one value a window. Ratios of a window without variation are missing (NaN). The caller's array is never written to.

Sources: ISO 20816-1 (rms and peak values); A. Rytter and ISO 13373-2 (crest factor, kurtosis); Y. Lei et al.,
Mechanical Systems and Signal Processing 24 (2010) (shape, impulse and clearance factor).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over one pass of the mean-removed windows `d`, each of shape (n,).

    Attributes
    ----------
    mean, variance, third, fourth : float64 arrays
        Mean of x, and of d^2, d^3, d^4.
    mean_abs, mean_root : float64 arrays
        Mean of |d| and of sqrt(|d|).
    highest, lowest : float64 arrays
        Largest and smallest d.
    """

    mean: Vector
    variance: Vector
    third: Vector
    fourth: Vector
    mean_abs: Vector
    mean_root: Vector
    highest: Vector
    lowest: Vector

    @property
    def peak(self) -> Vector:
        """Largest deviation from the mean, `max |d|`. Unit of the input, >= 0."""
        return np.maximum(self.highest, -self.lowest)

    @property
    def peak_to_peak(self) -> Vector:
        """Full swing `max d - min d`. Unit of the input, >= 0."""
        return self.highest - self.lowest

    @property
    def rms(self) -> Vector:
        """Root mean square `sqrt(mean(d^2))`. Unit of the input, >= 0; a sine of amplitude A has A / sqrt(2)."""
        return np.sqrt(self.variance)


def moments(windows: NDArray[Any]) -> Moments:
    """Compute the sums that all functions of this module share.

    Parameters
    ----------
    windows : array, shape (n, length)
        Real; float32 is widened to float64 before anything is summed.

    Raises
    ------
    ValueError
        The array is not two-dimensional or its windows are empty.

    Examples
    --------
    >>> m = moments(np.array([[3.0, -1.0, 3.0, -1.0]]))
    >>> m.mean.item(), m.rms.item(), m.peak_to_peak.item()
    (1.0, 2.0, 4.0)
    """
    if windows.ndim != 2 or windows.shape[1] == 0:
        raise ValueError(f"Windows must be a 2-D array of non-empty rows, got shape {windows.shape}.")
    columns = np.empty((8, len(windows)))
    wide, square, work = np.empty((3, windows.shape[1]))
    for row, window in enumerate(windows):
        # Row by row and in the same buffers: everything then stays in the processor's cache.
        wide[...] = window
        columns[:, row] = _sums(wide, square, work)
    return Moments(*columns)


def _sums(wide: Vector, square: Vector, work: Vector) -> tuple[float, ...]:
    """Take the mean off a window, in place, and return its moments; `square` and `work` are room to work in."""
    n = wide.size
    with np.errstate(invalid="ignore", over="ignore"):
        mean = np.add.reduce(wide) / n
        np.subtract(wide, mean, out=wide)
        np.multiply(wide, wide, out=square)
        variance = np.add.reduce(square) / n
        third = np.add.reduce(np.multiply(square, wide, out=work)) / n
        fourth = np.add.reduce(np.multiply(square, square, out=work)) / n
        mean_abs = np.add.reduce(np.abs(wide, out=work)) / n
        mean_root = np.add.reduce(np.sqrt(work, out=work)) / n
    return mean, variance, third, fourth, mean_abs, mean_root, wide.max(), wide.min()


def normalise(windows: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], Moments]:
    """Remove the mean of each window and scale it to unit variance; return that and the moments.

    Parameters
    ----------
    windows : sequence of n float32 arrays, shape (length,)
        Finite.

    Returns
    -------
    normal : float32 array, shape (n, length)
        Mean and scale are taken off in float64. A window without variation is 0 throughout.
    moments : Moments

    Examples
    --------
    >>> normal, m = normalise([np.array([3.0, -1.0, 3.0, -1.0], dtype=np.float32)])
    >>> normal.tolist(), m.rms.item(), m.fourth.item()
    ([[1.0, -1.0, 1.0, -1.0]], 2.0, 16.0)
    """
    normal = np.empty((len(windows), windows[0].size), dtype=np.float32)
    columns = np.empty((8, len(windows)))
    wide, square, work = np.empty((3, windows[0].size))
    for row, window in enumerate(windows):
        wide[...] = window
        columns[:, row] = _sums(wide, square, work)
        # Scaled to unit variance, every later square stays well inside float32 whatever the unit of the input.
        scale = math.sqrt(columns[1, row]) if columns[1, row] > 0 else 1.0
        np.multiply(wide, 1.0 / scale, out=normal[row], casting="same_kind")
    return normal, Moments(*columns)


def ratio(numerator: Vector, denominator: Vector) -> Vector:
    """Divide; where the denominator is not above 0 the result is NaN, without a warning.

    Examples
    --------
    >>> ratio(np.array([1.0, 1.0]), np.array([4.0, 0.0])).tolist()
    [0.25, nan]
    """
    result = np.full(np.shape(numerator), np.nan)
    with np.errstate(invalid="ignore"):
        np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def log10_or_nan(values: Vector) -> Vector:
    """Base-10 logarithm; where the value is not above 0 the result is NaN, without a warning.

    Examples
    --------
    >>> log10_or_nan(np.array([100.0, 0.0])).tolist()
    [2.0, nan]
    """
    result = np.full(np.shape(values), np.nan)
    np.log10(values, out=result, where=values > 0)
    return result


def crest_factor(m: Moments) -> Vector:
    """Peak over rms. No unit, >= 1; a sine has sqrt(2). NaN without variation.

    Examples
    --------
    >>> crest_factor(moments(np.sin(2 * np.pi * np.arange(400)[None] / 400))).round(6).item()
    1.414214
    """
    return ratio(m.peak, m.rms)


def kurtosis(m: Moments) -> Vector:
    """Pearson's kurtosis `mean(d^4) / mean(d^2)^2`. No unit, >= 1; Gauss 3, sine 1.5. NaN without variation.

    Examples
    --------
    >>> kurtosis(moments(np.array([[1.0, -1.0, 1.0, -1.0]]))).item()
    1.0
    """
    return ratio(m.fourth, m.variance * m.variance)


def skewness(m: Moments) -> Vector:
    """Skewness `mean(d^3) / mean(d^2)^1.5`. No unit, any sign, 0 if symmetric. NaN without variation.

    Examples
    --------
    >>> skewness(moments(np.array([[0.0, 0.0, 0.0, 4.0]]))).round(6).item()
    1.154701
    """
    return ratio(m.third, m.variance * m.rms)


def shape_factor(m: Moments) -> Vector:
    """Form factor, rms over `mean |d|`. No unit, >= 1; a sine has pi / (2 sqrt(2)). NaN without variation.

    Examples
    --------
    >>> shape_factor(moments(np.array([[2.0, -2.0, 2.0, -2.0]]))).item()
    1.0
    """
    return ratio(m.rms, m.mean_abs)


def impulse_factor(m: Moments) -> Vector:
    """Peak over `mean |d|`. No unit, >= 1; a sine has pi / 2. NaN without variation.

    Examples
    --------
    >>> impulse_factor(moments(np.array([[0.0, 0.0, 0.0, 4.0]]))).item()
    2.0
    """
    return ratio(m.peak, m.mean_abs)


def clearance_factor(m: Moments) -> Vector:
    """Peak over `mean(sqrt |d|)^2`. No unit, >= 1. NaN without variation.

    Examples
    --------
    >>> clearance_factor(moments(np.array([[4.0, -4.0, 4.0, -4.0]]))).item()
    1.0
    """
    return ratio(m.peak, m.mean_root * m.mean_root)
