"""Identities by content: the same in every database, and never changed, because databases hold them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.ids import axis_id, instant, recording_id, stable_id

PARTS = st.one_of(st.none(), st.integers(-(2**53), 2**53), st.text(), st.floats(allow_nan=False, allow_infinity=False))


def test_ids_are_those_of_version_1() -> None:
    """A database of yesterday must be found again tomorrow."""
    assert axis_id("plant1", "c1", "R01", "A1") == "2d7269dda6511433"
    moment = datetime(2026, 1, 5, 0, 31, 24, 5, tzinfo=UTC)
    assert recording_id("2d7269dda6511433", "acc_x", moment) == "ce15c55ae778947f9a357b057d428221"


@given(st.lists(PARTS, max_size=4), st.lists(PARTS, max_size=4))
def test_other_parts_give_another_id(one: list[str | int | float | None], two: list[str | int | float | None]) -> None:
    same = [(type(part), part) for part in one] == [(type(part), part) for part in two]
    if same:
        assert stable_id(*one) == stable_id(*two)
    elif repr(one) != repr(two):
        assert stable_id(*one) != stable_id(*two)


def test_parts_are_kept_apart_and_length_is_a_prefix() -> None:
    assert len({stable_id("a", "bc"), stable_id("ab", "c"), stable_id("abc"), stable_id("a", "bc", None)}) == 4
    assert stable_id("1") != stable_id(1)
    assert stable_id("x").startswith(stable_id("x", length=12))
    assert len(stable_id("x", length=12)) == 12


def test_the_same_moment_in_any_zone_is_the_same_id() -> None:
    utc = datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
    tokyo = utc.astimezone(timezone(timedelta(hours=9)))
    assert instant(tokyo) == instant(utc) == "2026-01-05T23:30:00.000000Z"
    assert recording_id("a", "x", tokyo) == recording_id("a", "x", utc)
    assert recording_id("a", "x", utc) != recording_id("a", "x", utc + timedelta(microseconds=1))
