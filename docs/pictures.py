"""Make the pictures of README.md: the queue and a case of a demonstration, and the curves of an evaluation.

    axiswatch demo --folder demo
    axiswatch evaluate --out results --methods default,mle,temperature --seeds 1
    python docs/pictures.py --demo demo --evaluation results

Needs Chromium and the extras `review` and `dev`. Nothing in the folders is changed but the account `demo`.
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, sync_playwright

from pipeline.accounts import Account
from pipeline.base.sources import CONFIG_FILE, load_settings, read_config_file
from pipeline.cases.queue import queue
from pipeline.demo import ACCOUNT
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.workplace import clock_of
from review.app import create_app

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 800}
BEARING = ("outer_race", "inner_race", "ball")
DRAWN_MS = 3000
"""Time for a page to draw its plots."""


def main() -> None:
    """Read the folders from the command line, and write the pictures of each that is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, help="folder of a demonstration")
    parser.add_argument("--evaluation", type=Path, help="folder of an evaluation")
    parser.add_argument("--out", type=Path, default=IMAGES)
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        if given.demo:
            picture_pages(browser, given.demo, given.out)
        if given.evaluation:
            picture_curves(browser, given.evaluation, given.out)
        browser.close()


def picture_pages(browser: Browser, folder: Path, out: Path) -> None:
    """Serve a demonstration, and take its queue and its most urgent case of a bearing."""
    settings = load_settings({}, home=folder, **own_settings(folder))
    store, clock = Store.open(settings.database), clock_of(settings)
    app = create_app(
        store, Lake(settings.lake), settings, clock=clock, account_of=lambda request: Account(ACCOUNT, "reviewer", "x")
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    case = next(case for case in queue(store, as_of=clock()) if case["mode"] in BEARING)
    page = browser.new_page(viewport=SIZE, locale="en-GB", timezone_id="UTC")
    for name, path in (("review-queue", "/"), ("review-case", f"/cases/{case['case_id']}")):
        page.goto(address + path)
        page.wait_for_timeout(DRAWN_MS)
        page.screenshot(path=out / f"{name}.png")
    server.should_exit = True
    thread.join()
    store.dispose()


def own_settings(folder: Path) -> dict[str, object]:
    """The settings that a demonstration wrote, without its folder, which may have been moved."""
    return {name: value for name, value in read_config_file(folder / CONFIG_FILE).items() if name != "home"}


def picture_curves(browser: Browser, folder: Path, out: Path) -> None:
    """Take the reliability and the risk-coverage curve of an evaluation's report."""
    page = browser.new_page(viewport={"width": 1100, "height": 700})
    page.goto((folder / "report.html").absolute().as_uri())
    legend, pair = (page.locator(name).first.bounding_box() for name in (".legend", ".pair"))
    assert legend is not None
    assert pair is not None
    height = pair["y"] + pair["height"] - legend["y"]
    clip = {"x": legend["x"], "y": legend["y"], "width": pair["width"], "height": height}
    page.screenshot(path=out / "evaluation.png", clip=clip, full_page=True)


if __name__ == "__main__":
    main()
