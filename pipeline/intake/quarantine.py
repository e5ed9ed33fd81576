"""Quarantine: rows and files that were refused, the reasons, and how they are judged again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.intake.contract import Limits, judge_columns
from pipeline.intake.ingest import Harvester, Origin, Raced, commit_harvest
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import QuarantineRow

TRIES = 5


@dataclass(frozen=True)
class Replayed:
    """The result of judging one entry again."""

    quarantine_id: str
    accepted: int
    reasons: list[Any]


def list_quarantine(store: Store, *, state: str | None = "open", limit: int | None = None) -> list[dict[str, Any]]:
    """Return the entries (the first `limit`) in order of `known_at`; `state` None: entries of all states."""
    query = sa.select(QuarantineRow).order_by(
        QuarantineRow.known_at, QuarantineRow.path, QuarantineRow.row_number, QuarantineRow.quarantine_id
    )
    if state is not None:
        query = query.where(QuarantineRow.state == state)
    if limit is not None:
        query = query.limit(limit)
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def show_quarantine(store: Store, lake: Lake, quarantine_id: str) -> dict[str, Any]:
    """Return one entry with the values of its row that can be shown; of samples only their number.

    Raises
    ------
    PrerequisiteMissing
        There is no such entry.
    """
    entry = _entry(store, quarantine_id)
    entry["row"] = {}
    if entry["lake_row"] >= 0:
        table = lake.table(entry["lake_path"])
        for name in table.column_names:
            value = table.column(name)[entry["lake_row"]]
            try:
                shown = value.as_py()
            except (UnicodeDecodeError, OverflowError, ValueError) as error:
                shown = f"cannot be shown: {error}"
            if isinstance(shown, list):
                shown = f"{len(shown)} values"
            elif isinstance(shown, float) and not math.isfinite(shown):
                shown = str(shown)
            entry["row"][name] = shown
    return entry


def replay(store: Store, lake: Lake, limits: Limits, ids: Sequence[str] | None = None) -> list[Replayed]:
    """Judge open entries again, with today's settings and `as_of`; rows that are good now are accepted.

    Parameters
    ----------
    ids
        Entries to judge; None means all that are open.

    Raises
    ------
    PrerequisiteMissing
        One of the entries does not exist.
    """
    entries = list_quarantine(store) if ids is None else [_entry(store, key) for key in ids]
    return [_replay_one(store, lake, limits, entry) for entry in entries if entry["state"] == "open"]


def _replay_one(store: Store, lake: Lake, limits: Limits, entry: dict[str, Any]) -> Replayed:
    for _ in range(TRIES):
        try:
            return _judge_again(store, lake, limits, entry)
        except Raced:
            continue
    raise AxiswatchError(f"{entry['quarantine_id']}: other runs kept changing its recordings; run again")


def _judge_again(store: Store, lake: Lake, limits: Limits, entry: dict[str, Any]) -> Replayed:
    harvester = Harvester(store, lake, Origin(entry["file_hash"], entry["path"]), limits)
    whole_file = entry["lake_row"] < 0
    try:
        table = _as_it_came(lake.read(entry["lake_path"])) if whole_file else lake.table(entry["lake_path"])
    except (pa.ArrowException, OSError):
        return Replayed(entry["quarantine_id"], 0, entry["reasons"])
    if judge_columns(table.schema)[0]:
        return Replayed(entry["quarantine_id"], 0, entry["reasons"])
    if not whole_file:
        table = table.slice(entry["lake_row"], 1)
    first_row = max(entry["row_number"], 0)
    for batch in table.combine_chunks().to_batches():
        harvester.add_batch(batch, first_row)
        first_row += batch.num_rows
    harvester.flush()
    harvest = harvester.harvest
    reasons = [row["reasons"] for row in harvest.quarantine]
    resolved = whole_file or not reasons
    if not whole_file:
        harvest.quarantine = []
        harvest.lake_files = [file for file in harvest.lake_files if file["kind"] == "recordings"]
    change: dict[str, Any] = {"state": "replayed", "resolved_at": limits.as_of} if resolved else {"reasons": reasons[0]}
    with store.write() as connection:
        new, known = commit_harvest(connection, harvest)
        ours = QuarantineRow.quarantine_id == entry["quarantine_id"]
        connection.execute(sa.update(QuarantineRow).where(ours).values(**change))
    return Replayed(entry["quarantine_id"], new + known, [reason for row in reasons for reason in row])


def _entry(store: Store, quarantine_id: str) -> dict[str, Any]:
    with store.read() as connection:
        query = sa.select(QuarantineRow).where(QuarantineRow.quarantine_id == quarantine_id)
        row = connection.execute(query).one_or_none()
    if row is None:
        raise PrerequisiteMissing(
            f"nothing in quarantine has the id {quarantine_id}; `axiswatch quarantine list` shows them"
        )
    return dict(row._mapping)


def _as_it_came(data: bytes) -> pa.Table:
    """Read a log file that is in quarantine as a whole. It may not be Parquet: that is no damage of the lake."""
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
