"""Read a manifest (CSV), and values from its rows."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from collections.abc import Mapping as Filters
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.importing.mapping import Files, Scalar, Source, known_zone
from pipeline.importing.problems import Problems


@dataclass(frozen=True)
class ManifestRow:
    """One row: its line number (the header is line 1), or its signal file if there is no manifest; cells by column."""

    number: int | str
    cells: dict[str, str]

    @property
    def line(self) -> int:
        """Line number in the manifest; TypeError where there is no manifest."""
        if not isinstance(self.number, int):
            raise TypeError(f"file {self.number} is in no manifest, so it has no line number")
        return self.number

    @property
    def name(self) -> str:
        """Name of the row in messages."""
        return f"row {self.number}" if isinstance(self.number, int) else f"file {self.number}"

    def matches(self, filters: Filters[str, list[str]]) -> bool:
        """Return whether every filtered column matches one of its glob patterns; an absent column matches nothing."""
        return all(
            column in self.cells and any(fnmatchcase(self.cells[column], pattern) for pattern in patterns)
            for column, patterns in filters.items()
        )


@dataclass(frozen=True)
class Manifest:
    """A manifest: its name for messages, its columns, its rows, and the number of files that the mapping excludes."""

    where: str
    columns: tuple[str, ...]
    rows: tuple[ManifestRow, ...]
    excluded: int = 0


def read_manifest(path: Path, problems: Problems) -> Manifest | None:
    """Read a manifest; None where it cannot be used at all. Everything wrong is added to `problems`."""
    where = path.name
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if not any(header):
                problems.add(where, "is empty; the first line must name the columns")
                return None
            rows, last = [], reader.line_num
            for cells in reader:
                if cells:
                    rows.append((last + 1, cells))
                last = reader.line_num
    except OSError as error:
        problems.add(where, f"cannot be read ({error.strerror or error}); name a CSV file")
        return None
    except (csv.Error, UnicodeDecodeError) as error:
        problems.add(where, f"is not a CSV file in UTF-8 ({error})")
        return None
    return _check_shape(where, header, rows, problems)


def _check_shape(
    where: str, header: list[str], rows: list[tuple[int, list[str]]], problems: Problems
) -> Manifest | None:
    usable = True
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        problems.add(where, f"column names repeat: {', '.join(map(repr, repeated))}; each must be there once")
        usable = False
    if not rows:
        problems.add(where, "has a header and no rows")
        usable = False
    kept = []
    for number, cells in rows:
        if len(cells) == len(header):
            kept.append(ManifestRow(number, dict(zip(header, cells, strict=True))))
        else:
            problems.add(where, f"has {len(cells)} cells where the header names {len(header)}", row=number)
    return Manifest(where, tuple(header), tuple(kept)) if usable else None


def list_folder(folder: Path, files: Files, problems: Problems) -> Manifest | None:
    """Make a manifest of a folder: one row per file, in the order of their names, in which 2 comes before 10.

    The column `file` has the name of the file; each group of the pattern is another column. None where nothing can be
    used. Everything wrong is added to `problems`.
    """
    where = folder.name or str(folder)
    if not folder.is_dir():
        problems.add(where, "is not a folder; the mapping has [files], so name the folder of the signal files")
        return None
    found = (path.relative_to(folder).as_posix() for path in folder.glob(files.glob) if path.is_file())
    names = sorted(found, key=_by_numbers)
    if not names:
        problems.add(where, f"key files.glob: no file matches {files.glob!r}; correct the pattern or the folder")
        return None
    kept = [name for name in names if not any(fnmatchcase(name, exclude) for exclude in files.exclude)]
    for exclude in files.exclude:
        if not any(fnmatchcase(name, exclude) for name in names):
            problems.add(where, f"key files.exclude: no file matches {exclude!r}; correct the pattern, or remove it")
    if not kept:
        problems.add(where, "key files.exclude: no file is left")
    pattern = re.compile(files.pattern) if files.pattern is not None else None
    rows = []
    for name in kept:
        match = pattern.fullmatch(name) if pattern else None
        if pattern and not match:
            text = f"key files.pattern: the name does not match {files.pattern!r}; correct it, or narrow files.glob"
            problems.add(where, text, row=name)
            continue
        groups = {key: text or "" for key, text in match.groupdict().items()} if match else {}
        rows.append(ManifestRow(name, {"file": name, **groups}))
    columns = ("file", *(pattern.groupindex if pattern else ()))
    return Manifest(where, columns, tuple(rows), len(names) - len(kept))


def _by_numbers(name: str) -> tuple[list[str | int], str]:
    """Return a key that orders names as people number them: `2.csv` before `10.csv`."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)], name


