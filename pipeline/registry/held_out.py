"""What a model said of recordings whose unit it did not know: kept by recording beside the model, for every later gate.

By recording, not by window: the mean over its windows of each class probability, and of each log probability, so that
any finding that comes later can be judged exactly. A recording of C classes is 2 C + 1 numbers of 4 bytes: 10,000
labelled recordings with 5 classes are half a megabyte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.kinds import HEALTHY
from pipeline.base.errors import AxiswatchError
from pipeline.store.lake import Lake

FloatArray = npt.NDArray[np.float64]

FLOOR: Final = 1e-6
"""Smallest probability that counts: a window that was certain of the wrong class must not decide alone (13.8 nats)."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities of recordings at the balanced training mix, by a model that did not know their units.

    Attributes
    ----------
    classes
        Of the model.
    recording
        (n,) ids, each once.
    unit
        (n,) physical units.
    windows
        int64 (n,) windows that a recording's figures are the mean of.
    p, log_p
        (n, C) mean probability, and mean natural logarithm of it.
    log_fault
        (n,) mean logarithm of the summed probability of all faults; NaN where no healthy class is known.
    """

    classes: tuple[str, ...]
    recording: npt.NDArray[np.str_]
    unit: npt.NDArray[np.str_]
    windows: npt.NDArray[np.int64]
    p: FloatArray
    log_p: FloatArray
    log_fault: FloatArray

    def place(self) -> dict[str, int]:
        """Give the row of each recording."""
        return {str(name): index for index, name in enumerate(self.recording)}


def by_recording(
    probabilities: FloatArray, recording: npt.NDArray[np.str_], unit: npt.NDArray[np.str_], classes: tuple[str, ...]
) -> Predictions:
    """Sum up windows (n, C) by recording. A recording with a window that is not finite is not finite as a whole."""
    names, first, code = np.unique(recording, return_index=True, return_inverse=True)
    windows = np.bincount(code, minlength=names.size)

    def mean(values: FloatArray) -> FloatArray:
        total: FloatArray = np.zeros((names.size, *values.shape[1:]))
        np.add.at(total, code, values)
        return total / windows.reshape(-1, *(1,) * (values.ndim - 1))

    fault = np.full(len(probabilities), np.nan)
    if HEALTHY in classes:
        fault = 1.0 - probabilities[:, classes.index(HEALTHY)]
    return Predictions(
        classes=classes,
        recording=names,
        unit=unit[first],
        windows=windows.astype(np.int64),
        p=mean(probabilities),
        log_p=mean(np.log(np.maximum(probabilities, FLOOR))),
        log_fault=mean(np.log(np.maximum(fault, FLOOR))),
    )


def to_table(found: Predictions) -> pa.Table:
    """Write predictions as a table of float32."""
    columns: dict[str, Any] = {"recording_id": found.recording.tolist(), "unit": found.unit.tolist()}
    columns["windows"] = pa.array(found.windows, pa.int32())
    for index, _ in enumerate(found.classes):
        columns[f"p{index}"] = pa.array(found.p[:, index].astype(np.float32))
        columns[f"log_p{index}"] = pa.array(found.log_p[:, index].astype(np.float32))
    columns["log_fault"] = pa.array(found.log_fault.astype(np.float32))
    return pa.table(columns).replace_schema_metadata({"classes": json.dumps(list(found.classes))})


def read_predictions(lake: Lake, version: Mapping[str, Any]) -> Predictions | None:
    """Read what a version (a row of `model_versions`) was judged by; None where none was kept.

    Raises
    ------
    LakeError
        The file is gone or damaged.
    AxiswatchError
        It is a whole file, but not of predictions.
    """
    path = version["held_out_path"]
    if path is None:
        return None
    table = lake.table(path)
    try:
        classes = tuple(json.loads((table.schema.metadata or {})[b"classes"]))

        def stacked(prefix: str) -> FloatArray:
            parts = [table.column(f"{prefix}{index}").to_numpy() for index in range(len(classes))]
            return np.column_stack(parts).astype(np.float64)

        return Predictions(
            classes=classes,
            recording=np.array(table.column("recording_id").to_pylist(), dtype=np.str_),
            unit=np.array(table.column("unit").to_pylist(), dtype=np.str_),
            windows=table.column("windows").to_numpy().astype(np.int64),
            p=stacked("p"),
            log_p=stacked("log_p"),
            log_fault=table.column("log_fault").to_numpy().astype(np.float64),
        )
    except (KeyError, ValueError) as error:
        raise AxiswatchError(
            f"{path} does not hold the held-out predictions of {version['model_version']} ({error}); "
            "restore the lake from its backup, or train again"
        ) from error
