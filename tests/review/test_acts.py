"""Everything that can be done, by the interface for programs: what it comes to, what the history keeps, who may."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipeline.accounts import add_user, make_token
from pipeline.base.ids import utc_text
from pipeline.base.settings import Settings
from pipeline.cases.queue import REASONS, Filters, count_queue, queue
from pipeline.cases.verdicts import get_case
from pipeline.handoff.exporting import export, write_export
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, AxisState, Case, LakeFile, Recording
from review.app import create_app

AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FINDING = {"verdict": "fault", "evidence": "inspected", "mode": "inner_race", "confidence": 0.8}
SEEN = {"model_versions": ["m1"], "fault_probability": 0.97, "priority": 0.9, "n_bins": 3}


class Clock:
    """The clock of the application, moved by hand."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now


def add_axis(store: Store, number: int, code: str = "fault") -> None:
    """An axis with one state and one open case."""
    axis = {"axis_id": f"axis{number}", "site": "plant1", "cell": "c1", "robot_id": f"R{number}", "axis": "A1"}
    state = {
        "axis_id": f"axis{number}",
        "bin_at": AT - 2 * DAY,
        "state": "alarm",
        "first_at": AT - 2 * DAY,
        "last_at": AT - DAY,
        "n_windows": 4,
        "fault_probability": 0.97,
        "mode": "inner_race",
        "mutual_information": 0.01,
        "quality": "ok",
        "flags": [],
        "model_versions": ["m1"],
        "known_at": AT,
    }
    case = {
        "case_id": f"case{number}",
        "axis_id": f"axis{number}",
        "family": "audit" if code == "audit" else "machine",
        "state": "open",
        "first_at": AT - 2 * DAY,
        "last_at": AT - DAY,
        "n_bins": 3,
        "priority": 0.9,
        "reasons": [{"code": code, "text": "Why.", "first_at": "", "last_at": "", "n_bins": 3}],
        "fault_probability": 0.97,
        "mode": "inner_race",
        "known_at": AT,
        "changed_at": AT,
    }
    with store.write() as connection:
        connection.execute(sa.insert(Axis), axis | {"expected_every_s": None, "criticality": None, "known_at": AT})
        connection.execute(sa.insert(AxisState), state)
        connection.execute(sa.insert(Case), case)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(store: Store, lake: Lake, tmp_path: Path, clock: Clock) -> FastAPI:
    """The application with three cases and three users, on both databases."""
    for number, code in enumerate(("fault", "novel", "audit")):
        add_axis(store, number, code)
    for name, role in (("mara", "reviewer"), ("jun", "reviewer"), ("viv", "viewer")):
        add_user(store, name, role, f"password of {name}", at=AT)
    return create_app(store, lake, Settings(home=tmp_path), clock=clock)


def acting(app: FastAPI, name: str) -> TestClient:
    token = make_token(app.state.store, name, purpose="test", at=AT, days=100)
    return TestClient(app, base_url="https://testserver", headers={"Authorization": f"Bearer {token}"})


def do(who: TestClient, path: str, **told: Any) -> dict[str, Any]:
    answer = who.post(f"/api/v1/{path}", json=told or None)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ids(who: TestClient, **filters: Any) -> list[str]:
    return [row["case_id"] for row in who.get("/api/v1/cases", params=filters).json()["cases"]]


def test_a_case_goes_its_whole_way(app: FastAPI, clock: Clock) -> None:
    mara, jun = acting(app, "mara"), acting(app, "jun")
    assert mara.get("/api/v1/me").json() == {"name": "mara", "role": "reviewer"}
    assert do(mara, "cases/case0/claim")["claimed_by"] == "mara"
    assert jun.post("/api/v1/cases/case0/work-order", json={"number": "WO-1"}).status_code == 200, "any reviewer's"
    assert jun.post("/api/v1/cases/case0/snooze", json={"until": None}).status_code == 409
    do(mara, "cases/case0/hand-over", to="jun")
    assert ids(jun, mine=True) == ["case0"]
    assert ids(mara, mine=True) == []
    assert mara.post("/api/v1/cases/case0/verdict", json=FINDING).status_code == 409
    do(jun, "cases/case0/release")
    do(jun, "cases/case0/snooze", until=utc_text(AT + DAY))
    assert ids(jun, state="snoozed") == ["case0"]
    assert (do(jun, "cases/case0/wake")["state"], "case0" in ids(jun)) == ("open", True)
    assert jun.post("/api/v1/cases/case0/snooze", json={"until": "9999-12-31T00:00:00Z"}).status_code == 409
    do(jun, "cases/case0/comment", text="gearbox is on order")
    assert do(jun, "cases/case0/verdict", **FINDING)["state"] == "closed"
    assert do(jun, "cases/case0/undo")["state"] == "open"
    clock.now = AT + DAY
    do(jun, "cases/case0/verdict", **FINDING)
    clock.now = AT + 30 * DAY
    do(mara, "cases/case0/verdict", verdict="fault", evidence="teardown", mode="outer_race", severity="urgent")
    told = mara.get("/api/v1/cases/case0").json()
    found = [(row["who"], row["mode"], row["known_at"][:10], row["withdrawn_at"] is None) for row in told["labels"]]
    assert found == [
        ("jun", "inner_race", "2026-03-01", False),
        ("jun", "inner_race", "2026-03-02", True),
        ("mara", "outer_race", "2026-03-31", True),
    ], "each with the time it became known; the last overwrites none"
    assert told["work"]["work_order"] == "WO-1"
    acts = [event["action"] for event in told["events"]]
    assert acts == [
        "claimed",
        "work_order",
        "handed_over",
        "released",
        "snoozed",
        "woken",
        "comment",
        "verdict",
        "closed",
        "undone",
        "verdict",
        "closed",
        "verdict",
        "closed",
    ]
    assert {event["who"] for event in told["events"]} == {"mara", "jun"}
    assert all(event["details"]["seen"] == SEEN for event in told["events"]), "what was on record, at every act"


