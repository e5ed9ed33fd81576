"""Protocols of kind `simulated`: worlds and sizes in place of filters. No code in them, and no manifest beside them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipeline.base.errors import SettingsError
from pipeline.simulation import FleetSettings

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]

SIMULATED: Final = "simulated"
"""The kind of these protocols."""

MIN_AXES: Final = 12
"""From so many axes on a fleet has a cage fault and the unseen program, see docs/simulation.md."""


def _listed(given: Any) -> Any:
    """Take one seed for a list of one."""
    return [given] if isinstance(given, int) and not isinstance(given, bool) else given


class FleetTable(BaseModel):
    """A side of the protocol: fleets of one world and size, one for each seed. Their axes all have units of their own.

    Attributes
    ----------
    world : str
        As in `pipeline.simulation.FleetSettings`, like all others.
    robots, axes, days, recordings_per_day, samples : int
        Size of each fleet.
    seeds : list of int
        One fleet each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    world: Literal["A", "B"]
    robots: Count
    days: Annotated[int, Field(ge=4)]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), BeforeValidator(_listed)]
    axes: Count = 6
    recordings_per_day: Annotated[int, Field(ge=1, le=48)] = 3
    samples: Annotated[int, Field(ge=512)] = 20_480

    def fleets(self) -> list[FleetSettings]:
        """Give the settings of every fleet of this side."""
        return [
            FleetSettings(
                robots=self.robots,
                axes=self.axes,
                days=self.days,
                recordings_per_day=self.recordings_per_day,
                samples=self.samples,
                seed=seed,
                world=self.world,
            )
            for seed in self.seeds
        ]


class SimulatedProtocol(BaseModel):
    """A whole protocol of kind `simulated`. docs/evaluate.md explains every key."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]
    kind: Literal["simulated"]
    fault_prior: Share
    train: FleetTable
    test: FleetTable

    def problems(self) -> list[str]:
        """Say what would make a figure a lie, or a fleet that cannot be."""
        found = []
        if len(self.train.seeds) > 1:
            found.append("key train.seeds: one fleet is trained on; give one seed and make that fleet larger")
        for name, table in (("train", self.train), ("test", self.test)):
            if len(set(table.seeds)) < len(table.seeds):
                found.append(f"key {name}.seeds: a seed is there twice; the same seed is the same fleet")
            if table.robots * table.axes < MIN_AXES:
                found.append(
                    f"[{name}]: {table.robots * table.axes} axes are too few; from {MIN_AXES} on a fleet has every kind"
                )
            try:
                table.fleets()
            except SettingsError as error:
                found.append(f"[{name}]: {error}")
        both = set(self.train.seeds) & set(self.test.seeds)
        if self.train.world == self.test.world and both:
            found.append(
                f"seed {', '.join(map(str, sorted(both)))} of world {self.test.world} is in [train] and in [test]: the "
                "same seed gives the same units, and figures on units that were trained on are no figures"
            )
        return found
