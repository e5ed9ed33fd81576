"""Tables of the asset registry beside axes, geometries and units: names of geometries, and the timeline of axes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.schema_base import Base


class GeometryName(Base):
    """What a name of a geometry stands for now, so that later files and replacements can use it. Key: name."""

    __tablename__ = "geometry_names"

    name: Mapped[str] = mapped_column(primary_key=True)
    geometry_version: Mapped[str] = mapped_column(ForeignKey("geometries.geometry_version"))
    characteristics: Mapped[list[Any]] = mapped_column(comment="all characteristic orders: name, formula, source")
    source: Mapped[str] = mapped_column(comment="where the numbers come from")
    known_at: Mapped[datetime]


class AxisEvent(Base):
    """Something that happened to an axis: its timeline. Key: hash of axis, time, kind and subject.

    The subject is the serial of the unit, or the text of a note. `installed` and `removed` mirror the table of units
    and are corrected with it; `replaced` and `note` are never changed. A few a day.
    """

    __tablename__ = "axis_events"

    event_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    axis_id: Mapped[str] = mapped_column(ForeignKey("axes.axis_id"))
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(16), comment="installed, replaced, removed or note")
    details: Mapped[dict[str, Any]] = mapped_column(
        comment="unit_serial; of a replacement also old_unit_serial, reason"
    )
    who: Mapped[str]
    known_at: Mapped[datetime]

    __table_args__ = (Index(None, "axis_id", "at"),)
