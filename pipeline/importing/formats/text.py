"""Text files (CSV): each cell is read as declared, and each bad line is named."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.importing.formats.interface import Block, ReadColumn, block_rows
from pipeline.importing.formats.packed import open_bytes
from pipeline.importing.formats.text_lines import TextLines, TextPart
from pipeline.importing.mapping import CsvText
from pipeline.importing.problems import Complaint, SignalUnreadable

NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
"""What counts as a number: digits, a point, an exponent; no words, no underscores, no thousands separators."""

MARKS: Final = ("=", ":", ";", "\t")
"""What stands between the name and the value in a line before the samples."""

MANY_LINES: Final = 100_000
"""With so many bad lines the rest of the file is not read."""


class TextSignals:
    """A text file, plain or packed (gzip, zip). It is read once for all columns, block by block."""

    def __init__(self, path: Path, file: str, text: CsvText) -> None:
        """Read the header; SignalUnreadable where there is none."""
        self._path, self._file, self._text = path, file, text
        self.dropped: Sequence[int] = ()
        self.names: Sequence[str] = ()
        self._preamble: Sequence[str] = ()
        for _ in self._parts([]):
            break

    def rows_of(self, column: str) -> str:
        """Return the same for every column: they have the rows of the table."""
        return ""

    def n_rows(self, columns: Sequence[ReadColumn]) -> int | None:
        """Return None: only reading tells how many lines there are, and whether they are numbers."""
        return None

    def blocks(self, columns: Sequence[ReadColumn]) -> Iterator[Block]:
        """Yield the samples of some columns in their order; at the end SignalUnreadable with everything wrong."""
        places = self._places(columns)
        wrong: dict[str, list[int]] = {}
        n_good = last_good = 0
        expected = f"where the {'header names' if self._text.header else 'first line has'} {len(self.names)}"
        for part in self._parts(sorted(set(places.values()))):
            for number, n_cells in part.ragged:
                what = f"has {n_cells} cells {expected}; correct the line, or signal.csv.delimiter"
                wrong.setdefault(what, []).append(number)
            if len(part.numbers):
                n_good, last_good = n_good + len(part.numbers), int(part.numbers[-1])
                block = {
                    (column.name, column.numeric): self._column(
                        part.cells[places[column.name]], column, part.numbers, wrong
                    )
                    for column in dict.fromkeys(columns)
                }
                yield Block(part.numbers, block)
            if sum(map(len, wrong.values())) > MANY_LINES:
                break
        if self._text.drop_cut_off_end and n_good:
            ends = {what: [line for line in lines if line > last_good] for what, lines in wrong.items()}
            self.dropped = sorted([line for lines in ends.values() for line in lines] + list(self.dropped))
            wrong = {what: rest for what, lines in wrong.items() if (rest := lines[: len(lines) - len(ends[what])])}
        if wrong:
            raise SignalUnreadable(*(Complaint(what, tuple(lines)) for what, lines in wrong.items()))
        if not n_good:
            raise SignalUnreadable(f"signal.file: {self._file!r} has a header and no samples; remove it")

    def _places(self, columns: Sequence[ReadColumn]) -> dict[str, int]:
        complaints = []
        for key, name, _ in dict.fromkeys(columns):
            times = list(self.names).count(name)
            if times != 1:
                there = ", ".join(map(repr, self.names))
                hint = "; one column only: is signal.csv.delimiter right?" if len(self.names) == 1 else ""
                what = f"has {times or 'no'} column{'s' * (times > 1)} {name!r}; it has: {there}{hint}"
                complaints.append(f"{key}: {self._file!r} {what}")
        if complaints:
            raise SignalUnreadable(*complaints)
        return {column.name: self.names.index(column.name) for column in columns}

    def _parts(self, places: Sequence[int]) -> Iterator[TextPart]:
        """Yield the table in parts, with the cells at some places; the names are known before the first."""
        text = self._text
        encoding = "utf-8-sig" if text.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else text.encoding
        try:
            with (
                open_bytes(self._path, self._file) as raw,
                io.TextIOWrapper(raw, encoding=encoding, newline="") as opened,
            ):
                lines = TextLines(opened, text, self._file)
                self._preamble = lines.preamble
                yield from self._parsed(lines, places)
                if lines.dropped:
                    self.dropped = [lines.dropped]
        except OSError as error:
            raise SignalUnreadable(f"signal.file: {self._file!r} cannot be read ({error.strerror or error})") from error
        except UnicodeError as error:
            message = f"signal.file: {self._file!r} is not text in {text.encoding} ({error})"
            raise SignalUnreadable(f"{message}; declare signal.csv.encoding") from error

    def _parsed(self, lines: TextLines, places: Sequence[int]) -> Iterator[TextPart]:
        reader = csv.reader(lines, delimiter=self._text.delimiter, strict=True)
        try:
            first = next((cells for cells in reader if cells), None)
            if first is None:
                raise SignalUnreadable(f"signal.file: {self._file!r} is empty; remove it, or narrow the selection")
            if self._text.header:
                self.names = [name.strip() for name in first]
                for _ in range(self._text.skip_after_header):
                    next(reader, None)
            else:
                self.names = [str(n) for n in range(1, len(first) + 1)]
            yield _careful_part([] if self._text.header else [(lines.number, first)], len(self.names), places)
            yield from lines.parts(len(self.names), places)
            numbered = ((lines.number, cells) for cells in reader if cells)
            while rows := list(islice(numbered, block_rows(len(self.names)))):
                yield _careful_part(rows, len(self.names), places)
        except csv.Error as error:
            raise SignalUnreadable(
                Complaint(f"cannot be read as CSV ({error}); correct the line", (lines.number,))
            ) from error

    def _column(
        self, texts: pa.Array, column: ReadColumn, lines: NDArray[np.int64], wrong: dict[str, list[int]]
    ) -> pa.Array:
        cells = pc.utf8_trim_whitespace(texts)
        missing = pc.is_in(cells, value_set=pa.array([text.strip() for text in self._text.missing_texts], pa.string()))
        cells = pc.if_else(missing, pa.scalar(None, pa.string()), cells)
        if not column.numeric:
            return cells
        text, decimal = cells, self._text.decimal
        if decimal == ",":
            # Here a point is a thousands separator, so the cell is not a number.
            text = pc.replace_substring(pc.replace_substring(text, ".", "?"), ",", ".")
        good = pc.fill_null(pc.match_substring_regex(text, NUMBER), True)
        if not pc.all(good).as_py():
            at = np.flatnonzero(~good.to_numpy(zero_copy_only=False))
            self._add(column.name, cells, at, f"is not a number with {decimal!r} as the decimal mark", lines, wrong)
            text = pc.if_else(good, text, pa.scalar(None, pa.string()))
        plain = pc.replace_substring_regex(text, r"^\+", "")
        if pc.all(pc.fill_null(pc.match_substring_regex(plain, r"^-?[0-9]{1,18}$"), True)).as_py():
            return plain.cast(pa.int64())
        values = plain.cast(pa.float64())
        finite = pc.fill_null(pc.is_finite(values), True)
        if not pc.all(finite).as_py():
            at = np.flatnonzero(~finite.to_numpy(zero_copy_only=False))
            self._add(column.name, cells, at, "is too large", lines, wrong)
        return values

    @staticmethod
    def _add(
        name: str,
        cells: pa.Array,
        at: NDArray[np.intp],
        why: str,
        lines: NDArray[np.int64],
        wrong: dict[str, list[int]],
    ) -> None:
        """Add the cells at some places to what is wrong; the sentence of a column shows its first bad cell."""
        first = cells[int(at[0])].as_py()
        start = f"column {name!r}: " if first else f"column {name!r} is empty"
        what = next((known for known in wrong if known.startswith(start) and (not first or why in known)), None)
        if what is None and first:
            what = f"{start}{first!r:.60} {why}; correct it, or declare it in signal.csv.missing_texts"
        elif what is None:
            what = f"{start}; declare the empty cell in signal.csv.missing_texts if it means no reading"
        wrong.setdefault(what, []).extend(lines[at].tolist())

    def value(self, pattern: str) -> float | str:
        """Return what the one line before the samples says whose name matches a pattern: a number, or its text.

        Such lines are skipped or comments, with a name, a mark (the delimiter, `=`, `:`, `;` or a tabulator) and a
        value.
        """
        said = {}
        for line in self._preamble:
            text = line.strip().removeprefix(self._text.comment or "").strip()
            name, mark, rest = min((text.partition(mark) for mark in (self._text.delimiter, *MARKS)), key=_name_length)
            if mark:
                said[name.strip().strip('"')] = rest.partition(self._text.delimiter)[0].strip().strip('"')
        found = {name: value for name, value in said.items() if fnmatchcase(name, pattern)}
        if len(found) != 1:
            there = ", ".join(map(repr, said)) or "nothing"
            raise SignalUnreadable(
                f"variable {pattern!r}: {len(found) or 'no'} line{'s' * (len(found) > 1)} before the samples of "
                f"{self._file!r} has that name, exactly one has to; there is: {there}"
            )
        (value,) = found.values()
        number, space, unit = value.partition(" ")
        if self._text.decimal == ",":
            number = number.replace(".", "?").replace(",", ".")
        if not re.fullmatch(NUMBER, number):
            return value
        return f"{number}{space}{unit}" if unit else float(number)


def _careful_part(rows: list[tuple[int, list[str]]], width: int, places: Sequence[int]) -> TextPart:
    good = [(number, cells) for number, cells in rows if len(cells) == width]
    ragged = [(number, len(cells)) for number, cells in rows if len(cells) != width]
    numbers = np.array([number for number, _ in good], dtype=np.int64)
    cells_at = {place: pa.array([cells[place] for _, cells in good], pa.string()) for place in places}
    return TextPart(numbers, cells_at, ragged)


def _name_length(parts: tuple[str, str, str]) -> int:
    return len(parts[0])
