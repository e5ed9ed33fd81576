"""All squared envelope spectra of some windows, and everything that is read from their lines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.kinematics import Orders
from features.settings import COUNTED_VERSIONS, FeatureSettings
from features.spectra import band_tree, envelope, evidence, line_counts
from features.spectra.lines import LineReader
from features.spectra.time_domain import Vector, log10_or_nan


@dataclass(frozen=True, eq=False)
class BestBand:
    """The band of highest envelope kurtosis of each window.

    Attributes
    ----------
    bands : list of (int, int)
        The bands of the tree, as bins `first, stop`.
    index : int64 array, shape (n,)
        Which band is the best; -1 where there is none.
    columns : float64 array, shape (n, 3)
        Its centre and width in Hz and the logarithm of its kurtosis.
    """

    bands: list[tuple[int, int]]
    index: NDArray[np.int64]
    columns: Vector


def find_best_band(transform: NDArray[np.complex64], bin_hz: float, length: int, settings: FeatureSettings) -> BestBand:
    """Find each window's best band; none where the rate is not known (`bin_hz` is NaN) or no band is wide enough."""
    n = len(transform)
    bands: list[tuple[int, int]] = []
    if not math.isnan(bin_hz):
        bands = band_tree.tree_bands(
            length, bin_hz=bin_hz, parts=settings.best_band_parts, min_width_hz=settings.best_band_min_width_hz
        )
    if not bands:
        return BestBand([], np.full(n, -1), np.full((n, 3), np.nan))
    kurtosis = band_tree.band_kurtosis(transform, bands)
    index = band_tree.best_bands(kurtosis)
    edges = np.array(bands, dtype=np.float64)[index]
    columns = np.stack(
        (
            (edges[:, 0] + edges[:, 1] - 1) / 2.0 * bin_hz,
            (edges[:, 1] - edges[:, 0]) * bin_hz,
            log10_or_nan(kurtosis[np.arange(n), index]),
        ),
        axis=-1,
    )
    columns[index < 0] = np.nan
    return BestBand(bands, index, columns)


@dataclass(frozen=True, eq=False)
class BestBins:
    """Bins of the best bands of some windows, cut out of their transforms; all of one width.

    Attributes
    ----------
    rows : int64 array, shape (m,)
        Which windows.
    bins : complex64 array, shape (m, width)
    """

    rows: NDArray[np.int64]
    bins: NDArray[np.complex64]


@dataclass(frozen=True, eq=False)
class Spectra:
    """Squared envelope spectra of one version for some windows.

    Attributes
    ----------
    version : int
        Place in `features.spectra.envelope.VERSIONS`.
    rows : int64 array, shape (m,)
        Which windows.
    ses : float32 array, shape (m, bins)
        All bins are usable.
    """

    version: int
    rows: NDArray[np.int64]
    ses: NDArray[np.float32]


def bearing_columns(
    spectra: list[Spectra], n: int, *, turns: float, orders: Orders, settings: FeatureSettings
) -> Vector:
    """Return the columns of all envelope versions, then the counts, then the evidence, shape (n, columns).

    NaN where a window has no spectrum of a version.
    """
    lines = np.full((len(envelope.VERSIONS), n, len(envelope.STATISTICS)), np.nan)
    counts = np.full((len(envelope.VERSIONS), n, len(line_counts.STATISTICS)), np.nan)
    scores = np.full((len(envelope.VERSIONS), n, len(evidence.CLASSES)), np.nan)
    for counted in (False, True):
        members = [part for part in spectra if (envelope.VERSIONS[part.version] in COUNTED_VERSIONS) == counted]
        if not members:
            continue
        reader = _reader(members, turns, settings)
        version = np.concatenate([np.full(len(part.rows), part.version) for part in members])
        rows = np.concatenate([part.rows for part in members])
        lines[version, rows] = envelope.line_statistics(reader, orders)
        scores[version, rows] = evidence.class_scores(reader, orders)
        if counted:
            counts[version, rows] = line_counts.line_counts(reader, orders)
    kept = [counts[envelope.VERSIONS.index(version)] for version in COUNTED_VERSIONS]
    return np.concatenate((*lines, *kept, evidence.evidence_columns(scores)), axis=-1)


