from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from features.extract import FeatureSettings, extract, feature_names
from features.kinematics import Orders, bearing_orders, turned_bearing_orders
from features.spectra.evidence import CLASSES, DIAGNOSES, STATISTICS, THRESHOLD_DB, diagnose, evidence_columns
from pipeline.simulation.signals import Operation, excite, receive
from pipeline.simulation.units import draw_unit
from pipeline.simulation.worlds import WORLDS

SETTINGS = FeatureSettings()
NAMES = feature_names(SETTINGS)
RATE = 12_800.0


def features(windows, rpm, orders, rate=RATE):
    return extract(
        windows.astype(np.float32),
        sampling_rate_hz=rate,
        rate_is_declared=True,
        shaft_speed_rpm=rpm,
        speed_is_steady=True,
        orders=orders,
        settings=SETTINGS,
    )


def columns(rows, *names):
    return rows[:, [NAMES.index(name) for name in names]]


@lru_cache(maxsize=4)
def simulated(mode, severity):
    """Windows of 30 turns of faults of world B, on units and bearings of its own: one each of 8 units."""
    rows = []
    for seed in range(8):
        bearing = WORLDS["B"].bearings[seed % 2]
        unit = draw_unit(np.random.default_rng(seed), WORLDS["B"], bearing)
        rng = np.random.default_rng([5, seed])
        rpm = float(rng.uniform(1200.0, 3200.0))
        length = round(30 * 60 * RATE / rpm / 256) * 256
        operation = Operation(rpm, 0.5, 35.0, 0.0, 1.0, 1.0, mode, severity)
        happens = excite(rng, unit, operation, sampling_rate_hz=RATE, samples=length)
        x = receive(rng, unit, unit.structure, operation, happens, sampling_rate_hz=RATE, samples=length)
        orders = Orders(bearing.bpfo, bearing.bpfi, bearing.bsf, bearing.ftf, (float(bearing.pinion_teeth),))
        rows.append(features(x[None], rpm, orders))
    return np.concatenate(rows)


@pytest.mark.parametrize("place, mode", [(0, "outer_race"), (1, "inner_race"), (2, "ball")])
def test_faults_of_another_world_are_named(place, mode):
    index, margin = diagnose(simulated(mode, 1.0), NAMES)
    assert (index == place).all() and (margin > 0.5).all()
    weak, _ = diagnose(simulated(mode, 0.6), NAMES)
    assert (weak == place).mean() >= 0.8
    margins = columns(simulated(mode, 1.0), *(f"evidence_{c}_mean_margin_db" for c in CLASSES))
    assert (margins.argmax(axis=1) == place).all()


@pytest.mark.parametrize("mode, line", [("outer_race", "bpfo"), ("inner_race", "bpfi"), ("ball", "bsf2x")])
def test_faults_of_another_world_have_more_harmonics_and_bursts_than_the_healthy(mode, line):
    for name in (f"ses_white_{line}_harmonics", f"ses_best_{line}_harmonics", "best_band_kurtosis_log10"):
        faulty, healthy = columns(simulated(mode, 1.0), name), columns(simulated("", 0.0), name)
        assert np.median(faulty) > np.median(healthy) + 0.05, name
    strongest = columns(simulated(mode, 1.0), *(f"ses_best_{k}_h1_db" for k in ("bpfo", "bpfi", "bsf2x")))
    right = np.nan_to_num(strongest, nan=-np.inf).argmax(axis=1) == ["bpfo", "bpfi", "bsf2x"].index(line)
    assert right.all()


def test_an_inner_race_has_shaft_sidebands_and_an_outer_race_has_not():
    inner = columns(simulated("inner_race", 1.0), "ses_best_bpfi_sideband_pairs").mean()
    outer = columns(simulated("outer_race", 1.0), "ses_best_bpfi_sideband_pairs").mean()
    assert inner > outer + 0.4


