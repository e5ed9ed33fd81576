"""How often the triggers start a retraining in 90 days in which little or nothing changes, on made plants.

    OMP_NUM_THREADS=1 nice python benchmarks/trigger_scenarios.py --out FOLDER --seeds 1 2 3 4 5 6 7 8 9 10

Every day the product's `decide` looks at a plant of made arrays, with the product's default settings and the product's
memory of what was reported (`pipeline.watch.reported`). The truth about the machines does not change: what changes is
the signal, the program, the season or a sensor. What a model would say of a recording is made too: how far its features
lie from what the model was trained on decides novelty, doubt and flags. A retraining ends at once, and the gate refuses
every challenger, promotes every one, or tosses a coin. There are no audits and no alarms that were answered, so that
`calibration` and `performance` have nothing to judge.

Goal: at most `MOST` retrainings in each scenario, and at least one where something changed and labels exist. The guard
`budget` holds the first half by itself; `--no-budget` shows what the triggers do without it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.base.settings import Settings
from pipeline.watch.observed import (
    CHANGES,
    SCORE_NAMES,
    Confirmed,
    FleetChange,
    Observed,
    Reviewed,
    TimeSpan,
    decide,
    score_columns,
    spans_of,
)
from pipeline.watch.reported import Firing, reported
from pipeline.watch.triggers.decision import Decision
from pipeline.watch.triggers.drift import DriftSample
from pipeline.watch.triggers.due import NewLabel, News
from pipeline.watch.triggers.new_program import Programs, ProgramUse

Array = npt.NDArray[np.float64]
START: Final = datetime(2026, 1, 5, tzinfo=UTC)
DAYS: Final = 90
BEFORE: Final = 28
"""Days of recordings before the first champion's label cut-off, which is day 0."""

PER_DAY: Final = 2
FEATURES: Final = 20
AXES: Final = 18
MOST: Final = 4
CHANGE_DAY: Final = 30
CLASSES: Final = ("healthy", "inner_race", "outer_race")
GATES: Final = ("refuses", "promotes", "coin")
FLAGGED: Final = 0.95
"""Quantile of novelty on the days of the training beyond which a recording is flagged."""


@dataclass(frozen=True)
class Scenario:
    """A change of the signal, and when labels come.

    Attributes
    ----------
    add
        Returns what is added to the features: from days (n,), a generator and the number of axes to (n, axes, F).
    labels
        `weekly`: three a week, known two to six days later; `burst`: 40 within five days; `none`.
    changed
        Whether something really changed for the model on most axes.
    new_program
        Whether all axes run another program from `CHANGE_DAY` on.
    """

    add: Callable[[Array, np.random.Generator, int], Array]
    labels: str = "weekly"
    changed: bool = False
    new_program: bool = False

    @property
    def must_train(self) -> bool:
        """Whether at least one retraining has to come: something changed, and there is something to learn from."""
        return self.labels == "burst" or (self.changed and self.labels != "none")


def _nothing(day: Array, rng: np.random.Generator, axes: int) -> Array:
    return np.zeros((len(day), axes, FEATURES))


def _step(day: Array, rng: np.random.Generator, axes: int) -> Array:
    """Eight of 20 features rise by two standard deviations on all axes, on one day."""
    moved = np.arange(FEATURES) < 8
    return 2.0 * (day >= CHANGE_DAY)[:, None, None] * moved * np.ones((1, axes, 1))


def _program(day: Array, rng: np.random.Generator, axes: int) -> Array:
    """Another program moves every feature by its own amount."""
    return (day >= CHANGE_DAY)[:, None, None] * (2.0 * rng.normal(size=FEATURES)) * np.ones((1, axes, 1))


def _season(day: Array, rng: np.random.Generator, axes: int) -> Array:
    """Up and down by two standard deviations within half a year, each axis by its own share."""
    wave = 2.0 * np.sin(2.0 * np.pi * np.maximum(day, 0.0) / 180.0)
    return wave[:, None, None] * rng.uniform(0.5, 1.0, (1, axes, 1)) * (np.arange(FEATURES) < 8)


