"""The speed of the shaft as the signal itself tells it: where a comb of shaft harmonics stands above the noise.

A declared speed may be wrong: nominal instead of measured, another program's, off by a factor. Unbalance, misalignment
and a turning load zone leave lines at whole multiples of the true speed, in the spectrum and in the squared envelope
spectrum (SES). Every candidate speed is judged by Fisher's combined test over its lines, so that the rate of false
alarms in noise is known. Sources: R. A. Fisher, "Statistical Methods for Research Workers" (1925), section 21.1
(combined test); the comb as an estimator of speed: J. Urbanek, T. Barszcz and J. Antoni, "A two-step procedure for
estimation of instantaneous rotational speed with large fluctuations", Mechanical Systems and Signal Processing 38
(2013); R. B. Randall and J. Antoni, same journal 25 (2011) (bearing lines in the SES).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.kinematics import Orders
from features.spectra.combs import (
    FIRST_BIN,
    Combs,
    CombSettings,
    candidate_ratios,
    comb_false_alarm,
    fisher,
    measure_combs,
    over_search,
    read_lines,
)
from features.spectra.time_domain import Vector


@dataclass(frozen=True)
class SpeedEstimate:
    """What the signal says about the speed.

    Attributes
    ----------
    ratio : float
        Found speed over declared speed.
    rpm : float
        Found speed.
    false_alarm : float
        Probability that noise alone gives a comb this clear anywhere in the search, 0 to 1 (at least 1e-300).
    lines : int
        Lines that by themselves have less than 1 % chance in noise.
    excess_db : float
        Mean over the lines of power over expected noise.
    """

    ratio: float
    rpm: float
    false_alarm: float
    lines: int
    excess_db: float


def estimate_speed(
    windows: NDArray[np.float32],
    *,
    sampling_rate_hz: float,
    declared_rpm: float,
    orders: Orders | None = None,
    tolerance: float = 0.06,
    settings: CombSettings | None = None,
) -> SpeedEstimate | None:
    """Find the true speed near a declared one.

    Parameters
    ----------
    windows : float32 array, shape (n, length)
        Windows of one recording at one steady speed; all are used together.
    sampling_rate_hz : float
        Above 0, declared.
    declared_rpm : float
        Sign ignored.
    orders : Orders, optional
        With it, harmonics 1 to 3 of each bearing line in the SES are tried as further evidence. A bearing slips, so a
        speed that rests on its lines alone may be 1 to 2 % too low.
    tolerance : float
        Speeds from `1 - tolerance` to `1 + tolerance` of the declared one are tried, between 0 and 0.5.
    settings : CombSettings, optional

    Returns
    -------
    SpeedEstimate or None
        None where no comb is clearer than `false_alarm` allows: there is no line, or too few turns.

    Raises
    ------
    ValueError
        The windows are not two-dimensional float32, or rate or tolerance are out of range.
    """
    settings = settings or CombSettings()
    _check(windows, sampling_rate_hz)
    if not 0 < tolerance <= 0.5:
        raise ValueError(f"The tolerance must be above 0 and at most 0.5, got {tolerance!r}.")
    low, high = 1.0 - tolerance, 1.0 + tolerance
    combs = measure_combs(
        windows,
        sampling_rate_hz=sampling_rate_hz,
        declared_rpm=declared_rpm,
        highest_ratio=high,
        orders=orders,
        settings=settings,
    )
    if combs is None:
        return None
    ratios = candidate_ratios(combs.turns, low, high, settings)
    chances = [comb_false_alarm(combs, ratios, settings=settings)]
    known = () if orders is None else (orders.bpfo, orders.bpfi, None if orders.bsf is None else 2 * orders.bsf)
    for order in known:
        if order is not None and combs.envelope.size:
            chances.append(fisher(_with_bearing(combs, ratios, order, settings)))
    family = int(np.argmin([chance.min() for chance in chances]))
    best = best_of_plateau(ratios, chances[family])
    chance = over_search(len(chances) * float(chances[family].min()), combs.turns, low, high, settings)
    if chance > settings.false_alarm:
        return None
    return describe(combs, refine_ratio(combs, best, settings), abs(declared_rpm), chance, settings)


def _with_bearing(combs: Combs, ratios: Vector, order: float, settings: CombSettings) -> Vector:
    shaft = read_lines(combs.raw, ratios[:, None] * np.arange(1, settings.harmonics + 1) * combs.turns)
    bearing = read_lines(combs.envelope, ratios[:, None] * order * np.arange(1, 4) * combs.turns)
    return np.concatenate((shaft, bearing), axis=1)


def best_of_plateau(ratios: Vector, chance: Vector) -> float:
    """Return the middle of the run of best candidates: several read the same bins."""
    best = int(np.argmin(chance))
    stop = best
    while stop + 1 < ratios.size and chance[stop + 1] == chance[best]:
        stop += 1
    return float((ratios[best] + ratios[stop]) / 2.0)


def refine_ratio(combs: Combs, ratio: float, settings: CombSettings) -> float:
    """Move a candidate to where its clear lines have their peaks: the mean of peak over harmonic, weighted by harmonic.

    Each peak is the centre of gravity of the highest of three bins around the candidate's line and its two neighbours.
    Where no line is clear the candidate stays.
    """
    weighted, weight = 0.0, 0.0
    for k in range(1, settings.harmonics + 1):
        nearest = round(k * ratio * combs.turns)
        if nearest - 2 < FIRST_BIN or nearest + 2 >= combs.raw.size:
            continue
        peak = nearest - 1 + int(np.argmax(combs.raw_power[nearest - 1 : nearest + 2]))
        if combs.raw[peak] <= -math.log(0.01):
            continue
        around = np.sqrt(combs.raw_power[peak - 1 : peak + 2])
        weighted += peak + float((around[2] - around[0]) / around.sum())
        weight += k
    return weighted / weight / combs.turns if weight else ratio


def describe(combs: Combs, ratio: float, declared_rpm: float, chance: float, settings: CombSettings) -> SpeedEstimate:
    """Put the figures of one candidate together."""
    positions = ratio * np.arange(1, settings.harmonics + 1) * combs.turns
    power, lines = read_lines(combs.raw_power, positions), read_lines(combs.raw, positions)
    db = 10.0 * np.log10(np.maximum(power[np.isfinite(power)], 1e-3))
    return SpeedEstimate(
        ratio=ratio,
        rpm=ratio * declared_rpm,
        false_alarm=max(chance, 1e-300),
        lines=int(np.count_nonzero(np.nan_to_num(lines) > -math.log(0.01))),
        excess_db=float(db.mean()) if db.size else 0.0,
    )


def _check(windows: NDArray[np.float32], sampling_rate_hz: float) -> None:
    if windows.ndim != 2 or windows.dtype != np.float32:
        raise ValueError(f"Windows must be a 2-D float32 array, got {windows.ndim}-D {windows.dtype}.")
    if not (math.isfinite(sampling_rate_hz) and sampling_rate_hz > 0):
        raise ValueError(f"The sampling rate must be a finite number above 0 Hz, got {sampling_rate_hz!r}.")
