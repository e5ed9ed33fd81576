"""From the scores of all channels of an axis in one bin of time to its state and flags. A pure function.

Two questions are kept apart: *is it faulty?* raises an alarm, *which part?* is only named beside it. A doubt is stated
beside an alarm and never holds it back. The rule, in order:

1. A channel with a bad data-quality verdict in most windows is not usable; it raises a `data` flag, and a `blocked`
   flag where what is left of the signal would alarm. If no channel is usable, the state is `data_fault`.
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
from dataclasses import dataclass, field, fields
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
STATES: Final = (HEALTHY, WATCH, ALARM, DATA_FAULT, SILENT, UNKNOWN)

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

NO_SIGNAL: Final = frozenset({Quality.NON_FINITE, Quality.TOO_SHORT, Quality.FLATLINE})
"""Verdicts that leave nothing of the machine in a window: what a model makes of it is evidence of nothing."""

LEAST_ODDS, MOST_ODDS = -3.5, 4.0
"""One bin counts with log odds between these (0.03 and 0.98), so that a long quiet time hides no sudden fault."""


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
        Limit of each entropy that is a doubt, nats: its percentile `review_quantile` on held-out units, or nearly the
        entropy of equal probabilities where that is lower.
    unmodelled
        Faults that have a bearing line and no class.
    programs
        Those of the training and of the plant's first days; empty: `new_program` is not checked.
    tells_nothing
        Why the model's probability is not used, as a sentence; empty: it is used.
    cost_level
        The alarm level that follows from the declared costs, which a plant's own one may lie below. A bad signal is
        judged by the higher of the two: the plant's own one is made of the mean of many good recordings.
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
    cost_level: float = 0.0


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
    """One reason to look at an axis: its code, and the numbers and names behind it. It is worded where it is shown."""

    code: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return {"code": self.code, **self.facts}


def flag_of(row: Mapping[str, Any]) -> Flag:
    """Return a stored flag; one that was stored as a sentence has it as its `text`."""
    return Flag(row["code"], {name: value for name, value in row.items() if name != "code"})


@dataclass(frozen=True)
class FaultFigures:
    """Whether it is faulty and which part, from the windows of one channel (see `pipeline.store.tables.AxisState`)."""

    fault_probability: float | None = None
    fault_q05: float | None = None
    fault_q95: float | None = None
    mode: str | None = None
    fault_shares: dict[str, float] | None = None


NOT_SCORED: Final = FaultFigures()

FAULT_FIGURES: Final = tuple(item.name for item in fields(FaultFigures))
"""The columns of states, cases and tallies that hold them."""


@dataclass(frozen=True)
class AxisFigures:
    """The state of an axis in a bin, with its figures (see `pipeline.store.tables.AxisState`)."""

    state: str
    n_windows: int
    fault: FaultFigures
    recent_probability: float | None
    mutual_information: float | None
    expected_entropy: float | None
    novelty_percentile: float | None
    quality: str
    flags: tuple[Flag, ...]

    @property
    def fault_probability(self) -> float | None:
        """Mean over windows, highest channel, 0 to 1."""
        return self.fault.fault_probability

    @property
    def mode(self) -> str | None:
        """Most probable fault class of that channel."""
        return self.fault.mode


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
    usable: list[list[ScoredWindow]] = []
    unusable: list[dict[str, Any]] = []
    blocked: list[dict[str, Any]] = []
    worst = Quality.OK
    for channel in channels:
        members = [window for window in windows if window.channel == channel]
        bad = [window for window in members if window.quality != Quality.OK]
        if bad:
            worst = min((worst, *(Quality(window.quality) for window in bad)), key=list(Quality).index)
        if len(bad) * 2 > len(members) or len(bad) == len(members):
            unusable.append(_bad_channel(channel, bad, len(members)))
            hidden = _mean([window for window in bad if window.quality not in NO_SIGNAL], "blocked_probability")
            limits = thresholds[bad[0].model_version]
            level = max(limits.alarm_probability, limits.cost_level)
            if hidden is not None and hidden >= level and not limits.tells_nothing:
                blocked.append({"channel": channel, "probability": _short(hidden), "level": _short(level)})
        else:
            usable.append([window for window in members if window.quality == Quality.OK])
    flags = [Flag(code, {"channels": found}) for code, found in (("data", unusable), ("blocked", blocked)) if found]
    if not usable:
        return AxisFigures(DATA_FAULT, len(windows), NOT_SCORED, None, None, None, None, worst, tuple(flags))
    loudest = max(usable, key=lambda members: _mean(members, "fault_probability") or -1.0)
    probability = _mean(loudest, "fault_probability")
    limits = thresholds[loudest[0].model_version]
    recent = _recent(probability, before, limits)
    novelty = max((value for members in usable if (value := _median_novelty(members)) is not None), default=None)
    doubts = _doubts(usable, thresholds, novelty)
    known_bins = limits.alarm_hits if before is None else len(before) + 1
    heard = -1.0 if recent is None or limits.tells_nothing else recent
    alarmed = heard >= limits.alarm_probability and known_bins >= limits.alarm_hits
    watched = not alarmed and heard >= limits.review_probability
    flags += doubts
    if watched or alarmed:
        levels = {"alarm_level": _short(limits.alarm_probability), "review_level": _short(limits.review_probability)}
        flags.append(Flag("fault" if alarmed else "undecided", {"recent": _short(heard), **levels}))
    state = ALARM if alarmed else UNKNOWN if doubts or limits.tells_nothing else WATCH if watched else HEALTHY
    return AxisFigures(
        state,
        len(windows),
        _fault_figures(loudest),
        recent,
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
            flags.append(Flag("unmodelled", {"modes": list(limits.unmodelled), "probability": _short(strange)}))
        new = {str(window.program) for window in members if window.program is not None} - limits.programs
        if new and limits.programs:
            flags.append(Flag("new_program", {"programs": sorted(new)}))
        median = _median_novelty(members)
        if median is not None and median == novelty and median >= limits.novelty_percentile:
            flags.append(Flag("novel", {"percentile": _short(median)}))
        for name, limit in limits.entropies.items():
            value = _mean(members, name)
            if value is not None and value > limit and not limits.tells_nothing:
                facts = {"figure": name, "nats": _short(value), "limit": _short(limit)}
                flags.append(Flag(DOUBTS[name], facts | {"quantile": limits.review_quantile}))
    return list({flag.code: flag for flag in reversed(flags)}.values())[::-1]


DOUBTS: Final = {
    "fault_mutual_information": "unseen",
    "fault_expected_entropy": "ambiguous",
    "mutual_information": "unseen",
    "expected_entropy": "ambiguous",
    "predictive_entropy": "ambiguous",
}
"""For each entropy the code of the doubt."""


def _bad_channel(channel: str, bad: list[ScoredWindow], total: int) -> dict[str, Any]:
    """Return the most frequent verdict of a channel's bad windows, and what it rests on."""
    verdict, _ = Counter(window.quality for window in bad).most_common(1)[0]
    evidence = next(window.quality_evidence for window in bad if window.quality == verdict)
    return {"channel": channel, "verdict": str(verdict), "bad": len(bad), "windows": total, "evidence": evidence}


