"""How a page is made: templates, the viewer's language, addresses below wherever the application is mounted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.accounts import Account
from pipeline.ids import utc_text
from review.words import LANGUAGES, WORDS

LANGUAGE_COOKIE = "axiswatch_language"

templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
)
templates.filters["utc"] = lambda moment: "" if moment is None else utc_text(moment)
templates.filters["figure"] = lambda value: "–" if value is None else f"{value:.2f}"


def language_of(request: Request) -> str:
    """Give the language that the viewer chose, else the browser's, else English."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    return "ko" if request.headers.get("accept-language", "").lower().startswith("ko") else "en"


def here(request: Request) -> str:
    """Give the path of a page below wherever the application is mounted."""
    return request.url.path.removeprefix(request.scope.get("root_path", "")) or "/"


def render(request: Request, account: Account | None, template: str, *, status: int = 200, **values: Any) -> Response:
    """Fill a template. Everything from outside is shown as text: templates escape."""
    language = language_of(request)

    def t(key: str) -> str:
        return WORDS[key][language]

    root = request.scope.get("root_path", "")
    values |= {"account": account, "root": root, "here": here(request), "request": request}
    text = templates.get_template(template).render(t=t, language=language, **values)
    return HTMLResponse(text, status)
