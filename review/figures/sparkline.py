"""The course of the fault probability as a small line in the queue, drawn as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.settings import CaseSettings
from pipeline.store.database import Store
from pipeline.store.tables import AxisState
from review.figures.kept import Kept
from review.figures.levels import levels_of

DAYS = 7.0
WIDTH, HEIGHT, EDGE = 120, 30, 2
MOST_POINTS = 60
"""A line of 120 pixels cannot show more."""

Point = tuple[datetime, float | None]
Place = tuple[str, datetime]
"""Axis, and the end of a line."""


@dataclass(frozen=True)
class Sparkline:
    """The data that a template draws.

    Attributes
    ----------
    lines : tuple of str
        Pieces of the line, each as `x,y x,y ...` in pixels.
    last : tuple of float or None
        Newest point in pixels.
    first_value, last_value : float or None
        First and last known fault probability.
    levels : tuple of float
        Heights of the alarm and the review level in pixels.
    """

    lines: tuple[str, ...]
    last: tuple[float, float] | None
    first_value: float | None
    last_value: float | None
    levels: tuple[float, ...] = ()


NO_LINE: Final = Sparkline((), None, None, None)


def small_lines(
    store: Store, settings: CaseSettings, rows: Sequence[Mapping[str, Any]], *, as_of: datetime, kept: Kept[Sparkline]
) -> dict[str, Sparkline]:
    """Return the small lines of some cases, by case: the fault probability over the last days of each, and the levels.

    Parameters
    ----------
    rows
        Rows of the queue.
    as_of
        Time of the request: the levels of then.
    kept
        Lines that were drawn a short time ago, by axis and end.
    """
    lines = {(row["axis_id"], row["last_at"]): kept.get((row["axis_id"], row["last_at"]), as_of) for row in rows}
    new = sorted(place for place, line in lines.items() if line is None)
    if new:
        with store.read() as connection:
            points = _courses(connection, new)
            levels = levels_of(connection, settings, {axis for axis, _ in new}, as_of=as_of)
        for axis, last in new:
            line = sparkline(points[axis, last], end=last, levels=astuple(levels[axis]))
            lines[axis, last] = kept.put((axis, last), as_of, line)
    return {row["case_id"]: lines[row["axis_id"], row["last_at"]] or NO_LINE for row in rows}


def _courses(connection: Connection, places: Sequence[Place]) -> dict[Place, list[Point]]:
    """Return the fault probability over the last days, with one query for all."""
    columns = AxisState.__table__.c  # without the objects of the mapper: half the time of building the query
    span = timedelta(days=DAYS)
    stretches = [sa.and_(columns.axis_id == axis, columns.bin_at.between(last - span, last)) for axis, last in places]
    query = sa.select(columns.axis_id, columns.bin_at, columns.fault_probability).where(sa.or_(*stretches))
    by_axis: dict[str, list[Point]] = {}
    for axis, at, value in connection.execute(query.order_by(columns.bin_at)):
        by_axis.setdefault(axis, []).append((at, value))
    return {
        (axis, last): [point for point in by_axis.get(axis, []) if last - span <= point[0] <= last]
        for axis, last in places
    }


def sparkline(points: Sequence[Point], *, end: datetime, levels: Sequence[float] = ()) -> Sparkline:
    """Convert a course to the points of a line, 0 at the bottom and 1 at the top, with gaps where no value is known.

    `levels` are probabilities at which a line stands across.

    Of more than `MOST_POINTS` points, the highest of each piece is kept, so that no peak is lost.
    """
    known = [(at, value) for at, value in points if value is not None]
    if not known:
        return NO_LINE
    start = end - timedelta(days=DAYS)
    pieces: list[list[tuple[float, float]]] = [[]]
    for at, value in _thinned(points):
        if value is None:
            pieces.append([])
            continue
        share = (at - start) / (end - start)
        x = EDGE + min(max(share, 0.0), 1.0) * (WIDTH - 2 * EDGE)
        pieces[-1].append((round(x, 1), _height_of(value)))
    drawn = [piece for piece in pieces if piece]
    lines = tuple(" ".join(f"{x},{y}" for x, y in piece) for piece in drawn)
    across = tuple(dict.fromkeys(_height_of(level) for level in levels))
    return Sparkline(lines, drawn[-1][-1], known[0][1], known[-1][1], across)


def _height_of(value: float) -> float:
    return round(EDGE + (1.0 - min(max(value, 0.0), 1.0)) * (HEIGHT - 2 * EDGE), 1)


def _thinned(points: Sequence[Point]) -> list[Point]:
    if len(points) <= MOST_POINTS:
        return list(points)
    kept: list[Point] = []
    for piece in range(MOST_POINTS - 1):
        low, high = (place * (len(points) - 1) // (MOST_POINTS - 1) for place in (piece, piece + 1))
        members = points[low:high]
        if members:
            kept.append(max(members, key=lambda point: -1.0 if point[1] is None else point[1]))
    return [*kept, points[-1]]
