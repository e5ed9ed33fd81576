"""Finding an axis by the names that people use for it."""

from __future__ import annotations

import difflib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from pipeline.base.errors import PrerequisiteMissing
from pipeline.store.tables import Axis


def find_axis(
    connection: Connection, robot_id: str, axis: str, *, site: str | None = None, cell: str | None = None
) -> Row[Any]:
    """Give the axis of a robot; site and cell narrow it down where robots of one name are in several.

    Raises
    ------
    PrerequisiteMissing
        There is no such axis, or more than one; the message says which there are.
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
        listed = ", ".join(place_of(row._mapping) for row in found)
        raise PrerequisiteMissing(
            f"axis {wanted} is there {len(found)} times: {listed}; say which by --site and --cell"
        )
    names = [place_of(row._mapping) for row in everything]
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    hint = f"close to it are {', '.join(near)}" if near else "`axiswatch assets list` shows the axes"
    raise PrerequisiteMissing(f"there is no axis {wanted}; {hint}")


def place_of(row: Any) -> str:
    """Write the place of an axis."""
    return "/".join(row[name] for name in ("site", "cell", "robot_id", "axis") if row[name])
