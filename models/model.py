"""Everything needed to score a window, and the scoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.checks import (
    check_calibration,
    check_members,
    check_names,
    check_network,
    check_novelty,
    check_quantiles,
    check_refits,
    check_rule,
    check_scaler,
)
from models.judging.calibration import Temperature
from models.judging.novelty import NoveltyReference, percentile
from models.kinds import Kind, healthy_index
from models.methods.mask_bank import MaskBank
from models.methods.method import Predictor, method_of, sample_point
from models.network import FoldedNetwork
from models.predictive import PREDICTIVE, Predictive, Statistics, empty_columns
from models.refits import Committee, Refit
from models.sampling import BLOCK, Sampler, Workspace, blocks, padded
from models.training.rule_prior import RulePrior
from models.training.scaler import RobustScaler, Scaled

FloatArray = NDArray[np.float64]
QUANTILES = (
    "mutual_information",
    "predictive_entropy",
    "expected_entropy",
    "fault_mutual_information",
    "fault_expected_entropy",
    "novelty_raw",
)
"""Scores whose held-out quantiles a model carries."""


@dataclass(frozen=True, eq=False)
class Scores(Predictive):
    """Scores of n windows; NaN where the kind of model does not define a field, or the window is not finite.

    Attributes
    ----------
    novelty_raw
        (n,) distance to the training set, robust standard deviations per feature.
    novelty_percentile
        (n,) in [0, 100], among the distances of held-out units.
    n_missing
        int64 (n,) missing features.
    n_unexpected_missing
        int64 (n,) missing features that were never missing in training: the score stands on untried ground.
    unmodelled
        (n,) in [0, 1]: probability that the textbook rule gives to faults that have no class
        (`models.training.rule_prior`).
    finite
        bool (n,) False: an infinite feature, no feature at all, or a non-finite result. A data fault, never certain.
    """

    novelty_raw: FloatArray
    novelty_percentile: FloatArray
    n_missing: NDArray[np.int64]
    n_unexpected_missing: NDArray[np.int64]
    unmodelled: FloatArray
    finite: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model: arrays in, scores out.

    Attributes
    ----------
    kind, classes
        See `models.kinds`.
    feature_names, feature_version
        What the columns of x must be.
    scaler
        Robust scaling, missing values, groups.
    network, bank
        Folded weights and their masks; None for ``baseline_only``.
    temperature
        Divides every sample's logits.
    log_prior_correction
        float64 (C,) added to the logits after that.
    fault_prior
        Declared share of faulty windows; None without a healthy class, or without faults.
    novelty
        Reference windows.
    quantiles
        Name in `QUANTILES` to float64 (101,): 0..100 % of the held-out units, each unit weighing the same, after
        calibration and prior correction. Absent where not defined.
    rule
        Added to every sample's logits before the temperature; None: nothing is.
    method, members
        See `models.methods`.
    refits
        See `models.refits`; empty for a method without a committee.
    training_data_hash, settings, metrics
        Where the model comes from; JSON values, not used in scoring.
    """

    kind: Kind
    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    feature_version: str
    scaler: RobustScaler
    network: FoldedNetwork | None
    bank: MaskBank | None
    temperature: Temperature
    log_prior_correction: FloatArray
    fault_prior: float | None
    novelty: NoveltyReference
    quantiles: Mapping[str, FloatArray]
    rule: RulePrior | None = None
    method: str = "mc_dropout"
    members: tuple[FoldedNetwork, ...] = ()
    refits: tuple[Refit, ...] = ()
    training_data_hash: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_names(self.kind, self.classes, self.feature_names)
        check_scaler(self.scaler, n_features=len(self.feature_names))
        check_network(
            self.kind,
            self.network,
            self.bank,
            n_inputs=self.scaler.n_features + self.scaler.n_groups,
            n_classes=len(self.classes),
        )
        if self.network is not None:
            check_members(self.method, self.network, self.members)
        if self.rule is not None:
            check_rule(self.rule, self.network, feature_names=self.feature_names, n_classes=len(self.classes))
        check_refits(self.refits, self.method, self.network, self.rule)
        check_calibration(
            self.kind, self.temperature, self.log_prior_correction, self.fault_prior, n_classes=len(self.classes)
        )
        check_novelty(self.novelty, n_features=len(self.feature_names))
        check_quantiles(self.kind, self.method, self.quantiles)

    @property
    def healthy(self) -> int | None:
        """Index of the healthy class, or None."""
        return healthy_index(self.classes)

    @cached_property
    def predictor(self) -> Predictor | None:
        """The networks of the method; None for ``baseline_only``."""
        if self.network is None or self.bank is None:
            return None
        method = method_of(self.method)
        return method.sample(method.parts(self.network, self.members), self.bank)

    def score(self, x: NDArray[np.float32], *, point_estimate: bool = False) -> Scores:
        """Score windows.

        Parameters
        ----------
        x
            (n, F) features in the order of `feature_names`, NaN = missing; read as float32.
        point_estimate
            Score with the single deterministic network instead of the samples (for comparison).

        Returns
        -------
        Scores
            A window's scores are bit-equal whatever other windows are in x, on one machine and version. Memory beyond
            the result does not grow with n.

        Raises
        ------
        ValueError
            x does not have one column per feature.
        """
        x = self._checked(x)
        predictor, committee = self.predictor, bool(self.refits)
        if point_estimate and self.network is not None:
            predictor, committee = sample_point((self.network,)), False
        out = _empty_scores(len(x), len(self.classes), 0 if predictor is None else self._n_scored(predictor.n_samples))
        self._score_blocks(x, predictor, out, committee=committee)
        out.novelty_percentile[:] = self.percentile("novelty_raw", out.novelty_raw)
        self._blank(out)
        return out

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the sampled logits (T, n, C) before temperature and prior correction; for studies, not for scoring.

        Raises
        ------
        ValueError
            x does not have one column per feature, or the model has no network.
        """
        if self.predictor is None:
            raise ValueError(f"A '{self.kind}' model has no network.")
        x = self._checked(x)
        out = np.empty((self.predictor.n_samples, len(x), len(self.classes)), dtype=np.float32)
        sampler, committee = self.predictor.sampler(), self._committee() if self.refits else None
        for rows in blocks(len(x)):
            block = padded(x, rows)
            sampled, _ = self._sampled(sampler, committee, self.scaler.scale_features(block), block)
            out[:, rows] = sampled[:, : rows.stop - rows.start]
        return out

    def percentile(self, name: str, values: FloatArray) -> FloatArray:
        """Return where values (n,) of the score `name` fall among the held-out units, 0..100; NaN stays NaN."""
        return percentile(values, self.quantiles[name])

    def _checked(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        if x.ndim != 2 or x.shape[1] != len(self.feature_names):
            raise ValueError(f"x must have shape (n, {len(self.feature_names)}), got {x.shape}.")
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(x, dtype=np.float32)

    def _committee(self) -> Committee:
        assert self.network is not None
        return Committee(Refit(self.network, self.rule), self.refits, self.feature_names)

    def _sampled(
        self, sampler: Sampler, committee: Committee | None, scaled: Scaled, block: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return the logits (T, BLOCK, C) of a block with rule and committee, and those of the refits (K, BLOCK, C)."""
        inputs = self.scaler.network_inputs(scaled)
        logits = sampler.sample(inputs)
        if committee is not None:
            return logits, committee.join(logits, inputs, block)
        if self.rule is not None:
            logits += self.rule.logits(block, self.feature_names)
        return logits, None

    def _n_scored(self, n_samples: int) -> int:
        return n_samples if method_of(self.method).spread else 1

    def _score_blocks(
        self, x: NDArray[np.float32], predictor: Predictor | None, out: Scores, *, committee: bool
    ) -> None:
        """Score x block by block and write the rows of `out`, with buffers that all blocks use."""
        space, values = Workspace(), np.empty((BLOCK, len(self.feature_names)))
        if predictor is not None:
            sampler, statistics = predictor.sampler(), self._statistics(predictor)
            joined = self._committee() if committee else None
        for rows in blocks(len(x)):
            block, keep = padded(x, rows), rows.stop - rows.start
            scaled = self.scaler.scale_features(block, values)
            out.novelty_raw[rows] = self.novelty.distance(scaled.values, scaled.observed, space)[:keep]
            out.n_missing[rows] = scaled.n_missing[:keep]
            out.n_unexpected_missing[rows] = scaled.n_unexpected_missing[:keep]
            out.finite[rows] = scaled.finite[:keep]
            if self.rule is not None:
                out.unmodelled[rows] = self.rule.unmodelled(block, self.feature_names)[:keep]
            if predictor is not None:
                logits, refits = self._sampled(sampler, joined, scaled, block)
                statistics.write(logits, out, rows, refits)

    def _statistics(self, predictor: Predictor) -> Statistics:
        return Statistics(
            predictor.n_samples,
            len(self.classes),
            temperature=self.temperature.value,
            log_prior_correction=self.log_prior_correction,
            healthy=self.healthy,
            sub_bank_size=predictor.group,
            spread=method_of(self.method).spread,
        )

    def _blank(self, out: Scores) -> None:
        """Mark every window that is not finite, and set all of its scores to NaN."""
        out.finite[:] &= np.isfinite(out.novelty_raw)
        if self.network is not None:
            out.finite[:] &= np.isfinite(out.predictive_entropy)
        for name in (*PREDICTIVE, "novelty_raw", "novelty_percentile", "unmodelled"):
            getattr(out, name)[~out.finite] = np.nan


def _empty_scores(n: int, n_classes: int, n_samples: int) -> Scores:
    return Scores(
        **empty_columns(n, n_classes),
        n_samples=n_samples,
        novelty_raw=np.full(n, np.nan),
        novelty_percentile=np.full(n, np.nan),
        n_missing=np.zeros(n, dtype=np.int64),
        n_unexpected_missing=np.zeros(n, dtype=np.int64),
        unmodelled=np.full(n, np.nan),
        finite=np.zeros(n, dtype=bool),
    )
