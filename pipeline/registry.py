"""The model registry: artifacts go into the lake, and versions become champions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.artifact import ArtifactError, model_version, unpack
from models.model import Model
from pipeline.errors import AxiswatchError
from pipeline.lake import Lake
from pipeline.model_versions import CHAMPION, get_version
from pipeline.schema import AliasEvent, ModelAlias, ModelVersion, Scoring
from pipeline.store import Store, insert_ignore, insert_new, upsert


@dataclass(frozen=True)
class Registered:
    """What is stored beside an artifact."""

    scope: str
    kind: str
    feature_version: str
    label_cutoff: datetime
    training_data_hash: str
    n_units: int
    n_windows: int
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]


def register(
    store: Store, lake: Lake, files: Mapping[str, bytes], about: Registered, *, as_of: datetime
) -> tuple[str, bool]:
    """Store an artifact; the first of its scope becomes champion.

    Returns
    -------
    str, bool
        The model version, and whether it became champion by being the first.
    """
    version = model_version(files)
    prefix = f"models/{version}"
    for name, data in files.items():
        lake.put_at(f"{prefix}/{name}", data)
    row = {
        "model_version": version,
        "scope": about.scope,
        "kind": about.kind,
        "feature_version": about.feature_version,
        "lake_prefix": prefix,
        "label_cutoff": about.label_cutoff,
        "training_data_hash": about.training_data_hash,
        "n_units": about.n_units,
        "n_windows": about.n_windows,
        "settings": {**about.settings, "files": sorted(files)},
        "metrics": dict(about.metrics),
        "known_at": as_of,
    }
    with store.write() as connection:
        insert_ignore(connection, ModelVersion, [row])
        alias = {"scope": about.scope, "alias": CHAMPION, "model_version": version}
        first = insert_new(connection, ModelAlias, alias)
        if first:
            _record(connection, about.scope, version, None, who="axiswatch", reason="first version", at=as_of)
    return version, first


def load_model(store: Store, lake: Lake, version: str) -> Model:
    """Load a version from the lake, checked against its manifest and against its own name.

    Raises
    ------
    PrerequisiteMissing
        There is no such version.
    AxiswatchError
        A file of the artifact was changed or is missing.
    """
    row = get_version(store, version)
    files = {name: lake.read(f"{row['lake_prefix']}/{name}") for name in row["settings"]["files"]}
    try:
        if model_version(files) != version:
            raise ArtifactError("its manifest is not the one that was registered")
        return unpack(files, expect_feature_version=row["feature_version"])
    except ArtifactError as error:
        raise AxiswatchError(
            f"model {version} cannot be used: {error}; restore the lake from its backup, or train again"
        ) from error


def promote(store: Store, lake: Lake, version: str, *, who: str, reason: str, at: datetime) -> dict[str, Any]:
    """Make a version the champion of its scope, after its artifact was read and found whole.

    Raises
    ------
    PrerequisiteMissing
        There is no such version.
    AxiswatchError
        The artifact is damaged; the champion stays.
    """
    load_model(store, lake, version)
    scope = get_version(store, version)["scope"]
    with store.write() as connection:
        current = (
            sa.select(ModelAlias.model_version)
            .where(ModelAlias.scope == scope, ModelAlias.alias == CHAMPION)
            .with_for_update()
        )
        previous = connection.scalar(current)
        changed = previous != version
        if changed:
            upsert(connection, ModelAlias, [{"scope": scope, "alias": CHAMPION, "model_version": version}])
            _record(connection, scope, version, previous, who=who, reason=reason, at=at)
            # What this version said before counts again: its axis states are computed anew.
            connection.execute(sa.update(Scoring).where(Scoring.model_version == version).values(advised=False))
    return {"scope": scope, "champion": version, "previous": previous, "changed": changed}


def _record(
    connection: Connection, scope: str, version: str, previous: str | None, *, who: str, reason: str, at: datetime
) -> None:
    count = sa.select(sa.func.count()).where(AliasEvent.scope == scope, AliasEvent.alias == CHAMPION)
    event = {
        "scope": scope,
        "alias": CHAMPION,
        "sequence": (connection.scalar(count) or 0) + 1,
        "model_version": version,
        "previous_version": previous,
        "who": who,
        "reason": reason,
        "at": at,
    }
    connection.execute(sa.insert(AliasEvent), event)
