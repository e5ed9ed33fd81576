"""What stands in other columns of a signal file beside the samples: the speed of the shaft, and the regime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.importing.manifest import as_text, resolve
from pipeline.importing.mapping import Source
from pipeline.importing.problems import SignalUnreadable
from pipeline.importing.samples import Asked, Samples, as_floats
from pipeline.importing.speed import TO_RPM, shaft_speed
from pipeline.intake.contract import TEXT_LIMIT


class Beside:
    """Keeps what stands beside the samples of a stretch until its recordings are cut."""

    def __init__(self, asked: Asked, rate_hz: float) -> None:
        self._asked, self._rate_hz = asked, rate_hz
        self._values: dict[str, NDArray[np.float64]] = {}
        self._programs: dict[str, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands there."""
        return not self._values

    def clear(self) -> None:
        """Forget all, for a new stretch."""
        self._values = {}

    def forget(self, used: int) -> None:
        """Forget what stands beside the first `used` samples."""
        self._values = {name: values[used:] for name, values in self._values.items()}

    def push(self, samples: Samples, low: int, high: int) -> None:
        """Take what stands beside some samples."""
        parts = {} if samples.speed is None else {"speed": samples.speed[low:high]}
        for key, source in self._asked.regime:
            column = samples.columns[source.column or ""][low:high]
            parts[key] = self._numbered(column) if key == "program" else as_floats(column)
        for key, part in parts.items():
            self._values[key] = np.concatenate([self._values[key], part]) if key in self._values else part

    def _numbered(self, column: pa.Array) -> NDArray[np.float64]:
        """Return programs as numbers, in the order in which they came; NaN where a cell is empty."""
        coded = column.cast(pa.string()).dictionary_encode()
        texts = [(text or "").strip() for text in coded.dictionary.to_pylist()]
        numbers = [self._programs.setdefault(text, len(self._programs)) if text else np.nan for text in texts]
        found = coded.indices.fill_null(len(numbers)).to_numpy(zero_copy_only=False)
        result: NDArray[np.float64] = np.array([*numbers, np.nan])[found]
        return result

    def describe(self, first: int, last: int) -> dict[str, Any]:
        """Return `speed`, `regime` and `n_programs` of a piece, from the samples `first` to `last` of what is kept."""
        asked = self._asked
        own = {key: values[first:last] for key, values in self._values.items()}
        speed = None
        if "speed" in own and asked.speed is not None and (asked.every is None or asked.speed.unit in TO_RPM):
            # Of counts and pulses, slow readings would miss turns.
            speed = shaft_speed(own["speed"], self._rate_hz, asked.speed)
        regime: dict[str, Any] = {}
        n_programs = 0
        for key, source in asked.regime:
            known = own[key][np.isfinite(own[key])]
            if key == "program":
                programs = [list(self._programs)[int(number)] for number in np.unique(known)]
                n_programs = len(programs)
                regime[key] = _program(source, programs[0] if programs else "") if n_programs < 2 else None
            else:
                regime[key] = float(known.mean()) if len(known) else None
        return {"speed": speed, "regime": regime, "n_programs": n_programs}


def _program(source: Source, text: str) -> str | None:
    try:
        value = resolve(source, {source.column or "": text})
    except ValueError as error:
        raise SignalUnreadable(f"recording.program: {error}") from None
    name = None if value is None else as_text(value)
    if name and (len(name) > TEXT_LIMIT or not name.isprintable()):
        what = f"{name[:40]!r} has characters that cannot be printed, or more than {TEXT_LIMIT} characters"
        raise SignalUnreadable(f"recording.program: {what}; map it")
    return name
