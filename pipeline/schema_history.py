"""The tables of an axis's own history: what its units are compared with. See `pipeline.schema` for the others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.schema_base import Base


class Baseline(Base):
    """Where the features of a unit lay in its first days of monitoring, a channel and a regime. Immutable.

    Key: hash of unit, channel, regime, versions, recordings and values. A few for each unit and channel, once.
    """

    __tablename__ = "baselines"

    baseline_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    axis_id: Mapped[str] = mapped_column(ForeignKey("axes.axis_id"))
    unit_serial: Mapped[str | None] = mapped_column(comment="as in its recordings; null where none is known")
    channel: Mapped[str]
    regime: Mapped[str] = mapped_column(comment="program, speed bin and load bin; * is any")
    scope: Mapped[str]
    feature_version: Mapped[str] = mapped_column(String(16))
    geometry_version: Mapped[str] = mapped_column(String(16))
    from_at: Mapped[datetime] = mapped_column(comment="first recording of the unit")
    to_at: Mapped[datetime] = mapped_column(comment="end of the baseline period, not included")
    n_recordings: Mapped[int]
    n_windows: Mapped[int]
    median: Mapped[list[Any]] = mapped_column(
        comment="of each feature, in the order of the feature version; null: none"
    )
    spread: Mapped[list[Any]] = mapped_column(comment="1.4826 x median absolute deviation; null: none")
    programs: Mapped[list[Any] | None] = mapped_column(
        JSON(none_as_null=True), comment="programs recorded in the period; only where the regime is * throughout"
    )
    known_at: Mapped[datetime]

    __table_args__ = (Index(None, "axis_id", "feature_version"),)
