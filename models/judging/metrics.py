"""Figures by which class probabilities are judged. Pure functions of arrays; None where a figure is not defined.

Every figure is the same whatever the order of the windows: where scores tie, a tied window counts as the mean of those
it ties with.

`auroc`, `nll` and `brier` equal `roc_auc_score`, `log_loss` and `brier_score_loss` of scikit-learn within 1e-12 (a
test checks it). They are our own because scikit-learn refuses an infinite score (a window without a score ranks last)
and a single class, and takes 17 to 120 times as long: a bootstrap calls each some thousand times.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, expit, logit
from scipy.stats import rankdata

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

BINS: Final = 15
"""Bins of the calibration errors."""

REVIEWED: Final = 0.1
"""Share of the windows that an engineer is taken to look at."""

NEAREST: Final = 1e-6
"""Least distance of a probability from 0 and 1 in the log odds."""

SMALLEST: Final = float(np.finfo(np.float64).eps)
"""A lower probability counts as this in the log (as in scikit-learn's log_loss): a certain mistake costs 36 nats."""


def auroc(positive: BoolArray, score: FloatArray) -> float | None:
    """Return the area under the ROC curve of a score (n,), which may be infinite; None with one kind only, or a NaN.

    From ranks (H. B. Mann and D. R. Whitney 1947): the chance that a positive scores higher than a negative, a tie
    counting half.

    >>> auroc(np.array([True, True, False]), np.array([0.9, 0.4, 0.4]))
    0.75
    """
    n_positive = int(np.count_nonzero(positive))
    n_negative = positive.size - n_positive
    if not n_positive or not n_negative or np.isnan(score).any():
        return None
    above = float(rankdata(score)[positive].sum()) - n_positive * (n_positive + 1) / 2
    return above / (n_positive * n_negative)


def macro_auroc(p: FloatArray, y: IntArray) -> float | None:
    """Return the mean over classes of the AUROC of p (n, C) of one class against the rest.

    A class that no window, or every window, is of has none; None where no class has one.

    >>> macro_auroc(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    1.0
    """
    areas = [auroc(y == c, p[:, c]) for c in range(p.shape[1])]
    defined = [value for value in areas if value is not None]
    return float(np.mean(defined)) if defined else None


def nll(p: FloatArray, y: IntArray) -> float | None:
    """Return the mean negative log probability (nats) of the truth.

    >>> round(nll(np.array([[0.5, 0.5]]), np.array([1])), 6)
    0.693147
    """
    return float(-np.log(np.maximum(p[np.arange(y.size), y], SMALLEST)).mean()) if y.size else None


def brier(p: FloatArray, y: IntArray) -> float | None:
    """Return the mean over windows of the squared error summed over classes, in [0, 2] (Brier 1950, not halved).

    >>> brier(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([1, 1]))
    0.25
    """
    if not y.size:
        return None
    return float(np.square(p - (y[:, None] == np.arange(p.shape[1]))).sum(axis=1).mean())


def calibration_error(
    confidence: FloatArray, happened: BoolArray, *, weight: FloatArray | None = None, bins: int = BINS
) -> float | None:
    """Return the expected calibration error with bins of equal width over [0, 1].

    Parameters
    ----------
    confidence
        (n,) probability given to an event.
    happened
        (n,) whether it happened.
    weight
        (n,) weight of each window, above 0; None: all alike.
    bins
        Bin i is [i / bins, (i + 1) / bins), the last with its upper edge.

    Returns
    -------
    float or None
        Mean over windows of |mean confidence - frequency| of the window's bin (C. Guo et al., "On calibration of
        modern neural networks", 2017, equation 3); None without windows.

    Examples
    --------
    >>> round(calibration_error(np.array([0.9, 0.9]), np.array([True, False])), 6)
    0.4
    """
    if not confidence.size:
        return None
    weight = np.ones(confidence.size) if weight is None else weight
    which = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gap = np.bincount(which, weights=weight * (confidence - happened), minlength=bins)
    return float(np.abs(gap).sum() / weight.sum())


def adaptive_calibration_error(confidence: FloatArray, happened: BoolArray, *, bins: int = BINS) -> float | None:
    """Return the calibration error with bins of equal numbers of windows (J. Nixon et al. 2019); arguments as above.

    >>> adaptive_calibration_error(np.array([0.25, 0.75]), np.array([False, True]), bins=2)
    0.25
    """
    n = confidence.size
    if not n:
        return None
    order, outcome = _ranked(confidence, happened)
    gap = confidence[order] - outcome
    return float(sum(abs(part.sum()) for part in np.array_split(gap, min(bins, n))) / n)


def recalibration_slope(probability: FloatArray, happened: BoolArray, weight: FloatArray) -> float | None:
    """Return the slope of a logistic regression of what happened on the log odds of its probability.

    1 where the probabilities are as extreme as they should be, below 1 where they are too sure (D. R. Cox, "Two further
    applications of a model for binary regression", 1958). The intercept is free: another share of faults does not count
    as a slope.

    Parameters
    ----------
    probability
        (n,) in [0, 1]; what is nearer to 0 or 1 than 1e-6 counts as that.
    happened
        (n,)
    weight
        (n,) above 0.

    Returns
    -------
    float or None
        None where the probabilities separate what happened from what did not: no slope is steep enough then.

    Examples
    --------
    >>> said, share = np.repeat([0.1, 0.9], 100), np.tile(np.arange(100) < 20, 2)  # said: 0.1 and 0.9
    >>> share[100:] = ~share[100:]  # happened: 0.2 and 0.8
    >>> round(recalibration_slope(said, share, np.ones(200)), 6)
    0.63093
    """
    x = logit(np.clip(probability, NEAREST, 1.0 - NEAREST))
    yes, no = x[happened], x[~happened]
    if not yes.size or not no.size or no.max() <= yes.min() or yes.max() <= no.min():
        return None
    design = np.column_stack([np.ones(x.size), x])

    def loss(beta: FloatArray) -> float:
        return float((weight * np.logaddexp(0.0, np.where(happened, -1.0, 1.0) * (design @ beta))).sum())

    beta = np.array([0.0, 1.0])
    for _ in range(100):
        fitted = expit(design @ beta)
        spread = (design * (weight * fitted * (1.0 - fitted))[:, None]).T @ design
        step = np.linalg.lstsq(spread, design.T @ (weight * (happened - fitted)), rcond=None)[0]
        while loss(beta + step) > loss(beta) and np.abs(step).max() > 1e-12:
            step = step / 2.0
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[1])


