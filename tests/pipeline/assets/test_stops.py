"""Planned stops: an axis that is announced to be off is not silent, and it is again when the stop is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.assets.stops import list_stops, off_until, plan_stop
from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.base.settings import Settings
from pipeline.cases.verdicts import fleet_states
from pipeline.scoring.silence import silent_axes
from pipeline.store.database import Store
from pipeline.store.tables import Axis, PlannedStop, Unit

START = datetime(2026, 1, 1, tzinfo=UTC)
AXES = ("A1", "A2", "B1")
"""Axes; the letter is the cell."""


def day(number: float) -> datetime:
    return START + timedelta(days=number)


@pytest.fixture
def plant(store: Store) -> Store:
    """Three axes in two cells; each had its unit installed at the start, and never sent anything."""
    with store.write() as connection:
        for name in AXES:
            place = {"site": "north", "cell": name[0], "robot_id": f"R{name[0]}", "axis": name}
            connection.execute(sa.insert(Axis), {"axis_id": name, **place, "known_at": START})
            unit = {"axis_id": name, "unit_serial": name, "installed_at": START, "characteristics": []}
            connection.execute(sa.insert(Unit), unit | {"known_at": START})
    return store


def stop(store: Store, from_day: float, until_day: float, at: float, **place: str) -> list[dict[str, Any]]:
    told: dict[str, Any] = {"reason": "summer break", "who": "mara", "as_of": day(at)}
    return plan_stop(store, dict(place), from_at=day(from_day), until_at=day(until_day), **told)


@pytest.fixture
def silent(make_settings: Callable[..., Settings]) -> Callable[[Store, float], set[str]]:
    """`silent(store, number)`: axes without recordings for more than a day and a half on a day."""
    settings = make_settings()

    def find(store: Store, number: float) -> set[str]:
        with store.read() as connection:
            return set(silent_axes(connection, settings, day(number)))

    return find


def test_an_axis_is_not_silent_in_a_stop_and_is_again_after_it(
    plant: Store, silent: Callable[[Store, float], set[str]]
) -> None:
    """On both databases. A cell is its axes; what nobody announced is silent meanwhile."""
    rows = stop(plant, 1, 11, at=1, cell="A")
    assert [row["axis"] for row in rows] == ["A1", "A2"]
    assert silent(plant, 2) == silent(plant, 10.9) == silent(plant, 12.4) == {"B1"}
    assert silent(plant, 12.6) == set(AXES), "a day and a half after its end"
    with plant.read() as connection:
        assert off_until(connection, day(0.5)) == {}, "it was not announced yet"


def test_the_end_of_a_stop_can_be_moved_and_nothing_is_overwritten(
    plant: Store, silent: Callable[[Store, float], set[str]]
) -> None:
    stop(plant, 1, 11, at=1, robot_id="RA")
    stop(plant, 1, 4, at=3, axis="A1")
    stop(plant, 1, 1, at=3, axis="A2")
    stop(plant, 20, 22, at=3, site="north")
    assert silent(plant, 2.9) == {"B1"}, "a run for that time sees what was known then"
    assert silent(plant, 3) == {"A2", "B1"}, "that stop was withdrawn"
    assert silent(plant, 5) == {"A2", "B1"}
    assert silent(plant, 5.6) == set(AXES)
    assert silent(plant, 21) == set()
    ends = [(row["axis"], row["until_at"]) for row in list_stops(plant, at=day(3))]
    assert ends == [("A1", day(4)), *((name, day(22)) for name in AXES)]
    assert len(list_stops(plant, at=day(30))) == 0
    assert len(list_stops(plant, at=day(30), everything=True)) == 4
    with plant.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(PlannedStop)) == 7


def test_the_states_of_the_fleet_say_until_when_an_axis_is_off(plant: Store) -> None:
    stop(plant, 1, 11, at=1, axis="A2")
    for number, wanted in ((0.9, None), (5, day(11)), (11, None)):
        rows = fleet_states(plant, at=day(number))
        assert [row["stopped_until"] for row in rows] == [None, wanted, None], number


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"place": {}}, "name what is off"),
        ({"place": {"cell": None}}, "name what is off"),
        ({"place": {"cell": "Z"}}, "there is no axis Z; `axiswatch assets list`"),
        ({"until_at": day(0)}, "must lie between the start 2026-01-02"),
        ({"until_at": day(368)}, "and 366 days after it"),
        ({"reason": "  "}, "a reason is needed"),
    ],
)
def test_a_stop_that_cannot_be_is_refused(plant: Store, change: dict[str, Any], words: str) -> None:
    told = {"place": {"cell": "A"}, "from_at": day(1), "until_at": day(2), "reason": "break", "who": "mara"}
    told |= {"as_of": day(1)} | change
    with pytest.raises(AxiswatchError, match=words) as refused:
        plan_stop(plant, told.pop("place"), **told)
    assert isinstance(refused.value, PrerequisiteMissing) == ("there is no" in words)
    assert list_stops(plant, at=day(1), everything=True) == []


def test_two_changes_of_a_stop_at_one_moment_are_refused_whole(plant: Store) -> None:
    stop(plant, 1, 11, at=1, axis="A2")
    with pytest.raises(AxiswatchError, match="at the same moment"):
        stop(plant, 1, 5, at=1, cell="A")
    assert [row["axis"] for row in list_stops(plant, at=day(1))] == ["A2"]
