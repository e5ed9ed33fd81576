"""Answers that are given while the scorer and advise run and a retraining reads labels: none lost, none read half."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError
from pipeline.base.settings import Settings
from pipeline.cases.queue import queue
from pipeline.cases.verdicts import give_verdict
from pipeline.cases.work import claim, comment, snooze, undo
from pipeline.labels.labels import not_withdrawn
from pipeline.promotion.decisions import decide, new_labels
from pipeline.scoring.advise import advise
from pipeline.scoring.score import score_due
from pipeline.store.database import Store
from pipeline.store.tables import Case, Label, LabelWithdrawal, ReviewEvent, Score, Scoring, WebhookEvent
from pipeline.training.train import train_scopes
from pipeline.training.training_set import build_training_set

FAR = datetime(2100, 1, 1, tzinfo=UTC)
ROUNDS = 6
VERDICTS = ("fault", "healthy", "benign_change", "unsure", "sensor_or_data")


class Plant:
    """The small fleet with a champion, everything scored and advised once, so that there are cases."""

    def __init__(self, store: Store, home: Path, extracted_fleet: Any) -> None:
        self.store, self.lake, self.end = store, extracted_fleet.copy_to(store, home), extracted_fleet.end
        self.settings = Settings(
            home=home, workers=1, epochs=2, folds=2, n_samples=20, synthetic_windows=10, debounce_hits=1
        )
        train_scopes(store, self.lake, self.settings, as_of=self.end)
        self.score()
        self.advise()

    def score(self) -> None:
        score_due(self.store, self.lake, self.settings, as_of=self.end)

    def advise(self, **changes: Any) -> None:
        advise(self.store, self.settings.model_copy(update=changes), as_of=self.end)


class Together:
    """Threads that begin at once; what any of them raised fails the test."""

    def __init__(self) -> None:
        self.raised: list[BaseException] = []
        self.threads: list[threading.Thread] = []

    def also(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 (told below)
                self.raised.append(error)

        self.threads.append(threading.Thread(target=guarded))

    def run(self) -> None:
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join(timeout=300)
        assert not any(thread.is_alive() for thread in self.threads), "somebody waits for ever"
        assert self.raised == []


@pytest.fixture
def plant(store: Store, tmp_path: Path, extracted_fleet: Any) -> Plant:
    return Plant(store, tmp_path, extracted_fleet)


def standing(connection: sa.Connection) -> tuple[set[str], set[str]]:
    """Labels on cases that stand; and what the history says of the same: given and not taken back."""
    stored = set(connection.scalars(sa.select(Label.label_id).where(Label.case_id.is_not(None), not_withdrawn())))
    told: set[str] = set()
    query = sa.select(ReviewEvent).order_by(ReviewEvent.case_id, ReviewEvent.sequence)
    for event in connection.execute(query.where(ReviewEvent.action.in_(("verdict", "undone")))):
        if event.action == "verdict":
            told.add(event.details["label_id"])
        else:
            told.discard(event.details["label_id"])
    return stored, told


def test_answers_are_neither_lost_nor_read_half(plant: Plant) -> None:
    store = plant.store
    cases = [row["case_id"] for row in queue(store, as_of=FAR)]
    assert len(cases) >= 6, "the fleet has faults; there must be something to answer"
    imported = len(standing_labels(store))
    stop, clock = threading.Event(), Clock(plant.end + timedelta(days=1))
    given: dict[str, set[str]] = {}
    taken_back: set[str] = set()
    seen: list[int] = []

    def review(who: str) -> None:
        for round_ in range(ROUNDS):
            for place, case_id in enumerate(cases):
                verdict = VERDICTS[(round_ + place) % len(VERDICTS)]
                try:
                    if (round_ + place) % 4 == 0:
                        claim(store, case_id, who=who, at=clock(), minutes=0.001)
                    comment(store, case_id, f"{who} looks", who=who, at=clock())
                    if (round_ + place) % 7 == 3:
                        snooze(store, case_id, who=who, at=clock(), until=None)
                    finding = {"verdict": verdict, "evidence": "inspected", "note": f"{who} {round_}"}
                    label = give_verdict(store, case_id, finding, who=who, at=clock(), period_hours=1)["label_id"]
                    given.setdefault(who, set()).add(label)
                    if (round_ + place) % 3 == 0:
                        taken_back.add(undo(store, case_id, who=who, at=clock())["label_id"])
                except AxiswatchError as error:
                    assert any(word in str(error) for word in ("claimed by", "is closed", "nothing to undo")), error

    with store.read() as connection:
        times = sorted(set(connection.scalars(sa.select(Scoring.started_at))))

    def advise_again() -> None:
        flip = False  # thresholds go up and down, so that cases change under the hands of those who answer
        while not stop.is_set():
            for first in range(0, len(times), 40):
                with store.write() as connection:
                    part = times[first : first + 40]
                    again = sa.update(Scoring).where(Scoring.started_at.in_(part))
                    connection.execute(again.values(advised=False))
                flip = not flip
                plant.advise(review_quantile=90.0 if flip else 99.0, novelty_percentile=95.0 if flip else 99.9)
                if stop.is_set():
                    break

    def score_again() -> None:
        with store.write() as connection:
            connection.execute(sa.delete(Score))
            connection.execute(sa.delete(Scoring))
        plant.score()

    def retrain_reads() -> None:
        while not stop.is_set():
            with store.read() as connection:
                stored, told = standing(connection)
                assert stored == told, "a label without its act, or an act without its label"
                built = build_training_set(connection, plant.lake, plant.settings, "acceleration", as_of=FAR)
                assert built.labels == imported + len(stored), "what it trains on is what stands in this moment"
                closed = set(connection.scalars(sa.select(Case.case_id).where(Case.state == "closed")))
                acts = sa.select(ReviewEvent.case_id).where(ReviewEvent.action == "closed")
                assert closed <= set(connection.scalars(acts)), "closed without the act that closed it"
            seen.append(len(stored))

    together = Together()
    people = Together()
    together.also(advise_again)
    together.also(retrain_reads)
    for who in ("mara", "jun", "viv"):
        people.also(lambda who=who: review(who))
    people.also(score_again)
    for thread in together.threads:
        thread.start()
    people.run()
    stop.set()
    for thread in together.threads:
        thread.join(timeout=300)
    assert together.raised == []
    assert len(set(seen)) > 2, "it has to have read while answers came"

    answers = set().union(*given.values())
    assert len(answers) == sum(len(part) for part in given.values()) > 30
    with store.read() as connection:
        stored, told = standing(connection)
        assert stored == told == answers - taken_back
        assert set(connection.scalars(sa.select(LabelWithdrawal.label_id))) == taken_back
        counted = Counter(connection.scalars(sa.select(ReviewEvent.case_id)))
        for case_id, count in counted.items():
            for table in (ReviewEvent, WebhookEvent):
                numbers = sa.select(table.sequence).where(table.case_id == case_id).order_by(table.sequence)
                assert list(connection.scalars(numbers)) == list(range(1, count + 1)), "no act is missing or twice"
        built = build_training_set(connection, plant.lake, plant.settings, "acceleration", as_of=FAR)
    assert built.labels == imported + len(stored)


def standing_labels(store: Store) -> set[str]:
    with store.read() as connection:
        return set(connection.scalars(sa.select(Label.label_id).where(not_withdrawn())))


class Clock:
    """A clock that every reading moves on, so that no two acts have the same time."""

    def __init__(self, start: datetime) -> None:
        self.start, self.begun, self.lock, self.ticks = start, time.monotonic(), threading.Lock(), 0

    def __call__(self) -> datetime:
        with self.lock:
            self.ticks += 1
            return self.start + timedelta(seconds=time.monotonic() - self.begun, microseconds=self.ticks)


def test_a_retraining_is_asked_for_by_answers_that_stand(
    sqlite_store: Store, tmp_path: Path, extracted_fleet: Any
) -> None:
    plant = Plant(sqlite_store, tmp_path, extracted_fleet)
    store, settings = plant.store, plant.settings
    first, second, third, *_ = [row["case_id"] for row in queue(store, as_of=FAR)]
    start = plant.end + timedelta(days=1)

    def hour(number: float) -> datetime:
        return start + timedelta(hours=number)

    def answer(case_id: str, at: float) -> None:
        give_verdict(
            store, case_id, {"verdict": "fault", "evidence": "inspected"}, who="mara", at=hour(at), period_hours=1
        )

    def new(at: float) -> int:
        return new_labels(store, settings, as_of=hour(at))

    imported = len(standing_labels(store))
    answer(first, 1)
    undo(store, first, who="mara", at=hour(2))
    assert new(1.5) == imported + 1
    assert new(3) == imported, "one that was taken back asks for nothing"
    answer(second, 3)
    decide(store, "acceleration", as_of=hour(4), trigger="by hand", outcome="kept", reason="x", n_labels=imported + 1)
    assert new(4) == 0
    answer(first, 3.9)
    assert new(5) == 1, "it was given before the run's time, and came after the run had read"
    undo(store, second, who="mara", at=hour(6))
    assert new(6) == 1, "one that was trained on and taken back hides no new one"
    answer(third, 7)
    assert new(7) == 2
    undo(store, third, who="mara", at=hour(8))
    assert new(8) == 1
    decided = decide(store, "acceleration", as_of=hour(9), trigger="by hand", outcome="kept", reason="x")
    assert (decided["n_labels"], new(9)) == (imported + 1, 0)
