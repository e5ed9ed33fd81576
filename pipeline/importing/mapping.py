"""The mapping file: what the columns of a manifest and its signals mean. docs/mapping.md explains every key."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from pipeline.importing.signal_mapping import (
    CsvText,
    Files,
    Filters,
    Finite,
    Name,
    Part,
    Positive,
    SampleRules,
    Scalar,
    Signal,
    Source,
    TimeColumn,
    known_zone,
)
from pipeline.labels.words import Cause, Component, Evidence, Mode, Severity, Verdict

__all__ = ["Filters", "Mapping", "Process", "SampleRules", "Scalar", "Signal", "Source"]


class Recording(Part):
    """The contract columns that the manifest and the mapping declare."""

    site: Source | None = None
    cell: Source | None = None
    robot_id: Source | None = None
    axis: Source | None = None
    channel: Source | None = None
    quantity: Source | None = None
    unit: Source | None = None
    sampling_rate_hz: Source | None = None
    rate_basis: Source | None = None
    shaft_speed_rpm: Source | None = None
    speed_is_steady: Source | None = None
    load: Source | None = None
    payload_kg: Source | None = None
    temperature_c: Source | None = None
    program: Source | None = None
    unit_serial: Source | None = None


REQUIRED_FIELDS: Final = ("site", "robot_id", "axis", "channel", "quantity", "unit", "sampling_rate_hz", "rate_basis")
"""What [recording] or every [[channel]] has to declare."""


class Channel(Recording, SampleRules):
    """One signal of every file: what [signal] and [recording] say, unless it is said here."""

    column: Source | None = None
    factor: Finite | None = None

    @model_validator(mode="after")
    def _keeps_the_signal(self) -> Channel:
        if self.factor == 0:
            raise ValueError("factor 0 would erase the signal; declare what one count is worth")
        return self


class ClockTime(Part):
    """Times that were measured: ISO 8601 with an offset or in a declared zone; or they are in the time column."""

    basis: Literal["clock"]
    start: Source | None = None
    zone: Name | None = None

    @model_validator(mode="after")
    def _zone_is_known(self) -> ClockTime:
        if self.zone is not None:
            known_zone(self.zone)
        return self


class SyntheticTime(Part):
    """Times made up for an archive that has none: the first recording at `start`, the next `spacing_s` later."""

    basis: Literal["synthetic"]
    start: AwareDatetime
    spacing_s: Positive
    recording: Source


class CutEvery(Part):
    """Cut at seams: every `samples` samples of the source file."""

    kind: Literal["cut_every"]
    samples: Annotated[int, Field(ge=1)]
    spacing_s: Positive | None = None
    where: Filters = Field(default_factory=dict)


class CutAtChanges(Part):
    """Cut where a column of the signal file changes its value (a snapshot or cycle number)."""

    kind: Literal["cut_at_changes"]
    column: Name
    start_s_column: Name | None = None
    spacing_s: Positive | None = None
    where: Filters = Field(default_factory=dict)

    @model_validator(mode="after")
    def _starts_one_way(self) -> CutAtChanges:
        if self.start_s_column is not None and self.spacing_s is not None:
            raise ValueError("takes start_s_column (measured) or spacing_s (made up), not both")
        return self


class Decimate(Part):
    """Low-pass and keep every `factor`-th sample."""

    kind: Literal["decimate"]
    factor: Annotated[int, Field(ge=2, le=1000)]
    where: Filters = Field(default_factory=dict)


class Scale(Part):
    """Multiply by a declared factor, after which the unit is `unit`."""

    kind: Literal["scale"]
    factor: Finite
    unit: Name
    where: Filters = Field(default_factory=dict)

    @model_validator(mode="after")
    def _keeps_the_signal(self) -> Scale:
        if self.factor == 0:
            raise ValueError("factor 0 would erase the signal; declare what one count is worth")
        return self


class CutToLength(Part):
    """Cut into recordings of at most `seconds`."""

    kind: Literal["cut_to_length"]
    seconds: Positive
    where: Filters = Field(default_factory=dict)


Process = CutEvery | CutAtChanges | Decimate | Scale | CutToLength


class Pieces(Part):
    """What becomes of the pieces that cutting leaves."""

    min_samples: Annotated[int, Field(ge=1)] = 1


class LabelValue(Part):
    """What one value of the label column means, in the words of `pipeline.labels.words`."""

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


class Label(Part):
    """How a manifest row becomes a label."""

    column: Name
    values: dict[str, LabelValue]
    unlabelled: list[str] = Field(default_factory=list)
    note: Source | None = None
    known_at: AwareDatetime | None = None


class Geometry(Part):
    """Orders (cycles per turn of the monitored shaft) of a bearing and its gears."""

    bpfo: Positive | None = None
    bpfi: Positive | None = None
    bsf: Positive | None = None
    ftf: Positive | None = None
    gear_mesh: list[Positive] = Field(default_factory=list)
    source: Name

    @model_validator(mode="after")
    def _has_an_order(self) -> Geometry:
        if not self.gear_mesh and all(order is None for order in (self.bpfo, self.bpfi, self.bsf, self.ftf)):
            raise ValueError("needs at least one of bpfo, bpfi, bsf, ftf, gear_mesh")
        return self


class Asset(Part):
    """What is said about the physical units in assets.toml."""

    geometry: Source | None = None
    installed_at: AwareDatetime | Source | None = None


class Mapping(Part):
    """A whole mapping file."""

    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    files: Files | None = None
    select: Filters = Field(default_factory=dict)
    signal: Signal
    recording: Recording = Recording()
    channel: list[Channel] = Field(default_factory=list)
    time: Annotated[ClockTime | SyntheticTime, Field(discriminator="basis")]
    process: list[Annotated[Process, Field(discriminator="kind")]] = Field(default_factory=list)
    pieces: Pieces = Pieces()
    label: Label | None = None
    asset: Asset | None = None
    geometry: dict[str, Geometry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _assets_are_units(self) -> Mapping:
        if self.asset is not None and not all(one.unit_serial for one in self.channels()):
            raise ValueError("[asset] describes physical units: declare recording.unit_serial, or leave [asset] out")
        return self

    @model_validator(mode="after")
    def _says_when_once(self) -> Mapping:
        column = self.signal.time
        absolute = column is not None and column.is_absolute
        if self.time.basis == "clock" and (self.time.start is None) != absolute:
            raise ValueError("[time]: basis clock needs start, or a [signal.time] of kind text or epoch, and not both")
        if self.time.basis == "synthetic" and absolute:
            raise ValueError('[time]: [signal.time] says when, so basis is "clock"')
        for step in self.process:
            spacing = getattr(step, "spacing_s", None)
            if column is not None and (spacing is not None or getattr(step, "start_s_column", None) is not None):
                raise ValueError(f"[signal.time] says when: {step.kind} takes neither start_s_column nor spacing_s")
            if spacing is not None and self.time.basis == "clock":
                raise ValueError(f"{step.kind}: spacing_s makes times up, which goes with time basis synthetic only")
        return self

    def channels(self) -> tuple[Channel, ...]:
        """Every signal of a row with all that [signal], [recording] and its [[channel]] say about it."""
        base = {name: getattr(self.recording, name) for name in Recording.model_fields}
        base |= {name: getattr(self.signal, name) for name in (*SampleRules.model_fields, "column")}
        given = [{name: getattr(one, name) for name in one.model_fields_set} for one in self.channel]
        return tuple(Channel.model_construct(**{**base, "factor": None, **own}) for own in given or [{}])


MAPPING_SECTIONS: Final[dict[str, tuple[type[BaseModel], ...]]] = {
    "": (Mapping,),
    "source": (Source,),
    "files": (Files,),
    "signal": (Signal,),
    "signal.csv": (CsvText,),
    "signal.time": (TimeColumn,),
    "recording": (Recording,),
    "channel": (Channel,),
    "time": (ClockTime, SyntheticTime),
    "process": (CutEvery, CutAtChanges, Decimate, Scale, CutToLength),
    "pieces": (Pieces,),
    "label": (Label,),
    "label.values.VALUE": (LabelValue,),
    "asset": (Asset,),
    "geometry.NAME": (Geometry,),
}
"""Every table of a mapping with the models behind it; docs/mapping.md lists their keys and a test compares."""
