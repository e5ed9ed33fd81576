"""Retention drops old months from database and lake together, and keeps what training and baselines need."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError, SettingsError
from pipeline.base.settings import Settings
from pipeline.extraction.extract import extract_due
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.registry.versions import set_alias, superseded
from pipeline.steps import retain
from pipeline.store import due
from pipeline.store.database import Store, bulk_insert, create_database, ensure_partitions
from pipeline.store.horizon import refuse_pruned, refuse_pruned_model
from pipeline.store.lake import Lake
from pipeline.store.retention import PRUNED, apply_retention, first_month_kept, prune_scores, sweep_lake
from pipeline.store.tables import (
    Axis,
    AxisState,
    Baseline,
    Case,
    Extraction,
    Label,
    LakeFile,
    LandingEntry,
    LogFile,
    ModelVersion,
    Recording,
    Score,
    Scoring,
    TrendPoint,
)
from pipeline.workplace import Workplace

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
FIRST = datetime(2025, 12, 21, tzinfo=UTC)
GAP = timedelta(hours=48)


@pytest.mark.parametrize(
    ("months", "wanted"), [(1, (2026, 2)), (2, (2026, 1)), (3, (2025, 12)), (14, (2025, 1)), (15, (2024, 12))]
)
def test_whole_months_are_kept(months: int, wanted: tuple[int, int]) -> None:
    assert first_month_kept(AS_OF + timedelta(days=9), months) == datetime(*wanted, 1, tzinfo=UTC)


def score(recording: Any) -> dict[str, Any]:
    """A score of a recording without figures."""
    null = {column.name: None for column in Score.__table__.columns if column.nullable}
    return null | {
        "started_at": recording.started_at,
        "recording_id": recording.recording_id,
        "start_sample": 0,
        "feature_version": "f",
        "geometry_version": "none",
        "baseline_version": "",
        "model_version": "m",
        "axis_id": recording.axis_id,
        "channel": recording.channel,
        "n_window_samples": 1,
        "n_missing_features": 0,
        "regime": "*",
        "quality": "ok",
        "evidence": "",
        "known_at": AS_OF,
    }


@pytest.fixture
def filled(
    store: Store,
    lake: Lake,
    landing: Path,
    limits: Limits,
    make_row: Callable[..., dict[str, Any]],
    write_log: Callable[..., Path],
    make_settings: Callable[..., Settings],
) -> Settings:
    """Recordings in December, January and February, all scored; some of the 10th of December labelled."""
    days = [datetime(2025, 12, 10, tzinfo=UTC), datetime(2025, 12, 20, tzinfo=UTC), datetime(2026, 1, 20, tzinfo=UTC)]
    for day in [*days, datetime(2026, 2, 20, tzinfo=UTC)]:
        rows = [make_row(number, started_at=day + timedelta(minutes=number)) for number in range(4)]
        write_log(landing / f"{day:%m%d}.parquet", rows)
    settings = make_settings(retention_months=2, lake_url=lake.root)
    acquire(store, lake, landing, limits=limits, settled_before=AS_OF)
    extract_due(store, lake, settings.model_copy(update={"extract_chunk_samples": 1}), as_of=AS_OF)
    with store.read() as connection:
        rows = [score(row) for row in connection.execute(sa.select(Recording))]
        axis = rows[0]["axis_id"]
    ensure_partitions(store, {row["started_at"] for row in rows})
    with store.write() as connection:
        bulk_insert(connection, Score, rows)
        label = {
            "label_id": "l1",
            "axis_id": axis,
            "from_at": days[0],
            "to_at": days[0] + timedelta(minutes=2),
            "verdict": "healthy",
            "evidence": "teardown",
            "note": "",
            "who": "somebody",
            "known_at": AS_OF,
        }
        connection.execute(sa.insert(Label), label)
    return settings


def counts(store: Store) -> list[int]:
    with store.read() as connection:
        tables = (Recording, Extraction, Score)
        return [connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables]


def contents(store: Store, lake: Lake) -> dict[tuple[str, ...], Any]:
    """Samples and features by recording, as the lake has them where the database says."""
    found: dict[tuple[str, ...], Any] = {}
    with store.read() as connection:
        for row in connection.execute(sa.select(Recording)):
            found["samples", row.recording_id] = lake.table(row.lake_path).slice(row.lake_row, 1).to_pylist()
        for row in connection.execute(sa.select(Extraction)):
            windows = lake.table(row.lake_path).slice(row.lake_row, row.n_windows)
            found["features", row.recording_id] = str(windows.to_pylist())
    return found


def committed(store: Store) -> set[str]:
    with store.read() as connection:
        return set(connection.scalars(sa.select(LakeFile.path)))


def test_old_months_go_from_database_and_lake_and_labelled_recordings_stay(
    store: Store, lake: Lake, filled: Settings
) -> None:
    assert counts(store) == [16, 16, 16]
    before, content = committed(store), contents(store, lake)
    told = apply_retention(store, lake, filled, case_gap=GAP, as_of=AS_OF, dry_run=True)
    assert (told.recordings, told.kept_labelled, told.files) == (6, 2, 0)
    assert counts(store) == [16, 16, 16]
    refuse_pruned(store, datetime(2025, 12, 31, tzinfo=UTC))
    with store.write() as connection:
        connection.execute(sa.update(LogFile).values(known_at=sa.case((LogFile.path < "1", AS_OF), else_=FIRST)))
        connection.execute(sa.delete(LandingEntry).where(LandingEntry.path == "1220.parquet"))
    done = apply_retention(store, lake, filled, case_gap=GAP, as_of=AS_OF, dry_run=False)
    with pytest.raises(SettingsError, match="can be answered is 2026-01-01T00:00:00Z"):
        refuse_pruned(store, datetime(2025, 12, 31, tzinfo=UTC))
    refuse_pruned(store, datetime(2026, 1, 1, tzinfo=UTC))
    scores = 8 if not store.is_sqlite else 10
    assert counts(store) == [10, 10, scores], "on PostgreSQL the month goes whole"
    assert done.partitions == (0 if store.is_sqlite else 1)
    with store.read() as connection:
        names = sorted(connection.scalars(sa.select(LogFile.path)))
    assert done.log_files == 1
    assert names == ["0120.parquet", "0220.parquet", "1210.parquet"], (
        "nothing is left of 1220; of 1210 what has a label"
    )
    left = committed(store)
    assert done.repacked == 1, "the file with signals of the 10th of December; features have a file each here"
    assert len(before - left) == done.files + done.repacked > 1
    assert contents(store, lake).items() <= content.items(), "samples and features of what is left are as they were"
    assert {path for path, _ in lake.files()} == left, "no file without a row, and no row without a file"
    again = apply_retention(store, lake, filled, case_gap=GAP, as_of=AS_OF, dry_run=False)
    assert (again.recordings, again.files) == (0, 0)


def test_of_a_file_of_features_the_needed_rows_stay(
    store: Store, lake: Lake, filled: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file for a batch of many recordings. A run that is killed in between leaves an orphan and no more."""
    with store.write() as connection:
        rows = connection.execute(sa.select(Extraction).order_by(Extraction.started_at)).all()
        parts = [lake.table(row.lake_path).slice(row.lake_row, row.n_windows) for row in rows]
        path, size = lake.put_table("features", pa.concat_tables(parts))
        about = {"kind": "features", "n_rows": sum(part.num_rows for part in parts), "known_at": FIRST}
        connection.execute(sa.insert(LakeFile), about | {"path": path, "size_bytes": size})
        for number, row in enumerate(rows):
            first = sum(part.num_rows for part in parts[:number])
            mine = sa.update(Extraction).where(Extraction.recording_id == row.recording_id)
            connection.execute(mine.values(lake_path=path, lake_row=first))
        connection.execute(sa.delete(LakeFile).where(LakeFile.kind == "features", LakeFile.path != path))
        late = Recording.started_at > AS_OF - timedelta(days=20)
        found = connection.scalars(sa.select(Recording.recording_id).where(late)).all()
        for table in (Score, Scoring, TrendPoint, Extraction, Recording):
            connection.execute(sa.delete(table).where(table.recording_id.in_(found)))
    content = contents(store, lake)
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(lake, "remove", _killed_at(path, lake.remove))
        apply_retention(store, lake, filled, case_gap=GAP, as_of=AS_OF, dry_run=False)
    assert path not in committed(store)
    left = contents(store, lake)
    assert left.items() <= content.items()
    assert len(left) == 2 * 6
    assert sweep_lake(store, lake, older_than=datetime.now(UTC) + timedelta(days=1)) > 0
    assert contents(store, lake) == left
    assert {path for path, _ in lake.files()} == committed(store)


