"""Which unit a recording belongs to, the geometry in force, and which stored rows are still valid for that unit.

A recording belongs to the unit that its log names, else to the unit that the asset registry has on the axis at that
time. A replacement may be registered late. So `unit_serial` in extractions, scores and trend points is only what was
known when they were written. Code that splits, compares or sums by unit must use the functions of this file.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.store.tables import NO_GEOMETRY, Baseline, Extraction, Recording, Score, Unit

Span = tuple[datetime, datetime]
"""Start (included) and end (not included)."""


def on_axis() -> sa.ColumnElement[bool]:
    """SQL: the condition that joins a recording with the unit that the registry has on its axis at its time."""
    return sa.and_(
        Unit.axis_id == Recording.axis_id,
        Unit.installed_at <= Recording.started_at,
        sa.or_(Unit.removed_at.is_(None), Unit.removed_at > Recording.started_at),
    )


def installed_geometry() -> sa.ColumnElement[str]:
    """SQL: the geometry version of the unit on a recording's axis at its time."""
    return sa.func.coalesce(Unit.geometry_version, NO_GEOMETRY)


def attributed_unit() -> sa.ColumnElement[str | None]:
    """SQL: the unit that a recording belongs to; null where neither the log nor the registry names one."""
    return sa.func.coalesce(Recording.unit_serial, Unit.unit_serial)


def attributed_extraction() -> list[sa.ColumnElement[Any]]:
    """SQL: the columns of an extraction, with the unit that its recording belongs to now."""
    own: list[Any] = [column for column in Extraction.__table__.columns if column.name != "unit_serial"]
    return [*own, attributed_unit().label("unit_serial")]


def recordings(*columns: Any) -> sa.Select[Any]:
    """SQL: select columns of recordings, joined with the registry's units."""
    return sa.select(*columns).select_from(Recording).outerjoin(Unit, on_axis())


def extractions(
    *columns: Any,
    scope: str | None = None,
    feature_version: str | sa.ScalarSelect[str] | None = None,
    span: Span | None = None,
    ok_only: bool = False,
    any_geometry: bool = False,
) -> sa.Select[Any]:
    """SQL: select extractions, joined with recordings and units; for each recording the one at the geometry in force.

    Parameters
    ----------
    columns
        Columns to select; `attributed_extraction()` by default.
    scope, feature_version
        Only extractions of this scope, or at this feature version.
    span
        Only of recordings that started in it.
    ok_only
        Only those with a good data-quality verdict and at least one window.
    any_geometry
        True: at any geometry version, in force or not.
    """
    query = (
        sa.select(*(columns or attributed_extraction()))
        .select_from(Extraction)
        .join(Recording, Recording.recording_id == Extraction.recording_id)
        .outerjoin(Unit, on_axis())
    )
    if not any_geometry:
        query = query.where(Extraction.geometry_version == installed_geometry())
    if scope is not None:
        query = query.where(Extraction.scope == scope)
    if feature_version is not None:
        query = query.where(Extraction.feature_version == feature_version)
    if span is not None:
        query = query.where(Extraction.started_at >= span[0], Extraction.started_at < span[1])
    if ok_only:
        query = query.where(Extraction.quality == "ok", Extraction.n_windows > 0)
    return query


def scores(*columns: Any) -> sa.Select[Any]:
    """SQL: select valid scores: at the geometry in force, and compared with a baseline of the recording's own unit."""
    return (
        sa.select(*columns)
        .select_from(Score)
        .join(Recording, Recording.recording_id == Score.recording_id)
        .outerjoin(Unit, on_axis())
        .where(Score.geometry_version == installed_geometry(), own_baseline(Score.baseline_version))
    )


def own_baseline(version: Any, unit: sa.ColumnElement[Any] | None = None) -> sa.ColumnElement[bool]:
    """SQL: a baseline version is empty, or belongs to the unit that the recording belongs to now.

    Rows that were compared with the baseline of another unit are due again. A newer baseline of the same unit changes
    nothing.
    """
    owner = attributed_unit() if unit is None else unit
    of_unit = sa.exists().where(Baseline.baseline_version == version, Baseline.unit_serial.is_not_distinct_from(owner))
    return sa.or_(version == "", of_unit.correlate_except(Baseline))  # also inside a subquery


def unit_name(serial: str | None, axis_id: str) -> str:
    """Return the name under which a unit is counted: its serial number, else its axis."""
    return serial or f"axis {axis_id}"


def unit_at(connection: Connection, axis_id: str, moment: datetime) -> str | None:
    """Return the unit on an axis at a time: from its latest recording, else from the registry; None: not known."""
    declared = connection.scalar(
        sa.select(Recording.unit_serial)
        .where(Recording.axis_id == axis_id, Recording.started_at <= moment)
        .order_by(Recording.started_at.desc())
        .limit(1)
    )
    if declared is not None:
        return declared
    return connection.scalar(
        sa.select(Unit.unit_serial).where(
            Unit.axis_id == axis_id,
            Unit.installed_at <= moment,
            sa.or_(Unit.removed_at.is_(None), Unit.removed_at > moment),
        )
    )
