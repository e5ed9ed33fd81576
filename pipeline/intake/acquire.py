"""acquire: from the landing zone to the lake. Every log file is judged row by row and committed as a whole.

It may run again, late, twice at once or after a kill; the rows in the end are the same. Files are known by their
content hash and recordings by their key, and one transaction commits all rows of a file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError
from pipeline.intake.contract import Limits, Reason, printable
from pipeline.intake.ingest import Harvester, Origin, Raced, commit_harvest
from pipeline.intake.quarantine import judge_due
from pipeline.intake.reading import DAMAGE, FAULTS, Refused, Unread, begun_by, read_log, survives
from pipeline.store.database import Store, insert_new, upsert
from pipeline.store.lake import Lake, is_damage
from pipeline.store.tables import LandingEntry, LogFile


@dataclass
class LandingPlan:
    """Batches of files, those of the last hours first, and what was left out.

    Attributes
    ----------
    batches : list of list of str
        Names as `encode_name` returns them.
    files, size_bytes : int
        Files in them, and their size.
    waiting : int
        Number of files that are left for a later run.
    problems : list of str
        Things in the landing zone that are never read, see `walk`.
    """

    batches: list[list[str]] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0
    waiting: int = 0
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dict(vars(self))


def plan_landing(store: Store, landing: Path, *, as_of: datetime, size: int, most: int) -> LandingPlan:
    """Cut the files that are due into batches of up to `size` bytes and `BATCH_FILES` files, `most` batches at most.

    Files that changed in the last `LIVE` before `as_of` come first, so that they do not wait behind what has piled up.
    Both kinds are taken oldest first: a unit's first days have to be known before its later ones.
    """
    files, problems = walk(landing)
    plan = LandingPlan(problems=problems)
    due = []
    for landed in unseen_files(store, files, AcquireReport()):
        if landed.modified_ns > as_of.timestamp() * 1e9 and not begun_by(landing / landed.name, as_of):
            plan.waiting += 1
        else:
            due.append(landed)
    live, now = (as_of - LIVE).timestamp() * 1e9, as_of.timestamp() * 1e9

    def turn(landed: LandingFile) -> tuple[bool, int, str]:
        return not live < landed.modified_ns <= now, landed.modified_ns, landed.relative

    size_so_far = 0
    for landed in sorted(due, key=turn):
        full = plan.batches and (len(plan.batches[-1]) == BATCH_FILES or size_so_far + landed.size_bytes > size)
        if not plan.batches or full:
            if len(plan.batches) == most:
                break
            plan.batches.append([])
            size_so_far = 0
        plan.batches[-1].append(encode_name(Path(landed.name)))
        size_so_far += landed.size_bytes
        plan.files += 1
        plan.size_bytes += landed.size_bytes
    plan.waiting += len(due) - plan.files
    return plan


def encode_name(relative: Path) -> str:
    """Return the name of a file in ASCII, even if its bytes are not text."""
    return quote_from_bytes(os.fsencode(relative.as_posix()))


def decode_names(names: Sequence[str], landing: Path) -> Iterator[Path]:
    """Yield the paths of names that `encode_name` returned."""
    for name in names:
        yield landing / os.fsdecode(unquote_to_bytes(name))


LIVE = timedelta(hours=6)
"""Files that changed so shortly before a run are taken before all others; much shorter than a baseline period."""

BATCH_FILES = 500
"""Files that one task takes at most; their names go through Airflow's database."""

UNFINISHED_SUFFIXES = (".tmp", ".part", ".partial", ".crdownload", ".filepart")
TRIES = 5
PAGE = 1000
NOTED = 20
"""Files that are noted at a time as being read."""


