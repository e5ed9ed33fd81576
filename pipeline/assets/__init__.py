"""The asset registry: which unit is on which axis since when, and the characteristic orders of its shaft."""

from __future__ import annotations

from pipeline.assets.entries import AxisEntry, BearingEntry, GeometryEntry, ReducerEntry, UnitEntry
from pipeline.assets.registry import (
    Installation,
    import_assets,
    installations,
    known_orders,
    orders_from,
)

__all__ = [
    "AxisEntry",
    "BearingEntry",
    "GeometryEntry",
    "Installation",
    "ReducerEntry",
    "UnitEntry",
    "checks",
    "events",
    "geometry",
    "import_assets",
    "installations",
    "known_orders",
    "orders_from",
    "places",
    "registry",
    "stops",
    "views",
]
