"""From the scores of all channels of an axis in one bin of time to its state and flags. A pure function.

Two questions are kept apart: *is it faulty?* raises an alarm, *which part?* is only named beside it. A doubt is stated
beside an alarm and never holds it back. The rule, in order:

1. A channel with a bad data-quality verdict in most windows is not usable; it raises a `data` flag, and a `blocked`
   flag where its windows would have had a very high fault probability. If no channel is usable, the state is
   `data_fault`.
2. Of each usable channel, over its good windows: mean fault probability, mean entropies, median novelty percentile. The
   axis takes the highest channel of each: one faulty channel is enough.
3. `recent_probability`: the mean log odds of this bin and of the bins before it. One loud bin is no alarm.
4. `alarm` where the recent probability reaches the alarm level (flag `fault`); below that, `watch` where it reaches the
   review level (flag `undecided`).
5. Doubts, each a flag: `unmodelled` (the textbook rule sees a fault that the model has no class for), `new_program` (a
   program that was neither in training nor in the plant's first days), `novel` (novelty percentile), `unseen` (the
   samples disagree whether it is faulty: mutual information above the model's own held-out percentile), `ambiguous`
   (the same for the expected entropy). With a doubt and without an alarm the state is `unknown`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

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

MACHINE_CODES: Final = ("fault", "blocked", "unmodelled", "new_program", "unseen", "novel", "ambiguous", "undecided")
DATA_CODES: Final = ("data", "silent")

_BASE_PRIORITY: Final = {
    "fault": (0.6, 0.4),
    "blocked": (0.45, 0.25),
    "unmodelled": (0.45, 0.25),
    "new_program": (0.40, 0.25),
    "unseen": (0.35, 0.25),
    "novel": (0.30, 0.25),
    "ambiguous": (0.20, 0.25),
    "undecided": (0.15, 0.25),
    "silent": (0.45, 0.0),
    "data": (0.40, 0.0),
}

UNMODELLED: Final = 0.6
"""From this probability on, the textbook rule reports a fault that the model has no class for."""

BLOCKED: Final = 0.9
"""From this mean probability on, a channel with a bad signal also goes to review: the machine may be faulty, too."""

LEAST_ODDS, MOST_ODDS = -3.5, 4.0
"""One bin counts with log odds between these (0.03 and 0.98), so that a long quiet time hides no sudden fault."""

UNCLEAR: Final = 0.7
"""Below this share of the fault probability, the most probable part is named together with the second one."""

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
    fault_mutual_information: float | None = None
    fault_expected_entropy: float | None = None
    predictive_entropy: float | None = None
    novelty_percentile: float | None = None
    unmodelled_probability: float | None = None
    blocked_probability: float | None = None


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
    """The values from which a model's figures count as high, see `pipeline.scoring.levels`.

    Attributes
    ----------
    alarm_probability, review_probability
        Levels of the recent probability, in (0, 1]; the review level is not above the alarm level.
    alarm_bins, alarm_hits
        Bins that the recent probability is taken over, and how many of them must be known for an alarm.
    fault_prior
        The fault probability of a bin that is not known, in (0, 1).
    novelty_percentile
        Of the held-out units, 0 to 100.
    entropies
        Limit of each entropy that is a doubt, nats: its percentile `review_quantile` on held-out units.
    unmodelled
        Faults that have a bearing line and no class.
    programs
        Those of the training and of the plant's first days; empty: `new_program` is not checked.
    tells_nothing
        Why the model's probability is not used, as a sentence; empty: it is used.
    """

    alarm_probability: float
    review_probability: float
    alarm_bins: int
    alarm_hits: int
    fault_prior: float
    novelty_percentile: float
    review_quantile: float
    entropies: Mapping[str, float]
    unmodelled: tuple[str, ...]
    programs: frozenset[str]
    tells_nothing: str = ""


def recent_log_odds(fault_probabilities: Sequence[float], *, bins: int, fault_prior: float) -> float:
    """Return the mean log odds of the last bins, nats; a bin that is not known counts with the prior.

    Evidence adds up in log odds, so several bins that are somewhat suspicious weigh as much as one that is very
    suspicious, and one loud bin among quiet ones is averaged out (A. Wald, Sequential Analysis, 1947). No bin counts
    beyond `LEAST_ODDS` and `MOST_ODDS`.

    Parameters
    ----------
    fault_probabilities
        Of the bins, newest last, in [0, 1].
    bins
        Number of bins, 1 or more.
    fault_prior
        In (0, 1).

    Examples
    --------
    >>> round(recent_log_odds([0.5, 0.5], bins=2, fault_prior=0.05), 3)
    0.0
    >>> round(recent_log_odds([0.5], bins=2, fault_prior=0.05), 3)
    -1.472
    """
    known = [min(max(log_odds(value), LEAST_ODDS), MOST_ODDS) for value in fault_probabilities[-bins:]]
    return (sum(known) + (bins - len(known)) * log_odds(fault_prior)) / bins


def log_odds(probability: float) -> float:
    """Return the log odds of a probability, nats; what is nearer to 0 or 1 than 1e-6 counts as that."""
    p = min(max(probability, 1e-6), 1.0 - 1e-6)
    return math.log(p / (1.0 - p))


def probability_of(odds: float) -> float:
    """Return the probability of log odds, nats."""
    return 1.0 / (1.0 + math.exp(-odds))


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
    recent_probability: float | None
    mode: str | None
    mutual_information: float | None
    expected_entropy: float | None
    novelty_percentile: float | None
    quality: str
    flags: tuple[Flag, ...]


def combine_channels(
    windows: Sequence[ScoredWindow], thresholds: Mapping[str, Thresholds], before: Sequence[float] | None = None
) -> AxisFigures:
    """Combine the windows of one axis and bin into its state.

    Parameters
    ----------
    windows
        At least one.
    thresholds
        By model version; every model of the windows must be there.
    before
        Fault probabilities of the bins before this one, newest last; None: the bin is judged alone.
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
            hidden = _mean(bad, "blocked_probability")
            if hidden is not None and hidden >= BLOCKED and not thresholds[bad[0].model_version].tells_nothing:
                flags.append(_blocked_flag(channel, hidden))
        else:
            usable.append([window for window in members if window.quality == Quality.OK])
    if not usable:
        return AxisFigures(DATA_FAULT, len(windows), None, None, None, None, None, None, worst, tuple(flags))
    loudest = max(usable, key=lambda members: _mean(members, "fault_probability") or -1.0)
    probability = _mean(loudest, "fault_probability")
    limits = thresholds[loudest[0].model_version]
    recent = _recent(probability, before, limits)
    mode = _mode(loudest)
    novelty = max((value for members in usable if (value := _median_novelty(members)) is not None), default=None)
    doubts = _doubts(usable, thresholds, novelty)
    known_bins = limits.alarm_hits if before is None else len(before) + 1
    heard = -1.0 if recent is None or limits.tells_nothing else recent
    alarmed = heard >= limits.alarm_probability and known_bins >= limits.alarm_hits
    watched = not alarmed and heard >= limits.review_probability
    flags += doubts
    if watched:
        flags.append(_undecided_flag(heard, limits))
    if alarmed:
        flags.append(_fault_flag(loudest, heard, limits, alone=before is None))
    state = ALARM if alarmed else UNKNOWN if doubts or limits.tells_nothing else WATCH if watched else HEALTHY
    return AxisFigures(
        state,
        len(windows),
        probability,
        recent,
        mode,
        _highest(usable, "mutual_information"),
        _highest(usable, "expected_entropy"),
        novelty,
        worst,
        tuple(flags),
    )


