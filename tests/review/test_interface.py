"""The JSON interface against its own description: hundreds of odd requests, no 5xx and no undocumented status."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from pipeline.accounts import add_user, make_token
from pipeline.base.settings import Settings
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Case
from review.app import create_app

AT = datetime(2026, 3, 1, tzinfo=UTC)
TOKEN: dict[str, str] = {}


@pytest.fixture
def interface(postgres: Any, tmp_path: Path) -> Any:
    """The description, as the application on PostgreSQL gives it, of a store with one case."""
    name = postgres.create()
    store = Store.open(postgres.url(name))
    axis = {"axis_id": "axis0", "site": "p", "cell": "c", "robot_id": "R", "axis": "A", "known_at": AT}
    case = {"case_id": "0", "axis_id": "axis0", "family": "machine", "state": "open", "first_at": AT, "last_at": AT}
    figures = {"n_bins": 1, "priority": 0.5, "reasons": [], "fault_probability": 0.5, "mode": None}
    with store.write() as connection:
        connection.execute(sa.insert(Axis), axis | {"expected_every_s": None, "criticality": None})
        connection.execute(sa.insert(Case), case | figures | {"known_at": AT, "changed_at": AT})
    add_user(store, "mara", "reviewer", "a long password", at=AT)
    TOKEN["Authorization"] = f"Bearer {make_token(store, 'mara', purpose='test', at=AT, days=1)}"
    app = create_app(store, Lake(str(tmp_path / "lake")), Settings(home=tmp_path), clock=lambda: AT)
    yield schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=dict(TOKEN))
    store.dispose()
    postgres.drop(name)


def test_odd_requests_end_as_described(interface: Any) -> None:
    """As a reviewer, so that acts are done and not only refused."""
    statuses: set[int] = set()
    operations = [found.ok() for found in interface.get_all_operations()]
    assert len(operations) >= 15
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def ask(case: schemathesis.Case) -> None:
            answer = case.call(headers=dict(TOKEN))
            statuses.add(answer.status_code)
            case.validate_response(answer, checks=[not_a_server_error, status_code_conformance])

        ask()
    assert {200, 404, 422} <= statuses, "requests that are done, and such that are refused"
