"""How many harmonics and sideband pairs of a bearing stand out of the noise.

A textbook reader counts: one line may be chance, a row of harmonics with sidebands is a defect (ISO 13373-3:2015, annex
D; Randall and Antoni, "Rolling element bearing diagnostics - a tutorial", Mechanical Systems and Signal Processing 25
(2011), section 2). A line counts where noise alone would reach its height in at most `false_rate` of cases.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from features.kinematics import Orders
from features.spectra.lines import LineReader
from features.spectra.time_domain import Vector

SIDEBAND_PAIRS: Final = 3
"""Pairs of sidebands that are looked for beside a line."""

STATISTICS: Final = (
    "bpfo_harmonics",
    "bpfi_harmonics",
    "bsf2x_harmonics",
    "ftf_harmonics",
    "bpfi_sideband_pairs",
    "bsf2x_sideband_pairs",
)
"""What `line_counts` returns, in its order."""


def line_counts(reader: LineReader, orders: Orders) -> Vector:
    """Count the lines that stand out.

    Parameters
    ----------
    reader : LineReader
        Over the squared envelope spectra of n windows.
    orders : Orders

    Returns
    -------
    float64 array, shape (n, len(STATISTICS))
        Harmonics: 0 to `count_harmonics` (8), of those that are resolved. Sideband pairs: 0 to 3, at the distance of
        1, 2 and 3 shaft orders from bpfi and of 1, 2 and 3 cage orders from twice bsf; a pair counts where both of its
        lines stand out. NaN where the order is not known or no line of the kind is resolved.
    """
    double_spin = None if orders.bsf is None else 2.0 * orders.bsf
    columns = [_harmonics(reader, order) for order in (orders.bpfo, orders.bpfi, double_spin, orders.ftf)]
    columns += [_pairs(reader, orders.bpfi, 1.0), _pairs(reader, double_spin, orders.ftf)]
    return np.stack(columns, axis=-1)


def _harmonics(reader: LineReader, order: float | None) -> Vector:
    if order is None:
        return reader.stands_out(None)
    return _sum_of_known([reader.stands_out(k * order) for k in range(1, reader.settings.count_harmonics + 1)])


def _pairs(reader: LineReader, centre: float | None, distance: float | None) -> Vector:
    if centre is None or distance is None:
        return reader.stands_out(None)
    steps = [k * distance for k in range(1, SIDEBAND_PAIRS + 1)]
    return _sum_of_known([reader.stands_out(centre - step) * reader.stands_out(centre + step) for step in steps])


def _sum_of_known(columns: list[Vector]) -> Vector:
    stacked = np.stack(columns)
    return np.where(np.isnan(stacked).all(axis=0), np.nan, np.nansum(stacked, axis=0))
