"""Transforms of a chunk of windows of one length and rate, and all columns that are not read from lines.

Windows of many recordings stand in one chunk, each with its own speed and geometry. Every step works on each row by
itself, so that a row comes out bit by bit the same whatever rows are beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.high_pass import first_bin, high_passed, in_their_scale, is_passed
from features.quality.mains import mains_shares
from features.settings import FeatureSettings
from features.spectra import spectrum
from features.spectra import time_domain as td
from features.spectra.bearing_lines import (
    BestBand,
    BestBins,
    Spectra,
    cut_best_bands,
    envelope_spectra,
    find_best_band,
)
from features.spectra.lines import Bins
from features.spectra.profile import FIRST_BIN, spectral_quantiles
from features.spectra.spectral_kurtosis import spectral_kurtosis_statistics
from features.spectra.synchronous_average import synchronous_statistics
from features.spectra.time_domain import Vector

_CHUNK_SAMPLES: Final = 262_144
"""Windows are transformed in chunks of about so many samples, which stay near the processor."""

_ROWS: Final = 16
"""A chunk has a multiple of so many windows where it can: Fourier transforms work on several rows at a time."""


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


@dataclass(frozen=True)
class Sampling:
    """What the windows of a chunk have in common.

    Attributes
    ----------
    length : int
        Samples in a window.
    rate_hz : float
        NaN where it is not declared: everything that needs a frequency is then missing.
    samples_per_turn : int or None
        Where the samples are at equal steps of shaft angle, how many make a turn.
    gear_mesh : tuple of float
        Mesh orders, where `samples_per_turn` is known.
    """

    length: int
    rate_hz: float
    samples_per_turn: int | None
    gear_mesh: tuple[float, ...]

    @property
    def bin_hz(self) -> float:
        """Distance of bins; NaN where no frequency is known."""
        return self.rate_hz / self.length


@dataclass(frozen=True, eq=False)
class Turning:
    """What each window has for itself.

    Attributes
    ----------
    turns : float64 array, shape (n,)
        Shaft turns in the window; NaN where not known.
    envelope_bins, spectrum_bins : int64 arrays, shape (n,)
        So many bins hold all lines that are looked for in an envelope spectrum, and in the spectrum itself.
    """

    turns: Vector
    envelope_bins: Bins
    spectrum_bins: Bins

    def part(self, rows: slice) -> Turning:
        """Return some of the windows."""
        return Turning(self.turns[rows], self.envelope_bins[rows], self.spectrum_bins[rows])


@dataclass(frozen=True, eq=False)
class TransformedChunk:
    """What comes out of one chunk of n windows.

    Attributes
    ----------
    front, average, profile : float64 arrays, shape (n, columns)
        Columns up to the impulses; of the synchronous average; of the profile.
    mains : float64 array, shape (n, mains frequencies)
        As of `features.quality.mains.mains_shares`.
    power : float32 array, shape (n, bins)
        The spectrum, as far as lines are looked for.
    envelopes : list of Spectra
    bands : list of BestBins
    """

    front: Vector
    average: Vector
    profile: Vector
    mains: Vector
    power: NDArray[np.float32]
    envelopes: list[Spectra]
    bands: list[BestBins]


def transform_chunk(
    windows: Sequence[NDArray[np.float32]],
    first_row: int,
    *,
    sampling: Sampling,
    turning: Turning,
    settings: FeatureSettings,
) -> TransformedChunk:
    """Transform windows that are numbered from `first_row` on; all samples are finite."""
    length, bin_hz = sampling.length, sampling.bin_hz
    passed = is_passed(length, sampling.rate_hz, settings.high_pass_hz)
    if passed:
        whole = np.stack(windows)
        normal, m = td.normalise(list(high_passed(whole, sampling.rate_hz, settings.high_pass_hz)))
        in_their_scale(whole, m.variance)
    else:
        normal, m = td.normalise(windows)
        whole = normal
    first = first_bin(length, sampling.rate_hz, settings.high_pass_hz, 1)
    transform = spectrum.real_transform(whole)
    power = spectrum.power_of_transform(transform, length)
    # Lines are read from the spectrum, which has all of the signal; bands are cut out without slow motion.
    spectrum.remove_step(transform, whole)
    if passed:
        transform[:, :first] = 0.0
    best = find_best_band(transform, bin_hz, length, settings)
    per_turn = sampling.samples_per_turn
    with np.errstate(invalid="ignore"):
        front = (
            _time_columns(m),
            _spectrum_columns(power, bin_hz, length, first, td.log10_or_nan(m.variance), settings),
            _impulse_columns(normal, best, settings),
        )
        average = synchronous_statistics(whole, per_turn, sampling.gear_mesh)
        average[~(turning.turns > 0)] = np.nan
        profile = spectral_quantiles(power, bin_hz, max(first, FIRST_BIN))
    envelopes = envelope_spectra(
        transform,
        first_row,
        bin_hz=bin_hz,
        length=length,
        turns=turning.turns,
        needed=turning.envelope_bins,
        settings=settings,
    )
    return TransformedChunk(
        front=np.concatenate(front, axis=-1),
        average=average,
        profile=profile,
        mains=mains_shares(power, bin_hz=bin_hz, length=length, settings=settings.quality.hum),
        power=power[:, : int(turning.spectrum_bins.max())],
        envelopes=envelopes,
        bands=cut_best_bands(transform, best, first_row, turning.turns >= settings.lines.min_turns),
    )


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
    power: NDArray[np.float32],
    bin_hz: float,
    length: int,
    first: int,
    log_variance: Vector,
    settings: FeatureSettings,
) -> Vector:
    entropy = spectrum.spectral_entropy(power, first)[:, None]
    n_bands = len(settings.band_edges_hz) - 1
    if math.isnan(bin_hz):
        blank = np.full((len(power), 2), np.nan)
        return np.concatenate((blank, entropy, np.full((len(power), 2 * n_bands), np.nan)), axis=-1)
    both = (spectrum.spectral_centroid_hz, spectrum.rms_frequency_hz)
    centre = np.stack([measure(power, bin_hz, first) for measure in both], axis=-1)
    log_power, share = spectrum.band_features(power, bin_hz, length, settings.band_edges_hz, first)
    return np.concatenate((centre, entropy, log_power + log_variance[:, None], share), axis=-1)


def _impulse_columns(normal: NDArray[np.float32], best: BestBand, settings: FeatureSettings) -> Vector:
    highest, mean = spectral_kurtosis_statistics(normal, settings.spectral_kurtosis_samples)
    # 2 is added so that the logarithm is of what Gaussian noise has 2 of, as the best band's kurtosis.
    columns = (td.log10_or_nan(highest + 2.0), td.log10_or_nan(mean + 2.0))
    return np.concatenate((np.stack(columns, axis=-1), best.columns), axis=-1)
