"""baseline: write what each unit's features were in its first days of monitoring, for each channel and regime.

A unit's baseline period begins with its first recording and lasts `baseline_days`. When it is over, the median and the
spread of its features are written once and never changed: for every regime with enough recordings, and for the coarser
regimes that a score falls back to.

A unit counts as healthy in this period, unless a label that was known by its end says that it was faulty: then it gets
no baseline on any channel. A later label changes no baseline. Units that are found faulty later must be compared like
all others, or a model would learn that a missing baseline means a fault. Archives without real times have no first
days, and so no baseline.

Only marked axes are looked at (`pipeline.store.due`), and of them only the periods that a mark can change: those that
end at its time or later. A period that is not over waits as a mark at its end. One that a label has denied its
baselines stays marked, because the label may be withdrawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from features.health.baseline import Reference, fit_reference
from pipeline.base.figures import finite_or_none
from pipeline.base.ids import instant, stable_id
from pipeline.base.regime import coarser, is_any, program_of
from pipeline.base.settings import ExtractionSettings
from pipeline.extraction.in_force import feature_versions
from pipeline.extraction.reading import read_features
from pipeline.labels.labels import KnownLabel, known_labels, label_for
from pipeline.labels.words import Verdict
from pipeline.store import due
from pipeline.store.attribution import attributed_unit, extractions
from pipeline.store.database import Store, insert_new
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Baseline, Extraction, Recording, Unit

WAITING = due.Queue(due.BASELINE)

MOST_MARKS = 50_000
"""Number of axes that are taken at a time: more than a plant has."""

MOST_AXES = 2000
"""Number of axes in one query."""

EVER = datetime(1, 1, 1, tzinfo=UTC)
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
UNNAMED = Recording.unit_serial.is_(None)


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
    versions = sorted(set(feature_versions(settings).values()))
    basis = {"": stable_id(settings.baseline_days, settings.baseline_min_recordings, *versions)}
    while True:
        with store.read() as connection:
            is_new_basis = bool(due.changed_bases(connection, due.BASELINE, basis))
            marks = due.take(connection, WAITING, as_of, most=MOST_MARKS)
            since = dict.fromkeys(connection.scalars(sa.select(Axis.axis_id)), EVER) if is_new_basis else marks.at
            periods, later = _periods(connection, settings, as_of, since)
            labels = known_labels(connection, known_by=as_of) if periods else []
        for period in periods:
            with store.read() as connection:
                members = _members(connection, versions, period)
                stored = set(
                    connection.scalars(sa.select(Baseline.baseline_version).where(Baseline.axis_id == period.axis_id))
                )
            known = [label for label in labels if label.known_at <= period.to_at]
            if any(_found_faulty(row, known) for row in members):
                later.add((period.to_at, period.axis_id, 1))
                continue
            made = _baselines(lake, settings, period, members, as_of)
            rows = [row for row in made if row["baseline_version"] not in stored]
            if rows:
                with store.write() as connection:
                    new = len(insert_new(connection, Baseline, rows))
                report.baselines += new
                report.units += new > 0
        if marks.causes or is_new_basis:
            with store.write() as connection:
                due.done(connection, marks, marks.causes)
                due.mark(connection, WAITING, later, "end of a period")
                due.set_bases(connection, due.BASELINE, basis)
        if marks.is_last:
            return report


def _periods(
    connection: Connection, settings: ExtractionSettings, as_of: datetime, since: Mapping[str, datetime]
) -> tuple[list[BaselinePeriod], set[due.Work]]:
    """Return the baseline periods that are over and may have changed, and marks for those that are not over.

    A baseline is final when more than one more period has passed since the end of its own: recordings that arrive later
    do not count. Versions of features or geometry without a baseline are always due.

    Parameters
    ----------
    since
        Axes to look at, each with the time before which nothing has changed.
    """
    length = timedelta(days=settings.baseline_days)
    over, later = [], set()
    axes = sorted(since)
    for at in range(0, len(axes), MOST_AXES):
        for axis, unit, before, first in _stays(connection, axes[at : at + MOST_AXES]):
            if first is None:
                continue
            if first + length > as_of:
                later.add((first + length, axis, 1))
            elif since[axis] <= first + length:
                over.append((axis, unit, before, first))
    settled: dict[tuple[Any, ...], set[tuple[str, str]]] = {}
    axes = sorted({axis for axis, *_ in over})
    for at in range(0, len(axes), MOST_AXES):
        key = (Baseline.axis_id, Baseline.unit_serial, Baseline.from_at)
        final = sa.select(*key, Baseline.feature_version, Baseline.geometry_version).where(
            Baseline.axis_id.in_(axes[at : at + MOST_AXES]), Baseline.to_at <= as_of - length
        )
        for row in connection.execute(final.distinct()):
            settled.setdefault(row[:3], set()).add((row.feature_version, row.geometry_version))
    periods = [
        BaselinePeriod(axis, unit, first, first + length, before, frozenset(settled.get((axis, unit, first), ())))
        for axis, unit, before, first in over
    ]
    return periods, later


def _stays(
    connection: Connection, axes: Sequence[str]
) -> list[tuple[str, str | None, datetime | None, datetime | None]]:
    """Return each stay of a unit on an axis: axis, serial number, end of the stay, and start of its first recording.

    Stays are those of the registry, and those that only logs name. The recordings of a stay name its unit, or they name
    none and are in its time. Where the registry has units of an axis, recordings without a serial number between them
    belong to no known unit and get no baseline. Where no unit was ever named, the axis counts as one unit.
    """
    in_time = (
        Recording.axis_id == Unit.axis_id,
        Recording.started_at >= Unit.installed_at,
        Recording.started_at < sa.func.coalesce(Unit.removed_at, sa.literal(NEVER, Unit.removed_at.type)),
    )
    named, unnamed = _first(*in_time, Recording.unit_serial == Unit.unit_serial), _first(*in_time, UNNAMED)
    registered = sa.select(Unit, named.label("named"), unnamed.label("unnamed")).where(Unit.axis_id.in_(axes))
    stays: list[tuple[str, str | None, datetime | None, datetime | None]] = []
    known: dict[str, set[str]] = {}
    for row in connection.execute(registered.order_by(Unit.axis_id, Unit.installed_at)):
        starts = [start for start in (row.named, row.unnamed) if start is not None]
        stays.append((row.axis_id, row.unit_serial, row.removed_at, min(starts, default=None)))
        known.setdefault(row.axis_id, set()).add(row.unit_serial)
    for row in connection.execute(_logged_serials(axes)):
        units = known.get(row.axis_id, set())
        if row.serial is not None and row.serial not in units:
            stays.append((row.axis_id, row.serial, None, row.named))
        elif row.serial is None and not units:
            stays.append((row.axis_id, None, None, row.unnamed))
    return stays


def _first(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[datetime]:
    """SQL: the start of the first recording with a real time that meets conditions, which name an outer table."""
    query = sa.select(Recording.started_at).where(Recording.time_basis == "clock", *conditions)
    return query.order_by(Recording.started_at).limit(1).correlate_except(Recording).scalar_subquery()


def _logged_serials(axes: Sequence[str]) -> sa.Select[Any]:
    """SQL: each serial number in the logs of axes, then null, with the first recordings that name it, and none.

    It uses an index to go from one serial number to the next.
    """
    lowest = sa.select(sa.func.min(Recording.unit_serial)).where(Recording.axis_id == Axis.axis_id)
    chosen = sa.select(Axis.axis_id, lowest.correlate(Axis).scalar_subquery().label("serial"))
    serials = chosen.where(Axis.axis_id.in_(axes)).cte("serials", recursive=True)
    following = (
        sa.select(sa.func.min(Recording.unit_serial))
        .where(Recording.axis_id == serials.c.axis_id, Recording.unit_serial > serials.c.serial)
        .correlate(serials)
        .scalar_subquery()
    )
    step = sa.select(serials.c.axis_id, following).where(serials.c.serial.is_not(None))
    serials = serials.union_all(step)
    mine = Recording.axis_id == serials.c.axis_id
    named, unnamed = _first(mine, Recording.unit_serial == serials.c.serial), _first(mine, UNNAMED)
    return sa.select(serials.c.axis_id, serials.c.serial, named.label("named"), unnamed.label("unnamed"))


def _members(connection: Connection, versions: Sequence[str], period: BaselinePeriod) -> list[Any]:
    """Return the extractions of a period that its baselines may use, in order of time."""
    end = period.to_at if period.before is None else min(period.to_at, period.before)
    unit = attributed_unit()
    query = (
        extractions(span=(period.from_at, end))
        .where(
            Extraction.axis_id == period.axis_id,
            unit.is_(None) if period.unit_serial is None else unit == period.unit_serial,
            Extraction.feature_version.in_(versions),
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
    as_of: datetime,
) -> list[dict[str, Any]]:
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
