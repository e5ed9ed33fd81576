"""What one signal file holds: format, columns, which of them are numbers, times, their rate and gaps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from pipeline.base.errors import PrerequisiteMissing
from pipeline.importing.clocks.measured_rate import Intervals, MeasuredRate
from pipeline.importing.clocks.sample_times import EPOCH, NANOSECONDS, SINCE_US, TimeReader
from pipeline.importing.formats import FORMATS, open_signal
from pipeline.importing.formats.interface import ReadColumn, SignalFile
from pipeline.importing.formats.packed import content_of
from pipeline.importing.look.text import guess_text
from pipeline.importing.mapping import CsvText, Signal, TimeColumn
from pipeline.importing.problems import SignalUnreadable
from pipeline.intake.contract import EARLIEST_CLOCK

TIME_NAME: Final = re.compile(
    r"t(_.*)?|zeit.*|.*time.*|.*stamp.*|datum.*|date.*|clock|uhrzeit|.*sec(onds)?|elapsed.*|시간|시각|일시", re.I
)
TABLES: Final = ("csv", "parquet")
MOST_REPEATS: Final = 100_000
"""With more rows of one stamp it is no time."""

SPEED_NAME: Final = re.compile(r".*(rpm|speed|drehzahl|omega|tacho|encoder|회전).*", re.I)
HEADER_UNIT: Final = re.compile(r"^(.*?)\s*[\[(]\s*([^\])]+?)\s*[\])]\s*$")
NAME_UNIT: Final = re.compile(r"^(.*)_(s|ms|us|ns|rpm)$")
COMMON: Final = (
    ("1970", "s"), ("1970", "ms"), ("1970", "us"), ("1970", "ns"), ("excel", "d"), ("1904", "s"), ("matlab", "d"),
    ("1601", "100ns"),
)  # fmt: skip
"""Zeros and units of numbers that say when, the usual ones first."""


@dataclass
class LookedColumn:
    """A column: its name, the unit that its header (or the line below) names, and its first values.

    `rows` is equal for columns with the same rows; 1 where there is one value.
    """

    name: str
    unit: str | None
    is_number: bool
    examples: list[str]
    rows: Hashable = ""


@dataclass
class LookedFile:
    """A file that was looked at; `time` is what the time column seems to be, without what nobody can know.

    `says_rate` and `says_start`: by column the variable with its rate or start, and what that says. `kinds` are
    its names as they are in other files, and `names_differ` says whether they are others there.
    """

    path: Path
    form: str
    csv: CsvText | None = None
    columns: list[LookedColumn] = field(default_factory=list)
    time: TimeColumn | None = None
    needs_zone: bool = False
    says_rate: dict[str, tuple[str, float]] = field(default_factory=dict)
    says_start: dict[str, tuple[str, str]] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    names_differ: bool = False
    repeats: bool = False
    first_at: datetime | None = None
    rows: int = 0
    measured: MeasuredRate | None = None
    gaps: int = 0
    time_problem: str | None = None
    problem: str | None = None

    @property
    def signature(self) -> tuple[object, ...]:
        """What files of one mapping share."""
        return self.form, self.csv and self.csv.delimiter, self.kinds


def look_at(path: Path, as_of: datetime, *, read_all: bool) -> LookedFile:
    """Look at a file: its head, and with `read_all` all of its times."""
    form = content_of(path)
    looked = LookedFile(path, form)
    if form not in FORMATS:
        looked.problem = f"is {form}, which is not read here"
        return looked
    try:
        if form == "csv":
            looked.csv = guess_text(path)
        signal = Signal.model_construct(format=form, csv=looked.csv or CsvText())
        opened = open_signal(path, path.name, signal)
        _columns(looked, opened)
        looked.kinds = tuple(kind_of(column.name, path) for column in looked.columns)
        _times(looked, opened, as_of, read_all=read_all)
    except (SignalUnreadable, PrerequisiteMissing, ValidationError, ValueError, OSError) as error:
        looked.problem = str(error)
    return looked


def is_like(path: Path, known: LookedFile) -> bool:
    """Return whether a file has the format and the columns of one that was looked at; reads no more than its head."""
    if known.problem is not None or content_of(path) != known.form:
        return False
    try:
        opened = open_signal(path, path.name, Signal.model_construct(format=known.form, csv=known.csv or CsvText()))
    except SignalUnreadable:
        return False
    names = list(dict.fromkeys(opened.names))
    if tuple(kind_of(name, path) for name in names) != known.kinds:
        return False
    known.names_differ |= names != [column.name for column in known.columns]
    return True


def kind_of(name: str, path: Path) -> str:
    """Return the name of a MATLAB variable, field or element as a pattern of those like it in other files.

    >>> kind_of("X118_DE_time", Path("118.mat")), kind_of("N09_1.Y(7).Data", Path("N09_1.mat"))
    ('X*_DE_time', '*.Y(7).Data')
    """
    if path.suffix != ".mat":
        return name
    head = re.split(r"[.({]", name)[0]
    return ("*" if head == path.stem else re.sub(r"[0-9]+", "*", head)) + name[len(head) :]


def _columns(looked: LookedFile, opened: SignalFile) -> None:
    units = _units_line(looked)
    names = list(dict.fromkeys(opened.names))
    if looked.form not in TABLES:
        _vectors(looked, opened, names)
        return
    for at, name in enumerate(names):
        match = HEADER_UNIT.match(name) or NAME_UNIT.match(name)
        unit = match[2] if match else units[at] if at < len(units) else None
        first = _first(opened, name, numeric=False)
        is_number = _first(opened, name, numeric=True) is not None
        examples = [] if first is None else [str(value) for value in first.slice(0, 3).to_pylist()]
        looked.columns.append(LookedColumn(name, unit or None, is_number, examples))


def _vectors(looked: LookedFile, opened: SignalFile, names: list[str]) -> None:
    """Look at named vectors: those that share their rows are read together, a block of them."""
    rows = {name: opened.rows_of(name) for name in names}
    for together in dict.fromkeys(rows.values()):
        numbers = [ReadColumn("look", name, True) for name in names if rows[name] == together]
        wanted = [column._replace(numeric=not _cannot(opened, column)) for column in numbers]
        why = {column: "" if column.numeric else _cannot(opened, column) for column in wanted}
        good = [column for column in wanted if not why[column]]
        block = next(opened.blocks(good), None) if good else None
        for column in wanted:
            examples = [why[column]] if why[column] else []
            if block is not None and column in good:
                values = block.columns[column.name, column.numeric]
                examples = [str(value) for value in values.slice(0, 3).to_pylist()]
            unit = _unit(looked, opened, column.name)
            looked.columns.append(LookedColumn(column.name, unit, column.numeric, examples, together))
    looked.columns.sort(key=lambda column: names.index(column.name))
    for seen in looked.columns:
        variable = "rate" if looked.form == "wav" else f"{_whole(seen.name)}@rate"
        rate, start = _said(opened, variable), _said(opened, f"{_whole(seen.name)}@start")
        if seen.is_number and isinstance(rate, float):
            looked.says_rate[seen.name] = variable, rate
        if isinstance(start, str):
            looked.says_start[seen.name] = f"{_whole(seen.name)}@start", start


def _cannot(opened: SignalFile, column: ReadColumn) -> str:
    """Return why a column cannot be read; '' where it can be."""
    try:
        opened.n_rows([column])
        return ""
    except SignalUnreadable as error:
        return error.complaints[0].what.removeprefix("look: ")


def _said(opened: SignalFile, variable: str) -> float | str | None:
    try:
        return opened.value(variable)
    except SignalUnreadable:
        return None


def _unit(looked: LookedFile, opened: SignalFile, name: str) -> str | None:
    """Return the unit that a file says of a vector, or its name."""
    said = (_said(opened, f"{_whole(name)}@{key}") for key in ("unit_string", "unit", "units"))
    match = (HEADER_UNIT.match(name) if looked.form == "tdms" else None) or NAME_UNIT.match(_bare(name))
    return next((unit for unit in said if isinstance(unit, str) and unit), match[2] if match else None)


def _whole(name: str) -> str:
    """Return what a column of a matrix belongs to."""
    return re.sub(r"\[[^\]]*\]$", "", name)


def _units_line(looked: LookedFile) -> list[str]:
    """Return the cells of the line after the header, where there is one that is no sample."""
    text = looked.csv
    if text is None or not text.skip_after_header:
        return []
    without = text.model_copy(update={"skip_after_header": 0})
    opened = open_signal(looked.path, looked.path.name, Signal.model_construct(format="csv", csv=without))
    block = next(opened.blocks([ReadColumn("look", name, False) for name in dict.fromkeys(opened.names)]))
    return [str(column[0].as_py() or "").strip() for column in block.columns.values()]


def _first(opened: SignalFile, name: str, *, numeric: bool) -> pa.Array | None:
    """Return the first block of a column; None where it cannot be read so."""
    try:
        opened.n_rows([ReadColumn("look", name, numeric)])
        column: pa.Array = next(opened.blocks([ReadColumn("look", name, numeric)])).columns[name, numeric]
        if numeric and len(column) and column.null_count > 0.5 * len(column):
            return None
        return column
    except (SignalUnreadable, StopIteration):
        return None


def _times(looked: LookedFile, opened: SignalFile, as_of: datetime, *, read_all: bool) -> None:
    size = Counter(column.rows for column in looked.columns if column.is_number)
    named = [column for column in looked.columns if column.rows != 1 and TIME_NAME.fullmatch(_bare(column.name))]
    named.sort(key=lambda column: -size[column.rows])
    for column in named:
        for declared in _ways(column, opened, as_of):
            if _measure(looked, opened, declared, read_all=read_all):
                looked.time = declared
                looked.needs_zone = declared.zone is not None
                return


def _bare(name: str) -> str:
    match = HEADER_UNIT.match(name)
    return re.split(r"[./@]", match[1] if match else name)[-1].strip()


def _ways(column: LookedColumn, opened: SignalFile, as_of: datetime) -> Iterator[TimeColumn]:
    """Yield what a time column may be, the likeliest first."""
    if not column.is_number:
        yield TimeColumn(column=column.name, kind="text")
        yield TimeColumn(column=column.name, kind="text", zone="UTC")
        yield TimeColumn(column=column.name, kind="text", zone="Europe/Berlin", ambiguous="infer")
        for form in ("%d.%m.%Y %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S,%f", "%Y/%m/%d %H:%M:%S.%f",
                     "%Y/%m/%d %H:%M:%S"):  # fmt: skip
            yield TimeColumn(column=column.name, kind="text", zone="UTC", format=form)
        return
    values = _first(opened, column.name, numeric=True)
    number = float(values[0].as_py()) if values is not None and len(values) and values[0].is_valid else 0.0
    for since, unit in COMMON:
        moment_us = number * NANOSECONDS[unit] / 1000 + SINCE_US[since]
        if EARLIEST_CLOCK.timestamp() * 1e6 <= moment_us <= (as_of + timedelta(days=1)).timestamp() * 1e6:
            yield TimeColumn.model_validate({"column": column.name, "kind": "epoch", "unit": unit, "since": since})
    unit = column.unit if column.unit in NANOSECONDS else "s"
    yield TimeColumn.model_validate({"column": column.name, "kind": "elapsed", "unit": unit, "zero": "first_row"})


def _measure(looked: LookedFile, opened: SignalFile, declared: TimeColumn, *, read_all: bool) -> bool:
    """Read the times as declared; return whether that can be."""
    intervals, rows, repeats = Intervals(), 0, False
    repeated = declared.model_copy(update={"repeated": "spread"})
    reader = TimeReader(repeated)
    wanted = [ReadColumn("look", name, declared.kind != "text") for name in declared.columns]
    try:
        for block in opened.blocks(wanted):
            times = reader.feed([block.columns[name, numeric] for _, name, numeric in wanted], block.numbers)
            if reader.is_wrong:
                break
            rows += len(times)
            repeats |= bool((np.diff(times) == 0).any())
            intervals.add(times[np.diff(times, prepend=times[:1] - 1) > 0])
            if not read_all:
                break
        reader.finish()
    except SignalUnreadable as error:
        looked.time_problem = looked.time_problem or error.complaints[0].what
        return False
    if intervals.n < 2 or intervals.last == intervals.first:
        return False
    if repeats and rows > MOST_REPEATS * intervals.n:
        return False
    looked.rows, looked.repeats = rows, repeats
    looked.measured = intervals.measure(declared, None)
    if looked.measured is not None and repeats:
        hz = looked.measured.hz * rows / intervals.n
        looked.measured = replace(looked.measured, hz=hz, shortest_s=1 / hz, longest_s=1 / hz)
    looked.gaps = intervals.count_longer(1.5 * (intervals.median_s() or 0.0))
    looked.first_at = EPOCH + timedelta(microseconds=intervals.first) if declared.is_absolute else None
    return True
