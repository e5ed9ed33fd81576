"""A second chance for what is in quarantine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PrerequisiteMissing
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.intake.quarantine import list_quarantine, replay, show_quarantine
from pipeline.store.database import Store
from pipeline.store.lake import Lake, LakeError

MakeRow = Callable[..., dict[str, Any]]
WriteLog = Callable[..., Path]
Dump = Callable[[Store], dict[str, list[dict[str, Any]]]]


@pytest.fixture
def take(store: Store, lake: Lake, landing: Path, limits: Limits) -> Callable[[], None]:
    def run() -> None:
        acquire(store, lake, landing, limits=limits, settled_before=datetime.now(UTC))

    return run


def test_time_that_was_in_the_future_is_accepted_once_it_has_come(
    store: Store, lake: Lake, landing: Path, limits: Limits, make_row: MakeRow, write_log: WriteLog, dump: Dump,
    take: Callable[[], None],
) -> None:  # fmt: skip
    soon = limits.as_of + timedelta(hours=1)
    write_log(landing / "a.parquet", [make_row(1), make_row(2, started_at=soon)])
    take()
    (entry,) = list_quarantine(store)
    (early,) = replay(store, lake, limits)
    assert (early.accepted, [reason["code"] for reason in early.reasons]) == (0, ["time_in_future"])
    later = dataclasses.replace(limits, as_of=soon)
    (found,) = replay(store, lake, later)
    assert (found.accepted, found.reasons) == (1, [])
    assert list_quarantine(store) == []
    (resolved,) = list_quarantine(store, state=None)
    assert (resolved["state"], resolved["resolved_at"]) == ("replayed", soon)
    (row,) = [row for row in dump(store)["recordings"] if row["started_at"] == soon]
    assert (row["file_hash"], row["known_at"]) == (entry["file_hash"], soon)
    ((_, kept),) = lake.rows(row["lake_path"], [row["lake_row"]])
    assert kept["samples"].as_py() == make_row(2)["samples"]
    before = dump(store)
    assert replay(store, lake, later) == []
    assert replay(store, lake, later, [entry["quarantine_id"]]) == []
    take()
    assert dump(store) == before


def test_raised_limit_lets_it_in(
    store: Store, lake: Lake, landing: Path, limits: Limits, make_row: MakeRow, write_log: WriteLog, dump: Dump,
    take: Callable[[], None],
) -> None:  # fmt: skip
    write_log(landing / "a.parquet", [make_row(1, sampling_rate_hz=2e6), make_row(2, samples=[0.5] * 100_001)])
    take()
    fast, long = list_quarantine(store)
    before = dump(store)
    assert [found.accepted for found in replay(store, lake, limits, [fast["quarantine_id"]])] == [0]
    assert dump(store) == before, "what is refused again names no new file of the lake"
    wider = dataclasses.replace(limits, max_sampling_rate_hz=3e6)
    assert [found.accepted for found in replay(store, lake, wider, [fast["quarantine_id"]])] == [1]
    assert [entry["quarantine_id"] for entry in list_quarantine(store)] == [long["quarantine_id"]]
    longer = dataclasses.replace(limits, max_samples=200_000)
    assert [found.accepted for found in replay(store, lake, longer)] == [1]


def test_reasons_are_those_of_today(
    store: Store, lake: Lake, landing: Path, limits: Limits, make_row: MakeRow, write_log: WriteLog,
    take: Callable[[], None],
) -> None:  # fmt: skip
    write_log(landing / "a.parquet", [make_row(1, sampling_rate_hz=2e6, unit="x")])
    take()
    replay(store, lake, dataclasses.replace(limits, max_sampling_rate_hz=3e6))
    (entry,) = list_quarantine(store)
    assert [reason["code"] for reason in entry["reasons"]] == ["unit_unknown"]


def test_conflict_stays_a_conflict(
    store: Store, lake: Lake, landing: Path, limits: Limits, make_row: MakeRow, write_log: WriteLog, dump: Dump,
    take: Callable[[], None],
) -> None:  # fmt: skip
    write_log(landing / "a.parquet", [make_row(1), make_row(1, load=0.75)])
    take()
    before = dump(store)
    (found,) = replay(store, lake, limits)
    assert (found.accepted, [reason["code"] for reason in found.reasons]) == (0, ["conflict"])
    assert dump(store) == before


def test_broken_file_stays_and_is_shown(
    store: Store, lake: Lake, landing: Path, limits: Limits, take: Callable[[], None]
) -> None:
    (landing / "a.parquet").write_bytes(b"broken")
    os.utime(landing / "a.parquet", (1, 1))
    take()
    (entry,) = list_quarantine(store)
    (found,) = replay(store, lake, limits, [entry["quarantine_id"]])
    assert (found.accepted, found.reasons) == (0, entry["reasons"])
    assert list_quarantine(store) == [entry]
    assert show_quarantine(store, lake, entry["quarantine_id"])["row"] == {}


def test_file_refused_by_an_older_version_is_read_again_as_a_whole(
    store: Store, lake: Lake, landing: Path, limits: Limits, make_row: MakeRow, write_log: WriteLog, dump: Dump,
    take: Callable[[], None], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_log(landing / "a.parquet", [make_row(1), make_row(2, unit="x"), make_row(3)])
    from pipeline.intake.contract import Reason

    with monkeypatch.context() as older:
        older.setattr(
            "pipeline.intake.reading.judge_columns", lambda _: ([Reason("wrong_type", "an older version")], [])
        )
        take()
    assert dump(store)["recordings"] == []
    (found,) = replay(store, lake, limits)
    assert found.accepted == 2
    (left,) = list_quarantine(store)
    assert (left["row_number"], left["reasons"][0]["code"]) == (1, "unit_unknown")


def test_unknown_id(store: Store, lake: Lake, limits: Limits) -> None:
    for act in (lambda: replay(store, lake, limits, ["0000"]), lambda: show_quarantine(store, lake, "0000")):
        with pytest.raises(PrerequisiteMissing, match=r"has the id 0000; `axiswatch quarantine list`") as caught:
            act()
        assert caught.value.exit_code == 3


def test_missing_file_of_the_lake_says_so(
    store: Store, lake: Lake, landing: Path, limits: Limits, make_row: MakeRow, write_log: WriteLog,
    take: Callable[[], None],
) -> None:  # fmt: skip
    write_log(landing / "a.parquet", [make_row(1, unit="x")])
    take()
    lake.remove(list_quarantine(store)[0]["lake_path"])
    with pytest.raises(LakeError, match="restore it from a backup"):
        replay(store, lake, limits)


def test_overtaken_by_another_run(
    store: Store, lake: Lake, landing: Path, limits: Limits, make_row: MakeRow, write_log: WriteLog, tmp_path: Path,
    take: Callable[[], None], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """While an entry is judged again, another run takes its key with other content."""
    soon = limits.as_of + timedelta(hours=1)
    later = dataclasses.replace(limits, as_of=soon)
    write_log(landing / "a.parquet", [make_row(1, started_at=soon)])
    take()
    write_log(tmp_path / "other/b.parquet", [make_row(1, started_at=soon, load=0.75)])
    put = lake.put_table
    overtaken = []

    def put_late(kind: Any, table: Any) -> tuple[str, int]:
        if not overtaken:
            overtaken.append(True)
            theirs = {"only": [tmp_path / "other/b.parquet"], "limits": later, "settled_before": soon}
            acquire(store, Lake(lake.root), tmp_path / "other", **theirs)
        return put(kind, table)

    monkeypatch.setattr(lake, "put_table", put_late)
    (found,) = replay(store, lake, later)
    assert (found.accepted, [reason["code"] for reason in found.reasons]) == (0, ["conflict"])
