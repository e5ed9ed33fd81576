"""The same messages by e-mail: one to people for each case that came or got worse, by SMTP with a time limit."""

from __future__ import annotations

import re
import smtplib
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

from pipeline.base.errors import SettingsError
from pipeline.base.settings import HandoffSettings
from pipeline.handoff.http import SECONDS, Answer

MAILED: Final = ("opened", "reopened", "changed")
"""Acts that people are written about; what they do themselves they know."""

ADDRESS: Final = re.compile(r"[!#-+\--9=?A-Z^-~]+@[A-Za-z0-9.\-]+")
LONGEST_SUBJECT: Final = 150


@dataclass(frozen=True)
class Mailbox:
    """Where e-mails go: the server, how the line is kept secret (`starttls`, `tls`, `none`), a log-in, addresses."""

    host: str
    port: int
    security: str
    user: str
    password: str = field(repr=False)
    sender: str
    to: tuple[str, ...]


def mailbox(settings: HandoffSettings) -> Mailbox | None:
    """Return where e-mails go; None where none are sent.

    Raises
    ------
    SettingsError
        There is a server, and an address is missing or is none.
    """
    if not settings.case_mail_host:
        return None
    (sender, *more), to = addresses_in(settings.case_mail_from), addresses_in(settings.case_mail_to)
    if more or not to:
        raise SettingsError("case_mail_host needs one address in case_mail_from and at least one in case_mail_to")
    return Mailbox(
        settings.case_mail_host,
        settings.case_mail_port,
        settings.case_mail_security,
        settings.case_mail_user,
        settings.case_mail_password,
        sender,
        tuple(to),
    )


def addresses_in(text: str) -> list[str]:
    """Return the addresses of a list with commas between them.

    Raises
    ------
    SettingsError
        One of them is no address, such as `mara@plant.example`.
    """
    found = [address.strip(" ") for address in text.split(",")]
    for address in found:
        if not ADDRESS.fullmatch(address):
            raise SettingsError(f"{address!r} is no e-mail address; write for example mara@plant.example")
    return found


def letter(told: Mapping[str, Any], box: Mailbox, *, at: datetime) -> EmailMessage:
    """Return the e-mail about an act; its Message-ID is the same at every try.

    Parameters
    ----------
    told
        The message of `pipeline.handoff.outbox.payload`. Its texts may come from outside: none can add a header.
    """
    case = told["case"]
    place = "/".join(case[name] for name in ("site", "cell", "robot_id", "axis") if case[name])
    reasons = [reason["text"] for reason in case["reasons"]] or ["–"]
    subject = f"[axiswatch] {place}: {reasons[0]}"
    mail = EmailMessage()
    mail["Subject"] = "".join(letter if letter.isprintable() else " " for letter in subject)[:LONGEST_SUBJECT]
    mail["From"], mail["To"], mail["Date"] = box.sender, ", ".join(box.to), format_datetime(at)
    mail["Message-ID"] = f"<{told['id']}@axiswatch>"
    mail["Auto-Submitted"] = "auto-generated"
    p = case["fault_probability"]
    facts = {
        "case": f"{case['case_id']} ({told['action']})",
        "axis": place,
        "fault probability": "–" if p is None else f"{p:.2f}",
        "first seen": case["first_at"],
        "last seen": case["last_at"],
    }
    lines = [*reasons, "", *(f"{name}: {value}" for name, value in facts.items())]
    mail.set_content("\n".join(lines) + "\n")
    return mail


def send(mail: EmailMessage, box: Mailbox, *, seconds: float = SECONDS) -> Answer:
    """Send an e-mail; errors of the network or the server are results, not exceptions.

    Parameters
    ----------
    seconds
        Time limit for everything, s; a server that answers byte by byte is given up too.
    """
    answers: list[Answer] = []
    # The timeout of smtplib begins anew with each byte.
    worker = threading.Thread(target=lambda: answers.append(_send(mail, box, seconds)), name="mail", daemon=True)
    worker.start()
    worker.join(seconds)
    return answers[0] if answers else Answer(None, f"not delivered: no answer within {seconds:g} s")


def _send(mail: EmailMessage, box: Mailbox, seconds: float) -> Answer:
    secure = ssl.create_default_context()
    try:
        with (
            smtplib.SMTP_SSL(box.host, box.port, timeout=seconds, context=secure)
            if box.security == "tls"
            else smtplib.SMTP(box.host, box.port, timeout=seconds)
        ) as client:
            if box.security == "starttls":
                client.starttls(context=secure)
            if box.user:
                client.login(box.user, box.password)
            refused = client.send_message(mail, box.sender, box.to)
    except smtplib.SMTPResponseException as error:
        return Answer(error.smtp_code, f"not delivered: the mail server answered {error.smtp_code}")
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return Answer(None, f"not delivered: {type(error).__name__}: {str(error)[:200]}")
    return Answer(250, "mailed" + (f"; refused for {len(refused)} of {len(box.to)}" if refused else ""))
