"""Shared by the tests of the review application."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
import uvicorn
from argon2 import PasswordHasher
from playwright.sync_api import Browser, Page, sync_playwright

from pipeline.accounts import add_user
from pipeline.base.settings import Settings
from pipeline.cases.evidence import note_evidence
from pipeline.cases.ordering import refresh_queue
from pipeline.extraction.baseline import update_baselines
from pipeline.extraction.extract import extract_due
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, AxisState, Case
from pipeline.trends.course import update_trends
from review.app import create_app
from review.limits import server_config

AT = datetime(2026, 3, 1, tzinfo=UTC)
FIRST, LAST = datetime(2026, 1, 6, 4, tzinfo=UTC), datetime(2026, 1, 6, 20, tzinfo=UTC)
CHROMIUM = shutil.which("chromium")


@pytest.fixture
def until() -> Callable[[Page, str], None]:
    """Wait until an expression of the page is true, at most 30 s.

    Playwright's own wait evaluates a text inside the page when its first look was too early, which the pages' Content
    Security Policy forbids.
    """

    def wait(page: Page, expression: str) -> None:
        for _ in range(600):
            if page.evaluate(expression):
                return
            page.wait_for_timeout(50)
        raise AssertionError(f"never true: {expression}")

    return wait


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords at the least cost; `tests/pipeline/test_accounts.py` has them as they are."""
    monkeypatch.setattr("pipeline.accounts._hasher", lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture(scope="session")
def prepared(
    tmp_path_factory: pytest.TempPathFactory,
    limits: Limits,
    make_row: Callable[..., dict[str, Any]],
    write_log: Callable[..., Path],
) -> Path:
    """Three axes of two channels, noise that gets a loud tone after a day, a case each: made once."""
    home = tmp_path_factory.mktemp("plant")
    settings = Settings(home=home, workers=1, baseline_days=1.0)
    store, lake = Store.open(settings.database), Lake(settings.lake)
    rng, hum = np.random.default_rng(1), 5 * np.sin(np.arange(16_384) * 1.5)
    rows = [
        make_row(
            hour,
            robot_id=f"R0{robot}",
            channel=channel,
            unit_serial=f"SN-{robot}",
            samples=(rng.normal(0, 1, 16_384) + (hour > 24) * hum).tolist(),
        )
        for hour in range(0, 48, 6)
        for robot in range(3)
        for channel in ("acc_x", "acc_y")
    ]
    settings.landing_zone.mkdir()
    write_log(settings.landing_zone / "log.parquet", rows)
    acquire(store, lake, settings.landing_zone, limits=limits, settled_before=AT)
    extract_due(store, lake, settings, as_of=AT)
    update_baselines(store, lake, settings, as_of=AT)
    update_trends(store, lake, settings, as_of=AT)
    add_cases(store)
    note_evidence(store, lake, settings, as_of=AT)
    refresh_queue(store, as_of=AT)
    for name in ("mara", "jun"):
        add_user(store, name, "reviewer", "a long password", at=AT)
    store.dispose()
    return home


@pytest.fixture
def plant(prepared: Path, tmp_path: Path) -> Iterator[tuple[Store, str]]:
    """The application over a copy of it, and the address at which it answers."""
    home = tmp_path / "home"
    shutil.copytree(prepared, home)
    settings = Settings(home=home, workers=1, review_secure_cookie=False, iso_20816_3="2 rigid")
    store = Store.open(settings.database)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = create_app(store, Lake(settings.lake), settings, clock=lambda: AT)
    server = uvicorn.Server(server_config(app, host="127.0.0.1", port=port))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield store, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
    store.dispose()


def add_cases(store: Store) -> None:
    reason = {"code": "unseen", "text": "The model has not seen this <b>program</b>.", "n_bins": 2}
    with store.write() as connection:
        for number, axis in enumerate(connection.scalars(sa.select(Axis.axis_id).order_by(Axis.robot_id)).all()):
            case = {"case_id": f"case{number}", "axis_id": axis, "family": "machine", "state": "open", "n_bins": 2}
            case |= {"first_at": FIRST, "last_at": LAST, "priority": 0.9 - number / 10, "reasons": [reason]}
            case |= {"fault_probability": 0.5, "mode": None, "known_at": AT, "changed_at": AT}
            connection.execute(sa.insert(Case), case)
            states = [
                {"axis_id": axis, "bin_at": LAST - timedelta(hours=hour), "state": "unknown", "first_at": LAST}
                | {"last_at": LAST, "n_windows": 1, "fault_probability": hour / 20, "mode": None, "quality": "ok"}
                | {"mutual_information": 0.1, "expected_entropy": 0.2, "novelty_percentile": 50.0, "flags": []}
                | {"model_versions": [], "known_at": AT}
                for hour in range(12)
            ]
            connection.execute(sa.insert(AxisState), states)


@pytest.fixture
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def enter(plant: tuple[Store, str], browser: Browser) -> Iterator[Callable[..., Page]]:
    """Log somebody in by keyboard, in a zone and with a screen; errors of scripts and broken policies fail the test."""
    wrong: list[str] = []

    def at_the_queue(name: str = "mara", width: int = 1280, zone: str = "Asia/Seoul") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, locale="en-GB", timezone_id=zone, accept_downloads=True
        )
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda told: wrong.append(told.text) if "Content Security" in told.text else None)
        page.goto(plant[1])
        page.wait_for_selector("[name=name]:focus")  # autofocus comes after the page has loaded
        page.keyboard.type(name)
        page.keyboard.press("Tab")
        page.keyboard.type("a long password")
        page.keyboard.press("Enter")
        page.wait_for_selector("table.queue")
        return page

    yield at_the_queue
    assert wrong == []
