"""Training, scoring and gate of the replay, by the product's own functions, on arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.kinds import HEALTHY, TrainingRefused
from models.model import Model
from models.network import NetworkSettings
from models.settings import TrainingSettings
from models.threads import one_thread
from models.training.train import train
from models.training.training_data import Supplement
from pipeline.base.settings import Settings
from pipeline.cases.axis_state import ScoredWindow, Thresholds, windows_of
from pipeline.labels.findings import Finding
from pipeline.labels.words import Evidence
from pipeline.promotion.gate import Noise, Ruling
from pipeline.promotion.judge import Pair, by_findings, by_measures, clean, noise_between
from pipeline.promotion.rows import JudgedRecording, joined, only
from pipeline.registry.held_out import Predictions, by_recording
from pipeline.scoring.levels import thresholds_of
from pipeline.scoring.score import figures_of
from pipeline.training.inputs import bearing_rule, own_levels, without
from pipeline.training.supplement import MEASURED_SHARE
from pipeline.training.train import held_out_quantiles
from replaying.fleet import Plant

VERSION = "replay"
FIRST_DAYS = 7.0
"""Length of the baseline period, days."""

SENSOR, UNSURE = "sensor_or_data", "unsure"
MADE_A_CLASS = 100
"""Most simulated windows of each class that a training uses."""


@dataclass(frozen=True)
class Label:
    """An answer about a unit: valid for a range of days, asked on one day and known on a later one.

    `finding` is a class, or `sensor_or_data` or `unsure`, which are not used in training.
    """

    number: int
    axis: str
    unit: str
    from_day: float
    to_day: float
    finding: str
    asked_day: float
    known_day: float

    @property
    def target(self) -> str | None:
        """Class for the training; None: the label is not used in training."""
        return None if self.finding in (SENSOR, UNSURE) else self.finding

    @property
    def is_fault(self) -> bool:
        """Whether the finding is a fault of the machine."""
        return self.target not in (None, HEALTHY)


@dataclass(frozen=True, eq=False)
class Version:
    """A trained model with the data that the gate and the triggers need.

    `set_aside`: numbers of the labels that the gate set aside. `everywhere`: predictions for all recordings at the
    balanced mix, if they were worked out before; None: the model makes those that the gate needs.
    """

    model: Model
    cutoff: float
    thresholds: Thresholds
    units: frozenset[str]
    faulty: frozenset[str]
    held_out: Predictions
    set_aside: frozenset[int] = frozenset()
    everywhere: Predictions | None = None


def reduced(settings: Settings, seed: int) -> TrainingSettings:
    """Return the training settings of all strategies: smaller and with fewer epochs than the product's."""
    return TrainingSettings(
        epochs=15,
        fixed_epochs=12,
        learning_rate=settings.learning_rate,
        length_scale=settings.length_scale,
        group_dropout=settings.group_dropout,
        folds=3,
        seed=seed,
        n_samples=20,
        sub_bank_size=10,
        fault_prior=settings.fault_prior,
        prior_units=settings.prior_units,
        prior_temperature=settings.prior_temperature,
        method=settings.method,
        ensemble_size=settings.ensemble_size,
        min_calibration_units=settings.min_calibration_units,
        network=NetworkSettings(hidden=(64, 64), dropout=settings.dropout, batch_norm=settings.batch_norm),
    )


def known(labels: Sequence[Label], day: float) -> list[Label]:
    """Return the labels that are known at a time. All decisions use this function."""
    return [label for label in labels if label.known_day <= day]


def out_of_service(labels: Sequence[Label]) -> dict[str, float]:
    """Return the units out of service, each with the day on which its fault became known."""
    stopped: dict[str, float] = {}
    for label in labels:
        if label.is_fault:
            stopped[label.unit] = min(stopped.get(label.unit, np.inf), label.known_day)
    return stopped


def labelled_rows(plant: Plant, labels: Sequence[Label]) -> dict[int, Label]:
    """Return the label of each good recording used in training; of several labels the one that became known last."""
    good = np.zeros(len(plant.day), dtype=np.bool_)
    good[plant.of[plant.ok]] = True
    newest: dict[int, Label] = {}
    for label in sorted(labels, key=lambda item: (item.known_day, item.number)):
        within = (plant.unit == label.unit) & (plant.day >= label.from_day) & (plant.day < label.to_day) & good
        for row in np.flatnonzero(within).tolist():
            newest[row] = label
    return {row: label for row, label in newest.items() if label.target is not None}


