"""From checked rows to committed recordings: write to the lake first, then commit all of one log file at once.

Used for files of the landing zone, and for rows of the quarantine that are judged again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.ids import stable_id
from pipeline.base.log_schema import LOG_SCHEMA
from pipeline.intake.contract import BadRow, GoodRow, Limits, Reason, judge_rows, shortened
from pipeline.intake.reading import Unread
from pipeline.store import due
from pipeline.store.database import Store, insert_ignore
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, LakeFile, QuarantineRow, Recording

CHUNK_BYTES = 32 * 1024 * 1024
"""Bytes of signals that are kept in memory before they are written to the lake."""

STORED_COLUMNS = tuple(
    name
    for name in LOG_SCHEMA.names
    if name
    not in ("schema_version", "site", "cell", "robot_id", "axis", "samples", "speed_trace_rpm", "speed_trace_rate_hz")
)


@dataclass
class Harvest:
    """The rows of one log file that will be written to the database."""

    n_rows: int = 0
    lake_files: list[dict[str, Any]] = field(default_factory=list)
    axes: dict[str, dict[str, Any]] = field(default_factory=dict)
    recordings: list[dict[str, Any]] = field(default_factory=list)
    known: int = 0
    n_quarantined: int = 0
    quarantine: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Origin:
    """The log file that rows come from."""

    file_hash: str
    path: str


class Raced(Exception):
    """Another run has just committed a recording of this file with different content; judge the file again."""


class Harvester:
    """Reads the batches of one log file, writes signals to the lake, and collects the rows to commit."""

    def __init__(self, store: Store, lake: Lake, origin: Origin, limits: Limits) -> None:
        self.store, self.lake, self.origin, self.limits = store, lake, origin, limits
        self.harvest = Harvest()
        self._good: list[GoodRow] = []
        self._bytes = 0
        self._taken: dict[str, str] = {}

    def add_batch(self, batch: pa.RecordBatch, first_row: int) -> None:
        """Judge the rows of a batch whose columns passed `judge_columns`."""
        judged = list(judge_rows(batch, first_row, self.limits))
        self.harvest.n_rows += len(judged)
        good_rows = [row for row in judged if isinstance(row, GoodRow)]
        bad_rows = [row for row in judged if isinstance(row, BadRow)]
        stored = stored_hashes(self.store, [row.recording_id for row in good_rows])
        for row in good_rows:
            earlier = stored.get(row.recording_id, self._taken.get(row.recording_id))
            if earlier is None:
                self._taken[row.recording_id] = row.content_hash
                self._good.append(row)
                self._bytes += row.samples.nbytes
            elif earlier == row.content_hash:
                self.harvest.known += 1
            else:
                bad_rows.append(conflict(row))
        self._put_aside(batch, first_row, bad_rows)
        if self._bytes >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the recordings held in memory to the lake."""
        if not self._good:
            return
        table = _signal_table(self._good)
        path, size = self.lake.put_table("recordings", table)
        as_of = self.limits.as_of
        self.harvest.lake_files.append(
            {"path": path, "kind": "recordings", "size_bytes": size, "n_rows": table.num_rows, "known_at": as_of}
        )
        for row, good in enumerate(self._good):
            values = good.values
            self.harvest.axes[good.axis_id] = axis_row(good.axis_id, values, as_of)
            self.harvest.recordings.append(
                {name: values[name] for name in STORED_COLUMNS}
                | {
                    "recording_id": good.recording_id,
                    "axis_id": good.axis_id,
                    "n_samples": len(good.samples),
                    "content_hash": good.content_hash,
                    "samples_hash": good.samples_hash,
                    "file_hash": self.origin.file_hash,
                    "lake_path": path,
                    "lake_row": row,
                    "known_at": as_of,
                }
            )
        self._good, self._bytes = [], 0

    def refuse_file(self, source: Path, reasons: Sequence[Reason]) -> None:
        """Put the whole file into quarantine, and forget what was read of it."""
        self.harvest, self._good, self._bytes, self._taken = Harvest(), [], 0, {}
        self._keep(source, [BadRow(-1, self.origin.path, tuple(reasons))], 1)

    def refuse_unread(self, source: Path, unread: Sequence[Unread]) -> None:
        """Put rows that were not read into quarantine: one entry for each stretch, and the file that they are in."""
        if unread:
            rows = [
                BadRow(part.first_row, f"rows {part.first_row} to {part.first_row + part.count - 1}", (part.reason,))
                for part in unread
            ]
            count = sum(part.count for part in unread)
            self.harvest.n_rows += count
            self._keep(source, rows, count)

    def _keep(self, source: Path, bad: Sequence[BadRow], count: int) -> None:
        """Keep a log file in the lake as it is, for entries of the quarantine."""
        path, as_of = self.lake.put_file("quarantine", source, self.origin.file_hash), self.limits.as_of
        size = source.stat().st_size
        self.harvest.lake_files.append(
            {"path": path, "kind": "quarantine", "size_bytes": size, "n_rows": 0, "known_at": as_of}
        )
        self.harvest.n_quarantined += count
        self.harvest.quarantine += [quarantine_row(self.origin, row, path, -1, as_of) for row in bad]

    def _put_aside(self, batch: pa.RecordBatch, first_row: int, bad: list[BadRow]) -> None:
        if not bad:
            return
        bad = sorted(bad, key=lambda row: row.row_number)
        taken = batch.take(pa.array([row.row_number - first_row for row in bad]))
        table = pa.Table.from_batches([shortened(taken)])
        self.harvest.n_quarantined += len(bad)
        path, size = self.lake.put_table("quarantine", table)
        as_of = self.limits.as_of
        self.harvest.lake_files.append(
            {"path": path, "kind": "quarantine", "size_bytes": size, "n_rows": len(bad), "known_at": as_of}
        )
        for row, judged in enumerate(bad):
            self.harvest.quarantine.append(quarantine_row(self.origin, judged, path, row, as_of))


