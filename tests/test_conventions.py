"""The conventions of CONTRIBUTING.md, as far as a machine can check them."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("features", "models", "pipeline", "review")
MOST_LINES = 600
MOST_FILES = 18
SEEDED = {"SeedSequence", "Generator", "PCG64", "PCG64DXSM", "Philox", "BitGenerator"}
"""What numpy.random has that is no global state; default_rng is judged apart."""


def python_files(*folders: str) -> list[Path]:
    """Python files of folders of the project."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


PRODUCT_FILES = python_files(*PRODUCT)


def name_of(path: Path) -> str:
    """Path of a file as it is shown."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a file, once."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    """Write a name with dots, imported names in full; '' where it is no plain name."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value, aliases)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def imports(tree: ast.Module) -> dict[str, str]:
    """Names that imports bind, anywhere in a file, and what they stand for."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                found[item.asname or item.name.split(".")[0]] = item.name if item.asname else item.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for item in node.names:
                found[item.asname or item.name] = f"{node.module}.{item.name}"
    return found


def used(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports or looks up by dots."""
    tree = tree_of(path)
    aliases = imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, item.name) for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{item.name}") for item in node.names)
        elif isinstance(node, ast.Attribute):
            yield node.lineno, dotted(node, aliases)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.lineno, dotted(node.func, aliases)


def offences(paths: list[Path], pattern: str) -> list[str]:
    """Where files use a name that a pattern matches whole."""
    return [
        f"{name_of(path)}:{line}: {name}" for path in paths for line, name in used(path) if re.fullmatch(pattern, name)
    ]


