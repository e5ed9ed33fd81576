"""Users, sessions and tokens: what lets somebody in, and above all what does not."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import pipeline.accounts
from pipeline.accounts import (
    AT_ONCE,
    MOST_TRIES,
    NO_PASSWORD,
    WAIT,
    Account,
    account_of_session,
    account_of_token,
    add_user,
    list_tokens,
    log_in,
    log_out,
    make_token,
    record_outside_user,
    revoke_token,
    set_user,
)
from pipeline.base.errors import AxiswatchError, Coded, PrerequisiteMissing
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
    with pytest.raises(AxiswatchError, match="user 'mara' already exists"):
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


def test_a_stranger_s_tries_lock_out_the_stranger_and_not_the_user(store: Store) -> None:
    add_user(store, "mara", "reviewer", RIGHT, at=AT)
    for _ in range(5):
        assert log_in(store, "mara", WRONG, at=AT, hours=1, source="198.51.100.7") is None
    with pytest.raises(AxiswatchError, match="too many"):
        log_in(store, "mara", RIGHT, at=AT, hours=1, source="198.51.100.7")
    assert log_in(store, "mara", RIGHT, at=AT, hours=1, source="192.0.2.1") is not None


def test_a_source_that_tries_name_after_name_is_stopped_and_what_it_sent_is_not_kept(
    store: Store, dump: Callable[[Store], dict[str, list[dict[str, Any]]]]
) -> None:
    names = [f"user{number}" for number in range(MOST_TRIES - 2)]
    for name in (*names, "x" * 900_000, "\0"):
        assert log_in(store, name, WRONG, at=AT, hours=1, source="198.51.100.7") is None
    with pytest.raises(AxiswatchError, match="too many"):
        log_in(store, "mara", WRONG, at=AT, hours=1, source="198.51.100.7")
    rows = dump(store)["login_failures"]
    assert max(len(row["name"]) for row in rows) < 10
    assert len(rows) == MOST_TRIES - 1
    assert log_in(store, "later", WRONG, at=AT + WAIT, hours=1, source="192.0.2.1") is None
    assert len(dump(store)["login_failures"]) == 1, "what is over is not kept"


def test_only_a_few_passwords_are_checked_at_once(mara: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """argon2 takes 64 MiB for each: without a bound, sixty log-ins at once took gigabytes."""
    at_once, most, lock = 0, 0, threading.Lock()
    checked = pipeline.accounts._verify

    def counting(hashed: str | None, password: str) -> bool:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        try:
            return checked(hashed, password)
        finally:
            with lock:
                at_once -= 1

    monkeypatch.setattr(pipeline.accounts, "_verify", counting)

    def one(number: int) -> str:
        try:
            return str(log_in(mara, f"user{number}", WRONG, at=AT, hours=1, source=str(number)))
        except AxiswatchError as error:
            return error.sentences[0].code if isinstance(error.sentences[0], Coded) else ""

    with ThreadPoolExecutor(16) as pool:
        said = set(pool.map(one, range(48)))
    assert 1 <= most <= AT_ONCE
    assert said <= {"None", "busy"}
    assert log_in(mara, "mara", RIGHT, at=AT, hours=1, source="192.0.2.1") is not None


def test_an_unknown_name_costs_as_much_as_a_wrong_password(mara: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(mara, "first", WRONG, at=AT, hours=1)
    calls: list[str] = []
    hasher = type(pipeline.accounts._hasher())

    def watch(name: str) -> None:
        real = getattr(hasher, name)

        def told(*args: Any, **more: Any) -> Any:
            calls.append(name)
            return real(*args, **more)

        monkeypatch.setattr(hasher, name, told)

    watch("hash")
    watch("verify")
    assert log_in(mara, "mara", WRONG, at=AT, hours=1) is None
    known, calls[:] = list(calls), []
    assert log_in(mara, "nobody", WRONG, at=AT, hours=1) is None
    assert calls == known == ["verify"]


def test_tokens_are_listed_revoked_narrowed_and_end_with_the_password(mara: Store) -> None:
    reads = make_token(mara, "mara", purpose="wall", at=AT, days=1, role="viewer")
    whole = make_token(mara, "mara", purpose="cmms", at=AT + TICK, days=1)
    above = make_token(mara, "mara", purpose="too much", at=AT + 2 * TICK, days=1, role="admin")
    roles = [account.role for token in (reads, whole, above) if (account := account_of_token(mara, token, at=AT))]
    assert roles == ["viewer", "reviewer", "reviewer"]
    listed = list_tokens(mara)
    assert [row["purpose"] for row in listed] == ["too much", "cmms", "wall"]
    assert not any(secret in repr(listed) for secret in (reads, whole, above))
    revoke_token(mara, listed[1]["id"])
    assert account_of_token(mara, whole, at=AT) is None
    for wrong in ("", "zz", listed[1]["id"]):
        with pytest.raises(PrerequisiteMissing, match="user tokens"):
            revoke_token(mara, wrong)
    set_user(mara, "mara", password="another password")
    assert account_of_token(mara, reads, at=AT) is None
    with pytest.raises(AxiswatchError, match="purpose"):
        make_token(mara, "mara", purpose="x" * 201, at=AT, days=1)
