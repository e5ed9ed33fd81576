"""The asset registry: which unit sat on which axis when, and everything that is wrong with a file at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from features.kinematics import Orders, geometry_version
from pipeline.assets import import_assets, installations, installed_at_time, known_orders
from pipeline.errors import AxiswatchError
from pipeline.ids import axis_id
from pipeline.store import Store

Dump = Callable[[Store], dict[str, list[dict[str, Any]]]]
AXIS = axis_id("plant1", "c1", "R01", "A1")

GOOD = """
version = 1
[geometry.main]
bpfo = 3.58
bpfi = 5.42
gear_mesh = [12.0]
source = "catalogue"
[[unit]]
site = "plant1"
cell = "c1"
robot_id = "R01"
axis = "A1"
unit_serial = "SN-1"
geometry = "main"
installed_at = 2025-01-01T00:00:00Z
removed_at = 2026-01-10T00:00:00Z
expected_every_s = 3600.0
[[unit]]
site = "plant1"
cell = "c1"
robot_id = "R01"
axis = "A1"
unit_serial = "SN-2"
installed_at = 2026-01-10T01:00:00+01:00
expected_every_s = 3600.0
"""


@pytest.fixture
def read(store: Store, tmp_path: Path, as_of: datetime) -> Callable[..., dict[str, int]]:
    def run(text: str, **options: Any) -> dict[str, int]:
        path = tmp_path / "assets.toml"
        path.write_text(text, encoding="utf-8")
        return import_assets(store, path, **{"as_of": as_of} | options)

    return run


def test_units_geometries_and_axes_are_stored(store: Store, read: Callable[..., dict[str, int]], dump: Dump) -> None:
    assert read(GOOD) == {"axes": 1, "units": 2, "geometries": 1, "notes": []}
    orders = Orders(bpfo=3.58, bpfi=5.42, gear_mesh=(12.0,))
    version = geometry_version(orders)
    with store.read() as connection:
        first, second = installations(connection)[AXIS]
        assert known_orders(connection) == {version: orders}
    assert (first.unit_serial, first.geometry_version) == ("SN-1", version)
    assert (second.unit_serial, second.geometry_version) == ("SN-2", "none")
    assert first.removed_at == second.installed_at == datetime(2026, 1, 10, tzinfo=UTC)
    assert dump(store)["axes"][0]["expected_every_s"] == 3600.0
    assert dump(store)["geometries"][0]["source"] == "catalogue"


def test_unit_on_the_axis_at_a_time(store: Store, read: Callable[..., dict[str, int]]) -> None:
    read(GOOD)
    with store.read() as connection:
        units = installations(connection)[AXIS]
    change = datetime(2026, 1, 10, tzinfo=UTC)
    at = {
        moment: unit.unit_serial if (unit := installed_at_time(units, moment)) else None
        for moment in (datetime(2024, 12, 31, tzinfo=UTC), change - timedelta(microseconds=1), change)
    }
    assert list(at.values()) == [None, "SN-1", "SN-2"]


def test_importing_again_changes_nothing_and_a_change_is_taken_over(
    store: Store, read: Callable[..., dict[str, int]], dump: Dump, as_of: datetime
) -> None:
    read(GOOD)
    before = dump(store)
    read(GOOD, as_of=as_of + timedelta(days=1))
    assert dump(store) == before
    read(GOOD.replace("3600.0", "60.0").replace('unit_serial = "SN-2"', 'unit_serial = "SN-2"\ngeometry = "main"'))
    after = dump(store)
    assert after["axes"][0]["expected_every_s"] == 60.0
    assert [row["geometry_version"] is None for row in after["units"]] == [False, False]
    assert [row["known_at"] for row in after["units"]] == [row["known_at"] for row in before["units"]]


def test_everything_wrong_is_listed_and_nothing_is_stored(
    store: Store, read: Callable[..., dict[str, int]], dump: Dump
) -> None:
    text = """
