"""The frozen rule: quiet in health, deaf to spikes and run-in, and on from a known time once a level rises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.health.alarm import DOUBLING, LIMIT, alarm_onset, alarm_resumed, frozen_threshold


def healthy(seed, n=1200):
    """A health index: the highest of three groups of noise."""
    return np.maximum(np.random.default_rng(seed).standard_normal((n, 3)).max(axis=1), 0.0)


def test_health_is_quiet():
    """Of 60 runs of 1,000 values hardly one alarms, though the tail alone counts, without the least threshold."""
    alarms = [alarm_onset(healthy(seed), baseline_count=200, least=0.0).first for seed in range(60)]
    assert sum(first is not None for first in alarms) <= 2


@pytest.mark.parametrize(("above", "needed"), [(0.5, 24), (1.0, 12), (2.0, 6), (4.0, 3), (20.0, 3)])
def test_the_larger_a_rise_the_fewer_values_it_needs(above, needed):
    """And the larger the fall that ends it, the fewer."""
    values = np.zeros(100)
    values[40:80] = DOUBLING + above
    alarm = alarm_onset(values, baseline_count=25)
    assert alarm.threshold == DOUBLING
    assert np.flatnonzero(alarm.on).tolist() == list(range(40 + needed - 1, 82))
    values[80:] = DOUBLING - above
    assert np.flatnonzero(alarm_onset(values, baseline_count=25).on)[-1] == min(80 + needed - 2, 99)


@pytest.mark.parametrize("at", [5.9, 6.0])
def test_what_has_not_doubled_is_no_alarm_however_long_it_lasts(at):
    """A healthy part that was quiet makes a small drift stand out: it is still small."""
    values = np.concatenate((np.abs(np.random.default_rng(1).normal(0, 0.1, 100)), np.full(5000, at)))
    assert alarm_onset(values, baseline_count=100).first is None


def test_a_jump_is_told_at_its_third_value():
    values = healthy(1)
    values[700:] += 20.0
    alarm = alarm_onset(values, baseline_count=200)
    assert alarm.first == alarm.lasting == 702
    assert not alarm.on[: alarm.first].any() and alarm.on[alarm.first :].all()
    assert alarm.evidence == LIMIT


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
    """Values whose lower half falls as an exponential: the level that a share q of its mirror image exceeds."""
    p = (np.arange(100_000) + 0.5) / 100_000
    median, lower = np.log(2.0), -np.log(0.75)
    exponential = -np.log(1 - p)
    found = frozen_threshold(exponential, exceeded=0.0005, least=0.0)
    assert found == pytest.approx(median + (median - lower) / np.log(2.0) * np.log(1000), rel=1e-3)
    mirrored = frozen_threshold(2 * median + np.log(1 - p), exceeded=0.0005, least=0.0)
    assert mirrored == pytest.approx(np.log(2000), rel=1e-3)
    assert frozen_threshold(np.zeros(50)) == DOUBLING
    assert frozen_threshold(np.arange(50.0)) > 24.5 > DOUBLING


def test_rarer_alarms_need_a_higher_level():
    values = healthy(6)[:200]
    levels = [frozen_threshold(values, exceeded=q, least=0.0) for q in (0.1, 0.01, 0.001)]
    assert levels == sorted(set(levels))


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="20 finite reference values"):
        frozen_threshold(np.r_[np.zeros(19), np.full(50, np.nan)])
    for wrong in ({"exceeded": 0.0}, {"exceeded": 0.6}, {"least": -1.0}):
        with pytest.raises(ValueError, match="Wanted exceeded"):
            frozen_threshold(np.zeros(50), **wrong)
    with pytest.raises(ValueError, match=r"baseline_count in 0\.\.9"):
        alarm_onset(np.zeros(9), baseline_count=10, threshold=1.0)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 100_000), st.integers(0, 40), st.integers(40, 60), st.integers(1, 30))
def test_resumed_at_any_point_the_alarm_is_that_of_the_whole_series(seed, baseline_count, n_before, n_new):
    rng = np.random.default_rng(seed)
    level = 6.0 * np.cumsum(rng.random(n_before + n_new) < 0.1) % 13
    values = level + 2 * rng.standard_normal(n_before + n_new)
    values[rng.random(len(values)) < 0.05] = np.nan
    whole = alarm_onset(values, baseline_count=baseline_count, threshold=DOUBLING)
    before = alarm_onset(values[:n_before], baseline_count=baseline_count, threshold=DOUBLING)
    on, evidence = alarm_resumed(
        values[n_before:], threshold=DOUBLING, evidence=before.evidence, is_on=bool(before.on[-1])
    )
    assert on.tolist() == whole.on[n_before:].tolist()
    assert evidence == whole.evidence
