"""Errors that a user of axiswatch can do something about, and their exit codes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

LONGEST_LINE: Final = 1_000
_USER_INFO: Final = re.compile(r"(?<=://)[^/@\s]+@")


def without_secrets(text: str) -> str:
    """Return text in which no URL has a name and a password.

    >>> without_secrets("cannot reach s3://key:secret@store/lake")
    'cannot reach s3://***@store/lake'
    """
    return _USER_INFO.sub("***@", text)


def readable(text: str) -> str:
    """Return a message that a terminal and a log can show, whatever text from outside is in it.

    Letters that cannot be printed are replaced, and of a line longer than 1,000 letters the middle is left out.

    >>> readable("no case \x1b[31m")
    'no case \ufffd[31m'
    """
    lines = []
    for line in text.split("\n"):
        if len(line) > LONGEST_LINE:
            line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
        lines.append("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line))
    return "\n".join(lines)


class Coded(str):
    """A sentence that also carries a code and the values in it, so that a page can word it in its own language."""

    code: str
    values: dict[str, Any]

    def __new__(cls, text: str, code: str = "", **values: Any) -> Coded:
        """Make the sentence `text` with its code and its values."""
        made = super().__new__(cls, text)
        made.code, made.values = code, values
        return made


class AxiswatchError(Exception):
    """Something was refused or failed. The message says what was wrong, where, and what to do.

    `sentences` says the same one by one; those that are `Coded` can be worded in another language.
    """

    exit_code = 1

    def __init__(self, text: str = "", sentences: Sequence[str] = ()) -> None:
        super().__init__(readable(text))
        self.sentences: tuple[str, ...] = tuple(sentences) or (text,)


def problem_text(problem: Mapping[str, Any]) -> str:
    """Return the text of a problem that pydantic found; of one that a check of ours raised, only what that check said.

    Parameters
    ----------
    problem
        One of `ValidationError.errors()`.
    """
    ours = problem["type"] in ("value_error", "assertion_error")
    return str(problem["ctx"]["error"] if ours else problem["msg"])


class PrerequisiteMissing(AxiswatchError):
    """Something that a command needs is not there: no champion, no labels, no such case."""

    exit_code = 3


class SettingsError(AxiswatchError):
    """A setting is unknown, or its value is not allowed."""

    exit_code = 2
