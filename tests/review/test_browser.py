"""A real browser: log in, claim, look, verdict by keyboard alone, undo, bulk, export, Korean, hostile text, tablet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page

from pipeline.cases.quiet import mute
from pipeline.cases.verdicts import get_case, give_verdict
from pipeline.cases.work import comment, set_work_order
from pipeline.store.database import Store
from pipeline.store.tables import Axis, AxisState, Case

AT = datetime(2026, 3, 1, tzinfo=UTC)
EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>\'"&<b>'
PATHS = ("/", "/shift", "/wall", "/fleet", "/cases/case0", "/axes/{axis}", "/models", "/quarantine", "/calibration")


def acts(store: Store, case_id: str) -> list[str]:
    return [event["action"] for event in get_case(store, case_id)["events"]]


def wait_for_act(page: Page, action: str) -> None:
    page.wait_for_selector(f"#history li[data-action={action}]")


def test_a_case_by_keyboard_alone(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    store, address = plant
    page = enter()
    for key in "jjk":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-drawn=yes]")
    assert page.url == f"{address}/cases/case0"
    assert page.locator(".plot canvas").count() >= 5, "course, doubt and three pictures of the signal"
    assert page.locator(".reason b").count() == 0
    assert "The model has not seen enough of program pick at 1,500 rpm" in page.inner_text(".head")
    page.keyboard.press("c")
    page.wait_for_selector("#claimed:has-text('mara')")
    for key in "2e2s":
        page.keyboard.press(key)
    wait_for_act(page, "closed")
    assert get_case(store, "case0")["state"] == "closed"
    page.keyboard.press("u")
    wait_for_act(page, "undone")
    told = get_case(store, "case0")
    assert acts(store, "case0") == ["claimed", "verdict", "closed", "undone"]
    assert told["events"][1]["details"]["seen"]["fault_probability"] == 0.5
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.wait_for_url("**/cases/case1")
    page.keyboard.press("k")
    page.wait_for_url("**/cases/case0")
    page.keyboard.press("q")
    page.wait_for_selector("tr.here[data-case=case0]")


def test_after_a_verdict_the_next_case_is_a_key_away(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    page = enter()
    page.goto(f"{plant[1]}/cases/case1?search=R0")
    for key in "3e1s":  # about the sensor: it moves no look-alike
        page.keyboard.press(key)
    wait_for_act(page, "closed")
    assert page.url.endswith("/cases/case1?search=R0"), "the queue that one came from is kept"
    assert "later finding" in page.inner_text(".acts")
    page.keyboard.press("j")
    page.wait_for_url("**/cases/case2?search=R0")
    page.keyboard.press("k")
    page.wait_for_url("**/cases/case0?search=R0")


def test_what_is_drawn(
    enter: Callable[..., Page], plant: tuple[Store, str], until: Callable[[Page, str], None]
) -> None:
    """Two channels, the reference over the signal, marks that are chosen, a finer signal when zoomed, lent limits."""
    page = enter()
    page.goto(f"{plant[1]}/cases/case0")
    page.wait_for_selector("[data-drawn=yes]")
    names = "document.getElementById('plot-waveform').chart.shape.series.map(one => one.name)"
    assert page.evaluate(names) == ["healthy recording, same program and speed", "this case"]
    page.click("[data-channel-tab=acc_y]")
    page.wait_for_selector("[data-drawn=yes]")
    assert "acc_y" in page.inner_text("#shown")
    assert page.locator("[data-channel-tab=acc_y]").get_attribute("aria-current") == "page"
    page.wait_for_selector("[data-complete=yes]")
    assert page.locator("#plot-moved tbody tr").count() > 3
    velocity = "document.getElementById('plot-velocity-0').chart.shape"
    assert page.evaluate(f"{velocity}.series[0].y.filter(one => one > 0).length") == 8
    borrowed = ["borrowed limit A/B: 1.4", "borrowed limit B/C: 2.8", "borrowed limit C/D: 4.5"]
    assert page.evaluate(f"{velocity}.levels.map(one => one.name)") == borrowed
    assert "Nothing alarms by them." in page.inner_text("#trends")
    chip = page.locator("#marks-envelope .chip[data-kind=shaft]")
    marks = "document.getElementById('plot-envelope').chart.shape.marks.length"
    before = page.evaluate(marks)
    chip.click()
    until(page, f"{marks} === {before + 3}")
    page.click("#marks-envelope [data-switch=orders]")
    title = "document.getElementById('plot-envelope').chart.shape.x.name"
    until(page, f"{title} === '× shaft speed'")
    points = "document.getElementById('plot-waveform').chart.shape.series[1].x"
    step = page.evaluate(f"{points}[2] - {points}[0]")
    page.evaluate("document.getElementById('plot-waveform').chart.zoom([0.1, 0.12])")
    page.wait_for_selector("#plot-waveform[data-finer]")
    assert page.evaluate(f"{points}[2] - {points}[0]") < step / 2


def test_a_part_of_the_time_is_typed_in_the_viewers_zone(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    store, address = plant
    page = enter(zone="Asia/Seoul")
    page.goto(f"{address}/cases/case0")
    page.wait_for_selector("[data-drawn=yes]")
    assert page.inner_text("dt:has-text('First seen') + dd") == "06/01/2026, 13:00", "04:00 UTC in Seoul"
    page.click("text=Only for part of the time")
    page.fill("[name=from_at]", "2026-01-06T14:00:00")
    page.fill("[name=to_at]", "2026-01-06T15:00:00")
    page.select_option("[name=mode]", "inner_race")
    page.select_option("[name=evidence]", "inspected")
    page.click("[data-key='2']")
    page.click("#record")
    wait_for_act(page, "closed")
    details = get_case(store, "case0")["events"][0]["details"]
    assert (details["from_at"], details["to_at"]) == ("2026-01-06T05:00:00Z", "2026-01-06T06:00:00Z")
    assert details["mode"] == "inner_race"


def test_snooze_until_a_date_or_until_worse(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    store, address = plant
    page = enter(zone="UTC")
    for case, button in (("case0", "Snooze until then"), ("case1", "Snooze until it gets worse")):
        page.goto(f"{address}/cases/{case}")
        page.click("summary:has-text('Snooze')")
        if case == "case0":
            page.fill("#snooze-form [name=until]", "2026-03-05T06:00")
        page.click(f"button:has-text('{button}')")
        wait_for_act(page, "snoozed")
    dates = [get_case(store, case)["snoozed_until"] for case in ("case0", "case1")]
    assert dates == [datetime(2026, 3, 5, 6, tzinfo=UTC), None]
    page.goto(f"{address}/?state=snoozed")
    assert page.locator("tr[data-case]").count() == 2


def test_bulk_take_back_export_and_korean(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    store = plant[0]
    page = enter()
    for key in "jjxjx":
        page.keyboard.press(key)
    page.wait_for_selector("#chosen:has-text('2')")
    page.keyboard.press("b")
    page.keyboard.type("benign")
    page.select_option("#bulk-bar [name=evidence]", "inspected")
    page.click("#bulk")
    page.wait_for_selector("#told:has-text('benign change')")
    assert page.locator("tr[data-case]").count() == 1
    assert {get_case(store, name)["closed_by"] for name in ("case1", "case2")} == {"mara"}
    assert get_case(store, "case1")["events"][0]["details"]["verdict"] == "benign_change"
    with page.expect_download() as download:
        page.click("text=labels.csv")
    assert "benign_change" in Path(download.value.path()).read_text("utf-8")
    page.click("#take-back")
    page.wait_for_selector("#told:has-text('withdrawn')")
    assert page.locator("tr[data-case]").count() == 3
    assert [get_case(store, name)["state"] for name in ("case1", "case2")] == ["open", "open"]
    page.click("text=한국어")
    page.wait_for_selector("text=검토 목록")
    assert page.get_attribute("html", "lang") == "ko"
    assert page.locator("select[name=verdict] option").all_inner_texts()[2] == "고장"
    page.goto(f"{plant[1]}/cases/case0")
    page.wait_for_selector("[data-drawn=yes]")
    assert page.locator("[name=mode] option").all_inner_texts()[1] == "내륜 · 1"
    assert "프로그램 pick, 1,500 rpm" in page.inner_text(".head")


def test_look_alikes_get_the_same_verdict(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    """All three axes got the same tone: one look, one verdict."""
    store, address = plant
    page = enter()
    page.goto(f"{address}/cases/case0")
    assert page.locator("#look-alikes input[name=also]").count() == 2
    page.check("#look-alikes input[value=case1]")
    page.check("[name=verdict][value=fault]")
    page.select_option("[name=mode]", "looseness")
    page.select_option("[name=evidence]", "inspected")
    page.click("#record")
    wait_for_act(page, "closed")
    states = [get_case(store, f"case{number}")["state"] for number in range(3)]
    assert states == ["closed", "closed", "open"]
    page.goto(f"{address}/cases/case2")
    assert page.locator("#similar li").count() == 2
    assert "looseness" in page.inner_text("#similar")


def test_refresh_keeps_the_place(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    store, _ = plant
    page = enter()
    for key in "jjj":
        page.keyboard.press(key)
    page.keyboard.press("x")
    give_verdict(store, "case0", {"verdict": "healthy", "evidence": "inspected"}, who="jun", at=AT, period_hours=1)
    page.keyboard.press("r")
    page.wait_for_selector("#rows[data-refreshed='1']")
    assert page.locator("tr[data-case]").count() == 2
    assert page.locator("tr.here").get_attribute("data-case") == "case2"
    assert page.locator("input[value=case2]").is_checked()
    assert page.evaluate("document.activeElement.closest('tr').dataset.case") == "case2"


def test_of_two_people_one_gets_the_case(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    store, address = plant
    pages = [enter(name) for name in ("mara", "jun")]
    for page in pages:
        page.goto(f"{address}/cases/case0")
    for page in pages:
        page.keyboard.press("c")
    pages[0].wait_for_selector("#claimed:has-text('mara')")
    pages[1].wait_for_selector("[role=alert]:has-text('claimed by mara')")
    assert acts(store, "case0") == ["claimed"]


def test_hostile_strings_run_nothing(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    """In every field that a log or a person fills: names, reasons, regime, mode, notes, comments, mutes, searches."""
    store, address = plant
    with store.write() as connection:
        axis = connection.scalar(sa.select(Case.axis_id).where(Case.case_id == "case0"))
        names = {"site": EVIL, "cell": EVIL, "robot_id": EVIL, "axis": EVIL}
        connection.execute(sa.update(Axis).where(Axis.axis_id == axis).values(**names))
        reasons = [{"code": code, "text": EVIL, "n_bins": 1} for code in ("unseen", "data", EVIL)]
        connection.execute(sa.update(Case).where(Case.case_id == "case0").values(reasons=reasons, mode=EVIL))
        for table, columns in HOSTILE.items():
            told = ", ".join(f"{column} = :evil" for column in columns)
            connection.execute(sa.text(f"UPDATE {table} SET {told}"), {"evil": EVIL})
        connection.execute(sa.text("UPDATE extractions SET regime = :evil"), {"evil": f"{EVIL}|1500|0.5"})
        states = connection.execute(sa.select(AxisState.axis_id, AxisState.bin_at).limit(1)).one()
        connection.execute(
            sa.update(AxisState)
            .where(AxisState.axis_id == states.axis_id, AxisState.bin_at == states.bin_at)
            .values(state=EVIL[:16], quality=EVIL[:16], model_versions=[EVIL])
        )
    comment(store, "case0", EVIL, who="mara", at=AT)
    set_work_order(store, "case0", EVIL, who="mara", at=AT)
    mute(store, axis, reason=EVIL, until=AT + timedelta(days=1), who="mara", at=AT - timedelta(days=1))
    give_verdict(
        store, "case1", {"verdict": "fault", "evidence": "inspected", "note": EVIL}, who="mara", at=AT, period_hours=1
    )
    page = enter()
    query = "?" + "&".join(f"{name}=" + sa.engine.url.quote_plus(EVIL) for name in ("search", "site", "robot", "after"))
    paths = [path.format(axis=axis) for path in PATHS]
    for path in (*paths, "/?state=all", "/cases/case1", "/" + query, "/cases/case0" + query.partition("&after")[0]):
        page.goto(address + path)
        if "/cases/" in path:
            page.wait_for_selector("[data-drawn=yes]")
        assert page.evaluate("window.hacked") is None, path
        assert page.locator("img[src=x], main script").count() == 0, path
    page.goto(f"{address}/cases/case0")
    assert EVIL in page.inner_text("h1")
    page.wait_for_selector("[data-drawn=yes]")
    assert page.locator("#plot-envelope b, #plot-course b").count() == 0


HOSTILE = {
    "recordings": ("program", "unit"),
    "extractions": ("evidence", "quality"),
    "case_evidence": ("program",),
    "units": ("geometry_name",),
}


@pytest.mark.parametrize("width", [768, 1024, 1280])
def test_no_page_scrolls_sideways(enter: Callable[..., Page], plant: tuple[Store, str], width: int) -> None:
    store, address = plant
    page = enter(width=width)
    with store.read() as connection:
        axis = connection.scalar(sa.select(Axis.axis_id).limit(1))
    for path in PATHS:
        page.goto(address + path.format(axis=axis))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page.goto(address)
    heights = page.evaluate("[...document.querySelectorAll('tr[data-case]')].map(row => row.offsetHeight)")
    assert max(heights) < 260, "no column is squeezed to a letter"


def test_focus_is_seen_and_all_can_be_reached(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    page = enter()
    page.goto(f"{plant[1]}/cases/case0")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        told = page.evaluate(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            " return [e.name || e.id || e.textContent.trim(), s.outlineStyle, parseFloat(s.outlineWidth)] })()"
        )
        if told[0] and page.evaluate("document.activeElement !== document.body"):
            assert told[1] == "solid", told
            assert told[2] >= 2, told
        reached.add(told[0])
    assert {"verdict", "evidence", "mode", "severity", "note"} <= reached
