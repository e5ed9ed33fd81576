"""Labels that both models contradict: set aside, asked about by a case each, and put back by an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.base.settings import Settings
from pipeline.cases.verdicts import get_case, give_verdict
from pipeline.labels.labels import CONFIRM, question_id
from pipeline.promotion import noise as noise_room
from pipeline.promotion.judge import contradicted, read_pair
from pipeline.promotion.promotion import compare, retrain
from pipeline.registry.versions import champions, get_version, set_aside_by
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import AliasEvent, Case, Label, LabelWithdrawal, RetrainingDecision, ReviewEvent
from pipeline.training.train import train_scopes

SCOPE = "acceleration"
SURE = 0.999999
"""A probability that no finding reaches: as `gate_doubt_probability`, it makes every new finding contradicted."""

Dump = Callable[[Store], dict[str, list[dict[str, Any]]]]


@dataclass
class Plant:
    """The small fleet with a champion that does not know two of its labels yet."""

    store: Store
    lake: Lake
    settings: Settings
    end: datetime
    late: list[str]

    def retrain(self, day: int, **changes: Any) -> dict[str, Any]:
        told = {"gate_risk": 1.0, "gate_min_units": 2, "gate_refits": 2, "gate_aside_share": 1.0}
        told |= {"retrain_min_findings": 0} | changes
        settings = self.settings.model_copy(update=told)
        as_of = self.end + timedelta(days=day)
        return retrain(self.store, self.lake, settings, SCOPE, as_of=as_of, trigger="test")

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(query).all())

    def champion(self) -> str:
        with self.store.read() as connection:
            return champions(connection)[SCOPE]

    def doubted(self, day: int) -> list[dict[str, Any]]:
        """Return the new findings as the gate of a day sees them, the least probable first."""
        as_of = self.end + timedelta(days=day)
        trained = train_scopes(self.store, self.lake, self.settings, as_of=as_of)[0].model_version
        settings = self.settings.model_copy(update={"gate_doubt_probability": SURE})
        rows = [get_version(self.store, name) for name in (trained, self.champion())]
        found, _ = contradicted(read_pair(self.store, self.lake, settings, *rows, as_of=as_of), settings)
        return [item.as_dict() for item in found]


@pytest.fixture
def plant(extracted_fleet: Any, store: Store, tmp_path: Path) -> Plant:
    home = tmp_path / "own"
    settings = Settings(home=home, workers=1, epochs=4, folds=2, n_samples=20, synthetic_windows=10, hidden=(16,))
    lake = extracted_fleet.copy_to(store, home)
    with store.write() as connection:
        labels = connection.execute(sa.select(Label).order_by(Label.known_at, Label.label_id)).all()
        late = [labels[3].label_id, labels[5].label_id]  # a fault and a healthy one; others of both are left
        moved = (
            sa.update(Label).where(Label.label_id.in_(late)).values(known_at=extracted_fleet.end + timedelta(hours=1))
        )
        connection.execute(moved)
    made = Plant(store, lake, settings, extracted_fleet.end, late)
    assert made.retrain(0)["outcome"] == "first"
    return made


def between(found: list[dict[str, Any]]) -> float:
    """Return a probability that sets the least probable finding aside and keeps the others."""
    highest = [max(one["probability"], one["champion_probability"] or 0.0) for one in found]
    assert highest[0] < highest[1]
    return (highest[0] + highest[1]) / 2


def test_a_contradicted_label_is_set_aside_asked_about_and_the_batch_goes_on(plant: Plant, dump: Dump) -> None:
    found = plant.doubted(1)
    assert {label for one in found for label in one["labels"]} == set(plant.late)
    first = plant.retrain(1, gate_doubt_probability=between(found))
    assert first["outcome"] == "promoted", first["reason"]
    aside = found[0]["labels"]
    assert first["figures"]["set_aside"] == aside
    assert "1 of 2 new findings were set aside, because both models contradict" in first["reason"]
    candidate = get_version(plant.store, first["candidate"])
    assert set_aside_by(candidate) == set(aside)
    assert {unit["unit"] for unit in candidate["metrics"]["units"]} & {found[1]["unit"]}, "the other one was learned"
    assert get_version(plant.store, first["figures"]["with_all_labels"])["lineage"]["set_aside"] == []
    case = get_case(plant.store, question_id(aside[0]))
    assert (case["family"], case["state"], case["known_at"]) == (CONFIRM, "open", plant.end + timedelta(days=1))
    (reason,) = case["reasons"]
    assert (reason["finding"], reason["challenger"]) == (found[0]["finding"], found[0]["probability"])
    assert [event["action"] for event in case["events"]] == ["opened"]
    before = dump(plant.store)
    assert plant.retrain(1, gate_doubt_probability=between(found)) == first
    assert dump(plant.store) == before
    again = plant.doubted(2)
    assert {label for one in again for label in one["labels"]} == set(aside), "it was not learned: it is new again"


def test_a_run_that_was_killed_before_its_decision_asks_no_second_time(plant: Plant) -> None:
    limit = between(plant.doubted(1))
    first = plant.retrain(1, gate_doubt_probability=limit)
    with plant.store.write() as connection:
        connection.execute(sa.delete(RetrainingDecision).where(RetrainingDecision.outcome == "promoted"))
    again = plant.retrain(1, gate_doubt_probability=limit)
    assert again == first
    cases = plant.rows(sa.select(Case.case_id).where(Case.family == CONFIRM))
    assert [row.case_id for row in cases] == [question_id(label) for label in first["figures"]["set_aside"]]
    assert len(plant.rows(sa.select(ReviewEvent).where(ReviewEvent.case_id == cases[0].case_id))) == 1
    assert len(plant.rows(sa.select(AliasEvent).where(AliasEvent.alias == "champion"))) == 2


def answer(plant: Plant, label_id: str, *, hours: int, **told: str) -> None:
    finding = {"evidence": "inspected", **told}
    give_verdict(
        plant.store,
        question_id(label_id),
        finding,
        who="mara",
        at=plant.end + timedelta(days=1, hours=hours),
        period_hours=plant.settings.state_period_hours,
    )


def test_a_confirmed_label_is_learned_and_an_overruled_one_never_again(plant: Plant) -> None:
    found = plant.doubted(1)
    first = plant.retrain(1, gate_doubt_probability=SURE)
    assert first["outcome"] == "unchanged", "without both labels it is the champion's data"
    assert first["figures"]["set_aside"] == sorted(plant.late)
    assert "2 of 2 new findings were set aside" in first["reason"]
    right, wrong = (one["labels"][0] for one in found)
    labels = {row.label_id: row for row in plant.rows(sa.select(Label).where(Label.label_id.in_([right, wrong])))}
    answer(plant, right, hours=1, verdict=labels[right].verdict, mode=labels[right].mode or "", evidence="teardown")
    other = {"verdict": "healthy"} if labels[wrong].verdict == "fault" else {"verdict": "fault", "mode": "ball"}
    answer(plant, wrong, hours=1, **other)
    answers = plant.rows(sa.select(Label).where(Label.case_id == question_id(right)))
    second = plant.retrain(2, gate_doubt_probability=SURE)
    assert "set_aside" not in second["figures"], "nobody is asked twice about what was confirmed"
    candidate = get_version(plant.store, second["candidate"])
    classes = {row["unit"]: row["class_name"] for row in candidate["metrics"]["units"]}
    said = {one["unit"]: one["finding"] for one in found}
    assert classes[found[0]["unit"]] == said[found[0]["unit"]]
    assert classes[found[1]["unit"]] == ("healthy" if other["verdict"] == "healthy" else "ball")
    assert [row.evidence for row in answers] == ["teardown"]
    assert {row.state for row in plant.rows(sa.select(Case.state).where(Case.family == CONFIRM))} == {"closed"}


def test_more_than_the_bounded_share_refuses_the_batch_and_asks_about_the_worst(plant: Plant) -> None:
    found = plant.doubted(1)
    champion = plant.champion()
    decision = plant.retrain(1, gate_doubt_probability=SURE, gate_aside_share=0.2)
    assert decision["outcome"] == "kept"
    assert "2 of 2 new findings are contradicted by champion and challenger alike" in decision["reason"]
    assert "at most 1 may be set aside" in decision["reason"]
    assert plant.champion() == champion
    cases = plant.rows(sa.select(Case.case_id).where(Case.family == CONFIRM))
    assert [row.case_id for row in cases] == [question_id(found[0]["labels"][0])]


def test_the_noise_of_refits_is_estimated_once_and_stored(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {"gate_doubt_probability": 1e-9}
    first = plant.retrain(1, **told)
    kept = first["figures"]["noise"]
    assert kept is not None, first
    assert (kept["refits"], kept["rows"]) == (2, first["figures"]["now"]["rows"])
    nll = first["figures"]["now"]["nll"]
    assert nll["margin"] == pytest.approx(kept["nll"] * (2 / kept["rows"]) ** 0.5 * plant.settings.gate_noise_factor)
    assert kept["nll"] > 0

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a second estimate")

    monkeypatch.setattr(noise_room, "refit", never)
    second = plant.retrain(2, seed=2, **told)
    assert second["figures"]["noise"] == kept, "another seed has the same noise"
    at = plant.end + timedelta(days=3)
    names = (second["candidate"], first["candidate"])
    assert compare(plant.store, plant.lake, plant.settings, *names, as_of=at)["figures"]["noise"] == kept
    early = compare(plant.store, plant.lake, plant.settings, *names, as_of=plant.end)
    assert early["figures"]["noise"] is None
    assert any("noise of refits is not known yet" in reason for reason in early["reasons"])
    with pytest.raises(AssertionError, match="a second estimate"):
        plant.retrain(3, seed=2, epochs=5, **told)


def test_a_handful_of_new_findings_does_not_replace_a_champion_with_the_same_classes(plant: Plant) -> None:
    """The fault among the two late labels is of a class that the champion lacks; without it there is one finding."""
    told: dict[str, Any] = {"gate_doubt_probability": 1e-9, "retrain_min_findings": 3}
    fault = plant.late[0]
    with plant.store.write() as connection:
        later = sa.update(Label).where(Label.label_id == fault)
        connection.execute(later.values(known_at=plant.end + timedelta(days=1, hours=1)))
    first = plant.retrain(1, **told)
    assert first["outcome"] == "kept"
    assert "1 findings are new or withdrawn, fewer than 3" in first["reason"]
    again = plant.retrain(1, **told)
    assert again == first
    with plant.store.write() as connection:
        connection.execute(sa.delete(RetrainingDecision).where(RetrainingDecision.outcome == "kept"))
    changed = plant.retrain(1, epochs=5, **told)
    assert (changed["outcome"], changed["figures"]["learned"]) == ("promoted", 1), "other settings are more than a seed"
    with_class = plant.retrain(2, epochs=5, **told)
    assert (with_class["outcome"], with_class["figures"]["learned"]) == ("promoted", 1), "so is another class"


def take_back(plant: Plant, label_id: str, at: datetime) -> None:
    with plant.store.write() as connection:
        connection.execute(sa.insert(LabelWithdrawal).values(label_id=label_id, who="mara", known_at=at))


def test_findings_that_were_withdrawn_are_news_too(plant: Plant) -> None:
    """Else a champion that has learned wrong labels could not be replaced."""
    told: dict[str, Any] = {"gate_doubt_probability": 1e-9}
    assert plant.retrain(1, **told)["outcome"] == "promoted"
    with plant.store.write() as connection:
        at = plant.end + timedelta(days=1, hours=2)
        row = {"label_id": plant.late[1], "who": "mara", "known_at": at}
        connection.execute(sa.insert(LabelWithdrawal).values(**row))
    few = plant.retrain(2, retrain_min_findings=2, **told)
    assert "1 findings are new or withdrawn, fewer than 2" in few["reason"]
    assert (few["figures"]["learned"], few["figures"]["withdrawn"]) == (1, 1)
    assert "fewer than" not in plant.retrain(3, retrain_min_findings=1, **told)["reason"]
