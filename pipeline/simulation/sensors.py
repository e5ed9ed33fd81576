"""What a bad sensor, cable or mount does to a good signal; and the converter."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SENSOR_FAULTS: Final = ("flatline", "clipping", "dropout", "mains_hum", "loose_mount")
"""Sensor faults, in the order in which a larger fleet gets them."""

MAINS_HZ: Final = 50.0


def _flatline(x: Array, rng: np.random.Generator) -> Array:
    """A broken wire: only the offset of the converter is left."""
    return np.full_like(x, rng.uniform(-0.2, 0.2) * float(np.std(x)))


def _clipping(x: Array, rng: np.random.Generator) -> Array:
    """Too much gain: the converter is at its limits for about a tenth to a third of the time."""
    rail = rng.uniform(0.9, 1.5) * float(np.std(x))
    return np.clip(x, -rail, rail)


def _dropout(x: Array, rng: np.random.Generator) -> Array:
    """A loose plug: two to five stretches of 4 to 10 % of the recording are exactly 0."""
    y = x.copy()
    for _ in range(int(rng.integers(2, 6))):
        length = int(rng.uniform(0.04, 0.10) * x.size)
        first = int(rng.integers(0, x.size - length))
        y[first : first + length] = 0.0
    return y


def _mains_hum(x: Array, rng: np.random.Generator, sampling_rate_hz: float) -> Array:
    """A ground loop: the mains frequency and odd harmonics, several times stronger than the vibration."""
    time_s = np.arange(x.size) / sampling_rate_hz
    hum = np.zeros_like(x)
    for k, share in ((1, 1.0), (3, 0.35), (5, 0.15)):
        hum += share * np.sin(2.0 * np.pi * MAINS_HZ * k * time_s + rng.uniform(0.0, 2.0 * np.pi))
    return np.asarray(x + rng.uniform(3.0, 6.0) * float(np.std(x)) * hum, dtype=np.float64)


def _loose_mount(x: Array, rng: np.random.Generator, sampling_rate_hz: float) -> Array:
    """A loose stud: the contact resonance falls to 600..1,200 Hz, little passes above it, and the sensor rattles."""
    resonance_hz = rng.uniform(600.0, 1_200.0)
    frequencies = np.fft.rfftfreq(x.size, 1.0 / sampling_rate_hz)
    ratio = frequencies / resonance_hz
    passed = np.fft.irfft(np.fft.rfft(x) / (1.0 - ratio**2 + 0.12j * ratio), x.size)
    # Lift-off: the sensor leaves the surface on one side of the swing and comes back with a knock.
    rail = rng.uniform(0.6, 1.0) * float(np.std(passed))
    return np.asarray(np.where(passed > rail, rail + 0.25 * (passed - rail), passed), dtype=np.float64)


def apply_sensor_fault(x: Array, kind: str, rng: np.random.Generator, *, sampling_rate_hz: float) -> Array:
    """Return a signal with a sensor fault.

    Parameters
    ----------
    x : ndarray
        Acceleration, g.
    kind : str
        One of `SENSOR_FAULTS`, or '' for a good sensor.
    rng : numpy.random.Generator
        Random stream of the recording's sensor.
    sampling_rate_hz : float
        Sampling rate.

    Returns
    -------
    ndarray
        Signal at the converter's input, g; `x` itself is never changed.
    """
    match kind:
        case "":
            return x
        case "flatline":
            return _flatline(x, rng)
        case "clipping":
            return _clipping(x, rng)
        case "dropout":
            return _dropout(x, rng)
        case "mains_hum":
            return _mains_hum(x, rng, sampling_rate_hz)
        case "loose_mount":
            return _loose_mount(x, rng, sampling_rate_hz)
        case _:
            raise ValueError(f"unknown sensor fault {kind!r}; known: {', '.join(SENSOR_FAULTS)}")


def convert(x: Array, *, step_g: float) -> npt.NDArray[np.float32]:
    """Return a signal rounded to the converter's resolution (g), as float32."""
    return (np.round(x / step_g) * step_g).astype(np.float32)
