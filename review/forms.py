"""Reading forms and addresses that a browser sends, and redirecting it after a write."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData, QueryParams

from pipeline.accounts import Account
from pipeline.base.errors import AxiswatchError, Coded
from pipeline.base.ids import read_time
from pipeline.cases.queue import REASONS, Filters
from review.access import PUBLIC, needs

Anybody = Annotated[Account | None, needs(PUBLIC)]
Viewer = Annotated[Account, needs("viewer")]
Reviewer = Annotated[Account, needs("reviewer")]

FINDING = ("verdict", "evidence", "component", "mode", "cause", "severity", "note", "from_at", "to_at")
TIMES = ("from_at", "to_at")
FIELDS = {"since": "from_at"}
"""Fields of pages that are called otherwise than what is stored."""
PASSING = ("after", "channel", "recorded", "undone")
"""Parameters of an address that are about one page; the others are filters of the queue."""


def filters_of(request: Request, account: Account) -> Filters:
    """Read the filters of the queue from the address; values that are not known are ignored."""
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
    """Return the query of the address, `?...`, without some parameters and with others; '' where none is left."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if value and name not in without]
    query = urlencode([*kept, *((name, value) for name, value in more.items() if value)])
    return f"?{query}" if query else ""


def back(request: Request, path: str) -> Response:
    """Redirect to another page after a write."""
    return RedirectResponse(request.scope.get("root_path", "") + path, 303)


def inside(request: Request, target: str) -> str:
    """Return the path of a redirect if it is inside the application, else that of the queue.

    The path may start with the prefix under which the application is mounted; it is removed, and `back` adds it.
    """
    path = target.removeprefix(request.scope.get("root_path", "")) or "/"
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if ours else "/"


def text_of(form: FormData | QueryParams, name: str) -> str:
    """Return a field of a form as text; '' where it is missing."""
    return str(form.get(name, "")).replace("\0", "").strip()


def time_of(form: FormData | QueryParams, name: str) -> datetime:
    """Read a field with a time; without an offset it is UTC (the page's script sends times with an offset).

    Raises
    ------
    SettingsError
        It is no ISO 8601 time.
    """
    return read_time(_with_offset(text_of(form, name)), FIELDS.get(name, name))


def finding_of(form: FormData, names: tuple[str, ...] = FINDING) -> dict[str, str]:
    """Read the fields of a finding; a time without an offset is UTC."""
    finding = {name: text_of(form, name) for name in names}
    return finding | {name: _with_offset(finding[name]) for name in TIMES if finding.get(name)}


def seen_by(form: FormData) -> dict[str, object]:
    """Read what the page showed when the form was sent. Raises as `json_of`."""
    return json_of(form, "seen", most=2000)


def shown_by(form: FormData) -> dict[str, int] | None:
    """Read the number of the newest act of each case that the page knew; None where the form does not say."""
    shown = {case: act for case, act in json_of(form, "shown", most=20_000).items() if isinstance(act, int)}
    return shown or None


def json_of(form: FormData, name: str, *, most: int) -> dict[str, Any]:
    """Read a field with a JSON object of at most `most` characters; empty where it is missing.

    Raises
    ------
    AxiswatchError
        The field is no JSON.
    """
    try:
        told = json.loads(text_of(form, name)[:most] or "{}")
    except (json.JSONDecodeError, RecursionError) as error:
        text = f"form field `{name}` is no JSON; load the page again"
        raise AxiswatchError(Coded(text, "old_page")) from error
    return told if isinstance(told, dict) else {}


def cases_of(form: FormData, name: str, *, most: int) -> list[str]:
    """Return the ids of the cases that were ticked, each once and at most so many."""
    return list(dict.fromkeys(str(value).replace("\0", "") for value in form.getlist(name)))[:most]


def _with_offset(text: str) -> str:
    date, at, time = text.partition("T")
    return text if not at or time.endswith(("Z", "z")) or "+" in time or "-" in time else f"{date}T{time}Z"
