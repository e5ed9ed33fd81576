"""docker-compose.yml without an engine: it is well formed, keeps no secret, and what it starts exists and works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pgserver
import pytest
import sqlalchemy as sa
import yaml

from pipeline.base.settings import Settings
from pipeline.handoff.gauges import gauges
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Case, Label, ReviewEvent

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(pgserver.__file__).parent / "pginstall" / "bin"
FILE = ROOT / "docker-compose.yml"
NEEDED = ("AIRFLOW_URL", "AIRFLOW_SECRET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_FERNET_KEY")
SECRETS = ("POSTGRES_PASSWORD", "DB_PASSWORD_AIRFLOW", "DB_PASSWORD_AXISWATCH", "DB_PASSWORD_OWNER", "REDIS_PASSWORD")
SECRETS += ("FIRST_ADMIN_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
ROLES = ("airflow", "axiswatch", "axiswatch_owner")
OURS = ("init", "api-server", "scheduler", "dag-processor", "triggerer", "worker")


def filled_in() -> dict[str, str]:
    """A .env as somebody would fill it in."""
    values = dict.fromkeys((*NEEDED, *SECRETS), "filled-in")
    return values | {"LANDING_FOLDER": "/landing", "AXISWATCH_LAKE_URL": "s3://bucket/lake"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def docker_compose(folder: Path, values: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed")
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
    shutil.copy(FILE, folder)
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run([program, "config"], cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_compose_accepts_the_file(tmp_path: Path) -> None:
    done = docker_compose(tmp_path, filled_in())
    assert done.returncode == 0, done.stderr
    assert "filled-in" in done.stdout


@pytest.mark.parametrize("name", [*NEEDED, *SECRETS, "LANDING_FOLDER", "AXISWATCH_LAKE_URL"])
def test_without_a_value_it_is_refused_with_its_name(name: str, tmp_path: Path) -> None:
    values = filled_in()
    del values[name]
    done = docker_compose(tmp_path, values)
    assert done.returncode != 0
    assert name in done.stderr + done.stdout


def test_it_keeps_to_the_schema_of_compose(compose: dict[str, Any]) -> None:
    """The schema that Debian's docker-compose ships."""
    found = sorted(Path("/usr/lib/python3/dist-packages/compose").rglob("compose_spec.json"))
    if not found:
        pytest.skip("docker-compose is not installed")
    schema = json.loads(found[0].read_text(encoding="utf-8"))
    jsonschema.validate(compose, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**compose, "services": {"x": {"imagee": "y"}}}, schema)


def test_no_secret_has_a_default_and_the_example_names_all(compose: dict[str, Any]) -> None:
    text = FILE.read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name in SECRETS + NEEDED:
        uses = re.findall(rf"\$\{{{name}([^}}]*)\}}", text)
        assert uses, name
        assert all(use.startswith(":?") for use in uses), name
    for name in set(re.findall(r"\$\{([A-Z_]+)", text)) - {"AXISWATCH_IMAGE", "AXISWATCH_BASE"}:
        assert re.search(rf"^#?{name}=", example, flags=re.MULTILINE), f".env.example does not name {name}"
    assert not re.search(r"^[A-Z_]+=\S", example, flags=re.MULTILINE), "the example has a value in force"
    assert "init" in compose["services"]


