"""From the scores of all channels of an axis in one bin of time to its state and flags. A pure function.

The rule, in order:

1. A channel with a bad data-quality verdict in most windows is not usable; it raises a `data` flag. If no channel is
   usable, the state is `data_fault`.
2. Of each usable channel, over its good windows: mean fault probability, mean mutual information, mean expected
   entropy, median novelty percentile. The axis takes the highest channel of each: one faulty channel is enough.
3. Flags: `unmodelled` (the textbook rule sees a fault that the model has no class for), `new_program` (a program that
   was neither in training nor in the plant's first days), `novel` (novelty percentile), `unseen` (mutual information
   above the model's own held-out percentile, unless all but a few samples say fault), `ambiguous` (the same for the
   expected entropy), `undecided` (a fault probability below the alarm that the review budget asks to look at).
4. A fault probability at the alarm level is an `alarm` only where no flag says that the model does not know this; else
   the state is `unknown` and an engineer is asked first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from features.quality.verdict import Quality
from pipeline.base.regime import program_of


def bin_start(moment: datetime, period: timedelta) -> datetime:
    """Return the start of the bin that a time falls into; bins are counted from 1970 in UTC."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // period * period


HEALTHY: Final = "healthy"
WATCH: Final = "watch"
ALARM: Final = "alarm"
DATA_FAULT: Final = "data_fault"
SILENT: Final = "silent"
UNKNOWN: Final = "unknown"

MACHINE_CODES: Final = ("fault", "unmodelled", "new_program", "unseen", "novel", "ambiguous", "undecided")
DATA_CODES: Final = ("data", "silent")

_BASE_PRIORITY: Final = {
    "fault": (0.6, 0.4),
    "unmodelled": (0.45, 0.25),
    "new_program": (0.40, 0.25),
    "unseen": (0.35, 0.25),
    "novel": (0.30, 0.25),
    "ambiguous": (0.20, 0.25),
    "undecided": (0.15, 0.25),
    "silent": (0.45, 0.0),
    "data": (0.40, 0.0),
}

ALARM_ALLOWED_WITH: Final = ("ambiguous", "undecided")
"""Flags that do not hold back an alarm: the signal is unclear, but the model has seen such signals."""

UNMODELLED: Final = 0.5
"""From this probability on, the textbook rule reports a fault that the model has no class for."""

QUALITY_WORDS: Final = {
    Quality.FLATLINE: "the signal does not move",
    Quality.CLIPPING: "the signal is clipped",
    Quality.DROPOUT: "stretches of the signal are lost",
    Quality.MAINS_HUM: "mains hum covers the signal",
    Quality.RATE_MISMATCH: "the sampling rate is not the declared one",
    Quality.WRONG_SPEED: "the declared speed is contradicted",
    Quality.GAIN_MISMATCH: "gain or unit is wrong",
    Quality.LOOSE_MOUNT: "the sensor sits loose",
    Quality.NON_FINITE: "the score is not finite",
    Quality.TOO_SHORT: "the recording is too short to be scored",
}


@dataclass(frozen=True)
class ScoredWindow:
    """A scored window, with what advise needs of it.

    Figures have the names of the columns of the score table. None: the model does not define the figure, or the verdict
    forbids it.
    """

    channel: str
    quality: str
    quality_evidence: str
    program: str | None
    model_version: str
    fault_probability: float | None = None
    fault_q05: float | None = None
    fault_q95: float | None = None
    class_probabilities: dict[str, float] | None = None
    mutual_information: float | None = None
    expected_entropy: float | None = None
    predictive_entropy: float | None = None
    novelty_percentile: float | None = None
    unmodelled_probability: float | None = None


FIGURES: Final = tuple(item.name for item in fields(ScoredWindow) if item.default is None)
"""The figures of a window, by column of the score table."""

WINDOW_COLUMNS: Final = ("channel", "quality", "evidence", "regime", "model_version", *FIGURES)
"""The columns of the score table that `window_of_row` needs."""


def window_of_row(row: Any) -> ScoredWindow:
    """Return the window in a row of the score table."""
    return _window(row._mapping, row.channel, program_of(row.regime), row.model_version)


def windows_of(
    scored: Sequence[Mapping[str, Any]], *, channel: Sequence[str], program: Sequence[str], model_version: str
) -> list[ScoredWindow]:
    """Return the windows that a model has just scored.

    Parameters
    ----------
    scored
        (n,) verdict and figures of each window, from `pipeline.scoring.score.figures_of`.
    channel, program
        (n,) names; the empty program '' means not known.
    model_version
        Version of the model; its thresholds are looked up by it.
    """
    return [
        _window(figures, str(on), str(name) or None, model_version)
        for figures, on, name in zip(scored, channel, program, strict=True)
    ]


