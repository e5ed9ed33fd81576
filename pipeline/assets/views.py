"""The registry for display: the list of units, one axis with its orders, and its timeline."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pipeline.assets.events import timeline
from pipeline.assets.geometry import characteristic_orders
from pipeline.assets.places import find_axis
from pipeline.assets.registry import orders_from
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Geometry, Unit

NAMES = ("site", "cell", "robot_id", "axis")


def list_assets(store: Store) -> list[dict[str, Any]]:
    """Return every axis with its units, oldest first; an axis that is known only from logs has none."""
    query = (
        sa.select(Axis, Unit.unit_serial, Unit.installed_at, Unit.removed_at, Unit.geometry_name)
        .join(Unit, Unit.axis_id == Axis.axis_id, isouter=True)
        .order_by(Axis.site, Axis.cell, Axis.robot_id, Axis.axis, Unit.installed_at)
    )
    columns = (*NAMES, "criticality", "expected_every_s", "unit_serial", "installed_at", "removed_at")
    with store.read() as connection:
        return [
            {**{name: getattr(row, name) for name in columns}, "geometry": row.geometry_name}
            for row in connection.execute(query)
        ]


def show_asset(
    store: Store, robot_id: str, axis: str, *, site: str | None = None, cell: str | None = None
) -> dict[str, Any]:
    """Return one axis with its units, and the characteristic orders of each with names and sources.

    Raises
    ------
    PrerequisiteMissing
        There is no such axis.
    SettingsError
        There are several axes of that name.
    """
    with store.read() as connection:
        axis_row = find_axis(connection, robot_id, axis, site=site, cell=cell)
        query = (
            sa.select(Unit, Geometry.orders, Geometry.source)
            .outerjoin(Geometry, Geometry.geometry_version == Unit.geometry_version)
            .where(Unit.axis_id == axis_row.axis_id)
            .order_by(Unit.installed_at)
        )
        units = [_unit(row) for row in connection.execute(query)]
    facts = {name: getattr(axis_row, name) for name in (*NAMES, "axis_id", "criticality", "expected_every_s")}
    return {**facts, "units": units}


def axis_timeline(
    store: Store, robot_id: str, axis: str, *, site: str | None = None, cell: str | None = None
) -> list[dict[str, Any]]:
    """Return the events of one axis in order of time.

    Raises
    ------
    PrerequisiteMissing
        There is no such axis.
    SettingsError
        There are several axes of that name.
    """
    with store.read() as connection:
        return timeline(connection, find_axis(connection, robot_id, axis, site=site, cell=cell).axis_id)


def _unit(row: Any) -> dict[str, Any]:
    listed = row.characteristics
    if not listed and row.orders is not None:
        listed = [vars(order) for order in characteristic_orders(orders_from(row.orders), row.source)]
    return {
        "unit_serial": row.unit_serial,
        "installed_at": row.installed_at,
        "removed_at": row.removed_at,
        "geometry": row.geometry_name,
        "geometry_version": row.geometry_version,
        "orders": listed,
    }
