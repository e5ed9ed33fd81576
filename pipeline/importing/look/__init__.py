"""`axiswatch import --look`: what is in a file or a folder, and a first mapping with what is not known marked open."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from pipeline.base.errors import AxiswatchError
from pipeline.importing.look.draft import draft
from pipeline.importing.look.file import LookedFile, is_like, look_at

READ_WHOLE: Final = 3
"""Files of each kind whose times are read to the end: the first, the middle and the last one."""

SHOWN_KINDS: Final = 8
SHOWN_COLUMNS: Final = 80


@dataclass(frozen=True)
class Look:
    """What was seen: sentences, and a mapping for the kind of file that is there most often (None: for none)."""

    lines: tuple[str, ...]
    mapping: str | None
    files: int
    kinds: int


def look(source: Path, *, as_of: datetime) -> Look:
    """Look at a file, or at all files of a folder.

    Parameters
    ----------
    source : Path
    as_of : datetime
        The time now: no sample is later, which tells epochs apart.

    Raises
    ------
    AxiswatchError
        There is nothing to look at.
    """
    if not source.exists():
        raise AxiswatchError(f"{source} does not exist; name a file or a folder of signal files")
    folder = source if source.is_dir() else source.parent
    paths = [source]
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise AxiswatchError(f"{source} holds no file")
    kinds: dict[tuple[object, ...], list[LookedFile]] = {}
    for path in paths:
        like = next((files[0] for files in kinds.values() if is_like(path, files[0])), None)
        looked = replace(like, path=path) if like is not None else look_at(path, as_of, read_all=False)
        kinds.setdefault((looked.problem is not None, looked.signature), []).append(looked)
    ordered = sorted(kinds.values(), key=lambda files: (files[0].problem is not None, -len(files)))
    lines = [f"{len(paths)} files of {len(kinds)} kinds in {source.name or source}"]
    for files in ordered[:SHOWN_KINDS]:
        lines += _describe(files, folder, as_of)
    if len(ordered) > SHOWN_KINDS:
        left = ordered[SHOWN_KINDS:]
        lines.append(f"and {sum(map(len, left))} files of {len(left)} more kinds")
    main = ordered[0]
    if main[0].problem is not None:
        return Look(tuple(lines), None, len(paths), len(kinds))
    names = [file.path.relative_to(folder).as_posix() for file in main]
    glob = _glob(names) if source.is_dir() else source.name
    others = [path.relative_to(folder).as_posix() for path in paths if path.relative_to(folder).match(glob)]
    differing = sorted(set(others) - set(names))
    whole = replace(look_at(main[0].path, as_of, read_all=True), names_differ=main[0].names_differ)
    slug = re.sub(r"[^A-Za-z0-9_-]+", "_", (source.stem if source.is_file() else source.resolve().name)).strip("_-")
    return Look(tuple(lines), draft(slug or "archive", glob, names, whole, differing), len(paths), len(kinds))


def _glob(names: list[str]) -> str:
    suffixes = Counter(re.sub(r"^[^.]*", "", name.rpartition("/")[2]) for name in names)
    suffix = suffixes.most_common(1)[0][0]
    if len(suffixes) > 1:
        suffix = "." + Counter(name.rpartition(".")[2] for name in names).most_common(1)[0][0]
    return ("**/*" if any("/" in name for name in names) else "*") + suffix


def _describe(files: list[LookedFile], folder: Path, as_of: datetime) -> list[str]:
    first = files[0]
    shown = ", ".join(file.path.relative_to(folder).as_posix() for file in files[:3])
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    if first.problem is not None:
        return [f"{len(files)} cannot be read ({shown}{more}): {first.problem}"]
    lines = [f"{len(files)} {first.form}: {shown}{more}"]
    if first.csv is not None:
        csv = first.csv
        marks = f"delimiter {csv.delimiter!r}, decimal {csv.decimal!r}, {csv.encoding}"
        lines.append(f"  text: {marks}{'' if csv.header else ', no header'}")
    for column in first.columns[:SHOWN_COLUMNS]:
        unit = f" [{column.unit}]" if column.unit else ""
        kind = "" if column.is_number else " (text)"
        said = f", {first.says_rate[column.name][1]:.6g} Hz" if column.name in first.says_rate else ""
        said += f", from {first.says_start[column.name][1]}" if column.name in first.says_start else ""
        size = f", {column.rows} values" if isinstance(column.rows, int) else ""
        lines.append(f"  column {column.name!r}{unit}{kind}: {', '.join(column.examples)}{size}{said}")
    if len(first.columns) > SHOWN_COLUMNS:
        lines.append(f"  and {len(first.columns) - SHOWN_COLUMNS} more columns")
    chosen = [files[at] for at in sorted({0, len(files) // 2, len(files) - 1})][:READ_WHOLE]
    for file in chosen:
        whole = look_at(file.path, as_of, read_all=True)
        if whole.time is None or whole.measured is None:
            why = f": {whole.time_problem}" if whole.time_problem else ""
            lines.append(f"  {file.path.name}: no column of times was found{why}")
            continue
        start = f", from {whole.first_at.isoformat()}" if whole.first_at is not None else ""
        uneven = f", intervals uneven by {whole.measured.jitter:.0%} rms" if whole.measured.is_uneven else ""
        lines.append(
            f"  {file.path.name}: {whole.rows} rows, times in {whole.time.column!r} ({whole.time.kind})"
            f"{start}, {whole.measured.hz:.6g} Hz, {whole.gaps} gaps{uneven}"
        )
    return lines


__all__ = ["Look", "look"]
