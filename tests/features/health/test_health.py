"""Health figures: zero at the reference, by groups, one-sided where physics says so, and safe with what is missing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.health.baseline import Reference, fit_reference
from features.health.health import (
    GROUPS,
    LARGEST_DEVIATION,
    LEVEL_FLOOR,
    TWO_SIDED,
    health_aspects,
    health_figures,
    health_index,
    index_of_figures,
    spread_floor,
)
from features.settings import FeatureSettings, feature_names

NAMES = feature_names(FeatureSettings())
RNG = np.random.default_rng(3)
MEDIAN = RNG.normal(1.0, 0.5, len(NAMES))
REFERENCE = Reference(MEDIAN, np.zeros(len(NAMES)))
FLOOR = spread_floor(NAMES, REFERENCE)


def at(**sigmas):
    """One window that lies so many floors above the median of some features."""
    row = MEDIAN.copy()
    for name, value in sigmas.items():
        row[NAMES.index(name)] += value * FLOOR[NAMES.index(name)]
    return row[None]


def figure(group, row):
    return health_figures(row, NAMES, REFERENCE)[0, GROUPS.index(group)]


def test_the_reference_itself_is_zero():
    assert np.all(health_figures(at(), NAMES, REFERENCE) == 0)
    assert health_index(at(), NAMES, REFERENCE) == 0


def test_every_group_has_aspects_and_no_feature_is_in_two():
    used = [column for aspects in health_aspects(NAMES).values() for aspect in aspects for column in aspect]
    assert tuple(health_aspects(NAMES)) == GROUPS
    assert all(health_aspects(NAMES)[group] for group in GROUPS)
    assert len(used) == len(set(used))


def test_a_rise_of_the_level_alone_has_its_closed_form():
    """6 dB more in every level is 6 sigmas of 1 dB; over five groups the index is 6 / sqrt(5)."""
    six_db = {name: 0.3 / LEVEL_FLOOR for name in NAMES if name == "rms_log10" or name.endswith("_log_power")}
    assert figure("level", at(**six_db)) == pytest.approx(6.0)
    assert health_index(at(**six_db), NAMES, REFERENCE) == pytest.approx(6.0 / np.sqrt(5))


def test_one_line_is_not_drowned_by_the_others():
    line = {name: 8.0 for name in NAMES if "_bpfo_" in name}
    assert figure("bearing_lines", at(**line)) == pytest.approx(8.0)


@pytest.mark.parametrize("group", GROUPS)
def test_only_the_shape_counts_a_fall(group):
    """Run-in makes levels fall: no damage."""
    columns = [column for aspect in health_aspects(NAMES)[group] for column in aspect]
    row = at()
    row[0, columns] -= 5 * FLOOR[columns]
    assert figure(group, row) == pytest.approx(-5.0)
    expected = 5 / np.sqrt(5) if group in TWO_SIDED else 0.0
    assert health_index(row, NAMES, REFERENCE) == pytest.approx(expected)


@given(st.sampled_from([name for name in NAMES if name.endswith(("_log10", "_db", "_log_power"))]), st.floats(0, 50))
def test_more_of_what_is_bad_is_never_better(name, sigmas):
    low, high = (health_index(at(**{name: s}), NAMES, REFERENCE)[0] for s in (sigmas, sigmas + 1))
    assert 0 <= low <= high <= LARGEST_DEVIATION


def test_missing_features_are_left_out_and_none_at_all_is_nan():
    row = at(rms_log10=9.0)
    hidden = row.copy()
    hidden[0, [NAMES.index(name) for name in NAMES if not name.endswith(("rms_log10", "_log_power"))]] = np.nan
    assert health_index(hidden, NAMES, REFERENCE) == pytest.approx(9.0)
    assert np.isnan(health_index(np.full((2, len(NAMES)), np.nan), NAMES, REFERENCE)).all()
    endless = row.copy()
    endless[0, NAMES.index("rms_log10")] = np.inf
    assert health_index(endless, NAMES, REFERENCE) == 0
    nothing = Reference(np.full(len(NAMES), np.nan), np.full(len(NAMES), np.nan))
    assert np.isnan(health_index(row, NAMES, nothing)).all()
    assert health_index(np.empty((0, len(NAMES))), NAMES, REFERENCE).shape == (0,)


def test_a_spread_above_the_floor_is_the_sigma():
    wide = Reference(MEDIAN, 4 * FLOOR)
    assert health_index(at(rms_log10=8.0), NAMES, wide) == pytest.approx(2.0 / np.sqrt(5))


def test_healthy_noise_stays_small_and_the_input_is_not_written_to():
    rng = np.random.default_rng(5)
    windows = MEDIAN + 3 * FLOOR * rng.standard_normal((600, len(NAMES)))
    before = windows.copy()
    index = health_index(windows[300:], NAMES, fit_reference(windows[:300]))
    assert np.array_equal(windows, before)
    assert 0.3 < np.median(index) < 1.5
    assert np.quantile(index, 0.99) < 2.5


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not belong together"):
        health_figures(at()[:, :-1], NAMES, REFERENCE)
    with pytest.raises(ValueError, match=r"shape \(n, 5\)"):
        index_of_figures(np.zeros((3, 4)))
