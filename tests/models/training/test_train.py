"""Training: reproducible, by unit, honest about what it cannot know, and refusing what makes no model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch

import models.training.crossfit
import models.training.judge
from models.artifact import model_version, pack
from models.kinds import HEALTHY, UNKNOWN_MODE, TrainingRefused, healthy_index, kind_of
from models.model import Model
from models.network import DropoutMLP, NetworkSettings
from models.sampling import BlockSampler, point, run_blocks
from models.settings import TrainingSettings
from models.training.fit import STOPPING_TEMPERATURES, Examples, _hide_groups, _loss, fit_network, nll
from models.training.report import TrainingReport, overall_metrics
from models.training.train import train

Trained = tuple[Model, TrainingReport, dict[str, Any]]
Make = Callable[..., dict[str, Any]]


def test_no_unit_is_ever_on_two_sides(trained: Trained) -> None:
    _, report, data = trained
    held_out = [unit for fold in report.folds for unit in fold.test_units]
    assert sorted(held_out) == sorted(set(data["unit"]))
    for fold in report.folds:
        assert fold.stop_units and fold.stopped_early
        sides = [set(fold.fit_units), set(fold.stop_units), set(fold.test_units)]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 12


def test_the_network_sees_the_windows_of_its_units_and_no_others(
    make: Make, small: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spy on what reaches the fit: every window carries the number of its unit in a feature."""
    data = make()
    number = np.array([int(u[-2:]) for u in data["unit"]])
    data["x"][:, 11] = number
    seen: list[tuple[set[int], set[int]]] = []

    def units(examples: Examples | None, scaler: Any) -> set[int]:
        return set() if examples is None else set(np.rint(examples.inputs[:, 11] * scaler[1] + scaler[0]).astype(int))

    real_scaler, real_fit = models.training.crossfit.fit_scaler, models.training.crossfit.fit_network
    scales: list[tuple[float, float]] = []

    def spy_scaler(*args: Any) -> Any:
        found = real_scaler(*args)
        scales.append((found.center[11], found.scale[11]))
        return found

    def spy_fit(examples: Examples, **more: Any) -> Any:
        seen.append((units(examples, scales[-1]), units(more["stop"], scales[-1])))
        return real_fit(examples, **more)

    monkeypatch.setattr(models.training.crossfit, "fit_scaler", spy_scaler)
    monkeypatch.setattr(models.training.crossfit, "fit_network", spy_fit)
    _, report = train(**data, settings=small)
    assert len(seen) == len(report.folds) + 1
    for (fit, stop), fold in zip(seen, report.folds, strict=False):
        assert fit == {int(u[-2:]) for u in fold.fit_units}
        assert stop == {int(u[-2:]) for u in fold.stop_units}
        assert not (fit | stop) & {int(u[-2:]) for u in fold.test_units}


def test_same_seed_same_model_and_another_seed_another(make: Make, small: TrainingSettings) -> None:
    small = dataclasses.replace(small, epochs=5)
    state = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    versions = [
        model_version(pack(train(**make(), settings=dataclasses.replace(small, seed=seed))[0])) for seed in (1, 1, 2)
    ]
    assert versions[0] == versions[1] != versions[2]
    assert torch.equal(state[0], torch.random.get_rng_state())
    assert state[1] == np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002


def test_training_does_not_depend_on_the_number_of_threads(make: Make, small: TrainingSettings) -> None:
    small = dataclasses.replace(small, epochs=3)
    versions, after = [], []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            versions.append(model_version(pack(train(**make(), settings=small)[0])))
            after.append(torch.get_num_threads())
        finally:
            torch.set_num_threads(1)
    assert versions[0] == versions[1]
    assert after == [1, 2]


