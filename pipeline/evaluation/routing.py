"""What axiswatch would do with a scored window: the rules of `pipeline.cases.axis_state`, for each window alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.judging.metrics import REVIEWED, missed_after_review, reviewed_windows
from models.model import Model, Scores
from pipeline.cases.axis_state import (
    ALARM,
    DATA_FAULT,
    AxisFigures,
    ScoredWindow,
    Thresholds,
    combine_channels,
    windows_of,
)
from pipeline.scoring.levels import routed_entropies
from pipeline.scoring.score import figures_of
from review.statements import is_clear

MODEL = "evaluated"
FAULT = "fault"


@dataclass(frozen=True, eq=False)
class Routed:
    """What would be done with n windows.

    Attributes
    ----------
    review : bool array, shape (n,)
        The window is in doubt: a flag says so, or it is called faulty and the part is open (`leaves_part_open`).
    alarm, data : bool array, shape (n,)
        Judged as a known fault; judged as a fault of sensor or data.
    order : float64 array, shape (n,)
        The higher, the earlier it is reviewed, see `review_order`.
    """

    review: NDArray[np.bool_]
    alarm: NDArray[np.bool_]
    data: NDArray[np.bool_]
    order: NDArray[np.float64]


def judged_windows(
    model: Model, scores: Scores, *, quality: NDArray[np.str_], channel: NDArray[np.str_], program: NDArray[np.str_]
) -> list[ScoredWindow]:
    """Return scored windows as `advise` reads them; a window with a bad quality verdict has no figures.

    Parameters
    ----------
    model, scores
        The model and its scores of n windows.
    quality, channel, program
        (n,) data-quality verdict, channel and program of each; '' where the program is not known.
    """
    scored = figures_of(scores, model.classes, quality.tolist(), [""] * len(quality))
    return windows_of(scored, channel=channel.tolist(), program=program.tolist(), model_version=MODEL)


def route(windows: list[ScoredWindow], limits: Thresholds, model: Model) -> Routed:
    """Apply the rules to each window by itself; of a model that tells nothing, every window is in doubt."""
    states = [combine_channels([window], {MODEL: limits}) for window in windows]
    codes = [doubts_of(figures) for figures in states]
    percentile = np.array([_highest_percentile(window, model) for window in windows])
    doubtful = [
        bool(code or limits.tells_nothing or leaves_part_open(figures))
        for code, figures in zip(codes, states, strict=True)
    ]
    review: NDArray[np.bool_] = np.array(doubtful, dtype=np.bool_)
    data: NDArray[np.bool_] = np.array([figures.state == DATA_FAULT for figures in states], dtype=np.bool_)
    order = review_order(
        np.array([bool(set(code) & set(FIRST)) for code in codes], dtype=np.bool_),
        np.array([np.nan if w.unmodelled_probability is None else w.unmodelled_probability for w in windows]),
        np.array([np.nan if w.fault_probability is None else w.fault_probability for w in windows]),
        percentile,
        called_faulty=CALLED_FAULTY,
    )
    return Routed(
        review=review,
        alarm=np.array([figures.state == ALARM for figures in states], dtype=np.bool_),
        data=data,
        order=np.where(data & ~review, LAST, order),
    )


CALLED_FAULTY: Final = 0.5
"""Fault probability from which on the figures of an evaluation call a window faulty, whatever a plant's levels are."""

LAST: Final = -2.0
"""Place in the order of review of a window that is blocked and not flagged: after all others."""

STRANGE: Final = 0.3
"""Probability of a fault without a class from which on a window is reviewed first, though nothing is named yet."""

FIRST = ("unmodelled", "new_program")
"""Doubts that are reviewed first: the window has something that was not in the training, whatever its probability."""


def review_order(
    first: NDArray[np.bool_],
    unmodelled: NDArray[np.float64],
    fault_probability: NDArray[np.float64],
    percentile: NDArray[np.float64],
    *,
    called_faulty: float,
) -> NDArray[np.float64]:
    """Order windows by the risk of not reviewing them.

    Windows with a doubt of `FIRST`, or `STRANGE`, come first. Next are windows that are called healthy, those with the
    highest fault probability first: there a fault is most likely missed. A window that is called faulty opens a case
    anyway, so these come last, the least certain ones first. Without fault probabilities, the highest percentile
    decides.

    Parameters
    ----------
    first
        (n,) whether the window has a doubt of `FIRST`.
    unmodelled
        (n,) probability of a fault without a class; NaN: not defined.
    fault_probability
        (n,) NaN: not defined, or no score.
    percentile
        (n,) 0 to 100, highest percentile among held-out units of any of the window's uncertainties.
    called_faulty
        Fault probability from which on a window is called faulty.

    Returns
    -------
    numpy.ndarray
        float64 (n,): the higher, the earlier. A window without a score gets 1 where others have fault probabilities.
    """
    if np.isnan(fault_probability).all():
        cost = percentile / 100.0
    else:
        quiet = fault_probability < called_faulty
        cost = np.where(quiet, fault_probability, -fault_probability)
        cost = np.where(np.isnan(fault_probability), 1.0, cost)
    strange = np.nan_to_num(unmodelled)
    return np.where(first | (strange >= STRANGE), 2.0 + strange, cost)


def doubts_of(figures: AxisFigures) -> list[str]:
    """Return the codes of the flags that send a window to review: neither a known fault nor a fault of the data."""
    return [flag.code for flag in figures.flags if flag.code not in (FAULT, "data", "silent")]


def leaves_part_open(figures: AxisFigures) -> bool:
    """Return whether a window is called faulty, and no part is probable enough for the statement of a case to name it.

    A model without a healthy class takes every window for faulty.
    """
    called = figures.state == ALARM or figures.fault_probability is None
    return called and not is_clear(figures.fault.fault_shares)


def _highest_percentile(window: ScoredWindow, model: Model) -> float:
    percentiles = [window.novelty_percentile or 0.0]
    for name in routed_entropies(model.quantiles):
        value = getattr(window, name)
        if value is not None and name in model.quantiles:
            percentiles.append(float(model.percentile(name, np.array([value]))[0]))
    return max(percentiles)


FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

FLEET_FIGURES: Final = (
    "missed_after_review_10",
    "unseen_class_reviewed_10",
    "unseen_program_reviewed_10",
    "fault_share",
)
"""Names of the figures of `fleet_figures`, in order."""


def reviewed_share(order: FloatArray, *, share: float = REVIEWED) -> FloatArray:
    """Return for each of n windows the share of it that is reviewed.

    1 or 0; windows that tie at the edge share the rest equally, so that their order does not matter.

    Parameters
    ----------
    order
        (n,) the highest values are reviewed.
    share
        Share of the windows that is reviewed, in (0, 1).
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
        (n,) whether the machine has a fault; the unseen class counts as one.
    called_healthy
        (n,) fault probability below `CALLED_FAULTY`, or no score.
    unseen_class, unseen_program
        (n,) whether the window has the class or the program that was not in the training.

    Returns
    -------
    dict
        missed_after_review_10: share of missed faults among the windows not reviewed. unseen_class_reviewed_10,
        unseen_program_reviewed_10: share of those windows that are reviewed. fault_share: share of faults among all
        windows. None where a figure is not defined.
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
