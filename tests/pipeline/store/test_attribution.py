"""Whose recording is it, and that nothing in the product asks it in a way of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.cases.evidence import healthy_reference, loudest_recording, newest_extraction, note_evidence
from pipeline.cases.replacement import replace_unit
from pipeline.extraction.baselines import Baselines
from pipeline.scoring.advise import read_windows
from pipeline.scoring.score import _due_query
from pipeline.store.attribution import unit_name
from pipeline.store.database import Store, ensure_partitions, insert_ignore
from pipeline.store.lake import Lake
from pipeline.store.tables import (
    Axis,
    AxisState,
    Baseline,
    Case,
    CaseEvidence,
    Extraction,
    LakeFile,
    ModelVersion,
    Recording,
    Score,
    Scoring,
    Unit,
)

ROOT = Path(__file__).parents[3]
START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATE = START + timedelta(days=20)
PLACE = {"feature_version": "f", "geometry_version": "none"}
OLD, NEW, MODEL = "b" * 16, "c" * 16, "m" * 16
CASE = {"case_id": "1", "axis_id": "a", "family": "machine"} | {
    "first_at": START + 3 * HOUR,
    "last_at": START + 5 * HOUR,
}


def name_of(hour: int) -> str:
    return f"{hour:032d}"


@pytest.fixture
def plant(store: Store) -> Store:
    """An axis whose SN-1 made six recordings, one an hour, scored against SN-1's baseline; a case of the last three."""
    ensure_partitions(store, [START])
    rows: dict[Any, list[dict[str, Any]]] = {
        Axis: [{"axis_id": "a", "site": "", "cell": "", "robot_id": "R01", "axis": "A1", "known_at": START}],
        LakeFile: [{"path": "x", "kind": "recordings", "size_bytes": 1, "n_rows": 1, "known_at": START}],
        Unit: [
            {"axis_id": "a", "unit_serial": "SN-1", "installed_at": START - HOUR, "characteristics": []}
            | {"known_at": START}
        ],
        ModelVersion: [
            {"model_version": MODEL, "scope": "acceleration", "kind": "classification", "feature_version": "f"}
            | {"lake_prefix": "x", "label_cutoff": START, "training_data_hash": "", "n_units": 1, "n_windows": 1}
            | {"settings": {}, "metrics": {}, "known_at": START}
        ],
        Recording: [],
        Extraction: [],
        Score: [],
        Scoring: [],
    }
    for hour in range(6):
        at = {"recording_id": name_of(hour), "axis_id": "a", "channel": "acc_x", "started_at": START + hour * HOUR}
        log = {"quantity": "acceleration", "unit": "g", "time_basis": "clock", "sampling_rate_hz": 1e3}
        log |= {"rate_basis": "declared", "n_samples": 512, "content_hash": "", "file_hash": "", "lake_path": "x"}
        rows[Recording].append(at | log | {"lake_row": 0, "known_at": START})
        features = {"scope": "acceleration", "unit_serial": "SN-1", "regime": "p|1|1", "quality": "ok", "evidence": ""}
        rows[Extraction].append(at | PLACE | features | {"n_windows": 1, "lake_row": 0, "known_at": START})
    baselines = [baseline(OLD, "SN-1", START)]
    with store.write() as connection:
        for table, values in rows.items():
            insert_ignore(connection, table, values)
        insert_ignore(connection, Baseline, baselines)
        connection.execute(sa.insert(Case), [CASE | {
            "state": "open", "n_bins": 3, "priority": 0.9, "reasons": [], "known_at": START, "changed_at": START,
        }])  # fmt: skip
    for hour in range(6):
        score(store, hour, OLD, "SN-1", 0.5 + hour / 100)
    return store


def baseline(version: str, serial: str, known_at: datetime) -> dict[str, Any]:
    return {
        "baseline_version": version, "axis_id": "a", "unit_serial": serial, "channel": "acc_x", "regime": "*|*|*",
        "scope": "acceleration", "from_at": START, "to_at": START + HOUR, "n_recordings": 1, "n_windows": 1,
        "median": [0.0], "spread": [1.0], "known_at": known_at,
    } | PLACE  # fmt: skip


def score(store: Store, hour: int, version: str, serial: str, probability: float) -> None:
    at = {"recording_id": name_of(hour), "axis_id": "a", "started_at": START + hour * HOUR, "known_at": START}
    key = PLACE | {"baseline_version": version, "model_version": MODEL}
    with store.write() as connection:
        insert_ignore(connection, Score, [at | key | {
            "start_sample": 0, "channel": "acc_x", "unit_serial": serial, "n_window_samples": 512, "quality": "ok",
            "fault_probability": probability, "n_missing_features": 0, "regime": "", "evidence": ""}])  # fmt: skip
        insert_ignore(connection, Scoring, [at | key | {"advised": True}])


