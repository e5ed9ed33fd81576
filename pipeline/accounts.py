"""Who may do what: users with argon2 passwords and a role, sessions of browsers, tokens of programs.

Cookies and tokens are long random texts, and only their SHA-256 is stored. The extra `review` brings argon2.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.store.database import Store, insert_new, upsert
from pipeline.store.tables import ApiToken, LoginFailure, User, UserSession

ROLES = ("viewer", "reviewer", "admin")
"""Each may what those before it may."""

SHORTEST_PASSWORD = 10
NO_PASSWORD = "outside"
"""Stands in place of a hash, and is the hash of no password."""

FREE_TRIES = 5
WAIT = timedelta(minutes=5)


@dataclass(frozen=True)
class Account:
    """Who asks: a name and a role; for a browser the word that its writes bring along, else ''."""

    name: str
    role: str
    csrf: str = ""

    def may(self, role: str) -> bool:
        """Say whether this role includes another one."""
        return ROLES.index(self.role) >= ROLES.index(role)


def add_user(store: Store, name: str, role: str, password: str, *, at: datetime) -> None:
    """Add somebody who may log in.

    Raises
    ------
    AxiswatchError
        The name is taken or cannot be printed, the role unknown, or the password too short.
    """
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise AxiswatchError(f"the name {name!r} is empty, longer than 100 characters or cannot be printed")
    if role not in ROLES:
        raise AxiswatchError(f"role {role!r} is none of {', '.join(ROLES)}")
    hashed = _hash(password)
    row = {"name": name, "role": role, "password_hash": hashed, "disabled": False, "known_at": at}
    with store.write() as connection:
        if not insert_new(connection, User, row):
            raise AxiswatchError(f"there is a user {name!r} already; `axiswatch user set` changes one")


def set_user(store: Store, name: str, *, role: str = "", password: str = "", disabled: bool | None = None) -> None:
    """Change role, password or whether somebody may log in; who is changed has to log in again.

    Raises
    ------
    PrerequisiteMissing
        There is no such user.
    """
    if role and role not in ROLES:
        raise AxiswatchError(f"role {role!r} is none of {', '.join(ROLES)}")
    values: dict[str, Any] = {"role": role} if role else {}
    values |= {"password_hash": _hash(password)} if password else {}
    values |= {} if disabled is None else {"disabled": disabled}
    with store.write() as connection:
        if connection.scalar(sa.select(User.name).where(User.name == name)) is None:
            raise PrerequisiteMissing(f"there is no user {name!r}; `axiswatch user list` shows them")
        if values:
            connection.execute(sa.update(User).where(User.name == name).values(**values))
        connection.execute(sa.delete(UserSession).where(UserSession.name == name))
        if disabled:
            connection.execute(sa.delete(ApiToken).where(ApiToken.name == name))


def enter_outside_user(store: Store, name: str, role: str, *, at: datetime) -> bool:
    """Keep the books of somebody whom another system has let in; say whether we do, too (False: disabled here).

    They stand among the users, so that cases can be handed over to them, and have no password: nobody can log in by
    their name.
    """
    query = sa.select(User.role, User.disabled).where(User.name == name)
    with store.read() as connection:
        known = connection.execute(query).one_or_none()
    if known is not None and (known.disabled or known.role == role):
        return not known.disabled
    row = {"name": name, "role": role, "password_hash": NO_PASSWORD, "disabled": False, "known_at": at}
    with store.write() as connection:
        if not insert_new(connection, User, row):
            connection.execute(sa.update(User).where(User.name == name).values(role=role))
    return True


def list_users(store: Store) -> list[dict[str, Any]]:
    """Give all users by name, without their passwords."""
    query = sa.select(User.name, User.role, User.disabled, User.known_at).order_by(User.name)
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def log_in(store: Store, name: str, password: str, *, at: datetime, hours: float) -> str | None:
    """Check a password and give the text of a new session's cookie; None where it is wrong.

    Raises
    ------
    AxiswatchError
        There were five wrong passwords for this name; the next try is allowed five minutes after the last one.
    """
    with store.write() as connection:
        past = connection.execute(sa.select(LoginFailure).where(LoginFailure.name == name)).one_or_none()
        recent = past.failures if past is not None and past.known_at > at - WAIT else 0
        if recent >= FREE_TRIES:
            raise AxiswatchError("too many wrong passwords for this name; wait five minutes")
        # Counted before the password is looked at, so that many tries at once gain nothing.
        upsert(connection, LoginFailure, [{"name": name, "failures": recent + 1, "known_at": at}])
        user = connection.execute(sa.select(User).where(User.name == name)).one_or_none()
    good = _verify(user.password_hash if user is not None else None, password)
    if user is None or user.disabled or not good:
        return None
    cookie = secrets.token_urlsafe(32)
    row = {"session_hash": _sha(cookie), "name": name, "csrf": secrets.token_urlsafe(32), "known_at": at}
    with store.write() as connection:
        connection.execute(sa.delete(LoginFailure).where(LoginFailure.name == name))
        connection.execute(sa.delete(UserSession).where(UserSession.expires_at <= at))
        insert_new(connection, UserSession, row | {"expires_at": at + timedelta(hours=hours)})
    return cookie


def log_out(store: Store, cookie: str) -> None:
    """End a session."""
    with store.write() as connection:
        connection.execute(sa.delete(UserSession).where(UserSession.session_hash == _sha(cookie)))


def account_of_session(store: Store, cookie: str, *, at: datetime) -> Account | None:
    """Give whose session a cookie is; None where it is nobody's or over."""
    query = (
        sa.select(User.name, User.role, UserSession.csrf)
        .join(UserSession, UserSession.name == User.name)
        .where(UserSession.session_hash == _sha(cookie), UserSession.expires_at > at, User.disabled.is_(False))
    )
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else Account(row.name, row.role, row.csrf)


