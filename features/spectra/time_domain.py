"""Statistics of the waveform: level, peaks and shape of the amplitude distribution.

Every function takes windows of shape (n, length), removes each window's mean, sums in float64 and returns n values.
Ratios of a window without variation are missing (NaN). The caller's array is never written to.

Sources: ISO 20816-1 (rms and peak values); A. Rytter and ISO 13373-2 (crest factor, kurtosis); Y. Lei et al.,
Mechanical Systems and Signal Processing 24 (2010) (shape, impulse and clearance factor).
"""

from __future__ import annotations

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
        """Largest |d|."""
        return np.maximum(self.highest, -self.lowest)

    @property
    def rms(self) -> Vector:
        """Root of the mean of d^2."""
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
    """
    if windows.ndim != 2 or windows.shape[1] == 0:
        raise ValueError(f"Windows must be a 2-D array of non-empty rows, got shape {windows.shape}.")
    columns = np.empty((8, len(windows)))
    with np.errstate(invalid="ignore", over="ignore"):
        for row, window in enumerate(windows):
            # Row by row: everything then stays in the processor's cache.
            wide = window.astype(np.float64)
            mean = wide.mean()
            wide -= mean
            square = wide * wide
            work = square * wide
            columns[0, row], columns[1, row], columns[2, row] = mean, square.mean(), work.mean()
            columns[3, row] = np.multiply(square, square, out=work).mean()
            columns[6, row], columns[7, row] = wide.max(), wide.min()
            np.abs(wide, out=wide)
            columns[4, row] = wide.mean()
            columns[5, row] = np.sqrt(wide, out=wide).mean()
    return Moments(*columns)


def ratio(numerator: Vector, denominator: Vector) -> Vector:
    """Divide; where the denominator is not above 0 the result is NaN, without a warning."""
    result = np.full(np.shape(numerator), np.nan)
    with np.errstate(invalid="ignore"):
        np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def log10_or_nan(values: Vector) -> Vector:
    """Base-10 logarithm; where the value is not above 0 the result is NaN, without a warning."""
    result = np.full(np.shape(values), np.nan)
    np.log10(values, out=result, where=values > 0)
    return result


def rms(windows: NDArray[Any]) -> Vector:
    """Root mean square `sqrt(mean(d^2))`. Unit of the input, >= 0. A sine of amplitude A has A / sqrt(2)."""
    return moments(windows).rms


def peak(windows: NDArray[Any]) -> Vector:
    """Largest deviation from the mean `max |d|`. Unit of the input, >= 0."""
    return moments(windows).peak


def peak_to_peak(windows: NDArray[Any]) -> Vector:
    """Full swing `max d - min d`. Unit of the input, >= 0."""
    m = moments(windows)
    return m.highest - m.lowest


def crest_factor(windows: NDArray[Any]) -> Vector:
    """Peak over rms. No unit, >= 1; a sine has sqrt(2). NaN without variation."""
    return crest_factor_of(moments(windows))


def kurtosis(windows: NDArray[Any]) -> Vector:
    """Pearson's kurtosis `mean(d^4) / mean(d^2)^2`. No unit, >= 1; Gauss 3, sine 1.5. NaN without variation."""
    return kurtosis_of(moments(windows))


def skewness(windows: NDArray[Any]) -> Vector:
    """Skewness `mean(d^3) / mean(d^2)^1.5`. No unit, any sign, 0 if symmetric. NaN without variation."""
    return skewness_of(moments(windows))


def shape_factor(windows: NDArray[Any]) -> Vector:
    """Form factor, rms over `mean |d|`. No unit, >= 1; a sine has pi / (2 sqrt(2)). NaN without variation."""
    return shape_factor_of(moments(windows))


def impulse_factor(windows: NDArray[Any]) -> Vector:
    """Peak over `mean |d|`. No unit, >= 1; a sine has pi / 2. NaN without variation."""
    return impulse_factor_of(moments(windows))


def clearance_factor(windows: NDArray[Any]) -> Vector:
    """Peak over `mean(sqrt |d|)^2`. No unit, >= 1. NaN without variation."""
    return clearance_factor_of(moments(windows))


def crest_factor_of(m: Moments) -> Vector:
    """`crest_factor` from sums already made."""
    return ratio(m.peak, m.rms)


def kurtosis_of(m: Moments) -> Vector:
    """`kurtosis` from sums already made."""
    return ratio(m.fourth, m.variance * m.variance)


def skewness_of(m: Moments) -> Vector:
    """`skewness` from sums already made."""
    return ratio(m.third, m.variance * m.rms)


def shape_factor_of(m: Moments) -> Vector:
    """`shape_factor` from sums already made."""
    return ratio(m.rms, m.mean_abs)


def impulse_factor_of(m: Moments) -> Vector:
    """`impulse_factor` from sums already made."""
    return ratio(m.peak, m.mean_abs)


def clearance_factor_of(m: Moments) -> Vector:
    """`clearance_factor` from sums already made."""
    return ratio(m.peak, m.mean_root * m.mean_root)
