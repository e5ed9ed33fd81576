import numpy as np
import pytest

from features.spectra.line_reader import LineReader
from features.spectra.lines import (
    LineSettings,
    expected_noise_db,
    line_excess,
    noise_threshold_db,
    place_lines,
    signal_to_floor_db,
)

SETTINGS = LineSettings()


def hann_noise(rows, bins, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((rows, bins + 2)) + 1j * rng.standard_normal((rows, bins + 2))
    return np.abs(z[:, 1:-1] / 2 - (z[:, :-2] + z[:, 2:]) / 4) ** 2


def strongest(power, positions, usable, settings=SETTINGS):
    """Read lines that are one thing, at the same places in all rows."""
    places = np.tile(np.array(positions, dtype=float), (len(power), 1, 1))
    return signal_to_floor_db(power, places, usable=np.full(len(power), usable), settings=settings)[:, 0]


def place(position, usable, n=1):
    return place_lines(np.full(n, position), np.full(n, usable), SETTINGS)


def test_expected_value_of_noise_in_closed_form():
    # One bin: E[ln P] = -gamma (Euler), less ln(ln 2). Two bins: E[ln max] = ln 2 - gamma.
    per_neper = 10 / np.log(10)
    assert expected_noise_db(1.0) == pytest.approx(per_neper * (-np.euler_gamma - np.log(np.log(2))), abs=2e-3)
    assert expected_noise_db(2.0) == pytest.approx(
        per_neper * (np.log(2) - np.euler_gamma - np.log(np.log(2))), abs=2e-3
    )


@pytest.mark.parametrize("position", [5.0, 12.0, 30.0, 107.5, 162.4, 487.3, 1500.0])
def test_noise_has_a_mean_of_zero_at_every_order(position):
    power = hann_noise(4000, 2200)
    found = strongest(power, (position,), 2200)
    assert abs(found.mean()) < 0.35
    assert np.quantile(found, 0.999) < 12
    # Without the correction the wide searches stand out: the correction is what makes them comparable.
    assert line_excess(power, np.arange(4000), place(position, 2200, 4000))[0].mean() > 2.0


def test_several_lines_taken_together_have_a_mean_of_zero_too():
    found = strongest(hann_noise(4000, 2200), (200.0, 500.0, 900.0), 2200)
    assert abs(found.mean()) < 0.35


def test_the_statistic_does_not_depend_on_scale_and_grows_by_the_line():
    power = np.ones((1, 1000))
    base = strongest(power, (300.0,), 1000)[0]
    power[0, 303] = 100.0
    raised = strongest(power, (300.0,), 1000)[0]
    assert raised - base == pytest.approx(20.0)
    scaled = strongest(power * 1e-12, (300.0,), 1000)[0]
    assert scaled == pytest.approx(raised, abs=1e-9)


def test_search_band_is_two_percent_and_never_below_the_resolution():
    wide = place(300.0, 1000)
    assert (wide.first.item(), wide.stop.item()) == (294, 307)
    narrow = place(10.0, 1000)
    assert (narrow.first.item(), narrow.stop.item()) == (9, 12)
    power = np.ones((1, 1000))
    power[0, 308] = 1e6  # just outside of the band and its guard: no line
    assert strongest(power, (300.0,), 1000)[0] < 0


def test_the_line_itself_is_no_floor():
    power = np.ones((1, 1000))
    power[0, 290:311] = 1e4
    narrow = LineSettings(tolerance=0.02, floor_share=0.1, floor_bins=16)
    # Everything within the search band and its guard is high; what lies outside of it is mostly 1.
    assert strongest(power, (300.0,), 1000, narrow)[0] > 30


def test_unresolved_lines_are_missing():
    power = np.ones((2, 100))
    for position in (0.5, 2.9, 99.0, 150.0):
        assert np.isnan(strongest(power, (position,), 100)).all(), position
    assert np.isfinite(strongest(power, (3.0,), 100)).all()
    assert np.isnan(strongest(power, (), 100)).all()
    assert np.isnan(strongest(np.zeros((1, 100)), (50.0,), 100)).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"tolerance": 0.3},
        {"tolerance": -0.1},
        {"floor_bins": 2},
        {"min_turns": 0.0},
        {"false_rate": 0.0},
        {"count_harmonics": 0},
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="Wanted"):
        LineSettings(**bad)


