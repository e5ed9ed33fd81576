"""The JSON interface, version 1, for programs: reading. Writing is in `review.acts.api`.

A request needs a token or the session of a browser. OpenAPI describes the interface.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import AfterValidator, AwareDatetime

from pipeline.accounts import Account
from pipeline.assets.events import timeline
from pipeline.cases.queue import REASONS, Filters, choices_of, count_choices, queue, queue_page
from pipeline.cases.quiet import axis_row, mutes_of
from pipeline.cases.shift import shift_summary
from pipeline.cases.verdicts import fleet_states
from pipeline.handoff import exporting
from pipeline.handoff.gauges import gauges
from pipeline.handoff.heartbeat import last_beat, silence
from pipeline.intake.quarantine import list_quarantine
from pipeline.registry.versions import list_versions
from pipeline.store.tables import AxisState
from review.access import PUBLIC, needs
from review.board import since_of
from review.calibration import reliability
from review.case_view import case_details

REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"description": "not logged in and no token"},
    403: {"description": "the role is not sufficient, or the write has no CSRF token"},
    404: {"description": "not found"},
    409: {"description": "refused; the reason is in `detail`"},
}
router = APIRouter(prefix="/api/v1", responses=REFUSED)
Anybody = Annotated[Account | None, needs(PUBLIC)]
Viewer = Annotated[Account, needs("viewer")]


def _known_reason(text: str) -> str:
    if text not in ("", *REASONS):
        raise ValueError(f"must be one of {', '.join(REASONS)}")
    return text


SHIFT: Final = (
    *("case_id", "site", "cell", "robot_id", "axis", "state", "family", "first_at", "action", "at"),
    *("who", "verdict", "found_mode", "evidence", "note"),
)
Reason = Annotated[str, AfterValidator(_known_reason), Query(json_schema_extra={"enum": ["", *REASONS]})]


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, account: Viewer) -> dict[str, Any]:
    """Describe this interface."""
    del account
    described: dict[str, Any] = request.app.openapi()
    return described


@router.get("/health")
def health(request: Request, account: Anybody) -> dict[str, str]:
    """Return `ok` if the application and its database answer, and whether the monitor is `silent`."""
    del account
    state = request.app.state
    at = state.clock()
    quiet = silence(last_beat(state.store, at), state.settings.monitor_silent_minutes, at=at)
    return {"status": "ok", "monitor": "silent" if quiet else "ok"}


@router.get("/metrics")
def metrics(request: Request, account: Viewer) -> Response:
    """Return the numbers of cases, axes, messages and waiting work, and the monitor's last run, for Prometheus."""
    del account
    state, registry = request.app.state, CollectorRegistry()
    for name, (text, values) in gauges(state.store, state.settings, at=state.clock()).items():
        gauge = Gauge(name, text, sorted({label for key in values for label, _ in key}), registry=registry)
        for key, value in values.items():
            (gauge.labels(**dict(key)) if key else gauge).set(value)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/me")
def me(request: Request, account: Viewer) -> dict[str, str]:
    """Return the user's name and role."""
    del request
    return {"name": account.name, "role": account.role}


def filters_asked(
    account: Viewer,
    state: Literal["open", "snoozed", "closed", "all"] = "open",
    site: str = "",
    cell: str = "",
    robot: str = "",
    reason: Reason = "",
    mine: bool = False,
    search: str = "",
) -> Filters:
    """Return the filters of the queue that the address names."""
    own = account.name if mine else ""
    return Filters(state=state, site=site, cell=cell, robot_id=robot, reason=reason, mine=own, search=search)


Asked = Annotated[Filters, Depends(filters_asked)]


