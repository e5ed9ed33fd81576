"""HDF5 files, and MATLAB v7.3 files, which are HDF5 inside. Runs in another process, see `apart`.

Nothing outside the file is read: links that lead out of it, datasets put together of others, and filters that HDF5
itself does not have are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import pyarrow as pa

from pipeline.importing.formats.interface import LIST_ROWS
from pipeline.importing.formats.mat import NOT_NUMBERS, by_name, vectors_of
from pipeline.importing.formats.vectors import Vector, VectorSignals, matrix_parts

MOST_DATASETS: Final = 10_000
DEEPEST: Final = 16
ROWS: Final = "rows"
"""In place of an axis: each row of a matrix is a value of its own."""

MOST_LETTERS: Final = 1 << 16
CACHE_BYTES: Final = 1 << 26
MOST_CHUNK: Final = 1 << 28
"""Bytes of a chunk: it is unpacked whole, so a larger one is refused."""

MOST_CHUNKS: Final = 4096
"""Chunks that are read at a time: the library takes about 2 KiB for each."""

FILTERS: Final = (1, 2, 3, 4, 5, 6, 32000)
"""Deflate, shuffle, Fletcher-32, szip, n-bit, scale-offset, LZF: what comes with the library."""


class Hdf5Signals(VectorSignals):
    """Datasets by path: `run1/acc`, columns `run1/acc[:, 0]`, fields `run1/table.acc`, attributes `run1/acc@rate`."""

    def __init__(self, path: Path, file: str, *, by_row: bool = False) -> None:
        """Read what is there; `by_row`: a row of a matrix is a recording, so a matrix is a vector of lists."""
        self._path, self._by_row = path, by_row
        self._facts_found: dict[str, float | str] = {}
        with self._opened() as opened:
            vectors = list(self._list(opened))
        super().__init__(file, vectors, self._facts_found)

    def _opened(self) -> h5py.File:
        return h5py.File(self._path, "r", rdcc_nbytes=CACHE_BYTES, locking=False)

    def _list(self, opened: h5py.File) -> Iterator[Vector]:
        self._note(opened, "")
        for name, dataset in _walk(opened, "", 0, set()):
            self._note(dataset, name)
            if isinstance(dataset, h5py.Dataset):
                yield from self._taken_apart(name, dataset)

    def _note(self, item: h5py.Group | h5py.Dataset, name: str) -> None:
        for key in item.attrs:
            with suppress(TypeError):  # of a type that NumPy does not have: no number and no text
                fact = _fact(item.attrs[key])
                if fact is not None:
                    self._facts_found[f"{name}@{key}"] = fact

    def _taken_apart(self, name: str, dataset: h5py.Dataset) -> Iterator[Vector]:
        """Yield the vectors of a dataset; `at` is (path, field, axis along which it lies, index)."""
        problem = _cannot(dataset)
        if problem:
            yield Vector(name, dataset.size or 0, problem)
            return
        fields = dataset.dtype.names
        for field in fields or (None,):
            kind = dataset.dtype if field is None else dataset.dtype[field]
            own = name if field is None else f"{name}.{field}"
            if self._by_row and dataset.ndim == 2 and kind.kind in "iuf" and not kind.shape:
                yield Vector(own, dataset.shape[0], at=(dataset.name, field, ROWS, 0))
            else:
                yield from _of_shape(own, dataset, kind, field)

    def stream(self, vectors: Sequence[Vector], count: int) -> Iterator[list[pa.Array]]:
        """Yield the values of vectors of the same length."""
        if self._by_row:
            count = LIST_ROWS
        with self._opened() as opened:
            sets = [None if isinstance(vector.at, str) else opened[vector.at[0]] for vector in vectors]
            for one in sets:
                if one is not None and one.chunks:
                    count = min(count, MOST_CHUNKS * one.chunks[int(np.argmax(one.shape))])
            for low in range(0, vectors[0].n, count):
                high = min(low + count, vectors[0].n)
                yield [_read(one, vector, low, high) for one, vector in zip(sets, vectors, strict=True)]


class Mat73Signals(Hdf5Signals):
    """Variables, fields `s.acc`, elements `Y(7).Data`, cells `c{2}` and columns `acc(:,2)`, named as in MATLAB."""

    def _list(self, opened: h5py.File) -> Iterator[Vector]:
        self._left = MOST_DATASETS
        items = {name: _hard(opened, name) for name in opened if not name.startswith("#")}
        vectors = [
            vector for name, item in items.items() if item is not None for vector in self._parts(opened, name, item, 0)
        ]
        yield from vectors
        yield from by_name(vectors)

    def _parts(self, opened: h5py.File, name: str, item: h5py.Group | h5py.Dataset, depth: int) -> Iterator[Vector]:
        self._left -= 1
        if self._left < 0 or depth > DEEPEST:
            return
        if isinstance(item, h5py.Group):
            yield Vector(name, 0, f"is struct, not a vector; {NOT_NUMBERS['struct'].format(name=name)}", is_hidden=True)
            for field in item:
                inside = _hard(item, field)
                if inside is None:
                    continue
                if isinstance(inside, h5py.Dataset) and _is_element(inside):
                    for number, one in enumerate(_targets(opened, inside), 1):
                        yield from self._parts(opened, f"{name}({number}).{field}", one, depth + 1)
                else:
                    yield from self._parts(opened, f"{name}.{field}", inside, depth + 1)
            return
        kind = _class_of(item)
        if problem := _cannot(item):
            yield Vector(name, item.size or 0, problem)
        elif _is_references(item):
            yield Vector(name, 0, f"is cell, not a vector; {NOT_NUMBERS['cell'].format(name=name)}", is_hidden=True)
            for number, one in enumerate(_targets(opened, item), 1):
                yield from self._parts(opened, f"{name}{{{number}}}", one, depth + 1)
        elif "MATLAB_empty" in item.attrs:
            yield Vector(name, 0, "is empty")
        elif kind == "char" and item.dtype.kind == "u" and item.size <= MOST_LETTERS:
            yield Vector(name, 1, is_text=True, at="".join(map(chr, np.ravel(item[()]).tolist())))
        elif item.dtype.kind not in "iuf" or kind in ("char", "logical"):
            what = "complex" if item.dtype.names else kind or str(item.dtype)
            yield Vector(name, item.size or 0, f"is {what}, not a vector of real numbers; save the signal as one")
        else:
            # MATLAB writes columns first: its rows are the last axis here.
            for one in vectors_of(name, item.shape[::-1], item.name):
                at = one.at and (one.at[0], None, None if one.at[1] is None else 1 - one.at[1], one.at[2])
                yield Vector(one.name, one.n, one.problem, is_hidden=one.is_hidden, at=at)


def _walk(
    group: h5py.Group, prefix: str, depth: int, seen: set[Any]
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Yield what is in a group and below it, each thing once."""
    for name in group:
        if len(seen) >= MOST_DATASETS:
            return
        item = _hard(group, name)
        if item is None or item.id.__hash__() in seen:
            continue
        seen.add(item.id.__hash__())
        yield prefix + name, item
        if isinstance(item, h5py.Group) and depth < DEEPEST:
            yield from _walk(item, f"{prefix}{name}/", depth + 1, seen)


