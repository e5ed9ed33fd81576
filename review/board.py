"""The pages that look at all cases at once: the summary of a shift, and the wall."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response

from pipeline.cases.episodes import OPEN
from pipeline.cases.quiet import muted_axes
from pipeline.cases.shift import shift_summary, waiting
from pipeline.cases.verdicts import fleet_states
from pipeline.store.tables import Axis, Case
from review.case_view import said_of
from review.forms import Viewer, time_of
from review.page import SHAPES, language_of, render

router = APIRouter(include_in_schema=False)

HOURS: Final = (8, 12, 24)
WORST_FIRST: Final = ("alarm", "data_fault", "silent", "watch", "unknown", "healthy")


def since_of(now: datetime, *, hours: float, since: datetime | None) -> datetime:
    """Return the start of a shift: a time, else so many hours before now."""
    return since or now - timedelta(hours=hours)


@router.get("/shift")
def shift(request: Request, account: Viewer) -> Response:
    """Show what came, what was answered and what waits, for the last hours or since a time."""
    now, query, language = request.app.state.clock(), request.query_params, language_of(request)
    hours = next((one for one in HOURS if query.get("hours") == str(one)), HOURS[0])
    since = time_of(query, "since") if query.get("since") else None
    summary = shift_summary(request.app.state.store, since=since_of(now, hours=hours, since=since), as_of=now)
    for part in (summary.came, summary.answered, summary.waits):
        _say(part, language)
    return render(request, account, "shift.html", shift=summary, hours=0 if since else hours, choices=HOURS)


@router.get("/wall")
def wall(request: Request, account: Viewer) -> Response:
    """Show each cell as a tile for a screen on the wall; its script loads it again and again."""
    state = request.app.state
    now = state.clock()
    axes = fleet_states(state.store, at=now)
    with state.store.read() as connection:
        waits = waiting(connection, as_of=now, limit=1)
        first = sa.func.min(Case.first_at, type_=Case.first_at.type)
        by_axis = sa.select(Case.axis_id, sa.func.count().label("n"), first.label("first_at"))
        by_axis = by_axis.where(Case.state == OPEN, Case.axis_id.not_in(muted_axes(now))).group_by(Case.axis_id)
        own = by_axis.subquery()  # counted in the index alone, then added up by cell
        query = sa.select(Axis.site, Axis.cell, sa.func.sum(own.c.n), sa.func.min(own.c.first_at, type_=first.type))
        query = query.join(own, own.c.axis_id == Axis.axis_id).group_by(Axis.site, Axis.cell)
        cases = {(site, cell): (number, oldest) for site, cell, number, oldest in connection.execute(query)}
    _say(waits, language_of(request))
    newest = max((axis["last_at"] for axis in axes if axis["last_at"]), default=None)
    values: dict[str, Any] = {
        "tiles": tiles_of(axes, cases),
        "shapes": SHAPES,
        "newest": newest,
        "is_old": newest is None or now - newest > timedelta(hours=state.settings.silent_after_hours),
        "oldest": waits[0] if waits else None,
        "now": now,
    }
    return render(request, account, "wall.html", **values)


def tiles_of(
    axes: Iterable[dict[str, Any]], cases: Mapping[tuple[str, str], tuple[int, datetime]]
) -> list[dict[str, Any]]:
    """Return a tile for each cell: its worst state, its axes by state, the worst first, its open cases, planned stops.

    Parameters
    ----------
    axes
        Rows of `pipeline.cases.verdicts.fleet_states`.
    cases
        Number of open cases and the time of the first, by site and cell.
    """
    tiles: dict[tuple[str, str], dict[str, Any]] = {}
    for axis in axes:
        place = (axis["site"], axis["cell"])
        number, oldest = cases.get(place, (0, None))
        blank = {"site": place[0], "cell": place[1], "axes": {}, "stops": {}, "n_cases": number, "first_at": oldest}
        tile, name = tiles.setdefault(place, blank), f"{axis['robot_id']}/{axis['axis']}"
        tile["axes"].setdefault(axis["state"], []).append(name)
        if axis["stopped_until"]:
            tile["stops"].setdefault(axis["stopped_until"], []).append(name)
    for tile in tiles.values():
        tile["axes"] = {state: tile["axes"][state] for state in WORST_FIRST if state in tile["axes"]}
        tile["worst"] = next(iter(tile["axes"]))
    return list(tiles.values())


def _say(cases: Iterable[dict[str, Any]], language: str) -> None:
    """Add the headline of each case."""
    for case in cases:
        case["said"] = said_of(case, None, language)
