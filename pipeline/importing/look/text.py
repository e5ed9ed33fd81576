"""What a text file looks like: encoding, delimiter, decimal mark, header, comments, and texts that mean no reading."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import Final

from pipeline.importing.formats.packed import open_bytes
from pipeline.importing.mapping import CsvText

HEAD_BYTES: Final = 1 << 18
DELIMITERS: Final = (";", "\t", ",", "|", " ")
COMMENTS: Final = ("#", "%", "//", "*")
NO_READING: Final = ("", "-", "--", "NaN", "nan", "NAN", "null", "NULL", "None", "N/A", "n/a", "#N/A", "inf", "-inf")
NUMBER: Final = {
    ".": re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"),
    ",": re.compile(r"\s*[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?\s*"),
}


def head_of(path: Path) -> tuple[str, str]:
    """Return the beginning of a text file and its encoding; ValueError where it is no text."""
    with open_bytes(path, path.name) as file:
        raw = file.read(HEAD_BYTES)
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw[: len(raw) // 2 * 2].decode("utf-16", errors="replace"), "utf-16"
    if b"\0" in raw:
        raise ValueError("is no text")
    for cut in range(4):
        try:
            return raw[: len(raw) - cut].decode("utf-8-sig"), "utf-8"
        except UnicodeDecodeError as error:
            if len(raw) - error.start > 4:
                break
    return raw.decode("cp1252", errors="replace"), "cp1252"


def guess_text(path: Path) -> CsvText:
    """Return how a text file seems to be written, by its first 256 KiB; ValueError where it is no table of numbers."""
    text, encoding = head_of(path)
    lines = text.splitlines()
    if len(text) >= HEAD_BYTES // 2:
        lines = lines[:-1]
    comment = next((mark for mark in COMMENTS if sum(line.startswith(mark) for line in lines)), None)
    if comment is not None and all(line.startswith(comment) for line in lines):
        raise ValueError("has comments only")
    numbered = [
        (at, line) for at, line in enumerate(lines) if line.strip() and not (comment and line.startswith(comment))
    ]
    found = [
        (score, at, delimiter, decimal)
        for at, delimiter in enumerate(DELIMITERS)
        for decimal in (".", ",")
        if decimal != delimiter and (score := _score([line for _, line in numbered], delimiter, decimal))
    ]
    if not found:
        raise ValueError("is no table of numbers")
    _, _, delimiter, decimal = max(found, key=lambda one: (one[0], -one[1]))
    rows = [(at, next(csv.reader([line], delimiter=delimiter))) for at, line in numbered]
    width = Counter(len(cells) for _, cells in rows[len(rows) // 2 :]).most_common(1)[0][0]
    is_number = NUMBER[decimal].fullmatch
    table = [(at, cells) for at, cells in rows if len(cells) == width]
    later = [cells for _, cells in table[len(table) // 2 :]]
    numeric = [
        place for place in range(width) if sum(bool(is_number(cells[place])) for cells in later) > 0.5 * len(later)
    ]
    first = next(at for at, (_, cells) in enumerate(table) if any(is_number(cells[p]) for p in numeric) or not numeric)
    header_at = table[0][0] if first else None
    missing = {
        cells[place].strip() for _, cells in table[first:] for place in numeric if not is_number(cells[place])
    } & set(NO_READING)
    line_of_first = table[first][0]
    after = sum(header_at < at < line_of_first for at, _ in rows) if header_at is not None else 0
    return CsvText(
        delimiter=delimiter,
        decimal="," if decimal == "," else ".",
        encoding=encoding,
        header=header_at is not None,
        skip_lines=_skipped(header_at if header_at is not None else line_of_first, lines, comment),
        skip_after_header=after,
        comment=comment,
        missing_texts=sorted(missing),
    )


def _skipped(first: int, lines: list[str], comment: str | None) -> int:
    """Return the lines before the table; 0 where all of them are comments or empty, which are passed over anyway."""
    before = lines[:first]
    return first if any(line.strip() and not (comment and line.startswith(comment)) for line in before) else 0


def _score(lines: list[str], delimiter: str, decimal: str) -> float:
    """Return how well lines are a table: the share of cells that are numbers, where most lines are equally wide."""
    part = lines[len(lines) // 2 :][:200]
    rows = [cells for cells in csv.reader(part, delimiter=delimiter) if cells]
    if not rows:
        return 0.0
    (width, number), *_ = Counter(map(len, rows)).most_common(1)
    cells = [cell for row in rows if len(row) == width for cell in row]
    share = sum(bool(NUMBER[decimal].fullmatch(cell)) for cell in cells) / len(cells)
    return share * number / len(rows) * (1.0 if width > 1 else 0.5) * (1.0 if decimal == "." else 0.999)
