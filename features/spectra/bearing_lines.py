"""All squared envelope spectra of some windows, and everything that is read from their lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.kinematics import Orders
from features.settings import COUNTED_VERSIONS, LONG_VERSIONS, FeatureSettings
from features.spectra import band_tree, envelope, evidence, line_counts
from features.spectra.line_reader import LineReader, OrderColumns
from features.spectra.lines import Bins
from features.spectra.time_domain import Vector, log10_or_nan

BANDS: Final = ("low", "high", "white")
"""The envelopes of one band for all windows."""


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
    index: Bins
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

    rows: Bins
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
    usable : int64 array, shape (m,)
        So many bins of each row are used.
    """

    version: int
    rows: Bins
    ses: NDArray[np.float32]
    usable: Bins


def bearing_columns(
    spectra: list[Spectra], n: int, *, turns: Vector, orders: OrderColumns, settings: FeatureSettings
) -> Vector:
    """Return the columns of all envelope versions, then the counts, then the evidence, shape (n, columns).

    NaN where a window has no spectrum of a version. Each window has its own turns and orders.
    """
    lines = np.full((len(envelope.VERSIONS), n, len(envelope.STATISTICS)), np.nan)
    counts = np.full((len(envelope.VERSIONS), n, len(line_counts.STATISTICS)), np.nan)
    scores = np.full((len(envelope.VERSIONS), n, 3, len(evidence.CLASSES)), np.nan)
    for counted in (False, True):
        members = [part for part in spectra if (envelope.VERSIONS[part.version] in COUNTED_VERSIONS) == counted]
        if not members:
            continue
        version = np.concatenate([np.full(len(part.rows), part.version) for part in members])
        rows = np.concatenate([part.rows for part in members])
        usable = np.concatenate([part.usable for part in members])
        own = orders.take(rows)
        power = _side_by_side(members)
        reader = LineReader(power, turns=turns[rows], usable=usable, settings=settings.lines, orders=own)
        lines[version, rows] = envelope.line_statistics(reader, own)
        scores[version, rows] = evidence.class_scores(reader, own)
        if counted:
            counts[version, rows] = line_counts.line_counts(reader, own)
    kept = [counts[envelope.VERSIONS.index(version)] for version in COUNTED_VERSIONS]
    return np.concatenate((*lines, *kept, evidence.evidence_columns(scores)), axis=-1)


def first_lines(
    spectra: list[Spectra], n: int, *, turns: Vector, orders: OrderColumns, settings: FeatureSettings
) -> Vector:
    """Return the heights of the first lines of the races and of twice the ball, shape (n, 3 times the long versions).

    Of spectra of the long versions; NaN as of `bearing_columns`, in the order of `features.settings.LONG_LINES`.
    """
    heights = np.full((len(LONG_VERSIONS), n, 3), np.nan)
    if spectra:
        place = [LONG_VERSIONS.index(envelope.VERSIONS[part.version]) for part in spectra]
        version = np.repeat(place, [len(part.rows) for part in spectra])
        rows = np.concatenate([part.rows for part in spectra])
        usable = np.concatenate([part.usable for part in spectra])
        own = orders.take(rows)
        power = _side_by_side(spectra)
        reader = LineReader(power, turns=turns[rows], usable=usable, settings=settings.lines, orders=own)
        lines, _ = reader.of_defects([own.bpfo], [own.bpfi], [envelope.times(2.0, own.bsf)])
        heights[version, rows] = np.concatenate(lines).T
    return np.concatenate(list(heights), axis=-1)


def first_line_bins(orders: Orders, turns: float, settings: FeatureSettings) -> int:
    """Return how many bins of an envelope spectrum `first_lines` needs."""
    known = (orders.bpfo or 0.0, orders.bpfi or 0.0, 2.0 * (orders.bsf or 0.0))
    return _reach(turns * max(known), settings)


