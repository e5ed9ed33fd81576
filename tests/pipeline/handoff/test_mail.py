"""E-mails about cases, against a real SMTP server in a thread that accepts, refuses or never ends its answer."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from email.policy import default

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from pipeline.base.errors import SettingsError
from pipeline.base.settings import Settings
from pipeline.cases.history import add_event
from pipeline.cases.work import comment
from pipeline.handoff.delivery import deliver, list_events
from pipeline.handoff.mail import Mailbox, letter, mailbox, send
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Case

AT = datetime(2026, 3, 1, tzinfo=UTC)
EVIL = "R01\r\nBcc: everybody@plant.example\r\n\r\n<b>hello"


class MailServer:
    """A mail server as small as the standard allows; `says` is its answer to a letter, `drips`: one without an end."""

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], Message]] = []
        self.says, self.drips, self.closed = "250 kept", False, threading.Event()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while outer.drips and not outer.closed.wait(0.05):
                    self.wfile.write(b"2")
                self.tell("220 plant")
                to: list[str] = []
                for line in self.rfile:
                    word = line.decode().strip()
                    if word.upper().startswith("RCPT"):
                        to.append(word)
                    if word.upper() == "DATA":
                        self.tell("354 go on")
                        lines = []
                        while (part := self.rfile.readline()) != b".\r\n":
                            lines.append(part)
                        outer.letters.append((to, message_from_bytes(b"".join(lines), policy=default)))
                        self.tell(outer.says)
                    elif word.upper() == "QUIT":
                        self.tell("221 bye")
                        return
                    else:
                        self.tell("250 fine")

            def tell(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def box(self, security: str = "none") -> Mailbox:
        to = ("mara@plant.example", "jun@plant.example")
        return Mailbox("127.0.0.1", self.server.server_address[1], security, "", "", "axiswatch@plant.example", to)


@pytest.fixture
def server() -> Iterator[MailServer]:
    found = MailServer()
    yield found
    found.closed.set()
    found.server.shutdown()
    found.server.server_close()


def add_case(store: Store, robot: str = "R01") -> None:
    axis = {"axis_id": "a1", "site": "plant1", "cell": "c1", "robot_id": robot, "axis": "A3", "known_at": AT}
    case = {"case_id": "case0", "axis_id": "a1", "family": "machine", "state": "open", "n_bins": 1, "priority": 0.9}
    case |= {"first_at": AT, "last_at": AT, "fault_probability": 0.9, "mode": "ball", "known_at": AT, "changed_at": AT}
    with store.write() as connection:
        connection.execute(sa.insert(Axis), axis)
        connection.execute(sa.insert(Case), case | {"reasons": [{"code": "fault"}]})
        add_event(connection, "case0", "axiswatch", "opened", {}, AT)


def tell(store: Store, server: MailServer, *, at: datetime = AT) -> dict[str, int]:
    return deliver(store, url="", secret="", most_attempts=3, at=at, box=server.box()).as_dict()


def test_people_are_written_to_about_what_came_or_got_worse(store: Store, server: MailServer) -> None:
    add_case(store)
    comment(store, "case0", '"action": "changed"', who="mara", at=AT)
    with store.write() as connection:
        add_event(connection, "case0", "axiswatch", "changed", {"mode": "ball"}, AT)
    assert tell(store, server) == {"delivered": 2, "failed": 0, "given_up": 0, "skipped": 1, "waiting": 0}
    (to, first), (_, second) = server.letters
    assert [word.split("<")[1].rstrip(">") for word in to] == ["mara@plant.example", "jun@plant.example"]
    assert first["Subject"] == "[axiswatch] plant1/c1/R01/A3: Alarm: ball"
    assert (first["Message-ID"], second["Message-ID"]) == ("<case0-1@axiswatch>", "<case0-3@axiswatch>")
    assert "fault probability: 0.90" in first.get_content()  # type: ignore[attr-defined]


def test_a_refused_letter_is_tried_again_and_given_up_like_a_message(store: Store, server: MailServer) -> None:
    add_case(store)
    server.says = "451 later"
    assert tell(store, server)["failed"] == 1
    assert tell(store, server, at=AT + timedelta(seconds=50))["failed"] == 0, "not before the pause is over"
    server.says = "250 kept"
    assert tell(store, server, at=AT + timedelta(seconds=70))["delivered"] == 1
    assert len({mail["Message-ID"] for _, mail in server.letters}) == 1, "the same letter at both tries"
    assert list_events(store, state="delivered", limit=9)[0]["answer"] == "mailed"


def test_no_text_adds_a_header(store: Store, server: MailServer) -> None:
    add_case(store, robot=EVIL)
    assert tell(store, server)["delivered"] == 1
    (_, mail) = server.letters[0]
    assert mail["Bcc"] is None
    assert mail["To"] == "mara@plant.example, jun@plant.example"
    assert mail["Subject"].startswith("[axiswatch] plant1/c1/R01")
    assert set(mail.keys()) <= {
        *("Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "Content-Type"),
        *("Content-Transfer-Encoding", "MIME-Version"),
    }


def test_a_server_that_is_down_or_never_ends_its_answer_is_left(server: MailServer) -> None:
    told = {"id": "x-1", "action": "opened", "case": {"reasons": [], "fault_probability": None}}
    told["case"] |= dict.fromkeys(("site", "cell", "robot_id", "axis", "case_id", "first_at", "last_at"), "x")  # type: ignore[attr-defined]
    mail = letter(told, server.box(), at=AT)
    assert send(mail, server.box("starttls"), seconds=10.0).status is None, "no letter where no secret line can be had"
    assert server.letters == []
    server.drips = True
    answer = send(mail, server.box(), seconds=0.5)
    assert (answer.good, answer.is_down, answer.outcome) == (False, True, "not delivered: no answer within 0.5 s")
    server.server.shutdown()
    server.server.server_close()
    assert send(mail, server.box()).is_down


def test_without_settings_no_mail_is_sent_and_wrong_ones_are_refused() -> None:
    assert mailbox(Settings()) is None
    given = {"case_mail_host": "mail.plant.example", "case_mail_from": "axiswatch@plant.example"}
    box = mailbox(Settings(**given, case_mail_to="mara@plant.example, jun@plant.example", case_mail_password="secret"))
    assert box is not None
    assert (box.to, box.security) == (("mara@plant.example", "jun@plant.example"), "starttls")
    assert "secret" not in repr(box)
    for to in ("", "mara", "mara@plant.example\r\nBcc: x@y.z", "mara@"):
        with pytest.raises(SettingsError, match=r"address"):
            mailbox(Settings(**given, case_mail_to=to))
    both = {"case_webhook_url": "https://x.example", "case_webhook_secret": "x" * 24}
    for more in (both, {"case_mail_password": "secret", "case_mail_security": "none"}):
        with pytest.raises(ValidationError):
            Settings(**given, case_mail_to="mara@plant.example", **more)  # type: ignore[arg-type]