def test_threshold_of_noise_in_closed_form():
    # One bin: P(P > x) = exp(-x), so that 1 % lies at log 100 over a median of log 2.
    wanted = 10 * np.log10(np.log(100) / np.log(2)) - expected_noise_db(1.0)
    assert noise_threshold_db(1.0, 0.01) == pytest.approx(wanted)
    assert noise_threshold_db(5.0, 0.001) > noise_threshold_db(5.0, 0.01)


@pytest.mark.parametrize("order, most", [(0.4, 0.033), (3.6, 0.025), (16.2, 0.02), (43.3, 0.02)])
def test_noise_stands_out_about_as_often_as_stated(order, most):
    reader = LineReader(hann_noise(6000, 2200), turns=30.0, usable=np.full(6000, 2200), settings=SETTINGS)
    assert 0.004 < reader.stands_out(order)[0].mean() < most


def test_reader_reads_what_the_function_reads_whatever_the_end_of_each_row():
    power = hann_noise(9, 1400)
    usable = np.array([1400, 700, 700, 200, 1400, 200, 650, 700, 1400])
    reader = LineReader(power, turns=30.0, usable=usable, settings=SETTINGS)
    for order in (0.5, 5.4, 16.2, 21.7, 44.0):
        wanted = [strongest(power[[k]], (order * 30.0,), int(usable[k]))[0] for k in range(9)]
        np.testing.assert_array_equal(reader.at(order)[0], wanted)
    assert np.isnan(reader.at(None, -0.6) + reader.stands_out(0)).all()


def test_orders_that_are_asked_for_together_are_those_asked_for_alone():
    power, turns = hann_noise(5, 1400), np.array([30.0, 31.5, 12.0, np.nan, 30.2])
    usable, orders = np.full(5, 1400), (5.4, np.array([3.6, 2.2, np.nan, 4.0, 3.6]), 0.5)
    together = LineReader(power, turns=turns, usable=usable, settings=SETTINGS).at(*orders)
    for order, found in zip(orders, together, strict=True):
        alone = LineReader(power, turns=turns, usable=usable, settings=SETTINGS).at(order)[0]
        assert found.tobytes() == alone.tobytes()
    assert np.isnan(together[0]).tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_heights_are_those_of_a_plain_median(dtype):
    rng = np.random.default_rng(1)
    for bins in (40, 99, 340, 1501, 5000):
        power = rng.exponential(size=(6, bins)).astype(dtype)
        power[4][rng.random(bins) < 0.6] = 0.0
        rows, usable = rng.integers(0, 6, 60), rng.integers(bins // 2, bins + 1, 60)
        lines = place_lines(rng.uniform(0, 1.1 * bins, 60), usable, SETTINGS)
        found, peak = line_excess(power, rows, lines)
        assert lines.resolved.sum() > 10 and np.isnan(found[~lines.resolved]).all()
        for k in np.flatnonzero(lines.resolved):
            row, first, stop = power[rows[k]].astype(np.float64), lines.first[k], lines.stop[k]
            low, high = lines.floor_first[k], lines.floor_stop[k]
            around = np.concatenate((row[low : max(first - 2, low)], row[min(stop + 2, high) : high]))
            floor, largest = np.median(around), row[first:stop].max()
            wanted = 10 * np.log10(largest / floor) if floor > 0 and largest > 0 else np.nan
            assert row[peak[k]] == largest
            assert found[k] == pytest.approx(wanted, rel=1e-14, nan_ok=True)
