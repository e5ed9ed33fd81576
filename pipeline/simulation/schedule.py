"""When an axis is recorded, how it runs then, and the severity of its fault."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pipeline.simulation.fleet import AxisPlan, SimulatedInstallation
from pipeline.simulation.seeds import Stream, generator
from pipeline.simulation.settings import DETECTABLE_SEVERITY, UNSEEN_MODE, UNSEEN_PROGRAM, FleetSettings
from pipeline.simulation.signals import Operation
from pipeline.simulation.units import SimulatedUnit
from pipeline.simulation.worlds import WORLDS, Program


@dataclass(frozen=True)
class Appointment:
    """One recording of an axis, all channels together.

    Attributes
    ----------
    day, slot : int
        Day of the run, and number of the recording on that day, both from 0.
    started_at : datetime
        Start, UTC.
    installation : SimulatedInstallation
        The unit on the axis.
    program : Program
        Motion program that the robot runs.
    severity : float
        Severity of the unit's fault, rounded as in the truth, 0 in health.
    sensor_fault : str
        Sensor fault, '' for none.
    """

    day: int
    slot: int
    started_at: datetime
    installation: SimulatedInstallation
    program: Program
    severity: float
    sensor_fault: str

    @property
    def mode(self) -> str:
        """Fault mode, '' in health."""
        course = self.installation.course
        return course.mode if course is not None and self.severity > 0.0 else ""

    @property
    def visible(self) -> bool:
        """Whether the severity is at or above the detectable level."""
        return self.severity >= DETECTABLE_SEVERITY

    @property
    def unseen_class(self) -> bool:
        """Whether this fault is of the class that no finding names."""
        return self.mode == UNSEEN_MODE

    @property
    def unseen_program(self) -> bool:
        """Whether this is the program that no robot runs before the findings end."""
        return self.program.name == UNSEEN_PROGRAM


def appointments(settings: FleetSettings, plan: AxisPlan, day: int) -> Iterator[Appointment]:
    """Yield the recordings of an axis on a day, in order of time.

    A robot runs one program at a time; its axes are recorded seconds apart.
    """
    world = WORLDS[settings.world]
    for slot in range(settings.recordings_per_day):
        robot_rng = generator(settings.seed, settings.world, Stream.SCHEDULE, plan.robot, day, slot)
        pitch = 1.0 / settings.recordings_per_day
        at_slot = day + (slot + 0.5) * pitch + float(robot_rng.uniform(-0.08, 0.08)) * pitch
        program = world.programs[int(robot_rng.integers(len(world.programs)))]
        at = at_slot + (int(plan.axis[1:]) - 1) * 10.0 / 86_400.0
        if at >= plan.silent_from_day:
            continue
        rng = generator(settings.seed, settings.world, Stream.RECORDING, plan.index, day, slot)
        if at >= plan.unseen_program_from_day and rng.uniform() < 0.7:
            program = world.unseen_program
        installation = plan.installed(at)
        course = installation.course
        yield Appointment(
            day=day,
            slot=slot,
            started_at=settings.at(at),
            installation=installation,
            program=program,
            severity=0.0 if course is None else round(course.severity(at), 6),
            sensor_fault=plan.sensor_fault if at >= plan.sensor_from_day else "",
        )


def operate(settings: FleetSettings, plan: AxisPlan, unit: SimulatedUnit, what: Appointment) -> tuple[Operation, float]:
    """Return how the unit really runs during an appointment, and the speed in the log.

    Returns
    -------
    operation : Operation
        True speed (+- 1 % between recordings), load, temperature (of the hall, from work, of the unit), level.
    logged_rpm : float
        Measured speed: the error has a standard deviation of 0.1 % and is at most 0.25 %.
    """
    rng = generator(settings.seed, settings.world, Stream.RECORDING, plan.index, what.day, what.slot, 1)
    program = what.program
    speed_rpm = program.speed_rpm * (1.0 + unit.speed_trim) * (1.0 + float(rng.uniform(-0.01, 0.01)))
    load = min(max(program.load + 0.03 * float(rng.standard_normal()), 0.02), 1.0)
    day = (what.started_at - settings.start).total_seconds() / 86_400.0
    weather = 2.0 * math.sin(2.0 * math.pi * day / 9.0 + 0.7) + 3.0 * math.sin(2.0 * math.pi * (day - 0.375))
    work = 10.0 * load * speed_rpm / 2_000.0
    temperature_c = 26.0 + weather + work + unit.warmth_k + float(rng.normal(0.0, 0.8))
    drift = 1.0 + unit.drift_depth * math.sin(2.0 * math.pi * day / unit.drift_days + unit.drift_phase)
    sound = what.installation.course is None
    operation = Operation(
        speed_rpm=speed_rpm,
        load=load,
        temperature_c=temperature_c,
        tilt=program.tilt,
        ripple=program.ripple,
        level=drift * math.exp(0.05 * float(rng.standard_normal())),
        mode=unit.blemish_mode if sound else what.mode,
        severity=unit.blemish if sound else what.severity,
    )
    error = min(max(0.001 * float(rng.standard_normal()), -0.0025), 0.0025)
    return operation, round(speed_rpm * (1.0 + error), 3)
