"""What somebody who is not logged in may send over real sockets: what is refused, and what is never held for long."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pipeline import accounts
from pipeline.accounts import add_user
from pipeline.base.settings import Settings
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Base
from review import limits
from review.access import MOST_FIELDS
from review.app import create_app
from review.limits import GuardedProtocol, GuardedServer, server_config

AT = datetime(2026, 3, 1, tzinfo=UTC)
Talk = Callable[..., bytes]
HEAD = b"POST /login HTTP/1.1\r\nHost: p\r\n"


@pytest.fixture
def address(sqlite_store: Store, lake: Lake, make_settings: Callable[..., Settings]) -> Iterator[str]:
    """The application as `axiswatch review serve` serves it, over an empty database with one user."""
    add_user(sqlite_store, "mara", "reviewer", "a long password", at=AT)
    settings = make_settings(review_secure_cookie=False)
    app = create_app(sqlite_store, lake, settings, clock=lambda: AT)
    config = server_config(app, host="127.0.0.1", port=0)
    listening = config.bind_socket()
    server = GuardedServer(config)
    thread = threading.Thread(target=server.run, args=[[listening]])
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = listening.getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def talk(address: str) -> Talk:
    """Send parts over a connection of its own; give all that comes back before the other side closes it."""
    place = (urlsplit(address).hostname or "", urlsplit(address).port or 0)

    def send(*parts: bytes) -> bytes:
        with socket.create_connection(place, 30) as opened:
            got = b""
            try:
                for part in parts:
                    opened.sendall(part)
                while more := opened.recv(65_536):
                    got += more
            except ConnectionError:
                return got
            return got

    return send


def status(answer: bytes) -> int:
    """Status of an answer; 0 where there is none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ([HEAD + b"Content-Length: 419430400\r\n\r\n"], 413),
        ([HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"], 400),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n"], 411),
        ([HEAD + b"TRANSFER-ENCODING : gzip, chunked\r\n\r\n"], 411),
        ([b"GET / HTTP/1.1\r\nHost: p\r\nX: " + b"x" * 70_000], 431),
        ([b"GET /" + b"x" * 70_000], 431),
        ([b"GET / HTTP/1.1\r\nHost: p\r\n" + b"A: b\r\n" * 12_000], 431),
        ([b"GET /login HTTP/1.1\r\nHost: p\r\n\r\n" * 20], 0),
        ([b"\x16\x03\x01\r\n\r\n"], 400),
        ([HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"], 400),
    ],
)
def test_what_no_browser_sends_is_refused(talk: Talk, address: str, parts: list[bytes], wanted: int) -> None:
    assert status(talk(*parts)) == wanted
    assert httpx.get(f"{address}/login").status_code == 200, "others are served"


@pytest.mark.parametrize("parts", [[], [b"GET / HTTP/1.1\r\nHost"], [HEAD + b"Content-Length: 9\r\n\r\nab"]])
def test_a_connection_that_says_no_more_is_ended(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, parts: list[bytes]
) -> None:
    monkeypatch.setattr(limits, "HEAD_S", 0.3)
    monkeypatch.setattr(limits, "BODY_S", 0.3)
    assert talk(*parts) == b""
    kept = b"GET /login HTTP/1.1\r\nHost: p\r\n\r\n"
    assert status(talk(kept)) == 200, "and one that has had its answer, too: this returns"
    assert GuardedProtocol.open_by_source == {}


