"""From which value on the figures of a model version count as high: from settings and its own held-out percentiles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.settings import CaseSettings
from pipeline.cases.axis_state import Thresholds
from pipeline.labels.words import unmodelled_modes
from pipeline.store.tables import ModelVersion

Percentiles = Mapping[str, Sequence[float]]
"""For each score its percentiles 0, 1, ... 100 on held-out units."""


def read_thresholds(connection: Connection, settings: CaseSettings, versions: Iterable[str]) -> dict[str, Thresholds]:
    """Return the thresholds of each model version."""
    query = sa.select(ModelVersion).where(ModelVersion.model_version.in_(list(versions)))
    return {
        row.model_version: thresholds_of(
            settings,
            row.metrics.get("held_out_quantiles", {}),
            programs=frozenset(row.settings.get("programs", ())),
            classes=row.settings.get("classes", ()),
        )
        for row in connection.execute(query)
    }


def thresholds_of(
    settings: CaseSettings, percentiles: Percentiles, *, programs: frozenset[str], classes: Sequence[str]
) -> Thresholds:
    """Return the thresholds of a model that was trained on these programs and classes."""
    limits = {
        name: _percentile(percentiles.get(name), settings.review_quantile) for name in routed_entropies(percentiles)
    }
    return Thresholds(
        alarm_probability=settings.alarm_probability,
        watch_probability=settings.watch_probability,
        novelty_percentile=settings.novelty_percentile,
        mutual_information=limits.get("mutual_information"),
        expected_entropy=limits.get("expected_entropy"),
        predictive_entropy=limits.get("predictive_entropy"),
        review_quantile=settings.review_quantile,
        review_probability=settings.review_probability,
        unmodelled=tuple(str(mode) for mode in unmodelled_modes(classes)),
        programs=programs,
    )


def with_programs(thresholds: Mapping[str, Thresholds], programs: frozenset[str]) -> dict[str, Thresholds]:
    """Return the thresholds with the plant's own programs added, for models that know programs at all."""
    return {
        version: replace(limits, programs=limits.programs | programs) if limits.programs else limits
        for version, limits in thresholds.items()
    }


def routed_entropies(percentiles: Collection[str]) -> tuple[str, ...]:
    """Return the entropies that send a window to review: the two parts, or the total where a method cannot split it."""
    return (
        ("mutual_information", "expected_entropy") if "mutual_information" in percentiles else ("predictive_entropy",)
    )


def _percentile(values: Sequence[float] | None, percentage: float) -> float | None:
    """Return one percentile from a list of the percentiles 0, 1, ... 100, interpolated linearly."""
    if values is None or len(values) == 0:
        return None
    place = percentage / 100 * (len(values) - 1)
    low = min(int(place), len(values) - 2)
    return values[low] + (place - low) * (values[low + 1] - values[low])
