"""How much of a window is mains hum: a line at 50 or 60 Hz with its odd harmonics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.spectra.spectrum import NYQUIST_SHARE

HUM_HARMONICS = (1, 3, 5, 7)
"""Hum of a rectified or saturated supply is symmetric, so it has odd harmonics."""


@dataclass(frozen=True)
class HumSettings:
    """When a window counts as mains hum.

    Attributes
    ----------
    mains_hz : tuple of float
        Mains frequencies to look for.
    share : float
        Share of the window's power that the line and its odd harmonics have to exceed.
    share_unknown_speed : float
        The same where the shaft's speed is not known, so that the line could be the shaft's.
    tolerance : float
        Half width of a line as a share of its frequency; at least the 2 bins of the Hann main lobe.
    min_cycles : float
        A window with fewer mains cycles is not judged: its bins are too wide to call it a line.
    shaft_tolerance, shaft_harmonics, strong_harmonics : float, int, int
        Where one of the first so many harmonics of the shaft lies within this share of a mains frequency (or within
        2 bins), a line at that frequency may be the machine's. At one of the first `strong_harmonics` (unbalance,
        misalignment, a motor's own field) hum is then not judged; at a higher one it has to exceed
        `share_unknown_speed`.

    Raises
    ------
    ValueError
        A value is out of range; the message names it.
    """

    mains_hz: tuple[float, ...] = (50.0, 60.0)
    share: float = 0.5
    share_unknown_speed: float = 0.8
    tolerance: float = 0.01
    min_cycles: float = 10.0
    shaft_tolerance: float = 0.02
    shaft_harmonics: int = 5
    strong_harmonics: int = 2

    def __post_init__(self) -> None:
        if not all(math.isfinite(f) and f > 0 for f in self.mains_hz):
            raise ValueError(f"mains_hz must be finite numbers above 0, got {self.mains_hz!r}.")
        for name in ("share", "share_unknown_speed", "tolerance", "shaft_tolerance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)!r}.")
        if not self.min_cycles > 0 or not 0 <= self.strong_harmonics <= self.shaft_harmonics:
            raise ValueError(
                "min_cycles must be above 0 and strong_harmonics from 0 to shaft_harmonics, got "
                f"{self.min_cycles!r}, {self.strong_harmonics!r} and {self.shaft_harmonics!r}."
            )


def unexplained_mains(
    shaft_speed_rpm: float | None, *, sampling_rate_hz: float, length: int, harmonics: int, settings: HumSettings
) -> tuple[float, ...]:
    """Return the mains frequencies, in Hz, at which none of the first so many harmonics of the shaft lies.

    All where the speed is unknown.

    Examples
    --------
    >>> unexplained_mains(1500.0, sampling_rate_hz=1000.0, length=1000, harmonics=2, settings=HumSettings())
    (60.0,)
    """
    if shaft_speed_rpm is None or not math.isfinite(shaft_speed_rpm) or shaft_speed_rpm == 0 or length == 0:
        return settings.mains_hz
    shaft_hz = abs(shaft_speed_rpm) / 60.0
    resolution = 2.0 * sampling_rate_hz / length
    return tuple(
        mains
        for mains in settings.mains_hz
        if all(
            abs(k * shaft_hz - mains) > max(settings.shaft_tolerance * mains, resolution)
            for k in range(1, harmonics + 1)
        )
    )


def mains_shares(power: NDArray[Any], *, bin_hz: float, length: int, settings: HumSettings) -> NDArray[np.float64]:
    """Return the share of each window's power that each mains frequency explains.

    The share is `sum of P around f, 3f, 5f, 7f / sum of P` (0 to 1), P being the Hann power spectrum. It is 0 where the
    window has fewer than `min_cycles` cycles, no variation, no declared rate, or where the line is not below 0.98 of
    Nyquist.

    Parameters
    ----------
    power : float array, shape (n, length // 2 + 1)
    bin_hz : float
        Distance of bins; NaN where the rate is not declared.
    length : int
        Samples in a window.
    settings : HumSettings

    Returns
    -------
    float64 array, shape (n, len(mains_hz))

    Examples
    --------
    >>> from features.spectra.spectrum import power_spectrum
    >>> hum = np.sin(2 * np.pi * 50 * np.arange(1000)[None] / 1000)
    >>> mains_shares(power_spectrum(hum), bin_hz=1.0, length=1000, settings=HumSettings()).round(3).tolist()
    [[1.0, 0.0]]
    """
    shares = np.zeros((len(power), len(settings.mains_hz)))
    judged = [
        f / bin_hz >= settings.min_cycles and f < NYQUIST_SHARE * bin_hz * length / 2.0 for f in settings.mains_hz
    ]
    if not any(judged):
        return shares
    total = power[:, 1:].sum(axis=-1).astype(np.float64)
    for place in np.flatnonzero(judged).tolist():
        mask = np.zeros(power.shape[-1], dtype=np.bool_)
        for k in HUM_HARMONICS:
            centre = k * settings.mains_hz[place] / bin_hz
            half = max(settings.tolerance * centre, 2.0)
            mask[max(math.ceil(centre - half), 1) : math.floor(centre + half) + 1] = True
        held = power.take(np.flatnonzero(mask), axis=-1).sum(axis=-1).astype(np.float64)
        shares[:, place] = np.where(total > 0, held / np.where(total > 0, total, 1.0), 0.0)
    return shares
