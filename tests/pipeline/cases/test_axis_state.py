"""The routing rule: one axis state from the windows of all channels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from features.quality.quality import Quality
from pipeline.cases.axis_state import ScoredWindow, Thresholds, combine_channels, priority_of

LIMITS = Thresholds(
    alarm_probability=0.5,
    watch_probability=0.2,
    novelty_percentile=99.0,
    mutual_information=0.05,
    expected_entropy=0.4,
    predictive_entropy=None,
    review_quantile=95.0,
    review_probability=1.0,
    unmodelled=("cage",),
    programs=frozenset({"pick"}),
)
CALM = ScoredWindow(
    channel="acc_x",
    quality="ok",
    quality_evidence="",
    fault_probability=0.02,
    fault_q05=0.0,
    fault_q95=0.05,
    class_probabilities={"healthy": 0.98, "ball": 0.015, "inner_race": 0.005},
    mutual_information=0.01,
    expected_entropy=0.1,
    predictive_entropy=0.11,
    novelty_percentile=40.0,
    unmodelled_probability=0.02,
    program="pick",
    model_version="m",
)
FAULTY = replace(CALM, fault_probability=0.95, class_probabilities={"healthy": 0.05, "ball": 0.15, "inner_race": 0.8})


def state_of(*windows: ScoredWindow) -> tuple[str, list[str]]:
    figures = combine_channels(windows, {"m": LIMITS})
    return figures.state, [flag.code for flag in figures.flags]


def test_a_calm_axis_is_healthy_and_raises_nothing() -> None:
    assert state_of(CALM, CALM) == ("healthy", [])


def test_a_known_fault_with_low_uncertainty_is_an_alarm_with_its_mode_in_words() -> None:
    figures = combine_channels([FAULTY, FAULTY], {"m": LIMITS})
    assert (figures.state, figures.mode) == ("alarm", "inner_race")
    assert "0.95" in figures.flags[0].text
    assert "inner race" in figures.flags[0].text


def test_one_sick_channel_is_enough() -> None:
    assert state_of(CALM, CALM, CALM, replace(FAULTY, channel="acc_y"))[0] == "alarm"


def test_windows_of_one_channel_are_averaged() -> None:
    figures = combine_channels([FAULTY, CALM, CALM, CALM], {"m": LIMITS})
    assert figures.fault_probability == pytest.approx((0.95 + 3 * 0.02) / 4)
    assert figures.state == "watch"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"mutual_information": 0.06}, "unseen"),
        ({"novelty_percentile": 99.5}, "novel"),
        ({"program": "calibrate"}, "new_program"),
        ({"unmodelled_probability": 0.6}, "unmodelled"),
    ],
)
def test_what_the_model_does_not_know_is_asked_before_any_alarm(change: dict[str, object], code: str) -> None:
    assert state_of(replace(FAULTY, **change)) == ("unknown", [code])
    assert state_of(replace(CALM, **change)) == ("unknown", [code])


def test_a_fault_without_a_class_is_named_in_words() -> None:
    (flag,) = combine_channels([replace(CALM, unmodelled_probability=0.83)], {"m": LIMITS}).flags
    assert "indicate cage (0.83)" in flag.text
    both = {"m": replace(LIMITS, unmodelled=("outer_race", "cage"))}
    assert "outer race or cage" in combine_channels([replace(CALM, unmodelled_probability=0.5)], both).flags[0].text


def test_samples_that_differ_about_which_fault_but_not_whether_hold_no_alarm_back() -> None:
    torn = replace(FAULTY, mutual_information=0.3)
    assert state_of(torn) == ("unknown", ["unseen"])
    assert state_of(replace(torn, fault_q05=0.5)) == ("alarm", ["fault"])
    assert state_of(replace(torn, fault_q05=0.9, novelty_percentile=99.5)) == ("unknown", ["novel"])


def test_the_review_budget_asks_below_the_alarm_and_holds_none_back() -> None:
    limits = {"m": replace(LIMITS, review_probability=0.1)}
    assert combine_channels([CALM], limits).flags == ()
    found = combine_channels([replace(CALM, fault_probability=0.1)], limits)
    assert (found.state, [flag.code for flag in found.flags]) == ("unknown", ["undecided"])
    assert "0.10" in found.flags[0].text
    assert combine_channels([FAULTY], limits).state == "alarm"


def test_an_ambiguous_signal_does_not_hide_an_alarm() -> None:
    assert state_of(replace(FAULTY, expected_entropy=0.6)) == ("alarm", ["ambiguous", "fault"])
    assert state_of(replace(CALM, expected_entropy=0.6)) == ("unknown", ["ambiguous"])


def test_a_bad_signal_is_a_data_fault_and_never_a_machine_fault() -> None:
    bad = replace(FAULTY, quality=Quality.CLIPPING, quality_evidence="4 % at the rail", fault_probability=None)
    figures = combine_channels([bad, bad], {"m": LIMITS})
    assert (figures.state, figures.fault_probability, figures.quality) == ("data_fault", None, "clipping")
    assert "4 % at the rail" in figures.flags[0].text


def test_a_dead_channel_is_told_and_the_others_still_speak() -> None:
    dead = replace(CALM, channel="acc_y", quality=Quality.FLATLINE, fault_probability=None)
    assert state_of(dead, dead, FAULTY) == ("alarm", ["data", "fault"])


def test_one_bad_window_among_good_ones_is_left_out() -> None:
    bad = replace(CALM, quality=Quality.DROPOUT, fault_probability=None)
    figures = combine_channels([bad, CALM, CALM], {"m": LIMITS})
    assert (figures.state, figures.quality, figures.flags) == ("healthy", "dropout", ())


@pytest.mark.parametrize(
    ("bad", "good", "state"), [(1, 1, "healthy"), (2, 2, "healthy"), (3, 2, "data_fault"), (2, 1, "data_fault")]
)
def test_a_channel_is_bad_where_more_than_half_of_its_windows_are(bad: int, good: int, state: str) -> None:
    """Exactly half is not more than half: the good windows still count."""
    clipped = replace(CALM, quality=Quality.CLIPPING, fault_probability=None)
    figures = combine_channels([clipped] * bad + [CALM] * good, {"m": LIMITS})
    assert (figures.state, figures.quality, [flag.code for flag in figures.flags]) == (
        state,
        "clipping",
        ["data"] if state == "data_fault" else [],
    )


def test_figures_of_a_bad_window_are_never_used() -> None:
    """A bad window has no figures in the database; if it had, they would still not count."""
    loud = replace(FAULTY, quality=Quality.CLIPPING)
    calm = combine_channels([loud, CALM, CALM], {"m": LIMITS})
    assert (calm.state, calm.fault_probability) == ("healthy", CALM.fault_probability)


def test_a_model_of_healthy_units_alone_tells_novelty_only() -> None:
    bare = replace(CALM, fault_probability=None, class_probabilities=None, mutual_information=None)
    assert state_of(bare) == ("healthy", [])
    assert state_of(replace(bare, novelty_percentile=99.9)) == ("unknown", ["novel"])


def test_a_model_without_programs_calls_no_program_new() -> None:
    limits = replace(LIMITS, programs=frozenset())
    assert combine_channels([replace(CALM, program="any")], {"m": limits}).state == "healthy"


def test_priority_puts_known_faults_first_and_doubts_by_kind() -> None:
    codes = ("unmodelled", "new_program", "unseen", "novel", "ambiguous", "undecided")
    order = [priority_of(["fault"], 0.9), *(priority_of([code], 0.4) for code in codes)]
    assert order == sorted(order, reverse=True)
    assert priority_of(["unseen"], 0.9) > priority_of(["unseen"], 0.1)
    assert all(0 <= value <= 1 for value in order)


def test_a_method_that_cannot_split_its_entropy_asks_by_the_whole_of_it() -> None:
    limits = replace(LIMITS, mutual_information=None, expected_entropy=None, predictive_entropy=0.3)
    plain = replace(CALM, mutual_information=None, expected_entropy=None)
    assert combine_channels([plain], {"m": limits}).flags == ()
    found = combine_channels([replace(plain, predictive_entropy=0.5)], {"m": limits})
    assert [flag.code for flag in found.flags] == ["ambiguous"]
    assert "cannot say why" in found.flags[0].text
    # Where the two parts are known, they speak and not their sum.
    assert combine_channels([replace(CALM, predictive_entropy=0.5)], {"m": LIMITS}).flags == ()
