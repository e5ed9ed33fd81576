"""The training set: features of labelled recordings, with the labels that were known at a time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.engine import Connection

from features.settings import feature_groups, feature_names
from models.kinds import HEALTHY, UNKNOWN_FAULT, UNKNOWN_MODE
from models.training.training_data import Supplement
from pipeline.assets import known_orders
from pipeline.base.log_schema import quantity_of
from pipeline.base.regime import program_of
from pipeline.base.settings import TrainSettings
from pipeline.extraction.baselines import RELATIVE_GROUP, Baselines, UnitBaseline, relative_names, with_change
from pipeline.extraction.in_force import feature_settings, feature_version_of, feature_versions
from pipeline.extraction.reading import read_features
from pipeline.labels.findings import Findings, answered, why_left_out
from pipeline.labels.labels import KnownLabel, known_labels
from pipeline.store.attribution import attributed_extraction, extractions, unit_name
from pipeline.store.lake import Lake
from pipeline.store.tables import Extraction, Recording
from pipeline.training.copies import TrainingRecording, Twin, each_once
from pipeline.training.supplement import Condition, make_supplement

VIBRATION = "acceleration"
"""The quantity that `features.synthetic_faults` can make."""


@dataclass(frozen=True)
class TrainingSet:
    """Windows with their targets.

    Attributes
    ----------
    x
        float32 (n, 2 F): features, then their changes against the unit's baseline; NaN = missing.
    y
        int64 (n,) index into `classes`, or `UNKNOWN_MODE`.
    unit, recording
        (n,) physical unit and recording id of each window.
    weight
        float64 (n,) weight of the evidence.
    classes
        Class names.
    names, groups
        (2 F,) name and group of each column of `x`.
    feature_version
        Of the columns.
    programs
        Motion programs of the recordings.
    labels
        Number of labels known at the time.
    left_out
        Number of recordings that were not used, by reason. `bad window` and `over the cap of a unit` count windows.
    data_hash
        SHA-256 of windows, targets and weights.
    supplement
        Windows made from physics; None: there are none.
    twins
        Labels that contradict each other over the same samples; none of them is learned.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    unit: npt.NDArray[np.str_]
    recording: npt.NDArray[np.str_]
    weight: npt.NDArray[np.float64]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    feature_version: str
    programs: tuple[str, ...]
    labels: int
    left_out: dict[str, int]
    data_hash: str
    supplement: Supplement | None
    twins: tuple[Twin, ...]


