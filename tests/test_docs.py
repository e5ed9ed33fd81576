"""The documents say what the code does: every command, option, setting, reason code, table and word is there."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import sqlalchemy as sa
import typer.main

from docs import generate
from features.quality.quality import Quality
from models.kinds import Kind
from pipeline import accounts
from pipeline.assets import AxisEntry, BearingEntry, GeometryEntry, ReducerEntry, UnitEntry, events
from pipeline.assets.catalogue import catalogue
from pipeline.base.log_schema import LOG_SCHEMA, RATE_BASES, TIME_BASES
from pipeline.base.quantities import UNITS
from pipeline.base.settings import ENV_PREFIX, Settings
from pipeline.base.sources import OTHER_VARIABLES
from pipeline.cases import audit, axis_state, episodes, evidence, quiet
from pipeline.cli.app import app
from pipeline.handoff import outbox
from pipeline.labels import labels
from pipeline.labels import words as taxonomy
from pipeline.registry.versions import CHALLENGER, CHAMPION
from pipeline.store import lake
from pipeline.store.database import Store
from pipeline.store.tables import Base

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SKIPPED_FOLDERS = {"demo", "build", "node_modules"}


def markdown_files() -> list[Path]:
    """Every Markdown file of the project."""
    return [
        path
        for path in sorted(ROOT.rglob("*.md"))
        if not any(part.startswith(".") or part in SKIPPED_FOLDERS for part in path.relative_to(ROOT).parts[:-1])
    ]


def options_of(command: Any) -> set[str]:
    """The options of a command."""
    options = (p for p in command.params if p.param_type_name == "option")
    return {name for option in options for name in (*option.opts, *option.secondary_opts)}


COMMANDS: dict[str, Any] = dict(generate.commands())
MAIN_OPTIONS = options_of(typer.main.get_command(app)) | {"--help"}


def table_rows(text: str) -> Iterator[list[str]]:
    """Cells of the rows of Markdown tables, and of lists of the kind "- `name`: meaning"."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("|--"):
            yield [cell.strip() for cell in line.strip().strip("|").split("|")]
        elif line.startswith("- `") and "`: " in line:
            yield line.removeprefix("- ").split(": ", 1)