def window_without_score(row: Any, quality: Quality) -> ScoredWindow:
    """Return a window for a recording that no window was cut from: with a verdict, and without figures.

    Parameters
    ----------
    row
        An extraction, with the model_version of the model.
    quality
        The verdict.
    """
    return ScoredWindow(row.channel, quality, row.evidence, program_of(row.regime), row.model_version)


def _window(figures: Mapping[str, Any], channel: str, program: str | None, model_version: str) -> ScoredWindow:
    return ScoredWindow(
        channel,
        figures["quality"],
        figures["evidence"],
        program,
        model_version,
        **{name: figures[name] for name in FIGURES},
    )


@dataclass(frozen=True)
class Thresholds:
    """The values from which a model's figures count as high, from settings and the model's own held-out percentiles.

    `predictive_entropy` is used only where the method cannot split it; None otherwise. `unmodelled` names the faults
    that have a bearing line and no class. `programs` are those of the training and of the plant's first days; empty:
    the model knows no programs, and `new_program` is not checked.
    """

    alarm_probability: float
    watch_probability: float
    novelty_percentile: float
    mutual_information: float | None
    expected_entropy: float | None
    predictive_entropy: float | None
    review_quantile: float
    review_probability: float
    unmodelled: tuple[str, ...]
    programs: frozenset[str]


@dataclass(frozen=True)
class Flag:
    """One reason to look at an axis."""

    code: str
    text: str


@dataclass(frozen=True)
class AxisFigures:
    """The state of an axis in a bin, with its figures (see `pipeline.store.tables.AxisState`)."""

    state: str
    n_windows: int
    fault_probability: float | None
    mode: str | None
    mutual_information: float | None
    expected_entropy: float | None
    novelty_percentile: float | None
    quality: str
    flags: tuple[Flag, ...]


def combine_channels(windows: Sequence[ScoredWindow], thresholds: dict[str, Thresholds]) -> AxisFigures:
    """Combine the windows of one axis and bin into its state.

    Parameters
    ----------
    windows
        At least one.
    thresholds
        By model version; every model of the windows must be there.
    """
    channels = sorted({window.channel for window in windows})
    flags: list[Flag] = []
    usable: list[list[ScoredWindow]] = []
    worst = Quality.OK
    for channel in channels:
        members = [window for window in windows if window.channel == channel]
        bad = [window for window in members if window.quality != Quality.OK]
        if bad:
            worst = min((worst, *(Quality(window.quality) for window in bad)), key=list(Quality).index)
        if len(bad) * 2 > len(members) or len(bad) == len(members):
            flags.append(_data_flag(channel, bad, len(members)))
        else:
            usable.append([window for window in members if window.quality == Quality.OK])
    if not usable:
        return AxisFigures(DATA_FAULT, len(windows), None, None, None, None, None, worst, tuple(flags))
    loudest = max(usable, key=lambda members: _mean(members, "fault_probability") or -1.0)
    probability = _mean(loudest, "fault_probability")
    mutual_information = _highest(usable, "mutual_information")
    entropy = _highest(usable, "expected_entropy")
    novelty = max((value for members in usable if (value := _median_novelty(members)) is not None), default=None)
    mode = _mode(loudest)
    limits = thresholds[loudest[0].model_version]
    doubts = _doubts(usable, thresholds, novelty)
    certain = not any(flag.code not in ALARM_ALLOWED_WITH for flag in doubts)
    if probability is not None and limits.review_probability <= probability < limits.alarm_probability:
        doubts.append(_undecided_flag(probability, limits))
    flags += doubts
    state = _state(probability, limits, certain=certain, doubted=bool(doubts))
    if state == ALARM:
        flags.append(_fault_flag(loudest, probability, mode))
    return AxisFigures(
        state, len(windows), probability, mode, mutual_information, entropy, novelty, worst, tuple(flags)
    )


def priority_of(codes: Sequence[str], fault_probability: float | None) -> float:
    """Return the priority of a finding, 0 to 1: a base value of its kind, raised by the fault probability."""
    share = fault_probability or 0.0
    return max((base + slope * share for base, slope in (_BASE_PRIORITY[code] for code in codes)), default=0.0)


