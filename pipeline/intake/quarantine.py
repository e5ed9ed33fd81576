"""Quarantine: rows and files that were refused, the reasons, and how they are judged again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.intake.contract import Limits, Reason
from pipeline.intake.ingest import Harvester, Origin, Raced, commit_harvest
from pipeline.intake.reading import DAMAGE, Refused, Unread, read_log, survives
from pipeline.store.database import Store
from pipeline.store.lake import Lake, LakeError, LakeUnavailable, is_damage
from pipeline.store.tables import QuarantineRow

TRIES = 5
DUE_ROWS = 1_000
"""Rows of the quarantine that one run judges again by itself."""


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


def judge_due(store: Store, lake: Lake, limits: Limits) -> tuple[int, list[str]]:
    """Judge again the open rows that were in the future and are not any more, the first `DUE_ROWS` of them.

    Returns
    -------
    accepted : int
        Rows that are recordings now.
    problems : list of str
        A line for each row that is missing or damaged in the lake.
    """
    is_due = (QuarantineRow.state == "open", QuarantineRow.due_at <= limits.as_of)
    query = sa.select(QuarantineRow).where(*is_due).order_by(QuarantineRow.due_at).limit(DUE_ROWS)
    with store.read() as connection:
        entries = [dict(row._mapping) for row in connection.execute(query)]
    accepted, problems = 0, []
    for entry in entries:
        try:
            accepted += _replay_one(store, lake, limits, entry).accepted
        except LakeUnavailable:
            raise
        except LakeError as error:
            problems.append(f"quarantine {entry['quarantine_id']}: {error}")
    return accepted, problems


def _replay_one(store: Store, lake: Lake, limits: Limits, entry: dict[str, Any]) -> Replayed:
    for _ in range(TRIES):
        try:
            return _judge_again(store, lake, limits, entry)
        except Raced:
            continue
    raise AxiswatchError(f"{entry['quarantine_id']}: other runs kept changing its recordings; run again")


def _judge_again(store: Store, lake: Lake, limits: Limits, entry: dict[str, Any]) -> Replayed:
    harvester = Harvester(store, lake, Origin(entry["file_hash"], entry["path"]), limits)
    is_file = entry["lake_row"] < 0
    if is_file:
        try:
            _judge_file(lake, harvester, entry["lake_path"])
        except Refused as refused:
            return Replayed(entry["quarantine_id"], 0, [reason.as_dict() for reason in refused.reasons])
        except DAMAGE as error:
            if not is_damage(error):
                raise
            return Replayed(entry["quarantine_id"], 0, entry["reasons"])
    else:
        table = lake.table(entry["lake_path"]).slice(entry["lake_row"], 1)
        for batch in table.combine_chunks().to_batches():
            harvester.add_batch(batch, entry["row_number"])
    harvester.flush()
    harvest = harvester.harvest
    still = [row for row in harvest.quarantine if row["quarantine_id"] == entry["quarantine_id"]]
    if not is_file:
        harvest.quarantine = []
        harvest.lake_files = [file for file in harvest.lake_files if file["kind"] == "recordings"]
    change: dict[str, Any] = {"state": "replayed", "due_at": None, "resolved_at": limits.as_of}
    if still:
        change = {"reasons": still[0]["reasons"], "due_at": still[0]["due_at"]}
    with store.write() as connection:
        new, known = commit_harvest(connection, harvest)
        ours = QuarantineRow.quarantine_id == entry["quarantine_id"]
        connection.execute(sa.update(QuarantineRow).where(ours).values(**change))
    reasons = [reason for row in (harvest.quarantine if is_file else still) for reason in row["reasons"]]
    return Replayed(entry["quarantine_id"], new + known, reasons)


def _judge_file(lake: Lake, harvester: Harvester, lake_path: str) -> None:
    """Judge all rows of a log file that is in quarantine. It may not be Parquet: that is no damage of the lake."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "log"
        lake.fetch(lake_path, copy)
        if not survives(copy, harvester.limits):
            raise Refused(Reason("killed_runs", "reading it takes too much memory or time; split it"))
        unread = []
        for part in read_log(copy, harvester.limits, []):
            if isinstance(part, Unread):
                unread.append(part)
            else:
                harvester.add_batch(part[1], part[0])
        if unread and not harvester.harvest.n_rows:
            raise Refused(*(part.reason for part in unread))
        harvester.refuse_unread(copy, unread)


def _entry(store: Store, quarantine_id: str) -> dict[str, Any]:
    with store.read() as connection:
        query = sa.select(QuarantineRow).where(QuarantineRow.quarantine_id == quarantine_id)
        row = connection.execute(query).one_or_none()
    if row is None:
        raise PrerequisiteMissing(
            f"nothing in quarantine has the id {quarantine_id}; `axiswatch quarantine list` shows them"
        )
    return dict(row._mapping)
