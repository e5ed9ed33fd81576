"""Spectra of many recordings under each other, oldest on top: when a line came, and whether it follows the speed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.settings import FeatureSettings
from features.spectra.bearing_lines import find_best_band
from features.spectra.envelope import squared_envelope_spectrum, whole_band_bins
from features.spectra.spectrum import power_spectrum, real_transform

COLUMNS: Final = 320
MOST_RECORDINGS: Final = 40
MOST_SAMPLES: Final = 1 << 16
HIGHEST_ORDER: Final = 20.0
HIGHEST_HZ: Final = 1000.0
RANGE_DB: Final = 30.0
"""From the floor (dark) to so many dB above it (bright)."""

KINDS: Final = ("envelope", "spectrum")


def lines_of(
    samples: npt.NDArray[Any], rate_hz: float, kind: str, settings: FeatureSettings
) -> tuple[npt.NDArray[Any], float] | None:
    """Return the power of every line of a recording (n,) and their distance in Hz; None where it is too short
    or holds values that a sensor computed.

    Parameters
    ----------
    samples
        (n,) signal; at most 65,536 samples are used.
    kind
        `spectrum`: of the signal. `envelope`: of the squared envelope of the recording's best band.
    """
    part = samples[:MOST_SAMPLES][None, :].astype(np.float32)
    if settings.overall or part.shape[1] < 64 or not np.isfinite(part).all():
        return None
    part = part - part.mean(dtype=np.float64).astype(np.float32)
    length, step = part.shape[1], rate_hz / part.shape[1]
    if kind == "spectrum":
        return power_spectrum(part)[0], step
    transform = real_transform(part)
    best = find_best_band(transform, step, length, settings)
    band = best.bands[int(best.index[0])] if best.bands and best.index[0] >= 0 else whole_band_bins(length)
    return None if band is None else (squared_envelope_spectrum(transform, band)[0], step)


def heights(lines: npt.NDArray[Any], step: float, highest: float) -> npt.NDArray[np.uint8]:
    """Return the height of the highest line in each of 320 columns up to a frequency, uint8 (320,).

    0 is the median of the columns, 255 is 30 dB above it. A column between two lines has the value of the nearest;
    beyond the last line it is 0.
    """
    edges = np.linspace(0.0, highest / step, COLUMNS + 1)
    first = np.clip(np.round(edges[:-1]).astype(np.int64), 1, None)
    last = np.maximum(np.round(edges[1:]).astype(np.int64), first + 1)
    shown = np.zeros(COLUMNS)
    for column, (low, high) in enumerate(zip(first, last, strict=True)):
        if low < len(lines):
            shown[column] = lines[low:high].max()
    floor = float(np.median(shown[shown > 0])) if shown.any() else 1.0
    with np.errstate(divide="ignore"):
        level = 10.0 * np.log10(shown / floor) / RANGE_DB
    return np.asarray(np.clip(np.nan_to_num(level, neginf=0.0), 0.0, 1.0) * 255, dtype=np.uint8)


def waterfall(
    recordings: Sequence[tuple[Any, npt.NDArray[Any]]], kind: str, settings: FeatureSettings
) -> dict[str, Any]:
    """Return the spectra of recordings as rows of one picture.

    Parameters
    ----------
    recordings
        Rows with recording_id, started_at, sampling_rate_hz, shaft_speed_rpm, and the samples of each.

    Returns
    -------
    dict
        in_orders (true: the axis is in multiples of the shaft's speed, since each recording has one), to (end of the
        axis, which begins at 0), range_db, rows: recording_id, started_at, values (base64 of 320 bytes, `heights`).
    """
    in_orders = all(row.shaft_speed_rpm for row, _ in recordings)
    highest = HIGHEST_ORDER if in_orders else HIGHEST_HZ
    if kind == "spectrum" and recordings:
        shaft = [row.shaft_speed_rpm / 60 if in_orders else 1.0 for row, _ in recordings]
        highest = min(row.sampling_rate_hz / 2 / turn for (row, _), turn in zip(recordings, shaft, strict=True))
    rows = []
    for row, samples in recordings:
        found = lines_of(samples, row.sampling_rate_hz, kind, settings)
        if found is None:
            continue
        turn = row.shaft_speed_rpm / 60 if in_orders else 1.0
        values = base64.b64encode(heights(found[0], found[1] / turn, highest).tobytes()).decode("ascii")
        rows.append({"recording_id": row.recording_id, "started_at": row.started_at, "values": values})
    return {"in_orders": in_orders, "to": highest, "range_db": RANGE_DB, "rows": rows}
