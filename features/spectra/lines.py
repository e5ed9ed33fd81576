"""How far a line at a known order stands above its surroundings, made comparable between lines, speeds and rates.

The largest of many noise bins is always above their median, and the more bins are searched the more so. A search band
of a fixed percentage holds more bins at a higher order, so a plain "peak over floor" finds faults in pure noise, and
more of them at higher orders. Here the value that noise is expected to give is subtracted: in noise of any smooth
colour the statistic has a mean near 0 dB at every order, number of turns and rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from features.kinematics import Orders
from features.spectra.time_domain import Vector, log10_or_nan, ratio

Bins = NDArray[np.int64]
Order = float | Vector | None

HANN_INDEPENDENT_SHARE: Final = 0.72
"""A search over n neighbouring Hann bins acts like one over `1 + 0.72 (n - 1)` independent bins. Fitted to 40,000 draws
of complex Gaussian noise; within 0.15 dB from 1 to 400 bins."""

_FIRST_USABLE_BIN: Final = 2
"""Bins 0 and 1 of a Hann spectrum hold what is left of the mean."""

_GUARD_BINS: Final = 2
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
    floor_first = np.maximum(first - _GUARD_BINS - reach, _FIRST_USABLE_BIN)
    floor_stop = np.minimum(stop + _GUARD_BINS + reach, usable)
    size = np.maximum(first - _GUARD_BINS - floor_first, 0) + np.maximum(floor_stop - stop - _GUARD_BINS, 0)
    resolved = known & (first >= _FIRST_USABLE_BIN) & (stop <= usable) & (size >= settings.floor_bins // 2)
    return Lines(first, stop, floor_first, floor_stop, resolved)


def line_excess(power: NDArray[Any], rows: Bins, lines: Lines) -> Vector:
    """Return `10 log10(largest power in the search band / median power of the floor)`, without correction.

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
    float64 array, shape (m,)
        NaN where either is zero or the line is not resolved.
    """
    result = np.full(len(rows), np.nan)
    size = lines.floor_stop - lines.floor_first
    width = lines.stop - lines.first
    for part in _of_like_size(np.flatnonzero(lines.resolved), size):
        own, whole = rows[part], size[part]
        # An even width, so that it can be cut in two.
        floor = runs(power, own, lines.floor_first[part], whole, int(whole.max() + 1) // 2 * 2)
        # The search band and its guard bins are no part of the floor; either end may be cut off by the floor's.
        start = np.maximum(lines.first[part] - _GUARD_BINS - lines.floor_first[part], 0)
        stop = np.minimum(lines.stop[part] + _GUARD_BINS - lines.floor_first[part], whole)
        median = _medians_without(floor, start, stop, whole)
        band = runs(power, own, lines.first[part], width[part], int(width[part].max()))
        _fill(band, width[part], np.full(len(part), band.shape[-1]), 0.0)
        result[part] = ratio(band.max(axis=-1).astype(np.float64), median)
    return 10.0 * log10_or_nan(result)


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
    excess = np.fmax.reduce(line_excess(power, rows, lines).reshape(shape), axis=-1)
    bins = np.where(lines.resolved, lines.independent_bins, 0.0).reshape(shape).sum(axis=-1)
    different, place = np.unique(np.maximum(bins, 1.0), return_inverse=True)
    result: Vector = excess - np.array([expected_noise_db(value) for value in different.tolist()])[place]
    return result


@dataclass(frozen=True, eq=False)
class OrderColumns:
    """Orders of n windows as columns: `Orders` with an array for each number, NaN where it is not known.

    Attributes
    ----------
    bpfo, bpfi, bsf, ftf : float64 arrays, shape (n,)
    gear_mesh : float64 array, shape (n, m)
        m is the largest number of meshes.
    """

    bpfo: Vector
    bpfi: Vector
    bsf: Vector
    ftf: Vector
    gear_mesh: Vector

    def take(self, rows: Bins) -> OrderColumns:
        """Return some rows, each as often as it is named."""
        return OrderColumns(self.bpfo[rows], self.bpfi[rows], self.bsf[rows], self.ftf[rows], self.gear_mesh[rows])


def order_columns(orders: Sequence[Orders]) -> OrderColumns:
    """Put the orders of windows into columns.

    Examples
    --------
    >>> columns = order_columns([Orders(bpfo=3.5), Orders(gear_mesh=(14.0,))])
    >>> columns.bpfo.tolist(), columns.gear_mesh.tolist()
    ([3.5, nan], [[nan], [14.0]])
    """
    single = [[getattr(own, name) for own in orders] for name in ("bpfo", "bpfi", "bsf", "ftf")]
    mesh = np.full((len(orders), max((len(own.gear_mesh) for own in orders), default=0)), np.nan)
    for row, own in zip(mesh, orders, strict=True):
        row[: len(own.gear_mesh)] = own.gear_mesh
    bpfo, bpfi, bsf, ftf = np.array(single, dtype=np.float64)
    return OrderColumns(bpfo, bpfi, bsf, ftf, mesh)


class LineReader:
    """Reads lines at shaft orders from Hann power spectra, each order once for all rows.

    An order is one number for all rows, or an array with one for each; None and NaN where not known.

    Parameters
    ----------
    power : float array, shape (n, bins)
    turns : float or float64 array, shape (n,)
        Shaft turns in the window: order `q` lies at bin `q * turns`.
    usable : int array, shape (n,)
        Bins at and above this one are not to be used in that row.
    settings : LineSettings
    """

    def __init__(
        self, power: NDArray[Any], *, turns: float | Vector, usable: NDArray[np.int64], settings: LineSettings
    ) -> None:
        self.settings = settings
        self._power, self._usable = np.ascontiguousarray(power), usable
        self._turns = np.broadcast_to(np.asarray(turns, dtype=np.float64), len(power))
        self._known: dict[bytes, tuple[Vector, Vector]] = {}

    def at(self, *orders: Order) -> list[Vector]:
        """Return `signal_to_floor_db` at each order, shape (n,); NaN where it is not known or not above 0.

        Orders that are asked for together are read together, which costs far less than one after another.
        """
        return [height for height, _ in self._read(orders)]

    def stands_out(self, *orders: Order) -> list[Vector]:
        """Return 1.0 where the line at an order is higher than noise would be (`false_rate`), 0.0 where not, or NaN."""
        return [above for _, above in self._read(orders)]

    def _read(self, orders: Sequence[Order]) -> list[tuple[Vector, Vector]]:
        asked = [self._turns * (np.nan if order is None else order) for order in orders]
        # The key is the positions themselves, so that 2 x bsf and the first harmonic of bsf2x are measured once.
        keys = [positions.tobytes() for positions in asked]
        new = {key: positions for key, positions in zip(keys, asked, strict=True) if key not in self._known}
        if new:
            rows = np.tile(np.arange(len(self._power)), len(new))
            lines = place_lines(np.concatenate(list(new.values())), self._usable[rows], self.settings)
            noise, limit = _noise_by_width(np.where(lines.resolved, lines.stop - lines.first, 1), self.settings)
            height = line_excess(self._power, rows, lines) - noise
            above = np.where(np.isnan(height), np.nan, (height > limit).astype(np.float64))
            shape = len(new), len(self._power)
            self._known |= zip(new, zip(height.reshape(shape), above.reshape(shape), strict=True), strict=True)
        return [self._known[key] for key in keys]


def _noise_by_width(width: Bins, settings: LineSettings) -> tuple[Vector, Vector]:
    """Return `expected_noise_db` and `noise_threshold_db` of search bands of so many bins, each width once."""
    tables = np.zeros((2, int(width.max(initial=1)) + 1))
    for own in np.flatnonzero(np.bincount(width)).tolist():
        bins = 1.0 + HANN_INDEPENDENT_SHARE * (own - 1)
        tables[:, own] = expected_noise_db(bins), noise_threshold_db(bins, settings.false_rate)
    return tables[0, width], tables[1, width]
