"""The lake: immutable files named by the hash of their content, in a folder or at any fsspec URL.

A file is written under another name and then renamed (on an object store: one PUT), so a file is never half written. A
file counts only when a row of `lake_files` names it. A file without a row was left by a run that was killed (an
orphan); `Lake.sweep` deletes it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.base.errors import AxiswatchError

Kind = Literal["recordings", "features", "quarantine", "models"]
ASIDE = "aside"
ROW_GROUP_BYTES = 2 * 1024 * 1024
"""Uncompressed size of a row group, bytes: the part of a file that must be read to get one row."""

S3_PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "read_timeout": 20,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}
"""How long S3 is waited for, s, and asked again, by botocore: a server that never answers ends a run in two minutes."""

S3_READS = 2
"""How often s3fs asks again after that, as where a body ends too early."""

PUT_SECONDS = 120.0
"""How long a PUT may take at least, s; the time-outs of S3 do not hold for one whose server never says `continue`."""

SLOWEST_PUT = 1e6
"""Slowest network that a large file still goes through, bytes/s."""


class LakeError(AxiswatchError):
    """A file of the lake is missing or damaged, or the lake cannot be reached."""


class LakeUnavailable(LakeError):
    """The lake cannot be written or read just now: no space, no rights, no network. No file of it is to blame."""


def is_damage(error: Exception) -> bool:
    """Return whether an error while reading is the file's fault, and not one of disk, rights, network or memory.

    Arrow reports damage as an OSError too, but then there is no errno; a lack of memory for a thread has no kind there.
    """
    if isinstance(error, MemoryError | FileNotFoundError) or getattr(error, "errno", None) is not None:
        return False
    return type(error) is not pa.ArrowException or os.strerror(errno.EAGAIN) not in str(error)


class Lake:
    """A folder tree of immutable files.

    Parameters
    ----------
    url
        A folder, or an fsspec URL such as `s3://bucket/axiswatch`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url, **_patience(url))
            self.fs.retries = S3_READS
        except (ValueError, ImportError) as error:
            raise LakeError(f"lake_url {url} cannot be opened: {error}") from error
        self.is_local = "file" in self.fs.protocol
        if self.is_local:
            with self._reached("write to"):
                Path(self.root).mkdir(parents=True, exist_ok=True)

    def is_empty(self) -> bool:
        """Return whether no file was ever placed in the folder, as where a disk is not mounted; behind a URL: False.

        Raises
        ------
        LakeUnavailable
            The folder cannot be listed.
        """
        with self._reached("read"):
            return self.is_local and not any(entry.name != ASIDE for entry in Path(self.root).iterdir())

    def put(self, kind: Kind, data: bytes, suffix: str) -> str:
        """Write bytes under the name of their SHA-256; return the path relative to the lake."""
        digest = hashlib.sha256(data).hexdigest()
        path = f"{kind}/{digest[:2]}/{digest}{suffix}"
        self.put_at(path, data)
        return path

    def put_at(self, path: str, data: bytes) -> None:
        """Write bytes to a relative path, all or nothing. On a local disk an existing file is not written again.

        Raises
        ------
        LakeUnavailable
            The lake cannot be written. So do all `put` methods.
        """
        with self._reached("write to"):
            if self._renewed(path, len(data)):
                return
            if self.is_local:
                self._place(io.BytesIO(data), path)
            else:
                self.fs.pipe_file(self._full(path), data, **self._within(len(data)))

    def put_file(self, kind: Kind, source: Path, digest: str) -> str:
        """Copy a local file in pieces, under the name of its SHA-256 (`digest`); return its relative path.

        An OSError means that the source cannot be opened.
        """
        path = f"{kind}/{digest[:2]}/{digest}.bin"
        with source.open("rb") as file, self._reached("write to"):
            size = os.fstat(file.fileno()).st_size
            if not self._renewed(path, size):
                if self.is_local:
                    self._place(file, path)
                else:
                    self.fs.put_file(str(source), self._full(path), **self._within(size))
        return path

    def take(self, other: Lake, path: str) -> None:
        """Copy a file of another lake under its own path, all or nothing; raises as `open` and `put_at` do."""
        with other.open(path) as source:
            if not self.is_local:
                self.put_at(path, source.read())
                return
            with self._reached("write to"):
                self._place(source, path)

    def has(self, path: str) -> bool:
        """Return whether there is a file, and where its name is the hash of its content, whether it is whole."""
        try:
            with self.open(path) as file:
                digest = Path(path).stem
                found = hashlib.file_digest(file, "sha256") if len(digest) == 64 else None  # type: ignore[arg-type]
                return found is None or found.hexdigest() == digest
        except LakeUnavailable:
            raise
        except LakeError:
            return False

    def _within(self, size_bytes: int) -> dict[str, float]:
        """Return the option that bounds a write, where the file system knows one."""
        return {"timeout": PUT_SECONDS + size_bytes / SLOWEST_PUT} if self.fs.async_impl else {}

    def _place(self, source: BinaryIO, path: str) -> None:
        """Write a file aside, rename it, and sync file and folders: neither a kill nor a power cut halves it."""
        target = Path(self._full(path))
        temporary = Path(self.root) / ASIDE / uuid.uuid4().hex
        renamed_in = [target.parent, *(folder.parent for folder in target.parents if not folder.exists())]
        for folder in (target.parent, temporary.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            shutil.copyfileobj(source, file, 1024 * 1024)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        for folder in renamed_in:
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def put_table(self, kind: Kind, table: pa.Table) -> tuple[str, int]:
        """Write a table as Parquet; return its relative path and its size in bytes. Equal tables make equal files."""
        sink = io.BytesIO()
        signal = [f"{name}.list.element" for name in ("samples",) if name in table.column_names]
        pq.write_table(
            table,
            sink,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_page_checksum=True,
            use_byte_stream_split=signal or False,
            row_group_size=max(1, ROW_GROUP_BYTES * table.num_rows // max(1, table.nbytes)),
        )
        data = sink.getvalue()
        return self.put(kind, data, ".parquet"), len(data)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading.

        Raises
        ------
        LakeError
            The file is missing, although the database names it.
        LakeUnavailable
            The lake cannot be read.
        """
        with self._reached("read"):
            return self.fs.open(self._full(path), "rb")  # type: ignore[no-any-return]

    def size(self, path: str) -> int:
        """Return the size of a file in bytes without reading it; raises as `open` does."""
        with self._reached("read"):
            return int(self.fs.size(self._full(path)))

    def read(self, path: str) -> bytes:
        """Return the content of a file; raises as `open` does."""
        with self._reached("read"), self.open(path) as file:
            return file.read()

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file of the lake in pieces to a local file; raises as `open` does."""
        with target.open("wb") as copy, self._reached("read"), self.open(path) as file:
            shutil.copyfileobj(file, copy, 1024 * 1024)

    def table(self, path: str, columns: list[str] | None = None) -> pa.Table:
        """Return a Parquet file as a table, with all columns or some.

        It uses one thread: pyarrow's thread pools have aborted processes that ended while the pools were alive.
        """
        with self.open(path) as file, self._whole(path):
            return _checked(file).read(columns=columns, use_threads=False)

    def rows(
        self, path: str, row_numbers: Iterable[int], columns: list[str] | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield some rows of a Parquet file (number and values) in order; reads only the row groups that hold them."""
        ordered = sorted(set(row_numbers))
        with self.open(path) as file:
            with self._whole(path):
                parquet = _checked(file)
            first = 0
            for group in range(parquet.num_row_groups):
                count = parquet.metadata.row_group(group).num_rows
                inside = [row for row in ordered if first <= row < first + count]
                if inside:
                    with self._whole(path):
                        table = parquet.read_row_group(group, columns=columns, use_threads=False)
                    for row in inside:
                        yield row, {name: table.column(name)[row - first] for name in table.column_names}
                first += count

    def files(self) -> Iterator[tuple[str, datetime]]:
        """Yield the relative path and the time of the last change (UTC) of every file."""
        prefix = self.root.rstrip("/") + "/"
        self.fs.invalidate_cache()  # other processes write too
        with self._reached("read"):
            info_by_path: Mapping[str, Mapping[str, Any]] = self.fs.find(self.root, detail=True)
        for full, info in info_by_path.items():
            changed = info.get("LastModified") or info.get("mtime")
            moment = changed if isinstance(changed, datetime) else datetime.fromtimestamp(float(changed or 0), UTC)
            yield full.removeprefix(prefix), moment.astimezone(UTC)

    def remove(self, path: str) -> None:
        """Delete a file; a missing file is no error."""
        with self._reached("write to"), suppress(FileNotFoundError):
            self.fs.rm_file(self._full(path))

    def sweep(self, committed: set[str], *, older_than: datetime) -> int:
        """Delete files that are not in `committed` and older than a time; return their number.

        The age protects files of a run that is still at work: it writes first and commits afterwards.
        """
        orphans = [path for path, changed in self.files() if path not in committed and changed < older_than]
        for path in orphans:
            self.remove(path)
        return len(orphans)

    def _renewed(self, path: str, size_bytes: int) -> bool:
        """Return whether a file exists already with this size, and set its time of change to now.

        The file may be an orphan of a run that was killed. This run will commit it, and a sweep must not delete it
        before. An object store cannot change the time of a file, so there the answer is False and the file is written
        again.
        """
        if not self.is_local:
            return False
        target = Path(self._full(path))
        try:
            os.utime(target)
            return target.stat().st_size == size_bytes
        except FileNotFoundError:
            return False

    @contextmanager
    def _reached(self, doing: str) -> Iterator[None]:
        """Turn whatever a disk or an object store answers into a LakeUnavailable, and a missing file into a LakeError.

        Each store raises errors of its own, so all kinds are meant. A lack of memory is not the lake's.
        """
        try:
            yield
        except (AxiswatchError, MemoryError):
            raise
        except Exception as error:
            if doing == "read" and isinstance(error, FileNotFoundError):
                raise LakeError(
                    f"{error.filename or error} is not in the lake {self.root} though the database names it; "
                    "restore it from a backup"
                ) from error
            raise LakeUnavailable(
                f"cannot {doing} the lake {self.url}: {error or type(error).__name__}; nothing is lost: see to its "
                "space, rights and network, and run again"
            ) from error

    @contextmanager
    def _whole(self, path: str) -> Iterator[None]:
        """Turn damage found while reading into a LakeError that names the file; the rest is as in `_reached`."""
        with self._reached("read"):
            try:
                yield
            except (pa.ArrowException, OSError) as error:
                if not is_damage(error):
                    raise
                raise LakeError(
                    f"{path} in the lake {self.root} is damaged ({error}); restore it from a backup"
                ) from error

    def _full(self, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/"):
            raise LakeError(f"{path} is no path inside the lake")
        return f"{self.root.rstrip('/')}/{path}"


def _patience(url: str) -> dict[str, Any]:
    """Return the options of a file system that bound waiting; what the configuration of fsspec says comes first."""
    protocol = fsspec.core.split_protocol(url)[0]
    if protocol not in ("s3", "s3a"):
        return {}
    return {"config_kwargs": S3_PATIENCE | fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})}


def _checked(file: BinaryIO) -> pq.ParquetFile:
    return pq.ParquetFile(file, page_checksum_verification=True)
