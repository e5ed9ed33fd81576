"""How much of the network is believed beside the rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.methods import METHODS
from models.model import Model
from models.settings import TrainingSettings
from models.training.network_share import SHARES, mix, network_share, shrunk_share
from models.training.report import TrainingReport
from models.training.rule_prior import Lines, RulePrior
from models.training.train import train

N_UNITS, PER_UNIT = 24, 10
Y = np.repeat(np.arange(N_UNITS) % 3, PER_UNIT)
UNIT = np.repeat([f"u{i}" for i in range(N_UNITS)], PER_UNIT)


def told(right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Logits (n, 3) that speak for the truth where `right`, for another class elsewhere, each unit as one."""
    says = np.where(np.repeat(right, PER_UNIT), Y, (Y + 1) % 3)
    return (3.0 * np.eye(3)[says] + 0.1 * rng.standard_normal((Y.size, 3))).astype(np.float32)


def find(network: np.ndarray, rule: np.ndarray, **more: Any) -> Any:
    given: dict[str, Any] = {"healthy": None, "min_units": 10, "prior_units": 10.0, **more}
    return network_share(np.stack([network] * 4), rule, Y, UNIT, np.ones(Y.size), **given)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def test_a_network_that_fails_on_units_it_has_not_seen_counts_for_little(rng: np.random.Generator) -> None:
    good, bad = told(rng.uniform(size=N_UNITS) < 0.9, rng), told(rng.uniform(size=N_UNITS) < 0.3, rng)
    found = find(bad, good)
    assert found.fitted
    assert found.value < shrunk_share(Y, UNIT, n_classes=3, prior_units=10.0).value
    assert find(3.0 * bad, good).value <= 0.1, "the surer it is of what is wrong, the less"


def test_a_network_that_knows_better_than_the_rule_counts_in_full(rng: np.random.Generator) -> None:
    good, bad = told(rng.uniform(size=N_UNITS) < 0.95, rng), told(rng.uniform(size=N_UNITS) < 0.34, rng)
    assert find(good, 0.2 * bad).value >= SHARES[-2]


def test_a_class_without_a_unit_here_leaves_the_share_defined(rng: np.random.Generator) -> None:
    """As when the folds are judged one by one, and all units of a class are in one of them."""
    good, bad = told(rng.uniform(size=N_UNITS) < 0.95, rng), told(rng.uniform(size=N_UNITS) < 0.34, rng)
    two = np.flatnonzero(Y != 2)
    given: dict[str, Any] = {"healthy": None, "min_units": 10, "prior_units": 10.0}
    found = network_share(np.stack([good[two]] * 4), 0.2 * bad[two], Y[two], UNIT[two], np.ones(two.size), **given)
    assert found.fitted
    assert found.value > SHARES[0], "the network knows better"


def test_with_few_units_the_share_is_shrunk_by_their_number(rng: np.random.Generator) -> None:
    logits = told(np.ones(N_UNITS, dtype=bool), rng)
    found = find(logits, logits, min_units=N_UNITS + 1)
    assert not found.fitted
    assert found.value == pytest.approx(8 / 18)  # 24 units, 3 classes
    assert "24 held-out units" in found.reason
    assert shrunk_share(Y, UNIT, n_classes=3, prior_units=0.0).value == 1.0
    # The class with fewest units decides.
    few = np.flatnonzero((Y != 2) | (UNIT == "u2"))
    assert shrunk_share(Y[few], UNIT[few], n_classes=3, prior_units=10.0).value == pytest.approx(1 / 11)


def test_mix_is_the_rule_plus_a_share_of_the_network(rng: np.random.Generator) -> None:
    logits = rng.standard_normal((5, 7, 3)).astype(np.float32)
    offset = rng.standard_normal((7, 3)).astype(np.float32)
    np.testing.assert_allclose(mix(logits, offset, 0.25), offset[None] + 0.25 * logits, rtol=1e-6)
    np.testing.assert_array_equal(mix(logits, offset, 0.0), np.broadcast_to(offset, logits.shape))  # the rule alone
    assert mix(logits, None, 0.25) is logits


@pytest.mark.parametrize("method", METHODS)
def test_every_method_but_the_plain_one_is_calibrated_with_a_share(method: str) -> None:
    rng = np.random.default_rng(7)
    y = np.repeat(np.arange(2), 60)
    few = TrainingSettings(epochs=2, fixed_epochs=2, folds=3, n_samples=20, sub_bank_size=10, prior_units=9.0)
    _, report = train(
        rng.normal(3, 1, (120, 2)).astype(np.float32),
        y,
        np.array([f"u{i % 6}-{c}" for i, c in enumerate(y)]),
        classes=("healthy", "a"),
        feature_names=("line_a", "noise"),
        feature_version="v",
        settings=replace(few, method=method, ensemble_size=2, swag_samples=2, swag_epochs=2, swag_rank=2),
        rule=RulePrior(((), (("line_a",),)), (1 / 3,), 2.0),
    )
    assert report.network_share is not None
    if method == "mle":
        assert (report.network_share.value, report.temperature.value) == (1.0, 1.0)
    else:
        assert report.network_share.fitted, "twelve units, six of each class"
        assert "12" in report.network_share.reason


def test_a_trained_model_carries_its_share_in_the_last_layer() -> None:
    rng = np.random.default_rng(7)
    y = np.repeat(np.arange(3), 60)
    unit = np.array([f"u{c}-{i % 3}" for c in range(3) for i in range(60)])
    x = np.column_stack([rng.normal(3, 1, 180), rng.normal(3, 1, 180), y + 0.5 * rng.standard_normal(180)])

    def trained(
        prior_units: float, lines: tuple[Lines, ...], method: str = "mc_dropout"
    ) -> tuple[Model, TrainingReport]:
        settings = TrainingSettings(
            epochs=5,
            fixed_epochs=5,
            folds=3,
            n_samples=20,
            sub_bank_size=10,
            prior_units=prior_units,
            method=method,
            ensemble_size=2,
        )
        return train(
            x.astype(np.float32),
            y,
            unit,
            classes=("healthy", "a", "b"),
            feature_names=("line_a", "line_b", "noise"),
            feature_version="v",
            settings=settings,
            rule=RulePrior(lines, (1 / 3,), 2.0),
        )

    lines: tuple[Lines, ...] = ((), (("line_a",),), (("line_b",),))
    (full, first), (shrunk, second) = trained(0.0, lines), trained(9.0, lines)
    assert first.network_share is not None
    assert second.network_share is not None
    assert first.network_share.value == 1.0
    assert (second.network_share.value, second.network_share.fitted) == (0.25, False)
    assert full.network is not None
    assert shrunk.network is not None
    np.testing.assert_allclose(shrunk.network.weights[-1], 0.25 * full.network.weights[-1])
    np.testing.assert_allclose(shrunk.network.biases[-1], 0.25 * full.network.biases[-1])
    whole, part = (trained(units, lines, "ensemble")[0].members[0] for units in (0.0, 9.0))
    np.testing.assert_allclose(part.weights[-1], 0.25 * whole.weights[-1])
    # A prior temperature on top of a shrunk share would soften twice; a network in full has it.
    assert (first.temperature.value, second.temperature.value) == (1.5, 1.0)
    assert second.folds[0].network_share == pytest.approx(2 / 11)
    # A fault without a line: only the network can find it, so it counts in full.
    _, other = trained(9.0, ((), (("line_a",),), ()))
    assert other.network_share is not None
    assert other.network_share.value == 1.0
