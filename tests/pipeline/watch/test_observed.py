"""The decision that product and replay share: triggers, guards and conclusion on made arrays, no database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import numpy as np
import pytest

from pipeline.base.settings import Settings
from pipeline.watch.observed import (
    CHANGES,
    DUE,
    SCORE_NAMES,
    TRIGGERS,
    Confirmed,
    FleetChange,
    Observed,
    Reviewed,
    TimeSpan,
    decide,
    score_columns,
    spans_of,
)
from pipeline.watch.triggers.decision import Decision
from pipeline.watch.triggers.drift import DriftSample
from pipeline.watch.triggers.due import NewLabel, News
from pipeline.watch.triggers.new_program import ProgramUse

START = datetime(2026, 1, 5, tzinfo=UTC)
SETTINGS = Settings(retrain_min_findings=1, drift_days=4.0, retrain_budget=2, retrain_budget_days=30.0)
UNITS = [f"u{index}" for index in range(10)]
LABEL = NewLabel("u1", "healthy", "healthy")
UNSURE = NewLabel("u2", None, "unsure")
TRIED = NewLabel("u3", "healthy", "healthy", tried=True)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def sample(width: int, *, add: float, seed: int) -> DriftSample:
    """Four recordings of ten units in one regime."""
    values = np.random.default_rng(seed).normal(size=(4 * len(UNITS), width)) + add
    return DriftSample(values, np.array(UNITS * 4), np.full(4 * len(UNITS), "acc_x weld"))


def programs(name: str, recordings: int = 6) -> dict[str, dict[str, ProgramUse]]:
    return {f"axis {unit}": {name: ProgramUse(recordings, day(18))} for unit in UNITS}


def change(*, add: float = 0.0, rise: float = 0.0, missed: int = 0, stated: float = 0.0, **given: Any) -> FleetChange:
    """A champion of day 4 on day 20; `add`, `rise`, `missed` and `stated` make one kind of trigger fire each."""
    n = len(UNITS)
    rates = np.full(n, 0.1), np.full(n, 0.1 + rise)
    reviewed = Reviewed(
        stated=np.full(n, stated),
        fault=np.zeros(n, dtype=np.bool_),
        unit=np.array(UNITS),
        chance=np.full(n, 0.5),
        audited=np.ones(n, dtype=np.bool_),
        alarm=np.zeros(n, dtype=np.bool_),
    )
    usual = FleetChange(
        spans=spans_of(label_cutoff=day(4), promoted_at=day(4), as_of=day(20), days=4.0),
        feature_names=("a", "b"),
        features=lambda: (sample(2, add=0.0, seed=1), sample(2, add=add, seed=2)),
        programs=lambda: (programs("weld"), programs("weld")),
        scores=lambda: (sample(4, add=0.0, seed=3), sample(4, add=add, seed=4)),
        reviewed=lambda: reviewed,
        confirmed=lambda: Confirmed(missed=missed, faults=n, false_alarms=0, alarms=0),
        rates=lambda: {"novelty_rate": rates, "review_rate": rates},
    )
    return replace(usual, **given)


def observed(**given: Any) -> Observed:
    """A champion trained 16 days ago, nothing new and nothing changed."""
    usual = Observed(
        news=News([]),
        known_classes=("healthy", "inner_race"),
        cutoff_days_ago=16.0,
        retrained_days_ago=[],
        change=change(),
    )
    return replace(usual, **given)


def named(decisions: list[Decision]) -> dict[str, Decision]:
    return {decision.trigger: decision for decision in decisions}


FIRING: dict[str, dict[str, Any]] = {
    "schedule": {"cutoff_days_ago": 31.0, "news": News([LABEL])},
    "new_labels": {"news": News([LABEL, LABEL])},
    "feature_drift": {"change": change(add=10.0)},
    "score_drift": {"change": change(add=10.0)},
    "calibration": {"change": change(stated=0.9)},
    "novelty_rate": {"change": change(rise=0.5)},
    "review_rate": {"change": change(rise=0.5)},
    "performance": {"change": change(missed=9)},
}
"""What makes each trigger fire."""


def test_each_trigger_is_asked_by_its_name_in_order() -> None:
    decisions = decide(observed(), SETTINGS)
    assert [decision.trigger for decision in decisions] == [*TRIGGERS, "cooldown", "budget", "decision"]
    assert not any(decision.fired for decision in decisions)
    assert set(FIRING) == set(TRIGGERS), "each trigger has a case in this file"


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_fires_alone_and_starts_a_retraining(trigger: str) -> None:
    given = {"news": News([LABEL])} | FIRING[trigger]
    decisions = decide(observed(**given), SETTINGS, only={trigger})
    assert [decision.trigger for decision in decisions] == [trigger, "cooldown", "budget", "decision"]
    assert [decision.fired for decision in decisions] == [True, False, False, True], decisions[0].reason


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize(
    ("guard", "given"),
    [("cooldown", {"retrained_days_ago": [40.0, 0.5]}), ("budget", {"retrained_days_ago": [2.0, 29.0]})],
)
def test_each_guard_holds_each_trigger_back(trigger: str, guard: str, given: dict[str, Any]) -> None:
    """The age of the champion counts from its last retraining, so `schedule` is set to fire at once here."""
    settings = SETTINGS.model_copy(update={"retrain_after_days": 0.1})
    case = {"news": News([LABEL])} | FIRING[trigger] | given
    decisions = named(decide(observed(**case), settings, only={trigger}))
    assert decisions[trigger].fired
    assert not decisions["decision"].fired
    assert decisions["decision"].figures["held_back_by"] == [guard]
    assert decisions[guard].reason in decisions["decision"].reason


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_refused_run_starts_nothing(trigger: str) -> None:
    case = {"news": News([LABEL])} | FIRING[trigger] | {"refused": "a backfill starts no retraining"}
    decisions = named(decide(observed(**case), SETTINGS, only={trigger}))
    assert decisions[trigger].fired
    assert not decisions["decision"].fired
    assert "a backfill starts no retraining" in decisions["decision"].reason


@pytest.mark.parametrize("news", [News([]), News([UNSURE]), News([TRIED] * 9), News([], withdrawn=9)])
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_nothing_starts_without_a_label_since_the_last_attempt(trigger: str, news: News) -> None:
    decisions = named(decide(observed(**(FIRING[trigger] | {"news": news})), SETTINGS, only={trigger}))
    assert decisions[trigger].fired is (trigger in CHANGES)
    assert not decisions["decision"].fired
    assert ("axiswatch ask" in decisions["decision"].reason) is (trigger in CHANGES)


def test_a_schedule_without_a_label_says_so() -> None:
    decisions = named(decide(observed(cutoff_days_ago=31.0), SETTINGS))
    assert "there is no label since then" in decisions["schedule"].reason


@pytest.mark.parametrize(
    "news",
    [
        News([LABEL], learned_units=9),
        News([], learned_units=9, withdrawn=1, withdrawn_since=1),
        News([], learned_units=9, late=1, late_since=1),
    ],
)
def test_a_change_starts_a_retraining_with_any_change_of_the_training_set(news: News) -> None:
    decisions = named(decide(observed(news=news, change=change(rise=0.5)), SETTINGS))
    assert decisions["decision"].fired
    assert decisions["decision"].figures["triggers"] == ["novelty_rate", "review_rate"]
    assert decisions["decision"].figures["to_learn_from"] == 1


def test_without_a_champion_there_is_no_cooldown_but_a_budget() -> None:
    first = observed(
        known_classes=None, cutoff_days_ago=None, change=None, news=News([LABEL]), retrained_days_ago=[0.1]
    )
    decisions = named(decide(first, SETTINGS))
    assert list(decisions) == [*DUE, "cooldown", "budget", "decision"]
    assert decisions["decision"].fired
    spent = named(decide(replace(first, retrained_days_ago=[0.1, 0.2]), SETTINGS))
    assert not spent["decision"].fired
    assert spent["decision"].figures["held_back_by"] == ["budget"]


def test_the_age_counts_from_the_last_retraining() -> None:
    old = observed(cutoff_days_ago=100.0, retrained_days_ago=[60.0, 12.5, 31.0])
    decisions = named(decide(old, SETTINGS))
    assert decisions["schedule"].figures["age_days"] == 12.5
    assert decisions["cooldown"].figures["days_since"] == 12.5
    assert named(decide(replace(old, cutoff_days_ago=3.0), SETTINGS))["schedule"].figures["age_days"] == 3.0


def test_scores_and_rates_wait_until_the_first_days_are_over() -> None:
    def unasked() -> NoReturn:
        raise AssertionError("nothing is read for a champion that is too young")

    spans = spans_of(label_cutoff=day(4), promoted_at=day(5), as_of=day(12.9), days=4.0)
    decisions = named(decide(observed(change=change(spans=spans, scores=unasked, rates=unasked)), SETTINGS))
    for name in ("score_drift", "novelty_rate", "review_rate"):
        assert "too early" in decisions[name].reason
        assert "end 2026-01-14, and the current period must begin after them" in decisions[name].reason
        assert not decisions[name].fired
    over = spans_of(label_cutoff=day(4), promoted_at=day(5), as_of=day(13), days=4.0)
    assert named(decide(observed(change=change(spans=over)), SETTINGS))["score_drift"].figures["tested"] == 4


def test_what_nobody_asks_is_not_read() -> None:
    def unasked() -> NoReturn:
        raise AssertionError("costly")

    costly = dict.fromkeys(("features", "programs", "scores", "reviewed", "confirmed", "rates"), unasked)
    assert decide(observed(change=change(**costly)), SETTINGS, only=set(DUE))


def test_periods_are_those_of_the_champion() -> None:
    late = spans_of(label_cutoff=day(10), promoted_at=day(12), as_of=day(40), days=4.0)
    assert late.usual == TimeSpan(day(6), day(10))
    assert late.first == TimeSpan(day(12), day(16))
    assert late.now == TimeSpan(day(36), day(40))
    assert late.counted_from == day(12)
    young = spans_of(label_cutoff=day(10), promoted_at=day(9), as_of=day(12), days=4.0)
    assert young.first.from_at == day(10), "never before the label cut-off"
    assert young.now == TimeSpan(day(10), day(12)), "never before the label cut-off"
    kept = spans_of(label_cutoff=day(10), promoted_at=day(12), as_of=day(40), days=4.0, kept_from=day(20))
    assert (kept.usual, kept.first) == (TimeSpan(day(20), day(24)), TimeSpan(day(20), day(24))), "what else is gone"
    assert (kept.now, kept.counted_from) == (late.now, day(12)), "answers are never deleted"
    longer = spans_of(label_cutoff=day(10), promoted_at=day(12), as_of=day(40), days=4.0, kept_from=day(3))
    assert longer == late, "all that is compared is there"
    changed = spans_of(label_cutoff=day(10), promoted_at=day(12), as_of=day(40), days=4.0, changed_at=day(30))
    assert changed.usual == changed.first == TimeSpan(day(30), day(34)), "the days after the reported change"
    assert (changed.now, changed.counted_from) == (late.now, day(30))
    waits = spans_of(label_cutoff=day(10), promoted_at=day(12), as_of=day(40), days=4.0, changed_at=day(10))
    assert (waits.usual.from_at, waits.first.from_at) == (day(10), day(12)), "a model has no scores before it works"


@pytest.mark.parametrize("trigger", ["feature_drift", "score_drift"])
def test_units_with_a_known_cause_are_left_out_of_drift(trigger: str) -> None:
    known = dict.fromkeys(UNITS[:4], "label L1: fault")
    decision = decide(observed(change=change(add=10.0, unit_causes=known)), SETTINGS, only={trigger})[0]
    assert decision.figures["explained"] == known
    assert not decision.fired, "six units are fewer than the eight that a regime needs"
    assert decision.figures["would_fire_with_explained"]


def test_axes_with_a_known_cause_are_among_the_figures_of_rates() -> None:
    decision = decide(observed(change=change(axis_causes={"axis A": "why"})), SETTINGS, only={"review_rate"})[0]
    assert decision.figures["explained"] == {"axis A": "why"}


@pytest.mark.parametrize("trigger", ["feature_drift", "score_drift", "novelty_rate", "review_rate"])
def test_after_a_report_all_triggers_wait_for_the_days_after_it(trigger: str) -> None:
    def said(as_of: float) -> Decision:
        spans = spans_of(label_cutoff=day(4), promoted_at=day(4), as_of=day(as_of), days=4.0, changed_at=day(20))
        return decide(observed(change=change(spans=spans, add=10.0, rise=0.5)), SETTINGS, only={trigger})[0]

    assert not said(27.9).fired
    assert "those after the last reported change, end 2026-01-29" in said(27.9).reason
    assert said(28.0).fired, "a further change"


def test_a_report_that_waits_starts_with_the_first_label() -> None:
    waiting = change(waiting={"review_rate": day(15), "novelty_rate": day(15)})
    alone = named(decide(observed(change=waiting), SETTINGS))["decision"]
    assert not alone.fired
    assert alone.figures["triggers"] == ["review_rate", "novelty_rate"]
    assert "fired before and still waits: review_rate (2026-01-20), novelty_rate (2026-01-20)" in alone.reason
    assert "axiswatch ask" in alone.reason
    started = named(decide(observed(change=waiting, news=News([LABEL])), SETTINGS))["decision"]
    assert started.fired
    unasked = SETTINGS.model_copy(update={"retrain_growth": 9.0})
    few = News([LABEL], learned_units=1)
    assert not named(decide(observed(change=waiting, news=few), unasked, only=set(DUE)))["decision"].fired


def test_nothing_starts_that_the_gate_would_refuse_for_its_few_findings() -> None:
    """The same number for both: a challenger with fewer new findings is never promoted, whatever asked for it."""
    settings = SETTINGS.model_copy(update={"retrain_min_findings": 2})
    asked = change(rise=0.5)
    twice = named(decide(observed(change=asked, news=News([LABEL, LABEL])), settings))["decision"]
    assert not twice.fired, "one unit said twice is one finding"
    assert "1 findings are new or withdrawn, and a challenger needs 2; label what `axiswatch ask`" in twice.reason
    other = replace(LABEL, unit="u9")
    assert named(decide(observed(change=asked, news=News([LABEL, other])), settings))["decision"].fired
    taken_back = News([LABEL], withdrawn=1, withdrawn_since=1)
    assert named(decide(observed(change=asked, news=taken_back), settings))["decision"].fired
    kinds = [NewLabel(f"u{number}", "ball", "fault") for number in range(2)]
    many = settings.model_copy(update={"retrain_min_findings": 9})
    assert named(decide(observed(change=asked, news=News(kinds)), many))["decision"].fired, "another class"
    first = observed(known_classes=None, change=None, news=News([LABEL]))
    assert named(decide(first, many))["decision"].fired, "there is nothing to be compared with"


def test_a_program_new_to_the_line_is_a_drift_and_says_so() -> None:
    """No regime is left in which units could be compared; the program itself is the finding."""
    then, now = sample(2, add=0.0, seed=1), sample(2, add=0.0, seed=2)
    other = DriftSample(now.values, now.unit, np.full(len(now.unit), "acc_x pick"))
    moved = change(features=lambda: (then, other), programs=lambda: (programs("weld"), programs("pick")))
    said = decide(observed(change=moved), SETTINGS, only={"feature_drift"})[0]
    assert said.fired
    assert said.reason == "new program on 10 of 10 axes: pick (on 10, since 2026-01-23)"
    assert said.figures["new_program"]["programs"] == [{"program": "pick", "axes": 10, "since": day(18).isoformat()}]
    learned = replace(moved, known_programs={"pick"})
    assert not decide(observed(change=learned), SETTINGS, only={"feature_drift"})[0].fired, "the champion knows it"


def test_scores_are_compared_as_log_odds_and_logarithms() -> None:
    columns = score_columns(np.array([[0.5, 0.1, 1e-9, 100.0], [0.0, 1.0, np.nan, 1.0]]))
    assert columns.shape == (2, len(SCORE_NAMES))
    assert columns[0] == pytest.approx([0.0, -1.0, -6.0, 2.0])
    assert columns[1, 0] == pytest.approx(np.log(1e-6 / (1 - 1e-6)))
    assert np.isnan(columns[1, 2])
