"""The squared envelope spectrum (SES): which repetition rates modulate the signal in a band.

A defect excites a resonance once per pass, so the signal's energy in the band of the resonance is modulated at the
defect's frequency. Steps: keep the bins of the band, form the analytic signal, square its magnitude, remove the mean,
take the Hann power spectrum. Sources: R. B. Randall and J. Antoni, "Rolling element bearing diagnostics - a tutorial",
Mechanical Systems and Signal Processing 25 (2011); P. Borghesani et al., "Application of cepstrum pre-whitening for the
diagnosis of bearing faults under variable speed conditions", same journal 36 (2013).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sfft

from features.kinematics import Orders
from features.spectra.line_reader import LineReader, Order, OrderColumns
from features.spectra.spectrum import HANN_POWER, NYQUIST_SHARE, hann_in_frequency, real_transform, squared_magnitude
from features.spectra.time_domain import Vector

BAND_NYQUIST_SHARE: Final = 0.95
"""A demodulation band ends at this share of the Nyquist frequency at the latest."""

MIN_BAND_BINS: Final = 64
"""With fewer bins in a band there is no useful envelope spectrum."""

USABLE_SHARE: Final = 0.9
"""A band of B bins has an envelope spectrum of B bins whose noise falls to nothing at its end: 90 % are used."""

VERSIONS: Final = ("low", "high", "white", "best")
"""The envelopes: two bands, the whole band of the cepstrum-prewhitened signal, and each window's own best band."""

LINES: Final = ("bpfo", "bpfi", "bsf", "bsf2x", "ftf")
"""Bearing lines with harmonics; `bsf2x` is twice the ball spin frequency, where a ball defect shows first."""

STATISTICS: Final = (
    *(f"{line}_{kind}_db" for line in LINES for kind in ("h1", "mean13")),
    "shaft_1x_db",
    "shaft_2x_db",
    "bpfi_sidebands_db",
    "bsf2x_sidebands_db",
)
"""What `line_statistics` returns, in its order."""


def band_bins(
    low_hz: float, high_hz: float, *, bin_hz: float, length: int, min_width_hz: float
) -> tuple[int, int] | None:
    """Return the bins `first, stop` of a demodulation band, or None where the band is not available.

    The upper edge is `min(high_hz, 0.95 Nyquist)`; the band is not available where less than `min_width_hz` or 64 bins
    are left.

    Examples
    --------
    >>> band_bins(500.0, 2000.0, bin_hz=10.0, length=1000, min_width_hz=1000.0)
    (50, 201)
    """
    upper = min(high_hz, BAND_NYQUIST_SHARE * bin_hz * length / 2.0)
    # One part in a million: a band that is wide enough must not fail on rounding.
    if upper - low_hz < min_width_hz * (1 - 1e-6):
        return None
    first, stop = math.ceil(low_hz / bin_hz), math.floor(upper / bin_hz) + 1
    return (max(first, 1), stop) if stop - max(first, 1) >= MIN_BAND_BINS else None


def whole_band_bins(length: int) -> tuple[int, int] | None:
    """Return the bins from 2 to 0.98 of Nyquist, or None where they are fewer than 64.

    Examples
    --------
    >>> whole_band_bins(1000)
    (2, 490)
    """
    first, stop = 2, math.floor(NYQUIST_SHARE * length / 2.0)
    return (first, stop) if stop - first >= MIN_BAND_BINS else None


