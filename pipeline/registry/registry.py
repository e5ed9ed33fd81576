"""The model registry: artifacts are stored in the lake, and versions become champions, one transaction each.

Whoever changes an alias locks the row of the scope's champion (on SQLite: takes the one write lock). So of two
promotions at the same time, the second sees what the first one did. The history is in `alias_events`, see
`pipeline.registry.versions`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.artifact import MAX_FILE_BYTES, MAX_FILES, ArtifactError, model_version, unpack
from models.model import Model
from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.base.ids import utc_text
from pipeline.base.log_schema import quantity_of
from pipeline.registry.held_out import Predictions, to_table
from pipeline.registry.versions import CHALLENGER, CHAMPION, get_version, predecessor, set_alias
from pipeline.store.database import Store, insert_ignore
from pipeline.store.horizon import MODEL, models_deleted, note_pruning
from pipeline.store.lake import Lake
from pipeline.store.tables import AliasEvent, LakeFile, ModelAlias, ModelVersion, Scoring

SYSTEM = "axiswatch"
FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class ChampionChanged(AxiswatchError):
    """The champion was changed after this promotion was judged against it."""


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
    lineage: Mapping[str, Any] = field(default_factory=dict)
    held_out: Predictions | None = None


def register(
    store: Store, lake: Lake, files: Mapping[str, bytes], about: Registered, *, as_of: datetime
) -> tuple[str, bool]:
    """Store an artifact; the first of its scope becomes champion.

    The files are written first, then all rows in one transaction. A run that is killed in between leaves files that no
    row names.

    Returns
    -------
    str, bool
        The model version, and whether it became champion because it is the first.
    """
    version = model_version(files)
    prefix = f"models/{version}"
    for name, data in files.items():
        _put_whole(lake, f"{prefix}/{name}", data)
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
        "lineage": dict(about.lineage),
        "held_out_path": None,
        "known_at": as_of,
    }
    committed = [
        {"path": f"{prefix}/{name}", "kind": "models", "size_bytes": len(data), "n_rows": 0, "known_at": as_of}
        for name, data in files.items()
    ]
    if about.held_out is not None:
        path, size = lake.put_table("models", to_table(about.held_out))
        n_rows = len(about.held_out.recording)
        committed.append({"path": path, "kind": "models", "size_bytes": size, "n_rows": n_rows, "known_at": as_of})
        row["held_out_path"] = path
    with store.write() as connection:
        insert_ignore(connection, LakeFile, committed)
        insert_ignore(connection, ModelVersion, [row])
        event: dict[str, Any] = {"who": SYSTEM, "reason": "first version", "at": as_of}
        first = set_alias(connection, about.scope, CHAMPION, version, action="first", only_new=True, **event)
    return version, first


def _put_whole(lake: Lake, path: str, data: bytes) -> None:
    """Write a file, and write it again where a damaged file of that name exists: training again repairs an artifact."""
    lake.put_at(path, data)
    if lake.read(path) != data:
        lake.remove(path)
        lake.put_at(path, data)


def load_model(store: Store, lake: Lake, version: str) -> Model:
    """Load a version from the lake; its manifest and its name are checked.

    Raises
    ------
    PrerequisiteMissing
        There is no such version.
    AxiswatchError
        A file of the artifact was changed or is missing, or retention has deleted them.
    """
    row = get_version(store, version)
    if row["files_deleted_at"] is not None:
        raise AxiswatchError(_gone(version, row["files_deleted_at"]))
    try:
        files = _read_files(lake, row["lake_prefix"], row["settings"]["files"])
        if model_version(files) != version:
            raise ArtifactError("its manifest is not the one that was registered")
        return unpack(files, expect_feature_version=row["feature_version"])
    except ArtifactError as error:
        raise AxiswatchError(
            f"model {version} cannot be used: {error}; restore the lake from its backup, or train again"
        ) from error


def _gone(version: str, at: datetime) -> str:
    return (
        f"the files of model {version} were deleted by the retention run of {utc_text(at)} (setting superseded_days), "
        "because it never became champion; train again, or restore a backup from before that run into an installation "
        "of its own (docs/backup.md)"
    )


def _read_files(lake: Lake, prefix: str, names: Sequence[str]) -> dict[str, bytes]:
    """Read the files of an artifact. Names and sizes are checked before any file is read."""
    if len(names) > MAX_FILES:
        raise ArtifactError(f"it names {len(names)} files; at most {MAX_FILES} are accepted")
    for name in names:
        if not FILE_NAME.fullmatch(name):
            raise ArtifactError(f"the file name {name[:80]!r} is not allowed in an artifact")
        size = lake.size(f"{prefix}/{name}")
        if size > MAX_FILE_BYTES:
            raise ArtifactError(f"'{name}' has {size} bytes; at most {MAX_FILE_BYTES} are accepted")
    return {name: lake.read(f"{prefix}/{name}") for name in names}


def check_promotable(
    store: Store,
    lake: Lake,
    version: str,
    *,
    scope: str | None = None,
    feature_versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Check that a scorer can load a version, and return its row of `model_versions`.

    Parameters
    ----------
    scope
        The scope that the version must have; None: any.
    feature_versions
        Feature version that is extracted now, by quantity; None: not checked.

    Raises
    ------
    PrerequisiteMissing
        There is no such version.
    AxiswatchError
        The artifact is damaged, the version has another scope, or its feature version is not the one extracted now.
    """
    row = get_version(store, version)
    if scope is not None and row["scope"] != scope:
        raise AxiswatchError(
            f"model {version} is of scope {row['scope']}, not of {scope}; `axiswatch models list` shows the scopes"
        )
    current = (feature_versions or {}).get(quantity_of(row["scope"]), row["feature_version"])
    if current != row["feature_version"]:
        raise AxiswatchError(
            f"model {version} was trained on feature version {row['feature_version']}, but {current} is extracted now: "
            "it would score nothing new; train again, or set the settings of features back"
        )
    load_model(store, lake, version)
    return row


