"""Novelty: how far a window lies from everything the model was trained on.

Mean distance to the k nearest reference windows (Ramaswamy et al. 2000; Sun et al. 2022, "Out-of-distribution
detection with deep nearest neighbors"), in robustly scaled features reduced by PCA. The part of a window outside the
principal subspace is one more coordinate: a new kind of fault need not move along the directions in which the known
ones differ. Missing features are estimated from the others by probabilistic PCA (Tipping & Bishop 1999, eq. 6 to 8),
so that a window is not called normal just because half of it is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from models.sampling import BLOCK, Workspace, blocks, padded

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MAX_COMPONENTS = 20
EXPLAINED = 0.95
_RIDGE = 1e-3

_GROUP: Final = 16
"""Reference windows of a group: the k nearest lie in the k groups whose nearest windows are nearest."""

_SPARE: Final = 2
"""Reference windows measured beyond the k nearest ones, for float32 does not tell equal ones apart."""

_PLACES: Final = (1 << 29) - 1
"""Bits of a float64 that a float32 leaves at zero."""

_PATTERNS: Final = 1000
"""Patterns of missing features whose inverse is kept, at most."""


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
        out, space = np.empty((len(values), len(self.components) + 1)), Workspace()
        for rows in blocks(len(values)):
            here = self._coordinates(padded(values, rows), padded(observed, rows), space)
            out[rows] = here.T[: rows.stop - rows.start]
        return out

    def distance(self, values: FloatArray, observed: BoolArray, space: Workspace | None = None) -> FloatArray:
        """Return the raw novelty (n,) of scaled windows (n, F).

        Mean Euclidean distance to the k nearest reference windows over sqrt(F): robust standard deviations per
        feature, >= 0; NaN for a window of which nothing is observed. `space` keeps buffers from call to call.
        """
        out, space = np.empty(len(values)), space or Workspace()
        for rows in blocks(len(values)):
            here = self._coordinates(padded(values, rows), padded(observed, rows), space)
            out[rows] = self._to_nearest(here, space)[: rows.stop - rows.start]
        return out

    def _coordinates(self, values: FloatArray, observed: BoolArray, space: Workspace) -> Tensor:
        """Return the coordinates (d + 1, BLOCK) of one block."""
        d, n_features = self.components.shape
        centre = space("centred", BLOCK, n_features, dtype=torch.float64)
        torch.sub(torch.from_numpy(values), torch.from_numpy(self.mean), out=centre)
        centred: FloatArray = centre.numpy()
        np.copyto(centred, 0.0, where=~observed)
        projected = space("projected", d, BLOCK, dtype=torch.float64)
        torch.mm(torch.from_numpy(self.components), centre.T, out=projected)
        latent = self._latent(projected, observed, space)
        # |c - V' l|^2 over what is observed, where (G + S) l = V c.
        explained = (latent * (projected.numpy() + self.shrink[:, None] * latent)).sum(axis=0)
        square = np.maximum(np.einsum("ij,ij->i", centred, centred) - explained, 0.0)
        count = np.count_nonzero(observed, axis=1)
        # Scaled up to all F features, as if the missing ones lay as far outside as the observed ones.
        outside = np.sqrt(square * n_features / np.maximum(count, 1))
        outside[count == 0] = np.nan
        latent[:, count == 0] = np.nan
        return torch.from_numpy(np.concatenate([latent, outside[None]]))

    def _latent(self, projected: Tensor, observed: BoolArray, space: Workspace) -> FloatArray:
        """Return the latent means (d, BLOCK) of projections (d, BLOCK): one product for each pattern of features."""
        latent = np.empty(projected.shape)
        part = space("latent", *projected.shape, dtype=torch.float64)
        packed = np.packbits(observed, axis=1)
        keys = packed.view(f"V{packed.shape[1]}")[:, 0]
        _, first, pattern = np.unique(keys, return_index=True, return_inverse=True)
        for number, row in enumerate(first):
            torch.mm(self._inverse(packed[row].tobytes(), observed[row]), projected, out=part)
            np.copyto(latent, part.numpy(), where=pattern == number)
        return latent

    def _inverse(self, key: bytes, seen: BoolArray) -> Tensor:
        """Return (V diag(seen) V' + S)^-1, (d, d), for one pattern of observed features (F,)."""
        if key not in self._inverses:
            if len(self._inverses) >= _PATTERNS:
                self._inverses.clear()
            gram = (self.components * seen) @ self.components.T + np.diag(self.shrink)
            self._inverses[key] = torch.from_numpy(np.linalg.inv(gram))
        return self._inverses[key]

    @cached_property
    def _inverses(self) -> dict[bytes, Tensor]:
        return {}

    @cached_property
    def _reference(self) -> tuple[Tensor, Tensor]:
        """Return the reference windows (m, d + 1) and half their squared norms (m, 1), float32, in whole groups."""
        rows, extra = torch.from_numpy(self.rows), -len(self.rows) % _GROUP
        half = pad(0.5 * rows.square().sum(1), (0, extra), value=torch.inf)
        return pad(rows, (0, 0, 0, extra)).float(), half[:, None].float()

    def _to_nearest(self, here: Tensor, space: Workspace) -> FloatArray:
        """Return the mean distance (BLOCK,) from coordinates (d + 1, BLOCK) to the k nearest reference windows.

        They are looked for in float32, with some to spare, and measured in float64.
        """
        rows, half = self._reference
        groups, k = len(rows) // _GROUP, min(self.k + _SPARE, len(self.rows))
        # (|r - h|^2 - |h|^2) / 2 for a window h and every reference window r.
        order = space("order", len(rows), BLOCK)
        torch.addmm(half, rows, here.float(), alpha=-1.0, out=order)
        least = torch.amin(order.view(_GROUP, groups, BLOCK), 0, out=space("least", groups, BLOCK))
        near = smallest(least.T, k, space("groups", BLOCK, groups, dtype=torch.float64))
        members = (near[:, None, :] + groups * np.arange(_GROUP)[:, None]).reshape(BLOCK, -1)
        candidates = torch.take(order, torch.from_numpy(members * BLOCK + np.arange(BLOCK)[:, None]))
        best = smallest(candidates, k, space("members", *members.shape, dtype=torch.float64))
        nearest = self.rows[np.take_along_axis(members, best, axis=1)]
        nearest -= here.T.numpy()[:, None, :]
        distance = np.sort(np.sqrt(np.square(nearest, out=nearest).sum(axis=2)), axis=1)[:, : self.k]
        mean: FloatArray = distance.mean(axis=1) / np.sqrt(self.components.shape[1])
        return mean


def smallest(values: Tensor, k: int, space: Tensor) -> NDArray[np.int64]:
    """Return the places (n, k), or as many as there are, of the k smallest of float32 values (n, m) in each row.

    The place is put into the bits that float64 has beyond float32, and values are sorted with it: numpy sorts short
    rows in vector registers, without a branch. `space` is float64 (n, m).

    >>> smallest(torch.tensor([[3.0, -1.0, 2.0]]), 2, torch.empty(1, 3, dtype=torch.float64)).tolist()
    [[1, 2]]
    """
    space.copy_(values)
    ordered = space.numpy()
    bits = ordered.view(np.int64)
    bits |= np.arange(bits.shape[1])
    ordered.sort(axis=1)
    places: NDArray[np.int64] = bits[:, :k] & _PLACES
    return places


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
    components = np.ascontiguousarray(vectors[:, :d].T)
    reference = NoveltyReference(mean, components, shrink, np.empty((0, d + 1)), 1)
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
