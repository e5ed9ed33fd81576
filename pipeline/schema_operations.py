"""The tables of the schedule: what failed, and what every retraining came to. See `pipeline.schema` for the others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.schema_base import Base


class TaskFailure(Base):
    """A scheduled task that failed for good. Key: DAG, run, task, map index and try. None on a good day."""

    __tablename__ = "task_failures"

    dag_id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(primary_key=True)
    task_id: Mapped[str] = mapped_column(primary_key=True)
    map_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="-1: not mapped")
    try_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="the last try")
    message: Mapped[str] = mapped_column(comment="type and text of the error")
    log_url: Mapped[str] = mapped_column(comment="page of the task in Airflow")
    webhook: Mapped[str] = mapped_column(comment="'' without a webhook, sent, or why it could not be told")
    known_at: Mapped[datetime] = mapped_column(comment="as_of of the run")


class RetrainingDecision(Base):
    """What a retraining came to, and why. Key: scope and as_of of the run. A few a week."""

    __tablename__ = "retraining_decisions"

    scope: Mapped[str] = mapped_column(primary_key=True, comment="'' where no scope could be trained")
    decided_at: Mapped[datetime] = mapped_column(primary_key=True, comment="as_of of the run")
    trigger: Mapped[str] = mapped_column(comment="schedule, labels or by hand")
    n_labels: Mapped[int] = mapped_column(comment="labels known at decided_at")
    outcome: Mapped[str] = mapped_column(String(16), comment="first, promoted, kept, unchanged or refused")
    reason: Mapped[str] = mapped_column(comment="a sentence")
    candidate: Mapped[str | None] = mapped_column(String(16))
    champion: Mapped[str | None] = mapped_column(String(16), comment="the champion before")
    figures: Mapped[dict[str, Any]] = mapped_column(JSON, comment="what was compared")
    known_at: Mapped[datetime]