def run_tool(*command: str) -> None:
    """Run a tool of this environment in the project's folder; its output is the message of the failure."""
    program = Path(sys.executable).parent / command[0]
    if not program.exists():
        pytest.fail(f"{command[0]} is not in this environment; install the extra 'dev'")
    done = subprocess.run([str(program), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}")


def test_ruff_finds_nothing() -> None:
    """The linter agrees."""
    run_tool("ruff", "check", "--output-format", "concise", ".")


def test_code_is_formatted() -> None:
    """The formatter would change nothing."""
    run_tool("ruff", "format", "--check", ".")


def test_types_are_right() -> None:
    """Mypy, strict on features, models, pipeline and review."""
    run_tool("mypy")


def test_import_directions_hold() -> None:
    """import-linter's contracts in pyproject.toml are kept."""
    run_tool("lint-imports")


USES_OF_REVIEW = {
    "pipeline/cli/review_app.py": "review.app",
    "pipeline/cli/review.py": "review.statements",
    "pipeline/evaluation/routing.py": "review.statements",
    "pipeline/handoff/outbox.py": "review.statements",
}
"""The command that serves the application, and what words cases outside of it, or asks what would be said."""


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("features", "models|pipeline|review|dags|torch|sqlalchemy|pyarrow|fsspec|pandas"),
        ("models", "features|pipeline|review|dags|sqlalchemy|pyarrow|fsspec|pandas"),
        ("pipeline", "review|dags|airflow|tests|benchmarks"),
        ("review", "models|torch|dags|airflow|tests|benchmarks"),
    ],
)
def test_folders_import_nothing_forbidden(folder: str, forbidden: str) -> None:
    """The directions again, by reading the files: also imports inside functions, and packages not installed here."""
    found = []
    for path in python_files(folder):
        for node in ast.walk(tree_of(path)):
            modules = [item.name for item in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            if name_of(path) in USES_OF_REVIEW:
                modules = [module for module in modules if module != USES_OF_REVIEW[name_of(path)]]
            if path == ROOT / "review" / "airflow_plugin.py":
                modules = [module for module in modules if not module.startswith("airflow.")]  # it is loaded by Airflow
            found += [f"{name_of(path)}:{node.lineno}" for m in modules if re.fullmatch(forbidden, m.split(".")[0])]
    assert not found


def test_only_the_artifact_touches_files_in_models() -> None:
    """models/ takes and gives arrays; no file is opened outside of artifact.py."""
    paths = [path for path in python_files("models") if path.name != "artifact.py"]
    assert not offences(
        paths + python_files("features"), r"open|(pathlib|os|io|shutil|tempfile)(\..*)?|numpy\.(load|save.*|fromfile)"
    )


def test_nothing_is_pickled() -> None:
    """Neither pickle nor what uses it behind the scenes: who loads a pickle runs its program."""
    pattern = r"(pickle|cPickle|dill|cloudpickle|shelve|marshal)(\..*)?|torch\.(load|save)|joblib\.(dump|load)"
    assert not offences(PRODUCT_FILES, pattern)
    allowed = [n for path in PRODUCT_FILES for n in ast.walk(tree_of(path)) if isinstance(n, ast.keyword)]
    assert not [n.lineno for n in allowed if n.arg == "allow_pickle" and ast.unparse(n.value) != "False"]


def test_one_place_reads_the_clock() -> None:
    """`pipeline.workplace.now`, for commands and the web. Steps take as_of; what reads the clock cannot be replayed."""
    inside = [path for path in PRODUCT_FILES if path != ROOT / "pipeline" / "workplace.py"]
    pattern = (
        r"(datetime\.)?(datetime|date)\.(now|utcnow|today)|time\.(time|time_ns|localtime|gmtime|ctime)"
        r"|pandas\.Timestamp\.(now|utcnow|today)|sqlalchemy\.func\.(now|current_timestamp)"
    )
    assert not offences(inside, pattern)


def test_only_the_settings_read_the_environment() -> None:
    """Nothing else looks at environment variables."""
    inside = [path for path in PRODUCT_FILES if path != ROOT / "pipeline" / "base" / "sources.py"]
    assert not offences(inside, r"os\.(environ|getenv|putenv)(\..*)?")


def test_nothing_is_random_without_a_seed() -> None:
    """No global random state and no generator without a seed."""
    found = []
    for path in PRODUCT_FILES:
        for line, name in used(path):
            parts = name.split(".")
            if parts[:2] == ["numpy", "random"] and len(parts) > 2 and parts[2] not in {*SEEDED, "default_rng"}:
                found.append(f"{name_of(path)}:{line}: {name}")
            if parts[0] == "random" and "random" in imports(tree_of(path)).values():
                found.append(f"{name_of(path)}:{line}: {name}")
            if re.fullmatch(r"torch\.(manual_seed|seed|rand|randn|randint|randperm|cuda\.manual_seed.*)", name):
                found.append(f"{name_of(path)}:{line}: {name}; pass a torch.Generator")
        found += [f"{name_of(path)}:{line}: default_rng without a seed" for line in unseeded(path)]
    assert not [line for line in found if "torch." not in line or not seeded_by_generator(line)]


def unseeded(path: Path) -> list[int]:
    """Lines of `default_rng()` and of sequences without a seed."""
    tree = tree_of(path)
    aliases = imports(tree)
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and dotted(node.func, aliases) in ("numpy.random.default_rng", "numpy.random.SeedSequence")
        and not node.args
        and not node.keywords
    ]


def seeded_by_generator(found: str) -> bool:
    """Say whether the torch call at a place passes a generator."""
    name, number, _ = found.split(":", 2)
    tree = tree_of(ROOT / name)
    at_line = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.lineno == int(number)]
    return any(keyword.arg == "generator" for call in at_line for keyword in call.keywords)


def test_no_except_is_silent() -> None:
    """No bare except, and none that does nothing."""
    silent = [
        f"{name_of(path)}:{node.lineno}"
        for path in PRODUCT_FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or all(map(does_nothing, node.body)))
    ]
    assert not silent


def does_nothing(statement: ast.stmt) -> bool:
    """Say whether a statement is `pass`, `...` or a text."""
    is_value = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass) or is_value


