"""What waits in the landing zone, cut into batches of files for the tasks of a schedule.

A file is for the run whose time has come: one that was changed by `as_of`, or whose recordings had all begun by then.
What is younger waits for a later run, which is how a run that is late, or done again for a day long past, takes what a
run on time took. A file that cannot be read waits until it was left alone for the settling time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.acquire import AcquireReport, passed_over, unseen_files
from pipeline.store.database import Store


@dataclass
class LandingPlan:
    """Batches of files, oldest first, and what else was seen.

    Attributes
    ----------
    batches : list of list of str
        Names as `encode_name` gives them.
    files, size_bytes : int
        Files in them, and their size.
    waiting : int
        Files that are for a later run.
    problems : list of str
        What a user may think is taken and is not.
    """

    batches: list[list[str]] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0
    waiting: int = 0
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return dict(vars(self))


def plan_landing(store: Store, landing: Path, *, as_of: datetime, size: int, most: int) -> LandingPlan:
    """Cut the files that are due into batches of up to `size` bytes (at least one file), `most` at most."""
    plan = LandingPlan(problems=passed_over(landing))
    due = []
    for found in unseen_files(store, landing, AcquireReport()):
        if found.modified_ns > as_of.timestamp() * 1e9 and not begun_by(found.path, as_of):
            plan.waiting += 1
        else:
            due.append(found)
    held = 0
    for found in sorted(due, key=lambda item: (item.modified_ns, item.relative)):
        if not plan.batches or (plan.batches[-1] and held + found.size_bytes > size):
            if len(plan.batches) == most:
                break
            plan.batches.append([])
            held = 0
        plan.batches[-1].append(encode_name(found.path.relative_to(landing)))
        held += found.size_bytes
        plan.files += 1
        plan.size_bytes += found.size_bytes
    plan.waiting += len(due) - plan.files
    return plan


def begun_by(path: Path, as_of: datetime) -> bool:
    """Say whether every recording of a log file had begun by a time. A file that cannot be read has not."""
    try:
        with path.open("rb") as file:
            column = pq.read_table(file, columns=["started_at"], use_threads=False).column("started_at")
        newest = pc.max(column).as_py()
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return False
    if not isinstance(newest, datetime):
        return False
    return (newest if newest.tzinfo else newest.replace(tzinfo=UTC)) <= as_of


def encode_name(relative: Path) -> str:
    """Write the name of a file in ASCII, whatever its bytes are."""
    return quote_from_bytes(os.fsencode(relative.as_posix()))


def decode_names(names: Sequence[str], landing: Path) -> Iterator[Path]:
    """Give the paths of names that `encode_name` gave."""
    for name in names:
        yield landing / os.fsdecode(unquote_to_bytes(name))
