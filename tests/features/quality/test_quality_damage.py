"""Verdicts on real recordings damaged on purpose, and on the declared speed of simulated ones."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from features.kinematics import Orders
from features.quality.speed_check import shown_speed
from pipeline.simulation.fleet import draw_fleet
from pipeline.simulation.schedule import appointments
from pipeline.simulation.settings import FleetSettings
from pipeline.simulation.writer import record

ROOT = os.environ.get("AXISWATCH_TEST_DATA")
real = pytest.mark.skipif(not ROOT, reason="AXISWATCH_TEST_DATA does not name the folder of real recordings")


@pytest.fixture(scope="module")
def benchmark():
    folder = Path(__file__).parents[3] / "benchmarks"
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location("damage_benchmark", folder / "damage.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["damage_benchmark"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


@real
def test_damaged_recordings_get_a_verdict_and_good_and_faulty_ones_do_not(benchmark):
    groups = [*benchmark.cwru(Path(ROOT)), *benchmark.uestc(Path(ROOT)), *benchmark.rv_reducer(Path(ROOT))]
    shares = benchmark.judge_all(groups, per_group=10).groupby("kind")[["with", "changed"]].mean()
    assert shares.loc["undamaged", "changed"] <= 0.05
    assert shares.loc["machine fault", "with"] <= 0.02
    for kind in ("flatline", "flat_part", "clipping", "dropout", "gain_1000", "gain_1/1000", "loose_mount"):
        assert shares.loc[kind, "with"] >= 0.95, kind
    for kind in ("gain_9.81", "gain_1/9.81", "rate_declared"):
        assert shares.loc[kind, "with"] >= 0.9, kind
    assert shares.loc["sign", "with"] == shares.loc["swapped", "with"] == 0


@pytest.mark.parametrize("world", ["A", "B"])
def test_simulated_speeds_are_not_contradicted_and_wrong_ones_mostly_are(world):
    settings = FleetSettings(robots=2, axes=4, days=2, recordings_per_day=2, world=world, samples=20_480)
    verdicts, wrong = [], []
    for plan in draw_fleet(settings):
        orders = Orders(gear_mesh=(float(plan.bearing.pinion_teeth),))
        for what in appointments(settings, plan, 0):
            if what.sensor_fault:
                continue
            row = record(settings, plan, what)[0]
            rpm = row["shaft_speed_rpm"]

            def windows(rpm, row=row):
                length = min(round(30 * 60 * 12_800 / rpm), 20_480)
                n = 20_480 // length
                return np.asarray(row["samples"], np.float32)[: n * length].reshape(n, length)

            common = {"sampling_rate_hz": 12_800.0, "orders": orders}
            verdicts.append(shown_speed(windows(rpm), declared_rpm=rpm, **common).verdict)
            wrong += [
                shown_speed(windows(rpm * factor), declared_rpm=rpm * factor, **common).verdict is not None
                for factor in (0.7, 1.4)
            ]
    assert not [verdict for verdict in verdicts if verdict is not None]
    assert np.mean(wrong) >= (0.95 if world == "A" else 0.6)
