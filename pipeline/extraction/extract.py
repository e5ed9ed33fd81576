"""extract: from recordings in the lake to one row of features for each window, also in the lake.

A recording is due when it has no features at the feature version of today's settings and the geometry version of the
unit that was on its axis. Only marked recordings are looked at (`pipeline.store.due`), the newest first. All windows of
a recording are extracted together. It may run again, twice at once or after a kill; the features are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Row

from features.kinematics import Orders
from features.quality.quality import Quality
from features.settings import FeatureSettings, feature_names
from pipeline.assets import known_orders
from pipeline.base.log_schema import scope_of
from pipeline.base.regime import regime_of
from pipeline.base.settings import ExtractionSettings
from pipeline.extraction.in_force import feature_settings, feature_versions
from pipeline.extraction.recording import Extracted, Job, Recorded, Trace, extract_recordings
from pipeline.store import due
from pipeline.store.attribution import installed_geometry, recordings
from pipeline.store.batches import EVER, Between, Stretch, portions, stretches
from pipeline.store.database import Store, insert_ignore, insert_new
from pipeline.store.lake import Lake
from pipeline.store.tables import Extraction, LakeFile, Recording, Unit

PAGE = 512
INLINE_RECORDINGS = 48
"""With fewer recordings, starting processes costs more time than it saves."""

SAMPLES_AT_ONCE = 4_194_304
"""Samples that a worker reads before it extracts them."""

WORST_FIRST = tuple(Quality)
WAITING = due.Queue(due.EXTRACT)


@dataclass
class ExtractReport:
    """What one run of extract did."""

    recordings: int = 0
    windows: int = 0
    by_quality: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return dict(vars(self))


def extract_due(
    store: Store,
    lake: Lake,
    settings: ExtractionSettings,
    *,
    as_of: datetime,
    within: Stretch | None = None,
    search: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExtractReport:
    """Extract the features of every recording that is due, started by `as_of`, and lies in `within`.

    Parameters
    ----------
    search
        Look at every recording in `within`; False: only at those that are marked.
    """
    report = ExtractReport()
    total = 0
    if not search:
        refresh_marks(store, settings)
    if on_progress and not search:
        with store.read() as connection:
            total = due.count(connection, WAITING, as_of, within)
    with ExitStack() as stack:
        pool: Any = None
        for rows, marks, orders in _pages(store, settings, as_of, within, search):
            for chunk in portions(rows, lambda row: row.n_samples, settings.extract_chunk_samples):
                pool = pool or stack.enter_context(_pool(settings.workers))
                done = _extract_chunk(pool, lake.url, settings, chunk, orders)
                _commit(store, lake, settings, chunk, done, marks, as_of, report)
                if on_progress:
                    on_progress(report.recordings, max(total, report.recordings))
    store.refresh_statistics(report.recordings)
    return report


def _pool(workers: int) -> Any:
    import joblib

    return joblib.Parallel(n_jobs=workers, backend="loky")


def plan_extract(
    store: Store, settings: ExtractionSettings, *, as_of: datetime, between: Between = EVER, size: int, most: int
) -> tuple[list[dict[str, Any]], int, int]:
    """Cut the due recordings into batches of up to `size` bytes of samples; returns as `pipeline.store.batches`.

    The marked recordings, newest first; with `between` every recording of that time that is due.
    """
    if between == EVER:
        refresh_marks(store, settings)
        with store.read() as connection:
            return stretches(due.waiting(connection, WAITING, as_of), size=size, most=most)
    query = _due_query(settings).where(Recording.started_at <= as_of, *between.holds(Recording.started_at))
    query = query.with_only_columns(*due.of_recordings()[2:])
    with store.read() as connection:
        rows = connection.execution_options(yield_per=PAGE).execute(
            query.order_by(Recording.started_at, Recording.recording_id)
        )
        return stretches(((row[0], row[1], row[2]) for row in rows), size=size, most=most)


def refresh_marks(store: Store, settings: ExtractionSettings) -> None:
    """Where the feature version of a quantity has changed, mark the recordings that have no features at it."""
    versions = feature_versions(settings)
    with store.read() as connection:
        if not due.changed_bases(connection, due.EXTRACT, versions):
            return
    with store.write() as connection:
        changed = due.changed_bases(connection, due.EXTRACT, versions)
        found = _due_query(settings).where(Recording.quantity.in_(sorted(changed)))
        found = found.with_only_columns(*due.of_recordings())
        due.mark_selected(connection, due.EXTRACT, found, "|".join(versions.values()))
        due.set_bases(connection, due.EXTRACT, versions)


def _due_query(settings: ExtractionSettings) -> sa.Select[Any]:
    geometry = installed_geometry()
    version = sa.case(feature_versions(settings), value=Recording.quantity)
    extracted = sa.exists().where(
        Extraction.recording_id == Recording.recording_id,
        Extraction.feature_version == version,
        Extraction.geometry_version == geometry,
    )
    columns = (
        Recording,
        version.label("feature_version"),
        geometry.label("geometry_version"),
        Unit.unit_serial.label("on_axis"),
    )
    return recordings(*columns).where(~extracted)


def _pages(
    store: Store, settings: ExtractionSettings, as_of: datetime, within: Stretch | None, search: bool
) -> Iterator[tuple[Sequence[Row[Any]], due.Marks, dict[str, Orders]]]:
    """Read due recordings, oldest first in a page, with their marks and the orders of all geometries.

    All of a page is read in one snapshot of the database. The marks of what is not due any more are removed.
    """
    query = _due_query(settings).order_by(Recording.started_at, Recording.recording_id)
    marks = due.NO_MARKS
    while True:
        with store.read() as connection:
            if search:
                inside = [] if within is None else [within.holds(Recording.started_at, Recording.recording_id)]
                page = query.where(Recording.started_at <= as_of, *inside).limit(PAGE)
            else:
                if due.changed_bases(connection, due.EXTRACT, feature_versions(settings)):
                    return  # the marks are of other settings by now
                marks = due.take(connection, WAITING, as_of, within, PAGE)
                page = query.where(Recording.recording_id.in_(marks.causes))
            rows, orders = connection.execute(page).all(), known_orders(connection)
        due.drop_others(store, marks, {row.recording_id for row in rows})
        if rows:
            yield rows, marks, orders
        if marks.is_last if not search else not rows:
            return


def _extract_chunk(
    pool: Any,
    lake_url: str,
    settings: ExtractionSettings,
    chunk: list[Row[Any]],
    orders: dict[str, Orders],
) -> dict[str, Extracted]:
    jobs = sorted((_job(row, orders) for row in chunk), key=lambda job: (job.lake_path, job.lake_row))
    by_quantity = {job.quantity: feature_settings(settings, job.quantity) for job in jobs}
    if len(jobs) < INLINE_RECORDINGS or settings.workers == 1:
        return {done.recording_id: done for done in extract_jobs(lake_url, jobs, by_quantity)}
    share = -(-len(jobs) // settings.workers)
    parts = [jobs[first : first + share] for first in range(0, len(jobs), share)]
    from joblib import delayed

    results = pool(delayed(extract_jobs)(lake_url, part, by_quantity) for part in parts)
    return {done.recording_id: done for part in results for done in part}


def _job(row: Row[Any], orders: dict[str, Orders]) -> Job:
    return Job(
        recording_id=row.recording_id,
        lake_path=row.lake_path,
        lake_row=row.lake_row,
        quantity=row.quantity,
        unit=row.unit,
        sampling_rate_hz=row.sampling_rate_hz,
        rate_is_declared=row.rate_basis == "declared",
        shaft_speed_rpm=row.shaft_speed_rpm,
        speed_is_steady=bool(row.speed_is_steady),
        orders=orders.get(row.geometry_version),
    )


def extract_jobs(lake_url: str, jobs: list[Job], by_quantity: dict[str, FeatureSettings]) -> list[Extracted]:
    """Read and extract recordings; `jobs` are sorted by their place in the lake. Runs in a worker process.

    Recordings of about `SAMPLES_AT_ONCE` samples are in memory and extracted together.
    """
    done: list[Extracted] = []
    waiting: dict[FeatureSettings, list[Recorded]] = {}
    samples = 0
    for recorded in _read_recordings(Lake(lake_url), jobs):
        waiting.setdefault(by_quantity[recorded.job.quantity], []).append(recorded)
        samples += len(recorded.samples)
        if samples >= SAMPLES_AT_ONCE:
            done += _extract_waiting(waiting)
            waiting, samples = {}, 0
    return done + _extract_waiting(waiting)


def _extract_waiting(waiting: dict[FeatureSettings, list[Recorded]]) -> list[Extracted]:
    return [done for settings, recorded in waiting.items() for done in extract_recordings(recorded, settings)]


def _read_recordings(lake: Lake, jobs: list[Job]) -> Iterator[Recorded]:
    by_path: dict[str, dict[int, Job]] = {}
    for job in jobs:
        by_path.setdefault(job.lake_path, {})[job.lake_row] = job
    for path, jobs_by_row in by_path.items():
        for row, values in lake.rows(path, jobs_by_row, columns=["samples", "speed_trace_rpm", "speed_trace_rate_hz"]):
            yield Recorded(jobs_by_row[row], values["samples"].values.to_numpy(zero_copy_only=False), _trace(values))


def _trace(values: dict[str, Any]) -> Trace | None:
    speed, rate = values["speed_trace_rpm"], values["speed_trace_rate_hz"].as_py()
    if not speed.is_valid or rate is None:
        return None
    return Trace(speed.values.to_numpy(zero_copy_only=False), float(rate))


def _commit(
    store: Store,
    lake: Lake,
    settings: ExtractionSettings,
    chunk: list[Row[Any]],
    done: dict[str, Extracted],
    marks: due.Marks,
    as_of: datetime,
    report: ExtractReport,
) -> None:
    """Write features, and mark them for the steps that read them."""
    files: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for quantity in sorted({row.quantity for row in chunk}):
        names = feature_names(feature_settings(settings, quantity))
        members = [row for row in chunk if row.quantity == quantity]
        table, firsts = feature_table([done[row.recording_id] for row in members], names)
        path = None
        if table.num_rows:
            path, size = lake.put_table("features", table)
            files.append(
                {"path": path, "kind": "features", "size_bytes": size, "n_rows": table.num_rows, "known_at": as_of}
            )
        for row, first in zip(members, firsts, strict=True):
            rows.append(_extraction_row(row, done[row.recording_id], settings, path, first, as_of))
    with store.write() as connection:
        insert_ignore(connection, LakeFile, sorted(files, key=lambda file: str(file["path"])))
        new = set(insert_new(connection, Extraction, sorted(rows, key=lambda row: str(row["recording_id"]))))
        # What another run was faster with has its marks from there, and they may be worked off.
        due.mark_features(connection, [row for row in rows if row["recording_id"] in new])
        due.done(connection, marks, [row.recording_id for row in chunk])
    report.recordings += len(rows)
    for extraction in rows:
        report.windows += extraction["n_windows"]
        report.by_quality[extraction["quality"]] = report.by_quality.get(extraction["quality"], 0) + 1


def feature_table(extracted: Sequence[Extracted], names: Sequence[str]) -> tuple[pa.Table, list[int]]:
    """Return one table with the windows of all recordings, and the number of each recording's first row."""
    counts = [len(item.starts) for item in extracted]
    firsts = [0, *np.cumsum(counts).tolist()][:-1]
    values = np.concatenate([item.values for item in extracted]) if extracted else np.empty((0, len(names)), np.float32)
    columns: dict[str, Any] = {
        "recording_id": pa.array([item.recording_id for item in extracted for _ in item.starts], pa.string()),
        "start_sample": pa.array(np.concatenate([item.starts for item in extracted]), pa.int64()),
        "n_window_samples": pa.array(np.concatenate([item.lengths for item in extracted]), pa.int64()),
        "turns_covered": pa.array(np.concatenate([item.turns_covered for item in extracted]), pa.float64()),
        "quality": pa.array([str(code) for item in extracted for code in item.quality], pa.string()),
        "evidence": pa.array([text for item in extracted for text in item.evidence], pa.string()),
    }
    columns |= {name: pa.array(np.ascontiguousarray(values[:, index])) for index, name in enumerate(names)}
    return pa.table(columns), firsts


