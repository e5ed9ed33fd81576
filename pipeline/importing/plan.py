"""Judge every row of a manifest against its mapping and the signal files' metadata, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from pipeline.importing.checks import check_recordings
from pipeline.importing.loading import read_mapping
from pipeline.importing.manifest import (
    Manifest,
    ManifestRow,
    as_flag,
    as_moment,
    as_number,
    as_text,
    read_manifest,
    resolve,
)
from pipeline.importing.mapping import Geometry, LabelValue, Mapping, Process, Scalar, Source
from pipeline.importing.metadata import FileCheck, check_steps
from pipeline.importing.problems import Problems

PARSERS: Final[dict[str, Callable[[Scalar], Any]]] = {
    "sampling_rate_hz": as_number,
    "shaft_speed_rpm": as_number,
    "speed_is_steady": as_flag,
    "load": as_number,
    "payload_kg": as_number,
    "temperature_c": as_number,
}
"""How a contract column is read; the others are text."""

MAY_BE_EMPTY: Final = ("site", "cell")
"""Required text that may be '' (unknown)."""

NEVER_EMPTY: Final = ("signal.file", "signal.column", "time.start", "time.recording")
"""What every row has to say besides the required contract columns."""


@dataclass(frozen=True)
class PlannedRow:
    """One manifest row, judged: what will be read and what every recording of it will say."""

    row: ManifestRow
    file: str
    path: Path
    signal_column: str
    fields: dict[str, Any]
    source_rate_hz: float
    n_source: int
    missing_values: tuple[float, ...]
    steps: tuple[Process, ...]
    min_samples: int
    started_at: datetime
    time_basis: str
    label_text: str | None
    label: LabelValue | None
    note: str
    geometry: str | None
    installed_at: datetime | None

    @property
    def point(self) -> tuple[str, str, str, str, str]:
        """The measurement point: site, cell, robot_id, axis, channel."""
        return (*self.axis, self.fields["channel"])

    @property
    def axis(self) -> tuple[str, str, str, str]:
        """The robot axis: site, cell, robot_id, axis."""
        fields = self.fields
        return (fields["site"], fields["cell"], fields["robot_id"], fields["axis"])

    @property
    def ends_at(self) -> datetime:
        """When the signal ends if it is one burst at the source's rate."""
        return self.started_at + timedelta(seconds=self.n_source / self.source_rate_hz)

    @property
    def is_one_burst(self) -> bool:
        """False where the signal file itself says when its stretches began."""
        return all(getattr(step, "start_s_column", None) is None for step in self.steps)


@dataclass(frozen=True)
class ImportPlan:
    """A whole import, judged and ready to be carried out."""

    name: str
    mapping: Mapping
    rows: tuple[PlannedRow, ...]
    geometries: dict[str, Geometry]
    notes: tuple[str, ...]

    def by_file(self) -> dict[Path, list[PlannedRow]]:
        """The rows of each signal file, files in manifest order."""
        grouped: dict[Path, list[PlannedRow]] = {}
        for planned in self.rows:
            grouped.setdefault(planned.path, []).append(planned)
        return grouped


def plan_import(
    manifest: Path, mapping: Path | str, *, root: Path | None = None, only: frozenset[int] | None = None
) -> ImportPlan:
    """Judge an import without writing anything.

    Parameters
    ----------
    manifest : Path
        CSV file, one row per signal file and channel.
    mapping : Path or str
        A mapping file, or the name of a shipped mapping.
    root : Path, optional
        Folder that the manifest's file names start from; default: the manifest's folder.
    only : set of int, optional
        Numbers of the manifest rows to look at; default: all that the mapping selects.

    Raises
    ------
    ImportRefused
        With every problem of the manifest, the mapping and the signal files' metadata.
    """
    problems = Problems()
    where, loaded = read_mapping(mapping, problems)
    table = read_manifest(manifest, problems)
    if loaded is None or table is None:
        problems.refuse_if_any()
    assert loaded is not None and table is not None
    if only is not None:
        table = Manifest(table.where, table.columns, tuple(row for row in table.rows if row.number in only))
    _check_columns(where, loaded, table, problems)
    check_steps(where, loaded, problems)
    selected = _select(where, loaded, table, problems)
    planner = _Planner(loaded, table.where, FileCheck(root or manifest.parent, table.where, problems), problems)
    planned = [row for row in map(planner.plan, selected) if row is not None]
    check_recordings(table.where, loaded, planned, problems)
    problems.refuse_if_any()
    notes = tuple(
        f"process {number} ({step.kind}) applies to none of the selected rows"
        for number, step in enumerate(loaded.process, 1)
        if not any(row.matches(step.where) for row in selected)
    )
    return ImportPlan(loaded.name, loaded, tuple(planned), dict(loaded.geometry), notes)


