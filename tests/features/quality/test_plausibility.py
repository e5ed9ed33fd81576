import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from features.extract import extract, feature_names
from features.health.baseline import fit_reference
from features.quality.plausibility import (
    PlausibilitySettings,
    compare,
    plausibility_settings,
)
from features.quality.quality import Quality
from features.settings import FeatureSettings

RATE, LENGTH, RPM = 12_800.0, 12_800, 1750.0
SETTINGS = FeatureSettings()
NAMES = feature_names(SETTINGS)


def load_kinds():
    path = Path(__file__).parents[3] / "benchmarks" / "damage_kinds.py"
    spec = importlib.util.spec_from_file_location("damage_kinds", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["damage_kinds"] = module
    spec.loader.exec_module(module)
    return module


KINDS = load_kinds()


def machine(seed, *, resonances=(900.0, 2600.0, 4300.0), shaft=0.4, skew=0.0, n=2):
    """Healthy vibration: shaft lines and coloured noise through three resonances."""
    rng = np.random.default_rng(seed)
    t = np.arange(n * LENGTH) / RATE
    x = 0.3 * rng.standard_normal(t.size)
    for f in resonances:
        pole = 0.96 * np.exp(2j * np.pi * f / RATE)
        x += 0.05 * signal.lfilter([1.0], np.poly([pole, pole.conj()]).real, rng.standard_normal(t.size))
    x += shaft * sum(np.cos(2 * np.pi * k * RPM / 60 * t + k) / k for k in (1, 2, 3, 4))
    return (x + skew * (x**2 - x.var())).reshape(n, LENGTH).astype(np.float32)


def rows(windows, *, rate=RATE, rpm=RPM):
    return extract(
        np.atleast_2d(windows),
        sampling_rate_hz=rate,
        rate_is_declared=True,
        shaft_speed_rpm=rpm,
        speed_is_steady=True,
        orders=None,
        settings=SETTINGS,
    )


def reference_of(**keywords):
    return fit_reference(np.concatenate([rows(machine(seed, **keywords)) for seed in range(100, 108)]))


REFERENCE = reference_of()


def found(values, reference=REFERENCE, **keywords):
    return compare(values, NAMES, reference, **keywords)


def codes(values, reference=REFERENCE, **keywords):
    return [code for code, _ in found(values, reference, **keywords)]


def test_good_recordings_pass():
    assert not [seed for seed in range(40) if codes(rows(machine(seed)))]


def test_so_do_a_louder_day_and_another_load():
    for factor in (0.5, 0.8, 1.5, 2.5):
        assert codes(rows(factor * machine(1))) == []
    assert codes(rows(machine(1, shaft=0.8))) == []


@pytest.mark.parametrize(
    ("factor", "hint"), [(9.80665, "g where m/s2"), (1 / 9.80665, "g where"), (1e3, "thousand"), (1e-3, "thousand")]
)
def test_a_wrong_gain_is_named(factor, hint):
    code, evidence = found(rows(np.float32(factor) * machine(2)))[0]
    assert code is Quality.GAIN_MISMATCH
    assert hint in evidence
    assert ("higher" if factor > 1 else "lower") in evidence


def test_any_large_factor_is_a_gain_and_a_changed_shape_is_not():
    assert codes(rows(6 * machine(2))) == [Quality.GAIN_MISMATCH]
    other = machine(2, resonances=(1500.0, 3300.0, 5200.0), shaft=0.05)
    assert codes(rows(6 * other)) == []
    assert codes(rows(1e4 * other)) == [Quality.GAIN_MISMATCH]  # no machine does that


@pytest.mark.parametrize("factor", [0.25, 0.5, 2 / 3, 1.5, 2.0, 4.0])
def test_a_wrong_declared_rate_moves_the_whole_spectrum(factor):
    code, evidence = found(rows(machine(3), rate=RATE * factor))[0]
    assert code is Quality.RATE_MISMATCH
    assert float(evidence.split(" times")[0].rsplit(" ", 1)[1]) == pytest.approx(factor, rel=0.05)


def test_a_wrong_declared_speed_loses_the_lines():
    values = rows(machine(4, n=4).reshape(2, 2 * LENGTH), rpm=RPM / 1.37)
    code, evidence = found(values)[0]
    assert code is Quality.WRONG_SPEED
    assert "are gone" in evidence


def test_loose_sensors_are_found_at_any_strength():
    hits = []
    for seed in range(30):
        good = KINDS.Recording(machine(seed).ravel(), RATE, RPM)
        spoilt = KINDS.damage(good, "loose_mount", np.random.default_rng(seed))
        hits.append(Quality.LOOSE_MOUNT in codes(rows(spoilt.samples.reshape(2, LENGTH))))
    assert np.mean(hits) >= 0.9


@pytest.mark.parametrize("severity", [0.5, 1.0, 3.0, 10.0, 30.0])
@pytest.mark.parametrize("resonance", [1200.0, 3000.0, 5500.0])
def test_a_bearing_fault_is_no_data_fault(severity, resonance):
    ring = np.exp(-np.arange(200) / 25) * np.sin(2 * np.pi * resonance * np.arange(200) / RATE)
    x = machine(5).ravel()
    for strike in np.arange(0, x.size - 200, RATE * 60 / RPM / 3.585):
        first = round(strike)
        x[first : first + 200] += severity * ring
    assert not [code for code in codes(rows(x.reshape(2, LENGTH))) if code.blocks]


@pytest.mark.parametrize("growth", [2.0, 5.0, 20.0])
def test_unbalance_and_a_worn_gear_are_no_data_faults(growth):
    t = np.arange(2 * LENGTH) / RATE
    for order in (1.0, 14.0):
        x = machine(6).ravel() + 0.4 * growth * np.cos(2 * np.pi * order * RPM / 60 * t)
        assert not [code for code in codes(rows(x.reshape(2, LENGTH).astype(np.float32))) if code.blocks]


def test_polarity_and_swapped_channels_are_reported_and_do_not_block():
    skewed = reference_of(skew=0.25)
    assert codes(rows(machine(7, skew=0.25)), skewed) == []
    assert codes(rows(-machine(7, skew=0.25)), skewed) == [Quality.POLARITY]
    other = reference_of(resonances=(1500.0, 3300.0, 5200.0))
    swapped = rows(machine(7, resonances=(1500.0, 3300.0, 5200.0)))
    assert codes(swapped, siblings={"y": other}) == [Quality.SWAPPED_CHANNELS]
    assert "channel y" in found(swapped, siblings={"y": other})[0][1]
    assert codes(rows(machine(7)), siblings={"y": other}) == []
    assert not Quality.POLARITY.blocks
    assert not Quality.SWAPPED_CHANNELS.blocks
    assert Quality.GAIN_MISMATCH.blocks


def test_what_is_missing_is_not_judged():
    assert codes(np.full((2, len(NAMES)), np.nan)) == []
    assert codes(np.empty((0, len(NAMES)))) == []
    assert codes(rows(100 * machine(1)), fit_reference(np.full((5, len(NAMES)), np.nan))) == []
    plain = ("rms_log10",)
    reference = fit_reference(np.full((5, 1), 0.1))
    assert [code for code, _ in compare(np.array([[3.1]]), plain, reference)] == [Quality.GAIN_MISMATCH]
    assert compare(np.array([[1.1]]), plain, reference) == []  # without a shape a factor of 10 says nothing


def test_a_quantity_without_a_shape_is_judged_by_absurd_levels_only():
    settings = plausibility_settings("temperature")
    assert codes(rows(9.8 * machine(1)), settings=settings) == []
    assert codes(rows(1000 * machine(1)), settings=settings) == [Quality.GAIN_MISMATCH]
    assert plausibility_settings("acceleration") == PlausibilitySettings()


def test_wrong_shapes_and_settings_are_refused():
    with pytest.raises(ValueError, match="features"):
        compare(np.zeros((1, 3)), NAMES, REFERENCE)
    for bad in ("gain_factor", "loose_fall_db"):
        with pytest.raises(ValueError, match=bad):
            PlausibilitySettings(**{bad: 0.0})
