"""What becomes of a whole fleet when the engineer looks at the 10 % of its windows that come first. Pure functions.

The fleet is everything at once, as in a plant: windows of known conditions, of a fault class and of a program that no
training knew. So the unseen compete with all others for the same review.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.metrics import REVIEWED, missed_after_review, reviewed_windows

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

FLEET_FIGURES: Final = (
    "missed_after_review_10",
    "unseen_class_reviewed_10",
    "unseen_program_reviewed_10",
    "fault_share",
)
"""What `fleet_figures` returns, in its order."""


def reviewed_share(order: FloatArray, *, share: float = REVIEWED) -> FloatArray:
    """Return, for each of n windows, how much of it is reviewed: 1 or 0, and in a tie at the edge the same part each.

    Parameters
    ----------
    order
        (n,) the highest `share` are reviewed.
    """
    k = reviewed_windows(order.size, share)
    edge = np.sort(order)[order.size - k]
    above, tied = order > edge, order == edge
    part = (k - np.count_nonzero(above)) / np.count_nonzero(tied)
    return np.where(above, 1.0, np.where(tied, part, 0.0))


def fleet_figures(
    order: FloatArray,
    *,
    fault: BoolArray,
    called_healthy: BoolArray,
    unseen_class: BoolArray,
    unseen_program: BoolArray,
) -> dict[str, float | None]:
    """Judge a review of 10 % of the windows of a fleet.

    Parameters
    ----------
    order
        (n,) the higher, the earlier a window is reviewed.
    fault
        (n,) whether something is at fault; the unseen class is.
    called_healthy
        (n,) fault probability below 0.5, or no score.
    unseen_class, unseen_program
        (n,) what training could not know.

    Returns
    -------
    dict
        missed_after_review_10: share of missed faults among the windows not reviewed; unseen_class_reviewed_10 and
        unseen_program_reviewed_10: share of those windows that are reviewed; fault_share: of all windows. None where
        not defined.
    """
    if not order.size:
        return dict.fromkeys(FLEET_FIGURES)
    part = reviewed_share(order)
    return {
        "missed_after_review_10": missed_after_review(fault, called_healthy, order),
        "unseen_class_reviewed_10": float(part[unseen_class].mean()) if unseen_class.any() else None,
        "unseen_program_reviewed_10": float(part[unseen_program].mean()) if unseen_program.any() else None,
        "fault_share": float(fault.mean()),
    }
