"""The table of what is to be told to another system. See `pipeline.schema` for the others."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.schema_base import Base


class WebhookEvent(Base):
    """An act on a case that the webhook tells of, written in the act's own transaction. Key: case and count.

    One for each row of `review_events`, with the same key. Hundreds a day.
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
