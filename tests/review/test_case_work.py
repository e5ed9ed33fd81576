"""Claim, verdict, undo, snooze: atomic, kept in the history, refused with a reason."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.accounts import add_user, set_user
from pipeline.base.errors import AxiswatchError
from pipeline.base.ids import utc_text
from pipeline.cases.history import add_event
from pipeline.cases.queue import Filters, queue_page
from pipeline.cases.quiet import mute, muted_axes, unmute, wake_snoozed
from pipeline.cases.verdicts import get_case, give_verdict
from pipeline.cases.work import claim, comment, hand_over, labels_of, release, snooze, undo, wake
from pipeline.labels.labels import known_labels
from pipeline.store.database import Store
from pipeline.store.tables import Axis, AxisMute, Case

AT = datetime(2026, 3, 1, tzinfo=UTC)
FINDING = {"verdict": "fault", "evidence": "inspected"}


@pytest.fixture
def cases(store: Store) -> Store:
    """25 open cases on one axis each, some of equal priority."""
    add_cases(store, 25)
    return store


def add_cases(store: Store, number: int) -> None:
    axes, rows = [], []
    for index in range(number):
        axis = f"axis{index:04d}"
        names = {"site": "plant1", "cell": "c1", "robot_id": f"R{index:02d}", "axis": "A1"}
        blank = {"expected_every_s": None, "criticality": None, "known_at": AT}
        axes.append({"axis_id": axis, **names, **blank})
        reason = {"code": "fault", "text": "Fault probability 0.97.", "first_at": "", "last_at": "", "count": 2}
        rows.append(
            {
                "case_id": f"case{index:04d}",
                "axis_id": axis,
                "family": "machine",
                "state": "open",
                "first_at": AT - timedelta(days=2),
                "last_at": AT - timedelta(days=1),
                "n_bins": 3,
                "priority": 0.5 + index % 5 / 10,
                "reasons": [reason],
                "fault_probability": 0.97,
                "mode": "inner_race",
                "known_at": AT,
                "changed_at": AT,
            }
        )
    with store.write() as connection:
        connection.execute(sa.insert(Axis), axes)
        connection.execute(sa.insert(Case), rows)


def test_of_many_claims_at_once_one_wins(cases: Store) -> None:
    got, refused = [], []
    barrier = threading.Barrier(8)

    def try_it(name: str) -> None:
        barrier.wait()
        try:
            claim(cases, "case0003", who=name, at=AT, minutes=30)
            got.append(name)
        except AxiswatchError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=try_it, args=(f"user{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert len(refused) == 7
    assert all(f"claimed by {got[0]}" in text for text in refused)
    assert [event["who"] for event in get_case(cases, "case0003")["events"]] == got


def test_a_claim_expires_and_holds_others_off_before(cases: Store) -> None:
    claim(cases, "case0000", who="mara", at=AT, minutes=30)
    with pytest.raises(AxiswatchError, match="claimed by mara"):
        give_verdict(cases, "case0000", FINDING, who="jun", at=AT + timedelta(minutes=29), period_hours=1)
    give_verdict(cases, "case0000", FINDING, who="jun", at=AT + timedelta(minutes=30), period_hours=1)
    assert get_case(cases, "case0000")["closed_by"] == "jun"


def test_undo_takes_the_label_back_and_keeps_the_history(cases: Store) -> None:
    give_verdict(cases, "case0000", FINDING, who="mara", at=AT, period_hours=1, seen={"model_versions": ["m1"]})
    with pytest.raises(AxiswatchError, match="nothing to undo"):
        undo(cases, "case0000", who="jun", at=AT)
    later = AT + timedelta(minutes=1)
    undo(cases, "case0000", who="mara", at=later)
    told = get_case(cases, "case0000")
    assert (told["state"], [e["action"] for e in told["events"]]) == ("open", ["verdict", "closed", "undone"])
    assert told["events"][0]["details"]["seen"] == {"model_versions": ["m1"]}
    with cases.read() as connection:
        assert len(known_labels(connection, known_by=AT)) == 1, "what was known then stays known"
        assert known_labels(connection, known_by=later) == []
        assert [row["withdrawn_at"] for row in labels_of(connection, "case0000")] == [later]
    with pytest.raises(AxiswatchError, match="nothing to undo"):
        undo(cases, "case0000", who="mara", at=later)


def test_a_later_finding_is_added(cases: Store) -> None:
    give_verdict(cases, "case0000", FINDING, who="mara", at=AT, period_hours=1)
    torn = {"verdict": "healthy", "evidence": "teardown"}
    give_verdict(cases, "case0000", torn, who="jun", at=AT + timedelta(days=30), period_hours=1)
    with cases.read() as connection:
        assert [row["verdict"] for row in labels_of(connection, "case0000")] == ["fault", "healthy"]


def give(store: Store, who: str, hour: float, case: str = "case0000", **finding: str) -> str:
    at = AT + timedelta(hours=hour)
    label: str = give_verdict(store, case, FINDING | finding, who=who, at=at, period_hours=1)["label_id"]
    return label


def stands(store: Store, case: str = "case0000") -> list[str]:
    with store.read() as connection:
        return [row["label_id"] for row in labels_of(connection, case) if row["withdrawn_at"] is None]


@pytest.mark.parametrize("first_one_goes", [True, False])
def test_undo_takes_back_ones_own_finding_and_leaves_what_settles_the_case(cases: Store, first_one_goes: bool) -> None:
    first = give(cases, "mara", 0)
    torn = give(cases, "jun", 1, verdict="healthy", evidence="teardown")
    who, left, other = ("mara", torn, "jun") if first_one_goes else ("jun", first, "mara")
    told = undo(cases, "case0000", who=who, at=AT + timedelta(hours=2))
    case = get_case(cases, "case0000")
    assert (told["state"], case["state"], case["closed_by"], stands(cases)) == ("closed", "closed", other, [left])
    told = undo(cases, "case0000", who=other, at=AT + timedelta(hours=3))
    case = get_case(cases, "case0000")
    assert (told["state"], case["state"], case["closed_at"], stands(cases)) == ("open", "open", None, [])


def test_undo_opens_a_case_that_only_a_finding_before_its_reopening_had_closed(cases: Store) -> None:
    give(cases, "jun", 0)
    with cases.write() as connection:
        connection.execute(sa.update(Case).where(Case.case_id == "case0000").values(state="open"))
        add_event(connection, "case0000", "axiswatch", "reopened", {}, AT)
    give(cases, "mara", 1, verdict="healthy")
    assert undo(cases, "case0000", who="mara", at=AT + timedelta(hours=2))["state"] == "open"


def test_undo_does_not_reopen_what_a_step_closed_and_wakes_nothing(cases: Store) -> None:
    give(cases, "mara", 0, verdict="unsure")
    with cases.write() as connection:
        connection.execute(sa.update(Case).where(Case.case_id == "case0000").values(state="closed", closed_at=AT))
        add_event(connection, "case0000", "axiswatch", "closed", {"why": "recordings arrive again"}, AT)
    assert undo(cases, "case0000", who="mara", at=AT + timedelta(hours=2))["state"] == "closed"
    give(cases, "mara", 0, "case0001", verdict="unsure")
    snooze(cases, "case0001", who="mara", at=AT, until=None)
    assert undo(cases, "case0001", who="mara", at=AT + timedelta(hours=2))["state"] == "snoozed"


def test_undo_pressed_twice_takes_back_one_finding(cases: Store) -> None:
    first, second = give(cases, "mara", 0), give(cases, "mara", 1, mode="ball")
    undo(cases, "case0000", who="mara", at=AT + timedelta(hours=2), label_id=second)
    with pytest.raises(AxiswatchError, match="nothing to undo"):
        undo(cases, "case0000", who="mara", at=AT + timedelta(hours=3), label_id=second)
    assert stands(cases) == [first]


def test_the_same_finding_given_twice_is_stored_once(cases: Store) -> None:
    first = give(cases, "mara", 0)
    assert give(cases, "mara", 1) == first
    later = give(cases, "jun", 2)
    assert give(cases, "mara", 3) not in (first, later), "somebody else has said something since"
    assert len(get_case(cases, "case0000")["events"]) == 6
    undo(cases, "case0000", who="mara", at=AT + timedelta(hours=4))
    give(cases, "mara", 5)
    assert len(stands(cases)) == 3, "what was taken back can be said again"


@pytest.mark.parametrize("who", [("mara",) * 6, ("mara", "jun") * 3])
def test_of_the_same_page_sent_many_times_at_once_one_is_stored(cases: Store, who: tuple[str, ...]) -> None:
    """A person's second press is done and stores nothing; another person's page has become old."""
    barrier, done, refused = threading.Barrier(len(who)), list[str](), list[str]()

    def press(name: str, number: int) -> None:
        barrier.wait()
        at = AT + timedelta(seconds=number)
        shown = {"case0000": 0, "case0001": 0}
        finding = FINDING | {"note": f"by {name}"}
        act = {"who": name, "at": at, "period_hours": 1.0, "shown": shown}
        try:
            give_verdict(cases, "case0000", finding, also=["case0001"], **act)
            done.append(name)
        except AxiswatchError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=press, args=(name, number)) for number, name in enumerate(who)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(done)) == 1
    assert len(done) == who.count(done[0])
    assert all("has changed since the page was made" in text for text in refused)
    for case in ("case0000", "case0001"):
        assert len(stands(cases, case)) == 1
        assert [event["action"] for event in get_case(cases, case)["events"]] == ["verdict", "closed"]


def test_two_people_with_each_others_look_alikes_wait_for_nobody_for_ever(cases: Store) -> None:
    barrier, ended = threading.Barrier(4), list[str]()

    def press(name: str, order: list[str]) -> None:
        for number in range(5):
            barrier.wait()
            at = AT + timedelta(minutes=number)
            finding = FINDING | {"note": f"{name} {number}", "verdict": "unsure"}
            give_verdict(cases, order[0], finding, also=order[1:], who=name, at=at, period_hours=1)
            ended.append(name)

    names = [f"case{number:04d}" for number in range(6)]
    threads = [
        threading.Thread(target=press, args=(f"user{number}", names if number % 2 else names[::-1]))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(ended) == 20
    assert [len(stands(cases, name)) for name in names] == [20] * 6


def test_a_case_and_its_look_alikes_are_one_act(cases: Store) -> None:
    """All or nothing; the words are the same, the time is each case's own."""
    claim(cases, "case0002", who="jun", at=AT, minutes=30)
    part = {"from_at": utc_text(AT - timedelta(days=2)), "to_at": utc_text(AT - timedelta(days=1, hours=12))}
    finding = FINDING | {"mode": "ball", "severity": "plan", "note": "one look"} | part
    act: dict[str, Any] = {"who": "mara", "at": AT, "period_hours": 1}
    with pytest.raises(AxiswatchError, match="claimed by jun"):
        give_verdict(cases, "case0000", finding, also=["case0001", "case0002"], **act)
    assert [stands(cases, f"case000{number}") for number in range(3)] == [[], [], []]
    told = give_verdict(cases, "case0000", finding, also=["case0001", "case0000"], **act)
    assert [one["case_id"] for one in told["also"]] == ["case0001"]
    with cases.read() as connection:
        (own,), (other,) = (labels_of(connection, f"case000{number}") for number in range(2))
    names = ("verdict", "evidence", "mode", "severity", "note", "who")
    assert [own[name] for name in names] == [other[name] for name in names]
    assert own["to_at"] == AT - timedelta(days=1, hours=12)
    assert other["to_at"] > AT - timedelta(days=1)
    give_verdict(cases, "case0003", FINDING, who="jun", at=AT, period_hours=1)
    with pytest.raises(AxiswatchError, match="case0003 is closed"):
        give_verdict(cases, "case0004", finding, also=["case0003"], **act)