def test_many_at_once_and_none_stops_the_others(app: FastAPI) -> None:
    mara, jun = acting(app, "mara"), acting(app, "jun")
    do(jun, "cases/case1/claim")
    found = do(mara, "bulk/verdict", case_ids=["case0", "case1", "none", "case2", "case0"], finding=FINDING)
    assert [item["case_id"] for item in found["done"]] == ["case0", "case2"]
    assert [item["case_id"] for item in found["refused"]] == ["case1", "none"]
    assert "claimed by jun" in found["refused"][0]["detail"]
    assert ids(mara) == ["case1"]


def test_an_axis_is_muted_and_heard_again(app: FastAPI, clock: Clock) -> None:
    mara = acting(app, "mara")
    do(mara, "axes/axis0/mute", reason="gearbox on order", until=utc_text(AT + 9 * DAY))
    assert "case0" not in ids(mara)
    assert (mara.get("/api/v1/axes/axis0").json()["muted"], mara.get("/api/v1/axes/axis1").json()["muted"]) == (
        True,
        False,
    )
    assert mara.post("/api/v1/axes/axis1/unmute", json={"reason": "x"}).status_code == 409
    clock.now = AT + DAY
    do(mara, "axes/axis0/mute", reason="shorter", until=utc_text(AT + 2 * DAY))
    clock.now = AT + 3 * DAY
    assert "case0" in ids(mara), "the newest mute holds, and it is over"
    do(mara, "axes/axis0/mute", reason="again", until=utc_text(AT + 9 * DAY))
    clock.now = AT + 4 * DAY
    do(mara, "axes/axis0/unmute", reason="it came early")
    told = mara.get("/api/v1/axes/axis0").json()
    assert "case0" in ids(mara)
    assert told["muted"] is False
    assert [row["reason"] for row in told["mutes"]] == ["gearbox on order", "shorter", "again", "it came early"]
    assert {row["who"] for row in told["mutes"]} == {"mara"}
    assert all(row["seen"]["model_versions"] == ["m1"] and row["seen"]["state"] == "alarm" for row in told["mutes"])
    assert len(mara.get("/api/v1/axes/axis0/states").json()) == 1
    assert mara.get("/api/v1/axes/none").status_code == 404
    assert mara.post("/api/v1/axes/axis0/mute", json={"reason": "x", "until": utc_text(AT)}).status_code == 409
    clock.now += DAY
    page = mara.post("/axes/axis0/mute", data={"reason": "by the page", "until": "2026-03-20T00:00"})
    assert page.status_code == 200
    assert "by the page" in page.text
    assert 'id="unmute"' in page.text
    assert "muted until" in mara.get("/fleet").text
    clock.now += DAY
    lifted = mara.post("/axes/axis0/unmute", data={"reason": "by the page, too"})
    assert (lifted.status_code, 'id="unmute"' in lifted.text) == (200, False)
    assert "muted until" not in mara.get("/fleet").text, "the newest row of an axis holds there, too"
    assert "case0" in ids(mara)


def test_a_viewer_sees_and_does_nothing(app: FastAPI) -> None:
    viv = acting(app, "viv")
    assert len(ids(viv)) == 3
    acts = (
        ("cases/case0/claim", None),
        ("cases/case0/hand-over", {"to": ""}),
        ("cases/case0/release", None),
        ("cases/case0/wake", None),
        ("cases/case0/verdict", FINDING),
        ("bulk/verdict", {"case_ids": ["case0"], "finding": FINDING}),
        ("cases/case0/undo", None),
        ("cases/case0/snooze", {"until": None}),
        ("cases/case0/comment", {"text": "x"}),
        ("cases/case0/work-order", {"number": "x"}),
        ("axes/axis0/mute", {"reason": "x", "until": utc_text(AT + DAY)}),
        ("axes/axis0/unmute", {"reason": "x"}),
    )
    for path, told in acts:
        assert viv.post(f"/api/v1/{path}", json=told).status_code == 403, path
    assert get_case(app.state.store, "case0")["events"] == []


