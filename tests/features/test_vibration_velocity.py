"""The rms of the vibration velocity against closed forms: sines, white noise, motion below the band."""

from __future__ import annotations

import math

import numpy as np
import pytest

from features.vibration_velocity import LEAST_S, ZONES, velocity_rms

RATE = 12_800.0


def sine(hertz: float, amplitude: float, seconds: float = 4.0, rate: float = RATE) -> np.ndarray:
    at = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * at + 0.3)).astype(np.float32)


@pytest.mark.parametrize("hertz", [20.0, 33.3, 80.0, 159.2, 640.0, 950.0])
@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.3, 10.0])
def test_a_sine_of_acceleration_is_divided_by_its_angular_frequency(hertz: float, seconds: float) -> None:
    """a / sqrt(2) / (2 pi f), in mm/s, and the same from a velocity of that amplitude."""
    true = 1000 * 5.0 / math.sqrt(2) / (2 * math.pi * hertz)
    error = 0.05 if hertz * seconds < 15 else 0.01  # of few periods the line is wide
    got = velocity_rms(sine(hertz, 5.0, seconds), RATE, quantity="acceleration")
    assert got == pytest.approx(true, rel=error)
    velocity = sine(hertz, 1000 * 5.0 / (2 * math.pi * hertz), seconds)
    assert velocity_rms(velocity, RATE, quantity="velocity") == pytest.approx(true, rel=error)


@pytest.mark.parametrize("seconds", [0.2, 2.0, 15.0])
def test_white_noise_has_the_integral_of_its_density(seconds: float) -> None:
    """Density S = 2 sigma^2 / rate; v^2 = S / (4 pi^2) (1/10 - 1/1000); mean over many recordings."""
    rng = np.random.default_rng(1)
    true = math.sqrt(2 * 3.0**2 / RATE / (4 * math.pi**2) * (1 / 10 - 1 / 1000)) * 1000
    n = round(seconds * RATE)
    runs = max(12, round(120 / seconds))
    squares = [
        velocity_rms(rng.normal(0, 3.0, n).astype(np.float32), RATE, quantity="acceleration") ** 2 for _ in range(runs)
    ]
    error = np.std(squares) / math.sqrt(runs)
    assert np.mean(squares) == pytest.approx(true**2, abs=4 * error)
    assert error < 0.08 * true**2
    velocity = velocity_rms(rng.normal(0, 3.0, 60 * 12_800).astype(np.float32), RATE, quantity="velocity")
    assert velocity == pytest.approx(3.0 * math.sqrt(990 / (RATE / 2)), rel=0.01)


def test_what_lies_outside_of_the_band_does_not_count() -> None:
    """A swinging arm, a drift, gravity, and a resonance of 3 kHz, far larger than the vibration."""
    vibration = sine(50.0, 1.0)
    at = np.arange(len(vibration)) / RATE
    beside = vibration + 9.81 + 0.5 * at + 5 * np.sin(2 * np.pi * 0.5 * at) + sine(3000.0, 20.0)
    alone = velocity_rms(vibration, RATE, quantity="acceleration")
    assert velocity_rms(beside.astype(np.float32), RATE, quantity="acceleration") == pytest.approx(alone, rel=0.005)


def test_a_line_at_the_edge_has_half_of_its_power() -> None:
    true = 1000 / math.sqrt(2) / (2 * math.pi * 10)
    assert velocity_rms(sine(10.0, 1.0), RATE, quantity="acceleration") / true == pytest.approx(0.5**0.5, rel=0.03)


@pytest.mark.parametrize("rate", [2048.0, 2560.0, 25_600.0])
def test_it_does_not_depend_on_the_sampling_rate(rate: float) -> None:
    got = velocity_rms(sine(80.0, 5.0, rate=rate), rate, quantity="acceleration")
    assert got == pytest.approx(5000 / math.sqrt(2) / (160 * math.pi), rel=0.002)


def test_another_band_is_another_figure_and_missing() -> None:
    assert math.isnan(velocity_rms(sine(80.0, 1.0, rate=2000.0), 2000.0, quantity="acceleration"))
    short = sine(80.0, 1.0, seconds=LEAST_S)
    assert not math.isnan(velocity_rms(short, RATE, quantity="acceleration"))
    assert math.isnan(velocity_rms(short[:-1], RATE, quantity="acceleration"))
    short[5] = np.inf
    assert math.isnan(velocity_rms(short, RATE, quantity="acceleration"))


def test_the_caller_keeps_its_array() -> None:
    samples = sine(80.0, 1.0)
    before = samples.copy()
    velocity_rms(samples, RATE, quantity="acceleration")
    assert np.array_equal(samples, before)


def test_zones_rise() -> None:
    assert all(a < b < c for a, b, c in ZONES.values())
