"""Case memory: what nearest answered units say, kept beside the model's figures, and taken back with its finding."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.base.settings import Settings
from pipeline.cases.memory import MOST_UNITS, answer_given, evidence_noted, remembered
from pipeline.cases.ordering import queue_priority, refresh_queue
from pipeline.cases.queue import Filters, queue
from pipeline.cases.remembering import influence, recall, remember
from pipeline.cases.verdicts import give_verdict
from pipeline.cases.work import undo
from pipeline.steps import advise
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import (
    Case,
    CaseAnswer,
    CaseEvidence,
    CaseMemory,
    DueWork,
    Label,
    ReviewEvent,
    WebhookEvent,
)
from pipeline.workplace import Workplace

AT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEIGHTS = {"signal_only": 0.5, "inspected": 1.0, "teardown": 1.0}
FAULT, HEALTHY = 0.833333, 0.166667
"""Figures of one vote of a teardown on the same changes."""

FAULTY, SOUND = [9.0, 0.0, 9.0, 0.0], [0.0, 9.0, 0.0, 0.0]


# ---------------------------------------------------------------------------------------------- the pure function


def told(moved: Any, answered: Any, is_fault: Any, weight: Any = None, unit: Any = None) -> Any:
    count = len(answered)
    return remembered(
        np.array(moved, dtype=np.float64),
        np.array(answered, dtype=np.float64).reshape(count, len(moved)),
        np.array(is_fault, dtype=np.bool_),
        np.ones(count) if weight is None else np.array(weight, dtype=np.float64),
        np.arange(count).astype(str) if unit is None else np.array(unit),
    )


def test_nothing_near_says_nothing() -> None:
    assert told(FAULTY, [SOUND, [-value for value in FAULTY]], [False, True]).figure is None
    assert told(FAULTY, [], []).figure is None
    assert told([np.nan] * 4, [FAULTY], [True]).figure is None
    assert told(FAULTY, [FAULTY], [True], weight=[0.0]).figure is None, "evidence of weight 0"


def test_the_figure_is_the_weighted_mean_with_a_prior_of_one_half() -> None:
    assert told(FAULTY, [FAULTY], [True]).figure == pytest.approx((0.25 + 1) / 1.5, abs=1e-6)
    assert told(FAULTY, [FAULTY], [False]).figure == pytest.approx(0.25 / 1.5, abs=1e-6)
    assert told(FAULTY, [FAULTY], [True], weight=[0.5]).figure == pytest.approx((0.25 + 0.5) / 1.0)
    assert told(FAULTY, [FAULTY, FAULTY], [True, False]).figure == 0.5, "they contradict each other"
    near = [9.0, 1.0, 9.0, 0.0]
    assert told(FAULTY, [near], [True]).weight[0] == pytest.approx(1 - (1 / 4) / 2)


def test_a_unit_has_one_vote_and_the_nearest_units_have_them() -> None:
    near, nearer = [9.0, 2.0, 9.0, 0.0], [9.0, 1.0, 9.0, 0.0]
    found = told(FAULTY, [near, nearer, near], [True, False, False], unit=["a", "a", "b"])
    assert found.votes.tolist() == [1, 2], "of the unit a, only what is most alike"
    many = told(FAULTY, [near] * 9 + [FAULTY], [False] * 9 + [True])
    assert len(many.votes) == MOST_UNITS
    assert many.votes[0] == 9


@given(
    arrays(np.float64, (6, 5), elements=st.floats(-10, 10)),
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.lists(st.floats(0, 2), min_size=5, max_size=5),
)
def test_the_figure_keeps_to_its_range_and_follows_the_findings(points: Any, is_fault: Any, weight: Any) -> None:
    found = told(points[0], points[1:], is_fault, weight=weight)
    if found.figure is None:
        assert not found.votes.size
        return
    assert 0.0 < found.figure < 1.0
    assert np.all(np.diff(found.similarity) <= 0)
    assert np.all(found.weight <= 2.0)
    votes = np.array(is_fault)[found.votes]
    assert found.figure >= 0.5 or not votes.all()
    assert found.figure <= 0.5 or votes.any()
    opposite = told(points[0], points[1:], [not value for value in is_fault], weight=weight)
    assert opposite.figure == pytest.approx(1.0 - found.figure, abs=2e-6)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 100))
def test_memory_never_lowers_an_alarm(priority: float, figure: float, doubt: float, age: float) -> None:
    columns = [np.array([value]) for value in (priority, doubt, age, 3.0)]
    plain = queue_priority(*columns)[0]
    moved = queue_priority(*columns, np.array([figure]))[0]
    alarm = queue_priority(*columns, np.array([figure]), np.array([True]))[0]
    assert alarm >= plain - 1e-6
    assert alarm == pytest.approx(max(moved, plain), abs=2e-6)
    assert abs(moved - plain) <= 0.3 + 1e-6
    assert queue_priority(*columns, np.array([np.nan]))[0] == plain, "nothing near moves nothing"


# ---------------------------------------------------------------------------------------------- the stored figure


@pytest.fixture
def plant(alike: Store) -> Store:
    """Open cases `asked`, `twin`, `alarm` (with an alarm) and `data` (about data) look alike, `other` does not."""
    refresh_queue(alike, as_of=AT)
    return alike


def run(store: Store, as_of: datetime, *, on: bool = True) -> int:
    return remember(store, weights=WEIGHTS if on else None, as_of=as_of)


def answer(store: Store, case: str, verdict: str, *, who: str = "mara", at: datetime, how: str = "teardown") -> None:
    finding = {"verdict": verdict, "evidence": how}
    give_verdict(store, case, finding, who=who, at=at, period_hours=1.0)


def figures(store: Store) -> dict[str, float]:
    with store.read() as connection:
        return {row.case_id: row.figure for row in connection.execute(sa.select(CaseMemory))}


def order(store: Store) -> list[str]:
    return [row["case_id"] for row in queue(store, as_of=AT)]


def places(store: Store) -> dict[str, float]:
    return {row["case_id"]: row["queue_priority"] for row in queue(store, as_of=AT)}


def test_a_verdict_moves_its_look_alikes_within_one_run_and_goes_with_its_withdrawal(plant: Store) -> None:
    run(plant, AT)
    before = places(plant)
    assert figures(plant) == {}
    answer(plant, "asked", "fault", at=AT + HOUR)
    assert run(plant, AT + 2 * HOUR) == 2
    assert figures(plant) == {"twin": FAULT, "alarm": FAULT}, "neither what is unlike nor a case about data"
    after = places(plant)
    assert after["twin"] == pytest.approx(before["twin"] + 0.2, abs=2e-6)
    assert after["other"] == before["other"]
    assert [row["case_id"] for row in queue(plant, Filters(reason="remembered"), as_of=AT)] == ["alarm", "twin"]
    (twin,) = [row for row in queue(plant, as_of=AT) if row["case_id"] == "twin"]
    assert (twin["memory"], twin["fault_probability"], twin["priority"]) == (FAULT, 0.1, 0.5), "the model's stay"
    (vote,) = twin["rests_on"]
    assert {name: vote[name] for name in ("case_id", "robot_id", "verdict", "evidence", "who", "similarity")} == {
        "case_id": "asked",
        "robot_id": "asked",
        "verdict": "fault",
        "evidence": "teardown",
        "who": "mara",
        "similarity": 1.0,
    }
    undo(plant, "asked", who="mara", at=AT + 3 * HOUR)
    assert run(plant, AT + 4 * HOUR) == 2
    assert figures(plant) == {}
    assert places(plant) == before


def test_the_step_of_a_run_does_it(plant: Store, lake: Lake, tmp_path: Path) -> None:
    answer(plant, "asked", "fault", at=AT + HOUR)
    for on, found in ((True, {"twin": FAULT, "alarm": FAULT}), (False, {})):
        place = Workplace(Settings(home=tmp_path, case_memory=on), plant, lake)
        advise(place, AT + 2 * HOUR)
        assert figures(plant) == found


def test_healthy_look_alikes_go_down_but_no_alarm_does(plant: Store) -> None:
    run(plant, AT)
    before = places(plant)
    answer(plant, "asked", "benign_change", at=AT + HOUR)
    run(plant, AT + 2 * HOUR)
    assert figures(plant) == {"twin": HEALTHY, "alarm": HEALTHY}
    assert places(plant)["twin"] == pytest.approx(before["twin"] - 0.2)
    assert places(plant)["alarm"] == before["alarm"]
    assert order(plant)[-1] == "twin"
    with plant.read() as connection:
        states = {row.case_id: (row.state, row.priority) for row in connection.execute(sa.select(Case))}
    assert states["twin"] == states["alarm"] == ("open", 0.5), "nothing is closed or cleared"


def test_a_second_run_writes_nothing(plant: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(plant, "asked", "fault", at=AT + HOUR)
    assert run(plant, AT + 2 * HOUR) == 2
    monkeypatch.setattr(Store, "write", lambda self: pytest.fail("it wrote"))
    assert run(plant, AT + 2 * HOUR) == run(plant, AT + 3 * HOUR) == 0


def test_a_killed_run_is_made_up_for(plant: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run(plant, AT)
    answer(plant, "asked", "fault", at=AT + HOUR)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.cases.remembering._update", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(plant, AT + 2 * HOUR)
    assert figures(plant) == {}
    assert run(plant, AT + 2 * HOUR) == 2
    with plant.read() as connection:
        assert connection.execute(sa.select(DueWork).where(DueWork.step == "remember")).all() == []


def test_what_is_recalled_at_once_is_what_the_run_finds(plant: Store) -> None:
    run(plant, AT)
    answer(plant, "asked", "fault", at=AT + HOUR)
    changed = recall(plant, ["asked"], weights=WEIGHTS, as_of=AT + HOUR)
    assert changed == ["alarm", "twin"]
    at_once = figures(plant), places(plant)
    assert run(plant, AT + 30 * timedelta(minutes=1)) == 0, "a run for the past takes nothing back"
    assert run(plant, AT + 2 * HOUR) == 0
    assert (figures(plant), places(plant)) == at_once
    assert recall(plant, ["asked"], weights=None, as_of=AT + HOUR) == []


def test_it_is_told_once_in_the_history_and_to_the_webhook(plant: Store) -> None:
    answer(plant, "asked", "fault", at=AT + HOUR)
    for hour in (2, 3):
        run(plant, AT + hour * HOUR)
    with plant.read() as connection:
        events = connection.execute(sa.select(ReviewEvent).where(ReviewEvent.case_id == "twin")).all()
        sent = connection.scalars(sa.select(WebhookEvent.body).where(WebhookEvent.case_id == "twin")).all()
    assert [(event.action, event.who, event.details) for event in events] == [
        ("changed", "axiswatch", {"looks_like": ["asked"], "memory": FAULT})
    ]
    assert len(sent) == 1
    assert f'"memory": {FAULT}' in sent[0]


def test_one_setting_takes_it_all_back_and_brings_it_again(plant: Store) -> None:
    run(plant, AT)
    before = places(plant)
    answer(plant, "asked", "fault", at=AT + HOUR)
    run(plant, AT + 2 * HOUR)
    with_memory = places(plant)
    run(plant, AT + 3 * HOUR, on=False)
    assert figures(plant) == {}
    assert places(plant) == {name: place for name, place in before.items() if name != "asked"}
    answer(plant, "other", "healthy", at=AT + 4 * HOUR)
    run(plant, AT + 5 * HOUR, on=False)
    assert figures(plant) == {}
    run(plant, AT + 6 * HOUR)
    assert figures(plant) == {"twin": FAULT, "alarm": FAULT}
    assert places(plant)["twin"] == with_memory["twin"]


def test_what_a_case_showed_when_it_was_answered_stays(plant: Store) -> None:
    """The case goes on and gets worse; what was judged is what counts."""
    answer(plant, "asked", "healthy", at=AT + HOUR)
    with plant.write() as connection:
        connection.execute(
            sa.update(CaseEvidence)
            .values(moved=np.array(SOUND, "<f4").tobytes())
            .where(CaseEvidence.case_id == "asked")
        )
    run(plant, AT + 2 * HOUR)
    assert figures(plant) == {"twin": HEALTHY, "alarm": HEALTHY}
    with plant.read() as connection:
        (kept,) = connection.scalars(sa.select(CaseAnswer.moved))
    assert np.frombuffer(kept, "<f4").tolist() == FAULTY


@pytest.mark.parametrize(
    ("second", "how", "figure"),
    [("healthy", "teardown", HEALTHY), ("healthy", "inspected", FAULT), ("unsure", "teardown", None)],
)
def test_the_strongest_finding_on_a_case_votes_then_the_newest(
    plant: Store, second: str, how: str, figure: float | None
) -> None:
    answer(plant, "asked", "fault", at=AT + HOUR)
    answer(plant, "asked", second, at=AT + 2 * HOUR, how=how)
    run(plant, AT + 3 * HOUR)
    assert figures(plant).get("twin") == figure


def test_what_is_known_later_does_not_count_yet(plant: Store) -> None:
    answer(plant, "asked", "fault", at=AT + 5 * HOUR)
    run(plant, AT + HOUR)
    assert figures(plant) == {}
    run(plant, AT + 5 * HOUR)
    assert set(figures(plant)) == {"twin", "alarm"}


def test_a_finding_that_does_not_cover_what_the_case_shows_has_no_vote(plant: Store) -> None:
    finding = {"verdict": "fault", "evidence": "teardown"}
    with plant.write() as connection:
        connection.execute(sa.update(Case).values(last_at=AT + HOUR).where(Case.case_id == "asked"))
    finding |= {"from_at": "2026-03-01T00:30:00Z"}
    give_verdict(plant, "asked", finding, who="mara", at=AT + 2 * HOUR, period_hours=1.0)
    run(plant, AT + 3 * HOUR)
    assert figures(plant) == {}


def test_the_figure_of_a_case_goes_when_it_closes(plant: Store) -> None:
    answer(plant, "asked", "fault", at=AT + HOUR)
    run(plant, AT + 2 * HOUR)
    answer(plant, "twin", "fault", at=AT + 3 * HOUR)
    run(plant, AT + 4 * HOUR)
    assert figures(plant)["alarm"] == 0.9, "two of them"
    with plant.write() as connection:
        evidence_noted(connection, ["twin"], at=AT + 5 * HOUR)
    run(plant, AT + 5 * HOUR)
    assert set(figures(plant)) == {"alarm"}


def test_a_case_with_nearer_votes_is_left_alone_and_one_with_room_is_not(plant: Store) -> None:
    """What may be skipped must be skipped rightly: the figure is that of a comparison with all findings."""
    rng = np.random.default_rng(3)
    answer(plant, "asked", "fault", at=AT + HOUR)
    with plant.write() as connection:
        template = dict(connection.execute(sa.select(CaseAnswer)).one()._mapping)
        label = dict(connection.execute(sa.select(Label)).one()._mapping)
        connection.execute(sa.delete(CaseAnswer))
    for number in range(12):
        name, at = f"l{number:02d}", AT + timedelta(hours=2 + number)
        moved = np.array(FAULTY) * rng.uniform(0.2, 1.0)
        with plant.write() as connection:
            own = {
                "label_id": name,
                "known_at": at,
                "unit_serial": name,
                "verdict": "fault" if number % 3 else "healthy",
            }
            case = dict(connection.execute(sa.select(Case).where(Case.case_id == "asked")).one()._mapping)
            connection.execute(sa.insert(Case), case | {"case_id": name})
            connection.execute(sa.insert(Label), label | own | {"case_id": name})
            kept = {"label_id": name, "case_id": name, "moved": moved.astype("<f4").tobytes(), "known_at": at}
            connection.execute(sa.insert(CaseAnswer), template | kept)
            answer_given(connection, name, "verdict", at=at)
        run(plant, at)
        one_by_one = figures(plant)
        with plant.write() as connection:
            evidence_noted(connection, ["twin", "alarm"], at=at)
        assert run(plant, at) == 0, "looking at everything again finds nothing else"
        assert figures(plant) == one_by_one
    assert {"twin", "alarm"} <= set(one_by_one)


def test_influence_is_the_figure_with_and_without_the_finding(plant: Store) -> None:
    answer(plant, "asked", "fault", at=AT + HOUR)
    run(plant, AT + HOUR)
    with plant.read() as connection:
        found = influence(connection, "asked", weights=WEIGHTS, as_of=AT + HOUR)
        assert influence(connection, "other", weights=WEIGHTS, as_of=AT + HOUR) == []
    assert [(row["case_id"], row["without"], row["figure"], row["moves"]) for row in found] == [
        ("alarm", None, FAULT, 0.2),
        ("twin", None, FAULT, 0.2),
    ]
    answer(plant, "other", "healthy", at=AT + HOUR)
    with plant.write() as connection:
        connection.execute(sa.update(CaseAnswer).values(moved=np.array(FAULTY, "<f4").tobytes()))
    run(plant, AT + HOUR)
    with plant.read() as connection:
        against = influence(connection, "other", weights=WEIGHTS, as_of=AT + HOUR)
    assert [(row["case_id"], row["without"], row["figure"], row["moves"]) for row in against] == [
        ("alarm", FAULT, 0.5, -0.2),
        ("twin", FAULT, 0.5, -0.2),
    ], "it takes away what the other added, and no more from an alarm"
