"""The pages for people. Every write is a form with the session's word, and ends in a redirect."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from pipeline import case_work
from pipeline.accounts import Account, log_in, log_out
from pipeline.assets.events import timeline
from pipeline.axis_state import HEALTHY
from pipeline.case_queue import REASONS, Filters, queue_page
from pipeline.cases import fleet_states, give_verdict
from pipeline.errors import AxiswatchError, PrerequisiteMissing
from pipeline.ids import read_time
from pipeline.model_versions import list_versions
from pipeline.muting import mute, unmute
from pipeline.payback import payback
from pipeline.quarantine import list_quarantine
from pipeline.schema import Axis, AxisState
from pipeline.schema_review import AxisMute
from pipeline.taxonomy import Cause, Component, Evidence, Mode, Severity, Verdict
from review.access import COOKIE, PUBLIC, Form, needs
from review.calibration import reliability
from review.case_view import case_details, seen_of
from review.page import LANGUAGE_COOKIE, language_of, render

router = APIRouter(include_in_schema=False)
Anybody = Annotated[Account | None, needs(PUBLIC)]
Viewer = Annotated[Account, needs("viewer")]
Reviewer = Annotated[Account, needs("reviewer")]

FINDING = ("verdict", "evidence", "component", "mode", "cause", "severity", "note", "from_at", "to_at")
SHAPES = {"healthy": "●", "watch": "◐", "alarm": "▲", "data_fault": "✖", "silent": "◌", "unknown": "?"}
WORDS = {"evidence": Evidence, "mode": Mode, "component": Component, "cause": Cause, "severity": Severity}


def filters_of(request: Request, account: Account) -> Filters:
    """Read the filters of the address."""
    asked = request.query_params
    state = asked.get("state", "open")
    return Filters(
        state=state if state in ("open", "snoozed", "closed", "all") else "open",
        site=asked.get("site", ""),
        cell=asked.get("cell", ""),
        robot_id=asked.get("robot", ""),
        reason=asked.get("reason", "") if asked.get("reason") in REASONS else "",
        mine=account.name if asked.get("mine") else "",
        search=asked.get("search", ""),
    )


def back(request: Request, path: str) -> Response:
    """Go on to another page after a write."""
    return RedirectResponse(request.scope.get("root_path", "") + path, 303)


def text_of(form: FormData, name: str) -> str:
    """Give a field of a form as text, '' where it is missing."""
    return str(form.get(name, "")).replace("\0", "").strip()


def until_of(form: FormData) -> datetime:
    """Read the field `until`; a time without an offset is UTC, as the page says."""
    told = text_of(form, "until")
    return read_time(told + ("Z" if "+" not in told and "Z" not in told else ""), "until")


@router.get("/login")
def login_page(request: Request, account: Anybody) -> Response:
    """Ask for name and password."""
    return render(request, account, "login.html", wrong="")


@router.post("/login")
def login(request: Request, account: Anybody, form: Form) -> Response:
    """Check them, and begin a session."""
    del account
    state = request.app.state
    hours = state.settings.review_session_hours
    try:
        cookie = log_in(
            state.store, text_of(form, "name"), str(form.get("password", "")), at=state.clock(), hours=hours
        )
    except AxiswatchError as error:
        return render(request, None, "login.html", wrong=str(error), status=429)
    if cookie is None:
        return render(request, None, "login.html", wrong="wrong_password", status=403)
    target = request.query_params.get("next", "/")
    inside = target.startswith("/") and not target.startswith(("//", "/\\"))
    response = back(request, target if inside and target.isprintable() else "/")
    secure = state.settings.review_secure_cookie
    response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=secure, max_age=int(hours * 3600))
    return response


@router.post("/logout")
def logout(request: Request, account: Viewer) -> Response:
    """End the session."""
    del account
    log_out(request.app.state.store, request.cookies.get(COOKIE, ""))
    response = back(request, "/login")
    response.delete_cookie(COOKIE)
    return response


@router.post("/language")
def change_language(request: Request, account: Anybody, form: Form) -> Response:
    """Change between English and Korean; a choice of this browser, nothing is stored."""
    del account
    target = text_of(form, "next")
    response = back(request, target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/")
    response.set_cookie(LANGUAGE_COOKIE, "en" if language_of(request) == "ko" else "ko", samesite="lax")
    return response


@router.get("/")
def queue(request: Request, account: Viewer) -> Response:
    """Show the queue, a page at a time."""
    state, filters = request.app.state, filters_of(request, account)
    rows, after = queue_page(state.store, filters, as_of=state.clock(), after=request.query_params.get("after", ""))
    kept = {name: value for name, value in request.query_params.items() if name != "after"}
    following = urlencode(kept | {"after": after}) if after else ""
    verdicts = list(Verdict)
    values: dict[str, Any] = {
        "rows": rows,
        "filters": filters,
        "following": following,
        "reasons": REASONS,
        "verdicts": verdicts,
    }
    return render(request, account, "queue.html", evidences=list(Evidence), **values)


@router.post("/bulk")
def bulk(request: Request, account: Reviewer, form: Form) -> Response:
    """Give one verdict to all chosen cases; each is a finding of its own, and one that is refused stops no other."""
    state, refused = request.app.state, []
    finding = {name: text_of(form, name) for name in ("verdict", "evidence", "note")}
    for case_id in [str(value) for value in form.getlist("case")][:200]:
        hours = state.settings.state_period_hours
        try:
            seen = seen_of(case_details(state.store, case_id, as_of=state.clock()))
            give_verdict(
                state.store, case_id, finding, who=account.name, at=state.clock(), period_hours=hours, seen=seen
            )
        except AxiswatchError as error:
            refused.append(str(error))
    if refused:
        return render(request, account, "error.html", text="\n".join(refused), status=409)
    return back(request, "/")


@router.get("/cases/{case_id}")
def case_page(request: Request, account: Viewer, case_id: str) -> Response:
    """Show one case."""
    state = request.app.state
    case = case_details(state.store, case_id, as_of=state.clock())
    near, _ = queue_page(state.store, filters_of(request, account), as_of=state.clock(), limit=200)
    ids = [row["case_id"] for row in near]
    place = ids.index(case_id) if case_id in ids else -1
    following = ids[place + 1] if place + 1 < len(ids) else ""
    values: dict[str, Any] = {
        "case": case,
        "before": ids[place - 1] if place > 0 else "",
        "following": following,
        "words": WORDS,
    }
    seen = json.dumps(seen_of(case))
    return render(request, account, "case.html", verdicts=list(Verdict), seen=seen, **values)


@router.post("/cases/{case_id}/{act}")
def act_on_case(request: Request, account: Reviewer, case_id: str, act: str, form: Form) -> Response:
    """Do one of the acts on a case."""
    state = request.app.state
    store, who, at, minutes = state.store, account.name, state.clock(), state.settings.review_claim_minutes
    if act == "claim":
        case_work.claim(store, case_id, who=who, at=at, minutes=minutes)
    elif act == "verdict":
        finding = {name: text_of(form, name) for name in FINDING}
        hours = state.settings.state_period_hours
        give_verdict(store, case_id, finding, who=who, at=at, period_hours=hours, seen=seen_by(form))
    elif act == "undo":
        case_work.undo(store, case_id, who=who, at=at)
    elif act == "snooze":
        case_work.snooze(store, case_id, who=who, at=at, until=until_of(form) if text_of(form, "until") else None)
    elif act == "comment":
        case_work.comment(store, case_id, text_of(form, "text"), who=who, at=at)
    elif act == "hand-over":
        case_work.hand_over(store, case_id, to=text_of(form, "to"), who=who, at=at, minutes=minutes)
    elif act == "work-order":
        case_work.set_work_order(store, case_id, text_of(form, "number"), who=who, at=at)
    else:
        raise HTTPException(404, f"there is no act {act!r}")
    return back(request, f"/cases/{case_id}")


def seen_by(form: FormData) -> dict[str, object]:
    """Read what the page showed when it was sent off."""
    try:
        told = json.loads(text_of(form, "seen")[:2000] or "{}")
    except json.JSONDecodeError as error:
        raise AxiswatchError(f"what was on the screen cannot be read: {error}") from error
    return told if isinstance(told, dict) else {}


@router.get("/fleet")
def fleet(request: Request, account: Viewer) -> Response:
    """Show the state of every axis."""
    return render(request, account, "fleet.html", axes=fleet_states(request.app.state.store), shapes=SHAPES)


@router.get("/axes/{axis_id}")
def axis_page(request: Request, account: Viewer, axis_id: str) -> Response:
    """Show one axis: its course, its maintenance, its cases, its mutes."""
    store = request.app.state.store
    with store.read() as connection:
        axis = connection.execute(sa.select(Axis).where(Axis.axis_id == axis_id)).one_or_none()
        if axis is None:
            raise PrerequisiteMissing(f"there is no axis {axis_id}")
        events = timeline(connection, axis_id)
        mutes = connection.execute(
            sa.select(AxisMute).where(AxisMute.axis_id == axis_id).order_by(AxisMute.known_at)
        ).all()
        states = connection.execute(
            sa.select(AxisState).where(AxisState.axis_id == axis_id).order_by(AxisState.bin_at.desc()).limit(500)
        ).all()
    wanted = Filters(state="all", site=axis.site, cell=axis.cell, robot_id=axis.robot_id)
    cases = [row for row in queue_page(store, wanted, as_of=request.app.state.clock())[0] if row["axis_id"] == axis_id]
    values = {"axis": axis, "events": events, "mutes": mutes, "states": states, "cases": cases, "shapes": SHAPES}
    muted = bool(mutes) and mutes[-1].until_at > request.app.state.clock()
    return render(request, account, "axis.html", healthy=HEALTHY, muted=muted, **values)


@router.post("/axes/{axis_id}/mute")
def mute_axis(request: Request, account: Reviewer, axis_id: str, form: Form) -> Response:
    """Keep an axis out of the queue for a time."""
    state = request.app.state
    until = until_of(form)
    mute(state.store, axis_id, reason=text_of(form, "reason"), until=until, who=account.name, at=state.clock())
    return back(request, f"/axes/{axis_id}")


@router.post("/axes/{axis_id}/unmute")
def unmute_axis(request: Request, account: Reviewer, axis_id: str, form: Form) -> Response:
    """Let the cases of an axis into the queue again."""
    state = request.app.state
    unmute(state.store, axis_id, reason=text_of(form, "reason"), who=account.name, at=state.clock())
    return back(request, f"/axes/{axis_id}")


@router.get("/quarantine")
def quarantine(request: Request, account: Viewer) -> Response:
    """Show what could not be read."""
    return render(request, account, "quarantine.html", entries=list_quarantine(request.app.state.store, limit=500))


@router.get("/models")
def models(request: Request, account: Viewer) -> Response:
    """Show versions, aliases and held-out figures; nothing can be changed here."""
    store = request.app.state.store
    changes = payback(store, limit=10)
    return render(request, account, "models.html", versions=list_versions(store)[::-1], changes=changes)


@router.get("/calibration")
def calibration(request: Request, account: Viewer) -> Response:
    """Hold what was said against what was found."""
    return render(request, account, "calibration.html", bins=reliability(request.app.state.store))
