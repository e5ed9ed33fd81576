"""Read MATLAB v5 files: names, shapes and real numeric arrays. Every length is checked before it is used.

Source: MathWorks, MAT-File Format, "Level 5 MAT-File Format". Files come from outside, and scipy.io.loadmat ends the
process (segmentation fault) on some damaged files. So this file has its own reader for the parts that are needed.
Structs, cells, objects, functions and sparse arrays are listed, but never read.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.importing.formats.interface import Block, ReadColumn, block_rows
from pipeline.importing.problems import SignalUnreadable

MAX_BYTES: Final = 2**31
"""A variable with more bytes is refused: the header of a damaged or hostile file may claim any size."""

HEAD_BYTES: Final = 4096
"""Flags, shape and name of a variable are within this number of bytes at its start."""

MATRIX: Final = 14
COMPRESSED: Final = 15
KINDS: Final = {
    1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single", 8: "int8", 9: "uint8",
    10: "int16", 11: "uint16", 12: "int32", 13: "uint32", 14: "int64", 15: "uint64", 16: "function", 17: "opaque",
}  # fmt: skip
NUMERIC: Final = {
    "double": "f8", "single": "f4", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4",
    "uint32": "u4", "int64": "i8", "uint64": "u8",
}  # fmt: skip
STORED: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}


NOT_NUMBERS: Final = {
    "struct": "its fields are not read: save the one with the signal as a variable of its own",
    "cell": "its cells are not read: save the one with the signal as a variable of its own",
    "opaque": "a table or timetable is not read: save its columns as variables of their own",
}


class MatDamaged(ValueError):
    """The content of the file does not agree with its headers."""


@dataclass(frozen=True)
class Variable:
    """A variable as its header describes it; `kind` is the MATLAB class, "logical" or "complex"; `at` is in bytes."""

    name: str
    kind: str
    shape: tuple[int, ...]
    at: int
    n_bytes: int
    is_compressed: bool


class MatReader:
    """The variables of one file."""

    def __init__(self, path: Path) -> None:
        """Read the headers; ValueError where it is not a v5 file, MatDamaged where it is a damaged one."""
        self._path = path
        self._size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(128)
            if len(head) < 128 or head[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
                raise ValueError("not a MATLAB v5 file")
            self._order = "<" if head[126:128] == b"IM" else ">"
            self.variables: list[Variable] = []
            at = 128
            while at < self._size:
                file.seek(at)
                kind, n_bytes = self._tag(file.read(8))
                at += 8
                if at + n_bytes > self._size:
                    raise MatDamaged("it ends in the middle of a variable")
                if kind not in (MATRIX, COMPRESSED):
                    raise MatDamaged(f"unknown element of type {kind}")
                packed = file.read(min(n_bytes, HEAD_BYTES))
                self._list(packed, at, n_bytes, is_compressed=kind == COMPRESSED)
                at += n_bytes

    def _tag(self, data: bytes) -> tuple[int, int]:
        if len(data) < 8:
            raise MatDamaged("a header is cut off")
        kind, n_bytes = struct.unpack(f"{self._order}II", data[:8])
        return kind, n_bytes

    def _list(self, packed: bytes, at: int, n_bytes: int, *, is_compressed: bool) -> None:
        body = packed
        if is_compressed:
            try:
                body = zlib.decompressobj().decompress(packed, HEAD_BYTES)
            except zlib.error as error:
                raise MatDamaged(str(error)) from error
            if self._tag(body)[0] != MATRIX:
                raise MatDamaged("a compressed element holds no variable")
            body = body[8:]
        name, kind, shape, _ = self._head(body)
        if name:
            self.variables.append(Variable(name, kind, shape, at, n_bytes, is_compressed))

    def _element(self, body: bytes, at: int) -> tuple[int, bytes, int]:
        """Return type and data of a sub-element, and where the next one begins. Data may be cut off at the end."""
        kind, n_bytes = self._tag(body[at : at + 8])
        if kind >> 16:
            kind, n_bytes = kind & 0xFFFF, kind >> 16
            if n_bytes > 4:
                raise MatDamaged("a small element is too long")
            return kind, body[at + 4 : at + 4 + n_bytes], at + 8
        return kind, body[at + 8 : at + 8 + n_bytes], at + 8 + -(-n_bytes // 8) * 8

    def _head(self, body: bytes) -> tuple[str, str, tuple[int, ...], int]:
        """Return name, kind and shape, and where the numbers begin (byte)."""
        _, flags, at = self._element(body, 0)
        if len(flags) != 8:
            raise MatDamaged("the flags of a variable are cut off")
        (word,) = struct.unpack(f"{self._order}I", flags[:4])
        kind = KINDS.get(word & 0xFF)
        if kind is None:
            raise MatDamaged(f"unknown class {word & 0xFF} of a variable")
        shape: tuple[int, ...] = ()
        if kind != "opaque":
            _, dims, at = self._element(body, at)
            if len(dims) < 8 or len(dims) % 4:
                raise MatDamaged("the shape of a variable is damaged")
            shape = struct.unpack(f"{self._order}{len(dims) // 4}i", dims)
            if min(shape) < 0:
                raise MatDamaged("the shape of a variable is negative")
        _, name, at = self._element(body, at)
        if at > len(body) and kind in NUMERIC and 0 not in shape:
            raise MatDamaged("the name of a variable is cut off")
        if word & 0x0200 and kind in NUMERIC:
            kind = "logical"
        elif word & 0x0800:
            kind = "complex"
        return name.decode("ascii", errors="replace"), kind, shape, at

    def stream(self, variable: Variable, count: int) -> Iterator[NDArray[Any]]:
        """Yield the numbers of a real numeric variable, `count` at a time, in MATLAB's order (columns first).

        Raises
        ------
        MatDamaged
            The data do not agree with the header; some may have been yielded before.
        """
        dtype = np.dtype(NUMERIC[variable.kind])
        total: int = math.prod(int(size) for size in variable.shape)
        if total * dtype.itemsize > MAX_BYTES:
            raise MatDamaged(f"variable {variable.name!r} claims {variable.shape}: too large, or damaged")
        with self._path.open("rb") as file:
            file.seek(variable.at)
            body = _Body(file, variable.n_bytes, is_compressed=variable.is_compressed, limit=total * 8)
            head = body.read(HEAD_BYTES)
            _, _, _, at = self._head(head)
            kind, data, _ = self._element(head, at)
            is_small = bool(self._tag(head[at : at + 8])[0] >> 16)
            n_bytes = len(data) if is_small else self._tag(head[at : at + 8])[1]
            if kind not in STORED:
                raise MatDamaged(f"variable {variable.name!r} is stored as unknown type {kind}")
            stored = np.dtype(self._order + STORED[kind])
            if n_bytes != total * stored.itemsize:
                raise MatDamaged(f"variable {variable.name!r} has {n_bytes} bytes for {total} numbers")
            left = total
            while left:
                size = min(left, count) * stored.itemsize
                data += body.read(size - len(data)) if len(data) < size else b""
                if len(data) < size:
                    raise MatDamaged(f"variable {variable.name!r} is cut off")
                yield np.frombuffer(data[:size], stored).astype(dtype)
                data = data[size:]
                left -= size // stored.itemsize
            body.finish()


class _Body:
    """The bytes of a variable, unpacked while they are read."""

    def __init__(self, file: IO[bytes], n_bytes: int, *, is_compressed: bool, limit: int) -> None:
        self._file, self._left = file, n_bytes
        self._unpacker = zlib.decompressobj() if is_compressed else None
        self._room = limit + 2 * HEAD_BYTES
        if is_compressed:
            self.read(8)  # the tag of the element inside

    def read(self, n: int) -> bytes:
        """Return the next n bytes, or fewer at the end."""
        if self._unpacker is None:
            data = self._file.read(min(n, self._left))
            self._left -= len(data)
            return data
        parts: list[bytes] = []
        while n > 0 and not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail
            if not packed:
                packed = self._file.read(min(HEAD_BYTES * 16, self._left))
                self._left -= len(packed)
                if not packed:
                    break
            try:
                parts.append(self._unpacker.decompress(packed, n))
            except zlib.error as error:
                raise MatDamaged(str(error)) from error
            n -= len(parts[-1])
            self._room -= len(parts[-1])
            if self._room < 0:
                break
        return b"".join(parts)

    def finish(self) -> None:
        """Read to the end of packed data, so that their checksum is compared; MatDamaged where there is no end."""
        if self._unpacker is not None:
            self.read(self._room + 1)
            if not self._unpacker.eof:
                raise MatDamaged("the compressed data of a variable are cut off or too long")


class MatSignals:
    """A MATLAB v5 file; a variable is read only when it is needed."""

    is_table = False
    dropped: Sequence[int] = ()

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
            message = f"signal.file: {file!r} is not a MATLAB v5 file; save it with save(..., '-v7')"
            raise SignalUnreadable(message) from error
        self.names: Sequence[str] = [variable.name for variable in self._reader.variables]

    def _variable(self, key: str, pattern: str) -> Variable:
        variables = self._reader.variables
        matching = [variable for variable in variables if fnmatchcase(variable.name, pattern)]
        if len(matching) != 1:
            names = ", ".join(variable.name for variable in variables) or "nothing"
            matches = f"{len(matching)} variables match" if matching else "no variable matches"
            raise SignalUnreadable(
                f"{key}: {matches} {pattern!r} in {self._file!r}, exactly one has to; it has: {names}"
            )
        if matching[0].kind not in NUMERIC:
            message = f"{key}: variable {matching[0].name!r} of {self._file!r} is {matching[0].kind}"
            what = NOT_NUMBERS.get(matching[0].kind, "save the signal as one")
            raise SignalUnreadable(f"{message}, not a vector of real numbers; {what}")
        return matching[0]

    def _stream(self, variable: Variable, count: int) -> Iterator[NDArray[Any]]:
        try:
            yield from self._reader.stream(variable, count)
        except MatDamaged as error:
            raise SignalUnreadable(f"signal.file: {self._file!r} is a damaged MATLAB file ({error})") from error
        except OSError as error:
            raise SignalUnreadable(f"signal.file: {self._file!r} cannot be read ({error})") from error

    def n_rows(self, columns: Sequence[ReadColumn]) -> int | None:
        """Return None: only reading tells whether the data are whole."""
        return None

    def blocks(self, columns: Sequence[ReadColumn]) -> Iterator[Block]:
        """Yield the samples of some variables in their order."""
        found, complaints = {}, []
        for column in columns:
            variable = self._variable(column.key, column.name)
            shape = " x ".join(map(str, variable.shape))
            if sum(size != 1 for size in variable.shape) > 1 and 0 not in variable.shape:
                message = f"{column.key}: variable {variable.name!r} of {self._file!r} is a matrix of {shape}"
                complaints.append(f"{message}, not a vector; save each channel as a variable of its own")
            found[column] = variable
        sizes = {column: math.prod(variable.shape) for column, variable in found.items()}
        first = columns[0]
        complaints += [
            f"{column.key}: {column.name!r} of {self._file!r} has {size} values, the signal {first.name!r} has "
            f"{sizes[first]}"
            for column, size in sizes.items()
            if size != sizes[first]
        ]
        if complaints:
            raise SignalUnreadable(*complaints)
        streams = {column: self._stream(variable, block_rows(len(found))) for column, variable in found.items()}
        done = 0
        while done < sizes[first]:
            block = {(column.name, column.numeric): pa.array(next(stream)) for column, stream in streams.items()}
            n = len(next(iter(block.values())))
            yield Block(np.arange(done + 1, done + n + 1), block)
            done += n
        for stream in streams.values():
            next(stream, None)  # to the end, so that a checksum is compared

    def value(self, pattern: str) -> float | str:
        """Return the number in a variable; SignalUnreadable where there is no such number."""
        variable = self._variable("variable", pattern)
        shape = " x ".join(map(str, variable.shape))
        numbers = next(self._stream(variable, 1)) if set(variable.shape) <= {1} else np.empty(0)
        if len(numbers) != 1 or not np.isfinite(numbers[0]):
            raise SignalUnreadable(
                f"variable {pattern!r} of {self._file!r} is not one finite number (it is {shape}); declare a value"
            )
        return float(numbers[0])