def error_auroc(wrong: BoolArray, uncertainty: FloatArray) -> float | None:
    """Return how well an uncertainty (n,) separates wrong windows from right ones; None where all are right, or none.

    >>> error_auroc(np.array([True, False]), np.array([0.6, 0.1]))
    1.0
    """
    return auroc(wrong, uncertainty)


def aurc(wrong: BoolArray, uncertainty: FloatArray) -> float | None:
    """Return the area under the risk-coverage curve: mean error rate of the k most certain windows over k = 1 .. n.

    Y. Geifman, G. Uziel and R. El-Yaniv, "Bias-reduced uncertainty estimation for deep neural classifiers", 2019,
    equation 2. Lower is better; without any order it is the error rate.

    >>> aurc(np.array([False, True]), np.array([0.1, 0.6]))
    0.25
    """
    n = wrong.size
    if not n:
        return None
    _, errors = _ranked(uncertainty, wrong)
    return float((np.cumsum(errors) / np.arange(1, n + 1)).mean())


def reviewed_windows(n: int, share: float = REVIEWED) -> int:
    """Return how many of n windows are reviewed: the share, rounded, at least one.

    >>> reviewed_windows(250), reviewed_windows(3)
    (25, 1)
    """
    return min(n, max(1, round(share * n)))


def review_yield(wrong: BoolArray, uncertainty: FloatArray, *, share: float = REVIEWED) -> float | None:
    """Return the errors among the most uncertain windows over the most that could be there; None without errors.

    `errors in the top share / min(all errors, windows in the top share)`, in [0, 1].

    >>> review_yield(np.array([True, False, True]), np.array([0.9, 0.1, 0.5]), share=0.3)
    1.0
    """
    if not wrong.any():
        return None
    k = reviewed_windows(wrong.size, share)
    _, errors = _ranked(-uncertainty, wrong)
    return float(errors[:k].sum() / min(int(wrong.sum()), k))


def missed_after_review(
    fault: BoolArray, called_healthy: BoolArray, uncertainty: FloatArray, *, share: float = REVIEWED
) -> float | None:
    """Return the share of missed faults (faults called healthy) among the windows that are not reviewed.

    Parameters
    ----------
    fault, called_healthy
        (n,) truth and verdict.
    uncertainty
        (n,) the highest `share` is reviewed.

    Returns
    -------
    float or None
        In [0, 1]; None where no window is left over.

    Examples
    --------
    >>> missed_after_review(np.array([True, True]), np.array([True, True]), np.array([0.9, 0.1]), share=0.5)
    1.0
    """
    k = reviewed_windows(fault.size, share)
    if fault.size <= k:
        return None
    _, missed = _ranked(-uncertainty, fault & called_healthy)
    return float(missed[k:].mean())


