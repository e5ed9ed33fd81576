"""A score does not depend on its company; missing and non-finite features; the three kinds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from models.judging.calibration import Temperature
from models.kinds import UNKNOWN_MODE
from models.model import Model, Scores
from models.network import FoldedNetwork
from models.predictive import Predictive, summarise
from models.settings import TrainingSettings
from models.training.report import TrainingReport
from models.training.train import train

Trained = tuple[Model, TrainingReport, dict[str, Any]]
COLUMNS = [f.name for f in dataclasses.fields(Scores) if f.name != "n_samples"]


def assert_bit_equal(a: Scores, b: Scores, of_a: Any, of_b: Any) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(a, name)[of_a], getattr(b, name)[of_b], err_msg=name)


def windows(data: dict[str, Any], n: int = 1100) -> np.ndarray:
    rng = np.random.default_rng(5)
    x = data["x"][rng.integers(0, len(data["x"]), n)] + rng.normal(0, 0.5, (n, data["x"].shape[1]))
    return x.astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_scores_are_bit_equal_in_any_company(trained: Trained, threads: int) -> None:
    model, _, data = trained
    x = windows(data)
    whole = model.score(x)
    rng = np.random.default_rng(6)
    torch.set_num_threads(threads)
    try:
        for n in (1, 2, 333, 999):
            for _ in range(3):
                chosen = rng.permutation(len(x))[:n]
                assert_bit_equal(model.score(x[chosen]), whole, slice(None), chosen)
        for i in range(0, 300, 7):  # every position within a block
            assert_bit_equal(model.score(np.concatenate([x[400 : 400 + i], x[:1]])), whole, [-1], [0])
    finally:
        torch.set_num_threads(1)


def test_logits_are_bit_equal_in_any_company(trained: Trained) -> None:
    model, _, data = trained
    x = windows(data)
    whole = model.logits(x)
    chosen = np.random.default_rng(6).permutation(len(x))[:333]
    np.testing.assert_array_equal(model.logits(x[chosen]), whole[:, chosen])
    assert whole.shape == (20, len(x), 3)


def test_scores_are_the_statistics_of_the_logits(trained: Trained) -> None:
    model, _, data = trained
    assert model.bank is not None
    state = torch.random.get_rng_state()
    found = model.score(data["x"])
    assert torch.equal(state, torch.random.get_rng_state())
    expected = summarise(
        model.logits(data["x"]),
        temperature=model.temperature.value,
        log_prior_correction=model.log_prior_correction,
        healthy=0,
        sub_bank_size=5,
    )
    for name in (f.name for f in dataclasses.fields(Predictive)):
        if name not in ("fault_q05", "fault_q95"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=0, atol=0, err_msg=name)
    assert (found.fault_q05 < expected.fault_q05).all(), "the refits widen the band"
    assert (found.fault_q95 > expected.fault_q95).all()


def test_scores_have_the_temperature_and_the_prior_of_the_model(trained: Trained) -> None:
    """Neither is neutral here: the temperature that the shared model was given is 1."""
    model, _, data = trained
    prior = np.array([0.7, -0.4, 0.2])
    other = dataclasses.replace(model, temperature=Temperature(2.5, True, ""), log_prior_correction=prior)
    p = softmax(model.logits(data["x"]).astype(np.float64) / 2.5 + prior, axis=-1)
    scores = other.score(data["x"])
    np.testing.assert_allclose(scores.class_probabilities, p.mean(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(scores.fault_std, (1.0 - p[..., 0]).std(axis=0, ddof=1), rtol=1e-6)


def test_a_bad_neighbour_changes_nothing(trained: Trained) -> None:
    model, _, data = trained
    x = windows(data, 50)
    whole = model.score(x)
    x[7], x[8], x[9] = np.nan, np.inf, 3e38
    found = model.score(x)
    rest = [i for i in range(50) if i not in (7, 8, 9)]
    assert_bit_equal(found, whole, rest, rest)


@pytest.mark.parametrize("kind", ["trained", "baseline_only"])
def test_non_finite_windows_are_data_faults_and_never_certain(kind: str, request: pytest.FixtureRequest) -> None:
    model, _, data = request.getfixturevalue(kind)
    x = windows(data, 4)
    x[0, 3], x[1, 3], x[2] = np.inf, -np.inf, np.nan
    found = model.score(x)
    assert found.finite.tolist() == [False, False, False, True]
    for name in COLUMNS:
        if name not in ("finite", "n_missing", "n_unexpected_missing"):
            assert np.isnan(getattr(found, name)[:3]).all(), name


def test_a_network_that_overflows_is_never_certain(trained: Trained) -> None:
    model, _, data = trained
    assert model.network is not None
    first, *others = model.network.weights
    weights = (first, *(torch.full_like(w, 1e38) for w in others))
    biases = tuple(torch.full_like(b, 1e30) for b in model.network.biases)
    broken = dataclasses.replace(model, network=FoldedNetwork(weights, biases, model.network.dropout))
    found = broken.score(windows(data, 5))
    assert not found.finite.any()
    assert np.isnan(found.fault_probability).all() and np.isnan(found.predictive_entropy).all()


def test_features_missing_unexpectedly_are_scored_and_said(trained: Trained) -> None:
    model, _, data = trained
    x = windows(data, 30)
    x = np.where(np.isnan(x), 0.0, x).astype(np.float32)
    x[:10, :4] = np.nan  # group a: missing in training too
    x[10:20, 4:8] = np.nan  # group b: never missing in training
    found = model.score(x)
    assert found.finite.all() and np.isfinite(found.fault_probability).all()
    assert found.n_missing.tolist() == [4] * 20 + [0] * 10
    assert found.n_unexpected_missing.tolist() == [0] * 10 + [4] * 10 + [0] * 10


def test_the_network_learns_to_do_without_a_group(make: Callable[..., Any], small: TrainingSettings) -> None:
    """Trained with groups hidden, a window that lacks one is judged better than by a network that never practised."""
    data = make(units=24, windows=60)
    truth = np.eye(3)[data["y"]]
    x = np.random.default_rng(3).normal(size=data["x"].shape)
    x[:, :3] += 4 * truth  # group a says it all
    x[:, 4:7] += truth  # group b says it a little
    lacking = x.astype(np.float32)
    lacking[:, :4] = np.nan
    data["x"] = x.astype(np.float32)
    right = []
    for share in (0.0, 0.5):
        model, _ = train(**data, settings=dataclasses.replace(small, group_dropout=share))
        right.append((model.logits(lacking).mean(axis=0).argmax(axis=1) == data["y"]).mean())
    assert right[1] > right[0] + 0.03


def test_classification_scores_make_sense(trained: Trained) -> None:
    model, _, data = trained
    found = model.score(data["x"])
    assert found.n_samples == 20
    assert model.kind == "classification" and model.fault_prior == 0.05
    assert found.fault_probability[data["y"] > 0].mean() > found.fault_probability[data["y"] == 0].mean() + 0.3
    assert ((found.novelty_percentile >= 0) & (found.novelty_percentile <= 100)).all()
    far = model.score(np.full((1, 12), 50.0, dtype=np.float32))
    assert far.novelty_percentile[0] == 100.0 and far.novelty_raw[0] > found.novelty_raw.max()
    assert model.percentile("mutual_information", model.quantiles["mutual_information"][[50]])[0] == pytest.approx(50.0)


def test_the_point_estimate_has_no_mutual_information(trained: Trained) -> None:
    model, _, data = trained
    sampled, one = model.score(data["x"]), model.score(data["x"], point_estimate=True)
    assert one.n_samples == 1
    assert np.isnan(one.mutual_information).all() and np.isnan(one.fault_std).all()
    assert one.finite.all()
    assert 0.0 < np.abs(one.fault_probability - sampled.fault_probability).max() < 0.5


def test_many_samples_are_summarised_in_parts_to_the_same_end(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, data = trained
    whole = model.score(data["x"])
    monkeypatch.setattr("models.predictive._AT_ONCE", 1000)
    assert_bit_equal(model.score(data["x"]), whole, slice(None), slice(None))


def test_baseline_only_knows_novelty_and_nothing_else(baseline_only: Trained) -> None:
    model, report, data = baseline_only
    found = model.score(data["x"])
    assert (model.kind, model.network, model.fault_prior, report.kind) == ("baseline_only", None, None, "baseline_only")
    assert np.isnan(found.fault_probability).all() and np.isnan(found.predictive_entropy).all()
    assert np.isfinite(found.novelty_raw).all() and found.finite.all()
    with pytest.raises(ValueError, match="no network"):
        model.logits(data["x"])


def test_fault_types_have_no_fault_probability(make: Callable[..., Any], small: TrainingSettings) -> None:
    data = make(("inner", "outer", "ball"))
    data["y"][:3] = UNKNOWN_MODE
    model, report = train(**data, settings=small)
    found = model.score(data["x"])
    assert (model.kind, model.fault_prior) == ("fault_types", None)
    assert np.isnan(found.fault_probability).all() and np.isnan(found.fault_std).all()
    np.testing.assert_allclose(found.class_probabilities.sum(axis=1), 1.0)
    assert np.isfinite(found.mutual_information).all()
    assert report.overall["fault_auroc"] is None and report.overall["macro_auroc"] is not None
    assert any("3 windows left out" in note for note in report.notes)


def test_wrong_shapes_and_no_windows(trained: Trained) -> None:
    model, _, _ = trained
    with pytest.raises(ValueError, match="shape"):
        model.score(np.zeros((3, 11), dtype=np.float32))
    assert model.score(np.zeros((0, 12), dtype=np.float32)).fault_probability.shape == (0,)
