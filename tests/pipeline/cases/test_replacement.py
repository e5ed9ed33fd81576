"""Replacing a unit: its time ends, its cases are closed and stay so, and what came since is the new unit's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.assets import import_assets
from pipeline.assets.views import axis_timeline, list_assets, show_asset
from pipeline.base.errors import AxiswatchError, PrerequisiteMissing, SettingsError
from pipeline.base.ids import axis_id
from pipeline.base.settings import Settings
from pipeline.cases.queue import Filters, queue
from pipeline.cases.replacement import replace_unit
from pipeline.cases.verdicts import get_case, give_verdict
from pipeline.scoring.advise import advise
from pipeline.scoring.score import _due_query
from pipeline.store.attribution import attributed_unit, extractions, installed_geometry, recordings
from pipeline.store.database import Store, ensure_partitions, insert_ignore
from pipeline.store.tables import (
    AxisEvent,
    AxisState,
    Case,
    Extraction,
    LakeFile,
    ModelAlias,
    ModelVersion,
    Recording,
    Score,
    Scoring,
    Unit,
)

Dump = Callable[[Store], dict[str, list[dict[str, Any]]]]
START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATE = START + timedelta(days=20)
AXIS = axis_id("plant1", "c1", "R01", "A1")
MODEL = "m" * 16

ASSETS = """
version = 1
[bearing.b]
designation = "6205"
[geometry.main]
bearing = "b"
[geometry.other]
bpfo = 4.11
source = "x"
[[unit]]
site = "plant1"
cell = "c1"
robot_id = "R01"
axis = "A1"
unit_serial = "SN-1"
geometry = "main"
installed_at = 2025-01-01T00:00:00Z
[[unit]]
site = "plant1"
cell = "c2"
robot_id = "R02"
axis = "A1"
unit_serial = "SN-9"
installed_at = 2025-01-01T00:00:00Z
"""


@dataclass
class Axis:
    """One axis with a champion whose scores the test says."""

    store: Store
    settings: Settings
    folder: Path

    def read(self, text: str = ASSETS) -> None:
        (self.folder / "assets.toml").write_text(text, encoding="utf-8")
        import_assets(self.store, self.folder / "assets.toml", as_of=START)

    def say(self, first: int, probabilities: str, serial: str | None = None) -> None:
        """Recordings and scores, one an hour from an hour on: `f` is a fault, `.` is healthy."""
        for number, letter in enumerate(probabilities, start=first):
            at = START + number * HOUR + timedelta(minutes=10)
            self.say_at(at, 0.95 if letter == "f" else 0.02, serial)

    def say_at(self, at: datetime, probability: float, serial: str | None = None) -> None:
        recording = f"{at:%m%d%H%M%S}".rjust(32, "0")
        ensure_partitions(self.store, [at])
        with self.store.write() as connection:
            told = {"recording_id": recording, "axis_id": AXIS, "channel": "acc_x", "started_at": at, "known_at": at}
            insert_ignore(connection, Recording, [told | {
                "quantity": "acceleration", "unit": "g", "time_basis": "clock", "sampling_rate_hz": 1e3,
                "rate_basis": "declared", "unit_serial": serial, "n_samples": 512, "content_hash": "", "file_hash": "",
                "lake_path": "x", "lake_row": 0}])  # fmt: skip
            found = recordings(installed_geometry(), attributed_unit())
            version, unit = connection.execute(found.where(Recording.recording_id == recording)).one()
            versions = {"feature_version": "f", "geometry_version": version}
            insert_ignore(connection, Extraction, [told | versions | {
                "scope": "acceleration", "unit_serial": unit, "regime": "", "quality": "ok", "evidence": "",
                "n_windows": 1, "lake_path": "x", "lake_row": 0}])  # fmt: skip
            scored = versions | {"baseline_version": "", "model_version": MODEL}
            insert_ignore(connection, Score, [told | scored | {
                "start_sample": 0, "unit_serial": unit, "n_window_samples": 512, "fault_probability": probability,
                "class_probabilities": {"healthy": 1 - probability, "ball": probability}, "n_missing_features": 0,
                "regime": "", "quality": "ok", "evidence": ""}])  # fmt: skip
            mark = {name: told[name] for name in ("recording_id", "axis_id", "started_at", "known_at")}
            insert_ignore(connection, Scoring, [mark | scored | {"advised": False}])

    def advise(self) -> Any:
        return advise(self.store, self.settings, as_of=START + timedelta(days=3))

    def replace(self, hour: float, serial: str = "SN-2", **options: Any) -> dict[str, Any]:
        given = {"new_serial": serial, "at": START + hour * HOUR, "as_of": LATE, "who": "jo"} | options
        return replace_unit(self.store, "R01", "A1", **given)

    def cases(self, state: str | None = None) -> list[dict[str, Any]]:
        found = queue(self.store, Filters(state=state or "all"), as_of=LATE)
        return sorted((case for case in found if case["family"] == "machine"), key=lambda case: case["first_at"])

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(query).all())


@pytest.fixture
def axis(store: Store, tmp_path: Path, make_settings: Callable[..., Settings]) -> Axis:
    with store.write() as connection:
        file = {"path": "x", "kind": "features", "size_bytes": 1, "n_rows": 1, "known_at": START}
        connection.execute(sa.insert(LakeFile), file)
        version = {"model_version": MODEL, "scope": "acceleration", "kind": "classification", "feature_version": "f",
                   "lake_prefix": "", "label_cutoff": START, "training_data_hash": "", "n_units": 1, "n_windows": 1,
                   "settings": {}, "metrics": {}, "known_at": START}  # fmt: skip
        connection.execute(sa.insert(ModelVersion), version)
        alias = {"scope": "acceleration", "alias": "champion", "model_version": MODEL}
        connection.execute(sa.insert(ModelAlias), alias)
    made = Axis(store, make_settings(silent_after_hours=24.0 * 365, debounce_hits=2, debounce_span=3), tmp_path)
    made.read()
    return made


# --------------------------------------------------------------------------------------------------- the registry


def test_the_old_unit_ends_the_new_one_begins_and_the_timeline_says_so(axis: Axis) -> None:
    told = axis.replace(10, reason="worn out")
    assert (told["axis"], told["old_unit_serial"], told["unit_serial"]) == ("plant1/c1/R01/A1", "SN-1", "SN-2")
    assert (told["geometry"], told["changed"]) == ("main", True)
    units = show_asset(axis.store, "R01", "A1")["units"]
    assert [(unit["unit_serial"], unit["removed_at"]) for unit in units] == [
        ("SN-1", START + 10 * HOUR),
        ("SN-2", None),
    ]
    assert units[0]["geometry_version"] == units[1]["geometry_version"]
    assert units[1]["orders"][0]["name"] == "b: outer race (bpfo)"
    assert "CWRU" in units[1]["orders"][0]["source"]
    events = axis_timeline(axis.store, "R01", "A1")
    assert [(event["kind"], event["who"]) for event in events] == [("installed", "assets import"), ("replaced", "jo")]
    assert events[1]["details"]["reason"] == "worn out"
    assert len(list_assets(axis.store)) == 3


def test_the_same_replacement_again_changes_nothing(axis: Axis, dump: Dump) -> None:
    axis.say(0, "fff")
    axis.advise()
    first = axis.replace(10)
    axis.advise()
    before = dump(axis.store)
    again = axis.replace(10, as_of=LATE + HOUR, who="someone else", reason="again")
    assert again == first | {"changed": False}
    assert dump(axis.store) == before


def test_another_geometry_by_name_and_by_designation(axis: Axis) -> None:
    assert axis.replace(10, geometry="other")["geometry"] == "other"
    assert axis.replace(20, serial="SN-3", bearing="FAG 6203-2Z")["geometry"] == "bearing FAG 6203-2Z"
    orders = {row.unit_serial: row.geometry_version for row in axis.rows(sa.select(Unit).where(Unit.axis_id == AXIS))}
    assert len(set(orders.values())) == 3
    with pytest.raises(AxiswatchError, match=r"was installed at .* with geometry 'bearing FAG 6203-2Z'"):
        axis.replace(20, serial="SN-3", geometry="main")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hour": -24 * 400}, "before SN-1 was installed"),
        ({"hour": 10, "serial": "SN-1"}, "SN-1 is the unit that is on the axis already"),
        ({"hour": 24 * 30}, "is later than the time of this run"),
        (
            {"hour": 10, "serial": "SN-9"},
            "SN-9 is on plant1/c2/R02/A1 since 2025-01-01T00:00:00Z and also on plant1/c1",
        ),
        ({"hour": 10, "serial": " "}, "is empty"),
        ({"hour": 10, "serial": "a\nb"}, "cannot be printed"),
        ({"hour": 10, "geometry": "gone"}, "geometry 'gone' is not in the registry, which has main, other"),
        ({"hour": 10, "bearing": "6206"}, "close to it are 620"),
        ({"hour": 10, "bearing": "6205", "geometry": "main"}, "exclude each other"),
    ],
)
def test_what_contradicts_the_registry_is_refused(
    axis: Axis, dump: Dump, options: dict[str, Any], message: str
) -> None:
    before = dump(axis.store)
    with pytest.raises(AxiswatchError, match=message):
        axis.replace(**options)
    assert dump(axis.store) == before


def test_everything_wrong_with_a_replacement_is_told_at_once(axis: Axis) -> None:
    with pytest.raises(AxiswatchError) as caught:
        axis.replace(24 * 30, serial="SN-1", geometry="gone")
    assert str(caught.value).count("\n  - ") == 3


def test_replaced_already_later_is_refused(axis: Axis) -> None:
    axis.replace(10)
    with pytest.raises(AxiswatchError, match=r"already replaced later: SN-2 is on the axis since 2026-01-05T10:00:00Z"):
        axis.replace(5, serial="SN-3")
    with pytest.raises(AxiswatchError, match="at that very time"):
        axis.replace(10, serial="SN-3")


def test_an_axis_that_is_not_there_or_there_twice(axis: Axis) -> None:
    options = {"new_serial": "S", "at": START, "as_of": LATE, "who": "jo"}
    with pytest.raises(PrerequisiteMissing, match=r"no axis R07/A1; "):
        replace_unit(axis.store, "R07", "A1", **options)
    axis.read(ASSETS.replace('"R02"', '"R01"').replace("SN-9", "SN-8").replace("SN-1", "SN-10"[:4]))
    with pytest.raises(SettingsError, match=r"2 axes R01/A1; choose one of .*--cell 'c1', --site 'plant1' --cell 'c2'"):
        replace_unit(axis.store, "R01", "A1", **options)
    assert replace_unit(axis.store, "R01", "A1", cell="c2", **options)["old_unit_serial"] == "SN-8"


def test_a_unit_that_was_taken_off_before_and_one_that_comes_back(axis: Axis) -> None:
    axis.replace(10)
    assert axis.replace(20, serial="SN-1")["old_unit_serial"] == "SN-2", "the first unit, mended"
    assert [event["kind"] for event in axis_timeline(axis.store, "R01", "A1")] == ["installed", "replaced", "replaced"]


def test_a_file_that_does_not_know_of_the_replacement_is_refused_and_a_correction_takes_it_back(axis: Axis) -> None:
    axis.replace(10)
    with pytest.raises(AxiswatchError, match=r"SN-2 is installed at .* while SN-1 is still on the axis"):
        axis.read()
    unit = ASSETS[ASSETS.index("[[unit]]") : ASSETS.rindex("[[unit]]")]
    moved = unit.replace("SN-1", "SN-2").replace("2025-01-01T00", "2026-01-06T00")
    axis.read(ASSETS.replace(unit, unit + "removed_at = 2026-01-05T22:00:00Z\n" + moved))
    events = axis_timeline(axis.store, "R01", "A1")
    assert [(event["kind"], event["in_force"]) for event in events] == [
        ("installed", True),
        ("replaced", False),
        ("removed", True),
        ("installed", True),
    ]


# ------------------------------------------------------------------------------------------------------- its cases


def test_open_cases_of_the_old_unit_are_closed_and_stay_closed(axis: Axis) -> None:
    axis.say(0, "ffff")
    axis.advise()
    (case,) = axis.cases("open")
    told = axis.replace(4)
    assert told["closed_cases"] == [case["case_id"]]
    history = get_case(axis.store, case["case_id"])
    assert (history["state"], history["closed_at"], history["closed_by"]) == ("closed", START + 4 * HOUR, "jo")
    assert [event["action"] for event in history["events"]] == ["opened", "closed"]
    assert history["events"][-1]["details"]["why"] == "unit replaced"
    axis.say(3, "f")
    axis.say(4, "......")
    report = axis.advise()
    assert (report.opened, report.reopened) == (0, 0)
    assert axis.cases("open") == []


def test_old_states_open_no_case_and_count_for_no_debounce_of_the_new_unit(axis: Axis) -> None:
    axis.say(0, "....")
    axis.advise()
    axis.replace(4)
    axis.say_at(START + 3 * HOUR + timedelta(minutes=20), 0.99)
    axis.say_at(START + 2 * HOUR + timedelta(minutes=20), 0.99)
    axis.say_at(START + 2 * HOUR + timedelta(minutes=30), 0.99)
    axis.say_at(START + 3 * HOUR + timedelta(minutes=30), 0.99)
    axis.say(4, "f.....")
    axis.advise()
    states = [row.state for row in axis.rows(sa.select(AxisState).order_by(AxisState.bin_at))]
    assert states.count("healthy") < len(states), "the old unit's bins are flagged"
    assert axis.cases() == []


def test_a_new_unit_that_is_sick_as_well_has_a_case_of_its_own(axis: Axis) -> None:
    axis.say(0, "ffff")
    axis.advise()
    axis.replace(4)
    axis.say(4, "fff")
    assert axis.advise().opened == 1
    old, new = axis.cases()
    assert (old["state"], new["state"]) == ("closed", "open")
    assert new["first_at"] >= START + 4 * HOUR > old["last_at"]


@pytest.mark.parametrize("minute", [0, 15], ids=["between bins", "within a bin"])
def test_registered_late_the_case_ends_and_what_came_since_is_the_new_units(axis: Axis, minute: int) -> None:
    """Recordings of both units were scored and advised as one; then somebody says when the unit was replaced."""
    axis.say(0, "ffff")
    axis.say_at(START + 3 * HOUR + timedelta(minutes=30), 0.95)
    axis.say(4, "fff")
    axis.advise()
    (case,) = axis.cases("open")
    assert case["last_at"] > START + 6 * HOUR
    at = 3 + minute / 60 if minute else 4
    axis.replace(at)
    axis.advise()
    old, new = axis.cases()
    assert (old["case_id"], old["state"], new["state"]) == (case["case_id"], "closed", "open")
    assert old["last_at"] < START + at * HOUR <= new["first_at"]
    bin_three = axis.rows(sa.select(AxisState).where(AxisState.bin_at == START + 3 * HOUR))[0]
    assert bin_three.n_windows == (1 if minute else 2), "a bin speaks for one unit"
    before = axis.cases()
    axis.say(7, "...")
    axis.advise()
    assert [case["state"] for case in axis.cases()] == [case["state"] for case in before]
    label = {"verdict": "fault", "evidence": "teardown", "mode": "ball"}
    give_verdict(axis.store, old["case_id"], label, who="jo", at=LATE, period_hours=1.0)
    found = axis.rows(sa.text("SELECT unit_serial FROM labels"))
    assert found == [("SN-1",)], "what a teardown shows is about the unit that was torn down"


def test_both_units_have_a_case_that_begins_in_the_same_bin(axis: Axis) -> None:
    axis.settings = axis.settings.model_copy(update={"debounce_hits": 1, "alarm_bins": 1})
    axis.say(3, "f")
    axis.advise()
    axis.replace(3.25)
    axis.say_at(START + 3 * HOUR + timedelta(minutes=30), 0.95)
    assert axis.advise().opened == 1
    old, new = axis.cases()
    assert (old["state"], new["state"]) == ("closed", "open")
    assert old["case_id"] != new["case_id"]


def test_late_and_in_time_end_with_the_same_cases(
    axis: Axis, dump: Dump, forget_cases: Callable[[Store], None]
) -> None:
    """Registered before or after the recordings came: the new unit's case and all axis states are the same."""
    axis.say(0, "ffff")
    axis.say(4, "fff")
    axis.advise()
    axis.replace(4)
    axis.advise()
    late = dump(axis.store)
    forget_cases(axis.store)
    with axis.store.write() as connection:
        connection.execute(sa.update(Scoring).values(advised=False))
    axis.advise()
    in_time = dump(axis.store)
    assert in_time["axis_states"] == late["axis_states"]
    new = {case["case_id"]: case["first_at"] for case in axis.cases()}
    assert new == {
        row["case_id"]: row["first_at"]
        for row in late["cases"]
        if row["closed_at"] is None and row["family"] == "machine"
    }


