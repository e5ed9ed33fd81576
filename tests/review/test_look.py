"""Pages in a real browser as they look and read: phones, dark, screen readers, weight, and the analyst's tools."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from pipeline.cases.work import claim, comment, snooze
from pipeline.store.database import Store
from pipeline.store.tables import Axis, AxisState, Case

AT = datetime(2026, 3, 1, tzinfo=UTC)
PATHS = (
    "/",
    "/cases/case0",
    "/axes/{axis}",
    "/fleet",
    "/shift",
    "/wall",
    "/models",
    "/quarantine",
    "/calibration",
    "/nowhere",
)
LONG = [
    {"code": code, "text": "", "n_bins": 1}
    for code in ("fault", "unseen", "novel", "new_program", "unmodelled", "ambiguous", "audit", "confirm")
]
DRAWN = "[data-drawn=yes][data-complete=yes]"


def speak(page: Page, language: str, address: str) -> None:
    page.context.add_cookies([{"name": "axiswatch_language", "value": language, "url": address}])


def axis_of(store: Store) -> str:
    with store.read() as connection:
        return str(connection.scalar(sa.select(Axis.axis_id).order_by(Axis.robot_id).limit(1)))


def chart(name: str) -> str:
    return f"document.getElementById('plot-{name}').chart"


def cold_bytes(page: Page, address: str) -> dict[str, int]:
    """Load a page and what it fetches; return the bytes that travelled, by address."""
    page.wait_for_load_state("networkidle")  # what the page before still fetches is none of it
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    names: dict[str, str] = {}
    sizes: dict[str, int] = {}
    session.on("Network.responseReceived", lambda event: names.update({event["requestId"]: event["response"]["url"]}))
    session.on(
        "Network.loadingFinished",
        lambda event: sizes.update({names[event["requestId"]]: int(event["encodedDataLength"])}),
    )
    page.goto(address)
    page.wait_for_selector(DRAWN)
    page.wait_for_load_state("networkidle")
    session.detach()
    return sizes


@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("ko", "dark")])
def test_axe_finds_nothing(enter: Callable[..., Page], plant: tuple[Store, str], language: str, scheme: str) -> None:
    """Names, contrast, landmarks, headings: at the width of a screen and of a phone."""
    store, address = plant
    page, axe = enter(), Axe()
    page.emulate_media(color_scheme=scheme)
    speak(page, language, address)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for path in PATHS:
            page.goto(address + path.format(axis=axis_of(store)))
            if "/cases/" in path:
                page.wait_for_selector(DRAWN)
                page.click("#waterfall summary")
                page.wait_for_selector("#plot-waterfall canvas")
            found = axe.run(page).response["violations"]
            assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == [], (path, width)
            assert page.locator("h1").count() == 1, path


def test_a_screen_reader_says_names_and_no_letters_of_keys(
    enter: Callable[..., Page], plant: tuple[Store, str]
) -> None:
    page = enter()
    page.goto(f"{plant[1]}/cases/case1")
    for role, names in {
        "radio": ("healthy", "fault", "sensor or data"),
        "combobox": ("Evidence", "Failure mode", "Severity", "Component", "Cause"),
        "textbox": ("Note",),
        "button": ("Record the verdict", "Claim", "Print"),
        "link": ("Previous case", "Next case", "Back to the queue"),
    }.items():
        for name in names:
            assert page.get_by_role(role, name=name, exact=True).count() == 1, (role, name)


def test_the_log_in_has_no_findings(browser: Browser, plant: tuple[Store, str]) -> None:
    page = browser.new_page()
    page.goto(plant[1])
    assert Axe().run(page).response["violations"] == []


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_case_is_one_card_on_a_phone(enter: Callable[..., Page], plant: tuple[Store, str], language: str) -> None:
    """With every reason at once and a long name, at most 220 px; words stay whole; nothing scrolls sideways."""
    store, address = plant
    with store.write() as connection:
        connection.execute(sa.update(Case).where(Case.case_id == "case0").values(reasons=LONG, mode="inner_race"))
        axis = sa.select(Case.axis_id).where(Case.case_id == "case0").scalar_subquery()
        connection.execute(sa.update(Axis).where(Axis.axis_id == axis).values(cell="body-in-white-" * 4))
    page = enter(width=390)
    speak(page, language, address)
    page.goto(address)
    heights = page.evaluate(
        "[...document.querySelectorAll('tr[data-case]')].map(row => row.getBoundingClientRect().height)"
    )
    assert max(heights) <= 220, heights
    assert min(heights) > 60, "it is drawn"
    assert page.evaluate("getComputedStyle(document.body).wordBreak") == "keep-all"
    for path in PATHS:
        page.goto(address + path.format(axis=axis_of(store)))
        if "/cases/" in path:
            page.wait_for_selector(DRAWN)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page.set_viewport_size({"width": 640, "height": 450})  # 1280 px at 200 %
    for path in PATHS:
        page.goto(address + path.format(axis=axis_of(store)))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_a_case_page_is_light(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    """Cold at most 1.2 MB, warm at most 100 kB, with what is fetched for the neighbours; and those are then there."""
    page = enter()
    cold = cold_bytes(page, f"{plant[1]}/cases/case1")
    assert sum(cold.values()) <= 1_200_000, cold
    fetched = [name for name in cold if "/figures" in name]
    assert sorted(name.split("/cases/")[1].partition("/")[0] for name in fetched) == [
        "case0",
        "case1",
        "case1",
        "case2",
    ]
    warm = cold_bytes(page, f"{plant[1]}/cases/case2")
    assert sum(warm.values()) <= 100_000, warm
    assert (
        sum(size for name, size in warm.items() if "/static/" in name or "case2/figures?part=signals" in name) == 0
    ), warm


def test_the_cursor_reads_and_marks(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    """By keys: Hz, order, dB over the floor, the nearest line; harmonics and sidebands of a known spacing."""
    page = enter()
    page.goto(f"{plant[1]}/cases/case0")
    page.wait_for_selector(DRAWN)
    tone_hz = page.evaluate(
        "(() => { const s = plots.figures.recording.spectrum; return s.hz[s.rms.indexOf(Math.max(...s.rms))] })()"
    )
    page.evaluate(f"{chart('spectrum')}.point({tone_hz} + 20, 60)")
    assert page.evaluate(f"{chart('spectrum')}.cursor") == tone_hz, "it goes to the peak beside it"
    told = page.inner_text("#plot-spectrum output")
    shaft_hz = page.evaluate("plots.figures.recording.shaft_speed_rpm") / 60
    assert f"{tone_hz / shaft_hz:.3f} ×" in told
    assert float(told.split(" dB over the floor")[0].rpartition("· ")[2]) > 20
    assert " Hz from " in told
    page.click("#marks-spectrum [data-switch=harmonics]")
    page.select_option("#marks-spectrum select", "shaft")
    assert page.evaluate(f"[{chart('spectrum')}.shape.harmonics, {chart('spectrum')}.shape.sidebands]") == [
        10,
        shaft_hz,
    ]
    page.focus("#plot-spectrum .plot-body")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(f"{chart('spectrum')}.cursor") > tone_hz
    before = page.evaluate(f"{chart('spectrum')}.view()")
    page.keyboard.press("+")
    after = page.evaluate(f"{chart('spectrum')}.view()")
    assert after[1] - after[0] == pytest.approx((before[1] - before[0]) / 2)
    assert page.url.endswith("/cases/case0"), "the plot's keys are no keys of the page"
    page.keyboard.press("Home")
    assert page.evaluate(f"{chart('spectrum')}.view()") == before
    page.click("#marks-spectrum [data-switch=log]")
    assert page.evaluate(f"{chart('spectrum')}.shape.left.log")


def test_a_drag_zooms_and_a_click_points(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    page = enter()
    page.goto(f"{plant[1]}/cases/case0")
    page.wait_for_selector(DRAWN)
    page.locator("#plot-waveform canvas").scroll_into_view_if_needed()
    box = page.locator("#plot-waveform canvas").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
    page.mouse.up()
    page.wait_for_selector("#plot-waveform[data-finer]")
    from_s, to_s = page.evaluate(f"{chart('waveform')}.view()")
    whole = page.evaluate(f"{chart('waveform')}.whole()")
    assert 0.1 < (to_s - from_s) / (whole[1] - whole[0]) < 0.35
    page.mouse.click(box["x"] + box["width"] * 0.5, middle)
    assert from_s < page.evaluate(f"{chart('waveform')}.cursor") < to_s
    page.click("#plot-waveform [data-tool=plot_reset]")
    assert page.evaluate(f"{chart('waveform')}.view()") == whole


def test_two_dates_over_each_other_and_a_waterfall(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    page = enter()
    page.goto(f"{plant[1]}/cases/case0")
    page.wait_for_selector(DRAWN)
    dates = page.locator("#choose-other option").evaluate_all("all => all.map(one => one.value)")
    assert len(dates) > 3
    page.select_option("#choose-other", dates[2])
    page.wait_for_selector(DRAWN)
    assert page.evaluate("plots.figures.reference.recording_id") == dates[2]
    assert page.evaluate(f"{chart('spectrum')}.shape.series.length") == 2
    page.click("#waterfall summary")
    page.wait_for_selector("#plot-waterfall[data-drawn=envelope]")
    rows = page.evaluate(f"{chart('waterfall')}.shape.map.rows.length")
    page.select_option("#waterfall-kind", "spectrum")
    page.wait_for_selector("#plot-waterfall[data-drawn=spectrum]")
    assert rows == len(dates) - 1
    brightest = f"Math.max(...{chart('waterfall')}.shape.map.rows.at(-1).values)"
    assert page.evaluate(brightest) == 255, "the tone of the second day"


def test_a_recording_is_played_softly(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    """The loudest of the two at half of the full scale at most, and it stops when pressed again."""
    page = enter()
    page.goto(f"{plant[1]}/cases/case0")
    page.wait_for_selector(DRAWN)
    page.evaluate(
        "(() => { const make = AudioContext.prototype.createGain;"
        " AudioContext.prototype.createGain = function () { return (window.gain = make.call(this)) } })()"
    )
    page.click("#play-recording")
    page.wait_for_selector("#play-recording[aria-pressed=true]")
    loud = page.evaluate("gain.gain.value")
    assert 0 < loud <= 0.5
    page.click("#play-other")
    page.wait_for_selector("#play-other[aria-pressed=true]")
    assert page.locator("#play-recording[aria-pressed=false]").count() == 1
    assert page.evaluate("gain.gain.value") < loud / 2, "the good one is as much softer as it was"
    page.click("#play-other")
    assert page.locator("#play-other[aria-pressed=false]").count() == 1


def test_levels_stand_in_every_plot_of_a_probability(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    store, address = plant
    page = enter()
    assert page.locator("tr[data-case=case0] .spark .level").count() >= 1
    page.goto(f"{address}/cases/case0")
    page.wait_for_selector(DRAWN)
    assert page.evaluate(f"{chart('course')}.shape.levels.length") >= 1
    drawn = "document.querySelectorAll('#trends [id^=plot-trend] canvas').length"
    assert page.evaluate(drawn) == 1, "of the channel shown"
    page.goto(f"{address}/axes/{axis_of(store)}")
    page.wait_for_selector("#trends[data-drawn=yes]")
    assert page.evaluate(f"{chart('states')}.shape.levels.length") >= 1
    assert page.evaluate(drawn) == 2, "of each channel"
    ends = page.evaluate(
        f"(() => {{ const c = {chart('states')}, right = c.shape.series.filter(one => one.right);"
        " return [c.ends(c.shape.left, [], [0, 1])[0], c.ends(c.shape.right, right, c.view())[0]] })()"
    )
    assert ends == [0, 0], "both axes begin at the bottom"


def test_names_of_marks_do_not_overlap(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    """A unit is removed and the next one installed at the same moment."""
    store, address = plant
    page = enter()
    at = {"at": "2026-01-06T12:00:00Z"}
    page.goto(f"{address}/axes/{axis_of(store)}")
    page.wait_for_selector("#plot-states[data-drawn=yes]")
    times = [{**at, "kind": kind} for kind in ("removed", "installed", "installed")]
    page.evaluate(
        "events => { const place = document.getElementById('plot-states'), course = JSON.parse(place.dataset.course);"
        " place.dataset.course = JSON.stringify({ ...course, events }); drawStates(place); place.chart.draw() }",
        times,
    )
    names = page.evaluate(f"{chart('states')}.named")
    assert [one["text"] for one in names] == ["removed", "installed", "installed"]
    assert all(low["y"] > high["end"] for high, low in pairwise(names))


def test_times_in_the_history_are_for_people(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    store, address = plant
    claim(store, "case0", who="mara", at=AT, minutes=30)
    snooze(store, "case0", who="mara", at=AT, until=datetime(2026, 3, 9, 8, 30, 15, 123456, tzinfo=UTC))
    page = enter()
    for language, until in (("en", "until 09/03/2026, 17:30"), ("ko", "26. 3. 9. 오후 5:30까지")):
        speak(page, language, address)
        page.goto(f"{address}/cases/case0")
        told = page.inner_text("#history")
        assert "123456" not in told and "T08:30" not in told
        assert told.count("17:30" if language == "en" else "오후 5:30") == 1
        assert until in page.inner_text("h1")


def test_without_scripts_the_page_says_so(browser: Browser, plant: tuple[Store, str]) -> None:
    context = browser.new_context(java_script_enabled=False, locale="en-GB")
    page = context.new_page()
    page.goto(plant[1])
    page.fill("[name=name]", "mara")
    page.fill("[name=password]", "a long password")
    page.click("form.narrow button")
    page.goto(f"{plant[1]}/cases/case0")
    assert "need JavaScript" in page.inner_text("#shown")
    assert "Loading" not in page.inner_text("main")


def test_a_comment_keeps_its_lines(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    store, address = plant
    comment(store, "case0", "first line\nsecond line", who="mara", at=AT)
    page = enter()
    page.goto(f"{address}/cases/case0")
    assert "first line\nsecond line" in page.inner_text("#history")


def test_the_verdict_and_the_plots_are_two_keys_away(enter: Callable[..., Page], plant: tuple[Store, str]) -> None:
    """By links that only the keyboard shows."""
    page = enter()
    page.goto(f"{plant[1]}/cases/case0")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for _ in range(6):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#verdict-form') !== null")


def test_colours_follow_the_preference_and_nothing_moves(browser: Browser, plant: tuple[Store, str]) -> None:
    context = browser.new_context(color_scheme="dark", reduced_motion="reduce")
    page = context.new_page()
    page.goto(plant[1])
    dark, light = (
        (page.emulate_media(color_scheme=scheme), page.evaluate("getComputedStyle(document.body).backgroundColor"))[1]
        for scheme in ("dark", "light")
    )
    assert sum(map(int, dark[4:-1].split(", "))) < 150 < 600 < sum(map(int, light[4:-1].split(", ")))
    assert page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"


def test_an_audit_shows_its_scores_after_the_verdict(
    enter: Callable[..., Page], plant: tuple[Store, str], until: Callable[[Page, str], None]
) -> None:
    """And no browser keeps what it showed before."""
    store, address = plant
    with store.write() as connection:
        connection.execute(sa.update(Case).where(Case.case_id == "case0").values(family="audit"))
        connection.execute(sa.update(AxisState).values(recent_probability=0.4))
    page = enter()
    page.goto(f"{address}/cases/case0")
    page.wait_for_selector(DRAWN)
    seen = "plots.figures.recent.length"
    assert page.evaluate(seen) == 0
    for key in "1e2s":
        page.keyboard.press(key)
    page.wait_for_selector("#history li[data-action=closed]")
    until(page, f"{seen} > 0")
