"""Vibration of a faulty bearing made from physics, to teach a network what measured examples are too few to show.

A defect is struck once per pass; each strike rings the structure's resonances; load zone and cage decide how hard
each strike is; balls slip, so strikes are not quite regular. All that is not known of a plant - resonances, damping,
slip, load zone, noise, strength - is drawn anew for every window from wide ranges, so that only what holds for
*every* bearing remains to be learnt. Sources: P. D. McFadden and J. D. Smith, "Model for the vibration produced by a
single point defect in a rolling element bearing", Journal of Sound and Vibration 96 (1984) (inner race, load zone);
J. Antoni and R. B. Randall, "A stochastic model for simulation and diagnostics of rolling element bearings with
localized faults", Journal of Vibration and Acoustics 125 (2003) (slip); N. Sawalhi and R. B. Randall, "Vibration
response of spalled rolling element bearings", Mechanical Systems and Signal Processing 25 (2011) (extended spalls).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sfft

from features.kinematics import Orders
from features.spectra.time_domain import Vector

MODES: Final = ("outer_race", "inner_race", "ball")
"""Faults that can be made."""

SLIP_STEP: Final = (0.001, 0.02)
"""Standard deviation of the interval between strikes, as a share of it."""

ORDER_ERROR: Final = 0.01
"""The mean rate of strikes lies within this share of the kinematic one (slip, wear, contact angle)."""

MIN_LENGTH: Final = 64
"""Shortest window that is made, samples."""

FAULT_TO_BACKGROUND_DB: Final = (-12.0, 12.0)
"""Power of the fault's vibration over the rest."""

DISTRIBUTED_SHARE: Final = 0.25
"""Share of faults that are rough patches, which modulate noise, rather than pits, which strike."""


SECOND_FAULT_SHARE: Final = 0.5
"""Share of faults that come with a weaker trace of another one: races and balls are marked by the same debris."""

SECOND_FAULT_DB: Final = (-20.0, -4.0)
"""Power of the second trace over the first."""


def can_make(mode: str, orders: Orders | None) -> bool:
    """Return whether the geometry says where this fault strikes.

    Examples
    --------
    >>> can_make("ball", Orders(bpfo=3.5)), can_make("outer_race", Orders(bpfo=3.5))
    (False, True)
    """
    if orders is None:
        return False
    needed = {"outer_race": orders.bpfo, "inner_race": orders.bpfi, "ball": orders.bsf}
    return needed.get(mode) is not None


def synthesise(
    rng: np.random.Generator,
    mode: str | None,
    *,
    length: int,
    sampling_rate_hz: float,
    shaft_hz: float,
    orders: Orders,
    background: NDArray[np.float32] | None = None,
) -> Vector:
    """Make one window.

    Parameters
    ----------
    rng : numpy.random.Generator
        Everything drawn comes from it.
    mode : str or None
        One of `MODES`; None makes the background alone.
    length : int
        Samples, at least 64.
    sampling_rate_hz, shaft_hz : float
        Above 0.
    orders : Orders
        Where strikes fall; the one that `mode` needs must be known.
    background : float array, shape (length,), optional
        A measured healthy window that the fault is added to; made as well where it is not given.

    Returns
    -------
    float64 array, shape (length,)
        Mean about 0. RMS of the background 1 where it was made.

    Raises
    ------
    ValueError
        The mode is unknown, the geometry does not say where it strikes, or length, rate, speed or background cannot be.
    """
    if length < MIN_LENGTH or not 0 < sampling_rate_hz < math.inf or not 0 < shaft_hz < math.inf:
        raise ValueError(
            f"A window needs at least {MIN_LENGTH} samples, and a rate and a speed above 0; got {length} samples, "
            f"{sampling_rate_hz} Hz, {shaft_hz} turns a second."
        )
    if background is not None and background.shape != (length,):
        raise ValueError(f"The background must have shape ({length},), got {background.shape}.")
    if mode is not None and not can_make(mode, orders):
        raise ValueError(f"Cannot make a fault of mode {mode!r} with {orders}.")
    turns: Vector = np.arange(length, dtype=np.float64) * (shaft_hz / sampling_rate_hz)
    if background is None:
        quiet = _background(rng, turns, sampling_rate_hz)
    else:
        quiet = background.astype(np.float64) - float(background.mean())
    if mode is None:
        return quiet
    fault = _fault(rng, mode, orders, turns, sampling_rate_hz)
    others = [other for other in MODES if other != mode and can_make(other, orders)]
    if others and rng.uniform() < SECOND_FAULT_SHARE:
        second = _fault(rng, others[int(rng.integers(len(others)))], orders, turns, sampling_rate_hz)
        fault = fault + second * 10.0 ** (rng.uniform(*SECOND_FAULT_DB) / 20.0)
    wanted = _rms(quiet) * 10.0 ** (rng.uniform(*FAULT_TO_BACKGROUND_DB) / 20.0)
    window: Vector = quiet + fault * (wanted / max(_rms(fault), 1e-12))
    return window