def fit(plant: Plant, labels: Sequence[Label], settings: Settings, *, day: float, seed: int) -> Version | None:
    """Train on the labels known at a time; return None where no model can be trained on them."""
    rows = labelled_rows(plant, known(labels, day))
    targets = {str(label.target) for label in rows.values()}
    classes = tuple([HEALTHY] * (HEALTHY in targets) + sorted(targets - {HEALTHY}))
    if HEALTHY not in classes or len(classes) < 2:
        return None
    take = np.flatnonzero(plant.ok & np.isin(plant.of, list(rows)))
    of = plant.of[take]
    y = np.array([classes.index(str(rows[row].target)) for row in of.tolist()], dtype=np.int64)
    x, names, groups = plant.x[take], tuple(plant.names.tolist()), tuple(plant.groups.tolist())
    unit = plant.unit[of]
    try:
        model, report = train(
            without(x, own_levels(x, names, groups)),
            y,
            unit,
            classes=classes,
            feature_names=names,
            feature_version=VERSION,
            feature_groups=groups,
            settings=reduced(settings, seed),
            supplement=_supplement(plant, rows, classes, settings, seed),
            rule=bearing_rule(classes, names, db_per_nat=settings.rule_db_per_nat),
        )
    except TrainingRefused:
        return None
    if report.held_out is None:
        return None
    held = report.held_out
    programs = frozenset(plant.program[of].tolist())
    limits = thresholds_of(
        settings,
        held_out_quantiles(model),
        programs=programs,
        classes=classes,
        fault_prior=settings.fault_prior,
        metrics=model.metrics,
    )
    return Version(
        model,
        day,
        limits,
        frozenset(unit.tolist()),
        frozenset(unit[y > 0].tolist()),
        by_recording(held.probabilities, _ids(of[held.rows]), unit[held.rows], classes),
    )


