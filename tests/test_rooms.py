"""The plan of the house, as far as a machine can check it: what rooms let others import, one address for each rule."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIPELINE = ROOT / "pipeline"
ROOMS = sorted(path.parent.name for path in PIPELINE.glob("*/__init__.py") if path.parent.name != "migrations")
USERS = [path for folder in ("pipeline", "review", "dags") for path in sorted((ROOT / folder).rglob("*.py"))]
WHOLE_SETTINGS = 15
"""Functions that may take all settings, those of the edge not counted."""


def public_of(room: str) -> set[str]:
    """What `__all__` of a room names: files and things that other rooms may import."""
    tree = ast.parse((PIPELINE / room / "__init__.py").read_text(encoding="utf-8"))
    lists = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return set(ast.literal_eval(lists[0])) if lists else set()


def imports_of_rooms(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Line, room, file of the room and name of each import from a room that a file does not stand in."""
    own = path.relative_to(PIPELINE).parts[0] if path.is_relative_to(PIPELINE) else ""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("pipeline."):
            continue
        _, room, *inside = str(node.module).split(".")
        if room in ROOMS and room != own:
            for item in node.names:
                yield node.lineno, room, inside[0] if inside else item.name, item.name


def test_a_room_hides_its_inside() -> None:
    """Other rooms import what `__all__` of a room's `__init__.py` names, and nothing that begins with an underscore."""
    public = {room: public_of(room) for room in ROOMS}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {room}.{file}: {name}"
        for path in USERS
        if "migrations" not in path.parts
        for line, room, file, name in imports_of_rooms(path)
        if file not in public[room] or name.startswith("_")
    ]
    assert wrong == []


def test_what_a_room_names_exists_and_is_wanted() -> None:
    """No file in `__all__` that no other room imports."""
    wanted = {(room, file) for path in USERS for _, room, file, _ in imports_of_rooms(path)}
    files = [
        (room, name)
        for room in ROOMS
        for name in public_of(room)
        if (PIPELINE / room / f"{name}.py").exists() or (PIPELINE / room / name).is_dir()
    ]
    assert [pair for pair in files if pair not in wanted] == []


def test_every_room_says_in_one_sentence_what_it_is() -> None:
    """The first line of its `__init__.py`."""
    assert len(ROOMS) == 19
    for room in ROOMS:
        tree = ast.parse((PIPELINE / room / "__init__.py").read_text(encoding="utf-8"))
        assert (ast.get_docstring(tree) or "").split("\n")[0].endswith("."), room


def test_no_step_asks_for_the_time_of_this_moment() -> None:
    """Only the edge imports `now`: the command line, and what Airflow mounts of the review application."""
    callers = {
        path.relative_to(ROOT).as_posix()
        for path in USERS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and node.module == "pipeline.workplace"
        and any(item.name == "now" for item in node.names)
    }
    assert {name for name in callers if not name.startswith("pipeline/cli/")} == {"review/airflow_plugin.py"}


def test_no_file_imports_itself_by_way_of_others() -> None:
    """No circle of imports between files, those inside functions and for types counted too."""
    files = [path for folder in ("features", "models", "pipeline", "review") for path in (ROOT / folder).rglob("*.py")]
    module = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}
    wants: dict[str, set[str]] = {name: set() for name in module}
    for name, path in module.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in module:
                inside = {f"{node.module}.{item.name}" for item in node.names} & module.keys()
                wants[name] |= inside or {node.module}
            elif isinstance(node, ast.Import):
                wants[name] |= {item.name for item in node.names} & module.keys()
    try:
        tuple(TopologicalSorter(wants).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_few_functions_take_all_settings() -> None:
    """A room reads its own group of settings; the command line, the steps and the schedule hand all of them on."""
    found = []
    for path in sorted(PIPELINE.rglob("*.py")):
        inside = path.relative_to(PIPELINE)
        if inside.parts[0] in ("cli", "steps.py", "scheduled.py", "migrations"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if any(one.annotation is not None and ast.unparse(one.annotation) == "Settings" for one in arguments):
                    found.append(f"{inside}: {node.name}")
    assert len(found) <= WHOLE_SETTINGS, "\n".join(found)
