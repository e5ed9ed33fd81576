"""The waveform of a recording: the excitation (`excite`), and the signal of one accelerometer channel (`receive`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from pipeline.simulation.faults import Impulses, strikes
from pipeline.simulation.structure import RESPONSE_S, Structure, impulse_responses
from pipeline.simulation.units import SimulatedUnit

Array = npt.NDArray[np.float64]

REFERENCE_SPEED_RPM = 2_000.0
_SINC_TAPS = 8


@dataclass(frozen=True)
class Operation:
    """How a unit runs while it is recorded.

    Attributes
    ----------
    speed_rpm, load, temperature_c : float
        True mean speed, share of rated torque, housing temperature.
    tilt, ripple : float
        Properties of the program, see `pipeline.simulation.worlds.Program`.
    level : float
        Slow drift of the level, 1 = none.
    mode : str
        Fault mode, '' in health.
    severity : float
        0 to 1.
    """

    speed_rpm: float
    load: float
    temperature_c: float
    tilt: float
    ripple: float
    level: float
    mode: str
    severity: float


@dataclass(frozen=True)
class Excitation:
    """The motion of the shaft and the impacts, the same for every channel.

    Attributes
    ----------
    turns : ndarray
        Shaft angle at each sample, lead-in included, turns.
    lead : int
        Samples before the recording begins, in which the transients of the start decay.
    fault : Impulses or None
        Impacts of the flaw.
    tooth_turn : float
        Angle within a turn at which a broken tooth meshes.
    clack_samples, clack_weights : ndarray
        Handling clacks (short knocks): position (sample) and strength relative to the noise level.
    """

    turns: Array
    lead: int
    fault: Impulses | None
    tooth_turn: float
    clack_samples: Array
    clack_weights: Array


def excite(
    rng: np.random.Generator, unit: SimulatedUnit, operation: Operation, *, sampling_rate_hz: float, samples: int
) -> Excitation:
    """Return the motion of the shaft and the impacts of the flaw.

    The speed varies slowly; its mean over the recording is the operation's speed.

    Parameters
    ----------
    rng : numpy.random.Generator
        Random stream of the recording.
    unit, operation : SimulatedUnit, Operation
        The unit, and how it runs.
    sampling_rate_hz : float
        Sampling rate.
    samples : int
        Samples of the recording.

    Returns
    -------
    Excitation
        Angles and impacts.
    """
    lead = round(RESPONSE_S * sampling_rate_hz) + _SINC_TAPS
    time_s = (np.arange(lead + samples) - lead) / sampling_rate_hz
    duration_s = samples / sampling_rate_hz
    shaft_hz = operation.speed_rpm / 60.0
    # The integral of a whole number of cosine periods is 0: the mean over the recording stays exact.
    cycles = int(rng.integers(1, 4))
    omega = 2.0 * np.pi * cycles / duration_s
    phase = rng.uniform(0.0, 2.0 * np.pi)
    wander = unit.speed_wander * (np.sin(omega * time_s + phase) - np.sin(phase)) / omega
    turns = shaft_hz * (time_s + wander)
    turns -= turns[0]
    start_turn = rng.uniform()
    fault = None
    if operation.mode and operation.severity > 0.0:
        fault = strikes(
            rng,
            mode=operation.mode,
            bearing=unit.bearing,
            turns=float(turns[-1]),
            slip_mean=unit.slip_mean,
            slip_std=unit.slip_std,
            load_zone=unit.load_zone,
        )
        fault = Impulses(turns=fault.turns + start_turn, weights=fault.weights)
    tooth_turn = 0.0 if fault is None or not fault.turns.size else float(fault.turns[0] % 1.0)
    clacks = int(rng.poisson(unit.clack_rate * duration_s))
    return Excitation(
        turns=turns + start_turn,
        lead=lead,
        fault=fault,
        tooth_turn=tooth_turn,
        clack_samples=rng.uniform(0.0, lead + samples - 1.0, clacks),
        clack_weights=rng.uniform(5.0, 25.0, clacks) * rng.choice([-1.0, 1.0], clacks),
    )


def place_impulses(positions: Array, weights: Array, length: int) -> Array:
    """Return a signal with impulses at fractional positions, band-limited by an eight-tap Hann-windowed sinc."""
    base = np.floor(positions).astype(np.int64)
    taps = np.arange(1 - _SINC_TAPS // 2, 1 + _SINC_TAPS // 2)
    distance = taps - (positions - base)[:, None]
    kernel = np.sinc(distance) * np.cos(np.pi * distance / (_SINC_TAPS + 1)) ** 2
    index = (base[:, None] + taps) % length
    return np.bincount(index.ravel(), weights=(kernel * weights[:, None]).ravel(), minlength=length).astype(np.float64)


@lru_cache(maxsize=8)
def _band(size: int, sampling_rate_hz: float) -> tuple[Array, Array]:
    """Return the frequencies of a half spectrum (Hz), and the gain of the anti-alias filter there."""
    frequencies = np.asarray(fft.rfftfreq(size, 1.0 / sampling_rate_hz), dtype=np.float64)
    return frequencies, 1.0 / np.sqrt(1.0 + (frequencies / (0.45 * sampling_rate_hz)) ** 40)


def _noise(
    rng: np.random.Generator,
    unit: SimulatedUnit,
    operation: Operation,
    response: npt.NDArray[np.complex128],
    size: int,
    fs: float,
) -> Array:
    """Return stationary noise of RMS 1: a white floor, 1/f^x, and humps at the resonances of the structure."""
    frequencies, alias = _band(size, fs)
    colour = (frequencies / 200.0 + 0.05) ** (-(unit.noise_colour + operation.tilt))
    colour /= colour.mean()
    hump = np.abs(response) ** 2
    hump /= hump.mean()
    power = (unit.noise_floor + colour + unit.noise_hump * hump) * alias**2
    power[0] = 0.0
    gain = np.sqrt(power * (0.5 * size / power.sum()))
    halves = rng.standard_normal((2, frequencies.size))
    spectrum = (halves[0] + 1j * halves[1]) * (gain * np.sqrt(0.5 * size))
    return np.asarray(fft.irfft(spectrum, size), dtype=np.float64)


def _tones(unit: SimulatedUnit, operation: Operation, excitation: Excitation) -> Array:
    """Return shaft harmonics, gear mesh with sidebands, and torque ripple; a broken tooth changes the mesh once a turn.

    The change follows McFadden (1986, "Detecting fatigue cracks in gears by amplitude and phase demodulation of the
    meshing vibration", J. Vib. Acoust. 108, eq. 3): amplitude and phase of the mesh change while the tooth is engaged.
    """
    angle = 2.0 * np.pi * excitation.turns
    total = np.zeros_like(angle)
    root2 = np.sqrt(2.0)
    speed = operation.speed_rpm / REFERENCE_SPEED_RPM
    for k, (rms, phase) in enumerate(zip(unit.harmonics, unit.harmonic_phases, strict=True), start=1):
        total += (root2 * rms * speed) * np.cos(k * angle + phase)
    teeth = float(unit.bearing.pinion_teeth)
    mesh = (
        1.0 + unit.mesh_shaft_depth * np.cos(angle) + unit.mesh_wheel_depth * np.cos(angle / unit.bearing.stage_ratio)
    )
    mesh_angle = teeth * angle
    if operation.mode == "gear_tooth" and operation.severity > 0.0:
        away = (excitation.turns - excitation.tooth_turn + 0.5) % 1.0 - 0.5
        engaged = operation.severity * np.exp(-0.5 * (away * teeth / 0.8) ** 2)
        mesh *= 1.0 + 0.8 * engaged
        mesh_angle = mesh_angle - 0.7 * engaged
    load = 0.4 + 1.2 * operation.load
    for k, (rms, phase) in enumerate(zip(unit.mesh, unit.mesh_phases, strict=True), start=1):
        total += mesh * ((root2 * rms * load) * np.cos(k * mesh_angle + phase))
    total += (root2 * unit.ripple * operation.ripple) * np.cos(unit.ripple_order * angle)
    return total


def receive(
    rng: np.random.Generator,
    unit: SimulatedUnit,
    structure: Structure,
    operation: Operation,
    excitation: Excitation,
    *,
    sampling_rate_hz: float,
    samples: int,
) -> Array:
    """Return the acceleration at one channel.

    Parameters
    ----------
    rng : numpy.random.Generator
        Random stream of this recording and channel (noise).
    unit, structure, operation, excitation : SimulatedUnit, Structure, Operation, Excitation
        The unit, its structure as the channel sees it, how it runs, and its excitation.
    sampling_rate_hz : float
        Sampling rate.
    samples : int
        Samples of the recording.

    Returns
    -------
    ndarray, shape (samples,)
        Acceleration, g, before the converter.
    """
    length = excitation.turns.size
    size = fft.next_fast_len(length, real=True)
    responses = impulse_responses(structure, sampling_rate_hz=sampling_rate_hz, temperature_c=operation.temperature_c)
    spectra = fft.rfft(responses, size, axis=1)
    noise = _noise(rng, unit, operation, spectra[0], size, sampling_rate_hz)[:length]
    noise *= 1.0 + unit.noise_beat * np.cos(2.0 * np.pi * (excitation.turns + unit.beat_phase))
    driven = np.zeros(spectra.shape[1], dtype=np.complex128)
    fault = excitation.fault
    if fault is not None and fault.turns.size:
        positions = np.interp(fault.turns, excitation.turns, np.arange(length, dtype=np.float64))
        weights = fault.weights * (
            unit.fault_ratio * operation.severity * impulse_scale(unit, operation, sampling_rate_hz)
        )
        if operation.mode == "cage":
            # With a cage flaw the elements also crowd together: the noise grows and falls once a cage turn.
            crowd = np.cos(2.0 * np.pi * (excitation.turns - fault.turns[0]) * unit.bearing.ftf)
            noise *= 1.0 + 0.4 * operation.severity * crowd
        row = 1 if operation.mode == "gear_tooth" else 0
        driven += fft.rfft(place_impulses(positions, weights, size)) * spectra[row]
    if excitation.clack_samples.size:
        driven += fft.rfft(place_impulses(excitation.clack_samples, excitation.clack_weights, size)) * spectra[2]
    total = noise + _tones(unit, operation, excitation)
    if driven.any():
        total += fft.irfft(driven, size)[:length]
    level = unit.level_g * operation.level * (0.8 + 0.4 * operation.load) * operation.speed_rpm / REFERENCE_SPEED_RPM
    level *= np.exp(-0.004 * (operation.temperature_c - 35.0))
    return np.asarray(level * total[excitation.lead : excitation.lead + samples], dtype=np.float64)


MEAN_SQUARE_WEIGHT = {"outer_race": 1.05, "inner_race": 0.28, "ball": 0.26, "cage": 1.05, "gear_tooth": 1.05}
"""Approximate mean square weight of an impact: most impacts outside the load zone are weak."""


def impulse_scale(unit: SimulatedUnit, operation: Operation, sampling_rate_hz: float) -> float:
    """Return the impulse height with which a train of responses of energy 1 has RMS 1 at the reference speed and load.

    A train of `a` impacts a second with weight w, through a response of energy 1, has the mean square a w^2 / fs.
    """
    bearing = unit.bearing
    orders = {"outer_race": bearing.bpfo, "inner_race": bearing.bpfi, "ball": 2.0 * bearing.bsf, "cage": bearing.ftf}
    rate_hz = orders.get(operation.mode, 1.0) * MEAN_SQUARE_WEIGHT[operation.mode] * REFERENCE_SPEED_RPM / 60.0
    load = 0.7 + 0.6 * operation.load
    return float(load * np.sqrt(sampling_rate_hz / rate_hz))
