"""The mapping file: what the columns of a manifest and its signals mean. docs/mapping.md explains every key."""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from features.kinematics import Orders, check_bearing
from pipeline.labels.words import Cause, Component, Evidence, Mode, Severity, Verdict

Scalar = str | int | float | bool
Filters = dict[str, Annotated[list[str], Field(min_length=1)]]
"""Glob patterns by column. One pattern of each column has to match."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is beyond the calendar in UTC; correct it") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class Part(BaseModel):
    """A table of a mapping: no unknown keys, no silent conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(Part):
    """Where a value comes from: column, constant, template of columns, or variable; then suffix, map, default."""

    column: Name | None = None
    value: Scalar | None = None
    template: Name | None = None
    variable: Name | None = None
    from_times: Literal[True] | None = None
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
        ways = (self.column, self.value, self.template, self.variable, self.from_times)
        if sum(part is not None for part in ways) != 1:
            raise ValueError("needs exactly one of column, value, template, variable and (the rate) from_times")
        alone = self.suffix is None and self.map is None and self.default is None
        if not alone and (self.value is not None or self.from_times is not None):
            raise ValueError("a value takes no suffix, map or default; they belong to a column or a template")
        if self.suffix is not None and self.map is not None:
            raise ValueError("takes a suffix or a map, not both")
        self.columns()
        return self

    def columns(self) -> list[str]:
        """Return the names of the manifest columns that it reads."""
        return [self.column] if self.column is not None else template_columns(self.template or "")


class CsvText(Part):
    """Format of a text file."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    encoding: Name = "utf-8"
    header: bool = True
    skip_lines: Annotated[int, Field(ge=0)] = 0
    skip_after_header: Annotated[int, Field(ge=0)] = 0
    comment: Name | None = None
    missing_texts: list[str] = Field(default_factory=list)
    drop_cut_off_end: bool = False

    @model_validator(mode="after")
    def _can_be_read(self) -> CsvText:
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(
                f"encoding {self.encoding!r} is not known; write utf-8, cp1252, utf-16 or the like"
            ) from None
        if self.delimiter == self.decimal:
            raise ValueError(f"delimiter and decimal are both {self.decimal!r}; they have to differ")
        if self.delimiter in '"\r\n':
            raise ValueError("delimiter cannot be a quotation mark or a line end")
        if self.skip_after_header and not self.header:
            raise ValueError("skip_after_header needs a header; count the lines in skip_lines")
        return self


class TimeColumn(Part):
    """The column of a signal file with the time of each sample."""

    column: Name
    time_of_day_column: Name | None = None
    kind: Literal["text", "epoch", "elapsed"]
    unit: Literal["d", "h", "min", "s", "ms", "us", "100ns", "ns"] | None = None
    since: Literal["1601", "excel", "1904", "1970", "matlab"] | None = None
    format: Name | None = None
    zone: Name | None = None
    ambiguous: Literal["refuse", "infer"] = "refuse"
    repeated: Literal["refuse", "spread"] = "refuse"
    zero: Literal["start", "first_row"] | None = None
    rate_tolerance: Annotated[float, Field(gt=0, le=0.5)] = 0.02
    interval_tolerance: Annotated[float, Field(gt=0, le=0.9)] = 0.5

    @model_validator(mode="after")
    def _is_declared(self) -> TimeColumn:
        if (self.unit is None) != (self.kind == "text"):
            raise ValueError("unit (s, ms, us, ns) goes with kind epoch and elapsed, which have to declare it")
        if (self.zero is None) != (self.kind != "elapsed"):
            raise ValueError('zero ("start" or "first_row") goes with kind elapsed, which has to declare it')
        if self.kind != "text" and (self.format is not None or self.time_of_day_column is not None):
            raise ValueError("format and time_of_day_column go with kind text only")
        if self.kind == "elapsed" and self.zone is not None:
            raise ValueError("zone goes with kind text and, for numbers that count local time, with kind epoch")
        if self.kind != "epoch" and self.since is not None:
            raise ValueError("since goes with kind epoch only")
        if self.format is not None and "%z" not in self.format and self.zone is None:
            raise ValueError("a format without %z needs a zone, such as Europe/Berlin or UTC")
        if self.ambiguous == "infer" and self.zone is None:
            raise ValueError("ambiguous needs the zone whose clocks change")
        if self.zone is not None:
            known_zone(self.zone)
        return self

    @property
    def is_absolute(self) -> bool:
        """Whether the column alone has the times, without a start in the manifest's row."""
        return self.kind != "elapsed"

    @property
    def columns(self) -> list[str]:
        """The columns of the file that it reads."""
        return [self.column] if self.time_of_day_column is None else [self.column, self.time_of_day_column]


