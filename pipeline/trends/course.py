"""trend: the health of every unit over time, as changes of its features against its own baseline.

A recording is due when all of this holds:

- It has features at the feature version of today's settings, with the geometry of the unit on its axis.
- Its unit has a baseline on its channel that is known by `as_of`.
- It has no point yet that was computed with the newest baseline.

A newer baseline makes all points of the unit due again, so a trend never mixes old and new baselines. A new unit starts
a new trend. Units without a baseline have no trend; the report counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from features.health.alarm import MIN_REFERENCE, alarm_onset
from features.health.baseline import known_median
from features.health.health import GROUPS, health_figures, index_of_figures
from features.health.trend import change_points, running_median, theil_sen
from features.settings import feature_names
from pipeline.base.errors import AxiswatchError
from pipeline.base.figures import finite_or_none
from pipeline.base.settings import ExtractionSettings, TrendSettings
from pipeline.extraction.baselines import NO_BASELINE, Baselines, UnitBaseline
from pipeline.extraction.in_force import feature_settings, feature_versions
from pipeline.extraction.reading import read_features
from pipeline.store.attribution import attributed_extraction, attributed_unit, extractions, recordings
from pipeline.store.database import Store, insert_ignore, upsert
from pipeline.store.lake import Lake
from pipeline.store.tables import Baseline, Extraction, Recording, Trend, TrendChange, TrendPoint, Unit

MOST_POINTS = 2000
"""Change points are searched in this many of the newest recordings of a unit (12 weeks at 24 a day)."""

MEDIAN_WIDTH = 6
"""Number of recordings in a running median."""

DAY_S = 86_400.0
KEY = (Trend.axis_id, Trend.unit_serial, Trend.channel, Trend.feature_version)
SeriesKey = tuple[str, str, str, str]


def update_courses(
    store: Store, versions: set[str], *, as_of: datetime, days: float, min_shift: float
) -> tuple[int, int]:
    """Compute the trends of the units whose points have changed; return the number of trends and of change points.

    Parameters
    ----------
    versions
        Feature versions whose trends are computed.
    days
        Length of the newest stretch that the slope is fitted to, days.
    min_shift
        Smallest change of the median that is reported, in robust standard deviations.
    """
    with store.read() as connection:
        due = _due(connection, versions)
    n_changes = 0
    for key in due:
        # Points are read in the transaction that writes: a point that another run adds meanwhile is due again.
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
    """Set the alarm threshold from the time of the baselines, and return it and the start of the alarm."""
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
    """Replace the stored change points; one that was stored before keeps its known_at."""
    mine = series_filter(TrendChange, key)
    known_since = dict(connection.execute(sa.select(TrendChange.changed_at, TrendChange.known_at).where(mine)).all())
    connection.execute(sa.delete(TrendChange).where(mine))
    insert_ignore(
        connection,
        TrendChange,
        [change | {"known_at": known_since.get(change["changed_at"], change["known_at"])} for change in changes],
    )


def _moment(seconds: float) -> datetime:
    """Return the time of seconds since 1970, to the microsecond."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 1e6))


NO_UNIT = ""
"""Stands for the serial number where the unit of an axis is not known."""

PAGE = 2000
"""Number of recordings that are read, judged and committed at a time."""


@dataclass
class TrendReport:
    """Counts of one run of the trend step."""

    recordings: int = 0
    without_index: int = 0
    trends: int = 0
    changes: int = 0
    units_without_baseline: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return dict(vars(self))


