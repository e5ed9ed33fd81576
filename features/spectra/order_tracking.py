"""Angular resampling: a signal at equal steps of time becomes one at equal steps of shaft angle.

Over the angle, a line at a shaft order stays on its bin although the speed varies. Sources: K. R. Fyfe and
E. D. S. Munck, "Analysis of computed order tracking", Mechanical Systems and Signal Processing 11 (1997), section 2;
interpolation after oversampling: R. E. Crochiere and L. R. Rabiner, "Multirate Digital Signal Processing" (1983).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sfft

from features.spectra.time_domain import Vector

MIN_SPEED_RPM: Final = 1.0
"""At a lower speed the shaft counts as standing: its angle is no measure of time."""

OVERSAMPLING: Final = 2


@dataclass(frozen=True, eq=False)
class Resampled:
    """A recording over the shaft's angle.

    Attributes
    ----------
    samples : float32 array, shape (m,)
        At equal steps of angle.
    samples_per_turn : int
        How many of them make a turn.
    places : float64 array, shape (m,)
        Where each lies in the recording, in (fractional) samples.
    mean_speed_rpm : float
        Turns over time.
    rate_hz : float
        Samples per second on average: `samples_per_turn` times the mean shaft frequency.
    """

    samples: NDArray[np.float32]
    samples_per_turn: int
    places: Vector
    mean_speed_rpm: float
    rate_hz: float


def shaft_turns(speed_rpm: NDArray[Any], trace_rate_hz: float, *, n_samples: int, sampling_rate_hz: float) -> Vector:
    """Return the shaft's angle at each sample, in turns since the first, from a speed trace.

    Parameters
    ----------
    speed_rpm : array, shape (n,)
        Finite, of one sign, at the times `0, 1 / trace_rate_hz, ...`; linear in between, constant after the last.
    trace_rate_hz : float
        Above 0.
    n_samples : int
        Samples of the signal.
    sampling_rate_hz : float
        Above 0.

    Returns
    -------
    float64 array, shape (n_samples,)
        Ascending: the exact integral of the linear speed, `v_k t + (v_(k+1) - v_k) t^2 rate / 2` within step k.

    Raises
    ------
    ValueError
        The trace is empty, not finite, slower than 1 rpm somewhere, of both signs, or a rate is not above 0.

    Examples
    --------
    >>> shaft_turns(np.array([60.0, 180.0]), 1.0, n_samples=3, sampling_rate_hz=2.0).tolist()
    [0.0, 0.75, 2.0]
    """
    for rate in (trace_rate_hz, sampling_rate_hz):
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"Rates must be finite numbers above 0, got {rate!r}.")
    if speed_rpm.ndim != 1 or not speed_rpm.size or not np.isfinite(speed_rpm).all():
        raise ValueError("A speed trace must be a 1-D array of finite values, and not empty.")
    if np.abs(speed_rpm).min() < MIN_SPEED_RPM or (speed_rpm.min() < 0 < speed_rpm.max()):
        raise ValueError("Order tracking needs a shaft that turns in one direction all the time, at 1 rpm or more.")
    speed = np.abs(speed_rpm.astype(np.float64)) / 60.0
    steps = 0.5 * (speed[1:] + speed[:-1]) / trace_rate_hz
    at_values = np.concatenate(([0.0], np.cumsum(steps)))
    time = np.arange(n_samples) / sampling_rate_hz
    k = np.minimum((time * trace_rate_hz).astype(np.int64), len(speed) - 1)
    late = time - k / trace_rate_hz
    slope = np.concatenate((np.diff(speed) * trace_rate_hz, [0.0]))
    return np.asarray(at_values[k] + late * (speed[k] + 0.5 * slope[k] * late), dtype=np.float64)


def resample_by_angle(samples: NDArray[np.float32], turns: Vector, *, sampling_rate_hz: float) -> Resampled:
    """Resample a signal at equal steps of shaft angle.

    Parameters
    ----------
    samples : float32 array, shape (n,)
        Finite, n of at least 16. Never written to.
    turns : float64 array, shape (n,)
        The shaft's angle at each sample, ascending (`shaft_turns`).
    sampling_rate_hz : float
        Above 0.

    Returns
    -------
    Resampled
        With `samples_per_turn` the next whole number above `sampling_rate_hz / mean shaft frequency`, so that turns
        can be laid over one another, and there are about as many samples as before.

    Notes
    -----
    The signal is oversampled twofold by zero padding its spectrum and then interpolated by a cubic spline: up to half
    of the Nyquist frequency a sine comes out within 0.2 % of its amplitude, up to 0.8 within 1 % (except near the
    ends). Where the shaft turns slower than on average, the angular grid is too coarse for the highest frequencies, so
    the signal is first cut off (brick wall) at `slowest / mean speed` of the Nyquist frequency: nothing is aliased.

    Raises
    ------
    ValueError
        Shapes do not fit, or the angle does not ascend.

    Examples
    --------
    >>> turns = np.arange(64) / 16.0
    >>> resampled = resample_by_angle(np.sin(2 * np.pi * turns).astype(np.float32), turns, sampling_rate_hz=160.0)
    >>> resampled.samples_per_turn, round(resampled.mean_speed_rpm, 6)
    (16, 600.0)
    """
    from scipy.interpolate import CubicSpline  # loads scipy.optimize, which nothing else needs

    if samples.ndim != 1 or samples.dtype != np.float32 or samples.shape != turns.shape or samples.size < 16:
        raise ValueError(
            "Wanted 1-D float32 samples and one angle for each, at least 16, got "
            f"{samples.shape} of {samples.dtype} and {turns.shape}."
        )
    step = np.diff(turns)
    if not (np.isfinite(turns).all() and (step > 0).all()):
        raise ValueError("The shaft's angle must ascend from sample to sample.")
    n = samples.size
    total = float(turns[-1] - turns[0])
    # A part in a million less, so that a turn of a whole number of samples keeps that number.
    per_turn = max(math.ceil((n - 1) / total * (1 - 1e-6)), 2)
    angles = turns[0] + np.arange(math.floor(total * per_turn * (1 + 1e-12)) + 1) / per_turn
    places = np.interp(angles, turns, np.arange(n, dtype=np.float64))
    # A sample takes `step` turns; where that is less than the grid's step, the grid is too coarse for the signal.
    fine = _oversample(samples, cut_share=float(step.min()) * per_turn)
    spline = CubicSpline(np.arange(fine.size) / OVERSAMPLING, fine)
    return Resampled(
        samples=np.asarray(spline(places), dtype=np.float64).astype(np.float32),
        samples_per_turn=per_turn,
        places=places,
        mean_speed_rpm=60.0 * sampling_rate_hz * total / (n - 1),
        rate_hz=sampling_rate_hz * total / (n - 1) * per_turn,
    )


def _oversample(samples: NDArray[np.float32], *, cut_share: float) -> Vector:
    """Oversample by zero padding the spectrum, without anything above `cut_share` of the Nyquist frequency.

    The ends are joined by a straight line that is taken off first and put on again: a jump would ring all over.
    """
    n = samples.size
    wide = samples.astype(np.float64)
    ramp = wide[0] + (wide[-1] - wide[0]) * np.arange(n) / (n - 1)
    # Odd about both ends, the signal goes on without a jump in value or slope.
    odd = np.concatenate((wide - ramp, -(wide - ramp)[-2:0:-1]))
    spectrum = sfft.rfft(odd)
    spectrum[math.floor(min(cut_share, 1.0) * (n - 1)) + 1 :] = 0.0
    fine = sfft.irfft(spectrum, OVERSAMPLING * odd.size) * OVERSAMPLING
    kept = OVERSAMPLING * (n - 1) + 1
    fine_ramp = wide[0] + (wide[-1] - wide[0]) * np.arange(kept) / (kept - 1)
    return np.asarray(fine[:kept] + fine_ramp, dtype=np.float64)