def build_training_set(
    connection: Connection,
    lake: Lake,
    settings: TrainSettings,
    scope: str,
    *,
    as_of: datetime,
    set_aside: Collection[str] = (),
) -> TrainingSet:
    """Build the training set of a scope from what was known at `as_of`, without the labels `set_aside` (ids).

    Left out and counted are: windows whose data-quality verdict is not ok; recordings with the label `unsure` or
    `sensor_or_data`; recordings whose evidence has weight 0; the same samples a second time (`each_once`). A label
    that an answer has overruled is not known any more. The unit is the serial number from the log or from the asset
    registry, else the axis. A unit gives at most `max_windows_per_unit` windows, see `even_choice`.
    """
    standing = answered(known_labels(connection, known_by=as_of)).standing
    labels = [label for label in standing if label.label_id not in set_aside]
    labelled, left_out = _labelled(connection, settings, scope, labels)
    quantity = quantity_of(scope)
    features = feature_settings(settings, quantity)
    names = feature_names(features)
    groups = tuple(group for group, members in feature_groups(features).items() for _ in members)
    modes = sorted({item.target for item in labelled} - {HEALTHY, UNKNOWN_FAULT})
    classes = tuple([HEALTHY] if any(item.target == HEALTHY for item in labelled) else []) + tuple(modes)
    unknown = any(item.target == UNKNOWN_FAULT for item in labelled)
    if unknown and not modes:
        classes += (UNKNOWN_FAULT,)
    labelled.sort(key=lambda item: str(item.row.recording_id))
    known = Baselines(connection, as_of)
    labelled, baselines = _after_baseline(labelled, [known.of(item.row) for item in labelled], left_out)
    absolute = read_features(lake, settings, [item.row for item in labelled])
    bad = sum(item.row.n_windows - len(part) for item, part in zip(labelled, absolute, strict=True))
    absolute, twins = each_once(labelled, absolute, left_out)
    absolute, over = _capped(labelled, absolute, most=settings.max_windows_per_unit)
    parts = [with_change(part, baseline) for part, baseline in zip(absolute, baselines, strict=True)]
    kept = list(zip(labelled, parts, strict=True))
    left_out["bad window"], left_out["over the cap of a unit"] = bad, over
    names += relative_names(names)
    groups += (RELATIVE_GROUP,) * len(groups)
    x = np.concatenate(parts) if parts else np.empty((0, len(names)), np.float32)
    conditions: list[Condition] = []
    if quantity == VIBRATION:
        conditions = _conditions(connection, labelled, baselines, absolute, names.index("rms_log10"))
    supplement = make_supplement(lake.url, settings, features, conditions, classes)

    def spread(values: list[Any], dtype: Any) -> Any:
        return np.repeat(np.array(values, dtype=dtype), [len(part) for _, part in kept])

    index_of = {name: index for index, name in enumerate(classes)}
    targets = [index_of.get(item.target, UNKNOWN_MODE) for item, _ in kept]
    y = spread(targets, np.int64)
    unit = spread([item.unit for item, _ in kept], np.str_)
    weight = spread([item.weight for item, _ in kept], np.float64)
    digest = hashlib.sha256("\n".join((*classes, *names)).encode())
    for item, part in kept:
        digest.update(f"{item.row.recording_id}|{item.unit}|{item.target}|{item.weight!r}".encode())
        digest.update(part.tobytes())
    if supplement is not None:
        digest.update(supplement.x.tobytes() + supplement.y.tobytes() + repr(supplement.units).encode())
        digest.update("\n".join(supplement.source.tolist() if supplement.source is not None else ()).encode())
    return TrainingSet(
        x=x,
        y=y,
        unit=unit,
        recording=spread([str(item.row.recording_id) for item in labelled], np.str_),
        weight=weight,
        classes=classes,
        names=names,
        groups=groups,
        feature_version=feature_versions(settings)[quantity],
        programs=tuple(sorted({program for item, _ in kept if (program := program_of(item.row.regime)) is not None})),
        labels=len(labels),
        left_out={reason: count for reason, count in left_out.items() if count},
        data_hash=digest.hexdigest(),
        supplement=supplement,
        twins=tuple(twins),
    )


def _labelled(
    connection: Connection, settings: TrainSettings, scope: str, labels: list[KnownLabel]
) -> tuple[list[TrainingRecording], Counter[str]]:
    query = extractions(
        *attributed_extraction(), *CONTEXT, scope=scope, feature_version=feature_version_of(settings, scope)
    ).order_by(Extraction.started_at, Extraction.recording_id)
    findings = Findings(labels, settings.evidence_weights)
    labelled, left_out = [], Counter[str]()
    for row in connection.execute(query):
        label = findings.label_of(row)
        if label is None:
            continue
        finding = findings.finding_of(label)
        if finding is None:
            left_out[why_left_out(label)] += 1
        elif row.n_windows == 0:
            left_out[row.quality] += 1
        else:
            unit = unit_name(row.unit_serial, row.axis_id)
            labelled.append(TrainingRecording(row, unit, finding.target, finding.weight, label.label_id))
    return labelled, left_out


IN_BASELINE = "in the unit's own baseline period"


def _after_baseline(
    labelled: list[TrainingRecording], baselines: list[UnitBaseline | None], left_out: Counter[str]
) -> tuple[list[TrainingRecording], list[UnitBaseline | None]]:
    """Leave out the recordings that a unit's baseline was made from, if the unit has later ones with the same finding.

    Compared with a baseline that was made from them, such recordings show no change, whatever their finding is. They
    were also never scored against it, because it did not exist yet. A unit without later recordings keeps them, without
    changes, as they were scored.
    """
    inside = [
        baseline is not None and item.row.started_at < baseline.until
        for item, baseline in zip(labelled, baselines, strict=True)
    ]
    later = {(item.unit, item.target) for item, early in zip(labelled, inside, strict=True) if not early}
    kept: list[TrainingRecording] = []
    compared: list[UnitBaseline | None] = []
    for item, baseline, early in zip(labelled, baselines, inside, strict=True):
        if early and (item.unit, item.target) in later:
            left_out[IN_BASELINE] += 1
            continue
        kept.append(item)
        compared.append(None if early else baseline)
    return kept, compared


