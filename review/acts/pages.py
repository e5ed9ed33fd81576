"""What people do on the pages: forms that write, each with a CSRF token, and what is said of it afterwards."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from fastapi import APIRouter, HTTPException, Request, Response

from pipeline.accounts import Account
from pipeline.base.errors import AxiswatchError, Coded
from pipeline.cases import work as case_work
from pipeline.cases.effects import effect_of
from pipeline.cases.queue import place_of, queue_page
from pipeline.cases.remembering import recall
from pipeline.cases.verdicts import get_case, give_verdict
from pipeline.store.tables import Axis, Case, Label, ReviewEvent
from review.access import Form
from review.case_view import blinded, case_facts, seen_of
from review.forms import (
    PASSING,
    Reviewer,
    address_of,
    back,
    cases_of,
    filters_of,
    finding_of,
    inside,
    seen_by,
    shown_by,
    text_of,
    time_of,
)
from review.page import language_of, refuse
from review.reasons import effect_lines

router = APIRouter(include_in_schema=False)

MOST_AT_ONCE: Final = 200
SAID: Final = ("recorded", "undone")
"""Parameters of an address that name the cases of the act before; the page says what was done to them."""


@router.post("/bulk")
def bulk(request: Request, account: Reviewer, form: Form) -> Response:
    """Record one verdict for all chosen cases, as a finding on each; a refused one does not stop the others."""
    state, recorded, wrong = request.app.state, [], list[str]()
    finding = finding_of(form, ("verdict", "evidence", "mode", "component", "cause", "severity", "note"))
    chosen, at = cases_of(form, "case", most=MOST_AT_ONCE), state.clock()
    hours, shown, sure = state.settings.state_period_hours, shown_by(form), bool(text_of(form, "sure"))
    act: dict[str, Any] = {"who": account.name, "at": at, "period_hours": hours, "shown": shown, "sure": sure}
    for case_id in chosen:
        try:
            seen = seen_of(blinded(case_facts(state.store, case_id, as_of=at)))
            give_verdict(state.store, case_id, finding, seen=seen, **act)
            recorded.append(case_id)
        except AxiswatchError as error:
            wrong += error.sentences
    recall(state.store, recorded, weights=state.settings.memory_weights, as_of=at)
    if not chosen:
        wrong.append(Coded("no case was chosen", "nothing_chosen"))
    if wrong:
        return _refused(request, account, wrong, recorded=recorded)
    return back(request, "/" + address_of(request, without=SAID, recorded=",".join(recorded)))


@router.post("/bulk/undo")
def undo_several(request: Request, account: Reviewer, form: Form) -> Response:
    """Withdraw the user's own verdicts on some cases: those named by `label`, else the last ones."""
    state, undone, wrong = request.app.state, [], list[str]()
    chosen, labels = cases_of(form, "case", most=MOST_AT_ONCE), cases_of(form, "label", most=MOST_AT_ONCE)
    for place, case_id in enumerate(chosen):
        label = labels[place] if len(labels) == len(chosen) else ""
        try:
            case_work.undo(state.store, case_id, who=account.name, at=state.clock(), label_id=label)
            undone.append(case_id)
        except AxiswatchError as error:
            wrong += error.sentences
    recall(state.store, undone, weights=state.settings.memory_weights, as_of=state.clock())
    if wrong:
        return _refused(request, account, wrong, undone=undone)
    path = inside(request, text_of(form, "next")) if form.get("next") else "/"
    path += address_of(request, without=SAID, undone=",".join(undone))
    return back(request, path)


@router.post("/cases/{case_id}/{act}")
def act_on_case(request: Request, account: Reviewer, case_id: str, act: str, form: Form) -> Response:
    """Carry out an action on a case."""
    state, path, said = request.app.state, f"/cases/{case_id}", dict[str, str]()
    store, who, at, minutes = state.store, account.name, state.clock(), state.settings.review_claim_minutes
    if act == "claim":
        case_work.claim(store, case_id, who=who, at=at, minutes=minutes)
    elif act == "verdict":
        onward = _following(request, account, case_id, form)  # before the verdict moves look-alikes in the queue
        said["recorded"] = ",".join(_record(request, account, case_id, form))
        path = onward or path
    elif act == "undo":
        case_work.undo(store, case_id, who=who, at=at, label_id=text_of(form, "label"))
        recall(store, [case_id], weights=state.settings.memory_weights, as_of=at)
        said["undone"] = case_id
    elif act == "snooze":
        dated = text_of(form, "until") if text_of(form, "when") != "worse" else ""
        if text_of(form, "when") == "date" and not dated:
            text = "the end of the snooze is missing; give a time, or snooze until the case gets worse"
            raise AxiswatchError(Coded(text, "no_end"))
        case_work.snooze(store, case_id, who=who, at=at, until=time_of(form, "until") if dated else None)
    elif act == "wake":
        case_work.wake(store, case_id, who=who, at=at)
    elif act == "release":
        case_work.release(store, case_id, who=who, at=at)
    elif act == "comment":
        case_work.comment(store, case_id, text_of(form, "text"), who=who, at=at)
    elif act == "hand-over":
        case_work.hand_over(store, case_id, to=text_of(form, "to"), who=who, at=at, minutes=minutes)
    elif act == "work-order":
        case_work.set_work_order(store, case_id, text_of(form, "number"), who=who, at=at)
    else:
        raise HTTPException(404, f"there is no action {act!r}")
    without = SAID if path.endswith(case_id) else PASSING
    return back(request, path + address_of(request, without=without, **said))


