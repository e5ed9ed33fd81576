"""Labels: findings about a unit or an axis in a time range. They are added, never overwritten."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.errors import AxiswatchError, Coded
from pipeline.base.ids import axis_id, instant, stable_id
from pipeline.base.spreadsheet import unguarded
from pipeline.labels.words import (
    EXPORTED_COLUMNS,
    LABEL_CSV_COLUMNS,
    STRENGTH,
    Cause,
    Component,
    Evidence,
    Mode,
    Severity,
    Verdict,
)
from pipeline.store.database import Store, insert_ignore
from pipeline.store.tables import Label, LabelWithdrawal

CHOICES: dict[str, type[StrEnum]] = {
    "verdict": Verdict,
    "component": Component,
    "mode": Mode,
    "cause": Cause,
    "severity": Severity,
    "evidence": Evidence,
}
CONFIRM: Final = "confirm"
"""Family of the cases that ask whether a label is right, and the code of their only reason."""

LONGEST_NOTE: Final = 4000
LONGEST_NAME: Final = 200
NAMES: Final = ("site", "cell", "robot_id", "axis", "unit_serial", "channel")
REQUIRED = ("from_at", "to_at", "verdict", "evidence", "known_at")


@dataclass(frozen=True)
class KnownLabel:
    """A label with the columns that training and the gate need."""

    label_id: str
    axis_id: str | None
    unit_serial: str | None
    channel: str | None
    from_at: datetime
    to_at: datetime
    verdict: Verdict
    mode: Mode | None
    evidence: Evidence
    known_at: datetime
    case_id: str | None = None


def import_labels(store: Store, path: Path, *, who: str, dry_run: bool = False) -> dict[str, int]:
    """Import a labels.csv, or what `export labels` wrote; labels that exist already are skipped.

    Return the number of rows and of new labels and, for an export, of withdrawn labels, which are left out. A dry run
    stores nothing.

    Raises
    ------
    AxiswatchError
        The file cannot be read, or rows are wrong. The message lists all problems by line; nothing is stored.
    """
    rows, withdrawn = read_labels(path, who=who)
    with store.write(dry_run=dry_run) as connection:
        before = connection.scalar(sa.select(sa.func.count()).select_from(Label)) or 0
        insert_ignore(connection, Label, rows)
        after = connection.scalar(sa.select(sa.func.count()).select_from(Label)) or 0
    report = {"rows": len(rows) + (withdrawn or 0), "new": after - before}
    return report if withdrawn is None else {**report, "withdrawn": withdrawn}


def read_labels(path: Path, *, who: str) -> tuple[list[dict[str, Any]], int | None]:
    """Read and check a labels.csv; return database rows and, for an export, the number of withdrawn labels.

    Raises as `import_labels`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            lines = [(reader.line_num, line) for line in reader]
    except OSError as error:
        raise AxiswatchError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise AxiswatchError(f"{path} is no CSV in UTF-8: {error}") from error
    known = (*LABEL_CSV_COLUMNS, *EXPORTED_COLUMNS)
    withdrawn = 0 if "withdrawn_at" in header else None
    problems = [f"column {name} is not known" for name in header if name not in known]
    problems += [f"column {name} is missing" for name in REQUIRED if name not in header]
    problems += [f"column {name} is there more than once" for name in sorted(set(header)) if header.count(name) > 1]
    rows = []
    if not problems:
        for number, line in lines:
            if None in line:
                problems.append(f"line {number}: more cells than columns")
                continue
            if withdrawn is not None and line["withdrawn_at"]:
                withdrawn += 1
                continue
            cells = {name: unguarded(line.get(name) or "") for name in known}
            if not cells["label_id"]:
                cells = {name: cell.strip() for name, cell in cells.items()}
            row, wrong = label_row(cells, who=cells["who"] or who, case_id=cells["case_id"] or None)
            if not wrong and cells["label_id"] not in ("", row["label_id"]):
                wrong.append("label_id does not belong to this label; empty the cell to import it as another one")
            problems += [f"line {number}: {text}" for text in wrong]
            rows.append(row)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise AxiswatchError(f"{path} cannot be imported, nothing was stored:\n{listed}")
    return rows, withdrawn


