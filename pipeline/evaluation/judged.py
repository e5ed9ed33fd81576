"""What is judged, and what everybody asks of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.metrics import entropy
from pipeline.evaluation.windows import Windows


@dataclass(frozen=True, eq=False)
class Judged:
    """Windows to judge: their class (-1: unseen), physical unit, vote, and whether the unit was trained on too.

    `why_unseen` is there where the windows are a whole fleet: `class`, `program`, or '' for what training could know.
    """

    windows: Windows
    y: NDArray[np.int64]
    unit: NDArray[np.str_]
    votes: NDArray[np.str_] | None
    leaked: NDArray[np.bool_]
    why_unseen: NDArray[np.str_] | None = None


def doubt_of(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy (n,) of class probabilities (n, C), nats; infinite where there is no score."""
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(p).all(axis=1))
    doubt: NDArray[np.float64] = np.where(finite, entropy(np.where(finite[:, None], p, 1.0 / p.shape[1])), np.inf)
    return doubt