def _sensor(day: Array, rng: np.random.Generator, axes: int) -> Array:
    """The sensor of one axis drifts by six standard deviations from day 20 on."""
    ramp = 6.0 * np.clip((day - 20.0) / 60.0, 0.0, 1.0)
    return ramp[:, None, None] * (np.arange(axes) == 3)[None, :, None] * np.ones((1, 1, FEATURES))


SCENARIOS: Final = {
    "step in level": Scenario(_step, changed=True),
    "new program on all axes": Scenario(_program, changed=True, new_program=True),
    "slow season": Scenario(_season, changed=True),
    "one sensor drifting": Scenario(_sensor),
    "burst of labels": Scenario(_nothing, labels="burst"),
    "no labels": Scenario(_step, labels="none", changed=True),
    "nothing changes": Scenario(_nothing),
}


@dataclass(frozen=True, eq=False)
class Plant:
    """Made recordings, and the labels that will become known.

    Attributes
    ----------
    day : float array, shape (n,)
        Days of the recordings; all axes record at the same times.
    x : float array, shape (n, axes, F)
        Features.
    program : str array, shape (n,)
        Program of all axes.
    labels : list of (float, NewLabel)
        The day on which each label becomes known, in this order.
    """

    day: Array
    x: Array
    program: npt.NDArray[np.str_]
    labels: list[tuple[float, NewLabel]]

    @property
    def units(self) -> list[str]:
        """Names of the units, one an axis."""
        return [f"u{axis:02d}" for axis in range(self.x.shape[1])]

    def within(self, span: TimeSpan) -> npt.NDArray[np.intp]:
        """Return the recordings of a span."""
        first, last = ((at - START) / timedelta(days=1) for at in (span.from_at, span.to_at))
        return np.flatnonzero((self.day >= first) & (self.day < last))


def make_plant(scenario: Scenario, *, seed: int, axes: int = AXES) -> Plant:
    """Make a plant: units differ, days of a unit are alike (autocorrelation 0.6), and each recording has noise."""
    rng = np.random.default_rng(seed)
    n_days = BEFORE + DAYS
    day = -BEFORE + np.repeat(np.arange(n_days), PER_DAY) + np.tile((np.arange(PER_DAY) + 0.5) / PER_DAY, n_days)
    slow = np.empty((n_days, axes, FEATURES))
    slow[0] = rng.normal(size=(axes, FEATURES))
    for index in range(1, n_days):
        slow[index] = 0.6 * slow[index - 1] + 0.8 * rng.normal(size=(axes, FEATURES))
    x = 2.0 * rng.normal(size=(1, axes, FEATURES)) + 0.7 * np.repeat(slow, PER_DAY, axis=0)
    x += 0.7 * rng.normal(size=x.shape) + scenario.add(day, rng, axes)
    program = np.where(scenario.new_program & (day >= CHANGE_DAY), "pick", "weld")
    return Plant(day, x, program, _labels(scenario.labels, rng, axes))


def _labels(kind: str, rng: np.random.Generator, axes: int) -> list[tuple[float, NewLabel]]:
    days: list[float] = []
    if kind == "weekly":
        days = [float(week + rng.integers(2, 7)) for week in range(0, DAYS, 7) for _ in range(3)]
    elif kind == "burst":
        days = [40.0 + float(rng.integers(0, 5)) for _ in range(40)]
    found = []
    for known in sorted(days):
        target = rng.choice(["healthy", "inner_race", ""], p=[0.75, 0.1, 0.15])
        unit = f"u{rng.integers(axes):02d}"
        found.append((known, NewLabel(unit, str(target) or None, str(target) or "unsure")))
    return found


@dataclass(frozen=True, eq=False)
class Champion:
    """A made model: what it was trained on decides how far a recording lies from that."""

    version: int
    cutoff: float
    learned_units: int
    programs: frozenset[str]
    center: Array
    spread: Array
    limit: float

    def novelty(self, x: Array) -> Array:
        """Return the distance of recordings (n, axes, F) to the training: root mean square, shape (n, axes)."""
        return np.sqrt((((x - self.center) / self.spread) ** 2).mean(axis=2))


