"""What the signal of a case shows by itself, from stored features of a simulated fleet; and which cases look alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.assets import import_assets
from pipeline.base.settings import Settings
from pipeline.cases.evidence import bearing_lines, loudest_line, loudest_recording, note_evidence
from pipeline.cases.similar import look_alikes, similar_past, similarity
from pipeline.cases.verdicts import give_verdict
from pipeline.cases.work import undo
from pipeline.evaluation.fleet_truth import read_recording_truth
from pipeline.extraction.baseline import update_baselines
from pipeline.extraction.extract import extract_due
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Case, CaseEvidence, Extraction
from review.statements import LINE_OF

NAMES = tuple(
    f"evidence_{kind}_{figure}"
    for figure in ("mean_db", "h1_db", "offset_percent")
    for kind in ("outer", "inner", "ball")
)
ORDERS = {"bpfo": 3.58, "bpfi": 5.42, "bsf": 2.36, "ftf": 0.4, "gear_mesh": [], "inner_ring": 1.0, "outer_ring": None}


def window(mean: list[float], height: list[float], off: list[float]) -> np.ndarray:
    return np.array([[*mean, *height, *off]], dtype=np.float64)


def named(values: np.ndarray, **orders: float | None) -> str | None:
    return loudest_line(values, NAMES, bearing_lines(values, NAMES, ORDERS | orders))


def test_a_line_is_named_only_where_it_stands_out() -> None:
    nan = math.nan
    assert named(window([1, 8, 2], [0, 9, 0], [0, -1, 0])) == "bpfi"
    assert named(window([1, 2, 8], [0, 1, 9], [0, 0, 0.5])) == "bsf2x"
    assert named(window([1, 3, 2], [0, 9, 0], [0, -1, 0])) is None, "no evidence above noise"
    assert named(window([1, 8, 2], [0, 5.9, 0], [0, -1, 0])) is None, "no peak"
    assert named(window([1, 8, 2], [0, 9, 0], [0, -1, 0]), bpfi=None) is None, "nobody knows where it would be"
    assert named(window([1, 8, 2], [0, nan, 0], [0, nan, 0])) is None, "not told from a line of the shaft"
    assert named(np.full((1, 9), nan)) is None
    assert named(np.empty((0, 9))) is None
    assert bearing_lines(np.empty((0, 9)), NAMES, ORDERS) == []


def test_lines_are_measured_with_their_distance_and_what_is_not_resolved_is_not_known() -> None:
    outer, inner, ball = bearing_lines(window([1, 8, 2], [math.nan, 14, 2], [math.nan, -1, 0]), NAMES, ORDERS)
    assert (inner["part"], inner["order"], inner["db"], inner["found"]) == ("inner_race", 0.99 * 5.42, 14.0, True)
    assert (outer["order"], outer["db"], outer["found"]) == (None, None, False)
    assert (ball["expected"], ball["db"], ball["found"]) == (4.72, 2.0, False)
    names = ("ses_white_ftf_mean13_db",)
    assert bearing_lines(np.array([[8.0]]), names, ORDERS) == [
        {"part": "cage", "expected": 0.4, "order": None, "db": 8.0, "found": True, "belongs_to": None}
    ], "what was not extracted is not stated"


def test_the_belongs_to_another_line_is_no_line_of_its_own() -> None:
    """Whichever is higher: the one that lies nearer to where it is expected is the line."""
    off = 100 * ((5.42 * 0.998 - 1.0) / 4.72 - 1.0)
    for heights in ([0, 14, 12], [0, 12, 14]):
        _, inner, ball = bearing_lines(window([1, 8, 6], heights, [0, -0.2, off]), NAMES, ORDERS)
        assert (inner["found"], inner["belongs_to"]) == (True, None)
        assert (ball["found"], ball["belongs_to"]) == (False, "inner_race")
    _, _, ball = bearing_lines(window([1, 8, 6], [0, 3, 14], [0, -0.2, off]), NAMES, ORDERS)
    assert ball["found"], "there is no such other line"


def test_a_multiple_of_the_cages_lines_is_no_line_of_the_outer_race() -> None:
    """The outer race's order is the cage's times the number of balls, so a cage fault has a line there."""
    names, orders = (*NAMES, "ses_white_ftf_mean13_db"), ORDERS | {"bpfo": 9 * 0.4}
    values = window([8, 1, 2], [9, 0, 0], [0, 0, 0])
    for cage, found in ((15.0, False), (4.0, True), (7.0, True)):
        outer = bearing_lines(np.append(values, [[cage]], axis=1), names, orders)[0]
        assert (outer["found"], outer["belongs_to"]) == (found, None if found else "cage")


def test_similarity_is_about_which_features_moved_to_which_side_and_as_far() -> None:
    moved = np.array([10.0, 0.0, -5.0, 0.0])
    others = np.array([moved, 3 * moved, -moved, [0.0, 3.0, 0.0, 3.0], np.full(4, np.nan)])
    found = similarity(moved, others)
    assert found[0] == found[1] == 1.0, "both are far off"
    assert found[2] == pytest.approx(1 - (6 + 0 + 6 + 0) / 4 / 6)
    assert found[3] == pytest.approx(1 - 3 / 6)
    assert math.isnan(found[4])
    assert similarity(np.zeros(4), np.zeros((1, 4)))[0] == 1.0, "two units without a change are alike"
    assert math.isnan(similarity(moved, np.array([[10.0, np.nan, np.nan, np.nan]]))[0]), "too little is known"
    assert np.isnan(similarity(np.full(4, np.nan), others)).all()


@dataclass
class Plant:
    """A store in which every axis of the small fleet has a case over its last two days; what each really had."""

    store: Store
    lake: Lake
    settings: Settings
    end: Any
    modes: dict[str, str]
    """Id of the case to the failure mode, '' where there is none to be seen."""


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, small_fleet: Any) -> Iterator[Plant]:
    home = tmp_path_factory.mktemp("evidence")
    settings = Settings(home=home, workers=1, baseline_days=2.0)
    store, lake, end = Store.open(settings.database), Lake(settings.lake), small_fleet.end
    import_assets(store, small_fleet.assets, as_of=small_fleet.settings.start)
    limits = Limits(end, settings.max_samples, settings.max_sampling_rate_hz, settings.max_shaft_speed_rpm)
    acquire(store, lake, small_fleet.landing, limits=limits, settled_before=end)
    extract_due(store, lake, settings, as_of=end)
    update_baselines(store, lake, settings, as_of=end)
    with store.write() as connection:
        for axis in connection.scalars(sa.select(Axis.axis_id)).all():
            row = {"case_id": axis[:12], "axis_id": axis, "family": "machine", "state": "open", "n_bins": 1}
            row |= {"first_at": end - timedelta(days=2), "last_at": end, "priority": 0.5, "reasons": []}
            row |= {"fault_probability": None, "mode": None, "known_at": end, "changed_at": end}
            connection.execute(sa.insert(Case), row)
    note_evidence(store, lake, settings, as_of=end)
    truth = read_recording_truth(small_fleet.folder)
    with store.read() as connection:
        rows = connection.execute(sa.select(CaseEvidence)).all()
    modes = {}
    for row in rows:
        told = truth[row.recording_id]
        modes[row.case_id] = told.mode if told.visible and not told.sensor_fault else ""
    yield Plant(store, lake, settings, end, modes)
    store.dispose()


def evidence(plant: Plant) -> dict[str, Any]:
    with plant.store.read() as connection:
        return {row.case_id: row for row in connection.execute(sa.select(CaseEvidence))}


def test_the_line_is_that_of_the_fault(plant: Plant) -> None:
    wanted = {"outer_race": "bpfo", "inner_race": "bpfi", "ball": "bsf2x"}
    found = evidence(plant)
    right = Counter((mode in wanted, found[case].line == wanted.get(mode)) for case, mode in plant.modes.items())
    bearing, healthy = right[True, True] + right[True, False], right[False, True] + right[False, False]
    assert bearing >= 2, plant.modes
    assert right[True, True] >= bearing - 1, [(found[case].line, mode) for case, mode in plant.modes.items()]
    assert right[False, True] >= healthy - 1
    assert all(row.program and row.shaft_speed_rpm > 0 for row in found.values())
    for row in found.values():
        parts = {line["part"]: line for line in row.lines or ()}
        assert set(parts) in (set(), {"outer_race", "inner_race", "ball", "cage"})
        assert row.line is None or parts[LINE_OF[row.line]]["found"]


def test_nothing_is_done_twice_and_a_change_is_looked_at(plant: Plant) -> None:
    before = evidence(plant)
    assert note_evidence(plant.store, plant.lake, plant.settings, as_of=plant.end + timedelta(days=1)) == 0
    case = min(plant.modes)
    later = plant.end + timedelta(hours=1)
    with plant.store.write() as connection:
        connection.execute(sa.update(Case).where(Case.case_id == case).values(changed_at=later))
    assert note_evidence(plant.store, plant.lake, plant.settings, as_of=later) == 1
    after = evidence(plant)
    assert (after[case].known_at, after[case].moved) == (later, before[case].moved)


def test_the_speed_is_the_one_that_the_lines_were_read_at(plant: Plant) -> None:
    case, later = min(plant.modes), plant.end + timedelta(hours=2)
    with plant.store.write() as connection:
        recording = evidence(plant)[case].recording_id
        own = sa.update(Extraction).where(Extraction.recording_id == recording)
        connection.execute(own.values(measured_speed_rpm=1234.5))
        connection.execute(sa.update(Case).where(Case.case_id == case).values(changed_at=later))
    assert note_evidence(plant.store, plant.lake, plant.settings, as_of=later) == 1
    assert evidence(plant)[case].shaft_speed_rpm == 1234.5
    with plant.store.write() as connection:
        connection.execute(own.values(measured_speed_rpm=None))


def test_past_cases_that_were_taken_back_or_unsure_are_not_shown(plant: Plant) -> None:
    first, second, third, asked = sorted(plant.modes)[:4]
    at, who = plant.end + timedelta(hours=2), "mara"
    for case, verdict in ((first, "fault"), (second, "unsure"), (third, "healthy")):
        told = {"verdict": verdict, "evidence": "inspected"}
        give_verdict(plant.store, case, told, who=who, at=at, period_hours=1)
    with plant.store.read() as connection:
        assert {row["case_id"] for row in similar_past(connection, asked)} == {first, third}
    undo(plant.store, first, who=who, at=at + timedelta(minutes=1))
    with plant.store.read() as connection:
        (shown,) = similar_past(connection, asked)
        assert (shown["case_id"], shown["verdict"]) == (third, "healthy")
        alike = look_alikes(connection, asked, least=0.0, most=99)
    assert third not in {row["case_id"] for row in alike}, "it is closed"
    assert first in {row["case_id"] for row in alike}
    values = [row["similarity"] for row in alike]
    assert values == sorted(values, reverse=True)


def test_a_case_about_data_shows_what_is_bad(plant: Plant) -> None:
    with plant.store.write() as connection:
        case = dict(connection.execute(sa.select(Case).limit(1)).one()._mapping)
        good = loudest_recording(connection, case)
        earlier = connection.scalars(
            sa.select(Extraction.recording_id)
            .where(Extraction.axis_id == case["axis_id"], Extraction.started_at >= case["first_at"])
            .order_by(Extraction.started_at)
        ).all()[1]
        assert good.recording_id != earlier
        spoilt = sa.update(Extraction).where(Extraction.recording_id == earlier)
        connection.execute(spoilt.values(quality="clipping"))
        assert loudest_recording(connection, case).recording_id == good.recording_id
        assert loudest_recording(connection, case | {"family": "data"}).recording_id == earlier
        connection.execute(spoilt.values(quality="ok"))


def test_the_closest_come_first_on_both_databases(store: Store) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    moved = {"asked": [9.0, 0.0, 1.0], "near": [8.0, 0.0, 1.0], "far": [0.0, 9.0, 0.0], "shorter": [9.0, 0.0]}
    with store.write() as connection:
        names = {"site": "", "cell": "", "robot_id": "R1", "axis": "A1", "criticality": None}
        connection.execute(sa.insert(Axis), {"axis_id": "a", "expected_every_s": None, "known_at": at, **names})
        for case, values in moved.items():
            row = {"case_id": case, "axis_id": "a", "family": "machine", "state": "open", "n_bins": 1, "mode": None}
            row |= {"first_at": at, "last_at": at, "priority": 0.5, "reasons": [], "fault_probability": None}
            connection.execute(sa.insert(Case), row | {"known_at": at, "changed_at": at})
            told = {"case_id": case, "feature_version": "v", "moved": np.array(values, "<f4").tobytes()}
            connection.execute(sa.insert(CaseEvidence), told | {"case_changed_at": at, "known_at": at})
    with store.read() as connection:
        assert [row["case_id"] for row in look_alikes(connection, "asked", least=0.0)] == ["near", "far"]
        assert [row["case_id"] for row in look_alikes(connection, "asked")] == ["near"]
    for hour, (case, verdict) in enumerate((("far", "healthy"), ("near", "healthy"), ("near", "fault"))):
        told = {"verdict": verdict, "evidence": "inspected"}
        give_verdict(store, case, told, who="mara", at=at + timedelta(hours=hour), period_hours=1)
    with store.read() as connection:
        found = [(row["case_id"], row["verdict"]) for row in similar_past(connection, "asked")]
    assert found == [("near", "fault"), ("far", "healthy")], "the newest finding of each"
