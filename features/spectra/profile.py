"""Where in frequency a signal lies, and whether the shaft shows in it: few columns for telling a sensor from a machine.

The quantiles of the amplitude spectrum describe its shape without bands: a wrong gain leaves all of them, a wrong rate
moves all by one factor, a loose sensor pulls down the upper ones, a fault pulls them towards the resonance that it
excites.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.spectra.lines import Bins, LineSettings, signal_to_floor_db
from features.spectra.time_domain import Vector

QUANTILES: Final = (10, 20, 30, 40, 50, 60, 70, 80, 90)
"""In percent of the sum of the amplitude spectrum. Amplitude, not power: one line must not hide the rest."""

SHAFT_HARMONICS: Final = (1, 2, 3, 4)

PROFILE_NAMES: Final = tuple(f"spectrum_q{q}_log10_hz" for q in QUANTILES)

SHAFT_NAMES: Final = ("raw_shaft_mean14_db",)

FIRST_BIN: Final = 2
"""Bins 0 and 1 of a Hann spectrum hold what is left of the mean."""


def spectral_quantiles(power: NDArray[Any], bin_hz: float, first: int = FIRST_BIN) -> Vector:
    """Compute below which frequency 10, 20, ... 90 % of the amplitude spectrum lie.

    Parameters
    ----------
    power : float64 array, shape (n, bins)
        A Hann power spectrum, one-sided.
    bin_hz : float
        Distance of bins; NaN where no frequency is known.

    Returns
    -------
    float64 array, shape (n, 9)
        log10 of Hz, ascending; NaN without variation or frequency. The sum runs over `sqrt(P)` from the first bin
        on, each bin's amplitude spread evenly over its width.

    Examples
    --------
    >>> (10 ** spectral_quantiles(np.ones((1, 102)), bin_hz=1.0)).round(1).tolist()
    [[11.5, 21.5, 31.5, 41.5, 51.5, 61.5, 71.5, 81.5, 91.5]]
    """
    result = np.full((len(power), len(QUANTILES)), np.nan)
    if math.isnan(bin_hz) or power.shape[1] - first < len(QUANTILES):
        return result
    totals = np.cumsum(np.sqrt(power[:, first:]), axis=-1)
    share = np.array(QUANTILES) / 100.0
    for row, total in enumerate(totals):
        if total[-1] > 0:
            wanted = share * float(total[-1])
            # In the type of the sums, or numpy would widen all of them for nine comparisons.
            rounded = wanted.astype(total.dtype)
            place = np.minimum(np.searchsorted(total, rounded, side="right"), total.size - 1)
            above = (place > 0) & (total[place - 1] > wanted)
            place = np.where(above, np.searchsorted(total, rounded), place)
            below = np.where(place > 0, total[place - 1], 0.0).astype(np.float64)
            low, high = (place + first - 0.5) * bin_hz, (place + first + 0.5) * bin_hz
            result[row] = np.log10((high - low) / (total[place] - below) * (wanted - below) + low)
    return result


def shaft_columns(power: NDArray[Any], turns: Vector, usable: Bins, lines: LineSettings) -> Vector:
    """Compute the column of the group `shaft`: the mean of the lines at shaft harmonics 1 to 4 in the spectrum itself.

    Parameters
    ----------
    power : float array, shape (n, bins)
    turns : float64 array, shape (n,)
        Shaft turns in the window; NaN where no order is known.
    usable : int64 array, shape (n,)
        Bins at and above this one are not to be used.
    lines : LineSettings

    Returns
    -------
    float64 array, shape (n, 1)
        In dB, see `signal_to_floor_db`; NaN where the window has fewer than `min_turns` turns or a line is not
        resolved.
    """
    per_row = np.where(turns >= lines.min_turns, turns, np.nan)[:, None, None]
    positions = np.array(SHAFT_HARMONICS)[:, None] * per_row
    heights = signal_to_floor_db(power, positions, usable=usable, settings=lines)
    result: Vector = np.mean(np.ascontiguousarray(heights.T), axis=0)[:, None]
    return result
