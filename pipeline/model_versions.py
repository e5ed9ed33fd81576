"""Model versions and aliases as the database knows them: nothing here opens an artifact or needs torch."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.errors import PrerequisiteMissing
from pipeline.schema import ModelAlias, ModelVersion
from pipeline.store import Store

CHAMPION = "champion"


def champions(connection: Connection) -> dict[str, str]:
    """Give the champion's version of every scope that has one."""
    query = sa.select(ModelAlias.scope, ModelAlias.model_version).where(ModelAlias.alias == CHAMPION)
    return {row.scope: row.model_version for row in connection.execute(query)}


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
