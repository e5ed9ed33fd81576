"""The asset registry: which unit sat on which axis when, and everything that is wrong with a file at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from features.kinematics import Orders, geometry_version
from pipeline.assets import import_assets, installations, known_orders
from pipeline.assets.catalogue import catalogue, find_bearing
from pipeline.base.errors import AxiswatchError
from pipeline.base.ids import axis_id
from pipeline.store.database import Store

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
        "unit.2: removed_at must be after installed_at",
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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('site = "plant1"', 'site = "a\\u0000b"'),
        ('site = "plant1"', f'site = "{"x" * 9_001}"'),
        ("[geometry.g1]", '[geometry."g\\u0000"]'),
        ("[geometry.g1]", f"[geometry.{'g' * 201}]"),
    ],
)
def test_names_that_a_database_cannot_hold_are_refused(
    sqlite_store: Store, tmp_path: Path, as_of: datetime, old: str, new: str
) -> None:
    path = tmp_path / "assets.toml"
    text = 'version = 1\n[[axis]]\nsite = "plant1"\nrobot_id = "R1"\naxis = "A1"\n'
    text += '[geometry.g1]\nbpfo = 3.5\nsource = "s"\n'
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(AxiswatchError, match=r"site|no name") as refused:
        import_assets(sqlite_store, path, as_of=as_of)
    assert str(refused.value).replace("\n", "").isprintable()


@pytest.mark.parametrize("diameter", ["5e-324", "1e-300"])
def test_numbers_whose_quotients_vanish_are_refused(
    sqlite_store: Store, tmp_path: Path, as_of: datetime, diameter: str
) -> None:
    path = tmp_path / "assets.toml"
    path.write_text(
        'version = 1\n[reducer.r]\ntype = "belt"\nsource = "s"\n'
        f"driving_diameter = {diameter}\ndriven_diameter = 1e5\nbelt_length = 9e5\n",
        "utf-8",
    )
    with pytest.raises(AxiswatchError, match=r"driving_diameter: Input should be greater"):
        import_assets(sqlite_store, path, as_of=as_of)


@pytest.mark.parametrize("value", ["inf", "1e300", "nan", "0.0"])
def test_a_time_between_recordings_that_cannot_be_is_refused(read: Callable[..., dict[str, int]], value: str) -> None:
    with pytest.raises(AxiswatchError, match="expected_every_s"):
        read(GOOD.replace("expected_every_s = 3600.0", f"expected_every_s = {value}"))


# --------------------------------------------------------------------- reducers, bearings, axes: the whole format

ROBOT = """
version = 1
[reducer.rv]
type = "rv"
sun_teeth = 12
planet_teeth = 36
pins = 40
ratio = 121.0
source = "counted"
[reducer.belt]
type = "belt"
driving_teeth = 20
driven_teeth = 40
belt_teeth = 100
source = "counted"
[bearing.crank]
n_balls = 10
ball_diameter = 5.0
pitch_diameter = 25.0
source = "measured"
[geometry.base]
reducer = ["belt", "rv"]
bearing = "crank"
shaft = "rv.crankshaft"
outer_shaft = "rv.carrier"
[geometry.motor]
reducer = "rv"
bearing = "SKF 6205-2RS"
[[axis]]
robot_id = "R01"
axis = "A1"
criticality = 5
expected_every_s = 3600.0
[[unit]]
robot_id = "R01"
axis = "A1"
unit_serial = "SN-1"
geometry = "base"
installed_at = 2025-01-01T00:00:00Z
[[unit]]
robot_id = "R01"
axis = "A2"
unit_serial = "SN-2"
geometry = "motor"
installed_at = 2025-01-01T00:00:00Z
[[unit]]
robot_id = "R01"
axis = "A3"
unit_serial = "SN-3"
bearing = "6203"
installed_at = 2025-01-01T00:00:00Z
"""


def test_orders_come_from_reducers_and_bearings(store: Store, read: Callable[..., dict[str, Any]], dump: Dump) -> None:
    assert read(ROBOT) == {"axes": 3, "units": 3, "geometries": 2, "notes": []}
    with store.read() as connection:
        orders = known_orders(connection)
    by_serial = {row["unit_serial"]: row for row in dump(store)["units"]}
    base = orders[by_serial["SN-1"]["geometry_version"]]
    # Behind the belt everything is halved; the crank turns on its bearing at a third of sun against carrier.
    crank = 0.5 * (1 - 1 / 121) / 3
    assert base.bpfo == pytest.approx(10 / 2 * (1 - 0.2) * crank)
    assert base.gear_mesh == pytest.approx((20.0, 0.5 * 12 * 120 / 121, 0.5 * 40 * 39 / 121))
    motor = orders[by_serial["SN-2"]["geometry_version"]]
    assert motor.bpfo == pytest.approx(3.5848, abs=5e-4), "the figure that CWRU states"
    assert orders[by_serial["SN-3"]["geometry_version"]].bpfo == pytest.approx(3.0530, abs=5e-4), "likewise"
    told = {order["name"]: order for order in by_serial["SN-1"]["characteristics"]}
    assert told["rv: output shaft"]["order"] == pytest.approx(0.5 / 121)
    assert told["rv: output shaft"]["source"].endswith("counts: counted")
    assert told["crank: cage (ftf)"]["source"] == "measured"
    axes = {row["axis"]: (row["criticality"], row["expected_every_s"]) for row in dump(store)["axes"]}
    assert axes == {"A1": (5, 3600.0), "A2": (None, None), "A3": (None, None)}


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (
            "bpfi = 5.62",
            "geometry.main: bpfo + bpfi = number of balls x speed of the ring: 3.58 + 5.62 = 9.2 is no whole",
        ),
        ("bpfi = 5.42\nbsf = 4.71", "geometry.main: bsf = 4.71 is 2 x bsf"),
        ("bpfi = 5.42\nftf = 0.45", "geometry.main: ftf = bpfo / n"),
    ],
)
def test_a_geometry_that_cannot_be_is_refused_with_the_arithmetic(
    read: Callable[..., dict[str, Any]], new: str, message: str
) -> None:
    with pytest.raises(AxiswatchError, match=re.escape(message)):
        read(GOOD.replace("bpfi = 5.42", new))


def test_what_one_says_in_numbers_and_by_parts_is_one_geometry(
    store: Store, read: Callable[..., dict[str, Any]], dump: Dump
) -> None:
    """The hash is of what features use: another way to say it makes nothing due again."""
    read(ROBOT)
    unit = next(row for row in dump(store)["units"] if row["unit_serial"] == "SN-2")
    orders = next(r["orders"] for r in dump(store)["geometries"] if r["geometry_version"] == unit["geometry_version"])
    told = "\n".join(f"{name} = {value}" for name, value in orders.items() if value is not None)
    told += '\nsource = "x"\n'
    read(ROBOT.replace('reducer = "rv"\nbearing = "SKF 6205-2RS"\n', told))
    again = next(row for row in dump(store)["units"] if row["unit_serial"] == "SN-2")
    assert again["geometry_version"] == unit["geometry_version"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "ratio = 121.0",
            "ratio = 105.0",
            "reducer.rv: ratio is declared as 105, but the counts give 121",
        ),
        ("pins = 40", "pins = 40.0", "reducer.rv.pins: Input should be a valid integer"),
        ("pins = 40", "ring_teeth = 40", "type rv takes sun_teeth, planet_teeth, pins"),
        ('type = "rv"', 'type = "magic"', "reducer.rv.type: "),
        ("n_balls = 10", "n_balls = 1", "bearing.crank: n_balls"),
        ("n_balls = 10\n", "", "takes designation, or n_balls"),
        ('source = "measured"', 'designation = "6205"', "exclude each other"),
        ("SKF 6205-2RS", "SKF 6206", "geometry.motor: bearing 'SKF 6206': it is not in the catalogue; close to it are"),
        ("SKF 6205-2RS", "NSK 6205", "makers differ"),
        ("SKF 6205-2RS", "6205 TVH", "the suffix TVH may stand for another geometry"),
        ('bearing = "6203"', 'bearing = "x"', "unit SN-3: bearing 'x': it is not in the catalogue, which has 6203"),
        ("rv.crankshaft", "rv.crank", "shaft 'rv.crank' does not exist; write one of input, belt.input"),
        ('"rv.carrier"', '"rv.output"\nmonitored_shaft = "rv.case"', "shaft 'rv.case' does not turn"),
        ('outer_shaft = "rv.carrier"', 'outer_shaft = "rv.crankshaft"', "does not roll"),
        ('["belt", "rv"]', '["belt", "gone"]', "geometry.base: reducer 'gone' is not defined in this file"),
        ('reducer = "rv"', 'reducer = "rv"\ngear_mesh = [3.0]', "reducer and gear_mesh exclude each other"),
        ("criticality = 5", "criticality = 6", "axis.0.criticality: "),
        ('bearing = "6203"', "expected_every_s = 5.0", ""),
        ("2025-01-01T00:00:00Z", "1735689600", "unit.0.installed_at: must be a time with an offset"),
        ("[[axis]]", "[axis]", "axis: must be tables"),
        ('["belt", "rv"]', "5", "geometry.base.reducer: Input should be a valid tuple"),
    ],
)
def test_each_thing_that_is_wrong_is_named(
    store: Store, read: Callable[..., dict[str, Any]], old: str, new: str, message: str
) -> None:
    if not message:
        read(ROBOT.replace(old, new))
        return
    with pytest.raises(AxiswatchError) as caught:
        read(ROBOT.replace(old, new, 1))
    assert message in str(caught.value)


def test_types_cross_references_and_the_registry_in_one_round(
    store: Store, read: Callable[..., dict[str, Any]], dump: Dump
) -> None:
    read(GOOD)
    before = dump(store)
    text = """
