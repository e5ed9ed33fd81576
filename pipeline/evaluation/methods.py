"""The methods that a table compares, behind one interface: fit on windows, predict windows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.pipeline import Pipeline

from models.kinds import HEALTHY
from models.methods import METHODS as SCORING_METHODS
from models.model import Model
from models.settings import TrainingSettings
from models.training.shared_fits import SharedFits
from models.training.splits import balanced_weights
from models.training.train import train
from models.training.training_data import Supplement
from models.training.tuning_choice import Tuning
from pipeline.base.settings import Settings
from pipeline.evaluation.forest import DEFAULT, tune_forest
from pipeline.evaluation.forest import fit as fit_forest
from pipeline.evaluation.routing import judged_windows, route
from pipeline.evaluation.windows import Windows, made_faults
from pipeline.labels.words import LINES, Mode
from pipeline.scoring.levels import thresholds_of
from pipeline.training.inputs import DB_PER_NAT, HEALTHY_DB, bearing_rule, own_levels, without
from pipeline.training.train import held_out_quantiles, training_settings

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ALIASES: Final = {
    Mode.INNER_RACE: ("inner", "ir", "i", "inner_ring", "innerrace", "bpfi"),
    Mode.OUTER_RACE: ("outer", "or", "o", "outer_ring", "outerrace", "bpfo"),
    Mode.BALL: ("b", "rolling_element", "roller", "rolling", "bsf"),
    Mode.CAGE: ("ftf",),
}
"""Other words for a mode in a manifest's label column; `_fault` or `_race` may follow."""


class MethodNotDefined(Exception):
    """A method cannot be used with the classes of this protocol; the message gives the reason."""


@dataclass(frozen=True, eq=False)
class Training:
    """What a method may learn from; it holds no test rows.

    Attributes
    ----------
    windows : Windows
        n windows of the training rows, verdict ok.
    y : int64 array, shape (n,)
        Index into `classes`.
    unit : str array, shape (n,)
        Physical unit.
    classes : tuple of str
        "healthy" is the first where it is trained.
    modes : dict of str to Mode
        Failure mode of a class, where it is known.
    fault_prior : float or None
        Share of faults declared for the judged windows; None: all classes are equally likely.
    settings : Settings
    seed : int
    supplement : Supplement or None
        Windows with simulated faults, made by the product's training or by `with_seed`.
    fits : SharedFits or None
        Networks that several methods of this seed use, fitted once for all of them; made by `with_seed`.
    """

    windows: Windows
    y: IntArray
    unit: NDArray[np.str_]
    classes: tuple[str, ...]
    modes: dict[str, Mode]
    fault_prior: float | None
    settings: Settings
    seed: int
    supplement: Supplement | None = None
    fits: SharedFits | None = None


@dataclass(frozen=True, eq=False)
class Prediction:
    """A method's prediction for n windows; None: the method does not define this value.

    Attributes
    ----------
    probabilities : float64 array, shape (n, C)
        Class probabilities.
    mutual_information, novelty : float64 array, shape (n,)
        Epistemic part of the entropy in nats; distance to the training data.
    order : float64 array, shape (n,)
        The higher, the earlier axiswatch would send the window to review.
    review : bool array, shape (n,)
        Whether axiswatch would send it to review.
    band : float64 array, shape (n, 2)
        Credible band of the fault probability, its 5 % and 95 % points.
    others : float64 array, shape (m, n)
        Fault probability by the same method fitted on each of m other fleets.
    """

    probabilities: FloatArray
    mutual_information: FloatArray | None = None
    novelty: FloatArray | None = None
    order: FloatArray | None = None
    review: NDArray[np.bool_] | None = None
    band: FloatArray | None = None
    others: FloatArray | None = None


class FittedMethod(Protocol):
    """A fitted method."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the reader of the report."""
        ...

    @property
    def spared_seconds(self) -> float:
        """Seconds that a fit shared with another method saved; they count for this method too."""
        ...

    @property
    def tuning(self) -> Tuning | None:
        """Settings that were tried before the fit; None where none were."""
        ...

    def predict(self, windows: Windows) -> Prediction:
        """Predict windows; the prediction of one window does not depend on the others."""
        ...


Method = Callable[[Training], FittedMethod]
"""Fits a method; raises MethodNotDefined where it cannot be used with the classes."""


