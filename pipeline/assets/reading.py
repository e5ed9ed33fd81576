"""Read an asset file, TOML or CSV, and collect everything that is wrong with it."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.assets.checks import duplicates, facts_of_axes
from pipeline.assets.entries import (
    AxisEntry,
    BearingEntry,
    GeometryEntry,
    ReducerEntry,
    UnitEntry,
    is_name,
    wrong_entries,
)
from pipeline.assets.geometry import ResolvedGeometry, bearing_alone, resolve_geometry
from pipeline.base.errors import AxiswatchError
from pipeline.base.toml_text import parse_toml, read_toml_text

VERSION = 1
SECTIONS = ("version", "axis", "unit", "geometry", "reducer", "bearing")
CSV_COLUMNS = (*UnitEntry.model_fields, "criticality")
CSV_REQUIRED = ("robot_id", "axis", "unit_serial", "installed_at")
Entry = TypeVar("Entry", bound=BaseModel)


@dataclass
class AssetsFile:
    """The correct entries of an asset file, and what is wrong with the others.

    `facts` has the properties of each axis (`criticality`, `expected_every_s`). `declared` has the names of all
    geometries in the file, wrong ones included.
    """

    unit: list[UnitEntry] = field(default_factory=list)
    axis: list[AxisEntry] = field(default_factory=list)
    geometry: dict[str, ResolvedGeometry] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def geometry_of(self, unit: UnitEntry) -> ResolvedGeometry | None:
        """Return a unit's geometry: from its bearing's designation, or as this file defines it; else None."""
        if unit.bearing is not None:
            return bearing_alone(unit.bearing)
        return self.geometry.get(unit.geometry) if unit.geometry is not None else None


def parse_assets(path: Path) -> AssetsFile:
    """Read an asset file; what is wrong with its entries is in `problems`.

    Raises
    ------
    AxiswatchError
        The file cannot be read, or is neither TOML nor CSV.
    """
    is_csv = path.suffix.lower() == ".csv"
    assets = _parse_csv(path) if is_csv else _parse_toml(path)
    assets.problems += duplicates(assets.unit)
    assets.facts, wrong = facts_of_axes(assets.axis, assets.unit, complete=not is_csv)
    assets.problems += wrong
    return assets


def refuse(path: Path, problems: list[str]) -> None:
    """Raise an AxiswatchError that lists all problems; do nothing where there are none."""
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise AxiswatchError(f"{path} is no asset registry:\n{listed}")


def unknown_geometries(assets: AssetsFile, known: set[str]) -> list[str]:
    """List the units whose geometry is neither in the file nor in the registry."""
    return [
        f"unit {unit.unit_serial}: geometry {unit.geometry!r} is not defined in this file and not in the registry"
        for unit in assets.unit
        if unit.geometry is not None and unit.geometry not in assets.declared | known
    ]


def _text_of(path: Path, read: Callable[[Path], str]) -> str:
    try:
        return read(path)
    except OSError as error:
        raise AxiswatchError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AxiswatchError(f"{path} is not in UTF-8: {error}") from error


def _parse_toml(path: Path) -> AssetsFile:
    try:
        document = parse_toml(_text_of(path, read_toml_text))
    except tomllib.TOMLDecodeError as error:
        raise AxiswatchError(f"{path} is not TOML: {error}") from error
    assets = AssetsFile()
    assets.problems += [f"{name}: Extra inputs are not permitted" for name in document if name not in SECTIONS]
    version = document.get("version")
    if version is None:
        assets.problems.append("version: Field required")
    elif version != VERSION or isinstance(version, bool):
        assets.problems.append(f"version: this axiswatch reads version {VERSION}, got {version!r}")
    reducers = _named(document, "reducer", ReducerEntry, assets.problems)
    bearings = _named(document, "bearing", BearingEntry, assets.problems)
    geometries = _named(document, "geometry", GeometryEntry, assets.problems)
    assets.declared = set(_table(document, "geometry", []))
    for name, raw in _table(document, "geometry", []).items():
        if isinstance(raw, Mapping) and not raw.get("source") and not ({"reducer", "bearing"} & set(raw)):
            assets.problems.append(f"geometry.{name}.source: Field required")
    # A wrong entry is reported once; entries that refer to it are not reported too.
    broken = {name for kind in ("reducer", "bearing") for name in _table(document, kind, [])} - {*reducers, *bearings}
    for name, entry in geometries.items():
        if not broken & {*entry.reducer, entry.bearing}:
            _resolve(assets, name, entry, reducers, bearings)
    assets.axis = _many(document, "axis", AxisEntry, assets.problems)
    assets.unit = _many(document, "unit", UnitEntry, assets.problems)
    for unit in assets.unit:
        _check_bearing(f"unit {unit.unit_serial}", unit, assets.problems)
    return assets


def _resolve(
    assets: AssetsFile,
    name: str,
    entry: GeometryEntry,
    reducers: dict[str, ReducerEntry],
    bearings: dict[str, BearingEntry],
) -> None:
    try:
        assets.geometry[name] = resolve_geometry(name, entry, reducers, bearings)
    except ValueError as error:
        assets.problems.append(f"geometry.{name}: {error}")
    else:
        assets.notes += [f"geometry {name}: {note}" for note in assets.geometry[name].notes]


def _check_bearing(where: str, unit: UnitEntry, problems: list[str]) -> None:
    if unit.bearing is not None:
        try:
            bearing_alone(unit.bearing)
        except ValueError as error:
            problems.append(f"{where}: {error}")


def _table(document: Mapping[str, Any], kind: str, problems: list[str]) -> dict[str, Any]:
    value = document.get(kind, {})
    if not isinstance(value, dict):
        problems.append(f"{kind}: must be tables [{kind}.NAME]")
        return {}
    return value


def _named(document: Mapping[str, Any], kind: str, model: type[Entry], problems: list[str]) -> dict[str, Entry]:
    entries = {}
    for name, raw in _table(document, kind, problems).items():
        if not is_name(name):
            problems.append(
                f"{kind}.{name}: no name; it needs 1 to 200 letters that can be printed, and no outer spaces"
            )
            continue
        try:
            entries[name] = model.model_validate(raw)
        except ValidationError as error:
            problems += wrong_entries(f"{kind}.{name}", list(error.errors()))
    return entries


def _many(document: Mapping[str, Any], kind: str, model: type[Entry], problems: list[str]) -> list[Entry]:
    values = document.get(kind, [])
    if not isinstance(values, list):
        problems.append(f"{kind}: must be tables [[{kind}]]")
        return []
    entries = []
    for number, raw in enumerate(values):
        try:
            entries.append(model.model_validate(raw))
        except ValidationError as error:
            problems += wrong_entries(f"{kind}.{number}", list(error.errors()))
    return entries


def _parse_csv(path: Path) -> AssetsFile:
    text = _text_of(path, lambda path: path.read_text(encoding="utf-8-sig"))
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        header = list(reader.fieldnames or [])
        lines = [(reader.line_num, line) for line in reader]
    except csv.Error as error:
        raise AxiswatchError(f"{path} is no CSV: {error}") from error
    assets = AssetsFile()
    assets.problems += [f"column {name!r} is not known" for name in header if name not in CSV_COLUMNS]
    assets.problems += [f"column {name} is missing" for name in CSV_REQUIRED if name not in header]
    assets.problems += [f"column {name} is there twice" for name in sorted(set(header)) if header.count(name) > 1]
    if assets.problems:
        return assets
    for number, line in lines:
        if None in line:
            assets.problems.append(f"line {number}: more cells than columns")
            continue
        cells: dict[str, Any] = {name: value.strip() for name, value in line.items() if value and value.strip()}
        _csv_row(f"line {number}", cells, assets)
    return assets


def _csv_row(where: str, cells: dict[str, Any], assets: AssetsFile) -> None:
    criticality = cells.pop("criticality", None)
    try:
        unit = UnitEntry.model_validate(cells)
        assets.unit.append(unit)
        _check_bearing(where, unit, assets.problems)
    except ValidationError as error:
        assets.problems += wrong_entries(where, list(error.errors()))
    if criticality is None:
        return
    try:
        place = {name: cells.get(name, "-") for name in ("robot_id", "axis")}
        place |= {name: cells[name] for name in ("site", "cell") if name in cells}
        assets.axis.append(AxisEntry.model_validate({**place, "criticality": criticality}))
    except ValidationError as error:
        assets.problems += [
            problem for problem in wrong_entries(where, list(error.errors())) if "criticality: " in problem
        ]
