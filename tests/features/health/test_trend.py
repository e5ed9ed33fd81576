"""Trends: lines have their slope, steps their place, noise nothing, and neither gaps nor spikes change that."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.health.trend import change_points, noise_of, normal_scores, pelt, running_median, theil_sen


def correlated(rng, n, r):
    noise = rng.standard_normal(n + 50)
    for index in range(1, n + 50):
        noise[index] = r * noise[index - 1] + np.sqrt(1 - r * r) * noise[index]
    return noise[50:]


def test_running_median_looks_back_only():
    values = np.array([1.0, 9.0, 2.0, np.nan, 3.0, 100.0, 4.0])
    expected = [1.0, 5.0, 2.0, 5.5, 2.5, 51.5, 4.0]
    np.testing.assert_allclose(running_median(values, width=3), expected)
    assert np.isnan(running_median(np.full(3, np.nan), width=2)).all()
    assert running_median(np.empty(0), width=4).shape == (0,)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="1 or more"):
            running_median(values, width=wrong)


@given(st.floats(-100, 100), st.floats(-1e3, 1e3), st.integers(5, 60), st.randoms(use_true_random=False))
def test_the_slope_of_a_line_is_exact_in_any_order_and_with_gaps(slope, level, n, random):
    times = np.array(sorted(random.sample(range(1000), n)), dtype=float)
    order = np.array(random.sample(range(n), n))
    found = theil_sen(times[order], (level + slope * times)[order])
    scale = max(abs(slope), abs(level) / 100, 1.0)
    for value in (found.per_unit, found.low, found.high):
        assert value == pytest.approx(slope, abs=1e-6 * scale)


def test_a_quarter_of_outliers_does_not_turn_the_slope():
    rng = np.random.default_rng(1)
    times = np.arange(200.0)
    values = 0.1 * times + 0.2 * rng.standard_normal(200)
    values[rng.choice(200, 50, replace=False)] += 50.0
    found = theil_sen(times, values)
    assert found.per_unit == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("r, least", [(0.0, 0.9), (0.7, 0.82)])
def test_the_interval_covers_the_true_slope_also_in_correlated_noise(r, least):
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.exponential(1.0, 80))
    fits = [theil_sen(times, 0.05 * times + correlated(rng, 80, r)) for _ in range(200)]
    assert np.mean([fit.low <= 0.05 <= fit.high for fit in fits]) >= least


def test_long_series_have_the_same_slope_as_short_ones():
    rng = np.random.default_rng(3)
    times = np.arange(3000.0)
    found = theil_sen(times, 0.01 * times + rng.standard_normal(3000))
    assert found.low < 0.01 < found.high
    assert found.high - found.low < 3e-4
    assert found.n_points == 3000


def test_too_few_points_have_no_slope():
    assert theil_sen(np.arange(4.0), np.arange(4.0)) is None
    assert theil_sen(np.zeros(9), np.arange(9.0)) is None
    assert theil_sen(np.arange(9.0), np.full(9, np.nan)) is None
    with pytest.raises(ValueError, match="finite times"):
        theil_sen(np.array([0.0, np.nan]), np.zeros(2))
    with pytest.raises(ValueError, match="equally long"):
        theil_sen(np.zeros(3), np.zeros(2))


@pytest.mark.parametrize("at", [30, 150, 270])
@pytest.mark.parametrize("step", [3.0, -3.0])
def test_a_step_is_found_where_it_is(at, step):
    rng = np.random.default_rng(at)
    times = np.cumsum(rng.exponential(1.0, 300))
    values = rng.standard_normal(300) + step * (np.arange(300) >= at)
    (change,) = change_points(times, values)
    assert abs(change.index - at) <= 3
    assert change.after - change.before == pytest.approx(step, abs=0.5)
    assert (change.earliest, change.latest) == (times[change.index - 1], times[change.index])


def test_a_step_without_noise_is_exact_and_a_gap_tells_between_which_times():
    times = np.concatenate((np.arange(20.0), 500 + np.arange(20.0)))
    (change,) = change_points(times, (times > 100).astype(float))
    assert (change.index, change.earliest, change.latest, change.before, change.after) == (20, 19.0, 500.0, 0.0, 1.0)


def test_order_and_missing_values_do_not_matter():
    rng = np.random.default_rng(4)
    times, values = np.arange(200.0), rng.standard_normal(200) + 4.0 * (np.arange(200) >= 120)
    order = rng.permutation(200)
    told = [(c.earliest, c.latest, c.before, c.after) for c in change_points(times, values)]
    shuffled = change_points(times[order], values[order])
    assert [(c.earliest, c.latest, c.before, c.after) for c in shuffled] == told
    assert [times[order][c.index] for c in shuffled] == [c.latest for c in shuffled]
    holes = np.insert(values, [50, 50, 130], np.nan)
    again = change_points(np.insert(times, [50, 50, 130], [49.3, 49.6, 129.5]), holes)
    assert [(c.earliest, c.latest) for c in again] == [t[:2] for t in told]


@pytest.mark.parametrize("draw", ["normal", "heavy", "skewed"])
def test_noise_has_no_change_points_whatever_its_distribution(draw):
    """Stated: below 1 % of series. 150 series with 5 hits would be far from that."""
    rng = np.random.default_rng(6)
    makers = {"normal": rng.standard_normal, "heavy": rng.standard_cauchy, "skewed": rng.standard_exponential}
    hits = [bool(change_points(np.arange(n), makers[draw](n))) for n in (30, 100, 300) for _ in range(50)]
    assert sum(hits) <= 4


def test_wandering_noise_has_few():
    rng = np.random.default_rng(7)
    hits = [bool(change_points(np.arange(n), correlated(rng, n, 0.5))) for n in (30, 100, 300) for _ in range(50)]
    assert np.mean(hits) <= 0.1


@pytest.mark.parametrize("size", [1e3, 1e9, -1e9])
def test_spikes_are_no_change(size):
    values = np.random.default_rng(8).standard_normal(200)
    values[[60, 130, 131]] = size
    assert change_points(np.arange(200), values) == ()


def test_small_changes_are_not_told_where_they_are_not_wanted():
    rng = np.random.default_rng(9)
    values = 0.1 * rng.standard_normal(300)
    values[100:] += 0.6
    values[200:] += 3.0
    assert len(change_points(np.arange(300), values)) == 2
    (change,) = change_points(np.arange(300), values, min_shift=1.0)
    assert abs(change.index - 200) <= 2
    assert change.before == pytest.approx(0.3, abs=0.4)


@pytest.mark.parametrize("values", [np.empty(0), np.ones(1), np.ones(50), np.full(9, np.nan), np.arange(7.0)])
def test_what_is_too_short_or_does_not_move_has_no_changes(values):
    assert change_points(np.arange(len(values)), values) == ()


def test_settings_out_of_range_are_refused():
    for wrong in ({"penalty": 0.0}, {"min_size": 1}, {"min_shift": -1.0}):
        with pytest.raises(ValueError, match="Wanted penalty"):
            change_points(np.arange(9), np.arange(9.0), **wrong)


def brute_force(values, beta, min_size):
    """The cheapest of all segmentations."""
    n, best = len(values), (np.inf, [])
    for count in range(n // min_size):
        for cuts in itertools.combinations(range(min_size, n - min_size + 1), count):
            bounds = [0, *cuts, n]
            parts = [values[a:b] for a, b in itertools.pairwise(bounds)]
            if min(map(len, parts)) >= min_size:
                cost = sum(float(((part - part.mean()) ** 2).sum()) for part in parts) + beta * count
                best = min(best, (cost, list(cuts)))
    return best


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 3), st.floats(0.3, 6.0))
def test_pelt_finds_the_cheapest_of_all_segmentations(seed, min_size, beta):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(11) + 3 * rng.integers(0, 2, 11).cumsum() % 5
    cuts = pelt(values, beta=beta, min_size=min_size)
    bounds = [0, *cuts, 11]
    cost = sum(float(((values[a:b] - values[a:b].mean()) ** 2).sum()) for a, b in itertools.pairwise(bounds))
    assert cost + beta * len(cuts) == pytest.approx(brute_force(values, beta, min_size)[0])


@pytest.mark.parametrize("r", [0.0, 0.4, 0.7])
def test_noise_is_told_in_spite_of_steps(r):
    values = 2.0 * correlated(np.random.default_rng(10), 4000, r)
    values += 10 * (np.arange(4000) // 500)
    sigma, found = noise_of(values)
    assert sigma == pytest.approx(2.0, rel=0.2)
    assert found == pytest.approx(r, abs=0.15)


def test_normal_scores_are_those_of_the_ranks():
    scores = normal_scores(np.array([5.0, -1e9, 7.0]))
    assert scores[0] == pytest.approx(0.0)
    assert scores[2] == pytest.approx(-scores[1])
    assert scores[2] < 1.0
