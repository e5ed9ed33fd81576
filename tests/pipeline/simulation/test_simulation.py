"""The simulated fleet: the same bytes, the physics it promises, and nothing given away to those it examines."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import tomllib
from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import signal, stats

from pipeline.base.errors import SettingsError
from pipeline.base.log_schema import LOG_SCHEMA
from pipeline.labels.words import LABEL_CSV_COLUMNS, Component, Evidence, Mode, Severity, Verdict
from pipeline.simulation import DETECTABLE_SEVERITY, KNOWN_MODES, FleetSettings, simulate
from pipeline.simulation.faults import FaultCourse, load_zone_weight, strikes
from pipeline.simulation.fleet import Role, draw_fleet, quotas
from pipeline.simulation.schedule import appointments
from pipeline.simulation.sensors import SENSOR_FAULTS, apply_sensor_fault
from pipeline.simulation.signals import Operation, excite, place_impulses, receive
from pipeline.simulation.structure import draw_structure, impulse_responses
from pipeline.simulation.units import draw_unit
from pipeline.simulation.worlds import WORLDS, World
from pipeline.simulation.writer import record

TINY = FleetSettings(robots=2, days=3, recordings_per_day=2, samples=2_048)
FLEET = FleetSettings(robots=8, days=10, recordings_per_day=1)
START = datetime(2026, 1, 5, tzinfo=UTC)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiny")
    simulate(out, TINY, workers=1)
    return out


@pytest.fixture(scope="module")
def default_labels() -> list[dict[str, str]]:
    from pipeline.simulation.findings import findings

    return findings(FleetSettings())


# ------------------------------------------------------------------------------------------------ determinism, folder


def test_same_settings_give_the_same_bytes_whatever_the_workers(tiny: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    simulate(tmp_path / "two", TINY, workers=2, on_progress=lambda done, of: seen.append((done, of)))
    assert digests(tmp_path / "two") == digests(tiny)
    assert seen == [(k, 6) for k in range(1, 7)]


def test_another_seed_gives_another_fleet(tiny: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "other", replace(TINY, seed=2), workers=1)
    ours, theirs = digests(tiny), digests(tmp_path / "other")
    assert all(ours[name] != theirs[name] for name in ours if name.endswith(".parquet"))


def test_running_again_touches_nothing(tiny: Path) -> None:
    before = digests(tiny), {path: path.stat().st_mtime_ns for path in tiny.rglob("*")}
    report = simulate(tiny, TINY, workers=1)
    assert not report.written
    assert report.recordings == len(rows_of(tiny / "truth.csv"))
    assert before == (digests(tiny), {path: path.stat().st_mtime_ns for path in tiny.rglob("*")})


def test_a_run_that_was_killed_is_finished(tmp_path: Path, tiny: Path) -> None:
    simulate(tmp_path, TINY, workers=1)
    marker = json.loads((tmp_path / "simulation.json").read_text())
    (tmp_path / "simulation.json").write_text(json.dumps({**marker, "complete": False}))
    next(tmp_path.rglob("*.parquet")).unlink()
    assert simulate(tmp_path, TINY, workers=1).written
    assert digests(tmp_path) == digests(tiny)


def test_other_settings_in_the_same_folder_are_refused(tiny: Path) -> None:
    before = digests(tiny)
    with pytest.raises(SettingsError, match="seed 1 there, 2 now"):
        simulate(tiny, replace(TINY, seed=2), workers=1)
    assert digests(tiny) == before


def test_a_landing_zone_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    with pytest.raises(SettingsError, match=r"no simulation\.json"):
        simulate(tmp_path, TINY, workers=1)


def test_wrong_settings_are_refused_all_at_once() -> None:
    with pytest.raises(SettingsError, match=r"robots must be 1 or more.*world must be 'A' or 'B'"):
        FleetSettings(robots=0, world="C")
    with pytest.raises(SettingsError, match="midnight UTC"):
        FleetSettings(start=datetime(2026, 1, 5, 6, tzinfo=UTC))


# --------------------------------------------------------------------------------------------------------- the files


def test_logs_obey_the_contract(tiny: Path) -> None:
    files = sorted((tiny / "landing").rglob("*.parquet"))
    assert len(files) == 6
    for path in files:
        table = pq.read_table(path, partitioning=None)
        assert table.schema.equals(LOG_SCHEMA)
        date = datetime.fromisoformat(path.name[:10]).replace(tzinfo=UTC)
        robot = path.parent.name
        assert path.name == f"{date.date()}_{robot}.parquet"
        assert path.parent.parent.parent.name == TINY.site
        assert path.stat().st_mtime == (date + timedelta(days=1)).timestamp()
        for row in table.to_pylist():
            assert (row["robot_id"], row["quantity"], row["unit"]) == (robot, "acceleration", "g")
            assert date <= row["started_at"] < date + timedelta(days=1)
            assert len(row["samples"]) == TINY.samples
            assert np.isfinite(row["samples"]).all()
            assert row["speed_is_steady"]
            assert 0.0 < row["load"] <= 1.0
    assert not list(tiny.rglob("*.part"))


def test_truth_lies_beside_the_landing_zone_and_covers_every_recording(tiny: Path) -> None:
    assert {path.suffix for path in (tiny / "landing").rglob("*") if path.is_file()} == {".parquet"}
    truth = rows_of(tiny / "truth.csv")
    logged: list[dict[str, Any]] = []
    for path in (tiny / "landing").rglob("*.parquet"):
        columns = ["robot_id", "axis", "channel", "started_at", "unit_serial", "program"]
        logged += pq.read_table(path, columns=columns, partitioning=None).to_pylist()
    keys = ("robot_id", "axis", "channel", "unit_serial", "program")
    ours = sorted((*(row[key] for key in keys), datetime.fromisoformat(row["started_at"])) for row in truth)
    assert ours == sorted((*(row[key] for key in keys), row["started_at"]) for row in logged)


def test_logs_do_not_give_the_condition_away(tiny: Path) -> None:
    words = {mode.value for mode in Mode} | {"fault", "healthy", *SENSOR_FAULTS}
    for path in (tiny / "landing").rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None).drop_columns(["samples"])
        text = " ".join(str(value) for row in table.to_pylist() for value in row.values())
        assert not [word for word in words if word in text]


def test_assets_name_each_unit_once_with_its_geometry(tiny: Path) -> None:
    assets = tomllib.loads((tiny / "assets.toml").read_text())
    assert assets["version"] == 1
    serials = [unit["unit_serial"] for unit in assets["unit"]]
    assert len(serials) == len(set(serials)) == 12
    assert {row["unit_serial"] for row in rows_of(tiny / "truth.csv")} <= set(serials)
    for unit in assets["unit"]:
        assert unit["installed_at"] < START
        assert unit["geometry"] in assets["geometry"]
    for geometry in assets["geometry"].values():
        balls = geometry["bpfo"] / geometry["ftf"]
        assert balls == pytest.approx(round(balls), abs=1e-4)
        assert geometry["bpfo"] + geometry["bpfi"] == pytest.approx(round(balls), abs=1e-4)


# ------------------------------------------------------------------------------------------------- quotas and labels


def test_the_default_fleet_has_the_quotas_that_training_needs(default_labels: list[dict[str, str]]) -> None:
    count = quotas(FleetSettings())
    assert (count.labelled, count.live) == ((4, 4, 4, 4), (2, 2, 2, 2))
    named = Counter(row["mode"] for row in default_labels if row["verdict"] == "fault")
    assert all(named[mode] >= 3 for mode in KNOWN_MODES)
    assert named[""] == 2
    assert sum(row["verdict"] == "healthy" for row in default_labels) == 20
    kinds = {plan.sensor_fault for plan in draw_fleet(FleetSettings())}
    assert kinds == {"", *SENSOR_FAULTS}


@pytest.mark.parametrize("robots", [1, 2, 3, 12, 40])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_every_size_of_fleet_is_shared_out_completely(robots: int, share: float) -> None:
    settings = FleetSettings(robots=robots, fault_share=share, label_share=share)
    plans = draw_fleet(settings)
    assert len(plans) == 6 * robots
    if robots == 2 and share == 0.5:
        assert {plan.role for plan in plans} >= {Role.FAULT_LABELLED, Role.FAULT_LIVE, Role.CAGE_LIVE}


def test_each_class_is_found_on_both_bearings() -> None:
    on = {(plan.installations[0].course.mode, plan.bearing.name) for plan in draw_fleet(FleetSettings())
          if plan.role is Role.FAULT_LABELLED and plan.installations[0].course}  # fmt: skip
    assert len(on) == 8


@pytest.mark.parametrize("settings", [FleetSettings(), replace(FleetSettings(), world="B", seed=3), TINY])
def test_labels_say_only_what_was_known(settings: FleetSettings) -> None:
    from pipeline.simulation.findings import findings

    units = {unit.unit_serial: (plan, unit) for plan in draw_fleet(settings) for unit in plan.installations}
    rows = findings(settings)
    assert rows
    for row in rows:
        assert set(row) == set(LABEL_CSV_COLUMNS)
        first, last, known = (datetime.fromisoformat(row[name]) for name in ("from_at", "to_at", "known_at"))
        assert settings.start <= first < last < known
        assert last <= settings.at(settings.label_end_day)
        assert row["mode"] in ("", *KNOWN_MODES)
        assert "calibrate" not in row["note"]
        Verdict(row["verdict"]), Evidence(row["evidence"])
        plan, unit = units[row["unit_serial"]]
        assert (unit.course is not None) == (row["verdict"] == "fault")
        if unit.course is not None:
            Severity(row["severity"])
            assert not row["mode"] or Component(row["component"])
            day = (first - settings.start).total_seconds() / 86_400.0
            assert unit.course.severity(day) >= DETECTABLE_SEVERITY - 1e-4
        assert (row["evidence"] == "teardown") == (len(plan.installations) == 2)


def test_what_training_never_saw_comes_late_and_live_faults_grow_after_the_findings() -> None:
    settings = FleetSettings()
    end = settings.label_end_day
    for plan in draw_fleet(settings):
        course = plan.installations[0].course
        if plan.role in (Role.FAULT_LIVE, Role.CAGE_LIVE):
            assert course is not None
            assert course.visible_day > end
            assert 0.4 * settings.days < course.onset_day < end
            assert course.severity(settings.days) > 0.5
        for day in range(settings.days):
            for what in appointments(settings, plan, day):
                if what.unseen_program or what.sensor_fault or what.unseen_class:
                    assert what.mode in ("", "cage")
                    assert day + 1 > (0.4 * settings.days if what.unseen_class else end)


def test_a_torn_down_unit_is_replaced_by_a_healthy_one() -> None:
    settings = FleetSettings()
    replaced = [plan for plan in draw_fleet(settings) if len(plan.installations) == 2]
    assert len(replaced) == 4
    for plan in replaced:
        old, new = plan.installations
        assert old.removed_day == new.installed_day == plan.finding_day
        for what in (what for day in range(settings.days) for what in appointments(settings, plan, day)):
            assert (what.started_at < settings.at(plan.finding_day)) == (what.installation is old)
            assert what.installation is old or not what.mode


def test_silent_axes_fall_silent_and_are_listed(tiny: Path) -> None:
    listed = json.loads((tiny / "simulation.json").read_text())["silent"]
    assert listed
    for silent in listed:
        times = [row["started_at"] for row in rows_of(tiny / "truth.csv")
                 if (row["robot_id"], row["axis"]) == (silent["robot_id"], silent["axis"])]  # fmt: skip
        assert times
        assert len(times) < TINY.days * TINY.recordings_per_day
        assert max(times) < silent["silent_from"]


# ------------------------------------------------------------------------------------------------------- the physics


@pytest.mark.parametrize("world", ["A", "B"])
def test_severity_never_falls_and_passes_the_detectable_level_on_the_stated_day(world: str) -> None:
    for plan in draw_fleet(replace(FleetSettings(), world=world)):
        course = plan.installations[0].course
        if course is None:
            continue
        days = np.linspace(course.onset_day, course.full_day, 50)
        severities = np.array([course.severity(float(day)) for day in days])
        assert severities[0] == pytest.approx(0.0, abs=1e-9)
        assert severities[-1] == pytest.approx(1.0)
        steps = np.diff(severities)
        assert (steps > 0.0).all()
        assert steps[-1] > 2.0 * steps[0], "slowly first, then faster"
        assert course.severity(course.visible_day) == pytest.approx(DETECTABLE_SEVERITY)


@pytest.mark.parametrize("mode", ["outer_race", "inner_race", "ball", "gear_tooth"])
def test_strikes_come_at_the_bearing_s_order_within_the_slip(mode: str) -> None:
    bearing = WORLDS["A"].bearings[0]
    order = {
        "outer_race": 9 / 2 * (1 - 7.94 / 39.04),
        "inner_race": 9 / 2 * (1 + 7.94 / 39.04),
        "ball": 39.04 / 7.94 * (1 - (7.94 / 39.04) ** 2),
        "gear_tooth": 1.0,
    }[mode]
    turns, mean, std = 2_000.0, 0.005, 0.01
    found = strikes(
        np.random.default_rng(7), mode=mode, bearing=bearing, turns=turns, slip_mean=mean, slip_std=std, load_zone=0.7
    )
    slip = 0.0 if mode == "gear_tooth" else mean
    spread = 5.0 * std / math.sqrt(turns * order)
    assert found.turns.size / turns == pytest.approx(order / (1.0 + slip), rel=spread + 1.5 / (turns * order))
    intervals = np.diff(found.turns) * order
    assert intervals.std() == pytest.approx(0.0 if mode == "gear_tooth" else std, rel=0.1, abs=1e-9)


def test_an_outer_race_unit_of_the_fleet_is_struck_bpfo_times_a_turn() -> None:
    world = WORLDS["A"]
    unit = draw_unit(np.random.default_rng(3), world, world.bearings[0])
    operation = Operation(1_800.0, 0.5, 35.0, 0.0, 1.0, 1.0, "outer_race", 1.0)
    happens = excite(np.random.default_rng(4), unit, operation, sampling_rate_hz=12_800.0, samples=128_000)
    assert happens.fault is not None
    inside = happens.turns[happens.lead :]
    hits = happens.fault.turns[happens.fault.turns >= inside[0]]
    rate_hz = hits.size / 10.0
    assert (inside[-1] - inside[0]) / 10.0 == pytest.approx(30.0, rel=1e-4), "mean speed is the one that is logged"
    assert rate_hz == pytest.approx(3.585 * 30.0, rel=0.02)
    assert rate_hz < 3.585 * 30.0, "elements slip: they are late, not early"


def test_load_zone_is_full_in_its_middle_and_empty_behind() -> None:
    assert load_zone_weight(np.array([0.0, 0.5]), 0.7).tolist() == pytest.approx([1.0, 0.0])
    inner = strikes(
        np.random.default_rng(0), mode="inner_race", bearing=WORLDS["A"].bearings[0], turns=200.0,
        slip_mean=0.002, slip_std=0.005, load_zone=0.7,
    )  # fmt: skip
    assert np.mean(inner.weights < 0.05) > 0.2


def test_impulses_between_samples_keep_area_and_place() -> None:
    placed = place_impulses(np.array([100.37]), np.array([2.0]), 256)
    assert placed.sum() == pytest.approx(2.0, rel=0.01)
    spectrum = np.fft.rfft(placed)
    delay = -np.angle(spectrum[5]) / (2.0 * np.pi * 5) * 256
    assert delay % (256 / 5) == pytest.approx(100.37 % (256 / 5), abs=0.02)


@pytest.mark.parametrize("resonance", ["modes", "continuum"])
def test_a_structure_answers_with_energy_one_and_has_calmed_down_at_the_end(resonance: str) -> None:
    for seed in range(5):
        structure = draw_structure(np.random.default_rng(seed), resonance)
        responses = impulse_responses(structure, sampling_rate_hz=12_800.0, temperature_c=35.0)
        assert np.sum(responses**2, axis=1) == pytest.approx([1.0, 1.0, 1.0])
        assert np.abs(responses[:, -64:]).max() < 0.01 * np.abs(responses).max()


def test_a_warm_unit_rings_lower() -> None:
    structure = draw_structure(np.random.default_rng(1), "modes")
    centre = []
    for warm in (20.0, 60.0):
        power = np.abs(np.fft.rfft(impulse_responses(structure, sampling_rate_hz=12_800.0, temperature_c=warm)[0])) ** 2
        centre.append(float(np.sum(power * np.arange(power.size)) / power.sum()))
    assert centre[1] / centre[0] == pytest.approx(1.0 - 40.0 * 4e-4, abs=2e-3)


def test_a_waveform_without_events_has_its_unit_s_level() -> None:
    world = WORLDS["A"]
    for seed in range(4):
        unit = draw_unit(np.random.default_rng(seed), world, world.bearings[1])
        quiet = replace(unit, harmonics=0 * unit.harmonics, mesh=0 * unit.mesh, ripple=0.0, clack_rate=0.0)
        operation = Operation(2_000.0, 0.5, 35.0, 0.0, 1.0, 1.0, "", 0.0)
        rng = np.random.default_rng(9)
        happens = excite(rng, quiet, operation, sampling_rate_hz=12_800.0, samples=20_480)
        x = receive(rng, quiet, quiet.structure, operation, happens, sampling_rate_hz=12_800.0, samples=20_480)
        assert np.std(x) == pytest.approx(unit.level_g, rel=0.05)


def test_severity_one_brings_the_power_that_the_world_promises() -> None:
    world = WORLDS["A"]
    for mode in ("outer_race", "inner_race", "ball", "gear_tooth"):
        unit = draw_unit(np.random.default_rng(11), world, world.bearings[0])
        unit = replace(unit, mesh=0 * unit.mesh, clack_rate=0.0)
        power = []
        for severity in (0.0, 1.0):
            operation = Operation(2_000.0, 0.5, 35.0, 0.0, 1.0, 1.0, mode, severity)
            happens = excite(np.random.default_rng(5), unit, operation, sampling_rate_hz=12_800.0, samples=128_000)
            x = receive(np.random.default_rng(6), unit, unit.structure, operation, happens,
                        sampling_rate_hz=12_800.0, samples=128_000)  # fmt: skip
            power.append(np.var(x) / unit.level_g**2)
        assert math.sqrt(power[1] - power[0]) == pytest.approx(unit.fault_ratio, rel=0.3), mode


# -------------------------------------------------------------------------------------------------------- the worlds


def test_world_b_lies_outside_world_a() -> None:
    a, b = WORLDS["A"], WORLDS["B"]
    assert a.resonance != b.resonance
    assert a.growth != b.growth
    for field in fields(World):
        low, high = getattr(a, field.name), getattr(b, field.name)
        if isinstance(low, tuple) and isinstance(low[0], float):
            assert low[1] < high[0] or high[1] < low[0], field.name
    speeds = [program.speed_rpm for program in a.programs]
    assert not [p for p in b.programs if min(speeds) * 0.94 <= p.speed_rpm <= max(speeds) * 1.06]
    for world in (a, b):
        assert world.blemish[1] < DETECTABLE_SEVERITY
    assert not {bearing.name for bearing in a.bearings} & {bearing.name for bearing in b.bearings}


def test_world_b_writes_other_signals_with_the_same_seed(tmp_path: Path) -> None:
    report = simulate(tmp_path, replace(TINY, world="B", channels=("acc_x", "acc_z")), workers=1)
    assert report.recordings == len(rows_of(tmp_path / "truth.csv"))
    table = pq.read_table(next((tmp_path / "landing").rglob("*.parquet")), partitioning=None)
    rows = table.to_pylist()
    assert {row["channel"] for row in rows} == {"acc_x", "acc_z"}
    assert {row["program"] for row in rows} <= {p.name for p in WORLDS["B"].programs} | {"calibrate"}
    assert rows[0]["started_at"] == rows[1]["started_at"]
    assert abs(np.corrcoef(rows[0]["samples"], rows[1]["samples"])[0, 1]) < 0.9


# ---------------------------------------------------------------------------------------------- difficulty, sensors


def auroc(negatives: list[float], positives: list[float]) -> float:
    u = stats.mannwhitneyu(positives, negatives).statistic
    return float(u / (len(positives) * len(negatives)))


@pytest.mark.parametrize("world", ["A", "B"])
def test_severe_faults_are_impulsive_in_a_band_but_level_does_not_tell_them(world: str) -> None:
    settings = replace(FLEET, world=world)
    band = signal.butter(3, (2_000.0, 5_500.0), "bandpass", fs=settings.sampling_rate_hz, output="sos")
    level: dict[bool, list[float]] = {True: [], False: []}
    peaky: dict[bool, list[float]] = {True: [], False: []}
    for plan in draw_fleet(settings):
        for what in appointments(settings, plan, 8):
            if what.sensor_fault or 0.0 < what.severity < 0.6:
                continue
            x = np.asarray(record(settings, plan, what)[0]["samples"], dtype=np.float64)
            level[bool(what.mode)].append(float(np.sqrt(np.mean(x**2))))
            peaky[bool(what.mode)].append(float(stats.kurtosis(signal.sosfiltfilt(band, x))))
    assert len(level[True]) >= 8
    assert auroc(peaky[False], peaky[True]) > 0.8
    assert auroc(level[False], level[True]) < 0.9
    assert np.median(peaky[True]) > np.median(peaky[False]) + 0.3


def test_an_early_fault_is_barely_there() -> None:
    course = FaultCourse("outer_race", visible_day=10.0, full_day=14.0, growth="power", shape=2.0)
    halfway = 0.5 * (course.onset_day + course.visible_day)
    assert course.severity(halfway) == pytest.approx(DETECTABLE_SEVERITY / 4.0)


@pytest.mark.parametrize("kind", SENSOR_FAULTS)
def test_sensor_faults_do_what_they_say(kind: str) -> None:
    fs = 12_800.0
    x = np.random.default_rng(0).standard_normal(20_480)
    before = x.copy()
    y = apply_sensor_fault(x, kind, np.random.default_rng(1), sampling_rate_hz=fs)
    assert np.array_equal(x, before)
    assert y.shape == x.shape
    power = np.abs(np.fft.rfft(y)) ** 2
    hz = np.fft.rfftfreq(y.size, 1.0 / fs)
    if kind == "flatline":
        assert np.ptp(y) == 0.0
    elif kind == "clipping":
        at_rail = np.mean(np.isclose(np.abs(y), np.abs(y).max()))
        assert 0.1 < at_rail < 0.4
    elif kind == "dropout":
        assert 0.04 < np.mean(y == 0.0) < 0.5
        assert np.array_equal(y[y != 0.0], x[y != 0.0])
    elif kind == "mains_hum":
        assert hz[np.argmax(power)] == pytest.approx(50.0, abs=0.7)
        assert power[(hz > 49.0) & (hz < 51.0)].sum() > 0.5 * power[1:].sum()
    else:
        assert power[hz > 3_000.0].mean() < 0.1 * power[(hz > 500.0) & (hz < 1_300.0)].mean()
        assert stats.skew(y) < -0.2


def test_an_unknown_sensor_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown sensor fault 'gremlin'; known: flatline"):
        apply_sensor_fault(np.zeros(10), "gremlin", np.random.default_rng(0), sampling_rate_hz=1.0)


def test_the_simulation_shares_no_code_with_what_it_examines() -> None:
    import pipeline.simulation

    folder = Path(os.fspath(pipeline.simulation.__file__)).parent
    for path in folder.glob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
        assert not imported & {"features", "models"}
