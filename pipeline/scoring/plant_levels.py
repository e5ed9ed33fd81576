"""The levels in force, and what a person does to them: take the last change back, hold it, let it go."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.base.errors import PrerequisiteMissing
from pipeline.base.settings import CaseSettings
from pipeline.registry.versions import champions, get_version
from pipeline.scoring.levels import Levels, default_levels, standing_levels
from pipeline.store.database import Store
from pipeline.store.tables import PlantLevel


def list_levels(store: Store, *, as_of: datetime) -> list[dict[str, Any]]:
    """Return the levels in force of the present champions, by site and scope."""
    with store.read() as connection:
        standing = standing_levels(connection, list(champions(connection).values()), as_of=as_of)
    rows = [row for site in standing.values() for row in site.values()]
    return sorted(rows, key=lambda row: (row["site"], row["scope"]))


def go_back(
    store: Store, settings: CaseSettings, scope: str, site: str, *, who: str, reason: str, at: datetime
) -> dict[str, Any]:
    """Put the levels before the last change in force, and hold them; return the new row.

    Before the first row of a model that is the level without answers.

    Raises
    ------
    PrerequisiteMissing
        The champion of this scope has no level at this site.
    """
    version, now = _standing(store, scope, site, at)
    query = sa.select(PlantLevel).where(
        PlantLevel.model_version == version["model_version"], PlantLevel.site == site, PlantLevel.decided_at <= at
    )
    with store.read() as connection:
        rows = connection.execute(query.order_by(PlantLevel.decided_at.desc(), PlantLevel.sequence.desc())).all()
    other = [row for row in rows if row.alarm_probability != now["alarm_probability"]]
    levels = default_levels(settings)
    if other:
        levels = Levels(other[0].alarm_probability, other[0].review_probability, "", other[0].figures)
    return _act(store, version, site, replace(levels, reason=f"taken back by {who}: {reason}"), now, who, at, held=True)


def release(store: Store, scope: str, site: str, *, who: str, reason: str, at: datetime) -> dict[str, Any]:
    """Let the daily estimate decide again; the levels stay until then.

    Raises
    ------
    PrerequisiteMissing
        The champion of this scope has no level at this site.
    """
    version, now = _standing(store, scope, site, at)
    levels = Levels(now["alarm_probability"], now["review_probability"], f"released by {who}: {reason}", now["figures"])
    return _act(store, version, site, levels, now, who, at, held=False)


def _standing(store: Store, scope: str, site: str, at: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    with store.read() as connection:
        named = champions(connection).get(scope)
        rows = {} if named is None else standing_levels(connection, [named], as_of=at).get(site, {})
    if named is None or named not in rows:
        raise PrerequisiteMissing(
            f"site {site!r} has no level of its own for the scope {scope}; see `axiswatch levels list`"
        )
    return get_version(store, named), rows[named]


def _act(
    store: Store,
    version: dict[str, Any],
    site: str,
    levels: Levels,
    before: dict[str, Any],
    who: str,
    at: datetime,
    *,
    held: bool,
) -> dict[str, Any]:
    row = level_row(version, site, levels, as_of=at, before=before, who=who, held=held)
    with store.write() as connection:
        connection.execute(sa.insert(PlantLevel).values(**row))
    return row


def level_row(
    version: dict[str, Any],
    site: str,
    levels: Levels,
    *,
    as_of: datetime,
    before: dict[str, Any] | None,
    who: str,
    held: bool,
) -> dict[str, Any]:
    """Return the database row of levels that follow the row `before` (None: they are the first)."""
    same_time = before is not None and before["decided_at"] == as_of
    return {
        "model_version": version["model_version"],
        "site": site,
        "decided_at": as_of,
        "sequence": before["sequence"] + 1 if before is not None and same_time else 1,
        "scope": version["scope"],
        "alarm_probability": levels.alarm,
        "review_probability": levels.review,
        "held": held,
        "reason": levels.reason,
        "figures": levels.figures,
        "who": who,
        "known_at": as_of,
    }
