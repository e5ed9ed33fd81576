"""Contradictions between entries of the registry: pure functions that list them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations, pairwise
from typing import Any

from pipeline.assets.entries import AxisEntry, UnitEntry
from pipeline.base.ids import utc_text

FACTS = ("criticality", "expected_every_s")
"""Properties of an axis, not of a unit on it."""


@dataclass(frozen=True)
class UnitPeriod:
    """A unit in its time on an axis, from the database or from a file; `place` is the name of the axis for messages."""

    axis_id: str
    place: str
    unit_serial: str
    installed_at: datetime
    removed_at: datetime | None


def duplicates(units: Sequence[UnitEntry]) -> list[str]:
    """List units that have several entries for the same axis and time of installation."""
    keys = Counter((unit.place, unit.unit_serial, unit.installed_at) for unit in units)
    return [
        f"unit {serial} is installed at {at.isoformat()} {count} times on {place}; keep one entry"
        for (place, serial, at), count in keys.items()
        if count > 1
    ]


def facts_of_axes(
    axes: Iterable[AxisEntry], units: Iterable[UnitEntry], *, complete: bool
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Collect the properties of each axis, from its own entry and from its units' entries, and list contradictions.

    Parameters
    ----------
    whole
        An axis's own entry is complete: a property that it leaves out becomes None, which clears it.
    """
    facts: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for axis in axes:
        place = "/".join(part for part in (axis.site, axis.cell, axis.robot_id, axis.axis) if part)
        declared = {name: getattr(axis, name) for name in FACTS if complete or getattr(axis, name) is not None}
        problems += _take(facts.setdefault(axis.axis_id, {}), declared, place)
    for unit in units:
        if unit.expected_every_s is not None:
            declared = {"expected_every_s": unit.expected_every_s}
            problems += _take(facts.setdefault(unit.axis_id, {}), declared, unit.place)
    return facts, list(dict.fromkeys(problems))


def _take(known: dict[str, Any], declared: dict[str, Any], place: str) -> list[str]:
    problems = []
    for name, value in declared.items():
        if known.get(name) is None:
            known[name] = value
        elif value is not None and value != known[name]:
            problems.append(
                f"axis {place}: {name} is both {known[name]:g} and {value:g}; it belongs to the axis, declare it once"
            )
    return problems


def overlaps(periods: Iterable[UnitPeriod]) -> list[str]:
    """List units that are on one axis at the same time."""
    problems = []
    for group in _by(periods, "axis_id"):
        for earlier, later in pairwise(group):
            if earlier.removed_at is None or earlier.removed_at > later.installed_at:
                problems.append(
                    f"{later.place}: unit {later.unit_serial} is installed at {later.installed_at.isoformat()} while "
                    f"{earlier.unit_serial} is still on the axis; give {earlier.unit_serial} a removed_at"
                )
    return problems


def in_two_places(periods: Iterable[UnitPeriod]) -> list[str]:
    """List units that are on two axes at the same time: a serial number stands for one unit."""
    problems = []
    for group in _by(periods, "unit_serial"):
        for first, second in combinations(group, 2):
            if first.axis_id != second.axis_id and (first.removed_at is None or first.removed_at > second.installed_at):
                problems.append(
                    f"unit {first.unit_serial} is on {first.place} since {utc_text(first.installed_at)} and also on "
                    f"{second.place} since {utc_text(second.installed_at)}; a serial number stands for one unit: "
                    "give it a removed_at where it was taken off, or correct the serial"
                )
    return problems


def _by(periods: Iterable[UnitPeriod], name: str) -> list[list[UnitPeriod]]:
    """Group periods by a field, each group in order of installation; equal entries count once."""
    groups: dict[str, dict[tuple[str, str, datetime], UnitPeriod]] = {}
    for period in periods:
        key = (period.axis_id, period.unit_serial, period.installed_at)
        groups.setdefault(getattr(period, name), {})[key] = period
    return [sorted(group.values(), key=lambda one: (one.installed_at, one.unit_serial)) for group in groups.values()]
