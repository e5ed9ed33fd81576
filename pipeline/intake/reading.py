"""Read log files in bounded memory: limits are judged on the metadata, and what cannot be read is told row by row.

A Parquet file of a few kB may unfold to many GB. The metadata say how many values a row group has, but not how long
each of its rows is. Where a row group could hold a row beyond the limits, another process reads it first, with a limit
of memory, and says how far it came.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.base.log_schema import LOG_SCHEMA
from pipeline.intake.contract import SIGNAL_COLUMNS, Limits, Reason, judge_columns, judge_rows, printable
from pipeline.intake.footer import (
    BYTE_ARRAY,
    DOUBLE,
    INT64,
    ColumnChunk,
    RowGroup,
    find_footer,
    read_footer,
    read_pages,
)
from pipeline.store.lake import is_damage

MIB: Final = 1024 * 1024
BATCH_BYTES = 16 * MIB
"""Decoded bytes of a batch of rows."""
ROW_BYTES: Final = 32 * MIB
"""Decoded bytes of a row's signals that are always read; with `max_samples` there may be 4 bytes for each of them."""
TEXT_BYTES: Final = 16 * MIB
"""Texts of a row group that may be decoded one by one; where there may be more, each different text is kept once."""
FILE_BYTES: Final = 1024 * MIB
FILE_RATIO: Final = 32
"""A file may unfold to `FILE_BYTES`, or to `FILE_RATIO` times its size: recorded noise unfolds to twice at most."""
MOST_ROWS: Final = 2**31 - 1
REHEARSAL_S: Final = 300.0
MOST_FAILED: Final = 3
"""Damaged row groups of a file that another process tries; the others are not read, or a file could take hours."""
DAMAGE: Final = (pa.ArrowException, OSError, ValueError, OverflowError, LookupError)
"""What pyarrow raises for a damaged file; `is_damage` tells them from faults of the machine."""

FAULTS: Final = (OSError, MemoryError, pa.ArrowException)
"""What is left of these after `is_damage`: faults of the machine, by which a file is left for the next run."""

READY: Final = b"+"
"""What a rehearsal writes once it is set up. One that ends without it says nothing about the file."""


@dataclass(frozen=True)
class Unread:
    """Rows of a log file, one after another, that were not read, and the reason."""

    first_row: int
    count: int
    reason: Reason


class Refused(Exception):
    """A log file is refused as a whole."""

    def __init__(self, *reasons: Reason) -> None:
        super().__init__(reasons)
        self.reasons = reasons


def read_log(path: Path, limits: Limits, notes: list[str]) -> Iterator[tuple[int, pa.RecordBatch] | Unread]:
    """Yield the rows of a log file in order: batches with the number of their first row, and rows that were not read.

    Only columns of the contract are read. Every row that the metadata promise is in one of the parts.

    Parameters
    ----------
    notes
        The names of the ignored columns are added here.

    Raises
    ------
    Refused
        The columns are wrong, or the file unfolds to more than is accepted.
    OSError, ArrowException, ValueError, OverflowError, LookupError
        The file cannot be opened or is no Parquet file; see `is_damage`.
    MemoryError
        There is no memory left.
    """
    # Opened here, because Arrow refuses a path that is not UTF-8.
    with path.open("rb") as file:
        find_footer(file)
        metadata = pq.read_metadata(file)
        schema = metadata.schema.to_arrow_schema()
        reasons, ignored = judge_columns(schema)
        if reasons:
            raise Refused(*reasons)
        notes += map(printable, ignored)
        columns = [name for name in schema.names if name in LOG_SCHEMA.names]
        groups = [Group.of(group, number, file) for number, group in enumerate(read_footer(file))]
        _check_size(groups, path.stat().st_size, metadata.num_rows, limits)
        texts = sorted({name for group in groups if group.exploded > TEXT_BYTES for name in group.texts})
        file.seek(0)
        parquet = pq.ParquetFile(
            file,
            metadata=metadata,
            read_dictionary=texts or None,
            buffer_size=MIB,
            pre_buffer=False,
            page_checksum_verification=True,
        )
        first = failed = 0
        for group in groups:
            if failed >= MOST_FAILED and not group.is_sound:
                text = f"not tried, since {failed} row groups before are damaged; write it again"
                yield Unread(first, group.rows, Reason("unreadable_rows", text))
            else:
                for part in _read_group(parquet, path, group, columns, first, limits):
                    failed += isinstance(part, Unread)
                    yield part
            first += group.rows
            if group.held > group.rows:
                yield Unread(first, group.held - group.rows, Reason("unreadable_rows", _more_held(group)))
                first += group.held - group.rows
        if first < metadata.num_rows:
            reason = Reason(
                "unreadable_rows", f"{metadata.num_rows} rows are promised, {first} are there; write it again"
            )
            yield Unread(first, metadata.num_rows - first, reason)


