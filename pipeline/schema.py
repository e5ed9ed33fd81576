"""The tables of axiswatch's database.

Times are UTC. `known_at` is when axiswatch came to know a row (the `as_of` of the run that wrote it); every other time
is the time of the event. Ids are hashes of natural keys (`pipeline.base.ids`), so equal inputs give equal rows
anywhere. Rows a day are given for a plant of 1,000 axes with 3 channels, 24 recordings of 4 windows a day each.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

import pipeline.schema_evidence
import pipeline.schema_operations
import pipeline.schema_review
import pipeline.schema_trend
import pipeline.schema_watch
import pipeline.schema_webhook  # noqa: F401  (their tables)
from pipeline.schema_assets import AxisEvent as AxisEvent
from pipeline.schema_assets import GeometryName as GeometryName
from pipeline.schema_base import Base
from pipeline.schema_history import Baseline as Baseline
from pipeline.schema_models import AliasEvent as AliasEvent
from pipeline.schema_models import CaseRescore as CaseRescore
from pipeline.schema_models import ModelAlias as ModelAlias
from pipeline.schema_models import ModelVersion as ModelVersion


class LakeFile(Base):
    """A committed file of the lake. Readers open only files that stand here. Key: path. About 2,000 a day."""

    __tablename__ = "lake_files"

    path: Mapped[str] = mapped_column(primary_key=True, comment="relative to the lake, named by content hash")
    kind: Mapped[str] = mapped_column(String(16), comment="recordings, features, quarantine or models")
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    n_rows: Mapped[int]
    known_at: Mapped[datetime]


class LogFile(Base):
    """A log file that was read to its end. Key: hash of its bytes, so a copy is the same file. About 1,000 a day."""

    __tablename__ = "log_files"

    file_hash: Mapped[str] = mapped_column(String(64), primary_key=True, comment="SHA-256 of the file")
    path: Mapped[str] = mapped_column(comment="where it was first found, relative to the landing zone")
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    n_rows: Mapped[int] = mapped_column(comment="rows in the file; 0 where it cannot be read")
    n_accepted: Mapped[int] = mapped_column(comment="recordings that were new")
    n_known: Mapped[int] = mapped_column(comment="recordings that were here already with the same content")
    n_quarantined: Mapped[int] = mapped_column(comment="rows in quarantine; 1 for a file that cannot be read")
    note: Mapped[str] = mapped_column(comment="what a reader should know, such as columns that were ignored")
    known_at: Mapped[datetime]


class LandingEntry(Base):
    """What was last seen at a path of the landing zone, so that unchanged files are not hashed again. Key: path."""

    __tablename__ = "landing_entries"

    path: Mapped[str] = mapped_column(primary_key=True, comment="relative to the landing zone")
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    modified_ns: Mapped[int] = mapped_column(BigInteger, comment="modification time, ns since 1970")
    file_hash: Mapped[str] = mapped_column(String(64))


class QuarantineRow(Base):
    """A row, or a whole file, that cannot be read or is ambiguous. Key: file and row. A handful a day."""

    __tablename__ = "quarantine"

    quarantine_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    file_hash: Mapped[str] = mapped_column(String(64), index=True)
    path: Mapped[str] = mapped_column(comment="where the file was found")
    row_number: Mapped[int] = mapped_column(comment="counted from 0; -1 is the whole file")
    what: Mapped[str] = mapped_column(comment="site/cell/robot/axis/channel as far as they can be read")
    reasons: Mapped[list[Any]] = mapped_column(comment="all reasons: code and sentence of each")
    lake_path: Mapped[str] = mapped_column(comment="where the row or the file is kept")
    lake_row: Mapped[int] = mapped_column(comment="row in that file; -1 is the whole file")
    state: Mapped[str] = mapped_column(String(16), comment="open, or replayed once it was accepted")
    known_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]


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


class Unit(Base):
    """A physical gearbox, motor or bearing in its time on an axis: what a split must never cut."""

    __tablename__ = "units"

    axis_id: Mapped[str] = mapped_column(ForeignKey("axes.axis_id"), primary_key=True)
    unit_serial: Mapped[str] = mapped_column(primary_key=True)
    installed_at: Mapped[datetime] = mapped_column(primary_key=True)
    removed_at: Mapped[datetime | None]
    geometry_version: Mapped[str | None] = mapped_column(ForeignKey("geometries.geometry_version"))
    geometry_name: Mapped[str | None] = mapped_column(comment="as the asset file called it")
    characteristics: Mapped[list[Any]] = mapped_column(
        default=list, comment="all characteristic orders: name, formula, source"
    )
    known_at: Mapped[datetime]


class Recording(Base):
    """An accepted burst of one channel. Key: axis, channel, started_at. About 72,000 a day."""

    __tablename__ = "recordings"

    recording_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    axis_id: Mapped[str] = mapped_column(ForeignKey("axes.axis_id"))
    channel: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(index=True)
    quantity: Mapped[str]
    unit: Mapped[str] = mapped_column(comment="unit of the samples in the lake, as declared")
    time_basis: Mapped[str] = mapped_column(String(16), comment="clock or synthetic")
    sampling_rate_hz: Mapped[float]
    rate_basis: Mapped[str] = mapped_column(String(16), comment="declared or assumed")
    shaft_speed_rpm: Mapped[float | None]
    speed_is_steady: Mapped[bool | None] = mapped_column(Boolean)
    load: Mapped[float | None]
    payload_kg: Mapped[float | None]
    temperature_c: Mapped[float | None]
    program: Mapped[str | None]
    unit_serial: Mapped[str | None]
    n_samples: Mapped[int]
    content_hash: Mapped[str] = mapped_column(String(32), comment="of every contract column but the key")
    file_hash: Mapped[str] = mapped_column(String(64), comment="the log file it came in")
    lake_path: Mapped[str] = mapped_column(ForeignKey("lake_files.path"))
    lake_row: Mapped[int]
    known_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("axis_id", "channel", "started_at"),
        Index(None, "axis_id", "unit_serial", "started_at"),
    )


class Extraction(Base):
    """The features of one recording are in the lake. Key: recording, feature and geometry version. 72,000 a day."""

    __tablename__ = "extractions"

    recording_id: Mapped[str] = mapped_column(ForeignKey("recordings.recording_id"), primary_key=True)
    feature_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    geometry_version: Mapped[str] = mapped_column(String(16), primary_key=True, comment="'none' without geometry")
    axis_id: Mapped[str] = mapped_column(String(16))
    channel: Mapped[str]
    scope: Mapped[str] = mapped_column(comment="the model scope: the quantity, or quantity:raw")
    started_at: Mapped[datetime]
    unit_serial: Mapped[str | None] = mapped_column(comment="from the log, else from the asset registry")
    regime: Mapped[str] = mapped_column(comment="program, speed bin and load bin")
    quality: Mapped[str] = mapped_column(String(16), comment="worst data-quality verdict of its windows")
    evidence: Mapped[str] = mapped_column(comment="what the verdict rests on")
    n_windows: Mapped[int]
    lake_path: Mapped[str | None] = mapped_column(ForeignKey("lake_files.path"), comment="null where no window fits")
    lake_row: Mapped[int] = mapped_column(comment="first row of this recording in that file")
    known_at: Mapped[datetime]

    __table_args__ = (Index(None, "feature_version", "scope", "started_at"), Index(None, "axis_id", "started_at"))


class Scoring(Base):
    """One recording was scored by one model: written with its scores, and the mark of what is still to be advised.

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
    """What a model says of one window, and how unsure it is. Immutable. About 290,000 a day.

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
    unit_serial: Mapped[str | None]
    n_window_samples: Mapped[int]
    turns_covered: Mapped[float | None] = mapped_column(Float, comment="shaft turns in the window; null without speed")
    fault_probability: Mapped[float | None] = mapped_column(Float, comment="calibrated, 1 - p(healthy), 0 to 1")
    fault_std: Mapped[float | None] = mapped_column(Float, comment="standard deviation over the samples")
    fault_q05: Mapped[float | None] = mapped_column(Float, comment="5 % quantile over the samples")
    fault_q95: Mapped[float | None] = mapped_column(Float, comment="95 % quantile over the samples")
    class_probabilities: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    predictive_entropy: Mapped[float | None] = mapped_column(Float, comment="total uncertainty, nats")
    expected_entropy: Mapped[float | None] = mapped_column(Float, comment="aleatoric uncertainty, nats")
    mutual_information: Mapped[float | None] = mapped_column(Float, comment="epistemic uncertainty (BALD), nats")
    novelty: Mapped[float | None] = mapped_column(Float, comment="distance to the training set")
    novelty_percentile: Mapped[float | None] = mapped_column(Float, comment="against held-out units, 0 to 100")
    monte_carlo_se: Mapped[float | None] = mapped_column(Float, comment="standard error of fault_probability")
    unmodelled_probability: Mapped[float | None] = mapped_column(
        Float, comment="of the textbook rule, for faults that the model has no class for"
    )
    n_mc_samples: Mapped[int | None]
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
        String(16), comment="healthy, watch, alarm, data_fault, silent or unknown (unsure)"
    )
    first_at: Mapped[datetime] = mapped_column(comment="first recording in the bin")
    last_at: Mapped[datetime] = mapped_column(comment="last recording in the bin")
    n_windows: Mapped[int]
    fault_probability: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel")
    mode: Mapped[str | None] = mapped_column(comment="most probable fault class of that channel")
    mutual_information: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel, nats")
    expected_entropy: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel, nats")
    novelty_percentile: Mapped[float | None] = mapped_column(comment="median over windows, highest channel")
    quality: Mapped[str] = mapped_column(String(16), comment="worst verdict")
    flags: Mapped[list[Any]] = mapped_column(comment="reasons for review: code and sentence of each")
    model_versions: Mapped[list[Any]] = mapped_column(comment="models whose scores it rests on")
    known_at: Mapped[datetime]


class Case(Base):
    """Something for an engineer to look at: consecutive flagged states of one axis. Key: axis, family, first bin.

    Of the family `audit` each is one bin that nothing was flagged in, and an axis may have several open ones.
    """

    __tablename__ = "cases"

    case_id: Mapped[str] = mapped_column(String(12), primary_key=True)
    axis_id: Mapped[str] = mapped_column(ForeignKey("axes.axis_id"), index=True)
    family: Mapped[str] = mapped_column(String(8), comment="machine or data; one open case of a family an axis")
    state: Mapped[str] = mapped_column(String(16), index=True, comment="open, snoozed or closed")
    first_at: Mapped[datetime] = mapped_column(comment="first flagged recording")
    last_at: Mapped[datetime] = mapped_column(comment="last flagged recording")
    n_bins: Mapped[int] = mapped_column(comment="flagged bins")
    priority: Mapped[float] = mapped_column(comment="how bad, 0 to 1; a rise reopens and wakes")
    queue_priority: Mapped[float] = mapped_column(
        default=lambda context: context.get_current_parameters()["priority"],
        server_default="0",
        comment="highest first in the queue: priority, uncertainty, age and criticality, see pipeline.queue_priority",
    )
    reasons: Mapped[list[Any]] = mapped_column(comment="code, sentence, first and last time and count of each")
    fault_probability: Mapped[float | None] = mapped_column(comment="highest of its bins")
    mode: Mapped[str | None] = mapped_column(comment="most probable fault class at that bin")
    closed_priority: Mapped[float | None] = mapped_column(comment="priority when it was closed; a rise reopens it")
    closed_at: Mapped[datetime | None] = mapped_column(comment="time up to which a verdict has covered it")
    closed_by: Mapped[str | None]
    snoozed_until: Mapped[datetime | None]
    selection_probability: Mapped[float | None] = mapped_column(
        comment="chance with which an audited bin was drawn; null: no audit"
    )
    known_at: Mapped[datetime] = mapped_column(comment="when it was opened")
    changed_at: Mapped[datetime] = mapped_column(comment="as_of of the run or the act that changed it last")

    __table_args__ = (Index("ix_cases_queue", "state", "queue_priority", "first_at", "case_id"),)


class ReviewEvent(Base):
    """Everything that happened to a case, by whom; append only. Key: case and count."""

    __tablename__ = "review_events"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="1, 2, 3 ...")
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(comment="'axiswatch' for what the advise step did")
    action: Mapped[str] = mapped_column(String(16), comment="opened, reopened, closed, verdict")
    details: Mapped[dict[str, Any]]


class Label(Base):
    """What somebody found out about a unit or an axis in a time range. Never overwritten: a later finding is added.

    Key: hash of its content. Words: `pipeline.taxonomy`. A few a day.
    """

    __tablename__ = "labels"

    label_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    axis_id: Mapped[str | None] = mapped_column(String(16), comment="null where the label names only the unit")
    unit_serial: Mapped[str | None] = mapped_column(index=True)
    channel: Mapped[str | None] = mapped_column(comment="null: all channels")
    from_at: Mapped[datetime]
    to_at: Mapped[datetime] = mapped_column(comment="end of the range, not included")
    verdict: Mapped[str] = mapped_column(String(16))
    component: Mapped[str | None] = mapped_column(String(16))
    mode: Mapped[str | None] = mapped_column(String(16), comment="null: fault, mode unknown")
    cause: Mapped[str | None] = mapped_column(String(16))
    severity: Mapped[str | None] = mapped_column(String(16))
    evidence: Mapped[str] = mapped_column(String(16))
    confidence: Mapped[float | None] = mapped_column(comment="of the person, 0 to 1")
    note: Mapped[str]
    who: Mapped[str]
    case_id: Mapped[str | None] = mapped_column(String(12))
    known_at: Mapped[datetime]
