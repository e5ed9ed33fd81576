"""What the drift triggers compare: features and scores of recordings in two periods, and changes with a known cause.

Of a unit, channel and regime at most `drift_recordings` recordings are taken in a period, those with the lowest ids.
Ids are hashes, so this is a random sample, and the same one in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.health.baseline import known_median
from features.quality.quality import Quality
from pipeline.base.regime import program_of
from pipeline.base.settings import ExtractionSettings, WatchSettings
from pipeline.extraction.in_force import feature_version_of
from pipeline.extraction.reading import read_features
from pipeline.labels.labels import not_withdrawn
from pipeline.labels.words import Verdict
from pipeline.store.attribution import (
    attributed_extraction,
    attributed_unit,
    extractions,
    own_baseline,
    recordings,
    unit_name,
)
from pipeline.store.lake import Lake
from pipeline.store.tables import Case, Extraction, Label, Recording, Score
from pipeline.watch.observed import SCORE_NAMES, TimeSpan, score_columns
from pipeline.watch.triggers.drift import DriftSample
from pipeline.watch.triggers.new_program import Programs, ProgramUse

NO_AXIS = ""
"""Axis of a cause that names a unit without a recording in the period."""


@dataclass(frozen=True)
class KnownCause:
    """A change of a unit that has a known cause, and so is no reason to doubt the model."""

    axis_id: str
    unit: str
    text: str


def sample(settings: WatchSettings, scope: str, span: TimeSpan) -> sa.Select[Any]:
    """SQL: extractions of a sample of the good recordings of a span, in order of recording."""
    unit = attributed_unit()
    order = sa.func.row_number().over(
        partition_by=(Extraction.axis_id, unit, Extraction.channel, Extraction.regime),
        order_by=Extraction.recording_id,
    )
    inner = (
        extractions(
            *attributed_extraction(),
            order.label("place"),
            scope=scope,
            feature_version=feature_version_of(settings, scope),
            span=(span.from_at, span.to_at),
            ok_only=True,
        )
        .where(Recording.time_basis == "clock")
        .subquery()
    )
    return sa.select(inner).where(inner.c.place <= settings.drift_recordings).order_by(inner.c.recording_id)


def feature_sample(lake: Lake, settings: ExtractionSettings, rows: Sequence[Any], names: Sequence[str]) -> DriftSample:
    """Return the features of recordings: of each the median of its windows."""
    parts = read_features(lake, settings, rows)
    kept = [(row, part) for row, part in zip(rows, parts, strict=True) if len(part)]
    values = np.full((len(kept), len(names)), np.nan)
    for index, (_, part) in enumerate(kept):
        values[index] = known_median(part)
    return _drift_sample(values, [row for row, _ in kept])


def score_sample(
    connection: Connection, settings: WatchSettings, scope: str, version: str, span: TimeSpan
) -> DriftSample:
    """Return the scores that a model gave a sample of recordings: of each the mean of its windows."""
    drawn = sample(settings, scope, span).subquery()
    means = [
        sa.func.avg(getattr(Score, name)).label(name)
        for name in ("fault_probability", "mutual_information", "expected_entropy", "novelty")
    ]
    place = (drawn.c.recording_id, drawn.c.unit_serial, drawn.c.axis_id, drawn.c.channel, drawn.c.regime)
    query = (
        sa.select(*place, *means)
        .join(Score, Score.recording_id == drawn.c.recording_id)
        .where(
            Score.model_version == version,
            own_baseline(Score.baseline_version, drawn.c.unit_serial),
            Score.started_at >= span.from_at,
            Score.started_at < span.to_at,
            Score.quality == Quality.OK,
        )
        .group_by(*place)
        .order_by(drawn.c.recording_id)
    )
    rows = list(connection.execute(query))
    raw = np.array([[np.nan if value is None else value for value in row[len(place) :]] for row in rows], dtype=float)
    return _drift_sample(score_columns(raw.reshape(len(rows), len(SCORE_NAMES))), rows)


def _drift_sample(values: npt.NDArray[Any], rows: Sequence[Any]) -> DriftSample:
    units = [unit_name(row.unit_serial, row.axis_id) for row in rows]
    regimes = [f"{row.channel} {row.regime}" for row in rows]
    return DriftSample(values, np.array(units, dtype=np.str_), np.array(regimes, dtype=np.str_))


def programs_run(connection: Connection, scope: str, span: TimeSpan) -> Programs:
    """Return the motion programs that axes ran in a span, by good recordings; unknown programs are left out."""
    query = (
        extractions(
            Extraction.axis_id,
            Extraction.regime,
            sa.func.count(sa.distinct(Extraction.recording_id)).label("n"),
            sa.func.min(Extraction.started_at, type_=Extraction.started_at.type).label("first_at"),
            scope=scope,
            span=(span.from_at, span.to_at),
            ok_only=True,
        )
        .where(Recording.time_basis == "clock")
        .group_by(Extraction.axis_id, Extraction.regime)
        .order_by(Extraction.axis_id, Extraction.regime)
    )
    found: dict[str, dict[str, ProgramUse]] = {}
    for row in connection.execute(query):
        program = program_of(row.regime)
        if program is not None:
            programs = found.setdefault(row.axis_id, {})
            other = programs.get(program, ProgramUse(0, row.first_at))
            programs[program] = ProgramUse(other.recordings + row.n, min(other.first_at, row.first_at))
    return found


def faulty_units(connection: Connection, now: TimeSpan, *, as_of: datetime) -> list[KnownCause]:
    """Return the units with a label of a fault in a span: the cause of their change is known."""
    return _labelled(connection, Verdict.FAULT, "fault", now, as_of)


def known_causes(
    connection: Connection, scope: str, then: TimeSpan, now: TimeSpan, *, as_of: datetime
) -> list[KnownCause]:
    """Return the units whose change is explained by bad recordings, by data cases and labels, or by a replacement."""
    return [
        *_bad_recordings(connection, scope, now),
        *_data_cases(connection, now, as_of),
        *_labelled(connection, Verdict.SENSOR_OR_DATA, "fault of sensor or data", now, as_of),
        *_replaced(connection, scope, then, now),
    ]


def _bad_recordings(connection: Connection, scope: str, now: TimeSpan) -> list[KnownCause]:
    """Return the units with a channel on which most recordings fail the data-quality checks."""
    unit = attributed_unit()
    bad = sa.func.sum(sa.case((Extraction.quality == Quality.OK, 0), else_=1))
    query = (
        extractions(
            Extraction.axis_id,
            unit.label("unit"),
            Extraction.channel,
            bad,
            sa.func.count(),
            scope=scope,
            span=(now.from_at, now.to_at),
            any_geometry=True,
        )
        .group_by(Extraction.axis_id, unit, Extraction.channel)
        .order_by(Extraction.axis_id, unit, Extraction.channel)
    )
    return [
        KnownCause(
            axis, unit_name(serial, axis), f"{worse} of {total} recordings of {channel} fail the data-quality checks"
        )
        for axis, serial, channel, worse, total in connection.execute(query)
        if 2 * worse > total
    ]


def units_on(connection: Connection, axis: str, span: TimeSpan) -> list[str]:
    """Return the units that the recordings of an axis in a span belong to."""
    query = (
        recordings(attributed_unit().label("unit"))
        .where(Recording.axis_id == axis, Recording.started_at >= span.from_at, Recording.started_at < span.to_at)
        .distinct()
    )
    return sorted({unit_name(serial, axis) for serial in connection.scalars(query)})


def _axes_of(connection: Connection, unit: str, span: TimeSpan) -> list[str]:
    """Return the axes of which a unit has recordings in a span."""
    query = recordings(Recording.axis_id).where(
        attributed_unit() == unit, Recording.started_at >= span.from_at, Recording.started_at < span.to_at
    )
    return sorted(connection.scalars(query.distinct()))


def _data_cases(connection: Connection, now: TimeSpan, as_of: datetime) -> list[KnownCause]:
    """Return the axes with a case about their data (silence apart) that reaches into the span."""
    query = sa.select(Case.case_id, Case.axis_id, Case.reasons).where(
        Case.family == "data", Case.first_at < now.to_at, Case.last_at >= now.from_at, Case.known_at <= as_of
    )
    return [
        KnownCause(row.axis_id, unit, f"case {row.case_id} reports faulty data")
        for row in connection.execute(query.order_by(Case.case_id)).all()
        if any(reason["code"] == "data" for reason in row.reasons)
        for unit in units_on(connection, row.axis_id, now)
    ]


def _labelled(connection: Connection, verdict: Verdict, word: str, now: TimeSpan, as_of: datetime) -> list[KnownCause]:
    """Return the units with a label of this verdict in the span."""
    query = sa.select(Label).where(
        Label.verdict == verdict,
        Label.known_at <= as_of,
        not_withdrawn(as_of),
        Label.from_at < now.to_at,
        Label.to_at > now.from_at,
    )
    causes = []
    for row in connection.execute(query.order_by(Label.label_id)).all():
        text = f"label {row.label_id}: {word}"
        if row.unit_serial is not None:
            axes = [row.axis_id] if row.axis_id is not None else _axes_of(connection, row.unit_serial, now)
            causes += [KnownCause(axis, row.unit_serial, text) for axis in axes or [NO_AXIS]]
        elif row.axis_id is not None:
            causes += [KnownCause(row.axis_id, unit, text) for unit in units_on(connection, row.axis_id, now)]
    return causes


def _replaced(connection: Connection, scope: str, then: TimeSpan, now: TimeSpan) -> list[KnownCause]:
    """Return the units that replaced another one on their axis, by the registry or by the logs."""
    unit = attributed_unit()
    query = (
        extractions(
            Extraction.axis_id,
            unit.label("unit"),
            sa.func.min(Extraction.started_at, type_=Extraction.started_at.type).label("first_at"),
            scope=scope,
            any_geometry=True,
        )
        .where(
            sa.or_(
                sa.and_(Extraction.started_at >= then.from_at, Extraction.started_at < then.to_at),
                sa.and_(Extraction.started_at >= now.from_at, Extraction.started_at < now.to_at),
            ),
        )
        .group_by(Extraction.axis_id, unit)
    )
    by_axis: dict[str, list[tuple[datetime, str]]] = {}
    for row in connection.execute(query):
        by_axis.setdefault(row.axis_id, []).append((row.first_at, unit_name(row.unit, row.axis_id)))
    causes = []
    for axis, units in sorted(by_axis.items()):
        ordered = sorted(units)
        for (_, before), (first_at, after) in pairwise(ordered):
            text = f"replaced {before}, first seen {first_at:%Y-%m-%d}"
            causes.append(KnownCause(axis, after, text))
    return causes
