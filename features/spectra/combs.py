"""Combs of lines at multiples of a speed, and how probable it is that noise makes one.

Fisher's combined test (R. A. Fisher, "Statistical Methods for Research Workers" (1925), section 21.1): where p is the
chance of one line's power in noise, the sum of `-log(p)` over k lines of noise is gamma-distributed with shape k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.special import gammaincc, gammainccinv, gammaincinv

from features.kinematics import Orders
from features.spectra.lines import HANN_INDEPENDENT_SHARE
from features.spectra.spectrum import power_of_transform, real_transform
from features.spectra.time_domain import Vector, normalise

_FLOOR_BINS: Final = 16
"""The floor of a bin is the median over so many bins to each side (fewer, and as many on both sides, near 0 Hz)."""

FIRST_BIN: Final = 3
"""Bins 0 to 2 hold what the Hann window leaves of the mean."""

_FACTORS: Final = (2, 3, 5)
"""A true comb still stands when every second, third or fifth line is taken out; a divisor of another line's frequency
(half the ball pass frequency, a third of the mains) does not."""


_LEAST_STD: Final = 1e-7
"""A window that varies by no more than this share of its level stands still; the step of float32 is 6e-8 of it."""


@dataclass(frozen=True)
class CombSettings:
    """How a comb is searched for.

    Attributes
    ----------
    harmonics : int
        Lines of a candidate.
    min_turns : float
        With fewer declared turns in a window no comb is searched for: with few bins between the lines, half a ball pass
        frequency can look like a shaft.
    most_windows : int
        Windows that count as independent at most: real floors are not as smooth as the mean over many windows of noise.
    line_cap : float
        No line counts for more than this `-log(p)`: one strong line is no comb.

    Raises
    ------
    ValueError
        A value is out of range; the message names it.
    """

    harmonics: int = 8
    min_turns: float = 16.0
    most_windows: int = 4
    line_cap: float = 10.0

    def __post_init__(self) -> None:
        for name, low in (("harmonics", 4), ("most_windows", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, got {getattr(self, name)!r}.")
        if not (self.min_turns >= 4 and math.isfinite(self.min_turns)):
            raise ValueError(f"min_turns must be a finite number of at least 4, got {self.min_turns!r}.")
        if not self.line_cap > 1:
            raise ValueError(f"line_cap must be above 1, got {self.line_cap!r}.")


@dataclass(frozen=True, eq=False)
class Combs:
    """The evidence for a line in every bin of a mean spectrum.

    Attributes
    ----------
    evidence : float64 array, shape (bins,)
        `-log(p)`, p = chance of so much power in noise; mean 1 in noise.
    power : float64 array, shape (bins,)
        Over its expectation in noise.
    turns : float
        Declared shaft turns in a window: the declared speed lies at this bin.
    """

    evidence: Vector
    power: Vector
    turns: float


def comb_bins(
    length: int,
    *,
    sampling_rate_hz: float,
    declared_rpm: float,
    highest_ratio: float,
    orders: Orders | None = None,
    settings: CombSettings,
) -> int:
    """Return how many bins of a spectrum a comb can need; 0 where no comb is searched for.

    That is where the speed is unknown, or a window has fewer than `min_turns` declared turns or less than half a turn a
    bin of the spectrum. The parameters are those of `measure_combs`.
    """
    if not (math.isfinite(declared_rpm) and declared_rpm != 0):
        return 0
    turns = length * abs(declared_rpm) / 60.0 / sampling_rate_hz
    if turns < settings.min_turns or turns * settings.harmonics > length / 4:
        return 0
    highest = max([float(settings.harmonics), *mesh_lines(orders)])
    return min(math.ceil(highest * highest_ratio * turns) + 2 * _FLOOR_BINS, length // 2 + 1)


def measure_combs(
    windows: NDArray[np.float32],
    *,
    sampling_rate_hz: float,
    declared_rpm: float,
    highest_ratio: float,
    orders: Orders | None = None,
    settings: CombSettings,
    power: NDArray[np.float32] | None = None,
) -> Combs | None:
    """Compute the evidence of every bin that a comb can need, from all windows of a recording together.

    Parameters
    ----------
    windows : float32 array, shape (n, length)
        Windows of one recording; those with a sample that is not finite, or without variation, are left out.
    sampling_rate_hz : float
        Above 0.
    declared_rpm : float
        Sign ignored.
    highest_ratio : float
        Highest speed that will be asked for, over the declared one.
    orders : Orders, optional
        Asks for so many bins that gear mesh lines are inside.
    settings : CombSettings
    power : float32 array, shape (n, `comb_bins` or fewer), optional
        Hann power spectra of the windows at unit variance, where they are there already.

    Returns
    -------
    Combs or None
        None where no window is left or no comb is searched for (`comb_bins` is 0).
    """
    wanted = 0
    if windows.ndim == 2:
        wanted = comb_bins(
            windows.shape[1],
            sampling_rate_hz=sampling_rate_hz,
            declared_rpm=declared_rpm,
            highest_ratio=highest_ratio,
            orders=orders,
            settings=settings,
        )
    if not wanted:
        return None
    if power is None:
        finite = [window for window in windows if np.isfinite(window).all()]
        if not finite:
            return None
        normal, m = normalise(finite)
        alive = m.rms > _LEAST_STD * (np.abs(m.mean) + m.peak)
        power = power_of_transform(real_transform(normal[alive]), windows.shape[1])[:, :wanted]
    good = power[power.sum(axis=-1) > 0]
    if not len(good):
        return None
    n = min(len(good), settings.most_windows)
    turns = windows.shape[1] * abs(declared_rpm) / 60.0 / sampling_rate_hz
    return Combs(*_evidence(good.mean(axis=0), n, settings.line_cap), turns)


def _evidence(power: Vector, n: int, cap: float) -> tuple[Vector, Vector]:
    """Return `-log(p)` of each bin, p for a mean over n windows of noise, and the power over its expectation."""
    floor = median_filter(power, 2 * _FLOOR_BINS + 1, mode="reflect")
    lowest = np.arange(FIRST_BIN, min(_FLOOR_BINS + FIRST_BIN, power.size))
    floor[lowest] = _narrow_medians(power, lowest)
    median, top = _gamma_limits(n, cap)
    # Divided by its median the mean over n windows of exponential power follows a gamma distribution of shape n.
    scale = floor / median
    shape = np.divide(power, scale, out=np.zeros_like(power), where=scale > 0)
    # For a line far above the floor the tail is not needed: the cap cuts it anyway.
    evidence = _minus_log_tail(np.minimum(shape, top), n)
    evidence[:FIRST_BIN] = 0.0
    return np.minimum(evidence, cap), shape / n


def _narrow_medians(power: Vector, bins: NDArray[np.int64]) -> Vector:
    """Return medians over as many bins to each side as there are down to `FIRST_BIN`, at least 3."""
    half = np.maximum(bins - FIRST_BIN, 3)
    first, stop = np.maximum(bins - half, 1), np.minimum(bins + half + 1, power.size)
    places = first[:, None] + np.arange(2 * _FLOOR_BINS + 1)
    around = np.where(places < stop[:, None], power[np.minimum(places, power.size - 1)], np.inf)
    around.sort(axis=-1)
    size, each = stop - first, np.arange(len(bins))
    medians: Vector = (around[each, (size - 1) // 2] + around[each, size // 2]) / 2
    return medians


@lru_cache(maxsize=64)
def _gamma_limits(n: int, cap: float) -> tuple[float, float]:
    """Return the median of the gamma distribution of shape n, and what it exceeds with a chance of `exp(-cap)`."""
    return float(gammaincinv(n, 0.5)), float(gammainccinv(n, math.exp(-cap)))


def _minus_log_tail(x: Vector, n: int) -> Vector:
    """Return `-log Q(n, x)` of the gamma distribution of whole shape n: `x - log(sum_{i<n} x^i / i!)`."""
    total, term = np.ones_like(x), np.ones_like(x)
    for i in range(1, n):
        term = term * x / i
        total += term
    result: Vector = x - np.log(total)
    return result


def mesh_lines(orders: Orders | None) -> tuple[float, ...]:
    """Return the orders of the first two harmonics of every gear mesh; () where none is known.

    Examples
    --------
    >>> mesh_lines(Orders(gear_mesh=(14.0,)))
    (14.0, 28.0)
    """
    return () if orders is None else tuple(k * mesh for mesh in orders.gear_mesh for k in (1, 2) if mesh > 2)


def mesh_false_alarm(combs: Combs, ratios: Vector, mesh: tuple[float, ...], *, at_most: float = 1.0) -> Vector:
    """Return how probable noise makes the mesh lines of each candidate together with its shaft lines, shape (m,).

    Fisher's test over the first three shaft lines, the mesh lines, and their sidebands at one shaft order to each side.
    The weaker of this and of the same test without the mesh lines themselves (raised to the power 2: half as much will
    do) counts, so that lines of a bearing at the place of the mesh are not enough. What is above `at_most` may be
    given as 1.
    """
    sides = [line + side for line in mesh for side in (-1.0, 1.0)]
    orders = np.array([1.0, 2.0, 3.0, *sides, *mesh])
    result = np.ones(len(ratios))
    likely = _likely(combs, ratios, orders, at_most)
    if likely.size:
        values = read_lines(combs.evidence, ratios[likely, None] * orders * combs.turns)
        result[likely] = np.maximum(fisher(values), fisher(values[:, : 3 + len(sides)]) ** 2)
    return result


def comb_false_alarm(combs: Combs, ratios: Vector, *, settings: CombSettings, at_most: float = 1.0) -> Vector:
    """Return how probable noise makes the comb of each candidate, without regard to how many are tried.

    Fisher's test over the lines of a candidate: the sum of k values `-log(p)` of noise is gamma-distributed with
    shape k.
    It is made over all lines and again without every second, third and fifth, and the weakest of the four counts.

    Parameters
    ----------
    combs : Combs
    ratios : float64 array, shape (m,)
        Speeds over the declared one, as `candidate_ratios` gives them.
    settings : CombSettings
    at_most : float
        What is above this may be given as 1.

    Returns
    -------
    float64 array, shape (m,)
        0 to 1.
    """
    harmonics = np.arange(1, settings.harmonics + 1)
    result = np.ones(len(ratios))
    likely = _likely(combs, ratios, harmonics, at_most)
    if likely.size:
        values = read_lines(combs.evidence, ratios[likely, None] * harmonics * combs.turns)
        without = [np.where(harmonics % factor != 0, values, np.nan) for factor in _FACTORS]
        result[likely] = fisher(np.stack([values, *without])).max(axis=0)
    return result


def _likely(combs: Combs, ratios: Vector, orders: NDArray[Any], at_most: float) -> NDArray[np.int64]:
    """Return which candidates can be at or under a chance by Fisher's test over all their lines.

    The candidates stand at equal steps, so small that no line moves by a whole bin. Of each three, only the one in the
    middle is looked at, with the highest evidence of three bins in place of its own: a bound for all three.
    """
    n = len(ratios)
    if at_most >= 1.0 or n < 3:
        return np.arange(n)
    least, missing = _least_evidence(len(orders), at_most)
    filled = np.where(np.isfinite(combs.evidence), combs.evidence, missing)
    filled[:FIRST_BIN] = missing
    # Behind the end of the spectrum all lines are missing.
    filled = np.concatenate((filled, np.full(2, missing)))
    wide = np.maximum(filled[1:-1], np.maximum(filled[:-2], filled[2:]))
    wide = np.concatenate((filled[:1], wide, filled[-1:]))
    middle = ratios[np.minimum(np.arange(1, n + 1, 3), n - 1)]
    nearest = np.rint(middle * orders[:, None] * combs.turns).astype(np.int64)
    found = np.flatnonzero(wide[np.minimum(nearest, wide.size - 1)].sum(axis=0) >= least)
    each = (3 * found[:, None] + np.arange(3)).reshape(-1)
    return each[each < n]


@lru_cache(maxsize=4096)
def _least_evidence(lines: int, at_most: float) -> tuple[float, float]:
    """Return the sum of evidence over so many lines below which the chance is above `at_most`, a bit less, and by how
    much a missing line lowers it at most.
    """
    sums = gammainccinv(np.arange(1, lines + 1), at_most)
    return float(sums[-1]) - 1e-6, float(np.diff(sums).max(initial=0.0))


def fisher(values: Vector) -> Vector:
    """Return the probability that k sums of `-log(p)` of noise reach theirs, over the last axis; NaN are no lines.

    Examples
    --------
    >>> fisher(np.array([[0.0, np.nan], [math.log(100.0), np.nan]])).round(6).tolist()
    [1.0, 0.01]
    """
    there = np.isfinite(values)
    total, count = np.where(there, values, 0.0).sum(axis=-1), there.sum(axis=-1)
    return np.maximum(np.where(count > 0, gammaincc(np.maximum(count, 1), total), 1.0), 1e-300)


def read_lines(evidence: Vector, positions: NDArray[Any]) -> Vector:
    """Read the nearest bins; NaN outside of the spectrum.

    Examples
    --------
    >>> read_lines(np.array([0.0, 0.0, 0.0, 1.0, 9.0]), np.array([3.9, 5.0])).tolist()
    [9.0, nan]
    """
    nearest = np.rint(positions).astype(np.int64)
    inside = (nearest >= FIRST_BIN) & (nearest < evidence.size)
    return np.where(inside, evidence[np.where(inside, nearest, 0)], np.nan)


def candidate_ratios(turns: float, low: float, high: float, settings: CombSettings) -> Vector:
    """Return speeds to try, so dense that the highest harmonic moves by half a bin.

    Examples
    --------
    >>> candidate_ratios(10.0, 0.99, 1.01, CombSettings(harmonics=5)).round(6).tolist()
    [0.99, 1.0, 1.01]
    """
    step = 0.5 / (settings.harmonics * turns)
    return np.arange(low, high + 0.5 * step, step)


def over_search(probability: float, turns: float, low: float, high: float, settings: CombSettings) -> float:
    """Return the probability that one of all candidates from `low` to `high` is as good: `1 - (1 - p)^m`.

    m is the number of independent bins that the highest harmonic sweeps, at least 1.

    Examples
    --------
    >>> round(over_search(0.001, 20.0, 0.9, 1.1, CombSettings()), 4)
    0.0238
    """
    m = 1.0 + HANN_INDEPENDENT_SHARE * (high - low) * turns * settings.harmonics
    return float(-math.expm1(m * math.log1p(-min(probability, 1.0 - 1e-16))))
