"""Who may do what: users with argon2 passwords and a role, sessions of browsers, tokens of programs.

Cookies and tokens are long random texts, and only their SHA-256 is stored. The extra `review` installs argon2.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError, Coded, PrerequisiteMissing
from pipeline.store.database import Store, insert_new, upsert
from pipeline.store.tables import ApiToken, LoginFailure, User, UserSession

ROLES = ("viewer", "reviewer", "admin")
"""Roles; each one includes the rights of those before it."""

SHORTEST_PASSWORD = 10
NO_PASSWORD = "outside"
"""Stored instead of a hash: no password has it as its hash."""

FREE_TRIES = 5
WAIT = timedelta(minutes=5)


@dataclass(frozen=True)
class Account:
    """The user of a request: name and role, and for a browser the token that its writes must carry (else '')."""

    name: str
    role: str
    csrf: str = ""

    def may(self, role: str) -> bool:
        """Return whether this role includes another one."""
        return ROLES.index(self.role) >= ROLES.index(role)


def add_user(store: Store, name: str, role: str, password: str, *, at: datetime) -> None:
    """Add a user who may log in.

    Raises
    ------
    AxiswatchError
        The name is taken or cannot be printed, the role does not exist, or the password is too short.
    """
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise AxiswatchError(f"the name {name!r} is empty, longer than 100 characters or cannot be printed")
    if role not in ROLES:
        raise AxiswatchError(f"role {role!r} does not exist; use one of {', '.join(ROLES)}")
    hashed = _hash(password)
    row = {"name": name, "role": role, "password_hash": hashed, "disabled": False, "known_at": at}
    with store.write() as connection:
        if not insert_new(connection, User, row):
            raise AxiswatchError(f"user {name!r} already exists; `axiswatch user set` changes a user")


def set_user(store: Store, name: str, *, role: str = "", password: str = "", disabled: bool | None = None) -> None:
    """Change a user's role, password or whether the user may log in; the user has to log in again.

    Raises
    ------
    PrerequisiteMissing
        There is no such user.
    AxiswatchError
        The role does not exist, or the password is too short.
    """
    if role and role not in ROLES:
        raise AxiswatchError(f"role {role!r} does not exist; use one of {', '.join(ROLES)}")
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


def record_outside_user(store: Store, name: str, role: str, *, at: datetime) -> bool:
    """Record a user who was authenticated by another system; return whether the account is enabled here.

    The user is stored like the others, so cases can be handed over to the user, but without a password: nobody can log
    in here with that name.
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
    """Return all users by name, without their passwords."""
    query = sa.select(User.name, User.role, User.disabled, User.known_at).order_by(User.name)
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def log_in(store: Store, name: str, password: str, *, at: datetime, hours: float) -> str | None:
    """Check a password and return the text of a new session's cookie; None if it is wrong or the account is disabled.

    Raises
    ------
    AxiswatchError
        There were five wrong passwords for this name; the next try is allowed five minutes after the last one.
    """
    with store.write() as connection:
        past = connection.execute(sa.select(LoginFailure).where(LoginFailure.name == name)).one_or_none()
        recent = past.failures if past is not None and past.known_at > at - WAIT else 0
        if recent >= FREE_TRIES:
            text = "too many wrong passwords for this name; wait five minutes"
            raise AxiswatchError(Coded(text, "too_many_tries", minutes=WAIT // timedelta(minutes=1)))
        # The try is counted before the password is checked, so that many tries at the same time gain nothing.
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
    """Return the account of a session's cookie; None if there is no such session or it has ended."""
    query = (
        sa.select(User.name, User.role, UserSession.csrf)
        .join(UserSession, UserSession.name == User.name)
        .where(UserSession.session_hash == _sha(cookie), UserSession.expires_at > at, User.disabled.is_(False))
    )
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else Account(row.name, row.role, row.csrf)


def make_token(store: Store, name: str, *, purpose: str, at: datetime, days: float) -> str:
    """Make a token for a program that acts as a user. It is shown once and stored as a hash.

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
    """Return the account that a token acts for; None if there is no such token or it has expired."""
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
        raise AxiswatchError(f"a password needs at least {SHORTEST_PASSWORD} characters")
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
