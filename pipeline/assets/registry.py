"""The asset registry in the database: the import of a file, and which unit was on which axis when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.kinematics import Orders
from features.reducers import NamedOrder
from pipeline.assets.checks import FACTS, UnitPeriod, in_two_places, overlaps
from pipeline.assets.entries import AxisEntry, UnitEntry
from pipeline.assets.events import mirror_installations
from pipeline.assets.geometry import ResolvedGeometry
from pipeline.assets.reading import AssetsFile, parse_assets, refuse, unknown_geometries
from pipeline.store.database import Store, insert_ignore, upsert
from pipeline.store.due import mark_axis
from pipeline.store.tables import NO_GEOMETRY, Axis, Geometry, GeometryName, Unit

IMPORT = "assets import"


@dataclass(frozen=True)
class Installation:
    """A unit in its time on an axis."""

    unit_serial: str
    installed_at: datetime
    removed_at: datetime | None
    geometry_version: str


def import_assets(store: Store, path: Path, *, as_of: datetime, dry_run: bool = False) -> dict[str, Any]:
    """Import an asset file into the registry; entries that exist already are updated.

    For a unit that the file names on an axis, the file has all its times there. So a wrong `installed_at` is corrected
    by importing the corrected file. Return the number of entries by kind, and `notes` about unusual things in the file.
    A dry run stores nothing.

    Raises
    ------
    AxiswatchError
        The file cannot be read, is wrong, or contradicts the registry: an unknown geometry, two units on one axis or
        one unit on two axes at the same time. The message lists everything, and nothing is stored.
    """
    assets = parse_assets(path)
    with store.write(dry_run=dry_run) as connection:
        known = geometries_by_name(connection)
        problems = [*assets.problems, *unknown_geometries(assets, set(known))]
        periods = _periods_after(connection, assets)
        touched = {unit.axis_id for unit in assets.unit}
        serials = {unit.unit_serial for unit in assets.unit}
        problems += overlaps(period for period in periods if period.axis_id in touched)
        problems += in_two_places(period for period in periods if period.unit_serial in serials)
        refuse(path, problems)
        geometries = {unit: resolved for unit in assets.unit if (resolved := assets.geometry_of(unit)) is not None}
        store_geometries(connection, {*assets.geometry.values(), *geometries.values()}, as_of)
        axes = _store_axes(connection, assets, as_of)
        rows = [
            {
                "axis_id": unit.axis_id,
                "unit_serial": unit.unit_serial,
                "installed_at": unit.installed_at.astimezone(UTC),
                "removed_at": unit.removed_at,
                **geometry_columns(geometries.get(unit) or known.get(unit.geometry or "")),
                "known_at": as_of,
            }
            for unit in assets.unit
        ]
        before = _installed(connection)
        for axis, serial in sorted({(row["axis_id"], row["unit_serial"]) for row in rows}):
            installed = [row["installed_at"] for row in rows if (row["axis_id"], row["unit_serial"]) == (axis, serial)]
            of_unit = sa.and_(Unit.axis_id == axis, Unit.unit_serial == serial)
            connection.execute(sa.delete(Unit).where(of_unit, Unit.installed_at.not_in(installed)))
        upsert(connection, Unit, rows, keep=("known_at",))
        changed: dict[str, datetime] = {}
        for axis, _, installed_at, *_ in before ^ _installed(connection):
            changed[axis] = min(installed_at, changed.get(axis, installed_at))
        for axis, since in sorted(changed.items()):
            mark_axis(connection, axis, since)
        mirror_installations(connection, touched, who=IMPORT, as_of=as_of)
    return {"axes": axes, "units": len(rows), "geometries": len(assets.geometry), "notes": assets.notes}


def _installed(connection: Connection) -> set[tuple[Any, ...]]:
    """Return what recordings are attributed by: axis, unit, time and geometry of every installation."""
    columns = (Unit.axis_id, Unit.unit_serial, Unit.installed_at, Unit.removed_at, Unit.geometry_version)
    return {tuple(row) for row in connection.execute(sa.select(*columns))}


def geometry_columns(geometry: ResolvedGeometry | None) -> dict[str, Any]:
    """Return the columns of a unit's row that describe its geometry; None: not known."""
    if geometry is None:
        return {"geometry_version": None, "geometry_name": None, "characteristics": []}
    return {
        "geometry_version": geometry.version,
        "geometry_name": geometry.name,
        "characteristics": geometry.listed(),
    }