def told_of(request: Request, account: Account) -> dict[str, Any] | None:
    """Return what the act before came to, as the address names it (`told_about`); None where it names none."""
    act = next((name for name in SAID if request.query_params.get(name)), "")
    return told_about(request, account, act, request.query_params.get(act, "").split(","))


def told_about(request: Request, account: Account, act: str, case_ids: list[str]) -> dict[str, Any] | None:
    """Return what the user recorded or withdrew on some cases; None where their last act was another.

    Returns
    -------
    dict
        `act` (`recorded` or `undone`); `cases`, each with its place, `state` and, if recorded, the finding; `lines`,
        what the first finding changes, as sentences.
    """
    state = request.app.state
    ids = [case for case in case_ids if case.isalnum()][:MOST_AT_ONCE]
    if not ids:
        return None
    places = sa.select(Case.case_id, Case.state, Axis.site, Axis.cell, Axis.robot_id, Axis.axis)
    places = places.join(Axis, Axis.axis_id == Case.axis_id).where(Case.case_id.in_(ids))
    own = sa.select(ReviewEvent).where(ReviewEvent.case_id.in_(ids), ReviewEvent.who == account.name)
    own = own.where(ReviewEvent.action.in_(("verdict", "undone"))).order_by(ReviewEvent.sequence)
    with state.store.read() as connection:
        cases = {row.case_id: dict(row._mapping) for row in connection.execute(places)}
        events = [dict(row._mapping) for row in connection.execute(own)]
        newest = {event["case_id"]: event for event in events}
        wanted = "verdict" if act == "recorded" else "undone"
        there = [case for case in ids if case in cases and newest.get(case, {}).get("action") == wanted]
        labels = [newest[case]["details"]["label_id"] for case in there]
        found = {row.case_id: row for row in connection.execute(sa.select(Label).where(Label.label_id.in_(labels)))}
        there = [case for case in there if case in found]
        weights, effect = state.settings.memory_weights, None
        if act == "recorded" and there:
            effect = effect_of(connection, there[0], weights=weights, as_of=state.clock())
    if not there:
        return None
    names = ("label_id", "verdict", "mode", "evidence")
    told = [cases[case] | {name: getattr(found[case], name) for name in names} for case in there]
    return {"act": act, "cases": told, "lines": effect_lines(effect, language_of(request))}


def _record(request: Request, account: Account, case_id: str, form: Form) -> list[str]:
    """Record the verdict of the form on its case and on the look-alikes that were ticked; return all of them."""
    state = request.app.state
    also = cases_of(form, "also", most=MOST_AT_ONCE)
    act: dict[str, Any] = {"seen": seen_by(form), "shown": shown_by(form), "sure": bool(text_of(form, "sure"))}
    hours, at = state.settings.state_period_hours, state.clock()
    give_verdict(state.store, case_id, finding_of(form), who=account.name, at=at, period_hours=hours, also=also, **act)
    recorded = list(dict.fromkeys([case_id, *also]))
    recall(state.store, recorded, weights=state.settings.memory_weights, as_of=at)
    return recorded


def _following(request: Request, account: Account, case_id: str, form: Form) -> str:
    """Return the path of the case that follows in the filtered queue, of the queue at its end, '' if one stays here.

    Ticked cases get the same verdict, so they are passed.
    """
    if not text_of(form, "onward"):
        return ""
    state, also = request.app.state, cases_of(form, "also", most=MOST_AT_ONCE)
    place, filters = place_of(get_case(state.store, case_id)), filters_of(request, account)
    rows, _ = queue_page(state.store, filters, as_of=state.clock(), after=place, limit=len(also) + 1)
    left = [row["case_id"] for row in rows if row["case_id"] not in also]
    return f"/cases/{left[0]}" if left else "/"


def _refused(request: Request, account: Account, wrong: list[str], **done: list[str]) -> Response:
    """Return the page of what was refused of several cases; it says what was done all the same."""
    sentences = list(dict.fromkeys(wrong))
    error = AxiswatchError("\n".join(sentences), sentences)
    told = next((told_about(request, account, act, cases) for act, cases in done.items()), None)
    return refuse(request, account, error, status=409, told=told)
