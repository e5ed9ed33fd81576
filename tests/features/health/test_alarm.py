"""The frozen rule: quiet in health, deaf to spikes and run-in, and on from a known time once a level rises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.health.alarm import alarm_onset, alarm_resumed, frozen_threshold


def healthy(seed, n=1200):
    """A health index of three groups of noise."""
    noise = np.maximum(np.random.default_rng(seed).standard_normal((n, 3)), 0.0)
    return np.sqrt((noise**2).mean(axis=1))


def test_health_is_quiet_at_the_stated_rate():
    """1 % of runs of 1,000 values: of 60 runs hardly one. The smallest rise is left out, so the tail alone counts."""
    alarms = [alarm_onset(healthy(seed), baseline_count=200, min_rise=0.0).first for seed in range(60)]
    assert sum(first is not None for first in alarms) <= 2


def test_a_jump_is_told_after_the_median_and_the_persistence():
    values = healthy(1)
    values[700:] += 20.0
    alarm = alarm_onset(values, baseline_count=200, width=6, persistence=12)
    assert alarm.first == alarm.lasting
    # The median of 6 is above the threshold once 4 of them are (or the mean of the middle two, with 3).
    assert 702 + 11 <= alarm.first <= 703 + 11
    assert not alarm.on[: alarm.first].any() and alarm.on[alarm.first :].all()


def test_spikes_and_run_in_are_no_alarm_and_do_not_deafen():
    values = healthy(2)
    values[:40] += 8 * np.exp(-np.arange(40) / 10)
    values[np.random.default_rng(2).choice(1200, 60, replace=False)] = 1e6
    assert alarm_onset(values, baseline_count=200).first is None
    values[900:] += 10.0
    assert 900 < alarm_onset(values, baseline_count=200).lasting < 930


def test_an_alarm_that_ends_is_first_but_not_lasting():
    values = healthy(3)
    values[500:600] += 20.0
    alarm = alarm_onset(values, baseline_count=200)
    assert 500 < alarm.first < 520
    assert alarm.lasting is None
    assert alarm.on.sum() == pytest.approx(100, abs=3)


def test_missing_values_neither_start_nor_end_an_alarm():
    values = healthy(4)
    values[600:] += 20.0
    values[800:900] = np.nan
    alarm = alarm_onset(values, baseline_count=200)
    assert alarm.on[alarm.first :].all()
    assert alarm_onset(np.where(np.arange(1200) < 600, values, np.nan), baseline_count=200).first is None


def test_the_reference_part_never_alarms():
    values = healthy(5)
    values[100:] += 20.0
    assert not alarm_onset(values, baseline_count=300, threshold=3.0).on[:300].any()


def test_the_threshold_has_its_closed_form():
    """Exponential values: the level that `horizon` of them exceed with chance q is the true one."""
    p = (np.arange(100_000) + 0.5) / 100_000
    exact = np.log(100 / 0.05)
    median, lower = np.log(2.0), -np.log(0.75)
    found = frozen_threshold(-np.log(1 - p), false_alarm_rate=0.05, horizon=100, min_rise=0.0)
    assert found == pytest.approx(median + (median - lower) / np.log(2.0) * np.log(100 / 0.1), rel=1e-3)
    mirrored = frozen_threshold(2 * median + np.log(1 - p) * 1.0, false_alarm_rate=0.05, horizon=100, min_rise=0.0)
    assert mirrored == pytest.approx(exact, rel=1e-3)
    assert frozen_threshold(np.zeros(50), min_rise=3.0) == 3.0


def test_rarer_alarms_need_a_higher_level():
    values = healthy(6)[:200]
    levels = [frozen_threshold(values, false_alarm_rate=q, min_rise=0.0) for q in (0.1, 0.01, 0.001)]
    assert levels == sorted(set(levels))


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="20 finite reference values"):
        frozen_threshold(np.r_[np.zeros(19), np.full(50, np.nan)])
    for wrong in ({"false_alarm_rate": 0.0}, {"horizon": 0}, {"min_rise": -1.0}):
        with pytest.raises(ValueError, match="Wanted false_alarm_rate"):
            frozen_threshold(np.zeros(50), **wrong)
    with pytest.raises(ValueError, match=r"baseline_count in 0\.\.9"):
        alarm_onset(np.zeros(9), baseline_count=10, threshold=1.0)
    with pytest.raises(ValueError, match="persistence of 1"):
        alarm_onset(np.zeros(9), baseline_count=5, threshold=1.0, persistence=0)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 100_000), st.integers(0, 40), st.integers(20, 60), st.integers(1, 30))
def test_resumed_at_any_point_the_alarm_is_that_of_the_whole_series(seed, baseline_count, n_before, n_new):
    rng = np.random.default_rng(seed)
    level = 2.0 * np.cumsum(rng.random(n_before + n_new) < 0.1) % 5
    values = level + rng.standard_normal(n_before + n_new)
    whole = alarm_onset(values, baseline_count=min(baseline_count, n_before), threshold=2.0, persistence=4)
    n_old = 6 + 4 - 2 + int(rng.integers(0, 5))
    first = n_before - n_old
    on = alarm_resumed(
        values[first:],
        n_old=n_old,
        baseline_count=max(0, min(baseline_count, n_before) - first),
        threshold=2.0,
        is_on=bool(whole.on[n_before - 1]),
        persistence=4,
    )
    assert on.tolist() == whole.on[n_before:].tolist()


def test_too_few_old_values_are_refused():
    with pytest.raises(ValueError, match="Wanted 16 old values"):
        alarm_resumed(np.zeros(20), n_old=15, baseline_count=0, threshold=1.0, is_on=False)
