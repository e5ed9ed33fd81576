"""Read the features that `pipeline.extraction.extract` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.engine import Row

from features.quality.plausibility import compare, plausibility_settings
from features.quality.quality import Quality
from pipeline.base.log_schema import quantity_of
from pipeline.base.settings import ExtractionSettings
from pipeline.extraction.baselines import NO_BASELINE, RELATIVE, UnitBaseline, with_change
from pipeline.extraction.in_force import feature_names_of
from pipeline.store.lake import Lake


def read_features(lake: Lake, settings: ExtractionSettings, rows: Sequence[Any]) -> list[npt.NDArray[np.float32]]:
    """Return the features of each recording's good windows, float32 (n, F), in order of `rows` (extractions).

    The array is (0, 0) where an extraction has no windows.
    """
    parts: list[npt.NDArray[np.float32]] = [np.empty((0, 0), np.float32)] * len(rows)
    by_path: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if row.lake_path is None:
            continue
        by_path.setdefault(row.lake_path, []).append(index)
    for path, members in by_path.items():
        names = feature_names_of(settings, rows[members[0]].scope)
        table = lake.table(path, columns=["quality", *names])
        good = np.array(table.column("quality").to_pylist()) == "ok"
        values = np.column_stack([table.column(name).to_numpy() for name in names]).astype(np.float32, copy=False)
        for index in members:
            span = slice(rows[index].lake_row, rows[index].lake_row + rows[index].n_windows)
            parts[index] = np.ascontiguousarray(values[span][good[span]])
    return parts


WINDOW_COLUMNS = ("recording_id", "start_sample", "n_window_samples", "turns_covered", "quality", "evidence")


@dataclass
class Chunk:
    """Windows of some recordings, read from the lake, and the baseline of each recording (by its id)."""

    rows: list[Row[Any]]
    x: npt.NDArray[np.float32]
    windows: dict[str, list[Any]]
    baselines: dict[str, UnitBaseline | None]

    def baseline_version(self, recording_id: str) -> str:
        """Return the version of a recording's baseline, '' where it has none."""
        baseline = self.baselines[recording_id]
        return NO_BASELINE if baseline is None else baseline.version


def read_chunk(
    lake: Lake, rows: Sequence[Row[Any]], names: Sequence[str], baselines: dict[str, UnitBaseline | None]
) -> Chunk:
    """Read the windows of recordings, in the order of their files; with changes where `names` asks for them."""
    absolute = [name for name in names if not name.startswith(RELATIVE)]
    relative = len(absolute) < len(names)
    rows = sorted(rows, key=lambda row: (row.lake_path or "", row.lake_row))
    by_path: dict[str, list[Row[Any]]] = {}
    for row in rows:
        if row.lake_path is not None:
            by_path.setdefault(row.lake_path, []).append(row)
    parts: list[npt.NDArray[np.float32]] = []
    windows: dict[str, list[Any]] = {name: [] for name in (*WINDOW_COLUMNS, "row")}
    for path, members in by_path.items():
        table = lake.table(path)
        values = np.column_stack([table.column(name).to_numpy() for name in absolute]).astype(np.float32, copy=False)
        columns = {name: table.column(name).to_pylist() for name in WINDOW_COLUMNS}
        for row in members:
            rows_of = slice(row.lake_row, row.lake_row + row.n_windows)
            own_x = values[rows_of]
            parts.append(with_change(own_x, baselines[row.recording_id]) if relative else own_x)
            judged = {name: columns[name][rows_of] for name in WINDOW_COLUMNS}
            judge_plausibility(judged, own_x, absolute, row, baselines[row.recording_id])
            for name in WINDOW_COLUMNS:
                windows[name] += judged[name]
            windows["row"] += [row] * row.n_windows
    x = np.concatenate(parts) if parts else np.empty((0, len(names)), np.float32)
    return Chunk(list(rows), x, windows, baselines)


def judge_plausibility(
    windows: dict[str, list[Any]],
    x: npt.NDArray[np.float32],
    names: Sequence[str],
    row: Row[Any],
    baseline: UnitBaseline | None,
) -> None:
    """Compare the good windows of a recording with its unit's baseline; where that shows bad data, set their verdict.

    Only a baseline of the same regime is used: with a coarser one, another speed or load may look like a sensor fault.

    Parameters
    ----------
    windows
        Columns of the windows by name; `quality` and `evidence` are changed in place.
    x
        Features of the windows, (n, F), in the order of `names`.
    """
    good = [index for index, quality in enumerate(windows["quality"]) if quality == Quality.OK]
    if baseline is None or baseline.regime != row.regime or not good:
        return
    settings = plausibility_settings(quantity_of(row.scope))
    for verdict, evidence in compare(x[good], names, baseline.reference, settings=settings)[:1]:
        if verdict.blocks:
            for index in good:
                windows["quality"][index], windows["evidence"][index] = str(verdict), evidence