def _ids(of: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    return np.array([f"{row:06d}" for row in of.tolist()], dtype=np.str_)


def _supplement(
    plant: Plant, rows: dict[int, Label], classes: tuple[str, ...], settings: Settings, seed: int
) -> Supplement | None:
    """Choose simulated windows in the conditions of labelled units; on measured backgrounds only of healthy units."""
    faulty = {label.unit for label in rows.values() if label.target != HEALTHY}
    units = {label.unit for label in rows.values()}
    usable = np.isin(plant.made_unit, sorted(units)) & ~(plant.made_measured & np.isin(plant.made_unit, sorted(faulty)))
    rng = np.random.default_rng((seed, 7))
    chosen: list[int] = []
    for name in classes:
        of_class = usable & (plant.made_class == name)
        parts = [np.flatnonzero(of_class & (plant.made_measured == side)) for side in (True, False)]
        most = round(MADE_A_CLASS * MEASURED_SHARE) if parts[0].size else 0
        for members, count in zip(parts, (most, MADE_A_CLASS - most), strict=True):
            chosen += rng.permutation(members)[:count].tolist()
    if not chosen:
        return None
    y = np.array([classes.index(name) for name in plant.made_class[chosen].tolist()], dtype=np.int64)
    return Supplement(plant.made_x[chosen], y, settings.synthetic_units, plant.made_unit[chosen])


Fit = Callable[[Sequence[Label]], "Version | None"]
"""Trains on some labels that are known; `fit` with plant, settings, day and seed filled in."""


@dataclass(frozen=True, eq=False)
class Challenge:
    """The challenger that may be promoted, the gate's ruling, and the numbers of the labels that were set aside.

    `doubted`, `new`: number of contradicted and of all new findings.
    """

    version: Version
    ruling: Ruling
    set_aside: frozenset[int]
    doubted: int
    new: int


def challenge(
    plant: Plant,
    champion: Version,
    labels: Sequence[Label],
    settings: Settings,
    *,
    day: float,
    noise: Noise | None,
    train_on: Fit,
) -> Challenge | None:
    """Train a challenger and judge it as the product does: labels that both models contradict are set aside, once.

    Parameters
    ----------
    noise
        Of refits, from `noise_of_refits`.
    train_on
        Trains on labels.

    Returns
    -------
    Challenge or None
        None where no model can be trained on the labels.
    """
    now = known(labels, day)
    first = train_on(now)
    if first is None:
        return None

    def train_without(ids: list[str]) -> Version | None:
        left_out = frozenset(int(number) for number in ids)
        version = train_on([label for label in now if label.number not in left_out])
        return None if version is None else replace(version, set_aside=left_out)

    def pair_of(version: Version | None) -> Pair:
        if version is None:
            return Pair({}, {}, None, None, ())
        return _pair(plant, version, champion, labels, day=day)

    done = clean(first, train_without=train_without, pair_of=pair_of, settings=settings)
    version = done.version
    if version is None:
        return None
    ruling = rule(plant, version, champion, labels, settings, day=day, noise=noise)
    if not done.few:
        ruling = Ruling(False, (f"{len(done.doubted)} new findings are contradicted", *ruling.reasons), ruling.figures)
    return Challenge(version, ruling, version.set_aside, len(done.doubted), done.counts["new_rows"])


def rule(
    plant: Plant,
    challenger: Version,
    champion: Version,
    labels: Sequence[Label],
    settings: Settings,
    *,
    day: float,
    noise: Noise | None = None,
) -> Ruling:
    """Return the ruling of the product's gate on a challenger, with the labels known at a time."""
    lost = sorted(set(champion.held_out.classes) - set(challenger.held_out.classes))
    if lost:
        return Ruling(False, (f"it no longer knows {', '.join(lost)}, which the champion knows",))
    figures: dict[str, Any] = {}
    pair = _pair(plant, challenger, champion, labels, day=day)
    passed, against = by_measures(pair, settings, noise, figures)
    against += by_findings(pair, settings, figures)
    return Ruling(not against, tuple(against or passed), figures)


def noise_of_refits(
    plant: Plant, refits: Sequence[Version], labels: Sequence[Label], settings: Settings, *, day: float
) -> Noise | None:
    """Return the noise of trainings on the same labels with other seeds."""
    pair = _pair(plant, refits[0], refits[0], labels, day=day)
    return noise_between(pair.recordings, [one.held_out for one in refits], settings)


def _pair(plant: Plant, challenger: Version, champion: Version, labels: Sequence[Label], *, day: float) -> Pair:
    now = labelled_rows(plant, [one for one in known(labels, day) if one.number not in challenger.set_aside])
    before = [one for one in known(labels, champion.cutoff) if one.number not in champion.set_aside]
    then = labelled_rows(plant, before)
    judged = challenger.held_out.place()
    recordings = tuple(
        JudgedRecording(
            SimpleNamespace(recording_id=name), str(plant.unit[int(name)]), _finding(then, name), _finding(now, name)
        )
        for name in sorted(judged)
    )
    return Pair({}, {}, challenger.held_out, _champion_predictions(plant, champion, recordings), recordings)


def _finding(rows: dict[int, Label], name: str) -> Finding | None:
    label = rows.get(int(name))
    if label is None:
        return None
    known_label: Any = SimpleNamespace(label_id=str(label.number), evidence=Evidence.INSPECTED)
    return Finding(str(label.target), 1.0, known_label)


def _champion_predictions(plant: Plant, champion: Version, recordings: Sequence[JudgedRecording]) -> Predictions:
    """Return the champion's predictions for recordings of units that it was not trained on."""
    kept = champion.held_out
    places = kept.place()
    strangers = [
        int(item.row.recording_id)
        for item in recordings
        if item.row.recording_id not in places and item.unit not in champion.units
    ]
    if champion.everywhere is not None:
        return joined(kept, only(champion.everywhere, _ids(np.array(strangers, dtype=np.int64))))
    take = np.flatnonzero(plant.ok & np.isin(plant.of, strangers))
    if not take.size:
        return kept
    balanced = replace(champion.model, log_prior_correction=np.zeros(len(champion.model.classes)))
    with one_thread():
        p = balanced.score(plant.x[take]).class_probabilities
    of = plant.of[take]
    return joined(kept, by_recording(p, _ids(of), plant.unit[of], champion.model.classes))


def first_programs(plant: Plant) -> dict[str, float]:
    """Return for each program of the plant the day from which on it is known, as the product's `site_programs` does.

    A program is known when an axis ran it in its first days and these days are over.
    """
    since: dict[str, float] = {}
    for axis in np.unique(plant.axis).tolist():
        own = plant.axis == axis
        over = float(plant.day[own].min()) + FIRST_DAYS
        for program in np.unique(plant.program[own & (plant.day < over)]).tolist():
            since[program] = min(since.get(program, np.inf), over)
    return since


DRIFT_FIGURES = ("fault_probability", "mutual_information", "expected_entropy", "novelty_raw")
"""Fields of a model's scores that the drift triggers use."""


@dataclass(frozen=True, eq=False)
class Ahead:
    """The scores of a model for every recording of a plant, by recording; readers use only past ones.

    `windows`: as advise reads them; `means`: figures for the drift triggers; `p`: fault probability, NaN for a bad
    recording.
    """

    windows: dict[int, list[ScoredWindow]]
    means: dict[int, tuple[float, ...]]
    p: npt.NDArray[np.float64]


def score(plant: Plant, version: Version) -> Ahead:
    """Score every recording. The figures of a recording depend only on itself, so all can be scored at once."""
    with one_thread():
        scores = version.model.score(plant.x)
    usable = plant.ok & scores.finite
    scored = figures_of(
        scores, version.model.classes, np.where(usable, "ok", "non_finite").tolist(), [""] * len(plant.of)
    )
    windows = windows_of(
        scored,
        channel=["acc_x"] * len(plant.of),
        program=plant.program[plant.of].tolist(),
        model_version=VERSION,
    )
    places: dict[int, list[int]] = {}
    for place, row in enumerate(plant.of.tolist()):
        places.setdefault(row, []).append(place)
    p = np.full(len(plant.day), np.nan)
    means = {}
    for row, own in places.items():
        good = [place for place in own if usable[place]]
        if good:
            p[row] = scores.fault_probability[good].mean()
        means[row] = tuple(float(getattr(scores, name)[good].mean()) if good else np.nan for name in DRIFT_FIGURES)
    return Ahead({row: [windows[place] for place in own] for row, own in places.items()}, means, p)