@dataclass(frozen=True, eq=False)
class Network:
    """The product's model, scored as the product scores."""

    model: Model
    settings: Settings
    programs: frozenset[str]
    words: tuple[str, ...]
    notes: tuple[str, ...]
    spared_seconds: float = 0.0
    tuning: Tuning | None = None

    def predict(self, windows: Windows) -> Prediction:
        """Score windows and route each."""
        scores = self.model.score(windows.x)
        judged = judged_windows(
            self.model, scores, quality=windows.quality, channel=windows.channel, program=windows.program
        )
        limits = thresholds_of(
            self.settings,
            held_out_quantiles(self.model),
            programs=self.programs | windows.site_programs if self.programs else self.programs,
            classes=self.words,
            metrics=self.model.metrics,
        )
        routed = route(judged, limits, self.model)
        return Prediction(
            scores.class_probabilities,
            _unscored_last(scores.mutual_information),
            _unscored_last(scores.novelty_raw),
            routed.order,
            routed.review,
            band if np.isfinite(band := np.column_stack([scores.fault_q05, scores.fault_q95])).any() else None,
        )


def _unscored_last(values: FloatArray) -> FloatArray | None:
    """Make windows without a score the most uncertain ones; None where no window has a score."""
    return None if np.isnan(values).all() else np.where(np.isnan(values), np.inf, values)


def with_seed(training: Training, seed: int, *, make: bool) -> Training:
    """Return the training data of a seed, with fits that its methods share.

    Parameters
    ----------
    training
        Training data of any seed.
    seed
        The new seed.
    make
        Simulate faults from the windows where the training data has none yet, once for all networks.
    """
    seeded = replace(training, seed=seed, fits=SharedFits(time.perf_counter))
    if not make or training.supplement is not None:
        return seeded
    settings = training.settings.model_copy(update={"seed": seed})
    return replace(seeded, supplement=made_faults(training.windows, training.unit, words_of(training), settings))


def words_of(training: Training) -> tuple[str, ...]:
    """Return the failure mode of each class; the class's own name where it has none."""
    return tuple(str(training.modes.get(name, name)) for name in training.classes)


def network(method: str) -> Method:
    """Return the function that fits the product's network with a scoring method, as `train` does."""

    def fit(training: Training) -> Network:
        words = words_of(training)
        own = own_levels(training.windows.x, training.windows.names, training.windows.groups)
        if training.fits is not None:
            training.fits.begin()
        model, report = train(
            without(training.windows.x, own),
            training.y,
            training.unit,
            training.windows.weight,
            classes=training.classes,
            feature_names=training.windows.names,
            feature_version=training.windows.feature_version,
            feature_groups=training.windows.groups,
            settings=replace(network_settings(training), method=method),
            supplement=training.supplement,
            rule=bearing_rule(words, training.windows.names, db_per_nat=training.settings.rule_db_per_nat),
            fits=training.fits,
        )
        spared = 0.0 if training.fits is None else training.fits.spared
        programs = frozenset(np.unique(training.windows.program).tolist()) - {""}
        return Network(model, training.settings, programs, words, report.notes, spared, report.tuning)

    return fit


def network_settings(training: Training) -> TrainingSettings:
    """Return the shipped settings with the seed of this run and the fault prior of the judged windows.

    Unless the protocol declares a prior, all classes are equally likely: no method knows the class shares of the test
    rows.
    """
    n_faults = sum(name != HEALTHY for name in training.classes)
    alike = n_faults / len(training.classes)
    prior = training.fault_prior if training.fault_prior is not None else alike
    shipped = training_settings(training.settings)
    return replace(shipped, seed=training.seed, fault_prior=prior if 0 < prior < 1 else shipped.fault_prior)


@dataclass(frozen=True, eq=False)
class Forest:
    """A random forest on the same features."""

    pipeline: Pipeline
    prior: FloatArray
    notes: tuple[str, ...] = ()
    spared_seconds: float = 0.0
    tuning: Tuning | None = None

    def predict(self, windows: Windows) -> Prediction:
        """Return the mean class frequencies of the leaves, at the declared prior."""
        p = np.asarray(self.pipeline.predict_proba(windows.x), dtype=np.float64) * self.prior
        return Prediction(p / p.sum(axis=1, keepdims=True))