def label_row(cells: Mapping[str, str], *, who: str, case_id: str | None = None) -> tuple[dict[str, Any], list[str]]:
    """Return the database row of a label's cells (by column), and a list of sentences about what is wrong with them."""
    wrong: list[str] = []
    row: dict[str, Any] = {"note": cells.get("note", ""), "who": who, "case_id": case_id}
    wrong += [
        f"{name} is longer than {LONGEST_NAME} characters, or has some that cannot be printed; correct it"
        for name in NAMES
        if len(cells.get(name, "")) > LONGEST_NAME or not cells.get(name, "").isprintable()
    ]
    if len(row["note"]) > LONGEST_NOTE:
        wrong.append(Coded(f"the note is longer than {LONGEST_NOTE} characters", "length", most=LONGEST_NOTE))
    if "\0" in row["note"]:
        wrong.append("the note has a NUL character; remove it")
    for name, choices in CHOICES.items():
        value = cells.get(name, "")
        if value and value not in set(choices):
            text = f"{name} is {value!r}; write one of {', '.join(choices)}"
            wrong.append(Coded(text, "unknown_word", name=name, value=value))
        row[name] = value or None
    for name in ("from_at", "to_at", "known_at"):
        row[name] = _time(cells.get(name, ""), name, wrong)
    for name in ("verdict", "evidence"):
        if not cells.get(name):
            wrong.append(Coded(f"{name} is empty", f"empty_{name}"))
    place = [cells.get(name, "") for name in ("site", "cell", "robot_id", "axis")]
    row["axis_id"] = axis_id(*place) if place[2] and place[3] else cells.get("axis_id") or None
    if cells.get("axis_id", row["axis_id"]) not in ("", row["axis_id"]):
        wrong.append("axis_id does not belong to site, cell, robot_id and axis")
    row["unit_serial"] = cells.get("unit_serial") or None
    row["channel"] = cells.get("channel") or None
    if row["axis_id"] is None and row["unit_serial"] is None:
        wrong.append("the label names no unit and no axis; fill in unit_serial, or robot_id and axis")
    if row["from_at"] and row["to_at"] and row["to_at"] <= row["from_at"]:
        wrong.append(Coded("to_at is not after from_at", "range_order"))
    if row["from_at"] and row["known_at"] and row["known_at"] < row["from_at"]:
        text = "known_at is before from_at: a finding cannot be known before its time range begins"
        wrong.append(Coded(text, "range_future"))
    if row["mode"] and row["verdict"] != Verdict.FAULT:
        wrong.append(Coded(f"mode {row['mode']} goes with verdict fault only", "mode_needs_fault"))
    row["confidence"] = _share(cells.get("confidence", ""), wrong)
    if not wrong:
        row["label_id"] = _label_id(row)
    return row, wrong


def not_withdrawn(known_by: datetime | None = None) -> sa.ColumnElement[bool]:
    """SQL: the condition that a label was not withdrawn by a time; None: that it was never withdrawn."""
    withdrawn = sa.select(LabelWithdrawal.label_id)
    if known_by is not None:
        withdrawn = withdrawn.where(LabelWithdrawal.known_at <= known_by)
    return Label.label_id.not_in(withdrawn)


def known_labels(connection: Connection, *, known_by: datetime) -> list[KnownLabel]:
    """Return the labels that were known at a time and not withdrawn by then, in order of `known_at`."""
    query = sa.select(Label).where(Label.known_at <= known_by, not_withdrawn(known_by))
    query = query.order_by(Label.known_at, Label.label_id)
    return [
        KnownLabel(
            row.label_id,
            row.axis_id,
            row.unit_serial,
            row.channel,
            row.from_at,
            row.to_at,
            Verdict(row.verdict),
            Mode(row.mode) if row.mode else None,
            Evidence(row.evidence),
            row.known_at,
            row.case_id,
        )
        for row in connection.execute(query)
    ]


def question_id(label_id: str) -> str:
    """Return the id of the case that asks whether a label is right. A label that names this case is the answer."""
    return stable_id(label_id, CONFIRM, length=12)


def label_for(
    labels: Iterable[KnownLabel], *, axis: str, unit_serial: str | None, channel: str, started_at: datetime
) -> KnownLabel | None:
    """Return the label that is valid for a recording: strongest evidence first, then the latest `known_at`; None: none.

    A later finding of the same strength replaces an earlier one. A look at the signal never replaces a teardown.
    """
    valid = [
        label
        for label in labels
        if (label.unit_serial is None or label.unit_serial == unit_serial)
        and (label.axis_id is None or label.axis_id == axis)
        and (label.channel is None or label.channel == channel)
        and label.from_at <= started_at < label.to_at
    ]
    return max(valid, key=strength, default=None)


def strength(label: Any) -> tuple[int, datetime, str]:
    """Return the key by which the highest of several labels counts: evidence first, then the latest `known_at`."""
    return STRENGTH[Evidence(label.evidence)], label.known_at, label.label_id


def _time(text: str, name: str, wrong: list[str]) -> datetime | None:
    if not text:
        wrong.append(f"{name} is empty")
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        wrong.append(Coded(f"{name} {text!r} is no ISO 8601 time", "no_time", name=name))
        return None
    if moment.tzinfo is None:
        told = f"{name} {text!r} has no offset; write for example 2026-01-31T08:00:00Z"
        wrong.append(Coded(told, "no_time", name=name))
        return None
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        wrong.append(Coded(f"{name} {text!r} is out of range in UTC; write the offset Z", "no_time", name=name))
        return None


def _share(text: str, wrong: list[str]) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        wrong.append(f"confidence is {text!r}; write a number from 0 to 1")
    return value


def _label_id(row: Mapping[str, Any]) -> str:
    parts = [
        instant(value) if isinstance(value, datetime) else value
        for name, value in sorted(row.items())
        if name not in ("label_id", "who")
    ]
    return stable_id(*parts, length=16)
