"""From which fault probability on an axis alarms or goes to review: lines in every plot of a probability."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Connection

from pipeline.base.settings import CaseSettings
from pipeline.registry.versions import champions
from pipeline.scoring.levels import PlantThresholds, default_levels, read_thresholds, standing_levels


@dataclass(frozen=True)
class AxisLevels:
    """Alarm and review level of an axis, as probabilities; the lowest of its models."""

    alarm: float
    review: float


def levels_of(
    connection: Connection,
    settings: CaseSettings,
    axes: Collection[str],
    *,
    as_of: datetime,
    versions: Collection[str] = (),
) -> dict[str, AxisLevels]:
    """Return the levels of axes that are in force, by axis.

    Parameters
    ----------
    versions
        Models that an axis is judged by; none: the champions.
    """
    asked = versions or list(champions(connection).values())
    shared = read_thresholds(connection, settings, asked)
    standing = standing_levels(connection, asked, as_of=as_of)
    plant = PlantThresholds(settings, as_of, shared, {}, standing)
    without = default_levels(settings)
    found = {}
    for axis, limits in plant.usual_of_axes(connection, axes).items():
        own = limits.values()
        alarm = min((one.alarm_probability for one in own), default=without.alarm)
        review = min((one.review_probability for one in own), default=without.review)
        found[axis] = AxisLevels(round(alarm, 4), round(min(alarm, review), 4))
    return found
