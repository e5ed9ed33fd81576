"""The part of a mapping that says where samples are: sources of values, text files, time columns, channels, folders."""

from __future__ import annotations

import re
import string
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scalar = str | int | float | bool
Filters = dict[str, Annotated[list[str], Field(min_length=1)]]
"""Column = glob patterns, any of which matches; columns are joined by "and"."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


class Part(BaseModel):
    """A table of a mapping: no unknown keys, no silent conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(Part):
    """Where a value comes from: column, constant, template of columns or variable; then suffix, map, default."""

    column: Name | None = None
    value: Scalar | None = None
    template: Name | None = None
    variable: Name | None = None
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
        if sum(part is not None for part in (self.column, self.value, self.template, self.variable)) != 1:
            raise ValueError("needs exactly one of column, value, template and (MATLAB files) variable")
        alone = self.suffix is None and self.map is None and self.default is None
        if not alone and (self.value is not None or self.variable is not None):
            raise ValueError("a value stands alone: suffix, map and default belong to a column or a template")
        if self.suffix is not None and self.map is not None:
            raise ValueError("takes a suffix or a map, not both")
        self.columns()
        return self

    def columns(self) -> list[str]:
        """Name the manifest columns it reads."""
        return [self.column] if self.column is not None else template_columns(self.template or "")


class CsvText(Part):
    """How a text file is written."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    encoding: Name = "utf-8"
    header: bool = True
    skip_lines: Annotated[int, Field(ge=0)] = 0
    skip_after_header: Annotated[int, Field(ge=0)] = 0
    comment: Name | None = None
    missing_texts: list[str] = Field(default_factory=list)

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
    """The column of a signal file that says when each sample was taken."""

    column: Name
    kind: Literal["text", "epoch", "elapsed"]
    unit: Literal["s", "ms", "us", "ns"] | None = None
    format: Name | None = None
    zone: Name | None = None
    zero: Literal["start", "first_row"] | None = None
    rate_tolerance: Annotated[float, Field(gt=0, le=0.5)] = 0.02
    interval_tolerance: Annotated[float, Field(gt=0, le=0.9)] = 0.5

    @model_validator(mode="after")
    def _is_declared(self) -> TimeColumn:
        if (self.unit is None) != (self.kind == "text"):
            raise ValueError("unit (s, ms, us, ns) goes with kind epoch and elapsed, which have to declare it")
        if (self.zero is None) != (self.kind != "elapsed"):
            raise ValueError('zero ("start" or "first_row") goes with kind elapsed, which has to declare it')
        if self.kind != "text" and (self.format is not None or self.zone is not None):
            raise ValueError("format and zone go with kind text only")
        if self.format is not None and "%z" not in self.format and self.zone is None:
            raise ValueError("a format without %z needs a zone, such as Europe/Berlin or UTC")
        if self.zone is not None:
            known_zone(self.zone)
        return self

    @property
    def is_absolute(self) -> bool:
        """Whether the column alone says when, without the start of the row."""
        return self.kind != "elapsed"


class SampleRules(Part):
    """Which rows of a signal file belong to a signal, and which of them are no readings."""

    rows: Filters = Field(default_factory=dict)
    missing_values: list[Finite] = Field(default_factory=list)
    missing_where: Filters = Field(default_factory=dict)
    valid_min: Finite | None = None
    valid_max: Finite | None = None


class Signal(SampleRules):
    """Where the samples are."""

    format: Literal["parquet", "csv", "mat"]
    file: Source | None = None
    column: Source | None = None
    n_samples: Source | None = None
    csv: CsvText = CsvText()
    time: TimeColumn | None = None

    @model_validator(mode="after")
    def _fits_its_format(self) -> Signal:
        if self.format != "csv" and "csv" in self.model_fields_set:
            raise ValueError(f'[signal.csv] goes with format = "csv", not with {self.format!r}')
        if self.format == "mat" and self.time is not None and self.time.kind == "text":
            raise ValueError("a MATLAB file has no text times here; its time variable is epoch or elapsed")
        return self


class Files(Part):
    """Signal files of a folder instead of a manifest: what their names say."""

    glob: Name
    pattern: Name | None = None

    @model_validator(mode="after")
    def _stays_below(self) -> Files:
        if PurePosixPath(self.glob).is_absolute() or ".." in PurePosixPath(self.glob).parts:
            raise ValueError("glob starts from the folder and stays below it, such as *.csv or **/*.csv")
        if "**" in self.glob and any("**" in part and part != "**" for part in PurePosixPath(self.glob).parts):
            raise ValueError("** stands alone between slashes, such as **/*.csv")
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groupindex
            except re.error as error:
                raise ValueError(f"pattern is no regular expression ({error})") from None
            if "file" in groups:
                raise ValueError("pattern may not name a group 'file': that is the column with the file's name")
        return self


def known_zone(name: str) -> ZoneInfo:
    """Give a time zone by its IANA name; ValueError where this computer does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"zone {name!r} is not known here; write an IANA name such as Europe/Berlin, or UTC") from None


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