version = 2
colour = "red"
[geometry.bad]
bpfo = -1.0
bpfi = inf
[[unit]]
robot_id = ""
axis = " A1"
unit_serial = "SN-1"
installed_at = 2025-01-01T00:00:00
[[unit]]
robot_id = "R01"
axis = "A1"
installed_at = 2025-01-01T00:00:00Z
removed_at = 2024-01-01T00:00:00Z
expected_every_s = 0
[[unit]]
robot_id = "R01"
axis = "A1"
unit_serial = "SN-3"
installed_at = 2025-01-01T00:00:00Z
removed_at = 2024-01-01T00:00:00Z
"""
    with pytest.raises(AxiswatchError, match="is no asset registry") as caught:
        read(text)
    for where in (
        "version: ",
        "colour: ",
        "geometry.bad.bpfo: ",
        "geometry.bad.bpfi: ",
        "geometry.bad.source: ",
        "unit.0.robot_id: ",
        "unit.0.axis: ",
        "unit.0.installed_at: Input should have timezone info",
        "unit.1.unit_serial: Field required",
        "unit.1.expected_every_s: ",
        "unit.2: Value error, removed_at must be after installed_at",
    ):
        assert f"\n  - {where}" in str(caught.value)
    assert all(rows == [] for rows in dump(store).values())


def test_geometry_that_is_not_defined_and_units_listed_twice(
    store: Store, read: Callable[..., dict[str, int]], dump: Dump
) -> None:
    start = GOOD.index("[[unit]]")
    with pytest.raises(AxiswatchError) as caught:
        read(GOOD.replace('geometry = "main"', 'geometry = "wrist"') + GOOD[start : GOOD.rindex("[[unit]]")])
    assert "unit SN-1: geometry 'wrist' is not defined in this file" in str(caught.value)
    assert "unit SN-1 is installed at 2025-01-01T00:00:00+00:00 2 times on plant1/c1/R01/A1" in str(caught.value)
    assert dump(store)["units"] == []


@pytest.mark.parametrize(
    "removed", ["", "removed_at = 2026-01-10T00:00:01Z\n"], ids=["never removed", "removed a second too late"]
)
def test_two_units_on_one_axis_at_a_time_are_refused(
    store: Store, read: Callable[..., dict[str, int]], dump: Dump, removed: str
) -> None:
    with pytest.raises(AxiswatchError, match=r"SN-2 is installed at .* while SN-1 is still on the axis; give SN-1"):
        read(GOOD.replace("removed_at = 2026-01-10T00:00:00Z\n", removed))
    assert all(rows == [] for rows in dump(store).values())


def test_overlap_with_a_unit_of_an_earlier_import_is_refused(
    store: Store, read: Callable[..., dict[str, int]], dump: Dump
) -> None:
    read(GOOD)
    before = dump(store)
    later = GOOD.replace("SN-1", "SN-0").replace("2025-01-01", "2025-06-01")
    with pytest.raises(AxiswatchError, match=r"SN-0 is installed at .* while SN-1 is still on the axis"):
        read(later)
    assert dump(store) == before


@pytest.mark.parametrize(("text", "message"), [("version = ", "is not TOML"), ("", "version: Field required")])
def test_file_that_is_none(read: Callable[..., dict[str, int]], text: str, message: str) -> None:
    with pytest.raises(AxiswatchError, match=message):
        read(text)


def test_file_that_is_not_there(store: Store, tmp_path: Path, as_of: datetime) -> None:
    with pytest.raises(AxiswatchError, match=r"cannot read .*nowhere"):
        import_assets(store, tmp_path / "nowhere.toml", as_of=as_of)


def test_a_mistyped_time_of_installation_is_corrected_by_importing_again(
    store: Store, read: Callable[..., dict[str, int]]
) -> None:
    read(GOOD)
    read(GOOD.replace("installed_at = 2025-01-01T00:00:00Z", "installed_at = 2025-02-01T00:00:00Z"))
    with store.read() as connection:
        units = installations(connection)[AXIS]
    assert [(unit.unit_serial, unit.installed_at.month) for unit in units] == [("SN-1", 2), ("SN-2", 1)]


@pytest.mark.parametrize("value", ["inf", "1e300", "nan", "0.0"])
def test_a_time_between_recordings_that_cannot_be_is_refused(read: Callable[..., dict[str, int]], value: str) -> None:
    with pytest.raises(AxiswatchError, match="expected_every_s"):
        read(GOOD.replace("expected_every_s = 3600.0", f"expected_every_s = {value}"))