class SpeedColumn(Part):
    """The column of a signal file with the speed of a shaft, the counts of its encoder or the pulses of its tacho."""

    column: Name
    unit: Literal["rpm", "rad/s", "deg/s", "Hz", "counts", "pulses"]
    per_turn: Positive | None = None
    wraps_at: Positive | None = None
    threshold: Finite | None = None
    ratio: Positive = 1.0
    use: Literal["mean", "trace"] = "mean"

    @model_validator(mode="after")
    def _is_declared(self) -> SpeedColumn:
        if (self.per_turn is not None) != (self.unit in ("counts", "pulses")):
            raise ValueError("per_turn goes with unit counts and pulses, which have to declare it")
        if (self.threshold is not None) != (self.unit == "pulses"):
            raise ValueError("threshold goes with unit pulses, which has to declare it")
        if self.wraps_at is not None and self.unit != "counts":
            raise ValueError("wraps_at goes with unit counts only")
        return self


class SampleRules(Part):
    """Which rows of a signal file belong to a signal, and which of them count as missing."""

    rows: Filters = Field(default_factory=dict)
    missing_values: list[Finite] = Field(default_factory=list)
    missing_where: Filters = Field(default_factory=dict)
    valid_min: Finite | None = None
    valid_max: Finite | None = None


ROW_FORMATS: Final = ("csv", "parquet", "hdf5")
"""Formats in which a row of the file can be a recording."""


class Signal(SampleRules):
    """Where the samples are. `format` is one of `pipeline.importing.formats.FORMATS`, which loading passes in."""

    format: Name
    file: Source | None = None
    column: Source | None = None
    n_samples: Source | None = None
    on_bad_file: Literal["refuse", "leave out"] = "refuse"
    layout: Literal["column", "row"] = "column"
    row_spacing_s: Positive | None = None
    csv: CsvText = CsvText()
    time: TimeColumn | None = None
    speed: SpeedColumn | None = None

    @field_validator("format")
    @classmethod
    def _is_known(cls, name: str, info: ValidationInfo) -> str:
        known = (info.context or {}).get("formats", (name,))
        if name not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return name

    @model_validator(mode="after")
    def _fits_its_layout(self) -> Signal:
        if self.row_spacing_s is not None and (self.layout != "row" or self.time is not None):
            raise ValueError('row_spacing_s goes with layout = "row", and without [signal.time]')
        if self.layout == "row" and self.format not in ROW_FORMATS:
            raise ValueError(f'layout = "row" goes with format {", ".join(ROW_FORMATS)}, not with {self.format!r}')
        return self

    @model_validator(mode="after")
    def _fits_its_format(self) -> Signal:
        if self.format != "csv" and "csv" in self.model_fields_set:
            raise ValueError(f'[signal.csv] goes with format = "csv", not with {self.format!r}')
        if self.format == "mat" and self.time is not None and self.time.kind == "text":
            raise ValueError("a MATLAB file has no text times here; its time variable is epoch or elapsed")
        return self


class Files(Part):
    """Signal files of a folder instead of a manifest; their names hold the columns."""

    glob: Name
    pattern: Name | None = None
    exclude: list[Name] = Field(default_factory=list)

    @model_validator(mode="after")
    def _stays_below(self) -> Files:
        if PurePosixPath(self.glob).is_absolute() or ".." in PurePosixPath(self.glob).parts:
            raise ValueError("glob starts from the folder and stays below it, such as *.csv or **/*.csv")
        if "**" in self.glob and any("**" in part and part != "**" for part in PurePosixPath(self.glob).parts):
            raise ValueError("** must be alone between slashes, such as **/*.csv")
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groupindex
            except re.error as error:
                raise ValueError(f"pattern is no regular expression ({error})") from None
            if "file" in groups:
                raise ValueError("pattern may not name a group 'file': that is the column with the file's name")
        return self


