"""Damage to good recordings: faults of sensors, cables, converters and file headers, and mistakes of people.

Strengths are drawn at random from ranges that are typical of plants, down to the slightest damage that matters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import signal

GRAVITY = 9.80665


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording of one channel with the values of its log; `other` has the samples of a second channel."""

    samples: NDArray[np.float32]
    rate_hz: float
    rpm: float | None
    other: NDArray[np.float32] | None = None


KINDS = (
    "flatline",
    "flat_part",
    "clipping",
    "dropout",
    "hum",
    "gain_9.81",
    "gain_1/9.81",
    "gain_1000",
    "gain_1/1000",
    "sign",
    "swapped",
    "loose_mount",
    "wrong_speed",
    "rate_declared",
    "rate_sampled",
)
"""All kinds. `rate_declared`: the samples are right and the rate in the header is wrong. `rate_sampled`: the converter
ran at another rate than the header declares."""


def damage(good: Recording, kind: str, rng: np.random.Generator) -> Recording | None:
    """Return a damaged copy of a recording; None where the kind cannot be applied (no second channel, or no speed)."""
    x = good.samples.astype(np.float64)
    size = float(x.std())
    gains = {"gain_9.81": GRAVITY, "gain_1/9.81": 1 / GRAVITY, "gain_1000": 1000.0, "gain_1/1000": 1e-3, "sign": -1.0}
    if kind in gains:
        return replace(good, samples=(x * gains[kind]).astype(np.float32))
    match kind:
        case "flatline":
            y = np.full_like(x, rng.uniform(-5, 5) * size)
            if rng.uniform() < 0.3:
                y += rng.choice([-1.0, 1.0]) * 1e-8 * np.abs(y)
        case "flat_part":
            y = x.copy()
            first = int(rng.uniform(0, 0.7) * x.size)
            y[first : first + int(rng.uniform(0.1, 0.9) * x.size)] = x[first]
        case "clipping":
            # From a few clipped peaks to a signal that is mostly clipped.
            rail = np.quantile(np.abs(x - x.mean()), rng.uniform(0.6, 0.99))
            y = x.mean() + np.clip(x - x.mean(), -rail, rail)
        case "dropout":
            y = x.copy()
            for _ in range(int(rng.integers(1, 5))):
                length = max(int(rng.uniform(0.02, 0.2) * x.size), 32)
                first = int(rng.integers(0, max(x.size - length, 1)))
                y[first : first + length] = 0.0 if rng.uniform() < 0.7 else x[first]
        case "hum":
            y = x + _hum(x.size, good.rate_hz, rng) * size * rng.uniform(1.5, 6.0)
        case "loose_mount":
            y = _loose(x, good.rate_hz, rng)
        case "swapped":
            return None if good.other is None else replace(good, samples=good.other, other=good.samples)
        case "wrong_speed":
            if good.rpm is None:
                return None
            factor = rng.uniform(0.5, 0.85) if rng.uniform() < 0.5 else rng.uniform(1.18, 2.0)
            return replace(good, rpm=good.rpm * factor)
        case "rate_declared":
            return replace(good, rate_hz=good.rate_hz * float(rng.choice([0.25, 0.5, 2 / 3, 1.5, 2.0, 4.0])))
        case "rate_sampled":
            up, down = ((1, 2), (2, 3), (3, 2), (2, 1))[int(rng.integers(4))]
            y = signal.resample_poly(x - x.mean(), up, down) + x.mean()
        case _:
            raise ValueError(f"unknown kind {kind!r}")
    return replace(good, samples=y.astype(np.float32))


def _hum(size: int, rate_hz: float, rng: np.random.Generator) -> NDArray[np.float64]:
    time_s = np.arange(size) / rate_hz
    mains = float(rng.choice([50.0, 60.0])) * rng.uniform(0.999, 1.001)
    hum = sum(
        share * np.sin(2 * np.pi * k * mains * time_s + rng.uniform(0, 2 * np.pi))
        for k, share in ((1, 1.0), (3, rng.uniform(0.1, 0.5)), (5, rng.uniform(0.0, 0.3)))
    )
    return np.asarray(hum, dtype=np.float64)


def _loose(x: NDArray[np.float64], rate_hz: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Lower the resonance of the mount: amplified near it, attenuated above, often clipped at loss of contact."""
    resonance = rng.uniform(0.03, 0.2) * min(rate_hz / 2, 8_000.0)
    damping = rng.uniform(0.05, 0.3)
    ratio = np.fft.rfftfreq(x.size, 1 / rate_hz) / resonance
    passed = np.fft.irfft(np.fft.rfft(x - x.mean()) / (1 - ratio**2 + 2j * damping * ratio), x.size)
    if rng.uniform() < 0.5:
        rail = rng.uniform(1.0, 2.5) * float(passed.std())
        passed = np.where(passed > rail, rail + 0.25 * (passed - rail), passed)
    return np.asarray(passed + x.mean(), dtype=np.float64)