@pytest.mark.parametrize("figure", [0.99, 0.95, 0.05, 0.0])
@pytest.mark.parametrize("verdict", ["healthy", "fault", "benign_change"])
def test_an_extreme_figure_needs_a_confirmation_once(cases: Store, figure: float, verdict: str) -> None:
    with cases.write() as connection:
        connection.execute(sa.update(Case).values(fault_probability=figure))
    light = {"verdict": verdict, "evidence": "signal_only"}
    act: dict[str, Any] = {"who": "mara", "at": AT, "period_hours": 1}
    with pytest.raises(AxiswatchError, match="signal alone"):
        give_verdict(cases, "case0000", light, sure=False, **act)
    with pytest.raises(AxiswatchError, match="signal alone"):
        give_verdict(cases, "case0000", light | {"evidence": "signal_only"}, also=["case0001"], sure=False, **act)
    give_verdict(cases, "case0000", light, sure=True, **act)
    give_verdict(cases, "case0001", light | {"evidence": "inspected"}, sure=False, **act)
    give_verdict(cases, "case0002", light | {"verdict": "unsure"}, sure=False, **act)


def test_the_same_comment_sent_twice_is_stored_once(cases: Store) -> None:
    for text in ("loud", "loud", "louder", "loud"):
        comment(cases, "case0000", text, who="mara", at=AT)
    comment(cases, "case0000", "loud", who="jun", at=AT)
    told = [(event["who"], event["details"]["text"]) for event in get_case(cases, "case0000")["events"]]
    assert told == [("mara", "loud"), ("mara", "louder"), ("mara", "loud"), ("jun", "loud")]


