"""Lines averaged over the windows of a recording: what stands at one place in all of them is no chance.

A line of a bearing is the same in each window of a recording, the floor beside it is not. The mean of the heights
scatters less, as the averaged periodogram does (P. D. Welch, "The use of fast Fourier transform for the estimation of
power spectra", IEEE Transactions on Audio and Electroacoustics 15, 1967).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from features.settings import FeatureSettings, feature_groups
from features.spectra import envelope

LINE_GROUPS = (*(f"envelope_{version}" for version in envelope.VERSIONS), "line_counts", "evidence", "long_lines")


def average_lines(
    values: NDArray[np.float32], good: NDArray[np.bool_], settings: FeatureSettings
) -> NDArray[np.float32]:
    """Return the features of a recording's windows, those of `LINE_GROUPS` averaged over its good windows.

    Parameters
    ----------
    values : float32 array, shape (n, F)
        Features of the windows of one recording; NaN = missing.
    good : bool array, shape (n,)
        Windows that are averaged. The others keep their own values.
    settings : FeatureSettings
        Of the features.

    Returns
    -------
    float32 array, shape (n, F)
        A missing value stays missing and is left out of the mean.

    Examples
    --------
    >>> settings = FeatureSettings()
    >>> names = [name for group in feature_groups(settings).values() for name in group]
    >>> values = np.arange(2.0, dtype=np.float32)[:, None].repeat(len(names), axis=1)
    >>> averaged = average_lines(values, np.array([True, True]), settings)
    >>> averaged[:, names.index("ses_white_bpfo_h1_db")].tolist(), averaged[:, names.index("rms_log10")].tolist()
    ([0.5, 0.5], [0.0, 1.0])
    """
    if good.sum() < 2:
        return values
    averaged, columns = values.copy(), _columns(settings)
    lines = values[np.ix_(good, columns)]
    known = ~np.isnan(lines)
    total = np.where(known, lines, 0.0).sum(axis=0, dtype=np.float64)
    mean = (total / np.maximum(known.sum(axis=0), 1)).astype(np.float32)
    averaged[np.ix_(good, columns)] = np.where(known, mean, np.float32(np.nan))
    return averaged


@lru_cache(maxsize=16)
def _columns(settings: FeatureSettings) -> NDArray[np.int64]:
    of_group = [group for group, names in feature_groups(settings).items() for _ in names]
    return np.flatnonzero(np.isin(of_group, LINE_GROUPS))
