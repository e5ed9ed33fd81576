"""What to ask next, and how many windows of a unit a training set takes: pure functions, and a real queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.base.errors import PrerequisiteMissing
from pipeline.base.ids import axis_id
from pipeline.base.settings import Settings
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, AxisMute, AxisState, Case
from pipeline.training.training_set import even_choice
from pipeline.watch.ask import ask, choose_diverse, choose_random

AT = datetime(2026, 1, 8, tzinfo=UTC)


def units(n: int) -> np.ndarray:
    return np.array([f"u{index}" for index in range(n)])


# ---------------------------------------------------------------------------------------------------------- choice


def test_the_first_is_the_most_informative_and_the_next_no_copy_of_it() -> None:
    """Cases 0 and 1 are copies with the highest information; 2 is far from both and tells a little less."""
    information = np.array([1.0, 0.99, 0.9, 0.1])
    places = np.array([[0.0, 0.0], [0.01, 0.0], [5.0, 5.0], [-5.0, 0.0]])
    assert choose_diverse(information, places, units(4), most=2) == [0, 2]
    assert sorted(choose_diverse(information, places, units(4), most=9)) == [0, 1, 2, 3]


def test_one_case_of_a_unit_while_others_have_none() -> None:
    information = np.array([1.0, 0.9, 0.8, 0.01])
    places = np.array([[0.0], [9.0], [-9.0], [0.1]])
    found = choose_diverse(information, places, np.array(["a", "a", "a", "b"]), most=3)
    assert found[:2] == [0, 3]


def test_what_is_not_finite_never_looks_certain() -> None:
    assert choose_diverse(np.array([0.1, np.nan, 0.5]), np.zeros((3, 1)), units(3), most=1) == [1]
    with pytest.raises(ValueError, match="finite mutual information"):
        choose_diverse(np.array([np.nan]), np.zeros((1, 1)), units(1), most=1)


def test_features_count_alike_and_missing_ones_do_not_count() -> None:
    """The second feature is a thousand times larger and says nothing; the third is missing everywhere."""
    rng = np.random.default_rng(1)
    places = np.column_stack([[0.0, 0.1, 8.0, 0.2, 0.15], 1000 * rng.normal(size=5), np.full(5, np.nan)])
    small = places * [1.0, 1e-3, 1.0]
    information = np.ones(5)
    assert choose_diverse(information, places, units(5), most=3) == choose_diverse(information, small, units(5), most=3)
    assert choose_diverse(information, np.full((5, 1), np.nan), units(5), most=5)
    assert choose_diverse(np.empty(0), np.empty((0, 2)), units(0), most=3) == []


def test_diverse_batches_reach_more_clusters_than_the_top_of_the_list() -> None:
    """Four clusters, one of them more informative than the others: the top five are all of it."""
    hits = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cluster = np.repeat(np.arange(4), 10)
        places = 10 * np.eye(4)[cluster] + 0.3 * rng.normal(size=(40, 4))
        information = 0.2 + 0.2 * (cluster == 0) + 0.01 * rng.random(40)
        assert len(set(cluster[np.argsort(-information)[:5]])) == 1
        hits.append(len(set(cluster[choose_diverse(information, places, units(40), most=5)])))
    assert min(hits) == 4


def test_the_choice_by_lot_is_seeded_and_even() -> None:
    assert choose_random(50, most=5, seed=3) == choose_random(50, most=5, seed=3)
    assert len(set(choose_random(50, most=50, seed=3))) == 50
    drawn = Counter(index for seed in range(2000) for index in choose_random(5, most=2, seed=seed))
    assert all(abs(count - 800) < 100 for count in drawn.values())


# ---------------------------------------------------------------------------------------------------------- windows


def test_few_windows_are_all_taken() -> None:
    assert even_choice(np.array(["a", "b", "a"]), most=3).all()
    assert even_choice(np.array(["a"] * 9), most=0).all()


def test_windows_are_taken_evenly_over_time() -> None:
    chosen = np.flatnonzero(even_choice(np.array(["a"] * 100), most=10))
    assert chosen.tolist() == list(range(0, 100, 10))


def test_a_short_fault_is_not_squeezed_out() -> None:
    """200 healthy windows and then 30 with a fault: half of 40 each; with 25, 12 and 13."""
    target = np.array(["healthy"] * 200 + ["ball"] * 30)
    assert Counter(target[even_choice(target, most=40)]) == {"healthy": 20, "ball": 20}
    assert Counter(target[even_choice(target, most=100)]) == {"healthy": 70, "ball": 30}
    assert even_choice(target, most=25).sum() == 25
    assert (even_choice(target, most=25) == even_choice(target, most=25)).all()


# --------------------------------------------------------------------------------------------------------- the queue


@pytest.fixture
def queue(store: Store) -> Store:
    """Six axes with an open case each, more informative from one to the next; one muted, one about data."""
    axes, cases, states = [], [], []
    for index in range(6):
        place = {"site": "p", "cell": "c", "robot_id": f"R{index}", "axis": "A1"}
        key = axis_id(*place.values())
        axes.append({"axis_id": key, "known_at": AT, **place})
        times = {"first_at": AT, "last_at": AT + timedelta(hours=1)}
        cases.append(
            {
                "case_id": f"case{index}",
                "axis_id": key,
                "family": "data" if index == 5 else "machine",
                "state": "open",
                "n_bins": 2,
                "priority": 0.5,
                "reasons": [{"code": "unseen"}],
                "known_at": AT,
                "changed_at": AT,
                **times,
            }
        )
        for hour, value in ((0, 0.1 * index), (1, 0.1 * index + 0.02)):
            at = AT + timedelta(hours=hour)
            states.append(
                {
                    "axis_id": key,
                    "bin_at": at,
                    "state": "unknown",
                    "first_at": at,
                    "last_at": at,
                    "n_windows": 1,
                    "mutual_information": value,
                    "quality": "ok",
                    "flags": [],
                    "model_versions": [],
                    "known_at": at,
                }
            )
    with store.write() as connection:
        connection.execute(sa.insert(Axis), axes)
        connection.execute(sa.insert(Case), cases)
        connection.execute(sa.insert(AxisState), states)
        mute = {
            "axis_id": cases[4]["axis_id"],
            "known_at": AT,
            "until_at": AT + timedelta(days=9),
            "reason": "",
            "who": "",
        }
        connection.execute(sa.insert(AxisMute), mute)
    return store


def asked(queue: Store, lake: Lake, settings: Settings, method: str, n: int = 9) -> list[dict[str, Any]]:
    return ask(queue, lake, settings, n=n, method=method, seed=1, as_of=AT + timedelta(days=1))


def test_ask_names_open_machine_cases_and_changes_nothing(
    queue: Store, lake: Lake, make_settings: Callable[..., Settings], dump: Callable[[Store], Any]
) -> None:
    before = dump(queue)
    found = asked(queue, lake, make_settings(), "bald")
    assert found[0]["case_id"] == "case3", "case4 is muted, case5 is about data"
    assert found[0]["mutual_information"] == pytest.approx(0.31), "the mean over its bins"
    assert [row["rank"] for row in found] == [1, 2, 3, 4]
    assert {row["case_id"] for row in found} == {"case0", "case1", "case2", "case3"}
    assert found == asked(queue, lake, make_settings(), "bald")
    by_lot = asked(queue, lake, make_settings(), "random", n=2)
    assert by_lot == asked(queue, lake, make_settings(), "random", n=2)
    assert {row["reason"] for row in by_lot} == {"drawn at random"}
    assert dump(queue) == before


def test_ask_without_mutual_information_says_so(
    queue: Store, lake: Lake, make_settings: Callable[..., Settings]
) -> None:
    with queue.write() as connection:
        connection.execute(sa.update(AxisState).values(mutual_information=None))
    with pytest.raises(PrerequisiteMissing, match="--method random"):
        asked(queue, lake, make_settings(), "bald")
    assert len(asked(queue, lake, make_settings(), "random")) == 4


def test_an_empty_queue_is_no_error(store: Store, lake: Lake, make_settings: Callable[..., Settings]) -> None:
    assert asked(store, lake, make_settings(), "bald") == []


def test_the_commands_run(cli: Any, tmp_path: Path) -> None:
    assert cli("ask", "--json").json() == []
    assert cli("watch", "--json").json() == []
    assert cli("watch", "--history", "3", "--json").json() == []
    assert "nothing to watch" in cli("watch").out
    wrong = cli("ask", "--method", "guess")
    assert wrong.code == 2
