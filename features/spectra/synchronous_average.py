"""Time-synchronous average over shaft turns, and what is left when it is taken off.

What repeats with every turn (gears on the shaft, unbalance) stays in the average; bearings, which slip, other shafts
and noise are in the residual. Sources: P. D. McFadden, "A revised model for the extraction of periodic waveforms by
time domain averaging", Mechanical Systems and Signal Processing 1 (1987); R. M. Stewart, "Some useful data analysis
techniques for gearbox diagnostics", ISVR Southampton (1977) (FM4).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sfft

from features.spectra.time_domain import Vector, kurtosis, log10_or_nan, moments, ratio

STATISTICS: Final = ("share", "residual_ratio_log10", "residual_kurtosis_log10", "fm4_log10")
"""What `synchronous_statistics` returns, in its order."""

MIN_TURNS: Final = 8
"""Over fewer turns too much noise is left in the average."""

_WHOLE: Final = 1e-3
"""A mesh order this near to a whole number repeats with the shaft."""


def synchronous_average(windows: NDArray[Any], samples_per_turn: int) -> tuple[Vector, Vector]:
    """Average windows over whole shaft turns.

    Parameters
    ----------
    windows : array, shape (n, length)
        Over equal steps of shaft angle (`features.spectra.order_tracking`).
    samples_per_turn : int
        At least 2.

    Returns
    -------
    average : float64 array, shape (n, samples_per_turn)
        One turn; noise is smaller in it by the square root of the number of turns.
    residual : float64 array, shape (n, whole turns x samples_per_turn)
        The window less its average.

    Raises
    ------
    ValueError
        Fewer than 2 samples a turn, or fewer than 2 turns in the window.

    Examples
    --------
    >>> average, residual = synchronous_average(np.array([[1.0, 2.0, 3.0, 6.0]]), samples_per_turn=2)
    >>> average.tolist(), residual.tolist()
    ([[2.0, 4.0]], [[-1.0, -2.0, 1.0, 2.0]])
    """
    turns = windows.shape[-1] // samples_per_turn if samples_per_turn >= 2 else 0
    if turns < 2:
        raise ValueError(
            "A synchronous average needs 2 turns of 2 samples or more, got "
            f"{windows.shape[-1]} samples with {samples_per_turn} a turn."
        )
    by_turn = windows[:, : turns * samples_per_turn].astype(np.float64).reshape(len(windows), turns, samples_per_turn)
    average: Vector = by_turn.mean(axis=1)
    return average, (by_turn - average[:, None, :]).reshape(len(windows), -1)


def synchronous_statistics(windows: NDArray[Any], samples_per_turn: int | None, gear_mesh: tuple[float, ...]) -> Vector:
    """Measure how much repeats with the shaft, and whether a single tooth stands out.

    Parameters
    ----------
    windows : array, shape (n, length)
    samples_per_turn : int or None
        None where the samples are not at equal steps of angle.
    gear_mesh : tuple of float
        Mesh orders.

    Returns
    -------
    float64 array, shape (n, len(STATISTICS))
        `share` (0 to 1): mean square of the average, less what noise leaves in it, over that of the whole.
        `residual_ratio_log10` (<= 0): log10 of the residual's rms over that of the whole. `residual_kurtosis_log10`:
        log10 of the residual's kurtosis. `fm4_log10`: log10 of the kurtosis of the average after shaft harmonics 1 and
        2 and all harmonics of the meshes with one sideband each side are removed: Gauss 0.48, a single bad tooth more.
        NaN where a turn is not known to be a whole number of samples, with fewer than 8 turns, without variation, and
        for `fm4_log10` where no mesh order is a whole number.
    """
    if samples_per_turn is None or windows.shape[-1] < MIN_TURNS * samples_per_turn:
        return np.full((len(windows), len(STATISTICS)), np.nan)
    average, residual = synchronous_average(windows, samples_per_turn)
    average -= average.mean(axis=-1, keepdims=True)
    turns = residual.shape[-1] // samples_per_turn
    held = (average * average).mean(axis=-1)
    left = (residual * residual).mean(axis=-1)
    # The residual has lost one turn of freedom: noise of variance s^2 leaves s^2 / turns in the average.
    share = np.clip(ratio(held - left / (turns - 1), held + left), 0.0, 1.0)
    columns = (
        share,
        0.5 * log10_or_nan(ratio(left, held + left)),
        log10_or_nan(kurtosis(moments(residual))),
        log10_or_nan(_fm4(average, gear_mesh)),
    )
    return np.stack(columns, axis=-1)


def _fm4(average: Vector, gear_mesh: tuple[float, ...]) -> Vector:
    """Kurtosis of the average without its regular part; bins of its spectrum are shaft orders."""
    meshes = [round(mesh) for mesh in gear_mesh if abs(mesh - round(mesh)) <= _WHOLE and round(mesh) >= 2]
    per_turn = average.shape[-1]
    if not meshes:
        return np.full(len(average), np.nan)
    spectrum = sfft.rfft(average, axis=-1, workers=1)
    regular = {0, 1, 2}
    for mesh in meshes:
        for harmonic in range(mesh, per_turn // 2 + 1, mesh):
            regular |= {harmonic - 1, harmonic, harmonic + 1}
    spectrum[:, [k for k in regular if k < spectrum.shape[-1]]] = 0.0
    rest = np.asarray(sfft.irfft(spectrum, per_turn, axis=-1, workers=1), dtype=np.float64)
    # Where everything was regular, what is left is rounding.
    floor = 1e-12 * (average * average).mean(axis=-1)
    return np.where((rest * rest).mean(axis=-1) > floor, kurtosis(moments(rest)), np.nan)