def test_a_case_about_the_sensor_is_left_open(axis: Axis) -> None:
    with axis.store.write() as connection:
        case = {
            "case_id": "d" * 12,
            "axis_id": AXIS,
            "family": "data",
            "state": "open",
            "first_at": START,
            "last_at": START,
            "n_bins": 1,
            "priority": 0.4,
            "reasons": [],
            "known_at": START,
            "changed_at": START,
        }
        connection.execute(sa.insert(Case), case)
    assert axis.replace(4)["closed_cases"] == []
    assert [row.state for row in axis.rows(sa.select(Case.state))] == ["open"]


# --------------------------------------------------------------------------------------------- whose recordings


def test_recordings_since_belong_to_the_new_unit_unless_the_log_says_otherwise(axis: Axis) -> None:
    axis.say(0, "....")
    axis.say(4, ".", serial="SN-LOG")
    told = axis.replace(2)
    assert (told["recordings_since"], told["recordings_that_name_another_unit"]) == (2, 1)
    query = recordings(attributed_unit()).order_by(Recording.started_at)
    assert [row[0] for row in axis.rows(query)] == ["SN-1", "SN-1", "SN-2", "SN-2", "SN-LOG"]
    stored = axis.rows(sa.select(Extraction.unit_serial).order_by(Extraction.started_at))
    assert [row[0] for row in stored] == ["SN-1"] * 4 + ["SN-LOG"], "what was known when it was extracted stays"


def test_what_is_scored_next_has_the_new_units_name(axis: Axis) -> None:
    axis.say(0, "....")
    axis.replace(2)
    with axis.store.write() as connection:
        connection.execute(sa.delete(Scoring))
    query = _due_query("acceleration", MODEL, LATE).order_by(Extraction.started_at)
    assert [row.unit_serial for row in axis.rows(query)] == ["SN-1", "SN-1", "SN-2", "SN-2"]


def test_another_geometry_makes_old_extractions_stale_and_states_wait_for_new_scores(axis: Axis) -> None:
    axis.say(0, "....")
    axis.replace(2, geometry="other")
    assert len(axis.rows(_due_query("acceleration", MODEL, LATE))) == 0, "to be extracted first"
    with axis.store.read() as connection:
        stale = extractions(sa.func.count(), any_geometry=True)
        assert connection.scalar(stale.where(Extraction.geometry_version != installed_geometry())) == 2


def test_every_event_has_one_key(axis: Axis) -> None:
    axis.replace(10)
    axis.replace(20, serial="SN-3")
    ids = [row.event_id for row in axis.rows(sa.select(AxisEvent.event_id))]
    assert len(ids) == len(set(ids)) == 4
