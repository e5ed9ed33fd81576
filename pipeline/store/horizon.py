"""What retention has deleted: models, and how far back axiswatch can answer. An `as_of` before that is refused.

A run for a time whose recordings are gone would find less than there was, and store that as if it were the truth.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import SettingsError
from pipeline.base.ids import utc_text
from pipeline.store.database import Store, insert_ignore
from pipeline.store.tables import LakeFile, ModelVersion, Pruning

DATA: Final = "data"
SCORES: Final = "scores"
MODEL: Final = "model"

_KEPT_BY: Final = {
    DATA: ("recordings, features, scores and axis states", "retention_months"),
    SCORES: ("scores of the champion of that time", "superseded_days"),
}


def note_pruning(connection: Connection, what: str, before_at: datetime, *, as_of: datetime, name: str = "") -> None:
    """Record that what is older than `before_at` goes; call it before the first of it is deleted.

    Parameters
    ----------
    what
        `DATA`, `SCORES` or `MODEL`.
    name
        Of scores and models the version.
    """
    row = {"what": what, "name": name, "before_at": before_at, "known_at": as_of}
    insert_ignore(connection, Pruning, [row])


def kept_from(connection: Connection) -> datetime | None:
    """Return the time from which on retention has kept all data; None where it has deleted nothing."""
    newest = sa.func.max(Pruning.before_at, type_=Pruning.before_at.type)
    found: datetime | None = connection.scalar(sa.select(newest).where(Pruning.what == DATA))
    return found


def models_deleted(connection: Connection) -> dict[str, datetime]:
    """Return the model versions whose files are deleted, and when; not those that a training has written again."""
    query = sa.select(Pruning.name, Pruning.known_at, ModelVersion.lake_prefix, ModelVersion.settings).join(
        ModelVersion, ModelVersion.model_version == Pruning.name
    )
    rows = connection.execute(query.where(Pruning.what == MODEL).order_by(Pruning.known_at)).all()
    first = {row.name: f"{row.lake_prefix}/{row.settings['files'][0]}" for row in rows}
    there = set(connection.scalars(sa.select(LakeFile.path).where(LakeFile.path.in_(first.values()))))
    return {row.name: row.known_at for row in rows if first[row.name] not in there}


def refuse_pruned(store: Store, at: datetime, *, called: str = "as_of") -> None:
    """Refuse a time before what retention has kept.

    Parameters
    ----------
    called
        What the time is, for the message.

    Raises
    ------
    SettingsError
        Recordings that a run for that time needs are deleted; the message has the earliest time that can be answered.
    """
    with store.read() as connection:
        _refuse(connection, at, DATA, "", called)


def refuse_pruned_model(connection: Connection, version: str, at: datetime) -> None:
    """Refuse a time when a model was champion whose scores retention has deleted since.

    Raises
    ------
    SettingsError
        The scores are deleted.
    """
    _refuse(connection, at, SCORES, version, "as_of")


def _refuse(connection: Connection, at: datetime, what: str, name: str, called: str) -> None:
    query = sa.select(Pruning).where(Pruning.what == what, Pruning.name == name, Pruning.before_at > at)
    row = connection.execute(query.order_by(Pruning.before_at.desc()).limit(1)).one_or_none()
    if row is None:
        return
    gone, setting = _KEPT_BY[what]
    earliest = utc_text(row.before_at)
    raise SettingsError(
        f"{called} {utc_text(at)} is too far back: {gone} from before {earliest} were deleted by the retention run of "
        f"{utc_text(row.known_at)} (setting {setting}); the earliest time that can be answered is {earliest}: use that "
        "or a later one, or restore a backup from before that run into an installation of its own (docs/backup.md)"
    )