def promote(
    store: Store,
    lake: Lake,
    version: str,
    *,
    who: str,
    reason: str,
    at: datetime,
    scope: str | None = None,
    feature_versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Make a version the champion of its scope, after its artifact was read and checked.

    Raises
    ------
    PrerequisiteMissing, AxiswatchError
        As in `check_promotable`; the champion does not change.
    """
    row = check_promotable(store, lake, version, scope=scope, feature_versions=feature_versions)
    with store.write() as connection:
        return set_champion(connection, row["scope"], version, action="promoted", who=who, reason=reason, at=at)


def set_champion(
    connection: Connection,
    scope: str,
    version: str,
    *,
    action: str,
    who: str,
    reason: str,
    at: datetime,
    figures: Mapping[str, Any] | None = None,
    judged_against: str | None = None,
) -> dict[str, Any]:
    """Change the champion inside a transaction of the caller, who has checked the artifact.

    Parameters
    ----------
    judged_against
        The champion that `version` was compared with; None: there was no comparison.

    Raises
    ------
    ChampionChanged
        The champion is a different one now; nothing was changed.
    AxiswatchError
        Retention has just deleted the version's files.
    """
    previous = locked_champion(connection, scope)
    if (deleted := models_deleted(connection).get(version)) is not None:
        raise AxiswatchError(_gone(version, deleted))
    if judged_against is not None and previous not in (judged_against, version):
        raise ChampionChanged(
            f"the champion of {scope} has become {previous} while {version} was judged against {judged_against}; "
            "it has to be judged again"
        )
    changed = previous != version
    if changed:
        event: dict[str, Any] = {"who": who, "reason": reason, "at": at}
        set_alias(connection, scope, CHAMPION, version, action=action, figures=figures, **event)
        # Earlier scores of this version count again, so its axis states are computed again.
        connection.execute(sa.update(Scoring).where(Scoring.model_version == version).values(advised=False))
        if current_alias(connection, scope, CHALLENGER) == version:
            set_alias(connection, scope, CHALLENGER, None, action=action, **event)
    return {"scope": scope, "champion": version, "previous": previous, "changed": changed}


def rollback(
    store: Store,
    lake: Lake,
    scope: str,
    *,
    who: str,
    reason: str,
    at: datetime,
    feature_versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Make the previous champion the champion again.

    Raises
    ------
    PrerequisiteMissing
        The scope has no champion, or its champion is the first one.
    AxiswatchError
        The artifact of the previous champion is damaged or uses other features; the champion does not change.
    ChampionChanged
        Somebody changed the champion while the artifact was read.
    """
    with store.read() as connection:
        current = current_alias(connection, scope, CHAMPION)
        before = predecessor(connection, scope)
    if current is None:
        raise PrerequisiteMissing(f"scope {scope} has no champion; `axiswatch models list` shows the scopes")
    if before is None:
        raise PrerequisiteMissing(
            f"the champion {current} of {scope} has no predecessor to go back to; `axiswatch models promote` takes any"
        )
    check_promotable(store, lake, before, scope=scope, feature_versions=feature_versions)
    with store.write() as connection:
        if locked_champion(connection, scope) != current:
            raise ChampionChanged(f"the champion of {scope} was changed just now; check it, then roll back again")
        return set_champion(connection, scope, before, action="rolled_back", who=who, reason=reason, at=at)


def locked_champion(connection: Connection, scope: str) -> str | None:
    """Return the champion and lock it until the transaction ends."""
    query = sa.select(ModelAlias.model_version).where(ModelAlias.scope == scope, ModelAlias.alias == CHAMPION)
    return connection.scalar(query.with_for_update())


def current_alias(connection: Connection, scope: str, alias: str) -> str | None:
    """Return the version that an alias names; None where it names none."""
    query = sa.select(ModelAlias.model_version).where(ModelAlias.scope == scope, ModelAlias.alias == alias)
    return connection.scalar(query)


def prune_models(store: Store, lake: Lake, before: datetime, *, as_of: datetime, dry_run: bool = False) -> int:
    """Delete the files of models that never became champion and were trained before a time; return their number.

    What an alias names stays. The rows stay for ever, with figures, lineage and decisions. Rows first, then files: a
    run that is killed in between leaves files that `axiswatch lake sweep` deletes. With `dry_run` nothing is deleted.
    """
    version = ModelVersion.model_version
    was_champion = sa.exists().where(AliasEvent.alias == CHAMPION, AliasEvent.model_version == version)
    named = sa.exists().where(ModelAlias.model_version == version)
    query = sa.select(ModelVersion).where(ModelVersion.known_at < before, sa.not_(was_champion), sa.not_(named))
    found = 0
    with store.read() as connection:
        scopes = connection.scalars(sa.select(ModelVersion.scope).distinct().order_by(ModelVersion.scope)).all()
    for scope in scopes:
        with store.read() if dry_run else store.write() as connection:
            if not dry_run:
                locked_champion(connection, scope)
            rows = connection.execute(query.where(ModelVersion.scope == scope)).all()
            deleted = models_deleted(connection)
            gone = {row.model_version: row for row in rows if row.model_version not in deleted}
            found += len(gone)
            if dry_run or not gone:
                continue
            held_out = {row.held_out_path for row in gone.values() if row.held_out_path}
            others = sa.select(ModelVersion.held_out_path).where(
                ModelVersion.held_out_path.in_(held_out), version.not_in([*gone, *deleted])
            )
            paths = held_out - set(connection.scalars(others))
            paths |= {f"{row.lake_prefix}/{name}" for row in gone.values() for name in row.settings["files"]}
            for name in gone:
                note_pruning(connection, MODEL, before, as_of=as_of, name=name)
            connection.execute(sa.delete(LakeFile).where(LakeFile.path.in_(paths)))
        for path in paths:
            lake.remove(path)
    return found
