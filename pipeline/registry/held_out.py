"""Held-out predictions: what a model predicted for recordings of units that it was not trained on.

They are stored beside the model, one row a recording, and every later gate reads them. A row is a mean over the windows
of the recording: of each class probability, and of the logarithm of each. So a later finding, whatever it is, can be
judged exactly. A recording with C classes takes 2 C + 1 numbers of 4 bytes: 10,000 labelled recordings with 5 classes
take half a megabyte.
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

ARRAYS: Final = ("recording", "unit", "windows", "p", "log_p", "log_fault")
"""The arrays of `Predictions`, one row a recording."""

FLOOR: Final = 1e-6
"""Lowest probability that counts (13.8 nats): one window that was certain of the wrong class must not decide alone."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities of recordings at the balanced training mix, by a model that was not trained on their units.

    Attributes
    ----------
    classes
        (C,) classes of the model.
    recording
        (n,) ids of recordings, each once.
    unit
        (n,) physical unit of each recording.
    windows
        int64 (n,) number of windows that the values of a recording are the mean of.
    p, log_p
        (n, C) mean probability in [0, 1], and mean natural logarithm of it.
    log_fault
        (n,) mean logarithm of the probability of any fault; NaN where the model knows no healthy class.
    """

    classes: tuple[str, ...]
    recording: npt.NDArray[np.str_]
    unit: npt.NDArray[np.str_]
    windows: npt.NDArray[np.int64]
    p: FloatArray
    log_p: FloatArray
    log_fault: FloatArray

    def place(self) -> dict[str, int]:
        """Return the row number of each recording id."""
        return {str(name): index for index, name in enumerate(self.recording)}


def by_recording(
    probabilities: FloatArray, recording: npt.NDArray[np.str_], unit: npt.NDArray[np.str_], classes: tuple[str, ...]
) -> Predictions:
    """Return the means of windows by recording.

    Parameters
    ----------
    probabilities
        (n, C) class probabilities of the windows.
    recording, unit
        (n,) recording and physical unit of each window.
    classes
        (C,) classes of the model.

    Returns
    -------
    Predictions
        One row a recording. One window that is not finite makes the whole recording not finite.
    """
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


def to_table(predictions: Predictions) -> pa.Table:
    """Return predictions as a table of float32, one row a recording."""
    columns: dict[str, Any] = {"recording_id": predictions.recording.tolist(), "unit": predictions.unit.tolist()}
    columns["windows"] = pa.array(predictions.windows, pa.int32())
    for index, _ in enumerate(predictions.classes):
        columns[f"p{index}"] = pa.array(predictions.p[:, index].astype(np.float32))
        columns[f"log_p{index}"] = pa.array(predictions.log_p[:, index].astype(np.float32))
    columns["log_fault"] = pa.array(predictions.log_fault.astype(np.float32))
    return pa.table(columns).replace_schema_metadata({"classes": json.dumps(list(predictions.classes))})


def read_predictions(lake: Lake, version: Mapping[str, Any]) -> Predictions | None:
    """Read the held-out predictions of a version (as `get_version` has it); None where none were stored, or are kept.

    Raises
    ------
    LakeError
        The file is missing or damaged.
    AxiswatchError
        The file can be read, but does not hold predictions.
    """
    path = version["held_out_path"]
    if path is None or version.get("files_deleted_at"):
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
