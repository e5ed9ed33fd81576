"""A verdict is given by hand and by keyboard, and nothing typed is lost: in a real browser."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn
from playwright.sync_api import Browser, Page

from pipeline.accounts import add_user
from pipeline.base.settings import Settings
from pipeline.cases.audit import audit_case
from pipeline.cases.verdicts import get_case, give_verdict
from pipeline.cases.work import labels_of
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Case, CaseEvidence, UserSession
from review.app import create_app
from review.limits import server_config

AT = datetime(2026, 3, 1, tzinfo=UTC)
FIRST, LAST = AT - timedelta(days=2), AT - timedelta(days=1)
CASES = 40
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


class Clock:
    """The clock of the application: every reading is a second later, so that no two acts have the same time."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[tuple[Store, str]]:
    """40 open cases, all alike, the most urgent first; the application over them, and its address."""
    settings = Settings(home=tmp_path, workers=1, review_secure_cookie=False)
    store = Store.open(settings.database)
    for number in range(CASES):
        add_case(store, number)
    for name in ("mara", "jun"):
        add_user(store, name, "reviewer", "a long password", at=AT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = create_app(store, Lake(settings.lake), settings, clock=Clock())
    server = uvicorn.Server(server_config(app, host="127.0.0.1", port=port))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield store, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
    store.dispose()


def add_case(store: Store, number: int, **changes: Any) -> None:
    axis = {"axis_id": f"axis{number}", "site": "plant1", "cell": "c1", "robot_id": f"R{number:02d}", "axis": "A1"}
    reason = {"code": "fault", "text": "Fault probability 0.60.", "n_bins": 3}
    case = {"case_id": name_of(number), "axis_id": f"axis{number}", "family": "machine", "state": "open", "n_bins": 3}
    case |= {"first_at": FIRST, "last_at": LAST, "priority": 0.9 - number / 100, "reasons": [reason]}
    case |= {"fault_probability": 0.6, "mode": "inner_race", "known_at": AT, "changed_at": AT}
    evidence = dict.fromkeys(("channel", "program", "shaft_speed_rpm", "line", "line_order", "line_db", "recording_id"))
    evidence |= {"case_id": name_of(number), "scope": "acceleration", "feature_version": "v1", "known_at": AT}
    evidence |= {"moved": b"\0\0\0\0" * 4, "case_changed_at": AT}
    with store.write() as connection:
        connection.execute(sa.insert(Axis), axis | {"expected_every_s": None, "criticality": None, "known_at": AT})
        connection.execute(sa.insert(Case), case | changes)
        connection.execute(sa.insert(CaseEvidence), evidence)


def name_of(number: int) -> str:
    return f"case{number:02d}"


@pytest.fixture
def enter(plant: tuple[Store, str], browser: Browser) -> Iterator[Callable[..., Page]]:
    """Log somebody in and go to a case; errors of scripts and broken policies fail the test."""
    wrong: list[str] = []

    def at_the_case(path: str = "/cases/case00", name: str = "mara", width: int = 1440, **more: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, locale="en-GB", **more)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda told: wrong.append(told.text) if "Content Security" in told.text else None)
        page.goto(f"{plant[1]}/login?next={path}")
        page.fill("[name=name]", name)
        page.fill("[name=password]", "a long password")
        page.keyboard.press("Enter")
        page.wait_for_url(plant[1] + path)
        return page

    yield at_the_case
    assert wrong == []


def labels(store: Store, number: int = 0) -> list[dict[str, Any]]:
    with store.read() as connection:
        return [row for row in labels_of(connection, name_of(number)) if row["withdrawn_at"] is None]


def record(page: Page) -> None:
    """Press the key that records, and wait until the page says so."""
    page.keyboard.press("s")
    page.wait_for_selector("#told-form")