def sources_of(part: BaseModel, prefix: str = "") -> Iterator[tuple[str, Source]]:
    """Walk a mapping and yield every source with its key."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Source):
            yield f"{prefix}{name}", value
        elif isinstance(value, BaseModel):
            yield from sources_of(value, f"{prefix}{name}.")


def _check_columns(where: str, mapping: Mapping, table: Manifest, problems: Problems) -> None:
    """Every manifest column that the mapping names has to be there."""
    wanted = [(f"select.{column}", column) for column in mapping.select]
    wanted += [(key, column) for key, source in sources_of(mapping) for column in source.columns()]
    for number, step in enumerate(mapping.process, 1):
        wanted += [(f"process.{number}.where.{column}", column) for column in step.where]
    if mapping.label is not None:
        wanted.append(("label.column", mapping.label.column))
    for key, column in wanted:
        if column not in table.columns:
            there = ", ".join(table.columns)
            problems.add(where, f"key {key}: {table.where} has no column {column!r}; its columns are: {there}")


def _select(where: str, mapping: Mapping, table: Manifest, problems: Problems) -> list[ManifestRow]:
    if any(column not in table.columns for column in mapping.select):
        return []
    selected = [row for row in table.rows if row.matches(mapping.select)]
    if not selected and table.rows:
        filters = "; ".join(f"{column} = {patterns}" for column, patterns in mapping.select.items())
        problems.add(where, f"key select: no row of {table.where} matches {filters}; correct the patterns")
    first_at: dict[tuple[str, ...], int] = {}
    for row in selected:
        first = first_at.setdefault(tuple(row.cells.values()), row.number)
        if first != row.number:
            problems.add(table.where, f"is the same as row {first}; remove the copy", row=row.number)
    return selected


class _Planner:
    """Judges rows one by one; what is wrong goes into the problems, and the row is then None."""

    def __init__(self, mapping: Mapping, where: str, files: FileCheck, problems: Problems) -> None:
        self._mapping = mapping
        self._where = where
        self._files = files
        self._problems = problems
        self._numbers: dict[str, int] = {}

    def plan(self, row: ManifestRow) -> PlannedRow | None:
        mapping = self._mapping
        found = {
            name: self._value(row, f"recording.{name}", getattr(mapping.recording, name))
            for name in type(mapping.recording).model_fields
        }
        found["cell"] = found["cell"] or ""
        file = self._value(row, "signal.file", mapping.signal.file)
        column = self._value(row, "signal.column", mapping.signal.column)
        n_samples = self._value(row, "signal.n_samples", mapping.signal.n_samples, as_number)
        started_at = self._start(row)
        label_text, label, note = self._label(row)
        asset = mapping.asset
        geometry = self._value(row, "asset.geometry", asset.geometry if asset else None)
        installed_at = asset.installed_at if asset else None
        if isinstance(installed_at, Source):
            installed_at = self._value(row, "asset.installed_at", installed_at, as_moment)
        steps = tuple(step for step in mapping.process if row.matches(step.where))
        signal = self._files.check(row, file, column, n_samples, steps) if file and column else None
        if signal is None or started_at is None or any(found[name] is None for name in self._required()):
            return None
        source_rate, found["sampling_rate_hz"] = found["sampling_rate_hz"], _final_rate(found, steps)
        found["unit"] = next((step.unit for step in reversed(steps) if step.kind == "scale"), found["unit"])
        return PlannedRow(
            row,
            file,
            signal.path,
            column,
            found,
            source_rate,
            signal.n_samples,
            tuple(mapping.signal.missing_values),
            steps,
            mapping.pieces.min_samples,
            started_at,
            mapping.time.basis,
            label_text,
            label,
            note,
            geometry,
            installed_at,
        )

    def _required(self) -> list[str]:
        return [name for name, field in type(self._mapping.recording).model_fields.items() if field.is_required()]

    def _value(
        self, row: ManifestRow, key: str, source: Source | None, parse: Callable[[Scalar], Any] | None = None
    ) -> Any:
        """Resolve and parse one value; None where it is not declared, empty and optional, or wrong."""
        if source is None:
            return None
        name = key.rpartition(".")[2]
        try:
            value = resolve(source, row.cells)
            if value is None or value == "":
                if name in MAY_BE_EMPTY:
                    return ""
                if key not in NEVER_EMPTY and not (key.startswith("recording.") and name in self._required()):
                    return None
                raise ValueError("is empty; fill the cell in, or declare a default or a value in the mapping")
            return (parse or PARSERS.get(name, as_text))(value)
        except ValueError as error:
            self._problems.add(self._where, f"{key}: {error}", row=row.number)
        except KeyError:
            return None  # the column is not in the manifest, which is said once for all rows
        return None

    def _start(self, row: ManifestRow) -> datetime | None:
        time = self._mapping.time
        if time.basis == "clock":
            start: datetime | None = self._value(row, "time.start", time.start, as_moment)
            return start
        recording = self._value(row, "time.recording", time.recording)
        if recording is None:
            return None
        number = self._numbers.setdefault(recording, len(self._numbers))
        return as_moment(time.start.isoformat()) + number * timedelta(seconds=time.spacing_s)

    def _label(self, row: ManifestRow) -> tuple[str | None, LabelValue | None, str]:
        label = self._mapping.label
        if label is None or label.column not in row.cells:
            return None, None, ""
        text = row.cells[label.column]
        if text not in label.values and text not in label.unlabelled:
            self._problems.add(
                self._where,
                f"label.column {label.column!r}: value {text!r} is neither in label.values nor in label.unlabelled",
                row=row.number,
            )
        note = self._value(row, "label.note", label.note) or ""
        return text, label.values.get(text), note


def _final_rate(found: dict[str, Any], steps: tuple[Process, ...]) -> float:
    rate: float = found["sampling_rate_hz"]
    for step in steps:
        if step.kind == "decimate":
            rate /= step.factor
    return rate
