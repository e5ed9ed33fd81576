"""Prune the landing zone: files that are safely in the lake are moved to an archive, or deleted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipeline.base.errors import SettingsError
from pipeline.intake.acquire import PAGE, LandingFile, hash_file, walk
from pipeline.store.database import Store
from pipeline.store.tables import LandingEntry, LogFile


@dataclass
class PruneReport:
    """Counts of one run.

    Attributes
    ----------
    files, size_bytes : int
        What was removed, or with a dry run would be.
    kept : int
        Files that are old enough, but not taken in yet or changed since.
    problems : list of str
        Files that could not be removed, and why.
    """

    files: int = 0
    size_bytes: int = 0
    kept: int = 0
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name, and the problems."""
        return asdict(self)


def prune_landing(
    store: Store, landing: Path, *, before: datetime, archive: Path | None = None, dry_run: bool = False
) -> PruneReport:
    """Remove log files that were last changed before a time and whose content is in the lake, quarantine included.

    Each is read once more: only a file with the very bytes that were taken in is removed.

    Parameters
    ----------
    archive
        Folder that files are moved to, below the same folders; None: they are deleted. What is there already under
        that name is replaced.

    Raises
    ------
    SettingsError
        The archive lies inside the landing zone.
    """
    if archive is not None and archive.resolve().is_relative_to(landing.resolve()):
        raise SettingsError(f"the archive {archive} lies inside the landing zone {landing}; name a folder outside it")
    report = PruneReport()
    files, report.problems = walk(landing)
    limit = before.timestamp() * 1e9
    old = [file for file in files if file.modified_ns < limit]
    for first in range(0, len(old), PAGE):
        page = old[first : first + PAGE]
        taken = dict(_taken(store, page))
        for file in page:
            path = landing / file.name
            try:
                if taken.get(file.relative) != hash_file(path):
                    report.kept += 1
                    continue
                if not dry_run:
                    _remove(path, landing, None if archive is None else archive / file.name)
            except OSError as error:
                report.problems.append(f"{path}: {error.strerror or error}")
                continue
            report.files += 1
            report.size_bytes += file.size_bytes
        if not dry_run:
            gone = [file.relative for file in page if not (landing / file.name).exists()]
            with store.write() as connection:
                connection.execute(sa.delete(LandingEntry).where(LandingEntry.path.in_(gone)))
    return report


def _taken(store: Store, files: list[LandingFile]) -> Iterator[tuple[str, str]]:
    """Yield path and hash of files that were taken in as they are."""
    query = sa.select(LandingEntry).join(LogFile, LogFile.file_hash == LandingEntry.file_hash)
    names = LandingEntry.path.in_([file.relative for file in files])
    with store.read() as connection:
        rows = {row.path: row for row in connection.execute(query.where(names, LandingEntry.tries == 0))}
    for file in files:
        row = rows.get(file.relative)
        if row is not None and (row.size_bytes, row.modified_ns) == (file.size_bytes, file.modified_ns):
            yield file.relative, row.file_hash


def _remove(path: Path, landing: Path, target: Path | None) -> None:
    """Delete or move a file, and its folder below the landing zone where that is empty then."""
    if target is None:
        path.unlink()
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    if path.parent != landing:
        with suppress(OSError):  # others are in it
            path.parent.rmdir()
