"""Findings: read whole or not at all, and looked up by evidence and by when they were known."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError
from pipeline.base.ids import axis_id
from pipeline.handoff.exporting import write_export
from pipeline.labels.labels import KnownLabel, import_labels, known_labels, label_for, label_row
from pipeline.labels.words import LABEL_CSV_COLUMNS, Evidence, Mode, Verdict
from pipeline.store.database import Store, insert_ignore
from pipeline.store.tables import Label, LabelWithdrawal

Dump = Callable[[Store], dict[str, list[dict[str, Any]]]]
Read = Callable[..., dict[str, int]]
START = datetime(2026, 1, 5, tzinfo=UTC)
AXIS = axis_id("plant1", "c1", "R01", "A1")

GOOD = {
    "site": "plant1",
    "cell": "c1",
    "robot_id": "R01",
    "axis": "A1",
    "unit_serial": "SN-1",
    "from_at": "2026-01-05T00:00:00Z",
    "to_at": "2026-01-08T09:00:00+01:00",
    "verdict": "fault",
    "component": "bearing",
    "mode": "outer_race",
    "severity": "urgent",
    "evidence": "teardown",
    "confidence": "0.9",
    "known_at": "2026-01-09T10:00:00Z",
    "note": 'a "note", with ü',
}


@pytest.fixture
def read(store: Store, tmp_path: Path) -> Read:
    def run(*rows: dict[str, str], columns: tuple[str, ...] = LABEL_CSV_COLUMNS, bom: bool = False) -> dict[str, int]:
        path = tmp_path / "labels.csv"
        with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        return import_labels(store, path, who="ada")

    return run


def test_good_labels_are_stored(store: Store, read: Read, dump: Dump) -> None:
    only_unit = {name: GOOD[name] for name in ("unit_serial", "from_at", "to_at", "evidence", "known_at")}
    assert read(GOOD, only_unit | {"verdict": "healthy", "channel": "acc_x"}) == {"rows": 2, "new": 2}
    first, second = sorted(dump(store)["labels"], key=lambda row: row["verdict"])
    assert first["axis_id"] == AXIS
    assert (first["verdict"], first["mode"], first["confidence"], first["note"]) == (
        "fault",
        "outer_race",
        0.9,
        'a "note", with ü',
    )
    assert first["to_at"] == datetime(2026, 1, 8, 8, tzinfo=UTC)
    assert (first["who"], first["cause"], first["channel"]) == ("ada", None, None)
    assert (second["axis_id"], second["channel"], second["mode"]) == (None, "acc_x", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [("note", "a\0b"), ("note", "x" * 4_001), ("unit_serial", "S" * 201), ("channel", "acc\x1b[31m"), ("cell", "c\0")],
)
def test_texts_that_a_database_cannot_hold_or_a_terminal_show_are_refused(
    sqlite_store: Store, tmp_path: Path, name: str, value: str
) -> None:
    """PostgreSQL has no NUL in a text, and no index of a name of 9,000 letters."""
    path = tmp_path / "labels.csv"
    row = GOOD | {name: value}
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([list(row), list(row.values())])
    with pytest.raises(AxiswatchError, match=rf"line \d: (the )?{name}") as refused:
        import_labels(sqlite_store, path, who="ada")
    assert str(refused.value).replace("\n", "").isprintable()


def test_importing_again_and_a_spreadsheets_byte_order_mark_change_nothing(
    store: Store, read: Read, dump: Dump
) -> None:
    read(GOOD)
    before = dump(store)
    assert read(GOOD, bom=True) == {"rows": 1, "new": 0}
    assert dump(store) == before
    assert read(GOOD, GOOD | {"evidence": "inspected"}) == {"rows": 2, "new": 1}, "a later finding is added"
    assert before["labels"][0] in dump(store)["labels"]


def test_an_export_is_read_here_and_elsewhere(store: Store, read: Read, dump: Dump, tmp_path: Path) -> None:
    """All labels are known here and new there; withdrawn ones are left out; the axis may have no recording yet."""
    spaced = {"note": ' -2 dB, "odd"\r\nnext line ', "confidence": "0.30000000000000004"}
    read(GOOD, GOOD | {"axis": "", "robot_id": "", "verdict": "healthy", "mode": ""}, GOOD | {"severity": "stop"})
    answer, wrong = label_row(GOOD | spaced, who="eve", case_id="0123456789ab")
    assert not wrong
    with store.write() as connection:
        insert_ignore(connection, Label, [answer])
        gone = [row["label_id"] for row in dump(store)["labels"] if row["severity"] == "stop"]
        connection.execute(
            sa.insert(LabelWithdrawal), [{"label_id": gone[0], "who": "ada", "known_at": START + timedelta(days=9)}]
        )
    out = tmp_path / "export.csv"
    assert write_export(store, "labels", "csv", out) == 4
    assert import_labels(store, out, who="bob") == {"rows": 4, "new": 0, "withdrawn": 1}
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    other.upgrade()
    assert import_labels(other, out, who="bob", dry_run=True) == {"rows": 4, "new": 3, "withdrawn": 1}
    assert dump(other)["labels"] == []
    assert import_labels(other, out, who="bob") == {"rows": 4, "new": 3, "withdrawn": 1}
    kept = [row for row in dump(store)["labels"] if row["label_id"] != gone[0]]
    assert dump(other)["labels"] == kept, "identity, author, case and every letter of the note"


def test_an_export_that_was_changed_is_refused(store: Store, read: Read, tmp_path: Path) -> None:
    read(GOOD)
    out = tmp_path / "export.csv"
    write_export(store, "labels", "csv", out)
    text = out.read_bytes().decode()
    out.write_text(text.replace("outer_race", "ball"), encoding="utf-8", newline="")
    with pytest.raises(AxiswatchError, match="line 2: label_id does not belong to this label"):
        import_labels(store, out, who="ada")
    named = text.replace("\r\n,,,,", "\r\nplant9,c1,R01,A1,")
    assert named != text, "the registry does not know the axis, so the export has no names"
    out.write_text(named, encoding="utf-8", newline="")
    with pytest.raises(AxiswatchError, match="line 2: axis_id does not belong to site, cell, robot_id and axis"):
        import_labels(store, out, who="ada")


def test_everything_wrong_is_listed_by_line_and_nothing_is_stored(store: Store, read: Read, dump: Dump) -> None:
    with pytest.raises(AxiswatchError, match="nothing was stored") as caught:
        read(
            GOOD,
            GOOD | {"verdict": "broken", "evidence": "", "mode": "rust", "confidence": "1.5"},
            GOOD | {"from_at": "2026-01-05", "to_at": "soon", "known_at": ""},
            GOOD | {"unit_serial": "", "axis": "", "to_at": GOOD["from_at"]},
            GOOD | {"verdict": "healthy", "confidence": "nan"},
            GOOD | {"to_at": "9999-12-31T23:59:59-05:00"},
        )
    lines = str(caught.value).splitlines()[1:]
    wanted = [
        "line 3: verdict is 'broken'; write one of healthy, fault, sensor_or_data, benign_change, unsure",
        "line 3: mode is 'rust'; write one of inner_race",
        "line 3: evidence is empty",
        "line 3: mode rust goes with verdict fault only",
        "line 3: confidence is '1.5'; write a number from 0 to 1",
        "line 4: from_at '2026-01-05' has no offset; write for example 2026-01-31T08:00:00Z",
        "line 4: to_at 'soon' is no ISO 8601 time",
        "line 4: known_at is empty",
        "line 5: the label names no unit and no axis; fill in unit_serial, or robot_id and axis",
        "line 5: to_at is not after from_at",
        "line 6: mode outer_race goes with verdict fault only",
        "line 6: confidence is 'nan'; write a number from 0 to 1",
        "line 7: to_at '9999-12-31T23:59:59-05:00' is out of range in UTC; write the offset Z",
    ]
    assert len(lines) == len(wanted)
    for line, start in zip(lines, wanted, strict=True):
        assert line.startswith(f"  - {start}")
    assert dump(store)["labels"] == []


def test_line_numbers_are_those_of_the_file(store: Store, tmp_path: Path) -> None:
    """Empty lines and notes over several lines shift rows against lines."""
    path = tmp_path / "labels.csv"
    head = "unit_serial,from_at,to_at,verdict,evidence,known_at,note"
    good = "SN,2026-01-05T00:00:00Z,2026-01-06T00:00:00Z,healthy,inspected,2026-01-07T00:00:00Z"
    path.write_text(f'{head}\n\n{good},"two\nlines"\n\n{good.replace("healthy", "well")},\n', encoding="utf-8")
    with pytest.raises(AxiswatchError, match="line 6: verdict is 'well'"):
        import_labels(store, path, who="ada")


def test_columns_are_judged(read: Read) -> None:
    columns = ("unit_serial", "from_at", "to_at", "colour")
    with pytest.raises(AxiswatchError) as caught:
        read(columns=columns)
    for problem in ("colour is not known", "verdict is missing", "evidence is missing", "known_at is missing"):
        assert f"column {problem}" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "column from_at is missing"),
        (b"\xff\xfe\x00", "is no CSV in UTF-8"),
        (b'unit_serial,from_at\n"open', "is no CSV in UTF-8"),
        (b"unit_serial,from_at,to_at,verdict,evidence,known_at\na,b,c,d,e,f,g\n", "line 2: more cells than columns"),
        (b"unit_serial,from_at,to_at,verdict,evidence,known_at,verdict\n", "column verdict is there more than once"),
    ],
)
def test_file_that_is_none(store: Store, tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(data)
    with pytest.raises(AxiswatchError, match=message):
        import_labels(store, path, who="ada")


def test_only_what_was_known_at_a_time_is_given(store: Store, read: Read) -> None:
    read(GOOD, GOOD | {"known_at": "2026-01-10T10:00:00Z", "verdict": "unsure", "mode": ""})
    known = datetime(2026, 1, 9, 10, tzinfo=UTC)
    with store.read() as connection:
        assert known_labels(connection, known_by=known - timedelta(microseconds=1)) == []
        assert [label.verdict for label in known_labels(connection, known_by=known)] == [Verdict.FAULT]
        later = known_labels(connection, known_by=known + timedelta(days=1))
    assert [label.verdict for label in later] == [Verdict.FAULT, Verdict.UNSURE]
    assert (later[0].mode, later[0].evidence) == (Mode.OUTER_RACE, Evidence.TEARDOWN)


LABEL = KnownLabel(
    "a", AXIS, "SN-1", None, START, START + timedelta(days=3), Verdict.HEALTHY, None, Evidence.INSPECTED, START
)


def chosen(*labels: KnownLabel, **asked: Any) -> str | None:
    asked = {"axis": AXIS, "unit_serial": "SN-1", "channel": "acc_x", "started_at": START} | asked
    found = label_for(labels, **asked)
    return None if found is None else found.label_id


def test_strongest_evidence_wins_then_what_was_known_last() -> None:
    signal = replace(LABEL, label_id="signal", evidence=Evidence.SIGNAL_ONLY, known_at=START + timedelta(days=9))
    teardown = replace(LABEL, label_id="teardown", evidence=Evidence.TEARDOWN, known_at=START - timedelta(days=9))
    later = replace(LABEL, label_id="later", known_at=START + timedelta(days=1))
    for order in ([LABEL, later, signal, teardown], [teardown, signal, later, LABEL]):
        assert chosen(*order) == "teardown"
        assert chosen(*(label for label in order if label is not teardown)) == "later"
    assert chosen(LABEL, replace(LABEL, label_id="b")) == chosen(replace(LABEL, label_id="b"), LABEL) == "b"


def test_label_holds_for_its_place_and_time_only() -> None:
    end = LABEL.to_at
    assert chosen(LABEL) == "a"
    assert chosen(LABEL, started_at=START - timedelta(microseconds=1)) is None
    assert chosen(LABEL, started_at=end - timedelta(microseconds=1)) == "a"
    assert chosen(LABEL, started_at=end) is None
    assert chosen(LABEL, unit_serial="SN-2") is None
    assert chosen(LABEL, unit_serial=None) is None
    assert chosen(LABEL, axis="other") is None
    assert chosen(replace(LABEL, axis_id=None), axis="other") == "a", "a unit keeps its finding on another axis"
    assert chosen(replace(LABEL, unit_serial=None), unit_serial=None) == "a"
    assert chosen(replace(LABEL, channel="acc_y")) is None
    assert chosen(replace(LABEL, channel="acc_x")) == "a"
    assert chosen() is None


def test_nobody_knows_what_has_not_begun(store: Store, read: Read, dump: Dump) -> None:
    with pytest.raises(AxiswatchError, match="known_at is before from_at"):
        read(GOOD | {"known_at": "2020-01-01T00:00:00Z"})
    assert dump(store)["labels"] == []


def test_the_same_finding_under_another_name_is_the_same_finding(store: Store, tmp_path: Path, read: Read) -> None:
    read(GOOD)
    path = next(tmp_path.glob("*.csv"))
    assert import_labels(store, path, who="somebody else") == {"rows": 1, "new": 0}
