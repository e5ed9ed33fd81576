"""What a network is not shown, and which line speaks for which class."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.training.inputs import HEALTHY_DB, bearing_rule, own_levels, without

NAMES = ("rms_log10", "line_db", "relative_rms_log10", "relative_line_db", "band_log_power")
GROUPS = ("time", "envelope_white", "relative", "relative", "bands")
LINES = ("rms_log10", "ses_white_bpfo_h1_db", "ses_white_bpfi_h1_db", "ses_white_bsf2x_h1_db", "ses_white_ftf_h1_db")
NONE = np.nan


def table(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_a_level_goes_where_its_change_is_known_and_a_line_stays() -> None:
    x = table([1.0, 9.0, 0.1, 0.2, 3.0], [1.0, 9.0, NONE, NONE, 3.0])
    own = own_levels(x, NAMES, GROUPS)
    assert own.tolist() == [True, False, False, False, False], "band_log_power has no change beside it"
    assert np.isnan(without(x, own)[:, 0]).all()
    assert np.array_equal(without(x, own)[:, 1:], x[:, 1:], equal_nan=True)


def test_where_most_units_have_no_baseline_the_level_is_all_there_is() -> None:
    x = table([1.0, 9.0, 0.1, 0.2, 3.0], [1.0, 9.0, NONE, NONE, 3.0], [1.0, 9.0, NONE, NONE, 3.0])
    assert not own_levels(x, NAMES, GROUPS).any()
    assert not own_levels(np.full((2, 5), NONE, np.float32), NAMES, GROUPS).any(), "what no window has needs no hiding"
    assert not own_levels(x[:, :2], NAMES[:2], GROUPS[:2]).any(), "no changes at all: an archive"


def test_each_bearing_fault_has_its_line_and_other_classes_stand_with_healthy() -> None:
    rule = bearing_rule(("healthy", "ball", "gear_tooth", "outer_race", "a word", None), LINES, db_per_nat=3.0)
    assert rule is not None
    ball, outer = (((), (), (f"ses_white_{line}_h1_db",), (), (), (), (), ()) for line in ("bsf2x", "bpfo"))
    assert rule.lines == ((), ball, (), outer, (), ())
    assert (sum(rule.weights), rule.default_nats) == (pytest.approx(1 / 3), HEALTHY_DB / 3)


def test_no_rule_without_lines_or_where_none_is_wanted() -> None:
    assert bearing_rule(("healthy", "gear_tooth"), LINES, db_per_nat=3.0) is None
    assert bearing_rule(("inner_race", "ball"), LINES[:1], db_per_nat=3.0) is None
    assert bearing_rule(("inner_race", "ball"), LINES, db_per_nat=0.0) is None
