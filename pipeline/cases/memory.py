"""Case memory: what engineers found in cases that look alike, as a figure of its own beside the model's.

A verdict changes its look-alikes without any training. The figure adds suspicion, or moves a case down the queue; it
never clears an alarm, never changes a figure of the model, and never closes a case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.cases.similar import similarity

MOST_UNITS: Final = 5
NEAR: Final = 2 / 3
"""Similarity: an answered case that is less alike says nothing. A mean difference of 2 spreads."""

PRIOR: Final = 0.25
"""Weight of knowing nothing (a figure of 0.5), in votes of a teardown on a case that is wholly alike."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Remembered:
    """What answered cases say about a case.

    Attributes
    ----------
    figure : float or None
        0 (the look-alikes were healthy) to 1 (they were faulty); 0.5 where they disagree; None where nothing is near.
    votes : int64 array, shape (m,)
        Indices of the answered cases that it rests on, the most similar first; one a unit.
    similarity, weight : float64 array, shape (m,)
        Of each of them. The weight is that of the evidence times nearness, 0 (at the limit) to 1 (the same).
    """

    figure: float | None
    votes: npt.NDArray[np.int64]
    similarity: Numbers
    weight: Numbers


def remembered(
    moved: Numbers,
    answered: Numbers,
    is_fault: npt.NDArray[np.bool_],
    evidence_weight: Numbers,
    unit: npt.NDArray[Any],
    *,
    most_units: int = MOST_UNITS,
    near: float = NEAR,
    prior: float = PRIOR,
) -> Remembered:
    """Return what the nearest answered units say about a case.

    Of each unit only the most similar answered case votes. The figure is the mean of the findings (fault: 1, healthy:
    0) weighted by evidence and nearness, together with a prior of 0.5, so that one weak vote says little.

    Parameters
    ----------
    moved : float64 array, shape (F,)
        Of the case: each feature's distance from the unit's own baseline, in its spreads; NaN where not known.
    answered : float64 array, shape (n, F)
        The same of the answered cases, of the same quantity and feature version.
    is_fault : bool array, shape (n,)
        The finding of each.
    evidence_weight : float64 array, shape (n,)
        Weight of each finding by its evidence, at least 0; one of weight 0 does not vote.
    unit : array, shape (n,)
        Name of the physical unit of each.
    most_units
        So many units vote at most: the nearest.
    near
        Least similarity of a vote, 0 to below 1 (`pipeline.cases.similar.similarity`).
    prior
        Weight of a figure of 0.5; above 0.

    Examples
    --------
    >>> faulty = np.array([True, True, False])
    >>> told = remembered(np.zeros(2), np.array([[0.0, 0], [0, 0], [9, 9]]), faulty, np.ones(3), np.array(["a", "a", "b"]))
    >>> told.figure, told.votes.tolist()
    (0.9, [0])
    """
    alike = np.where(evidence_weight > 0, similarity(moved, answered), np.nan)
    order = np.argsort(-np.nan_to_num(alike, nan=-1.0), kind="stable")
    order = order[alike[order] > near]
    _, first = np.unique(unit[order], return_index=True)
    votes = order[np.sort(first)][:most_units]
    weight = evidence_weight[votes] * (alike[votes] - near) / (1.0 - near)
    figure = None
    if votes.size:
        figure = round(float((0.5 * prior + weight[is_fault[votes]].sum()) / (prior + weight.sum())), 6)
    return Remembered(figure, votes, alike[votes], weight)
