"""Look up baselines: what a recording of a unit is compared with, and its features as changes against it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
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
PAGE = 1000
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
    """Baselines known at `as_of`, looked up by unit, channel and regime with its fallbacks."""

    connection: Connection
    as_of: datetime
    _versions: dict[str, dict[tuple[Any, ...], str]] = field(default_factory=dict)
    """By axis: the newest version of each key."""
    _read: dict[str, UnitBaseline] = field(default_factory=dict)

    def of(self, extraction: Any) -> UnitBaseline | None:
        """Return the newest baseline of an extraction's unit and channel, at the finest regime with one; None: none."""
        return self.of_all([extraction])[extraction.recording_id]

    def of_all(self, extractions: Sequence[Any]) -> dict[str, UnitBaseline | None]:
        """Return the baselines of many extractions, by recording id; few queries read all that is not known yet."""
        self._find({row.axis_id for row in extractions} - set(self._versions))
        chosen = {row.recording_id: self._version(row) for row in extractions}
        wanted = sorted({version for version in chosen.values() if version is not None} - set(self._read))
        for first in range(0, len(wanted), PAGE):
            query = sa.select(Baseline).where(Baseline.baseline_version.in_(wanted[first : first + PAGE]))
            for row in self.connection.execute(query):
                reference = Reference(_array(row.median), _array(row.spread))
                self._read[row.baseline_version] = UnitBaseline(row.baseline_version, row.regime, reference, row.to_at)
        return {name: None if version is None else self._read[version] for name, version in chosen.items()}

    def _version(self, extraction: Any) -> str | None:
        key = (
            extraction.unit_serial,
            extraction.channel,
            extraction.scope,
            extraction.feature_version,
            extraction.geometry_version,
        )
        known = self._versions[extraction.axis_id]
        return next((known[(*key, regime)] for regime in coarser(extraction.regime) if (*key, regime) in known), None)

    def _find(self, axes: Set[str]) -> None:
        names = sorted(axes)
        self._versions |= {axis: {} for axis in names}
        key = (Baseline.unit_serial, Baseline.channel, Baseline.scope, Baseline.feature_version)
        for first in range(0, len(names), PAGE):
            query = (
                sa.select(Baseline.axis_id, Baseline.baseline_version, *key, Baseline.geometry_version, Baseline.regime)
                .where(Baseline.axis_id.in_(names[first : first + PAGE]), Baseline.known_at <= self.as_of)
                .order_by(Baseline.known_at, Baseline.n_recordings, Baseline.baseline_version)
            )
            for axis, version, *rest in self.connection.execute(query):
                self._versions[axis][tuple(rest)] = version


def _array(values: Iterable[float | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def site_programs(connection: Connection, *, as_of: datetime) -> dict[str, frozenset[str]]:
    """Return, by site, the programs that its axes ran when axiswatch began to monitor them.

    For each axis only the first unit's baseline period counts. Programs of that time are the normal work of the plant.
    A program that first appears in the baseline period of a replacement may be new.
    """
    known = (Baseline.known_at <= as_of, Baseline.programs.is_not(None))
    first = sa.select(sa.func.min(Baseline.from_at, type_=Baseline.from_at.type))
    first = first.where(Baseline.axis_id == Axis.axis_id, *known).correlate(Axis)
    query = sa.select(Axis.site, sa.cast(Baseline.programs, sa.Text).label("programs")).distinct()
    query = query.join(Baseline, Baseline.axis_id == Axis.axis_id)
    query = query.where(*known, Baseline.from_at == first.scalar_subquery())
    by_site: dict[str, set[str]] = {}
    for row in connection.execute(query):
        by_site.setdefault(row.site, set()).update(json.loads(row.programs))
    return {site: frozenset(programs) for site, programs in by_site.items()}


def relative_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the changes of some features."""
    return tuple(f"{RELATIVE}{name}" for name in names)


def with_change(x: npt.NDArray[np.float32], baseline: UnitBaseline | None) -> npt.NDArray[np.float32]:
    """Add the change of every feature: (n, F) becomes (n, 2 F); the changes are NaN where there is no baseline."""
    changes = np.full_like(x, np.nan) if baseline is None else change(x, baseline.reference)
    return np.concatenate([x, changes], axis=1)
