"""Tables of incoming data and their features: files, recordings, extractions, baselines, quarantine."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.store.tables.base import Base


class LakeFile(Base):
    """A committed file of the lake. Readers open only files that have a row here. Key: path. About 2,000 a day."""

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
    """The file last seen at a path of the landing zone, so that unchanged files are not hashed again. Key: path.

    As many a day as `log_files`.
    """

    __tablename__ = "landing_entries"

    path: Mapped[str] = mapped_column(primary_key=True, comment="relative to the landing zone")
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    modified_ns: Mapped[int] = mapped_column(BigInteger, comment="modification time, ns since 1970")
    file_hash: Mapped[str] = mapped_column(String(64))
    tries: Mapped[int] = mapped_column(server_default=text("0"), comment="1: a run began to read it; 0: taken")


DUE = text("due_at IS NOT NULL")


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
    state: Mapped[str] = mapped_column(String(16), comment="open or replayed; replayed once the row was accepted")
    due_at: Mapped[datetime | None] = mapped_column(comment="judged again then; null: only when asked")
    known_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "due_at", sqlite_where=DUE, postgresql_where=DUE),)


ARCHIVE = text("time_basis <> 'clock'")
"""SQL: a recording without real times, as in an archive."""


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
    samples_hash: Mapped[str | None] = mapped_column(
        String(16), comment="of the samples alone, as logged: copies have the same one; null where accepted before 0030"
    )
    file_hash: Mapped[str] = mapped_column(String(64), comment="the log file it came in")
    lake_path: Mapped[str] = mapped_column(ForeignKey("lake_files.path"))
    lake_row: Mapped[int]
    known_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("axis_id", "channel", "started_at"),
        Index(None, "axis_id", "unit_serial", "started_at"),
        Index(None, "axis_id", "started_at"),
        Index("ix_recordings_archive", "axis_id", sqlite_where=ARCHIVE, postgresql_where=ARCHIVE),
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
    unit_serial: Mapped[str | None] = mapped_column(
        comment="from the log, else from the asset registry as it was when extracted"
    )
    regime: Mapped[str] = mapped_column(comment="program, speed bin and load bin")
    quality: Mapped[str] = mapped_column(String(16), comment="worst data-quality verdict of its windows")
    evidence: Mapped[str] = mapped_column(comment="what the verdict rests on")
    velocity_rms_mm_s: Mapped[float | None] = mapped_column(
        comment="rms of the vibration velocity, 10 to 1000 Hz; null where not known or where the signal is bad"
    )
    measured_speed_rpm: Mapped[float | None] = mapped_column(
        comment="by the shaft's own lines, which features are read at; null where the declared speed is used"
    )
    n_windows: Mapped[int]
    lake_path: Mapped[str | None] = mapped_column(ForeignKey("lake_files.path"), comment="null where no window fits")
    lake_row: Mapped[int] = mapped_column(comment="first row of this recording in that file")
    known_at: Mapped[datetime]

    __table_args__ = (Index(None, "feature_version", "scope", "started_at"), Index(None, "axis_id", "started_at"))


PROGRAMS = text("programs IS NOT NULL")


class Baseline(Base):
    """The features of a unit in its first days of monitoring, for one channel and regime. Immutable.

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

    __table_args__ = (
        Index("ix_baselines_series", "axis_id", "feature_version", "unit_serial", "channel", "known_at"),
        Index("ix_baselines_programs", "axis_id", "from_at", sqlite_where=PROGRAMS, postgresql_where=PROGRAMS),
    )


class Pruning(Base):
    """How far retention has deleted. A run for a time before `before_at` is refused. A few rows a month.

    Key: what, name and before_at. Written with the first deletion, never changed.
    """

    __tablename__ = "prunings"

    what: Mapped[str] = mapped_column(String(8), primary_key=True, comment="data, scores or model")
    name: Mapped[str] = mapped_column(String(16), primary_key=True, comment="of scores and models the version; else ''")
    before_at: Mapped[datetime] = mapped_column(
        primary_key=True, comment="what is older is gone; of scores when the model was no champion any more"
    )
    known_at: Mapped[datetime] = mapped_column(comment="as_of of the first run that deleted it")