def known_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name; ValueError where this computer does not have it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"zone {name!r} is not known here; write an IANA name such as Europe/Berlin, or UTC") from None


def template_columns(template: str) -> list[str]:
    """Return the columns in a template's `{column}` parts; ValueError for any other kind of part."""
    names = []
    for _, name, spec, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if not name or spec or conversion or set(name) & set(".[]"):
            raise ValueError(f"template {template!r} may hold nothing but {{column}} parts")
        names.append(name)
    return names


__all__ = ["Filters", "Mapping", "Process", "SampleRules", "Scalar", "Signal", "Source", "SpeedColumn"]


class MappedRecording(Part):
    """The columns of the log contract, each with its source in the manifest or the mapping."""

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


class Channel(MappedRecording, SampleRules):
    """One signal of every file. What it does not declare is taken from [signal] and [recording]."""

    column: Source | None = None
    factor: Finite | None = None
    offset: Finite | None = None
    every: Annotated[int, Field(ge=2)] | Literal["filled"] | None = None

    @model_validator(mode="after")
    def _keeps_the_signal(self) -> Channel:
        if self.factor == 0:
            raise ValueError("factor 0 would erase the signal; declare what one count is worth")
        return self


class ClockTime(Part):
    """Measured times: ISO 8601 with an offset or in a declared zone, or in the time column of the signal file."""

    basis: Literal["clock"]
    start: Source | None = None
    format: Name | None = None
    zone: Name | None = None

    @model_validator(mode="after")
    def _zone_is_known(self) -> ClockTime:
        if self.zone is not None:
            known_zone(self.zone)
        return self


class SyntheticTime(Part):
    """Synthetic times for an archive without times: the first recording at `start`, the next `spacing_s` later."""

    basis: Literal["synthetic"]
    start: Moment
    spacing_s: Positive
    recording: Source


class CutEvery(Part):
    """Cut after every `samples` samples of the source file."""

    kind: Literal["cut_every"]
    samples: Annotated[int, Field(ge=1)]
    spacing_s: Positive | None = None
    where: Filters = Field(default_factory=dict)


class CutAtChanges(Part):
    """Cut where a column of the signal file (such as a cycle number) changes its value."""

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
    """Low-pass filter, then keep every `factor`-th sample."""

    kind: Literal["decimate"]
    factor: Annotated[int, Field(ge=2, le=1000)]
    where: Filters = Field(default_factory=dict)


class Resample(Part):
    """Resample at equal steps of the sampling rate, from the times of the samples."""

    kind: Literal["resample"]
    where: Filters = Field(default_factory=dict)


class Scale(Part):
    """Multiply by a declared factor and add an offset; the new unit is `unit`."""

    kind: Literal["scale"]
    factor: Finite
    offset: Finite = 0.0
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


Process = CutEvery | CutAtChanges | Resample | Decimate | Scale | CutToLength


class Pieces(Part):
    """Which pieces are kept after cutting: those with at least `min_samples` samples."""

    min_samples: Annotated[int, Field(ge=1)] = 1


class LabelValue(Part):
    """The meaning of one value of the label column, in the words of `pipeline.labels.words`."""

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


class MappedLabel(Part):
    """How a manifest row becomes a label."""

    column: Name
    values: dict[str, LabelValue]
    unlabelled: list[str] = Field(default_factory=list)
    note: Source | None = None
    known_at: Moment | None = None


