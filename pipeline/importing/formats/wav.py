"""WAV files: channels `1`, `2`, ...; whole numbers as a share of full scale. Runs in another process, see `apart`."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import soundfile

from pipeline.importing.formats.vectors import Vector, VectorSignals
from pipeline.importing.problems import SignalUnreadable


class WavSignals(VectorSignals):
    """A WAV or RF64 file. It says `rate` (Hz)."""

    def __init__(self, path: Path, file: str) -> None:
        self._path = path
        _refuse_cut_off(path, file)
        with soundfile.SoundFile(path) as opened:
            n = opened.frames
            vectors = [Vector(str(number), n, at=number - 1) for number in range(1, opened.channels + 1)]
            facts: dict[str, float | str] = {"rate": float(opened.samplerate), "subtype": opened.subtype}
        super().__init__(file, vectors, facts)

    def stream(self, vectors: Sequence[Vector], count: int) -> Iterator[list[pa.Array]]:
        """Yield the samples of some channels."""
        with soundfile.SoundFile(self._path) as opened:
            count = max(1, count // opened.channels)
            while len(frames := opened.read(count, dtype="float64", always_2d=True)):
                yield [pa.array(frames[:, vector.at].copy()) for vector in vectors]


def _refuse_cut_off(path: Path, file: str) -> None:
    """Refuse a file whose samples are fewer than its header says; the library takes what is there."""
    size = path.stat().st_size
    with path.open("rb") as raw:
        head = raw.read(12)
        at, long = 12, None
        while at + 8 <= size:
            raw.seek(at)
            name, n_bytes = struct.unpack("<4sI", raw.read(8))
            if name == b"ds64":
                long = struct.unpack("<QQ", raw.read(16))[1]
            if name == b"data" and head.startswith(b"RF64") and long is not None:
                n_bytes = long
            if name == b"data":
                if at + 8 + n_bytes > size:
                    missing = at + 8 + n_bytes - size
                    raise SignalUnreadable(f"signal.file: {file!r} is cut off: {missing} bytes of samples are missing")
                return
            at += 8 + n_bytes + n_bytes % 2
    raise SignalUnreadable(f"signal.file: {file!r} has no samples; it is damaged")