def _recent(probability: float | None, before: Sequence[float] | None, limits: Thresholds) -> float | None:
    if probability is None or before is None:
        return probability
    odds = recent_log_odds([*before, probability], bins=limits.alarm_bins, fault_prior=limits.fault_prior)
    return probability_of(odds)


def priority_of(codes: Sequence[str], fault_probability: float | None) -> float:
    """Return the priority of a finding, 0 to 1: a base value of its kind, raised by the fault probability."""
    share = fault_probability or 0.0
    return max((base + slope * share for base, slope in (_BASE_PRIORITY[code] for code in codes)), default=0.0)


def _doubts(
    usable: list[list[ScoredWindow]], thresholds: Mapping[str, Thresholds], novelty: float | None
) -> list[Flag]:
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
        for name, limit in limits.entropies.items():
            value = _mean(members, name)
            if value is not None and value > limit and not limits.tells_nothing:
                code, words = DOUBTS[name]
                flags.append(
                    Flag(
                        code,
                        f"{words}: {value:.3f} nats, above the {limits.review_quantile:g} % point of held-out units "
                        f"({limit:.3f}).",
                    )
                )
    return list({flag.code: flag for flag in reversed(flags)}.values())[::-1]


DOUBTS: Final = {
    "fault_mutual_information": ("unseen", "The model has not seen enough of this to tell whether it is faulty"),
    "fault_expected_entropy": ("ambiguous", "The signal itself does not tell whether it is faulty"),
    "mutual_information": ("unseen", "The model has not seen enough of this"),
    "expected_entropy": ("ambiguous", "The signal itself is ambiguous"),
    "predictive_entropy": ("ambiguous", "The model is unsure, and cannot say why"),
}
"""For each entropy the code of the doubt, and its words."""


