"""Bags of ROS 2, SQLite (.db3) or MCAP: numbers in messages, by topic and field. Runs in another process, see `apart`.

`/joint_states.effort[elbow]` is the number of a field whose message names its entries, `/imu.linear_acceleration.x` a
plain one, `/joint_states.header.stamp` a time (nanoseconds since 1970), `/joint_states@time` when it was logged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import numpy as np
import pyarrow as pa
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from pipeline.importing.formats.vectors import Vector, VectorSignals
from pipeline.importing.problems import SignalUnreadable

MOST_ENTRIES: Final = 64
"""A field with more entries (an image, a cloud of points) is not taken apart."""

DEEPEST: Final = 8
LIBRARY: Final = (ReaderError, SerdeError, TypesysError, SyntaxError, apsw.Error)
SAFE_TYPE: Final = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+){1,2}")
SAFE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""The library makes Python code of the definitions in a bag, so nothing but names may be in them."""

Get = Callable[[Any], Any]
Reader = Sqlite3Reader | McapReader


@dataclass(frozen=True)
class _Column:
    """A column of a topic: how its value is taken from a message; None: the time when it was logged."""

    topic: str
    get: Get | None
    is_text: bool = False


class BagSignals(VectorSignals):
    """The messages of a topic are rows; each topic has rows of its own."""

    def __init__(self, path: Path, file: str) -> None:
        self._path = path
        vectors: list[Vector] = []
        with self._opened(file) as (reader, store):
            topics: dict[str, list[Connection]] = {}
            for connection in reader.connections:
                topics.setdefault(connection.topic, []).append(connection)
            for topic, connections in topics.items():
                vectors += self._columns(reader, store, topic, connections)
        super().__init__(file, vectors)

    @contextmanager
    def _opened(self, file: str) -> Iterator[tuple[Reader, Typestore]]:
        with self._path.open("rb") as raw:
            is_sqlite = raw.read(6) == b"SQLite"
        reader: Reader = (Sqlite3Reader if is_sqlite else McapReader)(self._path)  # whatever the name of the file
        try:
            reader.open()
            try:
                yield reader, _types(reader.connections)
            finally:
                reader.close()
        except LIBRARY as error:
            raise SignalUnreadable(f"signal.file: {file!r} cannot be read as a bag of ROS 2 ({error})") from error

    def _columns(self, reader: Reader, store: Typestore, topic: str, connections: list[Connection]) -> Iterator[Vector]:
        n = sum(connection.msgcount for connection in connections)
        kinds = sorted({connection.msgtype for connection in connections})
        problem = ""
        if len(kinds) > 1:
            problem = f"has messages of several types ({', '.join(kinds)}), which is not read"
        elif kinds[0] not in store.fielddefs:
            problem = f"has messages of type {kinds[0]}, whose definition is not in the bag (ros2 bag convert adds it)"
        first = None if problem else next(reader.messages(connections), None)
        if first is None:
            yield Vector(topic, n, problem or "has no message")
            return
        if bytes(first[2][:4]) == b"\x28\xb5\x2f\xfd":
            yield Vector(topic, n, "has messages packed one by one, which is not read; ros2 bag convert unpacks them")
            return
        message = store.deserialize_cdr(first[2], kinds[0])
        for name, get, value, is_hidden in _leaves(message, topic, lambda one: one, 0):
            at = _Column(topic, get, isinstance(value, str))
            yield Vector(name, n, _problem(value), isinstance(value, str), is_hidden, at)
        yield Vector(f"{topic}@time", n, at=_Column(topic, None))

    def rows_of(self, column: str) -> str:
        """Return the topic: its fields have the same rows."""
        try:
            at = self.find("", column).at
        except SignalUnreadable:
            return column
        return at.topic if at is not None else column

    def stream(self, vectors: Sequence[Vector], count: int) -> Iterator[list[pa.Array]]:
        """Yield the values of columns of one topic."""
        columns: list[_Column] = [vector.at for vector in vectors]
        topics = sorted({column.topic for column in columns})
        if len(topics) > 1:
            raise SignalUnreadable(f"signal.column: {' and '.join(topics)} of {self._file!r} do not share their rows")
        with self._opened(self._file) as (reader, store):
            connections = [one for one in reader.connections if one.topic == topics[0]]
            rows: list[tuple[Any, ...]] = []
            is_read = any(one.get is not None for one in columns)
            for connection, logged, raw in reader.messages(connections):
                message = store.deserialize_cdr(raw, connection.msgtype) if is_read else None
                rows.append(tuple(logged if one.get is None else one.get(message) for one in columns))
                if len(rows) == count:
                    yield _arrays(rows, columns)
                    rows = []
            if rows:
                yield _arrays(rows, columns)


