"""The table of what triggers said. See `pipeline.schema` for the others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.schema_base import Base


class TriggerDecision(Base):
    """What a trigger or a guard said of a scope, fired or not; `decision` is what came of all of them. Never changed,
    but that a run of the schedule for the same time marks what a look by hand had said.

    Key: scope, trigger and as_of of the run. About a dozen a scope and day.
    """

    __tablename__ = "trigger_decisions"

    scope: Mapped[str] = mapped_column(primary_key=True)
    trigger: Mapped[str] = mapped_column(String(32), primary_key=True, comment="its name, or decision")
    decided_at: Mapped[datetime] = mapped_column(primary_key=True, comment="as_of of the run")
    position: Mapped[int] = mapped_column(comment="place in the list that is shown")
    fired: Mapped[bool] = mapped_column(Boolean, comment="asks for a retraining; of a guard: holds one back")
    reason: Mapped[str] = mapped_column(comment="a sentence")
    figures: Mapped[dict[str, Any]] = mapped_column(JSON, comment="all that it looked at, and its thresholds")
    champion: Mapped[str | None] = mapped_column(String(16), comment="the champion at decided_at")
    by_schedule: Mapped[bool] = mapped_column(Boolean, comment="a run of the schedule, which starts what it decides")
    n_labels: Mapped[int] = mapped_column(comment="labels known at decided_at and not taken back by then")
    known_at: Mapped[datetime]

    __table_args__ = (Index(None, "decided_at"),)
