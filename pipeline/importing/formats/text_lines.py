"""The lines of a text file: those before the table, and parts of the table that need no care, read at once."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
from numpy.typing import NDArray

from pipeline.importing.formats import interface
from pipeline.importing.mapping import CsvText
from pipeline.importing.problems import Complaint, SignalUnreadable

LINE_CHARACTERS: Final = 1 << 22
"""A longer line is no line of a table, and is not read whole."""

PREAMBLE_LINES: Final = 1000
"""Lines before the samples that are kept at most."""

CELL_CHARACTERS: Final = 16
"""A part of a file that is read at once has so many characters for each cell of a block."""


@dataclass(frozen=True)
class TextPart:
    """Some lines of a table: the numbers and cells (by place) of the good ones, and those with another cell count."""

    numbers: NDArray[np.int64]
    cells: dict[int, pa.Array]
    ragged: Sequence[tuple[int, int]]


class TextLines:
    """The lines of a file without the skipped ones; `number` is that of the last line returned."""

    def __init__(self, opened: io.TextIOWrapper, text: CsvText, file: str) -> None:
        self._opened, self._text, self._file = opened, text, file
        self.number = self.dropped = 0
        self.preamble: list[str] = []
        self.rest: io.StringIO | None = None

    def __iter__(self) -> TextLines:
        return self

    def __next__(self) -> str:
        while True:
            line = self._line()
            if not line:
                raise StopIteration
            self.number += 1
            if self._text.drop_cut_off_end and not line.endswith(("\n", "\r")):
                self.dropped = self.number
                raise StopIteration
            commented = self._text.comment is not None and line.startswith(self._text.comment)
            if self.number > self._text.skip_lines and not commented:
                return line
            if len(self.preamble) < PREAMBLE_LINES:
                self.preamble.append(line)

    def _line(self) -> str:
        line = self.rest.readline() if self.rest is not None else ""
        line = line or self._opened.readline(LINE_CHARACTERS)
        if len(line) == LINE_CHARACTERS:
            what = f"a line has more than {LINE_CHARACTERS} characters; is it a text file?"
            raise SignalUnreadable(Complaint(what, (self.number + 1,)))
        return line

    def parts(self, width: int, places: Sequence[int]) -> Iterator[TextPart]:
        """Yield the table in parts as long as its text is plain: no quotes, comments, empty lines or lone returns.

        After the last one `rest` has the text that was read and is not plain; it has to be read with care.
        """
        while True:
            text = self._opened.read(CELL_CHARACTERS * interface.BLOCK_CELLS)
            if text and not text.endswith("\n"):
                text += self._line()
            if not text:
                return
            if not self._is_plain(text):
                self.rest = io.StringIO(text, newline="")
                return
            if self._text.drop_cut_off_end and not text.endswith("\n"):
                text = text[: text.rfind("\n") + 1]
                self.dropped = self.number + text.count("\n") + 1
                if not text:
                    return
            first = self.number + 1
            self.number += text.count("\n") + (not text.endswith("\n"))
            yield _plain_part(text, first, width, places, self._text.delimiter)

    def _is_plain(self, text: str) -> bool:
        comment = self._text.comment
        if '"' in text or "\0" in text or text.count("\r") != text.count("\r\n"):
            return False
        if text.startswith(("\n", "\r")) or "\n\n" in text or "\n\r" in text:
            return False
        return comment is None or not (text.startswith(comment) or f"\n{comment}" in text)


def _plain_part(text: str, first: int, width: int, places: Sequence[int], delimiter: str) -> TextPart:
    ragged: list[tuple[int, int]] = []

    def note(row: Any) -> str:
        ragged.append((first + row.number - 1, row.actual_columns))
        return "skip"

    raw = text.encode()
    table = arrow_csv.read_csv(
        pa.py_buffer(raw),
        read_options=arrow_csv.ReadOptions(
            column_names=[str(place) for place in range(width)], use_threads=False, block_size=len(raw) + 1
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=delimiter, quote_char=False, ignore_empty_lines=False, invalid_row_handler=note
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(map(str, range(width)), pa.string()),
            include_columns=[str(place) for place in places],
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    n_lines = text.count("\n") + (not text.endswith("\n"))
    numbers = np.setdiff1d(np.arange(first, first + n_lines), [number for number, _ in ragged])
    cells = {place: table.column(str(place)).combine_chunks() for place in places}
    return TextPart(numbers, {place: _one(cell) for place, cell in cells.items()}, ragged)


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
