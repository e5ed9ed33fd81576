"""What leaves the desk: a case on paper, the summary of a shift, the wall, views that are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa
from playwright.sync_api import Page

from pipeline.accounts import make_token
from pipeline.assets.stops import plan_stop
from pipeline.cases.history import add_event
from pipeline.cases.verdicts import give_verdict
from pipeline.cases.work import comment, undo
from pipeline.store.database import Store
from pipeline.store.tables import Axis, AxisState, Case

AT = datetime(2026, 3, 1, tzinfo=UTC)
FINDING = {"verdict": "fault", "evidence": "teardown", "mode": "outer_race", "note": "a long note " * 40}


def speak(page: Page, language: str, address: str) -> None:
    page.context.add_cookies([{"name": "axiswatch_language", "value": language, "url": address}])


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_case_is_one_page_of_paper(enter: Callable[..., Page], plant: tuple[Store, str], language: str) -> None:
    """With a long history, from a dark screen: A4, no forms, the plots drawn anew on white."""
    store, address = plant
    for number in range(20):
        comment(store, "case0", f"{number}: " + "what was seen on the machine. " * 30, who="mara", at=AT)
    give_verdict(store, "case0", FINDING, who="mara", at=AT, period_hours=1.0)
    page = enter()
    page.emulate_media(color_scheme="dark")
    speak(page, language, address)
    page.goto(f"{address}/cases/case0")
    page.wait_for_selector("[data-complete=yes]")
    paper = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1
    (box,) = set(re.findall(rb"/MediaBox\s*\[([\d. ]+)\]", paper))
    assert [round(float(number)) for number in box.split()] == [0, 0, 595, 842], "A4 in points"
    page.emulate_media(media="print", color_scheme="dark")
    widths = page.evaluate(
        "dispatchEvent(new Event('beforeprint')), [...document.querySelectorAll('.plot canvas')].map(one => one.width)"
    )
    assert set(widths) == {1050}, "three points for each of 350 px, also where a plot was not on the screen yet"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for name in ("header", "form", "button", "#plot-doubt"):
        assert page.locator(name).locator("visible=true").count() == 0, name
    assert page.locator("#history li").locator("visible=true").count() == 4
    assert page.locator("#plot-moved tbody tr").locator("visible=true").count() > 1


@pytest.fixture
def program(plant: tuple[Store, str]) -> httpx.Client:
    """A program with the token of a reviewer."""
    store, address = plant
    token = make_token(store, "mara", purpose="test", at=AT, days=1)
    return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"})


def open_at(store: Store, case_id: str, at: datetime) -> None:
    with store.write() as connection:
        add_event(connection, case_id, "axiswatch", "opened", {"priority": 0.5}, at)


def test_a_shift_is_told_what_came_what_was_answered_and_what_waits(
    program: httpx.Client, plant: tuple[Store, str]
) -> None:
    """Of its own time only, to the second; a withdrawn finding is no answer."""
    store, _ = plant
    for case, hours in (("case0", 8), ("case1", 7.99), ("case2", 2)):
        open_at(store, case, AT - timedelta(hours=hours))
    finding = {"verdict": "fault", "evidence": "teardown", "mode": "outer_race", "note": "changed it"}
    give_verdict(store, "case2", finding, who="jun", at=AT - timedelta(hours=1), period_hours=1.0)
    give_verdict(store, "case1", finding, who="mara", at=AT - timedelta(hours=10), period_hours=1.0)
    told = program.get("/api/v1/shift").json()
    assert [row["case_id"] for row in told["came"]] == ["case2", "case1"]
    assert [(row["case_id"], row["who"], row["found_mode"]) for row in told["answered"]] == [
        ("case2", "jun", "outer_race")
    ]
    assert [row["case_id"] for row in told["waits"]] == ["case0"]
    assert told["counts"] == {"came": 2, "answered": 1, "waits": 1}
    assert program.get("/api/v1/shift", params={"hours": 12}).json()["counts"]["answered"] == 2
    since = {"since": (AT - timedelta(hours=1.5)).isoformat()}
    assert program.get("/api/v1/shift", params=since).json()["counts"] == {"came": 0, "answered": 1, "waits": 1}
    page = program.get("/shift", headers={"Accept-Language": "ko"}).text
    assert "jun: 고장, 외륜" in page
    assert "changed it" in page
    undo(store, "case2", who="jun", at=AT)
    assert program.get("/api/v1/shift").json()["counts"] == {"came": 2, "answered": 0, "waits": 2}


@pytest.mark.parametrize("since", ["2026-03-01T00:00:01Z", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:00"])
def test_a_shift_lies_in_the_last_month(program: httpx.Client, since: str) -> None:
    assert program.get("/api/v1/shift", params={"since": since}).status_code == 409
    page = program.get("/shift", params={"since": since})
    assert page.status_code == 409
    assert "at most 31 days back" in page.text or "no time" in page.text
    assert program.get("/api/v1/shift", params={"since": "2026-02-28T20:00:00"}).status_code == 422, "whose time?"


def test_the_start_of_a_shift_is_typed_in_the_viewers_zone(
    enter: Callable[..., Page], plant: tuple[Store, str]
) -> None:
    store, address = plant
    open_at(store, "case0", AT - timedelta(hours=20))
    page = enter(zone="Asia/Seoul")
    page.goto(f"{address}/shift")
    assert page.inner_text("#came .count") == "0"
    page.fill("[name=since]", "2026-02-28T12:59")  # 03:59 UTC
    page.click("text=Show")
    page.wait_for_selector("#came .count:has-text('1')")
    page.fill("[name=since]", "2026-02-28T13:01")
    page.click("text=Show")
    page.wait_for_selector("#came .count:has-text('0')")


def test_the_wall_tells_each_cell_by_colour_word_and_shape(program: httpx.Client, plant: tuple[Store, str]) -> None:
    """Its worst state first; old data are said in words; the case that waits longest is named."""
    store, _ = plant
    with store.write() as connection:
        axes = connection.scalars(sa.select(Axis.axis_id).order_by(Axis.robot_id)).all()
        connection.execute(sa.update(AxisState).values(last_at=AT - timedelta(hours=1), state="healthy"))
        for axis, state in ((axes[0], "silent"), (axes[1], "alarm")):
            connection.execute(sa.update(AxisState).where(AxisState.axis_id == axis).values(state=state))
        connection.execute(sa.update(Case).where(Case.case_id == "case2").values(first_at=AT - timedelta(days=90)))
    text = program.get("/wall").text
    assert 'class="tile alarm"' in text
    assert re.findall(r"<li><b>(.*?)</b>", text) == ["▲ alarm 1", "◌ silent 1", "● healthy 1"]
    assert re.search(r'class="oldest">⚑ open cases: 3.*?/cases/case2"', text)
    assert 'id="old"' not in text
    with store.write() as connection:
        connection.execute(sa.update(AxisState).values(last_at=AT - timedelta(days=9)))
    assert "OLD DATA" in program.get("/wall").text


def test_the_wall_names_planned_stops(program: httpx.Client, plant: tuple[Store, str]) -> None:
    ends = [AT + timedelta(hours=2), AT + timedelta(days=1)]
    for robot, end in zip(("R01", "R02"), ends, strict=True):
        place = {"robot_id": robot}
        plan_stop(plant[0], place, from_at=AT, until_at=end, reason="a new gripper", who="mara", as_of=AT)
    told = re.findall(r'<li class="stop">(.*?)</li>', program.get("/wall").text)
    assert [re.sub(r"<.*?>", "", line) for line in told] == [
        "■ planned stop until 2026-03-01T02:00:00Z: R01/A1",
        "■ planned stop until 2026-03-02T00:00:00Z: R02/A1",
    ]
    korean = program.get("/wall", headers={"Accept-Language": "ko"}).text
    assert "2026-03-01T02:00:00Z까지 계획 정지" in re.sub(r"<.*?>", "", korean)


def test_the_wall_refreshes_itself_and_says_when_it_cannot(
    enter: Callable[..., Page], plant: tuple[Store, str]
) -> None:
    store, address = plant
    page = enter()
    page.clock.install()
    page.goto(f"{address}/wall")
    assert "open cases: 3" in page.inner_text(".oldest")
    give_verdict(store, "case0", {"verdict": "healthy", "evidence": "inspected"}, who="jun", at=AT, period_hours=1.0)
    page.clock.run_for(21_000)
    page.wait_for_selector(".oldest:has-text('open cases: 2')")
    assert page.inner_text("#lost") == ""
    page.context.set_offline(True)
    page.wait_for_selector("#lost:has-text('CONNECTION LOST')")
    assert page.locator("#wall.stale").count() == 1
    page.context.set_offline(False)
    page.clock.run_for(21_000)
    page.wait_for_selector("#wall:not(.stale)")
    page.context.clear_cookies()
    page.clock.run_for(21_000)
    page.wait_for_selector("#lost:has-text('LOG-IN ENDED')")
    page.route("**/wall", lambda route: route.fulfill(status=503))
    page.clock.run_for(21_000)
    page.wait_for_selector("#lost:has-text('CONNECTION LOST')")


def test_each_choice_of_a_filter_tells_how_many_cases_it_shows(program: httpx.Client, plant: tuple[Store, str]) -> None:
    """The number beside a choice is that of the queue with this choice and the other filters as they are."""
    store, _ = plant
    ways = [["fault", "data"], ["fault"], ["silent"]]
    with store.write() as connection:
        for number, codes in enumerate(ways):
            values = {"reasons": [{"code": code} for code in codes], "state": "closed" if number == 2 else "open"}
            connection.execute(sa.update(Case).where(Case.case_id == f"case{number}").values(**values))
        axis = sa.select(Case.axis_id).where(Case.case_id == "case1").scalar_subquery()
        connection.execute(sa.update(Axis).where(Axis.axis_id == axis).values(cell="c2"))
    names = {"reason": "reason", "site": "site", "cell": "cell", "robot_id": "robot"}
    for given in ({}, {"reason": "fault"}, {"state": "all", "cell": "c1"}, {"reason": "data", "cell": "c2"}):
        counted = program.get("/api/v1/counts", params=given).json()
        assert set(counted["cell"]) >= {"", "c1"}
        for name, choices in counted.items():
            for choice, number in choices.items():
                asked = given | {names[name]: choice}
                assert number == len(program.get("/api/v1/cases", params=asked).json()["cases"]), (given, name, choice)


def test_counts_stand_beside_the_choices_and_a_view_is_kept(
    enter: Callable[..., Page], plant: tuple[Store, str]
) -> None:
    store, address = plant
    page = enter()
    page.wait_for_selector("[name=robot] option:has-text('R01 (1)')", state="attached")
    page.select_option("[name=robot]", "R01")
    page.click("#filters button.main")
    page.wait_for_selector("[name=robot] option:has-text('R01 (1)')", state="attached")
    assert page.locator("tr[data-case]").count() == 1
    name = "my <b>robot</b>"
    page.fill("#views input", name)
    page.keyboard.press("Enter")
    page.wait_for_selector("#views a[aria-current=page]")
    assert page.inner_text("#views a") == name
    assert page.locator("#views input").count() == 0, "it is kept already"
    page.goto(address)
    assert page.locator("tr[data-case]").count() == 3
    page.click("#views a")
    page.wait_for_url("**/?robot=R01")
    give_verdict(store, "case1", {"verdict": "healthy", "evidence": "inspected"}, who="jun", at=AT, period_hours=1.0)
    page.click("#views button")
    page.wait_for_selector("#views a", state="detached")
