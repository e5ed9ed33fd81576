"""The figures of a method's prediction: of all windows, of whole units, and with intervals.

A blocked window (bad data-quality verdict) has no score, whatever the method. It is not right: `accuracy`, `nll`,
`brier` and `missed_after_review_10` count it, with uniform probabilities and not reviewed unless it is flagged. It says
nothing that could be calibrated or ranked: all other figures are of the windows with a good verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.judging.intervals import bootstrap_over_units
from models.judging.metrics import (
    CLASSIFICATION_FIGURES,
    auroc,
    calibration_error,
    classification_figures,
    missed_after_review,
    recalibration_slope,
)
from pipeline.base.figures import finite_or_none
from pipeline.evaluation.methods import Prediction
from pipeline.evaluation.routing import CALLED_FAULTY, FLEET_FIGURES, LAST, fleet_figures
from pipeline.evaluation.windows import EvaluationRows, doubt_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

OF_BLOCKED: Final = ("blocked", "blocked_vote", "nll_scored")
OF_REVIEW: Final = ("review_rate", "wrong_reviewed", "blocked_reviewed")
OF_BAND: Final = ("band_width", "band_coverage")
BY_UNIT: Final = ("ece_by_unit", "slope_by_unit")
UNSEEN_FIGURES: Final = ("unseen_auroc_entropy", "unseen_auroc_mi", "unseen_auroc_novelty", "unseen_auroc_routed")

KNOWN_FIGURES: Final = (*CLASSIFICATION_FIGURES, *OF_BLOCKED, *OF_REVIEW, *BY_UNIT, *OF_BAND)
"""What `known_figures` returns."""

COLUMNS: Final = (
    "accuracy",
    "accuracy_vote",
    "blocked",
    "blocked_vote",
    "macro_auroc",
    "fault_auroc",
    "nll",
    "nll_scored",
    "brier",
    "ece",
    "adaptive_ece",
    *BY_UNIT,
    *OF_BAND,
    "error_auroc",
    "aurc",
    "review_10",
    *UNSEEN_FIGURES,
    "missed_after_review_10",
    *OF_REVIEW,
    "n_units",
    "seconds",
)
"""Columns of a table, in order."""


def columns_of(judged: EvaluationRows) -> tuple[str, ...]:
    """Return the columns of a table, in order; a whole fleet has more of them."""
    return COLUMNS if judged.why_unseen is None else (*COLUMNS[:-2], *FLEET_FIGURES[1:], *COLUMNS[-2:])


def figures(judged: EvaluationRows, prediction: Prediction, healthy: int | None, rows: BoolArray) -> dict[str, Any]:
    """Return the figures of a method's prediction for some windows.

    Parameters
    ----------
    judged
        Windows to judge, n of them.
    prediction
        The method's prediction for all n.
    healthy
        Index of the healthy class; None where all classes are faults.
    rows
        (n,) which windows count. Columns `unseen_*` compare them (negatives) with the unseen windows (positives).

    Returns
    -------
    dict
        By column; None where a figure is not defined.
    """
    metrics: dict[str, Any] = dict.fromkeys(columns_of(judged))
    metrics |= known_figures(
        judged, prediction, healthy, np.flatnonzero(rows), unit=judged.unit[rows], votes=_of(judged.votes, rows)
    )
    unseen = (judged.y < 0) & ~judged.leaked
    either = (rows | unseen) & ~judged.blocked
    scores = (doubt_of(prediction.probabilities), prediction.mutual_information, prediction.novelty, prediction.order)
    for column, score in zip(UNSEEN_FIGURES, scores, strict=True):
        metrics[column] = None if score is None else auroc(unseen[either], score[either])
    metrics["n_units"] = int(np.unique(judged.unit[rows]).size)
    if judged.why_unseen is not None and healthy is not None:
        metrics |= _of_fleet(judged, prediction, healthy, np.flatnonzero(rows | unseen))
    return metrics


def known_figures(
    judged: EvaluationRows,
    prediction: Prediction,
    healthy: int | None,
    rows: IntArray,
    *,
    unit: NDArray[Any],
    votes: NDArray[Any] | None,
) -> dict[str, float | None]:
    """Return `KNOWN_FIGURES` of windows of known classes.

    Parameters
    ----------
    judged, prediction, healthy
        As above.
    rows
        (k,) indices of the windows, which may repeat.
    unit, votes
        (k,) name of the unit, and of the group that votes together or None; a unit that is drawn twice has two names.
    """
    found: dict[str, float | None] = dict.fromkeys(KNOWN_FIGURES)
    if not rows.size:
        return found
    y, blocked, p = judged.y[rows], judged.blocked[rows], prediction.probabilities[rows]
    review = None if prediction.review is None else prediction.review[rows]
    own = ~blocked
    found |= classification_figures(p[own], y[own], healthy=healthy, votes=_of(votes, own))
    found["nll_scored"] = found["nll"]
    found["blocked"] = share = float(blocked.mean())
    classes = p.shape[1]
    found["accuracy"] = (found["accuracy"] or 0.0) * (1.0 - share)
    for name, uniform in (("nll", float(np.log(classes))), ("brier", 1.0 - 1.0 / classes)):
        found[name] = (found[name] or 0.0) * (1.0 - share) + uniform * share
    if votes is not None:
        scored_votes = np.unique(votes[own]).size / np.unique(votes).size
        found["blocked_vote"] = 1.0 - scored_votes
        found["accuracy_vote"] = (found["accuracy_vote"] or 0.0) * scored_votes
    scored = own & np.isfinite(p).all(axis=1)
    if healthy is not None:
        fault = 1.0 - p[:, healthy]
        found["missed_after_review_10"] = missed_after_review(
            y != healthy, ~(fault >= CALLED_FAULTY), np.where(blocked, LAST, doubt_of(p))
        )
        if scored.any():
            _, code, count = np.unique(unit[scored], return_inverse=True, return_counts=True)
            weight = 1.0 / count[code]
            happened: BoolArray = np.asarray(y[scored] != healthy)
            found["ece_by_unit"] = calibration_error(fault[scored], happened, weight=weight)
            found["slope_by_unit"] = recalibration_slope(fault[scored], happened, weight)
    if prediction.band is not None and scored.any():
        low, high = prediction.band[rows[scored]].T
        found["band_width"] = float((high - low).mean())
        if prediction.others is not None:
            said = prediction.others[:, rows[scored]]
            found["band_coverage"] = float(((low <= said) & (said <= high)).mean())
    if review is not None:
        wrong = own & ~(scored & (np.where(scored[:, None], p, 0.0).argmax(axis=1) == y))
        found["review_rate"] = float(review.mean())
        found["wrong_reviewed"] = float(review[wrong].mean()) if wrong.any() else None
        found["blocked_reviewed"] = float(review[blocked].mean()) if blocked.any() else None
    return found


def _of(values: NDArray[Any] | None, rows: NDArray[Any]) -> NDArray[Any] | None:
    return None if values is None else values[rows]


def order_of(judged: EvaluationRows, prediction: Prediction) -> FloatArray:
    """Return the order (n,) of review: the method's own, else by predictive entropy with blocked windows last."""
    if prediction.order is not None:
        return prediction.order
    return np.where(judged.blocked, LAST, doubt_of(prediction.probabilities))


