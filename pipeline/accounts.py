"""Who may do what: users with argon2 passwords and a role, sessions of browsers, tokens of programs.

Cookies and tokens are long random texts, and only their SHA-256 is stored. The extra `review` installs argon2.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from threading import BoundedSemaphore
from typing import Any, Final

import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError, Coded, PrerequisiteMissing
from pipeline.store.database import Store, insert_new, upsert
from pipeline.store.tables import ApiToken, LoginFailure, User, UserSession

ROLES = ("viewer", "reviewer", "admin")
"""Roles; each one includes the rights of those before it."""

SHORTEST_PASSWORD = 10
NO_PASSWORD = "outside"
"""Stored instead of a hash: no password has it as its hash."""

LONGEST_NAME = 100
LONGEST_PURPOSE = 200

FREE_TRIES = 5
"""Wrong passwords for a name that one source may send in `WAIT`."""

MOST_TRIES = 30
"""Wrong passwords that one source may send in `WAIT`, whatever the names."""

WAIT = timedelta(minutes=5)

AT_ONCE = 2
"""Passwords checked at the same time: argon2 takes 64 MiB and a processor for each."""

PATIENCE_S = 0.25
"""A log-in waits so long for its turn; a request that waits keeps a thread from others."""

_turns: Final = BoundedSemaphore(AT_ONCE)


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
    if not _is_name(name):
        shown = name[:LONGEST_NAME]
        raise AxiswatchError(f"the name {shown!r} is empty, longer than {LONGEST_NAME} characters or cannot be printed")
    if role not in ROLES:
        raise AxiswatchError(f"role {role!r} does not exist; use one of {', '.join(ROLES)}")
    hashed = _hash(password)
    row = {"name": name, "role": role, "password_hash": hashed, "disabled": False, "known_at": at}
    with store.write() as connection:
        if not insert_new(connection, User, row):
            raise AxiswatchError(f"user {name!r} already exists; `axiswatch user set` changes a user")


def set_user(store: Store, name: str, *, role: str = "", password: str = "", disabled: bool | None = None) -> None:
    """Change a user's role, password or whether the user may log in; the user has to log in again.

    With another password, and where the user is disabled, the user's tokens end too.

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
        if disabled or password:
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


