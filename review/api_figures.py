"""The JSON interface, version 1, for programs: what is drawn and played."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from pipeline.cases.quiet import axis_row
from pipeline.store.tables import AxisState
from review.api import REFUSED, Viewer
from review.figures.case import case_changes, case_figures, case_waterfall, sound_of, stretch_of_signal
from review.figures.trend import DAYS, trends_of_axis

router = APIRouter(prefix="/api/v1", responses=REFUSED)
Language = Literal["en", "ko"]
KEPT = {"Cache-Control": "private, max-age=300", "Vary": "Cookie, Authorization"}
"""For five minutes, by this session alone: so the page of a neighbour is drawn from what was fetched in advance."""


@router.get("/cases/{case_id}/figures")
def figures(
    request: Request,
    account: Viewer,
    case_id: str,
    channel: str = "",
    recording: str = "",
    other: str = "",
    language: Language = "en",
    part: Literal["", "signals", "changes"] = "",
) -> Response:
    """Return the data of a case's plots.

    For one channel or (empty) for the most suspicious one; of a chosen recording, and another one laid under it. A
    part: `signals` (recordings, scores, levels) or `changes` (health index, changed features, dates to choose from).
    """
    del account
    app = request.app.state
    shown: dict[str, Any] = {}
    where = (app.store, app.lake, app.settings, case_id, channel.replace("\0", ""))
    recording, other = recording.replace("\0", ""), other.replace("\0", "")
    if part != "changes":
        shown |= case_figures(*where, as_of=app.clock(), recording=recording, other=other)
    if part != "signals":
        shown |= case_changes(*where, as_of=app.clock(), recording=recording, language=language)
    return _kept(shown)


@router.get("/cases/{case_id}/waterfall")
def waterfall(
    request: Request,
    account: Viewer,
    case_id: str,
    channel: str,
    kind: Literal["envelope", "spectrum"] = "envelope",
) -> Response:
    """Return the spectra of up to 40 recordings of a channel around the time of a case, as rows of bytes in base64."""
    del account
    app = request.app.state
    shown = case_waterfall(app.store, app.lake, app.settings, case_id, channel.replace("\0", ""), kind)
    return _kept(shown)


@router.get("/recordings/{recording_id}/waveform")
def waveform(
    request: Request,
    account: Viewer,
    recording_id: str,
    start: Annotated[int, Query(ge=0, le=10**9)] = 0,
    stop: Annotated[int, Query(ge=0, le=10**9)] = 10**9,
) -> dict[str, Any]:
    """Return part of a waveform, with fewer points but all peaks."""
    del account
    return stretch_of_signal(request.app.state.store, request.app.state.lake, recording_id, start, stop)


@router.get("/recordings/{recording_id}/sound")
def sound(request: Request, account: Viewer, recording_id: str) -> Response:
    """Return a recording as a WAV file; the header `X-Full-Scale` is the value of its full scale in the unit."""
    del account
    body, scale = sound_of(request.app.state.store, request.app.state.lake, recording_id.replace("\0", ""))
    return Response(body, media_type="audio/wav", headers=KEPT | {"X-Full-Scale": f"{scale:.6g}"})


@router.get("/axes/{axis_id}/trend")
def axis_trend(
    request: Request, account: Viewer, axis_id: str, days: Annotated[float, Query(gt=0, le=3660)] = DAYS
) -> list[dict[str, Any]]:
    """Return health index and vibration velocity of an axis over the last days, by channel and unit."""
    del account
    with request.app.state.store.read() as connection:
        axis_row(connection, axis_id)
        last = connection.scalar(sa.select(sa.func.max(AxisState.last_at)).where(AxisState.axis_id == axis_id))
        until = request.app.state.clock() if last is None else last + timedelta(days=1)
        group = request.app.state.settings.iso_20816_3
        return trends_of_axis(connection, axis_id, until=until, days=days, group=group)


def _kept(shown: dict[str, Any]) -> Response:
    """Return JSON, written at once, since thousands of numbers are slow to check one by one.

    A browser may keep it, but not what an audit shows before its verdict.
    """
    headers = {} if shown.get("blind") else KEPT
    return Response(to_json(shown, inf_nan_mode="null"), media_type="application/json", headers=headers)
