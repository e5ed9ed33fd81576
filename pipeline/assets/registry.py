"""The asset registry in the database: importing a file, and who sat on which axis when."""

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
from pipeline.store.tables import NO_GEOMETRY, Axis, Geometry, GeometryName, Unit

IMPORT = "assets import"


@dataclass(frozen=True)
class Installation:
    """A unit in its time on an axis, as extraction and training look it up."""

    unit_serial: str
    installed_at: datetime
    removed_at: datetime | None
    geometry_version: str


def import_assets(store: Store, path: Path, *, as_of: datetime) -> dict[str, Any]:
    """Read an asset file into the registry; what is there already with the same key is brought up to date.

    For a unit that the file names on an axis, the file tells all its times there: a mistyped `installed_at` is
    corrected by importing the file again. Gives the entries in the file by kind, and `notes` on what is odd about it.

    Raises
    ------
    AxiswatchError
        The file cannot be read, or something is wrong with it, by itself or against what the registry has: a geometry
        that nobody knows, two units on one axis or one unit on two axes at a time. All of it is listed, and nothing is
        stored.
    """
    found = parse_assets(path)
    with store.write() as connection:
        known = geometries_by_name(connection)
        problems = [*found.problems, *unknown_geometries(found, set(known))]
        periods = _periods_after(connection, found)
        touched = {unit.axis_id for unit in found.unit}
        serials = {unit.unit_serial for unit in found.unit}
        problems += overlaps(period for period in periods if period.axis_id in touched)
        problems += in_two_places(period for period in periods if period.unit_serial in serials)
        refuse(path, problems)
        geometries = {unit: resolved for unit in found.unit if (resolved := found.geometry_of(unit)) is not None}
        store_geometries(connection, {*found.geometry.values(), *geometries.values()}, as_of)
        axes = _store_axes(connection, found, as_of)
        rows = [
            {
                "axis_id": unit.axis_id,
                "unit_serial": unit.unit_serial,
                "installed_at": unit.installed_at.astimezone(UTC),
                "removed_at": unit.removed_at,
                **geometry_columns(geometries.get(unit) or known.get(unit.geometry or "")),
                "known_at": as_of,
            }
            for unit in found.unit
        ]
        for axis, serial in sorted({(row["axis_id"], row["unit_serial"]) for row in rows}):
            kept = [row["installed_at"] for row in rows if (row["axis_id"], row["unit_serial"]) == (axis, serial)]
            named = sa.and_(Unit.axis_id == axis, Unit.unit_serial == serial)
            connection.execute(sa.delete(Unit).where(named, Unit.installed_at.not_in(kept)))
        upsert(connection, Unit, rows, keep=("known_at",))
        mirror_installations(connection, touched, who=IMPORT, as_of=as_of)
    return {"axes": axes, "units": len(rows), "geometries": len(found.geometry), "notes": found.notes}


def geometry_columns(geometry: ResolvedGeometry | None) -> dict[str, Any]:
    """Give the columns of a unit that tell its geometry."""
    if geometry is None:
        return {"geometry_version": None, "geometry_name": None, "characteristics": []}
    return {
        "geometry_version": geometry.version,
        "geometry_name": geometry.name,
        "characteristics": geometry.listed(),
    }


def store_geometries(connection: Connection, geometries: Iterable[ResolvedGeometry], as_of: datetime) -> None:
    """Store geometries by content, and bring their names up to date."""
    ordered = sorted(geometries, key=lambda one: one.name)
    by_content = [
        {
            "geometry_version": one.version,
            "name": one.name,
            "orders": {**asdict(one.orders), "gear_mesh": list(one.orders.gear_mesh)},
            "source": one.source,
            "known_at": as_of,
        }
        for one in ordered
    ]
    by_name = [
        {
            "name": one.name,
            "geometry_version": one.version,
            "characteristics": one.listed(),
            "source": one.source,
            "known_at": as_of,
        }
        for one in ordered
    ]
    insert_ignore(connection, Geometry, by_content)
    upsert(connection, GeometryName, by_name, keep=("known_at",))


def geometries_by_name(connection: Connection) -> dict[str, ResolvedGeometry]:
    """Give the geometries that the registry knows, by name."""
    query = sa.select(GeometryName, Geometry.orders).join(
        Geometry, Geometry.geometry_version == GeometryName.geometry_version
    )
    return {
        row.name: ResolvedGeometry(
            row.name,
            orders_from(row.orders),
            tuple(NamedOrder(**told) for told in row.characteristics),
            row.source,
        )
        for row in connection.execute(query)
    }


def _periods_after(connection: Connection, found: AssetsFile) -> list[UnitPeriod]:
    """Give the periods of all units as they will be once the file is in."""
    told = {(unit.axis_id, unit.unit_serial) for unit in found.unit}
    periods = [period for period in stored_periods(connection) if (period.axis_id, period.unit_serial) not in told]
    return periods + [
        UnitPeriod(unit.axis_id, unit.place, unit.unit_serial, unit.installed_at.astimezone(UTC), unit.removed_at)
        for unit in found.unit
    ]


def stored_periods(connection: Connection) -> list[UnitPeriod]:
    """Give the periods of all units in the registry."""
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


def _store_axes(connection: Connection, found: AssetsFile, as_of: datetime) -> int:
    """Bring axes up to date; what the file does not say of an axis stays as it is."""
    stored = {row.axis_id: row for row in connection.execute(sa.select(Axis))}
    rows: dict[str, dict[str, Any]] = {}
    entries: list[AxisEntry | UnitEntry] = [*found.axis, *found.unit]
    for entry in entries:
        before, told = stored.get(entry.axis_id), found.facts.get(entry.axis_id, {})
        facts = {name: told[name] if name in told else getattr(before, name, None) for name in FACTS}
        place = {name: getattr(entry, name) for name in ("site", "cell", "robot_id", "axis")}
        rows[entry.axis_id] = {"axis_id": entry.axis_id, **place, **facts, "known_at": as_of}
    upsert(connection, Axis, list(rows.values()), keep=("known_at",))
    return len(rows)


def installations(connection: Connection) -> dict[str, list[Installation]]:
    """Give the units of every axis in the order of their installation."""
    found: dict[str, list[Installation]] = {}
    for row in connection.execute(sa.select(Unit).order_by(Unit.axis_id, Unit.installed_at)):
        found.setdefault(row.axis_id, []).append(
            Installation(row.unit_serial, row.installed_at, row.removed_at, row.geometry_version or NO_GEOMETRY)
        )
    return found


def known_orders(connection: Connection) -> dict[str, Orders]:
    """Give the orders of every geometry by its version."""
    return {row.geometry_version: orders_from(row.orders) for row in connection.execute(sa.select(Geometry))}


def orders_from(stored: dict[str, Any]) -> Orders:
    """Read orders back from the database."""
    return Orders(
        bpfo=stored.get("bpfo"),
        bpfi=stored.get("bpfi"),
        bsf=stored.get("bsf"),
        ftf=stored.get("ftf"),
        gear_mesh=tuple(stored.get("gear_mesh", ())),
    )
