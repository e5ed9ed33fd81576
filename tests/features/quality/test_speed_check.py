import re
from dataclasses import replace

import numpy as np
import pytest

from features.extract import FeatureSettings, RecordingWindows, extract_together
from features.kinematics import Orders, bearing_orders, turned_bearing_orders
from features.quality.quality import Quality
from features.quality.speed_check import SpeedCheckSettings, judged_windows, shown_speed
from features.spectra.combs import (
    CombSettings,
    candidate_ratios,
    comb_bins,
    comb_false_alarm,
    fisher,
    measure_combs,
    mesh_false_alarm,
    mesh_lines,
    over_search,
)

RATE, RPM, LENGTH = 12_000.0, 1800.0, 12_032
SKF_6205 = bearing_orders(9, 7.94, 39.04)


def noise(seed, n=3, length=LENGTH):
    return np.random.default_rng(seed).standard_normal((n, length)).astype(np.float32)


def comb(rpm, amplitude=0.15, harmonics=(1, 2, 3, 4, 5, 6), seed=0, n=3):
    t = np.arange(n * LENGTH) / RATE
    x = sum(amplitude * np.cos(2 * np.pi * k * rpm / 60 * t + k) for k in harmonics)
    return (x.reshape(n, LENGTH) + noise(seed, n)).astype(np.float32)


def judge(windows, rpm=RPM, **keywords):
    return shown_speed(windows, sampling_rate_hz=RATE, declared_rpm=rpm, **keywords).verdict


@pytest.mark.parametrize("true", [1100.0, 1345.0, 1530.0, 1990.0, 2210.0, 2700.0])
def test_the_true_speed_is_named_within_two_thousandths(true):
    code, evidence = judge(comb(true, amplitude=0.25).reshape(1, -1))
    assert code is Quality.WRONG_SPEED
    n_lines, rpm, excess_db = (float(re.search(rf"([\d.]+) {word}", evidence)[1]) for word in ("shaft", "rpm", "dB"))
    assert rpm == pytest.approx(true, rel=2e-3)
    assert n_lines >= 4
    assert excess_db > 5


