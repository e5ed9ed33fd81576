"""How far a line at a known order stands above its surroundings, made comparable between lines, speeds and rates.

The largest of many noise bins is always above their median, and the more bins are searched the more so. A search band
of a fixed percentage holds more bins at a higher order, so a plain "peak over floor" finds faults in pure noise, and
more of them at higher orders. Here the value that noise is expected to give is subtracted: in noise of any smooth
colour the statistic has a mean near 0 dB at every order, number of turns and rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.spectra.time_domain import Vector, log10_or_nan, ratio

HANN_INDEPENDENT_SHARE: Final = 0.72
"""A search over n neighbouring Hann bins acts like one over `1 + 0.72 (n - 1)` independent bins. Fitted to 40,000 draws
of complex Gaussian noise; within 0.15 dB from 1 to 400 bins."""

_FIRST_USABLE_BIN: Final = 2
"""Bins 0 and 1 of a Hann spectrum hold what is left of the mean."""

_GUARD_BINS: Final = 2
"""The Hann main lobe reaches 2 bins to each side: so far around a search band nothing counts as floor."""


@dataclass(frozen=True)
class LineSettings:
    """How a line is searched for.

    Attributes
    ----------
    tolerance : float
        Half width of the search band as a share of the line's frequency (slip, speed error). At least one bin.
    floor_share : float
        Half width of the neighbourhood whose median is the floor, as a share of the line's frequency.
    floor_bins : int
        The neighbourhood reaches at least so many bins to each side of the search band.
    min_bins : int
        A line below this bin is not resolved, and missing.
    min_turns : float
        With fewer shaft turns in the window every line is missing.
    count_harmonics : int
        So many harmonics are counted at most.
    false_rate : float
        A line counts as standing out where noise reaches its height in no more than this share of cases.

    Raises
    ------
    ValueError
        A value is out of range; the message names it.
    """

    tolerance: float = 0.02
    floor_share: float = 0.25
    floor_bins: int = 16
    min_bins: int = 3
    min_turns: float = 8.0
    count_harmonics: int = 8
    false_rate: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < self.floor_share < 1:
            raise ValueError(
                f"Wanted 0 <= tolerance < floor_share < 1, got {self.tolerance!r} and {self.floor_share!r}."
            )
        if self.floor_bins < 4 or self.min_bins < 3 or not self.min_turns > 0:
            raise ValueError(
                "Wanted floor_bins of at least 4, min_bins of at least 3 and min_turns above 0, got "
                f"{self.floor_bins!r}, {self.min_bins!r} and {self.min_turns!r}."
            )
        if self.count_harmonics < 1 or not 0 < self.false_rate < 1:
            raise ValueError(
                "Wanted count_harmonics of at least 1 and false_rate between 0 and 1, got "
                f"{self.count_harmonics!r} and {self.false_rate!r}."
            )


@lru_cache(maxsize=4096)
def expected_noise_db(independent_bins: float) -> float:
    """Return what noise is expected to give: `E[10 log10(max P)] - 10 log10(median P)`.

    The power of noise in a bin is exponential with mean 1 (chi-square with two degrees of freedom, J. S. Bendat and
    A. G. Piersol, "Random Data", section 8.5), so its median is log 2 and the largest of m independent bins has the
    quantile function `-log(1 - u^(1/m))`, whose logarithm is averaged over u by the midpoint rule.

    Parameters
    ----------
    independent_bins : float
        At least 1; need not be whole.

    Returns
    -------
    float
        In dB; -0.9 for one bin, 5.9 for ten.

    Examples
    --------
    >>> round(expected_noise_db(1.0), 1), round(expected_noise_db(10.0), 1)
    (-0.9, 5.9)
    """
    u = (np.arange(20_000) + 0.5) / 20_000
    largest = -np.log1p(-(u ** (1.0 / independent_bins)))
    return float(10.0 * np.log10(largest).mean() - 10.0 * math.log10(math.log(2.0)))


@lru_cache(maxsize=4096)
def noise_threshold_db(independent_bins: float, false_rate: float) -> float:
    """Return the height, in dB of `signal_to_floor_db`, that noise exceeds in the share `false_rate` of cases.

    The largest of m independent exponential powers stays below `x` with probability `(1 - exp(-x))^m`. The scatter of
    the median itself is not in it: with the default floors noise gets there in 1.2 times as many cases at high orders,
    and in up to 3 times as many at the lowest, whose floor has few bins.

    Examples
    --------
    >>> round(noise_threshold_db(1.0, 0.01), 1)
    9.1
    """
    reached = -math.log(-math.expm1(math.log1p(-false_rate) / independent_bins))
    return 10.0 * math.log10(reached / math.log(2.0)) - expected_noise_db(independent_bins)


@dataclass(frozen=True)
class Line:
    """Where to look for one line: bins `first` to `stop` (exclusive), floor from `floor_first` to `floor_stop`."""

    first: int
    stop: int
    floor_first: int
    floor_stop: int

    @property
    def independent_bins(self) -> float:
        """Number of independent bins that the search amounts to."""
        return 1.0 + HANN_INDEPENDENT_SHARE * (self.stop - self.first - 1)


@lru_cache(maxsize=4096)
def place_line(bin_position: float, usable_bins: int, settings: LineSettings) -> Line | None:
    """Find the bins of a line.

    Parameters
    ----------
    bin_position : float
        Order times the number of shaft turns in the window.
    usable_bins : int
        Bins at and above this one are not to be used.

    Returns
    -------
    Line or None
        None where the line is not resolved (below `min_bins`), its search band reaches out of the spectrum, or too
        few bins are left for a floor.

    Examples
    --------
    >>> place_line(100.0, 1000, LineSettings())
    Line(first=98, stop=103, floor_first=71, floor_stop=130)
    """
    half = max(settings.tolerance * bin_position, 1.0)
    first, stop = math.ceil(bin_position - half), math.floor(bin_position + half) + 1
    if bin_position < settings.min_bins or first < _FIRST_USABLE_BIN or stop > usable_bins:
        return None
    reach = max(round(settings.floor_share * bin_position), settings.floor_bins)
    line = Line(
        first=first,
        stop=stop,
        floor_first=max(first - _GUARD_BINS - reach, _FIRST_USABLE_BIN),
        floor_stop=min(stop + _GUARD_BINS + reach, usable_bins),
    )
    return line if _floor_size(line) >= settings.floor_bins // 2 else None


def _floor_size(line: Line) -> int:
    below = max(line.first - _GUARD_BINS - line.floor_first, 0)
    return below + max(line.floor_stop - line.stop - _GUARD_BINS, 0)


def line_excess(power: NDArray[Any], line: Line) -> Vector:
    """Return `10 log10(largest power in the search band / median power of the floor)`, shape (n,), without correction.

    NaN where either is zero.
    """
    below = power[:, line.floor_first : max(line.first - _GUARD_BINS, line.floor_first)]
    above = power[:, min(line.stop + _GUARD_BINS, line.floor_stop) : line.floor_stop]
    floor = np.concatenate((below, above), axis=-1)
    floor.sort(axis=-1)
    size = floor.shape[-1]
    median = 0.5 * (floor[:, (size - 1) // 2].astype(np.float64) + floor[:, size // 2])
    largest = power[:, line.first : line.stop].max(axis=-1).astype(np.float64)
    return 10.0 * log10_or_nan(ratio(largest, median))


def signal_to_floor_db(
    power: NDArray[Any], positions: tuple[float, ...], *, usable_bins: int, settings: LineSettings
) -> Vector:
    """Return how far the strongest of some lines stands above its floor, less what noise would give.

    Parameters
    ----------
    power : float array, shape (n, bins)
        A Hann power spectrum (of the signal or of its squared envelope).
    positions : tuple of float
        Bins of the lines: usually one; several where they are one thing (the meshes of one gearbox). The correction
        is for the search over all of them together.
    usable_bins : int
        Bins at and above this one are not to be used.
    settings : LineSettings

    Returns
    -------
    float64 array, shape (n,)
        In dB. Mean near 0 in noise; a line of twice the floor's amplitude gains 6 dB. NaN where no line is resolved.

    Examples
    --------
    >>> power = np.ones((1, 400))
    >>> power[0, 100] = 100.0
    >>> noise = expected_noise_db(place_line(100.0, 400, LineSettings()).independent_bins)
    >>> (signal_to_floor_db(power, (100.0,), usable_bins=400, settings=LineSettings()) + noise).round(6).tolist()
    [20.0]
    """
    lines = [line for line in (place_line(p, usable_bins, settings) for p in positions) if line is not None]
    if not lines:
        return np.full(len(power), np.nan)
    excess = line_excess(power, lines[0])
    for line in lines[1:]:
        excess = np.fmax(excess, line_excess(power, line))
    return excess - expected_noise_db(sum(line.independent_bins for line in lines))


class LineReader:
    """Reads lines at shaft orders from Hann power spectra, each order once for all rows.

    Parameters
    ----------
    power : float array, shape (n, bins)
    turns : float
        Shaft turns in the window: order `q` lies at bin `q * turns`.
    usable : int array, shape (n,)
        Bins at and above this one are not to be used in that row.
    settings : LineSettings
    """

    def __init__(self, power: NDArray[Any], *, turns: float, usable: NDArray[np.int64], settings: LineSettings) -> None:
        self.settings = settings
        self._power, self._turns = power, turns
        self._rows = {int(value): np.flatnonzero(usable == value) for value in np.unique(usable)}
        self._known: dict[float, tuple[Vector, Vector]] = {}

    def at(self, order: float | None) -> Vector:
        """Return `signal_to_floor_db` at an order, shape (n,); NaN where the order is not known or not above 0."""
        return self._read(order)[0]

    def stands_out(self, order: float | None) -> Vector:
        """Return 1.0 where the line at an order is higher than noise would be (`false_rate`), 0.0 where not, or NaN."""
        return self._read(order)[1]

    def _read(self, order: float | None) -> tuple[Vector, Vector]:
        # The key is the position itself, so that 2 x bsf and the first harmonic of bsf2x are measured once.
        position = 0.0 if order is None or order <= 0 else order * self._turns
        if position not in self._known:
            height = np.full(len(self._power), np.nan)
            limit = np.full(len(self._power), np.nan)
            for line, rows in self._places(position).items():
                whole = len(rows) == len(self._power)
                excess = line_excess(self._power if whole else self._power[rows, : line.floor_stop], line)
                height[rows] = excess - expected_noise_db(line.independent_bins)
                limit[rows] = noise_threshold_db(line.independent_bins, self.settings.false_rate)
            above = np.where(np.isnan(height), np.nan, (height > limit).astype(np.float64))
            self._known[position] = height, above
        return self._known[position]

    def _places(self, position: float) -> dict[Line, NDArray[np.int64]]:
        """Return where to look, with the rows for which that is so; rows without the line are left out."""
        rows_of: dict[Line, list[NDArray[np.int64]]] = {}
        for usable, rows in self._rows.items():
            line = place_line(position, usable, self.settings)
            if line is not None:
                rows_of.setdefault(line, []).append(rows)
        return {line: np.sort(np.concatenate(parts)) for line, parts in rows_of.items()}
