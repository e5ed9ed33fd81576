"""Windows to train on or to judge: features, and all that is known about where each comes from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.health.baseline import MIN_VALUES, Reference, change, fit_reference, known_median
from features.kinematics import Orders
from features.settings import feature_names
from models.judging.metrics import entropy
from models.training.training_data import Supplement
from pipeline.base.log_schema import quantity_of
from pipeline.base.settings import TrainSettings
from pipeline.evaluation.selection import Selection
from pipeline.extraction.baselines import RELATIVE_GROUP, relative_names
from pipeline.extraction.in_force import feature_settings
from pipeline.importing.manifest import ManifestRow
from pipeline.training.supplement import Condition, make_supplement

_LEVEL = re.compile(r"(rms|peak|peak_to_peak)_log10|band_.*_log_power")


@dataclass(frozen=True, eq=False)
class Windows:
    """n windows. The first four describe the columns, all others have one value per window.

    Attributes
    ----------
    names, groups : tuple of str
        Name and group of each of the F features.
    feature_version : str
    rows : dict of int to ManifestRow
        The manifest's rows by number.
    x : float32 array, shape (n, F)
        NaN = missing.
    row : int64 array
        Number of the manifest row.
    recording, quality, scope, channel, program, regime : str arrays
        '' where a program or regime is not known.
    started_s : float64 array
        Start of the window, seconds since 1970 (made up where the archive has no times, but in order).
    sampling_rate_hz, shaft_hz : float64 array
        After decimation; NaN where the speed is not known or not steady.
    n_samples : int64 array
        Length of the window.
    orders : object array of Orders or None
    mode : str array
        Failure mode by the mapping's label table, '' where it says none.
    weight : float64 array
        Weight of the label's evidence.
    site_programs : frozenset of str
        Programs that the plant ran when it was taken into service; one value for all windows.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    feature_version: str
    rows: dict[int, ManifestRow]
    x: NDArray[np.float32]
    row: NDArray[np.int64]
    recording: NDArray[np.str_]
    quality: NDArray[np.str_]
    scope: NDArray[np.str_]
    channel: NDArray[np.str_]
    program: NDArray[np.str_]
    regime: NDArray[np.str_]
    started_s: NDArray[np.float64]
    sampling_rate_hz: NDArray[np.float64]
    shaft_hz: NDArray[np.float64]
    n_samples: NDArray[np.int64]
    orders: NDArray[np.object_]
    mode: NDArray[np.str_]
    weight: NDArray[np.float64]
    site_programs: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.x)

    def take(self, which: NDArray[Any]) -> Windows:
        """Return some windows, by index or by truth value."""
        return replace(self, **{name: getattr(self, name)[which] for name in PER_WINDOW})

    def of_rows(self, rows: Sequence[ManifestRow]) -> Windows:
        """Return the windows of some manifest rows."""
        return self.take(np.isin(self.row, [row.line for row in rows]))

    def cells(self, column: str) -> NDArray[np.str_]:
        """Return a manifest column's cell of each window."""
        return np.array([self.rows[number].cells[column] for number in self.row.tolist()], dtype=np.str_)


PER_WINDOW = tuple(item.name for item in fields(Windows))[4:-1]


def join(parts: Sequence[Windows]) -> Windows:
    """Put windows of the same features one after the other.

    Raises
    ------
    ValueError
        The features differ, or there is no part.
    """
    if not parts or len({(part.names, part.feature_version) for part in parts}) > 1:
        raise ValueError("Windows of different features cannot be put together.")
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in PER_WINDOW}
    rows = {number: row for part in parts for number, row in part.rows.items()}
    programs = frozenset[str]().union(*(part.site_programs for part in parts))
    return replace(parts[0], rows=rows, site_programs=programs, **columns)