def test_the_sign_and_the_unit_do_not_matter():
    x = comb(1345.0, amplitude=0.25).reshape(1, -1)
    plain = judge(x)
    assert plain is not None
    assert judge(x, rpm=-RPM) == plain
    for factor in (1e-25, 1e30):
        assert judge((x * np.float32(factor)).astype(np.float32)) == plain


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("reach", [0.06, 0.3])
def test_noise_has_a_comb_as_often_as_is_said(n, reach):
    settings = CombSettings()
    colour = np.exp(-np.arange(LENGTH // 2 + 1) / 800.0) + 0.05
    chances = []
    for seed in range(120):
        x = noise(seed, n)
        if seed % 2:
            x = np.fft.irfft(np.fft.rfft(x) * colour, LENGTH).astype(np.float32)
        combs = measure_combs(x, sampling_rate_hz=RATE, declared_rpm=RPM, highest_ratio=1 + reach, settings=settings)
        ratios = candidate_ratios(combs.turns, 1 - reach, 1 + reach, settings)
        best = float(comb_false_alarm(combs, ratios, settings=settings).min())
        chances.append(over_search(best, combs.turns, 1 - reach, 1 + reach, settings))
    # 5 % are allowed; more than 12 of 120 have a chance of 1 % then.
    assert np.count_nonzero(np.array(chances) <= 0.05) <= 12


def test_many_windows_are_not_believed_to_be_independent():
    windows = comb(RPM, amplitude=0.04, n=8)
    keywords = {"sampling_rate_hz": RATE, "declared_rpm": RPM, "highest_ratio": 1.1}
    few, many = (
        measure_combs(windows, settings=CombSettings(most_windows=n, line_cap=60.0), **keywords) for n in (4, 8)
    )
    line = round(few.turns)
    assert 3.0 < few.evidence[line] < 0.7 * many.evidence[line]


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


def test_half_a_ball_pass_frequency_is_no_shaft():
    true, rng = 1745.0, np.random.default_rng(3)
    t = np.arange(4 * LENGTH) / RATE
    x = 0.3 * rng.standard_normal(t.size)
    ring = np.exp(-np.arange(120) / 15.0) * np.sin(2 * np.pi * 3000 * np.arange(120) / RATE)
    for strike in np.arange(0, t[-1] - 0.02, 60.0 / true / SKF_6205.bpfo):
        first = round(strike * RATE)
        x[first : first + 120] += 3 * ring
    windows = x.reshape(4, LENGTH).astype(np.float32)
    assert judge(windows) is None
    assert judge(windows, orders=SKF_6205) is None


def test_too_few_turns_or_no_signal_say_nothing():
    x = comb(1345.0, amplitude=0.25)
    assert judge(x) is not None
    assert judge(x[:, :6000]) is None  # 15 declared turns
    assert judge(np.zeros((2, LENGTH), np.float32)) is None
    assert judge(np.full((2, LENGTH), np.nan, np.float32)) is None
    assert judge(np.zeros((0, LENGTH), np.float32)) is None
    assert judge(x, rpm=float("nan")) is None
    assert judge(x, rpm=0.0) is None


def test_a_spike_does_not_take_the_weight_from_a_window():
    x = comb(1345.0, amplitude=0.25)
    x[:, 100] = 60.0
    assert judge(np.concatenate((x, noise(9, 1)))) is not None


def test_windows_that_cannot_be_used_are_left_out():
    x = comb(1345.0, amplitude=0.25)
    spoilt = np.concatenate((x, np.full((1, LENGTH), np.nan), np.full((1, LENGTH), 3.0))).astype(np.float32)
    assert judge(spoilt) == judge(x)


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
        # Three shaft lines and two meshes with a sideband to each side are nine lines in all: more cannot be clear.
        assert judge(x, rpm=1700.0 * factor, orders=orders, settings=SpeedCheckSettings(min_lines=9)) is None


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


def test_the_bound_leaves_out_only_candidates_that_are_more_probable():
    rng = np.random.default_rng(8)
    for number in range(12):
        length, turns = int(rng.choice([6000, 12_000])), float(rng.uniform(17, 60))
        t = np.arange(length) / length
        shaft = sum(rng.uniform(0, 0.4) * np.sin(2 * np.pi * k * rng.uniform(0.5, 2) * turns * t) for k in range(1, 9))
        x = (rng.standard_normal((int(rng.integers(1, 6)), length)) + shaft).astype(np.float32)
        orders = Orders(gear_mesh=(14.0, 21.3)[: 1 + number % 3 // 2])
        rpm = 60.0 * turns * RATE / length
        combs = measure_combs(
            x, sampling_rate_hz=RATE, declared_rpm=rpm, highest_ratio=2.3, orders=orders, settings=CombSettings()
        )
        missing = rng.random(combs.evidence.size) < (0.03, 0.4)[number % 2]
        combs = replace(combs, evidence=np.where(missing, np.nan, combs.evidence))
        ratios = candidate_ratios(turns, 0.4, 2.3, CombSettings())
        lines = mesh_lines(orders)
        fine = np.arange(0.4, 2.3, 0.5 / (max(lines) * turns))
        for at_most in (1e-2, 1e-5, 1e-9):
            for whole, bounded in (
                (
                    comb_false_alarm(combs, ratios, settings=CombSettings()),
                    comb_false_alarm(combs, ratios, settings=CombSettings(), at_most=at_most),
                ),
                (mesh_false_alarm(combs, fine, lines), mesh_false_alarm(combs, fine, lines, at_most=at_most)),
            ):
                kept = bounded < 1.0
                np.testing.assert_array_equal(bounded[kept], whole[kept])
                assert whole[~kept].min(initial=1.0) > at_most
                assert number % 2 or at_most > 1e-4 or kept.mean() < 0.5, "the bound leaves out much"


@pytest.mark.parametrize("n, shaft_hz", [(1, 41.0), (3, 41.0), (20, 41.0), (3, 340.0)])
def test_spectra_that_are_there_already_change_no_verdict(n, shaft_hz):
    # At 340 turns the comb can need more bins than the spectrum has.
    t = np.arange(12_000) / RATE
    shaft = sum(np.sin(2 * np.pi * k * shaft_hz * t + k) for k in range(1, 8))
    x = (3e-3 * (np.random.default_rng(n).standard_normal((n, 12_000)) + 0.5 * shaft)).astype(np.float32)
    for rpm in (37.0 * shaft_hz, 60.0 * shaft_hz):
        asked = {"sampling_rate_hz": RATE, "declared_rpm": rpm}
        bins = comb_bins(12_000, highest_ratio=SpeedCheckSettings().highest, settings=CombSettings(), **asked)
        kept = tuple(judged_windows(n))
        windows = RecordingWindows(9.81 * x, RATE, True, rpm, True, None, kept=kept, kept_bins=bins)
        power = extract_together([windows], FeatureSettings())[0].power
        alone = shown_speed(x, **asked).verdict
        assert shown_speed(x, power=power, **asked).verdict == alone
        assert (alone is None) == (rpm == 60.0 * shaft_hz)


def behind_a_gear(ratio, race, seed, *, shaft=0.0, floor=0.05):
    """A strong defect on the output shaft of a gear pair, whose comb is in the spectrum; shaft: comb of the motor."""
    rng = np.random.default_rng([seed, int(10 * ratio)])
    t = np.arange(4 * LENGTH) / RATE
    order = (SKF_6205.bpfo if race == "outer" else SKF_6205.bpfi) / ratio
    passes = np.cumsum((1 + 0.01 * rng.standard_normal(int(order * RPM / 60 * t[-1]))) / order)  # in turns of the motor
    strike = np.rint(passes * 60 / RPM * RATE).astype(int)
    height = 1.0 if race == "outer" else (1 + np.cos(2 * np.pi * passes / ratio)) / 2
    x = np.zeros(t.size + 200)
    np.add.at(x, np.clip(strike, 0, t.size - 1), height)
    late = np.arange(200) / RATE
    x = np.convolve(x, np.exp(-900 * late) * np.cos(2 * np.pi * 3000 * late) + np.exp(-2000 * late))[: t.size]
    x += sum(shaft * np.cos(2 * np.pi * k * RPM / 60 * t + k) for k in (1, 2, 3))
    x += floor * rng.standard_normal(t.size)
    turned = turned_bearing_orders(SKF_6205, inner_speed=-1 / ratio)
    return x.reshape(4, LENGTH).astype(np.float32), replace(turned, gear_mesh=(20.0,), shafts=(1 / ratio,))


@pytest.mark.parametrize("race", ["outer", "inner"])
@pytest.mark.parametrize("ratio", [2.0, 2.5, 4.0])
@pytest.mark.parametrize("shaft", [0.0, 0.005, 0.02])
def test_the_comb_of_a_bearing_on_another_shaft_is_no_wrong_speed(race, ratio, shaft):
    for seed in range(4):
        x, orders = behind_a_gear(ratio, race, seed, shaft=shaft)
        assert judge(x, orders=orders) is None


@pytest.mark.parametrize("race", ["outer", "inner"])
@pytest.mark.parametrize("ratio", [8.0, 9.5, 13.0])
def test_nor_is_that_of_a_bearing_that_turns_so_slowly_that_its_lines_lie_close(race, ratio):
    for seed in range(4):
        x, orders = behind_a_gear(ratio, race, seed, shaft=0.005, floor=0.02)
        assert judge(x, orders=orders) is None


@pytest.mark.parametrize("order", [1.5, 1.79])
def test_half_of_a_race_whose_comb_is_there_is_no_shaft(order):
    comb_there = comb(order * RPM, amplitude=0.2, harmonics=range(1, 9)) + comb(2 * order * RPM, amplitude=0.3)
    assert judge(comb_there.astype(np.float32)) is not None
    assert judge(comb_there.astype(np.float32), orders=Orders(bpfo=2 * order)) is None
    assert judge(comb_there.astype(np.float32), orders=Orders(bpfo=2.3 * order)) is not None


@pytest.mark.parametrize("slip", [1.0, 1.01])
def test_the_cage_s_double_is_no_shaft_where_a_ball_has_its_comb(slip):
    """As on CWRU's ball of 0.028 in: lines at multiples of twice the cage's order, and none of the shaft."""
    cage = comb(2 * SKF_6205.ftf * slip * RPM, amplitude=0.2, harmonics=range(1, 9))
    ball = comb(2 * SKF_6205.bsf * slip * RPM, amplitude=0.3, seed=3)
    assert judge(cage, orders=SKF_6205)[0] is Quality.WRONG_SPEED, "without a ball's lines it may be a shaft"
    assert judge((cage + ball).astype(np.float32)) is not None
    assert judge((cage + ball).astype(np.float32), orders=SKF_6205) is None


def test_a_comb_beside_the_declared_speeds_own_lines_is_another_machine():
    other, own = comb(2430.0, amplitude=0.3), comb(RPM, amplitude=0.3, harmonics=(1, 2, 4), seed=3) - noise(3)
    assert judge(other)[0] is Quality.WRONG_SPEED
    assert judge((other + own).astype(np.float32)) is None


def test_the_verdict_says_how_sure_it_is():
    strong, weak = (judge(comb(1345.0, amplitude=a).reshape(1, -1))[1] for a in (0.25, 0.06))
    chance = [float(re.search(r"once in ([\de+]+) recordings", text)[1]) for text in (strong, weak)]
    assert 1e5 <= chance[1] < chance[0]
