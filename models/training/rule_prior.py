"""A rule that needs no training, as the mean of the prior: the network learns only what the rule misses.

The logits of a class are the network's output plus a fixed function of one feature, `x[column] / db_per_nat`: a line so
many decibels higher is e times the odds. The network starts from about nothing and its weights are pulled to nothing,
so where the training data carry no information the rule remains. A fixed mean function added to a Bayesian model is
textbook practice (C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for Machine Learning", 2006, section 2.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax


@dataclass(frozen=True)
class RulePrior:
    """A rule's logits.

    Attributes
    ----------
    features : tuple of str or None
        Of each class, the feature (dB) that is evidence of it; None where there is none, and for the healthy class.
    default_db : float
        Height that a class without a feature stands at, dB: what is not above it is called healthy.
    db_per_nat : float
        So many dB more are e times the odds, > 0.
    others : tuple of str
        Features (dB) that are evidence of faults without a class, see `unmodelled`.
    change_prefix : str
        Prefix of the name of a feature's change against the unit's own baseline; '' where there are no changes.
    """

    features: tuple[str | None, ...]
    default_db: float
    db_per_nat: float
    others: tuple[str, ...] = ()
    change_prefix: str = ""

    def __post_init__(self) -> None:
        if not np.isfinite(self.default_db) or not 0.0 < self.db_per_nat < np.inf:
            raise ValueError(
                f"A rule's prior needs a finite default_db and db_per_nat > 0, got {self.default_db}, "
                f"{self.db_per_nat}."
            )
        if all(name is None for name in self.features):
            raise ValueError("A rule's prior needs a feature for at least one class.")

    def logits(self, x: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
        """Return the rule's logits (n, C) for windows x (n, F) with columns `names`; each row by itself.

        A missing feature counts as 0 dB, no more than noise; where every feature of the rule is missing or not finite
        the row is 0.

        Raises
        ------
        ValueError
            A feature of the rule is not among the names.
        """
        absent = [name for name in self.features if name is not None and name not in names]
        if absent:
            raise ValueError(f"The rule's features {', '.join(absent)} are not among the columns.")
        out = np.full((len(x), len(self.features)), self.default_db)
        unknown = np.ones(len(x), dtype=bool)
        for c, name in enumerate(self.features):
            if name is None:
                continue
            line = x[:, list(names).index(name)].astype(np.float64)
            known = np.isfinite(line)
            out[:, c] = np.where(known, line, 0.0)
            unknown &= ~known
        out[unknown] = 0.0
        return (out / self.db_per_nat).astype(np.float32)

    def unmodelled(self, x: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float64]:
        """Return the probability (n,) that the rule gives to faults without a class, in [0, 1].

        The rule alone, without the network and alike before it sees the window, between every class it has a line
        for, nothing (at `default_db`), and the lines of `others`. Where the changes against the unit's baseline are
        there as well, the lower of the two: a line that was there from the start is no news. NaN where no line of
        `others` is known.
        """
        share = self._others_share(x, names, "")
        if self.change_prefix:
            changed = self._others_share(x, names, self.change_prefix)
            share = np.where(np.isfinite(changed), np.minimum(share, changed), share)
        return share

    def _others_share(self, x: NDArray[np.float32], names: Sequence[str], prefix: str) -> NDArray[np.float64]:
        column = {name: number for number, name in enumerate(names)}
        known = [prefix + name for name in self.features if name is not None]
        strange = [prefix + name for name in self.others]
        if not strange or not all(name in column for name in (*known, *strange)):
            return np.full(len(x), np.nan)
        lines = x[:, [column[name] for name in (*known, *strange)]].astype(np.float64)
        lines[~np.isfinite(lines)] = np.nan
        heights = np.column_stack([np.full(len(x), self.default_db), np.nan_to_num(lines)])
        share: NDArray[np.float64] = softmax(heights / self.db_per_nat, axis=1)[:, 1 + len(known) :].sum(axis=1)
        return np.where(np.isnan(lines[:, len(known) :]).all(axis=1), np.nan, share)