def _extraction_row(
    row: Row[Any], item: Extracted, settings: ExtractionSettings, path: str | None, first: int, as_of: datetime
) -> dict[str, Any]:
    quality, evidence, velocity_rms, speed = Quality.TOO_SHORT, f"{row.n_samples} samples", None, None
    if item.quality:
        worst = min(range(len(item.quality)), key=lambda index: WORST_FIRST.index(item.quality[index]))
        quality, evidence = item.quality[worst], item.evidence[worst]
        velocity_rms = None if quality.blocks else item.velocity_rms_mm_s
        speed = item.measured_speed_rpm
    regime = regime_of(
        row.program,
        row.shaft_speed_rpm,
        row.load,
        speed_bin_rpm=settings.regime_speed_bin_rpm,
        load_bin=settings.regime_load_bin,
    )
    return {
        "recording_id": row.recording_id,
        "feature_version": row.feature_version,
        "geometry_version": row.geometry_version,
        "axis_id": row.axis_id,
        "channel": row.channel,
        "scope": scope_of(row.quantity, row.unit),
        "started_at": row.started_at,
        "unit_serial": row.unit_serial or row.on_axis,
        "regime": regime,
        "quality": str(quality),
        "evidence": evidence,
        "velocity_rms_mm_s": velocity_rms,
        "measured_speed_rpm": speed,
        "n_windows": len(item.starts),
        "lake_path": path if len(item.starts) else None,
        "lake_row": first,
        "known_at": as_of,
    }
