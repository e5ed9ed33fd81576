"""Textbook diagnosis from lines alone: how strong the evidence for the outer race, the inner race or a ball is.

The three scores are built alike, so that none is favoured. Source of the signs: R. B. Randall and J. Antoni, "Rolling
element bearing diagnostics - a tutorial", Mechanical Systems and Signal Processing 25 (2011), section 2 (which line and
which modulation belong to which defect). Weights and threshold were chosen on simulated faults and noise alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.kinematics import Orders
from features.spectra.envelope import times
from features.spectra.line_reader import LineReader, OrderColumns
from features.spectra.time_domain import Vector

CLASSES: Final = ("outer", "inner", "ball")
"""The defects that evidence is for, in the order of all columns here."""

STATISTICS: Final = (
    *(f"{kind}_max_db" for kind in CLASSES),
    *(f"{kind}_max_margin_db" for kind in CLASSES),
    *(f"{kind}_mean_db" for kind in CLASSES),
    *(f"{kind}_mean_margin_db" for kind in CLASSES),
    *(f"{kind}_h1_db" for kind in CLASSES),
    *(f"{kind}_offset_percent" for kind in CLASSES),
)
"""What `evidence_columns` returns, in its order."""

SIDEBAND_SHARE: Final = 0.25
"""Weight of the sidebands: they confirm an inner race or a ball, and must not outvote the line itself."""

DIAGNOSES: Final = ("outer_race", "inner_race", "ball", "none")
"""What `diagnose` chooses from, by index."""

THRESHOLD_DB: Final = 3.5
"""Mean evidence at or below this is noise. In stationary Gaussian noise the highest of the three classes exceeds it in
at most 1 % of windows of 10 turns or more where all four envelopes are there (0.1 % with 30 turns), and where the rate
is too low for two of them in 5 % with 10 turns and 0.3 % with 30 (18,000 simulated windows)."""


def class_scores(reader: LineReader, orders: Orders | OrderColumns) -> Vector:
    """Score three defects in squared envelope spectra, and measure their first lines.

    Parameters
    ----------
    reader : LineReader
        Over the squared envelope spectra of n windows.
    orders : Orders or OrderColumns
        Of all windows, or of each.

    Returns
    -------
    float64 array, shape (n, 3, 3)
        By `CLASSES` in the last axis. First the score in dB, >= 0: the mean of `max(0, height)` over harmonics 1 to 3
        of bpfo, bpfi and twice bsf (over those that are resolved), plus a quarter of the mean height of the sidebands
        where it is above 0: of `bpfo -+ outer_ring`, `bpfi -+ inner_ring` (the race turns through the load) and
        `2 bsf -+ ftf` (the cage carries the ball through it). NaN where no harmonic is resolved; sidebands that are
        missing add nothing. Then the height of the first harmonic in dB, and how far it lies from its order, as a share
        of it; NaN where it is not resolved.
    """
    bases = ((orders.bpfo, orders.outer_ring), (orders.bpfi, orders.inner_ring), (times(2.0, orders.bsf), orders.ftf))
    lines = [[times(k, base) for k in (1, 2, 3)] for base, _ in bases]
    found, offsets = reader.of_defects(*lines, of_bearing=True)
    heights = np.array(found)
    sides = reader.of_bearing(*(side for base, distance in bases for side in reader.beside(base, distance)))
    scores = [
        _mean_of_known(np.maximum(own, 0.0)) + SIDEBAND_SHARE * np.fmax((below + above) / 2.0, 0.0)
        for own, below, above in zip(heights, sides[::2], sides[1::2], strict=True)
    ]
    return np.stack([np.stack(scores, axis=-1), heights[:, 0].T, np.stack(offsets, axis=-1)], axis=1)


def _mean_of_known(values: Vector) -> Vector:
    known = ~np.isnan(values)
    number = known.sum(axis=0)
    return np.where(number > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(number, 1), np.nan)


def evidence_columns(scores: Vector) -> Vector:
    """Put the scores of several envelopes together.

    Parameters
    ----------
    scores : float64 array, shape (versions, n, 3, 3)
        `class_scores` of each version; NaN where a version is missing.

    Returns
    -------
    float64 array, shape (n, len(STATISTICS))
        Over the versions that are there: the highest score of each class and its margins, the mean score and its
        margins, the mean height of the first line, and in percent how far it lies from its order where it is highest.
        NaN where no version has the class; a margin also where another class is missing.
    """
    total, first, offset = np.moveaxis(scores, 2, 0)
    highest = np.fmax.reduce(total, axis=0)
    mean = _mean_of_known(total)
    clearest = np.where(np.isnan(first), -np.inf, first).argmax(axis=0)
    where = 100.0 * np.take_along_axis(offset, clearest[None], axis=0)[0]
    return np.concatenate((highest, _margins(highest), mean, _margins(mean), _mean_of_known(first), where), axis=-1)


def _margins(scores: Vector) -> Vector:
    """Return each score less the best of the other two."""
    outer, inner, ball = scores.T
    others = (np.maximum(inner, ball), np.maximum(outer, ball), np.maximum(outer, inner))
    margins: Vector = scores - np.stack(others, axis=-1)
    return margins


def diagnose(values: NDArray[Any], names: Sequence[str]) -> tuple[NDArray[np.int64], Vector]:
    """Name the defect with the strongest evidence, with no training at all.

    Parameters
    ----------
    values : float array, shape (n, F)
        Rows of features.
    names : sequence of str, length F
        Their names; `evidence_outer_mean_db`, `evidence_inner_mean_db` and `evidence_ball_mean_db` are read.

    Returns
    -------
    index : int64 array, shape (n,)
        Into `DIAGNOSES`: the class of highest mean evidence where that is above `THRESHOLD_DB`, else 3 (`none`); -1
        where no class has evidence (no steady speed, no geometry).
    margin_db : float64 array, shape (n,)
        >= 0: how far the chosen class is ahead of the next best (of `THRESHOLD_DB` where there is no other); for
        `none`, how far the highest is below the threshold. NaN where index is -1.

    Raises
    ------
    ValueError
        The array is not 2-D with one column per name, or one of the three columns is not there.

    Examples
    --------
    >>> names = ("evidence_outer_mean_db", "evidence_inner_mean_db", "evidence_ball_mean_db")
    >>> index, margin_db = diagnose(np.array([[1.0, 9.0, 2.0]]), names)
    >>> DIAGNOSES[index[0]], margin_db.tolist()
    ('inner_race', [7.0])
    """
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(f"Values must have one column per name, got shape {values.shape} for {len(names)} names.")
    wanted = [f"evidence_{kind}_mean_db" for kind in CLASSES]
    absent = [name for name in wanted if name not in names]
    if absent:
        raise ValueError(f"The features {', '.join(absent)} are not there; diagnose needs them.")
    scores = values[:, [list(names).index(name) for name in wanted]].astype(np.float64)
    known = ~np.isnan(scores)
    filled = np.where(known, scores, -np.inf)
    best = filled.argmax(axis=1)
    ordered = np.sort(filled, axis=1)
    highest, second = ordered[:, -1], ordered[:, -2]
    ahead = highest - np.where(np.isneginf(second), THRESHOLD_DB, second)
    stands_out = highest > THRESHOLD_DB
    index = np.where(stands_out, best, len(CLASSES))
    margin = np.where(stands_out, ahead, THRESHOLD_DB - highest)
    some = known.any(axis=1)
    return np.where(some, index, -1).astype(np.int64), np.where(some, margin, np.nan)
