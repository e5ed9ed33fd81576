"""Robust scaling of features, and what to do where one is missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

CLIP = 10.0
"""Scaled features are clipped at plus and minus this many robust standard deviations."""

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scaled:
    """Scaled features of n windows.

    Attributes
    ----------
    values
        float64 (n, F), robust standard deviations from the training median, clipped; 0 where missing.
    observed
        bool (n, F), False where missing (or ignored, see `RobustScaler.known`).
    n_missing, n_unexpected_missing
        int64 (n,) features missing, and those of them that were never missing in training.
    finite
        bool (n,) False where a feature is infinite, or none at all is there: a data fault, not to be scored.
    """

    values: FloatArray
    observed: BoolArray
    n_missing: NDArray[np.int64]
    n_unexpected_missing: NDArray[np.int64]
    finite: BoolArray


@dataclass(frozen=True, eq=False)
class RobustScaler:
    """Median and robust spread of every feature in the training windows.

    Attributes
    ----------
    center, scale
        float64 (F,), in the unit of each feature; scale > 0.
    known
        bool (F,) False for a feature that no training window had: it is ignored even where a later window has it,
        because training saw no value of it.
    ever_missing
        bool (F,) the feature was missing in at least one training window.
    group
        int64 (F,) index of the group each feature belongs to, 0 .. G-1; features of a group tend to be missing
        together, and the network gets the missing share of each group as an input.
    """

    center: FloatArray
    scale: FloatArray
    known: BoolArray
    ever_missing: BoolArray
    group: NDArray[np.int64]

    @property
    def n_features(self) -> int:
        """Number of features F."""
        return int(self.center.size)

    @property
    def n_groups(self) -> int:
        """Number of groups G."""
        return int(self.group.max()) + 1

    def scale_features(self, x: NDArray[np.float32], out: FloatArray | None = None) -> Scaled:
        """Scale features (n, F), NaN = missing; each row on its own. `out`: where the values go, (n, F)."""
        finite = np.isfinite(x)
        observed = finite & self.known
        values = np.empty(x.shape) if out is None else out
        values[:] = x
        scaled = torch.from_numpy(values)
        scaled -= torch.from_numpy(self.center)
        scaled /= torch.from_numpy(self.scale)
        scaled.clamp_(-CLIP, CLIP)
        np.copyto(values, 0.0, where=~observed)
        missing = np.isnan(x)
        infinite = ~finite & ~missing
        missing &= self.known
        return Scaled(
            values,
            observed,
            missing.sum(axis=1),
            (missing & ~self.ever_missing).sum(axis=1),
            np.logical_not(infinite.any(axis=1)) & observed.any(axis=1),
        )

    def network_inputs(self, scaled: Scaled) -> NDArray[np.float32]:
        """Return float32 (n, F + G): scaled features, then the missing share (0..1) of each group."""
        n_features = self.n_features
        inputs = np.empty((len(scaled.values), n_features + self.n_groups), dtype=np.float32)
        inputs[:, :n_features] = scaled.values
        # Counts are exact in float32 in whatever order a product adds them up.
        missing = (~scaled.observed).astype(np.float32) @ self._members
        inputs[:, n_features:] = missing / np.bincount(self.group, minlength=self.n_groups)
        return inputs

    @cached_property
    def _members(self) -> NDArray[np.float32]:
        """Which features (F) belong to which group (G): 1 or 0."""
        return np.eye(self.n_groups, dtype=np.float32)[self.group]


def fit_scaler(x: NDArray[np.float32], groups: tuple[str, ...] | None = None) -> RobustScaler:
    """Fit median and robust spread of each feature.

    The spread is the interquartile range over 1.349 (a standard deviation, for a normal distribution); where that is
    nil the standard deviation; where that too is nil the feature is constant and its spread is its own magnitude, so
    that rounding noise does not count as many standard deviations.

    Parameters
    ----------
    x
        (n, F) training features, NaN = missing, otherwise finite.
    groups
        One group name per feature; without it each feature is a group of its own.

    Returns
    -------
    RobustScaler

    Raises
    ------
    ValueError
        The number of group names is not F.

    Examples
    --------
    >>> fit_scaler(np.array([[0.0], [1.0], [2.0], [3.0], [4.0]], dtype=np.float32)).center.tolist()
    [2.0]
    """
    n_features = x.shape[1]
    names = groups if groups is not None else tuple(str(i) for i in range(n_features))
    if len(names) != n_features:
        raise ValueError(f"{len(names)} group names for {n_features} features.")
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    center, scale = np.zeros(n_features), np.ones(n_features)
    observed = np.isfinite(x)
    for column in range(n_features):
        values = x[observed[:, column], column].astype(np.float64)
        if values.size:
            center[column], scale[column] = _location_and_spread(values)
    return RobustScaler(
        center,
        scale,
        np.asarray(observed.any(axis=0)),
        np.asarray(~observed.all(axis=0)),
        np.array([order[name] for name in names], dtype=np.int64),
    )


def _location_and_spread(values: FloatArray) -> tuple[float, float]:
    """Return median and robust spread (> 0) of finite values (n,)."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    magnitude = float(np.abs(values).max())
    negligible = 1e-6 * magnitude
    for spread in (float(high - low) / 1.349, float(values.std())):
        if spread > negligible:
            return float(median), spread
    return float(median), magnitude or 1.0
