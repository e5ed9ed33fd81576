"""From the landing zone to the lake: good rows in, bad rows aside with their reasons, whatever the file is like."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.intake.acquire
import pipeline.intake.ingest
import pipeline.intake.reading
from pipeline.base.errors import AxiswatchError
from pipeline.base.log_schema import LOG_SCHEMA
from pipeline.intake.acquire import AcquireReport, acquire
from pipeline.intake.contract import Limits
from pipeline.intake.quarantine import list_quarantine, show_quarantine
from pipeline.store.database import Store
from pipeline.store.lake import Lake

MakeRow = Callable[..., dict[str, Any]]
WriteLog = Callable[..., Path]
Dump = Callable[[Store], dict[str, list[dict[str, Any]]]]
Take = Callable[..., AcquireReport]

NAN = float("nan")


@pytest.fixture
def take(store: Store, lake: Lake, landing: Path, limits: Limits) -> Take:
    def run(**options: Any) -> AcquireReport:
        given: dict[str, Any] = {"limits": limits, "settled_before": datetime.now(UTC) - timedelta(seconds=60)}
        return acquire(store, lake, landing, **given | options)

    return run


def codes(store: Store) -> dict[tuple[str, int], list[str]]:
    return {
        (entry["path"], entry["row_number"]): [reason["code"] for reason in entry["reasons"]]
        for entry in list_quarantine(store, state=None)
    }


BAD_KINDS: list[tuple[dict[str, Any], list[str]]] = [
    ({"robot_id": None}, ["key_missing"]),
    ({"axis": ""}, ["key_missing"]),
    ({"channel": "acc\x00x"}, ["key_malformed"]),
    ({"site": "\x1b[2J"}, ["key_malformed"]),
    ({"program": "p\x00"}, ["key_malformed"]),
    ({"schema_version": 2}, ["schema_version"]),
    ({"quantity": "ve\x00locity"}, ["quantity_unknown"]),
    ({"unit": None}, ["unit_missing"]),
    ({"unit": "mm/s"}, ["unit_unknown"]),
    ({"time_basis": "guess"}, ["time_basis_unknown"]),
    ({"rate_basis": "guess"}, ["rate_basis_unknown"]),
    ({"started_at": None}, ["time_missing"]),
    ({"started_at": datetime(2030, 1, 1, tzinfo=UTC)}, ["time_in_future"]),
    ({"started_at": datetime(1999, 12, 31, tzinfo=UTC)}, ["time_absurd"]),
    ({"sampling_rate_hz": None}, ["rate_missing"]),
    ({"sampling_rate_hz": -1.0}, ["rate_absurd"]),
    ({"shaft_speed_rpm": NAN}, ["speed_absurd"]),
    ({"load": NAN}, ["not_finite"]),
    ({"speed_trace_rpm": [NAN], "speed_trace_rate_hz": 1.0}, ["speed_trace_invalid"]),
    ({"samples": None}, ["samples_missing"]),
    ({"samples": []}, ["samples_empty"]),
    ({"samples": [0.0] * 100_001}, ["samples_too_long"]),
    ({"samples": [1.0, NAN]}, ["samples_not_finite"]),
    ({"unit": "", "load": NAN, "samples": []}, ["unit_missing", "not_finite", "samples_empty"]),
]


def test_good_rows_become_recordings_and_each_bad_kind_goes_to_quarantine_with_its_reasons(
    store: Store, lake: Lake, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, dump: Dump
) -> None:
    rows = []
    for kind, (changes, _) in enumerate(BAD_KINDS):
        rows += [make_row(2 * kind), make_row(2 * kind + 1, **changes)]
    rows.append(make_row(500))
    file = write_log(landing / "day.parquet", rows)
    report = take()
    assert (report.files, report.recordings, report.quarantined) == (1, len(BAD_KINDS) + 1, len(BAD_KINDS))
    assert codes(store) == {("day.parquet", 2 * kind + 1): wanted for kind, (_, wanted) in enumerate(BAD_KINDS)}

    tables = dump(store)
    assert tables["log_files"][0]["n_rows"] == len(rows)
    assert tables["log_files"][0]["n_accepted"] == len(BAD_KINDS) + 1
    assert tables["log_files"][0]["n_quarantined"] == len(BAD_KINDS)
    written = {row["started_at"]: row for row in rows[0::2]}
    assert {row["started_at"] for row in tables["recordings"]} == set(written)
    for row in tables["recordings"]:
        ((_, kept),) = lake.rows(row["lake_path"], [row["lake_row"]])
        assert kept["recording_id"].as_py() == row["recording_id"]
        wanted = np.asarray(written[row["started_at"]]["samples"], np.float32)
        np.testing.assert_array_equal(kept["samples"].values.to_numpy(), wanted)
        assert row["program"] == "pick"
        assert row["n_samples"] == len(wanted)

    assert file.exists(), "the landing zone is never changed"
    for entry in list_quarantine(store):
        shown = show_quarantine(store, lake, entry["quarantine_id"])["row"]
        given = rows[entry["row_number"]]
        assert shown["robot_id"] == given["robot_id"]
        assert shown["unit"] == given["unit"]
        assert shown["samples"] == (None if given["samples"] is None else f"{len(given['samples'])} values")


def test_running_again_changes_nothing(
    store: Store, lake: Lake, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, dump: Dump
) -> None:
    write_log(landing / "a.parquet", [make_row(1), make_row(2, unit="x")])
    (landing / "broken.parquet").write_bytes(b"nothing")
    os.utime(landing / "broken.parquet", (1, 1))
    take()
    before, files = dump(store), sorted(lake.fs.find(lake.root))
    again = take()
    assert (again.files, again.files_known, again.recordings, again.quarantined) == (0, 2, 0, 0)
    os.utime(landing / "a.parquet")
    touched = take()
    assert (touched.files, touched.files_known) == (0, 2)
    after = dump(store)
    moved = {row["path"]: row.pop("modified_ns") for row in after["landing_entries"]}
    was = {row["path"]: row.pop("modified_ns") for row in before["landing_entries"]}
    assert moved["a.parquet"] != was["a.parquet"]
    assert after == before
    assert sorted(lake.fs.find(lake.root)) == files


# --------------------------------------------------------------------------------------------- whole files


def refused(store: Store, path: str) -> list[str]:
    entries = [entry for entry in list_quarantine(store) if entry["path"] == path]
    assert [entry["row_number"] for entry in entries] == [-1]
    return [reason["code"] for reason in entries[0]["reasons"]]


def test_files_that_cannot_be_read_are_kept_whole_in_quarantine(
    store: Store, lake: Lake, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog
) -> None:
    good = write_log(landing / "z_good.parquet", [make_row(1)])
    whole = good.read_bytes()
    contents = {
        "a_text.parquet": (b"this is no Parquet file", "unreadable_file"),
        "b_truncated.parquet": (whole[: len(whole) // 2], "unreadable_file"),
        "c_no_footer.parquet": (whole[:-8], "unreadable_file"),
        "d_empty.parquet": (b"", "empty_file"),
        "e_page.parquet": (whole[:200] + b"\xff" * 500 + whole[700:], "unreadable_file"),
        "readme.txt": (b"hello", "unreadable_file"),
    }
    for name, (data, _) in contents.items():
        (landing / name).write_bytes(data)
        os.utime(landing / name, (1, 1))
    report = take()
    assert report.recordings == 1, "a broken file must not take down the next one"
    assert report.quarantined == len(contents)
    for name, (data, code) in contents.items():
        assert refused(store, name) == [code]
        (entry,) = [entry for entry in list_quarantine(store) if entry["path"] == name]
        assert lake.read(entry["lake_path"]) == data
        assert "write it again" in entry["reasons"][0]["text"]


def test_columns_that_are_wrong_refuse_the_file_with_all_reasons(
    store: Store, landing: Path, take: Take, make_row: MakeRow, make_table: Callable[..., pa.Table]
) -> None:
    table = make_table([make_row(1)])
    dropped = table.drop_columns(["unit", "samples", "rate_basis"])
    typed = table.set_column(table.schema.get_field_index("axis"), "axis", pa.array([4]))
    for name, made in (
        ("missing", dropped),
        ("type", typed.drop_columns(["cell"])),
        ("twice", table.append_column("axis", pa.array(["A2"]))),
    ):
        pq.write_table(made, landing / f"{name}.parquet")
    report = take()
    assert (report.recordings, report.quarantined, report.files_waiting) == (0, 3, 0)
    assert refused(store, "missing.parquet") == ["missing_column"] * 3
    assert refused(store, "type.parquet") == ["missing_column", "wrong_type"]
    assert refused(store, "twice.parquet") == ["duplicate_column"]
    texts = [reason["text"] for entry in list_quarantine(store) for reason in entry["reasons"]]
    assert any("column rate_basis is missing" in text for text in texts)


def test_file_without_rows_is_taken_over_and_gives_nothing(store: Store, landing: Path, take: Take, dump: Dump) -> None:
    pq.write_table(LOG_SCHEMA.empty_table(), landing / "none.parquet")
    report = take()
    assert (report.files, report.recordings, report.quarantined) == (1, 0, 0)
    assert dump(store)["log_files"][0]["n_rows"] == 0


def test_extra_columns_are_ignored_and_noted(
    store: Store, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, dump: Dump
) -> None:
    write_log(landing / "a.parquet", [make_row(1)], operator=pa.array(["Ada"]), **{"shi\x00ft": pa.array([2])})
    assert take().recordings == 1
    assert dump(store)["log_files"][0]["note"] == "columns ignored: operator, shi\N{REPLACEMENT CHARACTER}ft"


def test_file_name_that_is_no_utf8(
    store: Store, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, dump: Dump
) -> None:
    plain = write_log(landing / "a.parquet", [make_row(1)])
    plain.rename(os.fsdecode(os.fsencode(landing) + b"/caf\xe9.parquet"))
    assert take().recordings == 1
    assert dump(store)["log_files"][0]["path"] == "caf\\udce9.parquet"
    assert take().files_known == 1


def test_text_that_is_no_utf8_goes_to_quarantine_and_can_be_shown(
    store: Store, lake: Lake, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog
) -> None:
    raw = pa.array([b"\xff\xfe", b"R02"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    write_log(landing / "a.parquet", [make_row(1), make_row(2)], robot_id=text)
    report = take()
    assert (report.recordings, report.quarantined) == (1, 1)
    (entry,) = list_quarantine(store)
    assert entry["what"] == "plant1/c1/?/A1/acc_x"
    assert "cannot be shown" in show_quarantine(store, lake, entry["quarantine_id"])["row"]["robot_id"]


# ------------------------------------------------------------------------------------- files that come and go


def test_file_still_being_written_is_left_and_taken_once_complete(
    store: Store, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, dump: Dump
) -> None:
    whole = write_log(landing / "a.parquet", [make_row(1)]).read_bytes()
    (landing / "a.parquet").write_bytes(whole[: len(whole) // 2])
    first = take()
    assert (first.files, first.files_waiting, first.quarantined) == (0, 1, 0)
    assert dump(store)["landing_entries"] == []
    assert dump(store)["lake_files"] == []
    (landing / "a.parquet").write_bytes(whole)
    assert take().recordings == 1, "young, but whole"


def test_file_that_stays_unreadable_is_refused_once_it_has_settled(store: Store, landing: Path, take: Take) -> None:
    path = landing / "a.parquet"
    path.write_bytes(b"half")
    assert take().files_waiting == 1
    long_ago = time.time() - 61
    os.utime(path, (long_ago, long_ago))
    assert take().quarantined == 1
    assert refused(store, "a.parquet") == ["unreadable_file"]


def test_file_that_changes_while_it_is_read_is_left(
    store: Store, lake: Lake, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog,
    monkeypatch: pytest.MonkeyPatch, dump: Dump,
) -> None:  # fmt: skip
    path = write_log(landing / "a.parquet", [make_row(1)])
    put = lake.put_table

    def put_and_touch(kind: Any, table: pa.Table) -> tuple[str, int]:
        write_log(path, [make_row(2)], age_s=10)
        return put(kind, table)

    monkeypatch.setattr(lake, "put_table", put_and_touch)
    assert take().files_waiting == 1
    assert dump(store)["recordings"] == []
    monkeypatch.undo()
    assert take().recordings == 1


def test_file_deleted_meanwhile_is_no_error(landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog) -> None:
    for number in range(3):
        write_log(landing / f"{number}.parquet", [make_row(number)])

    def delete(done: int, _total: int) -> None:
        if done == 1:
            (landing / "1.parquet").unlink()

    assert take(on_progress=delete).recordings == 2


def test_hidden_and_unfinished_files_are_passed_over(
    landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog
) -> None:
    for name in (
        ".a.parquet",
        "_b.parquet",
        "c.parquet.tmp",
        "d.part",
        "e.CRDOWNLOAD",
        ".hidden/f.parquet",
        "_x/g.parquet",
    ):
        write_log(landing / name, [make_row(1)])
    write_log(landing / "deep/er/taken.parquet", [make_row(2)])
    report = take()
    assert (report.files, report.recordings, report.files_waiting) == (1, 1, 0)


def test_file_without_permission_is_a_problem_and_the_others_are_taken(
    cli: Any, make_row: MakeRow, write_log: WriteLog
) -> None:
    write_log(cli.home / "landing/a.parquet", [make_row(1)]).chmod(0)
    write_log(cli.home / "landing/b.parquet", [make_row(2)])
    # Root may read everything, unless it gives that right away.
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*powerless, str(cli.program), "acquire", "--json"],
        env=cli.environment(),
        cwd=cli.home,
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["recordings"] == 1
    assert "allow the user of axiswatch to read it" in report["problems"][0]


def test_landing_zone_that_is_no_folder_is_refused(store: Store, lake: Lake, tmp_path: Path, limits: Limits) -> None:
    with pytest.raises(AxiswatchError, match="is not a folder; create it"):
        acquire(store, lake, tmp_path / "nowhere", limits=limits, settled_before=limits.as_of)


# ----------------------------------------------------------------------------------- the same thing once more


def test_copy_under_another_name_doubles_nothing(
    store: Store, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, dump: Dump
) -> None:
    path = write_log(landing / "a.parquet", [make_row(1), make_row(2, unit="x")])
    take()
    before = dump(store)
    shutil.copy(path, landing / "b.parquet")
    report = take()
    assert (report.files, report.files_known, report.recordings, report.quarantined) == (0, 2, 0, 0)
    after = dump(store)
    assert len(after.pop("landing_entries")) == len(before.pop("landing_entries")) + 1
    assert after == before


def test_same_key_and_content_in_another_file_is_known(
    store: Store, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, dump: Dump
) -> None:
    write_log(landing / "a.parquet", [make_row(1), make_row(2)])
    take()
    write_log(landing / "b.parquet", [make_row(2), make_row(3), make_row(3)])
    report = take()
    assert (report.recordings, report.recordings_known, report.quarantined) == (1, 2, 0)
    assert len(dump(store)["recordings"]) == 3
    (second,) = [row for row in dump(store)["log_files"] if row["path"] == "b.parquet"]
    assert (second["n_rows"], second["n_accepted"], second["n_known"]) == (3, 1, 2)


def test_same_key_with_other_content_is_a_conflict_and_the_first_stays(
    store: Store, lake: Lake, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, dump: Dump
) -> None:
    write_log(landing / "a.parquet", [make_row(1), make_row(2)])
    take()
    before = dump(store)["recordings"]
    write_log(landing / "b.parquet", [make_row(1), make_row(2, load=0.75), make_row(3)])
    write_log(landing / "c.parquet", [make_row(4), make_row(4, samples=[1.0, 2.0])])
    report = take()
    assert (report.recordings, report.recordings_known, report.quarantined) == (2, 1, 2)
    assert codes(store) == {("b.parquet", 1): ["conflict"], ("c.parquet", 1): ["conflict"]}
    after = dump(store)["recordings"]
    assert [row for row in after if row in before] == before
    entry = list_quarantine(store)[0]
    assert show_quarantine(store, lake, entry["quarantine_id"])["row"]["load"] == 0.75
    assert "find out which logger is wrong" in entry["reasons"][0]["text"]


def test_late_file_and_changed_file_are_taken(
    store: Store, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, dump: Dump
) -> None:
    write_log(landing / "a.parquet", [make_row(50)])
    take()
    write_log(landing / "0_late.parquet", [make_row(1)], age_s=90_000)
    assert take().recordings == 1, "a file that comes late and names an earlier time"
    write_log(landing / "a.parquet", [make_row(50), make_row(51)], age_s=1_000)
    report = take()
    assert (report.files, report.recordings, report.recordings_known) == (1, 1, 1)
    tables = dump(store)
    assert len(tables["recordings"]) == 3
    assert [row["path"] for row in tables["log_files"]].count("a.parquet") == 2
    assert len(tables["landing_entries"]) == 2


def test_large_file_in_pieces_is_the_same_as_in_one(
    store: Store, lake: Lake, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, dump: Dump,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limits: Limits,
) -> None:  # fmt: skip
    changes: dict[int, dict[str, Any]] = {7: {"unit": "x"}, 33: {"samples": []}}
    rows = [make_row(number, **changes.get(number, {})) for number in range(60)]
    rows.append({**make_row(2), "load": 9.0})
    write_log(landing / "a.parquet", rows)
    whole = Store.open(f"sqlite:///{tmp_path / 'whole.db'}")
    acquire(whole, lake, landing, limits=limits, settled_before=datetime.now(UTC))
    monkeypatch.setattr(pipeline.intake.reading, "BATCH_BYTES", 8 * 2_048 * 4)
    monkeypatch.setattr(pipeline.intake.ingest, "CHUNK_BYTES", 12 * 2_048 * 4)
    report = take()
    assert (report.recordings, report.quarantined) == (58, 3)
    pieces = dump(store)
    assert len([row for row in pieces["lake_files"] if row["kind"] == "recordings"]) > 2
    one = dump(whole)
    for tables in (one, pieces):
        for row in tables["recordings"]:
            ((_, kept),) = lake.rows(row.pop("lake_path"), [row.pop("lake_row")])
            assert kept["recording_id"].as_py() == row["recording_id"]
        for row in tables["quarantine"]:
            row.pop("lake_path")
            row.pop("lake_row")
        tables.pop("lake_files")
        for rows_of in tables.values():
            rows_of.sort(key=repr)
    assert pieces == one
    whole.dispose()


def test_commit_of_a_file_is_all_or_nothing(
    store: Store, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, dump: Dump,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_log(landing / "a.parquet", [make_row(1), make_row(2, unit="x")])

    def fail(*_: Any) -> tuple[int, int]:
        raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.intake.acquire, "commit_harvest", fail)
        with pytest.raises(RuntimeError):
            take()
    assert all(rows == [] for rows in dump(store).values())
    assert take().recordings == 1


def test_a_run_that_is_overtaken_judges_the_file_again(
    store: Store, lake: Lake, landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, limits: Limits,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dump: Dump,
) -> None:  # fmt: skip
    """Between judging and committing, another run commits the same key with other content."""
    write_log(landing / "mine.parquet", [make_row(1), make_row(2)])
    other = tmp_path / "other"
    write_log(other / "theirs.parquet", [make_row(1, load=0.75)])
    put = lake.put_table
    overtaken = []

    def put_late(kind: Any, table: pa.Table) -> tuple[str, int]:
        if not overtaken:
            overtaken.append(True)
            acquire(store, Lake(lake.root), other, limits=limits, settled_before=limits.as_of)
        return put(kind, table)

    monkeypatch.setattr(lake, "put_table", put_late)
    report = take()
    assert (report.recordings, report.quarantined) == (1, 1)
    assert codes(store) == {("mine.parquet", 0): ["conflict"]}
    (first,) = [row for row in dump(store)["recordings"] if row["load"] == 0.75]
    assert first["n_samples"] == 2_048


def test_links_and_pipes_in_the_landing_zone_are_told(
    landing: Path, take: Take, make_row: MakeRow, write_log: WriteLog, tmp_path: Path
) -> None:
    write_log(tmp_path / "outside/a.parquet", [make_row(1)])
    (landing / "folder").symlink_to(tmp_path / "outside")
    (landing / "nowhere.parquet").symlink_to("gone.parquet")
    (landing / "outside.parquet").symlink_to(tmp_path / "outside/a.parquet")
    write_log(landing / ".hidden/b.parquet", [make_row(2)])
    (landing / "file.parquet").symlink_to(landing / ".hidden/b.parquet")
    os.mkfifo(landing / "pipe.parquet")
    report = take()
    assert report.recordings == 1, "a link to a file inside is followed"
    assert [problem.split(" is ", 1)[1].split(";")[0] for problem in report.problems] == [
        "a link to a folder, which is not read",
        "a broken link",
        "a link that leads out of the landing zone",
        "not an ordinary file",
    ]
    assert take(only=[landing / "outside.parquet"]).recordings == 0
