"""What axiswatch would do with a scored window: the rules of `pipeline.axis_state`, applied to each window alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.model import Model, Scores
from pipeline.axis_state import ALARM, DATA_FAULT, AxisFigures, Thresholds, Window, combine_channels, priority_of
from pipeline.store import nullable
from pipeline.thresholds import routed_entropies

MODEL = "evaluated"
FAULT = "fault"


@dataclass(frozen=True, eq=False)
class Routed:
    """Where windows would go.

    Attributes
    ----------
    review : bool array, shape (n,)
        Something says that the model does not know, or the signal is ambiguous.
    alarm, data : bool array, shape (n,)
        Called a known fault; called a fault of sensor or data.
    order : float64 array, shape (n,)
        The higher, the earlier it comes to review: the priority of its doubts, then the highest percentile among
        held-out units of any of its uncertainties. Ranks, 0 to n - 1; equal windows have equal ranks.
    """

    review: NDArray[np.bool_]
    alarm: NDArray[np.bool_]
    data: NDArray[np.bool_]
    order: NDArray[np.float64]


def judged_windows(
    model: Model, scores: Scores, *, quality: NDArray[np.str_], channel: NDArray[np.str_], program: NDArray[np.str_]
) -> list[Window]:
    """Give windows as advise sees them; one with a bad verdict has no figures."""
    windows = []
    for index in range(len(quality)):
        usable = quality[index] == "ok" and bool(scores.finite[index])
        figures: dict[str, Any] = {
            name: nullable(getattr(scores, name)[index]) if usable else None
            for name in (
                "fault_probability",
                "fault_q05",
                "fault_q95",
                "mutual_information",
                "expected_entropy",
                "predictive_entropy",
                "novelty_percentile",
            )
        }
        p = scores.class_probabilities[index]
        known = usable and bool(np.isfinite(p).all())
        windows.append(
            Window(
                channel=str(channel[index]),
                quality=str(quality[index]) if quality[index] != "ok" or usable else "non_finite",
                evidence="",
                class_probabilities=dict(zip(model.classes, p.tolist(), strict=True)) if known else None,
                program=str(program[index]) or None,
                model_version=MODEL,
                **figures,
            )
        )
    return windows


def route(windows: list[Window], limits: Thresholds, model: Model) -> Routed:
    """Route each window by itself."""
    found = [combine_channels([window], {MODEL: limits}) for window in windows]
    codes = [doubts_of(figures) for figures in found]
    priority = np.array(
        [priority_of(code, f.fault_probability) if code else 0.0 for code, f in zip(codes, found, strict=True)]
    )
    percentile = np.array([_highest_percentile(window, model) for window in windows])
    _, order = np.unique(np.column_stack([priority, percentile]), axis=0, return_inverse=True)
    return Routed(
        review=np.array([bool(code) for code in codes], dtype=np.bool_),
        alarm=np.array([figures.state == ALARM for figures in found], dtype=np.bool_),
        data=np.array([figures.state == DATA_FAULT for figures in found], dtype=np.bool_),
        order=order.reshape(-1).astype(np.float64),
    )


def doubts_of(figures: AxisFigures) -> list[str]:
    """Give the codes of the flags that send to review: neither a known fault nor a fault of the data."""
    return [flag.code for flag in figures.flags if flag.code not in (FAULT, "data", "silent")]


def _highest_percentile(window: Window, model: Model) -> float:
    found = [window.novelty_percentile or 0.0]
    for name in routed_entropies(model.quantiles):
        value = getattr(window, name)
        if value is not None and name in model.quantiles:
            found.append(float(model.percentile(name, np.array([value]))[0]))
    return max(found)
