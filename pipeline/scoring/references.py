"""What units score while their state is known: the reference of a plant's own levels, and the daily estimate of these.

A reference is one number: the highest recent log odds that a model gives a unit in some time. The times are a new
unit's first days after its baseline, which count as healthy as the baseline does; for a unit that the model was trained
on, what it said while that unit was held out; and the time of a later finding of a person who has inspected the unit.
The recordings are scored in memory with the present champion, so a promotion needs no scores of the past. Each
reference is computed once for a model, only that of a unit whose first days last is computed again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.kinds import HEALTHY
from pipeline.base.settings import LevelSettings
from pipeline.cases.axis_state import ScoredWindow, Thresholds, bin_start, combine_channels
from pipeline.labels.findings import target_of
from pipeline.labels.labels import known_labels
from pipeline.labels.words import evidence_weight
from pipeline.registry.held_out import read_predictions
from pipeline.registry.registry import SYSTEM, load_model
from pipeline.registry.versions import champions, get_version, trained_units
from pipeline.scoring.levels import Levels, estimate_levels, highest_recent, read_thresholds, standing_levels
from pipeline.scoring.plant_levels import level_row
from pipeline.scoring.score import windows_in_memory
from pipeline.store.attribution import attributed_unit, extractions, unit_name
from pipeline.store.database import Store, insert_ignore, upsert
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Baseline, Extraction, LevelReference, PlantLevel, Recording

if TYPE_CHECKING:
    from models.model import Model

MOST_BINS: Final = 64
"""Bins of a unit that are scored, evenly over its time."""

FEW_BINS: Final = 10
"""A unit's first days count with at least so many bins."""

CHANGE: Final = 0.0005
"""A level that moves by less is not written again."""

ANSWERED: Final = ("false_alarms", "faults", "lowest_fault")
"""Figures that come from answers; a row is written where one of them has changed, too."""

FIRST_DAYS, HELD_OUT = "first_days", "held_out"


@dataclass(frozen=True)
class Wanted:
    """A reference that is to be computed: of one unit, from one time, for one reason."""

    unit: str
    serial: str | None
    axis_id: str
    site: str
    source: str
    channel: str | None
    from_at: datetime
    to_at: datetime


def estimate(store: Store, lake: Lake, settings: LevelSettings, *, as_of: datetime) -> list[dict[str, Any]]:
    """Estimate the levels of every site for each champion; return the rows in force, changed or not.

    A row is written where a level has changed and no person holds it. A second call at the same time writes nothing.
    """
    with store.read() as connection:
        named = list(champions(connection).values())
    for row in (get_version(store, name) for name in named):
        if HEALTHY in row["settings"].get("classes", ()):
            _refer(store, lake, settings, row, as_of)
            _decide(store, settings, row, as_of)
    with store.read() as connection:
        standing = standing_levels(connection, named, as_of=as_of)
    return [row for site in sorted(standing) for _, row in sorted(standing[site].items())]


def _refer(store: Store, lake: Lake, settings: LevelSettings, version: dict[str, Any], as_of: datetime) -> None:
    """Compute the references of a model that are missing."""
    name = version["model_version"]
    with store.read() as connection:
        limits = read_thresholds(connection, settings, [name])[name]
        columns = (LevelReference.unit, LevelReference.source, LevelReference.to_at)
        stored = connection.execute(sa.select(*columns).where(LevelReference.model_version == name))
        done = {(row.unit, row.source): row.to_at for row in stored}
        trained = trained_units(version)
        wanted = [
            item
            for item in (
                *_first_days(connection, settings, version, trained, as_of),
                *_findings(connection, settings, version, {source for _, source in done}, as_of),
            )
            if done.get((item.unit, item.source), item.from_at) < item.to_at
        ]
        held_out_is_due = bool(trained) and not any(source == HELD_OUT for _, source in done)
    if not wanted and not held_out_is_due:
        return
    model = load_model(store, lake, name)
    found: list[dict[str, Any]] = []
    with store.read() as connection:
        if held_out_is_due:
            found += _held_out(connection, lake, settings, version, model, limits, as_of)
        for item in wanted:
            p = _fault_probabilities(connection, lake, settings, version, model, limits, item, as_of)
            enough = len(p) >= FEW_BINS or item.source != FIRST_DAYS
            found.append(_row(name, item, highest_recent(p, limits) if enough else None, len(p), as_of))
    with store.write() as connection:
        upsert(connection, LevelReference, found)


