"""What the database holds of the trends of one axis, ready to be shown or drawn."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from features.health import GROUPS
from pipeline.base.errors import PrerequisiteMissing, SettingsError
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Trend, TrendChange, TrendPoint, Unit
from pipeline.trend_course import SeriesKey, series_filter


def find_axis(
    connection: Connection, robot_id: str, axis: str, *, site: str | None = None, cell: str | None = None
) -> Row[Any]:
    """Give the axis of a robot.

    Raises
    ------
    PrerequisiteMissing
        There is none; the message names those that are written alike.
    SettingsError
        There are several, in different sites or cells.
    """
    every = connection.execute(sa.select(Axis).order_by(Axis.site, Axis.cell, Axis.robot_id, Axis.axis)).all()
    found = [row for row in every if (row.robot_id, row.axis) == (robot_id, axis)]
    found = [row for row in found if site in (None, row.site) and cell in (None, row.cell)]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(f"--site {row.site!r} --cell {row.cell!r}" for row in found)
        raise SettingsError(f"there are {len(found)} axes {robot_id} {axis}; choose one of {places}")
    names = sorted({f"{row.robot_id} {row.axis}" for row in every})
    alike = difflib.get_close_matches(f"{robot_id} {axis}", names, n=5, cutoff=0.6)
    where = "" if site is None and cell is None else f" in site {site or 'any'}, cell {cell or 'any'}"
    hint = f"; did you mean {', '.join(alike)}?" if alike else "; `axiswatch status` shows what there is"
    if f"{robot_id} {axis}" in names:
        hint = "; it is known elsewhere: leave --site and --cell out"
    raise PrerequisiteMissing(f"there is no axis {robot_id} {axis}{where}{hint}")


def trends_of(
    store: Store,
    robot_id: str,
    axis: str,
    *,
    site: str | None = None,
    cell: str | None = None,
    channel: str | None = None,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
) -> dict[str, Any]:
    """Give the trends of an axis: of each channel and unit the course, its change points and its points.

    Of several feature versions the one counts that is known last. `from_at` (included) and `to_at` (not included)
    choose points, changes and installations; slope and last value are those of the newest points whatever is chosen.

    Raises
    ------
    PrerequisiteMissing
        No such axis, or no such channel of it.
    """
    if from_at is not None and to_at is not None and from_at >= to_at:
        raise SettingsError("--from must be before --to")
    with store.read() as connection:
        found = find_axis(connection, robot_id, axis, site=site, cell=cell)
        query = sa.select(Trend).where(Trend.axis_id == found.axis_id)
        newest: dict[tuple[str, str], Row[Any]] = {}
        for row in connection.execute(query.order_by(Trend.known_at, Trend.feature_version)):
            newest[row.channel, row.unit_serial] = row
        channels = sorted({name for name, _ in newest})
        if channel is not None and channels and channel not in channels:
            raise PrerequisiteMissing(
                f"{robot_id} {axis} has no trend on channel {channel}, only {', '.join(channels)}"
            )
        chosen = [row for row in newest.values() if channel in (None, row.channel)]
        chosen.sort(key=lambda row: (row.channel, row.from_at, row.unit_serial))
        return {
            "site": found.site,
            "cell": found.cell,
            "robot_id": robot_id,
            "axis": axis,
            "units": [
                {"unit_serial": unit.unit_serial, "installed_at": unit.installed_at, "removed_at": unit.removed_at}
                for unit in connection.execute(
                    sa.select(Unit).where(Unit.axis_id == found.axis_id).order_by(Unit.installed_at)
                )
            ],
            "trends": [_trend(connection, row, from_at, to_at) for row in chosen],
        }


def _trend(connection: Connection, row: Row[Any], from_at: datetime | None, to_at: datetime | None) -> dict[str, Any]:
    key: SeriesKey = (row.axis_id, row.unit_serial, row.channel, row.feature_version)

    def within(column: Any) -> list[Any]:
        return [*([column >= from_at] if from_at is not None else []), *([column < to_at] if to_at is not None else [])]

    changes = sa.select(TrendChange).where(series_filter(TrendChange, key), *within(TrendChange.changed_at))
    points = sa.select(TrendPoint).where(series_filter(TrendPoint, key), *within(TrendPoint.started_at))
    return {
        **{name: value for name, value in row._mapping.items() if name != "axis_id"},
        "changes": [
            {name: change._mapping[name] for name in ("after_at", "changed_at", "before", "after", "known_at")}
            for change in connection.execute(changes.order_by(TrendChange.changed_at))
        ],
        "points": [
            {
                name: point._mapping[name]
                for name in ("started_at", "health_index", *GROUPS, "regime", "baseline_version", "n_windows")
            }
            for point in connection.execute(points.order_by(TrendPoint.started_at, TrendPoint.recording_id))
        ],
    }
