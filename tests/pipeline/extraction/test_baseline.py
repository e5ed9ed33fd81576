"""The baseline step: whose first days, when, of what, and that nothing later changes them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from features.extract import extract as features_of
from features.settings import feature_names
from features.windows import cut, plan_windows
from pipeline.assets import import_assets
from pipeline.base.quantities import STANDARD_GRAVITY_M_S2
from pipeline.base.settings import Settings
from pipeline.extraction.baseline import BaselineReport, update_baselines
from pipeline.extraction.baselines import Baselines, site_programs
from pipeline.extraction.extract import extract_due
from pipeline.extraction.in_force import feature_settings
from pipeline.extraction.reading import read_features
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.labels.labels import import_labels
from pipeline.store.attribution import extractions
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Baseline, DueWork, Extraction, Label, LabelWithdrawal

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
ANY = "*|*|*"


@dataclass
class Bench:
    """A plant of one robot: logs go in, baselines come out. One day is the baseline period."""

    store: Store
    lake: Lake
    settings: Settings
    landing: Path
    limits: Limits
    write_log: Callable[..., Path]
    make_row: Callable[..., dict[str, Any]]
    folder: Path

    def feed(self, *rows: dict[str, Any], as_of: datetime | None = None) -> None:
        """Acquire and extract rows."""
        self.write_log(self.landing / f"{len(list(self.landing.iterdir()))}.parquet", rows)
        report = acquire(self.store, self.lake, self.landing, limits=self.limits, settled_before=self.limits.as_of)
        assert report.recordings == len(rows)
        self.extract(as_of)

    def extract(self, as_of: datetime | None = None) -> None:
        extract_due(self.store, self.lake, self.settings, as_of=as_of or self.limits.as_of)

    def hours(self, *hours: int, **changes: Any) -> list[dict[str, Any]]:
        return [self.make_row(hour, **changes) for hour in hours]

    def update(self, as_of: datetime) -> BaselineReport:
        return update_baselines(self.store, self.lake, self.settings, as_of=as_of)

    def rows(self, **equal: Any) -> list[dict[str, Any]]:
        """Baselines, those with some columns equal to something."""
        query = sa.select(Baseline).order_by(Baseline.known_at, Baseline.baseline_version)
        for name, value in equal.items():
            query = query.where(getattr(Baseline, name) == value)
        with self.store.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def assets(self, *units: tuple[str, float | None, datetime, datetime | None]) -> None:
        """Import units of R01/A1 as (serial, geometry's bpfo or None, installed, removed)."""
        text = "version = 1\n"
        for serial, bpfo, installed, removed in units:
            text += f'[geometry.g{serial}]\nbpfo = {bpfo}\nsource = "x"\n' if bpfo is not None else ""
            text += '[[unit]]\nsite = "plant1"\ncell = "c1"\nrobot_id = "R01"\naxis = "A1"\n'
            text += f'unit_serial = "{serial}"\ninstalled_at = {installed.isoformat()}\n'
            text += f'geometry = "g{serial}"\n' if bpfo is not None else ""
            text += f"removed_at = {removed.isoformat()}\n" if removed is not None else ""
        (self.folder / "assets.toml").write_text(text, encoding="utf-8")
        import_assets(self.store, self.folder / "assets.toml", as_of=START)

    def label(self, known_at: datetime, **changes: Any) -> None:
        cells = {
            "unit_serial": "SN-1",
            "from_at": START.isoformat(),
            "to_at": (START + 30 * DAY).isoformat(),
            "verdict": "fault",
            "mode": "outer_race",
            "evidence": "inspected",
            "known_at": known_at.isoformat(),
        } | changes
        path = self.folder / "labels.csv"
        path.write_text(",".join(cells) + "\n" + ",".join(cells.values()) + "\n", encoding="utf-8")
        import_labels(self.store, path, who="jo")

    def found(self, hour: int, as_of: datetime, channel: str = "acc_x") -> str | None:
        """Regime of the baseline that the recording of an hour is compared with."""
        query = extractions().where(
            Extraction.started_at == START + timedelta(hours=hour), Extraction.channel == channel
        )
        with self.store.read() as connection:
            found = Baselines(connection, as_of).of(connection.execute(query).one())
        return None if found is None else found.regime


@pytest.fixture
def bench(
    store: Store, lake: Lake, landing: Path, limits: Limits, tmp_path: Path,
    write_log: Callable[..., Path], make_row: Callable[..., dict[str, Any]], make_settings: Callable[..., Settings],
) -> Bench:  # fmt: skip
    settings = make_settings(lake_url=lake.root, baseline_days=1.0, window_turns=2.0)
    return Bench(store, lake, settings, landing, limits, write_log, make_row, tmp_path)


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Baselines without the time at which they were written."""
    plain = [{name: value for name, value in row.items() if name != "known_at"} for row in rows]
    return sorted(plain, key=lambda row: str(row["baseline_version"]))


# ----------------------------------------------------------------------------------------------------------- when


def test_the_period_begins_with_the_first_recording_and_is_over_after_baseline_days(bench: Bench) -> None:
    bench.feed(*bench.hours(5, 11, 17, 28, 29, 40))
    end = START + timedelta(hours=5) + DAY
    assert bench.update(end - TICK).as_dict() == {"units": 0, "baselines": 0}
    assert bench.update(end).as_dict() == {"units": 1, "baselines": 4}, "a regime and what it falls back to"
    for row in bench.rows():
        assert (row["from_at"], row["to_at"], row["known_at"]) == (end - DAY, end, end)
        assert row["n_recordings"] == 4, "the end itself is not included"
        assert (row["unit_serial"], row["channel"], row["scope"]) == ("SN-1", "acc_x", "acceleration")
    ladder = {"pick|1500|0.5", "pick|1500|*", "pick|*|*", ANY}
    assert {row["regime"] for row in bench.rows()} == ladder


def test_median_and_spread_are_those_of_the_windows_features(bench: Bench) -> None:
    rng = np.random.default_rng(2)
    samples = [rng.normal(size=size).astype(np.float32) for size in (20_000, 9_000, 15_361, 40_000)]
    rows = [bench.make_row(hour, samples=signal.tolist()) for hour, signal in enumerate(samples)]
    bench.feed(*rows)
    bench.update(START + DAY)
    wanted = feature_settings(bench.settings, "acceleration")
    parts = []
    for signal in samples:
        known = {"sampling_rate_hz": 12_800.0, "shaft_speed_rpm": 1_500.0, "speed_is_steady": True}
        windows = cut(signal, plan_windows(len(signal), settings=wanted.windows, **known))
        windows = windows * np.float32(STANDARD_GRAVITY_M_S2)
        parts.append(features_of(windows, rate_is_declared=True, orders=None, settings=wanted, **known))
    values = np.concatenate(parts).astype(np.float64)
    assert len(values) > 4
    (row,) = bench.rows(regime=ANY)
    assert row["n_windows"] == len(values)
    names = feature_names(wanted)
    assert len(row["median"]) == len(row["spread"]) == len(names)
    for index, name in enumerate(names):
        column = values[:, index]
        if np.isnan(column).all():
            assert row["median"][index] is row["spread"][index] is None, name
        else:
            middle = np.median(column[np.isfinite(column)])
            spread = 1.4826 * np.median(np.abs(column[np.isfinite(column)] - middle))
            assert (row["median"][index], row["spread"][index]) == pytest.approx((middle, spread)), name


def test_a_plant_s_programs_are_those_of_each_axis_s_first_days(bench: Bench) -> None:
    """Not what a replaced unit begins with, nor what came after the first period; and not before it is known."""
    bench.assets(("SN-1", None, START, START + 3 * DAY), ("SN-2", None, START + 3 * DAY, None))
    for hour, program in (
        (1, "pick"),
        (2, "weld"),
        (3, "pick"),
        (30, "pack"),
        (73, "grind"),
        (74, "grind"),
        (75, "grind"),
    ):
        serial = "SN-1" if hour < 72 else "SN-2"
        bench.feed(*bench.hours(hour, program=program, unit_serial=serial))
    bench.update(START + 5 * DAY)
    assert {row["unit_serial"] for row in bench.rows(regime=ANY)} == {"SN-1", "SN-2"}
    assert all(row["programs"] is None for row in bench.rows() if row["regime"] != ANY)
    with bench.store.read() as connection:
        assert site_programs(connection, as_of=START + 5 * DAY) == {"plant1": {"pick", "weld"}}
        assert site_programs(connection, as_of=START + 5 * DAY - TICK) == {}


def test_too_few_recordings_of_a_regime_fall_back_to_a_coarser_one(bench: Bench) -> None:
    bench.feed(
        *bench.hours(0, 1, 2),
        *bench.hours(3, 4, load=0.75),
        *bench.hours(5, shaft_speed_rpm=600.0),
        *bench.hours(6, program="weld", shaft_speed_rpm=600.0),
        *bench.hours(7, program=None, shaft_speed_rpm=None, load=None),
    )
    bench.update(START + DAY)
    counts = {row["regime"]: row["n_recordings"] for row in bench.rows()}
    assert counts == {"pick|1500|0.5": 3, "pick|1500|*": 5, "pick|*|*": 6, ANY: 8}
    looked_up = {hour: bench.found(hour, START + DAY) for hour in (0, 3, 5, 6, 7)}
    assert looked_up == {0: "pick|1500|0.5", 3: "pick|1500|*", 5: "pick|*|*", 6: ANY, 7: ANY}


def test_fewer_recordings_than_needed_give_none(bench: Bench) -> None:
    bench.feed(*bench.hours(0, 1, 30, 31, 32))
    assert bench.update(START + 9 * DAY).baselines == 0
    assert bench.found(30, START + 9 * DAY) is None


def test_too_few_windows_for_a_median_do_not_hide_a_coarser_regime(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"window_turns": 30.0})
    bench.feed(*bench.hours(0, 1, 2), *bench.hours(3, 4, 5, program="weld"))
    bench.update(START + DAY)
    assert [row["regime"] for row in bench.rows()] == [ANY], "three windows each, and four are needed"
    assert bench.found(0, START + DAY) == ANY


def test_recordings_of_bad_quality_are_left_out(bench: Bench) -> None:
    bench.feed(
        *bench.hours(0, 1, 2),
        *bench.hours(3, samples=[0.25] * 2_048),
        *bench.hours(4, samples=[0.1, -0.1] * 20),
        *bench.hours(5, samples=[3e38, -3e38] * 1_024),
    )
    bench.update(START + DAY)
    (row,) = bench.rows(regime=ANY)
    assert row["n_recordings"] == 3


def test_an_infinite_feature_counts_as_missing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.feed(*bench.hours(*range(6)))

    def spoilt(*given: Any) -> list[Any]:
        parts = read_features(*given)
        parts[0][:, 0] = np.inf
        return parts

    monkeypatch.setattr("pipeline.extraction.baseline.read_features", spoilt)
    bench.update(START + DAY)
    (row,) = bench.rows(regime=ANY)
    assert row["median"][0] is not None
    assert np.isfinite(row["median"][0])


# ------------------------------------------------------------------------------------------------------ whose, of what


def test_archives_without_times_get_none(bench: Bench) -> None:
    bench.feed(*bench.hours(0, 1, 2, 3, time_basis="synthetic"))
    assert bench.update(START + 9 * DAY).baselines == 0


def test_a_new_unit_that_the_log_names_has_a_baseline_of_its_own(bench: Bench) -> None:
    bench.feed(*bench.hours(0, 1, 2), *bench.hours(100, 101, 102, unit_serial="SN-2"))
    first = START + timedelta(hours=100)
    assert bench.update(first + DAY - TICK).units == 1
    assert bench.found(100, first + 2 * DAY) is None, "that of the unit before is not its own"
    assert bench.update(first + DAY).units == 1
    (row,) = bench.rows(unit_serial="SN-2", regime=ANY)
    assert (row["from_at"], row["n_recordings"]) == (first, 3)
    assert bench.found(100, first + DAY) == "pick|1500|0.5"


def test_a_new_unit_that_the_registry_names_has_a_baseline_of_its_own(bench: Bench) -> None:
    change = START + timedelta(hours=12)
    bench.assets(("SN-A", None, START, change), ("SN-B", None, change, None))
    bench.feed(*bench.hours(*range(18), unit_serial=None))
    bench.update(START + 2 * DAY)
    counts = {row["unit_serial"]: (row["from_at"], row["n_recordings"]) for row in bench.rows(regime=ANY)}
    assert counts == {"SN-A": (START, 12), "SN-B": (change, 6)}


def test_the_log_knows_its_unit_better_than_the_registry(bench: Bench) -> None:
    bench.assets(("SN-A", None, START - 9 * DAY, None))
    bench.feed(*bench.hours(0, 1, 2, unit_serial="SN-LOG"), *bench.hours(3, 4, 5, unit_serial=None))
    bench.update(START + 2 * DAY)
    counts = {row["unit_serial"]: (row["from_at"], row["n_recordings"]) for row in bench.rows(regime=ANY)}
    assert counts == {"SN-LOG": (START, 3), "SN-A": (START + timedelta(hours=3), 3)}


def test_an_axis_whose_unit_nobody_names_is_one_unit(bench: Bench) -> None:
    bench.feed(*bench.hours(0, 1, 2, unit_serial=None))
    bench.update(START + DAY)
    assert [row["unit_serial"] for row in bench.rows(regime=ANY)] == [None]
    assert bench.found(1, START + DAY) == "pick|1500|0.5"


def test_channels_and_scopes_are_kept_apart(bench: Bench) -> None:
    """Even where two quantities have the same feature version, and where one channel changes its unit."""
    bench.settings = bench.settings.model_copy(update={"min_samples_other": 512})
    bench.feed(
        *bench.hours(0, 1, 2),
        *bench.hours(3, 4, 5, unit="raw"),
        *bench.hours(6, 7, 8, quantity="motor_current", unit="A"),
        *bench.hours(0, 1, 2, channel="acc_y"),
    )
    bench.update(START + DAY)
    counts = {(row["channel"], row["scope"]): row["n_recordings"] for row in bench.rows(regime=ANY)}
    assert counts == {
        ("acc_x", "acceleration"): 3,
        ("acc_x", "acceleration:raw"): 3,
        ("acc_x", "motor_current"): 3,
        ("acc_y", "acceleration"): 3,
    }


@pytest.mark.parametrize("when", ["in time", "late"])
def test_a_unit_found_faulty_by_the_end_of_the_period_has_none(bench: Bench, when: str) -> None:
    bench.feed(*bench.hours(*range(8)), *bench.hours(*range(8), channel="acc_y"), *bench.hours(0, 1, 2, axis="A2"))
    bench.label(START + DAY, channel="acc_x", from_at=(START + timedelta(hours=6)).isoformat())
    bench.update(START + DAY if when == "in time" else START + 20 * DAY)
    with bench.store.read() as connection:
        names = dict(connection.execute(sa.select(Axis.axis_id, Axis.axis)).all())
    assert {names[row["axis_id"]] for row in bench.rows()} == {"A2"}, "on no channel, and no other unit"


@pytest.mark.parametrize("first_run", [START + DAY, START + 9 * DAY], ids=["at its end", "after the finding"])
def test_what_is_found_after_the_period_changes_nothing(bench: Bench, first_run: datetime) -> None:
    bench.feed(*bench.hours(*range(8)))
    bench.label(START + DAY + TICK)
    assert bench.update(first_run).baselines == 4
    before = bench.rows()
    assert bench.update(START + 20 * DAY).baselines == 0
    assert bench.rows() == before


def test_a_finding_that_a_stronger_one_has_undone_by_then_is_none(bench: Bench) -> None:
    bench.feed(*bench.hours(*range(8)))
    bench.label(START + timedelta(hours=9), evidence="signal_only")
    bench.label(START + timedelta(hours=12), verdict="healthy", mode="")
    assert bench.update(START + DAY).baselines == 4


def test_a_unit_whose_finding_is_withdrawn_gets_its_baselines_with_nothing_else_new(bench: Bench) -> None:
    bench.feed(*bench.hours(*range(8)))
    bench.label(START + DAY)
    assert bench.update(START + DAY).baselines == bench.update(START + 2 * DAY).baselines == 0
    with bench.store.write() as connection:
        (label,) = connection.scalars(sa.select(Label.label_id))
        withdrawn = {"label_id": label, "who": "jo", "known_at": START + 3 * DAY}
        connection.execute(sa.insert(LabelWithdrawal), withdrawn)
    assert bench.update(START + 2 * DAY).baselines == 0, "not known yet"
    assert bench.update(START + 3 * DAY).baselines == 4


# ---------------------------------------------------------------------------------- again, late, at once, killed


def test_only_what_is_new_in_the_period_is_looked_at(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its end, after it, and when another unit's period ends; a late recording in the period is."""
    read: list[str] = []

    def noted(lake: Lake, settings: Any, rows: Any) -> Any:
        read.extend(row.axis_id for row in rows)
        return read_features(lake, settings, rows)

    monkeypatch.setattr("pipeline.extraction.baseline.read_features", noted)
    bench.feed(*bench.hours(0, 1, 2), *bench.hours(6, 7, 8, axis="A2"))
    assert bench.update(START + timedelta(hours=23)).baselines == 0 == len(read)
    assert bench.update(START + DAY).baselines == 4
    assert len(read) == 3
    bench.feed(*bench.hours(25))
    assert bench.update(START + timedelta(hours=29)).baselines == 0
    assert len(read) == 3, "it started after the period"
    assert bench.update(START + timedelta(hours=30)).baselines == 4, "of the other axis, whose period is over now"
    assert len(read) == 6
    bench.feed(*bench.hours(3))
    assert bench.update(START + timedelta(hours=31)).baselines == 4
    assert len(read) == 10
    with bench.store.read() as connection:
        assert connection.scalars(sa.select(DueWork.subject).where(DueWork.step == "baseline")).all() == []


def test_another_length_of_the_period_is_looked_at_at_once(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"baseline_days": 9.0})
    bench.feed(*bench.hours(0, 1, 2))
    assert bench.update(START + 2 * DAY).baselines == 0
    bench.settings = bench.settings.model_copy(update={"baseline_days": 1.0})
    assert bench.update(START + 2 * DAY).baselines == 4


