"""Retention: delete old recordings, features and scores, from the database and from the lake.

Some old recordings stay because they are still needed: those with a label (training reads them), and those of a
baseline period (another feature version computes that baseline again). Of axis states the newest of each axis stays,
and what cases rest on. Cases, labels and baselines stay for ever. Rows are deleted first, in transactions; then the
files that no row names any more, and of others the rows that nobody needs (`pipeline.store.repack`). A run that is
killed in between leaves files that `axiswatch lake sweep` deletes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import SettingsError
from pipeline.base.ids import stable_id
from pipeline.base.settings import PlaceSettings
from pipeline.store import due
from pipeline.store.attribution import attributed_unit, recordings
from pipeline.store.database import Store, partition_name
from pipeline.store.horizon import DATA, SCORES, models_deleted, note_pruning
from pipeline.store.lake import Lake
from pipeline.store.repack import repack
from pipeline.store.tables import (
    Axis,
    AxisState,
    Baseline,
    Case,
    DueWork,
    Extraction,
    Label,
    LakeFile,
    LandingEntry,
    LogFile,
    ModelVersion,
    QuarantineRow,
    Recording,
    Score,
    Scoring,
    TrendPoint,
)


def sweep_lake(store: Store, lake: Lake, *, older_than: datetime) -> int:
    """Delete files of the lake that no row names and that are older than a time; return their number."""
    with store.read() as connection:
        committed = named_files(connection)
    return lake.sweep(committed, older_than=older_than)


def named_files(connection: Connection) -> set[str]:
    """Return the paths of all files of the lake that rows name."""
    named = set(connection.scalars(sa.select(LakeFile.path)))
    query = sa.select(ModelVersion.lake_prefix, ModelVersion.settings)
    kept = ModelVersion.model_version.not_in(list(models_deleted(connection)))
    for row in connection.execute(query.where(kept)):
        named |= {f"{row.lake_prefix}/{name}" for name in row.settings["files"]}
    return named


PAGE = 1000
AXES_PAGE = 50
PRUNED = (Score, Scoring, TrendPoint, Extraction, Recording, AxisState, LakeFile, LogFile, DueWork)
"""Tables that rows are deleted from."""


@dataclass
class RetentionReport:
    """Counts of one run; `before` is the start of the oldest month that is kept."""

    before: str = ""
    recordings: int = 0
    kept_labelled: int = 0
    states: int = 0
    log_files: int = 0
    partitions: int = 0
    files: int = 0
    repacked: int = 0
    size_bytes: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return asdict(self)


def first_month_kept(as_of: datetime, months: int) -> datetime:
    """Return the start of the oldest month that is kept whole: `months` months before the month of `as_of`."""
    moment = as_of.astimezone(UTC)
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)


def apply_retention(
    store: Store, lake: Lake, settings: PlaceSettings, *, case_gap: timedelta, as_of: datetime, dry_run: bool
) -> RetentionReport:
    """Delete what is older than `retention_months`; with `dry_run` only count it.

    Parameters
    ----------
    case_gap
        Quiet time after which a flagged bin is a new episode (`case_gap_hours`): states so near to a case stay.

    Raises
    ------
    SettingsError
        `retention_months` is 0, which means that everything is kept.
    """
    if settings.retention_months == 0:
        raise SettingsError("retention_months is 0, which keeps everything; set it to the whole months to keep")
    limit = first_month_kept(as_of, settings.retention_months)
    report = RetentionReport(before=limit.isoformat())
    with store.read() as connection:
        needed = _needed(limit)
        old = sa.select(sa.func.count()).select_from(Recording).where(Recording.started_at < limit)
        all_old = connection.scalar(old) or 0
        report.kept_labelled = connection.scalar(sa.select(sa.func.count()).select_from(needed.subquery())) or 0
        report.recordings = all_old - report.kept_labelled
    if report.recordings and not dry_run:
        with store.write() as connection:
            note_pruning(connection, DATA, limit, as_of=as_of)
    report.states = _drop_states(store, limit, case_gap, dry_run=dry_run)
    if dry_run or not report.recordings:
        return report
    if not store.is_sqlite:
        report.partitions = _drop_partitions(store, limit)
    while (dropped := _drop_page(store, limit)) is not None:
        for path, size in dropped.items():
            lake.remove(path)
            report.files += 1
            report.size_bytes += size
    report.repacked, freed = repack(store, lake, limit, as_of=as_of)
    report.size_bytes += freed
    report.log_files = _drop_log_files(store, limit)
    return report


@dataclass
class SupersededReport:
    """Counts of one run: versions that gave up scores, and recordings whose scores of such a version were deleted."""

    versions: int = 0
    scorings: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return asdict(self)


def prune_scores(
    store: Store, versions: Mapping[str, datetime], *, as_of: datetime, dry_run: bool = False
) -> SupersededReport:
    """Delete the scores of models; with `dry_run` only count them.

    What cases quote (their axis, from first to last flagged recording) stays. States, decisions and the payback hold
    their own figures.

    Parameters
    ----------
    versions
        Each with the time until which it was champion: a run for a time before that is refused from then on.
    """
    report = SupersededReport()
    for version, until in sorted(versions.items()):
        found = 0
        quoted = sa.exists().where(
            Case.axis_id == Scoring.axis_id, Case.first_at <= Scoring.started_at, Case.last_at >= Scoring.started_at
        )
        mine = (Scoring.model_version == version, sa.not_(quoted))
        if dry_run:
            with store.read() as connection:
                found = connection.scalar(sa.select(sa.func.count()).select_from(Scoring).where(*mine)) or 0
        while not dry_run:
            with store.write() as connection:
                page = sa.select(Scoring.recording_id, Scoring.started_at).where(*mine).order_by(Scoring.started_at)
                rows = connection.execute(page.limit(PAGE)).all()
                ids = {row.recording_id for row in rows}
                if not ids:
                    break
                note_pruning(connection, SCORES, until, as_of=as_of, name=version)
                span = (Score.started_at >= rows[0].started_at, Score.started_at <= rows[-1].started_at)
                for table, where in ((Score, span), (Scoring, ())):
                    own = (table.model_version == version, table.recording_id.in_(ids), *where)
                    connection.execute(sa.delete(table).where(*own))
                found += len(rows)
        report.versions += bool(found)
        report.scorings += found
    return report


def _needed(limit: datetime) -> sa.Select[Any]:
    """SQL: ids of old recordings that training or a baseline may read again."""
    unit = attributed_unit()
    labelled = sa.exists().where(
        sa.or_(Label.unit_serial.is_(None), Label.unit_serial == unit),
        sa.or_(Label.axis_id.is_(None), Label.axis_id == Recording.axis_id),
        sa.or_(Label.channel.is_(None), Label.channel == Recording.channel),
        Label.from_at <= Recording.started_at,
        Label.to_at > Recording.started_at,
    )
    first_days = sa.exists().where(
        Baseline.axis_id == Recording.axis_id,
        Baseline.unit_serial.is_not_distinct_from(unit),
        Baseline.from_at <= Recording.started_at,
        Baseline.to_at > Recording.started_at,
    )
    needed = recordings(Recording.recording_id)
    return needed.where(Recording.started_at < limit, sa.or_(labelled, first_days))


def _drop_states(store: Store, limit: datetime, gap: timedelta, *, dry_run: bool) -> int:
    """Delete old states of axes; return their number.

    The newest of each axis stays: it says what is known of it. So do those of a case, and `gap` on both sides of it: by
    them a corrected verdict finds the same cases again.
    """
    with store.read() as connection:
        axes = connection.scalars(sa.select(Axis.axis_id).order_by(Axis.axis_id)).all()
    dropped = 0
    for page in (axes[start : start + AXES_PAGE] for start in range(0, len(axes), AXES_PAGE)):
        with store.read() if dry_run else store.write() as connection:
            cases: dict[str, list[tuple[datetime, datetime]]] = {}
            of_page = (Case.axis_id.in_(page), Case.first_at < limit + gap)
            for row in connection.execute(sa.select(Case.axis_id, Case.first_at, Case.last_at).where(*of_page)):
                cases.setdefault(row.axis_id, []).append((row.first_at - gap, row.last_at + gap))
            newest = sa.func.max(AxisState.bin_at, type_=AxisState.bin_at.type).label("bin_at")
            mine = AxisState.axis_id.in_(page)
            last = sa.select(AxisState.axis_id, newest).where(mine).group_by(AxisState.axis_id).subquery()
            old = sa.select(AxisState.axis_id, AxisState.bin_at, AxisState.first_at, AxisState.last_at).join(
                last, sa.and_(last.c.axis_id == AxisState.axis_id, AxisState.bin_at < last.c.bin_at)
            )
            gone = [
                {"axis": row.axis_id, "bin": row.bin_at}
                for row in connection.execute(old.where(mine, AxisState.bin_at < limit))
                if not any(row.last_at >= start and row.first_at <= end for start, end in cases.get(row.axis_id, ()))
            ]
            if gone and not dry_run:
                one = (AxisState.axis_id == sa.bindparam("axis"), AxisState.bin_at == sa.bindparam("bin"))
                connection.execute(sa.delete(AxisState).where(*one), gone)
            dropped += len(gone)
    return dropped


def _drop_log_files(store: Store, limit: datetime) -> int:
    """Delete the rows of old log files of which nothing is left, neither here nor in the landing zone."""
    named = [sa.select(table.file_hash) for table in (Recording, LandingEntry, QuarantineRow)]
    unused = [LogFile.file_hash.not_in(hashes) for hashes in named]
    with store.write() as connection:
        return connection.execute(sa.delete(LogFile).where(LogFile.known_at < limit, *unused)).rowcount


def _drop_partitions(store: Store, limit: datetime) -> int:
    """Drop the score table's partitions of old months, labelled recordings included; return their number."""
    with store.write() as connection:
        names = set(sa.inspect(connection).get_table_names())
        start = connection.scalar(sa.select(sa.func.min(Score.started_at, type_=Score.started_at.type)))
        old = []
        month = limit
        while start is not None and month > start:
            month = first_month_kept(month, 1)
            old.append(partition_name(month.year, month.month))
        dropped = [name for name in old if name in names]
        for name in dropped:
            connection.exec_driver_sql(f"DROP TABLE {name}")
    return len(dropped)


