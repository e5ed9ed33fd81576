"""The trend of a figure over time: a running median, a robust slope, and change points.

Times may be uneven and have gaps: nothing is interpolated, and nothing assumes a rate.

Change points are found offline, because a trend is looked at after the fact and asks "when did it change", where an
online sum (CUSUM, Page-Hinkley) only says that it did. The method is the exact optimum of a penalised cost by PELT (R.
Killick, P. Fearnhead and I. Eckley, "Optimal detection of changepoints with a linear computational cost", Journal of
the American Statistical Association 107 (2012)), on normal scores of the ranks instead of the values: a score is never
beyond about 3.5, so one spike cannot pay for a change point, and the distribution of noise does not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from features.health.baseline import MAD_TO_SIGMA, known_median
from features.spectra.time_domain import Vector

MOST_POINTS: Final = 500
"""A slope over more points is that of the medians of so many blocks of neighbours: all pairs would be too many."""

MIN_SLOPE_POINTS: Final = 5
"""With fewer points no slope is fitted."""

SMALLEST_NOISE: Final = 0.25
"""Smallest standard deviation of noise that is believed, in normal scores: a series may be free of noise."""

LARGEST_CORRELATION: Final = 0.9
"""Largest lag-1 correlation of noise that is believed: above it, noise and drift cannot be separated."""


PRUNE_EVERY: Final = 16
"""In so many steps of `pelt`, starts of segments that cannot win are taken out once."""


@dataclass(frozen=True)
class Slope:
    """The slope of a robust straight line.

    Attributes
    ----------
    per_unit, low, high : float
        Slope and its interval, in the unit of the values by the unit of the times.
    n_points : int
        Finite values it rests on.
    """

    per_unit: float
    low: float
    high: float
    n_points: int


@dataclass(frozen=True)
class Change:
    """A change of the level of a series.

    Attributes
    ----------
    index : int
        First value of the new level, as a place in the series that was passed.
    earliest, latest : float
        Times of the last value of the old level and of the first of the new one: the change lies between them.
    before, after : float
        Median of the segment before and after.
    """

    index: int
    earliest: float
    latest: float
    before: float
    after: float


def ordered_finite(times: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[np.intp], Vector, Vector]:
    """Return the places, times and values of what is finite, in the order of time.

    Raises
    ------
    ValueError
        The arrays are not two equally long vectors, or a time is not finite.

    Examples
    --------
    >>> places, times, values = ordered_finite(np.array([3.0, 1.0, 2.0]), np.array([30.0, 10.0, np.nan]))
    >>> places.tolist(), values.tolist()
    ([1, 0], [10.0, 30.0])
    """
    if times.ndim != 1 or times.shape != values.shape:
        raise ValueError(f"Times and values must be two equally long vectors, got {times.shape} and {values.shape}.")
    if not np.isfinite(times).all():
        raise ValueError("A trend needs finite times; leave out values whose time is not known.")
    order = np.argsort(times, kind="stable")
    order = order[np.isfinite(values[order])]
    return order, times[order].astype(np.float64), values[order].astype(np.float64)


def running_median(values: NDArray[Any], *, width: int) -> Vector:
    """Return the median of each value and those before it: what a rule could have known at that time.

    Parameters
    ----------
    values : float array, shape (n,)
        In order of time; NaN = missing, and left out.
    width : int
        Values in a median, 1 or more; at the start, as many as there are.

    Returns
    -------
    float64 array, shape (n,)
        NaN where a whole stretch is missing.

    Examples
    --------
    >>> running_median(np.array([1.0, 9.0, 2.0, np.nan]), width=3).tolist()
    [1.0, 5.0, 2.0, 5.5]
    """
    if width < 1:
        raise ValueError(f"The width of a running median must be 1 or more, got {width}.")
    if values.ndim != 1:
        raise ValueError(f"Values must be a vector, got shape {values.shape}.")
    if not len(values):
        return np.empty(0)
    padded = np.concatenate((np.full(width - 1, np.nan), np.where(np.isfinite(values), values, np.nan)))
    return known_median(np.lib.stride_tricks.sliding_window_view(padded, width).T)


def theil_sen(times: NDArray[Any], values: NDArray[Any], *, confidence: float = 0.95) -> Slope | None:
    """Fit a robust slope: the median of the slopes of all pairs of points.

    H. Theil (1950) and P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", Journal of the
    American Statistical Association 63 (1968), equations 2.5 and 3.3. Up to 29 % of the points may be spoilt. The
    interval takes noise as independent; it is widened by `sqrt((1 + r) / (1 - r))` with the lag-1 correlation r of
    the residuals where that is positive, because figures of one machine are not independent.

    Parameters
    ----------
    times, values : float arrays, shape (n,)
        In any order. NaN among the values = missing.
    confidence : float
        Of the interval, 0 to 1.

    Returns
    -------
    Slope or None
        None for fewer than 5 finite values, or where they all have one time.

    Examples
    --------
    >>> slope = theil_sen(np.arange(6.0), np.array([0.0, 2.0, 4.0, 6.0, 8.0, 99.0]))
    >>> slope.per_unit, slope.n_points
    (2.0, 6)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}.")
    _, t, y = ordered_finite(times, values)
    n_points = len(t)
    if n_points < MIN_SLOPE_POINTS or t[0] == t[-1]:
        return None
    last = float(t[-1])
    if n_points > MOST_POINTS:
        blocks = np.array_split(np.arange(n_points), MOST_POINTS)
        t, y = (np.array([np.median(v[block]) for block in blocks]) for v in (t, y))
    slope, low, high = _median_slope(t, y, confidence)
    level = float(np.median(y - slope * (t - last)))
    rest = y - level - slope * (t - last)
    wider = _independence_lost(rest)
    return Slope(slope, slope - (slope - low) * wider, slope + (high - slope) * wider, n_points)