def _undecided_flag(recent: float, limits: Thresholds) -> Flag:
    text = (
        f"Recent fault probability {recent:.2f}: below the alarm level {limits.alarm_probability:.2g}, and at or above "
        f"the review level {limits.review_probability:.2g}."
    )
    return Flag("undecided", text)


def _fault_flag(members: list[ScoredWindow], recent: float, limits: Thresholds, *, alone: bool) -> Flag:
    probability = _mean(members, "fault_probability") or 0.0
    low, high = _mean(members, "fault_q05"), _mean(members, "fault_q95")
    interval = "" if low is None or high is None else f" (5-95 %: {low:.2f} to {high:.2f})"
    level = f", at or above the alarm level {limits.alarm_probability:.2g}"
    text = f"Fault probability {probability:.2f}{interval}{level}"
    if not alone:
        text = f"Recent fault probability {recent:.2f}{level}; this bin alone {probability:.2f}{interval}"
    return Flag("fault", f"{text}{_part(members)}.")


def _part(members: list[ScoredWindow]) -> str:
    """Return which part is most likely faulty; with the second one where that is not clear."""
    shares = _fault_shares(members)
    ranked = sorted(shares, key=lambda name: (-shares[name], name))[:2]
    named = [f"{name.replace('_', ' ')} {100 * shares[name]:.0f} %" for name in ranked]
    if not ranked:
        return ""
    if len(ranked) > 1 and shares[ranked[0]] < UNCLEAR:
        return f"; which part is unclear: {', '.join(named)}"
    return f", most likely {ranked[0].replace('_', ' ')}"


def _blocked_flag(channel: str, probability: float) -> Flag:
    text = (
        f"Channel {channel}: the signal is bad, so it raises no alarm; as it is, its fault probability would be "
        f"{probability:.2f}. Check the sensor and the machine."
    )
    return Flag("blocked", text)


def _data_flag(channel: str, bad: list[ScoredWindow], total: int) -> Flag:
    verdict, _ = Counter(window.quality for window in bad).most_common(1)[0]
    evidence = next(window.quality_evidence for window in bad if window.quality == verdict)
    words = QUALITY_WORDS.get(Quality(verdict), verdict)
    detail = f": {evidence}" if evidence else ""
    return Flag("data", f"Channel {channel}: {words} in {len(bad)} of {total} windows{detail}.")


def _mean(members: Sequence[ScoredWindow], name: str) -> float | None:
    values = [value for window in members if (value := getattr(window, name)) is not None]
    return math.fsum(values) / len(values) if values else None


def _highest(usable: list[list[ScoredWindow]], name: str) -> float | None:
    return max((value for members in usable if (value := _mean(members, name)) is not None), default=None)


def _median_novelty(members: Sequence[ScoredWindow]) -> float | None:
    values = sorted(window.novelty_percentile for window in members if window.novelty_percentile is not None)
    middle = len(values) // 2
    return (values[middle] + values[~middle]) / 2.0 if values else None


def _mode(members: Sequence[ScoredWindow]) -> str | None:
    """Return the most probable fault class over the windows."""
    shares = _fault_shares(members)
    return max(shares, key=lambda name: (shares[name], name)) if shares else None


def _fault_shares(members: Sequence[ScoredWindow]) -> dict[str, float]:
    """Return the share of each fault class in the fault probability over the windows; they add up to 1."""
    totals: dict[str, float] = {}
    for window in members:
        for name, value in (window.class_probabilities or {}).items():
            if name != HEALTHY:
                totals[name] = totals.get(name, 0.0) + value
    whole = sum(totals.values())
    return {name: total / whole for name, total in totals.items()} if whole > 0 else {}
