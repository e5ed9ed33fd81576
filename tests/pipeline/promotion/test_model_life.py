"""A model's life on a real database: lineage, promotion, rollback, damage, kills, two at once, a person's word."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.base.settings import Settings
from pipeline.extraction.in_force import feature_versions
from pipeline.promotion import promotion
from pipeline.promotion.gate import Ruling
from pipeline.promotion.judge import read_pair, rule
from pipeline.promotion.promotion import approve, refuse, retrain
from pipeline.registry.held_out import read_predictions
from pipeline.registry.registry import load_model, promote, rollback
from pipeline.registry.versions import champion_stack, champions, compare_versions, get_version, history, show_version
from pipeline.scoring.score import score_due
from pipeline.store.database import Store
from pipeline.store.lake import Lake, LakeError
from pipeline.store.retention import sweep_lake
from pipeline.store.tables import AliasEvent, Label, LakeFile, ModelVersion, RetrainingDecision, Score, Scoring
from pipeline.training.train import train_scopes

SCOPE = "acceleration"
SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""

LENIENT = {
    "gate_risk": 1.0,
    "gate_min_units": 2,
    "gate_refits": 2,
    "retrain_min_findings": 0,
    "gate_doubt_probability": 1e-9,
}
"""Settings with which every finite challenger passes: for what is not about the gate."""


@dataclass
class Plant:
    """A store with features and labels of the small fleet, its lake and its settings."""

    store: Store
    lake: Lake
    settings: Settings
    end: datetime

    def train(self, **changes: Any) -> str:
        settings = self.settings.model_copy(update=changes)
        return train_scopes(self.store, self.lake, settings, as_of=self.end)[0].model_version

    def retrain(self, day: int = 0, **changes: Any) -> dict[str, Any]:
        settings = self.settings.model_copy(update=LENIENT | changes)
        as_of = self.end + timedelta(days=day)
        return retrain(self.store, self.lake, settings, SCOPE, as_of=as_of, trigger="test")

    def promote(self, version: str, **more: Any) -> dict[str, Any]:
        return promote(self.store, self.lake, version, **{"who": "jo", "reason": "try", "at": self.end, **more})

    def rollback(self, **more: Any) -> dict[str, Any]:
        told = {"who": "jo", "reason": "worse", "at": self.end, **more}
        return rollback(self.store, self.lake, SCOPE, **told)

    def champion(self) -> str | None:
        with self.store.read() as connection:
            return champions(connection).get(SCOPE)

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(query).all())

    def whole(self) -> None:
        """The history can be played through: no gap, and every event follows from the one before."""
        events = [event for event in history(self.store, scope=SCOPE) if event["alias"] == "champion"]
        events.sort(key=lambda event: event["sequence"])
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
        for before, after in pairwise(events):
            assert after["previous_version"] == before["model_version"]
        assert (events[-1]["model_version"] if events else None) == self.champion()


@pytest.fixture
def plant(extracted_fleet: Any, store: Store, tmp_path: Path) -> Plant:
    """A copy of the extracted fleet in the database of the test (SQLite, then PostgreSQL)."""
    home = tmp_path / "own"
    settings = Settings(home=home, workers=1, epochs=4, folds=2, n_samples=20, synthetic_windows=10, hidden=(16,))
    return Plant(store, extracted_fleet.copy_to(store, home), settings, extracted_fleet.end)


# ------------------------------------------------------------------------------------------- lineage and held out


@SQLITE
def test_a_version_tells_where_it_comes_from(plant: Plant) -> None:
    version = plant.train(seed=7)
    found = show_version(plant.store, version)
    assert len(found["lineage"]["code"]["source"]) == 16
    assert found["lineage"]["code"]["torch"].startswith("2.")
    assert found["lineage"]["seeds"] == {"training": 7}
    assert found["lineage"]["labels_known"] == len(plant.rows(sa.select(Label).where(Label.known_at <= plant.end)))
    assert (found["lineage"]["trained_beside"], found["label_cutoff"]) == (None, plant.end)
    assert [(event["action"], event["who"]) for event in found["history"]] == [("first", "axiswatch")]
    second = plant.train(seed=8)
    assert get_version(plant.store, second)["lineage"]["trained_beside"] == version
    told = compare_versions(plant.store, second, version)
    assert told["settings"]["seed"] == [8, 7]
    assert set(told["overall"]) >= {"nll", "macro_auroc"}


@SQLITE
def test_what_was_said_of_held_out_recordings_is_kept_and_gives_the_report(plant: Plant) -> None:
    row = get_version(plant.store, plant.train())
    said = read_predictions(plant.lake, row)
    assert said is not None
    assert np.allclose(said.p.sum(axis=1), 1, atol=1e-5)
    assert said.windows.sum() == row["n_windows"]
    for unit in row["metrics"]["units"]:
        own = said.unit == unit["unit"]
        if len({other["class_name"] for other in row["metrics"]["units"] if other["unit"] == unit["unit"]}) > 1:
            continue
        nll = -(said.log_p[own, said.classes.index(unit["class_name"])] * said.windows[own]).sum()
        assert nll / said.windows[own].sum() == pytest.approx(unit["nll"], rel=1e-3)
    path = row["held_out_path"]
    assert plant.rows(sa.select(LakeFile.path).where(LakeFile.path == path))
    sweep_lake(plant.store, plant.lake, older_than=plant.end + timedelta(days=36500))
    assert read_predictions(plant.lake, row) is not None, "a file that a row commits is not swept"


@SQLITE
def test_the_champion_is_asked_only_about_units_it_did_not_know(plant: Plant) -> None:
    """Kept predictions where it was judged out of fold; its own scores for units that are new since."""
    labels = plant.rows(sa.select(Label).order_by(Label.known_at))
    late = {row.label_id for row in labels[-2:]}
    with plant.store.write() as connection:
        connection.execute(
            sa.update(Label).where(Label.label_id.in_(late)).values(known_at=plant.end + timedelta(days=1))
        )
    old = plant.train()
    new = train_scopes(plant.store, plant.lake, plant.settings, as_of=plant.end + timedelta(days=2))[0].model_version
    rows = [get_version(plant.store, name) for name in (new, old)]
    pair = read_pair(plant.store, plant.lake, plant.settings, *rows, as_of=plant.end + timedelta(days=2))
    kept = read_predictions(plant.lake, rows[1])
    assert pair.said is not None and pair.champion_said is not None and kept is not None
    known = {unit for fold in rows[1]["metrics"]["folds"] for unit in fold["test_units"]}
    strangers = set(pair.said.unit.tolist()) - known
    assert strangers
    added = pair.champion_said.recording[len(kept.recording) :]
    assert set(pair.champion_said.unit[len(kept.recording) :].tolist()) == strangers
    assert len(added) == int(np.isin(pair.said.unit, list(strangers)).sum())
    assert {item.unit for item in pair.recordings if item.is_new} == strangers


# ------------------------------------------------------------------------------------------------------ rollback


def test_rollback_is_one_step_and_changes_what_scores_next(plant: Plant) -> None:
    first, second = plant.train(), plant.train(seed=2)
    half = plant.end - timedelta(days=3)
    plant.promote(second)
    assert score_due(plant.store, plant.lake, plant.settings, as_of=half).models == {SCOPE: second}
    assert plant.rollback() == {"scope": SCOPE, "champion": first, "previous": second, "changed": True}
    assert score_due(plant.store, plant.lake, plant.settings, as_of=plant.end).models == {SCOPE: first}
    after = plant.rows(sa.select(Score.model_version).where(Score.started_at > half).distinct())
    assert [row.model_version for row in after] == [first], "what came after the rollback was scored by the first"
    event = plant.rows(sa.select(AliasEvent).order_by(AliasEvent.sequence))[-1]
    assert (event.action, event.model_version, event.previous_version, event.who) == (
        "rolled_back",
        first,
        second,
        "jo",
    )
    with pytest.raises(PrerequisiteMissing, match=f"champion {first} of {SCOPE} has no predecessor"):
        plant.rollback()
    plant.whole()


@SQLITE
def test_a_second_rollback_goes_one_further_back(plant: Plant) -> None:
    versions = [plant.train(seed=seed) for seed in (1, 2, 3)]
    for version in versions[1:]:
        plant.promote(version)
    assert [plant.rollback()["champion"] for _ in range(2)] == [versions[1], versions[0]]
    assert champion_stack([("first", "a"), ("promoted", "b"), ("rolled_back", "a"), ("promoted", "c")]) == ["a", "c"]


@SQLITE
def test_what_cannot_be_rolled_back_or_promoted_is_told(plant: Plant) -> None:
    with pytest.raises(PrerequisiteMissing, match="scope nowhere has no champion"):
        rollback(plant.store, plant.lake, "nowhere", who="jo", reason="?", at=plant.end)
    first, second = plant.train(), plant.train(seed=2)
    with pytest.raises(PrerequisiteMissing, match="there is no model version 0000"):
        plant.promote("0" * 16)
    with pytest.raises(AxiswatchError, match=f"{second} is of scope {SCOPE}, not of current"):
        plant.promote(second, scope="current")
    others = feature_versions(plant.settings.model_copy(update={"window_turns": 20.0}))
    with pytest.raises(AxiswatchError, match="was trained on feature version"):
        plant.promote(second, feature_versions=others)
    assert plant.champion() == first
    plant.promote(second)
    with pytest.raises(AxiswatchError, match="was trained on feature version"):
        plant.rollback(feature_versions=others)
    assert plant.champion() == second


# -------------------------------------------------------------------------------------------------------- damage


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def grow(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(40 << 30)  # sparse: whoever reads it before looking at its size runs out of memory


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "flipped byte of the weights": (lambda folder: flip(folder / "weights.safetensors"), "cannot be used"),
    "flipped byte of the manifest": (lambda folder: flip(folder / "manifest.json"), "cannot be used"),
    "missing file": (lambda folder: (folder / "scaler.safetensors").unlink(), "is not in the lake"),
    "huge file": (lambda folder: grow(folder / "novelty.safetensors"), "has 42949672960 bytes"),
    "cut file": (lambda folder: os.truncate(folder / "masks.safetensors", 10), "cannot be used"),
}


@SQLITE
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_artifact_is_refused_and_the_champion_unharmed(plant: Plant, name: str) -> None:
    damage, told = DAMAGES[name]
    first, second = plant.train(), plant.train(seed=3)
    damage(Path(plant.lake.root) / "models" / second)
    with pytest.raises((AxiswatchError, LakeError), match=told):
        plant.promote(second)
    assert plant.champion() == first
    assert load_model(plant.store, plant.lake, first).classes
    assert plant.train(seed=3) == second, "training again heals it"
    if name != "huge file":
        assert plant.promote(second)["champion"] == second


@SQLITE
@pytest.mark.parametrize("files", [["../../etc/passwd"], ["/etc/passwd"], ["manifest.json", ".hidden"], ["a"] * 65])
def test_hostile_names_are_refused(plant: Plant, files: list[str]) -> None:
    first, second = plant.train(), plant.train(seed=3)
    settings = get_version(plant.store, second)["settings"] | {"files": files}
    with plant.store.write() as connection:
        connection.execute(
            sa.update(ModelVersion).where(ModelVersion.model_version == second).values(settings=settings)
        )
    with pytest.raises(AxiswatchError, match=r"not allowed|at most 64"):
        plant.promote(second)
    assert plant.champion() == first


@SQLITE
def test_another_models_files_under_its_name_are_refused(plant: Plant) -> None:
    first, second = plant.train(), plant.train(seed=3)
    folders = [Path(plant.lake.root) / "models" / name for name in (first, second)]
    shutil.rmtree(folders[1])
    shutil.copytree(*folders)
    with pytest.raises(AxiswatchError, match="not the one that was registered"):
        plant.promote(second)


# ---------------------------------------------------------------------------------- crashes, kills, two at once


@SQLITE
def test_a_training_that_gives_nan_leaves_the_champion_and_its_reason(plant: Plant) -> None:
    champion = plant.retrain()["candidate"]
    found = plant.retrain(day=1, learning_rate=1e30, seed=2)
    assert (found["outcome"], found["candidate"]) == ("refused", None)
    assert "The training loss became nan" in found["reason"]
    assert plant.champion() == champion
    assert plant.retrain(day=2, seed=2)["outcome"] == "promoted", "the next run is clean"
    plant.whole()


def test_a_training_that_crashes_is_written_down_and_done_again(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    champion = plant.retrain()["candidate"]

    def crash(*_: Any, **__: Any) -> None:
        raise MemoryError("no more")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.training.train.train", crash)
        with pytest.raises(MemoryError):
            plant.retrain(day=1, seed=2)
    rows = plant.rows(sa.select(RetrainingDecision).where(RetrainingDecision.outcome == "failed"))
    assert [row.reason for row in rows] == ["MemoryError: no more"]
    assert plant.champion() == champion
    assert plant.retrain(day=1, seed=2)["outcome"] == "promoted"
    assert not plant.rows(sa.select(RetrainingDecision).where(RetrainingDecision.outcome == "failed"))


KILLED = """
import json, os, signal, sys
from datetime import datetime
from pipeline.promotion import promotion
from pipeline.registry import versions as alias_history
from pipeline.registry import registry
from pipeline.base.settings import Settings
from pipeline.store.lake import Lake
from pipeline.store.database import Store

