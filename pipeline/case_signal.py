"""Which recordings of a case are looked at, and how far its features lie from the unit's own baseline."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.quality import Quality
from features.settings import feature_names
from pipeline.base.regime import coarser
from pipeline.base.settings import Settings
from pipeline.extraction.extract import feature_settings
from pipeline.store.tables import Baseline, Extraction, Recording, Score

DATA = "data"
"""The family of cases about sensor, cable and logger."""

Numbers = npt.NDArray[np.float64]


def channels_of(connection: Connection, case: Any) -> list[str]:
    """Give the channels that recorded in the time of a case, by name."""
    query = (
        sa.select(Recording.channel)
        .where(
            Recording.axis_id == case["axis_id"],
            Recording.started_at >= case["first_at"],
            Recording.started_at <= case["last_at"],
        )
        .distinct()
        .order_by(Recording.channel)
    )
    return list(connection.scalars(query))


def loudest_recording(connection: Connection, case: Any, channel: str = "") -> Any:
    """Give the recording of a case (of one channel) with the highest fault probability; without any, the newest one.

    Of a case about data it is the newest one whose data cannot be trusted. None where nothing was recorded, or nothing
    is left of it.
    """
    if case["family"] == DATA and (bad := _newest_bad(connection, case, channel)) is not None:
        return bad
    inside = [
        Score.axis_id == case["axis_id"],
        Score.started_at >= case["first_at"],
        Score.started_at <= case["last_at"],
        Score.fault_probability.is_not(None),
    ]
    of_axis = [Recording.axis_id == case["axis_id"], Recording.started_at <= case["last_at"]]
    if channel:
        inside.append(Score.channel == channel)
        of_axis.append(Recording.channel == channel)
    best = sa.select(Score.recording_id).where(*inside)
    best = best.order_by(Score.fault_probability.desc(), Score.started_at.desc(), Score.recording_id).limit(1)
    found = connection.scalar(best)
    if found is not None:
        return connection.execute(sa.select(Recording).where(Recording.recording_id == found)).one_or_none()
    newest = sa.select(Recording).where(*of_axis)
    newest = newest.order_by(Recording.started_at.desc(), Recording.recording_id).limit(1)
    return connection.execute(newest).one_or_none()


def _newest_bad(connection: Connection, case: Any, channel: str) -> Any:
    query = (
        sa.select(Recording)
        .join(Extraction, Extraction.recording_id == Recording.recording_id)
        .where(
            Extraction.axis_id == case["axis_id"],
            Extraction.started_at >= case["first_at"],
            Extraction.started_at <= case["last_at"],
            Extraction.quality != Quality.OK,
            *([Extraction.channel == channel] if channel else []),
        )
    )
    return connection.execute(query.order_by(Extraction.started_at.desc(), Recording.recording_id).limit(1)).first()


def newest_extraction(connection: Connection, recording_id: str) -> Any:
    """Give the newest extraction of a recording, None where there is none."""
    query = sa.select(Extraction).where(Extraction.recording_id == recording_id)
    return connection.execute(query.order_by(Extraction.known_at.desc()).limit(1)).one_or_none()


def healthy_reference(connection: Connection, shown: Any, extraction: Any, before: datetime) -> Any:
    """Give the first good recording of the same channel, unit and regime before a time; None where there is none."""
    unit = extraction.unit_serial
    query = (
        sa.select(Recording)
        .join(Extraction, Extraction.recording_id == Recording.recording_id)
        .where(
            Recording.axis_id == shown.axis_id,
            Recording.channel == shown.channel,
            Extraction.regime == extraction.regime,
            Extraction.quality == "ok",
            Extraction.unit_serial.is_(None) if unit is None else Extraction.unit_serial == unit,
            Recording.started_at < before,
        )
    )
    return connection.execute(query.order_by(Recording.started_at).limit(1)).one_or_none()


def unit_baseline(connection: Connection, extraction: Any) -> Any:
    """Give the newest baseline of the unit and channel in the finest regime that has one; None where there is none."""
    query = sa.select(Baseline).where(
        Baseline.axis_id == extraction.axis_id,
        Baseline.channel == extraction.channel,
        Baseline.feature_version == extraction.feature_version,
        Baseline.geometry_version == extraction.geometry_version,
    )
    unit = extraction.unit_serial
    query = query.where(Baseline.unit_serial.is_(None) if unit is None else Baseline.unit_serial == unit)
    found = {row.regime: row for row in connection.execute(query.order_by(Baseline.known_at))}
    return next((found[regime] for regime in coarser(extraction.regime) if regime in found), None)


def names_of(settings: Settings, extraction: Any) -> tuple[str, ...]:
    """Give the names of the features of an extraction's scope."""
    return feature_names(feature_settings(settings, extraction.scope.split(":", 1)[0]))


def moved_by(now: Numbers, median: list[Any], spread: list[Any]) -> Numbers:
    """Give how far features lie from a baseline, in its spreads; NaN where either does not know, or does not vary.

    Parameters
    ----------
    now : float64 array, shape (F,)
    median, spread : list of F numbers or None
    """
    middle = np.array([np.nan if value is None else value for value in median], dtype=np.float64)
    scale = np.array([value or np.nan for value in spread], dtype=np.float64)
    found: Numbers = (now - middle) / scale
    return np.where(np.isfinite(found), found, np.nan)
