"""Windows of a recording with a speed trace: cut over the shaft's angle, where the speed is best.

Where the trace has stretches of constant speed that hold a window, only those are used: features in Hz mean what they
say there. Otherwise the whole recording is used, if the shaft turns in one direction all the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.segments import constant_speed_segments
from features.spectra.order_tracking import MIN_SPEED_RPM, Resampled, resample_by_angle, shaft_turns
from features.windows import WindowSettings, cut, plan_windows


@dataclass(frozen=True, eq=False)
class AngularWindows:
    """Windows of one stretch of a recording.

    Attributes
    ----------
    starts, lengths : int64 arrays, shape (n,)
        First sample and number of samples of each window in the recording.
    angular : float32 array, shape (n, length)
        The same windows at equal steps of shaft angle.
    samples_per_turn : int
        Steps in a turn.
    rate_hz : float
        Steps per second on average over the stretch.
    shaft_speed_rpm : float
        Mean speed over the stretch.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    angular: NDArray[np.float32]
    samples_per_turn: int
    rate_hz: float
    shaft_speed_rpm: float

    @property
    def turns(self) -> float:
        """Shaft turns in a window."""
        return float(self.angular.shape[-1] / self.samples_per_turn)


def angular_windows(
    samples: NDArray[np.float32],
    speed_rpm: NDArray[np.float32],
    trace_rate_hz: float,
    *,
    sampling_rate_hz: float,
    tolerance: float,
    settings: WindowSettings,
) -> list[AngularWindows]:
    """Cut a recording by its speed trace.

    Parameters
    ----------
    samples : float32 array, shape (n_samples,)
    speed_rpm : float array, shape (m,)
        Speed at the times `0, 1 / trace_rate_hz, ...` from the first sample on.
    trace_rate_hz, sampling_rate_hz : float
        Above 0.
    tolerance : float
        A stretch is of constant speed where it stays within `+- tolerance` of its middle.
    settings : WindowSettings
        `turns` is the length of a window.

    Returns
    -------
    list of AngularWindows
        One entry a stretch. Empty where the trace does not help: a sample is not finite, the trace ends more than one
        step before the recording does, or there is no stretch of constant speed that holds a window and the shaft
        stands or turns back.
    """
    n = samples.size
    duration = n / sampling_rate_hz
    if not np.isfinite(samples).all() or (len(speed_rpm) + 1) / trace_rate_hz < duration:
        return []
    segments = constant_speed_segments(
        speed_rpm, trace_rate_hz, duration_s=duration, tolerance=tolerance, min_turns=settings.turns
    )
    ends = [(round(s.start_s * sampling_rate_hz), round(s.stop_s * sampling_rate_hz)) for s in segments]
    used = speed_rpm[: math.ceil(duration * trace_rate_hz) + 1]
    if not ends:
        if np.abs(used).min() < MIN_SPEED_RPM or used.min() < 0 < used.max():
            return []
        ends = [(0, n)]
    stretches = []
    for first, stop in ends:
        stretch = _window_stretch(samples, used, trace_rate_hz, first, min(stop, n), sampling_rate_hz, settings)
        if stretch is not None:
            stretches.append(stretch)
    return stretches


def _window_stretch(
    samples: NDArray[np.float32],
    speed_rpm: NDArray[np.float32],
    trace_rate_hz: float,
    first: int,
    stop: int,
    sampling_rate_hz: float,
    settings: WindowSettings,
) -> AngularWindows | None:
    if stop - first < max(settings.min_samples, 16):
        return None
    # The trace as it is within the stretch: its own values, and the first sample's by interpolation.
    times = np.arange(first, stop) / sampling_rate_hz
    speed = np.interp(times, np.arange(len(speed_rpm)) / trace_rate_hz, np.abs(speed_rpm))
    turns = shaft_turns(speed, sampling_rate_hz, n_samples=stop - first, sampling_rate_hz=sampling_rate_hz)
    resampled = resample_by_angle(samples[first:stop], turns, sampling_rate_hz=sampling_rate_hz)
    return _cut_stretch(resampled, first, settings)


def _cut_stretch(resampled: Resampled, first: int, settings: WindowSettings) -> AngularWindows | None:
    plan = plan_windows(
        resampled.samples.size,
        sampling_rate_hz=resampled.rate_hz,
        shaft_speed_rpm=resampled.mean_speed_rpm,
        speed_is_steady=True,
        settings=settings,
    )
    if not len(plan.starts):
        return None
    starts = np.ceil(resampled.places[plan.starts]).astype(np.int64)
    ends = np.floor(resampled.places[plan.starts + plan.length - 1]).astype(np.int64) + 1
    return AngularWindows(
        starts=first + starts,
        lengths=ends - starts,
        angular=cut(resampled.samples, plan),
        samples_per_turn=resampled.samples_per_turn,
        rate_hz=resampled.rate_hz,
        shaft_speed_rpm=resampled.mean_speed_rpm,
    )