def _needed_bins(orders: Orders, turns: float, settings: FeatureSettings) -> int:
    # The floor of the highest line reaches about a quarter further.
    highest = envelope.highest_position(orders, turns, settings.lines.count_harmonics)
    reach = highest * (1 + settings.lines.floor_share + settings.lines.tolerance)
    return math.ceil(reach) + settings.lines.floor_bins + 8


def envelope_spectra(
    transform: NDArray[np.complex64],
    first_row: int,
    *,
    bin_hz: float,
    turns: float,
    length: int,
    orders: Orders,
    settings: FeatureSettings,
) -> list[Spectra]:
    """Compute the squared envelope spectra, but for the best bands, of windows numbered from `first_row` on.

    None where the window has too few turns (or `turns` is NaN).
    """
    if not turns >= settings.lines.min_turns:
        return []
    needed = _needed_bins(orders, turns, settings)
    everything = first_row + np.arange(len(transform))
    result = []
    for place, version in enumerate(envelope.VERSIONS):
        if version == "best":
            continue
        if version == "white":
            band = envelope.whole_band_bins(length)
        else:
            low, high = settings.envelope_low_hz if version == "low" else settings.envelope_high_hz
            band = envelope.band_bins(
                low, high, bin_hz=bin_hz, length=length, min_width_hz=settings.envelope_min_width_hz
            )
        if band is None:
            continue
        bins = transform[:, band[0] : band[1]]
        if version == "white":
            bins = envelope.prewhiten(bins)
        wanted = min(envelope.usable_bins(band), needed)
        result.append(Spectra(place, everything, envelope.spectrum_of_envelope(bins, wanted)))
    return result


def cut_best_bands(transform: NDArray[np.complex64], best: BestBand, first_row: int) -> list[BestBins]:
    """Cut the best bands out of the transforms of windows numbered from `first_row` on."""
    result = []
    for width in sorted({stop - first for first, stop in best.bands}):
        chosen = np.array([k for k, (first, stop) in enumerate(best.bands) if stop - first == width])
        rows = np.flatnonzero(np.isin(best.index, chosen))
        if rows.size:
            firsts = np.array([first for first, _ in best.bands])[best.index[rows]]
            bins = np.stack([transform[row, first : first + width] for row, first in zip(rows, firsts, strict=True)])
            result.append(BestBins(first_row + rows, bins))
    return result


def best_spectra(
    parts: list[BestBins], *, turns: float, orders: Orders, settings: FeatureSettings, at_once: int
) -> list[Spectra]:
    """Compute the squared envelope spectra of best bands, those of one width together, `at_once` at a time.

    A Fourier transform of many rows takes a fraction of the time of as many of one row.
    """
    if not turns >= settings.lines.min_turns:
        return []
    needed = _needed_bins(orders, turns, settings)
    result = []
    for width in sorted({part.bins.shape[-1] for part in parts}):
        members = [part for part in parts if part.bins.shape[-1] == width]
        rows = np.concatenate([part.rows for part in members])
        bins = np.concatenate([part.bins for part in members])
        wanted = min(envelope.usable_bins((0, width)), needed)
        for first in range(0, len(rows), at_once):
            ses = envelope.spectrum_of_envelope(bins[first : first + at_once], wanted)
            result.append(Spectra(envelope.VERSIONS.index("best"), rows[first : first + at_once], ses))
    return result


def _reader(members: list[Spectra], turns: float, settings: FeatureSettings) -> LineReader:
    usable = np.concatenate([np.full(len(part.rows), part.ses.shape[-1]) for part in members])
    power = np.zeros((len(usable), int(usable.max())), dtype=np.float32)
    first = 0
    for part in members:
        power[first : first + len(part.rows), : part.ses.shape[-1]] = part.ses
        first += len(part.rows)
    return LineReader(power, turns=turns, usable=usable, settings=settings.lines)
