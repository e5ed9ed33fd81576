"""The routing rule: one axis state from the windows of all channels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from features.quality.quality import Quality
from pipeline.cases.axis_state import ScoredWindow, Thresholds, combine_channels, priority_of

LIMITS = Thresholds(
    alarm_probability=0.5,
    review_probability=0.2,
    alarm_bins=4,
    alarm_hits=2,
    fault_prior=0.05,
    novelty_percentile=99.0,
    review_quantile=95.0,
    entropies={"fault_mutual_information": 0.05, "fault_expected_entropy": 0.4},
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
    fault_mutual_information=0.01,
    fault_expected_entropy=0.1,
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


def test_a_known_fault_with_low_uncertainty_is_an_alarm_with_its_mode() -> None:
    figures = combine_channels([FAULTY, FAULTY], {"m": LIMITS})
    assert (figures.state, figures.mode) == ("alarm", "inner_race")
    assert figures.flags[0].row() == {"code": "fault", "recent": 0.95, "alarm_level": 0.5, "review_level": 0.2}


def test_one_sick_channel_is_enough() -> None:
    assert state_of(CALM, CALM, CALM, replace(FAULTY, channel="acc_y"))[0] == "alarm"


def test_windows_of_one_channel_are_averaged() -> None:
    figures = combine_channels([FAULTY, CALM, CALM, CALM], {"m": LIMITS})
    assert figures.fault_probability == pytest.approx((0.95 + 3 * 0.02) / 4)
    assert figures.state == "watch"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"fault_mutual_information": 0.06}, "unseen"),
        ({"fault_expected_entropy": 0.6}, "ambiguous"),
        ({"novelty_percentile": 99.5}, "novel"),
        ({"program": "calibrate"}, "new_program"),
        ({"unmodelled_probability": 0.75}, "unmodelled"),
    ],
)
def test_a_doubt_is_stated_beside_an_alarm_and_never_holds_it_back(change: dict[str, object], code: str) -> None:
    assert state_of(replace(FAULTY, **change)) == ("alarm", [code, "fault"])
    assert state_of(replace(CALM, **change)) == ("unknown", [code])


def test_a_fault_without_a_class_is_named_with_its_probability() -> None:
    (flag,) = combine_channels([replace(CALM, unmodelled_probability=0.83)], {"m": LIMITS}).flags
    assert flag.row() == {"code": "unmodelled", "modes": ["cage"], "probability": 0.83}
    both = {"m": replace(LIMITS, unmodelled=("outer_race", "cage"))}
    (flag,) = combine_channels([replace(CALM, unmodelled_probability=0.7)], both).flags
    assert flag.facts["modes"] == ["outer_race", "cage"]


def test_the_figures_are_those_of_the_windows_of_one_channel() -> None:
    """Probability, band and shares: the loudest channel's, mean over its good windows."""
    first = replace(FAULTY, fault_probability=0.9, fault_q05=0.8, fault_q95=0.92)
    second = replace(FAULTY, fault_probability=1.0, fault_q05=0.9, fault_q95=1.0)
    second = replace(second, class_probabilities={"healthy": 0.0, "ball": 0.85, "inner_race": 0.15})
    bad = replace(FAULTY, quality=Quality.CLIPPING, fault_probability=None, class_probabilities={"cage": 1.0})
    other = replace(CALM, channel="acc_y")
    figures = combine_channels([other, first, second, bad], {"m": LIMITS}).fault
    found = (figures.fault_probability, figures.fault_q05, figures.fault_q95)
    assert found == (pytest.approx(0.95), pytest.approx(0.85), pytest.approx(0.96))
    assert figures.fault_shares == {"ball": round(1.0 / 1.95, 4), "inner_race": round(0.95 / 1.95, 4)}
    assert figures.mode == "ball"
    assert combine_channels([bad], {"m": LIMITS}).fault.fault_shares is None


def test_which_part_is_faulty_is_another_question_than_whether_it_is() -> None:
    torn = replace(
        FAULTY,
        mutual_information=0.5,
        expected_entropy=0.9,
        class_probabilities={"healthy": 0.05, "ball": 0.38, "inner_race": 0.57},
    )
    figures = combine_channels([torn], {"m": LIMITS})
    assert (figures.state, [flag.code for flag in figures.flags]) == ("alarm", ["fault"]), "no doubt that it is faulty"
    assert figures.fault.fault_shares == {"ball": 0.4, "inner_race": 0.6}


def test_below_the_alarm_level_the_review_level_asks() -> None:
    assert combine_channels([replace(CALM, fault_probability=0.19)], {"m": LIMITS}).flags == ()
    found = combine_channels([replace(CALM, fault_probability=0.2)], {"m": LIMITS})
    assert (found.state, [flag.code for flag in found.flags]) == ("watch", ["undecided"])
    assert found.flags[0].facts["recent"] == 0.2


def recent_of(p: float, *before: float, **limits: object) -> tuple[str, float]:
    figures = combine_channels([replace(CALM, fault_probability=p)], {"m": replace(LIMITS, **limits)}, before)
    assert figures.recent_probability is not None
    return figures.state, figures.recent_probability