@dataclass(frozen=True)
class Group:
    """What the metadata say about a row group: its rows, and the decoded bytes of the columns that are read.

    Attributes
    ----------
    held : int
        Most values of a column that has one in each row.
    signals, scalars : int
        Decoded bytes of the signal columns, and of the others (each different text once where it is stored once).
    exploded : int
        Most bytes that the texts can have if every row has its own copy.
    texts : frozenset of str
        Names of the columns with text.
    is_sound : bool
        The pages are as the columns say.
    """

    number: int
    rows: int
    held: int
    signals: int
    scalars: int
    exploded: int
    texts: frozenset[str]
    is_sound: bool

    @classmethod
    def of(cls, found: RowGroup, number: int, file: BinaryIO) -> Group:
        """Add up the columns of a row group."""
        held = signals = scalars = exploded = 0
        texts, is_sound = set(), True
        for chunk in found.chunks:
            name = chunk.path[0] if chunk.path else ""
            if name not in LOG_SCHEMA.names:
                continue
            if min(chunk.values, chunk.unfolded_bytes) < 0:
                raise ValueError(f"column {name} has a size below 0")
            is_sound &= _pages_fit(file, chunk)
            if name in SIGNAL_COLUMNS:
                signals += chunk.values * (8 if chunk.physical in (DOUBLE, INT64) else 4)
                continue
            held = max(held, chunk.values)
            if chunk.physical == BYTE_ARRAY:
                scalars += chunk.unfolded_bytes
                exploded += chunk.unfolded_bytes * max(1, found.rows)
                texts.add(name)
            else:
                scalars += 8 * chunk.values
        return cls(number, found.rows, held, signals, scalars, exploded, frozenset(texts), is_sound)

    def is_one_long_row(self, limits: Limits) -> bool:
        """Return whether it is a single row that is longer than is accepted."""
        return self.rows == 1 and self.signals > most_row_bytes(limits)


def _pages_fit(file: BinaryIO, chunk: ColumnChunk) -> bool:
    """Return whether the pages of a column have as many values and bytes as the column says."""
    try:
        pages = list(read_pages(file, chunk))
    except ValueError:
        return False
    values, unfolded = sum(page.values for page in pages), sum(page.unfolded_bytes for page in pages)
    return values == chunk.values and unfolded <= chunk.unfolded_bytes


def _more_held(group: Group) -> str:
    """Say that a row group promises fewer rows than it has."""
    rows = f"row group {group.number} promises {group.rows} rows and holds {group.held} values in a column"
    return f"{rows}; what is beyond its promise is not read: write it again"


def most_row_bytes(limits: Limits) -> int:
    """Return the decoded bytes that the signals of a row may have."""
    return max(ROW_BYTES, 4 * limits.max_samples)


def _check_size(groups: list[Group], size: int, promised: int, limits: Limits) -> None:
    """Refuse a file that unfolds to too much, or whose number of rows cannot be true."""
    if min([promised, *(group.rows for group in groups)]) < 0 or max(promised, sum(g.held for g in groups)) > MOST_ROWS:
        raise ValueError("its number of rows cannot be true")
    if sum(group.rows for group in groups) > promised:
        raise ValueError(f"{promised} rows are promised, its row groups have {sum(group.rows for group in groups)}")
    unfolded = sum(group.signals + group.scalars for group in groups if not group.is_one_long_row(limits))
    most = max(FILE_BYTES, FILE_RATIO * size)
    if unfolded > most:
        text = f"{size} bytes unfold to {unfolded // MIB} MiB; at most {most // MIB} are accepted: split the file"
        raise Refused(Reason("file_too_large", text))


