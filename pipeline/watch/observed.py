"""The decision whether a retraining is due, from what was observed: arrays and numbers, no database and no clock.

`pipeline.watch.watch` fills `Observed` from the database, the replay benchmark from its arrays; both call `decide`, so
that the benchmark measures what runs in a plant.

A new trigger is a function in `pipeline/watch/triggers/` that returns a `Decision`, and one entry in `DUE` or in
`CHANGES` below. Nothing else lists the triggers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.base.settings import WatchSettings
from pipeline.watch.triggers.calibration import calibration
from pipeline.watch.triggers.decision import Decision
from pipeline.watch.triggers.drift import DriftSample, drift
from pipeline.watch.triggers.due import News, new_labels, schedule
from pipeline.watch.triggers.guards import budget, conclude, cooldown
from pipeline.watch.triggers.new_program import Programs, new_program
from pipeline.watch.triggers.performance import performance
from pipeline.watch.triggers.rate_rise import rate_rise

SCORE_NAMES: Final = ("fault_log_odds", "mutual_information_log10", "expected_entropy_log10", "novelty_log10")
SMALLEST: Final = 1e-6
"""Probabilities, entropies and distances below this are taken as this, so that their logarithm is finite."""

Pair = tuple[DriftSample, DriftSample]
"""The reference period, then the current one."""

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TimeSpan:
    """A range of time, UTC. Its end is not included."""

    from_at: datetime
    to_at: datetime


@dataclass(frozen=True)
class Spans:
    """The periods that the triggers compare.

    Attributes
    ----------
    usual
        Features are compared with it: the days before the champion's label cut-off, which it was trained on.
    first
        Scores and rates are compared with it: the champion's first days at work, not `usual`, because on recordings
        that a model learned from it is surer than on any other.
    now
        The last days, but nothing before the label cut-off.

    counted_from
        Answers since this time say how good the champion is: since its promotion, or the last reported change.

    Once a change has been reported, `usual` and `first` are the days after that report (`pipeline.watch.reported`).
    Where retention has deleted them, they are the oldest days that are kept.
    """

    usual: TimeSpan
    first: TimeSpan
    now: TimeSpan
    counted_from: datetime


def spans_of(
    *,
    label_cutoff: datetime,
    promoted_at: datetime,
    as_of: datetime,
    days: float,
    changed_at: datetime | None = None,
    kept_from: datetime | None = None,
) -> Spans:
    """Return the periods to compare at a time, each `days` long.

    Parameters
    ----------
    changed_at
        When a change was last reported.
    kept_from
        What is older was deleted, but for some recordings that are no sample of it; None: nothing was.
    """
    length = timedelta(days=days)
    start = max(promoted_at, label_cutoff, changed_at or label_cutoff)
    usual = label_cutoff - length if changed_at is None else changed_at
    usual, first = max(usual, kept_from or usual), max(start, kept_from or start)
    return Spans(
        usual=TimeSpan(usual, usual + length),
        first=TimeSpan(first, first + length),
        now=TimeSpan(max(as_of - length, label_cutoff), as_of),
        counted_from=start,
    )


@dataclass(frozen=True, eq=False)
class Reviewed:
    """Answered cases; the arrays are described in `pipeline.watch.triggers.calibration`."""

    stated: npt.NDArray[np.float64]
    fault: npt.NDArray[np.bool_]
    unit: npt.NDArray[np.str_]
    chance: npt.NDArray[np.float64]
    audited: npt.NDArray[np.bool_]
    alarm: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Confirmed:
    """Units with a confirmed fault, those without a case, units with an answered alarm, and those without a fault."""

    missed: int
    faults: int
    false_alarms: int
    alarms: int


@dataclass(frozen=True, eq=False)
class FleetChange:
    """What may have changed since the champion was trained. The functions are costly: only a trigger calls them.

    Attributes
    ----------
    spans
        The periods that are compared.
    feature_names : sequence of str
        Names of the columns of `features`.
    features, programs
        Return the features of recordings, and the programs of the axes, in `spans.usual` and in `spans.now`.
    scores
        Returns the champion's scores in `spans.first` and in `spans.now`, columns `SCORE_NAMES`.
    reviewed, confirmed
        Return what people found since `spans.counted_from`.
    rates
        Returns by `novelty_rate` and `review_rate` the share of flagged bins of each axis in `spans.first` and in
        `spans.now`, without the axes in `axis_causes`; NaN where an axis has no bin.
    unit_causes, axis_causes : mapping of str to str
        Units, and axes, whose change has a known cause that is not the model's, with that cause.
    known_programs : collection of str
        Motion programs that the champion has learned.
    waiting : mapping of str to datetime
        Triggers that reported a change which no retraining has answered, see `pipeline.watch.reported`.
    """

    spans: Spans
    feature_names: Sequence[str]
    features: Callable[[], Pair]
    programs: Callable[[], tuple[Programs, Programs]]
    scores: Callable[[], Pair]
    reviewed: Callable[[], Reviewed]
    confirmed: Callable[[], Confirmed]
    rates: Callable[[], Mapping[str, tuple[Shares, Shares]]]
    unit_causes: Mapping[str, str] = field(default_factory=dict)
    axis_causes: Mapping[str, str] = field(default_factory=dict)
    known_programs: Collection[str] = ()
    waiting: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Observed:
    """What is known of a scope at one time.

    Attributes
    ----------
    news
        What the champion has not learned.
    known_classes : collection of str, or None
        Classes of the champion; None: there is no champion.
    cutoff_days_ago : float or None
        Days since the champion's label cut-off; None: there is no champion.
    retrained_days_ago : sequence of float
        How many days ago each retraining was started or decided, 0 or more, in any order.
    change
        What may have changed since the champion was trained; None: there is no champion.
    refused : str
        Why nothing may start in this run, whatever fires; empty: it may.
    """

    news: News
    known_classes: Collection[str] | None
    cutoff_days_ago: float | None
    retrained_days_ago: Sequence[float]
    change: FleetChange | None
    refused: str = ""


def decide(observed: Observed, settings: WatchSettings, only: Collection[str] | None = None) -> list[Decision]:
    """Evaluate the triggers and the guards, and conclude whether a retraining is to be started.

    Parameters
    ----------
    only
        Names of the triggers that are evaluated; None: all. Guards and conclusion are always evaluated.

    Returns
    -------
    list of Decision
        The triggers in the order of `TRIGGERS`, then `cooldown`, `budget` and last `decision`. Without a champion
        nothing can have changed, so the triggers of `CHANGES` are not among them.
    """
    chosen = set(TRIGGERS if only is None else only)
    triggers = [trigger(observed, settings) for name, trigger in DUE.items() if name in chosen]
    if observed.change is not None:
        triggers += [trigger(observed.change, settings) for name, trigger in CHANGES.items() if name in chosen]
    waiting = {} if observed.change is None else observed.change.waiting
    guards = [_cooldown(observed, settings), _budget(observed, settings)]
    conclusion = conclude(
        triggers,
        guards,
        to_learn_from=observed.news.to_learn_from,
        too_few=_too_few(observed, settings),
        waiting={name: at for name, at in waiting.items() if name in chosen},
        refused=observed.refused,
    )
    return [*triggers, *guards, conclusion]


def _schedule(observed: Observed, settings: WatchSettings) -> Decision:
    age = observed.cutoff_days_ago
    if age is not None:
        age = min([age, *observed.retrained_days_ago])
    return schedule(age, max_age_days=settings.retrain_after_days, to_learn_from=observed.news.to_learn_from)


def _new_labels(observed: Observed, settings: WatchSettings) -> Decision:
    return new_labels(
        observed.news,
        known_classes=observed.known_classes,
        min_findings=settings.retrain_min_findings,
        min_kind_units=settings.retrain_kind_units,
        growth=settings.retrain_growth,
    )


def _too_few(observed: Observed, settings: WatchSettings) -> str:
    """Say why the gate would refuse any challenger: it asks for the same number of new findings."""
    news, known = observed.news, observed.known_classes
    least = settings.retrain_min_findings
    if known is None or news.findings >= least or news.new_kinds(known, min_units=settings.retrain_kind_units):
        return ""
    return f"{news.findings} findings are new or withdrawn, and a challenger needs {least}"


def _cooldown(observed: Observed, settings: WatchSettings) -> Decision:
    """Without a champion there is no cooldown: a first training that was refused is tried again with the next label."""
    length = settings.retrain_cooldown_days if observed.known_classes is not None else 0.0
    return cooldown(min(observed.retrained_days_ago, default=None), cooldown_days=length)


def _budget(observed: Observed, settings: WatchSettings) -> Decision:
    return budget(observed.retrained_days_ago, most=settings.retrain_budget, period_days=settings.retrain_budget_days)


def _feature_drift(change: FleetChange, settings: WatchSettings) -> Decision:
    """Report a shift of features, or a program that is new to the axes: a changed line leaves no regime to compare."""
    if young := _too_young("feature_drift", change.spans.usual, change):
        return young
    shift = _drift("feature_drift", change.features(), change.feature_names, change, settings)
    program = new_program(*change.programs(), known=change.known_programs, min_axes=settings.drift_min_units)
    said = [program.reason] * program.fired + [shift.reason] * (shift.fired or not program.fired)
    figures = {**shift.figures, "new_program": program.figures}
    return Decision(shift.trigger, shift.fired or program.fired, "; ".join(said), figures)


def _score_drift(change: FleetChange, settings: WatchSettings) -> Decision:
    if young := _too_young("score_drift", change.spans.first, change):
        return young
    return _drift("score_drift", change.scores(), SCORE_NAMES, change, settings)


def _drift(trigger: str, samples: Pair, names: Sequence[str], change: FleetChange, settings: WatchSettings) -> Decision:
    return drift(
        *samples,
        names=names,
        alpha=settings.drift_alpha,
        min_shift=settings.drift_shift,
        min_units=settings.drift_min_units,
        explained=change.unit_causes,
        trigger=trigger,
    )


def _calibration(change: FleetChange, settings: WatchSettings) -> Decision:
    return calibration(**vars(change.reviewed()), margin=settings.calibration_margin)


def _rate(trigger: str) -> Callable[[FleetChange, WatchSettings], Decision]:
    def rate(change: FleetChange, settings: WatchSettings) -> Decision:
        if young := _too_young(trigger, change.spans.first, change):
            return young
        return rate_rise(
            *change.rates()[trigger],
            name=trigger,
            min_rise=settings.rate_rise,
            alpha=settings.drift_alpha,
            min_units=settings.drift_min_units,
            explained=change.axis_causes,
        )

    return rate


def _performance(change: FleetChange, settings: WatchSettings) -> Decision:
    return performance(**vars(change.confirmed()), max_missed=settings.missed_rate, max_false=settings.false_alarm_rate)


def _too_young(trigger: str, reference: TimeSpan, change: FleetChange) -> Decision | None:
    """Return the decision that it is too early to compare; None where the last days begin after the reference."""
    if change.spans.now.from_at >= reference.to_at:
        return None
    figures = {"from_at": reference.from_at.isoformat(), "to_at": reference.to_at.isoformat()}
    text = (
        f"too early: the days to compare with, the champion's first ones or those after the last reported change, "
        f"end {reference.to_at:%Y-%m-%d}"
    )
    return Decision(trigger, False, f"{text}, and the current period must begin after them", figures)


DUE: Final[dict[str, Callable[[Observed, WatchSettings], Decision]]] = {
    "schedule": _schedule,
    "new_labels": _new_labels,
}
"""Triggers that start a retraining by themselves, in the order in which they are stored."""

CHANGES: Final[dict[str, Callable[[FleetChange, WatchSettings], Decision]]] = {
    "feature_drift": _feature_drift,
    "score_drift": _score_drift,
    "calibration": _calibration,
    "novelty_rate": _rate("novelty_rate"),
    "review_rate": _rate("review_rate"),
    "performance": _performance,
}
"""Triggers that report a change and bring nothing to learn from: they start nothing without a new label."""

TRIGGERS: Final = (*DUE, *CHANGES)
"""Names of all triggers."""


def score_columns(raw: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Put scores on scales without an end, as `score_drift` compares them.

    Parameters
    ----------
    raw : float array, shape (n, 4)
        Fault probability, mutual information, expected entropy (nats) and novelty of each recording; NaN = missing.

    Returns
    -------
    float array, shape (n, 4)
        Log odds of the probability and log10 of the others, columns `SCORE_NAMES`.
    """
    p = np.clip(raw[:, 0], SMALLEST, 1.0 - SMALLEST)
    return np.column_stack([np.log(p / (1.0 - p)), np.log10(np.maximum(raw[:, 1:], SMALLEST))])
