"""train: from labels and features to a new model version, judged on held-out units."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from models.artifact import pack
from models.kinds import TrainingRefused
from models.methods import check_name
from models.model import QUANTILES, Model
from models.network import NetworkSettings
from models.settings import TrainingSettings
from models.training.report import TrainingReport
from models.training.train import train
from pipeline.base.errors import PrerequisiteMissing, SettingsError
from pipeline.base.settings import TrainSettings
from pipeline.registry.held_out import Predictions, by_recording
from pipeline.registry.registry import Registered, register
from pipeline.registry.versions import champions
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.training.inputs import bearing_rule, own_levels, without
from pipeline.training.lineage import code_version
from pipeline.training.scopes import scopes_with_labels
from pipeline.training.training_set import TrainingSet, build_training_set


@dataclass(frozen=True)
class TrainResult:
    """A new version and the results of its training."""

    scope: str
    model_version: str
    champion: bool
    report: TrainingReport
    training_set: TrainingSet

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "scope": self.scope,
            "model_version": self.model_version,
            "became_champion": self.champion,
            "classes": list(self.training_set.classes),
            "labels_known": self.training_set.labels,
            "left_out": self.training_set.left_out,
            "report": self.report.as_dict(),
        }


def training_settings(settings: TrainSettings) -> TrainingSettings:
    """Return the training settings as `models` takes them; those that the product does not have keep their default.

    Raises
    ------
    SettingsError
        The scoring method does not exist.
    """
    try:
        check_name(settings.method)
    except ValueError as error:
        raise SettingsError(f"settings are wrong: {error}") from error
    network = NetworkSettings(**_of_the_same_name(settings, NetworkSettings))
    return TrainingSettings(**_of_the_same_name(settings, TrainingSettings), network=network)


def _of_the_same_name(settings: TrainSettings, target: type[NetworkSettings | TrainingSettings]) -> dict[str, Any]:
    return {
        item.name: getattr(settings, item.name) for item in fields(target) if item.name in TrainSettings.model_fields
    }


def train_scopes(
    store: Store,
    lake: Lake,
    settings: TrainSettings,
    *,
    as_of: datetime,
    scope: str | None = None,
    set_aside: Collection[str] = (),
    on_progress: Callable[[str, float], None] | None = None,
) -> list[TrainResult]:
    """Train a model for one scope, or for each that has labels, from what was known at `as_of`.

    The labels `set_aside` (ids) are left out, and the lineage of the version names them.

    Raises
    ------
    PrerequisiteMissing
        No label known by `as_of` matches a recording with features, or the labels are not enough for a model.
    SettingsError
        The scoring method in the settings does not exist.
    """
    training = training_settings(settings)
    with store.read() as connection:
        scopes = scopes_with_labels(connection, settings, as_of=as_of)
    if scope is not None:
        scopes = [name for name in scopes if name == scope]
    if not scopes:
        where = f"scope {scope}" if scope else "any scope"
        raise PrerequisiteMissing(
            f"no label known by {as_of.isoformat()} holds for a recording with features in {where}; import labels "
            "(`axiswatch labels import`), run `axiswatch extract`, and compare units and time ranges"
        )
    return [_train_scope(store, lake, settings, training, name, as_of, set_aside, on_progress) for name in scopes]


def refit(
    store: Store,
    lake: Lake,
    settings: TrainSettings,
    scope: str,
    *,
    as_of: datetime,
    set_aside: Collection[str] = (),
    seeds: Sequence[int],
) -> list[Predictions]:
    """Train on the same labels once for each seed and return the held-out predictions; nothing is stored.

    Raises
    ------
    PrerequisiteMissing
        The labels are not enough for a model.
    """
    with store.read() as connection:
        data = build_training_set(connection, lake, settings, scope, as_of=as_of, set_aside=set_aside)
    training = training_settings(settings)
    said = []
    for seed in seeds:
        _, report = _trained(settings, replace(training, seed=seed), scope, data, None)
        held_out = held_out_predictions(report, data)
        said += [] if held_out is None else [held_out]
    return said


def _train_scope(
    store: Store,
    lake: Lake,
    settings: TrainSettings,
    training: TrainingSettings,
    scope: str,
    as_of: datetime,
    set_aside: Collection[str],
    on_progress: Callable[[str, float], None] | None,
) -> TrainResult:
    with store.read() as connection:
        data = build_training_set(connection, lake, settings, scope, as_of=as_of, set_aside=set_aside)
    model, report = _trained(settings, training, scope, data, on_progress)
    about = Registered(
        scope=scope,
        kind=model.kind,
        feature_version=data.feature_version,
        label_cutoff=as_of,
        training_data_hash=data.data_hash,
        n_units=report.n_units,
        n_windows=report.n_windows,
        settings={**model.settings, "programs": list(data.programs), "classes": list(data.classes)},
        metrics={**report.as_dict(), "held_out_quantiles": held_out_quantiles(model)},
        lineage=lineage_of(store, settings, scope, data) | {"set_aside": sorted(set_aside)},
        held_out=held_out_predictions(report, data),
    )
    files = pack(
        model,
        training_data_hash=data.data_hash,
        metrics=report.as_dict(),
        settings={"scope": scope, "programs": list(data.programs), "label_cutoff": as_of.isoformat()},
    )
    version, champion = register(store, lake, files, about, as_of=as_of)
    return TrainResult(scope, version, champion, report, data)


def _trained(
    settings: TrainSettings,
    training: TrainingSettings,
    scope: str,
    data: TrainingSet,
    on_progress: Callable[[str, float], None] | None,
) -> tuple[Model, TrainingReport]:
    own = own_levels(data.x, data.names, data.groups)
    try:
        return train(
            without(data.x, own),
            data.y,
            data.unit,
            data.weight,
            classes=data.classes,
            feature_names=data.names,
            feature_version=data.feature_version,
            feature_groups=data.groups,
            settings=training,
            supplement=data.supplement,
            rule=bearing_rule(data.classes, data.names, db_per_nat=settings.rule_db_per_nat),
            on_progress=on_progress,
        )
    except TrainingRefused as error:
        raise PrerequisiteMissing(f"scope {scope}: {error}") from error


def lineage_of(store: Store, settings: TrainSettings, scope: str, data: TrainingSet) -> dict[str, Any]:
    """Return where a model comes from: code, seeds, labels, and the champion at that time."""
    with store.read() as connection:
        champion = champions(connection).get(scope)
    return {
        "code": code_version(),
        "seeds": {"training": settings.seed},
        "labels_known": data.labels,
        "left_out": data.left_out,
        "supplement_windows": 0 if data.supplement is None else len(data.supplement.y),
        "trained_beside": champion,
    }


def held_out_predictions(report: TrainingReport, data: TrainingSet) -> Predictions | None:
    """Return the held-out predictions of each recording; None without a network."""
    if report.held_out is None:
        return None
    rows = report.held_out.rows
    return by_recording(report.held_out.probabilities, data.recording[rows], data.unit[rows], data.classes)


def held_out_quantiles(model: Model) -> dict[str, list[float]]:
    """Return the percentiles (0 to 100) of each uncertainty on held-out units, which routing compares with."""
    return {name: [float(value) for value in model.quantiles[name]] for name in QUANTILES if name in model.quantiles}
