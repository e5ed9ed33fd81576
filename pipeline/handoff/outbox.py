"""The outbox: every act on a case as the webhook will send it, written in the transaction of the act."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.ids import utc_text
from pipeline.store.tables import Axis, Case, CaseMemory, CaseWork, WebhookEvent
from review.statements import reason_text

PAYLOAD_VERSION: Final = 1
WAITING: Final = "waiting"
DELIVERED: Final = "delivered"
GIVEN_UP: Final = "given_up"
SKIPPED: Final = "skipped"

OWN_KINDS = frozenset({"opened", "reopened", "closed"})
"""Acts that have a kind of their own; every other act has the kind `case.changed`."""

CASE_FIELDS = (
    "case_id",
    "axis_id",
    "family",
    "state",
    "priority",
    "fault_probability",
    "mode",
    "n_bins",
    "first_at",
    "last_at",
    "closed_at",
    "closed_by",
    "snoozed_until",
)

JOINED_FIELDS = ("site", "cell", "robot_id", "axis", "work_order", "memory")
"""Fields of a case that come from other tables."""


def event_id(case_id: str, sequence: int) -> str:
    """Return the id of an act: the same at every try, so that a receiver can see that it has the message already."""
    return f"{case_id}-{sequence}"


def kind_of(action: str) -> str:
    """Return the kind of the message about an act, such as `case.opened`."""
    return f"case.{action if action in OWN_KINDS else 'changed'}"


def put_in_outbox(connection: Connection, event: Mapping[str, Any]) -> None:
    """Write an act (a row of `review_events`) into the outbox, with the case as it is now. The caller commits."""
    names = (Axis.site, Axis.cell, Axis.robot_id, Axis.axis, CaseWork.work_order, CaseMemory.figure.label("memory"))
    query = (
        sa.select(Case, *names)
        .join(Axis, Axis.axis_id == Case.axis_id)
        .outerjoin(CaseWork, CaseWork.case_id == Case.case_id)
        .outerjoin(CaseMemory, CaseMemory.case_id == Case.case_id)
        .where(Case.case_id == event["case_id"])
    )
    case = connection.execute(query).one()
    row = {
        "case_id": event["case_id"],
        "sequence": event["sequence"],
        "kind": kind_of(event["action"]),
        "body": json.dumps(payload(event, dict(case._mapping)), ensure_ascii=False, sort_keys=True, default=_plain),
        "state": WAITING,
        "attempts": 0,
        "not_before": None,
        "answer": "",
        "ended_at": None,
        "known_at": event["at"],
    }
    connection.execute(sa.insert(WebhookEvent), row)


def payload(event: Mapping[str, Any], case: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message about an act: who did what when, and the case after it. `seen` (the screen) is left out."""
    case_values = {name: case[name] for name in (*CASE_FIELDS, *JOINED_FIELDS)}
    case_values["reasons"] = [{"code": reason["code"], "text": reason_text(reason, case)} for reason in case["reasons"]]
    return {
        "version": PAYLOAD_VERSION,
        "id": event_id(event["case_id"], event["sequence"]),
        "type": kind_of(event["action"]),
        "sequence": event["sequence"],
        "at": event["at"],
        "who": event["who"],
        "action": event["action"],
        "details": {name: value for name, value in event["details"].items() if name != "seen"},
        "case": case_values,
    }


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return utc_text(value)
    return str(value)
