"""The pages that look at all cases at once: the summary of a shift, and the wall."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from pipeline.base.ids import read_time
from pipeline.cases.shift import shift_summary
from review.case_view import blinded
from review.forms import Viewer
from review.page import language_of, render
from review.reasons import case_statement

router = APIRouter(include_in_schema=False)

HOURS: Final = (8, 12, 24)


def since_of(now: datetime, *, hours: float, since: datetime | None) -> datetime:
    """Return the start of a shift: a time, else so many hours before now."""
    return since or now - timedelta(hours=hours)


@router.get("/shift")
def shift(request: Request, account: Viewer) -> Response:
    """Show what came, what was answered and what waits, for the last hours or since a time."""
    now, query, language = request.app.state.clock(), request.query_params, language_of(request)
    typed = query.get("since", "")
    hours = next((one for one in HOURS if query.get("hours") == str(one)), HOURS[0])
    since = read_time(typed, "from") if typed else None
    summary = shift_summary(request.app.state.store, since=since_of(now, hours=hours, since=since), as_of=now)
    for part in (summary.came, summary.answered, summary.waits):
        _say(part, language)
    return render(request, account, "shift.html", shift=summary, hours=0 if typed else hours, choices=HOURS)


def _say(cases: Iterable[dict[str, Any]], language: str) -> None:
    """Add the headline of each case."""
    for case in cases:
        case["said"] = case_statement(blinded(case), None, language)
