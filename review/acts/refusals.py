"""Why something was refused, in the viewer's language: from the code and the values of each sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup

from pipeline.base.errors import AxiswatchError, Coded
from review.terms import share_text, term
from review.words import WORDS

BY_STATUS: Final = {401: "log_in", 403: "not_allowed", 404: "no_page"}
"""Codes of refusals that carry none of their own: the web framework's."""

STORED: Final = ("name", "value", "action", "role", "own")
"""Values that are stored words; names of people and cases stay as they are."""


def refusals(error: Exception, language: str, *, status: int = 409) -> list[Markup]:
    """Return the sentences of an error for a page, escaped; times become elements that show the viewer's time.

    Parameters
    ----------
    error
        An `AxiswatchError`, or an error of the web framework with a `detail`.
    language
        `en` or `ko`.
    status
        Status of the answer: it words what has no code.
    """
    told = error.sentences if isinstance(error, AxiswatchError) else (getattr(error, "detail", ""),)
    return [_sentence(one, language, status, ours=isinstance(error, AxiswatchError)) for one in told]


def code_of(error: Exception) -> str:
    """Return the code of the first sentence of an error; '' where it has none."""
    told = error.sentences[0] if isinstance(error, AxiswatchError) else getattr(error, "detail", "")
    return told.code if isinstance(told, Coded) else ""


def _sentence(text: Any, language: str, status: int, *, ours: bool) -> Markup:
    code = text.code if isinstance(text, Coded) else ""
    if not code and not ours:
        code = BY_STATUS.get(status, "bad_request")
    words = WORDS.get(f"refused_{code}")
    if words is not None:
        values = text.values if isinstance(text, Coded) else {}
        shown = {name: _shown(name, value, language) for name, value in values.items()}
        return Markup(words[language]).format(**shown)  # nosec B704
    if language == "en":
        return Markup("{}").format(text)
    return Markup('{} <small lang="en">{}</small>').format(WORDS["refused_other"][language], text)


def _shown(name: str, value: Any, language: str) -> Any:
    if isinstance(value, datetime):
        moment = value.astimezone(UTC)
        told = Markup('<time datetime="{}">{}</time>')
        return told.format(moment.strftime("%Y-%m-%dT%H:%M:%SZ"), moment.strftime("%Y-%m-%d %H:%M UTC"))
    if isinstance(value, float):
        return share_text(value)
    return term(value, language) if name in STORED else value
