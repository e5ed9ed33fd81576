"""The course of a unit's health index: running median, slope, change points and the frozen alarm rule, in the database.

A course is due when the points of a unit and channel are others than those it rests on. It is made anew from the
points, so the rows depend on the points alone; only `known_at` of a change that was told before stays.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from features.alarm import MIN_REFERENCE, alarm_onset
from features.trend import change_points, running_median, theil_sen
from pipeline.store.database import Store, insert_ignore, upsert
from pipeline.store.tables import Baseline, Trend, TrendChange, TrendPoint

MOST_POINTS = 2000
"""Change points are looked for in so many of the newest recordings of a unit (12 weeks at 24 a day)."""

MEDIAN_WIDTH = 6
"""Recordings in a running median."""

DAY_S = 86_400.0
KEY = (Trend.axis_id, Trend.unit_serial, Trend.channel, Trend.feature_version)
SeriesKey = tuple[str, str, str, str]


def update_courses(
    store: Store, versions: set[str], *, as_of: datetime, days: float, min_shift: float
) -> tuple[int, int]:
    """Make the trends of units whose points have changed; give the number of trends made and of their changes.

    Parameters
    ----------
    versions
        Feature versions to look at.
    days
        Length of the newest stretch that the slope is about, days.
    min_shift
        Smallest change of the median that is told, sigmas.
    """
    with store.read() as connection:
        due = _due(connection, versions)
    n_changes = 0
    for key in due:
        # Points are read in the transaction that writes: what another run adds meanwhile is due again.
        with store.write() as connection:
            trend, changes = _course(connection, key, as_of, days, min_shift)
            upsert(connection, Trend, [trend])
            _replace_changes(connection, key, changes)
        n_changes += len(changes)
    return len(due), n_changes


def series_filter(model: type[Trend | TrendChange | TrendPoint], key: SeriesKey) -> sa.ColumnElement[bool]:
    """SQL: the rows of one unit, channel and feature version."""
    axis_id, unit_serial, channel, feature_version = key
    return sa.and_(
        model.axis_id == axis_id,
        model.unit_serial == unit_serial,
        model.channel == channel,
        model.feature_version == feature_version,
    )


def _due(connection: Connection, versions: set[str]) -> list[SeriesKey]:
    points = (TrendPoint.axis_id, TrendPoint.unit_serial, TrendPoint.channel, TrendPoint.feature_version)
    seen = sa.func.max(TrendPoint.known_at, type_=TrendPoint.known_at.type)
    oldest = sa.func.min(TrendPoint.baselines_at, type_=TrendPoint.baselines_at.type)
    there = {
        tuple(row[:4]): row
        for row in connection.execute(sa.select(*KEY, Trend.n_recordings, Trend.baselines_at, Trend.known_at))
    }
    query = (
        sa.select(*points, sa.func.count().label("n"), oldest.label("oldest"), seen.label("at"))
        .where(TrendPoint.feature_version.in_(sorted(versions)))
        .group_by(*points)
        .order_by(*points)
    )
    due = []
    for row in connection.execute(query):
        was = there.get(tuple(row[:4]))
        same = was is not None and (was.n_recordings, was.baselines_at) == (row.n, row.oldest)
        if was is None or not same or row.at > was.known_at:
            due.append((row.axis_id, row.unit_serial, row.channel, row.feature_version))
    return due


def _course(
    connection: Connection, key: SeriesKey, as_of: datetime, days: float, min_shift: float
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    query = sa.select(
        TrendPoint.started_at,
        TrendPoint.health_index,
        TrendPoint.baselines_at,
        TrendPoint.baseline_version,
        TrendPoint.known_at,
    ).where(series_filter(TrendPoint, key))
    ordered = query.order_by(TrendPoint.started_at, TrendPoint.recording_id)
    every: list[Row[Any]] = [*connection.execute(ordered)]
    points = [point for point in every if point.health_index is not None]
    named = dict(zip(("axis_id", "unit_serial", "channel", "feature_version"), key, strict=True))
    times = np.array([point.started_at.timestamp() for point in points], dtype=np.float64)
    values = np.array([point.health_index for point in points], dtype=np.float64)
    changes = [
        {
            **named,
            "changed_at": _moment(change.latest),
            "after_at": _moment(change.earliest),
            "before": change.before,
            "after": change.after,
            "known_at": as_of,
        }
        for change in change_points(times[-MOST_POINTS:], values[-MOST_POINTS:], min_shift=min_shift)
    ]
    recent = times >= times[-1] - days * DAY_S if len(times) else np.zeros(0, np.bool_)
    slope = theil_sen(times[recent] / DAY_S, values[recent])
    smooth = running_median(values, width=MEDIAN_WIDTH)
    trend = {
        **named,
        "from_at": every[0].started_at,
        "to_at": every[-1].started_at,
        "n_recordings": len(every),
        "n_points": len(points),
        "baselines_at": min(point.baselines_at for point in every),
        "health_index": float(smooth[-1]) if len(smooth) else None,
        **_rule(connection, points, values, smooth),
        "slope_per_day": slope.per_unit if slope else None,
        "slope_low": slope.low if slope else None,
        "slope_high": slope.high if slope else None,
        "slope_from_at": _moment(float(times[recent][0])) if slope else None,
        "known_at": max(as_of, *(point.known_at for point in every)),
    }
    return trend, changes


def _rule(
    connection: Connection,
    points: list[Row[Any]],
    values: npt.NDArray[np.float64],
    smooth: npt.NDArray[np.float64],
) -> dict[str, Any]:
    """Freeze the alarm rule on the time of the baselines and say what it says now."""
    used = sorted({point.baseline_version for point in points})
    ends = connection.scalars(sa.select(Baseline.to_at).where(Baseline.baseline_version.in_(used))).all()
    count = sum(point.started_at <= max(ends) for point in points) if ends else 0
    band = np.quantile(smooth[:count], (0.05, 0.95)).tolist() if count else (None, None)
    rule: dict[str, Any] = {"reference_low": band[0], "reference_high": band[1], "threshold": None, "alarm_since": None}
    if count - MEDIAN_WIDTH + 1 < MIN_REFERENCE:
        return rule
    alarm = alarm_onset(values, baseline_count=count, width=MEDIAN_WIDTH)
    since = points[alarm.lasting].started_at if alarm.lasting is not None else None
    return rule | {"threshold": alarm.threshold, "alarm_since": since}


def _replace_changes(connection: Connection, key: SeriesKey, changes: list[dict[str, Any]]) -> None:
    """Put the changes in the place of those that were told before; one that was told keeps its known_at."""
    mine = series_filter(TrendChange, key)
    told = dict(connection.execute(sa.select(TrendChange.changed_at, TrendChange.known_at).where(mine)).all())
    connection.execute(sa.delete(TrendChange).where(mine))
    insert_ignore(
        connection,
        TrendChange,
        [change | {"known_at": told.get(change["changed_at"], change["known_at"])} for change in changes],
    )


def _moment(seconds: float) -> datetime:
    """Time of seconds since 1970, to the microsecond."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 1e6))