def _first_days(
    connection: Connection, settings: LevelSettings, version: dict[str, Any], trained: frozenset[str], as_of: datetime
) -> Iterator[Wanted]:
    """Yield the first days after the baseline of each unit that the model was not trained on."""
    begin = sa.func.min(Baseline.to_at, type_=Baseline.to_at.type).label("begin")
    query = (
        sa.select(Baseline.axis_id, Baseline.unit_serial, Axis.site, begin)
        .join(Axis, Axis.axis_id == Baseline.axis_id)
        .where(
            Baseline.scope == version["scope"],
            Baseline.feature_version == version["feature_version"],
            Baseline.known_at <= as_of,
        )
        .group_by(Baseline.axis_id, Baseline.unit_serial, Axis.site)
        .order_by(Baseline.axis_id, Baseline.unit_serial)
    )
    for row in connection.execute(query):
        unit = unit_name(row.unit_serial, row.axis_id)
        if unit not in trained and row.begin < as_of:
            end = min(row.begin + timedelta(days=settings.level_days), as_of)
            yield Wanted(unit, row.unit_serial, row.axis_id, row.site, FIRST_DAYS, None, row.begin, end)


def _findings(
    connection: Connection, settings: LevelSettings, version: dict[str, Any], done: Collection[str], as_of: datetime
) -> Iterator[Wanted]:
    """Yield the times of findings that the model was not trained on, of people who have inspected the unit.

    Labels in `done` have their reference already.
    """
    sites = dict(connection.execute(sa.select(Axis.axis_id, Axis.site)).all())
    for label in known_labels(connection, known_by=as_of):
        known = label.known_at <= version["label_cutoff"] or label.label_id in done
        if known or target_of(label) is None or evidence_weight(settings.evidence_weights, label.evidence) < 1.0:
            continue
        query = extractions(
            Extraction.axis_id,
            attributed_unit().label("unit_serial"),
            scope=version["scope"],
            feature_version=version["feature_version"],
            span=(label.from_at, label.to_at),
        )
        if label.axis_id is not None:
            query = query.where(Extraction.axis_id == label.axis_id)
        if label.unit_serial is not None:
            query = query.where(attributed_unit() == label.unit_serial)
        row = connection.execute(query.order_by(Extraction.started_at.desc()).limit(1)).first()
        if row is not None:
            unit = unit_name(row.unit_serial, row.axis_id)
            places = (row.axis_id, sites[row.axis_id], label.label_id, label.channel)
            yield Wanted(unit, row.unit_serial, *places, label.from_at, label.to_at)


def _fault_probabilities(
    connection: Connection,
    lake: Lake,
    settings: LevelSettings,
    version: dict[str, Any],
    model: Model,
    limits: Thresholds,
    wanted: Wanted,
    as_of: datetime,
) -> list[float]:
    """Return the fault probability of a unit in bins of a time, as advise would combine them, oldest first."""
    span = (wanted.from_at, min(wanted.to_at, as_of))
    query = extractions(scope=version["scope"], feature_version=version["feature_version"], span=span)
    query = query.where(Extraction.axis_id == wanted.axis_id, Extraction.n_windows > 0)
    query = query.where(attributed_unit().is_not_distinct_from(wanted.serial))
    if wanted.channel is not None:
        query = query.where(Extraction.channel == wanted.channel)
    period = timedelta(hours=settings.state_period_hours)
    first: dict[tuple[datetime, str], Any] = {}
    for row in connection.execute(query.order_by(Extraction.started_at, Extraction.recording_id)):
        first.setdefault((bin_start(row.started_at, period), row.channel), row)
    bins = sorted({at for at, _ in first})
    if not bins:
        return []
    chosen = {bins[place] for place in np.linspace(0, len(bins) - 1, MOST_BINS).round().astype(int).tolist()}
    rows = [row for (at, _), row in first.items() if at in chosen]
    windows: dict[datetime, list[ScoredWindow]] = {}
    name = version["model_version"]
    for at, window in windows_in_memory(connection, lake, model, name, rows, as_of):
        windows.setdefault(bin_start(at, period), []).append(window)
    combined = [combine_channels(windows[at], {name: limits}) for at in sorted(windows)]
    return [figures.fault_probability for figures in combined if figures.fault_probability is not None]


