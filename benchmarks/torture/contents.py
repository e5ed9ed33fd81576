"""What is compared: every row of every table, the features themselves, and every file that the database names.

`DIFFERS` is the one list of what may rightly differ from an undisturbed run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Base

Rows = list[dict[str, Any]]

DIFFERS = {
    "lake_files of kind features; lake_path and lake_row of extractions": (
        "which recordings share a file of features depends on how a run was cut; the features are compared instead"
    ),
    "heartbeats": "they say when a run ended",
    "files of the lake without a row, and hidden folders of an import": (
        "a run that is killed leaves them; no step reads them, and `axiswatch lake sweep` deletes the first"
    ),
    "after a wrong clock: columns known_at, decisions by time, entries of the quarantine that were accepted later, and "
    "what follows from a baseline that was written meanwhile": (
        "they say when axiswatch came to know something, and it was wrong about that"
    ),
    "after a run that named a log which a fault of the machine kept from it: baselines, figures and cases": (
        "the run goes on without it, and the next one takes it as a log that came late; each recording is there, "
        "and scored"
    ),
}
"""What may differ, and why."""

BY_CLOCK = ("recordings", "extractions", "features", "scored", "labels", "axes", "open quarantine")
"""What a wrong clock must not change, but for the columns in `KNOWN`."""

KNOWN = ("known_at", "advised", "lake_path", "lake_row", "file_hash")
"""Columns that follow from when, and from which of two files, a row was taken; its content is compared by its hash."""

FUTURE_ROBOT = "R91"
"""The robot whose recordings lie after the end: a run for a later time rightly takes them."""

OF_LATE_LOGS = ("recordings", "extractions", "features", "labels", "axes", "quarantine", "log_files", "landing_entries")
"""What a log that came late must not change; and each recording must have been scored."""


@dataclass
class Contents:
    """All rows by table, problems of the lake (each a sentence), and the number of files that nobody names."""

    tables: dict[str, Rows] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    orphans: int = 0


def read_tables(store: Store) -> dict[str, Rows]:
    """Read every row of every table, in the order of their text; of the sign of life without its true time."""
    found = {}
    with store.read() as connection:
        for table in Base.metadata.sorted_tables:
            columns = [column for column in table.columns if str(column) != "heartbeats.at"]
            rows = [dict(row._mapping) for row in connection.execute(sa.select(*columns))]
            found[table.name] = sorted(rows, key=in_text)
    return found


def in_text(row: dict[str, Any]) -> str:
    """Return a row as text, to sort and compare by."""
    return json.dumps(row, default=str, sort_keys=True)


def read(store: Store, lake: Lake) -> Contents:
    """Read all that a database and its lake hold, but for what `DIFFERS` names."""
    found = Contents(read_tables(store))
    tables = found.tables
    del tables["heartbeats"]
    named = {row["path"]: row["kind"] for row in tables["lake_files"]}
    files = {path for path, _ in lake.files()}
    for version in tables["model_versions"]:
        named |= {f"{version['lake_prefix']}/{name}": "artifact" for name in version["settings"]["files"]}
    for path, kind in named.items():
        if path not in files:
            found.problems.append(f"{path} is named and missing")
        elif kind != "artifact" and hashlib.sha256(lake.read(path)).hexdigest() != Path(path).stem:
            found.problems.append(f"{path} has other content than its name says")
    named_by_rows = {
        row["lake_path"] for name in ("recordings", "quarantine", "extractions") for row in tables[name]
    } - {None}
    found.problems += [f"{path} is named by a row and no committed file" for path in named_by_rows - named.keys()]
    found.orphans = len(files - named.keys())
    by_path = {}
    tables["features"] = []
    for row in tables["extractions"]:
        path, first = row.pop("lake_path"), row.pop("lake_row")
        if path in files:
            by_path[path] = by_path.get(path) or lake.table(path)
            windows = by_path[path].slice(first, row["n_windows"])
            if set(windows.column("recording_id").to_pylist()) != {row["recording_id"]}:
                found.problems.append(f"{path} has features of another recording at row {first}")
            key = {name: row[name] for name in ("recording_id", "geometry_version", "feature_version")}
            tables["features"].append(key | {"windows": repr(windows.to_pylist())})
    tables["features"].sort(key=in_text)
    tables["extractions"].sort(key=in_text)
    tables["lake_files"] = [row for row in tables["lake_files"] if row["kind"] != "features"]
    return found


def read_folder(folder: Path) -> Contents:
    """Read the files of a folder, hidden ones counted only: what an import of an archive writes."""
    found = Contents({"files": []})
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts):
            found.orphans += 1
        elif path.is_file():
            found.tables["files"].append(
                {"path": str(inside), "content": hashlib.sha256(path.read_bytes()).hexdigest()}
            )
    return found


def by_clock(contents: Contents) -> Contents:
    """Return what a wrong clock must not change."""
    tables = dict(contents.tables) | {"scored": _scored(contents)}
    tables["open quarantine"] = [
        {"quarantine_id": row["quarantine_id"]}
        for row in tables["quarantine"]
        if row["state"] == "open" and row["reasons"][0]["code"] != "time_in_future"
    ]
    future = {row["axis_id"] for row in tables["axes"] if row["robot_id"] == FUTURE_ROBOT}
    future |= {row["recording_id"] for row in tables["recordings"] if row["axis_id"] in future}
    kept = {
        name: sorted(
            (
                {key: value for key, value in row.items() if key not in KNOWN}
                for row in tables[name]
                if not {row.get("axis_id"), row.get("recording_id")} & future
            ),
            key=in_text,
        )
        for name in BY_CLOCK
    }
    return Contents(kept, contents.problems, contents.orphans)


def by_late_logs(contents: Contents) -> Contents:
    """Return what must be the same although some logs came late."""
    tables = {name: contents.tables[name] for name in OF_LATE_LOGS}
    tables["scored"] = _scored(contents)
    return Contents(tables, contents.problems, contents.orphans)


def _scored(contents: Contents) -> Rows:
    """Return which recordings have scores of which model."""
    pairs = {(row["recording_id"], row["model_version"]) for row in contents.tables["scorings"]}
    return [{"recording_id": one, "model_version": other} for one, other in sorted(pairs)]


@dataclass(frozen=True)
class Difference:
    """Rows of one table that are missing and that are too many, each as text."""

    table: str
    lost: list[str]
    extra: list[str]

    def in_words(self) -> str:
        """Say how many rows differ, in which columns, and show the first ones."""
        keys = [column.name for column in Base.metadata.tables[self.table].primary_key] if self.is_table else []
        by_key = [
            {tuple(str(row[key]) for key in keys): row for row in map(json.loads, rows)}
            for rows in (self.lost, self.extra)
        ]
        both = by_key[0].keys() & by_key[1].keys() if keys else set()
        columns = {name for key in both for name in by_key[0][key] if by_key[0][key][name] != by_key[1][key].get(name)}
        changed = f", {len(both)} of them changed in {', '.join(sorted(columns))}" if both else ""
        counted = f"{self.table}: {len(self.lost)} lost, {len(self.extra)} extra{changed}"
        return f"{counted}; lost {self.lost[:1]}, extra {self.extra[:1]}"

    @property
    def is_table(self) -> bool:
        """Whether it is a table of the database."""
        return self.table in Base.metadata.tables


def differences(wanted: Contents, found: Contents) -> list[Difference]:
    """Compare table by table."""
    result = []
    for name in sorted(wanted.tables.keys() | found.tables.keys()):
        one, other = ([in_text(row) for row in each.tables.get(name, [])] for each in (wanted, found))
        if one != other:
            lost, extra = _left_over(one, other), _left_over(other, one)
            result.append(Difference(name, lost, extra))
    return result


def _left_over(rows: list[str], others: list[str]) -> list[str]:
    """Return the rows that the others do not have, counted with how often each stands there."""
    from collections import Counter

    return sorted((Counter(rows) - Counter(others)).elements())
