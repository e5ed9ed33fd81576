"""The supplement of a training set: windows with faults that are made from physics, in the conditions of the plant.

A few labelled units cannot show a network what all bearings have in common; `features.synthetic_faults` can. Sampling
rate, speed, geometry and window length are those of labelled recordings. Half of the faults are added to measured
windows with a healthy label, so their level, their spectrum and their change against the unit's baseline are real. The
other half, and the made healthy windows, have a made background. No model is judged on these windows: see
`models.training.training_data.Supplement`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import joblib
import numpy as np
import numpy.typing as npt

from features.extract import RecordingWindows, extract_together
from features.kinematics import Orders
from features.settings import FeatureSettings, feature_names
from features.synthetic_faults import MODES, can_make, synthesise
from features.windows import WindowPlan, cut, plan_windows
from models.kinds import HEALTHY
from models.training.training_data import Supplement
from pipeline.base.quantities import in_own_unit
from pipeline.base.settings import TrainSettings
from pipeline.extraction.baselines import UnitBaseline, with_change
from pipeline.store.lake import Lake

Place = tuple[str, int]
"""Where a recording is in the lake: file and row."""

MEASURED_SHARE = 0.5
"""Share of the made faults that get a measured healthy window as background, where there is one."""

SAMPLES_AT_ONCE = 4_194_304
"""Samples that are made before they are extracted, together."""

LEVEL_SPREAD = 0.3
"""A made window has the level of a labelled one with noise: standard deviation of its natural logarithm."""


@dataclass(frozen=True)
class Condition:
    """How a labelled recording was measured: the values that a made window takes from it.

    `level` is the RMS of its windows in the unit of the features. `healthy` is true if it can be a background.
    """

    unit: str
    healthy: bool
    sampling_rate_hz: float
    shaft_hz: float
    orders: Orders
    n_samples: int
    level: float
    sample_unit: str
    lake_path: str
    lake_row: int
    baseline: UnitBaseline | None


@dataclass(frozen=True)
class WindowToMake:
    """One window to make."""

    mode: str | None
    condition: Condition
    measured: bool
    stream: tuple[int, int, int]


def make_supplement(
    lake_url: str,
    settings: TrainSettings,
    features: FeatureSettings,
    conditions: Sequence[Condition],
    classes: Sequence[str],
) -> Supplement | None:
    """Make `synthetic_windows` windows for each class that physics can make; None where there is no such class.

    The same arguments give the same windows: each window has its own random stream.
    """
    usable = [item for item in conditions if any(can_make(mode, item.orders) for mode in MODES)]
    modes = [mode for mode in MODES if mode in classes and any(can_make(mode, item.orders) for item in usable)]
    if not usable or not modes or not settings.synthetic_windows:
        return None
    to_make = _choose(settings, usable, [*modes, *([None] if HEALTHY in classes else [])])
    share = math.ceil(len(to_make) / settings.workers)
    parts = [to_make[first : first + share] for first in range(0, len(to_make), share)]
    jobs = (joblib.delayed(make_windows)(lake_url, part, features) for part in parts)
    made = np.concatenate(joblib.Parallel(n_jobs=settings.workers, backend="loky")(jobs))
    index_of = {name: index for index, name in enumerate(classes)}
    y = np.array([index_of[item.mode or HEALTHY] for item in to_make], dtype=np.int64)
    source = np.array([item.condition.unit for item in to_make], dtype=np.str_)
    good = np.isfinite(made).any(axis=1) & ~np.isinf(made).any(axis=1)
    return Supplement(made[good], y[good], settings.synthetic_units, source[good]) if good.any() else None


def _choose(settings: TrainSettings, usable: Sequence[Condition], modes: Sequence[str | None]) -> list[WindowToMake]:
    """Draw a unit, then one of its recordings, for each window."""
    to_make = []
    for number, mode in enumerate(modes):
        by_unit: dict[str, list[Condition]] = {}
        for item in usable:
            if mode is None or can_make(mode, item.orders):
                by_unit.setdefault(item.unit, []).append(item)
        sound = {unit: own for unit, items in by_unit.items() if (own := [item for item in items if item.healthy])}
        for index in range(settings.synthetic_windows):
            stream = (settings.seed, number, index)
            rng = np.random.default_rng((*stream, 0))
            measured = mode is not None and bool(sound) and rng.uniform() < MEASURED_SHARE
            units = sound if measured else by_unit
            items = units[sorted(units)[int(rng.integers(len(units)))]]
            to_make.append(WindowToMake(mode, items[int(rng.integers(len(items)))], measured, stream))
    return to_make


def make_windows(lake_url: str, to_make: Sequence[WindowToMake], features: FeatureSettings) -> npt.NDArray[np.float32]:
    """Make windows and return their features and changes, (n, 2 F). Runs in a worker process."""
    measured = _read_measured(Lake(lake_url), to_make) if any(item.measured for item in to_make) else {}
    result = np.full((len(to_make), 2 * len(feature_names(features))), np.nan, np.float32)
    waiting: dict[int, RecordingWindows] = {}
    for index, item in enumerate(to_make):
        made = _make(item, measured, features)
        if made is not None:
            waiting[index] = made
        if index + 1 == len(to_make) or sum(own.windows.size for own in waiting.values()) >= SAMPLES_AT_ONCE:
            for place, done in zip(waiting, extract_together(list(waiting.values()), features), strict=True):
                baseline = to_make[place].condition.baseline if to_make[place].measured else None
                result[place] = with_change(done.values, baseline)
            waiting = {}
    return result


def _read_measured(lake: Lake, to_make: Sequence[WindowToMake]) -> dict[Place, npt.NDArray[np.float32]]:
    """Read the recordings that backgrounds are cut from, as logged; each file is read once."""
    by_path: dict[str, set[int]] = {}
    for item in to_make:
        if item.measured:
            by_path.setdefault(item.condition.lake_path, set()).add(item.condition.lake_row)
    return {
        (path, row): values["samples"].values.to_numpy(zero_copy_only=False)
        for path, rows in sorted(by_path.items())
        for row, values in lake.rows(path, rows, columns=["samples"])
    }


def _make(
    item: WindowToMake, measured: Mapping[Place, npt.NDArray[np.float32]], features: FeatureSettings
) -> RecordingWindows | None:
    """Make one window; None where its recording has none."""
    condition = item.condition
    rng = np.random.default_rng((*item.stream, 1))
    plan = plan_windows(
        condition.n_samples,
        sampling_rate_hz=condition.sampling_rate_hz,
        shaft_speed_rpm=60.0 * condition.shaft_hz,
        speed_is_steady=True,
        settings=features.windows,
    )
    if not len(plan.starts):
        return None
    background = _background(measured, condition, plan, rng) if item.measured else None
    window = synthesise(
        rng,
        item.mode,
        length=plan.length,
        sampling_rate_hz=condition.sampling_rate_hz,
        shaft_hz=condition.shaft_hz,
        orders=condition.orders,
        background=background,
    )
    if background is None:
        size = math.sqrt(float(np.mean(window * window)))
        window *= condition.level * math.exp(LEVEL_SPREAD * rng.standard_normal()) / size
    return RecordingWindows(
        windows=window.astype(np.float32)[None],
        sampling_rate_hz=condition.sampling_rate_hz,
        rate_is_declared=True,
        shaft_speed_rpm=60.0 * condition.shaft_hz,
        speed_is_steady=True,
        orders=condition.orders,
    )


def _background(
    measured: Mapping[Place, npt.NDArray[np.float32]], condition: Condition, plan: WindowPlan, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Cut one window of a healthy recording, in the unit of the features."""
    windows = cut(measured[condition.lake_path, condition.lake_row], plan)
    window: npt.NDArray[np.float32] = windows[int(rng.integers(len(windows)))].astype(np.float32)
    return in_own_unit(window, "acceleration", condition.sample_unit)
