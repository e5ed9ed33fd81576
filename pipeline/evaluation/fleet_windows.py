"""Simulated fleets for an evaluation: processed by the product's own steps, and read as windows with their features.

Every fleet has its own folder, database and lake. It is simulated, acquired, extracted and given baselines once; a
later evaluation in the same folder uses the result again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection, Row

from features.kinematics import Orders
from features.settings import feature_groups, feature_names
from features.windows import steady_shaft_hz
from models.kinds import HEALTHY
from pipeline.assets import import_assets, known_orders
from pipeline.base.regime import program_of
from pipeline.base.settings import ExtractionSettings, Settings
from pipeline.evaluation.classification import EvaluationTask
from pipeline.evaluation.fleet_truth import RecordingTruth, read_recording_truth
from pipeline.evaluation.methods import Training, mode_of_word
from pipeline.evaluation.protocol import EvaluationRefused, SimulatedProtocol
from pipeline.evaluation.windows import OK, EvaluationRows, Windows, join
from pipeline.extraction.baselines import RELATIVE_GROUP, Baselines, relative_names, site_programs
from pipeline.extraction.in_force import feature_settings, feature_version_of, feature_versions
from pipeline.extraction.reading import read_chunk
from pipeline.labels.labels import import_labels
from pipeline.simulation import FleetSettings, simulate
from pipeline.steps import MONITOR
from pipeline.store.attribution import attributed_extraction, extractions
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Baseline, Extraction, Recording
from pipeline.training.training_set import TrainingSet, build_training_set
from pipeline.workplace import Workplace

SCOPE = "acceleration"
"""The only scope of a simulated fleet."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Fleet:
    """A simulated fleet, processed up to its baselines.

    Attributes
    ----------
    folder : Path
        Where the simulation wrote it.
    end : datetime
        End of its last day (UTC), when everything about it is known.
    settings : Settings
        With the fleet's own folder, database and lake.
    """

    folder: Path
    end: datetime
    settings: Settings
    store: Store
    lake: Lake


def take_in(root: Path, fleet: FleetSettings, settings: Settings, on_progress: Progress | None = None) -> Fleet:
    """Simulate a fleet below `root` and process it: assets, findings, recordings, features, baselines."""
    name = f"{fleet.world}{fleet.seed}-{fleet.robots}x{fleet.axes}-{fleet.days}d-{fleet.recordings_per_day}"
    folder = root / f"{name}-{fleet.samples}"
    own = settings.model_copy(update={"home": folder, "database_url": "", "lake_url": "", "landing": Path()})
    end = fleet.start + timedelta(days=fleet.days)

    def progress_of(step: str) -> Callable[[int, int], None] | None:
        return None if on_progress is None else lambda done, total: on_progress(f"{name}: {step}", done, total)

    simulate(folder, fleet, workers=settings.workers, on_progress=progress_of("simulate"))
    store, lake = Store.open(own.database), Lake(own.lake)
    import_assets(store, folder / "assets.toml", as_of=fleet.start)
    import_labels(store, folder / "labels.csv", who="simulation")
    place = Workplace(own, store, lake)
    for step in MONITOR[:3]:
        step.run(place, end, progress_of(step.name))
    return Fleet(folder, end, own, store, lake)


@dataclass(frozen=True, eq=False)
class WindowTruth:
    """Unit and truth of each of n windows.

    Attributes
    ----------
    unit : str array, shape (n,)
    truth : tuple of RecordingTruth
    in_baseline : bool array, shape (n,)
        The window is from the unit's baseline period, so it must not be judged against that baseline.
    """

    unit: NDArray[np.str_]
    truth: tuple[RecordingTruth, ...]
    in_baseline: NDArray[np.bool_]


def judged_fleet(fleet: Fleet) -> tuple[Windows, WindowTruth]:
    """Read every window of a fleet with the features, changes and verdicts that `score` would use, and its truth."""
    truth = read_recording_truth(fleet.folder)
    with fleet.store.read() as connection:
        rows = _recordings(connection, fleet.settings)
        known = Baselines(connection, fleet.end)
        baselines = {row.recording_id: known.of(row) for row in rows}
        orders = known_orders(connection)
        periods = _baseline_periods(connection)
        programs = site_programs(connection, as_of=fleet.end)
    absolute = feature_names(feature_settings(fleet.settings, SCOPE))
    chunk = read_chunk(fleet.lake, rows, absolute + relative_names(absolute), baselines)
    of = chunk.windows["row"]
    windows = replace(
        _windows(fleet, of, chunk.x, orders),
        quality=np.array(chunk.windows["quality"], dtype=np.str_),
        n_samples=np.array(chunk.windows["n_window_samples"], dtype=np.int64),
        site_programs=frozenset[str]().union(*programs.values()),
    )
    window_truth = WindowTruth(
        unit=np.array([str(row.unit_serial) for row in of], dtype=np.str_),
        truth=tuple(truth[row.recording_id] for row in of),
        in_baseline=np.array([_within(row.started_at, periods.get(_place(row), ())) for row in of], dtype=np.bool_),
    )
    return windows, window_truth


