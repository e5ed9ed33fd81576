"""Drift: have features, or the scores of the model, shifted since the reference period of the champion?

Windows of a recording are alike, and so are recordings of a unit. So physical units are counted: the median of each
unit over its recordings in a regime, then and now. Where enough units were seen in both periods, each is compared with
itself: a replaced unit has no "then" and cannot drift. Where too few were, units of then are compared with other units
of now by their ranks (effect size: N. Cliff, "Dominance statistics", 1993). In both designs the p-values hold over all
features and regimes together, however they depend on each other (`pipeline.watch.triggers.sign_flips`). If a single
axis or its sensor drifts, one unit of many shifts, and the trigger does not fire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from features.health.baseline import MAD_TO_SIGMA, known_median
from pipeline.base.figures import finite_or_none
from pipeline.watch.triggers.decision import Decision, check_share
from pipeline.watch.triggers.sign_flips import label_shuffles, max_t, sign_flips

Array = npt.NDArray[np.float64]
FLIPS: Final = 4096
SEED: Final = 20
SHOWN: Final = 10
"""Number of features that the figures name, the clearest first."""

SAME_UNITS: Final = "same units"
OTHER_UNITS: Final = "other units"


@dataclass(frozen=True, eq=False)
class DriftSample:
    """Recordings of one period, a row each.

    Attributes
    ----------
    values : float array, shape (n, F)
        The median of the windows of each recording: features, or scores. NaN = missing.
    unit : str array, shape (n,)
        Physical unit.
    regime : str array, shape (n,)
        Channel and operating regime: only rows with the same value are compared.
    """

    values: npt.NDArray[Any]
    unit: npt.NDArray[np.str_]
    regime: npt.NDArray[np.str_]

    def without(self, units: Mapping[str, str]) -> DriftSample:
        """Return the sample without some units."""
        kept = ~np.isin(self.unit, list(units))
        return DriftSample(self.values[kept], self.unit[kept], self.regime[kept])


@dataclass(frozen=True)
class Shift:
    """How one feature moved in one regime. `effect`: see `drift`; `p` is adjusted for all features and regimes."""

    regime: str
    feature: str
    effect: float
    p: float
    units: int


@dataclass(frozen=True)
class _Compared:
    design: str
    units: int
    tested: int
    shifts: list[Shift]


def drift(
    reference: DriftSample,
    current: DriftSample,
    *,
    names: Sequence[str],
    alpha: float,
    min_shift: float,
    min_delta: float = 0.474,
    min_units: int = 8,
    min_recordings: int = 3,
    explained: Mapping[str, str] | None = None,
    trigger: str = "feature_drift",
) -> Decision:
    """Fire when a feature has shifted by enough on the units of a regime, and by more than chance explains.

    Parameters
    ----------
    reference, current
        Recordings then and now.
    names
        Names of the F columns.
    alpha
        Chance of a false alarm over all features and regimes together, in (0, 1).
    min_shift
        Same units then and now: least median shift over units, in robust standard deviations (1.4826 MAD) of the
        regime's reference recordings.
    min_delta
        Other units now: least Cliff's delta, 0 to 1; 0.474 is called large (J. Romano et al. 2006).
    min_units
        Units that a regime needs (on each side, where they are others). With n of the same units no p-value is below
        2^(1 - n).
    min_recordings
        Recordings that a unit needs in a regime, then and now.
    explained
        Units whose change has a known cause (a bad sensor, a replacement, a confirmed fault), with that cause. They are
        left out. Whether the trigger would fire with them is among the figures.
    trigger
        Name of the trigger.
    """
    check_share("alpha", alpha)
    known = dict(explained or {})

    def compare(then: DriftSample, now: DriftSample) -> _Compared:
        return _compare(then, now, names, min_units=min_units, min_recordings=min_recordings)

    def clear(result: _Compared) -> list[Shift]:
        least = min_shift if result.design == SAME_UNITS else min_delta
        return [one for one in result.shifts if one.p <= alpha and abs(one.effect) >= least]

    result = compare(reference.without(known), current.without(known))
    beyond = clear(result)
    seen = set(reference.unit.tolist()) | set(current.unit.tolist())
    there = {unit: why for unit, why in known.items() if unit in seen}
    with_them = bool(beyond)
    if there and not beyond:
        with_them = bool(clear(compare(reference, current)))
    strongest = sorted(beyond or result.shifts, key=lambda one: (one.p, -abs(one.effect), one.regime, one.feature))
    figures = {
        "design": result.design,
        "units": result.units,
        "tested": result.tested,
        "moved": len(beyond),
        "regimes": sorted({one.regime for one in beyond}),
        "strongest": [{**vars(one), "effect": finite_or_none(one.effect)} for one in strongest[:SHOWN]],
        "recordings": {"then": len(reference.unit), "now": len(current.unit)},
        "explained": there,
        "would_fire_with_explained": with_them,
        "alpha": alpha,
        "min_shift": min_shift,
        "min_delta": min_delta,
        "min_units": min_units,
        "min_recordings": min_recordings,
    }
    return Decision(trigger, bool(beyond), _reason(result, beyond, there, with_them, min_units), figures)


def _reason(
    result: _Compared, beyond: list[Shift], explained: Mapping[str, str], with_them: bool, min_units: int
) -> str:
    left = f"; {len(explained)} units with a known cause are left out" if explained else ""
    if beyond:
        first = min(beyond, key=lambda one: (one.p, -abs(one.effect)))
        return (
            f"{len(beyond)} of {result.tested} comparisons of {result.design} show a shift, most clearly "
            f"{first.feature} in {first.regime} (effect {first.effect:+.2f}, adjusted p {first.p:.2g}, "
            f"{first.units} units){left}"
        )
    if with_them:
        why = "; ".join(f"{unit}: {text}" for unit, text in sorted(explained.items())[:3])
        return f"there is a shift, but its causes are known ({why})"
    if not result.tested:
        return f"no regime has {min_units} units with enough recordings in both periods{left}"
    return f"none of {result.tested} comparisons of {result.design} shows a shift ({result.units} units){left}"


def _compare(
    then: DriftSample, now: DriftSample, names: Sequence[str], *, min_units: int, min_recordings: int
) -> _Compared:
    before, after = _unit_medians(then, min_recordings), _unit_medians(now, min_recordings)
    same = {regime: sorted(set(before[regime]) & set(after[regime])) for regime in sorted(set(before) & set(after))}
    paired = {regime: units for regime, units in same.items() if len(units) >= min_units}
    if paired:
        return _same_units(then, before, after, paired, names, min_units)
    return _other_units(before, after, same, names, min_units)


def _unit_medians(period: DriftSample, min_recordings: int) -> dict[str, dict[str, Array]]:
    """Return the median (F,) of every unit with enough recordings, by regime and unit."""
    medians: dict[str, dict[str, Array]] = {}
    if not len(period.unit):
        return medians
    order = np.lexsort((period.unit, period.regime))
    regime, unit = period.regime[order], period.unit[order]
    starts = np.flatnonzero(np.r_[True, (regime[1:] != regime[:-1]) | (unit[1:] != unit[:-1])])
    for start, stop in zip(starts, np.r_[starts[1:], len(order)], strict=True):
        if stop - start >= min_recordings:
            values = period.values[order[start:stop]].astype(np.float64)
            medians.setdefault(str(regime[start]), {})[str(unit[start])] = known_median(values)
    return medians


def _spread(values: Array) -> Array:
    """1.4826 MAD of each column, the standard deviation where that is 0; NaN where nothing varies."""
    center = known_median(values)
    spread = MAD_TO_SIGMA * known_median(np.abs(values - center))
    flat = ~(spread > 0)
    if flat.any():
        masked = np.ma.masked_invalid(values[:, flat])
        spread[flat] = np.ma.filled(masked.std(axis=0), np.nan)
    return np.where(spread > 1e-12 * np.maximum(1.0, np.abs(center)), spread, np.nan)


def _same_units(
    then: DriftSample,
    before: dict[str, dict[str, Array]],
    after: dict[str, dict[str, Array]],
    paired: dict[str, list[str]],
    names: Sequence[str],
    min_units: int,
) -> _Compared:
    units = sorted({unit for members in paired.values() for unit in members})
    row = {unit: index for index, unit in enumerate(units)}
    blocks, labels, effects, counts = [], [], [], []
    for regime, members in paired.items():
        block = np.full((len(units), len(names)), np.nan)
        for unit in members:
            block[row[unit]] = after[regime][unit] - before[regime][unit]
        spread = _spread(then.values[then.regime == regime].astype(np.float64))
        count = np.isfinite(block).sum(axis=0)
        kept = np.flatnonzero((count >= min_units) & np.isfinite(spread))
        blocks.append(block[:, kept])
        labels += [(regime, names[int(index)]) for index in kept]
        effects.append(known_median(block[:, kept]) / spread[kept])
        counts.append(count[kept])
    differences = np.concatenate(blocks, axis=1)
    if not differences.shape[1]:
        return _Compared(SAME_UNITS, len(units), 0, [])
    _, p = max_t(differences, sign_flips(len(units), most=FLIPS, seed=SEED))
    effect, count = np.concatenate(effects), np.concatenate(counts)
    shifts = [
        Shift(regime, name, float(effect[index]), float(p[index]), int(count[index]))
        for index, (regime, name) in enumerate(labels)
    ]
    return _Compared(SAME_UNITS, len(units), len(shifts), shifts)


def _other_units(
    before: dict[str, dict[str, Array]],
    after: dict[str, dict[str, Array]],
    same: dict[str, list[str]],
    names: Sequence[str],
    min_units: int,
) -> _Compared:
    """Compare units of then with units that were not there then, regime by regime."""
    sides: dict[str, tuple[list[str], list[str]]] = {}
    for regime, twice in same.items():
        old = sorted(set(before[regime]) - set(twice))
        new = sorted(set(after[regime]) - set(twice))
        if min(len(old), len(new)) >= min_units:
            sides[regime] = (old, new)
    old_units = sorted({unit for old, _ in sides.values() for unit in old})
    new_units = sorted({unit for _, new in sides.values() for unit in new} - set(old_units))
    row = {unit: index for index, unit in enumerate((*old_units, *new_units))}
    ranks, labels, effects, counts = [], [], [], []
    for regime, (old, new) in sides.items():
        block = np.full((len(row), len(names)), np.nan)
        for unit in old:
            block[row[unit]] = before[regime][unit]
        for unit in new:
            if unit in new_units:
                block[row[unit]] = after[regime][unit]
        first = np.isfinite(block[: len(old_units)]).sum(axis=0)
        second = np.isfinite(block[len(old_units) :]).sum(axis=0)
        centred = rankdata(block, axis=0, nan_policy="omit") - (first + second + 1) / 2.0
        varies = np.nanmax(np.abs(np.nan_to_num(centred)), axis=0) > 0
        for index in np.flatnonzero((first >= min_units) & (second >= min_units) & varies):
            ranks.append(centred[:, index])
            labels.append((regime, names[int(index)]))
            # Rank sum of the new units, less its mean, is delta times half the number of pairs.
            effects.append(2.0 * float(np.nansum(centred[len(old_units) :, index])) / (first[index] * second[index]))
            counts.append(int(first[index] + second[index]))
    if not ranks:
        return _Compared(OTHER_UNITS, len(row), 0, [])
    _, p = max_t(np.stack(ranks, axis=1), label_shuffles(len(old_units), len(new_units), most=FLIPS, seed=SEED))
    shifts = [
        Shift(regime, name, effects[index], float(p[index]), counts[index])
        for index, (regime, name) in enumerate(labels)
    ]
    return _Compared(OTHER_UNITS, len(row), len(shifts), shifts)
