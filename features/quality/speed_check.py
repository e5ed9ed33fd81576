"""Does the signal contradict the declared speed: a clear comb of shaft lines elsewhere, and none where it should be.

Unbalance, misalignment and a turning load zone leave lines at whole multiples of the true speed (R. B. Randall and J.
Antoni, Mechanical Systems and Signal Processing 25 (2011)); the comb as an estimator of speed: J. Urbanek, T. Barszcz
and J. Antoni, same journal 38 (2013). Only the spectrum counts, not the envelope: cage and bearing have combs there.
A strong defect has its comb in the spectrum as well, so lines at orders that the geometry names are no evidence for
another speed, and neither is any comb where the declared speed has lines of its own.
A wrong sampling rate moves every line by one factor and so looks the same. Without a reference the two cannot be told
apart, and the evidence names both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.kinematics import Orders
from features.quality.quality import Quality
from features.spectra.combs import (
    FIRST_BIN,
    Combs,
    CombSettings,
    candidate_ratios,
    comb_false_alarm,
    fisher,
    measure_combs,
    mesh_false_alarm,
    mesh_lines,
    over_search,
    read_lines,
)
from features.spectra.time_domain import Vector

_MOST_WINDOWS: Final = 8


@dataclass(frozen=True)
class SpeedCheckSettings:
    """When a declared speed counts as contradicted.

    Attributes
    ----------
    harmless : float
        A speed that is off by at most this share is not judged.
    lowest, highest : float
        Speeds, over the declared one, at which another comb is looked for.
    false_alarm : float
        The other comb has to be so improbable in noise, over the whole search.
    margin : float
        And so many times less probable than the comb of the declared speed: dense lines are hit by any comb now and
        then.
    trace : float
        A double or triple of the declared speed is not believed where the lines in between are at most so probable in
        noise: some shafts have strong even lines.
    min_lines : int
        The other comb needs so many lines that are clear by themselves (less than 1 % chance in noise).
    mains_hz, mains_tolerance, mains_harmonics : tuple of float, float, int
        Lines within this share (at least one bin) of one of the first so many harmonics of the mains are no evidence
        for another speed.
    slip, known_false_alarm, line_tolerance : float
        A comb that the geometry names (bearing, other shafts, gear meshes) is looked for within this share of its
        order. Where it is there, that improbable in noise, lines within this share (at least one and a half bins) of
        its multiples are no evidence for another speed.
    own_tolerance, own_lines, own_false_alarm : float, int, float
        Nor is any other comb believed where so many first lines of a speed within this share of the declared one,
        those left out that the other comb or the geometry explains, are so improbable in noise.
    comb : CombSettings

    Raises
    ------
    ValueError
        A value is out of range.
    """

    harmless: float = 0.08
    lowest: float = 0.4
    highest: float = 2.3
    false_alarm: float = 1e-5
    margin: float = 1e-4
    trace: float = 0.1
    min_lines: int = 3
    mains_hz: tuple[float, ...] = (50.0, 60.0)
    mains_tolerance: float = 0.004
    mains_harmonics: int = 8
    slip: float = 0.02
    known_false_alarm: float = 1e-3
    line_tolerance: float = 0.005
    own_tolerance: float = 0.01
    own_lines: int = 4
    own_false_alarm: float = 1e-6
    comb: CombSettings = field(default_factory=CombSettings)

    def __post_init__(self) -> None:
        if not 0 < self.lowest < 1 - self.harmless < 1 + self.harmless < self.highest < math.inf:
            raise ValueError(
                "Wanted 0 < lowest < 1 - harmless < 1 + harmless < highest, got "
                f"{self.lowest!r}, {self.harmless!r}, {self.highest!r}."
            )
        if not (0 < self.false_alarm < 1 and 0 < self.margin < 1 and 0 < self.trace < 1):
            raise ValueError(f"Wanted probabilities between 0 and 1, got {self.false_alarm!r}, {self.margin!r}.")
        if not (all(math.isfinite(f) and f > 0 for f in self.mains_hz) and 0 <= self.mains_tolerance < 0.1):
            raise ValueError(f"Wanted mains_hz above 0 and a small tolerance, got {self.mains_hz!r}.")


@dataclass(frozen=True)
class ShownSpeed:
    """What a signal says of its declared speed.

    Attributes
    ----------
    verdict : (Quality.WRONG_SPEED, str) or None
        With a sentence of evidence. None where nothing contradicts: also where there is no comb at all.
    rpm : float or None
        The speed that the shaft's lines have, where it is off by up to `harmless`. None where the declared one is right
        within `own_tolerance`, has lines of its own, or no other has any.
    """

    verdict: tuple[Quality, str] | None = None
    rpm: float | None = None


def shown_speed(
    windows: NDArray[np.float32],
    *,
    sampling_rate_hz: float,
    declared_rpm: float,
    orders: Orders | None = None,
    settings: SpeedCheckSettings | None = None,
    power: NDArray[np.float32] | None = None,
) -> ShownSpeed:
    """Judge the declared speed of one recording, and measure it.

    A nominal speed is not the one that a motor turns with (slip, load): off by 3 %, all lines of a bearing lie outside
    of their search bands.

    Parameters
    ----------
    windows : float32 array, shape (n, length)
        All windows of one recording at one steady speed.
    sampling_rate_hz : float
        Above 0, declared.
    declared_rpm : float
        Sign ignored.
    orders : Orders, optional
        Lines at its orders are no evidence for another speed. Where it names gear meshes, their lines with sidebands
        are.
    settings : SpeedCheckSettings, optional
    power : float32 array, shape (m, bins), optional
        Power spectra of the `judged_windows`, as of `measure_combs`, where they are there already.

    Notes
    -----
    Another comb counts only in the spectrum itself (unbalance, misalignment), with all lines at the mains left out, and
    only where the comb stands without its every second, third and fifth line: so no divisor of a ball pass frequency is
    taken for a shaft. At half or a third of a declared speed that has its own comb, the lines in between have to be
    stronger than the declared speed's: half orders of a loose or rubbing shaft are weaker.
    """
    s = settings or SpeedCheckSettings()
    combs = measure_combs(
        windows[list(judged_windows(len(windows)))],
        sampling_rate_hz=sampling_rate_hz,
        declared_rpm=declared_rpm,
        highest_ratio=s.highest,
        orders=orders,
        settings=s.comb,
        power=power,
    )
    if combs is None:
        return ShownSpeed()
    masked, known = _without_mains(combs, sampling_rate_hz / windows.shape[1], s), _Known.of(orders, combs, s)
    declared_rpm = abs(declared_rpm)
    verdict = _wrong_speed(masked, combs, mesh_lines(orders), known, declared_rpm, s)
    return ShownSpeed(verdict, None if verdict else _measured(masked, combs, known, declared_rpm, s))


def _wrong_speed(
    masked: Combs, combs: Combs, mesh: tuple[float, ...], known: _Known, declared_rpm: float, s: SpeedCheckSettings
) -> tuple[Quality, str] | None:
    if at_comb := _by_comb(masked, combs, mesh, known, declared_rpm, s):
        return at_comb
    if mesh and (at_mesh := _by_mesh(masked, combs, mesh, known, declared_rpm, s)):
        return at_mesh
    own = candidate_ratios(combs.turns, 1 - s.harmless, 1 + s.harmless, s.comb)
    chance = comb_false_alarm(combs, own, settings=s.comb, at_most=_reachable(s.false_alarm))
    if over_search(float(chance.min()), combs.turns, 1 - s.harmless, 1 + s.harmless, s.comb) > s.false_alarm:
        return None
    ratio = _refine_ratio(combs, _best_of_plateau(own, chance), s.comb.harmonics)
    return _divided(masked, ratio, known, declared_rpm, s)


def _measured(masked: Combs, combs: Combs, known: _Known, declared_rpm: float, s: SpeedCheckSettings) -> float | None:
    near_declared = 1 - s.harmless, 1 + s.harmless
    comb = _another_comb(masked, combs, known, s, within=near_declared, apart=s.own_tolerance)
    if comb is None:
        return None
    ratio, _ = comb
    for harmonics in (2, 4, s.comb.harmonics):  # the higher a line, the nearer the ratio has to be to find it
        ratio = _refine_ratio(masked, ratio, harmonics)
    return declared_rpm * ratio


def judged_windows(n: int) -> range:
    """Return which of a recording's windows are judged: more would add nothing.

    Examples
    --------
    >>> list(judged_windows(20))
    [0, 3, 6, 9, 12, 15, 18]
    """
    return range(0, n, max(1, -(-n // _MOST_WINDOWS)))


def _reachable(chance: float) -> float:
    """A candidate by itself is at least as improbable as among all; a bit more, against rounding."""
    return chance * (1.0 + 1e-9)


@dataclass(frozen=True, eq=False)
class _Known:
    """Combs at orders that the geometry names and the signal shows: each order with all its multiples.

    Attributes
    ----------
    orders, offsets : float64 arrays, shape (f,)
        Lines are at multiples of the order, as it was found, plus the offset: sidebands have one.
    race, short : bool arrays, shape (f,)
        The comb of a race. Sidebands, and the cage whose combs are short: no multiple is a comb's first line.
    turns : float
        As of `Combs`.
    tolerance : float
        As of `SpeedCheckSettings.line_tolerance`.
    """

    orders: Vector
    offsets: Vector
    race: NDArray[np.bool_]
    short: NDArray[np.bool_]
    turns: float
    tolerance: float

    @classmethod
    def of(cls, orders: Orders | None, combs: Combs, s: SpeedCheckSettings) -> _Known:
        """Look for the comb of every order that is named, within the slip of a bearing."""
        o = orders or Orders()
        double_spin = None if o.bsf is None else 2.0 * o.bsf
        found: list[tuple[float, float, bool, bool]] = []
        for order, side, slip in (
            (o.bpfo, o.outer_ring, s.slip),
            (o.bpfi, o.inner_ring, s.slip),
            (o.bsf, None, s.slip),
            (double_spin, o.ftf, s.slip),
            (o.ftf, None, s.slip),
            *((order, None, 0.0) for order in (*o.shafts, *o.gear_mesh)),
        ):
            own = None if order is None else _comb_near(combs, order, slip, s)
            if own is not None:
                found.append((own, 0.0, order in (o.bpfo, o.bpfi), order == o.ftf))
                found += [] if side is None else [(own, -side, False, True), (own, side, False, True)]
            if own is not None and order is not None and o.ftf is not None and order in (o.bsf, double_spin):
                # The cage carries the ball through the load: its multiples come with the lines of a ball.
                found.append((2.0 * o.ftf * own / order, 0.0, False, False))
        columns = np.array(found, dtype=np.float64).reshape(-1, 4).T
        return cls(columns[0], columns[1], columns[2] > 0, columns[3] > 0, combs.turns, s.line_tolerance)

    def explain(self, lines: Vector) -> NDArray[np.bool_]:
        """Return whether each order, of any shape, is a line of a comb that is known.

        A multiple so high that all of them, with their tolerance, cover half of the axis explains nothing; for a cage,
        a quarter: its multiples lie so close that many a shaft's lines are among them.
        """
        return np.asarray(self._explained(lines).any(axis=-1))

    def explain_combs(self, ratios: Vector, harmonics: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which lines of combs are explained, shape (m, harmonics): all of them where the comb's first line is
        at a multiple of a known order or at half of a race's, else each by itself.
        """
        first = (self._explained(ratios) & ~self.short) | (self._explained(2.0 * ratios) & self.race)
        result: NDArray[np.bool_] = self.explain(ratios[:, None] * harmonics) | first.any(axis=-1, keepdims=True)
        return result

    def _explained(self, lines: Vector) -> NDArray[np.bool_]:
        place = lines[..., None] - self.offsets
        multiple = np.maximum(np.rint(place / self.orders), 1.0) * self.orders
        reach = np.maximum(self.tolerance * multiple, 1.5 / self.turns)
        most = np.where(self.short, 8.0, 4.0) * reach
        return np.asarray((np.abs(place - multiple) <= reach) & (most < self.orders))