def store_geometries(connection: Connection, geometries: Iterable[ResolvedGeometry], as_of: datetime) -> None:
    """Store geometries by the hash of their content, and update their names."""
    ordered = sorted(geometries, key=lambda geometry: geometry.name)
    by_content = [
        {
            "geometry_version": geometry.version,
            "name": geometry.name,
            "orders": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(geometry.orders).items()},
            "source": geometry.source,
            "known_at": as_of,
        }
        for geometry in ordered
    ]
    by_name = [
        {
            "name": geometry.name,
            "geometry_version": geometry.version,
            "characteristics": geometry.listed(),
            "source": geometry.source,
            "known_at": as_of,
        }
        for geometry in ordered
    ]
    insert_ignore(connection, Geometry, by_content)
    upsert(connection, GeometryName, by_name, keep=("known_at",))


def geometries_by_name(connection: Connection) -> dict[str, ResolvedGeometry]:
    """Return the geometries of the registry, by name."""
    query = sa.select(GeometryName, Geometry.orders).join(
        Geometry, Geometry.geometry_version == GeometryName.geometry_version
    )
    return {
        row.name: ResolvedGeometry(
            row.name,
            orders_from(row.orders),
            tuple(NamedOrder(**order) for order in row.characteristics),
            row.source,
        )
        for row in connection.execute(query)
    }


def _periods_after(connection: Connection, assets: AssetsFile) -> list[UnitPeriod]:
    """Return the periods of all units as they will be after the import."""
    in_file = {(unit.axis_id, unit.unit_serial) for unit in assets.unit}
    periods = [period for period in stored_periods(connection) if (period.axis_id, period.unit_serial) not in in_file]
    return periods + [
        UnitPeriod(unit.axis_id, unit.place, unit.unit_serial, unit.installed_at.astimezone(UTC), unit.removed_at)
        for unit in assets.unit
    ]


def stored_periods(connection: Connection) -> list[UnitPeriod]:
    """Return the periods of all units in the registry."""
    query = sa.select(Unit, Axis.site, Axis.cell, Axis.robot_id, Axis.axis).join(Axis, Axis.axis_id == Unit.axis_id)
    return [
        UnitPeriod(
            row.axis_id,
            "/".join(part for part in (row.site, row.cell, row.robot_id, row.axis) if part),
            row.unit_serial,
            row.installed_at,
            row.removed_at,
        )
        for row in connection.execute(query)
    ]


def _store_axes(connection: Connection, assets: AssetsFile, as_of: datetime) -> int:
    """Update axes and return their number; properties that the file does not have stay as they are."""
    stored = {row.axis_id: row for row in connection.execute(sa.select(Axis))}
    rows: dict[str, dict[str, Any]] = {}
    entries: list[AxisEntry | UnitEntry] = [*assets.axis, *assets.unit]
    for entry in entries:
        before, declared = stored.get(entry.axis_id), assets.facts.get(entry.axis_id, {})
        facts = {name: declared[name] if name in declared else getattr(before, name, None) for name in FACTS}
        place = {name: getattr(entry, name) for name in ("site", "cell", "robot_id", "axis")}
        rows[entry.axis_id] = {"axis_id": entry.axis_id, **place, **facts, "known_at": as_of}
    upsert(connection, Axis, list(rows.values()), keep=("known_at",))
    return len(rows)


def installations(connection: Connection) -> dict[str, list[Installation]]:
    """Return the units of every axis in the order of their installation."""
    by_axis: dict[str, list[Installation]] = {}
    for row in connection.execute(sa.select(Unit).order_by(Unit.axis_id, Unit.installed_at)):
        by_axis.setdefault(row.axis_id, []).append(
            Installation(row.unit_serial, row.installed_at, row.removed_at, row.geometry_version or NO_GEOMETRY)
        )
    return by_axis


def known_orders(connection: Connection) -> dict[str, Orders]:
    """Return the orders of every geometry by its version."""
    return {row.geometry_version: orders_from(row.orders) for row in connection.execute(sa.select(Geometry))}


def orders_from(stored: dict[str, Any]) -> Orders:
    """Build orders from their stored form, a dict of numbers and lists."""
    return Orders(**stored)