def even_choice(target: npt.NDArray[Any], *, most: int) -> npt.NDArray[np.bool_]:
    """Choose windows of one unit, evenly over its time and with equal numbers of each class where possible.

    Parameters
    ----------
    target : array, shape (n,)
        Class of each window, in time order.
    most
        Number of windows to choose; 0: all.

    Returns
    -------
    bool array, shape (n,)
        True where a window is chosen: `most` of them (all where there are no more), the same ones at every call. A
        class with less than its share is taken whole, and the other classes share what it leaves.
    """
    chosen = np.ones(len(target), dtype=np.bool_)
    if most == 0 or len(target) <= most:
        return chosen
    chosen[:] = False
    names, counts = np.unique(target, return_counts=True)
    left = most
    for place, index in enumerate(np.argsort(counts, kind="stable")):
        share = min(int(counts[index]), left // (len(names) - place))
        left -= share
        members = np.flatnonzero(target == names[index])
        chosen[members[(np.arange(share) * len(members)) // max(share, 1)]] = True
    return chosen


def _capped(
    labelled: list[TrainingRecording], features: list[npt.NDArray[np.float32]], *, most: int
) -> tuple[list[npt.NDArray[np.float32]], int]:
    """Leave out windows of units that have too many; return the features and the number of windows left out."""
    members: dict[str, list[int]] = {}
    for index, item in enumerate(labelled):
        members.setdefault(item.unit, []).append(index)
    capped, over = list(features), 0
    for indices in members.values():
        indices.sort(key=lambda index: (labelled[index].row.started_at, str(labelled[index].row.recording_id)))
        sizes = [len(features[index]) for index in indices]
        target = np.repeat([labelled[index].target for index in indices], sizes)
        chosen = even_choice(target, most=most)
        over += int((~chosen).sum())
        for index, part in zip(indices, np.split(chosen, np.cumsum(sizes)[:-1]), strict=True):
            capped[index] = features[index][part] if len(features[index]) else features[index]
    return capped, over


CONTEXT: tuple[Any, ...] = (
    Recording.sampling_rate_hz,
    Recording.rate_basis,
    Recording.shaft_speed_rpm,
    Recording.speed_is_steady,
    Recording.n_samples,
    Recording.samples_hash,
    Recording.unit,
    Recording.lake_path.label("raw_path"),
    Recording.lake_row.label("raw_row"),
)
"""Columns of a recording that `Condition` and `each_once` need."""


def _conditions(
    connection: Connection,
    labelled: list[TrainingRecording],
    baselines: list[UnitBaseline | None],
    features: list[npt.NDArray[np.float32]],
    rms: int,
) -> list[Condition]:
    """Return the conditions in which windows can be made: rate declared, speed known and steady, geometry known."""
    orders = known_orders(connection)
    conditions = []
    for item, baseline, part in zip(labelled, baselines, features, strict=True):
        row = item.row
        level = part[:, rms] if len(part) else part[:0, 0]
        level = level[np.isfinite(level)]
        steady = row.rate_basis == "declared" and row.speed_is_steady
        speed = row.measured_speed_rpm or row.shaft_speed_rpm
        if steady and speed and row.geometry_version in orders and level.size:
            conditions.append(
                Condition(
                    unit=item.unit,
                    healthy=item.target == HEALTHY and row.quality == "ok",
                    sampling_rate_hz=row.sampling_rate_hz,
                    shaft_hz=abs(speed) / 60.0,
                    orders=orders[row.geometry_version],
                    n_samples=row.n_samples,
                    level=10.0 ** float(np.median(level)),
                    sample_unit=row.unit,
                    lake_path=row.raw_path,
                    lake_row=row.raw_row,
                    baseline=baseline,
                )
            )
    return conditions
