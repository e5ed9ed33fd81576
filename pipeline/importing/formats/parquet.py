"""Parquet files: one column per signal, read block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.importing.formats.interface import LIST_ROWS, Block, ReadColumn, block_rows
from pipeline.importing.problems import SignalUnreadable
from pipeline.intake.contract import printable
from pipeline.intake.footer import find_footer, read_footer, read_pages

STREAMED: Final = {"pre_buffer": False, "buffer_size": 1 << 20}
"""Reading goes on page by page; otherwise all row groups, or the whole of one, would be in memory."""

PAGE_BYTES: Final = 1 << 28
"""A page that says it is larger than this when it is unfolded is not read page by page."""

DAMAGE: Final = (OSError, pa.ArrowException, ValueError, LookupError, OverflowError)
"""What pyarrow raises for a damaged file, names that are no UTF-8 included."""


class ParquetSignals:
    """A Parquet file; only the columns that are asked for are read."""

    dropped: Sequence[int] = ()

    def __init__(self, path: Path, file: str, *, lists: bool = False) -> None:
        """Read the schema; `lists`: a column of lists of numbers counts as numbers."""
        self._path, self._file, self._lists = path, file, lists
        try:
            with path.open("rb") as opened:
                find_footer(opened)
            with pq.ParquetFile(path) as opened:
                self._schema: pa.Schema = opened.schema_arrow
                self._rows: int = opened.metadata.num_rows
        except DAMAGE as error:
            message = f"signal.file: {file!r} is not a readable Parquet file ({printable(str(error))})"
            raise SignalUnreadable(message) from error
        self.names: Sequence[str] = self._schema.names

    def rows_of(self, column: str) -> str:
        """Return the same for every column: they have the rows of the table."""
        return ""

    def n_rows(self, columns: Sequence[ReadColumn]) -> int:
        """Check columns and return their length, both by the schema alone."""
        complaints = [text for column in dict.fromkeys(columns) if (text := self._complaint(column))]
        if complaints:
            raise SignalUnreadable(*complaints)
        return self._rows

    def _complaint(self, column: ReadColumn) -> str | None:
        key, name, numeric = column
        times = self._schema.names.count(name)
        if times != 1:
            there = ", ".join(self._schema.names)
            return f"{key}: {self._file!r} has {times or 'no'} column{'s' * (times > 1)} {name!r}; it has: {there}"
        kind = self._schema.field(name).type
        if numeric and self._lists and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            kind = kind.value_type
        if numeric and not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return f"{key}: column {name!r} of {self._file!r} is {kind}, not a number"
        if pa.types.is_nested(kind):
            return f"{key}: column {name!r} of {self._file!r} is {kind}, not a plain value"
        return None

    def blocks(self, columns: Sequence[ReadColumn]) -> Iterator[Block]:
        """Yield the samples of some columns in their order."""
        self.n_rows(columns)
        names = list(dict.fromkeys(column.name for column in columns))
        done = 0
        try:
            options = STREAMED if self._has_true_pages(names) else {}
            with pq.ParquetFile(self._path, **options, page_checksum_verification=True) as file:
                for batch in file.iter_batches(LIST_ROWS if self._lists else block_rows(len(names)), columns=names):
                    read = {name: batch.column(batch.schema.get_field_index(name)) for name in names}
                    numbers = np.arange(done + 1, done + len(batch) + 1)
                    done += len(batch)
                    yield Block(numbers, {(name, numeric): read[name] for _, name, numeric in columns})
        except DAMAGE as error:
            raise SignalUnreadable(f"signal.file: {self._file!r} is damaged ({printable(str(error))})") from error
        if done != self._rows:
            counts = f"promises {self._rows} rows and has {done}"
            raise SignalUnreadable(f"signal.file: {self._file!r} {counts}; it is damaged, write it again")

    def _has_true_pages(self, names: Sequence[str]) -> bool:
        """Return whether the pages of some columns lie within them: page by page, the library believes any size."""
        try:
            with self._path.open("rb") as file:
                chunks = [chunk for group in read_footer(file) for chunk in group.chunks if chunk.path[0] in names]
                return all(page.unfolded_bytes <= PAGE_BYTES for chunk in chunks for page in read_pages(file, chunk))
        except ValueError:
            return False

    def value(self, pattern: str) -> float | str:
        """Refuse: a Parquet file says nothing about itself here."""
        raise SignalUnreadable(f"variable {pattern!r}: a Parquet file has no variables")