def choose(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


VERDICTS = ("healthy", "fault", "sensor_or_data", "benign_change", "unsure")
EVIDENCE = ("signal_only", "inspected", "teardown")
MODES = ("inner_race", "outer_race", "ball", "cage")


def meant(number: int) -> dict[str, str | None]:
    """The finding that is meant for a case of the walk."""
    verdict = VERDICTS[number % 5]
    fault = verdict == "fault"
    return {
        "verdict": verdict,
        "evidence": EVIDENCE[number % 3],
        "mode": MODES[number % 4] if fault else None,
        "severity": "urgent" if fault else None,
        "note": f"seen 1, 2 and s {number}" if number % 4 == 0 else "",
    }


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_a_walk_by_keyboard_ends_with_the_labels_that_were_meant(
    plant: tuple[Store, str], enter: Callable[..., Page], width: int
) -> None:
    store, address = plant
    page = enter("/", width=width)
    page.wait_for_selector("table.queue")
    choose(page, "j", "Enter")
    for number in range(CASES):
        page.wait_for_url(f"{address}/cases/{name_of(number)}")
        finding = meant(number)
        choose(page, str(VERDICTS.index(finding["verdict"]) + 1), "e", str(EVIDENCE.index(finding["evidence"]) + 1))
        if finding["mode"]:
            choose(page, "m", str(MODES.index(finding["mode"]) + 1), "v", "3")
        if finding["note"]:
            page.keyboard.press("n")
            page.keyboard.type(finding["note"])
            choose(page, "Enter", "Escape")
        page.keyboard.press("Enter" if number % 2 else "s")
        page.wait_for_selector("#told-form")
        page.keyboard.press("j")
    page.wait_for_selector(f"#case[data-case={name_of(CASES - 1)}]")
    for number in range(CASES):
        found = [{name: row[name] for name in meant(0)} for row in labels(store, number)]
        assert found == [meant(number)], number


def test_a_key_chooses_and_only_the_last_one_records(plant: tuple[Store, str], enter: Callable[..., Page]) -> None:
    store, page = plant[0], enter()
    assert page.locator("#verdict-form :checked:not(option)").count() == 0, "the default of every choice is empty"
    assert set(page.locator("#verdict-form select").evaluate_all("all => all.map(one => one.value)")) == {""}
    page.keyboard.press("s")
    assert "choose a verdict" in page.inner_text("#verdict-form [role=alert]")
    page.keyboard.press("2")
    assert page.locator("[name=verdict]:checked").get_attribute("value") == "fault"
    page.keyboard.press("Enter")
    assert "rests on" in page.inner_text("#verdict-form [role=alert]")
    choose(page, "e", "2", "m", "0")
    assert page.inner_text(".chosen-words").endswith("fault · inspected on the machine · imbalance")
    choose(page, "1")
    assert page.locator("[name=mode]").is_disabled(), "a mode goes with a fault"
    assert labels(store) == []
    record(page)
    assert [(row["verdict"], row["mode"]) for row in labels(store)] == [("healthy", None)]
    assert "healthy (inspected on the machine) on plant1/c1/R00/A1" in page.inner_text("#told")


@pytest.mark.parametrize("script", [True, False])
def test_enter_in_a_text_field_records_nothing(
    plant: tuple[Store, str], enter: Callable[..., Page], script: bool
) -> None:
    """Neither with the script nor without; and not in the queue with boxes ticked."""
    store, page = plant[0], enter(java_script_enabled=script)
    page.check("[name=verdict][value=healthy]")
    page.select_option("[name=evidence]", "inspected")
    page.focus("[name=note]")
    choose(page, *["Enter"] * 3)
    page.goto(f"{plant[1]}/")
    page.check("[name=case][value=case00]")
    page.select_option("[name=verdict]", "healthy")
    page.select_option("[name=evidence]", "inspected")
    for field in ("[name=note]", "[name=case][value=case00]"):
        page.focus(field)
        choose(page, *["Enter"] * 3)
    page.wait_for_timeout(200)
    assert get_case(store, "case00")["events"] == []


def test_enter_inside_of_a_plot_records_nothing(plant: tuple[Store, str], enter: Callable[..., Page]) -> None:
    store, page = plant[0], enter()
    page.wait_for_selector("[data-complete=yes]")
    choose(page, "2", "e", "2")
    page.focus("#plot-course .plot-body")
    choose(page, "Enter")
    page.wait_for_timeout(200)
    assert get_case(store, "case00")["events"] == []
    record(page)


def test_without_the_script_the_form_works(plant: tuple[Store, str], enter: Callable[..., Page]) -> None:
    store, page = plant[0], enter(java_script_enabled=False)
    page.click("#record")
    page.check("[name=verdict][value=fault]")
    page.click("#record")
    assert get_case(store, "case00")["events"] == [], "the browser asks for what is required"
    page.select_option("[name=evidence]", "teardown")
    page.check("[name=also][value=case01]")
    page.check("[name=onward]")
    page.click("#record")
    page.wait_for_selector("#told-form")
    assert page.url.startswith(f"{plant[1]}/cases/case02"), "the next one that is open"
    assert [row["evidence"] for number in (0, 1) for row in labels(store, number)] == ["teardown"] * 2
    page.click("#take-back")
    page.wait_for_selector("#told:has-text('withdrawn')")
    assert [get_case(store, name_of(number))["state"] for number in (0, 1)] == ["open", "open"]


def test_look_alikes_get_the_verdict_above_and_keys_drop_no_tick(
    plant: tuple[Store, str], enter: Callable[..., Page]
) -> None:
    store, page = plant[0], enter()
    choose(page, "x", "Space", "x", "Space", "2", "e", "3", "m", "2", "1", "2")
    assert page.locator("[name=also]:checked").count() == 2
    give_verdict(store, "case02", {"verdict": "healthy", "evidence": "inspected"}, who="jun", at=AT, period_hours=1)
    page.keyboard.press("s")
    page.wait_for_selector("#verdict-form [role=alert]:has-text('case02')")
    assert labels(store) == labels(store, 1) == [], "all in one transaction, or nothing"
    assert page.locator("[name=also]:checked").count() >= 1, "what was ticked and is open stays ticked"
    page.keyboard.press("s")
    page.wait_for_selector("#told-form")
    found = [(row["verdict"], row["evidence"], row["mode"]) for number in (0, 1) for row in labels(store, number)]
    assert found == [("fault", "teardown", "outer_race")] * 2
    assert [row["who"] for row in labels(store, 2)] == ["jun"]
    assert page.locator("#told a").count() == 2
    page.keyboard.press("u")
    page.wait_for_selector("#told:has-text('withdrawn')")
    assert labels(store) == labels(store, 1) == []


def typed(page: Page) -> None:
    """Choose and type in several fields, and tick a look-alike."""
    choose(page, "2", "e", "2", "m", "3", "v", "1", "x", "Space", "n")
    page.keyboard.type("bearing is loud")
    page.keyboard.press("Escape")
    page.click("summary:has-text('Comment')")
    page.fill("[name=text]", "two\nlines")


def is_all_there(page: Page) -> None:
    assert page.locator("[name=verdict]:checked").get_attribute("value") == "fault"
    names = ("evidence", "mode", "severity", "note", "text")
    found = [page.input_value(f"[name={name}]") for name in names]
    assert found == ["inspected", "ball", "monitor", "bearing is loud", "two\nlines"]
    assert page.locator("[name=also]:checked").count() == 1


def is_stored(store: Store, page: Page) -> None:
    page.wait_for_selector("#told-form")
    for number in (0, 1):
        found = [(row["verdict"], row["mode"], row["severity"], row["note"]) for row in labels(store, number)]
        assert found == [("fault", "ball", "monitor", "bearing is loud")]
    assert page.input_value("[name=text]") == "two\nlines", "another form is not touched"
    assert page.input_value("[name=note]") == ""


def to_form(page: Page) -> None:
    page.focus("#verdict-form")


def test_nothing_is_lost_when_the_session_ends(plant: tuple[Store, str], enter: Callable[..., Page]) -> None:
    store, page = plant[0], enter()
    typed(page)
    with store.write() as connection:
        connection.execute(sa.delete(UserSession))
    to_form(page)
    page.keyboard.press("s")
    page.wait_for_selector("#session[open]")
    page.keyboard.type("a wrong password")
    page.keyboard.press("Enter")
    page.wait_for_selector("#session .wrong:has-text('wrong')")
    page.fill("#session [name=password]", "a long password")
    page.keyboard.press("Enter")
    is_stored(store, page)
    page.click("#comment-form button:text('Record')")
    page.wait_for_selector("#history li[data-action=comment]")
    assert get_case(store, "case00")["events"][-1]["details"]["text"] == "two\nlines"


def test_the_reason_of_a_mute_is_kept_when_the_session_ends(
    plant: tuple[Store, str], enter: Callable[..., Page]
) -> None:
    store, page = plant[0], enter("/axes/axis0")
    page.fill("#mute [name=reason]", "the gearbox is ordered")
    page.fill("#mute [name=until]", "2026-03-09T08:00")
    page.goto(f"{plant[1]}/axes/axis1")
    assert page.input_value("#mute [name=reason]") == "", "of another axis"
    page.goto(f"{plant[1]}/axes/axis0")
    with store.write() as connection:
        connection.execute(sa.delete(UserSession))
    page.focus("#mute [name=reason]")
    page.keyboard.press("Enter")
    page.fill("#session [name=password]", "a long password")
    page.keyboard.press("Enter")
    page.wait_for_selector("#unmute")
    assert "the gearbox is ordered" in page.inner_text("#mutes li")
    assert page.input_value("#mute [name=reason]") == ""


def test_nothing_is_recorded_in_the_name_of_somebody_else(plant: tuple[Store, str], enter: Callable[..., Page]) -> None:
    store, page = plant[0], enter()
    typed(page)
    with store.write() as connection:
        connection.execute(sa.delete(UserSession))
    to_form(page)
    page.keyboard.press("s")
    page.fill("#session [name=name]", "jun")
    page.fill("#session [name=password]", "a long password")
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-user=jun]")
    assert get_case(store, "case00")["events"] == []
    assert page.input_value("[name=note]") == "", "what mara typed is hers"


