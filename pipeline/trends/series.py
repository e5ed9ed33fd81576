"""The course of one series, the health index of a unit on a channel: how it stands, where it goes, when it changed.

What rests on the newest points is computed with every new one: the running median from the last few points, and the
alarm from its state before them. The alarm rule rests on the time of the baselines and stays. Slope and change points
of a long series are computed once a day, with the points before the last day boundary; the boundaries of different
series lie at different hours. So a new point costs the same however long the series is. After any change but newer
points the whole series is computed again. The rows depend on the points alone; only the change points of more than
`WINDOW` recordings also depend on what was found before, because settled ones stay.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.orm import aliased

from features.health.alarm import MIN_REFERENCE, alarm_onset, alarm_resumed
from features.health.trend import change_points, running_median, theil_sen
from features.spectra.time_domain import Vector
from pipeline.base.ids import stable_id
from pipeline.store.tables import Axis, Baseline, Trend, TrendChange, TrendPoint

MOST_POINTS = 2000
"""Change points are searched in this many of the newest recordings of a unit (12 weeks at 24 a day)."""

WINDOW = 500
"""Where a long series goes on, they are searched in so many: those of the older half are settled and stay."""

SEGMENT = 5
"""Fewest recordings between two change points, as `features.health.trend.change_points` has it."""

SHORT = 100
"""A series with no more points before its last day boundary is computed with all of its points every time."""

MEDIAN_WIDTH = 6
"""Number of recordings in a running median."""

DAY_S = 86_400.0
KEY = (Trend.axis_id, Trend.unit_serial, Trend.channel, Trend.feature_version)
SeriesKey = tuple[str, str, str, str]
Changes = dict[datetime, dict[str, Any]]
"""Rows of change points by `changed_at`."""


@dataclass(frozen=True)
class Before:
    """What is stored of some series before their courses are computed."""

    trends: Mapping[SeriesKey, Row[Any]]
    changes: Mapping[SeriesKey, Changes]
    ends: Mapping[str, datetime]
    """Ends of the periods of their baselines, by version."""
    tails: Mapping[SeriesKey, list[Row[Any]]]
    """Of long series, in order of time: the last points with a health index that their trends rest on, and newer."""


@dataclass(frozen=True)
class How:
    """What a course is computed with, see `TrendSettings`."""

    days: float
    min_shift: float


def series_filter(model: type[Trend | TrendChange | TrendPoint], key: SeriesKey) -> sa.ColumnElement[bool]:
    """SQL: the rows of one unit, channel and feature version."""
    axis_id, unit_serial, channel, feature_version = key
    return sa.and_(
        model.axis_id == axis_id,
        model.unit_serial == unit_serial,
        model.channel == channel,
        model.feature_version == feature_version,
    )


def stored(connection: Connection, version: str, keys: Sequence[SeriesKey]) -> Before:
    """Read what is stored of some series; no other run works on their axes until the transaction ends."""
    axes, units, channels = (sorted({key[part] for key in keys}) for part in range(3))
    locked = sa.select(Axis.axis_id).where(Axis.axis_id.in_(axes)).order_by(Axis.axis_id)
    connection.execute(locked.with_for_update(key_share=True))
    trends = sa.select(Trend).where(Trend.axis_id.in_(axes), Trend.feature_version == version)
    told = sa.select(TrendChange).where(TrendChange.axis_id.in_(axes), TrendChange.feature_version == version)
    ends = sa.select(Baseline.baseline_version, Baseline.to_at)
    ends = ends.where(Baseline.axis_id.in_(axes), Baseline.feature_version == version)
    changes: dict[SeriesKey, Changes] = {}
    for row in connection.execute(told):
        key = (row.axis_id, row.unit_serial, row.channel, version)
        changes.setdefault(key, {})[row.changed_at] = dict(row._mapping)
    tails: dict[SeriesKey, list[Row[Any]]] = {}
    chosen = (Trend.axis_id.in_(axes), Trend.unit_serial.in_(units), Trend.channel.in_(channels))
    for row in connection.execute(_TAILS.where(*chosen, Trend.feature_version == version)):
        tails.setdefault((row.axis_id, row.unit_serial, row.channel, version), []).append(row)
    return Before(
        {(row.axis_id, row.unit_serial, row.channel, version): row for row in connection.execute(trends)},
        changes,
        {row.baseline_version: row.to_at for row in connection.execute(ends)},
        tails,
    )


def continued(
    connection: Connection, key: SeriesKey, since: datetime, before: Before, how: How, as_of: datetime
) -> tuple[dict[str, Any], Changes] | None:
    """Return the trend and the change points of a long series that only has newer points than before.

    None: the series has to be computed as a whole, because an older point has changed since a time, or a new one
    extends the time of the baselines.
    """
    was = before.trends[key]
    old = [point for point in before.tails[key] if point.started_at <= was.to_at]
    new = before.tails[key][len(old) :]
    finite = [point for point in new if point.health_index is not None]
    ends = [before.ends.get(point.baseline_version) for point in finite]
    if since <= max(was.to_at, was.reference_to_at) or any(end is None or end > was.reference_to_at for end in ends):
        return None
    if not new:
        return None
    trend = dict(was._mapping) | {
        "to_at": new[-1].started_at,
        "n_recordings": was.n_recordings + len(new),
        "n_points": was.n_points + len(finite),
        "known_at": max(as_of, was.known_at, *(point.known_at for point in new)),
    }
    if finite:
        values = np.array([point.health_index for point in (*old, *finite)])
        trend["health_index"] = float(running_median(values[-MEDIAN_WIDTH:], width=MEDIAN_WIDTH)[-1])
        if was.threshold is not None:
            trend |= _alarm(was, finite, values[len(old) :])
    boundary = day_boundary(key, trend["to_at"])
    if boundary == was.course_at:
        return trend, before.changes.get(key, {})
    points = _read(connection, _NEWEST, key, before=boundary)[::-1]
    first = points[-1].started_at - timedelta(days=how.days, seconds=1)
    window = points
    if len(points) == WINDOW and points[0].started_at > first:
        points = [*_read(connection, _BETWEEN, key, since=first, before=points[0].started_at), *points]
    slope, changes = _shape(key, *_arrays(points), how, as_of, most=WINDOW)
    settled = _settled([point.started_at for point in window], before.changes.get(key, {}), changes)
    return trend | slope | {"course_at": boundary}, settled


def _settled(times: Sequence[datetime], told: Changes, found: Changes) -> Changes:
    """Keep the change points of the older half of a full window as they are stored; the newer half has those found.

    A change point that moves over the middle by a few recordings is one and the same.
    """
    if len(times) < WINDOW:
        return found
    middle = WINDOW // 2
    kept = {at: row for at, row in told.items() if at < times[middle]}
    after = bisect_left(times, max(kept)) if kept else 0
    first = times[max(after, middle - 2 * SEGMENT) + SEGMENT]
    return kept | {at: row for at, row in found.items() if at >= first}


def whole(
    connection: Connection, key: SeriesKey, before: Before, how: How, as_of: datetime
) -> tuple[dict[str, Any], Changes] | None:
    """Return the trend and the change points of a series from all of its points; None where it has none."""
    every = _read(connection, _EVERY, key)
    if not every:
        return None
    points = [point for point in every if point.health_index is not None]
    times, values = _arrays(points)
    smooth = running_median(values, width=MEDIAN_WIDTH)
    boundary = day_boundary(key, every[-1].started_at)
    count = int(np.searchsorted(times, boundary.timestamp()))
    is_long = count > SHORT
    end = count if is_long else len(points)
    slope, changes = _shape(key, times[:end], values[:end], how, as_of)
    trend = {
        **dict(zip(("axis_id", "unit_serial", "channel", "feature_version"), key, strict=True)),
        "from_at": every[0].started_at,
        "to_at": every[-1].started_at,
        "n_recordings": len(every),
        "n_points": len(points),
        "baselines_at": min(point.baselines_at for point in every),
        "health_index": float(smooth[-1]) if len(smooth) else None,
        **_rule(points, values, smooth, before.ends),
        **slope,
        "course_at": boundary if is_long else None,
        "known_at": max(as_of, *(point.known_at for point in every)),
    }
    return trend, changes


def day_boundary(key: SeriesKey, moment: datetime) -> datetime:
    """Return the last of a series' day boundaries up to a time: once in 24 h, at an hour that its name gives."""
    offset = int(stable_id(*key, length=8), 16) % int(DAY_S)
    seconds = int(moment.timestamp()) - offset
    return datetime.fromtimestamp(seconds - seconds % int(DAY_S) + offset, UTC)


