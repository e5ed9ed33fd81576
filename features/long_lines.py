"""Lines over long windows: windows side by side taken as one.

A line that keeps its place stands higher over its floor the more turns it is watched for, one that wanders (slip) does
not. So the two lengths together tell more than either: what it brings is in docs/results/evaluate.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from features.chunks import chunk_windows
from features.extract import RecordingWindows
from features.high_pass import first_bin
from features.kinematics import Orders
from features.settings import LONG_LINES, LONG_VERSIONS, FeatureSettings, feature_names
from features.spectra import spectrum
from features.spectra.bearing_lines import Spectra, envelope_spectra, first_line_bins, first_lines
from features.spectra.line_reader import order_columns

_BLOCK_WINDOWS = 64
"""Lines are read from the spectra of about so many long windows at once."""


def long_windows(own: RecordingWindows, good: NDArray[np.bool_], settings: FeatureSettings) -> RecordingWindows | None:
    """Join windows that lie side by side to long ones of about `long_turns` shaft turns.

    Parameters
    ----------
    own
        Windows of one recording, side by side.
    good : bool array, shape (n,)
        Windows that may be in a long one.
    settings

    Returns
    -------
    RecordingWindows or None
        None where the recording has no line to be read, too few good windows in a row, or windows as long as that.

    Examples
    --------
    >>> windows = np.zeros((7, 1024), np.float32)
    >>> own = RecordingWindows(windows, 1024.0, True, 1800.0, True, Orders(bpfo=3.5))
    >>> long_windows(own, np.array([1, 1, 1, 0, 1, 1, 1], dtype=bool), FeatureSettings()).windows.shape
    (2, 3072)
    """
    orders = own.orders or Orders()
    if not own.turns >= settings.lines.min_turns or (orders.bpfo, orders.bpfi, orders.bsf) == (None, None, None):
        return None
    length = own.windows.shape[1]
    many = min(round(settings.windows.long_turns / own.turns), settings.windows.max_samples // length)
    if many < 2:
        return None
    starts, start = [], 0
    while start + many <= len(good):
        bad = np.flatnonzero(~good[start : start + many])
        if bad.size:
            start += int(bad[-1]) + 1
        else:
            starts.append(start)
            start += many
    if not starts:
        return None
    joined = np.stack([own.windows[first : first + many].reshape(-1) for first in starts])
    return replace(own, windows=joined, kept=(), kept_bins=0)


def with_long_lines(
    values: Sequence[NDArray[np.float32]],
    good: Sequence[NDArray[np.bool_]],
    long: Sequence[RecordingWindows | None],
    settings: FeatureSettings,
) -> None:
    """Put the lines of long windows into the features of good windows, in place: of each recording their mean.

    Parameters
    ----------
    values : sequence of float32 arrays, shape (n, F)
        Features of the windows of each recording.
    good : sequence of bool arrays, shape (n,)
    long : sequence of RecordingWindows or None
        As `long_windows` gives; nothing is changed for None. A line that is missing there is left, too.
    settings
    """
    there = [place for place, own in enumerate(long) if own is not None]
    heights = _heights([own for own in long if own is not None], settings)
    names = feature_names(settings)
    for place, own in zip(there, heights, strict=True):
        for name, line in zip(LONG_LINES, own.T, strict=True):
            known = line[np.isfinite(line)]
            if known.size:
                values[place][good[place], names.index(f"long_{name}")] = known.mean()


def _heights(recordings: Sequence[RecordingWindows], settings: FeatureSettings) -> list[NDArray[np.float64]]:
    """Return the heights (n, lines) of each recording's long windows; each row is what its window gives alone."""
    results = [np.empty((len(own.windows), 0)) for own in recordings]
    needed = [first_line_bins(own.orders or Orders(), own.turns, settings) for own in recordings]
    keys = [(own.windows.shape[1], own.sampling_rate_hz, bins) for own, bins in zip(recordings, needed, strict=True)]
    for block in _blocks(sorted(range(len(recordings)), key=keys.__getitem__), recordings):
        spectra: list[Spectra] = []
        number = [len(recordings[place].windows) for place in block]
        turns = np.repeat([recordings[place].turns for place in block], number)
        bins = np.repeat([needed[place] for place in block], number)
        row = 0
        for (length, rate, _), alike in groupby(block, key=keys.__getitem__):
            windows = np.concatenate([recordings[place].windows for place in alike])
            step = chunk_windows(length)
            for start in range(0, len(windows), step):
                part = windows[start : start + step]
                rows = slice(row, row + len(part))
                spectra += _spectra(part, row, rate, turns[rows], bins[rows], settings)
                row += len(part)
        orders = order_columns(
            [recordings[place].orders or Orders() for place in block],
            [recordings[place].turns for place in block],
            settings.lines,
        ).take(np.repeat(np.arange(len(block)), number))
        with np.errstate(invalid="ignore"):
            heights = first_lines(spectra, row, turns=turns, orders=orders, settings=settings)
        for place, own in zip(block, np.split(heights, np.cumsum(number)[:-1]), strict=True):
            results[place] = own
    return results


def _spectra(
    windows: NDArray[np.float32],
    first_row: int,
    rate_hz: float,
    turns: NDArray[np.float64],
    needed: NDArray[np.int64],
    settings: FeatureSettings,
) -> list[Spectra]:
    length = windows.shape[1]
    whole = windows - windows.mean(axis=-1, keepdims=True, dtype=np.float64).astype(np.float32)
    whole /= np.maximum(np.abs(whole).max(axis=-1, keepdims=True), np.finfo(np.float32).tiny)
    transform = spectrum.real_transform(whole)
    spectrum.remove_step(transform, whole)
    transform[:, : first_bin(length, rate_hz, settings.high_pass_hz, 0)] = 0.0
    return envelope_spectra(
        transform,
        first_row,
        bin_hz=rate_hz / length,
        length=length,
        turns=turns,
        needed=needed,
        settings=settings,
        versions=LONG_VERSIONS,
    )


def _blocks(places: Sequence[int], recordings: Sequence[RecordingWindows]) -> Iterator[list[int]]:
    block: list[int] = []
    for place in places:
        block.append(place)
        if sum(len(recordings[own].windows) for own in block) >= _BLOCK_WINDOWS:
            yield block
            block = []
    if block:
        yield block