def update_trends(
    store: Store,
    lake: Lake,
    settings: TrendSettings,
    *,
    as_of: datetime,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrendReport:
    """Update the points and the trends of all units from what is known by `as_of`.

    A second run gives the same rows: later, at the same time, or after a run that was killed.
    """
    report = TrendReport()
    _withdraw(store)
    with store.read() as connection:
        total = connection.scalar(sa.select(sa.func.count()).select_from(_due_query(settings, as_of).subquery())) or 0
        report.units_without_baseline = _units_without_baseline(connection, settings, as_of)
    while True:
        with store.read() as connection:
            due = _due_query(settings, as_of).order_by(Extraction.started_at, Extraction.recording_id).limit(PAGE)
            rows = connection.execute(due).all()
            known = Baselines(connection, as_of)
            baselines = [known.of(row) for row in rows]
        if not rows:
            break
        points = _points(lake, settings, rows, baselines, as_of)
        with store.write() as connection:
            upsert(connection, TrendPoint, points)
        report.recordings += len(points)
        report.without_index += sum(point["health_index"] is None for point in points)
        if on_progress:
            on_progress(report.recordings, max(total, report.recordings))
    report.trends, report.changes = update_courses(
        store,
        set(feature_versions(settings).values()),
        as_of=as_of,
        days=settings.trend_days,
        min_shift=settings.trend_min_shift,
    )
    return report


def _withdraw(store: Store) -> None:
    """Delete the points of recordings that belong to another unit since a late replacement, and trends without points.

    Only axes are looked at of which the registry has learnt something since their points were made.
    """
    learnt = sa.select(Unit.axis_id, sa.func.max(Unit.known_at).label("at")).group_by(Unit.axis_id).subquery()
    stale = (
        recordings(TrendPoint.recording_id)
        .join(TrendPoint, TrendPoint.recording_id == Recording.recording_id)
        .join(learnt, sa.and_(learnt.c.axis_id == TrendPoint.axis_id, learnt.c.at > TrendPoint.known_at))
        .where(TrendPoint.unit_serial != sa.func.coalesce(attributed_unit(), NO_UNIT))
    )
    with store.read() as connection:
        names = sorted(set(connection.scalars(stale)))
    if not names:
        return
    with store.write() as connection:
        for first in range(0, len(names), PAGE):
            page = names[first : first + PAGE]
            connection.execute(sa.delete(TrendPoint).where(TrendPoint.recording_id.in_(page)))
        for model in (Trend, TrendChange):
            same = [getattr(TrendPoint, column.name) == getattr(model, column.name) for column in KEY]
            connection.execute(sa.delete(model).where(~sa.exists().where(*same)))


def _due_query(settings: ExtractionSettings, as_of: datetime) -> sa.Select[Any]:
    newest = (
        sa.select(
            Baseline.axis_id,
            Baseline.unit_serial,
            Baseline.channel,
            Baseline.scope,
            Baseline.feature_version,
            Baseline.geometry_version,
            sa.func.max(Baseline.known_at, type_=Baseline.known_at.type).label("baselines_at"),
        )
        .where(Baseline.known_at <= as_of)
        .group_by(
            Baseline.axis_id,
            Baseline.unit_serial,
            Baseline.channel,
            Baseline.scope,
            Baseline.feature_version,
            Baseline.geometry_version,
        )
        .subquery()
    )
    there = sa.exists().where(
        TrendPoint.recording_id == Extraction.recording_id,
        TrendPoint.feature_version == Extraction.feature_version,
        TrendPoint.geometry_version == Extraction.geometry_version,
        TrendPoint.baselines_at >= newest.c.baselines_at,
    )
    return (
        extractions(*attributed_extraction(), Recording.quantity, newest.c.baselines_at)
        .join(
            newest,
            sa.and_(
                newest.c.axis_id == Extraction.axis_id,
                newest.c.unit_serial.is_not_distinct_from(attributed_unit()),
                newest.c.scope == Extraction.scope,
                newest.c.channel == Extraction.channel,
                newest.c.feature_version == Extraction.feature_version,
                newest.c.geometry_version == Extraction.geometry_version,
            ),
        )
        .where(
            Extraction.feature_version == sa.case(feature_versions(settings), value=Recording.quantity),
            Extraction.started_at <= as_of,
            ~there,
        )
    )


def _units_without_baseline(connection: Connection, settings: ExtractionSettings, as_of: datetime) -> int:
    """Count units, by axis and channel, that have features but no baseline; recordings without a unit count as one."""
    there = sa.exists().where(
        Baseline.axis_id == Extraction.axis_id,
        Baseline.unit_serial.is_not_distinct_from(attributed_unit()),
        Baseline.channel == Extraction.channel,
        Baseline.scope == Extraction.scope,
        Baseline.feature_version == Extraction.feature_version,
        Baseline.known_at <= as_of,
    )
    units = (
        extractions(Extraction.axis_id, attributed_unit(), Extraction.channel, any_geometry=True)
        .where(
            Extraction.feature_version.in_(sorted(set(feature_versions(settings).values()))),
            Extraction.started_at <= as_of,
            ~there,
        )
        .distinct()
    )
    return connection.scalar(sa.select(sa.func.count()).select_from(units.subquery())) or 0


def _points(
    lake: Lake,
    settings: ExtractionSettings,
    rows: Sequence[Row[Any]],
    baselines: Sequence[UnitBaseline | None],
    as_of: datetime,
) -> list[dict[str, Any]]:
    names = {row.quantity: feature_names(feature_settings(settings, row.quantity)) for row in rows}
    features = read_features(lake, settings, rows)
    points = [
        _point(row, x, names[row.quantity], baseline, as_of)
        for row, x, baseline in zip(rows, features, baselines, strict=True)
    ]
    return sorted(points, key=lambda point: str(point["recording_id"]))


def _point(
    row: Row[Any],
    x: npt.NDArray[np.float32],
    names: Sequence[str],
    baseline: UnitBaseline | None,
    as_of: datetime,
) -> dict[str, Any]:
    """Return the point of one recording: the median of each figure over its good windows, and their health index."""
    version = NO_BASELINE if baseline is None else baseline.version
    reference = None if baseline is None else baseline.reference
    figures = np.full(len(GROUPS), np.nan)
    if reference is not None and len(x):
        if len(reference.median) != len(names) or len(reference.spread) != len(names):
            raise AxiswatchError(
                f"baseline {version} has {len(reference.median)} medians and {len(reference.spread)} spreads, but its "
                f"feature version {row.feature_version} has {len(names)} features; make the baseline again"
            )
        figures = known_median(health_figures(x, names, reference))
    index = float(index_of_figures(figures[None, :])[0])
    return {
        "recording_id": row.recording_id,
        "feature_version": row.feature_version,
        "geometry_version": row.geometry_version,
        "axis_id": row.axis_id,
        "unit_serial": row.unit_serial or NO_UNIT,
        "channel": row.channel,
        "started_at": row.started_at,
        "regime": row.regime,
        "baseline_version": version,
        "baselines_at": row.baselines_at,
        "n_windows": len(x),
        **{name: finite_or_none(value) for name, value in zip(GROUPS, figures.tolist(), strict=True)},
        "health_index": finite_or_none(index),
        "known_at": as_of,
    }
