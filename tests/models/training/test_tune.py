"""Settings are chosen on whole units held out, by the method's own likelihood, and the default in doubt."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import models.training.tune as tuning
from models.artifact import model_version, pack, unpack
from models.judging.calibration import Temperature
from models.kinds import TrainingRefused
from models.methods import METHODS
from models.network import NetworkSettings
from models.settings import TrainingSettings
from models.training.crossfit import Task
from models.training.judge import Calibration
from models.training.network_share import NetworkShare
from models.training.train import _bank, train
from models.training.training_data import Supplement, checked_training_data
from models.training.tune import MOST_WINDOWS, candidates, tune, varied
from models.training.tuning_choice import choose

Make = Callable[..., dict[str, Any]]
NAMES = [{"dropout": 0.1}, {"dropout": 0.2}, {"dropout": 0.4}]


def few(small: TrainingSettings, **changes: Any) -> TrainingSettings:
    return dataclasses.replace(small, epochs=3, fixed_epochs=3, tuning_budget=3, **changes)


def test_gain_and_its_error_in_closed_form() -> None:
    """Differences 1, 2, 3, 6 at equal weights: mean 3, standard error sd / sqrt 4."""
    losses = np.array([[5.0, 5.0, 5.0, 8.0], [4.0, 3.0, 2.0, 2.0]])
    found = choose(NAMES[:2], losses, np.full(4, 7.0))
    assert (found.tried[0].gain, found.tried[0].nll) == (None, 5.75)
    assert found.tried[1].gain == pytest.approx(3.0)
    assert found.tried[1].gain_se == pytest.approx(np.std([1, 2, 3, 6], ddof=1) / 2)
    assert (found.chosen, "dropout 0.2" in found.reason) == (1, True)


def test_weights_of_units_count() -> None:
    losses = np.array([[1.0, 1.0], [0.0, 3.0]])
    assert choose(NAMES[:2], losses, np.array([9.0, 1.0])).tried[1].gain == pytest.approx(0.7)
    assert choose(NAMES[:2], losses, np.array([1.0, 1.0])).tried[1].gain == pytest.approx(-0.5)


def test_a_gain_within_one_standard_error_keeps_the_default() -> None:
    """One unit alone likes the other candidate: a tenth better on average, and nothing to go by."""
    losses = np.array([np.full(6, 1.0), [0.0, 1.08, 1.08, 1.08, 1.08, 1.08]])
    found = choose(NAMES[:2], losses, np.ones(6))
    assert found.tried[1].gain == pytest.approx(0.1)
    assert found.tried[1].gain_se is not None and found.tried[1].gain_se > 0.1
    assert found.chosen == 0
    assert "default is kept" in found.reason
    steady = np.array([np.full(6, 1.0), np.full(6, 0.9) + 0.01 * np.arange(6)])
    assert choose(NAMES[:2], steady, np.ones(6)).chosen == 1


def test_the_best_is_taken_and_a_candidate_that_failed_never() -> None:
    losses = np.array([[1.0, 1.1], [0.8, 0.9], [np.nan, 0.1]])
    found = choose(NAMES, losses, np.ones(2))
    assert (found.chosen, found.tried[2].nll, found.tried[2].gain) == (1, None, None)
    assert choose(NAMES[:2], np.array([[1.0, 1.0], [2.0, 2.0]]), np.ones(2)).reason == "the default is the best of 2"
    assert choose(NAMES[:2], np.array([[np.inf, 1.0], [0.0, 0.0]]), np.ones(2)).chosen == 0
    with pytest.raises(ValueError, match="at least 2"):
        choose(NAMES[:1], np.ones((1, 1)), np.ones(1))


def test_candidates_are_the_default_and_the_same_others_for_every_method(small: TrainingSettings) -> None:
    found = {
        method: [varied(one) for one in candidates(dataclasses.replace(small, method=method, seed=seed), 9)]
        for seed, method in enumerate(METHODS)
    }
    assert all(one == found["mle"] for one in found.values())
    assert found["mle"][0] == varied(small)
    assert len({json.dumps(one) for one in found["mle"]}) == 9


def test_the_default_is_not_tried_twice() -> None:
    on_grid = TrainingSettings(length_scale=0.1, network=NetworkSettings((64, 64), 0.1, True))
    assert len(candidates(on_grid, 1000)) == 72
    off_grid = dataclasses.replace(on_grid, length_scale=0.3)
    assert len(candidates(off_grid, 1000)) == 73
    assert candidates(off_grid, 1)[0] == off_grid
    assert {len(one.network.hidden) for one in candidates(on_grid, 1000)} == {1, 2, 3}


def task_of(data: dict[str, Any], settings: TrainingSettings) -> Task:
    names = data["feature_names"]
    checked = checked_training_data(
        data["x"], data["y"], data["unit"], None, classes=data["classes"], feature_names=names, groups=None
    )
    return Task("classification", checked, settings, _bank("classification", settings), feature_names=names)


def test_too_few_units_are_refused_with_the_reason(make: Make, small: TrainingSettings) -> None:
    settings = few(small, tuning_min_units=13)
    model, report = train(**make(), settings=settings)
    plain, _ = train(**make(), settings=dataclasses.replace(settings, tuning_budget=0))
    assert report.tuning is not None
    assert (report.tuning.tried, report.tuning.chosen) == ((), 0)
    assert "12 held-out units, at least 13 are needed" in report.tuning.reason
    assert any(note.startswith("tuning: not tuned") for note in report.notes)
    x = make()["x"]
    np.testing.assert_array_equal(model.score(x).class_probabilities, plain.score(x).class_probabilities)


def test_a_better_setting_is_found_and_trained_with(
    make: Make, small: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default drops nearly every unit and learns next to nothing."""
    bad = dataclasses.replace(
        small, epochs=12, tuning_budget=3, network=NetworkSettings(hidden=(24, 16), dropout=0.97), length_scale=30.0
    )
    model, report = train(**make(), settings=bad)
    assert report.tuning is not None and report.tuning.chosen > 0
    chosen = report.tuning.tried[report.tuning.chosen]
    assert chosen.nll is not None and report.tuning.tried[0].nll is not None
    assert chosen.nll < report.tuning.tried[0].nll - 0.1
    assert model.settings["network"]["dropout"] == chosen.settings["dropout"] == model.network.dropout  # type: ignore[union-attr]
    assert list(model.network.hidden) == chosen.settings["hidden"]  # type: ignore[union-attr]
    assert model.settings["length_scale"] == chosen.settings["length_scale"]
    assert model.bank is not None and list(model.bank.hidden) == chosen.settings["hidden"]
    assert any("flatter" in note for note in report.notes)
    again = unpack(pack(model))
    assert again.metrics["tuning"]["tried"][0]["settings"]["dropout"] == 0.97
    assert again.metrics["tuning"]["chosen"] == report.tuning.chosen
    assert model_version(pack(train(**make(), settings=bad)[0])) == model_version(pack(model)), "the same again"
    # What was tried is what the figures of a training with those settings say, to the last digit.
    direct = dataclasses.replace(
        bad,
        tuning_budget=0,
        length_scale=chosen.settings["length_scale"],
        network=NetworkSettings(
            tuple(chosen.settings["hidden"]), chosen.settings["dropout"], chosen.settings["batch_norm"]
        ),
    )
    _, other = train(**make(), settings=direct)
    assert other.overall == report.overall
    assert chosen.nll == pytest.approx(other.overall["nll"], rel=1e-9), "equal units, so plain and weighted mean agree"