def _drop_page(store: Store, limit: datetime) -> dict[str, int] | None:
    """Delete the rows of some old recordings, and of the files that no row names after that.

    Return those files with their sizes; None where nothing was left to delete.
    """
    with store.write() as connection:
        ids = connection.scalars(
            sa.select(Recording.recording_id)
            .where(Recording.started_at < limit, Recording.recording_id.not_in(_needed(limit)))
            .order_by(Recording.started_at)
            .limit(PAGE)
        ).all()
        if not ids:
            return None
        paths = set(connection.scalars(sa.select(Recording.lake_path).where(Recording.recording_id.in_(ids))))
        features = sa.select(Extraction.lake_path).where(Extraction.recording_id.in_(ids))
        paths |= {path for path in connection.scalars(features) if path is not None}
        _mark_courses(connection, ids)
        for table in (Score, Scoring, TrendPoint, Extraction, Recording):
            connection.execute(sa.delete(table).where(table.recording_id.in_(ids)))
        connection.execute(sa.delete(DueWork).where(DueWork.subject.in_(ids)))
        return _drop_files(connection, paths)


def _mark_courses(connection: Connection, ids: Sequence[str]) -> None:
    """Mark the trends that lose the points of some recordings."""
    key = (TrendPoint.axis_id, TrendPoint.unit_serial, TrendPoint.channel, TrendPoint.feature_version)
    first = sa.func.min(TrendPoint.started_at, type_=TrendPoint.started_at.type)
    found = connection.execute(sa.select(*key, first).where(TrendPoint.recording_id.in_(ids)).group_by(*key))
    series = {(axis, unit, channel, version): at for axis, unit, channel, version, at in found}
    due.mark_courses(connection, series, stable_id(*sorted(ids)))


def _drop_files(connection: Connection, paths: set[str]) -> dict[str, int]:
    """Delete the rows of files that no recording and no extraction names; return their sizes by path."""
    used = set(connection.scalars(sa.select(Recording.lake_path).where(Recording.lake_path.in_(paths))))
    used |= {
        str(path) for path in connection.scalars(sa.select(Extraction.lake_path).where(Extraction.lake_path.in_(paths)))
    }
    free = paths - used
    query = sa.select(LakeFile.path, LakeFile.size_bytes).where(LakeFile.path.in_(free))
    sizes = {row.path: row.size_bytes for row in connection.execute(query)}
    connection.execute(sa.delete(LakeFile).where(LakeFile.path.in_(free)))
    return sizes
