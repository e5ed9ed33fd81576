"""What a person is told when something is refused: in the page's language, with the navigation, and what to do."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipeline.accounts import FREE_TRIES, add_user
from pipeline.base.errors import AxiswatchError, Coded, PrerequisiteMissing
from pipeline.base.settings import Settings
from pipeline.cases.verdicts import give_verdict
from pipeline.cases.work import claim
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Case, UserSession
from review.acts.refusals import refusals
from review.app import create_app
from review.words import WORDS

AT = datetime(2026, 3, 1, 8, 30, 15, 123456, tzinfo=UTC)
FINDING = {"verdict": "fault", "evidence": "inspected"}


@pytest.fixture
def app(sqlite_store: Store, lake: Lake, tmp_path: Path) -> FastAPI:
    """The application with two cases of 0.97, and people."""
    store = sqlite_store
    for number in range(2):
        axis = {"axis_id": f"axis{number}", "site": "p", "cell": "c", "robot_id": f"R{number}", "axis": "A1"}
        case = {"case_id": f"case{number}", "axis_id": f"axis{number}", "family": "machine", "state": "open"}
        case |= {"first_at": AT - timedelta(days=2), "last_at": AT - timedelta(days=1), "n_bins": 1, "priority": 0.5}
        case |= {"reasons": [], "fault_probability": 0.97, "mode": None, "known_at": AT, "changed_at": AT}
        with store.write() as connection:
            connection.execute(sa.insert(Axis), axis | {"expected_every_s": None, "criticality": None, "known_at": AT})
            connection.execute(sa.insert(Case), case)
    for name, role in (("mara", "reviewer"), ("jun", "reviewer"), ("viv", "viewer")):
        add_user(store, name, role, "a long password", at=AT)
    return create_app(store, lake, Settings(home=tmp_path), clock=lambda: AT)


def browser_of(app: FastAPI, name: str = "mara", language: str = "ko") -> TestClient:
    browser = TestClient(app, base_url="https://testserver", headers={"Accept-Language": language})
    browser.post("/login", data={"name": name, "password": "a long password"})
    return browser


def refused(browser: TestClient, path: str, **form: object) -> str:
    """Send a form with the word of the session; return the sentences of the page that refuses it."""
    word = re.search(r'name="csrf" value="(.*?)"', browser.get("/").text)
    answer = browser.post(path, data={"csrf": word[1] if word else "", **form})
    assert answer.status_code >= 400, answer.url
    told = re.search(r'role="alert">(.*?)</div>', answer.text, re.DOTALL)
    assert told is not None
    assert ("<nav>" in answer.text) == (word is not None), "the way on stays on the page"
    return re.sub(r"<.*?>", " ", told[1]).strip()


WRONG = (
    ("/cases/case0/verdict", {}),
    ("/cases/case0/verdict", {"verdict": "fault"}),
    ("/cases/case0/verdict", {"evidence": "inspected"}),
    ("/cases/case0/verdict", {"verdict": "haunted", "evidence": "inspected"}),
    ("/cases/case0/verdict", {"verdict": "healthy", "evidence": "inspected", "mode": "ball"}),
    ("/cases/case0/verdict", FINDING | {"from_at": "2026-03-09T00:00", "to_at": "2026-03-08T00:00"}),
    ("/cases/case0/verdict", FINDING | {"from_at": "2020-01-01T00:00", "to_at": "2020-01-02T00:00"}),
    ("/cases/case0/verdict", FINDING | {"from_at": "yesterday"}),
    ("/cases/case0/verdict", FINDING | {"note": "x" * 4001}),
    ("/cases/case0/verdict", FINDING | {"shown": '{"case0": 7}'}),
    ("/cases/case0/verdict", FINDING | {"seen": "{"}),
    ("/cases/case0/verdict", {"verdict": "healthy", "evidence": "signal_only"}),
    ("/cases/case0/verdict", {"verdict": "fault", "evidence": "signal_only"}),
    ("/cases/none/verdict", FINDING),
    ("/cases/case0/haunt", {}),
    ("/cases/case0/undo", {}),
    ("/cases/case0/snooze", {"when": "date", "until": ""}),
    ("/cases/case0/snooze", {"when": "date", "until": "2020-01-01T00:00"}),
    ("/cases/case0/snooze", {"when": "date", "until": "9999-12-31T23:59"}),
    ("/cases/case0/wake", {}),
    ("/cases/case0/release", {}),
    ("/cases/case0/comment", {"text": " "}),
    ("/cases/case0/comment", {"text": "x" * 4001}),
    ("/cases/case0/hand-over", {"to": "nobody"}),
    ("/cases/case0/work-order", {"number": "x" * 101}),
    ("/cases/case1/verdict", FINDING),
    ("/cases/case1/snooze", {"when": "worse"}),
    ("/axes/axis0/mute", {"reason": "", "until": "2026-04-01T00:00"}),
    ("/axes/axis0/mute", {"reason": "x", "until": "2020-01-01T00:00"}),
    ("/axes/axis0/mute", {"reason": "x", "until": "9999-12-31T23:59"}),
    ("/axes/axis0/unmute", {"reason": "x"}),
    ("/bulk", {"case": ["case0"]}),
    ("/bulk", FINDING),
    ("/bulk", {"case": ["case0"], "verdict": "healthy", "evidence": "signal_only"}),
)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_refusal_is_worded_for_a_person(app: FastAPI, language: str) -> None:
    claim(app.state.store, "case1", who="jun", at=AT, minutes=30)
    browser = browser_of(app, language=language)
    for path, form in WRONG:
        told = refused(browser, path, **form)
        place = f"{path} {form}: {told}"
        assert len(told) > 10, place
        assert bool(re.search("[가-힣]", told)) == (language == "ko"), place
        for odd in ("Bearer", "`", "axiswatch", "_at", "json", "JSON", "CSRF", ".123456", "Error"):
            assert odd not in told, place
        if language == "ko":
            assert not re.search("[a-z]{5,}", re.sub(r"case\d|nobody|haunted|evidence", "", told)), place
    with app.state.store.read() as connection:
        assert set(connection.scalars(sa.select(Case.state))) == {"open"}, "nothing was recorded"


def test_a_page_that_is_refused_is_wholly_korean(app: FastAPI) -> None:
    browser = browser_of(app)
    for path in (
        "/cases/none",
        "/axes/none",
        "/nowhere",
        "/?after=x",
        "/shift?since=x",
        "/shift?since=2020-01-01T00:00Z",
    ):
        answer = browser.get(path)
        assert answer.status_code >= 400, path
        (told,) = re.findall(r'role="alert">(.*?)</div>', answer.text, re.DOTALL)
        told = re.sub(r"<.*?>", "", told).replace("none", "")
        assert re.search("[가-힣]", told) and not re.search("[a-z]{2,}", told), (path, told)


def test_what_is_missing_keeps_the_way_on(app: FastAPI) -> None:
    browser = browser_of(app, language="en")
    assert "no such page" in browser.get("/nowhere").text
    unknown = browser.get("/cases/none")
    assert (unknown.status_code, "there is no case none" in unknown.text, "<nav>" in unknown.text) == (404, True, True)
    assert "no place in the queue" in browser.get("/?after=x").text
    assert "could not be read" in browser.get("/?search=%00").text
    viewer = browser_of(app, "viv", "en")
    assert "This needs the role reviewer; yours is viewer" in refused(viewer, "/cases/case0/claim")
    assert "earlier log-in" in browser.post("/cases/case0/claim", data={"csrf": "old"}).text


def test_a_session_that_ended_is_said_and_names_the_log_in(app: FastAPI) -> None:
    browser = browser_of(app)
    with app.state.store.write() as connection:
        connection.execute(sa.delete(UserSession))
    answer = browser.post("/cases/case0/comment", data={"text": "x", "csrf": "x"})
    assert answer.status_code == 401
    assert WORDS["refused_log_in"]["ko"] in answer.text
    assert "Bearer" not in answer.text
    assert "/login?next=" in answer.text


def test_too_many_tries_are_told_in_the_language_of_the_page(app: FastAPI) -> None:
    browser = TestClient(app, base_url="https://testserver", headers={"Accept-Language": "ko"})
    form = {"name": "mara", "password": "a wrong password"}
    for _ in range(FREE_TRIES):
        assert WORDS["wrong_password"]["ko"] in browser.post("/login", data=form).text
    answer = browser.post("/login", data=form)
    assert (answer.status_code, "5분 뒤에" in answer.text) == (429, True)


def test_a_claim_is_told_with_a_time_of_the_viewer(app: FastAPI) -> None:
    claim(app.state.store, "case1", who="jun", at=AT, minutes=30)
    word = re.search(r'name="csrf" value="(.*?)"', (browser := browser_of(app, language="en")).get("/").text)
    assert word is not None
    text = browser.post("/cases/case1/verdict", data=FINDING | {"csrf": word[1]}).text
    assert 'claimed by jun until <time datetime="2026-03-01T09:00:15Z">2026-03-01 09:00 UTC</time>' in text


def test_of_several_cases_the_page_says_what_was_done_and_what_not(app: FastAPI) -> None:
    claim(app.state.store, "case1", who="jun", at=AT, minutes=30)
    browser = browser_of(app, language="en")
    word = re.search(r'name="csrf" value="(.*?)"', browser.get("/").text)
    assert word is not None
    form = FINDING | {"case": ["case0", "case1"], "csrf": word[1]}
    text = browser.post("/bulk", data=form).text
    assert 'Recorded: <b>fault</b> (inspected on the machine) on <a href="/cases/case0">' in text
    assert "claimed by jun" in text
    assert 'id="take-back"' in text


def test_an_error_of_our_own_is_a_page_too(app: FastAPI) -> None:
    cookies = browser_of(app).cookies
    browser = TestClient(app, base_url="https://testserver", cookies=cookies, raise_server_exceptions=False)
    app.state.settings = None
    page = browser.get("/cases/case0", headers={"Accept-Language": "ko"})
    assert (page.status_code, WORDS["refused_broken"]["ko"] in page.text) == (500, True)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "detail" in browser.get("/api/v1/cases/case0").json()


def test_every_code_has_words_and_every_value_its_place() -> None:
    """A code that a sentence of ours carries is worded, and its words ask for no value that it lacks."""
    folder = Path(__file__).parents[2]
    used: dict[str, str] = {}
    for path in (*(folder / "pipeline").rglob("*.py"), *(folder / "review").rglob("*.py")):
        for found in re.finditer(r'Coded\(\s*(?:f?".*?"|\w+),\s*"(\w+)"(.*?)\)\)?\n', path.read_text("utf-8")):
            used[found[1]] = found[2]
    assert len(used) > 20
    assert {f"refused_{code}" for code in used} <= set(WORDS)
    for code, given in used.items():
        for words in WORDS[f"refused_{code}"].values():
            asked = set(re.findall(r"\{(\w+)\}", words))
            assert asked <= set(re.findall(r"(\w+)=", given)) or "**" in given, code


def test_a_coded_sentence_stays_what_it_is() -> None:
    error = copy.deepcopy(PrerequisiteMissing(Coded("no <b>", "no_case", case="<b>")))  # as another process gets it
    assert str(error) == "no <b>"
    assert refusals(error, "ko") == ["없는 사례입니다: &lt;b&gt;. 목록에서 찾으십시오."]
    assert refusals(AxiswatchError("odd <i>"), "en") == ["odd &lt;i&gt;"]
    assert "odd &lt;i&gt;" in refusals(AxiswatchError("odd <i>"), "ko")[0]


def test_a_finding_of_a_program_is_asked_for_verdict_and_evidence(app: FastAPI) -> None:
    from pipeline.accounts import make_token

    token = make_token(app.state.store, "mara", purpose="test", at=AT, days=1)
    program = TestClient(app, base_url="https://testserver", headers={"Authorization": f"Bearer {token}"})
    for form in ({"verdict": "", "evidence": "inspected"}, {"verdict": "fault", "evidence": ""}):
        answer = program.post("/api/v1/cases/case0/verdict", json=form)
        assert (answer.status_code, "is empty" in answer.json()["detail"]) == (409, True)
    assert program.post("/api/v1/cases/case0/verdict", json={"verdict": "fault"}).status_code == 422
    told = give_verdict(app.state.store, "case0", FINDING, who="mara", at=AT, period_hours=1)
    again = program.post("/api/v1/cases/case0/verdict", json=FINDING).json()
    assert again["label_id"] == told["label_id"], "given twice, stored once"
    old = program.post("/api/v1/cases/case0/verdict", json={"verdict": "healthy", "evidence": "inspected", "shown": 0})
    assert (old.status_code, "has changed" in old.json()["detail"]) == (409, True)
    assert program.get("/api/v1/cases/case0").json()["shown"] == 2
    alike = {"verdict": "fault", "evidence": "teardown", "shown": 2, "also": ["case1"]}
    assert [one["case_id"] for one in program.post("/api/v1/cases/case0/verdict", json=alike).json()["also"]] == [
        "case1"
    ]
