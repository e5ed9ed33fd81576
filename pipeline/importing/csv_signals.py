"""Text files (CSV): each cell is read as declared, and each bad line is named."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.importing.mapping import CsvText
from pipeline.importing.problems import Complaint, SignalUnreadable

CHUNK_LINES: Final = 50_000
NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
"""What counts as a number: digits, a point, an exponent; no words, no underscores, no thousands separators."""


class CsvSignals:
    """A text file. Its cells stay text until a column is read as numbers."""

    def __init__(self, path: Path, file: str, text: CsvText) -> None:
        self._file, self._text = file, text
        self._names: list[str] = []
        self._rows: tuple[int, ...] = ()
        self._columns: list[list[pa.Array]] = []
        try:
            encoding = "utf-8-sig" if text.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else text.encoding
            with path.open(encoding=encoding, newline="") as opened:
                complaints = self._read(opened)
        except OSError as error:
            raise SignalUnreadable(f"signal.file: {file!r} cannot be read ({error.strerror or error})") from error
        except UnicodeError as error:
            message = f"signal.file: {file!r} is not text in {text.encoding} ({error}); declare signal.csv.encoding"
            raise SignalUnreadable(message) from error
        if complaints:
            raise SignalUnreadable(*complaints)

    def _read(self, opened: Iterator[str]) -> list[Complaint]:
        lines = _Lines(opened, self._text)
        reader = csv.reader(lines, delimiter=self._text.delimiter, strict=True)
        ragged: dict[int, list[int]] = {}
        numbers: list[int] = []
        chunk: list[list[str]] = []
        try:
            first = next(reader, None)
            while first == []:
                first = next(reader, None)
            if first is None:
                return [Complaint(f"signal.file: {self._file!r} is empty; remove it, or narrow the selection")]
            self._names = [str(n) for n in range(1, len(first) + 1)]
            if self._text.header:
                self._names = [name.strip() for name in first]
                for _ in range(self._text.skip_after_header):
                    next(reader, None)
            else:
                numbers.append(lines.number)
                chunk.append(first)
            self._columns = [[] for _ in self._names]
            for cells in reader:
                if len(cells) == len(self._names):
                    numbers.append(lines.number)
                    chunk.append(cells)
                    if len(chunk) == CHUNK_LINES:
                        self._store(chunk)
                elif cells:
                    ragged.setdefault(len(cells), []).append(lines.number)
        except csv.Error as error:
            return [Complaint(f"cannot be read as CSV ({error}); correct the line", (lines.number,))]
        self._store(chunk)
        self._rows = tuple(numbers)
        if not numbers and not ragged:
            return [Complaint(f"signal.file: {self._file!r} has a header and no samples; remove it")]
        expected = f"where the {'header names' if self._text.header else 'first line has'} {len(self._names)}"
        return [
            Complaint(f"has {n} cells {expected}; correct the line, or signal.csv.delimiter", tuple(rows))
            for n, rows in ragged.items()
        ]

    def _store(self, chunk: list[list[str]]) -> None:
        if chunk:
            for column, cells in zip(self._columns, zip(*chunk, strict=True), strict=True):
                column.append(pa.array(cells, pa.string()))
            chunk.clear()

    def column(self, key: str, name: str, *, numeric: bool) -> pa.ChunkedArray:
        """Return a column, as numbers or unchanged; SignalUnreadable (names the key `key`) where it cannot be."""
        times = self._names.count(name)
        if times != 1:
            there = ", ".join(map(repr, self._names))
            hint = "; one column only: is signal.csv.delimiter right?" if len(self._names) == 1 else ""
            raise SignalUnreadable(
                f"{key}: {self._file!r} has {times or 'no'} column{'s' * (times > 1)} {name!r}; it has: {there}{hint}"
            )
        cells = pc.utf8_trim_whitespace(pa.chunked_array(self._columns[self._names.index(name)], pa.string()))
        missing = pc.is_in(cells, value_set=pa.array([text.strip() for text in self._text.missing_texts], pa.string()))
        cells = pc.if_else(missing, pa.scalar(None, pa.string()), cells)
        return self._numbers(name, cells) if numeric else cells

    def _numbers(self, name: str, cells: pa.ChunkedArray) -> pa.ChunkedArray:
        text, decimal = cells, self._text.decimal
        if decimal == ",":
            # Here a point is a thousands separator, so the cell is not a number.
            text = pc.replace_substring(pc.replace_substring(text, ".", "?"), ",", ".")
        good = pc.fill_null(pc.match_substring_regex(text, NUMBER), True)
        if not pc.all(good).as_py():
            self._refuse(name, cells, good, f"is not a number with {decimal!r} as the decimal mark")
        plain = pc.replace_substring_regex(text, r"^\+", "")
        if pc.all(pc.fill_null(pc.match_substring_regex(plain, r"^-?[0-9]{1,18}$"), True)).as_py():
            return plain.cast(pa.int64())
        values = plain.cast(pa.float64())
        finite = pc.fill_null(pc.is_finite(values), True)
        if not pc.all(finite).as_py():
            self._refuse(name, cells, finite, "is too large")
        return values

    def _refuse(self, name: str, cells: pa.ChunkedArray, good: pa.ChunkedArray, why: str) -> None:
        at = np.flatnonzero(~good.to_numpy(zero_copy_only=False))
        first = cells[int(at[0])].as_py()
        what = (
            f"column {name!r}: {first!r:.60} {why}; correct it, or declare it in signal.csv.missing_texts"
            if first
            else f"column {name!r} is empty; declare the empty cell in signal.csv.missing_texts if it means no reading"
        )
        raise SignalUnreadable(Complaint(what, tuple(self._rows[index] for index in at.tolist())))

    def row_numbers(self) -> tuple[int, ...]:
        """Return the line or row number of each sample in the file; empty where samples are counted from 1."""
        return self._rows

    def scalar(self, name: str) -> float:
        """Return the number in a variable; SignalUnreadable where there is no such number."""
        raise SignalUnreadable(f"variable {name!r}: a text file has no variables")


class _Lines:
    """The lines of a file without the skipped ones; `number` is that of the last line returned."""

    def __init__(self, opened: Iterator[str], text: CsvText) -> None:
        self._opened, self._text = opened, text
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        while True:
            line = next(self._opened)
            self.number += 1
            commented = self._text.comment is not None and line.startswith(self._text.comment)
            if self.number > self._text.skip_lines and not commented:
                return line
