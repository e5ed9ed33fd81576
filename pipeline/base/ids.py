"""Ids made from content: the same thing gets the same id in every database, so a backfill equals a live run."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.base.errors import Coded, SettingsError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def stable_id(*parts: str | int | float | None, length: int = 32) -> str:
    """Return the hash of some parts as a hex id. Parts stay apart: `("a", "bc")` differs from `("ab", "c")`."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:length]


def instant(moment: datetime) -> str:
    """Return a time with an offset as ISO 8601 in UTC with microseconds: the form that ids are made from."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc_text(moment: datetime) -> str:
    """Return a time with an offset as ISO 8601 in UTC, such as `2026-01-31T08:00:00Z`: the form that is shown."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_time(text: str, name: str) -> datetime:
    """Return a time that a user wrote, in UTC.

    Parameters
    ----------
    text
        ISO 8601 with an offset.
    name
        What the time is, for the message of an error.

    Raises
    ------
    SettingsError
        It is not an ISO 8601 time, or has no offset.
    """
    try:
        value = datetime.fromisoformat(text)
        if value.tzinfo is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        told = f"{name} {text!r} is no ISO 8601 time; write for example 2026-01-31T08:00:00Z"
        raise SettingsError(Coded(told, "no_time", name=name)) from error
    told = f"{name} {text!r} has no offset; write for example {text}Z"
    raise SettingsError(Coded(told, "no_time", name=name))


def axis_id(site: str, cell: str, robot_id: str, axis: str) -> str:
    """Return the id of a robot axis: 16 hex digits."""
    return stable_id(site, cell, robot_id, axis, length=16)


def recording_id(axis: str, channel: str, started_at: datetime) -> str:
    """Return the id of a recording, made from the axis's id, the channel and the start: 32 hex digits."""
    return stable_id(axis, channel, instant(started_at))


def samples_hash(samples: npt.NDArray[np.float32]) -> str:
    """Return the hash of samples as they were logged, whatever is declared about them: 16 hex digits (BLAKE2b)."""
    return hashlib.blake2b(samples.astype("<f4", copy=False).tobytes(), digest_size=8).hexdigest()
