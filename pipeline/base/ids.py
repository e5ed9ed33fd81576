"""Identities by content: the same thing gets the same id in every database, so that a backfill equals a live run."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from pipeline.base.errors import SettingsError


def stable_id(*parts: str | int | float | None, length: int = 32) -> str:
    """Hash parts into a hex id. Parts are kept apart (`("a", "bc")` differs from `("ab", "c")`)."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:length]


def instant(moment: datetime) -> str:
    """Write a time with an offset as ISO 8601 in UTC with microseconds, the form that ids are made of."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc_text(moment: datetime) -> str:
    """Write a time with an offset as ISO 8601 in UTC for programs and people, such as `2026-01-31T08:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_time(text: str, name: str) -> datetime:
    """Read a time that a user gave, in UTC.

    Raises
    ------
    SettingsError
        It is no ISO 8601 time, or has no offset; `name` says which time it was.
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"{name} {text!r} is no ISO 8601 time; write for example 2026-01-31T08:00:00Z") from error
    if value.tzinfo is None:
        raise SettingsError(f"{name} {text!r} has no offset; write for example {text}Z")
    return value.astimezone(UTC)


def axis_id(site: str, cell: str, robot_id: str, axis: str) -> str:
    """Id of a robot axis."""
    return stable_id(site, cell, robot_id, axis, length=16)


def recording_id(axis: str, channel: str, started_at: datetime) -> str:
    """Id of a recording, from the axis's id, its channel and its start."""
    return stable_id(axis, channel, instant(started_at))
