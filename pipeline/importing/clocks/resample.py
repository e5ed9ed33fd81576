"""Samples at uneven times, resampled at equal steps: the band-limited signal that fits them best.

The unknown is the signal x at equal steps. A low-pass kernel h (sinc, Kaiser window) says what it is between them, and
least squares find the x whose values at the measured times are the measured ones: min |A x - y|, A[i, k] = h(t_i - k).
From zero on, LSQR (Paige and Saunders, ACM TOMS 8, 1982) gives the smallest such x, which lies in the passband.
Source: Feichtinger, Groechenig and Strohmer, "Efficient numerical methods in non-uniform sampling theory", Numerische
Mathematik 69 (1995). It is stable where no sample is farther than a quarter of a step from its place (Kadec 1964), and
in practice for single intervals that are up to half a step off.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import lsqr

HALF: Final = 24
"""Half the length of the kernel, steps."""

EDGE: Final = 2 * HALF
"""Steps that are lost at each end, where the kernel reaches beyond the signal: nothing is filled in."""

BETA: Final = 7.86
"""Kaiser window of 80 dB."""

CUTOFF: Final = 0.95
"""The kernel is 6 dB down at this share of the Nyquist frequency."""

CHUNK: Final = 8192
"""Steps that are solved at a time."""

OVERLAP: Final = 4 * HALF
"""Steps before and after, which are solved too and not kept."""


def resample(values: NDArray[np.float64], at: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Resample a signal at whole steps.

    Parameters
    ----------
    values : float array, shape (n,)
    at : float array, shape (n,)
        Time of each value in steps (mean sampling intervals) after the first, rising.

    Returns
    -------
    even : float array
        The signal at steps `first`, `first` + 1, ... and not nearer to the end. May be empty.
    first : int
    """
    last = int(at[-1]) - EDGE if len(at) else 0
    if last < EDGE:
        return np.empty(0), EDGE
    parts = []
    for begin in range(EDGE, last + 1, CHUNK):
        end = min(begin + CHUNK, last + 1)
        low, high = begin - OVERLAP, end + OVERLAP  # beyond the signal too: the kernel of its last samples lies there
        near = (at >= low + HALF) & (at <= high - HALF)
        solved = _solve(values[near], at[near] - low, high - low + 1)
        parts.append(solved[begin - low : end - low])
    return np.concatenate(parts), EDGE


def _solve(values: NDArray[np.float64], at: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the signal at steps 0 to n - 1 that fits values at some times between them."""
    centre = np.rint(at).astype(np.int64)
    steps = centre[:, None] + np.arange(-HALF, HALF + 1)
    away = at[:, None] - steps
    inside = (steps >= 0) & (steps < n) & (np.abs(away) < HALF)
    window = np.i0(BETA * np.sqrt(np.maximum(0.0, 1 - (away / HALF) ** 2))) / np.i0(BETA)
    kernel = CUTOFF * np.sinc(CUTOFF * away) * window
    rows = np.repeat(np.arange(len(at)), inside.sum(axis=1))
    matrix = csr_array((kernel[inside], (rows, steps[inside])), shape=(len(at), n))
    mean = float(np.mean(values))
    found: NDArray[np.float64] = lsqr(matrix, values - mean, atol=1e-9, btol=1e-9, iter_lim=200)[0]
    return found + mean
