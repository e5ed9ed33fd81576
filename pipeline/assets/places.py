"""Finding an axis by the names that people use for it."""

from __future__ import annotations

import difflib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from pipeline.base.errors import PrerequisiteMissing, SettingsError
from pipeline.store.tables import Axis


def find_axis(
    connection: Connection, robot_id: str, axis: str, *, site: str | None = None, cell: str | None = None
) -> Row[Any]:
    """Return the axis of a robot; site and cell narrow it down where robots of one name are in several.

    Raises
    ------
    PrerequisiteMissing
        There is no such axis; the message names those that are written alike.
    SettingsError
        There are several in different sites or cells; the message lists them, and a call with one of them is right.
    """
    query = sa.select(Axis).order_by(Axis.site, Axis.cell, Axis.robot_id, Axis.axis)
    everything = connection.execute(query).all()
    found = [
        row
        for row in everything
        if (row.robot_id, row.axis) == (robot_id, axis) and site in (None, row.site) and cell in (None, row.cell)
    ]
    if len(found) == 1:
        return found[0]
    wanted = place_of({"site": site, "cell": cell, "robot_id": robot_id, "axis": axis})
    if found:
        listed = ", ".join(f"--site {row.site!r} --cell {row.cell!r}" for row in found)
        raise SettingsError(f"there are {len(found)} axes {wanted}; choose one of {listed}")
    by_name: dict[str, list[str]] = {}
    for row in everything:
        by_name.setdefault(f"{row.robot_id}/{row.axis}", []).append(place_of(row._mapping))
    alike = difflib.get_close_matches(f"{robot_id}/{axis}", by_name, n=3, cutoff=0.6)
    near = [place for name in alike for place in by_name[name]]
    hint = f"close to it are {', '.join(near)}" if near else "`axiswatch assets list` shows the axes"
    raise PrerequisiteMissing(f"there is no axis {wanted}; {hint}")


def place_of(row: Any) -> str:
    """Write the place of an axis."""
    return "/".join(row[name] for name in ("site", "cell", "robot_id", "axis") if row[name])
