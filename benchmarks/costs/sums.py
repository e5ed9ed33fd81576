"""Medians and spreads."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def summary(values: Sequence[float]) -> dict[str, object]:
    """Return median, mean, lowest, highest, and all values in the order in which they were measured."""
    return {
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "low": min(values),
        "high": max(values),
        "all": [round(value, 6) for value in values],
    }