def _comb_near(combs: Combs, order: float, slip: float, s: SpeedCheckSettings) -> float | None:
    """Return where the comb of an order is, within its slip; None where the signal does not show it.

    A comb that may not slip has to be as sure as one at another speed: it is found by chance at a wrong speed, too.
    """
    half, likely = max(slip * order, 1.0 / combs.turns), s.known_false_alarm if slip else s.false_alarm
    ratios = candidate_ratios(combs.turns, order - half, order + half, s.comb)
    chance = comb_false_alarm(combs, ratios, settings=s.comb)
    if over_search(float(chance.min()), combs.turns, order - half, order + half, s.comb) > likely:
        return None
    return _refine_ratio(combs, _best_of_plateau(ratios, chance), s.comb.harmonics)


def _by_comb(
    masked: Combs, combs: Combs, mesh: tuple[float, ...], known: _Known, declared_rpm: float, s: SpeedCheckSettings
) -> tuple[Quality, str] | None:
    """Look for a comb of shaft lines at another speed."""
    comb = _another_comb(masked, combs, known, s, within=(s.lowest, s.highest), apart=s.harmless)
    if comb is None:
        return None
    ratio, chance = comb
    return None if _is_multiple(combs, ratio, mesh, s) else _verdict(masked, ratio, chance, declared_rpm, s)