def test_the_queue_is_one_and_knows_audits(app: FastAPI) -> None:
    mara, store = acting(app, "mara"), app.state.store
    assert ids(mara, reason="audit") == ["case2"]
    assert ids(mara, reason="novel", robot="R1", site="plant1", cell="c1") == ["case1"]
    assert mara.get("/api/v1/cases", params={"reason": "haunted"}).status_code == 422
    page = mara.get("/").text
    assert all(f'<option value="{code}">' in page for code in REASONS)
    assert "case2" in mara.get("/?reason=audit").text
    do(mara, "axes/axis0/mute", reason="gearbox on order", until=utc_text(AT + DAY))
    assert [row["case_id"] for row in queue(store, as_of=AT)] == ids(mara), "the command line's and the web's"
    assert count_queue(store, as_of=AT) == 2
    assert count_queue(store, Filters(state="all"), as_of=AT) == 3


def test_exports_are_the_same_by_command_and_interface(app: FastAPI, tmp_path: Path) -> None:
    mara, store = acting(app, "mara"), app.state.store
    empty = pq.read_table(io.BytesIO(export(store, "labels", "parquet")[0]))
    do(mara, "cases/case0/work-order", number="WO-4711")
    do(mara, "cases/case0/verdict", **FINDING)
    full = pq.read_table(io.BytesIO(export(store, "labels", "parquet")[0]))
    assert empty.schema == full.schema, "types do not depend on what there is"
    assert full.schema.field("known_at").type == pa.timestamp("us", tz="UTC")
    for what in ("labels", "cases"):
        for form in ("csv", "parquet"):
            out = tmp_path / f"{what}.{form}"
            assert write_export(store, what, form, out) == (1 if what == "labels" else 3)
            assert out.read_bytes() == mara.get(f"/api/v1/export/{what}.{form}").content
    rows = list(csv.DictReader(io.StringIO((tmp_path / "cases.csv").read_text("utf-8"))))
    assert [(row["case_id"], row["reasons"], row["work_order"]) for row in rows] == [
        ("case0", "fault", "WO-4711"),
        ("case1", "novel", ""),
        ("case2", "audit", ""),
    ]
    assert sorted(path.name for path in tmp_path.glob(".*.csv.*")) == [], "nothing is left beside"


def test_the_export_command(cli: Any) -> None:
    store = Store.open(f"sqlite:///{cli.home / 'axiswatch.db'}")
    add_axis(store, 0)
    out = cli.home / "cases.parquet"
    told = cli("export", "cases", "--format", "parquet", "--out", out, "--json").json()
    assert told == {"out": str(out), "rows": 1}
    assert pq.read_table(out).column("robot_id").to_pylist() == ["R0"]
    assert cli("export", "labels", "--out", cli.home / "labels.csv").code == 0
    assert (cli.home / "labels.csv").read_text("utf-8").startswith("site,cell,robot_id,axis,label_id,")
    refused = cli("export", "labels", "--out", cli.home / "nowhere" / "labels.csv")
    assert refused.code == 1
    assert "cannot write" in refused.err
    store.dispose()


def test_an_empty_plant_says_what_comes_next(store: Store, lake: Lake, tmp_path: Path, clock: Clock) -> None:
    """And with recordings but no model, that; a queue that is only filtered empty says neither."""
    add_user(store, "viv", "viewer", "password of viv", at=AT)
    viv = acting(create_app(store, lake, Settings(home=tmp_path), clock=clock), "viv")
    assert "put log files into the landing zone" in viv.get("/").text
    assert "다음 단계" in viv.get("/", headers={"accept-language": "ko"}).text
    add_axis(store, 0)
    signal: dict[str, Any] = {"channel": "acc_x", "unit": "g", "n_samples": 9, "quantity": "acceleration"}
    signal |= {"time_basis": "clock", "sampling_rate_hz": 1.0, "rate_basis": "declared"}
    names = ("shaft_speed_rpm", "speed_is_steady", "load", "payload_kg", "temperature_c", "program", "unit_serial")
    keys = {"recording_id": "r", "axis_id": "axis0", "started_at": AT, "lake_path": "f", "lake_row": 0}
    keys |= {"content_hash": "c", "file_hash": "h", "known_at": AT}
    with store.write() as connection:
        file = {"path": "f", "kind": "recordings", "size_bytes": 1, "n_rows": 9, "known_at": AT}
        connection.execute(sa.insert(LakeFile), file)
        connection.execute(sa.insert(Recording), signal | keys | dict.fromkeys(names))
    assert "train a model" in viv.get("/?state=closed").text
    assert "Next step" not in viv.get("/").text