@router.get("/cases")
def cases(
    request: Request,
    account: Viewer,
    filters: Asked,
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Return a page of cases, highest priority first, and `after`, the start of the next page."""
    del account
    app = request.app.state
    rows, following = queue_page(app.store, filters, as_of=app.clock(), after=after, limit=limit)
    return {"cases": rows, "after": following}


@router.get("/counts")
def counts(
    request: Request,
    account: Viewer,
    filters: Asked,
) -> dict[str, dict[str, int]]:
    """Return how many cases each choice of reason, site, cell and robot would show; numbers of up to 30 s before."""
    del account
    app = request.app.state
    now, wanted = app.clock(), (filters.state, filters.mine, filters.search)
    return choices_of(app.counts.made(wanted, now, lambda: count_choices(app.store, filters, as_of=now)), filters)


@router.get("/cases/{case_id}")
def case(request: Request, account: Viewer, case_id: str) -> dict[str, Any]:
    """Return one case with its history and findings, what its look-alikes say, and what its finding changes."""
    del account
    app = request.app.state
    return case_details(app.store, case_id, weights=app.settings.memory_weights, as_of=app.clock())


@router.get("/shift")
def shift(
    request: Request,
    account: Viewer,
    hours: Annotated[float, Query(gt=0, le=744)] = 8.0,
    since: AwareDatetime | None = None,
) -> dict[str, Any]:
    """Return what came and was answered in the last hours, or since a time, and what waits, oldest first."""
    del account
    now = request.app.state.clock()
    summary = vars(shift_summary(request.app.state.store, since=since_of(now, hours=hours, since=since), as_of=now))
    lists = ("came", "answered", "waits")
    return summary | {name: [{key: row[key] for key in SHIFT if key in row} for row in summary[name]] for name in lists}


@router.get("/fleet")
def fleet(request: Request, account: Viewer) -> list[dict[str, Any]]:
    """Return the latest state of every axis."""
    del account
    return fleet_states(request.app.state.store, at=request.app.state.clock())


@router.get("/axes/{axis_id}")
def axis(request: Request, account: Viewer, axis_id: str) -> dict[str, Any]:
    """Return an axis with its maintenance events, its mutes, whether it is muted now, and all its cases."""
    del account
    app = request.app.state
    now = app.clock()
    with app.store.read() as connection:
        row = axis_row(connection, axis_id)
        mutes = mutes_of(connection, axis_id)
        facts = {**row._mapping, "events": timeline(connection, axis_id), "mutes": mutes}
    own_cases = queue(app.store, Filters(state="all", axis_id=axis_id), as_of=now, limit=1000)
    return facts | {"muted": bool(mutes) and mutes[-1]["until_at"] > now, "cases": own_cases}


@router.get("/axes/{axis_id}/states")
def axis_states(
    request: Request, account: Viewer, axis_id: str, limit: Annotated[int, Query(ge=1, le=10_000)] = 500
) -> list[dict[str, Any]]:
    """Return the newest states of an axis, oldest first; empty where there is no such axis."""
    del account
    query = sa.select(AxisState).where(AxisState.axis_id == axis_id).order_by(AxisState.bin_at.desc()).limit(limit)
    with request.app.state.store.read() as connection:
        return [dict(row._mapping) for row in reversed(connection.execute(query).all())]


@router.get("/calibration")
def calibration(request: Request, account: Viewer) -> list[dict[str, Any]]:
    """Compare predicted and confirmed faults of reviewed cases, by tenths of the fault probability."""
    del account
    return reliability(request.app.state.store)


@router.get("/models")
def models(request: Request, account: Viewer) -> list[dict[str, Any]]:
    """Return all model versions with their aliases and held-out figures."""
    del account
    return list_versions(request.app.state.store)


@router.get("/quarantine")
def quarantine(request: Request, account: Viewer) -> list[dict[str, Any]]:
    """Return the rows and files in quarantine."""
    del account
    return list_quarantine(request.app.state.store)


@router.get("/export/{what}.{form}")
def export(
    request: Request, account: Viewer, what: Literal["labels", "cases"], form: Literal["csv", "parquet"]
) -> Response:
    """Return all labels or all cases as CSV (UTF-8) or Parquet, as `axiswatch export` writes them."""
    del account
    body, _ = exporting.export(request.app.state.store, what, form)
    headers = {"Content-Disposition": f'attachment; filename="{what}.{form}"'}
    return Response(body, media_type=exporting.MEDIA_TYPES[form], headers=headers)