def _another_comb(
    masked: Combs, combs: Combs, known: _Known, s: SpeedCheckSettings, *, within: tuple[float, float], apart: float
) -> tuple[float, float] | None:
    """Return the speed of another comb of shaft lines, over the declared one, and how probable noise makes it.

    It is looked for between the two speeds `within`, and lies off the declared speed by more than the share `apart`.
    None where there is no such comb, or where the declared speed has one as well.
    """
    harmonics = np.arange(1, s.comb.harmonics + 1)
    ratios = candidate_ratios(combs.turns, *within, s.comb)
    chance = comb_false_alarm(masked, ratios, settings=s.comb, at_most=_reachable(s.false_alarm))
    likely = (np.abs(ratios - 1.0) > apart) & (chance <= s.false_alarm)
    ratios, chance = ratios[likely], chance[likely]
    explained = known.explain_combs(ratios, harmonics)
    values = read_lines(masked.evidence, ratios[:, None] * harmonics * combs.turns)
    alone = np.maximum(chance, fisher(np.where(explained, np.nan, values)) * explained.any(axis=-1))
    surely = over_search(float(alone.min(initial=1.0)), combs.turns, *within, s.comb)
    if surely > s.false_alarm:
        return None
    ratio = _best_of_plateau(ratios, alone)
    left = harmonics[~known.explain_combs(np.array([ratio]), harmonics)[0]]
    if _clear_lines(masked, ratio, left) < s.min_lines or _has_own_lines(combs, ratio, known, s):
        return None
    near = candidate_ratios(combs.turns, 1 - apart, 1 + apart, s.comb)
    own = float(comb_false_alarm(combs, near, settings=s.comb).min())
    return None if chance[alone.argmin()] > s.margin * own else (ratio, surely)


