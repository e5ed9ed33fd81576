"""The curves of a report: how often what was said so sure came true, and how errors fall as less is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.metrics import BINS, entropy

POINTS: Final = 50
"""Coverages that a risk-coverage curve is given at."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def curves(predicted: Sequence[FloatArray], y: IntArray, *, healthy: int | None) -> dict[str, Any]:
    """Give both curves of a method.

    Parameters
    ----------
    predicted
        Class probabilities (n, C) of each seed; a row that is not finite counts as wrong, with uniform probabilities.
    y
        (n,) class index.
    healthy
        Index of the healthy class, or None: as in `models.metrics.classification_figures`.

    Returns
    -------
    dict
        reliability: of each of 15 bins of equal width that has windows, over all seeds: confidence (mean), frequency,
        windows. risk_coverage: coverage, error (mean over seeds) of the most certain windows.
    """
    if not y.size:
        return {"reliability": [], "risk_coverage": []}
    said, came, risks = [], [], []
    covered = np.unique(np.maximum(1, np.linspace(0.0, 1.0, POINTS + 1)[1:] * y.size).round().astype(np.int64))
    for p in predicted:
        scored: NDArray[np.bool_] = np.asarray(np.isfinite(p).all(axis=1))
        p = np.where(scored[:, None], p, 1.0 / p.shape[1])
        wrong: NDArray[np.bool_] = np.asarray((p.argmax(axis=1) != y) | ~scored)
        said.append(p.max(axis=1) if healthy is None else 1.0 - p[:, healthy])
        came.append(~wrong if healthy is None else y != healthy)
        order = np.argsort(entropy(p), kind="stable")
        risks.append((np.cumsum(wrong[order]) / np.arange(1, y.size + 1))[covered - 1])
    risk = np.mean(risks, axis=0)
    return {
        "reliability": _reliability(np.concatenate(said), np.concatenate(came)),
        "risk_coverage": [
            {"coverage": float(k / y.size), "error": float(value)} for k, value in zip(covered, risk, strict=True)
        ],
    }


def _reliability(confidence: FloatArray, happened: NDArray[np.bool_]) -> list[dict[str, float | int]]:
    which = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    found: list[dict[str, float | int]] = []
    for number in np.unique(which).tolist():
        own = which == number
        found.append(
            {
                "confidence": float(confidence[own].mean()),
                "frequency": float(happened[own].mean()),
                "windows": int(own.sum()),
            }
        )
    return found
