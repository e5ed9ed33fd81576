"""Text in a CSV that a spreadsheet would run as a formula (OWASP, "CSV injection"), and back."""

from __future__ import annotations

from typing import Final

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def guarded(text: str) -> str:
    """Return text that no spreadsheet runs: with an apostrophe before what begins like a formula.

    >>> guarded("=1+1"), guarded("noise")
    ("'=1+1", 'noise')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def unguarded(text: str) -> str:
    """Return the text that `guarded` was given.

    >>> unguarded("'=1+1"), unguarded("'quoted'")
    ('=1+1', "'quoted'")
    """
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text
