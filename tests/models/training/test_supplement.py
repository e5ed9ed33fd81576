"""Examples made from physics: what a network is fitted to with them, and that nothing is judged by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.artifact import model_version, pack
from models.kinds import TrainingRefused
from models.settings import TrainingSettings
from models.training.crossfit import Task
from models.training.train import train
from models.training.training_data import Supplement, checked_supplement, checked_training_data

Made = dict[str, Any]


def supplement_for(data: Made, *, per_class: int = 15, units: float = 6.0, source: Any = None) -> Supplement:
    """Windows like those of the data, but of units that nobody measured."""
    rng = np.random.default_rng(11)
    y = np.repeat(np.arange(len(data["classes"])), per_class)
    centre = np.stack([np.nanmean(data["x"][data["y"] == c], axis=0) for c in range(len(data["classes"]))])
    x = (centre[y] + rng.normal(size=(y.size, data["x"].shape[1]))).astype(np.float32)
    return Supplement(x, y.astype(np.int64), units, source)


def task_of(data: Made, settings: TrainingSettings, supplement: Supplement | None) -> Task:
    checked = checked_training_data(
        data["x"], data["y"], data["unit"], None, classes=data["classes"],
        feature_names=data["feature_names"], groups=data["feature_groups"],
    )  # fmt: skip
    return Task("classification", checked, settings, None, supplement)


@pytest.mark.parametrize("units", [0.5, 6.0, 1e4])
def test_classes_keep_their_weight_and_made_examples_the_share_of_as_many_units(
    make: Callable[..., Made], small: TrainingSettings, units: float
) -> None:
    data = make(units=8)
    extra = supplement_for(data, units=units)
    task = task_of(data, small, extra)
    rows = np.arange(data["y"].size)
    scaler = task.scaler(rows)
    plain, both = task.examples(scaler, rows, None), task.fitted_examples(scaler, rows, None)
    n = len(rows)
    assert len(both.y) == len(both.inputs) == len(both.weight) == n + len(extra.y)
    np.testing.assert_array_equal(both.inputs[:n], plain.inputs)
    for c, n_units in enumerate([3, 3, 2]):
        own, made = plain.y == c, extra.y == c
        before = plain.weight[own].sum()
        assert both.weight[:n][own].sum() + both.weight[n:][made].sum() == pytest.approx(before)
        assert both.weight[n:][made].sum() / before == pytest.approx(units / (units + n_units))
        ratio = both.weight[:n][own] / plain.weight[own]
        np.testing.assert_allclose(ratio, ratio[0])


def test_a_class_that_a_fold_has_not_measured_gets_the_weight_of_a_class(
    make: Callable[..., Made], small: TrainingSettings
) -> None:
    data = make(units=6)
    task = task_of(data, small, supplement_for(data))
    rows = np.flatnonzero(data["y"] != 2)
    found = task.fitted_examples(task.scaler(rows), rows, None)
    total = task.weights(rows).sum()
    assert found.weight[found.y == 2].sum() == pytest.approx(total / 3)


def test_examples_made_after_a_unit_are_held_out_with_it(make: Callable[..., Made], small: TrainingSettings) -> None:
    data = make(units=6)
    extra = supplement_for(data, per_class=6)
    source = np.array(["serial-00", "serial-01", ""] * 6)
    task = task_of(data, small, replace(extra, source=source))
    rows = np.flatnonzero(data["unit"] != "serial-01")
    found = task.fitted_examples(task.scaler(rows), rows, None)
    assert len(found.y) == len(rows) + 12
    np.testing.assert_array_equal(found.y[len(rows) :], extra.y[source != "serial-01"])
    assert task.weights(rows).sum() == pytest.approx(found.weight.sum())
    without = replace(extra, source=np.array(["serial-01"] * 18))
    alone = task_of(data, small, without)
    np.testing.assert_array_equal(alone.fitted_examples(alone.scaler(rows), rows, None).y, data["y"][rows])


def test_nothing_made_is_judged_or_enters_novelty_scaler_or_folds(
    make: Callable[..., Made], small: TrainingSettings
) -> None:
    """Made windows far away from all measured ones: only the network may know of them."""
    data = make(units=9)
    far = supplement_for(data)
    far = replace(far, x=far.x + 50.0)
    plain, told = train(**data, settings=small)
    model, report = train(**data, settings=small, supplement=far)
    assert (report.n_windows, report.n_units) == (told.n_windows, told.n_units) == (180, 9)
    for mine, theirs in zip(report.folds, told.folds, strict=True):
        assert mine.fit_units == theirs.fit_units
        assert (mine.stop_units, mine.test_units) == (theirs.stop_units, theirs.test_units)
    np.testing.assert_array_equal(model.quantiles["novelty_raw"], plain.quantiles["novelty_raw"])
    x = data["x"]
    np.testing.assert_array_equal(model.score(x).novelty_raw, plain.score(x).novelty_raw)
    np.testing.assert_array_equal(model.log_prior_correction, plain.log_prior_correction)
    assert not np.array_equal(model.score(x).fault_probability, plain.score(x).fault_probability)


def test_the_same_arguments_give_the_same_bytes_and_no_supplement_is_an_empty_one(
    make: Callable[..., Made], small: TrainingSettings
) -> None:
    data = make(units=6, windows=8)
    extra = supplement_for(data, per_class=4)

    def version(supplement: Supplement | None) -> str:
        return model_version(pack(train(**data, settings=small, supplement=supplement)[0], training_data_hash="0" * 64))

    assert version(extra) == version(replace(extra, x=extra.x.copy()))
    empty = Supplement(extra.x[:0], extra.y[:0], 5.0)
    assert version(None) == version(empty) != version(extra)


def toy(*, seed: int, units: int, windows: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes told apart by feature 0 alone; feature 1, much louder, is the unit's own."""
    rng = np.random.default_rng(seed)
    y = np.arange(units) % 2
    own = rng.normal(0.0, 3.0, (units, 1))
    x = np.concatenate([np.where(y == 1, 1.0, -1.0)[:, None], own], axis=1)
    unit = np.repeat(np.arange(units), windows)
    return (x[unit] + rng.normal(0.0, 0.15, (unit.size, 2))).astype(np.float32), y[unit].astype(np.int64), unit


