"""What scheduled tasks call: batches of files and recordings, decisions of retraining, failures and their webhook."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline import scheduled
from pipeline.base.errors import AxiswatchError, PrerequisiteMissing, SettingsError
from pipeline.handoff.failures import Failure, list_failures, record_failure
from pipeline.handoff.heartbeat import beat, last_beat, report_silence, silence
from pipeline.intake.acquire import acquire, decode_names, encode_name, plan_landing
from pipeline.intake.contract import Limits
from pipeline.steps import MONITOR
from pipeline.store.batches import Stretch, stretches
from pipeline.store.database import Store
from pipeline.store.lake import Lake, LakeUnavailable
from pipeline.store.tables import Heartbeat, LakeFile, Recording
from pipeline.workplace import Workplace, workplace

START = datetime(2026, 1, 5, tzinfo=UTC)
Write = Callable[..., Path]


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


# ------------------------------------------------------------------------------------------------------ batches


@pytest.mark.parametrize("started", [(0, 10), (15, 15)])
def test_a_task_and_what_it_starts_give_way_to_those_that_people_wait_for(
    tmp_path: Path, started: tuple[int, int]
) -> None:
    before, after = started
    code = (
        "import os, subprocess, sys; from datetime import UTC, datetime; from pipeline import scheduled; "
        "scheduled.plan_extract(datetime(2026, 1, 5, tzinfo=UTC)); sys.stdout.flush(); "
        "subprocess.run([sys.executable, '-c', 'import os; print(os.getpriority(os.PRIO_PROCESS, 0))'])"
    )
    environment = os.environ | {"AXISWATCH_HOME": str(tmp_path)}
    command = ["nice", "-n", str(before - os.getpriority(os.PRIO_PROCESS, 0)), sys.executable, "-c", code]
    ended = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.strip()) == (0, str(after)), ended.stderr


def test_batches_hold_a_size_and_keep_the_order() -> None:
    rows = [(at(n), f"r{n}", 4) for n in range(10)]
    found, recordings, size = stretches(rows, size=12, most=10)
    assert [batch["recordings"] for batch in found] == [3, 3, 3, 1]
    assert (recordings, size) == (10, 40)
    assert found[0]["first_id"] == "r0"
    assert found[-1]["last_id"] == "r9"


def test_a_recording_larger_than_a_batch_is_one_and_the_rest_waits() -> None:
    rows = [(at(n), f"r{n}", 100) for n in range(5)]
    found, recordings, _ = stretches(rows, size=10, most=2)
    assert [(batch["first_id"], batch["recordings"]) for batch in found] == [("r0", 1), ("r1", 1)]
    assert recordings == 2
    assert stretches([], size=1, most=1) == ([], 0, 0)


def test_a_stretch_holds_its_ends_and_what_lies_between(store: Store) -> None:
    """Also among recordings that started at the same time. On both databases."""
    told = Stretch(at(1), "b", at(3), "d")
    same = Stretch.from_dict(json.loads(json.dumps({**told.as_dict(), "recordings": 3})))
    assert same == told
    places = [(at(0), "z"), (at(1), "a"), (at(1), "b"), (at(2), "a"), (at(3), "d"), (at(3), "e"), (at(4), "a")]
    with store.read() as connection:
        inside = [
            connection.scalar(
                sa.select(told.holds(sa.literal(time, Recording.started_at.type), sa.literal(name))).limit(1)
            )
            for time, name in places
        ]
    assert [bool(value) for value in inside] == [False, False, True, True, True, False, False]


# ----------------------------------------------------------------------------------------------------- landing


@pytest.fixture
def make_file(
    landing: Path, write_log: Write, make_row: Callable[..., dict[str, Any]]
) -> Callable[[str, datetime, datetime], Path]:
    """Write a log whose recording started at one time and which was changed at another."""

    def make(name: str, started_at: datetime, changed: datetime) -> Path:
        path = write_log(landing / name, [make_row(0, started_at=started_at)])
        os.utime(path, (changed.timestamp(), changed.timestamp()))
        return path

    return make


def test_files_are_taken_oldest_first_and_by_size(
    sqlite_store: Store, landing: Path, make_file: Callable[..., Path]
) -> None:
    for number in (3, 1, 2, 0):
        make_file(f"z{9 - number}.parquet", at(number), at(number))
    size = (landing / "z9.parquet").stat().st_size
    plan = plan_landing(sqlite_store, landing, as_of=at(10), size=2 * size + 100, most=9)
    assert plan.batches == [["z9.parquet", "z8.parquet"], ["z7.parquet", "z6.parquet"]]
    assert (plan.files, plan.waiting) == (4, 0)
    first = plan_landing(sqlite_store, landing, as_of=at(10), size=1, most=3)
    assert (first.batches, first.waiting) == ([["z9.parquet"], ["z8.parquet"], ["z7.parquet"]], 1)


def test_new_files_do_not_wait_behind_what_piled_up(
    sqlite_store: Store, landing: Path, make_file: Callable[..., Path]
) -> None:
    for hours in (1, 2, 47, 48):
        make_file(f"h{hours:02}.parquet", at(hours), at(hours))
    plan = plan_landing(sqlite_store, landing, as_of=at(49), size=1, most=3)
    assert plan.batches == [["h47.parquet"], ["h48.parquet"], ["h01.parquet"]]
    assert plan.waiting == 1


def test_a_batch_is_bounded_by_the_number_of_files(sqlite_store: Store, landing: Path) -> None:
    """Their names go through Airflow's database."""
    folder = landing / "plant1" / "hall4" / "2026-01-10"
    folder.mkdir(parents=True)
    for number in range(1200):
        (folder / f"recording_{number:06}.parquet").write_bytes(b"x")
    plan = plan_landing(sqlite_store, landing, as_of=datetime.now(UTC), size=1 << 40, most=9)
    assert [len(batch) for batch in plan.batches] == [500, 500, 200]
    assert max(len(json.dumps(batch)) for batch in plan.batches) < 100_000
    assert plan_landing(sqlite_store, landing, as_of=datetime.now(UTC), size=1 << 40, most=1).waiting == 700