def test_running_again_writes_nothing(bench: Bench, dump: Callable[[Store], Any]) -> None:
    bench.feed(*bench.hours(*range(8)))
    bench.update(START + DAY)
    before = dump(bench.store)
    assert bench.update(START + DAY).as_dict() == {"units": 0, "baselines": 0}
    assert bench.update(START + 9 * DAY).as_dict() == {"units": 0, "baselines": 0}
    assert dump(bench.store) == before


def test_late_gives_what_in_time_gives(bench: Bench, tmp_path: Path) -> None:
    rows = [*bench.hours(*range(0, 60, 5)), *bench.hours(*range(2, 90, 6), unit_serial=None, axis="A2")]
    bench.feed(*rows)
    for day in range(1, 7):
        bench.update(START + day * DAY)
    other = replace(bench, store=Store.open(f"sqlite:///{tmp_path / 'late.db'}"), lake=Lake(str(tmp_path / "late")))
    other.settings = bench.settings.model_copy(update={"lake_url": other.lake.root})
    acquire(other.store, other.lake, other.landing, limits=other.limits, settled_before=other.limits.as_of)
    other.extract()
    other.update(START + 30 * DAY)
    assert told(other.rows()) == told(bench.rows()) != []
    other.store.dispose()


def test_late_recordings_make_a_new_version_and_the_old_one_stays(bench: Bench) -> None:
    bench.feed(*bench.hours(0, 1, 2, 3))
    bench.update(START + DAY)
    (old,) = bench.rows(regime=ANY)
    bench.feed(*bench.hours(4, 5))
    assert bench.update(START + DAY + timedelta(hours=1)).baselines == 4
    first, second = bench.rows(regime=ANY)
    assert first == old
    assert (second["n_recordings"], second["from_at"]) == (6, START)
    with bench.store.read() as connection:
        extraction = connection.execute(sa.select(Extraction).limit(1)).one()
        early = Baselines(connection, START + DAY).of(extraction)
        newest = Baselines(connection, START + 2 * DAY).of(extraction)
        assert Baselines(connection, START + DAY - TICK).of(extraction) is None, "not known yet"
    assert early is not None
    assert newest is not None
    assert early.version in {row["baseline_version"] for row in bench.rows(known_at=START + DAY)}
    assert newest.version not in {row["baseline_version"] for row in bench.rows(known_at=START + DAY)}
    bench.feed(*bench.hours(6))
    assert bench.update(START + 2 * DAY).baselines == 0, "settled"


