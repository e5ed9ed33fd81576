"""Holding out every unit once: each window is sampled by a network that was not trained on its unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.judging.calibration import effective_prior, log_prior_correction, target_prior
from models.judging.novelty import NoveltyReference, fit_novelty
from models.kinds import UNKNOWN_MODE, Kind, healthy_index
from models.methods.mask_bank import MaskBank
from models.methods.method import Fitted, GoOn, Method, method_of
from models.predictive import Predictive, summarise
from models.refits import Refit
from models.settings import TrainingSettings
from models.training.fit import Examples, fit_network
from models.training.network_share import mix
from models.training.report import FoldRecord
from models.training.rule_prior import RulePrior, fit_rule
from models.training.scaler import RobustScaler, fit_scaler
from models.training.shared_fits import SharedFits, key_of
from models.training.splits import balanced_weights, stopping_split, unit_folds
from models.training.training_data import Supplement, TrainingData

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Task:
    """One training: kind, data, settings, masks shared by its networks (None for baseline-only), supplement, rule, and
    the fits that it shares with other trainings (None: with none).
    """

    kind: Kind
    data: TrainingData
    settings: TrainingSettings
    bank: MaskBank | None
    supplement: Supplement | None = None
    rule: RulePrior | None = None
    feature_names: tuple[str, ...] = ()
    fits: SharedFits | None = None

    @property
    def method(self) -> Method:
        """The scoring method."""
        return method_of(self.settings.method)

    @property
    def healthy(self) -> int | None:
        """Index of the healthy class, or None."""
        return healthy_index(self.data.classes)

    @property
    def rule_knows_every_fault(self) -> bool:
        """Whether the rule has a feature for every class but the healthy one."""
        rule = self.rule
        return rule is not None and all(own for c, own in enumerate(rule.lines) if c != self.healthy)

    def rule_of(self, rows: IntArray) -> RulePrior | None:
        """Return the rule with its weights fitted to some rows."""
        if self.rule is None:
            return None
        data, units = self.data, len(self.units(rows))
        return fit_rule(self.rule, data.x[rows], self.feature_names, data.y[rows], self.weights(rows), units)

    @property
    def fixed_epochs(self) -> int:
        """Epochs where there are too few units to stop early."""
        return min(self.settings.fixed_epochs, self.settings.epochs)

    def weights(self, rows: IntArray) -> FloatArray:
        """Balanced weights of some rows, mean 1."""
        data = self.data
        return balanced_weights(data.y[rows], data.unit[rows], data.weight[rows], healthy=self.healthy)

    def units(self, rows: IntArray) -> tuple[str, ...]:
        """Names of the units of some rows, sorted."""
        return tuple(str(u) for u in np.unique(self.data.unit[rows]))

    def examples(self, scaler: RobustScaler, rows: IntArray, rule: RulePrior | None) -> Examples:
        """Network inputs, targets and balanced weights of some rows."""
        inputs = scaler.network_inputs(scaler.scale_features(self.data.x[rows]))
        return Examples(inputs, self.data.y[rows], self.weights(rows), self.offset(rule, self.data.x[rows]))

    def fitted_examples(self, scaler: RobustScaler, rows: IntArray, rule: RulePrior | None) -> Examples:
        """Examples of some rows with the supplement: what a network is fitted to. Classes keep their total weights.

        Of the supplement only what was made after units among `rows`: units held out must be unknown to the network.
        """
        measured, extra = self.examples(scaler, rows, rule), self.supplement
        if extra is not None and extra.source is not None:
            own = np.isin(extra.source, [*self.units(rows), ""])
            extra = Supplement(extra.x[own], extra.y[own], extra.units)
        if extra is None or not extra.y.size:
            return measured
        made = np.zeros(extra.y.size)
        weight = measured.weight.copy()
        for c in np.unique(extra.y):
            own = measured.y == c
            n_units = np.unique(self.data.unit[rows][own]).size
            share = extra.units / (extra.units + n_units)
            mass = float(weight[own].sum()) if n_units else float(measured.weight.sum()) / len(self.data.classes)
            made[extra.y == c] = mass * share / int((extra.y == c).sum())
            weight[own] *= 1.0 - share
        inputs = scaler.network_inputs(scaler.scale_features(extra.x))
        return Examples(
            np.concatenate([measured.inputs, inputs]),
            np.concatenate([measured.y, extra.y]),
            np.concatenate([weight, made]),
            np.concatenate([measured.offset, self.offset(rule, extra.x)]) if measured.offset is not None else None,
        )

    def offset(self, rule: RulePrior | None, x: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Logits (n, C) that a rule adds for features x; None without a rule."""
        return None if rule is None else rule.logits(x, self.feature_names)

    def scaler(self, rows: IntArray) -> RobustScaler:
        """Scaler of some rows."""
        return fit_scaler(self.data.x[rows], self.data.groups)

    def reference(self, scaler: RobustScaler, rows: IntArray) -> NoveltyReference:
        """Novelty reference of some rows."""
        scaled = scaler.scale_features(self.data.x[rows])
        return fit_novelty(
            scaled.values,
            scaled.observed,
            self.data.unit[rows],
            max_rows=self.settings.novelty_rows,
            k=self.settings.novelty_neighbours,
        )

    def fit(
        self,
        scaler: RobustScaler,
        rows: IntArray,
        stop: IntArray,
        epochs: int,
        stream: int,
        rule: RulePrior | None,
    ) -> Fitted:
        """Fit the networks of the method to `rows` beside a rule, stopping on `stop` if there are any."""

        def train_one(number: int, go_on: GoOn | None = None) -> Fitted:
            examples = self.fitted_examples(scaler, rows, rule)
            held = self.examples(scaler, stop, rule) if stop.size else None
            return self._fit(scaler, examples, held, epochs, (stream, number) if number else (stream,), go_on)

        return self.method.fit(train_one, self.settings)

    def _fit(
        self,
        scaler: RobustScaler,
        examples: Examples,
        held: Examples | None,
        epochs: int,
        stream: tuple[int, ...],
        go_on: GoOn | None,
    ) -> Fitted:
        seed = int(np.random.SeedSequence([self.settings.seed, *stream]).generate_state(1)[0])
        more: dict[str, Any] = {
            "group": scaler.group,
            "n_classes": len(self.data.classes),
            "healthy": self.healthy,
            "settings": self.settings,
            "epochs": epochs,
            "seed": seed,
            "go_on": go_on,
        }
        if self.fits is None:
            return fit_network(examples, stop=held, **more)
        return self.fits.fit(key_of(examples, held, **more), lambda: fit_network(examples, stop=held, **more))

    def priors(self) -> tuple[FloatArray, FloatArray]:
        """Return the prior the network was shown and the declared one, (C,) each."""
        data = self.data
        n_classes = len(data.classes)
        counts = np.array([np.unique(data.unit[data.y == c]).size for c in range(n_classes)])
        weights = self.weights(np.arange(data.y.size))
        shown = effective_prior(data.y, weights, n_classes=n_classes, healthy=self.healthy)
        return shown, target_prior(counts, fault_prior=self.settings.fault_prior, healthy=self.healthy)

    def correction(self) -> FloatArray:
        """Return the prior correction (C,) of the final network; zero without one."""
        if self.bank is None:
            return np.zeros(len(self.data.classes))
        shown, target = self.priors()
        return log_prior_correction(target, shown)

    def summarise(
        self, logits: NDArray[np.float32], temperature: float, correction: FloatArray, *, group: int
    ) -> Predictive:
        """Statistics of sampled logits (T, n, C), `group` samples of which belong together."""
        return summarise(
            logits,
            temperature=temperature,
            log_prior_correction=correction,
            healthy=self.healthy,
            sub_bank_size=group,
            spread=self.method.spread,
        )


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Logits and novelty of windows of units they were not trained on.

    Attributes
    ----------
    fold
        int64 (n,) the fold in which each window was held out.
    logits
        float32 (T, n, C), the network's alone, before temperature and prior; None for baseline-only.
    group
        Samples that belong together, as `models.methods.method.Predictor` has them.
    offset
        float32 (n, C), the logits of the rule as fitted to the units of the other folds; None without a rule.
    novelty
        float64 (n,) raw novelty.
    records
        The splits.
    notes
        For the reader of the report, in words.
    refits
        What each fold fitted, with the scaler of its network's inputs.
    """

    fold: IntArray
    logits: NDArray[np.float32] | None
    group: int
    offset: NDArray[np.float32] | None
    novelty: FloatArray
    records: tuple[FoldRecord, ...]
    notes: tuple[str, ...]
    refits: tuple[tuple[RobustScaler, Refit], ...] = ()

    def mixed(self, rows: IntArray, share: float) -> NDArray[np.float32]:
        """Logits (T, len(rows), C) with the rule's, at a share of the network."""
        assert self.logits is not None
        return mix(self.logits[:, rows], None if self.offset is None else self.offset[rows], share)