def _has_own_lines(combs: Combs, ratio: float, known: _Known, s: SpeedCheckSettings) -> bool:
    """Return whether the declared speed has lines that neither a comb at another speed nor the geometry explains."""
    low, high = 1 - s.own_tolerance, 1 + s.own_tolerance
    lines = candidate_ratios(combs.turns, low, high, s.comb)[:, None] * np.arange(1, s.own_lines + 1)
    other = np.abs(lines - ratio * np.maximum(np.rint(lines / ratio), 1.0)) <= 2.0 / combs.turns
    values = np.where(other | known.explain(lines), np.nan, read_lines(combs.evidence, lines * combs.turns))
    return over_search(float(fisher(values).min()), combs.turns, low, high, s.comb) <= s.own_false_alarm


def _by_mesh(
    masked: Combs, combs: Combs, mesh: tuple[float, ...], known: _Known, declared_rpm: float, s: SpeedCheckSettings
) -> tuple[Quality, str] | None:
    """Look for the gear mesh, with its sidebands, at another speed; the search is finer by the mesh's order."""
    step = 0.5 / (max(mesh) * combs.turns)
    ratios = np.arange(s.lowest, s.highest, step)
    near = np.abs(ratios - 1.0) <= s.harmless
    others = ratios[~near]
    n_others = others.size
    chance = mesh_false_alarm(masked, ratios, mesh, at_most=_reachable(s.false_alarm / n_others))[~near]
    read = np.array([1.0, 2.0, 3.0, *(line + side for line in mesh for side in (-1.0, 0.0, 1.0))])
    likely = chance <= s.false_alarm
    others, chance = others[likely], chance[likely]
    explained = known.explain_combs(others, read)
    values = read_lines(masked.evidence, others[:, None] * read * combs.turns)
    alone = np.maximum(chance, fisher(np.where(explained, np.nan, values)) * explained.any(axis=-1))
    surely = float(alone.min(initial=1.0)) * n_others
    if surely > s.false_alarm:
        return None
    ratio = _best_of_plateau(others, alone)
    lines = _clear_lines(masked, ratio, read[~known.explain_combs(np.array([ratio]), read)[0]])
    own = float(mesh_false_alarm(combs, ratios[near], mesh).min())
    if chance[alone.argmin()] > s.margin * own or lines <= s.min_lines or _is_multiple(combs, ratio, mesh, s):
        return None
    if _has_own_lines(combs, ratio, known, s):
        return None
    return Quality.WRONG_SPEED, (
        f"the gear mesh with its sidebands is at multiples of {ratio * declared_rpm:.0f} rpm and not of the declared "
        f"{declared_rpm:.0f} rpm ({_sure(surely)}): the speed, or else the sampling rate, is off by a factor "
        f"{ratio:.2f}"
    )


