"""From windows to one row of features each.

Features are absolute: a row depends on its own window, the rate, the speed and the geometry, on nothing else. It comes
out bit by bit the same whether its window is passed alone or among others. What a window cannot tell is NaN, never 0.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features import envelope, spectrum
from features import time_domain as td
from features.kinematics import Orders
from features.lines import LineSettings, signal_to_floor_db
from features.profile import shaft_columns, spectral_quantiles
from features.settings import (
    FEATURE_GROUPS,
    FORMULA_VERSION,
    MESH_STATISTICS,
    FeatureSettings,
    feature_groups,
    feature_names,
    feature_version,
)
from features.time_domain import Vector
from features.windows import steady_shaft_hz

__all__ = [
    "FEATURE_GROUPS",
    "FORMULA_VERSION",
    "FeatureSettings",
    "extract",
    "feature_groups",
    "feature_names",
    "feature_version",
]

_CHUNK_SAMPLES: Final = 131_072
"""Windows are worked on in chunks of about so many samples (1 to 64 windows), which stay in the processor's cache."""


def extract(
    windows: NDArray[np.float32],
    *,
    sampling_rate_hz: float,
    rate_is_declared: bool,
    shaft_speed_rpm: float | None,
    speed_is_steady: bool,
    orders: Orders | None,
    settings: FeatureSettings,
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

    Returns
    -------
    float32 array, shape (n, F)
        One column per name of `feature_names(settings)`. NaN where a feature is missing; a window with a sample that
        is not finite, or without variation, is missing throughout.

    Raises
    ------
    ValueError
        The windows are not two-dimensional float32 with at least 2 samples, or the rate is not a finite number above 0.
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
    step = min(max(_CHUNK_SAMPLES // length, 1), 64)
    for start in range(0, n, step):
        chunk = windows[start : start + step]
        rows = np.flatnonzero(np.isfinite(chunk).all(axis=-1))
        if rows.size:
            bin_hz = sampling_rate_hz / length if rate_is_declared else math.nan
            values = _extract_chunk(chunk[rows], bin_hz, turns, orders or Orders(), settings)
            result[start + rows] = values
    return result


def _extract_chunk(
    chunk: NDArray[np.float32], bin_hz: float, turns: float, orders: Orders, settings: FeatureSettings
) -> Vector:
    """Compute the rows of finite windows; `bin_hz` is NaN where no frequency is known, `turns` where no order is."""
    length = chunk.shape[1]
    m = td.moments(chunk)
    # Scaled to unit variance, every later square stays well inside float32 whatever the unit of the input.
    scale = np.where(m.variance > 0, m.rms, 1.0)
    normal = ((chunk - m.mean[:, None]) / scale[:, None]).astype(np.float32)
    transform = spectrum.real_transform(normal)
    power = spectrum.power_of_transform(transform, length)
    with np.errstate(invalid="ignore"):
        return np.concatenate(
            (
                _time_columns(m),
                _spectrum_columns(power, bin_hz, length, td.log10_or_nan(m.variance), settings),
                *(_envelope_columns(v, transform, bin_hz, length, turns, orders, settings) for v in envelope.VERSIONS),
                _mesh_columns(power, turns, length, orders, settings.lines),
                spectral_quantiles(power, bin_hz),
                shaft_columns(power, turns, length, settings.lines),
            ),
            axis=-1,
        )


def _time_columns(m: td.Moments) -> Vector:
    log = td.log10_or_nan
    columns = (
        log(m.rms),
        log(m.peak),
        log(m.highest - m.lowest),
        log(td.crest_factor_of(m)),
        log(td.kurtosis_of(m)),
        td.skewness_of(m),
        td.shape_factor_of(m),
        log(td.impulse_factor_of(m)),
        log(td.clearance_factor_of(m)),
    )
    return np.stack(columns, axis=-1)


def _spectrum_columns(
    power: Vector, bin_hz: float, length: int, log_variance: Vector, settings: FeatureSettings
) -> Vector:
    entropy = spectrum.spectral_entropy(power)[:, None]
    n_bands = len(settings.band_edges_hz) - 1
    if math.isnan(bin_hz):
        blank = np.full((len(power), 2), np.nan)
        return np.concatenate((blank, entropy, np.full((len(power), 2 * n_bands), np.nan)), axis=-1)
    centre = np.stack((spectrum.spectral_centroid_hz(power, bin_hz), spectrum.rms_frequency_hz(power, bin_hz)), axis=-1)
    log_power, share = spectrum.band_features(power, bin_hz, length, settings.band_edges_hz)
    return np.concatenate((centre, entropy, log_power + log_variance[:, None], share), axis=-1)


def _envelope_columns(
    version: str,
    transform: NDArray[np.complex64],
    bin_hz: float,
    length: int,
    turns: float,
    orders: Orders,
    settings: FeatureSettings,
) -> Vector:
    band = None
    if turns >= settings.lines.min_turns:
        if version == "white":
            band = envelope.whole_band_bins(length)
        else:
            low, high = settings.envelope_low_hz if version == "low" else settings.envelope_high_hz
            band = envelope.band_bins(
                low, high, bin_hz=bin_hz, length=length, min_width_hz=settings.envelope_min_width_hz
            )
    if band is None:
        return np.full((len(transform), len(envelope.STATISTICS)), np.nan)
    source = envelope.prewhiten(transform) if version == "white" else transform
    # The floor of the highest line reaches about a quarter further.
    wanted = min(
        envelope.usable_bins(band),
        math.ceil(
            envelope.highest_position(orders, turns) * (1 + settings.lines.floor_share + settings.lines.tolerance)
        )
        + settings.lines.floor_bins
        + 8,
    )
    ses = envelope.squared_envelope_spectrum(source, band, wanted)
    return envelope.line_statistics(ses, orders=orders, turns=turns, usable=wanted, settings=settings.lines)


def _mesh_columns(power: Vector, turns: float, length: int, orders: Orders, lines: LineSettings) -> Vector:
    if not (turns >= lines.min_turns and orders.gear_mesh):
        return np.full((len(power), len(MESH_STATISTICS)), np.nan)
    usable = int(spectrum.NYQUIST_SHARE * length / 2.0)

    def at(positions: list[float]) -> Vector:
        return signal_to_floor_db(
            power, tuple(p * turns for p in positions if p > 0), usable_bins=usable, settings=lines
        )

    meshes = orders.gear_mesh
    harmonics = [at([k * mesh for mesh in meshes]) for k in (1, 2, 3)]
    sidebands = (at([mesh - 1 for mesh in meshes]) + at([mesh + 1 for mesh in meshes])) / 2.0
    return np.stack((*harmonics, sidebands), axis=-1)
