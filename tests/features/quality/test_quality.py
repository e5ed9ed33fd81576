import numpy as np
import pytest

from features.quality import quality
from features.quality.mains import HumSettings, mains_shares
from features.quality.quality import Quality, QualitySettings, assess, quality_settings, spread
from features.spectra.spectrum import power_spectrum

RATE, LENGTH = 12_000.0, 12_032
SETTINGS = QualitySettings()
T = np.arange(LENGTH) / RATE


def judge(x, *, rate=RATE, declared=True, rpm=1300.0, settings=SETTINGS):
    windows = np.atleast_2d(x).astype(np.float32)
    return assess(windows, sampling_rate_hz=rate, rate_is_declared=declared, shaft_speed_rpm=rpm, settings=settings)


def verdict(x, **keywords):
    codes, evidence = judge(x, **keywords)
    assert len(codes) == len(evidence) == 1
    assert (evidence[0] == "") == (codes[0] is Quality.OK)
    return codes[0]


def noise(seed=0, length=LENGTH):
    return np.random.default_rng(seed).standard_normal(length)


def coarse(x, step):
    return np.round(x / step) * step


def test_good_signals_are_ok():
    assert verdict(noise()) is Quality.OK
    assert verdict(coarse(noise(), 0.25)) is Quality.OK  # about 30 levels of the converter
    assert verdict(np.sin(2 * np.pi * 1000 * T + np.pi / 12)) is Quality.OK  # twelve samples a period, equal peaks
    assert verdict(coarse(np.sin(2 * np.pi * 33 * T), 1 / 64)) is Quality.OK
    assert verdict(noise() * np.exp(-((T - 0.5) ** 2) * 50)) is Quality.OK  # one burst
    assert verdict(np.round(40 + T)) is Quality.OK  # a slow temperature in whole degrees


@pytest.mark.parametrize("value", [0.0, 9.80665, -1e30])
def test_flatline(value):
    assert verdict(np.full(LENGTH, value)) is Quality.FLATLINE


def test_flatline_with_a_last_digit_or_a_spike():
    x = np.full(LENGTH, 9.80665, dtype=np.float32)
    x[::7] = np.nextafter(x[0], np.float32(10))
    assert verdict(x) is Quality.FLATLINE
    x = np.zeros(LENGTH)
    x[50:60] = noise()[:10]
    assert verdict(x) is Quality.FLATLINE


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_comes_first(bad):
    x = np.zeros(LENGTH)
    x[5] = bad
    codes, evidence = judge(x)
    assert codes == [Quality.NON_FINITE]
    assert evidence == [f"1 of {LENGTH} samples are not finite"]


def test_too_short():
    assert verdict(noise(length=63)) is Quality.TOO_SHORT
    assert verdict(noise(length=64)) is Quality.OK


@pytest.mark.parametrize("length", [61, 300, 6000])
@pytest.mark.parametrize("held", [0.0, 0.37, 5.0])
def test_dropout(length, held):
    x = noise() + 0.5
    x[4000 : 4000 + length] = held
    codes, evidence = judge(x)
    assert codes == [Quality.DROPOUT]
    assert f"{length} samples in a row" in evidence[0]


def test_dropouts_to_the_lowest_value_are_still_dropouts():
    x = noise() + 9.8
    for start in (500, 3000, 9000):
        x[start : start + 150] = 0.0
    assert verdict(x) is Quality.DROPOUT


def test_a_stretch_too_short_is_no_dropout_and_neither_is_a_slow_coarse_signal():
    x = noise()
    x[4000:4059] = 0.2
    assert verdict(x) is Quality.OK
    staircase = coarse(20 * np.sin(2 * np.pi * 0.8 * T), 0.5)
    assert verdict(staircase) is Quality.OK


