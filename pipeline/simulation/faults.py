"""How a fault grows over days, and when its impacts occur in a recording."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.simulation.settings import DETECTABLE_SEVERITY
from pipeline.simulation.worlds import Bearing

Array = npt.NDArray[np.float64]


def visible_share(growth: str, shape: float) -> float:
    """Return the share (0 to 1) of the time from onset to full severity after which a fault is visible."""
    if growth == "power":
        return float(DETECTABLE_SEVERITY ** (1.0 / shape))
    return math.log1p(DETECTABLE_SEVERITY * math.expm1(shape)) / shape


@dataclass(frozen=True)
class FaultCourse:
    """Severity of one unit's fault over the days. It grows slowly at first, then faster.

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
        """Return the severity, 0 to 1, on a (fractional) day of the run."""
        x = (day - self.onset_day) / (self.full_day - self.onset_day)
        x = min(max(x, 0.0), 1.0)
        if self.growth == "power":
            return float(x**self.shape)
        return math.expm1(self.shape * x) / math.expm1(self.shape)


@dataclass(frozen=True)
class Impulses:
    """Impacts of a local flaw in a recording.

    Attributes
    ----------
    turns : ndarray
        Shaft angle of each impact, turns since the start of the lead-in.
    weights : ndarray
        Relative strength, 1 in the middle of the load zone.
    """

    turns: Array
    weights: Array


def slipping_instants(
    rng: np.random.Generator, *, order: float, turns: float, slip_mean: float, slip_std: float
) -> Array:
    """Return the shaft angles at which rolling elements hit a flaw, with slip.

    Elements roll with a little random slip. So intervals are independent and their deviations add up: the pulse train
    is a renewal process and has no fixed phase (Antoni & Randall 2003, "A stochastic model for simulation and
    diagnostics of rolling element bearings with localized faults", J. Vib. Acoust. 125, eq. 3).

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the slip and of the position of the first impact.
    order : float
        Impacts per shaft turn without slip.
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
    """Return the relative load on a contact, 0 to 1, at an angle (turns) from the middle of the load zone.

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
    """Return the impacts of a flaw while the shaft makes a number of turns.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of slip, start angles and strength.
    mode : str
        Failure mode. A broken tooth makes one impact a turn and does not slip. A flaw on a ball hits both races by
        turns and moves with the cage through the load zone. A cage flaw makes about one impact a cage turn.
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
        # Pockets have play: the angle of a cage varies several times as much as that of the elements.
        slip_std *= 4.0
    angles = slipping_instants(rng, order=orders[mode], turns=turns, slip_mean=slip_mean, slip_std=slip_std)
    phase = rng.uniform()
    scatter = np.exp(0.15 * rng.standard_normal(angles.size))
    if mode == "inner_race":
        weights = load_zone_weight(angles + phase, load_zone)
    elif mode == "ball":
        weights = 0.2 + 0.8 * load_zone_weight(angles * bearing.ftf + phase, load_zone)
        # An impact on the inner race reaches the sensor through the shaft, so every other impact is weaker.
        weights[1::2] *= rng.uniform(0.55, 0.85)
    elif mode == "outer_race":
        weights = 1.0 + rng.uniform(0.0, 0.2) * np.cos(2.0 * np.pi * (angles + phase))
    else:
        weights = np.ones(angles.size)
    return Impulses(turns=angles, weights=np.asarray(weights * scatter, dtype=np.float64))
