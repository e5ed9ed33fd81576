"""Which recordings need a point again: those that are marked, and those of units with newer baselines.

A mark says only that something may have changed. Whether a point is due is looked up for the marked recordings alone,
each time by their keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from pipeline.base.ids import instant
from pipeline.store import due
from pipeline.store.attribution import attributed_extraction, attributed_unit, extractions, installed_geometry
from pipeline.store.database import Store
from pipeline.store.tables import Baseline, DueWork, Extraction, Recording, Trend, TrendPoint
from pipeline.trends.series import KEY, SeriesKey

NO_UNIT = ""
"""Stands for the serial number where the unit of an axis is not known."""

EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of a mark of a course that is computed as a whole."""


@dataclass
class DuePoints:
    """What marked recordings of one feature version need."""

    rows: list[Row[Any]] = field(default_factory=list)
    """Extractions that need a point."""
    baselines_at: dict[str, datetime] = field(default_factory=dict)
    """By recording: when the newest baseline of its unit and channel became known."""
    withdrawn: list[str] = field(default_factory=list)
    """Recordings whose point goes: they belong to another unit now, which has no baseline."""
    series: dict[SeriesKey, datetime] = field(default_factory=dict)
    """Series whose points change, each with the earliest recording."""
    without_baseline: set[tuple[Any, ...]] = field(default_factory=set)
    """Axis, unit and channel of recordings that no baseline fits."""


def mark_behind(store: Store, versions: Sequence[str], as_of: datetime) -> dict[SeriesKey, datetime]:
    """Mark the series that have not seen their newest baseline, with all of their recordings.

    Also what has no point at a feature version that was never marked, as after the migration that brought the marks.
    Return when the newest baseline of each series became known.
    """
    with store.read() as connection:
        newest = _newest_baselines(connection, versions, as_of)
        seen = {tuple(row[:4]): row[4] for row in connection.execute(sa.select(*KEY, Trend.baselines_at))}
        never_marked = due.changed_bases(connection, due.TREND, dict.fromkeys(versions, ""))
        behind = [key for key, at in sorted(newest.items()) if key not in seen or seen[key] < at]
        marked = _marked_courses(connection, versions) if behind else set()
        behind = [key for key in behind if (due.series_name(key), key[3], instant(newest[key])) not in marked]
    if behind or never_marked:
        with store.write() as connection:
            for key in behind:
                cause = instant(newest[key])
                due.mark_selected(connection, due.TREND, _of_series(key), cause)
                due.mark_courses(connection, {key: EVER}, cause)
            if never_marked:
                due.mark_selected(connection, due.TREND, _without_point(never_marked), "never marked")
                due.set_bases(connection, due.TREND, dict.fromkeys(never_marked, ""))
    return newest


def _marked_courses(connection: Connection, versions: Sequence[str]) -> set[tuple[str, str, str]]:
    """Return name, version and cause of the marks of courses that a run left behind when it was killed."""
    mine = (DueWork.step == due.COURSE, DueWork.scope == "", DueWork.version.in_(versions))
    query = sa.select(DueWork.subject, DueWork.version, DueWork.cause).where(*mine)
    return {(row.subject, row.version, row.cause) for row in connection.execute(query)}