def test_a_run_takes_what_had_begun_by_its_time(
    sqlite_store: Store, landing: Path, make_file: Callable[..., Path]
) -> None:
    make_file("past.parquet", at(1), at(2))
    make_file("copied_late.parquet", at(1), at(9))
    make_file("begun_later.parquet", at(6), at(9))
    make_file("wrong_clock.parquet", at(1000), at(2))
    unreadable = landing / "half.parquet"
    unreadable.write_bytes(b"PAR1")
    os.utime(unreadable, (at(9).timestamp(), at(9).timestamp()))
    plan = plan_landing(sqlite_store, landing, as_of=at(5), size=1 << 30, most=9)
    assert sorted(plan.batches[0]) == ["copied_late.parquet", "past.parquet", "wrong_clock.parquet"]
    assert plan.waiting == 2
    later = plan_landing(sqlite_store, landing, as_of=at(10), size=1 << 30, most=9)
    assert later.files == 5


def test_a_batch_takes_its_files_only_and_doing_it_twice_does_no_harm(
    sqlite_store: Store, lake: Lake, landing: Path, make_file: Callable[..., Path], limits: Limits
) -> None:
    make_file("a.parquet", at(1), at(1))
    make_file("b.parquet", at(2), at(2))
    for files in (1, 0):
        report = acquire(
            sqlite_store,
            lake,
            landing,
            limits=limits,
            settled_before=at(100),
            only=list(decode_names(["a.parquet", "gone.parquet"], landing)),
        )
        assert (report.files, report.problems) == (files, [])
    assert plan_landing(sqlite_store, landing, as_of=at(10), size=1, most=9).batches == [["b.parquet"]]


def test_any_name_comes_back_as_it_was(tmp_path: Path) -> None:
    names = ["plain.parquet", "für/Zelle 1%20.parquet", os.fsdecode(b"bad\xff\xfe.parquet")]
    for name in names:
        told = encode_name(Path(name))
        assert told.isascii()
        assert list(decode_names([told], tmp_path)) == [tmp_path / name]


# --------------------------------------------------------------------------------------------------- failures


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real HTTP server that keeps what it was told."""
    told: list[dict[str, Any]] = []

    class Keeper(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            del args

    server = http.server.HTTPServer(("127.0.0.1", 0), Keeper)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    thread.join()
    server.server_close()


FAILURE = Failure("axiswatch_monitor", "run1", "extract", 2, 4, "LakeError: gone", "http://airflow/log", START)


def test_a_failure_is_stored_once_and_told(store: Store, webhook: tuple[str, list[dict[str, Any]]]) -> None:
    url, told = webhook
    for _ in range(2):
        assert record_failure(store, FAILURE, webhook_url=url) == "sent"
    assert [row["message"] for row in list_failures(store, limit=9)] == ["LakeError: gone"]
    assert "axiswatch_monitor.extract failed: LakeError: gone" in told[0]["text"]
    assert told[0]["failure"]["map_index"] == 2


def test_a_run_that_failed_without_a_task_is_told_once(
    place: Path, store_url: str, webhook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time limit; where a task was told of, that is enough."""
    url, told = webhook
    monkeypatch.setenv("AXISWATCH_WEBHOOK_URL", url)
    run = {"dag_id": "axiswatch_monitor", "run_id": "r", "task_id": "", "map_index": -1, "try_number": 0, "log_url": ""}
    assert scheduled.record_failure(run | {"message": "timed_out"}, at(1)) == "sent"
    task = run | {"run_id": "s", "task_id": "score", "message": "killed"}
    assert scheduled.record_failure(task, at(1)) == "sent"
    assert scheduled.record_failure(run | {"run_id": "s", "message": "task_failure"}, at(1)) == ""
    texts = [item["text"] for item in told]
    assert texts == ["axiswatch_monitor failed: timed_out", "axiswatch_monitor.score failed: killed"]


