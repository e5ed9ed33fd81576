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
    """6 dB more in every level is 6 sigmas of 1 dB, and the index is that of the highest group."""
    six_db = {name: 0.3 / LEVEL_FLOOR for name in NAMES if name == "rms_log10" or name.endswith("_log_power")}
    assert figure("level", at(**six_db)) == pytest.approx(6.0)
    assert health_index(at(**six_db), NAMES, REFERENCE) == pytest.approx(6.0)


def test_small_drifts_of_several_groups_do_not_add_up():
    """A band that grows moves the mean frequency too: that is one drift of 3 sigmas."""
    drift = {name: 3.0 for name in NAMES if name.startswith(("band_", "rms_log10", "spectral_", "rms_freq"))}
    assert figure("level", at(**drift)) == figure("shape", at(**drift)) == pytest.approx(3.0)
    assert health_index(at(**drift), NAMES, REFERENCE) == pytest.approx(3.0)


def test_a_sigma_is_at_least_what_1_db_moves():
    """In closed form: of an amplitude, a power, a fourth moment, the mean frequency and the entropy."""
    db = 10 ** (1 / 20)
    floor = dict(zip(NAMES, spread_floor(NAMES, Reference(np.full(len(NAMES), 1000.0), MEDIAN)), strict=True))
    assert floor["rms_log10"] == floor["crest_factor_log10"] == pytest.approx(np.log10(db))
    assert floor["band_10_100_log_power"] == pytest.approx(np.log10(db**2))
    assert floor["kurtosis_log10"] == pytest.approx(np.log10(db**4))
    power = np.repeat([1.0, db**2], 50)  # a flat spectrum whose upper half is 1 dB louder
    frequency = np.arange(100) + 0.5
    assert floor["spectral_centroid_hz"] / 1000.0 == pytest.approx(
        np.average(frequency, weights=power) / 50 - 1, rel=0.02
    )
    lines = [np.r_[share, np.full(10**6, (1 - share) / 10**6)] for share in (0.5, db**2 / (1 + db**2))]
    before, after = (-(p * np.log(p)).sum() / np.log(10**6) for p in lines)
    assert floor["spectral_entropy"] == pytest.approx(before - after, rel=0.02)


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
    expected = 5.0 if group in TWO_SIDED else 0.0
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
    assert health_index(at(rms_log10=8.0), NAMES, wide) == pytest.approx(2.0)


def test_healthy_noise_stays_small_and_the_input_is_not_written_to():
    rng = np.random.default_rng(5)
    windows = MEDIAN + 3 * FLOOR * rng.standard_normal((600, len(NAMES)))
    before = windows.copy()
    index = health_index(windows[300:], NAMES, fit_reference(windows[:300]))
    assert np.array_equal(windows, before)
    assert 0.3 < np.median(index) < 1.5
    assert np.quantile(index, 0.99) < 3.0


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not belong together"):
        health_figures(at()[:, :-1], NAMES, REFERENCE)
    with pytest.raises(ValueError, match=r"shape \(n, 5\)"):
        index_of_figures(np.zeros((3, 4)))
