"""Where the lines of bearings and gears lie: characteristic orders, as multiples of the shaft's frequency."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import Final

BEARING_ORDERS: Final = ("bpfo", "bpfi", "bsf", "ftf")


@dataclass(frozen=True)
class Orders:
    """Characteristic orders of one axis, in multiples of the monitored shaft's frequency.

    Attributes
    ----------
    bpfo, bpfi : float or None
        Ball pass frequency of the outer and of the inner race.
    bsf : float or None
        Ball spin frequency; a defect of a ball strikes both races, so its line is at `2 * bsf`.
    ftf : float or None
        Fundamental train (cage) frequency.
    gear_mesh : tuple of float
        Tooth mesh orders.
    inner_ring, outer_ring : float or None
        Order at which the ring turns through the load: the distance of its race's sidebands. None where it stands.
    shafts : tuple of float
        Orders of the other shafts, and of whatever else repeats with the drive (belt, passing planets).

    None means not known: features at that order are then missing.

    Raises
    ------
    ValueError
        An order is not a finite number above 0; the message names the field.
    """

    bpfo: float | None = None
    bpfi: float | None = None
    bsf: float | None = None
    ftf: float | None = None
    gear_mesh: tuple[float, ...] = ()
    inner_ring: float | None = 1.0
    outer_ring: float | None = None
    shafts: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in (*BEARING_ORDERS, "inner_ring", "outer_ring"):
            value = getattr(self, name)
            if value is not None and not _is_order(value):
                raise ValueError(f"{name} must be a finite number above 0 or absent, got {value!r}.")
        for name in ("gear_mesh", "shafts"):
            # A list (as read from TOML or JSON) is welcome; a tuple keeps the object hashable.
            object.__setattr__(self, name, tuple(getattr(self, name)))
            for place, value in enumerate(getattr(self, name)):
                if not _is_order(value):
                    raise ValueError(f"{name}[{place}] must be a finite number above 0, got {value!r}.")


def _is_order(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def bearing_orders(n_balls: int, ball_diameter: float, pitch_diameter: float, contact_angle_deg: float = 0.0) -> Orders:
    """Compute the four orders of a rolling bearing whose outer ring stands still and whose inner ring turns.

    With `g = ball_diameter / pitch_diameter * cos(contact_angle)`::

        bpfo = n / 2 * (1 - g)              bsf = pitch / (2 * ball) * (1 - g^2)
        bpfi = n / 2 * (1 + g)              ftf = 1 / 2 * (1 - g)

    Parameters
    ----------
    n_balls : int
        Rolling elements in one row, at least 2.
    ball_diameter, pitch_diameter : float
        In the same unit of length; the ball is smaller than the pitch circle.
    contact_angle_deg : float
        Contact angle in degrees, from 0 to below 90.

    Raises
    ------
    ValueError
        A value is out of range; the message names it.

    Notes
    -----
    Rolling without slip; real bearings slip by 1 to 2 %. Source: R. B. Randall and J. Antoni, "Rolling element
    bearing diagnostics - a tutorial", Mechanical Systems and Signal Processing 25 (2011), equations 1 to 4.

    Examples
    --------
    >>> orders = bearing_orders(9, 7.94, 39.04)
    >>> [round(order, 3) for order in (orders.bpfo, orders.bpfi, orders.bsf, orders.ftf)]
    [3.585, 5.415, 2.357, 0.398]
    """
    if not isinstance(n_balls, int) or isinstance(n_balls, bool) or n_balls < 2:
        raise ValueError(f"n_balls must be a whole number of at least 2, got {n_balls!r}.")
    for name, value in (("ball_diameter", ball_diameter), ("pitch_diameter", pitch_diameter)):
        if not _is_order(value):
            raise ValueError(f"{name} must be a finite number above 0, got {value!r}.")
    if ball_diameter >= pitch_diameter:
        raise ValueError(f"ball_diameter must be below pitch_diameter, got {ball_diameter!r} and {pitch_diameter!r}.")
    if not (math.isfinite(contact_angle_deg) and 0 <= contact_angle_deg < 90):
        raise ValueError(f"contact_angle_deg must be from 0 to below 90 degrees, got {contact_angle_deg!r}.")
    g = ball_diameter / pitch_diameter * math.cos(math.radians(contact_angle_deg))
    return Orders(
        bpfo=n_balls / 2 * (1 - g),
        bpfi=n_balls / 2 * (1 + g),
        bsf=pitch_diameter / (2 * ball_diameter) * (1 - g * g),
        ftf=(1 - g) / 2,
    )


def turned_bearing_orders(at_rest: Orders, *, inner_speed: float, outer_speed: float = 0.0) -> Orders:
    """Return the orders of a bearing whose inner ring, outer ring or both turn, in multiples of the monitored shaft.

    With `r = |inner_speed - outer_speed|`: `bpfo`, `bpfi` and `bsf` are those of the outer ring at rest, times `r`. The
    cage turns at `inner_speed x ftf + outer_speed x (1 - ftf)`; where that is 0 there is no order of the cage. The load
    stands still, so each ring turns through it at its own speed.

    Parameters
    ----------
    at_rest : Orders
        As `bearing_orders` returns them.
    inner_speed, outer_speed : float
        Speeds of the rings over the monitored shaft's; below 0 where they turn against it.

    Raises
    ------
    ValueError
        A speed is not finite, or both rings turn alike: such a bearing does not roll.

    Notes
    -----
    Source: T. A. Harris, Rolling Bearing Analysis, 4th edition (2001): speed of the cage
    `(n_i (1 - g) + n_o (1 + g)) / 2`, and rolling speeds in proportion to the relative speed of the rings.

    Examples
    --------
    >>> turned = turned_bearing_orders(Orders(bpfo=3.5, ftf=0.4), inner_speed=0.0, outer_speed=-2.0)
    >>> turned.bpfo, turned.ftf, turned.inner_ring, turned.outer_ring
    (7.0, 1.2, None, 2.0)
    """
    for name, value in (("inner_speed", inner_speed), ("outer_speed", outer_speed)):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value!r}.")
    relative = abs(inner_speed - outer_speed)
    if not relative:
        raise ValueError("both rings of the bearing turn alike, so it does not roll; name shafts of different speed.")
    cage = None
    if at_rest.ftf is not None:
        cage = abs(inner_speed * at_rest.ftf + outer_speed * (1 - at_rest.ftf)) or None

    def rolling(order: float | None) -> float | None:
        return None if order is None else order * relative

    return Orders(
        rolling(at_rest.bpfo),
        rolling(at_rest.bpfi),
        rolling(at_rest.bsf),
        cage,
        at_rest.gear_mesh,
        inner_ring=abs(inner_speed) or None,
        outer_ring=abs(outer_speed) or None,
    )


def check_bearing(orders: Orders) -> Orders:
    """Refuse orders that no bearing can have; return them, with the speed of the inner ring where they tell it.

    With `r` the speed of one ring against the other and `n` balls, `bpfo + bpfi = n r`; with the outer ring at rest
    `ftf = bpfo / n`, where it turns (`outer_ring`) `bpfi / n` too; with `g = (bpfi - bpfo) / (bpfi + bpfo)` and the
    contact angle a, `bsf = r cos(a) (1 - g^2) / (2 g)`. A bearing whose `ftf` gives a whole number of balls may sit on
    a shaft that is not named; the inner ring then turns at `r`. Source as of `bearing_orders`.

    Raises
    ------
    ValueError
        With the arithmetic. Orders may be rounded: a number of balls is whole within 1 %, the others fit within 3 %.

    Examples
    --------
    >>> check_bearing(Orders(bpfo=1.792, bpfi=2.708, ftf=0.1991)).inner_ring
    0.5
    >>> check_bearing(Orders(bpfo=3.585, bpfi=5.415, bsf=4.714))
    Traceback (most recent call last):
    ValueError: bsf = 4.714 is 2 x bsf: with bpfo 3.585 and bpfi 5.415 a ball spins at 2.357 at most, and its defect \
