"""What a Parquet file says of itself: rows, columns and pages, read without Arrow and before anything is decoded.

Arrow ends the process where some parts of a footer contradict one another, and believes the sizes in the header of a
page. Here every damage is a ValueError.

Sources: Apache Parquet, parquet.thrift; Apache Thrift, "Thrift Compact protocol encoding".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

MAGIC: Final = b"PAR1"
FOOTER_BYTES: Final = 16 * 1024 * 1024
"""A larger footer is not read: Arrow needs ten times its bytes. A group of rows with twenty columns has 2 KiB."""
DEEPEST: Final = 32
"""Structs in one another; Parquet needs eight."""
HEADER_BYTES: Final = (256, 64 * 1024)
"""Bytes in which a page's header is looked for: nearly all are within the first number."""
INT64: Final = 2
DOUBLE: Final = 5
BYTE_ARRAY: Final = 6


@dataclass(frozen=True)
class ColumnChunk:
    """A column of a row group: `path` of its name, physical type, number of values, and bytes `start` to `end`."""

    path: tuple[str, ...]
    physical: int
    values: int
    unfolded_bytes: int
    start: int
    end: int


@dataclass(frozen=True)
class RowGroup:
    """A row group: its number of rows, and its columns."""

    rows: int
    chunks: tuple[ColumnChunk, ...]


@dataclass(frozen=True)
class Page:
    """A page: its number of values (0 of a dictionary), and its bytes when it is unfolded."""

    values: int
    unfolded_bytes: int


def find_footer(file: BinaryIO) -> bytes:
    """Return the footer's bytes. To be called before Arrow opens a file: it takes any size.

    Raises
    ------
    ValueError
        There is no footer, or it is larger than `FOOTER_BYTES`.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or length > size - 8:
        raise ValueError("it has no footer")
    if length > FOOTER_BYTES:
        raise ValueError(
            f"its footer has {length} bytes; at most {FOOTER_BYTES} are read: write it with fewer row groups"
        )
    file.seek(size - 8 - length)
    return file.read(length)


def read_footer(file: BinaryIO) -> list[RowGroup]:
    """Return the row groups of a Parquet file.

    Raises
    ------
    ValueError
        The footer is damaged.
    """
    data = find_footer(file)
    try:
        found = _Compact(data).struct()
        return [_row_group(group) for group in found[4]]
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"its footer is damaged ({error!r})") from error


def _row_group(group: Mapping[int, Any]) -> RowGroup:
    return RowGroup(_number(group[3]), tuple(_chunk(column[3]) for column in group[1]))


def _chunk(about: Mapping[int, Any]) -> ColumnChunk:
    start = min([_number(about[key]) for key in (9, 11) if about.get(key)], default=0)
    path = tuple(part.decode("utf-8", "replace") for part in about[3])
    end = start + _number(about[7])
    return ColumnChunk(path, _number(about[1]), _number(about[5]), _number(about[6]), start, end)


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError("no number")
    return value


def read_pages(file: BinaryIO, chunk: ColumnChunk) -> Iterator[Page]:
    """Yield the pages of a column by their headers.

    Raises
    ------
    ValueError
        A header is damaged, or a page goes beyond its column.
    """
    at = chunk.start
    if at < 0:
        raise ValueError("a column begins before its file")
    while at < chunk.end:
        try:
            header, length = _page_header(file, at, chunk.end)
            unfolded, packed = _number(header[2]), _number(header[3])
            about = header.get(5) or header.get(8)
            values = 0 if about is None else _number(about[1])
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"the header of a page is damaged ({error!r})") from error
        at += length + packed
        if min(unfolded, packed, values) < 0 or at > chunk.end:
            raise ValueError("a page is larger than its column")
        yield Page(values, unfolded)


def _page_header(file: BinaryIO, at: int, end: int) -> tuple[dict[int, Any], int]:
    for most in HEADER_BYTES:
        file.seek(at)
        reader = _Compact(file.read(min(most, end - at)))
        try:
            return reader.struct(), reader.at
        except LookupError:
            continue
    raise LookupError("it has no end")


class _Compact:
    """Reads structs of Thrift's compact protocol as dictionaries by the numbers of their fields."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0
        self._readers: dict[int, Callable[[int], Any]] = {
            1: lambda depth: True,
            2: lambda depth: False,
            3: lambda depth: self._byte(),
            4: self._integer,
            5: self._integer,
            6: self._integer,
            7: lambda depth: struct.unpack("<d", self._bytes(8))[0],
            8: lambda depth: self._bytes(self._varint()),
            9: self._list,
            10: self._list,
            12: self.struct,
        }

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Read a struct. LookupError: it has no end; TypeError: it is damaged."""
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._integer(depth)
            fields[number] = self._value(head & 15, depth + 1)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind not in self._readers:
            raise TypeError(f"type {kind} is not known")
        if depth > DEEPEST:
            raise TypeError("structs and lists are nested too deeply")
        return self._readers[kind](depth)

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _bytes(self, count: int) -> bytes:
        self.at += count
        if self.at > len(self._data):
            raise IndexError("a text has no end")
        return self._data[self.at - count : self.at]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise TypeError("a number is too long")
        return value | byte << shift

    def _integer(self, depth: int) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        kind = head & 15
        if count > len(self._data) - self.at:  # of flags too: each has a byte in a list
            raise IndexError("a list has no end")
        if kind in (1, 2):
            return [self._byte() == 1 for _ in range(count)]
        return [self._value(kind, depth + 1) for _ in range(count)]