POINT = (
    TrendPoint.started_at,
    TrendPoint.health_index,
    TrendPoint.baselines_at,
    TrendPoint.baseline_version,
    TrendPoint.known_at,
)
IN_ORDER = (TrendPoint.started_at,)  # an axis has one recording of a channel at a time
FINITE = TrendPoint.health_index.is_not(None)
SERIES = tuple(getattr(TrendPoint, column.name) for column in KEY)
BEFORE = TrendPoint.started_at < sa.bindparam("before")

# Statements are built once: that takes longer than a database needs to answer them.
_EVERY = sa.select(*POINT).where(*(column == sa.bindparam(column.name) for column in SERIES)).order_by(*IN_ORDER)
_FIGURES = _EVERY.with_only_columns(*POINT[:2]).where(FINITE, BEFORE)
_BETWEEN = _FIGURES.where(TrendPoint.started_at >= sa.bindparam("since"))
_NEWEST = _FIGURES.order_by(None).order_by(*(column.desc() for column in IN_ORDER))
_NEWEST = _NEWEST.limit(WINDOW)


def _tails() -> sa.Select[Any]:
    """SQL: of long series, the last points that their trends rest on, and newer ones; as many as a median rests on."""
    earlier = aliased(TrendPoint)
    mine = [getattr(earlier, column.name) == column for column in KEY]
    first = (
        sa.select(earlier.started_at)
        .where(*mine, earlier.started_at <= Trend.to_at, earlier.health_index.is_not(None))
        .order_by(earlier.started_at.desc())
        .limit(1)
        .offset(MEDIAN_WIDTH - 2)
        .scalar_subquery()
    )
    # An expression in place of a column has databases read the few trends first, and only then points.
    same = [point == sa.func.coalesce(column, "") for point, column in zip(SERIES, KEY, strict=True)]
    query = sa.select(*SERIES, *POINT).select_from(Trend).join(TrendPoint, sa.and_(*same))
    query = query.where(Trend.course_at.is_not(None), TrendPoint.started_at >= first)
    return query.where(sa.or_(FINITE, TrendPoint.started_at > Trend.to_at)).order_by(*IN_ORDER)


