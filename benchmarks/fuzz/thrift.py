"""Parquet's headers as trees: read, changed at any place, and written again (Thrift's compact protocol).

Source: Apache Thrift, "Thrift Compact protocol encoding"; Apache Parquet, parquet.thrift.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.fuzz.bytes_damage import NUMBERS

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
INTEGERS: Final = (I16, I32, I64)


@dataclass
class Node:
    """A value: its type, and number, bytes, list of nodes, or fields (number and node) of a struct."""

    kind: int
    value: Any


class Reader:
    """Reads values from bytes."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def node(self, kind: int) -> Node:
        """Read a value of a type."""
        if kind in (TRUE, FALSE):
            return Node(kind, kind == TRUE)
        if kind == BYTE:
            return Node(kind, self._byte())
        if kind in INTEGERS:
            return Node(kind, self._zigzag())
        if kind == DOUBLE:
            self.at += 8
            return Node(kind, self.data[self.at - 8 : self.at])
        if kind == BINARY:
            size = self._varint()
            self.at += size
            return Node(kind, self.data[self.at - size : self.at])
        if kind in (LIST, SET):
            head = self._byte()
            size, inner = head >> 4, head & 15
            if size == 15:
                size = self._varint()
            return Node(kind, [inner, [self.node(inner) for _ in range(size)]])
        if kind == STRUCT:
            fields: list[list[Any]] = []
            number = 0
            while (head := self._byte()) != 0:
                number = number + (head >> 4) if head >> 4 else self._zigzag()
                fields.append([number, self.node(head & 15)])
            return Node(kind, fields)
        raise ValueError(f"type {kind} of Thrift is not used by Parquet")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> bytes:
    return _varint((value << 1) ^ (value >> 63) if value < 0 else value << 1)


def written(node: Node) -> bytes:
    """Return a value as bytes."""
    kind, value = node.kind, node.value
    if kind in (TRUE, FALSE):
        return b""
    if kind == BYTE:
        return bytes([value & 255])
    if kind in INTEGERS:
        return _zigzag(value)
    if kind == DOUBLE:
        return bytes(value)
    if kind == BINARY:
        return _varint(len(value)) + value
    if kind in (LIST, SET):
        inner, items = value
        head = bytes([len(items) << 4 | inner]) if len(items) < 15 else bytes([15 << 4 | inner]) + _varint(len(items))
        return head + b"".join(map(written, items))
    out, last = b"", 0
    for number, field in value:
        step = number - last
        out += bytes([step << 4 | field.kind]) if 0 < step < 16 else bytes([field.kind]) + _zigzag(number)
        out += written(field)
        last = number
    return out + b"\0"


def nodes(tree: Node) -> Iterator[Node]:
    """Yield a value and all that are in it."""
    yield tree
    children: list[Node] = []
    if tree.kind == STRUCT:
        children = [field for _, field in tree.value]
    elif tree.kind in (LIST, SET):
        children = tree.value[1]
    for child in children:
        yield from nodes(child)


def child(tree: Node, number: int) -> Node | None:
    """Return a field of a struct; None where it is not there."""
    return next((field for key, field in tree.value if key == number), None)


def changed(rng: np.random.Generator, tree: Node) -> Node:
    """Return a copy with one to three values changed, fields dropped or doubled, or items moved."""
    tree = copy.deepcopy(tree)
    every = list(nodes(tree))
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        _change(rng, every[int(rng.integers(len(every)))])
    return tree


def _change(rng: np.random.Generator, node: Node) -> None:
    if node.kind in INTEGERS:
        node.value = _number(rng, int(node.value))
    elif node.kind in (TRUE, FALSE):
        node.kind = FALSE if node.kind == TRUE else TRUE
    elif node.kind == DOUBLE:
        node.value = struct.pack("<d", float(rng.choice([np.nan, np.inf, -1.0, 1e308])))
    elif node.kind == BINARY:
        text = bytearray(node.value) or bytearray(b"x")
        text[int(rng.integers(len(text)))] = int(rng.integers(256))
        node.value = [bytes(text), bytes(text)[:-1], b"", bytes(text) * 2, bytes(text) * 10_000][int(rng.integers(5))]
    elif node.kind in (LIST, SET) and node.value[1]:
        _rearrange(rng, node.value[1])
    elif node.kind == STRUCT and node.value:
        _rearrange(rng, node.value)


def _rearrange(rng: np.random.Generator, items: list[Any]) -> None:
    at, how = int(rng.integers(len(items))), int(rng.integers(3))
    if how == 0:
        del items[at]
    elif how == 1:
        items.insert(at, copy.deepcopy(items[at]))
    else:
        other = int(rng.integers(len(items)))
        items[at], items[other] = items[other], items[at]


def _number(rng: np.random.Generator, value: int) -> int:
    edge = int(rng.choice(np.array(NUMBERS, object)))
    near = (value + 1, value - 1, -value, value * 2, value // 2, value * 1000, 0)
    return edge if rng.random() < 0.3 else int(near[int(rng.integers(len(near)))])