def _read_group(
    parquet: pq.ParquetFile, path: Path, group: Group, columns: list[str], first: int, limits: Limits
) -> Iterator[tuple[int, pa.RecordBatch] | Unread]:
    """Yield the rows of one row group; see `read_log`."""
    most = most_row_bytes(limits)
    if group.is_one_long_row(limits):
        text = (
            f"{group.signals // MIB} MiB of samples in one row; at most {most // MIB} are accepted: cut the recording"
        )
        yield Unread(first, 1, Reason("samples_too_long", text))
        return
    size = max(1, int(BATCH_BYTES * group.rows // max(1, group.signals + group.scalars)))
    until, why = group.rows, "fewer rows are there than promised" if group.is_sound else "its pages are damaged"
    code = "unreadable_rows"
    if group.signals > most or group.scalars > TEXT_BYTES or not group.is_sound:
        size, until = _rehearse_group(path, group, size, limits)
    done = 0
    try:
        for batch in _batches(parquet, group, columns, size, 0, until):
            if batch.nbytes > BATCH_BYTES:
                pa.default_memory_pool().release_unused()
            yield first + done, batch
            done += batch.num_rows
            del batch
    except DAMAGE as error:
        if not is_damage(error):
            raise
        why = printable(str(error).strip())
        try:  # row by row, to come closer to the damage
            for batch in _batches(parquet, group, columns, 1, done, until) if size > 1 else ():
                yield first + done, batch
                done += batch.num_rows
        except DAMAGE as again:
            if not is_damage(again):
                raise
    if done < group.rows:
        if done == until and group.is_sound:
            code = "samples_too_long" if group.signals > most else "file_too_large"
            why = f"row {first + done} takes more memory than {most // MIB} MiB of samples do: cut it, or write float32"
        rows = f"rows {first + done} to {first + group.rows - 1} (row group {group.number})"
        yield Unread(first + done, group.rows - done, Reason(code, f"{rows} cannot be read: {why}; write it again"))


def _batches(
    parquet: pq.ParquetFile, group: Group, columns: list[str], size: int, skip: int, until: int
) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a row group from row `skip` on, up to row `until`."""
    done = 0
    if until == 0:
        return
    for batch in parquet.iter_batches(batch_size=size, row_groups=[group.number], columns=columns, use_threads=False):
        batch.validate()
        done += batch.num_rows
        if done > skip:
            yield batch
        if done >= until:
            return


def begun_by(path: Path, as_of: datetime) -> bool:
    """Return whether all recordings of a log file started by a time; False where that cannot be read."""
    try:
        with path.open("rb") as file:
            find_footer(file)
            parquet = pq.ParquetFile(file, buffer_size=MIB, pre_buffer=False, page_checksum_verification=True)
            groups = [Group.of(group, number, file) for number, group in enumerate(read_footer(file))]
            if any(group.exploded > TEXT_BYTES or not group.is_sound for group in groups):
                return False
            found = [
                pc.max(batch.column(0)).as_py()
                for batch in parquet.iter_batches(columns=["started_at"], use_threads=False)
            ]
    except (*DAMAGE, MemoryError):
        return False
    if not found or not all(isinstance(newest, datetime) for newest in found):
        return False
    return all((newest if newest.tzinfo else newest.replace(tzinfo=UTC)) <= as_of for newest in found)


# ------------------------------------------------------------------------------------------------------- rehearsals


def survives(path: Path, limits: Limits) -> bool:
    """Return whether another process can read and judge a whole log file within its limit of memory and time."""
    return _rehearse(path, limits, ["file"])[0]


def _rehearse_group(path: Path, group: Group, size: int, limits: Limits) -> tuple[int, int]:
    """Return in batches of how many rows a row group can be read, and up to which row."""
    until = 0
    for rows in dict.fromkeys((size, 1)):
        is_well, batches = _rehearse(path, limits, [str(group.number), str(rows)])
        if is_well:
            return rows, group.rows
        until = min(batches * rows, group.rows)
    return 1, until


def _rehearse(path: Path, limits: Limits, what: list[str]) -> tuple[bool, int]:
    """Run `rehearse` in another process; return whether it ended well, and the batches it read."""
    start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import rehearse; rehearse(*sys.argv[1:])"
    bounds = map(str, (limits.max_samples, limits.max_sampling_rate_hz, limits.max_shaft_speed_rpm))
    command: list[str | Path] = [sys.executable, "-c", start, path, limits.as_of.isoformat(), *bounds, *what]
    try:
        done = subprocess.run(command, capture_output=True, timeout=REHEARSAL_S, check=False)
        is_well, said = done.returncode == 0, done.stdout
    except subprocess.TimeoutExpired as error:
        is_well, said = False, error.stdout or b""
    if not said.startswith(READY):
        raise MemoryError("no process with enough memory could be started to read it")
    return is_well, len(said) - len(READY)


def rehearse(path: str, as_of: str, samples: str, rate: str, speed: str, what: str, size: str = "1") -> NoReturn:
    """Read a row group (a dot on stdout for each batch) or a whole file, in bounded memory."""
    limits = Limits(datetime.fromisoformat(as_of), int(samples), float(rate), float(speed))
    most = 256 * MIB + 6 * most_row_bytes(limits)
    pa.set_memory_pool(pa.system_memory_pool())
    usage = Path("/proc/self/statm")
    if usage.exists():  # what libraries and their threads hold already
        most += int(usage.read_text("ascii").split()[5]) * resource.getpagesize()
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        if 0 <= resource.getrlimit(kind)[0] < most:
            raise MemoryError("this process may have less memory than reading may take")
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write(READY.decode())
    sys.stdout.flush()
    status = 0
    try:
        if what == "file":
            for part in read_log(Path(path), limits, []):
                if not isinstance(part, Unread):
                    for _ in judge_rows(part[1], part[0], limits):
                        pass
        else:
            _read_one(Path(path), int(what), int(size))
    except MemoryError:
        status = 1
    except (Refused, *DAMAGE):
        status = 0  # whoever reads it next says what is wrong
    os._exit(status)


def _read_one(path: Path, number: int, size: int) -> None:
    with path.open("rb") as file:
        metadata = pq.read_metadata(file)
        group = Group.of(read_footer(file)[number], number, file)
        texts = sorted(group.texts) if group.exploded > TEXT_BYTES else None
        columns = [name for name in metadata.schema.to_arrow_schema().names if name in LOG_SCHEMA.names]
        parquet = pq.ParquetFile(
            file,
            metadata=metadata,
            read_dictionary=texts,
            buffer_size=MIB,
            pre_buffer=False,
            page_checksum_verification=True,
        )
        for _ in _batches(parquet, group, columns, size, 0, group.rows):
            sys.stdout.write(".")
            sys.stdout.flush()