told = json.loads(sys.argv[1])

def die(*args, **kw):
    os.kill(os.getpid(), signal.SIGKILL)

if told["where"] == "files":
    put = registry._put_whole
    registry._put_whole = lambda lake, path, data: die() if "scaler" in path else put(lake, path, data)
elif told["where"] == "rows":
    registry.set_alias = die
elif told["where"] == "aliases":
    promotion.set_champion = die
else:
    promotion.write_decision = die
settings = Settings(**told["settings"])
store, lake = Store.open(told["url"]), Lake(told["lake"])
promotion.retrain(store, lake, settings, told["scope"], as_of=datetime.fromisoformat(told["as_of"]), trigger="test")
"""


@pytest.mark.parametrize("where", ["files", "rows", "aliases", "decision"])
def test_a_registry_write_that_is_killed_half_way(plant: Plant, store_url: str, where: str) -> None:
    champion = plant.retrain()["candidate"]
    settings = plant.settings.model_copy(update={**LENIENT, "seed": 2})
    told = {
        "where": where,
        "settings": json.loads(settings.model_dump_json()),
        "url": store_url,
        "lake": plant.lake.root,
        "scope": SCOPE,
        "as_of": (plant.end + timedelta(days=1)).isoformat(),
    }
    before = history(plant.store)
    done = subprocess.run([sys.executable, "-c", KILLED, json.dumps(told)], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert plant.champion() == champion
    assert history(plant.store) == before
    assert len(plant.rows(sa.select(RetrainingDecision))) == 1
    found = plant.retrain(day=1, seed=2)
    assert (found["outcome"], found["champion"]) == ("promoted", champion)
    assert plant.champion() == found["candidate"] != champion
    plant.whole()


def test_many_promotions_at_once_leave_one_champion_and_a_whole_history(plant: Plant, store_url: str) -> None:
    versions = [plant.train(seed=seed) for seed in (1, 2, 3)]
    start = threading.Barrier(6)
    errors: list[Exception] = []

    def work(number: int) -> None:
        own = Store.open(store_url)
        start.wait()
        try:
            for step in range(4):
                told = {"who": f"w{number}", "reason": "race", "at": plant.end}
                promote(own, plant.lake, versions[(number + step) % 3], **told)
        except Exception as error:
            errors.append(error)
            raise
        finally:
            own.dispose()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    plant.whole()


def test_of_two_retrainings_at_once_the_second_sees_what_the_first_did(
    plant: Plant, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are judged against the same champion before either of them promotes."""
    champion = plant.retrain()["candidate"]
    together = threading.Barrier(2)

    def judged_together(*args: Any, **more: Any) -> Ruling:
        found = rule(*args, **more)
        together.wait(timeout=120)
        return found

    monkeypatch.setattr(promotion, "rule", judged_together)
    found: list[dict[str, Any]] = []

    def work(day: int) -> None:
        own = Plant(Store.open(store_url), plant.lake, plant.settings, plant.end)
        found.append(own.retrain(day=day, seed=10 + day))
        own.store.dispose()

    threads = [threading.Thread(target=work, args=(day,)) for day in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["outcome"] for row in found) == ["kept", "promoted"]
    kept, won = sorted(found, key=lambda row: row["outcome"])
    assert f"the champion became {won['candidate']} meanwhile; it was judged against {champion}" in kept["reason"]
    assert plant.champion() == won["candidate"]
    plant.whole()


