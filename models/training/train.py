"""Training: folds of whole units, calibration and novelty on the held-out ones, then the final network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from models.judging.novelty import NoveltyReference, weighted_quantiles
from models.kinds import Kind, kind_of
from models.methods.mask_bank import MaskBank, draw_mask_bank
from models.methods.method import Fitted
from models.model import QUANTILES, Model
from models.refits import rescaled
from models.settings import TrainingSettings
from models.threads import one_thread
from models.training.crossfit import FloatArray, HeldOut, IntArray, Task, hold_out
from models.training.judge import calibrate, held_out_scores, judge
from models.training.report import TrainingReport
from models.training.rule_prior import Agreement, RulePrior, agreement
from models.training.scaler import RobustScaler
from models.training.shared_fits import SharedFits
from models.training.training_data import Supplement, checked_rule, checked_supplement, checked_training_data
from models.training.tune import tune, with_settings
from models.training.tuning_choice import Tuning

__all__ = ["TrainingReport", "TrainingSettings", "train"]

Progress = Callable[[str, float], None]

TUNING_SHARE = 0.8
"""Share of the whole progress that is shown for tuning."""


def train(
    x: NDArray[np.float32],
    y: IntArray,
    unit: NDArray[np.str_],
    weight: FloatArray | None = None,
    *,
    classes: tuple[str, ...],
    feature_names: tuple[str, ...],
    feature_version: str,
    feature_groups: tuple[str, ...] | None = None,
    settings: TrainingSettings | None = None,
    supplement: Supplement | None = None,
    rule: RulePrior | None = None,
    fits: SharedFits | None = None,
    on_progress: Progress | None = None,
) -> tuple[Model, TrainingReport]:
    """Train a model and judge it on held-out units.

    Parameters
    ----------
    x
        (n, F) features, NaN = missing.
    y
        (n,) index into `classes`, or UNKNOWN_MODE (-1) for "fault, mode unknown". Where *no* fault has a known mode,
        pass ``classes=("healthy", "fault_unknown")``: one fault class may have windows of unknown mode only.
    unit
        (n,) physical unit of each window; no split cuts one.
    weight
        (n,) weight of the evidence, >= 0 (0: left out); default 1.
    classes
        Class names, ``"healthy"`` first if present. See `models.kinds` for the kinds that follow from them.
    feature_names, feature_version
        What the columns are; stored, and checked before scoring.
    feature_groups
        One group name per feature: features of a group tend to be missing together. Default: each by itself.
    settings
        Default `TrainingSettings()`.
    supplement
        Examples made from physics that networks are fitted to as well; nothing is judged by them.
    rule
        Mean of the prior over the logits, see `models.training.rule_prior`, its weights the mean of their own prior;
        without it the mean is nothing. Not used where the kind has no network.
    fits
        Fits that other trainings made or will find, see `models.training.shared_fits`; they change the time and
        nothing else.
    on_progress
        Called with the stage and the share of the whole done (0..1).

    Returns
    -------
    Model, TrainingReport
        The same for the same arguments on one machine, whatever the number of threads: training uses one.

    Raises
    ------
    TrainingRefused
        The data cannot give a model (see `models.training.training_data`), or training diverged.
    """
    settings = settings or TrainingSettings()
    progress = on_progress or _silent
    kind = kind_of(classes)
    rule = None if kind == "baseline_only" else checked_rule(rule, classes=tuple(classes), names=tuple(feature_names))
    data = checked_training_data(
        x, y, unit, weight, classes=classes, feature_names=tuple(feature_names), groups=feature_groups
    )
    extra = checked_supplement(supplement, classes=tuple(classes), n_features=len(feature_names))
    with one_thread():
        task = Task(kind, data, settings, _bank(kind, settings), extra, rule, tuple(feature_names), fits)
        task, tuning, progress = _tuned(task, progress)
        settings = task.settings
        held_out = hold_out(task, lambda i, k: progress(f"fold {i + 1} of {k}", 0.85 * i / k))
        progress("calibrate", 0.85)
        calibration = None if held_out.logits is None else calibrate(task, held_out, np.arange(data.y.size))
        scores = held_out_scores(task, held_out, calibration)
        progress("final network", 0.9)
        scaler, fitted, reference, rule = _final(task, held_out)
        report = judge(
            task, held_out, calibration=calibration, scores=scores, epochs=0 if fitted is None else fitted.epochs
        )
        report = replace(_with_tuning(report, tuning), labels_and_lines=_labels_and_lines(task))
        model = Model(
            kind=kind,
            classes=tuple(classes),
            feature_names=tuple(feature_names),
            feature_version=feature_version,
            scaler=scaler,
            network=None if fitted is None or calibration is None else fitted.network.scaled(calibration.share.value),
            bank=task.bank,
            rule=rule,
            method=settings.method,
            members=()
            if fitted is None or calibration is None
            else tuple(member.scaled(calibration.share.value) for member in fitted.members),
            refits=()
            if calibration is None or not task.method.committee
            else tuple(
                replace(one, network=rescaled(one.network, own, scaler)).scaled(calibration.share.value)
                for own, one in held_out.refits
            ),
            temperature=report.temperature,
            log_prior_correction=task.correction(),
            fault_prior=settings.fault_prior if kind == "classification" else None,
            novelty=reference,
            quantiles=_quantiles(task, held_out, scores),
            settings={**settings.as_dict(), "feature_groups": None if feature_groups is None else list(feature_groups)},
            metrics=report.as_dict(),
        )
    progress("done", 1.0)
    return model, report


def _tuned(task: Task, progress: Progress) -> tuple[Task, Tuning | None, Progress]:
    """Choose the settings where there is a tuning budget; the rest of the progress is for the training with them."""
    settings = task.settings
    if settings.tuning_budget < 2 or task.bank is None:
        return task, None, progress
    if task.fits is None:
        task = replace(task, fits=SharedFits(lambda: 0.0))  # what was tried is not trained again
    chosen, tuning = tune(task, lambda i, k: progress(f"candidate {i + 1} of {k}", TUNING_SHARE * i / k))
    start = TUNING_SHARE if tuning.tried else 0.0
    return with_settings(task, chosen), tuning, lambda stage, share: progress(stage, start + (1.0 - start) * share)


def _with_tuning(report: TrainingReport, tuning: Tuning | None) -> TrainingReport:
    if tuning is None:
        return report
    notes = (*report.notes, f"tuning: {tuning.reason}")
    if tuning.chosen:
        notes += ("settings were chosen on the units that the held-out figures come from: they flatter a little",)
    return replace(report, notes=notes, tuning=tuning)


def _final(task: Task, held_out: HeldOut) -> tuple[RobustScaler, Fitted | None, NoveltyReference, RulePrior | None]:
    """Train on all units, for the median of the epochs at which the folds stopped."""
    everything = np.arange(task.data.y.size)
    scaler = task.scaler(everything)
    reference = task.reference(scaler, everything)
    if task.bank is None:
        return scaler, None, reference, None
    stopped = [record.epochs for record in held_out.records if record.stopped_early]
    epochs = max(1, round(median(stopped))) if stopped else task.fixed_epochs
    rule = task.rule_of(everything)
    return scaler, task.fit(scaler, everything, everything[:0], epochs, 0, rule), reference, rule


def _quantiles(task: Task, held_out: HeldOut, scores: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the held-out quantiles, every unit weighing the same."""
    _, code, counts = np.unique(task.data.unit, return_inverse=True, return_counts=True)
    weight = 1.0 / counts[code]
    values = {name: v for name, v in scores.items() if name in QUANTILES and not np.isnan(v).all()}
    values["novelty_raw"] = held_out.novelty
    return {name: weighted_quantiles(v, weight) for name, v in values.items()}


def _labels_and_lines(task: Task) -> Agreement | None:
    """Return on how many units the labels and the rule as declared agree; None without a rule."""
    data = task.data
    return None if task.rule is None else agreement(task.rule, data.x, task.feature_names, data.y, data.unit)


def _bank(kind: Kind, settings: TrainingSettings) -> MaskBank | None:
    if kind == "baseline_only":
        return None
    return draw_mask_bank(
        settings.network.hidden,
        settings.network.dropout,
        n_samples=settings.n_samples,
        sub_bank_size=settings.sub_bank_size,
        seed=settings.seed,
    )


def _silent(stage: str, share: float) -> None:
    """Ignore the progress."""