def _sure(chance: float) -> str:
    """Say how probable noise makes a finding, over the whole search: no more often than in one of so many searches."""
    return f"in noise less than once in {10.0 ** min(math.floor(-math.log10(max(chance, 1e-300))), 12):.0e} recordings"


def _without_mains(combs: Combs, bin_hz: float, s: SpeedCheckSettings) -> Combs:
    """Forget lines at harmonics of the mains: they are missing, neither for nor against a candidate."""
    frequency = np.arange(combs.evidence.size) * bin_hz
    evidence = combs.evidence.copy()
    for mains in s.mains_hz:
        harmonic = np.clip(np.rint(frequency / mains), 1.0, s.mains_harmonics) * mains
        evidence[np.abs(frequency - harmonic) <= np.maximum(s.mains_tolerance * harmonic, bin_hz)] = np.nan
    return replace(combs, evidence=evidence)


def _divided(
    combs: Combs, own: float, known: _Known, declared_rpm: float, s: SpeedCheckSettings
) -> tuple[Quality, str] | None:
    """Judge a declared speed that has a comb: is it only every second or third line of the true one?"""
    for divisor in (2, 3):
        ratio = own / divisor
        between = np.array([k for k in range(1, s.comb.harmonics + 1) if k % divisor])
        between = between[~known.explain_combs(np.array([ratio]), between)[0]]
        positions = np.rint(ratio * between * combs.turns).astype(np.int64)
        inside = positions < combs.evidence.size
        chance = float(fisher(np.where(inside, combs.evidence[np.where(inside, positions, 0)], np.nan)[None, :])[0])
        among = np.array([k for k in range(1, s.comb.harmonics + 1) if k % divisor == 0])
        if (
            chance <= s.false_alarm
            and _clear_lines(combs, ratio, between) >= s.min_lines
            and _power(combs, ratio, between) > _power(combs, ratio, among)
        ):
            return _verdict(combs, ratio, chance, declared_rpm, s)
    return None


