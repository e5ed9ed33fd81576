"""MATLAB v5 files: numeric vectors by the pattern of their names. Nothing in a file is ever executed.

MATLAB v7.3 files are HDF5 and are refused, and so are structs, cells, objects, functions, sparse and complex variables.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.importing.mat_format import NUMERIC, MatDamaged, MatReader, Variable
from pipeline.importing.problems import SignalUnreadable


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
        try:
            self._reader = MatReader(path)
        except MatDamaged as error:
            raise SignalUnreadable(f"signal.file: {file!r} is a damaged MATLAB file ({error})") from error
        except ValueError as error:
            told = f"signal.file: {file!r} is not a MATLAB v5 file; save it with save(..., '-v7')"
            raise SignalUnreadable(told) from error

    def _variable(self, key: str, pattern: str) -> Variable:
        variables = self._reader.variables
        found = [one for one in variables if fnmatchcase(one.name, pattern)]
        if len(found) != 1:
            there = ", ".join(one.name for one in variables) or "nothing"
            matches = f"{len(found)} variables match" if found else "no variable matches"
            raise SignalUnreadable(
                f"{key}: {matches} {pattern!r} in {self._file!r}, exactly one has to; it has: {there}"
            )
        if found[0].kind not in NUMERIC:
            told = f"{key}: variable {found[0].name!r} of {self._file!r} is {found[0].kind}"
            raise SignalUnreadable(f"{told}, not a vector of real numbers; save the signal as one")
        return found[0]

    def _read(self, variable: Variable) -> NDArray[Any]:
        try:
            return self._reader.read(variable)
        except MatDamaged as error:
            raise SignalUnreadable(f"signal.file: {self._file!r} is a damaged MATLAB file ({error})") from error
        except OSError as error:
            raise SignalUnreadable(f"signal.file: {self._file!r} cannot be read ({error})") from error

    def column(self, key: str, name: str, *, numeric: bool) -> pa.ChunkedArray:
        """Give a column as numbers or as it stands; SignalUnreadable names the mapping key `key`."""
        variable = self._variable(key, name)
        shape = " x ".join(map(str, variable.shape))
        if sum(size != 1 for size in variable.shape) > 1 and 0 not in variable.shape:
            told = f"{key}: variable {variable.name!r} of {self._file!r} is a matrix of {shape}, not a vector"
            raise SignalUnreadable(f"{told}; save each channel as a variable of its own")
        return pa.chunked_array([pa.array(self._read(variable))])

    def row_numbers(self) -> tuple[int, ...]:
        """Give the number by which a user finds each sample in the file; empty where samples are just counted."""
        return ()

    def scalar(self, name: str) -> float:
        """Give the number in a variable; SignalUnreadable where there is none."""
        variable = self._variable("variable", name)
        shape = " x ".join(map(str, variable.shape))
        numbers = self._read(variable) if set(variable.shape) <= {1} else np.empty(0)
        if len(numbers) != 1 or not np.isfinite(numbers[0]):
            raise SignalUnreadable(
                f"variable {name!r} of {self._file!r} is not one finite number (it is {shape}); declare a value"
            )
        return float(numbers[0])
