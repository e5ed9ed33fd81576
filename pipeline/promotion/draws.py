"""Random draws of units for bootstrap intervals, for the gate and for the payback pages.

It is a file of its own because the review application reads payback without loading models, which the gate needs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def unit_draws(
    unit: npt.NDArray[np.str_], finding: npt.NDArray[np.str_], *, n_bootstrap: int, seed: int
) -> npt.NDArray[np.float64]:
    """Return how often each row is drawn, (n_bootstrap, n): whole units, among those with the same findings."""
    names, code = np.unique(unit, return_inverse=True)
    stratum = np.array(["|".join(sorted(set(finding[code == index].tolist()))) for index in range(names.size)])
    rng = np.random.default_rng(seed)
    drawn = np.zeros((n_bootstrap, names.size))
    for name in np.unique(stratum):
        members = np.flatnonzero(stratum == name)
        share = np.full(members.size, 1.0 / members.size)
        drawn[:, members] = rng.multinomial(members.size, share, size=n_bootstrap)
    return drawn[:, code]
