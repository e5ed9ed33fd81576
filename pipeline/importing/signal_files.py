"""Open a signal file and read its columns: the same interface for Parquet, text (CSV) and MATLAB v5 files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.importing.csv_signals import CsvSignals
from pipeline.importing.mapping import Signal
from pipeline.importing.mat_format import MatSignals
from pipeline.importing.problems import SignalUnreadable


class SignalFile(Protocol):
    """An opened signal file."""

    def column(self, key: str, name: str, *, numeric: bool) -> pa.ChunkedArray:
        """Return a column, as numbers or unchanged; SignalUnreadable (names the key `key`) where it cannot be."""
        ...

    def row_numbers(self) -> range | tuple[int, ...]:
        """Return the line or row number of each sample in the file; empty where samples are counted from 1."""
        ...

    def scalar(self, name: str) -> float:
        """Return the number in a variable; SignalUnreadable where there is no such number."""
        ...


class ParquetSignals:
    """A Parquet file; a column is read only when it is needed."""

    def __init__(self, path: Path, file: str) -> None:
        self._path, self._file = path, file
        try:
            with pq.ParquetFile(path) as opened:
                self.schema: pa.Schema = opened.schema_arrow
                self.n_rows: int = opened.metadata.num_rows
        except (OSError, pa.ArrowException) as error:
            first_line = str(error).splitlines()[0]
            raise SignalUnreadable(f"signal.file: {file!r} is not a readable Parquet file ({first_line})") from error

    def complaints(self, key: str, name: str, *, numeric: bool) -> list[str]:
        """Check a column by the schema alone; return what is wrong with it."""
        times = self.schema.names.count(name)
        if times != 1:
            there = ", ".join(self.schema.names)
            return [f"{key}: {self._file!r} has {times or 'no'} column{'s' * (times > 1)} {name!r}; it has: {there}"]
        kind = self.schema.field(name).type
        if numeric and not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return [f"{key}: column {name!r} of {self._file!r} is {kind}, not a number"]
        if pa.types.is_nested(kind):
            return [f"{key}: column {name!r} of {self._file!r} is {kind}, not a plain value"]
        return []

    def column(self, key: str, name: str, *, numeric: bool) -> pa.ChunkedArray:
        """Return a column, as numbers or unchanged; SignalUnreadable (names the key `key`) where it cannot be."""
        complaints = self.complaints(key, name, numeric=numeric)
        if complaints:
            raise SignalUnreadable(*complaints)
        try:
            with pq.ParquetFile(self._path) as file:
                return file.read(columns=[name]).column(name)
        except (OSError, pa.ArrowException) as error:
            raise SignalUnreadable(f"signal.file: {self._file!r} is damaged ({str(error).splitlines()[0]})") from error

    def row_numbers(self) -> range:
        """Return the line or row number of each sample in the file; empty where samples are counted from 1."""
        return range(1, self.n_rows + 1)

    def scalar(self, name: str) -> float:
        """Return the number in a variable; SignalUnreadable where there is no such number."""
        raise SignalUnreadable(f"variable {name!r}: a Parquet file has no variables")


FORMATS: Final[dict[str, Callable[[Path, str, Signal], SignalFile]]] = {
    "parquet": lambda path, file, _: ParquetSignals(path, file),
    "csv": lambda path, file, signal: CsvSignals(path, file, signal.csv),
    "mat": lambda path, file, _: MatSignals(path, file),
}
"""Function that opens a file, for each format that a mapping may name."""


def open_signal(path: Path, file: str, signal: Signal) -> SignalFile:
    """Open a signal file in the format that the mapping declares.

    Parameters
    ----------
    path : Path
    file : str
        Its name in the manifest, for messages.
    signal : Signal

    Raises
    ------
    SignalUnreadable
        The file does not exist, or does not have the declared format.
    """
    if not path.is_file():
        raise SignalUnreadable(f"signal.file: {file!r} does not exist; correct the manifest or the root folder")
    return FORMATS[signal.format](path, file, signal)