def random_forest(training: Training) -> Forest:
    """Fit a forest: units of a class have equal weight, and so have classes; tuned with the networks' budget."""
    healthy = 0 if training.classes[0] == HEALTHY else None
    x, settings, tuning = training.windows.x, training.settings, None
    weight = balanced_weights(training.y, training.unit, training.windows.weight, healthy=healthy)
    if settings.tuning_budget > 1:
        tuning = tune_forest(
            x,
            training.y,
            training.unit,
            training.windows.weight,
            healthy=healthy,
            folds=settings.folds,
            seed=training.seed,
            budget=settings.tuning_budget,
            min_units=settings.tuning_min_units,
        )
    chosen = tuning.tried[tuning.chosen].settings if tuning is not None and tuning.tried else DEFAULT
    fitted = fit_forest(x, training.y, weight, seed=training.seed, settings=chosen)
    notes = () if tuning is None else (f"tuning: {tuning.reason}",)
    return Forest(fitted, declared_prior(training), notes, 0.0, tuning)


def declared_prior(training: Training) -> FloatArray:
    """Return the weight (C,) of each class at the protocol's fault prior; ones where it declares none."""
    prior = np.ones(len(training.classes))
    if training.fault_prior is not None and training.classes[0] == HEALTHY:
        prior[0] = 1.0 - training.fault_prior
        prior[1:] = training.fault_prior / (len(prior) - 1)
    return prior


@dataclass(frozen=True, eq=False)
class Rules:
    """The textbook rule: the class whose line is highest above its noise floor. It learns nothing."""

    columns: tuple[int | None, ...]
    prior: FloatArray
    notes: tuple[str, ...] = ()
    spared_seconds: float = 0.0
    tuning: Tuning | None = None

    def predict(self, windows: Windows) -> Prediction:
        """Turn signal-to-floor ratios (dB) into probabilities; a missing line counts as noise (0 dB)."""
        return Prediction(line_probabilities(windows.x, self.columns, self.prior))


def line_probabilities(x: NDArray[np.float32], columns: tuple[int | None, ...], prior: FloatArray) -> FloatArray:
    """Return class probabilities (n, C): softmax of each class's line in dB over `DB_PER_NAT`.

    Parameters
    ----------
    x
        (n, F) features.
    columns
        Column of each class's line; None for the healthy class, which counts as `HEALTHY_DB`.
    prior
        (C,) weight of each class.

    Returns
    -------
    numpy.ndarray
        float64 (n, C); NaN where all lines of a window are missing.
    """
    evidence = [
        np.full(len(x), HEALTHY_DB) if c is None else np.nan_to_num(x[:, c].astype(np.float64)) for c in columns
    ]
    p: FloatArray = softmax(np.column_stack(evidence) / DB_PER_NAT + np.log(prior), axis=1)
    unknown = np.all([np.isnan(x[:, c]) for c in columns if c is not None], axis=0)
    p[unknown] = np.nan
    return p


def rules(training: Training) -> Rules:
    """Choose the line of each class by its failure mode; nothing is fitted and no training row is used.

    Raises
    ------
    MethodNotDefined
        A class is no bearing fault that has a line.
    """
    names = training.windows.names
    columns: list[int | None] = []
    strange = []
    for name in training.classes:
        mode = training.modes.get(name)
        if name == HEALTHY:
            columns.append(None)
        elif mode in LINES and LINES[mode] in names:
            columns.append(names.index(LINES[mode]))
        else:
            strange.append(name)
    if strange:
        raise MethodNotDefined(
            f"class {', '.join(map(repr, strange))} is not a bearing fault with a characteristic frequency"
        )
    return Rules(tuple(columns), declared_prior(training))


def mode_of_word(word: str) -> Mode | None:
    """Read a failure mode from a label: a word of the taxonomy or a common other word; None where it is neither."""
    plain = word.strip().casefold().replace(" ", "_").replace("-", "_").removesuffix("_fault")
    for mode in Mode:
        if plain == mode.value or plain in ALIASES.get(mode, ()):
            return mode
    return None


METHODS: Final[dict[str, Method]] = {
    **{method: network(method) for method in SCORING_METHODS},
    "random_forest": random_forest,
    "rules": rules,
}
"""Every method by its name in a table."""

SHIPPED: Final[str] = Settings.model_fields["method"].default
"""The method that axiswatch uses by default; the row `default` is this method, fitted once for both rows."""

DEFAULT_ROW: Final = "default"