def level_features(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of features that are absolute levels: they move when the signal is scaled.

    Levels are base-10 logarithms of an amplitude or power in the signal's unit. All other features are ratios, shapes,
    frequencies or signal-to-floor figures, and stay the same. So between scopes whose scale is not the same (one unit
    is not declared) a level says nothing, while its *change* against a baseline, a ratio, does.
    """
    return tuple(name for name in names if _LEVEL.fullmatch(name))


def without_levels(windows: Windows) -> Windows:
    """Return windows whose absolute levels are missing."""
    x = windows.x.copy()
    x[:, np.isin(windows.names, level_features(windows.names))] = np.nan
    return replace(windows, x=x)


def with_changes(
    windows: Windows, rig: NDArray[np.str_], baseline: Windows, baseline_rig: NDArray[np.str_]
) -> tuple[Windows, tuple[str, ...]]:
    """Add, to each feature, its change against the healthy reference of the window's own rig.

    Parameters
    ----------
    windows, baseline
        Windows of the same features.
    rig, baseline_rig
        Name of the rig of each window.

    Returns
    -------
    Windows
        With features named `relative_NAME` besides, as the product has them; missing where a rig has no reference.
    tuple of str
        What the reader should know: rigs with a thin baseline, or none.
    """
    changed = np.full(windows.x.shape, np.nan, dtype=np.float32)
    notes = []
    for name in np.unique(rig).tolist():
        own = baseline.x[(baseline_rig == name) & (baseline.quality == "ok")]
        if len(own) < MIN_VALUES:
            notes.append(f"rig {name!r}: its baseline has only {len(own)} windows")
        if len(own):
            changed[rig == name] = change(windows.x[rig == name], _reference(own))
    wider = replace(
        windows,
        names=windows.names + relative_names(windows.names),
        groups=windows.groups + (RELATIVE_GROUP,) * len(windows.groups),
        x=np.concatenate([windows.x, changed], axis=1),
    )
    return wider, tuple(notes)


def _reference(own: NDArray[np.float32]) -> Reference:
    """Reference of a rig; of very few windows the plain median, for a change asks for no spread."""
    if len(own) >= MIN_VALUES:
        return fit_reference(own)
    return Reference(known_median(own.astype(np.float64)), np.full(own.shape[1], np.nan))


def same_orders(n: int, orders: Orders | None) -> NDArray[np.object_]:
    """Return an object array (n,) that holds the same orders everywhere."""
    filled = np.empty(n, dtype=object)
    filled[:] = [orders] * n
    return filled


@dataclass(frozen=True, eq=False)
class EvaluationRows:
    """Windows to judge: their class (-1: unseen), physical unit, vote, and whether the unit was trained on too.

    `why_unseen` is there where the windows are a whole fleet: `class`, `program`, or '' for what training could know.
    """

    windows: Windows
    y: NDArray[np.int64]
    unit: NDArray[np.str_]
    votes: NDArray[np.str_] | None
    leaked: NDArray[np.bool_]
    why_unseen: NDArray[np.str_] | None = None


def doubt_of(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy (n,) of class probabilities (n, C), nats; infinite where there is no score."""
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(p).all(axis=1))
    doubt: NDArray[np.float64] = np.where(finite, entropy(np.where(finite[:, None], p, 1.0 / p.shape[1])), np.inf)
    return doubt


GAP: Final = 0.1
"""Share of a shared unit's windows, in its middle, that is on neither side."""


def cut_shared(train: Windows, test: Windows, selection: Selection, column: str) -> tuple[Windows, Windows]:
    """Cut in time the windows of rows that are on both sides: the earlier are trained on, the later judged.

    Parameters
    ----------
    train, test
        Windows of either side.
    selection
        The rows of both sides.
    column
        Manifest column that names the unit; each unit is cut by itself.

    Returns
    -------
    Windows, Windows
        Train and test, without the gap in the middle of each unit. Rows on one side alone stay whole.
    """
    both = {row.line for row in selection.train} & {row.line for row in selection.test}
    if not both:
        return train, test
    keep_train, keep_test = np.ones(len(train), dtype=np.bool_), np.ones(len(test), dtype=np.bool_)
    units = test.cells(column)
    for unit in np.unique(units):
        own = (units == unit) & np.isin(test.row, list(both))
        if not own.any():
            continue
        at = np.sort(test.started_s[own])
        low, high = np.quantile(at, [0.5 - GAP / 2, 0.5 + GAP / 2])
        keep_test[own] = test.started_s[own] > high
        mine = (train.cells(column) == unit) & np.isin(train.row, list(both))
        keep_train[mine] = train.started_s[mine] < low
    return train.take(keep_train), test.take(keep_test)


VIBRATION = "acceleration"


def made_faults(
    windows: Windows, unit: NDArray[np.str_], modes: Sequence[str], settings: TrainSettings
) -> Supplement | None:
    """Make the supplement for training windows; None where no window tells rate, speed and geometry.

    Backgrounds are all made: an evaluation keeps no raw signals, so what the product adds to measured healthy windows
    is left out. Absolute levels and changes are missing in made windows where they are in the measured ones.

    Parameters
    ----------
    windows
        Training windows, n of them.
    unit
        (n,) physical unit of each: where it is held out, so is what was made after it.
    modes
        Failure mode of each class ("healthy" for the healthy one), in the order of the class indices.
    settings
        Seed, number of windows and their weight.
    """
    features = feature_settings(settings, VIBRATION)
    names = list(feature_names(features))
    rms = windows.names.index("rms_log10") if "rms_log10" in windows.names else None
    conditions = _conditions(windows, unit, None if rms is None else windows.x[:, rms])
    made = make_supplement("", settings, features, conditions, modes)
    if made is None:
        return None
    x = np.full((len(made.y), len(windows.names)), np.nan, np.float32)
    for column, name in enumerate(windows.names):
        if name in names and np.isfinite(windows.x[:, column]).any():
            x[:, column] = made.x[:, names.index(name)]
    return replace(made, x=x)


def _conditions(windows: Windows, unit: NDArray[np.str_], level: NDArray[np.float32] | None) -> list[Condition]:
    conditions = []
    for i in range(len(windows)):
        rate, shaft = float(windows.sampling_rate_hz[i]), float(windows.shaft_hz[i])
        vibration = quantity_of(str(windows.scope[i])) == VIBRATION
        if not vibration or windows.orders[i] is None or not (np.isfinite(rate) and np.isfinite(shaft)):
            continue
        own = 0.0 if level is None or not np.isfinite(level[i]) else float(level[i])
        conditions.append(
            Condition(
                unit=str(unit[i]),
                healthy=False,
                sampling_rate_hz=rate,
                shaft_hz=abs(shaft),
                orders=windows.orders[i],
                n_samples=int(windows.n_samples[i]),
                level=10.0**own,
                sample_unit="",
                lake_path="",
                lake_row=0,
                baseline=None,
            )
        )
    return conditions
