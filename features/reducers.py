"""Reducers: how fast each member turns, and the orders of the lines of teeth, pins, planets and belts.

Every function takes what is counted on the parts and returns a `Stage` whose speeds and orders are multiples of the
stage's input shaft. `chain` puts stages one behind the other and returns them as multiples of the monitored shaft.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

RATIO_TOLERANCE = 0.005
"""Ratios on name plates are rounded; farther from the counted teeth than this share, one of both is wrong."""

GEAR_SOURCE = "R. B. Randall, Vibration-based Condition Monitoring, Wiley 2011, chapter 2"
PLANETARY_SOURCE = "Z. Feng and M. J. Zuo, Journal of Sound and Vibration 331 (2012) (with Willis' equation)"
RV_SOURCE = "D. C. H. Yang and J. G. Blanche, Mechanism and Machine Theory 25 (1990); makers' i = 1 + Z2/Z1 x pins"
HARMONIC_SOURCE = "C. W. Musser, US patent 2,906,143 (1959); T. D. Tuttle, MIT AI Lab TR 1365 (1992)"
BELT_SOURCE = "R. B. Randall, Vibration-based Condition Monitoring, Wiley 2011; belt passes = pulley over belt length"


@dataclass(frozen=True)
class NamedOrder:
    """One characteristic order: a multiple of a shaft's frequency, the formula in words, and where it is from."""

    name: str
    order: float
    formula: str
    source: str


@dataclass(frozen=True)
class Stage:
    """One reducer.

    Attributes
    ----------
    kind : str
        `gear_pair`, `planetary`, `rv`, `harmonic` or `belt`.
    ratio : float
        Turns of the input for one turn of the output, above 0 whatever the direction.
    speeds : tuple of (str, float)
        Members and their speeds, `input` and `output` among them; below 0: against the input, 0: fixed.
    orders : tuple of NamedOrder
        Characteristic orders of gears, pins and belts.
    meshes : tuple of float
        Those orders at which teeth or pins mesh.
    notes : tuple of str
        What is odd about the counts, though it can be built.
    """

    kind: str
    ratio: float
    speeds: tuple[tuple[str, float], ...]
    orders: tuple[NamedOrder, ...] = ()
    meshes: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def gear_pair(*, driving_teeth: int, driven_teeth: int) -> Stage:
    """Two gears on fixed shafts.

    `mesh = z1`, `output = z1 / z2`, `hunting tooth = gcd(z1, z2) / z2` (how often the same two teeth meet).

    Raises
    ------
    ValueError
        A count is not a whole number of at least 3.

    Examples
    --------
    >>> pair = gear_pair(driving_teeth=20, driven_teeth=60)
    >>> pair.ratio, pair.meshes
    (3.0, (20.0,))
    """
    z1, z2 = _count("driving_teeth", driving_teeth), _count("driven_teeth", driven_teeth)
    output = z1 / z2
    orders = (
        NamedOrder("gear mesh", float(z1), "z1", GEAR_SOURCE),
        NamedOrder("output shaft", output, "z1 / z2", GEAR_SOURCE),
        NamedOrder("hunting tooth", math.gcd(z1, z2) / z2, "gcd(z1, z2) / z2", GEAR_SOURCE),
    )
    return Stage("gear_pair", z2 / z1, (("input", 1.0), ("output", -output)), orders, (float(z1),))