def training_fleet(fleet: Fleet) -> tuple[Windows, TrainingSet]:
    """Build the training set of a fleet from its findings, as `train` does at the fleet's end.

    Returns
    -------
    Windows, TrainingSet
        In the same order.
    """
    with fleet.store.read() as connection:
        training_set = build_training_set(connection, fleet.lake, fleet.settings, SCOPE, as_of=fleet.end)
        by_id = {row.recording_id: row for row in _recordings(connection, fleet.settings)}
        orders = known_orders(connection)
    windows = _windows(fleet, [by_id[name] for name in training_set.recording.tolist()], training_set.x, orders)
    return replace(windows, weight=training_set.weight), training_set


def _recordings(connection: Connection, settings: ExtractionSettings) -> list[Row[Any]]:
    """Return every recording that has features, in order of time, with the fields of its log."""
    context = (Recording.sampling_rate_hz, Recording.shaft_speed_rpm, Recording.speed_is_steady, Recording.n_samples)
    query = extractions(
        *attributed_extraction(), *context, scope=SCOPE, feature_version=feature_version_of(settings, SCOPE)
    ).order_by(Extraction.started_at, Extraction.recording_id)
    return list(connection.execute(query))


def _baseline_periods(connection: Connection) -> dict[tuple[str, str], list[tuple[datetime, datetime]]]:
    query = sa.select(Baseline.axis_id, Baseline.unit_serial, Baseline.from_at, Baseline.to_at).distinct()
    periods: dict[tuple[str, str], list[tuple[datetime, datetime]]] = {}
    for row in connection.execute(query):
        periods.setdefault((row.axis_id, str(row.unit_serial)), []).append((row.from_at, row.to_at))
    return periods


def _place(row: Row[Any]) -> tuple[str, str]:
    return row.axis_id, str(row.unit_serial)


def _within(moment: datetime, periods: Iterable[tuple[datetime, datetime]]) -> bool:
    return any(start <= moment < end for start, end in periods)


def _windows(fleet: Fleet, of: Sequence[Row[Any]], x: NDArray[np.float32], geometries: Mapping[str, Orders]) -> Windows:
    """Build windows; `of` has the recording of each."""
    features = feature_settings(fleet.settings, SCOPE)
    names = feature_names(features)
    groups = tuple(group for group, members in feature_groups(features).items() for _ in members)
    orders = np.empty(len(of), dtype=object)
    orders[:] = [geometries.get(row.geometry_version) for row in of]
    shaft = [steady_shaft_hz(row.shaft_speed_rpm, speed_is_steady=bool(row.speed_is_steady)) for row in of]

    def text(values: Iterable[str]) -> NDArray[np.str_]:
        return np.array(list(values), dtype=np.str_)

    return Windows(
        names=names + relative_names(names),
        groups=groups + (RELATIVE_GROUP,) * len(groups),
        feature_version=feature_versions(fleet.settings)[SCOPE],
        rows={},
        x=x,
        row=np.zeros(len(of), dtype=np.int64),
        recording=text(row.recording_id for row in of),
        quality=text("ok" for _ in of),
        scope=text(row.scope for row in of),
        channel=text(row.channel for row in of),
        program=text(program_of(row.regime) or "" for row in of),
        regime=text(row.regime for row in of),
        started_s=np.array([row.started_at.timestamp() for row in of]),
        sampling_rate_hz=np.array([row.sampling_rate_hz for row in of]),
        shaft_hz=np.array([np.nan if value is None else value for value in shaft]),
        n_samples=np.array([row.n_samples for row in of], dtype=np.int64),
        orders=orders,
        mode=text("" for _ in of),
        weight=np.ones(len(of)),
        samples_hash=text(row.recording_id for row in of),
    )


UNSEEN_CLASS, UNSEEN_PROGRAM = "class", "program"
"""Why a window is unseen."""

BASELINE = "windows of the judged units' baseline periods"
BAD = "windows of a sensor fault that has its data-quality verdict"
TOO_SMALL = "windows with a fault below the visible level"
NO_MODE = "training windows of a fault whose finding names no mode"


