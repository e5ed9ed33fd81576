"""The DAG files: they import fast, declare all that the schedule needs, and are wiring only."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.steps import MONITOR

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "dags").glob("*.py"))
DAGS = tuple(
    f"axiswatch_{name}" for name in ("backfill", "housekeeping", "levels", "monitor", "retention", "retrain", "watch")
)
MAPPED = {"acquire", "extract", "score", "retrain", "rescore"}
HEAVY = {"interval", "acquire", "extract", "score", "retrain", "rescore", "decide", "estimate"}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the files declare, read by Airflow in a process of its own."""
    return read_facts(tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def facts_with_approval(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same where a person has to approve promotions."""
    folder = tmp_path_factory.mktemp("airflow-approval")
    return read_facts(folder, AXISWATCH_PROMOTION_APPROVAL="true", AXISWATCH_PROMOTION_APPROVAL_HOURS="5")


def read_facts(folder: Path, **variables: str) -> dict[str, Any]:
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AXISWATCH"))},
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "PYTHONPATH": os.pathsep.join((str(ROOT / "dags"), str(ROOT))),
        **variables,
    }
    script = Path(__file__).with_name("dag_facts.py")
    done = subprocess.run(
        [sys.executable, str(script), str(ROOT / "dags")],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("FACTS"))
    return dict(json.loads(line.removeprefix("FACTS")))


def test_every_file_imports_without_anything_heavy(facts: dict[str, Any]) -> None:
    assert facts["errors"] == {}
    assert sorted(facts["dags"]) == sorted(DAGS)
    assert facts["modules"] == [], "parsed every few seconds: torch and pandas are for the tasks"


@pytest.mark.parametrize("dag", DAGS)
def test_dags_say_who_what_and_how_long(facts: dict[str, Any], dag: str) -> None:
    told = facts["dags"][dag]
    assert "axiswatch" in told["tags"]
    assert len(told["doc"]) > 200
    assert told["description"]
    assert told["max_active_runs"] == 1
    assert told["timeout_s"]
    assert told["catchup"] is False
    assert told["tells"], "a run can fail although no task did: by its time limit"
    for name, task in told["tasks"].items():
        assert task["owner"] == "axiswatch", name
        assert task["timeout_s"], name
        if name == "outcome":
            assert task["retries"] == 0
            assert set(task["upstream"]) == set(told["tasks"]) - {"outcome"}, "whatever fails makes the run red"
            continue
        assert task["tells"], name
        assert task["backoff"], name
        waits = [min(30 * 2**i, 600) for i in range(task["retries"])]
        assert sum(waits) >= 15 * 60 or name == "check", name
        assert task["gives_up_on"] == ["PrerequisiteMissing", "SettingsError"], name
        assert task["map_name"] or name not in MAPPED, name
        assert (task["pool"] == "axiswatch_heavy") == (name in HEAVY), name


def test_the_assets_that_tasks_read_and_update_are_declared(facts: dict[str, Any]) -> None:
    """An asset is updated by way of an alias, so only where something changed; what reads it says so."""
    tasks = [task for dag in facts["dags"].values() for task in dag["tasks"].values()]
    assert {asset for task in tasks for asset in task["outlets"]} == {"axiswatch"}
    read = {asset for task in tasks for asset in task["inlets"]}
    assert read == {"recordings", "features", "scores", "cases", "labels", "champion"}


def test_params_have_a_schema(facts: dict[str, Any]) -> None:
    params = facts["dags"]["axiswatch_backfill"]["params"]
    assert set(params) == {"from_at", "to_at", "extract", "score", "model_version"}
    assert params["from_at"]["format"] == params["to_at"]["format"] == "date-time"
    assert all("type" in schema for schema in params.values())
    for name in ("from_at", "to_at"):
        assert re.search(params[name]["pattern"], "2026-01-05T00:00:00Z")
        assert re.search(params[name]["pattern"], "2026-01-05T08:00+09:00")
        for wrong in ("yesterday", "2026-01-05", "2026-01-05T00:00:00"):
            assert not re.search(params[name]["pattern"], wrong), "Airflow checks no format"
    assert {"from_at", "to_at"} <= set(facts["dags"]["axiswatch_backfill"]["required"]), "no period that nobody chose"


def test_a_retraining_has_no_schedule_and_says_what_it_takes(facts: dict[str, Any]) -> None:
    """No schedule: Airflow refuses to fill in the past with it, so no backfill promotes or demotes anybody."""
    told = facts["dags"]["axiswatch_retrain"]
    assert told["schedule"] == "NullTimetable"
    assert {name: schema["type"] for name, schema in told["params"].items()} == {"scopes": "array", "trigger": "string"}
    assert set(told["tasks"]) == {
        "scopes", "retrain", "finish", "plan_rescore", "rescore", "payback", "outcome"
    }  # fmt: skip


def test_with_the_setting_a_person_is_asked_before_a_promotion(facts_with_approval: dict[str, Any]) -> None:
    assert facts_with_approval["errors"] == {}
    told = facts_with_approval["dags"]["axiswatch_retrain"]
    tasks = told["tasks"]
    assert tasks["approval"]["upstream"] == ["question"]
    assert tasks["question"]["rule"] == "all_done", "a scope that failed keeps no other from being asked about"
    assert tasks["answer"]["upstream"] == ["approval"]
    assert "answer" in tasks["finish"]["upstream"], "what is scored again is known after the answer"
    assert told["timeout_s"] == 17 * 3600.0
    assert tasks["approval"]["timeout_s"] == 5.5 * 3600.0
    assert "approval" not in tasks["outcome"]["upstream"], "a refusal would skip it, and hide what else went wrong"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_wiring_only(path: Path) -> None:
    """No SQL, no arrays, no clock, nothing of ours but `pipeline.scheduled` in tasks and the settings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {
                f"{node.module}.{item.name}" if node.module == "pipeline" else str(node.module) for item in node.names
            }
    ours = {name for name in modules if re.match(r"(pipeline|features|models|review)\b", name)}
    assert ours <= {"pipeline.scheduled", "pipeline.base.sources"}
    heavy = r"(numpy|pandas|torch|sklearn|scipy|sqlalchemy|pyarrow|psycopg)\b"
    assert not {name for name in modules if re.match(heavy, name)}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not [text for text in texts if re.search(r"\b(SELECT|INSERT|UPDATE|DELETE)\b.*\b(FROM|INTO|SET)\b", text)]
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls if re.search(r"\.(now|utcnow|today)$|^time\.time$", call)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_tasks_are_one_call(path: Path) -> None:
    """No task body does work of its own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tasks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and any("task" in ast.unparse(mark) for mark in node.decorator_list)
    ]
    assert tasks or path.stem == "axiswatch_housekeeping", "it has commands of Airflow alone"
    for node in tasks:
        assert len(node.body) <= 6, node.name
        assert not [inner for inner in ast.walk(node) if isinstance(inner, ast.While | ast.Try)], node.name


def test_a_free_slot_is_the_monitors(facts: dict[str, Any]) -> None:
    """Tasks of other DAGs wait for it, however many there are; and one that may take hours leaves the other slots."""
    weights = {name: [task["weight"] for task in dag["tasks"].values()] for name, dag in facts["dags"].items()}
    others = [weight for name, own in weights.items() if name != "axiswatch_monitor" for weight in own]
    assert min(weights["axiswatch_monitor"]) > max(others)
    long = {
        name: task["at_once"]
        for dag in facts["dags"].values()
        for name, task in dag["tasks"].items()
        if task["timeout_s"] > 3600 and task["pool"] == "axiswatch_heavy" and task["map_name"]
    }
    assert long == {"retrain": 1}


def test_the_monitor_takes_the_steps_in_their_order(facts: dict[str, Any]) -> None:
    """The schedule has the steps of a monitoring run, all of them and in their order."""
    tasks = facts["dags"]["axiswatch_monitor"]["tasks"]

    def before(name: str) -> set[str]:
        upstream = set(tasks[name]["upstream"])
        return upstream.union(*(before(one) for one in upstream))

    steps = [step.name for step in MONITOR]
    assert set(steps) <= set(tasks)
    assert [sorted(before(name) & set(steps)) for name in steps] == [sorted(steps[:i]) for i in range(len(steps))]
