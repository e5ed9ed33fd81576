"""Training windows, checked: what makes training impossible is refused before it starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.kinds import HEALTHY, UNKNOWN_MODE, TrainingRefused, kind_of
from models.training.rule_prior import RulePrior

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Windows that may be trained on.

    Attributes
    ----------
    x
        float32 (n, F), NaN = missing, otherwise finite; no row is all missing.
    y
        int64 (n,) class index or UNKNOWN_MODE.
    unit
        (n,) physical unit, str.
    weight
        float64 (n,) > 0.
    classes
        Class names.
    groups
        One group name per feature, or None.
    notes
        What was left out, in words.
    rows
        int64 (n,) which of the windows that came in they are.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    unit: NDArray[np.str_]
    weight: FloatArray
    classes: tuple[str, ...]
    groups: tuple[str, ...] | None
    notes: tuple[str, ...]
    rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Supplement:
    """Examples that help to fit a network and that nothing is judged by: made from physics, not measured.

    They are in no fold, no calibration, no novelty reference and no quantile.

    Attributes
    ----------
    x
        float32 (n, F), NaN = missing.
    y
        int64 (n,) class index.
    units
        As how many physical units of its class each class's examples count, > 0: with u measured units of the class
        they have the share `units / (units + u)` of the class's weight.
    source
        (n,) physical unit whose recording an example was made after, str, "" for none: where that unit is held out,
        so is the example. None: no example has one.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    units: float
    source: NDArray[np.str_] | None = None


def checked_supplement(
    supplement: Supplement | None, *, classes: tuple[str, ...], n_features: int
) -> Supplement | None:
    """Check a supplement; None where there is nothing in it.

    Raises
    ------
    TrainingRefused
        Shapes that do not fit, infinite features, class indices out of range, or a weight that is not above 0.
    """
    if supplement is None or not len(supplement.y):
        return None
    x, y = np.asarray(supplement.x, dtype=np.float32), np.asarray(supplement.y)
    if x.shape != (len(y), n_features) or not np.issubdtype(y.dtype, np.integer):
        raise TrainingRefused(
            f"A supplement must have (n, {n_features}) features and n classes, got {x.shape}, {y.shape}."
        )
    if np.isinf(x).any() or not 0 < supplement.units < np.inf:
        raise TrainingRefused("A supplement must hold no infinite feature and count as a number of units above 0.")
    if ((y < 0) | (y >= len(classes))).any():
        raise TrainingRefused(
            f"Classes of a supplement must lie in 0 .. {len(classes) - 1}, got {y.min()} .. {y.max()}."
        )
    source = None if supplement.source is None else np.asarray(supplement.source).astype(np.str_)
    if source is not None and source.shape != y.shape:
        raise TrainingRefused(f"A supplement of {len(y)} examples has {source.shape} sources; one each is needed.")
    return Supplement(x, y.astype(np.int64), supplement.units, source)


def checked_rule(rule: RulePrior | None, *, classes: tuple[str, ...], names: tuple[str, ...]) -> RulePrior | None:
    """Check that a rule has one entry a class and reads features that there are.

    Raises
    ------
    TrainingRefused
        It does not.
    """
    if rule is None:
        return None
    if len(rule.lines) != len(classes):
        raise TrainingRefused(f"The rule has {len(rule.lines)} entries for {len(classes)} classes.")
    absent = sorted(rule.features - set(names))
    if absent:
        raise TrainingRefused(f"The rule reads {', '.join(absent)}, which is not among the features.")
    return rule


def checked_training_data(
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    unit: NDArray[np.str_],
    weight: FloatArray | None,
    *,
    classes: tuple[str, ...],
    feature_names: tuple[str, ...],
    groups: tuple[str, ...] | None,
) -> TrainingData:
    """Check and clean the arguments of `models.training.train.train`.

    Windows without any feature, with weight 0, or (where no healthy class is known) of unknown fault mode are left
    out, with a note.

    Raises
    ------
    TrainingRefused
        Shapes that do not fit, infinite features, class indices or weights out of range, nothing left to train on,
        fewer than two units, a class without windows, or unknown modes without a fault class to put them in.
    """
    x, y, unit, weight = _arrays(x, y, unit, weight, feature_names, groups)
    _check_values(x, y, unit, weight, classes, feature_names)
    keep = weight > 0.0
    notes = _note([], int((~keep).sum()), "of weight 0")
    empty = keep & np.isnan(x).all(axis=1)
    notes = _note(notes, int(empty.sum()), "without any feature")
    keep &= ~empty
    if kind_of(classes) == "fault_types":
        unknown = keep & (y == UNKNOWN_MODE)
        notes = _note(notes, int(unknown.sum()), "of unknown fault mode (without a healthy class they say nothing)")
        keep &= ~unknown
    if not keep.any():
        raise TrainingRefused("No window is left to train on: every one has weight 0, or no feature, or no fault mode.")
    x, y, unit, weight = x[keep], y[keep], unit[keep], weight[keep]
    if np.unique(unit).size < 2:
        raise TrainingRefused(f"All {y.size} windows are of one unit ('{unit[0]}'); at least two units are needed.")
    _check_classes(y, classes)
    if kind_of(classes) != "baseline_only" and min((unit != name).sum() for name in np.unique(unit)) < 2:
        raise TrainingRefused("Without one of its units the training set has fewer than two windows; add windows.")
    return TrainingData(x, y, unit, weight, classes, groups, tuple(notes), np.flatnonzero(keep))