def test_nothing_is_lost_when_a_write_is_refused(plant: tuple[Store, str], enter: Callable[..., Page]) -> None:
    store, page = plant[0], enter()
    typed(page)
    other = enter(name="jun")
    other.keyboard.press("c")
    other.wait_for_selector("#claimed:has-text('jun')")
    to_form(page)
    page.keyboard.press("s")
    page.wait_for_selector("#verdict-form [role=alert]:has-text('claimed by jun')")
    is_all_there(page)
    page.reload()
    is_all_there(page)
    assert labels(store) == []
    other.click("summary:has-text('Hand over')")
    other.click("#hand-over-form button")
    other.wait_for_selector("#history li[data-action=released]")
    to_form(page)
    page.keyboard.press("s")
    is_stored(store, page)


def test_nothing_is_lost_or_overwritten_in_an_old_tab(plant: tuple[Store, str], enter: Callable[..., Page]) -> None:
    store, page = plant[0], enter()
    typed(page)
    give_verdict(store, "case00", {"verdict": "healthy", "evidence": "teardown"}, who="jun", at=AT, period_hours=1)
    to_form(page)
    page.keyboard.press("s")
    page.wait_for_selector("#verdict-form [role=alert]:has-text('has changed since')")
    assert page.locator("#history li[data-action=verdict]:has-text('jun')").count() == 1, "what is new is shown"
    assert [row["who"] for row in labels(store)] == ["jun"]
    page.wait_for_selector("#verdict-form:focus")
    assert page.input_value("[name=note]") == "bearing is loud"
    page.keyboard.press("s")
    page.wait_for_selector("#told-form")
    assert [(row["who"], row["verdict"]) for row in labels(store)] == [("jun", "healthy"), ("mara", "fault")]


