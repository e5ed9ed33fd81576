"""What a verdict changes: labels that wait for the next training, the command's sentences; findings of before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from pipeline.base.ids import axis_id
from pipeline.cases.effects import labels_waiting, settle
from pipeline.cases.verdicts import give_verdict
from pipeline.cases.work import undo
from pipeline.cli.review import effect_sentences
from pipeline.store.database import Store, alembic_config
from pipeline.store.tables import CaseAnswer, CaseEvidence, Extraction, ModelAlias, ModelVersion

AT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEIGHTS = {"signal_only": 0.0, "inspected": 1.0}


@pytest.fixture
def plant(alike: Store) -> Store:
    with alike.write() as connection:
        for name in ("asked", "twin", "other"):
            row = {
                "recording_id": name,
                "axis_id": axis_id("p", "c", name, "A1"),
                "channel": "acc_x",
                "started_at": AT,
                "regime": "?|?|?",
            }
            row |= {"feature_version": "v", "geometry_version": "none", "scope": "acceleration", "quality": "ok"}
            row |= {"unit_serial": None, "evidence": "", "n_windows": 1, "lake_path": None, "lake_row": 0}
            connection.execute(sa.insert(Extraction), row | {"known_at": AT})
    return alike


def answer(store: Store, case: str, verdict: str, evidence: str = "inspected", *, at: datetime) -> None:
    give_verdict(store, case, {"verdict": verdict, "evidence": evidence}, who="mara", at=at, period_hours=1.0)


def waiting(store: Store, at: datetime) -> int:
    with store.read() as connection:
        (one,) = labels_waiting(connection, "asked", weights=WEIGHTS, as_of=at)
    assert one["scope"] == "acceleration"
    return int(one["labels"])


def test_labels_wait_until_a_champion_has_learned_them(plant: Store) -> None:
    at = AT + HOUR
    assert waiting(plant, at) == 0
    answer(plant, "asked", "fault", at=at)
    assert waiting(plant, at) == 1
    answer(plant, "twin", "healthy", "signal_only", at=at)
    assert waiting(plant, at) == 1, "evidence of weight 0 teaches nothing"
    answer(plant, "twin", "unsure", at=at)
    answer(plant, "alarm", "fault", at=at)
    assert waiting(plant, at) == 1, "unsure names no class, and the third has no features"
    answer(plant, "other", "benign_change", at=at + HOUR)
    assert (waiting(plant, at), waiting(plant, at + HOUR)) == (1, 2)
    undo(plant, "other", who="mara", at=at + 2 * HOUR)
    assert waiting(plant, at + 2 * HOUR) == 1
    with plant.write() as connection:
        model = {"model_version": "m", "scope": "acceleration", "kind": "classification", "feature_version": "v"}
        model |= {"lake_prefix": "m", "training_data_hash": "h", "n_units": 1, "n_windows": 1, "settings": {}}
        model |= {"metrics": {}, "held_out_path": None, "lineage": None, "label_cutoff": at, "known_at": at}
        connection.execute(sa.insert(ModelVersion), model)
        alias = {"scope": "acceleration", "alias": "champion", "model_version": "m"}
        connection.execute(sa.insert(ModelAlias), alias)
    assert waiting(plant, at + 2 * HOUR) == 0
    answer(plant, "other", "benign_change", at=at + 3 * HOUR)
    assert waiting(plant, at + 3 * HOUR) == 1


def test_what_a_withdrawn_finding_changed_is_nothing(plant: Store) -> None:
    answer(plant, "asked", "fault", at=AT + HOUR)
    effect = settle(plant, "asked", weights=WEIGHTS, as_of=AT + HOUR)
    assert effect is not None
    assert (effect["up"], effect["training"]) == (2, [{"scope": "acceleration", "labels": 1}])
    undo(plant, "asked", who="mara", at=AT + 2 * HOUR)
    assert settle(plant, "asked", weights=WEIGHTS, as_of=AT + 2 * HOUR) is None


def test_the_command_says_it_in_sentences(plant: Store) -> None:
    at = AT + HOUR
    answer(plant, "asked", "fault", at=at)
    assert effect_sentences(settle(plant, "asked", weights=WEIGHTS, as_of=at)) == [
        "Open look-alikes in the queue: 2 move up, 0 move down.",
        "    alarm  p/c/alarm/A1  +0.20",
        "    twin  p/c/twin/A1  +0.20",
        "It counts for the alarm level of site p at its next estimate.",
        "Labels that wait for the next training of acceleration: 1.",
    ]
    give_verdict(plant, "twin", {"verdict": "healthy", "evidence": "inspected"}, who="jun", at=at, period_hours=1)
    assert effect_sentences(settle(plant, "twin", weights=WEIGHTS, as_of=at)) == [
        "Open look-alikes in the queue: 0 move up, 1 move down.",
        "    alarm  p/c/alarm/A1  -0.20",
        "It counts for the alarm level of site p at its next estimate.",
        "Labels that wait for the next training of acceleration: 2.",
        "Different findings on look-alikes: jun healthy (inspected) on p/c/twin/A1, case twin.",
        "Different findings on look-alikes: mara fault (inspected) on p/c/asked/A1, case asked.",
    ]
    assert effect_sentences(None) == []


def test_findings_from_before_the_migration_are_remembered(plant: Store) -> None:
    answer(plant, "asked", "fault", at=AT + HOUR)
    answer(plant, "data", "sensor_or_data", at=AT + HOUR)
    with plant.read() as connection:
        before = connection.execute(sa.select(CaseAnswer)).all()
    config = alembic_config()
    own = ScriptDirectory.from_config(config).get_revision("0017")
    assert own is not None
    with plant.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, str(own.down_revision))
    plant.upgrade()
    with plant.read() as connection:
        assert connection.execute(sa.select(CaseAnswer)).all() == before
        scopes = set(connection.scalars(sa.select(CaseEvidence.scope)))
    assert (len(before), scopes) == (1, {"acceleration", None}), "of two cases nobody has features"
