"""When the figures of a model version are high: read from the settings and from its own held-out percentiles."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.axis_state import Thresholds
from pipeline.config import Settings
from pipeline.schema import ModelVersion


def read_thresholds(connection: Connection, settings: Settings, versions: Iterable[str]) -> dict[str, Thresholds]:
    """Give the thresholds of each model version: settings, and its own percentiles on held-out units."""
    query = sa.select(ModelVersion).where(ModelVersion.model_version.in_(list(versions)))
    found = {}
    for row in connection.execute(query):
        quantiles = row.metrics.get("held_out_quantiles", {})
        found[row.model_version] = Thresholds(
            alarm_probability=settings.alarm_probability,
            watch_probability=settings.watch_probability,
            novelty_percentile=settings.novelty_percentile,
            mutual_information=_percentile(quantiles.get("mutual_information"), settings.review_quantile),
            expected_entropy=_percentile(quantiles.get("expected_entropy"), settings.review_quantile),
            predictive_entropy=None
            if "mutual_information" in quantiles
            else _percentile(quantiles.get("predictive_entropy"), settings.review_quantile),
            review_quantile=settings.review_quantile,
            programs=frozenset(row.settings.get("programs", ())),
        )
    return found


def _percentile(values: list[float] | None, wanted: float) -> float | None:
    """Read a percentile off a list of the percentiles 0, 1, ... 100, straight between neighbours."""
    if not values:
        return None
    place = wanted / 100 * (len(values) - 1)
    low = min(int(place), len(values) - 2)
    return values[low] + (place - low) * (values[low + 1] - values[low])
