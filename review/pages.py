"""The pages of the queue and of a case, and the log-in. Every write is a form with a CSRF token."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, HTTPException, Request, Response

from pipeline.accounts import log_in, log_out
from pipeline.base.errors import AxiswatchError
from pipeline.base.ids import utc_text
from pipeline.cases import work as case_work
from pipeline.cases.queue import REASONS, before_in_queue, evidence_of, place_of, queue_page
from pipeline.cases.remembering import recall
from pipeline.cases.verdicts import give_verdict
from pipeline.labels.words import Cause, Component, Evidence, Mode, Severity, Verdict
from pipeline.store.database import Store
from pipeline.store.tables import Axis
from review import plant_pages
from review.access import COOKIE, Form
from review.case_view import case_details, case_facts, seen_of
from review.forms import (
    Anybody,
    Reviewer,
    Viewer,
    address_of,
    back,
    filters_of,
    finding_of,
    inside,
    seen_by,
    text_of,
    time_of,
)
from review.page import LANGUAGE_COOKIE, language_of, render
from review.reasons import case_statement, effect_lines
from review.sparkline import courses, sparkline

router = APIRouter(include_in_schema=False)
router.include_router(plant_pages.router)

MOST_AT_ONCE = 200
WORDS = {"evidence": Evidence, "mode": Mode, "component": Component, "cause": Cause, "severity": Severity}


@router.get("/login")
def login_page(request: Request, account: Anybody) -> Response:
    """Show the form for name and password."""
    return render(request, account, "login.html", wrong="")


@router.post("/login")
def login(request: Request, account: Anybody, form: Form) -> Response:
    """Check name and password, and begin a session."""
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
    response = back(request, inside(request, request.query_params.get("next", "/")))
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
    """Change between English and Korean; the browser keeps the choice in a cookie."""
    del account
    response = back(request, inside(request, text_of(form, "next")))
    response.set_cookie(LANGUAGE_COOKIE, "en" if language_of(request) == "ko" else "ko", samesite="lax")
    return response


@router.get("/")
def queue(request: Request, account: Viewer) -> Response:
    """Show a page of the queue."""
    state, filters = request.app.state, filters_of(request, account)
    rows, after = queue_page(state.store, filters, as_of=state.clock(), after=request.query_params.get("after", ""))
    points = courses(state.store, rows)
    with state.store.read() as connection:
        evidence = evidence_of(connection, [row["case_id"] for row in rows])
    language = language_of(request)
    for row in rows:
        row["trend"] = sparkline(points[row["case_id"]], end=row["last_at"])
        row["said"] = case_statement(row, evidence.get(row["case_id"]), language)
    recorded = [case for case in request.query_params.get("recorded", "").split(",") if case.isalnum()]
    values: dict[str, Any] = {
        "rows": rows,
        "filters": filters,
        "following": address_of(request, after=after) if after else "",
        "address": address_of(request, without=("recorded", "channel")),
        "address_first": address_of(request),
        "reasons": REASONS,
        "places": _places(state.store),
        "verdicts": list(Verdict),
        "evidences": list(Evidence),
        "recorded": recorded[:MOST_AT_ONCE],
        "now": utc_text(state.clock()),
    }
    return render(request, account, "queue.html", **values)


@router.post("/bulk")
def bulk(request: Request, account: Reviewer, form: Form) -> Response:
    """Record one verdict for all chosen cases, as a finding on each; a refused one does not stop the others."""
    state, recorded, refused = request.app.state, [], []
    finding = finding_of(form, ("verdict", "evidence", "mode", "component", "cause", "severity", "note"))
    for case_id in [str(value) for value in form.getlist("case")][:MOST_AT_ONCE]:
        hours = state.settings.state_period_hours
        try:
            seen = seen_of(case_facts(state.store, case_id, as_of=state.clock()))
            give_verdict(
                state.store, case_id, finding, who=account.name, at=state.clock(), period_hours=hours, seen=seen
            )
            recorded.append(case_id)
        except AxiswatchError as error:
            refused.append(str(error))
    recall(state.store, recorded, weights=state.settings.memory_weights, as_of=state.clock())
    if refused:
        return render(request, account, "error.html", text="\n".join(refused), status=409)
    return back(request, "/" + address_of(request, without=("recorded",), recorded=",".join(recorded)))


@router.post("/bulk/undo")
def bulk_undo(request: Request, account: Reviewer, form: Form) -> Response:
    """Withdraw the user's own last verdicts on some cases."""
    state, undone, refused = request.app.state, [], []
    for case_id in [str(value) for value in form.getlist("case")][:MOST_AT_ONCE]:
        try:
            case_work.undo(state.store, case_id, who=account.name, at=state.clock())
            undone.append(case_id)
        except AxiswatchError as error:
            refused.append(str(error))
    recall(state.store, undone, weights=state.settings.memory_weights, as_of=state.clock())
    if refused:
        return render(request, account, "error.html", text="\n".join(refused), status=409)
    return back(request, "/" + address_of(request, without=("recorded",)))


