"""The gate: may a challenger take the champion's place? Pure functions of what both said of the same held-out units.

A row is a unit under one finding (a unit that turned faulty has two); its figures are means over its recordings, so a
unit that was recorded often does not outvote the others. All measures are differences, challenger minus champion, with
an interval from resampling whole units (paired bootstrap, stratified by finding so that no class vanishes): B. Efron
and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, sections 8.3 and 13.3. The rule is one of non-inferiority:
not worse as it stands, and not worse by more than a limit even at the bad end of the interval.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.kinds import HEALTHY, UNKNOWN_FAULT
from pipeline.base.figures import finite_or_none
from pipeline.promotion.draws import unit_draws

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ModelOnRows:
    """What one model said of the rows.

    Attributes
    ----------
    classes
        Of the model.
    p
        (n, C) class probabilities at the balanced mix, mean over the recordings of a row.
    nll
        (n,) negative log probability of the finding, nats, mean over the recordings.
    recording_fault
        (r,) probability of any fault of each recording; NaN where no healthy class is known.
    """

    classes: tuple[str, ...]
    p: FloatArray
    nll: FloatArray
    recording_fault: FloatArray

    @property
    def fault(self) -> FloatArray | None:
        """Probability (n,) of any fault; None where no healthy class is known."""
        return 1.0 - self.p[:, self.classes.index(HEALTHY)] if HEALTHY in self.classes else None

    def truth(self, finding: npt.NDArray[np.str_], common: frozenset[str]) -> FloatArray:
        """Probability (n,) of the finding; of one that not both models know by name, that of any fault."""
        found = np.full(len(finding), np.nan) if self.fault is None else self.fault.copy()
        for c, name in enumerate(self.classes):
            if name in common:
                found[finding == name] = self.p[finding == name, c]
        return found


@dataclass(frozen=True, eq=False)
class Rows:
    """The same held-out rows by both models.

    `unit`, `finding` (n,), `weight` (n,) of the evidence, in (0, 1]; `row_of` int64 (r,) the row of each recording.
    """

    unit: npt.NDArray[np.str_]
    finding: npt.NDArray[np.str_]
    weight: FloatArray
    row_of: npt.NDArray[np.int64]
    challenger: ModelOnRows
    champion: ModelOnRows

    @property
    def common(self) -> frozenset[str]:
        """Classes that both models know."""
        return frozenset(self.challenger.classes) & frozenset(self.champion.classes)

    @property
    def units(self) -> int:
        """Number of physical units."""
        return int(np.unique(self.unit).size)


@dataclass(frozen=True)
class Difference:
    """A measure of both models and the interval of its difference; None where it is not defined."""

    challenger: float
    champion: float
    low: float | None
    high: float | None

    @property
    def value(self) -> float:
        """Challenger minus champion."""
        return self.challenger - self.champion

    def as_dict(self) -> dict[str, float | None]:
        """Give plain JSON values; what is not finite is None."""
        values = {
            "challenger": self.challenger,
            "champion": self.champion,
            "difference": self.value,
            "low": self.low,
            "high": self.high,
        }
        return {name: finite_or_none(v) for name, v in values.items()}


@dataclass(frozen=True)
class Ruling:
    """Whether the challenger `passed`, all reasons in sentences, and the figures behind them."""

    passed: bool
    reasons: tuple[str, ...]
    figures: dict[str, Any] = field(default_factory=dict)


def mean_nll(nll: FloatArray, weight: FloatArray) -> FloatArray:
    """Mean NLL, nats: of nll (n,) under each weighting (b, n)."""
    found: FloatArray = weight @ nll / weight.sum(axis=1)
    return found


def macro_auroc(
    p: FloatArray, finding: npt.NDArray[np.str_], classes: tuple[str, ...], weight: FloatArray
) -> FloatArray:
    """Mean over classes of the area under the ROC, one class against the rest, under each weighting (b, n).

    Parameters
    ----------
    p
        (n, C) class probabilities.
    finding
        (n,) true classes; a fault of unknown mode is left out where a fault class is judged.
    classes
        (C,) class names.
    weight
        (b, n) weights, 0 or more.

    Returns
    -------
    (b,) in [0, 1]; NaN where no class has both sides.
    """
    total, count = np.zeros(len(weight)), 0
    for c, name in enumerate(classes):
        known = np.ones(len(finding), bool) if name in (HEALTHY, UNKNOWN_FAULT) else finding != UNKNOWN_FAULT
        positive, negative = known & (finding == name), known & (finding != name)
        if not positive.any() or not negative.any():
            continue
        above = np.sign(p[positive, c][:, None] - p[negative, c][None, :]) / 2.0 + 0.5
        won = np.einsum("bi,ij,bj->b", weight[:, positive], above, weight[:, negative], optimize=True)
        total += won / (weight[:, positive].sum(axis=1) * weight[:, negative].sum(axis=1))
        count += 1
    return total / count if count else np.full(len(weight), np.nan)


def missed_rate(fault: FloatArray, is_fault: BoolArray, weight: FloatArray, *, review_share: float) -> FloatArray:
    """Share of faulty recordings that nobody looks at, where `review_share` of the healthy ones may be looked at.

    The threshold is the model's own: the lowest that keeps to the budget. So it does not matter how many of the
    labelled units are faulty, which no plant resembles. Recordings, not units, are counted (each with its part of its
    unit's weight), because a rate of whole units moves in steps of one in a handful.

    Parameters
    ----------
    fault
        (r,) probability of any fault.
    is_fault
        (r,) whether the finding is a fault.
    weight
        (b, r) weights, 0 or more.
    review_share
        In [0, 1).

    Returns
    -------
    (b,) in [0, 1]; NaN without a faulty or without a healthy recording.
    """
    if not is_fault.any() or is_fault.all():
        return np.full(len(weight), np.nan)
    order = np.argsort(-fault[~is_fault], kind="stable")
    healthy = fault[~is_fault][order]
    spent = np.cumsum(weight[:, ~is_fault][:, order], axis=1)
    over = spent > review_share * spent[:, -1:] * (1.0 + 1e-9)
    threshold = healthy[over.argmax(axis=1)]  # the first healthy recording that the budget does not pay for
    ascending = np.argsort(fault[is_fault], kind="stable")
    faulty, own = fault[is_fault][ascending], weight[:, is_fault][:, ascending]
    below = np.concatenate([np.zeros((len(own), 1)), np.cumsum(own, axis=1)], axis=1)
    missed = np.searchsorted(faulty, threshold, side="right")
    found: FloatArray = below[np.arange(len(own)), missed] / below[:, -1]
    return np.where(np.isfinite(fault).all(), found, np.nan)


def measure(
    rows: Rows, *, review_share: float, min_units: int, confidence: float, n_bootstrap: int, seed: int
) -> dict[str, Difference]:
    """Measure both models on the same rows: nll, macro_auroc and missed_rate as far as they are defined.

    Intervals (two-sided, `confidence`) are there from `min_units` units on; a measure that is not finite is left in,
    so that whoever rules sees it.
    """
    one = rows.weight[None, :]
    many = None
    if rows.units >= min_units:
        many = unit_draws(rows.unit, rows.finding, n_bootstrap=n_bootstrap, seed=seed) * one
    is_fault = rows.finding != HEALTHY
    found = {}

    def add(name: str, of: Any) -> None:
        values = [float(of(judged, one)[0]) for judged in (rows.challenger, rows.champion)]
        low = high = None
        if many is not None:
            spread = of(rows.challenger, many) - of(rows.champion, many)
            tail = 50.0 * (1.0 - confidence)
            low, high = (float(value) for value in np.percentile(spread, [tail, 100.0 - tail]))
        found[name] = Difference(values[0], values[1], low, high)

    def auroc(judged: ModelOnRows, weight: FloatArray) -> FloatArray:
        columns = [c for c, name in enumerate(judged.classes) if name in rows.common]
        return macro_auroc(judged.p[:, columns], rows.finding, tuple(judged.classes[c] for c in columns), weight)

    add("nll", lambda judged, weight: mean_nll(judged.nll, weight))
    if any((rows.finding == name).any() and (rows.finding != name).any() for name in rows.common):
        add("macro_auroc", auroc)
    if rows.challenger.fault is not None and rows.champion.fault is not None and 0 < is_fault.sum() < is_fault.size:
        share = 1.0 / np.bincount(rows.row_of, minlength=len(rows.unit))[rows.row_of]
        faulty = is_fault[rows.row_of]
        add(
            "missed_rate",
            lambda judged, weight: missed_rate(
                judged.recording_fault, faulty, weight[:, rows.row_of] * share, review_share=review_share
            ),
        )
    return found


WORDS: Final = {"nll": "NLL", "macro_auroc": "macro AUROC", "missed_rate": "missed-fault rate"}


def rule_measures(
    found: dict[str, Difference],
    *,
    nll_margin: float,
    nll_limit: float,
    auroc_margin: float,
    auroc_limit: float,
    missed_margin: float,
    missed_limit: float,
) -> list[str]:
    """Give the reasons why measures speak against the challenger; none: it is not worse where it counts.

    Parameters
    ----------
    found
        From `measure`.
    nll_margin, auroc_margin, missed_margin
        By how much the challenger may be worse as it stands; 0 or more.
    nll_limit, auroc_limit, missed_limit
        By how much it may be worse at the bad end of the interval; 0 or more. Not asked where there is no interval.
    """
    allowed = {
        "nll": (nll_margin, nll_limit),
        "macro_auroc": (auroc_margin, auroc_limit),
        "missed_rate": (missed_margin, missed_limit),
    }
    against = []
    for name, difference in found.items():
        margin, limit = allowed[name]
        sign = -1.0 if name == "macro_auroc" else 1.0
        told = f"{WORDS[name]} {difference.challenger:.3f}, the champion's {difference.champion:.3f}"
        if not np.isfinite(difference.value):
            against.append(f"{told}: not finite")
        elif sign * difference.value > margin + 1e-12:
            against.append(f"{told}: worse by more than {margin:g}")
        elif difference.low is not None and difference.high is not None:
            worst = difference.high if sign > 0 else -difference.low
            if not worst <= limit + 1e-12:
                against.append(f"{told}: may be worse by {worst:.3f}, more than {limit:g}")
    return against


@dataclass(frozen=True)
class Doubt:
    """How many of the new and of the old findings both models contradict."""

    new_rows: int
    new_contradicted: int
    old_rows: int
    old_contradicted: int
    units: tuple[str, ...]

    @property
    def excess(self) -> float:
        """Share of contradicted rows among the new ones, beyond that among the old ones."""
        new = self.new_contradicted / self.new_rows if self.new_rows else 0.0
        return new - (self.old_contradicted / self.old_rows if self.old_rows else 0.0)


def doubt(
    unit: npt.NDArray[np.str_], challenger: FloatArray, champion: FloatArray, is_new: BoolArray, *, probability: float
) -> Doubt:
    """Count findings that no model believes, though the challenger was trained on the others of the same batch.

    A wrong label is given away by models that were trained without it (C. G. Northcutt, L. Jiang and I. L. Chuang,
    "Confident Learning", Journal of Artificial Intelligence Research 70, 2021). A champion that a new kind of machine
    has left behind is contradicted too, but then the challenger, which has seen others of that kind, is not.

    Parameters
    ----------
    unit
        (n,) names, to tell which.
    challenger, champion
        (n,) probability of the finding by each; NaN of the champion: it cannot be asked, and the challenger decides.
    is_new
        (n,) the finding came after the champion's training.
    probability
        A finding below it is contradicted.
    """
    against = (challenger < probability) & ((champion < probability) | np.isnan(champion))
    return Doubt(
        new_rows=int(is_new.sum()),
        new_contradicted=int((against & is_new).sum()),
        old_rows=int((~is_new).sum()),
        old_contradicted=int((against & ~is_new).sum()),
        units=tuple(sorted(set(unit[against & is_new].tolist()))),
    )


def rule_doubt(found: Doubt, *, max_excess: float) -> list[str]:
    """Give the reason why a batch of new findings is not believed; none: it is.

    Parameters
    ----------
    max_excess
        Highest share of contradicted new findings beyond that of contradicted old ones, 0 to 1.
    """
    if found.excess <= max_excess:
        return []
    named = ", ".join(found.units[:5]) + (" ..." if len(found.units) > 5 else "")
    return [
        f"{found.new_contradicted} of {found.new_rows} new findings are contradicted by champion and challenger alike "
        f"({named}), of the old ones {found.old_contradicted} of {found.old_rows}: have them confirmed"
    ]


def rule_must_not_fail(
    named: npt.NDArray[np.str_], finding: npt.NDArray[np.str_], judged: ModelOnRows, *, probability: float
) -> list[str]:
    """Give the named cases that the challenger gets wrong.

    Parameters
    ----------
    named
        (n,) what a row was named by.
    finding
        (n,) true classes.
    judged
        The challenger's; where it knows a healthy class, the right side of it is asked for, else the mode.
    probability
        What the right side has to have at the least.
    """
    against = []
    if judged.fault is not None:
        right = np.where(finding == HEALTHY, 1.0 - judged.fault, judged.fault)
    else:
        right = judged.truth(finding, frozenset(judged.classes))
    for name, what, value in zip(named, finding, right, strict=True):
        if not value >= probability:
            against.append(f"{name} must not fail: {what} has probability {value:.2f}, below {probability:g}")
    return against
