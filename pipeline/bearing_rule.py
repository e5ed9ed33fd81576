"""The textbook rule of bearing lines, as the mean of the network's prior and as a method to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.rule_prior import RulePrior
from pipeline.extraction.baseline import RELATIVE
from pipeline.labels.words import LINES, mode_of, unmodelled_modes

HEALTHY_DB: Final = 6.0
"""Lines all below this are called healthy: a line of twice the floor's amplitude has 6 dB."""

DB_PER_NAT: Final = 3.0
"""As a method by itself: so many dB more are e times the odds. Declared, not fitted."""


def bearing_rule(modes: Sequence[str | None], names: Sequence[str], *, db_per_nat: float) -> RulePrior | None:
    """Give the rule for classes of some failure modes (None: healthy, or no mode) over the features `names`.

    None where no class has a line among the features, or `db_per_nat` is 0: no rule is wanted.
    """
    features = tuple(line if (line := LINES.get(mode_of(mode))) in names else None for mode in modes)
    if db_per_nat == 0.0 or all(name is None for name in features):
        return None
    others = tuple(line for mode, line in LINES.items() if line in names and mode in unmodelled_modes(modes))
    prefix = RELATIVE if all(RELATIVE + name in names for name in (*features, *others) if name is not None) else ""
    return RulePrior(features, HEALTHY_DB, db_per_nat, others, prefix)
