"""The table of what the signal of a case shows by itself. See `pipeline.schema` for the others."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.schema_base import Base


class CaseEvidence(Base):
    """What the most suspicious recording of a case shows: its regime, its loudest bearing line, what moved. Key: case.

    Made after advise from stored features; made anew when the case has changed. As many rows as cases.
    """

    __tablename__ = "case_evidence"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    recording_id: Mapped[str | None] = mapped_column(String(32), comment="the most suspicious one; null: none is left")
    channel: Mapped[str | None]
    program: Mapped[str | None]
    shaft_speed_rpm: Mapped[float | None]
    line: Mapped[str | None] = mapped_column(
        String(8), comment="bpfo, bpfi or bsf2x: the defect that the envelope speaks for; null: none"
    )
    line_order: Mapped[float | None] = mapped_column(comment="of that line, multiples of the shaft's speed")
    line_db: Mapped[float | None] = mapped_column(comment="height of its first harmonic over the floor, dB")
    feature_version: Mapped[str | None] = mapped_column(String(16))
    moved: Mapped[bytes | None] = mapped_column(
        LargeBinary, comment="float32, little endian: each feature's distance from the unit's baseline in its spreads"
    )
    case_changed_at: Mapped[datetime] = mapped_column(comment="changed_at of the case that it was made from")
    known_at: Mapped[datetime]