_TAILS = _tails()


def _read(
    connection: Connection, statement: sa.Select[*tuple[Any, ...]], key: SeriesKey, **limits: datetime
) -> list[Row[Any]]:
    named = {column.name: part for column, part in zip(KEY, key, strict=True)}
    return [*connection.execute(statement, named | limits)]


def _arrays(points: list[Row[Any]]) -> tuple[Vector, Vector]:
    times = np.array([point.started_at.timestamp() for point in points], dtype=np.float64)
    return times, np.array([point.health_index for point in points], dtype=np.float64)


def _shape(
    key: SeriesKey, times: Vector, values: Vector, how: How, as_of: datetime, *, most: int = MOST_POINTS
) -> tuple[dict[str, Any], Changes]:
    """Return the columns of the slope of the newest stretch, and the change points."""
    recent = times >= times[-1] - how.days * DAY_S if len(times) else np.zeros(0, np.bool_)
    slope = theil_sen(times[recent] / DAY_S, values[recent])
    columns = {
        "slope_per_day": slope.per_unit if slope else None,
        "slope_low": slope.low if slope else None,
        "slope_high": slope.high if slope else None,
        "slope_from_at": _moment(float(times[recent][0])) if slope else None,
    }
    named = dict(zip(("axis_id", "unit_serial", "channel", "feature_version"), key, strict=True))
    changes = {
        _moment(change.latest): {
            **named,
            "changed_at": _moment(change.latest),
            "after_at": _moment(change.earliest),
            "before": change.before,
            "after": change.after,
            "known_at": as_of,
        }
        for change in change_points(times[-most:], values[-most:], min_shift=how.min_shift)
    }
    return columns, changes


def _rule(points: list[Row[Any]], values: Vector, smooth: Vector, ends: Mapping[str, datetime]) -> dict[str, Any]:
    """Set the alarm threshold from the time of the baselines, and return it and the start of the alarm."""
    used = {point.baseline_version for point in points}
    end = max((ends[version] for version in used if version in ends), default=None)
    count = sum(point.started_at <= end for point in points) if end is not None else 0
    band = np.quantile(smooth[:count], (0.05, 0.95)).tolist() if count else (None, None)
    rule: dict[str, Any] = {
        "reference_to_at": end,
        "reference_low": band[0],
        "reference_high": band[1],
        "threshold": None,
        "alarm_evidence": None,
        "alarm_since": None,
    }
    if count - MEDIAN_WIDTH + 1 < MIN_REFERENCE:
        return rule
    alarm = alarm_onset(values, baseline_count=count, width=MEDIAN_WIDTH)
    since = points[alarm.lasting].started_at if alarm.lasting is not None else None
    return rule | {"threshold": alarm.threshold, "alarm_evidence": alarm.evidence, "alarm_since": since}


def _alarm(was: Row[Any], new: list[Row[Any]], values: Vector) -> dict[str, Any]:
    """Return the evidence after the newest point, and from when the alarm is on until then; None: it is off."""
    is_on = was.alarm_since is not None
    on, evidence = alarm_resumed(values, threshold=was.threshold, evidence=was.alarm_evidence, is_on=is_on)
    off = np.flatnonzero(~on)
    since = was.alarm_since if off.size == 0 else None
    if on[-1] and since is None:
        since = new[int(off[-1]) + 1 if off.size else 0].started_at
    return {"alarm_evidence": evidence, "alarm_since": since}


def _moment(seconds: float) -> datetime:
    """Return the time of seconds since 1970, to the microsecond."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 1e6))
