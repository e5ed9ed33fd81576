"""trend: health figures of every recording against its unit's own baseline, and what their course says.

A recording is due when it has features at the feature version of today's settings and the geometry of the unit on its
axis, its unit has a baseline on its channel that is known by `as_of`, and there is no point yet that has seen the
newest one. A newer baseline makes all points of the unit due again, so that a trend never mixes old and new ones. A new
unit starts a new trend. Units without a baseline have none, and the report names how many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from features.health import GROUPS, health_figures, index_of_figures
from features.settings import feature_names
from pipeline.base.errors import AxiswatchError
from pipeline.base.settings import Settings
from pipeline.extraction.baseline import NO_BASELINE, Baselines, Found
from pipeline.extraction.extract import (
    attributed_extraction,
    attributed_unit,
    feature_settings,
    feature_versions,
    installed_geometry,
)
from pipeline.extraction.reading import read_features
from pipeline.store.database import Store, nullable, upsert
from pipeline.store.lake import Lake
from pipeline.store.tables import Baseline, Extraction, Recording, TrendPoint, Unit
from pipeline.trend_course import update_courses

NO_UNIT = ""
"""In place of a serial number where nobody ever named the unit of an axis."""

PAGE = 2000
"""Recordings read, judged and committed at a time."""


@dataclass
class TrendReport:
    """What one run of the trend step did."""

    recordings: int = 0
    without_index: int = 0
    trends: int = 0
    changes: int = 0
    units_without_baseline: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Give the counts by name."""
        return dict(vars(self))


def update_trends(
    store: Store,
    lake: Lake,
    settings: Settings,
    *,
    as_of: datetime,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrendReport:
    """Bring the points and the trends of all units up to date with what is known by `as_of`.

    Running it again, twice at once or after a kill gives the same rows.
    """
    report = TrendReport()
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


def _due_query(settings: Settings, as_of: datetime) -> sa.Select[Any]:
    geometry, on = installed_geometry()
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
        sa.select(*attributed_extraction(), Recording.quantity, newest.c.baselines_at)
        .join(Recording, Recording.recording_id == Extraction.recording_id)
        .outerjoin(Unit, on)
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
            Extraction.geometry_version == geometry,
            Extraction.started_at <= as_of,
            ~there,
        )
    )


def _units_without_baseline(connection: Connection, settings: Settings, as_of: datetime) -> int:
    """Count units, by axis and channel, that have features and no baseline; recordings of no known unit are one."""
    _, on = installed_geometry()
    there = sa.exists().where(
        Baseline.axis_id == Extraction.axis_id,
        Baseline.unit_serial.is_not_distinct_from(attributed_unit()),
        Baseline.channel == Extraction.channel,
        Baseline.scope == Extraction.scope,
        Baseline.feature_version == Extraction.feature_version,
        Baseline.known_at <= as_of,
    )
    units = (
        sa.select(Extraction.axis_id, attributed_unit(), Extraction.channel)
        .join(Recording, Recording.recording_id == Extraction.recording_id)
        .outerjoin(Unit, on)
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
    settings: Settings,
    rows: Sequence[Row[Any]],
    baselines: Sequence[Found | None],
    as_of: datetime,
) -> list[dict[str, Any]]:
    names = {row.quantity: feature_names(feature_settings(settings, row.quantity)) for row in rows}
    features = read_features(lake, settings, rows)
    points = [
        _point(row, x, names[row.quantity], found, as_of)
        for row, x, found in zip(rows, features, baselines, strict=True)
    ]
    return sorted(points, key=lambda point: str(point["recording_id"]))


def _point(
    row: Row[Any],
    x: npt.NDArray[np.float32],
    names: Sequence[str],
    found: Found | None,
    as_of: datetime,
) -> dict[str, Any]:
    """Judge the good windows of one recording: the median of each figure over them, and the index of the medians."""
    version = NO_BASELINE if found is None else found.version
    reference = None if found is None else found.reference
    figures = np.full(len(GROUPS), np.nan)
    if reference is not None and len(x):
        if len(reference.median) != len(names) or len(reference.spread) != len(names):
            raise AxiswatchError(
                f"baseline {version} has {len(reference.median)} medians and {len(reference.spread)} spreads, its "
                f"feature version {row.feature_version} {len(names)} features; make it again"
            )
        told = health_figures(x, names, reference)
        there = np.isfinite(told).any(axis=0)
        figures[there] = np.nanmedian(told[:, there], axis=0)
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
        **{name: nullable(value) for name, value in zip(GROUPS, figures.tolist(), strict=True)},
        "health_index": nullable(index),
        "known_at": as_of,
    }
