import numpy as np
import pytest

from features.kinematics import Orders, bearing_orders
from features.quality.quality import Quality
from features.quality.shaft_speed import estimate_speed
from features.quality.speed_check import SpeedCheckSettings, judge_speed
from features.spectra.combs import CombSettings, candidate_ratios, fisher, over_search

RATE, RPM, LENGTH = 12_000.0, 1800.0, 12_032
SKF_6205 = bearing_orders(9, 7.94, 39.04)


def noise(seed, n=3, length=LENGTH):
    return np.random.default_rng(seed).standard_normal((n, length)).astype(np.float32)


def comb(rpm, amplitude=0.15, harmonics=(1, 2, 3, 4, 5, 6), seed=0, n=3):
    t = np.arange(n * LENGTH) / RATE
    x = sum(amplitude * np.cos(2 * np.pi * k * rpm / 60 * t + k) for k in harmonics)
    return (x.reshape(n, LENGTH) + noise(seed, n)).astype(np.float32)


def estimate(windows, rpm=RPM, **keywords):
    return estimate_speed(windows, sampling_rate_hz=RATE, declared_rpm=rpm, **keywords)


def judge(windows, rpm=RPM, **keywords):
    return judge_speed(windows, sampling_rate_hz=RATE, declared_rpm=rpm, **keywords)


@pytest.mark.parametrize("true", [1700.0, 1760.0, 1800.0, 1850.0, 1890.0])
def test_a_comb_is_found_where_it_is(true):
    found = estimate(comb(true))
    assert found.rpm == pytest.approx(true, rel=0.003)
    assert found.ratio == pytest.approx(true / RPM, rel=0.003)
    assert found.false_alarm < 1e-6
    assert found.lines >= 5
    assert found.excess_db > 5


def test_the_sign_and_the_unit_do_not_matter():
    x = comb(1760.0)
    plain = estimate(x)
    assert estimate(x, rpm=-RPM) == plain
    scaled = estimate((x * np.float32(1e-25)).astype(np.float32))
    assert scaled.rpm == pytest.approx(plain.rpm, rel=1e-4)
    assert estimate((x * np.float32(1e30)).astype(np.float32)).rpm == pytest.approx(plain.rpm, rel=1e-4)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("tolerance", [0.06, 0.3])