def test_what_fails_many_tasks_of_a_run_is_told_once(store: Store, webhook: tuple[str, list[dict[str, Any]]]) -> None:
    url, told = webhook
    tasks = [replace(FAILURE, map_index=0), replace(FAILURE, map_index=1), replace(FAILURE, task_id="score")]
    others = [replace(FAILURE, map_index=3, message="LakeError: another"), replace(FAILURE, run_id="run2")]
    outcomes = [record_failure(store, one, webhook_url=url) for one in (*tasks, *others)]
    assert outcomes == ["sent", *["sent with another task of the run"] * 2, "sent", "sent"]
    assert len(told) == 3
    assert len(list_failures(store, limit=9)) == 5, "all are kept"


def test_a_failure_is_told_where_the_lake_or_the_database_is_away(
    tmp_path: Path, place: Path, webhook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what failed; so it must not keep the failure from being told."""
    url, told = webhook
    monkeypatch.setenv("AXISWATCH_WEBHOOK_URL", url)
    with workplace().store.write() as connection:
        file = {"path": "signals/a.parquet", "kind": "recordings", "size_bytes": 1, "n_rows": 1, "known_at": START}
        connection.execute(sa.insert(LakeFile), file)
    with pytest.raises(LakeUnavailable):
        workplace()
    task = {"dag_id": "axiswatch_monitor", "run_id": "r", "task_id": "score", "map_index": -1, "try_number": 6}
    task |= {"log_url": "", "message": "LakeUnavailable: the lake is empty"}
    assert scheduled.record_failure(task, at(1)) == "sent"
    for gone in (f"sqlite:///{tmp_path}", "postgresql+psycopg://nobody@127.0.0.1:9/gone"):
        monkeypatch.setenv("AXISWATCH_DATABASE_URL", gone)
        with pytest.raises(AxiswatchError, match="cannot open the database"):
            scheduled.record_failure(task | {"message": "the database is away"}, None)
    assert [item["text"].partition(": ")[2] for item in told] == [
        "LakeUnavailable: the lake is empty",
        *["the database is away"] * 2,
    ]


def test_a_webhook_that_is_down_loses_nothing(store: Store, webhook: tuple[str, list[dict[str, Any]]]) -> None:
    assert record_failure(store, FAILURE, webhook_url="") == ""
    assert "500" in record_failure(store, replace(FAILURE, map_index=3), webhook_url=webhook[0] + "/broken")
    assert "not delivered" in record_failure(store, replace(FAILURE, map_index=4), webhook_url="http://127.0.0.1:9/x")
    assert [bool(row["webhook"]) for row in list_failures(store, limit=9)] == [False, True, True]


# ---------------------------------------------------------------------------------------- intervals, and silence


@pytest.fixture
def place(tmp_path: Path, landing: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two recordings in its landing zone, on both databases."""
    for name, value in (("HOME", tmp_path), ("LANDING", landing), ("DATABASE_URL", store_url)):
        monkeypatch.setenv(f"AXISWATCH_{name}", str(value))
    return landing


def test_a_small_interval_is_done_whole_and_a_large_one_left_to_batches(
    place: Path, store_url: str, make_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same work: two files in two batches are left, in one they are taken; then nothing is left to do."""
    make_file("a.parquet", at(1), at(1))
    make_file("b.parquet", at(2), at(2))
    monkeypatch.setenv("AXISWATCH_BATCH_MIB", "0.0001")
    assert scheduled.interval(at(3), at(3)) == {}
    with Store.open(store_url).read() as connection:
        assert not connection.scalar(sa.select(sa.func.count()).select_from(Recording))
        assert not connection.scalar(sa.select(sa.func.count()).select_from(Heartbeat))
    monkeypatch.setenv("AXISWATCH_BATCH_MIB", "64")
    done = scheduled.interval(at(3), at(3.5))
    assert [step.name for step in MONITOR] == [name for name in done if name not in ("deliver", "labels", "problems")]
    assert (done["acquire"]["recordings"], done["extract"]["recordings"]) == (2, 2)
    opened: list[Workplace] = []

    def counted() -> Workplace:
        opened.append(workplace())
        return opened[-1]

    monkeypatch.setattr(scheduled, "batch_workplace", counted)
    again = scheduled.interval(at(4), at(4.5))
    assert len(opened) == 1, "all its steps share one"
    assert not again["acquire"]
    assert not again["extract"]
    beat = last_beat(Store.open(store_url), at(9))
    assert (beat["as_of"], beat["at"]) == (at(4), at(4.5))


def test_a_step_that_fails_keeps_no_other_from_its_work(
    place: Path, store_url: str, make_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails with what went wrong, and is no sign of life."""
    make_file("a.parquet", at(1), at(1))
    monkeypatch.setattr(scheduled, "trends", lambda as_of: (_ for _ in ()).throw(LakeUnavailable("the lake is away")))
    with pytest.raises(LakeUnavailable, match="the lake is away"):
        scheduled.interval(at(3), at(3))
    monkeypatch.setattr(scheduled, "advise", lambda as_of: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(AxiswatchError, match=r"trend: LakeUnavailable: .*advise: OSError: no space"):
        scheduled.interval(at(3), at(3))
    with Store.open(store_url).read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Recording)) == 1
        assert not connection.scalar(sa.select(sa.func.count()).select_from(Heartbeat))


def test_a_silent_monitor_is_told_once_and_its_return_too(
    store: Store, webhook: tuple[str, list[dict[str, Any]]]
) -> None:
    """Also one that never started; two that look at the same time send one message; what failed is sent later."""
    url, told = webhook
    assert silence(last_beat(store, at(0)), 30, at=at(0)) == "", "the first look: from now on it is waited for"
    assert "none ever did" in silence(last_beat(store, at(0)), 30, at=at(0.6))
    assert silence(last_beat(store, at(0)), 0, at=at(99)) == "", "0 minutes: never"
    assert not report_silence(store, 30, at=at(0.6), webhook_url=url + "/broken")
    assert [report_silence(store, 30, at=at(0.7), webhook_url=url) for _ in range(2)] == [True, False]
    beat(store, as_of=at(1), at=at(1.1), webhook_url=url)
    assert silence(last_beat(store, at(0)), 30, at=at(1.6)) == ""
    assert report_silence(store, 30, at=at(1.7), webhook_url=url)
    texts = [item["text"] for item in told[1:]]
    assert ["none ever did" in texts[0], texts[1], "stood for" in texts[2]] == [True, "the monitor runs again", True]


# ---------------------------------------------------------------------------------------------------- backfill


@pytest.mark.parametrize(
    ("from_at", "to_at", "told"),
    [
        ("yesterday", "2026-01-02T00:00:00Z", "no ISO 8601"),
        ("2026-01-01T00:00:00", "2026-01-02T00:00:00Z", "no offset"),
        ("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", "not after"),
        ("2062-01-01T00:00:00Z", "2062-01-02T00:00:00Z", "not before the time of this run, 2026-01-05T00:00:00Z"),
    ],
)
def test_a_backfill_that_cannot_be_is_refused(from_at: str, to_at: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        scheduled.check_backfill(START, from_at, to_at, None)


def test_a_backfill_with_a_model_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXISWATCH_HOME", str(tmp_path))
    with pytest.raises(PrerequisiteMissing, match="no model version"):
        scheduled.check_backfill(START, "2026-01-01T00:00:00+01:00", "2026-01-02T00:00:00Z", "none")
    told = scheduled.check_backfill(START, "2026-01-01T00:00:00+01:00", "2026-01-02T00:00:00Z", None)
    assert told["from_at"].startswith("2025-12-31T23:00:00")


def test_a_file_that_may_not_be_read_fails_its_batch(
    tmp_path: Path, landing: Path, make_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AXISWATCH_HOME", str(tmp_path))
    monkeypatch.setenv("AXISWATCH_LANDING", str(landing))
    good = make_file("good.parquet", at(1), at(1))
    assert scheduled.acquire_batch([good.name], at(5))["recordings"] == 1
    if os.geteuid() != 0:
        make_file("locked.parquet", at(2), at(2)).chmod(0)
        with pytest.raises(AxiswatchError, match=r"locked\.parquet"):
            scheduled.acquire_batch(["locked.parquet"], at(5))
    assert scheduled.total([{"files": 1, "models": {}}, {"files": 2}]) == {"files": 3}
    assert scheduled.total(None) == {}
