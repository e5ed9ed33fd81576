"""Tables of the plant: axes, the units on them, their geometries, and the timeline of each axis."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from features.kinematics import geometry_version
from pipeline.store.tables.base import Base

NO_GEOMETRY = geometry_version(None)
"""Geometry version of a unit whose geometry is not known, and of an axis without a unit."""


class Axis(Base):
    """A robot axis, known from a log or from the asset registry. Key: site, cell, robot, axis."""

    __tablename__ = "axes"

    axis_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    site: Mapped[str]
    cell: Mapped[str]
    robot_id: Mapped[str]
    axis: Mapped[str]
    expected_every_s: Mapped[float | None] = mapped_column(comment="declared usual time between recordings, s")
    criticality: Mapped[int | None] = mapped_column(comment="1 (does not matter) to 5 (stops the plant)")
    known_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("site", "cell", "robot_id", "axis"),)


class Geometry(Base):
    """Characteristic orders of a monitored shaft (multiples of its speed). Key: hash of the orders."""

    __tablename__ = "geometries"

    geometry_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str]
    orders: Mapped[dict[str, Any]] = mapped_column(comment="bpfo, bpfi, bsf, ftf, gear_mesh; dimensionless")
    source: Mapped[str] = mapped_column(comment="where the numbers come from")
    known_at: Mapped[datetime]


class GeometryName(Base):
    """The geometry that a name means now, so that later files and replacements can use the name. Key: name."""

    __tablename__ = "geometry_names"

    name: Mapped[str] = mapped_column(primary_key=True)
    geometry_version: Mapped[str] = mapped_column(ForeignKey("geometries.geometry_version"))
    characteristics: Mapped[list[Any]] = mapped_column(
        comment="all characteristic orders: name, order, formula, source"
    )
    source: Mapped[str] = mapped_column(comment="where the numbers come from")
    known_at: Mapped[datetime]


class Unit(Base):
    """A physical gearbox, motor or bearing in its time on an axis. A split of data never divides a unit.

    Key: axis, unit and installed_at. The present unit has no `removed_at`.
    """

    __tablename__ = "units"

    axis_id: Mapped[str] = mapped_column(ForeignKey("axes.axis_id"), primary_key=True)
    unit_serial: Mapped[str] = mapped_column(primary_key=True)
    installed_at: Mapped[datetime] = mapped_column(primary_key=True)
    removed_at: Mapped[datetime | None]
    geometry_version: Mapped[str | None] = mapped_column(ForeignKey("geometries.geometry_version"))
    geometry_name: Mapped[str | None] = mapped_column(comment="as the asset file called it")
    characteristics: Mapped[list[Any]] = mapped_column(
        default=list, comment="all characteristic orders: name, order, formula, source"
    )
    known_at: Mapped[datetime]


class AxisEvent(Base):
    """An event of an axis; all of them are its timeline. Key: hash of axis, time, kind and subject.

    The subject is the serial of the unit, or the text of a note. `installed` and `removed` mirror the table of units
    and are corrected with it; `replaced` and `note` are never changed. A few a day.
    """

    __tablename__ = "axis_events"

    event_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    axis_id: Mapped[str] = mapped_column(ForeignKey("axes.axis_id"))
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(16), comment="installed, replaced, removed or note")
    details: Mapped[dict[str, Any]] = mapped_column(
        comment="unit_serial; of a replacement also the old serial, the geometry, the reason and the cases it closed"
    )
    who: Mapped[str]
    known_at: Mapped[datetime]

    __table_args__ = (Index(None, "axis_id", "at"),)


class PlannedStop(Base):
    """An axis is off for an announced time, and so not silent. Key: axis, start and known_at. A few a week.

    Rows are only added. Of those with one start the newest holds; one that ends at its start withdraws the stop.
    """

    __tablename__ = "planned_stops"

    axis_id: Mapped[str] = mapped_column(ForeignKey("axes.axis_id"), primary_key=True)
    from_at: Mapped[datetime] = mapped_column(primary_key=True)
    known_at: Mapped[datetime] = mapped_column(primary_key=True)
    until_at: Mapped[datetime] = mapped_column(comment="its end, not included")
    reason: Mapped[str]
    who: Mapped[str]