def slug(heading: str) -> str:
    """The anchor of a heading, as Git forges make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_an_example_and_help(name: str) -> None:
    """--json, an epilog with an example of this command, and help for each parameter."""
    command = COMMANDS[name]
    assert "--json" in options_of(command)
    assert (command.epilog or "").startswith(f"Example: axiswatch {name}")
    assert command.help
    assert not [p.name for p in command.params if not getattr(p, "help", None)]


def calls(text: str) -> Iterator[str]:
    """What a document shows of the command line: `axiswatch ...` in code spans and at the start of code lines."""
    blocks = re.findall(r"^(?: {4}|\$ |)(?:\$ )?(?:[\w./-]+/)?(axiswatch [a-z].*)$", text, flags=re.MULTILINE)
    spans = re.findall(r"`(axiswatch [^`\n]+)`", text)
    in_blocks = [line for line in blocks if not re.match(r"axiswatch (is|watches|asks|works|needs|ends)\b", line)]
    return itertools.chain(spans, in_blocks)


@pytest.mark.parametrize("path", markdown_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_calls_in_documents_exist(path: Path) -> None:
    """Commands and options that any document or any example shows exist."""
    text = path.read_text(encoding="utf-8") + "\n".join(f"`{c.epilog.partition(' ')[2]}`" for c in COMMANDS.values())
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    for call in calls(text):
        bare = re.split(r"\s+#\s|\s{2,}", call)[0]
        try:
            words = shlex.split(bare)[1:]
        except ValueError:
            words = bare.split()[1:]
        if words[0].startswith("--"):
            assert words[0] in MAIN_OPTIONS, call
            continue
        if words[0].isupper():
            continue
        if words == [words[0]] and words[0] in groups:
            continue
        name = " ".join(words[:2]) if words[0] in groups else words[0]
        assert name in COMMANDS, f"{call!r}: there is no such command"
        given = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
        assert given <= options_of(COMMANDS[name]) | {"--help"}, call


@pytest.mark.parametrize("name", generate.generated())
def test_regenerating_changes_nothing(name: str) -> None:
    """The reference parts are what the code says: every command and option, setting, table and column."""
    document = (DOCS / name).read_text(encoding="utf-8")
    assert document.count(generate.BEGIN) == document.count(generate.END) == 1
    assert generate.replaced(document, generate.generated()[name]) == document, "run `make docs`"


def test_variables_in_documents_exist() -> None:
    """Every AXISWATCH_ variable that a document names is a setting or known."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    for path in markdown_files():
        named = set(re.findall(r"\bAXISWATCH_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
        assert named <= known, path.name


def reason_codes() -> set[str]:
    """Codes that the code gives as `Reason("code", ...)`, also by way of a name in the same file."""
    found: set[str] = set()
    for name in ("contract", "ingest", "reading", "acquire"):
        tree = ast.parse((ROOT / "pipeline" / "intake" / f"{name}.py").read_text(encoding="utf-8"))
        wanted: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reason":
                if isinstance(node.args[0], ast.Constant):
                    found.add(str(node.args[0].value))
                else:
                    assert isinstance(node.args[0], ast.Name), ast.unparse(node)
                    wanted.add(node.args[0].id)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id in wanted for t in node.targets):
                values = (node.value.body, node.value.orelse) if isinstance(node.value, ast.IfExp) else (node.value,)
                found |= {str(value.value) for value in values if isinstance(value, ast.Constant)}
    return found


def test_every_reason_code_is_documented() -> None:
    """The tables of reason codes are the codes of the code."""
    codes = reason_codes()
    assert {"conflict", "empty_file", "time_without_offset"} <= codes
    text = (DOCS / "log-contract.md").read_text(encoding="utf-8").split("## Reason codes")[1]
    told = {code for cells in table_rows(text) for code in re.findall(r"`([a-z_]+)`", cells[0])}
    assert told == codes


def test_every_column_quantity_and_unit_of_the_contract_is_documented() -> None:
    """The contract's tables name every column, quantity and unit."""
    text = (DOCS / "log-contract.md").read_text(encoding="utf-8")
    rows = list(table_rows(text.split("## What becomes of a row")[0]))
    told = {name for cells in rows if len(cells) == 4 for name in re.findall(r"`(\w+)`", cells[0])}
    assert told == set(LOG_SCHEMA.names)
    units = {cells[0].strip("`"): tuple(re.findall(r"`([^`]+)`", cells[1])) for cells in rows if len(cells) == 2}
    assert {name: units.get(name) for name in UNITS} == {name: tuple(known) for name, known in UNITS.items()}
    quality = (DOCS / "quality.md").read_text(encoding="utf-8").split("## Each window by itself")[0]
    assert not set(Quality) - set(re.findall(r"`(\w+)`", quality))


def literals(node: ast.expr, names: dict[str, str]) -> set[str]:
    """The texts that an expression may be: a constant, a named constant of the room, a choice of both."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.Name):
        return {names[node.id]} if node.id in names else set()
    if isinstance(node, ast.IfExp):
        return literals(node.body, names) | literals(node.orelse, names)
    return literals(node.elts[0], names) if isinstance(node, ast.Tuple) else set()


def written(room: str, name: str) -> set[str]:
    """Texts that a room writes under a name: `name=...` of a call, `"name": ...` of a row, what `_name` returns."""
    values: set[str] = set()
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "pipeline" / room).glob("*.py"))]
    names: dict[str, str] = {}
    for node in itertools.chain.from_iterable(tree.body for tree in trees):
        aim = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(aim, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            names[aim.id] = value.value
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == name:
                values |= literals(node.value, names)
            elif isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                values |= {
                    text
                    for key, value in pairs
                    if isinstance(key, ast.Constant) and key.value == name
                    for text in literals(value, names)
                }
            elif isinstance(node, ast.FunctionDef) and node.name == f"_{name}":
                returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value]
                values |= {text for value in returned for text in literals(value, names)}
    return values


def acts() -> set[str]:
    """The acts on a case: the fourth argument of every `add_event`, and what the folding says happened to a case."""
    values: set[str] = set()
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "add_event":
                values |= literals(node.args[3], {})
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("happened["):
                values |= literals(node.value, {})
    return values


STATES = ("HEALTHY", "WATCH", "ALARM", "DATA_FAULT", "SILENT", "UNKNOWN")

ENUMERATED: dict[str, set[str]] = {
    "lake_files.kind": set(get_args(lake.Kind)),
    "quarantine.state": written("intake", "state"),
    "recordings.time_basis": set(TIME_BASES),
    "recordings.rate_basis": set(RATE_BASES),
    "axis_events.kind": {events.INSTALLED, events.REPLACED, events.REMOVED, events.NOTE},
    "axis_states.state": {getattr(axis_state, name) for name in STATES},
    "cases.family": {*episodes.FAMILIES, audit.AUDIT, audit.MODEL, labels.CONFIRM},
    "cases.state": {episodes.OPEN, quiet.SNOOZED, episodes.CLOSED},
    "case_evidence.line": {line for line, *_ in evidence.LINES.values()} - {"ftf"},
    "review_events.action": acts(),
    "webhook_events.kind": {outbox.kind_of(action) for action in acts()},
    "webhook_events.state": {outbox.WAITING, outbox.DELIVERED, outbox.GIVEN_UP, outbox.SKIPPED},
    "model_versions.kind": set(get_args(Kind)),
    "model_aliases.alias": {CHAMPION, CHALLENGER},
    "alias_events.action": written("registry", "action")
    | written("promotion", "action")
    | {"trained"}
    | (written("promotion", "outcome") & {"kept", "waiting"}),
    "retraining_decisions.outcome": written("promotion", "outcome"),
    "users.role": set(accounts.ROLES),
}


@pytest.mark.parametrize("column", ENUMERATED)
def test_the_comment_of_a_column_names_the_values_that_the_code_writes(column: str) -> None:
    """Up to its first semicolon, the comment is the list of values, and no other word."""
    table, name = column.split(".")
    comment = Base.metadata.tables[table].columns[name].comment or ""
    assert set(re.split(r", | or ", comment.split(";")[0])) == ENUMERATED[column]


def test_the_help_of_run_names_its_steps_and_no_schedule() -> None:
    """Airflow calls the steps one by one (`pipeline.scheduled`), never this command."""
    assert "schedule" not in COMMANDS["run"].help


def test_queries_of_the_documents_run(tmp_path: Path) -> None:
    """Every SQL block of database.md runs on an empty database."""
    store = Store.open(f"sqlite:///{tmp_path / 'x.db'}")
    blocks = re.findall(r"```sql\n(.*?)```", (DOCS / "database.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 5
    with store.read() as connection:
        for block in blocks:
            assert connection.execute(sa.text(block.strip().rstrip(";"))).all() == []
    store.dispose()


def test_every_word_of_a_label_is_documented() -> None:
    """labels.md has every column of labels.csv and every word of the taxonomy, and no other word."""
    text = (DOCS / "labels.md").read_text(encoding="utf-8")
    columns = {
        name
        for cells in table_rows(text.split("## Words")[0])
        if len(cells) == 3
        for name in re.findall(r"`(\w+)`", cells[0])
    }
    assert columns == set(taxonomy.LABEL_CSV_COLUMNS)
    rows = {
        cells[0].split("`")[1]: set(re.findall(r"`(\w+)`", cells[1]))
        for cells in table_rows(text.split("## Words")[1].split("\n## ")[0])
        if "`" in cells[0]
    }
    words = {kind.__name__.lower(): {str(word) for word in kind} for kind in label_kinds()}
    assert rows == words


def label_kinds() -> list[Any]:
    """The word lists that a label is made of."""
    named = (taxonomy.Verdict, taxonomy.Component, taxonomy.Mode, taxonomy.Cause, taxonomy.Severity, taxonomy.Evidence)
    return list(named)


def test_every_key_of_assets_toml_is_documented() -> None:
    """assets.md names every key."""
    text = (DOCS / "assets.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`((?:(?:geometry|reducer|bearing)\.NAME|unit|axis)\.[a-z]\w*)`", text))
    wanted = {f"unit.{name}" for name in UnitEntry.model_fields} | {f"axis.{name}" for name in AxisEntry.model_fields}
    for kind, entry in (("geometry", GeometryEntry), ("reducer", ReducerEntry), ("bearing", BearingEntry)):
        wanted |= {f"{kind}.NAME.{name}" for name in entry.model_fields}
    assert told == wanted


def test_the_catalogue_of_bearings_is_documented() -> None:
    """assets.md names every designation."""
    text = (DOCS / "assets.md").read_text(encoding="utf-8").split("## Bearings by designation")[1].split("\n## ")[0]
    assert not [bearing.designation for bearing in catalogue()[0] if bearing.designation not in text]


def test_the_robot_of_the_documents_can_be_imported_and_shown(tmp_path: Path) -> None:
    """The example of assets.md on an empty registry, and the orders that come of it."""
    from datetime import UTC, datetime

    from pipeline.assets import import_assets
    from pipeline.assets.views import show_asset

    text = (DOCS / "assets.md").read_text(encoding="utf-8")
    (tmp_path / "robot.toml").write_text(re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)[0], encoding="utf-8")
    rows = re.findall(r"^ {4}(site,.*\n(?: {4}plant1.*\n)+)", text, flags=re.MULTILINE)[0].replace("    ", "")
    (tmp_path / "units.csv").write_text(rows, encoding="utf-8")
    store = Store.open(f"sqlite:///{tmp_path / 'x.db'}")
    as_of = datetime(2026, 3, 1, tzinfo=UTC)
    assert import_assets(store, tmp_path / "robot.toml", as_of=as_of)["units"] == 2
    orders = {order["name"]: order["order"] for order in show_asset(store, "R02", "A1")["units"][0]["orders"]}
    assert orders["rv: output shaft"] == pytest.approx(1 / 121)
    assert orders["motor: outer race (bpfo)"] == pytest.approx(3.585, abs=1e-3)
    wrist = {order["name"]: order["order"] for order in show_asset(store, "R02", "A4")["units"][0]["orders"]}
    assert wrist["wave: tooth mesh"] == pytest.approx(162 * 24 / 36)
    assert wrist["wave: output shaft"] == pytest.approx(24 / 36 / 80)
    assert import_assets(store, tmp_path / "units.csv", as_of=as_of)["units"] == 2, "names of the TOML are known"
    store.dispose()


def test_every_state_flag_and_priority_is_documented() -> None:
    """cases.md has the states, the flags by family, and the priorities of the code."""
    text = (DOCS / "cases.md").read_text(encoding="utf-8")
    rows = list(table_rows(text))
    flags = {cells[0].strip("`"): cells[1] for cells in rows if len(cells) == 4 and cells[0] != "flag"}
    assert flags == {c: "machine" for c in axis_state.MACHINE_CODES} | {c: "data" for c in axis_state.DATA_CODES}
    states = {axis_state.HEALTHY, axis_state.WATCH, axis_state.ALARM, axis_state.DATA_FAULT, axis_state.SILENT}
    pairs = {cells[0].strip("`"): cells[1] for cells in rows if len(cells) == 2}
    assert states | {axis_state.UNKNOWN} <= set(pairs)
    by_flag = text.split("| flag | priority |")[1].split("\n\n")[0]
    told = {cells[0].strip("`"): cells[1] for cells in table_rows(by_flag)}
    assert set(told) == set(flags)
    for code, priority in told.items():
        base, _, slope = priority.removesuffix(" p").partition(" + ")
        assert axis_state.priority_of([code], 0.0) == pytest.approx(float(base)), code
        assert axis_state.priority_of([code], 1.0) == pytest.approx(float(base) + float(slope or 0)), code


def links() -> list[tuple[Path, str]]:
    """Every relative link of every document."""
    found = []
    for path in markdown_files():
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:", target):
                found.append((path, target))
    return found


def test_no_relative_link_is_dead() -> None:
    """Files that links name exist, and so do the headings."""
    dead = []
    for path, target in links():
        file, _, anchor = target.partition("#")
        aim = (path.parent / file).resolve() if file else path
        if not aim.exists():
            dead.append(f"{path.relative_to(ROOT)}: {target}")
        elif anchor and aim.suffix == ".md":
            headings = re.findall(r"^#{1,6} (.*)$", aim.read_text(encoding="utf-8"), flags=re.MULTILINE)
            if anchor not in {slug(heading) for heading in headings}:
                dead.append(f"{path.relative_to(ROOT)}: {target} (no such heading)")
    assert not dead


def test_the_contract_example_is_accepted(tmp_path: Path) -> None:
    """The program in log-contract.md writes a log whose row is a recording."""
    import pyarrow.parquet as pq

    from pipeline.intake.contract import GoodRow, Limits, judge_columns, judge_rows

    text = (DOCS / "log-contract.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[0].replace('"R07.parquet"', "TARGET")
    scope: dict[str, Any] = {"TARGET": str(tmp_path / "R07.parquet")}
    exec(compile(code, "log-contract.md", "exec"), scope)
    table = pq.read_table(tmp_path / "R07.parquet")
    assert judge_columns(table.schema) == ([], [])
    limits = Limits(scope["row"]["started_at"], 10**7, 1e6, 1e5)
    rows = [row for batch in table.to_batches() for row in judge_rows(batch, 0, limits)]
    assert [type(row) for row in rows] == [GoodRow]


def test_the_examples_of_labels_and_assets_can_be_imported(tmp_path: Path) -> None:
    """The CSV of labels.md and the TOML of assets.md are read without a problem."""
    from pipeline.assets.reading import parse_assets
    from pipeline.labels.labels import read_labels

    for name, language, read in (
        ("labels", "csv", lambda path: read_labels(path, who="x")),
        ("assets", "toml", lambda path: [] if (assets := parse_assets(path)).problems else assets.unit),
    ):
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        path = tmp_path / f"{name}.{language}"
        path.write_text(re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)[0], encoding="utf-8")
        assert len(read(path)) == {"labels": 2, "assets": 2}[name]


def test_the_settings_example_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The TOML of settings.md holds settings only."""
    from pipeline.base.sources import load_settings

    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    path = tmp_path / "axiswatch.toml"
    path.write_text(re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)[0], encoding="utf-8")
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)
    assert load_settings({"AXISWATCH_CONFIG": str(path)}).hidden == (128, 128)


GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
MOST_WORDS, LONGEST_LINE, MOST_LINES = 35_000, 200, 5


def paragraphs(text: str) -> Iterator[list[str]]:
    """Lines of each paragraph and each entry of a list; code, tables and headings are none."""
    inside: list[str] = []
    for line in re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines():
        is_entry = re.match(r"\s*([-*]|\d+\.) ", line) is not None
        is_text = is_entry or (line.strip() and not re.match(r"#|\||<!--", line))
        if inside and (is_entry or not is_text):
            yield inside
            inside = []
        if is_text and not (line.startswith("    ") and not inside):
            inside.append(line)
    if inside:
        yield inside


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_lines_and_paragraphs_are_short(path: Path) -> None:
    """A reader sees where a line goes on, and where a thought ends."""
    text = path.read_text(encoding="utf-8")
    assert not [line for line in text.splitlines() if len(line) > LONGEST_LINE]
    assert not ["\n".join(lines) for lines in paragraphs(text) if len(lines) > MOST_LINES]


def test_the_documents_can_be_read() -> None:
    """All of them together; logs of measurements (docs/results) and the changelog are not counted."""
    assert sum(len(path.read_text(encoding="utf-8").split()) for path in GUIDES) < MOST_WORDS


def test_every_room_is_in_the_table_and_every_path_of_the_tables_exists() -> None:
    """how-it-works.md names the rooms that there are, and sends nobody to a file that is not there."""
    text = (DOCS / "how-it-works.md").read_text(encoding="utf-8")
    rooms, aims = text.split("## The rooms of")[1].split("## To change X, go to Y")
    named = {cells[0].strip("`/") for cells in table_rows(rooms) if cells[0].startswith("`")}
    there = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert named == there - {"migrations"}
    paths = re.findall(r"`([\w/]+/[\w.]*)`", aims)
    assert len(list(table_rows(aims))) > 15
    assert not [path for path in paths if not (ROOT / path).exists()]
