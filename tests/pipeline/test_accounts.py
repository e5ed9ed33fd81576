"""Users, sessions and tokens: what lets somebody in, and above all what does not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.accounts import (
    NO_PASSWORD,
    Account,
    account_of_session,
    account_of_token,
    add_user,
    log_in,
    log_out,
    make_token,
    record_outside_user,
    set_user,
)
from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.store.database import Store

AT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
RIGHT, WRONG = "right password", "wrong password"


@pytest.fixture
def mara(sqlite_store: Store) -> Store:
    """A store with one reviewer."""
    add_user(sqlite_store, "mara", "reviewer", RIGHT, at=AT)
    return sqlite_store


def test_wrong_passwords_are_throttled_and_a_change_ends_sessions(store: Store) -> None:
    add_user(store, "mara", "reviewer", RIGHT, at=AT)
    add_user(store, "jun", "reviewer", RIGHT, at=AT)
    for _ in range(5):
        assert log_in(store, "mara", WRONG, at=AT, hours=1) is None
    with pytest.raises(AxiswatchError, match="too many"):
        log_in(store, "mara", RIGHT, at=AT, hours=1)
    assert log_in(store, "jun", RIGHT, at=AT, hours=1) is not None, "each name has its own tries"
    later = AT + timedelta(minutes=5)
    with pytest.raises(AxiswatchError, match="too many"):
        log_in(store, "mara", RIGHT, at=later - TICK, hours=1)
    cookie = log_in(store, "mara", RIGHT, at=later, hours=1)
    assert cookie is not None
    account = account_of_session(store, cookie, at=later)
    assert account is not None
    assert (account.name, account.may("reviewer"), account.may("admin")) == ("mara", True, False)
    assert account_of_session(store, cookie, at=later + HOUR - TICK) is not None
    assert account_of_session(store, cookie, at=later + HOUR) is None
    set_user(store, "mara", role="viewer")
    assert account_of_session(store, cookie, at=later) is None


def test_tries_at_an_unknown_name_are_throttled_too(mara: Store) -> None:
    """Otherwise the answer would show which names exist."""
    for _ in range(5):
        assert log_in(mara, "nobody", WRONG, at=AT, hours=1) is None
    with pytest.raises(AxiswatchError, match="too many"):
        log_in(mara, "nobody", WRONG, at=AT, hours=1)


def test_a_right_password_ends_the_count_of_wrong_ones(mara: Store) -> None:
    for _ in range(3):
        for _ in range(4):
            assert log_in(mara, "mara", WRONG, at=AT, hours=1) is None
        assert log_in(mara, "mara", RIGHT, at=AT, hours=1) is not None


def test_a_disabled_user_gets_in_by_no_way(mara: Store) -> None:
    cookie = log_in(mara, "mara", RIGHT, at=AT, hours=1)
    token = make_token(mara, "mara", purpose="test", at=AT, days=1)
    assert cookie is not None
    set_user(mara, "mara", disabled=True)
    new_token = make_token(mara, "mara", purpose="made after", at=AT, days=1)
    assert log_in(mara, "mara", RIGHT, at=AT, hours=1) is None
    assert account_of_session(mara, cookie, at=AT) is None
    assert account_of_token(mara, token, at=AT) is None
    assert account_of_token(mara, new_token, at=AT) is None
    assert record_outside_user(mara, "mara", "admin", at=AT) is False
    set_user(mara, "mara", disabled=False)
    assert account_of_session(mara, cookie, at=AT) is None, "what was ended stays ended"
    assert account_of_token(mara, token, at=AT) is None, "what was ended stays ended"
    assert log_in(mara, "mara", RIGHT, at=AT, hours=1) is not None


def test_no_password_cookie_or_token_can_be_read_from_the_database(
    mara: Store, dump: Callable[[Store], dict[str, list[dict[str, Any]]]]
) -> None:
    cookie = log_in(mara, "mara", RIGHT, at=AT, hours=1)
    token = make_token(mara, "mara", purpose="test", at=AT, days=1)
    assert cookie is not None
    tables = dump(mara)
    stored = repr(tables)
    for secret in (RIGHT, cookie, token):
        assert secret not in stored
    (session,), (api_token,), (user,) = tables["user_sessions"], tables["api_tokens"], tables["users"]
    assert session["session_hash"] == hashlib.sha256(cookie.encode()).hexdigest()
    assert api_token["token_hash"] == hashlib.sha256(token.encode()).hexdigest()
    assert user["password_hash"].startswith("$argon2id$")


def test_secrets_are_long_and_never_the_same(mara: Store) -> None:
    cookies = [log_in(mara, "mara", RIGHT, at=AT, hours=1) for _ in range(3)]
    tokens = [make_token(mara, "mara", purpose="test", at=AT, days=1) for _ in range(3)]
    words = [account.csrf for cookie in cookies if cookie and (account := account_of_session(mara, cookie, at=AT))]
    secrets = [str(text) for text in (*cookies, *tokens, *words)]
    assert len(set(secrets)) == 9
    assert min(map(len, secrets)) >= 43, "32 bytes, so that nobody guesses one"


def test_a_token_ends_and_acts_in_the_role_that_its_user_has_now(mara: Store) -> None:
    token = make_token(mara, "mara", purpose="test", at=AT, days=1)
    end = AT + timedelta(days=1)
    assert account_of_token(mara, token, at=end - TICK) == Account("mara", "reviewer")
    assert account_of_token(mara, token, at=end) is None
    set_user(mara, "mara", role="viewer")
    assert account_of_token(mara, token, at=AT) == Account("mara", "viewer")
    assert account_of_token(mara, token + "x", at=AT) is None
    assert account_of_token(mara, "", at=AT) is None
    with pytest.raises(PrerequisiteMissing, match="no user 'jun'"):
        make_token(mara, "jun", purpose="test", at=AT, days=1)


def test_a_cookie_is_no_token_and_a_token_is_no_cookie(mara: Store) -> None:
    cookie = log_in(mara, "mara", RIGHT, at=AT, hours=1)
    token = make_token(mara, "mara", purpose="test", at=AT, days=1)
    assert cookie is not None
    assert account_of_token(mara, cookie, at=AT) is None
    assert account_of_session(mara, token, at=AT) is None


def test_log_out_ends_one_session_and_no_other(mara: Store) -> None:
    first, second = (log_in(mara, "mara", RIGHT, at=AT, hours=1) for _ in range(2))
    assert first is not None
    assert second is not None
    log_out(mara, first)
    assert account_of_session(mara, first, at=AT) is None
    assert account_of_session(mara, second, at=AT) is not None


def test_a_new_password_ends_sessions_and_the_old_one(mara: Store) -> None:
    cookie = log_in(mara, "mara", RIGHT, at=AT, hours=1)
    assert cookie is not None
    set_user(mara, "mara", password="another password")
    assert account_of_session(mara, cookie, at=AT) is None
    assert log_in(mara, "mara", RIGHT, at=AT, hours=1) is None
    assert log_in(mara, "mara", "another password", at=AT, hours=1) is not None


def test_short_passwords_and_unknown_roles_are_refused(mara: Store) -> None:
    with pytest.raises(AxiswatchError, match="at least 10"):
        add_user(mara, "jun", "reviewer", "123456789", at=AT)
    with pytest.raises(AxiswatchError, match="at least 10"):
        set_user(mara, "mara", password="123456789")
    for change in (lambda: add_user(mara, "jun", "owner", RIGHT, at=AT), lambda: set_user(mara, "mara", role="owner")):
        with pytest.raises(AxiswatchError, match="role 'owner'"):
            change()
    with pytest.raises(AxiswatchError, match="there is a user 'mara'"):
        add_user(mara, "mara", "admin", WRONG, at=AT)
    assert log_in(mara, "mara", RIGHT, at=AT, hours=1) is not None, "nothing of it changed the user"


@pytest.mark.parametrize("guess", [NO_PASSWORD, "", "nobody has this password"])
def test_who_came_from_another_system_has_no_password_here(sqlite_store: Store, guess: str) -> None:
    assert record_outside_user(sqlite_store, "ana", "admin", at=AT)
    assert log_in(sqlite_store, "ana", guess, at=AT, hours=1) is None


def test_the_role_of_an_outside_user_follows_the_other_system(mara: Store) -> None:
    record_outside_user(mara, "ana", "admin", at=AT)
    token = make_token(mara, "ana", purpose="test", at=AT, days=1)
    assert account_of_token(mara, token, at=AT) == Account("ana", "admin")
    assert record_outside_user(mara, "ana", "viewer", at=AT)
    assert account_of_token(mara, token, at=AT) == Account("ana", "viewer")


def test_a_role_includes_the_ones_before_it_only() -> None:
    may = {role: [Account("x", role).may(other) for other in ("viewer", "reviewer", "admin")] for role in
           ("viewer", "reviewer", "admin")}  # fmt: skip
    assert may == {"viewer": [True, False, False], "reviewer": [True, True, False], "admin": [True, True, True]}