def test_snooze_ends_at_its_date_or_when_it_gets_worse(cases: Store) -> None:
    snooze(cases, "case0000", who="mara", at=AT, until=AT + timedelta(days=1))
    snooze(cases, "case0001", who="mara", at=AT, until=None)
    assert wake_snoozed(cases, as_of=AT + timedelta(hours=23), margin=0.1) == 0
    assert wake_snoozed(cases, as_of=AT + timedelta(days=1), margin=0.1) == 1
    assert (get_case(cases, "case0000")["state"], get_case(cases, "case0001")["state"]) == ("open", "snoozed")
    for priority, woken in ((0.69, 0), (0.75, 1)):  # it was 0.6, and has to rise by more than the margin
        with cases.write() as connection:
            connection.execute(sa.update(Case).where(Case.case_id == "case0001").values(priority=priority))
        assert wake_snoozed(cases, as_of=AT + timedelta(days=2), margin=0.1) == woken
    assert get_case(cases, "case0001")["events"][-1]["details"] == {"why": "it got worse"}


def test_a_snooze_is_ended_by_hand(cases: Store) -> None:
    """By its date or until it gets worse; the priority it had is forgotten, nobody else's claim is passed over."""
    for case, until in (("case0000", AT + timedelta(days=90)), ("case0001", None)):
        snooze(cases, case, who="mara", at=AT, until=until)
        claim(cases, case, who="jun", at=AT, minutes=30)
        with pytest.raises(AxiswatchError, match="claimed by jun"):
            wake(cases, case, who="mara", at=AT)
        wake(cases, case, who="jun", at=AT + timedelta(hours=1))
        told = get_case(cases, case)
        assert (told["state"], told["snoozed_until"]) == ("open", None)
        assert [(event["who"], event["action"]) for event in told["events"]][-1] == ("jun", "woken")
        with pytest.raises(AxiswatchError, match="not snoozed"):
            wake(cases, case, who="jun", at=AT + timedelta(hours=1))
    assert wake_snoozed(cases, as_of=AT + timedelta(days=99), margin=0.1) == 0


