"""A unit on both sides is cut in time, with a gap. Its figures are reported as leaked."""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.evaluation.selection import Selection
from pipeline.evaluation.windows import Windows

GAP: Final = 0.1
"""Share of a shared unit's windows, in its middle, that is on neither side."""


def cut_shared(train: Windows, test: Windows, selection: Selection, column: str) -> tuple[Windows, Windows]:
    """Cut in time the windows of rows that are on both sides: the earlier are trained on, the later judged.

    Parameters
    ----------
    train, test
        Windows of either side.
    selection
        The rows of both sides.
    column
        Manifest column that names the unit; each unit is cut by itself.

    Returns
    -------
    Windows, Windows
        Train and test, without the gap in the middle of each unit. Rows on one side alone stay whole.
    """
    both = {row.line for row in selection.train} & {row.line for row in selection.test}
    if not both:
        return train, test
    keep_train, keep_test = np.ones(len(train), dtype=np.bool_), np.ones(len(test), dtype=np.bool_)
    units = test.cells(column)
    for unit in np.unique(units):
        own = (units == unit) & np.isin(test.row, list(both))
        if not own.any():
            continue
        at = np.sort(test.started_s[own])
        low, high = np.quantile(at, [0.5 - GAP / 2, 0.5 + GAP / 2])
        keep_test[own] = test.started_s[own] > high
        mine = (train.cells(column) == unit) & np.isin(train.row, list(both))
        keep_train[mine] = train.started_s[mine] < low
    return train.take(keep_train), test.take(keep_test)
