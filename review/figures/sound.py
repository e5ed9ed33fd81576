"""A recording as sound: 16-bit WAV at a rate that browsers play, without the mean, faded in and out."""

from __future__ import annotations

import io
import wave
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

LOWEST_HZ, HIGHEST_HZ = 8_000, 48_000
"""Rates that every browser plays."""

LONGEST_S: Final = 30.0
FADE_S: Final = 0.01
PEAK: Final = 0.9
"""Of the full scale; the page turns it down further."""


def wav_of(samples: npt.NDArray[Any], rate_hz: float) -> tuple[bytes, float]:
    """Return a recording as a WAV file, and the value of its full scale in the recording's unit.

    Parameters
    ----------
    samples
        (n,) signal; what is not finite becomes 0. At most 30 s are used.
    rate_hz
        Sampling rate; outside of 8 to 48 kHz the signal is resampled to the nearer end. Its pitch stays.
    """
    part = np.nan_to_num(samples[: int(LONGEST_S * rate_hz)].astype(np.float64), posinf=0.0, neginf=0.0)
    part = part - (part.mean() if len(part) else 0.0)
    played_hz = min(max(round(rate_hz), LOWEST_HZ), HIGHEST_HZ)
    if len(part) and played_hz != round(rate_hz):
        ratio = Fraction(played_hz / rate_hz).limit_denominator(400)
        part = np.asarray(resample_poly(part, ratio.numerator, ratio.denominator))
    fade = min(int(FADE_S * played_hz), len(part) // 2)
    if fade:
        ramp = np.linspace(0.0, 1.0, fade)
        part[:fade] *= ramp
        part[-fade:] *= ramp[::-1]
    highest = float(np.abs(part).max()) if len(part) else 0.0
    scale = highest / PEAK or 1.0
    sink = io.BytesIO()
    with wave.open(sink, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(played_hz)
        file.writeframes(np.round(part / scale * 32767).astype("<i2").tobytes())
    return sink.getvalue(), scale
