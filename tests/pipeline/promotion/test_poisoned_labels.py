"""A poisoned batch of labels on a simulated fleet with real trainings: wrong labels are set aside, right ones count."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.assets import import_assets
from pipeline.base.settings import Settings
from pipeline.extraction.extract import extract_due
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.labels.labels import CONFIRM, label_row, question_id
from pipeline.promotion.promotion import retrain
from pipeline.registry.versions import champion_of, get_version
from pipeline.simulation import FleetSettings, simulate
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import AliasEvent, Case, Label, ModelVersion, RetrainingDecision

FLEET = FleetSettings(robots=8, axes=4, days=6, samples=8_192, seed=6, fault_share=0.45)
FIRST, SECOND, THIRD = (FLEET.start + timedelta(days=days) for days in (10, 15, 20))
FLIPPED = 0.2


@dataclass
class Known:
    """What the simulator knows of a unit."""

    place: dict[str, str]
    times: list[str] = field(default_factory=list)
    fault_from: str | None = None
    mode: str = ""
    odd: bool = False


def read_truth(path: Path) -> dict[str, Known]:
    units: dict[str, Known] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            place = {name: row[name] for name in ("site", "cell", "robot_id", "axis")}
            unit = units.setdefault(row["unit_serial"], Known(place))
            unit.times.append(row["started_at"])
            unit.odd |= bool(row["sensor_fault"])
            if row["condition"] == "fault" and row["visible"] == "true" and unit.fault_from is None:
                unit.fault_from, unit.mode = row["started_at"], row["mode"]
    return {name: unit for name, unit in units.items() if not unit.odd}


def finding(name: str, unit: Known, known_at: datetime, *, wrong: bool = False, evidence: str = "inspected") -> Any:
    """A label from the truth, or the opposite of it."""
    faulty = (unit.fault_from is not None) != wrong
    cells = unit.place | {
        "unit_serial": name,
        "from_at": unit.fault_from or unit.times[0],
        "to_at": (datetime.fromisoformat(unit.times[-1]) + timedelta(hours=1)).isoformat(),
        "verdict": "fault" if faulty else "healthy",
        "mode": (unit.mode or "inner_race") if faulty else "",
        "evidence": evidence,
        "known_at": known_at.isoformat(),
    }
    row, problems = label_row(cells, who="inspection")
    assert not problems
    return row


@dataclass
class Bench:
    store: Store
    lake: Lake
    settings: Settings
    old: list[Any]
    new: dict[str, Known]
    wrong: list[str]

    def learn(self, rows: list[Any]) -> None:
        with self.store.write() as connection:
            connection.execute(sa.insert(Label), rows)

    def retrain(self, as_of: datetime) -> dict[str, Any]:
        return retrain(self.store, self.lake, self.settings, "acceleration", as_of=as_of, trigger="labels")

    def forget(self) -> None:
        """Back to the first champion, before the second batch."""
        with self.store.write() as connection:
            connection.execute(sa.delete(Label).where(Label.known_at > FIRST))
            connection.execute(sa.delete(RetrainingDecision).where(RetrainingDecision.decided_at > FIRST))
            connection.execute(sa.delete(AliasEvent).where(AliasEvent.at > FIRST))
            first = sa.select(AliasEvent.model_version).where(AliasEvent.sequence == 1, AliasEvent.alias == "champion")
            version = connection.scalar(first)
            connection.execute(sa.text("DELETE FROM model_aliases WHERE alias = 'challenger'"))
            connection.execute(sa.text("UPDATE model_aliases SET model_version = :v"), {"v": version})
            connection.execute(sa.delete(ModelVersion).where(ModelVersion.model_version != version))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Half of the units labelled rightly, and a first champion trained on them."""
    home = tmp_path_factory.mktemp("poisoned")
    simulate(home / "fleet", FLEET, workers=1)
    settings = Settings(home=home, workers=1, epochs=30, hidden=(64,), folds=4, n_samples=20, synthetic_windows=60)
    store, lake = Store.open(settings.database), Lake(settings.lake)
    import_assets(store, home / "fleet" / "assets.toml", as_of=FLEET.start)
    limits = Limits(FIRST, settings.max_samples, settings.max_sampling_rate_hz, settings.max_shaft_speed_rpm)
    acquire(store, lake, home / "fleet" / "landing", limits=limits, settled_before=FIRST + timedelta(days=36_500))
    extract_due(store, lake, settings, as_of=FIRST)
    units = read_truth(home / "fleet" / "truth.csv")
    names = [str(name) for name in np.random.default_rng(2).permutation(sorted(units))]
    half = len(names) // 2
    old = [finding(name, units[name], FIRST - timedelta(hours=1)) for name in names[:half]]
    new = {name: units[name] for name in names[half:]}
    made = Bench(store, lake, settings, old, new, list(new)[: round(FLIPPED * len(new))])
    made.learn(old)
    assert made.retrain(FIRST)["outcome"] == "first"
    yield made
    store.dispose()


def test_a_batch_of_right_labels_promotes(bench: Bench) -> None:
    bench.learn([finding(name, unit, SECOND - timedelta(hours=1)) for name, unit in bench.new.items()])
    found = bench.retrain(SECOND)
    assert found["outcome"] == "promoted", found["reason"]
    assert found["figures"]["then"]["units"] >= 12
    assert found["figures"]["now"]["units"] > found["figures"]["then"]["units"]
    nll = found["figures"]["then"]["nll"]
    assert nll["low"] <= nll["difference"] <= nll["high"] <= 0.1
    assert champion_of(bench.store, "acceleration") == found["candidate"]
    bench.forget()


def test_of_a_batch_with_a_fifth_flipped_the_wrong_labels_are_set_aside_until_they_are_put_right(bench: Bench) -> None:
    champion = champion_of(bench.store, "acceleration")
    assert len(bench.wrong) >= 3
    at = SECOND - timedelta(hours=1)
    bench.learn([finding(name, unit, at, wrong=name in bench.wrong) for name, unit in bench.new.items()])
    found = bench.retrain(SECOND)
    assert {item["unit"] for item in found["figures"]["doubt"]["contradicted"]} == set(bench.wrong)
    with bench.store.read() as connection:
        aside = sa.select(Label.unit_serial).where(Label.label_id.in_(found["figures"]["set_aside"]))
        assert set(connection.scalars(aside)) == set(bench.wrong)
        asked = sa.select(Case.case_id).where(Case.family == CONFIRM, Case.state == "open")
        assert set(connection.scalars(asked)) == {question_id(name) for name in found["figures"]["set_aside"]}
    assert found["outcome"] == "promoted", found["reason"]
    learned = get_version(bench.store, found["candidate"])["metrics"]["units"]
    assert not {row["unit"] for row in learned} & set(bench.wrong), "the others were learned"
    assert champion_of(bench.store, "acceleration") == found["candidate"] != champion
    right = [finding(name, bench.new[name], THIRD - timedelta(hours=1), evidence="teardown") for name in bench.wrong]
    bench.learn(right)
    after = bench.retrain(THIRD)
    assert "set_aside" not in after["figures"], after["reason"]
    units = {row["unit"]: row["class_name"] for row in get_version(bench.store, after["candidate"])["metrics"]["units"]}
    assert {name: units[name] != "healthy" for name in bench.wrong} == {
        name: bench.new[name].fault_from is not None for name in bench.wrong
    }
    bench.forget()
