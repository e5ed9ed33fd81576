"""Replacing a unit: its time on the axis ends, the time of the next one begins, and its open cases are closed.

All of it is one transaction, with the same lock on the axis that advise takes. A replacement may be registered long
after it happened. Recordings since then belong to the new unit (`pipeline.store.attribution.attributed_unit` asks the
registry). A different geometry makes them due for extraction and scoring again. Their axis states are computed again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from pipeline.assets.checks import UnitPeriod, in_two_places
from pipeline.assets.events import REPLACED, event_row, mirror_installations
from pipeline.assets.geometry import ResolvedGeometry, bearing_alone
from pipeline.assets.places import find_axis, place_of
from pipeline.assets.registry import geometries_by_name, geometry_columns, store_geometries, stored_periods
from pipeline.base.errors import AxiswatchError
from pipeline.base.ids import utc_text
from pipeline.cases.episodes import CLOSED, UNIT_FAMILIES
from pipeline.cases.history import add_event
from pipeline.store.database import Store, insert_ignore
from pipeline.store.due import mark_axis
from pipeline.store.tables import Axis, AxisEvent, Case, Recording, Scoring, Unit

MOST_LETTERS = 200


def replace_unit(
    store: Store,
    robot_id: str,
    axis: str,
    *,
    new_serial: str,
    at: datetime,
    as_of: datetime,
    who: str,
    geometry: str | None = None,
    bearing: str | None = None,
    site: str | None = None,
    cell: str | None = None,
    reason: str = "",
) -> dict[str, Any]:
    """Replace the unit on an axis at a time. Repeating the same replacement changes nothing.

    Parameters
    ----------
    geometry, bearing
        Name of a geometry in the registry, or designation of a bearing in the catalogue; not both. With neither, the
        new unit gets the geometry of the old one.

    Returns
    -------
    dict
        `axis`, `old_unit_serial` (None: the registry had none), `unit_serial`, `at`, `geometry`, `closed_cases`,
        `recordings_since` (now of the new unit), `recordings_that_name_another_unit`, `changed`.

    Raises
    ------
    PrerequisiteMissing
        There is no such axis.
    SettingsError
        Several axes have this name.
    AxiswatchError
        The replacement contradicts the registry; the message lists all contradictions, and nothing is stored.
    """
    with store.write() as connection:
        axis_row = find_axis(connection, robot_id, axis, site=site, cell=cell)
        key = axis_row.axis_id
        connection.execute(sa.select(Axis.axis_id).where(Axis.axis_id == key).with_for_update())
        resolved, problems = _geometry(connection, geometry, bearing)
        units = connection.execute(sa.select(Unit).where(Unit.axis_id == key).order_by(Unit.installed_at)).all()
        installed = next((row for row in units if (row.unit_serial, row.installed_at) == (new_serial, at)), None)
        if installed is not None and not problems:
            return _again(connection, axis_row, installed, resolved, at)
        old = next((row for row in reversed(units) if row.installed_at <= at), None)
        problems += _contradictions(connection, axis_row, units, old, new_serial, at, as_of)
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise AxiswatchError(f"the unit on {place_of(axis_row._mapping)} was not replaced:\n{listed}")
        return _install(connection, axis_row, old, resolved, new_serial, at, reason=reason, who=who, as_of=as_of)


def _install(
    connection: Connection,
    axis_row: Row[Any],
    old: Row[Any] | None,
    resolved: ResolvedGeometry | None,
    new_serial: str,
    at: datetime,
    *,
    reason: str,
    who: str,
    as_of: datetime,
) -> dict[str, Any]:
    key = axis_row.axis_id
    columns = _columns(old) if resolved is None else geometry_columns(resolved)
    if resolved is not None:
        store_geometries(connection, [resolved], as_of)
    if old is not None and old.removed_at is None:
        old_period = (Unit.axis_id == key, Unit.unit_serial == old.unit_serial, Unit.installed_at == old.installed_at)
        connection.execute(sa.update(Unit).where(*old_period).values(removed_at=at))
    row = {"axis_id": key, "unit_serial": new_serial, "installed_at": at, "removed_at": None, **columns}
    insert_ignore(connection, Unit, [{**row, "known_at": as_of}])
    mark_axis(connection, key, at)
    old_serial = old.unit_serial if old is not None else None
    closed = _close_cases(connection, key, at, old_serial, new_serial, who=who, as_of=as_of)
    details = {
        "unit_serial": new_serial,
        "old_unit_serial": old_serial,
        "geometry": columns["geometry_name"],
        "reason": reason,
        "closed_cases": closed,
    }
    event = event_row(key, at, REPLACED, new_serial, details=details, who=who, as_of=as_of)
    insert_ignore(connection, AxisEvent, [event])
    mirror_installations(connection, [key], who=who, as_of=as_of)
    # Scores since then belong to the new unit, so their axis states are computed again.
    since = (Scoring.axis_id == key, Scoring.started_at >= at)
    connection.execute(sa.update(Scoring).where(*since).values(advised=False))
    return _report(connection, axis_row, details, at, changed=True)


def _geometry(
    connection: Connection, geometry: str | None, bearing: str | None
) -> tuple[ResolvedGeometry | None, list[str]]:
    if geometry is not None and bearing is not None:
        return None, ["--geometry and --bearing exclude each other; use one of them"]
    if bearing is not None:
        try:
            return bearing_alone(bearing), []
        except ValueError as error:
            return None, [str(error)]
    if geometry is not None:
        known = geometries_by_name(connection)
        if geometry not in known:
            names = ", ".join(sorted(known)) or "none yet"
            return None, [f"geometry {geometry!r} is not in the registry, which has {names}; import it first"]
        return known[geometry], []
    return None, []


def _columns(old: Row[Any] | None) -> dict[str, Any]:
    if old is None:
        return geometry_columns(None)
    return {name: getattr(old, name) for name in ("geometry_version", "geometry_name", "characteristics")}


def _again(
    connection: Connection, axis_row: Row[Any], installed: Row[Any], resolved: ResolvedGeometry | None, at: datetime
) -> dict[str, Any]:
    """Report a replacement that is stored already; refuse it if it has another geometry."""
    event = event_row(axis_row.axis_id, at, REPLACED, installed.unit_serial, details={}, who="", as_of=at)["event_id"]
    details = connection.scalar(sa.select(AxisEvent.details).where(AxisEvent.event_id == event))
    serial = installed.unit_serial
    if details is None:
        raise AxiswatchError(
            f"the unit on {place_of(axis_row._mapping)} was not replaced:\n  - {serial} is installed at {utc_text(at)} "
            "already, by an asset file"
        )
    if resolved is not None and resolved.version != installed.geometry_version:
        raise AxiswatchError(
            f"the unit on {place_of(axis_row._mapping)} was not replaced:\n  - {serial} was installed at "
            f"{utc_text(at)} with geometry {installed.geometry_name!r}; correct it with `axiswatch assets import`"
        )
    return _report(connection, axis_row, details, at, changed=False)


def _contradictions(
    connection: Connection,
    axis_row: Row[Any],
    units: Any,
    old: Row[Any] | None,
    new_serial: str,
    at: datetime,
    as_of: datetime,
) -> list[str]:
    problems = []
    if not new_serial.strip() or new_serial != new_serial.strip() or len(new_serial) > MOST_LETTERS:
        problems.append(f"serial {new_serial!r} is empty, longer than {MOST_LETTERS} letters or has blanks at its ends")
    if not new_serial.isprintable():
        problems.append(f"serial {new_serial!r} has characters that cannot be printed")
    if at > as_of:
        problems.append(f"{utc_text(at)} is later than the time of this run, {utc_text(as_of)}")
    later = [row for row in units if row.installed_at > at]
    if old is None and later:
        first = later[0]
        problems.append(
            f"{utc_text(at)} is before {first.unit_serial} was installed, {utc_text(first.installed_at)}: "
            "there was nothing to replace"
        )
    elif later:
        problems.append(
            f"the unit was already replaced later: {later[0].unit_serial} is on the axis since "
            f"{utc_text(later[0].installed_at)}; correct the history with `axiswatch assets import`"
        )
    if old is not None and old.installed_at == at:
        problems.append(f"{old.unit_serial} was installed at that very time; a unit cannot be replaced before it ran")
    if old is not None and old.unit_serial == new_serial and (old.removed_at is None or old.removed_at > at):
        problems.append(f"{new_serial} is the unit that is on the axis already")
    elif old is not None and old.removed_at is not None and old.removed_at > at and not later:
        problems.append(f"{old.unit_serial} is on the axis until {utc_text(old.removed_at)}; correct that by an import")
    new = UnitPeriod(axis_row.axis_id, place_of(axis_row._mapping), new_serial, at, None)
    elsewhere = [
        period
        for period in stored_periods(connection)
        if period.unit_serial == new_serial and period.axis_id != new.axis_id
    ]
    return problems + in_two_places([*elsewhere, new])


def _close_cases(
    connection: Connection, axis: str, at: datetime, old: str | None, new: str, *, who: str, as_of: datetime
) -> list[str]:
    """Close the open cases of the old unit. Cases about data stay open: sensor and cable are still the same."""
    query = sa.select(Case).where(
        Case.axis_id == axis, Case.family.in_(UNIT_FAMILIES), Case.state != CLOSED, Case.first_at < at
    )
    # Later recordings belong to another unit: the case, and a verdict on it, end with the last one of the old unit.
    last = connection.scalar(
        sa.select(sa.func.max(Recording.started_at, type_=Recording.started_at.type)).where(
            Recording.axis_id == axis, Recording.started_at < at
        )
    )
    closed = []
    for case in connection.execute(query.order_by(Case.case_id)).all():
        values = {
            "state": CLOSED,
            "last_at": case.last_at if case.last_at < at else max(case.first_at, last or case.first_at),
            "closed_at": at,
            "closed_by": who,
            "closed_priority": case.priority,
            "snoozed_until": None,
            "changed_at": as_of,
        }
        connection.execute(sa.update(Case).where(Case.case_id == case.case_id).values(**values))
        why = {"why": "unit replaced", "old_unit_serial": old, "unit_serial": new, "replaced_at": utc_text(at)}
        add_event(connection, case.case_id, who, "closed", why, as_of)
        closed.append(case.case_id)
    return closed


def _report(
    connection: Connection, axis_row: Row[Any], details: dict[str, Any], at: datetime, *, changed: bool
) -> dict[str, Any]:
    since = sa.select(sa.func.count()).where(Recording.axis_id == axis_row.axis_id, Recording.started_at >= at)
    other = since.where(Recording.unit_serial.is_not(None), Recording.unit_serial != details["unit_serial"])
    names_another = connection.scalar(other) or 0
    return {
        "axis": place_of(axis_row._mapping),
        "old_unit_serial": details["old_unit_serial"],
        "unit_serial": details["unit_serial"],
        "at": at,
        "geometry": details["geometry"],
        "closed_cases": details["closed_cases"],
        "recordings_since": (connection.scalar(since) or 0) - names_another,
        "recordings_that_name_another_unit": names_another,
        "changed": changed,
    }
