"""MATLAB files: plain vectors, and those in matrices, structs and cells; v7.3 files are HDF5 inside."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from numpy.typing import NDArray

from pipeline.importing.formats.interface import ReadColumn
from pipeline.importing.formats.mat_reader import NUMERIC, MatDamaged, MatPart, MatReader
from pipeline.importing.formats.vectors import Vector, VectorSignals, matrix_parts
from pipeline.importing.problems import SignalUnreadable

NOT_NUMBERS: Final = {
    "struct": "name a field of it, such as {name}.field",
    "cell": "name a cell of it, such as {name}{{1}}",
    "opaque": "a table or timetable is not read: save its columns as variables of their own",
}


def vectors_of(name: str, shape: Sequence[int], at: Any) -> Iterator[Vector]:
    """Yield what a numeric array of MATLAB is: a vector, or a matrix with vectors `name(:,1)` or `name(1,:)`.

    `at` of a vector of a matrix is (`at` of the matrix, axis along which it lies, its index).
    """
    n = math.prod(shape)
    if sum(size != 1 for size in shape) <= 1 or n == 0:
        yield Vector(name, n, at=(at, None, 0))
        return
    parts = matrix_parts(shape)
    shown = " x ".join(map(str, shape))
    what = f"is a matrix of {shown}, not a vector"
    if parts is None:
        yield Vector(name, n, f"{what}; save each channel as a variable of its own")
        return
    along, number = parts
    place = "(:,{})" if along == 0 else "({},:)"
    yield Vector(name, n, f"{what}; name one, such as {name + place.format(1)!r}", is_hidden=True)
    for index in range(number):
        yield Vector(name + place.format(index + 1), shape[along], at=(at, along, index))


def by_name(vectors: Sequence[Vector]) -> Iterator[Vector]:
    """Yield other names for what is in struct arrays whose elements say their own: `Y(vibration_1).Data` for Y(7).

    The order of such elements may differ from file to file. `at` of a text is the text.
    """
    said = {one.name.removesuffix(".Name"): one.at for one in vectors if one.is_text and one.name.endswith(").Name")}
    names = Counter((element.rpartition("(")[0], name) for element, name in said.items())
    for one in vectors:
        match = re.fullmatch(r"((.*)\(\d+\))(\..*)", one.name)
        name = said.get(match[1]) if match else None
        if match and name and names[match[2], name] == 1:
            yield replace(one, name=f"{match[2]}({name}){match[3]}", is_hidden=True)


class MatSignals(VectorSignals):
    """A MATLAB v5 file; a variable is read only when it is needed."""

    def __init__(self, path: Path, file: str) -> None:
        """Read the headers; SignalUnreadable where they are damaged, or it is no such file."""
        try:
            self._reader = MatReader(path)
        except OSError as error:
            raise SignalUnreadable(f"signal.file: {file!r} cannot be read ({error.strerror or error})") from error
        except MatDamaged as error:
            raise SignalUnreadable(f"signal.file: {file!r} is a damaged MATLAB file ({error})") from error
        except ValueError as error:
            message = f"signal.file: {file!r} is not a MATLAB file; save it with save(..., '-v7')"
            raise SignalUnreadable(message) from error
        vectors = [vector for part in self._reader.parts for vector in _listed(part)]
        super().__init__(file, [*vectors, *by_name(vectors)])

    def n_rows(self, columns: Sequence[ReadColumn]) -> int | None:
        """Check columns; return None, as only reading tells whether the data are whole."""
        self._wanted(columns)
        return None

    def stream(self, vectors: Sequence[Vector], count: int) -> Iterator[list[pa.Array]]:
        """Yield the values of vectors of the same length."""
        if vectors[0].n == 0:
            return
        try:
            for blocks in zip(*(self._one(vector, count) for vector in vectors), strict=True):
                yield [block if isinstance(block, pa.Array) else pa.array(block) for block in blocks]
        except MatDamaged as error:
            raise SignalUnreadable(f"signal.file: {self._file!r} is a damaged MATLAB file ({error})") from error
        except OSError as error:
            raise SignalUnreadable(f"signal.file: {self._file!r} cannot be read ({error})") from error

    def _one(self, vector: Vector, count: int) -> Iterator[NDArray[Any] | pa.Array]:
        if vector.is_text:
            yield pa.array([vector.at])
            return
        part, along, index = vector.at
        if along is None:
            yield from self._reader.stream(part, count)
        elif along == 0:
            yield from self._reader.stream(part, count, index * part.shape[0], 1, vector.n)
        else:
            yield from self._reader.stream(part, count, index, part.shape[0], vector.n)


def _listed(part: MatPart) -> Iterator[Vector]:
    if part.kind in NUMERIC:
        yield from vectors_of(part.name, part.shape, part)
    elif part.text is not None:
        yield Vector(part.name, 1, is_text=True, at=part.text)
    else:
        hint = NOT_NUMBERS.get(part.kind, "save the signal as one").format(name=part.name)
        what = f"is {part.kind}, not a vector of real numbers; {hint}"
        yield Vector(part.name, part.n, what, is_hidden=part.kind in ("struct", "cell"))
