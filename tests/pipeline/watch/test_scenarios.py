"""Triggers fire once: the bound of each scenario of benchmarks/trigger_scenarios.py, on made arrays, one seed each."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import features.settings  # noqa: F401  (benchmarks/features.py hides the package from whoever comes later)
from pipeline.base.settings import Settings

FREE = Settings(retrain_budget=90)
"""No budget: what is tested are the triggers, not the guard that would hold them back."""

NAMES = (
    "step in level",
    "new program on all axes",
    "slow season",
    "one sensor drifting",
    "burst of labels",
    "no labels",
    "nothing changes",
)


@pytest.fixture(scope="module")
def scenarios() -> Iterator[Any]:
    """Give the benchmark, which is no installed package."""
    folder = str(Path(__file__).parents[3] / "benchmarks")
    sys.path.append(folder)
    try:
        yield importlib.import_module("trigger_scenarios")
    finally:
        sys.path.remove(folder)


def ran(scenarios: Any, name: str, gate: str, settings: Settings = FREE, *, seed: int = 1, **plant: int) -> Any:
    made = scenarios.make_plant(scenarios.SCENARIOS[name], seed=seed, **plant)
    return scenarios.run(made, settings, gate=gate, seed=seed)


def test_all_scenarios_are_tested(scenarios: Any) -> None:
    assert tuple(scenarios.SCENARIOS) == NAMES


@pytest.mark.parametrize("gate", ["refuses", "promotes", "coin"])
@pytest.mark.parametrize("name", NAMES)
def test_few_retrainings_and_one_where_something_changed(scenarios: Any, name: str, gate: str) -> None:
    found = ran(scenarios, name, gate)
    assert len(found.retrainings) <= scenarios.MOST, found.retrainings
    assert len(found.retrainings) >= scenarios.SCENARIOS[name].must_train
    if name == "no labels":
        assert not found.retrainings
    for trigger in ("feature_drift", "score_drift", "novelty_rate", "review_rate"):
        assert found.fired[trigger] <= 3, f"{trigger} fired on {found.fired[trigger]} days"


@pytest.mark.parametrize("name", ["step in level", "new program on all axes", "no labels"])
def test_a_step_is_reported_once(scenarios: Any, name: str) -> None:
    """The gate refuses all, so the champion stays, and with it what made the trigger fire."""
    found = ran(scenarios, name, "refuses")
    reports = {trigger: found.fired[trigger] for trigger in ("feature_drift", "novelty_rate", "review_rate")}
    assert max(reports.values()) == 1, reports
    assert reports["feature_drift"] or name != "new program on all axes", "a new program says so"


def test_a_plant_of_nine_axes_keeps_the_bound_by_its_budget(scenarios: Any) -> None:
    assert len(ran(scenarios, "slow season", "refuses", Settings(), axes=9).retrainings) <= scenarios.MOST