def _median_slope(t: Vector, y: Vector, confidence: float) -> tuple[float, float, float]:
    """Return the median slope of all pairs and its interval: the values of `scipy.stats.theilslopes`, without a sort.

    Sen 1968, equation 2.6, for the variance of Kendall's statistic with ties.
    """
    n = len(t)
    apart = t[:, None] - t
    later = apart > 0
    slopes = (y[:, None] - y)[later] / apart[later]
    ties = np.concatenate([np.unique(values, return_counts=True)[1] for values in (t, y)])
    variance = (n * (n - 1) * (2 * n + 5) - float(np.sum(ties * (ties - 1) * (2 * ties + 5)))) / 18.0
    reach = -float(special.ndtri((1.0 - confidence) / 2.0)) * math.sqrt(variance)
    count = len(slopes)
    low, high = max(round((count - reach) / 2.0) - 1, 0), min(round((count + reach) / 2.0), count - 1)
    middle = ((count - 1) // 2, count // 2)
    slopes.partition(sorted({low, high, *middle}))
    return float(np.mean(slopes[list(middle)])), float(slopes[low]), float(slopes[high])


def _independence_lost(rest: Vector) -> float:
    """Factor by which correlated noise widens an interval, at least 1."""
    power = float(np.sum(rest**2))
    if power <= 0:
        return 1.0
    r = min(max(float(np.sum(rest[1:] * rest[:-1])) / power, 0.0), LARGEST_CORRELATION)
    return math.sqrt((1 + r) / (1 - r))


def noise_of(values: Vector) -> tuple[float, float]:
    """Return standard deviation and lag-1 correlation of the noise of a series whose level changes now and then.

    From medians of differences, which a few changes do not touch: S. Chakar, E. Lebarbier, C. Levy-Leduc and S. Robin,
    "A robust approach for estimating change-points in the mean of an AR(1) process", Bernoulli 23 (2017), equation 6:
    `r = (med |y[i+2] - y[i]| / med |y[i+1] - y[i]|)^2 - 1`. The correlation is cut to 0 to 0.9.

    Parameters
    ----------
    values : float64 array, shape (n,)
        In order of time, finite, at least 3.

    Examples
    --------
    >>> noise_of(np.array([1.0, 1.0, 1.0, 5.0, 5.0, 5.0]))
    (0.0, 0.0)
    """
    one, two = (float(np.median(np.abs(values[lag:] - values[:-lag]))) for lag in (1, 2))
    if one <= 0:
        return 0.0, 0.0
    r = min(max((two / one) ** 2 - 1.0, 0.0), LARGEST_CORRELATION)
    return MAD_TO_SIGMA * one / math.sqrt(2.0 * (1.0 - r)), r


def normal_scores(values: Vector) -> Vector:
    """Replace values by the normal quantiles of their ranks, ties by their mean rank (G. Blom 1958).

    Parameters
    ----------
    values : float64 array, shape (n,)
        Finite.

    Examples
    --------
    >>> normal_scores(np.array([5.0, -1e9, 7.0])).round(3).tolist()
    [0.0, -0.869, 0.869]
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    scores: Vector = special.ndtri((ranks - 0.375) / (len(values) + 0.25))
    return scores


def change_points(
    times: NDArray[Any],
    values: NDArray[Any],
    *,
    penalty: float = 4.0,
    min_size: int = 5,
    min_shift: float = 0.0,
) -> tuple[Change, ...]:
    """Find the times at which the level of a series changes.

    Segments minimise `sum of (score - mean of its segment)^2 + beta (segments - 1)` over the normal scores of the
    ranks, with `beta = penalty log(n) s^2 (1 + r) / (1 - r)`: s and r are the noise's standard deviation and lag-1
    correlation (`noise_of`), so that neither loud nor slowly wandering noise is taken for changes. A slow rise shows
    as a staircase: its slope shows it.

    Parameters
    ----------
    times, values : float arrays, shape (n,)
        In any order. NaN among the values = missing.
    penalty : float
        Above 0. With 4, below 1 % of series of 30 to 1,000 values of white noise have any change point, up to 11 %
        with a lag-1 correlation of 0.5, and up to 20 % with 0.8 (simulated, see docs/trend.md).
    min_size : int
        Fewest values in a segment: what is shorter is an outlier, no level.
    min_shift : float
        A change of the median by less than this, in the unit of the values, is not worth telling: the smallest is
        dropped and its segments joined, until none is left.

    Returns
    -------
    tuple of Change, in order of time
        Empty for fewer than two segments' worth of values.

    Examples
    --------
    >>> (step,) = change_points(np.arange(20.0), np.repeat([1.0, 4.0], 10))
    >>> step.index, step.before, step.after
    (10, 1.0, 4.0)
    """
    if not (penalty > 0 and min_size >= 2 and min_shift >= 0):
        raise ValueError(
            f"Wanted penalty above 0, min_size of 2 or more and min_shift of 0 or more, got {penalty!r}, "
            f"{min_size!r} and {min_shift!r}."
        )
    order, t, y = ordered_finite(times, values)
    n = len(y)
    if n < max(2 * min_size, 3) or float(np.min(y)) == float(np.max(y)):
        return ()
    scores = normal_scores(y)
    sigma, r = noise_of(scores)
    beta = penalty * math.log(n) * max(sigma, SMALLEST_NOISE) ** 2 * (1 + r) / (1 - r)
    bounds = [0, *pelt(scores, beta=beta, min_size=min_size), n]
    while len(bounds) > 2:
        medians = [float(np.median(y[a:b])) for a, b in pairwise(bounds)]
        steps = np.abs(np.diff(medians))
        least = int(np.argmin(steps))
        if steps[least] >= min_shift:
            break
        del bounds[least + 1]
    medians = [float(np.median(y[a:b])) for a, b in pairwise(bounds)]
    return tuple(
        Change(int(order[at]), float(t[at - 1]), float(t[at]), medians[k], medians[k + 1])
        for k, at in enumerate(bounds[1:-1])
    )


def pelt(values: Vector, *, beta: float, min_size: int) -> list[int]:
    """Return the first places of all segments but the first of the optimal segmentation in squared error.

    Killick 2012, section 3: `F(t) = min over s of F(s) + C(s, t) + beta`, keeping only those s that can still win.
    What cannot is looked for now and then only, which costs less than it saves.

    Parameters
    ----------
    values : float64 array, shape (n,)
        Finite.
    beta : float
        Price of one more segment, in squared units of the values.
    min_size : int
        Fewest values in a segment.

    Examples
    --------
    >>> pelt(np.repeat([0.0, 5.0, 1.0], 4), beta=2.0, min_size=2)
    [4, 8]
    """
    n = len(values)
    total = np.concatenate(([0.0], np.cumsum(values)))
    square = np.concatenate(([0.0], np.cumsum(values**2)))
    best = np.full(n + 1, np.inf)
    best[0] = -beta
    came_from = np.zeros(n + 1, dtype=np.intp)
    # Of each start of a segment that can still win: place, best cost, sums up to it, and when it cannot win any more.
    start, cost_to, total_to, square_to, end = np.zeros((5, n + 1))
    cost_to[0], end[0], count = -beta, n + 1, 1
    for stop in range(min_size, n + 1):
        if (newest := stop - min_size) >= min_size:
            start[count], cost_to[count], end[count] = newest, best[newest], n + 1
            total_to[count], square_to[count] = total[newest], square[newest]
            count += 1
        sums = total[stop] - total_to[:count]
        cost = cost_to[:count] + square[stop] - square_to[:count] - sums**2 / (stop - start[:count])
        least = int(cost.argmin())
        best[stop], came_from[stop] = cost[least] + beta, start[least]
        if stop % PRUNE_EVERY == 0:
            # What beats a start from here on is a change at `stop`, and that takes a segment of `min_size` after it.
            end[:count][(cost > best[stop]) & (end[:count] > n)] = stop + min_size
            kept = np.flatnonzero(end[:count] > stop + 1)
            count = len(kept)
            for column in (start, cost_to, total_to, square_to, end):
                column[:count] = column[kept]
    cuts: list[int] = []
    at = int(came_from[n])
    while at > 0:
        cuts.append(at)
        at = int(came_from[at])
    return cuts[::-1]