def _killed_at(path: str, remove: Callable[[str], None]) -> Callable[[str], None]:
    def killed(asked: str) -> None:
        if asked == path:
            raise KeyboardInterrupt(asked)
        remove(asked)

    return killed


def test_a_label_keeps_what_it_holds_for_and_no_more(store: Store, lake: Lake, filled: Settings) -> None:
    whole = {"channel": None, "axis_id": None, "unit_serial": "SN-1", "to_at": datetime(2025, 12, 10, 0, 2, tzinfo=UTC)}
    changes: list[tuple[dict[str, Any], int]] = [
        ({}, 2),
        ({"channel": "acc_x"}, 2),
        ({"channel": "acc_y"}, 0),
        ({"unit_serial": "SN-2"}, 0),
        ({"to_at": datetime(2025, 12, 10, 0, 1, tzinfo=UTC)}, 1),
    ]
    for change, kept in changes:
        with store.write() as connection:
            connection.execute(sa.update(Label).values(**whole | change))
        report = apply_retention(store, lake, filled, case_gap=GAP, as_of=AS_OF, dry_run=True)
        assert (report.kept_labelled, report.recordings) == (kept, 8 - kept), change


def test_the_recordings_of_a_units_baseline_period_stay(store: Store, lake: Lake, filled: Settings) -> None:
    """Another feature version makes the baseline anew from them. The end of the period is not in it."""
    first = datetime(2025, 12, 20, tzinfo=UTC)
    with store.write() as connection:
        connection.execute(sa.delete(Label))
        axis = dict(connection.execute(sa.select(Axis)).one()._mapping)
        connection.execute(sa.insert(Axis), axis | {"axis_id": "other", "axis": "A2"})
        baseline = {
            "baseline_version": "b1",
            "axis_id": axis["axis_id"],
            "unit_serial": "SN-1",
            "channel": "acc_x",
            "regime": "*|*|*",
            "scope": "acceleration",
            "feature_version": "an older one",
            "geometry_version": "none",
            "from_at": first,
            "to_at": first + timedelta(minutes=3),
            "n_recordings": 3,
            "n_windows": 3,
            "median": [],
            "spread": [],
            "known_at": AS_OF,
        }
        connection.execute(sa.insert(Baseline), baseline)
    for change in ({"unit_serial": "SN-2"}, {"unit_serial": None}, {"axis_id": "other"}):
        with store.write() as connection:
            connection.execute(sa.update(Baseline).values(**change))
        assert apply_retention(store, lake, filled, case_gap=GAP, as_of=AS_OF, dry_run=True).recordings == 8, change
        with store.write() as connection:
            connection.execute(sa.update(Baseline).values(unit_serial="SN-1", axis_id=axis["axis_id"]))
    apply_retention(store, lake, filled, case_gap=GAP, as_of=AS_OF, dry_run=False)
    with store.read() as connection:
        old = sa.select(Recording.started_at).where(Recording.started_at < datetime(2026, 1, 1, tzinfo=UTC))
        left = connection.scalars(old.order_by(Recording.started_at)).all()
    assert left == [first + timedelta(minutes=minute) for minute in range(3)]