def _types(connections: Sequence[Connection]) -> Typestore:
    """Return the types that a bag defines, or without any definition those of the newest distribution."""
    if all(one.msgdef.format is MessageDefinitionFormat.NONE for one in connections):
        return get_typestore(Stores.LATEST)
    store = get_typestore(Stores.EMPTY)
    found: dict[str, Any] = {}
    for one in connections:
        if one.msgdef.format is MessageDefinitionFormat.MSG:
            found |= get_types_from_msg(one.msgdef.data, one.msgtype)
        elif one.msgdef.format is MessageDefinitionFormat.IDL:
            for text in re.split(r"={80}\nIDL: .*\n", one.msgdef.data):
                found |= get_types_from_idl(text) if text.strip() else {}
    for name, (constants, entries) in found.items():
        names = [one[0] for one in (*constants, *entries)]
        if not SAFE_TYPE.fullmatch(name) or not all(map(SAFE_NAME.fullmatch, names)):
            raise TypesysError(f"the definition of {name!r:.80} has odd names")
    store.register(found)
    return store


def _leaves(value: Any, name: str, get: Get, depth: int) -> Iterator[tuple[str, Get, Any, bool]]:
    """Yield the numbers and texts of a message: name, how to take it, the value, and whether it is not listed."""
    if not is_dataclass(value):
        yield name, get, value, False
        return
    entries = {field.name: getattr(value, field.name) for field in fields(value) if field.name != "__msgtype__"}
    if set(entries) == {"sec", "nanosec"}:
        yield name, lambda message: _nanoseconds(get(message)), 0, False
        return
    named = _names(entries)
    for key, inside in entries.items():
        own = _attribute(get, key)
        if isinstance(inside, np.ndarray | list) and 0 < len(inside) <= MOST_ENTRIES:
            for index, entry in enumerate(inside):
                has_name = key != "name" and len(named) == len(inside)
                at = f"{name}.{key}[{index}]"
                taken = _entry(own, index, _attribute(get, "name") if has_name else None, named)
                if has_name:
                    by_name = _named_entry(own, _attribute(get, "name"), named[index])
                    yield from _below(entry, f"{name}.{key}[{named[index]}]", by_name, depth, is_hidden=False)
                yield from _below(entry, at, taken, depth, is_hidden=has_name)
        else:
            yield from _below(inside, f"{name}.{key}", own, depth, is_hidden=False)


def _below(value: Any, name: str, get: Get, depth: int, *, is_hidden: bool) -> Iterator[tuple[str, Get, Any, bool]]:
    for one, taken, found, was_hidden in _leaves(value, name, get, depth + 1) if depth < DEEPEST else ():
        yield one, taken, found, is_hidden or was_hidden


def _names(entries: dict[str, Any]) -> list[str]:
    """Return the names of a message's entries, where each has its own (as in sensor_msgs/JointState)."""
    names = entries.get("name")
    if isinstance(names, list) and all(isinstance(one, str) and one for one in names) and len(set(names)) == len(names):
        return list(names)
    return []


def _attribute(get: Get, key: str) -> Get:
    return lambda message: getattr(get(message), key)


def _entry(get: Get, index: int, names: Get | None, first: list[str]) -> Get:
    """Return how an entry is taken by its number; where entries have names, their order has to stay."""

    def take(message: Any) -> Any:
        if names is not None and names(message) != first:
            raise SignalUnreadable("signal.column: the names of the entries change in the bag: name them, not numbers")
        found = get(message)
        return found[index] if index < len(found) else None

    return take


def _named_entry(get: Get, names: Get, name: str) -> Get:
    def take(message: Any) -> Any:
        found, there = get(message), names(message)
        return found[there.index(name)] if name in there and there.index(name) < len(found) else None

    return take


def _nanoseconds(time: Any) -> int | None:
    return None if time is None else int(time.sec) * 1_000_000_000 + int(time.nanosec)


def _problem(value: Any) -> str:
    if isinstance(value, int | float | np.number | bool | np.bool_ | str):
        return ""
    return f"is {type(value).__name__}{f' of {len(value)} entries' if hasattr(value, '__len__') else ''}, not a number"


def _arrays(rows: list[tuple[Any, ...]], columns: list[_Column]) -> list[pa.Array]:
    made = []
    for values, column in zip(zip(*rows, strict=True), columns, strict=True):
        if column.is_text:
            made.append(pa.array([None if value is None else str(value) for value in values], pa.string()))
            continue
        is_whole = all(value is None or isinstance(value, int | np.integer) for value in values)
        kind = pa.int64() if is_whole else pa.float64()
        made.append(
            pa.array([None if value is None else (int if is_whole else float)(value) for value in values], kind)
        )
    return made
