"""The rms of the vibration velocity from 10 to 1000 Hz, the broad-band figure of ISO 20816-1:2016 (clause 4.2).

An acceleration is integrated in the frequency domain: its power density, from overlapping segments with a Hann window
(P. D. Welch, IEEE Transactions on Audio and Electroacoustics 15 (1967)), over `(2 pi f)^2`, summed over the band. The
edges are sharp; an instrument by ISO 2954 has slopes there. Limits of zones: ISO 20816-3:2022, annex A.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sfft

from features.spectra.spectrum import NYQUIST_SHARE

BAND_HZ: Final = (10.0, 1000.0)

SEGMENT_S: Final = 2.0
"""Length of a segment: bins of 0.5 Hz keep a line at 20 Hz within 0.1 %."""

FEW: Final = 2
"""Segments overlap by half in recordings that hold no more than one and so many; with more they lie side by side."""

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
    length = int(sfft.prev_fast_len(min(len(samples), round(SEGMENT_S * sampling_rate_hz)), real=True))
    window, line, weights = _tables(length, sampling_rate_hz, quantity)
    last = len(samples) - length
    a_length = 2 if last < FEW * length else 1
    starts = np.rint(np.linspace(0, last, math.ceil(a_length * last / length) + 1)).astype(np.int64)
    total = 0.0
    for start in starts:  # one by one: a segment stays near the processor. No dot products: BLAS varies in last bits
        part = samples[start : start + length]
        part = part - part.mean(dtype=np.float64).astype(np.float32)
        part -= np.float32(np.add.reduce(part * line)) * line
        part *= window
        bins = sfft.rfft(part, workers=1)[: len(weights)]
        total += float(np.add.reduce((bins.real.astype(np.float64) ** 2 + bins.imag.astype(np.float64) ** 2) * weights))
    return math.sqrt(total / len(starts))


@lru_cache(maxsize=16)
def _tables(
    length: int, sampling_rate_hz: float, quantity: str
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return the window, a straight line of length 1, and what the power of each bin up to 1000 Hz is worth, (mm/s)^2.

    A bin is worth the integral of the gain over the part of it that lies in the band.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    line = np.arange(length) - (length - 1) / 2
    bin_hz = sampling_rate_hz / length
    centres = np.arange(math.ceil(BAND_HZ[1] / bin_hz) + 1) * bin_hz
    low, high = np.clip((centres - bin_hz / 2, centres + bin_hz / 2), *BAND_HZ)
    gain = high - low
    if quantity == "acceleration":
        gain = (1.0 / low - 1.0 / high) * (1000.0 / (2 * math.pi)) ** 2
    density = 2.0 / (sampling_rate_hz * float(np.add.reduce(window**2)))
    return window.astype(np.float32), (line / math.sqrt(np.add.reduce(line**2))).astype(np.float32), gain * density
