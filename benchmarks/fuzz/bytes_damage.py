"""Damage of bytes, whatever they mean: flipped, cut, doubled, overwritten, spliced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

NUMBERS: Final = (0, 1, -1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, -(2**31), 2**32 - 1, 2**62, 2**63 - 1, -(2**63))
"""Integers at the edges of types."""
Rng = np.random.Generator


def damage_bytes(rng: Rng, data: bytes, others: Sequence[bytes] = ()) -> tuple[str, bytes]:
    """Return the name of a damage and the damaged bytes; `others` are whole files of the same kind to splice with."""
    name = str(rng.choice(list(KINDS)))
    if not data:
        return "empty", data
    return name, KINDS[name](rng, data, others or (data,))


def span(rng: Rng, data: bytes, longest: int = 4096) -> tuple[int, int]:
    """Return where a random stretch of the data begins and ends."""
    begin = int(rng.integers(len(data)))
    return begin, min(len(data), begin + 1 + int(rng.integers(min(longest, len(data)))))


def _flip(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 8, 64]))):
        out[int(rng.integers(len(out)))] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _overwrite(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 2, 8]))):
        out[int(rng.integers(len(out)))] = int(rng.integers(256))
    return bytes(out)


def _edge(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    width = int(rng.choice([2, 4, 8]))
    number = int(rng.choice(np.array(NUMBERS, object))) % (1 << (8 * width))
    at = int(rng.integers(max(1, len(data) - width)))
    return data[:at] + number.to_bytes(width, str(rng.choice(["little", "big"]))) + data[at + width :]  # type: ignore[arg-type]


def _truncate(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[: int(rng.integers(len(data)))]


def _behead(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[int(rng.integers(len(data))) :]


def _remove(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    begin, end = span(rng, data)
    return data[:begin] + data[end:]


def _double(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    begin, end = span(rng, data)
    return data[:end] + data[begin:end] * int(rng.choice([1, 1, 3, 50])) + data[end:]


def _insert(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + rng.bytes(int(rng.choice([1, 4, 64, 5000]))) + data[at:]


def _blank(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    begin, end = span(rng, data)
    return data[:begin] + bytes([int(rng.choice([0, 255]))]) * (end - begin) + data[end:]


def _splice(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    other = others[int(rng.integers(len(others)))]
    return data[: int(rng.integers(len(data)))] + other[int(rng.integers(max(1, len(other)))) :]


def _graft(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    other = others[int(rng.integers(len(others)))]
    if not other:
        return data
    begin, end = span(rng, other)
    at = int(rng.integers(len(data)))
    return data[:at] + other[begin:end] + data[at + (end - begin) :]


def _swap(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    a, b, c = sorted(int(at) for at in rng.integers(len(data) + 1, size=3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _nothing(rng: Rng, data: bytes, others: Sequence[bytes]) -> bytes:
    return bytes(rng.bytes(int(rng.choice([0, 1, 12, 200]))))


KINDS: Final[dict[str, Callable[[Rng, bytes, Sequence[bytes]], bytes]]] = {
    "bits flipped": _flip,
    "bytes overwritten": _overwrite,
    "number at the edge of its type": _edge,
    "end cut off": _truncate,
    "beginning cut off": _behead,
    "stretch removed": _remove,
    "stretch doubled": _double,
    "bytes inserted": _insert,
    "stretch blanked": _blank,
    "two files spliced": _splice,
    "stretch of another file": _graft,
    "stretches swapped": _swap,
    "no such file at all": _nothing,
}