def test_a_run_that_scores_while_somebody_promotes_names_one_version(plant: Plant, store_url: str) -> None:
    first, second = plant.train(), plant.train(seed=2)
    own = Store.open(store_url)

    def promoting(done: int, total: int) -> None:
        if 0 < done < total:
            promote(own, plant.lake, second, who="jo", reason="meanwhile", at=plant.end)

    settings = plant.settings.model_copy(update={"score_chunk_windows": 30})
    report = score_due(plant.store, plant.lake, settings, as_of=plant.end, on_progress=promoting)
    own.dispose()
    assert plant.champion() == second, "it was promoted in the middle"
    assert report.models == {SCOPE: first}
    assert {row.model_version for row in plant.rows(sa.select(Score.model_version))} == {first}
    assert {row.model_version for row in plant.rows(sa.select(Scoring.model_version))} == {first}
    later = plant.end + timedelta(hours=1)
    assert score_due(plant.store, plant.lake, settings, as_of=later).models == {SCOPE: second}
    by_run = plant.rows(sa.select(Score.known_at, Score.model_version).distinct())
    assert {(row.known_at, row.model_version) for row in by_run} == {(plant.end, first), (later, second)}


@SQLITE
def test_the_past_promotes_nobody(plant: Plant) -> None:
    plant.retrain(day=5)
    found = plant.retrain(day=3, seed=2)
    assert found["outcome"] == "refused"
    assert "the past promotes nobody" in found["reason"]
    again = plant.retrain(day=5)
    assert again["outcome"] == "first", "done again it gives the decision that stands"


