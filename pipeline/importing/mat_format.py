"""Parse MATLAB v5 files: names, shapes and real numeric arrays, every length checked before it is believed.

MathWorks, MAT-File Format, "Level 5 MAT-File Format". Files come from outside, and scipy.io.loadmat ends the process
(segmentation fault) on some damaged files, so the little that is needed is read here. Structs, cells, objects,
functions and sparse arrays are listed, never read.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_BYTES: Final = 2**31
"""A variable of more bytes is refused: a damaged or hostile header may claim any size."""

HEAD_BYTES: Final = 4096
"""Flags, shape and name of a variable lie within its first so many bytes."""

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


class MatDamaged(ValueError):
    """The file does not hold what its headers say."""


@dataclass(frozen=True)
class Variable:
    """A variable as its header describes it; `kind` is the MATLAB class, or "logical" or "complex"."""

    name: str
    kind: str
    shape: tuple[int, ...]
    at: int
    n_bytes: int
    is_compressed: bool


class MatReader:
    """The variables of one file."""

    def __init__(self, path: Path) -> None:
        """Read the headers; ValueError where it is no v5 file, MatDamaged where it is a broken one."""
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
        """Give the type and the data of a sub-element and where the next one begins. Data may be cut off at the end."""
        kind, n_bytes = self._tag(body[at : at + 8])
        if kind >> 16:
            kind, n_bytes = kind & 0xFFFF, kind >> 16
            if n_bytes > 4:
                raise MatDamaged("a small element is too long")
            return kind, body[at + 4 : at + 4 + n_bytes], at + 8
        return kind, body[at + 8 : at + 8 + n_bytes], at + 8 + -(-n_bytes // 8) * 8

    def _head(self, body: bytes) -> tuple[str, str, tuple[int, ...], int]:
        """Give name, kind, shape, and where the numbers begin."""
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

    def read(self, variable: Variable) -> NDArray[Any]:
        """Give the numbers of a real numeric variable, one-dimensional, in MATLAB's order (columns first).

        Raises
        ------
        MatDamaged
            The data do not fit the header.
        """
        dtype = np.dtype(NUMERIC[variable.kind])
        count: int = math.prod(int(size) for size in variable.shape)
        if count * dtype.itemsize > MAX_BYTES:
            raise MatDamaged(f"variable {variable.name!r} claims {variable.shape}: too large, or damaged")
        with self._path.open("rb") as file:
            file.seek(variable.at)
            body = file.read(variable.n_bytes)
        if variable.is_compressed:
            body = self._unpack(body, count * 8)
        _, _, _, at = self._head(body)
        kind, data, _ = self._element(body, at)
        if kind not in STORED:
            raise MatDamaged(f"variable {variable.name!r} is stored as unknown type {kind}")
        stored = np.dtype(self._order + STORED[kind])
        if len(data) != count * stored.itemsize:
            raise MatDamaged(f"variable {variable.name!r} has {len(data)} bytes for {count} numbers")
        return np.frombuffer(data, stored).astype(dtype)

    def _unpack(self, packed: bytes, expected: int) -> bytes:
        unpacker = zlib.decompressobj()
        limit = expected + 2 * HEAD_BYTES
        try:
            body = unpacker.decompress(packed, limit)
        except zlib.error as error:
            raise MatDamaged(str(error)) from error
        if not unpacker.eof:
            raise MatDamaged("the compressed data of a variable are cut off or too long")
        return body[8:]
