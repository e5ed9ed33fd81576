"""Which feature columns the network gets, and which ones the textbook rule reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.training.rule_prior import RulePrior
from pipeline.extraction.baselines import RELATIVE
from pipeline.labels.words import LINES, mode_of, unmodelled_modes

OWN_GROUPS: Final = ("time", "spectrum", "bands", "profile")
"""Feature groups that describe a unit's own level and spectral shape."""


def own_levels(x: NDArray[np.float32], names: Sequence[str], groups: Sequence[str]) -> NDArray[np.bool_]:
    """Return which columns (F,) are a level or shape whose change is known in at least half of the windows with it.

    Parameters
    ----------
    x
        (n, F) features of the training windows and their changes, NaN = missing.
    names, groups
        (F,) name and group of each column. The name of a change is `relative_` and the name of its feature.
    """
    place = {name: number for number, name in enumerate(names)}
    there = np.isfinite(x)
    is_level = np.zeros(len(names), dtype=np.bool_)
    for number, (name, group) in enumerate(zip(names, groups, strict=True)):
        change = place.get(RELATIVE + name)
        if group in OWN_GROUPS and change is not None:
            is_level[number] = 2 * there[:, change].sum() >= max(int(there[:, number].sum()), 1)
    return is_level


def without(x: NDArray[np.float32], columns: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return x (n, F) with the chosen columns (F,) set to missing."""
    return np.where(columns, np.float32(np.nan), x)


HEALTHY_DB: Final = 6.0
"""If all lines are below this, the rule says healthy: a line of twice the floor's amplitude has 6 dB."""

DB_PER_NAT: Final = 3.0
"""For the rule as a method of its own: this many dB more multiply the odds by e. A declared value, not a fitted one."""


def bearing_rule(modes: Sequence[str | None], names: Sequence[str], *, db_per_nat: float) -> RulePrior | None:
    """Return the textbook rule for the failure modes of some classes, over the features `names`.

    Parameters
    ----------
    modes
        (C,) failure mode of each class; None: healthy, or a fault without a mode.
    names
        (F,) names of the features.
    db_per_nat
        How many dB more multiply the odds by e; 0: no rule.

    Returns
    -------
    RulePrior or None
        None where no class has a line among the features, or `db_per_nat` is 0.
    """
    features = tuple(line if (line := LINES.get(mode_of(mode))) in names else None for mode in modes)
    if db_per_nat == 0.0 or all(name is None for name in features):
        return None
    others = tuple(line for mode, line in LINES.items() if line in names and mode in unmodelled_modes(modes))
    prefix = RELATIVE if all(RELATIVE + name in names for name in (*features, *others) if name is not None) else ""
    return RulePrior(features, HEALTHY_DB, db_per_nat, others, prefix)