def test_files_are_short() -> None:
    """One idea per file. A migration is a record of what was done, and may be as long as that was."""
    lines = {
        name_of(path): path.read_text(encoding="utf-8").count("\n")
        for path in PRODUCT_FILES
        if "versions" not in path.parts
    }
    long = {name: count for name, count in lines.items() if count > MOST_LINES}
    assert not long, "which second idea is in it?"


def test_folders_are_rooms() -> None:
    """A folder is a room with one sentence, not a store-room."""
    files = Counter(name_of(path.parent) for path in PRODUCT_FILES if "versions" not in path.parts)
    full = {folder: count for folder, count in files.items() if count > MOST_FILES}
    assert not full, "which second room is in it?"


def public(node: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Public functions and classes of a file or class, and the public methods of public classes."""
    for item in ast.iter_child_nodes(node):
        if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or item.name.startswith("_"):
            continue
        yield f"{inside}{item.name}", item
        if isinstance(item, ast.ClassDef):
            yield from public(item, f"{item.name}.")


def test_public_things_have_docstrings() -> None:
    """Modules, public functions, classes and methods say what they are."""
    bare = []
    for path in PRODUCT_FILES:
        tree = tree_of(path)
        if tree.body and not ast.get_docstring(tree):
            bare.append(name_of(path))
        for name, node in public(tree):
            if not ast.get_docstring(node):  # type: ignore[arg-type]
                bare.append(f"{name_of(path)}: {name}")
    assert not bare


def test_no_public_class_name_stands_for_two_things() -> None:
    """Who reads a name, or looks for it, meets one thing."""
    places: dict[str, list[str]] = {}
    for path in PRODUCT_FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name_of(path))
    assert not {name: where for name, where in places.items() if len(where) > 1}


@pytest.mark.parametrize(
    ("pattern", "file"),
    [
        (r"def find_axis\(", "pipeline/assets/places.py"),
        (r"MONITOR: tuple", "pipeline/steps.py"),
        (r"\bScoredWindow\(", "pipeline/cases/axis_state.py"),  # from scores to windows
        (r"weights\.get\(str", "pipeline/labels/words.py"),  # the weight of a finding
        (r"Verdict\.BENIGN_CHANGE: False", "pipeline/labels/words.py"),  # what a verdict says about the machine
        (r"float\(.*isfinite.* else None", "pipeline/base/figures.py"),
    ],
)
def test_a_rule_stands_once(pattern: str, file: str) -> None:
    """Some rules were written several times, and the copies disagreed."""
    paths = python_files("pipeline", "review")
    assert [name_of(path) for path in paths if re.search(pattern, path.read_text(encoding="utf-8"))] == [file]


def test_tests_are_no_packages() -> None:
    """tests/models would shadow models."""
    assert not [name_of(path) for path in (ROOT / "tests").rglob("__init__.py")]


def tracked_files() -> list[Path]:
    """Text files that belong to the repository, those included that are about to."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git, or no repository: what belongs to the project is not known")
    listed = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip(f"git ls-files failed: {listed.stderr.decode(errors='replace')[:200]}")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


def test_no_machine_path_and_no_registry_host_is_in_the_repository() -> None:
    """What is checked in runs anywhere, also where no package index can be reached."""
    folders = "|".join(("work", "root", "home", "Users", "mnt"))
    hosts = "|".join(
        ("pypi" + r"\.org", "pythonhosted" + r"\.org", r"download\.pytorch" + r"\.org", "anaconda" + r"\.org")
    )
    wrong = re.compile(rf"(?<![\w.~}}\]-])/(?:{folders})/|\b(?:{hosts})\b|//(?:localhost|127\.0\.0\.1):\d+/simple")
    found = []
    for path in tracked_files():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if wrong.search(line):
                found.append(f"{name_of(path)}:{number}: {line.strip()[:100]}")
    assert not found
