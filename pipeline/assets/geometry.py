"""From reducers and bearings to the orders that features use, and to a list of all characteristic orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from features.kinematics import BEARING_ORDERS, Orders, check_bearing, geometry_version, turned_bearing_orders
from features.reducers import NamedOrder, Stage, chain
from pipeline.assets.entries import BearingEntry, GeometryEntry, ReducerEntry, bearing_by_designation

BEARING_WORDS = {
    "bpfo": "outer race (bpfo)",
    "bpfi": "inner race (bpfi)",
    "bsf": "ball spin (bsf)",
    "ftf": "cage (ftf)",
}
BEARING_FORMULAS = {
    "bpfo": "n/2 (1 - g) |inner - outer|",
    "bpfi": "n/2 (1 + g) |inner - outer|",
    "bsf": "pitch / (2 ball) (1 - g^2) |inner - outer|",
    "ftf": "|inner (1 - g) + outer (1 + g)| / 2",
}


@dataclass(frozen=True)
class ResolvedGeometry:
    """A geometry as it is stored: the orders that features use, and all characteristic orders with their sources."""

    name: str
    orders: Orders
    characteristics: tuple[NamedOrder, ...]
    source: str
    notes: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Hash of the orders that features use."""
        return geometry_version(self.orders)

    def listed(self) -> list[dict[str, Any]]:
        """Return the characteristic orders as they are stored."""
        return [asdict(order) for order in self.characteristics]


def characteristic_orders(orders: Orders, source: str, *, bearing: str = "", given: bool = True) -> list[NamedOrder]:
    """Return orders as a list, with readable names, formulas and sources."""
    prefix = f"{bearing}: " if bearing else ""
    named = [
        NamedOrder(prefix + BEARING_WORDS[name], value, "as given" if given else BEARING_FORMULAS[name], source)
        for name in BEARING_ORDERS
        if (value := getattr(orders, name)) is not None
    ]
    return named + [NamedOrder("gear mesh", mesh, "as given", source) for mesh in orders.gear_mesh]


def resolve_geometry(
    name: str,
    entry: GeometryEntry,
    reducers: Mapping[str, ReducerEntry],
    bearings: Mapping[str, BearingEntry],
) -> ResolvedGeometry:
    """Compute a geometry of a file. A bearing that the file does not define is looked up in the catalogue.

    Raises
    ------
    ValueError
        It names a reducer, a bearing or a shaft that does not exist, or its orders cannot be those of a bearing.
    """
    missing = [reducer for reducer in entry.reducer if reducer not in reducers]
    if missing:
        raise ValueError(f"reducer {', '.join(map(repr, missing))} is not defined in this file")
    train = _train(entry, reducers)
    shown = [_with_counts(order, reducers) for order in train.orders]
    explicit = Orders(
        entry.bpfo,
        entry.bpfi,
        entry.bsf,
        entry.ftf,
        entry.gear_mesh,
        inner_ring=entry.inner_ring or (None if entry.outer_ring else 1.0),
        outer_ring=entry.outer_ring,
    )
    shown += characteristic_orders(explicit, entry.source)
    sources = [entry.source, *(f"{item}: {reducers[item].source}" for item in entry.reducer)]
    orders = check_bearing(
        replace(explicit, gear_mesh=entry.gear_mesh or train.meshes, shafts=entry.shafts or _other_shafts(train))
    )
    if entry.bearing is not None:
        known = bearings.get(entry.bearing)
        at_rest, source = known.at_rest() if known is not None else bearing_by_designation(entry.bearing)
        turned = turned_bearing_orders(
            at_rest,
            inner_speed=_speed(train, entry.shaft),
            outer_speed=0.0 if entry.outer_shaft is None else _speed(train, entry.outer_shaft),
        )
        shown += characteristic_orders(turned, source, bearing=entry.bearing, given=False)
        sources.append(f"{entry.bearing}: {source}")
        orders = replace(turned, gear_mesh=orders.gear_mesh, shafts=orders.shafts)
    return ResolvedGeometry(name, orders, tuple(shown), "; ".join(filter(None, sources)), train.notes)


def bearing_alone(designation: str) -> ResolvedGeometry:
    """Return the geometry of a bearing of the catalogue on the monitored shaft, its outer ring at rest.

    Raises
    ------
    ValueError
        The catalogue does not have it.
    """
    orders, source = bearing_by_designation(designation)
    shown = characteristic_orders(orders, source, bearing=designation, given=False)
    return ResolvedGeometry(f"bearing {designation}", orders, tuple(shown), source)


def _train(entry: GeometryEntry, reducers: Mapping[str, ReducerEntry]) -> Stage:
    if entry.reducer:
        return chain([(name, reducers[name].stage()) for name in entry.reducer], monitored=entry.monitored_shaft)
    if entry.monitored_shaft != "input":
        raise ValueError("monitored_shaft is a shaft of a reducer; name the reducer")
    return Stage("none", 1.0, (("input", 1.0),))


def _other_shafts(train: Stage) -> tuple[float, ...]:
    """Return the orders of all that turns or repeats besides the monitored shaft and the meshes, each once."""
    orders = {abs(speed) for _, speed in train.speeds} | {one.order for one in train.orders}
    meshes = {round(mesh, 9) for mesh in train.meshes}
    return tuple(sorted({round(order, 9) for order in orders} - meshes - {0.0, 1.0}))


def _with_counts(order: NamedOrder, reducers: Mapping[str, ReducerEntry]) -> NamedOrder:
    """Add the source of the counts to the source of the formula."""
    counted = reducers[order.name.partition(": ")[0]].source
    return replace(order, source=f"{order.source}; counts: {counted}")


def _speed(train: Stage, shaft: str) -> float:
    speeds = dict(train.speeds)
    if shaft not in speeds:
        raise ValueError(f"shaft {shaft!r} does not exist; write one of {', '.join(speeds)}")
    return speeds[shaft]