def make_token(store: Store, name: str, *, purpose: str, at: datetime, days: float) -> str:
    """Make a token for a program that acts as a user; it is shown once and stored as a hash.

    Raises
    ------
    PrerequisiteMissing
        There is no such user.
    """
    token = secrets.token_urlsafe(32)
    with store.write() as connection:
        if connection.scalar(sa.select(User.name).where(User.name == name)) is None:
            raise PrerequisiteMissing(f"there is no user {name!r}; `axiswatch user list` shows them")
        row = {"token_hash": _sha(token), "name": name, "purpose": purpose, "known_at": at}
        insert_new(connection, ApiToken, row | {"expires_at": at + timedelta(days=days)})
    return token


def account_of_token(store: Store, token: str, *, at: datetime) -> Account | None:
    """Give whom a token acts for; None where it is no token or over."""
    query = (
        sa.select(User.name, User.role)
        .join(ApiToken, ApiToken.name == User.name)
        .where(ApiToken.token_hash == _sha(token), ApiToken.expires_at > at, User.disabled.is_(False))
    )
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else Account(row.name, row.role)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _hasher() -> Any:
    try:
        from argon2 import PasswordHasher
    except ModuleNotFoundError as error:
        raise PrerequisiteMissing("passwords need argon2: pip install 'axiswatch[review]'") from error
    return PasswordHasher()


def _hash(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise AxiswatchError(f"a password has at least {SHORTEST_PASSWORD} characters")
    hashed: str = _hasher().hash(password)
    return hashed


def _verify(hashed: str | None, password: str) -> bool:
    """Check a password; an unknown name takes as long as a wrong password."""
    hasher = _hasher()
    hashed = None if hashed == NO_PASSWORD else hashed
    from argon2.exceptions import VerifyMismatchError

    try:
        hasher.verify(hashed or hasher.hash("nobody has this password"), password)
    except VerifyMismatchError:
        return False
    return hashed is not None