def _side_by_side(members: list[Spectra]) -> NDArray[np.float32]:
    power = np.zeros((sum(len(part.rows) for part in members), max(part.ses.shape[-1] for part in members)), np.float32)
    first = 0
    for part in members:
        power[first : first + len(part.rows), : part.ses.shape[-1]] = part.ses
        first += len(part.rows)
    return power


def envelope_bins(orders: Orders, turns: float, settings: FeatureSettings) -> int:
    """Return how many bins of an envelope spectrum the lines and their floors need; 0 where there are too few turns."""
    if not turns >= settings.lines.min_turns:
        return 0
    return _reach(envelope.highest_position(orders, turns, settings.lines.count_harmonics), settings)


def _reach(highest: float, settings: FeatureSettings) -> int:
    # The floor of the highest line reaches about a quarter further.
    reach = highest * (1 + settings.lines.floor_share + settings.lines.tolerance)
    return math.ceil(reach) + settings.lines.floor_bins + 8


def envelope_spectra(
    transform: NDArray[np.complex64],
    first_row: int,
    *,
    bin_hz: float,
    length: int,
    turns: Vector,
    needed: Bins,
    settings: FeatureSettings,
    versions: Sequence[str] = BANDS,
) -> list[Spectra]:
    """Compute the squared envelope spectra of some versions, of windows numbered from `first_row` on.

    Each window has its own turns and `envelope_bins`; none where it has too few turns (or NaN).
    """
    turning = np.flatnonzero(turns >= settings.lines.min_turns)
    if not turning.size:
        return []
    result = []
    for version in versions:
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
        result += _spectra_of_bins(
            envelope.VERSIONS.index(version), bins, turning, first_row + turning, needed[turning]
        )
    return result


def _spectra_of_bins(
    version: int, bins: NDArray[np.complex64], places: Bins, rows: Bins, needed: Bins
) -> list[Spectra]:
    """Compute the spectra of the bins at some places, those whose transform has one length together."""
    wanted = np.minimum(envelope.usable_bins((0, bins.shape[-1])), needed)
    different, place = np.unique(wanted, return_inverse=True)
    sizes = np.array([envelope.transform_size(bins.shape[-1], own) for own in different.tolist()])[place]
    result = []
    for size in np.unique(sizes).tolist():
        own = np.flatnonzero(sizes == size)
        cut = bins if len(own) == len(bins) else bins[places[own]]
        ses = envelope.spectrum_of_envelope(cut, int(wanted[own].max()), size)
        result.append(Spectra(version, rows[own], ses, wanted[own]))
    return result


def cut_best_bands(
    transform: NDArray[np.complex64], best: BestBand, first_row: int, wanted: NDArray[np.bool_]
) -> list[BestBins]:
    """Cut the best bands out of the transforms of the wanted windows; they are numbered from `first_row` on."""
    if not best.bands:
        return []
    first, stop = np.array(best.bands)[best.index].T
    width = np.where(wanted & (best.index >= 0), stop - first, 0)
    result = []
    for own in np.unique(width[width > 0]).tolist():
        rows = np.flatnonzero(width == own)
        bins = np.stack([transform[row, first[row] : stop[row]] for row in rows])
        result.append(BestBins(first_row + rows, bins))
    return result


def best_spectra(parts: list[BestBins], needed: Bins, at_once: int) -> list[Spectra]:
    """Compute the squared envelope spectra of best bands, those of one width together, `at_once` at a time.

    A Fourier transform of many rows takes a fraction of the time of as many of one row. `needed` holds the
    `envelope_bins` of all windows.
    """
    result = []
    for width in sorted({part.bins.shape[-1] for part in parts}):
        members = [part for part in parts if part.bins.shape[-1] == width]
        rows = np.concatenate([part.rows for part in members])
        bins = np.concatenate([part.bins for part in members])
        for first in range(0, len(rows), at_once):
            own, cut = rows[first : first + at_once], bins[first : first + at_once]
            result += _spectra_of_bins(envelope.VERSIONS.index("best"), cut, np.arange(len(own)), own, needed[own])
    return result
