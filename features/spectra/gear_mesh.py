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
from features.spectra.lines import Bins, LineSettings, runs, signal_to_floor_db
from features.spectra.time_domain import Vector, log10_or_nan, ratio

STATISTICS: Final = ("h1_db", "h2_db", "h3_db", "sidebands_db", "sideband_ratio_log10")
"""What `gear_mesh_statistics` returns, in its order."""

SIDEBANDS: Final = 3
"""Sidebands on each side that the ratio sums."""

_LOBE_BINS: Final = 1
"""A Hann line has its power in three bins."""

_SEARCH_ORDERS: Final = 0.4
"""The mesh line is searched no further than this to each side, so that a sideband is not taken for it."""


def spectrum_reach(orders: Orders, turns: float, shaft_harmonics: int, settings: LineSettings) -> int:
    """Return how many bins of a spectrum hold the mesh lines of a gearbox and so many harmonics of its shaft.

    Examples
    --------
    >>> spectrum_reach(Orders(gear_mesh=(20.0,)), 10.0, 4, LineSettings())
    825
    """
    highest = max([float(shaft_harmonics), *(3.0 * mesh for mesh in orders.gear_mesh)]) + SIDEBANDS
    reach = (highest * (1 + settings.floor_share + settings.tolerance)) * turns
    return math.ceil(reach) + settings.floor_bins + 8


def gear_mesh_statistics(
    power: NDArray[Any], *, meshes: Vector, turns: Vector, usable: Bins, settings: LineSettings
) -> Vector:
    """Measure the mesh lines of gearboxes.

    Parameters
    ----------
    power : float array, shape (n, bins)
        Hann power spectra.
    meshes : float64 array, shape (n, m)
        Mesh orders of each row, NaN behind the last.
    turns : float64 array, shape (n,)
        Shaft turns in the window, NaN where unknown.
    usable : int64 array, shape (n,)
        Bins at and above this one are not to be used.
    settings : LineSettings

    Returns
    -------
    float64 array, shape (n, len(STATISTICS))
        Harmonics 1 to 3 and the mean of the two nearest sidebands, in dB (`signal_to_floor_db`), and the logarithm of
        the sideband ratio. Of several meshes the highest line counts, and for the ratio the mesh with the most power:
        a mesh that is not to be seen would have noise over noise. NaN where no mesh is known or resolved.
    """
    per_row = np.where(turns >= settings.min_turns, turns, np.nan)

    lines = np.stack([meshes, 2 * meshes, 3 * meshes, meshes - 1, meshes + 1], axis=1)
    *harmonics, below, above = signal_to_floor_db(
        power, lines * per_row[:, None, None], usable=usable, settings=settings
    ).T
    share, strongest = np.full(len(power), np.nan), np.zeros(len(power))
    for mesh in meshes.T:
        mesh_share, carrier = sideband_ratio(
            power, mesh=mesh, turns=per_row, usable=usable, tolerance=settings.tolerance
        )
        share = np.where(carrier > strongest, mesh_share, share)
        strongest = np.fmax(carrier, strongest)
    return np.stack((*harmonics, (below + above) / 2.0, log10_or_nan(share)), axis=-1)


def sideband_ratio(
    power: NDArray[Any], *, mesh: Vector, turns: Vector, usable: Bins, tolerance: float
) -> tuple[Vector, Vector]:
    """Return the power of the sidebands `mesh -+ 1, 2, 3` over the power of the mesh line, and that of the line.

    All of shape (n,); the ratio has no unit and is >= 0. The mesh line is the highest bin within `tolerance` (at most
    0.4 orders) of its order; the sidebands are taken at whole orders from there, three bins each. NaN where the mesh is
    not known or the outermost sideband is outside of the usable bins.

    Examples
    --------
    >>> power = np.zeros((1, 400))
    >>> power[0, [200, 190, 210]] = 4.0, 1.0, 1.0
    >>> one = {"mesh": np.array([20.0]), "turns": np.array([10.0]), "usable": np.array([400])}
    >>> ratio, line = sideband_ratio(power, **one, tolerance=0.02)
    >>> ratio.tolist(), line.tolist()
    ([0.5], [4.0])
    """
    ratios, carriers = np.full(len(power), np.nan), np.full(len(power), np.nan)
    known = ~np.isnan(mesh * turns)
    mesh, turns = np.where(known, mesh, 0.0), np.where(known, turns, 0.0)
    half = np.maximum(np.minimum(tolerance * mesh, _SEARCH_ORDERS) * turns, 1.0)
    first = np.ceil(mesh * turns - half).astype(np.int64)
    stop = np.floor(mesh * turns + half).astype(np.int64) + 1
    reach = np.rint(SIDEBANDS * turns).astype(np.int64) + _LOBE_BINS
    rows = np.flatnonzero(known & (first - reach >= 2) & (stop + reach <= usable))
    if rows.size:
        width = (stop - first)[rows]
        band = runs(power, rows, first[rows], width, int(width.max()))
        band[np.arange(band.shape[-1]) >= width[:, None]] = -np.inf
        centre = first[rows] + band.argmax(axis=-1)
        offsets = np.rint(np.arange(-SIDEBANDS, SIDEBANDS + 1) * turns[rows, None]).astype(np.int64)
        bins = (centre[:, None] + offsets)[..., None] + np.arange(-_LOBE_BINS, _LOBE_BINS + 1)
        lines = power[rows[:, None, None], bins].sum(axis=-1, dtype=np.float64)
        carriers[rows] = lines[:, SIDEBANDS]
        ratios[rows] = ratio(lines.sum(axis=-1) - carriers[rows], carriers[rows])
    return ratios, carriers
