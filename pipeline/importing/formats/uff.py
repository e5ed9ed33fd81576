"""Universal files, dataset 58 (functions at nodal points): one vector `1`, `2`, ... for each, in text or binary.

Source: Structural Dynamics Research Corporation, Universal File Datasets, dataset 58 and 58b; its fields have fixed
columns. The public library for it holds whole files in memory and does not see that a dataset is binary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.importing.formats.vectors import Vector, VectorSignals, regrouped
from pipeline.importing.problems import SignalUnreadable

MARK: Final = b"    -1"
HEAD_LINES: Final = 11
LINE_BYTES: Final = 1 << 12
MOST_SETS: Final = 10_000
WIDTHS: Final = {2: 13, 4: 20}
"""Characters of a number of single and double precision; the abscissa beside a double one has 13."""


@dataclass(frozen=True)
class _Set:
    """Where the numbers of a dataset begin, and how they are written: as text, or as items of bytes.

    `precision` is 2 (single) or 4 (double).
    """

    at: int
    n: int
    precision: int
    is_even: bool
    item: np.dtype[np.void] | None = None


EXPONENTS: Final = bytes.maketrans(b"dD", b"ee")


class UffSignals(VectorSignals):
    """Each dataset 58 is a vector; it says `1@rate` where it is sampled evenly in time, `1@id1`, `1@unit` and more."""

    def __init__(self, path: Path, file: str) -> None:
        self._path = path
        vectors: list[Vector] = []
        facts: dict[str, float | str] = {}
        try:
            with path.open("rb") as raw:
                for number, (found, said) in enumerate(_sets(raw, path.stat().st_size), 1):
                    facts |= {f"{number}@{key}": value for key, value in said.items()}
                    problem = "" if isinstance(found, _Set) else found
                    vectors.append(Vector(str(number), found.n if isinstance(found, _Set) else 0, problem, at=found))
        except OSError as error:
            raise SignalUnreadable(f"signal.file: {file!r} cannot be read ({error.strerror or error})") from error
        except ValueError as error:
            raise SignalUnreadable(f"signal.file: {file!r} is a damaged universal file ({error})") from error
        if not vectors:
            raise SignalUnreadable(f"signal.file: {file!r} has no dataset 58")
        super().__init__(file, vectors, facts)

    def stream(self, vectors: Sequence[Vector], count: int) -> Iterator[list[pa.Array]]:
        """Yield the ordinates of datasets of the same length."""
        try:
            for parts in zip(*(self._one(vector.at, count) for vector in vectors), strict=True):
                yield [pa.array(part) for part in parts]
        except OSError as error:
            raise SignalUnreadable(f"signal.file: {self._file!r} cannot be read ({error})") from error
        except ValueError as error:
            raise SignalUnreadable(f"signal.file: {self._file!r} is a damaged universal file ({error})") from error

    def _one(self, found: _Set, count: int) -> Iterator[NDArray[np.float64]]:
        """Yield the ordinates of a dataset, `count` at a time."""
        read = _text if found.item is None else _binary
        with self._path.open("rb") as raw:
            raw.seek(found.at)
            yield from regrouped(read(raw, found, count), count)


def _sets(raw: IO[bytes], size: int) -> Iterator[tuple[_Set | str, dict[str, float | str]]]:
    """Yield each dataset 58, or why its numbers are not read, and what its head says."""
    n = 0
    while (line := raw.readline(LINE_BYTES)) and n < MOST_SETS:
        if not line.startswith(MARK) or line.strip() != b"-1":
            if line.strip():
                raise ValueError(f"a dataset begins with -1, not with {line[:20]!r}")
            continue
        kind = raw.readline(LINE_BYTES).decode("ascii", "replace")
        if not kind[:6].strip().isdigit():
            raise ValueError(f"{kind[:10]!r} is no dataset")
        if kind[:6].strip() == "58":
            n += 1
            found, said, end = _set(raw, kind)
            if end is not None:
                if end > size:
                    raise ValueError("it ends in the middle of a dataset")
                raw.seek(end)
            yield found, said
        _skip(raw)


def _skip(raw: IO[bytes]) -> None:
    while line := raw.readline(LINE_BYTES):
        if line.startswith(MARK) and line.strip() == b"-1":
            return
    raise ValueError("it ends in the middle of a dataset")


def _set(raw: IO[bytes], kind: str) -> tuple[_Set | str, dict[str, float | str], int | None]:
    """Return a dataset 58, what its head says, and where its numbers end, if that is known without reading them."""
    head = [raw.readline(LINE_BYTES).decode("latin-1").rstrip("\r\n") for _ in range(HEAD_LINES)]
    form, abscissa, ordinate = (line.ljust(80) for line in (head[6], head[7], head[8]))
    said: dict[str, float | str] = {f"id{at}": line.strip() for at, line in enumerate(head[:5], 1)}
    said |= {"node": head[5][41:51].strip(), "direction": head[5][51:55].strip()}
    said |= {"quantity": ordinate[26:46].strip(), "unit": ordinate[47:67].strip()}
    said["abscissa"] = abscissa[26:46].strip()
    precision, n, even = (int(form[at : at + 10]) for at in (0, 10, 20))
    step = float(form[43:56].strip() or 0)
    if even and step > 0 and abscissa[:10].strip() == "17":  # time
        said["rate"] = 1 / step
    if n < 0:
        raise ValueError("a dataset has fewer than no numbers")
    if precision not in WIDTHS:
        return f"has numbers of kind {precision} (complex?), not real ones", said, None
    if kind[6:7].lower() != "b":
        return _Set(raw.tell(), n, precision, bool(even)), said, None
    order, floats, n_bytes = kind[7:13].strip(), kind[13:19].strip(), int(kind[31:43])
    if floats != "2":
        return f"has floating-point numbers of kind {floats}, not IEEE 754", said, raw.tell() + n_bytes
    mark = "<" if order == "1" else ">"
    wide = f"{mark}f{2 * precision}"
    pairs = (
        [np.dtype([("y", wide)])] if even else [np.dtype([("x", x), ("y", wide)]) for x in (f"{mark}f4", f"{mark}f8")]
    )
    item = next((pair for pair in pairs if pair.itemsize * n == n_bytes), None)
    if item is None:
        raise ValueError(f"a dataset has {n_bytes} bytes for {n} numbers")
    return _Set(raw.tell(), n, precision, bool(even), item), said, raw.tell() + n_bytes


def _binary(raw: IO[bytes], found: _Set, count: int) -> Iterator[NDArray[np.float64]]:
    item, left = found.item, found.n
    assert item is not None
    while left:
        data = raw.read(min(left, count) * item.itemsize)
        if len(data) % item.itemsize or not data:
            raise ValueError("the numbers of a dataset are cut off")
        yield np.frombuffer(data, item)["y"].astype(np.float64)
        left -= len(data) // item.itemsize


def _text(raw: IO[bytes], found: _Set, count: int) -> Iterator[NDArray[np.float64]]:
    width, left = WIDTHS[found.precision], found.n
    cell = np.dtype([("y", f"S{width}")] if found.is_even else [("x", "S13"), ("y", f"S{width}")])
    per_line = 80 // cell.itemsize
    letters = per_line * cell.itemsize
    while left:
        n = min(left, max(per_line, count // per_line * per_line))
        lines = [raw.readline(LINE_BYTES).rstrip(b"\r\n").ljust(letters)[:letters] for _ in range(-(-n // per_line))]
        text = b"".join(lines).translate(EXPONENTS)
        yield np.frombuffer(text, cell)["y"][:n].astype(np.float64)
        left -= n