version = 1
[reducer.rv]
type = "rv"
ratio = -1.0
source = "x"
[geometry.base]
reducer = "rv"
[[unit]]
robot_id = "R01"
axis = "A1"
unit_serial = "SN-7"
geometry = "base"
installed_at = 2025-01-01T00:00:00
[[unit]]
robot_id = "R09"
axis = "A1"
unit_serial = "SN-2"
geometry = "nobody's"
installed_at = 2026-02-01T00:00:00Z
expected_every_s = 60.0
[[unit]]
robot_id = "R09"
axis = "A1"
unit_serial = "SN-8"
installed_at = 2026-03-01T00:00:00Z
expected_every_s = 61.0
"""
    with pytest.raises(AxiswatchError) as caught:
        read(text)
    lines = str(caught.value).split("\n  - ")[1:]
    for line, start in zip(
        lines,
        (
            "reducer.rv.ratio: ",
            "unit.0.installed_at: ",
            "axis R09/A1: expected_every_s is both 60 and 61",
            'unit SN-2: geometry "nobody\'s" is not defined in this file and not in the registry',
            "R09/A1: unit SN-8 is installed at 2026-03-01T00:00:00+00:00 while SN-2 is still on the axis",
            "unit SN-2 is on plant1/c1/R01/A1 since 2026-01-10T00:00:00Z and also on R09/A1 since",
        ),
        strict=True,
    ):
        assert line.startswith(start)
    assert dump(store) == before


def test_what_a_later_file_does_not_say_of_an_axis_stays(
    store: Store, read: Callable[..., dict[str, Any]], dump: Dump
) -> None:
    read(ROBOT)
    unit = ROBOT[ROBOT.index("[[unit]]") :].replace('geometry = "base"\n', "").replace('geometry = "motor"\n', "")
    read("version = 1\n" + unit)
    assert next(row for row in dump(store)["axes"] if row["axis"] == "A1")["criticality"] == 5
    read('version = 1\n[[axis]]\nrobot_id = "R01"\naxis = "A1"\ncriticality = 2\n')
    row = next(row for row in dump(store)["axes"] if row["axis"] == "A1")
    assert (row["criticality"], row["expected_every_s"]) == (2, None), "an axis's own entry tells all of it"


def test_odd_planets_are_noted(read: Callable[..., dict[str, Any]]) -> None:
    reducer = 'type = "planetary"\nsun_teeth = 20\nplanet_teeth = 20\nring_teeth = 60\nn_planets = 3\nsource = "x"'
    notes = read(f'version = 1\n[reducer.p]\n{reducer}\n[geometry.g]\nreducer = "p"\n')["notes"]
    assert notes == [
        "geometry g: p: 3 planets cannot be spaced evenly: sun_teeth + ring_teeth = 80 is no multiple of 3"
    ]


# ------------------------------------------------------------------------------------------------------------ CSV

CSV = """robot_id,axis,unit_serial,installed_at,removed_at,geometry,bearing,criticality,expected_every_s
R01,A1,SN-1,2025-01-01T00:00:00Z,2025-06-01T00:00:00Z,base,,3,3600
R01,A1,SN-5,2025-06-01T02:00:00+02:00,,,6205-2Z,3,
R01,A2,SN-2,2025-01-01T00:00:00Z,,motor,,,
"""


@pytest.fixture
def read_csv(store: Store, tmp_path: Path, as_of: datetime) -> Callable[..., dict[str, Any]]:
    def run(text: str | bytes) -> dict[str, Any]:
        path = tmp_path / "units.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return import_assets(store, path, as_of=as_of)

    return run


def test_units_from_a_csv_with_geometries_that_the_registry_knows(
    store: Store,
    read: Callable[..., dict[str, Any]],
    read_csv: Callable[..., dict[str, Any]],
    dump: Dump,
) -> None:
    read(ROBOT)
    before = {row["unit_serial"]: row for row in dump(store)["units"]}
    assert read_csv("\ufeff" + CSV)["units"] == 3
    after = {row["unit_serial"]: row for row in dump(store)["units"]}
    assert after["SN-1"] == before["SN-1"] | {"removed_at": datetime(2025, 6, 1, tzinfo=UTC)}
    assert after["SN-2"] == before["SN-2"]
    assert after["SN-5"]["geometry_name"] == "bearing 6205-2Z"
    assert {row["axis"]: row["criticality"] for row in dump(store)["axes"]} == {"A1": 3, "A2": None, "A3": None}
    again = dump(store)
    read_csv(CSV)
    assert dump(store) == again


def test_everything_wrong_with_a_csv_is_listed_by_line(
    store: Store, read_csv: Callable[..., dict[str, Any]], dump: Dump
) -> None:
    with pytest.raises(AxiswatchError) as caught:
        read_csv(
            CSV
            + "R01,,SN-9,2025-01-01T00:00:00,,,,9,soon\nR02,A1,SN-9,1735689600,,gone,6205,,\n"
            + "R03,A1,S,2025-01-01,,,,,,x\n"
            + "R04,A1,SN-4,2025-01-01T00:00:00Z,,,NU205,,\n"
        )
    told = str(caught.value)
    for line in (
        "line 5: axis: Field required",
        "line 5: installed_at: Input should have timezone info",
        "line 5: expected_every_s: ",
        "line 5: criticality: ",
        "line 6: installed_at: ",
        "line 7: more cells than columns",
        "line 8: bearing 'NU205': it is not in the catalogue",
        "unit SN-1: geometry 'base' is not defined in this file and not in the registry",
    ):
        assert f"\n  - {line}" in told
    assert dump(store)["units"] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column robot_id is missing"),
        (CSV.replace("removed_at", "colour", 1), "column 'colour' is not known"),
        (CSV.replace("removed_at", "axis", 1), "column axis is there twice"),
        (b"robot_id\xff", "not in UTF-8"),
        (CSV + 'R01,"A', "is no CSV"),
        (CSV + "R\0,A1,S,2025-01-01T00:00:00Z,,,,,\n", "line 5: robot_id: .* cannot be printed"),
    ],
)
def test_a_csv_that_is_none(read_csv: Callable[..., dict[str, Any]], text: str | bytes, message: str) -> None:
    with pytest.raises(AxiswatchError, match=message):
        read_csv(text)


# ------------------------------------------------------------------------------------------------- the catalogue


@pytest.mark.parametrize(
    ("text", "designation", "n_balls", "pitch"),
    [
        ("6205", "6205", 9, 39.0398),
        ("SKF 6205-2RS", "6205", 9, 39.0398),
        ("skf 6205/C3", "6205", 9, 39.0398),
        ("6203 ZZ C3", "6203", 8, 28.4988),
        ("FAG 6203", "6203", 8, 28.55),
        ("NSK 6804DD", "6804", 13, 25.6),
        ("LDK UER204", "UER204", 8, 34.55),
        ("Rexnord ZA-2115", "ZA-2115", 16, 71.501),
        ("ER16K", "ER16K", 9, 38.52),
    ],
)
def test_bearings_by_designation(text: str, designation: str, n_balls: int, pitch: float) -> None:
    found = find_bearing(text)
    assert (found.designation, found.n_balls, found.pitch_diameter) == (designation, n_balls, pitch)


@pytest.mark.parametrize("text", ["", " ", "62052", "6205-2", "2RS", "205", "UC204", "6205 M", "é"])
def test_a_bearing_that_is_not_there_is_not_guessed(text: str) -> None:
    with pytest.raises(AxiswatchError, match="by hand"):
        find_bearing(text)


def test_every_entry_of_the_catalogue_has_a_source_and_can_be_found() -> None:
    bearings, suffixes = catalogue()
    assert len(suffixes) > 10
    for bearing in bearings:
        assert len(bearing.source) > 30
        assert bearing.orders().bpfo is not None
        assert find_bearing(f"{bearing.makers[0]} {bearing.designation}") == bearing
    # Figures that the publishers of the data state.
    assert find_bearing("ER16K").orders().bpfo == pytest.approx(3.57, abs=0.005)
    assert find_bearing("ER16K").orders().bpfi == pytest.approx(5.43, abs=0.005)
    assert find_bearing("ZA-2115").orders().bpfo == pytest.approx(236.4 / (2000 / 60), abs=0.01)
