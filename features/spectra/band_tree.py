"""The band whose envelope is most impulsive: kurtosis over a small tree of bands, and the choice of the best.

Impulses of a defect raise the kurtosis of the envelope in the band of the resonance that they excite; Gaussian noise
has none at any colour. The tree halves and thirds the axis as the fast kurtogram does, with exact cuts of one Fourier
transform in place of filter banks. Sources: J. Antoni and R. B. Randall, "The spectral kurtosis: application to the
vibratory surveillance and diagnostics of rotating machines", Mechanical Systems and Signal Processing 20 (2006),
section 2; J. Antoni, "Fast computation of the kurtogram for the detection of transient faults", same journal 21 (2007).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sfft

from features.spectra.envelope import BAND_NYQUIST_SHARE, MIN_BAND_BINS
from features.spectra.time_domain import Vector

FIRST_BIN: Final = 2
"""Bins 0 and 1 hold what is left of the mean and slow drift."""


_AT_ONCE: Final = 65_536
"""About so many bins are transformed at once. Transforms work on four rows at a time."""


def tree_bands(length: int, *, bin_hz: float, parts: tuple[int, ...], min_width_hz: float) -> list[tuple[int, int]]:
    """Return the bands of the tree as bins `first, stop`, widest first.

    Each entry of `parts` cuts the bins from 2 to 0.95 of Nyquist into so many bands of one width (a few bins at the
    end may be left over). Cuts that would be narrower than `min_width_hz` or than 64 bins are left out.

    Examples
    --------
    >>> tree_bands(1024, bin_hz=10.0, parts=(1, 3), min_width_hz=500.0)
    [(2, 486), (2, 163), (163, 324), (324, 485)]
    """
    whole = int(BAND_NYQUIST_SHARE * length / 2.0) - FIRST_BIN
    bands = []
    for count in sorted(parts):
        width = whole // count
        # One part in a million: a band that is wide enough must not fail on rounding.
        if width >= MIN_BAND_BINS and width * bin_hz >= min_width_hz * (1 - 1e-6):
            bands += [(FIRST_BIN + k * width, FIRST_BIN + (k + 1) * width) for k in range(count)]
    return bands


def band_kurtosis(transform: NDArray[np.complex64], bands: list[tuple[int, int]]) -> Vector:
    """Compute the kurtosis of the complex envelope of each band.

    Parameters
    ----------
    transform : complex64 array, shape (n, length // 2 + 1)
        Real Fourier transform of windows of about unit variance.
    bands : list of (int, int)
        Bins `first, stop` of each band; bands of one width that lie side by side are worked on together.

    Returns
    -------
    float64 array, shape (n, len(bands))
        `mean |z|^4 / (mean |z|^2)^2` of the band-passed analytic signal z, sampled as often as the band has bins
        (the next good length for a transform). At
        least 1 (a sine); Gaussian noise 2, with a standard deviation of about `2 / sqrt(bins)`; impulses of one decay
        time per period, about their spacing over that time. NaN where the band is empty.

    Examples
    --------
    >>> line = np.zeros((1, 513), dtype=np.complex64)
    >>> line[0, 100] = 1.0
    >>> band_kurtosis(line, [(64, 192), (192, 320)]).round(6).tolist()
    [[1.0, nan]]
    """
    result = np.full((len(transform), len(bands)), np.nan)
    place = 0
    while place < len(bands):
        first, stop = bands[place]
        width, count = stop - first, 1
        while place + count < len(bands) and bands[place + count] == (first + count * width, stop + count * width):
            count += 1
        cut = transform[:, first : first + count * width].reshape(-1, width)
        result[:, place : place + count] = _kurtosis_of_rows(cut).reshape(-1, count)
        place += count
    return result


def _kurtosis_of_rows(cut: NDArray[np.complex64]) -> Vector:
    n, width = cut.shape
    size = int(sfft.next_fast_len(width, real=False))
    rows = min(max(_AT_ONCE // size // 4, 1) * 4, n)
    padded = np.zeros((rows, size), dtype=np.complex64)
    power, work = np.empty((2, rows, size), dtype=np.float32)
    result = np.empty(n)
    for first in range(0, n, rows):
        part = cut[first : first + rows]
        m = len(part)
        # Transformed in place, in buffers that stay in the processor's cache.
        padded[:m, :width], padded[:m, width:] = part, 0.0
        z = np.asarray(sfft.ifft(padded[:m], axis=-1, overwrite_x=True, workers=1), dtype=np.complex64)
        p = np.square(z.real, out=power[:m])
        p += np.square(z.imag, out=work[:m])
        mean = p.mean(axis=-1, dtype=np.float32)[:, None]
        p /= np.where(mean > 0, mean, np.float32(1.0))
        p *= p
        result[first : first + m] = np.where(mean[:, 0] > 0, p.mean(axis=-1), np.nan)
    return result


def best_bands(kurtosis: Vector) -> NDArray[np.int64]:
    """Return the index of the highest kurtosis in each row; -1 where a row has none. The wider of two equal ones.

    Examples
    --------
    >>> best_bands(np.array([[2.0, 7.0, np.nan], [np.nan, np.nan, np.nan]])).tolist()
    [1, -1]
    """
    known = ~np.isnan(kurtosis)
    highest = np.where(known, kurtosis, -np.inf).argmax(axis=-1)
    return np.where(known.any(axis=-1), highest, -1).astype(np.int64)