def test_an_earlier_recording_that_comes_late_begins_the_period_anew(bench: Bench) -> None:
    bench.feed(*bench.hours(10, 11, 12))
    bench.update(START + timedelta(hours=10) + DAY)
    bench.feed(*bench.hours(0))
    bench.update(START + 5 * DAY)
    assert [(row["from_at"], row["n_recordings"]) for row in bench.rows(regime=ANY)] == [
        (START + timedelta(hours=10), 3),
        (START, 4),
    ]


def test_new_geometry_and_new_feature_settings_get_their_baselines_however_late(bench: Bench) -> None:
    bench.feed(*bench.hours(0, 1, 2), *bench.hours(3, 4, 5, quantity="motor_current", unit="A"))
    assert bench.update(START + DAY).baselines == 8
    bench.assets(("SN-1", 3.58, START - DAY, None))
    bench.extract()
    assert bench.found(0, START + 30 * DAY) is None
    assert bench.update(START + 30 * DAY).baselines == 8
    assert bench.found(0, START + 30 * DAY) is not None
    assert len({row["geometry_version"] for row in bench.rows()}) == 2
    bench.settings = bench.settings.model_copy(update={"min_samples_other": 100})
    bench.extract()
    assert bench.update(START + 60 * DAY).baselines == 4, "of the current alone; acceleration is as it was"
    assert bench.update(START + 60 * DAY).baselines == 0


