"""Look up baselines: what a recording of a unit is compared with, and its features as changes against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.health.baseline import Reference, change
from pipeline.base.regime import coarser
from pipeline.store.tables import Axis, Baseline

NO_BASELINE = ""
RELATIVE = "relative_"
"""Prefix of the features that are changes against the baseline."""

RELATIVE_GROUP = "relative"
"""Group of these features: they are missing together where a unit has no baseline."""


@dataclass(frozen=True)
class UnitBaseline:
    """The baseline of a recording."""

    version: str
    regime: str
    reference: Reference
    until: datetime
    """End of the baseline period, not included."""


@dataclass
class Baselines:
    """Baselines known at `as_of`, looked up by unit, channel and regime with its fallbacks; read once for each axis."""

    connection: Connection
    as_of: datetime
    _axes: dict[str, dict[tuple[Any, ...], UnitBaseline]] = field(default_factory=dict)

    def of(self, extraction: Any) -> UnitBaseline | None:
        """Return the newest baseline of an extraction's unit and channel, at the finest regime with one; None: none."""
        axis = extraction.axis_id
        if axis not in self._axes:
            self._axes[axis] = self._read(axis)
        key = (
            extraction.unit_serial,
            extraction.channel,
            extraction.scope,
            extraction.feature_version,
            extraction.geometry_version,
        )
        for regime in coarser(extraction.regime):
            baseline = self._axes[axis].get((*key, regime))
            if baseline is not None:
                return baseline
        return None

    def _read(self, axis: str) -> dict[tuple[Any, ...], UnitBaseline]:
        query = (
            sa.select(Baseline)
            .where(Baseline.axis_id == axis, Baseline.known_at <= self.as_of)
            .order_by(Baseline.known_at, Baseline.n_recordings, Baseline.baseline_version)
        )
        by_key = {}
        for row in self.connection.execute(query):
            key = (
                row.unit_serial,
                row.channel,
                row.scope,
                row.feature_version,
                row.geometry_version,
                row.regime,
            )
            reference = Reference(_array(row.median), _array(row.spread))
            by_key[key] = UnitBaseline(row.baseline_version, row.regime, reference, row.to_at)
        return by_key


def _array(values: Iterable[float | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def site_programs(connection: Connection, *, as_of: datetime) -> dict[str, frozenset[str]]:
    """Return, by site, the programs that its axes ran when axiswatch began to monitor them.

    For each axis only the first unit's baseline period counts. Programs of that time are the normal work of the plant.
    A program that first appears in the baseline period of a replacement may be new.
    """
    query = (
        sa.select(Axis.site, Baseline.axis_id, Baseline.from_at, Baseline.programs)
        .join(Axis, Axis.axis_id == Baseline.axis_id)
        .where(Baseline.known_at <= as_of, Baseline.programs.is_not(None))
    )
    rows = connection.execute(query).all()
    first: dict[str, datetime] = {}
    for row in rows:
        first[row.axis_id] = min(row.from_at, first.get(row.axis_id, row.from_at))
    by_site: dict[str, set[str]] = {}
    for row in rows:
        if row.from_at == first[row.axis_id]:
            by_site.setdefault(row.site, set()).update(row.programs)
    return {site: frozenset(programs) for site, programs in by_site.items()}


def relative_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the changes of some features."""
    return tuple(f"{RELATIVE}{name}" for name in names)


def with_change(x: npt.NDArray[np.float32], baseline: UnitBaseline | None) -> npt.NDArray[np.float32]:
    """Add the change of every feature: (n, F) becomes (n, 2 F); the changes are NaN where there is no baseline."""
    changes = np.full_like(x, np.nan) if baseline is None else change(x, baseline.reference)
    return np.concatenate([x, changes], axis=1)