@pytest.mark.parametrize("limit", [0.5, 1.0, 2.0, 2.5])
def test_clipped_noise(limit):
    codes, evidence = judge(np.clip(noise(), -limit, limit))
    assert codes == [Quality.CLIPPING]
    assert f"at the highest value {limit:g}" in evidence[0]


def test_clipping_at_one_rail_and_of_a_sine():
    assert verdict(np.maximum(noise(), -1.5)) is Quality.CLIPPING
    assert verdict(np.clip(np.sin(2 * np.pi * 33.3 * T) + 0.01 * noise(), -0.9, 0.9)) is Quality.CLIPPING
    assert verdict(np.clip(coarse(noise(), 0.02), -1.5, 1.5)) is Quality.CLIPPING
    assert verdict(np.clip(noise(), -4.5, 4.5)) is Quality.OK  # nothing reaches the rail


def test_long_clipped_stretches_are_clipping_and_not_a_dropout():
    slow = np.sin(2 * np.pi * 8 * T) + 0.05 * noise()
    assert verdict(np.clip(slow, -0.8, 0.8)) is Quality.CLIPPING


@pytest.mark.parametrize("mains", [50.0, 60.0])
def test_mains_hum(mains):
    x = noise() + 2.0 * np.sin(2 * np.pi * mains * T)
    codes, evidence = judge(x)
    assert codes == [Quality.MAINS_HUM]
    assert f"at {mains:.0f} Hz" in evidence[0] and evidence[0].startswith(("66 %", "67 %", "68 %"))
    assert verdict(noise() + 1.2 * np.sin(2 * np.pi * mains * T)) is Quality.OK  # 42 % of the power


def test_odd_harmonics_count_as_hum_and_other_lines_do_not():
    odd = sum(np.sin(2 * np.pi * 50 * k * T) for k in (1, 3, 5, 7))
    assert verdict(noise() + 0.9 * odd) is Quality.MAINS_HUM
    assert verdict(noise() + 5 * np.sin(2 * np.pi * 55 * T)) is Quality.OK
    assert verdict(noise() + 5 * np.sin(2 * np.pi * 100 * T)) is Quality.OK


def test_a_higher_harmonic_of_the_shaft_excuses_less():
    weak, strong = (noise() + a * np.sin(2 * np.pi * 50 * T) for a in (2.0, 4.0))
    assert verdict(weak, rpm=1000.0) is Quality.OK  # 67 % of the power at three times the speed
    assert verdict(strong, rpm=1000.0) is Quality.MAINS_HUM  # 89 %
    assert verdict(strong, rpm=1500.0) is Quality.OK  # twice the speed: misalignment


@pytest.mark.parametrize("rpm", [3000.0, -3000.0, 1500.0, 1000.0, 3040.0])
def test_a_shaft_at_mains_frequency_is_no_hum(rpm):
    assert verdict(noise() + 2 * np.sin(2 * np.pi * 50 * T), rpm=rpm) is Quality.OK
    # The excuse holds for that frequency only.
    assert verdict(noise() + 2 * np.sin(2 * np.pi * 60 * T), rpm=rpm) is Quality.MAINS_HUM


def test_hum_needs_more_where_the_speed_or_the_rate_is_unknown():
    weak, strong = (noise() + a * np.sin(2 * np.pi * 50 * T) for a in (2.0, 4.0))
    assert verdict(weak, rpm=None) is Quality.OK
    assert verdict(strong, rpm=None) is Quality.MAINS_HUM
    assert verdict(strong, declared=False) is Quality.OK


def test_hum_is_not_judged_on_too_few_cycles():
    few = np.arange(1900) / RATE
    assert verdict(9 * np.sin(2 * np.pi * 50 * few) + noise(length=1900), rpm=None) is Quality.OK  # below 10 cycles
    more = np.arange(3000) / RATE
    assert verdict(9 * np.sin(2 * np.pi * 50 * more) + noise(length=3000), rpm=None) is Quality.MAINS_HUM
    assert verdict(noise(length=500), rate=60.0) is Quality.OK  # 50 Hz is beyond Nyquist


