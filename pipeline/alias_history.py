"""Aliases and their history: who made which version champion or challenger, when and why. Needs no torch.

Callers commit. Every change of an alias is one event; events are never changed. `set_alias` of a scope that has a
champion is called with the champion's row held (`pipeline.registry.locked_champion`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.store.database import Store, insert_new, upsert
from pipeline.store.tables import AliasEvent, ModelAlias

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