def hold_out(task: Task, progress: Callable[[int, int], None]) -> HeldOut:
    """Hold out every unit once: fit scaler, novelty reference and network on the others, sample the windows held out.

    Parameters
    ----------
    task
        What to train.
    progress
        Called with the fold about to start and the number of folds.
    """
    data, bank = task.data, task.bank
    n = data.y.size
    fold, novelty = np.zeros(n, dtype=np.int64), np.full(n, np.nan)
    logits: NDArray[np.float32] | None = None
    offset: NDArray[np.float32] | None = None
    group = 1
    records: list[FoldRecord] = []
    notes: list[str] = list(data.notes)
    refits: list[tuple[RobustScaler, Refit]] = []
    splits = unit_folds(data.y, data.unit, folds=task.settings.folds, seed=task.settings.seed)
    for i, (rows, test) in enumerate(splits):
        progress(i, len(splits))
        scaler = task.scaler(rows)
        scaled = scaler.scale_features(data.x[test])
        novelty[test] = task.reference(scaler, rows).distance(scaled.values, scaled.observed)
        fold[test] = i
        fit, stop, epochs = rows, rows[:0], 0
        if bank is not None:
            inner = stopping_split(data.y[rows], data.unit[rows], seed=task.settings.seed)
            if inner is not None:
                fit, stop = rows[inner[0]], rows[inner[1]]
            rule, epochs = task.rule_of(rows), task.settings.epochs if stop.size else task.fixed_epochs
            fitted = task.fit(scaler, fit, stop, epochs, i + 1, rule)
            refits.append((scaler, Refit(fitted.network, rule)))
            predictor = task.method.sample(task.method.parts(fitted.network, fitted.members), bank)
            sampled = predictor.logits(scaler.network_inputs(scaled))
            if logits is None:
                logits = np.empty((sampled.shape[0], n, sampled.shape[2]), dtype=np.float32)
            logits[:, test], group = sampled, predictor.group
            if rule is not None:
                offset = np.zeros((n, sampled.shape[2]), dtype=np.float32) if offset is None else offset
                offset[test] = rule.logits(data.x[test], task.feature_names)
            epochs = fitted.epochs
            notes += _unseen_classes(data, i, rows, test)
        records.append(FoldRecord(task.units(fit), task.units(stop), task.units(test), epochs, stop.size > 0))
    if bank is not None and not any(record.stopped_early for record in records):
        notes.append(f"too few units to stop early: {task.fixed_epochs} epochs, fixed beforehand")
    return HeldOut(fold, logits, group, offset, novelty, tuple(records), tuple(notes), tuple(refits))


def _unseen_classes(data: TrainingData, i: int, rows: IntArray, test: IntArray) -> list[str]:
    unseen = sorted(set(data.y[test].tolist()) - set(data.y[rows].tolist()) - {UNKNOWN_MODE})
    return [f"fold {i + 1} held out every unit of class '{data.classes[c]}': it was judged unseen" for c in unseen]
