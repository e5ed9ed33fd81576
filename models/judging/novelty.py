"""Novelty: how far a window lies from everything the model was trained on.

Mean distance to the k nearest reference windows (Ramaswamy et al. 2000; Sun et al. 2022, "Out-of-distribution
detection with deep nearest neighbors"), in robustly scaled features reduced by PCA. The part of a window outside the
principal subspace is one more coordinate: a new kind of fault need not move along the directions in which the known
ones differ. Missing features are estimated from the others by probabilistic PCA (Tipping & Bishop 1999, eq. 6 to 8),
so that a window is not called normal just because half of it is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.sampling import WIDTH

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MAX_COMPONENTS = 20
EXPLAINED = 0.95
_RIDGE = 1e-3


@dataclass(frozen=True, eq=False)
class NoveltyReference:
    """What distances are measured to.

    Attributes
    ----------
    mean
        float64 (F,) centre of the scaled reference windows.
    components
        float64 (d, F) orthonormal principal directions.
    shrink
        float64 (d,) noise variance over the variance of each component, > 0.
    rows
        float64 (m, d + 1) coordinates of the reference windows: components, then the residual norm.
    k
        Number of nearest reference windows averaged.
    """

    mean: FloatArray
    components: FloatArray
    shrink: FloatArray
    rows: FloatArray
    k: int

    def coordinates(self, values: FloatArray, observed: BoolArray) -> FloatArray:
        """Return the coordinates (n, d + 1) of scaled windows (n, F); NaN where nothing is observed."""
        seen = observed.astype(np.float64)
        centred = np.where(observed, values - self.mean, 0.0)
        d, n_features = self.components.shape
        products = (self.components[:, None, :] * self.components[None, :, :]).reshape(d * d, n_features)
        gram = product(seen, products).reshape(-1, d, d) + np.diag(self.shrink)
        latent = np.linalg.solve(gram, product(centred, self.components)[:, :, None])[:, :, 0]
        residual = (centred - latent @ self.components) * seen
        count = seen.sum(axis=1)
        # Scaled up to all F features, as if the missing ones lay as far outside as the observed ones.
        outside = np.sqrt(np.square(residual).sum(axis=1) * n_features / np.maximum(count, 1.0))
        coordinates = np.concatenate([latent, outside[:, None]], axis=1)
        coordinates[count == 0] = np.nan
        return coordinates

    def distance(self, values: FloatArray, observed: BoolArray) -> FloatArray:
        """Return the raw novelty (n,) of scaled windows (n, F).

        Mean Euclidean distance to the k nearest reference windows over sqrt(F): robust standard deviations per
        feature, >= 0; NaN for a window of which nothing is observed.
        """
        here = self.coordinates(values, observed)
        squared = np.square(here).sum(axis=1)[:, None] + np.square(self.rows).sum(axis=1)[None, :]
        squared -= 2.0 * product(here, self.rows)
        nearest = np.sort(np.partition(squared, self.k - 1, axis=1)[:, : self.k], axis=1)
        mean: FloatArray = np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1) / np.sqrt(self.components.shape[1])
        return mean


def product(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return a @ b.T, (n, m). A row of a gives the same bits wherever in a it stands.

    The columns are padded by zeros to whole vector registers, see `models.sampling`.

    >>> product(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    extra = -len(b) % WIDTH
    products: FloatArray = a @ np.concatenate([b, np.zeros((extra, b.shape[1]))]).T
    return products[:, : len(b)]


def reference_rows(unit: NDArray[np.str_], *, max_rows: int) -> NDArray[np.int64]:
    """Choose at most `max_rows` windows, no unit more than its share, evenly spaced within it.

    Parameters
    ----------
    unit
        (n,) physical unit of each window.
    max_rows
        Upper bound of the number chosen.

    Returns
    -------
    numpy.ndarray
        int64, ascending indices; the same for the same input.

    Examples
    --------
    >>> reference_rows(np.array(["a"] * 5 + ["b"]), max_rows=4).tolist()
    [0, 4, 5]
    """
    names = np.unique(unit)
    if names.size > max_rows:
        names = names[np.linspace(0, names.size - 1, max_rows).round().astype(np.int64)]
    share = max_rows // names.size
    chosen = []
    for name in names:
        rows = np.flatnonzero(unit == name)
        if rows.size > share:
            rows = rows[np.linspace(0, rows.size - 1, share).round().astype(np.int64)]
        chosen.append(rows)
    return np.sort(np.concatenate(chosen))


def fit_novelty(
    values: FloatArray, observed: BoolArray, unit: NDArray[np.str_], *, max_rows: int = 2000, k: int = 5
) -> NoveltyReference:
    """Build the reference from scaled training windows.

    Parameters
    ----------
    values, observed
        (n, F) scaled features (0 where missing) and which of them were there.
    unit
        (n,) physical unit of each window; caps how many rows each may contribute.
    max_rows
        Upper bound of the number of reference windows.
    k
        Nearest neighbours averaged; fewer where there are fewer reference windows.
    """
    rows = reference_rows(unit, max_rows=max_rows)
    values, observed = values[rows], observed[rows]
    mean = values.sum(axis=0) / np.maximum(observed.sum(axis=0), 1)
    centred = np.where(observed, values - mean, 0.0)
    variance, vectors = np.linalg.eigh(centred.T @ centred / max(len(rows), 1))
    variance, vectors = np.maximum(variance[::-1], 0.0), vectors[:, ::-1]
    total = variance.sum()
    explained = np.cumsum(variance) / total if total > 0.0 else np.ones_like(variance)
    d = int(min(np.searchsorted(explained, EXPLAINED) + 1, MAX_COMPONENTS, variance.size))
    noise = float(variance[d:].mean()) if d < variance.size else 0.0
    shrink = np.clip(noise / np.maximum(variance[:d], 1e-12), _RIDGE, 1.0)
    reference = NoveltyReference(mean, np.ascontiguousarray(vectors[:, :d].T), shrink, np.empty((0, d + 1)), 1)
    coordinates = reference.coordinates(values, observed)
    coordinates = coordinates[np.isfinite(coordinates).all(axis=1)]
    return NoveltyReference(mean, reference.components, shrink, coordinates, min(k, len(coordinates)))


def percentile(raw: FloatArray, quantiles: FloatArray) -> FloatArray:
    """Return where raw novelties (n,) fall among the held-out quantiles (101,) of 0..100 %; NaN stays NaN.

    >>> percentile(np.array([0.25, 7.0, np.nan]), np.linspace(0.0, 1.0, 101)).tolist()
    [25.0, 100.0, nan]
    """
    percent = np.interp(raw, quantiles, np.linspace(0.0, 100.0, quantiles.size))
    return np.where(np.isfinite(raw), percent, np.nan)


def weighted_quantiles(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the 0, 1, ..., 100 % quantiles (101,) of weighted values, linear between mid-ranks; NaN values dropped.

    Weights let each *unit* count the same however many windows it has.

    Raises
    ------
    ValueError
        No finite value has a positive weight.

    >>> weighted_quantiles(np.array([1.0, 2.0, 3.0]), np.ones(3))[[0, 25, 50, 100]].tolist()
    [1.0, 1.5, 2.0, 3.0]
    """
    keep = np.isfinite(values) & (weight > 0.0)
    if not keep.any():
        raise ValueError("No finite value to take quantiles of.")
    order = np.argsort(values[keep], kind="stable")
    ordered, mass = values[keep][order], weight[keep][order]
    middle = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
    if ordered.size > 1:
        middle = (middle - middle[0]) / (middle[-1] - middle[0])
    return np.interp(np.linspace(0.0, 1.0, 101), middle, ordered)
