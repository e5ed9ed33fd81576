"""trend: the health of every unit over time, as changes of its features against its own baseline.

A recording has a point where all of this holds:

- It has features at the feature version of today's settings, with the geometry of the unit on its axis.
- Its unit has a baseline on its channel that is known by `as_of`.

Points are computed for recordings that are marked (`pipeline.store.due`), the newest first, and mark the course of
their series. A newer baseline makes all points of the unit due again, so a trend never mixes old and new baselines. A
new unit starts a new trend. Units without a baseline have no trend; the report counts those with new recordings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from features.health.baseline import known_median
from features.health.health import GROUPS, health_figures, index_of_figures
from features.settings import feature_names
from pipeline.base.errors import AxiswatchError
from pipeline.base.figures import finite_or_none
from pipeline.base.ids import instant, stable_id
from pipeline.base.settings import ExtractionSettings, TrendSettings
from pipeline.extraction.baselines import NO_BASELINE, Baselines, UnitBaseline
from pipeline.extraction.in_force import feature_settings, feature_versions
from pipeline.extraction.reading import read_features
from pipeline.store import due
from pipeline.store.database import Store, insert_ignore, upsert
from pipeline.store.lake import Lake
from pipeline.store.tables import Trend, TrendChange, TrendPoint
from pipeline.trends.pending import NO_UNIT, due_points, mark_behind
from pipeline.trends.series import Before, Changes, How, SeriesKey, continued, series_filter, stored, whole

PAGE = 2000
"""Number of recordings that are read, judged and committed at a time."""

SERIES = 64
"""Number of courses that are committed at a time."""


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
    versions = feature_versions(settings)
    distinct = sorted(set(versions.values()))
    newest = mark_behind(store, distinct, as_of)
    total = 0
    if on_progress:
        with store.read() as connection:
            total = sum(due.count(connection, due.Queue(due.TREND, version=version), as_of) for version in distinct)
    without_baseline: set[tuple[Any, ...]] = set()
    for version in distinct:
        is_last = False
        while not is_last:
            with store.read() as connection:
                marks = due.take(connection, due.Queue(due.TREND, version=version), as_of, most=PAGE)
                is_last = marks.is_last
                if not marks.causes:
                    break
                found = due_points(connection, versions, version, marks.causes, as_of)
                baselines = Baselines(connection, as_of).of_all(found.rows)
            points = _points(lake, settings, found.rows, baselines, found.baselines_at, as_of)
            changed = [f"{point['recording_id']} {instant(point['baselines_at'])}" for point in points]
            cause = stable_id(instant(as_of), *changed, *found.withdrawn)
            with store.write() as connection:
                upsert(connection, TrendPoint, points)
                _withdraw(connection, version, found.withdrawn)
                due.mark_courses(connection, found.series, cause)
                due.done(connection, marks, marks.causes)
            without_baseline |= found.without_baseline
            report.recordings += len(points)
            report.without_index += sum(point["health_index"] is None for point in points)
            if on_progress:
                on_progress(report.recordings, max(total, report.recordings))
    report.units_without_baseline = len(without_baseline)
    how = How(settings.trend_days, settings.trend_min_shift)
    for version in distinct:
        trends, changes = _update_courses(store, version, newest, how, as_of)
        report.trends += trends
        report.changes += changes
    return report


def _withdraw(connection: Connection, version: str, names: Sequence[str]) -> None:
    """Delete the points of recordings that belong to another unit since a late replacement."""
    if names:
        mine = (TrendPoint.recording_id.in_(names), TrendPoint.feature_version == version)
        connection.execute(sa.delete(TrendPoint).where(*mine))


def _update_courses(
    store: Store, version: str, newest: Mapping[SeriesKey, datetime], how: How, as_of: datetime
) -> tuple[int, int]:
    """Compute the courses that are marked; return the number of trends and of their change points."""
    n_trends = n_changes = 0
    is_last = False
    while not is_last:
        with store.read() as connection:
            marks = due.take(connection, due.Queue(due.COURSE, version=version), as_of)
        is_last = marks.is_last
        names = list(marks.causes)
        for first in range(0, len(names), SERIES):
            page = {name: _series(name, version) for name in names[first : first + SERIES]}
            with store.write() as connection:
                before = stored(connection, version, list(page.values()))
                trends = []
                for name, key in page.items():
                    found = _course(connection, key, marks.at[name], newest.get(key), before, how, as_of)
                    if found is None:
                        _replace_changes(connection, key, before, {})
                        connection.execute(sa.delete(Trend).where(series_filter(Trend, key)))
                        continue
                    trend, changes = found
                    trends.append(trend)
                    n_changes += len(changes)
                    _replace_changes(connection, key, before, changes)
                upsert(connection, Trend, trends)
                due.done(connection, marks, page)
            n_trends += len(trends)
    return n_trends, n_changes


def _series(name: str, version: str) -> SeriesKey:
    axis_id, unit_serial, channel = json.loads(name)
    return axis_id, unit_serial, channel, version


def _course(
    connection: Connection,
    key: SeriesKey,
    since: datetime,
    newest: datetime | None,
    before: Before,
    how: How,
    as_of: datetime,
) -> tuple[dict[str, Any], Changes] | None:
    """Return the trend and the change points of a series; None where it has no points.

    Parameters
    ----------
    since
        Time of the earliest recording whose point has changed.
    newest
        When the newest baseline of the series became known.
    """
    was = before.trends.get(key)
    found = None
    if was is not None and key in before.tails and was.baselines_at == newest:
        found = continued(connection, key, since, before, how, as_of)
    if found is None:
        found = whole(connection, key, before, how, as_of)
    if found is not None and newest is not None:
        found[0]["baselines_at"] = newest
    return found


def _replace_changes(connection: Connection, key: SeriesKey, before: Before, changes: Changes) -> None:
    """Replace the stored change points; one that was stored before keeps its known_at."""
    there = before.changes.get(key, {})
    kept = {
        at: row | {"known_at": there[at]["known_at"] if at in there else row["known_at"]} for at, row in changes.items()
    }
    if kept != there:
        connection.execute(sa.delete(TrendChange).where(series_filter(TrendChange, key)))
        insert_ignore(connection, TrendChange, [kept[at] for at in sorted(kept)])


def _points(
    lake: Lake,
    settings: ExtractionSettings,
    rows: Sequence[Row[Any]],
    baselines: Mapping[str, UnitBaseline | None],
    baselines_at: Mapping[str, datetime],
    as_of: datetime,
) -> list[dict[str, Any]]:
    names = {row.quantity: feature_names(feature_settings(settings, row.quantity)) for row in rows}
    features = read_features(lake, settings, rows)
    points = [
        _point(row, x, names[row.quantity], baselines[row.recording_id], as_of)
        | {"baselines_at": baselines_at[row.recording_id]}
        for row, x in zip(rows, features, strict=True)
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
        "n_windows": len(x),
        **{name: finite_or_none(value) for name, value in zip(GROUPS, figures.tolist(), strict=True)},
        "health_index": finite_or_none(index),
        "known_at": as_of,
    }