def _of_fleet(judged: EvaluationRows, prediction: Prediction, healthy: int, rows: IntArray) -> dict[str, float | None]:
    """Judge a review of the whole fleet in its order of review."""
    assert judged.why_unseen is not None
    p, why = prediction.probabilities[rows], judged.why_unseen[rows]
    called_healthy: BoolArray = np.asarray(~(1.0 - p[:, healthy] >= CALLED_FAULTY))
    return fleet_figures(
        order_of(judged, prediction)[rows],
        fault=(why == "class") | ((judged.y[rows] >= 0) & (judged.y[rows] != healthy)),
        called_healthy=called_healthy,
        unseen_class=why == "class",
        unseen_program=why == "program",
    )


def intervals_of(
    judged: EvaluationRows, predicted: Sequence[Prediction], healthy: int | None
) -> dict[str, tuple[float, float]]:
    """Return intervals of the mean over seeds, by a bootstrap over units."""
    clean = np.flatnonzero((judged.y >= 0) & ~judged.leaked)
    codes = None if judged.votes is None else np.unique(judged.votes[clean], return_inverse=True)[1]

    def known(rows: IntArray, draw: IntArray) -> dict[str, float | None]:
        votes = None if codes is None else draw * (int(codes.max()) + 1) + codes[rows]
        return _mean_of_seeds(
            KNOWN_FIGURES,
            [
                known_figures(judged, prediction, healthy, clean[rows], unit=draw, votes=votes)
                for prediction in predicted
            ],
        )

    def whole(rows: IntArray, draw: IntArray) -> dict[str, float | None]:
        assert healthy is not None
        return _mean_of_seeds(FLEET_FIGURES, [_of_fleet(judged, prediction, healthy, rows) for prediction in predicted])

    intervals = bootstrap_over_units(known, judged.unit[clean], seed=0)
    if judged.why_unseen is not None and healthy is not None:
        intervals |= bootstrap_over_units(whole, judged.unit, seed=0)
    return intervals


def _mean_of_seeds(names: Sequence[str], all_seeds: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for name in names:
        values = [figures_of_seed[name] for figures_of_seed in all_seeds]
        means[name] = None if any(v is None for v in values) else float(np.mean(np.array(values, dtype=np.float64)))
    return means


def by_unit(judged: EvaluationRows, prediction: Prediction, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Judge each unit by itself, so that one bad unit is visible."""
    found: dict[str, dict[str, Any]] = {}
    for name in np.unique(judged.unit):
        for c in np.unique(judged.y[judged.unit == name]):
            rows = (judged.unit == name) & (judged.y == c)
            p = prediction.probabilities[rows]
            scored = p[~judged.blocked[rows]]
            mean = scored.mean(axis=0) if len(scored) else np.full(len(classes), np.nan)
            right = float((scored.argmax(axis=1) == c).sum()) / len(p)
            found[f"{name}" if c >= 0 else f"{name} (unseen)"] = {
                "class": classes[c] if c >= 0 else None,
                "windows": int(rows.sum()),
                "blocked": int(rows.sum()) - len(scored),
                "accuracy": right if c >= 0 else None,
                "mean_probabilities": {
                    label: finite_or_none(value) for label, value in zip(classes, mean, strict=True)
                },
                "review_rate": None if prediction.review is None else float(prediction.review[rows].mean()),
                "leaked": bool(judged.leaked[rows].any()),
            }
    return found