def test_a_class_of_few_units_learns_from_the_supplement(small: TrainingSettings) -> None:
    """In the few units measured, level and class go together; the supplement shows that the level says nothing."""
    rng = np.random.default_rng(5)
    y = np.repeat([0, 0, 1, 1], 12).astype(np.int64)
    level = np.repeat([-3.0, -2.6, 2.6, 3.0], 12)
    x = np.stack([np.where(y == 1, 0.3, -0.3), level], axis=1) + rng.normal(0.0, 0.15, (48, 2))
    made_x, made_y, _ = toy(seed=1, units=60, windows=3)
    made_x[:, 0] *= 0.3
    test_x, test_y, _ = toy(seed=2, units=40, windows=3)
    test_x[:, 0] *= 0.3
    given: Made = {
        "x": x.astype(np.float32),
        "y": y,
        "unit": np.repeat(["a", "b", "c", "d"], 12),
        "classes": ("healthy", "outer"),
        "feature_names": ("line", "level"),
        "feature_version": "fv1",
        "settings": replace(small, group_dropout=0.0, fixed_epochs=60, epochs=60, fault_prior=0.5),
    }

    def right(supplement: Supplement | None) -> float:
        model, _ = train(**given, supplement=supplement)
        return float(((model.score(test_x).fault_probability > 0.5) == (test_y == 1)).mean())

    assert right(None) < 0.75
    assert right(Supplement(made_x, made_y, 20.0)) > 0.9


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"x": np.zeros((6, 5), np.float32)}, r"must have \(n, 12\) features"),
        ({"x": np.zeros((5, 12), np.float32)}, r"must have \(n, 12\) features"),
        ({"y": np.zeros(6)}, "n classes"),
        ({"x": np.full((6, 12), np.inf, np.float32)}, "no infinite feature"),
        ({"units": 0.0}, "number of units above 0"),
        ({"units": float("nan")}, "number of units above 0"),
        ({"units": float("inf")}, "number of units above 0"),
        ({"y": np.array([0, 1, 2, 3, 0, 0])}, r"must lie in 0 \.\. 2, got 0 \.\. 3"),
        ({"y": np.array([0, -1, 2, 0, 0, 0])}, r"must lie in 0 \.\. 2, got -1 \.\. 2"),
        ({"source": np.array(["a", "b"])}, "one each is needed"),
    ],
)
def test_a_supplement_that_cannot_be_is_refused(change: Made, sentence: str) -> None:
    good = Supplement(np.zeros((6, 12), np.float32), np.array([0, 0, 1, 1, 2, 2]), 5.0)
    assert checked_supplement(good, classes=("healthy", "a", "b"), n_features=12) is not None
    with pytest.raises(TrainingRefused, match=sentence):
        checked_supplement(replace(good, **change), classes=("healthy", "a", "b"), n_features=12)
