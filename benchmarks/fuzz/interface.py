"""Target of the review application, in process: bodies and parameters of every route, as a reviewer with a token."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_from_bytes

import httpx
import numpy as np
import sqlalchemy as sa
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from benchmarks.fuzz.bytes_damage import Rng, damage_bytes
from benchmarks.fuzz.logs import LIMITS
from benchmarks.fuzz.outcomes import Given, Outcome, judged
from benchmarks.fuzz.parquet_damage import FIRST, rows, table_of, to_bytes
from benchmarks.fuzz.text_damage import damaged_json, odd_json, text_of
from pipeline.accounts import add_user, make_token
from pipeline.base.settings import Settings
from pipeline.extraction.baseline import update_baselines
from pipeline.extraction.extract import extract_due
from pipeline.intake.acquire import acquire
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, AxisState, Case
from pipeline.trends.course import update_trends
from review.app import create_app

AT: Final = datetime(2026, 3, 1, tzinfo=UTC)
FINDING: Final = {
    "verdict": "fault",
    "evidence": "inspected",
    "component": "bearing",
    "mode": "ball",
    "cause": "",
    "severity": "",
    "confidence": 0.5,
    "note": "seen",
    "channel": "acc_x",
    "from_at": "2026-01-05T00:00:00Z",
    "to_at": "2026-01-06T00:00:00Z",
}
BODIES: Final[dict[str, Any]] = {
    "verdict": {**FINDING, "also": ["case1"], "shown": 3},
    "bulk/verdict": {"case_ids": ["case0", "case1"], "finding": FINDING},
    "comment": {"text": "a comment"},
    "work-order": {"number": "WO-1"},
    "hand-over": {"to": "jun"},
    "snooze": {"until": "2026-03-02T00:00:00Z"},
    "mute": {"reason": "being repaired", "until": "2026-03-02T00:00:00Z"},
    "unmute": {"reason": "done"},
}
"""A good body by the end of the route's path."""
QUERIES: Final = (
    *(
        "state",
        "site",
        "cell",
        "robot",
        "reason",
        "mine",
        "search",
        "after",
        "limit",
        "hours",
        "since",
        "part",
        "channel",
    ),
    *("recording", "other", "v", "next", "from", "to", "language", "recorded", "undone", "scale", "at", "regime"),
)
GOOD: Final = ("open", "all", "plant", "R0", "unseen", "true", "5", "2026-01-05T00:00:00Z", "acc_x", "8", "case1", "en")