def test_the_report_is_plain_json_and_says_what_was_found(trained: Trained) -> None:
    model, report, data = trained
    found = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert found["kind"] == "classification"
    assert (found["n_windows"], found["n_units"], len(found["units"])) == (240, 12, 12)
    assert found["overall"]["accuracy"] > 0.7 and found["overall"]["macro_auroc"] > 0.85
    assert found["overall"]["nll"] < np.log(3)
    assert {u["class_name"] for u in found["units"]} == set(data["classes"])
    assert sum(u["n_windows"] for u in found["units"]) == 240
    assert report.epochs == max(1, round(median(fold.epochs for fold in report.folds)))
    assert model.settings["network"]["hidden"] == [24, 16]


def test_each_fold_is_judged_with_a_temperature_of_the_others(
    make: Make, small: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make()
    fitted_on: list[set[str]] = []
    real = models.training.judge.calibrate

    def spy(task: Any, held_out: Any, rows: Any) -> Any:
        fitted_on.append(set(task.data.unit[rows]))
        found = real(task, held_out, rows)
        temperature = dataclasses.replace(found.temperature, value=1.0 + len(fitted_on))
        return dataclasses.replace(found, temperature=temperature)

    monkeypatch.setattr(models.training.judge, "calibrate", spy)
    _, report = train(**data, settings=dataclasses.replace(small, epochs=3))
    for used, fold in zip(fitted_on, report.folds, strict=True):
        assert used == set(data["unit"]) - set(fold.test_units)
    assert [fold.temperature for fold in report.folds] == [2.0, 3.0, 4.0]


def test_the_figures_are_out_of_fold(make: Make, small: TrainingSettings) -> None:
    """Labels that only the unit's own fingerprint tells cannot be known for a unit held out."""
    data = make(("healthy", "worn"), units=16, windows=15)
    rng = np.random.default_rng(0)
    data["x"] = rng.normal(size=(16, 12)).astype(np.float32)[np.repeat(np.arange(16), 15)] * 3
    data["x"] += rng.normal(0, 0.1, data["x"].shape).astype(np.float32)
    model, report = train(**data, settings=small)
    fitted = (model.logits(data["x"]).mean(axis=0).argmax(axis=1) == data["y"]).mean()
    assert fitted > 0.95
    assert report.overall["accuracy"] is not None and report.overall["accuracy"] < 0.8


def test_few_units_train_a_fixed_number_of_epochs_and_say_so(make: Make, small: TrainingSettings) -> None:
    _, report = train(**make(units=4, classes=("healthy", "worn")), settings=small)
    assert report.epochs == 20 and not any(fold.stopped_early for fold in report.folds)
    assert any("too few units to stop early" in note for note in report.notes)
    assert not report.temperature.identifiable and report.temperature.value == 1.5
    assert "4 held-out units" in report.temperature.reason


def test_two_units_of_two_classes_still_train(make: Make, small: TrainingSettings) -> None:
    model, report = train(**make(units=2, classes=("healthy", "worn")), settings=small)
    assert any("judged unseen" in note for note in report.notes)
    assert np.isfinite(model.score(make()["x"]).fault_probability).all()


def test_class_weights_are_undone(make: Make, small: TrainingSettings) -> None:
    """Without any signal the fault probability is the declared prior, however unbalanced the bench."""
    data = make(("healthy", "worn"), units=30, windows=10)
    data["y"] = (np.array([int(u[-2:]) for u in data["unit"]]) >= 4).astype(np.int64)
    data["x"] = np.random.default_rng(0).normal(size=data["x"].shape).astype(np.float32)
    for prior in (0.05, 0.3):
        model, _ = train(**data, settings=dataclasses.replace(small, fault_prior=prior))
        p = np.median(model.score(data["x"]).fault_probability)
        assert prior / 2 < p < prior * 2


def test_unknown_modes_teach_the_fault_probability(make: Make, small: TrainingSettings) -> None:
    data = make(units=15)
    data["y"][np.isin(data["unit"], ["serial-01", "serial-04", "serial-05"])] = UNKNOWN_MODE
    model, report = train(**data, settings=small)
    assert report.overall["fault_auroc"] is not None and report.overall["fault_auroc"] > 0.85
    assert "fault, mode unknown" in {u.class_name for u in report.units}
    only = make(("healthy", "fault_unknown"))
    only["y"] = np.where(only["y"] == 1, UNKNOWN_MODE, 0)
    model, report = train(**only, settings=small)
    p = model.score(only["x"]).fault_probability
    assert p[only["y"] == UNKNOWN_MODE].mean() > 3 * p[only["y"] == 0].mean()


def test_nll_of_an_unknown_mode_is_that_of_the_summed_fault_probability() -> None:
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]]))
    targets = torch.tensor([[False, True, True], [False, False, True]])
    np.testing.assert_allclose(nll(logits, targets).numpy(), -np.log([0.8, 0.3]), rtol=1e-6)