def due_points(
    connection: Connection, versions: Mapping[str, str], version: str, names: Iterable[str], as_of: datetime
) -> DuePoints:
    """Look up what some recordings need at a feature version.

    A point is due where the recording has features with the geometry of the unit on its axis, its unit has a baseline
    on its channel, and there is no point yet that belongs to this unit and has seen the newest baseline.

    Parameters
    ----------
    versions
        The feature version of every quantity under today's settings.
    """
    names = list(names)
    found = DuePoints()
    columns = (*attributed_extraction(), Recording.quantity, installed_geometry().label("in_force"))
    query = extractions(*columns, any_geometry=True)
    # Only the ids are conditions: with the version a database may choose an index over all history.
    of_page = connection.execute(query.where(Extraction.recording_id.in_(names)))
    rows = [row for row in of_page if row.feature_version == version == versions[row.quantity]]
    points = sa.select(TrendPoint).where(TrendPoint.recording_id.in_(names), TrendPoint.feature_version == version)
    there = {point.recording_id: point for point in connection.execute(points)}
    newest = _by_geometry(connection, version, sorted({row.axis_id for row in rows}), as_of)
    with_baseline = {key[:4] for key in newest}
    moved = set()
    for row in rows:
        unit = (row.axis_id, row.unit_serial, row.channel)
        if (*unit, row.scope) not in with_baseline:
            found.without_baseline.add(unit)
        point = there.get(row.recording_id)
        if point is not None and point.unit_serial != (row.unit_serial or NO_UNIT):
            moved.add(row.recording_id)
            _note(found.series, (point.axis_id, point.unit_serial, point.channel, version), point.started_at)
        at = newest.get((*unit, row.scope, row.geometry_version))
        if row.geometry_version != row.in_force or at is None:
            continue
        has_seen = point is not None and point.geometry_version == row.geometry_version and point.baselines_at >= at
        if row.recording_id in moved or not has_seen:
            found.rows.append(row)
            found.baselines_at[row.recording_id] = at
            _note(found.series, (row.axis_id, row.unit_serial or NO_UNIT, row.channel, version), row.started_at)
    found.withdrawn = sorted(moved - found.baselines_at.keys())
    return found


def _note(series: dict[SeriesKey, datetime], key: SeriesKey, at: datetime) -> None:
    series[key] = min(at, series.get(key, at))


def _newest_baselines(connection: Connection, versions: Sequence[str], as_of: datetime) -> dict[SeriesKey, datetime]:
    """Return when the newest baseline of each unit and channel became known, by `as_of`."""
    of_series = (Baseline.axis_id, Baseline.unit_serial, Baseline.channel, Baseline.feature_version)
    known = sa.func.max(Baseline.known_at, type_=Baseline.known_at.type)
    query = sa.select(*of_series, known).where(Baseline.known_at <= as_of, Baseline.feature_version.in_(versions))
    rows = connection.execute(query.group_by(*of_series))
    return {(axis, serial or NO_UNIT, channel, version): at for axis, serial, channel, version, at in rows}


def _by_geometry(
    connection: Connection, version: str, axes: Sequence[str], as_of: datetime
) -> dict[tuple[Any, ...], datetime]:
    """Return the same for some axes, by axis, unit, channel, scope and geometry version."""
    key = (Baseline.axis_id, Baseline.unit_serial, Baseline.channel, Baseline.scope, Baseline.geometry_version)
    query = sa.select(*key, sa.func.max(Baseline.known_at, type_=Baseline.known_at.type)).where(
        Baseline.axis_id.in_(axes), Baseline.feature_version == version, Baseline.known_at <= as_of
    )
    return {tuple(row[:5]): row[5] for row in connection.execute(query.group_by(*key))}


def _marks() -> tuple[Any, ...]:
    return (sa.literal(""), Extraction.feature_version, Extraction.started_at, Extraction.recording_id, sa.literal(1))


def _of_series(key: SeriesKey) -> sa.Select[Any]:
    """SQL: marks of the recordings of a series that a baseline fits, whenever it became known."""
    axis, serial, channel, version = key
    its_version = sa.func.coalesce(Extraction.feature_version, "") == version  # not by an index over all history
    fits = sa.exists().where(
        Baseline.axis_id == axis,
        Baseline.feature_version == version,
        Baseline.channel == channel,
        sa.func.coalesce(Baseline.unit_serial, NO_UNIT) == serial,
        Baseline.scope == Extraction.scope,
        Baseline.geometry_version == Extraction.geometry_version,
    )
    return extractions(*_marks()).where(
        its_version,
        Recording.axis_id == axis,
        Recording.channel == channel,
        sa.func.coalesce(attributed_unit(), NO_UNIT) == serial,
        fits.correlate(Extraction),
    )


def _without_point(versions: Iterable[str]) -> sa.Select[Any]:
    """SQL: marks of the recordings without any point at feature versions."""
    there = sa.exists().where(
        TrendPoint.recording_id == Extraction.recording_id, TrendPoint.feature_version == Extraction.feature_version
    )
    return sa.select(*_marks()).where(Extraction.feature_version.in_(sorted(versions)), ~there)