# ------------------------------------------------------------------------------------------------ a person's word


def test_with_approval_a_challenger_waits_and_is_approved_once(plant: Plant) -> None:
    champion = plant.retrain()["candidate"]
    found = plant.retrain(day=1, seed=2, promotion_approval=True)
    assert (found["outcome"], plant.champion()) == ("waiting", champion)
    version = found["candidate"]
    assert show_version(plant.store, version)["aliases"] == ["challenger"]
    act = {"who": "mara", "reason": "read the figures", "at": plant.end + timedelta(days=2)}
    told = approve(plant.store, plant.lake, plant.settings, version, **act)
    assert (told["champion"], told["changed"]) == (version, True)
    assert approve(plant.store, plant.lake, plant.settings, version, **act)["changed"] is False
    event = next(e for e in history(plant.store) if e["model_version"] == version and e["alias"] == "champion")
    assert (event["who"], event["reason"]) == ("mara", "approved by mara: read the figures")
    assert event["figures"]["now"]["units"] > 0, "the gate's figures stand in the history"
    assert show_version(plant.store, version)["aliases"] == ["champion"]


@SQLITE
def test_a_challenger_that_was_refused_or_overtaken_cannot_be_approved(plant: Plant) -> None:
    champion = plant.retrain()["candidate"]
    version = plant.retrain(day=1, seed=2, promotion_approval=True)["candidate"]
    act = {"who": "mara", "reason": "wait", "at": plant.end + timedelta(days=2)}
    assert refuse(plant.store, version, **act)["champion"] == champion
    with pytest.raises(PrerequisiteMissing, match="does not wait for approval"):
        approve(plant.store, plant.lake, plant.settings, version, **act)
    with pytest.raises(PrerequisiteMissing, match="does not wait for approval"):
        refuse(plant.store, version, **act)
    other = plant.retrain(day=3, seed=3, promotion_approval=True)["candidate"]
    plant.promote(version, at=plant.end + timedelta(days=4))
    with pytest.raises(PrerequisiteMissing, match=f"does not wait .*kept: .*then {version} became champion"):
        approve(plant.store, plant.lake, plant.settings, other, **act)
    assert plant.champion() == version
    stands = sa.select(RetrainingDecision.outcome).order_by(RetrainingDecision.decided_at)
    assert [row.outcome for row in plant.rows(stands)] == ["first", "refused", "kept"]
    plant.whole()


