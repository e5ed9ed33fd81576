"""The replay, day by day: score, ask for labels, receive answers days later, decide, train and promote.

The truth is read in two places: by `answer`, in the role of the engineer, and by `replaying.counts` after the end.
Decisions use only past recordings, and labels that `replaying.model.known` returns.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.health.baseline import known_median
from models.kinds import HEALTHY
from pipeline.base.settings import Settings
from pipeline.cases.axis_state import combine_channels
from pipeline.cases.memory import remembered
from pipeline.cases.ordering import queue_priority
from pipeline.extraction.baselines import RELATIVE
from pipeline.promotion.noise import Noise
from pipeline.scoring.levels import unsettled
from pipeline.watch.ask import choose_diverse, choose_random
from pipeline.watch.reported import Firing
from replaying.cases import Bins, Case, cases
from replaying.fleet import Plant
from replaying.levels import LevelEstimator, with_level
from replaying.model import (
    FIRST_DAYS,
    SENSOR,
    UNSURE,
    VERSION,
    Ahead,
    Label,
    Version,
    challenge,
    first_programs,
    fit,
    known,
    noise_of_refits,
    out_of_service,
    score,
)
from replaying.moved import moved_of
from replaying.watch import Moment, Samples, watch

CHOICES: Final = ("queue", "active", "random")
WEEK: Final = 7


@dataclass(frozen=True)
class Plan:
    """Parameters that are the same for all strategies.

    Attributes
    ----------
    first_day : int
        Day of the first inspection.
    first_axes : int
        Number of axes, drawn at random, that it inspects.
    delay : tuple of int
        Least and most days between a question and its answer.
    a_week : int
        Most labels that may be asked for in a week.
    open_days : float
        Days that a case stays open after its last flagged bin.
    again_days : float
        Days after a question during which no other question about the same unit is asked.
    seed : int
        Seed of all random choices.
    wrong : float
        Share of the answers, at random, that say the opposite: healthy of a faulty unit, a fault of a healthy one.
    """

    first_day: int = 21
    first_axes: int = 18
    delay: tuple[int, int] = (2, 6)
    a_week: int = 3
    open_days: float = 7.0
    again_days: float = 28.0
    seed: int = 0
    wrong: float = 0.0


@dataclass
class Shared:
    """Results that runs on the same plant share to save time; they have no influence on the outcome."""

    samples: Samples = field(default_factory=dict)
    models: dict[Any, Version | None] = field(default_factory=dict)
    scores: dict[int, Ahead] = field(default_factory=dict)
    moved: npt.NDArray[np.float64] | None = None
    noises: list[Noise | None] = field(default_factory=list)

    def moved_of(self, plant: Plant, settings: Settings) -> npt.NDArray[np.float64]:
        """Return what moved in each recording."""
        if self.moved is None:
            self.moved = moved_of(plant, settings)
        return self.moved

    def score(self, plant: Plant, version: Version) -> Ahead:
        """Score a plant with a model, or return what an earlier run has scored with it."""
        if id(version.model) not in self.scores:
            self.scores[id(version.model)] = score(plant, version)
        return self.scores[id(version.model)]

    def noise(
        self, plant: Plant, first: Version, labels: list[Label], settings: Settings, *, seed: int
    ) -> Noise | None:
        """Return the noise of trainings on the labels of the first champion, estimated once."""
        if not self.noises:
            seeds = range(seed + 1000, seed + 1000 + settings.gate_refits - 1)
            refits = [fit(plant, labels, settings, day=first.cutoff, seed=one) for one in seeds]
            known_refits = [first, *(one for one in refits if one is not None)]
            self.noises.append(noise_of_refits(plant, known_refits, labels, settings, day=first.cutoff))
        return self.noises[0]

    def fit(self, plant: Plant, labels: list[Label], settings: Settings, *, day: float, seed: int) -> Version | None:
        """Train a model, or return an earlier one of the same labels, with this day as its label cut-off."""
        of = tuple(sorted((label.unit, label.from_day, label.to_day, label.finding) for label in known(labels, day)))
        if of not in self.models:
            self.models[of] = fit(plant, labels, settings, day=day, seed=seed)
        version = self.models[of]
        return None if version is None else replace(version, cutoff=day)


@dataclass
class Log:
    """The events of a replay."""

    bins: Bins = field(default_factory=Bins.empty)
    labels: list[Label] = field(default_factory=list)
    asked: list[tuple[int, int, int]] = field(default_factory=list)
    trainings: list[dict[str, Any]] = field(default_factory=list)
    fired: dict[str, int] = field(default_factory=dict)
    firings: list[Firing] = field(default_factory=list)
    start: float = 0.0
    shown: dict[int, int] = field(default_factory=dict)
    """By number of the label, the most suspicious recording of the case that was asked about."""
    levels: list[tuple[int, dict[str, tuple[float, float]]]] = field(default_factory=list)


def answer(plant: Plant, number: int, row: int, *, day: float, known_day: float) -> Label:
    """Answer a question about the unit of a recording, by the truth on the day of the question.

    The answer to a fault that cannot be seen yet is `unsure`, to a sensor fault `sensor_or_data`. It is valid for the
    week before the question.
    """
    mode, finding = str(plant.mode[row]), HEALTHY
    if mode:
        finding = mode if plant.visible[row] else UNSURE
    elif plant.sensor[row]:
        finding = SENSOR
    unit = str(plant.unit[row])
    return Label(number, str(plant.axis[row]), unit, day - WEEK, day, finding, day, known_day)


def opposite(label: Label, fault: str) -> Label:
    """Return a wrong answer; one that says nothing about the machine stays."""
    if label.target is None:
        return label
    return replace(label, finding=HEALTHY if label.is_fault else fault)


def true_labels(plant: Plant, day: float) -> list[Label]:
    """Return the truth about every unit, for a model that knows all: over its last week, known on a day."""
    labels = []
    for number, unit in enumerate(np.unique(plant.unit).tolist()):
        last = np.flatnonzero(plant.unit == unit)[-1]
        until = float(plant.day[last]) + 0.01
        label = answer(plant, number, int(last), day=until, known_day=day)
        labels.append(label)
    return labels


def delay_of(plan: Plan, axis: str, day: float) -> int:
    """Draw the delay of an answer in days; it is the same for all strategies that ask about an axis on a day."""
    rng = np.random.default_rng((plan.seed, round(day), sum(ord(c) * (i + 1) for i, c in enumerate(axis))))
    return int(rng.integers(plan.delay[0], plan.delay[1] + 1))


def first_labels(plant: Plant, plan: Plan) -> list[Label]:
    """Return the findings of the first inspection."""
    before = np.flatnonzero(plant.day < plan.first_day)
    last = {str(plant.axis[row]): row for row in before.tolist()}
    axes = sorted(last)
    drawn = choose_random(len(axes), most=plan.first_axes, seed=plan.seed)
    day = float(plan.first_day)
    known_day = day + plan.delay[1]
    return [answer(plant, n, last[axes[i]], day=day, known_day=known_day) for n, i in enumerate(sorted(drawn))]


def run(
    plant: Plant,
    settings: Settings,
    plan: Plan,
    first: Version,
    *,
    strategy: str,
    choice: str,
    days: int,
    gated: bool = True,
    own_levels: bool = True,
    memory: bool = True,
    shared: Shared | None = None,
) -> Log:
    """Replay one strategy with one choice of labels, from the first champion on.

    Parameters
    ----------
    plant, settings, plan, first
        The plant, the product's settings, the parameters of all strategies, and the first champion.
    strategy, choice
        A name of `replaying.watch.STRATEGIES`, and one of `CHOICES`.
    days
        Last day.
    gated
        False: every challenger is promoted, whatever the gate's result.
    own_levels
        False: the level without answers, all the time.
    memory
        Whether the order of the queue uses case memory.
    shared
        Results of other runs on the same plant.

    Raises
    ------
    ValueError
        The choice is unknown.
    """
    if choice not in CHOICES:
        raise ValueError(f"choice must be one of {', '.join(CHOICES)}, got {choice!r}.")
    shared = shared or Shared()
    log = Log(labels=first_labels(plant, plan), start=first.cutoff)
    champion, promoted, version = first, first.cutoff, 0
    ahead = shared.score(plant, champion)
    of_unit = {unit: np.flatnonzero(plant.unit == unit) for unit in np.unique(plant.unit).tolist()}
    estimator = LevelEstimator(plant, settings, champion, ahead, of_unit)
    programs = first_programs(plant)
    trained: list[float] = []
    rows_of: dict[str, list[int]] = {}
    for day in range(int(first.cutoff) + 1, days + 1):
        now = float(day)
        known_now = known(log.labels, now)
        stopped = out_of_service(known_now)
        levels = estimator.levels(known_now, now - 1.0) if own_levels else {}
        log.levels.append((day, {world: (item.alarm, item.review) for world, item in levels.items()}))
        since = frozenset(name for name, from_day in programs.items() if from_day <= now - 1.0)
        limits = {world: with_level(champion.thresholds, levels.get(world), since) for world in ("A", "B")}
        for row in np.flatnonzero((plant.day >= now - 1.0) & (plant.day < now)).tolist():
            unit = str(plant.unit[row])
            if unit in stopped:
                continue
            own = of_unit[unit]
            past = ahead.p[own[own < row][-settings.alarm_bins :]]
            own_limits = limits[str(plant.world[row])]
            if plant.day[row] < plant.day[own[0]] + FIRST_DAYS:  # its programs are not known yet
                own_limits = unsettled(own_limits, settings)
            elif own_levels:
                alarm = estimator.own_level(own_limits.alarm_probability, unit, str(plant.world[row]))
                own_limits = replace(own_limits, alarm_probability=alarm)
            past_known = past[np.isfinite(past)].tolist()
            log.bins.figures[row] = combine_channels(ahead.windows[row], {VERSION: own_limits}, past_known)
            log.bins.scores[row] = ahead.means[row]
            log.bins.version[row] = version
            rows_of.setdefault(str(plant.axis[row]), []).append(row)
        if day % WEEK == 0:
            moved = shared.moved_of(plant, settings) if memory and choice == "queue" else None
            log.labels += _ask(plant, log, settings, plan, rows_of, now=now, choice=choice, moved=moved)
        if strategy == "never":
            continue
        moment = Moment(
            plant,
            settings,
            now,
            champion,
            promoted,
            version,
            log.bins,
            rows_of,
            labels=log.labels,
            trained=trained,
            firings=log.firings,
        )
        decisions = watch(moment, strategy, shared.samples)
        for decision in decisions:
            log.fired[decision.trigger] = log.fired.get(decision.trigger, 0) + decision.fired
        if not decisions[-1].fired:
            continue
        trained.append(now)
        entry: dict[str, Any] = {"day": day, "triggers": decisions[-1].figures["triggers"], "promoted": False}
        log.trainings.append(entry)
        done = challenge(
            plant,
            champion,
            log.labels,
            settings,
            day=now,
            noise=shared.noise(plant, first, log.labels, settings, seed=plan.seed),
            train_on=lambda labels, at=now: shared.fit(plant, list(labels), settings, day=at, seed=plan.seed),
        )
        if done is None:
            entry["reason"] = "no model can be trained on the labels"
            continue
        passed = done.ruling.passed or not gated
        entry |= {
            "promoted": passed,
            "gate": done.ruling.passed,
            "reason": "; ".join(done.ruling.reasons),
            "labels": len(known_now),
            "set_aside": len(done.set_aside),
        }
        if passed:
            champion, promoted, version = done.version, now, version + 1
            ahead = shared.score(plant, champion)
            estimator = LevelEstimator(plant, settings, champion, ahead, of_unit)
    return log


def _ask(
    plant: Plant,
    log: Log,
    settings: Settings,
    plan: Plan,
    rows_of: dict[str, list[int]],
    *,
    now: float,
    choice: str,
    moved: npt.NDArray[np.float64] | None,
) -> list[Label]:
    """Ask about open cases, up to the number of labels a week; return the answers."""
    stopped = out_of_service(known(log.labels, now))
    recent = {label.unit for label in log.labels if now - label.asked_day < plan.again_days}
    newest: dict[str, Case] = {}
    for case in cases(plant, log.bins, rows_of, settings, now=now):
        if case.last_day >= now - plan.open_days and case.unit not in stopped.keys() | recent:
            newest[case.axis] = case
    candidates = [newest[axis] for axis in sorted(newest)]
    log.asked.append((int(now), len(candidates), min(len(candidates), plan.a_week)))
    if not candidates:
        return []
    information = np.array([case.information for case in candidates])
    if choice == "queue":
        first = np.array([case.first_day for case in candidates])
        p = np.array([case.fault_probability for case in candidates])
        priority = np.array([case.priority for case in candidates])
        remembers = None if moved is None else _remembered(plant, log, candidates, moved, now)
        is_alarm = np.array([case.has_alarm for case in candidates], dtype=np.bool_)
        place = queue_priority(priority, p, now - first, np.full(len(candidates), np.nan), remembers, is_alarm)
        chosen = np.lexsort((first, -place))[: plan.a_week].tolist()
    elif choice == "random" or not np.isfinite(information).any():
        chosen = choose_random(len(candidates), most=plan.a_week, seed=plan.seed * 1000 + int(now))
    else:
        units = np.array([case.unit for case in candidates], dtype=np.str_)
        chosen = choose_diverse(information, _places(plant, candidates), units, most=plan.a_week)
    labels = []
    for index in chosen:
        case = candidates[index]
        number = len(log.labels) + len(labels)
        known_day = now + delay_of(plan, case.axis, now)
        label = answer(plant, number, case.rows[-1], day=now, known_day=known_day)
        if plan.wrong and np.random.default_rng((plan.seed, number, 11)).random() < plan.wrong:
            label = opposite(label, sorted(of for of in set(plant.made_class.tolist()) if of != HEALTHY)[0])
        labels.append(label)
        log.shown[number] = case.loudest
    return labels


def _remembered(
    plant: Plant, log: Log, candidates: list[Case], moved: npt.NDArray[np.float64], now: float
) -> npt.NDArray[np.float64]:
    """Return for each case what the answered cases say that are known; NaN where none is near."""
    answers = [label for label in known(log.labels, now) if label.target is not None and label.number in log.shown]
    found = np.full(len(candidates), np.nan)
    if not answers:
        return found
    votes = (
        moved[[log.shown[label.number] for label in answers]],
        np.array([label.is_fault for label in answers], dtype=np.bool_),
        np.ones(len(answers)),
        np.array([label.unit for label in answers]),
    )
    for index, case in enumerate(candidates):
        figure = remembered(moved[case.loudest], *votes).figure
        found[index] = np.nan if figure is None else figure
    return found


def _places(plant: Plant, candidates: list[Case]) -> Any:
    """Return the features of each case: the medians over its recordings."""
    width = sum(not name.startswith(RELATIVE) for name in plant.names.tolist())
    places = np.full((len(candidates), width), np.nan)
    for index, case in enumerate(candidates):
        x = plant.x[plant.ok & np.isin(plant.of, case.rows), :width]
        places[index] = known_median(x)
    return places
