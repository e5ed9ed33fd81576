"""The review application inside a real Airflow: its users, its rights, nobody else; and in a real browser."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from playwright.sync_api import Page, sync_playwright

from pipeline.accounts import list_users, log_in, set_user
from pipeline.base.settings import Settings
from pipeline.cases.verdicts import get_case
from pipeline.local_airflow import LocalAirflow
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Case
from review.app import create_app

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 3, 1, tzinfo=UTC)
USERS = {"viv": "viewer", "mara": "user", "olga": "op", "admin": "admin"}
ROLES = {"viv": "viewer", "mara": "reviewer", "olga": "admin", "admin": "admin"}
CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.xdist_group("airflow")


@dataclass
class Reply:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass
class Plant:
    """An Airflow that serves its pages, and the database of axiswatch behind them."""

    local: LocalAirflow
    store: Store

    def ask(
        self, method: str, path: str, *, cookie: str = "", bearer: str = "", body: Any = None, **headers: str
    ) -> Reply:
        """Send a request by hand; redirects are not followed. A dict is sent as a form, text as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.local.port, timeout=60)
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if cookie:
            told["Cookie"] = f"_token={cookie}"
        if bearer:
            told["Authorization"] = f"Bearer {bearer}"
        if body is not None:
            form = isinstance(body, dict)
            told["Content-Type"] = "application/x-www-form-urlencoded" if form else "application/json"
            body = urlencode(body) if form else body
        connection.request(method, path, body, told)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        connection.close()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)

    def password(self, name: str) -> str:
        """What Airflow made up for a user."""
        path = self.local.folder / "airflow" / "simple_auth_manager_passwords.json.generated"
        return str(json.loads(path.read_text(encoding="utf-8"))[name])

    def token(self, name: str) -> str:
        """Log in; give the token, which is also what the cookie of a browser holds."""
        login = json.dumps({"username": name, "password": self.password(name)})
        return str(json.loads(self.ask("POST", "/auth/token", body=login).body)["access_token"])


def add_cases(store: Store) -> None:
    """Four cases of an axis each."""
    with store.write() as connection:
        for number in range(4):
            axis = {"axis_id": f"axis{number}", "site": "plant1", "cell": "c1", "robot_id": f"R0{number}", "axis": "A3"}
            connection.execute(sa.insert(Axis), axis | {"expected_every_s": None, "criticality": None, "known_at": AT})
            reason = {"code": "unseen", "text": "The model has not seen this program at this speed.", "n_bins": 2}
            case = {
                "case_id": f"case{number}",
                "axis_id": f"axis{number}",
                "family": "machine",
                "state": "open",
                "first_at": AT - timedelta(days=2),
                "last_at": AT - timedelta(days=1),
                "n_bins": 2,
                "priority": 0.9 - number / 10,
                "reasons": [reason],
                "fault_probability": 0.5,
                "mode": None,
                "known_at": AT,
                "changed_at": AT,
            }
            connection.execute(sa.insert(Case), case)


def plugin_metadata(folder: Path) -> Path:
    """What an installation writes of our entry points, so that this tree's plugin is found, not an older one's."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    made = folder / f"axiswatch-{told['version']}.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: axiswatch\nVersion: {told['version']}\n")
    lines = [f"{name} = {value}" for name, value in told["entry-points"]["airflow.plugins"].items()]
    (made / "entry_points.txt").write_text("\n".join(["[airflow.plugins]", *lines, ""]))
    return folder


@pytest.fixture(scope="module")
def plant(free_port: Callable[[], int]) -> Iterator[Plant]:
    """One Airflow for this file: its database and its api-server. The path of PostgreSQL's socket has to be short."""
    folder = Path(tempfile.mkdtemp(prefix="axiswatch-ar-"))
    (folder / "dags").mkdir()
    users = ",".join(f"{name}:{role}" for name, role in USERS.items())
    variables = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users,
        "PYTHONPATH": f"{plugin_metadata(folder / 'metadata')}:{ROOT}",
    }
    local = LocalAirflow(folder, folder / "dags", free_port(), variables)
    try:
        local.start_postgres()
        store = Store.open(local.database_url("axiswatch"))
        add_cases(store)
        local.run("db", "migrate")
        local.start("api-server")
        found = Plant(local, store)
        give_up = time.monotonic() + 240
        while True:
            try:
                if found.ask("GET", "/api/v2/version").status == 200:
                    break
            except OSError:  # not up yet
                pass
            assert time.monotonic() < give_up, local.log.read_text(encoding="utf-8")[-3000:]
            time.sleep(0.5)
        yield found
        store.dispose()
    finally:
        local.stop()
        shutil.rmtree(folder, ignore_errors=True)


