"""All checks in their order, each with an end: one that hangs or breaks is a fault, and the others go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from pipeline.base.errors import without_secrets
from pipeline.doctor import contents
from pipeline.doctor import lake as lakes
from pipeline.doctor.airflow import airflow
from pipeline.doctor.database import database, unreachable
from pipeline.doctor.finding import Patient, Said, Symptom
from pipeline.doctor.settings import settings

OK, FAULT, SKIPPED = "ok", "fault", "skipped"

Check = Callable[[Patient], Said]

ALWAYS: Final[dict[str, Check]] = {
    "settings": settings,
    "database": database,
    "lake": lakes.lake,
    "airflow": airflow,
}
"""Checks that need no database."""

BY_ROWS: Final[dict[str, Check]] = {
    "disk": lakes.disks,
    "files": lakes.files,
    "clock": contents.clock,
    "champion": contents.champion,
    "landing": contents.landing,
    "backlog": contents.backlog,
    "quarantine": contents.quarantine,
    "cases": contents.cases,
    "runs": contents.runs,
}
"""Checks that read rows; without a database they are skipped, but for the room on the disks."""


def examine(patient: Patient) -> list[Symptom]:
    """Look at everything once; take at most `patient.seconds` for each check."""
    found = [finding for name, check in ALWAYS.items() for finding in _ended(name, check, patient)]
    gone = _ended("database", lambda one: iter([(True, why)] if (why := unreachable(one)) else []), patient)
    if gone:
        found += _ended("disk", lakes.places, patient)
        names = ", ".join(name for name in BY_ROWS if name != "disk")
        return [*found, Symptom("rest", SKIPPED, f"not looked at without the database: {names}")]
    return found + [finding for name, check in BY_ROWS.items() for finding in _ended(name, check, patient)]


def _ended(name: str, check: Check, patient: Patient) -> list[Symptom]:
    """Run a check in a thread that nobody waits for when its time is over."""
    answer: Future[list[tuple[bool, str]]] = Future()

    def work() -> None:
        try:
            answer.set_result(list(check(patient)))
        except Exception as error:  # noqa: BLE001  (whatever is broken: that is what is looked for)
            answer.set_result([(True, f"cannot be looked at: {str(error).strip() or type(error).__name__}")])

    threading.Thread(target=work, daemon=True).start()
    try:
        said = answer.result(timeout=patient.seconds)
    except TimeoutError:
        said = [(True, f"no answer within {patient.seconds:g} s; see to its server, disk or network")]
    return [
        Symptom(name, FAULT if is_fault else OK, without_secrets(" ".join(text.split()))) for is_fault, text in said
    ]
