"""Read MATLAB v5 files: names, shapes, real numeric arrays and texts, also in structs and cells, block by block.

Source: MathWorks, MAT-File Format, "Level 5 MAT-File Format". Files come from outside, scipy.io.loadmat ends the
process (segmentation fault) on some damaged files, and holds whole variables in memory. So this file has its own
reader for the parts that are needed; every length is checked before it is used. Objects, functions and sparse arrays
are listed, but never read.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_BYTES: Final = 2**32
"""A variable with more bytes is refused: the header of a damaged or hostile file may claim any size."""

HEAD_BYTES: Final = 1 << 16
"""Flags, shape, name and names of fields have at most so many bytes each; so much is unpacked at a time."""

MOST_PARTS: Final = 10_000
"""So many fields and cells of a variable are listed."""

DEEPEST: Final = 8
"""Structs and cells within one another are listed down to this depth."""

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
TEXTS: Final = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}


class MatDamaged(ValueError):
    """The content of the file does not agree with its headers."""


@dataclass(frozen=True)
class MatPart:
    """A variable, field or cell as its header describes it.

    `kind` is the MATLAB class, "logical" or "complex". `at` and `n_bytes` are the place of its variable in the file,
    and `inside` that of its numbers among the bytes of the variable, unpacked. `text` is that of a row of characters.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    at: int
    n_bytes: int
    is_compressed: bool
    inside: int
    text: str | None = None

    @property
    def n(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


class MatReader:
    """The parts of one file."""

    def __init__(self, path: Path) -> None:
        """Read the headers; ValueError where it is not a v5 file, MatDamaged where it is a damaged one."""
        self._path = path
        self._size = path.stat().st_size
        self.parts: list[MatPart] = []
        self._seen = 0
        with path.open("rb") as file:
            head = file.read(128)
            if len(head) < 128 or head[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
                raise ValueError("not a MATLAB v5 file")
            self._order = "<" if head[126:128] == b"IM" else ">"
            at = 128
            while at < self._size:
                file.seek(at)
                tag = file.read(8)
                if len(tag) < 8:
                    raise MatDamaged("a header is cut off")
                kind, n_bytes = struct.unpack(f"{self._order}II", tag)
                at += 8
                if at + n_bytes > self._size:
                    raise MatDamaged("it ends in the middle of a variable")
                if kind not in (MATRIX, COMPRESSED):
                    raise MatDamaged(f"unknown element of type {kind}")
                self._seen = 0
                whole = MatPart("", "", (), at, n_bytes, kind == COMPRESSED, 0)
                self._list(_Body(file, whole, self._order), whole)
                at += n_bytes

    def _list(self, body: _Body, whole: MatPart, name: str = "", depth: int = 0) -> None:
        """List a variable, field or cell, and what is in it."""
        own, kind, shape = self._head(body)
        name = name or own
        if not name:
            return
        inside = body.at
        text = self._text(body) if kind == "char" and shape[0] == 1 else None
        self.parts.append(MatPart(name, kind, shape, whole.at, whole.n_bytes, whole.is_compressed, inside, text))
        if kind not in ("struct", "cell") or depth == DEEPEST:
            return
        fields = self._fields(body) if kind == "struct" else [""]
        n = math.prod(shape)
        for number in range(1, n + 1 if fields else 0):
            for field in fields:
                if self._seen == MOST_PARTS:
                    return
                self._seen += 1
                element, n_bytes, _ = body.tag()
                if element != MATRIX:
                    raise MatDamaged(f"an unknown element of type {element} is in {name!r}")
                end = body.at + n_bytes
                place = f"{{{number}}}" if kind == "cell" else "" if n == 1 else f"({number})"
                if n_bytes:
                    self._list(body, whole, f"{name}{place}.{field}" if field else f"{name}{place}", depth + 1)
                body.skip(end - body.at)

    def _fields(self, body: _Body) -> list[str]:
        (length,) = self._numbers(body.element(), 1)
        names = body.element()
        if length < 1 or len(names) % length:
            raise MatDamaged("the names of fields are damaged")
        return [
            names[at : at + length].partition(b"\0")[0].decode("ascii", errors="replace")
            for at in range(0, len(names), length)
        ]

    def _numbers(self, data: bytes, most: int) -> tuple[int, ...]:
        if len(data) < 4 or len(data) % 4 or len(data) > 4 * most:
            raise MatDamaged("the shape of a variable is damaged")
        return struct.unpack(f"{self._order}{len(data) // 4}i", data)

    def _head(self, body: _Body) -> tuple[str, str, tuple[int, ...]]:
        """Return name, kind and shape; the body stands at what follows them."""
        flags = body.element()
        if len(flags) != 8:
            raise MatDamaged("the flags of a variable are cut off")
        (word,) = struct.unpack(f"{self._order}I", flags[:4])
        kind = KINDS.get(word & 0xFF)
        if kind is None:
            raise MatDamaged(f"unknown class {word & 0xFF} of a variable")
        shape: tuple[int, ...] = ()
        if kind != "opaque":
            shape = self._numbers(body.element(), 32)
            if min(shape) < 0 or len(shape) < 2:
                raise MatDamaged("the shape of a variable is damaged")
        name = body.element().decode("ascii", errors="replace")
        if word & 0x0200 and kind in NUMERIC:
            kind = "logical"
        elif word & 0x0800:
            kind = "complex"
        return name, kind, shape

    def _text(self, body: _Body) -> str | None:
        """Return the characters that come next; None where they are many."""
        kind, n_bytes, data = body.tag()
        if n_bytes > HEAD_BYTES:
            return None
        encoding = TEXTS.get(kind, "latin-1")
        mark = ("-le" if self._order == "<" else "-be") if encoding in ("utf-16", "utf-32") else ""
        return (body.read(n_bytes) if data is None else data).decode(encoding + mark, errors="replace")

    def stream(
        self, part: MatPart, count: int, first: int = 0, step: int = 1, n: int | None = None
    ) -> Iterator[NDArray[Any]]:
        """Yield the numbers of a real numeric part in MATLAB's order (columns first).

        Parameters
        ----------
        part : MatPart
        count : int
            Most numbers at a time.
        first, step, n : int
            `n` numbers from `first` on, each `step`-th; None: all that follow.

        Raises
        ------
        MatDamaged
            The data do not agree with the header; some may have been yielded before.
        """
        dtype = np.dtype(NUMERIC[part.kind])
        if part.n * dtype.itemsize > MAX_BYTES:
            raise MatDamaged(f"variable {part.name!r} claims {part.shape}: too large, or damaged")
        with self._path.open("rb") as file:
            body = _Body(file, part, self._order)
            body.skip(part.inside)
            kind, n_bytes, data = body.tag()
            if kind not in STORED:
                raise MatDamaged(f"variable {part.name!r} is stored as unknown type {kind}")
            stored = np.dtype(self._order + STORED[kind])
            if n_bytes != part.n * stored.itemsize:
                raise MatDamaged(f"variable {part.name!r} has {n_bytes} bytes for {part.n} numbers")
            left = part.n - first if n is None else min(part.n - first, (n - 1) * step + 1)
            if data is not None:
                body = _Body(io.BytesIO(data), MatPart("", "", (), 0, len(data), False, 0), self._order)
            body.skip(first * stored.itemsize)
            while left > 0:
                numbers: list[NDArray[Any]] = []
                until = max(0, left - count * step)
                while left > until:
                    size = min(left - until, max(1, count // step) * step)
                    data = body.read(size * stored.itemsize)
                    if len(data) < size * stored.itemsize:
                        raise MatDamaged(f"variable {part.name!r} is cut off")
                    numbers.append(np.frombuffer(data, stored)[::step].astype(dtype))
                    left -= size
                yield np.concatenate(numbers)
            body.finish()


class _Body:
    """The bytes of a variable, unpacked while they are read; `at` is how many were read."""

    def __init__(self, file: IO[bytes], whole: MatPart, order: str) -> None:
        self._file, self._left, self._order = file, whole.n_bytes, order
        self._unpacker = zlib.decompressobj() if whole.is_compressed else None
        self.at = 0
        file.seek(whole.at)
        if whole.is_compressed:
            if self.tag()[0] != MATRIX:
                raise MatDamaged("a compressed element holds no variable")
            self.at = 0

    def read(self, n: int) -> bytes:
        """Return the next n bytes, or fewer at the end."""
        if self._unpacker is None:
            data = self._file.read(min(n, self._left))
            self._left -= len(data)
        else:
            data = self._unpacked(n)
        self.at += len(data)
        return data

    def _unpacked(self, n: int) -> bytes:
        assert self._unpacker is not None
        parts: list[bytes] = []
        while n > 0 and not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail
            if not packed:
                packed = self._file.read(min(HEAD_BYTES, self._left))
                self._left -= len(packed)
                if not packed:
                    break
            try:
                parts.append(self._unpacker.decompress(packed, n))
            except zlib.error as error:
                raise MatDamaged(str(error)) from error
            n -= len(parts[-1])
            if self.at > MAX_BYTES:
                raise MatDamaged("it unpacks to more bytes than are read")
        return b"".join(parts)

    def skip(self, n: int) -> None:
        """Pass over n bytes; MatDamaged where there are fewer."""
        if n < 0:
            raise MatDamaged("a part is longer than what holds it")
        if self._unpacker is None:
            if n > self._left:
                raise MatDamaged("a part is cut off")
            self._file.seek(n, 1)
            self._left -= n
            self.at += n
            return
        while n:
            data = self.read(min(n, 1 << 20))
            if not data:
                raise MatDamaged("a part is cut off")
            n -= len(data)

    def tag(self) -> tuple[int, int, bytes | None]:
        """Return type, bytes and, where they are in the tag itself, the data of the next element."""
        data = self.read(8)
        if len(data) < 8:
            raise MatDamaged("a header is cut off")
        kind, n_bytes = struct.unpack(f"{self._order}II", data)
        if not kind >> 16:
            return kind, n_bytes, None
        kind, n_bytes = kind & 0xFFFF, kind >> 16
        if n_bytes > 4:
            raise MatDamaged("a small element is too long")
        return kind, n_bytes, data[4 : 4 + n_bytes]

    def element(self) -> bytes:
        """Return the data of the next element, which has to be a short one."""
        _, n_bytes, data = self.tag()
        if data is not None:
            return data
        if n_bytes > HEAD_BYTES:
            raise MatDamaged("a header is too long")
        data = self.read(n_bytes)
        if len(data) < n_bytes:
            raise MatDamaged("a header is cut off")
        self.read(-n_bytes % 8)
        return data

    def finish(self) -> None:
        """Read to the end of packed data, so that their checksum is compared; MatDamaged where there is no end."""
        while self._unpacker is not None and not self._unpacker.eof:
            if not self.read(1 << 20):
                raise MatDamaged("a packed variable is cut off")