def due(store: Store) -> list[str]:
    with store.read() as connection:
        return sorted(row.recording_id for row in connection.execute(_due_query("acceleration", MODEL, LATE)))


def replace_late(store: Store, hour: int) -> None:
    replace_unit(store, "R01", "A1", new_serial="SN-2", at=START + hour * HOUR, as_of=LATE, who="jo")


def test_scores_against_the_old_units_baseline_are_due_again_after_a_late_replacement(plant: Store) -> None:
    assert due(plant) == []
    replace_late(plant, 3)
    assert due(plant) == [name_of(hour) for hour in (3, 4, 5)]


def test_a_newer_baseline_of_the_same_unit_makes_no_score_due(plant: Store) -> None:
    with plant.write() as connection:
        insert_ignore(connection, Baseline, [baseline(NEW, "SN-1", LATE)])
    assert due(plant) == []


def test_scored_again_each_recording_counts_once_and_with_its_own_unit(plant: Store) -> None:
    replace_late(plant, 3)
    for hour in (3, 4, 5):
        score(plant, hour, "", "SN-2", 0.1)
    assert due(plant) == []
    with plant.read() as connection:
        windows = read_windows(connection, "a", START, START + 6 * HOUR, {MODEL})
        assert [round(window.fault_probability or 0.0, 2) for window in windows] == [0.5, 0.51, 0.52, 0.1, 0.1, 0.1]
        assert loudest_recording(connection, CASE).recording_id == name_of(5)


def test_the_case_page_compares_a_late_replaced_units_recording_with_its_own_baseline(plant: Store) -> None:
    replace_late(plant, 3)
    with plant.write() as connection:
        insert_ignore(connection, Baseline, [baseline(NEW, "SN-2", LATE)])
    with plant.read() as connection:
        extraction = newest_extraction(connection, name_of(5))
        assert extraction.unit_serial == "SN-2"
        found = Baselines(connection, LATE).of(extraction)
        assert found is not None
        assert found.version == NEW
        reference = healthy_reference(connection, extraction, START + 5 * HOUR)
        assert reference.recording_id == name_of(3), "its own first one, not the old unit's"


def test_evidence_is_made_anew_after_a_late_replacement(plant: Store, lake: Lake, make_settings: Any) -> None:
    settings = make_settings()
    assert note_evidence(plant, lake, settings, as_of=START + 10 * HOUR) == 1
    assert note_evidence(plant, lake, settings, as_of=START + 11 * HOUR) == 0
    replace_late(plant, 2)
    assert note_evidence(plant, lake, settings, as_of=LATE) == 1
    assert note_evidence(plant, lake, settings, as_of=LATE) == 0
    with plant.read() as connection:
        assert connection.scalar(sa.select(CaseEvidence.known_at)) == LATE


def test_a_run_for_the_past_does_not_make_evidence_again_and_again(
    plant: Store, lake: Lake, make_settings: Any
) -> None:
    replace_late(plant, 2)
    settings, past = make_settings(), START + 10 * HOUR
    assert [note_evidence(plant, lake, settings, as_of=past) for _ in range(2)] == [1, 0]


def test_a_unit_without_a_serial_number_is_counted_by_its_axis() -> None:
    assert (unit_name("SN-1", "a"), unit_name(None, "a")) == ("SN-1", "axis a")


def test_nobody_else_joins_recordings_with_units() -> None:
    """The join stands in store/attribution.py; so does every rule that follows from it."""
    folders = ("pipeline", "review", "benchmarks", "dags")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    joins = [path.relative_to(ROOT).as_posix() for path in files if "outerjoin(Unit" in path.read_text("utf-8")]
    assert joins == ["pipeline/store/attribution.py"]


def test_of_a_long_case_only_what_is_new_is_compared_with_the_loudest_before(plant: Store) -> None:
    case = CASE | {"shown_before": name_of(3), "shown_until": LATE}

    def loudest() -> str:
        with plant.read() as connection:
            return str(loudest_recording(connection, case).recording_id)

    assert loudest() == name_of(3), "no axis state has changed since"
    state = {"axis_id": "a", "bin_at": START + 4 * HOUR, "first_at": START + 4 * HOUR, "last_at": START + 5 * HOUR}
    state |= {"state": "alarm", "n_windows": 2, "quality": "ok", "flags": [], "model_versions": [], "known_at": LATE}
    with plant.write() as connection:
        insert_ignore(connection, AxisState, [state])
    assert loudest() == name_of(5)
    case["shown_before"] = "deleted"
    case["shown_until"] = LATE + HOUR
    assert loudest() == name_of(5), "all of the case again"
