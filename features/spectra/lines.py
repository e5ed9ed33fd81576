"""How far a line at a known order stands above its surroundings, made comparable between lines, speeds and rates.

The largest of many noise bins is always above their median, and the more bins are searched the more so. A search band
of a fixed percentage holds more bins at a higher order, so a plain "peak over floor" finds faults in pure noise, and
more of them at higher orders. Here the value that noise is expected to give is subtracted: in noise of any smooth
colour the statistic has a mean near 0 dB at every order, number of turns and rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from features.spectra.time_domain import Vector, log10_or_nan, ratio

Bins = NDArray[np.int64]
HANN_INDEPENDENT_SHARE: Final = 0.72
"""A search over n neighbouring Hann bins acts like one over `1 + 0.72 (n - 1)` independent bins. Fitted to 40,000 draws
of complex Gaussian noise; within 0.15 dB from 1 to 400 bins."""

_FIRST_USABLE_BIN: Final = 2
"""Bins 0 and 1 of a Hann spectrum hold what is left of the mean."""

GUARD_BINS: Final = 2
"""The Hann main lobe reaches 2 bins to each side: so far around a search band nothing counts as floor."""


_AT_ONCE: Final = 131_072
"""Floors of about so many bins are sorted at once: they stay in the processor's cache."""


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
    shaft_harmonics, mesh_harmonics, mesh_sidebands : int
        So many harmonics of every shaft (of a slower one up to the same order), and of every gear mesh with so many
        sidebands of every shaft to each side, are no lines of a bearing. Shafts with fewer than `min_turns` turns in
        the window are not told apart, and left out.
    speed_error : float
        A peak belongs to such a line where it is at most half a bin and this share of the line's frequency away.

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
    shaft_harmonics: int = 10
    mesh_harmonics: int = 3
    mesh_sidebands: int = 3
    speed_error: float = 0.003

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
        if min(self.shaft_harmonics, self.mesh_harmonics, self.mesh_sidebands) < 0 or not 0 <= self.speed_error < 0.1:
            raise ValueError(
                "Wanted harmonics and sidebands of at least 0 and a speed_error from 0 to below 0.1, got "
                f"{self.shaft_harmonics!r}, {self.mesh_harmonics!r}, {self.mesh_sidebands!r} and {self.speed_error!r}."
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


@dataclass(frozen=True, eq=False)
class Lines:
    """Where to look for one line in each of n spectra.

    Attributes
    ----------
    first, stop : int64 arrays, shape (n,)
        The search band: its first bin and the one after its last.
    floor_first, floor_stop : int64 arrays, shape (n,)
        Where the floor begins and ends; the search band and its guard bins are no part of it.
    resolved : bool array, shape (n,)
        False where there is no such line; its bins mean nothing.
    """

    first: Bins
    stop: Bins
    floor_first: Bins
    floor_stop: Bins
    resolved: NDArray[np.bool_]

    @property
    def independent_bins(self) -> Vector:
        """Number of independent bins that the search amounts to, shape (n,)."""
        return 1.0 + HANN_INDEPENDENT_SHARE * (self.stop - self.first - 1).astype(np.float64)


def place_lines(positions: Vector, usable: Bins, settings: LineSettings) -> Lines:
    """Find the bins of a line in each spectrum.

    Parameters
    ----------
    positions : float64 array, shape (n,)
        Order times the number of shaft turns in the window; NaN where not known.
    usable : int64 array, shape (n,)
        Bins at and above this one are not to be used.
    settings : LineSettings

    Returns
    -------
    Lines
        Not resolved where the line lies below `min_bins`, its search band reaches out of the spectrum, or too few bins
        are left for a floor.

    Examples
    --------
    >>> lines = place_lines(np.array([100.0]), np.array([1000]), LineSettings())
    >>> [bins.item() for bins in (lines.first, lines.stop, lines.floor_first, lines.floor_stop)]
    [98, 103, 71, 130]
    """
    known = positions >= settings.min_bins
    at = np.where(known, positions, 0.0)
    half = np.maximum(settings.tolerance * at, 1.0)
    first, stop = np.ceil(at - half).astype(np.int64), np.floor(at + half).astype(np.int64) + 1
    reach = np.maximum(np.rint(settings.floor_share * at).astype(np.int64), settings.floor_bins)
    floor_first = np.maximum(first - GUARD_BINS - reach, _FIRST_USABLE_BIN)
    floor_stop = np.minimum(stop + GUARD_BINS + reach, usable)
    size = np.maximum(first - GUARD_BINS - floor_first, 0) + np.maximum(floor_stop - stop - GUARD_BINS, 0)
    resolved = known & (first >= _FIRST_USABLE_BIN) & (stop <= usable) & (size >= settings.floor_bins // 2)
    return Lines(first, stop, floor_first, floor_stop, resolved)


def line_excess(power: NDArray[Any], rows: Bins, lines: Lines) -> tuple[Vector, Bins]:
    """Return `10 log10(largest power in the search band / median power of the floor)`, without correction, and where.

    All lines are read together, each in its own row and at its own place.

    Parameters
    ----------
    power : float array, shape (n, bins)
    rows : int64 array, shape (m,)
        Which row of `power` each line is read in.
    lines : Lines
        m of them.

    Returns
    -------
    excess_db : float64 array, shape (m,)
        NaN where either is zero or the line is not resolved.
    peak : int64 array, shape (m,)
        The bin of the largest power; 0 where there is none.
    """
    result, peak = np.full(len(rows), np.nan), np.zeros(len(rows), dtype=np.int64)
    size = lines.floor_stop - lines.floor_first
    width = lines.stop - lines.first
    for part in _of_like_size(np.flatnonzero(lines.resolved), size):
        own, whole = rows[part], size[part]
        # An even width, so that it can be cut in two.
        floor = runs(power, own, lines.floor_first[part], whole, int(whole.max() + 1) // 2 * 2)
        # The search band and its guard bins are no part of the floor; either end may be cut off by the floor's.
        start = np.maximum(lines.first[part] - GUARD_BINS - lines.floor_first[part], 0)
        stop = np.minimum(lines.stop[part] + GUARD_BINS - lines.floor_first[part], whole)
        median = _medians_without(floor, start, stop, whole)
        band = runs(power, own, lines.first[part], width[part], int(width[part].max()))
        _fill(band, width[part], np.full(len(part), band.shape[-1]), 0.0)
        highest = band.argmax(axis=-1)
        result[part] = ratio(band[np.arange(len(part)), highest].astype(np.float64), median)
        peak[part] = lines.first[part] + highest
    return 10.0 * log10_or_nan(result), peak


def peak_positions(power: NDArray[Any], rows: Bins, peak: Bins) -> Vector:
    """Return where lines lie, between bins, from the bin of their peak and its higher neighbour.

    With amplitudes a of the peak's bin and b of that neighbour, a Hann window puts a steady line
    `(2 b - a) / (a + b)` bins towards it. Source: M. Gasior and J. L. Gonzalez, "Improving FFT frequency measurement
    resolution by parabolic and Gaussian spectrum interpolation", AIP Conference Proceedings 732 (2004), and for the
    Hann window D. C. Rife and G. A. Vincent, Bell System Technical Journal 49 (1970).

    Examples
    --------
    >>> n = np.arange(256)
    >>> wave = (0.5 - 0.5 * np.cos(2 * np.pi * n / 256)) * np.cos(2 * np.pi * 20.3 * n / 256)
    >>> power = np.abs(np.fft.rfft(wave))[None] ** 2
    >>> peak_positions(power, np.array([0]), np.array([20])).round(2).tolist()
    [20.3]
    """
    last = power.shape[-1] - 1
    left, centre, right = (np.sqrt(power[rows, np.clip(peak + k, 0, last)].astype(np.float64)) for k in (-1, 0, 1))
    towards = np.where(right >= left, 1.0, -1.0)
    beside = np.maximum(left, right)
    share = np.divide(2.0 * beside - centre, centre + beside, out=np.zeros(len(rows)), where=centre > 0)
    result: Vector = peak + towards * np.clip(share, -0.5, 0.5)
    return result


def _of_like_size(places: Bins, size: Bins) -> Iterator[Bins]:
    """Cut lines into parts that stay in cache, in which no size is more than an eighth above another."""
    places = places[np.argsort(size[places], kind="stable")]
    ordered = size[places]
    first = 0
    while first < len(places):
        alike = int(np.searchsorted(ordered, ordered[first] + ordered[first] // 8, side="right"))
        stop = min(alike, first + max(_AT_ONCE // int(ordered[first]), 1))
        yield places[first:stop]
        first = stop


def _medians_without(values: NDArray[Any], start: Bins, stop: Bins, size: Bins) -> Vector:
    """Return the median of each row's first `size` values without those from `start` to `stop`; `values` is used up.

    What does not count is overwritten, half of it by less and half by more than any value, so that the median stays in
    the middle of the row. The two halves of the row are sorted, one upwards and one downwards. The smaller ones of each
    pair are then the lower half of all values (K. E. Batcher, "Sorting networks and their applications", AFIPS (1968)):
    their highest and the lowest of the others are the middle. Short rows are sorted many times faster than long ones.
    """
    n, width = values.shape
    # Floats that are not below 0 have the order of their bits as whole numbers, which are sorted faster.
    bits = values.view(np.dtype(f"i{values.itemsize}"))
    low, high = -1, np.iinfo(bits.dtype).max
    gap = stop - start
    n_low = (width - size + gap) // 2
    inside = np.minimum(gap, n_low)
    _fill(bits, start, start + inside, low)
    _fill(bits, start + inside, stop, high)
    _fill(bits, size, size + n_low - inside, low)
    _fill(bits, size + n_low - inside, np.full(n, width), high)
    halves = bits.reshape(n, 2, width // 2)
    up, down = halves[:, 0], halves[:, 1]
    # With all bits turned over, the second half is sorted downwards.
    np.invert(down, out=down)
    halves.sort(axis=-1)
    np.invert(down, out=down)
    below = np.minimum(up, down).max(axis=-1).view(values.dtype).astype(np.float64)
    above = np.maximum(up, down).min(axis=-1).view(values.dtype).astype(np.float64)
    medians: Vector = np.where((size - gap) % 2 == 0, 0.5 * (below + above), below)
    return medians


def runs(power: NDArray[Any], rows: Bins, first: Bins, count: Bins, width: int) -> NDArray[Any]:
    """Copy neighbouring bins out of some rows, each from its own place on.

    Parameters
    ----------
    power : float array, shape (n, bins)
        Contiguous.
    rows, first, count : int64 arrays, shape (m,)
        Which rows, from which bin on, and how many bins; none may reach out of its row.
    width : int
        At least the largest count.

    Returns
    -------
    float array, shape (m, width)
        What stands behind the last bin of a run means nothing.

    Examples
    --------
    >>> power = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> [row[:n].tolist() for row, n in zip(runs(power, np.array([0, 1]), np.array([0, 2]), [2, 1], 2), [2, 1])]
    [[1.0, 2.0], [6.0]]
    """
    flat = power.reshape(-1)
    if width > flat.size:
        flat = np.append(flat, np.zeros(width, dtype=flat.dtype))
    start = rows * power.shape[-1] + first
    # A short run at the very end is read from further in front.
    late = np.maximum(start - (flat.size - width), 0)
    # One copy of `width` neighbours a row: many times faster than an index for every bin.
    windows = as_strided(flat, (flat.size - width + 1, width), 2 * flat.strides, writeable=False)
    result: NDArray[Any] = windows[start - late]
    for row in np.flatnonzero(late):
        result[row, : count[row]] = result[row, late[row] : late[row] + count[row]].copy()
    return result


def _fill(values: NDArray[Any], start: Bins, stop: Bins, fill: float) -> None:
    """Write one value into each row from its `start` to its `stop` (exclusive)."""
    some = stop > start
    if some.any():
        first, last = int(start[some].min()), int(stop[some].max())
        place = np.arange(first, last, dtype=np.int32)
        inside = place >= start.astype(np.int32)[:, None]
        inside &= place < stop.astype(np.int32)[:, None]
        np.copyto(values[:, first:last], fill, where=inside, casting="unsafe")


def signal_to_floor_db(power: NDArray[Any], positions: Vector, *, usable: Bins, settings: LineSettings) -> Vector:
    """Return how far the strongest of some lines stands above its floor, less what noise would give.

    Parameters
    ----------
    power : float array, shape (n, bins)
        A Hann power spectrum (of the signal or of its squared envelope).
    positions : float64 array, shape (n, k, m)
        Bins of the lines: k times m, that are one thing (the meshes of one gearbox), usually one. The correction is
        for the search over all m together. NaN where not known.
    usable : int64 array, shape (n,)
        Bins at and above this one are not to be used.
    settings : LineSettings

    Returns
    -------
    float64 array, shape (n, k)
        In dB. Mean near 0 in noise; a line of twice the floor's amplitude gains 6 dB. NaN where no line is resolved.

    Examples
    --------
    >>> power = np.ones((1, 400))
    >>> power[0, 100] = 100.0
    >>> found = signal_to_floor_db(power, np.array([[[100.0]]]), usable=np.array([400]), settings=LineSettings())
    >>> bins = place_lines(np.array([100.0]), np.array([400]), LineSettings()).independent_bins
    >>> (found + expected_noise_db(bins.item())).round(6).tolist()
    [[20.0]]
    """
    shape = positions.shape
    if not positions.size:
        return np.full(shape[:2], np.nan)
    rows = np.repeat(np.arange(len(power)), shape[1] * shape[2])
    lines = place_lines(positions.reshape(-1), usable[rows], settings)
    excess = np.fmax.reduce(line_excess(power, rows, lines)[0].reshape(shape), axis=-1)
    bins = np.where(lines.resolved, lines.independent_bins, 0.0).reshape(shape).sum(axis=-1)
    different, place = np.unique(np.maximum(bins, 1.0), return_inverse=True)
    result: Vector = excess - np.array([expected_noise_db(value) for value in different.tolist()])[place]
    return result


def noise_by_width(width: Bins, settings: LineSettings) -> tuple[Vector, Vector]:
    """Return `expected_noise_db` and `noise_threshold_db` of search bands of so many bins, each width once."""
    tables = np.zeros((2, int(width.max(initial=1)) + 1))
    for own in np.flatnonzero(np.bincount(width)).tolist():
        bins = 1.0 + HANN_INDEPENDENT_SHARE * (own - 1)
        tables[:, own] = expected_noise_db(bins), noise_threshold_db(bins, settings.false_rate)
    return tables[0, width], tables[1, width]
