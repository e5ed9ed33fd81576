"""In which order windows come to review."""

from __future__ import annotations

import numpy as np

from pipeline.evaluation.routing import review_order

NONE = np.nan


def order(first: list[bool], strange: list[float], p: list[float], percentile: list[float]) -> list[int]:
    """Indices, first to be reviewed first."""
    found = review_order(np.array(first), np.array(strange), np.array(p), np.array(percentile), alarm_probability=0.5)
    return np.argsort(-found, kind="stable").tolist()


def test_first_what_cannot_be_known_then_the_likeliest_missed_fault_and_alarms_last() -> None:
    p = [0.99, 0.1, 0.49, 0.5, 0.02, 0.3]
    first = [False, False, False, False, True, True]
    strange = [0.0, 0.0, 0.0, 0.0, 0.0, 0.9]
    assert order(first, strange, p, [0.0] * 6) == [5, 4, 2, 1, 3, 0]


def test_a_window_without_a_score_is_reviewed_before_every_probability() -> None:
    assert order([False] * 3, [NONE] * 3, [0.49, NONE, 0.9], [0.0] * 3) == [1, 0, 2]


def test_without_fault_probabilities_the_highest_percentile_counts() -> None:
    assert order([False, False, True], [NONE, NONE, 0.8], [NONE] * 3, [20.0, 99.0, 1.0]) == [2, 1, 0]
