"""The entries of an asset file: units, axes, reducers, bearings and geometries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from features.kinematics import BEARING_ORDERS, Orders, bearing_orders
from features.reducers import (
    Stage,
    check_ratio,
    gear_pair,
    harmonic,
    known_ratio,
    plain_belt,
    planetary,
    rv,
    toothed_belt,
)
from pipeline.assets.catalogue import find_bearing
from pipeline.base.errors import AxiswatchError, problem_text
from pipeline.base.ids import axis_id

LONGEST_S = 10 * 366 * 86_400.0
"""Longest time that may be declared between two recordings, s."""

FORMS: dict[str, tuple[tuple[Callable[..., Stage], tuple[str, ...], tuple[str, ...]], ...]] = {
    "gear_pair": ((gear_pair, ("driving_teeth", "driven_teeth"), ()),),
    "planetary": ((planetary, ("sun_teeth", "planet_teeth", "ring_teeth", "n_planets"), ("fixed", "driving")),),
    "rv": ((rv, ("sun_teeth", "planet_teeth", "pins"), ("lobes", "n_crankshafts", "fixed")),),
    "harmonic": ((harmonic, ("flexspline_teeth", "circular_spline_teeth"), ("lobes", "fixed")),),
    "belt": (
        (toothed_belt, ("driving_teeth", "driven_teeth", "belt_teeth"), ()),
        (plain_belt, ("driving_diameter", "driven_diameter", "belt_length"), ()),
    ),
}
"""Reducers by type: the function, its required counts, and its optional ones."""


def _moment(value: object) -> object:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a time with an offset, such as 2026-01-31T08:00:00Z")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no ISO 8601 time; write for example 2026-01-31T08:00:00Z") from error


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError(f"{value!r} has characters that cannot be printed")
    return value


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, Field(max_length=200, pattern=r"^\S(.*\S)?$"), AfterValidator(_printable)]
Words = Annotated[str, Field(max_length=200, pattern=r"^(\S(.*\S)?)?$"), AfterValidator(_printable)]
"""A name, or nothing."""
Order = Annotated[float, Field(ge=1e-6, lt=1e6, allow_inf_nan=False)]
"""Bounded on both sides: quotients of such numbers neither vanish nor overflow."""
Length = Order
Time = Annotated[AwareDatetime, BeforeValidator(_moment)]
Between = Annotated[float, Field(gt=0, le=LONGEST_S)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReducerEntry(_Strict):
    """A reducer: the counts of its parts (teeth, planets, pins ...), or its ratio alone."""

    type: Literal["gear_pair", "planetary", "rv", "harmonic", "belt"]
    source: Name
    ratio: Order | None = None
    driving_teeth: StrictInt | None = None
    driven_teeth: StrictInt | None = None
    belt_teeth: StrictInt | None = None
    driving_diameter: Length | None = None
    driven_diameter: Length | None = None
    belt_length: Length | None = None
    sun_teeth: StrictInt | None = None
    planet_teeth: StrictInt | None = None
    ring_teeth: StrictInt | None = None
    n_planets: StrictInt | None = None
    pins: StrictInt | None = None
    lobes: StrictInt | None = None
    n_crankshafts: StrictInt | None = None
    flexspline_teeth: StrictInt | None = None
    circular_spline_teeth: StrictInt | None = None
    fixed: str | None = None
    driving: str | None = None

    def stage(self) -> Stage:
        """Return the reducer as a stage of a drive train.

        Raises
        ------
        ValueError
            Counts are missing, do not fit the type or one another, or contradict the declared ratio.
        """
        counts = self.model_dump(exclude={"type", "source", "ratio"}, exclude_none=True)
        if not counts and self.ratio is not None:
            return known_ratio(self.type, self.ratio)
        for build, required, optional in FORMS[self.type]:
            if set(required) <= set(counts) <= {*required, *optional}:
                stage = build(**counts)
                if self.ratio is not None:
                    check_ratio(stage, self.ratio)
                return stage
        forms = " or ".join(
            ", ".join(required) + (f" (and optionally {', '.join(optional)})" if optional else "")
            for _, required, optional in FORMS[self.type]
        )
        raise ValueError(f"type {self.type} takes {forms}, or ratio alone; got {', '.join(counts) or 'nothing'}")

    @model_validator(mode="after")
    def _can_be_built(self) -> ReducerEntry:
        self.stage()
        return self


class BearingEntry(_Strict):
    """A bearing: its catalogue designation, or its geometry by hand."""

    designation: Name | None = None
    n_balls: StrictInt | None = None
    ball_diameter: Length | None = None
    pitch_diameter: Length | None = None
    contact_angle_deg: float = 0.0
    source: Name | None = None

    def at_rest(self) -> tuple[Orders, str]:
        """Return the orders with the outer ring at rest, and their source.

        Raises
        ------
        ValueError
            The designation is not in the catalogue, or the geometry is incomplete or impossible.
        """
        by_hand = self.model_fields_set - {"designation"}
        if self.designation is not None:
            if by_hand:
                raise ValueError(f"designation and {', '.join(sorted(by_hand))} exclude each other; keep one of both")
            return bearing_by_designation(self.designation)
        if self.n_balls is None or self.ball_diameter is None or self.pitch_diameter is None or self.source is None:
            raise ValueError("takes designation, or n_balls, ball_diameter, pitch_diameter and source")
        orders = bearing_orders(self.n_balls, self.ball_diameter, self.pitch_diameter, self.contact_angle_deg)
        return orders, self.source

    @model_validator(mode="after")
    def _whole(self) -> BearingEntry:
        self.at_rest()
        return self


def bearing_by_designation(text: str) -> tuple[Orders, str]:
    """Return orders and source of a bearing of the catalogue; ValueError (for validators) where there is none."""
    try:
        bearing = find_bearing(text)
    except AxiswatchError as error:
        raise ValueError(str(error)) from error
    return bearing.orders(), bearing.source


class GeometryEntry(_Strict):
    """Orders of one shaft (multiples of its speed): as numbers, or from reducers and a bearing."""

    bpfo: Order | None = None
    bpfi: Order | None = None
    bsf: Order | None = None
    ftf: Order | None = None
    gear_mesh: tuple[Order, ...] = ()
    inner_ring: Order | None = None
    outer_ring: Order | None = None
    shafts: tuple[Order, ...] = ()
    reducer: Annotated[tuple[Name, ...], Field(max_length=10), BeforeValidator(_one_or_more)] = ()
    bearing: Name | None = None
    shaft: str = "input"
    outer_shaft: str | None = None
    monitored_shaft: str = "input"
    source: Words = ""

    @model_validator(mode="after")
    def _one_way(self) -> GeometryEntry:
        orders = [name for name in BEARING_ORDERS if getattr(self, name) is not None]
        if self.bearing is not None and orders:
            raise ValueError(f"bearing and {', '.join(orders)} exclude each other; keep one of both")
        rings = [name for name in ("inner_ring", "outer_ring") if getattr(self, name) is not None]
        if self.bearing is not None and rings:
            raise ValueError(f"bearing and {', '.join(rings)} exclude each other; name the bearing's shaft instead")
        for name in ("gear_mesh", "shafts"):
            if self.reducer and getattr(self, name):
                raise ValueError(f"reducer and {name} exclude each other; keep one of both")
        if not self.bearing and ({"shaft", "outer_shaft"} & self.model_fields_set):
            raise ValueError("shaft and outer_shaft are the shafts of a bearing; name the bearing")
        return self


class AxisEntry(_Strict):
    """An axis, without the units on it."""

    site: Words = ""
    cell: Words = ""
    robot_id: Name
    axis: Name
    criticality: Annotated[int, Field(ge=1, le=5)] | None = None
    expected_every_s: Between | None = None

    @property
    def axis_id(self) -> str:
        """Id of the axis."""
        return axis_id(self.site, self.cell, self.robot_id, self.axis)


class UnitEntry(_Strict):
    """A unit in its time on an axis."""

    site: Words = ""
    cell: Words = ""
    robot_id: Name
    axis: Name
    unit_serial: Name
    geometry: Name | None = None
    bearing: Name | None = None
    installed_at: Time
    removed_at: Time | None = None
    expected_every_s: Between | None = None

    @model_validator(mode="after")
    def _period(self) -> UnitEntry:
        for name in ("installed_at", "removed_at"):
            moment = getattr(self, name)
            try:
                _ = moment and moment.astimezone(UTC)
            except OverflowError as error:
                raise ValueError(f"{name} is out of range in UTC") from error
        if self.removed_at is not None and self.removed_at <= self.installed_at:
            raise ValueError("removed_at must be after installed_at")
        if self.geometry is not None and self.bearing is not None:
            raise ValueError("geometry and bearing exclude each other; keep one of both")
        return self

    @property
    def axis_id(self) -> str:
        """Id of the axis that it is on."""
        return axis_id(self.site, self.cell, self.robot_id, self.axis)

    @property
    def place(self) -> str:
        """Name of the axis for messages: site/cell/robot/axis."""
        return "/".join(part for part in (self.site, self.cell, self.robot_id, self.axis) if part)


def is_name(text: str) -> bool:
    """Return whether a text can be the name of something."""
    try:
        TypeAdapter(Name).validate_python(text)
    except ValidationError:
        return False
    return True


def wrong_entries(where: str, errors: list[Any]) -> list[str]:
    """Return pydantic's errors of one entry as lines of a list: `unit.0.axis: ...` or `line 2: axis: ...`."""
    separator = ": " if where.startswith("line ") else "."
    lines = []
    for item in errors:
        key = ".".join(str(part) for part in item["loc"])
        lines.append(f"{where}{separator}{key}: {problem_text(item)}" if key else f"{where}: {problem_text(item)}")
    return lines
