"""Cut a recording into windows: so many shaft turns where the speed is known and steady, else so many samples.

Windows are counted in turns because a bearing or gear line is resolved by the number of turns it was watched for, not
by seconds: with 30 turns, a line at shaft order `q` falls on bin `30 q` of the spectrum at any speed and any rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

LENGTH_STEP: Final = 256
"""A window counted in turns is rounded to a multiple of this many samples, so that its Fourier transform is fast."""


@dataclass(frozen=True)
class WindowSettings:
    """How long a window is.

    Attributes
    ----------
    turns : float
        Shaft turns per window, in mode `turns` with a known, steady speed. Above 0.
    samples : int
        Samples per window otherwise. Above 0.
    min_samples : int
        The shortest window that is still a window. A shorter recording has none.
    max_samples : int
        The longest window; a slow shaft is then seen for fewer turns, see `WindowPlan.turns_covered`.
    mode : {"turns", "samples"}
        `samples` ignores the speed.
    long_turns : float
        Shaft turns in a long window, of windows side by side, see `features.long_lines`. Above 0.

    Raises
    ------
    ValueError
        A value is out of range; the message names it.
    """

    turns: float = 30.0
    samples: int = 8192
    min_samples: int = 512
    max_samples: int = 1_048_576
    mode: Literal["turns", "samples"] = "turns"
    long_turns: float = 100.0

    def __post_init__(self) -> None:
        for name in ("turns", "long_turns"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number above 0, got {getattr(self, name)!r}.")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples!r}.")
        if not 2 <= self.min_samples <= self.max_samples:
            raise ValueError(
                f"min_samples must be at least 2 and at most max_samples, got {self.min_samples!r} and "
                f"{self.max_samples!r}."
            )
        if self.mode not in ("turns", "samples"):
            raise ValueError(f"mode must be 'turns' or 'samples', got {self.mode!r}.")


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """Where the windows of one recording lie.

    Attributes
    ----------
    starts : int64 array, shape (n,)
        First sample of each window, ascending; empty where the recording is too short.
    length : int
        Samples in every window; 0 where there is none.
    turns_covered : float
        Shaft turns in a window; NaN where the speed is unknown or not steady.
    """

    starts: NDArray[np.int64]
    length: int
    turns_covered: float


def plan_windows(
    n_samples: int,
    *,
    sampling_rate_hz: float,
    shaft_speed_rpm: float | None,
    speed_is_steady: bool,
    settings: WindowSettings,
) -> WindowPlan:
    """Plan windows that lie side by side from the first sample, without overlap.

    Parameters
    ----------
    n_samples : int
        Length of the recording.
    sampling_rate_hz : float
        Samples per second, above 0.
    shaft_speed_rpm : float or None
        Mean speed of the monitored shaft; a negative sign (the direction) is ignored, 0 and NaN count as unknown.
    speed_is_steady : bool
        Whether that speed holds over the recording.
    settings : WindowSettings

    Returns
    -------
    WindowPlan
        In mode `turns` with a steady speed `length = turns * 60 * rate / |rpm|`, rounded to the nearest multiple of
        256, else `samples`; then at least `min_samples` and at most `max_samples`. The tail that does not fill a
        window is not used. A recording shorter than one window but of at least `min_samples` is one window of its
        whole length; a shorter one has no window.

    Raises
    ------
    ValueError
        The rate is not a finite number above 0, or `n_samples` is negative.

    Examples
    --------
    >>> plan = plan_windows(
    ...     25_600,
    ...     sampling_rate_hz=12_800.0,
    ...     shaft_speed_rpm=1500.0,
    ...     speed_is_steady=True,
    ...     settings=WindowSettings(turns=20.0),
    ... )
    >>> plan.starts.tolist(), plan.length, plan.turns_covered
    ([0, 10240], 10240, 20.0)
    """
    if not (math.isfinite(sampling_rate_hz) and sampling_rate_hz > 0):
        raise ValueError(f"The sampling rate must be a finite number above 0 Hz, got {sampling_rate_hz!r}.")
    if n_samples < 0:
        raise ValueError(f"The number of samples cannot be negative, got {n_samples!r}.")
    shaft_hz = steady_shaft_hz(shaft_speed_rpm, speed_is_steady=speed_is_steady)
    wanted = settings.samples
    if settings.mode == "turns" and shaft_hz is not None:
        exact = settings.turns * sampling_rate_hz / shaft_hz
        # The clamp comes first: a shaft that barely turns would ask for more samples than an integer holds.
        wanted = round(min(exact, float(settings.max_samples)) / LENGTH_STEP) * LENGTH_STEP
    wanted = min(max(wanted, settings.min_samples), settings.max_samples)

    if n_samples >= wanted:
        starts = np.arange(n_samples // wanted, dtype=np.int64) * wanted
        length = wanted
    elif n_samples >= settings.min_samples:
        starts, length = np.zeros(1, dtype=np.int64), n_samples
    else:
        starts, length = np.zeros(0, dtype=np.int64), 0
    turns = math.nan if shaft_hz is None or length == 0 else length * shaft_hz / sampling_rate_hz
    return WindowPlan(starts=starts, length=length, turns_covered=turns)


def steady_shaft_hz(shaft_speed_rpm: float | None, *, speed_is_steady: bool) -> float | None:
    """Return the shaft frequency `|rpm| / 60` in Hz, or None where it is unknown, zero or not steady.

    Examples
    --------
    >>> steady_shaft_hz(-1500.0, speed_is_steady=True)
    25.0
    """
    if shaft_speed_rpm is None or not speed_is_steady or not math.isfinite(shaft_speed_rpm) or shaft_speed_rpm == 0:
        return None
    return abs(shaft_speed_rpm) / 60.0


def cut(samples: NDArray[np.float32], plan: WindowPlan) -> NDArray[np.float32]:
    """Cut one recording as planned.

    Parameters
    ----------
    samples : float32 array, shape (n_samples,)
        The recording. It is never written to.
    plan : WindowPlan
        What `plan_windows` returned for it.

    Returns
    -------
    float32 array, shape (n, length)
        A read-only view where the windows lie side by side (as `plan_windows` lays them) in contiguous memory,
        otherwise a copy.

    Raises
    ------
    ValueError
        The samples are not one-dimensional float32, or a window reaches outside of them.

    Examples
    --------
    >>> cut(np.arange(5, dtype=np.float32), WindowPlan(np.array([0, 2]), length=2, turns_covered=math.nan)).tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise ValueError(f"Samples must be a 1-D float32 array, got {samples.ndim}-D {samples.dtype}.")
    n = len(plan.starts)
    if n == 0:
        return np.empty((0, plan.length), dtype=np.float32)
    first, last = int(plan.starts.min()), int(plan.starts.max())
    if first < 0 or last + plan.length > samples.size:
        raise ValueError(
            f"The plan reaches from sample {first} to {last + plan.length}, but the recording has {samples.size}."
        )
    side_by_side = np.array_equal(plan.starts, first + plan.length * np.arange(n))
    if side_by_side and samples.flags.c_contiguous:
        view = samples[first : first + n * plan.length].reshape(n, plan.length)
        view.flags.writeable = False
        return view
    return np.stack([samples[start : start + plan.length] for start in plan.starts])
