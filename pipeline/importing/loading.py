"""Find and read a mapping file, and report in sentences what is wrong with it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ValidationError

from pipeline.base.errors import problem_text
from pipeline.base.toml_text import parse_toml, read_toml_text
from pipeline.importing.formats import FORMATS
from pipeline.importing.mapping import REQUIRED_FIELDS, Mapping
from pipeline.importing.problems import Problems

OPEN_MARK: Final = "FILL IN"
"""How a first mapping marks what only a person knows."""


def shipped_mappings() -> list[str]:
    """Return the names of the mappings that are part of axiswatch."""
    folder = files("pipeline").joinpath("mappings")
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_mapping(mapping: Path | str) -> Mapping:
    """Read a mapping file, or a shipped mapping by its name.

    Raises
    ------
    ImportRefused
        The mapping is wrong; everything wrong with it is listed.
    """
    problems = Problems()
    _, loaded = read_mapping(mapping, problems)
    problems.refuse_if_any()
    assert loaded is not None
    return loaded


def read_mapping(mapping: Path | str, problems: Problems) -> tuple[str, Mapping | None]:
    """Return the name for reports of problems, and the mapping; None where it cannot be read (see `problems`)."""
    path = Path(mapping)
    where = path.name if path.suffix else f"mapping {path.name}"
    try:
        if not path.suffix and str(mapping) in shipped_mappings() and not path.is_file():
            text = files("pipeline").joinpath("mappings", f"{mapping}.toml").read_text("utf-8")
        else:
            text = read_toml_text(path)
        document = parse_toml(text)
    except OSError as error:
        reason = error.strerror or str(error)
        shipped = ", ".join(shipped_mappings())
        problems.add(where, f"cannot be read ({reason}); name a .toml file or one of: {shipped}")
        return where, None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.add(where, f"is not TOML ({error}); see docs/mapping.md for an example")
        return where, None
    still_open = list(_open_marks(document))
    for key, text in still_open:
        problems.add(where, f"key {key}: is still open ({text}); write what it is")
    if still_open:
        return where, None
    missing = _missing(document)
    for key in missing:
        problems.add(where, f"key {key}: is missing; declare it (docs/mapping.md lists every key)")
    try:
        loaded = Mapping.model_validate(document, context={"formats": tuple(FORMATS)})
        return where, None if missing else loaded
    except ValidationError as error:
        for item in error.errors():
            problems.add(where, _explain(cast("dict[str, Any]", item)))
        return where, None


def _open_marks(part: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield each key whose value is still an open mark, and the mark."""
    if isinstance(part, str) and part.startswith(OPEN_MARK):
        yield key.removesuffix(".value"), part
    for name, inside in part.items() if isinstance(part, dict) else []:
        yield from _open_marks(inside, f"{key}.{name}".lstrip("."))
    for number, inside in enumerate(part if isinstance(part, list) else [], 1):
        yield from _open_marks(inside, f"{key}.{number}")


def _missing(document: dict[str, Any]) -> list[str]:
    """Return the keys that are missing: the mapping, or each of its channels, has to declare them."""

    def has(table: Any, key: str) -> bool:
        return isinstance(table, dict) and key in table

    signal, recording, channels = (document.get(name) for name in ("signal", "recording", "channel"))
    each_channel = channels if isinstance(channels, list) and channels else [{}]
    missing = []
    if isinstance(signal, dict):
        if "files" not in document and not has(signal, "file"):
            missing.append("signal.file")
        if not (has(signal, "column") or all(has(channel, "column") for channel in each_channel)):
            missing.append("signal.column")
    for name in REQUIRED_FIELDS:
        if not (has(recording, name) or all(has(channel, name) for channel in each_channel)):
            missing.append(f"recording.{name}")
    return missing


def _explain(item: dict[str, Any]) -> str:
    """Return one error of pydantic as a sentence with the key as it is in the file."""
    tags = {"process": 2, "time": 1}
    loc = list(item["loc"])
    if loc and len(loc) > tags.get(str(loc[0]), 99):
        del loc[
            tags[str(loc[0])]
        ]  # pydantic adds the kind of process or time to the location; it is no key of the file
    key = ".".join(f"{part + 1}" if isinstance(part, int) else str(part) for part in loc)
    match item["type"]:
        case "missing":
            text = "is missing; declare it (docs/mapping.md lists every key)"
        case "extra_forbidden":
            text = "is not a key of a mapping; correct or remove it (docs/mapping.md lists every key)"
        case "union_tag_not_found":
            text = "needs the key that says which kind it is: kind for a process, basis for the time"
        case "timezone_aware":
            text = "has no offset from UTC; write it as 2000-01-01T00:00:00Z"
        case _:
            text = f"{problem_text(item)}; got {item['input']!r:.80}"
    return f"key {key}: {text}" if key else text