def _state(probability: float | None, limits: Thresholds, *, certain: bool, doubted: bool) -> str:
    if probability is None:
        return UNKNOWN if doubted else HEALTHY
    if probability >= limits.alarm_probability and certain:
        return ALARM
    if doubted:
        return UNKNOWN
    return WATCH if probability >= limits.watch_probability else HEALTHY


def _doubts(usable: list[list[ScoredWindow]], thresholds: dict[str, Thresholds], novelty: float | None) -> list[Flag]:
    flags: list[Flag] = []
    for members in usable:
        limits = thresholds[members[0].model_version]
        strange = _mean(members, "unmodelled_probability")
        if strange is not None and strange >= UNMODELLED:
            named = " or ".join(name.replace("_", " ") for name in limits.unmodelled) or "another fault"
            text = f"The bearing lines indicate {named} ({strange:.2f}), which the model was never trained on."
            flags.append(Flag("unmodelled", text))
        new = {window.program for window in members if window.program is not None} - limits.programs
        if new and limits.programs:
            text = f"Program {', '.join(sorted(map(str, new)))} was neither in training nor in the plant's first days."
            flags.append(Flag("new_program", text))
        median = _median_novelty(members)
        if median is not None and median == novelty and median >= limits.novelty_percentile:
            flags.append(
                Flag(
                    "novel",
                    f"Farther from the training data than {median:.1f} % of held-out units: a new load, a new unit, "
                    "or a bad sensor?",
                )
            )
        for code, name, limit, words in (
            ("unseen", "mutual_information", limits.mutual_information, "The model has not seen enough of this"),
            ("ambiguous", "expected_entropy", limits.expected_entropy, "The signal itself is ambiguous"),
            ("ambiguous", "predictive_entropy", limits.predictive_entropy, "The model is unsure, and cannot say why"),
        ):
            value = _mean(members, name)
            if value is not None and limit is not None and value > limit and not _sure(members, name, limits):
                kind = name.replace("_", " ")
                flags.append(
                    Flag(
                        code,
                        f"{words}: {kind} {value:.3f} nats, above the {limits.review_quantile:g} % point of held-out "
                        f"units ({limit:.3f}).",
                    )
                )
    return list({flag.code: flag for flag in reversed(flags)}.values())[::-1]


def _sure(members: list[ScoredWindow], name: str, limits: Thresholds) -> bool:
    """Return whether nearly all samples say fault: then they may differ in which fault, but not in whether."""
    low = _mean(members, "fault_q05")
    return name == "mutual_information" and low is not None and low >= limits.alarm_probability


def _undecided_flag(probability: float, limits: Thresholds) -> Flag:
    text = (
        f"Fault probability {probability:.2f}: too low for an alarm, and at or above the {limits.review_probability:g} "
        "that the review budget asks to look at."
    )
    return Flag("undecided", text)


def _fault_flag(members: list[ScoredWindow], probability: float | None, mode: str | None) -> Flag:
    low, high = _mean(members, "fault_q05"), _mean(members, "fault_q95")
    interval = "" if low is None or high is None else f" (5-95 %: {low:.2f} to {high:.2f})"
    likely = f", most likely {mode.replace('_', ' ')}" if mode else ""
    return Flag("fault", f"Fault probability {probability or 0:.2f}{interval}{likely}.")


def _data_flag(channel: str, bad: list[ScoredWindow], total: int) -> Flag:
    verdict, _ = Counter(window.quality for window in bad).most_common(1)[0]
    evidence = next(window.quality_evidence for window in bad if window.quality == verdict)
    words = QUALITY_WORDS.get(Quality(verdict), verdict)
    detail = f": {evidence}" if evidence else ""
    return Flag("data", f"Channel {channel}: {words} in {len(bad)} of {total} windows{detail}.")


def _mean(members: Sequence[ScoredWindow], name: str) -> float | None:
    values = [value for window in members if (value := getattr(window, name)) is not None]
    return float(np.mean(values)) if values else None


def _highest(usable: list[list[ScoredWindow]], name: str) -> float | None:
    return max((value for members in usable if (value := _mean(members, name)) is not None), default=None)


def _median_novelty(members: Sequence[ScoredWindow]) -> float | None:
    values = [window.novelty_percentile for window in members if window.novelty_percentile is not None]
    return float(np.median(values)) if values else None


def _mode(members: Sequence[ScoredWindow]) -> str | None:
    """Return the most probable fault class over the windows."""
    totals: dict[str, float] = {}
    for window in members:
        for name, value in (window.class_probabilities or {}).items():
            if name != HEALTHY:
                totals[name] = totals.get(name, 0.0) + value
    return max(totals, key=lambda name: (totals[name], name)) if totals else None
