"""The gate: may a challenger replace the champion? Pure functions of both models' probabilities on held-out units.

A row is a unit with one finding (a unit that turned faulty has two rows). Its figures are means over its recordings, so
a unit with many recordings does not count more than the others. All measures are differences, challenger minus
champion, with an interval from resampling whole units (paired bootstrap, stratified by finding so that no class
disappears): B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, sections 8.3 and 13.3. The rule is
non-inferiority: the estimate is not worse, and the bad end of the interval is not worse by more than a limit.
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
    """The probabilities of one model for the rows.

    Attributes
    ----------
    classes
        (C,) classes of the model.
    p
        (n, C) class probabilities at the balanced mix; mean over the recordings of a row.
    nll
        (n,) negative log probability of the finding, nats; mean over the recordings of a row.
    recording_fault
        (r,) probability of any fault for each recording; NaN where the model knows no healthy class.
    """

    classes: tuple[str, ...]
    p: FloatArray
    nll: FloatArray
    recording_fault: FloatArray

    @property
    def fault(self) -> FloatArray | None:
        """Probability (n,) of any fault; None where the model knows no healthy class."""
        return 1.0 - self.p[:, self.classes.index(HEALTHY)] if HEALTHY in self.classes else None

    def truth(self, finding: npt.NDArray[np.str_], common: frozenset[str]) -> FloatArray:
        """Probability (n,) of the finding; of any fault, where not both models have the finding as a class."""
        probability = np.full(len(finding), np.nan) if self.fault is None else self.fault.copy()
        for c, name in enumerate(self.classes):
            if name in common:
                probability[finding == name] = self.p[finding == name, c]
        return probability


@dataclass(frozen=True, eq=False)
class Rows:
    """The same held-out rows for both models.

    `unit` and `finding` (n,); `weight` (n,) of the evidence, in (0, 1]; `row_of` int64 (r,) the row of each recording.
    """

    unit: npt.NDArray[np.str_]
    finding: npt.NDArray[np.str_]
    weight: FloatArray
    row_of: npt.NDArray[np.int64]
    challenger: ModelOnRows
    champion: ModelOnRows

    @property
    def common(self) -> frozenset[str]:
        """Classes that both models have."""
        return frozenset(self.challenger.classes) & frozenset(self.champion.classes)

    @property
    def units(self) -> int:
        """Number of physical units."""
        return int(np.unique(self.unit).size)


@dataclass(frozen=True)
class Difference:
    """A measure of both models, and the interval of the difference; None where the interval is not defined."""

    challenger: float
    champion: float
    low: float | None
    high: float | None

    @property
    def value(self) -> float:
        """Challenger minus champion."""
        return self.challenger - self.champion

    def as_dict(self) -> dict[str, float | None]:
        """Return plain JSON values; what is not finite is None."""
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
    """Whether the challenger `passed`, all reasons as sentences, and the figures behind them."""

    passed: bool
    reasons: tuple[str, ...]
    figures: dict[str, Any] = field(default_factory=dict)


def mean_nll(nll: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the mean NLL, nats, of nll (n,) under each weighting (b, n)."""
    mean: FloatArray = weight @ nll / weight.sum(axis=1)
    return mean


