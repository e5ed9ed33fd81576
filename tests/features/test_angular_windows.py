from dataclasses import replace

import numpy as np
import pytest

from features.angular_windows import angular_windows
from features.extract import FeatureSettings, extract, extract_angular, feature_groups, feature_names
from features.kinematics import Orders
from features.settings import ANGLE_GROUPS
from features.spectra.evidence import DIAGNOSES, diagnose
from features.windows import WindowSettings
from pipeline.simulation.signals import Operation, excite, receive
from pipeline.simulation.units import draw_unit
from pipeline.simulation.worlds import WORLDS

SETTINGS = FeatureSettings()
NAMES = feature_names(SETTINGS)
RATE, TRACE_RATE = 12_800.0, 50.0


def windows_of(samples, trace, trace_rate=TRACE_RATE, **changes):
    return angular_windows(
        np.asarray(samples, np.float32),
        np.asarray(trace, np.float32),
        trace_rate,
        sampling_rate_hz=RATE,
        tolerance=SETTINGS.segment_tolerance,
        settings=WindowSettings(**changes),
    )


def run_up(mode, seed, low=0.75, high=1.25):
    """A unit of world B whose shaft runs up from 0.75 to 1.25 of its speed while it is recorded; trace and truth."""
    bearing = WORLDS["B"].bearings[seed % 2]
    unit = draw_unit(np.random.default_rng(seed), WORLDS["B"], bearing)
    rng = np.random.default_rng([5, seed])
    rpm = float(rng.uniform(1500.0, 2800.0))
    n = round(70 * 60 * RATE / rpm)
    operation = Operation(rpm, 0.5, 35.0, 0.0, 1.0, 1.0, mode, 1.0 if mode else 0.0)
    happens = excite(rng, unit, operation, sampling_rate_hz=RATE, samples=n)
    seconds = (np.arange(len(happens.turns)) - happens.lead) / RATE
    slope = (high - low) / (n / RATE)
    turns = rpm / 60 * (low * seconds + 0.5 * slope * seconds**2)
    # The lead-in runs at the first speed; the angle starts where the simulation's own did.
    turns = np.where(seconds < 0, rpm / 60 * low * seconds, turns)
    happens = replace(happens, turns=turns - turns[0] + happens.turns[0])
    samples = receive(rng, unit, unit.structure, operation, happens, sampling_rate_hz=RATE, samples=n)
    trace = rpm * (low + slope * np.arange(0, n / RATE + 1 / TRACE_RATE, 1 / TRACE_RATE))
    orders = Orders(bearing.bpfo, bearing.bpfi, bearing.bsf, bearing.ftf, (float(bearing.pinion_teeth),))
    return samples.astype(np.float32), trace.astype(np.float32), rpm, orders


@pytest.mark.parametrize("mode", ["outer_race", "inner_race", "ball"])
def test_faults_of_another_world_are_found_in_a_run_up_after_resampling_and_not_before(mode):
    tracked, ignored = [], []
    for seed in range(6):
        samples, trace, rpm, orders = run_up(mode, seed)
        (part,) = windows_of(samples, trace)
        rows = extract_angular(samples, part, sampling_rate_hz=RATE, orders=orders, settings=SETTINGS)
        tracked += diagnose(rows, NAMES)[0].tolist()
        blind = extract(
            samples[None, : 30 * round(60 * RATE / rpm)],
            sampling_rate_hz=RATE,
            rate_is_declared=True,
            shaft_speed_rpm=rpm,
            speed_is_steady=True,
            orders=orders,
            settings=SETTINGS,
        )
        ignored += diagnose(blind, NAMES)[0].tolist()
    place = DIAGNOSES.index(mode)
    assert len(tracked) == 12
    assert np.mean(np.array(tracked) == place) >= 0.9
    assert np.mean(np.array(ignored) == place) <= 0.5


def test_the_mesh_of_a_run_up_is_a_line_and_repeats_with_the_shaft():
    samples, trace, _, orders = run_up("", 2)
    (part,) = windows_of(samples, trace)
    rows = extract_angular(samples, part, sampling_rate_hz=RATE, orders=orders, settings=SETTINGS)
    found = dict(zip(NAMES, rows.mean(axis=0), strict=True))
    assert found["raw_gear_mesh_h1_db"] > 25
    assert found["tsa_share"] > 0.2
    assert np.isfinite(rows).all()


def test_time_features_come_from_the_recording_itself():
    samples, trace, _, orders = run_up("outer_race", 1)
    (part,) = windows_of(samples, trace)
    rows = extract_angular(samples, part, sampling_rate_hz=RATE, orders=orders, settings=SETTINGS)
    start, length = int(part.starts[1]), int(part.lengths[1])
    plain = extract(
        samples[None, start : start + length],
        sampling_rate_hz=RATE,
        rate_is_declared=True,
        shaft_speed_rpm=None,
        speed_is_steady=False,
        orders=None,
        settings=SETTINGS,
    )
    for group, names in feature_groups(SETTINGS).items():
        places = [NAMES.index(name) for name in names]
        if group not in ANGLE_GROUPS:
            np.testing.assert_array_equal(rows[1, places], plain[0, places], err_msg=group)


def test_windows_lie_side_by_side_in_turns_although_the_speed_varies():
    n = 60_000
    trace = np.linspace(1200, 2400, round(n / RATE * TRACE_RATE) + 2)
    (part,) = windows_of(np.random.default_rng(0).standard_normal(n), trace)
    assert part.turns == pytest.approx(30, abs=128 / part.samples_per_turn)
    assert (np.diff(part.lengths) < 0).all()  # faster and faster: fewer samples for as many turns
    assert (part.starts[1:] >= (part.starts + part.lengths)[:-1]).all()
    assert (part.starts[1:] - (part.starts + part.lengths)[:-1] <= 2).all()


def test_constant_stretches_are_preferred_and_cut_alone():
    hold, ramp = np.full(200, 1500.0), np.linspace(1500, 3000, 50)
    trace = np.concatenate((np.zeros(25), hold, ramp, np.full(150, 3000.0), np.zeros(30)))
    n = round(len(trace) / TRACE_RATE * RATE)
    parts = windows_of(np.random.default_rng(0).standard_normal(n), trace)
    assert [part.shaft_speed_rpm for part in parts] == pytest.approx([1500, 3000], rel=0.005)
    assert [len(part.starts) for part in parts] == [3, 5]
    assert parts[0].starts[0] >= 0.5 * RATE - 2
    assert (parts[0].starts + parts[0].lengths)[-1] <= 4.52 * RATE


def test_a_trace_that_does_not_help_gives_nothing():
    x = np.random.default_rng(0).standard_normal(25_600)
    ramp = np.linspace(100, 3000, 102)
    assert len(windows_of(x, ramp)) == 1
    assert windows_of(x, ramp - 100) == []  # starts from rest
    assert windows_of(x, ramp - 1500) == []  # turns back
    assert windows_of(x, ramp[:60]) == []  # ends early
    assert windows_of(np.where(np.arange(25_600) == 7, np.nan, x), ramp) == []
