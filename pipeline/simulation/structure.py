"""Impulse response of a unit's structure: a few modes in world A, a continuum of modes behind a path in world B."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

RESPONSE_S = 0.08
"""Length of an impulse response, s; at its end it has decayed to below 1 %."""

REFERENCE_TEMPERATURE_C = 35.0
STIFFNESS_PER_K = -4e-4
"""Relative change of a natural frequency per kelvin: steel and grease films are less stiff when warm."""


@dataclass(frozen=True)
class Structure:
    """Modes between a bearing and one accelerometer channel.

    Attributes
    ----------
    frequencies_hz, damping : ndarray
        Natural frequency and damping ratio of each mode.
    bearing_gain, gear_gain, clack_gain : ndarray
        How strongly an impact in the bearing, at the teeth, or on the housing excites each mode (signed).
    phases_rad : ndarray
        Phase of each mode at the sensor.
    delay_s, attack_s : float
        Travel time along the path, and rise time of the wave packet (0: at once).
    echo_s, echo_gain : float
        Delay and gain of a second arrival.
    """

    frequencies_hz: Array
    damping: Array
    bearing_gain: Array
    gear_gain: Array
    clack_gain: Array
    phases_rad: Array
    delay_s: float
    attack_s: float
    echo_s: float
    echo_gain: float


def draw_structure(rng: np.random.Generator, resonance: str) -> Structure:
    """Draw the structure of a unit.

    Parameters
    ----------
    rng : numpy.random.Generator
        Random stream of the unit.
    resonance : str
        `modes`: four to six separate, lightly damped modes (the classical model). `continuum`: dozens of closely
        spaced modes with random signs, which interfere, behind a path with delay, attack and an echo.

    Returns
    -------
    Structure
        The structure of the first channel; for others see `seen_by`.
    """
    if resonance == "modes":
        count = int(rng.integers(4, 7))
        edges = np.linspace(1_000.0, 5_800.0, count + 1)
        frequencies = rng.uniform(edges[:-1] + 80.0, edges[1:] - 80.0)
        damping = rng.uniform(0.012, 0.045, count)
        phases = np.zeros(count)
        path = (0.0, 0.0, 0.0, 0.0)
    else:
        count = 48
        centre, width = rng.uniform(2_000.0, 4_600.0), rng.uniform(700.0, 1_500.0)
        frequencies = np.sort(np.clip(centre + width * rng.standard_normal(count), 500.0, 6_000.0))
        # Similar decay times, not similar damping ratios: most damping is in the joints.
        damping = 1.0 / (2.0 * np.pi * frequencies * rng.uniform(0.0012, 0.0035, count))
        phases = rng.uniform(0.0, 2.0 * np.pi, count)
        path = (
            rng.uniform(0.0005, 0.002),
            rng.uniform(0.0003, 0.0012),
            rng.uniform(0.002, 0.005),
            rng.uniform(0.1, 0.4),
        )
    gains = rng.lognormal(0.0, 0.7, (3, count)) * rng.choice([-1.0, 1.0], (3, count))
    # Teeth excite the lower modes; a clack on the housing excites the lowest ones.
    low = np.exp(-(frequencies - frequencies.min()) / 1_800.0)
    return Structure(
        frequencies, damping, gains[0], gains[1] * low, gains[2] * low**2, phases, path[0], path[1], path[2], path[3]
    )


def seen_by(structure: Structure, rng: np.random.Generator) -> Structure:
    """Return the structure as another channel sees it: the same modes with other gains and signs."""
    count = structure.frequencies_hz.size
    gain = rng.lognormal(0.0, 0.5, count) * rng.choice([-1.0, 1.0], count)
    return Structure(
        structure.frequencies_hz,
        structure.damping,
        structure.bearing_gain * gain,
        structure.gear_gain * gain,
        structure.clack_gain * gain,
        structure.phases_rad,
        structure.delay_s,
        structure.attack_s,
        structure.echo_s,
        structure.echo_gain,
    )


def impulse_responses(structure: Structure, *, sampling_rate_hz: float, temperature_c: float) -> Array:
    """Return sampled responses to a unit impulse in the bearing, at the teeth and on the housing.

    Each is a sum of decaying sinusoids, sum_k g_k exp(-2 pi zeta_k f_k t) sin(2 pi f_k t + phase_k), from the arrival
    on, scaled to energy 1 (sum of squares over samples), so that the power of a pulse train
    depends on its rate alone.

    Parameters
    ----------
    structure : Structure
        The modes.
    sampling_rate_hz : float
        Sampling rate. Modes above 47 % of it do not pass the anti-alias filter.
    temperature_c : float
        Housing temperature: shifts the modes by `STIFFNESS_PER_K`.

    Returns
    -------
    ndarray, shape (3, round(RESPONSE_S * sampling_rate_hz))
        Rows: bearing, gear, clack.
    """
    t = np.arange(round(RESPONSE_S * sampling_rate_hz)) / sampling_rate_hz - structure.delay_s
    after = np.maximum(t, 0.0)
    frequencies = structure.frequencies_hz * (1.0 + STIFFNESS_PER_K * (temperature_c - REFERENCE_TEMPERATURE_C))
    omega = 2.0 * np.pi * frequencies[:, None]
    waves = np.exp(-structure.damping[:, None] * omega * after) * np.sin(omega * after + structure.phases_rad[:, None])
    waves *= (t >= 0.0) * (frequencies < 0.47 * sampling_rate_hz)[:, None]
    responses = np.stack((structure.bearing_gain, structure.gear_gain, structure.clack_gain)) @ waves
    if structure.attack_s > 0.0:
        responses *= 1.0 - np.exp(-after / structure.attack_s)
    if structure.echo_gain > 0.0:
        late = round(structure.echo_s * sampling_rate_hz)
        echoed = responses.copy()
        echoed[:, late:] += structure.echo_gain * responses[:, :-late]
        responses = echoed
    return np.asarray(responses / np.sqrt(np.sum(responses**2, axis=1, keepdims=True)), dtype=np.float64)
