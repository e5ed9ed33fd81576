"""baseline: write what each unit's features were in its first days of monitoring, for each channel and regime.

A unit's baseline period begins with its first recording and lasts `baseline_days`. When it is over, the median and the
spread of its features are written once and never changed: for every regime with enough recordings, and for the coarser
regimes that a score falls back to.

A unit counts as healthy in this period, unless a label that was known by its end says that it was faulty: then it gets
no baseline on any channel. A later label changes no baseline. Units that are found faulty later must be compared like
all others, or a model would learn that a missing baseline means a fault. Archives without real times have no first
days, and so no baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from features.health.baseline import Reference, fit_reference
from pipeline.assets import installations
from pipeline.base.figures import finite_or_none
from pipeline.base.ids import instant, stable_id
from pipeline.base.regime import coarser, is_any, program_of
from pipeline.base.settings import ExtractionSettings
from pipeline.extraction.in_force import feature_versions
from pipeline.extraction.reading import read_features
from pipeline.labels.labels import KnownLabel, known_labels, label_for
from pipeline.labels.words import Verdict
from pipeline.store.attribution import attributed_unit, extractions
from pipeline.store.database import Store, insert_new
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Baseline, Extraction, Recording


@dataclass
class BaselineReport:
    """What one run did."""

    units: int = 0
    baselines: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class BaselinePeriod:
    """Baseline period of a unit on an axis (serial None: not known).

    `before` is the end of the unit's time on the axis, None where it is still there. `done` has the pairs of feature
    and geometry version whose baselines are final.
    """

    axis_id: str
    unit_serial: str | None
    from_at: datetime
    to_at: datetime
    before: datetime | None
    done: frozenset[tuple[str, str]]


def update_baselines(store: Store, lake: Lake, settings: ExtractionSettings, *, as_of: datetime) -> BaselineReport:
    """Write the baselines of every unit whose baseline period is over by `as_of`; stored ones stay as they are."""
    report = BaselineReport()
    with store.read() as connection:
        periods = _periods(connection, settings, as_of)
        labels = known_labels(connection, known_by=as_of)
    for period in periods:
        with store.read() as connection:
            members = _members(connection, settings, period)
            stored = set(
                connection.scalars(sa.select(Baseline.baseline_version).where(Baseline.axis_id == period.axis_id))
            )
        made = _baselines(lake, settings, period, members, labels, as_of)
        rows = [row for row in made if row["baseline_version"] not in stored]
        if rows:
            with store.write() as connection:
                new = sum(insert_new(connection, Baseline, row) for row in rows)
            report.baselines += new
            report.units += new > 0
    return report


def _periods(connection: Connection, settings: ExtractionSettings, as_of: datetime) -> list[BaselinePeriod]:
    """Return the baseline periods that are over: one for each unit in its time on an axis.

    A baseline is final when more than one more period has passed since the end of its own: recordings that arrive later
    do not count. Versions of features or geometry without a baseline are always due.
    """
    length = timedelta(days=settings.baseline_days)
    settled: dict[tuple[Any, ...], set[tuple[str, str]]] = {}
    for row in connection.execute(
        sa.select(
            Baseline.axis_id,
            Baseline.unit_serial,
            Baseline.from_at,
            Baseline.feature_version,
            Baseline.geometry_version,
        )
        .where(Baseline.to_at <= as_of - length)
        .distinct()
    ):
        settled.setdefault(row[:3], set()).add((row.feature_version, row.geometry_version))
    periods = []
    for axis, unit, after, before in _stays(connection):
        first = _first(connection, axis, unit, after, before)
        if first is not None and first + length <= as_of:
            done = frozenset(settled.get((axis, unit, first), ()))
            periods.append(BaselinePeriod(axis, unit, first, first + length, before, done))
    return periods


def _stays(connection: Connection) -> list[tuple[str, str | None, datetime | None, datetime | None]]:
    """Return axis, unit, start and end of each stay of a unit: the registry's units, and those that only logs name.

    Where the registry has units of an axis, recordings without a serial number between them belong to no known unit
    and get no baseline. Where no unit was ever named, the axis counts as one unit.
    """
    stays: list[tuple[str, str | None, datetime | None, datetime | None]] = []
    known = installations(connection)
    logged: dict[str, list[str]] = {}
    for axis, serial in connection.execute(_logged_serials()):
        logged.setdefault(axis, []).extend([] if serial is None else [serial])
    for axis, serials in sorted(logged.items()):
        units = known.get(axis, [])
        stays += [(axis, unit.unit_serial, unit.installed_at, unit.removed_at) for unit in units]
        named = {unit.unit_serial for unit in units}
        stays += [(axis, serial, None, None) for serial in sorted(serials) if serial not in named]
        if not units:
            stays.append((axis, None, None, None))
    return stays


def _logged_serials() -> sa.Select[Any]:
    """SQL: every axis with each serial number in its logs, then null. It uses an index to go from one to the next."""
    lowest = sa.select(sa.func.min(Recording.unit_serial)).where(Recording.axis_id == Axis.axis_id)
    serials = sa.select(Axis.axis_id, lowest.correlate(Axis).scalar_subquery().label("serial")).cte(
        "serials", recursive=True
    )
    following = (
        sa.select(sa.func.min(Recording.unit_serial))
        .where(Recording.axis_id == serials.c.axis_id, Recording.unit_serial > serials.c.serial)
        .correlate(serials)
        .scalar_subquery()
    )
    step = sa.select(serials.c.axis_id, following).where(serials.c.serial.is_not(None))
    serials = serials.union_all(step)
    return sa.select(serials.c.axis_id, serials.c.serial)


def _first(
    connection: Connection, axis: str, unit: str | None, after: datetime | None, before: datetime | None
) -> datetime | None:
    """Return the start of the first recording that names a unit, or is in its time and names none; None: none."""
    owners = [Recording.unit_serial == unit] if unit is not None else []
    if unit is None or after is not None:
        owners.append(Recording.unit_serial.is_(None))
    starts = []
    for owner in owners:
        query = sa.select(Recording.started_at).where(Recording.axis_id == axis, owner, Recording.time_basis == "clock")
        if after is not None:
            query = query.where(Recording.started_at >= after)
        if before is not None:
            query = query.where(Recording.started_at < before)
        start = connection.scalar(query.order_by(Recording.started_at).limit(1))
        starts += [] if start is None else [start]
    return min(starts, default=None)


def _members(connection: Connection, settings: ExtractionSettings, period: BaselinePeriod) -> list[Any]:
    """Return the extractions of a period that its baselines may use, in order of time."""
    end = period.to_at if period.before is None else min(period.to_at, period.before)
    unit = attributed_unit()
    query = (
        extractions(span=(period.from_at, end))
        .where(
            Extraction.axis_id == period.axis_id,
            unit.is_(None) if period.unit_serial is None else unit == period.unit_serial,
            Extraction.feature_version.in_(tuple(set(feature_versions(settings).values()))),
            Extraction.quality == "ok",
            Recording.time_basis == "clock",
        )
        .order_by(Extraction.started_at, Extraction.recording_id)
    )
    return list(connection.execute(query))


def _baselines(
    lake: Lake,
    settings: ExtractionSettings,
    period: BaselinePeriod,
    members: Sequence[Row[Any]],
    labels: list[KnownLabel],
    as_of: datetime,
) -> list[dict[str, Any]]:
    known = [label for label in labels if label.known_at <= period.to_at]
    if any(_found_faulty(row, known) for row in members):
        return []
    by_key: dict[tuple[str, ...], list[Row[Any]]] = {}
    for row in members:
        if (row.feature_version, row.geometry_version) not in period.done:
            for regime in coarser(row.regime):
                key = (row.channel, row.scope, row.feature_version, row.geometry_version, regime)
                by_key.setdefault(key, []).append(row)
    enough = {key: rows for key, rows in by_key.items() if len(rows) >= settings.baseline_min_recordings}
    used = list({row.recording_id: row for rows in enough.values() for row in rows}.values())
    features = {row.recording_id: part for row, part in zip(used, read_features(lake, settings, used), strict=True)}
    baselines = []
    for (*_, regime), rows in sorted(enough.items()):
        values = np.concatenate([features[row.recording_id] for row in rows])
        reference = fit_reference(np.where(np.isfinite(values), values, np.nan))
        if np.isfinite(reference.median).any():  # an empty baseline would hide that of a coarser regime
            baselines.append(_row(period, rows, regime, reference, len(values), as_of))
    return baselines


def _found_faulty(row: Row[Any], labels: list[KnownLabel]) -> bool:
    label = label_for(
        labels, axis=row.axis_id, unit_serial=row.unit_serial, channel=row.channel, started_at=row.started_at
    )
    return label is not None and label.verdict is Verdict.FAULT


def _row(
    period: BaselinePeriod, rows: list[Row[Any]], regime: str, reference: Reference, n_windows: int, as_of: datetime
) -> dict[str, Any]:
    first = rows[0]
    median, spread = ([finite_or_none(value) for value in one] for one in (reference.median, reference.spread))
    versions = (first.scope, first.feature_version, first.geometry_version)
    content = stable_id(*(row.recording_id for row in rows), *median, *spread)
    key = (first.axis_id, first.unit_serial, first.channel, regime, *versions, instant(period.from_at))
    return {
        "baseline_version": stable_id(*key, instant(period.to_at), content, length=16),
        "axis_id": first.axis_id,
        "unit_serial": first.unit_serial,
        "channel": first.channel,
        "regime": regime,
        "scope": first.scope,
        "feature_version": first.feature_version,
        "geometry_version": first.geometry_version,
        "from_at": period.from_at,
        "to_at": period.to_at,
        "n_recordings": len(rows),
        "n_windows": n_windows,
        "median": median,
        "spread": spread,
        "programs": sorted({p for row in rows if (p := program_of(row.regime)) is not None})
        if is_any(regime)
        else None,
        "known_at": as_of,
    }
