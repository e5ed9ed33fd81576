"""The webhook of cases against a real receiver that fails, hangs, redirects and drips, and senders that are killed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.base.errors import SettingsError
from pipeline.cases.axis_state import FaultFigures
from pipeline.cases.episodes import CaseState, what_got_worse
from pipeline.cases.history import add_event
from pipeline.cases.verdicts import get_case, give_verdict
from pipeline.cases.work import claim, comment, set_work_order, snooze, undo
from pipeline.handoff.delivery import (
    KEPT,
    LEASE,
    count_events,
    deliver,
    list_events,
    pause_after,
    send_again,
    signed,
)
from pipeline.handoff.http import post
from pipeline.handoff.outbox import DELIVERED, GIVEN_UP, SKIPPED, WAITING
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Case

AT = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"a key of thirty-two bytes, really").decode()
FINDING = {"verdict": "fault", "evidence": "inspected", "mode": "inner_race"}


class Receiver:
    """A real HTTP server that does as it is told with each message, and remembers all that it got."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.behave: Callable[[BaseHTTPRequestHandler, dict[str, Any]], None] = lambda request, told: answer(
            request, 204
        )
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers.items()), body))
                receiver.paths.append(self.path)
                receiver.behave(self, json.loads(body))

            def do_GET(self) -> None:
                receiver.paths.append(f"GET {self.path}")
                answer(self, 200)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ids(self) -> list[str]:
        return [headers["Webhook-Id"] for headers, _ in self.got]


