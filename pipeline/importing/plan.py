"""Check every row of a manifest against its mapping and its signal files, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from pipeline.base.quantities import OVERALL, own_unit, unit_of
from pipeline.importing.checks import AHEAD, check_recordings, rate_notes, unit_notes
from pipeline.importing.loading import read_mapping
from pipeline.importing.manifest import (
    Manifest,
    ManifestRow,
    as_flag,
    as_moment,
    as_number,
    as_text,
    list_folder,
    read_manifest,
    resolve,
)
from pipeline.importing.mapping import (
    REQUIRED_FIELDS,
    Channel,
    CutEvery,
    LabelValue,
    MappedGeometry,
    MappedRecording,
    Mapping,
    Process,
    SampleRules,
    Scalar,
    Scale,
    Source,
    SpeedColumn,
)
from pipeline.importing.metadata import FileCheck, SignalCheck, SignalInfo, check_steps, extra_columns
from pipeline.importing.problems import Problems
from pipeline.importing.samples import Asked
from pipeline.importing.signals import PlannedRow
from pipeline.intake.contract import Limits

PARSERS: Final[dict[str, Callable[[Scalar], Any]]] = {
    "sampling_rate_hz": as_number,
    "shaft_speed_rpm": as_number,
    "speed_is_steady": as_flag,
    "load": as_number,
    "payload_kg": as_number,
    "temperature_c": as_number,
}
"""How the value of a contract column is read; the others are text."""

REGIME: Final = ("load", "payload_kg", "temperature_c", "program")
"""What may come from a column of the signal file, besides the speed."""

IN_FILE: Final = ("shaft_speed_rpm", *REGIME)

MAY_BE_EMPTY: Final = ("site", "cell")
"""Required text that may be '' (not known)."""

NEVER_EMPTY: Final = ("signal.file", "signal.column", "time.start", "time.recording")
"""Keys that need a value in every row, besides the required contract columns."""


@dataclass(frozen=True)
class _About:
    """The values of a row that all of its signals share."""

    n_samples: float | None
    started_at: datetime | None
    label_text: str | None
    label: LabelValue | None
    note: str
    geometry: str | None
    installed_at: datetime | None


@dataclass(frozen=True)
class _Draft:
    """A signal of a row before its file was read."""

    row: ManifestRow
    fields: dict[str, Any]
    check: SignalCheck
    about: _About
    steps: tuple[Process, ...]


class Planner:
    """Checks rows one by one; everything wrong is added to the problems."""

    def __init__(
        self,
        mapping: Mapping,
        where: str,
        files: FileCheck,
        problems: Problems,
        *,
        as_of: datetime | None,
        limits: Limits | None,
    ) -> None:
        self._most_samples = None if limits is None else limits.max_samples
        self._latest = as_of + AHEAD if as_of is not None else None
        self._mapping = mapping
        self._where = where
        self._files = files
        self._problems = problems
        self._numbers: dict[str, int] = {}

    def plan(self, rows: Sequence[ManifestRow]) -> list[PlannedRow]:
        """Return the signals of rows that can be imported, in the order of the manifest; each file is read once."""
        drafts = [draft for row in rows for draft in self._drafts(row)]
        by_file: dict[str, list[int]] = {}
        for at, draft in enumerate(drafts):
            by_file.setdefault(draft.check.asked.file, []).append(at)
        planned: dict[int, PlannedRow] = {}
        for file, places in by_file.items():
            infos = self._files.check(file, [drafts[at].check for at in places])
            for at, info in zip(places, infos, strict=True):
                draft = drafts[at]
                if info is not None and info.rate_hz is not None:
                    draft.fields["sampling_rate_hz"] = info.rate_hz
                    if all(draft.fields[key] is not None for key in REQUIRED_FIELDS):
                        row = self._row(draft, info)
                        if row is not None:
                            planned[at] = row
        whole = [planned[at] for at in sorted(planned)]
        return [row for row in whole if row.file not in self._files.left_out]

    def _drafts(self, row: ManifestRow) -> Iterator[_Draft]:
        """Yield the signals of a row with all that the manifest and the mapping say about them."""
        mapping = self._mapping
        name = self._value(row, "signal.file", mapping.signal.file or Source(column="file"))

        def variable(pattern: str) -> float | str:
            return self._files.value(name, pattern)

        about = self._about(row, variable)
        steps = tuple(step for step in mapping.process if row.matches(step.where))
        for channel in mapping.channels():
            speed = mapping.signal.speed or _speed_in_file(channel.shaft_speed_rpm, row)
            measured = channel.sampling_rate_hz is not None and channel.sampling_rate_hz.from_times
            regime = tuple(
                (key, source) for key in REGIME if (source := _in_file(getattr(channel, key), row)) is not None
            )
            elsewhere = {"sampling_rate_hz": measured, "shaft_speed_rpm": speed is not None, **dict(regime)}
            fields = {
                key: None
                if elsewhere.get(key)
                else self._value(row, f"recording.{key}", getattr(channel, key), variable=variable)
                for key in MappedRecording.model_fields
            }
            fields["cell"] = fields["cell"] or ""
            if isinstance(channel.every, int) and fields["sampling_rate_hz"] is not None:
                fields["sampling_rate_hz"] /= channel.every
            column = self._value(row, "signal.column", channel.column)
            if name is None or column is None:
                continue
            asked = self._asked(name, column, channel, f"{fields['axis']} {fields['channel']}", steps, speed, regime)
            rate: Any = "from_times" if measured else fields["sampling_rate_hz"]
            check = SignalCheck(row.number, asked, rate, about.n_samples)
            yield _Draft(row, fields, check, about, steps)

    def _about(self, row: ManifestRow, variable: Callable[[str], float | str]) -> _About:
        asset = self._mapping.asset
        installed_at = asset.installed_at if asset else None
        if isinstance(installed_at, Source):
            installed_at = self._value(row, "asset.installed_at", installed_at, as_moment)
        return _About(
            self._value(row, "signal.n_samples", self._mapping.signal.n_samples, as_number),
            self._start(row, variable),
            *self._label(row),
            self._value(row, "asset.geometry", asset.geometry if asset else None),
            installed_at,
        )

    def _asked(
        self,
        file: str,
        column: str,
        channel: Channel,
        name: str,
        steps: tuple[Process, ...],
        speed: SpeedColumn | None,
        regime: tuple[tuple[str, Source], ...],
    ) -> Asked:
        rules = SampleRules.model_construct(**{key: getattr(channel, key) for key in SampleRules.model_fields})
        time = self._mapping.signal.time
        return Asked(
            file,
            name,
            column,
            channel.factor,
            channel.offset,
            channel.every,
            rules,
            time,
            extra_columns(steps),
            self._latest,
            speed,
            self._mapping.signal.layout == "row",
            regime,
        )

    def _row(self, draft: _Draft, signal: SignalInfo) -> PlannedRow | None:
        row, fields, about, steps = draft.row, draft.fields, draft.about, draft.steps
        asked = draft.check.asked
        mapping = self._mapping
        began = signal.started_at
        if began is None and about.started_at is not None:
            began = about.started_at + timedelta(seconds=signal.starts_s)
        if began is None:
            return None
        rate = fields["sampling_rate_hz"]
        fields["sampling_rate_hz"] = _final_rate(fields, steps)
        fields["unit"] = next((step.unit for step in reversed(steps) if step.kind == "scale"), fields["unit"])
        declared_unit = fields["unit"]
        if fields["quantity"] in OVERALL:
            steps = (CutEvery(kind="cut_every", samples=1), *steps)
        how = unit_of(fields["quantity"], declared_unit)
        if not how.is_own and not how.stays:
            fields["unit"] = own_unit(fields["quantity"], declared_unit)
            steps = (*steps, Scale(kind="scale", factor=how.factor, offset=how.offset, unit=fields["unit"]))
        lasts_s = signal.lasts_s
        if lasts_s is None:
            lasts_s = signal.n_samples / rate if rate > 0 else 0.0
        return PlannedRow(
            row=row,
            file=asked.file,
            path=signal.path,
            signal=mapping.signal,
            asked=asked,
            is_one_of_many=bool(mapping.channel),
            fields=fields,
            declared_unit=declared_unit,
            source_rate_hz=rate,
            n_source=signal.n_samples,
            first_us=round(signal.first_us + signal.starts_s * 1e6) if signal.lasts_s is not None else 0,
            lasts_s=lasts_s,
            measured=signal.measured,
            steps=steps,
            min_samples=mapping.pieces.min_samples,
            most_samples=self._most_samples,
            started_at=began,
            time_basis=mapping.time.basis,
            label_text=about.label_text,
            label=about.label,
            note=about.note,
            geometry=about.geometry,
            installed_at=about.installed_at,
        )

    def _value(
        self,
        row: ManifestRow,
        key: str,
        source: Source | None,
        parse: Callable[[Scalar], Any] | None = None,
        variable: Callable[[str], float | str] | None = None,
    ) -> Any:
        """Return one parsed value; None where it is not declared, is empty and optional, or is wrong."""
        if source is None:
            return None
        name = key.rpartition(".")[2]
        try:
            value = resolve(source, row.cells, variable)
            if value is None or value == "":
                if name in MAY_BE_EMPTY:
                    return ""
                if key not in NEVER_EMPTY and not (key.startswith("recording.") and name in REQUIRED_FIELDS):
                    return None
                raise ValueError("is empty; fill the cell in, or declare a default or a value in the mapping")
            return (parse or PARSERS.get(name, as_text))(value)
        except ValueError as error:
            self._problems.add(self._where, f"{key}: {error}", row=row.number)
        except KeyError:
            return None  # no such column, or the file cannot be opened; both are reported elsewhere
        return None

    def _start(self, row: ManifestRow, variable: Callable[[str], float | str]) -> datetime | None:
        time = self._mapping.time
        if time.basis == "clock":
            start: datetime | None = self._value(
                row, "time.start", time.start, lambda value: as_moment(value, time.zone, time.format), variable
            )
            return start
        recording = self._value(row, "time.recording", time.recording)
        if recording is None:
            return None
        number = self._numbers.setdefault(recording, len(self._numbers))
        try:
            return as_moment(time.start.isoformat()) + number * timedelta(seconds=time.spacing_s)
        except (ValueError, OverflowError) as error:
            text = f"time.start: recording {number + 1} would be beyond every calendar ({error}); lower time.spacing_s"
            self._problems.add(self._where, text)
            return None

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


def _in_file(source: Source | None, row: ManifestRow) -> Source | None:
    """Return a source that names a column of the signal file, because the manifest has none such."""
    return None if source is None or source.column is None or source.column in row.cells else source


def _speed_in_file(source: Source | None, row: ManifestRow) -> SpeedColumn | None:
    """Return the column of the signal file that `recording.shaft_speed_rpm` names."""
    found = _in_file(source, row)
    return None if found is None or found.column is None else SpeedColumn(column=found.column, unit="rpm")


def _final_rate(fields: dict[str, Any], steps: tuple[Process, ...]) -> float:
    rate: float = fields["sampling_rate_hz"]
    for step in steps:
        if step.kind == "decimate":
            rate /= step.factor
    return rate


__all__ = ["ImportPlan", "plan_import"]


@dataclass(frozen=True)
class ImportPlan:
    """A whole import, checked and ready to run."""

    name: str
    mapping: Mapping
    rows: tuple[PlannedRow, ...]
    geometries: dict[str, MappedGeometry]
    notes: tuple[str, ...]
    left_out: dict[str, list[str]]
    excluded: int
    unselected: int

    @property
    def n_files(self) -> int:
        """Number of the selected signal files, those that were left out included."""
        return len(self.by_file()) + len(self.left_out)

    def by_file(self) -> dict[Path, list[PlannedRow]]:
        """Return the rows of each signal file, files in manifest order."""
        grouped: dict[Path, list[PlannedRow]] = {}
        for planned in self.rows:
            grouped.setdefault(planned.path, []).append(planned)
        return grouped


def plan_import(
    manifest: Path,
    mapping: Path | str,
    *,
    root: Path | None = None,
    only: frozenset[int] | None = None,
    as_of: datetime | None = None,
    limits: Limits | None = None,
) -> ImportPlan:
    """Check an import without writing anything.

    Parameters
    ----------
    manifest : Path
        CSV file, one row per signal file (and channel); or, where the mapping has [files], the folder of the files.
    mapping : Path or str
        A mapping file, or the name of a shipped mapping.
    root : Path, optional
        Folder that the manifest's file names start from; default: the manifest's folder.
    only : set of int, optional
        Numbers of the manifest rows to use; default: all that the mapping selects.
    as_of : datetime, optional
        The time now; measured times more than a day later are refused. Default: nothing is refused for that.
    limits : Limits, optional
        A recording beyond them is refused. Default: none is.

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
        table = read_manifest(manifest, problems) if loaded is not None or not manifest.is_dir() else None
    if loaded is None or table is None:
        problems.refuse_if_any()
    assert loaded is not None and table is not None
    if only is not None:
        table = replace(table, rows=tuple(row for row in table.rows if row.number in only))
    _check_columns(where, loaded, table, problems)
    check_steps(where, loaded, problems)
    selected = _select(where, loaded, table, problems)
    files = FileCheck(root or manifest.parent, table.where, loaded.signal, problems)
    planner = Planner(loaded, table.where, files, problems, as_of=as_of, limits=limits)
    planned = planner.plan(selected)
    check_recordings(table.where, loaded, planned, problems, as_of, limits)
    problems.refuse_if_any()
    notes = tuple(
        f"process {number} ({step.kind}) applies to none of the selected rows"
        for number, step in enumerate(loaded.process, 1)
        if not any(row.matches(step.where) for row in selected)
    )
    return ImportPlan(
        loaded.name,
        loaded,
        tuple(planned),
        dict(loaded.geometry),
        notes + unit_notes(planned) + rate_notes(planned) + tuple(files.hints),
        files.left_out,
        table.excluded,
        len(table.rows) - len(selected),
    )


def sources_of(part: BaseModel, prefix: str = "") -> Iterator[tuple[str, Source]]:
    """Yield every source of a mapping with its key."""
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
    """Check that the manifest has every column that the mapping names."""
    columns = [(f"select.{column}", column) for column in mapping.select]
    columns += [
        (key, column)
        for key, source in sources_of(mapping)
        if not (mapping.files is not None and source.column is not None and key.rpartition(".")[2] in IN_FILE)
        for column in source.columns()
    ]
    for number, step in enumerate(mapping.process, 1):
        columns += [(f"process.{number}.where.{column}", column) for column in step.where]
    if mapping.label is not None:
        columns.append(("label.column", mapping.label.column))
    for key, column in columns:
        if column not in table.columns:
            present = ", ".join(table.columns)
            problems.add(where, f"key {key}: {table.where} has no column {column!r}; its columns are: {present}")


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