def _is_multiple(combs: Combs, ratio: float, mesh: tuple[float, ...], s: SpeedCheckSettings) -> bool:
    """Return whether a speed is a double or a triple of the declared one, of whose other lines there is a trace."""
    multiple = round(ratio)
    if multiple < 2 or abs(ratio / multiple - 1.0) > s.harmless / 2:
        return False
    own = ratio / multiple
    between = [float(k) for k in range(1, s.comb.harmonics + 1) if k % multiple]
    sides = [line + side for line in mesh for side in (-1.0, 1.0)]
    chance = fisher(read_lines(combs.evidence, own * np.array(between + sides) * combs.turns)[None, :])
    return bool(chance[0] <= s.trace)


def _power(combs: Combs, ratio: float, orders: NDArray[np.int64]) -> float:
    positions = np.rint(ratio * orders * combs.turns).astype(np.int64)
    return float(combs.power[positions[positions < combs.power.size]].sum())


def _clear_lines(combs: Combs, ratio: float, orders: NDArray[Any]) -> int:
    """Return how many lines by themselves have less than 1 % chance in noise."""
    positions = np.rint(ratio * orders * combs.turns).astype(np.int64)
    return int(np.count_nonzero(combs.evidence[positions[positions < combs.evidence.size]] > -math.log(0.01)))


def _verdict(
    combs: Combs, ratio: float, chance: float, declared_rpm: float, s: SpeedCheckSettings
) -> tuple[Quality, str]:
    ratio = _refine_ratio(combs, ratio, s.comb.harmonics)
    positions = ratio * np.arange(1, s.comb.harmonics + 1) * combs.turns
    power, evidence = read_lines(combs.power, positions), read_lines(combs.evidence, positions)
    clear = int(np.count_nonzero(np.nan_to_num(evidence) > -math.log(0.01)))
    db = 10.0 * np.log10(np.maximum(power[np.isfinite(power)], 1e-3))
    excess_db = float(db.mean()) if db.size else 0.0
    return Quality.WRONG_SPEED, (
        f"{clear} shaft lines at multiples of {ratio * declared_rpm:.0f} rpm, {excess_db:.0f} dB over the noise, and "
        f"not of the declared {declared_rpm:.0f} rpm ({_sure(chance)}): the speed, or else the sampling rate, is off "
        f"by a factor {ratio:.2f}"
    )


def _best_of_plateau(ratios: Vector, chance: Vector) -> float:
    """Return the middle of the run of best candidates: several read the same bins."""
    best = int(np.argmin(chance))
    stop = best
    while stop + 1 < ratios.size and chance[stop + 1] == chance[best]:
        stop += 1
    return float((ratios[best] + ratios[stop]) / 2.0)


def _refine_ratio(combs: Combs, ratio: float, harmonics: int) -> float:
    """Move a candidate to where its clear lines have their peaks: the mean of peak over harmonic, weighted by harmonic.

    Each peak is the centre of gravity of the highest of three bins around the candidate's line and its two neighbours.
    Where no line is clear the candidate stays.
    """
    weighted, weight = 0.0, 0.0
    for k in range(1, harmonics + 1):
        nearest = round(k * ratio * combs.turns)
        if nearest - 2 < FIRST_BIN or nearest + 2 >= combs.evidence.size:
            continue
        peak = nearest - 1 + int(np.argmax(combs.power[nearest - 1 : nearest + 2]))
        if combs.evidence[peak] <= -math.log(0.01):
            continue
        around = np.sqrt(combs.power[peak - 1 : peak + 2])
        weighted += peak + float((around[2] - around[0]) / around.sum())
        weight += k
    return weighted / weight / combs.turns if weight else ratio