def test_the_order_of_verdicts():
    x = np.clip(noise() + 3 * np.sin(2 * np.pi * 50 * T), -2, 2)
    assert verdict(x) is Quality.CLIPPING
    x[100:400] = 0.3
    assert verdict(x) is Quality.DROPOUT
    x[:] = 0.3
    assert verdict(x) is Quality.FLATLINE
    x[0] = np.nan
    assert verdict(x) is Quality.NON_FINITE


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_verdicts_do_not_depend_on_the_unit(scale):
    hum = noise() + 2 * np.sin(2 * np.pi * 50 * T)
    held = noise()
    held[100:300] = 0.1
    for x in (noise(), np.clip(noise(), -2, 2), hum, held):
        assert verdict(x * scale) is verdict(x)


def test_signals_that_stand_still_by_nature_are_neither_clipped_nor_lost():
    settled = coarse(np.minimum(40 * T, 25), 0.5)  # a temperature that rises in steps and stays
    assert verdict(settled) is Quality.OK
    resting = 86.0 + (np.random.default_rng(4).random(LENGTH) < 0.1)  # an encoder between two counts
    assert verdict(resting) is Quality.OK


def test_each_window_is_judged_alone_and_the_array_is_left_as_it_was():
    hum = noise() + 2 * np.sin(2 * np.pi * 50 * T)
    windows = np.stack([noise(), hum, np.zeros(LENGTH), np.clip(noise(), -1, 1)] * 5).astype(np.float32)
    before = windows.copy()
    windows.flags.writeable = False
    codes, evidence = judge(windows)
    assert codes == [Quality.OK, Quality.MAINS_HUM, Quality.FLATLINE, Quality.CLIPPING] * 5
    assert evidence == [judge(row)[1][0] for row in windows]
    assert np.array_equal(windows, before)


def test_no_window_gives_no_verdict():
    assert judge(np.zeros((0, 512))) == ([], [])


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="float32"):
        assess(np.zeros((1, 512)), sampling_rate_hz=1.0, rate_is_declared=True, shaft_speed_rpm=None, settings=SETTINGS)
    with pytest.raises(ValueError, match="sampling rate"):
        judge(noise(), rate=0.0)


def test_slow_and_coarse_quantities_may_stand_still():
    rate, warm = 10.0, np.full(4096, 36.0)
    for quantity in ("temperature", "voltage", "motor_current", "motor_torque"):
        own = quality_settings(quantity)
        assert verdict(warm[:512], rate=rate, rpm=None, settings=own) is Quality.OK
        assert verdict(warm, rate=rate, declared=False, rpm=None, settings=own) is Quality.OK
        assert verdict(warm, rate=4096 / (6.1 * 3600), rpm=None, settings=own) is Quality.FLATLINE
        resting = noise(length=4096)
        resting[1000:3000] = 0.0
        assert verdict(resting, rate=rate, rpm=None, settings=own) is Quality.OK
        assert verdict(np.clip(noise(), -1, 1), settings=own) is Quality.OK
        assert verdict(np.append(noise(), np.nan), settings=own) is Quality.NON_FINITE
    assert quality_settings("acceleration") == quality_settings("anything else") == SETTINGS
    assert verdict(warm, settings=quality_settings("acceleration")) is Quality.FLATLINE


def test_a_bad_window_speaks_for_its_recording():
    ok, lost = Quality.OK, Quality.DROPOUT
    assert spread([ok, lost, ok], ["", "80 samples", ""]) == (
        [lost] * 3,
        [
            "in 1 of 3 windows of the recording: 80 samples",
            "80 samples",
            "in 1 of 3 windows of the recording: 80 samples",
        ],
    )
    many = [lost] + [ok] * 10
    assert spread(many, [""] * 11) == (many, [""] * 11)
    assert spread([ok, Quality.POLARITY], ["", "x"]) == ([ok, Quality.POLARITY], ["", "x"])
    assert spread([], []) == ([], [])
    loud = [Quality.CLIPPING, ok, ok]
    assert spread(loud, ["20 samples", "", ""]) == (loud, ["20 samples", "", ""]), "each window by itself"


