"""Health figures: how far windows lie from their unit's own reference, by groups that physics moves together.

Every feature becomes a robust deviation in sigmas (`features.health.baseline.deviation`). Features that one cause moves
together are an *aspect*, their mean; a group is its highest aspect, because a flaw lifts one line or one resonance and
leaves the others where they are. The health index is the highest group, of which those where only a rise is bad count
from 0 upwards: run-in makes levels fall, and that is no damage. It is no sum, because groups are not independent: a
band that grows also moves the mean frequency, and a sum counts one small drift several times.

A sigma is at least what 1 dB moves: load, temperature and mounting do that from day to day. So 6 sigmas are an
amplitude that has doubled, in whichever figure it shows, and more where the healthy unit itself scatters by more.

Robust deviations from a healthy median follow P. J. Rousseeuw and M. Hubert, "Robust statistics for outlier detection",
WIREs Data Mining and Knowledge Discovery 1 (2011), section 2; that levels, impulsiveness and lines show different
stages of damage, R. B. Randall and J. Antoni, "Rolling element bearing diagnostics - a tutorial", Mechanical Systems
and Signal Processing 25 (2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.health.baseline import Reference, deviation
from features.spectra import envelope
from features.spectra.time_domain import Vector

GROUPS: Final = ("level", "impulsiveness", "bearing_lines", "gear_lines", "shape")
"""Names of the health figures, in the order of the columns."""

TWO_SIDED: Final = ("shape",)
"""Groups where a fall is as bad as a rise; of all others only a rise counts in the index."""

LARGEST_DEVIATION: Final = 30.0
"""Deviations are cut off here, in sigmas: beyond, they only mean "far off" and must not hide the other features."""

LEVEL_FLOOR: Final = 0.05
"""Smallest spread of log10 of an amplitude, or of a ratio of two as the crest factor: 1 dB."""

POWER_FLOOR: Final = 2 * LEVEL_FLOOR
"""Smallest spread of log10 of a power: the same 1 dB."""

KURTOSIS_FLOOR: Final = 4 * LEVEL_FLOOR
"""Smallest spread of log10 of the kurtosis: impulses that are 1 dB higher move their fourth moment by so much."""

LINE_FLOOR_DB: Final = 1.5
"""Smallest spread of a line over its floor, dB."""

SHARE_FLOOR: Final = 0.057
"""Smallest spread of a mean frequency, as a share of its median, and of the spectral entropy, which lies in 0..1.

Half of a flat spectrum that grows by 1 dB against the other half has 0.557 of the power instead of 0.5, and moves the
mean frequency by 5.7 %. One line that holds half of the power and grows by 1 dB moves the entropy by as much.
"""

TEMPERATURE_FLOOR: Final = 2.0
"""Smallest spread of a temperature, K: what a hall warms by over a day."""

_SIDEBANDS: Final = {"bpfi": "bpfi_sidebands_db", "bsf2x": "bsf2x_sidebands_db"}


def health_aspects(names: Sequence[str]) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Return the columns of every aspect of every group.

    Level: the RMS, a temperature, and each two neighbouring bands. Impulsiveness: kurtosis and crest factor together.
    Bearing lines: each line over all envelopes and harmonics, with its sidebands. Gear lines: the mesh harmonics, and
    the sidebands. Shape: the mean frequencies, and the spectral entropy.

    Parameters
    ----------
    names : sequence of str
        Names of the feature columns, as `features.settings.feature_names` returns them; unknown ones are not used.

    Examples
    --------
    >>> health_aspects(("rms_log10", "kurtosis_log10", "crest_factor_log10"))["impulsiveness"]
    ((1, 2),)
    """
    return dict(_aspects(tuple(names)))


@lru_cache(maxsize=16)
def _aspects(names: tuple[str, ...]) -> dict[str, tuple[tuple[int, ...], ...]]:
    place = {name: index for index, name in enumerate(names)}

    def columns(*wanted: str) -> tuple[int, ...]:
        return tuple(place[name] for name in wanted if name in place)

    bands = [name for name in names if name.startswith("band_") and name.endswith("_log_power")]
    lines = []
    for line in envelope.LINES:
        suffixes = [f"{line}_h1_db", f"{line}_mean13_db", *([_SIDEBANDS[line]] if line in _SIDEBANDS else [])]
        lines.append(columns(*(f"ses_{version}_{name}" for version in envelope.VERSIONS for name in suffixes)))
    aspects = {
        "level": [
            columns("rms_log10"),
            columns("temperature_c"),
            *(columns(*bands[k : k + 2]) for k in range(0, len(bands), 2)),
        ],
        "impulsiveness": [columns("kurtosis_log10", "crest_factor_log10")],
        "bearing_lines": lines,
        "gear_lines": [
            columns(*(f"raw_gear_mesh_h{k}_db" for k in (1, 2, 3))),
            columns("raw_gear_mesh_sidebands_db"),
        ],
        "shape": [columns("spectral_centroid_hz", "rms_frequency_hz"), columns("spectral_entropy")],
    }
    return {group: tuple(aspect for aspect in aspects[group] if aspect) for group in GROUPS}


