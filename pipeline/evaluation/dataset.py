"""Read the recordings of chosen manifest rows and extract their features in memory, by the product's own functions.

The features are the same as after import, acquire and extract: same mapping, same cuts, same windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from features.quality.quality import Quality
from features.settings import FeatureSettings, feature_groups, feature_names, feature_version
from features.windows import steady_shaft_hz
from pipeline.base.ids import samples_hash
from pipeline.base.log_schema import scope_of
from pipeline.base.regime import regime_of
from pipeline.base.settings import ExtractionSettings, TrainSettings
from pipeline.evaluation.protocol import EvaluationRefused
from pipeline.evaluation.windows import Windows, join, same_orders
from pipeline.extraction.in_force import feature_settings
from pipeline.extraction.recording import Job, extract_recording
from pipeline.importing import (
    ImportPlan,
    ImportRefused,
    PlannedRow,
    load_mapping,
    plan_import,
    read_pieces,
    shipped_mappings,
)
from pipeline.importing.manifest import ManifestRow
from pipeline.importing.mapping import MappedGeometry
from pipeline.importing.problems import SignalUnreadable
from pipeline.labels.words import evidence_weight

INLINE_SAMPLES = 4_000_000
"""Below this number of samples one process is faster than several."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Windows of all rows that are used, and what was left out.

    Attributes
    ----------
    windows : Windows
        Those with a bad data-quality verdict are included.
    mappings : tuple of str
        Names of the mappings used.
    recordings : int
        Recordings cut from the rows; recordings too short for a window count too.
    left_out : dict of str to int
        Number of items left out, by reason.
    notes : tuple of str
        Sentences for the reader of the report.
    """

    windows: Windows
    mappings: tuple[str, ...]
    recordings: int
    left_out: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _ReadTask:
    planned: PlannedRow
    mapping: str
    geometry: MappedGeometry | None
    features: FeatureSettings
    weight: float
    regime: str


@dataclass(frozen=True, eq=False)
class _Read:
    windows: Windows | None
    recordings: int
    short: int


def load_dataset(
    manifest: Path,
    rows: Sequence[ManifestRow],
    settings: TrainSettings,
    *,
    root: Path | None = None,
    mappings: Sequence[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read and extract the recordings of some rows.

    Parameters
    ----------
    manifest : Path
        CSV file, for messages and as the default folder of the signals.
    rows : sequence of ManifestRow
        The rows to read; files of other rows are not opened.
    settings : Settings
        Window, regime and evidence settings.
    root : Path, optional
        Folder of the signal files; default: the manifest's.
    mappings : sequence of str
        Mapping files or names of shipped mappings; default: every shipped mapping of a
        manifest that selects one of the rows.
    on_progress : callable, optional
        Called with the rows done and the number of all rows.

    Raises
    ------
    EvaluationRefused
        Mappings and rows do not fit, or a signal cannot be read; the message lists every problem.
    """
    plans, orphans = _plans(manifest, rows, root, mappings)
    tasks = [
        _ReadTask(
            planned,
            plan.name,
            plan.geometries.get(planned.geometry or ""),
            feature_settings(settings, planned.fields["quantity"]),
            evidence_weight(settings.evidence_weights, planned.label.evidence) if planned.label else 1.0,
            _regime(planned, settings),
        )
        for plan in plans
        for planned in plan.rows
    ]
    _one_quantity(tasks)
    read = _read_all(tasks, settings.workers, on_progress)
    left_out = {"rows that no mapping selects": len(orphans), "pieces too short": sum(item.short for item in read)}
    notes = [f"{plan.name}: {note}" for plan in plans for note in plan.notes]
    if orphans:
        numbers = ", ".join(str(row.line) for row in orphans[:5])
        notes.append(f"no mapping selects {len(orphans)} rows of the protocol (row {numbers}...); they are left out")
    parts = [item.windows for item in read if item.windows is not None]
    if not parts:
        raise EvaluationRefused(
            f"manifest {manifest.name}", ["no recording of the chosen rows is long enough for a window"]
        )
    return Dataset(
        join(parts),
        tuple(plan.name for plan in plans),
        sum(item.recordings for item in read),
        {reason: count for reason, count in left_out.items() if count},
        tuple(notes),
    )


def _plans(
    manifest: Path, rows: Sequence[ManifestRow], root: Path | None, mappings: Sequence[str]
) -> tuple[list[ImportPlan], list[ManifestRow]]:
    """Plan the import of every row by the mapping that selects it; also return the rows that no mapping selects."""
    where, problems = f"manifest {manifest.name}", list[str]()
    by_row: dict[int, list[str]] = {row.line: [] for row in rows}
    plans: list[ImportPlan] = []
    for name in mappings or shipped_mappings():
        chosen: Path | str = name if name in shipped_mappings() else Path(name)
        try:
            mapping = load_mapping(chosen)
            if mapping.files is not None and not mappings:
                continue  # for a folder of files, not for a manifest
            own = [row.line for row in rows if row.matches(mapping.select)]
            for number in own:
                by_row[number].append(name)
            if own:
                plans.append(plan_import(manifest, chosen, root=root, only=frozenset(own)))
            elif mappings:
                problems.append(f"mapping {name}: selects none of the {len(rows)} rows that the protocol uses")
        except ImportRefused as refused:
            problems += refused.problems
    twice = sorted(number for number, names in by_row.items() if len(names) > 1)
    if twice:
        names = " and ".join(by_row[twice[0]])
        problems.append(
            f"row {twice[0]} and {len(twice) - 1} more are selected by several mappings ({names}); choose one by "
            "--mapping"
        )
    orphans = [row for row in rows if not by_row[row.line]]
    if len(orphans) == len(rows):
        problems.append("no mapping selects any row that the protocol uses; give one by --mapping (docs/mapping.md)")
    if problems:
        raise EvaluationRefused(where, problems)
    return plans, orphans