def _short(value: float) -> float:
    return round(value, 4)


def _mean(members: Sequence[ScoredWindow], name: str) -> float | None:
    values = [value for window in members if (value := getattr(window, name)) is not None]
    return math.fsum(values) / len(values) if values else None


def _highest(usable: list[list[ScoredWindow]], name: str) -> float | None:
    return max((value for members in usable if (value := _mean(members, name)) is not None), default=None)


def _median_novelty(members: Sequence[ScoredWindow]) -> float | None:
    values = sorted(window.novelty_percentile for window in members if window.novelty_percentile is not None)
    middle = len(values) // 2
    return (values[middle] + values[~middle]) / 2.0 if values else None


def _fault_figures(members: Sequence[ScoredWindow]) -> FaultFigures:
    """Return what the windows of a channel say: means of the probability and its band, and each fault's share of it."""
    totals: dict[str, float] = {}
    for window in members:
        for name, value in (window.class_probabilities or {}).items():
            if name != HEALTHY:
                totals[name] = totals.get(name, 0.0) + value
    whole = sum(totals.values())
    shares = {name: total / whole for name, total in totals.items()} if whole > 0 else None
    return FaultFigures(
        fault_probability=_mean(members, "fault_probability"),
        fault_q05=_mean(members, "fault_q05"),
        fault_q95=_mean(members, "fault_q95"),
        mode=max(shares, key=lambda name: (shares[name], name)) if shares else None,
        fault_shares=None if shares is None else {name: _short(share) for name, share in sorted(shares.items())},
    )