def test_nothing_sleeps_for_ever(cases: Store) -> None:
    day = timedelta(days=1)
    for until in (AT + 90 * day + timedelta(seconds=1), datetime(9999, 12, 31, tzinfo=UTC)):
        with pytest.raises(AxiswatchError, match="within 90 days"):
            snooze(cases, "case0000", who="mara", at=AT, until=until)
    for until in (AT + 366 * day + timedelta(seconds=1), datetime(9999, 12, 31, tzinfo=UTC)):
        with pytest.raises(AxiswatchError, match="within 366 days"):
            mute(cases, "axis0000", reason="x", until=until, who="mara", at=AT)
    assert get_case(cases, "case0000")["events"] == []
    mute(cases, "axis0000", reason="x", until=AT + 366 * day, who="mara", at=AT)


def test_a_claim_is_released_by_its_owner(cases: Store) -> None:
    claim(cases, "case0000", who="mara", at=AT, minutes=30)
    with pytest.raises(AxiswatchError, match="claimed by mara"):
        release(cases, "case0000", who="jun", at=AT)
    release(cases, "case0000", who="mara", at=AT)
    claim(cases, "case0001", who="mara", at=AT, minutes=30)
    for case, who in (("case0000", "mara"), ("case0001", "mara"), ("case0001", "jun")):
        with pytest.raises(AxiswatchError, match="nobody has claimed"):
            release(cases, case, who=who, at=AT + timedelta(minutes=30))
    claim(cases, "case0000", who="jun", at=AT, minutes=30)
    assert [event["action"] for event in get_case(cases, "case0000")["events"]] == ["claimed", "released", "claimed"]


