"""The rule's logits, and a network that starts from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.artifact import pack, unpack
from models.checks import ModelInvalid
from models.kinds import TrainingRefused
from models.model import Model
from models.settings import TrainingSettings
from models.training.rule_prior import RulePrior, agreement, fit_rule
from models.training.train import train

NAMES = ("line_a", "line_b", "noise")
CLASSES = ("healthy", "a", "b", "gear")
A, B, C = ((("line_a",),), (("line_b",),), (("line_c",),))
RULE = RulePrior(((), A, B, ()), (1 / 3,), 2.0)


def test_logits_are_lines_in_nats() -> None:
    x = np.array([[12.0, 3.0, 0.0], [np.nan, 9.0, 0.0], [np.nan, np.nan, 5.0], [np.inf, np.nan, 5.0]], np.float32)
    expected = [[2.0, 4.0, 1.0, 2.0], [2.0, 0.0, 3.0, 2.0], [0.0] * 4, [0.0] * 4]
    np.testing.assert_allclose(RULE.logits(x, NAMES), expected)


def test_a_term_is_the_mean_of_its_known_lines_above_the_floor_and_each_has_its_weight() -> None:
    names = ("a1", "a2", "b1", "b2")
    rule = RulePrior(((), (("a1", "a2"), ()), (("b1",), ("b2",))), (0.5, 0.25), 1.0)
    x = np.array([[4.0, 8.0, 4.0, 8.0], [np.nan, 8.0, -9.0, np.nan]], np.float32)
    np.testing.assert_allclose(rule.logits(x, names), [[1.0, 3.0, 4.0], [1.0, 4.0, 0.0]])


def test_a_rule_that_reads_nothing_or_has_no_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one class"):
        RulePrior(((), ()), (1.0,), 2.0)
    for weights, default in (((-1.0,), 2.0), ((np.nan,), 2.0), ((np.inf,), 2.0), ((1.0,), np.nan), ((), 2.0)):
        with pytest.raises(ValueError, match="finite weights of at least 0"):
            RulePrior((A,), weights, default)
    for scale in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="db_per_nat"):
            replace(RULE, db_per_nat=scale)
    with pytest.raises(ValueError, match="needs 2 terms"):
        RulePrior((A,), (1.0, 1.0), 2.0)
    with pytest.raises(ValueError, match="line_b"):
        RULE.logits(np.zeros((1, 1), np.float32), ("line_a",))


def test_the_share_of_faults_without_a_class_is_the_rule_s_softmax() -> None:
    rule = RulePrior(((), A, (), ()), (1 / 3,), 2.0, ("line_a",), ("line_b",))
    x = np.array(
        [[0.0, 6.0, 0.0], [6.0, 6.0, 0.0], [0.0, 60.0, 0.0], [0.0, np.nan, 0.0], [np.nan, 6.0, 0.0]], np.float32
    )
    half = np.exp(2.0) / (2 * np.exp(2.0) + 1)
    np.testing.assert_allclose(rule.unmodelled(x, NAMES), [half, 1 / 3, 1.0, np.nan, half], rtol=1e-6)
    assert np.isnan(RULE.unmodelled(x, NAMES)).all(), "without other lines nothing can be said"


def test_a_line_that_stood_there_from_the_start_is_no_news() -> None:
    names = (*NAMES, "change_line_a", "change_line_b")
    rule = RulePrior(((), A, (), ()), (1 / 3,), 2.0, ("line_a",), ("line_b",), change_prefix="change_")
    lines = [0.0, 30.0, 0.0]
    x = np.array([[*lines, 0.0, 0.5], [*lines, 0.0, 30.0], [*lines, np.nan, np.nan]], np.float32)
    found = rule.unmodelled(x, names)
    assert found[0] < 0.2
    assert found[1] > 0.99
    assert found[2] > 0.99, "without a baseline the line itself speaks"


def trained(rule: RulePrior | None, seed: int = 0) -> Model:
    """Train on units that only `noise` tells apart, with lines that say nothing there."""
    rng = np.random.default_rng(7)
    y = np.repeat(np.arange(4), 60)
    unit = np.array([f"u{c}-{i % 3}" for c in range(4) for i in range(60)])
    x = np.column_stack([rng.normal(3, 1, 240), rng.normal(3, 1, 240), y + 0.5 * rng.standard_normal(240)])
    settings = TrainingSettings(epochs=8, fixed_epochs=8, folds=3, seed=seed, n_samples=20, sub_bank_size=10)
    model, _ = train(
        x.astype(np.float32),
        y,
        unit,
        classes=CLASSES,
        feature_names=NAMES,
        feature_version="v",
        settings=settings,
        rule=rule,
    )
    return model


def test_the_rule_speaks_where_the_training_data_were_silent() -> None:
    """A line far above all that was trained decides with the rule; without it the network cannot know."""
    x = np.array([[40.0, 3.0, 1.5], [3.0, 40.0, 1.5]], np.float32)
    found = trained(RULE).score(x).class_probabilities.argmax(axis=1)
    assert found.tolist() == [1, 2]
    without = trained(None).score(x).class_probabilities.argmax(axis=1)
    assert without.tolist() != [1, 2]


def test_logits_are_the_network_s_plus_the_rule_s_and_scores_do_not_depend_on_the_batch() -> None:
    whole_committee = trained(RULE)
    model = replace(whole_committee, refits=())
    assert model.rule is not None
    x = np.random.default_rng(1).normal(5, 4, (300, 3)).astype(np.float32)
    bare = replace(model, rule=None)
    np.testing.assert_allclose(model.logits(x), bare.logits(x) + model.rule.logits(x, NAMES), rtol=1e-6)
    whole, alone = whole_committee.score(x), whole_committee.score(x[7:8])
    np.testing.assert_array_equal(whole.class_probabilities[7], alone.class_probabilities[0])


def test_an_artifact_keeps_the_rule() -> None:
    rule = replace(RULE, others=("noise",), change_prefix="change_")
    model = trained(RULE)
    fitted = [
        replace(rule, weights=one.rule.weights, default_nats=one.rule.default_nats) for one in model.refits if one.rule
    ]
    refits = tuple(replace(one, rule=own) for one, own in zip(model.refits, fitted, strict=True))
    model = replace(model, rule=rule, refits=refits)
    again = unpack(pack(model))
    assert again.rule == model.rule
    assert [one.rule for one in again.refits] == fitted
    assert pack(again) == pack(model)
    assert unpack(pack(trained(None))).rule is None


def test_a_rule_that_does_not_fit_is_refused() -> None:
    with pytest.raises(TrainingRefused, match="4 classes"):
        trained(RulePrior((A,), (1 / 3,), 2.0))
    with pytest.raises(TrainingRefused, match="line_c"):
        trained(RulePrior(((), C, (), ()), (1 / 3,), 2.0))
    model = trained(RULE)
    with pytest.raises(ValueError, match="does not know"):
        replace(model, rule=RulePrior(((), C, (), ()), (1 / 3,), 2.0))
    with pytest.raises(ModelInvalid, match="does not know"):
        replace(model, rule=replace(RULE, others=("line_c",)))


def labelled(n_units: int, scale: float, classes: tuple[int, ...] = (1, 2)) -> tuple[np.ndarray, np.ndarray]:
    """Windows of units whose own line stands `scale` dB above the other one's, give or take 3 dB."""
    rng = np.random.default_rng(n_units)
    y = np.repeat(np.resize(classes, n_units), 20)
    x = rng.normal(6.0, 3.0, (len(y), 3))
    x[:, 0] += scale * (y == 1)
    x[:, 1] += scale * (y == 2)
    return x.astype(np.float32), y


