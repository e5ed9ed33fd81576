"""Which features a network is not shown: level and spectral shape, where the change against the baseline is known.

How loud a unit is and what its spectrum looks like is its own, its mount's and its sensor's: a network that learns
"loud means faulty" from one plant says so of every unit of a louder one. What changed since the unit was new carries
over. So where a training set has changes, the network learns from them and from lines (which are relative to their own
surroundings), not from levels. A column that no training window has is none of the network's inputs, in scoring too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.extraction.baseline import RELATIVE

OWN_GROUPS: Final = ("time", "spectrum", "bands", "profile")
"""Feature groups that tell a unit's own level and spectral shape."""


def own_levels(x: NDArray[np.float32], names: Sequence[str], groups: Sequence[str]) -> NDArray[np.bool_]:
    """Return which columns (F,) tell a level or shape whose change is known for at least half of the windows having it.

    Parameters
    ----------
    x
        (n, F) features of the training windows and their changes, NaN = missing.
    names, groups
        Name and group of each column; a change has the name of its feature behind `relative_`.
    """
    place = {name: number for number, name in enumerate(names)}
    there = np.isfinite(x)
    found = np.zeros(len(names), dtype=np.bool_)
    for number, (name, group) in enumerate(zip(names, groups, strict=True)):
        change = place.get(RELATIVE + name)
        if group in OWN_GROUPS and change is not None:
            found[number] = 2 * there[:, change].sum() >= max(int(there[:, number].sum()), 1)
    return found


def without(x: NDArray[np.float32], columns: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return x (n, F) with some columns (F,) missing."""
    return np.where(columns, np.float32(np.nan), x)