def _hard(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """Return what a name of a group means, unless it is a link to another place or file, or a type."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    item = group[name]
    return item if isinstance(item, h5py.Group | h5py.Dataset) else None


def _cannot(dataset: h5py.Dataset) -> str:
    """Return why a dataset is not read; '' where it can be."""
    if dataset.external:
        return "has its values in another file, which is not read; write them into this one"
    if dataset.is_virtual:
        return "is put together of other datasets, which is not read; write it as one"
    if dataset.shape is None:
        return "is empty"
    plan = dataset.id.get_create_plist()
    for at in range(plan.get_nfilters()):
        code, _, _, text = plan.get_filter(at)
        if code not in FILTERS:
            packed = f"is packed with filter {code} ({text.decode(errors='replace')})"
            return f"{packed}, which is not read; repack it (h5repack)"
    if dataset.chunks and int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize > MOST_CHUNK:
        return f"has chunks of more than {MOST_CHUNK >> 20} MiB; write it in smaller ones (h5repack)"
    return ""


def _of_shape(name: str, dataset: h5py.Dataset, kind: np.dtype[Any], field: str | None) -> Iterator[Vector]:
    is_text = h5py.check_string_dtype(kind) is not None
    if not is_text and (kind.kind not in "iufb" or kind.shape):
        yield Vector(name, dataset.size, f"is {kind}, not numbers")
        return
    shape = dataset.shape
    if sum(size != 1 for size in shape) <= 1 or dataset.size == 0:
        yield Vector(name, dataset.size, is_text=is_text, at=(dataset.name, field, None, 0))
        return
    parts = matrix_parts(shape)
    what = f"is a matrix of {' x '.join(map(str, shape))}, not a vector"
    if parts is None:
        yield Vector(name, dataset.size, f'{what}; layout = "row" takes each row as a recording')
        return
    along, number = parts
    place = "[:, {}]" if along == 0 else "[{}, :]"
    yield Vector(name, dataset.size, f"{what}; name one, such as {name + place.format(0)!r}", is_hidden=True)
    for index in range(number):
        yield Vector(name + place.format(index), shape[along], is_text=is_text, at=(dataset.name, field, along, index))


def _read(dataset: h5py.Dataset | None, vector: Vector, low: int, high: int) -> pa.Array:
    if dataset is None:
        return pa.array([vector.at])
    _, field, along, index = vector.at
    if along is ROWS:
        rows = dataset[low:high] if field is None else dataset.fields(field)[low:high]
        values = pa.array(np.ravel(rows).astype(rows.dtype.newbyteorder("=")))
        return pa.ListArray.from_arrays(np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1], values)
    if along is None and dataset.ndim:
        along = int(np.argmax(dataset.shape))
    where = tuple(slice(low, high) if axis == along else index for axis in range(dataset.ndim))
    values = np.atleast_1d(dataset[where] if field is None else dataset.fields(field)[where])
    if vector.is_text:
        return pa.array([one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in values])
    if values.dtype.kind == "b":
        values = values.astype(np.int8)
    return pa.array(values.astype(values.dtype.newbyteorder("=")))


def _class_of(item: h5py.Group | h5py.Dataset) -> str:
    value = item.attrs.get("MATLAB_class", b"")
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _is_references(dataset: h5py.Dataset) -> bool:
    return h5py.check_ref_dtype(dataset.dtype) is h5py.Reference


def _is_element(dataset: h5py.Dataset) -> bool:
    """Return whether a field of a struct is the references to that field of each element of a struct array."""
    return _is_references(dataset) and not _class_of(dataset) and not _cannot(dataset)


def _targets(opened: h5py.File, dataset: h5py.Dataset) -> Iterator[h5py.Group | h5py.Dataset]:
    """Yield what the references of a dataset lead to, in the order of MATLAB."""
    if dataset.size > MOST_DATASETS:
        return
    for reference in np.ravel(dataset[()]):
        if reference:
            item = opened[reference]
            if isinstance(item, h5py.Group | h5py.Dataset):
                yield item


def _fact(value: Any) -> float | str | None:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, str):
        return value
    numbers = np.ravel(np.asarray(value))
    if len(numbers) == 1 and numbers.dtype.kind in "iufb":
        return float(numbers[0])
    if len(numbers) == 1 and numbers.dtype.kind in "SU":
        return _fact(numbers[0].item())
    return None
