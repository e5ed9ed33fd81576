"""Parts of `axiswatch evaluate` that need no archive: the forest, level features, words, lines, spread over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.extract import extract
from features.kinematics import Orders
from features.settings import feature_names
from pipeline.base.settings import Settings
from pipeline.cases.axis_state import ScoredWindow, Thresholds, combine_channels
from pipeline.evaluation import summarise
from pipeline.evaluation.forest import DEFAULT, tune_forest
from pipeline.evaluation.forest import candidates as forest_candidates
from pipeline.evaluation.forest import fit as fit_forest
from pipeline.evaluation.methods import line_probabilities, mode_of_word
from pipeline.evaluation.routing import leaves_part_open
from pipeline.evaluation.windows import level_features
from pipeline.extraction.in_force import feature_settings
from pipeline.labels.words import Mode


def test_a_forest_is_chosen_by_units_it_never_saw() -> None:
    """Noise in every window and a class that a unit's level tells: trees grown to the end learn the units by heart."""
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(24), 12)
    y = (unit % 2).astype(np.int64)
    x = (0.8 * y[:, None] + rng.normal(size=(24, 8))[unit] + 0.1 * rng.normal(size=(288, 8))).astype(np.float32)
    names = np.array([f"u{i}" for i in unit])
    more: dict[str, Any] = {"healthy": 0, "folds": 4, "seed": 1, "min_units": 10}
    found = tune_forest(x, y, names, np.ones(288), budget=5, **more)
    assert found.tried[0].settings == DEFAULT
    assert [one.settings for one in found.tried] == forest_candidates(5)
    assert len(forest_candidates(1000)) == 27
    by_heart = fit_forest(x, y, np.ones(288), seed=1, settings=DEFAULT).predict_proba(x)
    fitted = -np.log(by_heart[np.arange(288), y]).mean()
    assert found.tried[0].nll is not None
    assert found.tried[0].nll > fitted + 0.2, "held out by unit, not by window"
    best = min(found.tried, key=lambda one: one.nll or np.inf)
    assert found.chosen == 0 or found.tried[found.chosen] == best


def test_level_features_are_those_that_move_with_the_scale() -> None:
    rng = np.random.default_rng(3)
    settings = feature_settings(Settings(), "acceleration")
    x = rng.normal(size=(1, 8192)).astype(np.float32)
    common = {
        "sampling_rate_hz": 12_000.0,
        "rate_is_declared": True,
        "shaft_speed_rpm": 1800.0,
        "speed_is_steady": True,
        "orders": Orders(bpfo=3.5, bpfi=5.4, bsf=2.3, ftf=0.4, gear_mesh=(17.0,)),
        "settings": settings,
    }
    names = np.array(feature_names(settings))
    quiet, loud = extract(x, **common)[0], extract(np.float32(1000.0) * x, **common)[0]
    # Only the synchronous average is missing: it needs a speed trace.
    assert set(names[np.isnan(quiet)]) == {name for name in names if name.startswith("tsa_")}
    assert set(level_features(names.tolist())) == set(names[np.abs(loud - quiet) > 0.01].tolist())


@pytest.mark.parametrize(
    ("word", "mode"),
    [
        ("inner_race", Mode.INNER_RACE),
        ("Inner Race", Mode.INNER_RACE),
        ("IR", Mode.INNER_RACE),
        ("outer-race fault", Mode.OUTER_RACE),
        ("Ball", Mode.BALL),
        ("worn", None),
    ],
)
def test_words_for_modes(word: str, mode: Mode | None) -> None:
    assert mode_of_word(word) is mode


def test_lines_become_probabilities() -> None:
    x = np.array([[12.0, 0.0], [6.0, 6.0], [np.nan, np.nan], [-3.0, np.nan]], dtype=np.float32)
    p = line_probabilities(x, (None, 0, 1), np.ones(3))
    np.testing.assert_allclose(p[1], 1 / 3)
    assert p[0].argmax() == 1
    assert p[0, 1] / p[0, 0] == pytest.approx(np.e**2), "6 dB more at 3 dB per nat"
    assert np.isnan(p[2]).all(), "no line is there: nothing is said"
    assert p[3].argmax() == 0


def test_mean_and_spread_over_seeds() -> None:
    runs = [
        {"method": "a", "metrics": {"nll": 1.0, "brier": 1.0, "seconds": 2.0}},
        {"method": "a", "metrics": {"nll": 3.0, "brier": None, "seconds": 2.0}},
    ]
    assert summarise(runs)["a"] == {
        "nll": 2.0,
        "nll_sd": pytest.approx(np.sqrt(2)),
        "brier": None,
        "brier_sd": None,
        "seconds": 2.0,
        "seconds_sd": 0.0,
    }


@pytest.mark.parametrize(
    ("faulty", "ball", "inner", "quality", "is_open"),
    [
        (0.9, 0.72, 0.18, "ok", False),  # 80 % of the fault probability are the ball's
        (0.9, 0.54, 0.36, "ok", True),  # 60 %
        (0.02, 0.012, 0.008, "ok", False),  # called healthy: nobody asks for the part
        (None, 0.6, 0.4, "ok", True),  # a model of fault types is asked for nothing but the part
        (None, 0.8, 0.2, "ok", False),
        (0.9, 0.54, 0.36, "clipping", False),  # nothing is said of a bad signal
    ],
)
def test_a_part_that_is_not_probable_enough_to_be_named_is_a_doubt(
    faulty: float | None, ball: float, inner: float, quality: str, is_open: bool
) -> None:
    said = {"ball": ball, "inner_race": inner}
    if faulty is not None:
        said["healthy"] = 1.0 - faulty
    window = ScoredWindow("acc_x", quality, "", None, "m", fault_probability=faulty, class_probabilities=said)
    limits = Thresholds(
        alarm_probability=0.5,
        review_probability=0.2,
        alarm_bins=4,
        alarm_hits=2,
        fault_prior=0.05,
        novelty_percentile=99.0,
        review_quantile=95.0,
        entropies={},
        unmodelled=(),
        programs=frozenset(),
    )
    assert leaves_part_open(combine_channels([window], {"m": limits})) == is_open