def spread_floor(names: Sequence[str], reference: Reference) -> Vector:
    """Return the smallest spread of each feature that is believed, in the unit of the feature.

    Parameters
    ----------
    names : sequence of str
    reference : Reference
        Of the same F features: mean frequencies have a floor that is a share of their median.

    Returns
    -------
    float64 array, shape (F,)
        Above 0; 1 for features that no group uses.

    Examples
    --------
    >>> spread_floor(("rms_log10", "spectral_centroid_hz"), Reference(np.array([0.0, 2000.0]), np.zeros(2))).tolist()
    [0.05, 114.0]
    """
    floor = _fixed_floors(tuple(names)).copy()
    for index in np.flatnonzero(np.isnan(floor)):
        floor[index] = max(SHARE_FLOOR * abs(float(np.nan_to_num(reference.median[index]))), 1e-9)
    return floor


@lru_cache(maxsize=16)
def _fixed_floors(names: tuple[str, ...]) -> Vector:
    """Return the floors that names alone give; NaN for mean frequencies."""
    floor = np.ones(len(names))
    for index, name in enumerate(names):
        if name in ("spectral_centroid_hz", "rms_frequency_hz"):
            floor[index] = np.nan
        elif name == "spectral_entropy":
            floor[index] = SHARE_FLOOR
        elif name == "kurtosis_log10":
            floor[index] = KURTOSIS_FLOOR
        elif name == "temperature_c":
            floor[index] = TEMPERATURE_FLOOR
        elif name.endswith("_log_power"):
            floor[index] = POWER_FLOOR
        elif name.endswith("_log10"):
            floor[index] = LEVEL_FLOOR
        elif name.endswith("_db"):
            floor[index] = LINE_FLOOR_DB
    return floor


def health_figures(values: NDArray[Any], names: Sequence[str], reference: Reference) -> Vector:
    """Compute the health figures of windows.

    Parameters
    ----------
    values : float array, shape (n, F)
        Features; NaN or infinite = missing.
    names : sequence of str, length F
    reference : Reference
        Of the same F features.

    Returns
    -------
    float64 array, shape (n, 5)
        One column per name of `GROUPS`, in sigmas, signed, -30 to 30: the highest aspect of the group, of `shape` the
        one farthest from 0. An aspect is the mean of those of its deviations that are there; a group without any is
        NaN. 0 is the median of the reference.

    Raises
    ------
    ValueError
        Features, names and reference are not of one width.

    Examples
    --------
    >>> health_figures(np.array([[0.5]]), ("rms_log10",), Reference(np.array([0.2]), np.array([0.1]))).round(6).tolist()
    [[3.0, nan, nan, nan, nan]]
    """
    if values.ndim != 2 or not values.shape[1] == len(names) == len(reference.median) == len(reference.spread):
        raise ValueError(
            f"Features of shape {values.shape}, {len(names)} names and a reference of {len(reference.median)} medians "
            f"and {len(reference.spread)} spreads do not belong together."
        )
    wide = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    z = np.clip(deviation(wide, reference, floor=spread_floor(names, reference)), -LARGEST_DEVIATION, LARGEST_DEVIATION)
    figures = np.full((len(z), len(GROUPS)), np.nan)
    for column, (group, aspects) in enumerate(health_aspects(names).items()):
        if not aspects:
            continue
        per_aspect = np.column_stack([_mean_of_finite(z[:, list(aspect)]) for aspect in aspects])
        rank = np.abs(per_aspect) if group in TWO_SIDED else per_aspect
        best = np.argmax(np.where(np.isfinite(rank), rank, -np.inf), axis=1)
        figures[:, column] = per_aspect[np.arange(len(per_aspect)), best]
    return figures


def index_of_figures(figures: NDArray[Any]) -> Vector:
    """Combine health figures into the health index.

    Parameters
    ----------
    figures : float array, shape (n, 5)
        As `health_figures` returns them, or medians of such over windows.

    Returns
    -------
    float64 array, shape (n,)
        The highest group of those that are there, 0 at least; `shape` counts as `|g|`. In sigmas, 0 to 30. NaN where
        no group is there.

    Examples
    --------
    >>> index_of_figures(np.array([[2.0, -9.0, np.nan, np.nan, -3.0]])).tolist()
    [3.0]
    """
    if figures.ndim != 2 or figures.shape[1] != len(GROUPS):
        raise ValueError(f"Health figures must have shape (n, {len(GROUPS)}), got {figures.shape}.")
    two_sided = np.array([group in TWO_SIDED for group in GROUPS])
    bad = np.where(two_sided, np.abs(figures), np.maximum(figures, 0.0))
    return _highest(bad)


def health_index(values: NDArray[Any], names: Sequence[str], reference: Reference) -> Vector:
    """Compute the health index of windows: 0 = as the median of the reference, in sigmas.

    Parameters
    ----------
    values : float array, shape (n, F)
        Features; NaN = missing.
    names : sequence of str, length F
    reference : Reference

    Returns
    -------
    float64 array, shape (n,)
        Healthy windows scatter between about 0 and 2. NaN where no group is there.

    Examples
    --------
    >>> health_index(np.array([[0.5]]), ("rms_log10",), Reference(np.array([0.2]), np.array([0.1]))).round(6).tolist()
    [3.0]
    """
    return index_of_figures(health_figures(values, names, reference))


def _highest(values: Vector) -> Vector:
    """Highest of what is finite over the last axis; NaN where nothing is."""
    there = np.isfinite(values)
    highest: Vector = np.where(there, values, -np.inf).max(axis=-1)
    return np.where(there.any(axis=-1), highest, np.nan)


def _mean_of_finite(values: Vector) -> Vector:
    """Mean over the last axis of what is finite; NaN where nothing is."""
    there = np.isfinite(values)
    count = there.sum(axis=-1)
    total = np.where(there, values, 0.0).sum(axis=-1)
    result: Vector = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return result
