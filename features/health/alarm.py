"""An alarm rule that is frozen on the first, healthy part of a run and then only watches.

The threshold is at least a doubled amplitude (`DOUBLING`), a rise that a person would act on, and more where the
reference itself scatters by more. That comes from the reference part's own distribution: its running medians are taken
as exponential above the median, the generalised Pareto family with shape 0 (S. Coles, "An Introduction to Statistical
Modeling of Extreme Values" (2001), equation 4.12), and the level is sought that a small share of further values of
health exceeds. An exponential tail is heavier than a normal one, which is the safe side: a short reference has not seen
every day. Its scale comes from the lower quartile, not from the excesses: what spoils a reference (bursts, run-in) goes
upwards, and must not raise the threshold. On simulated runs with bursts the mean excess missed more than twice as many
faults (docs/results/trend.md).

The rule adds up by how much the values lie above the threshold: a cumulative sum (E. S. Page, "Continuous inspection
schemes", Biometrika 41 (1954)), kept between 0 and a limit, to which one value adds a third of the limit at most. So a
large rise needs few values and a small one many, one or two spikes are no alarm, and an alarm ends as it began.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.health.trend import running_median

MIN_REFERENCE: Final = 20
"""Fewer reference values do not show how their upper tail falls."""

DOUBLING: Final = 6.0
"""The least threshold: a doubled amplitude (6 dB), in sigmas of 1 dB (`features.health.health`)."""

LIMIT: Final = 12.0
"""Evidence that starts an alarm: twelve values in a row that lie one sigma above the threshold."""

LARGEST_STEP: Final = LIMIT / 3
"""The most that one value adds or takes: an alarm needs three values, after which a median of 6 follows a jump too."""


@dataclass(frozen=True, eq=False)
class Alarm:
    """The result of a frozen rule on a run.

    Attributes
    ----------
    threshold : float
        In the unit of the values.
    on : bool array, shape (n,)
        Where the alarm is on; never in the reference part.
    evidence : float
        Evidence after the last value, 0 to `LIMIT`.
    first : int or None
        Place of the first alarm.
    lasting : int or None
        Place from which the alarm is on to the end.
    """

    threshold: float
    on: NDArray[np.bool_]
    evidence: float
    first: int | None
    lasting: int | None


def frozen_threshold(reference: NDArray[Any], *, exceeded: float = 0.01, least: float = DOUBLING) -> float:
    """Return the level that a small share of values like the reference exceeds, or the least one.

    Parameters
    ----------
    reference : float array, shape (n,)
        Healthy values, as running medians. NaN = missing.
    exceeded : float
        Share of such values above the level, above 0 and up to 0.5.
    least : float
        The level is at least this; 0 is the reference itself. The tail of a short reference knows nothing of slow
        drifts, which are smaller than a doubling.

    Returns
    -------
    float
        `max(median + b log(1 / (2 exceeded)), least)` with `b = (median - lower quartile) / log 2`.

    Raises
    ------
    ValueError
        Fewer than 20 finite reference values, or a setting out of range.

    Examples
    --------
    >>> round(frozen_threshold(np.arange(21.0), exceeded=1 / 64), 6)
    35.0
    """
    if not (0 < exceeded <= 0.5 and least >= 0):
        raise ValueError(f"Wanted exceeded in 0..0.5 and least of 0 or more, got {exceeded!r} and {least!r}.")
    finite = np.asarray(reference, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size < MIN_REFERENCE:
        raise ValueError(f"A threshold needs {MIN_REFERENCE} finite reference values or more, got {finite.size}.")
    lower, middle = (float(value) for value in np.quantile(finite, (0.25, 0.5)))
    scale = (middle - lower) / math.log(2.0)
    return max(middle + scale * math.log(1.0 / (2.0 * exceeded)), least)


def alarm_onset(
    values: NDArray[Any],
    *,
    baseline_count: int,
    threshold: float | None = None,
    width: int = 6,
    least: float = DOUBLING,
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
    width : int
        Values in the running medians of the reference part that the threshold is read from.
    least : float
        See `frozen_threshold`.

    Raises
    ------
    ValueError
        See `frozen_threshold` and `features.health.trend.running_median`.

    Examples
    --------
    >>> values = np.concatenate((np.arange(21.0) % 3, np.full(9, 50.0)))
    >>> alarm = alarm_onset(values, baseline_count=21, threshold=10.0)
    >>> alarm.first, alarm.lasting
    (23, 23)
    """
    if not 0 <= baseline_count <= len(values):
        raise ValueError(f"Wanted baseline_count in 0..{len(values)}, got {baseline_count!r}.")
    if threshold is None:
        threshold = frozen_threshold(running_median(values[:baseline_count], width=width)[width - 1 :], least=least)
    on = np.zeros(len(values), dtype=np.bool_)
    on[baseline_count:], evidence = alarm_resumed(values[baseline_count:], threshold=threshold)
    off = np.flatnonzero(~on)
    lasting = int(off[-1]) + 1 if off.size else 0
    first = int(np.argmax(on)) if on.any() else None
    return Alarm(threshold, on, evidence, first, lasting if lasting < len(on) else None)


def alarm_resumed(
    values: NDArray[Any], *, threshold: float, evidence: float = 0.0, is_on: bool = False
) -> tuple[NDArray[np.bool_], float]:
    """Return where an alarm is on over further values, and the evidence after the last one.

    Evidence grows by `value - threshold`, by -4 to 4 at a time, and stays between 0 and 12. The alarm starts at 12 and
    ends at 0.

    Parameters
    ----------
    values : float array, shape (n,)
        In order of time. NaN = missing: nothing changes.
    threshold : float
    evidence, is_on
        The state after the value before: evidence, and whether the alarm is on.

    Examples
    --------
    >>> on, evidence = alarm_resumed(np.array([50.0, 50.0, 0.0, 50.0, 50.0]), threshold=10.0)
    >>> on.tolist(), evidence
    ([False, False, False, False, True], 12.0)
    """
    on = np.zeros(len(values), dtype=np.bool_)
    for index, value in enumerate(np.asarray(values, dtype=np.float64).tolist()):
        if math.isfinite(value):
            step = min(max(value - threshold, -LARGEST_STEP), LARGEST_STEP)
            evidence = min(max(evidence + step, 0.0), LIMIT)
            is_on = evidence >= LIMIT if not is_on else evidence > 0.0
        on[index] = is_on
    return on, evidence
