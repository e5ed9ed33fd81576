"""The one-sided power spectrum and what is read from it: centroid, rms frequency, entropy, energy in bands.

One real Fourier transform of the mean-removed window serves this module and all envelopes. The Hann window is applied
afterwards, in the frequency domain, where it is a sum over three neighbouring bins (F. J. Harris, "On the use of
windows for harmonic analysis with the discrete Fourier transform", Proceedings of the IEEE 66 (1978), section V).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sfft

from features.spectra.time_domain import Vector, log10_or_nan, ratio

HANN_POWER: Final = 0.375
"""Mean square of the periodic Hann window, 3/8. Its equivalent noise bandwidth is 0.375 / 0.5^2 = 1.5 bins."""

NYQUIST_SHARE: Final = 0.98
"""A band has to end below this share of the Nyquist frequency: above it, anti-alias filters have bitten."""


def hann_in_frequency(
    transform: NDArray[np.complex64], length: int, n_bins: int | None = None
) -> NDArray[np.complex64]:
    """Turn the transform of a signal into that of the signal times the periodic Hann window.

    Parameters
    ----------
    transform : complex64 array, shape (n, length // 2 + 1)
        What `rfft` gives for a real signal of `length` samples.
    length : int
        Samples in the signal.
    n_bins : int, optional
        Only the first so many bins are wanted; all by default.

    Returns
    -------
    complex64 array, shape (n, n_bins)
        `X[k] / 2 - (X[k - 1] + X[k + 1]) / 4`, with the mirrored bins at both ends.
    """
    full = transform.shape[-1]
    last = full if n_bins is None else min(n_bins, full)
    result: NDArray[np.complex64] = transform[:, :last] * np.float32(0.5)
    result[:, 1:] -= np.float32(0.25) * transform[:, : last - 1]
    result[:, 0] -= np.float32(0.25) * transform[:, min(1, full - 1)].conj()
    inner = min(last, full - 1)
    result[:, :inner] -= np.float32(0.25) * transform[:, 1 : inner + 1]
    if last == full:
        # Beyond the last bin lies the mirror image: of the one before it (even length) or of itself (odd length).
        mirror = full - 2 if length % 2 == 0 else full - 1
        result[:, -1] -= np.float32(0.25) * transform[:, max(mirror, 0)].conj()
    return result


def real_transform(windows: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Return the real Fourier transform along the last axis, in the precision of float32 and on one thread."""
    # The stubs of scipy say complex128 for any float; float32 in gives complex64 out.
    result: NDArray[np.complex64] = np.asarray(sfft.rfft(windows, axis=-1, workers=1), dtype=np.complex64)
    return result


def remove_step(transform: NDArray[np.complex64], windows: NDArray[np.float32]) -> None:
    """Take the straight line through the ends of windows off their transform, in place.

    A transform takes a window as a circle. Where a window does not end where it began, the step at the seam has energy
    in every band, though nothing of it is there. The ends are means over a hundredth of the window. The line
    `j / length`, less its mean, has the transform `-1/2 + i/2 cot(pi k / length)`, and 0 at k = 0.

    Parameters
    ----------
    transform : complex64 array, shape (n, length // 2 + 1)
    windows : float32 array, shape (n, length)

    Examples
    --------
    >>> ramp = np.linspace(-1, 1, 1000, dtype=np.float32)[None]
    >>> transform = real_transform(ramp)
    >>> remove_step(transform, ramp)
    >>> bool(np.abs(transform[:, 2:]).max() < 1.0)
    True
    """
    length = windows.shape[1]
    m = max(length // 100, 1)
    rise = (windows[:, -m:].mean(axis=-1) - windows[:, :m].mean(axis=-1)) * np.float32(length / max(length - m, 1))
    line = np.full(transform.shape[-1], -0.5, dtype=np.complex64)
    line[0] = 0.0
    line[1:] += 0.5j / np.tan(np.pi * np.arange(1, transform.shape[-1]) / length)
    for row, own in zip(transform, rise, strict=True):
        row -= own * line


def squared_magnitude(values: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return |z|^2 in float32.

    Examples
    --------
    >>> squared_magnitude(np.array([3 + 4j], dtype=np.complex64)).tolist()
    [25.0]
    """
    power: NDArray[np.float32] = np.square(values.real)
    power += np.square(values.imag)
    return power


def power_of_transform(transform: NDArray[np.complex64], length: int) -> NDArray[np.float32]:
    """Return the one-sided Hann power spectrum from a real Fourier transform that is already there, in float32."""
    power = squared_magnitude(hann_in_frequency(transform, length))
    power *= np.float32(2.0 / (length * float(length) * HANN_POWER))
    power[:, 0] *= np.float32(0.5)
    if length % 2 == 0:
        power[:, -1] *= np.float32(0.5)
    return power


def power_spectrum(windows: NDArray[Any]) -> Vector:
    """Compute the one-sided power spectrum with a periodic Hann window.

    Parameters
    ----------
    windows : array, shape (n, length)
        Real; the mean is removed first.

    Returns
    -------
    float64 array, shape (n, length // 2 + 1)
        Mean square per bin (unit of the input, squared), `2 |FFT(w d)|^2 / (length^2 * 3/8)`, without the factor 2 at
        0 and at Nyquist. Its sum is `sum((w d)^2) / sum(w^2)`: exactly (Parseval) the mean square of the
        windowed signal over that of the window, so `A^2 / 2` for a sine and the variance, on average, for noise.
        Bin k lies at `k * rate / length` Hz. Divided by the noise bandwidth of 1.5 bins it is a density.

    Examples
    --------
    >>> sine = np.sin(2 * np.pi * 8 * np.arange(64) / 64)[None]
    >>> power_spectrum(sine)[0, 6:11].round(4).tolist()
    [0.0, 0.0833, 0.3333, 0.0833, 0.0]
    """
    wide = windows.astype(np.float64)
    wide -= wide.mean(axis=-1, keepdims=True)
    return power_of_transform(real_transform(wide.astype(np.float32)), windows.shape[-1]).astype(np.float64)


def spectral_centroid_hz(power: NDArray[Any], bin_hz: float, first: int = 1) -> Vector:
    """Centre of gravity `sum(f P) / sum(P)` from the first bin on. Hz, 0 to Nyquist; NaN without variation.

    Examples
    --------
    >>> spectral_centroid_hz(np.array([[9.0, 1.0, 0.0, 1.0]]), bin_hz=10.0).tolist()
    [20.0]
    """
    return _mean_over_spectrum(power, 1, first) * bin_hz


def rms_frequency_hz(power: NDArray[Any], bin_hz: float, first: int = 1) -> Vector:
    """Root mean square frequency `sqrt(sum(f^2 P) / sum(P))` from the first bin on. Hz, at least the centroid.

    Examples
    --------
    >>> rms_frequency_hz(np.array([[9.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]), bin_hz=10.0).tolist()
    [50.0]
    """
    return np.sqrt(_mean_over_spectrum(power, 2, first)) * bin_hz


def _mean_over_spectrum(power: NDArray[Any], exponent: int, first: int) -> Vector:
    """Return `sum(k^exponent P) / sum(P)` over the bins k from the first on."""
    line = power[:, first:]
    weight = np.arange(first, power.shape[-1], dtype=line.dtype) ** exponent
    # numpy adds pairwise: float32 is good to seven digits here, whatever the length.
    return ratio((line * weight).sum(axis=-1).astype(np.float64), line.sum(axis=-1).astype(np.float64))


def spectral_entropy(power: NDArray[Any], first: int = 1) -> Vector:
    """Shannon entropy of the spectrum over its maximum: `-sum(p log p) / log(number of bins)`, p = P / sum(P).

    Bins below the first are left out. 0 (one line) to 1 (flat); NaN without variation. No unit, and no need to know the
    rate. Source: C. E. Shannon (1948); as a spectral measure, G. E. Powell and I. C. Percival, Journal of Physics A 12
    (1979).

    Examples
    --------
    >>> spectral_entropy(np.array([[9.0, 1.0, 1.0, 1.0], [9.0, 1.0, 1.0, 0.0]])).round(6).tolist()
    [1.0, 0.63093]
    """
    line = power[:, first:]
    if line.shape[-1] < 2:
        return np.full(len(power), np.nan)
    total = line.sum(axis=-1)
    share = line / np.where(total > 0, total, 1.0).astype(line.dtype)[:, None]
    # The smallest normal number in place of 0: its logarithm is finite and the product is 0 all the same.
    logs = np.log(np.maximum(share, np.finfo(line.dtype).tiny))
    logs *= share
    entropy = -logs.sum(axis=-1).astype(np.float64) / np.log(line.shape[-1])
    return np.where(total > 0, np.clip(entropy, 0.0, 1.0), np.nan)


def band_mean_square(power: NDArray[Any], bin_hz: float, length: int, edges_hz: tuple[float, ...]) -> Vector:
    """Sum the power spectrum over fixed bands, lower edge included, upper edge not.

    Parameters
    ----------
    power : float64 array, shape (n, length // 2 + 1)
    bin_hz : float
        Distance of bins, `rate / length`.
    length : int
        Samples in the window.
    edges_hz : tuple of float
        Ascending edges of adjoining bands.

    Returns
    -------
    float64 array, shape (n, len(edges_hz) - 1)
        Mean square in each band (unit of the input, squared). NaN for a band that ends at or above 0.98 of the Nyquist
        frequency, is narrower than 4 bins, or starts below 1.5 bins (where the Hann window cannot tell it from 0 Hz).

    Examples
    --------
    >>> band_mean_square(np.ones((1, 51)), bin_hz=1.0, length=100, edges_hz=(10.0, 20.0, 40.0)).tolist()
    [[10.0, 20.0]]
    """
    nyquist = bin_hz * length / 2.0
    result = np.full((len(power), len(edges_hz) - 1), np.nan)
    for place, (low, high) in enumerate(pairwise(edges_hz)):
        if high >= NYQUIST_SHARE * nyquist or high - low < 4 * bin_hz or low < 1.5 * bin_hz:
            continue
        first, stop = int(np.ceil(low / bin_hz)), int(np.ceil(high / bin_hz))
        result[:, place] = power[:, first:stop].sum(axis=-1)
    return result


def band_features(
    power: NDArray[Any], bin_hz: float, length: int, edges_hz: tuple[float, ...], first: int = 1
) -> tuple[Vector, Vector]:
    """Return log10 of the mean square in each band, and each band's share (0 to 1) of the spectrum from a bin on.

    Examples
    --------
    >>> log_power, share = band_features(np.ones((1, 51)), bin_hz=1.0, length=100, edges_hz=(10.0, 20.0, 40.0))
    >>> share.tolist()
    [[0.2, 0.4]]
    """
    mean_square = band_mean_square(power, bin_hz, length, edges_hz)
    total = power[:, first:].sum(axis=-1).astype(np.float64)
    share = ratio(mean_square, np.broadcast_to(total[:, None], mean_square.shape))
    return log10_or_nan(mean_square), share
