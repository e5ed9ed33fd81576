"""What leaves the desk: a case on paper, the summary of a shift, the wall, views that are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page

from pipeline.cases.verdicts import give_verdict
from pipeline.cases.work import comment
from pipeline.store.database import Store

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
