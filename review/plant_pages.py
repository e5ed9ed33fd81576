"""The pages about the plant and the models: fleet, axis, quarantine, models, calibration."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from sqlalchemy.engine import Connection

from pipeline.assets.events import timeline
from pipeline.cases.episodes import CLOSED
from pipeline.cases.queue import evidence_of
from pipeline.cases.quiet import axis_row, mute, muted_axes, mutes_of, unmute
from pipeline.cases.verdicts import fleet_states
from pipeline.intake.quarantine import list_quarantine
from pipeline.promotion.payback import payback
from pipeline.registry.versions import list_versions
from pipeline.scoring.plant_levels import list_levels
from pipeline.store.tables import AliasEvent, AxisMute, AxisState, Case
from review.access import Form
from review.calibration import reliability
from review.case_view import said_of
from review.figures.levels import levels_of
from review.forms import Reviewer, Viewer, back, text_of, time_of
from review.page import SHAPES, language_of, render
from review.reasons import level_reason

router = APIRouter(include_in_schema=False)

MOST_STATES = 2000
MOST_CASES = 100


@router.get("/fleet")
def fleet(request: Request, account: Viewer) -> Response:
    """Show the state of every axis."""
    state = request.app.state
    axes = fleet_states(state.store, at=state.clock())
    with state.store.read() as connection:
        counts = sa.select(Case.axis_id, sa.func.count()).where(Case.state != CLOSED).group_by(Case.axis_id)
        cases = {axis: number for axis, number in connection.execute(counts)}
        muted = _muted(connection, state.clock())
    for axis in axes:
        axis["n_cases"], axis["muted_until"] = cases.get(axis["axis_id"], 0), muted.get(axis["axis_id"])
    state_shown = request.query_params.get("state", "")
    shown = [axis for axis in axes if state_shown not in SHAPES or axis["state"] == state_shown]
    total = Counter(axis["state"] for axis in axes)
    return render(request, account, "fleet.html", axes=shown, shapes=SHAPES, total=total, state_shown=state_shown)


@router.get("/axes/{axis_id}")
def axis_page(request: Request, account: Viewer, axis_id: str) -> Response:
    """Show one axis: its course, maintenance events, cases and mutes."""
    store, language = request.app.state.store, language_of(request)
    with store.read() as connection:
        axis = axis_row(connection, axis_id)
        events = timeline(connection, axis_id)
        mutes = mutes_of(connection, axis_id)[::-1]
        states = _states(connection, axis_id)
        cases = _cases(connection, axis_id)
        evidence = evidence_of(connection, [case["case_id"] for case in cases])
        app = request.app.state
        levels = levels_of(connection, app.settings, [axis_id], as_of=app.clock())[axis_id]
    for case in cases:
        case["said"] = said_of(case, evidence.get(case["case_id"]), language)
    latest = states[-1] if states else None
    course = {
        "at": [row.bin_at for row in states],
        **{name: [getattr(row, name) for row in states] for name in FIGURES},
        "levels": vars(levels),
        "events": [{"at": event["at"], "kind": event["kind"]} for event in events],
    }
    values: dict[str, Any] = {"axis": axis, "events": events, "mutes": mutes, "cases": cases, "course": course}
    now = request.app.state.clock()
    muted = bool(mutes) and mutes[0]["until_at"] > now
    return render(request, account, "axis.html", latest=latest, shapes=SHAPES, muted=muted, **values)


@router.post("/axes/{axis_id}/mute")
def mute_axis(request: Request, account: Reviewer, axis_id: str, form: Form) -> Response:
    """Keep the cases of an axis out of the queue until a time."""
    state = request.app.state
    reason, until = text_of(form, "reason"), time_of(form, "until")
    mute(state.store, axis_id, reason=reason, until=until, who=account.name, at=state.clock())
    return back(request, f"/axes/{axis_id}")


@router.post("/axes/{axis_id}/unmute")
def unmute_axis(request: Request, account: Reviewer, axis_id: str, form: Form) -> Response:
    """Show the cases of an axis in the queue again."""
    state = request.app.state
    unmute(state.store, axis_id, reason=text_of(form, "reason"), who=account.name, at=state.clock())
    return back(request, f"/axes/{axis_id}")


@router.get("/quarantine")
def quarantine(request: Request, account: Viewer) -> Response:
    """Show the rows and files in quarantine."""
    state = "replayed" if request.query_params.get("state") == "replayed" else "open"
    entries = list_quarantine(request.app.state.store, state=state, limit=500)
    return render(request, account, "quarantine.html", entries=entries, state=state)


@router.get("/models")
def models(request: Request, account: Viewer) -> Response:
    """Show model versions, held-out figures, aliases and the benefit of labels; the page changes nothing."""
    store = request.app.state.store
    with store.read() as connection:
        changes = connection.execute(_ALIAS_HISTORY).all()
    values = {
        "versions": list_versions(store)[::-1],
        "changes": changes,
        "bought": payback(store, limit=10),
        "levels": _levels(request),
    }
    return render(request, account, "models.html", **values)


@router.get("/calibration")
def calibration(request: Request, account: Viewer) -> Response:
    """Show predicted fault probabilities against confirmed faults, and the levels they are compared with."""
    state = request.app.state
    bins = reliability(state.store)
    return render(request, account, "calibration.html", bins=bins, levels=_levels(request))


def _levels(request: Request) -> list[dict[str, Any]]:
    """Return the levels in force, each with its reason as `said`."""
    state, language = request.app.state, language_of(request)
    levels = list_levels(state.store, as_of=state.clock())
    return [row | {"said": level_reason(row, language)} for row in levels]


_ALIAS_HISTORY = (
    sa.select(AliasEvent).order_by(AliasEvent.at.desc(), AliasEvent.scope, AliasEvent.alias, AliasEvent.sequence.desc())
).limit(100)
FIGURES = ("fault_probability", "recent_probability", "mutual_information", "expected_entropy", "state")


def _states(connection: Connection, axis_id: str) -> list[Any]:
    """Return the newest states of an axis, oldest first."""
    columns = [getattr(AxisState, name) for name in ("bin_at", *FIGURES, "last_at", "quality")]
    query = sa.select(*columns).where(AxisState.axis_id == axis_id).order_by(AxisState.bin_at.desc())
    return list(reversed(connection.execute(query.limit(MOST_STATES)).all()))


def _cases(connection: Connection, axis_id: str) -> list[dict[str, Any]]:
    """Return the newest cases of an axis, in any state."""
    query = sa.select(Case).where(Case.axis_id == axis_id).order_by(Case.last_at.desc(), Case.case_id)
    return [dict(row._mapping) for row in connection.execute(query.limit(MOST_CASES))]


def _muted(connection: Connection, at: datetime) -> dict[str, datetime]:
    """Return the end of the mute of each axis that is muted; the newest row of an axis counts."""
    rows = connection.execute(muted_axes(at).add_columns(AxisMute.until_at))
    return {row.axis_id: row.until_at for row in rows}