def test_a_source_with_too_many_connections_loses_the_oldest_that_are_silent(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So whoever comes with a request gets in."""
    monkeypatch.setattr(limits, "MOST_OF_ONE", 5)
    place = (urlsplit(address).hostname or "", urlsplit(address).port or 0)
    lines = [socket.create_connection(place, 30) for _ in range(8)]
    for line in lines[:3]:
        try:
            assert line.recv(1) == b""
        except ConnectionError:
            continue
    lines[7].sendall(b"GET /login HTTP/1.1\r\nHost: p\r\n\r\n")
    assert lines[7].recv(12) == b"HTTP/1.1 200"
    assert httpx.get(f"{address}/login").status_code == 200
    for line in lines:
        line.close()


def test_who_is_logged_in_does_not_wait_behind_strangers(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no place is left for strangers, they wait, and who has shown a right cookie is served."""
    with httpx.Client(base_url=address) as browser:
        form = {"name": "mara", "password": "a long password"}
        assert browser.post("/login", data=form).status_code == 303
        monkeypatch.setattr(limits, "STRANGERS", 0)
        assert browser.get("/fleet").status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{address}/login", timeout=1.0)
        monkeypatch.setattr(limits, "STRANGERS", 12)
    assert httpx.get(f"{address}/login").status_code == 200
    assert sum(map(len, GuardedProtocol.waiting.values())) <= 1, "whoever went away is no longer in the queue, or soon"


def test_a_body_in_pieces_and_one_connection_for_many_requests(address: str) -> None:
    """What browsers do goes on working."""
    with httpx.Client(base_url=address, follow_redirects=True) as browser:
        for _ in range(3):
            assert browser.get("/login").status_code == 200
        page = browser.post("/login", data={"name": "mara", "password": "a long password", "pad": "x" * 200_000})
        assert page.url.path == "/"
        assert page.status_code == 200
        assert browser.get("/static/review.css").status_code == 200


def test_a_compressed_body_is_not_unpacked(address: str) -> None:
    """A kilobyte that would be a gigabyte stays a kilobyte."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = httpx.post(f"{address}/api/v1/bulk/verdict", content=gzip.compress(b" " * 10**7), headers=headers)
    assert answer.status_code in (400, 401, 422)


FILE = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n--b--'


@pytest.mark.parametrize(
    ("body", "kind", "wanted"),
    [
        (b"&".join(b"a%d=" % number for number in range(5000)), "application/x-www-form-urlencoded", 400),
        (FILE, "multipart/form-data; boundary=b", 400),
        (b"name=" + b"n" * 200_000 + b"&password=x", "application/x-www-form-urlencoded", 403),
    ],
)
def test_forms_that_are_too_much(address: str, body: bytes, kind: str, wanted: int) -> None:
    assert httpx.post(f"{address}/login", content=body, headers={"Content-Type": kind}).status_code == wanted


@pytest.mark.parametrize(
    "body", [b"[" * 120_000, b'{"a":' * 40_000, b"9" * 250_000, b"\xff\xfe", b'{"text": "\\ud800"}']
)
def test_json_that_is_too_deep_or_no_text(address: str, body: bytes) -> None:
    kind = {"Content-Type": "application/json"}
    answer = httpx.post(f"{address}/api/v1/cases/x/comment", content=body, headers=kind)
    assert answer.status_code in (400, 401, 422)


OUT = ("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/app.py", "/etc/passwd", "review.css%00.js", "%00")


@pytest.mark.parametrize("path", [*(f"/static/{name}" for name in OUT), "/%00", "/cases/%00"])
def test_no_path_leads_out(talk: Talk, path: str) -> None:
    answer = talk(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n")
    assert status(answer) in (303, 404, 422)
    assert b"root:" not in answer


def test_thousands_of_ranges_are_one_answer(address: str) -> None:
    spans = ",".join(f"{number}-{number + 1}" for number in range(0, 3000, 2))
    answer = httpx.get(f"{address}/static/review.css", headers={"Range": f"bytes={spans}"})
    assert answer.status_code in (200, 206, 416)
    assert len(answer.content) < 10**6


def test_many_log_ins_at_once_wait_for_their_turn(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None holds a thread while it waits, and whoever waits too long is told to try again."""
    monkeypatch.setattr(limits, "MOST_WAITING", 3)
    found: list[int] = []

    def try_in(number: int) -> None:
        form = {"name": f"user{number}", "password": "wrong password"}
        found.append(httpx.post(f"{address}/login", data=form, timeout=60).status_code)

    threads = [threading.Thread(target=try_in, args=[number]) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) <= {403, 429}
    assert 403 in found
    good = httpx.post(f"{address}/login", data={"name": "mara", "password": "a long password"})
    assert good.status_code == 303, "the true user gets in afterwards"


def test_a_log_in_from_another_sites_page_is_refused(address: str) -> None:
    form = {"name": "mara", "password": "a long password"}
    assert httpx.post(f"{address}/login", data=form, headers={"Origin": "https://evil.example"}).status_code == 403


def test_the_page_on_security_tells_the_bounds_that_hold() -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    page = " ".join(page.replace(",", "").split())
    for told in (
        f"{limits.MOST_HEAD // 1024} kB within {limits.HEAD_S:g} s",
        f"{limits.MOST_BYTES // 1024} kB within {limits.BODY_S:g} s never chunked; a form has {MOST_FIELDS} fields",
        f"{limits.MOST_OF_ONE} of one source {limits.MOST_CONNECTIONS} in all;",
        f"{limits.STRANGERS_OF_ONE} of one source {limits.STRANGERS} in all at the same time until",
        f"{limits.LOG_INS_OF_ONE} of one source {limits.LOG_INS} in all looked at at the same time; "
        f"{limits.MOST_WAITING} of a source wait",
        f"At least {accounts.SHORTEST_PASSWORD} characters".lower(),
    ):
        assert told in page, told
    assert (
        5,
        30,
        2,
        timedelta(minutes=5),
    ) == (accounts.FREE_TRIES, accounts.MOST_TRIES, accounts.AT_ONCE, accounts.WAIT)
    people = {"who", "claimed_by", "closed_by", "password_hash", "csrf", "token_hash", "failures"}
    kept = page.split("What is kept of people")[1]
    for table in Base.metadata.tables.values():
        if people & set(table.columns.keys()):
            assert f"`{table.name}`" in kept, table.name
