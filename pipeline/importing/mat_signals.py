"""MATLAB v5 files: numeric vectors by the pattern of their names. Nothing in a file is ever executed.

Read with scipy.io, which parses the format (MATLAB, MAT-File Format, level 5) and runs no code; objects, functions,
structs and cells are not read at all. MATLAB v7.3 files are HDF5 and are refused.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError

from pipeline.importing.problems import SignalUnreadable

NUMERIC: Final = ("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
MAX_ELEMENTS: Final = 2**28
"""A variable of more elements (2 GB as double) is refused: a damaged or hostile header may claim any size."""

BROKEN: Final = (
    ValueError, TypeError, KeyError, IndexError, EOFError, OSError, OverflowError, MemoryError, NotImplementedError,
    AttributeError, MatReadError, zlib.error, struct.error,
)  # fmt: skip
"""What scipy raises on damaged files."""


class MatSignals:
    """A MATLAB v5 file: variables are read when they are asked for."""

    def __init__(self, path: Path, file: str) -> None:
        self._path, self._file = path, file
        try:
            with path.open("rb") as opened:
                head = opened.read(128)
        except OSError as error:
            raise SignalUnreadable(f"signal.file: {file!r} cannot be read ({error.strerror or error})") from error
        if head.startswith((b"\x89HDF", b"MATLAB 7.3")):
            raise SignalUnreadable(
                f"signal.file: {file!r} is a MATLAB v7.3 file (HDF5), which is not read; save it with save(..., '-v7')"
            )
        if len(head) < 128 or head[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
            raise SignalUnreadable(f"signal.file: {file!r} is not a MATLAB v5 file; save it with save(..., '-v7')")
        found = self._scipy(whosmat)
        self._variables = {name: (tuple(shape), kind) for name, shape, kind in found}

    def _scipy(self, read: Callable[..., Any], **options: Any) -> Any:
        try:
            return read(str(self._path), appendmat=False, **options)
        except BROKEN as error:
            told = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SignalUnreadable(f"signal.file: {self._file!r} is a damaged MATLAB file ({told})") from error

    def _variable(self, key: str, pattern: str) -> np.ndarray[Any, np.dtype[Any]]:
        names = [name for name in self._variables if fnmatchcase(name, pattern)]
        if len(names) != 1:
            there = ", ".join(self._variables) or "nothing"
            matches = f"{len(names)} variables match" if names else "no variable matches"
            raise SignalUnreadable(
                f"{key}: {matches} {pattern!r} in {self._file!r}, exactly one has to; it has: {there}"
            )
        (name,) = names
        shape, kind = self._variables[name]
        if kind not in NUMERIC:
            raise SignalUnreadable(f"{key}: variable {name!r} of {self._file!r} is {kind}, not a vector of numbers")
        if int(np.prod(shape, dtype=object)) > MAX_ELEMENTS:
            raise SignalUnreadable(f"{key}: variable {name!r} of {self._file!r} claims {shape}: too large, or damaged")
        loaded = self._scipy(loadmat, variable_names=[name]).get(name)
        if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in "iuf":
            found = "complex" if isinstance(loaded, np.ndarray) and loaded.dtype.kind == "c" else "not plain numbers"
            raise SignalUnreadable(f"{key}: variable {name!r} of {self._file!r} is {found}; save the real signal")
        return loaded

    def column(self, key: str, name: str, *, numeric: bool) -> pa.ChunkedArray:
        """Give a column as numbers or as it stands; SignalUnreadable names the mapping key `key`."""
        loaded = self._variable(key, name)
        if loaded.ndim != 2 or 1 not in loaded.shape:
            if loaded.size:
                shape = " x ".join(map(str, loaded.shape))
                told = f"{key}: variable {name!r} of {self._file!r} is a matrix of {shape}, not a vector"
                raise SignalUnreadable(f"{told}; save each channel as a variable of its own")
            loaded = loaded.reshape(-1, 1)
        return pa.chunked_array([pa.array(np.ascontiguousarray(loaded.ravel()).astype(loaded.dtype.newbyteorder("=")))])

    def row_numbers(self) -> tuple[int, ...]:
        """Give the number by which a user finds each sample in the file; empty where samples are just counted."""
        return ()

    def scalar(self, name: str) -> float:
        """Give the number in a variable; SignalUnreadable where there is none."""
        loaded = self._variable("variable", name)
        if loaded.size != 1 or not np.isfinite(loaded).all():
            shape = " x ".join(map(str, loaded.shape))
            raise SignalUnreadable(
                f"variable {name!r} of {self._file!r} is not one finite number (it is {shape}); declare a value"
            )
        return float(loaded.ravel()[0])
