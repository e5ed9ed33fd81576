"""Spectral kurtosis: how far each frequency's power comes in bursts rather than evenly.

Source: J. Antoni, "The spectral kurtosis: a useful tool for characterising non-stationary signals", Mechanical Systems
and Signal Processing 20 (2006), section 4 (the estimator from short-time Fourier transforms); G. M. Nita and
D. E. Gary, "Statistics of the spectral kurtosis estimator", Publications of the ASP 122 (2010) (its bias).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from features.spectra.spectrum import real_transform
from features.spectra.time_domain import Vector

MIN_FRAMES: Final = 6
"""With fewer frames bursts cannot be measured."""

_FIRST_BIN: Final = 2
_AT_ONCE: Final = 65_536
"""Frames are made of so many samples at once: more do not stay in the processor's cache."""
_LAST_SHARE: Final = 0.95


@lru_cache(maxsize=8)
def _hann(samples: int) -> NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(samples) / samples)).astype(np.float32)


def spectral_kurtosis(windows: NDArray[np.float32], samples: int) -> Vector:
    """Estimate the spectral kurtosis by Hann frames of `samples` that overlap by half.

    Parameters
    ----------
    windows : float32 array, shape (n, length)
        Mean removed, of about unit variance.
    samples : int
        Length of a frame, even: shorter than the distance of two impulses, longer than their decay.

    Returns
    -------
    float64 array, shape (n, samples // 2 + 1)
        `(m + 1) sum P^2 / (sum P)^2 - 2` over the powers P of m frames: 0 on average in stationary Gaussian noise, -1
        at a steady tone, up to m - 1 for a single burst. NaN throughout with fewer than 6 frames, or without power.

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * np.arange(2048)[None] / 8).astype(np.float32)
    >>> spectral_kurtosis(tone, 64)[0, 8].round(1).item()
    -1.0
    """
    n, length = windows.shape
    step = samples // 2
    frames = 0 if length < samples else (length - samples) // step + 1
    if frames < MIN_FRAMES:
        return np.full((n, step + 1), np.nan)
    at_once = min(max(_AT_ONCE // length, 1), n)
    cut = np.empty((at_once, frames, samples), dtype=np.float32)
    power, work = np.empty((2, at_once, frames, step + 1), dtype=np.float32)
    result = np.empty((n, step + 1))
    for first in range(0, n, at_once):
        part = windows[first : first + at_once]
        m = len(part)
        np.multiply(sliding_window_view(part, samples, axis=-1)[:, ::step], _hann(samples), out=cut[:m])
        transform = real_transform(cut[:m])
        p = np.square(transform.real, out=power[:m])
        p += np.square(transform.imag, out=work[:m])
        total = p.sum(axis=1)
        # Scaled to a mean of 1 before it is squared, so that float32 holds it whatever the level.
        p *= (frames / np.where(total > 0, total, 1.0)).astype(np.float32)[:, None, :]
        p *= p
        squares = p.sum(axis=1).astype(np.float64)
        result[first : first + m] = np.where(total > 0, (frames + 1) * squares / float(frames) ** 2 - 2.0, np.nan)
    return result


def spectral_kurtosis_statistics(windows: NDArray[np.float32], samples: int) -> tuple[Vector, Vector]:
    """Return the largest and the mean spectral kurtosis over the bins from 2 to 0.95 of Nyquist, each of shape (n,)."""
    kurtosis = spectral_kurtosis(windows, samples)[:, _FIRST_BIN : max(int(_LAST_SHARE * samples / 2), _FIRST_BIN + 1)]
    return kurtosis.max(axis=-1), kurtosis.mean(axis=-1)
