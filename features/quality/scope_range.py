"""Is a recording's level one that any unit of its scope has: for axes that have no reference of their own yet.

Other units may be several times louder or quieter, so only what is far outside of all of them is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.quality.quality import Quality
from features.spectra.time_domain import Vector


@dataclass(frozen=True, eq=False)
class Range:
    """Where healthy and faulty training rows of a scope lie: for axes without a reference of their own.

    Attributes
    ----------
    low, high : float64 array, shape (F,)
        NaN where a feature was never there.
    """

    low: Vector
    high: Vector


def fit_range(values: NDArray[Any]) -> Range:
    """Fit the range to all rows of a training set, shape (n, F): from the 0.5 % to the 99.5 % point of each feature."""
    if values.ndim != 2 or np.isinf(values).any():
        raise ValueError(f"Features must be 2-D without infinities, got shape {values.shape}.")
    wide = values.astype(np.float64)
    low, high = np.full(wide.shape[1], np.nan), np.full(wide.shape[1], np.nan)
    there = np.isfinite(wide).any(axis=0)
    if there.any():
        low[there], high[there] = np.nanquantile(wide[:, there], (0.005, 0.995), axis=0)
    return Range(low, high)


def compare_range(
    values: NDArray[Any], names: Sequence[str], allowed: Range, *, beyond: float = 8.0
) -> list[tuple[Quality, str]]:
    """Compare one recording with the range of a whole scope: what can be said of an axis without a reference.

    Parameters
    ----------
    values, names
        As for `compare`.
    allowed : Range
    beyond : float
        The level has to leave the range by this factor: another rig may well be twice as loud.

    Returns
    -------
    list of (Quality, str)
        `gain_mismatch`, or nothing.
    """
    if values.ndim != 2 or values.shape[1] != len(names) or allowed.low.shape != (len(names),):
        raise ValueError(f"Wanted {len(names)} features, got shapes {values.shape} and {allowed.low.shape}.")
    place = list(names).index("rms_log10")
    column = values[:, place].astype(np.float64)
    column = column[np.isfinite(column)]
    if not column.size:
        return []
    level, low, high = float(np.median(column)), float(allowed.low[place]), float(allowed.high[place])
    over = max(level - high, low - level)
    if not over >= math.log10(beyond):
        return []
    side = "above the loudest" if level > high else "below the quietest"
    return [
        (Quality.GAIN_MISMATCH, f"the level is {10**over:.3g} times {side} of all units known: gain or unit is wrong")
    ]