@pytest.mark.parametrize(
    "geometry, turns, rate, most", [((9, 7.94, 39.04), 10, 12_000, 0.02), ((8, 15, 65), 30, 12_000, 0.004),
                                    ((9, 7.94, 39.04), 10, 2_500, 0.08), ((14, 6, 46), 30, 2_500, 0.01)]
)  # fmt: skip
def test_noise_is_hardly_ever_named_and_no_class_is_favoured(geometry, turns, rate, most):
    rpm = rate / 12_000 * 1800
    windows = np.random.default_rng(9).standard_normal((500, turns * 400))
    rows = features(windows, rpm, bearing_orders(*geometry), rate=float(rate))
    index, margin = diagnose(rows, NAMES)
    assert (index != DIAGNOSES.index("none")).mean() <= most
    assert np.isfinite(margin).all() and (margin >= 0).all()
    evidence = columns(rows, *(f"evidence_{c}_mean_db" for c in CLASSES))
    assert np.ptp(evidence.mean(axis=0)) < 0.4
    share = np.bincount(evidence.argmax(axis=1), minlength=3) / len(rows)
    assert share.min() > 0.2


def row(outer, inner, ball):
    return np.array([[outer, inner, ball]]), [f"evidence_{c}_mean_db" for c in CLASSES]


@pytest.mark.parametrize(
    "scores, name, margin",
    [
        ((9.0, 4.0, 5.0), "outer_race", 4.0),
        ((1.0, 2.0, 8.0), "ball", 6.0),
        ((1.0, 2.0, 3.0), "none", THRESHOLD_DB - 3.0),
        ((np.nan, 7.0, np.nan), "inner_race", 7.0 - THRESHOLD_DB),
        ((np.nan, 7.0, 6.0), "inner_race", 1.0),
    ],
)
def test_the_rule(scores, name, margin):
    index, found = diagnose(*row(*scores))
    assert DIAGNOSES[index[0]] == name and found[0] == pytest.approx(margin)


def test_what_cannot_be_told_is_not_none():
    index, margin = diagnose(*row(np.nan, np.nan, np.nan))
    assert index[0] == -1 and np.isnan(margin[0])
    assert diagnose(np.empty((0, 3)), row(1, 1, 1)[1])[0].shape == (0,)


def test_wrong_columns_are_refused_by_name():
    with pytest.raises(ValueError, match="evidence_ball_mean_db"):
        diagnose(np.zeros((1, 2)), ["evidence_outer_mean_db", "evidence_inner_mean_db"])
    with pytest.raises(ValueError, match="one column per name"):
        diagnose(np.zeros((1, 2)), row(1, 1, 1)[1])


def test_versions_are_put_together_and_a_missing_one_is_left_out():
    scores = np.array([[[6.0, 1.0, 2.0]], [[np.nan] * 3], [[2.0, 3.0, 1.0]]])
    first = np.array([[[7.0, 0.0, np.nan]], [[np.nan] * 3], [[9.0, -2.0, np.nan]]])
    offset = np.array([[[0.01, 0.02, np.nan]], [[np.nan] * 3], [[-0.01, -0.02, np.nan]]])
    together = np.stack((scores, first, offset), axis=2)
    found = dict(zip(STATISTICS, evidence_columns(together)[0], strict=True))
    assert [found[f"{c}_max_db"] for c in CLASSES] == [6.0, 3.0, 2.0]
    assert [found[f"{c}_mean_db"] for c in CLASSES] == [4.0, 2.0, 1.5]
    assert [found[f"{c}_max_margin_db"] for c in CLASSES] == [3.0, -3.0, -4.0]
    assert [found[f"{c}_h1_db"] for c in CLASSES[:2]] == [8.0, -1.0]
    assert [found[f"{c}_offset_percent"] for c in CLASSES[:2]] == [-1.0, 2.0], "where the line is highest"
    assert np.isnan(found["ball_h1_db"]) and np.isnan(found["ball_offset_percent"])
    assert np.isnan(evidence_columns(np.full((3, 1, 3, 3), np.nan))).all()


SHAFT_HZ = 30.0
T = np.arange(12_800) / RATE  # 30 turns
NEAR_THREE = Orders(bpfo=3.05, bpfi=4.95, bsf=1.99, ftf=0.381)


