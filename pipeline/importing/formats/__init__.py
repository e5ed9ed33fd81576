"""Formats of signal files. A format is one class that opens a file; `interface` says what an opened file can do.

To add one: write a file here with a class as `interface.SignalFile` describes it, that holds at most a block in memory
(`vectors.VectorSignals` is its base where a file has named vectors), and name it in `FORMATS`. What a library reads
is read in another process (`apart`). The mapping, the checks and the documents take the name from there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from pipeline.importing.formats.apart import APART, Apart
from pipeline.importing.formats.interface import SignalFile
from pipeline.importing.formats.mat import MatSignals
from pipeline.importing.formats.packed import HDF5, content_of, is_packed
from pipeline.importing.formats.parquet import ParquetSignals
from pipeline.importing.formats.rows import RowSignals
from pipeline.importing.formats.text import TextSignals
from pipeline.importing.formats.uff import UffSignals
from pipeline.importing.mapping import Signal
from pipeline.importing.problems import SignalUnreadable

FORMATS: Final[dict[str, Callable[[Path, str, Signal], SignalFile]]] = {
    "parquet": lambda path, file, signal: ParquetSignals(path, file, lists=signal.layout == "row"),
    "csv": lambda path, file, signal: TextSignals(path, file, signal.csv),
    "mat": lambda path, file, _: MatSignals(path, file) if _is_v5(path) else Apart(path, file, "mat73"),
    "uff": lambda path, file, _: UffSignals(path, file),
    **{
        name: lambda path, file, signal: Apart(path, file, signal.format, by_row=signal.layout == "row")
        for name in APART
        if name != "mat73"
    },
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
    PrerequisiteMissing
        The library that reads the format is not installed.
    """
    try:
        is_there = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise SignalUnreadable(f"signal.file: {file[:80]!r} cannot be looked at ({error.strerror})") from error
    if not is_there:
        raise SignalUnreadable(f"signal.file: {file!r} does not exist; correct the manifest or the root folder")
    other = _other(path, signal.format)
    if other is not None:
        raise SignalUnreadable(f"signal.file: {file!r} is {other}")
    opened = FORMATS[signal.format](path, file, signal)
    return RowSignals(opened, file) if signal.layout == "row" else opened


def _is_v5(path: Path) -> bool:
    with path.open("rb") as file:
        return not file.read(len(HDF5[0])).startswith(HDF5)


def _other(path: Path, declared: str) -> str | None:
    """Return what a file is and what to do, where its first bytes say that it has not the declared format."""
    content = content_of(path)
    if content != declared and content in FORMATS and content != "csv" and (declared, content) != ("mat", "hdf5"):
        return f'{content}, not {declared}; declare format = "{content}"'
    if declared == "csv" and content != "csv":
        return f"{content}, not text"
    if declared != "csv" and is_packed(path):
        return f"packed (gzip or zip), not {declared}; unpack it: only text is read packed"
    return None


__all__ = ["FORMATS", "open_signal"]
