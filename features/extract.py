"""From windows to one row of features each.

Features are absolute: a row depends on its own window, the rate, the speed and the geometry, on nothing else. It comes
out bit by bit the same whether its window is passed alone or among others. What a window does not show is NaN, never 0.

A step costs per call as much as per window, so windows of many recordings go through each step together: transforms in
chunks of one length and rate, the lines of all spectra at once, each row at its own orders.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.angular_windows import AngularWindows
from features.chunks import Sampling, TransformedChunk, Turning, chunk_windows, transform_chunk
from features.kinematics import Orders
from features.settings import (
    ANGLE_GROUPS,
    FORMULA_VERSION,
    LONG_LINES,
    FeatureSettings,
    feature_groups,
    feature_names,
    feature_version,
)
from features.spectra.bearing_lines import bearing_columns, best_spectra, envelope_bins
from features.spectra.gear_mesh import gear_mesh_statistics, spectrum_reach
from features.spectra.line_reader import order_columns
from features.spectra.profile import SHAFT_HARMONICS, shaft_columns
from features.spectra.spectrum import NYQUIST_SHARE
from features.windows import steady_shaft_hz

__all__ = [
    "FORMULA_VERSION",
    "FeatureSettings",
    "RecordingWindows",
    "WindowFeatures",
    "extract",
    "extract_angular",
    "extract_together",
    "feature_groups",
    "feature_names",
    "feature_version",
]

_BLOCK_WINDOWS: Final = 256
_BLOCK_SAMPLES: Final = 8_388_608
"""Lines are read from the spectra of so many windows at once: hundreds of small steps, whose cost is per call."""


@dataclass(frozen=True, eq=False)
class RecordingWindows:
    """Windows that share one rate, speed and geometry, usually those of one recording.

    Attributes
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
    samples_per_turn : int or None
        Where the samples are at equal steps of shaft angle, how many make a turn; without it, no synchronous average.
    kept : tuple of int
        Windows whose spectrum is wanted too, ascending,
    kept_bins : int
        and so many bins of it.

    Raises
    ------
    ValueError
        The windows are not two-dimensional float32 with at least 2 samples, or the rate is not a finite number above 0.
    """

    windows: NDArray[np.float32]
    sampling_rate_hz: float
    rate_is_declared: bool
    shaft_speed_rpm: float | None
    speed_is_steady: bool
    orders: Orders | None
    samples_per_turn: int | None = None
    kept: tuple[int, ...] = ()
    kept_bins: int = 0

    def __post_init__(self) -> None:
        windows, rate = self.windows, self.sampling_rate_hz
        if windows.ndim != 2 or windows.dtype != np.float32 or windows.shape[1] < 2:
            raise ValueError(
                "Windows must be a 2-D float32 array of at least 2 samples a window, got "
                f"shape {windows.shape} of {windows.dtype}."
            )
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"The sampling rate must be a finite number above 0 Hz, got {rate!r}.")

    @property
    def turns(self) -> float:
        """Shaft turns in a window; NaN where rate or speed is not known."""
        shaft_hz = steady_shaft_hz(self.shaft_speed_rpm, speed_is_steady=self.speed_is_steady)
        if shaft_hz is None or not self.rate_is_declared:
            return math.nan
        return float(self.windows.shape[1] * shaft_hz / self.sampling_rate_hz)


@dataclass(frozen=True, eq=False)
class WindowFeatures:
    """What `extract_together` returns for the windows of one recording.

    Attributes
    ----------
    values : float32 array, shape (n, F)
        One column per name of `feature_names(settings)`. NaN where a feature is missing; a window with a sample that
        is not finite, or without variation, is missing throughout.
    mains : float64 array, shape (n, mains frequencies)
        Share of the power that each mains frequency explains (`features.quality.mains.mains_shares`); NaN where a
        sample is not finite.
    finite : bool array, shape (n,)
        Whether all samples of a window are finite.
    power : float32 array, shape (len(kept), kept_bins)
        Power spectra of the windows in `kept`, scaled to unit variance; NaN where a sample is not finite.
    """

    values: NDArray[np.float32]
    mains: NDArray[np.float64]
    finite: NDArray[np.bool_]
    power: NDArray[np.float32]


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
    windows, sampling_rate_hz, rate_is_declared, shaft_speed_rpm, speed_is_steady, orders, samples_per_turn
        As of `RecordingWindows`.
    settings : FeatureSettings

    Returns
    -------
    float32 array, shape (n, F)
        As of `WindowFeatures`.

    Raises
    ------
    ValueError
        As of `RecordingWindows`.

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
    alone = RecordingWindows(
        windows, sampling_rate_hz, rate_is_declared, shaft_speed_rpm, speed_is_steady, orders, samples_per_turn
    )
    return extract_together([alone], settings)[0].values


def extract_together(recordings: Sequence[RecordingWindows], settings: FeatureSettings) -> list[WindowFeatures]:
    """Compute the features of the windows of many recordings, of any lengths, rates, speeds and geometries.

    Each row is bit by bit what its window gives alone. Besides the results it holds the spectra of up to 256 windows
    and 8,388,608 samples at a time.
    """
    n_features, n_mains = len(feature_names(settings)), len(settings.quality.hum.mains_hz)
    results = [
        WindowFeatures(
            np.full((len(own.windows), n_features), np.nan, dtype=np.float32),
            np.full((len(own.windows), n_mains), np.nan),
            np.array([bool(np.isfinite(window).all()) for window in own.windows], dtype=np.bool_),
            np.full((len(own.kept), own.kept_bins), np.nan, dtype=np.float32),
        )
        for own in recordings
    ]
    rows = []
    for place, (own, result) in enumerate(zip(recordings, results, strict=True)):
        need = _Need.of(own, settings)
        rows += [_Row(place, index, need) for index in np.flatnonzero(result.finite).tolist()]
    # Rows that need as many bins stand together: their transforms have one length.
    rows.sort(key=lambda row: row.need.key)
    for block in _blocks(rows):
        _extract_block(block, recordings, results, settings)
    return results


@dataclass(frozen=True, eq=False)
class _Need:
    """What a recording's windows are grouped by, and read with."""

    sampling: Sampling
    turns: float
    orders: Orders
    envelope_bins: int
    spectrum_bins: int

    @classmethod
    def of(cls, own: RecordingWindows, settings: FeatureSettings) -> _Need:
        length, turns, orders = own.windows.shape[1], own.turns, own.orders or Orders()
        bins = 0
        if turns >= settings.lines.min_turns:
            bins = spectrum_reach(orders, turns, max(SHAFT_HARMONICS), settings.lines)
        rate = own.sampling_rate_hz if own.rate_is_declared else math.nan
        return cls(
            Sampling(length, rate, own.samples_per_turn, orders.gear_mesh if own.samples_per_turn else ()),
            turns,
            orders,
            envelope_bins(orders, turns, settings),
            min(max(bins, own.kept_bins), length // 2 + 1),
        )

    @property
    def key(self) -> tuple[object, ...]:
        sampling = self.sampling
        rate = -1.0 if math.isnan(sampling.rate_hz) else sampling.rate_hz
        return sampling.length, rate, sampling.samples_per_turn or 0, sampling.gear_mesh, self.envelope_bins


@dataclass(frozen=True, eq=False)
class _Row:
    """One window: which recording, which of its windows."""

    recording: int
    window: int
    need: _Need


def _blocks(rows: list[_Row]) -> Iterator[list[_Row]]:
    block: list[_Row] = []
    samples = 0
    for row in rows:
        length = row.need.sampling.length
        if block and (len(block) == _BLOCK_WINDOWS or samples + length > _BLOCK_SAMPLES):
            yield block
            block, samples = [], 0
        block.append(row)
        samples += length
    if block:
        yield block


def _extract_block(
    block: list[_Row], recordings: Sequence[RecordingWindows], results: list[WindowFeatures], settings: FeatureSettings
) -> None:
    """Fill in the results of some rows: transforms in chunks that stay in cache, then the lines of all spectra."""
    turning = Turning(
        np.array([row.need.turns for row in block]),
        np.array([row.need.envelope_bins for row in block]),
        np.array([row.need.spectrum_bins for row in block]),
    )
    power = np.zeros((len(block), int(turning.spectrum_bins.max())), dtype=np.float32)
    chunks: list[TransformedChunk] = []
    first = 0
    for _, same in groupby(block, key=lambda row: row.need.key[:-1]):
        alike = list(same)
        sampling = alike[0].need.sampling
        step = chunk_windows(sampling.length)
        for start in range(0, len(alike), step):
            part = alike[start : start + step]
            chunk = transform_chunk(
                [recordings[row.recording].windows[row.window] for row in part],
                first,
                sampling=sampling,
                turning=turning.part(slice(first, first + len(part))),
                settings=settings,
            )
            power[first : first + len(part), : chunk.power.shape[-1]] = chunk.power
            chunks.append(chunk)
            first += len(part)
    spectra = [part for chunk in chunks for part in chunk.envelopes]
    bands = [part for chunk in chunks for part in chunk.bands]
    spectra += best_spectra(bands, turning.envelope_bins, chunk_windows(block[0].need.sampling.length))
    needs = {id(row.need): row.need for row in block}
    place_of = {key: place for place, key in enumerate(needs)}
    of_needs = order_columns(
        [need.orders for need in needs.values()], [need.turns for need in needs.values()], settings.lines
    )
    orders = of_needs.take(np.array([place_of[id(row.need)] for row in block]))
    usable = np.array([int(NYQUIST_SHARE * row.need.sampling.length / 2.0) for row in block])
    with np.errstate(invalid="ignore"):
        columns = (
            np.concatenate([chunk.front for chunk in chunks]),
            bearing_columns(spectra, len(block), turns=turning.turns, orders=orders, settings=settings),
            gear_mesh_statistics(
                power,
                meshes=orders.gear_mesh,
                turns=turning.turns,
                usable=usable,
                settings=settings.lines,
            ),
            np.concatenate([chunk.average for chunk in chunks]),
            np.concatenate([chunk.profile for chunk in chunks]),
            shaft_columns(power, turning.turns, usable, settings.lines),
        )
    values = np.concatenate(columns, axis=-1)
    names = feature_names(settings)
    values = np.concatenate((values, values[:, [names.index(name) for name in LONG_LINES]]), axis=-1)
    mains = np.concatenate([chunk.mains for chunk in chunks])
    for place, row in enumerate(block):
        result, own = results[row.recording], recordings[row.recording]
        result.values[row.window], result.mains[row.window] = values[place], mains[place]
        if row.window in own.kept:
            kept = power[place, : min(own.kept_bins, row.need.spectrum_bins)]
            result.power[own.kept.index(row.window), : kept.size] = kept


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
    in_angle = RecordingWindows(
        windows.angular, windows.rate_hz, True, windows.shaft_speed_rpm, True, orders, windows.samples_per_turn
    )
    in_time = [
        RecordingWindows(samples[None, start : start + length], sampling_rate_hz, True, None, False, None)
        for start, length in zip(windows.starts, windows.lengths, strict=True)
    ]
    result, *others = (done.values for done in extract_together([in_angle, *in_time], settings))
    groups = feature_groups(settings)
    of_time = np.concatenate([np.full(len(names), group not in ANGLE_GROUPS) for group, names in groups.items()])
    if others:
        result[:, of_time] = np.concatenate(others)[:, of_time]
    return result
