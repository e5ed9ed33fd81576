"""Tables of results for every recording: scores, axis states, trends."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.store.tables.base import Base


class Scoring(Base):
    """One recording was scored by one model. Written with its scores; `advised` marks those that advise has used.

    Key: recording and all versions. About 72,000 a day.
    """

    __tablename__ = "scorings"

    recording_id: Mapped[str] = mapped_column(ForeignKey("recordings.recording_id"), primary_key=True)
    feature_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    geometry_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    baseline_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    model_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    axis_id: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[datetime]
    known_at: Mapped[datetime]
    advised: Mapped[bool] = mapped_column(comment="its axis state has taken it in")

    __table_args__ = (Index(None, "advised", "axis_id"),)


class Score(Base):
    """The result of a model for one window, with its uncertainty. Immutable. About 290,000 a day.

    Key: started_at, recording, start_sample and all versions. On PostgreSQL partitioned by month of started_at.
    Null means that the method does not define the figure, or that the data-quality verdict forbids it.
    """

    __tablename__ = "scores"

    started_at: Mapped[datetime] = mapped_column(primary_key=True, comment="start of the recording")
    recording_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    start_sample: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    feature_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    geometry_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    baseline_version: Mapped[str] = mapped_column(String(16), primary_key=True, comment="'' without a baseline")
    model_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    axis_id: Mapped[str] = mapped_column(String(16))
    channel: Mapped[str]
    unit_serial: Mapped[str | None] = mapped_column(comment="as known when scored")
    n_window_samples: Mapped[int]
    turns_covered: Mapped[float | None] = mapped_column(Float, comment="shaft turns in the window; null without speed")
    fault_probability: Mapped[float | None] = mapped_column(Float, comment="calibrated, 1 - p(healthy), 0 to 1")
    fault_std: Mapped[float | None] = mapped_column(Float, comment="standard deviation over the samples")
    fault_q05: Mapped[float | None] = mapped_column(Float, comment="low end of its 5-95 % band")
    fault_q95: Mapped[float | None] = mapped_column(Float, comment="high end of its 5-95 % band")
    class_probabilities: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    predictive_entropy: Mapped[float | None] = mapped_column(Float, comment="total uncertainty, nats")
    expected_entropy: Mapped[float | None] = mapped_column(Float, comment="aleatoric uncertainty, nats")
    mutual_information: Mapped[float | None] = mapped_column(Float, comment="epistemic uncertainty (BALD), nats")
    fault_expected_entropy: Mapped[float | None] = mapped_column(
        Float, comment="aleatoric uncertainty of faulty or not alone, nats"
    )
    fault_mutual_information: Mapped[float | None] = mapped_column(
        Float, comment="epistemic uncertainty of faulty or not alone, nats"
    )
    blocked_probability: Mapped[float | None] = mapped_column(
        Float, comment="fault probability that the bad signal would have; null where the verdict is good"
    )
    novelty: Mapped[float | None] = mapped_column(Float, comment="distance to the training set")
    novelty_percentile: Mapped[float | None] = mapped_column(Float, comment="against held-out units, 0 to 100")
    monte_carlo_se: Mapped[float | None] = mapped_column(Float, comment="standard error of fault_probability")
    unmodelled_probability: Mapped[float | None] = mapped_column(
        Float, comment="of the textbook rule, for faults that the model has no class for; null: no such line"
    )
    n_mc_samples: Mapped[int | None] = mapped_column(comment="samples of the mean; null: the method takes one pass")
    fault_prior: Mapped[float | None] = mapped_column(Float, comment="declared share of faults it is corrected to")
    n_missing_features: Mapped[int]
    regime: Mapped[str]
    quality: Mapped[str] = mapped_column(String(16), comment="data-quality verdict of the window")
    evidence: Mapped[str] = mapped_column(comment="what the verdict rests on")
    known_at: Mapped[datetime]

    __table_args__ = (
        Index(None, "axis_id", "started_at"),
        {"postgresql_partition_by": "RANGE (started_at)"},
    )


class AxisState(Base):
    """The state of an axis in a bin of time, all channels combined. Key: axis and bin. About 24,000 a day."""

    __tablename__ = "axis_states"

    axis_id: Mapped[str] = mapped_column(ForeignKey("axes.axis_id"), primary_key=True)
    bin_at: Mapped[datetime] = mapped_column(primary_key=True, comment="start of the bin")
    state: Mapped[str] = mapped_column(
        String(16), comment="healthy, watch, alarm, data_fault, silent or unknown; unknown: the model is unsure"
    )
    first_at: Mapped[datetime] = mapped_column(comment="first recording in the bin")
    last_at: Mapped[datetime] = mapped_column(comment="last recording in the bin")
    n_windows: Mapped[int]
    fault_probability: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel")
    fault_q05: Mapped[float | None] = mapped_column(comment="mean of their 5 % quantiles")
    fault_q95: Mapped[float | None] = mapped_column(comment="mean of their 95 % quantiles")
    fault_shares: Mapped[dict[str, Any] | None] = mapped_column(
        JSON(none_as_null=True),
        comment="of each fault class in their fault probability; they add up to 1",
    )
    recent_probability: Mapped[float | None] = mapped_column(
        comment="from the mean log odds of this bin and those before it; compared with the levels"
    )
    mode: Mapped[str | None] = mapped_column(comment="most probable fault class of that channel")
    mutual_information: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel, nats")
    expected_entropy: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel, nats")
    novelty_percentile: Mapped[float | None] = mapped_column(comment="median over windows, highest channel")
    quality: Mapped[str] = mapped_column(String(16), comment="worst verdict")
    flags: Mapped[list[Any]] = mapped_column(comment="reasons for review: code and facts of each")
    model_versions: Mapped[list[Any]] = mapped_column(comment="models whose scores it rests on")
    known_at: Mapped[datetime]

    __table_args__ = (Index(None, "axis_id", "known_at"),)


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
    """The newest trend of a unit's health index on a channel; updated. Key: axis, unit, channel and feature version."""

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
    reference_to_at: Mapped[datetime | None] = mapped_column(comment="end of the baselines' time; null: none")
    reference_low: Mapped[float | None] = mapped_column(comment="5 % point in the time of the baseline, sigmas")
    reference_high: Mapped[float | None] = mapped_column(comment="95 % point in the time of the baseline, sigmas")
    threshold: Mapped[float | None] = mapped_column(comment="of the frozen alarm rule, sigmas; null: short reference")
    alarm_evidence: Mapped[float | None] = mapped_column(comment="for an alarm; it starts at 12 and ends at 0, sigmas")
    alarm_since: Mapped[datetime | None] = mapped_column(comment="from when the alarm is on until to_at")
    slope_per_day: Mapped[float | None] = mapped_column(comment="of the newest stretch, sigmas a day")
    slope_low: Mapped[float | None] = mapped_column(comment="lower end of its 95 % interval")
    slope_high: Mapped[float | None] = mapped_column(comment="upper end of its 95 % interval")
    slope_from_at: Mapped[datetime | None] = mapped_column(comment="start of the stretch that the slope rests on")
    course_at: Mapped[datetime | None] = mapped_column(
        comment="slope and change points rest on recordings before it; null: on all"
    )
    known_at: Mapped[datetime]


class TrendChange(Base):
    """A change point of a unit's health index; updated with the points. Key: that of the trend, and changed_at."""

    __tablename__ = "trend_changes"

    axis_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    unit_serial: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    feature_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    changed_at: Mapped[datetime] = mapped_column(primary_key=True, comment="first recording of the new level")
    after_at: Mapped[datetime] = mapped_column(comment="last recording of the old level")
    before: Mapped[float] = mapped_column(comment="median before, sigmas")
    after: Mapped[float] = mapped_column(comment="median after, sigmas")
    known_at: Mapped[datetime] = mapped_column(comment="when it was first found")