def test_pages_hold_every_case_once_in_order(cases: Store) -> None:
    seen, after = [], ""
    while True:
        rows, after = queue_page(cases, Filters(), as_of=AT, after=after, limit=7)
        seen += [(-row["priority"], row["case_id"]) for row in rows]
        if not after:
            break
    assert seen == sorted(seen)
    assert len(set(seen)) == 25
    with pytest.raises(AxiswatchError, match="is not a position in the queue"):
        queue_page(cases, Filters(), as_of=AT, after="x~y")


def test_filters_search_and_mute(cases: Store) -> None:
    def found(**wanted: str) -> list[str]:
        return [row["robot_id"] for row in queue_page(cases, Filters(**wanted), as_of=AT)[0]]

    assert found(search="r07") == ["R07"]
    assert found(search="%") == []
    assert (len(found(reason="fault")), found(reason="novel")) == (25, [])
    claim(cases, "case0004", who="mara", at=AT, minutes=30)
    assert (found(mine="mara"), found(mine="jun")) == (["R04"], [])
    mute(cases, "axis0004", reason="gearbox on order", until=AT + timedelta(days=1), who="mara", at=AT)
    assert (found(robot_id="R04"), found(robot_id="R04", state="all")) == ([], ["R04"])


def test_a_later_mute_changes_nothing_about_the_time_before_it(cases: Store) -> None:
    """The queue of an earlier time is what it was then, whatever was muted or unmuted since."""
    hour, axis = timedelta(hours=1), "axis0004"

    def is_muted(after: timedelta) -> bool:
        with cases.read() as connection:
            return connection.scalar(muted_axes(AT + after).where(AxisMute.axis_id == axis)) is not None

    mute(cases, axis, reason="gearbox on order", until=AT + 9 * hour, who="mara", at=AT)
    assert [is_muted(n * hour) for n in (-1, 0, 1, 8, 9)] == [False, True, True, True, False]
    mute(cases, axis, reason="shorter", until=AT + 4 * hour, who="mara", at=AT + 2 * hour)
    assert [is_muted(n * hour) for n in (1, 2, 3, 4, 8)] == [True, True, True, False, False]
    unmute(cases, axis, reason="it came", who="mara", at=AT + 3 * hour)
    assert [is_muted(n * hour) for n in (1, 2, 3)] == [True, True, False]


def test_hand_over_goes_to_reviewers_only(cases: Store) -> None:
    add_user(cases, "jun", "reviewer", "long enough 1", at=AT)
    add_user(cases, "viv", "viewer", "long enough 2", at=AT)
    claim(cases, "case0000", who="mara", at=AT, minutes=30)
    with pytest.raises(AxiswatchError, match="no reviewer 'viv'"):
        hand_over(cases, "case0000", to="viv", who="mara", at=AT, minutes=30)
    set_user(cases, "jun", disabled=True)
    for nobody in ("jun", "none"):
        with pytest.raises(AxiswatchError, match=f"no reviewer '{nobody}'"):
            hand_over(cases, "case0000", to=nobody, who="mara", at=AT, minutes=30)
    set_user(cases, "jun", disabled=False)
    hand_over(cases, "case0000", to="jun", who="mara", at=AT, minutes=30)
    with pytest.raises(AxiswatchError, match="claimed by jun"):
        hand_over(cases, "case0000", to="", who="mara", at=AT, minutes=30)
    with pytest.raises(AxiswatchError, match="comment"):
        comment(cases, "case0000", "  ", who="jun", at=AT)