@dataclass
class AcquireReport:
    """What one run of acquire did."""

    files: int = 0
    files_known: int = 0
    files_waiting: int = 0
    recordings: int = 0
    recordings_known: int = 0
    quarantined: int = 0
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name, and the problems."""
        return asdict(self)


@dataclass(frozen=True)
class LandingFile:
    """A file of the landing zone, with size and time of change when it was listed.

    `name` is its path below the landing zone, `relative` the same as text that can be stored. `tries`: 1 where
    a run ended while it was being read.
    """

    name: str
    relative: str
    size_bytes: int
    modified_ns: int
    tries: int = 0


def acquire(
    store: Store,
    lake: Lake,
    landing: Path,
    *,
    limits: Limits,
    settled_before: datetime,
    only: Iterable[Path] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> AcquireReport:
    """Read all new files of the landing zone into lake and database.

    Parameters
    ----------
    limits
        Limits of a plausible recording, and the `as_of` of the run.
    settled_before
        An unreadable file that changed after this time may still be written; it is left for a later run.
    only
        Files of the landing zone to read; all of them by default.

    Raises
    ------
    AxiswatchError
        The landing zone is not a folder, or a fault of the machine let none of the files be read.
    LakeUnavailable
        The lake cannot be written; what was not committed is due again.
    """
    if not landing.is_dir():
        raise AxiswatchError(f"the landing zone {landing} is not a folder; create it, or set `landing`")
    report = AcquireReport()
    if only is None:
        files, report.problems = walk(landing)
        report.recordings, problems = judge_due(store, lake, limits)
        report.problems += problems
    else:
        names = [path.relative_to(landing).as_posix() for path in only]
        files = [file for name in names for file in _landed(landing, name, landing / name, report.problems)]
    waiting = unseen_files(store, files, report)
    failed = 0
    for first in range(0, len(waiting), NOTED):
        page = waiting[first : first + NOTED]
        with _noted(store, page, report) as kept:
            for done, landed in enumerate(page, first):
                if on_progress:
                    on_progress(done, len(waiting))
                try:
                    _take(store, lake, landing / landed.name, landed, limits, settled_before, report)
                except FAULTS as error:
                    report.problems.append(_left(landing / landed.name, error))
                    failed += not isinstance(error, PermissionError)
                    if not isinstance(error, OSError):
                        kept.add(landed.relative)
    if failed and failed == len(waiting):
        raise AxiswatchError(f"none of {failed} log files could be read: {report.problems[-1]}")
    if on_progress:
        on_progress(len(waiting), len(waiting))
    store.refresh_statistics(report.recordings)
    return report


def _left(path: Path | str, error: Exception) -> str:
    """Return a line about a file or folder that is left for a later run, because of a fault that is not its own."""
    if isinstance(error, PermissionError):
        return f"{path}: {error.strerror}; allow the user of axiswatch to read it"
    what = error.strerror if isinstance(error, OSError) else f"not enough memory ({error})"
    return f"{path}: {what or error}; it is left for the next run"


@contextmanager
def _noted(store: Store, files: Sequence[LandingFile], report: AcquireReport) -> Iterator[set[str]]:
    """Note in the database that files are being read, until they are taken; a run that dies leaves these notes.

    A file that has a note keeps it: each life of a run that dies again and again must bring something further. Notes of
    the paths that are added to the set stay as well.
    """
    notes = [
        {
            "path": file.relative,
            "size_bytes": file.size_bytes,
            "modified_ns": file.modified_ns,
            "file_hash": "",
            "tries": 1,
        }
        for file in files
        if not file.tries
    ]
    if notes:
        with store.write() as connection:
            upsert(connection, LandingEntry, notes)
    before = report.files + report.files_known
    kept: set[str] = set()
    try:
        yield kept
    finally:
        if report.files + report.files_known - before < len(files):
            ours = LandingEntry.path.in_([file.relative for file in files if file.relative not in kept])
            with suppress(sa.exc.SQLAlchemyError), store.write() as connection:
                connection.execute(sa.delete(LandingEntry).where(ours, LandingEntry.tries > 0))


def walk(landing: Path) -> tuple[list[LandingFile], list[str]]:
    """List the landing zone: its log files in order of their names, and a line about each thing that is never read.

    Hidden and unfinished files are left out. Linked folders, links that are broken or lead out of the landing zone,
    pipes, and what may not be listed are never read. Only names are handled here: a landing zone may hold a year of
    files that are known.

    Raises
    ------
    AxiswatchError
        The landing zone itself cannot be listed.
    """
    files: list[LandingFile] = []
    problems: list[str] = []
    folders = [("", False)]
    while folders:
        below, is_hidden = folders.pop()
        try:
            with os.scandir(landing / below) as found:
                entries = list(found)
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(_left(landing / below, error))
            if not below:
                raise AxiswatchError(problems[0]) from error
            continue
        for entry in entries:
            hidden = is_hidden or entry.name.startswith((".", "_"))
            try:
                is_folder, is_file = entry.is_dir(follow_symlinks=False), entry.is_file()
                if not is_folder and not is_file and (entry.is_dir() or not entry.is_symlink()):
                    link = "a link to a folder, which is not read; mount it there, or move it"
                    problems.append(f"{entry.path} is {link if entry.is_dir() else 'not an ordinary file; remove it'}")
                    continue
            except OSError as error:
                problems.append(_left(entry.path, error))
                continue
            if is_folder:
                folders.append((f"{below}{entry.name}/", hidden))
            elif not is_file:
                problems.append(f"{entry.path} is a broken link; remove it")
            elif not hidden and not entry.name.lower().endswith(UNFINISHED_SUFFIXES):
                files += _landed(landing, f"{below}{entry.name}", entry, problems)
    return sorted(files, key=lambda landed: landed.name.split("/")), sorted(problems)


def _landed(landing: Path, name: str, at: Path | os.DirEntry[str], problems: list[str]) -> list[LandingFile]:
    """Return the file with its size and time of change; nothing where it is gone, or where it may not be read."""
    try:
        if at.is_symlink() and not Path(at).resolve().is_relative_to(landing.resolve()):
            problems.append(f"{landing / name} is a link that leads out of the landing zone; copy the file there")
            return []
        stat = at.stat()
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(_left(landing / name, error))
        return []
    shown = name if name.isascii() else name.encode("utf-8", "backslashreplace").decode("utf-8")
    return [LandingFile(name, shown, stat.st_size, stat.st_mtime_ns)]


def unseen_files(store: Store, files: Sequence[LandingFile], report: AcquireReport) -> list[LandingFile]:
    """Return the files that are new or changed; count the known ones in the report."""
    query = sa.select(LandingEntry.path, LandingEntry.size_bytes, LandingEntry.modified_ns, LandingEntry.tries)
    if len(files) <= PAGE:  # of many, one pass over all entries is faster
        query = query.where(LandingEntry.path.in_([landed.relative for landed in files]))
    with store.read() as connection:
        entries = {path: (size, modified, tries) for path, size, modified, tries in connection.execute(query)}
    unseen = []
    for file in files:
        size, modified, tries = entries.get(file.relative, (-1, -1, 0))
        if (size, modified) != (file.size_bytes, file.modified_ns):
            unseen.append(file)
        elif tries:
            unseen.append(replace(file, tries=tries))
    report.files_known += len(files) - len(unseen)
    return unseen


def _take(
    store: Store,
    lake: Lake,
    path: Path,
    landed: LandingFile,
    limits: Limits,
    settled_before: datetime,
    report: AcquireReport,
) -> None:
    try:
        file_hash = hash_file(path)
    except FileNotFoundError:
        return
    entry: dict[str, str | int] = {
        "path": landed.relative,
        "size_bytes": landed.size_bytes,
        "modified_ns": landed.modified_ns,
        "file_hash": file_hash,
        "tries": 0,
    }
    with store.read() as connection:
        known = connection.scalar(sa.select(LogFile.file_hash).where(LogFile.file_hash == file_hash)) is not None
    if known:
        report.files_known += 1
        with store.write() as connection:
            upsert(connection, LandingEntry, [entry])
        return
    origin = Origin(file_hash, landed.relative)
    for _ in range(TRIES):
        harvester = Harvester(store, lake, origin, limits)
        note = _read_log(path, landed, harvester, young=landed.modified_ns >= settled_before.timestamp() * 1e9)
        if note is None or _changed_meanwhile(path, landed):
            report.files_waiting += 1
            return
        try:
            _commit(store, harvester, origin, landed, entry, note, report)
        except Raced:
            continue
        return
    raise AxiswatchError(f"{path}: other runs kept changing its recordings; run again")


def _read_log(path: Path, landed: LandingFile, harvester: Harvester, *, young: bool) -> str | None:
    """Judge all rows of a log file; return a note for its database row; None where the file has to wait."""
    ignored: list[str] = []
    unread: list[Unread] = []
    damaged: list[Reason] = []
    try:
        if landed.tries and not survives(path, harvester.limits):
            raise Refused(Reason("killed_runs", "reading it ended a run, and a second time when tried aside; split it"))
        for part in read_log(path, harvester.limits, ignored):
            if isinstance(part, Unread):
                unread.append(part)
                damaged += [part.reason] if part.reason.code == "unreadable_rows" else []
            else:
                harvester.add_batch(part[1], part[0])
        if damaged and young:
            return None
        if not damaged or harvester.harvest.n_rows or len(damaged) < len(unread):
            harvester.refuse_unread(path, unread)
            harvester.flush()
            return f"columns ignored: {', '.join(ignored)}" if ignored else ""
        reasons = [Reason("unreadable_file", damaged[0].text)]
    except FileNotFoundError:
        return None
    except Refused as refused:
        reasons = list(refused.reasons)
    except DAMAGE as error:
        if not is_damage(error):
            raise
        if young:
            return None
        kind = "empty_file" if landed.size_bytes == 0 else "unreadable_file"
        reasons = [Reason(kind, f"not a whole Parquet file: {printable(str(error).strip())}; write it again")]
    harvester.refuse_file(path, reasons)
    return "refused"


def _commit(
    store: Store,
    harvester: Harvester,
    origin: Origin,
    landed: LandingFile,
    entry: dict[str, str | int],
    note: str,
    report: AcquireReport,
) -> None:
    harvest = harvester.harvest
    row = {
        "file_hash": origin.file_hash,
        "path": origin.path,
        "size_bytes": landed.size_bytes,
        "n_rows": harvest.n_rows,
        "n_accepted": 0,
        "n_known": 0,
        "n_quarantined": harvest.n_quarantined,
        "note": note,
        "known_at": harvester.limits.as_of,
    }
    with store.write() as connection:
        upsert(connection, LandingEntry, [entry])
        if not insert_new(connection, LogFile, row):
            report.files_known += 1
            return
        new, known = commit_harvest(connection, harvest)
        counts = sa.update(LogFile).where(LogFile.file_hash == origin.file_hash)
        connection.execute(counts.values(n_accepted=new, n_known=known))
    report.files += 1
    report.recordings += new
    report.recordings_known += known
    report.quarantined += harvest.n_quarantined


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, as `log_files` has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _changed_meanwhile(path: Path, landed: LandingFile) -> bool:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    return (stat.st_size, stat.st_mtime_ns) != (landed.size_bytes, landed.modified_ns)