# ------------------------------------------------------------------------------------------------- gate, settings


@SQLITE
def test_a_case_that_must_not_fail_keeps_the_champion(plant: Plant) -> None:
    champion = plant.retrain()["candidate"]
    label = plant.rows(sa.select(Label).where(Label.verdict == "fault").order_by(Label.label_id))[0]
    sure = {"must_not_fail": (f"label:{label.label_id}", "NO-SUCH-UNIT"), "must_not_fail_probability": 0.999}
    found = plant.retrain(day=1, seed=2, **sure)
    assert found["outcome"] == "kept"
    assert f"label:{label.label_id} must not fail" in found["reason"]
    assert found["figures"]["must_not_fail"]["not_in_scope"] == ["NO-SUCH-UNIT"]
    assert plant.champion() == champion
    easy = sure | {"must_not_fail_probability": 0.001}
    assert plant.retrain(day=2, seed=2, **easy)["outcome"] == "promoted"


@SQLITE
def test_a_model_that_only_knows_healthy_units_gives_way_to_one_that_knows_faults(plant: Plant) -> None:
    faults = sa.update(Label).where(Label.verdict == "fault")
    with plant.store.write() as connection:
        connection.execute(faults.values(known_at=plant.end + timedelta(days=1)))
    first = plant.retrain()
    assert get_version(plant.store, first["candidate"])["kind"] == "baseline_only"
    found = plant.retrain(day=2, epochs=30)
    assert found["figures"]["challenger_kind"] == "classification"
    assert found["outcome"] == (
        "promoted" if found["figures"]["challenger_nll"] < found["figures"]["chance_nll"] else "kept"
    )


@SQLITE
def test_a_challenger_that_forgot_a_class_is_kept_out(plant: Plant) -> None:
    champion = plant.retrain()["candidate"]
    known = get_version(plant.store, champion)["settings"]["classes"]
    gone = known[-1]
    with plant.store.write() as connection:
        connection.execute(sa.delete(Label).where(Label.mode == gone))
    found = plant.retrain(day=1)
    assert (found["outcome"], found["reason"]) == ("kept", f"it no longer knows {gone}, which the champion knows")
