"""TOML within bounds: whatever the parser of the standard library does with a text, one kind of error comes of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pipeline.base.toml_text import DEEPEST, MOST_BYTES, parse_toml, read_toml_text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 5_000 + "]" * 5_000, "nested too deeply"),
        ("a = " + "{a=" * 5_000 + "1" + "}" * 5_000, "nested too deeply"),
        ("a = 1" + "0" * 5_000, "too many digits"),
        ("[" + ".".join(["a"] * 20_000) + "]", r"more than 64 parts \(at line 1\)"),
        ("x = 1\n" + ' . "b"' * 20_000 + " = 1", "parts|Invalid"),
        ("x = 1\n'a'" + " . 'a'" * 20_000 + " = 1", r"at line 2"),
        ("x = 1\nx = 2", "Cannot overwrite"),
    ],
)
def test_what_the_parser_cannot_do_is_told_as_no_toml(text: str, said: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match=said):
        parse_toml(text)


def test_what_people_write_is_read(tmp_path: Path) -> None:
    deep = ".".join(["a"] * DEEPEST)
    text = f"\ufeff# see 1.2.3.4 ...\n{deep} = 1\nfloats = [{', '.join(['0.1'] * 500)}]\ntext = '{'a.b ' * 40}'\n"
    path = tmp_path / "a.toml"
    path.write_text(text, "utf-8")
    assert parse_toml(read_toml_text(path)) == tomllib.loads(text.lstrip("\ufeff"))


def test_a_long_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    with path.open("wb") as file:
        file.truncate(50 * MOST_BYTES)
    with pytest.raises(tomllib.TOMLDecodeError, match="longer than 8 MiB"):
        read_toml_text(path)
