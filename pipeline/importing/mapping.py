"""The mapping file: what the columns of a manifest and its signals mean. docs/mapping.md explains every key."""

from __future__ import annotations

import string
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from pipeline.taxonomy import Cause, Component, Evidence, Mode, Severity, Verdict

Scalar = str | int | float | bool
Filters = dict[str, Annotated[list[str], Field(min_length=1)]]
"""Manifest column = glob patterns, any of which matches; columns are joined by "and"."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(_Part):
    """Where a value comes from: a manifest column, a constant or a template of columns, then suffix, map, default."""

    column: Name | None = None
    value: Scalar | None = None
    template: Name | None = None
    suffix: Name | None = None
    map: dict[str, Scalar] | None = None
    default: Scalar | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_table(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            raise ValueError('must be a table such as { value = "A1" } or { column = "rpm" }')
        return given

    @model_validator(mode="after")
    def _says_one_thing(self) -> Source:
        if sum(part is not None for part in (self.column, self.value, self.template)) != 1:
            raise ValueError("needs exactly one of column, value, template")
        if self.value is not None and not (self.suffix is None and self.map is None and self.default is None):
            raise ValueError("a value stands alone: suffix, map and default belong to a column or a template")
        if self.suffix is not None and self.map is not None:
            raise ValueError("takes a suffix or a map, not both")
        self.columns()
        return self

    def columns(self) -> list[str]:
        """Name the manifest columns it reads."""
        return [self.column] if self.column is not None else template_columns(self.template or "")


class Signal(_Part):
    """Where the samples are."""

    format: Literal["parquet"]
    file: Source
    column: Source
    n_samples: Source | None = None
    missing_values: list[Finite] = []


class Recording(_Part):
    """The contract columns that the manifest and the mapping declare."""

    site: Source
    cell: Source | None = None
    robot_id: Source
    axis: Source
    channel: Source
    quantity: Source
    unit: Source
    sampling_rate_hz: Source
    rate_basis: Source
    shaft_speed_rpm: Source | None = None
    speed_is_steady: Source | None = None
    load: Source | None = None
    payload_kg: Source | None = None
    temperature_c: Source | None = None
    program: Source | None = None
    unit_serial: Source | None = None


class ClockTime(_Part):
    """Times that were measured: ISO 8601 with an offset."""

    basis: Literal["clock"]
    start: Source


class SyntheticTime(_Part):
    """Times made up for an archive that has none: the first recording at `start`, the next `spacing_s` later."""

    basis: Literal["synthetic"]
    start: AwareDatetime
    spacing_s: Positive
    recording: Source


class CutEvery(_Part):
    """Cut at seams: every `samples` samples of the source file."""

    kind: Literal["cut_every"]
    samples: Annotated[int, Field(ge=1)]
    where: Filters = {}


class CutAtChanges(_Part):
    """Cut where a column of the signal file changes its value (a snapshot or cycle number)."""

    kind: Literal["cut_at_changes"]
    column: Name
    start_s_column: Name | None = None
    where: Filters = {}


class Decimate(_Part):
    """Low-pass and keep every `factor`-th sample."""

    kind: Literal["decimate"]
    factor: Annotated[int, Field(ge=2, le=1000)]
    where: Filters = {}


class Scale(_Part):
    """Multiply by a declared factor, after which the unit is `unit`."""

    kind: Literal["scale"]
    factor: Finite
    unit: Name
    where: Filters = {}

    @model_validator(mode="after")
    def _keeps_the_signal(self) -> Scale:
        if self.factor == 0:
            raise ValueError("factor 0 would erase the signal; declare what one count is worth")
        return self


class CutToLength(_Part):
    """Cut into recordings of at most `seconds`."""

    kind: Literal["cut_to_length"]
    seconds: Positive
    where: Filters = {}


Process = CutEvery | CutAtChanges | Decimate | Scale | CutToLength


class Pieces(_Part):
    """What becomes of the pieces that cutting leaves."""

    min_samples: Annotated[int, Field(ge=1)] = 1


class LabelValue(_Part):
    """What one value of the label column means, in the words of `pipeline.taxonomy`."""

    verdict: Annotated[Verdict, Field(strict=False)]
    component: Annotated[Component, Field(strict=False)] | None = None
    mode: Annotated[Mode, Field(strict=False)] | None = None
    cause: Annotated[Cause, Field(strict=False)] | None = None
    severity: Annotated[Severity, Field(strict=False)] | None = None
    evidence: Annotated[Evidence, Field(strict=False)]
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _mode_goes_with_fault(self) -> LabelValue:
        if self.mode is not None and self.verdict != Verdict.FAULT:
            raise ValueError(f"mode {self.mode.value!r} goes with verdict 'fault' only")
        return self


class Label(_Part):
    """How a manifest row becomes a label."""

    column: Name
    values: dict[str, LabelValue]
    unlabelled: list[str] = []
    note: Source | None = None
    known_at: AwareDatetime | None = None


class Geometry(_Part):
    """Orders (cycles per turn of the monitored shaft) of a bearing and its gears."""

    bpfo: Positive | None = None
    bpfi: Positive | None = None
    bsf: Positive | None = None
    ftf: Positive | None = None
    gear_mesh: list[Positive] = []
    source: Name

    @model_validator(mode="after")
    def _has_an_order(self) -> Geometry:
        if not self.gear_mesh and all(order is None for order in (self.bpfo, self.bpfi, self.bsf, self.ftf)):
            raise ValueError("needs at least one of bpfo, bpfi, bsf, ftf, gear_mesh")
        return self


class Asset(_Part):
    """What is said about the physical units in assets.toml."""

    geometry: Source | None = None
    installed_at: AwareDatetime | Source | None = None


class Mapping(_Part):
    """A whole mapping file."""

    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    select: Filters = {}
    signal: Signal
    recording: Recording
    time: Annotated[ClockTime | SyntheticTime, Field(discriminator="basis")]
    process: list[Annotated[Process, Field(discriminator="kind")]] = []
    pieces: Pieces = Pieces()
    label: Label | None = None
    asset: Asset | None = None
    geometry: dict[str, Geometry] = {}

    @model_validator(mode="after")
    def _assets_are_units(self) -> Mapping:
        if self.asset is not None and self.recording.unit_serial is None:
            raise ValueError("[asset] describes physical units: declare recording.unit_serial, or leave [asset] out")
        return self


MAPPING_SECTIONS: Final[dict[str, tuple[type[BaseModel], ...]]] = {
    "": (Mapping,),
    "source": (Source,),
    "signal": (Signal,),
    "recording": (Recording,),
    "time": (ClockTime, SyntheticTime),
    "process": (CutEvery, CutAtChanges, Decimate, Scale, CutToLength),
    "pieces": (Pieces,),
    "label": (Label,),
    "label.values.VALUE": (LabelValue,),
    "asset": (Asset,),
    "geometry.NAME": (Geometry,),
}
"""Every table of a mapping with the models behind it; docs/mapping.md lists their keys and a test compares."""


def template_columns(template: str) -> list[str]:
    """Name the `{column}` parts of a template; ValueError where it holds anything but plain columns."""
    names = []
    for _, name, spec, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if not name or spec or conversion or set(name) & set(".[]"):
            raise ValueError(f"template {template!r} may hold nothing but {{column}} parts")
        names.append(name)
    return names
