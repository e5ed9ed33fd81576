"""The fleet: axes, the units installed on them, and what happens to each. Faults follow quotas, not chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np

from pipeline.simulation.faults import FaultCourse, visible_share
from pipeline.simulation.seeds import Stream, generator
from pipeline.simulation.sensors import SENSOR_FAULTS
from pipeline.simulation.settings import KNOWN_MODES, UNSEEN_MODE, FleetSettings
from pipeline.simulation.worlds import WORLDS, Bearing, Range


class Role(StrEnum):
    """The purpose of an axis in the fleet."""

    FAULT_LABELLED = "fault_labelled"
    FAULT_LIVE = "fault_live"
    CAGE_LIVE = "cage_live"
    HEALTHY_LABELLED = "healthy_labelled"
    HEALTHY = "healthy"
    UNSEEN_PROGRAM = "unseen_program"
    SENSOR_FAULT = "sensor_fault"
    SILENT = "silent"


@dataclass(frozen=True)
class SimulatedInstallation:
    """A physical unit on an axis.

    Attributes
    ----------
    unit_serial : str
        Serial number.
    generation : int
        0 for the first unit on the axis, 1 for its replacement.
    installed_day : float
        Day of installation, negative before the run.
    removed_day : float or None
        Day of removal (exclusive).
    course : FaultCourse or None
        Its fault, if it develops one.
    """

    unit_serial: str
    generation: int
    installed_day: float
    removed_day: float | None
    course: FaultCourse | None


@dataclass(frozen=True)
class AxisPlan:
    """What happens on one axis. Days are fractional and count from the start of the run.

    Attributes
    ----------
    index : int
        Number of the axis in the fleet.
    cell, robot_id, axis : str
        Asset names.
    robot : int
        Number of the robot.
    role : Role
        Its purpose in the fleet.
    bearing : Bearing
        Geometry.
    installations : tuple of SimulatedInstallation
        Units in order.
    sensor_fault, sensor_from_day : str, float
        Sensor fault ('' for none) and its first day.
    silent_from_day, unseen_program_from_day : float
        First day of silence, of the unseen program; infinity for never.
    finding_day, mode_unknown : float, bool
        Day of the inspection with a finding (NaN: none), and whether the failure mode stayed unknown.
    """

    index: int
    cell: str
    robot_id: str
    axis: str
    robot: int
    role: Role
    bearing: Bearing
    installations: tuple[SimulatedInstallation, ...]
    sensor_fault: str = ""
    sensor_from_day: float = math.inf
    silent_from_day: float = math.inf
    unseen_program_from_day: float = math.inf
    finding_day: float = math.nan
    mode_unknown: bool = False

    def installed(self, day: float) -> SimulatedInstallation:
        """Return the unit on the axis on a day; LookupError where there is none."""
        for installation in self.installations:
            if installation.removed_day is None or day < installation.removed_day:
                return installation
        raise LookupError(f"no unit on axis {self.index} on day {day}")


@dataclass(frozen=True)
class Quotas:
    """Number of axes of each kind; the counts of faults are per known class.

    Attributes
    ----------
    labelled, live : tuple of int
        Faulty axes with, and without, a finding, in the order of `KNOWN_MODES`.
    cage, healthy_labelled, unseen_program, sensor_faults, silent, healthy : int
        Axes of the other roles.
    """

    labelled: tuple[int, ...]
    live: tuple[int, ...]
    cage: int
    healthy_labelled: int
    unseen_program: int
    sensor_faults: int
    silent: int
    healthy: int


def quotas(settings: FleetSettings) -> Quotas:
    """Return the number of axes for each role.

    First come known faults: `fault_share`, spread evenly over the classes; a third of each class has no finding (2 of
    6). Then healthy axes with a finding, until `label_share` is reached. Then one axis in 36 with a cage fault, one in
    24 with the unseen program, one in 14 with a sensor fault, one in 72 silent. A fleet that is too small for all of
    them has fewer of the later ones; with 12 axes or more there is at least one of each.
    """
    axes = settings.robots * settings.axes
    faults = min(round(axes * settings.fault_share), axes)
    per_class = [faults // 4 + (k < faults % 4) for k in range(4)]
    live = [count // 3 if count >= 3 else int(count == 2) for count in per_class]
    labelled = [count - missing for count, missing in zip(per_class, live, strict=True)]
    left = axes - faults
    if settings.label_share == 0.0:
        labelled, live = [0] * 4, per_class

    def take(count: int) -> int:
        nonlocal left
        taken = max(0, min(count, left))
        left -= taken
        return taken

    small = axes >= 12
    # Reserve one axis of each special kind; healthy axes with a finding must not use them up.
    special = 4 if small else 0
    with_finding = min(max(round(axes * settings.label_share) - sum(labelled), 0), max(left - special, 0))
    healthy_labelled = take(with_finding)
    return Quotas(
        labelled=tuple(labelled),
        live=tuple(live),
        cage=take(max(round(axes / 36), int(small))),
        healthy_labelled=healthy_labelled,
        unseen_program=take(max(round(axes / 24), int(small))),
        sensor_faults=take(max(round(axes / 14), int(small))),
        silent=take(max(round(axes / 72), int(small))),
        healthy=left,
    )


def _roles(settings: FleetSettings, count: Quotas) -> list[tuple[Role, str]]:
    """Return all roles, each with its fault mode or sensor fault, in the order of the quotas."""
    roles: list[tuple[Role, str]] = []
    for mode, labelled, live in zip(KNOWN_MODES, count.labelled, count.live, strict=True):
        roles += [(Role.FAULT_LABELLED, mode)] * labelled + [(Role.FAULT_LIVE, mode)] * live
    roles += [(Role.CAGE_LIVE, UNSEEN_MODE)] * count.cage
    roles += [(Role.HEALTHY_LABELLED, "")] * count.healthy_labelled
    roles += [(Role.UNSEEN_PROGRAM, "")] * count.unseen_program
    first = settings.seed % len(SENSOR_FAULTS) if count.sensor_faults < len(SENSOR_FAULTS) else 0
    roles += [(Role.SENSOR_FAULT, SENSOR_FAULTS[(first + k) % len(SENSOR_FAULTS)]) for k in range(count.sensor_faults)]
    roles += [(Role.SILENT, "")] * count.silent
    roles += [(Role.HEALTHY, "")] * count.healthy
    return roles


def _deal(settings: FleetSettings, roles: list[tuple[Role, str]]) -> dict[int, tuple[Role, str]]:
    """Assign roles to axes at random, by turns to main and wrist axes, so that every class occurs on both."""
    rng = generator(settings.seed, settings.world, Stream.FLEET)
    axes = np.arange(settings.robots * settings.axes)
    wrist = axes % settings.axes >= (settings.axes + 1) // 2
    piles = [list(rng.permutation(axes[~wrist])), list(rng.permutation(axes[wrist]))]
    dealt: dict[int, tuple[Role, str]] = {}
    for turn, role in enumerate(roles):
        pile = piles[turn % 2] or piles[1 - turn % 2]
        dealt[int(pile.pop())] = role
    return dealt


def _course(settings: FleetSettings, role: Role, mode: str, rng: np.random.Generator) -> FaultCourse:
    """Draw how a fault grows: labelled faults are visible before the findings end, live faults only after."""
    world = WORLDS[settings.world]
    end, rest = settings.label_end_day, settings.days - settings.label_end_day
    shape = float(rng.uniform(*world.growth_shape))
    if role is Role.FAULT_LABELLED:
        visible = float(rng.uniform(-0.5, 0.35)) * end
        full = visible + float(rng.uniform(0.9, 2.2)) * end
    else:
        rest = max(rest, 0.1 * settings.days)
        late = 0.1 if role is Role.CAGE_LIVE else 0.0
        onset = float(rng.uniform(0.7, 0.9) + late) * end
        visible = end + float(rng.uniform(0.1, 0.3) + late) * rest
        full = onset + (visible - onset) / visible_share(world.growth, shape)
    return FaultCourse(mode, visible, full, world.growth, shape)


def _serial(settings: FleetSettings, index: int, generation: int) -> str:
    number = int(generator(settings.seed, settings.world, Stream.FLEET, index, generation).integers(0, 16**4))
    return f"SN-{settings.world}{settings.seed}-{index:04d}{'abc'[generation]}-{number:04X}"


def _plan(
    settings: FleetSettings, index: int, dealt: tuple[Role, str], *, mode_unknown: bool, torn_down: bool
) -> AxisPlan:
    """Draw what happens on one axis."""
    role, kind = dealt
    robot, axis = divmod(index, settings.axes)
    bearing = WORLDS[settings.world].bearings[int(axis >= (settings.axes + 1) // 2)]
    rng = generator(settings.seed, settings.world, Stream.COURSE, index)
    end, rest = settings.label_end_day, max(settings.days - settings.label_end_day, 0.1 * settings.days)

    def after_findings(bounds: Range) -> float:
        return min(end + float(rng.uniform(*bounds)) * rest, settings.days - 0.5 / settings.recordings_per_day)

    course = None
    if role in (Role.FAULT_LABELLED, Role.FAULT_LIVE, Role.CAGE_LIVE):
        course = _course(settings, role, kind, rng)
    finding_day = math.nan
    if role in (Role.FAULT_LABELLED, Role.HEALTHY_LABELLED):
        finding_day = float(rng.uniform(0.85, 1.0)) * end
    first_day = -float(rng.uniform(30.0, 700.0))
    removed_day = finding_day if torn_down else None
    units = [SimulatedInstallation(_serial(settings, index, 0), 0, first_day, removed_day, course)]
    if removed_day is not None:
        units.append(SimulatedInstallation(_serial(settings, index, 1), 1, removed_day, None, None))
    return AxisPlan(
        index=index,
        cell=f"c{robot // settings.robots_per_cell + 1}",
        robot_id=f"R{robot + 1:02d}",
        axis=f"A{axis + 1}",
        robot=robot,
        role=role,
        bearing=bearing,
        installations=tuple(units),
        sensor_fault=kind if role is Role.SENSOR_FAULT else "",
        sensor_from_day=after_findings((0.2, 0.6)) if role is Role.SENSOR_FAULT else math.inf,
        silent_from_day=after_findings((0.2, 0.6)) if role is Role.SILENT else math.inf,
        unseen_program_from_day=after_findings((0.15, 0.4)) if role is Role.UNSEEN_PROGRAM else math.inf,
        finding_day=finding_day,
        mode_unknown=mode_unknown,
    )


@lru_cache(maxsize=4)
def draw_fleet(settings: FleetSettings) -> tuple[AxisPlan, ...]:
    """Draw the fleet: one plan per axis, in order of robot and axis.

    In every class with four labelled axes or more, one axis is torn down (its unit is replaced by a new one). In the
    first two such classes, one axis has a finding of a fault with unknown mode.
    """
    count = quotas(settings)
    dealt = _deal(settings, _roles(settings, count))
    seen = dict.fromkeys(KNOWN_MODES, 0)
    plans = []
    for index in range(settings.robots * settings.axes):
        role, kind = dealt[index]
        torn_down = mode_unknown = False
        if role is Role.FAULT_LABELLED and count.labelled[KNOWN_MODES.index(kind)] >= 4:
            torn_down = seen[kind] == 0
            mode_unknown = seen[kind] == 1 and kind in KNOWN_MODES[:2]
            seen[kind] += 1
        plans.append(_plan(settings, index, (role, kind), mode_unknown=mode_unknown, torn_down=torn_down))
    return tuple(plans)