@pytest.mark.parametrize(
    "bad, word",
    [
        ({"flat_share": 1.5}, "flat_share"),
        ({"min_samples": 0}, "min_samples"),
        ({"clip_pile_up": 0.5}, "clip_pile_up"),
        ({"flat_min_seconds": -1.0}, "flat_min_seconds"),
    ],
)
def test_bad_settings_are_refused_by_name(bad, word):
    with pytest.raises(ValueError, match=word):
        QualitySettings(**bad)


@pytest.mark.parametrize(
    "bad, word", [({"mains_hz": (0.0,)}, "mains_hz"), ({"share": 2.0}, "share"), ({"min_cycles": 0.0}, "min_cycles")]
)
def test_bad_hum_settings_are_refused_by_name(bad, word):
    with pytest.raises(ValueError, match=word):
        HumSettings(**bad)


def test_the_bounds_rule_out_only_what_the_whole_check_does_not_find():
    rng = np.random.default_rng(2)
    lively = found = 0
    for number in range(600):
        size = int(rng.integers(64, 3000))
        row = rng.standard_normal(size) * 10.0 ** rng.uniform(-6, 6) + rng.choice([0.0, 0.0, 1e3])
        row = np.round(row / row.std() * rng.choice([2, 20, 1e6])) if number % 3 else row
        if number % 4 == 0:
            row = np.clip(row, *np.quantile(row, rng.choice([0.0, 0.002, 0.05], 2) * [1, -1] + [0, 1]))
        if number % 5 == 0:
            first = int(rng.integers(size))
            row[first : first + int(rng.integers(2, 60))] = rng.choice([0.0, row[first], row.max()])
        if number % 7 == 0:
            row[rng.random(size) < rng.choice([0.9, 0.994, 0.996, 1.0])] = 0.25
        row = row.astype(np.float32)
        ordered = np.sort(row)
        whole = (
            quality._flatline(row, ordered, SETTINGS),
            quality._dropout(row, SETTINGS),
            quality._clipping(row, ordered, SETTINGS),
        )
        if quality._is_lively(row, float(ordered[0]), float(ordered[-1]), SETTINGS):
            assert whole == (None, None, None), number
            lively += 1
        found += any(whole)
    assert lively > 150 and found > 150


def test_shares_of_the_mains_that_are_there_already_change_no_verdict():
    t = np.arange(8192) / 8192.0
    hum = np.sin(2 * np.pi * 50 * t) + 0.3 * np.sin(2 * np.pi * 150 * t)
    noise = np.random.default_rng(0).standard_normal((3, 8192))
    windows = (np.array([[3.0], [1.0], [0.0]]) * hum + noise).astype(np.float32)
    common = {"sampling_rate_hz": 8192.0, "rate_is_declared": True, "shaft_speed_rpm": 1234.0, "settings": SETTINGS}
    shares = mains_shares(power_spectrum(windows * 9.81), bin_hz=1.0, length=8192, settings=SETTINGS.hum)
    shares[1] = np.nan
    alone = assess(windows, **common)
    assert assess(windows, mains=shares, **common) == alone
    assert [str(code) for code in alone[0]] == ["mains_hum", "ok", "ok"]
    assert assess(windows, mains=np.zeros((3, 2)), **common)[0][0] == "ok", "the shares are used"