def routes(tmp_path: Path, store: Store) -> list[tuple[str, str, bool]]:
    """Every method and path of the application, and whether it is a write; places are filled in."""
    app = create_app(store, Lake(str(tmp_path)), Settings(home=tmp_path), clock=lambda: AT)
    found, waiting = [], list(app.routes)
    while waiting:
        route = waiting.pop()
        if not isinstance(route, APIRoute):
            waiting += route.original_router.routes  # type: ignore[attr-defined]
            continue
        path = route.path
        for name in ("case_id", "axis_id", "recording_id", "act"):
            path = path.replace(f"{{{name}}}", "x")
        path = path.replace("{what}.{form}", "labels.csv").replace("{name}", "review.css")
        found += [(method, path, method not in ("GET", "HEAD")) for method in route.methods]
    return found


def test_every_part_of_airflow_can_load_the_plugin_at_no_cost() -> None:
    """Scheduler and workers load it, too: nothing of ours is imported, no database opened, no setting read."""
    ours = "[name for name in sys.modules if name.split('.')[0] in ('pipeline', 'features', 'models', 'torch')]"
    code = f"import sys, review.airflow_plugin as p; print({ours}, [m for m in sys.modules if m.startswith('review')])"
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.strip().splitlines()[-1] == "[] ['review', 'review.airflow_plugin']"


def test_without_airflows_log_in_every_route_is_refused(plant: Plant, tmp_path: Path) -> None:
    walked = routes(tmp_path, plant.store)
    assert len(walked) > 40
    for method, path, _ in [*walked, ("GET", "/no/such/page", False), ("POST", "/", True)]:
        for cookie in ("", "made.up.token"):
            answer = plant.ask(method, f"/axiswatch{path}", cookie=cookie)
            assert answer.status in (401, 403), f"{method} {path} with cookie {cookie!r}: {answer.status}"
            assert "plant1" not in answer.body
    assert plant.ask("GET", "/axiswatch/", bearer="made.up.token").status in (401, 403)
    own = plant.ask("GET", "/axiswatch/", Cookie="axiswatch_session=anything")
    assert own.status == 401, "our own cookie counts for nothing here"


def test_airflows_rights_become_roles(plant: Plant) -> None:
    for name, role in ROLES.items():
        told = plant.ask("GET", "/axiswatch/api/v1/me", bearer=plant.token(name))
        assert (told.status, json.loads(told.body)) == (200, {"name": f"{name}@airflow", "role": role})
    known = {row["name"]: row["role"] for row in list_users(plant.store)}
    assert known == {f"{name}@airflow": role for name, role in ROLES.items()}
    assert log_in(plant.store, "admin@airflow", "outside", at=AT, hours=1) is None, "nobody logs in by such a name"


def test_a_viewer_reads_and_writes_nothing(plant: Plant, tmp_path: Path) -> None:
    viv = plant.token("viv")
    assert "R00" in plant.ask("GET", "/axiswatch/", cookie=viv).body
    word = plant.ask("GET", "/axiswatch/", cookie=viv).body.split('name="csrf" value="')[1].split('"')[0]
    for method, path, write in routes(tmp_path, plant.store):
        if not write or path in ("/login", "/logout", "/language"):
            continue
        for headers in ({"bearer": viv}, {"cookie": viv, "X_CSRF_Token": word}):
            answer = plant.ask(method, f"/axiswatch{path}", **headers)
            assert answer.status == 403, f"{method} {path}: {answer.status}"
    assert get_case(plant.store, "case0")["events"] == []


