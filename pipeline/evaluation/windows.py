"""Windows to train on or to judge: features, and where each window comes from."""

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

OK: Final = "ok"
"""The data-quality verdict of a good window."""

_LEVEL = re.compile(r"(rms|peak|peak_to_peak)_log10|band_.*_log_power")


@dataclass(frozen=True, eq=False)
class Windows:
    """n windows. The first four attributes describe the columns; all others but the last have one value per window.

    Attributes
    ----------
    names, groups : tuple of str
        Name and group of each of the F features.
    feature_version : str
        Version of the features, see `features.settings.feature_version`.
    rows : dict of int to ManifestRow
        The manifest's rows by number.
    x : float32 array, shape (n, F)
        NaN = missing.
    row : int64 array
        Number of the manifest row.
    recording, quality, scope, channel, program, regime : str arrays
        '' where a program or regime is not known.
    started_s : float64 array
        Start of the window, seconds since 1970. Where the archive has no times they are invented, but in order.
    sampling_rate_hz, shaft_hz : float64 array
        Hz, after decimation; the shaft frequency is NaN where the speed is not known or not steady.
    n_samples : int64 array
        Length of the window.
    orders : object array of Orders or None
        Characteristic orders of the unit; None where they are not known.
    mode : str array
        Failure mode by the mapping's label table; '' where it names none.
    weight : float64 array
        Weight of the label's evidence.
    samples_hash : str array
        Of all samples of the window's recording; the recording's name where it cannot have a copy.
    site_programs : frozenset of str
        Programs that the plant ran in its first days; one value for all windows.
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
    samples_hash: NDArray[np.str_]
    site_programs: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.x)

    def take(self, which: NDArray[Any]) -> Windows:
        """Return some windows, by index or by a bool array."""
        return replace(self, **{name: getattr(self, name)[which] for name in PER_WINDOW})

    def of_rows(self, rows: Sequence[ManifestRow]) -> Windows:
        """Return the windows of some manifest rows."""
        return self.take(np.isin(self.row, [row.line for row in rows]))

    def cells(self, column: str) -> NDArray[np.str_]:
        """Return a manifest column's cell of each window."""
        return np.array([self.rows[number].cells[column] for number in self.row.tolist()], dtype=np.str_)


PER_WINDOW = tuple(item.name for item in fields(Windows))[4:-1]


def join(parts: Sequence[Windows]) -> Windows:
    """Join windows that have the same features, one part after the other.

    Raises
    ------
    ValueError
        The features differ, or there is no part.
    """
    if not parts or len({(part.names, part.feature_version) for part in parts}) > 1:
        raise ValueError("Windows cannot be joined: there is no part, or the parts have different features.")
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in PER_WINDOW}
    rows = {number: row for part in parts for number, row in part.rows.items()}
    programs = frozenset[str]().union(*(part.site_programs for part in parts))
    return replace(parts[0], rows=rows, site_programs=programs, **columns)


def level_features(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of features that are absolute levels: they change when the signal is scaled.

    Levels are base-10 logarithms of an amplitude or power in the signal's unit. All other features are ratios, shapes,
    frequencies or signal-to-floor ratios, and do not change. Levels in different units cannot be compared, nor can
    levels whose unit is not declared; the *change* of a level against a baseline can, because it is a ratio.
    """
    return tuple(name for name in names if _LEVEL.fullmatch(name))


def without_levels(windows: Windows) -> Windows:
    """Return the windows with absolute levels set to missing (NaN)."""
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
        With added features `relative_NAME`, as in the product; missing (NaN) where a rig has no reference.
    tuple of str
        Notes for the reader: rigs with few or no baseline windows.
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
    """Return the reference of a rig; of very few windows only the median, because a change needs no spread."""
    if len(own) >= MIN_VALUES:
        return fit_reference(own)
    return Reference(known_median(own.astype(np.float64)), np.full(own.shape[1], np.nan))


def same_orders(n: int, orders: Orders | None) -> NDArray[np.object_]:
    """Return an object array (n,) with the same orders in every place."""
    filled = np.empty(n, dtype=object)
    filled[:] = [orders] * n
    return filled


@dataclass(frozen=True, eq=False)
class EvaluationRows:
    """n windows to judge.

    Attributes
    ----------
    windows : Windows
    y : int64 array, shape (n,)
        Class index; -1: unseen, not in the training.
    unit, votes : str array, shape (n,)
        Physical unit, and the group that votes together; votes are None where the protocol has none.
    leaked : bool array, shape (n,)
        Whether the unit was trained on too.
    blocked : bool array, shape (n,)
        Whether the window has a bad data-quality verdict, so that no method's score of it counts.
    why_unseen : str array, shape (n,), or None
        Of a whole fleet: `class` or `program` where that was not in the training, else ''.
    """

    windows: Windows
    y: NDArray[np.int64]
    unit: NDArray[np.str_]
    votes: NDArray[np.str_] | None
    leaked: NDArray[np.bool_]
    blocked: NDArray[np.bool_]
    why_unseen: NDArray[np.str_] | None = None


def doubt_of(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the predictive entropy (n,) in nats of class probabilities (n, C); infinite where there is no score."""
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(p).all(axis=1))
    doubt: NDArray[np.float64] = np.where(finite, entropy(np.where(finite[:, None], p, 1.0 / p.shape[1])), np.inf)
    return doubt


def left_out_bad(bad: int, what: str = "windows") -> dict[str, int]:
    """Return the entry of `left_out` for windows that a bad data-quality verdict keeps out; empty where none is."""
    return {f"{what} with a bad data-quality verdict": bad} if bad else {}


GAP: Final = 0.1
"""Share of a shared unit's windows, in the middle of its time, that is on neither side."""


def cut_shared(train: Windows, test: Windows, selection: Selection, column: str) -> tuple[Windows, Windows]:
    """Cut the windows of rows that are on both sides in time: the earlier ones are trained on, the later ones judged.

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
    """Make simulated faults for training windows; None where no window has a known rate, speed and geometry.

    All backgrounds are simulated: an evaluation keeps no raw signals, so no faults are added to measured healthy
    windows as in the product. Features that are missing in all measured windows are missing in the simulated ones.

    Parameters
    ----------
    windows
        Training windows, n of them.
    unit
        (n,) physical unit of each. Windows simulated after a unit are held out together with it.
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
