"""Model versions and aliases, as rows of the database. Nothing here opens an artifact or needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.store.database import Store, insert_new, upsert
from pipeline.store.horizon import models_deleted
from pipeline.store.tables import AliasEvent, ModelAlias, ModelVersion, RetrainingDecision


def champions(connection: Connection) -> dict[str, str]:
    """Return the champion of every scope that has one."""
    query = sa.select(ModelAlias.scope, ModelAlias.model_version).where(ModelAlias.alias == CHAMPION)
    return {row.scope: row.model_version for row in connection.execute(query)}


def champion_of(store: Store, scope: str) -> str:
    """Return the champion of a scope.

    Raises
    ------
    PrerequisiteMissing
        The scope has no champion.
    """
    with store.read() as connection:
        by_scope = champions(connection)
    if scope not in by_scope:
        raise PrerequisiteMissing(f"scope {scope} has no champion; `axiswatch models list` shows the scopes")
    return by_scope[scope]


def only_scope(store: Store) -> str:
    """Return the only scope that has a champion.

    Raises
    ------
    PrerequisiteMissing
        No scope has a champion, or several have one and the caller must choose.
    """
    with store.read() as connection:
        scopes = sorted(champions(connection))
    if len(scopes) != 1:
        problem = "no scope has a champion; train first"
        if scopes:
            problem = f"several scopes have a champion; choose one with --scope: {', '.join(scopes)}"
        raise PrerequisiteMissing(problem)
    return scopes[0]


def list_versions(store: Store) -> list[dict[str, Any]]:
    """Return all versions, oldest first, each with its aliases."""
    with store.read() as connection:
        aliases = connection.execute(sa.select(ModelAlias)).all()
        rows = connection.execute(sa.select(ModelVersion).order_by(ModelVersion.known_at, ModelVersion.model_version))
        deleted = models_deleted(connection)
        return [
            dict(row._mapping)
            | {"aliases": [a.alias for a in aliases if a.model_version == row.model_version]}
            | {"files_deleted_at": deleted.get(row.model_version)}
            for row in rows
        ]


def get_version(store: Store, version: str) -> dict[str, Any]:
    """Return the row of one version, and `files_deleted_at`: when retention deleted its files, or None.

    Raises
    ------
    PrerequisiteMissing
        There is no such version.
    """
    with store.read() as connection:
        query = sa.select(ModelVersion).where(ModelVersion.model_version == version)
        row = connection.execute(query).one_or_none()
        deleted = models_deleted(connection).get(version)
    if row is None:
        raise PrerequisiteMissing(f"there is no model version {version}; `axiswatch models list` shows them")
    return dict(row._mapping) | {"files_deleted_at": deleted}


def trained_units(version: Mapping[str, Any]) -> frozenset[str]:
    """Return the units that a version (a row of `model_versions`) was trained on; each was held out in one fold."""
    return frozenset(unit for fold in version["metrics"].get("folds", ()) for unit in fold["test_units"])


def set_aside_by(version: dict[str, Any]) -> frozenset[str]:
    """Return the ids of the labels that the training of a version (a row of `model_versions`) has set aside.

    It has not learned them: they are new to the next training.
    """
    return frozenset((version["lineage"] or {}).get("set_aside", ()))


def show_version(store: Store, version: str) -> dict[str, Any]:
    """Return one version with its aliases, the events that name it, and the retrainings that made it or judged it.

    Raises
    ------
    PrerequisiteMissing
        There is no such version.
    """
    details = get_version(store, version)
    query = sa.select(RetrainingDecision).where(RetrainingDecision.candidate == version)
    with store.read() as connection:
        aliases = sa.select(ModelAlias.alias).where(ModelAlias.model_version == version).order_by(ModelAlias.alias)
        details["aliases"] = list(connection.scalars(aliases))
        rows = connection.execute(query.order_by(RetrainingDecision.decided_at))
        details["decisions"] = [dict(row._mapping) for row in rows]
    return details | {"history": history(store, version=version)}


def compare_versions(store: Store, first: str, second: str) -> dict[str, Any]:
    """Compare two versions of a scope: their metrics, the metrics of units that both held out, and their differences.

    Raises
    ------
    PrerequisiteMissing
        There is no such version.
    AxiswatchError
        The two versions have different scopes.
    """
    rows = [get_version(store, name) for name in (first, second)]
    if rows[0]["scope"] != rows[1]["scope"]:
        raise AxiswatchError(
            f"{first} is of scope {rows[0]['scope']} and {second} of {rows[1]['scope']}; name two of one scope"
        )
    units: dict[tuple[str, str], list[float | None]] = {}
    for index, row in enumerate(rows):
        for unit in row["metrics"].get("units", ()):
            units.setdefault((unit["unit"], unit["class_name"]), [None, None])[index] = unit["nll"]
    columns = ("kind", "feature_version", "label_cutoff", "training_data_hash", "n_units", "n_windows")
    names = sorted(set(rows[0]["settings"]) | set(rows[1]["settings"]))
    return {
        "scope": rows[0]["scope"],
        "versions": [first, second],
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
        "overall_on": OVERALL_ON,
        "units": [{"unit": unit, "class_name": name, "nll": values} for (unit, name), values in sorted(units.items())],
    }


OVERALL_ON: Final = (
    "each version on its own held-out units, all their windows: two versions have different units and mixes, so "
    "compare them by the gate's figures"
)
"""What the figures of a version are computed on."""

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
    """Let an alias name a version (None: no version) and write the event. Return whether this was done.

    With `only_new` an alias that already exists stays as it is, and no event is written.
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
    _end_waiting(connection, scope, alias, version, action, reason)
    return True


