"""The replay benchmark's loop on a plant of a few made arrays: nothing of the future, budget, delay, determinism."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import features.settings  # noqa: F401  (benchmarks/features.py hides the package from whoever comes later)
from pipeline.base.settings import Settings

DAYS = 40
PARTS = ("cases", "counts", "fleet", "loop", "model", "watch")


@pytest.fixture(scope="module")
def replaying() -> Iterator[Any]:
    """Give the modules of the benchmark, which are no installed package."""
    folder = str(Path(__file__).parents[3] / "benchmarks")
    sys.path.append(folder)
    try:
        yield SimpleNamespace(**{name: importlib.import_module(f"replaying.{name}") for name in PARTS})
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(retrain_after_days=10.0, drift_days=5.0, retrain_min_findings=2)


def made_plant(replaying: Any, *, seed: int = 3) -> Any:
    """Two recordings a day of 8 axes from day 0, and of 6 axes of another kind from day 18 on.

    A fault adds 3 to its own feature from its day on. Of the first kind axes 0 to 3 are faulty from the start, 4 from
    day 24; of the second kind 0 from the start and 1 from day 26.
    """
    rng = np.random.default_rng(seed)
    since = {("A", k): 0.0 for k in range(4)} | {("A", 4): 24.0, ("B", 0): 18.0, ("B", 1): 26.0}
    rows: list[dict[str, Any]] = []
    x: list[Any] = []
    for world, axes, first in (("A", 8, 0.0), ("B", 6, 18.0)):
        for axis in range(axes):
            modes = ("inner_race", "outer_race")
            for day in np.arange(first + 0.1 + axis / 100, DAYS, 0.5):
                faulty = day >= since.get((world, axis), np.inf)
                values = rng.normal(size=6) * 0.5 + (4.0 if world == "B" else 0.0) * np.eye(6)[5]
                values[axis % 2] += 3.0 * faulty
                x.append(values)
                rows.append(
                    {
                        "day": day,
                        "axis": f"{world}{axis}",
                        "unit": f"unit {world}{axis}",
                        "world": world,
                        "mode": modes[axis % 2] if faulty else "",
                    }
                )
    order = np.argsort([row["day"] for row in rows], kind="stable")
    rows = [rows[index] for index in order.tolist()]
    n = len(rows)
    column = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    empty = np.array([], dtype=np.str_)
    return replaying.fleet.Plant(
        x=np.array(x, dtype=np.float32)[order],
        of=np.arange(n),
        ok=np.ones(n, dtype=np.bool_),
        regime=np.full(n, "weld|1500|0.5"),
        program=np.full(n, "weld"),
        visible=column["mode"] != "",
        sensor=np.zeros(n, dtype=np.bool_),
        made_x=np.empty((0, 6), np.float32),
        made_class=empty,
        made_unit=empty,
        made_measured=np.array([], dtype=np.bool_),
        names=np.array([f"f{k}" for k in range(6)]),
        groups=np.array([f"g{k}" for k in range(6)]),
        **column,
    )


def replayed(
    replaying: Any, plant: Any, settings: Settings, strategy: str, choice: str = "active", **given: Any
) -> Any:
    plan = replaying.loop.Plan(first_day=9, first_axes=8, a_week=2, again_days=7.0, seed=5)
    labels = replaying.loop.first_labels(plant, plan)
    first = replaying.model.fit(plant, labels, settings, day=15.0, seed=5)
    assert first is not None
    return replaying.loop.run(plant, settings, plan, first, strategy=strategy, choice=choice, days=DAYS, **given)


def story(log: Any, *, until: float = float("inf")) -> Any:
    """What was decided, said and asked up to a day."""
    return (
        [item for item in log.trainings if item["day"] <= until],
        [label for label in log.labels if label.asked_day <= until],
        {row: scores for row, scores in log.bins.scores.items() if log.days[row] < until},
    )


def with_days(log: Any, plant: Any) -> Any:
    log.days = plant.day
    return log


@pytest.fixture(scope="module")
def whole(replaying: Any, settings: Settings) -> Any:
    plant = made_plant(replaying)
    return with_days(replayed(replaying, plant, settings, "all triggers", gated=False), plant)


def test_something_happens(whole: Any) -> None:
    assert len(whole.trainings) >= 2
    assert len(whole.labels) > 8
    assert set(whole.bins.version.values()) > {0}


def test_the_budget_of_a_week_is_kept(whole: Any) -> None:
    weeks = Counter(label.asked_day for label in whole.labels if label.asked_day > 15.0)
    assert max(weeks.values()) == 2
    assert all(day % 7 == 0 for day in weeks)


def test_answers_come_days_after_the_question_and_train_only_then(
    replaying: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = made_plant(replaying)
    trained_on: list[tuple[float, list[float]]] = []
    real = replaying.model.labelled_rows

    def watched(plant: Any, labels: Any) -> Any:
        trained_on.append((day[0], [label.known_day for label in labels]))
        return real(plant, labels)

    day = [15.0]
    real_fit = replaying.model.fit

    def dated(plant: Any, labels: Any, settings: Any, **given: Any) -> Any:
        day[0] = given["day"]
        return real_fit(plant, labels, settings, **given)

    monkeypatch.setattr(replaying.model, "labelled_rows", watched)
    monkeypatch.setattr(replaying.loop, "fit", dated)
    log = replayed(replaying, plant, settings, "all triggers")
    assert all(2 <= label.known_day - label.asked_day <= 6 for label in log.labels)
    assert len(trained_on) > len(log.trainings)  # the gate looks at labels, too
    assert all(max(known) <= at for at, known in trained_on)
    waiting = [at for at, _ in trained_on if any(label.asked_day < at < label.known_day for label in log.labels)]
    assert waiting  # some training was made while an answer was on its way


def test_the_future_changes_nothing_of_the_past(replaying: Any, settings: Settings, whole: Any) -> None:
    cut = 29.0
    plant = made_plant(replaying)
    later = plant.day >= cut
    other = replace(
        plant,
        x=np.where(later[plant.of][:, None], -7.0, plant.x).astype(np.float32),
        mode=np.where(later, "ball", plant.mode),
        visible=plant.visible | later,
    )
    log = with_days(replayed(replaying, other, settings, "all triggers", gated=False), other)
    assert any(15.0 < item["day"] <= cut for item in log.trainings)
    assert story(log, until=cut) == story(whole, until=cut)
    assert story(log) != story(whole)


def test_the_same_seed_gives_the_same_story(replaying: Any, settings: Settings, whole: Any) -> None:
    plant = made_plant(replaying)
    again = with_days(replayed(replaying, plant, settings, "all triggers", gated=False), plant)
    assert story(again) == story(whole)


def test_never_retrains_never_and_the_calendar_by_its_days(replaying: Any, settings: Settings) -> None:
    plant = made_plant(replaying)
    never = replayed(replaying, plant, settings, "never", "random")
    assert never.trainings == []
    assert set(never.bins.version.values()) == {0}
    calendar = replayed(replaying, plant, settings, "calendar", "random")
    days = [15.0, *(item["day"] for item in calendar.trainings)]
    assert days == [15, 26, 36], "10 days after the last training, or with the first label after them"
    known = [label.known_day for label in calendar.labels if label.target is not None]
    assert all(any(last < day <= now for day in known) for last, now in pairwise(days))
    assert not any(15.0 < day <= 25.0 for day in known)


def test_faults_and_false_alarms_are_counted_by_truth(replaying: Any, settings: Settings) -> None:
    plant = made_plant(replaying)
    log = replayed(replaying, plant, settings, "never", "random")
    found = replaying.counts.outcome(plant, log, settings, days=DAYS)
    assert found["faults"] == 3  # A4, B0, B1: the first inspection found the others
    assert found["labels"] == sum(label.asked_day > 15.0 for label in log.labels)
    silent = replace(
        log.bins, figures={row: replace(one, state="healthy", flags=()) for row, one in log.bins.figures.items()}
    )
    nothing = replaying.counts.outcome(plant, replace(log, bins=silent, labels=log.labels[:8]), settings, days=DAYS)
    assert (nothing["missed"], nothing["unflagged"], nothing["silent_share"]) == (3, 3, 1.0)


def test_intervals_and_pairs_are_over_seeds(replaying: Any) -> None:
    mean, low, high = replaying.counts.interval([1.0, 2.0, 3.0, 2.0])
    half = 3.182446 * np.sqrt(2.0 / 3.0) / 2.0  # Student's t of 3 degrees of freedom at 97.5 %
    assert (mean, low, high) == pytest.approx((2.0, 2.0 - half, 2.0 + half), rel=1e-5)
    assert np.isnan(replaying.counts.interval([1.0, 2.0])[1])
    one, other = ({name: value for name in replaying.counts.MEASURES} for value in (1.0, 3.0))
    results = {seed: {"a": one, "b": {**other, "missed": 3.0 + seed}} for seed in (1, 2, 3)}
    found = replaying.counts.summary(results, [("b", "a")])["paired"]["b minus a"]
    assert found["faults"] == (2.0, 2.0, 2.0)
    assert found["missed"][0] == pytest.approx(4.0)
