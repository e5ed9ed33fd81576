"""The random forest of the tables: same features, equal weight of units, and the tuning budget of the networks."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline

from models.judging.calibration import too_few_units
from models.training.splits import balanced_weights, unit_folds
from models.training.tune import LEAST_PROBABILITY
from models.training.tuning_choice import Tuning, choose

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TREES: Final = 500
DEFAULT: Final[dict[str, Any]] = {"max_depth": None, "min_samples_leaf": 1, "max_features": "sqrt"}
"""Defaults of scikit-learn: fully grown trees, the square root of the number of features at each split."""

DEPTHS: Final = (None, 3, 8)
LEAVES: Final = (1, 3, 10)
FEATURES: Final = ("sqrt", 0.1, 0.3)
_ORDER_SEED = 20


def candidates(budget: int) -> list[dict[str, Any]]:
    """Return the default and up to `budget` - 1 others from the grid, in an order that is always the same."""
    names = tuple(DEFAULT)
    grid = [dict(zip(names, values, strict=True)) for values in product(DEPTHS, LEAVES, FEATURES)]
    order = np.random.default_rng(_ORDER_SEED).permutation(len(grid))
    others = [grid[number] for number in order if grid[number] != DEFAULT]
    return [DEFAULT, *others[: max(0, budget - 1)]]


def fit(x: NDArray[np.float32], y: IntArray, weight: FloatArray, *, seed: int, settings: dict[str, Any]) -> Pipeline:
    """Fit 500 trees.

    Parameters
    ----------
    x
        (n, F) features; NaN = missing, replaced by the median of the feature.
    y
        (n,) class index.
    weight
        (n,) weight of each window, above 0.
    seed, settings
        Seed of the trees; arguments of scikit-learn's forest.
    """
    forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=1, **settings)
    pipeline = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), forest)
    pipeline.fit(x, y, randomforestclassifier__sample_weight=weight)
    return pipeline


def tune_forest(
    x: NDArray[np.float32],
    y: IntArray,
    unit: NDArray[np.str_],
    weight: FloatArray,
    *,
    healthy: int | None,
    folds: int,
    seed: int,
    budget: int,
    min_units: int,
) -> Tuning:
    """Try `budget` forests in folds of whole units, as `models.training.tune` does for networks, without calibration.

    Parameters
    ----------
    x, y, unit, weight
        (n, F) features, (n,) class index, physical unit and weight of the evidence.
    healthy
        Index of the healthy class or None.
    folds, seed
        Folds of units; seed of folds and trees.
    budget, min_units
        Number of candidates, the default among them; least number of units with which tuning is tried.
    """
    if reason := too_few_units(y, unit, healthy=healthy, min_units=min_units):
        return Tuning((), 0, f"not tuned: {reason}")
    tried = candidates(budget)
    splits = unit_folds(y, unit, folds=folds, seed=seed)
    _, code = np.unique(unit, return_inverse=True)
    balanced = balanced_weights(y, unit, weight, healthy=healthy)
    total: FloatArray = np.bincount(code, balanced).astype(np.float64)
    losses = np.empty((len(tried), total.size))
    for number, settings in enumerate(tried):
        loss = np.empty(y.size)
        for rows, test in splits:
            own = balanced_weights(y[rows], unit[rows], weight[rows], healthy=healthy)
            fitted = fit(x[rows], y[rows], own, seed=seed, settings=settings)
            p = np.zeros((test.size, int(y.max()) + 1))
            p[:, fitted.classes_] = fitted.predict_proba(x[test])
            loss[test] = -np.log(np.maximum(p[np.arange(test.size), y[test]], LEAST_PROBABILITY))
        losses[number] = np.bincount(code, balanced * loss) / total
    return choose(tried, losses, total)