def _end_waiting(connection: Connection, scope: str, alias: str, version: str | None, action: str, reason: str) -> None:
    """Give the decisions whose challenger stops waiting with a change of an alias their final outcome."""

    def end(outcome: str, why: str, *which: sa.ColumnElement[bool]) -> None:
        waits = (RetrainingDecision.scope == scope, RetrainingDecision.outcome == "waiting", *which)
        text = RetrainingDecision.reason + f"; {why}"
        connection.execute(sa.update(RetrainingDecision).where(*waits).values(outcome=outcome, reason=text))

    if version is not None:
        end("kept", f"then {version} became {alias}", RetrainingDecision.candidate != version)
    if alias == CHAMPION:
        end("promoted", reason, RetrainingDecision.candidate == version)
    elif action == "refused":
        end("refused", reason)


def history(store: Store, *, scope: str | None = None, version: str | None = None) -> list[dict[str, Any]]:
    """Return the events of a scope, or those that name a version, oldest first."""
    query = sa.select(AliasEvent).order_by(AliasEvent.at, AliasEvent.scope, AliasEvent.alias, AliasEvent.sequence)
    if scope is not None:
        query = query.where(AliasEvent.scope == scope)
    if version is not None:
        query = query.where(sa.or_(AliasEvent.model_version == version, AliasEvent.previous_version == version))
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def predecessor(connection: Connection, scope: str) -> str | None:
    """Return the version that a rollback makes champion; None where the champion is the first."""
    of = (AliasEvent.scope == scope, AliasEvent.alias == CHAMPION)
    query = sa.select(AliasEvent.action, AliasEvent.model_version).where(*of).order_by(AliasEvent.sequence)
    stack = champion_stack([(row.action, row.model_version) for row in connection.execute(query)])
    return stack[-2] if len(stack) > 1 else None


def superseded(store: Store, before: datetime) -> dict[str, datetime]:
    """Return the versions that stopped being champion before a time, and when they did.

    What an alias or a rollback names is left out.
    """
    query = sa.select(
        AliasEvent.scope, AliasEvent.previous_version, sa.func.max(AliasEvent.at, type_=AliasEvent.at.type)
    )
    former = (AliasEvent.alias == CHAMPION, AliasEvent.previous_version.is_not(None))
    with store.read() as connection:
        rows = connection.execute(query.where(*former).group_by(AliasEvent.scope, AliasEvent.previous_version)).all()
        kept: set[str | None] = set(connection.scalars(sa.select(ModelAlias.model_version)))
        kept |= {predecessor(connection, scope) for scope in {row[0] for row in rows}}
    return {str(version): at for _, version, at in rows if at < before and version not in kept}


def champion_stack(events: Iterable[tuple[str, str | None]]) -> list[str]:
    """Return the champions as a stack, the present one last.

    A promotion puts a version on top of the stack, a rollback removes the top one. So a second rollback goes one
    version further back, not to the version that the first rollback removed.
    """
    stack: list[str] = []
    for action, version in events:
        if action == ROLLED_BACK:
            if len(stack) > 1:
                stack.pop()
        elif version is not None:
            stack.append(version)
    return stack