def _regime(planned: PlannedRow, settings: ExtractionSettings) -> str:
    fields = planned.fields
    return regime_of(
        fields["program"],
        fields["shaft_speed_rpm"],
        fields["load"],
        speed_bin_rpm=settings.regime_speed_bin_rpm,
        load_bin=settings.regime_load_bin,
    )


def _one_quantity(tasks: Sequence[_ReadTask]) -> None:
    quantities = sorted({task.planned.fields["quantity"] for task in tasks})
    if len(quantities) > 1:
        text = f"the rows are of several quantities ({', '.join(quantities)}); evaluate one at a time"
        raise EvaluationRefused("manifest", [text])


def _read_all(tasks: Sequence[_ReadTask], workers: int, on_progress: Callable[[int, int], None] | None) -> list[_Read]:
    size = sum(task.planned.n_source for task in tasks)
    jobs = workers if size > INLINE_SAMPLES and len(tasks) > 1 else 1
    read: list[_Read] = []
    problems = []
    with joblib.Parallel(n_jobs=jobs, backend="loky", return_as="generator") as pool:
        for result in pool(joblib.delayed(_read)(task) for task in tasks):
            if isinstance(result, str):
                problems.append(result)
            else:
                read.append(result)
            if on_progress:
                on_progress(len(read) + len(problems), len(tasks))
    if problems:
        raise EvaluationRefused("manifest", problems)
    return read


def _read(task: _ReadTask) -> _Read | str:
    """Read one manifest row and extract its recordings; a text is what is wrong with its signal. Runs in a worker."""
    planned = task.planned
    try:
        cuts = read_pieces(planned)
    except SignalUnreadable as error:
        return f"row {planned.row.line}: {error}"
    parts = []
    for number, piece in enumerate(cuts.pieces):
        job = _job(task, f"{task.mapping}:{planned.row.line}:{planned.fields['channel']}:{number}")
        done = extract_recording(job, piece.samples, task.features)
        n = len(done.starts)
        text = {
            "recording": job.recording_id,
            "scope": scope_of(job.quantity, job.unit),
            "channel": planned.fields["channel"],
            "program": planned.fields["program"] or "",
            "regime": task.regime,
            "mode": str(planned.label.mode or "") if planned.label else "",
            "samples_hash": samples_hash(piece.samples),
        }
        verdicts = np.array([str(verdict) for verdict in done.quality], dtype=np.str_)
        speed = done.measured_speed_rpm or job.shaft_speed_rpm
        shaft_hz = steady_shaft_hz(speed, speed_is_steady=job.speed_is_steady)
        parts.append(
            _windows(
                task,
                x=done.values,
                row=np.full(n, planned.row.line, dtype=np.int64),
                quality=np.where(np.isinf(done.values).any(axis=1), Quality.NON_FINITE.value, verdicts),
                started_s=piece.started_at.timestamp() + done.starts / job.sampling_rate_hz,
                sampling_rate_hz=np.full(n, job.sampling_rate_hz),
                shaft_hz=np.full(n, np.nan if shaft_hz is None else shaft_hz),
                n_samples=done.lengths,
                orders=same_orders(n, job.orders),
                weight=np.full(n, task.weight),
                **{name: np.full(n, value) for name, value in text.items()},
            )
        )
    return _Read(join(parts) if parts else None, len(cuts.pieces), cuts.short)


def _windows(task: _ReadTask, **columns: Any) -> Windows:
    return Windows(
        names=feature_names(task.features),
        groups=tuple(group for group, names in feature_groups(task.features).items() for _ in names),
        feature_version=feature_version(task.features),
        rows={task.planned.row.line: task.planned.row},
        **columns,
    )


def _job(task: _ReadTask, recording_id: str) -> Job:
    fields, geometry = task.planned.fields, task.geometry
    return Job(
        recording_id=recording_id,
        lake_path="",
        lake_row=0,
        quantity=fields["quantity"],
        unit=fields["unit"],
        sampling_rate_hz=fields["sampling_rate_hz"],
        rate_is_declared=fields["rate_basis"] == "declared",
        shaft_speed_rpm=fields["shaft_speed_rpm"],
        speed_is_steady=bool(fields["speed_is_steady"]),
        orders=None if geometry is None else geometry.orders,
    )
