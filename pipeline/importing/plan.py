"""Judge every row of a manifest against its mapping and the signal files' metadata, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from pipeline.importing.checks import check_recordings
from pipeline.importing.loading import read_mapping
from pipeline.importing.manifest import Manifest, ManifestRow, list_folder, read_manifest
from pipeline.importing.mapping import Geometry, Mapping, Source
from pipeline.importing.metadata import FileCheck, check_steps
from pipeline.importing.planned import PlannedRow, Planner
from pipeline.importing.problems import Problems

__all__ = ["ImportPlan", "PlannedRow", "plan_import"]


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
        CSV file, one row per signal file (and channel); or, where the mapping has [files], the folder of the files.
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
    if loaded is not None and loaded.files is not None:
        root = root or manifest
        table = list_folder(manifest, loaded.files, problems)
    else:
        table = read_manifest(manifest, problems)
    if loaded is None or table is None:
        problems.refuse_if_any()
    assert loaded is not None and table is not None
    if only is not None:
        table = Manifest(table.where, table.columns, tuple(row for row in table.rows if row.number in only))
    _check_columns(where, loaded, table, problems)
    check_steps(where, loaded, problems)
    selected = _select(where, loaded, table, problems)
    files = FileCheck(root or manifest.parent, table.where, loaded.signal, problems)
    planner = Planner(loaded, table.where, files, problems)
    planned = [one for row in selected for one in planner.plan(row)]
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
        elif isinstance(value, list):
            for number, item in enumerate(value, 1):
                if isinstance(item, BaseModel):
                    yield from sources_of(item, f"{prefix}{name}.{number}.")


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
    first_at: dict[tuple[str, ...], int | str] = {}
    for row in selected:
        first = first_at.setdefault(tuple(row.cells.values()), row.number)
        if first != row.number:
            problems.add(table.where, f"is the same as row {first}; remove the copy", row=row.number)
    return selected
