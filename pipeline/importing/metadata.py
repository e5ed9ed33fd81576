"""Look at signal files without reading their samples: are they there, are they Parquet, do they hold the columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.importing.manifest import ManifestRow
from pipeline.importing.mapping import Mapping, Process
from pipeline.importing.problems import Problems


@dataclass(frozen=True)
class SignalInfo:
    """Where a signal is and how many samples it has."""

    path: Path
    n_samples: int


class FileCheck:
    """Opens the metadata of each signal file once and judges what the rows ask of it."""

    def __init__(self, root: Path, where: str, problems: Problems) -> None:
        self._root = root.resolve()
        self._where = where
        self._problems = problems
        self._seen: dict[Path, tuple[pa.Schema, int] | str] = {}

    def check(
        self, row: ManifestRow, file: str, column: str, n_samples: float | None, steps: tuple[Process, ...]
    ) -> SignalInfo | None:
        """Judge one row's signal; None (and a problem) where it cannot be read."""
        path = self._inside_root(file)
        opened = f"signal.file: {file!r} leaves the root folder; name a file below it" if path is None else None
        if path is not None:
            if path not in self._seen:
                self._seen[path] = _open(path, file)
            found = self._seen[path]
            if not isinstance(found, str):
                schema, n_rows = found
                complaints = _complaints(schema, n_rows, file, column, n_samples, steps)
                for complaint in complaints:
                    self._problems.add(self._where, complaint, row=row.number)
                return None if complaints else SignalInfo(path, n_rows)
            opened = found
        self._problems.add(self._where, str(opened), row=row.number)
        return None

    def _inside_root(self, file: str) -> Path | None:
        try:
            path = (self._root / file).resolve()
        except (OSError, ValueError):  # a NUL byte, a loop of links
            return None
        return path if path.is_relative_to(self._root) and path != self._root else None


def _open(path: Path, file: str) -> tuple[pa.Schema, int] | str:
    if not path.is_file():
        return f"signal.file: {file!r} is not there; correct the manifest or the root folder"
    try:
        with pq.ParquetFile(path) as opened:
            return opened.schema_arrow, opened.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        first_line = str(error).splitlines()[0]
        return f"signal.file: {file!r} is not a readable Parquet file ({first_line})"


def _complaints(
    schema: pa.Schema, n_rows: int, file: str, column: str, n_samples: float | None, steps: tuple[Process, ...]
) -> list[str]:
    found = []
    wanted = [("signal.column", column, True)]
    for step in steps:
        if step.kind == "cut_at_changes":
            wanted.append(("process.column", step.column, False))
            if step.start_s_column is not None:
                wanted.append(("process.start_s_column", step.start_s_column, True))
    for key, name, numeric in wanted:
        times = schema.names.count(name)
        if times != 1:
            there = ", ".join(schema.names)
            found.append(f"{key}: {file!r} has {times or 'no'} column{'s' * (times > 1)} {name!r}; it has: {there}")
            continue
        kind = schema.field(name).type
        if numeric and not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            found.append(f"{key}: column {name!r} of {file!r} is {kind}, not a number")
        elif pa.types.is_nested(kind):
            found.append(f"{key}: column {name!r} of {file!r} is {kind}, not a plain value")
    if n_samples is not None and n_samples != n_rows:
        found.append(f"signal.n_samples: says {n_samples:g} samples, {file!r} has {n_rows}; one of them is wrong")
    if n_rows == 0:
        found.append(f"signal.file: {file!r} has no samples; remove the row")
    return found


def check_steps(where: str, mapping: Mapping, problems: Problems) -> None:
    """Seams count samples of the source file, so they are cut before anything changes the sample count."""
    later: str | None = None
    for number, step in enumerate(mapping.process, 1):
        if step.kind in ("decimate", "cut_to_length"):
            later = later or f"process.{number} ({step.kind})"
        elif step.kind in ("cut_every", "cut_at_changes") and later is not None:
            problems.add(where, f"key process.{number}: {step.kind} counts source samples; move it before {later}")