def swelling(order, seed, *, depth=0.8, slip=0.0):
    """Noise that swells at an order of the shaft; steady where nothing slips."""
    rng = np.random.default_rng(seed)
    turns = SHAFT_HZ * T * order + slip * np.cumsum(rng.standard_normal(T.size)) / np.sqrt(RATE)
    return (1 + depth * np.cos(2 * np.pi * (turns + rng.uniform()))) * rng.standard_normal(T.size)


@pytest.mark.parametrize("speed_error", [-0.002, 0.0, 0.0025])
def test_the_third_harmonic_of_the_shaft_is_no_outer_race(speed_error):
    windows = np.stack([swelling(3.0 * (1 + speed_error), seed) for seed in range(20)])
    shaft = features(windows, 60 * SHAFT_HZ, NEAR_THREE)
    assert (diagnose(shaft, NAMES)[0] == DIAGNOSES.index("none")).mean() >= 0.9
    outer = features(np.stack([swelling(3.05 * (1 + speed_error), k) for k in range(20)]), 60 * SHAFT_HZ, NEAR_THREE)
    assert (columns(outer, "evidence_outer_h1_db") > 6.0).mean() >= 0.9, "a line at its own order is kept"


def test_lines_of_another_shaft_and_of_a_mesh_are_no_bearing():
    second = replace(NEAR_THREE, bpfo=3.58, shafts=(0.6,))
    for name, order, orders in (
        ("a sixth harmonic of the other shaft", 3.6, second),
        ("a mesh", 4.92, replace(NEAR_THREE, gear_mesh=(4.92,))),
        ("a sideband of a mesh", 4.92, replace(NEAR_THREE, gear_mesh=(8.42,), shafts=(3.5,))),
    ):
        windows = np.stack([swelling(order, seed) for seed in range(20)])
        unnamed = features(windows, 60 * SHAFT_HZ, replace(orders, gear_mesh=(), shafts=()))
        assert (diagnose(unnamed, NAMES)[0] < 2).mean() >= 0.9, name
        assert (diagnose(features(windows, 60 * SHAFT_HZ, orders), NAMES)[0] == 3).mean() >= 0.9, name


@pytest.mark.parametrize("off", [-0.015, -0.004, 0.007, 0.016])
def test_a_line_is_measured_where_it_is(off):
    windows = np.stack([swelling(5.4 * (1 + off), seed) for seed in range(10)])
    rows = features(windows, 60 * SHAFT_HZ, bearing_orders(9, 7.94, 39.04))
    found = columns(rows, "evidence_inner_offset_percent")[:, 0]
    expected = 100 * (5.4 * (1 + off) / bearing_orders(9, 7.94, 39.04).bpfi - 1)
    assert np.median(found) == pytest.approx(expected, abs=0.1)


def test_an_inner_race_on_another_shaft_has_sidebands_at_the_speed_of_its_ring():
    """One physical signal under the name of two monitored shafts."""
    ring_hz, at_rest = 12.0, bearing_orders(9, 7.94, 39.04)
    t = np.arange(round(6.0 * RATE)) / RATE
    rows = {}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        carrier = (1 + np.cos(2 * np.pi * ring_hz * t)) / 2 * (1 + np.cos(2 * np.pi * at_rest.bpfi * ring_hz * t))
        x = (0.3 + carrier) * rng.standard_normal(t.size)
        for name, ratio in (("own", 1.0), ("motor", 2.5)):
            length = round(30 * RATE / ring_hz / ratio)
            windows = x[: x.size // length * length].reshape(-1, length)
            orders = turned_bearing_orders(at_rest, inner_speed=-1 / ratio)
            rows.setdefault(name, []).append(features(windows, 60 * ring_hz * ratio, orders))
    names = ("ses_high_bpfi_sidebands_db", "ses_best_bpfi_sidebands_db", "evidence_inner_mean_db")
    own, motor = (np.median(columns(np.concatenate(rows[k]), *names), axis=0) for k in ("own", "motor"))
    assert (own > 8.0).all() and (np.abs(own - motor) < 4.5).all(), (own, motor)
    pairs = [np.median(columns(np.concatenate(rows[k]), "ses_white_bpfi_sideband_pairs")) for k in ("own", "motor")]
    assert min(pairs) >= 1.0
