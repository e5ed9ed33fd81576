"""Kind `trend`: runs to failure. Rules and baselines are fitted to the first part of each run and then stay fixed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.health.alarm import MIN_REFERENCE, alarm_onset
from features.health.baseline import fit_reference, known_median
from features.health.health import health_index
from features.health.trend import running_median
from pipeline.evaluation.protocol import EvaluationRefused, Protocol
from pipeline.evaluation.reporting.output import EvaluationResult
from pipeline.evaluation.selection import Selection
from pipeline.evaluation.windows import OK, Windows, left_out_bad

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

WIDTH: Final = 6
"""Snapshots in a running median, so that one spike raises no alarm."""

MIN_BASELINE: Final = MIN_REFERENCE + WIDTH - 1
"""Least number of snapshots in the first part of a run; they give `MIN_REFERENCE` complete running medians."""

EARLY_UNTIL: Final = 0.5
"""An alarm between the baseline and this share of a run counts as false: bearings count as healthy until then."""

COLUMNS: Final = (
    "lead_time",
    "first_alarm",
    "alarms",
    "false_alarms",
    "false_alarm_share",
    "review_rate",
    "n_units",
    "seconds",
)


@dataclass(frozen=True, eq=False)
class Run:
    """The run of one physical unit to its failure; snapshots in order of time.

    Attributes
    ----------
    unit : str
        Physical unit.
    names : tuple of str
        Names of the F features.
    channels : dict of str to float32 array, shape (n, F)
        Features of each snapshot (median over its windows); NaN where the channel has no good window.
    n : int
        Number of snapshots.
    n_baseline : int
        The first `n_baseline` snapshots are the baseline.
    """

    unit: str
    names: tuple[str, ...]
    channels: dict[str, NDArray[np.float32]]
    n: int
    n_baseline: int


Rule = Callable[[Run], BoolArray | None]
"""Returns (n,) at which snapshots the alarm is on, never in the baseline; None where the baseline is too thin."""


def evaluate_trend(
    protocol: Protocol, selection: Selection, windows: Windows, *, methods: Sequence[str]
) -> EvaluationResult:
    """Judge every rule on every run. Nothing is random, so one pass is enough for all seeds.

    Raises
    ------
    EvaluationRefused
        The baseline part of a run has fewer than `MIN_BASELINE` snapshots.
    """
    judged = windows.of_rows(selection.test)
    runs = runs_of(judged, protocol)
    short = [
        f"unit {run.unit!r}: it has {run.n} snapshots, and the first {run.n_baseline} would be the baseline; a "
        f"baseline needs {MIN_BASELINE}. Raise baseline_share, or leave the unit out"
        for run in runs
        if run.n_baseline < MIN_BASELINE
    ]
    if short:
        raise EvaluationRefused(f"protocol {protocol.name}", short)
    results = [_judge(name, RULES[name], runs) for name in methods]
    about = {
        "units": [run.unit for run in runs],
        "snapshots": {run.unit: run.n for run in runs},
        "channels": {run.unit: sorted(run.channels) for run in runs},
    }
    notes = [note for run in results for note in run["notes"]]
    return EvaluationResult(results, {}, about, notes, left_out_bad(int((judged.quality != OK).sum())))


def runs_of(windows: Windows, protocol: Protocol) -> list[Run]:
    """Return the run of each unit, its snapshots in order of time; channels recorded at one time are one snapshot."""
    assert protocol.unit is not None
    units = windows.cells(protocol.unit)
    runs = []
    for unit in np.unique(units).tolist():
        own = windows.take(units == unit)
        first = _start_of_recording(own)
        moments = np.unique(first)
        channels = {}
        for channel in np.unique(own.channel).tolist():
            values = np.full((moments.size, len(own.names)), np.nan, dtype=np.float32)
            good = np.flatnonzero((own.channel == channel) & (own.quality == OK))
            place = np.searchsorted(moments, first[good])
            for index in np.unique(place):
                members = own.x[good[place == index]]
                values[index] = members[0] if len(members) == 1 else known_median(members)
            channels[channel] = values
        n_baseline = int(protocol.baseline_share * moments.size)
        runs.append(Run(unit, own.names, channels, int(moments.size), n_baseline))
    return runs


def _start_of_recording(windows: Windows) -> FloatArray:
    """Return the time (n,) at which the recording of each window started, seconds since 1970."""
    _, index = np.unique(windows.recording, return_inverse=True)
    first = np.full(int(index.max()) + 1, np.inf)
    np.minimum.at(first, index, windows.started_s)
    return first[index]


def rms_twice(run: Run) -> BoolArray | None:
    """Apply a plain rule: the median of 6 snapshots of RMS is above twice the baseline's median, on any channel."""
    return _any_channel(run, lambda smooth, median, mad: smooth > 2.0 * median)


