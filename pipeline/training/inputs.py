"""Which feature columns the network gets, and which ones the textbook rule reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.settings import LONG_VERSIONS
from models.training.rule_prior import Lines, RulePrior
from pipeline.extraction.baselines import RELATIVE
from pipeline.labels.words import LINES, Mode, mode_of, unmodelled_modes

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

ENVELOPES: Final = ("low", "high", "white", "best")
"""Envelopes whose lines the rule reads (`features.spectra.envelope`)."""


EVIDENCE: Final = {
    Mode.OUTER_RACE: "evidence_outer_max_db",
    Mode.INNER_RACE: "evidence_inner_max_db",
    Mode.BALL: "evidence_ball_max_db",
    Mode.CAGE: "ses_white_ftf_mean13_db",
}
"""Evidence of each bearing fault that no shaft and no mesh explains: for faults that the model has no class for. A cage
fault has harmonics; a single line at the cage's order is the modulation of a ball fault (Randall and Antoni 2011)."""


def lines_of(mode: Mode, names: Sequence[str]) -> Lines:
    """Return the terms of a failure mode among the features; () where it has no line there.

    Its first harmonic in each envelope, the mean of the first three in the prewhitened one, the mean height of its
    sidebands, and its first harmonic over long windows. Terms of which no feature is there have none.
    """
    line, there = LINES.get(mode), set(names)
    if line not in there:
        return ()
    stem = line.removeprefix("ses_white_").removesuffix("_h1_db")
    terms = (
        *((f"ses_{envelope}_{stem}_h1_db",) for envelope in ENVELOPES),
        (f"ses_white_{stem}_mean13_db",),
        tuple(f"ses_{envelope}_{stem}_sidebands_db" for envelope in ENVELOPES),
        *((f"long_ses_{envelope}_{stem}_h1_db",) for envelope in LONG_VERSIONS),
    )
    return tuple(tuple(name for name in term if name in there) for term in terms)


def bearing_rule(modes: Sequence[str | None], names: Sequence[str], *, db_per_nat: float) -> RulePrior | None:
    """Return the textbook rule for the failure modes of some classes, over the features `names`.

    Parameters
    ----------
    modes
        (C,) failure mode of each class; None: healthy, or a fault without a mode.
    names
        (F,) names of the features.
    db_per_nat
        How many dB more of all terms together multiply the odds by e; 0: no rule. The terms share the weight alike.

    Returns
    -------
    RulePrior or None
        None where no class has a line among the features, or `db_per_nat` is 0.
    """
    lines = tuple(lines_of(mode_of(mode), names) for mode in modes)
    if db_per_nat == 0.0 or not any(lines):
        return None
    n_terms = max(map(len, lines))
    known, others = (
        tuple(EVIDENCE[mode] for mode in some if mode in EVIDENCE and EVIDENCE[mode] in names)
        for some in (dict.fromkeys(map(mode_of, modes)), unmodelled_modes(modes))
    )
    weights = (1.0 / (db_per_nat * n_terms),) * n_terms
    rule = RulePrior(lines, weights, HEALTHY_DB / db_per_nat, known, others, HEALTHY_DB, db_per_nat)
    return replace(rule, change_prefix=RELATIVE if {RELATIVE + name for name in rule.features} <= set(names) else "")
