"""A real browser, by keyboard: log in, claim, look, verdict, undo, bulk, export, Korean."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn
from playwright.sync_api import Page, sync_playwright

from pipeline.accounts import add_user
from pipeline.acquire import acquire
from pipeline.cases import get_case
from pipeline.config import Settings
from pipeline.contract import Limits
from pipeline.extract import extract_due
from pipeline.lake import Lake
from pipeline.schema import Axis, Case
from pipeline.store import Store
from review.app import create_app

AT = datetime(2026, 3, 1, tzinfo=UTC)
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture
def address(
    sqlite_store: Store,
    lake: Lake,
    landing: Path,
    limits: Limits,
    make_settings: Callable[..., Settings],
    make_row: Callable[..., dict[str, Any]],
    write_log: Callable[..., Path],
) -> Iterator[str]:
    """The application over three axes with a recording and a case each, at an address."""
    settings = make_settings(review_secure_cookie=False)
    write_log(landing / "log.parquet", [make_row(i, robot_id=f"R0{i % 3}") for i in range(6)])
    acquire(sqlite_store, lake, landing, limits=limits, settled_before=AT)
    extract_due(sqlite_store, lake, settings, as_of=AT)
    with sqlite_store.write() as connection:
        for number, axis in enumerate(connection.scalars(sa.select(Axis.axis_id).order_by(Axis.robot_id)).all()):
            reason = {"code": "unseen", "text": "The model has not seen this <b>program</b>.", "n_bins": 2}
            row = {
                "case_id": f"case{number}",
                "axis_id": axis,
                "family": "machine",
                "state": "open",
                "first_at": AT.replace(month=1, day=5),
                "last_at": AT.replace(month=1, day=6),
                "n_bins": 2,
                "priority": 0.9 - number / 10,
                "reasons": [reason],
                "fault_probability": 0.5,
                "mode": None,
                "known_at": AT,
                "changed_at": AT,
            }
            connection.execute(sa.insert(Case), row)
    add_user(sqlite_store, "mara", "reviewer", "a long password", at=AT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = create_app(sqlite_store, lake, settings, clock=lambda: AT)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    """A page that is logged in by keyboard, at the queue; errors of its scripts fail the test."""
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB")
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda told: wrong.append(told.text) if "Content Security" in told.text else None)
        opened.goto(address)
        opened.keyboard.type("mara")
        opened.keyboard.press("Tab")
        opened.keyboard.type("a long password")
        opened.keyboard.press("Enter")
        opened.wait_for_selector("table.queue")
        yield opened
        browser.close()
    assert wrong == []


def test_a_case_by_keyboard_alone(page: Page, address: str, sqlite_store: Store) -> None:
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-drawn=yes]")
    assert page.url == f"{address}/cases/case0"
    assert page.locator(".plot .main-svg").count() >= 5, "course, doubt and three pictures of the signal"
    assert page.locator(".reason b").count() == 0
    page.keyboard.press("c")
    page.wait_for_selector("#claimed:has-text('mara')")
    page.keyboard.press("2")
    page.wait_for_selector("#history >> text=closed")
    assert get_case(sqlite_store, "case0")["state"] == "closed"
    page.keyboard.press("u")
    page.wait_for_selector("#history >> text=undone")
    told = get_case(sqlite_store, "case0")
    assert [event["action"] for event in told["events"]] == ["claimed", "verdict", "closed", "undone"]
    assert told["events"][1]["details"]["seen"]["fault_probability"] == 0.5
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_bulk_export_and_korean(page: Page, sqlite_store: Store) -> None:
    for case_id in ("case1", "case2"):
        page.check(f"input[value={case_id}]")
    page.select_option("select[name=verdict]", "benign_change")
    page.click("#bulk")
    page.wait_for_function("document.querySelectorAll('tr[data-case]').length === 1")
    assert {get_case(sqlite_store, name)["closed_by"] for name in ("case1", "case2")} == {"mara"}
    with page.expect_download() as download:
        page.click("text=labels.csv")
    assert "benign_change" in Path(download.value.path()).read_text("utf-8")
    page.click("text=한국어")
    page.wait_for_selector("text=검토 목록")
    assert page.get_attribute("html", "lang") == "ko"


def test_tablet_does_not_scroll_sideways(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 820, "height": 1180})
    for path in ("/", "/fleet", "/cases/case0", "/models", "/quarantine", "/calibration"):
        page.goto(address + path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
