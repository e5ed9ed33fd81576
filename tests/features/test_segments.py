import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.segments import constant_speed_segments

RATE = 100.0


def find(speed, *, tolerance=0.01, min_turns=10.0, duration=None):
    speed = np.asarray(speed, dtype=np.float32)
    duration = len(speed) / RATE if duration is None else duration
    return constant_speed_segments(speed, RATE, duration_s=duration, tolerance=tolerance, min_turns=min_turns)


def test_a_motion_cycle_has_its_two_plateaus():
    # Up to 1500 rpm, hold, back to 600, hold, stop: 1 s each for the ramps, 3 and 2 s at speed.
    ramp = np.linspace(0, 1, 101)[:-1]
    cycle = np.concatenate(
        (1500 * ramp, np.full(300, 1500.0), 1500 - 900 * ramp, np.full(200, 600.0), 600 - 600 * ramp)
    )
    first, second = find(cycle)
    assert (first.start_s, first.stop_s) == (pytest.approx(1.0, abs=0.05), pytest.approx(4.0, abs=0.05))
    assert (second.start_s, second.stop_s) == (pytest.approx(5.0, abs=0.05), pytest.approx(7.0, abs=0.05))
    assert first.speed_rpm == pytest.approx(1500, rel=0.005) and second.speed_rpm == pytest.approx(600, rel=0.005)
    assert first.turns == pytest.approx(75, rel=0.02) and second.turns == pytest.approx(20, rel=0.03)
    assert find(cycle, min_turns=30.0) == (first,)
    assert find(-cycle)[0].speed_rpm == pytest.approx(-1500, rel=0.005)


def test_standing_reversing_and_gaps_are_no_constant_speed():
    assert find(np.zeros(1000)) == ()
    assert find([]) == ()
    flip = np.where(np.arange(800) % 2, 1000.0, -1000.0)
    assert find(flip, tolerance=0.9, min_turns=1.0) == ()
    gap = np.full(1000, 1200.0)
    gap[400] = np.nan
    assert [(s.start_s, s.stop_s) for s in find(gap)] == [(0.0, 3.99), (4.01, 10.0)]


def test_the_end_of_the_recording_ends_the_segment():
    assert [(s.start_s, s.stop_s) for s in find(np.full(1000, 1200.0), duration=5.555)] == [(0.0, 5.555)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), tolerance=st.sampled_from([0.0, 0.01, 0.1]), n=st.integers(1, 120))
def test_segments_are_steady_apart_and_the_longest_is_found(seed, tolerance, n):
    rng = np.random.default_rng(seed)
    speed = 1000 * (1 + np.cumsum(rng.choice([0.0, 0.004, -0.004, 0.3], n, p=[0.5, 0.22, 0.22, 0.06]))).astype(
        np.float32
    )
    found = find(speed, tolerance=tolerance, min_turns=0.05)
    places = [(round(s.start_s * RATE), round(s.stop_s * RATE)) for s in found]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(places))

    def steady(a, b):
        low, high = float(speed[a:b].min()), float(speed[a:b].max())
        return high - low <= tolerance * (high + low) * (1 + 1e-6)

    # A segment ends at its last value, which still is in it; the last one of all ends with the recording.
    inside = [(a, b + 1 if b < n else n) for a, b in places]
    assert all(steady(a, b) for a, b in inside)
    brute = max(speed[a:b].sum() for a in range(n) for b in range(a + 1, n + 1) if steady(a, b))
    best = max((speed[a:b].sum() for a, b in inside), default=0.0)
    assert best == pytest.approx(brute, rel=1e-4) or best < 0.05 * 60 * RATE + 2 * speed.max()


@pytest.mark.parametrize("bad", [{"tolerance": 1.0}, {"tolerance": -0.1}, {"min_turns": 0.0}, {"duration": np.nan}])
def test_bad_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="Wanted"):
        find(np.ones(5), **bad)
