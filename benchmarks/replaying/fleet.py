"""A simulated plant for the replay, processed once by the product's own steps and kept as arrays.

World A runs from the first day. Axes of world B, with new bearings, programs and noise, come into service half-way.
Windows of a unit's own baseline period have no changes, because the baseline did not exist yet.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from features.synthetic_faults import can_make
from pipeline.assets import known_orders
from pipeline.base.settings import Settings
from pipeline.evaluation.fleet_windows import SCOPE, Fleet, judged_fleet, take_in
from pipeline.extraction.baselines import RELATIVE, Baselines
from pipeline.extraction.in_force import feature_settings
from pipeline.simulation import FleetSettings
from pipeline.simulation.settings import KNOWN_MODES, UNSEEN_MODE
from pipeline.store.attribution import attributed_extraction, extractions
from pipeline.store.tables import Recording
from pipeline.training.supplement import Condition, WindowToMake, make_windows
from pipeline.training.training_set import CONTEXT

START = datetime(2026, 1, 5, tzinfo=UTC)
MODES = (*KNOWN_MODES, UNSEEN_MODE)
MADE_A_UNIT = 6
"""Number of simulated windows for each unit, class and kind of background."""


@dataclass(frozen=True, eq=False)
class Plant:
    """A plant as arrays: n windows of r recordings, in order of time.

    Attributes
    ----------
    x : float32 (n, F)
        Features and changes, NaN = missing.
    of : int64 (n,)
        Index of the recording of each window.
    ok : bool (n,)
        Whether the data-quality verdict is good.
    day : float64 (r,)
        Start of each recording, days since the first day of the plant, ascending.
    axis, unit, regime, program, world : str (r,)
        Of each recording.
    mode : str (r,)
        True fault, "" if healthy. Only `replaying.loop.answer` and the final count may read it.
    visible : bool (r,)
        Whether the true fault is severe enough to be seen.
    sensor : bool (r,)
        Whether the sensor truly has a fault.
    made_x, made_class, made_unit, made_measured
        Simulated windows in the conditions of a unit, (m, F), (m,); measured: on that unit's own background.
    names, groups : str (F,)
        Name and group of each feature.
    """

    x: npt.NDArray[np.float32]
    of: npt.NDArray[np.int64]
    ok: npt.NDArray[np.bool_]
    day: npt.NDArray[np.float64]
    axis: npt.NDArray[np.str_]
    unit: npt.NDArray[np.str_]
    regime: npt.NDArray[np.str_]
    program: npt.NDArray[np.str_]
    world: npt.NDArray[np.str_]
    mode: npt.NDArray[np.str_]
    visible: npt.NDArray[np.bool_]
    sensor: npt.NDArray[np.bool_]
    made_x: npt.NDArray[np.float32]
    made_class: npt.NDArray[np.str_]
    made_unit: npt.NDArray[np.str_]
    made_measured: npt.NDArray[np.bool_]
    names: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]


def plant_settings() -> Settings:
    """Return settings for a plant that records rarely; other values are defaults, the environment is not read."""
    return Settings(baseline_days=7.0, regime_speed_bin_rpm=500.0, workers=1)


def load_plant(folder: Path, seed: int, *, robots: int, days: int, per_day: int, samples: int) -> Plant:
    """Simulate and process a plant and store its arrays, or read them from an earlier call; logs and lake are deleted.

    Parameters
    ----------
    folder, seed
        Where plants are kept; seed of the simulation.
    robots, days, per_day, samples
        Size: robots of each world, days, recordings of an axis a day, samples of a recording.
    """
    file = folder / f"plant-{seed}-{robots}-{days}-{per_day}-{samples}.npz"
    if not file.exists():
        work = folder / f"work-{seed}"
        settings = plant_settings()
        parts = []
        for world, first in (("A", 0), ("B", days // 2)):
            fleet = FleetSettings(
                robots=robots,
                days=days - first,
                recordings_per_day=per_day,
                samples=samples,
                seed=seed,
                world=world,
                start=START + timedelta(days=first),
                fault_share=0.5,
            )
            parts.append(_part(take_in(work, fleet, settings), world))
        plant = _joined(parts)
        partial = file.with_suffix(".part.npz")
        np.savez(partial, **{field.name: getattr(plant, field.name) for field in fields(Plant)})
        partial.rename(file)
        shutil.rmtree(work)
    with np.load(file, allow_pickle=False) as kept:
        return Plant(**{field.name: kept[field.name] for field in fields(Plant)})


def _part(fleet: Fleet, world: str) -> dict[str, Any]:
    windows, rows_truth = judged_fleet(fleet)
    x = windows.x.copy()
    changes = np.array([name.startswith(RELATIVE) for name in windows.names])
    x[np.ix_(rows_truth.in_baseline, changes)] = np.nan
    names, first, of = np.unique(windows.recording, return_index=True, return_inverse=True)
    with fleet.store.read() as connection:
        axis = {row[0]: row[1] for row in connection.execute(sa.select(Recording.recording_id, Recording.axis_id))}
    truth = [rows_truth.truth[index] for index in first.tolist()]
    made = _made(fleet, windows, rows_truth.unit, rows_truth.truth)
    return {
        "x": x,
        "of": of,
        "ok": windows.quality == "ok",
        "day": (windows.started_s[first] - START.timestamp()) / 86_400.0,
        "axis": np.array([f"{world} {axis[name]}" for name in names.tolist()]),
        "unit": rows_truth.unit[first],
        "regime": windows.regime[first],
        "program": windows.program[first],
        "world": np.full(len(names), world),
        "mode": np.array([item.mode for item in truth], dtype=np.str_),
        "visible": np.array([item.visible for item in truth]),
        "sensor": np.array([item.sensor_fault != "" for item in truth]),
        "names": np.array(windows.names),
        "groups": np.array(windows.groups),
        **made,
    }


def _made(fleet: Fleet, windows: Any, unit: npt.NDArray[np.str_], truth: Any) -> dict[str, Any]:
    """Simulate windows for every unit after its recordings of days 7 to 14, which are before any label about it."""
    started = windows.started_s
    wanted: list[WindowToMake] = []
    made_as: list[tuple[str, str, bool]] = []
    with fleet.store.read() as connection:
        orders = known_orders(connection)
        rows = {row.recording_id: row for row in connection.execute(_rows())}
        known = Baselines(connection, fleet.end)
        baselines = {name: known.of(row) for name, row in rows.items()}
    rms = windows.names.index("rms_log10")
    for number, name in enumerate(np.unique(unit).tolist()):
        own = np.flatnonzero(unit == name)
        early = own[(started[own] < started[own].min() + 14 * 86_400.0) & (windows.quality[own] == "ok")]
        early = early[-len(early) // 2 :]
        if not early.size:
            continue
        sound = not any(truth[index].mode for index in early.tolist())
        for place, mode in enumerate((None, *MODES)):
            for measured in (False, True) if sound and mode is not None else (False,):
                for index in range(MADE_A_UNIT):
                    stream = (number, place * 2 + measured, index)
                    rng = np.random.default_rng((*stream, 0))
                    window = int(early[int(rng.integers(len(early)))])
                    row = rows[str(windows.recording[window])]
                    geometry = orders.get(row.geometry_version)
                    if geometry is None or not np.isfinite(windows.shaft_hz[window]):
                        continue
                    if not can_make(mode or MODES[0], geometry):
                        continue
                    condition = Condition(
                        unit=name,
                        healthy=sound,
                        sampling_rate_hz=float(windows.sampling_rate_hz[window]),
                        shaft_hz=float(windows.shaft_hz[window]),
                        orders=geometry,
                        n_samples=int(row.n_samples),
                        level=10.0 ** float(windows.x[window, rms]),
                        sample_unit=row.unit,
                        lake_path=row.raw_path,
                        lake_row=row.raw_row,
                        baseline=baselines[row.recording_id],
                    )
                    wanted.append(WindowToMake(mode, condition, measured, stream))
                    made_as.append((name, mode or "healthy", measured))
    made = make_windows(fleet.lake.root, wanted, feature_settings(fleet.settings, SCOPE))
    good = np.isfinite(made).any(axis=1) & ~np.isinf(made).any(axis=1)
    return {
        "made_x": made[good],
        "made_unit": np.array([item[0] for item in made_as])[good],
        "made_class": np.array([item[1] for item in made_as])[good],
        "made_measured": np.array([item[2] for item in made_as])[good],
    }


def _rows() -> Any:
    return extractions(*attributed_extraction(), *CONTEXT, any_geometry=True)


def _joined(parts: list[dict[str, Any]]) -> Plant:
    """Join the parts in order of time."""
    sizes = [len(part["day"]) for part in parts]
    day = np.concatenate([part["day"] for part in parts])
    order = np.argsort(day, kind="stable")
    rank = np.argsort(order, kind="stable")
    of = np.concatenate([rank[part["of"] + sum(sizes[:index])] for index, part in enumerate(parts)])
    by_window = np.argsort(of, kind="stable")
    joined: dict[str, Any] = {}
    for name in parts[0]:
        if name in ("names", "groups"):
            joined[name] = parts[0][name]
        elif name == "of":
            joined[name] = of[by_window]
        else:
            whole = np.concatenate([part[name] for part in parts])
            joined[name] = whole if name.startswith("made_") else whole[by_window if name in ("x", "ok") else order]
    return Plant(**joined)


def side_by_side(plants: list[Plant]) -> Plant:
    """Join plants as halls of one plant, in order of time; the hall's number is added to the names of axes."""
    parts = []
    for hall, plant in enumerate(plants):
        part = {field.name: getattr(plant, field.name) for field in fields(Plant)}
        part["axis"] = np.char.add(f"hall {hall} ", plant.axis)
        parts.append(part)
    return _joined(parts)