def _arrays(
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    unit: NDArray[np.str_],
    weight: FloatArray | None,
    feature_names: tuple[str, ...],
    groups: tuple[str, ...] | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.str_], FloatArray]:
    """Return the arrays in their types, shapes checked."""
    if not feature_names or len(set(feature_names)) != len(feature_names):
        raise TrainingRefused("Feature names must be given, and be different from one another.")
    if np.ndim(x) != 2 or x.shape[1] != len(feature_names):
        raise TrainingRefused(f"x must have shape (n, {len(feature_names)}), one column per feature; got {x.shape}.")
    if groups is not None and len(groups) != len(feature_names):
        raise TrainingRefused(f"{len(groups)} feature groups for {len(feature_names)} features.")
    n = len(x)
    if n == 0:
        raise TrainingRefused("The training set is empty: label some units first.")
    weight = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    unit = np.asarray(unit).astype(np.str_)
    if np.shape(y) != (n,) or unit.shape != (n,) or weight.shape != (n,):
        raise TrainingRefused(
            f"y {np.shape(y)}, unit {unit.shape} and weight {weight.shape} must each have one value per window ({n})."
        )
    if not np.issubdtype(np.asarray(y).dtype, np.integer):
        raise TrainingRefused(f"y must hold integer class indices, got {np.asarray(y).dtype}.")
    with np.errstate(over="ignore"):  # a feature too large for float32 becomes infinite and is refused by name
        return np.ascontiguousarray(x, dtype=np.float32), np.asarray(y, dtype=np.int64), unit, weight


def _check_values(
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    unit: NDArray[np.str_],
    weight: FloatArray,
    classes: tuple[str, ...],
    feature_names: tuple[str, ...],
) -> None:
    infinite: NDArray[np.bool_] = np.asarray(np.isinf(x).any(axis=0))
    if infinite.any():
        names = [name for name, bad in zip(feature_names, infinite, strict=True) if bad]
        raise TrainingRefused(
            f"Infinite values in {len(names)} features ({', '.join(names[:5])}), first in window "
            f"{int(np.isinf(x).any(axis=1).argmax())}; missing values must be NaN."
        )
    if np.isnan(x).all():
        raise TrainingRefused("Every feature of every window is missing.")
    if ((y < UNKNOWN_MODE) | (y >= len(classes))).any():
        raise TrainingRefused(f"y must lie in -1 .. {len(classes) - 1}, got {y.min()} .. {y.max()}.")
    if not (np.isfinite(weight) & (weight >= 0.0)).all():
        raise TrainingRefused("Weights must be finite and not negative.")
    if (unit == "").any():
        raise TrainingRefused(f"Window {int((unit == '').argmax())} has no unit; a split by unit needs every one.")


def _check_classes(y: NDArray[np.int64], classes: tuple[str, ...]) -> None:
    """Refuse classes without windows, except one fault class whose windows are all of unknown mode."""
    present = set(y.tolist())
    faults = [name for name in classes if name != HEALTHY]
    if UNKNOWN_MODE in present and not faults:
        raise TrainingRefused(
            "There are windows of unknown fault mode but no fault class; pass classes=('healthy', 'fault_unknown')."
        )
    absent = [name for c, name in enumerate(classes) if c not in present]
    if absent == faults and len(faults) == 1 and UNKNOWN_MODE in present:
        return
    if absent:
        raise TrainingRefused(f"No window of class {', '.join(absent)}: label some, or leave the class out.")


def _note(notes: list[str], n: int, what: str) -> list[str]:
    return [*notes, f"{n} windows left out: {what}"] if n else notes