class Interface:
    """Each answer is one of success, or a refusal with a sentence; an error of the application's own is a crash."""

    name = "api"
    refusals: tuple[type[Exception], ...] = ()
    wrapped: tuple[type[Exception], ...] = ()
    calls = 1

    def prepare(self, folder: Path) -> None:
        """Make a small plant with cases, two reviewers and the application."""
        home = folder / "home"
        settings = Settings(home=home, workers=1, baseline_days=0.5, review_secure_cookie=False)
        settings.landing_zone.mkdir(parents=True)
        store, lake = Store.open(settings.database), Lake(settings.lake)
        rng = np.random.default_rng(4)
        made = [row | {"samples": rng.normal(0, 1, 4096).astype(np.float32)} for row in rows(rng, 48, 30)]
        (settings.landing_zone / "log.parquet").write_bytes(to_bytes(table_of(made)))
        acquire(store, lake, settings.landing_zone, limits=LIMITS, settled_before=AT + timedelta(days=3650))
        extract_due(store, lake, settings, as_of=AT)
        update_baselines(store, lake, settings, as_of=AT)
        update_trends(store, lake, settings, as_of=AT)
        self.axes = _add_cases(store)
        for name in ("mara", "jun"):
            add_user(store, name, "reviewer", "a long password", at=AT)
        token = make_token(store, "mara", purpose="fuzz", at=AT, days=1)
        self.store, self.database = store, Path(settings.database.partition("///")[2])
        store.dispose()
        shutil.copy(self.database, folder / "kept.sqlite")
        self.kept = folder / "kept.sqlite"
        app = create_app(store, lake, settings, clock=lambda: AT)
        self.routes = sorted(
            (method, route.path)
            for route in _routes(app.routes)
            for method in route.methods
            if method in ("GET", "POST") and "log" not in route.path and "static" not in route.path
        )
        self.client = TestClient(app, headers={"Authorization": f"Bearer {token}"}, follow_redirects=False)

    def damaged(self, rng: Rng) -> Given:
        """Make a request: a route, ids, a query, a body, headers."""
        programs = [route for route in self.routes if route[1].startswith("/api/")]
        among = programs if rng.random() < 0.8 else self.routes
        method, path = among[int(rng.integers(len(among)))]
        wrong = rng.random() < 0.2
        for name, good in (
            ("case_id", f"case{rng.integers(3)}"),
            ("axis_id", self.axes[int(rng.integers(len(self.axes)))]),
        ):
            path = path.replace(f"{{{name}}}", _odd_part(rng) if wrong else good)
        while "{" in path:
            begin, _, rest = path.partition("{")
            path = begin + (_odd_part(rng) if wrong else "labels" if "what" in rest else "csv") + rest.partition("}")[2]
        headers = {"X-Odd": "1"}
        query = "" if rng.random() < 0.3 and method == "POST" else _query(rng)
        damage, content = "parameters", b""
        if method == "POST" and path.startswith("/api/"):
            good = next((body for end, body in BODIES.items() if path.endswith(end)), {})
            damage, content = damaged_json(rng, good)
            headers["Content-Type"] = "application/json"
            if rng.random() < 0.1:
                odd = ("text/plain", "application/json; charset=utf-16", "multipart/form-data", "", "x" * 5000)
                headers["Content-Type"] = odd[int(rng.integers(len(odd)))]
        elif method == "POST":
            damage, content = "form", _form(rng)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            if rng.random() < 0.1:
                headers["Content-Type"] = "multipart/form-data; boundary=x"
        if wrong:
            damage = "ids of the path"
        if rng.random() < 0.05:
            damage = "headers"
            name = ("Origin", "Cookie", "Authorization", "Accept-Language", "X-CSRF-Token", "Host")[
                int(rng.integers(6))
            ]
            headers[name] = text_of(rng).encode("ascii", "replace").decode()[:8000].replace("\n", "").replace("\r", "")
        return Given(damage, (method, path + query, content, headers))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Send the request; the database is as before each time."""
        method, url, content, headers = given.what
        self.store.dispose()
        for suffix in ("-wal", "-shm"):
            self.database.with_name(self.database.name + suffix).unlink(missing_ok=True)
        shutil.copy(self.kept, self.database)
        try:
            answer = self.client.request(method, url, content=content, headers=headers)
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeEncodeError) as error:
            return Outcome.REFUSED, f"cannot be sent: {type(error).__name__}"
        if answer.status_code >= 500:
            return Outcome.CRASH, f"{method} {url[:100]}: {answer.status_code} {answer.text[:200]}"
        if answer.status_code < 400:
            if "json" in answer.headers.get("content-type", ""):
                json.loads(answer.content, parse_constant=_no_json)
            return Outcome.TAKEN, f"{method} {url[:80]}: {answer.status_code}"
        if not url.startswith("/api/"):
            return Outcome.REFUSED, f"page, {answer.status_code}"
        detail = answer.json()["detail"]
        text = detail if isinstance(detail, str) else "; ".join(f"{one['loc']}: {one['msg']}" for one in detail)
        return judged(f"{answer.status_code}: {text}", is_json=True)


def _no_json(word: str) -> float:
    raise ValueError(f"the answer has {word}, which is no JSON")


def _routes(found: Any) -> list[APIRoute]:
    return [route for route in found if isinstance(route, APIRoute)]


def _add_cases(store: Store) -> list[str]:
    reason = {"code": "unseen", "text": "The model has not seen this.", "n_bins": 2}
    with store.write() as connection:
        axes = list(connection.scalars(sa.select(Axis.axis_id).order_by(Axis.robot_id)))
        for number, axis in enumerate(axes):
            case = {"case_id": f"case{number}", "axis_id": axis, "family": "machine", "state": "open", "n_bins": 2}
            case |= {"first_at": FIRST, "last_at": FIRST + timedelta(days=1), "priority": 0.5, "reasons": [reason]}
            case |= {"fault_probability": 0.5, "mode": None, "known_at": AT, "changed_at": AT}
            connection.execute(sa.insert(Case), case)
            state = {"axis_id": axis, "bin_at": FIRST, "state": "unknown", "first_at": FIRST, "last_at": FIRST}
            state |= {"n_windows": 1, "fault_probability": 0.1, "mode": None, "quality": "ok", "flags": []}
            state |= {"mutual_information": 0.1, "expected_entropy": 0.2, "novelty_percentile": 50.0}
            connection.execute(sa.insert(AxisState), state | {"model_versions": [], "known_at": AT})
    return axes


def _odd_part(rng: Rng) -> str:
    if rng.random() < 0.2:
        return quote_from_bytes(rng.bytes(8), safe="")
    return quote(text_of(rng)[:3000], safe="") or "%20"


def _query(rng: Rng) -> str:
    parts = []
    for _ in range(int(rng.choice([0, 1, 1, 2, 5, 60]))):
        name = QUERIES[int(rng.integers(len(QUERIES)))]
        value = _odd_part(rng) if rng.random() < 0.7 else quote(GOOD[int(rng.integers(len(GOOD)))])
        parts.append(f"{name}={value}")
    return f"?{'&'.join(parts)}" if parts else ""


def _form(rng: Rng) -> bytes:
    fields: dict[str, Any] = {
        **FINDING,
        "csrf": "",
        "until": "2026-03-02T00:00",
        "reason": "x",
        "to": "jun",
        "text": "x",
    }
    fields |= {"number": "1", "shown": '{"case0": 1}', "seen": "{}", "case": "case0", "also": "case1"}
    for _ in range(int(rng.choice([0, 1, 2, 4]))):
        changed = odd_json(rng, fields)
        fields = changed if isinstance(changed, dict) else fields
    text = "&".join(
        f"{quote(str(key)[:500], errors='replace')}={quote(str(value)[:20_000], errors='replace')}"
        for key, value in fields.items()
    )
    return damage_bytes(rng, text.encode())[1] if rng.random() < 0.2 else text.encode()
