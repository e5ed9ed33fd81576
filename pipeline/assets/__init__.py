"""The asset registry: which unit sits on which axis since when, and the characteristic orders of its shaft."""

from __future__ import annotations

from pipeline.assets.entries import AxisEntry, BearingEntry, GeometryEntry, ReducerEntry, UnitEntry
from pipeline.assets.reading import AssetsFile, read_assets
from pipeline.assets.registry import (
    Installation,
    import_assets,
    installations,
    installed_at_time,
    known_orders,
    orders_from,
)

__all__ = [
    "AssetsFile",
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
    "installed_at_time",
    "known_orders",
    "orders_from",
    "places",
    "read_assets",
    "registry",
    "views",
]
