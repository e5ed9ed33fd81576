"""What a monitoring system reads: counts of cases, axes, messages and waiting work, and the monitor's last run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.base.settings import HandoffSettings
from pipeline.handoff.heartbeat import last_beat, silence
from pipeline.store.database import Store
from pipeline.store.tables import Axis, AxisState, Case, DueWork, QuarantineRow, TaskFailure, WebhookEvent

Labels = tuple[tuple[str, str], ...]
Gauges = dict[str, tuple[str, dict[Labels, float]]]
"""By name: what it is, and its values by labels, each a pair of name and value."""


def gauges(store: Store, settings: HandoffSettings, *, at: datetime) -> Gauges:
    """Return every gauge. Ages are in seconds before `at`; an age of what never happened is left out."""
    last = last_beat(store, at)
    quiet = silence(last, settings.monitor_silent_minutes, at=at)
    with store.read() as connection:
        oldest = connection.scalar(
            sa.select(sa.func.min(Case.first_at, type_=Case.first_at.type)).where(Case.state == "open")
        )
        failures = connection.scalar(sa.select(sa.func.count()).select_from(TaskFailure)) or 0
        axes: dict[str, int] = dict(connection.execute(_axes_by_state()).all())
        counts = {
            column: dict(connection.execute(sa.select(column, sa.func.count()).group_by(column)).all())
            for column in (Case.state, WebhookEvent.state, QuarantineRow.state, DueWork.step)
        }
    cases = dict.fromkeys(("open", "snoozed", "closed"), 0) | counts[Case.state]
    told = "Time since the last whole run of the monitor ended, s; since the first look where there was none"
    found: Gauges = {
        "axiswatch_cases": ("Cases by state", _by("state", cases)),
        "axiswatch_axes": ("Axes by state", _by("state", axes)),
        "axiswatch_webhook_events": ("Messages of the webhook by state", _by("state", counts[WebhookEvent.state])),
        "axiswatch_quarantine_rows": ("Rows of the quarantine by state", _by("state", counts[QuarantineRow.state])),
        "axiswatch_due_work": ("Recordings and units that a step has to look at", _by("step", counts[DueWork.step])),
        "axiswatch_task_failures": ("Scheduled tasks that failed after all tries", {(): failures}),
        "axiswatch_monitor_age_seconds": (told, {(): (at - last["at"]).total_seconds()}),
        "axiswatch_monitor_silent": ("1: the monitor has been silent for too long", {(): float(bool(quiet))}),
    }
    if oldest is not None:
        age = (at - oldest).total_seconds()
        found["axiswatch_oldest_open_case_seconds"] = ("Age of the oldest open case, s", {(): age})
    return found


def _axes_by_state() -> sa.Select[str, int]:
    """SQL: axes by their newest state; `unknown` where nothing was scored yet."""
    newest = sa.func.max(AxisState.bin_at, type_=AxisState.bin_at.type)
    last = sa.select(AxisState.axis_id, newest.label("bin_at")).group_by(AxisState.axis_id).subquery()
    state = sa.func.coalesce(AxisState.state, "unknown")
    query = sa.select(state, sa.func.count()).select_from(Axis).outerjoin(last, last.c.axis_id == Axis.axis_id)
    of_last = sa.and_(AxisState.axis_id == Axis.axis_id, AxisState.bin_at == last.c.bin_at)
    return query.outerjoin(AxisState, of_last).group_by(state)


def _by(label: str, counts: Mapping[Any, int]) -> dict[Labels, float]:
    return {((label, str(value)),): float(count) for value, count in counts.items()}