def test_the_recent_probability_is_the_mean_of_the_log_odds_of_the_last_bins() -> None:
    assert recent_of(0.5, 0.5, 0.5, 0.5) == ("alarm", pytest.approx(0.5))
    assert recent_of(0.9, 0.1, 0.9, 0.1) == ("alarm", pytest.approx(0.5)), "two for and two against"
    assert recent_of(0.5, 0.0, 0.0, 0.9, 0.9, 0.9)[1] > 0.7, "only the last four count"
    assert recent_of(0.5, 0.5)[1] == pytest.approx(1 / (1 + 19**0.5)), "what is not known counts with the prior"


def test_one_bin_is_no_alarm_however_loud_and_a_sudden_fault_is_one_after_a_long_quiet_time() -> None:
    assert recent_of(0.999999, alarm_probability=0.01)[0] == "watch"
    quiet = [1e-9] * 20
    level = {"alarm_probability": 0.1, "alarm_bins": 12, "review_probability": 0.09}
    assert recent_of(0.99, *quiet, **level)[0] == "healthy"
    state, recent = "", 0.0
    bins = 0
    while state != "alarm":
        bins += 1
        state, recent = recent_of(0.99, *quiet, *[0.99] * (bins - 1), **level)
    assert (bins, recent >= 0.1) == (3, True)


def test_a_model_that_tells_nothing_raises_no_alarm_but_the_rule_still_does_and_the_axis_is_unknown() -> None:
    limits = {"m": replace(LIMITS, tells_nothing="it was trained on noise")}
    assert combine_channels([replace(FAULTY, fault_mutual_information=0.5)], limits).flags == ()
    assert combine_channels([FAULTY], limits).state == "unknown"
    rule = combine_channels([replace(FAULTY, unmodelled_probability=0.8)], limits)
    assert (rule.state, [flag.code for flag in rule.flags]) == ("unknown", ["unmodelled"])


def test_a_bad_signal_that_would_alarm_goes_to_review_and_raises_no_alarm() -> None:
    bad = replace(CALM, quality=Quality.WRONG_SPEED, fault_probability=None, blocked_probability=0.5)
    figures = combine_channels([bad, bad], {"m": LIMITS})
    assert (figures.state, [flag.code for flag in figures.flags]) == ("data_fault", ["data", "blocked"])
    assert figures.flags[1].facts == {"channels": [{"channel": "acc_x", "probability": 0.5, "level": 0.5}]}
    assert state_of(replace(bad, blocked_probability=0.49)) == ("data_fault", ["data"])
    both = state_of(bad, replace(CALM, channel="acc_y"))
    assert both == ("healthy", ["data", "blocked"]), "also beside a channel that is good"


def test_a_bad_signal_is_judged_by_the_costs_where_the_plants_own_level_is_lower() -> None:
    bad = replace(CALM, quality=Quality.CLIPPING, fault_probability=None, blocked_probability=0.6)
    for cost_level, codes in ((0.3, ["data", "blocked"]), (0.7, ["data"])):
        limits = {"m": replace(LIMITS, cost_level=cost_level)}
        assert [flag.code for flag in combine_channels([bad], limits).flags] == codes


@pytest.mark.parametrize("verdict", [Quality.FLATLINE, Quality.NON_FINITE, Quality.TOO_SHORT])
def test_where_no_signal_is_left_the_model_speaks_for_no_fault(verdict: Quality) -> None:
    empty = replace(CALM, quality=verdict, fault_probability=None, blocked_probability=0.99)
    assert state_of(empty, empty) == ("data_fault", ["data"])
    held = replace(empty, quality=Quality.DROPOUT)
    assert state_of(empty, held) == ("data_fault", ["data", "blocked"]), "the other windows still speak"


def test_a_bad_signal_is_a_data_fault_and_never_a_machine_fault() -> None:
    bad = replace(FAULTY, quality=Quality.CLIPPING, quality_evidence="4 % at the rail", fault_probability=None)
    figures = combine_channels([bad, bad], {"m": LIMITS})
    assert (figures.state, figures.fault_probability, figures.quality) == ("data_fault", None, "clipping")
    channel = {"channel": "acc_x", "verdict": "clipping", "bad": 2, "windows": 2, "evidence": "4 % at the rail"}
    assert figures.flags[0].facts == {"channels": [channel]}


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
    codes = ("blocked", "unmodelled", "new_program", "unseen", "novel", "ambiguous", "undecided")
    order = [priority_of(["fault"], 0.9), *(priority_of([code], 0.4) for code in codes)]
    assert order == sorted(order, reverse=True)
    assert priority_of(["unseen"], 0.9) > priority_of(["unseen"], 0.1)
    assert all(0 <= value <= 1 for value in order)


def test_a_method_that_cannot_split_its_entropy_asks_by_the_whole_of_it() -> None:
    limits = replace(LIMITS, entropies={"predictive_entropy": 0.3})
    plain = replace(CALM, fault_mutual_information=None, fault_expected_entropy=None)
    assert combine_channels([plain], {"m": limits}).flags == ()
    found = combine_channels([replace(plain, predictive_entropy=0.5)], {"m": limits})
    assert [flag.code for flag in found.flags] == ["ambiguous"]
    assert found.flags[0].facts == {"figure": "predictive_entropy", "nats": 0.5, "limit": 0.3, "quantile": 95.0}
    # Where the two parts are known, they speak and not their sum.
    assert combine_channels([replace(CALM, predictive_entropy=0.5)], {"m": LIMITS}).flags == ()