def planetary(
    *,
    sun_teeth: int,
    planet_teeth: int,
    ring_teeth: int,
    n_planets: int,
    fixed: str = "ring",
    driving: str = "sun",
) -> Stage:
    """Return a simple planetary stage. One member stands, one drives, and the third is the output.

    Willis: `(sun - carrier) / (ring - carrier) = -ring_teeth / sun_teeth`. Then `mesh = ring_teeth |ring - carrier|`,
    a planet turns on its pin at `mesh / planet_teeth`, a local fault of it meets sun and ring and so shows at twice
    that, and `n_planets |sun - carrier|` or `n_planets |ring - carrier|` planets a turn pass one tooth of sun or ring.

    Raises
    ------
    ValueError
        A count is no whole number, the ring is not `sun + 2 planet`, or `fixed` and `driving` are not two members.

    Examples
    --------
    >>> planetary(sun_teeth=20, planet_teeth=20, ring_teeth=60, n_planets=4).ratio
    4.0
    """
    zs, zp, zr = (
        _count(name, value)
        for name, value in (("sun_teeth", sun_teeth), ("planet_teeth", planet_teeth), ("ring_teeth", ring_teeth))
    )
    n = _count("n_planets", n_planets, least=1)
    if zr != zs + 2 * zp:
        raise ValueError(f"ring_teeth must be sun_teeth + 2 x planet_teeth = {zs + 2 * zp}, got {zr}.")
    members = ("sun", "ring", "carrier")
    if fixed not in members or driving not in members or fixed == driving:
        raise ValueError(f"fixed and driving must be two of {', '.join(members)}, got {fixed!r} and {driving!r}.")
    output = next(member for member in members if member not in (fixed, driving))
    speed = {fixed: 0.0, driving: 1.0, output: _third_speed(zs, zr, fixed, driving)}
    to_sun, to_ring = abs(speed["sun"] - speed["carrier"]), abs(speed["ring"] - speed["carrier"])
    mesh = zr * to_ring
    spin = mesh / zp
    formulas = [
        ("gear mesh", mesh, "ring_teeth |ring - carrier|"),
        (f"output shaft ({output})", abs(speed[output]), "Willis' equation"),
        ("planet spin", spin, "mesh / planet_teeth, on its pin"),
        ("planet fault", 2 * spin, "2 mesh / planet_teeth"),
        ("planet pass of the sun", n * to_sun, "n_planets |sun - carrier|"),
        ("planet pass of the ring", n * to_ring, "n_planets |ring - carrier|"),
    ]
    notes: tuple[str, ...] = ()
    if (zs + zr) % n:
        notes = (f"{n} planets cannot be spaced evenly: sun_teeth + ring_teeth = {zs + zr} is no multiple of {n}",)
    # Sign of the planet: external mesh with the sun, so it turns against the sun as seen from the carrier.
    planet = speed["carrier"] - (speed["sun"] - speed["carrier"]) * zs / zp
    speeds = (("input", 1.0), *speed.items(), ("planet", planet), ("output", speed[output]))
    orders = tuple(NamedOrder(name, order, formula, PLANETARY_SOURCE) for name, order, formula in formulas)
    return Stage("planetary", 1 / abs(speed[output]), speeds, orders, (mesh,), notes)


def _third_speed(zs: int, zr: int, fixed: str, driving: str) -> float:
    """Solve `zs sun + zr ring = (zs + zr) carrier` for the member that neither stands nor drives (at speed 1)."""
    weight = {"sun": float(zs), "ring": float(zr), "carrier": -float(zs + zr)}
    output = next(member for member in weight if member not in (fixed, driving))
    return -weight[driving] / weight[output]


def rv(
    *,
    sun_teeth: int,
    planet_teeth: int,
    pins: int,
    lobes: int | None = None,
    n_crankshafts: int = 3,
    fixed: str = "case",
) -> Stage:
    """Return an RV reducer: spur gears to crankshafts, whose eccentrics roll lobed discs in a ring of pins.

    With the case fixed the carrier is the output, `ratio = 1 + planet_teeth / sun_teeth x pins`, the same direction as
    the input. With the carrier fixed the case is the output, `ratio = planet_teeth / sun_teeth x pins`, against it.
    The spur gears mesh at `sun_teeth |sun - carrier|`, a crankshaft turns on its bearings at
    `|crank - carrier|`, and its eccentric rolls the disc over `pins |crank - case|` pins.

    Raises
    ------
    ValueError
        A count is no whole number, the discs have not one lobe less than there are pins, or `fixed` is unknown.

    Examples
    --------
    >>> round(rv(sun_teeth=10, planet_teeth=30, pins=40).ratio, 6)
    121.0
    """
    z1, z2 = _count("sun_teeth", sun_teeth), _count("planet_teeth", planet_teeth)
    zp, n = _count("pins", pins), _count("n_crankshafts", n_crankshafts, least=2)
    if lobes is not None and lobes != zp - 1:
        raise ValueError(f"lobes must be one less than the pins, {zp - 1}, got {lobes!r}.")
    if fixed not in ("case", "carrier"):
        raise ValueError(f"fixed must be case or carrier, got {fixed!r}.")
    carrier = 1 / (1 + z2 / z1 * zp) if fixed == "case" else 0.0
    crank = carrier - (1 - carrier) * z1 / z2
    # The eccentric moves one pin on in every turn of the crank against the case, and takes the disc and carrier along.
    case = 0.0 if fixed == "case" else crank / zp
    output = carrier if fixed == "case" else case
    mesh, rolling = z1 * abs(1 - carrier), zp * abs(crank - case)
    formulas = [
        ("input gear mesh", mesh, "sun_teeth |sun - carrier|"),
        ("crankshaft", abs(crank - carrier), "sun_teeth / planet_teeth |sun - carrier|, on its bearings"),
        ("eccentric orbit", abs(crank - case), "|crank - case|"),
        ("pin mesh", rolling, "pins |crank - case|"),
        ("crankshaft pass", n * abs(1 - carrier), "n_crankshafts |sun - carrier|"),
        ("output shaft", abs(output), "1 / (1 + Z2/Z1 pins)" if fixed == "case" else "Z1 / (Z2 pins)"),
    ]
    speeds = (
        ("input", 1.0),
        ("sun", 1.0),
        ("crankshaft", crank),
        ("carrier", carrier),
        ("case", case),
        ("output", output),
    )
    orders = tuple(NamedOrder(name, order, formula, RV_SOURCE) for name, order, formula in formulas)
    return Stage("rv", 1 / abs(output), speeds, orders, (mesh, rolling))


