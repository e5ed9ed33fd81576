"""TDMS files of LabVIEW: channels `group/channel`, properties `group/channel@name`.

Runs in another process, see `apart`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
from nptdms import TdmsChannel, TdmsFile
from numpy.typing import NDArray

from pipeline.importing.formats.vectors import Vector, VectorSignals, regrouped
from pipeline.importing.problems import SignalUnreadable

TEXT: Final = "OUSVM"
"""Kinds of values that are no numbers: texts, and times (read as times of the kind text)."""

LEAD_BYTES: Final = 28
NEVER_FINISHED: Final = 2**64 - 1


class TdmsSignals(VectorSignals):
    """Also says, of a channel with a waveform, `group/channel@rate` (Hz) and `group/channel@start` (UTC)."""

    def __init__(self, path: Path, file: str) -> None:
        self._path = path
        vectors: list[Vector] = []
        facts: dict[str, float | str] = {}
        with path.open("rb") as raw:  # not by its name: an index beside it is not looked at
            _refuse_cut_segment(raw, file)
            opened = TdmsFile.open(raw)
            _refuse_cut_off(opened, file)
            facts.update(_facts("", opened.properties))
            for group in opened.groups():
                facts.update(_facts(group.name, group.properties))
                for channel in group.channels():
                    name = f"{group.name}/{channel.name}"
                    facts.update(_facts(name, channel.properties))
                    facts.update(_waveform(name, channel.properties))
                    vectors.append(_vector(name, channel))
        super().__init__(file, vectors, facts)

    def stream(self, vectors: Sequence[Vector], count: int) -> Iterator[list[pa.Array]]:
        """Yield the values of channels of the same length."""
        channels = [regrouped(self._chunks(*vector.at), count) for vector in vectors]
        for values in zip(*channels, strict=True):
            yield [_array(one) for one in values]

    def _chunks(self, group: str, channel: str) -> Iterator[NDArray[Any]]:
        """Yield a channel in the chunks of the file, each of which the library reads whole."""
        with self._path.open("rb") as raw:
            for chunk in TdmsFile.open(raw)[group][channel].data_chunks():
                yield np.asarray(chunk[:])


def _refuse_cut_segment(raw: IO[bytes], file: str) -> None:
    """Refuse a file that ends within a segment: the library leaves such a segment out where its head is cut off.

    A segment begins with TDSm, flags, version, and the bytes up to the next one (all ones: it was never finished).
    """
    size, at = raw.seek(0, 2), 0
    while at < size:
        raw.seek(at)
        head = raw.read(LEAD_BYTES)
        mark, _, _, n_bytes, _ = struct.unpack("<4sIIQQ", head) if len(head) == LEAD_BYTES else (b"", 0, 0, 0, 0)
        if mark != b"TDSm":
            raise SignalUnreadable(
                f"signal.file: {file!r} has no segment of TDMS at byte {at}; it is damaged or cut off"
            )
        if n_bytes == NEVER_FINISHED:
            break
        at += LEAD_BYTES + n_bytes
        if at > size:
            raise SignalUnreadable(f"signal.file: {file!r} is cut off at its end: {at - size} bytes are missing")
    raw.seek(0)


def _refuse_cut_off(opened: TdmsFile, file: str) -> None:
    status = opened.file_status
    if not status.incomplete_final_segment:
        return
    missing = {
        path: one.expected_length - one.read_length
        for path, one in (status.channel_statuses or {}).items()
        if one.expected_length > one.read_length
    }
    if missing:
        path, n = max(missing.items(), key=lambda item: item[1])
        raise SignalUnreadable(f"signal.file: {file!r} is cut off at its end: {n} values of {path} are missing")


def _vector(name: str, channel: TdmsChannel) -> Vector:
    kind = channel.dtype.kind
    at = (channel.group_name, channel.name)
    if kind in "iufb":
        return Vector(name, len(channel), at=at)
    if kind in TEXT:
        return Vector(name, len(channel), is_text=True, at=at)
    return Vector(name, len(channel), f"is {channel.dtype}, not numbers", at=at)


def _array(values: Any) -> pa.Array:
    values = np.asarray(values)
    if values.dtype.kind == "M":
        return pa.array(values.astype("datetime64[us]")).cast(pa.timestamp("us", tz="UTC"))
    if values.dtype.kind in TEXT:
        return pa.array([str(value) for value in values])
    if values.dtype.kind == "b":
        values = values.astype(np.int8)
    return pa.array(values.astype(values.dtype.newbyteorder("=")))


def _facts(name: str, properties: Any) -> Iterator[tuple[str, float | str]]:
    for key, value in properties.items():
        if isinstance(value, str):
            yield f"{name}@{key}", value
        elif isinstance(value, np.datetime64):
            yield f"{name}@{key}", _utc(value)
        elif isinstance(value, datetime):
            yield f"{name}@{key}", value.isoformat()
        elif isinstance(value, int | float | np.number):
            yield f"{name}@{key}", float(value)


def _waveform(name: str, properties: Any) -> Iterator[tuple[str, float | str]]:
    step, start = properties.get("wf_increment"), properties.get("wf_start_time")
    if isinstance(step, int | float) and step > 0:
        yield f"{name}@rate", 1 / step
    if isinstance(start, np.datetime64):
        offset = properties.get("wf_start_offset")
        later = round(float(offset) * 1e6) if isinstance(offset, int | float) else 0
        yield f"{name}@start", _utc(start.astype("datetime64[us]") + np.timedelta64(later, "us"))


def _utc(moment: np.datetime64) -> str:
    return f"{moment.astype('datetime64[us]')}Z"
