"""Two worlds: the ranges that units are drawn from, the bearings, the programs and the kind of resonance.

World A is for training a model. World B is for judging it: its ranges do not overlap with those of A, its bearings are
different, and its structure has another kind of impulse response (`pipeline.simulation.structure`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from pipeline.simulation.settings import UNSEEN_PROGRAM

Range = tuple[float, float]


@dataclass(frozen=True)
class Bearing:
    """A rolling bearing on the motor shaft, and the pinion beside it.

    Attributes
    ----------
    name : str
        Name of the geometry in `assets.toml`.
    elements : int
        Rolling elements.
    element_mm, pitch_mm : float
        Diameter of an element, and of the circle through their centres.
    contact_deg : float
        Contact angle.
    pinion_teeth : int
        Teeth of the pinion on the same shaft: mesh order of the first reducer stage.
    stage_ratio : float
        Turns of the pinion for a turn of its wheel.
    source : str
        Where the dimensions come from.
    """

    name: str
    elements: int
    element_mm: float
    pitch_mm: float
    contact_deg: float
    pinion_teeth: int
    stage_ratio: float
    source: str

    @property
    def _closeness(self) -> float:
        return self.element_mm / self.pitch_mm * math.cos(math.radians(self.contact_deg))

    @property
    def ftf(self) -> float:
        """Turns of the cage per shaft turn, with the outer race at rest (Randall & Antoni 2011, eq. 3)."""
        return 0.5 * (1.0 - self._closeness)

    @property
    def bpfo(self) -> float:
        """Elements passing a point of the outer race per shaft turn (ibid., eq. 1)."""
        return self.elements * self.ftf

    @property
    def bpfi(self) -> float:
        """Elements passing a point of the inner race per shaft turn (ibid., eq. 2)."""
        return self.elements * (1.0 - self.ftf)

    @property
    def bsf(self) -> float:
        """Spins of an element per shaft turn (ibid., eq. 4); a flaw on it hits a race twice a spin."""
        return 0.5 * self.pitch_mm / self.element_mm * (1.0 - self._closeness**2)


@dataclass(frozen=True)
class Program:
    """A motion program: the part of the cycle with constant speed in which the axis is recorded.

    Attributes
    ----------
    name : str
        Name in the log.
    speed_rpm : float
        Motor speed of the segment.
    load : float
        Share of the rated torque.
    tilt : float
        Change of the noise colour (exponent of 1/f) that this motion brings.
    ripple : float
        Torque ripple of the drive relative to the unit's usual one.
    """

    name: str
    speed_rpm: float
    load: float
    tilt: float = 0.0
    ripple: float = 1.0


@dataclass(frozen=True)
class World:
    """Ranges (low, high) that units and recordings are drawn from, uniformly if not stated otherwise.

    Attributes
    ----------
    resonance : str
        `modes` or `continuum`, see `pipeline.simulation.structure`.
    growth : str
        `power` or `exponential`, see `pipeline.simulation.faults.FaultCourse`.
    bearings : tuple of Bearing
        Of the main axes (first half) and of the wrist axes (second half).
    programs : tuple of Program
        Programs of all robots; no robot runs `unseen_program` before the findings end.
    level_g : Range
        Broadband vibration of a healthy unit at reference load and speed, g RMS (log-uniform).
    noise_colour : Range
        Exponent of the 1/f^x power density.
    noise_beat : Range
        Depth of the modulation of the noise by shaft rotation, also in health.
    harmonic, mesh : Range
        RMS of the shaft harmonics, and of the gear mesh, relative to that of the noise.
    fault_ratio : Range
        RMS of the impulse train at severity 1 relative to that of the noise.
    blemish : Range
        Strength of the stable mark that some healthy units have, as a severity; always below the detectable level.
    slip_mean, slip_std : Range
        Mean slip, and the random part of every interval (share of it).
    load_zone : Range
        Stribeck's load zone parameter epsilon.
    growth_shape : Range
        Exponent of the power law, or rate of the exponential.
    speed_wander : Range
        Slow change of speed within a recording, share (amplitude).
    clack_rate : Range
        Handling clacks a second.
    adc_step_g : float
        Resolution of the converter, g.
    """

    resonance: str
    growth: str
    bearings: tuple[Bearing, Bearing]
    programs: tuple[Program, ...]
    unseen_program: Program
    level_g: Range
    noise_colour: Range
    noise_beat: Range
    harmonic: Range
    mesh: Range
    fault_ratio: Range
    blemish: Range
    slip_mean: Range
    slip_std: Range
    load_zone: Range
    growth_shape: Range
    speed_wander: Range
    clack_rate: Range
    adc_step_g: float

    def program(self, name: str) -> Program:
        """Return a program of this world by its name; KeyError where there is none."""
        for program in (*self.programs, self.unseen_program):
            if program.name == name:
                return program
        raise KeyError(name)


_CATALOGUE = "orders computed from catalogue dimensions (elements, element and pitch diameter, contact angle) of a {}"

WORLDS: Final[dict[str, World]] = {
    "A": World(
        resonance="modes",
        growth="power",
        bearings=(
            Bearing("main_6205", 9, 7.94, 39.04, 0.0, 12, 3.0, _CATALOGUE.format("6205 deep groove ball bearing")),
            Bearing("wrist_6203", 8, 6.746, 28.5, 0.0, 17, 2.4, _CATALOGUE.format("6203 deep groove ball bearing")),
        ),
        programs=(
            Program("weld", 1500.0, 0.45),
            Program("pick", 1900.0, 0.3),
            Program("palletize", 2300.0, 0.75),
            Program("transfer", 2800.0, 0.6),
        ),
        unseen_program=Program(UNSEEN_PROGRAM, 900.0, 0.12, tilt=0.7, ripple=4.0),
        level_g=(0.04, 0.2),
        noise_colour=(0.1, 0.7),
        noise_beat=(0.0, 0.12),
        harmonic=(0.3, 1.0),
        mesh=(0.3, 0.9),
        fault_ratio=(0.6, 1.2),
        blemish=(0.02, 0.1),
        slip_mean=(0.001, 0.006),
        slip_std=(0.002, 0.01),
        load_zone=(0.55, 0.8),
        growth_shape=(1.6, 2.6),
        speed_wander=(0.0002, 0.001),
        clack_rate=(0.02, 0.3),
        adc_step_g=16.0 / 32768,
    ),
    "B": World(
        resonance="continuum",
        growth="exponential",
        bearings=(
            Bearing("main_6207", 9, 11.112, 53.5, 0.0, 14, 3.5, _CATALOGUE.format("6207 deep groove ball bearing")),
            Bearing("wrist_7204", 11, 7.938, 33.5, 40.0, 19, 2.1, _CATALOGUE.format("7204 angular contact bearing")),
        ),
        programs=(
            Program("deburr", 1200.0, 0.5),
            Program("sort", 1400.0, 0.25),
            Program("stack", 3000.0, 0.85),
            Program("load", 3300.0, 0.65),
        ),
        unseen_program=Program(UNSEEN_PROGRAM, 800.0, 0.12, tilt=0.6, ripple=4.0),
        level_g=(0.25, 0.9),
        noise_colour=(0.8, 1.3),
        noise_beat=(0.13, 0.25),
        harmonic=(0.1, 0.28),
        mesh=(1.0, 1.6),
        fault_ratio=(1.25, 1.8),
        blemish=(0.11, 0.15),
        slip_mean=(0.007, 0.012),
        slip_std=(0.011, 0.015),
        load_zone=(0.85, 1.2),
        growth_shape=(2.7, 4.0),
        speed_wander=(0.0012, 0.003),
        clack_rate=(0.35, 0.6),
        adc_step_g=64.0 / 2**23,
    ),
}