strikes twice a turn; give bsf = 2.357.
    """
    o = orders
    if o.bpfo is None or o.bpfi is None:
        if o.bpfo is not None and o.ftf is not None and _whole(o.bpfo / o.ftf) is None:
            raise ValueError(f"ftf = bpfo / n: {o.bpfo:g} / {o.ftf:g} = {o.bpfo / o.ftf:.4g} is no number of balls.")
        told = [_contradiction(both, balls) for both, balls in _with_both_races(o)]
        if told and all("is 2 x bsf" in wrong for wrong in told):
            raise ValueError(told[0])
        return o
    if o.bpfo >= o.bpfi:
        raise ValueError(f"bpfo must be below bpfi, got {o.bpfo:g} and {o.bpfi:g}; are they swapped?")
    total = o.bpfo + o.bpfi
    named = [_whole(total / speed) for speed in (o.inner_ring, o.outer_ring, *o.shafts, 1.0) if speed is not None]
    # A shaft that is not named is believed less readily where a named one makes a whole number, too.
    by_cage = None if o.ftf is None else _whole(o.bpfo / o.ftf, 0.003 if any(named) else _COUNTED)
    numbers = [balls for balls in dict.fromkeys((*named, by_cage)) if balls is not None]
    if not numbers:
        raise ValueError(
            f"bpfo + bpfi = number of balls x speed of the ring: {o.bpfo:g} + {o.bpfi:g} = {total:g} is no whole number"
            + ("." if o.ftf is None else f", and bpfo / ftf = {o.bpfo / o.ftf:.4g} is none either.")
            + " On a shaft that is not monitored, name reducer, bearing and its shaft, or inner_ring."
        )
    wrong = [_contradiction(o, balls) for balls in numbers]
    if all(wrong):
        raise ValueError(wrong[0])
    ring = total / numbers[wrong.index("")]
    is_other = o.outer_ring is None and abs(ring / (o.inner_ring or 1.0) - 1.0) > _ROUNDING
    return replace(o, inner_ring=round(ring, 3)) if is_other else o


_COUNTED: Final = 0.01
_ROUNDING: Final = 0.03
_LARGEST_ANGLE_DEG: Final = 60.0


def _whole(balls: float, within: float = _COUNTED) -> int | None:
    """Return the number of balls, 3 or more, that a quotient of rounded orders stands for; None where it is none."""
    number = round(balls)
    return number if number >= 3 and abs(balls - number) <= within * number else None


def _with_both_races(o: Orders) -> list[tuple[Orders, int]]:
    """Return orders that name the cage and one race with the other race, for each speed of the ring that is named."""
    found: list[tuple[Orders, int]] = []
    for ring in dict.fromkeys((o.inner_ring, *o.shafts, 1.0)):
        if o.ftf is None or o.outer_ring is not None or ring is None or not o.ftf < ring / 2.0:
            continue
        balls = None
        if o.bpfo is not None or o.bpfi is not None:
            balls = _whole(o.bpfo / o.ftf if o.bpfo is not None else (o.bpfi or 0.0) / (ring - o.ftf))
        if balls is not None:
            found.append((replace(o, bpfo=balls * o.ftf, bpfi=balls * (ring - o.ftf)), balls))
    return found


def _contradiction(o: Orders, balls: int) -> str:
    """Say what contradicts a number of balls; '' where nothing does."""
    assert o.bpfo is not None and o.bpfi is not None
    total = o.bpfo + o.bpfi
    cages = (o.bpfo / balls,) if o.outer_ring is None else (o.bpfo / balls, o.bpfi / balls)
    if o.ftf is not None and not any(abs(o.ftf / cage - 1.0) <= _ROUNDING for cage in cages):
        shown = f"{o.bpfo:g} / {balls} = {cages[0]:.4g}"
        turning = abs(o.ftf * balls / o.bpfi - 1.0) <= _ROUNDING
        hint = " That is the cage of a bearing whose outer ring turns; then name outer_ring." if turning else ""
        return f"ftf = bpfo / n: bpfo + bpfi = {total:g} makes {balls} balls and {shown}, got ftf = {o.ftf:g}.{hint}"
    if o.bsf is None:
        return ""
    g = (o.bpfi - o.bpfo) / total
    highest = total / balls * (1.0 - g * g) / (2.0 * g)
    low, high = (1 - _ROUNDING) * highest * math.cos(math.radians(_LARGEST_ANGLE_DEG)), (1 + _ROUNDING) * highest
    if low <= o.bsf <= high:
        return ""
    known = f"with bpfo {o.bpfo:g} and bpfi {o.bpfi:g} a ball spins at {highest:.4g} at most"
    if low <= o.bsf / 2.0 <= high:
        return f"bsf = {o.bsf:g} is 2 x bsf: {known}, and its defect strikes twice a turn; give bsf = {o.bsf / 2:.4g}."
    return f"bsf = cos(a) (1 - g^2) / (2 g), g = {g:.4g}: {known}, got {o.bsf:g}."


def geometry_version(orders: Orders | None) -> str:
    """Name a geometry by its content.

    Returns
    -------
    str
        First 16 hexadecimal digits of the SHA-256 of a canonical text of the orders, `none` where there are none.
        The order in which gear meshes and shafts are listed does not matter, nor does 3 against 3.0. What is as
        `Orders` has it by default is left out.

    Examples
    --------
    >>> geometry_version(None)
    'none'
    >>> geometry_version(Orders(gear_mesh=(12, 31))) == geometry_version(Orders(gear_mesh=(31.0, 12.0)))
    True
    """
    if orders is None:
        return "none"
    single = {name: getattr(orders, name) for name in BEARING_ORDERS}
    content: dict[str, object] = {
        **{name: None if value is None else float(value) for name, value in single.items()},
        "gear_mesh": sorted(float(value) for value in orders.gear_mesh),
    }
    rings = [None if ring is None else float(ring) for ring in (orders.inner_ring, orders.outer_ring)]
    # Left out where nothing is said of them, so that the name of such a geometry is the one it always had.
    content |= {"rings": rings} if rings != [1.0, None] else {}
    content |= {"shafts": sorted(map(float, orders.shafts))} if orders.shafts else {}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]
