"""Who is trained on, who is held out: always whole physical units."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from models.kinds import UNKNOWN_MODE

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
StrArray = NDArray[np.str_]
Split = tuple[IntArray, IntArray]

MIN_UNITS_FOR_STOPPING = 6
_STOPPING_SHARE = 5


def unit_folds(y: IntArray, unit: StrArray, *, folds: int, seed: int) -> list[Split]:
    """Split windows into folds by unit, classes spread evenly where possible.

    Parameters
    ----------
    y
        (n,) class index (UNKNOWN_MODE counts as a class of its own).
    unit
        (n,) physical unit of each window; never on both sides.
    folds
        Number of folds wanted; at most the number of units is used.
    seed
        Order in which units are dealt out.

    Returns
    -------
    list of (train, test)
        int64 row indices. Every row is in exactly one test set, and no test set is empty.

    Raises
    ------
    ValueError
        Fewer than two units or folds.

    Examples
    --------
    >>> y, unit = np.array([0, 0, 1, 1]), np.array(["a", "b", "c", "d"])
    >>> [len(test) for _, test in unit_folds(y, unit, folds=2, seed=0)]
    [2, 2]
    """
    # One row per (unit, class): a unit counts once, however many windows it has.
    pairs = sorted({(str(u), int(c)) for u, c in zip(unit, y, strict=True)})
    groups = np.array([u for u, _ in pairs])
    classes = np.array([c for _, c in pairs])
    k = min(folds, np.unique(groups).size)
    if k < 2:
        raise ValueError(f"Splitting by unit needs at least 2 units and 2 folds, got {np.unique(groups).size}.")
    test_parts = _stratified(groups, classes, k, seed)
    if test_parts is None:
        test_parts = [test for _, test in GroupKFold(n_splits=k).split(groups, groups=groups)]
    splits = []
    for test in test_parts:
        held_out = np.isin(unit, groups[test])
        splits.append((np.flatnonzero(~held_out), np.flatnonzero(held_out)))
    return splits


def stopping_split(y: IntArray, unit: StrArray, *, seed: int) -> Split | None:
    """Split training windows by unit into those fitted and those that only decide when to stop.

    About a fifth of the units decides. Every class stays among the fitted, and at least two classes (one, if there is
    only one) among the deciding.

    Returns
    -------
    (fit, stop) or None
        int64 row indices; None where there are too few units for it.

    >>> stopping_split(np.array([0, 1]), np.array(["a", "b"]), seed=0) is None  # too few units
    True
    """
    if np.unique(unit).size < MIN_UNITS_FOR_STOPPING:
        return None
    present = set(np.unique(y).tolist())
    for fit, stop in unit_folds(y, unit, folds=_STOPPING_SHARE, seed=seed):
        if set(y[fit].tolist()) == present and len(set(y[stop].tolist())) >= min(2, len(present)):
            return fit, stop
    return None


def balanced_weights(y: IntArray, unit: StrArray, weight: FloatArray, *, healthy: int | None) -> FloatArray:
    """Weigh windows so that units count alike within their class, and classes alike.

    A unit counts with the *mean* weight of its windows, so weak evidence still counts less than strong, and the number
    of windows does not matter. Units whose fault mode is unknown count as the mean known fault unit does.

    Parameters
    ----------
    y, unit
        (n,) class index and physical unit.
    weight
        (n,) weight of the evidence, finite, > 0.
    healthy
        Index of the healthy class or None.

    Returns
    -------
    numpy.ndarray
        float64 (n,), mean 1.

    Examples
    --------
    >>> y, unit = np.array([0, 0, 1]), np.array(["a", "a", "b"])
    >>> balanced_weights(y, unit, np.ones(3), healthy=0).tolist()
    [0.75, 0.75, 1.5]
    """
    names, unit_code = np.unique(unit, return_inverse=True)
    pair = (y - UNKNOWN_MODE) * names.size + unit_code
    out = weight / np.bincount(pair)[pair]
    mass = {int(c): float(out[y == c].sum()) for c in np.unique(y)}
    faults = [c for c in mass if c not in (UNKNOWN_MODE, healthy)]
    for c in mass:
        if c != UNKNOWN_MODE:
            out[y == c] /= mass[c]
    if UNKNOWN_MODE in mass:
        # Known faults together weigh len(faults); unknown ones at the same rate per unit of evidence.
        known = sum(mass[c] for c in faults)
        out[y == UNKNOWN_MODE] *= len(faults) / known if faults else 1.0 / mass[UNKNOWN_MODE]
    balanced: FloatArray = out * (y.size / out.sum())
    return balanced


def _stratified(groups: StrArray, classes: IntArray, k: int, seed: int) -> list[IntArray] | None:
    """Return the test parts of a stratified split, or None where it fails or leaves one empty."""
    splitter = StratifiedGroupKFold(n_splits=k, shuffle=True, random_state=seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class with fewer units than folds is no surprise here
            parts = [test for _, test in splitter.split(groups, classes, groups=groups)]
    except ValueError:
        return None
    return parts if all(part.size for part in parts) else None
