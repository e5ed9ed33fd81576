"""What every format of signal files has in common: columns are asked for, and blocks of samples come."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BLOCK_CELLS: Final = 1 << 18
"""Cells of a block, all columns that are read together: what bounds the memory, whatever the size of a file."""

LIST_ROWS: Final = 16
"""Rows of a block where a row is a whole recording."""


def block_rows(n_columns: int) -> int:
    """Return the rows of a block with so many columns."""
    return max(1, BLOCK_CELLS // max(1, n_columns))


class ReadColumn(NamedTuple):
    """A column to read: the key of the mapping that names it, its name (or pattern), and whether it must be numbers."""

    key: str
    name: str
    numeric: bool


@dataclass(frozen=True)
class Block:
    """Some samples after one another.

    Attributes
    ----------
    numbers : int64 array, shape (n,)
        Row or line of each sample in the file, for messages.
    columns : dict of (name, numeric) to arrow array
        n values each; null where a cell means no reading.
    """

    numbers: NDArray[np.int64]
    columns: dict[tuple[str, bool], pa.Array]


class SignalFile(Protocol):
    """An opened signal file. Every method raises SignalUnreadable with all reasons why it cannot do its work."""

    @property
    def names(self) -> Sequence[str]:
        """Columns (or variables) of the file."""
        ...

    def rows_of(self, column: str) -> Hashable:
        """Return what columns with the same rows share: signals for which it is equal are read in one pass."""
        ...

    @property
    def dropped(self) -> Sequence[int]:
        """Rows of the file that were left out in reading; known after the last block."""
        ...

    def n_rows(self, columns: Sequence[ReadColumn]) -> int | None:
        """Check columns and return their length, both without reading; None where only reading tells."""
        ...

    def blocks(self, columns: Sequence[ReadColumn]) -> Iterator[Block]:
        """Yield the samples of some columns in their order, in blocks of at most `BLOCK_CELLS` cells."""
        ...

    def value(self, pattern: str) -> float | str:
        """Return what the file says about itself: the variable, property or line that a pattern names."""
        ...
