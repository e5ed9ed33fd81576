"""Reads the lines of bearings at their orders, apart from lines that are something else's.

The third harmonic of a shaft at 3.00 orders lies within the slip of an outer race at 3.05. Which of them it is follows
from where its peak lies: a peak that stands on a multiple of a shaft's speed, on a mesh or on a sideband of a mesh is
explained by it, and the line of the bearing is what is left of its search band. So it is with the sidebands of another
defect: a line of the inner race less one turn of the shaft is often where a ball's line is looked for (R. B. Randall
and J. Antoni, "Rolling element bearing diagnostics - a tutorial", Mechanical Systems and Signal Processing 25 (2011),
section 2: races are modulated at the shaft's speed, balls at the cage's). And a peak beside the search band, whose
flank reaches into it, is no line of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.kinematics import BEARING_ORDERS, Orders
from features.spectra.lines import (
    GUARD_BINS,
    Bins,
    LineSettings,
    line_excess,
    noise_by_width,
    peak_positions,
    place_lines,
)
from features.spectra.time_domain import Vector, log10_or_nan

Order = float | Vector | None

_SINGLE: Final = (*BEARING_ORDERS, "inner_ring", "outer_ring")

_APART: Final = 1 << 20
"""Above any order."""


@lru_cache(maxsize=1024)
def foreign_orders(orders: Orders, turns: float, settings: LineSettings) -> tuple[float, ...]:
    """Return the orders of lines that are no lines of a bearing: of shafts, gear meshes and their sidebands, ascending.

    Examples
    --------
    >>> few = LineSettings(shaft_harmonics=3, mesh_harmonics=1, mesh_sidebands=1)
    >>> foreign_orders(Orders(gear_mesh=(20.0,), shafts=(0.4, 0.1)), 30.0, few)
    (0.4, 0.8, 1.0, 1.2, 1.6, 2.0, 2.4, 2.8, 3.0, 3.2, 19.0, 19.6, 20.0, 20.4, 21.0)
    """
    shafts = [shaft for shaft in (1.0, *orders.shafts) if shaft * turns >= settings.min_turns]
    # Of a slower shaft as many as lie where those of the monitored one do.
    most = {shaft: round(settings.shaft_harmonics / min(shaft, 1.0)) for shaft in shafts}
    found = {k * shaft for shaft in shafts for k in range(1, most[shaft] + 1)}
    for mesh in orders.gear_mesh:
        for k in range(1, settings.mesh_harmonics + 1):
            sides = range(-settings.mesh_sidebands, settings.mesh_sidebands + 1)
            found |= {k * mesh} | {k * mesh + j * shaft for j in sides for shaft in shafts}
    return tuple(sorted({round(order, 9) for order in found if order > 0}))


@dataclass(frozen=True, eq=False)
class OrderColumns:
    """Orders of n windows as columns: `Orders` with an array for each number, NaN where it is not known.

    Attributes
    ----------
    bpfo, bpfi, bsf, ftf, inner_ring, outer_ring : float64 arrays, shape (n,)
    gear_mesh : float64 array, shape (n, m)
        m is the largest number of meshes.
    foreign : float64 array
        `foreign_orders` of all different windows, one behind the other.
    own : int64 arrays, shape (n, 2)
        Where those of each window begin and stop.
    """

    bpfo: Vector
    bpfi: Vector
    bsf: Vector
    ftf: Vector
    inner_ring: Vector
    outer_ring: Vector
    gear_mesh: Vector
    foreign: Vector
    own: Bins

    def take(self, rows: Bins) -> OrderColumns:
        """Return some rows, each as often as it is named."""
        single = {name: getattr(self, name)[rows] for name in (*_SINGLE, "gear_mesh")}
        return OrderColumns(**single, foreign=self.foreign, own=self.own[rows])


def order_columns(
    orders: Sequence[Orders], turns: Sequence[float] = (), settings: LineSettings | None = None
) -> OrderColumns:
    """Put the orders of windows into columns; without the turns of the windows no foreign lines are known.

    Examples
    --------
    >>> columns = order_columns([Orders(bpfo=3.5), Orders(gear_mesh=(14.0,))])
    >>> columns.bpfo.tolist(), columns.gear_mesh.tolist()
    ([3.5, nan], [[nan], [14.0]])
    """
    single = {name: np.array([getattr(own, name) for own in orders], dtype=np.float64) for name in _SINGLE}
    mesh = np.full((len(orders), max((len(own.gear_mesh) for own in orders), default=0)), np.nan)
    for row, own in zip(mesh, orders, strict=True):
        row[: len(own.gear_mesh)] = own.gear_mesh
    lines = [foreign_orders(own, n, settings or LineSettings()) for own, n in zip(orders, turns, strict=False)]
    lines = lines or [()] * len(orders)
    stop = np.cumsum([len(own) for own in lines], dtype=np.int64)
    start = stop - [len(own) for own in lines] if lines else stop
    foreign = np.array([order for own in lines for order in own], dtype=np.float64)
    return OrderColumns(**single, gear_mesh=mesh, foreign=foreign, own=np.stack((start, stop), axis=-1))


_Reading = tuple[Vector, Vector, Bins]
"""Heights in dB, 1.0 where they are above noise, and the bins of the peaks."""

SIDEBAND_PAIRS: Final = 3
"""So many pairs of sidebands of a defect's first line are looked at."""