def train(plant: Plant, *, version: int, cutoff: float, learned_units: int) -> Champion:
    """Make the model that was trained on the two weeks before a day."""
    rows = np.flatnonzero((plant.day >= cutoff - 14.0) & (plant.day < cutoff))
    x = plant.x[rows]
    center = np.median(x, axis=0)
    spread = (x - center).std(axis=(0, 1))
    programs = frozenset(plant.program[rows].tolist())
    made = Champion(version, cutoff, learned_units, programs, center, spread, np.inf)
    limit = float(np.quantile(made.novelty(x), FLAGGED))
    return Champion(version, cutoff, learned_units, programs, center, spread, limit)


@dataclass
class Run:
    """What happened: days of retrainings with their triggers, and how often each trigger fired."""

    retrainings: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    promotions: int = 0
    fired: Counter[str] = field(default_factory=Counter)


def run(plant: Plant, settings: Settings, *, gate: str, seed: int) -> Run:
    """Look at a plant every day with the product's triggers, and retrain when they say so.

    Parameters
    ----------
    gate
        One of `GATES`.
    """
    rng = np.random.default_rng((seed, 1))
    champion = train(plant, version=0, cutoff=0.0, learned_units=len(plant.units))
    attempts: list[float] = []
    firings: list[Firing] = []
    log = Run()
    for number in range(1, DAYS + 1):
        now = float(number)
        decisions = look(plant, champion, settings, now=now, attempts=attempts, firings=firings)
        for one in decisions:
            log.fired[one.trigger] += one.fired
            if one.fired and one.trigger in CHANGES:
                firings.append(Firing(one.trigger, at(now), str(champion.version)))
        if not decisions[-1].fired:
            continue
        attempts.append(now)
        log.retrainings.append((now, tuple(decisions[-1].figures["triggers"])))
        if gate == "promotes" or (gate == "coin" and rng.random() < 0.5):
            taught = sum(label.target is not None for known, label in plant.labels if champion.cutoff < known <= now)
            champion = train(
                plant, version=champion.version + 1, cutoff=now, learned_units=champion.learned_units + taught
            )
            log.promotions += 1
    return log


def at(day: float) -> datetime:
    """Return the time of a day of the plant."""
    return START + timedelta(days=day)


def look(
    plant: Plant, champion: Champion, settings: Settings, *, now: float, attempts: list[float], firings: list[Firing]
) -> list[Decision]:
    """Let the product decide on one day."""
    last = max([champion.cutoff, *attempts[-1:]])
    labels = [
        NewLabel(label.unit, label.target, label.verdict, tried=known <= last)
        for known, label in plant.labels
        if champion.cutoff < known <= now
    ]
    observed = Observed(
        news=News(labels, learned_units=champion.learned_units),
        known_classes=CLASSES,
        cutoff_days_ago=now - champion.cutoff,
        retrained_days_ago=[now - day for day in attempts],
        change=_change(plant, champion, settings, now=now, attempts=attempts, firings=firings),
    )
    return decide(observed, settings)


