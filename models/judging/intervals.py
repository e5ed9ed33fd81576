"""How sure a figure is: intervals by bootstrap over physical units, and of counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

MIN_UNITS: Final = 10
"""With fewer units there is no interval: resampling three bearings shows nothing about a fourth."""

Figures = Mapping[str, float | None]


def bootstrap_over_units(
    figures: Callable[[NDArray[np.int64], NDArray[np.int64]], Figures],
    unit: NDArray[np.str_],
    *,
    seed: int,
    resamples: int = 300,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Return percentile intervals of figures when *units* are drawn again with replacement.

    Windows of one unit are near copies, so they are drawn together (cluster bootstrap; A. C. Davison and D. V. Hinkley,
    "Bootstrap Methods and their Application", section 3.8).

    Parameters
    ----------
    figures
        From row indices (with repetitions), and the number of the draw that each came in, to figures by name; None
        where not defined. A unit drawn twice is two units: what groups rows has to group by draw as well.
    unit
        (n,) physical unit of each row.
    seed
        Of the resampling.
    resamples
        How many.
    level
        Of the interval.

    Returns
    -------
    dict
        (low, high) by name; empty with fewer than `MIN_UNITS` units, and without a name whose figure is undefined in
        more than a tenth of the resamples.

    Examples
    --------
    >>> unit, right = np.repeat([f"u{i:02d}" for i in range(20)], 3), np.repeat(np.arange(20) % 2, 3)
    >>> share = lambda rows, draw: {"accuracy": float(right[rows].mean())}
    >>> low, high = bootstrap_over_units(share, unit, seed=0)["accuracy"]
    >>> 0.2 < low < 0.5 < high < 0.8
    True
    """
    names = np.unique(unit)
    if names.size < MIN_UNITS:
        return {}
    rows = [np.flatnonzero(unit == name) for name in names]
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(resamples):
        chosen = rng.integers(names.size, size=names.size)
        draw = np.repeat(np.arange(names.size), [rows[index].size for index in chosen])
        for name, value in figures(np.concatenate([rows[index] for index in chosen]), draw).items():
            if value is not None:
                drawn.setdefault(name, []).append(value)
    tail = 50.0 * (1.0 - level)
    return {
        name: (float(np.percentile(values, tail)), float(np.percentile(values, 100.0 - tail)))
        for name, values in drawn.items()
        if len(values) >= 0.9 * resamples
    }


def share_interval(count: int, n: int, *, level: float = 0.95) -> tuple[float, float] | None:
    """Return the exact interval of a share of n independent cases (Clopper and Pearson 1934); None if n = 0.

    >>> low, high = share_interval(0, 10)
    >>> low, round(high, 6)  # high: 1 - 0.025 ** (1 / 10)
    (0.0, 0.308497)
    """
    if n == 0:
        return None
    interval = binomtest(count, n).proportion_ci(confidence_level=level, method="exact")
    return float(interval.low), float(interval.high)
