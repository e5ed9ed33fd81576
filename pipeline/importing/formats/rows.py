"""Files in which a row is a recording: its samples stand in many columns, or in one column of lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.importing.formats.interface import Block, ReadColumn, SignalFile
from pipeline.importing.problems import SignalUnreadable


class RowSignals:
    """Another file, read row by row: the samples of a row after one another, its other cells beside each of them.

    The name of a signal is a pattern of columns, whose order is that of the samples. A row is whole in a block.
    """

    def __init__(self, inner: SignalFile, file: str) -> None:
        self._inner, self._file = inner, file
        self.names = inner.names

    @property
    def dropped(self) -> Sequence[int]:
        """Rows of the file that were left out in reading."""
        return self._inner.dropped

    def rows_of(self, column: str) -> str:
        """Return the column: each signal is read alone."""
        return column

    def n_rows(self, columns: Sequence[ReadColumn]) -> int | None:
        """Return None: only reading tells how many samples the rows have."""
        return None

    def blocks(self, columns: Sequence[ReadColumn]) -> Iterator[Block]:
        """Yield the samples of the first column (a pattern), with the other columns."""
        signal, others = columns[0], list(dict.fromkeys(columns[1:]))
        names = [name for name in dict.fromkeys(self._inner.names) if fnmatchcase(name, signal.name)]
        if not names:
            there = ", ".join(map(repr, self._inner.names[:20]))
            raise SignalUnreadable(
                f"{signal.key}: no column of {self._file!r} matches {signal.name!r}; it has: {there}"
            )
        wanted = [ReadColumn(signal.key, name, True) for name in names]
        for block in self._inner.blocks([*wanted, *others]):
            cells = [block.columns[name, True] for name in names]
            if len(cells) == 1 and pa.types.is_nested(cells[0].type):
                lengths = pc.fill_null(pc.list_value_length(cells[0]), 0).to_numpy(zero_copy_only=False)
                values = cells[0].flatten()
            else:
                lengths = np.full(len(block.numbers), len(cells))
                floats = [cell.cast(pa.float64()).to_numpy(zero_copy_only=False) for cell in cells]
                values = pa.array(np.stack(floats, axis=1).ravel(), from_pandas=True)
            rows = np.repeat(np.arange(len(block.numbers)), lengths)
            beside = {(name, number): block.columns[name, number].take(pa.array(rows)) for _, name, number in others}
            yield Block(block.numbers[rows], {(signal.name, signal.numeric): values, **beside})

    def value(self, pattern: str) -> float | str:
        """Return what the file says about itself."""
        return self._inner.value(pattern)
