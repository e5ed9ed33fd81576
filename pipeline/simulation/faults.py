"""How a fault grows over days, and when in a recording it strikes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.simulation.settings import DETECTABLE_SEVERITY
from pipeline.simulation.worlds import Bearing

Array = npt.NDArray[np.float64]


def visible_share(growth: str, shape: float) -> float:
    """Share of a fault's life, onset to full severity, after which it is visible; see `FaultCourse`."""
    if growth == "power":
        return float(DETECTABLE_SEVERITY ** (1.0 / shape))
    return math.log1p(DETECTABLE_SEVERITY * math.expm1(shape)) / shape


@dataclass(frozen=True)
class FaultCourse:
    """Severity of one unit's fault over the days: slowly first, then faster.

    Attributes
    ----------
    mode : str
        Failure mode (`pipeline.labels.words.Mode`).
    visible_day, full_day : float
        Days on which severity passes `DETECTABLE_SEVERITY` and reaches 1.
    growth : str
        `power`: x^shape; `exponential`: (e^(shape x) - 1) / (e^shape - 1); x from 0 at onset to 1 at full_day.
    shape : float
        See growth.
    """

    mode: str
    visible_day: float
    full_day: float
    growth: str
    shape: float

    @property
    def onset_day(self) -> float:
        """Day on which severity leaves 0."""
        share = visible_share(self.growth, self.shape)
        return self.visible_day - (self.full_day - self.visible_day) * share / (1.0 - share)

    def severity(self, day: float) -> float:
        """Severity, 0 to 1, on a (fractional) day of the run."""
        x = (day - self.onset_day) / (self.full_day - self.onset_day)
        x = min(max(x, 0.0), 1.0)
        if self.growth == "power":
            return float(x**self.shape)
        return math.expm1(self.shape * x) / math.expm1(self.shape)


@dataclass(frozen=True)
class Impulses:
    """Strikes of a local flaw within a recording.

    Attributes
    ----------
    turns : ndarray
        Shaft angle of each strike, turns since the start of the lead-in.
    weights : ndarray
        Relative strength, 1 in the middle of the load zone.
    """

    turns: Array
    weights: Array


def slipping_instants(
    rng: np.random.Generator, *, order: float, turns: float, slip_mean: float, slip_std: float
) -> Array:
    """Shaft angles at which elements strike a flaw, with slip.

    Elements roll with a little random slip, so intervals are independent and their deviations add up: the train is
    a renewal process and has no fixed phase (Antoni & Randall 2003, "A stochastic model for simulation and
    diagnostics of rolling element bearings with localized faults", J. Vib. Acoust. 125, eq. 3).

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the slip and of the first strike's place.
    order : float
        Strikes per shaft turn without slip.
    turns : float
        Shaft turns to cover.
    slip_mean, slip_std : float
        Mean and standard deviation of an interval's excess, as a share of the interval.

    Returns
    -------
    ndarray
        Increasing angles in turns, 0 <= angle < turns.
    """
    count = int(turns * order * 1.1) + 24
    intervals = (1.0 + slip_mean + slip_std * rng.standard_normal(count)) / order
    angles = rng.uniform(0.0, 1.0 / order) + np.concatenate(([0.0], np.cumsum(intervals)))
    return np.asarray(angles[angles < turns], dtype=np.float64)


def load_zone_weight(turns: Array, epsilon: float) -> Array:
    """Load on a contact by its angle from the middle of the load zone.

    Stribeck's distribution as McFadden & Smith use it (1984, "Model for the vibration produced by a single point
    defect in a rolling element bearing", J. Sound Vib. 96, eq. 2): (1 - (1 - cos psi) / (2 epsilon))^(3/2) within
    the zone, 0 outside.
    """
    inside = 1.0 - (1.0 - np.cos(2.0 * np.pi * turns)) / (2.0 * epsilon)
    return np.asarray(np.maximum(inside, 0.0) ** 1.5, dtype=np.float64)


def strikes(
    rng: np.random.Generator,
    *,
    mode: str,
    bearing: Bearing,
    turns: float,
    slip_mean: float,
    slip_std: float,
    load_zone: float,
) -> Impulses:
    """Strikes of a flaw of some mode while the shaft makes so many turns.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of slip, start angles and strength.
    mode : str
        Failure mode. A broken tooth strikes once a turn and does not slip; a flaw on a ball strikes both races in
        turn and moves with the cage through the load zone; a cage strikes once a cage turn, roughly.
    bearing : Bearing
        The geometry.
    turns : float
        Shaft turns to cover.
    slip_mean, slip_std : float
        See `slipping_instants`.
    load_zone : float
        Stribeck's epsilon.

    Returns
    -------
    Impulses
        Angles and strengths.
    """
    orders = {
        "outer_race": bearing.bpfo,
        "inner_race": bearing.bpfi,
        "ball": 2.0 * bearing.bsf,
        "cage": bearing.ftf,
        "gear_tooth": 1.0,
    }
    if mode == "gear_tooth":
        slip_mean, slip_std = 0.0, 0.0
    if mode == "cage":
        # Pockets have play: a cage wanders several times as much as the elements it guides.
        slip_std *= 4.0
    angles = slipping_instants(rng, order=orders[mode], turns=turns, slip_mean=slip_mean, slip_std=slip_std)
    phase = rng.uniform()
    scatter = np.exp(0.15 * rng.standard_normal(angles.size))
    if mode == "inner_race":
        weights = load_zone_weight(angles + phase, load_zone)
    elif mode == "ball":
        weights = 0.2 + 0.8 * load_zone_weight(angles * bearing.ftf + phase, load_zone)
        # The inner race answers through the shaft, the outer one directly: every other strike is weaker.
        weights[1::2] *= rng.uniform(0.55, 0.85)
    elif mode == "outer_race":
        weights = 1.0 + rng.uniform(0.0, 0.2) * np.cos(2.0 * np.pi * (angles + phase))
    else:
        weights = np.ones(angles.size)
    return Impulses(turns=angles, weights=np.asarray(weights * scatter, dtype=np.float64))