def _held_out(
    connection: Connection,
    lake: Lake,
    settings: LevelSettings,
    version: dict[str, Any],
    model: Model,
    limits: Thresholds,
    as_of: datetime,
) -> list[dict[str, Any]]:
    """Return the references of healthy units that the model was trained on, from what it said without them."""
    predictions = read_predictions(lake, version)
    if predictions is None:
        return []
    faulty = {row["unit"] for row in version["metrics"].get("units", ()) if row["class_name"] != HEALTHY}
    p = predictions.p * np.exp(model.log_prior_correction)
    fault = 1.0 - p[:, predictions.classes.index(HEALTHY)] / p.sum(axis=1)
    of_recording = {
        str(name): (str(unit), float(value))
        for name, unit, value in zip(predictions.recording, predictions.unit, fault, strict=True)
        if str(unit) not in faulty and np.isfinite(value)
    }
    columns = (Recording.recording_id, Recording.axis_id, Recording.started_at, Axis.site)
    query = sa.select(*columns).join(Axis, Axis.axis_id == Recording.axis_id)
    by_unit: dict[str, list[Any]] = {}
    names = sorted(of_recording)
    for start in range(0, len(names), 500):
        for row in connection.execute(query.where(Recording.recording_id.in_(names[start : start + 500]))):
            by_unit.setdefault(of_recording[row.recording_id][0], []).append(row)
    period = timedelta(hours=settings.state_period_hours)
    found = []
    for unit, rows in sorted(by_unit.items()):
        bins: dict[datetime, list[float]] = {}
        for row in sorted(rows, key=lambda row: (row.started_at, row.recording_id)):
            bins.setdefault(bin_start(row.started_at, period), []).append(of_recording[row.recording_id][1])
        means = [float(np.mean(bins[at])) for at in sorted(bins)]
        times = sorted(row.started_at for row in rows)
        item = Wanted(unit, None, rows[0].axis_id, rows[0].site, HELD_OUT, None, times[0], times[-1])
        found.append(_row(version["model_version"], item, highest_recent(means, limits), len(means), as_of))
    return found


def _row(version: str, wanted: Wanted, value: float | None, n_bins: int, as_of: datetime) -> dict[str, Any]:
    names = ("unit", "axis_id", "site", "source", "from_at", "to_at")
    return {
        **{name: getattr(wanted, name) for name in names},
        "model_version": version,
        "value": value,
        "n_bins": n_bins,
        "known_at": as_of,
    }


def _decide(store: Store, settings: LevelSettings, version: dict[str, Any], as_of: datetime) -> None:
    """Estimate the levels of each site for a model, and write those that have changed."""
    name = version["model_version"]
    with store.read() as connection:
        query = sa.select(LevelReference).where(LevelReference.model_version == name, LevelReference.value.is_not(None))
        references: Sequence[Any] = connection.execute(query.order_by(LevelReference.unit, LevelReference.source)).all()
        targets = {label.label_id: target_of(label) for label in known_labels(connection, known_by=as_of)}
        watched_to = _last_recordings(connection, sorted({row.axis_id for row in references}), as_of)
        standing = standing_levels(connection, [name], as_of=as_of)
    rows = []
    for site in sorted({row.site for row in references}):
        own = [row for row in references if row.site == site]
        levels = _levels_of(own, targets, settings, watched_to)
        before = standing.get(site, {}).get(name)
        changed = (
            before is None
            or any(abs(before[f"{kind}_probability"] - getattr(levels, kind)) > CHANGE for kind in ("alarm", "review"))
            or any(before["figures"].get(name) != levels.figures[name] for name in ANSWERED)
        )
        if changed and not (before and before["held"]):
            rows.append(level_row(version, site, levels, as_of=as_of, before=before, who=SYSTEM, held=False))
    with store.write() as connection:
        insert_ignore(connection, PlantLevel, rows)


def _last_recordings(connection: Connection, axes: Sequence[str], as_of: datetime) -> dict[str, datetime]:
    last = sa.select(sa.func.max(Recording.started_at, type_=Recording.started_at.type))
    last = last.where(Recording.axis_id == Axis.axis_id, Recording.started_at <= as_of).correlate(Axis)
    query = sa.select(Axis.axis_id, last.scalar_subquery()).where(Axis.axis_id.in_(axes))
    return {axis: as_of if moment is None else moment for axis, moment in connection.execute(query)}


def _levels_of(
    references: Sequence[Any],
    targets: dict[str, str | None],
    settings: LevelSettings,
    watched_to: dict[str, datetime],
) -> Levels:
    """Estimate levels from the references of a site; a finding that was withdrawn does not count any more.

    `watched_to`: by axis, the time of its last recording.
    """
    found: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for row in references:
        target = targets.get(row.source)
        if target is not None:
            side = found[target == HEALTHY]
            side[row.unit] = max(row.value, side.get(row.unit, row.value))
    assumed = [row for row in references if row.source in (FIRST_DAYS, HELD_OUT)]
    watched = [max((watched_to[row.axis_id] - row.from_at).total_seconds(), 0.0) for row in assumed]
    return estimate_levels(
        [row.value for row in assumed if row.unit not in found[False]],
        list(found[True].values()),
        list(found[False].values()),
        settings,
        axis_years=sum(watched) / (365.25 * 86_400.0),
    )
