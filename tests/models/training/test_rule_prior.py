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
from models.training.rule_prior import RulePrior
from models.training.train import train

NAMES = ("line_a", "line_b", "noise")
CLASSES = ("healthy", "a", "b", "gear")
RULE = RulePrior((None, "line_a", "line_b", None), default_db=6.0, db_per_nat=3.0)


def test_logits_are_lines_in_nats() -> None:
    x = np.array([[12.0, 3.0, 0.0], [np.nan, 9.0, 0.0], [np.nan, np.nan, 5.0], [np.inf, np.nan, 5.0]], np.float32)
    expected = [[2.0, 4.0, 1.0, 2.0], [2.0, 0.0, 3.0, 2.0], [0.0] * 4, [0.0] * 4]
    np.testing.assert_allclose(RULE.logits(x, NAMES), expected)


def test_a_rule_that_reads_nothing_or_has_no_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one class"):
        RulePrior((None, None), 6.0, 3.0)
    for scale in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="db_per_nat"):
            RulePrior(("line_a",), 6.0, scale)
    with pytest.raises(ValueError, match="line_b"):
        RULE.logits(np.zeros((1, 1), np.float32), ("line_a",))


def test_the_share_of_faults_without_a_class_is_the_rule_s_softmax() -> None:
    rule = RulePrior((None, "line_a", None, None), 6.0, 3.0, others=("line_b",))
    x = np.array(
        [[0.0, 6.0, 0.0], [6.0, 6.0, 0.0], [0.0, 60.0, 0.0], [0.0, np.nan, 0.0], [np.nan, 6.0, 0.0]], np.float32
    )
    half = np.exp(2.0) / (2 * np.exp(2.0) + 1)
    np.testing.assert_allclose(rule.unmodelled(x, NAMES), [half, 1 / 3, 1.0, np.nan, half], rtol=1e-6)
    assert np.isnan(RULE.unmodelled(x, NAMES)).all(), "without other lines nothing can be said"


def test_a_line_that_stood_there_from_the_start_is_no_news() -> None:
    names = (*NAMES, "change_line_a", "change_line_b")
    rule = RulePrior((None, "line_a", None, None), 6.0, 3.0, others=("line_b",), change_prefix="change_")
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
    model = trained(RULE)
    x = np.random.default_rng(1).normal(5, 4, (300, 3)).astype(np.float32)
    bare = replace(model, rule=None)
    np.testing.assert_allclose(model.logits(x), bare.logits(x) + RULE.logits(x, NAMES), rtol=1e-6)
    whole, alone = model.score(x), model.score(x[7:8])
    np.testing.assert_array_equal(whole.class_probabilities[7], alone.class_probabilities[0])


def test_an_artifact_keeps_the_rule() -> None:
    model = replace(trained(RULE), rule=replace(RULE, others=("noise",), change_prefix="change_"))
    again = unpack(pack(model))
    assert again.rule == model.rule
    assert pack(again) == pack(model)
    assert unpack(pack(trained(None))).rule is None


def test_a_rule_that_does_not_fit_is_refused() -> None:
    with pytest.raises(TrainingRefused, match="4 classes"):
        trained(RulePrior(("line_a",), 6.0, 3.0))
    with pytest.raises(TrainingRefused, match="line_c"):
        trained(RulePrior((None, "line_c", None, None), 6.0, 3.0))
    model = trained(RULE)
    with pytest.raises(ValueError, match="does not know"):
        replace(model, rule=RulePrior((None, "line_c", None, None), 6.0, 3.0))
    with pytest.raises(ModelInvalid, match="does not know"):
        replace(model, rule=replace(RULE, others=("line_c",)))
