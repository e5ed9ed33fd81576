"""The JSON interface, version 1, for programs: with a token, or the session of a browser. Described by OpenAPI."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import AfterValidator, BaseModel, Field

from pipeline import case_work
from pipeline.accounts import Account
from pipeline.case_queue import Filters, queue_page
from pipeline.cases import count_cases, fleet_states, give_verdict
from pipeline.model_versions import list_versions
from pipeline.quarantine import list_quarantine
from pipeline.schema import Axis, Case, Label
from pipeline.schema_review import LabelWithdrawal
from review.access import PUBLIC, needs
from review.case_view import case_details, case_figures, stretch_of_signal

REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"description": "not logged in and no token"},
    403: {"description": "the role does not suffice, or the write lacks the session's word"},
    404: {"description": "there is no such thing"},
    409: {"description": "refused; `detail` says why"},
}
router = APIRouter(prefix="/api/v1", responses=REFUSED)
Anybody = Annotated[Account | None, needs(PUBLIC)]
Viewer = Annotated[Account, needs("viewer")]
Reviewer = Annotated[Account, needs("reviewer")]


def _storable(text: str) -> str:
    """Refuse what no database takes as text: a NUL, or half of a surrogate pair."""
    text.encode()
    if "\0" in text:
        raise ValueError("text has a NUL character")
    return text


Text = Annotated[str, AfterValidator(_storable)]


class Finding(BaseModel, extra="forbid"):
    """What somebody found; words of the taxonomy, times in ISO 8601 with an offset."""

    verdict: Text
    evidence: Text
    component: Text = ""
    mode: Text = ""
    cause: Text = ""
    severity: Text = ""
    confidence: Text = ""
    note: Text = Field("", max_length=4000)
    from_at: Text = ""
    to_at: Text = ""


class Comment(BaseModel, extra="forbid"):
    """A comment."""

    text: Text = Field(min_length=1, max_length=4000)


class WorkOrder(BaseModel, extra="forbid"):
    """The number of a work order; empty takes it away."""

    number: Text = Field(max_length=100)


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, account: Viewer) -> dict[str, Any]:
    """Describe this interface."""
    del account
    described: dict[str, Any] = request.app.openapi()
    return described


@router.get("/health")
def health(request: Request, account: Anybody) -> dict[str, str]:
    """Say that the application answers and its database, too."""
    del account
    with request.app.state.store.read() as connection:
        connection.execute(sa.select(1))
    return {"status": "ok"}


@router.get("/metrics")
def metrics(request: Request, account: Viewer) -> Response:
    """Give the numbers of cases and axes by state in Prometheus' format."""
    del account
    store, registry = request.app.state.store, CollectorRegistry()
    cases = Gauge("axiswatch_cases", "Cases by state", ["state"], registry=registry)
    for state in ("open", "snoozed", "closed"):
        cases.labels(state).set(count_cases(store, state=state))
    axes = Gauge("axiswatch_axes", "Axes by state", ["state"], registry=registry)
    for axis in fleet_states(store):
        axes.labels(axis["state"]).inc()
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/cases")
def cases(
    request: Request,
    account: Viewer,
    state: Literal["open", "snoozed", "closed", "all"] = "open",
    search: str = "",
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Give a page of cases, highest priority first, and the place of the next page."""
    del account
    app = request.app.state
    wanted = Filters(state=state, search=search)
    rows, following = queue_page(app.store, wanted, as_of=app.clock(), after=after, limit=limit)
    return {"cases": rows, "after": following}


@router.get("/cases/{case_id}")
def case(request: Request, account: Viewer, case_id: str) -> dict[str, Any]:
    """Give one case with its history and findings."""
    del account
    return case_details(request.app.state.store, case_id, as_of=request.app.state.clock())


@router.get("/cases/{case_id}/figures")
def figures(request: Request, account: Viewer, case_id: str, channel: str = "") -> dict[str, Any]:
    """Give what the page of a case draws, of one channel or (empty) of the most suspicious one."""
    del account
    app = request.app.state
    return case_figures(app.store, app.lake, app.settings, case_id, channel.replace("\0", ""))


@router.get("/recordings/{recording_id}/waveform")
def waveform(
    request: Request,
    account: Viewer,
    recording_id: str,
    start: Annotated[int, Query(ge=0, le=10**9)] = 0,
    stop: Annotated[int, Query(ge=0, le=10**9)] = 10**9,
) -> dict[str, Any]:
    """Give a stretch of a waveform, thinned out without losing peaks."""
    del account
    return stretch_of_signal(request.app.state.store, request.app.state.lake, recording_id, start, stop)


@router.post("/cases/{case_id}/claim")
def claim(request: Request, account: Reviewer, case_id: str) -> dict[str, Any]:
    """Claim a case."""
    app = request.app.state
    minutes = app.settings.review_claim_minutes
    return case_work.claim(app.store, case_id, who=account.name, at=app.clock(), minutes=minutes)


@router.post("/cases/{case_id}/verdict")
def verdict(request: Request, account: Reviewer, case_id: str, finding: Finding) -> dict[str, Any]:
    """Record what was found."""
    app = request.app.state
    hours = app.settings.state_period_hours
    told = finding.model_dump()
    return give_verdict(app.store, case_id, told, who=account.name, at=app.clock(), period_hours=hours)


@router.post("/cases/{case_id}/undo")
def undo(request: Request, account: Reviewer, case_id: str) -> dict[str, Any]:
    """Take one's own verdict back."""
    app = request.app.state
    return case_work.undo(app.store, case_id, who=account.name, at=app.clock())


@router.post("/cases/{case_id}/comment")
def comment(request: Request, account: Reviewer, case_id: str, told: Comment) -> dict[str, str]:
    """Add a comment."""
    app = request.app.state
    case_work.comment(app.store, case_id, told.text, who=account.name, at=app.clock())
    return {"case_id": case_id}


@router.post("/cases/{case_id}/work-order")
def work_order(request: Request, account: Reviewer, case_id: str, told: WorkOrder) -> dict[str, str]:
    """Write the number of a work order back."""
    app = request.app.state
    case_work.set_work_order(app.store, case_id, told.number, who=account.name, at=app.clock())
    return {"case_id": case_id}


@router.get("/fleet")
def fleet(request: Request, account: Viewer) -> list[dict[str, Any]]:
    """Give the latest state of every axis."""
    del account
    return fleet_states(request.app.state.store)


@router.get("/models")
def models(request: Request, account: Viewer) -> list[dict[str, Any]]:
    """Give all model versions with their aliases and held-out figures."""
    del account
    return list_versions(request.app.state.store)


@router.get("/quarantine")
def quarantine(request: Request, account: Viewer) -> list[dict[str, Any]]:
    """Give what could not be read."""
    del account
    return list_quarantine(request.app.state.store)


@router.get("/export/{what}.{form}")
def export(
    request: Request, account: Viewer, what: Literal["labels", "cases"], form: Literal["csv", "parquet"]
) -> Response:
    """Give all labels or all cases as CSV (UTF-8) or Parquet."""
    del account
    names = (Axis.site, Axis.cell, Axis.robot_id, Axis.axis)
    if what == "labels":
        query: Any = sa.select(*names, Label, LabelWithdrawal.known_at.label("withdrawn_at"))
        query = query.outerjoin(Axis, Axis.axis_id == Label.axis_id)
        query = query.outerjoin(LabelWithdrawal, LabelWithdrawal.label_id == Label.label_id)
        query = query.order_by(Label.known_at, Label.label_id)
    else:
        left_out = {"reasons"}
        columns = [column for column in Case.__table__.columns if column.name not in left_out]
        query = sa.select(*names, *columns).join(Axis, Axis.axis_id == Case.axis_id).order_by(Case.case_id)
    with request.app.state.store.read() as connection:
        found = connection.execute(query)
        header, rows = list(found.keys()), found.all()
    body, kind = _as_csv(header, rows) if form == "csv" else _as_parquet(header, rows)
    return Response(body, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{what}.{form}"'})


def _as_csv(header: list[str], rows: Sequence[Any]) -> tuple[bytes, str]:
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(header)
    writer.writerows([value.isoformat() if hasattr(value, "isoformat") else value for value in row] for row in rows)
    return sink.getvalue().encode(), "text/csv; charset=utf-8"


def _as_parquet(header: list[str], rows: Sequence[Any]) -> tuple[bytes, str]:
    table = pa.table({name: [row[place] for row in rows] for place, name in enumerate(header)})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue(), "application/vnd.apache.parquet"
