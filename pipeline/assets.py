"""The asset registry: which unit sits on which axis since when, and the characteristic orders of its shaft."""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy.engine import Connection

from features.kinematics import Orders, geometry_version
from pipeline.errors import AxiswatchError
from pipeline.ids import axis_id
from pipeline.schema import Axis, Geometry, Unit
from pipeline.store import Store, insert_ignore, upsert

NO_GEOMETRY = geometry_version(None)
Name = Annotated[str, Field(max_length=200, pattern=r"^\S(.*\S)?$")]
Order = Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]


LONGEST_S = 10 * 366 * 86_400.0
"""Longest time that may be declared between two recordings, s."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GeometryEntry(_Strict):
    """Orders of one shaft: multiples of its speed."""

    bpfo: Order | None = None
    bpfi: Order | None = None
    bsf: Order | None = None
    ftf: Order | None = None
    gear_mesh: tuple[Order, ...] = ()
    source: str

    def orders(self) -> Orders:
        """Give the orders as the features take them."""
        return Orders(bpfo=self.bpfo, bpfi=self.bpfi, bsf=self.bsf, ftf=self.ftf, gear_mesh=self.gear_mesh)


class UnitEntry(_Strict):
    """A unit in its time on an axis."""

    site: str = ""
    cell: str = ""
    robot_id: Name
    axis: Name
    unit_serial: Name
    geometry: str | None = None
    installed_at: AwareDatetime
    removed_at: AwareDatetime | None = None
    expected_every_s: Annotated[float, Field(gt=0, le=LONGEST_S)] | None = None

    @model_validator(mode="after")
    def _period(self) -> UnitEntry:
        if self.removed_at is not None and self.removed_at <= self.installed_at:
            raise ValueError("removed_at must be after installed_at")
        return self


class AssetsFile(_Strict):
    """An assets.toml."""

    version: Annotated[int, Field(ge=1, le=1)]
    geometry: dict[str, GeometryEntry] = {}
    unit: tuple[UnitEntry, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> AssetsFile:
        problems = [
            f"unit {entry.unit_serial}: geometry {entry.geometry!r} is not defined in this file"
            for entry in self.unit
            if entry.geometry is not None and entry.geometry not in self.geometry
        ]
        keys = Counter(
            (entry.site, entry.cell, entry.robot_id, entry.axis, entry.unit_serial, entry.installed_at)
            for entry in self.unit
        )
        problems += [
            f"unit {key[4]} is installed at {key[5].isoformat()} {count} times on {key[2]}/{key[3]}; keep one entry"
            for key, count in keys.items()
            if count > 1
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


@dataclass(frozen=True)
class Installation:
    """A unit in its time on an axis, as extraction and training look it up."""

    unit_serial: str
    installed_at: datetime
    removed_at: datetime | None
    geometry_version: str


def import_assets(store: Store, path: Path, *, as_of: datetime) -> dict[str, int]:
    """Read an assets.toml into the registry; what is there already with the same key is brought up to date.

    For a unit that the file names on an axis, the file tells all its times there: a mistyped `installed_at` is
    corrected by importing the file again.

    Raises
    ------
    AxiswatchError
        The file is not TOML or not an asset registry (everything wrong with it is listed), or two units would sit on
        one axis at the same time. Nothing is stored then.
    """
    entries = read_assets(path)
    axes = {}
    units = []
    versions = {name: geometry_version(entry.orders()) for name, entry in entries.geometry.items()}
    for entry in entries.unit:
        key = axis_id(entry.site, entry.cell, entry.robot_id, entry.axis)
        axes[key] = {
            "axis_id": key,
            "site": entry.site,
            "cell": entry.cell,
            "robot_id": entry.robot_id,
            "axis": entry.axis,
            "expected_every_s": entry.expected_every_s,
            "known_at": as_of,
        }
        units.append(
            {
                "axis_id": key,
                "unit_serial": entry.unit_serial,
                "installed_at": entry.installed_at.astimezone(UTC),
                "removed_at": entry.removed_at,
                "geometry_version": versions[entry.geometry] if entry.geometry is not None else None,
                "known_at": as_of,
            }
        )
    geometries = [
        {
            "geometry_version": versions[name],
            "name": name,
            "orders": entry.model_dump(mode="json", exclude={"source"}),
            "source": entry.source,
            "known_at": as_of,
        }
        for name, entry in entries.geometry.items()
    ]
    with store.write() as connection:
        insert_ignore(connection, Geometry, geometries)
        upsert(connection, Axis, list(axes.values()), keep=("known_at",))
        for axis, serial in sorted({(unit["axis_id"], unit["unit_serial"]) for unit in units}):
            kept = [unit["installed_at"] for unit in units if (unit["axis_id"], unit["unit_serial"]) == (axis, serial)]
            named = sa.and_(Unit.axis_id == axis, Unit.unit_serial == serial)
            connection.execute(sa.delete(Unit).where(named, Unit.installed_at.not_in(kept)))
        upsert(connection, Unit, units, keep=("known_at",))
        _refuse_overlaps(connection, set(axes), path)
    return {"axes": len(axes), "units": len(units), "geometries": len(geometries)}


def read_assets(path: Path) -> AssetsFile:
    """Read and check an assets.toml."""
    try:
        return AssetsFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise AxiswatchError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AxiswatchError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        listed = "\n".join(
            f"  - {'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}" for item in error.errors()
        )
        raise AxiswatchError(f"{path} is no asset registry:\n{listed}") from error


def installations(connection: Connection) -> dict[str, list[Installation]]:
    """Give the units of every axis in the order of their installation."""
    found: dict[str, list[Installation]] = {}
    for row in connection.execute(sa.select(Unit).order_by(Unit.axis_id, Unit.installed_at)):
        found.setdefault(row.axis_id, []).append(
            Installation(row.unit_serial, row.installed_at, row.removed_at, row.geometry_version or NO_GEOMETRY)
        )
    return found


def installed_at_time(units: list[Installation], moment: datetime) -> Installation | None:
    """Give the unit that sat on an axis at a time, None where the registry knows of none."""
    for unit in units:
        if unit.installed_at <= moment and (unit.removed_at is None or moment < unit.removed_at):
            return unit
    return None


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


def _refuse_overlaps(connection: Connection, axes: set[str], path: Path) -> None:
    for key, units in installations(connection).items():
        if key not in axes:
            continue
        for earlier, later in pairwise(units):
            if earlier.removed_at is None or earlier.removed_at > later.installed_at:
                raise AxiswatchError(
                    f"{path}: unit {later.unit_serial} is installed at {later.installed_at.isoformat()} while "
                    f"{earlier.unit_serial} is still on the axis; give {earlier.unit_serial} a removed_at"
                )
