"""After a promotion: what is scored again, beside what was said, and what the labels bought. And the commands."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline import scheduled
from pipeline.base.errors import SettingsError
from pipeline.base.settings import Settings
from pipeline.cases.verdicts import give_verdict
from pipeline.promotion.forecast import forecast
from pipeline.promotion.payback import payback, worth, write_payback
from pipeline.promotion.rescore import plan_rescore, rescore
from pipeline.registry.registry import promote
from pipeline.registry.versions import get_version
from pipeline.scoring.advise import advise
from pipeline.scoring.score import score_due
from pipeline.store.database import Store, partition_name
from pipeline.store.lake import Lake
from pipeline.store.tables import Case, CaseRescore, Label, ModelVersion, Score
from pipeline.training.train import train_scopes

SCOPE = "acceleration"
LENIENT = {
    "gate_risk": 1.0,
    "gate_min_units": 2,
    "retrain_min_findings": 0,
    "gate_refits": 2,
    "gate_doubt_probability": 1e-9,
}
"""Settings with which every finite challenger passes the gate."""

Tables = dict[str, list[dict[str, Any]]]


@dataclass
class Plant:
    store: Store
    lake: Lake
    settings: Settings
    end: datetime

    def train(self, as_of: datetime) -> str:
        return train_scopes(self.store, self.lake, self.settings, as_of=as_of)[0].model_version

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(query).all())


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, extracted_fleet: Any) -> tuple[Path, Settings]:
    """The small fleet up to closed cases: scored by a first champion, two cases answered."""
    home = tmp_path_factory.mktemp("judged")
    settings = Settings(home=home, workers=1, epochs=4, folds=2, n_samples=20, synthetic_windows=10, hidden=(16,))
    store = Store.open(settings.database)
    lake = extracted_fleet.copy_to(store, home)
    plant = Plant(store, lake, settings, extracted_fleet.end)
    plant.train(plant.end)
    score_due(store, lake, settings, as_of=plant.end)
    advise(store, settings, as_of=plant.end)
    at = plant.end + timedelta(hours=1)
    cases = plant.rows(sa.select(Case.case_id).where(Case.family == "machine").order_by(Case.case_id))
    assert len(cases) >= 2
    for row, verdict in zip(cases, ("healthy", "fault"), strict=False):
        told = {"verdict": verdict, "evidence": "inspected", "mode": "inner_race" if verdict == "fault" else ""}
        give_verdict(store, row.case_id, told, who="mara", at=at, period_hours=settings.state_period_hours)
    store.dispose()
    return home, settings


@pytest.fixture
def plant(
    judged: tuple[Path, Settings], store: Store, small_fleet: Any, tmp_path: Path, dump: Callable[[Store], Tables]
) -> Plant:
    """A fresh copy in the database of the test (SQLite, then PostgreSQL), with a lake of its own."""
    home, settings = judged
    source = Store.open(settings.database)
    tables = dump(source)
    source.dispose()
    with store.write() as connection:
        if not store.is_sqlite:
            connection.exec_driver_sql(
                f"CREATE TABLE {partition_name(2026, 1)} PARTITION OF scores "
                "FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00')"
            )
        for table in Score.metadata.sorted_tables:
            if tables[table.name]:
                connection.execute(sa.insert(table), tables[table.name])
    shutil.copytree(home / "lake", tmp_path / "own" / "lake")
    return Plant(store, Lake(str(tmp_path / "own" / "lake")), settings, small_fleet.end)


def test_closed_cases_are_scored_beside_what_was_said(plant: Plant, dump: Callable[[Store], Tables]) -> None:
    later = plant.end + timedelta(days=1)
    second = plant.train(later)
    told = promote(plant.store, plant.lake, second, who="jo", reason="new labels", at=later)
    assert write_payback(plant.store, plant.settings, as_of=later) == 2, "the new champion has scored nothing yet"
    before = dump(plant.store)
    settings = plant.settings.model_copy(update={"rescore_days": 0.0})
    report = rescore(plant.store, plant.lake, settings, SCOPE, second, as_of=later)
    closed = plant.rows(sa.select(Case).where(Case.state == "closed").order_by(Case.case_id))
    assert 0 < report.recordings < len({row["recording_id"] for row in before["scores"]}), "cases only, not the rest"
    assert write_payback(plant.store, settings, as_of=later) == 2
    assert write_payback(plant.store, settings, as_of=later) == 0
    after = dump(plant.store)
    for name in ("cases", "axis_states", "labels", "review_events", "alias_events"):
        assert after[name] == before[name], f"{name} hold what was said"
    assert [row for row in after["scores"] if row["model_version"] == told["previous"]] == before["scores"]
    rows = plant.rows(sa.select(CaseRescore).order_by(CaseRescore.case_id, CaseRescore.model_version))
    assert {(row.case_id, row.model_version) for row in rows} == {
        (case.case_id, version) for case in closed for version in (told["previous"], second)
    }
    found = payback(plant.store)[0]
    assert (found["from"], found["to"], found["who"]) == (told["previous"], second, "jo")
    assert found["batch"] == {"labels": 2, "by_verdict": {"fault": 1, "healthy": 1}, "from_cases": 2}
    assert found["decisions"]["cases"] == 2
    states = {(row.case_id, row.model_version): row.state for row in rows}
    changed = [c.case_id for c in closed if states[c.case_id, second] != states[c.case_id, told["previous"]]]
    assert [case["case_id"] for case in found["decisions"]["list"]] == changed
    own = found["uncertainty"]["cases_of_the_batch"]
    mine = [row.mutual_information for row in rows if row.model_version == second]
    assert own["n"] == 2
    assert own["after"] == pytest.approx(sum(mine) / 2)
    assert own["change"] == pytest.approx(own["after"] - own["before"])
    assert own["low"] is None, "of two axes there is no interval"
    assert found["uncertainty"]["held_out_units"]["n"] > 3


def test_the_forecast_judges_the_newest_closed_cases_and_says_which_verdicts_were_learned(plant: Plant) -> None:
    later = plant.end + timedelta(days=1)
    first = plant.rows(sa.select(ModelVersion.model_version))[0][0]
    second = plant.train(later)
    rows = [get_version(plant.store, version) for version in (second, first)]
    closed = plant.rows(sa.select(Case).where(Case.state == "closed").order_by(Case.case_id))
    with plant.store.write() as connection:
        newest = sa.update(Case).where(Case.case_id == closed[1].case_id)
        connection.execute(newest.values(changed_at=plant.end + timedelta(hours=2)))
    label = plant.rows(sa.select(Label).where(Label.case_id == closed[1].case_id))[0]
    rows[0]["lineage"] = {"set_aside": [label.label_id]}
    one = plant.settings.model_copy(update={"payback_cases": 1})
    found = forecast(plant.store, plant.lake, one, *rows, as_of=later)
    assert (found["cases"], found["answered"], found["learned"]) == (1, 1, 0)
    differ = []
    for level in (0.02, 0.05, 0.1, 0.2, 0.4):
        free = {"alarm_probability": level, "review_probability": level, "review_quantile": 100.0}
        free |= {"novelty_percentile": 100.0, "watch_probability": level / 2}
        changed = plant.settings.model_copy(update=free)
        differ += forecast(plant.store, plant.lake, changed, *rows, as_of=later)["list"]
    assert differ, "between two trainings some decision differs at some level"
    assert all(case["worth"] == worth(case["verdict"], case["before"], case["after"]) for case in differ)
    none = plant.settings.model_copy(update={"payback_cases": 0})
    assert forecast(plant.store, plant.lake, none, *rows, as_of=later)["cases"] == 0
    before = plant.end - timedelta(minutes=1)
    assert forecast(plant.store, plant.lake, plant.settings, *rows, as_of=before)["cases"] == 0, "not closed yet"


def test_the_newest_days_and_open_cases_are_scored_first(plant: Plant) -> None:
    later = plant.end + timedelta(days=1)
    second = plant.train(later)
    with plant.store.write() as connection:
        connection.execute(sa.update(Case).values(state="closed", changed_at=plant.end))
    settings = plant.settings.model_copy(update={"rescore_days": 3.0, "payback_days": 0.0})
    batches, recordings, _ = plan_rescore(plant.store, settings, SCOPE, second, as_of=later)
    wanted = sa.select(sa.func.count(Score.recording_id.distinct())).where(
        Score.started_at >= later - timedelta(days=3)
    )
    assert recordings == plant.rows(wanted)[0][0] > 0
    assert batches[0]["first_at"] >= (later - timedelta(days=3)).isoformat()[:10]
    none = settings.model_copy(update={"rescore_days": 0.0})
    assert plan_rescore(plant.store, none, SCOPE, second, as_of=later)[1] == 0
    with plant.store.write() as connection:
        case = connection.execute(sa.select(Case).order_by(Case.case_id)).first()
        assert case is not None
        connection.execute(sa.update(Case).where(Case.case_id == case.case_id).values(state="open"))
    inside = (Score.axis_id == case.axis_id, Score.started_at >= case.first_at, Score.started_at <= case.last_at)
    found = plan_rescore(plant.store, none, SCOPE, second, as_of=later)[1]
    assert found == plant.rows(sa.select(sa.func.count(Score.recording_id.distinct())).where(*inside))[0][0] > 0


@pytest.mark.parametrize(
    ("verdict", "before", "after", "told"),
    [
        ("fault", "healthy", "alarm", "better"),
        ("fault", "alarm", "unknown", "worse"),
        ("fault", "watch", "unknown", "same"),
        ("healthy", "alarm", "unknown", "better"),
        ("benign_change", "healthy", "alarm", "worse"),
        ("sensor_or_data", "alarm", "healthy", "nobody can tell"),
        ("fault", "data_fault", "alarm", "nobody can tell"),
        (None, "alarm", "healthy", "nobody can tell"),
    ],
)
def test_what_a_change_is_worth(verdict: str | None, before: str, after: str, told: str) -> None:
    assert worth(verdict, before, after) == told


def test_the_tasks_of_the_schedule_after_a_promotion(
    plant: Plant, store_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Train, wait for a person, approve in Airflow, score again, payback: the functions that the tasks call."""
    for name, value in plant.settings.model_dump(mode="json").items():
        if name in ("epochs", "folds", "n_samples", "synthetic_windows"):
            monkeypatch.setenv(f"AXISWATCH_{name.upper()}", str(value))
    monkeypatch.setenv("AXISWATCH_HIDDEN", "[16]")
    monkeypatch.setenv("AXISWATCH_DATABASE_URL", store_url)
    monkeypatch.setenv("AXISWATCH_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("AXISWATCH_PROMOTION_APPROVAL", "true")
    for name, value in LENIENT.items():
        monkeypatch.setenv(f"AXISWATCH_{name.upper()}", str(value))
    later = plant.end + timedelta(days=1)
    with pytest.raises(SettingsError, match=r"there is no scope 'accelaration'; the scopes are acceleration, "):
        scheduled.scopes_to_train(later, "labels", ["accelaration"])
    assert scheduled.scopes_to_train(later, "labels", ["velocity"]) == [], "it exists, and has no label"
    assert scheduled.scopes_to_train(later, "labels", [SCOPE]) == [SCOPE]
    decision = scheduled.retrain(SCOPE, later, "labels")
    assert decision["outcome"] == "waiting"
    assert scheduled.plan_rescore([decision], later) == [], "nobody was promoted yet"
    told = scheduled.waiting(later)[0]
    assert decision["candidate"] in told
    assert "of the 2 newest closed cases it would decide" in told, "who approves sees it"
    before = decision["figures"]["payback"]
    assert (before["cases"], before["answered"], before["learned"]) == (2, 2, 2)
    scores = sa.select(sa.func.count()).select_from(Score)
    assert plant.rows(scores.where(Score.model_version == decision["candidate"]))[0][0] == 0, "no score exists yet"
    answer = {
        "responded_by_user": {"id": "7", "name": "mara"},
        "responded_at": (later + timedelta(hours=1)).isoformat(),
        "chosen_options": ["Approve"],
    }
    assert scheduled.answer_waiting(later, answer | {"responded_by_user": None, "chosen_options": ["Reject"]}) == []
    assert scheduled.decisions(later)[0]["outcome"] == "waiting", "nobody has answered"
    assert scheduled.answer_waiting(later, answer)[0]["champion"] == decision["candidate"]
    decision = scheduled.decisions(later)[0]
    assert decision["outcome"] == "promoted"
    assert "approved by mara (Airflow)" in decision["reason"]
    assert scheduled.answer_waiting(later, answer) == [], "answered twice, it changes nothing"
    batches = scheduled.plan_rescore([decision], later)
    done = [scheduled.rescore_batch(batch, later) for batch in batches]
    assert sum(report["windows"] for report in done) > 0
    assert scheduled.write_payback(later) == 4
    found = payback(plant.store)[0]
    assert found["who"] == "mara (Airflow)"
    names = ("cases", "changed", "better", "worse")
    assert {name: found["decisions"][name] for name in names} == {name: before[name] for name in names}
    shown = ("case_id", "verdict", "before", "after", "worth")
    cases = [{name: case[name] for name in shown} for case in found["decisions"]["list"]]
    assert sorted(cases, key=str) == sorted(({name: case[name] for name in shown} for case in before["list"]), key=str)
    decisions = scheduled.scopes_to_train(later, "labels", []), scheduled.retrain(SCOPE, later, "labels")
    assert decisions == ([SCOPE], decision), "done again it gives the decision that stands"


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_the_commands_from_training_to_payback(plant: Plant, cli_at: Callable[[Path], Any], tmp_path: Path) -> None:
    cli = cli_at(tmp_path / "own")
    small = {"epochs": 4, "folds": 2, "n_samples": 20, "synthetic_windows": 10, "hidden": "[16]"}
    small |= {"database_url": str(plant.store.engine.url), **LENIENT}
    later = (plant.end + timedelta(days=1)).isoformat()
    first = cli("models", "list", "--json", **small).json()[0]["model_version"]
    found = cli("retrain", "--as-of", later, "--json", **small).json()[0]
    assert (found["outcome"], found["champion"]) == ("promoted", first)
    second = found["candidate"]
    assert cli("models", "show", second, "--json", **small).json()["aliases"] == ["champion"]
    told = cli("models", "compare", second, first, "--as-of", later, "--json", **small).json()
    assert told["gate"]["passed"] is True
    assert told["gate"]["figures"]["now"]["nll"]["champion"] == found["figures"]["now"]["nll"]["champion"]
    assert told["gate"]["figures"]["payback"]["cases"] == 2
    listed = cli("models", "list", "--json", **small).json()
    assert {row["figures_on"] for row in listed} == {told["overall_on"]}, "both say on what their figures are"
    again = cli("rescore", "--as-of", later, "--json", **small).json()
    assert again["models"] == {SCOPE: second}
    assert (again["windows"] > 0, again["cases_judged"]) == (True, 4)
    assert cli("payback", "--json", **small).json()[0]["decisions"]["cases"] == 2
    assert "labels that it did not have before" in cli("payback", **small).out
    back = cli("models", "rollback", "--reason", "try", "--json", **small).json()
    assert (back["champion"], back["previous"]) == (first, second)
    refused = cli("models", "rollback", "--reason", "try", **small)
    assert (refused.code, "no predecessor" in refused.err) == (3, True)
    actions = [
        row["action"] for row in cli("models", "history", "--json", **small).json() if row["alias"] == "champion"
    ]
    assert actions == ["first", "promoted", "rolled_back"]
    assert cli("models", "approve", second, "--reason", "x", **small).code == 3
    assert cli("models", "refuse", second, "--reason", "x", **small).code == 3
    assert cli("models", "promote", second, "--reason", "x", "--scope", "current", **small).code == 1
    assert cli("models", "show", "nothing", **small).code == 3
