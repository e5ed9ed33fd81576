"""Damage of TOML, CSV and JSON: odd values in their places, lines moved, depth, and damaged bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from benchmarks.fuzz.bytes_damage import Rng, damage_bytes

TEXTS: Final = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\u202eabc",
        "Ａ１",
        "ﬁ",
        "а",
        "e\u0301",
        "\u200b",
        "😀",
        "\x1b[31m",
        "a\nb",
        "a\rb",
        "\t",
    ),
    *("=cmd|' /C calc'!A0", "../../etc/passwd", "%s%n", "{0}", "{site.__class__}", "'; DROP TABLE axes --", "<script>"),
    *(
        "NaN",
        "inf",
        "-inf",
        "-0",
        "1e999",
        "1e-999",
        "9" * 5000,
        "0x10",
        "1_000",
        "١٢٣",
        "²",
        "½",
        "true",
        "null",
        "1,5",
    ),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z"),
    *(
        "2026-W01-1",
        "20260101T000000Z",
        "2026-01-01T24:00:00Z",
        "2026-06-30T23:59:60Z",
        "2026-01-01",
        "2026-01-01T00:00",
    ),
    *("1969-12-31T23:59:59Z", "2026-03-29T02:30:00", "2026-01-01T00:00:00+25:00", "2026-01-01T00:00:00.1234567Z"),
    *("a" * 201, "b" * 9_001, "é" * 70_000, "x" * 1_000_000, "/", ".", "..", "*", "[", "(" * 500, "(a+)+$", "**/**/**"),
)
"""Texts that programs stumble over."""
NUMBERS: Final = (
    *("0", "-1", "1", "2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809"),
    *("1" + "0" * 400, "1" + "0" * 5000, "nan", "inf", "-inf", "1e308", "-1e308", "5e-324", "1e999", "0.0", "-0.0"),
)
"""Numbers at the edges, as they are written."""
LITERALS: Final = (
    *("true", "false", "[]", "{}", "[[]]", "[1, 'a', []]", "1979-05-27", "07:32:00", "1979-05-27T07:32:00"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z", "0xFFFFFFFFFFFFFFFFFF"),
    *(
        "{ a = 1 }",
        "{ value = 1 }",
        "{ column = '' }",
        '"\\ud800"',
        "'''",
        '"',
        "[",
        "}",
        "#",
        "{ column = 'x', value = 1 }",
    ),
)
"""Other values of TOML, some of them wrong."""
Damage = Callable[[Rng, str], str]
LONGEST: Final = 40_000_000
"""Letters of a damaged text: more would be about the memory of the damage, not of who reads it."""


def text_of(rng: Rng) -> str:
    """Return one of `TEXTS`, the long ones rarely."""
    while True:
        text = TEXTS[int(rng.integers(len(TEXTS)))]
        if len(text) < 5000 or rng.random() < 0.2:
            return text


def damaged_toml(rng: Rng, whole: Sequence[str]) -> tuple[str, bytes]:
    """Return the name of a damage and a damaged TOML file."""
    text = whole[int(rng.integers(len(whole)))]
    if rng.random() < 0.25:
        return damage_bytes(rng, text.encode(), [one.encode() for one in whole])
    name = str(rng.choice(list(TOML)))
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        text = TOML[name](rng, text)
        text = text[:LONGEST]
    return name, text.encode("utf-8", "surrogatepass")


def _value(rng: Rng, text: str) -> str:
    """Replace a value by an odd one."""
    found = list(re.finditer(r"(?<== )(?:\"[^\"\n]*\"|'[^'\n]*'|[\w.+:-]+)(?=[ \n,}])", text))
    if not found:
        return text
    at = found[int(rng.integers(len(found)))]
    draw = rng.random()
    new = NUMBERS[int(rng.integers(len(NUMBERS)))]
    if draw < 0.4:
        new = json.dumps(text_of(rng), ensure_ascii=False).replace("\\u0000", "\\u0000")
    elif draw < 0.6:
        new = LITERALS[int(rng.integers(len(LITERALS)))]
    return text[: at.start()] + new + text[at.end() :]


def _key(rng: Rng, text: str) -> str:
    """Change a key: another, a look-alike, one twice."""
    found = list(re.finditer(r"[A-Za-z_]+(?= =|\])", text))
    if not found:
        return text
    at = found[int(rng.integers(len(found)))]
    key, other = at.group(), found[int(rng.integers(len(found)))].group()
    new = (other, key + "_", key.upper(), key.replace("a", "а"), f'"{key} "', '""', "a.b.c", f"{key}.{other}")
    return text[: at.start()] + new[int(rng.integers(len(new)))] + text[at.end() :]


def _lines(rng: Rng, text: str) -> str:
    """Drop, double, move or swap lines."""
    lines = text.splitlines(keepends=True)
    if not lines:
        return text
    at, to, how = int(rng.integers(len(lines))), int(rng.integers(len(lines))), int(rng.integers(4))
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(to, lines[at])
    elif how == 2:
        lines.insert(to, lines.pop(at))
    else:
        lines[at], lines[to] = lines[to], lines[at]
    return "".join(lines)


def _deep(rng: Rng, text: str) -> str:
    """Add something nested deeply, at the beginning, the end, or as a value."""
    n = int(rng.choice([50, 500, 3000, 20_000]))
    deep = (
        "deep = " + "[" * n + "]" * n,
        "deep = " + "{a=" * n + "1" + "}" * n,
        ".".join(["a"] * n) + " = 1",
        "[" + ".".join(["a"] * n) + "]",
        "deep = " + "[" * n,
        "deep = [" + "1," * n + "]",
    )[int(rng.integers(6))]
    return f"{deep}\n{text}" if rng.random() < 0.5 else f"{text}\n{deep}\n"


def _block(rng: Rng, text: str) -> str:
    """Repeat a table many times, or with another name."""
    blocks = re.split(r"(?m)^(?=\[)", text)
    block = blocks[int(rng.integers(len(blocks)))]
    copies = min(int(rng.choice([1, 1, 3, 300])), 1 + LONGEST // (len(block) + 1))
    return "".join(blocks) + "\n" + (block + "\n") * copies


TOML: Final[dict[str, Damage]] = {
    "odd value": _value,
    "odd values": lambda rng, text: _value(rng, _value(rng, text)),
    "odd key": _key,
    "lines moved": _lines,
    "nested deeply": _deep,
    "tables repeated": _block,
}


def damaged_csv(rng: Rng, whole: Sequence[bytes], delimiter: str = ",") -> tuple[str, bytes]:
    """Return the name of a damage and a damaged CSV file."""
    data = whole[int(rng.integers(len(whole)))]
    if rng.random() < 0.4:
        return damage_bytes(rng, data, whole)
    text = data.decode("utf-8", "surrogateescape")
    name = str(rng.choice(list(CSV)))
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        text = CSV[name](rng, text, delimiter)[:LONGEST]
    encoding = str(rng.choice(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "cp1252"]))
    return name, text.encode(encoding, "surrogateescape" if encoding.startswith("utf-8") else "replace")


def _cell(rng: Rng, text: str, delimiter: str) -> str:
    lines = text.split("\n")
    at = 0 if rng.random() < 0.15 else int(rng.integers(len(lines)))
    cells = lines[at].split(delimiter)
    new = text_of(rng) if rng.random() < 0.7 else NUMBERS[int(rng.integers(len(NUMBERS)))]
    quoted = f'"{new}"' if rng.random() < 0.5 else new
    cells[int(rng.integers(len(cells)))] = quoted
    lines[at] = delimiter.join(cells)
    return "\n".join(lines)


def _columns(rng: Rng, text: str, delimiter: str) -> str:
    lines = [line.split(delimiter) for line in text.split("\n")]
    at = int(rng.integers(max(1, len(lines[0]))))
    how = int(rng.integers(3))
    for cells in lines:
        if len(cells) > at:
            if how == 0:
                del cells[at]
            elif how == 1:
                cells.append(cells[at])
            else:
                cells[0], cells[at] = cells[at], cells[0]
    return "\n".join(delimiter.join(cells) for cells in lines)


def _quotes(rng: Rng, text: str, delimiter: str) -> str:
    at = int(rng.integers(len(text) + 1))
    odd = ('"', '""', "'", delimiter, delimiter * 200, "\r", "\r\n", "\n\n", "\0", "\ufeff", '"a\nb"', "\x1a", "#")
    return text[:at] + odd[int(rng.integers(len(odd)))] + text[at:]


CSV: Final[dict[str, Callable[[Rng, str, str], str]]] = {
    "odd cell": _cell,
    "columns moved": _columns,
    "quotes and ends of lines": _quotes,
    "lines moved": lambda rng, text, _: _lines(rng, text),
    "many lines": lambda rng, text, _: text + (text.split("\n")[-2] + "\n" if text.count("\n") > 1 else "") * 2000,
}


def odd_json(rng: Rng, value: Any) -> Any:
    """Return a JSON value with one place changed to something odd."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = list(value)[int(rng.integers(len(value)))]
        how = rng.random()
        if how < 0.1:
            return {name: one for name, one in value.items() if name != key}
        if how < 0.2:
            return value | {text_of(rng)[:5000]: odd_value(rng)}
        return value | {key: odd_json(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = int(rng.integers(len(value)))
        if rng.random() < 0.2:
            return value * int(rng.choice([0, 2, 50]))
        return [*value[:at], odd_json(rng, value[at]), *value[at + 1 :]]
    return odd_value(rng)


def odd_value(rng: Rng) -> Any:
    """Return an odd JSON value."""
    values = (
        *(None, True, False, 0, -1, 1, 1.5, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400),
        *(
            float("nan"),
            float("inf"),
            -float("inf"),
            1e308,
            5e-324,
            -0.0,
            [],
            {},
            [[]],
            [None],
            {"": ""},
            {"a": {"b": []}},
        ),
        *("\ud800", "a\udfffb"),
    )
    if rng.random() < 0.5:
        return text_of(rng)
    return values[int(rng.integers(len(values)))]


def damaged_json(rng: Rng, value: Any) -> tuple[str, bytes]:
    """Return the name of a damage and a damaged JSON document."""
    draw = rng.random()
    if draw < 0.6:
        for _ in range(int(rng.choice([1, 1, 2, 3]))):
            value = odd_json(rng, value)
        return "odd value", json.dumps(value, ensure_ascii=bool(rng.integers(2))).encode("utf-8", "surrogatepass")
    text = json.dumps(value)
    if draw < 0.8:
        return damage_bytes(rng, text.encode())
    n = int(rng.choice([50, 900, 20_000, 100_000]))
    odd = (
        "[" * n + "]" * n,
        '{"a":' * n + "1" + "}" * n,
        "1" * n,
        text[:-1] + "," + text[1:],
        text.replace(":", ": 1" + "0" * 5000 + ", ", 1),
        '"' + "x" * n,
        "\ufeff" + text,
        text + text,
        text.replace('"', '"\\u0000', 2),
        "",
    )
    return "odd document", odd[int(rng.integers(len(odd)))].encode()