def test_many_units_decide_the_weight_and_few_hardly_move_it() -> None:
    def fitted(n_units: int) -> float:
        x, y = labelled(n_units, 3.0)
        return fit_rule(RULE, x, NAMES, y, np.ones(len(y)), n_units).weights[0]

    # Two normal densities 3 dB apart with a spread of 3 dB: a difference of the lines counts 3 / 9 nats per dB each.
    x, y = labelled(400, 1.0)
    weak = fit_rule(RULE, x, NAMES, y, np.ones(len(y)), 400).weights[0]
    assert weak < 0.5 * fitted(400), "lines that tell less weigh less"
    few_x, few_y = labelled(4, 1.0)
    few = fit_rule(RULE, few_x, NAMES, few_y, np.ones(len(few_y)), 4).weights[0]
    assert abs(few - 1 / 3) < abs(weak - 1 / 3), "four units pull less than four hundred"


def test_a_weight_learned_on_one_class_holds_for_all() -> None:
    x, y = labelled(40, 6.0, classes=(1, 3))
    rule = fit_rule(RULE, x, NAMES, y, np.ones(len(y)), 40)
    mirrored = x[:, [1, 0, 2]]
    np.testing.assert_allclose(rule.logits(x, NAMES)[:, 1], rule.logits(mirrored, NAMES)[:, 2])
    assert rule.weights != RULE.weights
    assert rule.default_nats != RULE.default_nats, "the class without a line tells what no line means"


def test_windows_without_a_class_a_weight_or_a_line_teach_the_rule_nothing() -> None:
    x, y = labelled(8, 3.0)
    weight = np.ones(len(y))
    rule = fit_rule(RULE, x, NAMES, y, weight, 8)
    strange = np.array([[50.0, 0.0, 0.0], [np.nan, np.nan, 0.0], [50.0, 0.0, 0.0]], np.float32)
    more = np.concatenate([x, strange])
    again = fit_rule(RULE, more, NAMES, np.append(y, [-1, 1, 2]), np.append(weight, [1.0, 0.0, 0.0]), 8)
    assert again == rule
    assert fit_rule(RULE, x, NAMES, np.full(len(y), -1), weight, 8) == RULE


@pytest.mark.parametrize("exchange", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2)])
@pytest.mark.parametrize("hard", [0.0, 0.3])
def test_labels_that_were_exchanged_consistently_contradict_the_lines(exchange: tuple[int, ...], hard: float) -> None:
    """Rotated, or two classes for each other; a third of the units may have no line that the rule can read."""
    rng = np.random.default_rng(1)
    truth, unit = np.arange(36).repeat(5) % 3, np.arange(36).repeat(5).astype(str)
    x = rng.normal(2.0, 2.0, (180, 2)).astype(np.float32)
    seen = (truth > 0) & (rng.random(36).repeat(5) >= hard)
    x[seen, truth[seen] - 1] += 12.0
    rule = RulePrior(((), (("a",),), (("b",),)), (1.0 / 3.0,), 2.0)
    found = agreement(rule, x, ["a", "b"], np.array(exchange)[truth], unit)
    assert found.units == 36
    assert (found.chance > 0.5) if exchange == (0, 1, 2) else (found.chance < 0.01), found


def test_lines_that_speak_for_no_class_are_seldom_taken_for_an_exchange() -> None:
    rng = np.random.default_rng(0)
    rule = RulePrior(((), (("a",),), (("b",),)), (1.0,), 2.0)
    chances = []
    for _ in range(300):
        x, y = rng.normal(0.0, 8.0, (20, 2)).astype(np.float32), rng.integers(0, 3, 20)
        chances.append(agreement(rule, x, ["a", "b"], y, np.arange(20).astype(str)).chance)
    assert np.mean(np.array(chances) < 0.05) <= 0.05, "over all exchanges together"
