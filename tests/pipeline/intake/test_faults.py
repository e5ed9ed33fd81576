"""What is not the file's fault leaves it due; what is costs no neighbour, no memory and no later run."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from pipeline.base.log_schema import LOG_SCHEMA
from pipeline.intake.acquire import AcquireReport, acquire
from pipeline.intake.contract import Limits
from pipeline.intake.quarantine import list_quarantine, replay
from pipeline.store.database import Store
from pipeline.store.lake import Lake, LakeUnavailable
from pipeline.store.tables import LandingEntry

MakeRow = Callable[..., dict[str, Any]]
MakeTable = Callable[..., pa.Table]
WriteLog = Callable[..., Path]
Dump = Callable[[Store], dict[str, list[dict[str, Any]]]]
Take = Callable[..., AcquireReport]
POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
"""Root may read everything, unless it gives that right away."""
MIB = 1024 * 1024


@pytest.fixture
def take(store: Store, lake: Lake, landing: Path, limits: Limits) -> Take:
    def run(**options: Any) -> AcquireReport:
        return acquire(store, lake, landing, **{"limits": limits, "settled_before": datetime.now(UTC)} | options)

    return run


def zeros(*lengths: int) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(np.zeros(offsets[-1], np.float32)))


def settled(path: Path) -> Path:
    os.utime(path, (1, 1))
    return path


def damaged(path: Path, group: int, column: str, at: float = 0.5) -> Path:
    """Overwrite a part of the pages of one column in one row group."""
    metadata = pq.read_metadata(path).row_group(group)
    (chunk,) = (
        metadata.column(i)
        for i in range(metadata.num_columns)
        if metadata.column(i).path_in_schema.split(".")[0] == column
    )
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    place = start + int(at * chunk.total_compressed_size)
    data = bytearray(path.read_bytes())
    data[place : place + 40] = b"\xff" * 40
    path.write_bytes(data)
    return settled(path)


# ------------------------------------------------------------------------------------------- faults of the machine


@pytest.mark.parametrize("content", ["good", "bad row", "no Parquet"])
def test_a_lake_that_cannot_be_written_blames_no_file(
    store: Store,
    lake: Lake,
    landing: Path,
    take: Take,
    make_row: MakeRow,
    write_log: WriteLog,
    dump: Dump,
    content: str,
) -> None:
    write_log(landing / "a.parquet", [make_row(1, **({"unit": "x"} if content == "bad row" else {}))])
    if content == "no Parquet":
        settled(landing / "a.parquet").write_bytes(b"text")
    blocked = Path(lake.root) / "aside"
    blocked.write_text("")
    with pytest.raises(LakeUnavailable, match=r"cannot write to the lake .* run again") as caught:
        take()
    assert caught.value.exit_code == 1
    assert all(rows == [] for rows in dump(store).values())
    blocked.unlink()
    report = take(settled_before=datetime.now(UTC) + timedelta(hours=1))
    assert (report.files, report.recordings) == (1, int(content == "good"))


def test_a_lake_that_cannot_be_read_blames_no_entry_of_the_quarantine(
    store: Store, lake: Lake, landing: Path, take: Take, limits: Limits, dump: Dump
) -> None:
    (landing / "a.parquet").write_bytes(b"text")
    settled(landing / "a.parquet")
    take()
    (entry,) = list_quarantine(store)
    kept = Path(lake.root) / entry["lake_path"]
    kept.unlink()
    kept.mkdir()
    with pytest.raises(LakeUnavailable, match="cannot read the lake"):
        replay(store, lake, limits)
    assert list_quarantine(store) == [entry]


FULL = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from pipeline.cli import main
sys.argv = ["axiswatch", "acquire", "--json"]
main()
"""


def test_a_write_that_is_cut_off_ends_with_exit_code_1_and_the_next_run_takes_the_file(
    cli: Any, make_row: MakeRow, write_log: WriteLog
) -> None:
    cli("status")
    size = max(file.stat().st_size for file in cli.home.glob("axiswatch.db*"))
    noise = np.random.default_rng(0).normal(size=size).astype(np.float32).tolist()
    write_log(cli.home / "landing/a.parquet", [make_row(1, samples=noise)])
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(2 * size)],
        env=cli.environment(),
        cwd=cli.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot write to the lake" in done.stderr
    assert cli("acquire", "--json").json()["recordings"] == 1


