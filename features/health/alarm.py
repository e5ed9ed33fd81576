"""An alarm rule that is frozen on the first, healthy part of a run and then only watches.

The rule looks at the running median of the health index, so that a spike is no alarm, wants it above the threshold for
some values in a row, and ends as slowly as it began. The threshold comes from the reference part's own distribution:
its values are taken as exponential above the median, the generalised Pareto family with shape 0 (S. Coles, "An
Introduction to Statistical Modeling of Extreme Values" (2001), equation 4.12), and the level is sought that `horizon`
further values of health exceed with a stated chance. An exponential tail is heavier than a normal one, which is the
safe side: a short reference has not seen every day. Its scale comes from the lower quartile, not from the excesses:
what spoils a reference (bursts, run-in) goes upwards, and must not raise the threshold. On simulated runs with bursts
the upper quartile missed twice and the mean excess six times as many faults (docs/trend.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.health.trend import running_median
from features.spectra.time_domain import Vector

MIN_REFERENCE: Final = 20
"""Fewer reference values do not show how their upper tail falls."""

PERSISTENCE: Final = 12
"""Medians in a row above the threshold that start an alarm, and at or below it that end one."""


@dataclass(frozen=True, eq=False)
class Alarm:
    """The result of a frozen rule on a run.

    Attributes
    ----------
    threshold : float
        In the unit of the values.
    smooth : float64 array, shape (n,)
        The running median that is compared with it.
    on : bool array, shape (n,)
        Where the alarm is on; never in the reference part.
    first : int or None
        Place of the first alarm.
    lasting : int or None
        Place from which the alarm is on to the end.
    """

    threshold: float
    smooth: Vector
    on: NDArray[np.bool_]
    first: int | None
    lasting: int | None


def frozen_threshold(
    reference: NDArray[Any], *, false_alarm_rate: float = 0.01, horizon: int = 1000, min_rise: float = 3.0
) -> float:
    """Return the level that further values like the reference exceed with a stated chance at most.

    Parameters
    ----------
    reference : float array, shape (n,)
        Healthy values, as they will be compared (running medians). NaN = missing.
    false_alarm_rate : float
        Chance, 0 to 1, that any of `horizon` further values is above the level.
    horizon : int
        Number of further values, 1 or more.
    min_rise : float
        The level lies at least so far above the median of the reference. With 3 groups, 3 sigmas are a level that has
        grown by 5 dB alone: the tail of a short reference knows nothing of slow drifts, which are smaller than that.

    Returns
    -------
    float
        `median + max(b log(horizon / (2 false_alarm_rate)), min_rise)` with `b = (median - lower quartile) / log 2`.

    Raises
    ------
    ValueError
        Fewer than 20 finite reference values, or a setting out of range.

    Examples
    --------
    >>> round(frozen_threshold(np.arange(21.0), false_alarm_rate=0.5, horizon=32), 6)
    35.0
    """
    if not (0 < false_alarm_rate < 1 and horizon >= 1 and min_rise >= 0):
        raise ValueError(
            f"Wanted false_alarm_rate in 0..1, horizon of 1 or more and min_rise of 0 or more, got "
            f"{false_alarm_rate!r}, {horizon!r} and {min_rise!r}."
        )
    finite = np.asarray(reference, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size < MIN_REFERENCE:
        raise ValueError(f"A threshold needs {MIN_REFERENCE} finite reference values or more, got {finite.size}.")
    lower, middle = (float(value) for value in np.quantile(finite, (0.25, 0.5)))
    scale = (middle - lower) / math.log(2.0)
    return middle + max(scale * math.log(horizon / (2.0 * false_alarm_rate)), min_rise)


def alarm_onset(
    values: NDArray[Any],
    *,
    baseline_count: int,
    threshold: float | None = None,
    width: int = 6,
    persistence: int = PERSISTENCE,
    false_alarm_rate: float = 0.01,
    horizon: int = 1000,
    min_rise: float = 3.0,
) -> Alarm:
    """Return where an alarm that was frozen on the first values is on, and from when it stays on.

    Parameters
    ----------
    values : float array, shape (n,)
        Health index in order of time. NaN = missing: such a value neither starts nor ends an alarm.
    baseline_count : int
        The first so many values are the reference part.
    threshold : float, optional
        In place of the one that the reference part gives.
    width, persistence : int
        Values in the running median; medians in a row above the threshold that start an alarm, and at or below it that
        end one. A level that jumps is known `width // 2 + persistence` values later.
    false_alarm_rate, horizon, min_rise
        See `frozen_threshold`.

    Raises
    ------
    ValueError
        See `frozen_threshold` and `features.health.trend.running_median`.

    Examples
    --------
    >>> values = np.concatenate((np.arange(21.0) % 3, np.full(9, 50.0)))
    >>> alarm = alarm_onset(values, baseline_count=21, threshold=10.0, width=1, persistence=4)
    >>> alarm.first, alarm.lasting
    (24, 24)
    """
    if persistence < 1 or not 0 <= baseline_count <= len(values):
        raise ValueError(
            f"Wanted persistence of 1 or more and baseline_count in 0..{len(values)}, got {persistence!r} and "
            f"{baseline_count!r}."
        )
    smooth = running_median(values, width=width)
    if threshold is None:
        threshold = frozen_threshold(
            smooth[width - 1 : baseline_count],
            false_alarm_rate=false_alarm_rate,
            horizon=horizon,
            min_rise=min_rise,
        )
    on = np.zeros(len(smooth), dtype=np.bool_)
    on[baseline_count:] = _watch(smooth[baseline_count:], threshold, persistence, is_on=False)
    off = np.flatnonzero(~on)
    lasting = int(off[-1]) + 1 if off.size else 0
    first = int(np.argmax(on)) if on.any() else None
    return Alarm(threshold, smooth, on, first, lasting if lasting < len(on) else None)


def alarm_resumed(
    values: NDArray[Any],
    *,
    n_old: int,
    baseline_count: int,
    threshold: float,
    is_on: bool,
    width: int = 6,
    persistence: int = PERSISTENCE,
) -> NDArray[np.bool_]:
    """Return where an alarm is on over further values, as `alarm_onset` of the whole series would.

    Parameters
    ----------
    values : float array, shape (n,)
        The newest old values, and then the further ones, in order of time. Finite.
    n_old : int
        Number of old values: `width + persistence - 2`, or more. The medians of the first `width - 1` are not used.
    baseline_count : int
        Number of old values that are in the reference part.
    threshold : float
    is_on : bool
        State of the alarm at the last old value.
    width, persistence : int
        See `alarm_onset`.

    Returns
    -------
    bool array, shape (n - n_old,)

    Raises
    ------
    ValueError
        There are too few old values.

    Examples
    --------
    >>> values = np.concatenate((np.zeros(14), np.full(6, 50.0)))
    >>> alarm_resumed(values, n_old=16, baseline_count=0, threshold=10.0, is_on=False, width=1, persistence=4).tolist()
    [False, True, True, True]
    """
    if n_old < width + persistence - 2:
        raise ValueError(f"Wanted {width + persistence - 2} old values or more, got {n_old}.")
    smooth = running_median(values, width=width)
    against = 0
    for median in smooth[max(baseline_count, width - 1) : n_old][::-1]:
        if (median > threshold) == is_on:
            break
        against += 1
    return _watch(smooth[n_old:], threshold, persistence, is_on=is_on, against=against)


def _watch(smooth: Vector, threshold: float, persistence: int, *, is_on: bool, against: int = 0) -> NDArray[np.bool_]:
    """Return where the alarm is on, from a state and the number of medians in a row that speak against it."""
    on = np.zeros(len(smooth), dtype=np.bool_)
    for index, median in enumerate(smooth.tolist()):
        if math.isfinite(median):
            against = against + 1 if (median > threshold) != is_on else 0
            if against == persistence:
                is_on, against = not is_on, 0
        on[index] = is_on
    return on
