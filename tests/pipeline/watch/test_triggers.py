"""Triggers of a retraining, against closed forms and simulated fleets: pure functions, no database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, binom

from pipeline.watch.reported import Firing, Reported, reported
from pipeline.watch.triggers.calibration import calibration
from pipeline.watch.triggers.decision import Decision
from pipeline.watch.triggers.drift import DriftSample, drift
from pipeline.watch.triggers.due import NewLabel, News, new_labels, schedule
from pipeline.watch.triggers.guards import budget, conclude, cooldown
from pipeline.watch.triggers.new_program import ProgramUse, new_program
from pipeline.watch.triggers.performance import performance
from pipeline.watch.triggers.rate_rise import rate_rise
from pipeline.watch.triggers.sign_flips import label_shuffles, max_t, sign_flips

Array = np.ndarray

# ------------------------------------------------------------------------------------- schedule, cooldown, budget


@pytest.mark.parametrize(
    ("age", "limit", "fired"), [(29.9, 30, False), (30, 30, True), (500, 0, False), (None, 30, False)]
)
def test_schedule_fires_at_its_age(age: float | None, limit: float, fired: bool) -> None:
    said = schedule(age, max_age_days=limit, to_learn_from=1)
    assert said.fired is fired
    assert said.figures == {"age_days": age, "max_age_days": limit, "to_learn_from": 1}
    assert said.reason
    assert not schedule(age, max_age_days=limit, to_learn_from=0).fired


@pytest.mark.parametrize(
    ("since", "length", "held"), [(0.5, 1, True), (1.0, 1, False), (None, 1, False), (0.0, 0, False)]
)
def test_cooldown_ends_with_its_length(since: float | None, length: float, held: bool) -> None:
    assert cooldown(since, cooldown_days=length).fired is held


def test_budget_counts_its_period_only() -> None:
    ago = [0.0, 3.0, 29.9, 30.0, 60.0]
    assert budget(ago, most=4, period_days=30).figures["used"] == 3
    assert not budget(ago, most=4, period_days=30).fired
    assert budget(ago, most=3, period_days=30).fired
    assert budget([], most=0, period_days=30).fired, "by hand only"


# ------------------------------------------------------------------------------------------------------ new labels


def findings(*targets: str | None) -> list[NewLabel]:
    return [NewLabel(f"u{index}", target, target or "unsure") for index, target in enumerate(targets)]


def counted(
    new: list[NewLabel],
    known: tuple[str, ...] | None = ("healthy", "inner_race"),
    *,
    tried: int = 0,
    growth: float = 0.5,
    **more: int,
) -> Decision:
    """The first `tried` labels were in the last attempt."""
    labels = [replace(label, tried=index < tried) for index, label in enumerate(new)]
    return new_labels(News(labels, **more), known_classes=known, min_findings=3, min_kind_units=2, growth=growth)


def test_unsure_is_counted_apart_and_does_not_fire() -> None:
    said = counted(findings("healthy", "inner_race", None, None, None))
    assert not said.fired
    assert (said.figures["not_learned"], said.figures["not_trained_on"]) == (2, {"unsure": 3})
    assert counted(findings("healthy", "inner_race", "healthy")).fired


def test_labels_taken_back_or_late_count_as_news() -> None:
    assert counted(findings("healthy", "healthy"), withdrawn=1, withdrawn_since=1).fired
    assert counted(findings("healthy", "healthy"), late=1, late_since=1).fired
    assert not counted(findings("healthy", "healthy")).fired


def test_a_kind_that_the_champion_does_not_know_needs_units() -> None:
    assert counted(findings("ball", "ball")).fired
    assert not counted([NewLabel("u1", "ball", "fault"), NewLabel("u1", "ball", "fault")]).fired, "one unit twice"
    assert counted(findings("ball")).figures["new_kinds"] == {"ball": 1}
    assert counted(findings("ball", "ball"), tried=1).fired, "the second unit came after the last attempt"
    assert not counted(findings("ball", "ball"), tried=2).fired
    assert not counted([NewLabel("u1", "ball", "fault"), NewLabel("u1", "ball", "fault")], tried=1).fired, "one unit"


def test_without_a_champion_one_finding_is_enough() -> None:
    assert counted(findings("healthy"), known=None).fired
    assert not counted(findings(None), known=None).fired
    assert not counted(findings("healthy", "healthy"), known=None, tried=2).fired, "that training was refused already"
    assert counted(findings("healthy", "healthy"), known=None, tried=1).fired


def test_labels_of_a_refused_attempt_stay_new_and_start_nothing_twice() -> None:
    said = counted(findings(*["healthy"] * 7), tried=5, learned_units=0)
    assert said.reason.startswith("7 labels not learned, 2 of them since the last attempt")
    assert (said.figures["not_learned"], said.figures["since_last_attempt"]) == (7, 2)
    assert not said.fired, "half of the five that were tried have to be new"
    assert counted(findings(*["healthy"] * 8), tried=5).fired
    assert not counted(findings(*["healthy"] * 9), tried=9, growth=0.0).fired, "the very same labels"
    assert counted(findings(*["healthy"] * 9), tried=8, growth=0.0).fired
    assert counted(findings(*["healthy"] * 9), tried=9, growth=0.0, withdrawn_since=1).fired


def test_what_is_needed_grows_with_what_was_known() -> None:
    assert not counted(findings(*["healthy"] * 9), learned_units=19).fired
    assert counted(findings(*["healthy"] * 10), learned_units=19).fired
    assert counted(findings(*["healthy"] * 10), learned_units=19).figures["needed_since"] == 10


def test_labels_that_were_set_aside_are_told_and_do_not_count() -> None:
    said = counted(findings("healthy", "healthy"), set_aside=4)
    assert not said.fired
    assert "4 set aside until a further label confirms them" in said.reason


# ---------------------------------------------------------------------------------------------------- new programs

DAY = datetime(2026, 2, 3, tzinfo=UTC)


def ran(*programs: str, axes: range = range(10), recordings: int = 3) -> dict[str, dict[str, ProgramUse]]:
    return {f"a{axis}": {name: ProgramUse(recordings, DAY) for name in programs} for axis in axes}


def programs_said(then: Any, now: Any, known: tuple[str, ...] = ()) -> Decision:
    return new_program(then, now, known=known, min_axes=8)


def test_a_program_that_nobody_ran_is_reported_with_its_axes() -> None:
    said = programs_said(ran("weld"), ran("weld", axes=range(2)) | ran("pick", axes=range(2, 10)))
    assert said.fired
    assert said.reason == "new program on 8 of 10 axes: pick (on 8, since 2026-02-03)"
    assert not programs_said(ran("weld"), ran("weld", axes=range(3)) | ran("pick", axes=range(3, 10))).fired
    assert not programs_said(ran("weld", "pick"), ran("pick")).fired, "it ran then"
    assert not programs_said(ran("weld", "pick", axes=range(1)), ran("pick")).fired, "one axis ran it then"
    assert not programs_said(ran("weld"), ran("pick"), known=("pick",)).fired, "the model has learned it"
    assert not programs_said(ran("weld"), ran("pick", recordings=1)).fired, "too few recordings"


def test_each_axis_with_a_program_of_its_own_counts() -> None:
    now = {f"a{axis}": {f"pick {axis}": ProgramUse(5, DAY)} for axis in range(9)}
    said = programs_said(ran("weld"), now)
    assert said.fired
    assert said.reason.endswith("pick 4 (on 1, since 2026-02-03), 4 more")


def test_a_small_plant_reports_what_is_new_on_all_its_axes() -> None:
    assert programs_said(ran("weld", axes=range(3)), ran("pick", axes=range(3))).fired
    assert not programs_said(
        ran("weld", axes=range(3)), ran("weld", axes=range(1)) | ran("pick", axes=range(1, 3))
    ).fired
    assert not programs_said(ran("weld", axes=range(1)), ran("pick", axes=range(1))).fired, "one axis is no line"


def test_without_recordings_then_no_program_is_new() -> None:
    assert not programs_said({}, ran("pick")).fired
    assert not programs_said({}, {}).fired


# -------------------------------------------------------------------------------------------------- reported once


def at(number: float) -> datetime:
    return DAY + timedelta(days=number)


def told(*firings: tuple[str, float, str], last_attempt: float | None = None) -> Reported:
    """Champion c of day 10, its labels known until day 9; periods of 4 days."""
    return reported(
        [Firing(trigger, at(number), champion) for trigger, number, champion in firings],
        champion="c",
        label_cutoff=at(9),
        promoted_at=at(10),
        last_attempt=None if last_attempt is None else at(last_attempt),
        days=4.0,
    )


def test_what_fired_last_is_what_counts_and_what_nobody_answered_waits() -> None:
    assert told() == Reported(None, {})
    once = ("review_rate", 20.0, "c")
    assert told(once) == Reported(at(20), {"review_rate": at(20)})
    assert told(once, last_attempt=19.0).waiting == {"review_rate": at(20)}
    assert told(once, last_attempt=20.0) == Reported(at(20), {})
    again = told(once, ("score_drift", 30.0, "c"), last_attempt=25.0)
    assert again == Reported(at(30), {"score_drift": at(30)})


def test_a_new_champion_starts_anew_unless_the_change_was_just_before_its_training() -> None:
    assert told(("review_rate", 4.9, "b"), ("review_rate", 9.5, "b")) == Reported(None, {})
    assert told(("review_rate", 20.0, "b")) == Reported(None, {}), "what another champion was told of"
    assert told(("feature_drift", 6.0, "b")) == Reported(at(9), {}), "the days before the cut-off show both levels"
    assert told(("feature_drift", 9.0, "b")) == Reported(at(9), {})
    assert told(("feature_drift", 4.0, "c")) == Reported(None, {}), "an earlier time of a champion that came back"


# ------------------------------------------------------------------------------------------------------ sign flips


def test_sign_flips_are_all_of_them_or_seeded() -> None:
    every = sign_flips(4, most=100, seed=1)
    assert len({tuple(row) for row in every}) == 16
    assert (every[0] == 1).all()
    some = sign_flips(40, most=50, seed=1)
    assert some.shape == (50, 40)
    assert (some[0] == 1).all()
    assert (some == sign_flips(40, most=50, seed=1)).all()
    with pytest.raises(ValueError, match="at least 1"):
        sign_flips(0, most=5, seed=1)


def test_agreement_of_all_units_has_the_smallest_p() -> None:
    """n units that all moved alike: t is sqrt(n), and 2 of the 2^n patterns reach it."""
    t, p = max_t(np.full((6, 1), 0.3), sign_flips(6, most=4096, seed=1))
    assert t[0] == pytest.approx(np.sqrt(6))
    assert p[0] == pytest.approx(2 / 2**6)
    _, p = max_t(np.array([[1.0], [-1.0]]), sign_flips(2, most=4096, seed=1))
    assert p[0] == 1.0


def test_one_unit_that_moved_far_is_no_common_direction() -> None:
    moved = np.zeros((10, 3))
    moved[4] = 100.0
    assert max_t(moved, sign_flips(10, most=4096, seed=1))[1].min() == 1.0


def test_shuffled_labels_keep_the_sizes() -> None:
    found = label_shuffles(5, 3, most=20, seed=1)
    assert (found.sum(axis=1) == 3).all()
    assert (found[0] == [0, 0, 0, 0, 0, 1, 1, 1]).all()


# ----------------------------------------------------------------------------------------------------------- drift

FEATURES = 30
NAMES = tuple(f"f{index}" for index in range(FEATURES))


def a_period(rng: np.random.Generator, base: Array, prefix: str = "u", add: Array | float = 0.0) -> DriftSample:
    """12 recordings of every unit in two regimes. Most of what varies is common to all recordings of a unit then."""
    n = len(base)
    values, unit, regime = [], [], []
    for index in range(n):
        for name in ("slow", "fast"):
            of_the_time = 0.7 * rng.normal(size=FEATURES) + 0.7 * rng.normal()  # features of a unit go together
            values.append(
                base[index]
                + of_the_time
                + 0.3 * rng.normal(size=(12, FEATURES))
                + np.broadcast_to(add, base.shape)[index]
            )
            unit += [f"{prefix}{index}"] * 12
            regime += [name] * 12
    return DriftSample(np.concatenate(values), np.array(unit), np.array(regime))


def periods(
    seed: int, *, units: int = 10, add: Array | float = 0.0, same: bool = True
) -> tuple[DriftSample, DriftSample]:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(units, FEATURES))
    then = a_period(rng, base)
    return then, a_period(rng, base if same else rng.normal(size=base.shape), "u" if same else "v", add)


def said_of(
    pair: tuple[DriftSample, DriftSample], alpha: float = 0.05, min_shift: float = 0.0, **more: object
) -> Decision:
    return drift(*pair, names=NAMES, alpha=alpha, min_shift=min_shift, min_delta=0.0, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("same", [True, False])
def test_false_alarms_stay_at_the_stated_level(same: bool) -> None:
    """240 fleets in which nothing changed but noise that recordings of a unit share: 60 features and regimes each."""
    alarms = sum(said_of(periods(seed, same=same)).fired for seed in range(240))
    assert alarms <= binom.ppf(0.999, 240, 0.05), f"{alarms} of 240 at level 0.05"


def test_windows_as_the_count_would_have_raised_many() -> None:
    """The same fleets, recordings taken for units: what the aggregation is for."""

    def apart(period: DriftSample) -> DriftSample:
        return DriftSample(period.values, np.array([f"{u}.{i}" for i, u in enumerate(period.unit)]), period.regime)

    alarms = sum(
        said_of(tuple(apart(one) for one in periods(seed, same=False)), min_recordings=1).fired  # type: ignore[arg-type]
        for seed in range(10)
    )
    assert alarms >= 9


def test_a_shift_of_the_fleet_is_found() -> None:
    add = np.zeros(FEATURES)
    add[:6] = 2.0
    found = [said_of(periods(seed, units=12, add=add), alpha=0.01, min_shift=0.5) for seed in range(40)]
    assert sum(one.fired for one in found) >= 36
    strongest = [one.figures["strongest"][0]["feature"] for one in found if one.fired]
    assert set(strongest) <= set(NAMES[:6])
    assert "comparisons of same units show a shift" in next(one for one in found if one.fired).reason


def test_other_units_are_compared_where_none_stayed() -> None:
    add = np.zeros(FEATURES)
    add[:6] = 4.0
    found = [said_of(periods(seed, units=12, add=add, same=False), alpha=0.01) for seed in range(20)]
    assert sum(one.fired for one in found) >= 18
    assert found[0].figures["design"] == "other units"


def test_cliffs_delta_of_other_units_is_one_where_they_do_not_overlap() -> None:
    pair = periods(3, units=9, add=100.0, same=False)
    said = said_of(pair, alpha=0.01)
    assert said.figures["strongest"][0]["effect"] == pytest.approx(1.0)
    assert said_of((pair[1], pair[0]), alpha=0.01).figures["strongest"][0]["effect"] == pytest.approx(-1.0)


def test_a_shift_below_the_effect_does_not_fire_however_sure() -> None:
    said = said_of(periods(1, units=30, add=0.9), alpha=0.01, min_shift=5.0)
    assert not said.fired
    assert said.figures["strongest"][0]["p"] <= 0.01


def test_a_drifted_sensor_of_one_axis_does_not_fire() -> None:
    """Not even where nobody knows of it: one unit of ten has no direction in common with the others."""
    add = np.zeros((10, 1))
    add[4] = 50.0
    alarms = sum(said_of(periods(seed, add=add), alpha=0.01).fired for seed in range(60))
    assert alarms <= binom.ppf(0.999, 60, 0.01)


def test_bad_sensors_that_are_known_are_left_out_and_told() -> None:
    """A logger of 9 of 20 axes that reads too high would be a drift; the verdicts of the data explain it."""
    add = np.zeros((20, 1))
    add[:9] = 50.0
    pair = periods(7, units=20, add=add)
    known = {f"u{index}": "gain or unit is wrong" for index in range(9)}
    assert said_of(pair).fired
    said = said_of(pair, explained=known)
    assert not said.fired
    assert said.figures["would_fire_with_explained"]
    assert said.figures["explained"] == known
    assert "its causes are known" in said.reason


def test_a_replaced_unit_does_not_fire() -> None:
    """Three of ten were replaced by units that run otherwise: they have no time before, so nothing of them drifted."""
    then, now = periods(5, add=np.r_[np.full((3, 1), 50.0), np.zeros((7, 1))])
    unit = np.array([f"new {name}" if name in ("u0", "u1", "u2") else name for name in now.unit])
    said = said_of((then, DriftSample(now.values, unit, now.regime)), min_units=7)
    assert not said.fired
    assert said.figures["units"] == 7


def test_too_few_units_are_never_enough() -> None:
    said = said_of(periods(1, units=5, add=100.0))
    assert not said.fired
    assert "no regime has 8 units" in said.reason
    empty = DriftSample(np.empty((0, FEATURES)), np.empty(0, np.str_), np.empty(0, np.str_))
    assert not said_of((empty, empty)).fired


def test_recordings_of_another_regime_are_not_compared() -> None:
    then, now = periods(1, add=100.0)
    assert not said_of((then, DriftSample(now.values, now.unit, np.char.add(now.regime, "er")))).fired


def test_missing_and_constant_features_say_nothing() -> None:
    then, now = periods(1, add=100.0)
    then.values[:, 0], now.values[:, 0] = 3.0, 3.0
    then.values[:, 1] = np.nan
    said = said_of((then, now))
    assert said.fired
    assert said.figures["tested"] == 2 * (FEATURES - 2)


# ----------------------------------------------------------------------------------------------------- calibration


def reviewed(stated: list[float], fault: list[bool], *, chance: float = 1.0, audited: bool = True) -> dict[str, Array]:
    n = len(stated)
    return {
        "stated": np.array(stated, dtype=float),
        "fault": np.array(fault, dtype=bool),
        "unit": np.array([f"u{index}" for index in range(n)]),
        "chance": np.full(n, chance),
        "audited": np.full(n, audited),
        "alarm": np.full(n, False),
    }


def test_the_interval_is_the_exact_one_of_units() -> None:
    """40 units, each looked at with one chance, 4 at fault: Clopper and Pearson at level 1 - 0.05 / 3."""
    said = calibration(**reviewed([0.1] * 40, [True] * 4 + [False] * 36), margin=0.0)
    tail = 0.05 / 3 / 2
    group = said.figures["groups"]["all"]
    assert group["low"] == pytest.approx(beta.ppf(tail, 4, 37))
    assert group["high"] == pytest.approx(beta.ppf(1 - tail, 5, 36))
    assert (group["stated"], group["found"], said.fired) == (pytest.approx(0.1), pytest.approx(0.1), False)


def test_ten_cases_of_a_unit_count_as_one() -> None:
    cases = reviewed([0.05] * 60, [True] * 20 + [False] * 40)
    assert calibration(**cases, margin=0.05).fired
    cases["unit"] = np.array([f"u{index // 10}" for index in range(60)])
    said = calibration(**cases, margin=0.05)
    assert said.figures["groups"]["all"]["effective_units"] == pytest.approx(6.0)
    assert not said.fired


def test_calibrated_models_raise_few_alarms_and_overconfident_ones_many() -> None:
    rng = np.random.default_rng(3)

    def fired(odds: float) -> int:
        count = 0
        for _ in range(200):
            true = rng.beta(0.5, 2.0, 60)
            logit = odds * np.log(true / (1 - true))
            stated = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
            count += calibration(**reviewed(list(stated), list(rng.random(60) < true)), margin=0.0).fired
        return count

    assert fired(1.0) <= binom.ppf(0.999, 200, 0.05)
    assert fired(5.0) >= 150, "both halves are wrong, though they cancel on average"


def test_flagged_cases_alone_are_judged_by_alarms_only() -> None:
    """What is flagged as unsure and turns out faulty more often than stated is no sign of decay: it was chosen."""
    cases = reviewed([0.3] * 30, [True] * 30, audited=False)
    assert not calibration(**cases, margin=0.0).fired
    cases["alarm"][:] = True
    cases["stated"][:] = 0.95
    assert not calibration(**cases, margin=0.05).fired
    cases["fault"][:] = False
    assert calibration(**cases, margin=0.05).fired


def test_cases_weigh_by_how_they_were_chosen() -> None:
    """10 flagged cases, all faulty and stated at 0.9; 10 audits at chance 0.01, all sound and stated at 0.01."""
    flagged, audits = reviewed([0.9] * 10, [True] * 10, audited=False), reviewed([0.01] * 10, [False] * 10, chance=0.01)
    audits["unit"] = np.char.add(audits["unit"], "x")
    both = {name: np.concatenate([flagged[name], audits[name]]) for name in flagged}
    said = calibration(**both, margin=0.05)
    assert said.figures["groups"]["all"]["found"] == pytest.approx(10 / 1010)
    assert said.figures["groups"]["all"]["stated"] == pytest.approx((9 + 10) / 1010)
    assert not said.fired


def test_no_answer_is_no_decay() -> None:
    said = calibration(**reviewed([], []), margin=0.0)
    assert not said.fired
    assert said.figures["judged"] == 0
    assert "5 are needed" in said.reason


# ----------------------------------------------------------------------------------------------- rates, performance


def rate(before: list[float], now: list[float], **more: float) -> Decision:
    asked = {"min_rise": 0.1, "alpha": 0.01, "min_units": 8} | more
    return rate_rise(before, now, name="novelty_rate", **asked)  # type: ignore[arg-type]


def test_a_rise_that_all_units_share_fires() -> None:
    said = rate([0.1] * 10, [0.4] * 10)
    assert said.fired
    assert said.figures["p"] == pytest.approx(1 / 2**10)
    assert not rate([0.4] * 10, [0.1] * 10).fired, "a fall"
    assert not rate([0.1] * 10, [0.15] * 10).fired, "too little"
    assert not rate([0.1] * 5, [0.9] * 5).fired, "too few units"


def test_a_rise_of_one_unit_does_not_fire() -> None:
    """One axis with a new program or a bad sensor: the mean rises by 0.1, the units do not."""
    assert not rate([0.0] * 10, [1.0] + [0.0] * 9).fired
    assert rate([np.nan] * 10, [1.0] * 10).figures["units"] == 0


def test_false_alarms_of_rates_stay_at_the_level() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(500):
        of_unit = rng.beta(1, 4, 12)
        then, now = (rng.binomial(24, np.clip(of_unit * rng.gamma(4, 0.25, 12), 0, 1)) / 24 for _ in range(2))
        alarms += rate(list(then), list(now), min_rise=0.0, alpha=0.05).fired
    assert alarms <= binom.ppf(0.999, 500, 0.05)


def performed(missed: int, faults: int, false: int = 0, alarms: int = 0) -> Decision:
    return performance(missed=missed, faults=faults, false_alarms=false, alarms=alarms, max_missed=0.2, max_false=0.5)


def test_performance_fires_when_the_exact_interval_is_above() -> None:
    said = performed(8, 10)
    assert said.fired
    assert said.figures["missed_faults"]["low"] == pytest.approx(beta.ppf(0.025, 8, 3))
    assert not performed(2, 3).fired, "two of three may be chance"
    assert performed(0, 10, 20, 20).fired
    assert not performed(0, 0).fired
    with pytest.raises(ValueError, match="3 of 2"):
        performed(3, 2)


# ------------------------------------------------------------------------------------------------------ conclusion


def said(trigger: str, fired: bool) -> Decision:
    return Decision(trigger, fired, f"{trigger} says so")


def concluded(triggers: list[Decision], guards: list[Decision], to_learn_from: int, refused: str = "") -> Decision:
    return conclude(
        triggers,
        guards,
        to_learn_from=to_learn_from,
        refused=refused,
    )


def test_guards_hold_back_and_the_reason_says_which() -> None:
    asked = [said("schedule", True), said("new_labels", False)]
    free = [said("cooldown", False), said("budget", False)]
    assert concluded(asked, free, to_learn_from=1).fired
    held = concluded(asked, [said("cooldown", True), said("budget", False)], to_learn_from=3)
    assert not held.fired
    assert "cooldown says so" in held.reason
    assert held.figures["held_back_by"] == ["cooldown"]
    refused = concluded(asked, free, to_learn_from=3, refused="a backfill starts no retraining")
    assert not refused.fired
    assert "backfill" in refused.reason
    assert not concluded([said("schedule", False)], free, to_learn_from=3).fired


def test_a_change_with_nothing_to_learn_from_asks_for_labels() -> None:
    free = [said("cooldown", False)]
    alone = concluded([said("feature_drift", True)], free, to_learn_from=0)
    assert not alone.fired
    assert "axiswatch ask" in alone.reason
    assert concluded([said("feature_drift", True)], free, to_learn_from=1).fired


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_levels_are_checked(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must lie strictly between 0 and 1"):
        said_of(periods(1), alpha=alpha)