def test_without_a_setting_nothing_goes(store: Store, lake: Lake, make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match="retention_months"):
        apply_retention(store, lake, make_settings(), case_gap=GAP, as_of=AS_OF, dry_run=False)


def test_a_database_is_created_once(postgres: Any) -> None:
    url = postgres.url("made-by-us")
    assert [create_database(url), create_database(url)] == [True, False]
    store = Store.open(url)
    assert counts(store) == [0, 0, 0]
    store.dispose()
    postgres.drop('"made-by-us"')
    with pytest.raises(AxiswatchError, match="names no PostgreSQL database"):
        create_database("sqlite:///x.db")
    with pytest.raises(AxiswatchError, match="cannot create"):
        create_database("postgresql+psycopg://nobody@127.0.0.1:9/x")


def test_trends_that_lose_points_are_computed_again(store: Store, lake: Lake, filled: Settings) -> None:
    figures = {column.name: None for column in TrendPoint.__table__.columns if column.nullable}
    with store.write() as connection:
        points = [
            figures
            | {name: row._mapping[name] for name in ("recording_id", "axis_id", "channel", "started_at")}
            | {"feature_version": "f", "geometry_version": "none", "unit_serial": row.unit_serial, "regime": "*"}
            | {"baseline_version": "", "baselines_at": AS_OF, "n_windows": 1, "known_at": AS_OF}
            for row in connection.execute(sa.select(Recording))
        ]
        bulk_insert(connection, TrendPoint, points)
    apply_retention(store, lake, filled, case_gap=GAP, as_of=AS_OF, dry_run=False)
    with store.read() as connection:
        left = set(connection.scalars(sa.select(TrendPoint.recording_id)))
        marks = due.take(connection, due.Queue(due.COURSE, version="f"), AS_OF)
    first = min(point["started_at"] for point in points if point["recording_id"] not in left)
    series = {json.dumps([point["axis_id"], point["unit_serial"], point["channel"]]) for point in points}
    assert marks.at == dict.fromkeys(series, first)


