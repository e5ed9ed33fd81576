"""Find and read a mapping file, and say in sentences what is wrong with it."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from pipeline.importing.mapping import REQUIRED_FIELDS, Mapping
from pipeline.importing.problems import Problems
from pipeline.importing.signal_files import FORMATS


def shipped_mappings() -> list[str]:
    """Name the mappings that come with axiswatch."""
    folder = files("pipeline").joinpath("mappings")
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_mapping(mapping: Path | str) -> Mapping:
    """Read a mapping file, or a shipped mapping by its name; ImportRefused lists everything wrong with it."""
    problems = Problems()
    _, loaded = read_mapping(mapping, problems)
    problems.refuse_if_any()
    assert loaded is not None
    return loaded


def read_mapping(mapping: Path | str, problems: Problems) -> tuple[str, Mapping | None]:
    """Return the name under which problems are reported and the mapping, None where it cannot be read."""
    path = Path(mapping)
    where = path.name if path.suffix else f"mapping {path.name}"
    try:
        if not path.suffix and str(mapping) in shipped_mappings() and not path.is_file():
            text = files("pipeline").joinpath("mappings", f"{mapping}.toml").read_text("utf-8")
        else:
            text = path.read_text("utf-8-sig")
        given = tomllib.loads(text)
    except OSError as error:
        reason = error.strerror or str(error)
        shipped = ", ".join(shipped_mappings())
        problems.add(where, f"cannot be read ({reason}); give a path to a .toml file or one of: {shipped}")
        return where, None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.add(where, f"is not TOML ({error}); see docs/mapping.md for an example")
        return where, None
    missing = _missing(given)
    for key in missing:
        problems.add(where, f"key {key}: is missing; declare it (docs/mapping.md lists every key)")
    try:
        loaded = Mapping.model_validate(given, context={"formats": tuple(FORMATS)})
        return where, None if missing else loaded
    except ValidationError as error:
        for found in error.errors():
            problems.add(where, _explain(cast("dict[str, Any]", found)))
        return where, None


def _missing(given: dict[str, Any]) -> list[str]:
    """Name the keys that the mapping or each of its channels has to declare and does not."""

    def there(table: Any, key: str) -> bool:
        return isinstance(table, dict) and key in table

    signal, recording, channels = (given.get(name) for name in ("signal", "recording", "channel"))
    each = channels if isinstance(channels, list) and channels else [{}]
    missing = []
    if isinstance(signal, dict):
        if "files" not in given and not there(signal, "file"):
            missing.append("signal.file")
        if not (there(signal, "column") or all(there(one, "column") for one in each)):
            missing.append("signal.column")
    for name in REQUIRED_FIELDS:
        if not (there(recording, name) or all(there(one, name) for one in each)):
            missing.append(f"recording.{name}")
    return missing


def _explain(found: dict[str, Any]) -> str:
    """Turn one finding of pydantic into a sentence with the key as it stands in the file."""
    tags = {"process": 2, "time": 1}
    loc = list(found["loc"])
    if loc and len(loc) > tags.get(str(loc[0]), 99):
        del loc[tags[str(loc[0])]]  # the discriminator, which pydantic puts into the location
    key = ".".join(f"{part + 1}" if isinstance(part, int) else str(part) for part in loc)
    match found["type"]:
        case "missing":
            text = "is missing; declare it (docs/mapping.md lists every key)"
        case "extra_forbidden":
            text = "is not a key of a mapping; correct or remove it (docs/mapping.md lists every key)"
        case "union_tag_not_found":
            text = "needs the key that says which kind it is: kind for a process, basis for the time"
        case "timezone_aware":
            text = "has no offset from UTC; write it as 2000-01-01T00:00:00Z"
        case _:
            text = f"{found['msg'].removeprefix('Value error, ')}; got {found['input']!r:.80}"
    return f"key {key}: {text}" if key else text
