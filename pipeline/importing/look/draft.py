"""The text of a first mapping: what the files say is filled in, and what nobody but you knows is marked as open."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from pipeline.base.log_schema import QUANTITY_UNITS
from pipeline.base.quantities import unit_named
from pipeline.importing.loading import OPEN_MARK
from pipeline.importing.look.file import SPEED_NAME, LookedColumn, LookedFile, kind_of
from pipeline.importing.mapping import CsvText

STAMPS: Final = (
    (r"[0-9]{8}T[0-9]{6}", "%Y%m%dT%H%M%S"),
    (r"[0-9]{8}_[0-9]{6}", "%Y%m%d_%H%M%S"),
    (r"[0-9]{8}-[0-9]{6}", "%Y%m%d-%H%M%S"),
    (r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T_][0-9]{2}-[0-9]{2}-[0-9]{2}", None),
    (r"[0-9]{14}", "%Y%m%d%H%M%S"),
)
"""Times in file names, and how they are read."""


def draft(name: str, glob: str, files: Sequence[str], looked: LookedFile, differing: Sequence[str]) -> str:
    """Return a first mapping for files that are like the one that was looked at.

    Parameters
    ----------
    name, glob : str
    files : sequence of str
        Names of the files that are alike, below the folder.
    looked : LookedFile
        One of them.
    differing : sequence of str
        Files that the glob takes too and that are not like them.
    """
    is_absolute = looked.time is not None and looked.time.is_absolute
    stamp = _stamp(files) if not is_absolute and not looked.says_start else None
    parts = [
        "# First mapping, by axiswatch import --look. What the files say is filled in: check it.",
        f'# Replace every "{OPEN_MARK}": until then the mapping is refused. docs/mapping.md explains every key.',
        "version = 1",
        f"name = {_text(name)}",
        "",
        *_files(glob, files, differing, stamp),
        "",
        *_signal(looked),
        "[recording]",
        _open("site", "the plant, or nothing"),
        _open("robot_id", "the robot; where the names of the files say it, see files.pattern"),
        _open("axis", "the axis"),
        _rate(looked),
        'rate_basis = { value = "declared" }',
        *_speed_facts(looked),
        '# unit_serial = { value = "..." }  # the physical gearbox, motor or bearing, where it is known',
        "",
        *_channels(looked),
        *_time(looked, stamp),
    ]
    return "\n".join(parts) + "\n"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _open(key: str, what: str) -> str:
    return f"{key} = {{ value = {_text(f'{OPEN_MARK}: {what}')} }}"


def _stamp(files: Sequence[str]) -> tuple[str, str | None] | None:
    return next(((pattern, form) for pattern, form in STAMPS if all(re.search(pattern, name) for name in files)), None)


def _files(
    glob: str, files: Sequence[str], differing: Sequence[str], stamp: tuple[str, str | None] | None
) -> list[str]:
    lines = ["[files]", f"glob = {_text(glob)}"]
    if stamp is not None:
        lines.append(f"pattern = '.*?(?P<start>{stamp[0]}).*'")
    else:
        lines.append(f"# pattern = '(?P<robot>...)_.*'  # names such as {files[0]}: each named group is a column")
    if differing:
        lines.append(f"exclude = {json.dumps(list(differing), ensure_ascii=False)}  # not like the others")
    return lines


def _signal(looked: LookedFile) -> list[str]:
    lines = ["[signal]", f"format = {_text(looked.form)}", ""]
    if looked.csv is not None:
        usual = CsvText()
        keys = [key for key in CsvText.model_fields if getattr(looked.csv, key) != getattr(usual, key)]
        if keys:
            lines += ["[signal.csv]", *(f"{key} = {_toml(getattr(looked.csv, key))}" for key in keys), ""]
    time = looked.time
    if time is not None:
        seen = f"  # the first is {looked.first_at.isoformat()}" if looked.first_at is not None else ""
        lines += ["[signal.time]", f"column = {_text(time.column)}", f"kind = {_text(time.kind)}{seen}"]
        if time.unit is not None:
            known = time.kind == "epoch" or any(
                column.name == time.column and column.unit == time.unit for column in looked.columns
            )
            lines.append(f"unit = {_text(time.unit if known else f'{OPEN_MARK}: s, ms, us, min, ...')}")
        if time.since not in (None, "1970"):
            lines.append(f"since = {_text(str(time.since))}")
        if time.zero is not None:
            lines.append(f'zero = {_text(time.zero)}  # or "start": counted from the start in [time]')
        if time.format is not None:
            lines.append(f"format = {_text(time.format)}")
        if looked.needs_zone:
            lines.append(f"zone = {_text(f'{OPEN_MARK}: the zone of the clock, such as Europe/Berlin or UTC')}")
        if time.ambiguous == "infer":
            lines.append('ambiguous = "infer"  # the clock goes back in these files')
        if looked.repeats:
            lines.append('repeated = "spread"  # several rows have the same stamp')
        lines.append("")
    speeds = [column for column in looked.columns if _is_speed(column) and not _is_fact(column)]
    for column in speeds:
        lines += ["# [signal.speed]  # if this is the speed of the shaft", f"# column = {_text(column.name)}"]
        lines += [f"# unit = {_text(column.unit or 'rpm')}  # rpm, rad/s, Hz, counts or pulses", ""]
    return lines


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _rate(looked: LookedFile) -> str:
    if looked.time is not None and looked.measured is not None:
        return f"sampling_rate_hz = {{ from_times = true }}  # {looked.measured.hz:.6g} Hz in {looked.path.name}"
    said = [looked.says_rate[column.name] for column in _main(looked) if column.name in looked.says_rate]
    if said and len({hz for _, hz in said}) == 1:
        return f"sampling_rate_hz = {{ variable = {_text(said[0][0])} }}  # {said[0][1]:.6g} Hz in {looked.path.name}"
    numbers = [f"{column.name} = {column.examples[0]}" for column in looked.columns if _is_fact(column)]
    seen = f"  # numbers in the file: {', '.join(numbers[:10])}; one of them is a variable" if numbers else ""
    return _open("sampling_rate_hz", "the sampling rate, Hz (a number, without the quotation marks)") + seen


def _speed_facts(looked: LookedFile) -> list[str]:
    facts = [column for column in looked.columns if _is_fact(column) and _is_speed(column)]
    return [
        f"# shaft_speed_rpm = {{ variable = {_text(_pattern(looked, column.name))} }}  # {column.examples[0]}"
        for column in facts
    ]


def _is_fact(column: LookedColumn) -> bool:
    """Whether a variable has one number, so that it says something about the others."""
    return column.is_number and column.rows == 1 and len(column.examples) == 1


def _main(looked: LookedFile) -> list[LookedColumn]:
    """Return the signals that share the rows of the times, or most of all."""
    times = looked.time.columns if looked.time is not None else []
    numbers = [column for column in looked.columns if column.is_number and not _is_fact(column)]
    of_times = [column.rows for column in looked.columns if column.name in times]
    by_rows = Counter(of_times or [column.rows for column in numbers])
    rows = max(by_rows, key=lambda one: (by_rows[one], one if isinstance(one, int) else 0), default=None)
    return [column for column in numbers if column.rows == rows and column.name not in times and not _is_speed(column)]


def _pattern(looked: LookedFile, name: str) -> str:
    """Return how a mapping names a variable: by what its struct says, and without what differs in other files."""
    name = kind_of(name, looked.path) if looked.names_differ or name.startswith(f"{looked.path.stem}.") else name
    element, _, field = name.rpartition(").")
    said = {kind_of(column.name, looked.path): column.examples for column in looked.columns if not column.is_number}
    own = said.get(f"{element}).Name", [])
    return f"{element.rpartition('(')[0]}({own[0]}).{field}" if element and own else name


def _is_speed(column: LookedColumn) -> bool:
    return column.is_number and (bool(SPEED_NAME.fullmatch(column.name)) or column.unit in ("rpm", "rad/s"))


def _channels(looked: LookedFile) -> list[str]:
    lines = []
    main = _main(looked)
    rates = {looked.says_rate[column.name][1] for column in main if column.name in looked.says_rate}
    times = looked.time.columns if looked.time is not None else []
    for column in looked.columns:
        if column.name in times or (_is_speed(column) and not _is_fact(column)):
            continue
        if column not in main:
            what = "is one number" if _is_fact(column) else "has other rows"
            what = what if column.is_number else "has no numbers"
            lines += [f"# column {column.name!r} {what}: {', '.join(column.examples)}", ""]
            continue
        named = unit_named(column.unit or "")
        lines += ["[[channel]]", f"column = {{ value = {_text(_pattern(looked, column.name))} }}"]
        slug = re.sub(r"[^a-z0-9]+", "_", _pattern(looked, column.name).lower()).strip("_")
        if len(rates) > 1 and looked.time is None and column.name in looked.says_rate:
            lines.append(f"sampling_rate_hz = {{ variable = {_text(looked.says_rate[column.name][0])} }}")
        lines.append(f"channel = {{ value = {_text(slug or 'channel')} }}")
        if named is not None:
            lines.append(f"quantity = {{ value = {_text(named[0])} }}  # the header says {column.unit}")
            lines.append(f"unit = {{ value = {_text(named[1])} }}")
        else:
            said = f"; the header says {column.unit}" if column.unit else ""
            lines.append(_open("quantity", f"{', '.join(QUANTITY_UNITS)}{said}; or remove this channel"))
            lines.append(_open("unit", "such as g, m/s2, mm/s, A, Nm or degC; raw where nobody knows"))
        lines.append("")
    return lines


def _time(looked: LookedFile, stamp: tuple[str, str | None] | None) -> list[str]:
    if looked.time is not None and looked.time.is_absolute:
        return ["[time]", 'basis = "clock"']
    if looked.says_start:
        variable, start = next(iter(looked.says_start.values()))
        return ["[time]", 'basis = "clock"', f"start = {{ variable = {_text(variable)} }}  # {start}"]
    if stamp is not None:
        form = [f"format = {_text(stamp[1])}"] if stamp[1] else ['format = "%Y-%m-%dT%H-%M-%S"']
        zone = f"zone = {_text(f'{OPEN_MARK}: the zone of the file names, such as Europe/Berlin or UTC')}"
        return ["[time]", 'basis = "clock"', 'start = { column = "start" }', *form, zone]
    return [
        '# No times were found: these are made up, one an hour. Measured ones: basis = "clock" and start.',
        "[time]",
        'basis = "synthetic"',
        "start = 2000-01-01T00:00:00Z",
        "spacing_s = 3600",
        'recording = { column = "file" }',
    ]