@dataclass(frozen=True, eq=False)
class Prepared:
    """Training data and windows to judge, and the recordings they are from."""

    task: EvaluationTask
    recordings: int


def prepare_fleets(
    protocol: SimulatedProtocol, settings: Settings, root: Path, on_progress: Progress | None = None
) -> Prepared:
    """Simulate both sides below `root` and build the training data and the windows to judge.

    Training uses what a plant would know: the findings about its fleet. The truth is read only of the fleets that are
    judged. Three kinds of windows are not judged: those of the unit's own baseline period, those with a bad
    data-quality verdict that is right (the sensor has a fault), and those with a fault that the truth calls not
    visible. A bad verdict on a sound sensor is judged, as a blocked window.

    Raises
    ------
    EvaluationRefused
        The findings about [train] name no healthy unit, or a class that is judged is missing from them.
    """
    where = f"protocol {protocol.name}"
    training, no_mode = _training(take_in(root, protocol.train.fleets()[0], settings, on_progress), protocol, settings)
    parts = [judged_fleet(take_in(root, fleet, settings, on_progress)) for fleet in protocol.test.fleets()]
    windows = join([part for part, _ in parts])
    truth = [item for _, window_truth in parts for item in window_truth.truth]
    left_out = Counter({NO_MODE: no_mode})
    keep = kept_windows(windows, [window_truth for _, window_truth in parts], truth, left_out)
    kept = np.flatnonzero(keep)
    truth = [truth[index] for index in kept.tolist()]
    lost = {item.mode for item in truth if item.mode and not item.unseen_class} - set(training.classes)
    problems = [f"the findings about [train] name no {name}; make its fleet larger" for name in sorted(lost)]
    others = [
        _training(take_in(root, fleet, settings, on_progress), protocol, settings)[0]
        for fleet in protocol.other_fleets()
    ]
    if any(HEALTHY not in one.classes for one in (training, *others)):
        problems.append("no finding about [train] is healthy; make its fleet larger")
    if problems:
        raise EvaluationRefused(where, problems)
    unit = np.concatenate([window_truth.unit for _, window_truth in parts])[kept]
    return Prepared(
        EvaluationTask(
            training,
            _judged(windows.take(kept), truth, unit, training.classes),
            (),
            {reason: count for reason, count in left_out.items() if count},
            tuple(others),
        ),
        int(np.unique(windows.recording).size),
    )


def _training(fleet: Fleet, protocol: SimulatedProtocol, settings: Settings) -> tuple[Training, int]:
    """Return the training data of a fleet, and how many windows of it have a finding that names no mode."""
    windows, training_set = training_fleet(fleet)
    named = training_set.y >= 0
    training = Training(
        windows.take(named),
        training_set.y[named],
        training_set.unit[named],
        training_set.classes,
        {name: mode for name in training_set.classes if name != HEALTHY and (mode := mode_of_word(name)) is not None},
        protocol.fault_prior,
        settings,
        settings.seed,
        training_set.supplement,
    )
    return training, int((~named).sum())


def kept_windows(
    windows: Windows, window_truths: Sequence[WindowTruth], truth: Sequence[RecordingTruth], left_out: Counter[str]
) -> NDArray[np.bool_]:
    """Return which windows are judged; count the others in `left_out`, each by the first reason that applies."""
    reasons = (
        (BASELINE, np.concatenate([item.in_baseline for item in window_truths])),
        (BAD, (windows.quality != OK) & np.array([bool(item.sensor_fault) for item in truth], dtype=np.bool_)),
        (TOO_SMALL, np.array([bool(item.mode) and not item.visible for item in truth], dtype=np.bool_)),
    )
    keep = np.ones(len(windows), dtype=np.bool_)
    for reason, out in reasons:
        left_out[reason] += int((keep & out).sum())
        keep &= ~out
    return keep


def _judged(
    windows: Windows, truth: Sequence[RecordingTruth], unit: NDArray[np.str_], classes: tuple[str, ...]
) -> EvaluationRows:
    index = {name: number for number, name in enumerate(classes)}
    unseen = [UNSEEN_CLASS if t.unseen_class else UNSEEN_PROGRAM if t.unseen_program else "" for t in truth]
    y = [-1 if why else index[t.mode or HEALTHY] for why, t in zip(unseen, truth, strict=True)]
    return EvaluationRows(
        windows,
        np.array(y, dtype=np.int64),
        unit,
        windows.recording,
        np.zeros(len(windows), dtype=np.bool_),
        windows.quality != OK,
        np.array(unseen, dtype=np.str_),
    )
