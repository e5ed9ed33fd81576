"""Overall values: what a sensor computed itself, such as an rms every few minutes. One value is one feature.

There is no signal behind them: no windows, no spectrum. They stand in the columns of the features that they are.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

COLUMNS: Final = ("rms_log10", "kurtosis_log10", "crest_factor_log10", "temperature_c")


def overall_value(samples: NDArray[np.float32], column: str) -> float:
    """Return the feature of one recording of overall values.

    Parameters
    ----------
    samples : float32 array, shape (n,)
        One value, or some after one another, in the unit of the features.
    column : str
        One of `COLUMNS`.

    Returns
    -------
    float
        Median of the values; its log10 where the name says so. NaN where that is not above 0, or nothing is finite.

    Examples
    --------
    >>> overall_value(np.array([10.0], dtype=np.float32), "rms_log10")
    1.0
    >>> overall_value(np.array([-3.0], dtype=np.float32), "temperature_c")
    -3.0
    """
    known = samples[np.isfinite(samples)].astype(np.float64)
    if not len(known):
        return math.nan
    value = float(np.median(known))
    if not column.endswith("_log10"):
        return value
    return math.log10(value) if value > 0 else math.nan
