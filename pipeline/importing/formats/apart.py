"""Read files in another process: what a library does with a damaged file ends that process, not this one.

The other process is started once and reads any number of files. It is asked in lines of JSON, and answers with a line
of JSON and, for a block, an Arrow stream. It may use so much memory and, for each answer, so much of the processor.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.importing.formats.interface import Block, ReadColumn, SignalFile
from pipeline.importing.problems import Complaint, SignalUnreadable
from pipeline.intake.contract import printable

MOST_MIB: Final = 640
"""Memory that reading may take, above what the process holds when it starts."""

DAMAGE: Final = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, RuntimeError,
    EOFError, MemoryError, NotImplementedError, struct.error,
)  # fmt: skip
"""What libraries raise for damaged files."""

CRASHES: Final = (
    signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGXCPU, signal.SIGSYS,
)  # fmt: skip
"""Signals that a file can cause; whatever else ends the other process says nothing about the file."""


@dataclass(frozen=True)
class Library:
    """Where a format is read: our class, the library that it imports, and the extra that installs it.

    `most_s`: seconds of the processor that one answer may take; damage can make a library go round for ever.
    """

    reader: str
    module: str
    extra: str
    most_s: int = 60


APART: Final = {
    "hdf5": Library("hdf5:Hdf5Signals", "h5py", "hdf5", most_s=6),
    "mat73": Library("hdf5:Mat73Signals", "h5py", "hdf5", most_s=6),
    "tdms": Library("tdms:TdmsSignals", "nptdms", "tdms"),
    "rosbag2": Library("rosbag:BagSignals", "rosbags", "ros"),
    "mcap": Library("rosbag:BagSignals", "rosbags", "ros"),
    "wav": Library("wav:WavSignals", "soundfile", "wav"),
}
"""Formats that are read in another process."""


class Apart:
    """A file that another process reads; see `interface.SignalFile`."""

    def __init__(self, path: Path, file: str, form: str, *, by_row: bool = False) -> None:
        library = APART[form]
        if find_spec(library.module) is None:
            needs = f"{file}: format {form.removesuffix('73')} needs {library.module}"
            raise PrerequisiteMissing(f'{needs}: pip install "axiswatch[{library.extra}]"')
        self._file, self._form = file, form
        self._process = _Process.current()
        self._spec = {"path": os.fsdecode(path), "file": file, "format": form, "by_row": by_row}
        self._number = self._process.new_number()
        self.dropped: Sequence[int] = ()
        self.names: Sequence[str] = self._ask("open", **self._spec)[0]["names"]
        weakref.finalize(self, self._process.forgotten.append, self._number)

    def _ask(self, what: str, **more: Any) -> tuple[dict[str, Any], bytes]:
        answer, data = self._process.ask({"what": what, "number": self._number, **more}, self._file)
        if "unreadable" in answer:
            raise SignalUnreadable(*(Complaint(text, tuple(rows)) for text, rows in answer["unreadable"]))
        return answer, data

    def rows_of(self, column: str) -> int | str:
        """Return what columns with the same rows share."""
        shared: int | str = self._ask("rows_of", column=column)[0]["rows"]
        return shared

    def n_rows(self, columns: Sequence[ReadColumn]) -> int | None:
        """Check columns and return their length."""
        n: int | None = self._ask("n_rows", columns=columns)[0]["n"]
        return n

    def blocks(self, columns: Sequence[ReadColumn]) -> Iterator[Block]:
        """Yield the samples of some columns in their order."""
        wanted = list(dict.fromkeys(columns))
        reading = self._process.new_number()
        self._ask("blocks", columns=wanted, reading=reading)
        try:
            while True:
                answer, data = self._ask("next", reading=reading)
                if "end" in answer:
                    self.dropped = answer["end"]
                    return
                batch = pa.ipc.open_stream(pa.py_buffer(data)).read_next_batch()
                numbers = batch.column(0).to_numpy(zero_copy_only=False)
                names = [(column.name, column.numeric) for column in wanted]
                yield Block(numbers, {key: batch.column(at) for at, key in enumerate(names, 1)})
        finally:
            self._process.forgotten.append(reading)

    def value(self, pattern: str) -> float | str:
        """Return what the file says about itself."""
        value: float | str = self._ask("value", pattern=pattern)[0]["value"]
        return value


class _Process:
    """The other process as this one sees it."""

    _now: _Process | None = None

    def __init__(self) -> None:
        start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        self._last = 0
        self._owner = os.getpid()
        self._is_over = False
        self.forgotten: list[int] = []

    @classmethod
    def current(cls) -> _Process:
        """Return the process that reads now; another is started where there is none any more, or after a fork."""
        now = cls._now
        if now is None or now._is_over or now._owner != os.getpid():
            now = cls._now = cls()
        return now

    def new_number(self) -> int:
        """Return a number for a file or a reading."""
        self._last += 1
        return self._last

    def ask(self, request: dict[str, Any], file: str) -> tuple[dict[str, Any], bytes]:
        """Return the answer to a request; SignalUnreadable where the file ended the process."""
        gone, self.forgotten[:] = list(self.forgotten), []
        line = json.dumps({**request, "gone": gone}).encode() + b"\n"
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
            return answer, self._process.stdout.read(answer.get("bytes", 0))
        except (BrokenPipeError, ValueError):
            self._is_over = True
            raise self._ended(file) from None

    def _ended(self, file: str) -> Exception:
        """Return what is to be said about the end of the process."""
        code = self._process.wait()
        if -code in CRASHES:
            return SignalUnreadable(
                f"signal.file: {file!r} is damaged, or too much for its library: reading it ended with "
                f"{signal.Signals(-code).name}"
            )
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines() or ["nothing was said"]
        return AxiswatchError(f"the process that reads signal files ended ({code}): {lines[-1]}; run the import again")


# ------------------------------------------------------------------------------------------------- the other process


def serve() -> None:
    """Answer requests on stdin until it ends."""
    ours = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    _limit_memory()
    server = _Server()
    with os.fdopen(ours, "wb") as out:
        for line in sys.stdin.buffer:
            try:
                answer, data = server.answer(json.loads(line))
            except SignalUnreadable as error:
                answer, data = {"unreadable": [[one.what, one.rows] for one in error.complaints]}, b""
            out.write(json.dumps({**answer, "bytes": len(data)}).encode() + b"\n" + data)
            out.flush()


class _Server:
    def __init__(self) -> None:
        self._files: dict[int, tuple[SignalFile, dict[str, Any]]] = {}
        self._readings: dict[int, tuple[Iterator[Block], list[ReadColumn]]] = {}

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Return the answer to a request, and the bytes of a block."""
        for number in request["gone"]:
            self._files.pop(number, None)
            self._readings.pop(number, None)
        asked = request if request["what"] == "open" else self._files[request["number"]][1]
        file = asked["file"]
        _limit_time(APART[asked["format"]].most_s)
        try:
            return self._answer(request)
        except SignalUnreadable:
            raise
        except MemoryError as error:
            text = f"signal.file: {file!r} takes more than {MOST_MIB} MiB to read: it is damaged, or has to be written"
            raise SignalUnreadable(f"{text} in smaller chunks") from error
        except DAMAGE as error:
            what = printable(f"{type(error).__name__}: {error}")[:300]
            raise SignalUnreadable(f"signal.file: {file!r} cannot be read, it may be damaged ({what})") from error

    def _answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        number = request["number"]
        if request["what"] == "open":
            module, _, name = APART[request["format"]].reader.partition(":")
            made = getattr(importlib.import_module(f"{__package__}.{module}"), name)
            how = {"by_row": True} if request["by_row"] else {}
            opened = made(Path(request["path"]), request["file"], **how)
            self._files[number] = opened, request
            return {"names": list(opened.names)}, b""
        opened = self._files[number][0]
        columns = [ReadColumn(*column) for column in request.get("columns", ())]
        match request["what"]:
            case "rows_of":
                return {"rows": opened.rows_of(request["column"])}, b""
            case "n_rows":
                return {"n": opened.n_rows(columns)}, b""
            case "value":
                return {"value": opened.value(request["pattern"])}, b""
            case "blocks":
                self._readings[request["reading"]] = opened.blocks(columns), columns
                return {}, b""
        blocks, columns = self._readings[request["reading"]]
        block = next(blocks, None)
        if block is None:
            return {"end": list(opened.dropped)}, b""
        arrays = [pa.array(block.numbers), *(block.columns[column.name, column.numeric] for column in columns)]
        batch = pa.RecordBatch.from_arrays(arrays, names=[str(at) for at in range(len(arrays))])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        return {}, sink.getvalue().to_pybytes()


def _limit_memory() -> None:
    """Bound what this process may hold above what it holds already; let no crash write its memory to a disk."""
    pa.set_memory_pool(pa.system_memory_pool())
    most = MOST_MIB << 20
    usage = Path("/proc/self/statm")
    if usage.exists():
        most += int(usage.read_text("ascii").split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + seconds, hard))