def test_early_stopping_restores_the_best_epoch() -> None:
    """Stopping labels contradict the fitted ones, so every epoch makes it worse: the first must be kept."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    inputs = np.concatenate([x, np.zeros((200, 1), dtype=np.float32)], axis=1)
    settings = TrainingSettings(network=NetworkSettings(hidden=(16,)), patience=3, learning_rate=1e-2)
    progress: list[float] = []
    found = fit_network(
        Examples(inputs, y, np.ones(200)),
        group=np.zeros(4, dtype=np.int64),
        n_classes=2,
        healthy=0,
        settings=settings,
        epochs=40,
        seed=0,
        stop=Examples(inputs, 1 - y, np.ones(200)),
        on_epoch=progress.append,
    )
    assert found.epochs == 1
    assert len(progress) == 4
    one = fit_network(
        Examples(inputs, y, np.ones(200)),
        group=np.zeros(4, dtype=np.int64),
        n_classes=2,
        healthy=0,
        settings=settings,
        epochs=1,
        seed=0,
    )
    for kept, first in zip(found.network.weights, one.network.weights, strict=True):
        assert torch.equal(kept, first)


def test_windows_that_decide_when_to_stop_count_by_their_weight() -> None:
    network = DropoutMLP(2, 2, NetworkSettings(hidden=(4,)), generator=torch.Generator().manual_seed(0))
    inputs, y = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32), np.array([0, 1])
    both = _loss(network, Examples(inputs, y, np.array([3.0, 1e-9])), 2, 0)
    first = _loss(network, Examples(inputs[:1], y[:1], np.ones(1)), 2, 0)
    assert both == pytest.approx(first, rel=1e-6)
    assert both != pytest.approx(_loss(network, Examples(inputs, y, np.ones(2)), 2, 0), rel=1e-2)


def test_the_rule_counts_in_the_loss_that_decides_when_to_stop() -> None:
    network = DropoutMLP(2, 2, NetworkSettings(hidden=(4,)), generator=torch.Generator().manual_seed(0))
    inputs, y, rule = np.zeros((1, 2), np.float32), np.array([1]), np.array([[0.0, 3.0]], np.float32)
    # Zero inputs and biases at birth: the logits are the rule's, at the best of the temperatures.
    assert _loss(network, Examples(inputs, y, np.ones(1)), 2, 0) == pytest.approx(np.log(2))
    expected = np.log1p(np.exp(-3.0 / min(STOPPING_TEMPERATURES)))
    assert _loss(network, Examples(inputs, y, np.ones(1), rule), 2, 0) == pytest.approx(expected)


def test_a_network_learns_only_what_the_rule_does_not_know() -> None:
    """Where the rule's logits tell the classes apart already, there is nothing left to learn from."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 5)).astype(np.float32)
    y = (inputs[:, 0] > 0).astype(np.int64)
    rule = np.where(y[:, None] == np.arange(2), 20.0, -20.0).astype(np.float32)
    slopes = []
    for offset in (None, rule):
        fitted = fit_network(
            Examples(inputs, y, np.ones(200), offset),
            group=np.zeros(4, dtype=np.int64),
            n_classes=2,
            healthy=0,
            settings=TrainingSettings(network=NetworkSettings(hidden=(16,), batch_norm=False), group_dropout=0.0),
            epochs=30,
            seed=0,
        )
        logits = run_blocks(BlockSampler(point(fitted.network)), inputs, 2)[0]
        slopes.append(abs(float((logits[:, 1] - logits[:, 0])[y == 1].mean())))
    assert slopes[1] < 0.5 * slopes[0]