TWO_AT_ONCE = """
import os, sys
from datetime import datetime
from pipeline.extraction.baseline import update_baselines
from pipeline.base.settings import Settings
from pipeline.store.lake import Lake
from pipeline.store.database import Store

database, lake, as_of = sys.argv[1:]
settings = Settings(database_url=database, lake_url=lake, baseline_days=1.0, window_turns=2.0)
update_baselines(Store.open(database), Lake(lake), settings, as_of=datetime.fromisoformat(as_of))
"""

KILLED = """
import contextlib, signal
from pipeline.store import database as store
write = store.Store.write

@contextlib.contextmanager
def dying(self):
    with write(self) as connection:
        yield connection
        if KILL_BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)

store.Store.write = dying
"""


def start(bench: Bench, url: str, code: str = "") -> subprocess.Popen[bytes]:
    program = TWO_AT_ONCE.replace("\ndatabase", f"{code}\ndatabase")
    arguments = [sys.executable, "-c", program, url, bench.lake.root, (START + 5 * DAY).isoformat()]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AXISWATCH_")}
    return subprocess.Popen(arguments, env=kept | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)


def many_units(bench: Bench) -> list[dict[str, Any]]:
    """Give what an undisturbed run writes for three axes and two units, and take it away again."""
    for axis in ("A1", "A2", "A3"):
        bench.feed(*bench.hours(0, 1, 2, 3, axis=axis), *bench.hours(50, 51, 52, axis=axis, unit_serial="SN-9"))
    bench.update(START + 5 * DAY)
    wanted = bench.rows()
    assert len(wanted) == 3 * 2 * 4
    with bench.store.write() as connection:
        connection.execute(sa.delete(Baseline))
    return wanted


def test_two_at_once_write_what_one_writes(bench: Bench, store_url: str) -> None:
    wanted = many_units(bench)
    for process in [start(bench, store_url), start(bench, store_url)]:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert told(bench.rows()) == told(wanted)


def test_killed_and_run_again_writes_what_one_run_writes(bench: Bench, store_url: str) -> None:
    wanted = many_units(bench)
    for before, there in (("True", 0), ("False", 4)):
        process = start(bench, store_url, KILLED.replace("KILL_BEFORE", before))
        process.communicate(timeout=60)
        assert process.returncode == -9
        assert len(bench.rows()) == there, "a unit's baselines are written together"
    bench.update(START + 5 * DAY)
    assert told(bench.rows()) == told(wanted)
