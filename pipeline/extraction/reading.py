"""Reading back the features that `pipeline.extraction.extract` wrote: the good windows of some recordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from features.settings import feature_names
from pipeline.base.settings import Settings
from pipeline.extraction.extract import feature_settings
from pipeline.store.lake import Lake


def read_features(lake: Lake, settings: Settings, rows: Sequence[Any]) -> list[npt.NDArray[np.float32]]:
    """Give the features of each recording's good windows, (n, F), in order of `rows` (extractions); (0, 0): none."""
    parts: list[npt.NDArray[np.float32]] = [np.empty((0, 0), np.float32)] * len(rows)
    by_path: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if row.lake_path is None:
            continue
        by_path.setdefault(row.lake_path, []).append(index)
    for path, members in by_path.items():
        quantity = rows[members[0]].scope.split(":", 1)[0]
        names = feature_names(feature_settings(settings, quantity))
        table = lake.table(path, columns=["quality", *names])
        good = np.array(table.column("quality").to_pylist()) == "ok"
        values = np.column_stack([table.column(name).to_numpy() for name in names]).astype(np.float32, copy=False)
        for index in members:
            span = slice(rows[index].lake_row, rows[index].lake_row + rows[index].n_windows)
            parts[index] = np.ascontiguousarray(values[span][good[span]])
    return parts