def _change(
    plant: Plant, champion: Champion, settings: Settings, *, now: float, attempts: list[float], firings: list[Firing]
) -> FleetChange:
    when = {"label_cutoff": at(champion.cutoff), "promoted_at": at(champion.cutoff)}
    earlier = reported(
        firings,
        champion=str(champion.version),
        **when,
        last_attempt=at(attempts[-1]) if attempts else None,
        days=settings.drift_days,
    )
    spans = spans_of(**when, as_of=at(now), days=settings.drift_days, changed_at=earlier.changed_at)

    def sample(rows: npt.NDArray[np.intp], values: Array) -> DriftSample:
        flat = values.reshape(len(rows) * len(plant.units), values.shape[2])
        regime = np.char.add("acc_x ", np.repeat(plant.program[rows], len(plant.units)))
        return DriftSample(flat, np.tile(plant.units, len(rows)), regime)

    def features(span: TimeSpan) -> DriftSample:
        rows = plant.within(span)
        return sample(rows, plant.x[rows])

    def scores(span: TimeSpan) -> DriftSample:
        rows = plant.within(span)
        z = (plant.x[rows] - champion.center) / champion.spread
        novelty = champion.novelty(plant.x[rows])
        p = 1.0 / (1.0 + np.exp(3.0 - z[:, :, :5].mean(axis=2)))
        raw = np.stack([p, 0.01 * np.exp(novelty), 0.2 * np.exp(-(z[:, :, 5] ** 2)), novelty], axis=2)
        flat = score_columns(raw.reshape(-1, len(SCORE_NAMES)))
        return sample(rows, flat.reshape(len(rows), len(plant.units), len(SCORE_NAMES)))

    @cache
    def rates() -> dict[str, tuple[Array, Array]]:
        pairs = []
        for span in (spans.first, spans.now):
            rows = plant.within(span)
            stranger = ~np.isin(plant.program[rows], sorted(champion.programs))
            flagged = (champion.novelty(plant.x[rows]) > champion.limit) | stranger[:, None]
            pairs.append(flagged.mean(axis=0) if len(rows) else np.full(len(plant.units), np.nan))
        return dict.fromkeys(("novelty_rate", "review_rate"), (pairs[0], pairs[1]))

    def programs(span: TimeSpan) -> Programs:
        rows = plant.within(span)
        names, first, count = np.unique(plant.program[rows], return_index=True, return_counts=True)
        used = {
            str(name): ProgramUse(int(n), at(float(plant.day[rows[place]])))
            for name, place, n in zip(names, first, count, strict=True)
        }
        return {f"axis {unit}": used for unit in plant.units} if used else {}

    none = np.empty(0)
    return FleetChange(
        spans=spans,
        feature_names=tuple(f"f{index}" for index in range(FEATURES)),
        features=lambda: (features(spans.usual), features(spans.now)),
        programs=lambda: (programs(spans.usual), programs(spans.now)),
        scores=lambda: (scores(spans.first), scores(spans.now)),
        reviewed=lambda: Reviewed(
            none, none.astype(np.bool_), none.astype(np.str_), none, none.astype(np.bool_), none.astype(np.bool_)
        ),
        confirmed=lambda: Confirmed(0, 0, 0, 0),
        rates=rates,
        known_programs=champion.programs,
        waiting=earlier.waiting,
    )


def count(seeds: list[int], settings: Settings, *, axes: int = AXES) -> list[dict[str, Any]]:
    """Run all scenarios, gates and seeds; return a row for each scenario and gate."""
    rows = []
    for name, scenario in SCENARIOS.items():
        for gate in GATES:
            began = time.perf_counter()
            runs = [run(make_plant(scenario, seed=seed, axes=axes), settings, gate=gate, seed=seed) for seed in seeds]
            counts = [len(one.retrainings) for one in runs]
            least = int(scenario.must_train)
            row = {
                "scenario": name,
                "gate": gate,
                "seeds": len(seeds),
                "mean": float(np.mean(counts)),
                "least": min(counts),
                "most": max(counts),
                "reached": least <= min(counts) and max(counts) <= MOST,
                "promotions": float(np.mean([one.promotions for one in runs])),
                "days_after_change": [_first_after(one, scenario) for one in runs],
                "fired": {
                    trigger: float(np.mean([one.fired[trigger] for one in runs])) for trigger in (*CHANGES, "schedule")
                },
                "retrainings": [one.retrainings for one in runs],
                "seconds": round(time.perf_counter() - began, 1),
            }
            rows.append(row)
            shown = ("scenario", "gate", "mean", "least", "most", "reached", "promotions", "seconds")
            print(" | ".join(str(row[column]) for column in shown), flush=True)
    return rows


def _first_after(one: Run, scenario: Scenario) -> float | None:
    """Return how many days after a sudden change on most axes the first retraining came; None: no such change."""
    if not scenario.changed or scenario.add is _season:
        return None
    return min((day - CHANGE_DAY for day, _ in one.retrainings if day > CHANGE_DAY), default=None)


def main() -> None:
    """Read the command line, run, and write `trigger_scenarios.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 11)))
    parser.add_argument("--axes", type=int, default=AXES)
    parser.add_argument("--no-budget", action="store_true", help="switch the guard budget off")
    given = parser.parse_args()
    settings = Settings(retrain_budget=DAYS) if given.no_budget else Settings()
    rows = count(given.seeds, settings, axes=given.axes)
    given.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"axes": given.axes, "days": DAYS, "rows": rows}, indent=1)
    (given.out / "trigger_scenarios.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
