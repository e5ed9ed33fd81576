"""Which line speaks for which class."""

from __future__ import annotations

from pipeline.training.inputs import HEALTHY_DB, bearing_rule

NAMES = ("rms_log10", "ses_white_bpfo_h1_db", "ses_white_bpfi_h1_db", "ses_white_bsf2x_h1_db", "ses_white_ftf_h1_db")


def test_each_bearing_fault_has_its_line_and_other_classes_stand_with_healthy() -> None:
    rule = bearing_rule(("healthy", "ball", "gear_tooth", "outer_race", "a word", None), NAMES, db_per_nat=3.0)
    assert rule is not None
    assert rule.features == (None, "ses_white_bsf2x_h1_db", None, "ses_white_bpfo_h1_db", None, None)
    assert rule.default_db == HEALTHY_DB


def test_no_rule_without_lines_or_where_none_is_wanted() -> None:
    assert bearing_rule(("healthy", "gear_tooth"), NAMES, db_per_nat=3.0) is None
    assert bearing_rule(("inner_race", "ball"), NAMES[:1], db_per_nat=3.0) is None
    assert bearing_rule(("inner_race", "ball"), NAMES, db_per_nat=0.0) is None
