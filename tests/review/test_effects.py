"""What a verdict changes, and who disagrees: in the interface for programs, on the pages, in both languages."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipeline.accounts import add_user, make_token
from pipeline.base.ids import utc_text
from pipeline.base.settings import Settings
from pipeline.cases.remembering import remember
from pipeline.cases.verdicts import give_verdict
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Case, CaseMemory, Label, Unit
from review.app import create_app

AT = datetime(2026, 3, 2, tzinfo=UTC)
WEIGHTS = {"signal_only": 0.5, "inspected": 1.0, "teardown": 1.0}
FAULT = {"verdict": "fault", "mode": "outer_race", "evidence": "teardown"}


@pytest.fixture
def app(alike: Store, lake: Lake, tmp_path: Path) -> FastAPI:
    for name in ("mara", "jun"):
        add_user(alike, name, "reviewer", f"password of {name}", at=AT)
    return create_app(alike, lake, Settings(home=tmp_path), clock=lambda: AT)


@pytest.fixture
def asking(app: FastAPI) -> Callable[..., TestClient]:
    """`asking(name, language)`: a program that acts as a user."""

    def ask(name: str, language: str = "en") -> TestClient:
        token = make_token(app.state.store, name, purpose="test", at=AT, days=1)
        headers = {"Authorization": f"Bearer {token}", "accept-language": language}
        return TestClient(app, base_url="https://testserver", headers=headers)

    return ask


def memory_of(store: Store) -> dict[str, float]:
    with store.read() as connection:
        return {row.case_id: row.figure for row in connection.execute(sa.select(CaseMemory))}


def test_a_verdict_says_at_once_what_it_changed_and_an_undo_takes_it_back(
    app: FastAPI, asking: Callable[..., TestClient]
) -> None:
    told = asking("mara").post("/api/v1/cases/asked/verdict", json=FAULT).json()
    effect = told["effect"]
    assert (effect["up"], effect["down"], effect["level_of"]) == (2, 0, "p")
    assert [(one["case_id"], one["figure"], one["without"]) for one in effect["look_alikes"]] == [
        ("alarm", 0.833333, None),
        ("twin", 0.833333, None),
    ]
    assert effect["training"] == [{"scope": "acceleration", "labels": 0}], "no recording of it has features"
    assert memory_of(app.state.store) == {"alarm": 0.833333, "twin": 0.833333}
    rows = asking("jun").get("/api/v1/cases").json()["cases"]
    assert [(row["case_id"], row["memory"]) for row in rows][:2] == [("alarm", 0.833333), ("twin", 0.833333)]
    assert [row["case_id"] for row in asking("jun").get("/api/v1/cases?reason=remembered").json()["cases"]] == [
        "alarm",
        "twin",
    ]
    case = asking("jun").get("/api/v1/cases/twin").json()
    assert (case["memory"], case["rests_on"][0]["case_id"], case["effect"]) == (0.833333, "asked", None)
    undone = asking("mara").post("/api/v1/cases/asked/undo").json()
    assert undone["effect"] is None
    assert memory_of(app.state.store) == {}
    assert remember(app.state.store, weights=WEIGHTS, as_of=AT) == 0, "the run finds nothing else"


def test_a_look_at_the_signal_is_no_confirmed_fault_and_unsure_counts_for_nothing(
    app: FastAPI, asking: Callable[..., TestClient]
) -> None:
    del app
    weak = asking("mara").post("/api/v1/cases/asked/verdict", json=FAULT | {"evidence": "signal_only"}).json()
    assert weak["effect"]["level_of"] is None
    assert weak["effect"]["look_alikes"][0]["figure"] == 0.75
    unsure = {"verdict": "unsure", "evidence": "teardown"}
    told = asking("mara").post("/api/v1/cases/twin/verdict", json=unsure).json()["effect"]
    assert (told["up"], told["down"], told["level_of"]) == (0, 0, None)


def test_two_who_disagree_on_look_alikes_are_shown_to_each_other(
    app: FastAPI, asking: Callable[..., TestClient]
) -> None:
    asking("mara").post("/api/v1/cases/asked/verdict", json=FAULT)
    assert asking("jun").get("/api/v1/cases/alarm").json()["disagreement"] == []
    healthy = {"verdict": "healthy", "evidence": "inspected"}
    told = asking("jun").post("/api/v1/cases/twin/verdict", json=healthy).json()["effect"]["disagreement"]
    assert [(one["who"], one["verdict"], one["mode"], one["case_id"]) for one in told] == [
        ("jun", "healthy", None, "twin"),
        ("mara", "fault", "outer_race", "asked"),
    ]
    for seen in ("asked", "twin", "alarm"):
        found = asking("jun").get(f"/api/v1/cases/{seen}").json()["disagreement"]
        assert {one["who"] for one in found} == {"mara", "jun"}, seen
    assert asking("jun").get("/api/v1/cases/other").json()["disagreement"] == []
    page = asking("jun").get("/cases/alarm").text
    assert 'id="disagreement"' in page
    assert re.search(r"<b>mara</b>: fault outer race.*/cases/asked", page)
    assert re.search(r"<b>jun</b>: healthy.*/cases/twin", page)
    with app.state.store.read() as connection:
        assert set(connection.scalars(sa.select(Case.state))) == {"open", "closed"}


def test_one_person_does_not_disagree_with_himself(app: FastAPI, asking: Callable[..., TestClient]) -> None:
    for case, verdict in (("asked", "fault"), ("twin", "healthy")):
        give_verdict(
            app.state.store, case, {"verdict": verdict, "evidence": "inspected"}, who="mara", at=AT, period_hours=1
        )
    assert asking("mara").get("/api/v1/cases/alarm").json()["disagreement"] == []


@pytest.mark.parametrize(
    ("language", "why", "moved", "level"),
    [
        (
            "en",
            "Looks like case asked on p/c/asked/A1, where a teardown found: outer race",
            "Open look-alikes in the queue: 2 move up, 0 move down.",
            "It counts for the alarm level of site p at its next estimate.",
        ),
        (
            "ko",
            "비슷한 사례: p/c/asked/A1의 asked. 분해 확인 결과: 외륜",
            "비슷한 열린 사례 가운데 2건은 순서가 올라가고 0건은 내려갑니다.",
            "사업장 p의 경보 기준을 다음에 추정할 때 반영됩니다.",
        ),
    ],
)
def test_the_pages_say_it_in_both_languages(
    app: FastAPI, asking: Callable[..., TestClient], language: str, why: str, moved: str, level: str
) -> None:
    del app
    asking("mara").post("/api/v1/cases/asked/verdict", json=FAULT)
    browser = asking("jun", language)
    assert why in browser.get("/").text
    look_alike = browser.get("/cases/twin").text
    assert why in look_alike
    assert 'id="memory"' in look_alike
    answered = browser.get("/cases/asked").text
    assert moved in answered
    assert level in answered
    assert "/cases/twin" in answered


def test_switched_off_nothing_moves(alike: Store, lake: Lake, tmp_path: Path) -> None:
    add_user(alike, "mara", "reviewer", "password of mara", at=AT)
    app = create_app(alike, lake, Settings(home=tmp_path, case_memory=False), clock=lambda: AT)
    token = make_token(alike, "mara", purpose="test", at=AT, days=1)
    browser = TestClient(app, base_url="https://testserver", headers={"Authorization": f"Bearer {token}"})
    effect = browser.post("/api/v1/cases/asked/verdict", json=FAULT).json()["effect"]
    assert (effect["up"], effect["down"], effect["look_alikes"]) == (0, 0, [])
    assert memory_of(alike) == {}


def test_onward_goes_to_the_case_that_was_next(app: FastAPI, asking: Callable[..., TestClient]) -> None:
    """Also where the verdict moves it up, above the place that the answered case had; a look-alike of it is passed."""
    with app.state.store.write() as connection:
        values = {"priority": 0.3, "queue_priority": 0.3}
        connection.execute(sa.update(Case).where(Case.case_id == "other").values(**values))
    asked = asking("mara").get("/cases/asked?reason=novel").text
    assert 'data-following="twin"' in asked
    form = FAULT | {"onward": "1"}
    told = asking("mara").post("/cases/asked/verdict?reason=novel", data=form, follow_redirects=False)
    assert told.headers["location"].startswith("/cases/twin?reason=novel")
    asking("mara").post("/cases/asked/undo", data={})
    told = asking("jun").post("/cases/asked/verdict?reason=novel", data=form | {"also": "twin"}, follow_redirects=False)
    assert told.headers["location"].startswith("/cases/other?reason=novel")


def test_a_finding_is_about_the_unit_that_was_seen(app: FastAPI, asking: Callable[..., TestClient]) -> None:
    """And not about the one that took its place before the case ended, unless the finding is about that time."""
    store = app.state.store
    with store.write() as connection:
        axis, first = connection.execute(sa.select(Case.axis_id, Case.first_at).where(Case.case_id == "asked")).one()
        change, last = first + timedelta(days=1), first + timedelta(days=2)
        connection.execute(sa.update(Case).where(Case.case_id == "asked").values(last_at=last))
        blank = dict.fromkeys(("geometry_version", "geometry_name"))
        for serial, begin, end in (("old", first - timedelta(days=9), change), ("new", change, None)):
            row = {"axis_id": axis, "unit_serial": serial, "installed_at": begin, "removed_at": end, "known_at": first}
            connection.execute(sa.insert(Unit), row | blank | {"characteristics": []})
    case = asking("mara").get("/api/v1/cases/asked").json()
    assert (case["unit_serial"], case["unit_now"]) == ("old", "new")
    assert "old <small>replaced since: new is there now" in asking("mara").get("/cases/asked").text
    later = {"from_at": utc_text(change), "to_at": utc_text(last)}
    for name, finding in (("mara", FAULT), ("jun", FAULT | later)):
        assert asking(name).post("/api/v1/cases/asked/verdict", json=finding).status_code == 200
    with store.read() as connection:
        assert {row.who: row.unit_serial for row in connection.execute(sa.select(Label))} == {
            "mara": "old",
            "jun": "new",
        }
