"""The gate: may a challenger replace the champion? Pure functions of both models' probabilities on held-out units.

A row is a unit with one finding (a unit that turned faulty has two rows). Its figures are means over its recordings, so
a unit with many recordings does not count more than the others. All measures are differences, challenger minus
champion, with an interval from resampling whole units (paired bootstrap, stratified by finding so that no class
disappears): B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, sections 8.3 and 13.3. The rule is
non-inferiority: the challenger is refused if it is worse by more than a margin in more than a declared share of the
draws. The margin is what a training with another seed on the same labels would change anyway (`Noise`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.kinds import HEALTHY
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
class Noise:
    """How much a training with another seed on the same labels changes what is said of a unit.

    Attributes
    ----------
    nll, missed_rate
        Standard deviation between refits of a row's NLL, nats, and of the missed share of a faulty row's recordings;
        root mean square over rows. `missed_rate` None: not defined. The spread of the means was
        measured to be close to that of independent rows (docs/results/model-life.md).
    rows, faulty_rows, refits
        Number of rows, of faulty ones, and of trainings that it was estimated from.
    """

    nll: float
    missed_rate: float | None
    rows: int
    faulty_rows: int
    refits: int

    def margin(self, name: str, rows: Rows, *, factor: float) -> float:
        """Return how much worse a challenger may be: `factor` standard deviations of the difference of two refits."""
        faulty = int((rows.finding != HEALTHY).sum())
        spread, n = (self.nll, len(rows.unit)) if name == "nll" else (self.missed_rate, faulty)
        return 0.0 if spread is None else factor * spread * float(np.sqrt(2.0 / n))


@dataclass(frozen=True)
class Difference:
    """A measure of both models, the interval of the difference, and the risk of the challenger.

    `margin`: how much worse it may be. `risk`: share of the draws in which it is worse by more than that. The interval
    and the risk are None where there are too few units.
    """

    challenger: float
    champion: float
    low: float | None
    high: float | None
    margin: float
    risk: float | None

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
            "margin": self.margin,
            "risk": self.risk,
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


def recording_weights(rows: Rows, weight: FloatArray) -> FloatArray:
    """Return the weights (b, r) of recordings for weights (b, n) of rows: a row shares its weight among its own."""
    share = 1.0 / np.bincount(rows.row_of, minlength=len(rows.unit))[rows.row_of]
    shared: FloatArray = weight[:, rows.row_of] * share
    return shared


def measures_of(rows: Rows, *, review_share: float) -> dict[str, Callable[[ModelOnRows, FloatArray], FloatArray]]:
    """Return the measures that the rows define, by name: from one model and weights (b, n) of rows to (b,) values.

    `nll` always; `missed_rate` where healthy and faulty rows are there and both models know a healthy class.
    """
    is_fault = rows.finding != HEALTHY
    measures: dict[str, Callable[[ModelOnRows, FloatArray], FloatArray]] = {
        "nll": lambda judged, weight: mean_nll(judged.nll, weight)
    }
    if rows.challenger.fault is not None and rows.champion.fault is not None and 0 < is_fault.sum() < is_fault.size:
        faulty = is_fault[rows.row_of]
        measures["missed_rate"] = lambda judged, weight: missed_rate(
            judged.recording_fault, faulty, recording_weights(rows, weight), review_share=review_share
        )
    return measures


def measure(
    rows: Rows,
    noise: Noise | None,
    *,
    noise_factor: float,
    review_share: float,
    min_units: int,
    confidence: float,
    n_bootstrap: int,
    seed: int,
) -> dict[str, Difference]:
    """Measure both models on the same rows: nll, and missed_rate where it is defined.

    Intervals (two-sided, `confidence`) and risks are computed if there are at least `min_units` units. A measure that
    is not finite is kept, so that the rule refuses it.

    Parameters
    ----------
    noise
        Of refits on the same labels; None: not known, so the margins are 0.
    noise_factor
        Margin, in standard deviations of the difference of two refits; 0 or more.
    """
    as_labelled = rows.weight[None, :]
    resampled = None
    if rows.units >= min_units:
        resampled = unit_draws(rows.unit, rows.finding, n_bootstrap=n_bootstrap, seed=seed) * as_labelled
    differences = {}
    for name, of in measures_of(rows, review_share=review_share).items():
        values = [float(of(judged, as_labelled)[0]) for judged in (rows.challenger, rows.champion)]
        margin = 0.0 if noise is None else noise.margin(name, rows, factor=noise_factor)
        low = high = risk = None
        if resampled is not None:
            spread = of(rows.challenger, resampled) - of(rows.champion, resampled)
            tail = 50.0 * (1.0 - confidence)
            low, high = (float(value) for value in np.percentile(spread, [tail, 100.0 - tail]))
            risk = float(np.mean(~(spread <= margin + 1e-12)))
        differences[name] = Difference(values[0], values[1], low, high, margin, risk)
    return differences


def noise_of(refits: Sequence[Rows], *, review_share: float) -> Noise:
    """Estimate the noise of refits from their judgement of the same rows.

    Parameters
    ----------
    refits
        (k,) at least two. The challenger of each is one refit; unit, finding and weight are the same in all.
    """
    first = refits[0]
    faulty = np.flatnonzero(first.finding != HEALTHY)
    nll = np.array([one.challenger.nll for one in refits])
    missed = None
    if "missed_rate" in measures_of(first, review_share=review_share):
        # For each faulty row the weights that count its recordings alone among the faulty ones.
        own = recording_weights(first, first.weight[None, :])
        sound = first.finding[first.row_of] == HEALTHY
        alone = np.where(sound | (first.row_of == faulty[:, None]), own, 0.0)
        shares = [
            missed_rate(one.challenger.recording_fault, ~sound, alone, review_share=review_share) for one in refits
        ]
        missed = _spread(np.array(shares), first.weight[faulty])
    return Noise(_spread(nll, first.weight), missed, len(first.unit), len(faulty), len(refits))


def _spread(values: FloatArray, weight: FloatArray) -> float:
    """Return the root of the weighted mean over rows of the variance between refits; values (k, n), weight (n,)."""
    return float(np.sqrt(np.average(values.var(axis=0, ddof=1), weights=weight)))


WORDS: Final = {"nll": "NLL", "missed_rate": "missed-fault rate"}


def rule_measures(differences: dict[str, Difference], *, max_risk: float) -> list[str]:
    """Return the reasons against the challenger from measures; empty: it is not worse where it counts.

    Parameters
    ----------
    differences
        The result of `measure`.
    max_risk
        Highest share of the draws, 0 to 1, in which the challenger may be worse by more than the margin. Where there
        are no draws, the estimate itself may not be worse by more than it.
    """
    against = []
    for name, difference in differences.items():
        figures = f"{WORDS[name]} {difference.challenger:.3f}, the champion's {difference.champion:.3f}"
        if not np.isfinite(difference.value):
            against.append(f"{figures}: not finite")
        elif difference.risk is None:
            if difference.value > difference.margin + 1e-12:
                against.append(f"{figures}: worse by more than the {difference.margin:.3f} that a refit changes anyway")
        elif not difference.risk <= max_risk:
            against.append(
                f"{figures}: worse by more than the {difference.margin:.3f} that a refit changes anyway, with "
                f"probability {difference.risk:.2f}, above {max_risk:g}"
            )
    return against


@dataclass(frozen=True)
class Doubt:
    """Which new findings both models contradict, and how many of the old ones.

    `contradicted`: index of the rows with a new finding that is contradicted, the least probable first.
    """

    new_rows: int
    contradicted: tuple[int, ...]
    old_rows: int
    old_contradicted: int


def doubt(challenger: FloatArray, champion: FloatArray, is_new: BoolArray, *, probability: float) -> Doubt:
    """Find the new findings that both models contradict, although the challenger was trained on others of the batch.

    Models that were trained without a wrong label reveal it (C. G. Northcutt, L. Jiang and I. L. Chuang, "Confident
    Learning", Journal of Artificial Intelligence Research 70, 2021). On a new kind of machine the champion contradicts
    right findings too, but the challenger does not, because it was trained on others of that kind.

    Parameters
    ----------
    challenger, champion
        (n,) probability of the finding by each; NaN: the champion cannot judge this one, the challenger decides.
    is_new
        (n,) whether the finding came after the champion's training.
    probability
        A finding with a lower probability is contradicted, 0 to 1.
    """
    against = (challenger < probability) & ((champion < probability) | np.isnan(champion))
    most = np.fmax(challenger, champion)
    found = np.flatnonzero(against & is_new)
    return Doubt(
        new_rows=int(is_new.sum()),
        contradicted=tuple(found[np.argsort(most[found], kind="stable")].tolist()),
        old_rows=int((~is_new).sum()),
        old_contradicted=int((against & ~is_new).sum()),
    )


def most_aside(new_rows: int, *, share: float) -> int:
    """Return how many of the new findings may be set aside: a share of them, and at least one."""
    return max(1, int(share * new_rows + 1e-9))


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