def entropy(p: FloatArray) -> FloatArray:
    """Return the entropy (n,) of class probabilities (n, C), nats.

    >>> entropy(np.array([[1.0, 0.0], [0.5, 0.5]])).round(6).tolist()
    [0.0, 0.693147]
    """
    total: FloatArray = entr(p).sum(axis=1)
    return total


def vote(p: FloatArray, groups: NDArray[Any]) -> tuple[IntArray, FloatArray]:
    """Return a window (g,) of each group, and the mean probabilities (g, C) over the windows of each.

    >>> first, mean = vote(np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]), np.array(["a", "a", "b"]))
    >>> mean.tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    _, first, index, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    total = np.column_stack([np.bincount(index, weights=column, minlength=first.size) for column in p.T])
    return first, total / counts[:, None]


def classification_figures(
    p: FloatArray, y: IntArray, *, healthy: int | None, votes: NDArray[Any] | None = None
) -> dict[str, float | None]:
    """Judge class probabilities.

    Parameters
    ----------
    p
        (n, C) rows that sum to 1; a row that is not finite is a window that the method could not score: it counts as
        wrong, with uniform probabilities.
    y
        (n,) class index.
    healthy
        Index of the healthy class, or None where all classes are faults.
    votes
        (n,) name of the group that each window votes in (all of one class); None: no vote.

    Returns
    -------
    dict
        accuracy, accuracy_vote, macro_auroc, fault_auroc, nll, brier, ece, adaptive_ece, error_auroc, aurc, review_10,
        missed_after_review_10; None where not defined.

    Examples
    --------
    >>> figures = classification_figures(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 1]), healthy=0)
    >>> figures["accuracy"], figures["fault_auroc"]
    (1.0, 1.0)
    """
    if not y.size:
        return dict.fromkeys(CLASSIFICATION_FIGURES)
    scored: BoolArray = np.asarray(np.isfinite(p).all(axis=1))
    p = np.where(scored[:, None], p, 1.0 / p.shape[1])
    top = p.argmax(axis=1)
    wrong: BoolArray = np.asarray((top != y) | ~scored)
    doubt = entropy(p)
    confidence, happened = p.max(axis=1), ~wrong
    fault_auroc = missed = None
    if healthy is not None:
        confidence, happened = 1.0 - p[:, healthy], y != healthy
        fault_auroc = auroc(happened, confidence)
        missed = missed_after_review(happened, (confidence < 0.5) | ~scored, doubt)
    return {
        "accuracy": float(1.0 - wrong.mean()),
        "accuracy_vote": None if votes is None else accuracy_of_votes(p, y, votes),
        "macro_auroc": macro_auroc(p, y),
        "fault_auroc": fault_auroc,
        "nll": nll(p, y),
        "brier": brier(p, y),
        "ece": calibration_error(confidence, happened),
        "adaptive_ece": adaptive_calibration_error(confidence, happened),
        "error_auroc": error_auroc(wrong, doubt),
        "aurc": aurc(wrong, doubt),
        "review_10": review_yield(wrong, doubt),
        "missed_after_review_10": missed,
    }


CLASSIFICATION_FIGURES: Final = (
    "accuracy",
    "accuracy_vote",
    "macro_auroc",
    "fault_auroc",
    "nll",
    "brier",
    "ece",
    "adaptive_ece",
    "error_auroc",
    "aurc",
    "review_10",
    "missed_after_review_10",
)
"""What `classification_figures` returns, in its order."""


def accuracy_of_votes(p: FloatArray, y: IntArray, votes: NDArray[Any]) -> float:
    """Return the share of votes (all windows of one are of one class) that are right.

    >>> accuracy_of_votes(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]), np.array(["a", "a"]))
    1.0
    """
    first, mean = vote(p, votes)
    return float((mean.argmax(axis=1) == y[first]).mean())


def _ranked(score: FloatArray, event: BoolArray) -> tuple[IntArray, FloatArray]:
    """Return the order of ascending scores, and the events in that order, tied ones as the mean over their tie."""
    order = np.argsort(score, kind="stable")
    _, tie = np.unique(score[order], return_inverse=True)
    counted = np.bincount(tie, weights=event[order].astype(np.float64)) / np.bincount(tie)
    return order, counted[tie]
