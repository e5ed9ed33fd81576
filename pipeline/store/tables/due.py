"""Tables of work that is waiting: what each step has to look at, and what its marks were made for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.store.tables.base import Base


class DueWork(Base):
    """A mark: a step has something to look at. Key: subject, step, scope and version. Empty where nothing is due.

    It goes in the transaction that has done the work, if `cause` is still the same: what is marked for another cause
    while a step works on it stays marked.
    """

    __tablename__ = "due_work"

    subject: Mapped[str] = mapped_column(
        primary_key=True,
        comment="recording_id; of baseline an axis_id; of course axis, unit and channel as JSON; of remember a case or "
        "a label",
    )
    step: Mapped[str] = mapped_column(
        String(16), primary_key=True, comment="extract, baseline, trend, course, score or remember"
    )
    scope: Mapped[str] = mapped_column(
        primary_key=True, comment="model scope of score; of remember case or label; else ''"
    )
    version: Mapped[str] = mapped_column(
        String(16), primary_key=True, comment="feature version of score, trend and course; else ''"
    )
    at: Mapped[datetime] = mapped_column(comment="start of the recording; the newest is taken first")
    size: Mapped[int] = mapped_column(
        BigInteger, comment="of extract bytes of samples, of score windows, of other steps 1"
    )
    cause: Mapped[str] = mapped_column(comment="what it was marked for: a hash or a version; '' for a new recording")

    __table_args__ = (Index("ix_due_work_order", "step", "scope", "version", "at", "subject"),)


class DueBasis(Base):
    """What the marks of a step were made for; where that changes, the step marks anew. Key: step and name."""

    __tablename__ = "due_bases"

    step: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(
        primary_key=True, comment="of extract a quantity, of score a model scope, of trend a feature version; else ''"
    )
    basis: Mapped[str] = mapped_column(
        comment="of extract the feature version, of score the champion, of baseline and remember a hash "
        "of settings; else ''"
    )