def log_in(store: Store, name: str, password: str, *, at: datetime, hours: float, source: str = "") -> str | None:
    """Check a password and return the text of a new session's cookie; None if it is wrong or the account is disabled.

    Parameters
    ----------
    source
        Where the request comes from. Tries are counted by source, so nobody locks out a user who is elsewhere.

    Raises
    ------
    AxiswatchError
        This source sent too many wrong passwords, or too many log-ins are being checked at this moment.
    """
    counted = name if _is_name(name) else ""
    with store.write() as connection:
        connection.execute(sa.delete(LoginFailure).where(LoginFailure.known_at <= at - WAIT))
        tries = sa.select(LoginFailure.name, LoginFailure.failures).where(LoginFailure.source == source)
        recent = {row.name: row.failures for row in connection.execute(tries)}
        if recent.get(counted, 0) >= FREE_TRIES or sum(recent.values()) >= MOST_TRIES:
            text = "too many wrong passwords; wait five minutes"
            raise AxiswatchError(Coded(text, "too_many_tries", minutes=WAIT // timedelta(minutes=1)))
        # The try is counted before the password is checked, so that many tries at the same time gain nothing.
        failed = {"source": source, "name": counted, "failures": recent.get(counted, 0) + 1, "known_at": at}
        upsert(connection, LoginFailure, [failed])
        user = connection.execute(sa.select(User).where(User.name == counted)).one_or_none()
    with _turn():
        good = _verify(user.password_hash if user is not None else None, password)
    if user is None or user.disabled or not good:
        return None
    cookie = secrets.token_urlsafe(32)
    row = {"session_hash": _sha(cookie), "name": name, "csrf": secrets.token_urlsafe(32), "known_at": at}
    with store.write() as connection:
        own = sa.delete(LoginFailure).where(LoginFailure.source == source, LoginFailure.name == name)
        connection.execute(own)
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


def make_token(store: Store, name: str, *, purpose: str, at: datetime, days: float, role: str = "") -> str:
    """Make a token for a program that acts as a user. It is shown once and stored as a hash.

    Parameters
    ----------
    role
        The most that the program may do: never more than the user. '': as much.

    Raises
    ------
    PrerequisiteMissing
        There is no such user.
    AxiswatchError
        The role does not exist, or the purpose is longer than 200 characters or cannot be printed.
    """
    if role and role not in ROLES:
        raise AxiswatchError(f"role {role!r} does not exist; use one of {', '.join(ROLES)}")
    if len(purpose) > LONGEST_PURPOSE or not purpose.isprintable():
        raise AxiswatchError(
            f"the purpose is longer than {LONGEST_PURPOSE} characters or cannot be printed; shorten it"
        )
    token = secrets.token_urlsafe(32)
    with store.write() as connection:
        if connection.scalar(sa.select(User.name).where(User.name == name)) is None:
            raise PrerequisiteMissing(f"there is no user {name!r}; `axiswatch user list` shows them")
        row = {"token_hash": _sha(token), "name": name, "role": role or None, "purpose": purpose, "known_at": at}
        insert_new(connection, ApiToken, row | {"expires_at": at + timedelta(days=days)})
    return token


def list_tokens(store: Store) -> list[dict[str, Any]]:
    """Return all tokens, newest first, each with the id that `revoke_token` takes; no token can be read from it."""
    query = sa.select(ApiToken).order_by(ApiToken.known_at.desc(), ApiToken.token_hash)
    with store.read() as connection:
        rows = [dict(row._mapping) for row in connection.execute(query)]
    return [{"id": row.pop("token_hash")[:12]} | row for row in rows]


def revoke_token(store: Store, token_id: str) -> None:
    """End a token.

    Raises
    ------
    PrerequisiteMissing
        No token, or more than one, begins with this id.
    """
    with store.write() as connection:
        known = connection.scalars(sa.select(ApiToken.token_hash)).all()
        hashes = [one for one in known if token_id and one.startswith(token_id)]
        if len(hashes) != 1:
            raise PrerequisiteMissing(f"there is no token {token_id[:64]!r}; `axiswatch user tokens` shows them")
        connection.execute(sa.delete(ApiToken).where(ApiToken.token_hash == hashes[0]))


def account_of_token(store: Store, token: str, *, at: datetime) -> Account | None:
    """Return the account that a token acts for; None if there is no such token or it has expired."""
    query = (
        sa.select(User.name, User.role, ApiToken.role.label("most"))
        .join(ApiToken, ApiToken.name == User.name)
        .where(ApiToken.token_hash == _sha(token), ApiToken.expires_at > at, User.disabled.is_(False))
    )
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Account(row.name, min(row.role, row.most or row.role, key=ROLES.index))


def _is_name(text: str) -> bool:
    return len(text.strip()) > 0 and len(text) <= LONGEST_NAME and text.isprintable()


@contextmanager
def _turn() -> Iterator[None]:
    """Wait for a turn to check a password, but not long: see `AT_ONCE`."""
    if not _turns.acquire(timeout=PATIENCE_S):
        raise AxiswatchError(Coded("many people log in at this moment; try again in a few seconds", "busy"))
    try:
        yield
    finally:
        _turns.release()


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


@lru_cache(maxsize=1)
def _nobody() -> str:
    hashed: str = _hasher().hash(secrets.token_urlsafe(16))
    return hashed


def _verify(hashed: str | None, password: str) -> bool:
    """Check a password; an unknown name takes as long as a wrong password."""
    from argon2.exceptions import VerifyMismatchError

    hashed = None if hashed == NO_PASSWORD else hashed
    try:
        _hasher().verify(hashed or _nobody(), password)
    except VerifyMismatchError:
        return False
    return hashed is not None
