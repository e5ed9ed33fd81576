"""From features to cases on a real database: training, scoring, states, cases, verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.base.settings import Settings
from pipeline.cases.audit import is_drawn
from pipeline.cases.axis_state import bin_start
from pipeline.cases.queue import queue
from pipeline.cases.replacement import replace_unit
from pipeline.cases.verdicts import fleet_states, get_case, give_verdict
from pipeline.extraction.baseline import update_baselines
from pipeline.extraction.reading import read_chunk
from pipeline.labels.labels import known_labels
from pipeline.promotion.promotion import retrain
from pipeline.registry.registry import load_model, promote
from pipeline.registry.versions import champions, list_versions
from pipeline.scoring import score as scoring
from pipeline.scoring.advise import advise
from pipeline.scoring.score import plan_score, refresh_marks, score_due, score_scope
from pipeline.scoring.silence import silent_axes
from pipeline.store.batches import Between, Stretch
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import (
    AliasEvent,
    Axis,
    AxisState,
    Baseline,
    Case,
    Extraction,
    Label,
    Recording,
    RetrainingDecision,
    Score,
    Scoring,
    Unit,
)
from pipeline.training.train import train_scopes
from pipeline.training.training_set import build_training_set

Tables = dict[str, list[dict[str, Any]]]
SCOPE = "acceleration"
SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""

STATISTICS = (*scoring.STATISTICS, "class_probabilities", "quality")


@dataclass
class Plant:
    """A store with features of the small fleet, its lake and its settings."""

    store: Store
    lake: Lake
    settings: Settings
    end: datetime

    def train(self, **changes: Any) -> str:
        settings = self.settings.model_copy(update=changes)
        return train_scopes(self.store, self.lake, settings, as_of=self.end)[0].model_version

    def score(self, as_of: datetime | None = None) -> scoring.ScoreReport:
        return score_due(self.store, self.lake, self.settings, as_of=as_of or self.end)

    def advise(self, as_of: datetime | None = None) -> Any:
        return advise(self.store, self.settings, as_of=as_of or self.end)

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(query).all())


@pytest.fixture
def plant(extracted_fleet: Any, store: Store, tmp_path: Path) -> Plant:
    """A copy of the extracted fleet in the database of the test (SQLite, then PostgreSQL)."""
    settings = Settings(home=tmp_path, workers=1, epochs=4, folds=2, n_samples=40, synthetic_windows=10)
    return Plant(store, extracted_fleet.copy_to(store, tmp_path), settings, extracted_fleet.end)


def figures_by_window(plant: Plant) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    return {
        (row.recording_id, row.start_sample): tuple(getattr(row, name) for name in STATISTICS)
        for row in plant.rows(sa.select(Score))
    }


def test_every_window_is_scored_once_with_all_that_a_score_holds(plant: Plant) -> None:
    version = plant.train()
    report = plant.score()
    windows = plant.rows(sa.select(sa.func.sum(Extraction.n_windows)))[0][0]
    rows = plant.rows(sa.select(Score))
    assert report.windows == len(rows) == windows > 150
    good = [row for row in rows if row.quality == "ok"]
    assert {row.model_version for row in rows} == {version}
    for row in good:
        assert 0 <= row.fault_q05 <= row.fault_q95 <= 1
        assert row.fault_probability == pytest.approx(1 - row.class_probabilities["healthy"], abs=1e-6)
        assert sum(row.class_probabilities.values()) == pytest.approx(1, abs=1e-6)
        assert row.predictive_entropy == pytest.approx(row.expected_entropy + row.mutual_information, abs=1e-6)
        assert 0 <= row.novelty_percentile <= 100
        assert row.monte_carlo_se >= 0
        assert (row.n_mc_samples, row.fault_prior, row.baseline_version) == (40, 0.05, "")
    again = plant.score()
    assert (again.recordings, again.windows) == (0, 0)


@SQLITE
@pytest.mark.parametrize("chunk", [1, 2, 333])
def test_a_score_does_not_depend_on_the_windows_it_is_scored_with(
    plant: Plant, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.train()
    plant.score()
    whole = figures_by_window(plant)
    with plant.store.write() as connection:
        connection.execute(sa.delete(Score))
        connection.execute(sa.delete(Scoring))
        if chunk == 1:  # one window at a time is slow; a part of the fleet will do
            keep = sorted({key[0] for key in whole})[::5]
            connection.execute(sa.update(Extraction).where(Extraction.recording_id.not_in(keep)).values(scope="other"))
    plant.settings = plant.settings.model_copy(update={"score_chunk_windows": chunk})
    plant.score()
    parts = figures_by_window(plant)
    assert len(parts) > 30
    assert all(parts[key] == whole[key] for key in parts)


@SQLITE
def test_a_window_with_a_bad_verdict_has_no_figures_and_says_why(plant: Plant) -> None:
    plant.train()
    path = plant.rows(sa.select(Extraction.lake_path, Extraction.recording_id, Extraction.lake_row))[0]
    table = plant.lake.table(path.lake_path)
    quality = table.column("quality").to_pylist()
    quality[path.lake_row] = "clipping"
    changed = table.set_column(table.schema.get_field_index("quality"), "quality", [quality])
    new_path, _ = plant.lake.put_table("features", changed)
    with plant.store.write() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO lake_files SELECT :new, kind, size_bytes, n_rows, known_at FROM lake_files "
                "WHERE path = :old"
            ),
            {"new": new_path, "old": path.lake_path},
        )
        connection.execute(
            sa.update(Extraction).where(Extraction.recording_id == path.recording_id).values(lake_path=new_path)
        )
    plant.score()
    row = plant.rows(sa.select(Score).where(Score.recording_id == path.recording_id))[0]
    assert row.quality == "clipping"
    assert [getattr(row, name) for name in scoring.STATISTICS] == [None] * len(scoring.STATISTICS)
    assert (row.class_probabilities, row.n_mc_samples, row.fault_prior) == (None, None, None)


@SQLITE
def test_a_score_that_is_not_finite_is_a_data_fault_and_never_certain(plant: Plant) -> None:
    version = plant.train()
    model = load_model(plant.store, plant.lake, version)
    extraction = plant.rows(sa.select(Extraction).where(Extraction.n_windows > 0))[0]
    chunk = read_chunk(plant.lake, [extraction], model.feature_names, {extraction.recording_id: None})
    chunk.x = np.full_like(chunk.x, np.inf)
    rows = scoring.score_rows(model, version, chunk, plant.end)
    assert {row["quality"] for row in rows} == {"non_finite"}
    assert {row["fault_probability"] for row in rows} == {None}


@SQLITE
def test_only_recordings_that_had_begun_by_then_are_scored(plant: Plant) -> None:
    plant.train()
    times = sorted(row.started_at for row in plant.rows(sa.select(Extraction.started_at)))
    middle = times[len(times) // 2]
    report = plant.score(as_of=middle)
    assert report.recordings == sum(time <= middle for time in times) < len(times)
    assert max(row.started_at for row in plant.rows(sa.select(Score.started_at))) <= middle


@SQLITE
def test_each_recording_is_compared_with_the_baseline_of_its_own_unit(plant: Plant) -> None:
    """All of them are scored in one chunk."""
    settings = plant.settings.model_copy(update={"baseline_days": 2.0})
    update_baselines(plant.store, plant.lake, settings, as_of=plant.end)
    plant.train()
    plant.score()
    columns = (Baseline.baseline_version, Baseline.axis_id, Baseline.unit_serial, Baseline.channel)
    owners = {row[0]: tuple(row[1:]) for row in plant.rows(sa.select(*columns))}
    scores = plant.rows(sa.select(Score).where(Score.baseline_version != ""))
    assert len({row.axis_id for row in scores}) > 2
    for row in scores:
        assert owners[row.baseline_version] == (row.axis_id, row.unit_serial, row.channel)


def test_promotion_changes_what_scores_next_and_keeps_the_history(plant: Plant) -> None:
    first = plant.train()
    second = plant.train(seed=2)
    assert first != second
    assert plant.train() == first, "the same data, settings and seed give the same version"
    plant.score()
    told = promote(plant.store, plant.lake, second, who="jo", reason="better on R02", at=plant.end)
    assert (told["previous"], told["changed"]) == (first, True)
    report = plant.score()
    assert report.models == {"acceleration": second}
    assert {row.model_version for row in plant.rows(sa.select(Score.model_version))} == {first, second}
    events = plant.rows(sa.select(AliasEvent).order_by(AliasEvent.sequence))
    assert [(e.model_version, e.previous_version, e.who) for e in events] == [
        (first, None, "axiswatch"),
        (second, first, "jo"),
    ]
    assert promote(plant.store, plant.lake, second, who="jo", reason="again", at=plant.end)["changed"] is False
    assert [row["aliases"] for row in list_versions(plant.store) if row["model_version"] == second] == [["champion"]]


def scored_by(plant: Plant, version: str) -> set[str]:
    return {row[0] for row in plant.rows(sa.select(Scoring.recording_id).where(Scoring.model_version == version))}


def started(plant: Plant, *when: sa.ColumnElement[bool]) -> set[str]:
    return {row[0] for row in plant.rows(sa.select(Extraction.recording_id).where(*when))}


def test_after_a_promotion_the_newest_days_cases_and_what_nobody_scored_are_due(plant: Plant) -> None:
    first, second = plant.train(), plant.train(seed=2)
    plant.settings = plant.settings.model_copy(update={"rescore_days": 1.0})
    half, recent = plant.end - timedelta(days=3), Extraction.started_at >= plant.end - timedelta(days=1)
    plant.score(half)
    promote(plant.store, plant.lake, second, who="jo", reason="better", at=plant.end)
    plant.score()
    assert scored_by(plant, second) == started(plant, Extraction.started_at > half), "nobody had scored these"
    old = plant.rows(sa.select(Extraction).where(Extraction.started_at < half).order_by(Extraction.started_at))[5]
    case = {"axis_id": old.axis_id, "family": "machine", "first_at": old.started_at, "last_at": old.started_at}
    case |= {"case_id": "c", "n_bins": 1, "priority": 0.5, "reasons": [], "known_at": half, "changed_at": half}
    with plant.store.write() as connection:
        connection.execute(sa.insert(Case), {**case, "state": "open"})
    third = plant.train(seed=3)
    promote(plant.store, plant.lake, third, who="jo", reason="better still", at=plant.end)
    plant.score()
    in_case = started(plant, Extraction.axis_id == old.axis_id, Extraction.started_at == old.started_at)
    assert scored_by(plant, third) == started(plant, recent) | in_case
    promote(plant.store, plant.lake, first, who="jo", reason="back", at=plant.end)
    plant.score()
    both = started(plant, Extraction.started_at <= half) | started(plant, recent)
    assert scored_by(plant, first) == both
    batches, _, _ = plan_score(plant.store, SCOPE, first, as_of=plant.end, between=Between(half), size=10**9, most=9)
    for batch in batches:
        report, within = scoring.ScoreReport(), Stretch.from_dict(batch)
        how: dict[str, Any] = {"as_of": plant.end, "report": report, "within": within, "search": True}
        score_scope(plant.store, plant.lake, plant.settings, SCOPE, first, **how)
    assert scored_by(plant, first) == started(plant), "the rest on request"


@SQLITE
def test_marks_of_another_champion_are_left_to_it(plant: Plant) -> None:
    first, second = plant.train(), plant.train(seed=2)
    promote(plant.store, plant.lake, second, who="jo", reason="better", at=plant.end)
    refresh_marks(plant.store, plant.settings, plant.end)
    batch: dict[str, Any] = {"as_of": plant.end, "report": scoring.ScoreReport()}
    score_scope(plant.store, plant.lake, plant.settings, SCOPE, first, **batch)  # of a plan made before the promotion
    assert scored_by(plant, first) == set()
    plant.score()
    assert scored_by(plant, second) == started(plant)


def test_going_back_to_an_earlier_version_brings_its_axis_states_back(
    plant: Plant, dump: Callable[[Store], Tables]
) -> None:
    first, second = plant.train(), plant.train(seed=2)
    plant.score()
    plant.advise()
    before = dump(plant.store)["axis_states"]
    for version in (second, first):
        promote(plant.store, plant.lake, version, who="jo", reason="try", at=plant.end)
        plant.score()
        plant.advise()
        states = dump(plant.store)["axis_states"]
        assert {name for row in states for name in row["model_versions"]} == {version}
    assert states == before


@SQLITE
def test_a_champion_that_the_settings_have_left_behind_is_named(plant: Plant) -> None:
    plant.train()
    assert plant.score().scopes_to_retrain == []
    plant.settings = plant.settings.model_copy(update={"window_turns": 20.0})
    assert plant.score().scopes_to_retrain == ["acceleration"]


@SQLITE
def test_a_damaged_artifact_is_refused_and_the_champion_stays(plant: Plant) -> None:
    first, second = plant.train(), plant.train(seed=3)
    weights = Path(plant.lake.root) / "models" / second / "weights.safetensors"
    kept = weights.read_bytes()
    try:
        weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(AxiswatchError, match=second):
            promote(plant.store, plant.lake, second, who="jo", reason="new", at=plant.end)
    finally:
        weights.write_bytes(kept)
    with plant.store.read() as connection:
        assert champions(connection) == {"acceleration": first}
    with pytest.raises(PrerequisiteMissing, match="no model version"):
        promote(plant.store, plant.lake, "0" * 16, who="jo", reason="?", at=plant.end)


@SQLITE
def test_training_uses_what_was_known_then_and_never_a_sensor_finding(plant: Plant) -> None:
    with plant.store.read() as connection:
        labels = known_labels(connection, known_by=plant.end)
        late = max(label.known_at for label in labels)
        now = build_training_set(connection, plant.lake, plant.settings, "acceleration", as_of=late)
        before = late - timedelta(seconds=1)
        earlier = build_training_set(connection, plant.lake, plant.settings, "acceleration", as_of=before)
    assert now.labels == earlier.labels + sum(label.known_at == late for label in labels)
    assert len(now.x) > len(earlier.x)
    with plant.store.write() as connection:
        one = labels[0]
        fields = {column.name: getattr(row, column.name) for row in connection.execute(
            sa.select(Label).where(Label.label_id == one.label_id)) for column in Label.__table__.columns}  # fmt: skip
        sensor = {**fields, "label_id": "s" * 16, "verdict": "sensor_or_data", "mode": None, "evidence": "teardown"}
        connection.execute(sa.insert(Label), sensor)
    with plant.store.read() as connection:
        after = build_training_set(connection, plant.lake, plant.settings, "acceleration", as_of=plant.end)
    assert after.left_out["sensor_or_data"] > 0
    assert len(after.x) < len(now.x)
    assert after.data_hash != now.data_hash


def test_a_replacement_that_is_registered_late_parts_the_training_set(plant: Plant) -> None:
    """The features are those that were extracted under the old unit's name; the split goes by the registry of today."""
    label = plant.rows(sa.select(Label).where(Label.verdict == "healthy").order_by(Label.label_id))[0]
    axis = label.axis_id or plant.rows(sa.select(Unit.axis_id).where(Unit.unit_serial == label.unit_serial))[0][0]
    within = (Recording.started_at >= label.from_at, Recording.started_at < label.to_at)
    query = sa.select(Recording.started_at).where(Recording.axis_id == axis, *within).distinct()
    times = sorted(row.started_at for row in plant.rows(query))
    with plant.store.write() as connection:
        connection.execute(sa.update(Recording).where(Recording.axis_id == axis).values(unit_serial=None))
        connection.execute(
            sa.update(Label).where(Label.label_id == label.label_id).values(unit_serial=None, axis_id=axis)
        )

    def built() -> Any:
        with plant.store.read() as connection:
            late = plant.end + timedelta(days=30)
            return build_training_set(connection, plant.lake, plant.settings, "acceleration", as_of=late)

    before = built()
    place = plant.rows(sa.select(Axis).where(Axis.axis_id == axis))[0]
    at = times[len(times) // 2]
    told = {"new_serial": "NEW", "at": at, "as_of": plant.end, "who": "jo"}
    replace_unit(plant.store, place.robot_id, place.axis, **told)
    after = built()
    assert len(after.x) == len(before.x)
    assert "NEW" not in before.unit
    assert sum(after.unit == "NEW") > 0
    assert sum(after.unit != before.unit) == sum(after.unit == "NEW")
    assert after.data_hash != before.data_hash


@SQLITE
def test_without_labels_training_says_what_is_missing(plant: Plant) -> None:
    with plant.store.write() as connection:
        connection.execute(sa.delete(Label))
    with pytest.raises(PrerequisiteMissing, match="labels import"):
        plant.train()


def test_advise_in_one_go_or_recording_by_recording_ends_the_same(
    plant: Plant, dump: Callable[[Store], Tables], forget_cases: Callable[[Store], None]
) -> None:
    plant.train()
    plant.score()
    plant.advise()
    once = dump(plant.store)
    assert once["cases"], "the fleet has faults; something must be in the queue"
    forget_cases(plant.store)
    with plant.store.write() as connection:
        connection.execute(sa.update(Scoring).values(advised=True))
    times = sorted({row.started_at for row in plant.rows(sa.select(Scoring.started_at))})
    for first in range(0, len(times), 25):
        with plant.store.write() as connection:
            part = times[first : first + 25]
            connection.execute(sa.update(Scoring).where(Scoring.started_at.in_(part)).values(advised=False))
        plant.advise()
    bit_by_bit = dump(plant.store)
    assert bit_by_bit["axis_states"] == once["axis_states"]
    assert bit_by_bit["cases"] == once["cases"]


def test_advise_again_changes_nothing(plant: Plant, dump: Callable[[Store], Tables]) -> None:
    plant.train()
    plant.score()
    plant.advise()
    before = dump(plant.store)
    report = plant.advise(plant.end + timedelta(minutes=1))
    assert (report.axes, report.opened) == (0, 0)
    assert dump(plant.store) == before


def test_a_verdict_becomes_a_label_and_closes_the_case_unless_unsure(plant: Plant) -> None:
    plant.train()
    plant.score()
    plant.advise()
    case = queue(plant.store, as_of=plant.end)[0]
    at = plant.end + timedelta(hours=1)

    def tell(**finding: str) -> dict[str, Any]:
        return give_verdict(plant.store, case["case_id"], finding, who="jo", at=at, period_hours=1.0)

    assert tell(verdict="unsure", evidence="signal_only")["state"] == "open"
    with pytest.raises(AxiswatchError, match="mode"):
        tell(verdict="healthy", evidence="inspected", mode="ball")
    with pytest.raises(AxiswatchError, match="does not touch"):
        tell(verdict="fault", evidence="inspected", from_at="2025-01-01T00:00:00Z", to_at="2025-02-01T00:00:00Z")
    assert tell(verdict="fault", evidence="teardown", mode="ball", component="bearing")["state"] == "closed"
    told = get_case(plant.store, case["case_id"])
    assert [event["action"] for event in told["events"]] == ["opened", "verdict", "verdict", "closed"]
    assert case["case_id"] not in {other["case_id"] for other in queue(plant.store, as_of=plant.end)}
    with plant.store.read() as connection:
        ours = [label for label in known_labels(connection, known_by=at) if label.known_at == at]
    assert sorted(str(label.verdict) for label in ours) == ["fault", "unsure"]
    assert all(label.from_at == case["first_at"] and label.to_at > case["last_at"] for label in ours)
    assert plant.advise(at).reopened == 0
    with pytest.raises(PrerequisiteMissing, match="axiswatch queue"):
        give_verdict(plant.store, "nothing", {}, who="jo", at=at, period_hours=1.0)


def test_an_axis_falls_silent_and_its_case_is_closed_when_recordings_arrive_again(plant: Plant) -> None:
    plant.train()
    plant.score()
    plant.advise()
    later = plant.end + timedelta(days=5)
    report = plant.advise(later)
    assert report.silent == len(fleet_states(plant.store, at=later)) == 12
    told = [
        case
        for case in queue(plant.store, as_of=plant.end)
        if "silent" in [reason["code"] for reason in case["reasons"]]
    ]
    assert len({case["axis_id"] for case in told}) == len(told) == 12
    assert plant.advise(later + timedelta(days=1)).opened == 0, "the same silence is one case"
    moved = next(case["axis_id"] for case in told if len(case["reasons"]) == 1)
    with plant.store.write() as connection:
        # a recording of this axis arrives after the silence: one of its own, with a later time
        one = connection.execute(
            sa.select(Score).where(Score.axis_id == moved).order_by(Score.started_at.desc()).limit(1)
        ).one()
        connection.execute(sa.text("UPDATE recordings SET started_at = :at WHERE recording_id = :id").bindparams(
            sa.bindparam("at", later, type_=Score.started_at.type)), {"id": one.recording_id})  # fmt: skip
        for table in (Extraction, Scoring):
            changed = sa.update(table).where(table.recording_id == one.recording_id)
            connection.execute(changed.values(started_at=later))
        connection.execute(sa.delete(Score).where(Score.recording_id == one.recording_id))
        connection.execute(sa.delete(Scoring).where(Scoring.recording_id == one.recording_id))
    plant.score(later)
    report = plant.advise(later)
    assert report.closed == 1
    assert moved not in {case["axis_id"] for case in queue(plant.store, as_of=plant.end) if case["family"] == "data"}


@SQLITE
def test_an_archive_and_a_retired_axis_are_not_silent(plant: Plant) -> None:
    much_later = plant.end + timedelta(days=30)
    with plant.store.read() as connection:
        everything = silent_axes(connection, plant.settings, much_later)
    with plant.store.write() as connection:
        connection.execute(sa.text("UPDATE recordings SET time_basis = 'synthetic'"))
    with plant.store.read() as connection:
        assert everything
        assert silent_axes(connection, plant.settings, much_later) == {}


def test_a_backlog_over_the_turn_of_the_year_finds_its_partitions(plant: Plant) -> None:
    plant.train()
    with plant.store.write() as connection:
        ids = connection.scalars(sa.select(Extraction.recording_id).order_by(Extraction.recording_id)).all()
        for recording, month in zip(ids[:3], (11, 12, 1), strict=True):
            at = datetime(2025 if month > 6 else 2026, month, 1, tzinfo=UTC)
            connection.execute(sa.update(Extraction).where(Extraction.recording_id == recording).values(started_at=at))
    plant.score()
    found = plant.rows(sa.select(Score.started_at).where(Score.recording_id.in_(ids[:3])))
    assert len({row.started_at.month for row in found}) == 3


def test_bins_start_at_whole_periods() -> None:
    moment = datetime(2026, 1, 5, 13, 59, 59, tzinfo=UTC)
    assert bin_start(moment, timedelta(hours=8)) == datetime(2026, 1, 5, 8, tzinfo=UTC)


def test_what_is_stored_in_a_case_can_be_written_as_json(plant: Plant) -> None:
    plant.train()
    plant.score()
    plant.advise()
    for row in plant.rows(sa.select(Case.reasons)):
        assert json.loads(json.dumps(row.reasons)) == row.reasons


@SQLITE
def test_what_was_flagged_long_ago_opens_no_case_and_is_counted(plant: Plant) -> None:
    plant.train()
    plant.score()
    later = plant.end + timedelta(days=400)
    report = advise(plant.store, plant.settings, as_of=later, cases_since=later - timedelta(days=366))
    assert (report.opened, plant.rows(sa.select(Case))) == (0, [])
    assert report.too_old > 0
    assert plant.rows(sa.select(AxisState)), "the states are there all the same"


def test_a_retraining_that_was_killed_before_its_decision_is_done_again_as_before(plant: Plant) -> None:
    def killed_and_done_again(settings: Settings, as_of: datetime) -> dict[str, Any]:
        found = []
        for _ in range(2):
            with plant.store.write() as connection:
                connection.execute(sa.delete(RetrainingDecision).where(RetrainingDecision.decided_at == as_of))
            found.append(retrain(plant.store, plant.lake, settings, "acceleration", as_of=as_of, trigger="by hand"))
        assert found[0] == found[1]
        return found[0]

    settings = plant.settings.model_copy(update={"gate_risk": 1.0, "retrain_min_findings": 0})
    first = killed_and_done_again(settings, plant.end)
    assert (first["outcome"], first["champion"]) == ("first", None)
    same = killed_and_done_again(settings, plant.end + timedelta(days=1))
    assert (same["outcome"], same["champion"]) == ("unchanged", first["candidate"])
    other = killed_and_done_again(settings.model_copy(update={"seed": 9}), plant.end + timedelta(days=2))
    assert (other["outcome"], other["champion"]) == ("promoted", first["candidate"])
    assert other["figures"]["now"]["units"] > 0
    with plant.store.read() as connection:
        assert champions(connection)["acceleration"] == other["candidate"]
    assert len(plant.rows(sa.select(AliasEvent).where(AliasEvent.alias == "champion"))) == 2


def test_audits_are_drawn_from_what_nothing_is_flagged_in_and_once(plant: Plant) -> None:
    plant.train()
    plant.score()
    settings = plant.settings.model_copy(update={"audit_rate": 0.3})
    report = advise(plant.store, settings, as_of=plant.end)
    sure = plant.rows(sa.select(AxisState).where(AxisState.state.in_(("healthy", "watch")), AxisState.n_windows > 0))
    drawn = {
        (row.axis_id, row.last_at)
        for row in sure
        if not row.flags and is_drawn(row.axis_id, row.bin_at, rate=0.3, seed=settings.audit_seed)
    }
    audits = plant.rows(sa.select(Case).where(Case.family == "audit"))
    assert {(row.axis_id, row.last_at) for row in audits} == drawn
    assert report.audits == len(audits) == len(drawn) > 0
    assert {row.selection_probability for row in audits} == {0.3}
    others = plant.rows(sa.select(Case).where(Case.family != "audit"))
    assert {row.selection_probability for row in others} <= {None}
    with plant.store.write() as connection:
        connection.execute(sa.update(Scoring).values(advised=False))
    assert advise(plant.store, settings, as_of=plant.end + timedelta(hours=1)).audits == 0
    assert len(plant.rows(sa.select(Case).where(Case.family == "audit"))) == len(audits)


@SQLITE
@pytest.mark.parametrize("method", ["moments", "swag"])
def test_another_scoring_method_by_the_same_steps(plant: Plant, method: str) -> None:
    settings = plant.settings.model_copy(update={"method": method, "swag_samples": 4, "swag_epochs": 3, "swag_rank": 2})
    (trained,) = train_scopes(plant.store, plant.lake, settings, as_of=plant.end)
    promote(plant.store, plant.lake, trained.model_version, who="test", reason="another method", at=plant.end)
    score_due(plant.store, plant.lake, settings, as_of=plant.end)
    advise(plant.store, settings, as_of=plant.end)
    rows = [row for row in plant.rows(sa.select(Score)) if row.model_version == trained.model_version]
    said = [row for row in rows if row.fault_probability is not None]
    assert len(said) > 0
    assert all(row.predictive_entropy is not None for row in said)
    for name in ("mutual_information", "expected_entropy", "fault_std", "fault_q05", "fault_q95", "monte_carlo_se"):
        assert all((getattr(row, name) is None) == (method == "moments") for row in said), name
    assert {row.n_mc_samples for row in said} == {None if method == "moments" else 4}, "not the masks of the bank"
    assert plant.rows(sa.select(AxisState)), "advise does without what the method does not define"
