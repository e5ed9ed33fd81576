"""watch on a real database and lake: what it gathers, stores, explains and starts. On SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline import scheduled
from pipeline.base.errors import SettingsError
from pipeline.base.ids import axis_id, utc_text
from pipeline.base.settings import Settings
from pipeline.cases.replacement import replace_unit
from pipeline.extraction.extract import extract_due
from pipeline.extraction.in_force import feature_versions
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.promotion.decisions import decide, new_labels
from pipeline.store.database import Store, ensure_partitions, insert_ignore
from pipeline.store.horizon import DATA, SCORES, note_pruning
from pipeline.store.lake import Lake
from pipeline.store.tables import (
    AliasEvent,
    AxisState,
    Case,
    Label,
    LabelWithdrawal,
    ModelAlias,
    ModelVersion,
    Recording,
    Score,
    TriggerDecision,
)
from pipeline.training.training_set import TrainingSet, build_training_set
from pipeline.watch.observed import TRIGGERS
from pipeline.watch.watch import list_trigger_decisions, scopes_to_start, watch

START = datetime(2026, 1, 5, tzinfo=UTC)
CHAMPION = "c" * 16
SCOPE = "acceleration"
UNITS = 10
ORDER = [*TRIGGERS, "cooldown", "budget", "decision"]


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def axis_of(unit: int) -> str:
    return axis_id("plant1", "c1", f"R{unit:02d}", "A1")


@dataclass
class Place:
    """A store with a lake: ten axes, a champion trained at day 4, and what tests add."""

    store: Store
    lake: Lake
    settings: Settings
    landing: Path
    limits: Limits
    write_log: Callable[..., Path]
    make_row: Callable[..., dict[str, Any]]
    logs: int = field(default=0)

    def send(self, days: tuple[int, int], *, level: dict[int, float] | None = None, **changes: Any) -> None:
        """Three recordings a day of every axis; `level` multiplies the signal of some axes."""
        rows = []
        for unit in range(UNITS):
            factor = (level or {}).get(unit, 1.0)
            for number in range(3 * days[0], 3 * days[1]):
                rng = np.random.default_rng((unit, number))
                own = {name: value[unit] if isinstance(value, dict) else value for name, value in changes.items()}
                at = START + timedelta(hours=8 * number, minutes=unit)
                samples = (0.1 * (1 + 0.05 * unit) * factor * rng.normal(size=2_048)).astype(np.float32).tolist()
                row = {"robot_id": f"R{unit:02d}", "unit_serial": f"SN-{unit}", "started_at": at, "samples": samples}
                rows.append(self.make_row(0, **(row | own)))
        self.logs += 1
        self.write_log(self.landing / f"{self.logs}.parquet", rows)
        acquire(self.store, self.lake, self.landing, limits=self.limits, settled_before=self.limits.as_of)
        extract_due(self.store, self.lake, self.settings, as_of=day(30))

    def promote(self, at: datetime) -> None:
        """A champion without an artifact: nothing here opens one."""
        version = {
            "model_version": CHAMPION,
            "scope": SCOPE,
            "kind": "classification",
            "feature_version": feature_versions(self.settings)[SCOPE],
            "lake_prefix": "models/none",
            "label_cutoff": at,
            "training_data_hash": "",
            "n_units": 1,
            "n_windows": 1,
            "settings": {"classes": ["healthy", "inner_race"]},
            "metrics": {},
            "known_at": at,
        }
        event = {"scope": SCOPE, "alias": "champion", "sequence": 1, "model_version": CHAMPION, "at": at}
        with self.store.write() as connection:
            insert_ignore(connection, ModelVersion, [version])
            insert_ignore(connection, ModelAlias, [{"scope": SCOPE, "alias": "champion", "model_version": CHAMPION}])
            named = {name: "first" for name in ("action",) if name in AliasEvent.__table__.columns}
            insert_ignore(
                connection, AliasEvent, [event | named | {"who": "test", "reason": "", "previous_version": None}]
            )

    def label(self, unit: int, verdict: str, known_at: datetime, **more: Any) -> str:
        row = {
            "label_id": f"L{unit}{verdict}{utc_text(known_at)}"[:16].ljust(16, "_") + "",
            "axis_id": axis_of(unit),
            "unit_serial": f"SN-{unit}",
            "channel": None,
            "from_at": day(0),
            "to_at": day(8),
            "verdict": verdict,
            "component": None,
            "mode": None,
            "cause": None,
            "severity": None,
            "evidence": "inspected",
            "confidence": None,
            "note": "",
            "who": "test",
            "case_id": None,
            "known_at": known_at,
        } | more
        with self.store.write() as connection:
            insert_ignore(connection, Label, [row])
        return str(row["label_id"])

    def withdraw(self, label: str, at: datetime) -> None:
        with self.store.write() as connection:
            insert_ignore(connection, LabelWithdrawal, [{"label_id": label, "who": "test", "known_at": at}])

    def said(self, as_of: datetime, **changes: Any) -> dict[str, dict[str, Any]]:
        """What each trigger says."""
        settings = self.settings.model_copy(update=changes)
        rows = watch(self.store, self.lake, settings, as_of=as_of, by_schedule=True)
        return {row["trigger"]: row for row in rows}


@pytest.fixture
def place(
    store: Store,
    lake: Lake,
    landing: Path,
    make_settings: Callable[..., Settings],
    write_log: Callable[..., Path],
    make_row: Callable[..., dict[str, Any]],
    limits: Limits,
) -> Place:
    settings = make_settings(drift_days=4.0, retrain_min_findings=2)
    return Place(store, lake, settings, landing, limits, write_log, make_row)


@pytest.fixture
def fleet(place: Place) -> Place:
    """Four days, then a champion."""
    place.send((0, 4))
    place.promote(day(4))
    return place


# ----------------------------------------------------------------------------------------------- stored decisions


def test_every_trigger_says_something_and_it_is_stored_once(fleet: Place) -> None:
    fleet.send((4, 8))
    rows = watch(fleet.store, fleet.lake, fleet.settings, as_of=day(8))
    assert [row["trigger"] for row in rows] == ORDER
    assert all(row["reason"] and row["figures"] for row in rows)
    assert not any(row["fired"] for row in rows), [row["reason"] for row in rows if row["fired"]]
    json.dumps([row["figures"] for row in rows], allow_nan=False)
    with fleet.store.read() as connection:
        before = connection.execute(sa.select(TriggerDecision).order_by(TriggerDecision.position)).all()
    # More is known now of that very time; what was said then stands.
    fleet.label(1, "healthy", day(7))
    fleet.label(2, "healthy", day(7))
    assert watch(fleet.store, fleet.lake, fleet.settings, as_of=day(8)) == rows
    with fleet.store.read() as connection:
        assert connection.execute(sa.select(TriggerDecision).order_by(TriggerDecision.position)).all() == before
    later = watch(fleet.store, fleet.lake, fleet.settings, as_of=day(8) + timedelta(hours=1))
    assert scopes_to_start(later) == {SCOPE: "new_labels"}
    shown = list_trigger_decisions(fleet.store, limit=5)
    assert [row["fired"] for row in shown] == [True, False]


def test_two_looks_at_once_store_one(fleet: Place) -> None:
    fleet.send((4, 6))
    url = fleet.store.engine.url.render_as_string(hide_password=False)

    def look(_: int) -> list[dict[str, Any]]:
        own = Store.open(url)
        try:
            return watch(own, fleet.lake, fleet.settings, as_of=day(6))
        finally:
            own.dispose()

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(look, range(3)))
    assert found[0] == found[1] == found[2]
    with fleet.store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(TriggerDecision)) == len(ORDER)


def test_without_a_model_the_first_finding_starts_one(place: Place) -> None:
    place.send((0, 2))
    assert watch(place.store, place.lake, place.settings, as_of=day(2)) == []
    place.label(1, "healthy", day(1))
    said = place.said(day(2))
    assert list(said) == ["schedule", "new_labels", "cooldown", "budget", "decision"]
    assert said["decision"]["fired"]
    assert said["decision"]["champion"] is None


def test_a_backfill_starts_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.send((0, 2))
    place.label(1, "healthy", day(1))
    rows = watch(place.store, place.lake, place.settings, as_of=day(2), by_schedule=True, backfill=True)
    assert {row["trigger"]: row["fired"] for row in rows} == {
        "schedule": False,
        "new_labels": True,
        "cooldown": False,
        "budget": False,
        "decision": False,
    }
    assert "a backfill starts no retraining" in rows[-1]["reason"]
    assert new_labels(place.store, place.settings, as_of=day(2.5)) == 1, "a backfill has seen no label"
    # The task of the DAG: a live run had fired for that time, and the backfill comes over it.
    monkeypatch.setenv("AXISWATCH_DATABASE_URL", place.store.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("AXISWATCH_LAKE_URL", place.lake.root)
    assert scheduled.watch(day(3))["scopes"] == [SCOPE]
    assert scheduled.watch(day(3), backfill=True)["scopes"] == []
    assert scheduled.watch(day(3))["scopes"] == [SCOPE]


# ----------------------------------------------------------------------------------------------------- new labels


def test_labels_taken_back_are_not_new(fleet: Place) -> None:
    first = fleet.label(1, "healthy", day(5))
    fleet.label(2, "healthy", day(5))
    fleet.label(3, "unsure", day(5))
    assert new_labels(fleet.store, fleet.settings, as_of=day(6)) == 3
    fleet.withdraw(first, day(5.5))
    assert new_labels(fleet.store, fleet.settings, as_of=day(6)) == 2
    assert new_labels(fleet.store, fleet.settings, as_of=day(5.2)) == 3, "as it was known then"
    said = fleet.said(day(6))["new_labels"]
    assert (said["figures"]["not_learned"], said["figures"]["not_trained_on"]) == (1, {"unsure": 1})
    assert not said["fired"]
    assert new_labels(fleet.store, fleet.settings, as_of=day(7)) == 0, "a watch has seen them"


def test_one_taken_back_hides_no_new_one(fleet: Place) -> None:
    """What was counted before: labels now minus labels then, so that one taken back swallowed one that was new."""
    old = fleet.label(1, "healthy", day(3))
    decide(fleet.store, SCOPE, as_of=day(5), trigger="by hand", outcome="kept", reason="test")
    fleet.withdraw(old, day(5.2))
    fleet.label(2, "healthy", day(5.5))
    assert new_labels(fleet.store, fleet.settings, as_of=day(6)) == 1
    said = fleet.said(day(6.5))["new_labels"]
    assert (said["figures"]["not_learned"], said["figures"]["withdrawn"]) == (1, 1)
    assert said["fired"], "one more and one less than the training had: two changes"


def test_labels_that_are_brought_in_late_are_new(fleet: Place) -> None:
    fleet.label(1, "healthy", day(3))
    decide(fleet.store, SCOPE, as_of=day(5), trigger="by hand", outcome="kept", reason="test")
    assert new_labels(fleet.store, fleet.settings, as_of=day(6)) == 0
    fleet.label(2, "healthy", day(2))
    assert new_labels(fleet.store, fleet.settings, as_of=day(6)) == 1
    assert fleet.said(day(6))["new_labels"]["figures"]["late"] == 1


def test_a_label_that_comes_while_the_model_is_trained_is_new(fleet: Place) -> None:
    """Its time is before that of the run, and the training set was built without it; another was taken back before."""
    fleet.withdraw(fleet.label(0, "healthy", day(3)), day(3.5))
    fleet.label(1, "healthy", day(3))
    fleet.label(2, "healthy", day(4.9))
    decide(fleet.store, SCOPE, as_of=day(5), trigger="by hand", outcome="kept", reason="test", n_labels=1)
    assert new_labels(fleet.store, fleet.settings, as_of=day(6)) == 1
    assert fleet.said(day(6))["new_labels"]["figures"]["late"] == 1


def test_labels_of_what_no_recording_has_do_not_count(fleet: Place) -> None:
    fleet.label(1, "healthy", day(5), from_at=day(20), to_at=day(21))
    fleet.label(2, "healthy", day(5), channel="acc_q")
    fleet.label(3, "fault", day(5), mode="ball")
    said = fleet.said(day(6))["new_labels"]["figures"]
    assert (said["not_learned"], said["new_kinds"]) == (1, {"ball": 1})


def test_labels_count_until_a_champion_has_learned_them(fleet: Place) -> None:
    """A refused retraining has learned nothing: its labels stay new, and start the same training no second time."""
    for unit in range(4):
        fleet.label(unit, "healthy", day(5))
    assert fleet.said(day(6))["decision"]["fired"]
    decide(fleet.store, SCOPE, as_of=day(6), trigger="new_labels", outcome="kept", reason="test")
    refused = fleet.said(day(8))["new_labels"]
    assert refused["reason"].startswith("4 labels not learned, 0 of them since the last attempt")
    assert not refused["fired"]
    fleet.label(5, "healthy", day(8.5))
    one = fleet.said(day(9))["new_labels"]
    assert one["reason"].startswith("5 labels not learned, 1 of them since the last attempt")
    assert not one["fired"], "the last attempt knew one unit and four labels: half as many are needed"
    fleet.label(6, "healthy", day(9.5))
    fleet.label(7, "healthy", day(9.5))
    assert fleet.said(day(10))["new_labels"]["fired"]


def test_a_withdrawal_lets_a_refused_training_start_again(fleet: Place) -> None:
    labels = [fleet.label(unit, "healthy", day(5)) for unit in range(3)]
    decide(fleet.store, SCOPE, as_of=day(6), trigger="new_labels", outcome="kept", reason="test")
    assert not fleet.said(day(8), retrain_growth=0.1)["new_labels"]["fired"]
    fleet.withdraw(labels[0], day(8.5))
    said = fleet.said(day(9), retrain_growth=0.1)["new_labels"]
    assert said["fired"]
    assert (said["figures"]["not_learned"], said["figures"]["withdrawn_since"]) == (2, 1)


def test_what_trains_nothing_is_not_news(fleet: Place) -> None:
    fleet.label(1, "healthy", day(5))
    fleet.label(2, "healthy", day(5), evidence="signal_only")
    weightless = {"evidence_weights": {"signal_only": 0.0}}
    said = fleet.said(day(6), **weightless)["new_labels"]
    assert (said["figures"]["not_learned"], said["figures"]["not_trained_on"]) == (1, {"evidence of weight 0": 1})
    assert fleet.said(day(6.1))["new_labels"]["figures"]["not_learned"] == 2
    unsure, light = fleet.label(3, "unsure", day(3)), fleet.label(4, "healthy", day(3), evidence="signal_only")
    elsewhere = fleet.label(5, "healthy", day(3), channel="acc_q")
    for label in (unsure, light, elsewhere):
        fleet.withdraw(label, day(6.5))
    assert fleet.said(day(7), **weightless)["new_labels"]["figures"]["withdrawn"] == 0
    assert fleet.said(day(7.1))["new_labels"]["figures"]["withdrawn"] == 1


def test_labels_that_were_set_aside_are_neither_learned_nor_new(fleet: Place) -> None:
    calm = {"retrain_min_findings": 99, "retrain_kind_units": 99}
    first = [fleet.label(unit, "fault", day(3.5), mode="ball") for unit in (1, 2)]
    figures = {"set_aside": first}
    decide(
        fleet.store,
        SCOPE,
        as_of=day(4),
        trigger="x",
        outcome="promoted",
        reason="x",
        candidate=CHAMPION,
        figures=figures,
    )
    said = fleet.said(day(6), **calm)["new_labels"]["figures"]
    assert (said["not_learned"], said["set_aside"]) == (0, 2)
    fleet.label(3, "healthy", day(6.1))
    fleet.label(1, "healthy", day(6.1))
    said = fleet.said(day(6.2), **calm)["new_labels"]["figures"]
    assert (said["not_learned"], said["set_aside"]) == (2, 2), "of another unit, or of another finding"
    fleet.label(1, "fault", day(6.3), mode="ball")
    said = fleet.said(day(6.4), **calm)["new_labels"]["figures"]
    assert (said["not_learned"], said["since_last_attempt"], said["set_aside"]) == (4, 4, 1), "one is confirmed"
    # A further retraining that sets nothing aside has tried them all, and none is learned.
    decide(fleet.store, SCOPE, as_of=day(7), trigger="x", outcome="kept", reason="x", figures={"set_aside": []})
    said = fleet.said(day(8))["new_labels"]["figures"]
    assert (said["not_learned"], said["since_last_attempt"], said["set_aside"]) == (5, 0, 0)


def test_a_rollback_makes_what_the_old_champion_never_learned_new(fleet: Place) -> None:
    fleet.label(1, "healthy", day(5))
    other = "d" * 16
    with fleet.store.write() as connection:
        row = dict(connection.execute(sa.select(ModelVersion)).one()._mapping)
        insert_ignore(connection, ModelVersion, [row | {"model_version": other, "label_cutoff": day(6)}])
        event = dict(connection.execute(sa.select(AliasEvent)).one()._mapping)
        promoted = {"sequence": 2, "model_version": other, "at": day(6), "previous_version": CHAMPION}
        insert_ignore(connection, AliasEvent, [event | promoted])
    assert fleet.said(day(7))["new_labels"]["figures"]["not_learned"] == 0
    with fleet.store.write() as connection:
        back = {"sequence": 3, "model_version": CHAMPION, "at": day(8), "previous_version": other}
        insert_ignore(connection, AliasEvent, [event | back])
    assert fleet.said(day(9))["new_labels"]["figures"]["not_learned"] == 1


# -------------------------------------------------------------------------------------------------- training set


def test_a_training_set_takes_so_many_windows_of_a_unit(fleet: Place) -> None:
    """Unit 1 has 12 windows, 9 of them healthy and 3 at fault; unit 3 is unsure."""
    fleet.label(1, "healthy", day(4), from_at=day(0), to_at=day(3))
    fleet.label(1, "fault", day(4), from_at=day(3), to_at=day(4), mode="ball")
    fleet.label(2, "healthy", day(4), evidence="signal_only")
    fleet.label(3, "unsure", day(4))
    fleet.label(4, "healthy", day(5))  # not known yet

    def built(most: int) -> TrainingSet:
        settings = fleet.settings.model_copy(update={"max_windows_per_unit": most})
        with fleet.store.read() as connection:
            return build_training_set(connection, fleet.lake, settings, SCOPE, as_of=day(4.5))

    every, few = built(0), built(5)
    assert Counter(every.unit) == {"SN-1": 12, "SN-2": 12}
    assert every.left_out == {"unsure": 12}
    assert set(every.weight[every.unit == "SN-2"]) == {0.5}
    assert Counter(zip(few.unit, few.y, strict=True)) == {("SN-1", 0): 3, ("SN-1", 1): 2, ("SN-2", 0): 5}
    assert few.left_out == {"unsure": 12, "over the cap of a unit": 14}
    assert built(5).data_hash == few.data_hash != every.data_hash
    assert built(12).data_hash == every.data_hash, "a cap that nothing reaches changes nothing"


# -------------------------------------------------------------------------------------------------------- guards


def test_cooldown_and_budget_hold_back(fleet: Place) -> None:
    for unit in range(4):
        fleet.label(unit, "healthy", day(5))
    decide(fleet.store, SCOPE, as_of=day(4.5), trigger="by hand", outcome="kept", reason="test")
    held = fleet.said(day(5.2))
    assert held["new_labels"]["fired"]
    assert held["cooldown"]["fired"]
    assert not held["decision"]["fired"]
    assert held["decision"]["figures"]["held_back_by"] == ["cooldown"]
    spent = fleet.said(day(6), retrain_budget=1)
    assert [name for name, row in spent.items() if row["fired"]] == ["new_labels", "budget"]
    assert fleet.said(day(6.1))["decision"]["fired"]
    # What was started counts from then on, whatever becomes of it; its labels are taken as seen for a day.
    after = fleet.said(day(6.2))
    assert after["cooldown"]["figures"]["days_since"] == pytest.approx(0.1)
    assert after["budget"]["figures"]["used"] == 2
    assert not after["new_labels"]["fired"]
    assert fleet.said(day(7.2))["new_labels"]["fired"], "nothing came of it, so they are new again"


def test_a_look_by_hand_starts_nothing_and_hides_nothing(fleet: Place) -> None:
    for unit in range(4):
        fleet.label(unit, "healthy", day(5))
    by_hand = watch(fleet.store, fleet.lake, fleet.settings, as_of=day(6))
    assert by_hand[-1]["fired"]
    assert new_labels(fleet.store, fleet.settings, as_of=day(6.01)) == 4, "the monitor still tells of them"
    said = fleet.said(day(6.02))
    assert said["decision"]["fired"]
    assert said["budget"]["figures"]["used"] == 0
    assert not fleet.said(day(6.03))["decision"]["fired"], "the schedule has started it"
    # The schedule comes to a time that somebody had looked at: it goes by what was said, and it counts from then on.
    watch(fleet.store, fleet.lake, fleet.settings, as_of=day(7.5))
    assert fleet.said(day(7.5))["decision"]["fired"]
    assert fleet.said(day(7.6))["cooldown"]["fired"]


def test_an_old_champion_is_due(fleet: Place) -> None:
    assert not fleet.said(day(33.9))["schedule"]["fired"]
    unlabelled = fleet.said(day(33.99), retrain_after_days=29.9)
    assert not unlabelled["schedule"]["fired"]
    assert "no label since then" in unlabelled["schedule"]["reason"]
    fleet.label(1, "healthy", day(5))
    few = fleet.said(day(33.995), retrain_after_days=29.9)
    assert few["schedule"]["fired"]
    assert not few["decision"]["fired"], "the gate asks for two findings"
    assert "1 findings are new or withdrawn, and a challenger needs 2" in few["decision"]["reason"]
    fleet.label(2, "healthy", day(5))
    said = fleet.said(day(34))
    assert said["schedule"]["fired"]
    assert said["decision"]["fired"]
    decide(fleet.store, SCOPE, as_of=day(34.1), trigger="schedule", outcome="kept", reason="test")
    assert not fleet.said(day(36))["schedule"]["fired"], "the retraining has found the champion good"


# ---------------------------------------------------------------------------------------------------------- drift


def test_a_shift_of_the_fleet_fires_and_asks_for_labels(fleet: Place) -> None:
    fleet.send((4, 8), level=dict.fromkeys(range(UNITS), 1.6))
    said = fleet.said(day(8))
    drifted = said["feature_drift"]
    assert drifted["fired"], drifted["reason"]
    assert "rms_log10" in {one["feature"] for one in drifted["figures"]["strongest"]}
    assert drifted["figures"]["units"] == UNITS
    assert not said["decision"]["fired"]
    assert "axiswatch ask" in said["decision"]["reason"]
    fleet.label(1, "healthy", day(7))
    later = fleet.said(day(8.01), retrain_min_findings=1, retrain_growth=9.0)
    assert not later["feature_drift"]["fired"], "it has said so"
    assert scopes_to_start(later.values()) == {SCOPE: "feature_drift"}


def test_a_drifted_sensor_of_one_axis_does_not_fire(fleet: Place) -> None:
    fleet.send((4, 8), level={3: 3.0})
    said = fleet.said(day(8))
    assert not any(row["fired"] for row in said.values())
    assert said["feature_drift"]["figures"]["units"] == UNITS


def test_sensors_that_people_found_bad_explain_a_drift(fleet: Place) -> None:
    fleet.send((4, 8), level=dict.fromkeys(range(7), 1.6))
    for unit in range(7):
        fleet.label(unit, "sensor_or_data", day(7), from_at=day(4))
    said = fleet.said(day(8), drift_min_units=3, drift_alpha=0.2)["feature_drift"]
    assert not said["fired"]
    assert sorted(said["figures"]["explained"]) == [f"SN-{unit}" for unit in range(7)]
    assert said["figures"]["would_fire_with_explained"]
    assert "its causes are known" in said["reason"]


def test_recordings_with_a_bad_verdict_explain_themselves(fleet: Place) -> None:
    fleet.send((4, 8), level={0: 0.0, 1: 0.0})
    said = fleet.said(day(8))["feature_drift"]
    assert not said["fired"]
    assert set(said["figures"]["explained"]) == {"SN-0", "SN-1"}
    assert "fail the data-quality checks" in said["figures"]["explained"]["SN-0"]


def test_replaced_units_do_not_fire(fleet: Place) -> None:
    """Half of the units are replaced, by the logs' word or by the registry's, and the new ones are louder."""
    serials = {unit: None if unit < 2 else f"NEW-{unit}" if unit < 5 else f"SN-{unit}" for unit in range(UNITS)}
    with fleet.store.write() as connection:
        # Axes 0 and 1 never named a unit in their logs; the registry does.
        connection.execute(
            sa.update(Recording).where(Recording.axis_id.in_([axis_of(0), axis_of(1)])).values(unit_serial=None)
        )
    for unit in (0, 1):
        known = {"as_of": day(5), "who": "test"}
        replace_unit(fleet.store, f"R{unit:02d}", "A1", new_serial=f"OLD-{unit}", at=day(-1), **known)
        replace_unit(fleet.store, f"R{unit:02d}", "A1", new_serial=f"NEW-{unit}", at=day(4), **known)
    fleet.send((4, 8), level=dict.fromkeys(range(5), 1.6), unit_serial=serials)
    said = fleet.said(day(8), drift_min_units=4, drift_alpha=0.2)
    assert not said["feature_drift"]["fired"]
    explained = said["feature_drift"]["figures"]["explained"]
    assert set(explained) == {f"NEW-{unit}" for unit in range(5)}
    assert explained["NEW-0"] == "replaced OLD-0, first seen 2026-01-09"
    assert explained["NEW-4"] == "replaced SN-4, first seen 2026-01-09"


def test_a_unit_found_faulty_is_no_drift(fleet: Place) -> None:
    fleet.send((4, 8), level=dict.fromkeys(range(7), 1.6))
    for unit in range(7):
        fleet.label(unit, "fault", day(7), from_at=day(4))
    assert set(fleet.said(day(8))["feature_drift"]["figures"]["explained"]) == {f"SN-{unit}" for unit in range(7)}


def test_a_program_new_to_all_axes_is_a_drift_and_says_so(fleet: Place) -> None:
    fleet.send((4, 8), program="weld", level=dict.fromkeys(range(UNITS), 1.6))
    said = fleet.said(day(8))["feature_drift"]
    assert said["fired"]
    assert said["reason"] == "new program on 10 of 10 axes: weld (on 10, since 2026-01-09)"
    assert said["figures"]["tested"] == 0, "no regime is left to compare"
    assert not fleet.said(day(8.5))["feature_drift"]["fired"]


def test_a_program_new_to_some_axes_is_none(fleet: Place) -> None:
    fleet.send((4, 8), program={unit: "weld" if unit < 3 else "pick" for unit in range(UNITS)})
    said = fleet.said(day(8))["feature_drift"]
    assert not said["fired"]
    assert (said["figures"]["new_program"]["axes"], said["figures"]["new_program"]["of_axes"]) == (3, UNITS)


# --------------------------------------------------------------------------------- scores, states, cases, verdicts


def add_scores(place: Place, shift_from: datetime, odds: float) -> None:
    """A score for every recording; from a time on all log odds are higher."""
    rng = np.random.default_rng(1)
    with place.store.read() as connection:
        recordings = connection.execute(sa.select(Recording).order_by(Recording.recording_id)).all()
    rows = []
    for row in recordings:
        logit = -2.0 + 0.3 * rng.normal() + (odds if row.started_at >= shift_from else 0.0)
        figures = {
            "fault_probability": 1 / (1 + np.exp(-logit)),
            "mutual_information": 0.02 * np.exp(0.1 * rng.normal()),
        }
        rows.append(
            {
                "started_at": row.started_at,
                "recording_id": row.recording_id,
                "start_sample": 0,
                "feature_version": "f",
                "geometry_version": "none",
                "baseline_version": "",
                "model_version": CHAMPION,
                "axis_id": row.axis_id,
                "channel": row.channel,
                "unit_serial": row.unit_serial,
                "n_window_samples": 2_048,
                "n_missing_features": 0,
                "regime": "",
                "quality": "ok",
                "evidence": "",
                "known_at": row.started_at,
                **{name: float(value) for name, value in figures.items()},
            }
        )
    ensure_partitions(place.store, [row["started_at"] for row in rows])
    with place.store.write() as connection:
        connection.execute(sa.insert(Score), rows)


@pytest.mark.parametrize(("odds", "fired"), [(0.0, False), (2.0, True)])
def test_scores_are_compared_with_the_champions_first_days(fleet: Place, odds: float, fired: bool) -> None:
    fleet.send((4, 12))
    assert "too early" in fleet.said(day(11.9))["score_drift"]["reason"]
    add_scores(fleet, day(8), odds)
    said = fleet.said(day(12))["score_drift"]
    assert said["fired"] is fired, said["reason"]
    assert said["figures"]["tested"] == 2, "what the method does not define is not compared"
    if fired:
        assert said["figures"]["strongest"][0]["feature"] == "fault_log_odds"


def add_states(place: Place, days: range, flagged: Callable[[int, int], list[str]], p: float = 0.1) -> None:
    rows = []
    for unit in range(UNITS):
        for number in days:
            for hour in range(0, 24, 4):
                at = day(number) + timedelta(hours=hour)
                codes = flagged(unit, number)
                rows.append(
                    {
                        "axis_id": axis_of(unit),
                        "bin_at": at,
                        "state": "unknown" if codes else "healthy",
                        "first_at": at,
                        "last_at": at,
                        "n_windows": 1,
                        "fault_probability": p,
                        "quality": "ok",
                        "flags": [{"code": code, "text": ""} for code in codes],
                        "model_versions": [CHAMPION],
                        "known_at": at,
                    }
                )
    with place.store.write() as connection:
        connection.execute(sa.insert(AxisState), rows)


def test_a_rise_of_novelty_fires_both_rates_and_one_axis_none(fleet: Place) -> None:
    add_states(fleet, range(4, 8), lambda unit, number: [])
    add_states(fleet, range(8, 12), lambda unit, number: ["novel"] if unit == 0 else [])
    said = fleet.said(day(12))
    assert not said["novelty_rate"]["fired"]
    assert said["novelty_rate"]["figures"]["now"] == pytest.approx(1 / UNITS)
    add_states(fleet, range(12, 16), lambda unit, number: ["novel", "unseen"])
    said = fleet.said(day(16))
    assert said["novelty_rate"]["fired"]
    assert said["review_rate"]["fired"]
    assert said["novelty_rate"]["figures"]["units"] == UNITS


def test_where_the_first_days_are_deleted_the_oldest_that_are_kept_stand_for_them(fleet: Place) -> None:
    """Days 4 to 8 are gone, and with them nothing flagged; what is compared with are days 8 to 12, with all flagged."""
    add_states(fleet, range(8, 16), lambda unit, number: ["novel"])
    assert fleet.said(day(16))["novelty_rate"]["figures"]["before"] is None
    with fleet.store.write() as connection:
        note_pruning(connection, DATA, day(8), as_of=day(16))
    said = fleet.said(day(16.01))["novelty_rate"]
    assert (said["figures"]["before"], said["figures"]["now"], said["fired"]) == (1.0, 1.0, False)
    with fleet.store.write() as connection:
        note_pruning(connection, SCORES, day(17), as_of=day(20), name=CHAMPION)
    with pytest.raises(SettingsError, match="scores of the champion of that time"):
        fleet.said(day(16.02))
    assert fleet.said(day(17))["novelty_rate"]["reason"]


def test_a_rate_fires_once_a_change_and_again_only_on_a_further_one(fleet: Place) -> None:
    """Nothing until day 12, a third of the bins until day 24, then all of them."""
    share = {range(4, 12): 0, range(12, 24): 1, range(24, 32): 3}
    for days, of_three in share.items():
        hours = iter(range(10**6))
        add_states(fleet, days, lambda unit, number, n=of_three, h=hours: ["novel"] if next(h) % 3 < n else [])
    fired = [number for number in range(9, 33) if fleet.said(day(number))["review_rate"]["fired"]]
    assert len(fired) == 2
    assert 12 < fired[0] <= 16
    assert 24 < fired[1] <= 28
    waiting = fleet.said(day(33))["decision"]
    assert not waiting["fired"]
    assert set(waiting["figures"]["waiting"]) == {"novelty_rate", "review_rate"}
    assert "axiswatch ask" in waiting["reason"]
    for unit in (1, 2):
        fleet.label(unit, "healthy", day(33.5))
    started = fleet.said(day(34))
    assert not started["review_rate"]["fired"]
    assert started["decision"]["fired"], "as many findings as the gate asks for start what was reported before"
    decide(fleet.store, SCOPE, as_of=day(34), trigger="review_rate", outcome="kept", reason="test")
    fleet.label(3, "healthy", day(35))
    after = fleet.said(day(36), retrain_min_findings=9)["decision"]
    assert not after["fired"], after["reason"]
    assert after["reason"] == "no trigger fired"
    assert fleet.said(day(34)) == started, "decisions of a time stand"


def test_a_refused_training_costs_no_budget(fleet: Place) -> None:
    decide(fleet.store, SCOPE, as_of=day(4.5), trigger="x", outcome="refused", reason="one class only")
    decide(fleet.store, SCOPE, as_of=day(4.7), trigger="x", outcome="failed", reason="crash")
    assert fleet.said(day(6))["budget"]["figures"]["used"] == 1


def test_rates_leave_out_the_axis_of_a_label_that_names_a_unit_alone(fleet: Place) -> None:
    fleet.send((8, 12))
    add_states(fleet, range(4, 8), lambda unit, number: [])
    add_states(fleet, range(8, 12), lambda unit, number: ["novel"])
    fleet.label(0, "sensor_or_data", day(11), axis_id=None, from_at=day(8), to_at=day(11))
    figures = fleet.said(day(12))["novelty_rate"]["figures"]
    assert figures["units"] == UNITS - 1
    assert list(figures["explained"]) == [f"axis {axis_of(0)}"]


def add_case(place: Place, unit: int, at: datetime, code: str, *, chance: float | None = None) -> str:
    case = f"{code[:4]}{unit:02d}{at:%d%H}"[:12]
    row = {
        "case_id": case,
        "axis_id": axis_of(unit),
        "family": "audit" if chance else "machine",
        "state": "closed",
        "first_at": at,
        "last_at": at,
        "n_bins": 1,
        "priority": 0.5,
        "reasons": [{"code": code}],
        "fault_probability": 0.99,
        "selection_probability": chance,
        "known_at": at,
        "changed_at": at,
    }
    with place.store.write() as connection:
        connection.execute(sa.insert(Case), row)
    return case


def answer(place: Place, unit: int, case: str, verdict: str, at: datetime) -> str:
    return place.label(unit, verdict, at, label_id=f"a{case}"[:16], case_id=case, from_at=day(0), to_at=day(12))


def test_audits_that_find_faults_where_none_were_stated_are_a_decay(fleet: Place) -> None:
    """Stated 0.02 in bins that were drawn at random, and 6 of 10 were at fault: the state's figure, not the case's."""
    add_states(fleet, range(5, 7), lambda unit, number: [], p=0.02)
    labels = [
        answer(
            fleet, unit, add_case(fleet, unit, day(5), "audit", chance=0.05), "fault" if unit < 6 else "healthy", day(7)
        )
        for unit in range(UNITS)
    ]
    for label in labels[:6]:
        fleet.withdraw(label, day(8.5))
    later = fleet.said(day(9))["calibration"]
    assert not later["fired"]
    assert later["figures"]["reviewed"] == 4, "answers taken back are none"
    said = fleet.said(day(8))["calibration"]
    assert said["fired"], said["reason"]
    group = said["figures"]["groups"]["all"]
    assert (group["stated"], group["found"], group["units"]) == (pytest.approx(0.02), pytest.approx(0.6), UNITS)
    anew = fleet.said(day(8.1))["calibration"]
    assert not anew["fired"]
    assert anew["figures"]["reviewed"] == 0, "what was reported is counted anew from the report on"


def test_missed_faults_and_false_alarms_are_counted_by_unit(fleet: Place) -> None:
    add_states(fleet, range(5, 7), lambda unit, number: ["fault"], p=0.9)
    for unit in range(4):
        fleet.label(unit, "fault", day(7), from_at=day(5), to_at=day(6))
    add_case(fleet, 0, day(5), "fault")  # found before anybody said so
    add_case(fleet, 1, day(5), "audit", chance=0.1)  # found at random: missed
    for unit in range(5, 9):
        answer(fleet, unit, add_case(fleet, unit, day(5), "fault"), "healthy", day(6))
    fleet.label(9, "fault", day(7), evidence="signal_only")  # nobody looked at the machine
    said = fleet.said(day(8))["performance"]
    missed, false = said["figures"]["missed_faults"], said["figures"]["false_alarms"]
    assert (missed["count"], missed["units"]) == (3, 4)
    assert (false["count"], false["units"]) == (4, 4)
    assert said["fired"] is (missed["low"] > 0.2 or false["low"] > 0.5)
    assert fleet.said(day(8.1), missed_rate=0.1)["performance"]["fired"]
