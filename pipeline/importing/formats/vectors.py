"""What formats share that hold named vectors, each with a length of its own, and facts about them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.importing.formats.interface import Block, ReadColumn, block_rows
from pipeline.importing.problems import SignalUnreadable

SHOWN_NAMES: Final = 40

MOST_COLUMNS: Final = 256
"""A matrix with more columns and more rows than this is not taken apart."""


@dataclass(frozen=True)
class Vector:
    """A named vector, as the head of its file describes it.

    Attributes
    ----------
    name : str
    n : int
        Number of values.
    problem : str
        Why it is no vector of numbers, and what to do; '' where it is one.
    is_text : bool
        Whether its values are text.
    is_hidden : bool
        Whether it is not listed, because its parts are, or because it has another name too.
    at : object
        What its reader needs to find it.
    """

    name: str
    n: int
    problem: str = ""
    is_text: bool = False
    is_hidden: bool = False
    at: Any = None


class VectorSignals(ABC):
    """A file of named vectors. Those that are read together have the same length."""

    dropped: Sequence[int] = ()

    def __init__(self, file: str, vectors: Sequence[Vector], facts: Mapping[str, float | str] | None = None) -> None:
        """Take what the head of the file lists; `facts` are numbers and texts by name that are no vectors."""
        self._file, self._vectors, self._facts = file, vectors, facts or {}
        self._by_name = {vector.name: vector for vector in vectors}
        self.names: Sequence[str] = [vector.name for vector in vectors if not vector.is_hidden]

    @abstractmethod
    def stream(self, vectors: Sequence[Vector], count: int) -> Iterator[list[pa.Array]]:
        """Yield the values of vectors of the same length, at most `count` of each at a time."""

    def find(self, key: str, pattern: str) -> Vector:
        """Return the one vector that a pattern names; its own name comes first, as names may have brackets."""
        exact = self._by_name.get(pattern)
        if exact is not None:
            return exact
        for is_hidden in (False, True):
            found = [one for one in self._vectors if one.is_hidden == is_hidden and _is_like(one.name, pattern)]
            if len(found) == 1:
                return found[0]
            if found:
                break
        names = ", ".join(self.names[:SHOWN_NAMES]) or "nothing"
        more = f" and {len(self.names) - SHOWN_NAMES} more" if len(self.names) > SHOWN_NAMES else ""
        matches = f"{len(found)} variables match" if found else "no variable matches"
        raise SignalUnreadable(
            f"{key}: {matches} {pattern!r} in {self._file!r}, exactly one has to; it has: {names}{more}"
        )

    def rows_of(self, column: str) -> int | str:
        """Return the length of a vector: those of one length are read together."""
        try:
            return self.find("", column).n
        except SignalUnreadable:
            return column

    def _wanted(self, columns: Sequence[ReadColumn]) -> dict[ReadColumn, Vector]:
        found, complaints = {}, []
        for column in dict.fromkeys(columns):
            vector = found[column] = self.find(column.key, column.name)
            if vector.problem:
                complaints.append(f"{column.key}: variable {vector.name!r} of {self._file!r} {vector.problem}")
            elif vector.is_text and column.numeric:
                complaints.append(f"{column.key}: variable {vector.name!r} of {self._file!r} is text, not numbers")
        first = columns[0]
        complaints += [
            f"{column.key}: {column.name!r} of {self._file!r} has {vector.n} values, the signal {first.name!r} has "
            f"{found[first].n}"
            for column, vector in found.items()
            if vector.n != found[first].n
        ]
        if complaints:
            raise SignalUnreadable(*complaints)
        return found

    def n_rows(self, columns: Sequence[ReadColumn]) -> int | None:
        """Check columns and return their length, both by the head of the file."""
        return self._wanted(columns)[columns[0]].n

    def blocks(self, columns: Sequence[ReadColumn]) -> Iterator[Block]:
        """Yield the samples of some vectors in their order."""
        wanted = self._wanted(columns)
        total, done = wanted[columns[0]].n, 0
        vectors = list(dict.fromkeys(wanted.values()))
        for arrays in self.stream(vectors, block_rows(len(vectors))):
            of = dict(zip((vector.name for vector in vectors), arrays, strict=True))
            n = len(arrays[0])
            block = {(column.name, column.numeric): of[vector.name] for column, vector in wanted.items()}
            yield Block(np.arange(done + 1, done + n + 1), block)
            done += n
        if done != total:
            raise SignalUnreadable(f"signal.file: {self._file!r} promises {total} values and has {done}; it is damaged")

    def value(self, pattern: str) -> float | str:
        """Return the fact that a pattern names, or the value of a vector that has one."""
        facts = {name: fact for name, fact in self._facts.items() if _is_like(name, pattern)}
        if pattern in self._facts:
            return self._facts[pattern]
        if len(facts) == 1:
            return next(iter(facts.values()))
        if facts or "@" in pattern:
            there = ", ".join([*self._facts][:SHOWN_NAMES]) or "nothing"
            raise SignalUnreadable(
                f"variable {pattern!r}: {len(facts) or 'nothing'} of what {self._file!r} says about itself has that "
                f"name, exactly one has to; it says: {there}"
            )
        vector = self.find("variable", pattern)
        if vector.problem:
            raise SignalUnreadable(f"variable: variable {vector.name!r} of {self._file!r} {vector.problem}")
        values = next(self.stream([vector], 1))[0].to_pylist() if vector.n == 1 else []
        if values and isinstance(values[0], str):
            return values[0]
        if not values or values[0] is None or not math.isfinite(values[0]):
            raise SignalUnreadable(
                f"variable {pattern!r} of {self._file!r} is not one finite number (it has {vector.n} values); "
                "declare a value"
            )
        return float(values[0])


def matrix_parts(shape: Sequence[int]) -> tuple[int, int] | None:
    """Return how a matrix is taken apart: the axis along which its vectors lie, and their number; None: it is not."""
    if len(shape) != 2 or 1 in shape or 0 in shape:
        return None
    along = 0 if shape[0] >= shape[1] else 1
    return (along, shape[1 - along]) if shape[1 - along] <= MOST_COLUMNS else None


def regrouped(parts: Iterable[NDArray[Any]], count: int) -> Iterator[NDArray[Any]]:
    """Yield the values of arrays that come one after another, `count` at a time."""
    waiting: list[NDArray[Any]] = []
    n_waiting = 0
    for part in parts:
        waiting.append(part)
        n_waiting += len(part)
        if n_waiting < count:
            continue
        whole = np.concatenate(waiting) if len(waiting) > 1 else part
        end = n_waiting - n_waiting % count
        for at in range(0, end, count):
            yield whole[at : at + count]
        waiting, n_waiting = [whole[end:].copy()], n_waiting - end
    if n_waiting:
        yield np.concatenate(waiting)


def _is_like(name: str, pattern: str) -> bool:
    """Return whether a name fits a glob; names such as `effort[2]` have brackets, which may stand for themselves."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, pattern.replace("[", "[[]"))