def test_noise_has_no_speed_as_often_as_is_said(n, tolerance):
    settings = CombSettings(false_alarm=0.05)
    colour = np.exp(-np.arange(LENGTH // 2 + 1) / 800.0) + 0.05
    found = 0
    for seed in range(120):
        x = noise(seed, n)
        if seed % 2:
            x = np.fft.irfft(np.fft.rfft(x) * colour, LENGTH).astype(np.float32)
        found += estimate(x, tolerance=tolerance, settings=settings) is not None
    # 5 % are allowed; more than 12 of 120 have a chance of 1 % then.
    assert found <= 12


def test_fisher_is_exact_for_exponential_values():
    values = np.random.default_rng(1).exponential(size=(40_000, 6))
    chance = fisher(values)
    for level in (0.5, 0.1, 0.01):
        assert np.mean(chance <= level) == pytest.approx(level, rel=0.15)
    values[:, 4:] = np.nan
    assert np.mean(fisher(values) <= 0.1) == pytest.approx(0.1, rel=0.1)
    assert fisher(np.full((1, 3), np.nan))[0] == 1.0


def test_the_search_is_paid_for():
    settings = CombSettings()
    assert over_search(1e-6, 30.0, 0.94, 1.06, settings) == pytest.approx(1e-6 * (1 + 0.72 * 0.12 * 240), rel=1e-3)
    assert over_search(1.0, 30.0, 0.9, 1.1, settings) == pytest.approx(1.0)
    ratios = candidate_ratios(30.0, 0.9, 1.1, settings)
    assert np.diff(ratios).max() * 30 * 8 <= 0.5 + 1e-9


def test_bearing_lines_tell_the_speed_where_the_shaft_does_not():
    true, rng = 1745.0, np.random.default_rng(3)
    t = np.arange(4 * LENGTH) / RATE
    x = 0.3 * rng.standard_normal(t.size)
    ring = np.exp(-np.arange(120) / 15.0) * np.sin(2 * np.pi * 3000 * np.arange(120) / RATE)
    for strike in np.arange(0, t[-1] - 0.02, 60.0 / true / SKF_6205.bpfo):
        first = round(strike * RATE)
        x[first : first + 120] += 3 * ring
    windows = x.reshape(4, LENGTH).astype(np.float32)
    found = estimate(windows, orders=SKF_6205)
    assert found is not None
    assert found.rpm == pytest.approx(true, rel=0.01)
    assert judge(windows) is None  # half or a third of the ball pass frequency is no shaft


def test_too_few_turns_or_no_signal_give_nothing():
    assert estimate(comb(RPM)[:, :2048]) is None
    assert estimate(np.zeros((2, LENGTH), np.float32)) is None
    assert estimate(np.full((2, LENGTH), np.nan, np.float32)) is None
    assert estimate(np.zeros((0, LENGTH), np.float32)) is None
    assert estimate(comb(RPM), rpm=float("nan")) is None
    assert estimate(comb(RPM), rpm=0.0) is None


@pytest.mark.parametrize("factor", [0.5, 0.6, 0.75, 1.25, 1.4, 2.0])
def test_a_wrong_declared_speed_is_contradicted(factor):
    # 1700 rpm: no harmonic among the first six is one of the mains.
    x = comb(1700.0, amplitude=0.25, n=4)
    x = x.reshape(2, 2 * LENGTH)
    assert judge(x, rpm=1700.0) is None
    code, evidence = judge(x, rpm=1700.0 * factor)
    assert code is Quality.WRONG_SPEED
    assert f"declared {1700 * factor:.0f} rpm" in evidence
    assert float(evidence.rsplit(" ", 1)[1]) == pytest.approx(1 / factor, rel=0.01)


def test_a_harmless_error_is_not_judged_and_noise_contradicts_nothing():
    assert judge(comb(1700.0), rpm=1700.0 * 1.05) is None
    assert not [seed for seed in range(60) if judge(noise(seed)) is not None]


def test_mains_and_half_orders_are_no_other_shaft():
    t = np.arange(3 * LENGTH) / RATE
    hum = sum(0.3 * np.sin(2 * np.pi * 50 * k * t + k) for k in range(1, 9)).reshape(3, LENGTH)
    assert judge((noise(1) + hum).astype(np.float32), rpm=1700.0) is None
    rub = comb(1700.0, amplitude=0.3) + comb(850.0, amplitude=0.1, seed=2) - noise(2)
    assert judge(rub.astype(np.float32), rpm=1700.0) is None


def test_strong_even_lines_are_no_double_speed():
    for seed in range(10):
        even = comb(1700.0, amplitude=0.2, harmonics=(2, 4, 6, 8), seed=seed)
        odd = comb(1700.0, amplitude=0.05, harmonics=(1, 3, 5), seed=seed) - noise(seed)
        assert judge((even + odd).astype(np.float32), rpm=1700.0) is None
    # Noise leaves a trace between the lines in one of ten.
    double = [judge(comb(3400.0, amplitude=0.3, harmonics=range(1, 9), seed=seed), rpm=1700.0) for seed in range(20)]
    assert sum(verdict is not None for verdict in double) >= 14


def test_a_gear_mesh_contradicts_too():
    rng, orders = np.random.default_rng(5), Orders(gear_mesh=(14.0,))
    turns = 1700.0 / 60 * np.arange(3 * LENGTH) / RATE
    mesh = (1 + 0.3 * np.cos(2 * np.pi * turns)) * sum(np.cos(2 * np.pi * 14 * k * turns) / k for k in (1, 2))
    x = (mesh + rng.standard_normal(turns.size)).reshape(3, LENGTH).astype(np.float32)
    assert judge(x, rpm=1700.0, orders=orders) is None
    for factor in (0.7, 1.5):
        code, evidence = judge(x, rpm=1700.0 * factor, orders=orders)
        assert code is Quality.WRONG_SPEED
        assert "gear mesh" in evidence


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="float32"):
        estimate(np.zeros((1, LENGTH)))
    with pytest.raises(ValueError, match="tolerance"):
        estimate(noise(0), tolerance=0.7)
    with pytest.raises(ValueError, match="sampling rate"):
        estimate_speed(noise(0), sampling_rate_hz=0.0, declared_rpm=RPM)


@pytest.mark.parametrize(
    ("cls", "bad", "word"),
    [
        (CombSettings, {"harmonics": 2}, "harmonics"),
        (CombSettings, {"min_turns": 1.0}, "min_turns"),
        (CombSettings, {"line_cap": 0.5}, "line_cap"),
        (SpeedCheckSettings, {"lowest": 0.99}, "lowest"),
        (SpeedCheckSettings, {"false_alarm": 0.0}, "probabilities"),
        (SpeedCheckSettings, {"mains_hz": (0.0,)}, "mains_hz"),
    ],
)
def test_bad_settings_are_refused(cls, bad, word):
    with pytest.raises(ValueError, match=word):
        cls(**bad)