def _fault(rng: np.random.Generator, mode: str, orders: Orders, turns: Vector, fs: float) -> Vector:
    """Vibration of one defect alone, RMS 1."""
    times, heights = _strikes(rng, mode, orders, float(turns[-1]))
    samples = times / float(turns[1])
    make = _rough_patch if rng.uniform() < DISTRIBUTED_SHARE else _ringing
    fault = make(rng, samples, heights, len(turns), fs)
    scaled: Vector = fault / max(_rms(fault), 1e-12)
    return scaled


def _strikes(rng: np.random.Generator, mode: str, orders: Orders, turns: float) -> tuple[Vector, Vector]:
    """Times of the strikes in shaft turns, and how hard each is."""
    ftf = orders.ftf if orders.ftf is not None else 0.4
    rate = {"outer_race": orders.bpfo, "inner_race": orders.bpfi, "ball": 2.0 * (orders.bsf or 0.0)}[mode]
    assert rate is not None
    rate *= 1.0 + rng.uniform(-ORDER_ERROR, ORDER_ERROR) * (1.5 if mode == "ball" else 1.0)
    n = math.ceil(turns * rate) + 2
    slip = math.exp(rng.uniform(*np.log(SLIP_STEP)))
    steps = 1.0 + slip * rng.standard_normal(n)
    times = (np.cumsum(steps) - rng.uniform(0.0, 1.0)) / rate
    heights = np.exp(rng.uniform(0.05, 0.4) * rng.standard_normal(n))
    if mode == "inner_race":
        heights *= _load_zone(times + rng.uniform(), extent=math.exp(rng.uniform(*np.log((0.25, 4.0)))))
    elif mode == "ball":
        heights *= _load_zone(ftf * times + rng.uniform(), extent=math.exp(rng.uniform(*np.log((0.25, 4.0)))))
        heights[::2] *= rng.uniform(0.0, 1.0)
        heights *= _contact(rng, len(times), passes_per_turn=rate)
    else:
        heights *= 1.0 + rng.uniform(0.0, 0.4) * np.cos(2.0 * np.pi * (times + rng.uniform()))
    keep = (times >= 0) & (times < turns)
    return times[keep], heights[keep]


def _contact(rng: np.random.Generator, n: int, *, passes_per_turn: float) -> Vector:
    """1 while the spot on a ball runs in the track, less while the ball has turned it away: some turns at a time."""
    if rng.uniform() < 0.3:
        return np.ones(n)
    stay = passes_per_turn * math.exp(rng.uniform(math.log(1.0), math.log(15.0)))
    inside = np.cumsum(rng.uniform(size=n) < 1.0 / stay) % 2 == 0
    return np.where(inside, 1.0, rng.uniform(0.0, 0.4))


def _load_zone(turns: Vector, *, extent: float) -> Vector:
    """Stribeck's load distribution around a race, `max(0, 1 - (1 - cos) / (2 extent))^1.5`, over turns through it."""
    return np.maximum(1.0 - (1.0 - np.cos(2.0 * np.pi * turns)) / (2.0 * extent), 0.0) ** 1.5


