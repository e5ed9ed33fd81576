"""Find an axis by the names of its robot and itself."""

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
    """Return the axis of a robot; site and cell are needed where several have a robot of that name.

    Raises
    ------
    PrerequisiteMissing
        There is no such axis; the message names axes with a similar name.
    SettingsError
        There are several in different sites or cells; the message lists the options that choose one of them.
    """
    query = sa.select(Axis).order_by(Axis.site, Axis.cell, Axis.robot_id, Axis.axis)
    axes = connection.execute(query).all()
    matching = [
        row
        for row in axes
        if (row.robot_id, row.axis) == (robot_id, axis) and site in (None, row.site) and cell in (None, row.cell)
    ]
    if len(matching) == 1:
        return matching[0]
    asked_place = place_of({"site": site, "cell": cell, "robot_id": robot_id, "axis": axis})
    if matching:
        listed = ", ".join(f"--site {row.site!r} --cell {row.cell!r}" for row in matching)
        raise SettingsError(f"there are {len(matching)} axes {asked_place}; choose one of {listed}")
    by_name: dict[str, list[str]] = {}
    for row in axes:
        by_name.setdefault(f"{row.robot_id}/{row.axis}", []).append(place_of(row._mapping))
    similar = difflib.get_close_matches(f"{robot_id}/{axis}", by_name, n=3, cutoff=0.6)
    suggestions = [place for name in similar for place in by_name[name]]
    hint = f"close to it are {', '.join(suggestions)}" if suggestions else "`axiswatch assets list` shows the axes"
    raise PrerequisiteMissing(f"there is no axis {asked_place}; {hint}")


def place_of(row: Any) -> str:
    """Return the name of an axis for messages: site/cell/robot/axis, empty parts left out."""
    return "/".join(row[name] for name in ("site", "cell", "robot_id", "axis") if row[name])
