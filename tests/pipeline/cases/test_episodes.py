"""Debounce, grouping and reopening: pure functions of the bins of one axis."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cases.axis_state import FaultFigures, Flag
from pipeline.cases.episodes import CaseState, Episode, FlaggedBin, bin_priority, find_episodes, fold_cases

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
GAP = timedelta(hours=10)
RULE = {"hits": 2, "span": 3, "gap": GAP}


def bins(pattern: str, step: timedelta = HOUR) -> list[FlaggedBin]:
    """One bin a character: `.` calm, `f` fault, `u` unseen, `d` data, `s` silent."""
    codes = {"f": "fault", "u": "unseen", "d": "data", "s": "silent"}
    made = []
    for index, letter in enumerate(pattern):
        at = START + index * step
        flags = (Flag(codes[letter], {"bin": index}),) if letter in codes else ()
        fault = FaultFigures(0.9, 0.8, 0.95, "ball", {"ball": 1.0}) if letter == "f" else FaultFigures(0.1)
        made.append(FlaggedBin(at, at, at, fault, flags))
    return made


def spans(pattern: str, family: str = "machine", step: timedelta = HOUR) -> list[tuple[int, int, int]]:
    return [
        (int((e.first_at - START) / step), int((e.last_at - START) / step), len(e.bins))
        for e in find_episodes(bins(pattern, step), family, **RULE)
    ]


def fold(cases: list[CaseState], pattern: str) -> tuple[list[CaseState], dict[str, str]]:
    episodes = find_episodes(bins(pattern), "machine", **RULE)
    folded = fold_cases("axis", "machine", cases, episodes, gap=GAP, margin=0.1, recheck=timedelta(hours=6))
    return folded.cases, folded.happened


def closed(case: CaseState, hour: int) -> CaseState:
    return replace(case, state="closed", closed_at=START + hour * HOUR, closed_priority=case.priority)


def test_one_flagged_bin_is_not_believed_and_two_of_three_are() -> None:
    assert spans("..u.....") == []
    assert spans("..u..u..") == []
    assert spans("..u.u...") == [(2, 4, 2)]


def test_a_bad_signal_has_the_priority_of_the_fault_that_it_hides() -> None:
    """The bin itself has no fault probability, as no score is given."""
    order = []
    for hidden in (0.2, 0.9):
        flag = Flag("blocked", {"channels": [{"channel": "x", "probability": hidden, "level": 0.1}]})
        order.append(bin_priority(FlaggedBin(START, START, START, FaultFigures(), (flag,))))
    assert order == [pytest.approx(0.5), pytest.approx(0.675)]


def test_an_alarm_looks_back_by_itself_and_counts_at_once() -> None:
    assert spans("..f.....") == [(2, 2, 1)]
    assert spans(".uf.....") == [(1, 2, 2)], "an earlier doubt nearby belongs to it"


def test_the_earlier_hits_belong_to_the_episode() -> None:
    assert spans(".ff") == [(1, 2, 2)]


def test_kinds_of_doubt_count_together() -> None:
    assert spans(".fu.") == [(1, 2, 2)]


def test_silence_is_believed_at_once_and_is_no_machine_trouble() -> None:
    assert spans("..s", "data") == [(2, 2, 1)]
    assert spans("..s", "machine") == []


def test_families_are_apart() -> None:
    assert spans("fdfdfd", "machine") == [(0, 4, 3)]
    assert spans("fdfdfd", "data") == [(1, 5, 3)]


def test_a_long_quiet_time_starts_a_new_episode() -> None:
    quiet = "ff" + "." * 9 + "ff"
    assert spans(quiet) == [(0, 12, 4)]
    longer = "ff" + "." * 10 + "ff"
    assert spans(longer) == [(0, 1, 2), (12, 13, 2)]


def test_hits_far_apart_do_not_support_each_other() -> None:
    assert spans("uu", step=timedelta(hours=11)) == []


def test_an_episode_opens_one_case_that_grows_with_it() -> None:
    cases, happened = fold([], "ff")
    assert list(happened.values()) == ["opened"]
    grown, later = fold(cases, "ffff")
    assert later == {}
    assert [case.case_id for case in grown] == [cases[0].case_id]
    assert (grown[0].n_bins, grown[0].last_at) == (4, START + 3 * HOUR)
    assert grown[0].reasons[0]["n_bins"] == 4


def test_folding_again_changes_nothing() -> None:
    cases, _ = fold([], "ff..uu")
    assert fold(cases, "ff..uu") == (cases, {})


def test_only_one_case_of_a_family_is_open_at_a_time() -> None:
    cases, _ = fold([], "ff" + "." * 20 + "ff")
    assert len(cases) == 1


def test_a_closed_case_takes_in_more_of_the_same_and_is_reopened_when_it_gets_worse() -> None:
    cases, _ = fold([], "uu")
    shut = closed(cases[0], 1)
    same, happened = fold([shut], "uuuu")
    assert (same[0].state, happened) == ("closed", {})
    worse, happened = fold([shut], "uuuff")
    assert (worse[0].state, list(happened.values())) == ("open", ["reopened"])
    again, happened = fold(worse, "uuuff")
    assert (again, happened) == (worse, {})


def test_a_closed_case_that_is_still_flagged_long_after_its_verdict_is_reopened() -> None:
    cases, _ = fold([], "ff")
    shut = closed(cases[0], 1)
    assert fold([shut], "ff" + "f" * 6)[1] == {}
    assert list(fold([shut], "ff" + "f" * 7)[1].values()) == ["reopened"]


def test_what_comes_long_after_a_closed_case_is_a_new_one() -> None:
    cases, _ = fold([], "uu")
    after, happened = fold([closed(cases[0], 1)], "uu" + "." * 20 + "uu")
    assert [case.state for case in after] == ["closed", "open"]
    assert list(happened.values()) == ["opened"]


def test_a_late_file_moves_the_start_of_a_case_but_not_its_identity() -> None:
    cases, _ = fold([], "..ff")
    moved, happened = fold(cases, "ffff")
    assert happened == {}
    assert (moved[0].case_id, moved[0].first_at) == (cases[0].case_id, START)


@given(st.text(alphabet=".fud", max_size=40))
def test_every_flagged_bin_of_an_episode_is_in_exactly_one_case(pattern: str) -> None:
    episodes: list[Episode] = find_episodes(bins(pattern), "machine", **RULE)
    folded = fold_cases("axis", "machine", [], episodes, gap=GAP, margin=0.1, recheck=timedelta(hours=6))
    cases, happened = folded.cases, folded.happened
    assert sum(case.n_bins for case in cases) == sum(len(episode.bins) for episode in episodes)
    assert len({case.case_id for case in cases}) == len(cases) == len(happened)
    assert sum(case.state != "closed" for case in cases) <= 1


@given(st.text(alphabet=".fud", min_size=1, max_size=30), st.data())
def test_a_prefix_first_gives_the_same_cases_as_all_at_once(pattern: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(pattern)))
    part, _ = fold([], pattern[:cut])
    assert fold(part, pattern)[0] == fold([], pattern)[0]