def pausing(level, *, step=0.01, seed=0, jitter=0.0, amplitude=0.17):
    """An axis that moves 2 s and stands 0.6 s, at the levels in turn; 400 samples a second in coarse steps."""
    rng = np.random.default_rng(seed)
    parts = []
    for cycle in range(8):
        at = level[cycle % len(level)]
        stands = round(240 * (1 + jitter * rng.uniform(-1, 1)))
        parts += [at + amplitude * rng.standard_normal(800), at + 0.1 * step * rng.standard_normal(stands)]
    return coarse(np.concatenate(parts), step)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("level", [(0.12,), (-0.98,), (0.12, -0.3), (0.0,)])
@pytest.mark.parametrize("step", [0.01, 0.04])
def test_pauses_of_a_robot_in_coarse_steps_are_no_dropout(level, step, seed):
    x = pausing(level, step=step, seed=seed)
    assert verdict(x, rate=400.0) is Quality.OK
    assert verdict(9.80665 * x, rate=400.0) is Quality.OK


def test_pauses_of_any_length_are_no_dropout_where_they_are_at_no_zero():
    assert verdict(pausing((0.12,), jitter=0.5), rate=400.0) is Quality.OK


@pytest.mark.parametrize("pauses", [1, 2, 5])
@pytest.mark.parametrize("levels", [(0.0,), (0.12, -0.3, 0.06)])
@pytest.mark.parametrize("step", [0.005, 0.02])
def test_an_axis_that_slows_down_before_it_stops_is_at_rest_wherever_that_is(pauses, levels, step):
    """Irregular stops, each at another pose: what tells them from a loose plug is how the motion ends and begins."""
    rng = np.random.default_rng([pauses, len(levels)])
    parts = []
    for number in range(pauses + 1):
        moves, stands = rng.integers(500, 1100), rng.integers(80, 400)
        ramp = np.minimum(np.linspace(0.0, 8.0, moves), 1.0) * np.minimum(np.linspace(8.0, 0.0, moves), 1.0)
        before, after = (levels[(number + k) % len(levels)] for k in (0, 1))
        parts.append(np.linspace(before, after, moves) + 0.2 * ramp * rng.standard_normal(moves))
        parts.append(after + 0.1 * step * rng.standard_normal(stands if number < pauses else 0))
    assert verdict(coarse(np.concatenate(parts), step), rate=400.0) is Quality.OK


@pytest.mark.parametrize("number", [1, 3, 8])
@pytest.mark.parametrize("value", [0.0, 0.45, None])
def test_a_plug_that_is_lost_in_mid_motion_is_no_pause_whatever_it_holds(number, value):
    """An open input of any constant, or the last value."""
    rng = np.random.default_rng(number)
    x = 0.12 + 0.2 * rng.standard_normal(8192)
    for start in (900 * np.arange(number) + rng.integers(0, 300, number)).tolist():
        x[start : start + rng.integers(60, 500)] = x[start] if value is None else value
    assert verdict(coarse(x, 0.01), rate=400.0) is Quality.DROPOUT


@pytest.mark.parametrize("step", [0.01, 0.04])
def test_a_loose_plug_is_found_in_coarse_steps_too(step):
    rng, found = np.random.default_rng(7), {"open": 0, "held": 0, "at rest, then open": 0}
    for _ in range(40):
        for kind in found:
            x = pausing((0.12,)) if kind == "at rest, then open" else coarse(0.12 + 0.17 * noise(rng, 6720), step)
            for _ in range(int(rng.integers(1, 5))):
                first, length = int(rng.integers(0, 5400)), int(rng.integers(130, 1300))
                x[first : first + length] = x[first] if kind == "held" else 0.0
            found[kind] += verdict(x, rate=400.0) is Quality.DROPOUT
    assert min(found.values()) >= 38, found


def test_zero_without_a_rhythm_is_a_dropout():
    assert verdict(pausing((0.0,), jitter=0.5), rate=400.0) is Quality.DROPOUT
    lost = noise()
    for first in (2000, 5000, 8000):
        lost[first : first + 300] = 0.0
    assert verdict(lost) is Quality.DROPOUT  # in rhythm, and yet not in coarse steps
