"""The textbook rule of bearing lines, as the mean of the network's prior and as a method to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.rule_prior import RulePrior
from pipeline.taxonomy import Mode

LINES: Final = {
    Mode.OUTER_RACE: "ses_white_bpfo_h1_db",
    Mode.INNER_RACE: "ses_white_bpfi_h1_db",
    Mode.BALL: "ses_white_bsf2x_h1_db",
    Mode.CAGE: "ses_white_ftf_h1_db",
}
"""The line of each bearing fault in the squared envelope spectrum of the prewhitened signal. Source: R. B. Randall and
J. Antoni, "Rolling element bearing diagnostics - a tutorial", Mechanical Systems and Signal Processing 25 (2011)."""

HEALTHY_DB: Final = 6.0
"""Lines all below this are called healthy: a line of twice the floor's amplitude has 6 dB."""

DB_PER_NAT: Final = 3.0
"""As a method by itself: so many dB more are e times the odds. Declared, not fitted."""


def bearing_rule(modes: Sequence[str | None], names: Sequence[str], *, db_per_nat: float) -> RulePrior | None:
    """Give the rule for classes of some failure modes (None: healthy, or no mode) over the features `names`.

    None where no class has a line among the features, or `db_per_nat` is 0: no rule is wanted.
    """
    features = tuple(line if (line := LINES.get(_mode(mode))) in names else None for mode in modes)
    if db_per_nat == 0.0 or all(name is None for name in features):
        return None
    return RulePrior(features, HEALTHY_DB, db_per_nat)


def _mode(word: str | None) -> Mode:
    return Mode(word) if word in set(Mode) else Mode.OTHER