def harmonic(
    *, flexspline_teeth: int, circular_spline_teeth: int, lobes: int = 2, fixed: str = "circular_spline"
) -> Stage:
    """Return a harmonic drive (strain wave gear) that its wave generator drives.

    With the circular spline fixed the flexspline is the output, `ratio = f / (c - f)`, against the input; with the
    flexspline fixed the circular spline is, `ratio = c / (c - f)`. Every turn of the wave generator passes a point of
    the fixed spline `lobes` times: the well-known line at twice the input. Teeth mesh at `c |wave - circular spline|`.

    Raises
    ------
    ValueError
        A count is no whole number, the circular spline has not a multiple of `lobes` more teeth, or `fixed` is unknown.

    Examples
    --------
    >>> round(harmonic(flexspline_teeth=200, circular_spline_teeth=202).ratio, 6)
    100.0
    """
    f = _count("flexspline_teeth", flexspline_teeth)
    c = _count("circular_spline_teeth", circular_spline_teeth)
    k = _count("lobes", lobes, least=2)
    if c <= f or (c - f) % k:
        raise ValueError(f"circular_spline_teeth must be flexspline_teeth {f} plus a multiple of {k} lobes, got {c}.")
    if fixed not in ("circular_spline", "flexspline"):
        raise ValueError(f"fixed must be circular_spline or flexspline, got {fixed!r}.")
    flexspline = -(c - f) / f if fixed == "circular_spline" else 0.0
    circular = 0.0 if fixed == "circular_spline" else (c - f) / c
    output = flexspline if fixed == "circular_spline" else circular
    mesh = c * abs(1 - circular)
    formulas = [
        ("wave", float(k), "lobes, of the wave generator"),
        ("wave past the output", k * abs(1 - output), "lobes |wave - output|"),
        ("tooth mesh", mesh, "c |wave - circular spline|"),
        ("output shaft", abs(output), "(c - f) / f" if fixed == "circular_spline" else "(c - f) / c"),
    ]
    speeds = (
        ("input", 1.0),
        ("wave_generator", 1.0),
        ("flexspline", flexspline),
        ("circular_spline", circular),
        ("output", output),
    )
    orders = tuple(NamedOrder(name, order, formula, HARMONIC_SOURCE) for name, order, formula in formulas)
    return Stage("harmonic", 1 / abs(output), speeds, orders, (mesh,))


def toothed_belt(*, driving_teeth: int, driven_teeth: int, belt_teeth: int) -> Stage:
    """Return a toothed belt on two pulleys: `mesh = z1`, `belt = z1 / belt_teeth`, `output = z1 / z2`.

    Raises
    ------
    ValueError
        A count is no whole number, or the belt is too short to go around.

    Examples
    --------
    >>> [(line.name, line.order) for line in toothed_belt(driving_teeth=20, driven_teeth=40, belt_teeth=80).orders]
    [('belt mesh', 20.0), ('belt', 0.25), ('output shaft', 0.5)]
    """
    z1, z2 = _count("driving_teeth", driving_teeth), _count("driven_teeth", driven_teeth)
    zb = _count("belt_teeth", belt_teeth)
    if zb <= (z1 + z2) / 2:
        raise ValueError(f"belt_teeth must be above half of the teeth of both pulleys, {(z1 + z2) / 2:g}, got {zb}.")
    mesh = NamedOrder("belt mesh", float(z1), "z1", BELT_SOURCE)
    return _belt(z1 / z2, z1 / zb, "z1 / belt_teeth", (mesh,))


