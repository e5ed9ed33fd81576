"""How many harmonics and sideband pairs of a bearing stand out of the noise.

A textbook reader counts: one line may be chance, a row of harmonics with sidebands is a defect (ISO 13373-3:2015, annex
D; Randall and Antoni, "Rolling element bearing diagnostics - a tutorial", Mechanical Systems and Signal Processing 25
(2011), section 2). A line counts where noise alone would reach its height in at most `false_rate` of cases.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from features.kinematics import Orders
from features.spectra.envelope import times
from features.spectra.line_reader import SIDEBAND_PAIRS, LineReader, OrderColumns
from features.spectra.time_domain import Vector

STATISTICS: Final = (
    "bpfo_harmonics",
    "bpfi_harmonics",
    "bsf2x_harmonics",
    "ftf_harmonics",
    "bpfi_sideband_pairs",
    "bsf2x_sideband_pairs",
)
"""What `line_counts` returns, in its order."""


def line_counts(reader: LineReader, orders: Orders | OrderColumns) -> Vector:
    """Count the lines that stand out.

    Parameters
    ----------
    reader : LineReader
        Over the squared envelope spectra of n windows.
    orders : Orders or OrderColumns
        Of all windows, or of each.

    Returns
    -------
    float64 array, shape (n, len(STATISTICS))
        Harmonics: 0 to `count_harmonics` (8), of those that are resolved. Sideband pairs: 0 to 3, at the distance of
        1, 2 and 3 orders of the inner ring from bpfi and of 1, 2 and 3 cage orders from twice bsf; a pair counts where
        both of its lines stand out. NaN where the order is not known or no line of the kind is resolved.
    """
    double_spin = times(2.0, orders.bsf)
    n_harmonics = reader.settings.count_harmonics
    bases = (orders.bpfo, orders.bpfi, double_spin, orders.ftf)
    wanted = [times(k, base) for base in bases for k in range(1, n_harmonics + 1)]
    for base, distance in ((orders.bpfi, orders.inner_ring), (double_spin, orders.ftf)):
        wanted += [side for k in range(1, SIDEBAND_PAIRS + 1) for side in reader.beside(base, times(k, distance))]
    lines = np.stack(reader.stands_out(*wanted))
    harmonics, sides = np.split(lines, [len(bases) * n_harmonics])
    pairs = sides[::2] * sides[1::2]
    columns = [_sum_of_known(part) for part in np.split(harmonics, len(bases))]
    columns += [_sum_of_known(part) for part in np.split(pairs, 2)]
    return np.stack(columns, axis=-1)


def _sum_of_known(lines: Vector) -> Vector:
    return np.where(np.isnan(lines).all(axis=0), np.nan, np.nansum(lines, axis=0))