def test_a_reviewer_writes_with_the_pages_word_only(plant: Plant) -> None:
    mara = plant.token("mara")
    path = "/axiswatch/cases/case3/claim"
    assert plant.ask("POST", path, cookie=mara, body={}).status == 403, "a form of another site has the cookie, too"
    assert plant.ask("POST", path, cookie=mara, body={"csrf": "guessed"}).status == 403
    page = plant.ask("GET", "/axiswatch/cases/case3", cookie=mara).body
    word = page.split('name="csrf" value="')[1].split('"')[0]
    evil = plant.ask("POST", path, cookie=mara, body={"csrf": word}, Origin="https://evil.example")
    assert evil.status == 403
    other = plant.ask("POST", path, cookie=plant.token("olga"), body={"csrf": word})
    assert other.status == 403, "somebody else's word"
    assert get_case(plant.store, "case3")["events"] == []
    done = plant.ask("POST", path, cookie=mara, body={"csrf": word})
    assert (done.status, done.headers["location"]) == (303, "/axiswatch/cases/case3")
    finding = json.dumps({"verdict": "fault", "evidence": "inspected"})
    refused = plant.ask("POST", "/axiswatch/api/v1/cases/case3/verdict", bearer=plant.token("olga"), body=finding)
    assert refused.status == 409, "claimed by mara"
    handed = json.dumps({"to": "olga@airflow"})
    assert plant.ask("POST", "/axiswatch/api/v1/cases/case3/hand-over", bearer=mara, body=handed).status == 200
    olga = plant.token("olga")
    assert plant.ask("POST", "/axiswatch/api/v1/cases/case3/verdict", bearer=olga, body=finding).status == 200
    acts = [(event["who"], event["action"]) for event in get_case(plant.store, "case3")["events"]]
    assert acts == [
        ("mara@airflow", "claimed"),
        ("mara@airflow", "handed_over"),
        ("olga@airflow", "verdict"),
        ("olga@airflow", "closed"),
    ]


def test_who_is_disabled_here_is_refused_and_there_is_no_log_in_of_ours(plant: Plant) -> None:
    admin = plant.token("admin")
    assert plant.ask("GET", "/axiswatch/api/v1/me", bearer=admin).status == 200
    assert plant.ask("GET", "/axiswatch/login", cookie=admin).status == 404
    assert plant.ask("POST", "/axiswatch/login", cookie=admin, body={"name": "x", "password": "y"}).status == 404
    set_user(plant.store, "admin@airflow", disabled=True)
    assert plant.ask("GET", "/axiswatch/api/v1/me", bearer=admin).status == 403
    set_user(plant.store, "admin@airflow", disabled=False)
    assert plant.ask("GET", "/axiswatch/api/v1/me", bearer=admin).status == 200


@pytest.fixture
def page(plant: Plant) -> Iterator[Page]:
    """Airflow's page in Chromium, logged in as mara."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1440, "height": 900}, locale="en-GB")
        opened.goto(f"{plant.local.url}/auth/login")
        opened.fill("input[name=username]", "mara")
        opened.fill("input[name=password]", plant.password("mara"))
        opened.press("input[name=password]", "Enter")
        opened.wait_for_url(lambda url: "/auth/" not in url, timeout=60_000)
        yield opened
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_in_airflows_own_page(plant: Plant, page: Page, tmp_path: Path) -> None:
    """From Airflow's menu to a verdict by keyboard, and a download, inside its frame."""
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda told: wrong.append(told.text) if "Content Security" in told.text else None)
    page.goto(f"{plant.local.url}/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="axiswatch review").click()
    frame = page.frame_locator("iframe")
    frame.locator("table.queue").wait_for(timeout=60_000)
    assert frame.locator("tr[data-case]").count() >= 3
    assert frame.locator("header").inner_text().count("mara@airflow (reviewer)") == 1
    assert frame.locator("header form[action$=logout]").count() == 0
    page.screenshot(path=str(tmp_path / "queue.png"))
    page.wait_for_function("document.activeElement?.tagName === 'IFRAME'")  # the page takes the focus when it is ready
    page.keyboard.press("j")
    frame.locator("tr.here").wait_for()
    page.keyboard.press("Enter")
    frame.locator("[data-drawn=yes]").wait_for()
    page.screenshot(path=str(tmp_path / "case.png"))
    for key in "2e2s":
        page.keyboard.press(key)
    frame.locator("#history >> text=closed").wait_for()
    assert get_case(plant.store, "case0")["closed_by"] == "mara@airflow"
    frame.locator("nav a").first.click()
    frame.locator("table.queue").wait_for()
    with page.expect_download() as download:
        frame.locator("text=labels.csv").click()
    assert "mara@airflow" in Path(download.value.path()).read_text("utf-8")
    frame.locator("text=한국어").click()
    frame.locator("text=검토 목록").first.wait_for()
    frame.locator("nav a").nth(1).click()
    frame.locator("nav:not([aria-label]) a:nth-child(2)[aria-current=page]").wait_for()
    frame.locator("text=English").click()
    frame.locator("html[lang=en]").wait_for()
    assert frame.locator("nav:not([aria-label]) a[aria-current=page]").inner_text() == "Shift", "it stayed where it was"
    assert wrong == []