def test_a_long_length_scale_pulls_the_weights_to_zero() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 5)).astype(np.float32)
    norms = []
    for length_scale in (0.0, 5.0):
        found = fit_network(
            Examples(inputs, (inputs[:, 0] > 0).astype(np.int64), np.ones(200)),
            group=np.zeros(4, dtype=np.int64),
            n_classes=2,
            healthy=0,
            settings=TrainingSettings(
                length_scale=length_scale, network=NetworkSettings(hidden=(16,), batch_norm=False)
            ),
            epochs=60,
            seed=0,
        )
        norms.append(sum(float(w.square().sum()) for w in found.network.weights))
    assert norms[1] < 0.7 * norms[0]


def test_hidden_groups_are_zero_and_announced() -> None:
    group = torch.tensor([0, 0, 1, 2, 2, 2])
    batch = torch.cat([torch.ones(4000, 6), torch.zeros(4000, 3)], dim=1)
    found = _hide_groups(batch, group, 0.4, torch.Generator().manual_seed(0))
    values, indicator = found[:, :6], found[:, 6:]
    assert torch.equal(values, 1.0 - indicator[:, group])
    # Of the chosen windows each group is hidden at a rate uniform on 0 .. 1/2: a quarter on average.
    assert float(indicator.mean()) == pytest.approx(0.4 * 0.25, abs=0.01)
    assert torch.equal(_hide_groups(batch, group, 0.0, torch.Generator().manual_seed(0)), batch)


def test_divergence_is_refused(make: Make, small: TrainingSettings) -> None:
    wild = dataclasses.replace(
        small, learning_rate=1e30, network=NetworkSettings(hidden=(16, 16), batch_norm=False), epochs=20
    )
    with pytest.raises(TrainingRefused, match="learning rate"):
        train(**make(), settings=wild)


def test_progress_goes_from_start_to_end(make: Make, small: TrainingSettings) -> None:
    calls: list[tuple[str, float]] = []
    train(**make(), settings=dataclasses.replace(small, epochs=3), on_progress=lambda s, f: calls.append((s, f)))
    shares = [share for _, share in calls]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert calls[0][0] == "fold 1 of 3"


def test_weight_zero_leaves_a_window_out(make: Make, small: TrainingSettings) -> None:
    data = make()
    weight = np.where(data["unit"] == "serial-03", 0.0, 1.0)
    _, report = train(**data, weight=weight, settings=dataclasses.replace(small, epochs=3))
    assert report.n_units == 11 and any("20 windows left out: of weight 0" in note for note in report.notes)


def test_baseline_only_takes_its_percentiles_from_held_out_units(baseline_only: Trained) -> None:
    model, report, data = baseline_only
    own = model.score(data["x"]).novelty_raw
    assert model.quantiles["novelty_raw"][50] > 1.1 * np.median(own)
    assert report.overall == {} and report.epochs == 0


def test_held_out_quantiles_let_each_unit_weigh_the_same(make: Make, small: TrainingSettings) -> None:
    """One strange unit with most of the windows must not make strangeness normal."""
    data = make(("healthy",), units=11, windows=20)
    strange = data["unit"] == "serial-00"
    data["x"][strange] += 20
    repeats = np.where(strange, 40, 1)
    for name in ("x", "y", "unit"):
        data[name] = np.repeat(data[name], repeats, axis=0)
    model, _ = train(**data, settings=small)
    assert model.quantiles["novelty_raw"][80] < 0.5 * model.quantiles["novelty_raw"][100]


def test_windows_without_any_feature_are_left_out(make: Make, small: TrainingSettings) -> None:
    data = make(("healthy",))
    data["x"][:7] = np.nan
    _, report = train(**data, settings=small)
    assert report.n_windows == 233 and any("7 windows left out" in note for note in report.notes)