class MappedGeometry(Part):
    """Orders (cycles per turn of the monitored shaft) of a bearing and of gears, with their source."""

    bpfo: Positive | None = None
    bpfi: Positive | None = None
    bsf: Positive | None = None
    ftf: Positive | None = None
    gear_mesh: list[Positive] = Field(default_factory=list)
    inner_ring: Positive | None = None
    outer_ring: Positive | None = None
    shafts: list[Positive] = Field(default_factory=list)
    source: Name

    @property
    def orders(self) -> Orders:
        """What features are read at, as the asset registry has it."""
        return check_bearing(
            Orders(
                self.bpfo,
                self.bpfi,
                self.bsf,
                self.ftf,
                tuple(self.gear_mesh),
                inner_ring=self.inner_ring or (None if self.outer_ring else 1.0),
                outer_ring=self.outer_ring,
                shafts=tuple(self.shafts),
            )
        )

    @model_validator(mode="after")
    def _has_an_order(self) -> MappedGeometry:
        if not self.gear_mesh and all(order is None for order in (self.bpfo, self.bpfi, self.bsf, self.ftf)):
            raise ValueError("needs at least one of bpfo, bpfi, bsf, ftf, gear_mesh")
        _ = self.orders
        return self


class Asset(Part):
    """What goes into assets.toml about the physical units."""

    geometry: Source | None = None
    installed_at: Moment | Source | None = None


class Mapping(Part):
    """A whole mapping file."""

    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    files: Files | None = None
    select: Filters = Field(default_factory=dict)
    signal: Signal
    recording: MappedRecording = MappedRecording()
    channel: list[Channel] = Field(default_factory=list)
    time: Annotated[ClockTime | SyntheticTime, Field(discriminator="basis")]
    process: list[Annotated[Process, Field(discriminator="kind")]] = Field(default_factory=list, max_length=20)
    pieces: Pieces = Pieces()
    label: MappedLabel | None = None
    asset: Asset | None = None
    geometry: dict[str, MappedGeometry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _assets_are_units(self) -> Mapping:
        if self.asset is not None and not all(channel.unit_serial for channel in self.channels()):
            raise ValueError("[asset] describes physical units: declare recording.unit_serial, or leave [asset] out")
        return self

    @model_validator(mode="after")
    def _says_the_speed_once(self) -> Mapping:
        if self.signal.speed is not None and any(channel.shaft_speed_rpm for channel in self.channels()):
            raise ValueError("[signal.speed] says the speed: leave recording.shaft_speed_rpm out")
        return self

    @model_validator(mode="after")
    def _slow_channels_have_rows(self) -> Mapping:
        slow = [channel.every for channel in self.channel if channel.every is not None]
        if slow and self.signal.layout == "row":
            raise ValueError('channel.every counts rows of samples; with layout = "row" a row is a recording')
        if "filled" in slow and self.signal.time is None:
            raise ValueError('channel.every = "filled" needs [signal.time]: nothing else says when a reading was taken')
        return self

    @model_validator(mode="after")
    def _says_when_once(self) -> Mapping:
        column = self.signal.time
        absolute = column is not None and column.is_absolute
        if self.time.basis == "clock" and (self.time.start is None) != absolute:
            raise ValueError("[time]: basis clock needs start, or a [signal.time] of kind text or epoch, and not both")
        if self.time.basis == "synthetic" and absolute:
            raise ValueError('[time]: [signal.time] says when, so basis is "clock"')
        if column is None and any(step.kind == "resample" for step in self.process):
            raise ValueError("resample needs the times of the samples: declare [signal.time]")
        for step in self.process:
            spacing = getattr(step, "spacing_s", None)
            if column is not None and (spacing is not None or getattr(step, "start_s_column", None) is not None):
                raise ValueError(f"[signal.time] says when: {step.kind} takes neither start_s_column nor spacing_s")
            if spacing is not None and self.time.basis == "clock":
                raise ValueError(f"{step.kind}: spacing_s makes times up, which goes with time basis synthetic only")
        return self

    def channels(self) -> tuple[Channel, ...]:
        """Return every signal of a row, with all that [signal], [recording] and its [[channel]] declare."""
        base = {name: getattr(self.recording, name) for name in MappedRecording.model_fields}
        base |= {name: getattr(self.signal, name) for name in (*SampleRules.model_fields, "column")}
        declared = [{name: getattr(channel, name) for name in channel.model_fields_set} for channel in self.channel]
        base |= dict.fromkeys(("factor", "offset", "every"))
        return tuple(Channel.model_construct(**{**base, **own}) for own in declared or [{}])
