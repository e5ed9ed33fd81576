"""Results that are given again for some time: by key, not too old, not too many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from review.figures.kept import Kept

AT = datetime(2026, 5, 1, tzinfo=UTC)


def test_a_result_is_made_again_once_it_is_old_or_the_clock_goes_back() -> None:
    kept, made = Kept[int](timedelta(seconds=10), 5), iter(range(9))

    def ask(seconds: float, key: str = "a") -> int:
        return kept.made(key, AT + timedelta(seconds=seconds), lambda: next(made))

    assert [ask(0), ask(9.9), ask(9.9, "b"), ask(10), ask(5), ask(14.9)] == [0, 0, 1, 2, 3, 3]


def test_results_are_let_go_before_there_are_too_many() -> None:
    kept = Kept[int](timedelta(seconds=10), 2)
    for key in (1, 2, 3):
        kept.put(key, AT, key)
    assert [kept.get(key, AT) for key in (1, 2, 3)] == [None, None, 3]