def test_a_candidate_is_judged_on_units_it_never_saw_and_calibrated_on_the_others(
    make: Make, small: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[str], set[str]]] = []
    real = tuning.calibrate

    def spy(task: Any, held_out: Any, rows: Any) -> Any:
        others = set(task.data.unit[rows])
        seen.append((others, set(task.data.unit) - others))
        for record in held_out.records:
            assert not set(record.test_units) & {*record.fit_units, *record.stop_units}
        return real(task, held_out, rows)

    monkeypatch.setattr(tuning, "calibrate", spy)
    tune(task_of(make(), few(small)), lambda i, k: None)
    assert len(seen) == 3 * 3
    assert all(len(judged) == 4 and len(others) == 8 for others, judged in seen)


def test_the_calibration_of_the_method_is_part_of_what_is_judged(
    make: Make, small: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, plain = tune(task_of(make(), few(small)), lambda i, k: None)
    hot = Calibration(NetworkShare(1.0, False, ""), Temperature(20.0, True, ""))
    monkeypatch.setattr(tuning, "calibrate", lambda *args: hot)
    _, flat = tune(task_of(make(), few(small)), lambda i, k: None)
    assert flat.tried[0].nll == pytest.approx(np.log(3), abs=0.1)
    assert plain.tried[0].nll is not None and plain.tried[0].nll < 0.9


def test_a_candidate_that_diverges_is_told_and_a_default_that_does_is_refused(
    make: Make, small: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tuning._held_out_loss
    task = task_of(make(), few(small))
    second = candidates(task.settings, 3)[1].network

    def breaks(on: NetworkSettings) -> Callable[[Task], Any]:
        def loss(one: Task) -> Any:
            if one.settings.network == on:
                raise TrainingRefused("diverged")
            return real(one)

        return loss

    monkeypatch.setattr(tuning, "_held_out_loss", breaks(second))
    _, found = tune(task, lambda i, k: None)
    assert [one.nll is None for one in found.tried] == [False, True, False]
    monkeypatch.setattr(tuning, "_held_out_loss", breaks(task.settings.network))
    with pytest.raises(TrainingRefused):
        tune(task, lambda i, k: None)


def test_work_is_bounded_by_windows_and_every_unit_stays(make: Make, small: TrainingSettings) -> None:
    task = task_of(make(units=12, windows=500), small)
    some = tuning._thinned(task.data)
    assert MOST_WINDOWS * 0.9 < some.y.size <= MOST_WINDOWS < task.data.y.size
    assert set(some.unit) == set(task.data.unit)
    assert np.unique(np.unique(some.unit, return_counts=True)[1]).size == 1
    made = Supplement(
        np.zeros((9000, 2), np.float32), np.repeat([0, 1, 2], 3000), 5.0, np.repeat(["a", "b", "c"], 3000)
    )
    fewer = tuning._fewer(made)
    assert fewer is not None and fewer.source is not None
    assert fewer.y.size == fewer.source.size == MOST_WINDOWS
    assert set(fewer.y) == {0, 1, 2} and fewer.units == 5.0


def test_progress_runs_through_candidates_and_on(make: Make, small: TrainingSettings) -> None:
    calls: list[tuple[str, float]] = []
    train(**make(), settings=few(small), on_progress=lambda stage, share: calls.append((stage, share)))
    shares = [share for _, share in calls]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert [stage for stage, _ in calls][:3] == ["candidate 1 of 3", "candidate 2 of 3", "candidate 3 of 3"]


def test_healthy_units_alone_have_nothing_to_tune(make: Make, small: TrainingSettings) -> None:
    _, report = train(**make(("healthy",)), settings=few(small))
    assert report.tuning is None
