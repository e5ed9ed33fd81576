"""From windows to one row of features each.

Features are absolute: a row depends on its own window, the rate, the speed and the geometry, on nothing else. It comes
out bit by bit the same whether its window is passed alone or among others. What a window does not show is NaN, never 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.angular_windows import AngularWindows
from features.kinematics import Orders
from features.settings import (
    ANGLE_GROUPS,
    FORMULA_VERSION,
    FeatureSettings,
    feature_groups,
    feature_names,
    feature_version,
)
from features.spectra import spectrum
from features.spectra import time_domain as td
from features.spectra.bearing_lines import (
    BestBand,
    BestBins,
    Spectra,
    bearing_columns,
    best_spectra,
    cut_best_bands,
    envelope_spectra,
    find_best_band,
)
from features.spectra.gear_mesh import gear_mesh_statistics
from features.spectra.profile import shaft_columns, spectral_quantiles
from features.spectra.spectral_kurtosis import spectral_kurtosis_statistics
from features.spectra.synchronous_average import synchronous_statistics
from features.spectra.time_domain import Vector
from features.windows import steady_shaft_hz

__all__ = [
    "FORMULA_VERSION",
    "FeatureSettings",
    "extract",
    "extract_angular",
    "feature_groups",
    "feature_names",
    "feature_version",
]

_CHUNK_SAMPLES: Final = 262_144
"""Windows are transformed in chunks of about so many samples, which stay near the processor."""

_ROWS: Final = 16
"""A chunk has a multiple of so many windows where it can: Fourier transforms work on 16 rows at a time."""

_BLOCK_WINDOWS: Final = 256
_BLOCK_SAMPLES: Final = 8_388_608
"""Lines are read from the spectra of so many windows at once: hundreds of small steps, whose cost is per call."""


def chunk_windows(length: int) -> int:
    """Return how many windows of a length are transformed at once: 16 to 64 up to 65,536 samples, then fewer.

    Examples
    --------
    >>> chunk_windows(4096), chunk_windows(262_144)
    (64, 4)
    """
    if length > 4 * _CHUNK_SAMPLES // _ROWS:
        return max(4 * _CHUNK_SAMPLES // length, 1)
    return min(max(_CHUNK_SAMPLES // length // _ROWS, 1), 4) * _ROWS


def extract(
    windows: NDArray[np.float32],
    *,
    sampling_rate_hz: float,
    rate_is_declared: bool,
    shaft_speed_rpm: float | None,
    speed_is_steady: bool,
    orders: Orders | None,
    settings: FeatureSettings,
    samples_per_turn: int | None = None,
) -> NDArray[np.float32]:
    """Compute all features of windows that share one rate, speed and geometry (usually those of one recording).

    Parameters
    ----------
    windows : float32 array, shape (n, length)
        Samples in the unit the features are wanted in. Never written to.
    sampling_rate_hz : float
        Above 0.
    rate_is_declared : bool
        Where it is only assumed, everything that needs a frequency is missing.
    shaft_speed_rpm : float or None
        Mean shaft speed; sign ignored, 0 and NaN count as unknown.
    speed_is_steady : bool
        Where it is not, everything at a shaft order is missing.
    orders : Orders or None
        Geometry; None where unknown.
    settings : FeatureSettings
    samples_per_turn : int, optional
        Where the samples are at equal steps of shaft angle, how many make a turn; without it, no synchronous average.

    Returns
    -------
    float32 array, shape (n, F)
        One column per name of `feature_names(settings)`. NaN where a feature is missing; a window with a sample that
        is not finite, or without variation, is missing throughout.

    Raises
    ------
    ValueError
        The windows are not two-dimensional float32 with at least 2 samples, or the rate is not a finite number above 0.

    Examples
    --------
    >>> values = extract(
    ...     np.array([[1.0, -1.0] * 256], dtype=np.float32),
    ...     sampling_rate_hz=1000.0,
    ...     rate_is_declared=False,
    ...     shaft_speed_rpm=None,
    ...     speed_is_steady=False,
    ...     orders=None,
    ...     settings=FeatureSettings(),
    ... )
    >>> dict(zip(feature_names(FeatureSettings()), values[0].tolist()))["kurtosis_log10"]
    0.0
    """
    if windows.ndim != 2 or windows.dtype != np.float32 or windows.shape[1] < 2:
        raise ValueError(
            "Windows must be a 2-D float32 array of at least 2 samples a window, got "
            f"shape {windows.shape} of {windows.dtype}."
        )
    if not (math.isfinite(sampling_rate_hz) and sampling_rate_hz > 0):
        raise ValueError(f"The sampling rate must be a finite number above 0 Hz, got {sampling_rate_hz!r}.")
    n, length = windows.shape
    shaft_hz = steady_shaft_hz(shaft_speed_rpm, speed_is_steady=speed_is_steady)
    turns = length * shaft_hz / sampling_rate_hz if rate_is_declared and shaft_hz is not None else math.nan
    result = np.full((n, len(feature_names(settings))), np.nan, dtype=np.float32)
    shared = _Shared(
        bin_hz=sampling_rate_hz / length if rate_is_declared else math.nan,
        turns=turns,
        samples_per_turn=samples_per_turn,
        orders=orders or Orders(),
        settings=settings,
    )
    at_once = min(max(_BLOCK_SAMPLES // length, 1), _BLOCK_WINDOWS)
    for start in range(0, n, at_once):
        block = windows[start : start + at_once]
        rows = np.flatnonzero(np.isfinite(block).all(axis=-1))
        if rows.size:
            result[start + rows] = _extract_block(block, rows, shared)
    return result


def extract_angular(
    samples: NDArray[np.float32],
    windows: AngularWindows,
    *,
    sampling_rate_hz: float,
    orders: Orders | None,
    settings: FeatureSettings,
) -> NDArray[np.float32]:
    """Compute all features of windows that were cut over the shaft's angle.

    Everything at a shaft order is read from the windows over the angle, everything else from the recording's own
    samples of the same stretch of time.

    Parameters
    ----------
    samples : float32 array, shape (n_samples,)
        The recording that `windows` was cut from, in the same unit.
    windows : AngularWindows
    sampling_rate_hz : float
        Declared, above 0.
    orders : Orders or None
    settings : FeatureSettings

    Returns
    -------
    float32 array, shape (n, F)
        As of `extract`.
    """
    result = extract(
        windows.angular,
        sampling_rate_hz=windows.rate_hz,
        rate_is_declared=True,
        shaft_speed_rpm=windows.shaft_speed_rpm,
        speed_is_steady=True,
        orders=orders,
        settings=settings,
        samples_per_turn=windows.samples_per_turn,
    )
    groups = feature_groups(settings)
    in_time = np.concatenate([np.full(len(names), group not in ANGLE_GROUPS) for group, names in groups.items()])
    for row, (start, length) in enumerate(zip(windows.starts, windows.lengths, strict=True)):
        row_in_time = extract(
            np.ascontiguousarray(samples[None, start : start + length]),
            sampling_rate_hz=sampling_rate_hz,
            rate_is_declared=True,
            shaft_speed_rpm=None,
            speed_is_steady=False,
            orders=None,
            settings=settings,
        )
        result[row, in_time] = row_in_time[0, in_time]
    return result


@dataclass(frozen=True)
class _Shared:
    """What all windows of a call have in common; `bin_hz` and `turns` are NaN where not known."""

    bin_hz: float
    turns: float
    samples_per_turn: int | None
    orders: Orders
    settings: FeatureSettings


def _extract_block(block: NDArray[np.float32], rows: NDArray[np.int64], shared: _Shared) -> Vector:
    """Compute the wanted rows: transforms in chunks that stay in cache, then the lines of all spectra at once."""
    step = chunk_windows(block.shape[1])
    before: list[Vector] = []
    best: list[BestBins] = []
    after: list[Vector] = []
    spectra: list[Spectra] = []
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        chunk = block[part[0] : part[-1] + 1] if len(part) == part[-1] - part[0] + 1 else block[part]
        front, back, envelopes, bands = _extract_chunk(chunk, first, shared)
        before.append(front)
        after.append(back)
        spectra += envelopes
        best += bands
    spectra += best_spectra(best, turns=shared.turns, orders=shared.orders, settings=shared.settings, at_once=step)
    with np.errstate(invalid="ignore"):
        bearing = bearing_columns(
            spectra, len(rows), turns=shared.turns, orders=shared.orders, settings=shared.settings
        )
    return np.concatenate((np.concatenate(before), bearing, np.concatenate(after)), axis=-1)


def _extract_chunk(
    chunk: NDArray[np.float32], first_row: int, shared: _Shared
) -> tuple[Vector, Vector, list[Spectra], list[BestBins]]:
    """Return the columns before and after those of the bearing, and the spectra and bands those are read from."""
    length, bin_hz, turns, settings = chunk.shape[1], shared.bin_hz, shared.turns, shared.settings
    m = td.moments(chunk)
    # Scaled to unit variance, every later square stays well inside float32 whatever the unit of the input.
    scale = np.where(m.variance > 0, m.rms, 1.0)
    normal = np.empty(chunk.shape, dtype=np.float32)
    for row, window in enumerate(chunk):
        # Row by row: the differences, in float64, stay in the processor's cache.
        np.multiply(window - m.mean[row], 1.0 / scale[row], out=normal[row], casting="same_kind")
    transform = spectrum.real_transform(normal)
    power = spectrum.power_of_transform(transform, length)
    best = find_best_band(transform, bin_hz, length, settings)
    with np.errstate(invalid="ignore"):
        front = (
            _time_columns(m),
            _spectrum_columns(power, bin_hz, length, td.log10_or_nan(m.variance), settings),
            _impulse_columns(normal, best, settings),
        )
        back = (
            gear_mesh_statistics(power, orders=shared.orders, turns=turns, length=length, settings=settings.lines),
            synchronous_statistics(normal, shared.samples_per_turn if turns > 0 else None, shared.orders),
            spectral_quantiles(power, bin_hz),
            shaft_columns(power, turns, length, settings.lines),
        )
        envelopes = envelope_spectra(
            transform,
            first_row,
            bin_hz=bin_hz,
            turns=turns,
            length=length,
            orders=shared.orders,
            settings=settings,
        )
        bands = cut_best_bands(transform, best, first_row) if envelopes else []
    return np.concatenate(front, axis=-1), np.concatenate(back, axis=-1), envelopes, bands


def _time_columns(m: td.Moments) -> Vector:
    log = td.log10_or_nan
    columns = (
        log(m.rms),
        log(m.peak),
        log(m.peak_to_peak),
        log(td.crest_factor(m)),
        log(td.kurtosis(m)),
        td.skewness(m),
        td.shape_factor(m),
        log(td.impulse_factor(m)),
        log(td.clearance_factor(m)),
    )
    return np.stack(columns, axis=-1)


def _spectrum_columns(
    power: NDArray[np.float32], bin_hz: float, length: int, log_variance: Vector, settings: FeatureSettings
) -> Vector:
    entropy = spectrum.spectral_entropy(power)[:, None]
    n_bands = len(settings.band_edges_hz) - 1
    if math.isnan(bin_hz):
        blank = np.full((len(power), 2), np.nan)
        return np.concatenate((blank, entropy, np.full((len(power), 2 * n_bands), np.nan)), axis=-1)
    centre = np.stack((spectrum.spectral_centroid_hz(power, bin_hz), spectrum.rms_frequency_hz(power, bin_hz)), axis=-1)
    log_power, share = spectrum.band_features(power, bin_hz, length, settings.band_edges_hz)
    return np.concatenate((centre, entropy, log_power + log_variance[:, None], share), axis=-1)


def _impulse_columns(normal: NDArray[np.float32], best: BestBand, settings: FeatureSettings) -> Vector:
    highest, mean = spectral_kurtosis_statistics(normal, settings.spectral_kurtosis_samples)
    # 2 is added so that the logarithm is of what Gaussian noise has 2 of, as the best band's kurtosis.
    columns = (td.log10_or_nan(highest + 2.0), td.log10_or_nan(mean + 2.0))
    return np.concatenate((np.stack(columns, axis=-1), best.columns), axis=-1)