def test_scores_of_former_champions_go_and_what_is_quoted_stays(store: Store, filled: Settings) -> None:
    """The champion, the one before it, a challenger and the time of a case keep theirs. On both databases."""
    whole = dict.fromkeys(("one", "two", "three", "other"), 16)
    with store.write() as connection:
        rows = connection.execute(sa.select(Recording).order_by(Recording.started_at)).all()
        connection.execute(sa.delete(Score))
        for version in whole:
            bulk_insert(connection, Score, [score(row) | {"model_version": version} for row in rows])
            names = {"feature_version": "f", "geometry_version": "none", "baseline_version": "", "advised": True}
            scored = [names | {"model_version": version, "known_at": AS_OF} for _ in rows]
            keys = ("recording_id", "axis_id", "started_at")
            bulk_insert(
                connection,
                Scoring,
                [one | {key: row._mapping[key] for key in keys} for one, row in zip(scored, rows, strict=True)],
            )
        case = {"case_id": "c", "axis_id": rows[0].axis_id, "family": "machine", "state": "closed", "reasons": []}
        case |= {"first_at": rows[2].started_at, "last_at": rows[3].started_at, "n_bins": 1, "priority": 0.5}
        connection.execute(sa.insert(Case), case | dict.fromkeys(("known_at", "changed_at"), AS_OF))
        at = AS_OF - timedelta(days=40)
        model = {"scope": "acceleration", "kind": "classification", "feature_version": "f", "lake_prefix": ""}
        model |= {"label_cutoff": at, "known_at": at, "training_data_hash": "", "n_units": 1, "n_windows": 1}
        model |= {"settings": {}, "metrics": {}}
        for version in whole:
            connection.execute(sa.insert(ModelVersion), model | {"model_version": version})
        for number, version in enumerate(("one", "two", "three")):
            told = {"action": "promoted", "who": "mara", "reason": "", "at": at + timedelta(days=10 * number)}
            set_alias(connection, "acceleration", "champion", version, **told)
        set_alias(connection, "acceleration", "challenger", "other", action="kept", who="mara", reason="", at=at)

    def scores() -> dict[str, int]:
        with store.read() as connection:
            found = sa.select(Score.model_version, sa.func.count()).group_by(Score.model_version)
            return dict(connection.execute(found).all())

    early = prune_scores(store, superseded(store, at + timedelta(days=5)), as_of=AS_OF)
    assert (early.scorings, scores()) == (0, whole), "it was champion until then"
    told = prune_scores(store, superseded(store, AS_OF), as_of=AS_OF, dry_run=True)
    assert (told.versions, told.scorings, scores()) == (1, 14, whole)
    with store.read() as connection:
        refuse_pruned_model(connection, "one", at)
    assert prune_scores(store, superseded(store, AS_OF), as_of=AS_OF).scorings == 14
    with store.read() as connection:
        refuse_pruned_model(connection, "one", at + timedelta(days=10))
        with pytest.raises(SettingsError, match="scores of the champion of that time"):
            refuse_pruned_model(connection, "one", at + timedelta(days=9))
    assert scores() == whole | {"one": 2}, "the two that the case quotes"
    assert prune_scores(store, superseded(store, AS_OF), as_of=AS_OF).scorings == 0
    with store.read() as connection:
        left = connection.scalar(sa.select(sa.func.count()).where(Scoring.model_version == "one"))
    assert left == 2


