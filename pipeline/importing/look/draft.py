"""The text of a first mapping: what the files say is filled in, and what nobody but you knows is marked as open."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from pipeline.base.log_schema import QUANTITY_UNITS
from pipeline.importing.loading import OPEN_MARK
from pipeline.importing.look.file import SPEED_NAME, LookedColumn, LookedFile
from pipeline.importing.mapping import CsvText

UNITS: Final = {
    "g": ("acceleration", "g"), "m/s2": ("acceleration", "m/s2"), "m/s^2": ("acceleration", "m/s2"),
    "m/s²": ("acceleration", "m/s2"), "a": ("motor_current", "A"), "nm": ("motor_torque", "Nm"), "n": ("force", "N"),
    "degc": ("temperature", "degC"), "°c": ("temperature", "degC"), "v": ("voltage", "V"),
}  # fmt: skip
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
    stamp = _stamp(files) if looked.time is None or not looked.time.is_absolute else None
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
    speeds = [column for column in looked.columns if _is_speed(column)]
    for column in speeds:
        lines += ["# [signal.speed]  # if this is the speed of the shaft", f"# column = {_text(column.name)}"]
        lines += [f"# unit = {_text(column.unit or 'rpm')}  # rpm, rad/s, Hz, counts or pulses", ""]
    return lines


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _rate(looked: LookedFile) -> str:
    if looked.time is not None and looked.measured is not None:
        return f"sampling_rate_hz = {{ from_times = true }}  # {looked.measured.hz:.6g} Hz in {looked.path.name}"
    return _open("sampling_rate_hz", "the sampling rate, Hz (a number, without the quotation marks)")


def _is_speed(column: LookedColumn) -> bool:
    return column.is_number and (bool(SPEED_NAME.fullmatch(column.name)) or column.unit in ("rpm", "rad/s"))


def _channels(looked: LookedFile) -> list[str]:
    lines = []
    times = looked.time.columns if looked.time is not None else []
    for column in looked.columns:
        if column.name in times or _is_speed(column):
            continue
        if not column.is_number:
            lines += [f"# column {column.name!r} has no numbers: {', '.join(column.examples)}", ""]
            continue
        quantity, unit = UNITS.get((column.unit or "").lower(), (None, None))
        lines += ["[[channel]]", f"column = {{ value = {_text(column.name)} }}"]
        slug = re.sub(r"[^a-z0-9]+", "_", column.name.lower()).strip("_")
        lines.append(f"channel = {{ value = {_text(slug or 'channel')} }}")
        if quantity is not None and unit is not None:
            lines.append(f"quantity = {{ value = {_text(quantity)} }}  # the header says {column.unit}")
            lines.append(f"unit = {{ value = {_text(unit)} }}")
        else:
            said = f"; the header says {column.unit}" if column.unit else ""
            lines.append(_open("quantity", f"{', '.join(QUANTITY_UNITS)}{said}; or remove this channel"))
            lines.append(_open("unit", "g, m/s2, A, Nm, N, degC, V, or raw where nobody knows"))
        lines.append("")
    return lines


def _time(looked: LookedFile, stamp: tuple[str, str | None] | None) -> list[str]:
    if looked.time is not None and looked.time.is_absolute:
        return ["[time]", 'basis = "clock"']
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