@router.get("/cases/{case_id}")
def case_page(request: Request, account: Viewer, case_id: str) -> Response:
    """Show one case, with links to the cases before and after it in the filtered queue."""
    state, filters = request.app.state, filters_of(request, account)
    case = case_details(state.store, case_id, weights=state.settings.memory_weights, as_of=state.clock())
    following, _ = queue_page(state.store, filters, as_of=state.clock(), after=place_of(case), limit=1)
    channel = request.query_params.get("channel", "")
    values: dict[str, Any] = {
        "case": case,
        "said": case_statement(case, case["evidence"], language_of(request)),
        "effect_lines": effect_lines(case["effect"], language_of(request)),
        "before": before_in_queue(state.store, filters, case, as_of=state.clock()),
        "following": following[0]["case_id"] if following else "",
        "words": WORDS,
        "verdicts": list(Verdict),
        "seen": json.dumps(seen_of(case)),
        "channel": channel if channel in case["channels"] else "",
        "back_to": address_of(request),
        "address": address_of(request, without=()),
        "channel_links": {name: address_of(request, channel=name) for name in case["channels"]},
    }
    return render(request, account, "case.html", **values)


@router.post("/cases/{case_id}/{act}")
def act_on_case(request: Request, account: Reviewer, case_id: str, act: str, form: Form) -> Response:
    """Carry out an action on a case."""
    state = request.app.state
    store, who, at, minutes = state.store, account.name, state.clock(), state.settings.review_claim_minutes
    if act == "claim":
        case_work.claim(store, case_id, who=who, at=at, minutes=minutes)
    elif act == "verdict":
        hours = state.settings.state_period_hours
        give_verdict(store, case_id, finding_of(form), who=who, at=at, period_hours=hours, seen=seen_by(form))
        recall(store, [case_id], weights=state.settings.memory_weights, as_of=at)
    elif act == "undo":
        case_work.undo(store, case_id, who=who, at=at)
        recall(store, [case_id], weights=state.settings.memory_weights, as_of=at)
    elif act == "snooze":
        dated = text_of(form, "until") if text_of(form, "when") != "worse" else ""
        if text_of(form, "when") == "date" and not dated:
            raise AxiswatchError("the end of the snooze is missing; give a time, or snooze until the case gets worse")
        case_work.snooze(store, case_id, who=who, at=at, until=time_of(form, "until") if dated else None)
    elif act == "comment":
        case_work.comment(store, case_id, text_of(form, "text"), who=who, at=at)
    elif act == "hand-over":
        case_work.hand_over(store, case_id, to=text_of(form, "to"), who=who, at=at, minutes=minutes)
    elif act == "work-order":
        case_work.set_work_order(store, case_id, text_of(form, "number"), who=who, at=at)
    else:
        raise HTTPException(404, f"there is no action {act!r}")
    return back(request, f"/cases/{case_id}" + address_of(request, without=("recorded",)))


def _places(store: Store) -> dict[str, list[str]]:
    """Return the names of all sites, cells and robots, for the filters."""
    with store.read() as connection:
        rows = connection.execute(sa.select(Axis.site, Axis.cell, Axis.robot_id).distinct()).all()
    return {name: sorted({getattr(row, name) for row in rows} - {""}) for name in ("site", "cell", "robot_id")}