class _Foreign:
    """Lines that are something else's: of each row those of `orders` from `own[:, 0]` to `own[:, 1]`, ascending."""

    def __init__(self, orders: Vector, own: Bins) -> None:
        self.orders, self.own = orders, own
        # Those of each different row behind those of the one before, so that all are searched at once.
        starts, part = np.unique(own[:, 0], return_inverse=True)
        self._part = _APART * part.reshape(-1).astype(np.float64)
        place = np.searchsorted(starts, np.arange(len(orders)), side="right") - 1
        self._keys = orders + _APART * place.astype(np.float64)

    def beside(self, order: Vector, rows: Bins) -> Iterator[Vector]:
        """Give the nearest line below and then the nearest above each order, in its row; -inf where there is none."""
        above = np.searchsorted(self._keys, order + self._part[rows])
        begin, end = self.own[rows].T
        for place in (above - 1, above):
            there = (place >= begin) & (place < end)
            foreign = np.full(len(order), -np.inf)
            foreign[there] = self.orders[place[there]]
            yield foreign


def _any_holds(gaps: Sequence[Bins], bins: Bins) -> NDArray[np.bool_]:
    """Return whether each bin is in one of its gaps, each first and stop of shape (2, n)."""
    held = np.zeros(len(bins), dtype=bool)
    for first, stop in gaps:
        held |= (bins >= first) & (bins < stop)
    return held


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
    orders : OrderColumns, optional
        Whose foreign lines are no lines of a bearing; by default the multiples of the shaft.
    """

    def __init__(
        self,
        power: NDArray[Any],
        *,
        turns: float | Vector,
        usable: NDArray[np.int64],
        settings: LineSettings,
        orders: OrderColumns | None = None,
    ) -> None:
        self.settings = settings
        self._power, self._usable = np.ascontiguousarray(power), usable
        self._turns = np.broadcast_to(np.asarray(turns, dtype=np.float64), len(power))
        if orders is None:
            shaft = order_columns([Orders()], [math.inf], settings)
            orders = shaft.take(np.zeros(len(power), dtype=np.int64))
        self._orders, self._foreign = orders, (_Foreign(orders.foreign, orders.own),)
        self._known: dict[tuple[tuple[_Foreign, ...] | None, bytes], _Reading] = {}

    def at(self, *orders: Order) -> list[Vector]:
        """Return `signal_to_floor_db` at each order, shape (n,); NaN where it is not known or not above 0.

        Orders that are asked for together are read together, which costs far less than one after another.
        """
        return [height for height, _, _ in self._read(orders)]

    def of_bearing(self, *orders: Order) -> list[Vector]:
        """Return what `at` returns, of bearings: a peak that is a shaft's or a mesh's own is left out of the search.

        NaN also where nothing else is left of the search band: the two lines are not resolved.
        """
        return [height for height, _, _ in self._read(orders, self._foreign)]

    def of_defects(self, *lines: Sequence[Order], of_bearing: bool = False) -> tuple[list[list[Vector]], list[Vector]]:
        """Read the lines of defects, where sidebands of the strongest defect are no lines of the others.

        The strongest of these three kinds is the one with the highest first line `of_bearing`, if any stands out.

        Parameters
        ----------
        lines
            Of outer race, inner race and ball the harmonics to read, as many of each, the first one first.
        of_bearing : bool
            False: as `at`; True: as `of_bearing`.

        Returns
        -------
        heights : list of lists of float64 arrays, shape (n,)
            In dB, as `lines`; 0 where sidebands fill the search band.
        offsets : list of float64 arrays, shape (n,)
            How far the first line of each kind lies from its order, as a share of it; NaN where it is not.
        """
        foreign = self._foreign if of_bearing else ()
        every = [order for own in lines for order in own]
        clear = self._read(every, foreign)
        strongest, sidebands = self._find_strongest([own[0] for own in lines])
        rest = self._read(every, (*foreign, sidebands))
        heights: list[list[Vector]] = []
        offsets: list[Vector] = []
        for place, own in enumerate(lines):
            is_strongest, first, stop = strongest == place, place * len(own), (place + 1) * len(own)
            heights.append([])
            for (whole, *_), (left, *_) in zip(clear[first:stop], rest[first:stop], strict=True):
                # Where sidebands fill the search band, nothing of its own stands there.
                filled = np.isnan(left) & ~np.isnan(whole)
                heights[-1].append(np.where(is_strongest, whole, np.where(filled, 0.0, left)))
            peak = np.where(is_strongest, clear[first][2], rest[first][2])
            known = ~np.isnan(np.where(is_strongest, clear[first][0], rest[first][0]))
            share = self._orders_of(peak) / (np.nan if own[0] is None else own[0]) - 1.0
            offsets.append(np.where(known, share, np.nan))
        return heights, offsets

    def _orders_of(self, peak: Bins) -> Vector:
        return peak_positions(self._power, np.arange(len(self._power)), peak) / self._turns

    def _find_strongest(self, firsts: Sequence[Order]) -> tuple[Bins, _Foreign]:
        """Return which of the first lines is the highest, -1 where none stands out, and its sidebands.

        A line of a shaft or a mesh is none of them: what lies a turn beside it is a shaft's, too.
        """
        readings = self._read(firsts, self._foreign)
        rows = np.arange(len(self._power))
        height = np.stack([np.where(above == 1.0, height, -np.inf) for height, above, _ in readings])
        strongest = np.where(np.isfinite(height.max(axis=0)), height.argmax(axis=0), -1)
        where = np.stack([self._orders_of(peak) for *_, peak in readings])
        shaft = np.where(np.isnan(self._orders.inner_ring), self._orders.outer_ring, self._orders.inner_ring)
        distance = np.where(strongest == 2, self._orders.ftf, shaft)
        pairs = np.array([k for k in range(-SIDEBAND_PAIRS, SIDEBAND_PAIRS + 1) if k])
        orders = where[strongest, rows, None] + distance[:, None] * pairs
        orders = np.sort(np.where((strongest >= 0)[:, None] & (orders > 0), orders, np.nan), axis=-1)
        number = np.isfinite(orders).sum(axis=-1)
        stop = np.cumsum(number)
        return strongest, _Foreign(orders[np.isfinite(orders)], np.stack((stop - number, stop), axis=-1))

    def stands_out(self, *orders: Order) -> list[Vector]:
        """Return 1.0 where a bearing's line is higher than noise would be (`false_rate`), 0.0 where not, or NaN."""
        return [above for _, above, _ in self._read(orders, self._foreign)]

    def beside(self, centre: Order, distance: Order) -> tuple[Order, Order]:
        """Return the orders `centre -+ distance`; NaN or None where one is not known or the two are not resolved.

        That is where the search band of a sideband would reach into the line in the middle.
        """
        if centre is None or distance is None:
            return None, None
        half = np.maximum(self.settings.tolerance * (centre + distance) * self._turns, 1.0)
        apart = np.where(distance * self._turns > half + GUARD_BINS, distance, np.nan)
        return centre - apart, centre + apart

    def _read(self, orders: Sequence[Order], foreign: tuple[_Foreign, ...] = ()) -> list[_Reading]:
        asked = [self._turns * (np.nan if order is None else order) for order in orders]
        # The key is the positions themselves, so that 2 x bsf and the first harmonic of bsf2x are measured once.
        keys = [positions.tobytes() for positions in asked]
        for without in (None, foreign):
            new = {key: own for key, own in zip(keys, asked, strict=True) if (without, key) not in self._known}
            if not new:
                continue
            rows, positions = np.tile(np.arange(len(self._power)), len(new)), np.concatenate(list(new.values()))
            if without is None:
                lines = place_lines(positions, self._usable[rows], self.settings)
                height, peak = line_excess(self._power, rows, lines)
                noise, limit = noise_by_width(np.where(lines.resolved, lines.stop - lines.first, 1), self.settings)
                height -= noise
                above = np.where(np.isnan(height), np.nan, (height > limit).astype(np.float64))
            else:
                parts = zip(*(self._known[None, key] for key in new), strict=True)
                height, above, peak = (np.concatenate(part) for part in parts)
                self._explain((height, above, peak), positions, rows, without)
            shape = len(new), len(self._power)
            readings = zip(height.reshape(shape), above.reshape(shape), peak.reshape(shape), strict=True)
            self._known |= zip(((without, key) for key in new), readings, strict=True)
        return [self._known[foreign, key] for key in keys]

    def _explain(self, read: _Reading, positions: Vector, rows: Bins, foreign: tuple[_Foreign, ...]) -> None:
        """Where what stands out is a flank or a foreign line's peak, read what else is in the search band, in place.

        Of each line only the nearest foreign ones below and above are looked at.
        """
        height, above, peak = read
        clear = np.flatnonzero(above == 1.0)
        own, position, highest = rows[clear], positions[clear], peak[clear]
        lines = place_lines(position, self._usable[own], self.settings)
        first, stop = lines.first, lines.stop
        gaps = []
        for other in foreign:
            for order in other.beside(position / self._turns[own], own):
                line = order * self._turns[own]
                near = np.flatnonzero((line > first - GUARD_BINS) & (line < stop - 1 + GUARD_BINS))
                gap = np.zeros((2, len(own)), dtype=np.int64)
                gap[:, near] = self._peak_of(line[near], own[near])
                gaps.append(gap)
        # The highest bin of a flank is the one at the end of the search band.
        explained = _any_holds(gaps, highest)
        maybe = np.flatnonzero(explained | (highest == first) | (highest == stop - 1))
        flanks = self._flanks(position[maybe], first[maybe], stop[maybe], own[maybe])
        some = explained[maybe] | _any_holds(flanks, highest[maybe])
        again = maybe[some]
        if not len(again):
            return
        gaps = [gap[:, again] for gap in gaps] + [gap[:, some] for gap in flanks]
        bins = first[again, None] + np.arange(int((stop - first)[again].max()))
        left = bins < stop[again, None]
        for gap in gaps:
            left &= (bins < gap[0, :, None]) | (bins >= gap[1, :, None])
        changed, each = clear[again], np.arange(len(again))
        power = np.where(left, self._power[own[again, None], np.minimum(bins, self._power.shape[-1] - 1)], 0.0)
        best, before = power.argmax(axis=-1), self._power[own[again], highest[again]].astype(np.float64)
        (noise, _), (less, limit) = (
            noise_by_width(np.maximum(width, 1), self.settings) for width in ((stop - first)[again], left.sum(axis=-1))
        )
        # The floor is as it was, and so is known from the first reading.
        height[changed] += 10.0 * log10_or_nan(power[each, best] / before) + noise - less
        above[changed] = np.where(np.isnan(height[changed]), np.nan, height[changed] > limit)
        peak[changed] = bins[each, best]

    def _flanks(self, position: Vector, first: Bins, stop: Bins, rows: Bins) -> list[Bins]:
        """Return the bins, first and stop, at the lower and the upper end of search bands that fall from a peak beside.

        None where that peak is at most half a bin outside, for its place is known no better, and where flanks are all.
        """
        last = self._power.shape[-1] - 1
        half = np.maximum(self.settings.tolerance * position, 1.0)
        numbers = []
        for end, inwards in ((first, 1), (stop - 1, -1)):
            outside, further = (np.clip(end - k * inwards, 0, last) for k in (1, 2))
            is_peak = self._power[rows, outside] >= self._power[rows, further]
            away = np.abs(peak_positions(self._power, rows, outside) - position)
            bins = end[:, None] + inwards * np.arange(-1, int((stop - first).max(initial=0)))
            power = self._power[rows[:, None], np.clip(bins, 0, last)]
            inside = (bins[:, 1:] >= first[:, None]) & (bins[:, 1:] < stop[:, None])
            falling = np.cumprod((power[:, 1:] < power[:, :-1]) & inside, axis=-1).sum(axis=-1)
            numbers.append(np.where(is_peak & (away <= half + 0.5), 0, falling))
        lower, upper = (np.where(sum(numbers) < stop - first, number, 0) for number in numbers)
        return [np.stack((first, first + lower)), np.stack((stop - upper, stop))]

    def _peak_of(self, position: Vector, rows: Bins) -> Bins:
        """Return the bins, first and stop, of the main lobe of a peak that lies at each position; 0, 0 if none does."""
        last = self._power.shape[-1] - 1
        nearest = np.rint(position).astype(np.int64)
        bins = np.clip(nearest[:, None] + np.arange(-2, 3), 0, last)
        around = self._power[rows[:, None], bins]
        best = around[:, 1:4].argmax(axis=-1) + 1
        each = np.arange(len(rows))
        peak = nearest + best - 2
        is_peak = (around[each, best] >= around[each, best - 1]) & (around[each, best] >= around[each, best + 1])
        away = np.abs(peak_positions(self._power, rows, np.clip(peak, 0, last)) - position)
        found = is_peak & (away <= 0.5 + self.settings.speed_error * position)
        result: Bins = np.where(found, np.stack((peak - GUARD_BINS, peak + GUARD_BINS + 1)), 0)
        return result
