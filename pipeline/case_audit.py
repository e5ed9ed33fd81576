"""The append-only history of cases: every act, by whom and when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.schema import ReviewEvent

SYSTEM = "axiswatch"


def add_event(
    connection: Connection, case_id: str, who: str, action: str, details: dict[str, Any], at: datetime
) -> None:
    """Append to the history of a case. The caller holds the lock on its axis or case."""
    count = connection.scalar(sa.select(sa.func.count()).where(ReviewEvent.case_id == case_id)) or 0
    event = {"case_id": case_id, "sequence": count + 1, "at": at, "who": who, "action": action, "details": details}
    connection.execute(sa.insert(ReviewEvent), event)
