"""Faults made in the conditions of an evaluation's training windows, as the product's training makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features.settings import feature_names
from models.training_data import Supplement
from pipeline.base.settings import Settings
from pipeline.evaluation.windows import Windows
from pipeline.extraction.extract import feature_settings
from pipeline.training.supplement import Condition, make_supplement

VIBRATION = "acceleration"


def made_faults(
    windows: Windows, unit: NDArray[np.str_], modes: Sequence[str], settings: Settings
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
    wanted = feature_settings(settings, VIBRATION)
    names = list(feature_names(wanted))
    rms = windows.names.index("rms_log10") if "rms_log10" in windows.names else None
    conditions = _conditions(windows, unit, None if rms is None else windows.x[:, rms])
    made = make_supplement("", settings, wanted, conditions, modes)
    if made is None:
        return None
    x = np.full((len(made.y), len(windows.names)), np.nan, np.float32)
    for column, name in enumerate(windows.names):
        if name in names and np.isfinite(windows.x[:, column]).any():
            x[:, column] = made.x[:, names.index(name)]
    return replace(made, x=x)


def _conditions(windows: Windows, unit: NDArray[np.str_], level: NDArray[np.float32] | None) -> list[Condition]:
    found = []
    for i in range(len(windows)):
        rate, shaft = float(windows.sampling_rate_hz[i]), float(windows.shaft_hz[i])
        vibration = str(windows.scope[i]).split(":", 1)[0] == VIBRATION
        if not vibration or windows.orders[i] is None or not (np.isfinite(rate) and np.isfinite(shaft)):
            continue
        own = 0.0 if level is None or not np.isfinite(level[i]) else float(level[i])
        found.append(
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
    return found
