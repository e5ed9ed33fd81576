"""A protocol (TOML): which rows of a manifest are trained on, which are judged, and how. It contains no code."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pipeline.base.errors import AxiswatchError, SettingsError, problem_text
from pipeline.base.toml_text import parse_toml, read_toml_text
from pipeline.importing.mapping import Filters
from pipeline.simulation import FleetSettings

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]

SIMULATED: Final = "simulated"
"""Kind of the protocols that judge simulated fleets."""

MIN_AXES: Final = 12
"""With this many axes or more, a fleet has a cage fault and the unseen program, see docs/simulation.md."""


def _one_seed_listed(value: Any) -> Any:
    """Accept a single seed as a list of one."""
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


class FleetTable(BaseModel):
    """A side of the protocol: fleets of one world and size, one for each seed. No unit is in two fleets.

    Attributes
    ----------
    world : str
        A or B. All attributes have the same meaning as in `pipeline.simulation.FleetSettings`.
    robots, axes, days, recordings_per_day, samples : int
        Size of each fleet.
    seeds : list of int
        One fleet for each seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    world: Literal["A", "B"]
    robots: Count
    days: Annotated[int, Field(ge=4)]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), BeforeValidator(_one_seed_listed)]
    axes: Count = 6
    recordings_per_day: Annotated[int, Field(ge=1, le=48)] = 3
    samples: Annotated[int, Field(ge=512)] = 20_480

    def fleets(self) -> list[FleetSettings]:
        """Return the settings of every fleet of this side."""
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
    band_seeds: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_one_seed_listed)] = []

    def other_fleets(self) -> list[FleetSettings]:
        """Return the fleets like that of [train] whose models the credible band is compared with."""
        return self.train.model_copy(update={"seeds": self.band_seeds}).fleets()

    def problems(self) -> list[str]:
        """Return what would make the figures wrong, and fleets that cannot be simulated; one sentence each."""
        problems = []
        if len(self.train.seeds) > 1:
            problems.append("key train.seeds: training uses one fleet; give one seed and make that fleet larger")
        for name, table in (("train", self.train), ("test", self.test)):
            if len(set(table.seeds)) < len(table.seeds):
                problems.append(f"key {name}.seeds: a seed is listed twice; the same seed gives the same fleet")
            if table.robots * table.axes < MIN_AXES:
                problems.append(
                    f"[{name}]: {table.robots * table.axes} axes are too few; with {MIN_AXES} or more a fleet has "
                    "every kind of axis"
                )
            try:
                table.fleets()
            except SettingsError as error:
                problems.append(f"[{name}]: {error}")
        taken = [*self.train.seeds, *(self.test.seeds if self.test.world == self.train.world else ())]
        if len({*taken, *self.band_seeds}) < len(set(taken)) + len(self.band_seeds):
            problems.append("key band_seeds: a seed is listed twice, or is that of [train] or a judged fleet")
        both = set(self.train.seeds) & set(self.test.seeds)
        if self.train.world == self.test.world and both:
            problems.append(
                f"seed {', '.join(map(str, sorted(both)))} of world {self.test.world} is in [train] and in [test]: the "
                "same seed gives the same units, and units that were trained on cannot be judged"
            )
        return problems


Name = Annotated[str, Field(min_length=1)]


def _listed(value: Any) -> Any:
    """Accept a single name, or a single table, as a list of one."""
    return [value] if isinstance(value, (str, dict)) else value


Side = Annotated[list[Filters], Field(min_length=1), BeforeValidator(_listed)]
"""Filter tables of one side; a row belongs to it that matches one of them."""


NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "classification": ("label", "unit", "train", "test"),
    "trend": ("unit", "test"),
    "healthy": ("unit", "test"),
}
"""Keys that a kind needs, besides name and kind."""

TAKEN: Final[dict[str, tuple[str, ...]]] = {
    "classification": (
        "label",
        "healthy",
        "unit",
        "vote",
        "shared_units",
        "fault_prior",
        "train",
        "test",
        "unseen",
        "baseline",
        "baseline_by",
    ),
    "trend": ("label", "unit", "baseline_share", "test"),
    "healthy": ("label", "healthy", "unit", "vote", "shared_units", "baseline_share", "train", "test"),
}
"""Keys that a kind accepts, besides name and kind."""


class EvaluationRefused(AxiswatchError, ValueError):
    """An evaluation cannot be carried out; the message lists everything wrong with its protocol or manifest.

    Attributes
    ----------
    problems : list of str
        One sentence each.
    """

    def __init__(self, where: str, problems: list[str]) -> None:
        self.problems = list(problems)
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__("\n".join([f"{where} refused, {count}:", *(f"- {problem}" for problem in problems)]))


