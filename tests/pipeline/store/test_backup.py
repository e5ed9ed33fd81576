"""Backup and restore: database and lake of one moment, while runs and retention go on; the next run ends the same."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.base.settings import Settings
from pipeline.doctor.examine import examine
from pipeline.doctor.finding import Patient
from pipeline.extraction.extract import extract_due
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.store.backup import backup, restore
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.retention import apply_retention, named_files
from pipeline.store.tables import LakeFile, Recording

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
Drop = Callable[[int, datetime], Path]


@pytest.fixture(autouse=True)
def client_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump of the server's own version."""
    import pgserver

    programs = Path(pgserver.__file__).parent / "pginstall" / "bin"
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def elsewhere(store: Store, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a second database of the same kind, with nothing in it."""
    if store.is_sqlite:
        yield f"sqlite:///{tmp_path / 'restored' / 'axiswatch.db'}"
        return
    server = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def drop(landing: Path, make_row: Callable[..., dict[str, Any]], write_log: Callable[..., Path]) -> Drop:
    """Drop a log file of four recordings."""

    def write(number: int, day: datetime) -> Path:
        rows = [make_row(number, started_at=day + timedelta(minutes=minute)) for minute in range(4)]
        return write_log(landing / f"{number}.parquet", rows)

    return write


@pytest.fixture
def run(landing: Path, limits: Limits, make_settings: Callable[..., Settings]) -> Callable[[Store, Lake], None]:
    """Take and extract what is in the landing zone."""

    def once(store: Store, lake: Lake) -> None:
        acquire(store, lake, landing, limits=limits, settled_before=AS_OF)
        extract_due(store, lake, make_settings(), as_of=AS_OF)

    return once


def test_the_drill(
    store: Store,
    lake: Lake,
    landing: Path,
    drop: Drop,
    run: Any,
    dump: Any,
    elsewhere: str,
    tmp_path: Path,
    make_settings: Any,
) -> None:
    """Back up, lose everything, restore: the doctor finds nothing, and the next run ends as if nothing had been."""
    drop(1, AS_OF - timedelta(hours=5))
    run(store, lake)
    first = backup(store, lake, tmp_path / "kept")
    drop(2, AS_OF - timedelta(hours=4))
    run(store, lake)
    second = backup(store, lake, tmp_path / "kept")
    assert (first["files"], second["files_known"]) == (2, 2), "only what is new is copied again"
    before = dump(store)
    files = {path: lake.read(path) for path, _ in lake.files()}
    gone = Lake(str(tmp_path / "gone"))
    told = restore(tmp_path / "kept", elsewhere, gone)
    again = Store.open(elsewhere)
    try:
        assert told["files"] == len(files) == 4
        assert dump(again) == before
        assert {path: gone.read(path) for path, _ in gone.files()} == files
        settings = make_settings(database_url=elsewhere, lake_url=gone.root, landing=landing)
        found = examine(Patient(settings, AS_OF, datetime.now(UTC), 30.0, "", "", ""))
        assert {one.check for one in found if one.state == "fault"} == {"champion"}, "nobody has trained one"
        drop(3, AS_OF - timedelta(hours=3))
        for one, place in ((store, lake), (again, gone)):
            run(one, place)
        assert dump(again) == dump(store)
    finally:
        again.dispose()


def test_a_backup_while_runs_go_on_is_whole(
    store: Store, lake: Lake, drop: Drop, run: Any, elsewhere: str, tmp_path: Path
) -> None:
    """Each row of the restored database finds its file, at whatever moment the copy was made."""
    over = threading.Event()

    def work() -> None:
        for number in range(40):
            if over.is_set():
                return
            drop(number, AS_OF - timedelta(days=1) + timedelta(minutes=5 * number))
            run(store, lake)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        copied = [backup(store, lake, tmp_path / "kept")["files"] for _ in range(4)]
    finally:
        over.set()
        worker.join()
    assert sum(copied[1:]) > 0, "the run went on meanwhile"
    gone = Lake(str(tmp_path / "gone"))
    restore(tmp_path / "kept", elsewhere, gone)
    again = Store.open(elsewhere)
    with again.read() as connection:
        assert named_files(connection) == {path for path, _ in gone.files()}
        for row in connection.execute(sa.select(Recording.lake_path, Recording.lake_row)):
            assert next(gone.rows(row.lake_path, [row.lake_row], ["samples"]))
    again.dispose()


class Meanwhile(Lake):
    """A lake in which something happens just before a file is read for the first time."""

    def __init__(self, url: str, act: Callable[[], object]) -> None:
        super().__init__(url)
        self.act, self.times = act, 0

    def open(self, path: str) -> BinaryIO:
        self.times += 1
        if self.times == 1:
            self.act()
        return super().open(path)


def test_retention_during_a_backup_begins_it_again(
    store: Store, lake: Lake, drop: Drop, run: Any, dump: Any, elsewhere: str, tmp_path: Path, make_settings: Any
) -> None:
    """It deletes files that the copied database names: that copy would not be whole, the next one is."""
    drop(1, datetime(2025, 12, 10, tzinfo=UTC))
    run(store, lake)
    drop(2, AS_OF - timedelta(hours=4))
    run(store, lake)
    settings = make_settings(retention_months=1)

    def retain() -> None:
        done = apply_retention(store, lake, settings, case_gap=timedelta(days=1), as_of=AS_OF, dry_run=False)
        assert done.files > 0

    backup(store, Meanwhile(lake.root, retain), tmp_path / "kept")
    gone = Lake(str(tmp_path / "gone"))
    restore(tmp_path / "kept", elsewhere, gone)
    again = Store.open(elsewhere)
    assert dump(again) == dump(store)
    with again.read() as connection:
        assert named_files(connection) <= {path for path, _ in gone.files()}
    again.dispose()


def test_a_file_that_is_lost_is_told_and_the_rest_is_copied(
    store: Store, lake: Lake, drop: Drop, run: Any, tmp_path: Path
) -> None:
    drop(1, AS_OF - timedelta(hours=4))
    run(store, lake)
    with store.read() as connection:
        path = connection.scalar(sa.select(LakeFile.path).order_by(LakeFile.path)) or ""
    lake.remove(path)
    with pytest.raises(AxiswatchError, match=f"1 files .*{path}"):
        backup(store, lake, tmp_path / "kept")
    assert len(list(Lake(str(tmp_path / "kept" / "lake")).files())) == 1


def test_a_backup_that_fails_leaves_the_one_before(
    store: Store, lake: Lake, drop: Drop, run: Any, dump: Any, elsewhere: str, tmp_path: Path
) -> None:
    drop(1, AS_OF - timedelta(hours=5))
    run(store, lake)
    kept = tmp_path / "kept"
    backup(store, lake, kept)
    before = dump(store)
    drop(2, AS_OF - timedelta(hours=4))
    run(store, lake)
    shutil.rmtree(kept / "lake" / "aside")
    (kept / "lake" / "aside").write_text("in the way")
    with pytest.raises(AxiswatchError, match="cannot write"):
        backup(store, lake, kept)
    (kept / "lake" / "aside").unlink()
    restore(kept, elsewhere, Lake(str(tmp_path / "gone")))
    again = Store.open(elsewhere)
    assert dump(again) == before
    again.dispose()


def test_what_restore_refuses(
    store: Store, store_url: str, lake: Lake, drop: Drop, run: Any, elsewhere: str, tmp_path: Path
) -> None:
    """A database that is there, no backup, and files that were damaged in the backup."""
    drop(1, AS_OF - timedelta(hours=4))
    run(store, lake)
    kept = tmp_path / "kept"
    backup(store, lake, kept)
    with pytest.raises(AxiswatchError, match="already"):
        restore(kept, store_url, lake)
    with pytest.raises(PrerequisiteMissing, match="give the folder of a backup"):
        restore(tmp_path, elsewhere, lake)
    with store.read() as connection:
        path = kept / "lake" / (connection.scalar(sa.select(LakeFile.path)) or "")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    gone = Lake(str(tmp_path / "gone"))
    with pytest.raises(AxiswatchError, match="1 files of the backup"):
        restore(kept, elsewhere, gone)


def test_a_damaged_file_of_the_lake_is_brought_back(
    store: Store, lake: Lake, drop: Drop, run: Any, elsewhere: str, tmp_path: Path
) -> None:
    """What the lake still has is not copied, what is damaged in it is."""
    drop(1, AS_OF - timedelta(hours=4))
    run(store, lake)
    backup(store, lake, tmp_path / "kept")
    with store.read() as connection:
        path = connection.scalar(sa.select(LakeFile.path)) or ""
    data = lake.read(path)
    Path(lake.root, path).write_bytes(data[:-1])
    assert restore(tmp_path / "kept", elsewhere, lake)["files"] == 1
    assert lake.read(path) == data


def test_the_lake_alone(store: Store, lake: Lake, drop: Drop, run: Any, tmp_path: Path) -> None:
    """Where the plant's own tool copies the database."""
    drop(1, AS_OF - timedelta(hours=4))
    run(store, lake)
    assert backup(store, lake, tmp_path / "kept", files_only=True)["files"] == 2
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["lake"]
