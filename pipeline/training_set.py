"""The training set: features of recordings that a label holds for, as labels were known at a time."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.settings import feature_groups, feature_names
from models.kinds import HEALTHY, UNKNOWN_MODE
from pipeline.config import Settings
from pipeline.extract import attributed_unit, feature_settings, feature_versions, installed_geometry
from pipeline.labels import KnownLabel, known_labels, label_for
from pipeline.lake import Lake
from pipeline.regime import program_of
from pipeline.schema import Extraction, Recording, Unit
from pipeline.taxonomy import Verdict

UNKNOWN_FAULT = "fault_unknown"
"""Name of the fault class where no fault has a known mode."""


@dataclass(frozen=True)
class TrainingSet:
    """Windows with their targets.

    `x` float32 (n, F), NaN = missing; `y` int64 (n,) index into `classes` or `UNKNOWN_MODE`; `unit` (n,) physical
    units; `weight` float64 (n,) by evidence. `left_out` counts recordings by the reason why a label did not use them.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    unit: npt.NDArray[np.str_]
    weight: npt.NDArray[np.float64]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    feature_version: str
    programs: tuple[str, ...]
    labels: int
    left_out: dict[str, int]
    data_hash: str


@dataclass(frozen=True)
class _Labelled:
    recording_id: str
    lake_path: str
    lake_row: int
    n_windows: int
    unit: str
    regime: str
    target: str
    weight: float


def scopes_with_labels(connection: Connection, settings: Settings, *, as_of: datetime) -> list[str]:
    """Give the model scopes in which a label known by `as_of` holds for some recording."""
    labels = known_labels(connection, known_by=as_of)
    scopes = []
    for scope in connection.scalars(sa.select(Extraction.scope).distinct().order_by(Extraction.scope)):
        labelled, _ = _labelled(connection, settings, scope, labels)
        if labelled:
            scopes.append(scope)
    return scopes


def build_training_set(
    connection: Connection, lake: Lake, settings: Settings, scope: str, *, as_of: datetime
) -> TrainingSet:
    """Build the training set of a scope from what was known at `as_of`.

    Windows with a data-quality verdict other than ok, and recordings whose label is `unsure` or `sensor_or_data`, are
    left out and counted. The unit is the serial number of the log or of the asset registry, else the axis.
    """
    labels = known_labels(connection, known_by=as_of)
    labelled, left_out = _labelled(connection, settings, scope, labels)
    quantity = scope.split(":", 1)[0]
    wanted = feature_settings(settings, quantity)
    names = feature_names(wanted)
    groups = tuple(group for group, members in feature_groups(wanted).items() for _ in members)
    modes = sorted({item.target for item in labelled} - {HEALTHY, UNKNOWN_FAULT})
    classes = tuple([HEALTHY] if any(item.target == HEALTHY for item in labelled) else []) + tuple(modes)
    unknown = any(item.target == UNKNOWN_FAULT for item in labelled)
    if unknown and not modes:
        classes += (UNKNOWN_FAULT,)
    parts = _read_features(lake, labelled, names)
    order = sorted(range(len(labelled)), key=lambda index: labelled[index].recording_id)
    kept = [(labelled[index], parts[index]) for index in order]
    left_out["bad window"] = sum(item.n_windows - len(part) for item, part in kept)
    x = np.concatenate([part for _, part in kept]) if kept else np.empty((0, len(names)), np.float32)

    def spread(values: list[Any], dtype: Any) -> Any:
        return np.repeat(np.array(values, dtype=dtype), [len(part) for _, part in kept])

    index_of = {name: index for index, name in enumerate(classes)}
    targets = [index_of.get(item.target, UNKNOWN_MODE) for item, _ in kept]
    y = spread(targets, np.int64)
    unit = spread([item.unit for item, _ in kept], np.str_)
    weight = spread([item.weight for item, _ in kept], np.float64)
    digest = hashlib.sha256("\n".join((*classes, *names)).encode())
    for item, part in kept:
        digest.update(f"{item.recording_id}|{item.unit}|{item.target}|{item.weight!r}".encode())
        digest.update(part.tobytes())
    return TrainingSet(
        x=x,
        y=y,
        unit=unit,
        weight=weight,
        classes=classes,
        names=names,
        groups=groups,
        feature_version=feature_versions(settings)[quantity],
        programs=tuple(sorted({program for item, _ in kept if (program := program_of(item.regime)) is not None})),
        labels=len(labels),
        left_out={reason: count for reason, count in left_out.items() if count},
        data_hash=digest.hexdigest(),
    )


def _labelled(
    connection: Connection, settings: Settings, scope: str, labels: list[KnownLabel]
) -> tuple[list[_Labelled], Counter[str]]:
    geometry, on = installed_geometry()
    query = (
        sa.select(Extraction, attributed_unit().label("unit_now"))
        .join(Recording, Recording.recording_id == Extraction.recording_id)
        .outerjoin(Unit, on)
        .where(
            Extraction.scope == scope,
            Extraction.feature_version == feature_versions(settings)[scope.split(":", 1)[0]],
            Extraction.geometry_version == geometry,
        )
        .order_by(Extraction.started_at, Extraction.recording_id)
    )
    by_unit: dict[str | None, list[KnownLabel]] = {}
    for known in labels:
        by_unit.setdefault(known.unit_serial, []).append(known)
    found, left_out = [], Counter[str]()
    for row in connection.execute(query):
        candidates = by_unit.get(None, []) + (by_unit.get(row.unit_now, []) if row.unit_now else [])
        label = label_for(
            candidates,
            axis=row.axis_id,
            unit_serial=row.unit_now,
            channel=row.channel,
            started_at=row.started_at,
        )
        if label is None:
            continue
        target = target_of(label)
        if target is None:
            left_out[str(label.verdict)] += 1
        elif row.n_windows == 0:
            left_out[row.quality] += 1
        else:
            weight = settings.evidence_weights.get(str(label.evidence), 1.0)
            unit = row.unit_now or f"axis {row.axis_id}"
            found.append(
                _Labelled(
                    row.recording_id, row.lake_path, row.lake_row, row.n_windows, unit, row.regime, target, weight
                )
            )
    return found, left_out


def target_of(label: KnownLabel) -> str | None:
    """Give the class that a label trains: healthy, a mode, 'fault_unknown'; None where it trains nothing.

    A benign change is a healthy machine; sensor faults and 'unsure' say nothing about the machine.
    """
    if label.verdict in (Verdict.HEALTHY, Verdict.BENIGN_CHANGE):
        return HEALTHY
    if label.verdict is Verdict.FAULT:
        return str(label.mode) if label.mode is not None else UNKNOWN_FAULT
    return None


def _read_features(lake: Lake, labelled: list[_Labelled], names: tuple[str, ...]) -> list[npt.NDArray[np.float32]]:
    """Give the features of each recording's good windows, in the order asked for."""
    parts: list[npt.NDArray[np.float32]] = [np.empty((0, len(names)), np.float32)] * len(labelled)
    by_path: dict[str, list[int]] = {}
    for index, item in enumerate(labelled):
        by_path.setdefault(item.lake_path, []).append(index)
    for path, members in by_path.items():
        table = lake.table(path, columns=["quality", *names])
        good = pc.equal(table.column("quality"), "ok").to_numpy(zero_copy_only=False)
        values = np.column_stack([table.column(name).to_numpy() for name in names])
        for index in members:
            rows = slice(labelled[index].lake_row, labelled[index].lake_row + labelled[index].n_windows)
            parts[index] = np.ascontiguousarray(values[rows][good[rows]], dtype=np.float32)
    return parts