REFUSALS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "empty": (lambda d: d | {k: d[k][:0] for k in ("x", "y", "unit")}, "empty"),
    "infinite": (lambda d: d | {"x": np.where(np.arange(12) == 5, np.inf, d["x"])}, "f5"),
    "too large for float32": (lambda d: d | {"x": np.where(np.arange(12) == 5, 1e300, d["x"].astype(float))}, "f5"),
    "one unit": (lambda d: d | {"unit": np.full(len(d["y"]), "u")}, "at least two units"),
    "all missing": (lambda d: d | {"x": np.full_like(d["x"], np.nan)}, "missing"),
    "no unit": (lambda d: d | {"unit": np.full(len(d["y"]), "")}, "no unit"),
    "one fault class": (lambda d: d | {"classes": ("inner",), "y": 0 * d["y"]}, "Only one fault class"),
    "no class": (lambda d: d | {"classes": ()}, "empty"),
    "class without windows": (lambda d: d | {"classes": (*d["classes"], "ball")}, "ball"),
    "healthy without windows": (lambda d: d | {"y": np.maximum(d["y"], 1)}, "healthy"),
    "class index": (lambda d: d | {"y": d["y"] + 1}, "-1 .. 2"),
    "class index -2": (lambda d: d | {"y": d["y"] - 2}, "-1 .. 2"),
    "float classes": (lambda d: d | {"y": d["y"].astype(float)}, "integer"),
    "healthy not first": (lambda d: d | {"classes": ("inner", "healthy", "outer")}, "first"),
    "columns": (lambda d: d | {"feature_names": d["feature_names"][:-1]}, "shape"),
    "repeated features": (lambda d: d | {"feature_names": ("f",) * 12}, "different"),
    "groups": (lambda d: d | {"feature_groups": ("a",)}, "groups"),
    "weights": (lambda d: d | {"weight": np.full(len(d["y"]), -1.0)}, "not negative"),
    "nan weights": (lambda d: d | {"weight": np.full(len(d["y"]), np.nan)}, "finite"),
    "weights all 0": (lambda d: d | {"weight": np.zeros(len(d["y"]))}, "No window is left"),
    "lengths": (lambda d: d | {"unit": d["unit"][:-1]}, "one value per window"),
    "unknown mode without a fault class": (
        lambda d: d | {"classes": ("healthy",), "y": -(d["y"] > 0).astype(np.int64)},
        "fault_unknown",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_makes_no_model_is_refused_with_a_reason(case: str, make: Make, small: TrainingSettings) -> None:
    change, message = REFUSALS[case]
    with pytest.raises(TrainingRefused, match=message):
        train(**change(make()), settings=small)


def test_kinds() -> None:
    assert kind_of((HEALTHY,)) == "baseline_only"
    assert kind_of((HEALTHY, "a")) == "classification"
    assert kind_of(("a", "b")) == "fault_types"
    assert healthy_index((HEALTHY, "a")) == 0 and healthy_index(("a", "b")) is None
    with pytest.raises(TrainingRefused, match="different"):
        kind_of(("a", "a"))


def test_metrics_in_closed_form() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.1, 0.4], [0.2, 0.3, 0.5]])
    found = overall_metrics(p, np.array([0, 1, 2, UNKNOWN_MODE]), healthy=0)
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["nll"] == pytest.approx(-np.log([0.7, 0.6, 0.4, 0.8]).mean())
    assert found["brier"] == pytest.approx((0.09 + 0.04 + 0.01 + 0.01 + 0.16 + 0.09 + 0.25 + 0.01 + 0.36) / 3)
    assert found["fault_auroc"] == 1.0 and found["macro_auroc"] == 1.0
    alone = overall_metrics(p[:1], np.array([0]), healthy=0)
    assert alone["fault_auroc"] is None and alone["macro_auroc"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_samples": 15, "sub_bank_size": 10},
        {"fault_prior": 0.0},
        {"fault_prior": 1.0},
        {"folds": 1},
        {"learning_rate": float("nan")},
        {"length_scale": -1.0},
        {"group_dropout": 1.5},
        {"prior_temperature": 0.0},
        {"epochs": 0},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        TrainingSettings(**wrong)