def test_a_folder_without_permission_stops_nothing_else(cli: Any, make_row: MakeRow, write_log: WriteLog) -> None:
    for mode in (0o000, 0o400, 0o100):
        write_log(cli.home / f"landing/{mode:o}/a.parquet", [make_row(1)]).parent.chmod(mode)
    write_log(cli.home / "landing/b.parquet", [make_row(2)])
    done = subprocess.run(
        [*POWERLESS, str(cli.program), "acquire", "--json"],
        env=cli.environment(),
        cwd=cli.home,
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["recordings"] == 1
    assert len(report["problems"]) == 3
    assert all("allow the user of axiswatch to read it" in problem for problem in report["problems"])


def test_a_landing_zone_that_cannot_be_listed_fails(cli: Any) -> None:
    (cli.home / "landing").mkdir(exist_ok=True)
    (cli.home / "landing").chmod(0)
    done = subprocess.run(
        [*POWERLESS, str(cli.program), "acquire", "--json"],
        env=cli.environment(),
        cwd=cli.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "allow the user" in done.stderr) == (1, True)


FEW_HANDLES = """
import os, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.store.database import Store
from pipeline.store.lake import Lake
store, lake = Store.open(sys.argv[1]), Lake(sys.argv[2])
acquire(store, lake, Path(sys.argv[3]) / "none", limits=Limits(datetime.now(UTC), 10**5, 1e6, 1e6),
        settled_before=datetime.now(UTC))
held = []
def use_up(done, total):
    if done == 1:
        while True:
            try:
                held.append(open(os.devnull))
            except OSError:
                return
    for file in held:
        file.close()
    held.clear()
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
print(acquire(store, lake, Path(sys.argv[3]), limits=Limits(datetime.now(UTC), 10**5, 1e6, 1e6),
              settled_before=datetime.now(UTC), on_progress=use_up))
"""


def test_a_file_that_cannot_be_opened_just_now_is_left_and_the_others_are_taken(
    store: Store, store_url: str, lake: Lake, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog,
    dump: Dump,
) -> None:  # fmt: skip
    """No file handle is left: a fault with an errno, and none of the file's."""
    (landing / "none").mkdir()
    for number in range(3):
        write_log(landing / f"{number}.parquet", [make_row(number)])
    arguments = [sys.executable, "-c", FEW_HANDLES, store_url, lake.root, str(landing)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "recordings=2" in done.stdout
    assert "Too many open files; it is left for the next run" in done.stdout
    assert {row["path"] for row in dump(store)["landing_entries"]} == {"0.parquet", "2.parquet"}
    assert (take().recordings, list_quarantine(store)) == (1, [])


# ------------------------------------------------------------------------------------------- limits before the cost


MEASURED = """
import json, re, resource, sys
from datetime import datetime, UTC
from pathlib import Path
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.store.database import Store
from pipeline.store.lake import Lake
def peak():  # of this program alone: ru_maxrss begins with the peak of the process that started it
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
report = acquire(Store.open(sys.argv[1]), Lake(sys.argv[2]), Path(sys.argv[3]),
                 limits=Limits(datetime(2026, 3, 1, tzinfo=UTC), 100_000, 1e6, 2e5), settled_before=datetime.now(UTC))
after = [peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]
print(json.dumps([report.as_dict(), (after[0] - before) / 1024, after[1] / 1024]))
"""


def test_what_unfolds_to_much_is_judged_before_it_is_decoded(
    sqlite_store: Store, landing: Path, lake: Lake, make_row: MakeRow, make_table: MakeTable
) -> None:  # fmt: skip
    """A row, a row among others, texts, an ignored column, and a file of many rows: none of them takes memory."""
    store, rows = sqlite_store, [make_row(number) for number in range(5)]
    table = make_table(rows)
    at = table.schema.get_field_index("samples")
    long = 40_000_000
    pq.write_table(table.slice(0, 1).set_column(at, "samples", zeros(long)), landing / "row.parquet")
    pq.write_table(table.set_column(at, "samples", zeros(9, 9, long, 9, 9)), landing / "among.parquet")
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(5_000, np.int32)), pa.array(["x" * MIB]))
    many = make_table([make_row(0, samples=[1.0])] * 5_000)
    pq.write_table(many.set_column(3, "robot_id", text), landing / "texts.parquet")
    pq.write_table(make_table([make_row(9)]).append_column("other", zeros(long)), landing / "ignored.parquet")
    part = table.slice(0, 1).set_column(at, "samples", zeros(8_000_000))
    with pq.ParquetWriter(landing / "file.parquet", part.schema) as writer:
        for _ in range(35):
            writer.write_table(part)
    arguments = [sys.executable, "-c", MEASURED, store.engine.url.render_as_string(False), lake.root, str(landing)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    report, grown_mib, child_mib = json.loads(done.stdout)
    assert grown_mib < 250
    assert child_mib < 600
    assert (report["recordings"], report["quarantined"], report["problems"]) == (3, 1 + 3 + 5_000 + 1, [])
    found = {(entry["path"], entry["row_number"], entry["reasons"][0]["code"]) for entry in list_quarantine(store)}
    assert {entry for entry in found if entry[0] != "texts.parquet"} == {
        ("row.parquet", 0, "samples_too_long"),
        ("among.parquet", 2, "samples_too_long"),
        ("file.parquet", -1, "file_too_large"),
    }
    assert {code for path, _, code in found if path == "texts.parquet"} == {"key_malformed"}
    assert sum(file.stat().st_size for file in Path(lake.root).rglob("*") if file.is_file()) < 10 * MIB


def varint(number: int, length: int = 0) -> bytes:
    """Return a number as Thrift writes it, padded to a length."""
    left, out = number << 1, []
    while left > 127 or len(out) + 1 < length:
        out.append(left & 127 | 128)
        left >>= 7
    return bytes([*out, left])


def test_metadata_that_lie_are_found_out_before_anything_is_decoded(
    store: Store, lake: Lake, landing: Path, make_row: MakeRow, make_table: MakeTable
) -> None:
    """6 values are promised, 60 million come: 240 MB, and 8 times as much while Arrow decodes them."""
    table = make_table([make_row(1)])
    path, count = landing / "a.parquet", 60_000_000
    pq.write_table(table.set_column(table.schema.get_field_index("samples"), "samples", zeros(count)), path)
    data = path.read_bytes()
    body, footer = (
        data[: -8 - int.from_bytes(data[-8:-4], "little")],
        data[-8 - int.from_bytes(data[-8:-4], "little") :],
    )
    assert varint(count) in footer
    path.write_bytes(body + footer.replace(varint(count), varint(6, len(varint(count))), 1))
    settled(path)
    arguments = [sys.executable, "-c", MEASURED, store.engine.url.render_as_string(False), lake.root, str(landing)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    report, grown_mib, child_mib = json.loads(done.stdout)
    assert (report["recordings"], report["quarantined"], report["problems"]) == (0, 1, [])
    assert grown_mib < 100
    assert child_mib < 600


def test_a_file_that_ended_a_run_and_ends_a_process_beside_it_is_not_met_again(
    store: Store, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is known that does so; what such a file would end is told so here."""
    monkeypatch.setattr("pipeline.intake.acquire.survives", lambda path, limits: False)
    path = write_log(landing / "a.parquet", [make_row(1)])
    write_log(landing / "b.parquet", [make_row(2)])
    with store.write() as connection:  # as a run leaves it that was killed
        stat = path.stat()
        note = {"path": "a.parquet", "size_bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
        connection.execute(sa.insert(LandingEntry).values(**note, file_hash="", tries=1))
    report = take()
    assert (report.recordings, report.quarantined) == (1, 1)
    (entry,) = list_quarantine(store)
    assert [reason["code"] for reason in entry["reasons"]] == ["killed_runs"]
    assert (take().files_known, list_quarantine(store)) == (2, [entry])


KILLED = """
import os, signal, sys
from datetime import datetime, UTC
from pathlib import Path
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.store.database import Store
from pipeline.store.lake import Lake
def die(done, total):
    if done == 1:
        os.kill(os.getpid(), signal.SIGKILL)
limits = Limits(datetime.now(UTC), 10**5, 1e6, 2e5)
store, lake, landing = Store.open(sys.argv[1]), Lake(sys.argv[2]), Path(sys.argv[3])
acquire(store, lake, landing, limits=limits, settled_before=datetime.now(UTC), on_progress=die)
"""


def test_a_run_that_was_killed_again_and_again_costs_no_good_file(
    store: Store, store_url: str, lake: Lake, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog,
    dump: Dump,
) -> None:  # fmt: skip
    for number in range(3):
        write_log(landing / f"{number}.parquet", [make_row(number)])
    for number in (1, 2):
        arguments = [sys.executable, "-c", KILLED, store_url, lake.root, str(landing)]
        assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
        noted = {row["path"]: row["tries"] for row in dump(store)["landing_entries"]}
        assert noted[f"{number}.parquet"] == 1
    assert take().recordings == 1
    tables = dump(store)
    assert {row["tries"] for row in tables["landing_entries"]} == {0}
    assert (len(tables["recordings"]), tables["quarantine"]) == (3, [])


# --------------------------------------------------------------------------------------------------- damaged parts


def test_damage_in_one_row_group_or_in_an_ignored_column_costs_no_neighbour(
    store: Store, lake: Lake, landing: Path, take: Take, make_row: MakeRow, make_table: MakeTable, limits: Limits,
    dump: Dump,
) -> None:  # fmt: skip
    table = make_table([make_row(number) for number in range(6)]).append_column("note", pa.array(["n" * 500] * 6))
    pq.write_table(table, landing / "group.parquet", row_group_size=2, write_page_checksum=True)
    damaged(landing / "group.parquet", 1, "samples")
    report = take()
    assert (report.recordings, report.quarantined) == (4, 2)
    (entry,) = list_quarantine(store)
    assert (entry["row_number"], entry["what"], entry["lake_row"]) == (2, "rows 2 to 3", -1)
    assert entry["reasons"][0]["code"] == "unreadable_rows"
    assert "rows 2 to 3 (row group 1) cannot be read" in entry["reasons"][0]["text"]
    (log,) = dump(store)["log_files"]
    assert (log["n_rows"], log["n_accepted"], log["n_quarantined"]) == (6, 4, 2)
    (found,) = replay(store, lake, limits)
    assert (found.accepted, found.reasons[0]["code"]) == (4, "unreadable_rows")
    assert [row["quarantine_id"] for row in list_quarantine(store)] == [entry["quarantine_id"]]

    pq.write_table(table, landing / "ignored.parquet", use_dictionary=False)
    damaged(landing / "ignored.parquet", 0, "note", at=0.0)
    report = take()
    assert (report.recordings + report.recordings_known, report.quarantined) == (6, 0)


def test_rows_before_the_damage_are_taken(
    store: Store, landing: Path, take: Take, make_row: MakeRow, make_table: MakeTable
) -> None:
    """One row group, many pages: the damage is in the last ones."""
    table = make_table([make_row(number) for number in range(40)])
    options = {"data_page_size": 4_096, "use_dictionary": False, "write_batch_size": 512}
    pq.write_table(table, landing / "a.parquet", **options)
    damaged(landing / "a.parquet", 0, "samples", at=0.8)
    report = take()
    assert report.recordings + report.quarantined == 40
    assert report.recordings >= 30


def test_every_row_that_a_footer_promises_is_accounted_for(
    sqlite_store: Store, lake: Lake, landing: Path, limits: Limits, make_row: MakeRow, make_table: MakeTable, dump: Dump
) -> None:
    """Every byte of the footer that holds numbers of rows, changed: nothing is taken as an empty file."""
    rows = [make_row(number, samples=[0.5, 0.25]) for number in range(6)]
    whole = pa.BufferOutputStream()
    columns = [field.name for field in LOG_SCHEMA if not field.nullable]
    pq.write_table(make_table(rows).select(columns), whole, store_schema=False, write_statistics=False)
    data = whole.getvalue().to_pybytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for place in range(start, len(data) - 8):
        if data[place] == 12:  # six rows, as Thrift writes it
            for value in (0, 2, 24):
                path = landing / f"{place}-{value}.parquet"
                path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
                settled(path)
    made = len(list(landing.iterdir()))
    assert made > 20
    acquire(sqlite_store, lake, landing, limits=limits, settled_before=datetime.now(UTC))
    logs = dump(sqlite_store)["log_files"]
    assert len(logs) == made
    for log in logs:
        counted = log["n_accepted"] + log["n_known"] + log["n_quarantined"]
        assert counted > 0, f"{log['path']} was taken as empty"
        assert log["n_rows"] in (0, counted)


# -------------------------------------------------------------------------------------------------------------- time


def test_rows_from_the_future_are_judged_again_once_their_time_has_come(
    store: Store, lake: Lake, landing: Path, limits: Limits, take: Take, make_row: MakeRow, write_log: WriteLog,
    dump: Dump,
) -> None:  # fmt: skip
    early = dataclasses.replace(limits, as_of=datetime(2026, 1, 5, 2, 30, tzinfo=UTC))
    write_log(landing / "a.parquet", [make_row(number) for number in range(6)])
    assert take(limits=early).quarantined == 3
    assert take(limits=early).recordings == 0
    later = dataclasses.replace(limits, as_of=datetime(2026, 1, 5, 4, 30, tzinfo=UTC))
    assert take(limits=later).recordings == 2
    (left,) = list_quarantine(store)
    assert left["due_at"] == datetime(2026, 1, 5, 5, tzinfo=UTC)
    assert take().recordings == 1
    assert (len(dump(store)["recordings"]), list_quarantine(store)) == (6, [])
    before = dump(store)
    assert take().recordings == 0
    assert dump(store) == before


def test_a_row_that_is_refused_for_more_than_its_time_is_judged_again_once(
    store: Store, landing: Path, limits: Limits, take: Take, make_row: MakeRow, write_log: WriteLog
) -> None:
    early = dataclasses.replace(limits, as_of=datetime(2026, 1, 5, tzinfo=UTC))
    write_log(landing / "a.parquet", [make_row(1, unit="x")])
    take(limits=early)
    assert take().recordings == 0
    (entry,) = list_quarantine(store)
    assert ([reason["code"] for reason in entry["reasons"]], entry["due_at"]) == (["unit_unknown"], None)
