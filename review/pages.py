"""The pages of the queue and of a case, and the log-in. What is done on them: `review.acts.pages`."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from pipeline.accounts import log_in, log_out
from pipeline.base.errors import AxiswatchError
from pipeline.base.ids import utc_text
from pipeline.cases.audit import is_blind
from pipeline.cases.queue import REASONS, before_in_queue, evidence_of, lacking, place_of, queue_page
from pipeline.cases.verdicts import is_extreme, shown_of
from pipeline.cases.work import standing
from pipeline.labels.words import Cause, Component, Evidence, Mode, Severity, Verdict
from pipeline.store.database import Store
from pipeline.store.tables import Axis
from review import board, plant_pages
from review.access import Form, source_of
from review.acts import pages as act_pages
from review.acts.refusals import refusals
from review.case_view import blinded, case_details, said_of, seen_of
from review.figures.sparkline import NO_LINE, small_lines
from review.forms import Anybody, Viewer, address_of, back, filters_of, inside, text_of
from review.limits import COOKIE, KNOWN, credential
from review.page import LANGUAGE_COOKIE, language_of, render
from review.reasons import effect_lines
from review.words import WORDS

router = APIRouter(include_in_schema=False)
router.include_router(act_pages.router)
router.include_router(plant_pages.router)
router.include_router(board.router)

CHOICES = {"evidence": Evidence, "mode": Mode, "severity": Severity, "component": Component, "cause": Cause}
VIEW_WORDS = ("view_save", "view_name", "view_remove", "view_kept")
KEYS = {"evidence": "e", "mode": "m", "severity": "v", "component": "p", "cause": "w", "note": "n"}
"""The key that goes to each field of a verdict; static/acts.js reads them from the page."""


@router.get("/login")
def login_page(request: Request, account: Anybody) -> Response:
    """Show the form for name and password."""
    return render(request, account, "login.html", wrong=[])


@router.post("/login")
async def login(request: Request, account: Anybody, form: Form) -> Response:
    """Check name and password, and begin a session."""
    del account
    state = request.app.state
    hours = state.settings.review_session_hours
    try:
        given = text_of(form, "name"), str(form.get("password", ""))
        source = source_of(request)
        async with state.log_ins.turn(source):
            check = partial(log_in, state.store, *given, at=state.clock(), hours=hours, source=source)
            cookie = await run_in_threadpool(check)
    except AxiswatchError as error:
        return render(request, None, "login.html", wrong=refusals(error, language_of(request)), status=429)
    if cookie is None:
        wrong = [WORDS["wrong_password"][language_of(request)]]
        return render(request, None, "login.html", wrong=wrong, status=403)
    KNOWN.add(credential(b"", f"{COOKIE}={cookie}".encode()))
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
    lines = small_lines(state.store, state.settings, rows, as_of=state.clock(), kept=state.courses)
    with state.store.read() as connection:
        evidence = evidence_of(connection, [row["case_id"] for row in rows])
        shown = shown_of(connection, [row["case_id"] for row in rows])
    language = language_of(request)
    for row in rows:
        row["trend"] = NO_LINE if is_blind(row) else lines[row["case_id"]]
        row["said"] = said_of(row, evidence.get(row["case_id"]), language)
    values: dict[str, Any] = {
        "rows": rows,
        "lacks": "" if rows else lacking(state.store),
        "filters": filters,
        "following": address_of(request, after=after) if after else "",
        "address": address_of(request, without=("recorded", "undone", "channel")),
        "address_first": address_of(request),
        "reasons": REASONS,
        "places": _places(state.store),
        "verdicts": list(Verdict),
        "evidences": list(Evidence),
        "shown": json.dumps(shown),
        "told": act_pages.told_of(request, account),
        "now": utc_text(state.clock()),
        "view_words": {key: WORDS[key][language] for key in VIEW_WORDS},
    }
    return render(request, account, "queue.html", **values)


@router.get("/cases/{case_id}")
def case_page(request: Request, account: Viewer, case_id: str) -> Response:
    """Show one case, with links to the cases before and after it in the filtered queue."""
    state, filters = request.app.state, filters_of(request, account)
    case = blinded(case_details(state.store, case_id, weights=state.settings.memory_weights, as_of=state.clock()))
    for one in (case, *case["look_alikes"]):
        one["extreme"] = is_extreme(one["fault_probability"]) and not is_blind(one)
    with state.store.read() as connection:
        shown = shown_of(connection, [other["case_id"] for other in case["look_alikes"]]) | {case_id: case["shown"]}
    own = standing(case["events"], who=account.name)
    following, _ = queue_page(state.store, filters, as_of=state.clock(), after=place_of(case), limit=1)
    channel = request.query_params.get("channel", "")
    values: dict[str, Any] = {
        "case": case,
        "now": state.clock(),
        "said": said_of(case, case["evidence"], language_of(request)),
        "effect_lines": effect_lines(case["effect"], language_of(request)),
        "before": before_in_queue(state.store, filters, case, as_of=state.clock()),
        "following": following[0]["case_id"] if following else "",
        "choices": CHOICES,
        "keys": KEYS,
        "verdicts": list(Verdict),
        "seen": json.dumps(seen_of(case)),
        "shown": json.dumps(shown),
        "own_label": own[-1] if own else "",
        "told": act_pages.told_of(request, account),
        "channel": channel if channel in case["channels"] else "",
        "back_to": address_of(request),
        "address": address_of(request, without=("recorded", "undone")),
        "channel_links": {name: address_of(request, channel=name) for name in case["channels"]},
    }
    return render(request, account, "case.html", **values)


def _places(store: Store) -> dict[str, list[str]]:
    """Return the names of all sites, cells and robots, for the filters."""
    with store.read() as connection:
        rows = connection.execute(sa.select(Axis.site, Axis.cell, Axis.robot_id).distinct()).all()
    return {name: sorted({getattr(row, name) for row in rows} - {""}) for name in ("site", "cell", "robot_id")}