def plain_belt(*, driving_diameter: float, driven_diameter: float, belt_length: float) -> Stage:
    """Return a flat or V belt that does not slip: `belt = pi d1 / length`, `output = d1 / d2`. One unit of length.

    Raises
    ------
    ValueError
        A length is not a finite number above 0, or the belt is too short to go around.

    Examples
    --------
    >>> plain_belt(driving_diameter=50.0, driven_diameter=100.0, belt_length=600.0).ratio
    2.0
    """
    d1 = _positive("driving_diameter", driving_diameter)
    d2, length = _positive("driven_diameter", driven_diameter), _positive("belt_length", belt_length)
    if length <= math.pi * (d1 + d2) / 2:
        raise ValueError(f"belt_length must be above {math.pi * (d1 + d2) / 2:g} to go around, got {length:g}.")
    return _belt(d1 / d2, math.pi * d1 / length, "pi d1 / belt_length", ())


def _belt(output: float, belt: float, formula: str, mesh: tuple[NamedOrder, ...]) -> Stage:
    orders = (
        *mesh,
        NamedOrder("belt", belt, formula, BELT_SOURCE),
        NamedOrder("output shaft", output, "driving over driven pulley", BELT_SOURCE),
    )
    return Stage("belt", 1 / output, (("input", 1.0), ("output", output)), orders, tuple(one.order for one in mesh))


def known_ratio(kind: str, ratio: float) -> Stage:
    """Return a reducer of which only the ratio is known: makers of RV reducers seldom publish the teeth. No mesh then.

    Raises
    ------
    ValueError
        The ratio is not a finite number above 0.

    Examples
    --------
    >>> known_ratio("harmonic", 100.0).orders[0].order
    2.0
    """
    value = _positive("ratio", ratio)
    orders = [NamedOrder("output shaft", 1 / value, "1 / ratio", "as declared")]
    if kind == "harmonic":
        orders.insert(0, NamedOrder("wave", 2.0, "2, of the wave generator", HARMONIC_SOURCE))
    return Stage(kind, value, (("input", 1.0), ("output", 1 / value)), tuple(orders))


def check_ratio(stage: Stage, declared: float) -> None:
    """Refuse a declared ratio that the counted teeth contradict.

    Raises
    ------
    ValueError
        It is farther off than `RATIO_TOLERANCE`; the message has both numbers.

    Examples
    --------
    >>> check_ratio(gear_pair(driving_teeth=20, driven_teeth=60), 3.1)
    Traceback (most recent call last):
    ValueError: ratio is declared as 3.1, but the counts give 3.
    """
    value = _positive("ratio", declared)
    if abs(value - stage.ratio) > RATIO_TOLERANCE * stage.ratio:
        raise ValueError(f"ratio is declared as {value:g}, but the counts give {stage.ratio:g}.")


def chain(stages: Sequence[tuple[str, Stage]], *, monitored: str = "input") -> Stage:
    """Put named stages one behind the other, each driven by the output of the one before.

    Parameters
    ----------
    stages
        At least one; names differ.
    monitored
        Shaft whose speed is measured: `input`, `output` or `NAME.MEMBER`. Everything is a multiple of its speed.

    Returns
    -------
    Stage
        Of kind `chain`. Its members are `input`, `output` and `NAME.MEMBER`; orders are called `NAME: ORDER`.

    Raises
    ------
    ValueError
        No stage, equal names, or a monitored shaft that is not there or stands still.

    Examples
    --------
    >>> pair = gear_pair(driving_teeth=20, driven_teeth=60)
    >>> chain([("first", pair), ("second", pair)]).ratio
    9.0
    """
    if not stages or len({name for name, _ in stages}) < len(stages):
        raise ValueError("a chain needs at least one stage, and their names must differ.")
    speeds: dict[str, float] = {"input": 1.0}
    orders: list[NamedOrder] = []
    meshes: list[float] = []
    into = 1.0
    for name, stage in stages:
        members = {f"{name}.{member}": speed * into for member, speed in stage.speeds}
        speeds |= members
        orders += [NamedOrder(f"{name}: {o.name}", o.order * abs(into), o.formula, o.source) for o in stage.orders]
        meshes += [mesh * abs(into) for mesh in stage.meshes]
        into = members[f"{name}.output"]
    speeds["output"] = into
    if monitored not in speeds or not speeds[monitored]:
        turning = ", ".join(name for name, speed in speeds.items() if speed)
        raise ValueError(f"shaft {monitored!r} does not turn here; one of {turning}.")
    by = 1 / speeds[monitored]
    return Stage(
        "chain",
        1 / abs(into),
        tuple((name, speed * by) for name, speed in speeds.items()),
        tuple(NamedOrder(o.name, o.order * abs(by), o.formula, o.source) for o in orders),
        tuple(mesh * abs(by) for mesh in meshes),
        tuple(f"{name}: {note}" for name, stage in stages for note in stage.notes),
    )


def _count(name: str, value: object, least: int = 3) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 100_000:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    return value


def _positive(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}.")
    return float(value)
