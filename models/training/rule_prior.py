"""A rule of bearing lines as the mean of the prior: the network learns only what the rule misses.

The logits of a class are the network's output plus the evidence of its own lines: a conditional logit, in which all
classes share the weights and each sees only its own lines (D. McFadden, "Conditional logit analysis of qualitative
choice behavior", 1974). So a weight that was learned on outer races holds for inner races too, and a handful of units
fits it. The network starts from about nothing and its weights are pulled to nothing, so where the training data carry
no information the rule remains. A fixed mean function added to a Bayesian model is textbook practice (C. E. Rasmussen
and C. K. I. Williams, "Gaussian Processes for Machine Learning", 2006, section 2.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import bdtrc, log_softmax, softmax

Lines = tuple[tuple[str, ...], ...]
"""K terms of a class; of each the features (dB) whose mean height above 0 counts. Empty: the class has no line."""

WEIGHT_SD: Final = 0.2
"""Standard deviation of a weight's prior, nats per dB: a rig may double the weight of a line, and not more."""

DEFAULT_SD: Final = 1.0
"""Standard deviation of the prior of `default_nats`, nats."""


@dataclass(frozen=True)
class RulePrior:
    """A rule's logits.

    Attributes
    ----------
    lines : tuple of Lines
        Of each class its K terms; () where there is none, and for the healthy class.
    weights : tuple of float
        (K,) nats per dB of each term, >= 0.
    default_nats : float
        Logit of a class without lines: what is not above it is called healthy.
    evidence, others : tuple of str
        Features (dB) that are evidence of faults with a class, and of faults without one, see `unmodelled`.
    default_db, db_per_nat : float
        For these: height at which nothing stands, dB; so many dB more are e times the odds, > 0.
    change_prefix : str
        Prefix of the name of a feature's change against the unit's own baseline; '' where there are no changes.
    """

    lines: tuple[Lines, ...]
    weights: tuple[float, ...]
    default_nats: float
    evidence: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    default_db: float = 6.0
    db_per_nat: float = 3.0
    change_prefix: str = ""

    def __post_init__(self) -> None:
        if not np.isfinite([*self.weights, self.default_nats]).all() or min(self.weights, default=-1.0) < 0.0:
            raise ValueError("A rule's prior needs finite weights of at least 0 and a finite default_nats.")
        if not any(self.lines):
            raise ValueError("A rule's prior needs lines for at least one class.")
        if not np.isfinite(self.default_db) or not 0.0 < self.db_per_nat < np.inf:
            raise ValueError(f"A rule's prior needs db_per_nat > 0, got {self.default_db}, {self.db_per_nat}.")
        if any(len(terms) not in (0, len(self.weights)) for terms in self.lines):
            raise ValueError(f"Each class with lines needs {len(self.weights)} terms, one for each weight.")

    @property
    def features(self) -> set[str]:
        """Names of all features that it reads, changes apart."""
        return {name for terms in self.lines for term in terms for name in term} | {*self.evidence, *self.others}

    def logits(self, x: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
        """Return the rule's logits (n, C) for windows x (n, F) with columns `names`; each row by itself.

        A missing feature is left out of its term's mean, a term without any counts as 0 dB; where every feature of the
        rule is missing or not finite the row is 0.

        Raises
        ------
        ValueError
            A feature of the rule is not among the names.
        """
        logits: NDArray[np.float32] = logits_of([self], x, names)[0]
        return logits

    def unmodelled(self, x: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float64]:
        """Return the probability (n,) that a textbook rule gives to faults without a class, in [0, 1].

        Without the network, and alike before it sees the window, between each of `evidence`, nothing (at `default_db`)
        and each of `others`. Where the changes against the unit's baseline are there as well, the lower of the two: a
        line that was there from the start is no news. NaN where none of `others` is known.
        """
        share = self._others_share(x, names, "")
        if self.change_prefix:
            changed = self._others_share(x, names, self.change_prefix)
            share = np.where(np.isfinite(changed), np.minimum(share, changed), share)
        return share

    def _others_share(self, x: NDArray[np.float32], names: Sequence[str], prefix: str) -> NDArray[np.float64]:
        column = {name: number for number, name in enumerate(names)}
        known, strange = ([prefix + name for name in own] for own in (self.evidence, self.others))
        if not strange or not all(name in column for name in (*known, *strange)):
            return np.full(len(x), np.nan)
        lines = x[:, [column[name] for name in (*known, *strange)]].astype(np.float64)
        lines[~np.isfinite(lines)] = np.nan
        stand = np.column_stack([np.full(len(x), self.default_db), np.nan_to_num(lines)])
        share: NDArray[np.float64] = softmax(stand / self.db_per_nat, axis=1)[:, 1 + len(known) :].sum(axis=1)
        return np.where(np.isnan(lines[:, len(known) :]).all(axis=1), np.nan, share)


def logits_of(rules: Sequence[RulePrior], x: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
    """Return the logits (K, n, C) of rules that differ in nothing but weights and `default_nats`."""
    terms, known = heights(rules[0].lines, x, names)
    with_lines = [bool(own) for own in rules[0].lines]
    out = np.stack([np.where(with_lines, terms @ np.array(one.weights), one.default_nats) for one in rules])
    out[:, ~known.any(axis=1)] = 0.0
    return out.astype(np.float32)


def heights(
    lines: tuple[Lines, ...], x: NDArray[np.float32], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the terms' heights (n, C, K) in dB, 0 without a known feature, and which classes have one known, (n, C).

    Raises
    ------
    ValueError
        A feature is not among the names.
    """
    columns = _columns(lines, tuple(names))
    values = x[:, np.minimum(columns, x.shape[1] - 1)].astype(np.float64)
    known = np.isfinite(values) & (columns < x.shape[1])
    number = known.sum(axis=-1)
    total = np.where(known, np.maximum(values, 0.0), 0.0).sum(axis=-1)
    return total / np.maximum(number, 1), number.any(axis=-1)


@lru_cache(maxsize=64)
def _columns(lines: tuple[Lines, ...], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the column of each feature (C, K, J); the place after the last one where a term has fewer features."""
    place = {name: number for number, name in enumerate(names)}
    absent = sorted({name for terms in lines for term in terms for name in term} - set(place))
    if absent:
        raise ValueError(f"The rule's features {', '.join(absent)} are not among the columns.")
    most = max((len(term) for terms in lines for term in terms), default=1)
    columns = np.full((len(lines), max(len(terms) for terms in lines), max(most, 1)), len(names), dtype=np.int64)
    for c, terms in enumerate(lines):
        for k, term in enumerate(terms):
            columns[c, k, : len(term)] = [place[name] for name in term]
    return columns


def fit_rule(
    rule: RulePrior,
    x: NDArray[np.float32],
    names: Sequence[str],
    y: NDArray[np.int64],
    weight: NDArray[np.float64],
    n_units: int,
) -> RulePrior:
    """Fit the weights and `default_nats` to labelled windows: the posterior mode of the conditional logit.

    The prior is normal around the rule's own weights (`WEIGHT_SD`, `DEFAULT_SD`). All windows together count as
    `n_units` observations, since windows of a unit are near copies.

    Parameters
    ----------
    rule
        The mean of the prior.
    x, names
        (n, F) features, NaN = missing, and their names.
    y
        (n,) class index; below 0, and where no line is known: left out.
    weight
        (n,) weights, >= 0.
    n_units
        Number of units that the windows come from.
    """
    terms, known = heights(rule.lines, x, names)
    used = (y >= 0) & known.any(axis=1) & (weight > 0)
    if not used.any():
        return rule
    without = np.array([not own for own in rule.lines], dtype=np.float64)
    design = np.concatenate([terms, np.broadcast_to(without[:, None], (*terms.shape[:2], 1))], axis=2)[used]
    target, mass = y[used], weight[used] * n_units / weight[y >= 0].sum()
    mean = np.array([*rule.weights, rule.default_nats])
    spread = np.array([WEIGHT_SD] * len(rule.weights) + [DEFAULT_SD])
    chosen = design[np.arange(len(target)), target]

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_p = log_softmax(design @ values, axis=1)
        pulled = (values - mean) / spread
        expected = np.einsum("nc,nck->nk", np.exp(log_p), design)
        gradient = pulled / spread - mass @ (chosen - expected)
        return 0.5 * float(pulled @ pulled) - float(mass @ log_p[np.arange(len(target)), target]), gradient

    bounds = [(0.0, None)] * len(rule.weights) + [(None, None)]
    found = minimize(loss, mean, jac=True, method="L-BFGS-B", bounds=bounds).x
    return replace(rule, weights=tuple(found[:-1].tolist()), default_nats=float(found[-1]))


@dataclass(frozen=True)
class Agreement:
    """Whether the lines agree with the labels, or with the labels of another class.

    Attributes
    ----------
    units, agreed
        Units in one class each that the rule knows, and those it puts into the class of their label.
    exchanged
        Of the exchange of classes that the lines speak for most: units whose lines are those of the other class.
    own
        Units of the classes that it exchanges whose lines are those of their own label.
    chance
        How probable so many, or so few own ones, are where the lines speak for neither, over all exchanges; 0 to 1.
    """

    units: int
    agreed: int
    exchanged: int
    own: int
    chance: float


def agreement(
    rule: RulePrior, x: NDArray[np.float32], names: Sequence[str], y: NDArray[np.int64], unit: NDArray[np.str_]
) -> Agreement:
    """Compare labels with what the rule says of each unit, by the mean of its logits.

    Labels that were exchanged consistently pass every held-out test, for all units are wrong alike; only the physics of
    the lines shows them. Each exchange of classes is compared with the labels as they are by the sign test over the
    units that tell the two apart, its chance times the number of exchanges (Bonferroni).

    Parameters
    ----------
    x, names
        (n, F) features, NaN = missing, and their names.
    y, unit
        (n,) class index, below 0: left out; physical unit.

    Examples
    --------
    >>> rule = RulePrior(((), (("a",),), (("b",),)), (1.0,), 2.0)
    >>> x, unit = np.array([[9.0, 0.0], [0.0, 9.0]], np.float32).repeat(6, 0), np.arange(12).astype(str)
    >>> agreement(rule, x, ["a", "b"], np.array([1, 2]).repeat(6), unit)
    Agreement(units=12, agreed=12, exchanged=0, own=12, chance=1.0)
    >>> agreement(rule, x, ["a", "b"], np.array([2, 1]).repeat(6), unit)
    Agreement(units=12, agreed=0, exchanged=12, own=0, chance=0.001221)
    """
    used = (y >= 0) & heights(rule.lines, x, names)[1].any(axis=1)
    logits, n_classes = rule.logits(x[used], names), len(rule.lines)
    code = np.unique(unit[used], return_inverse=True)[1]
    pairs, of_pair = np.unique(code * n_classes + y[used], return_inverse=True)
    total = np.zeros((len(pairs), n_classes))
    np.add.at(total, of_pair, logits)
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (pairs % n_classes, total.argmax(axis=1)), 1)
    # All classes without a line are alike to the rule, so one of them stands for all.
    without = [c for c, own in enumerate(rule.lines) if not own][:1]
    told = [*without, *(c for c, own in enumerate(rule.lines) if own)]
    exchanges = list(permutations(told))[1:]
    found = Agreement(len(pairs), int(np.trace(counts)), 0, 0, 1.0)
    for exchange in exchanges:
        moved = [(c, other) for c, other in zip(told, exchange, strict=True) if c != other]
        exchanged, own = (sum(int(counts[pair]) for pair in some) for some in (moved, [(c, c) for c, _ in moved]))
        chance = float(bdtrc(exchanged - 1, exchanged + own, 0.5)) if exchanged else 1.0
        chance = round(min(chance * len(exchanges), 1.0), 6)
        if (chance, -exchanged, -own) < (found.chance, -found.exchanged, -found.own):
            found = replace(found, exchanged=exchanged, own=own, chance=chance)
    return found