def answer(request: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", "0")
    request.end_headers()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


def add_cases(store: Store, number: int) -> None:
    """Cases `case0` ... on an axis each, each with its act `opened`."""
    with store.write() as connection:
        for index in range(number):
            axis = {"axis_id": f"axis{index}", "site": "plant1", "cell": "c1", "robot_id": f"R{index}", "axis": "A1"}
            connection.execute(sa.insert(Axis), axis | {"expected_every_s": None, "criticality": None, "known_at": AT})
            case = {
                "case_id": f"case{index}",
                "axis_id": f"axis{index}",
                "family": "machine",
                "state": "open",
                "first_at": AT - timedelta(days=2),
                "last_at": AT - timedelta(days=1),
                "n_bins": 3,
                "priority": 0.9,
                "reasons": [{"code": "fault", "text": "Fault probability 0.97 (베어링).", "n_bins": 3}],
                "fault_probability": 0.97,
                "mode": "inner_race",
                "known_at": AT,
                "changed_at": AT,
            }
            connection.execute(sa.insert(Case), case)
            add_event(connection, f"case{index}", "axiswatch", "opened", {"reasons": ["fault"]}, AT)


def tell(store: Store, url: str, *, at: datetime = AT, most: int = 3, seconds: float = 5.0) -> dict[str, int]:
    return deliver(store, url=url, secret=SECRET, most_attempts=most, at=at, seconds=seconds).as_dict()


def states(store: Store) -> dict[str, str]:
    return {row["id"]: row["state"] for row in list_events(store, state=None, limit=100)}


def test_a_reason_of_facts_is_told_in_words(store: Store, receiver: Receiver) -> None:
    facts = {"first_at": "", "last_at": "", "n_bins": 3}
    channel = {"channel": "acc_x", "verdict": "clipping", "bad": 2, "windows": 4, "evidence": "at the rail"}
    reasons = [{"code": "fault", "recent": 0.97} | facts, {"code": "data", "channels": [channel]} | facts]
    add_cases(store, 1)
    with store.write() as connection:
        connection.execute(sa.update(Case).values(reasons=reasons))
        add_event(connection, "case0", "axiswatch", "changed", {}, AT)
    tell(store, receiver.url)
    told = json.loads(receiver.got[-1][1])["case"]["reasons"]
    assert told == [
        {"code": "fault", "text": "Alarm: inner race"},
        {"code": "data", "text": "acc_x: clipped (2 of 4 windows) – lower the gain or choose a wider range"},
    ]


def test_every_act_is_told_once_signed_and_in_order(store: Store, receiver: Receiver) -> None:
    add_cases(store, 2)
    claim(store, "case0", who="mara", at=AT, minutes=30)
    set_work_order(store, "case0", "WO-4711", who="mara", at=AT)
    give_verdict(store, "case0", FINDING, who="mara", at=AT, period_hours=1)
    undo(store, "case0", who="mara", at=AT)
    found = tell(store, receiver.url)
    assert (found["delivered"], found["waiting"]) == (7, 0)
    told = [json.loads(body) for _, body in receiver.got]
    assert [item["id"] for item in told if item["case"]["case_id"] == "case0"] == [f"case0-{n}" for n in range(1, 7)]
    kinds = {item["id"]: (item["type"], item["action"], item["case"]["state"]) for item in told}
    assert kinds["case0-1"] == ("case.opened", "opened", "open")
    assert kinds["case0-3"] == ("case.changed", "work_order", "open")
    assert kinds["case0-5"] == ("case.closed", "closed", "closed")
    assert kinds["case0-6"] == ("case.changed", "undone", "open")
    last = next(item for item in told if item["id"] == "case0-6")
    assert last["case"]["work_order"] == "WO-4711"
    assert last["case"]["reasons"] == [{"code": "fault", "text": "Fault probability 0.97 (베어링)."}]
    assert all("seen" not in item["details"] for item in told), "what was on the screen stays here"
    for headers, body in receiver.got:
        content = f"{headers['Webhook-Id']}.{headers['Webhook-Timestamp']}.".encode() + body
        right = hmac.new(b"a key of thirty-two bytes, really", content, hashlib.sha256).digest()
        assert headers["Webhook-Signature"] == "v1," + base64.b64encode(right).decode()
        assert abs(int(headers["Webhook-Timestamp"]) - AT.timestamp()) < 60
    assert tell(store, receiver.url)["delivered"] == 0
    assert len(receiver.got) == 7


def test_the_signature_is_the_one_of_the_standard() -> None:
    """The example of the Standard Webhooks specification's libraries."""
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        at=datetime.fromtimestamp(1614265330, UTC),
    )
    assert headers["Webhook-Signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    for short in ("too short", "whsec_c2hvcnQ=", "whsec_no base64 at all!"):
        with pytest.raises(SettingsError, match="case_webhook_secret"):
            signed("x", b"", short, at=AT)


def test_what_is_rolled_back_is_not_told(store: Store) -> None:
    add_cases(store, 1)

    class PowerCut(Exception):
        pass

    with pytest.raises(PowerCut), store.write() as connection:
        connection.execute(sa.update(Case).values(state="closed"))
        add_event(connection, "case0", "mara", "closed", {}, AT)
        raise PowerCut
    assert states(store) == {"case0-1": WAITING}
    assert get_case(store, "case0")["state"] == "open"


def test_a_receiver_that_fails_is_tried_again_with_pauses_and_given_up(store: Store, receiver: Receiver) -> None:
    add_cases(store, 2)
    comment(store, "case0", "second", who="mara", at=AT)

    def refuse_case0(request: BaseHTTPRequestHandler, told: dict[str, Any]) -> None:
        answer(request, 422 if told["id"] == "case0-1" else 200)

    receiver.behave = refuse_case0
    assert tell(store, receiver.url) == {"delivered": 1, "failed": 1, "given_up": 0, "skipped": 0, "waiting": 2}
    assert sorted(receiver.ids()) == ["case0-1", "case1-1"], "case0's second waits for its first"
    assert tell(store, receiver.url, at=AT + timedelta(seconds=50))["failed"] == 0, "not before the pause is over"
    assert tell(store, receiver.url, at=AT + timedelta(seconds=70))["failed"] == 1
    assert tell(store, receiver.url, at=AT + timedelta(seconds=150))["failed"] == 0, "the pause is two minutes now"
    third = tell(store, receiver.url, at=AT + timedelta(seconds=300))
    assert (third["given_up"], third["delivered"]) == (1, 1), "given up at the third try; then the second is told"
    assert states(store) == {"case0-1": GIVEN_UP, "case0-2": DELIVERED, "case1-1": DELIVERED}
    bodies = {body for headers, body in receiver.got if headers["Webhook-Id"] == "case0-1"}
    assert len(bodies) == 1, "the same bytes at every try"
    receiver.behave = lambda request, told: answer(request, 200)
    assert send_again(store, states=(GIVEN_UP,), case_id="case0") == 1
    assert tell(store, receiver.url, at=AT + timedelta(days=1))["delivered"] == 1
    assert [pause_after(n).total_seconds() for n in (1, 2, 3, 30)] == [60, 120, 240, 21_600]


def test_a_receiver_that_is_down_is_left_alone(store: Store, receiver: Receiver) -> None:
    add_cases(store, 6)
    receiver.behave = lambda request, told: answer(request, 503)
    assert tell(store, receiver.url) == {"delivered": 0, "failed": 3, "given_up": 0, "skipped": 0, "waiting": 6}
    assert len(receiver.got) == 3
    gone = "http://127.0.0.1:9/hook"
    assert tell(store, gone)["failed"] == 3, "the three that were not tried yet"
    receiver.behave = lambda request, told: answer(request, 200)
    assert tell(store, receiver.url, at=AT + timedelta(minutes=2))["delivered"] == 6


@pytest.mark.parametrize("way", ["hangs", "drips"])
def test_a_receiver_that_never_ends_its_answer_is_cut_off(receiver: Receiver, way: str) -> None:
    done = threading.Event()

    def never_end(request: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        while not done.wait(0.1):
            if way == "drips":
                try:
                    request.wfile.write(b"H")
                    request.wfile.flush()
                except OSError:
                    return

    receiver.behave = never_end
    begun = time.monotonic()
    found = post(receiver.url, b"{}", {}, seconds=1.0)
    done.set()
    assert (found.good, found.is_down) == (False, True)
    assert "not delivered" in found.outcome
    assert time.monotonic() - begun < 4, "each byte would have begun a new wait"


def test_no_redirect_is_followed(receiver: Receiver) -> None:
    for status in (301, 302, 303, 307, 308):
        receiver.behave = lambda request, _, status=status: answer(request, status, Location="/elsewhere")  # type: ignore[misc]
        assert post(receiver.url, b"{}", {}).outcome == f"answered {status}"
    assert set(receiver.paths) == {"/hook"}
    for address in (
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "/hook",
        "http://127.0.0.1:99999/x",
        "http://",
        "http://[::1",
    ):
        assert not post(address, b"{}", {}).good


def test_an_answer_without_end_is_not_read(receiver: Receiver) -> None:
    """Neither a long body nor a long header is kept: the status decides, and a header over any measure is no answer."""
    done = threading.Event()

    def flood(start: bytes, request: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n" + start)
        with suppress(OSError):
            while not done.is_set():
                request.wfile.write(b"x" * 65_536)

    for start, good in ((b"Content-Length: 999999999999\r\n\r\n", True), (b"X-Long: ", False)):
        receiver.behave = partial(flood, start)
        begun = time.monotonic()
        assert post(receiver.url, b"{}", {}, seconds=20.0).good is good
        assert time.monotonic() - begun < 10
    done.set()


def test_a_proxy_of_the_environment_is_used_and_no_proxy_is_kept(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = receiver.url.removesuffix("/hook")
    monkeypatch.setenv("http_proxy", proxy)
    assert post("http://elsewhere.invalid/hook", b"{}", {}).good
    assert receiver.paths == ["http://elsewhere.invalid/hook"]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert post(receiver.url, b"{}", {}).good
    assert receiver.paths[1:] == ["/hook"]
    monkeypatch.setenv("http_proxy", "nonsense://")
    assert not post("http://elsewhere.invalid/hook", b"{}", {}).good


def test_the_address_is_not_written_to_the_log(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert post(f"{receiver.url}?token=hunter2", b"{}", {}).good
    assert "hunter2" not in caplog.text


@pytest.fixture
def secure(receiver: Receiver, tmp_path: Path) -> tuple[str, Path]:
    """The receiver behind TLS, with a certificate for 127.0.0.1 that nobody else has signed: its address and that."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plant")])
    host = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    return receiver.url.replace("http://", "https://"), public


def test_only_a_certificate_that_the_machine_trusts_is_believed(
    receiver: Receiver, secure: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, certificate = secure
    refused = post(address, b"{}", {})
    assert (refused.good, refused.is_down) == (False, True)
    assert "certificate" in refused.outcome.lower()
    assert receiver.got == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert post(address, b"{}", {}).outcome == "answered 204"
    assert not post(address.replace("127.0.0.1", "localhost"), b"{}", {}).good, "a name that is not in it"


SENDER = """
import sys
from datetime import datetime
from pipeline.handoff.delivery import deliver
from pipeline.store.database import Store
store = Store(sys.argv[1])
deliver(store, url=sys.argv[2], secret=sys.argv[3], most_attempts=9, at=datetime.fromisoformat(sys.argv[4]), seconds=60)
"""


def start_sender(url: str, receiver: Receiver, at: datetime) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", SENDER, url, receiver.url, SECRET, at.isoformat()]
    return subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_a_sender_that_is_killed_midway_loses_nothing(store: Store, store_url: str, receiver: Receiver) -> None:
    """Killed after the receiver had the message and before it could be noted: told again, with the same id."""
    add_cases(store, 1)
    comment(store, "case0", "second", who="mara", at=AT)
    arrived, done = threading.Event(), threading.Event()

    def hold(request: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        arrived.set()
        done.wait(60)

    receiver.behave = hold
    sender = start_sender(store_url, receiver, AT)
    assert arrived.wait(60)
    claim(store, "case0", who="mara", at=AT, minutes=30)
    assert tell(store, receiver.url)["delivered"] == 0, "a try is under way: nobody else tells it, nor what comes after"
    sender.send_signal(signal.SIGKILL)
    sender.wait()
    done.set()
    receiver.behave = lambda request, told: answer(request, 200)
    assert tell(store, receiver.url, at=AT + LEASE - timedelta(seconds=5))["delivered"] == 0
    assert tell(store, receiver.url, at=AT + LEASE + timedelta(seconds=30))["delivered"] == 3
    assert receiver.ids() == ["case0-1", "case0-1", "case0-2", "case0-3"]
    assert receiver.got[0][1] == receiver.got[1][1]


def test_many_senders_at_once_keep_the_order_of_each_case(store: Store, store_url: str, receiver: Receiver) -> None:
    add_cases(store, 4)
    for number in range(6):
        for case in range(4):
            comment(store, f"case{case}", f"comment {number}", who="mara", at=AT)
    senders = [start_sender(store_url, receiver, AT) for _ in range(3)]
    assert [sender.wait(timeout=120) for sender in senders] == [0, 0, 0]
    ids = receiver.ids()
    assert len(ids) == len(set(ids)) == 4 * 7
    for case in range(4):
        assert [name for name in ids if name.startswith(f"case{case}-")] == [f"case{case}-{n}" for n in range(1, 8)]


def test_without_an_address_what_waits_is_skipped(store: Store, receiver: Receiver) -> None:
    """Who sets one later is not told of years; and can be, if that is wanted."""
    add_cases(store, 1)
    assert deliver(store, url="", secret="", most_attempts=3, at=AT).as_dict()["skipped"] == 1
    snooze(store, "case0", who="mara", at=AT, until=None)
    assert tell(store, receiver.url)["delivered"] == 1
    assert states(store) == {"case0-1": SKIPPED, "case0-2": DELIVERED}
    assert count_events(store) == {SKIPPED: 1, DELIVERED: 1}
    assert send_again(store, states=(SKIPPED,)) == 1


def test_what_was_told_long_ago_is_forgotten_and_what_was_not_is_kept(store: Store, receiver: Receiver) -> None:
    add_cases(store, 2)
    receiver.behave = lambda request, told: answer(request, 200 if told["id"] == "case0-1" else 400)
    assert tell(store, receiver.url, most=1) == {"delivered": 1, "failed": 1, "given_up": 1, "skipped": 0, "waiting": 0}
    comment(store, "case0", "second", who="mara", at=AT)
    receiver.behave = lambda request, told: answer(request, 503)
    tell(store, receiver.url, at=AT + KEPT - timedelta(hours=1), most=99)
    assert states(store) == {"case0-1": DELIVERED, "case0-2": WAITING, "case1-1": GIVEN_UP}
    tell(store, receiver.url, at=AT + KEPT + timedelta(hours=1), most=99)
    assert states(store) == {"case0-2": WAITING, "case1-1": GIVEN_UP}
    assert len(get_case(store, "case0")["events"]) == 2


def test_the_documented_check_accepts_ours_and_nothing_else() -> None:
    text = (Path(__file__).parents[3] / "docs" / "handoff.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    scope: dict[str, Any] = {}
    exec(compile(code, "handoff.md", "exec"), scope)
    now = datetime.now(UTC)
    for secret in (SECRET, "a text of more than 24 characters"):
        headers = signed("case0-1", b"{}", secret, at=now)
        assert scope["is_ours"](headers, b"{}", secret)
        assert not scope["is_ours"](headers, b"{ }", secret)
        assert not scope["is_ours"](headers | {"Webhook-Id": "case0-2"}, b"{}", secret)
        assert not scope["is_ours"](headers, b"{}", secret + "x" if secret != SECRET else "another text of the length")
    old = signed("case0-1", b"{}", SECRET, at=now - timedelta(hours=1))
    assert not scope["is_ours"](old, b"{}", SECRET)


def test_the_history_cannot_be_changed(store: Store) -> None:
    add_cases(store, 1)
    for statement in ("UPDATE review_events SET who = 'nobody'", "DELETE FROM review_events"):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), store.write() as connection:
            connection.exec_driver_sql(statement)
    assert [event["who"] for event in get_case(store, "case0")["events"]] == ["axiswatch"]


def test_what_got_worse_is_told_and_what_goes_on_is_not() -> None:
    def case(priority: float, *codes: str, state: str = "open", mode: str | None = None) -> CaseState:
        return CaseState(
            "c", state, AT, AT, 1, priority, [{"code": code} for code in codes], FaultFigures(0.5, mode=mode)
        )

    before = case(0.31, "novel")
    assert what_got_worse(before, case(0.39, "novel")) == {}
    assert what_got_worse(before, case(0.4, "novel")) == {"priority": 0.4}
    assert what_got_worse(case(0.3, "novel"), case(0.3, "novel")) == {}
    assert what_got_worse(before, case(0.31, "novel", "fault")) == {"reasons": ["fault"]}
    assert what_got_worse(before, case(0.31, "novel", mode="ball")) == {"mode": "ball"}
    assert what_got_worse(before, case(0.9, "fault", state="closed")) == {}


def test_the_command_tells_lists_and_tells_again(cli: Any, receiver: Receiver) -> None:
    store = Store.open(f"sqlite:///{cli.home / 'axiswatch.db'}")
    add_cases(store, 1)
    refused = cli("webhook", "deliver", case_webhook_url=receiver.url)
    assert refused.code == 2
    assert "case_webhook_secret" in refused.err
    told = {"case_webhook_url": receiver.url, "case_webhook_secret": SECRET}
    assert cli("webhook", "deliver", "--json", **told).json()["delivered"] == 1
    (row,) = cli("webhook", "list", "--json", **told).json()
    assert (row["id"], row["state"], row["answer"]) == ("case0-1", "delivered", "answered 204")
    assert cli("webhook", "again", "--state", "delivered", "--json").json() == {"waiting_again": 1}
    assert cli("webhook", "again", "--state", "waiting").code == 2
    shown = {row["name"]: row["value"] for row in cli("config", "--json", **told).json()}
    assert shown["case_webhook_secret"] == shown["case_webhook_url"] == "set, not shown"
    stamp = int(receiver.got[0][0]["Webhook-Timestamp"])
    assert abs(stamp - time.time()) < 60, "the true time, whatever the cases' times are"
    store.dispose()


def test_a_served_application_tells_by_itself(cli: Any, receiver: Receiver) -> None:
    store = Store.open(f"sqlite:///{cli.home / 'axiswatch.db'}")
    add_cases(store, 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"case_webhook_url": receiver.url, "case_webhook_secret": SECRET}
    server = cli.start("review", "serve", "--port", str(port), **told)
    try:
        give_up = time.monotonic() + 60
        while not receiver.got and time.monotonic() < give_up:
            time.sleep(0.2)
    finally:
        server.terminate()
        cli.finish(server)
    assert receiver.ids() == ["case0-1"]
    store.dispose()
