"""Reading what a browser sends: fields of forms, filters of an address; and where a write ends."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from pipeline.accounts import Account
from pipeline.base.errors import AxiswatchError
from pipeline.base.ids import read_time
from pipeline.cases.queue import REASONS, Filters
from review.access import PUBLIC, needs

Anybody = Annotated[Account | None, needs(PUBLIC)]
Viewer = Annotated[Account, needs("viewer")]
Reviewer = Annotated[Account, needs("reviewer")]

FINDING = ("verdict", "evidence", "component", "mode", "cause", "severity", "note", "from_at", "to_at")
TIMES = ("from_at", "to_at")
PASSING = ("after", "channel", "recorded")
"""What of an address is about one page, and not about what is wanted of the queue."""


def filters_of(request: Request, account: Account) -> Filters:
    """Read the filters of the address."""
    query = request.query_params
    state = query.get("state", "open")
    return Filters(
        state=state if state in ("open", "snoozed", "closed", "all") else "open",
        site=query.get("site", ""),
        cell=query.get("cell", ""),
        robot_id=query.get("robot", ""),
        reason=query.get("reason", "") if query.get("reason") in REASONS else "",
        mine=account.name if query.get("mine") else "",
        search=query.get("search", ""),
    )


def address_of(request: Request, *, without: tuple[str, ...] = PASSING, **more: str) -> str:
    """Write the query of the address anew, `?...`, without some of it and with more; '' where nothing is left."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if value and name not in without]
    query = urlencode([*kept, *((name, value) for name, value in more.items() if value)])
    return f"?{query}" if query else ""


def back(request: Request, path: str) -> Response:
    """Go on to another page after a write."""
    return RedirectResponse(request.scope.get("root_path", "") + path, 303)


def inside(request: Request, target: str) -> str:
    """Give a path of the application that somebody is to go on to; any other place is the queue.

    The path may have the part under which the application is mounted; `back` adds it.
    """
    path = target.removeprefix(request.scope.get("root_path", "")) or "/"
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if ours else "/"


def text_of(form: FormData, name: str) -> str:
    """Give a field of a form as text, '' where it is missing."""
    return str(form.get(name, "")).replace("\0", "").strip()


def time_of(form: FormData, name: str) -> datetime:
    """Read a field with a time; one without an offset is UTC (the page's script sends times with theirs)."""
    return read_time(_with_offset(text_of(form, name)), name)


def finding_of(form: FormData, names: tuple[str, ...] = FINDING) -> dict[str, str]:
    """Read a finding; its times as `time_of` does."""
    finding = {name: text_of(form, name) for name in names}
    return finding | {name: _with_offset(finding[name]) for name in TIMES if finding.get(name)}


def seen_by(form: FormData) -> dict[str, object]:
    """Read what the page showed when it was sent off."""
    try:
        seen = json.loads(text_of(form, "seen")[:2000] or "{}")
    except json.JSONDecodeError as error:
        raise AxiswatchError(f"what was on the screen cannot be read: {error}") from error
    return seen if isinstance(seen, dict) else {}


def _with_offset(text: str) -> str:
    date, at, time = text.partition("T")
    return text if not at or time.endswith(("Z", "z")) or "+" in time or "-" in time else f"{date}T{time}Z"