def prewhiten(transform: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Divide each bin by its magnitude (cepstrum prewhitening, Borghesani 2013, equation 7); a zero bin stays zero.

    Examples
    --------
    >>> np.abs(prewhiten(np.array([[3 + 4j, 0, -2j]], dtype=np.complex64))).round(6).tolist()
    [[1.0, 0.0, 1.0]]
    """
    size = np.sqrt(squared_magnitude(transform))
    scale = np.zeros(size.shape, dtype=np.float32)
    np.divide(1.0, size, out=scale, where=size > 0, casting="same_kind")
    result: NDArray[np.complex64] = transform * scale
    return result


def squared_envelope_spectrum(
    transform: NDArray[np.complex64], band: tuple[int, int], n_bins: int | None = None
) -> NDArray[np.float32]:
    """Compute the squared envelope spectrum of one band.

    Parameters
    ----------
    transform : complex64 array, shape (n, length // 2 + 1)
        Real Fourier transform of the mean-removed windows.
    band : (int, int)
        First bin and the one after the last.
    n_bins : int, optional
        How many bins are wanted; at most, and by default, as many as the band has.

    Returns
    -------
    float32 array, shape (n, n_bins)
        Power of the squared envelope in the distance of bins of `transform`, with a Hann window, in units of the
        squared mean of the squared envelope (so it does not depend on the signal's scale). Zeros where the band is
        empty. A carrier modulated by `1 + a cos(...)` with small a has `2 a^2` summed over its line.

    Notes
    -----
    The band is moved to 0 Hz before the inverse transform. This changes the phase of the analytic signal and not its
    magnitude, and a transform of the band's bins and the wanted ones together then suffices: the square has the
    band's bins to both sides, so that what is aliased lies above the wanted ones.
    """
    first, stop = band
    return spectrum_of_envelope(transform[:, first:stop], n_bins)


def transform_size(width: int, wanted: int) -> int:
    """Return the length of the transforms of a band of so many bins, of whose envelope spectrum so many are wanted.

    Examples
    --------
    >>> transform_size(1000, 200)
    1250
    """
    return 2 * int(sfft.next_fast_len((width + wanted) // 2 + 1, real=True))


def spectrum_of_envelope(
    bins: NDArray[np.complex64], n_bins: int | None = None, size: int | None = None
) -> NDArray[np.float32]:
    """Compute the squared envelope spectrum of bands that are already cut out: `squared_envelope_spectrum`.

    `size` is the length of the transforms, that of `transform_size` by default.
    """
    width = bins.shape[-1]
    wanted = width if n_bins is None else min(n_bins, width)
    size = size or transform_size(width, wanted)
    baseband = np.zeros((len(bins), size), dtype=np.complex64)
    baseband[:, :width] = bins
    envelope = squared_magnitude(sfft.ifft(baseband, axis=-1, overwrite_x=True, workers=1))
    mean = envelope.mean(axis=-1, keepdims=True)
    envelope /= np.where(mean > 0, mean, np.float32(1.0))
    envelope -= np.where(mean > 0, np.float32(1.0), np.float32(0.0))
    spectrum = real_transform(envelope)
    power = squared_magnitude(hann_in_frequency(spectrum, size, wanted))
    # Amplitude scaling: a line of amplitude A on a bin has A^2 / 2 summed over its three bins.
    power *= np.float32(2.0 / (size * float(size) * HANN_POWER))
    return power


def usable_bins(band: tuple[int, int]) -> int:
    """Return the number of bins of a band's envelope spectrum in which lines are searched.

    Examples
    --------
    >>> usable_bins((50, 150))
    90
    """
    return int(USABLE_SHARE * (band[1] - band[0]))


def highest_position(orders: Orders, turns: float, harmonics: int) -> float:
    """Return the highest bin at which lines are looked for (harmonics of the bearing, sidebands).

    Examples
    --------
    >>> highest_position(Orders(bpfo=3.5), turns=10.0, harmonics=8)
    280.0
    """
    known = [order for order in (orders.bpfo, orders.bpfi, orders.ftf) if order is not None]
    known += [2 * orders.bsf] if orders.bsf is not None else []
    sides = 3 * max(1.0, orders.inner_ring or 0.0, orders.outer_ring or 0.0, orders.ftf or 0.0)
    return turns * max([2.0, *(max(harmonics, 3) * order for order in known), *(order + sides for order in known)])


def line_statistics(reader: LineReader, orders: Orders | OrderColumns) -> Vector:
    """Measure the lines of a bearing and its shaft in a squared envelope spectrum.

    Parameters
    ----------
    reader : LineReader
        Over the squared envelope spectra of n windows.
    orders : Orders or OrderColumns
        Of all windows, or of each.

    Returns
    -------
    float64 array, shape (n, len(STATISTICS))
        In dB, see `signal_to_floor_db`. `h1` is the first harmonic, `mean13` the mean over harmonics 1 to 3, of which
        two at least are resolved. Sidebands are the mean of the two at `bpfi -+ inner_ring` and at `2 bsf -+ ftf`. NaN
        where the order is not known or a line not resolved.
    """
    double_spin = times(2.0, orders.bsf)
    sides = reader.beside(orders.bpfi, orders.inner_ring) + reader.beside(double_spin, orders.ftf)
    bases = (orders.bpfo, orders.bpfi, double_spin, orders.bsf, orders.ftf)
    lines = [[times(k, base) for k in (1, 2, 3)] for base in bases]
    # All lines are read together first.
    one, two, *heights = reader.at(1.0, 2.0, *sides, *(order for own in (*lines[3:], *lines[:3]) for order in own))
    (outer, inner, ball), _ = reader.of_defects(*lines[:3])
    columns: list[Vector] = []
    for harmonics in (outer, inner, heights[4:7], ball, heights[7:10]):
        columns += [harmonics[0], mean_of_harmonics(harmonics)]
    columns += [one, two, (heights[0] + heights[1]) / 2.0, (heights[2] + heights[3]) / 2.0]
    return np.stack(columns, axis=-1)


def times(factor: float, order: Order) -> Order:
    """Return a multiple of an order; None where it is not known.

    Examples
    --------
    >>> times(2.0, 3.5), times(2.0, None)
    (7.0, None)
    """
    return None if order is None else factor * order


def mean_of_harmonics(harmonics: list[Vector]) -> Vector:
    """Return the mean over those of three harmonics that are resolved; NaN where fewer than two are.

    Examples
    --------
    >>> mean_of_harmonics([np.array([9.0]), np.array([6.0]), np.array([math.nan])]).tolist()
    [7.5]
    """
    parts = np.stack(harmonics)
    known = (~np.isnan(parts)).sum(axis=0)
    return np.where(known > 1, np.nansum(parts, axis=0) / np.maximum(known, 1), np.nan)
