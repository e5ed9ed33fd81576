"""Parse TOML that people wrote, within bounds: the standard library's parser may take minutes and GB, or fail oddly."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

MOST_BYTES: Final = 8 * 1024 * 1024
DEEPEST: Final = 64
"""Parts of a dotted key; the parser's time and memory grow with their square."""
_DEEP_KEY: Final = re.compile(rf"""(?<![\w"'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{DEEPEST}}}""")


def read_toml_text(path: Path) -> str:
    """Return the text of a TOML file.

    Raises
    ------
    OSError, UnicodeDecodeError, TOMLDecodeError
        It cannot be read, is not in UTF-8, or is longer than 8 MiB.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise tomllib.TOMLDecodeError(f"it is longer than {MOST_BYTES // 2**20} MiB; split it")
    return content.decode("utf-8-sig")


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of a TOML document.

    Raises
    ------
    TOMLDecodeError
        It is no TOML, or nested more deeply than anybody writes.

    Examples
    --------
    >>> parse_toml("a.b = 1")
    {'a': {'b': 1}}
    """
    if deep := _DEEP_KEY.search(text):
        line = text.count("\n", 0, deep.start()) + 1
        raise tomllib.TOMLDecodeError(f"a key has more than {DEEPEST} parts (at line {line})")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise tomllib.TOMLDecodeError("arrays or tables are nested too deeply") from None
    except ValueError as error:
        raise tomllib.TOMLDecodeError("a number has too many digits") from error
