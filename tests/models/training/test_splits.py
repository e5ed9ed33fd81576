"""A unit is never on both sides of anything, and weighs what it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.splits import balanced_weights, stopping_split, unit_folds

RAGGED = st.lists(st.tuples(st.integers(1, 9), st.integers(-1, 3)), min_size=2, max_size=25)


def ragged(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    unit = np.concatenate([[f"u{i}"] * n for i, (n, _) in enumerate(rows)])
    return np.concatenate([[c] * n for n, c in rows]).astype(np.int64), unit


@settings(max_examples=60, deadline=None)
@given(rows=RAGGED, folds=st.integers(2, 7), seed=st.integers(0, 1000))
def test_folds_hold_out_every_unit_once_and_cut_none(rows: list[tuple[int, int]], folds: int, seed: int) -> None:
    y, unit = ragged(rows)
    splits = unit_folds(y, unit, folds=folds, seed=seed)
    assert len(splits) == min(folds, len(rows))
    for train, test in splits:
        assert train.size and test.size
        assert not set(unit[train]) & set(unit[test])
        assert sorted([*train, *test]) == list(range(y.size))
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(y.size))


@settings(max_examples=60, deadline=None)
@given(rows=RAGGED, seed=st.integers(0, 1000))
def test_stopping_units_are_not_fitted(rows: list[tuple[int, int]], seed: int) -> None:
    """Every class has five units or more, so that there is a split: a fifth decides."""
    y, unit = ragged(rows * 5)
    found = stopping_split(y, unit, seed=seed)
    assert found is not None
    fit, stop = found
    assert sorted([*fit, *stop]) == list(range(y.size))
    assert not set(unit[fit]) & set(unit[stop])
    assert set(y[fit]) == set(y)
    assert len(set(y[stop])) >= min(2, len(set(y)))


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(1, 9), st.integers(-1, 3)), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_fewer_than_six_units_are_all_fitted(rows: list[tuple[int, int]], seed: int) -> None:
    assert stopping_split(*ragged(rows), seed=seed) is None


def test_a_unit_of_two_classes_stays_whole() -> None:
    unit = np.repeat([f"u{i}" for i in range(12)], 10)
    y = np.tile(np.r_[np.zeros(6), np.ones(4)], 12).astype(np.int64)
    for train, test in unit_folds(y, unit, folds=4, seed=0):
        assert not set(unit[train]) & set(unit[test])


def test_classes_are_spread_over_the_folds() -> None:
    y, unit = ragged([(5, 0)] * 15 + [(5, 1)] * 5)
    for _, test in unit_folds(y, unit, folds=5, seed=1):
        assert np.unique(unit[test][y[test] == 1]).size == 1


def test_the_stopping_split_exists_where_there_are_units_enough() -> None:
    assert stopping_split(*ragged([(3, 0), (3, 1)] * 6), seed=0) is not None
    assert stopping_split(*ragged([(3, 0), (3, 1)] * 2), seed=0) is None


def test_one_unit_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="2 units"):
        unit_folds(np.zeros(4, dtype=np.int64), np.array(["u"] * 4), folds=3, seed=0)


def test_units_weigh_alike_within_classes_and_classes_alike() -> None:
    y, unit = ragged([(100, 0), (10, 0), (1, 0), (40, 1), (3, 2), (5, 2)])
    weight = balanced_weights(y, unit, np.ones(y.size), healthy=0)
    assert weight.mean() == pytest.approx(1.0)
    by_class = [weight[y == c].sum() for c in range(3)]
    np.testing.assert_allclose(by_class, by_class[0])
    healthy = [weight[unit == u].sum() for u in ("u0", "u1", "u2")]
    np.testing.assert_allclose(healthy, healthy[0])


def test_weak_evidence_weighs_less_within_its_class() -> None:
    y, unit = ragged([(10, 0), (30, 0), (10, 1)])
    evidence = np.where(unit == "u1", 0.25, 1.0)
    weight = balanced_weights(y, unit, evidence, healthy=0)
    assert weight[unit == "u1"].sum() == pytest.approx(0.25 * weight[unit == "u0"].sum())
    assert weight[y == 0].sum() == pytest.approx(weight[y == 1].sum())


def test_units_of_unknown_mode_weigh_as_the_mean_known_fault_unit() -> None:
    y, unit = ragged([(10, 0), (10, 1), (10, 1), (10, 2), (10, 2), (40, -1)])
    weight = balanced_weights(y, unit, np.ones(y.size), healthy=0)
    assert weight[unit == "u5"].sum() == pytest.approx(weight[unit == "u1"].sum())
    only = balanced_weights(*ragged([(10, 0), (10, 0), (40, -1)]), np.ones(60), healthy=0)
    assert only[20:].sum() == pytest.approx(only[:20].sum())