class Protocol(BaseModel):
    """A whole protocol. docs/evaluate.md explains every key."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]
    kind: Literal["classification", "trend", "healthy"]
    label: Name | None = None
    healthy: Name | None = None
    unit: Name | None = None
    vote: Name | None = None
    shared_units: list[Name] = []
    fault_prior: Share | None = None
    baseline_share: Share = 0.2
    baseline_by: Annotated[list[Name], Field(min_length=1), BeforeValidator(_listed)] | None = None
    train: Side | None = None
    test: Side | None = None
    unseen: Side | None = None
    baseline: Side | None = None

    @property
    def rigs(self) -> tuple[str, ...]:
        """Columns that together identify a rig; each rig has its own baseline."""
        return tuple(self.baseline_by or ())

    def filters(self) -> dict[str, list[Filters]]:
        """Return the filter tables of each side that the protocol has, by its name."""
        sides = {name: getattr(self, name) for name in ("train", "test", "unseen", "baseline")}
        return {name: tables for name, tables in sides.items() if tables is not None}

    def columns(self) -> list[tuple[str, str]]:
        """Return every manifest column that the protocol names, as pairs of key and column."""
        columns = [(key, value) for key in ("label", "unit", "vote") if (value := getattr(self, key)) is not None]
        columns += [("baseline_by", column) for column in self.rigs]
        return columns + [
            (f"{side}.{column}", column)
            for side, tables in self.filters().items()
            for named in tables
            for column in named
        ]


def shipped_protocols() -> list[str]:
    """Return the names of the protocols that come with axiswatch."""
    folder = files("pipeline").joinpath("protocols")
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_protocol(protocol: Path | str) -> Protocol | SimulatedProtocol:
    """Read a protocol file, or a shipped protocol by its name.

    Raises
    ------
    EvaluationRefused
        The file cannot be read, is not TOML, or breaks a rule; the message lists everything wrong.
    """
    path = Path(protocol)
    where = f"protocol {path.name or path}"
    try:
        if str(protocol) in shipped_protocols() and not path.is_file():
            text = files("pipeline").joinpath("protocols", f"{protocol}.toml").read_text("utf-8")
        else:
            text = read_toml_text(path)
        content = parse_toml(text)
    except OSError as error:
        shipped = ", ".join(shipped_protocols())
        reason = f"cannot be read ({error.strerror or error}); give a path to a .toml file or one of: {shipped}"
        raise EvaluationRefused(where, [reason]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EvaluationRefused(where, [f"is not TOML ({error}); see docs/evaluate.md for an example"]) from error
    read: Protocol | SimulatedProtocol
    try:
        if content.get("kind") == SIMULATED:
            read = SimulatedProtocol.model_validate(content)
            problems = read.problems()
        else:
            read = Protocol.model_validate(content)
            problems = _misfits(read, content)
    except ValidationError as error:
        raise EvaluationRefused(
            where, [_explain(cast("dict[str, Any]", detail), content) for detail in error.errors()]
        ) from error
    if problems:
        raise EvaluationRefused(where, problems)
    return read


def _misfits(protocol: Protocol, content: dict[str, Any]) -> list[str]:
    """Return which keys a protocol of this kind lacks, and which it does not use."""
    kind = protocol.kind
    problems = [
        f"key {key}: is missing; kind {kind!r} needs it" for key in NEEDED[kind] if getattr(protocol, key) is None
    ]
    useless = [key for key in content if key not in (*TAKEN[kind], "name", "kind")]
    problems += [f"key {key}: kind {kind!r} does not use it; remove it" for key in useless]
    problems += [
        f"key {side}: has no filter and so would take every row; name a column and its patterns"
        for side, tables in protocol.filters().items()
        if not all(tables)
    ]
    if (protocol.baseline is None) != (protocol.baseline_by is None):
        lacking, there = (
            ("baseline_by", "[baseline]") if protocol.baseline_by is None else ("[baseline]", "baseline_by")
        )
        problems.append(f"key {lacking}: is missing; {there} needs it")
    if protocol.baseline is not None and protocol.healthy is None:
        problems.append(
            "key healthy: is missing; a baseline is made of healthy rows, so name the label value of healthy rows"
        )
    return problems


def _explain(detail: dict[str, Any], content: dict[str, Any]) -> str:
    place = list(detail["loc"])
    if len(place) > 1 and isinstance(content.get(place[0]), dict) and place[1] == 0:
        del place[1]  # a single table, which has no number in the file
    key = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in place)
    match detail["type"]:
        case "missing":
            text = "is missing; declare it (docs/evaluate.md lists every key)"
        case "extra_forbidden":
            text = "is not a key of a protocol; correct or remove it (docs/evaluate.md lists every key)"
        case "string_pattern_mismatch" if key == "name":
            text = f"may hold letters, digits, '.', '_', '-', the first a letter or digit; got {detail['input']!r:.80}"
        case _:
            text = f"{problem_text(detail)}; got {detail['input']!r:.80}"
    return f"key {key}: {text}" if key else text
