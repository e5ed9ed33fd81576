"""The health index of an axis over time, with its alarm threshold and its change points, for the screen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.health.trend import running_median
from features.vibration_velocity import ZONES
from pipeline.store.tables import Extraction, Trend, TrendChange, TrendPoint
from pipeline.trends.series import MEDIAN_WIDTH, SeriesKey, series_filter
from pipeline.trends.view import EXTRACTION_OF_POINT
from review.figures.signals import first_of_pieces, rounded

DAYS = 90.0
MOST_SERIES = 12
MOST_POINTS = 20_000


def trends_of_axis(
    connection: Connection, axis_id: str, *, until: datetime, channel: str = "", days: float = DAYS, group: str = ""
) -> list[dict[str, Any]]:
    """Return the trends of an axis, one for each unit and channel, of the newest feature version.

    Parameters
    ----------
    until
        Last time that is shown.
    channel
        '': all channels.
    days
        So many days before `until` are shown.
    group
        Of ISO 20816-3, whose limits are lent to vibration velocities; '': none.

    Returns
    -------
    list of dict
        channel, unit_serial, threshold, low, high (5 and 95 % point of the baseline's time; all in sigmas, or None),
        alarm_since, at, index, median (lists; of long series the highest of each piece), changes (at, before, after),
        velocity (at, mm_s: rms of the vibration velocity where it is known; limits: of `group`, mm/s).
    """
    since = until - timedelta(days=days)
    query = sa.select(Trend).where(Trend.axis_id == axis_id, Trend.to_at >= since, Trend.from_at <= until)
    if channel:
        query = query.where(Trend.channel == channel)
    newest: dict[tuple[str, str], Any] = {}
    for row in connection.execute(query.order_by(Trend.known_at, Trend.feature_version)):
        newest[row.channel, row.unit_serial] = row
    rows = sorted(newest.values(), key=lambda row: (row.channel, row.from_at, row.unit_serial))[:MOST_SERIES]
    limits = ZONES.get(group, ())
    return [_trend(connection, row, since, until, limits) for row in rows]


def _trend(
    connection: Connection, row: Any, since: datetime, until: datetime, limits: Sequence[float]
) -> dict[str, Any]:
    key: SeriesKey = (row.axis_id, row.unit_serial, row.channel, row.feature_version)
    points = (
        sa.select(TrendPoint.started_at, TrendPoint.health_index, Extraction.velocity_rms_mm_s)
        .outerjoin(Extraction, EXTRACTION_OF_POINT)
        .where(
            series_filter(TrendPoint, key),
            TrendPoint.started_at >= since,
            TrendPoint.started_at <= until,
            TrendPoint.health_index.is_not(None),
        )
        .order_by(TrendPoint.started_at.desc())
        .limit(MOST_POINTS)
    )
    found = connection.execute(points).all()[::-1]
    values = np.array([point.health_index for point in found], dtype=np.float64)
    smooth = running_median(values, width=MEDIAN_WIDTH) if len(values) else values
    kept = first_of_pieces(values, np.maximum) if len(values) else np.empty(0, np.int64)
    moving = [point for point in found if point.velocity_rms_mm_s is not None]
    mm_s = np.array([point.velocity_rms_mm_s for point in moving], dtype=np.float64)
    shown = first_of_pieces(mm_s, np.maximum) if len(mm_s) else np.empty(0, np.int64)
    changes = sa.select(TrendChange).where(
        series_filter(TrendChange, key), TrendChange.changed_at >= since, TrendChange.changed_at <= until
    )
    return {
        "channel": row.channel,
        "unit_serial": row.unit_serial,
        "threshold": row.threshold,
        "low": row.reference_low,
        "high": row.reference_high,
        "alarm_since": row.alarm_since,
        "at": [found[place].started_at for place in kept],
        "index": rounded(values[kept]),
        "median": rounded(smooth[kept]),
        "velocity": {
            "at": [moving[place].started_at for place in shown],
            "mm_s": rounded(mm_s[shown]),
            "limits": list(limits),
        },
        "changes": [
            {"at": change.changed_at, "before": change.before, "after": change.after}
            for change in connection.execute(changes.order_by(TrendChange.changed_at))
        ],
    }