def rms_mad(run: Run) -> BoolArray | None:
    """Apply a plain rule: the median of 6 snapshots of RMS is above the baseline's median + 6 MAD, on any channel."""
    return _any_channel(run, lambda smooth, median, mad: smooth > median + 6.0 * mad)


def _any_channel(run: Run, rule: Callable[[FloatArray, float, float], BoolArray]) -> BoolArray | None:
    on = np.zeros(run.n, dtype=np.bool_)
    has_baseline = False
    column = run.names.index("rms_log10")
    for values in run.channels.values():
        rms = 10.0 ** values[:, column].astype(np.float64)
        baseline = rms[: run.n_baseline]
        if not np.isfinite(baseline).any():
            continue
        has_baseline = True
        median = float(np.nanmedian(baseline))
        mad = float(np.nanmedian(np.abs(baseline - median)))
        on |= rule(running_median(rms, width=WIDTH), median, mad)
    on[: run.n_baseline] = False
    return on if has_baseline else None


def shipped_rule(run: Run) -> BoolArray | None:
    """Apply the rule of the trend step: the alarm on the health index, on where that of any channel is on.

    A channel with too few values in its first part has no threshold, so it raises no alarm.
    """
    on = np.zeros(run.n, dtype=np.bool_)
    judged = False
    for values in run.channels.values():
        reference = fit_reference(values[: run.n_baseline])
        index = health_index(values, run.names, reference)
        finite = np.isfinite(running_median(index, width=WIDTH)[WIDTH - 1 : run.n_baseline])
        if np.count_nonzero(finite) >= MIN_REFERENCE:
            on |= alarm_onset(index, baseline_count=run.n_baseline, width=WIDTH).on
            judged = True
    return on if judged else None


RULES: Final[dict[str, Rule]] = {"default": shipped_rule, "rms_twice": rms_twice, "rms_mad": rms_mad}
"""Every rule by its name in a table."""

ROWS: Final = tuple(RULES)


def lasting_onset(on: BoolArray) -> int | None:
    """Return the index from which an alarm (n,) stays on to the end; None where it is off at the end."""
    if not on.size or not on[-1]:
        return None
    off = np.flatnonzero(~on)
    return int(off[-1]) + 1 if off.size else 0


def judge_run(on: BoolArray, n_baseline: int) -> dict[str, Any]:
    """Judge one run.

    Parameters
    ----------
    on
        (n,) where the alarm is on; the run ends with the failure.
    n_baseline
        Number of snapshots at the start that are not judged.

    Returns
    -------
    dict
        lead_time: share of the run from the start of the lasting alarm to the end (0 without one). first_alarm: the
        same from the first alarm, lasting or not. alarms: 1 if there is a lasting alarm, else 0. false_alarms: number
        of alarms that begin between the baseline and half of the run. false_alarm_share: share of that part with the
        alarm on. review_rate: share of the snapshots after the baseline with the alarm on.
    """
    n = on.size
    onset = lasting_onset(on)
    early = on[n_baseline : int(EARLY_UNTIL * n)]
    begun = int(np.count_nonzero(np.diff(np.concatenate(([False], early)).astype(np.int8)) == 1))
    return {
        "lead_time": 0.0 if onset is None else (n - onset) / n,
        "first_alarm": (n - int(np.argmax(on))) / n if on.any() else 0.0,
        "alarms": int(onset is not None),
        "false_alarms": begun,
        "false_alarm_share": float(early.mean()) if early.size else None,
        "review_rate": float(on[n_baseline:].mean()) if n > n_baseline else None,
    }


def _judge(name: str, rule: Rule, runs: Sequence[Run]) -> dict[str, Any]:
    """Return means over the runs, all with the same weight; alarms and false alarms are sums."""
    started = time.perf_counter()
    alarms = {run.unit: rule(run) for run in runs}
    nothing = dict.fromkeys(COLUMNS[:6])
    units: dict[str, dict[str, Any]] = {
        run.unit: dict(nothing) if (on := alarms[run.unit]) is None else judge_run(on, run.n_baseline) for run in runs
    }
    notes = [
        f"unit {unit!r}: {name} has no threshold: too few values in the first part of the run; its figures are null"
        for unit, on in alarms.items()
        if on is None
    ]
    metrics: dict[str, Any] = {}
    for column in COLUMNS[:6]:
        values = [figures[column] for figures in units.values()]
        if any(value is None for value in values):
            metrics[column] = None
        else:
            metrics[column] = sum(values) if column in ("alarms", "false_alarms") else float(np.mean(values))
    metrics |= {"n_units": len(runs), "seconds": time.perf_counter() - started}
    return {"method": name, "seed": None, "metrics": metrics, "leaked": None, "units": units, "notes": notes}
