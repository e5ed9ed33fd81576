"""The tables of trends: health figures of each recording, and what their course says of a unit.

Rows a day are given as in `pipeline.schema`.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.schema_base import Base


class TrendPoint(Base):
    """The health figures of one recording against its unit's newest baseline. About 72,000 a day.

    Key: recording and feature version. A newer baseline, or another geometry, replaces the row. All figures are in
    sigmas, null where the features, the good windows or a baseline for the regime are missing.
    """

    __tablename__ = "trend_points"

    recording_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    feature_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    geometry_version: Mapped[str] = mapped_column(String(16))
    axis_id: Mapped[str] = mapped_column(String(16))
    unit_serial: Mapped[str]
    channel: Mapped[str]
    started_at: Mapped[datetime]
    regime: Mapped[str]
    baseline_version: Mapped[str] = mapped_column(String(16), comment="'' where no baseline fits the regime")
    baselines_at: Mapped[datetime] = mapped_column(comment="known_at of the newest baseline of unit and channel")
    n_windows: Mapped[int] = mapped_column(comment="windows with a good verdict")
    level: Mapped[float | None]
    impulsiveness: Mapped[float | None]
    bearing_lines: Mapped[float | None]
    gear_lines: Mapped[float | None]
    shape: Mapped[float | None]
    health_index: Mapped[float | None] = mapped_column(comment="0 = as the baseline, sigmas")
    known_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_trend_points_series", "axis_id", "unit_serial", "channel", "feature_version", "started_at"),
    )


class Trend(Base):
    """Today's trend of a unit's health index on a channel; updated. Key: axis, unit, channel and feature version."""

    __tablename__ = "trends"

    axis_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    unit_serial: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    feature_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    from_at: Mapped[datetime] = mapped_column(comment="first recording")
    to_at: Mapped[datetime] = mapped_column(comment="last recording")
    n_recordings: Mapped[int] = mapped_column(comment="rows of trend_points it rests on")
    n_points: Mapped[int] = mapped_column(comment="those of them with a health index")
    baselines_at: Mapped[datetime] = mapped_column(comment="all of its points have seen the baselines up to then")
    health_index: Mapped[float | None] = mapped_column(comment="running median at the end, sigmas")
    reference_low: Mapped[float | None] = mapped_column(comment="5 % point in the time of the baseline, sigmas")
    reference_high: Mapped[float | None] = mapped_column(comment="95 % point in the time of the baseline, sigmas")
    threshold: Mapped[float | None] = mapped_column(comment="of the frozen alarm rule, sigmas; null: short reference")
    alarm_since: Mapped[datetime | None] = mapped_column(comment="from when the alarm is on until to_at")
    slope_per_day: Mapped[float | None] = mapped_column(comment="of the newest stretch, sigmas a day")
    slope_low: Mapped[float | None] = mapped_column(comment="lower end of its 95 % interval")
    slope_high: Mapped[float | None] = mapped_column(comment="upper end of its 95 % interval")
    slope_from_at: Mapped[datetime | None] = mapped_column(comment="start of the stretch that the slope rests on")
    known_at: Mapped[datetime]


class TrendChange(Base):
    """A change point of a unit's health index; follows the points. Key: that of the trend, and changed_at."""

    __tablename__ = "trend_changes"

    axis_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    unit_serial: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    feature_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    changed_at: Mapped[datetime] = mapped_column(primary_key=True, comment="first recording of the new level")
    after_at: Mapped[datetime] = mapped_column(comment="last recording of the old level")
    before: Mapped[float] = mapped_column(comment="median before, sigmas")
    after: Mapped[float] = mapped_column(comment="median after, sigmas")
    known_at: Mapped[datetime] = mapped_column(comment="when it was first told")