def test_old_states_go_but_for_the_newest_and_what_a_case_rests_on(store: Store, lake: Lake, filled: Settings) -> None:
    """On both databases; a case holds its own states and those within the gap, whatever its family."""
    start, limit = datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    null = {column.name: None for column in AxisState.__table__.columns if column.nullable}
    null |= {"state": "healthy", "n_windows": 1, "quality": "ok", "flags": [], "model_versions": [], "known_at": AS_OF}
    with store.write() as connection:
        own = connection.execute(sa.select(Axis)).one()._mapping
        quiet = own["axis_id"][::-1]
        connection.execute(sa.insert(Axis), dict(own) | {"axis_id": quiet, "axis": "A9"})
        days = [start + timedelta(days=number) for number in range(90)]
        rows = [{"axis_id": own["axis_id"], "bin_at": day} for day in days]
        rows += [{"axis_id": quiet, "bin_at": day} for day in days[:10]]
        bulk_insert(
            connection,
            AxisState,
            [null | row | {"first_at": row["bin_at"], "last_at": row["bin_at"] + timedelta(hours=1)} for row in rows],
        )
        case = {"case_id": "c", "axis_id": own["axis_id"], "family": "audit", "state": "closed", "reasons": []}
        case |= {"first_at": days[10], "last_at": days[12], "n_bins": 1, "priority": 0.5}
        connection.execute(sa.insert(Case), case | dict.fromkeys(("known_at", "changed_at"), AS_OF))
    told = apply_retention(store, lake, filled, case_gap=GAP, as_of=AS_OF, dry_run=True)
    assert told.states == (31 - 7) + 9
    assert apply_retention(store, lake, filled, case_gap=GAP, as_of=AS_OF, dry_run=False).states == told.states
    with store.read() as connection:
        left = connection.execute(sa.select(AxisState.axis_id, AxisState.bin_at).where(AxisState.bin_at < limit))
        kept = {(row.axis_id, (row.bin_at - start).days) for row in left}
        newer = sa.select(sa.func.count()).where(AxisState.bin_at >= limit)
        assert connection.scalar(newer) == 90 - 31
    assert kept == {(own["axis_id"], number) for number in range(8, 15)} | {(quiet, 9)}
    assert apply_retention(store, lake, filled, case_gap=GAP, as_of=AS_OF, dry_run=False).states == 0


def test_what_was_deleted_makes_room(store: Store, lake: Lake, filled: Settings) -> None:
    """SQLite's file becomes smaller once, and then is used again; on PostgreSQL the tables are vacuumed and counted."""
    place = Workplace(filled.model_copy(update={"retention_months": 1}), store, lake)
    with store.write() as connection:
        note = "x" * 200_000
        connection.execute(
            sa.update(Recording).where(Recording.started_at < AS_OF - timedelta(days=30)).values(program=note)
        )
    assert "database" not in retain(place, AS_OF, dry_run=True)
    before = store.reclaim(PRUNED)["size_bytes"]
    done = retain(place, AS_OF)
    assert done["data"]["recordings"] > 0 and done["database"]["vacuumed"]
    if store.is_sqlite:
        assert Path(store.engine.url.database or "").stat().st_size == done["database"]["size_bytes"] < before / 1.5
    else:
        counted = "SELECT reltuples FROM pg_class WHERE relname = 'recordings'"
        with store.read() as connection:
            assert connection.scalar(sa.text(counted)) == connection.scalar(
                sa.select(sa.func.count()).select_from(Recording)
            )
    assert "database" not in retain(place, AS_OF), "nothing was deleted"
    with store.read() as connection:
        assert counts(store)[0] > 0