def macro_auroc(
    p: FloatArray, finding: npt.NDArray[np.str_], classes: tuple[str, ...], weight: FloatArray
) -> FloatArray:
    """Return the mean over classes of the area under the ROC, one class against the rest, for each weighting (b, n).

    Parameters
    ----------
    p
        (n, C) class probabilities.
    finding
        (n,) true classes; rows with a fault of unknown mode are left out where a fault class is judged.
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
    """Return the share of faulty recordings that nobody checks if `review_share` of the healthy ones may be checked.

    The threshold is the model's own: the lowest that keeps to this budget. So the result does not depend on the share
    of faulty units among the labelled ones, which differs from that in a plant. Recordings are counted, not units (each
    with its part of its unit's weight), because with a handful of units a rate of units moves in large steps.

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
    threshold = healthy[over.argmax(axis=1)]  # the first healthy recording that exceeds the budget
    ascending = np.argsort(fault[is_fault], kind="stable")
    faulty, own = fault[is_fault][ascending], weight[:, is_fault][:, ascending]
    below = np.concatenate([np.zeros((len(own), 1)), np.cumsum(own, axis=1)], axis=1)
    missed = np.searchsorted(faulty, threshold, side="right")
    rate: FloatArray = below[np.arange(len(own)), missed] / below[:, -1]
    return np.where(np.isfinite(fault).all(), rate, np.nan)


def measure(
    rows: Rows, *, review_share: float, min_units: int, confidence: float, n_bootstrap: int, seed: int
) -> dict[str, Difference]:
    """Measure both models on the same rows: nll, macro_auroc and missed_rate where they are defined.

    Intervals (two-sided, `confidence`) are computed if there are at least `min_units` units. A measure that is not
    finite is kept, so that the rule refuses it.
    """
    as_labelled = rows.weight[None, :]
    resampled = None
    if rows.units >= min_units:
        resampled = unit_draws(rows.unit, rows.finding, n_bootstrap=n_bootstrap, seed=seed) * as_labelled
    is_fault = rows.finding != HEALTHY
    differences = {}

    def add(name: str, of: Any) -> None:
        values = [float(of(judged, as_labelled)[0]) for judged in (rows.challenger, rows.champion)]
        low = high = None
        if resampled is not None:
            spread = of(rows.challenger, resampled) - of(rows.champion, resampled)
            tail = 50.0 * (1.0 - confidence)
            low, high = (float(value) for value in np.percentile(spread, [tail, 100.0 - tail]))
        differences[name] = Difference(values[0], values[1], low, high)

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
    return differences


WORDS: Final = {"nll": "NLL", "macro_auroc": "macro AUROC", "missed_rate": "missed-fault rate"}


def rule_measures(
    differences: dict[str, Difference],
    *,
    nll_margin: float,
    nll_limit: float,
    auroc_margin: float,
    auroc_limit: float,
    missed_margin: float,
    missed_limit: float,
) -> list[str]:
    """Return the reasons against the challenger from measures; empty: it is not worse where it counts.

    Parameters
    ----------
    differences
        The result of `measure`.
    nll_margin, auroc_margin, missed_margin
        How much worse the challenger may be in the estimate; 0 or more.
    nll_limit, auroc_limit, missed_limit
        How much worse it may be at the bad end of the interval; 0 or more. Not checked where there is no interval.
    """
    allowed = {
        "nll": (nll_margin, nll_limit),
        "macro_auroc": (auroc_margin, auroc_limit),
        "missed_rate": (missed_margin, missed_limit),
    }
    against = []
    for name, difference in differences.items():
        margin, limit = allowed[name]
        sign = -1.0 if name == "macro_auroc" else 1.0
        figures = f"{WORDS[name]} {difference.challenger:.3f}, the champion's {difference.champion:.3f}"
        if not np.isfinite(difference.value):
            against.append(f"{figures}: not finite")
        elif sign * difference.value > margin + 1e-12:
            against.append(f"{figures}: worse by more than {margin:g}")
        elif difference.low is not None and difference.high is not None:
            worst = difference.high if sign > 0 else -difference.low
            if not worst <= limit + 1e-12:
                against.append(f"{figures}: may be worse by {worst:.3f}, more than {limit:g}")
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
        """Share of contradicted rows among the new ones minus that among the old ones."""
        new = self.new_contradicted / self.new_rows if self.new_rows else 0.0
        return new - (self.old_contradicted / self.old_rows if self.old_rows else 0.0)


def doubt(
    unit: npt.NDArray[np.str_], challenger: FloatArray, champion: FloatArray, is_new: BoolArray, *, probability: float
) -> Doubt:
    """Count findings that both models contradict, although the challenger was trained on others of the same batch.

    Models that were trained without a wrong label reveal it (C. G. Northcutt, L. Jiang and I. L. Chuang, "Confident
    Learning", Journal of Artificial Intelligence Research 70, 2021). On a new kind of machine the champion contradicts
    right findings too, but the challenger does not, because it was trained on others of that kind.

    Parameters
    ----------
    unit
        (n,) names, for the message.
    challenger, champion
        (n,) probability of the finding by each; NaN: the champion cannot judge this one, the challenger decides.
    is_new
        (n,) whether the finding came after the champion's training.
    probability
        A finding with a lower probability is contradicted, 0 to 1.
    """
    against = (challenger < probability) & ((champion < probability) | np.isnan(champion))
    return Doubt(
        new_rows=int(is_new.sum()),
        new_contradicted=int((against & is_new).sum()),
        old_rows=int((~is_new).sum()),
        old_contradicted=int((against & ~is_new).sum()),
        units=tuple(sorted(set(unit[against & is_new].tolist()))),
    )


def rule_doubt(counts: Doubt, *, max_excess: float) -> list[str]:
    """Return the reason why a batch of new findings is not believed; empty: it is believed.

    Parameters
    ----------
    max_excess
        Highest difference between the shares of contradicted new and of contradicted old findings, 0 to 1.
    """
    if counts.excess <= max_excess:
        return []
    named = ", ".join(counts.units[:5]) + (" ..." if len(counts.units) > 5 else "")
    return [
        f"{counts.new_contradicted} of {counts.new_rows} new findings are contradicted by champion and challenger "
        f"alike ({named}), of the old ones {counts.old_contradicted} of {counts.old_rows}: have them confirmed"
    ]


def rule_must_not_fail(
    named: npt.NDArray[np.str_], finding: npt.NDArray[np.str_], judged: ModelOnRows, *, probability: float
) -> list[str]:
    """Return the must-not-fail cases that the challenger gets wrong.

    Parameters
    ----------
    named
        (n,) the label or unit that names each row in the settings.
    finding
        (n,) true classes.
    judged
        Of the challenger. Where it has a healthy class, healthy or faulty must be right, else the class.
    probability
        Lowest probability that the right answer must have, 0 to 1.
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
