"""The rms of the vibration velocity from 10 to 1000 Hz, the broad-band figure of ISO 20816-1:2016 (clause 4.2).

An acceleration is integrated in the frequency domain: its power density, from overlapping segments with a Hann window
(P. D. Welch, IEEE Transactions on Audio and Electroacoustics 15 (1967)), over `(2 pi f)^2`, summed over the band. The
edges are sharp; an instrument by ISO 2954 has slopes there. Limits of zones: ISO 20816-3:2022, annex A.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import detrend, welch

from features.spectra.spectrum import NYQUIST_SHARE

BAND_HZ: Final = (10.0, 1000.0)

SEGMENT_S: Final = 2.0
"""Length of a segment: bins of 0.5 Hz keep a line at 20 Hz within 0.1 %."""

LEAST_S: Final = 0.2
"""Two periods of the lower edge, as for the high pass: then a line from 15 Hz on is within 5 %."""

ZONES: Final[dict[str, tuple[float, float, float]]] = {
    "1 rigid": (2.3, 4.5, 7.1),
    "1 flexible": (3.5, 7.1, 11.0),
    "2 rigid": (1.4, 2.8, 4.5),
    "2 flexible": (2.3, 4.5, 7.1),
}
"""Limits between zones A and B, B and C, C and D of ISO 20816-3, mm/s, by machine group and foundation."""


def velocity_rms(samples: NDArray[np.float32], sampling_rate_hz: float, *, quantity: str) -> float:
    """Return the rms of the vibration velocity, 10 to 1000 Hz.

    Parameters
    ----------
    samples : float32 array, shape (n,)
        Accelerations in m/s2, or velocities in mm/s.
    sampling_rate_hz : float
        Declared, above 0.
    quantity : str
        `acceleration` or `velocity`.

    Returns
    -------
    float
        mm/s, >= 0. NaN where the band does not end below 0.98 of the Nyquist frequency (another band is another
        figure), the recording is shorter than 0.2 s, or a sample is not finite.

    Examples
    --------
    >>> at = np.arange(25_600) / 12_800
    >>> sine = (10 * np.sqrt(2) * np.sin(2 * np.pi * 160 * at)).astype(np.float32)  # 10 m/s2 over 2 pi 160 Hz
    >>> round(velocity_rms(sine, 12_800.0, quantity="acceleration"), 2)
    9.95
    """
    if len(samples) < LEAST_S * sampling_rate_hz or BAND_HZ[1] > NYQUIST_SHARE * sampling_rate_hz / 2:
        return math.nan
    if not np.isfinite(samples).all():
        return math.nan
    length = min(len(samples), round(SEGMENT_S * sampling_rate_hz))
    _, density = welch(samples.astype(np.float64), sampling_rate_hz, "hann", length, detrend=detrend)
    return math.sqrt(float(density @ _weights(length, sampling_rate_hz, quantity)))


@lru_cache(maxsize=64)
def _weights(length: int, sampling_rate_hz: float, quantity: str) -> NDArray[Any]:
    """Return the integral of each bin's gain over the part of the bin that lies in the band; (mm/s)^2 per density."""
    bin_hz = sampling_rate_hz / length
    centres = np.arange(length // 2 + 1) * bin_hz
    low, high = np.clip((centres - bin_hz / 2, centres + bin_hz / 2), *BAND_HZ)
    weights: NDArray[Any] = high - low
    if quantity == "acceleration":
        weights = (1.0 / low - 1.0 / high) * (1000.0 / (2 * math.pi)) ** 2
    return weights
