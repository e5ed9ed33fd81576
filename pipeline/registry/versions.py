"""Model versions and aliases as the database knows them: nothing here opens an artifact or needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.store.database import Store, insert_new, upsert
from pipeline.store.tables import AliasEvent, ModelAlias, ModelVersion, RetrainingDecision


def champions(connection: Connection) -> dict[str, str]:
    """Give the champion's version of every scope that has one."""
    query = sa.select(ModelAlias.scope, ModelAlias.model_version).where(ModelAlias.alias == CHAMPION)
    return {row.scope: row.model_version for row in connection.execute(query)}


def champion_of(store: Store, scope: str) -> str:
    """Give the champion of a scope.

    Raises
    ------
    PrerequisiteMissing
        It has none.
    """
    with store.read() as connection:
        found = champions(connection)
    if scope not in found:
        raise PrerequisiteMissing(f"scope {scope} has no champion; `axiswatch models list` shows the scopes")
    return found[scope]


def only_scope(store: Store) -> str:
    """Give the one scope that has a champion.

    Raises
    ------
    PrerequisiteMissing
        None has one, or there are several and the caller has to say which.
    """
    with store.read() as connection:
        found = sorted(champions(connection))
    if len(found) != 1:
        told = "no scope has a champion; train first" if not found else f"name one by --scope: {', '.join(found)}"
        raise PrerequisiteMissing(told)
    return found[0]


def list_versions(store: Store) -> list[dict[str, Any]]:
    """Give all versions, oldest first, each with its aliases."""
    with store.read() as connection:
        aliases = connection.execute(sa.select(ModelAlias)).all()
        rows = connection.execute(sa.select(ModelVersion).order_by(ModelVersion.known_at, ModelVersion.model_version))
        return [
            dict(row._mapping) | {"aliases": [a.alias for a in aliases if a.model_version == row.model_version]}
            for row in rows
        ]


def get_version(store: Store, version: str) -> dict[str, Any]:
    """Give one version.

    Raises
    ------
    PrerequisiteMissing
        There is no such version.
    """
    with store.read() as connection:
        query = sa.select(ModelVersion).where(ModelVersion.model_version == version)
        row = connection.execute(query).one_or_none()
    if row is None:
        raise PrerequisiteMissing(f"there is no model version {version}; `axiswatch models list` shows them")
    return dict(row._mapping)


def show_version(store: Store, version: str) -> dict[str, Any]:
    """Give one version with its aliases, the events it had a part in, and the retrainings it came of.

    Raises
    ------
    PrerequisiteMissing
        There is no such version.
    """
    found = get_version(store, version)
    query = sa.select(RetrainingDecision).where(RetrainingDecision.candidate == version)
    with store.read() as connection:
        aliases = sa.select(ModelAlias.alias).where(ModelAlias.model_version == version).order_by(ModelAlias.alias)
        found["aliases"] = list(connection.scalars(aliases))
        rows = connection.execute(query.order_by(RetrainingDecision.decided_at))
        found["decisions"] = [dict(row._mapping) for row in rows]
    return found | {"history": history(store, version=version)}


def compare_versions(store: Store, one: str, other: str) -> dict[str, Any]:
    """Give two versions of a scope beside one another: figures, figures of common units, and what made them differ.

    Raises
    ------
    PrerequisiteMissing
        There is no such version.
    AxiswatchError
        They are of two scopes.
    """
    rows = [get_version(store, name) for name in (one, other)]
    if rows[0]["scope"] != rows[1]["scope"]:
        raise AxiswatchError(
            f"{one} is of scope {rows[0]['scope']} and {other} of {rows[1]['scope']}; name two of one scope"
        )
    units: dict[tuple[str, str], list[float | None]] = {}
    for index, row in enumerate(rows):
        for unit in row["metrics"].get("units", ()):
            units.setdefault((unit["unit"], unit["class_name"]), [None, None])[index] = unit["nll"]
    columns = ("kind", "feature_version", "label_cutoff", "training_data_hash", "n_units", "n_windows")
    names = sorted(set(rows[0]["settings"]) | set(rows[1]["settings"]))
    return {
        "scope": rows[0]["scope"],
        "versions": [one, other],
        "lineage": {name: [row[name] for row in rows] for name in columns},
        "code": [(row["lineage"] or {}).get("code") for row in rows],
        "settings": {
            name: values
            for name in names
            if (values := [row["settings"].get(name) for row in rows])[0] != values[1] and name != "files"
        },
        "overall": {
            name: [row["metrics"].get("overall", {}).get(name) for row in rows]
            for name in sorted(set().union(*(row["metrics"].get("overall", {}) for row in rows)))
        },
        "units": [{"unit": unit, "class_name": name, "nll": values} for (unit, name), values in sorted(units.items())],
    }


CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
ROLLED_BACK: Final = "rolled_back"


def set_alias(
    connection: Connection,
    scope: str,
    alias: str,
    version: str | None,
    *,
    action: str,
    who: str,
    reason: str,
    at: datetime,
    figures: Mapping[str, Any] | None = None,
    only_new: bool = False,
) -> bool:
    """Let an alias name a version, None: nothing, and write the event. Say whether it was done.

    With `only_new` an alias that is there already stays, without an event.
    """
    query = sa.select(ModelAlias.model_version).where(ModelAlias.scope == scope, ModelAlias.alias == alias)
    previous = connection.scalar(query)
    row = {"scope": scope, "alias": alias, "model_version": version}
    if only_new:
        if not insert_new(connection, ModelAlias, row):
            return False
    elif version is None:
        connection.execute(sa.delete(ModelAlias).where(ModelAlias.scope == scope, ModelAlias.alias == alias))
    else:
        upsert(connection, ModelAlias, [row])
    newest = sa.select(sa.func.max(AliasEvent.sequence)).where(AliasEvent.scope == scope, AliasEvent.alias == alias)
    event = {
        "scope": scope,
        "alias": alias,
        "sequence": (connection.scalar(newest) or 0) + 1,
        "action": action,
        "model_version": version,
        "previous_version": previous,
        "who": who,
        "reason": reason,
        "figures": None if figures is None else dict(figures),
        "at": at,
    }
    connection.execute(sa.insert(AliasEvent), event)
    return True


def history(store: Store, *, scope: str | None = None, version: str | None = None) -> list[dict[str, Any]]:
    """Give the events of a scope, or those that a version had a part in, oldest first."""
    query = sa.select(AliasEvent).order_by(AliasEvent.at, AliasEvent.scope, AliasEvent.alias, AliasEvent.sequence)
    if scope is not None:
        query = query.where(AliasEvent.scope == scope)
    if version is not None:
        query = query.where(sa.or_(AliasEvent.model_version == version, AliasEvent.previous_version == version))
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def predecessor(connection: Connection, scope: str) -> str | None:
    """Give the version that a rollback leads to, None where the champion is the first."""
    of = (AliasEvent.scope == scope, AliasEvent.alias == CHAMPION)
    query = sa.select(AliasEvent.action, AliasEvent.model_version).where(*of).order_by(AliasEvent.sequence)
    stack = reign([(row.action, row.model_version) for row in connection.execute(query)])
    return stack[-2] if len(stack) > 1 else None


def reign(events: Iterable[tuple[str, str | None]]) -> list[str]:
    """Give the champions that stand one upon another, the present one last.

    A promotion lays its version on top, a rollback takes the top one off: so a second rollback goes one further back
    and not to what the first one left.
    """
    stack: list[str] = []
    for action, version in events:
        if action == ROLLED_BACK:
            if len(stack) > 1:
                stack.pop()
        elif version is not None:
            stack.append(version)
    return stack
