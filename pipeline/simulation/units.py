"""The properties of one physical unit: its level, noise colour, imbalance, mesh, slip and structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.simulation.structure import Structure, draw_structure
from pipeline.simulation.worlds import Bearing, Range, World

Array = npt.NDArray[np.float64]

HARMONICS = 6
MESH_HARMONICS = 3
_BLEMISHES = ("outer_race", "inner_race", "ball", "", "", "", "", "")


@dataclass(frozen=True)
class SimulatedUnit:
    """One unit as it was built and mounted. Amplitudes are RMS relative to the unit's noise, if not stated otherwise.

    Attributes
    ----------
    bearing : Bearing
        Geometry.
    level_g : float
        Noise RMS of the healthy unit at the reference load, speed and temperature, g; includes the sensor's gain.
    noise_colour, noise_floor, noise_hump : float
        Exponent of 1/f^x; white share; share shaped by the structure's own response.
    noise_beat, beat_phase : float
        Modulation of the noise by the shaft (depth) and its phase (turns).
    harmonics, harmonic_phases : ndarray, shape (HARMONICS,)
        Shaft harmonics 1, 2, ...
    mesh, mesh_phases : ndarray, shape (MESH_HARMONICS,)
        Gear mesh harmonics 1, 2, ...
    mesh_shaft_depth, mesh_wheel_depth : float
        Modulation of the mesh by pinion and wheel run-out: the sidebands.
    ripple, ripple_order : float
        Torque ripple of the drive and its order (6 x pole pairs).
    fault_ratio : float
        RMS of a fault's impulse train at severity 1.
    blemish_mode, blemish : str, float
        A stable mark from assembly that a healthy unit may have ('' for none), and its strength as a severity.
    slip_mean, slip_std, load_zone : float
        See `pipeline.simulation.faults`.
    clack_rate : float
        Handling clacks a second.
    warmth_k : float
        Temperature above that of its neighbours, K.
    drift_depth, drift_days, drift_phase : float
        Slow change of the level: depth, period in days, phase.
    speed_trim, speed_wander : float
        Deviation from the program's speed, and slow change within a recording (shares).
    structure : Structure
        Modes.
    """

    bearing: Bearing
    level_g: float
    noise_colour: float
    noise_floor: float
    noise_hump: float
    noise_beat: float
    beat_phase: float
    harmonics: Array
    harmonic_phases: Array
    mesh: Array
    mesh_phases: Array
    mesh_shaft_depth: float
    mesh_wheel_depth: float
    ripple: float
    ripple_order: float
    fault_ratio: float
    blemish_mode: str
    blemish: float
    slip_mean: float
    slip_std: float
    load_zone: float
    clack_rate: float
    warmth_k: float
    drift_depth: float
    drift_days: float
    drift_phase: float
    speed_trim: float
    speed_wander: float
    structure: Structure


def _split(rng: np.random.Generator, total: float, count: int) -> Array:
    """Return amplitudes of harmonics at random, smaller for higher ones, with a given total RMS."""
    raw = rng.lognormal(0.0, 0.5, count) / np.arange(1, count + 1)
    return np.asarray(total * raw / np.sqrt(np.sum(raw**2)), dtype=np.float64)


def draw_unit(rng: np.random.Generator, world: World, bearing: Bearing) -> SimulatedUnit:
    """Draw a unit of a world.

    Parameters
    ----------
    rng : numpy.random.Generator
        Random stream of the unit.
    world : World
        Ranges.
    bearing : Bearing
        Geometry of its axis.

    Returns
    -------
    SimulatedUnit
        The unit; differences between its channels are drawn elsewhere.
    """

    def within(bounds: Range) -> float:
        return float(rng.uniform(*bounds))

    low, high = np.log(world.level_g)
    return SimulatedUnit(
        bearing=bearing,
        level_g=float(np.exp(rng.uniform(low, high))),
        noise_colour=within(world.noise_colour),
        noise_floor=within((0.3, 0.7)),
        noise_hump=within((0.3, 1.2)),
        noise_beat=within(world.noise_beat),
        beat_phase=rng.uniform(),
        harmonics=_split(rng, within(world.harmonic), HARMONICS),
        harmonic_phases=rng.uniform(0.0, 2.0 * np.pi, HARMONICS),
        mesh=_split(rng, within(world.mesh), MESH_HARMONICS),
        mesh_phases=rng.uniform(0.0, 2.0 * np.pi, MESH_HARMONICS),
        mesh_shaft_depth=within((0.02, 0.2)),
        mesh_wheel_depth=within((0.02, 0.15)),
        ripple=within((0.05, 0.2)),
        ripple_order=float(6 * rng.integers(3, 6)),
        fault_ratio=within(world.fault_ratio),
        blemish_mode=str(rng.choice(_BLEMISHES)),
        blemish=within(world.blemish),
        slip_mean=within(world.slip_mean),
        slip_std=within(world.slip_std),
        load_zone=within(world.load_zone),
        clack_rate=within(world.clack_rate),
        warmth_k=within((-3.0, 3.0)),
        drift_depth=within((0.0, 0.08)),
        drift_days=within((6.0, 40.0)),
        drift_phase=within((0.0, 2.0 * np.pi)),
        speed_trim=within((-0.03, 0.03)),
        speed_wander=within(world.speed_wander),
        structure=draw_structure(rng, world.resonance),
    )