def resolve(
    source: Source, cells: dict[str, str], variable: Callable[[str], float | str] | None = None
) -> Scalar | None:
    """Return a value of a row: from a column or template (then map or suffix are applied), or from a variable.

    Parameters
    ----------
    source : Source
    cells : dict
        Text by manifest column.
    variable : callable, optional
        Returns the number in a variable of the row's MATLAB file.

    Returns
    -------
    str, int, float, bool or None
        None for an empty cell without a default.

    Raises
    ------
    ValueError
        The suffix is missing, or the value is not in the map.
    KeyError
        A column is not in the manifest.
    """
    if source.value is not None:
        return source.value
    if source.from_times:
        raise ValueError("from_times is for recording.sampling_rate_hz only")
    if source.variable is not None:
        if variable is None:
            raise ValueError(
                f"variable {source.variable!r}: variables are there for recording, channel and time.start only"
            )
        text, origin = str(variable(source.variable)), f"variable {source.variable!r}"
    elif source.column is not None:
        text, origin = cells[source.column], f"column {source.column!r}"
    else:
        parts = {name: cells[name] for name in source.columns()}
        empty = next((name for name, cell in parts.items() if not cell), None)
        if empty is not None and source.default is None:
            raise ValueError(f"column {empty!r} is empty and the template {source.template!r} needs it")
        text = "" if empty is not None else (source.template or "").format_map(parts)
        origin = f"template {source.template!r}"
    if source.map is not None and text in source.map:
        return source.map[text]
    if not text:
        return source.default
    if source.map is not None:
        raise ValueError(f"{origin}: value {text!r} is not in the map; add it to the mapping")
    if source.suffix is not None:
        if not text.endswith(source.suffix):
            raise ValueError(f"{origin}: {text!r} does not end in {source.suffix!r}, as the mapping says it does")
        text = text.removesuffix(source.suffix)
    return text


def as_text(value: Scalar) -> str:
    """Return a value as text; a number becomes its shortest text. ValueError for true or false."""
    if isinstance(value, bool):
        raise ValueError(f"must be text, got {value!r}")
    return str(value)


def as_number(value: Scalar) -> float:
    """Return a finite number, from a number or from text; ValueError for anything else."""
    try:
        if isinstance(value, bool) or "_" in str(value):
            raise ValueError
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"must be a finite number, got {value!r}")
    return number


def as_flag(value: Scalar) -> bool:
    """Return True or False, from a bool or from its text; ValueError for anything else."""
    text = str(value).lower()
    if text not in ("true", "false"):
        raise ValueError(f"must be true or false, got {value!r}; translate it with a map")
    return text == "true"


EARLIEST, LATEST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)
"""A year within what a datetime can be, so that it is one in every zone."""


def as_moment(value: Scalar, zone: str | None = None, form: str | None = None) -> datetime:
    """Return a time in UTC, from an ISO 8601 time with an offset or from local time in a declared zone.

    `form`: how another notation is read, as in strptime.

    Raises
    ------
    ValueError
        The value is not a time, has no offset where no zone is declared, or is a local time that the zone has twice or
        never (change of daylight saving time).
    """
    try:
        moment = datetime.fromisoformat(str(value)) if form is None else datetime.strptime(str(value), form)  # noqa: DTZ007
    except ValueError:
        wanted = "an ISO 8601 time such as 2026-05-01T06:00:00Z" if form is None else f"a time like {form!r}"
        raise ValueError(f"must be {wanted}, got {value!r}; see time.format") from None
    if not EARLIEST <= moment.replace(tzinfo=UTC) <= LATEST:
        raise ValueError(f"time {value!r} is too near an end of the calendar; correct it")
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    if zone is None:
        raise ValueError(
            f"time {value!r} has no offset from UTC; local time is refused, add an offset or declare a zone"
        )
    local = moment.replace(tzinfo=known_zone(zone))
    first, second = local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)
    if first != second:
        raise ValueError(f"time {value!r} comes twice or never in {zone} (the clocks change); add an offset")
    return first
