"""Lines of a gear mesh in the power spectrum itself, and how much of its power lies in sidebands.

A worn or cracked tooth modulates the mesh once per turn: the sidebands one, two and three shaft orders beside the mesh
grow against the mesh line. Source of the ratio: J. Hanna, C. Hatch, M. Kalb, A. Weiss and H. Luo, "Detection of wind
turbine gear tooth defects using sideband energy ratio", China Wind Power (2011).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.kinematics import Orders
from features.spectra.lines import LineSettings, signal_to_floor_db
from features.spectra.spectrum import NYQUIST_SHARE
from features.spectra.time_domain import Vector, log10_or_nan, ratio

STATISTICS: Final = ("h1_db", "h2_db", "h3_db", "sidebands_db", "sideband_ratio_log10")
"""What `gear_mesh_statistics` returns, in its order."""

SIDEBANDS: Final = 3
"""Sidebands on each side that the ratio sums."""

_LOBE_BINS: Final = 1
"""A Hann line has its power in three bins."""

_SEARCH_ORDERS: Final = 0.4
"""The mesh line is searched no further than this to each side, so that a sideband is not taken for it."""


def gear_mesh_statistics(
    power: NDArray[Any], *, orders: Orders, turns: float, length: int, settings: LineSettings
) -> Vector:
    """Measure the mesh lines of a gearbox.

    Parameters
    ----------
    power : float array, shape (n, length // 2 + 1)
        Hann power spectrum.
    orders : Orders
    turns : float
        Shaft turns in the window, NaN where unknown.
    length : int
        Samples in the window.
    settings : LineSettings

    Returns
    -------
    float64 array, shape (n, len(STATISTICS))
        Harmonics 1 to 3 and the mean of the two nearest sidebands, in dB (`signal_to_floor_db`), and the logarithm of
        the sideband ratio. Of several meshes the highest line counts, and for the ratio the mesh with the most power:
        a mesh that is not to be seen would have noise over noise. NaN where no mesh is known or resolved.
    """
    if not (turns >= settings.min_turns and orders.gear_mesh):
        return np.full((len(power), len(STATISTICS)), np.nan)
    usable = int(NYQUIST_SHARE * length / 2.0)

    def at(positions: list[float]) -> Vector:
        return signal_to_floor_db(
            power, tuple(p * turns for p in positions if p > 0), usable_bins=usable, settings=settings
        )

    meshes = orders.gear_mesh
    harmonics = [at([k * mesh for mesh in meshes]) for k in (1, 2, 3)]
    sidebands = (at([mesh - 1 for mesh in meshes]) + at([mesh + 1 for mesh in meshes])) / 2.0
    share, strongest = np.full(len(power), np.nan), np.zeros(len(power))
    for mesh in meshes:
        mesh_share, carrier = sideband_ratio(power, mesh=mesh, turns=turns, usable=usable, tolerance=settings.tolerance)
        share = np.where(carrier > strongest, mesh_share, share)
        strongest = np.fmax(carrier, strongest)
    return np.stack((*harmonics, sidebands, log10_or_nan(share)), axis=-1)


def sideband_ratio(
    power: NDArray[Any], *, mesh: float, turns: float, usable: int, tolerance: float
) -> tuple[Vector, Vector]:
    """Return the power of the sidebands `mesh -+ 1, 2, 3` over the power of the mesh line, and that of the line.

    Both of shape (n,); the ratio has no unit and is >= 0. The mesh line is the highest bin within `tolerance` (at most
    0.4 orders) of its order; the sidebands are taken at whole orders from there, three bins each. NaN where the
    outermost sideband is outside of the usable bins.

    Examples
    --------
    >>> power = np.zeros((1, 400))
    >>> power[0, [200, 190, 210]] = 4.0, 1.0, 1.0
    >>> ratio, line = sideband_ratio(power, mesh=20.0, turns=10.0, usable=400, tolerance=0.02)
    >>> ratio.tolist(), line.tolist()
    ([0.5], [4.0])
    """
    half = max(min(tolerance * mesh, _SEARCH_ORDERS) * turns, 1.0)
    first, stop = math.ceil(mesh * turns - half), math.floor(mesh * turns + half) + 1
    reach = round(SIDEBANDS * turns) + _LOBE_BINS
    if first - reach < 2 or stop + reach > usable:
        return np.full(len(power), np.nan), np.full(len(power), np.nan)
    centre = first + power[:, first:stop].argmax(axis=-1)
    offsets = np.array([round(k * turns) for k in range(-SIDEBANDS, SIDEBANDS + 1)])
    bins = offsets[:, None] + np.arange(-_LOBE_BINS, _LOBE_BINS + 1)
    columns = centre[:, None, None] + bins
    lines = np.take_along_axis(power, columns.reshape(len(power), -1), axis=-1)
    lines = lines.reshape(len(power), len(offsets), -1).sum(axis=-1, dtype=np.float64)
    carrier = lines[:, SIDEBANDS]
    return ratio(lines.sum(axis=-1) - carrier, carrier), carrier