def test_nothing_is_lost_by_going_back(plant: tuple[Store, str], enter: Callable[..., Page]) -> None:
    store, page = plant[0], enter()
    typed(page)
    to_form(page)
    page.keyboard.press("j")
    page.wait_for_url("**/cases/case01")
    assert page.input_value("[name=note]") == "", "it belongs to the other case"
    page.go_back()
    page.wait_for_selector(".earlier")
    is_all_there(page)
    to_form(page)
    page.keyboard.press("s")
    is_stored(store, page)
    page.keyboard.press("j")
    page.wait_for_url("**/cases/case02")
    page.go_back()
    page.wait_for_selector("#verdict-form")
    assert page.locator("[name=verdict]:checked").count() == 0, "what is stored is not offered again"


def test_a_double_press_stores_once(plant: tuple[Store, str], enter: Callable[..., Page]) -> None:
    store, page = plant[0], enter()
    typed(page)
    to_form(page)
    choose(page, "s", "s", "Enter")
    page.locator("#record").evaluate("button => { button.click(); button.click(); }")
    is_stored(store, page)
    page.evaluate("fetch(location.href)")
    assert [event["action"] for event in get_case(store, "case00")["events"]] == ["verdict", "closed"]


@pytest.mark.parametrize("stored", [False, True])
def test_nothing_is_lost_when_the_network_is_cut(
    plant: tuple[Store, str], enter: Callable[..., Page], stored: bool
) -> None:
    """Before the server has it, or when only its answer is lost."""
    store, page = plant[0], enter()
    typed(page)
    if stored:

        def lose_the_answer(route: Any) -> None:
            route.fetch(max_redirects=0)
            route.abort()

        page.route("**/cases/case00/verdict*", lose_the_answer)
    else:
        page.context.set_offline(True)
    to_form(page)
    page.keyboard.press("s")
    page.wait_for_selector("#verdict-form [role=alert]:has-text('did not answer')")
    is_all_there(page)
    assert len(labels(store)) == int(stored)
    page.unroute("**/cases/case00/verdict*")
    page.context.set_offline(False)
    page.keyboard.press("s")
    is_stored(store, page)


