"""Open a file that may be packed: gzip, or zip with one file in it. What is packed is told by the first bytes."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from pipeline.importing.problems import SignalUnreadable

GZIP: Final = b"\x1f\x8b"
ZIP: Final = b"PK\x03\x04"
HDF5: Final = (b"MATLAB 7.3", b"\x89HDF\r\n\x1a\n")
CONTENTS: Final = (
    (rb"PAR1", "parquet"), (rb"MATLAB (5\.0|7\.3)", "mat"), (rb"\x89HDF", "hdf5"),
    (rb"(RIFF|RF64)....WAVE", "wav"), (rb"TDSm", "tdms"), (rb"\x89MCAP", "mcap"), (rb"SQLite format 3", "rosbag2"),
    (rb" {4}-1\s*\n {2,4}[0-9]{2,4}", "uff"),
    (rb"\xd0\xcf\x11\xe0", "an Excel workbook (save it as CSV)"), (rb"%PDF", "PDF"), (rb"\x89PNG", "PNG"),
    (rb"\x28\xb5\x2f\xfd", "packed with zstd (unpack it)"),
    (rb"#ROSBAG V2", "a bag of ROS 1 (convert it: rosbags-convert)"),
)  # fmt: skip
"""How a file begins, and the format, or what it is where that is no format here. Whatever else is text."""

SUFFIXES: Final = (".gz", ".zip")


@contextmanager
def open_bytes(path: Path, file: str) -> Iterator[IO[bytes]]:
    """Open a file to read what is in it, unpacked while it is read.

    Raises
    ------
    SignalUnreadable
        The packed data are damaged, or a zip holds more or less than one file, or asks for a password.
    OSError
        The file cannot be read.
    """
    with ExitStack() as stack:
        raw: IO[bytes] = stack.enter_context(path.open("rb"))
        head = raw.read(4)
        raw.seek(0)
        try:
            if head.startswith(GZIP):
                yield stack.enter_context(gzip.open(raw))  # type: ignore[arg-type]
            elif head == ZIP:
                yield stack.enter_context(_only_member(stack.enter_context(zipfile.ZipFile(raw)), file))
            else:
                yield raw
        except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise SignalUnreadable(f"signal.file: {file!r} is damaged where it is packed ({error})") from error


def _only_member(archive: zipfile.ZipFile, file: str) -> IO[bytes]:
    members = [item for item in archive.infolist() if not item.is_dir()]
    if len(members) != 1:
        names = ", ".join(item.filename for item in members[:5]) or "nothing"
        raise SignalUnreadable(f"signal.file: {file!r} is a zip of {len(members)} files ({names}); unpack it")
    try:
        return archive.open(members[0])
    except (NotImplementedError, RuntimeError) as error:  # a method that is not known here; a password
        raise SignalUnreadable(f"signal.file: {file!r} cannot be unpacked ({error}); unpack it") from error


def content_of(path: Path) -> str:
    """Return the format of a file by its first bytes: one of `FORMATS`, or a name of something else."""
    with path.open("rb") as file:
        head = file.read(100)
    if head.startswith(ZIP) and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.startswith("xl/") for name in names):
            return "an Excel workbook (save it as CSV)"
    return next((name for start, name in CONTENTS if re.match(start, head, re.DOTALL)), "csv")


def is_packed(path: Path) -> bool:
    """Return whether a file is gzip or zip."""
    with path.open("rb") as file:
        return file.read(4).startswith((GZIP, ZIP))
