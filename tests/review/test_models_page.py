"""The models page: versions, and what labels bought after each change of champion."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from pipeline import intake
from pipeline.accounts import add_user, make_token
from pipeline.base.settings import Settings
from pipeline.registry.versions import set_alias
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Case, CaseRescore, Label, ModelVersion, PlantLevel, QuarantineRow
from review.app import create_app
from review.terms import _TERMS

AT = datetime(2026, 3, 1, tzinfo=UTC)


def version(name: str, day: int) -> dict[str, Any]:
    unit = {"unit": "u", "class_name": "healthy", "mutual_information": 0.4 / day}
    return {
        "model_version": name,
        "scope": "acceleration",
        "kind": "classification",
        "feature_version": "f",
        "lake_prefix": f"models/{name}",
        "label_cutoff": AT + timedelta(days=day),
        "training_data_hash": "",
        "n_units": 1,
        "n_windows": 1,
        "settings": {"files": []},
        "metrics": {"overall": {}, "units": [unit]},
        "known_at": AT + timedelta(days=day),
    }


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_the_page_shows_decisions_that_changed_and_how_far_doubt_fell(store: Store, lake: Lake, tmp_path: Path) -> None:
    case = {
        "case_id": "case0000", "axis_id": "a", "family": "machine", "state": "closed", "first_at": AT, "last_at": AT,
        "n_bins": 1, "priority": 0.9, "reasons": [], "fault_probability": 0.9, "mode": None, "known_at": AT,
        "changed_at": AT,
    }  # fmt: skip
    label = {
        "label_id": "l", "axis_id": "a", "from_at": AT, "to_at": AT + timedelta(days=1), "verdict": "fault",
        "evidence": "inspected", "note": "", "who": "mara", "case_id": "case0000", "known_at": AT + timedelta(days=2),
    }  # fmt: skip
    axis = {"axis_id": "a", "site": "", "cell": "", "robot_id": "R", "axis": "A", "known_at": AT}
    with store.write() as connection:
        connection.execute(sa.insert(Axis), axis)
        connection.execute(sa.insert(Case), case)
        connection.execute(sa.insert(Label), label)
        connection.execute(sa.insert(ModelVersion), [version("old", 1), version("new", 2)])
        for name, action in (("old", "first"), ("new", "promoted")):
            told = {"action": action, "who": "jo", "reason": "r", "at": AT}
            set_alias(connection, "acceleration", "champion", name, **told)
        for name, state, information in (("old", "healthy", 0.30), ("new", "alarm", 0.05)):
            row = {"case_id": "case0000", "scope": "acceleration", "model_version": name, "state": state, "flags": []}
            row |= {"n_windows": 3, "mutual_information": information, "known_at": AT}
            connection.execute(sa.insert(CaseRescore), row)
    add_user(store, "viewer", "viewer", "password of viewer", at=AT)
    app = create_app(store, lake, Settings(home=tmp_path), clock=lambda: AT)
    token = make_token(store, "viewer", purpose="test", at=AT, days=1)
    page = TestClient(app, base_url="https://testserver", headers={"Authorization": f"Bearer {token}"}).get("/models")
    assert page.status_code == 200
    table = page.text.split('<table id="payback" ')[1]
    assert "old → new" in table
    assert "1 (1, 0)" in table, "one decision changed, for the better"
    assert 'href="/cases/case0000">case0000</a> healthy → alarm' in table
    assert "0.4000 → 0.2000 (n = 1)" in table


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_stored_reasons_are_told_in_korean(store: Store, lake: Lake, tmp_path: Path) -> None:
    """What was stored as an English sentence is worded from its figures or its code; the sentence itself is folded."""
    level = {"model_version": "m", "decided_at": AT, "sequence": 1, "scope": "acceleration", "review_probability": 0.1}
    level |= {"held": False, "who": "axiswatch", "known_at": AT}
    kept = {"quarantine_id": "q", "file_hash": "h", "path": "1.parquet", "row_number": -1, "what": "", "known_at": AT}
    kept |= {"reasons": [{"code": "missing_column", "text": "column unit is missing"}], "lake_path": "", "lake_row": -1}
    with store.write() as connection:
        connection.execute(sa.insert(ModelVersion), version("m", 1))
        told = {"action": "first", "who": "axiswatch", "reason": "first version of its scope", "at": AT}
        set_alias(connection, "acceleration", "champion", "m", **told)
        for site, alarm in (("1", 0.3), ("2", 0.5)):
            figures = {"units": 9, "estimated": 0.3, "false_alarms": 2}
            row = {"site": site, "alarm_probability": alarm, "figures": figures, "reason": "9 healthy units, at most"}
            connection.execute(sa.insert(PlantLevel), level | row)
        by_hand = {
            "site": "3",
            "alarm_probability": 0.3,
            "figures": {},
            "reason": "taken back by mara: 잘못",
            "who": "mara",
        }
        connection.execute(sa.insert(PlantLevel), level | by_hand)
        connection.execute(sa.insert(QuarantineRow), kept | {"state": "open"})
    add_user(store, "viewer", "viewer", "password of viewer", at=AT)
    app = create_app(store, lake, Settings(home=tmp_path), clock=lambda: AT + timedelta(days=3))
    headers = {"Authorization": f"Bearer {make_token(store, 'viewer', purpose='t', at=AT, days=9)}"}
    for path in ("/models", "/calibration", "/quarantine"):
        browser = TestClient(app, base_url="https://testserver", headers=headers | {"Accept-Language": "ko"})
        page = browser.get(path).text.split('<main id="main" tabindex="-1">')[1].split("</main>")[0]
        shown = re.sub(r"<details class=\"original\">.*?</details>", "", page)
        words = set(re.findall(r"[A-Za-z]{3,}", re.sub(r"<.*?>", " ", shown)))
        assert words <= {"axiswatch", "AUROC", "mara", "parquet"}, path
        if path != "/quarantine":
            for wording in (
                "정상 장치 9대로 추정<",
                "정상 장치 9대로 추정, 오경보가 난 장치 2대를 반영해 올림<",
                "되돌림: 잘못<",
            ):
                assert wording in shown.replace("\n", ""), (path, wording)
    assert "필요한 열이 없음" in shown


def test_every_code_of_the_quarantine_has_words() -> None:
    """So that no page shows a code; the codes are read from the code of intake."""
    text = "".join(path.read_text("utf-8") for path in Path(intake.__file__).parent.glob("*.py"))
    codes = set(re.findall(r"Reason\(\s*\"([a-z_]+)\"", text)) | set(re.findall(r"code = \"([a-z_]+)\"", text))
    assert len(codes) > 25
    assert codes <= set(_TERMS), codes - set(_TERMS)