def commit_harvest(connection: Connection, harvest: Harvest) -> tuple[int, int]:
    """Write a harvest in the caller's transaction; return how many recordings were new and how many known.

    Raises
    ------
    Raced
        Another run committed the same key with different content after the rows were judged. Roll back, judge again.
    """
    insert_ignore(connection, LakeFile, sorted(harvest.lake_files, key=lambda row: str(row["path"])))
    insert_ignore(connection, Axis, [harvest.axes[key] for key in sorted(harvest.axes)])
    rows = sorted(harvest.recordings, key=lambda row: str(row["recording_id"]))
    insert_ignore(connection, Recording, rows)
    new_ones = ((row["started_at"], row["recording_id"], row["n_samples"] * 4) for row in rows)
    due.mark(connection, due.Queue(due.EXTRACT), new_ones)
    stored = _read_stored(connection, [row["recording_id"] for row in rows])
    new = 0
    for row in rows:
        content_hash, file_hash = stored[row["recording_id"]]
        if content_hash != row["content_hash"]:
            raise Raced
        new += file_hash == row["file_hash"]
    insert_ignore(connection, QuarantineRow, harvest.quarantine)
    return new, harvest.known + len(rows) - new


def stored_hashes(store: Store, ids: Sequence[str]) -> dict[str, str]:
    """Return the content hashes, by recording id, of the recordings that are stored already."""
    with store.read() as connection:
        return {key: content_hash for key, (content_hash, _) in _read_stored(connection, ids).items()}


def _read_stored(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    hashes: dict[str, tuple[str, str]] = {}
    for first in range(0, len(ids), 500):
        query = sa.select(Recording.recording_id, Recording.content_hash, Recording.file_hash).where(
            Recording.recording_id.in_(ids[first : first + 500])
        )
        hashes |= {row[0]: (row[1], row[2]) for row in connection.execute(query)}
    return hashes


def conflict(row: GoodRow) -> BadRow:
    """Return the refusal of a recording whose key belongs to a stored one with different content."""
    what = "/".join(str(row.values[name]) for name in ("site", "cell", "robot_id", "axis", "channel"))
    reason = Reason(
        "conflict",
        f"a recording of this channel that started at {row.values['started_at'].isoformat()} is here already with "
        "other content; the first one stays: find out which logger is wrong",
    )
    return BadRow(row.row_number, what, (reason,))


def quarantine_row(origin: Origin, bad: BadRow, lake_path: str, lake_row: int, as_of: datetime) -> dict[str, Any]:
    """Return the database row of a refused row, or of a refused file."""
    return {
        "quarantine_id": stable_id(origin.file_hash, bad.row_number, length=12),
        "file_hash": origin.file_hash,
        "path": origin.path,
        "row_number": bad.row_number,
        "what": bad.what,
        "reasons": [reason.as_dict() for reason in bad.reasons],
        "lake_path": lake_path,
        "lake_row": lake_row,
        "state": "open",
        "due_at": bad.due_at,
        "known_at": as_of,
        "resolved_at": None,
    }


def axis_row(key: str, values: Any, as_of: datetime) -> dict[str, Any]:
    """Return the database row of an axis."""
    names = {name: values[name] for name in ("site", "cell", "robot_id", "axis")}
    return {"axis_id": key, **names, "expected_every_s": None, "known_at": as_of}


def _signal_table(rows: Iterable[GoodRow]) -> pa.Table:
    """Return the table that the lake keeps: samples in the declared unit, and speed traces."""
    rows = list(rows)
    return pa.table(
        {
            "recording_id": pa.array([row.recording_id for row in rows], pa.string()),
            "samples": pa.array([row.samples for row in rows], pa.list_(pa.float32())),
            "speed_trace_rpm": pa.array([row.speed_trace_rpm for row in rows], pa.list_(pa.float32())),
            "speed_trace_rate_hz": pa.array([row.values["speed_trace_rate_hz"] for row in rows], pa.float64()),
        }
    )
