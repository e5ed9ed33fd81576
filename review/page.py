"""Rendering pages: templates, the viewer's language, and addresses where the application is mounted."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from features.quality.quality import Quality
from pipeline.accounts import Account
from pipeline.base.ids import utc_text
from pipeline.labels.words import Mode
from review.acts.refusals import code_of, refusals
from review.figures.feature_words import GROUPS
from review.terms import share_text, term
from review.words import LANGUAGES, WORDS

SHAPES: Final = {"healthy": "●", "watch": "◐", "alarm": "▲", "data_fault": "✖", "silent": "◌", "unknown": "?"}
"""A shape for each state of an axis, for those who cannot tell the colours apart."""

LANGUAGE_COOKIE = "axiswatch_language"
STORED_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?Z")
PLOT_WORDS: Final = (
    *("recording", "reference", "no_reference", "no_signal", "no_baseline", "fault_probability", "case_time"),
    *("mutual_information", "expected_entropy", "novelty", "hertz", "orders", "seconds", "recent", "alarm_level"),
    *("review_level", "feature", "was", "now", "change", "distance", "shown", "channel", "program", "speed", "load"),
    "declared",
    *("quality", "plot_zoom", "plot_pan", "plot_in", "plot_out", "plot_reset", "plot_keys", "loading", "not_loaded"),
    *("only_values", "how_unsure"),
    *("health_index", "running_median", "threshold", "baseline_band", "change_point", "no_trend", "nothing_moved"),
    *("velocity_rms", "borrowed_limit", "borrowed_why"),
    *("any_regime", "far_off", "clearly_off", "off", "no_classes", "most_suspicious", "no_sound", "harmonics"),
    *("sidebands", "no_sidebands", "log_axis", "over_floor", "from_line", "waterfall_scale"),
    *(f"group_{group}" for group in GROUPS),
)
ACT_WORDS: Final = (
    *("choose_verdict", "choose_evidence", "choose_sure", "offline", "session_over", "restored", "discard"),
    *("not_yet", "will_record", "with_alike"),
)
PLOT_TERMS: Final = (
    *("shaft", "bpfo", "bpfi", "bsf", "ftf", "gear mesh", "healthy", "fault"),
    *(str(word) for words in (Quality, Mode) for word in words),
)
PLOT_TERMS_OF_AXES: Final = ("watch", "alarm", "data_fault", "silent", "unknown", "installed", "replaced", "removed")

templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
)


@dataclass(frozen=True)
class StaticFile:
    """A script or style of the application, and a hash of its content."""

    path: Path
    digest: str


STATIC_FILES: Final = {
    path.name: StaticFile(path, hashlib.sha256(path.read_bytes()).hexdigest()[:16])
    for path in sorted((Path(__file__).parent / "static").iterdir())
}


def _plotted(values: Any) -> Any:
    """Write the data of a plot as JSON that is safe in an HTML attribute."""

    def write(value: Any) -> str:
        return utc_text(value) if isinstance(value, datetime) else str(value)

    return htmlsafe_json_dumps(values, dumps=lambda data, **_: json.dumps(data, default=write))


templates.filters["plotted"] = _plotted
templates.filters["share"] = share_text
templates.filters["utc"] = lambda moment: "" if moment is None else utc_text(moment)
templates.filters["fine"] = lambda value: "–" if value is None else f"{value:.4f}"
templates.filters["figure"] = lambda value: "–" if value is None else f"{value:.2f}"


def language_of(request: Request) -> str:
    """Return the language that the viewer chose, else the browser's, else English."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    return "ko" if request.headers.get("accept-language", "").lower().startswith("ko") else "en"


def here(request: Request) -> str:
    """Return the path of a page, without the prefix under which the application is mounted."""
    return request.url.path.removeprefix(request.scope.get("root_path", "")) or "/"


def refuse(
    request: Request, account: Account | None, error: Exception, *, status: int, told: dict[str, Any] | None = None
) -> Response:
    """Return an error as a page in the viewer's language, with the navigation; `told`: what was done all the same."""
    lines, path = refusals(error, language_of(request), status=status), here(request).split("/")
    case = path[2] if path[1] == "cases" and len(path) > 3 and status != 404 else ""
    values = {"lines": lines, "code": code_of(error), "case": case, "told": told, "address": ""}
    if request.method != "GET":  # the address of a write is no page to go back to
        values["here"] = f"/cases/{case}" if case else "/"
    return render(request, account, "error.html", status=status, **values)


def render(request: Request, account: Account | None, template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a template. The templates escape all values, so text from outside cannot become markup."""
    language = language_of(request)

    def t(key: str) -> str:
        return WORDS[key][language]

    def w(word: str | None) -> str:
        return term(word, language)

    def detail(value: Any) -> Markup:
        """Write a detail of an event: stored words in the viewer's language, numbers with two digits, times as such."""
        if isinstance(value, list):
            return Markup(", ").join(map(detail, value))
        if isinstance(value, str) and STORED_TIME.fullmatch(value):
            return Markup('<time datetime="{}">{}</time>').format(value, f"{value[:10]} {value[11:16]} UTC")
        return escape(f"{value:.2f}" if isinstance(value, float) else w(str(value)))

    words = {key: t(key) for key in PLOT_WORDS} | {key: w(key) for key in (*PLOT_TERMS, *PLOT_TERMS_OF_AXES)}
    root = request.scope.get("root_path", "")

    def static(name: str) -> str:
        """Return the address of a script or style, which changes with its content."""
        return f"{root}/static/{name}?v={STATIC_FILES[name].digest}"

    values = {"account": account, "root": root, "here": here(request), "request": request} | values
    values |= {"plot_words": words, "detail": detail, "act_words": {key: t(key) for key in ACT_WORDS}}
    text = templates.get_template(template).render(t=t, w=w, language=language, static=static, **values)
    return HTMLResponse(text, status)