@pytest.mark.parametrize("name", ["postgres", "redis", *OURS])
def test_every_service_is_looked_after(name: str, compose: dict[str, Any]) -> None:
    service = compose["services"][name]
    if name == "init":
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    if name in OURS:
        assert service["user"] == "axiswatch"
        assert service["depends_on"]["init"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("name", [name for name in OURS if name != "init"])
def test_what_a_service_starts_is_a_command_of_the_installed_airflow(name: str, compose: dict[str, Any]) -> None:
    command = compose["services"][name]["command"]
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([str(program), *command[1:], "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"airflow {' '.join(command[1:])}" in done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: Airflow and PostgreSQL keep sockets there."""
    made = Path(tempfile.mkdtemp(prefix="axiswatch-init-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_the_init_job_makes_what_is_missing_and_undoes_nothing(
    postgres: Any, folder: Path, compose: dict[str, Any]
) -> None:
    """The scripts themselves, on a real PostgreSQL, against the installed package; with the variables of the file.

    Each application has a role and a database of its own, and cannot enter the other's, nor change its own history.
    """
    assert compose["services"]["init"]["command"] == ["axiswatch-init"]
    told, own = compose["x-axiswatch"]["environment"], compose["services"]["init"]["environment"]
    env = {
        "PATH": f"{Path(sys.executable).parent}:{PROGRAMS}:{os.environ['PATH']}",
        "HOME": str(folder),
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__AUTH_MANAGER": told["AIRFLOW__CORE__AUTH_MANAGER"],
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "3",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": as_role(postgres.url("airflow"), "airflow"),
        "AXISWATCH_DATABASE_URL": as_role(postgres.url("axiswatch"), "axiswatch_owner"),
        "DB_ROLE_AXISWATCH": own["DB_ROLE_AXISWATCH"],
        "AXISWATCH_LAKE_URL": str(folder / "lake"),
        "FIRST_ADMIN_PASSWORD": "a long password",
        "WORKERS": "2",
        "DB_PASSWORD_AIRFLOW": "one",
        "DB_PASSWORD_AXISWATCH": "two",
        "DB_PASSWORD_OWNER": "three",
        "PGHOST": postgres.url("postgres").split("host=")[1],
    }
    assert {"FIRST_ADMIN_PASSWORD", "WORKERS", "AXISWATCH_DATABASE_URL"} <= set(told)
    assert "//axiswatch_owner:" in own["AXISWATCH_DATABASE_URL"]
    assert "//axiswatch:" in told["AXISWATCH_DATABASE_URL"]

    def run(*command: str) -> str:
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(str(ROOT / "docker" / "databases.sh"))
    run(str(ROOT / "docker" / "axiswatch-init"))
    run("airflow", "pools", "set", "axiswatch_heavy", "11", "as an operator set it")
    run("airflow", "users", "reset-password", "--username", "admin", "--password", "of the plant's own")
    again = run(str(ROOT / "docker" / "axiswatch-init"))
    assert '"created": false' in again
    assert "reset" not in again
    engine = sa.create_engine(postgres.url("airflow"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        slots = connection.scalar(sa.text("SELECT slots FROM slot_pool WHERE pool = 'axiswatch_heavy'"))
        roles = sa.text("SELECT rolname, rolsuper FROM pg_roles WHERE rolname ~ '^(airflow|axiswatch)' ORDER BY 1")
        assert [tuple(row) for row in connection.execute(roles)] == [(name, False) for name in ROLES]
        enters = sa.text("SELECT has_database_privilege('axiswatch', 'airflow', 'CONNECT')")
        assert not connection.scalar(enters)
    assert slots == 11, "what people set stays"
    engine.dispose()
    store = Store.open(as_role(postgres.url("axiswatch"), "axiswatch"))
    with store.write() as connection:
        connection.execute(sa.delete(Case))
    for model in (Label, ReviewEvent):
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), store.write() as connection:
            connection.execute(sa.delete(model))
    store.dispose()
    for name in ("airflow", "axiswatch"):
        postgres.drop(name)
    for name in ROLES:
        postgres.execute(f"DROP ROLE {name}")


def as_role(url: str, role: str) -> str:
    """A database's URL for a role of its own."""
    return re.sub(r"//[^@]*@", f"//{role}@", url)


def test_the_image_holds_what_it_copies_and_no_more() -> None:
    """Every COPY exists and is let through by .dockerignore; nobody is root."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    let_through = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name.split('/')[0]}" in let_through, name
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users[-1:] == ["axiswatch"]
    assert lines.index("ARG BASE=python:3.11-slim-trixie") < lines.index("FROM ${BASE}")


def test_the_files_for_kubernetes_name_what_the_image_and_the_settings_have() -> None:
    """The values of the chart and the review application agree with each other, the image and the pinned Airflow."""
    values = yaml.safe_load((ROOT / "docker" / "helm-values.yaml").read_text(encoding="utf-8"))
    deployment, _ = yaml.safe_load_all((ROOT / "docker" / "kubernetes-review.yaml").read_text(encoding="utf-8"))
    [review] = deployment["spec"]["template"]["spec"]["containers"]
    assert review["image"] == f"{values['defaultAirflowRepository']}:{values['defaultAirflowTag']}"
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert f"apache-airflow-core=={values['airflowVersion']}\n" in pinned
    names = {one["name"] for one in (*values["env"], *review["env"])} | {one["envName"] for one in values["secret"]}
    ours = {name.removeprefix("AXISWATCH_").lower() for name in names if name.startswith("AXISWATCH_")}
    assert ours <= set(Settings.model_fields)
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    [dags] = [one["value"] for one in values["env"] if one["name"] == "AIRFLOW__CORE__DAGS_FOLDER"]
    assert f"AIRFLOW__CORE__DAGS_FOLDER={dags}" in image
    assert values["migrateDatabaseJob"]["args"] == ["axiswatch-init"]


def test_the_dashboard_shows_metrics_that_there_are(store: Store) -> None:
    """Every metric of a panel is one of the interface, and every one of the interface has a panel."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    case = {"case_id": "c", "axis_id": "a", "family": "machine", "state": "open", "reasons": [], "n_bins": 1}
    with store.write() as connection:
        axis = {"axis_id": "a", "site": "", "cell": "", "robot_id": "R", "axis": "A", "known_at": at}
        connection.execute(sa.insert(Axis), axis)
        times = dict.fromkeys(("first_at", "last_at", "known_at", "changed_at"), at)
        connection.execute(sa.insert(Case), case | times | {"priority": 0.5})
    board = json.loads((ROOT / "docker" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found = gauges(store, Settings(), at=at)
    assert set(re.findall(r"axiswatch_\w+", " ".join(asked))) == set(found)
    labels = {label for _, values in found.values() for key in values for label, _ in key}
    assert labels == {"state"}, "without due work; `step` has its own panel"