def _ringing(rng: np.random.Generator, samples: Vector, heights: Vector, length: int, fs: float) -> Vector:
    """Strikes that ring one to three resonances."""
    signs = np.ones(len(heights)) if rng.uniform() < 0.7 else np.where(rng.uniform(size=len(heights)) < 0.5, -1.0, 1.0)
    train = _place(samples, heights * signs, length)
    t = np.arange(min(length, max(2, round(0.05 * fs)))) / fs
    response = np.zeros(len(t))
    for _ in range(int(rng.integers(1, 4))):
        natural = _resonance_hz(rng, fs)
        damping = math.exp(rng.uniform(*np.log((0.01, 0.15))))
        phase = rng.uniform(0.0, 2.0 * np.pi)
        decay = np.exp(-2.0 * np.pi * natural * damping * t)
        response += math.exp(0.7 * rng.standard_normal()) * decay * np.sin(2.0 * np.pi * natural * t + phase)
    size = sfft.next_fast_len(length + len(t), real=True)
    return np.asarray(sfft.irfft(sfft.rfft(train, size) * sfft.rfft(response, size), size)[:length], dtype=np.float64)


def _rough_patch(rng: np.random.Generator, samples: Vector, heights: Vector, length: int, fs: float) -> Vector:
    """Noise in a band that swells while a rolling element is on the patch."""
    gap = float(np.median(np.diff(samples))) if len(samples) > 1 else fs / 100.0
    half = min(max(2, round(gap * rng.uniform(0.05, 0.25))), (length - 1) // 2)
    swell = np.hanning(2 * half + 1)
    envelope = np.convolve(_place(samples, heights, length), swell, mode="same")
    noise = rng.standard_normal(length)
    centre, width = _resonance_hz(rng, fs), rng.uniform(0.1, 0.4) * fs / 2.0
    frequency = sfft.rfftfreq(length, 1.0 / fs)
    spectrum = sfft.rfft(noise * envelope) * np.exp(-0.5 * ((frequency - centre) / width) ** 2)
    return np.asarray(sfft.irfft(spectrum, length), dtype=np.float64)


def _background(rng: np.random.Generator, turns: Vector, fs: float) -> Vector:
    """Coloured noise with broad humps, shaft harmonics, foreign tones, and some noise that swells once a turn."""
    length = len(turns)
    frequency = sfft.rfftfreq(length, 1.0 / fs)
    gain = (frequency / fs + rng.uniform(0.005, 0.1)) ** (-rng.uniform(0.0, 1.0))
    gain /= gain.mean()
    for _ in range(int(rng.integers(0, 5))):
        centre = _resonance_hz(rng, fs)
        gain += rng.uniform(0.5, 6.0) * np.exp(-0.5 * ((frequency - centre) / (rng.uniform(0.01, 0.1) * fs)) ** 2)
    noise = np.asarray(sfft.irfft(sfft.rfft(rng.standard_normal(length)) * gain, length), dtype=np.float64)
    noise *= 1.0 + rng.uniform(0.0, 0.4) * np.cos(2.0 * np.pi * (turns + rng.uniform()))
    noise /= _rms(noise)
    tones = np.zeros(length)
    fall = rng.uniform(0.3, 1.5)
    for k in range(1, int(rng.integers(2, 12))):
        tones += k**-fall * math.exp(rng.standard_normal()) * np.cos(2.0 * np.pi * (k * turns + rng.uniform()))
    for _ in range(int(rng.integers(0, 4))):
        hz = math.exp(rng.uniform(math.log(min(20.0, 0.1 * fs)), math.log(0.45 * fs)))
        tones += math.exp(rng.standard_normal()) * np.cos(2.0 * np.pi * (turns * 0.0 + np.arange(length) * hz / fs))
    size = _rms(tones)
    if size > 0:
        noise += tones * (10.0 ** (rng.uniform(-25.0, 3.0) / 20.0) / size)
    return noise / _rms(noise)


def _place(samples: Vector, heights: Vector, length: int) -> Vector:
    """Strikes between samples are shared by the two neighbours."""
    train = np.zeros(length + 1)
    at = np.floor(samples).astype(np.int64)
    share = samples - at
    inside = (at >= 0) & (at < length)
    np.add.at(train, at[inside], (heights * (1.0 - share))[inside])
    np.add.at(train, at[inside] + 1, (heights * share)[inside])
    return train[:length]


def _resonance_hz(rng: np.random.Generator, fs: float) -> float:
    low = min(500.0, 0.1 * fs)
    return math.exp(rng.uniform(math.log(low), math.log(0.47 * fs)))


def _rms(values: Vector) -> float:
    return math.sqrt(float(np.mean(values * values)))
