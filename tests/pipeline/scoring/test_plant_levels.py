"""Levels of a site in a database: estimated from references, kept, used by advise, taken back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.base.errors import PrerequisiteMissing
from pipeline.base.ids import stable_id
from pipeline.base.settings import Settings
from pipeline.cases.axis_state import log_odds, probability_of
from pipeline.extraction.baseline import update_baselines
from pipeline.registry.versions import champions
from pipeline.scoring.advise import advise
from pipeline.scoring.levels import default_levels, read_plant_thresholds
from pipeline.scoring.plant_levels import go_back, list_levels, release
from pipeline.scoring.references import estimate
from pipeline.scoring.score import score_due
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import (
    Axis,
    AxisState,
    Case,
    Label,
    LabelWithdrawal,
    LevelReference,
    ModelVersion,
    PlantLevel,
    Recording,
    Score,
    Scoring,
)
from pipeline.training.train import train_scopes

SCOPE = "acceleration"
DAY = timedelta(days=1)


@dataclass
class Site:
    """A small plant with baselines and a champion."""

    store: Store
    lake: Lake
    settings: Settings
    end: datetime

    def estimate(self, at: datetime | None = None) -> list[dict[str, Any]]:
        return estimate(self.store, self.lake, self.settings, as_of=at or self.end)

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(query).all())

    def label(self, axis_id: str, verdict: str, at: datetime, evidence: str = "inspected") -> str:
        with self.store.write() as connection:
            first, last = connection.execute(
                sa.select(sa.func.min(Recording.started_at), sa.func.max(Recording.started_at)).where(
                    Recording.axis_id == axis_id
                )
            ).one()
            name = stable_id(axis_id, verdict, at.isoformat(), length=16)
            connection.execute(
                sa.insert(Label).values(
                    label_id=name,
                    axis_id=axis_id,
                    from_at=_time(first),
                    to_at=_time(last) + timedelta(seconds=1),
                    verdict=verdict,
                    evidence=evidence,
                    note="",
                    who="tester",
                    known_at=at,
                )
            )
        return name


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(f"{value}+00:00")


@pytest.fixture
def site(extracted_fleet: Any, store: Store, tmp_path: Path) -> Site:
    """The small fleet with baselines of half a day, a champion and its scores; on both databases."""
    settings = Settings(
        home=tmp_path,
        workers=1,
        epochs=4,
        folds=2,
        n_samples=20,
        synthetic_windows=10,
        baseline_days=0.5,
        level_days=1.0,
    )
    lake = extracted_fleet.copy_to(store, tmp_path)
    end = extracted_fleet.end
    update_baselines(store, lake, settings, as_of=end)
    train_scopes(store, lake, settings, as_of=end)
    score_due(store, lake, settings, as_of=end)
    return Site(store, lake, settings, end)


def test_the_estimate_writes_each_level_once_with_its_reason_and_all_it_rests_on(site: Site) -> None:
    found = site.estimate()
    (row,) = found
    references = site.rows(sa.select(LevelReference))
    usable = [item for item in references if item.value is not None and item.source in ("first_days", "held_out")]
    assert row["figures"]["units"] == len(usable) > 0
    assert {item.source for item in references} >= {"held_out"}
    assert 0.02 <= row["review_probability"] <= row["alarm_probability"] <= 0.5
    assert (row["held"], row["who"], row["decided_at"]) == (False, "axiswatch", site.end)
    assert str(row["figures"]["units"]) in row["reason"]
    before = (references, site.rows(sa.select(PlantLevel)))
    assert site.estimate() == found
    assert (site.rows(sa.select(LevelReference)), site.rows(sa.select(PlantLevel))) == before


def test_a_unit_on_both_sides_of_the_training_has_only_what_the_model_said_without_it(site: Site) -> None:
    site.estimate()
    by_unit: dict[str, set[str]] = {}
    for row in site.rows(sa.select(LevelReference)):
        by_unit.setdefault(row.unit, set()).add(row.source)
    assert all(not {"first_days", "held_out"} <= sources for sources in by_unit.values())


def test_answers_count_until_they_are_withdrawn_and_weak_evidence_does_not(site: Site) -> None:
    site.estimate()
    axes = [row.axis_id for row in site.rows(sa.select(Axis).order_by(Axis.axis_id))]
    later = site.end + DAY
    name = site.label(axes[0], "fault", later)
    site.label(axes[1], "healthy", later, evidence="signal_only")
    (row,) = site.estimate(later)
    found = site.rows(sa.select(LevelReference).where(LevelReference.source == name))
    assert [item.axis_id for item in found] == [axes[0]]
    assert not site.rows(
        sa.select(LevelReference).where(LevelReference.axis_id == axes[1], LevelReference.known_at == later)
    )
    faults = row["figures"]["faults"]
    with site.store.write() as connection:
        connection.execute(sa.insert(LabelWithdrawal).values(label_id=name, who="tester", known_at=later + DAY))
        connection.execute(sa.update(PlantLevel).values(alarm_probability=0.33))  # so that a row is written
    (after,) = site.estimate(later + 2 * DAY)
    assert (faults, after["figures"]["faults"]) == (1, 0)


def test_advise_uses_the_level_in_force_and_a_level_set_by_hand_goes_first(site: Site) -> None:
    (row,) = site.estimate()
    with site.store.read() as connection:
        named = list(champions(connection).values())
        axes = list(connection.scalars(sa.select(Axis.axis_id)))
        thresholds = read_plant_thresholds(connection, site.settings, named, as_of=site.end)
        before = read_plant_thresholds(connection, site.settings, named, as_of=site.end - DAY)
        own = thresholds.of_axes(connection, axes)
        by_hand = site.settings.model_copy(update={"alarm_probability": 0.6})
        fixed = read_plant_thresholds(connection, by_hand, named, as_of=site.end).of_axes(connection, axes)
    limits = {axis: own[axis].at(site.end)[named[0]].alarm_probability for axis in axes}
    assert set(limits.values()) == {row["alarm_probability"]}
    assert before.of_site("")[named[0]].alarm_probability == pytest.approx(default_levels(site.settings).alarm)
    assert {one.at(site.end)[named[0]].alarm_probability for one in fixed.values()} == {0.6}


def test_a_unit_that_was_found_healthy_alarms_only_where_it_becomes_clearly_louder(site: Site) -> None:
    site.estimate()
    later = site.end + DAY
    axis = site.rows(sa.select(Axis.axis_id).order_by(Axis.axis_id))[0].axis_id
    name = site.label(axis, "healthy", later)
    site.estimate(later)
    (row,) = list_levels(site.store, as_of=later)
    over = log_odds(row["alarm_probability"]) + 0.2
    with site.store.write() as connection:
        connection.execute(sa.update(LevelReference).where(LevelReference.source == name).values(value=over))
    with site.store.read() as connection:
        named = list(champions(connection).values())
        axes = list(connection.scalars(sa.select(Axis.axis_id)))
        own = read_plant_thresholds(connection, site.settings, named, as_of=later).of_axes(connection, axes)
    limits = {one: own[one].at(later)[named[0]].alarm_probability for one in axes}
    assert limits.pop(axis) == pytest.approx(probability_of(over + 0.5), abs=1e-6)
    assert set(limits.values()) == {row["alarm_probability"]}, "the levels of the others stay"


def test_the_way_back_holds_until_it_is_released(site: Site) -> None:
    (first,) = site.estimate()
    later = site.end + DAY
    held = go_back(site.store, site.settings, SCOPE, first["site"], who="eng", reason="too many", at=later)
    assert held["alarm_probability"] == pytest.approx(default_levels(site.settings).alarm)
    assert "too many" in held["reason"]
    (standing,) = site.estimate(later + DAY)
    assert (standing["held"], standing["decided_at"]) == (True, later)
    (past,) = list_levels(site.store, as_of=site.end)
    assert past["alarm_probability"] == first["alarm_probability"], "what was in force then can be read later"
    release(site.store, SCOPE, first["site"], who="eng", reason="mended", at=later + 2 * DAY)
    with site.store.write() as connection:
        connection.execute(sa.update(PlantLevel).where(PlantLevel.decided_at > later).values(alarm_probability=0.4))
    (again,) = site.estimate(later + 3 * DAY)
    assert (again["held"], again["who"], again["alarm_probability"] < 0.4) == (False, "axiswatch", True)
    with pytest.raises(PrerequisiteMissing, match="no level of its own"):
        go_back(site.store, site.settings, SCOPE, "nowhere", who="eng", reason="x", at=later)


def test_bins_that_come_late_change_the_bins_that_look_back_at_them(site: Site) -> None:
    """Taking the scores in at once or with an early half that comes late gives the same states."""
    advise(site.store, site.settings, as_of=site.end)
    columns = [getattr(AxisState, name) for name in ("axis_id", "bin_at", "state", "recent_probability", "flags")]
    query = sa.select(*columns).order_by(AxisState.axis_id, AxisState.bin_at)
    whole = site.rows(query)
    assert any(row.recent_probability is not None for row in whole)
    times = sorted({row.started_at for row in site.rows(sa.select(Scoring.started_at))})
    early = Scoring.started_at < times[len(times) // 2]
    with site.store.write() as connection:
        connection.execute(sa.delete(AxisState))
        connection.execute(sa.update(Scoring).values(advised=sa.case((early, True), else_=False)))
    advise(site.store, site.settings, as_of=site.end)
    with site.store.write() as connection:
        connection.execute(sa.update(Scoring).values(advised=sa.case((early, False), else_=True)))
    advise(site.store, site.settings, as_of=site.end)
    assert site.rows(query) == whole


def test_a_model_that_tells_nothing_opens_one_case_and_raises_no_alarm(site: Site) -> None:
    with site.store.write() as connection:
        row = connection.execute(sa.select(ModelVersion)).one()
        assert {"labels_and_lines", "units"} <= set(row.metrics), "what `thresholds_of` reads is stored by train"
        metrics = {**row.metrics, "overall": {**row.metrics["overall"], "nll": 9.0}}
        connection.execute(sa.update(ModelVersion).values(metrics=metrics))
        connection.execute(sa.update(Score).values(fault_probability=0.99))
    advise(site.store, site.settings, as_of=site.end)
    (case,) = site.rows(sa.select(Case).where(Case.family == "model"))
    assert "9.00" in case.reasons[0]["why"]
    states = {row.state for row in site.rows(sa.select(AxisState.state))}
    assert "alarm" not in states
    with site.store.write() as connection:
        connection.execute(sa.update(Scoring).values(advised=False))
    assert advise(site.store, site.settings, as_of=site.end).opened == 0
    assert len(site.rows(sa.select(Case).where(Case.family == "model"))) == 1
