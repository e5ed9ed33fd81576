"""The committee of the folds' networks: its mean is scored, and its disagreement is the band."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from models.checks import ModelInvalid
from models.methods.method import sample_point
from models.model import Model
from models.network import FoldedNetwork
from models.refits import rescaled
from models.settings import TrainingSettings
from models.training.report import TrainingReport
from models.training.train import train

Trained = tuple[Model, TrainingReport, dict[str, Any]]


def pushed(network: FoldedNetwork, by: float) -> FoldedNetwork:
    """The network with every fault's logit higher by a number."""
    biases = list(network.biases)
    biases[-1] = biases[-1].clone()
    biases[-1][1:] += by
    return replace(network, biases=tuple(biases))


def test_a_network_reads_the_inputs_of_another_scaler(trained: Trained) -> None:
    model, _, data = trained
    assert model.network is not None
    x = data["x"][np.isfinite(data["x"]).all(axis=1)]
    n = model.scaler.n_features
    other = replace(model.scaler, center=model.scaler.center + 0.3, scale=model.scaler.scale * np.linspace(0.8, 1.3, n))
    own, moved = (
        sample_point((network,)).logits(scaler.network_inputs(scaler.scale_features(x)))
        for network, scaler in (
            (model.network, model.scaler),
            (rescaled(model.network, model.scaler, other), other),
        )
    )
    assert len(x) > 20
    np.testing.assert_allclose(moved, own, atol=2e-4)


def test_samples_are_shifted_to_the_mean_of_the_committee(trained: Trained) -> None:
    model, _, data = trained
    assert model.network is not None
    x = data["x"][:9]
    likeness = tuple(replace(one, network=pushed(model.network, 3.0)) for one in model.refits)
    k = len(likeness)
    assert k == 3
    alone, joined = replace(model, refits=()).logits(x), replace(model, refits=likeness).logits(x)
    np.testing.assert_allclose(
        joined - alone, np.broadcast_to([0.0, 3.0 * k / (k + 1), 3.0 * k / (k + 1)], joined.shape), atol=1e-4
    )


def test_the_band_is_as_wide_as_the_committee_disagrees(trained: Trained) -> None:
    model, _, data = trained
    assert model.network is not None
    x = data["x"][::17]
    one = replace(model.refits[0], network=model.network)
    pushes = (-2.0, 0.0, 2.0)
    spread = np.std(pushes, ddof=1) / model.temperature.value
    apart = tuple(replace(one, network=pushed(model.network, by)) for by in pushes)
    agreed, found = replace(model, refits=(one,) * 3).score(x), replace(model, refits=apart).score(x)
    np.testing.assert_allclose(found.class_probabilities, agreed.class_probabilities, rtol=1e-4)
    centre = logit(found.fault_probability)
    for side, low in ((-1, agreed.fault_q05), (1, agreed.fault_q95)):
        wanted = expit(centre + side * np.hypot(logit(low) - centre, 1.6449 * spread))
        got = found.fault_q05 if side < 0 else found.fault_q95
        np.testing.assert_allclose(got, wanted, rtol=1e-3)
    assert (found.fault_q05 < found.fault_probability).all() and (found.fault_probability < found.fault_q95).all()


def test_a_band_of_what_is_certain_stays_finite_and_narrow(trained: Trained) -> None:
    model, _, data = trained
    assert model.network is not None
    for sure in (-400.0, 400.0):
        likeness = tuple(replace(one, network=pushed(model.network, sure)) for one in model.refits)
        scores = replace(model, refits=likeness).score(data["x"][:5])
        assert np.isfinite(scores.fault_q05).all() and np.isfinite(scores.fault_q95).all()
        assert (scores.fault_q95 - scores.fault_q05 < 1e-3).all()


def test_few_units_leave_more_open(make: Callable[..., dict[str, Any]], small: TrainingSettings) -> None:
    few, many = make(units=9), make(units=60)
    x = many["x"][:600:7]
    widths = []
    for data in (few, many):
        scores = train(**data, settings=small)[0].score(x)
        widths.append(float(np.median(scores.fault_q95 - scores.fault_q05)))
    assert widths[0] > 1.3 * widths[1]


def test_only_methods_with_a_committee_keep_refits_and_each_must_fit(trained: Trained) -> None:
    model = trained[0]
    with pytest.raises(ModelInvalid, match="has refits"):
        replace(model, method="temperature")
    assert model.network is not None
    other = replace(model.refits[0], network=replace(model.network, weights=model.network.weights[1:]))
    with pytest.raises(ModelInvalid, match="refit 0 has other layers"):
        replace(model, refits=(other,))
