"""Tables of cases: the cases, who works on them, labels, and messages to other systems."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.store.tables.base import Base

TO_PLACE = text("(state <> 'closed' OR queue_priority <> priority)")
"""SQL: the place of a case in the queue may have to be computed again."""


class Case(Base):
    """Consecutive flagged states of one axis, for an engineer to review. Key: axis, family, first bin.

    A case of the family `audit` is one bin in which nothing was flagged, one of `confirm` asks about a label (key: the
    label), one of `model` reports a model (key: the model); an axis may have several. Tens a day.
    """

    __tablename__ = "cases"

    case_id: Mapped[str] = mapped_column(String(12), primary_key=True)
    axis_id: Mapped[str] = mapped_column(ForeignKey("axes.axis_id"), index=True)
    family: Mapped[str] = mapped_column(
        String(8),
        comment="machine, data, audit, confirm or model; an axis has one open case of machine and one of data at most",
    )
    state: Mapped[str] = mapped_column(String(16), index=True, comment="open, snoozed or closed")
    first_at: Mapped[datetime] = mapped_column(comment="first flagged recording")
    last_at: Mapped[datetime] = mapped_column(comment="last flagged recording")
    n_bins: Mapped[int] = mapped_column(comment="flagged bins")
    priority: Mapped[float] = mapped_column(comment="how bad, 0 to 1; a rise reopens and wakes")
    queue_priority: Mapped[float] = mapped_column(
        default=lambda context: context.get_current_parameters()["priority"],
        server_default="0",
        comment="highest first in the queue: priority, memory, uncertainty, age and criticality, see "
        "pipeline.cases.queue",
    )
    reasons: Mapped[list[Any]] = mapped_column(comment="code, facts, first and last time and count of each")
    fault_probability: Mapped[float | None] = mapped_column(comment="highest of its bins")
    fault_q05: Mapped[float | None]
    fault_q95: Mapped[float | None]
    fault_shares: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
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

    __table_args__ = (
        Index("ix_cases_queue", "state", "queue_priority", "first_at", "case_id"),
        Index("ix_cases_oldest", "state", "axis_id", "first_at", "case_id"),
        Index("ix_cases_to_place", "case_id", sqlite_where=TO_PLACE, postgresql_where=TO_PLACE),
    )


class CaseTally(Base):
    """What the bins of a long case up to a time add up to, so that advise need not read them again. Key: case.

    Only for cases longer than 64 bins. A row that is missing costs time and nothing else. A few a day.
    """

    __tablename__ = "case_tallies"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id", ondelete="CASCADE"), primary_key=True)
    until_at: Mapped[datetime] = mapped_column(comment="bins that start before it are in the row")
    n_bins: Mapped[int] = mapped_column(comment="flagged bins of the case")
    priority: Mapped[float] = mapped_column(comment="highest of those bins, as in cases")
    reasons: Mapped[list[Any]] = mapped_column(comment="of those bins, as in cases")
    fault_probability: Mapped[float | None] = mapped_column(comment="highest of those bins")
    fault_q05: Mapped[float | None]
    fault_q95: Mapped[float | None]
    fault_shares: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    mode: Mapped[str | None] = mapped_column(comment="most probable fault class at that bin")


class CaseEvidence(Base):
    """What the most suspicious recording of a case shows: its regime, its loudest bearing line, what moved. Key: case.

    Computed after advise from stored features, and again when the case has changed. As many rows as cases.
    """

    __tablename__ = "case_evidence"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    recording_id: Mapped[str | None] = mapped_column(String(32), comment="the most suspicious one; null: none is left")
    channel: Mapped[str | None]
    scope: Mapped[str | None] = mapped_column(comment="model scope of its features; null: it has none")
    program: Mapped[str | None]
    shaft_speed_rpm: Mapped[float | None]
    line: Mapped[str | None] = mapped_column(
        String(8), comment="bpfo, bpfi or bsf2x; the bearing line that stands out in the envelope; null: none"
    )
    lines: Mapped[list[Any] | None] = mapped_column(
        JSON(none_as_null=True),
        comment="per bearing part: expected and measured order, height (dB), whether found, which part it belongs to",
    )
    feature_version: Mapped[str | None] = mapped_column(String(16))
    moved: Mapped[bytes | None] = mapped_column(
        LargeBinary, comment="float32, little endian: each feature's distance from the unit's baseline in its spreads"
    )
    case_changed_at: Mapped[datetime] = mapped_column(comment="changed_at of the case that it was made from")
    known_at: Mapped[datetime]


class CaseAnswer(Base):
    """What a case showed when a finding was given on it, for case memory. Key: label. A few a day.

    Copied from `case_evidence`, and never changed: the case may go on, and then shows what nobody has judged.
    """

    __tablename__ = "case_answers"

    label_id: Mapped[str] = mapped_column(ForeignKey("labels.label_id"), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), index=True)
    scope: Mapped[str]
    feature_version: Mapped[str] = mapped_column(String(16))
    moved: Mapped[bytes] = mapped_column(LargeBinary, comment="as in case_evidence")
    known_at: Mapped[datetime] = mapped_column(comment="of the label")

    __table_args__ = (Index(None, "scope", "feature_version", "known_at"),)


class CaseMemory(Base):
    """What findings on look-alikes say about a case that is not closed. Key: case. No row: nothing is near."""

    __tablename__ = "case_memory"

    case_id: Mapped[str] = mapped_column(
        String(12), primary_key=True, comment="no foreign key: nobody waits for who holds the case"
    )
    figure: Mapped[float] = mapped_column(comment="0 (look-alikes were healthy) to 1 (they were faulty)")
    rests_on: Mapped[list[Any]] = mapped_column(comment="findings, nearest first, each with similarity and weight")
    told: Mapped[bool] = mapped_column(Boolean, comment="its history says that it looks like a fault")
    known_at: Mapped[datetime]


class CaseWork(Base):
    """Who works on a case, and what was agreed. Advise writes `cases`, never this table. Key: case. Tens a day."""

    __tablename__ = "case_work"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None] = mapped_column(comment="the claim holds before this time")
    snoozed_priority: Mapped[float | None] = mapped_column(comment="priority when it was snoozed; a rise wakes it")
    work_order: Mapped[str | None] = mapped_column(comment="number in the maintenance system")
    known_at: Mapped[datetime]


class ReviewEvent(Base):
    """An act on a case: what happened, when and by whom. Key: case and count. Tens a day.

    Append only: a trigger of the database refuses to change or delete a row.
    """

    __tablename__ = "review_events"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="1, 2, 3 ...")
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(comment="'axiswatch' for what a step did")
    action: Mapped[str] = mapped_column(
        String(16),
        comment="opened, reopened, changed, closed, verdict, claimed, released, handed_over, snoozed, woken, comment, "
        "work_order or undone",
    )
    details: Mapped[dict[str, Any]] = mapped_column(
        comment="of the action; of a person's also `seen`: what was on the screen, else what was on record"
    )


class Label(Base):
    """A finding about a unit or an axis in a time range. Never overwritten: a later finding is added.

    Key: hash of its content. The words are in docs/labels.md. A few a day.
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
    case_id: Mapped[str | None] = mapped_column(String(12), index=True)
    known_at: Mapped[datetime]

    __table_args__ = (Index("ix_labels_newest", "known_at", "label_id"),)


