"""The slow motion that an accelerometer on a moving arm sees, apart from the vibration.

A sensor that measures down to 0 Hz turns and swings with the link that it sits on; the motion is many times larger than
the vibration and hides its waveform. ISO 20816-1:2016 judges vibration from 10 Hz on. The filter is a Butterworth low
pass of second order forwards and backwards, `1 / (1 + (f / f0)^4)`, taken off the signal; each end is continued by its
own mirror image through the last value, so that motion that does not end where it began leaves no step.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sfft

_POINTS: Final = 40
"""Blocks in one period of the limit, whose means are filtered in place of the samples."""

_MIRRORED: Final = 80
"""So many blocks at most are added at each end: two periods, after which the filter has forgotten."""

_END_BLOCKS: Final = 17
"""Odd, so that vibration at half of the blocks' rate has little weight."""

_LEAST_PERIODS: Final = 2.0
_LEAST_RATE: Final = 8.0


def is_passed(length: int, rate_hz: float, high_pass_hz: float) -> bool:
    """Return whether windows are long and fast enough to tell vibration from slower motion.

    That is with two periods of the limit in a window, and eight samples in each.

    Examples
    --------
    >>> is_passed(4096, 12_000.0, 10.0), is_passed(1024, 12_000.0, 10.0), is_passed(4096, 50.0, 10.0)
    (True, False, False)
    """
    if not high_pass_hz > 0 or math.isnan(rate_hz):
        return False
    return length * high_pass_hz >= _LEAST_PERIODS * rate_hz and rate_hz >= _LEAST_RATE * high_pass_hz


def first_bin(length: int, rate_hz: float, high_pass_hz: float, least: int) -> int:
    """Return the first bin of a spectrum that belongs to vibration, `least` where nothing is passed.

    Examples
    --------
    >>> first_bin(12_000, 12_000.0, 10.0, 1), first_bin(12_000, 12_000.0, 0.0, 1)
    (10, 1)
    """
    if not is_passed(length, rate_hz, high_pass_hz):
        return least
    return max(math.ceil(high_pass_hz * length / rate_hz - 1e-6), least)


def high_passed(windows: NDArray[np.float32], rate_hz: float, high_pass_hz: float) -> NDArray[np.float32]:
    """Take slow motion off windows.

    Parameters
    ----------
    windows : float32 array, shape (n, length)
        For which `is_passed`.
    rate_hz, high_pass_hz : float
        Above 0.

    Returns
    -------
    float32 array, shape (n, length)
        A sine at the limit loses half of its amplitude, one at a tenth of it 99.99 %, one at ten times nothing.
    """
    n, length = windows.shape
    block = max(int(rate_hz / (_POINTS * high_pass_hz)), 1)
    count = length // block
    means = np.einsum("nbk->nb", windows[:, : count * block].reshape(n, count, block)) / np.float64(block)
    pad = min(count - 1, _MIRRORED)
    # Mirrored through the end of a straight line over some blocks: the end block alone has the vibration's mean, too.
    m = min(_END_BLOCKS, count)
    weights = (4 * m - 2 - 6 * np.arange(m)) / (m * (m + 1))
    first, last = ((part * weights).sum(axis=-1, keepdims=True) for part in (means[:, :m], means[:, : -m - 1 : -1]))
    before = 2.0 * first - means[:, pad:0:-1]
    after = 2.0 * last - means[:, -2 : -pad - 2 : -1]
    wide = np.concatenate((before, means, after), axis=-1)
    size = int(sfft.next_fast_len(wide.shape[-1], real=True))
    frequency = sfft.rfftfreq(size, block / rate_hz)
    gain = 1.0 / (1.0 + (frequency / high_pass_hz) ** 4)
    slow = sfft.irfft(sfft.rfft(wide, size, axis=-1, workers=1) * gain, size, axis=-1, workers=1)
    # Straight lines between the middles of the blocks, from one before the first to one after the last.
    knots = np.asarray(slow, dtype=np.float32)[:, pad - 1 : pad + count + 2]
    share = (np.arange(block, dtype=np.float32) + np.float32(0.5 if block % 2 == 0 else 0.0)) / np.float32(block)
    rise = np.diff(knots, axis=-1)
    start = (block + 1) // 2
    result, lines = np.empty_like(windows), np.empty((count + 2, block), dtype=np.float32)
    for row in range(n):
        # Row by row and in one buffer: everything then stays in the processor's cache.
        np.multiply(rise[row, :, None], share, out=lines)
        lines += knots[row, :-1, None]
        np.subtract(windows[row], lines.reshape(-1)[start : start + length], out=result[row])
    return result


def in_their_scale(windows: NDArray[np.float32], variance: NDArray[np.float64]) -> None:
    """Center windows, shape (n, length), and scale them by another signal's variance, shape (n,), in place."""
    scale = np.where(variance > 0, np.sqrt(variance), 1.0)
    for window, factor in zip(windows, 1.0 / scale, strict=True):
        window -= window.mean()
        window *= np.float32(factor)
