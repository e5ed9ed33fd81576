"""Combs of lines at multiples of a speed, and how probable it is that noise makes one.

Fisher's combined test (R. A. Fisher, "Statistical Methods for Research Workers" (1925), section 21.1): where p is the
chance of one line's power in noise, the sum of `-log(p)` over k lines of noise is gamma-distributed with shape k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.special import gammainccinv, gammaincinv

from features.kinematics import Orders
from features.spectra.lines import HANN_INDEPENDENT_SHARE
from features.spectra.spectrum import power_of_transform, real_transform
from features.spectra.time_domain import Vector

_FLOOR_BINS: Final = 16
"""The floor of a bin is the median over so many bins to each side (fewer, and as many on both sides, near 0 Hz)."""

FIRST_BIN: Final = 3
"""Bins 0 to 2 hold what the Hann window leaves of the mean."""

_FACTORS: Final = (2, 3, 5)
"""A true comb still stands when every second, third or fifth line is taken out; a divisor of another line's frequency
(half the ball pass frequency, a third of the mains) does not."""


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


def measure_combs(
    windows: NDArray[np.float32],
    *,
    sampling_rate_hz: float,
    declared_rpm: float,
    highest_ratio: float,
    orders: Orders | None = None,
    settings: CombSettings,
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

    Returns
    -------
    Combs or None
        None where no window is left, the speed is unknown, or a window has fewer than `min_turns` declared turns or
        less than half a turn a bin of the spectrum.
    """
    if windows.ndim != 2 or not (math.isfinite(declared_rpm) and declared_rpm != 0):
        return None
    length = windows.shape[1]
    turns = length * abs(declared_rpm) / 60.0 / sampling_rate_hz
    if turns < settings.min_turns or turns * settings.harmonics > length / 4:
        return None
    good = windows[np.isfinite(windows).all(axis=1)]
    # Scaled to its peak first, no unit overflows float32.
    good = good / np.maximum(np.abs(good).max(axis=1, keepdims=True, initial=0.0), np.float32(1e-30))
    good = good - good.mean(axis=1, keepdims=True)
    size = good.std(axis=1, keepdims=True)
    alive = size[:, 0] > 1e-7
    good = good[alive] / size[alive]
    if not len(good):
        return None
    transform = real_transform(good.astype(np.float32))
    highest = max([float(settings.harmonics), *mesh_lines(orders)])
    wanted = math.ceil(highest * highest_ratio * turns) + 2 * _FLOOR_BINS
    power = power_of_transform(transform, length)[:, :wanted].mean(axis=0)
    n = min(len(good), settings.most_windows)
    return Combs(*_evidence(power, n, settings.line_cap), turns)


def _evidence(power: Vector, n: int, cap: float) -> tuple[Vector, Vector]:
    """Return `-log(p)` of each bin, p for a mean over n windows of noise, and the power over its expectation."""
    floor = median_filter(power, 2 * _FLOOR_BINS + 1, mode="reflect")
    for k in range(FIRST_BIN, min(_FLOOR_BINS + FIRST_BIN, power.size)):
        half = max(k - FIRST_BIN, 3)
        floor[k] = np.median(power[max(k - half, 1) : k + half + 1])
    # Divided by its median the mean over n windows of exponential power follows a gamma distribution of shape n.
    scale = floor / gammaincinv(n, 0.5)
    shape = np.divide(power, scale, out=np.zeros_like(power), where=scale > 0)
    # For a line far above the floor the tail is not needed: the cap cuts it anyway.
    top = gammainccinv(n, math.exp(-cap))
    evidence = _minus_log_tail(np.minimum(shape, top), n)
    evidence[:FIRST_BIN] = 0.0
    return np.minimum(evidence, cap), shape / n


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


def mesh_false_alarm(combs: Combs, ratios: Vector, mesh: tuple[float, ...]) -> Vector:
    """Return how probable noise makes the mesh lines of each candidate together with its shaft lines, shape (m,).

    Fisher's test over the first three shaft lines, the mesh lines, and their sidebands at one shaft order to each side.
    The weaker of this and of the same test without the mesh lines themselves (raised to the power 2: half as much will
    do) counts, so that lines of a bearing at the place of the mesh are not enough.
    """
    first = read_lines(combs.evidence, ratios[:, None] * np.arange(1, 4) * combs.turns)
    sides = np.array([line + side for line in mesh for side in (-1.0, 1.0)])
    beside = np.concatenate((first, read_lines(combs.evidence, ratios[:, None] * sides * combs.turns)), axis=1)
    centre = read_lines(combs.evidence, ratios[:, None] * np.array(mesh) * combs.turns)
    return np.maximum(fisher(np.concatenate((centre, beside), axis=1)), fisher(beside) ** 2)


def comb_false_alarm(combs: Combs, ratios: Vector, *, settings: CombSettings) -> Vector:
    """Return how probable noise makes the comb of each candidate, without regard to how many are tried.

    Fisher's test over the lines of a candidate: the sum of k values `-log(p)` of noise is gamma-distributed with
    shape k.
    It is made over all lines and again without every second, third and fifth, and the weakest of the four counts.

    Parameters
    ----------
    combs : Combs
    ratios : float64 array, shape (m,)
        Speeds over the declared one.
    settings : CombSettings

    Returns
    -------
    float64 array, shape (m,)
        0 to 1.
    """
    harmonics = np.arange(1, settings.harmonics + 1)
    values = read_lines(combs.evidence, ratios[:, None] * harmonics * combs.turns)
    worst = fisher(values)
    for factor in _FACTORS:
        worst = np.maximum(worst, fisher(values[:, harmonics % factor != 0]))
    return worst


def fisher(values: Vector) -> Vector:
    """Return the probability that k sums of `-log(p)` of noise reach theirs, over the last axis; NaN are no lines.

    Examples
    --------
    >>> fisher(np.array([[0.0, np.nan], [math.log(100.0), np.nan]])).round(6).tolist()
    [1.0, 0.01]
    """
    there = np.isfinite(values)
    total, count = np.where(there, values, 0.0).sum(axis=-1), there.sum(axis=-1)
    result = np.ones(total.shape)
    for k in np.unique(count[count > 0]):
        same = count == k
        result[same] = np.exp(-_minus_log_tail(total[same], int(k)))
    return np.maximum(result, 1e-300)


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
