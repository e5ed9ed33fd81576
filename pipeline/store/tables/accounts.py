"""Tables of users: roles, sessions, tokens, failed log-ins."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.store.tables.base import Base


class User(Base):
    """A person who may log in. Key: name. A few a year."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(String(16), comment="viewer, reviewer or admin")
    password_hash: Mapped[str] = mapped_column(comment="argon2id; outside: the user comes through Airflow and has none")
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
    role: Mapped[str | None] = mapped_column(String(16), comment="the most it may do; null: as much as its user")
    purpose: Mapped[str]
    expires_at: Mapped[datetime]
    known_at: Mapped[datetime]


class LoginFailure(Base):
    """Wrong passwords by where they came from; rows go after five minutes. Key: source, name. A few a day."""

    __tablename__ = "login_failures"

    source: Mapped[str] = mapped_column(String(64), primary_key=True, comment="address that the request came from")
    name: Mapped[str] = mapped_column(String(100), primary_key=True, comment="empty: what cannot be a name")
    failures: Mapped[int] = mapped_column(comment="in a row")
    known_at: Mapped[datetime] = mapped_column(comment="of the newest one")
