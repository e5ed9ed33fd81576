"""The tables of working together: who may do what, who is at which case, what was taken back. See `pipeline.schema`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.schema_base import Base


class User(Base):
    """Somebody who may log in. Key: name. A few a year."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(String(16), comment="viewer, reviewer or admin")
    password_hash: Mapped[str] = mapped_column(comment="argon2id")
    disabled: Mapped[bool] = mapped_column(Boolean)
    known_at: Mapped[datetime]


class UserSession(Base):
    """A browser that is logged in. Key: SHA-256 of its cookie. Tens a day."""

    __tablename__ = "user_sessions"

    session_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(ForeignKey("users.name"))
    csrf: Mapped[str] = mapped_column(comment="what every write of this browser has to bring along")
    expires_at: Mapped[datetime]
    known_at: Mapped[datetime]


class ApiToken(Base):
    """A program that may act for a user. Key: SHA-256 of the token. A few a year."""

    __tablename__ = "api_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(ForeignKey("users.name"))
    purpose: Mapped[str]
    expires_at: Mapped[datetime]
    known_at: Mapped[datetime]


class LoginFailure(Base):
    """Failed log-ins in a row under a name; the row goes with the next success. Key: name. A few a day."""

    __tablename__ = "login_failures"

    name: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(comment="since the last success or the last quiet time")
    known_at: Mapped[datetime] = mapped_column(comment="of the newest one")


class CaseWork(Base):
    """Who is at a case, and what was agreed on it. Advise writes `cases` and never this. Key: case. Tens a day."""

    __tablename__ = "case_work"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None] = mapped_column(comment="the claim holds before this time")
    snoozed_priority: Mapped[float | None] = mapped_column(comment="priority when it was snoozed; a rise wakes it")
    work_order: Mapped[str | None] = mapped_column(comment="number in the maintenance system")
    known_at: Mapped[datetime]


class LabelWithdrawal(Base):
    """A label that its author took back: it counts no more from then on. Key: label. A few a week."""

    __tablename__ = "label_withdrawals"

    label_id: Mapped[str] = mapped_column(ForeignKey("labels.label_id"), primary_key=True)
    who: Mapped[str]
    known_at: Mapped[datetime]


class AxisMute(Base):
    """Cases of an axis stay out of the queue for a time, for a reason. Key: axis and start. A few a week.

    The newest row of an axis holds; one that ends at its own start lifts the mute before it.
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