def test_after_a_verdict_one_is_where_one_was(plant: tuple[Store, str], enter: Callable[..., Page]) -> None:
    store, page = plant[0], enter()
    page.wait_for_selector("[data-drawn=yes]")
    page.focus("[name=note]")
    choose(page, "Escape")
    page.evaluate("window.scrollTo(0, 400)")
    choose(page, "3", "e", "1")
    top = "document.querySelector('.plots').getBoundingClientRect().top"
    before = page.evaluate(top)
    page.keyboard.press("s")
    page.wait_for_selector("#told-form")
    assert page.evaluate(top) == pytest.approx(before, abs=2), "what one looks at stays where it is"
    assert page.evaluate("document.activeElement.id") == "verdict-form"
    assert page.locator("#take-back").is_visible()
    assert page.evaluate("document.getElementById('take-back').getBoundingClientRect().bottom") < 900, "in reach"
    page.keyboard.press("u")
    page.wait_for_selector("#told:has-text('withdrawn')")
    assert labels(store) == []
    page.check("[name=onward]")
    choose(page, "3", "e", "1", "s")
    page.wait_for_url("**/cases/case01*")
    assert "R00" in page.inner_text("#told")
    assert page.is_checked("[name=onward]"), "a setting of the person"
    page.keyboard.press("u")
    page.wait_for_selector("#told:has-text('withdrawn')")
    assert labels(store) == []


@pytest.mark.parametrize("figure", [0.99, 0.01])
def test_an_extreme_figure_asks_what_the_verdict_rests_on(
    plant: tuple[Store, str], enter: Callable[..., Page], figure: float
) -> None:
    """For the figure and against it; once."""
    store = plant[0]
    with store.write() as connection:
        connection.execute(sa.update(Case).values(fault_probability=figure))
    page = enter()
    for number, verdict in enumerate("12"):
        page.goto(f"{plant[1]}/cases/{name_of(number)}")
        assert not page.locator(".sure").is_visible()
        choose(page, verdict, "e", "1")
        assert page.locator(".sure").is_visible()
        page.keyboard.press("s")
        assert "almost certain" in page.inner_text("#verdict-form [role=alert]")
        assert labels(store, number) == []
        page.keyboard.press("y")
        record(page)
    page.goto(f"{plant[1]}/cases/case02")
    choose(page, "1", "e", "2")
    assert not page.locator(".sure").is_visible(), "somebody was at the machine"
    record(page)
    page.goto(f"{plant[1]}/")
    page.check("[name=case][value=case03]")
    page.select_option("#bulk-verdict", "healthy")
    page.select_option("#bulk-bar [name=evidence]", "signal_only")
    page.click("#bulk")
    page.wait_for_selector("#queue-form [role=alert]:has-text('case03')")
    assert labels(store, 3) == []
    assert page.is_checked("[name=case][value=case03]")
    page.check("#bulk-bar [name=sure]")
    page.click("#bulk")
    page.wait_for_selector("#told-form")
    assert [len(labels(store, number)) for number in range(4)] == [1, 1, 1, 1]


def test_an_audit_shows_no_figure_before_its_verdict(plant: tuple[Store, str], enter: Callable[..., Page]) -> None:
    store = plant[0]
    state = {"axis_id": "axis0", "bin_at": FIRST, "first_at": FIRST, "last_at": LAST, "fault_probability": 0.0123}
    row = audit_case(state, rate=0.1, as_of=AT)
    with store.write() as connection:
        connection.execute(sa.insert(Case), row)
    page = enter(f"/cases/{row['case_id']}")
    page.wait_for_selector("[data-drawn=yes]")
    assert "0.01" not in page.inner_text("body")
    assert "0.0123" not in page.content()
    assert "0.0123" not in page.evaluate(f"fetch('/api/v1/cases/{row['case_id']}/figures').then(one => one.text())")
    choose(page, "1", "e", "1")
    record(page)
    assert "0.01" in page.inner_text(".head")
    assert get_case(store, row["case_id"])["events"][0]["details"]["seen"]["fault_probability"] is None