class LabelWithdrawal(Base):
    """A label that its author withdrew: it is not used any more from then on. Key: label. A few a week."""

    __tablename__ = "label_withdrawals"

    label_id: Mapped[str] = mapped_column(ForeignKey("labels.label_id"), primary_key=True)
    who: Mapped[str]
    known_at: Mapped[datetime]


class AxisMute(Base):
    """The cases of an axis are kept out of the queue for some time, for a reason. Key: axis and start. A few a week.

    The newest row of an axis is valid; one that ends at its own start ends the mute before it.
    """

    __tablename__ = "axis_mutes"

    axis_id: Mapped[str] = mapped_column(ForeignKey("axes.axis_id"), primary_key=True)
    known_at: Mapped[datetime] = mapped_column(primary_key=True, comment="its start")
    until_at: Mapped[datetime] = mapped_column(comment="its end, not included")
    reason: Mapped[str]
    who: Mapped[str]
    seen: Mapped[dict[str, Any] | None] = mapped_column(
        JSON(none_as_null=True), comment="what was on record of the axis: state, figures, models"
    )

    __table_args__ = (Index(None, "until_at"),)


class WebhookEvent(Base):
    """An act on a case as the webhook reports it, written in the transaction of the act. Key: case and count.

    One for each row of `review_events`, with the same key. Hundreds a day. A row that was delivered or skipped is
    deleted after 90 days.
    """

    __tablename__ = "webhook_events"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="of the act in review_events")
    kind: Mapped[str] = mapped_column(String(16), comment="case.opened, case.reopened, case.changed or case.closed")
    body: Mapped[str] = mapped_column(Text, comment="JSON as it is sent, byte for byte, at every try")
    state: Mapped[str] = mapped_column(String(16), comment="waiting, delivered, given_up or skipped")
    attempts: Mapped[int] = mapped_column(comment="tries so far")
    not_before: Mapped[datetime | None] = mapped_column(
        comment="next try; while one is under way, when it is taken as dead"
    )
    answer: Mapped[str] = mapped_column(comment="what came of the last try")
    ended_at: Mapped[datetime | None] = mapped_column(comment="when it was delivered, given up or skipped")
    known_at: Mapped[datetime] = mapped_column(comment="of the act")

    __table_args__ = (Index(None, "state", "case_id", "sequence"),)
