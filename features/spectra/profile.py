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

from features.spectra.lines import LineSettings, signal_to_floor_db
from features.spectra.spectrum import NYQUIST_SHARE
from features.spectra.time_domain import Vector

QUANTILES: Final = (10, 20, 30, 40, 50, 60, 70, 80, 90)
"""In percent of the sum of the amplitude spectrum. Amplitude, not power: one line must not hide the rest."""

SHAFT_HARMONICS: Final = (1, 2, 3, 4)

PROFILE_NAMES: Final = tuple(f"spectrum_q{q}_log10_hz" for q in QUANTILES)

SHAFT_NAMES: Final = ("raw_shaft_mean14_db",)

_FIRST_BIN: Final = 2
"""Bins 0 and 1 of a Hann spectrum hold what is left of the mean."""


def spectral_quantiles(power: NDArray[Any], bin_hz: float) -> Vector:
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
        log10 of Hz, ascending; NaN without variation or frequency. The sum runs over `sqrt(P)` from bin 2 on, each
        bin's amplitude spread evenly over its width.

    Examples
    --------
    >>> (10 ** spectral_quantiles(np.ones((1, 102)), bin_hz=1.0)).round(1).tolist()
    [[11.5, 21.5, 31.5, 41.5, 51.5, 61.5, 71.5, 81.5, 91.5]]
    """
    amplitude = np.sqrt(power[:, _FIRST_BIN:])
    result = np.full((len(power), len(QUANTILES)), np.nan)
    if math.isnan(bin_hz) or amplitude.shape[1] < len(QUANTILES):
        return result
    edges = (np.arange(amplitude.shape[1] + 1) + _FIRST_BIN - 0.5) * bin_hz
    share = np.array(QUANTILES) / 100.0
    for row, values in enumerate(amplitude):
        total = np.concatenate(([0.0], np.cumsum(values)))
        if total[-1] > 0:
            result[row] = np.log10(np.interp(share * total[-1], total, edges))
    return result


def shaft_columns(power: NDArray[Any], turns: float, length: int, lines: LineSettings) -> Vector:
    """Compute the column of the group `shaft`: the mean of the lines at shaft harmonics 1 to 4 in the spectrum itself.

    Parameters
    ----------
    power : float64 array, shape (n, length // 2 + 1)
    turns : float
        Shaft turns in the window; NaN where no order is known.
    length : int
        Samples in the window.
    lines : LineSettings

    Returns
    -------
    float64 array, shape (n, 1)
        In dB, see `signal_to_floor_db`; NaN where the window has fewer than `min_turns` turns or a line is not
        resolved.
    """
    if not turns >= lines.min_turns:
        return np.full((len(power), 1), np.nan)
    usable = int(NYQUIST_SHARE * length / 2.0)
    columns = [signal_to_floor_db(power, (k * turns,), usable_bins=usable, settings=lines) for k in SHAFT_HARMONICS]
    result: Vector = np.mean(columns, axis=0)[:, None]
    return result
